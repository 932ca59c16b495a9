//! A private PostgreSQL cluster made of the machine's own binaries.
//!
//! `initdb` and `postgres` come from PATH or from where distributions keep them. The server listens on a free port
//! of 127.0.0.1 with a password, has no socket, and keeps the durable settings (fsync, synchronous commits): what it
//! shows about crashes and latency is what a real server shows. PostgreSQL refuses to run as root, so under root it
//! runs as an unprivileged user that owns the directory.
//!
//! It takes no care of upgrades: a kept directory is for the same major version.

use crate::error::ServerError;
use crate::free_port;
use crate::process::{Server, tail};
use rustix::process::Signal;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The superuser of a cluster with a password.
const USER: &str = "pinflow";
const DATABASE: &str = "postgres";
const START_LIMIT: Duration = Duration::from_secs(60);
/// The first version whose clusters can have an ICU locale as default.
const FIRST_WITH_ICU: u32 = 15;
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Directories that distributions put the server's programs in; `*` stands for the version.
const PLACES: [(&str, &str); 3] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr/pgsql", "bin"),
    ("/opt/postgresql", "bin"),
];

/// How a cluster is made.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Where the cluster is kept; it stays there after the server has stopped, and a cluster that already is there
    /// is started again. `None`: a temporary directory that is removed.
    pub dir: Option<PathBuf>,
    /// Settings added to the server's command line, as `("statement_timeout", "5s")`.
    pub settings: Vec<(String, String)>,
    /// Who may log in.
    pub login: Login,
    /// The cluster's default collation as an ICU locale, as `en-US`. `None`, and before PostgreSQL 15: the C locale.
    pub icu_locale: Option<String>,
}

/// Who may log in to a new cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// The superuser `pinflow` with a random password; whoever else a password is set for.
    #[default]
    Password,
    /// Every role without a password; this is the superuser.
    Trust(&'static str),
}

impl Login {
    fn superuser(self) -> &'static str {
        match self {
            Login::Password => USER,
            Login::Trust(user) => user,
        }
    }
}

/// A running cluster with one superuser and the database `postgres`.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Server>,
    programs: PathBuf,
    owner: Option<Owner>,
    dir: PathBuf,
    /// Held to remove the directory after the server, which is stopped first.
    temporary: Option<TempDir>,
    settings: Vec<(String, String)>,
    login: Login,
    port: u16,
    password: String,
}

