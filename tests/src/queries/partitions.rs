//! Results of which one says what the others must be, whatever the data are: a condition splits rows into those where it
//! holds, does not hold and is unknown.

use super::Queries;
use dataflows::sql::types::Ty;
use dataflows::sql::{Catalog, SqlFile, compile};

/// How often conditions and values are drawn anew.
const TRIES: usize = 20;

/// The results that there always are.
const SPLIT: usize = 5;

impl Queries<'_> {
    /// Results over one random join, key, condition and value: `whole`, its parts `yes`, `no` and `unknown`, and
    /// `filtered`, which counts each part with FILTER and with CASE. As far as the compiler accepts them, the same numbers
    /// by other ways besides:
    ///
    /// | | is |
    /// |---|---|
    /// | `having` | the keys of `yes` |
    /// | `spread` | `whole`, counted by value first |
    /// | `ends` | the least and the greatest value, as percentiles |
    /// | `ranked` | the first of `whole` |
    /// | `values`, `seen` | different values, by COUNT and by SELECT DISTINCT |
    pub fn partitions(&mut self) -> Option<(Vec<SqlFile>, Catalog)> {
        (0..TRIES).find_map(|_| self.try_partitions())
    }

    fn try_partitions(&mut self) -> Option<(Vec<SqlFile>, Catalog)> {
        let (from, columns) = self.join();
        let key = self.key(&columns);
        let [condition, value, other] = {
            let mut expressions = self.expressions(&columns);
            let other = expressions.ty();
            [Ty::Bool, Ty::Int4, other].map(|ty| {
                let depth = 1 + expressions.choices.below(3);
                expressions.of(ty, depth)
            })
        };
        let parts = format!(
            "{key} AS k, count(*) AS n, count({value}) AS some, sum({value}) AS total, min({value}) AS least, \
             max({value}) AS most FROM {from}"
        );
        let of = |filter: &str| format!("SELECT {parts} {filter} GROUP BY 1");
        let grouped = |items: &str| format!("SELECT {key} AS k, {items} FROM {from} GROUP BY 1");
        let all = [
            ("whole", of("")),
            ("yes", of(&format!("WHERE {condition}"))),
            ("no", of(&format!("WHERE NOT ({condition})"))),
            ("unknown", of(&format!("WHERE ({condition}) IS NULL"))),
            (
                "filtered",
                grouped(&format!(
                    "count(*) AS n, count(*) FILTER (WHERE {condition}) AS yes, count(*) FILTER (WHERE NOT ({condition})) \
                     AS no, count(*) FILTER (WHERE ({condition}) IS NULL) AS unknown, sum(CASE WHEN {condition} THEN 1 \
                     ELSE 0 END) AS counted"
                )),
            ),
            (
                "having",
                format!("{} HAVING count(*) FILTER (WHERE {condition}) > 0", grouped("count(*) AS n")),
            ),
            (
                "spread",
                format!(
                    "SELECT k, sum(n)::bigint AS n FROM (SELECT {key} AS k, {value} AS e, count(*) AS n FROM {from} GROUP \
                     BY 1, 2) AS q GROUP BY k"
                ),
            ),
            (
                "ends",
                grouped(&format!(
                    "percentile_disc(0.0) WITHIN GROUP (ORDER BY {value}) AS least, percentile_disc(1.0) WITHIN GROUP \
                     (ORDER BY {value}) AS most"
                )),
            ),
            (
                "ranked",
                "SELECT k, n, place FROM (SELECT k, n, rank() OVER (ORDER BY n DESC) AS place FROM whole) AS q WHERE place \
                 <= 2"
                    .to_owned(),
            ),
            ("values", grouped(&format!("count(DISTINCT {other}) AS different"))),
            (
                "seen",
                format!(
                    "SELECT k, count(e) AS different FROM (SELECT DISTINCT {key} AS k, {other} AS e FROM {from}) AS q \
                     GROUP BY k"
                ),
            ),
        ];
        let mut files = Vec::new();
        let mut catalog = None;
        for (number, (name, query)) in all.into_iter().enumerate() {
            files.push(SqlFile {
                path: format!("{name}.sql"),
                text: format!("-- {name}: a row\n{query}"),
            });
            if number + 1 < SPLIT {
                continue;
            }
            match compile(&files, self.schema, self.options) {
                Ok(compiled) => catalog = Some(compiled),
                Err(_) if number < SPLIT => return None,
                Err(_) => drop(files.pop()),
            }
        }
        catalog.map(|catalog| (files, catalog))
    }
}
