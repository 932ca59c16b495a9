//! What is masked in which text, and what is not.

use super::*;

#[test]
fn connection_strings_are_shown_without_their_passwords() {
    for (text, expected) in [
        ("postgres://me:s3cr3t@db:5432/x", "postgres://me:***@db:5432/x"),
        ("postgres://u:ab/cd@db/x", "postgres://u:***@db/x"),
        ("postgres://u:ab?cd#e@db/x", "postgres://u:***@db/x"),
        (
            "postgres://u:p@a:1,b:2/x?password=q&port=1",
            "postgres://u:***@a:1,b:2/x?password=***&port=1",
        ),
        ("postgres://u@db/x?p%61ssword=q", "postgres://u@db/x?p%61ssword=***"),
        (
            "host=db password='two \\' words' user=me",
            "host=db password=*** user=me",
        ),
        ("mysql://u:ab/cd@db/x", "mysql://u:***@db/x"),
        // what cannot be taken apart
        ("postgres://me:s3:c@r3t@db/x", "postgres://***"),
        ("postgres://me:s3cr3t/x", "postgres://***"),
        ("postgresql://me@db/x?password=s3&cr3t", "postgresql://***"),
        ("host=db password=s3 cr3t", "***"),
        ("jdbc:postgresql://db/x?user=me&password=s3cr3t", "***"),
        ("POSTGRES://me:s3cr3t@db/x", "***"),
        ("s3cr3t", "***"),
        ("", "***"),
    ] {
        assert_eq!(mask_connection(text), expected);
        assert_eq!(
            format!("{0:?} {0}", Secret::new(text)),
            format!("{expected} {expected}")
        );
    }
}

