//! The names of the topics.

/// The names of the three kinds of records, in the order of their numbers.
pub const KINDS: [&str; 3] = ["pin", "geo", "user"];

/// The name of a topic by its number.
pub fn topic_name(topics: &[Option<String>; 3], topic: u8) -> &str {
    topics
        .get(topic as usize)
        .and_then(|name| name.as_deref())
        .unwrap_or(sinks::UNKNOWN_TOPIC)
}
