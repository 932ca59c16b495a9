//! The harness's own rules: what is missing is counted, and fails under CI.

use crate::byte_fuzz::{Random, Target};
use crate::{need, root};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// Not a test by itself: it needs a file that is not there.
#[test]
#[ignore = "run by what_is_missing_skips_a_test_and_fails_it_under_ci"]
fn child() {
    assert_eq!(need::data("nothing.json"), None);
}

fn needy(ci: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "tests::child"])
        .env("CI", ci)
        .env("PINFLOW_TEST_DATA", "/nonexistent")
        .output()
        .unwrap()
}

#[test]
fn what_is_missing_skips_a_test_and_fails_it_under_ci() {
    let skipped = needy("");
    let said = String::from_utf8(skipped.stderr).unwrap();
    assert!(skipped.status.success(), "{said}");
    // seen although the test has passed
    assert!(
        said.contains("skipped test tests::child: /nonexistent/nothing.json is missing"),
        "{said}"
    );
    let failed = needy("true");
    assert!(!failed.status.success());
    assert!(
        String::from_utf8(failed.stdout)
            .unwrap()
            .contains("CI is set, and /nonexistent/nothing.json")
    );
}

#[test]
fn the_last_line_counts_each_skipped_test_once() {
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    let output = "\
#!/bin/sh
cat <<'END'
     Running tests/a.rs (target/a)
skipped test one: no data
skipped test one: no other data
test two ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
     Running tests/b.rs (target/b)
test one ... skipped test one: no data
ok
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
END
";
    std::fs::write(&cargo, output).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ended = Command::new("sh")
        .args(["tests/setup/test.sh", "--lib"])
        .current_dir(root())
        .env("CARGO", &cargo)
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said}");
    assert_eq!(
        said.lines().last(),
        Some("total: 3 passed, 0 failed, 3 skipped"),
        "{said}"
    );
}

/// Its corpus is a text of a few words.
const FUZZED: Target<'_> = Target {
    name: "words",
    tokens: &[b"{", b"}"],
    bytes: 0,
};

#[test]
fn a_fuzzed_fault_is_found_made_small_and_kept() {
    let found = std::panic::catch_unwind(|| {
        FUZZED.run_with(1, 1 << 20, |input, _| {
            assert!(!input.windows(2).any(|pair| pair == b"}{"), "a planted fault");
            input.len() % 2 == 0
        })
    });
    let said = found.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("a planted fault\nfor }{\n"), "{said}");
    let file = said
        .split("The input is ")
        .nth(1)
        .and_then(|rest| rest.split(". PINFLOW").next());
    let file = std::path::Path::new(file.unwrap());
    assert_eq!(std::fs::read(file).unwrap(), b"}{");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_seed_repeats_its_inputs() {
    let inputs = |seed| {
        let inputs = std::cell::RefCell::new(Vec::new());
        FUZZED.run_with(seed, 10_000, |input, random: &mut Random| {
            inputs.borrow_mut().push((input.to_vec(), random.next_u64()));
            input.len() % 2 == 0
        });
        inputs.into_inner()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
}
