//! The `pinflow` binary as a child process: started with arguments, watched by its output, ended by signals.

use crate::{Kafka, LakeFolder, Postgres, S3Server, watchdog};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use servers::process::Server;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines kept of a program's output; the oldest go first.
const KEPT_LINES: usize = 50_000;

/// A command of pinflow that is about to be run.
#[derive(Clone, Debug)]
pub struct Pinflow {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    open_files: Option<(u32, u32)>,
}

impl Pinflow {
    /// `pinflow COMMAND`, as `run` or `backfill`. A gateway that is told to end waits for no load balancer, unless
    /// `--drain-delay` says so.
    pub fn new(command: &str) -> Pinflow {
        watchdog::watch();
        Pinflow {
            args: vec![command.into()],
            env: vec![("PINFLOW__GATEWAY__DRAIN_DELAY".into(), "0s".into())],
            dir: None,
            open_files: None,
        }
    }

    /// The files that it may open: as it starts, and at most.
    pub fn open_files(mut self, soft: u32, hard: u32) -> Pinflow {
        self.open_files = Some((soft, hard));
        self
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Pinflow {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Pinflow {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Pinflow {
        self.dir = Some(dir.into());
        self
    }

    /// `--kafka`.
    pub fn kafka(self, kafka: &Kafka) -> Pinflow {
        let bootstrap = kafka.bootstrap();
        self.args(["--kafka", &bootstrap])
    }

    /// `--postgres`.
    pub fn postgres(self, postgres: &Postgres) -> Pinflow {
        let url = postgres.url();
        self.args(["--postgres", &url])
    }

    /// `--lake` with a folder.
    pub fn lake(self, lake: &LakeFolder) -> Pinflow {
        let url = lake.url();
        self.args(["--lake", &url])
    }

    /// `--lake s3://bucket/prefix`, `--s3-endpoint` and the credentials.
    pub fn s3(self, server: &S3Server, bucket_and_prefix: &str) -> Pinflow {
        let url = format!("s3://{bucket_and_prefix}");
        let with = self.args(["--lake", &url, "--s3-endpoint", &server.endpoint()]);
        server
            .environment()
            .into_iter()
            .fold(with, |with, (name, value)| with.env(name, value))
    }

    /// Starts it.
    pub fn start(&self) -> Result<Program> {
        let binary = binary()?;
        let mut command = match self.open_files {
            None => Command::new(&binary),
            Some((soft, hard)) => {
                let mut shell = Command::new("sh");
                let limits = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
                shell.args(["-c", &limits]).arg(&binary);
                shell
            }
        };
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            // what is set around the tests is not meant for what they start
            let text = name.to_string_lossy();
            if ["AWS_", "PG", "PINFLOW_", "RUST_LOG"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command.env("RUST_BACKTRACE", "1");
        for (name, value) in &self.env {
            command.env(name, value);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let spawned = Server::spawn(&mut command, "KILL", None);
        let mut server = spawned.with_context(|| format!("starting {}", binary.display()))?;
        let output = Arc::new(Output::default());
        if let Some(stdout) = server.child().stdout.take() {
            collect(stdout, Stream::Out, output.clone())?;
        }
        if let Some(stderr) = server.child().stderr.take() {
            collect(stderr, Stream::Err, output.clone())?;
        }
        let name = self
            .args
            .iter()
            .map(|arg| arg.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        Ok(Program { server, output, name })
    }

    /// Runs it to its end, at most for `limit`, and demands exit code 0; returns standard output.
    pub fn succeed(&self, limit: Duration) -> Result<String> {
        let mut program = self.start()?;
        program.expect(0, limit)?;
        Ok(program.stdout())
    }
}

/// A running command; killed when dropped.
pub struct Program {
    server: Server,
    output: Arc<Output>,
    name: String,
}

impl Program {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The processes that it has started.
    pub fn children(&self) -> Result<Vec<i32>> {
        let pid = self.pid();
        let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(listed.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }

    /// SIGTERM: end after a last commit.
    pub fn terminate(&mut self) -> Result<()> {
        Ok(self.server.signal(Signal::TERM)?)
    }

    /// SIGINT, as Ctrl-C.
    pub fn interrupt(&mut self) -> Result<()> {
        Ok(self.server.signal(Signal::INT)?)
    }

    /// SIGKILL, and the wait for its end.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()?;
        Ok(())
    }

    /// SIGSTOP.
    pub fn freeze(&mut self) -> Result<()> {
        Ok(self.server.signal(Signal::STOP)?)
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        Ok(self.server.signal(Signal::CONT)?)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.server.exited()?.is_none())
    }

    /// Waits for its end and returns the exit code; `None` when a signal ended it. After `limit` it is killed and
    /// the wait fails.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<i32>> {
        let Some(status) = self.server.wait(limit)? else {
            self.server.kill()?;
            bail!(
                "pinflow {} still ran after {limit:?}; it said:\n{}",
                self.name,
                self.tail()
            );
        };
        // the pipes may hold more than the readers have taken
        self.output.drained(Duration::from_secs(5));
        Ok(status.code())
    }

    /// Waits for its end and demands this exit code.
    pub fn expect(&mut self, code: i32, limit: Duration) -> Result<()> {
        let actual = self.wait(limit)?;
        ensure!(
            actual == Some(code),
            "pinflow {} ended with {actual:?} instead of {code}; it said:\n{}",
            self.name,
            self.tail()
        );
        Ok(())
    }

    /// Waits until a line of standard output or error holds `text` and returns the first such line. Fails at once
    /// when the program has ended without it.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.server.exited()?.is_some();
            if ended {
                self.output.drained(Duration::from_secs(5));
            }
            let lines = self.output.lock();
            if let Some((_, line)) = lines.lines.iter().find(|(_, line)| line.contains(text)) {
                return Ok(line.clone());
            }
            drop(lines);
            ensure!(
                !ended,
                "pinflow {} ended without saying `{text}`; it said:\n{}",
                self.name,
                self.tail()
            );
            ensure!(
                Instant::now() < deadline,
                "pinflow {} did not say `{text}` within {limit:?}; it said:\n{}",
                self.name,
                self.tail()
            );
            self.output.wait(Duration::from_millis(50));
        }
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.output.text(Some(Stream::Out))
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.output.text(Some(Stream::Err))
    }

    /// The last hundred lines of both.
    pub fn tail(&self) -> String {
        let text = self.output.text(None);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(100)..].join("\n")
    }

    /// Resident memory in bytes, now and at its peak, while it runs (Linux).
    pub fn memory(&self) -> Result<(u64, u64)> {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let bytes = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
            Ok(kilobytes
                .with_context(|| format!("no {name} in {path}"))?
                .trim()
                .parse::<u64>()?
                * 1024)
        };
        Ok((bytes("VmRSS:")?, bytes("VmHWM:")?))
    }
}

