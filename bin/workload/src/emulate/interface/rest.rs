//! Kafka REST Proxy v2: `{"records":[{"value":…}]}`, one record a request, without a key, as the users send it.
//! A delete is a tombstone, which needs one: a number, whose bytes in Kafka are the key that the gateway gives the
//! post's records, so that compaction takes them together.

use super::super::item::Item;
use super::dialect::Dialect;
use super::http::{Answer, Call};
use super::outcome::SendOutcome;
use serde::Deserialize;

/// `POST /topics/{topic}`; holds the topic of each kind.
pub struct Rest(pub [Option<String>; 3]);

/// The slots of an answer; the rest of it is of no use here.
#[derive(Deserialize)]
struct Slots {
    #[serde(default)]
    offsets: Vec<Slot>,
}

#[derive(Deserialize)]
struct Slot {
    error_code: Option<i64>,
    error: Option<String>,
}

/// Kafka may take the record later.
const RETRIABLE: i64 = 50_003;

impl Dialect for Rest {
    fn call(&self, item: &Item) -> Call {
        let topic = self.0[usize::from(item.kind)].as_deref().unwrap_or_default();
        let mut body = Vec::with_capacity(item.value.len() + 32);
        match (item.delete, item.ind) {
            (true, Some(ind)) => {
                body.extend_from_slice(format!(r#"{{"records": [{{"key": {ind}, "value": null}}]}}"#).as_bytes());
            }
            _ => {
                body.extend_from_slice(b"{\"records\": [{\"value\": ");
                body.extend_from_slice(&item.value);
                body.extend_from_slice(b"}]}");
            }
        }
        Call {
            put: false,
            path: format!("/topics/{topic}"),
            content_type: "application/vnd.kafka.json.v2+json",
            body,
        }
    }

    /// 200 is about the request: each record's fate stands in its slot.
    fn success(&self, answer: &Answer) -> SendOutcome {
        let Ok(slots) = serde_json::from_slice::<Slots>(&answer.body) else {
            // some proxies in front of the interface answer in words of their own
            return SendOutcome::Acknowledged;
        };
        let failed = slots
            .offsets
            .first()
            .and_then(|slot| slot.error_code.map(|code| (code, slot)));
        match failed {
            None => SendOutcome::Acknowledged,
            Some((code, slot)) => {
                let why = format!("error code {code}: {}", slot.error.as_deref().unwrap_or("no reason"));
                match code {
                    RETRIABLE => SendOutcome::Retry { why, after: None },
                    _ => SendOutcome::Refused(why),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> SendOutcome {
        Rest([None, None, None]).success(&Answer {
            status: 200,
            retry_after: None,
            body: body.as_bytes().to_vec().into(),
        })
    }

    #[test]
    fn a_record_that_kafka_did_not_take_is_not_acknowledged() {
        let slot = |code: &str| {
            format!(
                r#"{{"offsets":[{{"partition":null,"offset":null,"error_code":{code},"error":"x"}}],"key_schema_id":null}}"#
            )
        };
        assert_eq!(answer(&slot("null")), SendOutcome::Acknowledged);
        assert!(matches!(answer(&slot("50003")), SendOutcome::Retry { .. }));
        assert!(matches!(answer(&slot("50002")), SendOutcome::Refused(why) if why.contains("50002")));
    }
}
