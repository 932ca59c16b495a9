//! FROM and WITH: what a SELECT reads.

use super::binder::Binder;
use super::relation::{Base, Relation, RelationColumn, Scope, What};
use crate::sql::ast::{Join, Name, Query, Relation as Written, RelationKind};
use crate::sql::diagnostic::Fault;
use crate::sql::plan::{Join as Kinds, JoinType, Scalar};
use crate::sql::types::Ty;

impl<'a> Binder<'a> {
    /// A query with its WITH.
    pub(super) fn query(&mut self, query: &'a Query) -> Option<Relation> {
        let outer = self.with.len();
        for (name, inner) in &query.with {
            let taken = self.schema.kind(&name.text).is_some()
                || self.results.contains_key(&name.text)
                || self.with.iter().any(|(known, _)| *known == name.text);
            if taken {
                let message = format!("{} is the name of another table or query", name.text);
                self.faults
                    .push(Fault::new(name.position, message).hint("another name behind WITH"));
            }
            let relation = self.query(inner);
            self.with.push((name.text.clone(), relation));
        }
        let relation = self.select(query);
        self.with.truncate(outer);
        relation
    }

    /// What FROM says, with the names that the rest of the SELECT can use.
    pub(super) fn from(&mut self, query: &'a Query) -> Option<Scope> {
        match &query.from.what {
            RelationKind::Named(name) if self.schema.kind(&name.text).is_some() => self.kinds(query),
            _ => {
                let relation = self.relation(&query.from);
                if let Some(join) = query.joins.first() {
                    let key = &self.schema.key;
                    let message = format!("results and subqueries are not joined: kinds are joined by {key} alone");
                    let fault = Fault::new(join.relation.position, message);
                    return self.refuse(fault.hint("join the kinds inside the subquery"));
                }
                let (name, relation) = relation?;
                let places = (0..relation.columns.len()).collect();
                Some(Scope {
                    relation,
                    parts: vec![(name, places)],
                    merged: None,
                    starred: true,
                })
            }
        }
    }

    /// A result, a query of WITH or a subquery.
    fn relation(&mut self, written: &'a Written) -> Option<(String, Relation)> {
        let alias = |name: &Name| written.alias.as_ref().unwrap_or(name).text.clone();
        match &written.what {
            RelationKind::Query(query) => {
                let relation = self.query(query)?;
                let name = written.alias.as_ref()?.text.clone();
                Some((name, relation))
            }
            RelationKind::Named(name) => {
                if let Some((_, relation)) = self.with.iter().rfind(|(known, _)| *known == name.text) {
                    // where it was refused, that is said already
                    return Some((alias(name), relation.clone()?));
                }
                let Some(result) = self.results.get(&name.text) else {
                    let fault = Fault::new(name.position, format!("table {} does not exist", name.text));
                    let kinds: Vec<_> = self.schema.kinds.iter().map(|kind| kind.table.as_str()).collect();
                    let hint = format!("{}, a result, or a query of WITH", kinds.join(", "));
                    return self.refuse(fault.hint(hint));
                };
                let columns: Vec<_> = result
                    .columns
                    .iter()
                    .enumerate()
                    .map(|(place, column)| {
                        (
                            column.name.clone(),
                            self.plan.add(Scalar::Column(place as u16), column.ty),
                        )
                    })
                    .collect();
                let relation = Relation {
                    base: Base::Node(result.node),
                    filter: Vec::new(),
                    key: columns[..result.key].iter().map(|(_, e)| *e).collect(),
                    columns: columns
                        .into_iter()
                        .map(|(name, e)| RelationColumn {
                            name,
                            what: What::Expr(e),
                        })
                        .collect(),
                };
                Some((alias(name), relation))
            }
        }
    }

    /// Kinds joined by their key.
    fn kinds(&mut self, query: &'a Query) -> Option<Scope> {
        let first = self.kind(&query.from)?;
        let mut join = Kinds::one(first, self.schema.kinds.len());
        let mut kinds = vec![(part_name(&query.from), first)];
        // the kind whose key the merged column is: another kind's, though equal, is another column in GROUP BY
        let mut merged = Some(first);
        let mut ok = true;
        for written in &query.joins {
            match self.kind_of_join(written) {
                Some(kind) if kinds.iter().any(|(_, known)| *known == kind) => {
                    let table = &self.schema.kinds[kind].table;
                    let message = format!("{table} is joined twice, and by its key that is the same row");
                    self.faults.push(Fault::new(written.relation.position, message));
                    ok = false;
                }
                Some(kind) => {
                    join = join.join(written.how, kind);
                    merged = match written.how {
                        JoinType::Inner | JoinType::Left => merged,
                        JoinType::Right => Some(kind),
                        JoinType::Full => None,
                    };
                    kinds.push((part_name(&written.relation), kind));
                }
                None => ok = false,
            }
        }
        for (place, (name, _)) in kinds.iter().enumerate() {
            if kinds[..place].iter().any(|(known, _)| known == name) {
                let position = query.joins[place - 1].relation.position;
                self.faults
                    .push(Fault::new(position, format!("two tables are named {name}")));
                ok = false;
            }
        }
        if !ok {
            return None;
        }
        let (mut columns, mut parts) = (Vec::new(), Vec::new());
        for (name, kind) in kinds {
            let more = self.kind_columns(kind, merged == Some(kind));
            parts.push((name, (columns.len()..columns.len() + more.len()).collect()));
            columns.extend(more);
        }
        let key = self.plan.add(Scalar::Key, Ty::Int8);
        let joined = !query.joins.is_empty();
        Some(Scope {
            relation: Relation {
                base: Base::Posts(join),
                filter: Vec::new(),
                columns,
                key: vec![key],
            },
            parts,
            merged: joined.then(|| (self.schema.key.clone(), key)),
            starred: false,
        })
    }

    fn kind(&mut self, written: &'a Written) -> Option<usize> {
        let kind = match &written.what {
            RelationKind::Named(name) => self.schema.kind(&name.text),
            RelationKind::Query(_) => None,
        };
        if kind.is_none() {
            let key = &self.schema.key;
            let message = format!("results and subqueries are not joined: kinds are joined by {key} alone");
            let kinds: Vec<_> = self.schema.kinds.iter().map(|kind| kind.table.as_str()).collect();
            self.faults
                .push(Fault::new(written.position, message).hint(format!("kinds: {}", kinds.join(", "))));
        }
        kind
    }

    fn kind_of_join(&mut self, join: &'a Join) -> Option<usize> {
        let kind = self.kind(&join.relation)?;
        match join.using.as_slice() {
            [column] if column.text == self.schema.key => Some(kind),
            columns => {
                let names: Vec<_> = columns.iter().map(|column| column.text.as_str()).collect();
                let at = columns.first().map_or(join.relation.position, |column| column.position);
                let key = &self.schema.key;
                let message = format!("USING ({}): kinds are joined by {key} alone", names.join(", "));
                self.refuse(Fault::new(at, message).hint(format!("USING ({key})")))
            }
        }
    }
}

fn part_name(written: &Written) -> String {
    match (&written.alias, &written.what) {
        (Some(alias), _) => alias.text.clone(),
        (None, RelationKind::Named(name)) => name.text.clone(),
        (None, RelationKind::Query(_)) => String::new(),
    }
}
