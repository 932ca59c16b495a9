//! Secrets: where they may stand, and that nothing shows them.

use super::*;

/// A configuration in which every secret is `{ file = … }`, and the folder of the files.
fn with_files(text: &str) -> (tempfile::TempDir, Result<Effective, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    std::fs::write(folder.path().join("url"), "postgres://me@db/pins\n").unwrap();
    std::fs::write(folder.path().join("password"), "s3cr3t/ ü\r\n").unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let config = folder.path().join("pinflow.toml");
    std::fs::write(&config, text.replace("DIR", &at.to_string())).unwrap();
    let loaded = Effective::load(Some(&config), Vec::new(), Entries::new());
    (folder, loaded)
}

#[test]
fn a_secret_of_the_file_may_stand_in_a_file_of_its_own() {
    let (_folder, loaded) = with_files(
        "[kafka]\nbootstrap = \"k:1\"\n\
         [kafka.properties]\nsasl.password = { file = \"DIR/password\" }\n\"ssl.key.password\" = { file = \"DIR/password\" }\n\
         sasl.username.file = \"DIR/password\"\nsasl.oauthbearer.assertion.file = \"DIR/password\"\n\
         [postgres]\nurl = { file = \"DIR/url\" }\npassword.file = \"DIR/password\"\n",
    );
    let effective = loaded.unwrap();
    let value = |path: &str| effective.get(path).unwrap().value.as_str().unwrap().to_owned();
    for path in ["sasl.password", "ssl.key.password", "sasl.username"] {
        assert_eq!(value(&format!("kafka.properties.{path}")), "s3cr3t/ ü");
    }
    // a property of librdkafka is called so
    assert!(value("kafka.properties.sasl.oauthbearer.assertion.file").ends_with("/password"));
    assert_eq!(value("postgres.url"), "postgres://me@db/pins");
    let mut reader = reader::Reader::new(&effective);
    let url = reader.postgres().unwrap().url;
    assert_eq!(url, "postgres://me:s3cr3t%2F%20%C3%BC@db/pins");
    let printed = effective.print();
    let line = printed.lines().find(|line| line.contains("\"sasl.password\"")).unwrap();
    assert!(
        line.starts_with("\"sasl.password\" = \"***\" # ") && line.ends_with("pinflow.toml:4"),
        "{line}"
    );
    assert_eq!(printed.matches("s3cr3t").count(), 1, "the user's name: {printed}");
}

#[test]
fn a_file_that_holds_no_secret_is_named() {
    for (file, expected) in [
        ("DIR/absent", "cannot read DIR/absent: No such file"),
        ("DIR", "cannot read DIR: "),
        ("DIR/empty", "DIR/empty is empty"),
        ("/dev/zero", "/dev/zero is longer than"),
    ] {
        for (section, key, path) in [
            ("[postgres]\n", "password", "postgres.password"),
            ("[postgres]\n", "url", "postgres.url"),
            ("[emulate]\n", "source_password", "emulate.source_password"),
            (
                "[kafka.properties]\n",
                "sasl.password",
                "kafka.properties.sasl.password",
            ),
        ] {
            let (folder, loaded) = with_files(&format!("{section}{key} = {{ file = \"{file}\" }}\n"));
            let text = message(loaded.unwrap_err());
            let expected = expected.replace("DIR", &folder.path().display().to_string());
            assert!(text.contains(&format!("pinflow.toml:2: {path}: {expected}")), "{text}");
        }
    }
    let variable = environment(&[("PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", "/nonexistent/x")]);
    let text = message(Effective::load(None, variable, Entries::new()).unwrap_err());
    assert!(text.contains("cannot read /nonexistent/x"), "{text}");
}

