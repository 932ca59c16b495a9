//! Servers that let nobody in without a certificate: Kafka and PostgreSQL, for every command that talks to them.

use super::SOON;
use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{Database, Kafka, LakeFolder, Pinflow, Postgres, Producer, eventually};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use servers::free_port;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The passphrase of our Kafka key.
const PASSPHRASE: &str = "open/sesame";

fn openssl(folder: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split(' '))
        .output()?;
    ensure!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// `NAME.pem` and `NAME.key`, signed by `ca.pem`.
fn certificate(folder: &Path, name: &str, extension: &str) -> Result<()> {
    std::fs::write(folder.join("extension"), extension)?;
    openssl(
        folder,
        &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"),
    )?;
    let sign = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extension";
    openssl(folder, &format!("x509 -req -in {name}.csr {sign} -out {name}.pem"))
}

/// An authority, a server on 127.0.0.1 and the client `certified`, whose key for Kafka has a passphrase.
fn certificates(folder: &Path) -> Result<()> {
    let authority = "req -x509 -newkey rsa:2048 -nodes -days 2 -addext basicConstraints=critical,CA:TRUE";
    openssl(
        folder,
        &format!("{authority} -subj /CN=authority -keyout ca.key -out ca.pem"),
    )?;
    certificate(folder, "server", "subjectAltName=IP:127.0.0.1\n")?;
    certificate(folder, "certified", "extendedKeyUsage=clientAuth\n")?;
    openssl(
        folder,
        &format!("pkcs8 -topk8 -in certified.key -passout pass:{PASSPHRASE} -out locked.key"),
    )?;
    std::fs::write(folder.join("passphrase"), format!("{PASSPHRASE}\n"))?;
    let both =
        std::fs::read_to_string(folder.join("server.key"))? + &std::fs::read_to_string(folder.join("server.pem"))?;
    std::fs::write(folder.join("server.both"), both)?;
    Ok(())
}

/// Kafka with a second listener, on this port, that demands a certificate.
fn kafka(folder: &Path, port: u16) -> Result<Kafka> {
    let advertised = format!("PLAINTEXT://127.0.0.1:{{port}},SSL://127.0.0.1:{port}");
    let listeners = format!("{advertised},CONTROLLER://127.0.0.1:{{controller}}");
    let keys = folder.join("server.both").display().to_string();
    let trusted = folder.join("ca.pem").display().to_string();
    Kafka::start_with(
        512,
        &[
            ("listeners", &listeners),
            ("advertised.listeners", &advertised),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT",
            ),
            ("ssl.client.auth", "required"),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &keys),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &trusted),
        ],
    )
}

/// Lets the role `certified` into the database with its certificate alone.
fn demand_of_postgres(postgres: &Postgres, folder: &Path) -> Result<()> {
    let data = postgres.dir().join("data");
    let owner = std::fs::metadata(&data)?;
    for (from, to) in [
        ("server.pem", "server.crt"),
        ("server.key", "server.key"),
        ("ca.pem", "authority.crt"),
    ] {
        let to = data.join(to);
        std::fs::copy(folder.join(from), &to)?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600))?;
        chown(&to, Some(owner.uid()), Some(owner.gid()))?;
    }
    let rules = data.join("pg_hba.conf");
    let before = std::fs::read_to_string(&rules)?;
    std::fs::write(
        &rules,
        format!("hostssl all certified all cert\nhost all certified all reject\n{before}"),
    )?;
    let database = Database::connect(&postgres.url())?;
    database.run("CREATE ROLE certified LOGIN; GRANT CREATE ON DATABASE postgres TO certified")?;
    database.run("ALTER SYSTEM SET ssl_ca_file = 'authority.crt'")?;
    database.run("ALTER SYSTEM SET ssl = on")?;
    database.run("SELECT pg_reload_conf()")?;
    eventually("TLS", SOON, || {
        let database = Database::connect(&postgres.url())?;
        Ok(database.value("SHOW ssl")?.as_deref() == Some("on"))
    })
}

#[test]
fn every_command_shows_its_certificates() -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificates(folder.path())?;
    let port = free_port()?;
    let kafka = kafka(folder.path(), port)?;
    let postgres = pinflow_tests::postgres()?;
    demand_of_postgres(&postgres, folder.path())?;

    // the listener is what it claims to be
    let authority = folder.path().join("ca.pem").display().to_string();
    let stranger: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", format!("127.0.0.1:{port}"))
        .set("security.protocol", "SSL")
        .set("ssl.ca.location", &authority)
        .create()?;
    ensure!(
        stranger.fetch_metadata(None, Duration::from_secs(5)).is_err(),
        "Kafka lets anybody in"
    );
    drop(stranger);

    let at = folder.path().display();
    let text = format!(
        "[lake]\nurl = \"file://{at}/lake/topics\"\n[kafka]\nbootstrap = \"127.0.0.1:{port}\"\n\
         [kafka.properties]\nsecurity.protocol = \"SSL\"\nssl.ca.location = \"{at}/ca.pem\"\n\
         ssl.certificate.location = \"{at}/certified.pem\"\nssl.key.location = \"{at}/locked.key\"\n\
         ssl.key.password = {{ file = \"{at}/passphrase\" }}\n\
         [postgres]\nurl = \"postgres://certified@127.0.0.1:{}/postgres\"\nsslrootcert = \"{at}/ca.pem\"\n\
         sslcert = \"{at}/certified.pem\"\nsslkey = \"{at}/certified.key\"\n",
        postgres.port()
    );
    let config = folder.path().join("pinflow.toml");
    std::fs::write(&config, text)?;
    let command = |name: &str| Pinflow::new(name).args(["--config"]).args([&config]);
    std::fs::create_dir_all(folder.path().join("lake/topics"))?;

    for topic in TOPICS {
        kafka.create_topic(topic, 1, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(3, 1);
    workload.produce(&producer, 1_000)?;
    let archived = command("archive").args(["--once", "--topics-dir="]).succeed(SOON)?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    ensure!(
        !pinflow_tests::files(lake.root())?.is_empty(),
        "nothing is archived: {archived}"
    );
    let mut run = command("run").start()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    workload.produce(&producer, 200)?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;

    let mut gateway = command("gateway").args(["--listen", "127.0.0.1:0"]).start()?;
    let line = gateway.wait_for("listening on http", SOON)?;
    let address = line.rsplit_once("://").context("an address")?.1.trim().to_owned();
    eventually("the gateway's readiness", SOON, || {
        Ok(pinflow_tests::get(&address, "/readyz")?.starts_with("HTTP/1.1 200"))
    })?;
    gateway.terminate()?;
    gateway.expect(0, SOON)?;

    run.terminate()?;
    run.expect(0, SOON)?;
    command("archive").args(["--once", "--topics-dir="]).succeed(SOON)?;
    command("verify").args(["--replay"]).succeed(SOON)?;
    command("audit").succeed(SOON)?;
    let owner = "SELECT tableowner FROM pg_tables WHERE schemaname = 'pinflow' AND tablename = 'progress'";
    ensure!(Database::connect(&postgres.url())?.value(owner)?.as_deref() == Some("certified"));

    // without the certificates nobody gets in
    let text = std::fs::read_to_string(&config)?;
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("ssl"))
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(&config, without)?;
    let mut refused = command("verify").start()?;
    refused.expect(1, SOON)?;
    ensure!(
        refused.stderr().contains("cannot connect to postgres"),
        "{}",
        refused.stderr()
    );
    Ok(())
}
