//! The operator that reads a relation's rows and writes what other operators take.
//!
//! There is one for each relation, with an output for each reader: columns are unpacked once, expressions computed
//! once, and only what each reader asks for is written.

use super::groups::{Group, Recipe};
use super::layout::{Cell, Null};
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

impl<K: Cells> Rows for Group<K> {
    fn parts(&self, _: u8) -> Parts<'_> {
        self.0.parts()
    }

    fn aggregate(&self, recipe: &Recipe) -> Datum {
        recipe.datum(&self.1)
    }
}

/// Which kinds have a record in each row of a chunk; empty until it is asked.
type Kinds = Vec<u8>;

/// Fills a column.
fn fill<R: Rows>(take: &Take, ty: Ty, rows: &[(R, u64, isize)], kinds: &mut Kinds, out: &mut Vector) {
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
            let words = rows.iter().map(|(row, ..)| row.parts(*part).1);
            match bits.within() {
                Some(within) => values.extend(words.map(|words| i64::from(within.get(words)))),
                None => values.extend(words.map(|words| bits.get(words) as i64)),
            }
            match null {
                Null::Never => nulls.resize(rows.len(), false),
                Null::Zero => nulls.extend(values.iter().map(|value| *value == 0)),
                Null::Flag(flag) => {
                    nulls.extend(rows.iter().map(|(row, ..)| flag.get(row.parts(*part).1) == 0));
                }
            }
            let low = match null {
                Null::Zero => low.wrapping_sub(1),
                Null::Never | Null::Flag(_) => *low,
            };
            values.iter_mut().for_each(|value| *value = low.wrapping_add(*value));
        }
        (Take::Cell(part, Cell::Numeric { halves, some, scale }), Vector::Data(data)) => {
            data.extend(rows.iter().map(|(row, ..)| {
                let value = Cell::numeric(*halves, *some, *scale, row.parts(*part).1);
                value.map_or(Datum::Null, Datum::Numeric)
            }));
        }
        (Take::Cell(part, Cell::Int { bits, low, null }), out @ Vector::Bools { .. }) => {
            let code = |row: &R| Cell::int(*bits, *low, *null, row.parts(*part).1);
            rows.iter().for_each(|(row, ..)| out.push_code(code(row)));
        }
        (Take::Number(n), out @ Vector::Bools { .. }) => {
            rows.iter().for_each(|(row, ..)| out.push_code(Some(row.number(*n))));
        }
        (Take::Inverted(n), out @ Vector::Bools { .. }) => {
            rows.iter().for_each(|(row, ..)| out.push_code(Some(!row.number(*n))));
        }
        (Take::Number(n), Vector::Ints { values, nulls }) => {
            values.extend(rows.iter().map(|(row, ..)| row.number(*n)));
            nulls.resize(rows.len(), false);
        }
        (Take::Inverted(n), Vector::Ints { values, nulls }) => {
            values.extend(rows.iter().map(|(row, ..)| !row.number(*n)));
            nulls.resize(rows.len(), false);
        }
        (Take::Present(presence, bits), Vector::Bools { values, nulls }) => {
            if kinds.is_empty() {
                kinds.resize(rows.len(), 0);
                for (kind, (word, bit)) in bits.iter().enumerate() {
                    for (kinds, (row, ..)) in kinds.iter_mut().zip(rows) {
                        *kinds |= u8::from(row.parts(0).1[*word] & bit != 0) << kind;
                    }
                }
            }
            values.extend(kinds.iter().map(|kinds| presence.holds(*kinds)));
            nulls.resize(rows.len(), false);
        }
        (Take::Aggregate(recipe), out) => rows.iter().for_each(|(row, ..)| out.push(&row.aggregate(recipe))),
        (take, _) => unreachable!("a column of {ty} from {take:?}"),
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

    /// Fills `keys`, which is empty, with the packed rows of a chunk that are selected, cell by cell: what a cell is, is
    /// asked once for all rows.
    pub(crate) fn pack<K: Cells>(&self, vectors: &Vectors, rows: &[u32], keys: &mut Vec<K>) {
        keys.resize_with(rows.len(), || K::empty(self.names, self.words));
        for (e, cell) in &self.cells {
            let keys = keys.iter_mut().zip(rows.iter().map(|row| *row as usize));
            match (*cell, vectors.get(*e)) {
                (Cell::Name(n), Vector::Names(from)) => {
                    keys.for_each(|(key, row)| key.parts_mut().0[usize::from(n)] = from[row]);
                }
                (Cell::Halves(n), Vector::Halves(from)) => {
                    let n = usize::from(n);
                    for (key, row) in keys {
                        let names = key.parts_mut().0;
                        (names[n], names[n + 1]) = from[row].map_or((None, None), |[a, b]| (Some(a), Some(b)));
                    }
                }
                (Cell::Int { bits, low, null }, Vector::Ints { values, nulls }) => {
                    let of = |row: usize| (!nulls[row]).then_some(values[row]);
                    match (bits.within(), null) {
                        // most integers lie within one word
                        (Some(within), Null::Never) => keys.for_each(|(key, row)| {
                            within.put(
                                key.parts_mut().1,
                                of(row).map_or(0, |value| value.wrapping_sub(low)) as u32,
                            );
                        }),
                        (Some(within), Null::Zero) => keys.for_each(|(key, row)| {
                            let value = of(row).map_or(0, |value| value.wrapping_sub(low).wrapping_add(1));
                            within.put(key.parts_mut().1, value as u32);
                        }),
                        _ => keys.for_each(|(key, row)| Cell::put_int(bits, low, null, of(row), key.parts_mut().1)),
                    }
                }
                (Cell::Int { bits, low, null }, from @ Vector::Bools { .. }) => {
                    keys.for_each(|(key, row)| Cell::put_int(bits, low, null, from.code(row), key.parts_mut().1));
                }
                (Cell::Numeric { halves, some, scale }, Vector::Data(from)) => {
                    for (key, row) in keys {
                        let value = match &from[row] {
                            Datum::Numeric(value) if self.strip && !scale.0.is_empty() => {
                                let (unscaled, scale) = value.stripped();
                                Some(Decimal { unscaled, scale })
                            }
                            Datum::Numeric(value) => Some(*value),
                            _ => None,
                        };
                        Cell::put_numeric(halves, some, scale, value, key.parts_mut().1);
                    }
                }
                (cell, _) => unreachable!("{e:?} does not go into {cell:?}"),
            }
        }
    }
}

