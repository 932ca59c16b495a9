//! TLS, as far as libpq's words go: a server with a certificate of our own authority.

use crate::cluster::{own, run, schema};
use causes::with_causes;
use sinks::{PostgresConfig, Sink, SinkError};
use std::path::Path;
use std::process::Command;

fn openssl(directory: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(arguments.split(' '));
    command.output().is_ok_and(|output| output.status.success())
}

/// `ca.pem`, `other.pem`, a server's `server.pem` for 127.0.0.1, and `certified.pem` of the role of that name with
/// `certified.key`.
fn certificates(directory: &Path) -> bool {
    let authority = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -addext \
                     basicConstraints=critical,CA:TRUE -subj /CN=authority";
    std::fs::write(directory.join("ip.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    // rustls takes certificates of version 3 alone, which is what extensions make of them
    std::fs::write(directory.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    openssl(directory, &format!("{authority} -keyout ca.key -out ca.pem"))
        && openssl(directory, &format!("{authority} -keyout other.key -out other.pem"))
        && openssl(
            directory,
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -keyout server.key -out server.csr",
        )
        && openssl(
            directory,
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ip.ext -out server.pem",
        )
        && openssl(
            directory,
            "req -newkey rsa:2048 -nodes -subj /CN=certified -keyout certified.key -out certified.csr",
        )
        && openssl(
            directory,
            "x509 -req -in certified.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile client.ext -out certified.pem",
        )
        && openssl(
            directory,
            "pkcs8 -topk8 -in certified.key -passout pass:x -out encrypted.key",
        )
}

#[test]
fn the_words_of_sslmode_mean_what_libpq_means() {
    let files = tempfile::tempdir().unwrap();
    if !certificates(files.path()) {
        crate::need::skip("openssl does not make certificates");
        return;
    }
    let Some(cluster) = own() else { return };
    run(async {
        let name = schema();
        let base = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port);
        let with = |mode: &str, root: Option<&str>| {
            let mut config = PostgresConfig::new(format!("{base}?sslmode={mode}"), &name);
            config.ssl_root_cert = root.map(|root| files.path().join(root));
            config
        };
        // without a word about it, a root certificate means that all is checked
        let unsaid = |host: &str, root: Option<&str>| {
            let url = base.replace("127.0.0.1", host);
            let mut config = PostgresConfig::new(url, &name);
            config.ssl_root_cert = root.map(|root| files.path().join(root));
            config
        };
        let encrypted = async |config: PostgresConfig| -> Result<i64, SinkError> {
            let sink = Sink::connect(config.clone()).await?;
            let client = cluster.client().await;
            let sql = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                       WHERE ssl AND application_name = $1";
            let count = client.query_one(sql, &[&config.application_name]).await.unwrap().get(0);
            drop(sink);
            Ok(count)
        };
        // a server without TLS
        assert_eq!(encrypted(with("prefer", None)).await.unwrap(), 0);
        assert!(encrypted(with("require", None)).await.is_err());
        assert_eq!(encrypted(unsaid("127.0.0.1", None)).await.unwrap(), 0);
        let error = encrypted(unsaid("127.0.0.1", Some("ca.pem"))).await.unwrap_err();
        assert!(with_causes(&error).contains("does not support TLS"), "{error}");
        // and one with it
        cluster
            .enable_tls(&files.path().join("server.pem"), &files.path().join("server.key"))
            .await;
        assert_eq!(encrypted(with("disable", None)).await.unwrap(), 0);
        assert_eq!(encrypted(with("prefer", None)).await.unwrap(), 1);
        assert_eq!(encrypted(with("require", None)).await.unwrap(), 1);
        assert_eq!(encrypted(with("require", Some("ca.pem"))).await.unwrap(), 1);
        assert_eq!(encrypted(with("verify-ca", Some("ca.pem"))).await.unwrap(), 1);
        assert_eq!(encrypted(with("verify-full", Some("ca.pem"))).await.unwrap(), 1);
        assert_eq!(encrypted(unsaid("127.0.0.1", None)).await.unwrap(), 1);
        assert_eq!(encrypted(unsaid("127.0.0.1", Some("ca.pem"))).await.unwrap(), 1);
        assert!(encrypted(unsaid("localhost", Some("ca.pem"))).await.is_err());
        assert!(encrypted(unsaid("127.0.0.1", Some("other.pem"))).await.is_err());
        let in_url = format!("{base}?sslrootcert={}", files.path().join("other.pem").display());
        assert!(encrypted(PostgresConfig::new(in_url, &name)).await.is_err());
        // by another name only the signer can be checked
        let mut named = with("verify-full", Some("ca.pem"));
        named.url = named.url.replace("127.0.0.1", "localhost");
        assert!(encrypted(named.clone()).await.is_err());
        named.url = named.url.replace("verify-full", "verify-ca");
        assert_eq!(encrypted(named).await.unwrap(), 1);
        for mode in ["require", "verify-ca", "verify-full"] {
            assert!(
                encrypted(with(mode, Some("other.pem"))).await.is_err(),
                "{mode} with another authority"
            );
        }
        let error = encrypted(with("verify-full", Some("absent.pem"))).await.unwrap_err();
        assert!(with_causes(&error).contains("absent.pem"), "{error}");
        let error = encrypted(with("verify-full", Some("server.key"))).await.unwrap_err();
        assert!(with_causes(&error).contains("no certificate"), "{error}");
    });
}

#[test]
fn a_server_that_demands_a_certificate_gets_ours() {
    let files = tempfile::tempdir().unwrap();
    if !certificates(files.path()) {
        crate::need::skip("openssl does not make certificates");
        return;
    }
    let Some(cluster) = own() else { return };
    run(async {
        let name = schema();
        let client = cluster.client().await;
        let role = "CREATE ROLE certified LOGIN; GRANT CREATE ON DATABASE postgres TO certified";
        client.batch_execute(role).await.unwrap();
        cluster
            .enable_tls(&files.path().join("server.pem"), &files.path().join("server.key"))
            .await;
        cluster
            .demand_certificates(&files.path().join("ca.pem"), "certified")
            .await;
        let url = format!("postgres://certified@127.0.0.1:{}/postgres", cluster.port);
        let file = |name: &str| files.path().join(name);
        let with = |certificate: Option<&str>, key: Option<&str>| {
            let mut config = PostgresConfig::new(&url, &name);
            config.ssl_root_cert = Some(file("ca.pem"));
            (config.ssl_cert, config.ssl_key) = (certificate.map(file), key.map(file));
            config
        };
        let error = with_causes(&Sink::connect(with(None, None)).await.err().unwrap());
        assert!(error.contains("certificate"), "{error}");
        Sink::connect(with(Some("certified.pem"), Some("certified.key")))
            .await
            .unwrap();
        // the same out of the connection string, in both forms, as a reader, and beside our own tables
        let settings = [
            ("sslrootcert", "ca.pem"),
            ("sslcert", "certified.pem"),
            ("sslkey", "certified.key"),
        ];
        let settings = settings.map(|(setting, name)| format!("{setting}={}", file(name).display()));
        let words = format!("host=127.0.0.1 port={} user=certified dbname=postgres", cluster.port);
        for url in [
            format!("{url}?{}", settings.join("&")),
            format!("{words} {}", settings.join(" ")),
        ] {
            let config = PostgresConfig::new(url, &name);
            Sink::connect(config.clone()).await.unwrap();
            sinks::connect(&config).await.unwrap();
        }
        // and what cannot be used is named
        for (certificate, key, expected) in [
            ("certified.pem", "server.key", "server.key"),
            ("certified.pem", "encrypted.key", "encrypted.key: the key is encrypted"),
            ("certified.pem", "ca.pem", "ca.pem: no private key in it"),
            ("certified.pem", "absent.key", "absent.key"),
            ("certified.key", "certified.key", "certified.key: no certificate in it"),
        ] {
            let config = with(Some(certificate), Some(key));
            let error = with_causes(&config.check().unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        let error = Sink::connect(with(Some("server.pem"), Some("server.key")))
            .await
            .err()
            .unwrap();
        assert!(with_causes(&error).contains("authentication failed"), "{error}");
    });
}
