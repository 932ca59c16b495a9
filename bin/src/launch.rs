//! Local processes of one run, supervised: `pinflow launch -n N -w W -- run …`.
//!
//! Processes share fate, as timely intends: when one ends badly the others are stopped, and `run` is started again as
//! a whole, on new ports. The pauses between starts double up to ten seconds, so that there are at most a dozen starts
//! in any minute; there is no last start, because a database may be away for longer than anybody would have guessed.
//! Exit codes 2 and 3 are final: a restart cannot fix a configuration, and must not fight a newer run. `backfill` is
//! never started again.

use crate::cli::{self, CliError, Verb};
use crate::command_line::{Again, warn_of_secrets};
use crate::config::{self, BackfillSettings, ConfigError, RunSettings, sql_files};
use crate::exit::{self, Failure};
use crate::signals;
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tokio::signal::unix::SignalKind;

/// Tells a process who started it, so that it ends when its supervisor is gone.
const SUPERVISOR: &str = "PINFLOW_SUPERVISOR_PID";
/// After SIGTERM, before SIGKILL: time for a last commit.
const GRACE: Duration = Duration::from_secs(20);
/// What the peers of a process that ended badly are given: they end by themselves within seconds.
const PEER_GRACE: Duration = Duration::from_secs(5);
/// The pause before the first restart, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A run that lasted so long starts with the shortest pause again.
const STEADY: Duration = Duration::from_secs(60);
/// How often the processes are checked.
const GLANCE: Duration = Duration::from_millis(20);
/// A longer line is cut into pieces.
const LINE_BYTES: u64 = 1 << 20;

/// Starts the processes and looks after them until they end.
pub fn run(command: &[OsString], processes: usize, threads: usize) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("pinflow-launch-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let hostfile = folder.path().join("hosts");
    write_hosts(&hostfile, processes)?;
    let (restart, mut again, results) = check(command, &own_flags(processes, threads, 0, &hostfile))?;
    if let Some(results) = results {
        // all processes of all starts read the files as they are now, whoever is editing them
        let copy = folder.path().join("results");
        sql_files::copy(&results, &copy)?;
        again.give("--results", &copy);
    }
    let plan = Plan {
        command: again,
        processes,
        threads,
        hostfile: &hostfile,
    };
    let mut signals = Signals::watch()?;
    let mut pause = PAUSES.0;
    loop {
        let began = Instant::now();
        let ended = supervise(start(&plan)?, &mut signals);
        let code = match ended {
            Ended::Well => return Ok(()),
            Ended::Badly(code) => code,
        };
        if restart == Restart::Never || code != exit::FAILED || signals.count() > 0 {
            return Err(Failure::Silent(code));
        }
        if began.elapsed() >= STEADY {
            pause = PAUSES.0;
        }
        tracing::warn!("the processes ended with exit code {code}: starting all again in {pause:?}");
        if signals.within(pause) > 0 {
            return Err(Failure::Silent(code));
        }
        pause = (pause * 2).min(PAUSES.1);
        // somebody may hold a port by now
        write_hosts(&hostfile, processes)?;
    }
}

/// In a process that `launch` started: end with the supervisor. Elsewhere: nothing.
pub fn follow_supervisor() {
    let Some(supervisor) = std::env::var(SUPERVISOR).ok().and_then(|pid| pid.parse::<i32>().ok()) else {
        return;
    };
    let asked = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    let parent = rustix::process::getppid().map(Pid::as_raw_nonzero);
    if asked.is_ok() && parent.is_none_or(|parent| parent.get() != supervisor) {
        eprintln!("error: the supervisor ended while this process started");
        std::process::exit(exit::FAILED.into());
    }
}

/// What is started.
struct Plan<'a> {
    command: Again,
    processes: usize,
    threads: usize,
    hostfile: &'a Path,
}

/// The flags of one process that are not its user's to give.
fn own_flags(processes: usize, threads: usize, process: usize, hostfile: &Path) -> Vec<OsString> {
    let numbers = [("-n", processes), ("-w", threads), ("-p", process)];
    let mut flags: Vec<OsString> = numbers
        .into_iter()
        .flat_map(|(flag, value)| [OsString::from(flag), value.to_string().into()])
        .collect();
    flags.extend([OsString::from("-h"), hostfile.into()]);
    flags
}

/// The keys of these flags.
const OWN_KEYS: [&str; 5] = [
    "results.folder",
    "workers.processes",
    "workers.threads",
    "workers.process",
    "workers.hostfile",
];

