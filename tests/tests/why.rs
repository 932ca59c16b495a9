//! Why a row is what it is: the queries derived from random and written results name the posts that the interpreter of
//! plans says each row is made of, which of them decide, and the rows before it.
//!
//! A failure prints the seed; `PINFLOW_TEST_SEED=seed` runs that case alone.

use anyhow::{Context, Result, ensure};
use dataflows::Options;
use dataflows::sql::eval::{Datum, Interpreter};
use dataflows::sql::plan::{Agg, AggKind, Node};
use dataflows::sql::why::{Arguments, Decides};
use dataflows::sql::{Catalog, Schema, SqlFile, built_in, compile};
use operators::Value;
use pinflow_tests::queries::data::{create, fill};
use pinflow_tests::queries::{Choices, Data, Queries, data};
use pinflow_tests::{Database, long, postgres};
use std::collections::{BTreeMap, BTreeSet};

/// The cases of `make test`, always the same; ten times as many of `make test-long`.
const CASES: u64 = 100;

type Posts = BTreeSet<i64>;

/// The rows of a result, each with the posts that it is made of.
struct Rows {
    rows: Vec<(Vec<Datum>, Posts)>,
}

fn interpreted(schema: &Schema, catalog: &Catalog, result: usize, data: &Data, only: Option<&Posts>) -> Result<Rows> {
    let mut interpreter = Interpreter::noting_keys(&catalog.plan, schema);
    for (kind, rows) in data.iter().enumerate() {
        for row in rows {
            let Value::Int(key) = row[0] else {
                unreachable!("keys are integers")
            };
            if only.is_none_or(|only| only.contains(&key)) {
                interpreter.set(kind, key, row);
            }
        }
    }
    let node = catalog.results[result].node;
    let (rows, made_of) = (interpreter.rows(node)?, interpreter.made_of(node)?);
    let posts = made_of.iter().map(|keys| keys.iter().copied().collect::<Posts>());
    Ok(Rows {
        rows: rows.iter().cloned().zip(posts).collect(),
    })
}

fn texts(values: &[Datum]) -> Result<Vec<String>> {
    let texts = values.iter().map(|value| value.to_text()?.context("a key is not null"));
    texts.collect()
}

/// A result over data, and what is asked of PostgreSQL.
struct Check<'a> {
    database: &'a Database,
    schema: &'a Schema,
    catalog: &'a Catalog,
    result: usize,
    data: &'a Data,
    /// What was met.
    met: &'a mut BTreeMap<String, usize>,
}

