//! A compaction beside a reader: whatever the reader has listed or begun to read, each record is in its answer once.

use crate::{Bucket, Hold, reads_records};
use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::case::{Case, History, SOON, each};
use pinflow_tests::{Fault, Pinflow, S3Server, files};

/// Where the reader stands when the compaction comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// It has asked for a listing.
    Listing,
    /// It has listed everything and read nothing.
    Listed,
    /// Bodies are broken in their middle, and are asked for from there.
    Body,
}

/// Bytes of a body before it breaks.
const BROKEN: u64 = 1_000;

/// A lake whose reader has come to a moment, and a schema for it.
struct Reader {
    bucket: Bucket,
    /// Serves the same lake, without faults.
    other: S3Server,
    case: Case,
    hold: Hold,
}

impl Reader {
    fn new(name: &str, moment: Moment) -> Result<Reader> {
        let bucket = Bucket::fill(74, 600, 10)?;
        let other = S3Server::start(bucket.folder.path().join("s3"))?;
        let server = &bucket.server;
        let hold = match moment {
            Moment::Listing => Hold::new(server, |seen| seen.is_list()),
            Moment::Listed => Hold::new(server, reads_records),
            Moment::Body => Hold::with(
                server,
                |seen| reads_records(seen) && seen.before > 0,
                |seen| match seen.before {
                    0 if reads_records(seen) => Fault::Cut(BROKEN),
                    _ => Fault::None,
                },
            ),
        };
        let case = Case::new(name, 0, History::Nowhere)?;
        Ok(Reader {
            bucket,
            other,
            case,
            hold,
        })
    }

    fn backfill(&self) -> Pinflow {
        let backfill = self.bucket.command("backfill").postgres(self.case.postgres);
        backfill.args(["--schema", &self.case.name, "-w", "2"])
    }

    fn compact(&self, target_bytes: &str, keep: &str) -> Pinflow {
        let compact = Pinflow::new("compact").s3(&self.other, "history/topics");
        compact.args(["--target-bytes", target_bytes, "--keep", keep])
    }

    /// Objects with records.
    fn objects(&self) -> Result<usize> {
        let all = files(self.bucket.lake.root())?;
        let of_log = |path: &&std::path::PathBuf| path.to_string_lossy().contains('+');
        Ok(all.iter().filter(of_log).count())
    }

    fn demand(&self) -> Result<()> {
        demand_answer(
            &self.bucket.workload,
            &self.case.postgres.url(),
            &self.case.name,
            10,
            SOON,
        )?;
        let gaps = format!("SELECT count(*) FROM {}.gaps", self.case.name);
        let gaps = self.case.database()?.number(&gaps)?;
        ensure!(gaps == 0, "{gaps} gaps are recorded");
        let verify = Pinflow::new("verify").postgres(self.case.postgres);
        verify.args(["--schema", &self.case.name]).succeed(SOON).map(drop)
    }
}

#[test]
fn a_compaction_that_keeps_what_it_replaced_disturbs_no_reader() -> Result<()> {
    each(
        vec![
            ("kept_listing", Moment::Listing),
            ("kept_listed", Moment::Listed),
            ("kept_body", Moment::Body),
        ],
        |(name, moment)| {
            let reader = Reader::new(name, moment)?;
            let before = reader.objects()?;
            let mut backfill = reader.backfill().start()?;
            reader.hold.reached()?;
            reader.compact("20000", "1h").succeed(SOON)?;
            ensure!(reader.objects()? > before, "nothing was merged");
            // more of it is merged, now that the merged ones are small
            reader.compact("1000000", "1h").succeed(SOON)?;
            reader.hold.release();
            backfill.expect(0, SOON).with_context(|| format!("{moment:?}"))?;
            reader.demand().with_context(|| format!("{moment:?}"))
        },
    )
}

#[test]
fn a_reader_whose_objects_are_removed_answers_without_them_or_ends() -> Result<()> {
    each(
        vec![
            ("removed_listed", Moment::Listed, 1, false),
            ("removed_body", Moment::Body, 1, false),
            ("removed_skipping", Moment::Listed, 0, true),
            ("removed_body_skipping", Moment::Body, 0, true),
        ],
        |(name, moment, code, skip)| {
            let reader = Reader::new(name, moment)?;
            let before = reader.objects()?;
            let skip = if skip { &["--skip-unreadable"][..] } else { &[] };
            let mut backfill = reader.backfill().args(skip).start()?;
            reader.hold.reached()?;
            reader.compact("20000", "0s").succeed(SOON)?;
            ensure!(reader.objects()? < before / 2, "nothing was removed");
            reader.hold.release();
            backfill.expect(code, SOON).with_context(|| name.to_owned())?;
            if code != 0 {
                let said = backfill.stderr();
                ensure!(said.contains(".json") && said.contains("error: "), "{said}");
                let commits = format!("SELECT commits FROM {}.progress", reader.case.name);
                ensure!(
                    reader.case.database()?.number(&commits)? == 0,
                    "{name}: a part was committed"
                );
                reader.backfill().succeed(SOON)?;
            }
            reader.demand().with_context(|| name.to_owned())
        },
    )
}

/// What is left then: merged objects beside all, or some, of those that they replace.
#[test]
fn a_compaction_that_dies_beside_a_reader_changes_no_answer() -> Result<()> {
    each(
        vec![
            ("died_before_delete", Moment::Listing, "compact_before_delete"),
            ("died_during_delete", Moment::Listing, "compact_during_delete=10"),
            ("died_after_listing", Moment::Listed, "compact_after_put=2"),
        ],
        |(name, moment, at)| {
            let reader = Reader::new(name, moment)?;
            let mut backfill = reader.backfill().start()?;
            reader.hold.reached()?;
            let mut compact = reader.compact("20000", "0s").env("PINFLOW_FAILPOINT", at).start()?;
            compact.wait_for("fail point", SOON)?;
            compact.wait(SOON)?;
            reader.hold.release();
            backfill.expect(0, SOON).with_context(|| name.to_owned())?;
            reader.demand().with_context(|| name.to_owned())
        },
    )
}
