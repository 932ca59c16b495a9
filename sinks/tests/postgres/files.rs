//! CSV files, and values as Postgres itself prints them.

use crate::cluster::{run, shared};
use crate::tables::{COUNTS, WIDE};
use causes::with_causes;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use values::{Row, Symbol, Value};

#[test]
fn golden_files() {
    let directory = tempfile::tempdir().unwrap();
    let counts: Vec<Row> = vec![
        vec!["b".into(), "x".into(), Value::Int(10), Value::Int(1)],
        vec!["b".into(), "x, \"y\"".into(), Value::Int(9), Value::Null],
        vec![
            Value::Text(Symbol::new("Å")),
            "line\nbreak".into(),
            Value::Int(-3),
            Value::Int(2),
        ],
        vec!["B".into(), "z".into(), Value::Int(100), Value::Int(1)],
        vec!["a b".into(), " lead".into(), Value::Int(1), Value::Int(1)],
    ];
    let wide: Vec<Row> = vec![
        vec![
            Value::Int(9),
            Value::Int(1),
            Value::Int(18_321),
            "-12.50".into(),
            Value::Float(1.5),
            Value::Int(1_598_586_767_000_000),
            Value::Floats([Some(-89.9787), None, Some(3.0)].into()),
            Value::Bytes([0, 255].into()),
            "'".into(),
        ],
        vec![
            Value::Int(10),
            Value::Int(0),
            Value::Int(0),
            Value::Null,
            Value::Float(3.0),
            Value::Null,
            Value::Floats([].into()),
            Value::Null,
            Value::Null,
        ],
        vec![
            Value::Int(-1),
            Value::Int(0),
            Value::Int(-719_162),
            "0".into(),
            Value::Float(1e20),
            Value::Int(500_000),
            Value::Null,
            Value::Null,
            "".into(),
        ],
    ];
    let out = directory.path().join("deep/out");
    sinks::csv::write_tables(&out, &[(COUNTS, counts), (WIDE, wide)]).unwrap();
    let text = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(
        text("counts.csv"),
        "country,name,count,rank\n\
         B,z,100,1\n\
         a b, lead,1,1\n\
         b,x,10,1\n\
         b,\"x, \"\"y\"\"\",9,\n\
         Å,\"line\nbreak\",-3,2\n"
    );
    assert_eq!(
        text("wide.csv"),
        "id,flag,day,amount,mean,at,pair,raw,text\n\
         -1,f,0001-01-01,0,1e+20,1970-01-01 00:00:00.5,,,\n\
         10,f,1970-01-01,,3,,{},,\n\
         9,t,2020-02-29,-12.50,1.5,2020-08-28 03:52:47,\"{-89.9787,NULL,3}\",\\x00ff,'\n"
    );
    let names: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "no temporary file stays: {names:?}");
    // again, over what is there
    sinks::csv::write_tables(&out, &[(COUNTS, vec![])]).unwrap();
    assert_eq!(text("counts.csv"), "country,name,count,rank\n");
    // a directory that cannot be made names itself
    let error = sinks::csv::write_tables(&out.join("counts.csv/x"), &[]).unwrap_err();
    assert!(with_causes(&error).contains("counts.csv/x"), "{error}");
}

#[test]
fn values_print_as_postgres_prints_them() {
    let Some(cluster) = shared() else { return };
    let mut runner = TestRunner::deterministic();
    let mut sample = |strategy: &proptest::strategy::BoxedStrategy<f64>, n: usize| -> Vec<f64> {
        (0..n)
            .map(|_| strategy.new_tree(&mut runner).unwrap().current())
            .collect()
    };
    use proptest::prelude::any;
    let mut doubles = sample(&any::<u64>().prop_map(f64::from_bits).boxed(), 20_000);
    // medians: integers and halves; large ones, where a short decimal may lie half-way between two doubles
    doubles.extend(sample(&any::<i32>().prop_map(|v| f64::from(v) / 2.0).boxed(), 5_000));
    doubles.extend(sample(&any::<i64>().prop_map(|v| v as f64).boxed(), 20_000));
    doubles.extend(sample(
        &(0..80i32, 0..1000u32)
            .prop_map(|(p, k)| f64::from(k) * 2f64.powi(p))
            .boxed(),
        10_000,
    ));
    doubles.extend(sample(
        &(-30..40i32, 0..1000u32)
            .prop_map(|(p, k)| f64::from(k) * 10f64.powi(p))
            .boxed(),
        10_000,
    ));
    doubles.extend((0..64).flat_map(|p| [2f64.powi(p) - 1.0, 2f64.powi(p) * 1.5 + 1.0, -(2f64.powi(p))]));
    run(async {
        let client = cluster.client().await;
        let sql = "SELECT x::text FROM unnest($1::float8[]) WITH ORDINALITY AS u(x, n) ORDER BY n";
        let rows = client.query(sql, &[&doubles]).await.unwrap();
        for (row, v) in rows.iter().zip(&doubles) {
            assert_eq!(row.get::<_, &str>(0), sinks::text::float8(*v), "bits {:x}", v.to_bits());
        }
        let mut runner = TestRunner::deterministic();
        let micros: Vec<i64> = (0..5_000)
            .map(|_| crate::tables::micros().new_tree(&mut runner).unwrap().current())
            .collect();
        let sql = "SELECT (timestamp '1970-01-01' + (x / 1000000) * interval '1 s' + (x % 1000000) * interval '1 us')::text \
                   FROM unnest($1::bigint[]) WITH ORDINALITY AS u(x, n) ORDER BY n";
        client.batch_execute("SET DateStyle = ISO").await.unwrap();
        for (row, v) in client.query(sql, &[&micros]).await.unwrap().iter().zip(&micros) {
            assert_eq!(row.get::<_, &str>(0), sinks::text::timestamp(*v));
        }
    });
}