impl Check<'_> {
    fn posts_of(&self, sql: &str) -> Result<Vec<i64>> {
        let rows = self.database.rows(sql)?;
        let number = |row: &Vec<Option<String>>| Ok(row[0].as_deref().context("an ind is null")?.parse()?);
        rows.iter().map(number).collect()
    }

    fn meet(&mut self, what: &str) {
        *self.met.entry(what.to_owned()).or_default() += 1;
    }

    /// All that is promised of one result over one state of the tables.
    fn all(&mut self) -> Result<()> {
        let spec = &self.catalog.results[self.result];
        let Rows { rows } = interpreted(self.schema, self.catalog, self.result, self.data, None)?;
        let names: Vec<&str> = spec.columns[..spec.key].iter().map(|column| &*column.name).collect();
        let mut by_key = BTreeMap::new();
        for (row, posts) in &rows {
            let key = texts(&row[..spec.key])?;
            self.row(&names, &key, row, posts)
                .with_context(|| format!("row {row:?} of posts {posts:?}"))?;
            ensure!(by_key.insert(key, posts).is_none(), "two rows of a key");
        }
        self.some_columns(&names, &rows)?;
        self.rows_of_posts(&by_key)
    }

    fn row(&mut self, names: &[&str], key: &[String], row: &[Datum], posts: &Posts) -> Result<()> {
        let why = self.catalog.why(self.result).context("no result")?;
        let expected: Vec<i64> = posts.iter().copied().collect();
        // all at once, and by pages of two
        for limit in [1_000_i64, 2] {
            let (mut found, mut from): (Vec<i64>, i64) = (Vec::new(), i64::MIN);
            loop {
                let arguments = [key, &[from.to_string(), limit.to_string()]].concat();
                let query = why.posts(names, Arguments::Literal(&arguments))?;
                let page = self.posts_of(&query.sql)?;
                ensure!(page.len() as i64 <= limit, "{} posts a page of {limit}", page.len());
                found.extend(&page);
                match page.last().and_then(|last| last.checked_add(1)) {
                    Some(next) if page.len() as i64 == limit => from = next,
                    _ => break,
                }
            }
            ensure!(
                found == expected,
                "pages of {limit}: {found:?} of {}",
                why.posts(names, Arguments::Numbered)?.sql
            );
        }
        let count = why.count(names, Arguments::Literal(key))?;
        ensure!(
            self.database.number(&count.sql)? == expected.len() as i64,
            "{}",
            count.sql
        );
        if let Some(column) = why.post_count() {
            let place = self.place(column)?;
            ensure!(row[place] == Datum::Int(expected.len() as i64), "{column} of {row:?}");
            self.meet("post count");
        }
        self.restricted(row, posts)?;
        for column in why.columns() {
            if column.decides == Decides::Some {
                let (least, greatest) = (i64::MIN.to_string(), i64::MAX.to_string());
                let arguments = [key, &[least, greatest]].concat();
                let query = why.deciding(column.name, Arguments::Literal(&arguments))?;
                let found = self.posts_of(&query.sql)?;
                ensure!(
                    found.is_sorted() && found.iter().all(|ind| posts.contains(ind)),
                    "{found:?} of {}",
                    query.sql
                );
                let found: Posts = found.into_iter().collect();
                if let Some(deciding) = self.deciding(self.place(column.name)?, &row[..key.len()], posts)? {
                    ensure!(
                        found == deciding,
                        "{}: {found:?} decide and {deciding:?}: {}",
                        column.name,
                        query.sql
                    );
                }
                self.meet("deciding posts");
            }
            if column.place {
                self.before(column.name, key, row)?;
            }
        }
        Ok(())
    }

    fn place(&self, column: &str) -> Result<usize> {
        let columns = &self.catalog.results[self.result].columns;
        columns
            .iter()
            .position(|known| known.name == column)
            .context("no such column")
    }

    /// The posts alone make the same row, but for its places.
    fn restricted(&mut self, row: &[Datum], posts: &Posts) -> Result<()> {
        let (plan, spec) = (&self.catalog.plan, &self.catalog.results[self.result]);
        let mut nodes = vec![spec.node];
        while let Some(input) = plan.node(nodes[nodes.len() - 1]).input() {
            nodes.push(input);
        }
        let is_rank = |node: &&dataflows::sql::plan::NodeId| matches!(plan.node(**node), Node::Rank { .. });
        let above = nodes
            .iter()
            .take_while(|node| !matches!(plan.node(**node), Node::Fold { .. }))
            .count();
        if nodes[above..].iter().any(|node| is_rank(&node)) {
            // rows that are cut off below move up when those before them go
            return Ok(());
        }
        let ranked = nodes.iter().any(|node| is_rank(&node));
        let again = interpreted(self.schema, self.catalog, self.result, self.data, Some(posts))?;
        let found = again
            .rows
            .iter()
            .find(|(other, _)| other[..spec.key] == row[..spec.key]);
        let Some((found, _)) = found else {
            ensure!(ranked, "the posts of a row do not make it");
            return Ok(());
        };
        let why = self.catalog.why(self.result).context("no result")?;
        for (place, column) in why.columns().enumerate() {
            ensure!(
                column.place || found[place] == row[place],
                "{found:?} is made of the posts of {row:?}"
            );
        }
        self.meet("made again");
        Ok(())
    }

    /// The posts that decide a column that is one aggregate of posts; `None` for other columns.
    fn deciding(&mut self, place: usize, key: &[Datum], posts: &Posts) -> Result<Option<Posts>> {
        let (plan, spec) = (&self.catalog.plan, &self.catalog.results[self.result]);
        let Node::Fold { input, aggregates, .. } = plan.node(spec.node) else {
            return Ok(None);
        };
        if !matches!(plan.node(*input), Node::Posts { .. }) {
            return Ok(None);
        }
        let Some(Agg { kind, .. }) = place.checked_sub(key.len()).and_then(|place| aggregates.get(place)) else {
            return Ok(None);
        };
        // the aggregate of one post is its value
        let mut values = Vec::new();
        for post in posts {
            let alone = interpreted(
                self.schema,
                self.catalog,
                self.result,
                self.data,
                Some(&Posts::from([*post])),
            )?;
            let row = alone.rows.into_iter().find(|(row, _)| row[..key.len()] == *key);
            let (row, _) = row.context("a post alone is not in its group")?;
            let value = row[place].clone();
            if !value.is_null() && value != Datum::Int(0) || !is_count(kind) && !value.is_null() {
                values.push((value, *post));
            }
        }
        values.sort();
        let at = |place: usize| values.get(place).map(|(value, _)| value.clone());
        let number = values.len();
        let decisive: Vec<Datum> = match kind {
            AggKind::Min => at(0).into_iter().collect(),
            AggKind::Max => number.checked_sub(1).and_then(at).into_iter().collect(),
            AggKind::PercentileCont { fraction, descending } => {
                if *descending {
                    values.reverse();
                }
                let x = fraction.get() * (number.max(1) - 1) as f64;
                let at = |place: f64| values.get(place as usize).map(|(value, _)| value.clone());
                at(x.floor()).into_iter().chain(at(x.ceil())).collect()
            }
            AggKind::PercentileDisc { fraction, descending } => {
                if *descending {
                    values.reverse();
                }
                let place = (fraction.get() * number as f64).ceil().max(1.0) as usize - 1;
                values.get(place).map(|(value, _)| value.clone()).into_iter().collect()
            }
            AggKind::Mode => {
                let often = |value: &Datum| values.iter().filter(|(other, _)| other == value).count();
                let most = values.iter().map(|(value, _)| often(value)).max();
                let least = values
                    .iter()
                    .map(|(value, _)| value)
                    .find(|value| Some(often(value)) == most);
                least.cloned().into_iter().collect()
            }
            AggKind::BoolAnd => at(0).into_iter().collect(),
            AggKind::BoolOr => number.checked_sub(1).and_then(at).into_iter().collect(),
            AggKind::CountRows | AggKind::Count | AggKind::CountDistinct { .. } | AggKind::Sum | AggKind::Avg => {
                values.iter().map(|(value, _)| value.clone()).collect()
            }
        };
        self.meet(format!("{kind:?}").split([' ', '{']).next().unwrap_or_default());
        let deciding = values.iter().filter(|(value, _)| decisive.contains(value));
        Ok(Some(deciding.map(|(_, post)| *post).collect()))
    }

    /// The rows before one are as many as its place says, where the column is plainly a place.
    fn before(&mut self, column: &str, key: &[String], row: &[Datum]) -> Result<()> {
        let spec = &self.catalog.results[self.result];
        let why = self.catalog.why(self.result).context("no result")?;
        let arguments = [key, &["1000".to_owned()]].concat();
        for query in why.before(column, Arguments::Literal(&arguments))? {
            let found = self.database.rows(&query.sql)?.len() as i64;
            let plain =
                column == "rank" || column.starts_with(['p', 'n']) && column[1..].bytes().all(|b| b.is_ascii_digit());
            if plain && !spec.sql.contains("dense_rank()") {
                let place = &row[self.place(column)?];
                ensure!(
                    *place == Datum::Int(found + 1),
                    "{found} rows before place {place:?}: {}",
                    query.sql
                );
                self.meet("rows before");
            }
        }
        Ok(())
    }

    /// Posts of several rows at once.
    fn some_columns(&mut self, names: &[&str], rows: &[(Vec<Datum>, Posts)]) -> Result<()> {
        let why = self.catalog.why(self.result).context("no result")?;
        let page = [i64::MIN.to_string(), "1000".to_owned()];
        let query = why.posts(&[], Arguments::Literal(&page))?;
        let all: Posts = rows.iter().flat_map(|(_, posts)| posts).copied().collect();
        let found = self.posts_of(&query.sql)?;
        ensure!(
            found.iter().copied().eq(all.iter().copied()),
            "{found:?} of all rows' {all:?}: {}",
            query.sql
        );
        let (Some((first, _)), [.., last]) = (rows.first(), names) else {
            return Ok(());
        };
        let value = &first[names.len() - 1];
        let with = rows.iter().filter(|(row, _)| row[names.len() - 1] == *value);
        let expected: Posts = with.flat_map(|(_, posts)| posts).copied().collect();
        let arguments = [texts(std::slice::from_ref(value))?.as_slice(), &page].concat();
        let query = why.posts(&[last], Arguments::Literal(&arguments))?;
        let found = self.posts_of(&query.sql)?;
        ensure!(
            found.iter().copied().eq(expected.iter().copied()),
            "{found:?}, not {expected:?}: {}",
            query.sql
        );
        // the types of parameters are those that PostgreSQL infers
        let whole = why.posts(names, Arguments::Numbered)?;
        let mut queries = vec![query, whole, why.row_of(Arguments::Numbered)?];
        queries[0] = why.posts(&[last], Arguments::Numbered)?;
        for column in why.columns() {
            if column.decides == Decides::Some {
                queries.push(why.deciding(column.name, Arguments::Numbered)?);
            }
            if column.place {
                queries.extend(why.before(column.name, Arguments::Numbered)?);
            }
        }
        for query in queries {
            let types: Vec<u32> = query.parameters.iter().map(|ty| ty.oid()).collect();
            ensure!(
                self.database.parameters(&query.sql)? == types,
                "parameters {types:?} of {}",
                query.sql
            );
        }
        Ok(())
    }

    /// Each post names the row that it is part of, and no other row of the result.
    fn rows_of_posts(&mut self, by_key: &BTreeMap<Vec<String>, &Posts>) -> Result<()> {
        let why = self.catalog.why(self.result).context("no result")?;
        let keys = self.data.iter().flatten().map(|row| match row[0] {
            Value::Int(key) => key,
            _ => unreachable!("keys are integers"),
        });
        for post in keys.collect::<Posts>() {
            let query = why.row_of(Arguments::Literal(&[post.to_string()]))?;
            let rows = self.database.rows(&query.sql)?;
            ensure!(rows.len() <= 1, "{rows:?} of post {post}: {}", query.sql);
            let row = rows
                .into_iter()
                .next()
                .map(|row| row.into_iter().flatten().collect::<Vec<String>>());
            let found = row.filter(|row| by_key.contains_key(row));
            let expected = by_key
                .iter()
                .find(|(_, posts)| posts.contains(&post))
                .map(|(key, _)| key);
            ensure!(
                found.as_ref() == expected,
                "{found:?}, not {expected:?}, of post {post}: {}",
                query.sql
            );
        }
        Ok(())
    }
}

