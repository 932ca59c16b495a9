//! The operator that reads a relation's rows and writes what other operators take.
//!
//! There is one for each relation, with an output for each reader: columns are unpacked once, expressions computed
//! once, and only what each reader asks for is written.

use super::groups::Recipe;
use super::layout::Cell;
use super::program::Program;
use super::row::{Cells, Packed, Parts, Post, WidePost};
use super::vector::{CHUNK, Vector, Vectors};
use crate::sql::eval::{Datum, Decimal};
use crate::sql::plan::{ExprId, Plan, Presence, Scalar};
use crate::sql::types::Ty;
use differential_dataflow::{AsCollection, Data, VecCollection};
use hashbrown::HashSet;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::channels::pushers;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Where a column's values come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Take {
    /// A cell of one of the packed parts of a row.
    Cell(u8, Cell),
    /// A number beside the packed parts, never null.
    Number(u8),
    /// All bits of such a number inverted: what was the greatest of the inverted ones is the least.
    Inverted(u8),
    /// Whether the kinds that have a record are among these; these bits of a row's words say which kinds it has.
    Present(Presence, Vec<(usize, u32)>),
    /// What an aggregate of a group is.
    Aggregate(Recipe),
}

/// A row that expressions can be computed over.
pub(crate) trait Rows: Data {
    /// What its [`Take::Cell`]s lie in.
    fn parts(&self, part: u8) -> Parts<'_>;

    /// A [`Take::Number`].
    fn number(&self, _: u8) -> i64 {
        unreachable!("there is no number beside the cells")
    }

    /// A [`Take::Aggregate`].
    fn aggregate(&self, _: &Recipe) -> Datum {
        unreachable!("there is no aggregate beside the cells")
    }
}

impl<const S: usize, const P: usize> Rows for Packed<S, P> {
    #[inline]
    fn parts(&self, _: u8) -> Parts<'_> {
        Post::parts(self)
    }
}

impl Rows for WidePost {
    fn parts(&self, _: u8) -> Parts<'_> {
        Post::parts(self)
    }
}

/// A key and a number.
impl<K: Cells> Rows for (K, i64) {
    #[inline]
    fn parts(&self, _: u8) -> Parts<'_> {
        self.0.parts()
    }

    #[inline]
    fn number(&self, _: u8) -> i64 {
        self.1
    }
}

/// Fills a column.
fn fill<R: Rows>(take: &Take, ty: Ty, rows: &[(R, u64, isize)], out: &mut Vector) {
    out.clear();
    match (take, out) {
        (Take::Cell(part, Cell::Name(n)), Vector::Names(names)) => {
            names.extend(rows.iter().map(|(row, ..)| row.parts(*part).0[usize::from(*n)]));
        }
        (Take::Cell(part, Cell::Halves(n)), Vector::Halves(halves)) => {
            let n = usize::from(*n);
            halves.extend(rows.iter().map(|(row, ..)| {
                let names = row.parts(*part).0;
                names[n].zip(names[n + 1]).map(|(first, rest)| [first, rest])
            }));
        }
        (Take::Cell(part, Cell::Int { bits, low, null }), Vector::Ints { values, nulls }) => {
            for (row, ..) in rows {
                let value = Cell::int(*bits, *low, *null, row.parts(*part).1);
                values.push(value.unwrap_or(0));
                nulls.push(value.is_none());
            }
        }
        (Take::Cell(part, Cell::Numeric { halves, some, scale }), Vector::Data(data)) => {
            data.extend(rows.iter().map(|(row, ..)| {
                let value = Cell::numeric(*halves, *some, *scale, row.parts(*part).1);
                value.map_or(Datum::Null, Datum::Numeric)
            }));
        }
        (Take::Number(n), Vector::Ints { values, nulls }) => {
            values.extend(rows.iter().map(|(row, ..)| row.number(*n)));
            nulls.resize(rows.len(), false);
        }
        (Take::Inverted(n), Vector::Ints { values, nulls }) => {
            values.extend(rows.iter().map(|(row, ..)| !row.number(*n)));
            nulls.resize(rows.len(), false);
        }
        (Take::Present(presence, bits), Vector::Ints { values, nulls }) => {
            values.extend(rows.iter().map(|(row, ..)| {
                let words = row.parts(0).1;
                let has =
                    |set, (kind, (word, bit)): (usize, &(usize, u32))| set | u8::from(words[*word] & bit != 0) << kind;
                i64::from(presence.holds(bits.iter().enumerate().fold(0, has)))
            }));
            nulls.resize(rows.len(), false);
        }
        (Take::Aggregate(recipe), out) => rows.iter().for_each(|(row, ..)| out.push(&row.aggregate(recipe))),
        (take, out) => unreachable!("a column of {ty} from {take:?} in {out:?}"),
    }
}

