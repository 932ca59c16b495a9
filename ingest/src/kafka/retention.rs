//! How long Kafka keeps the records of a topic, and which of them it removes.

use super::topic::{TopicSettings, topic_settings};
use super::{KafkaConfig, KafkaError};
use std::collections::BTreeMap;

/// `retention.ms` of each topic, -1 without limit. A topic whose settings we may not see is absent. A size limit
/// (`retention.bytes`) may drop records earlier.
pub async fn retention(config: &KafkaConfig, topics: &[String]) -> Result<BTreeMap<String, i64>, KafkaError> {
    let of_topic = |settings: TopicSettings| settings.get("retention.ms")?.parse().ok();
    of_topics(config, topics, "how long Kafka keeps records", of_topic).await
}

/// Whether Kafka compacts each topic. One whose settings we may not see is absent.
pub async fn compaction(config: &KafkaConfig, topics: &[String]) -> Result<BTreeMap<String, bool>, KafkaError> {
    let of_topic = |settings: TopicSettings| Some(settings.get("cleanup.policy")?.contains("compact"));
    of_topics(config, topics, "whether Kafka compacts topics", of_topic).await
}

async fn of_topics<T>(
    config: &KafkaConfig,
    topics: &[String],
    what: &str,
    of_topic: impl Fn(TopicSettings) -> Option<T>,
) -> Result<BTreeMap<String, T>, KafkaError> {
    let Some(settings) = topic_settings(config, topics).await? else {
        tracing::info!("{what} is not known: over AWS_MSK_IAM topics' settings cannot be asked for");
        return Ok(BTreeMap::new());
    };
    let of_topic = |(topic, settings)| Some((topic, of_topic(settings)?));
    Ok(settings.into_iter().filter_map(of_topic).collect())
}
