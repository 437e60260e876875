//! Logs of hosts: what no snapshot has of them becomes rows, each once, and the logs stay as they are.

use std::collections::BTreeMap;
use std::path::Path;

use log::log_of;
use support::old_archive::{derived, of_file, write_file};
use support::{Level, MIDNIGHT, Row, Run, Snapshot, Tree, archive, archiver, assert_same_rows, files_below, fixture, ledger_of, noise, rows_of, run, s3};

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

/// Rows that were imported have no path: the log's samples are looked for among those of their scope and id.
#[test]
fn what_was_imported_is_not_taken_from_a_log_again() {
    let folder = || tempfile::tempdir().expect("a folder");
    let (tree, place, files, target) = (golden_logs(), folder(), folder(), folder());
    with_logs(&tree, place.path());
    let rows = rows_of(&files_below(place.path()));
    // all but those of one host
    let imported: Vec<Row> = rows.iter().filter(|row| row.hostname != "n07").cloned().collect();
    assert!(imported.iter().any(|row| row.selector.contains('/')), "there are levels below levels");
    let groups: Vec<_> = ["n06", "n08"].map(|host| imported.iter().filter(|row| row.hostname == host).map(of_file).collect()).into();
    write_file(&files.path().join("1.parquet"), &groups, &[]);
    run(archiver().arg("import").arg(files.path()).arg(target.path())).expect(0);
    let run = with_logs(&tree, target.path());
    let left = rows.iter().filter(|row| row.hostname == "n07").cloned();
    assert_same_rows("both", rows_of(&files_below(target.path())), derived(imported).into_iter().chain(left.clone()).collect::<Vec<_>>());
    assert_eq!(count(&run, "rows"), left.count() as u64);
    verified(target.path());
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

/// The objects look as if they had been written days ago, and are compacted.
fn compacted(place: &Path) {
    for key in files_below(place).keys().filter(|key| key.ends_with(".parquet")) {
        let file = std::fs::File::options().write(true).open(place.join(key)).expect("opened");
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400)).expect("set");
    }
    run(archiver().arg("compact").arg(place)).expect(0);
}

