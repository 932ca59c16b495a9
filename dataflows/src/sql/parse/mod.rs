//! A file's text as a syntax tree.
//!
//! `sqlparser` splits and parses; what it gives is converted to [`super::ast`] part by part, and everything that the
//! subset does not have is refused there, with its position, so that one run finds every error behind the syntax.

mod call;
mod converter;
mod expr;
mod query;
mod read_alike;
mod text;

use super::ast::{File, Item};
use super::diagnostic::{Checked, Fault, Position};
use converter::{Converter, DEEPEST, TOP, position};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Whitespace};

/// The longest file in bytes.
pub const LONGEST_FILE: usize = 64 << 10;

/// The most tokens in a file: it bounds how deep a chain of operators nests before [`DEEPEST`] is seen.
const MOST_TOKENS: usize = 12_000;

/// Parses the file of the result `name`; `key` joins kinds. The caller has a stack of at least [`STACK`] bytes.
pub(super) fn parse(name: &str, text: &str, key: &str) -> Result<File, Vec<Fault>> {
    let one = |fault| vec![fault];
    let tokens = tokens(text).map_err(one)?;
    let comments: Vec<_> = tokens.iter().filter_map(comment).collect();
    let froms: Vec<_> = tokens.iter().filter_map(from).collect();
    let ast = tree(tokens).map_err(one)?;
    let mut converter = Converter {
        key,
        faults: Vec::new(),
        depth: 0,
    };
    let query = converter.query(&ast, Position { line: 1, column: 1 });
    let comment = table_comment(name, text);
    let (comment, mut query) = match (comment, query) {
        (Ok(comment), Some(query)) if converter.faults.is_empty() => (comment, query),
        (comment, _) => {
            converter.faults.extend(comment.err());
            return Err(converter.faults);
        }
    };
    let from = froms.into_iter().rfind(|from| *from < query.from.position);
    attach(&comments, &mut query.items, from.unwrap_or(query.from.position));
    Ok(File { comment, query })
}

/// What parsing, converting and dropping trees of a file may need of the stack: a chain of [`MOST_TOKENS`] operators.
pub(super) const STACK: usize = 128 << 20;

fn tokens(text: &str) -> Checked<Vec<TokenWithSpan>> {
    let start = Position { line: 1, column: 1 };
    if text.len() > LONGEST_FILE {
        return Err(Fault::new(
            start,
            format!("the file has {} bytes, more than {LONGEST_FILE}", text.len()),
        ));
    }
    if let Some(at) = text.find('\0') {
        let line = 1 + text[..at].matches('\n').count() as u32;
        return Err(Fault::new(
            Position { line, column: 1 },
            "the line holds the character U+0000",
        ));
    }
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| Fault::new(position(error.location), lower(&error.message)))?;
    let tokens = with_placeholders(tokens);
    if let Some(token) = tokens.iter().find(|token| token.token == Token::DoubleEq) {
        let fault = Fault::new(position(token.span.start), "the operator == is not accepted");
        return Err(fault.hint("="));
    }
    read_alike::check(text, &tokens)?;
    let count = tokens.iter().filter(|token| !is_space(token)).count();
    if count > MOST_TOKENS {
        return Err(Fault::new(
            start,
            format!("the file has {count} tokens, more than {MOST_TOKENS}"),
        ));
    }
    Ok(tokens)
}

pub(super) fn is_space(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

/// `{top}` is three tokens, which no SQL has in this order: they become one placeholder.
fn with_placeholders(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut new: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        new.push(token);
        if let [.., open, word, close] = new.as_slice()
            && open.token == Token::LBrace
            && matches!(&word.token, Token::Word(word) if word.quote_style.is_none() && word.value == "top")
            && close.token == Token::RBrace
        {
            let span = Span::new(open.span.start, close.span.end);
            let placeholder = TokenWithSpan::new(Token::Placeholder(TOP.to_owned()), span);
            new.truncate(new.len() - 3);
            new.push(placeholder);
        }
    }
    new
}

