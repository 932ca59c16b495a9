//! What is known of the value of an expression, and whether it can fail.
//!
//! A [`Prover`] works over the rows of one relation: it knows what holds of its columns, and what a filter that every
//! row has passed says about parts of expressions ([`Prover::assume`]). Facts are computed from the leaves upwards; an
//! operation whose arguments leave no proof that it succeeds is a [`Doubt`].

mod number;
mod numeric;
mod refine;
mod text;

use super::plan::{ExprId, Join, NodeId, Plan, Scalar, WrittenColumn};
use super::schema::Schema;
use super::types::{Facts, MOST_ROWS, Ty, widest};
use hashbrown::HashMap;

pub(super) use numeric::{quotient, total_of};
pub(super) use refine::Truth;

/// Why an expression may fail, or is not to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The result may leave the range of the type.
    Range(Ty),
    /// The divisor may be 0.
    Zero(ExprId),
    /// A numeric may have more digits than are computed here.
    Digits,
    /// A text is compared by order, and its collation is not known.
    Collation(ExprId),
    /// An operation that makes text longer has wide text.
    Wide(ExprId),
    /// Wide text of one kind, and something of another kind.
    Kinds,
    /// A text may be longer than any database holds.
    Long,
    /// A column that is computed safely only behind the filter of its own query.
    Filter,
    /// Too many steps.
    Large,
}

/// The part of an expression that may fail, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub expr: ExprId,
    pub reason: Reason,
}

pub(super) type Proved = Result<Facts, Doubt>;

/// What expressions are computed over.
#[derive(Clone, Copy)]
pub(super) enum Over<'a> {
    /// Keys and fields of kinds.
    Posts(&'a Join),
    /// The columns of a node.
    Node(NodeId),
    /// The columns of a node, and behind them numbers from 1: the places of a rank that is not made yet.
    Ranked(NodeId),
}

/// How many steps one proof may take: CASE within CASE is proved anew for each branch.
const MOST_STEPS: u32 = 50_000;

/// See the module's description.
#[derive(Clone)]
pub(super) struct Prover<'a> {
    plan: &'a Plan,
    schema: &'a Schema,
    over: Over<'a>,
    /// What holds only behind the filters below is not used: for filters, whose terms PostgreSQL orders as it likes.
    unfiltered: bool,
    assumed: HashMap<ExprId, Facts>,
    known: HashMap<ExprId, Proved>,
    written: HashMap<ExprId, WrittenColumn>,
    steps: u32,
}

impl<'a> Prover<'a> {
    pub fn new(plan: &'a Plan, schema: &'a Schema, over: Over<'a>, unfiltered: bool) -> Prover<'a> {
        Prover {
            plan,
            schema,
            over,
            unfiltered,
            assumed: HashMap::new(),
            known: HashMap::new(),
            written: HashMap::new(),
            steps: 0,
        }
    }

    /// What holds of every value of `e`.
    pub fn prove(&mut self, e: ExprId) -> Proved {
        if let Some(known) = self.known.get(&e) {
            return known.clone();
        }
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return self.doubt(e, Reason::Large);
        }
        let proved = self.facts(e).map(|facts| match self.assumed.get(&e) {
            Some(assumed) => both(facts, *assumed),
            None => facts,
        });
        self.known.insert(e, proved.clone());
        proved
    }

    /// Whether `e` is a constant, in PostgreSQL at least: it puts what a subquery selects in the place of its columns.
    /// A constant is computed before any row is read, whatever stands around it, so that no condition says anything
    /// about it.
    fn constant(&mut self, e: ExprId) -> bool {
        let node = match self.over {
            Over::Posts(_) => None,
            Over::Node(node) | Over::Ranked(node) => Some(node),
        };
        self.plan.written(node, e, &mut self.written).constant
    }

    fn doubt(&self, expr: ExprId, reason: Reason) -> Proved {
        Err(Doubt { expr, reason })
    }

