//! Random expressions of a given type, as text.
//!
//! Most of what is written here is accepted; what can fail for some value is written too, and the compiler is asked.

use super::Choices;
use dataflows::sql::types::Ty;

/// A column that can be named.
#[derive(Clone, Debug)]
pub struct Column {
    /// As it is written.
    pub sql: String,
    /// The type of the expression.
    pub ty: Ty,
}

/// Writes expressions over the columns of a scope.
pub struct Expressions<'a> {
    /// Where choices come from.
    pub choices: &'a mut Choices,
    /// The columns that it may name.
    pub columns: &'a [Column],
}

/// The types of which expressions are drawn.
pub const TYPES: [Ty; 8] = [
    Ty::Int8,
    Ty::Text,
    Ty::Int4,
    Ty::Numeric,
    Ty::Timestamp,
    Ty::Bool,
    Ty::Date,
    Ty::Float8,
];

const TEXTS: [&str; 16] = [
    "'a'",
    "'art'",
    "'b'",
    "''",
    "' '",
    "','",
    "'A'",
    "'éducation'",
    "'日本'",
    "'%'",
    "'\\'",
    "'it''s'",
    "'_'",
    "'ab'",
    "'ö'",
    "'unknown'",
];
const PATTERNS: [&str; 12] = [
    "'a%'", "'%'", "'_'", "''", "'%a%b%'", "'a\\_b'", "'100\\%'", "'%\\\\%'", "'__'", "'日_'", "'é%'", "'%a'",
];
const NUMERICS: [&str; 10] = [
    "1.5",
    "0.1",
    "100.0",
    "2.50",
    "0.001",
    "-0.5",
    "7.0",
    "0.0",
    "33.33",
    "12345.6789",
];
const TIMES: [&str; 5] = [
    "TIMESTAMP '2020-08-28 03:52:47'",
    "TIMESTAMP '2020-12-31'",
    "TIMESTAMP '1969-12-31 23:59:59.999999'",
    "TIMESTAMP '0001-01-01'",
    "TIMESTAMP '9999-12-31 23:59:59'",
];
const DATES: [&str; 4] = [
    "DATE '2020-08-28'",
    "DATE '1970-01-01'",
    "DATE '0001-01-01'",
    "DATE '9999-12-31'",
];
const UNITS: [&str; 11] = [
    "year", "month", "quarter", "week", "day", "dow", "isodow", "doy", "isoyear", "hour", "minute",
];
const TRUNCATED: [&str; 7] = ["day", "year", "quarter", "month", "week", "hour", "minute"];

