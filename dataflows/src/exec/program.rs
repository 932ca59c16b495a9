//! The expressions of all that reads one relation, computed over a chunk of its rows: each once, however many read it.
//!
//! Expressions over integers and the choice between names are loops over whole columns. What remains (functions of
//! texts, numerics) is computed by [`Evaluator`] from the columns that it names: for each different text once, where
//! it depends on one text alone, else for each row.
//!
//! Nothing is computed lazily, and nothing fails: a value that does not exist (a quotient by 0) is any other, since
//! whatever stands above it drops the row, or does not choose the branch.

use super::vector::{CHUNK, Vector, Vectors, is_vectorised};
use crate::sql::eval::scalar::{Evaluator, Row};
use crate::sql::eval::{Computed, Datum, Failure};
use crate::sql::plan::{ExprId, Plan, Scalar};
use crate::sql::types::Ty;
use hashbrown::{HashMap, HashSet};
use operators::Symbol;

/// How one expression is computed.
#[derive(Debug)]
enum How {
    /// It is a column: filled by the reader of the rows.
    Column,
    /// Over vectors.
    Vectors,
    /// Of one name alone: what is known of the names met.
    ByName(Script, HashMap<Option<Symbol>, Known>),
    /// Row by row.
    Rows(Script),
}

/// The value of an expression for a name.
#[derive(Clone, Copy, Debug)]
enum Known {
    Int(Option<i64>),
    Name(Option<Symbol>),
}

/// An expression over columns, alone in a plan.
#[derive(Debug)]
struct Script {
    plan: Plan,
    root: ExprId,
    /// The expressions that are its columns, with their types.
    columns: Vec<(ExprId, Ty)>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Program {
    plan: Plan,
    steps: Vec<(ExprId, How)>,
    /// What has been computed.
    pub(crate) vectors: Vectors,
}

impl Program {
    /// A program that computes the `roots` over columns, which are [`Scalar::Column`]s. Those of `halves` come in two
    /// parts.
    pub(crate) fn new(plan: Plan, roots: &[ExprId], halves: &HashSet<ExprId>) -> Program {
        let mut program = Program {
            vectors: Vectors::new(&plan),
            steps: Vec::new(),
            plan,
        };
        for e in halves {
            *program.vectors.get_mut(*e) = Vector::Halves(Vec::with_capacity(CHUNK));
        }
        let plan = &program.plan;
        let mut vectorised = vec![false; plan.exprs().len()];
        let mut constant = vec![false; plan.exprs().len()];
        for (place, expr) in plan.exprs().iter().enumerate() {
            let e = ExprId::at(place);
            let is_column = matches!(expr.scalar, Scalar::Column(_));
            constant[place] = !is_column && expr.scalar.arguments().iter().all(|e| constant[e.index()]);
            vectorised[place] =
                is_column || constant[place] || is_vectorised(plan, e, |argument| vectorised[argument.index()]);
        }
        let mut needed = vec![false; plan.exprs().len()];
        roots.iter().for_each(|root| needed[root.index()] = true);
        // arguments stand before what they are arguments of
        let mut place = needed.len();
        let mut steps = Vec::new();
        while place > 0 {
            place -= 1;
            let e = ExprId::at(place);
            if !needed[place] {
                continue;
            }
            if constant[place] {
                let value = Evaluator::new(plan).value(e, &NoRow).unwrap_or(Datum::Null);
                let vector = program.vectors.get_mut(e);
                (0..CHUNK).for_each(|_| vector.push(&value));
                continue;
            }
            let how = match plan.scalar(e) {
                Scalar::Column(_) => How::Column,
                scalar if vectorised[place] => {
                    scalar
                        .arguments()
                        .iter()
                        .for_each(|argument| needed[argument.index()] = true);
                    How::Vectors
                }
                _ => {
                    let script = Script::new(plan, e);
                    script
                        .columns
                        .iter()
                        .for_each(|(column, _)| needed[column.index()] = true);
                    match script.columns[..] {
                        [(column, Ty::Text)] if !halves.contains(&column) && plan.ty(e) != Ty::Numeric => {
                            How::ByName(script, HashMap::new())
                        }
                        _ => How::Rows(script),
                    }
                }
            };
            steps.push((e, how));
        }
        steps.reverse();
        program.steps = steps;
        program
    }

