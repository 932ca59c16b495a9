//! Every configuration key, with its flag: the one place where these names stand.
//!
//! The command line, the configuration file, the environment overlay, `config print` and the documentation are all
//! driven by [`KEYS`]. Adding a setting is one entry here and one line in `settings.rs` that reads it.

/// The commands that take a key's flag, as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commands(u16);

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
    /// The commands that run the dataflow or read what it wrote.
    pub const ENGINE: Commands = Commands(1 | 2 | 4);
    /// Every command.
    pub const ALL: Commands = Commands(8191);

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
            Shape::Text => "a text",
            Shape::Whole => "a whole number",
            Shape::Fraction => "a number",
            Shape::Switch => "true or false",
            Shape::List => "an array of texts",
            Shape::Map => "a table of texts",
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

const WRITING: Commands = C::BACKFILL.and(C::VERIFY);
const LOADING: Commands = C::RUN.and(C::BACKFILL);
/// The commands that know the results.
const DEFINED: Commands = C::ENGINE.and(C::PLAN);
const LAKED: Commands = C::ARCHIVE.and(C::AUDIT).and(C::COMPACT);
const PLACED: Commands = C::ENGINE.and(C::GENERATE).and(LAKED);
const WAITING: Commands = WRITING.and(C::GENERATE).and(C::AUDIT).and(C::COMPACT);
const CONSUMING: Commands = C::ENGINE.and(C::ARCHIVE).and(C::AUDIT);
const TABLED: Commands = C::ENGINE.and(C::AUDIT).and(C::PLAN);
const SIZED: Commands = C::ENGINE.and(C::LAUNCH);
const FILLING: Commands = C::GENERATE.and(C::DEMO).and(C::EMULATE);
const SOILING: Commands = C::GENERATE.and(C::EMULATE);
const STREAMING: Commands = C::DEMO.and(C::EMULATE);
const SERVING: Commands = C::RUN.and(C::DEMO).and(C::GATEWAY).and(C::ARCHIVE);
const GUARDED: Commands = C::RUN.and(C::GATEWAY).and(C::ARCHIVE);
const TALKING: Commands = CONSUMING.and(C::GATEWAY);
const WRITING_LAKE: Commands = C::ARCHIVE.and(C::COMPACT);

