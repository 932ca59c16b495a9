//! What a verification finds, and the text of it.

use super::differing::Differing;
use super::error::VerifyError;
use ingest::coverage::Gap;
use sinks::{AcceptedGap, PartitionProgress, Progress};
use std::fmt::{self, Display, Formatter};

/// Characters shown of one value.
const WIDTH: usize = 60;

/// One thing that is found while a verification goes on. Its text is a line or several, each with its end.
#[derive(Debug)]
pub enum Finding<'a> {
    /// What is verified. Comes before each comparison.
    Commit(Commit<'a>),
    /// Offsets that the tables answer for and the log has no longer; the verification ends with
    /// [`VerifyError::Lost`].
    Gap(&'a Gap),
    /// Lake and Kafka have been read again.
    Replayed {
        /// Records, each arrival counted.
        records: u64,
        /// Those that were rejected.
        rejected: u64,
    },
    /// Tables that are about to be repaired.
    Differ(&'a [Differing]),
    /// A live run is about to be fenced.
    TakingOver,
    /// The fence was taken, and no table differs.
    NothingToRepair,
    /// This table was repaired.
    Repaired(&'a Differing),
}

/// The commit that the tables stand at.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Its number, frontier, accepted gaps and history without offsets.
    pub progress: &'a Progress,
    /// Dead letters in the tables by reason.
    pub rejects: &'a [(String, u64)],
    /// Dead letters that the limits of the table left no room for.
    pub dropped: u64,
}

/// What a verification has come to. Its text is the verdict, or the rows that differ.
#[derive(Debug)]
pub struct Report {
    /// The commit that was verified.
    pub progress: Progress,
    /// How many tables were compared; none after a repair without cleaned tables, when nothing is left to compare with.
    pub tables: Option<usize>,
    /// Those that differ.
    pub differing: Vec<Differing>,
}

impl Report {
    /// Whether the tables hold what they should.
    ///
    /// # Errors
    /// [`VerifyError::Differ`] names the tables that differ.
    pub fn check(&self) -> Result<(), VerifyError> {
        match self.differing.as_slice() {
            [] => Ok(()),
            differing => Err(VerifyError::Differ {
                tables: self.tables.unwrap_or(differing.len()),
                names: differing.iter().map(|table| table.name).collect(),
            }),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let frontier = Frontier(&self.progress);
        match self.tables {
            _ if !self.differing.is_empty() => write_rows(f, &self.differing),
            Some(tables) => writeln!(f, "ok: {tables} tables agree at frontier {frontier}"),
            None => writeln!(f, "ok: the tables agree with the log at frontier {frontier}"),
        }
    }
}

impl Display for Finding<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Commit(commit) => commit.fmt(f),
            Finding::Gap(gap) => writeln!(f, "{gap}"),
            Finding::Replayed { records, rejected } => {
                let accepted = records - rejected;
                writeln!(
                    f,
                    "replayed {records} records = {accepted} accepted + {rejected} rejected"
                )
            }
            Finding::Differ(differing) => write_rows(f, differing),
            Finding::TakingOver => writeln!(f, "taking over the schema for repair"),
            Finding::NothingToRepair => writeln!(f, "nothing to repair"),
            Finding::Repaired(Differing {
                name, missing, surplus, ..
            }) => writeln!(f, "repaired {name}: {missing} missing, {surplus} surplus"),
        }
    }
}

impl Display for Commit<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let progress = self.progress;
        writeln!(f, "commit {} at frontier {}", progress.commits, Frontier(progress))?;
        if progress.legacy.count > 0 {
            writeln!(f, "history without offsets: {} records", progress.legacy.count)?;
        }
        for gap in &progress.gaps {
            let AcceptedGap {
                topic,
                partition,
                from,
                to,
                reason,
                object,
            } = gap;
            match object {
                Some(object) => writeln!(f, "gap {topic} object {object} ({reason})")?,
                None => writeln!(f, "gap {topic}/{partition} {from}..{to} ({reason})")?,
            }
        }
        let total: u64 = self.rejects.iter().map(|(_, count)| count).sum();
        write!(f, "rejects: {total}")?;
        let reasons = self.rejects.iter().map(|(reason, count)| format!("{reason} {count}"));
        let reasons: Vec<String> = reasons.collect();
        if !reasons.is_empty() {
            write!(f, " ({})", reasons.join(", "))?;
        }
        if self.dropped > 0 {
            write!(f, ", {} dropped", self.dropped)?;
        }
        f.write_str("\n")
    }
}

/// `pin/0 1234, geo/0 1230`
struct Frontier<'a>(&'a Progress);

impl Display for Frontier<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let partition = |((topic, partition), known): (&(String, i32), &PartitionProgress)| {
            format!("{topic}/{partition} {}", known.next)
        };
        let partitions: Vec<String> = self.0.partitions.iter().map(partition).collect();
        match partitions.as_slice() {
            [] => f.write_str("of no partition"),
            partitions => f.write_str(&partitions.join(", ")),
        }
    }
}

/// The rows in which tables differ.
fn write_rows(f: &mut Formatter<'_>, differing: &[Differing]) -> fmt::Result {
    for table in differing {
        let Differing {
            name,
            columns,
            missing,
            surplus,
            ..
        } = table;
        writeln!(
            f,
            "{name} ({}): {missing} missing, {surplus} surplus",
            columns.join(", ")
        )?;
        for (side, rows, count) in [
            ("missing", &table.missing_rows, missing),
            ("surplus", &table.surplus_rows, surplus),
        ] {
            for row in rows {
                let values: Vec<String> = row.iter().map(|value| shown(value.as_deref())).collect();
                writeln!(f, "  {side}: {}", values.join(" | "))?;
            }
            match count.saturating_sub(rows.len() as u64) {
                0 => {}
                more => writeln!(f, "  {side}: and {more} more")?,
            }
        }
    }
    Ok(())
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
    use sinks::Legacy;

    fn head(progress: &Progress, rejects: &[(String, u64)], dropped: u64) -> String {
        let commit = Commit {
            progress,
            rejects,
            dropped,
        };
        Finding::Commit(commit).to_string()
    }

    fn report(tables: Option<usize>, differing: Vec<Differing>) -> Report {
        Report {
            progress: Progress::default(),
            tables,
            differing,
        }
    }

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
            gaps: [AcceptedGap {
                topic: "pin".into(),
                partition: 1,
                from: 2,
                to: 4,
                reason: "accepted".into(),
                object: None,
            }]
            .into(),
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
        assert_eq!(Finding::Differ(std::slice::from_ref(&table)).to_string(), expected);
        let report = report(Some(3), vec![table]);
        assert_eq!(report.to_string(), expected);
        let failure = report.check().unwrap_err().to_string();
        assert_eq!(failure, "1 of 3 tables differ: t");
    }

    #[test]
    fn a_report_without_differences_is_good() {
        let compared = report(Some(3), Vec::new());
        assert_eq!(compared.to_string(), "ok: 3 tables agree at frontier of no partition\n");
        assert!(compared.check().is_ok());
        let repaired = report(None, Vec::new());
        assert_eq!(
            repaired.to_string(),
            "ok: the tables agree with the log at frontier of no partition\n"
        );
    }
}
