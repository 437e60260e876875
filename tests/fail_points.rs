//! A process that is killed, stopped or held at the boundary between two stages. These tests take a program with fail points:
//! `cargo test --features fail-points --test fail_points`; `make test` runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cc_archiver::fail_point::POINTS;
use support::old_archive::{groups_of, write_file};
use support::{Level, MIDNIGHT, Row, Run, Snapshot, T0, Tree, archiver, assert_same_rows, files_below, noise, rows_of, s3};
use victim::{Site, signal, wait, was_killed};

#[path = "support/log.rs"]
mod log;
mod support;
#[path = "faults/victim.rs"]
mod victim;

const VARIABLE: &str = "CC_ARCHIVER_FAIL_POINT";

/// Points that only an object of several parts comes to.
const OF_PARTS: [&str; 1] = ["sent"];

/// Points that only a run comes to which deletes.
const OF_PRUNING: [&str; 2] = ["to-be-deleted", "deleted"];

/// Points that only a compaction comes to.
const OF_COMPACTING: [&str; 6] = ["joined", "compacted", "compared", "tabled", "to-be-replaced", "replaced"];

/// Points that only an expiry comes to.
const OF_EXPIRING: [&str; 4] = ["floor-raised", "floor-tabled", "to-be-expired", "expired"];

/// Points that only a run comes to which looks at logs.
const OF_LOGS: [&str; 5] = ["held", "judged", "logs-proven", "to-be-released", "released"];

/// Points of runs that archive.
fn points() -> impl Iterator<Item = &'static str> {
    POINTS.into_iter().filter(|point| !OF_PARTS.contains(point) && !OF_COMPACTING.contains(point) && !OF_EXPIRING.contains(point) && !OF_LOGS.contains(point))
}

/// The site's command, which deletes if the point takes that.
fn command(site: &Site, point: &str) -> Command {
    let mut command = site.command();
    if OF_PRUNING.contains(&point) {
        command.args(["--prune-after", "1s"]);
    }
    command
}

/// A process that waits at a point until it is let go.
struct Held {
    child: Child,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Held {
    fn at(command: &mut Command, point: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("held");
        let mut child = command.env(VARIABLE, format!("{point}:0:{}", file.display())).spawn().expect("it starts");
        let begun = Instant::now();
        while !file.exists() {
            assert!(child.try_wait().expect("its state").is_none(), "it ended before it came to {point}");
            assert!(begun.elapsed() < Duration::from_secs(60), "it never came to {point}");
            std::thread::sleep(Duration::from_millis(2));
        }
        Self { child, file, _folder: folder }
    }

    fn let_go(mut self) -> Run {
        fs::remove_file(&self.file).expect("removed");
        wait(&mut self.child);
        self.child.wait_with_output().expect("its output").into()
    }
}

/// Kills a run when it comes to a point for the `nth` time. False if it did not.
fn killed(site: &Site, point: &str, nth: usize) -> bool {
    let mut child = command(site, point).env(VARIABLE, format!("{point}:{nth}")).spawn().expect("it starts");
    let status = wait(&mut child);
    assert!(was_killed(status) || status.code() == Some(0), "{point} {nth}: {status:?}");
    was_killed(status)
}

/// A tree with a log, an archive and a hold.
struct Logged {
    tree: Tree,
    folder: tempfile::TempDir,
}

impl Logged {
    fn new() -> Self {
        let logged = Self { tree: Tree::new(), folder: tempfile::tempdir().expect("a folder") };
        let samples: Vec<(i64, f32)> = noise(7, 200).into_iter().enumerate().map(|(i, value)| (MIDNIGHT - 6_000 + 60 * i as i64, value)).collect();
        logged.tree.write("c/n1/current.wal", &log::log_of(&samples));
        logged
    }

