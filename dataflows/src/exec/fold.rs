//! [`Node::Fold`](crate::sql::plan::Node::Fold) as operators.
//!
//! What is most common is one operator over keys of a fitting size: a count, a greatest value, the medians of an
//! integer. Everything else is a fold of sums and counts, with an operator beside it for each different count, each
//! extreme and each sorted argument, whose findings are gathered by key.

use super::build::Builder;
use super::groups::{Group, Part, Ranked, Recipe, Slot};
use super::layout::{Cell, Packer};
use super::project::{Packing, Projector, Rows, Take};
use super::relations::{Relation, all_of};
use super::row::{Cells, Parts, Wide, allocated};
use super::steps::{Cost, Steps};
use super::sums::{SUMS, Sum, Sums, Used, is_some};
use super::vector::Vector;
use crate::sql::eval::Datum;
use crate::sql::plan::{Agg, AggKind, ExprId, NodeId, Plan, Scalar};
use crate::sql::types::{Facts, Ty};
use differential_dataflow::VecCollection;
use operators::fold::fold;
use operators::gather::gather;
use operators::ordered::{Percentile, ordered};
use operators::{Footprint, Median, Per, Routing, Tuple, count, distinct, distinct_count, greatest, median};
use std::cmp::Reverse;

/// What `$body` gives for the first of these sizes that holds a key; `None` where none does. Each size is compiled anew,
/// so there are no more than the built-in results and plain ones like them take.
macro_rules! sized {
    ($packing:expr, [$(($names:literal, $words:literal)),*], $key:ident => $body:expr) => {
        match ($packing.names, $packing.words) {
            $((0..=$names, 0..=$words) => {
                type $key = Tuple<$names, $words>;
                Some($body)
            })*
            _ => None,
        }
    };
}

/// The medians of a group.
impl<K: Cells> Rows for (K, Median) {
    #[inline]
    fn parts(&self, _: u8) -> Parts<'_> {
        self.0.parts()
    }

    fn number(&self, n: u8) -> i64 {
        match n {
            0 => self.1.lower,
            1 => super::layout::from_double(self.1.mean),
            _ => self.1.count,
        }
    }
}

/// The columns of a fold as they come from its rows.
type Columns = Vec<Option<(Take, Ty)>>;

/// What is known of the fold that is being built.
struct Context<'a, 's> {
    /// The node.
    id: NodeId,
    steps: &'a mut Steps<'s>,
    routing: Routing,
    /// Bytes on the heap that the parts of a group own.
    heap: usize,
    relation: &'a mut Relation<'s>,
    /// Which rows of the relation it reads.
    filter: Option<ExprId>,
    /// Its key.
    key: Packing,
    packer: Packer,
    /// The columns of the key.
    columns: Columns,
}

impl<'a, 's> Builder<'a, 's> {
    pub(super) fn fold(&mut self, id: NodeId, input: NodeId, key: &[ExprId], aggregates: &[Agg]) {
        let catalogue = self.catalogue;
        let outputs = self.plan().outputs(id);
        let mut relation = self.relation(input);
        let filter = catalogue.filter(&mut relation, input);
        let mut packer = Packer::default();
        let mut columns = Vec::with_capacity(outputs.len());
        let mut cells = Vec::with_capacity(key.len());
        for (e, output) in key.iter().zip(outputs) {
            let cell = packer.cell(output.ty, &output.facts);
            cells.push((catalogue.resolve(&mut relation, input, *e), cell));
            columns.push(Some((Take::Cell(0, cell), output.ty)));
        }
        let mut used: Vec<Option<Used>> = Vec::with_capacity(aggregates.len());
        for (place, agg) in (key.len()..).zip(aggregates) {
            used.push(self.is_used(id, place).then(|| {
                Used {
                    kind: agg.kind,
                    args: agg
                        .args
                        .iter()
                        .map(|e| catalogue.resolve(&mut relation, input, *e))
                        .collect(),
                    filter: agg.filter.map(|e| catalogue.resolve(&mut relation, input, e)),
                    output: outputs[place],
                }
            }));
        }
        let context = Context {
            id,
            steps: &mut self.steps,
            routing: self.routing,
            heap: 0,
            relation: &mut relation,
            filter,
            key: Packing {
                names: packer.names.into(),
                words: packer.words(),
                cells,
                strip: false,
            },
            packer,
            columns,
        };
        let (projector, columns) = context.build(used);
        self.put_back(input, relation);
        self.relations.insert(Some(id), Relation::of_node(projector, &columns));
    }
}

