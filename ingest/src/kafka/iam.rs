//! Amazon MSK with IAM: `sasl.mechanism = AWS_MSK_IAM` becomes OAUTHBEARER, whose token is a signed URL.
//!
//! Credentials come from AWS's default chain each time a token is due; a token lives for 15 minutes, and librdkafka asks
//! for the next one before it ends. rust-rdkafka's `AdminClient` serves no such question, so what needs one (making
//! topics, reading their settings) is not there over IAM.

use super::config_error::KafkaConfigError;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::{Credentials, ProvideCredentials};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::Request;
use rdkafka::client::OAuthToken;
use rdkafka::config::ClientConfig;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What users write as `sasl.mechanism`.
const MECHANISM: &str = "AWS_MSK_IAM";
/// librdkafka's two names of the property.
const MECHANISMS: [&str; 2] = ["sasl.mechanism", "sasl.mechanisms"];
/// How long a token may be used for.
const LIFETIME: Duration = Duration::from_secs(900);

/// The mechanism as librdkafka is to be given it: ours is OAUTHBEARER to it.
pub(super) fn known_to_librdkafka<'a>(name: &str, value: &'a str) -> &'a str {
    if MECHANISMS.contains(&name) && value == MECHANISM {
        "OAUTHBEARER"
    } else {
        value
    }
}

/// Makes the tokens of a client; the default one has none to make.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Option<String>);

impl Tokens {
    /// Of a client's complete configuration, which is changed to what librdkafka understands: without our mechanism it
    /// stays as it is, and there are no tokens to make.
    pub fn of(config: &mut ClientConfig) -> Result<Tokens, KafkaConfigError> {
        let ours = MECHANISMS.map(|name| config.get(name) == Some(MECHANISM));
        if ours == [false; 2] {
            return Ok(Tokens::default());
        }
        for (name, _) in MECHANISMS.iter().zip(ours).filter(|(_, ours)| *ours) {
            config.set(*name, known_to_librdkafka(name, MECHANISM));
        }
        if config.get("security.protocol").is_none() {
            config.set("security.protocol", "SASL_SSL");
        }
        let named = || {
            let names = ["AWS_REGION", "AWS_DEFAULT_REGION"];
            names.iter().find_map(|name| std::env::var(name).ok())
        };
        let region = config.get("bootstrap.servers").and_then(region_of).map(str::to_owned);
        let region = region.or_else(named).ok_or(KafkaConfigError::NoRegion)?;
        Ok(Tokens(Some(region)))
    }

    /// Whether there are any to make.
    pub fn are_made(&self) -> bool {
        self.0.is_some()
    }

    /// A token of this moment. Waits for the credentials, which may be a question to AWS.
    ///
    /// # Errors
    /// Without IAM, without credentials, and where they cannot be fetched.
    pub fn make(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let region = self
            .0
            .as_deref()
            .ok_or("OAUTHBEARER tokens are made for sasl.mechanism = AWS_MSK_IAM only")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let credentials = runtime.block_on(credentials(region))?;
        token(region, credentials, SystemTime::now())
    }
}

async fn credentials(region: &str) -> Result<Credentials, Box<dyn Error>> {
    let https = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(https);
    let config = loader.region(Region::new(region.to_owned())).load().await;
    let provider = config.credentials_provider().ok_or("there are no AWS credentials")?;
    let provided = provider.provide_credentials().await;
    provided.map_err(|error| format!("AWS gives no credentials: {}", causes::with_causes(&error)).into())
}

/// `b-1.demo.abc123.c2.kafka.eu-west-1.amazonaws.com:9098` lies in `eu-west-1`.
fn region_of(bootstrap: &str) -> Option<&str> {
    let mut parts = bootstrap.split(',').next()?.split('.');
    parts.find(|part| part.starts_with("kafka"))?;
    let region = parts.next()?;
    (parts.next() == Some("amazonaws")).then_some(region)
}

