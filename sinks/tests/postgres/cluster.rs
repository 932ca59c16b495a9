//! A private PostgreSQL on 127.0.0.1: shared by the tests that run at the same time, stopped with the last of them.

use crate::need;
use servers::{Login, Postgres, PostgresOptions, ServerError};
use sinks::PostgresConfig;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// What differs from a server's defaults: nothing that a session can see.
const SETTINGS: [(&str, &str); 5] = [
    ("fsync", "off"),
    ("shared_buffers", "128MB"),
    ("max_connections", "60"),
    ("max_wal_size", "2GB"),
    ("max_locks_per_transaction", "128"),
];

pub struct Cluster {
    server: Mutex<Postgres>,
    pub port: u16,
}

/// The shared cluster, or nothing where there is no PostgreSQL.
pub fn shared() -> Option<Arc<Cluster>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return Some(cluster);
    }
    let cluster = Arc::new(own()?);
    *shared = Arc::downgrade(&cluster);
    Some(cluster)
}

/// A cluster for one test alone.
pub fn own() -> Option<Cluster> {
    let options = PostgresOptions {
        settings: SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        login: Login::Trust("postgres"),
        ..PostgresOptions::default()
    };
    match Postgres::start(options) {
        Ok(server) => Some(Cluster {
            port: server.port(),
            server: Mutex::new(server),
        }),
        Err(missing @ ServerError::Missing { .. }) => {
            need::skip(&missing.to_string());
            None
        }
        Err(error) => panic!("{}", causes::with_causes(&error)),
    }
}

/// A name that no other test uses.
pub fn schema() -> String {
    format!("t{}", SCHEMAS.fetch_add(1, Ordering::Relaxed))
}

impl Cluster {
    fn server(&self) -> MutexGuard<'_, Postgres> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn launch(&self) {
        self.server().start_again().expect("PostgreSQL starts again");
    }

    /// Starts as a standby without a primary: it can be read, and written once it is promoted.
    pub fn launch_as_standby(&self) {
        self.server()
            .start_as_standby()
            .expect("PostgreSQL starts as a standby");
    }

    fn log(&self) -> String {
        self.server().log_tail()
    }

    /// A fast shutdown.
    pub fn stop(&self) {
        self.server().stop().expect("PostgreSQL stops");
    }

    /// A shutdown that leaves what a crash does.
    pub fn abort(&self) {
        self.server().abort().expect("PostgreSQL stops");
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    pub fn config(&self, schema: &str) -> PostgresConfig {
        let mut config = PostgresConfig::new(self.url(), schema);
        // so that a test can find its own sessions
        config.application_name = format!("pinflow {schema}");
        config
    }

    /// Gives the server a certificate.
    pub async fn enable_tls(&self, certificate: &Path, key: &Path) {
        for (from, to) in [(certificate, "server.crt"), (key, "server.key")] {
            self.take(from, to);
        }
        let client = self.client().await;
        client
            .batch_execute("ALTER SYSTEM SET ssl = on")
            .await
            .expect("ssl = on");
        client.batch_execute("SELECT pg_reload_conf()").await.expect("reload");
        let started = Instant::now();
        // new sessions see it once the postmaster has
        while self
            .client()
            .await
            .query_one("SHOW ssl", &[])
            .await
            .expect("show")
            .get::<_, &str>(0)
            != "on"
        {
            assert!(started.elapsed() < Duration::from_secs(30), "no TLS: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Copies a file into the server's own folder.
    fn take(&self, from: &Path, to: &str) {
        let bytes = std::fs::read(from).expect("a file");
        self.server().write_data(to, &bytes).expect("a copy");
    }

    /// Lets a role in with a certificate of this authority alone, which bears the role's name.
    pub async fn demand_certificates(&self, authority: &Path, role: &str) {
        self.take(authority, "authority.crt");
        let rules = self.server().dir().join("data/pg_hba.conf");
        let before = std::fs::read_to_string(&rules).expect("pg_hba.conf");
        let first = format!("hostssl all {role} all cert\nhost all {role} all reject\n");
        std::fs::write(&rules, first + &before).expect("pg_hba.conf");
        let client = self.client().await;
        for sql in [
            "ALTER SYSTEM SET ssl_ca_file = 'authority.crt'",
            "SELECT pg_reload_conf()",
        ] {
            client.batch_execute(sql).await.expect(sql);
        }
        let started = Instant::now();
        let seen = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'cert'";
        let name = "SELECT current_setting('ssl_ca_file')";
        // the file is what a session would read now; the setting is what the postmaster has taken
        loop {
            let client = self.client().await;
            let rules: i64 = client.query_one(seen, &[]).await.expect(seen).get(0);
            let file: String = client.query_one(name, &[]).await.expect(name).get(0);
            if rules > 0 && file == "authority.crt" {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "no rule: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A plain connection.
    pub async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    }

    /// Ends the sessions of a schema's sinks; how many.
    pub async fn terminate(&self, client: &tokio_postgres::Client, schema: &str) -> u64 {
        let name = format!("pinflow {schema}");
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        client.execute(sql, &[&name]).await.expect("terminate")
    }
}

/// Runs a test's future.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
