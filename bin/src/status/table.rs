//! The status as a table for a terminal.

use api::{OperatorStatus, StatusBody, Trend};
use std::fmt::Write;

/// Operators that are shown: those that are busy most.
const OPERATORS: usize = 8;

/// The status as lines, the last one ended.
pub(super) fn of(body: &StatusBody) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {}", printable(&value));
    };
    line("phase", phase(body));
    line(
        "commit",
        format!("{}, {} commits/s", grouped(body.commit), body.commits_per_second),
    );
    line("freshness", freshness(body));
    line("rejects", rejects(body));
    if body.gaps > 0 {
        line("gaps", format!("{} offsets", grouped(body.gaps)));
    }
    if let Some(error) = &body.last_error {
        let at = body.last_error_at.as_deref().unwrap_or("at an unknown time");
        line("last error", format!("{at} {error}"));
    }
    line("bottleneck", body.bottleneck.clone());
    text.push('\n');
    text += &columns(&partitions(body), 1);
    if !body.operators.is_empty() {
        text.push('\n');
        text += &columns(&operators(&body.operators), 1);
    }
    text
}

fn phase(body: &StatusBody) -> String {
    let replay = &body.replay;
    match replay.eta_seconds {
        _ if replay.percent >= 100.0 => body.phase.to_string(),
        Some(left) => format!(
            "{}, {} % of history, {} left",
            body.phase,
            replay.percent,
            duration(left)
        ),
        None => format!("{}, {} % of history", body.phase, replay.percent),
    }
}

fn freshness(body: &StatusBody) -> String {
    match (body.freshness_ms.p50, body.freshness_ms.p99) {
        (Some(p50), Some(p99)) => format!("p50 {p50} ms, p99 {p99} ms in the last minute"),
        _ => "no records in the last minute".to_owned(),
    }
}

fn rejects(body: &StatusBody) -> String {
    let total: u64 = body.rejects.values().sum();
    let reasons: Vec<String> = body
        .rejects
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    match reasons.as_slice() {
        [] => "0".to_owned(),
        reasons => format!("{total} ({})", reasons.join(", ")),
    }
}

fn partitions(body: &StatusBody) -> Vec<Vec<String>> {
    let names = ["partition", "lake end", "frontier", "end", "lag", "lag s", "trend"];
    let offset = |offset: Option<i64>| offset.map_or("-".to_owned(), grouped);
    let rows = body.partitions.iter().map(|of| {
        vec![
            format!("{}/{}", of.topic, of.partition),
            offset(of.lake_end),
            offset(of.frontier),
            grouped(of.end),
            grouped(of.lag_records),
            format!("{:.1}", of.lag_seconds),
            match of.trend {
                Trend::Growing => "growing",
                Trend::Shrinking => "shrinking",
                Trend::Steady => "steady",
            }
            .to_owned(),
        ]
    });
    std::iter::once(names.map(str::to_owned).to_vec()).chain(rows).collect()
}

fn operators(operators: &[OperatorStatus]) -> Vec<Vec<String>> {
    let mut busiest: Vec<&OperatorStatus> = operators.iter().collect();
    // stable, so that equal ones do not change places every second
    busiest.sort_by(|a, b| b.busy.total_cmp(&a.busy));
    let rows = busiest.iter().take(OPERATORS).map(|of| {
        vec![
            of.name.clone(),
            of.worker.to_string(),
            format!("{:.1} %", of.busy * 100.0),
            bytes(of.bytes),
        ]
    });
    let names = ["operator", "worker", "busy", "state"].map(str::to_owned).to_vec();
    let mut rows: Vec<Vec<String>> = std::iter::once(names).chain(rows).collect();
    let more = &busiest[OPERATORS.min(busiest.len())..];
    if !more.is_empty() {
        let busy: f64 = more.iter().map(|of| of.busy).sum();
        let kept: usize = more.iter().map(|of| of.bytes).sum();
        let name = format!("{} more", more.len());
        rows.push(vec![name, String::new(), format!("{:.1} %", busy * 100.0), bytes(kept)]);
    }
    rows
}