#[test]
fn what_was_taken_is_known_after_a_compaction_and_when_it_comes_back_by_restore() {
    let (tree, place, back) = (Tree::new(), tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let all = samples(MIDNIGHT, 7, &noise(20, 60));
    for until in [20, 60] {
        tree.write("c/n1/current.wal", &log_of(&all[..until]));
        with_logs(&tree, place.path());
    }
    compacted(place.path());
    assert_eq!(files_below(place.path()).keys().filter(|key| key.ends_with(".parquet")).count(), 1);
    assert_eq!(count(&with_logs(&tree, place.path()), "rows"), 0);
    verified(place.path());
    let restored = back.path().join("restored");
    run(archiver().arg("restore").arg(place.path()).arg(&restored)).expect(0);
    let again = archive(&restored, place.path(), &[]).expect(0);
    assert_eq!((again.summary()["rows_read"].as_u64(), again.summary()["rows_written"].as_u64()), (Some(60), Some(0)));
    assert_eq!(times(place.path()), all.iter().map(|(time, _)| *time).collect::<Vec<_>>());
}

#[test]
fn samples_of_dates_that_have_expired_are_not_taken_and_hold_no_log() {
    let site = Site::new();
    let all = samples(MIDNIGHT, 7, &noise(23, 60));
    site.append(&all[..20]);
    archive(site.tree.path(), site.archive.path(), &["--wal", "all"]).expect(0);
    run(archiver().arg("expire").arg(site.archive.path()).args(["--keep", "30days"])).expect(0);
    site.append(&all[20..]);
    let run = site.run();
    assert_eq!((count(&run, "rows"), count(&run, "expired"), count(&run, "waiting")), (0, 60, 0));
    // a tree in which nothing is would be named
    site.tree.write("c/n2/current.wal", &log_of(&[]));
    std::fs::remove_file(site.log()).expect("removed");
    assert_eq!(count(&site.run(), "released"), 1);
}

#[test]
fn a_snapshot_whose_samples_were_taken_from_a_log_can_be_pruned_and_the_log_stays() {
    let (tree, place) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let values = noise(21, 50);
    tree.write("c/n1/current.wal", &log_of(&samples(MIDNIGHT, 7, &values)));
    with_logs(&tree, place.path());
    tree.bin("c", "n1", &loads(MIDNIGHT, MIDNIGHT + 30, &values));
    tree.bin("c", "n1", &loads(MIDNIGHT + 7_200, MIDNIGHT + 7_200, &noise(22, 5)));
    with_logs(&tree, place.path());
    let pruned = run(archiver().arg("prune").arg(tree.path()).arg(place.path()).args(["--older-than", "1s", "--json"])).expect(0);
    assert_eq!(pruned.summary()["pruned"], 1);
    let left: Vec<String> = files_below(tree.path()).into_keys().collect();
    assert_eq!(left, [format!("c/n1/{}.bin", MIDNIGHT + 7_200), "c/n1/current.wal".into()]);
    assert_eq!(count(&with_logs(&tree, place.path()), "rows"), 0);
    assert_eq!(times(place.path()).len(), 55);
}

// ---- the hold ----

const HOUR: i64 = 3_600;

/// A store's tree, an archive, and a hold.
struct Site {
    tree: Tree,
    archive: tempfile::TempDir,
    hold: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self::with_hold_in(&std::env::temp_dir())
    }

    /// The hold lies somewhere else than the tree, perhaps on another file system.
    fn with_hold_in(folder: &Path) -> Self {
        let folders = || tempfile::tempdir().expect("a folder");
        Self { tree: Tree::new(), archive: folders(), hold: tempfile::tempdir_in(folder).expect("a folder") }
    }

    fn log(&self) -> std::path::PathBuf {
        self.tree.path().join("c/n1/current.wal")
    }

    fn append(&self, samples: &[(i64, f32)]) {
        let records = log_of(samples);
        let begun = self.log().exists();
        std::fs::create_dir_all(self.tree.path().join("c/n1")).expect("made");
        let mut log = std::fs::OpenOptions::new().append(true).create(true).open(self.log()).expect("opened");
        std::io::Write::write_all(&mut log, if begun { &records[4..] } else { &records }).expect("written");
    }

    fn hold(&self) -> String {
        self.hold.path().join("hold").to_str().expect("UTF-8").to_owned()
    }

    fn run(&self) -> Run {
        self.run_to(0)
    }

    /// A run that ends with this exit code.
    fn run_to(&self, code: i32) -> Run {
        archive(self.tree.path(), self.archive.path(), &["--wal-hold", &self.hold()]).expect(code)
    }

    /// Names of the logs that are held.
    fn held(&self) -> Vec<String> {
        files_below(self.hold.path()).into_keys().filter(|name| name.ends_with(".wal")).collect()
    }

    /// The store deletes the log.
    fn delete_log(&self) {
        std::fs::remove_file(self.log()).expect("removed");
    }

    /// A snapshot of another host, after which all samples of the first hours are decided.
    fn decide(&self) {
        self.tree.bin("c", "n9", &loads(MIDNIGHT + 20 * HOUR, MIDNIGHT + 20 * HOUR, &noise(30, 5)));
    }

    /// How many rows there are of a host.
    fn rows_of(&self, host: &str) -> usize {
        rows_of(&files_below(self.archive.path())).iter().filter(|row| row.hostname == host).count()
    }

    fn times(&self) -> Vec<i64> {
        times(self.archive.path())
    }
}

/// Twelve hours of samples, of which the first six come into a snapshot; then the store crashes, starts again, and writes two snapshots.
fn a_crash(site: &Site) -> [Run; 4] {
    let values = noise(4, 720);
    let all = samples(MIDNIGHT, 13, &values);
    site.append(&all[..500]);
    let first = site.run();
    site.append(&all[500..]);
    let second = site.run();
    // after the crash the store starts with an empty interval; its first snapshot begins at the restart
    std::fs::remove_file(site.log()).expect("removed");
    let later = noise(5, 60);
    site.tree.bin("c", "n1", &loads(MIDNIGHT + 12 * HOUR + 100, MIDNIGHT + 12 * HOUR + 100, &later));
    let third = site.run();
    [first, second, third, site.run()]
}