/// The one query of the file.
fn tree(tokens: Vec<TokenWithSpan>) -> Checked<sqlparser::ast::Query> {
    let dialect = PostgreSqlDialect {};
    let start = tokens
        .iter()
        .find(|token| !is_space(token))
        .map_or(Position { line: 1, column: 1 }, |token| position(token.span.start));
    let first = tokens.iter().find(|token| !is_space(token)).map(|token| &token.token);
    let end = tokens.iter().rfind(|token| !is_space(token));
    let end = end.map_or(start, |token| position(token.span.end));
    match first {
        Some(Token::Word(word)) if ["select", "with"].contains(&word.value.to_ascii_lowercase().as_str()) => {}
        None => return Err(Fault::new(start, "the file holds no SELECT")),
        Some(_) => return Err(Fault::new(start, "a result is one SELECT, or WITH before it")),
    }
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(DEEPEST)
        .with_tokens_with_locations(tokens);
    let query = match parser.parse_query() {
        Ok(query) => *query,
        Err(error) => return Err(syntax(&error, position(parser.peek_token().span.start), start, end)),
    };
    let mut ended = false;
    while parser.consume_token(&Token::SemiColon) {
        ended = true;
    }
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let what = match rest.token {
            Token::Word(word) => word.value.to_uppercase(),
            other => other.to_string(),
        };
        let fault = Fault::new(position(rest.span.start), format!("`{what}` is not expected here"));
        return Err(if ended {
            fault.hint("a result is one SELECT")
        } else {
            fault
        });
    }
    Ok(query)
}

/// The position stands at the end of the parser's message, ` at Line: 3, Column: 5`.
fn syntax(error: &ParserError, here: Position, start: Position, end: Position) -> Fault {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            let fault = Fault::new(start, format!("expressions or queries nest deeper than {DEEPEST}"));
            return fault.hint("name the inner ones with WITH");
        }
    };
    // nothing stands at the end of the file
    let here = if here.line == 0 { end } else { here };
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return Fault::new(here, lower(text));
    };
    let place = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Position {
            line: line.parse().ok()?,
            column: column.parse().ok()?,
        })
    });
    Fault::new(place.unwrap_or(here), lower(message))
}

fn lower(message: &str) -> String {
    let mut chars = message.trim_end_matches('.').chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

struct Comment {
    position: Position,
    text: String,
}

fn comment(token: &TokenWithSpan) -> Option<Comment> {
    let Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) = &token.token else {
        return None;
    };
    let text = comment.trim();
    (!text.is_empty()).then(|| Comment {
        position: position(token.span.start),
        text: text.to_owned(),
    })
}

/// The position of a FROM.
fn from(token: &TokenWithSpan) -> Option<Position> {
    let is_from = matches!(&token.token, Token::Word(word) if word.keyword == Keyword::FROM);
    is_from.then(|| position(token.span.start))
}

/// The first line: `-- name: what a row means`.
fn table_comment(name: &str, text: &str) -> Checked<String> {
    let line = text.lines().next().unwrap_or_default().trim();
    let comment = line
        .strip_prefix("--")
        .and_then(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
        .filter(|comment| !comment.is_empty());
    comment.map(str::to_owned).ok_or_else(|| {
        let position = Position { line: 1, column: 1 };
        Fault::new(position, "the first line does not say what a row means")
            .hint(format!("-- {name}: what a row means"))
    })
}

/// Gives each comment before FROM to the item that it stands behind: the last that began before it.
fn attach(comments: &[Comment], items: &mut [Item], from: Position) {
    for comment in comments.iter().filter(|comment| comment.position < from) {
        let before = |item: &&mut Item| match item {
            Item::Expr { expr, .. } => expr.position < comment.position,
            Item::All { .. } => false,
        };
        if let Some(Item::Expr { comment: text, .. }) = items.iter_mut().rfind(before) {
            *text = Some(comment.text.clone());
        }
    }
}
