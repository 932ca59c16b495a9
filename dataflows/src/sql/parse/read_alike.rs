//! What the parser reads in another way than PostgreSQL, found in the tokens, and refused: the text of a file is what
//! PostgreSQL runs in `verify`.

use super::converter::position;
use crate::sql::diagnostic::{Checked, Fault};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// Refuses what PostgreSQL would read in another way.
pub(super) fn check(text: &str, tokens: &[TokenWithSpan]) -> Checked<()> {
    if let Some((before, after)) = without_space(tokens) {
        let fault = Fault::new(
            position(after.span.start),
            format!("`{after}` follows `{before}` without a space"),
        );
        return Err(match after.token {
            Token::Number(..) => fault,
            _ => fault.hint(format!("{before} {after}")),
        });
    }
    if let Some((at, run)) = one_operator(text, tokens) {
        let fault = Fault::new(position(at), format!("`{run}` is one operator to PostgreSQL"));
        return Err(fault.hint("operators with spaces between them"));
    }
    if let Some(not) = not_null(tokens) {
        let fault = Fault::new(position(not.span.start), "NOT NULL is written IS NOT NULL");
        return Err(fault.hint("IS NOT NULL"));
    }
    if let Some(fetch) = short_fetch(tokens) {
        let fault = Fault::new(position(fetch.span.start), "FETCH lacks a word that PostgreSQL needs");
        return Err(fault.hint("FETCH FIRST n ROWS ONLY, or WITH TIES"));
    }
    Ok(())
}

/// The characters of PostgreSQL's operators.
const OPERATOR: &str = "+-*/<>=~!@#%^&|`?";
/// Those with one of which an operator of several characters may end in + or -.
const SPECIAL: &str = "~!@#%^&|`?";

/// Operators that follow each other without a space and that PostgreSQL, which takes as many characters as it can, reads
/// as one: where they are, and what it reads.
fn one_operator(text: &str, tokens: &[TokenWithSpan]) -> Option<(Location, String)> {
    let lines: Vec<Vec<char>> = text.split('\n').map(|line| line.chars().collect()).collect();
    tokens.iter().find_map(|token| {
        let (start, end) = (token.span.start, token.span.end);
        let line = lines.get(usize::try_from(start.line).ok()?.checked_sub(1)?)?;
        let from = usize::try_from(start.column).ok()?.checked_sub(1)?;
        let length = usize::try_from(end.column.checked_sub(start.column)?).ok()?;
        let written = line.get(from..from + length)?;
        if start.line != end.line || written.is_empty() || !written.iter().all(|c| OPERATOR.contains(*c)) {
            return None;
        }
        let run: String = line[from..].iter().take_while(|c| OPERATOR.contains(**c)).collect();
        // comments end an operator
        let run = run.split("--").next()?.split("/*").next()?;
        let mut operator = run;
        while operator.len() > 1 && operator.ends_with(['+', '-']) && !operator.contains(|c| SPECIAL.contains(c)) {
            operator = &operator[..operator.len() - 1];
        }
        (operator.len() > length).then(|| (start, operator.to_owned()))
    })
}

/// Words behind which an operand begins.
const BEFORE_OPERANDS: [Keyword; 13] = [
    Keyword::AND,
    Keyword::BY,
    Keyword::CASE,
    Keyword::DISTINCT,
    Keyword::ELSE,
    Keyword::HAVING,
    Keyword::NOT,
    Keyword::ON,
    Keyword::OR,
    Keyword::SELECT,
    Keyword::THEN,
    Keyword::WHEN,
    Keyword::WHERE,
];

/// All tokens but white space and comments.
fn words(tokens: &[TokenWithSpan]) -> Vec<&TokenWithSpan> {
    let is_word = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    tokens.iter().filter(is_word).collect()
}

/// Whether a token is one of these words, without quotes.
fn is_one_of(token: &TokenWithSpan, keywords: &[Keyword]) -> bool {
    // a quoted word is no keyword to the tokenizer either
    matches!(&token.token, Token::Word(word) if keywords.contains(&word.keyword))
}

/// A NOT NULL behind an operand: the parser reads it as IS NOT NULL, and PostgreSQL does not.
fn not_null(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let ends_operand = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) => word.keyword != Keyword::IS && !BEFORE_OPERANDS.contains(&word.keyword),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::RParen | Token::RBracket => {
            true
        }
        _ => false,
    };
    words(tokens).windows(3).find_map(|three| match three {
        [operand, not, null] => {
            let is_not_null = is_one_of(not, &[Keyword::NOT]) && is_one_of(null, &[Keyword::NULL]);
            (ends_operand(operand) && is_not_null).then_some(*not)
        }
        _ => None,
    })
}

/// A FETCH without FIRST or NEXT, or without ROW or ROWS behind its number: the parser needs neither.
fn short_fetch(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let words = words(tokens);
    let is = |at: usize, keywords: &[Keyword]| words.get(at).is_some_and(|token| is_one_of(token, keywords));
    // behind these it is a name
    let is_name = |at: usize| at > 0 && (is(at - 1, &[Keyword::AS]) || words[at - 1].token == Token::Period);
    let rows = [Keyword::ROW, Keyword::ROWS];
    let is_whole = |at: usize| is(at + 1, &[Keyword::FIRST, Keyword::NEXT]) && (is(at + 2, &rows) || is(at + 3, &rows));
    let is_short = |at: &usize| is(*at, &[Keyword::FETCH]) && !is_name(*at) && !is_whole(*at);
    (0..words.len()).find(is_short).map(|at| words[at])
}

/// A word or a number that begins where a number ends. PostgreSQL refuses them from version 15 on, and reads them as two
/// before. `{top}` is a number in the text that PostgreSQL is given, so nothing may touch it on either side.
fn without_space(tokens: &[TokenWithSpan]) -> Option<(&TokenWithSpan, &TokenWithSpan)> {
    let is_number = |token: &Token| matches!(token, Token::Number(..) | Token::Placeholder(_));
    let is_word = |token: &Token| matches!(token, Token::Word(word) if word.quote_style.is_none());
    let pairs = tokens.windows(2).filter_map(|pair| match pair {
        [before, after] => Some((before, after)),
        _ => None,
    });
    pairs
        .filter(|(before, after)| before.span.end == after.span.start)
        .find(|(before, after)| match (&before.token, &after.token) {
            (before, after) if is_number(before) => is_word(after) || is_number(after),
            (before, Token::Placeholder(_)) => is_word(before),
            _ => false,
        })
}