/// The unprivileged user a root process runs the server as.
#[derive(Clone, Debug)]
struct Owner {
    name: String,
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Makes a cluster, or takes the one in `options.dir`, and starts it.
    pub fn start(options: PostgresOptions) -> Result<Postgres, ServerError> {
        let programs = find_programs()?;
        let owner = if rustix::process::geteuid().is_root() {
            Some(Owner::find()?)
        } else {
            None
        };
        let (dir, temporary) = match &options.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let made = tempfile::Builder::new().prefix("pinflow-postgres-").tempdir();
                let made = made.map_err(ServerError::io("making a temporary directory for PostgreSQL"))?;
                (made.path().to_owned(), Some(made))
            }
        };
        fs::create_dir_all(&dir).map_err(ServerError::io(format!("creating {}", dir.display())))?;
        let dir = dir
            .canonicalize()
            .map_err(ServerError::io(format!("opening {}", dir.display())))?;
        if let Some(owner) = &owner {
            owner.take(&dir)?;
        }
        let mut postgres = Postgres {
            server: None,
            programs,
            owner,
            dir,
            temporary,
            settings: options.settings,
            login: options.login,
            port: 0,
            password: String::new(),
        };
        postgres.make_cluster(options.icu_locale.as_deref())?;
        postgres.start_again()?;
        Ok(postgres)
    }

    /// The URL of the database, password included where one is asked for.
    pub fn url(&self) -> String {
        match self.login {
            Login::Password => format!("postgres://{USER}:{}@127.0.0.1:{}/{DATABASE}", self.password, self.port),
            Login::Trust(_) => self.url_without_password(),
        }
    }

    /// The URL of the database without the password.
    pub fn url_without_password(&self) -> String {
        let user = self.login.superuser();
        format!("postgres://{user}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// The file that holds the password; its owner alone can read it.
    pub fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The port on 127.0.0.1; it stays the same over [`Postgres::kill`] and [`Postgres::restart`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory that holds `data/`, `postgres.log` and `password`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The postmaster's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Fast shutdown (SIGINT): open transactions are rolled back, then a checkpoint.
    pub fn stop(&mut self) -> Result<(), ServerError> {
        if let Some(mut server) = self.server.take() {
            server
                .stop(Signal::INT, STOP_LIMIT)
                .map_err(ServerError::io("stopping PostgreSQL"))?;
        }
        Ok(())
    }

    /// Immediate shutdown (SIGQUIT): all sessions end at once and without a checkpoint; the next start recovers.
    pub fn abort(&mut self) -> Result<(), ServerError> {
        if let Some(mut server) = self.server.take() {
            server
                .stop(Signal::QUIT, STOP_LIMIT)
                .map_err(ServerError::io("aborting PostgreSQL"))?;
        }
        Ok(())
    }

    /// Starts the stopped server as a standby without a primary: it can be read, and written once it is promoted.
    pub fn start_as_standby(&mut self) -> Result<(), ServerError> {
        self.write_data("standby.signal", b"")?;
        self.start_again()
    }

    /// Writes a file of the data directory, such as a certificate, for the server alone to read.
    pub fn write_data(&self, name: &str, bytes: &[u8]) -> Result<(), ServerError> {
        self.write_private(&self.dir.join("data").join(name), bytes)
    }

    /// SIGKILL to the postmaster: its backends end without a checkpoint, as after a crash.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(mut server) = self.server.take() {
            server.kill().map_err(ServerError::io("killing PostgreSQL"))?;
        }
        Ok(())
    }

    /// Fast shutdown, then a start on the same port and directory.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.stop()?;
        self.start_again()
    }

    /// Starts the stopped or killed server on its port and directory and waits until it accepts sessions, crash
    /// recovery included.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        let first = self.port == 0;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if first {
                self.port = free_port().map_err(ServerError::io("looking for a free port"))?;
            }
            match self.try_start(deadline)? {
                Started::Ready => return Ok(()),
                Started::Ended if Instant::now() < deadline => {
                    // the port was taken since, or backends of a killed postmaster still hold its shared memory
                    std::thread::sleep(Duration::from_millis(100));
                }
                Started::Ended => return Err(self.not_ready("it ended")),
            }
        }
    }

    /// The last lines that the server logged.
    pub fn log_tail(&self) -> String {
        tail(&self.dir.join("postgres.log"), 10)
    }

    fn make_cluster(&mut self, icu_locale: Option<&str>) -> Result<(), ServerError> {
        let password_file = self.password_file();
        if self.dir.join("data/PG_VERSION").exists() {
            let read = fs::read_to_string(&password_file);
            self.password = read.map_err(ServerError::io(format!("reading {}", password_file.display())))?;
            return Ok(());
        }
        self.password = random_hex().map_err(ServerError::io("reading random bytes"))?;
        self.write_private(&password_file, self.password.as_bytes())?;
        let mut initdb = self.command("initdb");
        initdb
            .arg("--pgdata")
            .arg(self.dir.join("data"))
            .arg("--pwfile")
            .arg(&password_file);
        initdb.args([
            "--username",
            self.login.superuser(),
            "--encoding=UTF8",
            match self.login {
                Login::Password => "--auth=scram-sha-256",
                Login::Trust(_) => "--auth=trust",
            },
            "--no-instructions",
        ]);
        // a cluster that is not finished when the machine stops is of no use, synced or not
        initdb.arg("--no-sync");
        match icu_locale.filter(|_| self.version().is_none_or(|version| version >= FIRST_WITH_ICU)) {
            None => initdb.arg("--locale=C"),
            Some(locale) => initdb
                .args(["--locale-provider=icu", "--locale=C.UTF-8"])
                .arg(format!("--icu-locale={locale}")),
        };
        let output = initdb
            .stdin(Stdio::null())
            .output()
            .map_err(ServerError::io("running initdb"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(ServerError::NotReady {
                server: "PostgreSQL",
                reason: format!("initdb said: {said}"),
            });
        }
        Ok(())
    }

    fn try_start(&mut self, deadline: Instant) -> Result<Started, ServerError> {
        let log_path = self.dir.join("postgres.log");
        let log = File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(ServerError::io(format!("opening {}", log_path.display())))?;
        let errors = log
            .try_clone()
            .map_err(ServerError::io(format!("opening {}", log_path.display())))?;
        let mut postgres = self.command("postgres");
        postgres
            .arg("-D")
            .arg(self.dir.join("data"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        postgres.args([
            "-c",
            "unix_socket_directories=",
            "-c",
            "logging_collector=off",
            "-c",
            "timezone=UTC",
        ]);
        for (name, value) in &self.settings {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        postgres.stdin(Stdio::null()).stdout(log).stderr(errors);
        let remove = self.temporary.as_ref().map(|temporary| temporary.path());
        let spawned = Server::spawn(&mut postgres, "INT", remove);
        let mut server = spawned.map_err(ServerError::io("starting the postgres program"))?;
        loop {
            if server
                .exited()
                .map_err(ServerError::io("watching PostgreSQL"))?
                .is_some()
            {
                return Ok(Started::Ended);
            }
            if accepts_sessions(self.port, self.login.superuser()) {
                self.server = Some(server);
                return Ok(Started::Ready);
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(&format!("it was not ready after {} s", START_LIMIT.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The server's major version, if its programs say so.
    fn version(&self) -> Option<u32> {
        let output = self.command("initdb").arg("--version").output().ok()?;
        let said = String::from_utf8(output.stdout).ok()?;
        let digits = |word: &str| word.split(|c: char| !c.is_ascii_digit()).next().map(str::to_owned);
        said.split_whitespace().find_map(|word| digits(word)?.parse().ok())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.dir);
        for (name, _) in std::env::vars_os() {
            // PGDATA, PGPORT and their like belong to another cluster
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Some(owner) = &self.owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        command
    }

    fn write_private(&self, path: &Path, bytes: &[u8]) -> Result<(), ServerError> {
        let write = || {
            let mut file = File::create(path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(bytes)?;
            match &self.owner {
                Some(owner) => chown(path, Some(owner.uid), Some(owner.gid)),
                None => Ok(()),
            }
        };
        write().map_err(ServerError::io(format!("writing {}", path.display())))
    }

    fn not_ready(&self, what: &str) -> ServerError {
        ServerError::NotReady {
            server: "PostgreSQL",
            reason: format!("{what}; its log ends: {}", self.log_tail()),
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // a cluster that is kept is worth its checkpoint, one that is thrown away is not
        let _ = if self.temporary.is_some() {
            self.kill()
        } else {
            self.stop()
        };
    }
}

enum Started {
    Ready,
    Ended,
}

impl Owner {
    fn find() -> Result<Owner, ServerError> {
        let users = fs::read_to_string("/etc/passwd").map_err(ServerError::io("reading /etc/passwd"))?;
        let owner = ["postgres", "nobody"].iter().find_map(|name| {
            let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let user = fields
                .into_iter()
                .find(|fields| fields.first() == Some(name) && fields.len() > 3)?;
            Some(Owner {
                name: (*name).into(),
                uid: user[2].parse().ok()?,
                gid: user[3].parse().ok()?,
            })
        });
        owner.ok_or(ServerError::Missing {
            program: "an unprivileged user (postgres or nobody)",
            hint: "PostgreSQL refuses to run as root: `useradd --system postgres`, or run as another user",
        })
    }

    /// Gives the directory to the user and checks that the way to it is open.
    fn take(&self, dir: &Path) -> Result<(), ServerError> {
        for parent in dir.ancestors().skip(1) {
            let metadata = fs::metadata(parent);
            let mode = metadata
                .map_err(ServerError::io(format!("reading {}", parent.display())))?
                .permissions()
                .mode();
            if mode & 0o001 == 0 {
                let reason = format!(
                    "PostgreSQL runs as user {} here and may not enter {}; use a directory under /tmp, or do not run as root",
                    self.name,
                    parent.display()
                );
                return Err(ServerError::Directory {
                    path: dir.into(),
                    what: "a PostgreSQL cluster",
                    reason,
                });
            }
        }
        let give = fs::set_permissions(dir, Permissions::from_mode(0o700));
        give.and_then(|()| chown(dir, Some(self.uid), Some(self.gid)))
            .map_err(ServerError::io(format!(
                "giving {} to user {}",
                dir.display(),
                self.name
            )))
    }
}

fn find_programs() -> Result<PathBuf, ServerError> {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut places = on_path.unwrap_or_default();
    for (root, bin) in PLACES {
        let versions = fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let mut versions: Vec<_> = versions.collect();
        // the greatest version first: 16 before 15 before 9.6
        versions.sort_by_key(|path| {
            let version = path.file_name().and_then(|name| name.to_str()?.parse::<f32>().ok());
            std::cmp::Reverse((version.unwrap_or(0.0) * 10.0) as i64)
        });
        places.extend(versions.into_iter().map(|version| version.join(bin)));
    }
    let found = places
        .into_iter()
        .find(|place| place.join("initdb").is_file() && place.join("postgres").is_file());
    found.ok_or(ServerError::Missing {
        program: "PostgreSQL (initdb, postgres)",
        hint: "Debian and Ubuntu: apt-get install postgresql; or put its bin folder on PATH",
    })
}

/// Asks for a session as a stranger: a server that is ready asks back for a password, one that is starting or
/// recovering refuses (protocol 3.0, StartupMessage).
fn accepts_sessions(port: u16, user: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let parameters = format!("user\0{user}\0database\0{DATABASE}\0\0");
        let length = u32::try_from(8 + parameters.len()).map_err(std::io::Error::other)?;
        let mut message = length.to_be_bytes().to_vec();
        message.extend(196_608_u32.to_be_bytes());
        message.extend(parameters.as_bytes());
        stream.write_all(&message)?;
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        Ok(kind == *b"R")
    };
    ask().unwrap_or(false)
}

fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