#[test]
fn what_is_no_secret_is_no_table_either() {
    for (text, expected) in [
        (
            "[postgres]\npassword = { path = \"x\" }\n",
            "expected a string or { file = PATH }, found a table",
        ),
        (
            "[postgres]\npassword = { file = 7 }\n",
            "expected a string or { file = PATH }, found a table",
        ),
        (
            "[postgres]\npassword = { file = \"x\", mode = \"y\" }\n",
            "expected a string or { file = PATH }, found a table",
        ),
        (
            "[postgres]\nschema = { file = \"x\" }\n",
            "postgres.schema: expected a string, found a table",
        ),
    ] {
        let text = message(of_file(text).unwrap_err());
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn no_way_of_giving_a_secret_shows_it() {
    let urls = [
        "postgres://u:s3/cr3t@db/x",
        "postgres://u:s3?cr3t@db/x",
        "postgres://u:s3@cr3t@db/x",
        "postgres://u:cr3t/x",
        "postgres://db/x?password=s3cr3t",
        "postgres://db/x?password=s3&cr3t",
        "host=db password='s3 cr3t'",
        "host=db password=s3 cr3t",
        "host=db password=s3 cr3t=1",
        "host=db password='s3cr3t",
        "host=db port=s3cr3t",
        "postgres://u:cr3t@db:nope/x",
        "postgres://u:cr3t@db/x?sslmode=none",
        "jdbc:postgresql://db/x?password=s3cr3t",
        "mysql://u:s3cr3t@db/x",
    ];
    let mut arguments: Vec<[&str; 2]> = urls.iter().map(|url| ["--postgres", url]).collect();
    arguments.extend(
        [
            "mysql://u:s3/cr3t@db/x",
            "mysql://u:s3@cr3t@db/x",
            "postgres://u:s3@cr3t@db/x",
        ]
        .map(|url| ["--source", url]),
    );
    arguments.extend([
        ["--lake", "s3://AKIA:s3/cr3t@bucket/x"],
        ["--s3-endpoint", "https://u:s3cr3t@host"],
        ["--to", "https://u:s3cr3t@host?token=s3cr3t"],
        ["--kafka", "u:s3cr3t@broker:9092"],
        ["--kafka-property", "sasl.password=s3cr3t"],
        ["--kafka-property", "ssl.key.pem=s3cr3t"],
        ["--kafka-property", "sasl.jaas.config=x required password=\"s3cr3t\";"],
        ["--kafka-property", "client.id=postgres://u:s3/cr3t@db/x"],
    ]);
    for [flag, value] in arguments {
        let effective = of_flags(&["config", "print", "--api", "pin", flag, value]);
        let printed = effective.print();
        assert!(!printed.contains("cr3t"), "{flag} {value}: {printed}");
        let shown: Vec<_> = effective.shown(keys::Commands::ALL).collect();
        assert!(!format!("{shown:?}").contains("cr3t"), "{flag} {value}: {shown:?}");
        let checked = check_all(&effective)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(!checked.contains("cr3t"), "{flag} {value}: {checked}");
    }
    for arguments in [
        ["config", "print", "--kafka-property", "sasl.password:s3cr3t"],
        ["config", "print", "--top", "postgres://u:s3/cr3t@db/x"],
    ] {
        let Err(cli::CliError::Values(error)) = cli::parse(["pinflow"].iter().chain(&arguments)) else {
            panic!("{arguments:?} is taken");
        };
        assert!(!error.to_string().contains("cr3t"), "{error}");
    }
    let variable = environment(&[("PINFLOW__RESULTS__TOP", "postgres://u:s3/cr3t@db/x")]);
    let text = message(Effective::load(None, variable, Entries::new()).unwrap_err());
    assert!(!text.contains("cr3t"), "{text}");
}

#[test]
fn files_of_a_connection_are_read_by_every_command_that_takes_them() {
    for variable in ["SSLROOTCERT", "SSLCERT", "SSLKEY"] {
        let name = format!("PINFLOW__POSTGRES__{variable}");
        let other = format!(
            "PINFLOW__POSTGRES__{}",
            if variable == "SSLKEY" { "SSLCERT" } else { "SSLKEY" }
        );
        let mut variables = vec![(name.as_str(), "/nonexistent/a.pem")];
        if variable != "SSLROOTCERT" {
            variables.push((&other, "/nonexistent/a.pem"));
        }
        let postgres = ["--postgres", "postgres://me@127.0.0.1:1/x"];
        let commands: [(&str, &[&str]); 5] = [
            ("run", &["--kafka", "k:1"]),
            ("backfill", &["--lake", "file:///tmp"]),
            ("verify", &[]),
            ("audit", &["--lake", "file:///tmp"]),
            ("config", &[]),
        ];
        for (command, more) in commands {
            let words = if command == "config" {
                vec!["config", "check"]
            } else {
                vec![command]
            };
            let arguments = [&words[..], more, &postgres].concat();
            let effective = Effective::load(None, environment(&variables), flags(&arguments)).unwrap();
            let checked = match command {
                "run" => RunSettings::check(&effective).map(drop),
                "backfill" => BackfillSettings::check(&effective).map(drop),
                "verify" => verify_options(&effective).map(drop),
                "audit" => AuditSettings::check(&effective).map(drop),
                _ => check_all(&effective),
            };
            let text = message(checked.unwrap_err());
            assert!(text.contains("/nonexistent/a.pem"), "{command}: {text}");
            assert!(text.contains("PINFLOW__POSTGRES__SSL"), "{command}: {text}");
        }
        // and where no database is named
        let effective = Effective::load(None, environment(&variables), Entries::new()).unwrap();
        assert!(message(check_all(&effective).unwrap_err()).contains("/nonexistent/a.pem"));
    }
    // by the sources of `emulate`, and in the connection string
    let source = "postgres://me@127.0.0.1:1/x?sslrootcert=/nonexistent/a.pem";
    let effective = of_flags(&["emulate", "--to", "http://h", "--api", "pin", "--source", source]);
    assert!(message(emulate_options(&effective).err().unwrap()).contains("/nonexistent/a.pem"));
    let property = ["--kafka-property", "ssl.ca.location=/nonexistent/a.pem"];
    let effective = of_flags(&[&["emulate", "--to", "h:1", "--api", "kafka"][..], &property].concat());
    assert!(message(emulate_options(&effective).err().unwrap()).contains("/nonexistent/a.pem"));
    assert!(message(run_with(&property).unwrap_err()).contains("/nonexistent/a.pem"));
}

#[test]
fn sslmode_is_a_key_too() {
    let mode = |value: &str| {
        let variables = environment(&[("PINFLOW__POSTGRES__SSLMODE", value)]);
        let effective = Effective::load(None, variables, flags(&RUN)).unwrap();
        PlanSettings::check(&effective).map(|settings| settings.postgres.ssl_mode)
    };
    assert_eq!(mode("verify-full").unwrap(), Some(sinks::SslMode::VerifyFull));
    let text = message(mode("full").unwrap_err());
    assert!(
        text.contains("postgres.sslmode: unknown sslmode; one of disable, allow, prefer"),
        "{text}"
    );
}

#[test]
fn a_short_secret_garbles_no_message() {
    let arguments = ["run", "--kafka", "k:1", "--postgres", "e"];
    let text = message(RunSettings::check(&of_flags(&arguments)).map(drop).unwrap_err());
    assert!(text.contains("expected postgres://user@host:port/database"), "{text}");
    assert!(!text.contains("`e`"), "{text}");
}
