//! The command line: which command, and its raw flags. Built from [`KEYS`], so that a flag,
//! its key and its help text cannot drift apart. Values are not checked here beyond their shape.

use crate::config::keys::{Commands, KEYS, Key, Shape};
use crate::config::layers::{Entries, Entry, from_text, pairs};
use crate::config::problem::{ConfigError, Origin, Problem, did_you_mean, nearest};
use crate::config::secret::{mask_repeated, mask_value};
use crate::exit;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use toml::Value;

/// A command and its raw flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// What to do.
    pub verb: Verb,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// The flags that were given.
    pub flags: Entries,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `pinflow run`
    Run,
    /// `pinflow backfill`
    Backfill,
    /// `pinflow verify`
    Verify,
    /// `pinflow generate`
    Generate,
    /// `pinflow demo`
    Demo,
    /// `pinflow emulate`
    Emulate,
    /// `pinflow gateway`
    Gateway,
    /// `pinflow archive`
    Archive,
    /// `pinflow bridge`
    Bridge,
    /// `pinflow compact`
    Compact,
    /// `pinflow audit`
    Audit,
    /// `pinflow export`
    Export,
    /// `pinflow restore`
    Restore,
    /// `pinflow status`
    Status,
    /// `pinflow launch … -- COMMAND`
    Launch {
        /// The command of each process with its flags.
        command: Vec<OsString>,
    },
    /// `pinflow config check`
    ConfigCheck,
    /// `pinflow config print`
    ConfigPrint,
    /// Compile the results of a folder, or the built-in ones.
    ResultsCheck {
        /// The folder.
        results: Option<PathBuf>,
    },
    /// Print the plan of a result, its shared operators and its costs.
    ResultsExplain {
        /// Its name.
        name: String,
        /// The folder it is in; none for the built-in ones.
        results: Option<PathBuf>,
        /// `--top`.
        top: usize,
    },
    /// Print what a start would do with the results of a schema.
    ResultsPlan,
    /// Write the built-in results to a folder.
    ResultsPrint {
        /// The folder.
        out: PathBuf,
    },
}

/// Why there is no [`Invocation`].
#[derive(Debug)]
pub enum CliError {
    /// Help or version was requested, or clap refuses the command line; clap prints it and knows its exit code.
    Clap(clap::Error),
    /// A flag's value does not have the shape of its key.
    Values(ConfigError),
}

