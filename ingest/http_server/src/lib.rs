//! An HTTP server with limits: connections, time-outs, TLS, tokens with scopes and rates, allowed hosts and origins.
//!
//! ```text
//!  accept ──▶ Connections ──▶ Certificate ──▶ hyper ──▶ Sites, Cors ──▶ Tokens ──▶ a handler
//!              a place each,    TLS             │        Host, Origin     Caller:     │
//!              the idlest                       │                         Scope,      │
//!              makes room                  WriteTimeout                   Rate        │
//!                                               ▲                                     │
//!                                               └──── whole answers, and streams ─────┘
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `server` | [`Server`]: all of it in one, for processes that answer small requests to read |
//! | `connections`, `entry` | [`Connections`]: open connections, and which of them makes room for others |
//! | `write_timeout` | [`WriteTimeout`]: the end of a connection whose client does not read |
//! | `priority` | [`lower_priority`], [`give_way`]: threads that answer let those that compute go first |
//! | `body`, `streams` | bodies of answers; [`StreamPlace`]: answers that last for hours, bounded in number |
//! | `tokens`, `token_file`, `credentials`, `caller`, `scope`, `rate` | [`Tokens`], [`Caller`]: who sends a request, and what they may do |
//! | `signature*`, `authorization` | [`SignedRequest`]: who has signed a request as AWS's clients do |
//! | `site`, `sites`, `cors` | [`Sites`]: names a request may be sent to, and pages that may send it; [`Origin`]: pages that may read the answer |
//! | `tls`, `files` | [`Certificate`]: certificates that change while the server runs |
//! | `gunzip` | [`Gunzip`]: compressed bodies of requests, a bounded part at a time |
//! | `request`, `refusal`, `request_id`, [`quote`] | what a handler sees, and what is said to a client |
//!
//! Whoever needs more than [`Server`] offers, bodies of requests for instance, drives hyper itself and uses the parts.
//! Nothing here knows what the requests are about; only the scopes of tokens name what there is to be opened.

#![forbid(unsafe_code)]

mod authorization;
mod body;
#[cfg(test)]
#[path = "../../../tests/src/byte_fuzz.rs"]
mod byte_fuzz;
mod caller;
mod connections;
mod cors;
mod credentials;
mod entry;
mod error;
mod files;
mod gunzip;
mod priority;
pub mod quote;
mod rate;
mod refusal;
mod request;
mod request_id;
mod scope;
mod server;
mod signature;
mod signature_error;
mod site;
mod sites;
mod streams;
mod tls;
mod token_file;
mod tokens;
mod write_timeout;

pub use authorization::ClaimError;
pub use body::{Body, CutOff, EVENTS, JSON, TEXT, events, json, response, text, whole};
pub use caller::{Caller, Token};
pub use connections::{Connections, Place, SLOW, Served};
pub use cors::{Origin, OriginError};
pub use entry::{Entry, RequestGuard, RoomGuard, Signal};
pub use error::ServerError;
pub use gunzip::{Gunzip, GzipError};
pub use priority::{begin_urgent_work, end_urgent_work, give_way, lower_priority};
pub use rate::{Exhausted, Rate};
pub use refusal::Refusal;
pub use request::Request;
pub use request_id::{REQUEST_ID, RequestIds};
pub use scope::{Need, Scope, ScopeError};
pub use server::{Server, ServerLimits, ServerSettings};
pub use signature::{SignatureScope, SignedRequest};
pub use signature_error::SignatureError;
pub use site::{HostError, check_host};
pub use sites::{SiteError, Sites};
pub use streams::StreamPlace;
pub use tls::{Certificate, TlsFiles};
pub use tokens::{TokenSettings, Tokens};
pub use write_timeout::WriteTimeout;
