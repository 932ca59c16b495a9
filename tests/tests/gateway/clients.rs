//! Scripts as users have written them, unchanged but for the URL; and a fuzzer that follows the description.

use crate::{Gateway, SOON, kafka};
use anyhow::{Context, Result, ensure};
use pinflow_tests::fuzz::{client_program, fuzz};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// Runs a script, which prints a JSON line for every record that was acknowledged to it.
fn run(script: &str, arguments: &[&str]) -> Result<Vec<Value>> {
    let output = client_program("python")?.arg(script).args(arguments).output()?;
    ensure!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{script}: {line}")))
        .collect()
}

/// One record of each kind and turn, by each of the scripts, is in Kafka under its `ind`, byte for byte.
#[test]
fn users_scripts_run_with_another_url() -> Result<()> {
    let kafka = kafka()?;
    for kind in ["pin", "geo", "user"] {
        kafka.create_topic(&format!("0a3.{kind}"), 3, &[])?;
    }
    let gateway = Gateway::start(kafka, &["--topics", "pin=0a3.pin,geo=0a3.geo,user=0a3.user"])?;
    let url = format!("http://{}", gateway.at);
    let mut sent: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let text = |record: &Value, name: &str| Ok::<_, anyhow::Error>(record[name].as_str().context("a text")?.to_owned());
    for script in [
        "fastapi_requests.py",
        "rest_requests.py",
        "rest_http_client.py",
        "rest_v3_requests.py",
        "kinesis_requests.py",
    ] {
        let records = run(script, &[&url, "25"])?;
        ensure!(records.len() == 75, "{script} sent {} records", records.len());
        for record in records {
            let topic = format!("0a3.{}", text(&record, "kind")?);
            sent.entry((topic, text(&record, "ind")?))
                .or_default()
                .push(text(&record, "value")?);
        }
    }
    let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for kind in ["pin", "geo", "user"] {
        let topic = format!("0a3.{kind}");
        for partition in 0..3 {
            for (_, key, value) in kafka.records(&topic, partition, "read_committed")? {
                let key = String::from_utf8(key.context("a key")?)?;
                let value = String::from_utf8(value.context("a value")?)?;
                found.entry((topic.clone(), key)).or_default().push(value);
            }
        }
    }
    for values in sent.values_mut().chain(found.values_mut()) {
        values.sort_unstable();
    }
    ensure!(sent == found, "what was acknowledged is not what is in Kafka");
    gateway.end()?;
    Ok(())
}

/// Whatever is sent, the gateway answers, and never that it failed.
#[test]
fn a_fuzzer_finds_no_failure() -> Result<()> {
    let kafka = kafka()?;
    for topic in ["fuzz.pin", "fuzz.geo", "fuzz.user"] {
        kafka.create_topic(topic, 2, &[])?;
    }
    let topics = "pin=fuzz.pin,geo=fuzz.geo,user=fuzz.user";
    // the description's example is an alias, where there is one
    let mut gateway = Gateway::start(kafka, &["--topics", topics, "--alias", "old=fuzz.geo"])?;
    let began = Instant::now();
    // it cannot write the media types of AWS's own clients
    let excluded = ["--exclude-path", "/readyz", "--exclude-path", "/"];
    fuzz(&format!("http://{}", gateway.at), 24, &excluded)?;
    eprintln!("fuzzing took {:?}", began.elapsed());
    gateway.program.terminate()?;
    gateway.program.expect(0, SOON)
}
