//! Who sends a request, and what they may do.

use super::rate::{Allowance, Exhausted, Rate};
use super::scope::Need;
use super::token_file::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A valid token.
#[derive(Debug)]
pub struct Token {
    entry: Entry,
    allowance: Option<Allowance>,
    /// Set when no file says it any more.
    revoked: AtomicBool,
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// No token is required.
    Anyone,
    /// Who has this token.
    Token(Arc<Token>),
}

impl Token {
    /// A token that a file says, with the rate of its line or this one.
    pub(crate) fn new(entry: Entry, rate: Option<Rate>) -> Token {
        Token {
            allowance: entry.rate.or(rate).map(Allowance::new),
            revoked: AtomicBool::new(false),
            entry,
        }
    }

    /// What its file says.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// No file says it any more.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }
}

impl Caller {
    /// What the access log calls it.
    pub fn name(&self) -> Option<&str> {
        match self {
            Caller::Anyone => None,
            Caller::Token(token) => Some(&token.entry.name),
        }
    }

    /// Whether it may still do what it was let in for: of a request that takes long.
    pub fn is_valid(&self) -> bool {
        match self {
            Caller::Anyone => true,
            Caller::Token(token) => !token.revoked.load(Ordering::Relaxed),
        }
    }

    /// Whether it may do this.
    pub fn may(&self, need: Need<'_>) -> bool {
        match self {
            Caller::Anyone => true,
            Caller::Token(token) => {
                let scopes = token.entry.scopes.as_ref();
                scopes.is_none_or(|scopes| scopes.iter().any(|scope| scope.covers(need)))
            }
        }
    }

    /// Takes one request, or one record of a stream, from what it may send.
    pub fn take(&self) -> Result<(), Exhausted> {
        self.allowance().map_or(Ok(()), Allowance::take)
    }

    /// Takes further records of a request that was let in.
    pub fn charge(&self, records: u64) {
        if let Some(allowance) = self.allowance() {
            allowance.charge(records);
        }
    }

    fn allowance(&self) -> Option<&Allowance> {
        match self {
            Caller::Anyone => None,
            Caller::Token(token) => token.allowance.as_ref(),
        }
    }
}
