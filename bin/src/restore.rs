//! `pinflow restore`: the wiring around the restore: settings, keys of records, signals, progress, the report.

use crate::config::{ConfigError, RestoreSettings};
use crate::delete_line::{TombstoneKeys, ind_of};
use crate::exit::Failure;
use crate::lake::{failed, open, runtime};
use crate::{gateway, output, signals};
use causes::with_causes;
use dataflows::{Kind, Limits};
use ingest::coverage::{Gap, OrderConflict};
use ingest::restore::{
    Meaning, Observer, PartitionReport, Pass, RestoreError, RestoreOptions, RestoreReport, RestoreTopic,
    check_properties, restore,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use workload::progress::{Progress, ProgressStyle};

/// Restores, and says what was done.
pub fn run(settings: &RestoreSettings) -> Result<(), Failure> {
    if let Err(error) = check_properties(&settings.kafka) {
        return Err(ConfigError::one(with_causes(&error)).into());
    }
    let runtime = runtime()?;
    let lake = open(&runtime, &settings.lake)?;
    let stop = signals::stop("the same command goes on from there").map_err(failed)?;
    let observer = Arc::new(Shown::default());
    let mut stopped = stop.clone();
    let grown = runtime.block_on(async {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => Ok(BTreeSet::new()),
            grown = engine::grown_topics(&lake) => grown,
        }
    });
    let grown = grown.map_err(failed)?;
    for topic in settings.topics.iter().flatten().filter(|topic| grown.contains(*topic)) {
        tracing::warn!(
            "topic {topic} got more partitions in its life: where a key has records in several partitions, their order \
             is not that of offsets alone (see docs/restore.md)"
        );
    }
    let ended = runtime.block_on(restore(lake, options(settings), observer, stop));
    let report = match ended {
        Ok(report) => report,
        // as every command that a signal has ended in order; there is no report
        Err(error @ RestoreError::Stopped) => {
            tracing::warn!("{error}");
            return Ok(());
        }
        Err(error @ RestoreError::Fenced { .. }) => return Err(Failure::Fenced(with_causes(&error))),
        Err(error) => return Err(failed(error)),
    };
    if settings.json {
        let json = serde_json::to_string_pretty(&report).map_err(failed)?;
        return output::print(format_args!("{json}\n"));
    }
    output::print(text(&report))
}

fn options(settings: &RestoreSettings) -> RestoreOptions {
    let named = Kind::ALL.into_iter().zip(&settings.topics).zip(settings.required);
    let named = named.filter_map(|((kind, topic), required)| Some((kind, topic.clone()?, required)));
    let (kinds, topics): (Vec<Kind>, Vec<RestoreTopic>) = named
        .map(|(kind, name, required)| {
            let into = settings.renamed(&name);
            (kind, RestoreTopic { name, into, required })
        })
        .unzip();
    RestoreOptions {
        kafka: settings.kafka.clone(),
        topics,
        create_topics: settings.create_topics,
        accept_gaps: settings.accept_gaps.clone(),
        skip_legacy: settings.skip_legacy,
        objects_in_flight: settings.lake.objects_in_flight,
        meaning: Arc::new(Keys {
            fields: gateway::key_fields(),
            tombstones: TombstoneKeys::new(kinds, Limits::default()),
        }),
    }
}

/// The keys that the gateway gives to records.
struct Keys {
    fields: Vec<String>,
    tombstones: TombstoneKeys,
}

impl Meaning for Keys {
    fn key_of_value(&self, _: u8, value: &[u8]) -> Option<Vec<u8>> {
        let ind = ::gateway::key_in_value(value, &self.fields)?;
        Some(ind.to_string().into_bytes())
    }

    fn deleted_by_line(&self, _: u8, line: &[u8]) -> Option<Vec<u8>> {
        Some(ind_of(line)?.to_string().into_bytes())
    }

    fn deleted_by_key(&self, topic: u8, line: &[u8]) -> Vec<u8> {
        match self.tombstones.ind(topic, line) {
            Some(ind) => ind.to_string().into_bytes(),
            None => line.to_vec(),
        }
    }
}

/// What a restore shows of itself while it runs.
#[derive(Default)]
struct Shown(Mutex<Option<Progress>>);

impl Shown {
    fn progress(&self) -> std::sync::MutexGuard<'_, Option<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Shown {
    fn gap(&self, gap: &Gap) {
        eprintln!("{gap}");
    }

