//! Functions of values, each on many random arguments in one query: the interpreter's answers are PostgreSQL's, byte
//! for byte.

use anyhow::{Result, ensure};
use dataflows::sql::eval::{Datum, Decimal, float, like, text, time};
use dataflows::sql::plan::{Side, TimeUnit};
use pinflow_tests::queries::Choices;
use pinflow_tests::{Database, postgres};

/// How many random arguments each function gets.
const MANY: usize = 100_000;

/// Demands that the query, over `VALUES` with a column `n` for the order, gives what is expected of each row.
struct Bulk {
    database: Database,
    _server: pinflow_tests::Postgres,
}

impl Bulk {
    fn start() -> Result<Bulk> {
        let server = postgres()?;
        Ok(Bulk {
            database: Database::connect(&server.url())?,
            _server: server,
        })
    }

    /// `select` names the arguments as `a`, `b`, …; `rows` are the arguments as SQL, and the expected text.
    fn demand(&self, select: &str, types: &[&str], rows: &[(Vec<String>, Option<String>)]) -> Result<()> {
        let names = ["a", "b", "c"];
        let columns: Vec<_> = names
            .iter()
            .zip(types)
            .map(|(name, ty)| format!("{name} {ty}"))
            .collect();
        self.database.run(&format!(
            "CREATE TEMP TABLE arguments (n integer, {})",
            columns.join(", ")
        ))?;
        for (part, chunk) in rows.chunks(10_000).enumerate() {
            let row = |(n, (arguments, _)): (usize, &(Vec<String>, Option<String>))| {
                format!("({}, {})", part * 10_000 + n, arguments.join(", "))
            };
            let values: Vec<_> = chunk.iter().enumerate().map(row).collect();
            self.database
                .run(&format!("INSERT INTO arguments VALUES {}", values.join(", ")))?;
        }
        let answers = self
            .database
            .rows(&format!("SELECT {select} FROM arguments ORDER BY n"))?;
        self.database.run("DROP TABLE arguments")?;
        ensure!(answers.len() == rows.len(), "{select}: {} answers", answers.len());
        for ((arguments, expected), answer) in rows.iter().zip(answers) {
            ensure!(
                answer[0] == *expected,
                "{select} of {arguments:?}: {:?}, here {expected:?}",
                answer[0]
            );
        }
        Ok(())
    }
}

/// A number of up to 36 digits with up to 20 decimals: all sizes are equally likely, and round ones are frequent.
fn decimal(choices: &mut Choices) -> Decimal {
    let digits = choices.below(37);
    let mut unscaled: i128 = 0;
    let nines = choices.below(4);
    for _ in 0..digits {
        let digit = match nines {
            0 => [0, 9, 5, 4][choices.below(4)],
            _ => choices.below(10),
        };
        unscaled = unscaled * 10 + digit as i128;
    }
    Decimal {
        unscaled: if choices.one_in(2) { -unscaled } else { unscaled },
        scale: choices.below(21) as u16,
    }
}

fn small(choices: &mut Choices) -> Decimal {
    let decimal = decimal(choices);
    Decimal {
        unscaled: decimal.unscaled % 10i128.pow(17),
        scale: decimal.scale % 9,
    }
}

/// The text of what was computed; `None` where the number has too many digits here, which the compiler refuses.
fn shown(decimal: Result<Decimal, dataflows::sql::eval::Failure>) -> Option<String> {
    decimal.ok().map(|decimal| decimal.to_string())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn arithmetic_of_numerics() -> Result<()> {
    let bulk = Bulk::start()?;
    let mut choices = Choices::random(1);
    let functions: [(&str, fn(Decimal, Decimal) -> Option<String>); 6] = [
        ("a + b", |a, b| shown(a.plus(b))),
        ("a - b", |a, b| shown(a.minus(b))),
        ("a * b", |a, b| shown(a.times(b))),
        ("a / b", |a, b| shown(a.divide(b))),
        ("a % b", |a, b| shown(a.remainder(b))),
        ("(a < b)::integer - (a > b)::integer", |a, b| {
            Some((-(a.cmp(&b) as i32)).to_string())
        }),
    ];
    for (select, function) in functions {
        let mut rows = Vec::with_capacity(MANY);
        while rows.len() < MANY {
            // half of them such as real sums and counts are
            let (a, b) = if choices.one_in(2) {
                (small(&mut choices), small(&mut choices))
            } else {
                (decimal(&mut choices), decimal(&mut choices))
            };
            if b.unscaled != 0
                && let Some(expected) = function(a, b)
            {
                rows.push((vec![a.to_string(), b.to_string()], Some(expected)));
            }
        }
        bulk.demand(select, &["numeric", "numeric"], &rows)?;
    }
    Ok(())
}

#[test]
fn averages_are_quotients_of_sums_and_counts() -> Result<()> {
    let bulk = Bulk::start()?;
    let mut choices = Choices::random(2);
    let mut rows = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        let (sum, count) = (small(&mut choices).unscaled as i64, 1 + choices.below(1_000) as i64);
        let expected = Decimal::integer(sum).divide(Decimal::integer(count));
        rows.push((vec![sum.to_string(), count.to_string()], shown(expected)));
    }
    // one value that is the sum, and zeros
    let select = "(SELECT avg(CASE WHEN i = 1 THEN a ELSE 0 END) FROM generate_series(1, b) AS i)";
    bulk.demand(select, &["bigint", "integer"], &rows[..5_000])?;
    bulk.demand("a::numeric / b", &["bigint", "integer"], &rows)
}