fn a_crash_costs_nothing(site: &Site, linked: u64) {
    let [first, second, third, last] = a_crash(site);
    assert_eq!((count(&first, "waiting"), count(&first, "rows")), (500, 0));
    assert_eq!((count(&first, "linked"), count(&first, "copied")), (linked, 1 - linked));
    assert_eq!((count(&second, "waiting"), count(&second, "rows")), (720, 0));
    assert_eq!((count(&third, "waiting"), count(&third, "rows"), count(&third, "released")), (0, 720, 1));
    assert_eq!((count(&last, "logs"), count(&last, "rows")), (0, 0));
    assert_eq!(site.times().len(), 720 + 60);
    assert_eq!(site.held(), [""; 0], "nothing is held any more");
    verified(site.archive.path());
}

#[test]
fn what_a_crash_would_cost_comes_from_the_link_that_is_held() {
    a_crash_costs_nothing(&Site::new(), 1);
}

#[test]
fn on_another_file_system_copies_are_held() {
    use std::os::unix::fs::MetadataExt;
    let site = Site::with_hold_in(Path::new("/dev/shm"));
    let device = |path: &Path| std::fs::metadata(path).expect("there").dev();
    assert_ne!(device(site.tree.path()), device(site.hold.path()), "the test needs two file systems: set TMPDIR to another one than /dev/shm");
    a_crash_costs_nothing(&site, 0);
}

#[test]
fn what_the_store_appends_after_the_last_run_is_in_the_link() {
    let site = Site::new();
    let all = samples(MIDNIGHT, 13, &noise(6, 100));
    site.append(&all[..1]);
    site.run();
    site.append(&all[1..]);
    std::fs::remove_file(site.log()).expect("removed");
    site.tree.bin("c", "n1", &loads(MIDNIGHT + 3 * HOUR, MIDNIGHT + 3 * HOUR, &noise(7, 5)));
    assert_eq!(count(&site.run(), "rows"), 100);
}

#[test]
fn regular_rounds_add_nothing_and_give_the_logs_up() {
    let site = Site::new();
    let values = noise(8, 6 * 60);
    for round in 0..6_usize {
        let from = MIDNIGHT + HOUR * round as i64;
        let of_round = &values[60 * round..][..60];
        site.append(&samples(from, 13, of_round));
        site.run();
        std::fs::remove_file(site.log()).expect("removed");
        // its first cell is as far off as in the store: by another offset each time
        site.tree.bin("c", "n1", &loads(from, from + [0, 7, 30, 59, 20, 13][round], of_round));
        let run = site.run();
        assert_eq!(count(&run, "rows"), 0, "{round}");
        assert_eq!(site.held().len(), if round == 0 { 1 } else { 2 }, "{round}: the last sample of a round is decided a round later");
    }
    assert_eq!(site.times().len(), 360);
}

#[test]
fn what_an_unarchived_snapshot_has_waits_for_it() {
    let site = Site::new();
    let values = noise(9, 120);
    site.append(&samples(MIDNIGHT, 13, &values));
    site.run();
    std::fs::remove_file(site.log()).expect("removed");
    site.tree.bin("c", "n1", &loads(MIDNIGHT, MIDNIGHT + 30, &values[..60]));
    site.tree.bin("c", "n1", &loads(MIDNIGHT + 4 * HOUR, MIDNIGHT + 4 * HOUR, &noise(10, 5)));
    // the first snapshot ends before this time, the second does not; samples behind it wait in any case
    let before = (MIDNIGHT + 1_800).to_string();
    let run = archive(site.tree.path(), site.archive.path(), &["--wal-hold", &site.hold(), "--before", &before]).expect(0);
    assert_eq!((count(&run, "rows"), count(&run, "waiting"), count(&run, "released")), (0, 120, 0));
    let run = site.run();
    assert_eq!((count(&run, "rows"), count(&run, "covered"), count(&run, "released")), (60, 60, 1));
    assert_eq!(site.times().len(), 125);
}

