//! What each source may say, which one wins, and how mistakes in them are named.

use super::*;

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = file(
        "pinflow.toml",
        "[results]\ntop = 3\n[postgres]\nschema = \"from_file\"\n[log]\nlevel = \"debug\"\n",
    );
    let top = |environment: &[(&str, &str)], arguments: &[&str]| {
        let variables = self::environment(environment);
        let effective = Effective::load(Some(&file.path), variables, flags(arguments)).unwrap();
        let entry = effective.get("results.top").unwrap();
        (entry.value.as_integer().unwrap(), entry.origin.to_string())
    };
    let line = format!("{}:2", file.path.display());
    let variable = ("PINFLOW__RESULTS__TOP", "4");
    assert_eq!(top(&[], &["run"]), (3, line));
    assert_eq!(top(&[variable], &["run"]), (4, "PINFLOW__RESULTS__TOP".into()));
    assert_eq!(top(&[variable], &["run", "--top", "5"]), (5, "--top".into()));
    assert_eq!(of_flags(&["run"]).get("results.top").unwrap().origin, Origin::Default);
    let unrelated = Effective::load(
        Some(&file.path),
        environment(&[variable]),
        flags(&["run", "--top", "5"]),
    )
    .unwrap();
    assert_eq!(
        unrelated.get("postgres.schema").unwrap().value.as_str(),
        Some("from_file")
    );
}

#[test]
fn a_mistyped_key_is_named_with_file_line_and_suggestion() {
    let cases = [
        (
            "[lake]\nurl = \"file:///a\"\nskip_unreadble = true\n",
            3,
            "lake.skip_unreadble",
            "lake.skip_unreadable",
        ),
        (
            "[postgres]\n\nshcema = \"x\"\n",
            3,
            "postgres.shcema",
            "postgres.schema",
        ),
        ("[kafka]\nbootstrp = \"x\"\n", 2, "kafka.bootstrp", "kafka.bootstrap"),
        ("[kafka]\nschema = \"x\"\n", 2, "kafka.schema", "postgres.schema"),
        ("\n\n[postgrs]\nurl = \"x\"\n", 3, "postgrs", "postgres"),
        ("top = 3\n", 1, "top", "results.top"),
    ];
    for (text, line, key, suggestion) in cases {
        let text = message(of_file(text).unwrap_err());
        assert!(text.contains(&format!("pinflow.toml:{line}: ")), "{text}");
        assert!(
            text.contains(&format!("`{key}`: did you mean `{suggestion}`?")),
            "{text}"
        );
    }
    let far = message(of_file("[lake]\ncolour = \"blue\"\n").unwrap_err());
    assert!(
        far.contains("pinflow.toml:2: unknown key `lake.colour`") && !far.contains("did you mean"),
        "{far}"
    );
}

#[test]
fn a_wrong_type_is_named_with_what_was_expected_and_found() {
    let cases = [
        (
            "[results]\ntop = \"ten\"\n",
            "pinflow.toml:2: results.top: expected a whole number, found a string",
        ),
        (
            "[lake]\nurl = 3\n",
            "pinflow.toml:2: lake.url: expected a string, found a whole number",
        ),
        (
            "[lake]\nskip_unreadable = \"yes\"\n",
            "pinflow.toml:2: lake.skip_unreadable: expected true or false, found a string",
        ),
        (
            "[lake]\naccept_gap = [\"all\",\n 3]\n",
            "pinflow.toml:2: lake.accept_gap: expected an array of strings, found an array",
        ),
        (
            "[kafka]\ntopics = \"pin\"\n",
            "pinflow.toml:2: kafka.topics: expected a table of strings, found a string",
        ),
        (
            "[kafka.properties]\nx = [1]\n",
            "pinflow.toml:2: kafka.properties.x: expected a string, found an array",
        ),
        (
            "lake = \"file:///a\"\n",
            "pinflow.toml:1: `lake` is a section: write [lake]",
        ),
    ];
    for (text, expected) in cases {
        let text = message(of_file(text).unwrap_err());
        assert!(text.contains(expected), "{text}\n{expected}");
    }
}

#[test]
fn broken_toml_and_missing_files_are_named() {
    let text = message(of_file("[lake]\nurl = \"file:///a\n").unwrap_err());
    assert!(text.contains("pinflow.toml:2: "), "{text}");
    let text = message(of_file("[lake]\nurl = \"a\"\nurl = \"b\"\n").unwrap_err());
    assert!(
        text.contains("pinflow.toml:3: ") && text.contains("duplicate"),
        "{text}"
    );
    let error = Effective::load(Some("/nowhere/pinflow.toml".as_ref()), Vec::new(), Entries::new()).unwrap_err();
    assert!(message(error).contains("--config /nowhere/pinflow.toml"));
}

#[test]
fn all_problems_are_told_at_once() {
    let file = file("pinflow.toml", "[lake]\nurll = \"a\"\n[results]\ntop = \"b\"\n");
    let variables = environment(&[("PINFLOW__RESLTS__TOP", "1")]);
    let ConfigError(problems) = Effective::load(Some(&file.path), variables, Entries::new()).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(
        problems[2]
            .to_string()
            .contains("did you mean `PINFLOW__RESULTS__TOP`?"),
        "{}",
        problems[2]
    );
    let bad = of_flags(&["run", "--top=-1", "--listen", "x", "--kafka", ":1", "--schema", "A b"]);
    let ConfigError(problems) = RunSettings::check(&bad).unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:?}");
}

