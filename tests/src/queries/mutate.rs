//! Queries that are driven out of the subset.

use super::Choices;

/// A query that has to be refused, made of one that is accepted.
pub fn outside(choices: &mut Choices, text: &str) -> String {
    let (comment, body) = text.split_once('\n').unwrap_or(("", text));
    let item = |item: &str| replaced_last(body, "\nFROM ", &format!(", {item} AS outside\nFROM "));
    let around = |what: &str| what.replace("{}", &format!("(\n{body}\n) AS inside"));
    let mutated = match choices.below(30) {
        0 => item("now()"),
        1 => item("random()"),
        2 => item("no_such_column"),
        3 => item("no_such_function(1)"),
        4 => item("(SELECT 1)"),
        5 => item("1 / 0"),
        6 => item("'x'::integer"),
        7 => item("ARRAY[1]"),
        8 => item("count(*) OVER ()"),
        9 => item("lag(1) OVER (ORDER BY 1)"),
        10 => item("'a' ~ 'b'"),
        11 => item("2147483647 + 1"),
        12 => item("current_date"),
        13 => item("$1"),
        14 => item("left('a', -1)"),
        15 => item("split_part('a', 'b', 0)"),
        16 => item("'a' LIKE 'b\\'"),
        17 => item("substr('abc', 0)"),
        18 => item("'a' < 'b'"),
        19 => item("E'a'"),
        20 => around("SELECT * FROM {} OFFSET 1"),
        21 => around("SELECT * FROM {}, pin_table"),
        22 => around("SELECT * FROM {} JOIN pin_table ON true"),
        23 => around("SELECT *, rank() OVER (ORDER BY 1) AS outside FROM {}"),
        24 => around("SELECT * FROM {} LIMIT 1"),
        25 => around("SELECT DISTINCT ON (1) * FROM {}"),
        26 => format!("{body}\nUNION ALL\n{body}"),
        27 => format!("{body}; DROP TABLE pin_table"),
        28 => around("SELECT * FROM {} FOR UPDATE"),
        _ => format!("{body} )"),
    };
    format!("{comment}\n{mutated}")
}

/// What may be accepted or not, and never ends in a panic: tokens left out, doubled, exchanged, or cut.
pub fn shaken(choices: &mut Choices, text: &str) -> String {
    let (comment, body) = text.split_once('\n').unwrap_or(("", text));
    let mut tokens = tokens(body);
    for _ in 0..1 + choices.below(2) {
        if tokens.is_empty() {
            break;
        }
        let (at, other) = (choices.below(tokens.len()), choices.below(tokens.len()));
        match choices.below(5) {
            0 => drop(tokens.remove(at)),
            1 => tokens.insert(at, tokens[other]),
            2 => tokens.swap(at, other),
            3 => tokens.truncate(at),
            _ => {
                const ODD: [&str; 16] = [
                    "NULL",
                    "(",
                    ")",
                    "-",
                    "'",
                    "\"",
                    "--",
                    "/*",
                    "::text",
                    "NOT ",
                    "1e9",
                    "\u{0}",
                    "é",
                    "{top}",
                    "99999999999999999999999999999999999999999",
                    ";",
                ];
                tokens[at] = choices.pick(&ODD);
            }
        }
    }
    format!("{comment}\n{}", tokens.concat())
}

/// Words, numbers, quoted texts, and what stands between them.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' | '"' => rest[1..].find(first).map(|at| at + 2),
            _ if first.is_alphanumeric() || first == '_' => {
                rest.find(|next: char| !next.is_alphanumeric() && next != '_')
            }
            _ => Some(first.len_utf8()),
        };
        let (token, behind) = rest.split_at(end.unwrap_or(rest.len()));
        tokens.push(token);
        rest = behind;
    }
    tokens
}

fn replaced_last(text: &str, from: &str, to: &str) -> String {
    match text.rfind(from) {
        Some(at) => format!("{}{to}{}", &text[..at], &text[at + from.len()..]),
        None => to.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_are_the_whole_text() {
        let text = "SELECT 'it''s é', \"a b\".c1 + 12.5 -- x";
        assert_eq!(super::tokens(text).concat(), text);
        assert!(super::tokens(text).contains(&"\"a b\""));
        assert_eq!(super::tokens("'open"), ["'open"]);
    }
}
