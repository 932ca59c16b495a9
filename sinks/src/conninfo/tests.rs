//! What connection strings are taken apart into, which are refused, and that nothing of a password is shown.

use super::*;
use proptest::prelude::*;

#[test]
fn passwords_are_masked_in_every_form() {
    for (text, masked) in [
        ("postgres://u:ab/cd@db/x", "postgres://u:***@db/x"),
        ("postgres://u:a?b&d@db/x", "postgres://u:***@db/x"),
        ("postgresql://u:a:b@db", "postgresql://u:***@db"),
        (
            "postgres://u:a b#c@h1:1,h2:2,[::1]:3/x?connect_timeout=3",
            "postgres://u:***@h1:1,h2:2,[::1]:3/x?connect_timeout=3",
        ),
        (
            "postgres://u@db/x?a%70plication_name=p&p%61ssword=a%26b",
            "postgres://u@db/x?a%70plication_name=p&p%61ssword=***",
        ),
        (
            "postgres://u:a@db/x?password=b&password=c#d",
            "postgres://u:***@db/x?password=***&password=***",
        ),
        (
            "postgres:///x?host=/run/pg&password=a/b",
            "postgres:///x?host=/run/pg&password=***",
        ),
        ("postgres://%2Frun%2Fpg/x", "postgres://%2Frun%2Fpg/x"),
        ("host=db password=a/b user=me", "host=db password=*** user=me"),
        (
            "host=db password = 'two \\' words' user=me",
            "host=db password = *** user=me",
        ),
        ("password='a password=b'host=db", "password=***host=db"),
        ("password=a\\ b\thost=db", "password=***\thost=db"),
        ("user='password=x' host=db", "user='password=x' host=db"),
        ("host=db password=", "host=db password=***"),
    ] {
        assert_eq!(Conninfo::parse(text).unwrap().masked(), masked);
    }
}

#[test]
fn what_could_be_a_part_of_a_password_is_refused_and_not_repeated() {
    use ConninfoError::*;
    for (text, error) in [
        ("postgres://u:s3@cret@db/x", SecondAt),
        ("postgres://u:s@3/cret@db/x", SecondAt),
        ("postgres://u:a?b=s3cret@db/x", LateAt),
        ("postgres://db/x?password=s3@cret", LateAt),
        ("postgres://db:5432/x?sslmode=require&password=s3@cret", LateAt),
        ("postgres://u:s3/cret", Host(1)),
        ("postgres://a,u:s3cret", Host(2)),
        ("postgres://[::1/x", Host(1)),
        ("postgres://[::1]s3cret/x", Host(1)),
        ("postgres://db/x?password=s3&cret", Setting(2)),
        ("postgres://u:s3@db/x?cret=1", Unknown(1)),
        ("postgres://db/x?user=%FF", Encoding),
        ("postgres://db/postgres://u:s3cret", Nested),
        ("jdbc:postgresql://db/x?user=u&password=s3cret", Unknown(1)),
        ("host=db password=s3 cret", Setting(3)),
        ("host=db password=s3 cret=x", Unknown(3)),
        ("host=db password='s3 cret", Quote(2)),
        ("host=db password", Setting(2)),
        ("host=db password='", Quote(2)),
        ("host=db password=\\", Setting(2)),
        ("host=db port=s3cret", Port),
        ("postgres://db/x?port=1,s3cret", Port),
        ("dbname=postgres://u:s3cret", Nested),
        ("s3cret", Setting(1)),
        ("=s3cret", Setting(1)),
        ("", Setting(1)),
    ] {
        let found = Conninfo::parse(text).unwrap_err();
        assert_eq!(found, error, "{text}");
        assert!(!found.to_string().contains("cret"), "{found}");
    }
}

#[test]
fn a_password_is_put_into_every_form() {
    for (text, with) in [
        ("postgres://me@db:1/x", "postgres://me:a%2Fb@db:1/x"),
        (
            "postgres://db/x?connect_timeout=3",
            "postgres://db/x?connect_timeout=3&password=a%2Fb",
        ),
        ("postgres://me:a/b@db/x", "postgres://me:a/b@db/x"),
        ("postgres://db/x?password=old", "postgres://db/x?password=old"),
        ("host=db user=me", "host=db user=me password='a/b'"),
        ("host=db password=old", "host=db password=old"),
        // an empty one is none
        ("postgres://me:@db/x", "postgres://me:a%2Fb@db/x"),
        ("postgres://me@db/x?password=", "postgres://me:a%2Fb@db/x"),
        (
            "postgres://me:@db/x?password=&user=u",
            "postgres://me:a%2Fb@db/x?user=u",
        ),
        ("postgres://me:old@db/x?password=", "postgres://me:a%2Fb@db/x"),
        ("postgres://db/x?password=", "postgres://db/x?password=a%2Fb"),
        ("postgres://me:@db/x?password=old", "postgres://me:@db/x?password=old"),
        ("host=db password='' user=me", "host=db user=me password='a/b'"),
        ("password=''", "password='a/b'"),
        ("host=db password=", "host=db password='a/b'"),
        ("host=db password = ", "host=db password='a/b'"),
        ("password=", "password='a/b'"),
        ("password=old host=", "password=old host="),
        ("dbname=db host=", "dbname=db host='' password='a/b'"),
    ] {
        let conninfo = Conninfo::parse(text).unwrap();
        let found = conninfo.with_password("a/b");
        assert_eq!(found, with, "{text}");
        assert_eq!(conninfo.with_password(""), text, "an empty password is none");
        assert_eq!(conninfo.has_password(), found == text, "{text}");
        let read = Conninfo::parse(&found).unwrap().without(&[]);
        let config: tokio_postgres::Config = read.parse().unwrap();
        let password = config.get_password();
        assert!(password == Some(b"a/b") || password == Some(b"old"), "{text}");
    }
}

#[test]
fn settings_leave_the_string() {
    let without = |text: &str| Conninfo::parse(text).unwrap().without(&["sslmode", "sslrootcert"]);
    let url = "postgres://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fca.pem";
    assert_eq!(without(url), "postgres://u:p@h/d");
    assert_eq!(
        without(&format!("{url}&connect_timeout=3")),
        "postgres://u:p@h/d?connect_timeout=3"
    );
    assert_eq!(Conninfo::parse(url).unwrap().get("sslrootcert"), Some("/ca.pem"));
    assert_eq!(
        without("host=x password='a sslmode=b' sslmode = require user=y"),
        "host=x password='a sslmode=b' user=y"
    );
}

proptest! {
    /// What this file takes for the password is what tokio-postgres sends as it.
    #[test]
    fn tokio_postgres_finds_the_same_password(password in "[ -~]{1,12}", form in 0..4) {
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        let text = match form {
            0 => format!("postgres://me:{}@db/x", password.replace(['%', '@', '='], "_")),
            1 => format!("postgres://db/x?password={}", password.replace(['%', '&', '@'], "_")),
            2 => format!("host=db password='{quoted}' user=me"),
            _ => Conninfo::parse("postgres://me@db/x").unwrap().with_password(&password),
        };
        let found: tokio_postgres::Config = text.parse().unwrap();
        let sent = String::from_utf8(found.get_password().unwrap().to_vec()).unwrap();
        let masked = Conninfo::parse(&text).unwrap().masked();
        let expected = match form {
            0 => "postgres://me:***@db/x",
            1 => "postgres://db/x?password=***",
            2 => "host=db password=*** user=me",
            _ => "postgres://me:***@db/x",
        };
        prop_assert_eq!(masked, expected);
        prop_assert!(form < 2 || sent == password);
    }
}
