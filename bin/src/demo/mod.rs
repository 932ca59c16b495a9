//! `pinflow demo`: the complete pipeline on one machine; only PostgreSQL has to be installed.
//!
//! An embedded broker, an S3 server in this process and a private PostgreSQL cluster are started, and a history of
//! posts is written. Then the commands of this program run as processes of their own, exactly as in a
//! deployment: `run` replays the history, follows the live log and serves its page, `gateway` takes records over HTTP,
//! `archive` writes them to S3, and `emulate` sends them in three dialects, a few of them damaged. The terminal says in a
//! few lines what the page shows. At the end `audit` says whether the lake covers the log, and `verify --replay` whether
//! the tables are correct. All processes are stopped and all files are removed, unless `--dir` keeps them.

mod common;
mod history;
mod live;
mod local_servers;
mod parts;
mod show;
mod stop;
mod story;

use crate::config::DemoSettings;
use anyhow::{Context, Result, ensure};
use common::{BUCKET, DIRTY, DUPLICATES, PATIENCE, PREFIX, connect, flags, frontier, say};
use live::Probes;
use local_servers::Servers;
use parts::Part;
use servers::free_port;
use show::{print_freshness, print_tables};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use stop::Stop;
use story::Story;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

/// Records a second that the embedded broker can keep: a partition holds 5 MiB, which is seven seconds of pins then.
pub const MAX_RATE: u64 = 3_000;

/// The archiver closes its objects this often, well before the embedded broker forgets.
const ROTATE: Duration = Duration::from_secs(2);
/// Where the page is, if nothing else listens there.
const PAGE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// How often the parts and the tables are looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Runs the demo to its end.
pub fn run(settings: &DemoSettings) -> Result<()> {
    ensure!(
        settings.rate <= MAX_RATE,
        "--rate {} exceeds the capacity of the embedded broker: at most {MAX_RATE} records/s (use Apache Kafka for more)",
        settings.rate
    );
    let stop = Stop::on_signals()?;
    // removed when it is dropped
    let temporary = tempfile::tempdir().context("creating a folder for the demo")?;
    let dir = match &settings.dir {
        Some(dir) => fresh_folder(dir)?,
        None => temporary.path().to_owned(),
    };

    let listen = match settings.listen {
        Some(listen) => listen,
        None => page_address().context("looking for a free port")?,
    };
    let page = reached_by(listen);
    say(&format!(
        "open http://{page}/ (it answers as soon as the history is written)"
    ));
    say("starting PostgreSQL, an S3 server and a broker on 127.0.0.1");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let servers = Servers::start(settings, &dir)?;
    let password = servers.postgres.password_file();
    say(&format!("the database password is in {}", password.display()));
    say(&format!(
        "writing a history of {} posts to s3://{BUCKET}/{PREFIX}",
        settings.posts
    ));
    let written = history::write(settings.posts, settings.seed, &runtime, &servers.broker, &servers.s3)?;

    let mut chain = Chain::start(listen, &servers, &dir)?;
    let mut story = Story::of(page);
    let began = Instant::now();
    let client = runtime.block_on(connect(&servers.postgres.url()))?;
    chain.wait_for_frontier(&runtime, &client, &written, Some((&stop, &mut story)))?;
    say(&format!(
        "history is committed: {} records in {:.1} s",
        written.iter().sum::<i64>(),
        began.elapsed().as_secs_f64()
    ));
    story.hand_over(&runtime);

    let freshness = stream(settings, &servers, &mut chain, &runtime, (&stop, &mut story), &dir)?;
    let sent = servers.log_end()?;
    chain.wait_for_frontier(&runtime, &client, &sent, None)?;
    chain.stop()?;
    say("the live stream has ended and every record is committed:");
    print_tables(&runtime, &client)?;
    print_freshness(freshness, settings.rate);
    drop(client);
    servers.prove()?;
    if settings.dir.is_some() {
        say(&format!("kept: {}", dir.display()));
    }
    Ok(())
}

/// Sends the live stream until its time is over or the end is asked for. Returns how long records took to be visible.
fn stream(
    settings: &DemoSettings,
    servers: &Servers,
    chain: &mut Chain,
    runtime: &Runtime,
    (stop, story): (&Stop, &mut Story),
    dir: &Path,
) -> Result<Vec<Duration>> {
    let lasts = settings
        .duration
        .map_or("until Ctrl-C".to_owned(), |duration| format!("for {duration:?}"));
    let mut emulator = match settings.rate {
        0 => None,
        rate => {
            say(&format!(
                "sending {rate} records/s {lasts} to the FastAPI, Kafka REST proxy and Kinesis interfaces"
            ));
            let arguments = [
                ("--to", chain.gateway_url.clone()),
                ("--api", "pin,rest,kinesis".to_owned()),
                ("--rate", rate.to_string()),
                ("--seed", settings.seed.to_string()),
                ("--first-post", settings.posts.to_string()),
                ("--duplicates", DUPLICATES.to_string()),
                ("--dirty", DIRTY.to_string()),
            ];
            Some(Part::start("emulate", &flags(arguments), &[], dir)?)
        }
    };
    let postgres = servers.postgres.url();
    let mut probes = Probes::start(runtime, &chain.gateway_url, &postgres, settings.seed, settings.posts)?;
    let began = Instant::now();
    while settings.duration.is_none_or(|duration| began.elapsed() < duration) && !stop.within(LOOK) {
        chain.check()?;
        probes.check(runtime)?;
        if let Some(emulator) = &mut emulator {
            emulator.check()?;
        }
        story.live(runtime);
    }
    let seen = probes.finish();
    if let Some(mut emulator) = emulator {
        let counts: serde_json::Value = serde_json::from_str(&emulator.stop(PATIENCE)?)?;
        let sum = |of: &serde_json::Value| {
            let numbers = of.as_object().into_iter().flat_map(serde_json::Map::values);
            numbers.filter_map(serde_json::Value::as_u64).sum::<u64>()
        };
        let (acknowledged, refused) = (sum(&counts["acknowledged"]), sum(&counts["refused"]));
        say(&format!(
            "the gateway acknowledged {acknowledged} records and refused {refused}"
        ));
    }
    Ok(seen)
}