    fn facts(&mut self, e: ExprId) -> Proved {
        use Scalar::*;
        let plan = self.plan;
        let ty = plan.ty(e);
        let scalar = plan.scalar(e);
        let condition = |nullable| Facts::range(0, 1).nullable(nullable);
        match scalar {
            Field { kind, column, .. } => Ok(self.field(usize::from(*kind), usize::from(*column))),
            Key => Ok(Facts::of(ty).nullable(false)),
            Column(column) => self.column(e, usize::from(*column)),
            Null | Bool(_) | Int(_) | Numeric { .. } | Text(_) | Date(_) | Timestamp(_) => Ok(literal(scalar, ty)),
            Case(branches, otherwise) => self.case(e, branches, *otherwise),
            _ => {
                let arguments = scalar.arguments();
                let mut args = Vec::with_capacity(arguments.len());
                for argument in &arguments {
                    args.push(self.prove(*argument)?);
                }
                if args
                    .iter()
                    .zip(&arguments)
                    .any(|(facts, a)| plan.ty(*a) == Ty::Text && facts.bytes.is_none())
                    && self.kinds(e).count_ones() > 1
                {
                    return self.doubt(e, Reason::Kinds);
                }
                let nullable = args.iter().any(|facts| facts.nullable);
                match scalar {
                    And(_) | Or(_) | Not(_) | In(..) | Like(..) | StartsWith(..) => Ok(condition(nullable)),
                    IsNull(_) | IsTrue(_) | IsFalse(_) | IsDistinct(..) => Ok(condition(false)),
                    Compare(op, left, right) => {
                        use super::plan::CompareOp::{Equal, NotEqual};
                        let ordered = args[0].ordered || args[1].ordered;
                        if plan.ty(*left) == Ty::Text && !matches!(op, Equal | NotEqual) && !ordered {
                            let which = if matches!(plan.scalar(*left), Text(_)) {
                                *right
                            } else {
                                *left
                            };
                            return self.doubt(e, Reason::Collation(which));
                        }
                        Ok(condition(nullable))
                    }
                    Coalesce(_) => {
                        let nullable = args.iter().all(|facts| facts.nullable);
                        Ok(self.either(&arguments, &args).nullable(nullable))
                    }
                    NullIf { right, .. } => {
                        let zero = matches!(plan.scalar(*right), Int(0) | Numeric { unscaled: 0, .. });
                        let value = args[0];
                        Ok(Facts {
                            nullable: true,
                            nonzero: value.nonzero || zero,
                            ..value
                        })
                    }
                    Greatest(_) | Least(_) => {
                        let nullable = args.iter().all(|facts| facts.nullable);
                        if ty == Ty::Text && !args.iter().any(|facts| facts.ordered) {
                            return self.doubt(e, Reason::Collation(arguments[0]));
                        }
                        Ok(self.either(&arguments, &args).nullable(nullable))
                    }
                    _ if ty == Ty::Text || plan.ty(arguments[0]) == Ty::Text => self.text(e, scalar, &args),
                    _ => self.number(e, scalar, &args),
                }
            }
        }
    }

    fn field(&self, kind: usize, column: usize) -> Facts {
        let Over::Posts(join) = self.over else {
            unreachable!("fields occur over posts alone");
        };
        let facts = self.schema.kinds[kind].columns[column].facts;
        facts.nullable(facts.nullable || !join.always_seen(kind))
    }

    fn column(&self, e: ExprId, column: usize) -> Proved {
        let (node, places) = match self.over {
            Over::Node(node) => (node, false),
            Over::Ranked(node) => (node, true),
            Over::Posts(_) => unreachable!("posts have fields, not columns"),
        };
        let outputs = self.plan.outputs(node);
        match outputs.get(column) {
            Some(output) if !self.unfiltered => Ok(output.facts),
            Some(output) => match output.unfiltered {
                Some(facts) => Ok(facts),
                None => self.doubt(e, Reason::Filter),
            },
            None => {
                debug_assert!(places);
                Ok(Facts::range(1, MOST_ROWS as i128))
            }
        }
    }

