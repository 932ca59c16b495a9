//! `pinflow status`: asks a run for `/api/status` and prints the answer, once or every second.

mod table;

use crate::config::StatusSettings;
use crate::exit::Failure;
use crate::signals;
use anyhow::{Context, anyhow, bail};
use api::StatusBody;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;

/// The route.
const PATH: &str = "/api/status";
/// An answer is there by then.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer at most.
const ANSWER_LIMIT: usize = 16 << 20;
/// How often the status is printed again.
const EVERY: Duration = Duration::from_secs(1);
/// Moves the cursor to the first line and clears what is below.
const HOME: &str = "\x1b[H\x1b[J";

/// Prints the status, again and again with `--watch`, until Ctrl-C.
pub fn run(settings: &StatusSettings) -> Result<(), Failure> {
    let token = settings
        .token_file
        .as_deref()
        .map(workload::emulate::interface::http::bearer);
    let token = token.transpose().map_err(anyhow::Error::from)?;
    let run = Run::new(settings.address, token);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime")?;
    let (json, terminal) = (settings.json, std::io::stdout().is_terminal());
    if !settings.watch {
        let answer = runtime.block_on(run.ask())?;
        // the reader of standard output may be gone
        let _ = print(&text(&answer, json)?);
        return Ok(());
    }
    let stop = signals::watch_signals(&signals::STOP, |_, _| {}).context("cannot wait for signals")?;
    let clear = if terminal && !json { HOME } else { "" };
    Ok(runtime.block_on(watch_run(&run, stop, json, clear))?)
}

async fn watch_run(run: &Run, mut stop: watch::Receiver<usize>, json: bool, clear: &str) -> anyhow::Result<()> {
    loop {
        let answer = tokio::select! {
            answer = run.ask() => answer?,
            _ = stop.changed() => return Ok(()),
        };
        if print(&format!("{clear}{}", text(&answer, json)?)).is_err() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.changed() => return Ok(()),
        }
    }
}

/// What is printed of an answer.
fn text(answer: &[u8], json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(format!("{}\n", String::from_utf8_lossy(answer).trim_end()));
    }
    let body: StatusBody = serde_json::from_slice(answer).context("the answer of the run is no status")?;
    Ok(table::of(&body))
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A run that is asked.
struct Run {
    client: Client<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
    token: Option<HeaderValue>,
}

impl Run {
    fn new(address: SocketAddr, token: Option<HeaderValue>) -> Run {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build_http();
        Run { client, address, token }
    }

    /// Asks once; the body of the answer.
    async fn ask(&self) -> anyhow::Result<Bytes> {
        let url = format!("http://{}{PATH}", self.address);
        let mut request = Request::get(&url);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Empty::new()).context("no request can be made")?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| {
                let why = causes::with_causes(&error);
                anyhow!(
                    "no answer from {url}: {why}; does `pinflow run --listen {}` run?",
                    self.address
                )
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            let body = body.map_err(|error| anyhow!("the answer of {url} broke off: {error}"))?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let (status, body) = match tokio::time::timeout(TIMEOUT, answered).await {
            Ok(answered) => answered?,
            Err(_) => bail!("no answer from {url} within {TIMEOUT:?}"),
        };
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => bail!("{url} requires a token: give --token-file FILE"),
            StatusCode::NOT_FOUND => {
                bail!("{url} does not exist: the process that listens there is no run, or an older one")
            }
            status => {
                let text: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
                bail!("{url} answered {status}: {text}")
            }
        }
    }
}
