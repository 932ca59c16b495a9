//! [`Node::Rank`](crate::sql::plan::Node::Rank) as operators.
//!
//! The most common ranks (by one integer, ties by one name, `rank()` alone asked) are those of
//! [`operators::rank`], which keeps little more than integers; all others are ranked by [`operators::top`] over rows
//! of any size.

use super::build::{Builder, identity};
use super::fold::any;
use super::layout::{Cell, Packer};
use super::project::{Packing, Projector, Rows, Take};
use super::relations::Relation;
use super::row::{Cells, Parts, Wide};
use super::steps::{Cost, Steps};
use crate::sql::plan::{self, ExprId, NodeId, Order, Place, PlaceKind, Scalar};
use crate::sql::types::{Facts, Ty};
use operators::rank::{Keep, rank};
use operators::top::{self, top};
use operators::{Name, Routing, Tuple};
use std::cmp::Ordering;

/// A row of [`operators::rank`]: group, name, value, rank.
impl<G: Cells, N: Cells> Rows for (G, N, i64, i64) {
    #[inline]
    fn parts(&self, part: u8) -> Parts<'_> {
        match part {
            0 => self.0.parts(),
            _ => self.1.parts(),
        }
    }

    #[inline]
    fn number(&self, n: u8) -> i64 {
        match n {
            0 => self.2,
            _ => self.3,
        }
    }
}

/// A row and its places.
impl Rows for (Wide, Box<[i64]>) {
    fn parts(&self, _: u8) -> Parts<'_> {
        self.0.parts()
    }

    fn number(&self, n: u8) -> i64 {
        self.1[usize::from(n)]
    }
}

/// The order of rows by their cells.
struct Terms(Vec<Term>);

struct Term {
    cell: Cell,
    descending: bool,
    nulls_first: bool,
}

impl Term {
    fn compare(&self, a: Parts<'_>, b: Parts<'_>) -> Ordering {
        match (self.cell.is_null(a), self.cell.is_null(b)) {
            (true, true) => Ordering::Equal,
            (true, false) if self.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if self.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) if self.descending => self.cell.compare(b, a),
            (false, false) => self.cell.compare(a, b),
        }
    }
}

impl top::Order<Wide> for Terms {
    fn terms(&self) -> usize {
        self.0.len()
    }

