//! The sources of a configuration, laid over one another: default < file < environment < flag.
//!
//! Every source becomes a map from key path to a value and its origin. The result, [`Effective`], is what
//! `config print` shows and what `settings.rs` checks. Nothing is interpreted here beyond the shape of a value.

use super::keys::{self, Commands, KEYS, Key, Secrecy, Shape};
use super::problem::{ConfigError, Origin, Problem, did_you_mean, nearest};
use super::secret;
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

/// The prefix of environment variables: `PINFLOW__LAKE__URL` is `lake.url`.
pub const ENVIRONMENT_PREFIX: &str = "PINFLOW__";

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value, in the shape its key asks for.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// The values of one source, or of all: by key path. The names of a map follow its path, so that
/// `sasl.mechanism` in `[kafka.properties]` is `kafka.properties.sasl.mechanism`.
pub type Entries = BTreeMap<String, Entry>;

/// The configuration of all sources together.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    entries: Entries,
}

/// The key of a path, and the name within it when the key is a map.
pub fn key_of(path: &str) -> Option<(&'static Key, Option<&str>)> {
    if let Some(key) = keys::find(path) {
        return Some((key, None));
    }
    KEYS.iter().filter(|key| key.shape == Shape::Map).find_map(|key| {
        let name = path.strip_prefix(key.path)?.strip_prefix('.')?;
        (!name.is_empty()).then_some((key, Some(name)))
    })
}

/// What of a value may be shown.
fn secrecy(path: &str) -> Secrecy {
    match key_of(path) {
        Some((_, Some(name))) if secret::is_secret_name(name) => Secrecy::Hidden,
        Some((key, _)) => key.secrecy,
        None => Secrecy::Hidden,
    }
}

/// A value as it may be shown.
pub fn shown(path: &str, value: &Value) -> Value {
    let text = |text: &str| match secrecy(path) {
        Secrecy::Open => secret::mask_value(text),
        Secrecy::Connection => secret::mask_connection(text),
        Secrecy::Hidden => secret::MASK.to_owned(),
    };
    match value {
        Value::String(value) => Value::String(text(value)),
        Value::Array(items) => Value::Array(items.iter().map(|item| shown(path, item)).collect()),
        other => other.clone(),
    }
}

/// A message about a value, in which the value stands only as it may be shown.
pub fn without_secrets(message: String, path: &str, value: &Value) -> String {
    match (value, shown(path, value)) {
        (Value::Array(items), _) => items
            .iter()
            .fold(message, |message, item| without_secrets(message, path, item)),
        (Value::String(secret), Value::String(shown)) if *secret != shown => {
            secret::mask_occurrences(&message, secret, &shown)
        }
        _ => message,
    }
}

impl Effective {
    /// Lays the sources over the defaults; all problems of all sources are reported at once.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Entries,
    ) -> Result<Effective, ConfigError> {
        let mut problems = Vec::new();
        let mut effective = Effective { entries: defaults() };
        if let Some(path) = file {
            match std::fs::read_to_string(path) {
                Ok(text) => effective.lay(read_file(path, &text, &mut problems)),
                Err(error) => problems.push(Problem {
                    at: format!("--config {}", path.display()),
                    message: format!("cannot read the configuration file: {error}"),
                }),
            }
        }
        effective.lay(read_environment(environment, &mut problems));
        // one flag names all topics, so it replaces what other sources name
        if flags.keys().any(|path| path.starts_with("kafka.topics.")) {
            effective.entries.retain(|path, _| !path.starts_with("kafka.topics."));
        }
        effective.lay(flags);
        if problems.is_empty() {
            Ok(effective)
        } else {
            Err(ConfigError(problems))
        }
    }

    fn lay(&mut self, entries: Entries) {
        self.entries.extend(entries);
    }

    /// The entry of a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Names and entries of a map.
    pub fn map<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.entries
            .iter()
            .filter_map(move |(at, entry)| Some((at.strip_prefix(path)?.strip_prefix('.')?, entry)))
    }

    /// All entries.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }
}

fn defaults() -> Entries {
    KEYS.iter()
        .filter_map(|key| {
            let value = from_text(key.shape, key.default?).expect("the defaults have the shape of their key");
            Some((
                key.path.to_owned(),
                Entry {
                    value,
                    origin: Origin::Default,
                },
            ))
        })
        .collect()
}