    /// A run, which is killed when it comes to the point for the `nth` time.
    fn run(&self, kill_at: Option<(&str, usize)>) -> bool {
        let mut command = archiver();
        command.arg("archive").arg(self.tree.path()).arg(self.folder.path().join("archive"));
        command.arg("--wal-hold").arg(self.folder.path().join("hold")).args(["--progress", "never"]);
        if let Some((point, nth)) = kill_at {
            command.env(VARIABLE, format!("{point}:{nth}"));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let status = wait(&mut child);
        assert!(was_killed(status) || status.code() == Some(0), "{kill_at:?}: {status:?}");
        was_killed(status)
    }
}

#[test]
fn a_kill_at_any_boundary_neither_loses_nor_doubles_what_only_a_log_has() {
    for point in points().filter(|point| !OF_PRUNING.contains(point)).chain(OF_LOGS) {
        let mut was_reached = false;
        for nth in [0, 1, 2] {
            let site = Logged::new();
            was_reached |= site.run(Some((point, nth)));
            site.run(None);
            // the store has crashed: its next snapshot begins at the restart
            fs::remove_file(site.tree.path().join("c/n1/current.wal")).expect("removed");
            let restarted = Snapshot::minutes(MIDNIGHT + 3 * 3_600, noise(8, 5));
            site.tree.bin("c", "n1", &restarted);
            was_reached |= site.run(Some((point, nth)));
            site.run(None);
            let mut times: Vec<i64> = rows_of(&files_below(&site.folder.path().join("archive"))).iter().map(|row| row.timestamp).collect();
            times.sort_unstable();
            let expected: Vec<i64> = (0..200).map(|i| MIDNIGHT - 6_000 + 60 * i).chain((0..5).map(|i| restarted.from + 60 * i)).collect();
            assert_eq!(times, expected, "{point} {nth}");
            let held = files_below(&site.folder.path().join("hold")).into_keys().filter(|name| name.ends_with(".wal"));
            assert_eq!(held.count(), 0, "{point} {nth}: nothing is held any more");
        }
        assert!(was_reached, "no run comes to {point}");
    }
}

#[test]
fn a_kill_at_any_boundary_of_stages_loses_and_doubles_nothing() {
    for point in points() {
        assert!(killed(&Site::small(), point, 0), "no run comes to {point}");
        for nth in [0, 1, 4] {
            let site = Site::small();
            killed(&site, point, nth);
            site.assert_completes();
        }
    }
}

#[test]
fn kills_one_after_the_other_lose_and_double_nothing() {
    let site = Site::small();
    for nth in [0, 1, 2] {
        for point in points().chain(OF_PARTS) {
            killed(&site, point, nth);
            site.assert_whole();
        }
    }
    site.assert_completes();
}

#[test]
fn a_kill_in_the_middle_of_an_object_of_parts_loses_and_doubles_nothing() {
    for point in ["encoded", "finishing", "sent", "completed", "visible"] {
        let site = Site::large();
        assert!(killed(&site, point, 0), "no run comes to {point}");
        site.assert_completes();
    }
}

#[test]
fn a_run_that_is_asked_to_stop_at_any_boundary_leaves_nothing_half_done() {
    for point in points() {
        let site = Site::small();
        let held = Held::at(&mut command(&site, point), point);
        signal(&held.child, "TERM");
        // the signal is there before the run goes on
        std::thread::sleep(Duration::from_millis(50));
        let begun = Instant::now();
        let run = held.let_go();
        assert!(begun.elapsed() < Duration::from_secs(8), "{point}: it took {:?}", begun.elapsed());
        // at the end there is nothing left to stop
        let near_the_end = ["visible", "proven", "window-done", "done"].contains(&point);
        assert!(run.code == 5 || near_the_end && run.code == 0, "{point}: {}\n{}", run.code, run.stderr);
        if site.target().exists() {
            let left: Vec<_> = files_below(&site.target()).into_keys().filter(|key| key.starts_with("_tmp/") && !support::is_marker(key)).collect();
            assert_eq!(left, [""; 0], "{point}");
        }
        site.assert_completes();
    }
}

#[test]
fn a_second_process_is_turned_away_while_one_is_at_work() {
    let site = Site::small();
    let held = Held::at(&mut site.command(), "planned");
    let second = Run::from(site.command().output().expect("it starts")).expect(4);
    assert!(second.stderr.contains("another run holds"), "{}", second.stderr);
    held.let_go().expect(0);
    site.assert_completes();
}

#[test]
fn a_lock_ends_with_its_process() {
    let site = Site::small();
    assert!(killed(&site, "planned", 0));
    // at once, without waiting for anything
    site.assert_completes();
}

#[test]
fn no_upload_stays_open_when_a_run_is_asked_to_stop() {
    for point in ["encoded", "finishing", "sent"] {
        let (site, bucket) = (Site::large(), s3());
        let mut command = archiver();
        command.arg("archive").arg(site.tree.path()).arg(bucket.url("archive")).args(["--json", "--progress", "never", "--compression", "none"]);
        command.envs(bucket.environment()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let held = Held::at(&mut command, point);
        signal(&held.child, "TERM");
        std::thread::sleep(Duration::from_millis(50));
        let begun = Instant::now();
        held.let_go().expect(5);
        assert!(begun.elapsed() < Duration::from_secs(8), "{point}: it took {:?}", begun.elapsed());
        assert_eq!(bucket.open_uploads(), [""; 0], "{point}");
        // what became visible before it stopped is whole
        rows_of(&bucket.objects("archive/"));
    }
}

// ---------------------------------------------------------------- files that change while they are read

/// The program, ready to archive a tree with the least memory.
fn archiving(tree: &Tree, target: &Path) -> Command {
    let mut command = archiver();
    command.arg("archive").arg(tree.path()).arg(target).args(["--json", "--progress", "never", "--memory", "64MiB"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Holds a run while it reads the only snapshot, does something to it, and lets the run go on. Then the next run archives what
/// is on disk.
fn changed_while_read(point: &str, change: impl Fn(&Tree, &Snapshot), expected: Option<&Snapshot>) {
    let tree = Tree::new();
    let old = Snapshot::minutes(T0, [1.0, 2.0, 3.0]);
    tree.bin("c", "n1", &old);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let command = || archiving(&tree, folder.path());
    let held = Held::at(&mut command(), point);
    change(&tree, &old);
    let run = held.let_go();
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let seen = rows_of(&files_below(folder.path()));
    let (before, after) = (old.rows("c", "n1"), expected.map(|new| new.rows("c", "n1")).unwrap_or_default());
    assert!(seen.is_empty() || seen == before || seen == after, "neither the old file nor the new one: {seen:?}");
    if let Some(new) = expected {
        Run::from(command().output().expect("it starts")).expect(0);
        let mut all = before;
        all.retain(|row| seen.contains(row));
        all.extend(new.rows("c", "n1").into_iter().filter(|row| !all.iter().any(|held| held.timestamp == row.timestamp)).collect::<Vec<_>>());
        assert_same_rows("the archive", rows_of(&files_below(folder.path())), &all);
    }
}

#[test]
fn a_file_that_is_rewritten_while_it_is_read_waits_for_the_next_run() {
    let new = Snapshot::minutes(T0, [4.0, 5.0, 6.0]);
    for point in ["planned", "reading"] {
        changed_while_read(point, |tree, _| tree.bin("c", "n1", &new), Some(&new));
        // by rename, as cc-backend writes .bin
        let renamed = |tree: &Tree, _: &Snapshot| {
            tree.write("c/n1/new.tmp", &new.bin());
            fs::rename(tree.path().join("c/n1/new.tmp"), tree.path().join(format!("c/n1/{T0}.bin"))).expect("renamed");
        };
        changed_while_read(point, renamed, Some(&new));
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_waits_for_the_next_run() {
    let grown = Snapshot::minutes(T0, [1.0, 2.0, 3.0, 4.0]);
    for point in ["planned", "reading"] {
        changed_while_read(point, |tree, _| tree.bin("c", "n1", &grown), Some(&grown));
    }
}

#[test]
fn a_file_that_shrinks_or_vanishes_while_it_is_read_stops_no_run() {
    for point in ["planned", "reading"] {
        changed_while_read(point, |tree, old| tree.write(&format!("c/n1/{T0}.bin"), &old.bin()[..20]), None);
        changed_while_read(point, |tree, _| fs::remove_file(tree.path().join(format!("c/n1/{T0}.bin"))).expect("removed"), None);
    }
}

/// A host that the least memory has no room for: its values stay on disk, and its rows are handed over in several pieces.
fn large_host() -> (Tree, Snapshot) {
    let values = support::noise(3, 64 * 80_000);
    let root = values.chunks(80_000).enumerate().fold(Level::default(), |root, (m, values)| root.metric(&format!("m{m:02}"), 1, MIDNIGHT, values));
    let (tree, snapshot) = (Tree::new(), Snapshot { from: MIDNIGHT, to: MIDNIGHT + 80_000, root });
    tree.bin("c", "n1", &snapshot);
    (tree, snapshot)
}

/// The archive has the whole host, in one object.
fn assert_whole(target: &Path, host: &Snapshot) {
    let objects = files_below(target);
    assert!(objects.len() == 1 && objects.keys().all(|key| key.ends_with(".parquet")), "{:?}", objects.keys());
    objects.iter().for_each(|(key, bytes)| support::assert_same_host_metrics(key, bytes, host));
}

/// An undisturbed run archives it so.
fn assert_completes(tree: &Tree, target: &Path, host: &Snapshot) {
    Run::from(archiving(tree, target).output().expect("it starts")).expect(0);
    assert_whole(target, host);
}

/// Holds a run in the midst of a large host, does something to its file, and lets the run go on to this exit code. Then the file is as it was before, and
/// the next run leaves the whole host in one object.
fn large_file_changed(change: impl Fn(&Path), code: i32, check: impl Fn(&Run, &Path, &Snapshot)) {
    let ((tree, snapshot), folder) = (large_host(), tempfile::tempdir().expect("a temporary folder"));
    let file = tree.path().join(format!("c/n1/{MIDNIGHT}.bin"));
    let held = Held::at(&mut archiving(&tree, folder.path()), "merged");
    change(&file);
    check(&held.let_go().expect(code), folder.path(), &snapshot);
    let _ = fs::rename(file.with_extension("aside"), &file);
    assert_completes(&tree, folder.path(), &snapshot);
}

#[test]
fn a_large_file_that_is_written_to_in_the_midst_of_its_rows_fails_the_run_and_leaves_nothing() {
    let copied = |file: &Path| fs::copy(file, file.with_extension("aside")).expect("copied");
    let touched = |file: &Path| {
        copied(file);
        let file = fs::File::options().write(true).open(file).expect("opened");
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(5)).expect("its time set");
    };
    let cut_off = |file: &Path| {
        copied(file);
        let length = fs::metadata(file).expect("its status").len();
        fs::File::options().write(true).open(file).and_then(|file| file.set_len(length / 8 * 7)).expect("cut off");
    };
    for change in [&touched as &dyn Fn(&Path), &cut_off] {
        large_file_changed(change, 1, |run, target, _| {
            assert!(run.stderr.contains(&format!("c/n1/{MIDNIGHT}.bin: ")), "{}", run.stderr);
            let left: Vec<_> = files_below(target).into_keys().filter(|key| !support::is_marker(key)).collect();
            assert_eq!(left, [""; 0], "something is left");
        });
    }
}

#[test]
fn a_large_file_that_goes_or_is_replaced_in_the_midst_of_its_rows_is_archived_as_it_was_opened() {
    let gone = |file: &Path| fs::rename(file, file.with_extension("aside")).expect("moved away");
    // other bytes of the same size and time
    let replaced = |file: &Path| {
        let (aside, modified) = (file.with_extension("aside"), fs::metadata(file).and_then(|m| m.modified()).expect("its time"));
        fs::rename(file, &aside).expect("moved away");
        fs::write(file, fs::read(&aside).expect("read")).expect("written");
        support::change_a_value(file);
        fs::File::options().write(true).open(file).and_then(|file| file.set_modified(modified)).expect("its time set");
    };
    for change in [&gone as &dyn Fn(&Path), &replaced] {
        large_file_changed(change, 0, |_, target, snapshot| assert_whole(target, snapshot));
    }
}

#[test]
fn a_kill_between_two_pieces_of_a_host_loses_and_doubles_nothing() {
    for (point, nth) in [("merged", 1), ("handed-over", 1), ("encoded", 2)] {
        let ((tree, snapshot), folder) = (large_host(), tempfile::tempdir().expect("a temporary folder"));
        let mut child = archiving(&tree, folder.path()).env(VARIABLE, format!("{point}:{nth}")).spawn().expect("it starts");
        assert!(was_killed(wait(&mut child)), "no run comes to {point} for the {nth}th time");
        assert_completes(&tree, folder.path(), &snapshot);
    }
}

/// Three objects of a date, one for each run, all of them days old.
fn archived_in_three_runs() -> (Tree, tempfile::TempDir, Vec<Row>) {
    let (tree, folder, mut rows) = (Tree::new(), tempfile::tempdir().expect("a folder"), Vec::new());
    for hour in [0, 6, 12] {
        for host in ["a", "b"] {
            let snapshot = Snapshot::minutes(MIDNIGHT + 3_600 * hour, noise(hour as u64, 360));
            rows.extend(snapshot.rows("c", host));
            tree.bin("c", host, &snapshot);
        }
        support::archive(tree.path(), folder.path(), &[]).expect(0);
    }
    rows.sort();
    (tree, folder, rows)
}

fn compacting(archive: &Path) -> Command {
    for key in files_below(archive).keys().filter(|key| key.ends_with(".parquet")) {
        let file = fs::File::options().write(true).open(archive.join(key)).expect("opened");
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(2 * 86_400)).expect("set");
    }
    let mut command = archiver();
    command.arg("compact").arg(archive).args(["--json", "--progress", "never"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_kill_at_any_boundary_of_a_compaction_loses_and_doubles_nothing() {
    for point in OF_COMPACTING.into_iter().chain(["encoded", "finishing", "visible"]) {
        for nth in [0, 1, 2] {
            let (tree, folder, rows) = archived_in_three_runs();
            let mut child = compacting(folder.path()).env(VARIABLE, format!("{point}:{nth}")).spawn().expect("it starts");
            let was_killed = was_killed(wait(&mut child));
            assert!(was_killed || nth > 0, "no compaction comes to {point}");
            // what counts holds each row once: nothing is missed, nothing archived again, nothing found
            let again = support::archive(tree.path(), folder.path(), &[]).expect(0).summary();
            assert_eq!((again["files"].as_u64(), again["already_archived"].as_u64()), (Some(0), Some(6)), "{point} {nth}");
            Run::from(archiver().arg("verify").arg(folder.path()).arg("--read-data").output().expect("it starts")).expect(0);
            Run::from(compacting(folder.path()).output().expect("it starts")).expect(0);
            let objects = files_below(folder.path());
            assert_eq!(objects.keys().filter(|key| key.ends_with(".parquet")).count(), 1, "{point} {nth}: {:?}", objects.keys());
            assert_same_rows(&format!("{point} {nth}"), rows_of(&objects), &rows);
        }
    }
}

#[test]
fn a_kill_at_any_boundary_of_an_expiry_leaves_what_the_next_one_finishes() {
    for point in OF_EXPIRING {
        let (tree, folder, _) = archived_in_three_runs();
        let old = support::Snapshot::minutes(support::T0 - 10 * support::DAY, support::noise(9, 60));
        tree.bin("c", "n0", &old);
        support::archive(tree.path(), folder.path(), &[]).expect(0);
        Run::from(archiver().arg("table").arg(folder.path()).arg("--init").output().expect("it starts")).expect(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs() as i64;
        let keep = format!("{}s", now - support::MIDNIGHT);
        let expiring = || {
            let mut command = archiver();
            command.arg("expire").arg(folder.path()).args(["--keep", &keep, "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        };
        let mut child = expiring().env(VARIABLE, format!("{point}:0")).spawn().expect("it starts");
        assert!(was_killed(wait(&mut child)), "no expiry comes to {point}");
        // whatever is still there does not count, and nothing of it is archived again
        let again = support::archive(tree.path(), folder.path(), &[]).expect(0).summary();
        assert_eq!([&again["files"], &again["already_archived"], &again["below_the_floor"]], [0, 6, 1], "{point}");
        Run::from(archiver().arg("verify").arg(folder.path()).arg("--read-data").output().expect("it starts")).expect(0);
        let listed = Run::from(archiver().arg("ls").arg(folder.path()).arg("--json").output().expect("it starts")).expect(0).summary();
        assert_eq!(listed["clusters"][0]["dates"].as_array().map(Vec::len), Some(1), "{point}: {listed}");
        Run::from(expiring().output().expect("it starts")).expect(0);
        assert!(files_below(folder.path()).keys().all(|key| !key.contains("date=2026-02")), "{point}");
        assert_eq!(files_below(&folder.path().join("_cc-archiver/floor")).len(), 1, "{point}");
    }
}

#[test]
fn a_kill_at_any_boundary_of_an_import_loses_and_doubles_nothing() {
    let hosts: Vec<Snapshot> = (0..3).map(|seed| Snapshot::minutes(T0, noise(seed, 1_500))).collect();
    let rows: Vec<Row> = hosts.iter().enumerate().flat_map(|(i, snapshot)| snapshot.rows("c", &format!("n{i}"))).collect();
    let files = tempfile::tempdir().expect("a folder");
    let groups: Vec<_> = hosts.iter().enumerate().flat_map(|(i, snapshot)| groups_of("c", &[(&format!("n{i}"), std::slice::from_ref(snapshot))])).collect();
    write_file(&files.path().join("1772400000.parquet"), &groups, &[]);
    let others = ["locked", "reading"];
    for point in points().filter(|point| !OF_PRUNING.contains(point) && !others.contains(point)) {
        for nth in [0, 1, 4] {
            let folder = tempfile::tempdir().expect("a folder");
            let importing = || {
                let mut command = archiver();
                command.arg("import").args([files.path(), folder.path()]).args(["--json", "--progress", "never"]);
                command
            };
            let mut child = importing().env(VARIABLE, format!("{point}:{nth}")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            assert!(was_killed(wait(&mut child)) || nth > 0, "no import comes to {point}");
            Run::from(importing().output().expect("it starts")).expect(0);
            assert_same_rows(&format!("{point} {nth}"), rows_of(&files_below(folder.path())), &rows);
            let again = Run::from(importing().output().expect("it starts")).expect(0).summary();
            assert_eq!(again["objects_written"].as_u64(), Some(0), "{point} {nth}");
        }
    }
}