/// The URL that would ask the region's Kafka for a connection, signed, in base64.
fn token(region: &str, credentials: Credentials, now: SystemTime) -> Result<OAuthToken, Box<dyn Error>> {
    let principal_name = credentials.access_key_id().to_owned();
    let identity = credentials.into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFETIME);
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kafka-cluster")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let host = format!("kafka.{region}.amazonaws.com");
    let url = format!("https://{host}/?Action=kafka-cluster%3AConnect");
    let headers = [("host", host.as_str())];
    let request = SignableRequest::new("GET", url.as_str(), headers.into_iter(), SignableBody::Bytes(&[]))?;
    let (instructions, _) = sign(request, &params)?.into_parts();
    let mut signed = Request::get(&url).body(())?;
    instructions.apply_to_request_http1x(&mut signed);
    let url = format!("{}&User-Agent=pinflow%2F{}", signed.uri(), env!("CARGO_PKG_VERSION"));
    Ok(OAuthToken {
        token: BASE64_URL_SAFE_NO_PAD.encode(url),
        principal_name,
        lifetime_ms: (now.duration_since(UNIX_EPOCH)? + LIFETIME).as_millis() as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    /// What aws-msk-iam-sasl-signer-python 1.0.2 makes of the same credentials at the same moment.
    const SIGNED: &str = "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect\
        &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261121%2Feu-west-1%2Fkafka-cluster%2Faws4_request\
        &X-Amz-Date=20261121T120000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
        &X-Amz-Security-Token=session%2Ftoken%2Bx%3D%3D\
        &X-Amz-Signature=e1cba9823a8e6a57d746e6e755b0f8587ae74684726e8ba4f01c2cb240548553";

    #[test]
    fn a_token_is_what_amazon_s_own_signer_makes() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let session = Some("session/token+x==".to_owned());
        let credentials = Credentials::new("AKIDEXAMPLE", secret, session, None, "test");
        let noon = UNIX_EPOCH + Duration::from_secs(1_795_262_400);
        let made = token("eu-west-1", credentials, noon).unwrap();
        let url = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(made.token).unwrap()).unwrap();
        let parts = |url: &str| -> std::collections::BTreeSet<String> {
            let parts = url.split(['?', '&']).filter(|part| !part.starts_with("User-Agent="));
            parts.map(str::to_owned).collect()
        };
        assert_eq!(parts(&url), parts(SIGNED));
        assert_eq!(
            (made.principal_name.as_str(), made.lifetime_ms),
            ("AKIDEXAMPLE", 1_795_263_300_000)
        );
    }

    #[test]
    fn the_region_is_in_the_brokers_names() {
        let region = |bootstrap| region_of(bootstrap);
        assert_eq!(
            region("b-1.demo.x1.c2.kafka.eu-west-1.amazonaws.com:9098,b-2.x:9098"),
            Some("eu-west-1")
        );
        assert_eq!(
            region("boot-a.c1.kafka-serverless.us-east-2.amazonaws.com:9098"),
            Some("us-east-2")
        );
        assert_eq!(
            region("b-1.demo.c2.kafka.cn-north-1.amazonaws.com.cn:9098"),
            Some("cn-north-1")
        );
        assert_eq!(region("kafka.example.org:9092"), None);
        assert_eq!(region("127.0.0.1:9092"), None);
    }

    #[test]
    fn the_mechanism_becomes_oauthbearer_over_tls() {
        let of = |properties: &[(String, String)]| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", "b-1.a.kafka.eu-west-1.amazonaws.com:9098");
            config.extend(properties.iter().cloned());
            let tokens = Tokens::of(&mut config).unwrap();
            assert_eq!(tokens.are_made(), config.get("sasl.mechanism") == Some("OAUTHBEARER"));
            let get = |name| config.get(name).map(str::to_owned);
            (get("sasl.mechanism"), get("security.protocol"))
        };
        let ours = property("sasl.mechanism", MECHANISM);
        assert_eq!(
            of(std::slice::from_ref(&ours)),
            (Some("OAUTHBEARER".into()), Some("SASL_SSL".into()))
        );
        let plain = property("security.protocol", "SASL_PLAINTEXT");
        assert_eq!(
            of(&[ours, plain]),
            (Some("OAUTHBEARER".into()), Some("SASL_PLAINTEXT".into()))
        );
        assert_eq!(of(&[property("sasl.mechanism", "PLAIN")]), (Some("PLAIN".into()), None));
        assert!(Tokens::default().make().is_err());
    }
}