impl<'s> Context<'_, 's> {
    fn plan(&mut self) -> &mut Plan {
        &mut self.relation.projector.plan
    }

    /// Writes down an operator, and returns the name to make it with.
    fn step(
        &mut self,
        operator: &'static str,
        finds: &'static str,
        keeps: impl Into<Vec<Footprint>>,
        cost: Cost,
    ) -> String {
        self.steps.add(Some(self.id), (operator, finds), keeps, cost)
    }

    /// Bytes on the heap that the key of a group owns.
    fn key_heap<K: Cells>(&self) -> usize {
        K::heap(self.key.names, self.key.words)
    }

    fn build(mut self, used: Vec<Option<Used>>) -> (Projector<'s>, Columns) {
        match self.common(&used) {
            Some(common) => common,
            None => self.general(used),
        }
    }

    /// By one operator over keys of a fitting size, if it can be so.
    fn common(&mut self, used: &[Option<Used>]) -> Option<(Projector<'s>, Columns)> {
        let is_distinct = |used: &Used| matches!(used.kind, AggKind::CountDistinct { .. });
        let mut columns = self.columns.clone();
        let mut add = |take: &dyn Fn(&Used) -> Take| {
            let column = |used: &Used| (take(used), used.output.ty);
            columns.extend(used.iter().map(|used| used.as_ref().map(column)));
        };
        let projector = if used.iter().flatten().all(Used::counts_all) {
            add(&|_| Take::Number(0));
            sized!(self.key, [(2, 0), (1, 1), (2, 1)], K => {
                let name = self.step("count", "number of rows", [operators::count::footprint::<K>(0)], Cost::Constant);
                let keys = self.relation.projector.packed::<K>(self.filter, self.key.clone());
                Projector::new(count(keys, &name, self.routing), &name)
            })
        } else if let Some((arg, least)) = extreme(self.plan(), used) {
            add(&|_| if least { Take::Inverted(0) } else { Take::Number(0) });
            sized!(self.key, [(2, 0)], K => {
                let finds = if least { "least value" } else { "greatest value" };
                let name = self.step("greatest", finds, operators::greatest::footprint::<K, i64>(0), Cost::Values);
                let values = self.values::<K>(arg, least);
                Projector::new(greatest(values, &name, self.routing), &name)
            })
        } else if let Some(arg) = middle(self.plan(), used) {
            add(&|used| match used.kind {
                AggKind::PercentileDisc { .. } => Take::Number(0),
                AggKind::PercentileCont { .. } => Take::Number(1),
                _ => Take::Number(2),
            });
            sized!(self.key, [(1, 0), (0, 1), (1, 1)], K => {
                let name = self.step("median", "median", operators::median::footprint::<K>(), Cost::Distinct(1));
                let values = self.values::<K>(arg, false);
                Projector::new(median(values, &name, self.routing), &name)
            })
        } else if used.iter().flatten().all(|used| used.counts_all() || is_distinct(used)) {
            self.distinct_counts(used, &mut add)
        } else {
            None
        };
        Some((projector?, columns))
    }

    /// Counts and the number of different items, of items that take few words.
    fn distinct_counts(
        &mut self,
        used: &[Option<Used>],
        add: &mut dyn FnMut(&dyn Fn(&Used) -> Take),
    ) -> Option<Projector<'s>> {
        let mut asked: Vec<(&Used, bool, Packing)> = Vec::new();
        for one in used.iter().flatten() {
            if let AggKind::CountDistinct { row } = one.kind {
                let items = self.with_cells(&one.args, true);
                if items.names > 2 || items.words > 4 {
                    return None;
                }
                asked.push((one, row, items));
            }
        }
        add(&|used| {
            let part = asked.iter().position(|(asked, ..)| std::ptr::eq(*asked, used));
            Take::Aggregate(match part {
                Some(part) => Recipe::Distinct(part + 1),
                None => Recipe::Count(Slot {
                    part: 0,
                    first: 0,
                    digits: 1,
                }),
            })
        });
        sized!(self.key, [(0, 1)], K => {
            self.heap += allocated(size_of::<i64>());
            let name = self.step("count", "number of rows", [operators::count::footprint::<K>(0)], Cost::Constant);
            let keys = self.relation.projector.packed::<K>(self.filter, self.key.clone());
            let counts = count(keys, &name, self.routing);
            let mut parts = vec![counts.map(|(key, rows)| finding(key, 0, Part::Ints([rows].into())))];
            for (part, (one, row, items)) in (1..).zip(asked) {
                parts.push(self.distinct::<K, Tuple<2, 4>>(part, one, row, items));
            }
            self.gathered(parts)
        })
    }

    /// What operators find out, by group.
    fn gathered<K: Cells>(&mut self, parts: Vec<Findings<'s, K>>) -> Projector<'s> {
        let (scope, count) = (parts[0].inner.scope(), parts.len());
        let kept = operators::gather::footprint::<K, Part>(count, self.key_heap::<K>(), self.heap);
        let name = self.step("gather", "all aggregates of a group", [kept], Cost::Parts(count));
        let parts = differential_dataflow::collection::concatenate(scope, parts);
        let groups: VecCollection<'s, u64, Group<K>, isize> = gather(parts, &name, self.routing, count);
        Projector::new(groups, &name)
    }

    /// The key and an integer that is never null, for each row.
    fn values<K: Cells>(&mut self, value: ExprId, inverted: bool) -> VecCollection<'s, u64, (K, i64), isize> {
        let (key, flip) = (self.key.clone(), if inverted { -1 } else { 0 });
        let projector = &mut self.relation.projector;
        projector.keyed(self.filter, key, [value], move |key, vectors, row| {
            (key, vectors.int(value, row).unwrap_or(0) ^ flip)
        })
    }

    /// Any aggregates.
    fn general(mut self, used: Vec<Option<Used>>) -> (Projector<'s>, Columns) {
        let mut sums = Sums::default();
        // sums and counts come first, so that the number of folds is known before other parts get theirs
        let mut recipes: Vec<Option<Recipe>> = Vec::with_capacity(used.len());
        for used in &used {
            recipes.push(used.as_ref().and_then(|used| sums.recipe(self.plan(), used)));
        }
        let (mut parts, mut next) = (Vec::new(), 0);
        for slots in sums.folds() {
            parts.push(self.sums(next, slots));
            next += 1;
        }
        let mut sorted: Vec<(ExprId, Option<ExprId>, usize)> = Vec::new();
        for (used_one, recipe) in used.iter().zip(&mut recipes) {
            let (Some(used_one), None) = (used_one, &recipe) else {
                continue;
            };
            let ty = used_one.args.first().map_or(Ty::Int8, |arg| self.plan().ty(*arg));
            let scale = used_one.output.facts.scale.0;
            let value = |part, at, inverted| Recipe::Value {
                part,
                at,
                ty,
                scale,
                inverted,
            };
            *recipe = Some(match used_one.kind {
                AggKind::CountDistinct { row } => {
                    let items = self.with_cells(&used_one.args, true);
                    parts.push(self.distinct::<Wide, Wide>(next, used_one, row, items));
                    Recipe::Distinct(next)
                }
                AggKind::Min | AggKind::Max => {
                    let least = used_one.kind == AggKind::Min;
                    parts.push(self.extremes(next, used_one, least));
                    value(next, 0, least)
                }
                AggKind::Mode => {
                    parts.push(self.modes(next, used_one));
                    value(next, 0, true)
                }
                AggKind::PercentileCont { .. } | AggKind::PercentileDisc { .. } => {
                    let group = (used_one.args[0], used_one.filter);
                    let is_same = |used: &&Used| is_percentile(used) && (used.args[0], used.filter) == group;
                    let same: Vec<&Used> = used.iter().flatten().filter(is_same).collect();
                    let percentiles: Vec<Percentile> = same.iter().map(|used| percentile(used.kind)).collect();
                    let at = same.iter().position(|used| std::ptr::eq(*used, used_one)).unwrap_or(0);
                    let known = sorted.iter().find(|(arg, filter, _)| (*arg, *filter) == group);
                    let part = match known {
                        Some((_, _, part)) => *part,
                        None => {
                            parts.push(self.sorted(next, used_one, percentiles.clone()));
                            sorted.push((group.0, group.1, next));
                            next += 1;
                            next - 1
                        }
                    };
                    *recipe = Some(match used_one.kind {
                        AggKind::PercentileCont { .. } => Recipe::Between {
                            part,
                            at: 2 * at,
                            percentile: percentiles[at],
                        },
                        _ => value(part, 2 * at, false),
                    });
                    continue;
                }
                kind => unreachable!("{kind:?} is made of sums"),
            });
            next += 1;
        }
        let recipes = used.iter().zip(recipes);
        self.columns.extend(recipes.map(|(used, recipe)| {
            let (used, recipe) = used.as_ref().zip(recipe)?;
            Some((Take::Aggregate(recipe), used.output.ty))
        }));
        let columns = std::mem::take(&mut self.columns);
        (self.gathered(parts), columns)
    }

    /// The condition on a row to take part in an aggregate, with null arguments left out where `some` names one.
    fn condition(&mut self, filter: Option<ExprId>, some: Option<ExprId>) -> Option<ExprId> {
        let base = self.filter;
        let some = some.map(|arg| is_some(self.plan(), arg));
        let terms = base.into_iter().chain(filter).chain(some).collect();
        all_of(self.plan(), terms)
    }

    /// A part of sums: of each slot, and of all rows as the last number.
    fn sums(&mut self, part: usize, slots: &[Sum]) -> Findings<'s, Wide> {
        self.heap += allocated(size_of::<i64>() * (SUMS + 1));
        let kept = operators::fold::footprint::<Wide, SUMS>(self.key_heap::<Wide>());
        let name = self.step("fold", "sums and counts", [kept], Cost::Constant);
        let (key, slots) = (self.key.clone(), slots.to_vec());
        let of = |sum: &Sum| sum.when.into_iter().chain(sum.of.map(|(e, _)| e)).collect::<Vec<_>>();
        let roots: Vec<ExprId> = slots.iter().flat_map(of).collect();
        let projector = &mut self.relation.projector;
        let rows = projector.keyed(self.filter, key, roots, move |key: Wide, vectors, row| {
            let mut sums = [0i64; SUMS];
            for slot in slots
                .iter()
                .filter(|slot| slot.when.is_none_or(|when| vectors.holds(when, row)))
            {
                slot.add(vectors, row, &mut sums);
            }
            (key, sums)
        });
        fold(rows, &name, self.routing).map(move |(key, sums, rows)| {
            let numbers = sums.iter().copied().chain([rows]).collect();
            finding(key, part, Part::Ints(numbers))
        })
    }

    /// The number of different arguments; `items` are the key and the arguments.
    fn distinct<K: Cells, I: Cells>(&mut self, part: usize, used: &Used, row: bool, items: Packing) -> Findings<'s, K> {
        // of one argument nulls are left out; a row of arguments counts whatever is null in it
        let some = (!row).then(|| used.args[0]);
        let filter = self.condition(used.filter, some);
        self.heap += allocated(size_of::<i64>());
        let kept = distinct::footprint::<K, I>(I::heap(items.names, items.words), self.key_heap::<K>());
        let name = self.step("distinct_count", "number of distinct values", kept, Cost::Constant);
        let prefix = Prefix::of(&self.packer);
        let items = self.relation.projector.packed::<I>(filter, items);
        let counts = distinct_count(items, &name, self.routing, move |item: &I| prefix.key::<I, K>(item));
        counts.map(move |(key, count)| finding(key, part, Part::Ints([count].into())))
    }

    /// The key, and behind it other cells.
    fn with_cells(&mut self, args: &[ExprId], strip: bool) -> Packing {
        let mut packer = self.packer;
        let mut packing = self.key.clone();
        for arg in args {
            let ty = self.plan().ty(*arg);
            let cell = if self.relation.projector.is_halves(*arg) {
                packer.halves()
            } else {
                packer.cell(ty, &any(ty))
            };
            packing.cells.push((*arg, cell));
        }
        Packing {
            names: packer.names.into(),
            words: packer.words(),
            strip,
            ..packing
        }
    }

    /// The greatest or least argument. What is least is the greatest in reverse.
    fn extremes(&mut self, part: usize, used: &Used, least: bool) -> Findings<'s, Wide> {
        let arg = used.args[0];
        let filter = self.condition(used.filter, Some(arg));
        let values = self.pairs(filter, arg, move |value| match (value, least) {
            (Ranked::Int(value), true) => Ranked::Int(!value),
            (Ranked::Name(name), true) => Ranked::Reverse(Reverse(name)),
            (value, _) => value,
        });
        let name = self.greatest(if least { "least value" } else { "greatest value" });
        greatest(values, &name, self.routing).map(move |(key, value)| finding(key, part, Part::of([value].into_iter())))
    }

    /// Writes the operator down that is fed with ranked values, and returns its name.
    fn greatest(&mut self, finds: &'static str) -> String {
        self.heap += allocated(size_of::<Ranked>());
        let kept = operators::greatest::footprint::<Wide, Ranked>(self.key_heap::<Wide>());
        self.step("greatest", finds, kept, Cost::Values)
    }

    /// The least of the most frequent arguments: the greatest pair of a count and a reversed value.
    fn modes(&mut self, part: usize, used: &Used) -> Findings<'s, Wide> {
        let arg = used.args[0];
        let filter = self.condition(used.filter, Some(arg));
        let items = self.with_cells(&[arg], false);
        let cell = items.cells.last().expect("an argument").1;
        let kept = operators::count::footprint::<Wide>(Wide::heap(items.names, items.words));
        let name = self.step(
            "count",
            "how often each value occurs",
            [kept.of(Per::Item)],
            Cost::Constant,
        );
        let prefix = Prefix::of(&self.packer);
        let counts = count(
            self.relation.projector.packed::<Wide>(filter, items),
            &name,
            self.routing,
        );
        let pairs = counts.flat_map(move |(item, count)| {
            let (names, words) = item.parts();
            let value = match cell {
                Cell::Name(n) => Ranked::OftenName(count, Reverse(names[usize::from(n)]?)),
                Cell::Numeric { halves, some, scale } => {
                    Ranked::Often(count, !Cell::numeric(halves, some, scale, words)?.unscaled)
                }
                Cell::Int { bits, low, null } => Ranked::Often(count, !i128::from(Cell::int(bits, low, null, words)?)),
                Cell::Halves(_) => return None,
            };
            Some((prefix.key::<_, Wide>(&item), value))
        });
        let name = self.greatest("most frequent value");
        greatest(pairs, &name, self.routing).map(move |(key, value)| finding(key, part, Part::of([value].into_iter())))
    }

    /// Percentiles: two values for each, and behind those of integers the number of values.
    fn sorted(&mut self, part: usize, used: &Used, percentiles: Vec<Percentile>) -> Findings<'s, Wide> {
        let arg = used.args[0];
        let filter = self.condition(used.filter, Some(arg));
        let values = self.pairs(filter, arg, |value| value);
        self.heap += allocated(size_of::<Ranked>() * (2 * percentiles.len() + 1));
        let kept = operators::ordered::footprint::<Wide, Ranked>(percentiles.len(), self.key_heap::<Wide>());
        let name = self.step("ordered", "percentiles", kept, Cost::Distinct(percentiles.len()));
        ordered(values, &name, self.routing, percentiles).map(move |(key, picks)| {
            let values = picks.values.iter().flatten().copied();
            let is_int = matches!(picks.values.first(), Some([Ranked::Int(_), _]));
            let count = is_int.then_some(Ranked::Int(picks.count.into()));
            finding(key, part, Part::of(values.chain(count)))
        })
    }

    /// The key and a value that is not null, since the filter says so.
    fn pairs(
        &mut self,
        filter: Option<ExprId>,
        arg: ExprId,
        rank: impl Fn(Ranked) -> Ranked + 'static,
    ) -> VecCollection<'s, u64, (Wide, Ranked), isize> {
        let (key, projector) = (self.key.clone(), &mut self.relation.projector);
        projector.keyed(filter, key, [arg], move |key, vectors, row| {
            let value = match vectors.get(arg) {
                Vector::Bools { values, .. } => Some(Ranked::Int(values[row].into())),
                Vector::Ints { values, .. } => Some(Ranked::Int(values[row].into())),
                Vector::Names(names) => names[row].map(Ranked::Name),
                Vector::Data(data) => match &data[row] {
                    Datum::Numeric(value) => Some(Ranked::Int(value.unscaled)),
                    _ => None,
                },
                Vector::Halves(_) => None,
            };
            let value = value.expect("the filter leaves nulls out, and halves are only compared");
            (key, rank(value))
        })
    }
}

