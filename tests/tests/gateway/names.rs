//! Names: what is written to may be found by the end of a name, what is created or deleted is named exactly.

use crate::http::{JSON, V2};
use crate::limits::{REQUESTS, gateway};
use crate::{Gateway, kafka};
use anyhow::{Context, Result, ensure};
use pinflow_tests::write_private;

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

/// The description needs no token, so it names no topic; it follows prefixes, and says what is open.
#[test]
fn the_description_follows_the_configuration() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens");
    write_private(&tokens, "a-valid-token-01")?;
    let tokens = ["--token-file", tokens.to_str().context("a path")?];
    for (prefixes, said) in [
        ("", "another prefix of one segment may stand"),
        ("prefixes = []\n", "Nothing may stand"),
        ("prefixes = [\"/prod\"]\n", "One of the configured prefixes may stand"),
    ] {
        let (gateway, _folder) = gateway(prefixes, &[&["--alias", "old=lim.geo"], &tokens[..]].concat())?;
        let answer = gateway.ask("GET /openapi.json", &[], "")?;
        ensure!(!answer.body.contains("lim.geo"), "{}", answer.body);
        let described = answer.json()?;
        let text = described["info"]["description"].as_str().context("a text")?;
        ensure!(text.contains(said), "{text}");
        let topic = &described["paths"]["/topics/{topic}"];
        assert_eq!(topic["parameters"][0]["example"], "old");
        ensure!(described["security"][0]["bearer"].is_array(), "{described}");
        for (path, is_open) in [
            ("/healthz", true),
            ("/readyz", true),
            ("/version", true),
            ("/metrics", false),
        ] {
            let get = &described["paths"][path]["get"];
            let no_security = get["security"].as_array().is_some_and(Vec::is_empty);
            let status = gateway.ask(&format!("GET {path}"), &[], "")?.status;
            ensure!(
                no_security == is_open && (status != 401) == is_open,
                "{path} {status} {get}"
            );
            ensure!(get["responses"]["401"].is_object() != is_open, "{path} {get}");
        }
        gateway.end()?;
    }
    Ok(())
}

/// An error names a topic as its client does.
#[test]
fn an_error_names_a_topic_as_the_client_does() -> Result<()> {
    let (gateway, _folder) = gateway("", &["--alias", "old=lim.geo", "--pin-partitions", "lim.geo=9"])?;
    for (line, kind, body) in REQUESTS {
        let line = line.replace("lim.geo", "old").replace("x-geo", "old");
        let answer = gateway.ask(&line, &[kind], body)?;
        ensure!(
            answer.status == 500
                && answer
                    .body
                    .contains("its keys are pinned to 9 partitions, and it has 1"),
            "{line}: {answer:?}"
        );
        ensure!(!answer.body.contains("lim.geo"), "{line}: {answer:?}");
    }
    gateway.end()?;
    Ok(())
}
