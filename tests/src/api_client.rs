//! A client of the API: single requests, and streams of server-sent events.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(90);

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, without its transfer encoding.
    pub body: String,
}

impl Answered {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{} {}", self.status, self.body))
    }

    /// A header, empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Sends a GET with these headers and reads the whole answer.
pub fn ask(address: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answered> {
    let mut connection = Connection::open(address, path, headers, LIMIT)?;
    let mut body = String::new();
    match connection.headers.get("content-length") {
        Some(length) => {
            let mut bytes = vec![0; length.parse()?];
            connection.reader.read_exact(&mut bytes)?;
            body = String::from_utf8(bytes)?;
        }
        None if connection.status == 304 => {}
        None => {
            while let Some(chunk) = connection.chunk()? {
                body.push_str(&chunk);
            }
        }
    }
    Ok(Answered {
        status: connection.status,
        headers: connection.headers,
        body,
    })
}

/// The JSON of a 200.
pub fn ask_json(address: &str, path: &str) -> Result<Value> {
    let answered = ask(address, path, &[])?;
    ensure!(answered.status == 200, "{path}: {} {}", answered.status, answered.body);
    answered.json()
}

/// An event.
#[derive(Debug)]
pub struct Event {
    /// `snapshot` or `commit`.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its data.
    pub data: Value,
}

/// A stream of server-sent events.
pub struct EventStream {
    connection: Connection,
    text: String,
}

impl EventStream {
    /// Connects; `seen` is the id of the last event that was seen.
    pub fn open(address: &str, path: &str, seen: Option<&str>) -> Result<EventStream> {
        let headers: Vec<(&str, &str)> = seen.iter().map(|id| ("last-event-id", *id)).collect();
        let connection = Connection::open(address, path, &headers, Duration::from_secs(20))?;
        ensure!(connection.status == 200, "{path}: status {}", connection.status);
        ensure!(connection.headers["content-type"] == "text/event-stream");
        Ok(EventStream {
            connection,
            text: String::new(),
        })
    }

    /// The next event; comments are skipped.
    pub fn next_event(&mut self) -> Result<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.starts_with(':') {
                    continue;
                }
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or_default()
                };
                return Ok(Event {
                    name: field("event: ").to_owned(),
                    id: field("id: ").to_owned(),
                    data: serde_json::from_str(field("data: ")).with_context(|| event.clone())?,
                });
            }
            match self.connection.chunk()? {
                Some(chunk) => self.text.push_str(&chunk),
                None => bail!("the stream ended"),
            }
        }
    }
}

/// What a client knows of tables by following their events.
#[derive(Debug, Default)]
pub struct Followed {
    /// The commit.
    pub commit: i64,
    /// The frontier.
    pub frontier: Value,
    /// Rows by table, each by its JSON.
    pub tables: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Followed {
    /// Takes an event, which has to follow what is known.
    pub fn take(&mut self, event: &Event) -> Result<()> {
        let data = &event.data;
        let commit = data["commit"].as_i64().context("no commit")?;
        ensure!(event.id == commit.to_string(), "id {} of commit {commit}", event.id);
        match event.name.as_str() {
            "snapshot" => self.tables.clear(),
            "commit" => ensure!(
                data["from"] == self.commit,
                "{data} does not follow commit {}",
                self.commit
            ),
            other => bail!("an event {other}"),
        }
        for (table, changes) in data["tables"].as_object().context("no tables")? {
            let rows = self.tables.entry(table.clone()).or_default();
            let list = |name: &str| changes[name].as_array().cloned().unwrap_or_default();
            let updates = list("update");
            ensure!(updates.iter().all(|update| update["old"] != update["new"]), "{data}");
            let gone = updates.iter().map(|update| update["old"].clone()).chain(list("delete"));
            for row in gone.collect::<Vec<_>>() {
                ensure!(rows.remove(&row.to_string()).is_some(), "{row} was not there: {data}");
            }
            let came = updates.iter().map(|update| update["new"].clone());
            for row in came.chain(list("insert")).chain(list("rows")) {
                ensure!(
                    rows.insert(row.to_string(), row.clone()).is_none(),
                    "{row} was there: {data}"
                );
            }
        }
        self.commit = commit;
        self.frontier = data["frontier"].clone();
        Ok(())
    }

    /// Takes events until the frontier of a partition has reached `next`.
    pub fn follow(&mut self, stream: &mut EventStream, topic: &str, partition: i32, next: i64) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.frontier[topic][partition.to_string()].as_i64().unwrap_or(-1) < next {
            ensure!(
                Instant::now() < deadline,
                "{topic}/{partition} does not reach {next}: {}",
                self.frontier
            );
            self.take(&stream.next_event()?)?;
        }
        Ok(())
    }
}

struct Connection {
    reader: BufReader<TcpStream>,
    status: u16,
    headers: BTreeMap<String, String>,
}

impl Connection {
    fn open(address: &str, path: &str, headers: &[(&str, &str)], limit: Duration) -> Result<Connection> {
        let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(limit))?;
        let more: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n"
        )?;
        let mut reader = BufReader::new(stream);
        let status = line(&mut reader)?;
        let status = status.split(' ').nth(1).context("no status")?.parse()?;
        let mut headers = BTreeMap::new();
        loop {
            let line = line(&mut reader)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        Ok(Connection {
            reader,
            status,
            headers,
        })
    }

    /// The next chunk; none at the end of the body.
    fn chunk(&mut self) -> Result<Option<String>> {
        let length = line(&mut self.reader)?;
        let length = usize::from_str_radix(&length, 16).with_context(|| format!("the length `{length}`"))?;
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        line(&mut self.reader)?;
        Ok((length > 0).then_some(String::from_utf8(bytes)?))
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