/// The rows of a chunk that an output takes, with their times and differences.
pub(crate) struct Chosen<'a> {
    pub(crate) vectors: &'a Vectors,
    /// Their numbers.
    pub(crate) rows: &'a [u32],
    times: &'a [(u64, isize)],
    /// How many rows the batch has that the chunk is of.
    batch: usize,
}

impl Chosen<'_> {
    /// Appends what was made of each of them.
    pub(crate) fn give<D>(&self, made: impl Iterator<Item = D>, to: &mut Vec<(D, u64, isize)>) {
        let times = self.rows.iter().map(|row| self.times[*row as usize]);
        to.extend(made.zip(times).map(|(made, (time, diff))| (made, time, diff)));
    }
}

/// One output.
trait Port {
    /// Takes the rows of a chunk that it chose.
    fn take(&mut self, chosen: &Chosen<'_>);

    /// Sends what was taken.
    fn flush(&mut self, time: &InputCapability<u64>);
}

struct Out<D, F> {
    output: pushers::Output<u64, Vec<(D, u64, isize)>>,
    make: F,
    taken: Vec<(D, u64, isize)>,
}

impl<D: Data, F: FnMut(&Chosen<'_>, &mut Vec<(D, u64, isize)>)> Port for Out<D, F> {
    fn take(&mut self, chosen: &Chosen<'_>) {
        if self.taken.is_empty() {
            // what was sent last may have taken its room along
            self.taken.reserve(chosen.batch);
        }
        (self.make)(chosen, &mut self.taken);
    }

    fn flush(&mut self, time: &InputCapability<u64>) {
        if !self.taken.is_empty() {
            self.output.activate().give(time, &mut self.taken);
            self.taken.clear();
        }
    }
}

/// A condition with the outputs of the rows where it holds.
struct Choice {
    filter: Option<ExprId>,
    ports: Vec<Box<dyn Port>>,
    rows: Vec<u32>,
}

impl Choice {
    fn take(&mut self, vectors: &Vectors, times: &[(u64, isize)], batch: usize) {
        let all = times.len() as u32;
        match self.filter {
            None => self.rows.extend(self.rows.len() as u32..all),
            Some(filter) => {
                // without a branch on what is hard to foresee
                self.rows.resize(times.len(), 0);
                let (truths, nulls) = vectors.bools(filter);
                let mut chosen = 0;
                for (row, (truth, null)) in (0..all).zip(truths.iter().zip(nulls)) {
                    self.rows[chosen] = row;
                    chosen += usize::from(*truth & !*null);
                }
                self.rows.truncate(chosen);
            }
        }
        let rows = match self.filter {
            None => &self.rows[..times.len()],
            Some(_) => &self.rows[..],
        };
        if !rows.is_empty() {
            let chosen = Chosen {
                vectors,
                rows,
                times,
                batch,
            };
            self.ports.iter_mut().for_each(|port| port.take(&chosen));
        }
    }
}

/// A relation while its readers are found; see the [module](self).
pub(crate) struct Projector<'s> {
    builder: OperatorBuilder<'s, u64>,
    choices: Vec<Choice>,
    /// The expressions over the relation's columns.
    pub(crate) plan: Plan,
    takes: Vec<Take>,
    roots: Vec<ExprId>,
    halves: HashSet<ExprId>,
    finish: Box<dyn FnOnce(OperatorBuilder<'s, u64>, Program, Vec<Take>, Vec<Choice>) + 's>,
}

impl<'s> Projector<'s> {
    /// Over the rows of the operator `name`.
    pub(crate) fn new<R: Rows>(rows: VecCollection<'s, u64, R, isize>, name: &str) -> Projector<'s> {
        let mut builder = OperatorBuilder::new(format!("{name}, expressions"), rows.inner.scope());
        let mut input = builder.new_input(rows.inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let finish = move |builder: OperatorBuilder<'s, u64>,
                           mut program: Program,
                           takes: Vec<Take>,
                           mut choices: Vec<Choice>| {
            let columns = program.columns();
            builder.build(move |_| {
                let (mut times, mut kinds) = (Vec::with_capacity(CHUNK), Kinds::with_capacity(CHUNK));
                move |_| {
                    input.for_each(|time, rows: &mut Vec<(R, u64, isize)>| {
                        for chunk in rows.chunks(CHUNK) {
                            kinds.clear();
                            for (e, column, ty) in &columns {
                                let out = program.vectors.get_mut(*e);
                                fill(&takes[usize::from(*column)], *ty, chunk, &mut kinds, out);
                            }
                            program.run(chunk.len());
                            times.clear();
                            times.extend(chunk.iter().map(|(_, time, diff)| (*time, *diff)));
                            choices
                                .iter_mut()
                                .for_each(|choice| choice.take(&program.vectors, &times, rows.len()));
                        }
                        let ports = choices.iter_mut().flat_map(|choice| &mut choice.ports);
                        ports.for_each(|port| port.flush(&time));
                    });
                }
            });
        };
        Projector {
            builder,
            choices: Vec::new(),
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

    /// Says that an expression is such a column where it is chosen, else null.
    pub(crate) fn mark_halves(&mut self, e: ExprId) {
        self.halves.insert(e);
    }

    /// Whether the expression is a text that comes in two parts.
    pub(crate) fn is_halves(&self, e: ExprId) -> bool {
        self.halves.contains(&e)
    }

    /// An output with what `make` makes of the rows where the filter holds, from the expressions `roots` alone.
    pub(crate) fn port<D: Data>(
        &mut self,
        filter: Option<ExprId>,
        roots: impl IntoIterator<Item = ExprId>,
        make: impl FnMut(&Chosen<'_>, &mut Vec<(D, u64, isize)>) + 'static,
    ) -> VecCollection<'s, u64, D, isize> {
        self.roots.extend(roots.into_iter().chain(filter));
        let (output, stream) = self.builder.new_output();
        let port = Box::new(Out {
            output,
            make,
            taken: Vec::with_capacity(CHUNK),
        });
        match self.choices.iter_mut().find(|choice| choice.filter == filter) {
            Some(choice) => choice.ports.push(port),
            None => self.choices.push(Choice {
                filter,
                ports: vec![port],
                rows: Vec::with_capacity(CHUNK),
            }),
        }
        stream.as_collection()
    }

    /// An output with what `make` makes of the packed cells of each row where the filter holds, and of the chunk and the
    /// row's number in it; it reads the expressions `roots` besides the cells'.
    pub(crate) fn keyed<K: Cells, D: Data>(
        &mut self,
        filter: Option<ExprId>,
        packing: Packing,
        roots: impl IntoIterator<Item = ExprId>,
        mut make: impl FnMut(K, &Vectors, usize) -> D + 'static,
    ) -> VecCollection<'s, u64, D, isize> {
        let roots: Vec<ExprId> = packing.roots().into_iter().chain(roots).collect();
        let mut keys = Vec::with_capacity(CHUNK);
        self.port(filter, roots, move |chosen, taken| {
            packing.pack(chosen.vectors, chosen.rows, &mut keys);
            let rows = chosen.rows.iter().map(|row| *row as usize);
            chosen.give(
                keys.drain(..)
                    .zip(rows)
                    .map(|(key, row)| make(key, chosen.vectors, row)),
                taken,
            );
        })
    }

    /// An output of packed cells.
    pub(crate) fn packed<K: Cells>(
        &mut self,
        filter: Option<ExprId>,
        packing: Packing,
    ) -> VecCollection<'s, u64, K, isize> {
        self.keyed(filter, packing, [], |key, _, _| key)
    }

    /// All readers are known.
    pub(crate) fn finish(self) {
        let program = Program::new(self.plan, &self.roots, &self.halves);
        (self.finish)(self.builder, program, self.takes, self.choices);
    }
}
