//! Checked settings of `restore`.

use super::forms::check_topic;
use super::layers::Effective;
use super::problem::{ConfigError, did_you_mean, nearest};
use super::reader::Reader;
use super::sources::LakeWait;
use engine::LakeSource;
use ingest::coverage::AcceptGap;
use ingest::kafka::KafkaConfig;

/// What `restore` needs.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    /// Where to read.
    pub lake: LakeSource,
    /// Where to write.
    pub kafka: KafkaConfig,
    /// The topic of each kind in the lake.
    pub topics: [Option<String>; 3],
    /// Which of them must have records.
    pub required: [bool; 3],
    /// Other names in Kafka, by the name in the lake.
    pub renames: Vec<(String, String)>,
    /// Whether missing topics are created.
    pub create_topics: bool,
    /// Gaps of the lake that are no reason to stop.
    pub accept_gaps: Vec<AcceptGap>,
    /// Whether objects of older layouts may be left out.
    pub skip_legacy: bool,
    /// Print JSON.
    pub json: bool,
}

impl RestoreSettings {
    /// Checks the settings of `restore`.
    pub fn check(effective: &Effective) -> Result<RestoreSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let lake = reader.needed_lake("restore", LakeWait::AsConfigured);
        let kafka = reader.kafka();
        let kafka = reader.need(
            "kafka.bootstrap",
            kafka,
            "`restore` needs --kafka HOST:PORT, the destination of the records".into(),
        );
        let topics = reader.topics();
        let renames = reader.map("restore.rename", check_topic);
        check_renames(&mut reader, &topics, &renames);
        let allow_missing = reader.switch("kafka.allow_missing_topic");
        let required = reader.topics_named().map(|named| named && !allow_missing);
        let create_topics = reader.switch("gateway.create_topics");
        let accept_gaps = reader.accept_gaps();
        let skip_legacy = reader.switch("restore.skip_older_layouts");
        let json = reader.switch("audit.json");
        let (Some(lake), Some(kafka)) = (lake, kafka) else {
            return reader.refuse();
        };
        let settings = RestoreSettings {
            lake,
            kafka,
            topics,
            required,
            renames,
            create_topics,
            accept_gaps,
            skip_legacy,
            json,
        };
        reader.done(settings)
    }

    /// The name in Kafka of a topic of the lake.
    pub fn renamed(&self, topic: &str) -> String {
        renamed(&self.renames, topic).to_owned()
    }
}

fn renamed<'a>(renames: &'a [(String, String)], topic: &'a str) -> &'a str {
    let renames = renames.iter().find(|(name, _)| name == topic);
    renames.map_or(topic, |(_, into)| into)
}

/// A topic that is renamed is restored, and no two go into the same one.
fn check_renames(reader: &mut Reader<'_>, topics: &[Option<String>; 3], renames: &[(String, String)]) {
    let named: Vec<&str> = topics.iter().flatten().map(String::as_str).collect();
    for (name, into) in renames {
        let path = format!("restore.rename.{name}");
        let Some(entry) = reader.entry_of(&path) else { continue };
        if !named.contains(&name.as_str()) {
            let hint = did_you_mean(nearest(name, named.iter().copied()));
            let message = format!("topic `{name}` is not among those that are restored{hint}");
            reader.wrong(&path, entry, message);
        } else if named.iter().filter(|topic| renamed(renames, topic) == into).count() > 1 {
            let message = format!("topic `{into}` would hold the records of two topics");
            reader.wrong(&path, entry, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn check(flags: &[&str]) -> Result<RestoreSettings, String> {
        let places = ["pinflow", "restore", "--lake", "s3://b/l", "--kafka", "b:9092"];
        let invocation = cli::parse(places.iter().chain(flags)).unwrap();
        let effective = Effective::load(None, std::iter::empty::<(String, String)>(), invocation.flags).unwrap();
        RestoreSettings::check(&effective).map_err(|error| error.to_string())
    }

    #[test]
    fn topics_keep_their_names_unless_they_are_renamed() {
        let settings = check(&["--topics", "pin=a.pin,geo=geo", "--rename", "a.pin=b.pin"]).unwrap();
        assert_eq!(
            (settings.renamed("a.pin"), settings.renamed("geo")),
            ("b.pin".into(), "geo".into())
        );
        assert_eq!(settings.required, [true, true, false]);
        assert_eq!(check(&["--allow-missing-topic"]).unwrap().required, [false; 3]);
        let swapped = check(&["--rename", "pin=geo", "--rename", "geo=pin"]).unwrap();
        assert_eq!(
            (swapped.renamed("pin"), swapped.renamed("geo")),
            ("geo".into(), "pin".into())
        );
        assert!(check(&["--rename", "pim=x"]).unwrap_err().contains("did you mean"));
        assert!(check(&["--rename", "pin=geo"]).unwrap_err().contains("two topics"));
        assert!(check(&["--rename", "pin=a b"]).is_err());
    }
}
