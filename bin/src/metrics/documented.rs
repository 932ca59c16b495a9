//! All metrics as their page describes them, from what the registries write: no name, type or text of it is written
//! twice.

use super::Metrics;
use super::taken::Takes;
use api::Status;
use engine::{Observer, OperatorTaken, Reached, Source, Taken};
use ingest::{Offset, Partition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// Its name, with `_total` or `_info`, and without the endings of a histogram's series.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    /// What it counts in; empty when it has no unit.
    pub unit: String,
    /// Its labels, without `le`.
    pub labels: Vec<String>,
    /// What it means.
    pub help: String,
}

impl Documented {
    /// The names of its series.
    pub fn series(&self) -> Vec<String> {
        match self.kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"]
                .map(|end| format!("{}{end}", self.name))
                .into(),
            _ => vec![self.name.clone()],
        }
    }
}

/// Metrics by who has them: `run`, `archive`, `gateway`, `bridge`, and all of these.
pub fn documented() -> [(&'static str, Vec<Documented>); 5] {
    let of_all = |metric: &Documented| metric.name.starts_with("process_") || metric.name == "pinflow_build_info";
    let of_one =
        |text: String| -> Vec<Documented> { families(&text).into_iter().filter(|metric| !of_all(metric)).collect() };
    let run = example_of_run();
    let all = families(&run).into_iter().filter(of_all).collect();
    [
        ("run", of_one(run)),
        ("archive", of_one(crate::archive::example_metrics())),
        ("gateway", of_one(gateway::example_metrics())),
        ("bridge", of_one(crate::bridge::example_metrics())),
        ("all", all),
    ]
}

/// What a text in the OpenMetrics format describes.
pub fn families(text: &str) -> Vec<Documented> {
    let mut families: Vec<Documented> = Vec::new();
    let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            let (name, help) = described.split_once(' ').unwrap_or((described, ""));
            families.push(Documented {
                name: name.to_owned(),
                kind: String::new(),
                unit: String::new(),
                labels: Vec::new(),
                // the format's own full stop
                help: help.trim_end_matches('.').to_owned(),
            });
        } else if let (Some(described), Some(last)) = (line.strip_prefix("# TYPE "), families.last_mut()) {
            last.kind = described.rsplit(' ').next().unwrap_or_default().to_owned();
        } else if let Some((series, rest)) = line.split_once('{') {
            let inside = rest.rsplit_once('}').map_or("", |(inside, _)| inside);
            let names = inside
                .split("\",")
                .filter_map(|label| Some(label.split_once("=\"")?.0.to_owned()));
            labels.insert(series.to_owned(), names.filter(|name| name != "le").collect());
        }
    }
    for family in &mut families {
        family.name += match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        family.unit = unit(&family.name).to_owned();
        family.labels = family
            .series()
            .iter()
            .find_map(|series| labels.get(series).cloned())
            .unwrap_or_default();
    }
    families
}

/// The unit that a name ends with.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let name = name.strip_suffix("_expected").unwrap_or(name);
    let units = [
        ("_timestamp_seconds", "seconds since 1970"),
        ("_start_time_seconds", "seconds since 1970"),
        ("_seconds", "seconds"),
        ("_bytes", "bytes"),
        ("_records", "records"),
        ("_rows_changed", "rows"),
        ("_offset", "offset"),
        ("_offsets", "offsets"),
        ("_objects", "objects"),
        ("_requests", "requests"),
        ("_connections", "connections"),
        ("_lines", "lines"),
    ];
    units
        .iter()
        .find(|(end, _)| name.ends_with(end))
        .map_or("", |(_, unit)| unit)
}

/// What an example takes.
struct Example;

impl Takes for Example {
    fn results(&self) -> Vec<(String, Taken)> {
        vec![("users_joined_by_year".to_owned(), taken())]
    }

    fn operators(&self) -> Vec<OperatorTaken> {
        vec![OperatorTaken {
            name: "posts: latest".to_owned(),
            worker: 1,
            taken: taken(),
        }]
    }
}

fn taken() -> Taken {
    Taken {
        busy: Duration::from_millis(500),
        bytes: 68,
    }
}

/// Everything that a run writes, with a value each.
pub(super) fn example_of_run() -> String {
    let status = Arc::new(Status::new(None, || None));
    status.kafka("pin", Partition(0), Offset::range(2..49));
    status.frontier(
        "pin",
        Partition(0),
        Reached {
            next: Offset(42),
            newest: Some(0),
        },
    );
    let metrics = Metrics::with("pins", status, Some(Example));
    metrics.claimed(3, 0);
    metrics.freshness(Duration::from_millis(1500));
    metrics.pace(Duration::from_millis(5));
    metrics.history(2, 200);
    metrics.object(10, 100, 0);
    metrics.fetched(Source::Lake, Duration::from_millis(200));
    metrics.fetched(Source::Kafka, Duration::from_micros(200));
    metrics.decoded(Source::Lake, Duration::from_millis(2));
    metrics.committed(1, Duration::from_millis(4));
    metrics.live_records(12);
    metrics.result_rows("users_joined_by_year", 3);
    metrics.dead_letters("not_json", 3);
    metrics.dead_letters_dropped(2);
    metrics.gaps(300);
    metrics.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for (_, metrics) in documented() {
            assert!(!metrics.is_empty());
            for metric in metrics {
                let Documented { name, kind, .. } = &metric;
                assert!(name.starts_with("pinflow_") || name.starts_with("process_"), "{name}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
                assert!(
                    ["counter", "gauge", "histogram", "info"].contains(&kind.as_str()),
                    "{name}: {kind}"
                );
                assert!(
                    kind != "histogram" || metric.unit == "seconds",
                    "{name} in {}",
                    metric.unit
                );
                for unit in ["_ms", "_millis", "_milliseconds", "_minutes", "_kb", "_mb", "_percent"] {
                    assert!(!name.contains(unit), "{name} is not in a base unit");
                }
                assert!(!metric.help.is_empty(), "{name} has no help");
            }
        }
    }

    #[test]
    fn labels_are_those_of_the_series() {
        let text = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\na_seconds_sum{x=\"1\"} 0\n\
                    a_seconds_bucket{le=\"1.0\",x=\"1,y=\\\"\"} 0\n# HELP b Count.\n# TYPE b counter\nb_total 3\n";
        let families = families(text);
        let shown: Vec<_> = families
            .iter()
            .map(|of| (of.name.as_str(), of.labels.join(" ")))
            .collect();
        assert_eq!(shown, [("a_seconds", "x".to_owned()), ("b_total", String::new())]);
    }
}
