//! `restore` writes checkpoints that hold exactly the archived rows, and leaves alone what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::error::Error;
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::store::Archive;
use cc_archiver::telemetry::Progress;
use clap::Parser;
use parquet::file::metadata::ParquetMetaDataReader;
use proptest::prelude::*;
use serde_json::Value;

use support::{
    DAY, Level, MIDNIGHT, Row, Run, Snapshot, T0, Tree, archive, archiver, assert_same_rows, block_on, files_below, fixture, noise, objects_in, rows_of, run,
    s3,
};

mod support;

fn restore(archive: &Path, dir: &Path, flags: &[&str]) -> Run {
    run(archiver().arg("restore").arg(archive).arg(dir).args(["--json", "--progress", "never"]).args(flags))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"))
}

/// The rows that a tree has, by an archive of its own.
fn rows_in_tree(tree: &Path) -> Vec<Row> {
    let again = folder();
    archive(tree, again.path(), &[]).expect(0);
    rows_of(&files_below(again.path()))
}

/// A tree of some snapshots of the cluster c, and its archive.
fn archived(snapshots: &[(&str, Snapshot)], flags: &[&str]) -> (Tree, tempfile::TempDir) {
    let (tree, target) = (Tree::new(), folder());
    snapshots.iter().for_each(|(host, snapshot)| tree.bin("c", host, snapshot));
    archive(tree.path(), target.path(), flags).expect(0);
    (tree, target)
}

fn two_hosts() -> [(&'static str, Snapshot); 2] {
    [("n1", Snapshot::minutes(MIDNIGHT, noise(1, 1_000))), ("n2", Snapshot::minutes(MIDNIGHT + 13, noise(2, 900)))]
}

// ---- what is written ----

#[test]
fn a_checkpoint_that_has_one_window_comes_back_byte_for_byte() {
    let core = Level::default().metric("flops", 30, MIDNIGHT + 30, vec![1.5, -0.0, f32::INFINITY, f32::MIN_POSITIVE / 4.0]);
    let socket = Level::default().metric("power", 60, MIDNIGHT, noise(3, 720)).child("core1", ("core", "1"), core);
    let root =
        Level::default().metric("load", 60, MIDNIGHT + 7, noise(4, 719)).metric("mem", 600, MIDNIGHT, vec![2.0]).child("socket0", ("socket", "0"), socket);
    let snapshot = Snapshot { from: MIDNIGHT, to: MIDNIGHT + 43_200, root };
    let (tree, target) = archived(&[("n1", snapshot)], &[]);
    let dir = folder();
    let report = restore(target.path(), &dir.path().join("new/r"), &[]).expect(0).summary();
    assert!(files_below(&dir.path().join("new/r")) == files_below(tree.path()), "{report}");
    assert_eq!((count(&report, "files"), count(&report, "hosts"), count(&report, "samples")), (1, 1, 720 + 719 + 4 + 1), "{report}");
    assert_eq!((report["first"].as_i64(), report["last"].as_i64()), (Some(MIDNIGHT), Some(MIDNIGHT + 60 * 719)), "{report}");
    let mode = |path: &str| std::fs::metadata(dir.path().join("new/r").join(path)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&format!("c/n1/{MIDNIGHT}.bin")) & 0o444, 0o444, "cc-backend's user may read it");
    assert_eq!(mode("c/n1") & 0o555, 0o555);
}

