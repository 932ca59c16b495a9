//! What the operations of Kinesis's own protocol are told, in either of its forms: the parts of a request, and what
//! Kinesis demands of them.

use super::encoding;
use super::kinesis_error::KinesisError;
use super::kinesis_record::{Checked, RECORDS, missing};
use super::shape::List;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// Kinesis's own limit for a page of an answer.
const PAGE: i64 = 10_000;

/// Bytes: base64 in JSON, themselves in CBOR.
pub(super) struct Blob(Vec<u8>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
                let bytes = encoding::base64(text);
                bytes.map(Blob).ok_or_else(|| E::custom("Data is not base64"))
            }
        }
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_owned()))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Base64)
        } else {
            deserializer.deserialize_byte_buf(Bytes)
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecord {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    data: Option<Blob>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
    sequence_number_for_ordering: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecords {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    records: Option<List<Entry, RECORDS>>,
}

/// A record of many.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    data: Option<Blob>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListStreams {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListShards {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    shard_filter: Option<ShardFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    shard_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeStream {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateStream {
    stream_name: Option<String>,
    pub(super) shard_count: Option<i64>,
}

/// The stream alone: what `DescribeStreamSummary` and `DeleteStream` are told.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OfStream {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

/// Some of the shards of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShardPage {
    pub(super) stream: String,
    /// The number of the first shard.
    pub(super) first: i32,
    pub(super) most: usize,
}

impl PutRecord {
    /// The stream, and the record.
    pub(super) fn check(self) -> Result<(String, Checked<'static>), KinesisError> {
        let stream = stream(self.stream_name, self.stream_arn)?;
        // every number is greater than those before
        if let Some(number) = &self.sequence_number_for_ordering {
            whole(number, "sequenceNumberForOrdering", 129)?;
        }
        let entry = Entry {
            data: self.data,
            partition_key: self.partition_key,
            explicit_hash_key: self.explicit_hash_key,
        };
        Ok((stream, entry.check()?))
    }
}

impl PutRecords {
    /// How many records they are; beyond the limit one more.
    pub(super) fn count(&self) -> usize {
        self.records.as_ref().map_or(0, |List(records)| records.len())
    }

    /// The stream, and the records.
    pub(super) fn check(self) -> Result<(String, Vec<Checked<'static>>), KinesisError> {
        let stream = stream(self.stream_name, self.stream_arn)?;
        let records = self.records.map_or_else(Vec::new, |List(records)| records);
        let records = records.into_iter().map(Entry::check).collect::<Result<_, _>>()?;
        Ok((stream, records))
    }
}

impl Entry {
    fn check(self) -> Result<Checked<'static>, KinesisError> {
        let Blob(data) = self.data.ok_or_else(|| missing("data"))?;
        let key = self.partition_key.ok_or_else(|| missing("partitionKey"))?;
        let hash = self.explicit_hash_key.map(|hash| {
            whole(&hash, "explicitHashKey", 39)?;
            let wrong = || KinesisError::InvalidArgument(format!("Invalid ExplicitHashKey {hash}"));
            hash.parse::<u128>().map_err(|_| wrong())
        });
        Ok(Checked::new(key, Cow::Owned(data), hash.transpose()?)?)
    }
}

impl ListStreams {
    /// The name after which the page begins, and how many it has.
    pub(super) fn check(self) -> Result<(Option<String>, usize), KinesisError> {
        Ok((
            self.next_token.or(self.exclusive_start_stream_name),
            page(self.limit, "limit", 100)?,
        ))
    }
}