/// Cells to be filled from expressions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packing {
    pub(crate) cells: Vec<(ExprId, Cell)>,
    pub(crate) names: usize,
    pub(crate) words: usize,
    /// Whether numerics whose scale is kept lose the zeros that end them, so that equal values are equal whatever
    /// their scales.
    pub(crate) strip: bool,
}

impl Packing {
    /// The expressions that are packed.
    pub(crate) fn roots(&self) -> Vec<ExprId> {
        self.cells.iter().map(|(e, _)| *e).collect()
    }

    /// The packed row.
    pub(crate) fn pack<K: Cells>(&self, vectors: &Vectors, row: usize) -> K {
        K::fill(self.names, self.words, |names, words| {
            for (e, cell) in &self.cells {
                match (*cell, vectors.get(*e)) {
                    (Cell::Name(n), Vector::Names(from)) => names[usize::from(n)] = from[row],
                    (Cell::Halves(n), Vector::Halves(from)) => {
                        let n = usize::from(n);
                        (names[n], names[n + 1]) = from[row].map_or((None, None), |[a, b]| (Some(a), Some(b)));
                    }
                    (Cell::Int { bits, low, null }, Vector::Ints { values, nulls }) => {
                        let value = (!nulls[row]).then_some(values[row]);
                        Cell::put_int(bits, low, null, value, words);
                    }
                    (Cell::Numeric { halves, some, scale }, Vector::Data(from)) => {
                        let value = match &from[row] {
                            Datum::Numeric(value) if self.strip && !scale.0.is_empty() => {
                                let (unscaled, scale) = value.stripped();
                                Some(Decimal { unscaled, scale })
                            }
                            Datum::Numeric(value) => Some(*value),
                            _ => None,
                        };
                        Cell::put_numeric(halves, some, scale, value, words);
                    }
                    (cell, from) => unreachable!("{from:?} does not go into {cell:?}"),
                }
            }
        })
    }
}

/// One output.
trait Port {
    /// Takes what it wants of a chunk's rows, whose times and differences these are.
    fn take(&mut self, vectors: &Vectors, times: &[(u64, isize)]);

    /// Sends what was taken.
    fn flush(&mut self, time: &InputCapability<u64>);
}

struct Out<D, F> {
    output: pushers::Output<u64, Vec<(D, u64, isize)>>,
    filter: Option<ExprId>,
    make: F,
    taken: Vec<(D, u64, isize)>,
}

impl<D: Data, F: FnMut(&Vectors, usize) -> D> Port for Out<D, F> {
    fn take(&mut self, vectors: &Vectors, times: &[(u64, isize)]) {
        for (row, (time, diff)) in times.iter().enumerate() {
            if self.filter.is_none_or(|filter| vectors.holds(filter, row)) {
                self.taken.push(((self.make)(vectors, row), *time, *diff));
            }
        }
    }

    fn flush(&mut self, time: &InputCapability<u64>) {
        if !self.taken.is_empty() {
            self.output.activate().give(time, &mut self.taken);
            self.taken.clear();
        }
    }
}

