//! Checked settings of `pinflow bridge`.

use super::forms::{check_http_url, check_topic, parse_duration};
use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use super::serve::ServeSettings;
use ingest::kafka::KafkaConfig;
use jiff::Timestamp;
use std::time::Duration;

/// Room for two answers of Kinesis, and what they cost beside their bytes.
const LEAST_BUFFER: i64 = 48 << 20;

/// Where the first start begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// At the oldest record that the stream has.
    TrimHorizon,
    /// At the first record that arrives from now on.
    Latest,
    /// At the first record that arrived at this time or later.
    At(Timestamp),
}

/// What `bridge` needs.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// The stream.
    pub stream: String,
    /// A server other than Amazon Kinesis.
    pub endpoint: Option<String>,
    /// The destination.
    pub kafka: KafkaConfig,
    /// The topic of each kind (0 = pin, 1 = geo, 2 = user).
    pub topics: [Option<String>; 3],
    /// Other names of topics and streams, with the topic that is meant.
    pub aliases: Vec<(String, String)>,
    /// The number of partitions over which a topic's keys are spread.
    pub pins: Vec<(String, i32)>,
    /// The topic of records of no known kind.
    pub other_topic: Option<String>,
    /// The topic of the positions.
    pub positions: String,
    /// Where the first start begins.
    pub from: Beginning,
    /// Time between two transactions at least.
    pub commit_interval: Duration,
    /// Time between two requests for a shard at its tip.
    pub poll_interval: Duration,
    /// Bytes of records in memory at most.
    pub buffer_bytes: usize,
    /// Go on where records were trimmed.
    pub accept_trimmed: bool,
    /// End at the tip.
    pub once: bool,
    /// Serve metrics and health here.
    pub serve: Option<ServeSettings>,
}

impl BridgeSettings {
    /// Checks the settings of `bridge`.
    pub fn check(effective: &Effective) -> Result<BridgeSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let stream = reader.optional("bridge.kinesis", check_stream);
        let stream = reader.need(
            "bridge.kinesis",
            stream,
            "`bridge` needs --kinesis STREAM, the source of the records".into(),
        );
        let kafka = reader.kafka();
        let kafka = reader.need(
            "kafka.bootstrap",
            kafka,
            "`bridge` needs --kafka HOST:PORT, the destination of the records".into(),
        );
        let endpoint = reader.optional("bridge.kinesis_endpoint", check_http_url);
        let (topics, aliases, pins) = (reader.topics(), reader.aliases(), reader.pins());
        let positions = reader.optional("bridge.positions", check_topic);
        let other_topic = reader.optional("bridge.other_topic", check_topic);
        let taken = positions.as_ref().filter(|positions| {
            let mut others = topics.iter().chain([&other_topic]).flatten();
            others.any(|topic| topic == *positions)
        });
        if let (Some(topic), Some(entry)) = (taken, reader.entry("bridge.positions")) {
            let message = format!("topic `{topic}` is one of records: positions need a topic of their own");
            reader.wrong("bridge.positions", entry, message);
        }
        let from = reader
            .optional("bridge.from", parse_beginning)
            .unwrap_or(Beginning::TrimHorizon);
        let duration = |reader: &mut Reader<'_>, path| reader.optional(path, parse_duration).unwrap_or_default();
        let commit_interval = duration(&mut reader, "bridge.commit_interval");
        let poll_interval = reader.optional("bridge.poll_interval", check_poll).unwrap_or_default();
        let buffer_bytes = reader.whole("bridge.buffer_bytes", LEAST_BUFFER, 1 << 40) as usize;
        let accept_trimmed = reader.switch("bridge.accept_trimmed");
        let once = reader.switch("archive.once");
        let serve = reader.serve();
        let (Some(stream), Some(kafka)) = (stream, kafka) else {
            return reader.refuse();
        };
        let settings = BridgeSettings {
            positions: positions.unwrap_or_else(|| format!("pinflow-bridge-{stream}")),
            stream,
            endpoint,
            kafka,
            topics,
            aliases,
            pins,
            other_topic,
            from,
            commit_interval,
            poll_interval,
            buffer_bytes,
            accept_trimmed,
            once,
            serve,
        };
        reader.done(settings)
    }
}

/// Kinesis's own rule for names of streams.
fn check_stream(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=128).contains(&name.len()) && name.bytes().all(plain) {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "invalid stream name `{name}`: expected letters, digits, `.`, `_` and `-`, at most 128"
        ))
    }
}

fn parse_beginning(text: &str) -> Result<Beginning, String> {
    match text {
        "trim-horizon" => Ok(Beginning::TrimHorizon),
        "latest" => Ok(Beginning::Latest),
        time => time.parse().map(Beginning::At).map_err(|_| {
            format!("invalid beginning `{time}`: expected trim-horizon, latest, or a time such as 2026-11-30T12:00:00Z")
        }),
    }
}

/// An iterator lives for five minutes, and a shard may be asked five times a second.
fn check_poll(text: &str) -> Result<Duration, String> {
    let poll = parse_duration(text)?;
    if (Duration::from_millis(200)..=Duration::from_secs(60)).contains(&poll) {
        Ok(poll)
    } else {
        Err(format!("`{text}` is out of range: expected 200ms to 1m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn check(flags: &[&str]) -> Result<BridgeSettings, String> {
        let places = ["pinflow", "bridge", "--kinesis", "s-pin", "--kafka", "b:9092"];
        let invocation = cli::parse(places.iter().chain(flags)).unwrap();
        let effective = Effective::load(None, std::iter::empty::<(String, String)>(), invocation.flags).unwrap();
        BridgeSettings::check(&effective).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_start_begins_where_it_is_told_to() {
        assert_eq!(check(&[]).unwrap().from, Beginning::TrimHorizon);
        assert_eq!(check(&["--from", "latest"]).unwrap().from, Beginning::Latest);
        let time = check(&["--from", "2026-11-30T12:00:00Z"]).unwrap().from;
        assert_eq!(time, Beginning::At(Timestamp::from_second(1_796_040_000).unwrap()));
        assert!(
            check(&["--from", "yesterday"])
                .unwrap_err()
                .contains("expected trim-horizon")
        );
    }

    #[test]
    fn positions_have_a_topic_of_their_own() {
        assert_eq!(check(&[]).unwrap().positions, "pinflow-bridge-s-pin");
        assert!(check(&["--positions", "pin"]).unwrap_err().contains("of their own"));
        assert_eq!(check(&["--positions", "mine"]).unwrap().positions, "mine");
    }
}
