//! Random schedules: which worker gets which record when, how early, and when epochs close.

use differential_dataflow::{ExchangeData, VecCollection};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex, Once};
use timely::dataflow::Stream;
use timely::dataflow::operators::generic::operator::source;

pub type Update<D> = (D, u64, isize);

/// How a run goes, apart from its records. Derived from a seed, since records are what is worth shrinking.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub workers: usize,
    pub seed: u64,
}

pub fn schedule() -> impl Strategy<Value = Schedule> {
    (1..=3usize, any::<u64>()).prop_map(|(workers, seed)| Schedule { workers, seed })
}

/// Cases of each property: a few seconds in the dev profile, or as many as `PROPTEST_CASES` says.
pub fn config() -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: wanted.map_or(192, |cases| cases.parse().expect("a number")),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % bound
    }
}

#[derive(Clone)]
enum Command<R> {
    /// Records in one message of the given time.
    Send(u64, Vec<R>),
    /// No further record before this epoch.
    Advance(u64),
    /// Let the worker run.
    Step,
}

/// One worker's commands. Records of epoch `e` are sent in some round `<= e`; a worker that does not advance in a
/// round closes several epochs at once in a later one.
fn script<R: Clone>(
    schedule: Schedule,
    records: &[(u64, R)],
    epochs: u64,
    mixed_messages: bool,
) -> Vec<Vec<Command<R>>> {
    let random = &mut Random(schedule.seed);
    let mut rounds: Vec<Vec<Vec<(u64, R)>>> = vec![vec![Vec::new(); schedule.workers]; epochs as usize];
    let hurry = random.below(3);
    for (epoch, record) in records {
        let early = if hurry == 0 {
            0
        } else {
            random.below(hurry * 2).min(*epoch as usize)
        };
        rounds[*epoch as usize - early][random.below(schedule.workers)].push((*epoch, record.clone()));
    }
    let mut scripts = vec![Vec::new(); schedule.workers];
    let mut at = vec![0; schedule.workers];
    for (round, workers) in (0..epochs).zip(rounds) {
        for (worker, mut records) in workers.into_iter().enumerate() {
            let script = &mut scripts[worker];
            if random.below(3) > 0 {
                script.push(Command::Advance(round));
                at[worker] = round;
            }
            // any order within the round
            for place in (1..records.len()).rev() {
                records.swap(place, random.below(place + 1));
            }
            let size = 1 + random.below(records.len().max(1));
            while !records.is_empty() {
                let batch: Vec<_> = records.drain(..size.min(records.len())).collect();
                if mixed_messages && random.below(2) == 0 {
                    script.push(Command::Send(
                        at[worker],
                        batch.into_iter().map(|(_, record)| record).collect(),
                    ));
                } else {
                    let mut by_time: BTreeMap<u64, Vec<R>> = BTreeMap::new();
                    batch
                        .into_iter()
                        .for_each(|(time, record)| by_time.entry(time).or_default().push(record));
                    script.extend(by_time.into_iter().map(|(time, records)| Command::Send(time, records)));
                }
                script.extend((0..random.below(3)).map(|_| Command::Step));
            }
            script.extend((0..random.below(4)).map(|_| Command::Step));
        }
    }
    scripts
}

/// Runs the dataflow that `build` makes over the commands, and returns all that came out of it.
fn run<R, O>(
    scripts: Vec<Vec<Command<R>>>,
    build: impl for<'s> Fn(Stream<'s, u64, Vec<R>>) -> VecCollection<'s, u64, O, isize> + Send + Sync + 'static,
) -> Vec<Update<O>>
where
    R: ExchangeData,
    O: ExchangeData,
{
    // the other workers would wait for ever for one that has panicked
    static ABORT: Once = Once::new();
    ABORT.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            hook(info);
            if std::thread::current()
                .name()
                .is_some_and(|name| name.starts_with("timely"))
            {
                // past the test runner's capture, which an abort would lose
                let _ = writeln!(std::io::stderr(), "{info}");
                std::process::abort();
            }
        }));
    });

    let results = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&results);
    let config = timely::Config::process(scripts.len());
    let scripts = Mutex::new(scripts);
    let guards = timely::execute(config, move |worker| {
        let commands = Rc::new(RefCell::new(VecDeque::new()));
        let (inbox, results) = (Rc::clone(&commands), Arc::clone(&shared));
        let wake = worker.dataflow::<u64, _, _>(|scope| {
            let mut wake = None;
            let records = source(scope, "Script", |capability, info| {
                wake = Some(scope.activator_for(info.address));
                let mut capability = Some(capability);
                move |output| {
                    for command in inbox.borrow_mut().drain(..) {
                        match (command, capability.as_mut()) {
                            (Some(Command::Send(time, mut records)), Some(capability)) => {
                                output.session(&capability.delayed(&time)).give_container(&mut records);
                            }
                            (Some(Command::Advance(time)), Some(capability)) => capability.downgrade(&time),
                            (None, _) => capability = None,
                            _ => {}
                        }
                    }
                }
            });
            build(records).inspect_batch(move |_, updates| results.lock().unwrap().extend_from_slice(updates));
            wake.expect("the source has been built")
        });
        let script = std::mem::take(&mut scripts.lock().unwrap()[worker.index()]);
        for command in script {
            if let Command::Step = command {
                wake.activate();
                worker.step();
            } else {
                commands.borrow_mut().push_back(Some(command));
            }
        }
        commands.borrow_mut().push_back(None);
        wake.activate();
    });
    for result in guards.expect("workers").join() {
        result.expect("a worker's end");
    }
    Arc::into_inner(results)
        .expect("the workers have ended")
        .into_inner()
        .unwrap()
}

