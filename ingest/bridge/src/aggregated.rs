//! Records of the Kinesis Producer Library, which packs several into one: `F3 89 9A C2`, a message of Protocol Buffers,
//! its MD5.
//!
//! The format is Amazon's ([aggregation format]); a record that begins so and is none is a plain one. What is read are
//! partition keys and data. Explicit hash keys only say in which shard a record was meant to be.
//!
//! [aggregation format]: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const CHECKSUM: usize = 16;

/// A record inside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inner<'a> {
    pub(crate) partition_key: &'a str,
    pub(crate) data: &'a [u8],
}

/// The records inside a record, or none when it is a plain one.
pub(crate) fn unpack(data: &[u8]) -> Option<Vec<Inner<'_>>> {
    let rest = data.strip_prefix(&MAGIC)?;
    let (message, checksum) = rest.split_at(rest.len().checked_sub(CHECKSUM)?);
    if Md5::digest(message).as_slice() != checksum {
        return None;
    }
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    let mut fields = Fields(message);
    while !fields.0.is_empty() {
        match fields.next()? {
            // partition_key_table
            (1, Value::Bytes(key)) => keys.push(std::str::from_utf8(key).ok()?),
            (3, Value::Bytes(record)) => records.push(inner(record)?),
            // explicit_hash_key_table, and what is added later
            _ => {}
        }
    }
    let unpacked = records.into_iter().map(|(key, data)| {
        let partition_key = *keys.get(usize::try_from(key).ok()?)?;
        Some(Inner { partition_key, data })
    });
    unpacked.collect()
}

/// The number of a record's partition key, and its data.
fn inner(record: &[u8]) -> Option<(u64, &[u8])> {
    let (mut key, mut data) = (None, None);
    let mut fields = Fields(record);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Value::Number(index)) => key = Some(index),
            (3, Value::Bytes(bytes)) => data = Some(bytes),
            // explicit_hash_key_index, tags
            _ => {}
        }
    }
    Some((key?, data?))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field's number and value; none where the message is damaged, or has a field that the format does not.
    fn next(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn varint(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [vec![number << 3 | 2], varint(bytes.len()), bytes.to_vec()].concat()
    }

    fn pack(records: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut message = Vec::new();
        for (key, _) in records {
            message.extend(field(1, key.as_bytes()));
        }
        message.extend(field(2, b"170141183460469231731687303715884105728"));
        for (index, (_, data)) in records.iter().enumerate() {
            let record = [vec![0x08], varint(index), vec![0x10, 0x00], field(3, data)].concat();
            message.extend(field(3, &record));
        }
        let checksum = Md5::digest(&message);
        [&MAGIC[..], &message, checksum.as_slice()].concat()
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(records in prop::collection::vec((".{0,20}", prop::collection::vec(any::<u8>(), 0..300)), 0..20)) {
            let packed = pack(&records);
            let expected: Vec<_> = records.iter().map(|(key, data)| Inner { partition_key: key, data }).collect();
            prop_assert_eq!(unpack(&packed), Some(expected));
        }

        #[test]
        fn any_other_bytes_are_a_plain_record(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
            if magic {
                bytes.splice(0..0, MAGIC);
            }
            prop_assert_eq!(unpack(&bytes), None);
        }

        /// Also with the right checksum.
        #[test]
        fn a_damaged_message_ends_in_no_panic(message in prop::collection::vec(any::<u8>(), 0..200)) {
            let checksum = Md5::digest(&message);
            let _ = unpack(&[&MAGIC[..], &message, checksum.as_slice()].concat());
        }
    }
}
