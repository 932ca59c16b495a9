//! Checked settings of `pinflow emulate`.

use super::forms::{check_bootstrap, check_http_url, parse_duration, to_path};
use super::layers::Effective;
use super::problem::{ConfigError, Origin, did_you_mean, nearest};
use super::reader::Reader;
use super::secret::{Secret, mask_value, with_password};
use std::path::PathBuf;
use workload::emulate::{self, Api, EmulateOptions};

/// The interfaces, as they are written.
const API_WORDS: [&str; 4] = ["pin", "rest", "kinesis", "kafka"];

/// One interface, or several that share the posts: `pin,rest`.
fn parse_apis(text: &str) -> Result<Vec<Api>, String> {
    let all = text.split(',').map(parse_api).collect::<Result<Vec<Api>, String>>()?;
    if all.len() > 1 && all.contains(&Api::Kafka) {
        return Err("kafka is not an interface of the gateway and cannot be combined with others".into());
    }
    Ok(all)
}

fn parse_api(text: &str) -> Result<Api, String> {
    match text {
        "pin" => Ok(Api::Pin),
        "rest" => Ok(Api::Rest),
        "kinesis" => Ok(Api::Kinesis),
        "kafka" => Ok(Api::Kafka),
        _ => Err(format!(
            "unknown interface `{text}`: expected one of {}{}",
            API_WORDS.join(", "),
            did_you_mean(nearest(text, API_WORDS))
        )),
    }
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The generator.
    Synthetic,
    /// The three tables in MySQL or MariaDB.
    MySql(Secret),
    /// The three tables in PostgreSQL.
    Postgres(Secret),
    /// The three tables as files.
    Folder(PathBuf),
}

impl From<Source> for emulate::Source {
    fn from(source: Source) -> emulate::Source {
        match source {
            Source::Synthetic => emulate::Source::Synthetic,
            Source::MySql(url) => emulate::Source::MySql(url.expose().to_owned()),
            Source::Postgres(url) => emulate::Source::Postgres(url.expose().to_owned()),
            Source::Folder(folder) => emulate::Source::Folder(folder),
        }
    }
}

/// What only a generated stream can have.
const OF_THE_GENERATOR: [&str; 3] = ["generate.duplicates", "generate.dirty", "generate.deletes"];

/// Properties of the producer that are ours.
const OWNED: [&str; 5] = [
    "bootstrap.servers",
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "partitioner",
];

/// Checks what `emulate` is given.
pub fn emulate_options(effective: &Effective) -> Result<EmulateOptions, ConfigError> {
    let mut reader = Reader::new(effective);
    let apis = reader.optional("emulate.api", parse_apis).unwrap_or_default();
    let to = match apis.first() {
        Some(Api::Kafka) => reader.optional("emulate.to", |text| {
            check_bootstrap(text.strip_prefix("kafka://").unwrap_or(text))
        }),
        Some(_) => reader.optional("emulate.to", check_base_url),
        None => reader.optional("emulate.to", |text| Ok(text.to_owned())),
    };
    let source = source(&mut reader);
    let classic = reader.switch("emulate.classic");
    if let (Some(Source::Synthetic), true) = (&source, classic) {
        let hint = "give --source mysql://…, postgres://… or a folder";
        reader.missing(format!(
            "--classic selects rows of tables, and the synthetic source has none: {hint}"
        ));
    }
    if !matches!(source, Some(Source::Synthetic) | None) {
        for path in OF_THE_GENERATOR {
            if let Some(entry) = reader.entry(path).filter(|entry| entry.origin.is_flag()) {
                let message = "only valid with `--source synthetic`: tables are sent unchanged".into();
                reader.wrong(path, entry, message);
            }
        }
    }
    if let (true, Some(entry)) = (apis.contains(&Api::Pin), reader.entry("generate.deletes"))
        && entry.value.as_float().is_some_and(|share| share > 0.0)
    {
        let message = "the FastAPI interface has no deletes: it refuses records without fields".into();
        reader.wrong("generate.deletes", entry, message);
    }
    let properties = properties(&mut reader, effective, &apis);
    let connections = reader.optional_whole("emulate.connections", 1, 4096);
    let topics = reader.topics();
    let posts = reader.optional_whole("generate.posts", 0, 1 << 40).map(|n| n as u64);
    let duration = reader.optional("demo.duration", parse_duration);
    let rate = reader.whole("demo.rate", 0, 10_000_000) as u64;
    let first_post = reader.whole("emulate.first_post", 0, 1 << 40) as u64;
    let seed = reader.whole("generate.seed", 0, i64::MAX) as u64;
    let duplicates = reader.fraction("generate.duplicates");
    let dirty = reader.fraction("generate.dirty");
    let deletes = reader.fraction("generate.deletes");
    let iso_dates = iso_dates(&mut reader);
    // each interface has at least one
    let connections = (connections.unwrap_or(if classic { 1 } else { 16 }) as usize).max(apis.len());
    let patience = reader.optional("emulate.patience", parse_duration).unwrap_or_default();
    let token_file = first_path(effective, "gateway.token_files");
    let ca_file = reader.optional("emulate.ca_file", to_path);
    let summary = reader.optional("backfill.summary", to_path);
    // a wrong value has been reported as such
    if reader.entry("emulate.to").is_none() {
        reader.missing("`emulate` needs --to URL, the receiver of the records".into());
    }
    if reader.entry("emulate.api").is_none() {
        reader.missing("`emulate` needs --api pin, rest, kinesis or kafka, the interface of the receiver".into());
    }
    let (Some(to), Some(source)) = (to, source) else {
        return reader.refuse();
    };
    let options = EmulateOptions {
        to,
        source: source.into(),
        topics,
        posts,
        duration,
        rate,
        first_post,
        seed,
        duplicates,
        dirty,
        deletes,
        classic,
        iso_dates,
        connections,
        apis,
        patience,
        token_file,
        ca_file,
        summary,
        properties,
    };
    reader.done(options)
}

