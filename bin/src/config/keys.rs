//! Every configuration key, with its flag: the one place where these names are defined.
//!
//! The command line, the configuration file, the environment overlay, `config print` and the documentation are all
//! driven by [`KEYS`]. Adding a setting is one entry here and one line in `settings.rs` that reads it.

/// The commands that take a key's flag, as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commands(u32);

impl Commands {
    /// `pinflow run`
    pub const RUN: Commands = Commands(1);
    /// `pinflow backfill`
    pub const BACKFILL: Commands = Commands(2);
    /// `pinflow verify`
    pub const VERIFY: Commands = Commands(4);
    /// `pinflow generate`
    pub const GENERATE: Commands = Commands(8);
    /// `pinflow launch`
    pub const LAUNCH: Commands = Commands(16);
    /// `pinflow demo`
    pub const DEMO: Commands = Commands(32);
    /// `pinflow config check` and `pinflow config print`: these take every flag
    pub const CONFIG: Commands = Commands(64);
    /// `pinflow gateway`
    pub const GATEWAY: Commands = Commands(128);
    /// `pinflow archive`
    pub const ARCHIVE: Commands = Commands(256);
    /// `pinflow emulate`
    pub const EMULATE: Commands = Commands(512);
    /// `pinflow audit`
    pub const AUDIT: Commands = Commands(1024);
    /// `pinflow compact`
    pub const COMPACT: Commands = Commands(2048);
    /// `pinflow results plan`
    pub const PLAN: Commands = Commands(4096);
    /// `pinflow status`
    pub const STATUS: Commands = Commands(8192);
    /// `pinflow bridge`
    pub const BRIDGE: Commands = Commands(1 << 14);
    /// `pinflow restore`
    pub const RESTORE: Commands = Commands(1 << 15);
    /// `pinflow export`
    pub const EXPORT: Commands = Commands(1 << 16);
    /// The commands that run the dataflow or read what it wrote.
    pub const ENGINE: Commands = Commands(1 | 2 | 4);
    /// Every command.
    pub const ALL: Commands = Commands((1 << 17) - 1);

    /// Both sets together.
    pub const fn and(self, other: Commands) -> Commands {
        Commands(self.0 | other.0)
    }

    /// Whether any command is in both sets.
    pub const fn meets(self, other: Commands) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a value looks like, in every source alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// A whole number.
    Whole,
    /// A number with a fraction.
    Fraction,
    /// true or false; the bare flag means true.
    Switch,
    /// Texts: an array in the file, a repeated flag, comma-separated in the environment.
    List,
    /// Names with texts: a table in the file, `K=V` (repeated, or comma-separated for `--topics`) as a flag.
    Map,
}

impl Shape {
    /// The words of an error message: "expected …".
    pub fn expected(self) -> &'static str {
        match self {
            Shape::Text => "a string",
            Shape::Whole => "a whole number",
            Shape::Fraction => "a number",
            Shape::Switch => "true or false",
            Shape::List => "an array of strings",
            Shape::Map => "a table of strings",
        }
    }
}

/// What of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// All that does not look like a secret.
    Open,
    /// A connection string without its passwords.
    Connection,
    /// Nothing.
    Hidden,
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section and name: `lake.url` is `url` in `[lake]`, `PINFLOW__LAKE__URL` in the environment.
    pub path: &'static str,
    /// The long flag, without dashes; empty when the key has none.
    pub flag: &'static str,
    /// The short flag.
    pub short: Option<char>,
    /// What stands for the value in help texts.
    pub value: &'static str,
    /// What a value looks like.
    pub shape: Shape,
    /// The value when no source gives one.
    pub default: Option<&'static str>,
    /// What of the value is shown.
    pub secrecy: Secrecy,
    /// The commands that take the flag.
    pub commands: Commands,
    /// One sentence: help text and documentation.
    pub help: &'static str,
}

const fn key(
    path: &'static str,
    flag: &'static str,
    value: &'static str,
    shape: Shape,
    default: Option<&'static str>,
    commands: Commands,
    help: &'static str,
) -> Key {
    Key {
        path,
        flag,
        short: None,
        value,
        shape,
        default,
        secrecy: Secrecy::Open,
        commands,
        help,
    }
}

const fn short(mut key: Key, short: char) -> Key {
    key.short = Some(short);
    key
}

const fn secret(mut key: Key) -> Key {
    key.secrecy = Secrecy::Hidden;
    key
}

const fn connection(mut key: Key) -> Key {
    key.secrecy = Secrecy::Connection;
    key
}

use Commands as C;
use Shape::{Fraction, List, Map, Switch, Text, Whole};