/// A relation while its readers are found; see the [module](self).
pub(crate) struct Projector<'s> {
    builder: OperatorBuilder<'s, u64>,
    ports: Vec<Box<dyn Port>>,
    /// The expressions over the relation's columns.
    pub(crate) plan: Plan,
    takes: Vec<Take>,
    roots: Vec<ExprId>,
    halves: HashSet<ExprId>,
    finish: Box<dyn FnOnce(OperatorBuilder<'s, u64>, Program, Vec<Take>, Vec<Box<dyn Port>>) + 's>,
}

impl<'s> Projector<'s> {
    /// Over these rows.
    pub(crate) fn new<R: Rows>(rows: VecCollection<'s, u64, R, isize>, name: &str) -> Projector<'s> {
        let mut builder = OperatorBuilder::new(name.to_owned(), rows.inner.scope());
        let mut input = builder.new_input(rows.inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let finish = move |builder: OperatorBuilder<'s, u64>,
                           mut program: Program,
                           takes: Vec<Take>,
                           mut ports: Vec<Box<dyn Port>>| {
            let columns = program.columns();
            builder.build(move |_| {
                let mut times = Vec::with_capacity(CHUNK);
                move |_| {
                    input.for_each(|time, rows: &mut Vec<(R, u64, isize)>| {
                        for chunk in rows.chunks(CHUNK) {
                            for (e, column, ty) in &columns {
                                let out = program.vectors.get_mut(*e);
                                fill(&takes[usize::from(*column)], *ty, chunk, out);
                            }
                            program.run(chunk.len());
                            times.clear();
                            times.extend(chunk.iter().map(|(_, time, diff)| (*time, *diff)));
                            ports.iter_mut().for_each(|port| port.take(&program.vectors, &times));
                        }
                        ports.iter_mut().for_each(|port| port.flush(&time));
                    });
                }
            });
        };
        Projector {
            builder,
            ports: Vec::new(),
            plan: Plan::default(),
            takes: Vec::new(),
            roots: Vec::new(),
            halves: HashSet::new(),
            finish: Box::new(finish),
        }
    }

    /// The expression that is a column of the rows.
    pub(crate) fn column(&mut self, take: &Take, ty: Ty) -> ExprId {
        let place = self.takes.iter().position(|known| known == take).unwrap_or_else(|| {
            self.takes.push(take.clone());
            self.takes.len() - 1
        });
        let e = self.plan.add(Scalar::Column(place as u16), ty);
        if matches!(take, Take::Cell(_, Cell::Halves(_))) {
            self.halves.insert(e);
        }
        e
    }

    /// Whether the expression is a column that comes in two parts.
    pub(crate) fn is_halves(&self, e: ExprId) -> bool {
        self.halves.contains(&e)
    }

    /// An output with what `make` gives for each row where the filter holds, which reads the expressions `roots` alone.
    pub(crate) fn port<D: Data>(
        &mut self,
        filter: Option<ExprId>,
        roots: impl IntoIterator<Item = ExprId>,
        make: impl FnMut(&Vectors, usize) -> D + 'static,
    ) -> VecCollection<'s, u64, D, isize> {
        self.roots.extend(roots.into_iter().chain(filter));
        let (output, stream) = self.builder.new_output();
        self.ports.push(Box::new(Out {
            output,
            filter,
            make,
            taken: Vec::with_capacity(CHUNK),
        }));
        stream.as_collection()
    }

    /// An output of packed cells.
    pub(crate) fn packed<K: Cells>(
        &mut self,
        filter: Option<ExprId>,
        packing: Packing,
    ) -> VecCollection<'s, u64, K, isize> {
        self.port(filter, packing.roots(), move |vectors, row| packing.pack(vectors, row))
    }

    /// All readers are known.
    pub(crate) fn finish(self) {
        let program = Program::new(self.plan, &self.roots, &self.halves);
        (self.finish)(self.builder, program, self.takes, self.ports);
    }
}