/// When the processes are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    /// When they failed: a run has no end of its own.
    WhenFailed,
    /// Not at all: how a backfill ended is its result.
    Never,
}

/// Checks the command once, before N processes find the same mistake.
/// Returns what to start, and the folder of results, if one is named.
fn check(command: &[OsString], own: &[OsString]) -> Result<(Restart, Again, Option<PathBuf>), Failure> {
    let program = [OsString::from("pinflow")];
    let invocation = match cli::parse(program.iter().chain(command).chain(own)) {
        Ok(invocation) => invocation,
        Err(CliError::Values(error)) => return Err(error.into()),
        Err(CliError::Clap(error)) => std::process::exit(cli::print(&error).into()),
    };
    let restart = match invocation.verb {
        Verb::Run => Some(Restart::WhenFailed),
        Verb::Backfill => Some(Restart::Never),
        _ => None,
    };
    let (Some(restart), Some(again)) = (restart, Again::of(&invocation, &OWN_KEYS)) else {
        return Err(ConfigError::one("`launch` starts `run` or `backfill`, no other command").into());
    };
    let effective = config::load(invocation.config.as_deref(), invocation.flags.clone())?;
    match restart {
        Restart::WhenFailed => drop(RunSettings::check(&effective)?),
        Restart::Never => drop(BackfillSettings::check(&effective)?),
    }
    warn_of_secrets(&invocation.flags);
    let results = effective.get("results.folder").and_then(|entry| entry.value.as_str());
    Ok((restart, again, results.map(PathBuf::from)))
}

/// One free port of this machine for each process. If another program takes one before its process binds it, that start
/// fails and the next one has other ports.
fn write_hosts(path: &Path, processes: usize) -> anyhow::Result<()> {
    let mut hosts = String::new();
    for _ in 0..processes {
        let port = servers::free_port().context("cannot find a free port")?;
        writeln!(hosts, "127.0.0.1:{port}").expect("writing to a String");
    }
    std::fs::write(path, hosts).with_context(|| format!("cannot write {}", path.display()))
}

/// A running process and the threads that pass its output on.
struct Running {
    process: usize,
    child: Child,
    status: Option<ExitStatus>,
    output: Vec<std::thread::JoinHandle<()>>,
}

fn start(plan: &Plan<'_>) -> anyhow::Result<Vec<Running>> {
    let program = std::env::current_exe().context("cannot find the program of this process")?;
    let mut running: Vec<Running> = Vec::with_capacity(plan.processes);
    for process in 0..plan.processes {
        let mut command = Command::new(&program);
        plan.command.give_environment(&mut command);
        let child = command
            .args(plan.command.arguments())
            .args(own_flags(plan.processes, plan.threads, process, plan.hostfile))
            .env(SUPERVISOR, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // a Ctrl-C of the terminal reaches us alone, and is passed on once
            .process_group(0)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                stop(&mut running, Duration::ZERO, None);
                return Err(error).with_context(|| format!("cannot start process {process}"));
            }
        };
        let stdout = child.stdout.take().map(|from| pass_on(process, from, std::io::stdout));
        let stderr = child.stderr.take().map(|from| pass_on(process, from, std::io::stderr));
        let output = stdout.into_iter().chain(stderr).collect();
        running.push(Running {
            process,
            child,
            status: None,
            output,
        });
    }
    Ok(running)
}

/// Copies lines with the number of their process before them.
fn pass_on<W: Write + 'static>(
    process: usize,
    from: impl Read + Send + 'static,
    to: fn() -> W,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            line.extend_from_slice(format!("[{process}] ").as_bytes());
            let prefix = line.len();
            match from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(_) if line.len() > prefix => {}
                _ => return,
            }
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            // whoever reads our output may be gone; the processes go on
            let _ = to().write_all(&line);
        }
    })
}

/// How a round ended.
enum Ended {
    /// All with exit code 0.
    Well,
    /// With this exit code.
    Badly(u8),
}

