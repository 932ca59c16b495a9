//! Kafka as Amazon MSK has it with IAM: a client that brings a token signed for the region.
//!
//! Apache Kafka cannot judge such a token, since it is no web token; that it refuses this one shows that it came.

use anyhow::{Result, ensure};
use pinflow_tests::{Kafka, LakeFolder, Pinflow, Program};
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn backfill(bootstrap: &str, folder: &Path) -> Pinflow {
    let mut command = Pinflow::new("backfill")
        .lake(&LakeFolder::new(folder.join("lake")))
        .args(["--kafka", bootstrap, "--out"])
        .args([folder.join("out")])
        .args(["--kafka-property", "sasl.mechanism=AWS_MSK_IAM"])
        .args(["--kafka-property", "security.protocol=SASL_PLAINTEXT"]);
    // what this machine knows of AWS is not asked
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        command = command.env(name, "/nowhere");
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true")
}

/// The log of a run that ends with this code.
fn refusal(command: &Pinflow, code: i32) -> Result<String> {
    let mut run: Program = command.start()?;
    run.expect(code, SOON)?;
    Ok(run.stderr())
}

#[test]
fn a_signed_token_reaches_the_broker() -> Result<()> {
    let login = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"x\";";
    let (_kafka, bootstrap) = Kafka::start_sasl("OAUTHBEARER", login, &[])?;
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("lake"))?;
    let command = || backfill(&bootstrap, folder.path());

    let text = refusal(&command(), 2)?;
    ensure!(text.contains("set AWS_REGION"), "{text}");

    let text = refusal(&command().env("AWS_REGION", "eu-west-1"), 1)?;
    ensure!(
        text.contains("refuses to authenticate us") && text.contains("AWS gives no credentials"),
        "{text}"
    );

    let keyed = command()
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret");
    let text = refusal(&keyed, 1)?;
    ensure!(
        text.contains("refuses to authenticate us") && text.contains("invalid_token"),
        "{text}"
    );
    ensure!(!text.contains("X-Amz-Signature") && !text.contains("secret"), "{text}");
    Ok(())
}
