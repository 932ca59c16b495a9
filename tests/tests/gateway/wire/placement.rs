//! The partition of a record, in every interface.

use crate::http::{JSON, V2, V2_BINARY, base64};
use crate::{Gateway, SOON, kafka};
use anyhow::{Context, Result, ensure};
use pinflow_tests::eventually;
use std::time::Duration;

/// The key of a record decides about its partition, in every interface and in every form, so that all records of a post
/// have one order; a partition that a client names is obeyed.
#[test]
fn one_key_lies_in_one_partition_whatever_the_dialect() -> Result<()> {
    let kafka = kafka()?;
    const PARTITIONS: i32 = 7;
    kafka.create_topic("placed.geo", PARTITIONS, &[])?;
    let gateway = Gateway::start(kafka, &["--topics", "geo=placed.geo"])?;
    let post = |line: &str, kind: (&str, &str), body: &str| -> Result<()> {
        let answer = gateway.ask(line, &[kind], body)?;
        ensure!(
            answer.status == 200 && !answer.body.contains("error_code\":5"),
            "{line} {body}: {answer:?}"
        );
        Ok(())
    };
    let (v2, v3) = (
        "POST /topics/placed.geo",
        "POST /v3/clusters/c/topics/placed.geo/records",
    );
    let mut forms = 0;
    for ind in [7, 11, 1_000_003] {
        let plain = format!("{{\"ind\":{ind},\"country\":\"x\"}}");
        let text = serde_json::to_string(&plain)?;
        let values = [
            plain.clone(),
            format!("[{plain}]"),
            format!("{{\"value\":{plain}}}"),
            format!("[{{\"value\":{plain}}}]"),
            format!("{{\"index\":\"{ind}\"}}"),
            format!("{{\"ind\":{ind},\"index\":null}}"),
            format!("{{\"ind\":\"00{ind}\"}}"),
        ];
        for value in &values {
            for key in ["", "\"key\":\"mine\",", "\"key\":8,", "\"key\":null,"] {
                post(v2, V2, &format!("{{\"records\":[{{{key}\"value\":{value}}}]}}"))?;
            }
            let binary = format!("{{\"key\":\"{}\",\"value\":\"{}\"}}", base64("mine"), base64(value));
            post(v2, V2_BINARY, &format!("{{\"records\":[{binary}]}}"))?;
            for key in ["", "\"key\":{\"type\":\"STRING\",\"data\":\"mine\"},"] {
                post(
                    v3,
                    JSON,
                    &format!("{{{key}\"value\":{{\"type\":\"JSON\",\"data\":{value}}}}}"),
                )?;
            }
            let binary = base64(value);
            post(
                v3,
                JSON,
                &format!("{{\"value\":{{\"type\":\"BINARY\",\"data\":\"{binary}\"}}}}"),
            )?;
            for key in ["geo", "mine", "8"] {
                let body = format!("{{\"Data\":{value},\"PartitionKey\":\"{key}\"}}");
                post("PUT /streams/s-geo/record", JSON, &body)?;
            }
            forms += 11;
        }
        post("POST /geo/", JSON, &plain)?;
        post(
            v3,
            JSON,
            &format!("{{\"value\":{{\"type\":\"STRING\",\"data\":{text}}}}}"),
        )?;
        let body = format!("{{\"records\":[{{\"data\":{text},\"partition-key\":\"geo\"}}]}}");
        post("PUT /streams/s-geo/records", JSON, &body)?;
        // tombstones
        for key in [format!("{ind}"), format!("\"{ind}\""), format!("{{\"ind\":{ind}}}")] {
            post(v2, V2, &format!("{{\"records\":[{{\"key\":{key},\"value\":null}}]}}"))?;
            post(v3, JSON, &format!("{{\"key\":{{\"data\":{key}}}}}"))?;
        }
        forms += 9;
    }
    // Java's producer says the same: murmur2 of the digits, positive, over seven
    let expected = [("7", 1), ("11", 2), ("1000003", 0)];
    let mut found = 0;
    for partition in 0..PARTITIONS {
        let records = kafka.records("placed.geo", partition, "read_committed")?;
        let here: Vec<&str> = expected
            .iter()
            .filter(|(_, at)| *at == partition)
            .map(|(ind, _)| *ind)
            .collect();
        ensure!(
            !here.is_empty() || records.is_empty(),
            "{} records in {partition}",
            records.len()
        );
        found += records.len();
    }
    assert_eq!(found, forms, "every form is in a partition of its key");

    // without an `ind` the dialect's own key decides, the same in each
    let other = r#"{"x":1}"#;
    let ends = |from: &[i64]| -> Result<Vec<i64>> {
        let mut grown = Vec::new();
        for partition in 0..PARTITIONS {
            let end = kafka.watermarks("placed.geo", partition)?.1;
            grown.push(end - from.get(usize::try_from(partition)?).copied().unwrap_or(0));
        }
        Ok(grown)
    };
    let before = ends(&[])?;
    let binary = format!("{{\"key\":\"{}\",\"value\":\"{}\"}}", base64("mine"), base64(other));
    post(v2, V2_BINARY, &format!("{{\"records\":[{binary}]}}"))?;
    post(
        v3,
        JSON,
        &format!("{{\"key\":{{\"type\":\"STRING\",\"data\":\"mine\"}},\"value\":{{\"data\":{other}}}}}"),
    )?;
    post(
        "PUT /streams/s-geo/record",
        JSON,
        &format!("{{\"Data\":{other},\"PartitionKey\":\"mine\"}}"),
    )?;
    let grown = ends(&before)?;
    ensure!(grown.iter().filter(|count| **count > 0).count() == 1, "{grown:?}");

    // named partitions
    let before = ends(&[])?;
    post(
        &format!("{v2}/partitions/3"),
        V2,
        r#"{"records":[{"value":{"ind":7}}]}"#,
    )?;
    post(v2, V2, r#"{"records":[{"value":{"ind":7},"partition":3}]}"#)?;
    post(v3, JSON, r#"{"value":{"data":{"ind":7}},"partition_id":3}"#)?;
    assert_eq!(ends(&before)?[3], 3);
    gateway.end()?;
    Ok(())
}

/// Keys stay where they are when partitions are added, until the operator says otherwise.
#[test]
fn keys_are_spread_over_a_pinned_number_of_partitions() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("pinned.pin", 2, &[])?;
    let topics = ["--topics", "pin=pinned.pin"];
    let body = |inds: std::ops::Range<i32>| {
        let records: Vec<String> = inds.map(|ind| format!("{{\"value\":{{\"ind\":{ind}}}}}")).collect();
        format!("{{\"records\":[{}]}}", records.join(","))
    };
    let partitions = |gateway: &Gateway, body: &str| -> Result<Vec<i64>> {
        let answer = gateway.ask("POST /topics/pinned.pin", &[V2], body)?.json()?;
        let offsets = answer["offsets"].as_array().context("offsets")?.clone();
        offsets
            .iter()
            .map(|slot| slot["partition"].as_i64().context("a partition"))
            .collect()
    };
    let gateway = Gateway::start(kafka, &topics)?;
    let before = partitions(&gateway, &body(0..50))?;
    // Java's producer says the same: murmur2("0") and murmur2("1") over two partitions
    assert!(before.contains(&0) && before.contains(&1), "{before:?}");
    kafka.add_partitions("pinned.pin", 5)?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(partitions(&gateway, &body(0..50))?, before);
    // a tombstone and a text of digits follow their record; a new partition can be named
    let keyed = r#"{"records":[{"key":"7","value":null},{"key":{"ind":7},"value":null},{"value":{"ind":"7"}},{"value":1,"partition":4}]}"#;
    let seven = before[7];
    assert_eq!(partitions(&gateway, keyed)?, [seven, seven, seven, 4]);
    // a topic that is away and comes back, also where a broker only said so, and another one with fewer partitions
    for (count, wanted) in [(5, before.clone()), (1, vec![0; 50])] {
        kafka.delete_topic("pinned.pin")?;
        eventually("a topic that is gone", SOON, || {
            Ok(partitions(&gateway, &body(0..1)).is_err())
        })?;
        kafka.create_topic("pinned.pin", count, &[])?;
        eventually("the topic", SOON, || Ok(partitions(&gateway, &body(0..50)).is_ok()))?;
        assert_eq!(partitions(&gateway, &body(0..50))?, wanted);
    }
    kafka.add_partitions("pinned.pin", 5)?;
    gateway.end()?;
    let pinned = Gateway::start(kafka, &[&topics[..], &["--pin-partitions", "pinned.pin=2"]].concat())?;
    assert_eq!(partitions(&pinned, &body(0..50))?, before);
    pinned.end()?;
    let fresh = Gateway::start(kafka, &topics)?;
    assert_ne!(partitions(&fresh, &body(0..50))?, before);
    fresh.end()?;
    Ok(())
}
