//! A private PostgreSQL on 127.0.0.1: shared by the tests that run at the same time, stopped with the last of them.

use crate::need;
use sinks::PostgresConfig;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

pub struct Cluster {
    directory: tempfile::TempDir,
    binaries: PathBuf,
    user: Option<(u32, u32)>,
    pub port: u16,
    server: Mutex<Option<Child>>,
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
    let Some(binaries) = binaries() else {
        need::skip("there is no initdb and postgres on PATH or in /usr/lib/postgresql: install postgresql");
        return None;
    };
    Some(Cluster::start(binaries))
}

/// A name that no other test uses.
pub fn schema() -> String {
    format!("t{}", SCHEMAS.fetch_add(1, Ordering::Relaxed))
}

fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        places.extend(versions.into_iter().rev());
    }
    places
        .into_iter()
        .find(|place| place.join("initdb").exists() && place.join("postgres").exists())
}

/// initdb refuses root: (user, group) of an unprivileged account.
fn unprivileged() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let account = |name: &str| {
        let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(
        account("postgres")
            .or_else(|| account("nobody"))
            .expect("user postgres or nobody"),
    )
}

impl Cluster {
    fn start(binaries: PathBuf) -> Cluster {
        let directory = tempfile::Builder::new()
            .prefix("pinflow-pg-")
            .tempdir()
            .expect("a directory");
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).expect("chown");
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let cluster = Cluster {
            directory,
            binaries,
            user,
            port,
            server: Mutex::new(None),
        };
        let mut initdb = cluster.command("initdb");
        initdb.args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "-D",
        ]);
        let output = initdb.arg(cluster.data()).output().expect("initdb");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        cluster.launch();
        cluster
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, binary: &str) -> Command {
        let mut command = Command::new(self.binaries.join(binary));
        command
            .current_dir(Path::new("/"))
            .env_remove("PGDATA")
            .stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    pub fn launch(&self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .expect("a log file");
        let mut postgres = self.command("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-k", "", "-h", "127.0.0.1"]);
        for setting in [
            "fsync=off",
            "shared_buffers=128MB",
            "max_connections=60",
            "max_wal_size=2GB",
            "max_locks_per_transaction=128",
        ] {
            postgres.args(["-c", setting]);
        }
        let child = postgres.stdout(Stdio::null()).stderr(log).spawn().expect("postgres");
        *self.server.lock().unwrap() = Some(child);
        let started = Instant::now();
        // the port opens before the server answers; sinks deal with that
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "postgres does not come up: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            // a runtime of its own, on a thread of its own: the caller may be inside one
            let ready = || loop {
                match runtime.block_on(tokio_postgres::connect(&self.url(), NoTls)) {
                    Ok(_) => return,
                    Err(error) => {
                        assert!(started.elapsed() < Duration::from_secs(60), "{error}: {}", self.log());
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            };
            scope.spawn(ready);
        });
    }

    /// Starts as a standby without a primary: it can be read, and written once it is promoted.
    pub fn launch_as_standby(&self) {
        let signal = self.data().join("standby.signal");
        std::fs::write(&signal, "").expect("standby.signal");
        if let Some((uid, gid)) = self.user {
            std::os::unix::fs::chown(&signal, Some(uid), Some(gid)).expect("chown");
        }
        self.launch();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// `INT` for a fast shutdown, `QUIT` for a crash.
    pub fn stop(&self, signal: &str) {
        if let Some(mut server) = self.server.lock().unwrap().take() {
            let _ = Command::new("kill")
                .args([&format!("-{signal}"), &server.id().to_string()])
                .status();
            let _ = server.wait();
        }
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
        let to = self.data().join(to);
        std::fs::copy(from, &to).expect("copy");
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        if let Some((uid, gid)) = self.user {
            std::os::unix::fs::chown(&to, Some(uid), Some(gid)).expect("chown");
        }
    }

    /// Lets a role in with a certificate of this authority alone, which bears the role's name.
    pub async fn demand_certificates(&self, authority: &Path, role: &str) {
        self.take(authority, "authority.crt");
        let rules = self.data().join("pg_hba.conf");
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

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop("INT");
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
