//! A backlog: a year at once, or in bites of dates, in any order, killed or not. Each snapshot is archived once, and read a bounded number of times.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{DAY, MIDNIGHT, Objects, Place, Row, Run, Snapshot, Tree, archive, archiver, assert_same_rows, date_of, files_below, rows_of, run};

mod support;

/// A snapshot of a few minutes around the midnight after the day: it feeds two dates.
fn around_midnight(day: i64) -> Snapshot {
    Snapshot::minutes(MIDNIGHT + day * DAY + DAY - 300, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
}

/// A tree of so many days and hosts, and the rows that it becomes.
fn tree_of(days: i64, hosts: usize) -> (Tree, Vec<Row>) {
    let (tree, mut rows) = (Tree::new(), Vec::new());
    for day in 0..days {
        let snapshot = around_midnight(day);
        for host in 0..hosts {
            let name = format!("n{host:02}");
            tree.bin("c", &name, &snapshot);
            rows.extend(snapshot.rows("c", &name));
        }
    }
    (tree, rows)
}

/// Each source stands once on each date, and on the date of its name.
#[track_caller]
fn assert_in_order(objects: &Objects) {
    let mut entries = BTreeSet::new();
    for (key, bytes) in objects.iter().filter(|(key, _)| key.starts_with("cluster=")) {
        let (_, date) = support::partition_of(key);
        for entry in support::ledger_of(bytes).unwrap_or_else(|e| panic!("{key}: {e}")) {
            let path = entry["path"].as_str().expect("a path").to_owned();
            assert!(entries.insert((path.clone(), date.clone())), "{path} stands twice on {date}");
        }
    }
    for (path, _) in &entries {
        let from = path.rsplit('/').next().and_then(|name| name.split('.').next()).and_then(|stem| stem.parse().ok()).expect("a time");
        assert!(entries.contains(&(path.clone(), date_of(from))), "{path} is not in the ledger of its home date");
    }
}

fn run_in(place: &Place, tree: &Tree, flags: &[&str]) -> Run {
    run(archiver().envs(place.environment()).arg("archive").arg(tree.path()).arg(place.name()).args(["--json", "--progress", "never"]).args(flags))
}

/// Files that are being written below an archive.
fn being_written(archive: &Path) -> usize {
    let runs = std::fs::read_dir(archive.join("_tmp")).into_iter().flatten().flatten();
    let files = runs.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.filter(|file| file.file_name() != "cc-archiver").count()
}

fn objects_visible(archive: &Path) -> usize {
    std::fs::read_dir(archive.join("cluster=c")).map_or(0, Iterator::count)
}

#[test]
fn a_year_is_archived_with_little_memory_and_goes_on_after_a_kill() {
    const DAYS: i64 = 365;
    const HOSTS: usize = 50;
    let (tree, expected) = tree_of(DAYS, HOSTS);
    let place = tempfile::tempdir().expect("a folder");
    let target = place.path().join("archive");
    // room for three dates at a time
    let flags = ["--memory", "256MiB", "--workers", "2"];
    let mut first = archiver();
    first.arg("archive").arg(tree.path()).arg(&target).args(flags).args(["--json", "--progress", "never"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let (begun, mut most) = (Instant::now(), 0);
    while objects_visible(&target) < 90 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it writes nothing");
        assert!(first.try_wait().expect("waited for").is_none(), "it has ended already");
        most = most.max(being_written(&target));
    }
    first.kill().expect("killed");
    first.wait().expect("waited for");
    assert!((1..=3).contains(&most), "{most} objects were open at a time");
    let done = objects_visible(&target) as u64;
    assert!(done < DAYS as u64, "{done} dates are there when it is killed");

    let summary = archive(tree.path(), &target, &flags).expect(0).summary();
    let number = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name}: {summary}"));
    let all = HOSTS as u64 * DAYS as u64;
    assert_eq!(number("files") + number("already_archived"), all, "{summary}");
    assert!(number("already_archived") >= (done - 4) * HOSTS as u64, "{summary}");
    let of_one = around_midnight(0).bin().len() as u64;
    assert!(number("bytes_in") <= 2 * number("files") * of_one, "a snapshot of two dates is read twice at most: {summary}");
    assert!(number("peak_memory") < 256 << 20, "{summary}");
    let objects = files_below(&target);
    assert_in_order(&objects);
    assert_same_rows("the archive", rows_of(&objects), expected);
    assert_eq!(archive(tree.path(), &target, &flags).expect(0).summary()["objects_written"], 0);
}

/// In a folder and in S3: bites in any order come to the same as one run, and none doubles what another one has.
#[test]
fn bites_in_any_order_come_to_what_one_run_does() {
    let bites: [&[&[&str]]; 4] = [
        &[&["--date", "..2026-03-03"], &["--date", "2026-03-04..2026-03-06"], &["--date", "2026-03-07.."]],
        &[&["--date", "2026-03-07..", "--newest-first"], &["--date", "2026-03-04..2026-03-06", "--newest-first"], &["--date", "..2026-03-03"]],
        &[&["--date", "2026-03-04"], &["--date", "2026-03-02..2026-03-06"], &["--newest-first"]],
        &[&["--newest-first", "--memory", "64MiB"]],
    ];
    let (tree, expected) = tree_of(9, 3);
    for place in Place::both() {
        for (n, bites) in bites.iter().enumerate() {
            let prefix = |flags: &[&str]| {
                let name = format!("{}-{n}", place.name());
                run(archiver().envs(place.environment()).arg("archive").arg(tree.path()).arg(name).args(["--json", "--progress", "never"]).args(flags))
            };
            let mut files = 0;
            for bite in *bites {
                let summary = prefix(bite).expect(0).summary();
                files += summary["files"].as_u64().expect("a count");
                let looked_at = ["files", "already_archived", "other_dates"].iter().map(|name| summary[*name].as_u64().expect("a count")).sum::<u64>();
                assert_eq!(looked_at, 27, "{bite:?}: {summary}");
                assert_eq!(prefix(bite).expect(0).summary()["objects_written"], 0, "{bite:?} again");
            }
            assert_eq!(files, 27, "{bites:?}");
            assert_eq!(prefix(&[]).expect(0).summary()["objects_written"], 0, "{bites:?} leave nothing");
            let objects = match &place {
                Place::Folder(_) => files_below(format!("{}-{n}", place.name()).as_ref()),
                Place::Bucket(bucket) => bucket.objects(&format!("archive-{n}")),
            };
            assert_in_order(&objects);
            assert_same_rows("the archive", rows_of(&objects), expected.clone());
        }
    }
}

#[test]
fn the_newest_dates_are_written_first_and_each_object_is_the_same() {
    let (tree, _) = tree_of(6, 2);
    let (forwards, backwards) = (Place::folder(), Place::folder());
    run_in(&forwards, &tree, &["--memory", "64MiB"]).expect(0);
    run_in(&backwards, &tree, &["--memory", "64MiB", "--newest-first"]).expect(0);
    assert_eq!(forwards.objects(), backwards.objects());
    let written = |place: &Place| -> Vec<(i64, i64)> {
        let status = |key: &String| std::fs::metadata(Path::new(&place.name()).join(key)).expect("a status");
        place.objects().keys().map(status).map(|status| (status.mtime(), status.mtime_nsec())).collect()
    };
    assert!(written(&forwards).is_sorted(), "{:?}", written(&forwards));
    let mut backwards = written(&backwards);
    assert_eq!(backwards.len(), 7);
    assert!(backwards[0] > backwards[6], "{backwards:?}");
    backwards.reverse();
    assert!(backwards.is_sorted(), "{backwards:?}");
}

#[test]
fn pruning_after_a_bite_leaves_other_dates_alone() {
    let (tree, _) = tree_of(6, 2);
    let place = Place::folder();
    let bite = ["--date", "2026-03-02..2026-03-03", "--prune-after", "1s", "--include-newest"];
    let summary = run_in(&place, &tree, &bite).expect(0).summary();
    assert_eq!((&summary["files"], &summary["prune"]["pruned"]), (&4.into(), &4.into()), "{summary}");
    assert_eq!(summary["prune"]["kept"]["other_dates"], 8, "{summary}");
    assert_eq!(summary["prune"]["attention"], serde_json::json!([]), "{summary}");
    assert_eq!(files_below(tree.path()).len(), 8);
    // without the range what is not archived is archived first, and then goes too
    let summary = run_in(&place, &tree, &bite[2..]).expect(0).summary();
    assert_eq!((&summary["files"], &summary["prune"]["pruned"]), (&8.into(), &8.into()), "{summary}");
}

#[test]
fn a_dry_run_says_what_is_read_and_how_much_is_written() {
    let (many, _) = tree_of(9, 3);
    for (what, tree) in [("golden", Tree::golden()), ("many", many)] {
        for flags in [&["--min-age", "0s"][..], &["--min-age", "0s", "--memory", "64MiB"]] {
            let place = Place::folder();
            let planned = run_in(&place, &tree, &[flags, &["--dry-run"]].concat()).expect(0).summary();
            let done = run_in(&place, &tree, flags).expect(0).summary();
            let sum = |of: &dyn Fn(&serde_json::Value) -> u64| planned["clusters"].as_array().expect("a list").iter().map(of).sum::<u64>();
            assert_eq!(sum(&|cluster| cluster["bytes_to_read"].as_u64().expect("bytes")), done["bytes_in"], "{what}: {planned}\n{done}");
            let (least, most) =
                (sum(&|c| c["bytes_to_write"]["least"].as_u64().expect("bytes")), sum(&|c| c["bytes_to_write"]["most"].as_u64().expect("bytes")));
            let written = done["bytes_out"].as_u64().expect("bytes");
            assert!((least..=most).contains(&written), "{what}: {least} to {most}, and {written} were written");
        }
    }
}

#[test]
fn a_run_says_at_its_beginning_what_is_to_be_archived() {
    let (tree, _) = tree_of(9, 3);
    let place = Place::folder();
    let said = run_in(&place, &tree, &[]).expect(0);
    let line = said.stderr.lines().find(|line| line.contains("to archive")).unwrap_or_else(|| panic!("{}", said.stderr));
    for part in ["cluster=\"c\"", "hosts=3", "snapshots=27", "dates=10", "first=2026-03-01", "last=2026-03-10"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!run_in(&place, &tree, &[]).expect(0).stderr.contains("to archive"), "nothing is left");
}

#[test]
fn a_range_that_is_none_is_refused() {
    let tree = Tree::new();
    for wrong in ["2026-03-05..2026-03-01", "..", "yesterday"] {
        let said = archive(tree.path(), tree.path().join("no"), &["--date", wrong]).expect(2);
        assert!(said.stderr.contains(wrong) || said.stderr.contains("2026-03-05"), "{}", said.stderr);
    }
}
