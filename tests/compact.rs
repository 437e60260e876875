//! `compact`: objects of a date become one, rows that stand twice become one, and whatever happens in between, nothing is lost.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cc_archiver::pipeline;
use cc_archiver::schema::{Layout, ValueEncoding};
use cc_archiver::settings::{CompactSettings, Encoder, Location, Part};
use cc_archiver::store::Archive;
use cc_archiver::telemetry::{Compaction, Progress};
use parquet::basic::{Compression, ZstdLevel};
use serde_json::Value;
use support::{
    Bucket, MIDNIGHT, Objects, Row, Run, Snapshot, Tree, archive, archiver, assert_same_rows, block_on, files_below, footer_of, ledger_of, noise, rows_of, run,
    s3, s3_settings,
};

mod support;

const HOUR: i64 = 3_600;

/// Makes all objects of a directory look as if they had been written days ago.
fn age(archive: &Path) {
    for key in files_below(archive).keys().filter(|key| key.ends_with(".parquet")) {
        let file = File::options().write(true).open(archive.join(key)).expect("opened");
        file.set_modified(SystemTime::now() - Duration::from_secs(3 * 86_400)).expect("set");
    }
}

fn compact(archive: &Path, flags: &[&str]) -> Run {
    age(archive);
    run(archiver().arg("compact").arg(archive).args(["--json", "--progress", "never"]).args(flags))
}

fn verified(archive: &Path) {
    run(archiver().arg("verify").arg(archive).args(["--read-data", "--decode"])).expect(0);
}

fn number(run: &Run, name: &str) -> u64 {
    run.summary()[name].as_u64().unwrap_or_else(|| panic!("no {name}: {}", run.stdout))
}

/// Snapshots of six hours of one day for three hosts; the same hour has the same values in all that hold it.
struct Site {
    tree: Tree,
    archive: tempfile::TempDir,
    rows: Vec<Row>,
}

impl Site {
    fn new() -> Self {
        Self { tree: Tree::new(), archive: tempfile::tempdir().expect("a folder"), rows: Vec::new() }
    }

    fn place(&self) -> std::path::PathBuf {
        self.archive.path().join("archive")
    }

    /// Adds a snapshot of each host that begins at an hour.
    fn add(&mut self, hour: i64) {
        for host in 0..3_u64 {
            let values = noise(host, 24 * 60);
            let snapshot = Snapshot::minutes(MIDNIGHT + HOUR * hour, &values[60 * hour as usize..][..360]);
            let name = format!("n{host}");
            self.rows.extend(snapshot.rows("c", &name));
            self.tree.bin("c", &name, &snapshot);
        }
    }

    /// A run for each of these hours, each of which makes an object.
    fn runs(hours: &[i64]) -> Self {
        let mut site = Self::new();
        for hour in hours {
            site.add(*hour);
            archive(site.tree.path(), site.place(), &[]).expect(0);
        }
        site.rows.sort();
        site.rows.dedup();
        site
    }

    fn objects(&self) -> Objects {
        files_below(&self.place())
    }
}

