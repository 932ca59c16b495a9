//! One sentence that names what limits a run, from what is known of it.
//!
//! The rules are tried in order, and the first that holds speaks. Each names the figures that it follows from, so that it
//! can be checked. Shares are of the last ten seconds.

use super::phase::Phase;

/// A worker is busy from this share of its time on.
const BUSY: f64 = 0.8;
/// Commits limit a run from this share of the time on: after a slow commit the engine waits for about as long again.
const COMMITTING: f64 = 0.4;
/// A wait limits a replay from this share of the workers' time on.
const WAITING: f64 = 0.3;
/// A commit that is under way for so many seconds is what everything waits for.
const LONG_COMMIT: f64 = 2.0;
/// Records that wait for fewer seconds are on their way.
const BEHIND: f64 = 1.0;

/// The busiest worker.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Busiest {
    /// Its index.
    pub(super) worker: usize,
    /// The share of its time that it ran its dataflow.
    pub(super) share: f64,
    /// The operator that took most of it, and its share of the worker's time.
    pub(super) operator: (String, f64),
}

/// What the sentence follows from.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) phase: Phase,
    /// For how many seconds the lake has been unavailable, and why.
    pub(super) lake_outage: Option<(f64, String)>,
    /// Objects of history that are not read yet.
    pub(super) objects_left: u64,
    /// For how many seconds the commit under way has lasted.
    pub(super) committing: Option<f64>,
    /// Share of the time in which a commit was under way.
    pub(super) commit_share: f64,
    /// Known where operators are profiled.
    pub(super) busiest: Option<Busiest>,
    /// Share of the workers' time in which they waited for bytes of the lake, or for staging.
    pub(super) waits_for_lake: f64,
    /// The same for room in staging.
    pub(super) waits_for_staging: f64,
    /// The sum of all partitions.
    pub(super) lag_records: i64,
    /// The longest of all partitions.
    pub(super) lag_seconds: f64,
    /// Records a second that commits took in.
    pub(super) records_per_second: f64,
}

