//! Writes the events of a [`Generator`] as objects of a lake.
//!
//! One thread walks the events and cuts them into objects, which is cheap; several threads render, compress and store
//! them. The queue between them is bounded, so memory holds a few objects whatever the size of the lake.

use super::error::GenerateError;
use super::event::Event;
use super::options::GenerateOptions;
use super::partition::partition_of;
use super::record::Renderer;
use super::sequence::Generator;
use flate2::Compression;
use flate2::write::GzEncoder;
use ingest::lake::{Encoding, Lake, LakeUrl, MetadataMap, connect_key};
use ingest::{Offset, Partition};
use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Threads that wait for an S3 server's answers.
const UPLOADS: usize = 16;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records.
    pub records: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes as stored.
    pub bytes: u64,
}

/// Where objects go. A folder is written directly: a synthetic lake can be written again, so it is not synced object
/// by object as [`Lake::put`] would.
enum Store {
    Folder {
        root: PathBuf,
        made: Mutex<HashSet<PathBuf>>,
    },
    S3 {
        lake: Lake,
        runtime: tokio::runtime::Runtime,
    },
}

/// One object to be.
struct Batch {
    kind: u8,
    partition: i32,
    start: i64,
    events: Vec<Event>,
}

/// Writes the lake. A lake that holds objects of these topics already is refused: two histories would mix.
pub fn write(options: &GenerateOptions) -> Result<Written, GenerateError> {
    let store = Store::open(options)?;
    store.refuse_if_used(options)?;
    let threads = match store {
        Store::Folder { .. } => std::thread::available_parallelism().map_or(2, usize::from),
        Store::S3 { .. } => UPLOADS,
    };
    let renderer = Renderer::new(options.seed);
    let (records, objects, bytes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failure = Mutex::new(None);
    let (sender, receiver) = crossbeam_channel::bounded::<Batch>(2 * threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let receiver = receiver.clone();
            scope.spawn(|| {
                let receiver = receiver;
                let mut lines = Vec::new();
                for batch in &receiver {
                    match store_batch(options, &renderer, &store, &batch, &mut lines) {
                        Ok(stored) => {
                            records.fetch_add(batch.events.len() as u64, Ordering::Relaxed);
                            objects.fetch_add(1, Ordering::Relaxed);
                            bytes.fetch_add(stored, Ordering::Relaxed);
                        }
                        Err(error) => {
                            failure.lock().expect("no holder panics").get_or_insert(error);
                            return;
                        }
                    }
                }
            });
        }
        // when every writer has failed the channel has no receiver left, and cutting ends
        drop(receiver);
        cut(options, |batch| sender.send(batch).is_ok());
        drop(sender);
    });
    match failure.into_inner().expect("no holder panics") {
        Some(error) => Err(error),
        None => Ok(Written {
            records: records.into_inner(),
            objects: objects.into_inner(),
            bytes: bytes.into_inner(),
        }),
    }
}

/// Cuts the events into objects until `store` says that writing has failed.
fn cut(options: &GenerateOptions, mut store: impl FnMut(Batch) -> bool) {
    let partitions = options.partitions as usize;
    let mut open: Vec<Batch> = (0..3 * partitions)
        .map(|at| Batch {
            kind: (at / partitions) as u8,
            partition: (at % partitions) as i32,
            start: 0,
            events: Vec::new(),
        })
        .collect();
    let events = Generator::new(options.seed)
        .posts(options.posts)
        .duplicates(options.duplicates)
        .dirty(options.dirty)
        .deletes(options.deletes);
    for event in events.filter(|event| options.topics[usize::from(event.kind)].is_some()) {
        let partition = partition_of(event.ind, options.partitions);
        let batch = &mut open[usize::from(event.kind) * partitions + partition as usize];
        batch.events.push(event);
        if batch.events.len() as u64 == options.records_per_object {
            let start = batch.start + batch.events.len() as i64;
            let next = Batch {
                kind: batch.kind,
                partition,
                start,
                events: Vec::with_capacity(batch.events.len()),
            };
            if !store(std::mem::replace(batch, next)) {
                return;
            }
        }
    }
    for batch in open.into_iter().filter(|batch| !batch.events.is_empty()) {
        if !store(batch) {
            return;
        }
    }
}

fn store_batch(
    options: &GenerateOptions,
    renderer: &Renderer,
    store: &Store,
    batch: &Batch,
    lines: &mut Vec<u8>,
) -> Result<u64, GenerateError> {
    lines.clear();
    for event in &batch.events {
        renderer.write(event, lines);
        lines.push(b'\n');
    }
    let topic = options.topics[usize::from(batch.kind)]
        .as_deref()
        .expect("only kinds with a topic are cut");
    let encoding = if options.gzip { Encoding::Gzip } else { Encoding::Plain };
    let key = connect_key(topic, Partition(batch.partition), Offset(batch.start), encoding);
    match encoding {
        Encoding::Plain => store.put(&key, lines)?,
        Encoding::Gzip => {
            // no name and no time in the header: the bytes depend on the records alone
            let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
            encoder.write_all(lines).map_err(GenerateError::Compress)?;
            let packed = encoder.finish().map_err(GenerateError::Compress)?;
            store.put(&key, &packed)?;
            return Ok(packed.len() as u64);
        }
    }
    Ok(lines.len() as u64)
}

impl Store {
    fn open(options: &GenerateOptions) -> Result<Store, GenerateError> {
        if let LakeUrl::File(root) = &options.lake {
            return Ok(Store::Folder {
                root: root.clone(),
                made: Mutex::new(HashSet::new()),
            });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(GenerateError::Runtime)?;
        let lake = runtime.block_on(Lake::open(options.lake.clone(), options.lake_options.clone()))?;
        Ok(Store::S3 { lake, runtime })
    }

    fn refuse_if_used(&self, options: &GenerateOptions) -> Result<(), GenerateError> {
        let topics: Vec<String> = options.topics.iter().flatten().cloned().collect();
        let used = |topic: &str| GenerateError::Used {
            lake: options.lake.clone(),
            topic: topic.to_owned(),
        };
        match self {
            Store::Folder { root, .. } => {
                for topic in topics {
                    let folder = root.join(&topic);
                    match std::fs::read_dir(&folder) {
                        Ok(mut entries) => {
                            if entries.next().is_some() {
                                return Err(used(&topic));
                            }
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                        Err(error) => return Err(GenerateError::file("list", folder)(error)),
                    }
                }
            }
            Store::S3 { lake, runtime } => {
                let listing = runtime.block_on(lake.list(&topics))?;
                if let Some(topic) = listing.objects.iter().find_map(|object| object.topic) {
                    return Err(used(&topics[usize::from(topic)]));
                }
            }
        }
        Ok(())
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), GenerateError> {
        match self {
            Store::Folder { root, made } => {
                let path = root.join(key);
                let folder = path.parent().expect("a key has a folder").to_owned();
                // made under the lock: nobody may see the folder in the set before it is there
                let mut made = made.lock().expect("no holder panics");
                if !made.contains(&folder) {
                    std::fs::create_dir_all(&folder).map_err(GenerateError::file("make", &folder))?;
                    made.insert(folder);
                }
                drop(made);
                std::fs::write(&path, bytes).map_err(|error| {
                    // a part of an object looks like an object
                    let _ = std::fs::remove_file(&path);
                    GenerateError::file("write", &path)(error)
                })
            }
            Store::S3 { lake, runtime } => {
                Ok(runtime.block_on(lake.put(key, bytes.to_vec(), MetadataMap::default()))?)
            }
        }
    }
}