#[test]
fn the_objects_of_a_date_become_one_with_all_of_their_rows_and_sources() {
    let site = Site::runs(&[0, 6, 12, 18]);
    assert_eq!(site.objects().len(), 4);
    let planned = compact(&site.place(), &["--dry-run"]).expect(0);
    assert_eq!((number(&planned, "replaced"), number(&planned, "made"), site.objects().len()), (4, 1, 4));
    let done = compact(&site.place(), &[]).expect(0);
    assert_eq!(["replaced", "made", "rows_read", "rows_written", "doubled_rows"].map(|name| number(&done, name)), [4, 1, 4_320, 4_320, 0]);
    let objects = site.objects();
    assert_eq!(objects.keys().collect::<Vec<_>>(), ["cluster=c/date=2026-03-01/part-00-00004.parquet"]);
    assert_same_rows("compacted", rows_of(&objects), &site.rows);
    let bytes = objects.values().next().expect("one");
    assert_eq!(ledger_of(bytes).expect("a ledger").len(), 12);
    let replaces = footer_of(bytes).expect("a footer")["cc-archiver.replaces"].clone();
    assert_eq!(replaces.split(',').map(|member| &member[..6]).collect::<Vec<_>>(), ["00000:", "00001:", "00002:", "00003:"]);
    verified(&site.place());
    // nothing is left to do, and nothing is archived again
    assert_eq!(number(&compact(&site.place(), &[]).expect(0), "replaced"), 0);
    let again = archive(site.tree.path(), site.place(), &[]).expect(0);
    assert_eq!((number(&again, "files"), number(&again, "already_archived")), (0, 12));
    // and all of it is proven
    let pruned = run(archiver().arg("prune").arg(site.tree.path()).arg(site.place()).args(["--older-than", "1s", "--include-newest", "--json"])).expect(0);
    assert_eq!(number(&pruned, "pruned"), 12);
}

#[test]
fn what_is_archived_after_a_compaction_is_joined_with_it_by_the_next() {
    let mut site = Site::runs(&[0, 6]);
    compact(&site.place(), &[]).expect(0);
    site.add(12);
    archive(site.tree.path(), site.place(), &[]).expect(0);
    verified(&site.place());
    let done = compact(&site.place(), &[]).expect(0);
    assert_eq!(["replaced", "made"].map(|name| number(&done, name)), [2, 1]);
    site.add(18);
    archive(site.tree.path(), site.place(), &[]).expect(0);
    site.rows.sort();
    assert_same_rows("all", rows_of(&site.objects()), &site.rows);
    assert_eq!(
        site.objects().keys().collect::<Vec<_>>(),
        ["cluster=c/date=2026-03-01/part-00-00004.parquet", "cluster=c/date=2026-03-01/part-00-00005.parquet"]
    );
    verified(&site.place());
}

#[test]
fn what_is_young_or_alone_stays_as_it_is() {
    let site = Site::runs(&[0, 6]);
    let young = run(archiver().arg("compact").arg(site.place()).arg("--json")).expect(0);
    assert_eq!((number(&young, "young"), number(&young, "replaced")), (1, 0));
    let few = compact(&site.place(), &["--min-objects", "3"]).expect(0);
    assert_eq!((number(&few, "young"), number(&few, "replaced")), (0, 0));
    // as large as objects get
    let large = compact(&site.place(), &["--max-size", "5000"]).expect(0);
    assert_eq!(number(&large, "replaced"), 0, "{}", large.stdout);
    for (flags, why) in [(["--min-object-age", "1h"], "1day"), (["--min-objects", "1"], "least is 2"), (["--max-size", "0"], "positive")] {
        assert!(compact(&site.place(), &flags).expect(2).stderr.contains(why), "{flags:?}");
    }
}

#[test]
fn a_cluster_that_cannot_be_is_refused_and_one_that_is_named_twice_is_one() {
    let site = Site::runs(&[0, 6]);
    for name in ["c/", ".."] {
        let refused = compact(&site.place(), &["--cluster", name]).expect(2);
        assert!(refused.stderr.contains("no cluster has such a name"), "{}", refused.stderr);
    }
    assert_eq!(site.objects().len(), 2);
    let listed = run(archiver().arg("ls").arg(site.place()).args(["--cluster", "c,c", "--objects", "--json"])).expect(0);
    assert_eq!(listed.stdout.matches("part-00-00000").count(), 1, "{}", listed.stdout);
    assert_eq!(number(&compact(&site.place(), &["--cluster", "c,c"]).expect(0), "replaced"), 2);
}

/// The archive of another machine, which knew nothing of the first, beside it: as on a store that ignores conditions.
fn put_beside(site: &Site, other: &Site) {
    for (n, (key, bytes)) in other.objects().iter().enumerate() {
        let beside = key.replace(".parquet", &format!("-{:016x}.parquet", n + 0xa1));
        std::fs::write(site.place().join(beside), bytes).expect("written");
    }
}

