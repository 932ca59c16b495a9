//! AWS's published examples, and what is changed in them.

use super::*;
use crate::authorization::ClaimError;
use hyper::Request;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SIGNED_AT: &str = "20150830T123600Z";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn key(id: &str) -> Option<(Caller, Secret)> {
    (id == KEY).then(|| (Caller::Anyone, Secret(SECRET.to_owned())))
}

/// A request as it is written, with its body.
fn request(text: &str) -> (Parts, &str) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let mut request = Request::builder()
        .method(first.next().unwrap())
        .uri(first.next().unwrap());
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    (request.body(()).unwrap().into_parts().0, body)
}

fn scope(service: &'static str) -> SignatureScope {
    let region = Some("us-east-1".to_owned());
    SignatureScope { service, region }
}

fn signature(head: &Parts, service: &'static str, seconds: i64) -> Result<SignedRequest, SignatureError> {
    let now = parse_date(SIGNED_AT).unwrap() + SignedDuration::from_secs(seconds);
    SignedRequest::with(key, &scope(service), head, now)
}

fn verify(text: &str, service: &'static str) -> Result<(), SignatureError> {
    let (head, body) = request(text);
    signature(&head, service, 0)?.verify(body.as_bytes())
}

fn authorization(service: &str, headers: &str, signature: &str) -> String {
    format!(
        "Authorization: AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/{service}/aws4_request, \
         SignedHeaders={headers}, Signature={signature}"
    )
}

/// The example of AWS's manual, and requests of its test suite.
fn vectors() -> Vec<(&'static str, String)> {
    let date = format!("X-Amz-Date:{SIGNED_AT}");
    let host = "Host:example.amazonaws.com";
    let form = "application/x-www-form-urlencoded";
    let manual = authorization(
        "iam",
        "content-type;host;x-amz-date",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    );
    let suite = |headers, signature| authorization("service", headers, signature);
    let vanilla = suite(
        "host;x-amz-date",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    );
    let trimmed = suite(
        "host;my-header1;my-header2;x-amz-date",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    );
    let twice = suite(
        "host;my-header1;x-amz-date",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    );
    let hashed = suite(
        "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
        "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    );
    let hash = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
    vec![
        (
            "iam",
            format!(
                "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\nHost: iam.amazonaws.com\n\
                 Content-Type: {form}; charset=utf-8\n{date}\n{manual}"
            ),
        ),
        ("service", format!("POST / HTTP/1.1\n{host}\n{date}\n{vanilla}")),
        (
            "service",
            format!("GET / HTTP/1.1\n{host}\nMy-Header1: value1\nMy-Header2: \"a   b   c\"\n{date}\n{trimmed}"),
        ),
        (
            "service",
            format!("GET / HTTP/1.1\n{host}\nMy-Header1:value2\nMy-Header1:value2\nMy-Header1:value1\n{date}\n{twice}"),
        ),
        (
            "service",
            format!(
                "POST / HTTP/1.1\nContent-Type:{form}\n{host}\nContent-Length:13\n{date}\n\
                 x-amz-content-sha256:{hash}\n{hashed}\n\nParam1=value1"
            ),
        ),
    ]
}

#[test]
fn the_examples_of_aws_are_verified_and_nothing_else_of_them() {
    for (service, text) in vectors() {
        assert_eq!(verify(&text, service), Ok(()), "{text}");
        let (head, _) = request(&text);
        let is_hashed = text.contains("content-sha256");
        assert_eq!(signature(&head, service, 0).unwrap().is_verified(), is_hashed);
        // another body, method, target, value, and unsigned header beside a signed one
        for (from, to) in [
            ("Param1=value1", "Param1=value2"),
            ("POST ", "PUT "),
            ("GET ", "HEAD "),
            (" / ", " /x "),
            (" / ", " /?x=1 "),
            ("Version=2010", "Version=2011"),
            ("value1\n", "value3\n"),
            ("a   b", "ab"),
            ("Host:example", "Host:other"),
            ("Content-Length:13", "Content-Length:14"),
            ("x-amz-content-sha256:9", "x-amz-content-sha256:8"),
            ("My-Header1:value2\nMy-Header1:value2\n", "My-Header1:value2\n"),
            ("My-Header1: value1\n", ""),
        ] {
            let changed = text.replacen(from, to, 1);
            if changed != text {
                assert_eq!(verify(&changed, service), Err(SignatureError::Mismatch), "{changed}");
            }
        }
        if !is_hashed {
            let (head, _) = request(&text);
            let other = signature(&head, service, 0).unwrap().verify(b"x");
            assert_eq!(other, Err(SignatureError::Mismatch));
        }
    }
}

#[test]
fn a_signature_has_a_time_a_region_and_a_service() {
    let (_, text) = &vectors()[1];
    let (head, _) = request(text);
    for (seconds, is_right) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        assert_eq!(signature(&head, "service", seconds).is_ok(), is_right, "{seconds}");
    }
    let said = |seconds| signature(&head, "service", seconds).err().unwrap().to_string();
    assert_eq!(
        said(301),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)"
    );
    assert_eq!(
        said(-301),
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T123059Z + 5 min.)"
    );
    let refused = |text: &str, service| verify(text, service).unwrap_err();
    assert_eq!(refused(text, "kinesis"), SignatureError::Service("kinesis"));
    let region = text.replace("us-east-1", "eu-west-1");
    assert_eq!(
        refused(&region, "service"),
        SignatureError::Region("eu-west-1".to_owned())
    );
    assert_eq!(
        refused(&text.replace("/20150830/", "/20150831/"), "service"),
        SignatureError::Day
    );
    assert_eq!(
        refused(&text.replace("/20150830/", "/2015/"), "service"),
        SignatureError::Day
    );
    assert_eq!(
        refused(&text.replace(KEY, "AKIDANOTHER"), "service"),
        SignatureError::UnknownKey
    );
    for wrong in [
        "20150830T1236Z",
        "2015-08-30T12:36:00Z",
        "20150830T123600",
        "",
        "20151330T123600Z",
    ] {
        let wrong = text.replace(&format!("Date:{SIGNED_AT}"), &format!("Date:{wrong}"));
        assert_eq!(refused(&wrong, "service"), SignatureError::Date, "{wrong}");
    }
    let date = format!("X-Amz-Date:{SIGNED_AT}\n");
    assert_eq!(refused(&text.replace(&date, ""), "service"), SignatureError::Date);
    let twice = refused(&text.replace(&date, &date.repeat(2)), "service");
    assert_eq!(twice, SignatureError::Header(DATE));
}

