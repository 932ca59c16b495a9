//! TLS, as far as libpq's words go: a server with a certificate of our own authority.

use crate::cluster::{own, run, schema};
use sinks::{PostgresConfig, Sink, SinkError};
use std::path::Path;
use std::process::Command;

fn openssl(directory: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(arguments.split(' '));
    command.output().is_ok_and(|output| output.status.success())
}

/// `ca.pem`, `other.pem` and a server's `server.pem` for 127.0.0.1, `named.pem` for another host.
fn certificates(directory: &Path) -> bool {
    let authority = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -addext \
                     basicConstraints=critical,CA:TRUE -subj /CN=authority";
    std::fs::write(directory.join("ip.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
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
        assert!(error.to_string().contains("absent.pem"), "{error}");
        let error = encrypted(with("verify-full", Some("server.key"))).await.unwrap_err();
        assert!(error.to_string().contains("no certificate"), "{error}");
    });
}