#[test]
fn rows_that_stand_twice_become_one() {
    let site = Site::runs(&[0, 6, 12]);
    put_beside(&site, &Site::runs(&[0, 6, 12]));
    let doubled = archive(site.tree.path(), site.place(), &[]).expect(3);
    assert!(doubled.stderr.contains("rows stand twice"), "{}", doubled.stderr);
    let done = compact(&site.place(), &["--min-objects", "50"]).expect(0);
    assert_eq!(
        ["replaced", "made", "rows_read", "rows_written", "doubled_rows", "differing_rows"].map(|name| number(&done, name)),
        [6, 1, 6_480, 3_240, 3_240, 0]
    );
    assert_same_rows("compacted", rows_of(&site.objects()), &site.rows);
    verified(&site.place());
    let again = archive(site.tree.path(), site.place(), &[]).expect(0);
    assert_eq!((number(&again, "files"), number(&again, "already_archived")), (0, 9));
    let pruned = run(archiver().arg("prune").arg(site.tree.path()).arg(site.place()).args(["--older-than", "1s", "--include-newest", "--json"])).expect(0);
    assert_eq!(number(&pruned, "pruned"), 9);
}

#[test]
fn of_different_values_the_one_that_was_archived_first_stays_and_its_loser_is_named_and_kept() {
    let site = Site::runs(&[0]);
    // another machine has a snapshot of the same hours, ten minutes later and with other values
    let other = Site::new();
    let later = Snapshot::minutes(MIDNIGHT + 600, vec![7.0; 360]);
    other.tree.bin("c", "n1", &later);
    archive(other.tree.path(), other.place(), &[]).expect(0);
    put_beside(&site, &other);
    let done = compact(&site.place(), &[]).expect(3);
    assert_eq!(["rows_read", "rows_written", "doubled_rows", "differing_rows"].map(|name| number(&done, name)), [1_440, 1_090, 350, 350]);
    let conflict = &done.summary()["conflicts"][0];
    assert_eq!((conflict["source"].as_str(), conflict["rows"].as_u64()), (Some(format!("n1/{}.bin", MIDNIGHT + 600).as_str()), Some(350)));
    let mut expected = site.rows.clone();
    expected.extend(later.rows("c", "n1").into_iter().skip(350));
    expected.sort();
    let objects = site.objects();
    assert_same_rows("compacted", rows_of(&objects), &expected);
    verified(&site.place());
    let ledger = ledger_of(objects.values().next().expect("one")).expect("a ledger");
    let of = |path: String| ledger.iter().find(|entry| entry["path"] == path.as_str()).unwrap_or_else(|| panic!("no {path}"));
    let loser = of(format!("n1/{}.bin", MIDNIGHT + 600));
    assert_eq!(["rows", "written", "dropped", "conflicting"].map(|name| loser[name].as_u64()), [Some(360), Some(10), Some(350), Some(350)]);
    assert_eq!(loser["held_by"].as_array().map(Vec::as_slice), Some(&[of(format!("n1/{MIDNIGHT}.bin"))["blake3"].clone()][..]));
    let prune = |tree: &Tree| run(archiver().arg("prune").arg(tree.path()).arg(site.place()).args(["--older-than", "1s", "--include-newest", "--json"]));
    assert_eq!(number(&prune(&other.tree).expect(3), "pruned"), 0, "its values are not archived");
    assert_eq!(number(&prune(&site.tree).expect(0), "pruned"), 3);
}

