//! MariaDB, from Debian's `mariadb-server`: the users' own kind of source. One server, one database, one user.

use crate::tables::Tables;
use anyhow::{Context, Result, bail, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use servers::{free_port, process::Server};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);
/// The database and its user.
const NAME: &str = "pinterest";
/// Whoever reads it is on this machine, and nothing of worth is in it.
const PASSWORD: &str = "a/b'@c:d";

/// A server; killed and its directory removed when dropped.
pub struct MariaDb {
    server: Server,
    dir: TempDir,
    port: u16,
}

impl MariaDb {
    /// Makes a data directory and starts a server on it.
    pub fn start() -> Result<MariaDb> {
        let mut dir = tempfile::Builder::new().prefix("pinflow-mariadb-").tempdir()?;
        let data = dir.path().join("data");
        let as_root = rustix::process::geteuid().is_root();
        if as_root {
            // MariaDB refuses to run as root: it changes to its own user, who has to get in
            let given = Command::new("chown").arg("mysql").arg(dir.path()).status()?;
            ensure!(given.success(), "there is no user mysql: run tests/setup/install.sh");
        }
        let user = as_root.then_some("--user=mysql");
        let mut install = Command::new("mariadb-install-db");
        install
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ])
            .arg(format!("--datadir={}", data.display()))
            .args(user)
            .stdin(Stdio::null());
        let made = install
            .output()
            .context("running mariadb-install-db (package mariadb-server)")?;
        ensure!(
            made.status.success(),
            "mariadb-install-db: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let password = PASSWORD.replace('\'', "''");
        let sql = format!(
            "CREATE DATABASE {NAME} CHARACTER SET utf8mb4;\n\
             CREATE USER '{NAME}'@'%' IDENTIFIED BY '{password}';\n\
             GRANT ALL ON {NAME}.* TO '{NAME}'@'%';\n"
        );
        let init = dir.path().join("init.sql");
        fs::write(&init, sql)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let port = free_port()?;
            let log = File::options()
                .create(true)
                .append(true)
                .open(dir.path().join("mariadb.log"))?;
            let mut mariadbd = Command::new(program("mariadbd")?);
            mariadbd
                .arg("--no-defaults")
                .arg(format!("--datadir={}", data.display()))
                .arg(format!("--socket={}", dir.path().join("s").display()))
                .arg(format!("--pid-file={}", dir.path().join("pid").display()))
                .arg(format!("--init-file={}", init.display()))
                .arg(format!("--port={port}"))
                .args([
                    "--bind-address=127.0.0.1",
                    "--skip-name-resolve",
                    "--character-set-server=utf8mb4",
                ])
                .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"])
                .args(user)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log);
            let server = Server::spawn(&mut mariadbd, "KILL", Some(dir.path())).context("starting mariadbd")?;
            let mut started = MariaDb { server, dir, port };
            if started.wait_until_ready()? {
                return Ok(started);
            }
            let said = fs::read_to_string(started.dir.path().join("mariadb.log")).unwrap_or_default();
            ensure!(attempts < 3, "MariaDB ended: {said}");
            dir = started.dir;
        }
    }

    /// `mysql://…` with the password in it.
    pub fn url(&self) -> String {
        let password = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC);
        format!("mysql://{NAME}:{password}@127.0.0.1:{}/{NAME}", self.port)
    }

    /// What the users' scripts name one by one: HOST, USER, PASSWORD, DATABASE, PORT.
    pub fn parts(&self) -> [(&'static str, String); 5] {
        [
            ("HOST", "127.0.0.1".into()),
            ("USER", NAME.into()),
            ("PASSWORD", PASSWORD.into()),
            ("DATABASE", NAME.into()),
            ("PORT", self.port.to_string()),
        ]
    }

    /// Makes the three tables and fills them.
    pub fn load(&self, tables: &Tables) -> Result<()> {
        self.run(&tables.sql(true))
    }

    /// Runs statements with the server's own client.
    pub fn run(&self, sql: &str) -> Result<()> {
        let mut client = Command::new("mariadb")
            .args([
                "--no-defaults",
                "--protocol=tcp",
                "--host=127.0.0.1",
                "--default-character-set=utf8mb4",
            ])
            .arg(format!("--port={}", self.port))
            .arg(format!("--user={NAME}"))
            .arg(NAME)
            .env("MYSQL_PWD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting the mariadb client")?;
        client.stdin.take().context("a pipe")?.write_all(sql.as_bytes())?;
        let output = client.wait_with_output()?;
        if !output.status.success() {
            bail!("the mariadb client: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// A server that is ready greets; false when it has ended instead.
    fn wait_until_ready(&mut self) -> Result<bool> {
        let deadline = Instant::now() + START_LIMIT;
        let greeted = |port: u16| -> std::io::Result<()> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.read_exact(&mut [0; 5])
        };
        while greeted(self.port).is_err() {
            if self.server.exited()?.is_some() {
                return Ok(false);
            }
            ensure!(Instant::now() < deadline, "MariaDB was not ready after {START_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(true)
    }
}

/// A server's program; Debian keeps it where PATH may not look.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/libexec".into()]);
    places
        .map(|place| place.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is missing: run tests/setup/install.sh (package mariadb-server)"))
}