fn is_count(kind: &AggKind) -> bool {
    matches!(
        kind,
        AggKind::Count | AggKind::CountDistinct { .. } | AggKind::CountRows
    )
}

/// Checks all results of a catalogue over data.
fn check(
    database: &Database,
    schema: &Schema,
    catalog: &Catalog,
    data: &Data,
    met: &mut BTreeMap<String, usize>,
) -> Result<()> {
    database.run(&fill(data))?;
    for (result, spec) in catalog.results.iter().enumerate() {
        let mut check = Check {
            database,
            schema,
            catalog,
            result,
            data,
            met,
        };
        check.all().with_context(|| format!("{}:\n{}", spec.name, spec.sql))?;
    }
    Ok(())
}

fn server() -> Result<(pinflow_tests::Postgres, Database)> {
    let server = postgres()?;
    let database = Database::connect(&server.url())?;
    database.run(&create())?;
    Ok((server, database))
}

#[test]
fn built_in_results_are_explained() -> Result<()> {
    let (_server, database) = server()?;
    let schema = Schema::cleaned();
    let mut met = BTreeMap::new();
    for top in [0, 2, 10] {
        let catalog =
            compile(&built_in(), &schema, &Options { top }).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        for seed in 0..3 {
            let data = data(&mut Choices::random(1_000 + seed));
            check(&database, &schema, &catalog, &data, &mut met).with_context(|| format!("seed {seed}, top {top}"))?;
        }
    }
    for what in [
        "post count",
        "made again",
        "deciding posts",
        "rows before",
        "PercentileCont",
        "PercentileDisc",
    ] {
        ensure!(met.contains_key(what), "no case has {what}: {met:?}");
    }
    Ok(())
}