#[test]
fn json_has_the_same_series_with_null_where_nothing_was_measured() {
    let root = Level::default().metric("x", 60, MIDNIGHT, vec![0.1, f32::NAN, f32::NEG_INFINITY, -0.0]);
    let (_tree, target) = archived(&[("n1", Snapshot { from: MIDNIGHT, to: MIDNIGHT + 240, root })], &[]);
    let dir = folder();
    restore(target.path(), dir.path(), &["--format", "json", "--every", "6h"]).expect(0);
    let text = std::fs::read_to_string(dir.path().join(format!("c/n1/{MIDNIGHT}.json"))).expect("there");
    let to = MIDNIGHT + 21_600;
    let expected = r#"{"frequency":60,"start":1772323200,"data":[0.1,null,-1e39,-0]}"#;
    assert_eq!(text, format!(r#"{{"from":{MIDNIGHT},"to":{to},"metrics":{{"x":{expected}}},"children":{{}}}}"#));
    assert_same_rows("json", rows_in_tree(dir.path()), rows_of(&files_below(target.path())));
}

#[test]
fn the_golden_checkpoints_come_back_with_all_their_rows() {
    let (tree, target) = (Tree::golden(), folder());
    archive(tree.path(), target.path(), &[]).expect(0);
    let text = std::fs::read_to_string(fixture("golden/expected.csv")).expect("the expected rows");
    let expected: Vec<&str> = text.lines().skip(1).collect();
    for flags in [&["--format", "bin"][..], &["--format", "json"], &["--interval", "1h"], &["--interval", "24h"]] {
        let dir = folder();
        let report = restore(target.path(), dir.path(), &[flags, &["--cluster", "alpha,beta"]].concat()).expect(0).summary();
        assert_eq!(count(&report, "samples"), expected.len() as u64, "{report}");
        assert_same_rows(&flags.join(" "), rows_in_tree(dir.path()), &expected);
    }
}

#[test]
fn levels_with_any_name_come_back() {
    let leaf = || Level::default().metric("m/%\n\"", 60, T0, vec![1.0, 2.0]);
    let mut root = Level::default();
    for name in ["a/b", "a%2Fb", "%", "", "socket0", "ü \\", "socket"] {
        let (scope, id) = if name == "socket0" { ("socket", "0") } else { (name, "") };
        root = root.child(name, (scope, id), leaf().child(name, (scope, id), leaf()));
    }
    let (_tree, target) = archived(&[("n1", Snapshot { from: T0, to: T0 + 120, root })], &[]);
    let before = rows_of(&files_below(target.path()));
    assert_eq!(before.len(), 28);
    for format in ["bin", "json"] {
        let dir = folder();
        restore(target.path(), dir.path(), &["--format", format]).expect(0);
        assert_same_rows(format, rows_in_tree(dir.path()), &before);
    }
}

#[test]
fn only_the_wanted_clusters_hosts_and_times_are_restored() {
    let (tree, target, dir) = (Tree::new(), folder(), folder());
    for (cluster, host) in [("c", "n1"), ("c", "n2"), ("c", "m1"), ("d", "n1")] {
        tree.bin(cluster, host, &Snapshot::minutes(MIDNIGHT + DAY - 3_600, noise(1, 120)));
    }
    archive(tree.path(), target.path(), &[]).expect(0);
    let (from, to) = (MIDNIGHT + DAY - 1_800, MIDNIGHT + DAY + 60);
    let (from_text, to_text) = (from.to_string(), to.to_string());
    let flags = ["--cluster", "c", "--host", "n*", "--from", &from_text, "--to", &to_text];
    let report = restore(target.path(), dir.path(), &flags).expect(0).summary();
    let rows = rows_in_tree(dir.path());
    let expected = rows_of(&files_below(target.path()));
    let is_wanted = |row: &&Row| row.cluster == "c" && row.hostname.starts_with('n') && (from..to).contains(&row.timestamp);
    assert_same_rows("rows", &rows, expected.iter().filter(is_wanted));
    assert_eq!((rows.len(), count(&report, "hosts"), count(&report, "files")), (62, 2, 4), "{report}");
    // the first and the last file begin and end where the span does
    let names: Vec<String> = files_below(dir.path()).into_keys().filter(|name| name.starts_with("c/n1/")).collect();
    assert_eq!(names, [format!("c/n1/{from}.bin"), format!("c/n1/{}.bin", MIDNIGHT + DAY)]);
}

#[test]
fn what_two_objects_hold_of_a_host_goes_to_one_file() {
    let (tree, target) = archived(&[("n1", Snapshot::minutes(T0, noise(1, 60))), ("n3", Snapshot::minutes(T0, noise(5, 10)))], &[]);
    tree.bin("c", "n1", &Snapshot::minutes(T0 + 1_800, noise(2, 60)));
    tree.bin("c", "n2", &Snapshot::minutes(T0, noise(3, 60)));
    archive(tree.path(), target.path(), &[]).expect(0);
    assert_eq!(files_below(target.path()).len(), 2, "two objects");
    let dir = folder();
    let report = restore(target.path(), dir.path(), &[]).expect(0).summary();
    assert_eq!(count(&report, "files"), 3, "{report}");
    assert_same_rows("rows", rows_in_tree(dir.path()), rows_of(&files_below(target.path())));
}

#[test]
fn a_host_of_any_size_is_restored_within_the_memory() {
    // 30 million samples of one host: more than half of what there is, several times
    let root = (0..12).fold(Level::default(), |root, metric| root.metric(&format!("m{metric}"), 1, MIDNIGHT, noise(metric, 43_200)));
    let all = (0..58).fold(Level::default(), |level, core| level.child(&format!("core{core}"), ("core", &core.to_string()), root.clone()));
    let (tree, target) = archived(&[("n1", Snapshot { from: MIDNIGHT, to: MIDNIGHT + 43_200, root: all })], &["--memory", "512MiB"]);
    let dir = folder();
    let report = restore(target.path(), dir.path(), &["--memory", "64MiB", "--workers", "1"]).expect(0).summary();
    assert_eq!(count(&report, "samples"), 12 * 58 * 43_200, "{report}");
    assert_eq!(
        files_below(dir.path()).values().map(|bytes| bytes.len()).sum::<usize>(),
        files_below(tree.path()).values().map(|bytes| bytes.len()).sum::<usize>()
    );
    let peak = count(&report, "peak_memory");
    assert!(peak < 100 << 20, "{} MiB", peak >> 20);
}

// ---- again, and beside other files ----

#[test]
fn archiving_what_was_restored_adds_no_row() {
    let (_tree, target) = archived(&two_hosts(), &[]);
    let before = rows_of(&files_below(target.path()));
    for flags in [&["--interval", "1h"][..], &["--format", "json"]] {
        let dir = folder();
        restore(target.path(), dir.path(), flags).expect(0);
        let summary = archive(dir.path(), target.path(), &[]).expect(0).summary();
        assert_eq!((count(&summary, "rows_written"), count(&summary, "conflicting_rows")), (0, 0), "{summary}");
        assert_eq!(count(&summary, "already_archived_rows"), before.len() as u64, "{summary}");
    }
    assert_same_rows("rows", rows_of(&files_below(target.path())), before);
}

#[test]
fn a_run_goes_on_where_the_one_before_ended() {
    let (_tree, target) = archived(&two_hosts(), &[]);
    let dir = folder();
    let flags = ["--interval", "6h"];
    let first = restore(target.path(), dir.path(), &flags).expect(0).summary();
    let whole = files_below(dir.path());
    assert_eq!((count(&first, "files"), whole.len()), (6, 6), "{first}");
    // as a run leaves it that is killed
    std::fs::remove_file(dir.path().join(format!("c/n2/{MIDNIGHT}.bin"))).expect("removed");
    support::write(&dir.path().join("c/n2/.cc-archiver-x1.tmp"), b"half");
    let changed = |path: &Path| std::fs::metadata(path).and_then(|status| status.modified()).expect("a time");
    let kept = dir.path().join(format!("c/n1/{MIDNIGHT}.bin"));
    let before = changed(&kept);
    let second = restore(target.path(), dir.path(), &flags).expect(0).summary();
    assert_eq!((count(&second, "files"), count(&second, "files_there"), count(&second, "samples")), (1, 5, count(&first, "samples")), "{second}");
    assert!(files_below(dir.path()) == whole, "all is there, and nothing else");
    assert_eq!(changed(&kept), before, "it was not written again");
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    let (_tree, target) = archived(&two_hosts(), &[]);
    let dir = folder();
    let name = format!("c/n1/{MIDNIGHT}.bin");
    restore(target.path(), dir.path(), &[]).expect(0);
    let whole = files_below(dir.path());
    for other in [&b""[..], &whole[&name][..100], &[&whole[&name][..], b"x"].concat(), &b"\0".repeat(whole[&name].len())] {
        std::fs::write(dir.path().join(&name), other).expect("written");
        let run = restore(target.path(), dir.path(), &[]).expect(3);
        let report = run.summary();
        assert_eq!(std::fs::read(dir.path().join(&name)).expect("there"), other);
        assert_eq!(report["in_the_way"].as_array().map(Vec::len), Some(1), "{report}");
        assert!(report["in_the_way"][0].as_str().is_some_and(|path| path.ends_with(&name)), "{report}");
        assert_eq!(run.lines_of("ERROR").len(), 1, "{run:?}");
    }
}

#[test]
fn a_host_whose_folder_cannot_be_made_costs_itself() {
    let (_tree, target) = archived(&two_hosts(), &[]);
    let whole = folder();
    restore(target.path(), whole.path(), &["--cluster", "c"]).expect(0);
    let dir = folder();
    support::write(&dir.path().join("c/n1"), b"a file");
    let done = restore(target.path(), dir.path(), &["--cluster", "c", "--force"]).expect(3);
    let report = done.summary();
    let lost: Vec<&str> = report["lost"].as_array().expect("a list").iter().filter_map(|lost| lost.as_str()).collect();
    assert!(!lost.is_empty() && lost.iter().all(|lost| lost.starts_with("n1 all: ") && lost.contains("c/n1 cannot be made")), "{lost:?}");
    let others = |dir: &std::path::Path| files_below(dir).into_iter().filter(|(path, _)| !path.starts_with("c/n1")).collect::<Vec<_>>();
    assert_eq!(others(dir.path()), others(whole.path()));
    assert!(!others(dir.path()).is_empty());
    assert_eq!(count(&report, "hosts"), 1);
}

#[test]
fn a_directory_with_other_files_is_refused_unless_forced() {
    let (_tree, target) = archived(&two_hosts(), &[]);
    let from = MIDNIGHT.to_string();
    for other in [
        "notes.txt",
        "d/n1/1772323200.bin",
        "c/readme",
        "c/n1/current.wal",
        "c/n1/1772323200.json",
        "c/n1/1672323200.bin",
        "c/n1/1772330011.bin",
        "c/m1/1772323200.bin",
    ] {
        let dir = folder();
        support::write(&dir.path().join(other), b"mine");
        let flags = ["--cluster", "c", "--host", "n*", "--from", &from];
        let refused = restore(target.path(), dir.path(), &flags).expect(2);
        let named = other.split('/').take(if other.starts_with('d') { 1 } else { 3 }).collect::<Vec<_>>().join("/");
        let named = if other.starts_with("c/m1") { "c/m1" } else { &named };
        assert!(refused.stderr.contains(&format!("would not write: {named} ")), "{other}: {}", refused.stderr);
        assert_eq!(files_below(dir.path()).len(), 1, "nothing was written");
        let report = restore(target.path(), dir.path(), &[&flags[..], &["--force"]].concat()).expect(0).summary();
        assert_eq!(count(&report, "files"), 4, "{report}");
        assert_eq!(files_below(dir.path())[other], &b"mine"[..]);
    }
}

#[test]
fn a_dry_run_says_what_would_come_and_touches_nothing() {
    let (_tree, target) = archived(&two_hosts(), &[]);
    let dir = folder();
    let place = dir.path().join("r");
    let report = restore(target.path(), &place, &["--dry-run"]).expect(0).summary();
    assert!(!place.exists());
    let plan = &report["plan"];
    assert_eq!((count(plan, "hosts"), count(plan, "rows"), count(plan, "files"), count(plan, "partitions")), (2, 1_900, 4, 1), "{report}");
    let real = restore(target.path(), &place, &[]).expect(0).summary();
    assert!(count(&real, "bytes") <= count(plan, "bytes") && count(plan, "bytes") < 2 * count(&real, "bytes"), "{plan} {real}");
    let text = run(archiver().arg("restore").arg(target.path()).arg(&place).arg("--dry-run")).expect(0).stdout;
    assert!(text.contains("files             about 4\n") && text.contains(" are free\n"), "{text}");
}

#[test]
fn the_report_says_what_to_do_with_the_files() {
    let (_tree, target) = archived(&two_hosts(), &[]);
    let dir = folder();
    let text = run(archiver().arg("restore").arg(target.path()).arg(dir.path())).expect(0).stdout;
    assert!(text.starts_with("files             4 written, 0 were there\nhosts             2\nsamples           1,900\n"), "{text}");
    assert!(text.contains("2026-03-01T00:00:00Z, 2026-03-01T16:39:00Z"), "{text}");
    assert!(text.contains("\nNext: stop cc-backend, copy what is in ") && text.contains("metric-store.checkpoints.directory"), "{text}");
}

// ---- what goes wrong ----

#[test]
fn slips_are_refused_with_a_hint() {
    let (tree, target) = (Tree::golden(), folder());
    archive(tree.path(), target.path(), &[]).expect(0);
    let (dir, archive_path) = (folder(), target.path());
    let inside = archive_path.join("restored");
    let file = dir.path().join("file");
    std::fs::write(&file, b"").expect("written");
    let place = dir.path().join("r");
    for (archive, dir, flags, said) in [
        (archive_path, &*place, &[][..], "several clusters: alpha, beta\n  hint: say which, with --cluster"),
        (archive_path, &*place, &["--cluster", "gamma"], "there is nothing at "),
        (archive_path, &*place, &["--cluster", "alpha", "--host", "nobody*"], "has no sample of a host that matches nobody*"),
        (archive_path, &*place, &["--cluster", "alpha", "--from", "2030-01-01"], "its dates go from 2026-03-01 to 2026-03-02"),
        (archive_path, &*place, &["--from", "2026-03-02", "--to", "2026-03-01"], "--from must lie before --to"),
        (archive_path, &*place, &["--interval", "7h"], "--interval 7h is no part of a day\n  hint: "),
        (archive_path, &*place, &["--interval", "2d"], "--interval 2days is no part of a day"),
        (archive_path, &*inside, &[], "lies inside the archive"),
        (archive_path, archive_path, &[], "is an archive\n  hint: the archive comes first"),
        (tree.path(), &*place, &[], "is a checkpoint tree, not an archive\n  hint: restore takes the archive first"),
        (archive_path, &*file, &[], "is no directory"),
        (&*place, &*place, &[], "there is no archive at"),
    ] {
        let refused = restore(archive, dir, flags).expect(2);
        assert!(said.split('\n').all(|line| refused.stderr.contains(line)), "{flags:?}: {}", refused.stderr);
        assert!(!place.exists() && !inside.exists(), "{flags:?}");
    }
}

#[test]
fn a_damaged_part_of_an_object_costs_its_own_rows() {
    let hosts: Vec<(String, Snapshot)> = (1..6).map(|n| (format!("n{n}"), Snapshot::minutes(T0, noise(n, 200)))).collect();
    let named: Vec<(&str, Snapshot)> = hosts.iter().map(|(host, snapshot)| (host.as_str(), snapshot.clone())).collect();
    let (tree, target) = archived(&named, &["--row-group-rows", "100"]);
    let sound = files_below(target.path()).into_keys().next().expect("an object");
    // of another object nothing is lost
    tree.bin("c", "n2", &Snapshot::minutes(T0 + 20_000, noise(9, 50)));
    archive(tree.path(), target.path(), &["--row-group-rows", "100"]).expect(0);
    let before = rows_of(&files_below(target.path()));
    let mut bytes = std::fs::read(target.path().join(&sound)).expect("there");
    let footer = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(bytes.clone())).expect("a footer");
    // 200 rows a host: the fourth row group is of the second one
    let (at, length) = footer.row_group(3).columns().last().expect("values").byte_range();
    bytes[(at + length / 2) as usize] ^= 1;
    std::fs::write(target.path().join(&sound), &bytes).expect("written");
    let dir = folder();
    let run = restore(target.path(), dir.path(), &[]).expect(3);
    let report = run.summary();
    let damaged = report["damaged"].as_array().expect("a list");
    assert_eq!(damaged.len(), 1, "{report}");
    assert!(damaged[0]["object"].as_str().is_some_and(|object| object.ends_with(&sound)), "{report}");
    let hosts: BTreeSet<&str> = damaged[0]["hosts"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(hosts, BTreeSet::from(["n2"]), "{report}");
    let is_kept = |row: &&Row| row.hostname != "n2" || row.timestamp >= T0 + 20_000;
    assert_same_rows("rows", rows_in_tree(dir.path()), before.iter().filter(is_kept));
    assert_eq!(run.lines_of("ERROR").len(), 1, "{run:?}");

    // an object without a footer may have held anything
    std::fs::write(target.path().join(&sound), &bytes[..bytes.len() / 2]).expect("written");
    let dir = folder();
    let report = restore(target.path(), dir.path(), &[]).expect(3).summary();
    assert!(report["damaged"][0]["reason"].as_str().is_some_and(|why| why.contains("its footer cannot be read")), "{report}");
    assert_eq!(count(&report, "samples"), 50, "{report}");
}

#[test]
fn a_directory_that_another_run_writes_to_is_left_to_it() {
    let (_tree, target) = archived(&two_hosts(), &[]);
    let dir = folder();
    let lock = File::open(dir.path()).expect("opened");
    lock.try_lock().expect("locked");
    let refused = restore(target.path(), dir.path(), &[]).expect(4);
    assert!(refused.stderr.contains("another run holds"), "{}", refused.stderr);
    assert!(files_below(dir.path()).is_empty());
}

#[test]
fn a_bucket_is_restored_as_a_directory_is() {
    let (bucket, tree) = (s3(), Tree::golden());
    let url = bucket.url("some/prefix");
    let run_with = |arguments: &[&str]| {
        let mut command = archiver();
        run(command.envs(bucket.environment()).args(arguments).args(["--json", "--progress", "never"]))
    };
    run_with(&["archive", tree.path().to_str().expect("UTF-8"), &url]).expect(0);
    let dir = folder();
    let report = run_with(&["restore", &url, dir.path().to_str().expect("UTF-8"), "--cluster", "alpha", "--cluster", "beta"]).expect(0).summary();
    assert_eq!(count(&report, "samples"), 5_179, "{report}");
    assert_same_rows("s3", rows_in_tree(dir.path()), rows_of(&bucket.objects("some/prefix")));
}

// ---- any rows ----

/// A snapshot of some series, and whose it is.
fn snapshot() -> impl Strategy<Value = (&'static str, Snapshot)> {
    let value = prop_oneof![2 => any::<u32>().prop_map(f32::from_bits), 1 => Just(f32::NAN), 1 => prop::sample::select(vec![-0.0, 1.0, f32::INFINITY, 1e-45])];
    let values = prop::collection::vec(value, 1..40);
    let place = prop::sample::select(vec!["", "socket0", "socket0/core1", "gpu%/é"]);
    let shift = prop_oneof![3 => (0..12_i64).prop_map(|tens| 600 * tens), 1 => 0..7_200_i64];
    let series = prop::collection::btree_map((place, 0..2_usize), (prop::sample::select(vec![1_i64, 7, 60, 600, 3_601]), shift, values), 1..6);
    (prop::sample::select(vec!["a", "b"]), 0..30_i64, series).prop_map(|(host, hour, series)| {
        let from = MIDNIGHT + 3_600 * hour;
        let mut levels: BTreeMap<&str, Level> = BTreeMap::new();
        let mut last = from;
        for ((place, name), (frequency, shift, values)) in series {
            last = last.max(from + shift + frequency * values.len() as i64);
            let level = levels.remove(place).unwrap_or_default();
            levels.insert(place, level.metric(["x", "y"][name], frequency, from + shift, values));
        }
        let mut take = |place: &str| levels.remove(place).unwrap_or_default();
        let core = take("socket0/core1");
        let socket = take("socket0").child("core1", ("core", "1"), core);
        let gpu = take("gpu%/é");
        let root = take("").child("socket0", ("socket", "0"), socket).child("gpu%/é", ("gpu%/é", ""), gpu);
        (host, Snapshot { from, to: last, root })
    })
}

fn archive_by(tree: &Path, archive: &Archive) -> cc_archiver::telemetry::Summary {
    let cli = Cli::try_parse_from(["cc-archiver", "archive", tree.to_str().expect("UTF-8"), "unused"]).expect("valid arguments");
    let Command::Archive(args) = cli.command else { panic!("archive") };
    let settings = config::archive(*args, &S3Environment::default()).expect("valid settings");
    let run = || block_on(pipeline::archive(&settings, archive.clone(), Arc::new(Progress::default()), std::future::pending()));
    match unlocked(run) {
        Outcome::Done(summary) => *summary,
        Outcome::Planned(_) => panic!("this was no dry run"),
    }
}

/// Runs it again as long as a lock is in the way: a process that another test starts just now has one of this process until it runs its program.
fn unlocked<T>(run: impl Fn() -> cc_archiver::error::Result<T>) -> T {
    let mut done = run();
    for _ in 0..100 {
        if !matches!(done, Err(Error::Locked(..))) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        done = run();
    }
    done.expect("the run succeeds")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn archived_rows_are_restored_and_archived_again_as_the_same_rows(
        nights in prop::collection::vec(prop::collection::vec(snapshot(), 1..5), 1..3),
        format in prop::sample::select(vec!["bin", "json"]),
        interval in prop::sample::select(vec!["10m", "1h", "12h", "24h"]),
        (from, length) in prop_oneof![Just((0, 400_000)), (0..100_000_i64, 1..100_000_i64)],
        is_cramped in any::<bool>(),
    ) {
        let (tree, target, place) = (Tree::new(), Archive::in_memory(), folder());
        for snapshots in &nights {
            snapshots.iter().for_each(|(host, snapshot)| tree.bin("c", host, snapshot));
            archive_by(tree.path(), &target);
        }
        let objects = objects_in(target.store().as_ref(), "");
        let (from, to) = (MIDNIGHT + from, MIDNIGHT + from + length);
        let expected: Vec<Row> = rows_of(&objects).into_iter().filter(|row| (from..to).contains(&row.timestamp)).collect();
        prop_assume!(!expected.is_empty());

        let dir = place.path().join("restored");
        let (from, to) = (from.to_string(), to.to_string());
        let args = ["cc-archiver", "restore", place.path().to_str().expect("UTF-8"), "unused", "--format", format, "--interval", interval, "--from", &from, "--to", &to];
        let Command::Restore(args) = Cli::try_parse_from(args).expect("valid arguments").command else { panic!("restore") };
        let mut settings = config::restore(*args, &S3Environment::default()).expect("valid settings");
        settings.dir = dir.clone();
        if is_cramped {
            settings.memory = 0;
        }
        let run = || unlocked(|| block_on(pipeline::restore_in(&settings, || Ok(target.clone()), Arc::default(), std::future::pending())));
        let report = run();
        prop_assert!(report.is_complete(), "{report}");
        prop_assert_eq!(report.samples, expected.len() as u64);
        let again = run();
        prop_assert_eq!((again.files, again.files_there), (0, report.files), "all is there");

        let second = Archive::in_memory();
        let summary = archive_by(&dir, &second);
        prop_assert_eq!(rows_of(&objects_in(second.store().as_ref(), "")), expected);
        prop_assert_eq!(summary.duplicates_dropped, 0, "no instant stands in two files");
        let same = archive_by(&dir, &target);
        prop_assert_eq!((same.rows_written, same.conflicting_rows), (0, 0), "the archive holds all of it");
    }
}