/// `target/PROFILE/pinflow` beside the test or the program that runs, or `$PINFLOW_BINARY`.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PINFLOW_BINARY") {
        return Ok(path.into());
    }
    let running = std::env::current_exe().context("finding the running program")?;
    // tests are in a folder of their own
    let mut beside = running.ancestors().skip(1).take(2).map(|folder| folder.join("pinflow"));
    beside.find(|binary| binary.is_file()).with_context(|| {
        let running = running.display();
        format!("there is no pinflow beside {running}: build it with `cargo build -p pinflow`")
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

#[derive(Default)]
struct Lines {
    lines: std::collections::VecDeque<(Stream, String)>,
    ended: usize,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, limit: Duration) {
        drop(self.changed.wait_timeout(self.lock(), limit));
    }

    /// Waits until both pipes are at their end.
    fn drained(&self, limit: Duration) {
        drop(
            self.changed
                .wait_timeout_while(self.lock(), limit, |lines| lines.ended < 2),
        );
    }

    fn text(&self, stream: Option<Stream>) -> String {
        let lines = self.lock();
        let wanted = lines
            .lines
            .iter()
            .filter(|(from, _)| stream.is_none_or(|stream| *from == stream));
        wanted.map(|(_, line)| format!("{line}\n")).collect()
    }
}

fn collect(pipe: impl Read + Send + 'static, stream: Stream, output: Arc<Output>) -> Result<()> {
    let read = move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            let mut lines = output.lock();
            if lines.lines.len() == KEPT_LINES {
                lines.lines.pop_front();
            }
            lines.lines.push_back((stream, text));
            drop(lines);
            output.changed.notify_all();
        }
        output.lock().ended += 1;
        output.changed.notify_all();
    };
    std::thread::Builder::new()
        .name("output".into())
        .spawn(read)
        .context("starting a thread")?;
    Ok(())
}
