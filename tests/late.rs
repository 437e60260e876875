//! Late and moved snapshots: restored from a backup, copied, found after years, under another name. What is archived is known by its bytes, what is
//! new goes to its dates, and what contradicts the archive is named.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use support::{DAY, MIDNIGHT, Place, Run, Snapshot, T0, Tree, archiver, assert_same_rows, files_below, rows_of, run, write};

mod support;

/// A tree, and its archive.
struct Site {
    tree: Tree,
    place: Place,
}

impl Site {
    fn new() -> Self {
        Self { tree: Tree::new(), place: Place::folder() }
    }

    fn archive(&self, flags: &[&str]) -> Run {
        run(archiver().arg("archive").arg(self.tree.path()).arg(self.place.name()).args(["--json", "--progress", "never"]).args(flags))
    }

    fn prune(&self, flags: &[&str]) -> Run {
        run(archiver().arg("prune").arg(self.tree.path()).arg(self.place.name()).args(["--json", "--progress", "never", "--older-than", "1h"]).args(flags))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.tree.path().join(path)
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).expect("renamed");
    }
}

/// Objects that are three days old: younger ones are not compacted.
fn age(place: &Place) {
    let then = SystemTime::now() - Duration::from_secs(3 * 86_400);
    for key in place.objects().keys() {
        let object = File::options().write(true).open(Path::new(&place.name()).join(key)).expect("opened");
        object.set_modified(then).expect("a time set");
    }
}

/// One of each of some days, with values of its own.
fn snapshots(seed: u64, days: i64) -> Vec<Snapshot> {
    (0..days).map(|day| Snapshot::minutes(T0 + day * DAY, support::noise(seed + day as u64, 30))).collect()
}

#[track_caller]
fn holds(summary: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&summary[name], value, "{name}: {summary}");
    }
}

#[test]
fn a_tree_from_a_backup_is_known_by_its_bytes_and_goes_again() {
    let site = Site::new();
    for (seed, host) in [(1, "n1"), (10, "n2")] {
        snapshots(seed, 5).iter().for_each(|snapshot| site.tree.bin("c", host, snapshot));
    }
    let backup = files_below(site.tree.path());
    holds(&site.archive(&["--prune-after", "1h"]).expect(0).summary(), &json!({"files": 10}));
    assert_eq!(files_below(site.tree.path()).len(), 2, "the newest of each host stay");
    let before = site.place.objects();
    // other times of change, other inodes; and one that was never archived
    backup.iter().for_each(|(path, bytes)| write(&site.path(path), bytes));
    let never = Snapshot::minutes(T0 + DAY + 7_200, [5.0; 3]);
    site.tree.bin("c", "n2", &never);
    holds(&site.archive(&[]).expect(0).summary(), &json!({"files": 1, "already_archived": 10, "rows_written": 3, "conflicting_rows": 0}));
    let after = site.place.objects();
    assert!(before.iter().all(|(key, bytes)| after.get(key) == Some(bytes)), "what was there stays");
    assert_eq!(after.len(), before.len() + 1);
    holds(&site.prune(&[]).expect(0).summary(), &json!({"pruned": 9, "attention": []}));
    assert_eq!(site.archive(&[]).expect(0).summary()["objects_written"], 0);
}

#[test]
fn what_contradicts_the_archive_is_named_and_the_archived_value_stays() {
    let site = Site::new();
    let archived = Snapshot::minutes(T0, [1.0; 30]);
    for host in ["n1", "n2"] {
        site.tree.bin("c", host, &archived);
    }
    site.archive(&[]).expect(0);
    // of another store: it begins a minute later, and knows it otherwise
    for host in ["n1", "n2"] {
        site.tree.bin("c", host, &Snapshot::minutes(T0 + 60, [2.0; 40]));
    }
    site.tree.bin("c", "n2", &Snapshot::minutes(T0 + 120, [1.0; 20]));
    let said = site.archive(&[]).expect(0);
    let file = format!("{}.bin", T0 + 60);
    holds(
        &said.summary(),
        &json!({
            "conflicting_rows": 58,
            "rows_written": 22,
            "conflicts": [
                {"host": "c/n1", "snapshots": [file], "dates": {"2026-03-01": 29}},
                {"host": "c/n2", "snapshots": [file], "dates": {"2026-03-01": 29}},
            ],
        }),
    );
    let expected = ["n1", "n2"].iter().flat_map(|host| {
        let new = Snapshot::minutes(T0 + 30 * 60, [2.0; 11]);
        archived.rows("c", host).into_iter().chain(new.rows("c", host))
    });
    assert_same_rows("the archive", rows_of(&site.place.objects()), expected.collect::<Vec<_>>());
    let again = site.archive(&[]).expect(0).summary();
    assert!(again["conflicts"].is_null(), "each is named once: {again}");
    assert!(site.prune(&["--include-newest"]).expect(3).summary()["kept"]["conflicting"] == 2, "and both stay on disk");
}