    fn order(&self, conflict: &OrderConflict) {
        eprintln!("{conflict}");
    }

    fn begins(&self, pass: Pass, objects: u64, bytes: u64) {
        match pass {
            Pass::Write => tracing::info!("writing the records of {objects} objects"),
            Pass::Compare => tracing::info!("reading the records back"),
        }
        let progress = Progress::start(ProgressStyle::for_terminal());
        progress.total(objects, bytes);
        *self.progress() = Some(progress);
    }

    fn object(&self, records: u64, bytes: u64) {
        if let Some(progress) = &*self.progress() {
            progress.object(records, bytes, 0);
        }
    }

    fn ends(&self, _: Pass) {
        if let Some(progress) = self.progress().take() {
            progress.finish();
        }
    }
}

/// The report as text, one line a partition.
fn text(report: &RestoreReport) -> String {
    let mut text = String::new();
    for partition in &report.partitions {
        line(&mut text, partition);
    }
    let partitions = match report.partitions.len() {
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    };
    let sum = |count: fn(&PartitionReport) -> u64| report.partitions.iter().map(count).sum::<u64>();
    let _ = writeln!(
        text,
        "restored {} records of {partitions}, {} of them now; all were read back and are the same",
        sum(|partition| partition.records),
        sum(|partition| partition.written)
    );
    text
}

fn line(text: &mut String, found: &PartitionReport) {
    let PartitionReport {
        topic,
        into,
        partition,
        records,
        kafka: (first, end),
        ..
    } = found;
    let lake = found
        .lake
        .map(|(from, to)| format!(" of {from}..{to}"))
        .unwrap_or_default();
    let renamed = if topic == into {
        String::new()
    } else {
        format!(" into {into}")
    };
    let kept = if found.offsets_kept {
        "offsets kept".to_owned()
    } else {
        format!("now at {first}..{end}, the original offsets in the header pinflow.offset")
    };
    let _ = writeln!(text, "{topic}/{partition}{renamed}: {records} records{lake}, {kept}");
    if found.inexact_objects > 0 {
        let _ = writeln!(
            text,
            "  {} objects lack records within or after their range: the original offsets of their records may be higher",
            found.inexact_objects
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::{Offset, Partition};

    #[test]
    fn the_report_says_where_records_are_now() {
        let kept = PartitionReport {
            topic: "pin".into(),
            into: "pin".into(),
            partition: Partition(0),
            records: 1000,
            written: 400,
            lake: Some((Offset(0), Offset(1000))),
            kafka: (Offset(0), Offset(1000)),
            offsets_kept: true,
            gaps: Vec::new(),
            inexact_objects: 0,
        };
        let moved = PartitionReport {
            into: "pin.2".into(),
            partition: Partition(3),
            records: 450,
            written: 450,
            lake: Some((Offset(500), Offset(1000))),
            kafka: (Offset(0), Offset(450)),
            offsets_kept: false,
            inexact_objects: 2,
            ..kept.clone()
        };
        let report = RestoreReport {
            partitions: vec![kept, moved],
        };
        assert_eq!(
            text(&report),
            "pin/0: 1000 records of 0..1000, offsets kept\n\
             pin/3 into pin.2: 450 records of 500..1000, now at 0..450, the original offsets in the header \
             pinflow.offset\n  2 objects lack records within or after their range: the original offsets of their \
             records may be higher\n\
             restored 1450 records of 2 partitions, 850 of them now; all were read back and are the same\n"
        );
    }

    #[test]
    fn keys_are_those_of_the_gateway() {
        let keys = Keys {
            fields: gateway::key_fields(),
            tombstones: TombstoneKeys::new(vec![Kind::Pin], Limits::default()),
        };
        let key = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(keys.key_of_value(0, br#"{"index":7,"category":"art"}"#), key("7"));
        assert_eq!(keys.key_of_value(0, br#"[{"value":{"ind":"8"}}]"#), key("8"));
        assert_eq!(keys.key_of_value(0, b"no JSON"), None);
        assert_eq!(keys.deleted_by_line(0, br#"{"ind":7,"__deleted":true}"#), key("7"));
        assert_eq!(keys.deleted_by_line(0, br#"{"ind":7}"#), None);
        assert_eq!(keys.deleted_by_key(0, br#""7""#), b"7");
        assert_eq!(keys.deleted_by_key(0, b"seven"), b"seven");
    }
}
