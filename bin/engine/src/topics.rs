//! The names of the topics.

/// The names of the three kinds of records, in the order of their numbers.
pub const KINDS: [&str; 3] = ["pin", "geo", "user"];

/// The topic of each kind of record, by the kind's number. A kind without a topic is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics([Option<String>; 3]);

impl Topics {
    /// These topics.
    pub fn new(topics: [Option<String>; 3]) -> Topics {
        Topics(topics)
    }

    /// The topic of a kind, if it has one.
    pub fn get(&self, topic: u8) -> Option<&str> {
        self.0.get(usize::from(topic))?.as_deref()
    }

    /// The topic of a kind, or the word for an unknown one.
    pub fn name(&self, topic: u8) -> &str {
        self.get(topic).unwrap_or(sinks::UNKNOWN_TOPIC)
    }

    /// The topics with their numbers.
    pub fn named(&self) -> impl Iterator<Item = (u8, &str)> {
        (0u8..)
            .zip(&self.0)
            .filter_map(|(topic, name)| Some((topic, name.as_deref()?)))
    }

    /// The names of the topics.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named().map(|(_, name)| name)
    }

    /// The number of the topic of this name.
    pub fn number(&self, name: &str) -> Option<u8> {
        self.named().find(|(_, named)| *named == name).map(|(topic, _)| topic)
    }

    /// The names by number, empty where there is none, as a lake is listed.
    pub fn to_list(&self) -> Vec<String> {
        self.0.iter().map(|name| name.clone().unwrap_or_default()).collect()
    }

    /// Each kind with its topic.
    pub fn of_kinds(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        KINDS.into_iter().zip(self.0.iter().map(Option::as_deref))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_without_a_topic_has_no_name_of_its_own() {
        let topics = Topics::new([Some("a.pin".into()), None, Some("a.user".into())]);
        assert_eq!(
            (topics.name(0), topics.name(1), topics.name(7)),
            ("a.pin", "unknown", "unknown")
        );
        assert_eq!((topics.number("a.user"), topics.number("unknown")), (Some(2), None));
        assert_eq!(topics.to_list(), ["a.pin", "", "a.user"]);
        assert_eq!(topics.names().collect::<Vec<_>>(), ["a.pin", "a.user"]);
    }
}
