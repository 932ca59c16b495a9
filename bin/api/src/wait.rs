//! `at_least=pin/0:1234`: an answer waits until the tables contain an offset, so that whoever wrote a record reads it.

use crate::error::{ApiError, nearest, shown};
use crate::params::{duration, once};
use crate::shared::{Shared, Standing};
use crate::state::State;
use hyper::StatusCode;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Offsets of a request at most.
const MOST: usize = 100;
/// How long a request waits, if it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may wait.
const MOST_TIMEOUT: Duration = Duration::from_secs(60);

/// Offsets that the tables have to contain.
#[derive(Clone, Debug, PartialEq)]
pub struct AtLeast {
    wanted: Vec<(String, i32, i64)>,
    timeout: Duration,
}

impl AtLeast {
    /// Reads `at_least`, which may be given several times or name several offsets, and `timeout`.
    pub fn parse(params: &[(String, String)], topics: &[String]) -> Result<AtLeast, ApiError> {
        let texts = params.iter().filter(|(name, _)| name == "at_least");
        let texts: Vec<&str> = texts.flat_map(|(_, value)| value.split(',')).collect();
        if texts.len() > MOST {
            let error = format!("{} offsets, of which there may be {MOST}", texts.len());
            return Err(ApiError::bad(error, "the greatest offset of each partition is enough"));
        }
        let wanted = texts.iter().map(|text| position(text.trim(), topics));
        let timeout = match once(params, "timeout")? {
            None => DEFAULT_TIMEOUT,
            Some(text) => duration(text, "s")
                .filter(|timeout| *timeout <= MOST_TIMEOUT)
                .ok_or_else(|| {
                    let error = format!("invalid timeout {}", shown(text));
                    ApiError::bad(error, "expected a duration of at most 60s, such as 5s").with("parameter", "timeout")
                })?,
        };
        Ok(AtLeast {
            wanted: wanted.collect::<Result<_, _>>()?,
            timeout,
        })
    }

    fn is_met(&self, state: &State) -> bool {
        let contains = |(topic, partition, offset): &(String, i32, i64)| {
            let next = state.frontier.next(topic, *partition);
            next.is_some_and(|next| next > *offset)
        };
        self.wanted.iter().all(contains)
    }

    /// The first state that contains all offsets; the present one when none are asked for.
    ///
    /// # Errors
    /// There is nothing to show (503), or the time is over (504).
    pub async fn wait(&self, shared: &Shared) -> Result<Arc<State>, ApiError> {
        match shared.standing() {
            Standing::At(state) if self.is_met(&state) => return Ok(state),
            Standing::Nothing(why) if self.wanted.is_empty() => return Err(nothing(&why)),
            _ => {}
        }
        let mut standing = shared.watch();
        let met = |standing: &Standing| matches!(standing, Standing::At(state) if self.is_met(state));
        let waited = tokio::time::timeout(self.timeout, standing.wait_for(met)).await;
        match waited {
            Ok(Ok(standing)) => match &*standing {
                Standing::At(state) => Ok(Arc::clone(state)),
                Standing::Nothing(why) => Err(nothing(why)),
            },
            _ => Err(self.too_late(shared)),
        }
    }

    fn too_late(&self, shared: &Shared) -> ApiError {
        let (commit, frontier) = match shared.state() {
            Some(state) => (Some(state.commit), json!(state.frontier)),
            None => (None, json!({})),
        };
        let seconds = self.timeout.as_secs_f64();
        let error = format!("the tables do not contain the offset after {seconds} s");
        let hint = "wait longer with timeout=60s, and see whether the frontier moves";
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, error, hint)
            .with("commit", commit)
            .with("frontier", frontier)
    }
}

/// 503: there is nothing to show.
pub fn nothing(why: &str) -> ApiError {
    ApiError::unavailable(why, "try again when /readyz answers 200")
}

/// 503: a table that is not there yet.
pub fn absent(table: &str) -> ApiError {
    let error = format!("{table} is not there yet: the first commit of this run makes it");
    nothing(&error).with("table", table)
}

/// `TOPIC/PARTITION:OFFSET` of a topic that is read.
fn position(text: &str, topics: &[String]) -> Result<(String, i32, i64), ApiError> {
    let parse = || {
        let (place, offset) = text.rsplit_once(':')?;
        let (topic, partition) = place.rsplit_once('/')?;
        let (partition, offset): (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
        (partition >= 0 && offset >= 0).then(|| (topic.to_owned(), partition, offset))
    };
    let (topic, partition, offset) = parse().ok_or_else(|| {
        let error = format!("invalid at_least {}", shown(text));
        ApiError::bad(error, "expected TOPIC/PARTITION:OFFSET, such as pin/0:1234").with("parameter", "at_least")
    })?;
    if topics.contains(&topic) {
        return Ok((topic, partition, offset));
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let hint = match nearest(&topic, &names) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("the topics are {}", names.join(", ")),
    };
    let error = ApiError::bad(format!("topic {} is not read", shown(&topic)), hint);
    Err(error
        .with("topic", topic.as_str())
        .with("nearest", nearest(&topic, &names)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_and_topics_are_known() {
        let topics = ["pin".to_owned(), "a.geo".to_owned()];
        let parse = |query: &str| AtLeast::parse(&crate::params::parse(Some(query)).unwrap(), &topics);
        let expected = AtLeast {
            wanted: vec![("pin".into(), 0, 12), ("a.geo".into(), 3, 4), ("pin".into(), 1, 0)],
            timeout: Duration::from_millis(1500),
        };
        assert_eq!(
            parse("at_least=pin/0:12,a.geo/3:4&at_least=pin/1:0&timeout=1.5s"),
            Ok(expected)
        );
        assert_eq!(parse("").unwrap().timeout, DEFAULT_TIMEOUT);
        for wrong in [
            "at_least=pin",
            "at_least=pin/0",
            "at_least=pin/-1:2",
            "at_least=pin/0:-2",
            "at_least=",
            "timeout=61s",
            "timeout=x",
        ] {
            assert_eq!(parse(wrong).unwrap_err().status, StatusCode::BAD_REQUEST, "{wrong}");
        }
        assert_eq!(parse("at_least=pim/0:1").unwrap_err().more["nearest"], "pin");
    }
}
