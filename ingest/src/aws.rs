//! How services of AWS are reached, and servers that speak like them: the credential chain of AWS, and requests that are
//! made once. Whether one is repeated, its caller decides.

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use std::time::Duration;

pub use aws_config::timeout::TimeoutConfigBuilder;

const CONNECT: Duration = Duration::from_secs(5);

/// The configuration of a client, with these time limits beside that of a connection. `endpoint` is a server other than
/// AWS's; without a `region` that of the environment counts.
pub fn loader(timeouts: TimeoutConfigBuilder, endpoint: Option<&str>, region: Option<&str>) -> ConfigLoader {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .timeout_config(timeouts.connect_timeout(CONNECT).build())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    } else if endpoint.is_some() {
        // other servers care little for regions; asking EC2's metadata service for one would only cost time
        let named = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let named = named.iter().find_map(|name| std::env::var(name).ok());
        loader = loader.region(Region::new(named.unwrap_or_else(|| "us-east-1".to_owned())));
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader
}
