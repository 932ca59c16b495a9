//! Kinesis behind API Gateway: `PUT /streams/{stream}/record`. The partition key is the post's index, so that one
//! post stays in one shard; a record without an index takes its kind.

use super::super::item::Item;
use super::dialect::Dialect;
use super::http::Call;
use crate::KINDS;

/// Holds the stream of each kind.
pub struct Kinesis(pub [Option<String>; 3]);

impl Dialect for Kinesis {
    fn call(&self, item: &Item) -> Call {
        let stream = self.0[usize::from(item.kind)].as_deref().unwrap_or_default();
        let key = item
            .ind
            .map_or(KINDS[usize::from(item.kind)].to_owned(), |ind| ind.to_string());
        let mut body = format!(r#"{{"StreamName": "{stream}", "Data": "#).into_bytes();
        body.extend_from_slice(&item.value);
        body.extend_from_slice(format!(r#", "PartitionKey": "{key}"}}"#).as_bytes());
        Call {
            put: true,
            path: format!("/streams/{stream}/record"),
            content_type: "application/json",
            body,
        }
    }
}
