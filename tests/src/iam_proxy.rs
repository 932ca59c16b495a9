//! What Amazon MSK does with an IAM token, in front of a broker that knows no authentication: SASL of Kafka's protocol, up
//! to the point where the requests of an authenticated connection are passed on.
//!
//! A token is checked as far as it can be without AWS: what it asks for, where, when it was signed and for how long, and
//! that there is a signature. Sessions are short, so that a client has to authenticate again while it goes on (KIP-368);
//! one that does not is closed at its next request.

use crate::listen::listen;
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::{Timestamp, ToSpan, civil::DateTime, tz::TimeZone};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
const SASL_AUTHENTICATION_FAILED: i16 = 58;
const MECHANISM: &str = "OAUTHBEARER";
/// The longest frame that is passed on.
const LONGEST: usize = 64 << 20;

/// A broker that is reached with tokens alone.
pub struct IamProxy {
    address: SocketAddr,
    judge: Arc<Judge>,
    /// Connections end with it.
    _runtime: Runtime,
}

struct Judge {
    region: String,
    session: Duration,
    refuses: AtomicBool,
    accepted: AtomicU64,
    renewed: AtomicU64,
    refused: AtomicU64,
}

impl IamProxy {
    /// Lets in whoever brings a token for `region`, for as long as a `session` lasts.
    pub fn to(broker: SocketAddr, region: &str, session: Duration) -> Result<IamProxy> {
        let (runtime, listener) = listen()?;
        let address = listener.local_addr()?;
        let judge = Arc::new(Judge {
            region: region.to_owned(),
            session,
            refuses: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let judging = Arc::clone(&judge);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let judge = Arc::clone(&judging);
                // an error is the end of the connection
                tokio::spawn(async move { serve(client, broker, &judge).await });
            }
        });
        Ok(IamProxy {
            address,
            judge,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether tokens are refused from now on, as those of credentials that have expired.
    pub fn refuse(&self, refuses: bool) {
        self.judge.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Connections that a token was accepted for.
    pub fn accepted(&self) -> u64 {
        self.judge.accepted.load(Ordering::SeqCst)
    }

    /// Sessions that another token was accepted for while they lasted.
    pub fn renewed(&self) -> u64 {
        self.judge.renewed.load(Ordering::SeqCst)
    }

    /// Tokens that were refused.
    pub fn refused(&self) -> u64 {
        self.judge.refused.load(Ordering::SeqCst)
    }
}

impl Judge {
    /// What is wrong with the client's first and only message of OAUTHBEARER (RFC 7628), if anything is.
    fn examine(&self, message: &[u8]) -> Result<()> {
        ensure!(!self.refuses.load(Ordering::SeqCst), "the credentials have expired");
        let message = std::str::from_utf8(message)?;
        let token = message
            .split('\u{1}')
            .find_map(|part| part.strip_prefix("auth=Bearer "));
        let url = BASE64_URL_SAFE_NO_PAD.decode(token.context("a message without a token")?)?;
        let url = String::from_utf8(url)?;
        let (host, query) = url.split_once("/?").context("a token that is no URL")?;
        ensure!(host == format!("https://kafka.{}.amazonaws.com", self.region), "{host}");
        let mut parts = BTreeMap::new();
        for part in query.split('&') {
            let (name, value) = part.split_once('=').context("a name without a value")?;
            parts.insert(name, percent_decode_str(value).decode_utf8()?);
        }
        let part = |name: &str| parts.get(name).with_context(|| format!("a token without {name}"));
        ensure!(part("Action")? == "kafka-cluster:Connect", "{query}");
        let scope = format!("/{}/kafka-cluster/aws4_request", self.region);
        ensure!(part("X-Amz-Credential")?.ends_with(&scope), "{query}");
        let signature = part("X-Amz-Signature")?;
        ensure!(
            signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{signature} is no signature"
        );
        let signed = DateTime::strptime("%Y%m%dT%H%M%SZ", &**part("X-Amz-Date")?)?;
        let signed = signed.to_zoned(TimeZone::UTC)?.timestamp();
        let lasts: i64 = part("X-Amz-Expires")?.parse()?;
        let now = Timestamp::now();
        ensure!(signed <= now + 60.seconds(), "signed in the future: {signed}");
        ensure!(now < signed + lasts.seconds(), "a token that has expired: {signed}");
        Ok(())
    }
}

/// Reads a frame of Kafka's protocol, without its length.
async fn frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_i32().await?;
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST);
    let mut frame = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn send(to: &Mutex<OwnedWriteHalf>, frame: &[u8]) -> io::Result<()> {
    let mut bytes = (frame.len() as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    to.lock().await.write_all(&bytes).await
}

async fn serve(client: TcpStream, broker: SocketAddr, judge: &Judge) -> Result<()> {
    let broker = TcpStream::connect(broker).await?;
    for stream in [&client, &broker] {
        stream.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    // answers of the broker and ours come between each other, whole
    let (to_client, to_broker) = (Mutex::new(to_client), Mutex::new(to_broker));
    tokio::select! {
        ended = requests(from_client, &to_client, &to_broker, judge) => ended,
        ended = answers(from_broker, &to_client) => ended,
    }
}

async fn answers(mut broker: OwnedReadHalf, client: &Mutex<OwnedWriteHalf>) -> Result<()> {
    loop {
        send(client, &frame(&mut broker).await?).await?;
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    client: &Mutex<OwnedWriteHalf>,
    broker: &Mutex<OwnedWriteHalf>,
    judge: &Judge,
) -> Result<()> {
    let mut until: Option<Instant> = None;
    loop {
        let bytes = frame(&mut from).await?;
        let request = Request::of(&bytes)?;
        match request.api {
            API_VERSIONS => send(broker, &bytes).await?,
            SASL_HANDSHAKE => send(client, &request.shake()).await?,
            SASL_AUTHENTICATE => {
                let refusal = judge.examine(request.token()?).err();
                let counter = match (&refusal, until) {
                    (Some(_), _) => &judge.refused,
                    (None, None) => &judge.accepted,
                    (None, Some(_)) => &judge.renewed,
                };
                counter.fetch_add(1, Ordering::SeqCst);
                send(client, &request.verdict(refusal.as_ref(), judge.session)).await?;
                if refusal.is_some() {
                    // the client closes, and has the reason by then
                    loop {
                        frame(&mut from).await?;
                    }
                }
                until = Some(Instant::now() + judge.session);
            }
            _ if until.is_some_and(|until| Instant::now() < until) => send(broker, &bytes).await?,
            _ => bail!("a request without a session"),
        }
    }
}

/// A request up to its body.
struct Request<'a> {
    api: i16,
    version: i16,
    correlation: [u8; 4],
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn of(frame: &'a [u8]) -> Result<Request<'a>> {
        let (head, rest) = frame.split_first_chunk::<10>().context("a request without a head")?;
        let number = |at: usize| i16::from_be_bytes([head[at], head[at + 1]]);
        // the client's name, -1 for none
        let name = usize::try_from(number(8)).unwrap_or(0);
        Ok(Request {
            api: number(0),
            version: number(2),
            correlation: [head[4], head[5], head[6], head[7]],
            body: rest.get(name..).context("a request without a body")?,
        })
    }

    /// Whether the message is of the encoding with tags and short lengths.
    fn is_flexible(&self) -> bool {
        self.api == SASL_AUTHENTICATE && self.version >= 2
    }

    /// The bytes of a SaslAuthenticate.
    fn token(&self) -> Result<&'a [u8]> {
        let token = if self.is_flexible() {
            // no tags of the head, then a length in sevens of bits, one too large
            let (mut length, mut shift, mut at) = (0usize, 0, 1);
            loop {
                let byte = *self.body.get(at).context("no length")?;
                at += 1;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
                ensure!(shift < 35, "a length of too many bytes");
            }
            self.body.get(at..at + length.saturating_sub(1))
        } else {
            let (length, bytes) = self.body.split_first_chunk::<4>().context("no length")?;
            bytes.get(..usize::try_from(i32::from_be_bytes(*length))?)
        };
        token.context("fewer bytes than were said")
    }

    /// The answer to a SaslHandshake: the one mechanism.
    fn shake(&self) -> Vec<u8> {
        let mut answer = self.correlation.to_vec();
        answer.extend(0i16.to_be_bytes());
        answer.extend(1i32.to_be_bytes());
        answer.extend((MECHANISM.len() as i16).to_be_bytes());
        answer.extend(MECHANISM.as_bytes());
        answer
    }

    /// The answer to a SaslAuthenticate.
    fn verdict(&self, refusal: Option<&anyhow::Error>, session: Duration) -> Vec<u8> {
        let said = refusal.map(|refusal| format!("Access denied: {refusal}"));
        let code = refusal.map_or(0, |_| SASL_AUTHENTICATION_FAILED);
        let lifetime = refusal.map_or(session.as_millis() as i64, |_| 0);
        let mut answer = self.correlation.to_vec();
        if self.is_flexible() {
            answer.push(0);
            answer.extend(code.to_be_bytes());
            let said = said.unwrap_or_default();
            // short, so that its length is one byte
            let said: String = said.chars().filter(char::is_ascii).take(100).collect();
            answer.push(said.len() as u8 + 1);
            answer.extend(said.as_bytes());
            answer.push(1);
            answer.extend(lifetime.to_be_bytes());
            answer.push(0);
            return answer;
        }
        answer.extend(code.to_be_bytes());
        match said {
            None => answer.extend((-1i16).to_be_bytes()),
            Some(said) => {
                answer.extend((said.len() as i16).to_be_bytes());
                answer.extend(said.as_bytes());
            }
        }
        answer.extend(0i32.to_be_bytes());
        if self.version >= 1 {
            answer.extend(lifetime.to_be_bytes());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SaslAuthenticate of a client without a name.
    fn request(version: i16, body: &[u8]) -> Vec<u8> {
        let mut frame = SASL_AUTHENTICATE.to_be_bytes().to_vec();
        frame.extend(version.to_be_bytes());
        frame.extend([0, 0, 0, 7]);
        frame.extend((-1i16).to_be_bytes());
        frame.extend(body);
        frame
    }

    #[test]
    fn both_encodings_are_read_and_written() {
        let token = [b'x'; 200];
        let plain = request(1, &[&200i32.to_be_bytes()[..], &token].concat());
        // 201 in sevens of bits, between two lists of no tags
        let flexible = request(2, &[&[0, 0xc9, 0x01][..], &token, &[0]].concat());
        for frame in [&plain, &flexible] {
            assert_eq!(Request::of(frame).unwrap().token().unwrap(), token);
        }
        let session = Duration::from_millis(258);
        let answer = |frame| Request::of(frame).unwrap().verdict(None, session);
        let lifetime = [0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(
            answer(&plain),
            [&[0, 0, 0, 7, 0, 0, 0xff, 0xff, 0, 0, 0, 0][..], &lifetime].concat()
        );
        assert_eq!(
            answer(&flexible),
            [&[0, 0, 0, 7, 0, 0, 0, 1, 1][..], &lifetime, &[0]].concat()
        );
    }

    #[test]
    fn a_token_is_of_its_region_and_lives_for_as_long_as_it_says() {
        let judge = Judge {
            region: "eu-west-1".into(),
            session: Duration::ZERO,
            refuses: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        let examine = |region: &str, age: i64| {
            let date = (Timestamp::now() - age.seconds())
                .strftime("%Y%m%dT%H%M%SZ")
                .to_string();
            let signature = "0f".repeat(32);
            let url = format!(
                "https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-Credential=\
                 A%2F20261121%2F{region}%2Fkafka-cluster%2Faws4_request&X-Amz-Date={date}&X-Amz-Expires=900\
                 &X-Amz-Signature={signature}"
            );
            let token = BASE64_URL_SAFE_NO_PAD.encode(url);
            judge.examine(format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").as_bytes())
        };
        examine("eu-west-1", 890).unwrap();
        assert!(examine("us-east-1", 0).is_err());
        let expired = examine("eu-west-1", 910).unwrap_err().to_string();
        assert!(expired.contains("has expired"), "{expired}");
    }
}
