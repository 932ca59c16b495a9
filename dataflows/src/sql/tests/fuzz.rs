//! No text makes the compiler panic or take long, and whatever it says has a place in the text.

use super::diagnostics::cases;
use crate::sql::Options;
use crate::sql::{Schema, SqlFile, built_in, compile};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Texts that the mutations start from.
fn seeds() -> Vec<String> {
    let accepted = cases(include_str!("accepted.txt"), "= ");
    let refused = cases(include_str!("refused.txt"), "! ");
    let built_in = built_in().into_iter().map(|file| file.text);
    accepted
        .into_iter()
        .chain(refused)
        .map(|(sql, _)| sql)
        .chain(built_in)
        .collect()
}

/// Words, numbers, texts and signs, with the space between them.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let end = if word(first) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (piece, more) = rest.split_at(end);
        pieces.push(piece);
        rest = more;
    }
    pieces
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let file = SqlFile {
        path: "r.sql".to_owned(),
        text: format!("-- r: a row\n{text}"),
    };
    let lines = file.text.split('\n').count() as u32;
    let start = Instant::now();
    let compiled = compile(&[file], &Schema::cleaned(), &Options { top: 10 });
    prop_assert!(start.elapsed() < Duration::from_secs(20), "{text}");
    match compiled {
        Ok(catalog) => prop_assert_eq!(catalog.results.len(), 1),
        Err(said) => {
            prop_assert!(!said.is_empty());
            for said in said {
                prop_assert!(
                    said.position.line >= 1 && said.position.line <= lines,
                    "{}\n{}",
                    said,
                    text
                );
                prop_assert!(
                    said.position.column >= 1 && !said.message.is_empty(),
                    "{}\n{}",
                    said,
                    text
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text(text in "\\PC{0,200}|[ -~\n]{0,200}|(SELECT|FROM|\\(|\\)|'|\"|--|/\\*|\\*/|,|[a-z]|[0-9]| |\n){0,80}") {
        check(&text)?;
    }

    #[test]
    fn a_changed_file(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..4), 1..6),
    ) {
        let seeds = seeds();
        let text = seed.get(&seeds);
        let mut pieces = pieces(text);
        for (at, from, change) in changes {
            if pieces.is_empty() {
                break;
            }
            let (at, from) = (at.index(pieces.len()), from.index(pieces.len()));
            match change {
                0 => drop(pieces.remove(at)),
                1 => pieces[at] = pieces[from],
                2 => pieces.insert(at, pieces[from]),
                _ => pieces.swap(at, from),
            }
        }
        check(&pieces.concat())?;
    }
}
