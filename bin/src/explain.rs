//! `pinflow results explain`: what a result is made of, what it shares, and what it costs.

use crate::config::problem::{ConfigError, did_you_mean, nearest};
use crate::exit::Failure;
use crate::output;
use crate::results::compiled;
use dataflows::explain::{Column, Explanation, Part};
use dataflows::{Options, Results};
use operators::{Footprint, symbol};
use std::path::Path;

/// Prints what is known of the result `name` of a folder, or of the built-in ones.
pub fn explain(name: &str, folder: Option<&Path>, options: &Options) -> Result<(), Failure> {
    let results = compiled(folder, options)?;
    let explanation = results.explain(name).ok_or_else(|| unknown(name, &results))?;
    output::print(written(&explanation, results.definitions().len()))
}

fn unknown(name: &str, results: &Results) -> ConfigError {
    let names: Vec<&str> = results.definitions().iter().map(|of| of.table.name).collect();
    let suggestion = did_you_mean(nearest(name, names.iter().copied()));
    ConfigError::one(format!(
        "no result is called `{name}`{suggestion}\nthe results are: {}",
        names.join(", ")
    ))
}

/// All that is known of one of so many results.
fn written(explanation: &Explanation, results: usize) -> String {
    let mut text = format!("{}: {}\n", explanation.name, explanation.comment);
    text.push_str("\nquery, as PostgreSQL runs it:\n");
    // what ends a subquery stands behind its last line, or the query would be most of the text
    let sql = explanation.sql.replace("\n)", " )");
    sql.lines().for_each(|line| push(&mut text, 1, line));
    text.push_str("\nplan:\n");
    explanation
        .plan
        .iter()
        .for_each(|(depth, line)| push(&mut text, 1 + depth, line));
    text.push_str("\noperators, inputs first:\n");
    explanation
        .parts
        .iter()
        .for_each(|part| operator(&mut text, part, results));
    text.push('\n');
    post(&mut text, explanation);
    text
}

fn push(text: &mut String, depth: usize, line: &str) {
    text.push_str(&format!("{:indent$}{line}\n", "", indent = 2 * depth));
}

fn operator(text: &mut String, part: &Part, results: usize) {
    let step = &part.step;
    let shared = match part.shared_with.len() {
        0 => "not shared".to_owned(),
        others if others + 1 == results => "shared with all other results".to_owned(),
        _ => format!("shared with {}", part.shared_with.join(", ")),
    };
    let line = format!(
        "{} ({}): a change costs {}; {shared}",
        step.operator, step.finds, step.cost
    );
    push(text, 1, &line);
    for kept in &step.keeps {
        push(
            text,
            2,
            &format!("{:26} {}", format!("a {}", step.each(kept)), bytes(kept)),
        );
    }
}

fn bytes(kept: &Footprint) -> String {
    let mut text = format!("{} bytes", kept.bytes);
    if kept.indexed {
        let (least, most) = kept.range();
        text.push_str(&format!(" and {} to {} of index", least - kept.bytes, most - kept.most));
    }
    if kept.most > kept.bytes {
        text.push_str(&format!(", up to {} after long random change", kept.most));
    }
    if kept.staged > 0 {
        text.push_str(&format!(", {} more until its epoch closes", kept.staged));
    }
    text
}

fn post(text: &mut String, explanation: &Explanation) {
    let [kept, rest] = explanation.post;
    let without = if rest == kept {
        "as much".to_owned()
    } else {
        bytes(&rest)
    };
    text.push_str(&format!(
        "a post: {} for all results, {without} without this one\n",
        bytes(&kept)
    ));
    let [filled, rest] = explanation.filled;
    let room = dataflows::explain::bytes(dataflows::exec::ROOM);
    let line = format!("columns fill {filled} bytes of it, {rest} without this one; there is room for {room} at least");
    push(text, 1, &line);
    let mut tables: Vec<&str> = explanation.columns.iter().map(|column| column.table.as_str()).collect();
    tables.dedup();
    let width = tables.iter().map(|table| table.len()).max().unwrap_or(0);
    let listed = |is: &dyn Fn(&&Column) -> bool| -> Vec<String> {
        let columns = explanation.columns.iter().filter(is);
        columns
            .map(|column| format!("{} ({} bits)", column.text, column.bits))
            .collect()
    };
    for table in tables {
        let columns = listed(&|column| column.table == table);
        push(text, 1, &format!("{table:width$} {}", columns.join(", ")));
    }
    let own = listed(&|column| column.is_only_here);
    let own = if own.is_empty() {
        "none".to_owned()
    } else {
        own.join(", ")
    };
    push(text, 1, &format!("only for this result: {own}"));
    let (least, most) = symbol::footprint().range();
    push(
        text,
        1,
        &format!("a text is the number of a name, which takes {least} to {most} bytes, once for all results"),
    );
}
