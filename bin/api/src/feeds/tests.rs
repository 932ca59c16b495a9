//! Random commits, read by clients that lag, resume and drop: every client always has the rows of a commit, each event
//! begins where the one before it ended, and all end with the newest rows.

use super::*;
use crate::cell::Shape;
use crate::frontier::Frontier;
use crate::queue::Committed;
use crate::recent::Recent;
use crate::rows::tests::{TABLE, row};
use crate::rows::{Rows, difference};
use crate::state::{Bounds, Content, State};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use operators::{Row, Table, Value};
use proptest::prelude::*;
use serde_json::Value as Json;
use std::collections::BTreeMap;

const SECOND: Table = Table { name: "u", ..TABLE };

/// A PostgreSQL that is not there: all tables are held in memory.
fn unused() -> PostgresConfig {
    PostgresConfig::new("postgres://127.0.0.1:1/none", "none")
}

/// What both tables hold.
type Contents = [BTreeMap<i64, i64>; 2];

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    /// A commit: per table keys with their new values, or none.
    Commit([BTreeMap<i64, Option<i64>>; 2]),
    /// Commits were lost, and the tables are read again, so many commits later.
    Reload(i64, [BTreeMap<i64, i64>; 2]),
    /// A client connects, with a pace in milliseconds.
    Connect(u8, u64),
    /// A client reads for a moment, or until it has everything.
    Read(u8),
    /// A client loses its connection, and comes back with what it has seen.
    Resume(u8),
    /// Time passes, in milliseconds.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let changes = || prop::collection::btree_map(0i64..30, prop::option::of(0i64..4), 0..12);
    let rows = || prop::collection::btree_map(0i64..30, 0i64..4, 0..30);
    let step = prop_oneof![
        8 => (changes(), changes()).prop_map(|(a, b)| Step::Commit([a, b])),
        1 => (1i64..5, rows(), rows()).prop_map(|(later, a, b)| Step::Reload(later, [a, b])),
        2 => (0u8..4, prop_oneof![Just(0u64), Just(10), Just(25)]).prop_map(|(client, pace)| Step::Connect(client, pace)),
        3 => (0u8..4).prop_map(Step::Read),
        2 => (0u8..4).prop_map(Step::Resume),
        2 => (0u64..15).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

struct Client {
    subject: Subject,
    stream: BoxStream<'static, Result<Bytes, CutOff>>,
    text: String,
    at: i64,
    rows: Contents,
}

impl Client {
    async fn connect(feeds: &Arc<Feeds>, subject: Subject, seen: Option<(i64, Contents)>) -> Client {
        let stream = feeds
            .subscribe(&subject, seen.as_ref().map(|(at, _)| *at))
            .await
            .unwrap();
        let (at, rows) = seen.unwrap_or_default();
        Client {
            subject,
            stream: stream.boxed(),
            text: String::new(),
            at,
            rows,
        }
    }

    /// Takes what there is, until nothing has come for a moment.
    async fn read(&mut self, history: &BTreeMap<i64, Contents>, moment: Duration) {
        while let Ok(Some(piece)) = tokio::time::timeout(moment, self.stream.next()).await {
            self.text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                self.take(&event, history);
            }
        }
    }

    fn take(&mut self, event: &str, history: &BTreeMap<i64, Contents>) {
        let mut lines = event.lines();
        let (name, id, data) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(lines.next(), None);
        let data: Json = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let commit = data["commit"].as_i64().unwrap();
        assert_eq!(id, format!("id: {commit}"));
        assert_eq!(data["frontier"]["pin"]["0"].as_i64(), Some(commit * 10));
        match name {
            "event: snapshot" => self.rows = Contents::default(),
            "event: commit" => {
                assert_eq!(
                    data["from"].as_i64(),
                    Some(self.at),
                    "an event begins where the last one ended"
                );
                assert!(commit > self.at);
            }
            other => panic!("{other}"),
        }
        assert_eq!(data["tables"].as_object().unwrap().len(), self.subject.tables.len());
        for number in self.subject.tables.clone() {
            let (table, rows) = (&data["tables"][["t", "u"][number]], &mut self.rows[number]);
            for row in table["rows"].as_array().into_iter().flatten() {
                let (key, value) = pair(row);
                assert_eq!(rows.insert(key, value), None);
            }
            for row in table["insert"].as_array().into_iter().flatten() {
                let (key, value) = pair(row);
                assert_eq!(rows.insert(key, value), None, "an inserted row is new");
            }
            for row in table["update"].as_array().into_iter().flatten() {
                let ((key, old), (same, new)) = (pair(&row["old"]), pair(&row["new"]));
                assert!(key == same && old != new, "an updated row differs");
                assert_eq!(rows.insert(key, new), Some(old));
            }
            for row in table["delete"].as_array().into_iter().flatten() {
                let (key, value) = pair(row);
                assert_eq!(rows.remove(&key), Some(value));
            }
            assert_eq!(*rows, history[&commit][number], "the rows are those of commit {commit}");
        }
        self.at = commit;
    }
}

