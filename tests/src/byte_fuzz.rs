//! Inputs for whatever reads bytes from outside: those of a corpus, and mutations of them.
//!
//! A target names a folder of small files, `tests/corpus/{name}` of its crate, and checks one input: it compares the
//! reader under test with a reference, or holds it to an invariant. Inputs that the reader accepts are mutated further. An
//! input that fails is made smaller and written to `target/fuzz`; a copy of it in the corpus is tried first from then on.
//!
//! `PINFLOW_TEST_SEED=N` repeats a run, `PINFLOW_TEST_LONG=1` makes it 1 GB long.
//!
//! The tests of other crates include this file by its path, so it needs the standard library alone.

#![allow(dead_code, reason = "each of the programs that include it uses a part")]

#[path = "../../bin/workload/src/generate/random.rs"]
mod random;
#[allow(clippy::duplicate_mod, reason = "the harness has it as well")]
#[path = "seed.rs"]
mod seed;
#[allow(clippy::duplicate_mod, reason = "the harness has it as well")]
#[path = "versions.rs"]
mod versions;

pub use random::Random;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Bytes of the inputs of a target in the long version.
const LONG: u64 = 1 << 30;
/// Bytes of an input.
const LONGEST: usize = 4 << 10;
/// Mutated inputs that were accepted and are mutated further.
const KEPT: usize = 256;
/// Attempts to make a failing input smaller.
const ATTEMPTS: usize = 2000;
/// Bytes that are often special.
const BYTES: &[u8] = b"\0\x01\x1f\n\r\t \x0c\"\\/{}[]()<>:;,.+-*=_%'`0189aeEfnuzAZ\x7f\x80\xc3\xe2\xef\xf0\xff";
/// Numbers that are often special.
const NUMBERS: [&str; 20] = [
    "0",
    "1",
    "-1",
    "00",
    "-0",
    "+1",
    "127",
    "255",
    "256",
    "4095",
    "4096",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999",
    "1e400",
];

/// A reader of bytes, and what its inputs are made of.
pub struct Target<'t> {
    /// The folder of its corpus.
    pub name: &'t str,
    /// Pieces of inputs.
    pub tokens: &'t [&'t [u8]],
    /// Bytes of all inputs of a short run.
    pub bytes: u64,
}

