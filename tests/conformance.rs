//! One suite of behaviours, run against every kind of archive, a directory, memory and S3, with both encoders.

use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::store::Archive;
use cc_archiver::telemetry::Progress;
use clap::Parser;
use object_store::{ObjectStoreExt, path::Path as Key};
use parquet::file::metadata::ParquetMetaDataReader;

use support::{
    Bucket, DAY, Level, MIDNIGHT, Objects, Row, Run, Snapshot, T0, Tree, archiver, assert_same_host_metrics, assert_same_rows, block_on, date_of, files_below,
    noise, objects_in, rows_in, rows_of, run, s3, write,
};

mod support;

// ---------------------------------------------------------------- the targets

/// An empty archive to begin with, and what can be done with it from outside.
struct Target {
    place: Place,
    encoder: &'static str,
}

enum Place {
    Directory(tempfile::TempDir),
    Memory(Archive),
    S3 { bucket: Rc<Bucket>, prefix: String },
}

impl Target {
    fn directory(encoder: &'static str) -> Self {
        Self { place: Place::Directory(tempfile::tempdir().expect("a temporary folder")), encoder }
    }

    fn memory(encoder: &'static str) -> Self {
        Self { place: Place::Memory(Archive::in_memory()), encoder }
    }

    fn s3(encoder: &'static str) -> Self {
        Self { place: Place::S3 { bucket: Rc::new(s3()), prefix: "archive".into() }, encoder }
    }

    /// Another empty archive of the same kind.
    fn sibling(&self) -> Self {
        match &self.place {
            Place::Directory(_) => Self::directory(self.encoder),
            Place::Memory(_) => Self::memory(self.encoder),
            Place::S3 { bucket, prefix } => Self { place: Place::S3 { bucket: Rc::clone(bucket), prefix: format!("{prefix}-next") }, encoder: self.encoder },
        }
    }

    /// Archives a tree.
    fn archive(&self, tree: &Tree, flags: &[&str]) -> Run {
        let always = ["--json", "--progress", "never"];
        let flags = &[&["--encoder", self.encoder], flags].concat()[..];
        match &self.place {
            Place::Directory(folder) => run(archiver().arg("archive").arg(tree.path()).arg(folder.path()).args(always).args(flags)),
            Place::Memory(archive) => in_process(archive, tree, flags),
            Place::S3 { bucket, prefix } => {
                run(archiver().arg("archive").arg(tree.path()).arg(bucket.url(prefix)).args(always).args(flags).envs(bucket.environment()))
            }
        }
    }

    /// Everything that is in the archive.
    fn objects(&self) -> Objects {
        match &self.place {
            Place::Directory(folder) => files_below(folder.path()),
            Place::Memory(archive) => objects_in(archive.store().as_ref(), ""),
            Place::S3 { bucket, prefix } => bucket.objects(&format!("{prefix}/")),
        }
    }

    /// Puts an object there, or another one in its place.
    fn put(&self, key: &str, bytes: &Bytes) {
        match &self.place {
            Place::Directory(folder) => write(&folder.path().join(key), bytes),
            Place::Memory(archive) => {
                block_on(archive.store().put(&Key::parse(key).expect("a key"), bytes.clone().into())).expect("put");
            }
            Place::S3 { bucket, prefix } => bucket.put(&format!("{prefix}/{key}"), bytes),
        }
    }

    /// Checks that nothing is under way any more. What a directory stages would be among its objects.
    fn assert_nothing_is_left_open(&self) {
        if let Place::S3 { bucket, .. } = &self.place {
            assert_eq!(bucket.open_uploads(), [""; 0]);
        }
    }
}