/// The URL in front of an interface's own path: no query, and no slash at its end.
fn check_base_url(text: &str) -> Result<String, String> {
    let authority = text.split("://").nth(1).unwrap_or_default();
    if authority.split('/').next().unwrap_or_default().contains('@') {
        return Err(format!(
            "`{}` contains a user: use --token-file for a token",
            mask_value(text)
        ));
    }
    if text.contains(['?', '#']) {
        return Err(format!(
            "`{}` has a query: give the part before the interface's own path, as https://host/prod",
            mask_value(text)
        ));
    }
    let url = check_http_url(text)?;
    Ok(url.trim_end_matches('/').to_owned())
}

fn source(reader: &mut Reader<'_>) -> Option<Source> {
    let password = reader.optional("emulate.source_password", |text| Ok(text.to_owned()));
    let complete = |url: &str| match &password {
        Some(password) => Secret::new(with_password(url, password)),
        None => Secret::new(url),
    };
    reader.optional("emulate.source", |text| match text.split_once("://") {
        Some(("mysql" | "mariadb", rest)) => {
            let url = complete(&format!("mysql://{rest}"));
            match emulate::source::mysql_database(url.expose()) {
                Ok(None) => Err(format!(
                    "`{url}` names no database: write mysql://user@host:port/database"
                )),
                Ok(Some(_)) => Ok(Source::MySql(url)),
                Err(error) => Err(format!("invalid MySQL URL `{url}`: {}", causes::with_causes(&error))),
            }
        }
        Some(("postgres" | "postgresql", _)) => {
            let url = complete(text);
            sinks::PostgresConfig::new(url.expose(), "public")
                .check()
                .map_err(|error| causes::with_causes(&error))?;
            Ok(Source::Postgres(url))
        }
        Some((scheme, _)) => Err(format!(
            "unknown source `{scheme}`: expected mysql://…, postgres://… or a folder"
        )),
        None if text == "synthetic" => Ok(Source::Synthetic),
        None => match to_path(text)? {
            folder if folder.is_dir() => Ok(Source::Folder(folder)),
            _ => Err(format!(
                "`{text}` is not a folder{}",
                did_you_mean(nearest(text, ["synthetic"]))
            )),
        },
    })
}

/// The first file of a list.
fn first_path(effective: &Effective, path: &str) -> Option<PathBuf> {
    let files = effective.get(path)?.value.as_array()?;
    files.first()?.as_str().map(PathBuf::from)
}

fn iso_dates(reader: &mut Reader<'_>) -> bool {
    let chosen = reader.optional("emulate.dates", |text| match text {
        "str" => Ok(false),
        "iso" => Ok(true),
        _ => Err(format!("invalid date format `{text}`: expected str or iso")),
    });
    chosen.unwrap_or(false)
}

/// The producer's properties. librdkafka judges each when the producer is made; ours are refused here.
fn properties(reader: &mut Reader<'_>, effective: &Effective, apis: &[Api]) -> Vec<(String, String)> {
    if apis != [Api::Kafka] {
        return Vec::new();
    }
    let mut properties = Vec::new();
    for (name, entry) in effective.map("kafka.properties") {
        if OWNED.contains(&name) && entry.origin != Origin::Default {
            let message = format!("`{name}` cannot be set: records are acknowledged by all replicas, in order");
            reader.wrong(&format!("kafka.properties.{name}"), entry, message);
        }
        let value = entry.value.as_str().unwrap_or_default();
        if let Err(error) = ingest::kafka::check_file(name, value) {
            reader.wrong(&format!("kafka.properties.{name}"), entry, causes::with_causes(&error));
        }
        properties.push((name.to_owned(), value.to_owned()));
    }
    properties
}
