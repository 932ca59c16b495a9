//! The SQL of docs/security.md, run as it stands there: pinflow runs as the role it makes, and readers read as theirs.

use super::SOON;
use anyhow::{Context, Result, ensure};
use pinflow_tests::{Database, LakeFolder, Pinflow, Postgres, root};
use std::path::Path;

/// The SQL of the page, block by block.
fn blocks() -> Result<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/security.md"))?;
    let blocks = page
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```"));
    Ok(blocks.map(|(sql, _)| sql.to_owned()).collect())
}

/// The URL of a role in the database of the page.
fn url(postgres: &Postgres, role: &str) -> String {
    format!("postgres://{role}:pw@127.0.0.1:{}/pins", postgres.port())
}

/// A lake with a hundred posts and three dead letters.
fn lake(folder: &Path) -> Result<LakeFolder> {
    let lake = LakeFolder::new(folder.join("lake"));
    let mut lines: Vec<String> = (0..100)
        .map(|ind| format!(r#"{{"ind":{ind},"country":"Peru"}}"#))
        .collect();
    lines.extend(["secret of a client".to_owned(), "[]".to_owned(), "{}".to_owned()]);
    lake.put(&lake.key("geo", 0, 0, None), (lines.join("\n") + "\n").as_bytes())?;
    Ok(lake)
}

fn denied(database: &Database, sql: &str) -> Result<()> {
    let Err(error) = database.rows(sql) else {
        anyhow::bail!("allowed: {sql}");
    };
    let text = format!("{error:#}");
    ensure!(
        text.contains("permission denied") || text.contains("must be owner"),
        "{sql}: {text}"
    );
    Ok(())
}

const RESULT: &str = "SELECT count(*) FROM pinflow.geo_table";
const BYTES: &str = "SELECT value FROM pinflow.rejects";

#[test]
fn the_roles_of_the_documentation_suffice_and_have_no_more() -> Result<()> {
    let [roles, bytes, earlier] =
        <[String; 3]>::try_from(blocks()?).map_err(|blocks| anyhow::anyhow!("{} blocks of SQL", blocks.len()))?;
    let postgres = pinflow_tests::postgres()?;
    let administrator = Database::connect(&postgres.url())?;
    administrator.run("CREATE DATABASE pins ENCODING 'UTF8' TEMPLATE template0")?;
    let administrator = Database::connect(&format!("{}?dbname=pins", postgres.url()))?;
    administrator.run(&roles)?;
    let members = "CREATE ROLE alice LOGIN PASSWORD 'pw' IN ROLE pinflow_reader; \
                   CREATE ROLE stranger LOGIN PASSWORD 'pw'; GRANT CONNECT ON DATABASE pins TO stranger; \
                   ALTER ROLE pinflow_engine PASSWORD 'pw'";
    administrator.run(members)?;

    let folder = tempfile::tempdir()?;
    let lake = lake(folder.path())?;
    let engine = url(&postgres, "pinflow_engine");
    let command = |name: &str, role: &str| {
        Pinflow::new(name)
            .lake(&lake)
            .args(["--topics", "geo", "--postgres", role])
    };
    command("backfill", &engine).succeed(SOON)?;
    // a second start stages and settles again
    command("backfill", &engine).succeed(SOON)?;
    command("verify", &engine).args(["--replay"]).succeed(SOON)?;
    command("verify", &engine).args(["--repair"]).succeed(SOON)?;

    let alice = Database::connect(&url(&postgres, "alice"))?;
    ensure!(alice.number(RESULT)? == 100);
    ensure!(alice.number("SELECT sum(rows)::bigint FROM pinflow.dead_letters")? == 3);
    let reasons = alice.rows(r#"SELECT reason, "offset" FROM pinflow.rejects ORDER BY 2"#)?;
    ensure!(
        reasons[0] == [Some("not_json".to_owned()), Some("100".to_owned())],
        "{reasons:?}"
    );
    ensure!(alice.number("SELECT count(*) FROM pinflow.rejects_dropped")? == 0);
    alice.run("LISTEN pinflow_commits")?;
    for sql in [
        BYTES,
        "SELECT key FROM pinflow.rejects",
        "SELECT * FROM pinflow.rejects",
        "DELETE FROM pinflow.geo_table",
        "UPDATE pinflow.progress SET fence = 0",
        "INSERT INTO pinflow.gaps SELECT * FROM pinflow.gaps",
        "CREATE TABLE pinflow.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "DROP VIEW pinflow.dead_letters",
    ] {
        denied(&alice, sql)?;
    }
    command("verify", &url(&postgres, "alice")).succeed(SOON)?;
    command("verify", &url(&postgres, "alice"))
        .args(["--replay"])
        .succeed(SOON)?;
    let exports = format!("file://{}", folder.path().join("exports").display());
    let export = |role: &str| Pinflow::new("export").args(["--postgres", &url(&postgres, role), "--to", &exports]);
    export("alice").succeed(SOON)?;
    let mut refused = export("stranger").start()?;
    refused.expect(1, SOON)?;
    ensure!(refused.stderr().contains("permission denied"), "{}", refused.tail());
    let stranger = Database::connect(&url(&postgres, "stranger"))?;
    for sql in [RESULT, BYTES, "SELECT * FROM pinflow.dead_letters"] {
        denied(&stranger, sql)?;
    }
    // and the engine's role has nothing outside its schema
    let own = Database::connect(&engine)?;
    for sql in [
        "CREATE SCHEMA more",
        "CREATE TABLE public.mine (x int)",
        "CREATE ROLE more",
    ] {
        denied(&own, sql)?;
    }

    // the grants for tables of an earlier version come to the same, twice as well
    for _ in 0..2 {
        administrator.run("GRANT ALL ON ALL TABLES IN SCHEMA pinflow TO pinflow_reader")?;
        administrator.run("REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA pinflow FROM pinflow_reader")?;
        administrator.run(&earlier)?;
        denied(&alice, BYTES)?;
        ensure!(alice.number("SELECT count(reason) FROM pinflow.rejects")? == 3);
        ensure!(alice.number(RESULT)? == 100);
    }
    administrator.run(&bytes)?;
    administrator.run("GRANT pinflow_dead_letters TO alice")?;
    let values = alice.rows(&format!("{BYTES} ORDER BY position"))?;
    let first = values.first().and_then(|row| row.first()).context("a value")?;
    let hex: String = b"secret of a client".iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(first.as_deref() == Some(format!("\\x{hex}").as_str()), "{values:?}");
    Ok(())
}