/// Rows in columns: the first `left` of them begin on the left, the others end on the right.
fn columns(rows: &[Vec<String>], left: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = printable(cell);
            let _ = if column < left {
                write!(line, "{cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Without what would move the cursor: the texts come from a server.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `1,234,567`
/// A number with a comma after each three digits.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(bytes: usize) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// `2 h 05 min`, `3 min 20 s`, `12 s`
/// A time for people.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Latency, PartitionStatus, Percentiles, Phase, ReplayStatus};

    fn body() -> StatusBody {
        let operator = |name: &str, busy, bytes| OperatorStatus {
            name: name.to_owned(),
            worker: 0,
            busy,
            bytes,
        };
        let mut operators = vec![operator("Read", 0.125, 0), operator("posts: latest", 0.25, 5_000_000)];
        operators.extend((0..8).map(|index| operator(&format!("r{index}: count"), 0.01, 512)));
        StatusBody {
            phase: Phase::Live,
            replay: ReplayStatus {
                percent: 100.0,
                eta_seconds: Some(0.0),
            },
            partitions: vec![PartitionStatus {
                topic: "pin".to_owned(),
                partition: 0,
                lake_end: None,
                start: Some(0),
                frontier: Some(11_349),
                end: 11_400,
                lag_records: 51,
                lag_seconds: 0.25,
                trend: Trend::Growing,
            }],
            commit: 1_370,
            commits_per_second: 12.5,
            freshness_ms: Percentiles {
                p50: Some(12.0),
                p99: Some(30.0),
            },
            latency_ms: Latency::default(),
            operators,
            rejects: [("not_json".to_owned(), 3), ("no_key".to_owned(), 1)].into(),
            gaps: 0,
            last_error: Some("cannot reach \x1b[2J Kafka".to_owned()),
            last_error_at: Some("2026-11-29T13:00:00.000Z".to_owned()),
            bottleneck: "Nothing: commits keep up with 812 records/s.".to_owned(),
        }
    }

    #[test]
    fn the_table_is_aligned_and_moves_no_cursor() {
        let expected = "\
phase       live
commit      1,370, 12.5 commits/s
freshness   p50 12 ms, p99 30 ms in the last minute
rejects     4 (no_key 1, not_json 3)
last error  2026-11-29T13:00:00.000Z cannot reach  [2J Kafka
bottleneck  Nothing: commits keep up with 812 records/s.

partition  lake end  frontier     end  lag  lag s    trend
pin/0             -    11,349  11,400   51    0.2  growing

operator       worker    busy    state
posts: latest       0  25.0 %  4.8 MiB
Read                0  12.5 %      0 B
r0: count           0   1.0 %    512 B
r1: count           0   1.0 %    512 B
r2: count           0   1.0 %    512 B
r3: count           0   1.0 %    512 B
r4: count           0   1.0 %    512 B
r5: count           0   1.0 %    512 B
2 more                  2.0 %  1.0 KiB
";
        assert_eq!(of(&body()), expected);
    }

    #[test]
    fn a_replay_says_how_far_it_is() {
        let mut replaying = body();
        replaying.phase = Phase::Replaying;
        replaying.replay = ReplayStatus {
            percent: 42.1,
            eta_seconds: Some(200.0),
        };
        assert!(of(&replaying).starts_with("phase       replaying, 42.1 % of history, 3 min 20 s left\n"));
        replaying.replay.eta_seconds = None;
        assert!(of(&replaying).starts_with("phase       replaying, 42.1 % of history\n"));
        let texts = [0.4, 59.0, 3_600.0, 7_500.0].map(duration);
        assert_eq!(texts, ["0 s", "59 s", "1 h 00 min", "2 h 05 min"]);
        assert_eq!(
            [0, 999, -1_000, 1_234_567].map(grouped),
            ["0", "999", "-1,000", "1,234,567"]
        );
    }
}