/// A run of the library in this process, told as if it were one of the program.
fn in_process(archive: &Archive, tree: &Tree, flags: &[&str]) -> Run {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    // on one thread, so that this thread's subscriber hears all of it
    let outcome = tracing::subscriber::with_default(subscriber, || {
        let nowhere = PathBuf::from("/nonexistent");
        let arguments = ["cc-archiver".into(), "archive".into(), tree.path().as_os_str().to_owned(), nowhere.into_os_string()];
        let Command::Archive(arguments) = Cli::parse_from(arguments.into_iter().chain(flags.iter().map(Into::into))).command else { panic!("archive") };
        let settings = config::archive(*arguments, &S3Environment::default())?;
        block_on(pipeline::archive(&settings, archive.clone(), Arc::new(Progress::default()), std::future::pending()))
    });
    let stderr = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("UTF-8");
    match outcome {
        Ok(Outcome::Done(summary)) => {
            let stdout = serde_json::to_string(&summary).expect("plain data");
            Run { code: if summary.set_aside.is_empty() { 0 } else { 3 }, stdout, stderr }
        }
        Ok(Outcome::Planned(plan)) => Run { code: 0, stdout: serde_json::to_string(&plan).expect("plain data"), stderr },
        Err(e) => Run { code: e.exit() as i32, stdout: String::new(), stderr: format!("{stderr}{e}\n") },
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

macro_rules! suite {
    ($($behaviour:ident)*) => {
        suite!(@by runs: $($behaviour)*);
        suite!(@by arrow: $($behaviour)*);
    };
    (@by $encoder:ident: $($behaviour:ident)*) => {
        mod $encoder {
            suite!(@by $encoder for directory: $($behaviour)*);
            suite!(@by $encoder for memory: $($behaviour)*);
            suite!(@by $encoder for s3: $($behaviour)*);
        }
    };
    (@by $encoder:ident for $target:ident: $($behaviour:ident)*) => {
        mod $target {
            $(#[test]
            fn $behaviour() {
                let target = crate::Target::$target(stringify!($encoder));
                crate::$behaviour(&target);
                target.assert_nothing_is_left_open();
            })*
        }
    };
}

suite! {
    the_first_run_archives_everything
    the_second_run_uploads_nothing
    new_snapshots_go_into_new_objects_beside_the_old_ones
    a_changed_file_is_a_new_version_and_adds_only_its_new_rows
    the_same_input_gives_the_same_objects_whatever_the_number_of_workers
    small_objects_hold_one_host_each_and_all_rows
    small_row_groups_hold_all_rows
    a_large_object_goes_through_a_multipart_upload
    a_foreign_object_is_passed_over_with_a_warning
    sources_that_a_damaged_object_may_hold_are_set_aside_and_the_rest_is_archived
    an_archive_with_the_cluster_column_refuses_a_run_without_it
    an_archive_without_the_cluster_column_refuses_a_run_with_it
}

// ---------------------------------------------------------------- the input

const HOSTS: usize = 9;

/// Hosts of two clusters in both formats, with levels, gaps, snapshots that cross midnight and ones that overlap.
fn varied() -> (Tree, Vec<Row>) {
    let tree = Tree::new();
    let mut rows = Vec::new();
    for h in 0..HOSTS {
        let (cluster, host) = (["fritz", "alex"][h % 2], format!("n{h:02}"));
        // 16 hours: the second half of the first one, and all of the second one, lie past midnight
        let first = snapshot_of(h, T0 + 10 * 3_600);
        let second = snapshot_of(h + HOSTS, T0 + 26 * 3_600);
        tree.bin(cluster, &host, &first);
        tree.json(cluster, &host, &second);
        rows.extend(first.rows(cluster, &host));
        rows.extend(second.rows(cluster, &host));
    }
    // a restart: two snapshots hold the same hour, and the one that begins later is right about it
    let older = Snapshot::minutes(T0, [1.0; 120]);
    let newer = Snapshot::minutes(T0 + 3_600, [2.0; 120]);
    tree.bin("fritz", "restarted", &older);
    tree.bin("fritz", "restarted", &newer);
    rows.extend(older.rows("fritz", "restarted").into_iter().filter(|row| row.timestamp < newer.from));
    rows.extend(newer.rows("fritz", "restarted"));
    (tree, rows)
}

fn snapshot_of(seed: usize, from: i64) -> Snapshot {
    let with_gaps: Vec<f32> = noise(seed as u64, 192).into_iter().enumerate().map(|(i, v)| if i % 7 == seed % 7 { f32::NAN } else { v }).collect();
    let core = Level::default().metric("cpu_user", 600, from + 30, noise(seed as u64 + 100, 96));
    let socket = Level::default().metric("cpu_load", 300, from, with_gaps.clone()).child("core1", ("core", "1"), core);
    let root = Level::default().metric("cpu_load", 300, from, with_gaps).metric("never", 60, from, [f32::NAN; 10]).child("socket0", ("socket", "0"), socket);
    Snapshot { from, to: from + 57_600, root }
}

fn keys(objects: &Objects) -> Vec<&str> {
    objects.keys().map(String::as_str).collect()
}

/// Checks that what was there is there, byte for byte, and gives what was added.
#[track_caller]
fn added(before: &Objects, after: &Objects) -> Objects {
    for (key, bytes) in before {
        assert!(after.get(key) == Some(bytes), "{key} was changed or is gone");
    }
    after.iter().filter(|(key, _)| !before.contains_key(*key)).map(|(key, bytes)| (key.clone(), bytes.clone())).collect()
}

// ---------------------------------------------------------------- the behaviours

fn the_first_run_archives_everything(target: &Target) {
    let (tree, rows) = varied();
    let before = tree.state();
    let summary = target.archive(&tree, &[]).expect(0).summary();
    let objects = target.objects();
    assert_same_rows("the archive", rows_of(&objects), &rows);
    assert_eq!(summary["rows_written"], rows.len());
    assert_eq!(summary["files"], 2 * HOSTS + 2);
    assert_eq!(summary["hosts"], HOSTS + 1);
    assert_eq!(summary["duplicates_dropped"], 60);
    assert_eq!(summary["objects"], serde_json::json!(keys(&objects)));
    assert_eq!(summary["bytes_out"], objects.values().map(Bytes::len).sum::<usize>());
    assert_eq!(tree.state(), before, "the tree is only read");
}

fn the_second_run_uploads_nothing(target: &Target) {
    let (tree, _) = varied();
    target.archive(&tree, &[]).expect(0);
    let before = target.objects();
    let summary = target.archive(&tree, &[]).expect(0).summary();
    assert_eq!(summary["objects_written"], 0);
    assert_eq!(summary["files"], 0);
    assert_eq!(summary["already_archived"], 2 * HOSTS + 2);
    assert!(!before.is_empty());
    assert_eq!(target.objects(), before);
}

fn new_snapshots_go_into_new_objects_beside_the_old_ones(target: &Target) {
    let tree = Tree::new();
    let first = Snapshot::minutes(T0, [1.0; 60]);
    // the new one overlaps the first by half an hour, and has other values there: what is archived stays
    let second = Snapshot::minutes(T0 + 1_800, [2.0; 60]);
    let other = Snapshot::minutes(T0, [3.0; 60]);
    tree.bin("c", "n1", &first);
    target.archive(&tree, &[]).expect(0);
    let before = target.objects();
    tree.bin("c", "n1", &second);
    tree.bin("c", "n2", &other);
    let summary = target.archive(&tree, &[]).expect(0).summary();
    let mut rows = second.rows("c", "n1");
    rows.retain(|row| row.timestamp >= first.to);
    rows.extend(other.rows("c", "n2"));
    assert_same_rows("new objects", rows_of(&added(&before, &target.objects())), &rows);
    assert_eq!(summary["rows_written"], rows.len());
    assert_eq!(summary["already_archived"], 1);
    assert_eq!(summary["already_archived_rows"], 30);
    assert_eq!(summary["conflicting_rows"], 30);
}

fn a_changed_file_is_a_new_version_and_adds_only_its_new_rows(target: &Target) {
    let tree = Tree::new();
    let short = Snapshot::minutes(T0, [1.0; 60]);
    let mut long = [1.0; 90];
    long[10] = 5.0;
    let long = Snapshot::minutes(T0, long);
    tree.json("c", "n1", &short);
    target.archive(&tree, &[]).expect(0);
    let before = target.objects();
    tree.json("c", "n1", &long);
    let summary = target.archive(&tree, &[]).expect(0).summary();
    let mut rows = long.rows("c", "n1");
    rows.retain(|row| row.timestamp >= short.to);
    assert_same_rows("new objects", rows_of(&added(&before, &target.objects())), &rows);
    assert_eq!(summary["new_versions"], 1);
    assert_eq!(summary["conflicting_rows"], 1, "the value that the new version contradicts");
    let summary = target.archive(&tree, &[]).expect(0).summary();
    assert_eq!(summary["objects_written"], 0, "then both versions are known");
}

fn the_same_input_gives_the_same_objects_whatever_the_number_of_workers(target: &Target) {
    let (tree, _) = varied();
    let flags = |workers| ["--workers", workers, "--row-group-rows", "50", "--object-size", "1500B"];
    // the reference is always a directory: so all kinds of archives get the same objects
    let reference = Target::directory(target.encoder);
    reference.archive(&tree, &flags("3")).expect(0);
    let expected = reference.objects();
    assert!(expected.len() > 6, "there are several objects a partition: {:?}", keys(&expected));
    let (second, third) = (target.sibling(), target.sibling().sibling());
    for (target, workers) in [(target, "1"), (&second, "2"), (&third, "7")] {
        target.archive(&tree, &flags(workers)).expect(0);
        let found = target.objects();
        assert_eq!(keys(&found), keys(&expected), "{workers} workers");
        assert!(found == expected, "{workers} workers: same keys, other bytes");
    }
}

fn small_objects_hold_one_host_each_and_all_rows(target: &Target) {
    let (tree, rows) = varied();
    target.archive(&tree, &["--object-size", "1B"]).expect(0);
    let objects = target.objects();
    assert_same_rows("the archive", rows_of(&objects), &rows);
    let mut host_days: Vec<_> = rows.iter().map(|row| (&row.cluster, &row.date, &row.hostname)).collect();
    host_days.sort();
    host_days.dedup();
    assert_eq!(objects.len(), host_days.len());
    for (key, bytes) in &objects {
        let rows = rows_in(key, bytes);
        assert!(rows.iter().all(|row| row.hostname == rows[0].hostname), "{key} holds several hosts");
    }
}

fn small_row_groups_hold_all_rows(target: &Target) {
    let (tree, rows) = varied();
    target.archive(&tree, &["--row-group-rows", "97"]).expect(0);
    let objects = target.objects();
    assert_same_rows("the archive", rows_of(&objects), &rows);
    for (key, bytes) in &objects {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).expect("a footer");
        let (last, others) = metadata.row_groups().split_last().expect("row groups");
        assert!(others.iter().all(|group| group.num_rows() == 97) && (1..=97).contains(&last.num_rows()), "{key}");
        assert!(rows_in(key, bytes).is_sorted(), "{key}: the order holds across row groups");
    }
}

fn a_large_object_goes_through_a_multipart_upload(target: &Target) {
    let tree = Tree::new();
    let (small, mut large) = (Snapshot::minutes(T0, [1.0; 60]), Snapshot { from: MIDNIGHT + 3_600, to: MIDNIGHT + DAY, ..Snapshot::default() });
    for metric in 0..52 {
        large.root = large.root.metric(&format!("m{metric:02}"), 1, large.from, noise(metric, 82_800));
    }
    tree.bin("large", "n1", &large);
    tree.bin("small", "n1", &small);
    target.archive(&tree, &["--compression", "none", "--row-group-rows", "700000"]).expect(0);
    let objects = target.objects();
    let [(key, bytes), (small_key, small_bytes)] = objects.iter().collect::<Vec<_>>()[..] else { panic!("two objects expected: {:?}", keys(&objects)) };
    assert!(bytes.len() > 16 << 20, "{key} has only {} bytes", bytes.len());
    assert_same_rows(small_key, rows_in(small_key, small_bytes), small.rows("small", "n1"));
    assert_same_host_metrics(key, bytes, &large);
    if let Place::S3 { bucket, prefix } = &target.place {
        let parts = |key: &str| bucket.parts_of(&format!("{prefix}/{key}"));
        assert_eq!(parts(key), Some(bytes.len().div_ceil(8 << 20)));
        assert_eq!(parts(small_key), None, "a small object is one request");
    }
}

#[test]
fn the_check_for_open_uploads_sees_one() {
    let bucket = s3();
    bucket.leave_upload_open();
    assert_eq!(bucket.open_uploads(), ["open"]);
}

/// A Parquet file that somebody else wrote.
fn foreign_object() -> Bytes {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("x", column)]).expect("a batch");
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    file.into()
}