/// The whole command line, for parsing and for documentation.
pub fn command() -> Command {
    let engine = |name: &'static str, commands: Commands, about: &'static str| {
        with_flags(Command::new(name), commands).about(about)
    };
    let launch = with_flags(Command::new("launch"), Commands::LAUNCH)
        .about("Start and supervise local processes of `run` or `backfill`")
        .after_help(
            "Example: pinflow launch -n 2 -w 2 -- run --kafka localhost:9092 --postgres postgres://localhost/pins",
        )
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .help("`run` or `backfill` and its flags, after --")
                .last(true)
                .required(true)
                .num_args(1..)
                .allow_hyphen_values(true)
                .value_parser(clap::value_parser!(OsString)),
        );
    let config = base(Command::new("config"))
        .about("Check or print the effective configuration of flags, environment and file")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_flags(Command::new("check"), Commands::CONFIG).about("Check all values"))
        .subcommand(with_flags(Command::new("print"), Commands::CONFIG).about("Print it as TOML with secrets masked"));
    base(Command::new("pinflow"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Maintains exact result tables in PostgreSQL from a lake and Kafka")
        .after_help("Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 another run holds the schema (`bridge`, `restore`: another one does the same work).")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(engine(
            "demo",
            Commands::DEMO,
            "Run the complete pipeline with embedded servers and synthetic records",
        ))
        .subcommand(engine(
            "run",
            Commands::RUN,
            "Read history, then follow live records until stopped",
        ))
        .subcommand(engine("backfill", Commands::BACKFILL, "Read history only, then exit"))
        .subcommand(engine(
            "verify",
            Commands::VERIFY,
            "Compare every table with its definition",
        ))
        .subcommand(engine("generate", Commands::GENERATE, "Write a synthetic lake"))
        .subcommand(engine(
            "emulate",
            Commands::EMULATE,
            "Send records like the users' emulators",
        ))
        .subcommand(engine(
            "gateway",
            Commands::GATEWAY,
            "Accept records over HTTP, as existing producers send them, and produce them to Kafka",
        ))
        .subcommand(engine(
            "archive",
            Commands::ARCHIVE,
            "Archive Kafka records to the lake until stopped",
        ))
        .subcommand(engine(
            "bridge",
            Commands::BRIDGE,
            "Copy a Kinesis stream into Kafka until stopped",
        ))
        .subcommand(engine("compact", Commands::COMPACT, "Merge small objects of the lake"))
        .subcommand(engine(
            "audit",
            Commands::AUDIT,
            "Report offsets that the lake covers and offsets that it lacks",
        ))
        .subcommand(engine(
            "export",
            Commands::EXPORT,
            "Write the cleaned tables of one commit as Parquet files",
        ))
        .subcommand(engine(
            "restore",
            Commands::RESTORE,
            "Write the records of a lake back into empty topics, then read them back and compare",
        ))
        .subcommand(engine(
            "status",
            Commands::STATUS,
            "Print the status of a run: its phase, lag and freshness, and what limits it",
        ))
        .subcommand(launch)
        .subcommand(config)
        .subcommand(results())
}

/// The flags of `check`, `explain` and `print` are not settings: these commands need no configuration.
fn results() -> Command {
    let folder = |name: &'static str, help: &'static str| {
        let parser = clap::value_parser!(PathBuf);
        Arg::new(name)
            .long(name)
            .value_name("DIR")
            .value_parser(parser)
            .help(help)
    };
    base(Command::new("results"))
        .about("Check and explain result definitions in SQL, or write the built-in ones")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            base(Command::new("check"))
                .about("Compile every .sql file of a folder and print all errors; writes nothing")
                .arg(folder("results", "Folder of the result files [default: the built-in results]")),
        )
        .subcommand(
            base(Command::new("explain"))
                .about("Print the plan of a result, its shared operators and its costs")
                .arg(Arg::new("name").value_name("NAME").help("Name of the result").required(true))
                .arg(folder("results", "Folder of the result files [default: the built-in results]"))
                .arg(
                    Arg::new("top")
                        .long("top")
                        .value_name("N")
                        .value_parser(clap::value_parser!(usize))
                        .default_value("10")
                        .help("As of `run`: rows kept of each group of a ranked table, in addition to all rows with rank 1; 0 keeps every row"),
                ),
        )
        .subcommand(
            with_flags(Command::new("plan"), Commands::PLAN)
                .about("Print the tables that a start would create, change and drop; writes nothing"),
        )
        .subcommand(
            base(Command::new("print"))
                .about("Write the built-in results as files to start from")
                .arg(
                    folder(
                        "out",
                        "Output folder; existing files with different content are not overwritten",
                    )
                    .required(true),
                ),
        )
}

/// Reads the command line; `arguments` begins with the program's name.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Invocation, CliError> {
    let matches = command().try_get_matches_from(arguments).map_err(CliError::Clap)?;
    let (name, matches) = matches.subcommand().expect("a subcommand is required");
    let (name, matches) = match name {
        "results" => match matches.subcommand().expect("a subcommand is required") {
            ("plan", matches) => ("plan", matches),
            (name, matches) => return Ok(results_invocation(name, matches)),
        },
        "config" => matches.subcommand().expect("a subcommand is required"),
        _ => (name, matches),
    };
    let verb = match name {
        "run" => Verb::Run,
        "backfill" => Verb::Backfill,
        "verify" => Verb::Verify,
        "generate" => Verb::Generate,
        "demo" => Verb::Demo,
        "emulate" => Verb::Emulate,
        "gateway" => Verb::Gateway,
        "archive" => Verb::Archive,
        "bridge" => Verb::Bridge,
        "compact" => Verb::Compact,
        "audit" => Verb::Audit,
        "export" => Verb::Export,
        "restore" => Verb::Restore,
        "status" => Verb::Status,
        "launch" => Verb::Launch {
            command: matches.get_many("command").into_iter().flatten().cloned().collect(),
        },
        "plan" => Verb::ResultsPlan,
        "check" => Verb::ConfigCheck,
        "print" => Verb::ConfigPrint,
        other => unreachable!("`{other}` is not among the subcommands"),
    };
    let config = matches.get_one::<PathBuf>("config").cloned();
    let flags = entries(matches).map_err(CliError::Values)?;
    Ok(Invocation { verb, config, flags })
}

fn results_invocation(name: &str, matches: &ArgMatches) -> Invocation {
    let verb = match name {
        "check" => Verb::ResultsCheck {
            results: matches.get_one("results").cloned(),
        },
        "explain" => Verb::ResultsExplain {
            name: matches.get_one("name").cloned().expect("NAME is required"),
            results: matches.get_one("results").cloned(),
            top: matches.get_one("top").copied().expect("--top has a default"),
        },
        "print" => Verb::ResultsPrint {
            out: matches.get_one::<PathBuf>("out").cloned().expect("--out is required"),
        },
        other => unreachable!("`{other}` is not among the subcommands"),
    };
    Invocation {
        verb,
        config: None,
        flags: Entries::new(),
    }
}

