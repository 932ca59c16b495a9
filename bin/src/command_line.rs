//! Secrets on command lines: every user of a machine can read the arguments of every process, with `ps` or in
//! `/proc/PID/cmdline`. Who gives one there is told so, and the processes that we start get theirs by environment.

use crate::cli::{Invocation, Verb};
use crate::config::keys::{Key, Shape};
use crate::config::layers::{Entries, environment_name, is_set_by, key_of, shown};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use toml::Value;

/// The flags whose values hold secrets, with the names of their properties.
fn visible_secrets(flags: &Entries) -> Vec<String> {
    let secrets = flags
        .iter()
        .filter(|(path, entry)| shown(path, &entry.value) != entry.value);
    let name = |path: &String| match key_of(path) {
        Some((key, Some(name))) => format!("--{} {name}", key.flag),
        Some((key, None)) => format!("--{}", key.flag),
        None => path.clone(),
    };
    secrets.map(|(path, _)| name(path)).collect()
}

/// Says once that secrets stand on the command line.
pub fn warn_of_secrets(flags: &Entries) {
    let visible = visible_secrets(flags);
    if !visible.is_empty() {
        tracing::warn!(
            "{}: what stands on the command line can be read by every user of this machine; give passwords and keys in \
             files, as {{ file = PATH }} in the configuration or by a variable that ends in _FILE",
            visible.join(", ")
        );
    }
}

/// A command with its flags, to be started once more: what holds a secret becomes a variable.
#[derive(Clone, Debug)]
pub struct Again {
    arguments: Vec<OsString>,
    /// Path, variable and value.
    environment: Vec<(String, String, String)>,
}

impl Again {
    /// The command of an invocation without the flags of these keys; `None` when it is not `run` or `backfill`.
    pub fn of(invocation: &Invocation, without: &[&str]) -> Option<Again> {
        let verb = match invocation.verb {
            Verb::Run => "run",
            Verb::Backfill => "backfill",
            _ => return None,
        };
        let mut again = Again {
            arguments: vec![verb.into()],
            environment: Vec::new(),
        };
        if let Some(config) = &invocation.config {
            again.arguments.extend([OsString::from("--config"), config.into()]);
        }
        let mut topics = Vec::new();
        for (path, entry) in &invocation.flags {
            match key_of(path) {
                Some((key, _)) if without.contains(&key.path) => {}
                Some((key, Some(kind))) if key.path == "kafka.topics" => {
                    topics.push(format!("{kind}={}", entry.value.as_str().unwrap_or_default()));
                }
                Some(_) if shown(path, &entry.value) != entry.value => {
                    let value = entry.value.as_str().unwrap_or_default().to_owned();
                    again.environment.push((path.clone(), environment_name(path), value));
                }
                Some((key, name)) => again.arguments.extend(arguments(key, name, &entry.value)),
                None => {}
            }
        }
        if !topics.is_empty() {
            again.arguments.push(format!("--topics={}", topics.join(",")).into());
        }
        Some(again)
    }

    /// Adds a flag with a path.
    pub fn give(&mut self, flag: &str, path: &Path) {
        self.arguments.extend([OsString::from(flag), path.into()]);
    }

    /// The arguments; they hold no secret.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Gives a process the secrets. Other variables of the same keys would win over them, as a flag has won before.
    pub fn give_environment(&self, command: &mut Command) {
        for (path, variable, value) in &self.environment {
            for (other, _) in std::env::vars_os() {
                if other.to_str().is_some_and(|other| is_set_by(path, other)) {
                    command.env_remove(other);
                }
            }
            command.env(variable, value);
        }
    }
}

