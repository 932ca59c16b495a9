//! Queries: SELECT, FROM, WITH.

use super::converter::{Converter, DEEPEST, position};
use super::text::{label, name, simple};
use crate::sql::ast::{Item, Join, Limit, Query, Relation, RelationKind};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::JoinType;
use sqlparser::ast::{
    Cte, Distinct, GroupByExpr, Join as JoinTree, JoinConstraint, JoinOperator, LimitClause, OrderByKind,
    Query as Tree, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned, TableAlias, TableFactor,
    WildcardAdditionalOptions,
};

impl Converter<'_> {
    pub(super) fn query(&mut self, tree: &Tree, near: Position) -> Option<Query> {
        if self.depth >= DEEPEST {
            return self.refuse(Fault::new(near, format!("queries nest deeper than {DEEPEST}")));
        }
        self.depth += 1;
        let query = self.query_inside(tree, near);
        self.depth -= 1;
        query
    }

    fn query_inside(&mut self, tree: &Tree, near: Position) -> Option<Query> {
        let start = tree.span().start;
        let at = if start.line == 0 { near } else { position(start) };
        let mut with = Some(Vec::new());
        if let Some(clause) = &tree.with {
            if clause.recursive {
                return self.refuse(Fault::new(at, "WITH RECURSIVE is not accepted"));
            }
            for cte in &clause.cte_tables {
                let cte = self.cte(cte);
                with = with.zip(cte).map(|(mut with, cte)| {
                    with.push(cte);
                    with
                });
            }
        }
        let odd = !tree.locks.is_empty()
            || tree.for_clause.is_some()
            || tree.settings.is_some()
            || tree.format_clause.is_some()
            || !tree.pipe_operators.is_empty();
        if odd {
            return self.refuse(Fault::new(at, "a clause behind the SELECT is not accepted"));
        }
        let select = match &*tree.body {
            SetExpr::Select(select) => select,
            SetExpr::Query(_) => {
                return self.refuse(Fault::new(at, "a SELECT in parentheses is not accepted").hint("without them"));
            }
            SetExpr::SetOperation { op, .. } => {
                let fault = Fault::new(at, format!("{op} is not accepted: a result is one SELECT"));
                return self.refuse(fault.hint("a CASE as a key column, or one file for each part"));
            }
            _ => return self.refuse(Fault::new(at, "a SELECT is expected here")),
        };
        let order = match &tree.order_by {
            None => Some(Vec::new()),
            Some(order) => match &order.kind {
                OrderByKind::Expressions(terms) if order.interpolate.is_none() => self.order_terms(terms, at),
                _ => self.refuse(Fault::new(at, "this form of ORDER BY is not accepted")),
            },
        };
        let limit = self.limit(tree, at);
        let query = self.select(select, at);
        Some(Query {
            position: at,
            with: with?,
            order: order?,
            limit: limit?,
            ..query?
        })
    }

    fn cte(&mut self, cte: &Cte) -> Option<(crate::sql::ast::Name, Query)> {
        let name = self.alias(&cte.alias);
        let at = position(cte.alias.name.span.start);
        let query = self.query(&cte.query, at);
        if cte.from.is_some() {
            return self.refuse(Fault::new(at, "this form of WITH is not accepted"));
        }
        name.zip(query)
    }

    fn alias(&mut self, alias: &TableAlias) -> Option<crate::sql::ast::Name> {
        if !alias.columns.is_empty() || alias.at.is_some() {
            let at = position(alias.name.span.start);
            let fault = Fault::new(
                at,
                format!("a list of column names behind {} is not accepted", alias.name),
            );
            return self.refuse(fault.hint("name the columns in the SELECT"));
        }
        self.checked(name(&alias.name))
    }

    fn limit(&mut self, tree: &Tree, at: Position) -> Option<Option<Limit>> {
        let limit = match &tree.limit_clause {
            None => None,
            Some(LimitClause::LimitOffset {
                limit,
                offset: None,
                limit_by,
            }) if limit_by.is_empty() => limit.as_ref(),
            Some(_) => {
                let fault = Fault::new(
                    at,
                    "OFFSET is not accepted: every record may change which rows it leaves out",
                );
                return self.refuse(fault.hint("row_number() as a column, and WHERE on it where you read"));
            }
        };
        let (rows, with_ties) = match (&tree.fetch, limit) {
            (None, None) => return Some(None),
            (None, Some(limit)) => (limit, false),
            (Some(fetch), None) if !fetch.percent => match &fetch.quantity {
                Some(rows) => (rows, fetch.with_ties),
                None => return self.refuse(Fault::new(at, "FETCH FIRST without a number of rows is not accepted")),
            },
            _ => return self.refuse(Fault::new(at, "this form of LIMIT is not accepted")),
        };
        let rows = self.expr(rows, at)?;
        Some(Some(Limit { rows, with_ties }))
    }

    /// Without what stands around the SELECT.
    fn select(&mut self, select: &Select, at: Position) -> Option<Query> {
        let odd = select.select_modifiers.is_some()
            || !select.optimizer_hints.is_empty()
            || select.top.is_some()
            || select.exclude.is_some()
            || select.into.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || !select.named_window.is_empty()
            || select.qualify.is_some()
            || select.value_table_mode.is_some();
        if odd {
            self.refuse::<()>(Fault::new(at, "a clause of this SELECT is not accepted").hint(
                "SELECT … FROM … WHERE … GROUP BY … HAVING …; windows are written behind OVER, and their bounds in a \
                 query around",
            ));
        }
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => {
                let fault = Fault::new(at, "DISTINCT ON is not accepted");
                return self
                    .refuse(fault.hint("row_number() OVER (PARTITION BY … ORDER BY …), and WHERE it is 1 around"));
            }
        };
        if select.projection.is_empty() {
            let fault = Fault::new(at, "a SELECT without columns is not accepted");
            return self.refuse(fault.hint("the columns of the key first"));
        }
        let items: Vec<_> = select.projection.iter().map(|item| self.item(item, at)).collect();
        let source = match select.from.as_slice() {
            [table] => {
                let from = self.relation(&table.relation, at);
                let joins: Vec<_> = table.joins.iter().map(|join| self.join(join, at)).collect();
                from.zip(joins.into_iter().collect::<Option<Vec<_>>>())
            }
            [] => self.refuse(Fault::new(at, "a SELECT without FROM is not accepted")),
            [_, second, ..] => {
                let at = position(second.span().start);
                let message = format!(
                    "a list of tables in FROM is not accepted: kinds are joined by {} alone",
                    self.key
                );
                self.refuse(Fault::new(at, message).hint(self.using("")))
            }
        };
        let filter = select.selection.as_ref().map(|filter| self.expr(filter, at));
        let group = match &select.group_by {
            GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => self.exprs(keys, at),
            _ => self.refuse(Fault::new(at, "this form of GROUP BY is not accepted").hint("GROUP BY column, …")),
        };
        let having = select.having.as_ref().map(|having| self.expr(having, at));
        let (from, joins) = source?;
        Some(Query {
            position: at,
            with: Vec::new(),
            distinct,
            items: items.into_iter().collect::<Option<_>>()?,
            from,
            joins,
            filter: filter.map_or(Some(None), |filter| filter.map(Some))?,
            group: group?,
            having: having.map_or(Some(None), |having| having.map(Some))?,
            order: Vec::new(),
            limit: None,
        })
    }

    fn item(&mut self, item: &SelectItem, near: Position) -> Option<Item> {
        let plain = |options: &WildcardAdditionalOptions| {
            options.opt_ilike.is_none()
                && options.opt_exclude.is_none()
                && options.opt_except.is_none()
                && options.opt_replace.is_none()
                && options.opt_rename.is_none()
                && options.opt_alias.is_none()
        };
        let start = item.span().start;
        let at = if start.line == 0 { near } else { position(start) };
        match item {
            SelectItem::UnnamedExpr(expr) => Some(Item::Expr {
                expr: self.expr(expr, near)?,
                alias: None,
                comment: None,
            }),
            SelectItem::ExprWithAlias { expr, alias } => {
                let (expr, alias) = (self.expr(expr, near), self.checked(label(alias)));
                Some(Item::Expr {
                    expr: expr?,
                    alias: Some(alias?),
                    comment: None,
                })
            }
            SelectItem::Wildcard(options) if plain(options) => Some(Item::All { position: at, of: None }),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(relation), options)
                if plain(options) =>
            {
                let of = self.checked(simple(relation, "relation").and_then(name))?;
                Some(Item::All {
                    position: at,
                    of: Some(of),
                })
            }
            _ => self.refuse(Fault::new(at, "this form of a select item is not accepted")),
        }
    }

    fn relation(&mut self, factor: &TableFactor, near: Position) -> Option<Relation> {
        let start = factor.span().start;
        let at = if start.line == 0 { near } else { position(start) };
        match factor {
            TableFactor::Table {
                name: table,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_directives,
                inheritance: None,
            } if with_hints.is_empty() && partitions.is_empty() && index_directives.is_empty() => {
                let table = self.checked(simple(table, "table").and_then(name));
                let alias = alias.as_ref().map(|alias| self.alias(alias));
                Some(Relation {
                    position: at,
                    what: RelationKind::Named(table?),
                    alias: alias.map_or(Some(None), |alias| alias.map(Some))?,
                })
            }
            TableFactor::Derived {
                lateral: false,
                subquery,
                alias,
                sample: None,
            } => {
                let query = self.query(subquery, at);
                let Some(alias) = alias else {
                    let fault = Fault::new(at, "a subquery in FROM has no name");
                    return self.refuse(fault.hint("(SELECT …) AS counted"));
                };
                let alias = self.alias(alias)?;
                Some(Relation {
                    position: at,
                    what: RelationKind::Query(Box::new(query?)),
                    alias: Some(alias),
                })
            }
            TableFactor::NestedJoin { .. } => {
                let fault = Fault::new(at, "a join in parentheses is not accepted");
                self.refuse(fault.hint("joins apply from left to right"))
            }
            _ => self.refuse(Fault::new(at, "a table, a result or a subquery is expected here")),
        }
    }

    fn using(&self, kind: &str) -> String {
        format!("{kind}JOIN … USING ({})", self.key)
    }

    fn join(&mut self, join: &JoinTree, near: Position) -> Option<Join> {
        let relation = self.relation(&join.relation, near);
        let at = relation.as_ref().map_or(near, |relation| relation.position);
        let (how, constraint) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (JoinType::Inner, constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinType::Left, constraint),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (JoinType::Right, constraint),
            JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
            _ => {
                let message = format!(
                    "this form of a join is not accepted: kinds are joined by {} alone",
                    self.key
                );
                return self.refuse(Fault::new(at, message).hint(self.using("[LEFT | RIGHT | FULL] ")));
            }
        };
        let using = match constraint {
            JoinConstraint::Using(columns) if !join.global => {
                let columns: Vec<_> = columns
                    .iter()
                    .map(|column| self.checked(simple(column, "column").and_then(name)))
                    .collect();
                columns.into_iter().collect::<Option<Vec<_>>>()
            }
            JoinConstraint::On(condition) => {
                let start = condition.span().start;
                let at = if start.line == 0 { at } else { position(start) };
                let message = format!("JOIN ON {condition}: kinds are joined by {} alone", self.key);
                self.refuse(Fault::new(at, message).hint(self.using("")))
            }
            _ => {
                let message = format!("a join has its USING: kinds are joined by {} alone", self.key);
                self.refuse(Fault::new(at, message).hint(self.using("")))
            }
        };
        Some(Join {
            how,
            relation: relation?,
            using: using?,
        })
    }
}
