//! Connect's layouts: the folders of an object say nothing, its name everything.

use crate::lines;
use anyhow::{Context, Result, anyhow, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::case::{Case, History, SOON, each, stop};
use pinflow_tests::lake::gzip;
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{LakeFolder, Pinflow, Producer};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Records of an object.
const PER_OBJECT: usize = 10;

/// The key of an object without `.json`, by its topic, its name and its number in its partition.
type Layout = fn(&str, &str, usize) -> String;

/// An hour's folder, as of a time-based partitioner.
fn hour(number: usize) -> String {
    format!("year=2024/month=03/day={:02}/hour={:02}", 9 + number / 3, number % 24)
}

const LAYOUTS: [(&str, Layout, bool); 5] = [
    ("flat", |_, name, _| name.to_owned(), false),
    (
        "by_partition",
        |topic, name, _| {
            let partition = name.rsplit('+').nth(1).unwrap_or_default();
            format!("topics/{topic}/partition={partition}/{name}")
        },
        false,
    ),
    (
        "by_time",
        |topic, name, number| format!("topics/{topic}/{}/{name}", hour(number)),
        false,
    ),
    (
        "by_time_packed",
        |topic, name, number| format!("{topic}/{}/{name}", hour(number)),
        true,
    ),
    (
        "by_field",
        |topic, name, number| format!("raw/2024/{topic}/country=C+te d'Ivoire {}/{name}", number % 2),
        false,
    ),
];

/// Writes the first 60 % of each partition; returns how many records that are. `layout` is chosen by an object's number.
fn write(lake: &LakeFolder, workload: &Workload, layout: impl Fn(usize) -> usize) -> Result<u64> {
    let mut written = 0;
    for ((kind, partition), entries) in &workload.log {
        let topic = TOPICS[usize::from(*kind)];
        let archived = &entries[..entries.len() * 6 / 10];
        for (number, chunk) in archived.chunks(PER_OBJECT).enumerate() {
            let start = number * PER_OBJECT;
            let (_, key, packed) = LAYOUTS[layout(number)];
            put(
                lake,
                &key(topic, &format!("{topic}+{partition}+{start:010}"), number),
                packed,
                &lines(chunk),
            )?;
            written += chunk.len() as u64;
        }
    }
    Ok(written)
}

fn put(lake: &LakeFolder, key: &str, packed: bool, lines: &[u8]) -> Result<()> {
    if packed {
        lake.put(&format!("{key}.json.gz"), &gzip(&[lines])?)
    } else {
        lake.put(&format!("{key}.json"), lines)
    }
}

/// Two objects a layout, each of which was begun by a writer that had lost its place: its first object begins in the middle
/// of the one before.
fn write_mixed(lake: &LakeFolder, workload: &Workload) -> Result<u64> {
    let layout = |number: usize| number / 2 % LAYOUTS.len();
    let mut written = write(lake, workload, layout)?;
    for ((kind, partition), entries) in &workload.log {
        let topic = TOPICS[usize::from(*kind)];
        let archived = &entries[..entries.len() * 6 / 10];
        let starts = (PER_OBJECT * 3 / 2..).step_by(2 * PER_OBJECT);
        for start in starts.take_while(|start| start + PER_OBJECT < archived.len()) {
            let number = start / PER_OBJECT + 1;
            let (_, key, packed) = LAYOUTS[layout(number)];
            let name = format!("{topic}+{partition}+{start:010}");
            let again = &archived[start..start + PER_OBJECT];
            put(lake, &key(topic, &name, number), packed, &lines(again))?;
            written += again.len() as u64;
        }
    }
    Ok(written)
}

/// The files of a folder, by name.
pub fn contents(folder: &Path) -> Result<BTreeMap<String, String>> {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        Ok((entry.file_name().to_string_lossy().into_owned(), text))
    };
    std::fs::read_dir(folder)?.map(file).collect()
}

/// A number of a backfill's summary.
pub fn counted(summary: &Path, field: &str) -> Result<u64> {
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(summary)?)?;
    summary[field]
        .as_u64()
        .with_context(|| format!("no {field} in {summary}"))
}

#[test]
fn every_layout_of_the_same_log_gives_the_same_answer() -> Result<()> {
    let case = Case::new("layouts", 0, History::Nowhere)?;
    let (kafka, url) = (case.kafka, case.postgres.url());
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(73, 2);
    workload.produce(&producer, 900)?;
    // what the lake alone has
    for ((kind, partition), entries) in &workload.log {
        let before = entries.len() as i64 * 4 / 10;
        kafka.delete_records(TOPICS[usize::from(*kind)], *partition, before)?;
    }
    let mut lakes = Vec::new();
    for (number, name) in LAYOUTS.iter().map(|(name, ..)| *name).chain(["mixed"]).enumerate() {
        let lake = LakeFolder::new(case.folder().join(name).join("lake"));
        std::fs::create_dir_all(lake.root())?;
        let written = match LAYOUTS.get(number) {
            Some(_) => write(&lake, &workload, |_| number)?,
            None => write_mixed(&lake, &workload)?,
        };
        lakes.push((name, lake, written));
    }
    let (sender, ended) = sync_channel(lakes.len());
    each(lakes, |(name, lake, written)| {
        let folder = case.folder().join(name);
        let (out, summary) = (folder.join("out"), folder.join("summary"));
        let backfill = Pinflow::new("backfill").lake(&lake).args(["--out"]).args([&out]);
        backfill.args(["--summary"]).args([&summary]).succeed(SOON)?;
        let read = counted(&summary, "records")?;
        ensure!(read == written, "{name}: {read} records were read of {written}");
        let run = Pinflow::new("run").lake(&lake).kafka(kafka).postgres(case.postgres);
        let run = run.args(["--schema", name]).start()?;
        let ended = (name, contents(&out)?, run);
        sender.send(ended).map_err(|_| anyhow!("nobody waits for {name}"))
    })?;
    drop(sender);
    let ended: Vec<_> = ended.into_iter().collect();
    let (first, flat, _) = &ended[0];
    for (name, files, _) in &ended {
        ensure!(files == flat, "the files of {name} differ from those of {first}");
    }
    // the tables too, which go on alike, with each row from the same place of the log
    for more in [0, 90] {
        workload.produce(&producer, more)?;
        for (name, _, run) in &ended {
            demand_answer(&workload, &url, name, 10, SOON)
                .with_context(|| run.tail())
                .with_context(|| format!("{name}, {more} live records"))?;
        }
    }
    let shown = case.shown(first)?;
    for (name, _, _) in &ended {
        ensure!(
            case.shown(name)? == shown,
            "the tables of {name} differ from those of {first}"
        );
    }
    ended.into_iter().try_for_each(|(_, _, run)| stop(run))
}
