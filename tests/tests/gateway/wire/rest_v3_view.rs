//! What version 3 of the REST proxy shows of a cluster, to the byte; and what it does not have.

use super::demand;
use crate::http::{Connection, V2};
use crate::{Gateway, kafka};
use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use std::time::Duration;

/// The id of the cluster as a client of Kafka's own protocol is told it.
fn cluster_id() -> Result<String> {
    let mut config = rdkafka::ClientConfig::new();
    let client: BaseConsumer = config.set("bootstrap.servers", kafka()?.bootstrap()).create()?;
    let id = client.client().fetch_cluster_id(Duration::from_secs(30));
    id.context("the id of the cluster")
}

#[test]
fn rest_v3_shows_the_cluster_its_topics_and_their_partitions() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("view.pin", 2, &[])?;
    kafka.create_topic("view.geo", 1, &[])?;
    kafka.create_topic("view-private", 1, &[])?;
    let arguments = [
        "--topics",
        "pin=view.pin,geo=view.geo",
        "--alias",
        "Old Pins=view.pin",
        "--strict-topics",
    ];
    let gateway = Gateway::start(kafka, &arguments)?;
    let id = cluster_id()?;
    let get = |path: &str| gateway.ask(&format!("GET {path}"), &[("host", "localhost:8082")], "");
    let shown = |path: &str| -> Result<Value> {
        let answer = get(path)?;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json"),
            "{path}: {answer:?}"
        );
        answer.json()
    };
    let at = |path: &str| format!("http://localhost:8082/kafka/v3/clusters/{id}{path}");
    let related = |path: &str| json!({ "related": at(path) });
    let cluster = json!({
        "kind": "KafkaCluster",
        "metadata": { "self": at(""), "resource_name": format!("crn:///kafka={id}") },
        "cluster_id": id,
        "controller": null,
        "acls": related("/acls"),
        "brokers": related("/brokers"),
        "broker_configs": related("/broker-configs"),
        "consumer_groups": related("/consumer-groups"),
        "topics": related("/topics"),
        "partition_reassignments": related("/topics/-/partitions/-/reassignment"),
    });
    let list = |kind: &str, own: &str, data: Value| {
        json!({
            "kind": kind, "metadata": { "self": own, "next": null }, "data": data,
        })
    };
    let clusters = list(
        "KafkaClusterList",
        "http://localhost:8082/kafka/v3/clusters",
        json!([cluster]),
    );
    assert_eq!(shown("/kafka/v3/clusters")?, clusters);
    assert_eq!(shown("/kafka/v3/clusters/")?, clusters);
    assert_eq!(shown(&format!("/kafka/v3/clusters/{id}"))?, cluster);

    let topic = |name: &str, path: &str, partitions: usize| {
        json!({
            "kind": "KafkaTopic",
            "metadata": { "self": at(&format!("/topics/{path}")), "resource_name": format!("crn:///kafka={id}/topic={name}") },
            "cluster_id": id,
            "topic_name": name,
            "is_internal": false,
            "replication_factor": 1,
            "partitions_count": partitions,
            "partitions": related(&format!("/topics/{path}/partitions")),
            "configs": related(&format!("/topics/{path}/configs")),
            "partition_reassignments": related(&format!("/topics/{path}/partitions/-/reassignment")),
            "authorized_operations": [],
        })
    };
    let topics = json!([topic("view.geo", "view.geo", 1), topic("view.pin", "view.pin", 2)]);
    let all = format!("/kafka/v3/clusters/{id}/topics");
    assert_eq!(shown(&all)?, list("KafkaTopicList", &at("/topics"), topics));
    assert_eq!(shown(&format!("{all}/view.pin"))?, topic("view.pin", "view.pin", 2));
    assert_eq!(shown(&format!("{all}/Old%20Pins"))?, topic("Old Pins", "Old%20Pins", 2));

    let partition = |number: i32| {
        let path = format!("/topics/view.pin/partitions/{number}");
        json!({
            "kind": "KafkaPartition",
            "metadata": {
                "self": at(&path), "resource_name": format!("crn:///kafka={id}/topic=view.pin/partition={number}"),
            },
            "cluster_id": id,
            "topic_name": "view.pin",
            "partition_id": number,
            "leader": related(&format!("{path}/replicas/1")),
            "replicas": related(&format!("{path}/replicas")),
            "reassignment": related(&format!("{path}/reassignment")),
        })
    };
    let both = json!([partition(0), partition(1)]);
    let own = at("/topics/view.pin/partitions");
    assert_eq!(
        shown(&format!("{all}/view.pin/partitions"))?,
        list("KafkaPartitionList", &own, both)
    );
    assert_eq!(shown(&format!("{all}/view.pin/partitions/1"))?, partition(1));
    // as many bytes as the fields in this order, and none in between
    let text = get(&format!("/kafka/v3/clusters/{id}"))?.body;
    ensure!(
        text.starts_with(r#"{"kind":"KafkaCluster","metadata":{"self":"http://"#),
        "{text}"
    );
    // without a host the addresses are paths
    let mut old = Connection::open(gateway.at)?;
    old.write(format!("GET /v3/clusters/{id} HTTP/1.0\r\n\r\n").as_bytes())?;
    let answer = old.answer()?.json()?;
    assert_eq!(answer["topics"]["related"], json!(format!("/v3/clusters/{id}/topics")));

    let error = |code: u32, text: &str| format!("{{\"error_code\":{code},\"message\":\"{text}\"}}");
    let not_found = error(404, "HTTP 404 Not Found");
    let no_topic = error(40403, "This server does not host this topic-partition.");
    let no_cluster = error(404, "Cluster lkc-1 cannot be found.");
    for (path, body) in [
        ("/v3/clusters/lkc-1".to_owned(), &not_found),
        ("/v3/clusters/lkc-1/topics".to_owned(), &no_cluster),
        ("/v3/clusters/lkc-1/topics/view.pin".to_owned(), &no_cluster),
        ("/v3/clusters/lkc-1/topics/view.pin/partitions".to_owned(), &no_cluster),
        (
            "/v3/clusters/lkc-1/topics/view.pin/partitions/0".to_owned(),
            &no_cluster,
        ),
        (format!("{all}/nothing"), &no_topic),
        // known to Kafka, and not to be reached from outside
        (format!("{all}/view-private"), &no_topic),
        (format!("{all}/view-private/partitions/0"), &no_topic),
        (format!("{all}/view.pin/partitions/2"), &not_found),
        (format!("{all}/view.pin/partitions/-1"), &not_found),
        (format!("{all}/view.pin/partitions/x"), &not_found),
        (format!("{all}/view.pin/configs"), &not_found),
        (format!("/v3/clusters/{id}/brokers"), &not_found),
    ] {
        demand(&get(&path)?, 404, "application/json", body, &[]);
    }
    let method = error(405, "HTTP 405 Method Not Allowed");
    let post = gateway.ask(&format!("POST {all}"), &[], r#"{"topic_name":"x.pin"}"#)?;
    demand(&post, 405, "application/json", &method, &["allow"]);
    // any id of a cluster is written under, as before
    let record = r#"{"value":{"data":{"ind":1}}}"#;
    let answer = gateway.ask("POST /v3/clusters/lkc-1/topics/view.pin/records", &[], record)?;
    ensure!(
        answer.status == 200 && answer.body.contains("\"cluster_id\":\"lkc-1\""),
        "{answer:?}"
    );

    let consumers = error(
        404,
        "This gateway only writes, and has no consumers: read the topic with a consumer of the Kafka protocol, or the \
         results over HTTP, as `pinflow run --listen` serves them",
    );
    for line in [
        "POST /consumers/group",
        "GET /kafka/consumers/group/instances/i/records",
        "DELETE /consumers/group/instances/i",
    ] {
        let answer = gateway.ask(line, &[V2], if line.starts_with("POST") { "{}" } else { "" })?;
        demand(&answer, 404, "application/vnd.kafka.v2+json", &consumers, &[]);
    }
    gateway.end()?;
    Ok(())
}
