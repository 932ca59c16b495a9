//! What the program shows of secrets: on its outputs, and in the lists of processes.

mod program;

use program::pinflow;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|stream| String::from_utf8_lossy(stream).into_owned())
        .concat()
}

#[test]
fn refused_arguments_are_repeated_without_their_secrets() {
    for arguments in [
        &["run", "postgres://u:ab/cr3t@db/x"][..],
        &["run", "--unknown=postgres://u:ab/cr3t@db/x"],
        &["postgres://u:ab/cr3t@db/x"],
        &["run", "sasl.password=cr3t"],
        &["run", "postgres://u:s3 cr3t@host/db"],
        &["run", "postgres://u:s3\tx cr3t"],
        &["run", "postgres://u:a'b \" cr3t@host/db"],
        &["run", "postgres://u:s3\ncr3t@host/db"],
        &["run", "postgres://u:a cr3t@h/x postgres://v:b cr3t@i/y"],
        &["run", "--unknown=mysql://u:s3 cr3t@host/db"],
        &["run", "--cleaned=postgres://u:s3 cr3t@host/db"],
        &["run", "host=db password=s3 cr3t user=me"],
        &["run", "host=db password='s3 cr3t' user=me"],
        &["run", "sasl.jaas.config=x s3 cr3t;"],
        &["run", "--topics", "pin=password=s3 cr3t"],
        &["emulate", "--source", "mysql://u:s3 cr3t"],
        &["launch", "-n", "2", "--", "run", "postgres://u:s3 cr3t@db/x"],
        &["config", "print", "--cleaned", "off", "host=db password=cr3t"],
        &["launch", "-n", "2", "--", "run", "postgres://u:ab/cr3t@db/x"],
        &["config", "print", "--postgres", "postgres://u:ab/cr3t@db/x"],
        &["config", "check", "--postgres", "postgres://u:ab@cr3t@db/x"],
        &["verify", "--postgres", "host=db password=ab cr3t"],
        &["verify", "--postgres", "postgres://u:ab/cr3t@127.0.0.1:1/x"],
    ] {
        let output = pinflow(arguments);
        assert!(!said(&output).contains("cr3t"), "{arguments:?}: {}", said(&output));
        assert!(!said(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_secret_on_the_command_line_is_warned_of_once() {
    let with = |arguments: &[&str]| {
        let base = [
            "verify",
            "--postgres",
            "postgres://u@127.0.0.1:1/x",
            "--kafka",
            "127.0.0.1:1",
        ];
        said(&pinflow(&[&base, arguments].concat()))
    };
    let text = with(&[
        "--kafka-property",
        "sasl.password=cr3t",
        "--kafka-property",
        "ssl.key.password=cr3t",
    ]);
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    assert!(
        warnings[0].contains("--kafka-property sasl.password, --kafka-property ssl.key.password"),
        "{text}"
    );
    assert!(!text.contains("cr3t"), "{text}");
    let text = said(&pinflow(&["verify", "--postgres", "postgres://u:cr3t@127.0.0.1:1/x"]));
    assert!(
        text.contains("WARN") && text.contains("--postgres: what stands on the command line") && !text.contains("cr3t"),
        "{text}"
    );
    let text = with(&["--kafka-property", "client.id=x"]);
    assert!(!text.contains("WARN"), "{text}");
}

/// A Postgres that never answers keeps the processes where they can be looked at.
#[test]
fn processes_that_launch_starts_get_no_secret_as_an_argument() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u:ab%2Fcr3t@{}/x", silent.local_addr().unwrap());
    let mut launch = Command::new(env!("CARGO_BIN_EXE_pinflow"))
        .args(["launch", "-n", "2", "--", "run", "--kafka", "127.0.0.1:1", "--top", "7"])
        .args(["--postgres", &url, "--kafka-property", "sasl.password=cr3t"])
        .env_clear()
        // another spelling of the same key does not win over the flag
        .env("PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD", "other")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let children = loop {
        let children = children_of(launch.id());
        if children.len() == 2 {
            break children;
        }
        assert!(Instant::now() < until, "{} processes", children.len());
        std::thread::sleep(Duration::from_millis(5));
    };
    for (arguments, environment) in &children {
        assert!(
            arguments.contains("\0--top=7\0") && !arguments.contains("cr3t"),
            "{arguments}"
        );
        assert!(environment.contains(&format!("PINFLOW__POSTGRES__URL={url}\0")));
        assert!(environment.contains("SASL__PASSWORD=cr3t\0") && !environment.contains("other"));
    }
    let pid = rustix::process::Pid::from_raw(launch.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut text = String::new();
    launch.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    launch.wait().unwrap();
    assert_eq!(text.matches("what stands on the command line").count(), 1, "{text}");
    assert!(!text.contains("cr3t"), "{text}");
}

/// Arguments and environment of the processes that a launcher of this number started.
fn children_of(launcher: u32) -> Vec<(String, String)> {
    let mark = format!("PINFLOW_SUPERVISOR_PID={launcher}\0");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let read = |folder: &std::path::Path, name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let found = processes.map(|entry| (read(&entry.path(), "cmdline"), read(&entry.path(), "environ")));
    found
        .filter(|(arguments, environment)| environment.contains(&mark) && arguments.contains("\0run\0"))
        .collect()
}