#[test]
fn a_hold_in_the_tree_or_over_the_archive_is_refused_and_a_dry_run_makes_none() {
    let site = Site::new();
    site.append(&samples(MIDNIGHT, 13, &noise(11, 5)));
    let tree = site.tree.path();
    let inside = tree.join("hold");
    for hold in [inside.to_str().expect("UTF-8"), site.archive.path().to_str().expect("UTF-8")] {
        let run = archive(tree, site.archive.path(), &["--wal-hold", hold]).expect(2);
        assert!(run.stderr.contains("hold of logs"), "{}", run.stderr);
    }
    let run = archive(tree, site.archive.path(), &["--wal-hold", &site.hold(), "--dry-run"]).expect(0);
    assert_eq!(run.summary()["logs"], 1);
    assert!(!Path::new(&site.hold()).exists());
}

#[test]
fn a_log_of_a_host_that_is_gone_from_the_tree_is_still_held_and_taken_when_all_is_asked_for() {
    let site = Site::new();
    site.append(&samples(MIDNIGHT, 13, &noise(12, 30)));
    site.tree.write("c/n2/current.wal", &log_of(&[]));
    site.run();
    std::fs::remove_dir_all(site.tree.path().join("c/n1")).expect("removed");
    let run = site.run();
    assert_eq!((count(&run, "rows"), count(&run, "waiting")), (0, 30), "no snapshot decides it");
    assert_eq!(run.summary()["logs"]["oldest_waiting"].as_i64(), Some(MIDNIGHT + 13));
    let run = archive(site.tree.path(), site.archive.path(), &["--wal-hold", &site.hold(), "--wal", "all"]).expect(0);
    assert_eq!((count(&run, "rows"), count(&run, "released")), (30, 1));
}

/// What a run has set aside, as text.
fn set_aside(run: &Run) -> String {
    run.summary()["set_aside"].to_string()
}

#[test]
fn a_hold_belongs_to_one_tree() {
    let (site, other) = (Site::new(), Site::new());
    site.append(&samples(MIDNIGHT, 13, &noise(13, 30)));
    site.run();
    // its snapshots would decide what is held of the first tree
    other.decide();
    for flags in [&["--wal-hold", &site.hold()][..], &["--wal-hold", &site.hold(), "--dry-run"]] {
        let refused = archive(other.tree.path(), other.archive.path(), flags).expect(2);
        assert!(refused.stderr.contains("belongs to the tree"), "{}", refused.stderr);
    }
    let mut command = archiver();
    let doctor = run(command.arg("doctor").arg(other.tree.path()).arg(other.archive.path()).args(["--wal-hold", &site.hold()]));
    assert!(doctor.stdout.contains("holds logs of another tree"), "{}", doctor.stdout);
    assert_eq!(site.held().len(), 1);
    site.delete_log();
    site.decide();
    assert_eq!((count(&site.run(), "rows"), site.held().len()), (30, 0));
}

#[test]
fn held_logs_of_a_host_whose_directory_cannot_be_listed_stay() {
    let site = Site::new();
    site.append(&samples(MIDNIGHT, 13, &noise(14, 30)));
    site.run();
    site.delete_log();
    site.decide();
    let (folder, elsewhere) = (site.tree.path().join("c/n1"), tempfile::tempdir().expect("a folder"));
    std::fs::remove_dir(&folder).expect("removed");
    std::os::unix::fs::symlink(elsewhere.path(), &folder).expect("made");
    let run = site.run_to(3);
    assert_eq!((count(&run, "rows"), count(&run, "released"), site.held().len()), (0, 0, 1));
    std::fs::remove_file(&folder).expect("removed");
    assert_eq!((count(&site.run(), "rows"), site.held().len()), (30, 0));
}