/// One flag as it could be typed, once for each item of a list.
fn arguments(key: &Key, name: Option<&str>, value: &Value) -> Vec<OsString> {
    let flag = |text: &str| OsString::from(format!("--{}={text}", key.flag));
    match (key.shape, name, value) {
        (Shape::Map, Some(name), Value::String(text)) => vec![flag(&format!("{name}={text}"))],
        (_, _, Value::Array(items)) => items.iter().filter_map(Value::as_str).map(flag).collect(),
        (_, _, Value::String(text)) => vec![flag(text)],
        (_, _, other) => vec![flag(&other.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use std::collections::BTreeMap;

    fn invocation(arguments: &[&str]) -> Invocation {
        cli::parse(["pinflow"].iter().chain(arguments)).unwrap()
    }

    const PLAIN: [&str; 21] = [
        "run",
        "--config",
        "/etc/p.toml",
        "--topics",
        "geo=g,pin=p+x",
        "--kafka-property",
        "client.id=a=b,c",
        "--accept-gap",
        "pin/0:1..2",
        "--accept-gap",
        "all",
        "--skip-unreadable",
        "--replace-topics=false",
        "--drop",
        "old",
        "--drop",
        "older",
        "--top",
        "0",
        "--postgres",
        "postgres://me@db/x",
    ];

    #[test]
    fn the_same_flags_are_read_again() {
        let first = invocation(&PLAIN);
        let again = Again::of(&first, &[]).unwrap();
        assert!(again.environment.is_empty());
        let program = [OsString::from("pinflow")];
        let second = cli::parse(program.iter().chain(again.arguments())).unwrap();
        assert_eq!(second, first);
        let again = Again::of(&first, &["results.top", "kafka.topics"]).unwrap();
        let second = cli::parse(program.iter().chain(again.arguments())).unwrap();
        assert_eq!(second.flags.len(), first.flags.len() - 3);
        assert!(Again::of(&invocation(&["verify"]), &[]).is_none());
    }

    #[test]
    fn secrets_become_variables_that_set_the_same() {
        let secrets = [
            ("postgres.url", "--postgres", "postgres://me:a/b@db/x"),
            (
                "kafka.properties.sasl.password",
                "--kafka-property",
                "sasl.password=s3cr3t",
            ),
            (
                "kafka.properties.ssl.key.password",
                "--kafka-property",
                "ssl.key.password=s3cr3t",
            ),
        ];
        let flags: Vec<&str> = secrets.iter().flat_map(|(_, flag, value)| [*flag, *value]).collect();
        let first = invocation(&[&["run", "--kafka", "b:1"], flags.as_slice()].concat());
        let again = Again::of(&first, &[]).unwrap();
        let arguments = format!("{:?}", again.arguments());
        assert!(
            !arguments.contains("a/b") && !arguments.contains("s3cr3t"),
            "{arguments}"
        );
        let environment = again
            .environment
            .iter()
            .map(|(_, name, value)| (name.clone(), value.clone()));
        let effective = crate::config::Effective::load(None, environment, Entries::new()).unwrap();
        for (path, _, value) in secrets {
            let found = effective.get(path).unwrap().value.as_str().unwrap();
            assert_eq!(
                found,
                value
                    .strip_prefix("sasl.password=")
                    .or(value.strip_prefix("ssl.key.password="))
                    .unwrap_or(value)
            );
        }
        assert_eq!(
            visible_secrets(&first.flags),
            [
                "--kafka-property sasl.password",
                "--kafka-property ssl.key.password",
                "--postgres"
            ]
        );
        assert_eq!(visible_secrets(&invocation(&PLAIN).flags), [""; 0]);
    }

    #[test]
    fn no_other_variable_of_the_same_key_stays() {
        let spellings = ["SASL__PASSWORD", "SASL_PASSWORD", "SASL_PASSWORD_FILE", "sasl.password"];
        let set: BTreeMap<&str, bool> = spellings
            .into_iter()
            .map(|name| {
                let variable = format!("PINFLOW__KAFKA__PROPERTIES__{name}");
                (name, is_set_by("kafka.properties.sasl.password", &variable))
            })
            .collect();
        assert!(set.values().all(|set| *set), "{set:?}");
        assert!(is_set_by("postgres.url", "PINFLOW__POSTGRES__URL_FILE"));
        assert!(!is_set_by("postgres.url", "PINFLOW__POSTGRES__PASSWORD"));
        assert!(!is_set_by("postgres.url", "POSTGRES__URL"));
    }
}
