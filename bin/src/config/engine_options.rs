//! What `run`, `backfill` and `verify` give the engine.

use super::forms::{check_gap, check_peer_timeout, read_hosts};
use super::reader::Reader;
use super::sources::LakeWait;
use super::sql_files;
use dataflows::{Limits, Options, Results};
use engine::{KafkaSource, LogOptions, TableOptions, Topics, Workers};
use ingest::coverage::AcceptGap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

impl Reader<'_> {
    /// The log, without asking what the command needs of it.
    pub(super) fn log_options(&mut self, wait: LakeWait) -> LogOptions {
        let buffer_bytes = self.whole("kafka.buffer_bytes", 1 << 20, 1 << 40) as usize;
        LogOptions {
            lake: self.lake(wait),
            kafka: self.kafka().map(|config| KafkaSource { config, buffer_bytes }),
            topics: Topics::new(self.topics()),
            limits: Limits {
                record_bytes: self.whole("limits.record_bytes", 1 << 10, 1 << 30) as usize,
                depth: self.whole("limits.depth", 4, 512) as usize,
            },
            skip_unreadable: self.switch("lake.skip_unreadable"),
        }
    }

    /// What the tables are.
    pub(super) fn table_options(&mut self) -> TableOptions {
        let top = self.top();
        TableOptions {
            results: self.results(top),
            top,
            cleaned: self.choice("postgres.cleaned", ["postgres", "off"]),
            drop: self.dropped(),
        }
    }

    pub(super) fn workers(&mut self) -> Workers {
        let threads = self.whole("workers.threads", 1, 1024) as usize;
        let process = self.whole("workers.process", 0, 4095) as usize;
        let asked = self
            .optional_whole("workers.processes", 1, 4096)
            .map(|count| count as usize);
        let peer_timeout = self.optional("workers.peer_timeout", check_peer_timeout);
        let hosts = self.optional("workers.hostfile", read_hosts);
        let has_hostfile = hosts.is_some();
        let processes = asked.unwrap_or_else(|| hosts.as_ref().map_or(1, Vec::len));
        let mut addresses =
            hosts.unwrap_or_else(|| (0..processes).map(|p| format!("localhost:{}", 2101 + p)).collect());
        if has_hostfile && addresses.len() < processes {
            let entry = self.entry("workers.hostfile").expect("the host file was read");
            let found = addresses.len();
            self.wrong(
                "workers.hostfile",
                entry,
                format!("{found} lines do not suffice for {processes} processes"),
            );
        }
        addresses.truncate(processes);
        if process >= processes {
            let entry = self.entry("workers.process").expect("the key has a default");
            self.wrong(
                "workers.process",
                entry,
                format!("{process} is out of range: expected 0 to {}", processes - 1),
            );
        }
        Workers {
            threads,
            processes,
            process,
            addresses,
            peer_timeout: peer_timeout.unwrap_or_default(),
        }
    }

    fn top(&mut self) -> usize {
        self.whole("results.top", 0, i64::from(u32::MAX)) as usize
    }

    fn dropped(&mut self) -> Vec<String> {
        self.list("results.drop", |text| Ok(text.to_owned()))
    }

    /// The results of a folder, or the built-in ones; every error of every file is a problem.
    fn results(&mut self, top: usize) -> Arc<Results> {
        let options = Options { top };
        let built_in = || Arc::new(Results::built_in(&options));
        let Some(entry) = self.entry("results.folder") else {
            return built_in();
        };
        let folder = Path::new(entry.value.as_str().unwrap_or_default());
        let files = match sql_files::read(folder) {
            Ok(files) => files,
            Err(problems) => {
                let wrong = problems.into_iter();
                wrong.for_each(|problem| self.wrong("results.folder", entry, problem));
                return built_in();
            }
        };
        match sql_files::compile(&files, &options) {
            Ok(results) => Arc::new(results),
            Err(errors) => {
                errors.iter().for_each(|error| self.missing(error.to_string()));
                built_in()
            }
        }
    }

    /// Gaps of the log that are accepted.
    pub(super) fn accept_gaps(&mut self) -> Vec<AcceptGap> {
        self.list("lake.accept_gap", check_gap)
    }
}

/// Processes of one host serve on ports of their own: the port given, and one more for each process before this
/// one on the same host.
pub(super) fn port_of_process(address: SocketAddr, workers: &Workers) -> SocketAddr {
    let host_of = |address: &String| address.rsplit_once(':').map(|(host, _)| host.to_owned());
    let own = workers.addresses.get(workers.process).and_then(host_of);
    let before = workers
        .addresses
        .iter()
        .take(workers.process)
        .filter(|other| host_of(other) == own)
        .count();
    match address.port() {
        0 => address,
        port => SocketAddr::new(address.ip(), port.saturating_add(before as u16)),
    }
}
