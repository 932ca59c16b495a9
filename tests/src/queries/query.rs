//! Random results: one SELECT over joined kinds, and queries around it.

use super::Choices;
use super::expr::{Column, Expressions, TYPES};
use dataflows::Options;
use dataflows::sql::types::Ty;
use dataflows::sql::{Catalog, ResultSpec, Schema, SqlFile, compile};

/// How deep expressions nest.
const DEPTH: usize = 3;

/// How many times a part is drawn again because it was refused.
const TRIES: usize = 3;

/// A result that the compiler accepts.
pub struct Accepted {
    /// As it would stand in a file.
    pub text: String,
    /// Compiled alone.
    pub catalog: Catalog,
}

impl Accepted {
    /// The result.
    pub fn spec(&self) -> &ResultSpec {
        &self.catalog.results[0]
    }
}

/// Compiles a query as the only result; `None` where it is refused.
pub fn accepted(schema: &Schema, options: &Options, sql: &str) -> Option<Accepted> {
    let text = format!("-- r: a row\n{sql}");
    let file = SqlFile {
        path: "r.sql".to_owned(),
        text: text.clone(),
    };
    let catalog = compile(&[file], schema, options).ok()?;
    Some(Accepted { text, catalog })
}

/// Draws results.
pub struct Queries<'a> {
    /// Where choices come from.
    pub choices: &'a mut Choices,
    /// The tables that it may read.
    pub schema: &'a Schema,
    /// The options of the run.
    pub options: &'a Options,
}

/// A SELECT whose parts are added one by one.
#[derive(Clone, Default)]
struct Select {
    distinct: bool,
    /// Expression and name.
    items: Vec<(String, String)>,
    from: String,
    filter: Vec<String>,
    /// How each of the first items is grouped by: its number, its name or its expression.
    group: Vec<String>,
    having: Vec<String>,
}

impl Select {
    fn sql(&self) -> String {
        let items: Vec<_> = self
            .items
            .iter()
            .map(|(expr, name)| format!("{expr} AS {name}"))
            .collect();
        let mut sql = format!(
            "SELECT {}{}\nFROM {}",
            if self.distinct { "DISTINCT " } else { "" },
            items.join(",\n       "),
            self.from
        );
        let clause = |word: &str, parts: &[String], between: &str| {
            if parts.is_empty() {
                String::new()
            } else {
                format!("\n{word} {}", parts.join(between))
            }
        };
        let bracketed = |parts: &[String]| parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>();
        sql.push_str(&clause("WHERE", &bracketed(&self.filter), " AND "));
        sql.push_str(&clause("GROUP BY", &self.group, ", "));
        sql.push_str(&clause("HAVING", &bracketed(&self.having), " AND "));
        sql
    }
}