/// A value of this shape from a text, as environment variables and flags give it.
pub fn from_text(shape: Shape, text: &str) -> Option<Value> {
    match shape {
        Shape::Text => Some(Value::String(text.to_owned())),
        Shape::Whole => text.replace('_', "").parse().ok().map(Value::Integer),
        Shape::Fraction => text
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(Value::Float),
        Shape::Switch => match text {
            "true" | "1" => Some(Value::Boolean(true)),
            "false" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        Shape::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        Shape::Map => None,
    }
}

/// Names and values of `K=V,K=V`; a bare `K` stands for `K=K`.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, pair)))
}

/// Reads the text of a configuration file.
fn read_file(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Entries {
    let mut entries = Entries::new();
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let origin = |offset: usize| Origin::File {
        path: path.to_owned(),
        line: line_of(offset),
    };
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let at = error
                .span()
                .map_or(path.display().to_string(), |span| origin(span.start).to_string());
            problems.push(Problem {
                at,
                message: error.message().to_owned(),
            });
            return entries;
        }
    };
    let sections = keys::sections();
    for (section, content) in document.get_ref() {
        let at = origin(section.span().start);
        let name = section.get_ref().as_ref();
        if !sections.contains(&name) {
            // a key that stands before any section is probably a key of one
            let suggestion = match content.get_ref() {
                DeValue::Table(_) => nearest(name, sections.iter().copied()),
                _ => suggest_key(name),
            };
            let what = if content.get_ref().is_table() { "section" } else { "key" };
            problems.push(Problem {
                at: at.to_string(),
                message: format!("unknown {what} `{name}`{}", did_you_mean(suggestion)),
            });
        } else if let Some(table) = content.get_ref().as_table() {
            read_table(name, table, &origin, &mut entries, problems);
        } else {
            problems.push(Problem {
                at: at.to_string(),
                message: format!("`{name}` is a section: write [{name}]"),
            });
        }
    }
    entries
}

fn read_table(
    prefix: &str,
    table: &DeTable<'_>,
    origin: &dyn Fn(usize) -> Origin,
    entries: &mut Entries,
    problems: &mut Vec<Problem>,
) {
    for (name, content) in table {
        let path = format!("{prefix}.{}", name.get_ref());
        let at = origin(name.span().start);
        // without quotes, the dots of a key's own name are tables
        let within = format!("{path}.");
        if let Some(inner) = content.get_ref().as_table()
            && KEYS.iter().any(|key| key.path.starts_with(&within))
        {
            read_table(&path, inner, origin, entries, problems);
            continue;
        }
        let Some((key, name_in_map)) = key_of(&path) else {
            let suggestion = suggest_key(&path);
            problems.push(Problem {
                at: at.to_string(),
                message: format!("unknown key `{path}`{}", did_you_mean(suggestion)),
            });
            continue;
        };
        if let Some(file) = content
            .get_ref()
            .as_table()
            .and_then(|table| file_of(key, name_in_map, table))
        {
            match secret::read_file(Path::new(file)) {
                Ok(secret) => {
                    let value = Value::String(secret);
                    entries.insert(path, Entry { value, origin: at });
                }
                Err(message) => problems.push(Problem {
                    at: at.to_string(),
                    message: format!("{path}: {message}"),
                }),
            }
            continue;
        }
        // the tables of `sasl.mechanism = "PLAIN"` without quotes are the dots of the property's name
        if let (Shape::Map, Some(inner)) = (key.shape, content.get_ref().as_table()) {
            read_table(&path, inner, origin, entries, problems);
            continue;
        }
        let value = match name_in_map {
            Some(_) => scalar_text(content.get_ref()).map(Value::String),
            None => of_shape(key.shape, content),
        };
        match value {
            Some(value) => {
                entries.insert(path, Entry { value, origin: at });
            }
            None => problems.push(Problem {
                at: at.to_string(),
                message: format!(
                    "{path}: expected {}{}, found {}",
                    if name_in_map.is_some() {
                        Shape::Text.expected()
                    } else {
                        key.shape.expected()
                    },
                    match key.secrecy {
                        Secrecy::Open => "",
                        Secrecy::Connection | Secrecy::Hidden => " or { file = PATH }",
                    },
                    found(content.get_ref())
                ),
            }),
        }
    }
}

