//! Functions of text. A character is a code point, and texts are equal when their bytes are.

use crate::sql::plan::Side;

/// `left(text, count)`.
pub fn left(text: &str, count: usize) -> &str {
    split(text, count).0
}

/// `right(text, count)`.
pub fn right(text: &str, count: usize) -> &str {
    split(text, length(text).saturating_sub(count)).1
}

/// `substr(text, from, count)`, `from` from 1.
pub fn substr(text: &str, from: usize, count: Option<usize>) -> &str {
    let rest = split(text, from.saturating_sub(1)).1;
    count.map_or(rest, |count| left(rest, count))
}

/// `length(text)`.
pub fn length(text: &str) -> usize {
    text.chars().count()
}

/// `replace(text, from, to)`.
pub fn replace(text: &str, from: &str, to: &str) -> String {
    match from {
        // where Rust would put `to` between all characters
        "" => text.to_owned(),
        _ => text.replace(from, to),
    }
}

/// `split_part(text, delimiter, n)`, `n` from 1.
pub fn split_part<'t>(text: &'t str, delimiter: &str, n: usize) -> &'t str {
    let part = match delimiter {
        "" => (n == 1).then_some(text),
        _ => text.split(delimiter).nth(n.saturating_sub(1)),
    };
    part.unwrap_or("")
}

/// `strpos(text, part)`.
pub fn strpos(text: &str, part: &str) -> usize {
    text.find(part).map_or(0, |at| length(&text[..at]) + 1)
}

/// `btrim`, `ltrim`, `rtrim`.
pub fn trim<'t>(side: Side, text: &'t str, characters: &str) -> &'t str {
    let of = |character: char| characters.contains(character);
    match side {
        Side::Both => text.trim_matches(of),
        Side::Left => text.trim_start_matches(of),
        Side::Right => text.trim_end_matches(of),
    }
}

/// The first `count` characters and the others.
fn split(text: &str, count: usize) -> (&str, &str) {
    let at = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}
