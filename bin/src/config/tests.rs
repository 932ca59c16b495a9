//! The whole way from sources to settings: precedence, messages, masking.

mod secrets;
mod sources;

use super::layers::{Entries, Entry, environment_name, key_of};
use super::*;
use crate::cli;
use engine::{Mode, SinkOptions, Topics};
use ingest::{Offset, Partition};
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// A configuration file in a folder that lives as long as the test.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(name: &str, text: &str) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn flags(arguments: &[&str]) -> Entries {
    let arguments = ["pinflow"].iter().chain(arguments);
    cli::parse(arguments).unwrap_or_else(|error| panic!("{error:?}")).flags
}

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn of_flags(arguments: &[&str]) -> Effective {
    Effective::load(None, Vec::new(), flags(arguments)).unwrap()
}

fn of_file(text: &str) -> Result<Effective, ConfigError> {
    let file = file("pinflow.toml", text);
    Effective::load(Some(&file.path), Vec::new(), Entries::new())
}

const RUN: [&str; 5] = [
    "run",
    "--kafka",
    "localhost:9092",
    "--postgres",
    "postgres://me@localhost/pins",
];

fn run_with(more: &[&str]) -> Result<RunSettings, ConfigError> {
    RunSettings::check(&of_flags(&[&RUN[..], more].concat()))
}

#[track_caller]
fn message(error: ConfigError) -> String {
    error.to_string()
}

#[test]
fn topics_default_to_all_kinds_and_a_flag_replaces_the_whole_set() {
    let topics = |more: &[&str]| run_with(more).unwrap().engine.log.topics.to_list();
    assert_eq!(topics(&[]), ["pin", "geo", "user"]);
    assert_eq!(topics(&["--topics", "pin=a.pin,user=a.user"]), ["a.pin", "", "a.user"]);
    assert_eq!(topics(&["--topics", "geo"]), ["", "geo", ""]);
    let file = file("pinflow.toml", "[kafka.topics]\npin = \"p\"\ngeo = \"g\"\n");
    let loaded = Effective::load(
        Some(&file.path),
        Vec::new(),
        flags(&[&RUN[..], &["--topics", "user=u"]].concat()),
    );
    let settings = RunSettings::check(&loaded.unwrap()).unwrap();
    assert_eq!(
        settings.engine.log.topics,
        Topics::new([None, None, Some("u".to_owned())])
    );
    assert!(message(run_with(&["--topics", "pin=a,geo=a"]).unwrap_err()).contains("given for two kinds"));
    assert!(message(run_with(&["--topics", "pin=a b"]).unwrap_err()).contains("invalid topic name `a b`"));
    let unknown = cli::parse(["pinflow", "run", "--topics", "pins=a"]).unwrap_err();
    assert!(format!("{unknown:?}").contains("did you mean `pin`?"), "{unknown:?}");
}

#[test]
fn each_command_says_what_it_needs() {
    let backfill = |arguments: &[&str]| message(BackfillSettings::check(&of_flags(arguments)).unwrap_err());
    let text = message(RunSettings::check(&of_flags(&["run"])).unwrap_err());
    assert!(
        text.contains("needs --kafka") && text.contains("needs --postgres"),
        "{text}"
    );
    let text = backfill(&["backfill"]);
    assert!(text.contains("needs --lake") && text.contains("needs a sink"), "{text}");
    let both = [
        "backfill",
        "--lake",
        "file:///a",
        "--out",
        "b",
        "--postgres",
        "postgres://c/d",
    ];
    assert!(backfill(&both).contains("--out and --postgres are mutually exclusive"));
    let verify = message(verify_options(&of_flags(&["verify"])).unwrap_err());
    assert!(verify.contains("needs --postgres"), "{verify}");
    let generate = message(generate_options(&of_flags(&["generate"])).err().unwrap());
    assert!(
        generate.contains("needs --lake") && generate.contains("needs --posts"),
        "{generate}"
    );
}

#[test]
fn a_sink_given_as_a_flag_wins_over_one_given_elsewhere() {
    let file = file(
        "pinflow.toml",
        "[postgres]\nurl = \"postgres://a/b\"\n[lake]\nurl = \"file:///a\"\n",
    );
    let load = |arguments: &[&str]| {
        let effective = Effective::load(Some(&file.path), Vec::new(), flags(arguments)).unwrap();
        BackfillSettings::check(&effective).unwrap().engine.sink
    };
    let to_files = load(&["backfill", "--out", "dir"]);
    assert!(matches!(to_files, SinkOptions::Files(dir) if dir == Path::new("dir")));
    assert!(matches!(load(&["backfill"]), SinkOptions::Postgres(_)));
}

