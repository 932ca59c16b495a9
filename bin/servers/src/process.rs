//! A child process that does not outlive this one.
//!
//! Dropping a [`Server`] kills it. For the end that runs no destructor (SIGKILL, abort) each server has a guard: a
//! shell that waits on a pipe whose other end only this process holds, and that stops the server and removes its
//! directory when the pipe closes. Servers stand in process groups of their own, so that a Ctrl-C at the terminal
//! reaches only this process, which then stops them in order.
//!
//! Signals go to a pid that has not been waited for yet, so never to a stranger that got the same number.

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

/// Waits for the end of its standard input, then stops the process `$2` with signal `$1` and removes `$3`.
const GUARD: &str = r#"
read -r _
kill -s "$1" "$2" 2>/dev/null
tries=0
while kill -0 "$2" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -s KILL "$2" 2>/dev/null
if [ -n "$3" ]; then rm -rf -- "$3"; fi
"#;

/// A running child process; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    guard: Child,
    status: Option<ExitStatus>,
}

impl Server {
    /// Starts `command` in a process group of its own. When this process ends without dropping the server, the
    /// guard sends it `stop` (a name as `INT` or `TERM`), SIGKILL five seconds later, and removes `remove`.
    pub fn spawn(command: &mut Command, stop: &str, remove: Option<&Path>) -> io::Result<Server> {
        let mut child = command.process_group(0).spawn()?;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard", stop])
            .arg(child.id().to_string())
            .arg(remove.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn();
        match guard {
            Ok(guard) => Ok(Server {
                child,
                guard,
                status: None,
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The standard streams that were piped; each can be taken once.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal; an ended process takes none and that is no error.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// The exit status if the process has ended.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none()
            && let Some(status) = self.child.try_wait()?
        {
            self.ended(status)?;
        }
        Ok(self.status)
    }

    /// Waits at most `limit` for the process to end by itself; `None` when it still runs.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends `signal`, waits at most `limit`, then kills.
    pub fn stop(&mut self, signal: Signal, limit: Duration) -> io::Result<ExitStatus> {
        self.signal(signal)?;
        match self.wait(limit)? {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// SIGKILL, and the wait for it.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.exited()? {
            return Ok(status);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.ended(status)?;
        Ok(status)
    }

    fn ended(&mut self, status: ExitStatus) -> io::Result<()> {
        self.status = Some(status);
        self.guard.kill()?;
        self.guard.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nobody is left to hear of a failure; the guard's pipe closes next and tries once more
        let _ = self.kill();
    }
}

/// The last lines of a server's log; empty when it cannot be read.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
