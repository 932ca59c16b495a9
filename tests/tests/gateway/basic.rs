//! HTTP Basic, as clients of Confluent's REST proxy and of its cloud send it: a key and its secret.

use crate::http::{Answer, JSON, ask, base64};
use crate::limits::{REQUESTS, gateway};
use anyhow::{Result, ensure};
use pinflow_tests::write_private;
use std::net::SocketAddr;

const CHALLENGE: &str = "Bearer, Basic realm=\"pinflow\"";

fn with(at: SocketAddr, credentials: &str, request: (&str, (&str, &str), &str)) -> Result<Answer> {
    let (line, kind, body) = request;
    ask(at, line, &[kind, ("authorization", credentials)], body)
}

fn basic(text: &str) -> String {
    format!("Basic {}", base64(text))
}

#[test]
fn a_name_and_its_token_open_what_the_token_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tokens");
    write_private(
        &file,
        "cloud-secret-1:with:colons  name=ABCDEFGH12345678  scopes=produce:*.geo,read\n\
         token-without-a-name\n\
         slow-token-00001  name=slow  rate=1\n\
         metrics-token-01  name=prometheus  scopes=metrics\n\
         APIKEY0000000001  secret=c2VjcmV0/c2VjcmV0+c2VjcmV0:x  name=agent\n",
    )?;
    let file = file.to_string_lossy().into_owned();
    let (gateway, _folder) = gateway("", &["--token-file", &file])?;
    let at = gateway.at;
    let batch = (
        "POST /v3/clusters/c/topics/lim.geo/records:batch",
        JSON,
        r#"{"entries":[{"id":"1","value":{"data":{"ind":1}}}]}"#,
    );
    let key = basic("ABCDEFGH12345678:cloud-secret-1:with:colons");
    for request in REQUESTS.into_iter().chain([batch]) {
        let success = if request == batch { 207 } else { 200 };
        for credentials in [
            &key,
            &basic("anybody:token-without-a-name"),
            &basic(":token-without-a-name"),
        ] {
            assert_eq!(with(at, credentials, request)?.status, success, "{request:?}");
        }
        assert_eq!(
            with(at, &basic("prometheus:metrics-token-01"), request)?.status,
            403,
            "{request:?}"
        );
        for wrong in [
            &basic("ABCDEFGH12345678:cloud-secret-1:with"),
            &basic("ABCDEFGH:cloud-secret-1:with:colons"),
            &basic("abcdefgh12345678:cloud-secret-1:with:colons"),
            &basic(":cloud-secret-1:with:colons"),
            &basic("cloud-secret-1:with:colons:ABCDEFGH12345678"),
            &basic("ABCDEFGH12345678:"),
            &basic("ABCDEFGH12345678"),
            // an access key of AWS's signs and opens nothing by itself
            &basic("agent:c2VjcmV0/c2VjcmV0+c2VjcmV0:x"),
            &basic("APIKEY0000000001:c2VjcmV0/c2VjcmV0+c2VjcmV0:x"),
            &basic("agent:APIKEY0000000001"),
            "Basic",
            "Basic ",
            "Basic !!!!",
            "Basic /////w==",
            "Basic QUJDREVGR0gxMjM0NTY3OD",
            "Bearer c2VjcmV0/c2VjcmV0+c2VjcmV0:x",
            "Bearer APIKEY0000000001",
        ] {
            let answer = with(at, wrong, request)?;
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, CHALLENGE),
                "{wrong} {request:?}: {answer:?}"
            );
        }
    }
    for (line, status) in [
        ("GET /topics", 200),
        ("GET /v3/clusters", 200),
        ("GET /streams", 200),
        ("GET /metrics", 403),
        ("DELETE /streams/lim.geo", 403),
        ("GET /nothing", 404),
    ] {
        assert_eq!(with(at, &key, (line, JSON, ""))?.status, status, "{line}");
    }
    let metrics = ("GET /metrics", JSON, "");
    assert_eq!(with(at, &basic("prometheus:metrics-token-01"), metrics)?.status, 200);
    // the same rate as with the token itself
    let slow = ("GET /topics", JSON, "");
    assert_eq!(with(at, &basic("slow:slow-token-00001"), slow)?.status, 200);
    assert_eq!(with(at, "Bearer slow-token-00001", slow)?.status, 429);
    // a token beside it goes first, as it did before
    let (line, kind, body) = REQUESTS[1];
    let both = [
        kind,
        ("authorization", &*basic("proxy:secret")),
        ("x-api-key", "token-without-a-name"),
    ];
    assert_eq!(ask(at, line, &both, body)?.status, 200);
    let log = gateway.end()?;
    for name in ["ABCDEFGH12345678", "tokens:2", "prometheus"] {
        ensure!(log.contains(&format!("\"token\":\"{name}\"")), "{name}");
    }
    ensure!(!log.contains("secret-1") && !log.contains("c2VjcmV0") && !log.contains("without-a-name"));
    Ok(())
}
