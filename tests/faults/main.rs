//! Whatever goes wrong, no sample is lost or doubled: schedules of faults from seeds.
//!
//! `CC_ARCHIVER_FAULT_SEED=n cargo test --test faults schedules` plays one schedule, and tells it;
//! `CC_ARCHIVER_FAULT_SCHEDULES=n` plays so many.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use disk::Change;
use schedule::{Schedule, Totals};
use store::{Fault, Request};

mod check;
mod disk;
mod random;
mod schedule;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod table;

/// How many schedules are played unless the environment says otherwise.
const SCHEDULES: u64 = 1_400;
/// Failing seeds that are told before the test gives up.
const MOST_TOLD: usize = 3;

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// Memory, where there is a file system in it: schedules write and sync thousands of small files.
fn fast_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if tempfile::tempdir_in(memory).is_ok() { memory.to_owned() } else { std::env::temp_dir() }
}

fn play(seed: u64) -> Result<Totals, String> {
    let folder = tempfile::Builder::new().prefix("cc-archiver-faults").tempdir_in(fast_folder()).expect("a folder");
    let played = std::panic::catch_unwind(|| Schedule::of(seed).play(folder.path()));
    let panicked = |_| Err("a panic; see above".to_owned());
    played.unwrap_or_else(panicked).map_err(|e| format!("seed {seed}\n{e}\n\nplay it again: CC_ARCHIVER_FAULT_SEED={seed} cargo test --test faults schedules"))
}

#[test]
fn no_row_is_lost_or_doubled_in_any_of_the_schedules() {
    if let Some(seed) = number_from("CC_ARCHIVER_FAULT_SEED") {
        let totals = play(seed).unwrap_or_else(|e| panic!("{e}"));
        println!("{}\nseed {seed} is kept: {:#?}", totals.trace, totals.counts);
        return;
    }
    let (first, count) = (number_from("CC_ARCHIVER_FAULT_FIRST").unwrap_or(0), number_from("CC_ARCHIVER_FAULT_SCHEDULES").unwrap_or(SCHEDULES));
    let begun = Instant::now();
    let next = AtomicU64::new(first);
    let (totals, failures) = (Mutex::new(Totals::default()), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Totals::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failures.lock().expect("not poisoned").len() >= MOST_TOLD {
                        break;
                    }
                    match play(seed) {
                        Ok(totals) => mine.add(&totals),
                        Err(failure) => failures.lock().expect("not poisoned").push(failure),
                    }
                }
                totals.lock().expect("not poisoned").add(&mine);
            });
        }
    });
    let failures = failures.into_inner().expect("not poisoned");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let totals = totals.into_inner().expect("not poisoned");
    let seconds = begun.elapsed().as_secs();
    println!("{count} schedules in {seconds} s, {} instants, none of them lost or doubled", totals.instants);
    for (what, times) in &totals.counts {
        println!("{times:8}  {what}");
    }
    assert_all_happened(&totals, count);
}

/// A fault that never struck was not tested.
fn assert_all_happened(totals: &Totals, schedules: u64) {
    let mut expected: BTreeSet<String> = Fault::ALL.iter().map(|fault| format!("fault: {fault:?}")).collect();
    use Request::{Abort, Begin, Complete, Delete, Get, Head, List, Part, Put};
    expected.extend([List, Get, Head, Put, Begin, Part, Complete, Abort, Delete].map(|request| format!("fault at: {request:?}")));
    expected.extend(Change::ALL.iter().flat_map(|change| [format!("source: {change:?} during a run"), format!("source: {change:?} between runs")]));
    expected.extend(["Lost", "FlippedBit", "Truncated", "WrongBytes"].map(|what| format!("object: {what} later on")));
    let others = [
        "source: pruned",
        "prune: done",
        "prune: nothing",
        "prune: interrupted",
        "source: removed by cc-backend when it was archived",
        "process: 2 runs at once of 1 trees",
        "process: 2 runs at once of 1 trees, without a common lock",
        "process: 2 runs at once of 2 trees",
        "process: 3 runs at once of 2 trees",
        "process: 3 runs at once of 2 trees, without a common lock",
        "server: conditions Kept",
        "server: conditions Ignored",
        "server: conditions TwoWinners",
        "object: Last removed by hand",
        "object: LastTwo removed by hand",
        "object: Middle removed by hand",
        "object: Own removed by hand",
        "object: put back",
        "row: twice, and named",
        "partition: planned anew",
        "compact: joined",
        "compact: nothing",
        "compact: failed",
        "compact: interrupted",
        "compact: killed",
        "compact: left unfinished",
        "compact: finished by another run",
        "compact: rows that stood twice are one",
        "expire: done",
        "expire: nothing",
        "expire: killed",
        "expire: failed",
        "table: made",
        "table: made anew",
        "table: failed",
        "table: killed",
        "table: right at the end",
        "process: late completion lands between runs",
        "process: late completion lands during a later run",
        "run: --date",
        "run: --newest-first",
        "run: done",
        "run: failed",
        "run: interrupted",
        "run: killed",
        "run: locked out",
    ];
    expected.extend(others.map(str::to_owned));
    let never: Vec<_> = expected.iter().filter(|what| !totals.counts.contains_key(*what)).collect();
    assert!(never.is_empty() || schedules < SCHEDULES, "never happened in {schedules} schedules: {never:?}");
}

/// A failing seed is worth something only if it fails again.
#[test]
fn the_same_seed_gives_the_same_trace_twice() {
    for seed in 0..60 {
        let [first, second] = [play(seed), play(seed)].map(|played| played.unwrap_or_else(|e| panic!("{e}")).trace);
        assert!(first.lines().count() > 10, "{first}");
        let other = first.lines().zip(second.lines()).find(|(a, b)| a != b);
        assert!(first == second, "seed {seed}: {other:?}");
    }
}