#[test]
fn verify_knows_what_it_can_compare_with() {
    let check =
        |more: &[&str]| verify_options(&of_flags(&[&["verify", "--postgres", "postgres://a/b"], more].concat()));
    assert!(check(&[]).is_ok());
    assert!(message(check(&["--cleaned", "off"]).unwrap_err()).contains("use --replay"));
    assert!(message(check(&["--replay"]).unwrap_err()).contains("--replay replays the log"));
    assert!(message(check(&["--repair"]).unwrap_err()).contains("--repair replays the log"));
    let repair = check(&["--repair", "--lake", "file:///a", "--takeover"]).unwrap();
    assert_eq!(repair.mode, ::verify::Mode::Repair { takeover: true });
}

#[test]
fn workers_are_timelys() {
    let workers = |more: &[&str]| run_with(more).map(|settings| settings.engine.workers);
    let alone = workers(&[]).unwrap();
    assert_eq!(
        (alone.threads, alone.processes, alone.process, alone.addresses.len()),
        (1, 1, 0, 1)
    );
    let two = workers(&["-w", "2", "-n", "2", "-p", "1"]).unwrap();
    assert_eq!((two.peers(), two.process), (4, 1));
    assert_eq!(two.addresses, ["localhost:2101", "localhost:2102"]);
    assert!(message(workers(&["-p", "1"]).unwrap_err()).contains("--process: 1 is out of range: expected 0 to 0"));
    assert!(message(workers(&["-w", "0"]).unwrap_err()).contains("--threads: 0 is out of range: expected 1"));
    let hosts = file("hosts", "# ours\na:2101\n\nb:2101\n a:2102 \n");
    let hosts = hosts.path.to_str().unwrap();
    let all = workers(&["-h", hosts, "-p", "2"]).unwrap();
    assert_eq!(
        (all.processes, all.addresses),
        (3, vec!["a:2101".into(), "b:2101".into(), "a:2102".into()])
    );
    assert_eq!(
        workers(&["-h", hosts, "-n", "2"]).unwrap().addresses,
        ["a:2101", "b:2101"]
    );
    assert!(message(workers(&["-h", hosts, "-n", "4"]).unwrap_err()).contains("3 lines do not suffice for 4"));
    let broken = file("hosts", "a:2101\nb\n");
    let text = message(workers(&["-h", broken.path.to_str().unwrap()]).unwrap_err());
    assert!(
        text.contains("hosts:2: invalid address `b`: expected HOST:PORT"),
        "{text}"
    );
}

#[test]
fn processes_of_one_host_listen_on_ports_of_their_own() {
    let hosts = file("hosts", "a:1\nb:1\na:2\n");
    let hosts = hosts.path.to_str().unwrap();
    let listen = |flags: &[&str]| run_with(flags).unwrap().serve.unwrap().listen;
    let port = |process: &str| listen(&["--listen", "127.0.0.1:9000", "-h", hosts, "-p", process]).port();
    assert_eq!([port("0"), port("1"), port("2")], [9000, 9000, 9001]);
    assert_eq!(listen(&["--listen", "localhost:0", "-n", "2", "-p", "1"]).port(), 0);
}

/// Other machines are served where an address says so, and nowhere else.
#[test]
fn a_port_alone_is_this_machines() {
    let listen = |text: &str| run_with(&["--listen", text]).unwrap().serve.unwrap().listen.to_string();
    assert_eq!(listen(":9464"), "127.0.0.1:9464");
    assert_eq!(listen("0.0.0.0:9464"), "0.0.0.0:9464");
    assert_eq!(listen("[::]:9464"), "[::]:9464");
    let archive = of_flags(&[
        "archive",
        "--kafka",
        "k:1",
        "--lake",
        "file:///lake",
        "--listen",
        ":9464",
    ]);
    let archive = ArchiveSettings::check(&archive).unwrap().serve.unwrap();
    assert_eq!(archive.listen.to_string(), "127.0.0.1:9464");
    let gateway = GatewaySettings::check(&of_flags(&["gateway", "--kafka", "k:1", "--listen", ":8080"])).unwrap();
    assert_eq!(gateway.listen.to_string(), "127.0.0.1:8080");
    let demo = DemoSettings::check(&of_flags(&["demo", "--listen", ":9464"])).unwrap();
    assert_eq!(demo.listen.unwrap().to_string(), "127.0.0.1:9464");
}