/// Properties of librdkafka that end in `.file`: without quotes they look like the file of a shorter name.
const FILE_PROPERTIES: [&str; 3] = [
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
];

/// The path of `{ file = PATH }` in the place of a secret or of a Kafka property, which then stands in that file.
fn file_of<'a>(key: &Key, name_in_map: Option<&str>, table: &'a DeTable<'_>) -> Option<&'a str> {
    let may_be_one = match name_in_map {
        Some(name) => key.path == "kafka.properties" && !FILE_PROPERTIES.contains(&format!("{name}.file").as_str()),
        None => key.secrecy != Secrecy::Open,
    };
    let file = table.get("file").filter(|_| may_be_one && table.len() == 1)?;
    file.get_ref().as_str()
}

/// The value when it has the key's shape.
fn of_shape(shape: Shape, content: &Spanned<DeValue<'_>>) -> Option<Value> {
    match (shape, content.get_ref()) {
        (Shape::Text, DeValue::String(text)) => Some(Value::String(text.to_string())),
        (Shape::Whole | Shape::Fraction, DeValue::Integer(number)) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(if shape == Shape::Whole {
                Value::Integer(number)
            } else {
                Value::Float(number as f64)
            })
        }
        (Shape::Fraction, DeValue::Float(number)) => from_text(shape, number.as_str()),
        (Shape::Switch, DeValue::Boolean(switch)) => Some(Value::Boolean(*switch)),
        (Shape::List, DeValue::Array(items)) => {
            let texts = items
                .iter()
                .map(|item| item.get_ref().as_str().map(|text| Value::String(text.to_owned())));
            texts.collect::<Option<Vec<_>>>().map(Value::Array)
        }
        _ => None,
    }
}

/// Property values may be written as TOML numbers and booleans; librdkafka takes texts.
fn scalar_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a string".to_owned(),
        DeValue::Integer(_) => "a whole number".to_owned(),
        DeValue::Float(_) => "a number with a fraction".to_owned(),
        DeValue::Boolean(_) => "true or false".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(items) => format!("an array of {}", items.len()),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The key nearest to an unknown one: the same name in another section first, then a near name in the same section,
/// then the least edits of all.
fn suggest_key(path: &str) -> Option<&'static str> {
    let name_of = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let name = path.rsplit('.').next().unwrap_or(path);
    let nearest_of = |keys: &mut dyn Iterator<Item = &'static Key>| {
        keys.map(|key| key.path)
            .min_by_key(|known| strsim::damerau_levenshtein(path, known))
    };
    let section = keys::section_of(path);
    let in_section = |key: &&Key| path.contains('.') && keys::section_of(key.path) == section;
    let same_name = |key: &&Key| name_of(key.path) == name || key.flag == name;
    let near_name = |key: &&Key| nearest(name, [name_of(key.path)]).is_some();
    nearest_of(&mut KEYS.iter().filter(same_name))
        .or_else(|| nearest_of(&mut KEYS.iter().filter(in_section).filter(near_name)))
        .or_else(|| nearest(path, KEYS.iter().map(|key| key.path)))
}

