//! A result as a chain of blocks: one for each SELECT, from the result's own to the one over the cleaned tables.
//!
//! A SELECT reads the cleaned tables or exactly one other query, so there is a chain and no tree. Results and queries of
//! WITH that are read are blocks of the chain like any other; `*` is written out; DISTINCT is grouping by all columns,
//! and over grouped rows it is a block of its own.

use crate::sql::ast::Limit;
use crate::sql::ast::{Expr, ExprKind, Item, Join, Name, OrderTerm, Query, Relation, RelationKind};
use crate::sql::diagnostic::Position;
use crate::sql::schema::Schema;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The blocks of one result, its own SELECT first.
pub(in crate::sql) type Chain = Vec<Arc<Block>>;

/// One SELECT without WITH, `*` and DISTINCT.
#[derive(Debug)]
pub(in crate::sql) struct Block {
    /// The select list: names and expressions.
    pub items: Vec<(String, Expr)>,
    /// What it reads.
    pub source: Source,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY, with numbers and names of items replaced by what they stand for. Empty: the rows are not grouped.
    pub keys: Vec<Expr>,
    /// HAVING.
    pub having: Option<Expr>,
    /// ORDER BY, where there is a limit.
    pub order: Vec<OrderTerm>,
    /// LIMIT or FETCH FIRST.
    pub limit: Option<Limit>,
}

/// What a block reads.
#[derive(Debug)]
pub(in crate::sql) enum Source {
    /// The cleaned tables.
    Posts {
        /// FROM.
        from: Relation,
        /// JOIN … USING.
        joins: Vec<Join>,
    },
    /// The next block of the chain, by this name.
    Below(String),
}

impl Block {
    /// Whether its rows are groups.
    pub fn is_grouped(&self) -> bool {
        !self.keys.is_empty()
    }
}

/// Where names of relations are looked up.
struct Names<'a> {
    schema: &'a Schema,
    results: &'a BTreeMap<String, Chain>,
    /// The queries of WITH that can be named.
    with: Vec<(&'a str, Chain)>,
}

/// The chain of an accepted query; `results` are those that it may read.
pub(in crate::sql) fn chain(query: &Query, schema: &Schema, results: &BTreeMap<String, Chain>) -> Chain {
    let mut names = Names {
        schema,
        results,
        with: Vec::new(),
    };
    names.query(query)
}

impl<'a> Names<'a> {
    fn query(&mut self, query: &'a Query) -> Chain {
        let outer = self.with.len();
        for (name, inner) in &query.with {
            let chain = self.query(inner);
            self.with.push((&name.text, chain));
        }
        let chain = self.select(query);
        self.with.truncate(outer);
        chain
    }

    fn select(&mut self, query: &'a Query) -> Chain {
        let below = match &query.from.what {
            RelationKind::Named(name) => match self.with.iter().rfind(|(known, _)| *known == name.text) {
                Some((_, chain)) => chain.clone(),
                // what is no result is a cleaned table
                None => self.results.get(&name.text).cloned().unwrap_or_default(),
            },
            RelationKind::Query(inner) => self.query(inner),
        };
        let alias = match (&query.from.alias, &query.from.what) {
            (Some(name), _) | (None, RelationKind::Named(name)) => name.text.clone(),
            (None, RelationKind::Query(_)) => "q".to_owned(),
        };
        let mut items = Vec::with_capacity(query.items.len());
        for item in &query.items {
            match item {
                Item::Expr { expr, alias, .. } => items.push((item_name(expr, alias.as_ref()), expr.clone())),
                Item::All { position, .. } => {
                    let columns = below.iter().take(1).flat_map(|block| &block.items);
                    items.extend(columns.map(|(name, _)| (name.clone(), column(&alias, name, *position))));
                }
            }
        }
        let known = |name: &str| match below.first() {
            Some(block) => block.items.iter().any(|(item, _)| item == name),
            None => {
                let joined = query.joins.iter().map(|join| &join.relation);
                std::iter::once(&query.from)
                    .chain(joined)
                    .any(|relation| self.has(relation, name))
            }
        };
        let grouped = !query.group.is_empty();
        let keys = match (grouped, query.distinct) {
            (true, _) => query.group.iter().map(|key| resolved(query, key, &known)).collect(),
            (false, true) => items.iter().map(|(_, expr)| expr.clone()).collect(),
            (false, false) => Vec::new(),
        };
        let source = if below.is_empty() {
            Source::Posts {
                from: query.from.clone(),
                joins: query.joins.clone(),
            }
        } else {
            Source::Below(alias)
        };
        let block = Block {
            items,
            source,
            filter: query.filter.clone(),
            keys,
            having: query.having.clone(),
            order: query.limit.iter().flat_map(|_| query.order.iter().cloned()).collect(),
            limit: query.limit.clone(),
        };
        let around = (grouped && query.distinct).then(|| Arc::new(distinct(&block, query.position)));
        around.into_iter().chain([Arc::new(block)]).chain(below).collect()
    }

    fn has(&self, relation: &Relation, name: &str) -> bool {
        let RelationKind::Named(table) = &relation.what else {
            return false;
        };
        let kind = self.schema.kind(&table.text).map(|kind| &self.schema.kinds[kind]);
        kind.is_some_and(|kind| kind.columns.iter().any(|column| column.name == name))
    }
}

/// DISTINCT over the rows of a block.
fn distinct(block: &Block, position: Position) -> Block {
    const ALIAS: &str = "grouped";
    let items = block.items.iter();
    let items: Vec<_> = items
        .map(|(name, _)| (name.clone(), column(ALIAS, name, position)))
        .collect();
    Block {
        keys: items.iter().map(|(_, expr)| expr.clone()).collect(),
        items,
        source: Source::Below(ALIAS.to_owned()),
        filter: None,
        having: None,
        order: Vec::new(),
        limit: None,
    }
}

/// What a term of GROUP BY stands for: a number for an item, a name for a column or else for the item of that name.
fn resolved(query: &Query, key: &Expr, known: &impl Fn(&str) -> bool) -> Expr {
    let item = match &key.kind {
        ExprKind::Number { digits, .. } => {
            let place = digits.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
            place.and_then(|place| query.items.get(place))
        }
        ExprKind::Column { relation: None, name } if !known(&name.text) => query
            .items
            .iter()
            .find(|item| matches!(item, Item::Expr { alias: Some(alias), .. } if alias.text == name.text)),
        _ => None,
    };
    match item {
        Some(Item::Expr { expr, .. }) => expr.clone(),
        _ => key.clone(),
    }
}

fn item_name(expr: &Expr, alias: Option<&Name>) -> String {
    match (alias, &expr.kind) {
        (Some(name), _) | (None, ExprKind::Column { name, .. }) => name.text.clone(),
        (None, _) => unreachable!("the binder wants a name for every expression"),
    }
}

fn column(relation: &str, name: &str, position: Position) -> Expr {
    let named = |text: &str| Name {
        text: text.to_owned(),
        position,
    };
    Expr {
        position,
        kind: ExprKind::Column {
            relation: Some(named(relation)),
            name: named(name),
        },
    }
}
