//! What can go wrong with a request, injected between HTTP and the S3 service.

use super::body::{Break, Failed, FaultyBody, failed};
use super::condition::Unconditional;
use super::locks::ObjectLocks;
use hyper::body::{Body as _, Incoming};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use s3s::Body;
use s3s::service::S3Service;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// LIST answers are rewritten in memory; a page of a thousand keys of the greatest length is under two megabytes.
const LIST_LIMIT: usize = 8 << 20;

/// Decides for each request what goes wrong with it.
pub type FaultHook = Arc<dyn Fn(&Seen<'_>) -> Fault + Send + Sync>;

/// A request as the hook sees it.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The HTTP method.
    pub method: &'a Method,
    /// The bucket, empty for requests to the server as a whole.
    pub bucket: &'a str,
    /// The object's key, percent-decoded; empty for requests to a bucket.
    pub key: &'a str,
    /// The query, as sent.
    pub query: &'a str,
    /// Whether it is a write under a condition, `If-Match` or `If-None-Match`.
    pub conditional: bool,
    /// The `Range` header, as `bytes=100-`.
    pub range: Option<&'a str>,
    /// How many requests with this method, bucket and key there were before this one.
    pub before: u64,
}

impl Seen<'_> {
    /// A GET of an object.
    pub fn is_get(&self) -> bool {
        *self.method == Method::GET && !self.key.is_empty()
    }

    /// A PUT of an object.
    pub fn is_put(&self) -> bool {
        *self.method == Method::PUT && !self.key.is_empty()
    }

    /// A LIST of a bucket.
    pub fn is_list(&self) -> bool {
        *self.method == Method::GET && self.key.is_empty() && !self.bucket.is_empty()
    }
}

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// Nothing.
    None,
    /// The request is answered with this status and S3's usual error for it, and not carried out.
    Status(u16),
    /// The same with this error code.
    Refused(u16, &'static str),
    /// The connection closes without an answer; the request is not carried out.
    Reset,
    /// The request is carried out, then the connection closes without an answer.
    LoseAnswer,
    /// The connection breaks after so many bytes of the answer's body.
    Cut(u64),
    /// The body stops after so many bytes, and the connection stays open.
    Stall(u64),
    /// The lowest bit of the body's byte at this index is flipped.
    Flip(u64),
    /// A LIST leaves out the keys for which this holds.
    Hide(Arc<dyn Fn(&str) -> bool + Send + Sync>),
    /// A LIST names every key twice.
    Repeat,
    /// The wait, then the other fault.
    After(Duration, Box<Fault>),
    /// The conditions of a write, `If-None-Match` and `If-Match`, are not looked at, as by a server that does not know
    /// them; then the other fault.
    Unconditional(Box<Fault>),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::None => f.write_str("None"),
            Fault::Status(status) => write!(f, "Status({status})"),
            Fault::Refused(status, code) => write!(f, "Refused({status} {code})"),
            Fault::Reset => f.write_str("Reset"),
            Fault::LoseAnswer => f.write_str("LoseAnswer"),
            Fault::Cut(after) => write!(f, "Cut({after})"),
            Fault::Stall(after) => write!(f, "Stall({after})"),
            Fault::Flip(index) => write!(f, "Flip({index})"),
            Fault::Hide(_) => f.write_str("Hide"),
            Fault::Repeat => f.write_str("Repeat"),
            Fault::After(time, fault) => write!(f, "After({time:?}, {fault:?})"),
            Fault::Unconditional(fault) => write!(f, "Unconditional({fault:?})"),
        }
    }
}

impl Fault {
    /// A LIST that leaves out the keys for which `hidden` holds.
    pub fn hide(hidden: impl Fn(&str) -> bool + Send + Sync + 'static) -> Fault {
        Fault::Hide(Arc::new(hidden))
    }

    /// The request is answered so much later.
    pub fn delay(time: Duration) -> Fault {
        Fault::After(time, Box::new(Fault::None))
    }

    /// This fault, on a server that does not know the conditions of a write.
    pub fn unconditional(self) -> Fault {
        Fault::Unconditional(Box::new(self))
    }
}

