//! Checked settings of `archive`, `compact` and `audit`. The archiver's keys are those of the Confluent S3 sink.

use super::forms::parse_duration;
use super::layers::Effective;
use super::problem::{ConfigError, did_you_mean, nearest};
use super::reader::Reader;
use super::serve::ServeSettings;
use super::sources::LakeWait;
use engine::LakeSource;
use ingest::archive::{CutOptions, Layout, Partitioner, PathFormat};
use ingest::kafka::KafkaConfig;
use ingest::lake::{Encoding, LakeUrl};
use sinks::PostgresConfig;
use std::time::Duration;

/// Objects end at this size at the latest, so that few open ones fill the memory.
const MOST_OBJECT_BYTES: usize = 64 << 20;
/// S3's smallest part.
pub(super) const LEAST_PART_BYTES: i64 = 5 << 20;

/// What `archive` needs.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    /// Where to write.
    pub lake: LakeSource,
    /// Where to read.
    pub kafka: KafkaConfig,
    /// The topic of each kind.
    pub topics: [Option<String>; 3],
    /// How keys are made.
    pub layout: Layout,
    /// Where objects end.
    pub cut: CutOptions,
    /// Every open object ends when the clock passes a multiple of this.
    pub rotate: Option<Duration>,
    /// Larger objects are uploaded in parts of this size.
    pub part_bytes: usize,
    /// Whether null values become lines.
    pub write_deletes: bool,
    /// Whether values that are not JSON are stored as dead letters outside the topic folders.
    pub dead_letters: bool,
    /// A longer value is no JSON to readers.
    pub record_bytes: usize,
    /// End when everything that Kafka holds now is archived.
    pub once: bool,
    /// The group of the offsets.
    pub group_id: String,
    /// Objects written at the same time.
    pub objects_in_flight: usize,
    /// Bytes of records in memory at most.
    pub buffer_bytes: usize,
    /// Serve metrics and health here.
    pub serve: Option<ServeSettings>,
    /// `/readyz` returns 503 above this lag in records.
    pub ready_lag_records: u64,
}

/// What `compact` needs.
#[derive(Clone, Debug)]
pub struct CompactSettings {
    /// The lake.
    pub lake: LakeSource,
    /// The topic of each kind.
    pub topics: [Option<String>; 3],
    /// About how large merged objects become.
    pub target_bytes: u64,
    /// How they are stored.
    pub encoding: Encoding,
    /// Larger objects are uploaded in parts of this size.
    pub part_bytes: usize,
    /// How long replaced objects stay.
    pub keep: Duration,
}

/// What `audit` needs.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The lake.
    pub lake: LakeSource,
    /// Kafka, to compare it with.
    pub kafka: Option<KafkaConfig>,
    /// The tables, for their frontier.
    pub postgres: Option<PostgresConfig>,
    /// The topic of each kind.
    pub topics: [Option<String>; 3],
    /// Read every object.
    pub deep: bool,
    /// Print JSON.
    pub json: bool,
    /// An object with fewer bytes is small.
    pub small_bytes: u64,
}

