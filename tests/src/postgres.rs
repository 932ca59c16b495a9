//! PostgreSQL for a test: a cluster of its own, or one that other tests of the program had before.

use crate::pool::{Lent, Pool};
use crate::{Database, watchdog};
use anyhow::{Context, Result, ensure};
use servers::PostgresOptions;

/// What a test may leave in a cluster, as statements that remove it. What is of one database goes with it.
const LEFT: &str = "
    SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database WHERE datname NOT IN ('template0', 'template1')
    UNION ALL SELECT 'CREATE DATABASE postgres TEMPLATE template0'
    UNION ALL SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user
    UNION ALL SELECT format('ALTER ROLE %I RESET ALL', current_user)
    UNION ALL SELECT 'ALTER SYSTEM RESET ALL'
    UNION ALL SELECT 'SELECT pg_reload_conf()'";
/// What is not removed.
const KEPT: &str = "SELECT (SELECT count(*) FROM pg_prepared_xacts) + (SELECT count(*) FROM pg_replication_slots)
    + (SELECT count(*) FROM pg_tablespace WHERE spcname !~ '^pg_')
    + (SELECT count(*) FROM pg_settings WHERE pending_restart)";

/// A running cluster.
pub type Postgres = Lent<servers::Postgres>;

impl Postgres {
    /// A cluster for one test alone.
    pub fn start(options: PostgresOptions) -> Result<Postgres> {
        watchdog::watch();
        let server = servers::Postgres::start(options).context("starting PostgreSQL")?;
        Ok(Lent::own(server))
    }
}

/// A cluster whose default collation orders as people do (ICU `en-US`), so that a query that forgets
/// `COLLATE "C"` shows.
pub fn postgres() -> Result<Postgres> {
    static POOL: Pool<servers::Postgres> = Pool::new();
    watchdog::watch();
    let start = || {
        let options = PostgresOptions {
            icu_locale: Some("en-US".into()),
            ..PostgresOptions::default()
        };
        servers::Postgres::start(options).context("starting PostgreSQL")
    };
    POOL.lend(empty, start)
}

/// Makes a cluster what it was at its start.
fn empty(server: &servers::Postgres) -> Result<()> {
    let url = server.url();
    let (base, _) = url.rsplit_once('/').context("a URL without a database")?;
    let database = Database::connect(&format!("{base}/template1"))?;
    ensure!(
        database.number(KEPT)? == 0,
        "a test left what is not removed from PostgreSQL"
    );
    for statement in database.rows(LEFT)?.into_iter().flatten().flatten() {
        database.run(&statement)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_cluster_is_like_a_new_one() -> Result<()> {
        let server = postgres()?;
        let of_new = "SELECT (SELECT count(*) FROM pg_roles), (SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database),
            (SELECT count(*) FROM pg_namespace), current_setting('work_mem'), current_setting('statement_timeout'),
            (SELECT datlocprovider::text || datcollate FROM pg_database WHERE datname = current_database())";
        let before = Database::connect(&server.url())?.rows(of_new)?;
        let left = Database::connect(&server.url())?;
        for statement in [
            "CREATE ROLE reader LOGIN; CREATE SCHEMA reports AUTHORIZATION reader",
            "CREATE DATABASE reporting OWNER reader",
            "ALTER SYSTEM SET work_mem = '1MB'",
            "ALTER ROLE current_user SET statement_timeout = '1h'",
        ] {
            left.run(statement)?;
        }
        empty(&server)?;
        ensure!(left.run("SELECT 1").is_err(), "a session goes on");
        crate::eventually(
            "the settings are those of the start",
            std::time::Duration::from_secs(10),
            || Ok(Database::connect(&server.url())?.rows(of_new)? == before),
        )?;
        Ok(())
    }
}
