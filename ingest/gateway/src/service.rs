//! How a request is served: routed, authenticated, authorized, answered.

use super::api_error::{ApiError, let_in};
use super::body::{self, Body};
use super::content_encoding::ContentEncoding;
use super::fastapi;
use super::fastapi_error::FastApiError;
use super::kinesis_call::{Call, Form};
use super::kinesis_error::KinesisError;
use super::kinesis_record::Protocol;
use super::media_type::MediaType;
use super::operations;
use super::reply::{JSON, Reply, ReplyBody, V2_JSON};
use super::request_log::RequestLog;
use super::rest::RestError;
use super::rest_v3_links::Links;
use super::state::State;
use super::target::{Interface, Target};
use super::{kinesis, kinesis_api, kinesis_api_error, kinesis_streams, rest_v2, rest_v3, rest_v3_batch, rest_v3_view};
use http_server::{Caller, Entry, Need, Refusal, SignedRequest};
use hyper::body::Incoming;
use hyper::header::{EXPECT, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Why a request is not served, by the interface that says so.
enum Refused {
    FastApi(FastApiError),
    V2(RestError),
    V3(RestError),
    Kinesis(KinesisError),
    KinesisApi(KinesisError, Form),
    Operations(ApiError),
}

impl Refused {
    fn new(interface: Interface, error: ApiError) -> Refused {
        match interface {
            Interface::FastApi => Refused::FastApi(error.into()),
            Interface::RestV2 => Refused::V2(error.into()),
            Interface::RestV3 => Refused::V3(error.into()),
            Interface::Kinesis => Refused::Kinesis(error.into()),
            Interface::KinesisApi(form) => Refused::KinesisApi(error.into(), form),
            Interface::Operations => Refused::Operations(error),
        }
    }

    /// The error, where it is one that all interfaces know.
    fn api(&self) -> Option<&ApiError> {
        match self {
            Refused::FastApi(FastApiError::Api(error))
            | Refused::V2(RestError::Api(error))
            | Refused::V3(RestError::Api(error))
            | Refused::Operations(error) => Some(error),
            Refused::Kinesis(error) | Refused::KinesisApi(error, _) => error.api(),
            _ => None,
        }
    }

    fn reply(self) -> Reply {
        match self {
            Refused::FastApi(error) => error.reply(),
            Refused::V2(error) => error.reply(V2_JSON),
            Refused::V3(error) => error.reply(JSON),
            Refused::Kinesis(error) => error.reply(),
            Refused::KinesisApi(error, form) => kinesis_api_error::reply(&error, form),
            Refused::Operations(error) => operations::error(&error),
        }
    }
}

/// Who sends a request.
struct Sender {
    caller: Caller,
    /// What has to be verified of the request, where it is signed.
    signature: Option<SignedRequest>,
}

impl Sender {
    /// Who the head of a request says it is.
    fn of(state: &State, target: &Target<'_>, head: &Parts) -> Result<Sender, Refusal> {
        let signature = match (state.tokens.caller(&head.headers), target) {
            (Some(caller), _) => {
                let signature = None;
                return Ok(Sender { caller, signature });
            }
            (None, Target::KinesisApi(_)) => SignedRequest::of(&state.tokens, &state.signatures, head)?,
            (None, _) => return Err(Refusal::Unauthenticated),
        };
        Ok(Sender {
            caller: signature.caller().clone(),
            signature: Some(signature),
        })
    }

    /// Who it is, once that is certain.
    fn known(&self) -> Option<Caller> {
        let is_verified = self.signature.as_ref().is_none_or(SignedRequest::is_verified);
        is_verified.then(|| self.caller.clone())
    }
}

/// Bytes of a path: no longer one has an interface.
const PATH: usize = 2 << 10;

/// Answers a request.
pub(super) async fn answer(
    state: Arc<State>,
    entry: Arc<Entry>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let guard = entry.begin();
    let (head, incoming) = request.into_parts();
    let id = state.ids.of(&head.headers);
    let given = head.uri.path();
    let path: Arc<str> = Arc::from(&given[..given.floor_char_boundary(PATH)]);
    let (interface, target) = if path.len() < given.len() {
        (Interface::FastApi, Target::Nowhere)
    } else {
        state.router.route(&head.method, &path)
    };
    let (interface, target) = match target {
        Target::Root => of_root(&head.headers),
        target => (interface, target),
    };
    let sender = Sender::of(&state, &target, &head);
    let mut log = RequestLog {
        state: Arc::clone(&state),
        caller: sender.as_ref().ok().and_then(Sender::known),
        interface,
        began: Instant::now(),
        peer,
        id: id.clone(),
        method: head.method.clone(),
        path: Arc::clone(&path),
    };
    let (media, protocol) = (MediaType::of(&head.headers), Protocol::of(&head.headers));
    let admitted = admit(&state, &target, &head, sender);
    let caller = admitted.as_ref().map_or(Caller::Anyone, |sender| sender.caller.clone());
    // nor does who may be somebody else keep out who is known
    if admitted.as_ref().map_or(true, |sender| sender.known().is_none()) {
        entry.is_refused();
    }
    let links = matches!(target, Target::View(_)).then(|| Links::of(&state, &head, &path));
    let encoding = ContentEncoding::of(&head.headers);
    let mut body = Body::new(incoming, encoding, entry, caller, head.headers.contains_key(EXPECT));
    // the head keeps the buffer that it was read into, and the request may take long
    drop(head);
    let result = match admitted {
        Err(error) => Err(Refused::new(interface, error)),
        Ok(mut sender) => match target {
            Target::Stream { cluster, topic } => {
                let request = rest_v3::Request {
                    incoming: body,
                    log,
                    guard,
                };
                return match rest_v3::stream(&state, &cluster, &topic, media, request).await {
                    Ok(reply) => reply.response(id),
                    Err((mut request, error)) => {
                        let reply = refuse(&state, Refused::V3(error), &mut request.incoming).await;
                        request.log.done(reply.status.as_u16(), reply.records, reply.bytes);
                        // until here a request is under way
                        drop(request);
                        reply.response(id)
                    }
                };
            }
            Target::KinesisApi(call) => {
                let served = kinesis_api::serve(&state, call, sender.signature.as_mut(), &mut body).await;
                log.caller = sender.known();
                served.map_err(|error| Refused::KinesisApi(error, call.form))
            }
            Target::View(view) => {
                let links = links.expect("a view has links");
                let shown = rest_v3_view::show(&state, body.entry(), &links, &view).await;
                shown.map_err(Refused::V3)
            }
            target => dispatch(&state, interface, target, (media, protocol), &mut body).await,
        },
    };
    let mut reply = match result {
        Ok(reply) => reply,
        Err(refused) => refuse(&state, refused, &mut body).await,
    };
    // probes and metrics are answered whatever is in flight
    if interface != Interface::Operations {
        reply.count(&state, body.entry()).await;
    }
    log.done(reply.status.as_u16(), reply.records, reply.bytes);
    drop(guard);
    reply.response(id)
}

/// What `POST /` is: a request of AWS's clients where a header says so.
fn of_root(headers: &HeaderMap) -> (Interface, Target<'static>) {
    match Call::of(headers) {
        Some(call) => (Interface::KinesisApi(call.form), Target::KinesisApi(call)),
        None => (Interface::FastApi, Target::Nowhere),
    }
}

/// Who sends the request, if it may be looked at further.
fn admit(
    state: &State,
    target: &Target<'_>,
    head: &Parts,
    sender: Result<Sender, Refusal>,
) -> Result<Sender, ApiError> {
    let checked = state.sites.check(&head.uri, head.version, &head.headers);
    checked.map_err(Refusal::from)?;
    let sender = match sender {
        // where no token is required a wrong one does no harm
        _ if target.is_open() => Sender {
            caller: Caller::Anyone,
            signature: None,
        },
        sender => sender?,
    };
    // nobody pays for a request that somebody else may have sent
    if let Some(caller) = sender.known() {
        let_in(&caller, need(state, target))?;
    }
    if ContentEncoding::of(&head.headers) == ContentEncoding::Unknown {
        return Err(ApiError::Encoding);
    }
    Ok(sender)
}

/// What a target needs of a token, as far as it is known before the body is.
fn need<'a>(state: &'a State, target: &'a Target<'_>) -> Option<Need<'a>> {
    match target {
        Target::Item(index) => state.streams[*index].topic.as_deref().map(Need::Produce),
        Target::Produce(name)
        | Target::ProduceToPartition(name, _)
        | Target::Stream { topic: name, .. }
        | Target::ProduceBatch { topic: name, .. } => state.topics.named(name).map(Need::Produce),
        Target::ListTopics | Target::DescribeTopic(_) | Target::ListStreams | Target::DescribeStream(_) => {
            Some(Need::Read)
        }
        Target::View(_) => Some(Need::Read),
        Target::CreateStream(_) | Target::DeleteStream(_) => Some(Need::Admin),
        Target::Metrics => Some(Need::Metrics),
        // the topic of a record of Kinesis may be told by its partition key
        Target::PutRecord(_) | Target::PutRecords(_) => None,
        Target::KinesisApi(call) => call.need(),
        Target::Health | Target::Ready | Target::Version | Target::OpenApi => None,
        Target::WrongMethod(_) | Target::Consumers | Target::Nowhere | Target::Root => None,
    }
}

