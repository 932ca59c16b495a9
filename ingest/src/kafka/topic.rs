//! Topics as such: creating one, and its settings.

use super::{KafkaConfig, KafkaError, Tokens};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The settings of a topic by Kafka's names, as far as they have values.
pub type TopicSettings = BTreeMap<String, String>;

/// A client for such questions; `None` over AWS_MSK_IAM, where it could not authenticate.
fn admin(config: &KafkaConfig, action: &'static str) -> Result<Option<AdminClient<DefaultClientContext>>, KafkaError> {
    let mut client = ClientConfig::new();
    client.extend(config.properties.iter().cloned());
    client.set("bootstrap.servers", &config.bootstrap);
    if Tokens::of(&mut client)?.are_made() {
        return Ok(None);
    }
    let created = client.create().map_err(|error| KafkaError::client(action, error));
    created.map(Some)
}

/// The settings of each topic; `None` when they cannot be asked for. A topic whose settings we may not see is absent.
pub async fn topic_settings(
    config: &KafkaConfig,
    topics: &[String],
) -> Result<Option<BTreeMap<String, TopicSettings>>, KafkaError> {
    let action = "ask for the settings of topics";
    let Some(admin) = admin(config, action)? else {
        return Ok(None);
    };
    let named: Vec<ResourceSpecifier<'_>> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answers = admin.describe_configs(&named, &options).await;
    let answers = answers.map_err(|error| KafkaError::client(action, error))?;
    // in the order in which they were asked for
    let answered = topics.iter().zip(answers).filter_map(|(topic, answer)| {
        let entries = answer.ok()?.entries;
        // a refusal comes as a topic without settings
        if entries.is_empty() {
            return None;
        }
        let settings = entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
        Some((topic.clone(), settings.collect()))
    });
    Ok(Some(answered.collect()))
}

/// Creates a topic of so many partitions, with the broker's default replication. `false`: there is one of this name.
pub async fn create_topic(config: &KafkaConfig, name: &str, partitions: i32) -> Result<bool, KafkaError> {
    create_topic_with(config, name, partitions, &[]).await
}

/// [`create_topic`] with settings of its own, by Kafka's names.
pub async fn create_topic_with(
    config: &KafkaConfig,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<bool, KafkaError> {
    let action = "create a topic";
    let refused = |error| KafkaError::client(action, error);
    let Some(admin) = admin(config, action)? else {
        return Err(refused(Native::AdminOp(Code::UnsupportedFeature)));
    };
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    let topic = settings
        .iter()
        .fold(topic, |topic, (name, value)| topic.set(name, value));
    let options = AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE));
    let results = admin.create_topics([&topic], &options).await.map_err(refused)?;
    match results.into_iter().next() {
        Some(Err((_, Code::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code))) => Err(refused(Native::AdminOp(code))),
        Some(Ok(_)) | None => Ok(true),
    }
}