#[test]
fn the_environment_names_every_kind_of_key() {
    let secret = file("password", "s3cr3t\n");
    let secret_path = secret.path.to_str().unwrap();
    let variables = environment(&[
        ("PINFLOW__LAKE__S3_ENDPOINT", "http://localhost:1"),
        ("PINFLOW__LAKE__SKIP_UNREADABLE", "true"),
        ("PINFLOW__LAKE__ACCEPT_GAP", "pin/0:1..2, geo/1:3..4"),
        ("PINFLOW__RESULTS__DROP", "old, older"),
        ("PINFLOW__KAFKA__BOOTSTRAP", "k:9092"),
        ("PINFLOW__KAFKA__TOPICS__PIN", "my.pin"),
        ("PINFLOW__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL"),
        ("PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", secret_path),
        ("PINFLOW__POSTGRES__URL", "postgres://me@db/pins"),
        ("PINFLOW__POSTGRES__PASSWORD_FILE", secret_path),
        ("HOME", "/root"),
    ]);
    let effective = Effective::load(None, variables, Entries::new()).unwrap();
    let settings = RunSettings::check(&effective).unwrap();
    let kafka = settings.engine.log.kafka.unwrap().config;
    assert_eq!(kafka.bootstrap, "k:9092");
    let expected = [("sasl.password", "s3cr3t"), ("security.protocol", "SASL_SSL")];
    assert_eq!(
        kafka.properties,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(
        settings.engine.log.topics,
        Topics::new([Some("my.pin".to_owned()), None, None])
    );
    let gaps = ["pin/0:1..2", "geo/1:3..4"].map(|gap| gap.parse().unwrap());
    assert_eq!(settings.engine.accept_gaps, gaps);
    assert_eq!(settings.engine.tables.drop, ["old", "older"]);
    assert!(settings.engine.log.skip_unreadable);
    let SinkOptions::Postgres(postgres) = settings.engine.sink else {
        panic!("{:?}", settings.engine.sink);
    };
    assert_eq!(postgres.url, "postgres://me:s3cr3t@db/pins");
}

#[test]
fn environment_mistakes_are_named() {
    let cases = [
        (
            ("PINFLOW__LAKE__SKIP_UNREADABLE", "maybe"),
            "PINFLOW__LAKE__SKIP_UNREADABLE: lake.skip_unreadable: expected true or false, found `maybe`",
        ),
        (
            ("PINFLOW__POSTGRES__PASSWORD_FILE", "/nowhere/x"),
            "PINFLOW__POSTGRES__PASSWORD_FILE: cannot read /nowhere/x",
        ),
        (
            ("PINFLOW__KAFKA__TOPICS", "pin"),
            "`kafka.topics` is a table: give PINFLOW__KAFKA__TOPICS__NAME",
        ),
        (("PINFLOW__POSTGRS__URL", "x"), "did you mean `PINFLOW__POSTGRES__URL`?"),
    ];
    for (variable, expected) in cases {
        let error = Effective::load(None, environment(&[variable]), Entries::new()).unwrap_err();
        let text = message(error);
        assert!(text.contains(expected), "{text}");
    }
    for key in keys::KEYS {
        let name = environment_name(key.path);
        assert!(
            name.starts_with("PINFLOW__") && name.to_ascii_uppercase() == name,
            "{name}"
        );
    }
}

#[test]
fn properties_may_be_written_quoted_or_dotted_and_with_any_scalar() {
    let effective = of_file(
        "[kafka.properties]\n\"sasl.mechanism\" = \"PLAIN\"\nssl.ca.location = \"/ca.pem\"\n\"fetch.min.bytes\" = 10\nenable.x = true\n",
    )
    .unwrap();
    let properties: Vec<(&str, &str)> = effective
        .map("kafka.properties")
        .map(|(name, entry)| (name, entry.value.as_str().unwrap()))
        .collect();
    let expected = [
        ("enable.x", "true"),
        ("fetch.min.bytes", "10"),
        ("sasl.mechanism", "PLAIN"),
        ("ssl.ca.location", "/ca.pem"),
    ];
    assert_eq!(properties, expected);
}

#[test]
fn a_property_that_is_ours_or_unknown_is_refused_where_it_stands() {
    for (property, named) in [
        ("enable.auto.commit=true", "enable.auto.commit"),
        ("auto.offset.reset=earliest", "auto.offset.reset"),
        ("isolation.level=read_uncommitted", "isolation.level"),
        ("no.such.property=1", "no.such.property"),
        ("fetch.min.bytes=many", "fetch.min.bytes"),
    ] {
        let text = message(run_with(&["--kafka-property", property]).unwrap_err());
        assert!(text.starts_with("--kafka-property: ") && text.contains(named), "{text}");
    }
    let file = file(
        "pinflow.toml",
        "[kafka]\nbootstrap = \"k:1\"\n[postgres]\nurl = \"postgres://a/b\"\n[kafka.properties]\n\"isolation.level\" = \"x\"\n",
    );
    let effective = Effective::load(Some(&file.path), Vec::new(), Entries::new()).unwrap();
    let text = message(RunSettings::check(&effective).unwrap_err());
    assert!(
        text.contains("pinflow.toml:6: kafka.properties.isolation.level: "),
        "{text}"
    );
}
