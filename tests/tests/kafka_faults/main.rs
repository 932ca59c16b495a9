//! Faults of Kafka and of the network: a leader that dies, round trips of seconds, a network that drops everything,
//! sessions that end, and retention that is faster than the engine.

mod delays;
mod leaders;
mod retention;
mod silence;
mod tokens;

use anyhow::{Result, anyhow};
use pinflow_tests::case::{Case, History};
use pinflow_tests::{IamProxy, Kafka, Postgres, Relay, long};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

/// The region that tokens are signed for.
const REGION: &str = "eu-west-1";
/// How long a session with a token lasts.
const SESSION: Duration = Duration::from_secs(3);

/// What is sent over a slow network arrives so much later: a round trip takes twice as long.
fn delay() -> Duration {
    Duration::from_millis(if long() { 2_500 } else { 1_200 })
}

/// The servers of this test program, and what stands in front of the broker; they end with it.
struct Servers {
    kafka: Kafka,
    postgres: Postgres,
    slow: Relay,
    /// One for each program that is cut off.
    cut: [Relay; 2],
    iam: [IamProxy; 2],
}

fn servers() -> Result<&'static Servers> {
    static SERVERS: OnceLock<Result<Servers, String>> = OnceLock::new();
    let started = SERVERS.get_or_init(|| Servers::start().map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow!("{error}"))
}

impl Servers {
    fn start() -> Result<Servers> {
        let mut listeners = Vec::new();
        // the broker's own port, and who stands before it
        let behind = || -> Result<SocketAddr> { Ok(([127, 0, 0, 1], servers::free_port()?).into()) };
        let mut listen = |own: SocketAddr, told: SocketAddr| listeners.push((own.port(), told.port()));
        let mut relay = |delay| -> Result<Relay> {
            let own = behind()?;
            let relay = Relay::slow(own, delay)?;
            listen(own, relay.address());
            Ok(relay)
        };
        let slow = relay(delay())?;
        let cut = [relay(Duration::ZERO)?, relay(Duration::ZERO)?];
        let mut proxy = || -> Result<IamProxy> {
            let own = behind()?;
            let proxy = IamProxy::to(own, REGION, SESSION)?;
            listen(own, proxy.address());
            Ok(proxy)
        };
        let iam = [proxy()?, proxy()?];
        Ok(Servers {
            kafka: Kafka::start_behind(&listeners)?,
            postgres: pinflow_tests::postgres()?,
            slow,
            cut,
            iam,
        })
    }
}

/// A case on these servers that has places alone, in one partition.
fn case(name: &str, history: History) -> Result<Case> {
    let servers = servers()?;
    let mut case = Case::on(&servers.kafka, &servers.postgres, name, 0, history)?;
    let geo = case.topic("geo");
    case.kafka.create_topic(&geo, 1, &[])?;
    case.topics = [None, Some(geo), None];
    Ok(case)
}
