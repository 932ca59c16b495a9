//! The posts of rows, and the row of a post.

use super::ask::{Arguments, ColumnWhy, LONGEST_SQL, WhyError, WhyQuery};
use super::block::{Chain, Source};
use super::origin::{Origin, is_count_of_rows, traced};
use super::text::{InputColumn, POST, Text};
use crate::sql::ast::{Relation, RelationKind};
use crate::sql::print::quoted;
use crate::sql::result_spec::ResultSpec;
use crate::sql::types::Ty;

/// Why queries of a result.
pub struct Why<'a> {
    pub(super) spec: &'a ResultSpec,
    pub(super) text: Text<'a>,
    /// The outermost grouping.
    pub(super) grouping: usize,
}

impl<'a> Why<'a> {
    /// The queries of a result; `chain` are its blocks, `top` is what `{top}` stands for, `key` joins the cleaned
    /// tables.
    pub(in crate::sql) fn new(spec: &'a ResultSpec, chain: &'a Chain, top: u64, key: &'a str) -> Why<'a> {
        let text = Text { chain, key, top };
        let grouping = text.grouping(0).expect("the binder refuses a result without GROUP BY");
        Why { spec, text, grouping }
    }

    /// The columns of the result.
    pub fn columns(&self) -> impl Iterator<Item = ColumnWhy<'a>> {
        self.spec.columns.iter().map(|column| {
            let origin = Origin::of(&self.text, self.grouping, &column.name);
            ColumnWhy {
                name: &column.name,
                decides: origin.decides(),
                place: !origin.windows.is_empty(),
            }
        })
    }