#[test]
fn values_are_checked_where_they_stand() {
    let cases = [
        (&["--accept-gap", "pin/0:5"][..], "--accept-gap: "),
        (
            &["--cleaned", "of"],
            "--cleaned: invalid value `of`: expected postgres or off: did you mean `off`?",
        ),
        (&["--log-level", "loud=chatty"], ""),
        (&["--lake", "/data"], "--lake: "),
        (
            &["--s3-endpoint", "minio:9000"],
            "--s3-endpoint: invalid URL `minio:9000`",
        ),
        (&["--schema", "pg_x"], "--schema: "),
        (
            &["--listen", "9000"],
            "--listen: invalid address `9000`: expected ADDR:PORT",
        ),
        (
            &["--kafka", "a:b"],
            "--kafka: invalid address `a:b`: expected HOST:PORT",
        ),
        (&["--postgres", "postgres://u:s3cr3t@h:port/d"], "--postgres: "),
    ];
    for (more, expected) in cases {
        let outcome = match more[0] {
            "--log-level" => LogSettings::check(&of_flags(&[&RUN[..], more].concat())).map(|_| ()),
            flag => {
                let given: Vec<&str> = match RUN.iter().position(|word| *word == flag) {
                    Some(at) => RUN
                        .iter()
                        .enumerate()
                        .filter(|(i, _)| *i != at && *i != at + 1)
                        .map(|(_, w)| *w)
                        .collect(),
                    None => RUN.to_vec(),
                };
                RunSettings::check(&of_flags(&[&given, more].concat())).map(|_| ())
            }
        };
        let text = message(outcome.expect_err(&format!("{more:?}")));
        assert!(text.contains(expected) && !text.contains("s3cr3t"), "{text}");
    }
}

#[test]
fn switches_can_be_turned_off_again() {
    let file = file("pinflow.toml", "[lake]\nskip_unreadable = true\n");
    let skip = |more: &[&str]| {
        let effective = Effective::load(Some(&file.path), Vec::new(), flags(&[&RUN[..], more].concat())).unwrap();
        RunSettings::check(&effective).unwrap().engine.log.skip_unreadable
    };
    assert!(skip(&[]) && skip(&["--skip-unreadable"]) && !skip(&["--skip-unreadable=false"]));
}

#[test]
fn an_upto_file_is_read_at_the_start() {
    let frontier = file("summary.json", r#"{"seconds":1,"frontier":{"pin":{"0":12}}}"#);
    let arguments = ["backfill", "--lake", "file:///a", "--out", "b", "--upto"];
    let check = |path: &str| BackfillSettings::check(&of_flags(&[&arguments[..], &[path]].concat()));
    let settings = check(frontier.path.to_str().unwrap()).unwrap();
    let Mode::Backfill { upto: Some(upto), .. } = settings.engine.mode else {
        panic!("{:?}", settings.engine.mode);
    };
    assert_eq!(upto.next("pin", Partition(0)), Some(Offset(12)));
    assert!(message(check("/nowhere/f.json").unwrap_err()).contains("--upto: cannot read /nowhere/f.json"));
}

#[test]
fn print_masks_secrets_and_reads_back_as_toml() {
    let file = file(
        "pinflow.toml",
        "[postgres]\nurl = \"postgres://me:s3cr3t@db/pins\"\npassword = \"s3cr3t\"\n\
         [kafka]\nbootstrap = \"k:1\"\n[kafka.topics]\npin = \"a.pin\"\n[kafka.properties]\n\"sasl.password\" = \"s3cr3t\"\n\
         \"sasl.username\" = \"me\"\n[lake]\naccept_gap = [\"pin/0:1..2\"]\n",
    );
    let effective = Effective::load(Some(&file.path), Vec::new(), flags(&["config", "print", "--top", "7"])).unwrap();
    let printed = effective.print();
    assert!(!printed.contains("s3cr3t"), "{printed}");
    assert!(printed.contains("url = \"postgres://me:***@db/pins\" # "), "{printed}");
    assert!(printed.contains("top = 7 # --top"), "{printed}");
    let table: toml::Table = printed.parse().unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(table["kafka"]["properties"]["sasl.password"].as_str(), Some("***"));
    assert_eq!(table["kafka"]["topics"]["pin"].as_str(), Some("a.pin"));
    assert_eq!(table["workers"]["threads"].as_integer(), Some(1));
    // and it is a configuration again
    let again = self::file("printed.toml", &printed);
    let read: Effective = Effective::load(Some(&again.path), Vec::new(), Entries::new()).unwrap();
    let values = |effective: &Effective| -> Vec<(String, toml::Value)> {
        let shown = effective
            .entries()
            .iter()
            .filter(|(path, _)| !path.ends_with("password") && *path != "postgres.url");
        shown
            .map(|(path, Entry { value, .. })| (path.clone(), value.clone()))
            .collect()
    };
    assert_eq!(values(&read), values(&effective));
    let run = RunSettings::check(&effective).unwrap();
    assert!(!format!("{run:?}").contains("s3cr3t"));
    let shown = |key: &str| {
        let of_key = run.shown.iter().find(|of| of.key == key).unwrap();
        (of_key.value.as_str(), of_key.source.as_str(), of_key.origin.as_str())
    };
    assert_eq!(shown("results.top"), ("7", "flag", "--top"));
    assert_eq!(shown("workers.threads"), ("1", "default", "default"));
    let at = format!("{}:3", file.path.display());
    assert_eq!(shown("postgres.password"), ("***", "file", at.as_str()));
    assert!(run.shown.iter().all(|of| !of.key.starts_with("archive.")));
}

#[test]
fn check_all_names_errors_in_files_of_results() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.sql"), "-- broken: a row\nSELECT nothing\n").unwrap();
    let effective = of_flags(&["config", "check", "--results", folder.path().to_str().unwrap()]);
    let text = message(check_all(&effective).unwrap_err());
    assert!(text.contains("broken.sql:2:"), "{text}");
}

