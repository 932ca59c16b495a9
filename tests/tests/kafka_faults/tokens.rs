//! IAM tokens that are accepted, renewed while a connection lasts, and refused.

use crate::{REGION, case, servers};
use anyhow::{Result, ensure};
use pinflow_tests::case::{Case, History, geos, stop};
use pinflow_tests::{IamProxy, Program, eventually, long};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// An engine that reaches Kafka with tokens alone.
fn start(case: &Case, proxy: &IamProxy) -> Result<Program> {
    let mut command = case
        .offline("run")
        .args(["--kafka", &proxy.address().to_string()])
        .args(["--kafka-property", "sasl.mechanism=AWS_MSK_IAM"])
        .args(["--kafka-property", "security.protocol=SASL_PLAINTEXT"]);
    // what this machine knows of AWS is not asked
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        command = command.env(name, "/nowhere");
    }
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .start()
}

#[test]
fn tokens_are_renewed_while_records_flow_and_refused_ones_are_waited_out() -> Result<()> {
    let proxy = &servers()?.iam[0];
    let case = case("renewed", History::Nowhere)?;
    let mut run = start(&case, proxy)?;
    let mut sent = 0;
    let mut flow = |run: &mut Program| -> Result<()> {
        case.send("geo", 0, &geos(sent..sent + 1, "Albania"))?;
        sent += 1;
        case.reaches(run, "geo", 0, sent)
    };
    flow(&mut run)?;
    let (accepted, renewed) = (proxy.accepted(), proxy.renewed());
    ensure!(accepted > 0, "nobody has asked to be let in");
    // each of its connections, a few times
    eventually("tokens are renewed", SOON, || {
        flow(&mut run)?;
        Ok(proxy.renewed() >= renewed + 3 * accepted)
    })?;
    ensure!(proxy.refused() == 0, "a token was refused: {}", run.tail());

    proxy.refuse(true);
    run.wait_for("the credentials have expired", SOON)?;
    proxy.refuse(false);
    flow(&mut run)?;
    ensure!(proxy.refused() > 0 && proxy.accepted() > accepted, "{}", run.tail());
    let said = run.stderr();
    ensure!(!said.contains("X-Amz-Signature") && !said.contains("secret"), "{said}");
    stop(run)?;
    case.verify_tables()
}

#[test]
fn an_engine_whose_tokens_stay_refused_ends_and_says_why() -> Result<()> {
    // half a minute passes before it is believed
    if !long() {
        return Ok(());
    }
    let proxy = &servers()?.iam[1];
    let case = case("refused", History::Nowhere)?;
    let mut run = start(&case, proxy)?;
    case.send("geo", 0, &geos(0..5, "Albania"))?;
    case.reaches(&mut run, "geo", 0, 5)?;
    proxy.refuse(true);
    case.send("geo", 0, &geos(0..5, "Chad"))?;
    run.expect(1, Duration::from_secs(90))?;
    let said = run.stderr();
    ensure!(
        said.contains("refuses to authenticate us") && said.contains("the credentials have expired"),
        "{said}"
    );
    proxy.refuse(false);
    let mut run = start(&case, proxy)?;
    case.reaches(&mut run, "geo", 0, 10)?;
    case.demand_country(0, "Chad")?;
    stop(run)?;
    case.verify_tables()
}