/// The commands that write a schema and may fence a live run.
const TAKEOVER_COMMANDS: Commands = C::BACKFILL.and(C::VERIFY);
/// The commands that load tables.
const LOAD_COMMANDS: Commands = C::RUN.and(C::BACKFILL);
/// The commands that compile result files.
const RESULT_COMMANDS: Commands = C::ENGINE.and(C::PLAN);
/// The commands that maintain a lake.
const LAKE_TOOLS: Commands = C::ARCHIVE.and(C::AUDIT).and(C::COMPACT);
/// The commands that read or write a lake.
const LAKE_COMMANDS: Commands = C::ENGINE.and(C::GENERATE).and(LAKE_TOOLS).and(C::RESTORE);
/// The commands that use S3: for a lake, or for what they write.
const S3_COMMANDS: Commands = LAKE_COMMANDS.and(C::EXPORT);
/// The commands that end with an error when the lake, or what they write to, stays unavailable.
const LAKE_TIMEOUT_COMMANDS: Commands = TAKEOVER_COMMANDS
    .and(C::GENERATE)
    .and(C::AUDIT)
    .and(C::COMPACT)
    .and(C::EXPORT)
    .and(C::RESTORE);
/// The commands that need all records of the log, or the word of the user that they are not needed.
const LOG_COMMANDS: Commands = LOAD_COMMANDS.and(C::RESTORE);
/// The commands that read Kafka.
const KAFKA_READERS: Commands = C::ENGINE.and(C::ARCHIVE).and(C::AUDIT);
/// The commands that connect to the database of the tables.
const TABLE_COMMANDS: Commands = C::ENGINE.and(C::AUDIT).and(C::PLAN).and(C::EXPORT);
/// The commands that start dataflow workers.
const WORKER_COMMANDS: Commands = C::ENGINE.and(C::LAUNCH);
/// The commands that take a number of posts and a seed.
const POST_COMMANDS: Commands = C::GENERATE.and(C::DEMO).and(C::EMULATE);
/// The commands that generate synthetic records with duplicates, invalid records and deletes.
const SYNTHETIC_COMMANDS: Commands = C::GENERATE.and(C::EMULATE);
/// The commands that send records at a rate for some time.
const RATE_COMMANDS: Commands = C::DEMO.and(C::EMULATE);
/// The commands that listen for HTTP.
const LISTENING_COMMANDS: Commands = C::RUN.and(C::DEMO).and(C::GATEWAY).and(C::ARCHIVE).and(C::BRIDGE);
/// The listeners that can require tokens.
const TOKEN_COMMANDS: Commands = C::RUN.and(C::GATEWAY).and(C::ARCHIVE).and(C::BRIDGE);
/// The commands that write records of others into Kafka, and place them by their keys.
const RECORD_WRITERS: Commands = C::GATEWAY.and(C::BRIDGE);
/// The commands that connect to Kafka, except the emulator and the demo.
const KAFKA_CLIENTS: Commands = KAFKA_READERS.and(RECORD_WRITERS).and(C::RESTORE);
/// The commands that write objects into a lake.
const LAKE_WRITERS: Commands = C::ARCHIVE.and(C::COMPACT);

