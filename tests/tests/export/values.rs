//! What the tables hold is what the files hold, on a disk and in a bucket, in one piece and in parts.

use super::{Target, more_than_a_part, small_case};
use anyhow::{Result, ensure};
use pinflow_tests::S3Server;
use pinflow_tests::case::SOON;
use pinflow_tests::uploads::unfinished_uploads;

/// Rows as no record makes them, with all that the columns' types can hold.
const EDGES: &str = r#"
INSERT INTO export_values.geo_table (ind, country, coordinates, "timestamp", log_generation, log_partition, log_offset) VALUES
  (-9223372036854775808, '', '{}', '0001-01-01', 1, 0, 0),
  (9223372036854775807, E'a\tb\n"c",\\', '{NULL}', '9999-12-31 23:59:59.999999', 1, 0, 0),
  (-1, NULL, NULL, NULL, 1, 0, 0),
  (100, 'É 👩‍👩‍👧', '{NaN,Infinity,-Infinity,-0,NULL,1.7976931348623157e308,5e-324}', '1969-12-31 23:59:59.999999', 1, 0, 0),
  (101, 'x', '{0.1,NULL}', '2020-02-29 00:00:00.000001', 1, 0, 0);
INSERT INTO export_values.pin_table (ind, title, follower_count, log_generation, log_partition, log_offset) VALUES
  (-5, U&'\+10FFFF\FEFF', -9223372036854775808, 1, 0, 0),
  (900, repeat('long ', 100000), 9223372036854775807, 1, 0, 0);
INSERT INTO export_values.user_table (ind, age, date_joined, log_generation, log_partition, log_offset) VALUES
  (-5, -2147483648, NULL, 1, 0, 0),
  (900, 2147483647, '1970-01-01', 1, 0, 0);
"#;

#[test]
fn files_hold_what_the_tables_hold() -> Result<()> {
    let case = small_case("export_values")?;
    let database = case.database()?;
    let server = S3Server::start(case.folder().join("s3"))?;
    let folder = Target::folder(case.folder().join("not/there/yet"));
    let bucket = Target::bucket(&server, "values")?;
    for target in [&folder, &bucket] {
        let said = target.export(&case, "export_values").succeed(SOON)?;
        let first = target.exported()?;
        first.demand(&database, "export_values")?;
        ensure!(
            said.contains("geo_table: 2 rows, ")
                && said.ends_with(&format!(
                    "exported commit {}: {}/manifest.json\n",
                    first.commit(),
                    target.url
                )),
            "{said}"
        );
        ensure!(first.commit() == database.number("SELECT commits FROM export_values.progress")?);
        ensure!(
            first.manifest["frontier"]["export_values.pin"]["0"] == 3,
            "{:#}",
            first.manifest
        );
    }

    database.run(EDGES)?;
    more_than_a_part(&case)?;
    for target in [&folder, &bucket] {
        let export = target
            .export(&case, "export_values")
            .args(["--s3-part-size", "5242880"]);
        export.succeed(SOON)?;
        let second = target.exported()?;
        second.demand(&database, "export_values")?;
        ensure!(
            second.manifest["tables"]["pin_table"]["bytes"].as_u64() > Some(5 << 20),
            "{:#}",
            second.manifest
        );
        // the one before stays for those who read it
        ensure!(target.folders()?.len() == 2, "{:?}", target.folders()?);

        // tables without rows, and nobody who reads
        database.run("BEGIN; DELETE FROM export_values.user_table; CREATE TABLE kept AS TABLE export_values.pin_table; DELETE FROM export_values.pin_table")?;
        database.run("COMMIT")?;
        let said = target
            .export(&case, "export_values")
            .args(["--keep", "0s"])
            .succeed(SOON)?;
        let third = target.exported()?;
        third.demand(&database, "export_values")?;
        ensure!(said.contains("user_table: 0 rows"), "{said}");
        // of the two before, the first was replaced a moment ago as well, and is noted so
        ensure!(target.folders()? == [third.folder()].into(), "{:?}", target.folders()?);
        database.run("INSERT INTO export_values.pin_table SELECT * FROM kept; DROP TABLE kept")?;
    }
    ensure!(
        unfinished_uploads(&case.folder().join("s3"))? == 0,
        "an upload was left behind"
    );
    Ok(())
}
