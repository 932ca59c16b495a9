//! Which expressions over one kind's fields are kept, and in how many bits.

use super::layout::{Cell, Packer};
use crate::sql::plan::{AggKind, ExprId, Node, NodeId, Plan, Scalar};
use crate::sql::schema::{Schema, SchemaColumn};
use crate::sql::types::{Facts, LONGEST_KEPT, Ty};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeSet;

/// The key of a row, as one more kind in the sets of kinds that expressions name.
const KEY: u8 = 1 << 7;

/// One thing that is kept of a kind's records.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// The expression over the kind's fields that it is the value of.
    pub(crate) e: ExprId,
    /// The column, if it is one.
    pub(crate) column: Option<(usize, u8)>,
    pub(crate) ty: Ty,
    pub(crate) cell: Cell,
    /// Whether it can be null where there is a record.
    pub(crate) nullable: bool,
    /// Whether texts that are longer than is kept are known by their hash: they are only compared.
    pub(crate) hashed: bool,
}

/// What is known of the values of an expression that is kept.
fn facts(plan: &Plan, e: ExprId) -> Facts {
    match plan.scalar(e) {
        Scalar::Extract(unit, _) => {
            let (low, high) = unit.range();
            Facts::range(low, high).nullable(true)
        }
        Scalar::Length(_) | Scalar::StrPos(..) => {
            Facts::range(0, crate::sql::types::LONGEST_TEXT.into()).nullable(true)
        }
        Scalar::IsNull(_) => Facts::range(0, 1),
        _ => {
            let facts = Facts::of(plan.ty(e));
            // whatever scale a numeric has
            match plan.ty(e) {
                Ty::Numeric => Facts {
                    scale: (0, u16::MAX),
                    ..facts
                },
                _ => facts,
            }
        }
    }
}

/// The expressions to keep.
pub(super) struct Needs<'p> {
    schema: &'p Schema,
    plan: &'p Plan,
    /// Of each expression, the kinds whose fields it names.
    kinds: Vec<u8>,
    /// Of each expression, whether it names a text without a bound.
    wide: Vec<bool>,
    seen: HashSet<ExprId>,
    /// In the order in which they are met; whether only equality is asked.
    kept: Vec<(ExprId, bool)>,
    /// Of each column other than wide text what is made of it.
    uses: Vec<(ExprId, Uses)>,
    /// Columns that are not kept, each with something kept that is null exactly where the column is.
    pub(super) null_of: HashMap<(u8, u16, u8), ExprId>,
}

/// What results make of a column.
#[derive(Default)]
struct Uses {
    /// The column itself.
    whole: bool,
    /// What is narrower, and null exactly where the column is.
    narrow: Vec<ExprId>,
    /// `IS NULL` of it.
    nulls: Vec<ExprId>,
}

