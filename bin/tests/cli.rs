//! The built program from outside: exit codes, where messages go, and what a supervisor does.

mod program;

use program::pinflow;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Without a server: what a person meets first.
#[test]
fn a_closed_port_is_named_with_its_host_and_database() {
    let lake = tempfile::tempdir().unwrap();
    let (lake, url) = (
        format!("file://{}", lake.path().display()),
        "postgres://postgres:secret@127.0.0.1:1/pins",
    );
    for command in [&["verify"][..], &["backfill"]] {
        let output = pinflow(&[command, &["--lake", &lake, "--postgres", url]].concat());
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        assert_eq!(
            stderr(&output).lines().last(),
            Some("error: cannot connect to postgres at 127.0.0.1:1, database pins: connection refused"),
            "{}",
            stderr(&output)
        );
        assert!(!stderr(&output).contains("secret"), "{}", stderr(&output));
    }
}

#[test]
fn help_and_version_end_well_and_bad_usage_ends_with_2() {
    for arguments in [
        &["--help"][..],
        &["-V"],
        &["run", "--help"],
        &["launch", "--help"],
        &["config", "print", "--help"],
    ] {
        let output = pinflow(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        assert!(!output.stdout.is_empty());
    }
    assert_eq!(
        stdout(&pinflow(&["-V"])),
        format!("pinflow {}\n", env!("CARGO_PKG_VERSION"))
    );
    let cases: [(&[&str], &str); 9] = [
        (&[], "Usage: pinflow"),
        (&["rum"], "'run'"),
        (&["run", "--kafak", "x"], "'--kafka'"),
        (&["backfill", "--listen", "x"], "--listen"),
        (&["run", "--top"], "--top"),
        (&["run", "-h"], "--hostfile"),
        (&["run", "--top", "ten"], "--top: expected a whole number, found `ten`"),
        (&["run", "--topics", "pin"], "needs --kafka"),
        (&["launch", "-n", "2"], "COMMAND"),
    ];
    for (arguments, expected) in cases {
        let output = pinflow(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_bad_configuration_ends_with_2_and_names_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pinflow.toml");
    std::fs::write(&path, "[lake]\nurl = \"file:///a\"\nskip_unreadible = true\n").unwrap();
    let path = path.to_str().unwrap();
    for arguments in [
        &["config", "check"][..],
        &["config", "print"],
        &["run"],
        &["backfill", "--out", "x"],
    ] {
        let output = pinflow(&[arguments, &["--config", path]].concat());
        assert_eq!(code(&output), 2);
        let expected =
            format!("error: {path}:3: unknown key `lake.skip_unreadible`: did you mean `lake.skip_unreadable`?\n");
        assert_eq!(stderr(&output), expected, "{arguments:?}");
    }
}

#[test]
fn config_check_and_print_show_what_all_sources_make() {
    let output = pinflow(&["config", "check", "--lake", "file:///a", "-w", "2"]);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, "ok\n"),
        "{}",
        stderr(&output)
    );
    let output = Command::new(env!("CARGO_BIN_EXE_pinflow"))
        .args(["config", "print", "--postgres", "postgres://me:s3cr3t@db/pins"])
        .env_clear()
        .env("PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD", "s3cr3t")
        .output()
        .unwrap();
    let printed = stdout(&output);
    assert_eq!(code(&output), 0);
    assert!(!printed.contains("s3cr3t"), "{printed}");
    assert!(
        printed.contains("url = \"postgres://me:***@db/pins\" # --postgres"),
        "{printed}"
    );
    assert!(
        printed.contains("\"sasl.password\" = \"***\" # PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD"),
        "{printed}"
    );
}

/// `pinflow … | head` ends the reader early; a full disk behind `>` loses what was printed.
#[test]
fn a_reader_that_is_gone_is_no_failure_and_a_full_disk_is_one() {
    for arguments in [
        &["config", "print"][..],
        &["config", "check"],
        &["results", "check"],
        &["results", "explain", "country_of_top_poster"],
    ] {
        let printing = |to: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pinflow"));
            let output = command.args(arguments).env_clear().stdout(to).output().unwrap();
            (code(&output), stderr(&output))
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(printing(writer.into()), (0, String::new()), "{arguments:?}");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = "error: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!(printing(full.into()), (1, error.to_owned()), "{arguments:?}");
    }
}

#[test]
fn generate_writes_a_lake_once() {
    let folder = tempfile::tempdir().unwrap();
    let lake = format!("file://{}/lake", folder.path().display());
    let arguments = [
        "generate",
        "--posts",
        "100",
        "--seed",
        "3",
        "--lake",
        &lake,
        "--topics",
        "pin=a.pin,geo=a.geo",
    ];
    let output = pinflow(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let records: usize = ["pin", "geo"]
        .iter()
        .map(|kind| {
            folder
                .path()
                .join(format!("lake/a.{kind}/partition=0/a.{kind}+0+0000000000.json"))
        })
        .map(|path| std::fs::read_to_string(path).unwrap().lines().count())
        .sum();
    assert!(
        stdout(&output).starts_with(&format!("wrote {records} records in 2 objects, ")),
        "{}",
        stdout(&output)
    );
    assert!(!folder.path().join("lake/user").exists());
    let again = pinflow(&arguments);
    assert_eq!(code(&again), 1);
    assert!(
        stderr(&again).starts_with("error: ") && stderr(&again).contains("already"),
        "{}",
        stderr(&again)
    );
}

/// The same lake in a bucket as in a folder, and refused there a second time too.
#[test]
fn generate_writes_the_same_lake_to_s3() {
    let folder = tempfile::tempdir().unwrap();
    let server = servers::S3Server::start(folder.path().join("s3")).unwrap();
    let bucket = server.create_bucket("lake").unwrap();
    let local = folder.path().join("local");
    let to = |lake: &str| {
        Command::new(env!("CARGO_BIN_EXE_pinflow"))
            .args([
                "generate",
                "--posts",
                "60",
                "--records-per-object",
                "7",
                "--partitions",
                "2",
                "--lake",
                lake,
            ])
            .args(["--s3-endpoint", &server.endpoint()])
            .env_clear()
            .envs(server.environment())
            .output()
            .unwrap()
    };
    let output = to(&format!("file://{}", local.display()));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = to("s3://lake/some/place");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let mut compared = 0;
    for kind in ["pin", "geo", "user"] {
        for partition in 0..2 {
            let part = format!("{kind}/partition={partition}");
            for entry in std::fs::read_dir(local.join(&part)).unwrap() {
                let name = entry.unwrap().file_name();
                let read = |root: &Path| std::fs::read(root.join(&part).join(&name)).unwrap();
                assert!(read(&local) == read(&bucket.join("some/place")), "{part}/{name:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "{compared}");
    let again = to("s3://lake/some/place");
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains("already"), "{}", stderr(&again));
    server.stop();
}

#[test]
fn launch_refuses_what_it_cannot_supervise() {
    let output = pinflow(&[
        "launch",
        "-n",
        "2",
        "--",
        "generate",
        "--posts",
        "1",
        "--lake",
        "file:///a",
    ]);
    assert_eq!(code(&output), 2);
    let output = pinflow(&["launch", "-n", "2", "--", "config", "print"]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("`launch` starts `run` or `backfill`"),
        "{}",
        stderr(&output)
    );
    let output = pinflow(&["launch", "-n", "2", "--", "run", "--kafka", "localhost:1"]);
    assert_eq!(code(&output), 2);
    assert_eq!(
        stderr(&output),
        "error: `run` needs --postgres URL, the database of the tables\n"
    );
    let output = pinflow(&["launch", "-n", "2", "--", "run", "-n", "3"]);
    assert_eq!(code(&output), 2);
}

#[test]
fn launch_passes_on_a_failed_backfill_with_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let lake = format!("file://{}/nothing", folder.path().display());
    let out = folder.path().join("out");
    let command = [
        "launch",
        "-n",
        "2",
        "--",
        "backfill",
        "--lake",
        &lake,
        "--out",
        out.to_str().unwrap(),
    ];
    let output = pinflow(&command);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(
        stderr(&output).lines().any(|line| line.starts_with("[0] error: ")),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains("starting all again"), "{}", stderr(&output));
}

/// A run whose process 0 cannot listen fails, takes its peer with it, is started again, and ends when it is told to.
#[test]
fn launch_starts_a_failed_run_again_until_it_is_told_to_stop() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let mut launch = Command::new(env!("CARGO_BIN_EXE_pinflow"))
        .args(["launch", "-n", "2", "--", "run", "--listen", &listen])
        .args([
            "--postgres",
            "postgres://nobody@127.0.0.1:1/none",
            "--kafka",
            "127.0.0.1:1",
        ])
        .env_clear()
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(launch.stderr.take().unwrap()).lines();
    let began = Instant::now();
    let (mut restarts, mut reasons) = (0, 0);
    for line in lines.by_ref() {
        let line = line.unwrap();
        restarts += usize::from(line.contains("starting all again"));
        reasons += usize::from(line.starts_with("[0] error: cannot listen on"));
        assert!(began.elapsed() < Duration::from_secs(120), "no second restart");
        if restarts == 2 {
            break;
        }
    }
    assert_eq!((restarts, reasons), (2, 2));
    let pid = rustix::process::Pid::from_raw(launch.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // read to the end, or the pipe fills up
    lines.for_each(drop);
    launch.wait().unwrap();
    assert!(children_of(launch.id()).is_empty());
}

/// Processes that a launcher of this number started.
fn children_of(launcher: u32) -> Vec<u32> {
    let mark = format!("PINFLOW_SUPERVISOR_PID={launcher}");
    let numbers = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    numbers
        .filter(|number: &u32| {
            let environment =
                std::fs::read(Path::new("/proc").join(number.to_string()).join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        })
        .collect()
}

#[test]
fn built_in_results_are_printed_checked_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a/results");
    let out = out.to_str().unwrap();
    assert_eq!(stdout(&pinflow(&["results", "check"])), "ok: 10 results\n");
    for _ in 0..2 {
        let printed = pinflow(&["results", "print", "--out", out]);
        assert_eq!(
            stdout(&printed),
            format!("wrote 10 results to {out}\n"),
            "{}",
            stderr(&printed)
        );
        assert_eq!(
            stdout(&pinflow(&["results", "check", "--results", out])),
            "ok: 10 results\n"
        );
    }
    let (changed, gone) = (
        format!("{out}/users_joined_by_year.sql"),
        format!("{out}/top_poster_by_country.sql"),
    );
    std::fs::write(&changed, "-- mine").unwrap();
    std::fs::remove_file(&gone).unwrap();
    let printed = pinflow(&["results", "print", "--out", out]);
    assert_eq!(code(&printed), 2);
    assert_eq!(
        stderr(&printed),
        format!("error: {changed} exists with another text, and is not overwritten\n")
    );
    assert!(
        !Path::new(&gone).exists(),
        "nothing is written where something is in the way"
    );
}

#[test]
fn a_result_is_explained_with_what_it_shares_and_costs() {
    let said = pinflow(&["results", "explain", "country_of_top_poster"]);
    assert_eq!(code(&said), 0, "{}", stderr(&said));
    let text = stdout(&said);
    assert!(
        text.starts_with("country_of_top_poster: the poster or posters with the most followers of all"),
        "{text}"
    );
    for line in [
        "  SELECT \"country\", \"poster_name\", \"follower_count\"",
        "  select country, poster_name, max(follower_count)",
        "  latest (latest records): a change costs O(1); shared with all other results",
        "  greatest (greatest value): a change costs O(log values of the group); shared with top_poster_by_country",
        "    a group                    24 bytes and 5 to 11 of index",
        "a post: 68 bytes and 5 to 11 of index for all results, as much without this one",
        "  only for this result: none",
    ] {
        assert!(
            text.lines().any(|printed| printed == line),
            "`{line}` is not in\n{text}"
        );
    }
    for result in dataflows::Results::built_in(&dataflows::Options::default()).definitions() {
        let text = stdout(&pinflow(&["results", "explain", result.table.name]));
        assert!((15..=50).contains(&text.lines().count()), "{text}");
    }
    let all = stdout(&pinflow(&[
        "results",
        "explain",
        "popular_category_by_year",
        "--top",
        "0",
    ]));
    assert!(
        all.contains("all rows kept") && all.contains("O(rows of the partition)"),
        "{all}"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("titles.sql");
    let sql = "-- titles: titles in each country\nSELECT country, count(DISTINCT left(title, 40)) AS titles \
               FROM pin_table JOIN geo_table USING (ind) WHERE country IS NOT NULL GROUP BY 1";
    std::fs::write(path, sql).unwrap();
    let of_folder = |name: &str| pinflow(&["results", "explain", name, "--results", folder.path().to_str().unwrap()]);
    let text = stdout(&of_folder("titles"));
    assert!(
        text.contains("distinct_count (number of distinct values): a change costs O(1); not shared"),
        "{text}"
    );
    let unknown = of_folder("title");
    assert_eq!((code(&unknown), stdout(&unknown).as_str()), (2, ""));
    assert_eq!(
        stderr(&unknown),
        "error: no result is called `title`: did you mean `titles`?\nthe results are: titles\n"
    );
}

#[test]
fn every_error_of_every_result_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let check = || pinflow(&["results", "check", "--results", folder.path().to_str().unwrap()]);
    let empty = check();
    assert_eq!(code(&empty), 2);
    assert_eq!(
        stderr(&empty),
        format!("error: no .sql file in {}\n", folder.path().display())
    );
    std::fs::write(path("notes.txt"), "SELECT").unwrap();
    std::fs::write(
        path("b.sql"),
        "-- b: x\nSELECT country, max(ind + 1) AS m FROM geo_table GROUP BY 1",
    )
    .unwrap();
    std::fs::write(path("a.sql"), "-- a: x\nSELECT").unwrap();
    let output = check();
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    let places: Vec<_> = said.lines().filter(|line| !line.starts_with("  hint: ")).collect();
    assert_eq!(places.len(), 2, "{said}");
    assert!(places[0].starts_with(&format!("{}:2:", path("a.sql"))), "{said}");
    assert!(
        places[1].starts_with(&format!("{}:2:21: ind + 1 can exceed bigint", path("b.sql"))),
        "{said}"
    );
    // files that are not valid SQL files, each by name; a byte order mark is accepted
    std::fs::create_dir(path("c.sql")).unwrap();
    std::fs::write(path("d.sql"), b"-- d: \xff").unwrap();
    std::fs::write(path("e.SQL"), "-- e: x\nSELECT").unwrap();
    let output = check();
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 3, "{said}");
    for (name, why) in [
        ("c.sql", "not a regular file"),
        ("d.sql", "not valid UTF-8"),
        ("e.SQL", "end in .sql"),
    ] {
        let line = format!("error: {}: ", path(name));
        assert!(
            said.lines().any(|said| said.starts_with(&line) && said.contains(why)),
            "{said}"
        );
    }
    let marked = tempfile::tempdir().unwrap();
    let text =
        "\u{feff}-- m: x\nSELECT country, count(*) AS n FROM geo_table WHERE country IS NOT NULL GROUP BY country";
    std::fs::write(marked.path().join("m.sql"), text).unwrap();
    let output = pinflow(&["results", "check", "--results", marked.path().to_str().unwrap()]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "ok: 1 results\n"));
    let missing = pinflow(&["results", "check", "--results", &path("missing")]);
    assert_eq!(code(&missing), 2);
    assert!(
        stderr(&missing).contains("cannot read the folder"),
        "{}",
        stderr(&missing)
    );
}

/// A server that answers every request with this, until the test ends.
fn answering(answer: String) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            for line in BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
            {
                head += &format!("{line}\n");
            }
            let found = head.starts_with("GET /api/status HTTP/1.1\n");
            let token = head.to_lowercase().contains("authorization: bearer reading-token-01\n");
            let (status, body) = match (found, token) {
                (false, _) => ("404 Not Found", ""),
                (true, false) => ("401 Unauthorized", "Not authenticated"),
                (true, true) => ("200 OK", answer.as_str()),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn status_prints_what_a_run_answers() {
    let status = api::Status::new(None, || None);
    let body = serde_json::to_string(&api::handle_status(&status)).unwrap();
    let address = answering(body.clone()).to_string();
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "# for dashboards\nreading-token-01 scopes=read\n").unwrap();
    let tokens = tokens.to_str().unwrap();
    let arguments = ["status", "--listen", &address, "--token-file", tokens];

    let output = pinflow(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let printed = stdout(&output);
    assert!(
        printed.starts_with("phase       listing, 0 % of history\n"),
        "{printed}"
    );
    assert!(printed.contains("\nbottleneck  The start: "), "{printed}");

    let output = pinflow(&[&arguments[..], &["--json"]].concat());
    assert_eq!(
        (code(&output), stdout(&output)),
        (0, format!("{body}\n")),
        "{}",
        stderr(&output)
    );

    let output = pinflow(&arguments[..3]);
    let expected = format!("error: http://{address}/api/status requires a token: give --token-file FILE\n");
    assert_eq!((code(&output), stderr(&output)), (1, expected));
}

#[test]
fn status_is_watched_until_ctrl_c() {
    let status = api::Status::new(None, || None);
    let address = answering(serde_json::to_string(&api::handle_status(&status)).unwrap()).to_string();
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "reading-token-01\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pinflow"))
        .args(["status", "--watch", "--json", "--listen", &address, "--token-file"])
        .arg(&tokens)
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let began = Instant::now();
    for line in lines.take(3) {
        assert!(line.unwrap().starts_with("{\"phase\":\"listing\""));
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn status_says_in_one_line_that_nobody_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for more in [&[][..], &["--watch"], &["--json"]] {
        let output = pinflow(&[&["status", "--listen", &address], more].concat());
        let said = stderr(&output);
        assert_eq!(code(&output), 1, "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let begins = format!("error: no answer from http://{address}/api/status: ");
        assert!(said.starts_with(&begins) && said.contains("refused"), "{said}");
        assert!(output.stdout.is_empty());
    }
    for (arguments, expected) in [
        (
            &["status"][..],
            "error: `status` needs --listen ADDR:PORT, the address of `run --listen`\n",
        ),
        (
            &["status", "--listen", "nowhere"],
            "error: --listen: invalid address `nowhere`: expected ADDR:PORT, such as 127.0.0.1:9464\n",
        ),
    ] {
        let output = pinflow(arguments);
        assert_eq!((code(&output), stderr(&output).as_str()), (2, expected));
    }
}