/// Prints help or an error of clap and returns its exit code. Errors repeat arguments, in which secrets are masked.
pub fn print(error: &clap::Error) -> u8 {
    if error.use_stderr() {
        let text = if std::io::stderr().is_terminal() {
            error.render().ansi().to_string()
        } else {
            error.render().to_string()
        };
        let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        // the reader of standard error may be gone
        let _ = std::io::stderr().write_all(mask_repeated(&text, arguments).as_bytes());
    } else {
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).unwrap_or(exit::USAGE)
}

/// `-h` is the host file, as in timely, so help is `--help` alone.
fn base(command: Command) -> Command {
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print help");
    command.disable_help_flag(true).disable_help_subcommand(true).arg(help)
}

fn with_flags(command: Command, commands: Commands) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Read the configuration from this TOML file; flags and environment variables take precedence");
    let all = commands == Commands::CONFIG;
    let keys = KEYS
        .iter()
        .filter(|key| !key.flag.is_empty() && (all || key.commands.meets(commands)));
    // two keys may have the same flag when no command takes both; where all are taken, it stands for the first
    let mut flags = BTreeSet::new();
    let keys = keys.filter(|key| flags.insert(key.flag));
    base(command).arg(config).args(keys.map(argument))
}

fn argument(key: &'static Key) -> Arg {
    let help = match key.default {
        Some(default) if key.shape != Shape::Switch => format!("{} [default: {default}]", key.help),
        _ => key.help.to_owned(),
    };
    let argument = Arg::new(key.path).long(key.flag).help(help).value_name(key.value);
    let argument = match key.short {
        Some(short) => argument.short(short),
        None => argument,
    };
    match key.shape {
        Shape::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true),
        Shape::List | Shape::Map if key.path != "kafka.topics" => argument.action(ArgAction::Append),
        Shape::Whole | Shape::Fraction => argument.allow_negative_numbers(true),
        _ => argument,
    }
}

/// The flags that were given, by key path.
fn entries(matches: &ArgMatches) -> Result<Entries, ConfigError> {
    let (mut entries, mut problems) = (Entries::new(), Vec::new());
    let given = |key: &&Key| {
        matches!(matches.try_get_raw(key.path), Ok(Some(_)))
            && matches.value_source(key.path) == Some(ValueSource::CommandLine)
    };
    for key in KEYS.iter().filter(given) {
        let flag = format!("--{}", key.flag);
        let texts: Vec<&String> = matches.get_many(key.path).into_iter().flatten().collect();
        let mut insert = |path: String, value: Value| {
            entries.insert(
                path,
                Entry {
                    value,
                    origin: Origin::Flag(flag.clone()),
                },
            );
        };
        match key.shape {
            Shape::List => {
                let items = texts.iter().map(|text| Value::String(text.to_string())).collect();
                insert(key.path.to_owned(), Value::Array(items));
            }
            Shape::Map if key.path == "kafka.topics" => {
                for (kind, topic) in texts.iter().flat_map(|text| pairs(text)) {
                    if !["pin", "geo", "user"].contains(&kind) {
                        let hint = did_you_mean(nearest(kind, ["pin", "geo", "user"]));
                        let message = format!("unknown kind of record `{kind}`: expected pin, geo or user{hint}");
                        problems.push(Problem {
                            at: flag.clone(),
                            message,
                        });
                        continue;
                    }
                    insert(format!("{}.{kind}", key.path), Value::String(topic.to_owned()));
                }
                if texts.iter().all(|text| pairs(text).next().is_none()) {
                    problems.push(Problem {
                        at: flag.clone(),
                        message: "no topic given: expected pin=NAME".into(),
                    });
                }
            }
            Shape::Map => {
                for text in texts {
                    match text.split_once('=') {
                        Some((name, value)) if !name.is_empty() => {
                            insert(format!("{}.{}", key.path, name.trim()), Value::String(value.to_owned()));
                        }
                        // the text may contain a secret and is not repeated
                        _ if key.path == "kafka.properties" => problems.push(Problem {
                            at: flag.clone(),
                            message: "invalid property: expected NAME=VALUE".into(),
                        }),
                        _ => problems.push(Problem {
                            at: flag.clone(),
                            message: format!("invalid value `{text}`: expected K=V"),
                        }),
                    }
                }
            }
            shape => {
                let text = texts.last().map_or("", |text| text.as_str());
                match from_text(shape, text) {
                    Some(value) => insert(key.path.to_owned(), value),
                    None => problems.push(Problem {
                        at: flag.clone(),
                        message: format!("expected {}, found `{}`", shape.expected(), mask_value(text)),
                    }),
                }
            }
        }
    }
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(ConfigError(problems))
    }
}