/// All keys, section by section, in the order of the documentation.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("lake.url", "lake", "URL", Text, None, LAKE_COMMANDS,
        "Folder that contains the topic folders: file:///dir or s3://bucket/prefix"),
    key("lake.s3_endpoint", "s3-endpoint", "URL", Text, None, S3_COMMANDS,
        "Endpoint of an S3 server other than Amazon S3, addressed in path style"),
    key("lake.timeout", "lake-timeout", "D", Text, Some("10m"), LAKE_TIMEOUT_COMMANDS,
        "How long a command that ends by itself waits for an unavailable lake, `export` for its target; `run` and `archive` wait without a limit"),
    key("lake.skip_unreadable", "skip-unreadable", "BOOL", Switch, Some("false"), C::ENGINE,
        "Record an object that is proved unreadable as a gap instead of stopping; an outage never counts as unreadable"),
    key("lake.accept_gap", "accept-gap", "GAP", List, None, LOG_COMMANDS,
        "Accept a gap in the log: TOPIC/P:FROM..TO, repeatable, or `all` for the gaps found at this start"),
    key("lake.objects_in_flight", "", "N", Whole, Some("16"), C::ENGINE,
        "Objects of the lake read concurrently by each process"),
    key("lake.buffer_bytes", "", "BYTES", Whole, Some("8388608"), C::ENGINE,
        "Maximum bytes of lake objects held in memory by each process"),

    key("kafka.bootstrap", "kafka", "HOST:PORT,…", Text, None, KAFKA_CLIENTS,
        "Kafka bootstrap servers"),
    key("kafka.buffer_bytes", "", "BYTES", Whole, Some("67108864"), C::ENGINE,
        "Maximum bytes of Kafka records held in memory by each process"),
    key("kafka.allow_missing_topic", "allow-missing-topic", "BOOL", Switch, Some("false"), LOG_COMMANDS,
        "Start although a topic named with --topics does not exist"),
    key("kafka.replace_topics", "replace-topics", "BOOL", Switch, Some("false"), LOAD_COMMANDS,
        "Rebuild the tables from the topics given now and drop the data of the previous topics"),
    key("kafka.topics", "topics", "pin=NAME,geo=NAME,user=NAME", Map, None, LAKE_COMMANDS.and(RECORD_WRITERS).and(C::EMULATE),
        "Topic of each kind, in Kafka and in the lake; kinds that are left out are not read [default: pin,geo,user]"),
    key("kafka.properties", "kafka-property", "K=V", Map, None, KAFKA_CLIENTS.and(C::EMULATE),
        "librdkafka property under its dotted name, repeatable; in the file, a secret is { file = PATH }"),

    connection(key("postgres.url", "postgres", "URL", Text, None, TABLE_COMMANDS,
        "Database that contains the tables: postgres://user@host:port/database")),
    secret(key("postgres.password", "", "PASSWORD", Text, None, TABLE_COMMANDS,
        "Password if the URL contains none; set PINFLOW__POSTGRES__PASSWORD_FILE, or { file = PATH } in the file")),
    key("postgres.schema", "schema", "NAME", Text, Some("pinflow"), TABLE_COMMANDS,
        "Schema of the tables; must not be shared with other applications"),
    key("postgres.cleaned", "cleaned", "postgres|off", Text, Some("postgres"), C::ENGINE.and(C::EXPORT),
        "Whether the cleaned records are stored as tables in addition to the results"),
    key("postgres.sslmode", "", "MODE", Text, None, TABLE_COMMANDS,
        "TLS mode, as sslmode in the URL: disable, allow, prefer, require, verify-ca or verify-full [default: prefer, or verify-full with a root certificate]"),
    key("postgres.sslrootcert", "", "FILE", Text, None, TABLE_COMMANDS,
        "Trusted root certificates (PEM) for the database, or `system`; without sslmode, certificate and host name are verified"),
    key("postgres.sslcert", "", "FILE", Text, None, TABLE_COMMANDS,
        "Client certificate (PEM) for the database"),
    key("postgres.sslkey", "", "FILE", Text, None, TABLE_COMMANDS,
        "Private key (PEM, not encrypted) of the client certificate"),
    key("postgres.reject_bytes", "", "BYTES", Whole, Some("4096"), C::ENGINE,
        "Maximum bytes stored of a dead letter's key, and of its value"),
    key("postgres.reject_rows", "", "N", Whole, Some("100000"), C::ENGINE,
        "Maximum number of dead letters; the oldest are removed first"),
    key("postgres.reject_table_bytes", "", "BYTES", Whole, Some("268435456"), C::ENGINE,
        "Maximum bytes of the keys and values of all dead letters; the oldest are removed first"),
    key("postgres.takeover", "takeover", "BOOL", Switch, Some("false"), TAKEOVER_COMMANDS,
        "Fence the live run that holds the schema; it exits with code 3"),

    key("engine.pace", "pace", "D", Text, Some("5ms"), C::RUN,
        "How long live records are collected for one commit; extended automatically while commits are slow; 0 commits as fast as PostgreSQL answers"),

    key("results.folder", "results", "DIR", Text, None, RESULT_COMMANDS,
        "Folder of result files: each .sql file defines one result [default: the built-in results]"),
    key("results.top", "top", "N", Whole, Some("10"), RESULT_COMMANDS,
        "Rows kept of each group of a ranked table, in addition to all rows with rank 1; 0 keeps every row"),
    key("results.drop", "drop", "NAME", List, None, LOAD_COMMANDS.and(C::PLAN),
        "Drop the table of this result, which is no longer defined or has different columns; repeatable"),

    key("limits.record_bytes", "", "BYTES", Whole, Some("8388608"), C::ENGINE,
        "Maximum size of a record; larger ones become dead letters; part of the definition of the tables"),
    key("limits.depth", "", "N", Whole, Some("64"), C::ENGINE,
        "Maximum nesting depth of a record; deeper ones become dead letters; part of the definition of the tables"),

    short(key("workers.threads", "threads", "N", Whole, Some("1"), WORKER_COMMANDS,
        "Worker threads of each process"), 'w'),
    short(key("workers.processes", "processes", "N", Whole, None, WORKER_COMMANDS,
        "Number of processes [default: the lines of the host file, or 1]"), 'n'),
    short(key("workers.process", "process", "INDEX", Whole, Some("0"), C::ENGINE,
        "Index of this process, starting at 0"), 'p'),
    short(key("workers.hostfile", "hostfile", "FILE", Text, None, C::ENGINE,
        "File with one HOST:PORT line per process [default: localhost, ports from 2101]"), 'h'),
    key("workers.peer_timeout", "peer-timeout", "D", Text, Some("30s"), C::ENGINE,
        "How long a process of the run may be silent; then the others end with exit code 1 and name it"),

    key("log.format", "log-format", "text|json", Text, Some("text"), C::ALL,
        "Format of log lines on standard error"),
    key("log.level", "log-level", "LEVEL", Text, Some("info"), C::ALL,
        "Log level: error, warn, info, debug or trace; per module as in info,ingest=debug"),

    key("serve.listen", "listen", "ADDR:PORT", Text, None, LISTENING_COMMANDS.and(C::STATUS),
        "Address of /metrics, /healthz, /readyz and /version, of the API of `run`, and of all interfaces of `gateway`; a port alone listens on 127.0.0.1; `status` asks the run that listens there"),
    key("serve.cors_origins", "cors-origin", "ORIGIN", List, None, C::RUN,
        "Origin whose pages may read the API, such as https://pins.example.com; repeatable"),
    key("serve.ready_lag_records", "", "N", Whole, Some("100000"), C::RUN,
        "/readyz returns 503 while the Kafka lag exceeds this number of records"),

    key("gateway.token_files", "token-file", "FILE", List, None, TOKEN_COMMANDS.and(C::EMULATE).and(C::STATUS),
        "File of access tokens (of `gateway` also AWS access keys, with secret=), one per line, for the gateway, for /metrics of `run`, `archive` and `bridge`, and the API of `run`; reloaded when it changes, repeatable; `emulate` and `status` send the first token"),
    key("gateway.tls_cert", "tls-cert", "FILE", Text, None, C::GATEWAY,
        "TLS certificate chain (PEM); reloaded when it changes"),
    key("gateway.tls_key", "tls-key", "FILE", Text, None, C::GATEWAY,
        "Private key (PEM) of the certificate"),
    key("gateway.prefixes", "prefix", "PATH", List, None, C::GATEWAY,
        "Path prefix accepted before the interfaces' own paths, for example /prod; repeatable [default: any single segment that is not one of the gateway's own path names]"),
    key("gateway.hosts", "hosts", "HOST", List, None, TOKEN_COMMANDS,
        "Allowed Host and Origin name, any port; repeatable"),
    key("gateway.region", "region", "REGION", Text, None, C::GATEWAY,
        "AWS region for which requests of Kinesis clients must be signed, and in which their streams are [default: any, and us-east-1]"),
    key("gateway.token_rate", "token-rate", "N", Whole, None, TOKEN_COMMANDS,
        "Requests and records per second allowed for each token without rate= of its own [default: unlimited]"),
    key("gateway.insecure", "insecure", "BOOL", Switch, Some("false"), TOKEN_COMMANDS,
        "Allow remote clients without tokens or without TLS, and token files and TLS keys that other users can read or change"),
    key("gateway.strict_topics", "strict-topics", "BOOL", Switch, Some("false"), C::GATEWAY,
        "Serve only the configured topics and aliases, not every topic name that ends in .pin, .geo or .user"),
    key("gateway.create_topics", "create-topics", "BOOL", Switch, Some("false"), C::GATEWAY.and(C::RESTORE),
        "Create missing topics"),
    key("gateway.delete_topics", "delete-topics", "BOOL", Switch, Some("false"), C::GATEWAY,
        "Allow clients to delete topics (DELETE of the Kinesis interface)"),
    key("gateway.new_partitions", "", "N", Whole, None, C::GATEWAY,
        "Partitions of a topic that the gateway creates [default: the broker's default]"),
    key("gateway.pin_partitions", "pin-partitions", "TOPIC=N", Map, None, RECORD_WRITERS,
        "Number of partitions over which the keys of a topic are hashed; repeatable [default: the number of partitions at the start]"),
    key("gateway.aliases", "alias", "NAME=TOPIC", Map, None, RECORD_WRITERS,
        "Additional name of a topic, for example that of an older topic or stream; repeatable"),
    key("gateway.access_log", "access-log", "stdout|stderr|off", Text, Some("stdout"), C::GATEWAY,
        "Destination of the access log, one JSON line per request"),
    key("gateway.body_bytes", "", "BYTES", Whole, Some("8388608"), C::GATEWAY,
        "Maximum size of a request body, or of one record of a streamed request"),
    key("gateway.in_flight_bytes", "", "BYTES", Whole, Some("67108864"), C::GATEWAY,
        "Maximum bytes accepted and not yet acknowledged by Kafka; further requests are refused with Retry-After"),
    key("gateway.connections", "", "N", Whole, Some("10000"), C::GATEWAY,
        "Maximum connections; the longest idle one is closed when the limit is reached; lower if the limit of open files requires it"),
    key("gateway.header_timeout", "", "D", Text, Some("30s"), C::GATEWAY,
        "Timeout for a request head, for a TLS handshake, and for an idle connection"),
    key("gateway.body_timeout", "", "D", Text, Some("30s"), C::GATEWAY,
        "Timeout for a request body, or between two records of a streamed request"),
    key("gateway.produce_timeout", "", "D", Text, Some("10s"), C::GATEWAY,
        "Timeout for the acknowledgement by Kafka; afterwards the request fails with a retriable error"),
    key("gateway.drain_delay", "drain-delay", "D", Text, Some("5s"), C::GATEWAY,
        "How long requests are still accepted after SIGTERM while /readyz returns 503"),
    key("gateway.drain_timeout", "", "D", Text, Some("30s"), C::GATEWAY,
        "Timeout for requests in progress during the shutdown"),

    key("backfill.out", "out", "DIR", Text, None, C::BACKFILL,
        "Write one CSV file per result table into this folder instead of writing to PostgreSQL"),
    key("backfill.upto", "upto", "FILE", Text, None, C::BACKFILL,
        "Stop at the frontier recorded in this JSON file"),
    key("backfill.summary", "summary", "FILE", Text, None, C::BACKFILL.and(C::EMULATE),
        "Write statistics of the run to this JSON file: records, seconds, memory and frontier; of `emulate`, the acknowledged records"),

    key("verify.repair", "repair", "BOOL", Switch, Some("false"), C::VERIFY,
        "Repair differing rows after verifying the cleaned tables by replay"),
    key("verify.replay", "replay", "BOOL", Switch, Some("false"), C::VERIFY,
        "Replay the lake and Kafka up to the committed frontier and compare every table"),

    key("generate.posts", "posts", "N", Whole, None, POST_COMMANDS,
        "Posts of the synthetic history; of `emulate`, posts or rows to send [default there: until the source ends]"),
    key("generate.seed", "seed", "S", Whole, Some("1"), POST_COMMANDS,
        "Random seed; the same seed produces the same bytes; of `emulate --classic`, the seed of Python's random module"),
    key("generate.records_per_object", "records-per-object", "N", Whole, Some("50000"), C::GENERATE,
        "Records per object; 1 writes a lake like flush.size=1"),
    key("generate.partitions", "partitions", "P", Whole, Some("1"), C::GENERATE,
        "Partitions of each topic; all records of a post are in one partition"),
    key("generate.gzip", "gzip", "BOOL", Switch, Some("false"), C::GENERATE,
        "Compress the objects with gzip"),
    key("generate.duplicates", "duplicates", "F", Fraction, Some("0.0526"), SYNTHETIC_COMMANDS,
        "Number of repeated records per record; half of them are unchanged, half corrected"),
    key("generate.dirty", "dirty", "F", Fraction, Some("0"), SYNTHETIC_COMMANDS,
        "Fraction of records in unusual forms; half of them are dead letters"),
    key("generate.deletes", "deletes", "F", Fraction, Some("0"), SYNTHETIC_COMMANDS,
        "Number of deletes of earlier records per record"),

    key("archive.flush.size", "flush-size", "N", Whole, Some("10000"), C::ARCHIVE,
        "Maximum records per object; objects end at offsets that are multiples of this number"),
    key("archive.rotate.schedule.interval.ms", "rotate-schedule-interval-ms", "MS", Whole, Some("60000"), C::ARCHIVE,
        "Objects also end when the wall clock passes a multiple of this interval; -1 disables it"),
    key("archive.topics.dir", "topics-dir", "DIR", Text, None, C::ARCHIVE,
        "Folder above the topic folders; may be empty [default: topics, or empty if the URL of the lake ends in /topics]"),
    key("archive.s3.compression.type", "s3-compression-type", "none|gzip", Text, Some("none"), LAKE_WRITERS,
        "Compression of the objects"),
    key("archive.s3.part.size", "s3-part-size", "BYTES", Whole, Some("26214400"), LAKE_WRITERS.and(C::EXPORT),
        "Part size of multipart uploads; larger objects are uploaded to S3 in parts"),
    key("archive.behavior.on.null.values", "behavior-on-null-values", "write|ignore", Text, Some("write"), C::ARCHIVE,
        "Whether a null value is written as a delete line; `ignore` requires --lossy-deletes"),
    key("archive.behavior.on.undecodable.values", "behavior-on-undecodable-values", "write|dead-letter", Text, Some("write"), C::ARCHIVE,
        "Whether a value that is not JSON, or too large, is written as a wrapped line or as a dead letter outside the topic folders"),
    key("archive.partitioner.class", "partitioner-class", "default|time-based", Text, Some("default"), C::ARCHIVE,
        "Partition folders by Kafka partition or by record timestamp; the class names of the Confluent sink are accepted"),
    key("archive.path.format", "path-format", "FORMAT", Text, Some("'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH"), C::ARCHIVE,
        "Folders of the time-based partitioner, in UTC"),
    key("archive.lossy_deletes", "lossy-deletes", "BOOL", Switch, Some("false"), C::ARCHIVE,
        "Allow deletes to be left out of the lake: a replay of such a lake restores deleted rows"),
    key("archive.once", "once", "BOOL", Switch, Some("false"), C::ARCHIVE.and(C::BRIDGE),
        "Archive the records that Kafka holds now, then exit; of `bridge`, copy until every shard is at its tip"),
    key("archive.group_id", "", "NAME", Text, Some("pinflow-archive"), C::ARCHIVE,
        "Consumer group to which archived offsets are committed, for lag monitoring only"),
    key("archive.objects_in_flight", "", "N", Whole, Some("64"), C::ARCHIVE,
        "Objects written concurrently"),
    key("archive.buffer_bytes", "", "BYTES", Whole, Some("268435456"), C::ARCHIVE,
        "Maximum bytes of records held in memory"),

    key("bridge.kinesis", "kinesis", "STREAM", Text, None, C::BRIDGE,
        "Name of the Kinesis stream; its region and credentials come from the default AWS chain"),
    key("bridge.kinesis_endpoint", "kinesis-endpoint", "URL", Text, None, C::BRIDGE,
        "Endpoint of a server other than Amazon Kinesis"),
    key("bridge.from", "from", "FROM", Text, Some("trim-horizon"), C::BRIDGE,
        "Where the first start begins: trim-horizon, latest, or a time such as 2026-11-30T12:00:00Z; later starts continue"),
    key("bridge.positions", "positions", "TOPIC", Text, None, C::BRIDGE,
        "Topic in which the positions of the shards are kept, also the transactional id; created if it does not exist [default: pinflow-bridge-STREAM]"),
    key("bridge.other_topic", "other-topic", "TOPIC", Text, None, C::BRIDGE,
        "Topic of records of no known kind; without it such a record ends the bridge"),
    key("bridge.accept_trimmed", "accept-trimmed", "BOOL", Switch, Some("false"), C::BRIDGE,
        "Continue although records may have been trimmed from the stream before they were read"),
    key("bridge.commit_interval", "commit-interval", "D", Text, Some("1s"), C::BRIDGE,
        "Minimum time between two transactions; each one uses an offset of every partition that it writes to"),
    key("bridge.poll_interval", "", "D", Text, Some("1s"), C::BRIDGE,
        "Time between two requests for the records of a shard that is read to its tip; Kinesis allows five a second for all readers together"),
    key("bridge.buffer_bytes", "", "BYTES", Whole, Some("134217728"), C::BRIDGE,
        "Maximum bytes of records held in memory"),

    key("compact.target_bytes", "target-bytes", "BYTES", Whole, Some("67108864"), C::COMPACT,
        "Target size of merged objects"),
    key("compact.keep", "keep", "D", Text, Some("1h"), C::COMPACT,
        "How long the source objects of a merge are kept for readers that have listed them; a later run removes them"),

    key("audit.deep", "deep", "BOOL", Switch, Some("false"), C::AUDIT,
        "Read every object and compare it with the metadata recorded by its writer"),
    key("audit.json", "json", "BOOL", Switch, Some("false"), C::AUDIT.and(C::RESTORE).and(C::STATUS),
        "Print the report, or the answer of /api/status, as JSON"),
    key("audit.small_bytes", "small-bytes", "BYTES", Whole, Some("1048576"), C::AUDIT,
        "Objects below this size are counted as small"),

    key("restore.rename", "rename", "TOPIC=NEW", Map, None, C::RESTORE,
        "Name in Kafka of a topic of the lake; repeatable [default: the same name]"),
    key("restore.skip_older_layouts", "skip-older-layouts", "BOOL", Switch, Some("false"), C::RESTORE,
        "Leave out objects of older layouts, which have no offsets"),

    key("status.watch", "watch", "BOOL", Switch, Some("false"), C::STATUS,
        "Print the status again every second until Ctrl-C"),

    key("demo.rate", "rate", "R", Whole, Some("100"), RATE_COMMANDS,
        "Live records per second; of `emulate`, 0 sends as fast as possible"),
    key("demo.duration", "duration", "D", Text, None, RATE_COMMANDS,
        "Duration of the live stream: 30s, 5m, 1h [default: until Ctrl-C]"),
    key("demo.dir", "dir", "DIR", Text, None, C::DEMO,
        "Keep all files in this folder instead of a temporary one"),

    key("emulate.to", "to", "URL", Text, None, C::EMULATE,
        "Target: the base URL before the interface's own path, or HOST:PORT for --api kafka"),
    key("emulate.api", "api", "pin|rest|kinesis|kafka", Text, None, C::EMULATE,
        "Interface: FastAPI (pin), Kafka REST proxy, Kinesis, or Kafka itself; several, as pin,rest, share the posts"),
    key("emulate.source", "source", "SOURCE", Text, Some("synthetic"), C::EMULATE,
        "Source of the records: synthetic, mysql://…, postgres://…, or a folder of CSV and JSONL files"),
    secret(key("emulate.source_password", "", "PASSWORD", Text, None, C::EMULATE,
        "Password of the source if its URL contains none; set PINFLOW__EMULATE__SOURCE_PASSWORD_FILE, or { file = PATH } in the file")),
    key("emulate.first_post", "first-post", "N", Whole, Some("0"), C::EMULATE,
        "First post of the synthetic stream; earlier ones count as sent"),
    key("emulate.classic", "classic", "BOOL", Switch, Some("false"), C::EMULATE,
        "Select rows as the classic emulator does, with Python's random numbers"),
    key("emulate.dates", "dates", "str|iso", Text, Some("str"), C::EMULATE,
        "Date format: Python's `default=str` or `.isoformat()`"),
    key("emulate.connections", "connections", "N", Whole, None, C::EMULATE,
        "Concurrent requests [default: 16, or 1 with --classic]"),
    key("emulate.patience", "patience", "D", Text, Some("2m"), C::EMULATE,
        "How long one record is retried before the emulator fails"),
    key("emulate.ca_file", "ca-file", "FILE", Text, None, C::EMULATE,
        "Trusted root certificates (PEM) for https instead of those of the system"),

    key("export.to", "to", "URL", Text, None, C::EXPORT,
        "Target of the export, a folder of its own: file:///dir or s3://bucket/prefix"),
    key("export.format", "format", "parquet", Text, Some("parquet"), C::EXPORT,
        "Format of the files"),
    key("export.keep", "keep", "D", Text, Some("1d"), C::EXPORT,
        "How long the files of a replaced export are kept for those who read them; a later export removes them"),
];