impl ArchiveSettings {
    /// Checks the settings of `archive`.
    pub fn check(effective: &Effective) -> Result<ArchiveSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        // records wait in Kafka meanwhile
        let lake = reader.needed_lake("archive", LakeWait::Unbounded);
        let kafka = reader.kafka();
        let kafka = reader.need(
            "kafka.bootstrap",
            kafka,
            "`archive` needs --kafka HOST:PORT, the source of the records".into(),
        );
        let write_deletes = reader.choice("archive.behavior.on.null.values", ["write", "ignore"]);
        let lossy = reader.switch("archive.lossy_deletes");
        if !write_deletes
            && !lossy
            && let Some(entry) = reader.entry("archive.behavior.on.null.values")
        {
            let message = "a lake without deletes brings deleted rows back when it is replayed: add --lossy-deletes \
                           if that is meant";
            reader.wrong("archive.behavior.on.null.values", entry, message.into());
        }
        let buffer_bytes = reader.whole("archive.buffer_bytes", 16 << 20, 1 << 40) as usize;
        let rotate = reader.whole("archive.rotate.schedule.interval.ms", -1, 1 << 40);
        let layout = layout(&mut reader, lake.as_ref().map(|lake| &lake.url));
        let group_id = text(&mut reader, "archive.group_id");
        if group_id.trim().is_empty()
            && let Some(entry) = reader.entry("archive.group_id")
        {
            reader.wrong("archive.group_id", entry, "the group name is empty".into());
        }
        let serve = reader.serve();
        let topics = reader.topics();
        let cut = CutOptions {
            flush_size: reader.whole("archive.flush.size", 1, 1 << 40) as u64,
            piece_bytes: MOST_OBJECT_BYTES.min(buffer_bytes / 4),
        };
        let rotate = u64::try_from(rotate)
            .ok()
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis);
        let part_bytes = reader.whole("archive.s3.part.size", LEAST_PART_BYTES, 5 << 30) as usize;
        let dead_letters = !reader.choice("archive.behavior.on.undecodable.values", ["write", "dead-letter"]);
        let record_bytes = reader.whole("limits.record_bytes", 1 << 10, 1 << 30) as usize;
        let once = reader.switch("archive.once");
        let objects_in_flight = reader.whole("archive.objects_in_flight", 1, 4096) as usize;
        let ready_lag_records = reader.whole("serve.ready_lag_records", 0, i64::MAX) as u64;
        let (Some(lake), Some(kafka)) = (lake, kafka) else {
            return reader.refuse();
        };
        let settings = ArchiveSettings {
            kafka,
            topics,
            layout,
            lake,
            cut,
            rotate,
            part_bytes,
            write_deletes,
            dead_letters,
            record_bytes,
            once,
            group_id,
            objects_in_flight,
            buffer_bytes,
            serve,
            ready_lag_records,
        };
        reader.done(settings)
    }
}

impl CompactSettings {
    /// Checks the settings of `compact`.
    pub fn check(effective: &Effective) -> Result<CompactSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let lake = reader.needed_lake("compact", LakeWait::AsConfigured);
        let topics = reader.topics();
        let target_bytes = reader.whole("compact.target_bytes", 1 << 10, 1 << 30) as u64;
        let encoding = encoding(&mut reader);
        let part_bytes = reader.whole("archive.s3.part.size", LEAST_PART_BYTES, 5 << 30) as usize;
        let keep = reader.optional("compact.keep", parse_duration).unwrap_or_default();
        let Some(lake) = lake else {
            return reader.refuse();
        };
        let settings = CompactSettings {
            lake,
            topics,
            target_bytes,
            encoding,
            part_bytes,
            keep,
        };
        reader.done(settings)
    }
}

impl AuditSettings {
    /// Checks the settings of `audit`.
    pub fn check(effective: &Effective) -> Result<AuditSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let lake = reader.needed_lake("audit", LakeWait::AsConfigured);
        let (kafka, postgres) = (reader.kafka(), reader.postgres());
        let topics = reader.topics();
        let deep = reader.switch("audit.deep");
        let json = reader.switch("audit.json");
        let small_bytes = reader.whole("audit.small_bytes", 0, i64::MAX) as u64;
        let Some(lake) = lake else {
            return reader.refuse();
        };
        let settings = AuditSettings {
            lake,
            kafka,
            postgres,
            topics,
            deep,
            json,
            small_bytes,
        };
        reader.done(settings)
    }
}

fn text(reader: &mut Reader<'_>, path: &str) -> String {
    reader.optional(path, |text| Ok(text.to_owned())).unwrap_or_default()
}

fn encoding(reader: &mut Reader<'_>) -> Encoding {
    if reader.choice("archive.s3.compression.type", ["none", "gzip"]) {
        Encoding::Plain
    } else {
        Encoding::Gzip
    }
}

fn layout(reader: &mut Reader<'_>, lake: Option<&LakeUrl>) -> Layout {
    let topics_dir = reader.optional("archive.topics.dir", check_folder);
    // --lake names the folder that holds the topic folders, which the sink calls topics.dir
    let named_so = lake.is_some_and(|lake| lake.to_string().trim_end_matches('/').ends_with("/topics"));
    let default = if named_so { "" } else { "topics" };
    let format = reader.optional("archive.path.format", |text| {
        text.parse::<PathFormat>().map_err(|error| error.to_string())
    });
    let time_based = reader
        .optional("archive.partitioner.class", check_partitioner)
        .unwrap_or(false);
    Layout {
        topics_dir: topics_dir.unwrap_or_else(|| default.to_owned()),
        partitioner: match format {
            Some(format) if time_based => Partitioner::Time(format),
            _ => Partitioner::Default,
        },
        encoding: encoding(reader),
    }
}