fn pair(row: &Json) -> (i64, i64) {
    (row["key"].as_i64().unwrap(), row["value"].as_i64().unwrap())
}

fn rows_of(contents: &BTreeMap<i64, i64>) -> Rows {
    Rows::of(&TABLE, contents.iter().map(|(key, value)| row(*key, *value)).collect())
}

/// The changes that make one content of another, as the engine reports them.
fn reported(table: &Table, before: &BTreeMap<i64, i64>, after: &BTreeMap<i64, i64>) -> Vec<(Row, isize)> {
    let changes = difference(table, &rows_of(before), &rows_of(after));
    let sides = changes.into_iter().flat_map(|change| {
        let gone = change.old.map(|row| ((*row).clone(), -1));
        gone.into_iter().chain(change.new.map(|row| ((*row).clone(), 1)))
    });
    sides.collect()
}

fn frontier(commit: i64) -> Frontier {
    Frontier::of(Frontier::default().places(), &[("pin", 0, commit * 10)])
}

async fn play(steps: Vec<Step>, most_recent: usize) {
    let shapes = || vec![Shape::new(TABLE), Shape::new(SECOND)];
    let recent = Recent::new(1 << 20, most_recent);
    let shared = Arc::new(Shared::of(shapes(), Vec::new(), Bounds::default(), recent));
    let feeds = Feeds::new(Arc::clone(&shared), unused(), Handle::current());
    let mut contents = Contents::default();
    let mut history = BTreeMap::from([(1, contents.clone())]);
    let replace = |commit: i64, contents: &Contents| {
        let held = contents
            .iter()
            .map(|rows| (Content::Held(rows_of(rows)), rows.len() as u64))
            .collect();
        let before = shared.state();
        let bounds = Bounds::default();
        let (state, delta) = State::replacing(before.as_deref(), &shapes(), &bounds, commit, frontier(commit), held);
        shared.publish(state, delta);
    };
    replace(1, &contents);
    let mut clients: BTreeMap<u8, Client> = BTreeMap::new();
    for step in steps {
        let last = *history.last_key_value().unwrap().0;
        match step {
            Step::Commit(changes) => {
                let before = contents.clone();
                for (rows, changes) in contents.iter_mut().zip(changes) {
                    for (key, value) in changes {
                        match value {
                            Some(value) => drop(rows.insert(key, value)),
                            None => drop(rows.remove(&key)),
                        }
                    }
                }
                let commit = Committed {
                    number: last + 1,
                    full_snapshot: false,
                    frontier: frontier(last + 1),
                    results: (0..2)
                        .map(|number| reported(&TABLE, &before[number], &contents[number]))
                        .collect(),
                };
                let state = shared.state().unwrap();
                let (state, delta) = state.after(&shapes(), &Bounds::default(), commit).unwrap();
                history.insert(last + 1, contents.clone());
                shared.publish(state, Some(delta));
            }
            Step::Reload(later, rows) => {
                contents = rows;
                history.insert(last + later, contents.clone());
                replace(last + later, &contents);
            }
            Step::Connect(name, pace) => {
                let subject = Subject {
                    tables: [vec![0], vec![1], vec![0, 1], vec![0, 1]][name as usize].clone(),
                    pace: Duration::from_millis(pace),
                };
                clients.insert(name, Client::connect(&feeds, subject, None).await);
            }
            Step::Read(name) => {
                if let Some(client) = clients.get_mut(&name) {
                    client.read(&history, Duration::from_millis(2)).await;
                }
            }
            Step::Resume(name) => {
                if let Some(client) = clients.remove(&name) {
                    // what was sent in part is lost with the connection
                    let seen = (client.at > 0).then_some((client.at, client.rows));
                    clients.insert(name, Client::connect(&feeds, client.subject, seen).await);
                }
            }
            Step::Pass(time) => tokio::time::sleep(Duration::from_millis(time)).await,
        }
    }
    let (last, contents) = history.last_key_value().unwrap();
    for client in clients.values_mut() {
        client.read(&history, Duration::from_millis(60)).await;
        assert_eq!(client.at, *last);
        for number in &client.subject.tables {
            assert_eq!(client.rows[*number], contents[*number]);
        }
    }
    drop(clients);
    // feeds without clients end
    for _ in 0..10_000 {
        if feeds.lock().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("a feed outlives its clients");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn clients_that_lag_resume_and_drop_have_the_rows_of_a_commit(steps in steps(), most_recent in 0usize..20) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps, most_recent));
    }
}