#[test]
fn rounding_and_casts_of_numerics() -> Result<()> {
    let bulk = Bulk::start()?;
    let mut choices = Choices::random(3);
    let (mut rounded, mut integers, mut doubles) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..MANY {
        let (a, decimals) = (decimal(&mut choices), choices.below(21) as u16);
        if let Some(expected) = shown(a.round(decimals)) {
            rounded.push((vec![a.to_string(), decimals.to_string()], Some(expected)));
        }
        doubles.push((vec![a.to_string()], Some(float::text(a.to_double()))));
        let a = small(&mut choices);
        integers.push((vec![a.to_string()], a.to_integer().ok().map(|value| value.to_string())));
    }
    bulk.demand("round(a, b)", &["numeric", "integer"], &rounded)?;
    bulk.demand("a::bigint", &["numeric"], &integers)?;
    bulk.demand("a::double precision", &["numeric"], &doubles)?;
    let signs: Vec<_> = integers.iter().map(|(a, _)| a.clone()).collect();
    let sign = |a: Vec<String>| {
        let negative = a[0].starts_with('-');
        let zero = a[0].bytes().all(|byte| !byte.is_ascii_digit() || byte == b'0');
        (
            a,
            Some(
                if zero {
                    "0"
                } else if negative {
                    "-1"
                } else {
                    "1"
                }
                .to_owned(),
            ),
        )
    };
    bulk.demand(
        "sign(a)",
        &["numeric"],
        &signs.into_iter().map(sign).collect::<Vec<_>>(),
    )
}

#[test]
fn doubles_are_written_and_made_of_integers_alike() -> Result<()> {
    let bulk = Bulk::start()?;
    let mut choices = Choices::random(4);
    let (mut written, mut integers) = (Vec::new(), Vec::new());
    while written.len() < MANY {
        let bits = (choices.below(1 << 32) as u64) << 32 | choices.below(1 << 32) as u64;
        let value = match choices.below(4) {
            0 => f64::from_bits(bits),
            1 => f64::from_bits(bits & !((1 << 45) - 1)),
            2 => (bits % 1_000_000) as f64 / 1_000.0,
            _ => 2f64.powi((bits % 2_000) as i32 - 1_000),
        };
        if value.is_finite() {
            written.push((vec![format!("'{value:e}'")], Some(float::text(value))));
            let integer = (bits as i64) >> (bits % 60);
            integers.push((vec![format!("'{integer}'")], Some(float::text(integer as f64))));
        }
    }
    bulk.demand("a", &["double precision"], &written)?;
    bulk.demand("a::double precision", &["bigint"], &integers)
}

fn word(choices: &mut Choices, letters: &[&str], most: usize) -> String {
    (0..choices.below(most + 1)).map(|_| choices.pick(letters)).collect()
}

#[test]
fn patterns() -> Result<()> {
    let bulk = Bulk::start()?;
    let mut choices = Choices::random(5);
    let mut rows = Vec::with_capacity(MANY);
    while rows.len() < MANY {
        let pattern = word(
            &mut choices,
            &["a", "b", "é", "%", "_", "\\%", "\\_", "\\\\", "\\a", "日"],
            6,
        );
        let text = word(&mut choices, &["a", "b", "é", "%", "_", "\\", "日"], 8);
        let expected = if like::matches(&text, &pattern) { "t" } else { "f" };
        rows.push((vec![quoted(&text), quoted(&pattern)], Some(expected.to_owned())));
    }
    ensure!(
        rows.iter()
            .filter(|(_, matches)| matches.as_deref() == Some("t"))
            .count()
            > MANY / 50
    );
    bulk.demand("a LIKE b", &["text", "text"], &rows)
}

