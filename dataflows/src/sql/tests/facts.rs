//! What is known of columns before anything is computed.

use super::one;
use crate::sql::types::{Facts, MOST_ROWS};

/// What is known of the columns behind the first of a grouped subquery over the three kinds.
fn facts(items: &str, clauses: &str) -> Vec<Facts> {
    let sql = format!(
        "SELECT k, count(*) AS n FROM (SELECT coalesce(country, '?') AS k, {items} FROM pin_table JOIN geo_table USING \
         (ind) LEFT JOIN user_table USING (ind) {clauses}) AS t GROUP BY k"
    );
    let catalog = one(&sql).unwrap_or_else(|said| panic!("{sql}\n{}", said[0]));
    // the outermost fold reads the subquery, if need be over a map of its columns
    let input = catalog.plan.node(catalog.results[0].node).input().unwrap();
    let outputs = catalog.plan.outputs(input);
    outputs[1..].iter().map(|output| output.facts).collect()
}

/// (nullable, low, high) of an expression behind a filter.
fn range(e: &str, filter: &str) -> (bool, i128, i128) {
    let facts = facts(
        &format!("{e} AS e, count(*) AS c"),
        &format!("WHERE {filter} GROUP BY 1, 2"),
    )[0];
    (facts.nullable, facts.low, facts.high)
}

const INT: (i128, i128) = (i32::MIN as i128, i32::MAX as i128);

#[test]
fn filters_narrow_what_comes_behind_them() {
    let age = |filter: &str| range("age", filter);
    assert_eq!(age("true"), (true, INT.0, INT.1));
    let cases = [
        ("age >= 18", 18, INT.1),
        ("age > 18", 19, INT.1),
        ("18 < age", 19, INT.1),
        ("NOT age <= 18", 19, INT.1),
        ("age < 18", INT.0, 17),
        ("age <= 18", INT.0, 18),
        ("age = 18", 18, 18),
        ("age BETWEEN 18 AND 30", 18, 30),
        ("NOT (age < 18 OR age > 30)", 18, 30),
        ("age IN (3, 1, 2)", 1, 3),
        ("(age = 5 OR age = 9)", 5, 9),
        ("(age > 5) IS TRUE", 6, INT.1),
        ("age > 5.5", 6, INT.1),
        ("age > 5 AND age < 5", 6, 6),
        ("age::bigint < 7 AND age > 3", 4, 6),
    ];
    for (filter, low, high) in cases {
        // a numeric bound is rounded outwards
        let low = if filter == "age > 5.5" { 5 } else { low };
        assert_eq!(age(filter), (false, low, high), "{filter}");
    }
}

#[test]
fn null_is_known_from_filters_and_joins() {
    let cases = [
        ("country", "true", true),
        ("country", "country IS NOT NULL", false),
        ("country", "country = 'x'", false),
        ("country", "country LIKE 'x%'", false),
        ("country", "length(country) > 3", false),
        ("country", "country = category", false),
        ("country", "country = 'x' OR category = 'x'", true),
        ("country", "country = 'x' OR country = 'y'", false),
        ("country", "country IS NULL", true),
        ("country", "NOT (country IS NULL)", false),
        ("country", "country IS DISTINCT FROM 'x'", true),
        ("country", "country <> 'x'", false),
        ("coalesce(country, category)", "category IS NOT NULL", false),
        ("nullif(country, 'x')", "country IS NOT NULL", true),
        ("greatest(age, 5)", "true", false),
        ("geo_table.ind", "true", false),
        ("user_table.ind", "true", true),
        ("user_table.ind", "age = 3", true),
        ("ind", "true", false),
        ("CASE WHEN age IS NULL THEN 1 ELSE age END", "true", false),
        ("CASE WHEN age IS NOT NULL THEN age END", "true", true),
        ("CASE WHEN age > 3 THEN age ELSE 3 END", "true", false),
    ];
    for (e, filter, nullable) in cases {
        assert_eq!(range(e, filter).0, nullable, "{e} where {filter}");
    }
}

#[test]
fn branches_know_their_condition() {
    let (filter, int8) = ("true", (i64::MIN as i128, i64::MAX as i128));
    let range = |e: &str| range(e, filter);
    assert_eq!(
        range("CASE WHEN age > 10 THEN 10 WHEN age > 0 THEN age ELSE 0 END"),
        (false, 0, i32::MAX.into())
    );
    assert_eq!(
        range("CASE WHEN age IS NULL THEN 0 WHEN age > 10 THEN 10 WHEN age > 0 THEN age ELSE 0 END"),
        (false, 0, 10)
    );
    assert_eq!(range("CASE WHEN ind > 0 THEN 100 / ind END"), (true, 0, 100));
    assert_eq!(range("CASE WHEN ind = 0 THEN 0 ELSE 100 / ind END"), (false, -100, 100));
    assert_eq!(range("coalesce(100 / nullif(ind, 0), 5)"), (false, -100, 100));
    assert_eq!(range("ind"), (false, int8.0, int8.1));
}

