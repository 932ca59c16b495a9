//! Version 3 of the REST proxy: the cluster, its topics and their partitions, to look at.
//!
//! There is one cluster, under the id that Kafka gives it, and it has the topics that a client may name. Links lead to
//! everything that the proxy links to, also to what is not served here. An answer is counted before it is made, since a
//! long list of topics is many times as long as the request for it.

use super::api_error::ApiError;
use super::metadata::{ListedTopic, Placed};
use super::reply::Reply;
use super::rest::RestError;
use super::rest_v3_links::{Links, resource_name};
use super::state::State;
use super::target::View;
use http_server::{Entry, Refusal};
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Topics that Kafka keeps for itself.
const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// `GET` of a cluster, a topic, a partition, or the list of all of them.
pub(super) async fn show(
    state: &Arc<State>,
    entry: &Arc<Entry>,
    links: &Links,
    view: &View<'_>,
) -> Result<Reply, RestError> {
    let id = state.topics.cluster_id().await;
    let id = id.map_err(|error| ApiError::topic(error, ""))?;
    let id = &*id;
    let shown = Shown { links, id };
    match view {
        View::Clusters => {
            let only = [shown.cluster()];
            let list = List::new("KafkaClusterList", links.to(&[]), only.iter());
            answer(state, entry, &list).await
        }
        View::Cluster(cluster) => {
            if cluster != id {
                // as the proxy says it
                return Err(ApiError::from(Refusal::NotFound).into());
            }
            answer(state, entry, &shown.cluster()).await
        }
        View::Topics { cluster } => {
            check_cluster(cluster, id)?;
            let topics = state.topics.listed().await;
            let topics = topics.map_err(|error| ApiError::topic(error, ""))?;
            let data = topics.iter().map(|topic| shown.topic(topic));
            let list = List::new("KafkaTopicList", shown.address(&["topics"]), data);
            answer(state, entry, &list).await
        }
        View::Topic { cluster, topic } => {
            check_cluster(cluster, id)?;
            let placed = described(state, topic).await?;
            let topic = ListedTopic::of(topic, &placed);
            answer(state, entry, &shown.topic(&topic)).await
        }
        View::Partitions { cluster, topic } => {
            check_cluster(cluster, id)?;
            let placed = described(state, topic).await?;
            let data = placed.iter().map(|placed| shown.partition(topic, placed));
            let own = shown.address(&["topics", topic, "partitions"]);
            let list = List::new("KafkaPartitionList", own, data);
            answer(state, entry, &list).await
        }
        View::Partition {
            cluster,
            topic,
            partition,
        } => {
            check_cluster(cluster, id)?;
            let number = partition.parse::<i32>().ok();
            let placed = described(state, topic).await?;
            let found = placed.iter().find(|placed| Some(placed.partition.0) == number);
            let found = found.ok_or(ApiError::from(Refusal::NotFound))?;
            answer(state, entry, &shown.partition(topic, found)).await
        }
    }
}

/// Refuses what is asked of another cluster.
fn check_cluster(asked: &str, id: &str) -> Result<(), RestError> {
    if asked == id {
        Ok(())
    } else {
        Err(RestError::NoCluster(asked.to_owned()))
    }
}

/// The partitions of the topic that a client names.
async fn described(state: &Arc<State>, name: &str) -> Result<Vec<Placed>, ApiError> {
    let kafka_name = state.topics.named(name);
    let kafka_name = kafka_name.ok_or_else(|| ApiError::NoTopic(name.to_owned()))?;
    let placed = state.topics.describe(kafka_name).await;
    placed.map_err(|error| ApiError::topic(error, name))
}

/// The answer, once the budget has room for it.
async fn answer(state: &State, entry: &Arc<Entry>, shown: &impl Serialize) -> Result<Reply, RestError> {
    Ok(Reply::counted_json(state, entry, shown).await?)
}

/// What is shown of one cluster.
struct Shown<'a> {
    links: &'a Links,
    id: &'a str,
}

#[derive(Serialize)]
#[serde(bound(serialize = "Each<D>: Serialize"))]
struct List<D> {
    kind: &'static str,
    metadata: ListMetadata,
    data: Each<D>,
}