    fn compare(&self, a: &Wide, b: &Wide, terms: usize) -> Ordering {
        let (a, b) = (a.parts(), b.parts());
        let compared = self.0[..terms].iter().map(|term| term.compare(a, b));
        compared
            .into_iter()
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// A rank that [`operators::rank`] computes.
struct SimpleRank {
    keep: Keep,
    /// The column that is ranked by.
    value: usize,
    /// Whether the least value comes first.
    ascending: bool,
    /// The text that orders rows of one value.
    name: Option<usize>,
}

impl<'s> Builder<'_, 's> {
    pub(super) fn rank(
        &mut self,
        id: NodeId,
        input: NodeId,
        partition: &[ExprId],
        order: &[Order],
        places: &[Place],
        keep: &plan::Keep,
    ) {
        let outputs = self.plan().outputs(input);
        // what is read of the input's columns, and what identifies its rows
        let identity = identity(self.plan(), input);
        let is_kept =
            |column: &usize| self.is_used(id, *column) || identity.iter().flatten().any(|part| part == column);
        let kept: Vec<usize> = (0..outputs.len()).filter(is_kept).collect();
        let is_asked = |place: usize| self.is_used(id, outputs.len() + place);
        let asked: Vec<usize> = (0..places.len()).filter(|place| is_asked(*place)).collect();
        let simple = identity.and_then(|_| self.simple_rank(input, order, places, keep, &asked));
        let relation = simple.and_then(|simple| self.ranked(id, input, partition, &kept, places.len(), &simple));
        let relation =
            relation.unwrap_or_else(|| self.any_rank(id, input, partition, order, places, keep, &kept, &asked));
        self.relations.insert(Some(id), relation);
    }

    /// Whether the common operator computes the rank.
    fn simple_rank(
        &self,
        input: NodeId,
        order: &[Order],
        places: &[Place],
        keep: &plan::Keep,
        asked: &[usize],
    ) -> Option<SimpleRank> {
        let plan = self.plan();
        let outputs = plan.outputs(input);
        // names are ordered by their bytes, whether or not the query says so
        let by = |order: &Order| match plan.scalar(order.by) {
            Scalar::CollateC(inner) => plan.scalar(*inner),
            by => by,
        };
        let column = |order: &Order| match by(order) {
            Scalar::Column(column) => Some(usize::from(*column)).filter(|column| !outputs[*column].facts.nullable),
            _ => None,
        };
        let is_rank = |place: &Place| place.kind == PlaceKind::Rank && place.terms == 1;
        let is_number = |place: &Place| place.kind == PlaceKind::RowNumber && place.terms == 2;
        let (first, rest) = order.split_first()?;
        let value = column(first).filter(|column| !matches!(outputs[*column].ty, Ty::Text | Ty::Numeric))?;
        // only ranks are given out
        if !asked.iter().all(|place| is_rank(&places[*place])) {
            return None;
        }
        let name = match rest {
            [] => None,
            [by] if !by.descending => Some(column(by).filter(|column| outputs[*column].ty == Ty::Text)?),
            _ => return None,
        };
        let bounds = match keep {
            plan::Keep::All => &[][..],
            plan::Keep::Within(bounds) => bounds,
        };
        let of = |(place, bound): &(usize, u64)| (places[*place], *bound);
        let keep = match (keep, bounds.iter().map(of).collect::<Vec<_>>().as_slice()) {
            (plan::Keep::All, _) => Keep::Top(0),
            (_, [(place, 1)]) if is_rank(place) => Keep::Leaders,
            (_, [(rank, 1), (number, bound)] | [(number, bound), (rank, 1)])
                if is_rank(rank) && is_number(number) && name.is_some() =>
            {
                Keep::Top(usize::try_from(*bound).ok()?)
            }
            _ => return None,
        };
        Some(SimpleRank {
            keep,
            value,
            ascending: !first.descending,
            name,
        })
    }

    fn ranked(
        &mut self,
        id: NodeId,
        input: NodeId,
        partition: &[ExprId],
        kept: &[usize],
        places: usize,
        simple: &SimpleRank,
    ) -> Option<Relation<'s>> {
        let plan = self.plan();
        let outputs = plan.outputs(input);
        let is_column = |e: &ExprId, column: usize| *plan.scalar(*e) == Scalar::Column(column as u16);
        let mut columns: Vec<Option<(Take, Ty)>> = vec![None; outputs.len()];
        let (mut group, mut group_cells) = (Packer::default(), Vec::new());
        for e in partition {
            let cell = group.cell(plan.ty(*e), &self.facts(input, *e));
            group_cells.push((*e, cell));
            for column in (0..outputs.len()).filter(|column| is_column(e, *column)) {
                columns[column] = Some((Take::Cell(0, cell), plan.ty(*e)));
            }
        }
        let (mut name, mut name_cells) = (Packer::default(), Vec::new());
        let take = if simple.ascending {
            Take::Inverted(0)
        } else {
            Take::Number(0)
        };
        columns[simple.value] = Some((take, outputs[simple.value].ty));
        // the name comes first, since names are ordered by their first part
        for column in simple.name.into_iter().chain(kept.iter().copied()) {
            if columns[column].is_none() || Some(column) == simple.name && name_cells.is_empty() {
                let cell = name.cell(outputs[column].ty, &outputs[column].facts);
                name_cells.push((column, cell));
                columns[column] = Some((Take::Cell(1, cell), outputs[column].ty));
            }
        }
        columns.extend((0..places).map(|_| Some((Take::Number(1), Ty::Int8))));

        let mut relation = self.relation(input);
        let filter = self.catalogue.filter(&mut relation, input);
        let group_cells = group_cells.into_iter();
        let group = Packing {
            cells: group_cells
                .map(|(e, cell)| (self.catalogue.resolve(&mut relation, input, e), cell))
                .collect(),
            names: group.names.into(),
            words: group.words(),
            strip: false,
        };
        let name_cells = name_cells.into_iter();
        let name = Packing {
            cells: name_cells
                .map(|(column, cell)| (self.catalogue.column(&mut relation, input, column), cell))
                .collect(),
            names: name.names.into(),
            words: name.words(),
            strip: false,
        };
        let value = self.catalogue.column(&mut relation, input, simple.value);
        let source = Source {
            id,
            steps: &mut self.steps,
            routing: self.routing,
            relation: &mut relation,
            filter,
            value,
            simple,
        };
        let projector = match ((group.names, group.words), (name.names, name.words)) {
            ((0, 0..=1), (0..=1, 0)) => Some(source.rank::<Tuple<0, 1>, Tuple<1, 0>>(group, name)),
            ((0..=1, 0), (0..=1, 0)) => Some(source.rank::<Tuple<1, 0>, Tuple<1, 0>>(group, name)),
            ((0..=1, 0..=1), (0..=1, 0)) => Some(source.rank::<Tuple<1, 1>, Tuple<1, 0>>(group, name)),
            ((0, 0..=1), (0..=2, 0)) => Some(source.rank::<Tuple<0, 1>, Tuple<2, 0>>(group, name)),
            _ => None,
        };
        self.put_back(input, relation);
        Some(Relation::of_node(projector?, &columns))
    }

