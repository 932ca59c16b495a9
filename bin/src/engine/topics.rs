//! The names of the topics.

/// The name of a topic by its number.
pub fn topic_name(topics: &[Option<String>; 3], topic: u8) -> &str {
    topics
        .get(topic as usize)
        .and_then(|name| name.as_deref())
        .unwrap_or(sinks::UNKNOWN_TOPIC)
}