impl ListShards {
    pub(super) fn check(self) -> Result<ShardPage, KinesisError> {
        let most = page(self.max_results, "maxResults", 1000)?;
        let is_named = self.stream_name.is_some() || self.stream_arn.is_some();
        let named = is_named
            .then(|| stream(self.stream_name, self.stream_arn))
            .transpose()?;
        let Some(token) = self.next_token else {
            let filtered = self.shard_filter.and_then(|filter| filter.shard_id);
            return Ok(ShardPage {
                stream: named.ok_or_else(|| missing("streamName"))?,
                first: after(self.exclusive_start_shard_id.or(filtered).as_deref())?,
                most,
            });
        };
        let wrong = |text: &str| KinesisError::InvalidArgument(text.to_owned());
        let (first, stream) = token.split_once('/').ok_or_else(|| wrong("Invalid NextToken"))?;
        // paginators name the stream again
        if self.exclusive_start_shard_id.is_some() || named.is_some_and(|named| named != stream) {
            return Err(wrong("NextToken is of another stream, or begins elsewhere"));
        }
        let first = first.parse().ok().filter(|first| *first >= 0);
        Ok(ShardPage {
            stream: stream.to_owned(),
            first: first.ok_or_else(|| wrong("Invalid NextToken"))?,
            most,
        })
    }
}

impl ShardPage {
    /// What the next page is asked for with.
    pub(super) fn token(&self, first: i32) -> String {
        format!("{first}/{}", self.stream)
    }
}

impl DescribeStream {
    pub(super) fn check(self) -> Result<ShardPage, KinesisError> {
        Ok(ShardPage {
            stream: stream(self.stream_name, self.stream_arn)?,
            first: after(self.exclusive_start_shard_id.as_deref())?,
            most: page(self.limit, "limit", 100)?,
        })
    }
}

impl CreateStream {
    pub(super) fn stream(self) -> Result<String, KinesisError> {
        stream(self.stream_name, None)
    }
}

impl OfStream {
    pub(super) fn stream(self) -> Result<String, KinesisError> {
        stream(self.stream_name, self.stream_arn)
    }
}

/// The stream that is named, or that an ARN names: `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`.
fn stream(name: Option<String>, arn: Option<String>) -> Result<String, KinesisError> {
    let of_arn = arn.map(|arn| {
        let mut parts = arn.splitn(6, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (scheme, partition, service, _region, _account) = (part(), part(), part(), part(), part());
        let name = part().strip_prefix("stream/");
        let is_stream = scheme == "arn" && partition.starts_with("aws") && service == "kinesis";
        let name = name.filter(|name| is_stream && !name.is_empty() && !name.contains('/'));
        let wrong = || KinesisError::Validation("StreamARN is not the ARN of a stream".to_owned());
        name.map(str::to_owned).ok_or_else(wrong)
    });
    match (name, of_arn.transpose()?) {
        (Some(name), Some(other)) if name != other => {
            let text = "StreamName and StreamARN are of different streams".to_owned();
            Err(KinesisError::InvalidArgument(text))
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Err(missing("streamName").into()),
    }
}

/// The number of the shard after this one.
fn after(shard: Option<&str>) -> Result<i32, KinesisError> {
    let Some(shard) = shard else {
        return Ok(0);
    };
    let digits = shard.strip_prefix("shardId-");
    let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse::<i32>().ok()?.checked_add(1));
    number.ok_or_else(|| KinesisError::InvalidArgument(format!("There is no shard {shard}")))
}

fn page(most: Option<i64>, name: &str, default: usize) -> Result<usize, KinesisError> {
    let Some(most) = most else {
        return Ok(default);
    };
    if (1..=PAGE).contains(&most) {
        return Ok(usize::try_from(most).unwrap_or(default));
    }
    let text = format!(
        "1 validation error detected: Value '{most}' at '{name}' failed to satisfy constraint: \
         Member must have value between 1 and {PAGE}"
    );
    Err(KinesisError::Validation(text))
}

/// A whole number without a zero in front, of so many digits at most.
fn whole(text: &str, name: &str, most: usize) -> Result<(), KinesisError> {
    let is_whole = text == "0" || !text.starts_with('0') && text.bytes().all(|digit| digit.is_ascii_digit());
    if (1..=most).contains(&text.len()) && is_whole {
        return Ok(());
    }
    let text = format!(
        "1 validation error detected: Value at '{name}' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: 0|([1-9]\\d{{0,{}}})",
        most - 1
    );
    Err(KinesisError::Validation(text))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests;
