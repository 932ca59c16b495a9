//! What the gateway tells about itself.

use crate::http::V2;
use crate::{Gateway, kafka};
use anyhow::{Result, ensure};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[test]
fn the_gateway_tells_about_itself_and_makes_topics() -> Result<()> {
    let kafka = kafka()?;
    let gateway = Gateway::start(
        kafka,
        &["--topics", "pin=made.pin", "--create-topics", "--access-log", "off"],
    )?;
    assert_eq!(gateway.ask("GET /healthz", &[], "")?.body, "ok\n");
    assert_eq!(gateway.ask("GET /version", &[], "")?.json()?["name"], json!("pinflow"));
    let described = gateway.ask("GET /openapi.json", &[], "")?.json()?;
    ensure!(described["paths"]["/pin/"]["post"].is_object(), "{described}");
    ensure!(!described.to_string().contains("made.pin"), "{described}");
    let began = Instant::now();
    let answer = gateway.ask(
        "POST /topics/u1.geo",
        &[V2, ("x-request-id", "my-id.1")],
        r#"{"records":[{"value":1}]}"#,
    )?;
    assert_eq!(
        (answer.status, answer.header("x-request-id")),
        (200, "my-id.1"),
        "{answer:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(20));
    let ids: BTreeSet<String> = (0..3)
        .map(|_| Ok(gateway.ask("GET /healthz", &[], "")?.header("x-request-id").to_owned()))
        .collect::<Result<_>>()?;
    assert_eq!(ids.len(), 3);
    assert_eq!(
        gateway.metric("pinflow_gateway_requests_total{interface=\"rest_v2\",status=\"200\"}")?,
        1.0
    );
    assert_eq!(
        gateway.metric("pinflow_gateway_records_total{interface=\"rest_v2\"}")?,
        1.0
    );
    // what an answer held goes back when it has been written
    pinflow_tests::eventually("nothing in flight", Duration::from_secs(10), || {
        Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? == 0.0)
    })?;
    assert_eq!(gateway.end()?, "");
    Ok(())
}