impl Expressions<'_> {
    /// An expression of the type, that nests at most so deep.
    pub fn of(&mut self, ty: Ty, depth: usize) -> String {
        if depth == 0 || self.choices.below(3) == 0 {
            return self.leaf(ty);
        }
        let depth = depth - 1;
        if let Some(common) = self.of_any(ty, depth) {
            return common;
        }
        match ty {
            Ty::Bool => self.bool(depth),
            Ty::Int4 => self.int4(depth),
            Ty::Int8 => self.int8(depth),
            Ty::Numeric => self.numeric(depth),
            Ty::Text => self.text(depth),
            Ty::Date => format!("({})::date", self.of(Ty::Timestamp, depth)),
            Ty::Timestamp => match self.choices.below(3) {
                0 => format!("({})::timestamp", self.of(Ty::Date, depth)),
                _ => {
                    let unit = self.choices.pick(&TRUNCATED);
                    format!("date_trunc('{unit}', {})", self.of(Ty::Timestamp, depth))
                }
            },
            Ty::Float8 => self.leaf(ty),
        }
    }

    /// A type that some column has, or any.
    pub fn ty(&mut self) -> Ty {
        match self.columns.len() {
            0 => TYPES[self.choices.below(TYPES.len())],
            _ if self.choices.one_in(3) => TYPES[self.choices.below(TYPES.len())],
            columns => self.columns[self.choices.below(columns)].ty,
        }
    }

    fn leaf(&mut self, ty: Ty) -> String {
        if !self.choices.one_in(4)
            && let Some(column) = self.column(ty)
        {
            return column;
        }
        match ty {
            Ty::Bool => self.choices.pick(&["true", "false"]).to_owned(),
            Ty::Int4 => self
                .choices
                .pick(&["1", "2", "0", "-1", "18", "35", "97", "2147483647"])
                .to_owned(),
            Ty::Int8 => self
                .choices
                .pick(&["3000000000", "1::bigint", "-3000000000", "9223372036854775807"])
                .to_owned(),
            Ty::Numeric => self.choices.pick(&NUMERICS).to_owned(),
            Ty::Text => self.choices.pick(&TEXTS).to_owned(),
            Ty::Date => self.choices.pick(&DATES).to_owned(),
            Ty::Timestamp => self.choices.pick(&TIMES).to_owned(),
            // there are no literals of it
            Ty::Float8 => self.column(ty).unwrap_or_else(|| "1::double precision".to_owned()),
        }
    }

    /// A column of this type, if there is one.
    pub fn column(&mut self, ty: Ty) -> Option<String> {
        let of: Vec<&Column> = self.columns.iter().filter(|column| column.ty == ty).collect();
        match of.len() {
            0 => None,
            some => Some(of[self.choices.below(some)].sql.clone()),
        }
    }

    /// What every type has.
    fn of_any(&mut self, ty: Ty, depth: usize) -> Option<String> {
        Some(match self.choices.below(14) {
            8 => {
                let (condition, then, otherwise) = (self.of(Ty::Bool, depth), self.of(ty, depth), self.of(ty, depth));
                match self.choices.below(3) {
                    0 => format!("CASE WHEN {condition} THEN {then} ELSE {otherwise} END"),
                    1 => format!("CASE WHEN {condition} THEN {then} END"),
                    _ => {
                        let of = self.ty();
                        let (operand, value) = (self.of(of, depth), self.of(of, depth));
                        format!("CASE {operand} WHEN {value} THEN {then} ELSE {otherwise} END")
                    }
                }
            }
            9 => format!("coalesce({}, {})", self.of(ty, depth), self.of(ty, depth)),
            10 => format!("nullif({}, {})", self.of(ty, depth), self.of(ty, depth)),
            11 => {
                let name = self.choices.pick(&["greatest", "least"]);
                let collate = self.collate(ty);
                format!("{name}({}{collate}, {})", self.of(ty, depth), self.of(ty, depth))
            }
            12 => format!(
                "CASE WHEN {} IS NOT NULL THEN {} ELSE {} END",
                self.leaf(ty),
                self.of(ty, depth),
                self.leaf(ty)
            ),
            13 => format!("({})", self.of(ty, depth)),
            _ => return None,
        })
    }

    /// The collation that an order of texts wants; a column may have it already.
    fn collate(&mut self, ty: Ty) -> &'static str {
        match ty {
            Ty::Text if !self.choices.one_in(4) => " COLLATE \"C\"",
            _ => "",
        }
    }

    /// Parentheses, or not: what binds closer is to be read by both in the same way.
    fn part(&mut self, ty: Ty, depth: usize) -> String {
        let inner = self.of(ty, depth);
        match self.choices.below(3) {
            2 => inner,
            _ => format!("({inner})"),
        }
    }

    /// An operand of IS, LIKE, IN, BETWEEN or a comparison, none of which may follow another one in PostgreSQL.
    fn operand(&mut self, ty: Ty, depth: usize) -> String {
        match ty {
            Ty::Bool => format!("({})", self.of(ty, depth)),
            _ => self.part(ty, depth),
        }
    }

    /// A condition with at most so many levels of operators.
    pub fn bool(&mut self, depth: usize) -> String {
        let not = if self.choices.one_in(3) { "NOT " } else { "" };
        match self.choices.below(13) {
            0 | 1 => {
                let ty = self.ty();
                let op = self.choices.pick(&["=", "<>", "<", "<=", ">", ">=", "!="]);
                let collate = self.collate(ty);
                format!("{} {op} {}{collate}", self.operand(ty, depth), self.operand(ty, depth))
            }
            2 => {
                let ty = self.ty();
                format!("{} IS {not}NULL", self.operand(ty, depth))
            }
            3 => format!("{} AND {}", self.part(Ty::Bool, depth), self.part(Ty::Bool, depth)),
            4 => format!("{} OR {}", self.part(Ty::Bool, depth), self.part(Ty::Bool, depth)),
            5 => format!("NOT {}", self.part(Ty::Bool, depth)),
            6 => {
                let ty = self.ty();
                let collate = self.collate(ty);
                let value = self.operand(ty, depth);
                format!("{value}{collate} {not}BETWEEN {} AND {}", self.leaf(ty), self.leaf(ty))
            }
            7 => {
                let ty = [Ty::Text, Ty::Int4, Ty::Int8][self.choices.below(3)];
                let (a, b) = match ty {
                    Ty::Text => (self.choices.pick(&TEXTS), self.choices.pick(&TEXTS)),
                    _ => ("1", self.choices.pick(&["18", "-1", "12000"])),
                };
                format!("{} {not}IN ({a}, {b})", self.operand(ty, depth))
            }
            8 => {
                let pattern = self.choices.pick(&PATTERNS);
                format!("{} {not}LIKE {pattern}", self.operand(Ty::Text, depth))
            }
            9 => format!(
                "starts_with({}, {})",
                self.of(Ty::Text, depth),
                self.of(Ty::Text, depth)
            ),
            10 => {
                let what = self.choices.pick(&["TRUE", "FALSE", "UNKNOWN"]);
                format!("{} IS {not}{what}", self.operand(Ty::Bool, depth))
            }
            11 => {
                let ty = self.ty();
                format!(
                    "{} IS {not}DISTINCT FROM {}",
                    self.operand(ty, depth),
                    self.operand(ty, depth)
                )
            }
            _ => {
                // what proofs of arithmetic stand on
                let column = self.column(Ty::Int4).or_else(|| self.column(Ty::Int8));
                let column = column.unwrap_or_else(|| "1".to_owned());
                let range = self.choices.pick(&["0 AND 150", "-1000 AND 1000", "1 AND 50"]);
                format!("{column} BETWEEN {range}")
            }
        }
    }

    fn int4(&mut self, depth: usize) -> String {
        match self.choices.below(10) {
            0 => format!("length({})", self.of(Ty::Text, depth)),
            1 => format!("strpos({}, {})", self.of(Ty::Text, depth), self.of(Ty::Text, depth)),
            2 | 3 => {
                let unit = self.choices.pick(&UNITS);
                let ty = if self.choices.one_in(3) && !["hour", "minute"].contains(&unit) {
                    Ty::Date
                } else {
                    Ty::Timestamp
                };
                let time = self.of(ty, depth);
                match self.choices.below(2) {
                    0 => format!("EXTRACT({unit} FROM {time})::integer"),
                    _ => format!("cast(extract({unit} from {time}) as int)"),
                }
            }
            4 => format!("{} % 97", self.part(Ty::Int4, depth)),
            5 => format!("({})::integer", self.of(Ty::Bool, depth)),
            6 => format!("({} % 1000)::int", self.part(Ty::Int8, depth)),
            7 => format!(
                "round({} % 50, {})::integer",
                self.part(Ty::Numeric, depth),
                self.choices.below(2)
            ),
            _ => self.arithmetic(Ty::Int4, depth),
        }
    }

    fn int8(&mut self, depth: usize) -> String {
        match self.choices.below(6) {
            0 => format!("({})::bigint", self.of(Ty::Int4, depth)),
            1 => format!("{} % 100000", self.part(Ty::Int8, depth)),
            2 => format!("CAST({} % 1000 AS bigint)", self.part(Ty::Numeric, depth)),
            _ => self.arithmetic(Ty::Int8, depth),
        }
    }

    fn numeric(&mut self, depth: usize) -> String {
        match self.choices.below(8) {
            0 | 1 => {
                let ty = if self.choices.one_in(2) { Ty::Int8 } else { Ty::Int4 };
                format!("({})::numeric", self.of(ty, depth))
            }
            2 | 3 => {
                let decimals = self.choices.below(7);
                format!("round({}, {decimals})", self.of(Ty::Numeric, depth))
            }
            4 => match self.choices.below(2) {
                0 => format!("sign({})", self.of(Ty::Numeric, depth)),
                _ => format!("round({})", self.of(Ty::Numeric, depth)),
            },
            _ => self.arithmetic(Ty::Numeric, depth),
        }
    }

    fn arithmetic(&mut self, ty: Ty, depth: usize) -> String {
        let (a, b) = (self.part(ty, depth), self.part(ty, depth));
        match self.choices.below(9) {
            0 | 1 => format!("{a} + {b}"),
            2 => format!("{a} - {b}"),
            3 => format!("{a} * {b}"),
            4 => format!("{a} / nullif({b}, 0)"),
            5 => format!("{a} % nullif({b}, 0)"),
            6 => format!("- ({a})"),
            7 => format!("abs({a})"),
            _ => format!("mod({a}, {})", self.choices.pick(&["7", "100", "3"])),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let count = self.choices.below(5);
        match self.choices.below(12) {
            0 | 1 => format!("left({}, {})", self.of(Ty::Text, depth), 4 * count),
            2 => format!("right({}, {count})", self.of(Ty::Text, depth)),
            3 => format!(
                "substr({}, {}, {count})",
                self.of(Ty::Text, depth),
                1 + self.choices.below(3)
            ),
            4 => format!("substr({}, {})", self.of(Ty::Text, depth), 1 + count),
            5 => {
                let (text, from) = (self.of(Ty::Text, depth), self.leaf(Ty::Text));
                format!("replace({text}, {from}, {})", self.choices.pick(&TEXTS))
            }
            6 => {
                let (text, delimiter) = (self.of(Ty::Text, depth), self.leaf(Ty::Text));
                format!("split_part({text}, {delimiter}, {})", 1 + count)
            }
            7 => {
                let name = self.choices.pick(&["btrim", "ltrim", "rtrim"]);
                match self.choices.below(2) {
                    0 => format!("{name}({})", self.of(Ty::Text, depth)),
                    _ => format!("{name}({}, {})", self.of(Ty::Text, depth), self.leaf(Ty::Text)),
                }
            }
            8 => format!("{} || {}", self.part(Ty::Text, depth), self.part(Ty::Text, depth)),
            9 => {
                let name = self.choices.pick(&["lower", "upper"]);
                format!("{name}({} COLLATE \"C\")", self.part(Ty::Text, depth))
            }
            10 => {
                let ty = if self.choices.one_in(2) { Ty::Int8 } else { Ty::Int4 };
                format!("({})::text", self.of(ty, depth))
            }
            _ => format!("{} COLLATE \"C\"", self.part(Ty::Text, depth)),
        }
    }
}