fn supervise(mut running: Vec<Running>, signals: &mut Signals) -> Ended {
    let mut first_end: Option<Instant> = None;
    loop {
        look(&mut running);
        let all_ended = running.iter().all(|one| one.status.is_some());
        if all_ended {
            break;
        }
        if signals.count() > 0 {
            tracing::info!("stopping all processes");
            stop(&mut running, GRACE, Some(signals));
            break;
        }
        if running
            .iter()
            .any(|one| one.status.is_some_and(|status| !status.success()))
        {
            stop(&mut running, PEER_GRACE, Some(signals));
            break;
        }
        // one that ended well is followed by the others: a finished backfill
        if running.iter().any(|one| one.status.is_some())
            && first_end.get_or_insert_with(Instant::now).elapsed() > GRACE
        {
            tracing::warn!("a process ended and the others did not follow: stopping them");
            stop(&mut running, PEER_GRACE, Some(signals));
            break;
        }
        signals.within(GLANCE);
    }
    let mut codes = Vec::new();
    for one in running {
        let status = one.status.unwrap_or_default();
        for thread in one.output {
            let _ = thread.join();
        }
        if let Some(signal) = status.signal() {
            tracing::error!("process {} was ended by signal {signal}", one.process);
        }
        codes.push(
            status
                .code()
                .map_or(exit::FAILED, |code| u8::try_from(code).unwrap_or(exit::FAILED)),
        );
    }
    overall(&codes)
}

/// The exit code of all together: fenced before wrong usage before failed.
fn overall(codes: &[u8]) -> Ended {
    let rank = |code: &u8| match *code {
        exit::DONE => 0,
        exit::USAGE => 2,
        exit::FENCED => 3,
        _ => 1,
    };
    match codes.iter().max_by_key(|code| rank(code)) {
        None | Some(&exit::DONE) => Ended::Well,
        Some(&code) => Ended::Badly(if rank(&code) == 1 { exit::FAILED } else { code }),
    }
}

fn look(running: &mut [Running]) {
    for one in running.iter_mut().filter(|one| one.status.is_none()) {
        match one.child.try_wait() {
            Ok(status) => one.status = status,
            Err(error) => tracing::warn!("cannot look at process {}: {error}", one.process),
        }
    }
}

/// SIGTERM, and SIGKILL for those that are still there after `grace` or at a second signal to us.
fn stop(running: &mut [Running], grace: Duration, mut signals: Option<&mut Signals>) {
    let before = signals.as_deref_mut().map_or(0, |signals| signals.count().max(1));
    send(running, Signal::TERM);
    let began = Instant::now();
    loop {
        look(running);
        if running.iter().all(|one| one.status.is_some()) {
            return;
        }
        if began.elapsed() >= grace {
            break;
        }
        match signals.as_deref_mut() {
            Some(signals) => {
                if signals.within(GLANCE) > before {
                    break;
                }
            }
            None => std::thread::sleep(GLANCE),
        }
    }
    send(running, Signal::KILL);
    for one in running.iter_mut().filter(|one| one.status.is_none()) {
        one.status = one.child.wait().ok();
    }
}

/// Signals every process that has not been waited for: its number cannot have gone to somebody else.
fn send(running: &[Running], signal: Signal) {
    for one in running.iter().filter(|one| one.status.is_none()) {
        if let Some(pid) = i32::try_from(one.child.id()).ok().and_then(Pid::from_raw) {
            // it may end at this very moment
            let _ = kill_process(pid, signal);
        }
    }
}

/// The signals that have come: SIGTERM, SIGINT and SIGHUP.
struct Signals {
    receiver: Receiver<()>,
    count: usize,
}

impl Signals {
    /// Counts them from now on.
    fn watch() -> anyhow::Result<Signals> {
        let (sender, receiver) = sync_channel(8);
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        signals::watch_signals(&kinds, move |_, _| {
            // the third and later ones say nothing new
            let _ = sender.try_send(());
        })?;
        Ok(Signals { receiver, count: 0 })
    }

    /// Waits so long, or until one comes: how many have come in all.
    fn within(&mut self, limit: Duration) -> usize {
        self.count += usize::from(self.receiver.recv_timeout(limit).is_ok());
        self.count()
    }

    /// How many have come.
    fn count(&mut self) -> usize {
        self.count += self.receiver.try_iter().count();
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fenced_wins_over_usage_wins_over_failed() {
        let code = |codes: &[u8]| match overall(codes) {
            Ended::Well => 0,
            Ended::Badly(code) => code,
        };
        assert_eq!(code(&[0, 0]), 0);
        assert_eq!(code(&[0, 1]), 1);
        assert_eq!(code(&[101, 0]), 1);
        assert_eq!(code(&[1, 3, 1]), 3);
        assert_eq!(code(&[2, 1]), 2);
        assert_eq!(code(&[2, 3]), 3);
    }

    #[test]
    fn every_process_gets_a_free_port_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        write_hosts(&path, 5).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let hosts: std::collections::BTreeSet<&str> = text.lines().collect();
        assert_eq!(hosts.len(), 5);
        for host in hosts {
            std::net::TcpListener::bind(host).unwrap();
        }
    }
}