/// What the random results seldom or never have.
const WRITTEN: &[(&str, &str)] = &[
    (
        "base",
        "SELECT coalesce(country, '') AS country, coalesce(category, '') AS category, count(*) AS n, max(follower_count) AS most \
              FROM pin_table FULL JOIN geo_table USING (ind) GROUP BY 1, 2",
    ),
    ("reads", "SELECT country, category, n FROM base WHERE n > 1"),
    (
        "reads_reads",
        "SELECT country, max(n) AS n, min(n) AS least, sum(n) AS posts FROM reads GROUP BY country",
    ),
    (
        "null_groups",
        "SELECT age IS NULL AS without_age, max(n) AS most, count(*) AS groups FROM (SELECT age, country, count(*) AS n \
                     FROM geo_table LEFT JOIN user_table USING (ind) GROUP BY age, country) AS g GROUP BY 1",
    ),
    (
        "null_groups_of_null_groups",
        "SELECT 'all' AS scope, max(most) AS most, percentile_cont(0.5) WITHIN GROUP (ORDER BY n) AS middle FROM (SELECT country, \
      max(n) AS most, count(*) AS n FROM (SELECT country, category, count(*) AS n FROM pin_table RIGHT JOIN geo_table USING (ind) \
      GROUP BY country, category) AS a GROUP BY country) AS b GROUP BY 1",
    ),
    (
        "all_posts",
        "SELECT 'all' AS scope, count(*) AS n, count(DISTINCT (user_name, age)) AS users, bool_and(age > 18) AS adults, \
                   every(age > 18) FILTER (WHERE age IS NOT NULL) AS every_adult, mode() WITHIN GROUP (ORDER BY age) AS usual, \
                   percentile_cont(0.4) WITHIN GROUP (ORDER BY age DESC) FILTER (WHERE age > 0) AS middle, \
                   percentile_disc(0.4) WITHIN GROUP (ORDER BY age DESC) AS lower, min(date_joined) AS first \
                   FROM user_table GROUP BY 1",
    ),
    (
        "by_division",
        "SELECT 100 / age AS of_hundred, count(*) AS n, max(1000 / age) FILTER (WHERE age < 90) AS most FROM user_table \
                     JOIN geo_table USING (ind) WHERE age > 0 AND country IS NOT NULL GROUP BY 1",
    ),
    (
        "by_division_outside",
        "SELECT 100 / age AS of_hundred, max(n) AS most FROM (SELECT age, count(*) AS n FROM user_table WHERE \
                             age > 0 GROUP BY age) AS q GROUP BY 1",
    ),
    // PostgreSQL evaluates cheap conditions first, and a list of values is dear
    (
        "by_division_dear",
        "SELECT 100 / age AS of_hundred, count(*) AS n FROM user_table WHERE age IN (18, 20, 24, 25, 35, 36, 50) \
                          GROUP BY 1",
    ),
    (
        "by_division_dear_outside",
        "SELECT 100 / age AS of_hundred, max(n) AS most FROM (SELECT age, count(*) AS n FROM user_table WHERE \
                                  age IN (18, 20, 24, 25, 35, 36, 50) GROUP BY age) AS q GROUP BY 1",
    ),
    ("divided_key", "SELECT of_hundred, n FROM by_division WHERE n < 3"),
    (
        "kept_groups",
        "SELECT coalesce(country, '') AS country, count(*) AS n FROM geo_table GROUP BY 1 HAVING count(*) > 1",
    ),
    (
        "of_having",
        "SELECT n, count(*) AS countries FROM kept_groups GROUP BY n",
    ),
    (
        "of_ranked",
        "SELECT n, count(*) AS countries, max(p) AS last FROM (SELECT *, rank() OVER (ORDER BY n DESC) AS p FROM (SELECT \
                   country, count(*) AS n FROM geo_table GROUP BY country) AS c) AS r WHERE p <= 2 GROUP BY n",
    ),
    (
        "leading",
        "SELECT country, n, p + 1 AS next FROM (SELECT country, n, dense_rank() OVER (ORDER BY n DESC) AS p FROM (SELECT \
                 coalesce(country, '') AS country, count(*) AS n FROM geo_table GROUP BY 1) AS c) AS r WHERE p <= 2",
    ),
    (
        "ranked_with_groups",
        "SELECT country, n, p FROM (SELECT coalesce(country, '') AS country, count(*) AS n, rank() OVER (ORDER BY \
                            count(*) DESC) AS p FROM geo_table GROUP BY 1) AS r WHERE p <= 3",
    ),
    (
        "distinct_groups",
        "SELECT DISTINCT coalesce(country, '') AS country, count(*) AS n FROM geo_table JOIN pin_table USING (ind) \
                         GROUP BY country, category",
    ),
    (
        "distinct_posts",
        "SELECT DISTINCT coalesce(country, '') AS country, coalesce(age, 0) AS age FROM geo_table FULL JOIN user_table \
                        USING (ind)",
    ),
    (
        "by_ind",
        "SELECT ind, count(*) AS n, max(age) AS age FROM user_table GROUP BY ind",
    ),
    (
        "fake_ind",
        "SELECT ind, count(*) AS n FROM (SELECT coalesce(follower_count, 0) AS ind, category FROM pin_table WHERE ind > 1) AS p \
                  GROUP BY ind",
    ),
    (
        "with_queries",
        "WITH a AS (SELECT coalesce(category, '') AS c, count(*) AS n FROM pin_table GROUP BY 1), b AS (SELECT c, n FROM a \
                      WHERE n > 0), unused AS (SELECT c, n FROM b) SELECT * FROM b",
    ),
    (
        "first_two",
        "SELECT country, category, n FROM base ORDER BY n DESC FETCH FIRST 2 ROWS WITH TIES",
    ),
    (
        "of_first_two",
        "SELECT country, sum(n) AS n, count(*) FILTER (WHERE category <> 'art') AS others FROM first_two GROUP BY country",
    ),
];