/// All keys, section by section, in the order of the documentation.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("lake.url", "lake", "URL", Text, None, PLACED,
        "The folder that holds the topic folders: file:///dir or s3://bucket/prefix"),
    key("lake.s3_endpoint", "s3-endpoint", "URL", Text, None, PLACED,
        "An S3 server other than Amazon's, addressed path style"),
    key("lake.timeout", "lake-timeout", "D", Text, Some("10m"), WAITING,
        "How long a command that ends by itself waits for a lake that cannot be reached; `run` and `archive` wait without end"),
    key("lake.skip_unreadable", "skip-unreadable", "BOOL", Switch, Some("false"), C::ENGINE,
        "Record an object that is proved unreadable as a gap instead of stopping; an outage is waited for"),
    key("lake.accept_gap", "accept-gap", "GAP", List, None, LOADING,
        "A hole in the log to go on over: TOPIC/P:FROM..TO, repeatable, or all for those found now"),
    key("lake.objects_in_flight", "", "N", Whole, Some("16"), C::ENGINE,
        "Objects of the lake read at the same time, in each process"),
    key("lake.buffer_bytes", "", "BYTES", Whole, Some("8388608"), C::ENGINE,
        "Bytes of lake objects held in memory at most, in each process"),

    key("kafka.bootstrap", "kafka", "HOST:PORT,…", Text, None, TALKING,
        "Kafka's bootstrap servers"),
    key("kafka.buffer_bytes", "", "BYTES", Whole, Some("67108864"), C::ENGINE,
        "Bytes of Kafka records held in memory at most, in each process"),
    key("kafka.allow_missing_topic", "allow-missing-topic", "BOOL", Switch, Some("false"), LOADING,
        "Go on although a topic that is named with --topics does not exist"),
    key("kafka.replace_topics", "replace-topics", "BOOL", Switch, Some("false"), LOADING,
        "Let the tables hold what the topics named now say, and nothing of those that they were made of"),
    key("kafka.topics", "topics", "pin=NAME,geo=NAME,user=NAME", Map, None, PLACED.and(C::GATEWAY).and(C::EMULATE),
        "The topic of each kind, in Kafka and in the lake alike; kinds left out are not read [default: pin,geo,user]"),
    key("kafka.properties", "kafka-property", "K=V", Map, None, TALKING.and(C::EMULATE),
        "A librdkafka property under its own dotted name, repeatable; a secret is { file = PATH } in the file"),

    connection(key("postgres.url", "postgres", "URL", Text, None, TABLED,
        "The database that holds the tables: postgres://user@host:port/database")),
    secret(key("postgres.password", "", "PASSWORD", Text, None, TABLED,
        "The password when the URL has none; give it as PINFLOW__POSTGRES__PASSWORD_FILE, or as { file = PATH }")),
    key("postgres.schema", "schema", "NAME", Text, Some("pinflow"), TABLED,
        "The schema of the tables, ours alone"),
    key("postgres.cleaned", "cleaned", "postgres|off", Text, Some("postgres"), C::ENGINE,
        "Whether the cleaned records are kept as tables beside the results"),
    key("postgres.sslmode", "", "MODE", Text, None, TABLED,
        "What is checked of the database's certificate, as sslmode of the URL: disable, prefer, require, verify-ca or verify-full [default: prefer, or verify-full with a root certificate]"),
    key("postgres.sslrootcert", "", "FILE", Text, None, TABLED,
        "Certificates (PEM) to trust for the database, or system; without sslmode the certificate and its name are checked"),
    key("postgres.sslcert", "", "FILE", Text, None, TABLED,
        "The certificate (PEM) that is shown to the database"),
    key("postgres.sslkey", "", "FILE", Text, None, TABLED,
        "Its key (PEM), not encrypted"),
    key("postgres.reject_bytes", "", "BYTES", Whole, Some("4096"), C::ENGINE,
        "Bytes kept of a dead letter's key and of its value"),
    key("postgres.reject_rows", "", "N", Whole, Some("100000"), C::ENGINE,
        "Dead letters kept at most; the oldest go first"),
    key("postgres.reject_table_bytes", "", "BYTES", Whole, Some("268435456"), C::ENGINE,
        "Bytes of all dead letters' keys and values at most; the oldest go first"),
    key("postgres.takeover", "takeover", "BOOL", Switch, Some("false"), WRITING,
        "Take the schema from a live run, which then stops with exit code 3"),

    key("engine.pace", "pace", "D", Text, Some("5ms"), C::RUN,
        "How long live records are gathered for one commit; longer by itself while commits are slow, 0 commits as fast as Postgres answers"),

    key("results.folder", "results", "DIR", Text, None, DEFINED,
        "The results: every .sql file of this folder is one [default: the built-in results]"),
    key("results.top", "top", "N", Whole, Some("10"), DEFINED,
        "Rows kept of each ranked group, all leaders besides; 0 keeps every row"),
    key("results.drop", "drop", "NAME", List, None, LOADING.and(C::PLAN),
        "A result that the schema holds and shall not hold any more, or not with its columns: its table is dropped, and made anew when it is still defined; repeatable"),

    key("limits.record_bytes", "", "BYTES", Whole, Some("8388608"), C::ENGINE,
        "A longer record is a dead letter; part of the tables' definition"),
    key("limits.depth", "", "N", Whole, Some("64"), C::ENGINE,
        "A record nested deeper is a dead letter; part of the tables' definition"),

    short(key("workers.threads", "threads", "N", Whole, Some("1"), SIZED,
        "Worker threads in each process"), 'w'),
    short(key("workers.processes", "processes", "N", Whole, None, SIZED,
        "Processes in all [default: the lines of the host file, or 1]"), 'n'),
    short(key("workers.process", "process", "INDEX", Whole, Some("0"), C::ENGINE,
        "Which of the processes this one is, from 0"), 'p'),
    short(key("workers.hostfile", "hostfile", "FILE", Text, None, C::ENGINE,
        "A file of host:port lines, one a process [default: localhost:2101 and up]"), 'h'),

    key("log.format", "log-format", "text|json", Text, Some("text"), C::ALL,
        "How log lines on standard error look"),
    key("log.level", "log-level", "LEVEL", Text, Some("info"), C::ALL,
        "error, warn, info, debug or trace; also per module: info,ingest=debug"),

    key("serve.listen", "listen", "ADDR:PORT", Text, None, SERVING,
        "Serve /metrics, /healthz, /readyz and /version here; of `gateway`: everything; a port alone is 127.0.0.1's"),
    key("serve.ready_lag_records", "", "N", Whole, Some("100000"), C::RUN,
        "/readyz says no while more records than this wait in Kafka"),

    key("gateway.token_files", "token-file", "FILE", List, None, GUARDED.and(C::EMULATE),
        "A file of tokens, one a line, that open the gateway, or /metrics of `run` and `archive`; read again when it changes, repeatable; `emulate` sends the first"),
    key("gateway.tls_cert", "tls-cert", "FILE", Text, None, C::GATEWAY,
        "The certificate chain (PEM) for TLS; read again when it changes"),
    key("gateway.tls_key", "tls-key", "FILE", Text, None, C::GATEWAY,
        "The certificate's key (PEM)"),
    key("gateway.prefixes", "prefix", "PATH", List, None, C::GATEWAY,
        "A path that may stand in front of an interface's own, as /prod, repeatable [default: any single segment that is not a name of the gateway's own]"),
    key("gateway.hosts", "hosts", "HOST", List, None, GUARDED,
        "A name under which the process is reached, and whose pages may send requests to it; any port, repeatable"),
    key("gateway.token_rate", "token-rate", "N", Whole, None, GUARDED,
        "Requests and records a second that each token may send, unless its line says rate= [default: as many as are taken]"),
    key("gateway.insecure", "insecure", "BOOL", Switch, Some("false"), GUARDED,
        "Serve other machines without tokens or without TLS, and take token files and a TLS key that others may read or change"),
    key("gateway.strict_topics", "strict-topics", "BOOL", Switch, Some("false"), C::GATEWAY,
        "Serve the configured topics and aliases alone, not every name that ends in a kind's"),
    key("gateway.create_topics", "create-topics", "BOOL", Switch, Some("false"), C::GATEWAY,
        "Create topics that are missing"),
    key("gateway.delete_topics", "delete-topics", "BOOL", Switch, Some("false"), C::GATEWAY,
        "Let clients delete topics (Kinesis's DELETE)"),
    key("gateway.new_partitions", "", "N", Whole, None, C::GATEWAY,
        "Partitions of a new topic [default: the broker's]"),
    key("gateway.pin_partitions", "pin-partitions", "TOPIC=N", Map, None, C::GATEWAY,
        "Spread a topic's keys over so many partitions [default: as many as it has at the start], repeatable"),
    key("gateway.aliases", "alias", "NAME=TOPIC", Map, None, C::GATEWAY,
        "Another name for a topic, as an old topic or stream was called, repeatable"),
    key("gateway.access_log", "access-log", "stdout|stderr|off", Text, Some("stdout"), C::GATEWAY,
        "Where one line of JSON for each request goes"),
    key("gateway.body_bytes", "", "BYTES", Whole, Some("8388608"), C::GATEWAY,
        "Bytes of a request's body at most, or of a record in a streamed one"),
    key("gateway.in_flight_bytes", "", "BYTES", Whole, Some("67108864"), C::GATEWAY,
        "Bytes taken and not yet acknowledged by Kafka, at most; beyond, requests are refused with Retry-After"),
    key("gateway.connections", "", "N", Whole, Some("10000"), C::GATEWAY,
        "Connections at most, fewer where the process may open few files; the one idle for the longest makes room"),
    key("gateway.header_timeout", "", "D", Text, Some("30s"), C::GATEWAY,
        "For a request's head, a TLS handshake, and a connection without a request"),
    key("gateway.body_timeout", "", "D", Text, Some("30s"), C::GATEWAY,
        "For a request's body, or between two records of a streamed one"),
    key("gateway.produce_timeout", "", "D", Text, Some("10s"), C::GATEWAY,
        "For Kafka's acknowledgement; then the answer is an error, and the client may try again"),
    key("gateway.drain_delay", "drain-delay", "D", Text, Some("5s"), C::GATEWAY,
        "How long requests are served after SIGTERM while /readyz says no, before no further connection is taken"),
    key("gateway.drain_timeout", "", "D", Text, Some("30s"), C::GATEWAY,
        "For requests under way when the gateway is told to stop"),

    key("backfill.out", "out", "DIR", Text, None, C::BACKFILL,
        "Write one CSV file a result table into this folder instead of to Postgres"),
    key("backfill.upto", "upto", "FILE", Text, None, C::BACKFILL,
        "Stop at the frontier recorded in this JSON file"),
    key("backfill.summary", "summary", "FILE", Text, None, C::BACKFILL.and(C::EMULATE),
        "Write the figures of the run to this JSON file: records, seconds, memory, frontier, or what was acknowledged"),

    key("verify.repair", "repair", "BOOL", Switch, Some("false"), C::VERIFY,
        "Mend the rows that differ, after the cleaned tables are proven by a replay"),
    key("verify.replay", "replay", "BOOL", Switch, Some("false"), C::VERIFY,
        "Read lake and Kafka again up to the committed frontier and compare every table"),

    key("generate.posts", "posts", "N", Whole, None, FILLING,
        "Posts of the synthetic history; `emulate`: posts or rows that are sent [default there: until the source ends]"),
    key("generate.seed", "seed", "S", Whole, Some("1"), FILLING,
        "The same seed writes the same bytes; `emulate --classic`: the seed of Python's random numbers"),
    key("generate.records_per_object", "records-per-object", "N", Whole, Some("50000"), C::GENERATE,
        "Records in each object; 1 writes a lake as flush.size=1 does"),
    key("generate.partitions", "partitions", "P", Whole, Some("1"), C::GENERATE,
        "Partitions of each topic; one post stays in one partition"),
    key("generate.gzip", "gzip", "BOOL", Switch, Some("false"), C::GENERATE,
        "Compress the objects"),
    key("generate.duplicates", "duplicates", "F", Fraction, Some("0.0526"), SOILING,
        "Records sent again per record, half of them unchanged and half corrected"),
    key("generate.dirty", "dirty", "F", Fraction, Some("0"), SOILING,
        "The share of records in odd but real forms, half of them dead letters"),
    key("generate.deletes", "deletes", "F", Fraction, Some("0"), SOILING,
        "Deletes of earlier records per record"),

    key("archive.flush.size", "flush-size", "N", Whole, Some("10000"), C::ARCHIVE,
        "Records of an object at most; objects end at offsets that are multiples of it"),
    key("archive.rotate.schedule.interval.ms", "rotate-schedule-interval-ms", "MS", Whole, Some("60000"), C::ARCHIVE,
        "Objects also end when the wall clock passes a multiple of this; -1: never"),
    key("archive.topics.dir", "topics-dir", "DIR", Text, None, C::ARCHIVE,
        "The folder above the topic folders; may be empty [default: topics, or empty where the lake's URL ends so]"),
    key("archive.s3.compression.type", "s3-compression-type", "none|gzip", Text, Some("none"), WRITING_LAKE,
        "How objects are stored"),
    key("archive.s3.part.size", "s3-part-size", "BYTES", Whole, Some("26214400"), WRITING_LAKE,
        "A larger object is uploaded to S3 in parts of this size"),
    key("archive.behavior.on.null.values", "behavior-on-null-values", "write|ignore", Text, Some("write"), C::ARCHIVE,
        "Whether a null value becomes a delete line; ignore only together with --lossy-deletes"),
    key("archive.behavior.on.undecodable.values", "behavior-on-undecodable-values", "write|dead-letter", Text, Some("write"), C::ARCHIVE,
        "Whether a value that is not JSON, or too large, is wrapped in a line or kept beside the lake"),
    key("archive.partitioner.class", "partitioner-class", "default|time-based", Text, Some("default"), C::ARCHIVE,
        "Folders by Kafka partition or by the record's timestamp; the sink's class names serve, too"),
    key("archive.path.format", "path-format", "FORMAT", Text, Some("'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH"), C::ARCHIVE,
        "The folders of the time-based partitioner, in UTC"),
    key("archive.lossy_deletes", "lossy-deletes", "BOOL", Switch, Some("false"), C::ARCHIVE,
        "Allow deletes to be left out of the lake: a replay of it brings deleted rows back"),
    key("archive.once", "once", "BOOL", Switch, Some("false"), C::ARCHIVE,
        "Archive what Kafka holds now, then end"),
    key("archive.group_id", "", "NAME", Text, Some("pinflow-archive"), C::ARCHIVE,
        "The group that archived offsets are committed under, for lag tools"),
    key("archive.objects_in_flight", "", "N", Whole, Some("64"), C::ARCHIVE,
        "Objects written at the same time"),
    key("archive.buffer_bytes", "", "BYTES", Whole, Some("268435456"), C::ARCHIVE,
        "Bytes of records in memory at most"),

    key("compact.target_bytes", "target-bytes", "BYTES", Whole, Some("67108864"), C::COMPACT,
        "About how large merged objects become"),
    key("compact.keep", "keep", "D", Text, Some("1h"), C::COMPACT,
        "How long merged objects' parts stay for readers that have listed them; a later run removes them"),

    key("audit.deep", "deep", "BOOL", Switch, Some("false"), C::AUDIT,
        "Read every object and compare it with what its writer recorded"),
    key("audit.json", "json", "BOOL", Switch, Some("false"), C::AUDIT,
        "Print the findings as JSON"),
    key("audit.small_bytes", "small-bytes", "BYTES", Whole, Some("1048576"), C::AUDIT,
        "An object with fewer bytes counts as small"),

    key("demo.rate", "rate", "R", Whole, Some("100"), STREAMING,
        "Live records a second; `emulate` takes 0 for as many as are taken"),
    key("demo.duration", "duration", "D", Text, None, STREAMING,
        "How long to go on: 30s, 5m, 1h [default: until Ctrl-C]"),
    key("demo.dir", "dir", "DIR", Text, None, C::DEMO,
        "Keep everything in this folder instead of a temporary one"),

    key("emulate.to", "to", "URL", Text, None, C::EMULATE,
        "Where records are sent: the URL in front of the interface's own path, or HOST:PORT for --api kafka"),
    key("emulate.api", "api", "pin|rest|kinesis|kafka", Text, None, C::EMULATE,
        "How they are sent: as to FastAPI, the Kafka REST proxy, Kinesis, or Kafka itself; pin,rest spreads posts over both"),
    key("emulate.source", "source", "SOURCE", Text, Some("synthetic"), C::EMULATE,
        "Where they come from: synthetic, mysql://…, postgres://…, or a folder of CSV and JSONL files"),
    secret(key("emulate.source_password", "", "PASSWORD", Text, None, C::EMULATE,
        "The source's password when its URL has none; give it as PINFLOW__EMULATE__SOURCE_PASSWORD_FILE, or as { file = PATH }")),
    key("emulate.first_post", "first-post", "N", Whole, Some("0"), C::EMULATE,
        "The synthetic stream begins with this post, as if the earlier ones had been sent"),
    key("emulate.classic", "classic", "BOOL", Switch, Some("false"), C::EMULATE,
        "Choose rows as the classic emulator does, by Python's random numbers"),
    key("emulate.dates", "dates", "str|iso", Text, Some("str"), C::EMULATE,
        "How dates of tables are written: as Python's default=str or as .isoformat()"),
    key("emulate.connections", "connections", "N", Whole, None, C::EMULATE,
        "Requests on their way at the same time [default: 16, and 1 with --classic]"),
    key("emulate.patience", "patience", "D", Text, Some("2m"), C::EMULATE,
        "How long one record is tried again before the emulator gives up"),
    key("emulate.ca_file", "ca-file", "FILE", Text, None, C::EMULATE,
        "Certificates (PEM) to trust for https, instead of the system's"),
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
    fn paths_and_flags_are_unique_and_sections_stay_together() {
        let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        let flags: Vec<_> = KEYS
            .iter()
            .map(|key| key.flag)
            .filter(|flag| !flag.is_empty())
            .collect();
        assert_eq!(flags.iter().collect::<BTreeSet<_>>().len(), flags.len());
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
            ("log-format", "log.format"),
            ("log-level", "log.level"),
            ("listen", "serve.listen"),
            ("token-file", "gateway.token_files"),
            ("tls-cert", "gateway.tls_cert"),
            ("tls-key", "gateway.tls_key"),
            ("prefix", "gateway.prefixes"),
            ("hosts", "gateway.hosts"),
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
            ("target-bytes", "compact.target_bytes"),
            ("keep", "compact.keep"),
            ("deep", "audit.deep"),
            ("json", "audit.json"),
            ("small-bytes", "audit.small_bytes"),
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