fn a_foreign_object_is_passed_over_with_a_warning(target: &Target) {
    let (tree, rows) = varied();
    let foreign = ["cluster=fritz/date=2026-03-01/export.parquet", "cluster=fritz/date=2026-03-01/part-00-00017.parquet"];
    for key in foreign {
        target.put(key, &foreign_object());
    }
    let first = target.archive(&tree, &[]).expect(0);
    let mut objects = target.objects();
    for key in foreign {
        assert_eq!(objects.remove(key), Some(foreign_object()));
        let warned = first.lines_of("WARN").into_iter().filter(|line| line.contains(key)).count();
        assert!(warned > 0, "no warning of {key}:\n{}", first.stderr);
    }
    assert_same_rows("the archive", rows_of(&objects), rows);
    let summary = target.archive(&tree, &[]).expect(0).summary();
    assert_eq!(summary["objects_written"], 0);
}

fn sources_that_a_damaged_object_may_hold_are_set_aside_and_the_rest_is_archived(target: &Target) {
    let tree = Tree::new();
    let (day1, day3) = (Snapshot::minutes(T0, [1.0; 60]), Snapshot::minutes(T0 + 2 * DAY, [3.0; 60]));
    tree.bin("c", "n1", &day1);
    tree.bin("c", "n1", &day3);
    target.archive(&tree, &[]).expect(0);
    let whole = target.objects();
    let (key, bytes) = whole.first_key_value().expect("an object");
    assert!(key.contains(&date_of(T0)));
    let truncated = bytes.slice(..bytes.len() - 10);
    target.put(key, &truncated);
    let before = target.objects();
    // the same day and host, the same day and another host, another cluster, another day
    let new = [("c", "n1", T0 + 7_200), ("c", "n2", T0), ("d", "n1", T0), ("c", "n2", T0 + 2 * DAY)];
    for (cluster, host, from) in new {
        tree.bin(cluster, host, &Snapshot::minutes(from, [4.0; 60]));
    }
    let run = target.archive(&tree, &[]).expect(3);
    let set_aside: Vec<String> =
        run.summary()["set_aside"].as_array().expect("a list").iter().map(|note| note["path"].as_str().expect("a path").to_owned()).collect();
    let expected = [("n1", T0), ("n1", T0 + 7_200), ("n2", T0)].map(|(host, from)| tree.path().join(format!("c/{host}/{from}.bin")).display().to_string());
    assert_eq!(set_aside, expected);
    assert!(run.stdout.contains(key), "the damaged object is named: {}", run.stdout);
    let rows = [Snapshot::minutes(T0, [4.0; 60]).rows("d", "n1"), Snapshot::minutes(T0 + 2 * DAY, [4.0; 60]).rows("c", "n2")].concat();
    assert_same_rows("new objects", rows_of(&added(&before, &target.objects())), rows);
    // once it is repaired, nothing is missing and nothing is there twice
    target.put(key, bytes);
    target.archive(&tree, &[]).expect(0);
    let mut all = [day1.rows("c", "n1"), day3.rows("c", "n1")].concat();
    all.extend(new.iter().flat_map(|(cluster, host, from)| Snapshot::minutes(*from, [4.0; 60]).rows(cluster, host)));
    assert_same_rows("the archive", rows_of(&target.objects()), all);
}

fn the_other_schema_is_refused(target: &Target, first: &[&str], second: &[&str]) {
    let (tree, rows) = varied();
    target.archive(&tree, first).expect(0);
    let before = target.objects();
    assert_same_rows("the archive", rows_of(&before), rows);
    tree.bin("new", "n1", &Snapshot::minutes(T0, [1.0]));
    let run = target.archive(&tree, second).expect(2);
    assert!(run.stderr.contains("--with-cluster-column"), "no hint: {}", run.stderr);
    assert_eq!(target.objects(), before);
    target.archive(&tree, first).expect(0);
    assert_eq!(added(&before, &target.objects()).len(), 1);
}

fn an_archive_with_the_cluster_column_refuses_a_run_without_it(target: &Target) {
    the_other_schema_is_refused(target, &["--with-cluster-column"], &[]);
    for (key, bytes) in &target.objects() {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).expect("a footer");
        assert_eq!(metadata.file_metadata().schema_descr().column(0).name(), "cluster", "{key}");
    }
}

fn an_archive_without_the_cluster_column_refuses_a_run_with_it(target: &Target) {
    the_other_schema_is_refused(target, &[], &["--with-cluster-column"]);
}