/// The sentence.
pub(super) fn bottleneck(facts: &Facts) -> String {
    match facts.phase {
        Phase::Listing => of_listing(facts),
        Phase::Replaying => of_replay(facts),
        Phase::CatchingUp | Phase::Live => of_following(facts),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn outage(facts: &Facts) -> Option<String> {
    let (seconds, error) = facts.lake_outage.as_ref()?;
    Some(format!(
        "The lake: it has been unavailable for {seconds:.0} s ({error})."
    ))
}

fn long_commit(facts: &Facts) -> Option<String> {
    let seconds = facts.committing.filter(|seconds| *seconds >= LONG_COMMIT)?;
    Some(format!(
        "The commit: the one under way has taken {seconds:.0} s so far."
    ))
}

fn busy_worker(facts: &Facts) -> Option<String> {
    let Busiest {
        worker,
        share,
        operator,
    } = facts.busiest.as_ref().filter(|busiest| busiest.share >= BUSY)?;
    let (name, of_operator) = operator;
    let what = match name.as_str() {
        "Read" => "decoding records (operator `Read`)".to_owned(),
        name => format!("the operator `{name}`"),
    };
    let (share, of_operator) = (percent(*share), percent(*of_operator));
    Some(format!(
        "Processor: worker {worker} is busy {share} of the time, most of all with {what}, {of_operator}."
    ))
}

fn of_listing(facts: &Facts) -> String {
    outage(facts).unwrap_or_else(|| "The start: the lake is listed, and the tables and Kafka are looked at.".to_owned())
}

fn of_replay(facts: &Facts) -> String {
    let waiting = |share: f64| share >= WAITING;
    if let Some(sentence) = outage(facts).or_else(|| long_commit(facts)) {
        return sentence;
    }
    let (lake, staging) = (facts.waits_for_lake, facts.waits_for_staging);
    if waiting(staging) && staging >= lake {
        let share = percent(staging);
        return format!("PostgreSQL: workers wait {share} of the time for rows to be copied into staging tables.");
    }
    if waiting(lake) {
        let share = percent(lake);
        return format!("The lake: workers wait {share} of the time for bytes of objects.");
    }
    if let Some(sentence) = busy_worker(facts) {
        return sentence;
    }
    match facts.objects_left {
        0 => "Kafka: the objects of the lake are read, and what follows them in the log is read up to the hand-over."
            .to_owned(),
        left => format!("Nothing stands out: {left} objects of the lake are still to be read."),
    }
}

fn of_following(facts: &Facts) -> String {
    if let Some(sentence) = long_commit(facts) {
        return sentence;
    }
    let (records, seconds) = (facts.lag_records, facts.lag_seconds);
    if records == 0 || seconds < BEHIND {
        return match facts.records_per_second {
            0.0 => "Nothing: no records arrive.".to_owned(),
            rate => format!("Nothing: commits keep up with {rate:.0} records/s."),
        };
    }
    if facts.commit_share >= COMMITTING {
        let share = percent(facts.commit_share);
        return format!("PostgreSQL: commits take {share} of the time, and {records} records wait in Kafka.");
    }
    if let Some(sentence) = busy_worker(facts) {
        return sentence;
    }
    let commits = percent(facts.commit_share);
    let busiest = match &facts.busiest {
        Some(busiest) => format!("the busiest worker is busy {} and ", percent(busiest.share)),
        None => String::new(),
    };
    format!(
        "Kafka: {records} records wait there for up to {seconds:.0} s, while {busiest}commits take {commits} of the time."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(phase: Phase) -> Facts {
        Facts {
            phase,
            lake_outage: None,
            objects_left: 0,
            committing: None,
            commit_share: 0.0,
            busiest: None,
            waits_for_lake: 0.0,
            waits_for_staging: 0.0,
            lag_records: 0,
            lag_seconds: 0.0,
            records_per_second: 0.0,
        }
    }

    fn busy(share: f64, operator: &str) -> Option<Busiest> {
        Some(Busiest {
            worker: 1,
            share,
            operator: (operator.to_owned(), share / 2.0),
        })
    }

    #[test]
    fn a_start_and_an_outage_are_said() {
        let mut start = facts(Phase::Listing);
        assert!(bottleneck(&start).starts_with("The start: "), "{}", bottleneck(&start));
        start.lake_outage = Some((31.6, "cannot list x: status 503".to_owned()));
        for phase in [Phase::Listing, Phase::Replaying] {
            start.phase = phase;
            assert_eq!(
                bottleneck(&start),
                "The lake: it has been unavailable for 32 s (cannot list x: status 503)."
            );
        }
        // live records do not come from the lake
        start.phase = Phase::Live;
        assert_eq!(bottleneck(&start), "Nothing: no records arrive.");
    }

    #[test]
    fn a_replay_waits_for_what_its_workers_wait_for() {
        let mut replay = facts(Phase::Replaying);
        replay.objects_left = 7;
        assert_eq!(
            bottleneck(&replay),
            "Nothing stands out: 7 objects of the lake are still to be read."
        );
        replay.busiest = busy(0.92, "posts: latest");
        assert_eq!(
            bottleneck(&replay),
            "Processor: worker 1 is busy 92 % of the time, most of all with the operator `posts: latest`, 46 %."
        );
        replay.busiest = busy(0.92, "Read");
        assert!(bottleneck(&replay).contains("decoding records (operator `Read`)"));
        replay.waits_for_lake = 0.5;
        assert_eq!(
            bottleneck(&replay),
            "The lake: workers wait 50 % of the time for bytes of objects."
        );
        replay.waits_for_staging = 0.6;
        assert_eq!(
            bottleneck(&replay),
            "PostgreSQL: workers wait 60 % of the time for rows to be copied into staging tables."
        );
        replay.committing = Some(12.3);
        assert_eq!(
            bottleneck(&replay),
            "The commit: the one under way has taken 12 s so far."
        );
        let mut read = facts(Phase::Replaying);
        read.busiest = busy(0.3, "Read");
        assert!(bottleneck(&read).starts_with("Kafka: the objects of the lake are read"));
    }

    #[test]
    fn who_keeps_up_has_no_bottleneck() {
        let mut live = facts(Phase::Live);
        live.records_per_second = 812.4;
        live.busiest = busy(0.95, "Read");
        live.commit_share = 0.9;
        assert_eq!(bottleneck(&live), "Nothing: commits keep up with 812 records/s.");
        // on their way
        (live.lag_records, live.lag_seconds) = (90, 0.2);
        assert_eq!(bottleneck(&live), "Nothing: commits keep up with 812 records/s.");
    }

    #[test]
    fn a_lag_is_due_to_commits_workers_or_the_way_from_kafka() {
        let mut behind = facts(Phase::CatchingUp);
        (behind.lag_records, behind.lag_seconds) = (9_000, 12.4);
        (behind.busiest, behind.commit_share) = (busy(0.95, "posts: latest"), 0.55);
        assert_eq!(
            bottleneck(&behind),
            "PostgreSQL: commits take 55 % of the time, and 9000 records wait in Kafka."
        );
        behind.commit_share = 0.1;
        assert!(bottleneck(&behind).starts_with("Processor: worker 1 is busy 95 %"));
        behind.busiest = busy(0.2, "Read");
        assert_eq!(
            bottleneck(&behind),
            "Kafka: 9000 records wait there for up to 12 s, while the busiest worker is busy 20 % and commits take 10 % of the time."
        );
        behind.busiest = None;
        assert!(bottleneck(&behind).ends_with("while commits take 10 % of the time."));
        behind.committing = Some(4.0);
        assert_eq!(
            bottleneck(&behind),
            "The commit: the one under way has taken 4 s so far."
        );
        behind.committing = Some(0.4);
        assert!(bottleneck(&behind).starts_with("Kafka: "));
    }
}
