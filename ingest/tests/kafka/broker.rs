//! One Apache Kafka for all tests of this program. It ends with the test process, in whatever way that ends
//! (see [`servers::process`]).

use crate::need;
use servers::{Kafka, KafkaOptions, ServerError, free_port, kafka};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A running broker.
pub struct Broker {
    /// Address of the listener without authentication.
    pub bootstrap: String,
    /// Address of the listener that demands SASL PLAIN, user `reader`, password `secret`.
    pub sasl: String,
    process: Mutex<Kafka>,
}

/// Tests that need the broker up share it; the one that kills it has it alone.
static GATE: RwLock<()> = RwLock::new(());
static BROKER: OnceLock<Option<Broker>> = OnceLock::new();

/// The broker, up as long as the guard lives; `None` where there is no Kafka.
pub fn shared() -> Option<(&'static Broker, RwLockReadGuard<'static, ()>)> {
    let guard = GATE.read().unwrap_or_else(PoisonError::into_inner);
    broker().map(|broker| (broker, guard))
}

/// The broker for one test alone, which may kill it.
pub fn alone() -> Option<(&'static Broker, RwLockWriteGuard<'static, ()>)> {
    let guard = GATE.write().unwrap_or_else(PoisonError::into_inner);
    broker().map(|broker| (broker, guard))
}

fn broker() -> Option<&'static Broker> {
    let libs = need::kafka_libs();
    let start = || kafka::is_installed(&libs).then(|| Broker::start(&libs).expect("Apache Kafka starts"));
    let broker = BROKER.get_or_init(start).as_ref();
    if broker.is_none() {
        // each test by itself, so that each is counted
        need::skip(&format!(
            "there is no Apache Kafka in {} (set PINFLOW_KAFKA_LIBS)",
            libs.display()
        ));
    }
    broker
}

impl Broker {
    fn start(libs: &std::path::Path) -> Result<Broker, ServerError> {
        let sasl = format!("127.0.0.1:{}", free_port().expect("a free port"));
        let advertised = format!("PLAINTEXT://127.0.0.1:{{port}},SASL://{sasl}");
        let listeners = format!("{advertised},CONTROLLER://127.0.0.1:{{controller}}");
        let login = "org.apache.kafka.common.security.plain.PlainLoginModule required user_reader=\"secret\";";
        let settings = [
            ("listeners", listeners.as_str()),
            ("advertised.listeners", &advertised),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            ),
            ("sasl.enabled.mechanisms", "PLAIN"),
            ("listener.name.sasl.plain.sasl.jaas.config", login),
            ("connection.failed.authentication.delay.ms", "10"),
        ];
        let process = Kafka::start(KafkaOptions {
            settings: settings.map(|(name, value)| (name.into(), value.into())).to_vec(),
            ..KafkaOptions::new(libs)
        })?;
        Ok(Broker {
            bootstrap: process.bootstrap(),
            sasl,
            process: Mutex::new(process),
        })
    }

    /// SIGKILL.
    pub fn kill(&self) -> Result<(), ServerError> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).kill()
    }

    /// Starts the killed broker on its ports and waits until it answers.
    pub fn start_again(&self) -> Result<(), ServerError> {
        self.process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .start_again()
    }
}
