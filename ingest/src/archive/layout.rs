//! Where an object goes: the S3 sink's layout,
//! `{topics.dir}/{topic}/{encodedPartition}/{topic}+{partition}+{start}.json`.
//!
//! The default partitioner's folder is `partition=N`; the time-based one derives it from the record's Kafka timestamp
//! in UTC, by a `path.format` in the sink's (Joda's) letters: `'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH`. Names follow
//! from offsets and timestamps alone, so every archiver of the same log gives the same record the same place.

use crate::lake::Encoding;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write;
use std::sync::Arc;
use values::{Offset, Partition};

/// Which folder of its topic a record belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioner {
    /// `partition=N`
    Default,
    /// By the record's timestamp.
    Time(PathFormat),
}

/// How keys are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `topics.dir`: the folder above the topics, without slashes at its ends; may be empty.
    pub topics_dir: String,
    /// Which folder of its topic a record belongs to.
    pub partitioner: Partitioner,
    /// `s3.compression.type`
    pub encoding: Encoding,
}

impl Layout {
    /// The key of the object that begins at `start`.
    pub fn key(&self, topic: &str, partition: Partition, folder: &str, start: Offset) -> String {
        let mut key = String::with_capacity(64 + 2 * topic.len());
        if !self.topics_dir.is_empty() {
            let _ = write!(key, "{}/", self.topics_dir);
        }
        let _ = write!(key, "{topic}/{folder}/{topic}+{partition}+{start:010}.json");
        if self.encoding == Encoding::Gzip {
            key.push_str(".gz");
        }
        key
    }
}

/// A text that is no `path.format`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid path.format `{text}`: {why} (such as 'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH)")]
pub struct PathFormatError {
    text: String,
    why: String,
}

/// A parsed `path.format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFormat {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A letter of Joda's and how often it stands.
    Field(char, usize),
}

impl std::str::FromStr for PathFormat {
    type Err = PathFormatError;

    fn from_str(text: &str) -> Result<PathFormat, PathFormatError> {
        let wrong = |why: String| PathFormatError {
            text: text.to_owned(),
            why,
        };
        let mut parts: Vec<Part> = Vec::new();
        let literal = |parts: &mut Vec<Part>, c: char| match parts.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => parts.push(Part::Text(c.to_string())),
        };
        let mut quoted = false;
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '\'' if characters.peek() == Some(&'\'') => {
                    characters.next();
                    literal(&mut parts, '\'');
                }
                '\'' => quoted = !quoted,
                'y' | 'Y' | 'M' | 'd' | 'D' | 'H' | 'm' | 's' if !quoted => match parts.last_mut() {
                    Some(Part::Field(letter, count)) if *letter == c => *count += 1,
                    _ => parts.push(Part::Field(c, 1)),
                },
                _ if !quoted && c.is_ascii_alphabetic() => {
                    return Err(wrong(format!("the letter {c} is not known, quote text as '{c}'")));
                }
                c => literal(&mut parts, c),
            }
        }
        if quoted {
            return Err(wrong("a quote is not closed".to_owned()));
        }
        let format = PathFormat { parts };
        let folder = format.folder(0);
        let plain = |part: &str| !matches!(part, "" | "." | "..") && part != crate::lake::CONTROL_FOLDER;
        if !folder.split('/').all(plain) {
            return Err(wrong("a folder has no name".to_owned()));
        }
        if format.parts.iter().any(|part| matches!(part, Part::Field(..))) {
            Ok(format)
        } else {
            Err(wrong("it names no part of the time".to_owned()))
        }
    }
}

impl PathFormat {
    /// The folder of a record with this timestamp, in milliseconds since 1970.
    pub fn folder(&self, millis: i64) -> String {
        let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
        let time = time.to_zoned(TimeZone::UTC);
        let mut folder = String::new();
        for part in &self.parts {
            let _ = match part {
                Part::Text(text) => folder.write_str(text),
                Part::Field('y' | 'Y', 2) => write!(folder, "{:02}", time.year().rem_euclid(100)),
                Part::Field(letter, width) => {
                    let value = match letter {
                        'y' | 'Y' => i64::from(time.year()),
                        'M' => i64::from(time.month()),
                        'd' => i64::from(time.day()),
                        'D' => i64::from(time.day_of_year()),
                        'H' => i64::from(time.hour()),
                        'm' => i64::from(time.minute()),
                        _ => i64::from(time.second()),
                    };
                    write!(folder, "{value:0width$}", width = *width)
                }
            };
        }
        folder
    }
}

/// The folders of one partition's records, one after the other: mostly the same as the one before.
#[derive(Debug)]
pub struct Folders {
    partitioner: Partitioner,
    current: Arc<str>,
    /// The second of the current folder.
    second: Option<i64>,
}

impl Folders {
    /// For records of this partition.
    pub fn new(partitioner: &Partitioner, partition: Partition) -> Folders {
        Folders {
            partitioner: partitioner.clone(),
            current: format!("partition={partition}").into(),
            second: None,
        }
    }

    /// The folder of a record with this timestamp.
    pub fn of(&mut self, millis: i64) -> Arc<str> {
        if let Partitioner::Time(format) = &self.partitioner {
            let second = millis.div_euclid(1000);
            if self.second != Some(second) {
                self.second = Some(second);
                let folder = format.folder(millis.max(0));
                if *folder != *self.current {
                    self.current = folder.into();
                }
            }
        }
        Arc::clone(&self.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_sink() {
        let mut layout = Layout {
            topics_dir: "topics".into(),
            partitioner: Partitioner::Default,
            encoding: Encoding::Plain,
        };
        assert_eq!(
            layout.key("0a3db223d459.pin", Partition(0), "partition=0", Offset(0)),
            "topics/0a3db223d459.pin/partition=0/0a3db223d459.pin+0+0000000000.json"
        );
        layout.topics_dir.clear();
        layout.encoding = Encoding::Gzip;
        assert_eq!(
            layout.key(
                "pin",
                Partition(3),
                "year=2024/month=03/day=09/hour=07",
                Offset(14_549_241_101)
            ),
            "pin/year=2024/month=03/day=09/hour=07/pin+3+14549241101.json.gz"
        );
    }

    #[test]
    fn folders_follow_the_format() {
        let folder = |format: &str, millis| format.parse::<PathFormat>().unwrap().folder(millis);
        // 2024-03-09T07:05:03Z
        let at = 1_709_967_903_000;
        assert_eq!(
            folder("'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH", at),
            "year=2024/month=03/day=09/hour=07"
        );
        assert_eq!(folder("YYYY/M/d/H/mm/ss", at), "2024/3/9/7/05/03");
        assert_eq!(folder("'o''clock'=HH", at), "o'clock=07");
        assert_eq!(folder("yy-DDD", at), "24-069");
        for wrong in ["", "'year'", "'year=YYYY", "YYYY//MM", "YYYY/'..'", "EEE"] {
            assert!(wrong.parse::<PathFormat>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_is_kept_while_it_is_the_same() {
        let mut folders = Folders::new(&Partitioner::Time("'hour'=HH".parse().unwrap()), Partition(0));
        let (a, b, c) = (folders.of(1_000), folders.of(2_000), folders.of(3_600_000));
        assert!(Arc::ptr_eq(&a, &b) && *a == *"hour=00" && *c == *"hour=01");
        assert_eq!(*Folders::new(&Partitioner::Default, Partition(7)).of(5), *"partition=7");
    }
}