async fn dispatch(
    state: &Arc<State>,
    interface: Interface,
    target: Target<'_>,
    (media, protocol): (MediaType, Protocol),
    body: &mut Body,
) -> Result<Reply, Refused> {
    use Refused::{FastApi, Kinesis, V2, V3};
    match target {
        Target::Item(index) => fastapi::item(state, index, media, body).await.map_err(FastApi),
        Target::ListTopics => rest_v2::list(state).await.map_err(V2),
        Target::DescribeTopic(topic) => rest_v2::describe(state, &topic).await.map_err(V2),
        Target::Produce(topic) => rest_v2::produce(state, &topic, None, media, body).await.map_err(V2),
        Target::ProduceToPartition(topic, partition) => {
            let produced = rest_v2::produce(state, &topic, Some(&partition), media, body).await;
            produced.map_err(V2)
        }
        Target::PutRecord(stream) => kinesis::put_record(state, &stream, protocol, body)
            .await
            .map_err(Kinesis),
        Target::PutRecords(stream) => {
            let put = kinesis::put_records(state, &stream, protocol, body).await;
            put.map_err(Kinesis)
        }
        Target::ListStreams => kinesis_streams::list(state).await.map_err(Kinesis),
        Target::DescribeStream(stream) => kinesis_streams::describe(state, &stream).await.map_err(Kinesis),
        Target::CreateStream(stream) => kinesis_streams::create(state, &stream, body).await.map_err(Kinesis),
        Target::DeleteStream(stream) => kinesis_streams::delete(state, &stream).await.map_err(Kinesis),
        Target::Health => Ok(operations::health()),
        Target::Ready => Ok(operations::ready(state)),
        Target::Metrics => Ok(operations::metrics(state)),
        Target::Version => Ok(operations::version(state)),
        Target::OpenApi => Ok(Reply::json(state.openapi.clone())),
        Target::ProduceBatch { cluster, topic } => {
            let produced = rest_v3_batch::produce(state, &cluster, &topic, media, body).await;
            produced.map_err(V3)
        }
        Target::Consumers => Err(V2(RestError::NoConsumers)),
        Target::WrongMethod(methods) => Err(Refused::new(interface, ApiError::Method(methods))),
        Target::Stream { .. } | Target::View(_) | Target::KinesisApi(_) | Target::Root | Target::Nowhere => {
            Err(Refused::new(interface, Refusal::NotFound.into()))
        }
    }
}

/// The answer of a refusal, after the rest of the body was read, so that a client that writes first sees it.
async fn refuse(state: &State, refused: Refused, body: &mut Body) -> Reply {
    let error = refused.api();
    if error.is_some_and(ApiError::is_over_budget) {
        state.metrics.shed();
        state.evict_slow_clients();
    }
    if let Some(reason) = error.and_then(ApiError::refusal) {
        state.metrics.refused(reason);
    }
    if error == Some(&ApiError::Busy) {
        state.metrics.shed();
    }
    let ends_reading = error.is_some_and(ApiError::ends_reading);
    let mut reply = refused.reply();
    if ends_reading || (!body.is_at_end() && !body::drain(body).await) {
        reply.close = true;
    }
    reply
}