    /// The columns that are to be filled, each with its number and type.
    pub(crate) fn columns(&self) -> Vec<(ExprId, u16, Ty)> {
        let column = |(e, _): &(ExprId, How)| match self.plan.scalar(*e) {
            Scalar::Column(column) => Some((*e, *column, self.plan.ty(*e))),
            _ => None,
        };
        self.steps.iter().filter_map(column).collect()
    }

    /// Computes everything over so many rows, whose columns are filled.
    pub(crate) fn run(&mut self, rows: usize) {
        debug_assert!(rows <= CHUNK);
        self.vectors.rows = rows;
        for (e, how) in &mut self.steps {
            match how {
                How::Column => {}
                How::Vectors => self.vectors.compute(&self.plan, *e),
                How::ByName(script, known) => script.by_name(*e, known, &mut self.vectors),
                How::Rows(script) => script.rows(*e, &mut self.vectors),
            }
        }
    }
}

impl Script {
    fn new(from: &Plan, root: ExprId) -> Script {
        let mut script = Script {
            plan: Plan::default(),
            root,
            columns: Vec::new(),
        };
        let Script { plan, columns, .. } = &mut script;
        let mut leaf = |plan: &mut Plan, e: ExprId, scalar: &Scalar, ty: Ty| {
            matches!(scalar, Scalar::Column(_)).then(|| {
                let place = columns.iter().position(|(known, _)| *known == e).unwrap_or_else(|| {
                    columns.push((e, ty));
                    columns.len() - 1
                });
                plan.add(Scalar::Column(place as u16), ty)
            })
        };
        script.root = translate(from, root, plan, &mut HashMap::new(), &mut leaf);
        script
    }

    fn rows(&self, e: ExprId, vectors: &mut Vectors) {
        let mut out = std::mem::take(vectors.get_mut(e));
        out.clear();
        let mut evaluator = Evaluator::new(&self.plan);
        for row in 0..vectors.rows {
            evaluator.next_row();
            let columns = self
                .columns
                .iter()
                .map(|(column, ty)| vectors.get(*column).datum(*ty, row));
            let columns: Vec<Datum> = columns.collect();
            out.push(&evaluator.value(self.root, &columns).unwrap_or(Datum::Null));
        }
        *vectors.get_mut(e) = out;
    }

    fn by_name(&self, e: ExprId, known: &mut HashMap<Option<Symbol>, Known>, vectors: &mut Vectors) {
        let mut out = std::mem::take(vectors.get_mut(e));
        out.clear();
        let [(column, _)] = self.columns[..] else {
            unreachable!("one column")
        };
        for row in 0..vectors.rows {
            let name = vectors.name(column, row);
            let value = *known.entry(name).or_insert_with(|| {
                let name = name.map_or(Datum::Null, |name| Datum::text(name.text()));
                let value = Evaluator::new(&self.plan).value(self.root, &vec![name]);
                match value.unwrap_or(Datum::Null) {
                    Datum::Text(text) => Known::Name(Some(Symbol::new(&text))),
                    Datum::Null if matches!(out, Vector::Names(_)) => Known::Name(None),
                    value => Known::Int(super::layout::code(&value)),
                }
            });
            match (&mut out, value) {
                (Vector::Names(names), Known::Name(name)) => names.push(name),
                (out, Known::Int(value)) => out.push_code(value),
                _ => unreachable!("the value is of the expression's type"),
            }
        }
        *vectors.get_mut(e) = out;
    }
}

/// A row without columns.
struct NoRow;

impl Row for NoRow {
    fn leaf(&self, _: &Scalar) -> Computed<Datum> {
        Err(Failure::WrongType)
    }
}

/// `e` of one plan as an expression of another, with what `leaf` gives in the place of parts for which it gives
/// something.
pub(crate) fn translate(
    from: &Plan,
    e: ExprId,
    to: &mut Plan,
    done: &mut HashMap<ExprId, ExprId>,
    leaf: &mut impl FnMut(&mut Plan, ExprId, &Scalar, Ty) -> Option<ExprId>,
) -> ExprId {
    if let Some(known) = done.get(&e) {
        return *known;
    }
    let (scalar, ty) = (from.scalar(e), from.ty(e));
    let new = match leaf(to, e, scalar, ty) {
        Some(new) => new,
        None => {
            let scalar = scalar.map(|part| translate(from, part, to, done, leaf));
            to.add(scalar, ty)
        }
    };
    done.insert(e, new);
    new
}