#[test]
fn where_sources_overlap_each_that_may_have_lost_a_value_is_kept() {
    // the first machine has an earlier version of the file, whose last minutes are others
    let minutes = |value: f32| -> Vec<f32> { (0..60).map(|minute| if minute < 51 { 7.0 } else { value }).collect() };
    let site = Site::new();
    site.tree.bin("c", "n1", &Snapshot::minutes(MIDNIGHT, minutes(8.0)));
    archive(site.tree.path(), site.place(), &[]).expect(0);
    let other = Site::new();
    other.tree.bin("c", "n1", &Snapshot::minutes(MIDNIGHT, minutes(9.0)));
    // after a restart: it begins before the other one ends
    other.tree.bin("c", "n1", &Snapshot::minutes(MIDNIGHT + 50 * 60 + 17, [1.0; 60]));
    archive(other.tree.path(), other.place(), &[]).expect(0);
    put_beside(&site, &other);
    let done = compact(&site.place(), &[]).expect(3);
    assert_eq!(["rows_read", "rows_written", "doubled_rows", "differing_rows"].map(|name| number(&done, name)), [180, 120, 60, 9]);
    verified(&site.place());
    let pruned = run(archiver().arg("prune").arg(other.tree.path()).arg(site.place()).args(["--older-than", "1s", "--include-newest", "--json"])).expect(3);
    assert_eq!(number(&pruned, "pruned"), 0, "the nine values are in these files alone: {}", pruned.stdout);
}

#[test]
fn while_all_of_its_members_stand_a_compaction_does_not_count_and_then_it_does() {
    let site = Site::runs(&[0, 6]);
    let members = site.objects();
    compact(&site.place(), &[]).expect(0);
    let compacted = site.objects();
    let put = |objects: &Objects, keys: &[&String]| {
        for key in keys {
            std::fs::write(site.place().join(key), &objects[*key]).expect("written");
        }
    };
    let keys: Vec<&String> = members.keys().collect();
    // as it was before the first was deleted: nothing is said of it, and nothing archived
    put(&members, &keys);
    let quiet = archive(site.tree.path(), site.place(), &[]).expect(0);
    assert_eq!((number(&quiet, "files"), number(&quiet, "already_archived")), (0, 6));
    run(archiver().arg("verify").arg(site.place())).expect(0);
    let done = compact(&site.place(), &[]).expect(0);
    assert_eq!(["finished", "replaced", "doubled_rows"].map(|name| number(&done, name)), [2, 0, 0]);
    assert_eq!(site.objects(), compacted, "it was made already");
    // as it was between the first and the last
    std::fs::remove_file(site.place().join(site.objects().keys().next().expect("one"))).expect("removed");
    put(&compacted, &compacted.keys().collect::<Vec<_>>());
    put(&members, &keys[..1]);
    let quiet = archive(site.tree.path(), site.place(), &[]).expect(0);
    assert_eq!((number(&quiet, "files"), number(&quiet, "already_archived")), (0, 6));
    run(archiver().arg("verify").arg(site.place())).expect(0);
    let done = run(archiver().arg("compact").arg(site.place()).arg("--json")).expect(0);
    assert_eq!(["finished", "replaced"].map(|name| number(&done, name)), [1, 0], "at once, however young it is");
    assert_eq!(site.objects(), compacted);
}

#[test]
fn what_an_earlier_run_left_is_finished_though_hosts_are_gone_with_what_it_deleted() {
    let site = Site::new();
    let mut rows = Vec::new();
    for (n, host) in ["n1", "n2"].into_iter().enumerate() {
        let snapshot = Snapshot::minutes(MIDNIGHT + HOUR * n as i64, noise(n as u64, 60));
        rows.extend(snapshot.rows("c", host));
        site.tree.bin("c", host, &snapshot);
        archive(site.tree.path(), site.place(), &[]).expect(0);
    }
    let members = site.objects();
    compact(&site.place(), &[]).expect(0);
    let compacted = site.objects();
    for (key, bytes) in &members {
        std::fs::write(site.place().join(key), bytes).expect("written");
        let done = compact(&site.place(), &[]).expect(0);
        assert_eq!(["finished", "replaced"].map(|name| number(&done, name)), [1, 0], "{key}");
        assert_eq!(site.objects(), compacted);
    }
    assert_same_rows("compacted", rows_of(&site.objects()), &rows);
}

