//! What `verify` prints.

use super::compare::Differing;
use sinks::Progress;
use std::fmt::Write;

/// Characters shown of one value.
const WIDTH: usize = 60;

/// Frontier, accepted gaps and dead letters.
pub fn head(progress: &Progress, rejects: &[(String, u64)], dropped: u64) -> String {
    let mut text = format!("commit {} at frontier {}\n", progress.commits, frontier(progress));
    if progress.legacy.count > 0 {
        let _ = writeln!(text, "history without offsets: {} records", progress.legacy.count);
    }
    for gap in &progress.gaps {
        let sinks::AcceptedGap {
            topic,
            partition,
            from,
            to,
            reason,
            object,
        } = gap;
        let _ = match object {
            Some(object) => writeln!(text, "gap {topic} object {object} ({reason})"),
            None => writeln!(text, "gap {topic}/{partition} {from}..{to} ({reason})"),
        };
    }
    let total: u64 = rejects.iter().map(|(_, count)| count).sum();
    let _ = write!(text, "rejects: {total}");
    let reasons: Vec<String> = rejects
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if !reasons.is_empty() {
        let _ = write!(text, " ({})", reasons.join(", "));
    }
    if dropped > 0 {
        let _ = write!(text, ", {dropped} dropped");
    }
    text.push('\n');
    text
}

/// `pin/0 1234, geo/0 1230`
pub fn frontier(progress: &Progress) -> String {
    let partition = |((topic, partition), known): (&(String, i32), &sinks::PartitionProgress)| {
        format!("{topic}/{partition} {}", known.next)
    };
    let partitions: Vec<String> = progress.partitions.iter().map(partition).collect();
    if partitions.is_empty() {
        "of no partition".to_owned()
    } else {
        partitions.join(", ")
    }
}

/// The rows in which tables differ.
pub fn differences(differing: &[Differing]) -> String {
    let mut text = String::new();
    for table in differing {
        let Differing {
            name,
            columns,
            missing,
            surplus,
            ..
        } = table;
        let _ = writeln!(
            text,
            "{name} ({}): {missing} missing, {surplus} surplus",
            columns.join(", ")
        );
        for (side, rows, count) in [
            ("missing", &table.missing_rows, missing),
            ("surplus", &table.surplus_rows, surplus),
        ] {
            for row in rows {
                let values: Vec<String> = row.iter().map(|value| shown(value.as_deref())).collect();
                let _ = writeln!(text, "  {side}: {}", values.join(" | "));
            }
            match count.saturating_sub(rows.len() as u64) {
                0 => {}
                more => drop(writeln!(text, "  {side}: and {more} more")),
            }
        }
    }
    text
}

/// One line of at most [`WIDTH`] characters.
fn shown(value: Option<&str>) -> String {
    let Some(value) = value else { return "null".to_owned() };
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut cut: String = value.chars().take(WIDTH).map(line).collect();
    if value.chars().nth(WIDTH).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinks::{AcceptedGap, Legacy, PartitionProgress};

    #[test]
    fn the_head_names_frontier_gaps_and_rejects() {
        let partition = |next| PartitionProgress {
            next,
            ..PartitionProgress::default()
        };
        let progress = Progress {
            commits: 7,
            partitions: [
                (("pin".to_owned(), 1), partition(5)),
                (("geo".to_owned(), 0), partition(3)),
            ]
            .into(),
            gaps: vec![AcceptedGap {
                topic: "pin".into(),
                partition: 1,
                from: 2,
                to: 4,
                reason: "accepted".into(),
                object: None,
            }],
            legacy: Legacy { count: 9, hash: 1 },
            ..Progress::default()
        };
        let rejects = [("empty".to_owned(), 2), ("no_key".to_owned(), 1)];
        assert_eq!(
            head(&progress, &rejects, 7),
            "commit 7 at frontier geo/0 3, pin/1 5\nhistory without offsets: 9 records\ngap pin/1 2..4 (accepted)\n\
             rejects: 3 (empty 2, no_key 1), 7 dropped\n"
        );
        assert_eq!(
            head(
                &Progress {
                    commits: 1,
                    ..Progress::default()
                },
                &[],
                0
            ),
            "commit 1 at frontier of no partition\nrejects: 0\n"
        );
    }

    #[test]
    fn rows_are_one_line_each_and_the_rest_is_counted() {
        let table = Differing {
            name: "t",
            columns: vec!["a", "b"],
            missing: 1,
            surplus: 30,
            missing_rows: vec![vec![Some("x\ny".into()), None]],
            surplus_rows: vec![vec![Some("é".repeat(70)), Some("2".into())]],
            ..Differing::default()
        };
        let expected = format!(
            "t (a, b): 1 missing, 30 surplus\n  missing: x y | null\n  surplus: {}… | 2\n  surplus: and 29 more\n",
            "é".repeat(60)
        );
        assert_eq!(differences(&[table]), expected);
    }
}
