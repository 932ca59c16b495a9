//! Server-sent events: `snapshot` with all rows, `commit` with net changes, and the heartbeat.
//!
//! The id of an event is the commit that it leads to. The data is one line of JSON.

use crate::recent::{Delta, net};
use crate::rows::Format;
use crate::shared::Shared;
use crate::state::{Content, State};
use bytes::Bytes;
use http_server::give_way;
use std::sync::Arc;

/// Rows that are encoded before others get the processor: some tens of microseconds.
const ROWS_AT_ONCE: usize = 50;

/// A comment that shows proxies and clients that the connection is alive.
pub const HEARTBEAT: &[u8] = b": heartbeat\n\n";

/// `{"commit":…,"frontier":…,"tables":{"T":{"rows":[…]}}}` in pieces that are shared; `None` when a table is not held.
pub fn snapshot(shared: &Shared, state: &State, tables: &[usize]) -> Option<Vec<Bytes>> {
    let mut pieces = vec![Bytes::from(snapshot_head(state.commit))];
    pieces.push(state.frontier_json());
    for (place, number) in tables.iter().enumerate() {
        let shape = &shared.shapes[*number];
        let Content::Held(rows) = &state.tables.get(*number)?.content else {
            return None;
        };
        let before = if place == 0 { ",\"tables\":{" } else { "]}," };
        pieces.push(Bytes::from(format!("{before}\"{}\":{{\"rows\":[", shape.table.name)));
        pieces.extend(rows.encoded(shape, Format::Json));
    }
    let end = if tables.is_empty() {
        ",\"tables\":{}}\n\n"
    } else {
        "]}}}\n\n"
    };
    pieces.push(Bytes::from_static(end.as_bytes()));
    Some(pieces)
}

/// What a `snapshot` begins with, up to the frontier.
pub fn snapshot_head(commit: i64) -> String {
    format!("event: snapshot\nid: {commit}\ndata: {{\"commit\":{commit},\"frontier\":")
}

/// `{"from":…,"commit":…,"frontier":…,"tables":{"T":{"insert":[…],"update":[{"old":{…},"new":{…}}],"delete":[…]}}}`;
/// `None` when it is not known what changed.
pub fn commit(
    shared: &Shared,
    from: i64,
    commit: i64,
    frontier: &[u8],
    tables: &[usize],
    deltas: &[Arc<Delta>],
) -> Option<Bytes> {
    let head = format!("event: commit\nid: {commit}\ndata: {{\"from\":{from},\"commit\":{commit},\"frontier\":");
    let mut out = head.into_bytes();
    out.extend_from_slice(frontier);
    out.extend_from_slice(b",\"tables\":{");
    for (place, number) in tables.iter().enumerate() {
        let shape = &shared.shapes[*number];
        let changes = net(&shape.table, *number, deltas)?;
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{}\":{{", shape.table.name).as_bytes());
        let columns = shape.all();
        for (list, name) in ["\"insert\":[", "],\"update\":[", "],\"delete\":["]
            .into_iter()
            .enumerate()
        {
            out.extend_from_slice(name.as_bytes());
            let mut first = true;
            for (number, change) in changes.iter().enumerate() {
                if number % ROWS_AT_ONCE == 0 {
                    give_way();
                }
                let kind = match (&change.old, &change.new) {
                    (None, _) => 0,
                    (Some(_), Some(_)) => 1,
                    (Some(_), None) => 2,
                };
                if kind != list {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                match (&change.old, &change.new) {
                    (Some(old), Some(new)) => {
                        out.extend_from_slice(b"{\"old\":");
                        shape.json_row(&mut out, old, &columns);
                        out.extend_from_slice(b",\"new\":");
                        shape.json_row(&mut out, new, &columns);
                        out.push(b'}');
                    }
                    (None, Some(row)) | (Some(row), None) => shape.json_row(&mut out, row, &columns),
                    (None, None) => {}
                }
            }
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"}}\n\n");
    Some(out.into())
}