/// The hook in force and the counts it is shown.
#[derive(Default)]
pub(super) struct Faults {
    hook: RwLock<Option<FaultHook>>,
    requests: AtomicU64,
    seen: Mutex<HashMap<(Method, String), u64>>,
    locks: ObjectLocks,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

impl Faults {
    pub(super) fn set(&self, hook: Option<FaultHook>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.hook.write().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Carries the request out, or what the hook makes of it. An error closes the connection.
    pub(super) async fn answer(
        &self,
        service: &S3Service,
        mut request: Request<Incoming>,
    ) -> Result<Response<FaultyBody>, Failed> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut fault = self.consult(&request);
        loop {
            fault = match fault {
                Fault::After(time, next) => {
                    tokio::time::sleep(time).await;
                    *next
                }
                Fault::Unconditional(next) => {
                    request.extensions_mut().insert(Unconditional);
                    *next
                }
                _ => break,
            }
        }
        match fault {
            Fault::Status(status) => return error_answer(status, None),
            Fault::Refused(status, code) => return error_answer(status, Some(code)),
            Fault::Reset => return Err(failed("injected reset")),
            _ => {}
        }

        let reads = request.method() == Method::GET;
        let if_match = request.headers().get(header::IF_MATCH).cloned().filter(|_| reads);
        let at_work = self.locks.enter(&request).await;
        let answer = service
            .call(request.map(Body::from))
            .await
            .map_err(|error| failed(format!("{error:?}")))?;
        drop(at_work);
        if if_match.is_some_and(|wanted| answer.headers().get(header::ETAG).is_some_and(|tag| *tag != wanted)) {
            return error_answer(412, None);
        }
        match fault {
            Fault::LoseAnswer => Err(failed("injected loss of the answer")),
            Fault::Hide(hidden) => {
                edit_list(
                    answer,
                    |key, entry| if hidden(key) { String::new() } else { entry.to_owned() },
                )
                .await
            }
            Fault::Repeat => edit_list(answer, |_, entry| entry.repeat(2)).await,
            Fault::Cut(after) => Ok(answer.map(|body| FaultyBody::new(body, Break::Cut(after)))),
            Fault::Stall(after) => Ok(answer.map(|body| FaultyBody::new(body, Break::Stall(after)))),
            Fault::Flip(index) => Ok(answer.map(|body| FaultyBody::new(body, Break::Flip(index)))),
            _ => Ok(answer.map(|body| FaultyBody::new(body, Break::Nowhere))),
        }
    }

    fn consult(&self, request: &Request<Incoming>) -> Fault {
        let Some(hook) = self.hook.read().unwrap_or_else(PoisonError::into_inner).clone() else {
            return Fault::None;
        };
        let path = request.uri().path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let key = percent_decode_str(key).decode_utf8_lossy();
        let before = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let count = seen
                .entry((request.method().clone(), format!("{bucket}/{key}")))
                .or_default();
            *count += 1;
            *count - 1
        };
        let conditions = [header::IF_MATCH, header::IF_NONE_MATCH];
        let conditional = request.method() == Method::PUT
            && conditions
                .iter()
                .any(|condition| request.headers().contains_key(condition));
        let range = header_text(request.headers(), header::RANGE);
        let query = request.uri().query().unwrap_or("");
        hook(&Seen {
            method: request.method(),
            bucket,
            key: &key,
            query,
            conditional,
            range,
            before,
        })
    }
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn error_answer(status: u16, code: Option<&str>) -> Result<Response<FaultyBody>, Failed> {
    let (usual, message) = match status {
        403 => ("AccessDenied", "Access Denied"),
        404 => ("NoSuchKey", "The specified key does not exist."),
        412 => (
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
        ),
        503 => ("SlowDown", "Please reduce your request rate."),
        _ => ("InternalError", "We encountered an internal error. Please try again."),
    };
    let code = code.unwrap_or(usual);
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut answer = Response::new(FaultyBody::new(Body::from(xml), Break::Nowhere));
    *answer.status_mut() = StatusCode::from_u16(status).map_err(failed)?;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/xml"),
    );
    Ok(answer)
}

/// Rewrites the entries of a LIST answer: `edit` gets each key and its whole `<Contents>` element.
async fn edit_list(
    answer: Response<Body>,
    edit: impl Fn(&str, &str) -> String,
) -> Result<Response<FaultyBody>, Failed> {
    const OPEN: &str = "<Contents>";
    const CLOSE: &str = "</Contents>";
    let (mut head, mut body) = answer.into_parts();
    let xml = String::from_utf8(collect(&mut body).await?).map_err(failed)?;
    let mut edited = String::with_capacity(xml.len());
    let mut rest = xml.as_str();
    while let Some(start) = rest.find(OPEN) {
        let end = rest
            .find(CLOSE)
            .ok_or_else(|| failed("a LIST answer with an open <Contents>"))?
            + CLOSE.len();
        let entry = &rest[start..end];
        let key = entry
            .split_once("<Key>")
            .and_then(|(_, rest)| rest.split_once("</Key>"));
        let (key, _) = key.ok_or_else(|| failed("a LIST entry without a key"))?;
        edited.push_str(&rest[..start]);
        edited.push_str(&edit(&xml_text(key), entry));
        rest = &rest[end..];
    }
    edited.push_str(rest);
    head.headers.remove(header::CONTENT_LENGTH);
    let body = FaultyBody::new(Body::from(edited), Break::Nowhere);
    Ok(Response::from_parts(head, body))
}

async fn collect(body: &mut Body) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        if let Ok(data) = frame.map_err(failed)?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > LIST_LIMIT {
            return Err(failed("a LIST answer over the limit"));
        }
    }
    Ok(bytes)
}

fn xml_text(escaped: &str) -> String {
    let text = escaped
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'");
    text.replace("&#43;", "+").replace("&amp;", "&")
}
