//! A lake of either store, and a consumer that reads it as the engine does: by polling, and by being woken.

use crate::server::Server;
use flate2::Compression;
use flate2::write::GzEncoder;
use ingest::lake::{
    Encoding, FetchOptions, Fetched, Fetcher, Lake, LakeError, LakeOptions, LakeUrl, Listing, Object, ObjectMetadata,
    Place, Retries,
};
use ingest::{Offset, Partition};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longer than any reading here takes; only a lost wake-up or a deadlock waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub runtime: Runtime,
    pub folder: TempDir,
    pub server: Server,
}

/// How one object ended.
#[derive(Debug, Default)]
pub struct Read {
    pub content: Vec<u8>,
    pub chunks: usize,
    pub whole: bool,
    pub too_large: Vec<(Vec<u8>, u64)>,
    /// The metadata that came first.
    pub opened: Option<Option<ObjectMetadata>>,
    pub lines: u64,
    /// Bytes and digest.
    pub done: Option<(u64, Option<u64>)>,
    pub failed: Option<LakeError>,
}

impl Read {
    /// The content of an object that was read to its end.
    pub fn sound(&self) -> &[u8] {
        assert!(self.failed.is_none() && self.done.is_some(), "{:?}", self.failed);
        &self.content
    }

    /// Why the object is unreadable, and that nothing of it was handed out.
    pub fn unread(&self) -> &LakeError {
        assert_eq!(
            self.chunks,
            0,
            "handed out: {:?}",
            String::from_utf8_lossy(&self.content[..self.content.len().min(100)])
        );
        self.failed.as_ref().expect("a failure")
    }
}

impl World {
    /// An empty bucket `lake`.
    pub fn new() -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lake")).unwrap();
        let server = Server::start(folder.path());
        World {
            runtime,
            folder,
            server,
        }
    }

    /// A file below the bucket's folder.
    pub fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join("lake").join(key)
    }

    /// Puts a file where both lakes see it.
    pub fn write(&self, key: &str, content: &[u8]) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn file(&self) -> Lake {
        self.open(&format!("file://{}", self.folder.path().join("lake").display()))
    }

    pub fn s3(&self) -> Lake {
        self.open("s3://lake")
    }

    pub fn open(&self, url: &str) -> Lake {
        self.open_changed(url, |options| options)
    }

    pub fn open_changed(&self, url: &str, change: impl Fn(LakeOptions) -> LakeOptions) -> Lake {
        let options = LakeOptions {
            s3_endpoint: Some(self.server.endpoint.clone()),
            credentials: Some(Server::credentials()),
            retries: Retries {
                first_pause: Duration::from_millis(1),
                longest_pause: Duration::from_millis(5),
                silence: Duration::from_secs(1),
                retry_timeout: Some(Duration::from_secs(60)),
                notice: Duration::from_millis(20),
            },
            ..LakeOptions::default()
        };
        let options = change(options);
        self.runtime
            .block_on(Lake::open(url.parse::<LakeUrl>().unwrap(), options))
            .unwrap()
    }

    /// The bucket, given up after so long.
    pub fn s3_for(&self, retry_timeout: Duration) -> Lake {
        self.open_changed("s3://lake", |mut options| {
            options.retries.retry_timeout = Some(retry_timeout);
            options
        })
    }

    pub fn list(&self, lake: &Lake) -> Listing {
        self.runtime.block_on(lake.list(&["pin", "geo", "user"])).unwrap()
    }

    /// Puts an object through the lake.
    pub fn put(&self, lake: &Lake, key: &str, content: &[u8], metadata: &ObjectMetadata) {
        self.runtime
            .block_on(lake.put(key, content.to_vec(), metadata.to_map()))
            .unwrap();
    }

    /// Reads every object; by key.
    pub fn fetch(&self, lake: &Lake, options: FetchOptions) -> BTreeMap<String, Read> {
        self.fetch_with(lake, options, &mut |_| {})
    }

    /// Reads every object, and shows what arrives.
    pub fn fetch_with(
        &self,
        lake: &Lake,
        options: FetchOptions,
        look: &mut dyn FnMut(&Fetched),
    ) -> BTreeMap<String, Read> {
        let objects = self.list(lake).objects;
        self.fetch_these(lake, &objects, options, look)
    }

    /// Reads these objects, and shows what arrives.
    pub fn fetch_these(
        &self,
        lake: &Lake,
        objects: &[Object],
        options: FetchOptions,
        look: &mut dyn FnMut(&Fetched),
    ) -> BTreeMap<String, Read> {
        let (wake, woken) = crossbeam_channel::bounded(1);
        let wake = Arc::new(move || wake.try_send(()).unwrap_or_default());
        let mut fetcher = Fetcher::start(lake.clone(), self.runtime.handle().clone(), options, wake);
        let mut reads: Vec<Read> = objects.iter().map(|_| Read::default()).collect();
        for (id, object) in (0..).zip(objects) {
            fetcher.push(id, object.clone());
        }
        while fetcher.open() > 0 {
            let Some(fetched) = fetcher.try_next() else {
                woken.recv_timeout(PATIENCE).expect("the consumer was not woken");
                continue;
            };
            look(&fetched);
            take(&mut fetcher, &mut reads, fetched);
        }
        assert!(fetcher.try_next().is_none());
        objects.iter().map(|object| object.key.clone()).zip(reads).collect()
    }
}