impl Target<'_> {
    /// Checks the corpus, then mutations of it. `check` panics where the reader is wrong and says whether it accepted
    /// the input; its random choices are the same for the same input.
    ///
    /// # Panics
    /// When the check of an input does, or when nearly all mutations are accepted, or refused.
    pub fn run(&self, check: impl Fn(&[u8], &mut Random) -> bool) {
        let bytes = if versions::long() { LONG } else { self.bytes };
        self.run_with(seed::seed().expect("PINFLOW_TEST_SEED is a number"), bytes, check)
    }

    /// [`Target::run`] of so many bytes with the random choices of a seed.
    pub fn run_with(&self, seed: u64, bytes: u64, check: impl Fn(&[u8], &mut Random) -> bool) {
        let mut pool = self.corpus();
        let of_corpus = pool.len();
        for input in &pool {
            self.must_pass(input, &check, seed);
        }
        let mut random = Random::of([seed, hash(self.name.as_bytes()), 0, 0]);
        let mut left = bytes;
        let (mut inputs, mut accepted) = (0u64, 0u64);
        while left > 0 {
            // half of them near the corpus, the others wherever mutations have led
            let from = if random.chance(1 << 31) {
                &pool[..of_corpus]
            } else {
                &pool
            };
            let input = self.mutated(from, &mut random);
            // an empty input costs something, too
            left = left.saturating_sub(input.len() as u64 + 16);
            inputs += 1;
            if self.must_pass(&input, &check, seed) {
                accepted += 1;
                if pool.len() < of_corpus + KEPT {
                    pool.push(input);
                } else {
                    let place = of_corpus + random.below(KEPT as u64) as usize;
                    pool[place] = input;
                }
            }
        }
        eprintln!("{}: {inputs} inputs, {accepted} of them accepted", self.name);
        let least = inputs / 100;
        assert!(
            accepted > least && inputs - accepted > least,
            "{}: {accepted} of {inputs} inputs are accepted, so one side is hardly tested",
            self.name
        );
    }

    /// The files of the corpus, in the order of their names.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let folder = self.folder();
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        files.iter().map(|file| std::fs::read(file).unwrap()).collect()
    }

    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/corpus")
            .join(self.name)
    }

    /// Whether an input is accepted; panics when its check does.
    fn must_pass(&self, input: &[u8], check: &impl Fn(&[u8], &mut Random) -> bool, seed: u64) -> bool {
        let first = match outcome(input, check) {
            Ok(is_accepted) => return is_accepted,
            Err(why) => why,
        };
        IS_QUIET.set(true);
        let smaller = reduced(input, |input| outcome(input, check).is_err());
        IS_QUIET.set(false);
        let why = outcome(&smaller, check).err().unwrap_or(first);
        let folder = failures();
        let file = folder.join(format!("{}-{:016x}", self.name, hash(&smaller)));
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, &smaller));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        panic!(
            "{}: {why}\nfor {}\nThe input is {}. PINFLOW_TEST_SEED={seed} finds it again; a copy in {} is tried first.",
            self.name,
            smaller.escape_ascii(),
            file.display(),
            self.folder().display()
        );
    }

    /// An input of the pool after a few mutations.
    fn mutated(&self, pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        let mut input = random.pick(pool).clone();
        for _ in 0..=random.zipf(3) {
            self.mutate(&mut input, pool, random);
        }
        input.truncate(LONGEST);
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Random) {
        let (start, end) = (place(input, random), place(input, random));
        let (start, end) = (start.min(end), start.max(end));
        let near = if random.chance(1 << 31) {
            end.min(start + random.zipf(5) as usize)
        } else {
            start + word(&input[start..])
        };
        match random.below(12) {
            0 if start < input.len() => input[start] ^= 1 << random.below(8),
            1 if start < input.len() => {
                let is_digit = input[start].is_ascii_digit();
                input[start] = *random.pick(if is_digit { b"0123456789" } else { BYTES });
            }
            2 => input.insert(start, *random.pick(BYTES)),
            3..=5 if !self.tokens.is_empty() => {
                let token = random.pick(self.tokens).to_vec();
                let replaced = if random.chance(1 << 31) {
                    start..near
                } else {
                    start..start
                };
                input.splice(replaced, token);
            }
            6 => {
                let digits = |byte: &u8| byte.is_ascii_digit();
                let from = input[start..]
                    .iter()
                    .position(digits)
                    .map_or(start, |found| start + found);
                let length = input[from..].iter().take_while(|byte| digits(byte)).count();
                input.splice(from..from + length, random.pick(&NUMBERS).bytes());
            }
            7 => drop(input.drain(start..near)),
            8 => {
                let part = input[start..near].to_vec();
                let place = place(input, random);
                input.splice(place..place, part);
            }
            9 => {
                // the end of another input
                let other = random.pick(pool);
                let from = place(other, random);
                input.truncate(start);
                input.extend_from_slice(&other[from..]);
            }
            10 => input.truncate(end),
            _ => {
                let byte = input.get(start).copied().unwrap_or(b'0');
                let times = random.zipf(9) as usize;
                input.splice(start..start, std::iter::repeat_n(byte, times));
            }
        }
    }
}

/// A place in an input, its end included: any, or one beside a sign.
fn place(input: &[u8], random: &mut Random) -> usize {
    let any = random.below(input.len() as u64 + 1) as usize;
    if random.chance(1 << 31) {
        return any;
    }
    let is_sign = |byte: &u8| !byte.is_ascii_alphanumeric();
    let sign = input[any..].iter().position(is_sign);
    sign.map_or(input.len(), |sign| any + sign + random.below(2) as usize)
}

/// The length of the word at the beginning, or of the sign.
fn word(input: &[u8]) -> usize {
    let length = input.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    length.max(1).min(input.len())
}

/// Whether an input is accepted, or what its check panics with.
fn outcome(input: &[u8], check: &impl Fn(&[u8], &mut Random) -> bool) -> Result<bool, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                before(info)
            }
        }));
    });
    let checked = panic::catch_unwind(AssertUnwindSafe(|| {
        check(input, &mut Random::of([hash(input), 0, 0, 0]))
    }));
    checked.map_err(|payload| match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().copied().unwrap_or_default().to_owned(),
    })
}

thread_local! {
    /// Whether panics of this thread are expected, and not printed.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What is left of a failing input when nothing more can be removed, or enough was tried.
fn reduced(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut smaller = input.to_vec();
    let mut attempts = ATTEMPTS;
    let mut length = smaller.len().div_ceil(2);
    while length > 0 {
        let (mut start, before) = (0, smaller.len());
        while start + length <= smaller.len() && attempts > 0 {
            attempts -= 1;
            let without = [&smaller[..start], &smaller[start + length..]].concat();
            if fails(&without) {
                smaller = without;
            } else {
                start += length;
            }
        }
        if smaller.len() == before {
            length /= 2;
        }
    }
    smaller
}

/// Whether a name, or another string, stands in a JSON text twice.
pub fn repeats(text: &str) -> bool {
    let names: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
    names.len() > names.iter().collect::<BTreeSet<_>>().len()
}

/// The folder of failing inputs, `target/fuzz`.
fn failures() -> PathBuf {
    let program = std::env::current_exe().expect("a test is a program");
    // target/debug/deps/program
    let target = program.ancestors().nth(3).expect("a test lies in the target folder");
    target.join("fuzz")
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