#[test]
fn an_object_that_is_damaged_keeps_its_sequence_as_it_is() {
    let site = Site::runs(&[0, 6]);
    let objects = site.objects();
    let (key, bytes) = objects.iter().next().expect("one");
    let mut damaged = bytes.to_vec();
    damaged[100] ^= 1;
    std::fs::write(site.place().join(key), damaged).expect("written");
    let refused = compact(&site.place(), &[]).expect(3);
    let note = &refused.summary()["set_aside"][0];
    assert!(
        note["path"].as_str().is_some_and(|path| path.ends_with(key)) && note["reason"].as_str().is_some_and(|why| why.contains("stays as it is")),
        "{note}"
    );
    assert_eq!(site.objects().len(), 2);
    // one whose footer cannot be read
    std::fs::write(site.place().join(key), b"PAR1").expect("written");
    let refused = compact(&site.place(), &[]).expect(3);
    assert!(refused.stdout.contains("its sequence stays as it is"), "{}", refused.stdout);
    assert_eq!(site.objects().len(), 2);
}

#[test]
fn a_host_without_room_in_memory_is_joined_all_the_same() {
    let mut site = Site::new();
    for (n, hours) in [(0, 0), (1, 12)] {
        let mut snapshot = Snapshot { from: MIDNIGHT + HOUR * hours, to: MIDNIGHT + HOUR * (hours + 12), root: support::Level::default() };
        for (m, values) in noise(7 + n, 3_000_000).chunks(30_000).enumerate() {
            snapshot.root = snapshot.root.metric(&format!("m{m:03}"), 1, snapshot.from, values);
        }
        site.tree.bin("c", "n1", &snapshot);
        archive(site.tree.path(), site.place(), &[]).expect(0);
        site.rows.extend(snapshot.rows("c", "n1"));
    }
    let done = compact(&site.place(), &["--memory", "64MiB", "--workers", "1"]).expect(0);
    assert_eq!(["rows_read", "rows_written"].map(|name| number(&done, name)), [6_000_000, 6_000_000]);
    site.rows.sort();
    assert!(rows_of(&site.objects()) == site.rows, "the rows are others");
}

/// Archives with so many objects of one host, each of an hour and of this many metrics.
fn of_many_objects(objects: i64, metrics: usize) -> Site {
    let mut site = Site::new();
    for hour in 0..objects {
        let mut snapshot = Snapshot { from: MIDNIGHT + 60 * hour, to: MIDNIGHT + 60 * (hour + 1), root: support::Level::default() };
        for (m, values) in noise(hour as u64, 20 * metrics).chunks(20).enumerate() {
            snapshot.root = snapshot.root.metric(&format!("m{m:05}"), 3, snapshot.from, values);
        }
        site.tree.bin("c", "n1", &snapshot);
        archive(site.tree.path(), site.place(), &[]).expect(0);
        site.rows.extend(snapshot.rows("c", "n1"));
    }
    site.rows.sort();
    site
}

#[test]
fn no_more_objects_are_joined_at_once_than_there_is_memory_for() {
    let site = of_many_objects(14, 20);
    // some together, and what they have become with the rest by the next run
    let done = compact(&site.place(), &["--memory", "64MiB"]).expect(0);
    let objects = site.objects().len();
    assert!((2..14).contains(&objects), "{objects} objects are left");
    assert_same_rows("joined", rows_of(&site.objects()), &site.rows);
    assert_eq!(number(&done, "replaced") - number(&done, "made"), 14 - objects as u64);
    compact(&site.place(), &["--memory", "64MiB"]).expect(0);
    assert_eq!(site.objects().len(), 1);
    assert_same_rows("joined again", rows_of(&site.objects()), &site.rows);
    verified(&site.place());
}

