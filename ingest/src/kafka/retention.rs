//! How long Kafka keeps the records of a topic.

use super::topic::{TopicSettings, topic_settings};
use super::{KafkaConfig, KafkaError};
use std::collections::BTreeMap;

/// `retention.ms` of each topic, -1 without limit. A topic whose settings we may not see is absent. A size limit
/// (`retention.bytes`) may drop records earlier.
pub async fn retention(config: &KafkaConfig, topics: &[String]) -> Result<BTreeMap<String, i64>, KafkaError> {
    let Some(settings) = topic_settings(config, topics).await? else {
        tracing::info!(
            "how long Kafka keeps records is not known: over AWS_MSK_IAM topics' settings cannot be asked for"
        );
        return Ok(BTreeMap::new());
    };
    let of_topic =
        |(topic, settings): (String, TopicSettings)| Some((topic, settings.get("retention.ms")?.parse().ok()?));
    Ok(settings.into_iter().filter_map(of_topic).collect())
}