#[test]
fn a_log_that_is_not_understood_is_kept_and_named_and_others_are_taken() {
    let site = Site::new();
    let mut later_version = log_of(&samples(MIDNIGHT, 13, &noise(15, 30)));
    later_version[0] += 1;
    site.decide();
    // one that is cut before its first record has nothing in it
    site.tree.write("c/n1/current.wal", &later_version[..2]);
    site.run();
    site.delete_log();
    assert_eq!(count(&site.run(), "released"), 1);
    site.tree.write("c/n1/current.wal", &later_version);
    let run = site.run_to(3);
    assert!(set_aside(&run).contains("it is no log that is known"), "{}", set_aside(&run));
    site.delete_log();
    site.append(&samples(MIDNIGHT, 13, &noise(16, 20)));
    assert_eq!(count(&site.run_to(3), "rows"), 20);
    site.delete_log();
    assert_eq!((count(&site.run_to(3), "released"), site.held().len()), (1, 1));
    let held = files_below(site.hold.path());
    assert_eq!(held[&site.held()[0]], later_version);
}

#[test]
fn a_damaged_log_is_held_until_it_is_removed_and_a_torn_one_is_not() {
    let site = Site::new();
    site.decide();
    let mut damaged = log_of(&samples(MIDNIGHT, 13, &noise(17, 30)));
    damaged[300..500].fill(0);
    site.tree.write("c/n1/current.wal", &damaged);
    let run = site.run();
    let rows = count(&run, "rows");
    assert!((20..30).contains(&rows), "{rows}: the store has it yet");
    site.delete_log();
    for _ in 0..2 {
        let run = site.run_to(3);
        assert!(set_aside(&run).contains("bytes of it are damaged"), "{}", set_aside(&run));
        assert_eq!((count(&run, "rows"), count(&run, "taken"), site.held().len()), (0, rows, 1));
    }
    std::fs::remove_file(site.hold.path().join(&site.held()[0])).expect("removed");

    // the store crashed while it wrote, and went on
    let torn = log_of(&samples(MIDNIGHT + HOUR, 13, &noise(18, 30)));
    let behind = log_of(&samples(MIDNIGHT + 2 * HOUR, 13, &noise(19, 30)));
    site.tree.write("c/n1/current.wal", &[&torn[..torn.len() - 9], &behind[4..]].concat());
    let run = site.run();
    assert_eq!((count(&run, "rows"), run.summary()["logs"]["damage"].as_array().map(Vec::len)), (59, Some(1)));
    site.delete_log();
    assert_eq!((count(&site.run(), "released"), site.held().len()), (1, 0));
}

#[test]
fn samples_of_the_future_are_passed_over_and_named_and_old_ones_are_taken() {
    let site = Site::new();
    site.decide();
    let regular = samples(MIDNIGHT, 13, &noise(24, 10));
    site.append(&[&[(100, 1.0)], &regular[..], &[(4_102_444_800, 1.0), (253_402_300_799, 2.0), (i64::MAX, 3.0), (-1, 4.0)]].concat());
    let run = site.run();
    assert_eq!((count(&run, "rows"), count(&run, "waiting"), count(&run, "records")), (11, 0, 11));
    let damage = run.summary()["logs"]["damage"].to_string();
    assert!(damage.contains("4 samples of the log were passed over"), "{damage}");
    assert_eq!((site.rows_of("n1"), times(site.archive.path())[0]), (11, 100));
    site.delete_log();
    assert_eq!((count(&site.run(), "released"), site.held().len()), (1, 0));
    verified(site.archive.path());
}