#[test]
fn other_values_lose_what_looks_like_a_secret() {
    for (text, expected) in [
        ("https://a:b/c d@e:1/f", "https://a:***@e:1/f"),
        ("s3://AKIA:ab/cd@bucket/x", "s3://AKIA:***@bucket/x"),
        (
            "https://host/x?X-Amz-Security-Token=ab%2F&a=b",
            "https://host/x?X-Amz-Security-Token=***&a=b",
        ),
        (
            "org.x.PlainLoginModule required username=\"me\" password=\"a \\\" b\";",
            "org.x.PlainLoginModule required username=\"me\" password=***;",
        ),
        ("aws_secret_access_key = ab/cd", "aws_secret_access_key =***"),
        ("me:s3/cr3t@broker:9092", "me:***@broker:9092"),
        ("aws_access_key_id=ab", "aws_access_key_id=***"),
        ("password=s3 cr3t user=x", "password=***"),
        ("password=s3&cr3t", "password=***"),
        ("https://host/x?token=s3 cr3t&a=b", "https://host/x?token=***&a=b"),
        ("postgresql+psycopg://u:s3 cr3t", "postgresql+psycopg://u:***"),
        ("mysql://u:s3\tcr3t@h/x y", "mysql://u:***@h/x y"),
        ("http://u:s3/cr3t", "http://u:***"),
        // and what does not stays as it is
        ("s3://bucket/a:b", "s3://bucket/a:b"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://a:1,b:2", "http://a:1,b:2"),
        ("https://host:80/x", "https://host:80/x"),
        ("mysql://me@host:3306/x", "mysql://me@host:3306/x"),
        ("file:///a:b@c", "file:///a:b@c"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("a:9092,b:9092", "a:9092,b:9092"),
        ("/data/a:b@c", "/data/a:b@c"),
        ("ssl.ca.location=/ca.pem", "ssl.ca.location=/ca.pem"),
        ("--token-file=/run/token", "--token-file=/run/token"),
        ("the password", "the password"),
    ] {
        assert_eq!(mask_value(text), expected);
    }
}

#[test]
fn every_secret_in_a_text_is_masked() {
    for (text, expected) in [
        ("https://a:b@c https://d:e/f@g", "https://a:***@c https://d:***@g"),
        (
            "unexpected argument 'postgres://u:a/b@c/d' found",
            "unexpected argument 'postgres://u:***@c/d' found",
        ),
        (
            "'--kafka-property=sasl.password=ab' found",
            "'--kafka-property=sasl.password=***' found",
        ),
        ("it's 'sasl.password=ab' found", "it's 'sasl.password=*** found"),
        ("sasl.password=ab' found", "sasl.password=*** found"),
        (
            "'x' sasl.password=ab'\n'ssl.key.password=c'd'",
            "'x' sasl.password=***\n'ssl.key.password=***'",
        ),
        (
            "'\u{1b}[33msasl.password=a\u{1b}[31mb\u{1b}[0m' found",
            "'\u{1b}[33msasl.password=***\u{1b}[0m' found",
        ),
        ("password = 'a b' and token=c", "password =*** and token=***"),
    ] {
        assert_eq!(mask_text(text), expected);
    }
}

#[test]
fn an_argument_that_is_repeated_keeps_its_quotes() {
    for (argument, masked) in [
        (
            "--kafka-property=sasl.password=a b'c",
            "--kafka-property=sasl.password=***",
        ),
        ("sasl.password='a b'", "sasl.password=***"),
        ("--postgres=host=db password=ab", "--postgres=host=db password=***"),
        ("postgres://u:a'b@c/d", "postgres://u:***@c/d"),
    ] {
        let text = |argument: &str| format!("error: unexpected argument '{argument}' found\n\nUsage: pinflow\n");
        let found = mask_repeated(&text(argument), [argument.to_owned()]);
        assert_eq!(found, text(masked));
    }
}

#[test]
fn a_password_is_put_into_every_form_of_connection_string() {
    for form in [
        "postgres://me@db:1/x",
        "postgres://db/x?connect_timeout=3",
        "host=db user=me",
    ] {
        let config: tokio_postgres::Config = with_password(form, "a/b'\\@ ü").parse().unwrap();
        assert_eq!(config.get_password(), Some("a/b'\\@ ü".as_bytes()), "{form}");
    }
    assert_eq!(with_password("postgres://me:a/b@db/x", "new"), "postgres://me:a/b@db/x");
    assert_eq!(with_password("mysql://me@db:1/x", "a/b"), "mysql://me:a%2Fb@db:1/x");
    assert_eq!(with_password("mysql://me:old@db/x", "new"), "mysql://me:old@db/x");
    assert_eq!(with_password("mysql://me:@db/x", "new"), "mysql://me:new@db/x");
    assert_eq!(with_password("mysql://me@db/x", ""), "mysql://me@db/x");
    assert_eq!(with_password("nonsense", "new"), "nonsense");
}

#[test]
fn secrets_are_known_by_name() {
    for name in [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "sasl.jaas.config",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "AWS_SECRET_ACCESS_KEY",
        "aws.session.token",
    ] {
        assert!(is_secret_name(name), "{name}");
    }
    for name in [
        "security.protocol",
        "sasl.username",
        "ssl.ca.location",
        "ssl.key.location",
        "sasl.oauthbearer.token.endpoint.url",
        "client.id",
    ] {
        assert!(!is_secret_name(name), "{name}");
    }
}

#[test]
fn a_secret_is_what_stands_in_its_file_without_the_end_of_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    for (content, expected) in [
        ("a b", Ok("a b")),
        (" a \r\n\n", Ok(" a ")),
        ("", Err("is empty")),
        ("\n", Err("is empty")),
    ] {
        std::fs::write(&file, content).unwrap();
        let read = read_file(&file);
        match expected {
            Ok(secret) => assert_eq!(read.as_deref(), Ok(secret)),
            Err(what) => assert_eq!(read, Err(format!("{} {what}", file.display()))),
        }
    }
    assert!(
        read_file(Path::new("/dev/zero"))
            .unwrap_err()
            .contains("/dev/zero is longer")
    );
    std::fs::write(&file, b"\xff").unwrap();
    for unreadable in [file.as_path(), folder.path(), Path::new("/nonexistent")] {
        let error = read_file(unreadable).unwrap_err();
        assert!(
            error.starts_with(&format!("cannot read {}: ", unreadable.display())),
            "{error}"
        );
    }
}

#[test]
fn a_short_secret_is_masked_where_it_stands_by_itself() {
    let masked = |text: &str, secret: &str| mask_occurrences(text, secret, MASK);
    assert_eq!(
        masked("expected a number, found `e`; e, \"e\" and e", "e"),
        "expected a number, found `***`; ***, \"***\" and ***"
    );
    assert_eq!(masked("expected, not ex=ex&exex", "ex"), "expected, not ***=***&exex");
    assert_eq!(masked("größe ö `ö` öö", "ö"), "größe *** `***` öö");
    // beside what belongs to no word it is masked too
    assert_eq!(masked("a.b c.", "."), "a***b c***");
    assert_eq!(masked("x-e e-x x--", "-e"), "x*** e-x x--");
    assert_eq!(masked("aa aaa aa", "aa"), "*** aaa ***");
    assert_eq!(masked("e", "e"), MASK);
    // a longer one is masked within words as well
    assert_eq!(masked("unexpected expe expect", "expe"), "un***cted *** ***ct");
    assert_eq!(masked("nothing", ""), "nothing");
}
