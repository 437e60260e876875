//! What one run leaves to the next: after a crash, beside damaged objects, over snapshots that were rewritten.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriter;

use support::{DAY, Level, MIDNIGHT, Objects, Snapshot, T0, Tree, archive, assert_same_rows, files_below, rows_of};

mod support;

/// How often each (source, date) stands in the ledgers of an archive.
fn ledger_entries(objects: &Objects) -> BTreeMap<(String, String), usize> {
    let mut entries = BTreeMap::new();
    for (key, bytes) in objects {
        for entry in support::ledger_of(bytes).unwrap_or_else(|e| panic!("{key}: {e}")) {
            let (_, date) = support::partition_of(key);
            *entries.entry((entry["path"].as_str().expect("a path").to_owned(), date)).or_default() += 1;
        }
    }
    entries
}

fn object_of(archive: &Path, date: &str) -> std::path::PathBuf {
    let key = files_below(archive).into_keys().find(|key| key.contains(date)).expect("an object of the date");
    archive.join(key)
}

#[test]
fn after_a_crash_between_two_dates_only_the_missing_one_is_archived() {
    for lost in [0, 1] {
        let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
        // from 18:00 to 06:00: two snapshots that contradict each other, so that one loses rows to the other
        let older = Snapshot::minutes(MIDNIGHT + 64_800, [1.0; 720]);
        let newer = Snapshot::minutes(MIDNIGHT + 68_400, [2.0; 660]);
        tree.bin("c", "n1", &older);
        tree.bin("c", "n1", &newer);
        archive(tree.path(), target.path(), &[]).expect(0);
        let whole = files_below(target.path());
        let date = support::date_of(MIDNIGHT + lost * DAY);
        std::fs::remove_file(object_of(target.path(), &date)).expect("removed");
        let summary = archive(tree.path(), target.path(), &[]).expect(0).summary();
        let healed = files_below(target.path());
        assert_same_rows("the archive", rows_of(&healed), rows_of(&whole));
        assert_eq!((summary["objects_written"].as_u64(), summary["conflicting_rows"].as_u64()), (Some(1), Some(0)), "{summary}");
        assert!(ledger_entries(&healed).values().all(|count| *count == 1), "{:?}", ledger_entries(&healed));
        let summary = archive(tree.path(), target.path(), &[]).expect(0).summary();
        assert_eq!(summary["objects_written"], 0);
    }
}

#[test]
fn a_header_that_is_wrong_costs_a_second_reading_and_no_row() {
    // it claims two hours of the first date, and goes on for two days; the newer one overlaps it in the second
    let claimed = Snapshot { to: MIDNIGHT + 7_200, ..Snapshot::minutes(MIDNIGHT, [1.0; 2 * 1_440]) };
    let newer = Snapshot::minutes(MIDNIGHT + DAY + 3_600, [2.0; 120]);
    let other = Snapshot::minutes(MIDNIGHT + DAY + 7_200, [3.0; 60]);
    for json in [false, true] {
        let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
        let put = |host: &str, snapshot: &Snapshot| if json { tree.json("c", host, snapshot) } else { tree.bin("c", host, snapshot) };
        put("n1", &claimed);
        put("n1", &newer);
        put("n2", &other);
        let summary = archive(tree.path(), target.path(), &[]).expect(0).summary();
        assert_eq!((summary["files"].as_u64(), summary["already_archived"].as_u64(), summary["superseded"].as_u64()), (Some(3), Some(0), None), "{summary}");
        let mut expected = newer.rows("c", "n1");
        let held: BTreeSet<i64> = expected.iter().map(|row| row.timestamp).collect();
        expected.extend(claimed.rows("c", "n1").into_iter().filter(|row| !held.contains(&row.timestamp)));
        expected.extend(other.rows("c", "n2"));
        let objects = files_below(target.path());
        assert_same_rows("the archive", rows_of(&objects), expected);
        assert!(ledger_entries(&objects).values().all(|count| *count == 1), "{:?}", ledger_entries(&objects));
        let summary = archive(tree.path(), target.path(), &[]).expect(0).summary();
        assert_eq!((summary["objects_written"].as_u64(), summary["already_archived"].as_u64()), (Some(0), Some(3)), "{summary}");
    }
}