    /// Each branch is proved for the rows on which its condition is the first that holds.
    fn case(&mut self, e: ExprId, branches: &[(ExprId, ExprId)], otherwise: ExprId) -> Proved {
        let mut rest = self.clone();
        let (mut values, mut facts) = (Vec::new(), Vec::new());
        for (when, then) in branches {
            rest.prove(*when)?;
            let mut branch = rest.clone();
            branch.assume(*when, Truth::True);
            values.push(*then);
            facts.push(branch.prove(*then)?);
            rest.steps = branch.steps;
            rest.assume(*when, Truth::NotTrue);
        }
        values.push(otherwise);
        facts.push(rest.prove(otherwise)?);
        self.steps = rest.steps;
        let wide = self.plan.ty(e) == Ty::Text && facts.iter().any(|facts| facts.bytes.is_none());
        if wide && self.kinds(e).count_ones() > 1 {
            return self.doubt(e, Reason::Kinds);
        }
        Ok(self.either(&values, &facts))
    }

    /// What holds of a value that is one of several.
    fn either(&self, values: &[ExprId], facts: &[Facts]) -> Facts {
        let is_null = |e: &ExprId| matches!(self.plan.scalar(*e), Scalar::Null);
        // a null says nothing about the other values
        let some = values
            .iter()
            .zip(facts)
            .filter(|(e, _)| !is_null(e))
            .map(|(_, facts)| *facts);
        let nullable = facts.iter().any(|facts| facts.nullable);
        some.reduce(hull).unwrap_or(facts[0]).nullable(nullable)
    }

    /// The kinds whose fields `e` reads, one bit each.
    fn kinds(&self, e: ExprId) -> u64 {
        let mut seen = hashbrown::HashSet::new();
        let mut todo = vec![e];
        let mut kinds = 0;
        while let Some(e) = todo.pop() {
            if let Scalar::Field { kind, .. } = self.plan.scalar(e) {
                kinds |= 1 << kind;
            }
            todo.extend(
                self.plan
                    .scalar(e)
                    .arguments()
                    .into_iter()
                    .filter(|part| seen.insert(*part)),
            );
        }
        kinds
    }
}

/// What holds of a literal.
fn literal(scalar: &Scalar, ty: Ty) -> Facts {
    let exact = |value: i128| Facts {
        nonzero: value != 0,
        ..Facts::range(value, value)
    };
    match scalar {
        Scalar::Bool(value) => exact(i128::from(*value)),
        Scalar::Int(value) | Scalar::Timestamp(value) => exact(i128::from(*value)),
        Scalar::Date(days) => exact(i128::from(*days)),
        Scalar::Numeric { unscaled, scale } => numeric::literal(*unscaled, *scale),
        Scalar::Text(text) => Facts::text(Some(text.len() as u32)),
        // null is of every range: the least that can be said of it says nothing about others
        Scalar::Null => Facts {
            bytes: Some(0),
            ..Facts::range(0, 0).nullable(true)
        },
        _ => Facts::of(ty),
    }
}

/// What holds of a value that is one of two.
fn hull(a: Facts, b: Facts) -> Facts {
    let (low, high) = (a.low.min(b.low), a.high.max(b.high));
    Facts {
        nullable: a.nullable || b.nullable,
        low,
        high,
        nonzero: a.nonzero && b.nonzero,
        total: a
            .total
            .saturating_add(b.total)
            .min(widest(low, high).saturating_mul(MOST_ROWS)),
        scale: (a.scale.0.min(b.scale.0), a.scale.1.max(b.scale.1)),
        unscaled: a.unscaled.max(b.unscaled),
        bytes: a.bytes.zip(b.bytes).map(|(a, b)| a.max(b)),
        ordered: a.ordered || b.ordered,
    }
}

/// What holds where both hold.
fn both(a: Facts, b: Facts) -> Facts {
    let low = a.low.max(b.low);
    // no row is left where they contradict each other
    let high = a.high.min(b.high).max(low);
    let most = widest(low, high).saturating_mul(MOST_ROWS);
    Facts {
        nullable: a.nullable && b.nullable,
        low,
        high,
        nonzero: a.nonzero || b.nonzero,
        total: a.total.min(b.total).min(most),
        unscaled: a.unscaled.min(b.unscaled),
        ..a
    }
}