/// Asserts that the updates accumulate to `expected(epoch)` at every epoch, and that none of them cancel.
fn check<O: Ord + Clone + Debug>(mut updates: Vec<Update<O>>, epochs: u64, mut expected: impl FnMut(u64) -> Vec<O>) {
    let count = updates.len();
    differential_dataflow::consolidation::consolidate_updates(&mut updates);
    assert_eq!(updates.len(), count, "not only net changes were emitted");
    for epoch in 0..epochs {
        let mut got = updates.clone();
        got.retain_mut(|update| std::mem::take(&mut update.1) <= epoch);
        differential_dataflow::consolidation::consolidate_updates(&mut got);
        let mut expected: Vec<Update<O>> = expected(epoch).into_iter().map(|data| (data, 0, 1)).collect();
        differential_dataflow::consolidation::consolidate_updates(&mut expected);
        assert_eq!(got, expected, "at epoch {epoch}");
    }
}

/// Runs an operator over a collection's changes and compares it with `naive` of the accumulated input.
pub fn compare<D, O>(
    schedule: Schedule,
    changes: &[Update<D>],
    operator: impl for<'s> Fn(VecCollection<'s, u64, D, isize>) -> VecCollection<'s, u64, O, isize> + Send + Sync + 'static,
    naive: impl Fn(&BTreeMap<D, isize>) -> Vec<O>,
) where
    D: ExchangeData + Hash,
    O: ExchangeData,
{
    use differential_dataflow::AsCollection;
    let epochs = 2 + changes.iter().map(|change| change.1).max().unwrap_or(0);
    let records: Vec<_> = changes.iter().map(|change| (change.1, change.clone())).collect();
    let updates = run(script(schedule, &records, epochs, true), move |records| {
        operator(records.as_collection())
    });
    check(updates, epochs, |epoch| {
        let mut input = BTreeMap::new();
        for (data, _, diff) in changes.iter().filter(|change| change.1 <= epoch) {
            *input.entry(data.clone()).or_default() += diff;
        }
        input.retain(|_, count| *count != 0);
        naive(&input)
    });
}

/// Runs an operator over a stream of records and compares it with `naive` of all records up to each epoch.
pub fn compare_stream<R, O>(
    schedule: Schedule,
    records: &[(u64, R)],
    operator: impl for<'s> Fn(Stream<'s, u64, Vec<R>>) -> VecCollection<'s, u64, O, isize> + Send + Sync + 'static,
    naive: impl Fn(&[R]) -> Vec<O>,
) where
    R: ExchangeData,
    O: ExchangeData,
{
    let epochs = 2 + records.iter().map(|record| record.0).max().unwrap_or(0);
    let updates = run(script(schedule, records, epochs, false), operator);
    check(updates, epochs, |epoch| {
        let seen: Vec<R> = records
            .iter()
            .filter(|record| record.0 <= epoch)
            .map(|record| record.1.clone())
            .collect();
        naive(&seen)
    });
}

/// Changes that keep a multiset valid at the end of every epoch: each wish adds one or three copies of its item, or removes
/// one or all when it says so and there are any. With `set`, an item is added once, and not while it is there.
///
/// Epochs are those of the wishes, in order; some have none.
pub fn changes<D: Ord + Clone>(wishes: &[(u8, bool, D)], set: bool) -> Vec<Update<D>> {
    let mut copies: BTreeMap<D, isize> = BTreeMap::new();
    let mut epoch = 0;
    let mut changes = Vec::new();
    for (wait, remove, item) in wishes {
        // most changes share an epoch with the one before; some epochs pass without any
        epoch += u64::from(wait.saturating_sub(6));
        let copies = copies.entry(item.clone()).or_default();
        let several = !set && wait % 3 == 0;
        let diff = match *copies {
            1.. if *remove || set => -if several { *copies } else { 1 },
            _ if several => 3,
            _ => 1,
        };
        *copies += diff;
        changes.push((item.clone(), epoch, diff));
    }
    changes
}

/// Wishes for [`changes`] over items of a strategy.
pub fn wishes<D: Debug>(items: impl Strategy<Value = D>) -> impl Strategy<Value = Vec<(u8, bool, D)>> {
    prop::collection::vec((0..9u8, any::<bool>(), items), 0..120)
}