#[test]
fn a_damaged_page_costs_only_the_sources_that_it_may_hold() {
    let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    for host in ["n1", "n2"] {
        tree.bin("c", host, &Snapshot::minutes(T0, support::noise(1, 60)));
    }
    archive(tree.path(), target.path(), &[]).expect(0);
    let object = object_of(target.path(), "2026-03-01");
    let mut bytes = std::fs::read(&object).expect("read");
    bytes[20..60].fill(0xff);
    std::fs::write(&object, bytes).expect("written");
    // a longer version of n1's file, whose earlier rows must be read back; n2 and another cluster have new files
    tree.bin("c", "n1", &Snapshot::minutes(T0, support::noise(1, 90)));
    let (second, other) = (Snapshot::minutes(T0 + 7_200, [1.0; 5]), Snapshot::minutes(T0, [2.0; 5]));
    tree.bin("c", "n2", &second);
    tree.bin("d", "n3", &other);
    let summary = archive(tree.path(), target.path(), &[]).expect(3).summary();
    let set_aside = summary["set_aside"].as_array().expect("a list");
    assert_eq!(set_aside.len(), 1, "{summary}");
    assert!(set_aside[0]["path"].as_str().is_some_and(|path| path.ends_with(&format!("c/n1/{T0}.bin"))), "{summary}");
    assert!(set_aside[0]["reason"].as_str().is_some_and(|why| why.contains("cluster=c/date=2026-03-01/")), "{summary}");
    assert_eq!(summary["rows_written"], 10);
}

#[test]
fn where_values_have_no_place_a_host_is_set_aside_and_the_others_are_archived() {
    let values = support::noise(7, 80_000);
    let large = (0..200).fold(Level::default(), |root, m| root.metric(&format!("m{m:03}"), 1, MIDNIGHT, values.clone()));
    let large = Snapshot { from: MIDNIGHT, to: MIDNIGHT + 80_000, root: large };
    let small = Snapshot::minutes(MIDNIGHT, [1.0; 60]);
    let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let run = || {
        let mut run = support::archiver();
        run.arg("archive").args([tree.path(), target.path()]).args(["--memory", "64MiB", "--json", "--progress", "never", "--min-age", "0s"]);
        support::run(run.env("TMPDIR", target.path().join("nowhere"))).expect(3).summary()
    };
    // text has to be collected
    tree.json("c", "n1", &large);
    tree.bin("c", "n2", &small);
    let summary = run();
    assert_eq!((summary["rows_written"].as_u64(), summary["set_aside"].as_array().map(Vec::len)), (Some(60), Some(1)), "{summary}");
    assert!(summary["set_aside"][0]["reason"].as_str().is_some_and(|reason| reason.contains("TMPDIR")), "{summary}");
    archive(tree.path(), target.path(), &[]).expect(0);
    // so have rows that are read back
    std::fs::remove_file(tree.path().join(format!("c/n1/{MIDNIGHT}.json"))).expect("removed");
    tree.bin("c", "n1", &Snapshot { from: MIDNIGHT + 1, ..large });
    tree.bin("c", "n3", &small);
    let summary = run();
    assert_eq!((summary["rows_written"].as_u64(), summary["set_aside"].as_array().map(Vec::len)), (Some(60), Some(1)), "{summary}");
    assert!(summary["set_aside"][0]["reason"].as_str().is_some_and(|reason| reason.contains("TMPDIR")), "{summary}");
}

/// A host of 64 series, each `len` s long.
fn large_host(len: usize) -> Snapshot {
    let values = support::noise(9, 64 * 84_000);
    let root = values.chunks(84_000).enumerate().fold(Level::default(), |root, (m, values)| root.metric(&format!("m{m:02}"), 1, MIDNIGHT, &values[..len]));
    Snapshot { from: MIDNIGHT, to: MIDNIGHT + len as i64, root }
}

#[test]
fn damage_far_into_archived_rows_that_are_read_back_costs_only_their_host() {
    let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    tree.bin("c", "n1", &large_host(80_000));
    archive(tree.path(), target.path(), &[]).expect(0);
    let object = object_of(target.path(), "2026-03-01");
    let mut bytes = std::fs::read(&object).expect("read");
    let far = bytes.len() / 8 * 7;
    bytes[far..far + 40].fill(0xff);
    std::fs::write(&object, bytes).expect("written");
    tree.bin("c", "n1", &large_host(84_000));
    tree.bin("d", "n2", &Snapshot::minutes(T0, [2.0; 5]));
    let summary = archive(tree.path(), target.path(), &["--memory", "64MiB"]).expect(3).summary();
    let set_aside = summary["set_aside"].as_array().expect("a list");
    assert_eq!(set_aside.len(), 1, "{summary}");
    assert!(set_aside[0]["reason"].as_str().is_some_and(|why| why.contains("cannot be read back")), "{summary}");
    assert_eq!(summary["rows_written"], 5);
}

