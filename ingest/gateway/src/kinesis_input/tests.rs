//! What Kinesis demands of the parts of a request.

use super::*;
use crate::kinesis_call::Form;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn of<T: DeserializeOwned>(body: &Value) -> T {
    Form::Json.parse(body.to_string().as_bytes()).unwrap()
}

fn record(body: Value) -> Result<(String, String, Vec<u8>, Option<u128>), &'static str> {
    let (stream, record) = of::<PutRecord>(&body).check().map_err(|error| error.name())?;
    Ok((stream, record.key, record.data.into_owned(), record.hash))
}

#[test]
fn a_record_has_a_stream_data_a_key_and_maybe_a_hash() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"StreamName": "s", "Data": "eyJpbmQiOjF9", "PartitionKey": "k"});
        body[name] = value;
        record(body)
    };
    let expected = |hash| Ok(("s".to_owned(), "k".to_owned(), br#"{"ind":1}"#.to_vec(), hash));
    assert_eq!(with("Tags", json!([1])), expected(None));
    assert_eq!(with("ExplicitHashKey", json!("0")), expected(Some(0)));
    let most = u128::MAX.to_string();
    assert_eq!(with("ExplicitHashKey", json!(most)), expected(Some(u128::MAX)));
    assert_eq!(with("SequenceNumberForOrdering", json!("496")), expected(None));
    let arn = |name: &str| json!(format!("arn:aws:kinesis:eu-west-1:000000000000:stream/{name}"));
    assert_eq!(with("StreamARN", arn("s")), expected(None));
    for (name, value, error) in [
        ("StreamName", Value::Null, "ValidationException"),
        ("StreamARN", arn("t"), "InvalidArgumentException"),
        ("StreamARN", arn(""), "ValidationException"),
        ("StreamARN", arn("s/consumer/c:1"), "ValidationException"),
        (
            "StreamARN",
            json!("arn:aws:dynamodb:r:1:stream/s"),
            "ValidationException",
        ),
        ("StreamARN", json!("s"), "ValidationException"),
        ("Data", Value::Null, "ValidationException"),
        ("PartitionKey", Value::Null, "ValidationException"),
        ("PartitionKey", json!(""), "ValidationException"),
        ("PartitionKey", json!("k".repeat(257)), "ValidationException"),
        ("ExplicitHashKey", json!("-1"), "ValidationException"),
        ("ExplicitHashKey", json!("00"), "ValidationException"),
        ("ExplicitHashKey", json!(""), "ValidationException"),
        (
            "ExplicitHashKey",
            json!("340282366920938463463374607431768211456"),
            "InvalidArgumentException",
        ),
        ("SequenceNumberForOrdering", json!("x"), "ValidationException"),
    ] {
        assert_eq!(with(name, value.clone()), Err(error), "{name} {value}");
    }
}

#[test]
fn pages_of_shards_continue_with_a_token() {
    let list = |body: Value| of::<ListShards>(&body).check().map_err(|error| error.name());
    let page = |first, most| {
        let stream = "s".to_owned();
        Ok(ShardPage { stream, first, most })
    };
    assert_eq!(list(json!({"StreamName": "s"})), page(0, 1000));
    let start = json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-000000000006", "MaxResults": 2});
    assert_eq!(list(start), page(7, 2));
    let filter = json!({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001"});
    assert_eq!(list(json!({"StreamName": "s", "ShardFilter": filter})), page(2, 1000));
    let first = page(0, 2).unwrap();
    assert_eq!(list(json!({"NextToken": first.token(2), "MaxResults": 2})), page(2, 2));
    let again = json!({"NextToken": first.token(2), "StreamName": "s", "MaxResults": 2});
    assert_eq!(list(again), page(2, 2));
    for wrong in [
        json!({"NextToken": first.token(2), "StreamName": "t"}),
        json!({"NextToken": first.token(2), "ExclusiveStartShardId": "shardId-000000000001"}),
        json!({"NextToken": "x"}),
        json!({"NextToken": "-1/s"}),
        json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-"}),
        json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-+1"}),
        json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-2147483647"}),
    ] {
        assert_eq!(list(wrong.clone()), Err("InvalidArgumentException"), "{wrong}");
    }
    for wrong in [
        json!({}),
        json!({"StreamName": "s", "MaxResults": 0}),
        json!({"StreamName": "s", "MaxResults": 10001}),
    ] {
        assert_eq!(list(wrong.clone()), Err("ValidationException"), "{wrong}");
    }
    let describe = of::<DescribeStream>(&json!({"StreamName": "s", "Limit": 3})).check();
    assert_eq!(describe.map_err(|error| error.name()), page(0, 3));
}
