//! A file system of a few megabytes that can be filled to its last page.

use anyhow::{Context, Result};
use pinflow_tests::need;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Waits for the end of its standard input, which ends with this process however that ends, and unmounts `$1`.
const GUARD: &str = r#"read -r _; umount -l "$1" && rmdir "$1""#;
const PAGE: usize = 4096;

/// A file system in memory; it is unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
    guard: Child,
}

impl SmallDisk {
    /// A file system of so many kilobytes; none where nobody may mount one, and the test is skipped.
    pub fn mount(kilobytes: u64) -> Result<Option<SmallDisk>> {
        if !rustix::process::geteuid().is_root() {
            need::skip("a file system is mounted by root alone");
            return Ok(None);
        }
        let mut named = tempfile::Builder::new();
        // a server that runs as another user reaches it
        let folder = named
            .prefix("pinflow-disk-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(folder.path())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let disk = SmallDisk { folder, guard };
        let size = format!("size={kilobytes}k,mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "pinflow-tests"])
            .arg(disk.path())
            .output()?;
        if !mounted.status.success() {
            // root of a container may not mount either
            let said = String::from_utf8_lossy(&mounted.stderr);
            need::skip_everywhere(&format!("no file system can be mounted: {}", said.trim()));
            return Ok(None);
        }
        Ok(Some(disk))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all that is free of it but for so many pages.
    pub fn fill_but(&self, pages: u64) -> Result<()> {
        let mut options = File::options();
        let mut ballast = options.create(true).append(true).open(self.path().join("ballast"))?;
        loop {
            match ballast.write_all(&[0; PAGE]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("filling a disk"),
            }
        }
        let taken = ballast.metadata()?.len();
        Ok(ballast.set_len(taken.saturating_sub(pages * PAGE as u64))?)
    }

    /// Takes all that is free of it.
    pub fn fill(&self) -> Result<()> {
        self.fill_but(0)
    }

    /// Gives back what was taken.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.path().join("ballast")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("freeing a disk"),
            _ => Ok(()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // what still has files open there keeps them: the name is free at once
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if unmounted.is_ok_and(|status| status.success()) {
            let _ = self.guard.kill();
        }
        // else the guard tries once more, now or when this process ends
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