    /// Any rank, over rows of any size.
    fn any_rank(
        &mut self,
        id: NodeId,
        input: NodeId,
        partition: &[ExprId],
        order: &[Order],
        places: &[Place],
        keep: &plan::Keep,
        kept: &[usize],
        asked: &[usize],
    ) -> Relation<'s> {
        let plan = self.plan();
        let outputs = plan.outputs(input);
        let mut relation = self.relation(input);
        let filter = self.catalogue.filter(&mut relation, input);
        let mut columns: Vec<Option<(Take, Ty)>> = vec![None; outputs.len()];
        let (mut packer, mut cells) = (Packer::default(), Vec::new());
        for column in kept {
            let cell = packer.cell(outputs[*column].ty, &outputs[*column].facts);
            cells.push((self.catalogue.column(&mut relation, input, *column), cell));
            columns[*column] = Some((Take::Cell(0, cell), outputs[*column].ty));
        }
        let mut terms = Vec::with_capacity(order.len());
        for term in order {
            let e = self.catalogue.resolve(&mut relation, input, term.by);
            let known = cells.iter().find(|(known, _)| *known == e).map(|(_, cell)| *cell);
            let cell = known.unwrap_or_else(|| {
                let cell = packer.cell(plan.ty(term.by), &self.facts(input, term.by));
                cells.push((e, cell));
                cell
            });
            terms.push(Term {
                cell,
                descending: term.descending,
                nulls_first: term.nulls_first,
            });
        }
        let row = Packing {
            cells,
            names: packer.names.into(),
            words: packer.words(),
            strip: false,
        };
        let (mut packer, mut cells) = (Packer::default(), Vec::new());
        for e in partition {
            // equal numerics are of one partition, whatever their scales
            let cell = packer.cell(plan.ty(*e), &any(plan.ty(*e)));
            cells.push((self.catalogue.resolve(&mut relation, input, *e), cell));
        }
        let group = Packing {
            cells,
            names: packer.names.into(),
            words: packer.words(),
            strip: true,
        };
        let heap = |packing: &Packing| Wide::heap(packing.names, packing.words);
        let keeps = top::footprint::<Wide, Wide>(heap(&group), heap(&row));
        let cost = match keep {
            plan::Keep::All => Cost::All,
            plan::Keep::Within(_) => Cost::Rows,
        };
        let name = self.steps.add(Some(id), ("top", "places"), keeps, cost);
        let roots = group.roots().into_iter().chain(row.roots());
        let (mut groups, mut members) = (Vec::<Wide>::new(), Vec::<Wide>::new());
        let rows = relation.projector.port(filter, roots, move |chosen, taken| {
            group.pack(chosen.vectors, chosen.rows, &mut groups);
            row.pack(chosen.vectors, chosen.rows, &mut members);
            chosen.give(groups.drain(..).zip(members.drain(..)), taken);
        });
        self.put_back(input, relation);
        let place = |place: usize| top::Place {
            kind: match places[place].kind {
                PlaceKind::Rank => top::PlaceKind::Rank,
                PlaceKind::DenseRank => top::PlaceKind::DenseRank,
                PlaceKind::RowNumber => top::PlaceKind::RowNumber,
            },
            terms: places[place].terms,
        };
        let keep = match keep {
            plan::Keep::All => top::Keep::All,
            plan::Keep::Within(bounds) => {
                top::Keep::Within(bounds.iter().map(|(at, bound)| (place(*at), *bound)).collect())
            }
        };
        let given: Vec<top::Place> = asked.iter().map(|at| place(*at)).collect();
        let ranked = top(
            rows,
            &name,
            self.routing,
            Terms(terms),
            keep,
            &given,
            |_, row: &Wide, places: &[i64]| (row.clone(), Box::<[i64]>::from(places)),
        );
        columns.extend((0..places.len()).map(|at| {
            let number = asked.iter().position(|asked| *asked == at)?;
            Some((Take::Number(number as u8), Ty::Int8))
        }));
        Relation::of_node(Projector::new(ranked, &name), &columns)
    }

    /// What is known of an expression over a node.
    fn facts(&self, input: NodeId, e: ExprId) -> Facts {
        match self.plan().scalar(e) {
            Scalar::Column(column) => self.plan().outputs(input)[usize::from(*column)].facts,
            _ => any(self.plan().ty(e)),
        }
    }
}

