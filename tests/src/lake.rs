//! Writing lakes: folders of objects as Kafka Connect's S3 sink and the older pipelines left them.
//!
//! A lake here is a folder: a `file://` lake, or a bucket's folder of the S3 server, whose files are its objects.

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder that holds a lake.
#[derive(Clone, Debug)]
pub struct LakeFolder {
    root: PathBuf,
    topics_dir: String,
    gzip: bool,
}

impl LakeFolder {
    /// The lake in this folder, in Connect's layout below `topics/`.
    pub fn new(root: impl Into<PathBuf>) -> LakeFolder {
        LakeFolder {
            root: root.into(),
            topics_dir: "topics".into(),
            gzip: false,
        }
    }

    /// The same lake with another `topics.dir`, which may be empty.
    pub fn topics_dir(mut self, dir: &str) -> LakeFolder {
        self.topics_dir = dir.into();
        self
    }

    /// The same lake, writing `.json.gz`.
    pub fn gzip(mut self) -> LakeFolder {
        self.gzip = true;
        self
    }

    /// `file://` and the folder.
    pub fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The key that Connect gives an object, below `folder` (as `year=2024/month=03`) or below `partition=N`.
    pub fn key(&self, topic: &str, partition: i32, start: i64, folder: Option<&str>) -> String {
        let folder = folder.map_or_else(|| format!("partition={partition}"), str::to_owned);
        let suffix = if self.gzip { ".json.gz" } else { ".json" };
        let path = format!("{topic}/{folder}/{topic}+{partition}+{start:010}{suffix}");
        if self.topics_dir.is_empty() {
            path
        } else {
            format!("{}/{path}", self.topics_dir)
        }
    }

    /// Writes an object of these records; the first has the offset `start`. Returns its key.
    pub fn object(&self, topic: &str, partition: i32, start: i64, records: &[Value]) -> Result<String> {
        self.object_in(topic, partition, start, None, records)
    }

    /// The same below a folder of a time or field partitioner.
    pub fn object_in(
        &self,
        topic: &str,
        partition: i32,
        start: i64,
        folder: Option<&str>,
        records: &[Value],
    ) -> Result<String> {
        let key = self.key(topic, partition, start, folder);
        let lines = connect_lines(records);
        self.put(&key, &if self.gzip { gzip(&[&lines])? } else { lines })?;
        Ok(key)
    }

    /// Writes `records` as objects of `per_object`; returns their keys.
    pub fn objects(
        &self,
        topic: &str,
        partition: i32,
        start: i64,
        per_object: usize,
        records: &[Value],
    ) -> Result<Vec<String>> {
        let starts = (start..).step_by(per_object);
        records
            .chunks(per_object)
            .zip(starts)
            .map(|(chunk, start)| self.object(topic, partition, start, chunk))
            .collect()
    }

    /// The oldest layout: one pretty-printed record an object, `events/event-<id>.json`.
    pub fn event(&self, topic: &str, id: &str, record: &Value) -> Result<String> {
        let key = format!("{}/{topic}/events/event-{id}.json", self.topics_dir);
        self.put(&key, &serde_json::to_vec_pretty(record)?)?;
        Ok(key)
    }

    /// A JSON array of records an object, `PinterestData_<n>.json`.
    pub fn array(&self, topic: &str, number: u64, records: &[Value]) -> Result<String> {
        let key = format!("{}/{topic}/PinterestData_{number}.json", self.topics_dir);
        self.put(&key, &serde_json::to_vec(records)?)?;
        Ok(key)
    }

    /// Writes any object; a lake's objects appear whole or not at all.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        ensure!(
            !key.starts_with('/') && !key.split('/').any(|part| part == ".."),
            "{key} is no key"
        );
        let path = self.root.join(key);
        let write = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
            file.write_all(bytes)?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// Reads an object.
    pub fn get(&self, key: &str) -> Result<Vec<u8>> {
        fs::read(self.root.join(key)).with_context(|| format!("reading {key}"))
    }

    /// Removes an object.
    pub fn remove(&self, key: &str) -> Result<()> {
        fs::remove_file(self.root.join(key)).with_context(|| format!("removing {key}"))
    }
}

/// Records as Connect's JsonFormat writes them: compact, one a line, the last line ended too, and each character
/// beyond the BMP as two `\uXXXX` escapes.
pub fn connect_lines(records: &[Value]) -> Vec<u8> {
    let mut lines = String::new();
    for record in records {
        for character in record.to_string().chars() {
            if character.len_utf16() == 2 {
                let mut pair = [0; 2];
                for unit in character.encode_utf16(&mut pair) {
                    lines.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                lines.push(character);
            }
        }
        lines.push('\n');
    }
    lines.into_bytes()
}

/// The gzip members of these parts, one after the other.
pub fn gzip(members: &[&[u8]]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for member in members {
        let mut encoder = GzEncoder::new(&mut bytes, Compression::fast());
        encoder.write_all(member)?;
        encoder.finish()?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_look_like_those_of_connect() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let lake = LakeFolder::new(dir.path());
        let key = lake.object(
            "0a.pin",
            3,
            7,
            &[json!({"index": 1, "title": "a 🎈"}), json!({"index": 2})],
        )?;
        assert_eq!(key, "topics/0a.pin/partition=3/0a.pin+3+0000000007.json");
        let expected = "{\"index\":1,\"title\":\"a \\ud83c\\udf88\"}\n{\"index\":2}\n";
        assert_eq!(String::from_utf8(lake.get(&key)?)?, expected);
        let folder = Some("year=2024/month=03");
        let key = lake.clone().topics_dir("").gzip().key("pin", 0, 14_549_241_101, folder);
        assert_eq!(key, "pin/year=2024/month=03/pin+0+14549241101.json.gz");
        Ok(())
    }
}