#[test]
fn a_host_that_was_renamed_is_named_before_its_history_stands_twice() {
    for leaves in [true, false] {
        let site = Site::new();
        snapshots(1, 4).iter().for_each(|snapshot| site.tree.bin("c", "f0101", snapshot));
        site.archive(&[]).expect(0);
        let before = rows_of(&site.place.objects());
        site.rename("c/f0101", "c/f0102");
        let new = Snapshot::minutes(T0 + 4 * DAY, [3.0; 5]);
        site.tree.bin("c", "f0102", &new);
        let named = |left: bool| json!([{"host": site.path("c/f0102"), "archived_as": "f0101", "snapshots": 4, "left": left}]);
        assert_eq!(site.archive(&["--dry-run"]).expect(0).summary()["clusters"][0]["moved"], named(false));
        if leaves {
            assert_eq!(site.archive(&["--moved", "leave", "--dry-run"]).expect(3).summary()["clusters"][0]["moved"], named(true));
            let said = site.archive(&["--moved", "leave"]).expect(3);
            assert_eq!(said.lines_of("WARN").iter().filter(|line| line.contains("archived as those of f0101")).count(), 1, "{}", said.stderr);
            holds(&said.summary(), &json!({"files": 1, "rows_written": 5, "moved": named(true)}));
            let expected = before.into_iter().chain(new.rows("c", "f0102"));
            assert_same_rows("the archive", rows_of(&site.place.objects()), expected.collect::<Vec<_>>());
            // no entry of the archive is of them: they stay
            holds(&site.prune(&["--include-newest"]).expect(3).summary(), &json!({"pruned": 1}));
            assert_eq!(files_below(&site.path("c/f0102")).len(), 4);
        }
        // whoever does not decide loses nothing
        let summary = site.archive(&[]).expect(0).summary();
        holds(&summary, &json!({"files": if leaves { 4 } else { 5 }, "moved": named(false)}));
        assert!(site.archive(&[]).expect(0).summary()["moved"].is_null(), "now they are archived under this name");
        let all = snapshots(1, 4).into_iter().flat_map(|s| s.rows("c", "f0101").into_iter().chain(s.rows("c", "f0102")).collect::<Vec<_>>());
        assert_same_rows("the archive", rows_of(&site.place.objects()), all.chain(new.rows("c", "f0102")).collect::<Vec<_>>());
        holds(&site.prune(&["--include-newest"]).expect(0).summary(), &json!({"attention": []}));
    }
}

#[test]
fn equal_bytes_of_two_hosts_are_no_move() {
    let site = Site::new();
    let constant = Snapshot::minutes(T0, [0.0; 30]);
    site.tree.bin("c", "n1", &constant);
    site.archive(&[]).expect(0);
    // n1 still has the file, also where a run looks at n2 only
    site.tree.bin("c", "n2", &constant);
    let summary = site.archive(&["--moved", "leave", "--host", "n2"]).expect(0).summary();
    holds(&summary, &json!({"files": 1, "moved": null}));
    // the same name and size, and other bytes
    std::fs::remove_dir_all(site.path("c/n1")).expect("removed");
    site.tree.bin("c", "n3", &Snapshot::minutes(T0, [1.0; 30]));
    holds(&site.archive(&["--moved", "leave"]).expect(0).summary(), &json!({"files": 1, "moved": null}));
    let expected = [constant.rows("c", "n1"), constant.rows("c", "n2"), Snapshot::minutes(T0, [1.0; 30]).rows("c", "n3")].concat();
    assert_same_rows("the archive", rows_of(&site.place.objects()), expected);
}