#[test]
fn arithmetic_has_its_corners() {
    let of = |e: &str| {
        let (_, low, high) = range(e, "age BETWEEN -3 AND 7 AND ind BETWEEN 2 AND 5");
        (low, high)
    };
    let cases = [
        ("age + ind", (-1, 12)),
        ("age - ind", (-8, 5)),
        ("age * ind", (-15, 35)),
        ("age * -1", (-7, 3)),
        ("age / ind", (-1, 3)),
        ("ind / nullif(age, 0)", (-5, 5)),
        ("age % ind", (-3, 4)),
        ("ind % nullif(age, 0)", (0, 5)),
        ("-age", (-7, 3)),
        ("abs(age)", (0, 7)),
        ("abs(-ind)", (2, 5)),
        ("abs(nullif(age, 0))", (1, 7)),
        ("round(abs(-0.4) * 2)::integer", (0, 2)),
        ("age::numeric::integer", (-3, 7)),
        ("round(age::numeric * 1.5)::integer", (-6, 14)),
        ("sign(ind::numeric)::integer", (0, 1)),
        ("EXTRACT(month FROM date_joined)::integer", (1, 12)),
        ("least(age, ind)", (-3, 7)),
        ("length(left(user_name, 3))", (0, 13)),
    ];
    for (e, expected) in cases {
        assert_eq!(of(e), expected, "{e}");
    }
}

#[test]
fn aggregates_know_their_bounds() {
    let rows = MOST_ROWS as i128;
    let items = "count(*) AS a, count(age) AS b, count(*) FILTER (WHERE age > 3) AS c, sum(age) AS d, sum(pin_table.ind) AS e, \
                 min(age) AS f, max(ind % 10) AS g, count(DISTINCT (age, ind)) AS h, bool_or(age > 3) AS i";
    let all = facts(items, "WHERE ind >= 0 GROUP BY 1");
    let expected = [
        (false, 1, rows),
        (false, 0, rows),
        (false, 0, rows),
        (true, INT.0 * rows, -INT.0 * rows),
        (false, 0, i64::MAX as i128 * rows),
        (true, INT.0, INT.1),
        (false, 0, 9),
        (false, 1, rows),
        (true, 0, 1),
    ];
    for (facts, expected) in all.iter().zip(expected) {
        assert_eq!((facts.nullable, facts.low, facts.high), expected);
    }
    assert_eq!(all[0].total, MOST_ROWS);
    assert!(all[0].nonzero && !all[1].nonzero);
}

#[test]
fn a_sum_of_counts_is_a_count() {
    let sql = "SELECT age, sum(n)::bigint AS s, sum(n * 3)::bigint AS t, sum(CASE WHEN n > 5 THEN n END)::bigint AS u \
               FROM (SELECT age, ind, count(*) AS n FROM user_table WHERE age IS NOT NULL GROUP BY 1, 2) AS t GROUP BY 1";
    let catalog = one(sql).unwrap_or_else(|said| panic!("{}", said[0]));
    let outputs = catalog.plan.outputs(catalog.results[0].node);
    assert_eq!(outputs[1].facts.high, MOST_ROWS as i128);
    assert_eq!(outputs[2].facts.high, 3 * MOST_ROWS as i128);
    assert!(outputs[3].facts.nullable);
}

#[test]
fn numerics_know_their_scale() {
    let scale = |e: &str| {
        let sql = format!("SELECT age, {e} AS e FROM user_table WHERE age IS NOT NULL GROUP BY age");
        let catalog = one(&sql).unwrap_or_else(|said| panic!("{sql}\n{}", said[0]));
        catalog.plan.outputs(catalog.results[0].node)[1].facts.scale
    };
    assert_eq!(scale("sum(ind)"), (0, 0));
    assert_eq!(scale("round(avg(age), 2)"), (2, 2));
    assert_eq!(scale("sum(round(ind::numeric / 3, 2))"), (2, 2));
    assert_eq!(scale("100.0 * count(*)"), (1, 1));
    assert_eq!(scale("1.25 * 100.0 * count(*) + 1"), (3, 3));
    // 100 / 7 has 16 decimals, and so has 2147483648 / 1 unless it is more than 10,000 times as much
    let (least, most) = scale("100.0 * count(*) / count(*)");
    assert!(least <= 8 && (20..=32).contains(&most), "{least} {most}");
}