#[test]
fn a_series_whose_frequency_has_changed_loses_no_sample() {
    let site = Site::new();
    let bits = |seed: u64, count: usize| noise(seed, count).into_iter().map(|value| f32::from(u8::from(value > 0.5))).collect::<Vec<f32>>();
    let every = |step: i64, start: i64, values: &[f32]| {
        let root = Level::default().metric("load", step, start, values);
        Snapshot { from: start, to: start + step * values.len() as i64, root }
    };
    site.tree.bin("c", "n1", &every(600, MIDNIGHT, &bits(25, 36)));
    site.tree.bin("c", "n1", &every(10, MIDNIGHT + 6 * HOUR, &bits(26, 720)));
    site.decide();
    let of_log: Vec<(i64, f32)> = bits(27, 720).into_iter().enumerate().map(|(i, value)| (MIDNIGHT + 8 * HOUR + 10 * i as i64 + 3, value)).collect();
    // the last one makes the run look at the times of the longer step, too
    site.append(&[&of_log[..], &[(MIDNIGHT + 5 * HOUR, 7.0)]].concat());
    let run = site.run();
    assert_eq!((count(&run, "rows"), count(&run, "shadowed"), count(&run, "waiting")), (720, 1, 0));
    assert_eq!(site.rows_of("n1"), 36 + 720 + 720);
}

#[test]
fn a_directory_that_is_renamed_takes_its_log_along() {
    let site = Site::new();
    let all = samples(MIDNIGHT, 13, &noise(28, 60));
    site.append(&all[..30]);
    site.run();
    std::fs::rename(site.tree.path().join("c/n1"), site.tree.path().join("c/n2")).expect("renamed");
    assert_eq!(count(&site.run(), "linked"), 1);
    assert_eq!(site.held().iter().filter(|name| name.contains("/n1/")).count(), 0, "{:?}", site.held());
    std::fs::remove_file(site.tree.path().join("c/n2/current.wal")).expect("removed");
    site.decide();
    assert_eq!(count(&site.run(), "rows"), 30);
    assert_eq!((site.rows_of("n1"), site.rows_of("n2")), (0, 30));
}

#[test]
fn two_snapshots_that_share_cells_do_not_double_what_a_log_gave() {
    let (tree, place) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let values = noise(29, 150);
    tree.write("c/n1/current.wal", &log_of(&samples(MIDNIGHT, 13, &values[..100])));
    with_logs(&tree, place.path());
    tree.bin("c", "n1", &loads(MIDNIGHT, MIDNIGHT + 40, &values[..100]));
    tree.bin("c", "n1", &loads(MIDNIGHT + 50 * 60, MIDNIGHT + 50 * 60 + 40, &values[50..]));
    archive(tree.path(), place.path(), &[]).expect(0);
    assert_eq!(times(place.path()).len(), 150);
}

#[test]
fn doctor_tries_a_link_also_where_another_one_was_left() {
    let site = Site::new();
    site.append(&samples(MIDNIGHT, 13, &noise(31, 10)));
    site.run();
    std::fs::write(Path::new(&site.hold()).join(".cc-archiver-trial"), "").expect("written");
    let said = || {
        let mut command = archiver();
        run(command.arg("doctor").arg(site.tree.path()).arg(site.archive.path()).args(["--wal-hold", &site.hold()])).stdout
    };
    assert!(!said().contains("no link can be made"), "{}", said());
    assert_eq!(site.held().len(), 1);
}

#[test]
fn logs_of_more_dates_than_objects_are_open_make_one_object_for_each_date() {
    let (tree, place) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    for host in 0..3 {
        let all: Vec<(i64, f32)> = (0..14).flat_map(|date| samples(MIDNIGHT + 24 * HOUR * date, 13, &noise(40 + host, 10))).collect();
        tree.write(&format!("c/n{host}/current.wal"), &log_of(&all));
    }
    let run = archive(tree.path(), place.path(), &["--wal", "all"]).expect(0);
    assert_eq!((count(&run, "rows"), count(&run, "taken"), count(&run, "records")), (420, 0, 420));
    assert_eq!(files_below(place.path()).keys().filter(|key| key.ends_with(".parquet")).count(), 14);
    assert_eq!(times(place.path()).len(), 420);
    assert_eq!((count(&with_logs(&tree, place.path()), "rows"), count(&with_logs(&tree, place.path()), "taken")), (0, 420));
    verified(place.path());
}
