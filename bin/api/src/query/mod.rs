//! What a request asks of a table: filters, columns, order, a limit and a cursor.

mod filter;
mod like;
mod literal;
mod sql;

pub use filter::Filter;

use crate::error::{ApiError, nearest, shown};
use crate::order::compare;
use crate::params::{once, unknown, whole};
use operators::{Row, Table};
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Parameters that are not filters.
pub const RESERVED: [&str; 6] = ["select", "order", "limit", "cursor", "at_least", "timeout"];
/// Conditions of a request at most.
const MOST_FILTERS: usize = 32;
/// Columns that rows are ordered by, or that are shown, at most.
const MOST_COLUMNS: usize = 64;

/// See the module's head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// All of them hold.
    pub filters: Vec<Filter>,
    /// The columns that are shown; `None`: all of them.
    pub select: Option<Vec<usize>>,
    /// What rows are ordered by, before the primary key.
    pub order: Vec<OrderBy>,
    /// Rows at most.
    pub limit: Option<usize>,
    /// Where it goes on.
    pub cursor: Option<Cursor>,
    /// Tells apart queries that give other rows or another order.
    fingerprint: u32,
}

/// A column that rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The column, by number.
    pub column: usize,
    /// The greatest first.
    pub descending: bool,
    /// Null before everything else.
    pub nulls_first: bool,
}

/// Where a page begins: `COMMIT.ROWS.FINGERPRINT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The commit of the first page.
    pub commit: i64,
    /// Rows on the pages before.
    pub skip: usize,
}