/// What a simple rank reads.
struct Source<'r, 's> {
    /// The node.
    id: NodeId,
    steps: &'r mut Steps<'s>,
    routing: Routing,
    relation: &'r mut Relation<'s>,
    filter: Option<ExprId>,
    value: ExprId,
    simple: &'r SimpleRank,
}

impl<'s> Source<'_, 's> {
    fn rank<G: Cells, N: Cells + Name>(self, group: Packing, name: Packing) -> Projector<'s> {
        let (value, ascending) = (self.value, self.simple.ascending);
        let roots = group.roots().into_iter().chain(name.roots()).chain([value]);
        let (mut groups, mut names) = (Vec::<G>::new(), Vec::<N>::new());
        let flip = if ascending { -1 } else { 0 };
        let keeps = operators::rank::footprint::<G, N>(self.simple.keep);
        let cost = match self.simple.keep {
            Keep::Top(0) => Cost::All,
            _ => Cost::Rows,
        };
        let operator = self.steps.add(Some(self.id), ("rank", "places"), keeps, cost);
        let rows = self.relation.projector.port(self.filter, roots, move |chosen, taken| {
            group.pack(chosen.vectors, chosen.rows, &mut groups);
            name.pack(chosen.vectors, chosen.rows, &mut names);
            let values = chosen
                .rows
                .iter()
                .map(|row| chosen.vectors.int(value, *row as usize).unwrap_or(0) ^ flip);
            let rows = groups.drain(..).zip(names.drain(..).zip(values));
            chosen.give(rows, taken);
        });
        Projector::new(rank(rows, &operator, self.routing, self.simple.keep), &operator)
    }
}
