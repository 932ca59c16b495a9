//! The shards of a stream: as many as the keys of its topic are spread over, each with its part of the hashes.

use super::kinesis_request::shard_id;
use super::sequence;
use ingest::{Offset, Partition};
use serde::Serialize;

/// A shard.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Shard {
    shard_id: String,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: String,
}

/// The shards from `first` on, at most so many, of a stream that has `count`.
pub(super) fn shards(count: i32, first: i32, most: usize) -> Vec<Shard> {
    let all = u128::from(count.unsigned_abs().max(1));
    (first..count.max(1))
        .take(most)
        .map(|number| shard(number, all))
        .collect()
}

fn shard(number: i32, count: u128) -> Shard {
    let shard = u128::from(number.unsigned_abs());
    // 2^128 × shard / count, rounded up: the first hash that falls into the shard
    let start = |shard: u128| match shard {
        0 => 0,
        shard if shard == count => u128::MAX,
        shard => {
            let (whole, rest) = (u128::MAX / count, u128::MAX % count);
            whole * shard + ((rest + 1) * shard).div_ceil(count)
        }
    };
    let end = if shard + 1 == count {
        u128::MAX
    } else {
        start(shard + 1) - 1
    };
    Shard {
        shard_id: shard_id(number),
        hash_key_range: HashKeyRange {
            starting_hash_key: start(shard).to_string(),
            ending_hash_key: end.to_string(),
        },
        sequence_number_range: SequenceNumberRange {
            starting_sequence_number: sequence::number(0, Partition(number), Some(Offset::ZERO)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition;

    #[test]
    fn ranges_follow_each_other_and_say_where_a_hash_belongs() {
        for count in [1, 2, 3, 7, 1000] {
            let all = shards(count, 0, usize::MAX);
            assert_eq!(all.len(), count as usize);
            let mut next = 0;
            for (number, shard) in all.iter().enumerate() {
                let hash = |text: &str| text.parse::<u128>().unwrap();
                let range = &shard.hash_key_range;
                let (start, end) = (hash(&range.starting_hash_key), hash(&range.ending_hash_key));
                assert_eq!(start, next);
                for hash in [start, end] {
                    assert_eq!(partition::of_hash(hash, count), number as i32, "{hash} of {count}");
                }
                next = end.wrapping_add(1);
            }
            assert_eq!(next, 0, "the last ends with the last hash");
        }
        let some = shards(7, 5, 10);
        assert_eq!(some.len(), 2);
        assert_eq!(some[0].shard_id, "shardId-000000000005");
        assert!(shards(7, 7, 10).is_empty() && shards(7, 9, 10).is_empty());
        assert_eq!(shards(7, 0, 3).len(), 3);
    }
}
