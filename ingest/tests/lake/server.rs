//! The S3 server of the tests, with a fault for every request that wants one, and a log of the requests.

use ingest::lake::S3Credentials;
use servers::S3Server;
pub use servers::s3::Fault;
use servers::s3::{ACCESS_KEY, SECRET_KEY};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A request as it was seen: `GET bucket/key`, its `Range` header, and how many such requests came before.
#[derive(Debug, Clone)]
pub struct Seen {
    pub request: String,
    pub range: Option<String>,
    /// Whether a PUT has `If-Match` or `If-None-Match`.
    pub conditional: bool,
    pub before: u64,
}

/// A running server.
pub struct Server {
    pub endpoint: String,
    server: S3Server,
    log: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Serves the folders of `root` as buckets.
    pub fn start(root: &Path) -> Server {
        let server = S3Server::start(root).unwrap();
        Server {
            endpoint: server.endpoint(),
            server,
            log: Arc::default(),
        }
    }

    pub fn credentials() -> S3Credentials {
        S3Credentials {
            access_key: ACCESS_KEY.to_string(),
            secret_key: SECRET_KEY.to_string(),
        }
    }

    /// Injects faults from now on, and forgets the requests so far.
    pub fn inject(&self, hook: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        let log = Arc::clone(&self.log);
        self.server.set_faults(move |seen| {
            let seen = Seen {
                request: format!("{} {}/{}", seen.method, seen.bucket, seen.key),
                range: seen.range.map(str::to_owned),
                conditional: seen.conditional,
                before: seen.before,
            };
            log.lock().unwrap().push(seen.clone());
            hook(&seen)
        });
        self.log.lock().unwrap().clear();
    }

    /// The requests since the last [`Server::inject`] of which `request` is a part.
    pub fn requests(&self, request: &str) -> Vec<Seen> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|seen| seen.request.contains(request))
            .cloned()
            .collect()
    }
}