/// The key at a path, if there is one.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The names of all sections, in order.
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&'static str> = KEYS.iter().map(|key| section_of(key.path)).collect();
    sections.dedup();
    sections
}

/// The section of a path: what stands before its first dot.
pub fn section_of(path: &str) -> &str {
    path.split_once('.').map_or(path, |(section, _)| section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn paths_and_the_flags_of_a_command_are_unique_and_sections_stay_together() {
        let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        let flags = || KEYS.iter().enumerate().filter(|(_, key)| !key.flag.is_empty());
        for (index, key) in flags() {
            let twice = flags()
                .find(|(other, same)| *other < index && same.flag == key.flag && same.commands.meets(key.commands));
            assert!(twice.is_none(), "--{} of {} and {twice:?}", key.flag, key.path);
        }
        assert_eq!(sections().iter().collect::<BTreeSet<_>>().len(), sections().len());
    }

    /// Scripts depend on these names: a change here is a change of the contract.
    #[test]
    fn the_contract_of_the_command_line_is_pinned() {
        let pinned = [
            ("lake", "lake.url"),
            ("s3-endpoint", "lake.s3_endpoint"),
            ("lake-timeout", "lake.timeout"),
            ("skip-unreadable", "lake.skip_unreadable"),
            ("accept-gap", "lake.accept_gap"),
            ("kafka", "kafka.bootstrap"),
            ("allow-missing-topic", "kafka.allow_missing_topic"),
            ("replace-topics", "kafka.replace_topics"),
            ("topics", "kafka.topics"),
            ("kafka-property", "kafka.properties"),
            ("postgres", "postgres.url"),
            ("schema", "postgres.schema"),
            ("cleaned", "postgres.cleaned"),
            ("takeover", "postgres.takeover"),
            ("pace", "engine.pace"),
            ("results", "results.folder"),
            ("top", "results.top"),
            ("drop", "results.drop"),
            ("threads", "workers.threads"),
            ("processes", "workers.processes"),
            ("process", "workers.process"),
            ("hostfile", "workers.hostfile"),
            ("peer-timeout", "workers.peer_timeout"),
            ("log-format", "log.format"),
            ("log-level", "log.level"),
            ("listen", "serve.listen"),
            ("cors-origin", "serve.cors_origins"),
            ("token-file", "gateway.token_files"),
            ("tls-cert", "gateway.tls_cert"),
            ("tls-key", "gateway.tls_key"),
            ("prefix", "gateway.prefixes"),
            ("hosts", "gateway.hosts"),
            ("region", "gateway.region"),
            ("token-rate", "gateway.token_rate"),
            ("insecure", "gateway.insecure"),
            ("strict-topics", "gateway.strict_topics"),
            ("create-topics", "gateway.create_topics"),
            ("delete-topics", "gateway.delete_topics"),
            ("pin-partitions", "gateway.pin_partitions"),
            ("alias", "gateway.aliases"),
            ("access-log", "gateway.access_log"),
            ("drain-delay", "gateway.drain_delay"),
            ("out", "backfill.out"),
            ("upto", "backfill.upto"),
            ("summary", "backfill.summary"),
            ("repair", "verify.repair"),
            ("replay", "verify.replay"),
            ("posts", "generate.posts"),
            ("seed", "generate.seed"),
            ("records-per-object", "generate.records_per_object"),
            ("partitions", "generate.partitions"),
            ("gzip", "generate.gzip"),
            ("duplicates", "generate.duplicates"),
            ("dirty", "generate.dirty"),
            ("deletes", "generate.deletes"),
            ("flush-size", "archive.flush.size"),
            ("rotate-schedule-interval-ms", "archive.rotate.schedule.interval.ms"),
            ("topics-dir", "archive.topics.dir"),
            ("s3-compression-type", "archive.s3.compression.type"),
            ("s3-part-size", "archive.s3.part.size"),
            ("behavior-on-null-values", "archive.behavior.on.null.values"),
            (
                "behavior-on-undecodable-values",
                "archive.behavior.on.undecodable.values",
            ),
            ("partitioner-class", "archive.partitioner.class"),
            ("path-format", "archive.path.format"),
            ("lossy-deletes", "archive.lossy_deletes"),
            ("once", "archive.once"),
            ("kinesis", "bridge.kinesis"),
            ("kinesis-endpoint", "bridge.kinesis_endpoint"),
            ("from", "bridge.from"),
            ("positions", "bridge.positions"),
            ("other-topic", "bridge.other_topic"),
            ("accept-trimmed", "bridge.accept_trimmed"),
            ("commit-interval", "bridge.commit_interval"),
            ("target-bytes", "compact.target_bytes"),
            ("keep", "compact.keep"),
            ("deep", "audit.deep"),
            ("json", "audit.json"),
            ("small-bytes", "audit.small_bytes"),
            ("rename", "restore.rename"),
            ("skip-older-layouts", "restore.skip_older_layouts"),
            ("watch", "status.watch"),
            ("rate", "demo.rate"),
            ("duration", "demo.duration"),
            ("dir", "demo.dir"),
            ("to", "emulate.to"),
            ("api", "emulate.api"),
            ("source", "emulate.source"),
            ("first-post", "emulate.first_post"),
            ("classic", "emulate.classic"),
            ("dates", "emulate.dates"),
            ("connections", "emulate.connections"),
            ("patience", "emulate.patience"),
            ("ca-file", "emulate.ca_file"),
            ("to", "export.to"),
            ("format", "export.format"),
            ("keep", "export.keep"),
        ];
        let flags: Vec<_> = KEYS
            .iter()
            .filter(|key| !key.flag.is_empty())
            .map(|key| (key.flag, key.path))
            .collect();
        assert_eq!(flags, pinned);
        let shorts: Vec<_> = KEYS
            .iter()
            .filter_map(|key| key.short.map(|short| (short, key.path)))
            .collect();
        let pinned = [
            ('w', "workers.threads"),
            ('n', "workers.processes"),
            ('p', "workers.process"),
            ('h', "workers.hostfile"),
        ];
        assert_eq!(shorts, pinned);
    }
}