/// What operators find out about groups.
type Findings<'s, K> = VecCollection<'s, u64, (K, (u8, Part)), isize>;

fn finding<K>(key: K, part: usize, found: Part) -> (K, (u8, Part)) {
    // each part is a column of the query, which has fewer
    (key, (part as u8, found))
}

/// Facts of any value of a type.
pub(super) fn any(ty: Ty) -> Facts {
    match ty {
        Ty::Numeric => Facts {
            scale: (0, u16::MAX),
            ..Facts::of(ty)
        },
        _ => Facts::of(ty),
    }
}

/// The part of an item that is its group's key.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    names: usize,
    words: usize,
    /// Which bits of the last word.
    last: u32,
}

impl Prefix {
    fn of(packer: &Packer) -> Prefix {
        Prefix {
            names: packer.names.into(),
            words: packer.words(),
            last: match packer.bits % 32 {
                0 => u32::MAX,
                bits => (1 << bits) - 1,
            },
        }
    }

    fn key<I: Cells, K: Cells>(&self, item: &I) -> K {
        let (from_names, from_words) = item.parts();
        K::fill(self.names, self.words, |names, words| {
            names[..self.names].copy_from_slice(&from_names[..self.names]);
            words[..self.words].copy_from_slice(&from_words[..self.words]);
            if let Some(last) = words[..self.words].last_mut() {
                *last &= self.last;
            }
        })
    }
}