#[test]
fn functions_of_text() -> Result<()> {
    let bulk = Bulk::start()?;
    let mut choices = Choices::random(6);
    let functions: [(&str, fn(&str, &str, usize) -> String); 12] = [
        ("left(a, c)", |a, _, c| text::left(a, c).to_owned()),
        ("right(a, c)", |a, _, c| text::right(a, c).to_owned()),
        ("substr(a, c + 1)", |a, _, c| text::substr(a, c + 1, None).to_owned()),
        ("substr(a, c + 1, c)", |a, _, c| {
            text::substr(a, c + 1, Some(c)).to_owned()
        }),
        ("length(a)", |a, _, _| text::length(a).to_string()),
        ("split_part(a, b, c + 1)", |a, b, c| {
            text::split_part(a, b, c + 1).to_owned()
        }),
        ("strpos(a, b)", |a, b, _| text::strpos(a, b).to_string()),
        ("replace(a, b, 'é-')", |a, b, _| text::replace(a, b, "é-")),
        ("btrim(a, b)", |a, b, _| text::trim(Side::Both, a, b).to_owned()),
        ("ltrim(a, b)", |a, b, _| text::trim(Side::Left, a, b).to_owned()),
        ("rtrim(a, b)", |a, b, _| text::trim(Side::Right, a, b).to_owned()),
        ("upper(a COLLATE \"C\") || lower(a COLLATE \"C\")", |a, _, _| {
            a.to_ascii_uppercase() + &a.to_ascii_lowercase()
        }),
    ];
    let letters = ["a", "b", ",", " ", "é", "日", "𝒳", "Z", "ö", "İ"];
    for (select, function) in functions {
        let mut rows = Vec::with_capacity(MANY / 5);
        for _ in 0..MANY / 5 {
            let (a, b, c) = (
                word(&mut choices, &letters, 10),
                word(&mut choices, &letters[..5], 2),
                choices.below(12),
            );
            let expected = function(&a, &b, c);
            rows.push((vec![quoted(&a), quoted(&b), c.to_string()], Some(expected)));
        }
        bulk.demand(select, &["text", "text", "integer"], &rows)?;
    }
    Ok(())
}

#[test]
fn parts_of_times() -> Result<()> {
    let bulk = Bulk::start()?;
    let mut choices = Choices::random(7);
    const FIRST: i64 = -62_135_596_800_000_000;
    const LAST: i64 = 253_402_300_799_999_999;
    let mut times = vec![FIRST, LAST, 0, -1];
    while times.len() < MANY / 5 {
        let random = (choices.below(1 << 32) as u64) << 32 | choices.below(1 << 32) as u64;
        times.push(match choices.below(3) {
            // all years, this century, and days of the first and last weeks of years
            0 => FIRST + (random % (LAST - FIRST) as u64) as i64,
            1 => (random % 4_000_000_000_000_000) as i64,
            _ => {
                (random % 8_000) as i64 * 31_556_952_000_000 % 200_000_000_000_000_000
                    + (random % 20) as i64 * 86_400_000_000
            }
        });
    }
    let sql = |micros: &i64| {
        let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
        format!("timestamp 'epoch' + interval '{days} days' + {rest} * interval '1 microsecond'")
    };
    let units = [
        TimeUnit::Year,
        TimeUnit::Quarter,
        TimeUnit::Month,
        TimeUnit::Week,
        TimeUnit::Day,
        TimeUnit::Dow,
        TimeUnit::IsoDow,
        TimeUnit::Doy,
        TimeUnit::IsoYear,
        TimeUnit::Hour,
        TimeUnit::Minute,
    ];
    let truncated = |unit| {
        !matches!(
            unit,
            TimeUnit::Dow | TimeUnit::IsoDow | TimeUnit::Doy | TimeUnit::IsoYear
        )
    };
    let selects = units.iter().flat_map(|unit| {
        let extract = format!("extract({} FROM a)::integer", unit.name());
        let trunc = truncated(*unit).then(|| format!("date_trunc('{}', a)", unit.name()));
        std::iter::once(extract).chain(trunc)
    });
    let selects: Vec<_> = selects.chain(["a::date".to_owned(), "a".to_owned()]).collect();
    let expected = |micros: i64| -> Result<String> {
        let mut parts = Vec::new();
        for unit in units {
            parts.push(Datum::Int(time::extract(unit, micros)?));
            if truncated(unit) {
                parts.push(Datum::Timestamp(time::truncate(unit, micros)?));
            }
        }
        parts.extend([Datum::Date(time::day(micros)?), Datum::Timestamp(micros)]);
        let texts: Result<Vec<_>, _> = parts
            .iter()
            .map(|part| part.to_text().map(Option::unwrap_or_default))
            .collect();
        Ok(texts?.join(" | "))
    };
    let mut rows = Vec::with_capacity(times.len());
    for micros in &times {
        rows.push((vec![sql(micros)], Some(expected(*micros)?)));
    }
    bulk.demand(
        &format!("concat_ws(' | ', {})", selects.join(", ")),
        &["timestamp"],
        &rows,
    )
}
