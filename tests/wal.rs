//! Logs of hosts: what no snapshot has of them becomes rows, each once, and the logs stay as they are.

use std::collections::BTreeMap;
use std::path::Path;

use log::log_of;
use support::{Level, MIDNIGHT, Run, Snapshot, Tree, archive, archiver, assert_same_rows, files_below, fixture, ledger_of, noise, rows_of, run, s3};

#[path = "support/log.rs"]
mod log;
mod support;

fn lines(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(fixture(name)).expect("the expected rows");
    text.lines().skip(1).map(str::to_owned).collect()
}

/// The golden hosts that have logs, and nothing else.
fn golden_logs() -> Tree {
    let tree = Tree::new();
    for host in ["n06", "n07", "n08"] {
        let bytes = std::fs::read(fixture(&format!("golden/checkpoints/beta/{host}/current.wal"))).expect("read");
        tree.write(&format!("beta/{host}/current.wal"), &bytes);
    }
    tree
}

fn with_logs(tree: &Tree, place: &Path) -> Run {
    archive(tree.path(), place, &["--wal", "all"]).expect(0)
}

/// A number of the summary's part on logs.
fn count(run: &Run, name: &str) -> u64 {
    run.summary()["logs"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {}", run.stdout))
}

fn verified(place: &Path) {
    run(archiver().arg("verify").arg(place).args(["--read-data", "--decode"])).expect(0);
}

/// A snapshot of the host's metric `load`, a value a minute.
fn loads(from: i64, start: i64, values: &[f32]) -> Snapshot {
    let to = start + 60 * values.len() as i64;
    Snapshot { from, to, root: Level::default().metric("load", 60, start, values) }
}

/// Samples of `load` a minute, each so many s after the minute.
fn samples(from: i64, behind: i64, values: &[f32]) -> Vec<(i64, f32)> {
    values.iter().enumerate().map(|(i, value)| (from + 60 * i as i64 + behind, *value)).collect()
}

fn times(place: &Path) -> Vec<i64> {
    let mut times: Vec<i64> = rows_of(&files_below(place)).iter().map(|row| row.timestamp).collect();
    times.sort_unstable();
    times
}

#[test]
fn every_record_of_the_golden_logs_becomes_its_row_and_a_second_run_adds_none() {
    let (tree, place) = (golden_logs(), tempfile::tempdir().expect("a folder"));
    let before = tree.state();
    let first = with_logs(&tree, place.path());
    assert_same_rows("first", rows_of(&files_below(place.path())), lines("golden/expected-wal.csv"));
    assert_eq!((count(&first, "logs"), count(&first, "rows"), count(&first, "records")), (3, 331, 358));
    let objects = files_below(place.path());
    let second = with_logs(&tree, place.path());
    assert_eq!((count(&second, "rows"), count(&second, "taken")), (0, count(&first, "rows")));
    assert_eq!(objects, files_below(place.path()));
    assert_eq!(before, tree.state(), "the tree is as it was");
    verified(place.path());
}

#[test]
fn the_golden_tree_and_its_logs_are_archived_together() {
    let (tree, place) = (Tree::golden(), tempfile::tempdir().expect("a folder"));
    with_logs(&tree, place.path());
    let expected = [lines("golden/expected.csv"), lines("golden/expected-wal.csv")].concat();
    assert_same_rows("both", rows_of(&files_below(place.path())), expected);
    verified(place.path());
}

#[test]
fn without_the_option_no_log_is_looked_at() {
    let (tree, place) = (Tree::golden(), tempfile::tempdir().expect("a folder"));
    let run = archive(tree.path(), place.path(), &[]).expect(0);
    assert!(run.summary()["logs"].is_null());
    assert_same_rows("snapshots", rows_of(&files_below(place.path())), lines("golden/expected.csv"));
}

#[test]
fn logs_are_archived_to_s3() {
    let (tree, bucket) = (golden_logs(), s3());
    for rows in [331, 0] {
        let mut command = archiver();
        command.arg("archive").arg(tree.path()).arg(bucket.url("a")).args(["--wal", "all", "--json"]).envs(bucket.environment());
        assert_eq!(count(&run(&mut command).expect(0), "rows"), rows);
    }
    assert_same_rows("s3", rows_of(&bucket.objects("a")), lines("golden/expected-wal.csv"));
}

#[test]
fn damaged_bytes_of_a_log_are_said_and_a_torn_end_is_none() {
    let (tree, place) = (golden_logs(), tempfile::tempdir().expect("a folder"));
    let run = with_logs(&tree, place.path());
    let damage = run.summary()["logs"]["damage"].clone();
    let damage = damage.as_array().expect("a list");
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(damage[0]["path"].as_str().is_some_and(|path| path.ends_with("n08/current.wal")), "{damage:?}");
    assert!(damage[0]["reason"].as_str().is_some_and(|reason| reason.contains("bytes of the log were passed over")), "{damage:?}");
}

#[test]
fn of_a_log_that_grows_only_what_is_new_is_added() {
    let (tree, place) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let all = samples(MIDNIGHT, 7, &noise(1, 50));
    for (until, rows) in [(20, 20), (20, 0), (50, 30)] {
        tree.write("c/n1/current.wal", &log_of(&all[..until]));
        let run = with_logs(&tree, place.path());
        assert_eq!((count(&run, "rows"), count(&run, "taken")), (rows, until as u64 - rows));
    }
    assert_eq!(times(place.path()), all.iter().map(|(time, _)| *time).collect::<Vec<_>>());
    let objects = files_below(place.path());
    let entries: Vec<_> = objects.iter().filter(|(key, _)| key.ends_with(".parquet")).map(|(_, bytes)| ledger_of(bytes).expect("a ledger")).collect();
    let sources: Vec<(&str, u64)> =
        entries.iter().flatten().map(|entry| (entry["path"].as_str().expect("a path"), entry["rows"].as_u64().expect("a count"))).collect();
    assert_eq!(sources, [("n1/current.wal", 20), ("n1/current.wal", 30)]);
    verified(place.path());
}

#[test]
fn what_a_snapshot_has_is_not_doubled_whichever_comes_first() {
    let values = noise(2, 100);
    let log = log_of(&samples(MIDNIGHT, 13, &values));
    // the snapshot has half of them, at times of its own
    let snapshot = loads(MIDNIGHT, MIDNIGHT + 40, &values[..50]);
    let expected: usize = 100;
    let together = (Tree::new(), tempfile::tempdir().expect("a folder"));
    together.0.bin("c", "n1", &snapshot);
    together.0.write("c/n1/current.wal", &log);
    let run = with_logs(&together.0, together.1.path());
    assert_eq!((count(&run, "rows"), count(&run, "covered")), (50, 50));
    assert_eq!(times(together.1.path()).len(), expected);
    // the file is gone: its rows are in the archive
    std::fs::remove_file(together.0.path().join(format!("c/n1/{MIDNIGHT}.bin"))).expect("removed");
    let run = with_logs(&together.0, together.1.path());
    assert_eq!((count(&run, "rows"), count(&run, "covered"), count(&run, "taken")), (0, 50, 50));

    let log_first = (Tree::new(), tempfile::tempdir().expect("a folder"));
    log_first.0.write("c/n1/current.wal", &log);
    assert_eq!(count(&with_logs(&log_first.0, log_first.1.path()), "rows"), 100);
    log_first.0.bin("c", "n1", &snapshot);
    let run = with_logs(&log_first.0, log_first.1.path());
    assert_eq!((run.summary()["already_archived_rows"].as_u64(), count(&run, "rows")), (Some(50), 0));
    assert_eq!(times(log_first.1.path()).len(), expected);
    verified(log_first.1.path());
}

#[test]
fn samples_around_midnight_go_to_their_dates() {
    let (tree, place) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let all = samples(MIDNIGHT - 600, 7, &noise(3, 20));
    tree.write("c/n1/current.wal", &log_of(&all));
    with_logs(&tree, place.path());
    assert_eq!(times(place.path()).len(), 20);
    let mut dates = BTreeMap::<String, usize>::new();
    rows_of(&files_below(place.path())).iter().for_each(|row| *dates.entry(row.date.clone()).or_default() += 1);
    assert_eq!(dates.into_values().collect::<Vec<_>>(), [10, 10]);
    verified(place.path());
}