fn is_percentile(used: &Used) -> bool {
    matches!(
        used.kind,
        AggKind::PercentileCont { .. } | AggKind::PercentileDisc { .. }
    )
}

fn percentile(kind: AggKind) -> Percentile {
    match kind {
        AggKind::PercentileCont { fraction, descending } => Percentile::Cont {
            fraction: fraction.get(),
            descending,
        },
        AggKind::PercentileDisc { fraction, descending } => Percentile::Disc {
            fraction: fraction.get(),
            descending,
        },
        kind => unreachable!("{kind:?} is no percentile"),
    }
}

/// The argument of the one extreme of integers that is asked, and whether the least one is; it is never null.
fn extreme(plan: &Plan, used: &[Option<Used>]) -> Option<(ExprId, bool)> {
    let mut used = used.iter().flatten();
    let (one, None) = (used.next()?, used.next()) else {
        return None;
    };
    let least = match one.kind {
        AggKind::Min => true,
        AggKind::Max => false,
        _ => return None,
    };
    let arg = one.args[0];
    let is_int = !matches!(plan.ty(arg), Ty::Text | Ty::Numeric);
    (is_int && !one.output.facts.nullable).then_some((arg, least))
}

/// The integer of which medians are asked and nothing else but the number of rows; it is never null.
fn middle(plan: &Plan, used: &[Option<Used>]) -> Option<ExprId> {
    let mut found = None;
    for one in used.iter().flatten() {
        let of = match one.kind {
            _ if one.counts_all() => continue,
            // a cast keeps the order, and the median is computed of the casts of the middle values
            AggKind::PercentileCont {
                fraction,
                descending: false,
            } if fraction.get() == 0.5 => match plan.scalar(one.args[0]) {
                Scalar::Cast(of) => *of,
                _ => return None,
            },
            AggKind::PercentileDisc {
                fraction,
                descending: false,
            } if fraction.get() == 0.5 => one.args[0],
            _ => return None,
        };
        let is_integer = plan.ty(of).is_integer();
        if !is_integer || one.output.facts.nullable || found.is_some_and(|found| found != of) {
            return None;
        }
        found = Some(of);
    }
    found
}