#[test]
fn archived_rows_of_a_file_that_has_grown_are_read_back_once() {
    let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let host = |len| {
        let root = (0..3_000).fold(Level::default(), |root, m| root.metric(&format!("m{m:04}"), 60, T0, vec![1.0; len]));
        Snapshot { from: T0, to: T0 + 60 * len as i64, root }
    };
    tree.bin("c", "n1", &host(10));
    archive(tree.path(), target.path(), &[]).expect(0);
    tree.bin("c", "n1", &host(12));
    let run = archive(tree.path(), target.path(), &["--memory", "64MiB", "-vv"]).expect(0);
    assert_eq!(run.summary()["rows_written"], 6_000);
    assert_eq!(run.stderr.lines().filter(|line| line.contains("reading archived rows back")).count(), 1, "{}", run.stderr);
}

#[test]
fn an_object_that_another_program_rewrote_keeps_its_sources_from_being_archived_twice() {
    let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    tree.bin("c", "n1", &Snapshot::minutes(T0, [1.0; 60]));
    archive(tree.path(), target.path(), &[]).expect(0);
    let object = object_of(target.path(), "2026-03-01");
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&object).expect("opened")).expect("a reader");
    let mut rewritten = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut rewritten, reader.schema().clone(), None).expect("a writer");
    for batch in reader.build().expect("a reader") {
        writer.write(&batch.expect("rows")).expect("written");
    }
    writer.close().expect("closed");
    std::fs::write(&object, rewritten).expect("written");
    let before = files_below(target.path());
    let run = archive(tree.path(), target.path(), &[]).expect(3);
    assert!(run.summary()["set_aside"][0]["reason"].as_str().is_some_and(|why| why.contains("no ledger")), "{}", run.stdout);
    assert!(files_below(target.path()) == before, "nothing is written");
}

#[test]
fn a_snapshot_that_vanishes_unarchived_is_no_success() {
    // the tree is scanned, then read: a file that was listed and cannot be opened any more stands for one that was cleaned up
    let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    for host in 0..400 {
        tree.bin("c", &format!("n{host:03}"), &Snapshot { root: Level::default().metric("m", 1, T0, support::noise(host, 20_000)), from: T0, to: T0 + 20_000 });
    }
    let last = tree.path().join(format!("c/n399/{T0}.bin"));
    let mut command = support::archiver();
    command.args(["archive", "-v", "--json", "--progress", "never", "--workers", "1"]).arg(tree.path()).arg(target.path());
    let mut running = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("started");
    // the line that says that the tree was scanned
    let mut said = std::io::BufReader::new(running.stderr.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
    assert!(line.contains("archiving"), "{line}");
    std::fs::remove_file(&last).expect("removed");
    let drained = std::thread::spawn(move || std::io::Read::read_to_string(&mut said, &mut String::new()));
    let output = running.wait_with_output().expect("ended");
    drained.join().expect("joined").expect("read");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a summary");
    assert_eq!(output.status.code(), Some(3), "{summary}");
    assert!(summary["set_aside"][0]["path"].as_str().is_some_and(|path| path.contains("n399")), "{summary}");
    assert_eq!(summary["rows_written"], 399 * 20_000);
}

#[test]
fn compressed_snapshots_do_not_bring_the_run_to_a_halt() {
    // sizes of compressed files are found out ahead of the hosts that are written; with one worker, whoever keeps it stops everybody
    let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let snapshot = |host| Snapshot { root: Level::default().metric("m", 1, T0, support::noise(host, 3_000)), from: T0, to: T0 + 3_000 };
    for host in 0..60 {
        let frame = zstd::encode_all(snapshot(host).bin().as_slice(), 1).expect("compressed");
        tree.write(&format!("c/n{host:03}/{T0}.bin.zst"), &frame);
    }
    let mut command = support::archiver();
    command.args(["archive", "-q", "--progress", "never", "--workers", "1", "--row-group-rows", "500"]).arg(tree.path()).arg(target.path());
    let mut running = command.spawn().expect("started");
    let begun = std::time::Instant::now();
    let status = loop {
        if let Some(status) = running.try_wait().expect("a status") {
            break status;
        }
        if begun.elapsed().as_secs() > 60 {
            running.kill().expect("ended");
            panic!("the run has come to a halt");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    let expected = (0..60).flat_map(|host| snapshot(host).rows("c", &format!("n{host:03}")));
    assert_same_rows("the archive", rows_of(&files_below(target.path())), expected);
}