#[test]
fn check_all_finds_wrong_values_of_any_command_and_misses_nothing_else() {
    assert!(check_all(&of_file("").unwrap()).is_ok());
    let text =
        message(check_all(&of_file("[demo]\nduration = \"soon\"\n[generate]\ndirty = 2\n").unwrap()).unwrap_err());
    assert!(
        text.contains("demo.duration") && text.contains("generate.dirty: 2 is out of range: expected 0 to 1"),
        "{text}"
    );
}

#[test]
fn durations_are_read() {
    let demo =
        |text: &str| DemoSettings::check(&of_flags(&["demo", "--duration", text])).map(|demo| demo.duration.unwrap());
    assert_eq!(demo("90").unwrap(), Duration::from_secs(90));
    assert_eq!(demo("1h30m").unwrap(), Duration::from_secs(5400));
    assert_eq!(demo("20s").unwrap(), Duration::from_secs(20));
    assert_eq!(demo("1m5ms").unwrap(), Duration::from_millis(60_005));
    for wrong in [
        "",
        "s",
        "ms",
        "5x",
        "5sm",
        "1m5",
        "99999999999999999999s",
        "9999999999999999d",
    ] {
        assert!(demo(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn keys_of_maps_are_found_by_their_beginning() {
    assert_eq!(
        key_of("kafka.properties.sasl.mechanism").unwrap().1,
        Some("sasl.mechanism")
    );
    assert_eq!(key_of("kafka.bootstrap").unwrap().1, None);
    assert!(key_of("kafka.properties.").is_none() && key_of("kafka").is_none());
}

#[test]
fn a_gateway_is_told_everything_by_flags_and_refuses_what_cannot_be() {
    let check = |more: &[&str]| {
        let base = ["gateway", "--listen", "127.0.0.1:8080", "--kafka", "localhost:9092"];
        GatewaySettings::check(&of_flags(&[&base[..], more].concat()))
    };
    let told = check(&[
        "--pin-partitions",
        "0a3.pin=6",
        "--pin-partitions",
        "geo=2",
        "--alias",
        "Old.Pins=0a3.pin",
        "--topics",
        "pin=0a3.pin",
    ])
    .unwrap();
    assert_eq!(told.pins, [("0a3.pin".to_owned(), 6), ("geo".to_owned(), 2)]);
    assert_eq!(told.aliases, [("Old.Pins".to_owned(), "0a3.pin".to_owned())]);
    assert_eq!(told.topics, [Some("0a3.pin".to_owned()), None, None]);
    assert_eq!(told.limits.produce_timeout, Duration::from_secs(10));
    let refused = |more: &[&str]| message(check(more).unwrap_err());
    assert!(refused(&["--pin-partitions", "pin=none"]).contains("invalid number of partitions `none`"));
    assert!(refused(&["--alias", "x=a b"]).contains("invalid topic name"));
    assert!(refused(&["--tls-cert", "c.pem"]).contains("both --tls-cert and --tls-key"));
    assert!(refused(&["--access-log", "syslog"]).contains("expected stdout, stderr or off"));
    let owned = refused(&["--kafka-property", "enable.idempotence=false"]);
    assert!(
        owned.contains("--kafka-property: Kafka property enable.idempotence cannot be set"),
        "{owned}"
    );
    assert_eq!(check(&[]).unwrap().prefixes, None);
    let told = check(&["--prefix", "/prod/", "--prefix", "api/kafka"]).unwrap();
    assert_eq!(told.prefixes, Some(vec!["/prod".to_owned(), "/api/kafka".to_owned()]));
    let own = message(check(&["--prefix", "/healthz"]).unwrap_err());
    assert!(own.contains("--prefix") && own.contains("`healthz` is a name"), "{own}");
    let missing = message(GatewaySettings::check(&of_flags(&["gateway"])).unwrap_err());
    assert!(missing.contains("--listen") && missing.contains("--kafka"), "{missing}");
    let open = GatewaySettings::check(&of_flags(&["gateway", "--kafka", "k:1", "--listen", "0.0.0.0:80"])).unwrap_err();
    assert!(message(open).contains("--insecure"));
}