impl Query {
    /// Reads the parameters of a request on a table.
    pub fn parse(table: &Table, params: &[(String, String)]) -> Result<Query, ApiError> {
        let mut query = Query::default();
        for (name, value) in params {
            if !RESERVED.contains(&name.as_str()) {
                let number = column(table, name, Some(&RESERVED))?;
                query
                    .filters
                    .push(Filter::parse(number, &table.columns[number], value)?);
            }
        }
        if query.filters.len() > MOST_FILTERS {
            let error = format!(
                "{} conditions, of which there may be {MOST_FILTERS}",
                query.filters.len()
            );
            return Err(ApiError::bad(error, "`in.(…)` takes a list of values"));
        }
        if let Some(names) = once(params, "select")? {
            query.select = select(table, names)?;
        }
        if let Some(text) = once(params, "order")? {
            query.order = order(table, text)?;
        }
        let limit = whole(params, "limit", 0..=u64::MAX)?;
        query.limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut hasher = DefaultHasher::new();
        for pair in params.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str())) {
            pair.hash(&mut hasher);
        }
        once(params, "order")?.hash(&mut hasher);
        table.name.hash(&mut hasher);
        query.fingerprint = hasher.finish() as u32;
        if let Some(text) = once(params, "cursor")? {
            query.cursor = Some(query.read_cursor(text)?);
        }
        Ok(query)
    }

    /// Whether it asks for the whole table as it is.
    pub fn is_everything(&self) -> bool {
        self.filters.is_empty()
            && self.select.is_none()
            && self.order.is_empty()
            && self.limit.is_none()
            && self.cursor.is_none()
    }

    /// Rows on the pages before.
    pub fn skip(&self) -> usize {
        self.cursor.map_or(0, |cursor| cursor.skip)
    }

    /// The text of the cursor of the page after one of `rows` rows of `commit`.
    pub fn next(&self, commit: i64, rows: usize) -> String {
        format!("{commit}.{}.{:08x}", self.skip() + rows, self.fingerprint)
    }

    fn read_cursor(&self, text: &str) -> Result<Cursor, ApiError> {
        let parse = || {
            let mut parts = text.split('.');
            let (commit, skip) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let fingerprint = u32::from_str_radix(parts.next()?, 16).ok()?;
            (parts.next().is_none() && fingerprint == self.fingerprint).then_some(Cursor { commit, skip })
        };
        parse().ok_or_else(|| {
            let error = format!("invalid cursor {}", shown(text));
            let hint = "give the `next` of an answer, and the same filters and order";
            ApiError::bad(error, hint).with("parameter", "cursor")
        })
    }

    /// The rows that pass the filters, in order, from where the page begins, and whether there are more than it takes.
    /// `rows` come in the order of the primary key.
    pub fn run<'a>(&self, table: &Table, rows: impl Iterator<Item = &'a Arc<Row>>) -> (Vec<&'a Arc<Row>>, bool) {
        let passes = |row: &&Arc<Row>| self.filters.iter().all(|filter| filter.holds(table.columns, row));
        let rows = rows.filter(passes);
        let most = self.limit.unwrap_or(usize::MAX);
        if self.order.is_empty() {
            let mut rows = rows.skip(self.skip());
            let page = rows.by_ref().take(most).collect();
            return (page, rows.next().is_some());
        }
        let mut rows: Vec<&Arc<Row>> = rows.collect();
        // stable: rows that are equal here stay in the order of the primary key
        rows.sort_by(|a, b| self.compare(table, a, b));
        let more = rows.len() > self.skip().saturating_add(most);
        (rows.into_iter().skip(self.skip()).take(most).collect(), more)
    }

    fn compare(&self, table: &Table, a: &Row, b: &Row) -> Ordering {
        let by = self.order.iter().map(|by| {
            let (a, b) = (&a[by.column], &b[by.column]);
            match (a.is_null(), b.is_null()) {
                (false, false) if by.descending => compare(table.columns[by.column].ty, b, a),
                (false, false) => compare(table.columns[by.column].ty, a, b),
                (a, b) if by.nulls_first => b.cmp(&a),
                (a, b) => a.cmp(&b),
            }
        });
        by.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// The number of a column; `beside` it a parameter may have been meant.
fn column(table: &Table, name: &str, beside: Option<&[&str]>) -> Result<usize, ApiError> {
    let found = table.columns.iter().position(|column| column.name == name);
    found.ok_or_else(|| {
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let mut names = columns.clone();
        names.extend(beside.unwrap_or_default());
        let nearest = nearest(name, &names);
        if beside.is_some() && nearest.is_some_and(|nearest| !columns.contains(&nearest)) {
            return unknown(name, &names).with("column", name);
        }
        let hint = match nearest {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("its columns are {}", columns.join(", ")),
        };
        let error = format!("{} has no column {}", table.name, shown(name));
        let error = ApiError::bad(error, hint).with("table", table.name);
        error.with("column", name).with("nearest", nearest)
    })
}

fn select(table: &Table, names: &str) -> Result<Option<Vec<usize>>, ApiError> {
    if names == "*" {
        return Ok(None);
    }
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    if names.len() > MOST_COLUMNS {
        return Err(ApiError::bad("too many columns in `select`", "name each of them once").with("parameter", "select"));
    }
    let mut columns: Vec<usize> = Vec::with_capacity(names.len());
    for name in names {
        let number = column(table, name, None)?;
        if columns.contains(&number) {
            let error = format!("column {name} is selected twice");
            return Err(ApiError::bad(error, "name each of them once").with("column", name));
        }
        columns.push(number);
    }
    Ok(Some(columns))
}

fn order(table: &Table, text: &str) -> Result<Vec<OrderBy>, ApiError> {
    const WORDS: [&str; 4] = ["asc", "desc", "nullsfirst", "nullslast"];
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if parts.len() > MOST_COLUMNS {
        return Err(ApiError::bad("too many columns in `order`", "name each of them once").with("parameter", "order"));
    }
    let part = |part: &&str| {
        let mut words = part.split('.');
        let name = words.next().unwrap_or_default();
        let mut by = OrderBy {
            column: column(table, name, None)?,
            descending: false,
            nulls_first: false,
        };
        let wrong = |word: &str| {
            let nearest = nearest(word, &WORDS);
            let hint = match nearest {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => "expected COLUMN[.asc|.desc][.nullsfirst|.nullslast]".to_owned(),
            };
            let error = format!("invalid order {} of column {name}", shown(word));
            let error = ApiError::bad(error, hint).with("column", name);
            error.with("operator", word).with("nearest", nearest)
        };
        let mut word = words.next();
        if let Some("asc" | "desc") = word {
            by.descending = word == Some("desc");
            by.nulls_first = by.descending;
            word = words.next();
        }
        if let Some("nullsfirst" | "nullslast") = word {
            by.nulls_first = word == Some("nullsfirst");
            word = words.next();
        }
        match word {
            Some(word) => Err(wrong(word)),
            None => Ok(by),
        }
    };
    parts.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use operators::{Column, ColumnType, Value};

    const TABLE: Table = Table {
        name: "places",
        comment: "",
        key: 1,
        columns: &[
            Column {
                name: "country",
                ty: ColumnType::Text,
                comment: "",
            },
            Column {
                name: "rank",
                ty: ColumnType::Int8,
                comment: "",
            },
        ],
    };

    fn parse(query: &str) -> Result<Query, ApiError> {
        Query::parse(&TABLE, &crate::params::parse(Some(query))?)
    }

    fn rows() -> Vec<Arc<Row>> {
        let row = |(country, rank): (&str, Option<i64>)| Arc::new(vec![Value::from(country), Value::from(rank)]);
        [("a", Some(2)), ("b", None), ("c", Some(1)), ("d", Some(2))]
            .map(row)
            .to_vec()
    }

    fn run(query: &str) -> (String, bool) {
        let (query, rows) = (parse(query).unwrap(), rows());
        let (page, more) = query.run(&TABLE, rows.iter());
        let names = page.iter().map(|row| row[0].as_str().unwrap_or_default());
        (names.collect::<Vec<_>>().join(""), more)
    }

    #[test]
    fn rows_are_filtered_ordered_and_cut() {
        for (query, expected, more) in [
            ("", "abcd", false),
            ("order=rank", "cadb", false),
            ("order=rank.desc", "badc", false),
            ("order=rank.desc.nullslast", "adcb", false),
            ("order=rank.nullsfirst", "bcad", false),
            ("order=rank.desc.nullslast,country.desc", "dacb", false),
            ("rank=eq.2&country=neq.a", "d", false),
            ("limit=2", "ab", true),
            ("limit=4", "abcd", false),
            ("limit=0", "", true),
            ("order=country.desc&limit=3", "dcb", true),
        ] {
            assert_eq!(run(query), (expected.to_owned(), more), "{query}");
        }
    }

    #[test]
    fn pages_join_to_the_whole() {
        for order in ["", "&order=rank.desc"] {
            let (whole, _) = run(&order.replace('&', ""));
            let (mut text, mut cursor) = (String::new(), String::new());
            loop {
                let query = format!("limit=3{order}{cursor}");
                let (page, more) = run(&query);
                text.push_str(&page);
                if !more {
                    break;
                }
                cursor = format!("&cursor={}", parse(&query).unwrap().next(7, page.len()));
            }
            assert_eq!(text, whole);
        }
        let next = parse("limit=3").unwrap().next(7, 3);
        let cursor = Cursor { commit: 7, skip: 3 };
        assert_eq!(parse(&format!("limit=9&cursor={next}")).unwrap().cursor, Some(cursor));
        for other in [
            format!("cursor={next}&order=rank"),
            format!("cursor={next}&rank=eq.1"),
            "cursor=x".to_owned(),
            "cursor=1.2".to_owned(),
        ] {
            assert_eq!(parse(&other).unwrap_err().more["parameter"], "cursor", "{other}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, member, name) in [
            ("contry=eq.x", "nearest", "country"),
            ("limits=4", "nearest", "limit"),
            ("select=contry", "nearest", "country"),
            ("select=", "column", ""),
            ("select=rank,rank", "column", "rank"),
            ("order=ranks.desc", "nearest", "rank"),
            ("order=rank.dsc", "nearest", "desc"),
            ("order=rank.nullslast.desc", "operator", "desc"),
            ("limit=x", "parameter", "limit"),
            ("limit=-1", "parameter", "limit"),
        ] {
            assert_eq!(parse(query).unwrap_err().more[member], name, "{query}");
        }
        assert!(parse(&"rank=eq.1&".repeat(33)).is_err());
        assert_eq!(parse("select=*").unwrap().select, None);
        assert_eq!(parse("select=rank,country").unwrap().select, Some(vec![1, 0]));
    }
}