/// [`PAGE`], or another port where that is taken. Another process may take it before the run does: then the run exits
/// with an error.
fn page_address() -> std::io::Result<SocketAddr> {
    match TcpListener::bind(PAGE) {
        Ok(_) => Ok(PAGE),
        Err(_) => Ok(SocketAddr::new(PAGE.ip(), free_port()?)),
    }
}

/// How this machine reaches what listens on an address.
fn reached_by(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A folder for a new demo: the embedded broker keeps nothing, so an earlier demo cannot be continued.
fn fresh_folder(dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let empty = std::fs::read_dir(dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .next()
        .is_none();
    ensure!(
        empty,
        "--dir {} is not empty: the demo needs an empty folder",
        dir.display()
    );
    dir.canonicalize()
        .with_context(|| format!("resolving {}", dir.display()))
}

/// The commands that run from the history's end to the stream's.
struct Chain {
    engine: Part,
    archiver: Part,
    gateway: Part,
    gateway_url: String,
}

impl Chain {
    fn start(listen: SocketAddr, servers: &Servers, dir: &Path) -> Result<Chain> {
        let mut engine = servers.all();
        engine.extend(["--listen".to_owned(), listen.to_string()]);
        let engine = Part::start("run", &engine, &servers.environment(), dir)?;
        let [lake, endpoint] = servers.lake();
        let rotate = ("--rotate-schedule-interval-ms", ROTATE.as_millis().to_string());
        let archiver = flags([servers.kafka(), lake, endpoint, rotate]);
        let archiver = Part::start("archive", &archiver, &servers.keys(), dir)?;
        // another process may take the port before the gateway does: then the gateway exits with an error
        let listen = format!("127.0.0.1:{}", free_port()?);
        let gateway = flags([
            servers.kafka(),
            ("--listen", listen.clone()),
            ("--access-log", "off".into()),
            ("--drain-delay", "0s".into()),
        ]);
        let mut gateway = Part::start("gateway", &gateway, &[], dir)?;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(&listen).is_err() {
            gateway.check()?;
            ensure!(
                Instant::now() < deadline,
                "the gateway did not start:\n{}",
                gateway.tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Chain {
            engine,
            archiver,
            gateway,
            gateway_url: format!("http://{listen}"),
        })
    }

    /// Fails when one of them has ended by itself.
    fn check(&mut self) -> Result<()> {
        self.engine.check()?;
        self.archiver.check()?;
        self.gateway.check()
    }

    fn wait_for_frontier(
        &mut self,
        runtime: &Runtime,
        client: &Client,
        wanted: &[i64; 3],
        mut told: Option<(&Stop, &mut Story)>,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.check()?;
            let reached = runtime.block_on(frontier(client))?;
            if reached.iter().zip(wanted).all(|(reached, wanted)| reached >= wanted) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the committed frontier reached {reached:?} of {wanted:?} within {PATIENCE:?}:\n{}",
                self.engine.tail()
            );
            match &mut told {
                Some((stop, story)) => {
                    ensure!(!stop.within(LOOK), "stopped before history was committed");
                    story.replay(runtime);
                }
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Stops them in the order of the data flow; by then the archiver has closed the objects of the live stream.
    fn stop(&mut self) -> Result<()> {
        self.gateway.stop(PATIENCE)?;
        std::thread::sleep(ROTATE + Duration::from_millis(500));
        self.archiver.stop(PATIENCE)?;
        self.engine.stop(PATIENCE)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_on_this_machine_and_on_another_port_where_its_own_is_taken() {
        let first = page_address().unwrap();
        let _taken = TcpListener::bind(first);
        let second = page_address().unwrap();
        assert!(first.ip().is_loopback() && second.ip().is_loopback());
        assert_ne!(second, PAGE);
        let reached = |listen: &str| reached_by(listen.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("127.0.0.2:80"), "127.0.0.2:80");
    }

    #[test]
    fn a_rate_beyond_the_broker_is_refused_before_anything_is_started() {
        let settings = DemoSettings {
            posts: 1,
            seed: 1,
            rate: MAX_RATE + 1,
            duration: None,
            listen: None,
            dir: Some("/nonexistent/of/the/demo".into()),
        };
        let error = run(&settings).unwrap_err().to_string();
        assert!(error.contains("--rate 3001") && error.contains("3000"), "{error}");
    }
}