impl<'p> Needs<'p> {
    /// What some nodes of a plan need.
    pub(super) fn of(schema: &'p Schema, plan: &'p Plan, nodes: &BTreeSet<NodeId>) -> Needs<'p> {
        let count = plan.exprs().len();
        let mut needs = Needs {
            schema,
            plan,
            kinds: vec![0; count],
            wide: vec![false; count],
            seen: HashSet::new(),
            kept: Vec::new(),
            uses: Vec::new(),
            null_of: HashMap::new(),
        };
        for (place, expr) in plan.exprs().iter().enumerate() {
            match &expr.scalar {
                Scalar::Field { kind, .. } => {
                    needs.kinds[place] = 1 << kind;
                    needs.wide[place] = needs.column(&expr.scalar).is_some_and(is_unbounded);
                }
                Scalar::Key => needs.kinds[place] = KEY,
                scalar => {
                    for argument in scalar.arguments() {
                        needs.kinds[place] |= needs.kinds[argument.index()];
                        needs.wide[place] |= needs.wide[argument.index()];
                    }
                }
            }
        }
        for node in nodes {
            match plan.node(*node) {
                Node::Posts { filter, .. } => filter.iter().for_each(|e| needs.visit(*e)),
                Node::Fold { input, key, aggregates } if matches!(plan.node(*input), Node::Posts { .. }) => {
                    key.iter().for_each(|e| needs.visit(*e));
                    for aggregate in aggregates {
                        aggregate.filter.iter().for_each(|e| needs.visit(*e));
                        for e in &aggregate.args {
                            match aggregate.kind {
                                AggKind::CountDistinct { .. } => needs.compared(*e),
                                _ => needs.visit(*e),
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        needs.choose();
        needs
    }

    /// What is kept of a kind, in the places that `packer` gives.
    pub(super) fn pack(&self, kind: usize, packer: &mut Packer) -> Vec<Kept> {
        let of_kind = self.kept.iter().filter(|(e, _)| self.kinds[e.index()] == 1 << kind);
        let mut kept = Vec::new();
        for (e, identity) in of_kind {
            let (ty, scalar) = (self.plan.ty(*e), self.plan.scalar(*e));
            let facts = self
                .column(scalar)
                .map_or_else(|| facts(self.plan, *e), |column| column.facts);
            let cell = match self.column(scalar) {
                Some(column) if *identity && column.halves => packer.halves(),
                _ => packer.cell(ty, &facts),
            };
            kept.push(Kept {
                e: *e,
                column: match scalar {
                    Scalar::Field { column, element, .. } => Some((usize::from(*column), *element)),
                    _ => None,
                },
                ty,
                cell,
                nullable: facts.nullable,
                hashed: *identity,
            });
        }
        kept
    }

    fn column(&self, scalar: &Scalar) -> Option<&'p SchemaColumn> {
        match scalar {
            Scalar::Field { kind, column, .. } => {
                Some(&self.schema.kinds[usize::from(*kind)].columns[usize::from(*column)])
            }
            _ => None,
        }
    }

    /// An expression of which only equality with itself is asked.
    fn compared(&mut self, e: ExprId) {
        let is_wide_field = self.wide[e.index()] && matches!(self.plan.scalar(e), Scalar::Field { .. });
        if !is_wide_field {
            self.visit(e);
        } else if self.kept.iter().all(|(kept, _)| *kept != e) {
            self.kept.push((e, true));
        }
    }

    fn visit(&mut self, e: ExprId) {
        let plan = self.plan;
        let scalar = plan.scalar(e);
        // a column that only was compared so far is wanted as it is
        let again = matches!(scalar, Scalar::Field { .. });
        if !self.seen.insert(e) && !again {
            return;
        }
        let is_field = matches!(scalar, Scalar::Field { .. });
        if is_field && self.wide[e.index()] {
            match self.kept.iter_mut().find(|(kept, _)| *kept == e) {
                Some((_, identity)) => *identity = false,
                None => self.kept.push((e, false)),
            }
        } else if is_field {
            self.uses_of(e).whole = true;
        } else if self.wide[e.index()] && self.kinds[e.index()].is_power_of_two() {
            self.kept.push((e, false));
        } else if let (Scalar::IsNull(a), Some(_)) = (scalar, self.narrow(e)) {
            self.uses_of(*a).nulls.push(e);
        } else if let Some(column) = self.narrow(e) {
            self.uses_of(column).narrow.push(e);
        } else if *scalar == Scalar::Key {
            self.keep_keys();
        } else {
            scalar.arguments().into_iter().for_each(|argument| self.visit(argument));
        }
    }

    /// The key of a row is kept as that of each kind.
    fn keep_keys(&mut self) {
        for (place, expr) in self.plan.exprs().iter().enumerate() {
            if matches!(expr.scalar, Scalar::Field { column: 0, .. }) {
                self.uses_of(ExprId::at(place)).whole = true;
            }
        }
    }

    fn uses_of(&mut self, field: ExprId) -> &mut Uses {
        let place = self.uses.iter().position(|(e, _)| *e == field).unwrap_or_else(|| {
            self.uses.push((field, Uses::default()));
            self.uses.len() - 1
        });
        &mut self.uses[place].1
    }

    /// The column of which this is something narrower.
    fn narrow(&self, e: ExprId) -> Option<ExprId> {
        let is_bounded =
            |field: ExprId| matches!(self.plan.scalar(field), Scalar::Field { .. }) && !self.wide[field.index()];
        match self.plan.scalar(e) {
            Scalar::Extract(_, a) | Scalar::IsNull(a) if is_bounded(*a) => Some(*a),
            _ => None,
        }
    }

    fn choose(&mut self) {
        let bits = |e: &ExprId| {
            let mut packer = Packer::default();
            packer.cell(self.plan.ty(*e), &facts(self.plan, *e));
            u32::from(packer.bits) + 32 * u32::from(packer.names)
        };
        for (field, uses) in std::mem::take(&mut self.uses) {
            let Some(column) = self.column(self.plan.scalar(field)) else {
                continue;
            };
            let mut packer = Packer::default();
            packer.cell(column.ty, &column.facts);
            let whole = u32::from(packer.bits) + 32 * u32::from(packer.names);
            let narrow: u32 = uses.narrow.iter().map(bits).sum();
            if uses.whole || narrow >= whole {
                self.kept.push((field, false));
                continue;
            }
            match uses.narrow.first() {
                Some(first) => {
                    if let Scalar::Field { kind, column, element } = self.plan.scalar(field) {
                        self.null_of.insert((*kind, *column, *element), *first);
                    }
                    self.kept.extend(uses.narrow.iter().map(|e| (*e, false)));
                }
                None => self.kept.extend(uses.nulls.iter().map(|e| (*e, false))),
            }
        }
    }
}

/// Whether this is text that is too long to be kept as a matter of course.
fn is_unbounded(column: &SchemaColumn) -> bool {
    column.ty == Ty::Text && column.facts.bytes.is_none_or(|bytes| bytes > LONGEST_KEPT)
}