#[test]
fn written_results_are_explained() -> Result<()> {
    let (_server, database) = server()?;
    let schema = Schema::cleaned();
    let files: Vec<SqlFile> = WRITTEN
        .iter()
        .map(|(name, sql)| SqlFile {
            path: format!("{name}.sql"),
            text: format!("-- {name}: a row\n{sql}"),
        })
        .collect();
    let catalog = compile(&files, &schema, &Options { top: 2 }).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", faults.join("\n"))
    })?;
    let mut met = BTreeMap::new();
    for seed in 0..if long() { 200 } else { 5 } {
        let data = data(&mut Choices::random(2_000 + seed));
        check(&database, &schema, &catalog, &data, &mut met).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

#[test]
fn random_results_are_explained() -> Result<()> {
    let (_server, database) = server()?;
    let schema = Schema::cleaned();
    let seeds = match std::env::var("PINFLOW_TEST_SEED") {
        Ok(seed) => {
            let seed = seed.parse()?;
            seed..seed + 1
        }
        Err(_) => 0..if long() { 10 * CASES } else { CASES },
    };
    let one = seeds.end - seeds.start == 1;
    let mut met = BTreeMap::new();
    for seed in seeds {
        let mut choices = Choices::random(seed);
        let data = data(&mut choices);
        let options = Options { top: choices.below(3) };
        let mut queries = Queries {
            choices: &mut choices,
            schema: &schema,
            options: &options,
        };
        let accepted = queries.result();
        check(&database, &schema, &accepted.catalog, &data, &mut met).with_context(|| {
            let rows: String = data.iter().flatten().map(|row| format!("{row:?}\n")).collect();
            format!("seed {seed}\n{rows}")
        })?;
    }
    let demanded = [
        "post count",
        "made again",
        "deciding posts",
        "rows before",
        "Min",
        "Max",
        "Mode",
        "PercentileCont",
        "PercentileDisc",
        "BoolAnd",
        "BoolOr",
        "Sum",
        "Avg",
        "Count",
        "CountDistinct",
    ];
    for what in demanded {
        ensure!(one || met.contains_key(what), "no case has {what}: {met:?}");
    }
    Ok(())
}