fn check_folder(text: &str) -> Result<String, String> {
    let folder = text.trim_matches('/');
    let plain = |part: &str| !matches!(part, "" | "." | "..") && part != ingest::lake::CONTROL_FOLDER;
    if folder.is_empty() || folder.split('/').all(plain) {
        Ok(folder.to_owned())
    } else {
        Err(format!(
            "invalid folder `{text}`: empty parts, `.` and `..` are not allowed"
        ))
    }
}

/// Whether folders follow the time; the sink's own class names are known by their ends.
fn check_partitioner(text: &str) -> Result<bool, String> {
    match text.rsplit('.').next().unwrap_or_default() {
        "default" | "DefaultPartitioner" => Ok(false),
        "time-based" | "TimeBasedPartitioner" => Ok(true),
        _ => Err(format!(
            "invalid partitioner `{text}`: expected default or time-based{}",
            did_you_mean(nearest(text, ["default", "time-based"]))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn effective(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Effective {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pinflow.toml");
        std::fs::write(&path, file).unwrap();
        let arguments = ["pinflow", "archive"].iter().chain(flags);
        let invocation = cli::parse(arguments).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Effective::load(Some(&path), environment, invocation.flags).unwrap()
    }

    const PLACES: [&str; 4] = ["--lake", "s3://bucket/lake", "--kafka", "broker:9092"];

    #[test]
    fn the_sinks_names_work_in_every_source() {
        let file = "[archive]\nflush.size = 7\n\"topics.dir\" = \"raw\"\ns3.compression.type = \"gzip\"\n";
        let environment = [
            ("PINFLOW__ARCHIVE__FLUSH_SIZE", "8"),
            ("PINFLOW__ARCHIVE__ROTATE__SCHEDULE__INTERVAL__MS", "250"),
        ];
        let settings = ArchiveSettings::check(&effective(file, &environment, &PLACES)).unwrap();
        assert_eq!(settings.cut.flush_size, 8);
        assert_eq!(settings.rotate, Some(Duration::from_millis(250)));
        assert_eq!(
            (settings.layout.topics_dir.as_str(), settings.layout.encoding),
            ("raw", Encoding::Gzip)
        );
        let flags: Vec<&str> = PLACES
            .into_iter()
            .chain(["--flush-size", "9", "--rotate-schedule-interval-ms", "-1"])
            .collect();
        let settings = ArchiveSettings::check(&effective(file, &environment, &flags)).unwrap();
        assert_eq!((settings.cut.flush_size, settings.rotate), (9, None));
    }

    #[test]
    fn what_config_print_shows_can_be_read_again() {
        let printed = effective("[archive]\nflush.size = 7\n", &[], &PLACES).print();
        assert!(printed.contains("flush.size = 7"), "{printed}");
        let again = ArchiveSettings::check(&effective(&printed, &[], &[])).unwrap();
        assert_eq!(again.cut.flush_size, 7);
    }

    #[test]
    fn the_topics_folder_is_not_repeated() {
        let dir = |flags: &[&str]| {
            ArchiveSettings::check(&effective("", &[], flags))
                .unwrap()
                .layout
                .topics_dir
        };
        assert_eq!(dir(&PLACES), "topics");
        assert_eq!(dir(&["--lake", "s3://bucket/topics/", "--kafka", "b:9092"]), "");
        assert_eq!(
            dir(&["--lake", "s3://bucket", "--kafka", "b:9092", "--topics-dir="]),
            ""
        );
    }

    #[test]
    fn what_loses_deletes_must_be_meant() {
        let problem = |flags: &[&str]| {
            let flags: Vec<&str> = PLACES.into_iter().chain(flags.iter().copied()).collect();
            ArchiveSettings::check(&effective("", &[], &flags))
                .err()
                .map(|error| error.to_string())
        };
        let refused = problem(&["--behavior-on-null-values", "ignore"]).unwrap();
        assert!(refused.contains("--lossy-deletes"), "{refused}");
        assert_eq!(
            problem(&["--behavior-on-null-values", "ignore", "--lossy-deletes"]),
            None
        );
        let class = "io.confluent.connect.storage.partitioner.TimeBasedPartitioner";
        assert_eq!(
            problem(&["--partitioner-class", class, "--path-format", "YYYY/MM"]),
            None
        );
        assert!(problem(&["--partitioner-class", "field"]).is_some());
    }
}