#[tokio::test]
async fn a_frontier_that_moves_alone_is_an_event_and_a_heartbeat_commit_is_none() {
    let shapes = || vec![Shape::new(TABLE)];
    let shared = Arc::new(Shared::of(
        shapes(),
        Vec::new(),
        Bounds::default(),
        Recent::new(1 << 20, 10),
    ));
    let feeds = Feeds::new(Arc::clone(&shared), unused(), Handle::current());
    let subject = Subject {
        tables: vec![0],
        pace: Duration::ZERO,
    };
    assert_eq!(feeds.subscribe(&subject, None).await.err().unwrap().status, 503);
    let held = vec![(Content::Held(Rows::of(&TABLE, vec![row(1, 1)])), 1)];
    let (state, _) = State::replacing(None, &shapes(), &Bounds::default(), 5, frontier(5), held);
    shared.publish(state, None);
    let mut stream = std::pin::pin!(feeds.subscribe(&subject, None).await.unwrap());
    let mut first = String::new();
    while !first.ends_with("\n\n") {
        first.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(
        first,
        "event: snapshot\nid: 5\ndata: {\"commit\":5,\"frontier\":{\"pin\":{\"0\":50}},\"tables\":{\"t\":{\"rows\":\
         [{\"key\":1,\"value\":1}]}}}\n\n"
    );
    let commit = |number: i64, frontier, results: Vec<(Row, isize)>| {
        let commit = Committed {
            number,
            full_snapshot: false,
            frontier,
            results: vec![results],
        };
        let (state, delta) = shared
            .state()
            .unwrap()
            .after(&shapes(), &Bounds::default(), commit)
            .unwrap();
        shared.publish(state, Some(delta));
    };
    commit(6, frontier(5), Vec::new());
    let quiet = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
    assert!(quiet.is_err(), "nothing changed");
    commit(7, frontier(7), Vec::new());
    let moved = stream.next().await.unwrap().unwrap();
    assert_eq!(
        std::str::from_utf8(&moved).unwrap(),
        "event: commit\nid: 7\ndata: {\"from\":5,\"commit\":7,\"frontier\":{\"pin\":{\"0\":70}},\"tables\":{\"t\":\
         {\"insert\":[],\"update\":[],\"delete\":[]}}}\n\n"
    );
    let values = |key: i64, value: i64| vec![Value::Int(key), Value::Int(value)];
    let rows = vec![(values(1, 1), -1), (values(1, 2), 1), (values(2, 2), 1)];
    commit(8, frontier(8), rows);
    let changed = stream.next().await.unwrap().unwrap();
    assert_eq!(
        std::str::from_utf8(&changed).unwrap(),
        "event: commit\nid: 8\ndata: {\"from\":7,\"commit\":8,\"frontier\":{\"pin\":{\"0\":80}},\"tables\":{\"t\":\
         {\"insert\":[{\"key\":2,\"value\":2}],\"update\":[{\"old\":{\"key\":1,\"value\":1},\"new\":{\"key\":1,\"value\":2}}],\
         \"delete\":[]}}}\n\n"
    );
}

/// Keys of a table of which each commit changes all rows.
const KEYS: i64 = 6000;

/// Feeds of a table with so many rows, at commit 1.
fn one_table(keys: i64) -> (Arc<Shared>, Arc<Feeds>) {
    let shapes = || vec![Shape::new(TABLE)];
    let recent = Recent::new(256 << 20, 1000);
    let shared = Arc::new(Shared::of(shapes(), Vec::new(), Bounds::default(), recent));
    let feeds = Feeds::new(Arc::clone(&shared), unused(), Handle::current());
    let rows = (0..keys).map(|key| row(key, 0)).collect();
    let held = vec![(Content::Held(Rows::of(&TABLE, rows)), keys as u64)];
    let (state, _) = State::replacing(None, &shapes(), &Bounds::default(), 1, frontier(1), held);
    shared.publish(state, None);
    (shared, feeds)
}

/// The next commit changes all rows.
fn change_all(shared: &Shared, commit: i64) {
    let sides = |value: i64, diff| (0..KEYS).map(move |key| (vec![Value::Int(key), Value::Int(value)], diff));
    publish(
        shared,
        commit,
        sides(commit - 2, -1).chain(sides(commit - 1, 1)).collect(),
    );
}

fn publish(shared: &Shared, commit: i64, changes: Vec<(Row, isize)>) {
    let changed = Committed {
        number: commit,
        full_snapshot: false,
        frontier: frontier(commit),
        results: vec![changes],
    };
    let (state, delta) = shared
        .state()
        .unwrap()
        .after(&shared.shapes, &Bounds::default(), changed)
        .unwrap();
    shared.publish(state, Some(delta));
}

/// Commits that change more than is encoded for one client alone, faster than the pace: a client that missed an event, or
/// is new, needs one snapshot and no more, since that ends where the next event of all begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_sent_a_snapshot_takes_the_events_of_all_from_there() {
    let (shared, feeds) = one_table(KEYS);
    let subject = Subject {
        tables: vec![0],
        pace: Duration::from_millis(200),
    };
    // one client is there from the beginning; the other one comes between two events
    let first = feeds.subscribe(&subject, None).await.unwrap();
    let publishing = Arc::clone(&shared);
    let commits = tokio::spawn(async move {
        for commit in 2.. {
            change_all(&publishing, commit);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = feeds.subscribe(&subject, None).await.unwrap();
    for stream in [first.boxed(), second.boxed()] {
        let mut stream = stream;
        let (mut snapshots, mut events) = (0, 0);
        while events < 5 {
            let piece = stream.next().await.unwrap().unwrap();
            snapshots += usize::from(piece.starts_with(b"event: snapshot"));
            events += usize::from(piece.starts_with(b"event: commit"));
            assert!(snapshots <= 2, "{snapshots} snapshots, {events} events");
            // it looks for the next event while that is no longer the newest state
            if piece.ends_with(b"\n\n") {
                tokio::time::sleep(Duration::from_millis(120)).await;
            }
        }
    }
    commits.abort();
}

/// Clients that missed the same events are sent the same bytes, encoded once, whatever their number: were each of them
/// sent a snapshot, or changes of its own, the next event would be missed as well, and none would ever be in time again.
#[tokio::test]
async fn clients_that_missed_the_same_events_share_what_they_are_sent() {
    let (shared, feeds) = one_table(KEYS);
    let subject = Subject {
        tables: vec![0],
        pace: Duration::ZERO,
    };
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut stream = feeds.subscribe(&subject, None).await.unwrap().boxed();
        while !stream.next().await.unwrap().unwrap().ends_with(b"\n\n") {}
        clients.push(stream);
    }
    for commit in 2..5 {
        change_all(&shared, commit);
        // the feed makes an event of each commit
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut sent = Vec::new();
    for stream in &mut clients {
        sent.push(stream.next().await.unwrap().unwrap());
    }
    let head = b"event: commit\nid: 4\ndata: {\"from\":1,\"commit\":4,";
    assert!(
        sent[0].starts_with(head) && sent[0].len() > 256 << 10,
        "{} bytes",
        sent[0].len()
    );
    assert!(
        sent.iter().all(|piece| piece.as_ptr() == sent[0].as_ptr()),
        "each was encoded on its own"
    );
}

/// Takes one whole event.
async fn event(stream: &mut BoxStream<'static, Result<Bytes, CutOff>>) -> Vec<u8> {
    let mut event = Vec::new();
    while !event.ends_with(b"\n\n") {
        event.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    event
}

/// An event keeps what it encodes for clients that missed others, for the next one that missed as many. Clients that are
/// all somewhere else do not make it keep more than some megabytes: the rest of them gets a snapshot, of which there is one.
#[tokio::test]
async fn what_is_kept_for_clients_at_many_commits_is_bounded() {
    const COMMITS: i64 = 40;
    const ADDED: i64 = 600;
    let (shared, feeds) = one_table(0);
    let subject = Subject {
        tables: vec![0],
        pace: Duration::ZERO,
    };
    let mut clients = Vec::new();
    for commit in 2..2 + COMMITS {
        let mut stream = feeds.subscribe(&subject, None).await.unwrap().boxed();
        assert!(event(&mut stream).await.starts_with(b"event: snapshot"));
        clients.push(stream);
        let added = (commit * ADDED..(commit + 1) * ADDED).map(|key| (vec![Value::Int(key), Value::Int(0)], 1));
        publish(&shared, commit, added.collect());
        // the feed makes an event of each commit
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (mut changes, mut rows) = (Vec::new(), 0);
    // the ones that missed the least come first
    for (missed, stream) in (1..).zip(clients.iter_mut().rev()) {
        let event = event(stream).await;
        let text = std::str::from_utf8(&event).unwrap();
        let data: Json = serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap();
        assert_eq!(data["commit"], 1 + COMMITS);
        let of = |what: &str| data["tables"]["t"][what].as_array().map_or(0, Vec::len) as i64;
        if text.starts_with("event: commit") {
            assert_eq!(
                (&data["from"], of("insert")),
                (&Json::from(1 + COMMITS - missed), missed * ADDED)
            );
            changes.push(event.len());
        } else {
            rows = of("rows");
            assert_eq!(rows, COMMITS * ADDED);
        }
    }
    let kept: usize = changes.iter().sum();
    assert!(
        (8 << 20..13 << 20).contains(&kept),
        "{kept} bytes of {} clients",
        changes.len()
    );
    assert!(rows > 0, "no client was sent a snapshot");
}
