//! What cannot be exported, or not there: one clear line, the exit code, and nothing is touched.

use super::{Target, content, small_case};
use anyhow::{Result, ensure};
use pinflow_tests::case::{Case, SOON};
use pinflow_tests::{Pinflow, S3Server};

fn refused(export: &Pinflow, code: i32, line: &str) -> Result<()> {
    let mut program = export.start()?;
    program.expect(code, SOON)?;
    let said = program.stderr();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    ensure!(errors.len() == 1 && errors[0].contains(line), "{said}\nlacks: {line}");
    Ok(())
}

fn without_target(case: &Case, schema: &str) -> Pinflow {
    Pinflow::new("export").args(["--postgres", &case.postgres.url(), "--schema", schema])
}

#[test]
fn what_cannot_be_exported_is_said_in_one_line() -> Result<()> {
    let case = small_case("export_refused")?;
    let database = case.database()?;
    let target = Target::folder(case.folder().join("exports"));
    let export = |schema: &str| target.export(&case, schema);

    // usage
    refused(&without_target(&case, "export_refused"), 2, "`export` needs --to URL")?;
    let target_of = |url: &str| without_target(&case, "export_refused").args(["--to", url]);
    refused(
        &target_of("exports"),
        2,
        "invalid target `exports`: it starts neither with file:// nor s3://",
    )?;
    refused(
        &target_of(&target.url).args(["--format", "csv"]),
        2,
        "unknown format `csv`: expected parquet",
    )?;
    refused(
        &Pinflow::new("export").args(["--to", &target.url]),
        2,
        "`export` needs --postgres URL",
    )?;
    refused(
        &export("export_refused").args(["--cleaned", "off"]),
        2,
        "no cleaned tables to export",
    )?;

    // tables
    refused(&export("nowhere"), 1, "schema nowhere lacks tables")?;
    case.without_topics("export_off", "backfill")
        .args(["--topics", "geo=export_refused.geo", "--cleaned", "off"])
        .succeed(SOON)?;
    refused(
        &export("export_off"),
        2,
        "schema export_off was computed with --cleaned off",
    )?;
    database.run("UPDATE export_off.progress SET commits = 0")?;
    refused(
        &export("export_off"),
        1,
        "nothing to export: schema export_off has no commit yet",
    )?;
    ensure!(!target.root.exists(), "something was written");

    // targets
    let server = S3Server::start(case.folder().join("s3"))?;
    let mut nowhere = Target::bucket(&server, "exports")?;
    nowhere.url = "s3://not-there/exports".to_owned();
    refused(
        &nowhere.export(&case, "export_refused"),
        1,
        "cannot list not-there: it does not exist",
    )?;
    let file = case.folder().join("file");
    std::fs::write(&file, "mine")?;
    refused(
        &Target::folder(file.clone()).export(&case, "export_refused"),
        1,
        "cannot list ",
    )?;
    ensure!(std::fs::read(&file)? == b"mine", "the file was written over");
    export("export_refused").succeed(SOON)?;
    case.without_topics("export_other", "backfill")
        .args(["--topics", "geo=export_refused.geo"])
        .succeed(SOON)?;
    let before = content(&target.root)?;
    refused(
        &export("export_other"),
        2,
        "holds an export of schema export_refused, not export_other",
    )?;
    ensure!(content(&target.root)? == before, "the target was touched");
    for (manifest, why) in [
        ("{}", "missing field `format`"),
        ("", "EOF"),
        (r#"{"format":"pinflow-export","version":9}"#, "its version is 9"),
    ] {
        std::fs::write(target.root.join("manifest.json"), manifest)?;
        refused(&export("export_refused"), 2, why)?;
        ensure!(
            std::fs::read(target.root.join("manifest.json"))? == manifest.as_bytes(),
            "it was replaced"
        );
    }

    // a manifest that was removed is no fault: the next export begins anew
    std::fs::remove_file(target.root.join("manifest.json"))?;
    export("export_refused").succeed(SOON)?;
    target.exported()?.demand(&database, "export_refused")
}
