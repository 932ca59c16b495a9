//! The demo has a password for its database, which is in one file and nowhere else.

use super::SOON;
use anyhow::{Result, ensure};
use pinflow_tests::{Pinflow, files};
use std::path::Path;

/// The command lines of all processes that hold a text.
fn seen_in_processes(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

#[test]
fn the_demo_shows_its_password_to_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("demo");
    let mut demo = Pinflow::new("demo")
        .args(["--posts", "500", "--rate", "50", "--duration", "3s", "--dir"])
        .args([&dir])
        .start()?;
    demo.wait_for("sending 50 records/s", SOON)?;
    let password = std::fs::read_to_string(dir.join("postgres/password"))?;
    ensure!(password.len() >= 16, "no password: {password}");
    let told = format!(
        "the database password is in {}",
        dir.join("postgres/password").display()
    );
    ensure!(demo.stdout().contains(&told), "{}", demo.stdout());
    while demo.is_running()? {
        let seen = seen_in_processes(&password);
        ensure!(seen.is_empty(), "in the list of processes: {seen:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    demo.expect(0, SOON)?;
    ensure!(!demo.stdout().contains(&password), "printed: {}", demo.stdout());
    ensure!(!demo.stderr().contains(&password), "logged: {}", demo.stderr());
    for log in files(&dir)?.iter().filter(|path| is_text_of_a_part(path)) {
        let text = std::fs::read_to_string(log)?;
        ensure!(!text.contains(&password), "{}: {text}", log.display());
    }
    Ok(())
}

fn is_text_of_a_part(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "log" || extension == "out")
}