impl Queries<'_> {
    /// A result. There is always one: the simplest SELECT is accepted.
    pub fn result(&mut self) -> Accepted {
        let mut result = self.grouped_posts();
        let layers = [0, 1, 0, 1, 2, 1, 3][self.choices.below(7)];
        for _ in 0..layers {
            let around = match self.choices.below(7) {
                0 | 1 => self.ranked(&result),
                2 | 3 => self.mapped(&result),
                4 => self.regrouped(&result),
                5 => self.limited(&result),
                _ => self.distinct(&result),
            };
            result = around.unwrap_or(result);
        }
        result
    }

    fn accepted(&self, sql: &str) -> Option<Accepted> {
        accepted(self.schema, self.options, sql)
    }

    pub(super) fn expressions<'c>(&'c mut self, columns: &'c [Column]) -> Expressions<'c> {
        Expressions {
            choices: self.choices,
            columns,
        }
    }

    /// A SELECT over joined kinds.
    fn grouped_posts(&mut self) -> Accepted {
        let (from, columns) = self.join();
        let simplest = Select {
            items: vec![
                ("coalesce(pin.category, '')".to_owned(), "k0".to_owned()),
                ("count(*)".to_owned(), "a0".to_owned()),
            ],
            from: "pin_table AS pin".to_owned(),
            group: vec!["1".to_owned()],
            ..Select::default()
        };
        let drawn = self.grouped(from, &columns);
        drawn.unwrap_or_else(|| self.accepted(&simplest.sql()).expect("the simplest SELECT is accepted"))
    }

    /// Kinds joined in any order and way, and their columns.
    pub(super) fn join(&mut self) -> (String, Vec<Column>) {
        let mut kinds: Vec<usize> = (0..self.schema.kinds.len()).collect();
        for place in (1..kinds.len()).rev() {
            let other = place - self.choices.below(place + 1);
            kinds.swap(place, other);
        }
        kinds.truncate(1 + self.choices.below(kinds.len()));
        let mut from = String::new();
        let mut columns = Vec::new();
        for (place, kind) in kinds.into_iter().enumerate() {
            let kind = &self.schema.kinds[kind];
            let alias = kind.table.trim_end_matches("_table").replace("user", "users");
            let join = match place {
                0 => String::new(),
                _ => format!(
                    " {}JOIN ",
                    self.choices
                        .pick(&["", "LEFT ", "FULL ", "RIGHT ", "INNER ", "LEFT OUTER "])
                ),
            };
            let using = if place == 0 { "" } else { " USING (ind)" };
            from.push_str(&format!("{join}{} AS {alias}{using}", kind.table));
            for column in &kind.columns {
                let name = match column.name.as_str() {
                    name @ "timestamp" => format!("{alias}.\"{name}\""),
                    name => format!("{alias}.{name}"),
                };
                match column.elements {
                    Some(elements) => columns.extend((1..=elements).map(|element| Column {
                        sql: format!("{name}[{element}]"),
                        ty: column.ty,
                    })),
                    None => columns.push(Column {
                        sql: name,
                        ty: column.ty,
                    }),
                }
            }
        }
        (from, columns)
    }

    /// GROUP BY over something.
    fn grouped(&mut self, from: String, columns: &[Column]) -> Option<Accepted> {
        let mut select = Select {
            from,
            items: vec![("'all'".to_owned(), "k0".to_owned())],
            group: vec!["1".to_owned()],
            ..Select::default()
        };
        let mut result = self.accepted(&select.sql())?;
        for _ in 0..self.choices.below(3) {
            let condition = self.expressions(columns).bool(DEPTH);
            self.try_add(&mut select, &mut result, |select| select.filter.push(condition));
        }
        let mut keys = 0;
        for _ in 0..1 + self.choices.below(3) {
            let mut key = self.key(columns);
            let name = format!("k{keys}");
            let form = self.choices.below(3);
            let add = |key: &str| {
                let (key, name) = (key.to_owned(), name.clone());
                move |select: &mut Select| {
                    if keys == 0 {
                        select.items.clear();
                        select.group.clear();
                    }
                    select.group.push(match form {
                        0 => (keys + 1).to_string(),
                        1 => name.clone(),
                        _ => key.clone(),
                    });
                    select.items.push((key, name));
                }
            };
            let mut added = self.try_add(&mut select, &mut result, add(&key));
            for _ in 0..TRIES {
                if added {
                    break;
                }
                key = self.key(columns);
                added = self.try_add(&mut select, &mut result, add(&key));
            }
            keys += usize::from(added);
        }
        for place in 0..1 + self.choices.below(4) {
            for _ in 0..TRIES {
                let aggregate = self.aggregate(columns);
                let name = format!("a{place}");
                if self.try_add(&mut select, &mut result, |select| select.items.push((aggregate, name))) {
                    break;
                }
            }
        }
        if self.choices.one_in(3) {
            let condition = format!(
                "{} {} {}",
                self.aggregate(columns),
                self.choices.pick(&[">=", "<", "=", "<>"]),
                self.choices.below(4)
            );
            self.try_add(&mut select, &mut result, |select| select.having.push(condition));
        }
        Some(result)
    }

    fn try_add(&self, select: &mut Select, result: &mut Accepted, add: impl FnOnce(&mut Select)) -> bool {
        let mut more = select.clone();
        add(&mut more);
        let accepted = self.accepted(&more.sql());
        let added = accepted.is_some();
        if let Some(accepted) = accepted {
            *select = more;
            *result = accepted;
        }
        added
    }

    /// An expression to group by, which is not null.
    pub(super) fn key(&mut self, columns: &[Column]) -> String {
        let mut expressions = self.expressions(columns);
        let ty = match TYPES[expressions.choices.below(TYPES.len())] {
            Ty::Float8 => Ty::Text,
            ty => ty,
        };
        let depth = expressions.choices.below(DEPTH);
        let key = expressions.of(ty, depth);
        match ty {
            Ty::Text => format!("coalesce(left({key}, 40), 'unknown')"),
            Ty::Int4 | Ty::Int8 => format!("coalesce({key}, 0)"),
            Ty::Numeric => format!("coalesce(round({key}, 2), 0.00)"),
            Ty::Bool => format!("({key}) IS TRUE"),
            Ty::Date => format!("coalesce({key}, DATE '2020-08-28')"),
            _ => format!("coalesce({key}, TIMESTAMP '2020-08-28')"),
        }
    }

    /// An aggregate, or an expression over some.
    fn aggregate(&mut self, columns: &[Column]) -> String {
        match self.choices.below(12) {
            9 => format!(
                "round(100.0 * {} / count(*), {})",
                self.one_aggregate(columns),
                self.choices.below(4)
            ),
            10 => format!(
                "{} / nullif({}, 0)",
                self.one_aggregate(columns),
                self.one_aggregate(columns)
            ),
            11 => format!(
                "coalesce({}, 0) + {}",
                self.one_aggregate(columns),
                self.one_aggregate(columns)
            ),
            _ => self.one_aggregate(columns),
        }
    }

    fn one_aggregate(&mut self, columns: &[Column]) -> String {
        let mut expressions = self.expressions(columns);
        let depth = expressions.choices.below(DEPTH);
        let ty = TYPES[expressions.choices.below(TYPES.len())];
        let call = match expressions.choices.below(11) {
            0 => "count(*)".to_owned(),
            1 => format!("count({})", expressions.of(ty, depth)),
            2 => match expressions.choices.below(2) {
                0 => format!("count(DISTINCT {})", expressions.of(ty, depth)),
                _ => {
                    let other = expressions.ty();
                    let parts = [ty, other].map(|ty| expressions.of(ty, depth));
                    format!("count(DISTINCT ({}))", parts.join(", "))
                }
            },
            kind @ (3 | 4) => {
                let name = if kind == 3 { "sum" } else { "avg" };
                let ty = [Ty::Int4, Ty::Int8, Ty::Numeric][expressions.choices.below(3)];
                let e = expressions.of(ty, depth);
                match ty {
                    Ty::Numeric => format!("{name}(round({e}, 2))"),
                    _ => format!("{name}({e})"),
                }
            }
            5 => {
                let e = expressions.bool(depth);
                format!("{}({e})", expressions.choices.pick(&["bool_and", "bool_or", "every"]))
            }
            kind => {
                let ty = if ty == Ty::Bool && kind < 8 { Ty::Int4 } else { ty };
                let e = expressions.of(ty, depth);
                let e = match ty {
                    Ty::Text => format!("left({e}, 40) COLLATE \"C\""),
                    Ty::Numeric => format!("round({e}, 1)"),
                    _ => e,
                };
                let descending = expressions.choices.pick(&["", " DESC", " ASC"]);
                let fraction = expressions.choices.pick(&["0.5", "0", "1", "0.9", "0.25", "0.333"]);
                match kind {
                    6 | 7 => format!("{}({e})", expressions.choices.pick(&["max", "min"])),
                    8 => format!("mode() WITHIN GROUP (ORDER BY {e})"),
                    9 => format!("percentile_disc({fraction}) WITHIN GROUP (ORDER BY {e}{descending})"),
                    _ => format!("percentile_cont({fraction}) WITHIN GROUP (ORDER BY {e}{descending})"),
                }
            }
        };
        if expressions.choices.one_in(4) {
            format!("{call} FILTER (WHERE {})", expressions.bool(depth))
        } else {
            call
        }
    }

    /// The columns of a result, as a query around it names them.
    fn columns(&self, inner: &Accepted) -> Vec<Column> {
        let column = |column: &dataflows::sql::ColumnSpec| Column {
            sql: column.name.clone(),
            ty: column.ty,
        };
        inner.spec().columns.iter().map(column).collect()
    }

    /// A FROM that reads a result: as a subquery, or behind WITH.
    fn around(&mut self, inner: &Accepted, select: &str) -> String {
        let body = inner.text.split_once('\n').map_or("", |(_, body)| body);
        match self.choices.below(2) {
            0 => select.replace("{inner}", &format!("(\n{body}\n) AS q")),
            // the inner WITH is in parentheses
            _ => format!("WITH c AS (\n{body}\n)\n{}", select.replace("{inner}", "c AS q")),
        }
    }

    fn fresh(&mut self, inner: &Accepted, prefix: &str) -> String {
        let taken = |name: &String| inner.spec().columns.iter().any(|column| column.name == *name);
        let names = (0..).map(|number| format!("{prefix}{number}"));
        names
            .into_iter()
            .find(|name| !taken(name))
            .expect("there are infinitely many names")
    }

    /// The keys, and expressions over the others.
    fn mapped(&mut self, inner: &Accepted) -> Option<Accepted> {
        let columns = self.columns(inner);
        let mut items: Vec<String> = columns[..inner.spec().key]
            .iter()
            .map(|column| column.sql.clone())
            .collect();
        for column in &columns[inner.spec().key..] {
            if self.choices.one_in(3) {
                items.push(column.sql.clone());
            }
        }
        let new = self.fresh(inner, "m");
        for _ in 0..TRIES {
            let mut expressions = self.expressions(&columns);
            let ty = expressions.ty();
            let item = expressions.of(ty, DEPTH);
            let filter = if self.choices.one_in(2) {
                format!("\nWHERE {}", self.expressions(&columns).bool(DEPTH))
            } else {
                String::new()
            };
            let sql = format!("SELECT {}, {item} AS {new}\nFROM {{inner}}{filter}", items.join(", "));
            let sql = self.around(inner, &sql);
            if let Some(mapped) = self.accepted(&sql) {
                return Some(mapped);
            }
        }
        None
    }

    /// Groups of the groups.
    fn regrouped(&mut self, inner: &Accepted) -> Option<Accepted> {
        let columns = self.columns(inner);
        let body = inner.text.split_once('\n').map_or("", |(_, body)| body);
        self.grouped(format!("(\n{body}\n) AS q"), &columns)
    }

    fn order(&mut self, inner: &Accepted, all: bool) -> Vec<String> {
        let columns = self.columns(inner);
        let mut terms = Vec::new();
        let term = |choices: &mut Choices, column: &Column| {
            let collate = if column.ty == Ty::Text { " COLLATE \"C\"" } else { "" };
            let direction = choices.pick(&["", " DESC", " ASC", " DESC NULLS LAST", " NULLS FIRST"]);
            format!("{}{collate}{direction}", column.sql)
        };
        for _ in 0..1 + self.choices.below(2) {
            let column = &columns[self.choices.below(columns.len())];
            terms.push(term(self.choices, column));
        }
        if all {
            for column in &columns[..inner.spec().key] {
                terms.push(term(self.choices, column));
            }
        }
        terms
    }

    /// Window functions with a bound.
    fn ranked(&mut self, inner: &Accepted) -> Option<Accepted> {
        let key = inner.spec().key;
        let columns = self.columns(inner);
        let order = self.order(inner, true);
        let some = 1 + self.choices.below(order.len());
        let partition: Vec<_> = columns[..self.choices.below(key + 1)]
            .iter()
            .map(|column| column.sql.clone())
            .collect();
        let partition = if partition.is_empty() {
            String::new()
        } else {
            format!("PARTITION BY {} ", partition.join(", "))
        };
        let (first, second) = (self.fresh(inner, "p"), self.fresh(inner, "n"));
        let rank = self.choices.pick(&["rank", "dense_rank"]);
        let rank = format!(
            "{rank}() OVER ({partition}ORDER BY {}) AS {first}",
            order[..some].join(", ")
        );
        let number = format!(
            "row_number() OVER ({partition}ORDER BY {}) AS {second}",
            order.join(", ")
        );
        let bound = 1 + self.choices.below(4);
        let (places, filter) = match self.choices.below(6) {
            0 | 1 => (rank, format!("{first} <= {bound}")),
            2 => (number, format!("{second} <= {bound}")),
            3 => (
                format!("{rank}, {number}"),
                format!("{{top}} = 0 OR {second} <= {{top}} OR {first} = 1"),
            ),
            4 => (
                format!("{rank}, {number}"),
                format!("{second} < {} OR {first} <= {bound}", bound + 1),
            ),
            _ => (rank, format!("{first} = {bound}")),
        };
        let more = if self.choices.one_in(4) {
            format!(" AND ({})", self.expressions(&columns).bool(1))
        } else {
            String::new()
        };
        let sql = self.around(inner, &format!("SELECT q.*, {places}\nFROM {{inner}}"));
        let whole = format!("SELECT *\nFROM (\n{sql}\n) AS ranked\nWHERE ({filter}){more}");
        self.accepted(&whole)
    }

    /// ORDER BY with LIMIT.
    fn limited(&mut self, inner: &Accepted) -> Option<Accepted> {
        let ties = self.choices.one_in(2);
        let order = self.order(inner, !ties).join(", ");
        let rows = 1 + self.choices.below(4);
        let limit = if ties {
            format!("FETCH FIRST {rows} ROWS WITH TIES")
        } else {
            format!("LIMIT {rows}")
        };
        let sql = self.around(inner, &format!("SELECT *\nFROM {{inner}}\nORDER BY {order}\n{limit}"));
        self.accepted(&sql)
    }

    fn distinct(&mut self, inner: &Accepted) -> Option<Accepted> {
        let columns = self.columns(inner);
        let mut expressions = self.expressions(&columns);
        let (a, b) = (expressions.ty(), expressions.ty());
        let (a, b) = (expressions.of(a, 1), expressions.of(b, 1));
        let sql = format!(
            "SELECT DISTINCT {a} AS d0, {b} AS d1\nFROM {{inner}}\nWHERE ({a}) IS NOT NULL AND ({b}) IS NOT NULL"
        );
        let sql = self.around(inner, &sql);
        self.accepted(&sql)
    }
}