fn take(fetcher: &mut Fetcher, reads: &mut [Read], fetched: Fetched) {
    let ended = |read: &Read| read.done.is_some() || read.failed.is_some();
    let lines = fetched.lines();
    match fetched {
        Fetched::Opened { id, metadata } => {
            let read = &mut reads[id as usize];
            assert!(read.opened.is_none() && !ended(read), "{id} is opened twice");
            read.opened = Some(metadata.map(|metadata| *metadata));
        }
        Fetched::Lines { id, bytes } | Fetched::Whole { id, bytes } if ended(&reads[id as usize]) => {
            panic!("{} bytes after the end of {id}", bytes.len())
        }
        Fetched::Lines { id, .. } | Fetched::Whole { id, .. } | Fetched::TooLarge { id, .. }
            if reads[id as usize].opened.is_none() =>
        {
            panic!("content of {id} before its metadata")
        }
        Fetched::Lines { id, bytes } => {
            let read = &mut reads[id as usize];
            let cut = read.content.last().is_some_and(|last| *last != b'\n');
            assert!(!cut, "a chunk follows one that ended inside a line");
            read.content.extend_from_slice(&bytes);
            read.lines += lines;
            read.chunks += 1;
            fetcher.recycle(bytes);
        }
        Fetched::Whole { id, bytes } => {
            let read = &mut reads[id as usize];
            assert_eq!(read.chunks, 0);
            read.content.extend_from_slice(&bytes);
            (read.chunks, read.whole) = (1, true);
            fetcher.recycle(bytes);
        }
        Fetched::TooLarge { id, prefix, bytes } => {
            let read = &mut reads[id as usize];
            read.lines += lines;
            read.too_large.push((prefix, bytes));
        }
        Fetched::Done { id, bytes, digest, .. } => {
            let read = &mut reads[id as usize];
            assert!(!ended(read) && read.opened.is_some());
            read.done = Some((bytes, digest));
        }
        Fetched::Failed { id, error } => {
            let read = &mut reads[id as usize];
            assert!(!ended(read));
            read.failed = Some(error);
        }
    }
}

/// A plain object of the log, as a listing names it.
pub fn object(key: &str) -> Object {
    Object {
        key: key.to_string(),
        size: 1,
        etag: None,
        topic: Some(0),
        place: Place::Log {
            partition: Partition(0),
            start: Offset(0),
        },
        encoding: Encoding::Plain,
        deletes: false,
        sidecar: false,
    }
}

/// One gzip member.
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Lines that compress badly and differ from one another.
pub fn lines(count: usize) -> Vec<u8> {
    let line = |n: usize| {
        let noise = ingest::lake::checksum(&n.to_le_bytes());
        format!(
            "{{\"ind\":{n},\"noise\":\"{noise:016x}{:016x}\"}}\n",
            noise.rotate_left(17) ^ n as u64
        )
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

/// The key of the object of `pin`, partition 0, that starts at `start`.
pub fn pin(start: i64, extension: &str) -> String {
    format!("pin/partition=0/pin+0+{start:010}.{extension}")
}