#[derive(Serialize)]
struct ListMetadata {
    #[serde(rename = "self")]
    own: String,
    /// The next page: there is none.
    next: Option<String>,
}

impl<D> List<D> {
    fn new(kind: &'static str, own: String, data: D) -> List<D> {
        List {
            kind,
            metadata: ListMetadata { own, next: None },
            data: Each(data),
        }
    }
}

/// Elements that are made one by one, whenever they are written.
struct Each<D>(D);

impl<D: Iterator<Item: Serialize> + Clone> Serialize for Each<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

#[derive(Serialize)]
struct Metadata {
    #[serde(rename = "self")]
    own: String,
    resource_name: String,
}

#[derive(Serialize, Clone)]
struct Related {
    related: String,
}

#[derive(Serialize)]
struct Cluster {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    /// librdkafka's Rust interface does not tell it.
    controller: Option<Related>,
    acls: Related,
    brokers: Related,
    broker_configs: Related,
    consumer_groups: Related,
    topics: Related,
    partition_reassignments: Related,
}

#[derive(Serialize)]
struct Topic<'a> {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: &'a str,
    topic_name: &'a str,
    is_internal: bool,
    replication_factor: usize,
    partitions_count: usize,
    partitions: Related,
    configs: Related,
    partition_reassignments: Related,
    /// They are not looked up.
    authorized_operations: [&'static str; 0],
}

#[derive(Serialize)]
struct Partition<'a> {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: &'a str,
    topic_name: &'a str,
    partition_id: ingest::Partition,
    leader: Option<Related>,
    replicas: Related,
    reassignment: Related,
}

impl<'a> Shown<'a> {
    /// The address of what stands below the cluster.
    fn address(&self, names: &[&str]) -> String {
        self.links.to(&[&[self.id][..], names].concat())
    }

    fn related(&self, names: &[&str]) -> Related {
        Related {
            related: self.address(names),
        }
    }

    fn cluster(&self) -> Cluster {
        Cluster {
            kind: "KafkaCluster",
            metadata: Metadata {
                own: self.address(&[]),
                resource_name: resource_name(self.id, &[]),
            },
            cluster_id: self.id.to_owned(),
            controller: None,
            acls: self.related(&["acls"]),
            brokers: self.related(&["brokers"]),
            broker_configs: self.related(&["broker-configs"]),
            consumer_groups: self.related(&["consumer-groups"]),
            topics: self.related(&["topics"]),
            partition_reassignments: self.related(&["topics", "-", "partitions", "-", "reassignment"]),
        }
    }

    fn topic(&self, topic: &'a ListedTopic) -> Topic<'a> {
        let name = &topic.name;
        Topic {
            kind: "KafkaTopic",
            metadata: Metadata {
                own: self.address(&["topics", name]),
                resource_name: resource_name(self.id, &[("topic", name)]),
            },
            cluster_id: self.id,
            topic_name: name,
            is_internal: INTERNAL.contains(&name.as_str()),
            replication_factor: topic.replicas,
            partitions_count: topic.partitions,
            partitions: self.related(&["topics", name, "partitions"]),
            configs: self.related(&["topics", name, "configs"]),
            partition_reassignments: self.related(&["topics", name, "partitions", "-", "reassignment"]),
            authorized_operations: [],
        }
    }

    fn partition(&self, topic: &'a str, placed: &Placed) -> Partition<'a> {
        let number = placed.partition.to_string();
        let number = number.as_str();
        let own = ["topics", topic, "partitions", number];
        let below = |names: &[&str]| self.related(&[&own[..], names].concat());
        let leader = (placed.leader >= 0).then(|| below(&["replicas", &placed.leader.to_string()]));
        Partition {
            kind: "KafkaPartition",
            metadata: Metadata {
                own: self.address(&own),
                resource_name: resource_name(self.id, &[("topic", topic), ("partition", number)]),
            },
            cluster_id: self.id,
            topic_name: topic,
            partition_id: placed.partition,
            leader,
            replicas: below(&["replicas"]),
            reassignment: below(&["reassignment"]),
        }
    }
}