/// Reads the variables that begin with [`ENVIRONMENT_PREFIX`].
fn read_environment(variables: impl IntoIterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Entries {
    let mut entries = Entries::new();
    let mut ours: Vec<_> = variables
        .into_iter()
        .filter(|(variable, _)| variable.starts_with(ENVIRONMENT_PREFIX))
        .collect();
    ours.sort();
    for (variable, content) in ours {
        let origin = Origin::Environment(variable.clone());
        let mut problem = |message: String| {
            problems.push(Problem {
                at: variable.clone(),
                message,
            })
        };
        let (path, content) = match environment_path(&variable) {
            (Some(path), false) => (path, content),
            (Some(path), true) => match secret::read_file(Path::new(&content)) {
                Ok(secret) => (path, secret),
                Err(message) => {
                    problem(message);
                    continue;
                }
            },
            (None, _) => {
                let path = plain_path(&variable);
                let suggestion = suggest_key(&path).map(environment_name);
                problem(format!(
                    "unknown variable: no key `{path}`{}",
                    did_you_mean(suggestion.as_deref())
                ));
                continue;
            }
        };
        let shape = key_of(&path).map_or(
            Shape::Text,
            |(key, name)| if name.is_some() { Shape::Text } else { key.shape },
        );
        match from_text(shape, &content) {
            Some(value) => {
                entries.insert(path, Entry { value, origin });
            }
            None if shape == Shape::Map => problem(format!("`{path}` is a table: give {variable}__NAME")),
            None => problem(format!(
                "{path}: expected {}, found `{}`",
                shape.expected(),
                secret::mask_value(&content)
            )),
        }
    }
    entries
}

/// The variable of a key.
pub fn environment_name(path: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

fn plain_path(variable: &str) -> String {
    variable[ENVIRONMENT_PREFIX.len()..]
        .replace("__", ".")
        .to_ascii_lowercase()
}

/// Whether an environment variable sets this path, itself or by a file.
pub fn is_set_by(path: &str, variable: &str) -> bool {
    variable.starts_with(ENVIRONMENT_PREFIX) && environment_path(variable).0.as_deref() == Some(path)
}

/// The path a variable sets, and whether its value names a file that holds the value.
fn environment_path(variable: &str) -> (Option<String>, bool) {
    let path = plain_path(variable);
    if let Some(found) = known_path(&path) {
        let in_map_from_file = key_of(&found).is_some_and(|(_, name)| name.is_some()) && path.ends_with("_file");
        if !in_map_from_file {
            return (Some(found), false);
        }
    }
    let from_file = path.strip_suffix("_file").and_then(known_path);
    let is_file = from_file.is_some();
    (from_file, is_file)
}

/// The path with its map name spelled as librdkafka does: `SASL_PASSWORD` is `sasl.password`.
fn known_path(path: &str) -> Option<String> {
    // and FLUSH_SIZE is flush.size
    let dotted = path
        .split_once('.')
        .map(|(section, name)| format!("{section}.{}", name.replace('_', ".")));
    if let Some(dotted) = dotted.filter(|dotted| keys::find(path).is_none() && keys::find(dotted).is_some()) {
        return Some(dotted);
    }
    let (key, name) = key_of(path)?;
    match name {
        Some(name) if key.path == "kafka.properties" => Some(format!("{}.{}", key.path, name.replace('_', "."))),
        _ => Some(path.to_owned()),
    }
}

impl Effective {
    /// The settings that a command takes, in the order of the documentation: each with its path, its value with secrets
    /// masked, and its origin.
    pub fn shown(&self, command: Commands) -> impl Iterator<Item = (&str, String, &Origin)> {
        let keys = KEYS.iter().filter(move |key| key.commands.meets(command));
        let of_key = move |key: &'static Key| {
            let is_of_key = move |path: &str| key_of(path).is_some_and(|(of, _)| of.path == key.path);
            self.entries.iter().filter(move |(path, _)| is_of_key(path))
        };
        keys.flat_map(of_key).map(|(path, entry)| {
            let value = match shown(path, &entry.value) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            (path.as_str(), value, &entry.origin)
        })
    }

    /// The configuration as TOML, each value with its origin, secrets masked.
    pub fn print(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let mut section = String::new();
        for key in KEYS {
            let of_key = self
                .entries
                .iter()
                .filter(|(path, _)| key_of(path).is_some_and(|(of, _)| of.path == key.path));
            for (path, entry) in of_key {
                let name_in_map = key_of(path).and_then(|(_, name)| name);
                let (header, name) = match name_in_map {
                    Some(name) => (key.path.to_owned(), quoted_name(name)),
                    None => {
                        let (header, name) = path.split_once('.').unwrap_or(("", path));
                        (header.to_owned(), name.to_owned())
                    }
                };
                if header != section {
                    let gap = if section.is_empty() { "" } else { "\n" };
                    writeln!(text, "{gap}[{header}]").expect("writing to a String");
                    section = header;
                }
                let shown = shown(path, &entry.value);
                writeln!(text, "{name} = {shown} # {}", entry.origin).expect("writing to a String");
            }
        }
        text
    }
}

fn quoted_name(name: &str) -> String {
    let bare = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare {
        name.to_owned()
    } else {
        Value::String(name.to_owned()).to_string()
    }
}