    /// The first column that is the number of posts of its row, if there is one.
    pub fn post_count(&self) -> Option<&'a str> {
        let posts = self.grouping + 1 == self.text.chain.len();
        let columns = self.spec.columns.iter().map(|column| &*column.name);
        let counts = |column: &&str| is_count_of_rows(&self.text, self.grouping, column);
        posts.then(|| columns.into_iter().find(counts)).flatten()
    }

    /// The cleaned tables that posts of the result are seen in, in the order of FROM.
    pub fn tables(&self) -> Vec<&'a str> {
        let leaf = self.text.chain.last().map(|block| &block.source);
        let Some(Source::Posts { from, joins }) = leaf else {
            return Vec::new();
        };
        let joined = joins.iter().map(|join| &join.relation);
        let relations = std::iter::once(from).chain(joined);
        let name = |relation: &'a Relation| match &relation.what {
            RelationKind::Named(name) => Some(&*name.text),
            RelationKind::Query(_) => None,
        };
        relations.filter_map(name).collect()
    }

    /// The posts of the rows that have certain values in some columns of the key; of all rows for no columns, of at most
    /// one row for all columns. One column, the post's key, ascending. Parameters: the values, the least key of a post
    /// wanted, and how many posts at most.
    ///
    /// With all columns of the key it is not looked up whether the result has the row: for one that HAVING, a limit or a
    /// place in the outermost query drops, these are the posts that it would have.
    pub fn posts(&self, columns: &[&str], arguments: Arguments) -> Result<WhyQuery, WhyError> {
        let mut types = self.types(columns)?;
        let value = |place: usize| arguments.show(place, types.get(place).copied().unwrap_or(Ty::Int8));
        let (from, mut conditions) = self.of_rows(columns, &value);
        conditions.push(format!("posts.{POST} >= {}", value(columns.len())));
        let sql = format!(
            "SELECT posts.{POST} AS {key}\nFROM {from}\nWHERE {}\nORDER BY posts.{POST}\nLIMIT {}",
            conditions.join("\n  AND "),
            value(columns.len() + 1),
            key = quoted(self.text.key),
        );
        types.extend([Ty::Int8, Ty::Int8]);
        Ok(WhyQuery { sql, parameters: types })
    }

    /// How many posts [`Why::posts`] has, from all pages together. Parameters: the values.
    pub fn count(&self, columns: &[&str], arguments: Arguments) -> Result<WhyQuery, WhyError> {
        let types = self.types(columns)?;
        let value = |place: usize| arguments.show(place, types[place]);
        let (from, conditions) = self.of_rows(columns, &value);
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!("\nWHERE {}", conditions.join("\n  AND "))
        };
        Ok(WhyQuery {
            sql: format!("SELECT count(*) AS posts\nFROM {from}{filter}"),
            parameters: types,
        })
    }

    /// The key of the row that a post is part of: the key columns, in order, in at most one row. Parameter: the post's
    /// key.
    ///
    /// It is not looked up whether the result has the row, as in [`Why::posts`].
    pub fn row_of(&self, arguments: Arguments) -> Result<WhyQuery, WhyError> {
        self.bounded()?;
        let names = self.key_columns();
        let (from, exact) = match self.traced_keys() {
            Some(_) => (self.groups(true), false),
            None => (self.groups(false), true),
        };
        let relation = self.keyed(exact);
        let columns: Vec<_> = names
            .iter()
            .map(|name| format!("{relation}.{}", quoted(name)))
            .collect();
        let sql = format!(
            "SELECT {}\nFROM {from}\nWHERE posts.{POST} = {}",
            columns.join(", "),
            arguments.show(0, Ty::Int8)
        );
        Ok(WhyQuery {
            sql,
            parameters: vec![Ty::Int8],
        })
    }

    /// FROM and WHERE for the posts of rows that have certain values in `columns`.
    fn of_rows(&self, columns: &[&str], value: &impl Fn(usize) -> String) -> (String, Vec<String>) {
        let whole = columns.len() == self.spec.key && self.traced_keys().is_some();
        let from = self.groups(whole);
        (from, self.conditions(columns, self.keyed(!whole), value))
    }

    pub(super) fn conditions(&self, columns: &[&str], relation: &str, value: &impl Fn(usize) -> String) -> Vec<String> {
        let columns = columns.iter().enumerate();
        let equal = |(place, column): (usize, &&str)| format!("{relation}.{} = {}", quoted(column), value(place));
        columns.map(equal).collect()
    }

    /// The relation of [`Why::groups`] that has the key's columns.
    fn keyed(&self, exact: bool) -> &'static str {
        match (exact, self.text.grouping(self.grouping + 1)) {
            (true, _) => "result",
            (false, None) => "posts",
            (false, Some(_)) => "\"input 1\"",
        }
    }

    /// The rows that each grouping reads, joined from the outermost to the posts, the last one as `posts`; before them
    /// the result, unless `keys` are to be columns of what the outermost grouping reads.
    fn groups(&self, keys: bool) -> String {
        match self.traced_keys().filter(|_| keys) {
            Some(columns) => self.inputs(self.grouping, columns, String::new(), None),
            None => {
                let result = format!("(\n{}\n) AS result", self.text.fenced_rows(0, &[]));
                let group = vec![self.text.input_group(self.grouping)];
                self.inputs(self.grouping, group, result, Some("result"))
            }
        }
    }

    /// Joins to `joined`, whose last relation is `outer`, the rows that the groupings from `at` on read.
    pub(super) fn inputs(&self, at: usize, columns: Vec<InputColumn>, joined: String, outer: Option<&str>) -> String {
        let (mut joined, mut outer) = (joined, outer.map(str::to_owned));
        let (mut next, mut columns) = (Some(at), columns);
        let mut level = 1 + self.text.chain[..at].iter().filter(|block| block.is_grouped()).count();
        while let Some(at) = next {
            next = self.text.grouping(at + 1);
            let name = match next {
                Some(_) => format!("\"input {level}\""),
                None => "posts".to_owned(),
            };
            let input = self.text.input(at, &columns);
            match &outer {
                None => joined.push_str(&format!("(\n{input}\n) AS {name}")),
                Some(outer) => {
                    let group = self.text.identity(at);
                    joined.push_str(&format!(
                        "\nJOIN (\n{input}\n) AS {name} ON {name}.{group} = {outer}.{group}"
                    ));
                }
            }
            if let Some(below) = next {
                columns = vec![self.text.input_group(below)];
            }
            outer = Some(name);
            level += 1;
        }
        joined
    }

    pub(super) fn key_columns(&self) -> Vec<&'a str> {
        let key = self.spec.columns[..self.spec.key].iter();
        key.map(|column| &*column.name).collect()
    }

    /// The key's columns as expressions over the rows that the outermost grouping reads; `None` where one of them is
    /// not plainly a column that is grouped by.
    pub(super) fn traced_keys(&self) -> Option<Vec<InputColumn>> {
        let block = &self.text.chain[self.grouping];
        let columns = self.key_columns().into_iter().map(|column| {
            let name = traced(&self.text, column, self.grouping)?;
            let (_, item) = block.items.iter().find(|(item, _)| *item == name)?;
            let text = self.text.expression(item);
            let key = block.keys.iter().find(|key| self.text.expression(key) == text)?;
            Some(self.text.input_column(self.grouping, quoted(column), key))
        });
        let columns: Option<Vec<_>> = columns.collect();
        // otherwise a row of the result is named by fewer values than it is grouped by
        columns.filter(|columns| columns.len() >= self.discriminating_keys())
    }

    fn discriminating_keys(&self) -> usize {
        let block = &self.text.chain[self.grouping];
        let mut texts: Vec<_> = block.keys.iter().map(|key| self.text.expression(key)).collect();
        texts.sort_unstable();
        texts.dedup();
        texts.len()
    }

    fn bounded(&self) -> Result<(), WhyError> {
        let groupings = self.text.chain.iter().filter(|block| block.is_grouped()).count();
        if groupings.saturating_mul(self.spec.sql.len()) > LONGEST_SQL {
            Err(WhyError::TooLong {
                table: self.spec.name.clone(),
                groupings,
            })
        } else {
            Ok(())
        }
    }

    /// The types of columns of the key, for a query that is not too long.
    pub(super) fn types(&self, columns: &[&str]) -> Result<Vec<Ty>, WhyError> {
        self.bounded()?;
        let mut types = Vec::with_capacity(columns.len() + 2);
        for (place, column) in columns.iter().enumerate() {
            let table = || self.spec.name.clone();
            if columns[..place].contains(column) {
                return Err(WhyError::Twice {
                    table: table(),
                    column: (*column).to_owned(),
                });
            }
            let key = &self.spec.columns[..self.spec.key];
            let Some(known) = key.iter().find(|known| known.name == **column) else {
                return Err(WhyError::NotKey {
                    table: table(),
                    column: (*column).to_owned(),
                    key: self.key_columns().join(", "),
                });
            };
            types.push(known.ty);
        }
        Ok(types)
    }
}