#[test]
fn where_rows_stand_twice_in_more_objects_than_there_is_memory_for_nothing_is_done_and_the_report_says_what_is_needed() {
    let (site, other) = (of_many_objects(5, 20), of_many_objects(5, 20));
    put_beside(&site, &other);
    let refused = compact(&site.place(), &["--memory", "64MiB"]).expect(3);
    let note = refused.summary()["set_aside"][0]["reason"].as_str().map(str::to_owned).expect("a reason");
    assert!(note.contains("10 objects have to be read side by side"), "{note}");
    assert_eq!(site.objects().len(), 10);
    let needed = note.rsplit("--memory ").next().expect("how much").replace(' ', "");
    let done = compact(&site.place(), &["--memory", &needed]).expect(0);
    assert_eq!(["replaced", "made"].map(|name| number(&done, name)), [10, 1], "with --memory {needed}");
    assert_same_rows("joined", rows_of(&site.objects()), &site.rows);
}

/// As the command does it, but for the age: nobody can make an object in a bucket old.
fn compacted_at_once(location: &str, bucket: &Bucket) -> Box<Compaction> {
    let archive: Location = location.parse().expect("a place");
    let s3 = Some(s3_settings(&bucket.environment(), &[]));
    let layout = Layout {
        compression: Compression::ZSTD(ZstdLevel::try_new(3).expect("a level")),
        value_encoding: ValueEncoding::ByteStreamSplit,
        cluster_column: false,
        row_group_rows: 1 << 20,
        object_size: 512 << 20,
    };
    let settings = CompactSettings {
        archive,
        part: Part::default(),
        min_objects: 2,
        min_age: Duration::ZERO,
        max_size: 512 << 20,
        dry_run: false,
        workers: 2,
        memory: 512 << 20,
        spool: std::env::temp_dir(),
        layout,
        encoder: Encoder::Runs,
        s3,
    };
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), false);
    block_on(pipeline::compact_in(&settings, open, Arc::new(Progress::default()), std::future::pending())).expect("done")
}

fn on_bucket(bucket: &Bucket, command: &mut Command) -> Run {
    run(command.envs(bucket.environment()).args(["--json", "--progress", "never"]))
}

#[test]
fn a_bucket_is_compacted_as_a_directory_is() {
    let (bucket, mut site) = (s3(), Site::new());
    let place = bucket.url("archive");
    for hour in [0, 6, 12] {
        site.add(hour);
        on_bucket(&bucket, archiver().arg("archive").arg(site.tree.path()).arg(&place)).expect(0);
    }
    site.rows.sort();
    let young = on_bucket(&bucket, archiver().arg("compact").arg(&place)).expect(0);
    assert_eq!(young.summary()["young"], Value::from(1));
    std::thread::sleep(Duration::from_millis(1_100));
    let done = compacted_at_once(&place, &bucket);
    assert_eq!((done.replaced, done.made, done.rows_written), (3, 1, 3_240));
    assert_same_rows("compacted", rows_of(&bucket.objects("archive")), &site.rows);
    assert!(bucket.open_uploads().is_empty());
    on_bucket(&bucket, archiver().arg("verify").arg(&place).args(["--read-data", "--decode"])).expect(0);
    let again = on_bucket(&bucket, archiver().arg("archive").arg(site.tree.path()).arg(&place)).expect(0);
    assert_eq!(again.summary()["already_archived"], Value::from(9));
}

#[test]
fn an_object_is_written_with_todays_settings_and_the_columns_of_its_archive() {
    let mut site = Site::new();
    for hour in [0, 6] {
        site.add(hour);
        archive(site.tree.path(), site.place(), &["--with-cluster-column"]).expect(0);
    }
    compact(&site.place(), &["--encoder", "arrow", "--compression", "snappy", "--value-encoding", "plain"]).expect(0);
    site.rows.sort();
    assert_same_rows("compacted", rows_of(&site.objects()), &site.rows);
    verified(&site.place());
}