#[test]
fn what_a_request_means_is_signed() {
    let (_, text) = &vectors()[1];
    for name in SIGNED {
        let with = match name.as_str() {
            "host" | "x-amz-date" => text.replace(&format!("{name};"), "").replace(&format!(";{name}"), ""),
            // the hash of another header's value is no matter here
            _ => text.replacen("Host", &format!("{name}: {EMPTY}\nHost"), 1),
        };
        assert_eq!(verify(&with, "service"), Err(SignatureError::Unsigned(name)), "{with}");
    }
    let more = text.replacen("Host", "User-Agent: x\nHost", 1);
    assert_eq!(verify(&more, "service"), Ok(()), "others may be added on the way");
    // what is signed of it would be no target any more
    let long = text.replacen(" / ", &format!(" /?{} ", "!".repeat(22_000)), 1);
    assert_eq!(verify(&long, "service"), Err(SignatureError::Mismatch));
    let missing = text.replace("SignedHeaders=host;", "SignedHeaders=accept;host;");
    assert_eq!(verify(&missing, "service"), Err(SignatureError::Mismatch));
    for hash in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", "e3b0"] {
        let text = text.replacen("Host", &format!("x-amz-content-sha256: {hash}\nHost"), 1);
        let text = text.replace("=host;", "=host;x-amz-content-sha256;");
        assert_eq!(verify(&text, "service"), Err(SignatureError::Payload(hash.to_owned())));
    }
    let coded = text.replacen("Host", "Content-Encoding: gzip\nHost", 1);
    assert_eq!(
        verify(&coded, "service"),
        Err(SignatureError::Payload("gzip".to_owned()))
    );
}

#[test]
fn without_one_signature_there_is_none() {
    let (_, text) = &vectors()[1];
    let line = text.lines().last().unwrap();
    let refused = |text: String| verify(&text, "service").unwrap_err();
    assert_eq!(refused(text.replace(line, "X: y")), SignatureError::Missing);
    assert_eq!(
        refused(text.replace(line, &format!("{line}\n{line}"))),
        SignatureError::Header(AUTHORIZATION)
    );
    let bearer = refused(text.replace(line, "Authorization: Bearer x"));
    assert_eq!(bearer, SignatureError::Claim(ClaimError::Scheme));
}
