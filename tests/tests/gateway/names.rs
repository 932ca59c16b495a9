//! Names: what is written to may be found by the end of a name, what is created or deleted is named exactly.

use crate::http::{JSON, V2};
use crate::{Gateway, kafka};
use anyhow::{Result, ensure};

const TOPICS: [&str; 2] = ["--topics", "pin=names.pin,geo=names.geo"];

/// The topics of this test that Kafka has.
fn present() -> Result<Vec<String>> {
    let mut names = kafka()?.topics()?;
    names.retain(|name| name.contains("names"));
    names.sort_unstable();
    Ok(names)
}

#[test]
fn a_change_needs_the_exact_name_of_its_stream() -> Result<()> {
    let kafka = kafka()?;
    for topic in ["names.pin", "names.geo", "others.names.pin"] {
        kafka.create_topic(topic, 1, &[])?;
    }
    let before = present()?;
    let changes = ["--create-topics", "--delete-topics", "--alias", "Places=names.geo"];
    let gateway = Gateway::start(kafka, &[&TOPICS[..], &changes].concat())?;
    for stream in [
        "streaming-OTHER-pin",
        "x-geo",
        "pin",
        "geo",
        "others.names.pin",
        "other.geo",
        "names_pin",
        "names-pin",
        "NAMES.PIN",
        "names.pin.",
        "x%2Dgeo",
        "places",
    ] {
        for prefix in ["", "/prod"] {
            let deleted = gateway.ask(&format!("DELETE {prefix}/streams/{stream}"), &[], "")?;
            ensure!(
                deleted.status == 404 && deleted.body.contains("ResourceNotFoundException"),
                "{stream}: {deleted:?}"
            );
            let created = gateway.ask(&format!("POST {prefix}/streams/{stream}"), &[JSON], "")?;
            ensure!(
                created.status == 400 && created.body.contains("InvalidArgumentException"),
                "{stream}: {created:?}"
            );
        }
    }
    assert_eq!(present()?, before);
    // a record finds its topic by the end of the stream's name all the same
    let record = r#"{"Data":{"ind":1},"PartitionKey":"k"}"#;
    assert_eq!(
        gateway
            .ask("PUT /streams/streaming-OTHER-pin/record", &[JSON], record)?
            .status,
        200
    );
    assert_eq!(gateway.ask("DELETE /streams/names%2Epin", &[], "")?.status, 200);
    assert_eq!(gateway.ask("DELETE /streams/Places", &[], "")?.status, 200);
    pinflow_tests::eventually("the end of both topics", crate::SOON, || {
        Ok(present()? == ["others.names.pin"])
    })?;
    gateway.end()?;
    Ok(())
}

#[test]
fn strict_topics_admits_configured_topics_alone() -> Result<()> {
    let kafka = kafka()?;
    for topic in ["strict.pin", "strict.geo", "other.strict.pin", "other.strict.geo"] {
        kafka.create_topic(topic, 1, &[])?;
    }
    let topics = [
        "--topics",
        "pin=strict.pin,geo=strict.geo",
        "--alias",
        "Old=strict.pin",
        "--create-topics",
    ];
    let (one, record) = (
        r#"{"records":[{"value":{"ind":1}}]}"#,
        r#"{"Data":{"ind":1},"PartitionKey":"pin"}"#,
    );
    let v3 = |topic: &str| format!("POST /v3/clusters/c/topics/{topic}/records");
    let value = r#"{"value":{"data":{"ind":1}}}"#;
    for (strict, other) in [("--strict-topics", 404), ("--strict-topics=false", 200)] {
        let gateway = Gateway::start(kafka, &[&topics[..], &[strict]].concat())?;
        for name in ["strict.pin", "strict.geo", "Old"] {
            assert_eq!(
                gateway.ask(&format!("POST /topics/{name}"), &[V2], one)?.status,
                200,
                "{name}"
            );
            assert_eq!(
                gateway.ask(&format!("GET /topics/{name}"), &[], "")?.status,
                200,
                "{name}"
            );
            assert_eq!(gateway.ask(&v3(name), &[JSON], value)?.status, 200, "{name}");
            assert_eq!(
                gateway
                    .ask(&format!("PUT /streams/{name}/record"), &[JSON], record)?
                    .status,
                200,
                "{name}"
            );
        }
        assert_eq!(gateway.ask("POST /geo/", &[JSON], r#"{"ind":1}"#)?.status, 200);
        for name in ["other.strict.pin", "other.strict.geo"] {
            assert_eq!(
                gateway.ask(&format!("POST /topics/{name}"), &[V2], one)?.status,
                other,
                "{name}"
            );
            assert_eq!(
                gateway.ask(&format!("GET /topics/{name}"), &[], "")?.status,
                other,
                "{name}"
            );
            assert_eq!(gateway.ask(&v3(name), &[JSON], value)?.status, other, "{name}");
        }
        for stream in ["streaming-x-pin", "pin", "Anything", "other.strict.pin"] {
            let put = gateway.ask(&format!("PUT /streams/{stream}/record"), &[JSON], record)?;
            assert_eq!(put.status, other, "{stream}: {put:?}");
        }
        let listed: Vec<String> = serde_json::from_str(&gateway.ask("GET /topics", &[], "")?.body)?;
        ensure!(listed.contains(&"strict.pin".to_owned()), "{listed:?}");
        assert_eq!(
            listed.contains(&"other.strict.pin".to_owned()),
            other == 200,
            "{listed:?}"
        );
        gateway.end()?;
    }
    Ok(())
}
