//! How long Kafka keeps the records of a topic.

use super::{KafkaConfig, KafkaError, Tokens};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// `retention.ms` of each topic, -1 without limit. A topic whose settings we may not see is absent. A size limit
/// (`retention.bytes`) may drop records earlier.
pub async fn retention(config: &KafkaConfig, topics: &[String]) -> Result<BTreeMap<String, i64>, KafkaError> {
    let mut client = ClientConfig::new();
    client.extend(config.properties.iter().cloned());
    client.set("bootstrap.servers", &config.bootstrap);
    if Tokens::of(&mut client)?.are_made() {
        tracing::info!(
            "how long Kafka keeps records is not known: over AWS_MSK_IAM topics' settings cannot be asked for"
        );
        return Ok(BTreeMap::new());
    }
    let failed = |error| KafkaError::client("ask for the settings of topics", error);
    let admin: AdminClient<DefaultClientContext> = client.create().map_err(failed)?;
    let named: Vec<ResourceSpecifier<'_>> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answers = admin.describe_configs(&named, &options).await.map_err(failed)?;
    let mut retention = BTreeMap::new();
    // in the order in which they were asked for
    for (topic, answer) in topics.iter().zip(answers) {
        let value = answer.ok().and_then(|found| {
            let entry = found.entries.into_iter().find(|entry| entry.name == "retention.ms")?;
            entry.value?.parse().ok()
        });
        if let Some(ms) = value {
            retention.insert(topic.clone(), ms);
        }
    }
    Ok(retention)
}