#[test]
fn a_cluster_that_was_renamed_is_another_cluster_and_a_range_leaves_its_past_out() {
    let site = Site::new();
    snapshots(1, 4).iter().for_each(|snapshot| site.tree.bin("old", "n1", snapshot));
    site.archive(&[]).expect(0);
    site.rename("old", "new");
    let today = Snapshot::minutes(T0 + 4 * DAY, [3.0; 5]);
    site.tree.bin("new", "n1", &today);
    holds(&site.archive(&["--date", "2026-03-05.."]).expect(0).summary(), &json!({"files": 1, "other_dates": 4, "moved": null}));
    holds(&site.archive(&[]).expect(0).summary(), &json!({"files": 4, "already_archived": 1}));
    let rows = |cluster: &str| snapshots(1, 4).iter().flat_map(|snapshot| snapshot.rows(cluster, "n1")).collect::<Vec<_>>();
    assert_same_rows("the archive", rows_of(&site.place.objects()), [rows("old"), rows("new"), today.rows("new", "n1")].concat());
}

#[test]
fn late_snapshots_find_their_dates_after_compaction_and_in_the_table() {
    let site = Site::new();
    let mut expected = Vec::new();
    for (seed, host) in [(1, "n1"), (10, "n2"), (20, "n3")] {
        for snapshot in snapshots(seed, 3) {
            site.tree.bin("c", host, &snapshot);
            expected.extend(snapshot.rows("c", host));
        }
        site.archive(&[]).expect(0);
    }
    run(archiver().arg("table").arg(site.place.name()).arg("--init")).expect(0);
    age(&site.place);
    run(archiver().arg("compact").arg(site.place.name()).arg("--json")).expect(0);
    assert_eq!(site.place.objects().len(), 3, "{:?}", site.place.objects().keys());
    // one of a host that was never seen, one between others
    let (foreign, between) = (Snapshot::minutes(T0 - 3_600, [7.0; 10]), Snapshot::minutes(T0 + DAY + 900, [8.0; 30]));
    site.tree.bin("c", "n4", &foreign);
    site.tree.bin("c", "n1", &between);
    let summary = site.archive(&[]).expect(0).summary();
    holds(&summary, &json!({"files": 2, "already_archived": 9, "objects_written": 2, "rows_written": 25, "conflicting_rows": 15}));
    assert!(summary["table_version"].as_u64().is_some_and(|version| version >= 2), "{summary}");
    expected.extend(foreign.rows("c", "n4"));
    expected.extend(Snapshot::minutes(T0 + DAY + 1_800, [8.0; 15]).rows("c", "n1"));
    assert_same_rows("the archive", rows_of(&site.place.objects()), expected);
    run(archiver().arg("verify").arg(site.place.name()).arg("--decode")).expect(0);
}

#[test]
fn late_snapshots_of_dates_that_have_expired_are_counted_and_stay() {
    let site = Site::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let today = now - now.rem_euclid(DAY);
    site.tree.bin("c", "n1", &Snapshot::minutes(today - 40 * DAY, [1.0; 5]));
    site.tree.bin("c", "n1", &Snapshot::minutes(today - 2 * DAY, [1.0; 5]));
    site.archive(&[]).expect(0);
    run(archiver().arg("expire").arg(site.place.name()).args(["--keep", "20days"])).expect(0);
    site.tree.bin("c", "n2", &Snapshot::minutes(today - 41 * DAY, [1.0; 5]));
    let kept = Snapshot::minutes(today - 10 * DAY, [1.0; 5]);
    site.tree.bin("c", "n2", &kept);
    holds(&site.archive(&[]).expect(0).summary(), &json!({"files": 1, "already_archived": 1, "below_the_floor": 2, "set_aside": []}));
    let expected = [Snapshot::minutes(today - 2 * DAY, [1.0; 5]).rows("c", "n1"), kept.rows("c", "n2")].concat();
    assert_same_rows("the archive", rows_of(&site.place.objects()), expected);
    assert!(MIDNIGHT < today, "the clock is right");
}
