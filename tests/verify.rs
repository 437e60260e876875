//! `verify` finds whatever is wrong in an archive, says where, and finds nothing in one that is whole.

use std::path::{Path, PathBuf};

use serde_json::Value;

use support::{DAY, Level, MIDNIGHT, Run, Snapshot, T0, Tree, archive, archiver, date_of, files_below, noise, run, s3};

mod support;

fn verify(archive: &Path, flags: &[&str]) -> Run {
    run(archiver().arg("verify").arg(archive).args(["--json", "--progress", "never"]).args(flags))
}

fn kinds(report: &Value) -> Vec<&str> {
    report["findings"].as_array().expect("a list").iter().map(|finding| finding["kind"].as_str().expect("a kind")).collect()
}

/// An archive of some snapshots in a folder.
fn archived(snapshots: &[(&str, Snapshot)], flags: &[&str]) -> (Tree, tempfile::TempDir) {
    let (tree, folder) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    for (host, snapshot) in snapshots {
        tree.bin("c", host, snapshot);
    }
    archive(tree.path(), folder.path(), flags).expect(0);
    (tree, folder)
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    files_below(folder).into_keys().map(|key| folder.join(key)).collect()
}

#[test]
fn an_archive_that_is_whole_has_no_findings() {
    let (tree, folder) = (Tree::golden(), tempfile::tempdir().expect("a folder"));
    archive(tree.path(), folder.path(), &["--cluster", "alpha", "--row-group-rows", "100"]).expect(0);
    archive(tree.path(), folder.path(), &["--object-size", "1KiB"]).expect(0);
    let local = tree.path().to_str().expect("UTF-8");
    let report = verify(folder.path(), &["--read-data", "--decode", "--checkpoints", local]).expect(0).summary();
    let count = objects(folder.path()).len() as u64;
    assert!(count > 4, "several objects of a partition");
    assert_eq!((report["objects"].as_u64(), report["objects_read"].as_u64()), (Some(count), Some(count)), "{report}");
    assert_eq!((report["rows"].as_u64(), report["rows_decoded"].as_u64()), (Some(5_179), Some(5_179)), "{report}");
    assert_eq!((report["checkpoints"]["archived"].as_u64(), report["warnings"].as_array().map(Vec::len)), (Some(14), Some(0)), "{report}");
    let text = run(archiver().arg("verify").arg(folder.path())).expect(0).stdout;
    assert!(text.contains("findings          0"), "{text}");
}

#[test]
fn every_single_bit_flip_is_found_by_reading_data() {
    let (_tree, folder) = archived(&[("n1", Snapshot::minutes(T0, [1.0, 2.0, 3.0])), ("n2", Snapshot::minutes(T0, noise(1, 20)))], &[]);
    let [object] = &objects(folder.path())[..] else { panic!("one object expected") };
    let whole = std::fs::read(object).expect("read");
    // a flip in each of 600 bytes, of another bit each time, and all bits of the digest's digits and of the trailer
    let digest = whole.windows(20).rposition(|window| window == b"cc-archiver.digest\x18\x40").expect("a digest") + 20;
    let spread = (0..600).map(|n| (n * whole.len() / 600, n % 8));
    let dense = (digest..digest + 64).chain(whole.len() - 8..whole.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit)));
    let archives = tempfile::tempdir().expect("a folder");
    let key = object.strip_prefix(folder.path()).expect("inside").to_str().expect("UTF-8");
    let (cluster, name) = key.split_once("cluster=c/").expect("a cluster");
    assert_eq!(cluster, "");
    let flips: Vec<(usize, usize)> = spread.chain(dense).collect();
    // each flip in an archive of its own
    for (n, (byte, bit)) in flips.iter().enumerate() {
        let mut flipped = whole.clone();
        flipped[*byte] ^= 1 << bit;
        support::write(&archives.path().join(format!("{n}/cluster=c/{name}")), &flipped);
    }
    let missed: Vec<_> = std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let (flips, archives) = (&flips, &archives);
                let undetected = move |n: &usize| verify(&archives.path().join(n.to_string()), &["--read-data", "--workers", "1"]).code != 3;
                scope.spawn(move || (0..flips.len()).filter(|n| n % 2 == half).filter(undetected).map(|n| flips[n]).collect::<Vec<_>>())
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().expect("joined")).collect()
    });
    assert_eq!(missed, [], "(byte, bit) of {}", whole.len());
    verify(folder.path(), &["--read-data"]).expect(0);
}

#[test]
fn a_source_in_two_objects_is_found_and_its_rows_too() {
    let snapshots = [("n1", Snapshot::minutes(T0, [1.0; 60])), ("n2", Snapshot::minutes(T0, [2.0; 60]))];
    let (tree, folder) = archived(&snapshots, &[]);
    let second = tempfile::tempdir().expect("a folder");
    archive(tree.path(), second.path(), &["--compression", "none", "--host", "n1"]).expect(0);
    for (key, bytes) in files_below(second.path()) {
        support::write(&folder.path().join(support::beside(&key)), &bytes);
    }
    let report = verify(folder.path(), &[]).expect(3).summary();
    assert_eq!(kinds(&report), ["doubled"]);
    let reason = report["findings"][0]["reason"].as_str().expect("text");
    assert!(reason.contains("part-00-00000.parquet: both hold the source") && reason.contains(&format!("n1/{T0}.bin")), "{reason}");
    let report = verify(folder.path(), &["--decode"]).expect(3).summary();
    assert_eq!(kinds(&report), ["doubled", "duplicate_rows"]);
    let reason = report["findings"][1]["reason"].as_str().expect("text");
    assert!(reason.starts_with("60 of its rows stand in ") && reason.contains("host n1, metric cpu_load"), "{reason}");
    assert_eq!(report["rows_decoded"], 180);
}

#[test]
fn a_holder_that_is_gone_is_found() {
    let (tree, folder) = archived(&[("n1", Snapshot::minutes(T0, [1.0; 120]))], &[]);
    let [holder] = &objects(folder.path())[..] else { panic!("one object expected") };
    tree.bin("c", "n1", &Snapshot::minutes(T0 + 600, [1.0; 60]));
    archive(tree.path(), folder.path(), &[]).expect(0);
    verify(folder.path(), &["--decode"]).expect(0);
    std::fs::remove_file(holder).expect("removed");
    assert_eq!(kinds(&verify(folder.path(), &[]).expect(3).summary()), ["chain", "dangling"]);
}

#[test]
fn a_date_that_is_missing_is_found_from_either_side() {
    for lost in [0, 1, 2] {
        // three days long: the middle has neighbours on both sides
        let long = Snapshot { from: MIDNIGHT + 3_600, to: MIDNIGHT + 3 * DAY, root: Level::default().metric("m", 3_600, MIDNIGHT + 3_600, noise(1, 70)) };
        let (_tree, folder) = archived(&[("n1", long)], &[]);
        verify(folder.path(), &[]).expect(0);
        let date = date_of(MIDNIGHT + lost * DAY);
        let object = objects(folder.path()).into_iter().find(|path| path.to_str().is_some_and(|p| p.contains(&date))).expect("an object");
        std::fs::remove_file(object).expect("removed");
        let report = verify(folder.path(), &[]).expect(3).summary();
        assert!(!kinds(&report).is_empty() && kinds(&report).iter().all(|kind| *kind == "incomplete"), "{report}");
        assert!(report["findings"][0]["object"].as_str().is_some_and(|object| object.contains(&date)), "{report}");
        // where nobody looks, nothing is missed
        let others = if lost == 0 { format!("{}..", date_of(MIDNIGHT + DAY)) } else { format!("..{}", date_of(MIDNIGHT + (lost - 1) * DAY)) };
        verify(folder.path(), &["--date", &others]).expect(0);
    }
}

#[test]
fn objects_that_are_not_what_their_key_says_are_found() {
    let (_tree, folder) = archived(&[("n1", Snapshot::minutes(T0, [1.0; 60]))], &[]);
    let [object] = &objects(folder.path())[..] else { panic!("one object expected") };
    let bytes = std::fs::read(object).expect("read");
    let name = object.file_name().and_then(|name| name.to_str()).expect("a name");
    support::write(&folder.path().join("cluster=c/date=2026-03-02").join(name), &bytes);
    support::write(&folder.path().join("cluster=d/date=2026-03-01").join(name), &bytes[..bytes.len() - 1]);
    support::write(&folder.path().join("cluster=e/date=2026-03-01").join(name), b"");
    support::write(&folder.path().join("cluster=c/date=2026-03-01/theirs.parquet"), b"not Parquet");
    support::write(&folder.path().join("loose.parquet"), b"not Parquet");
    support::write(&folder.path().join("_tmp/half.parquet"), b"staged");
    let report = verify(folder.path(), &[]).expect(3).summary();
    assert_eq!(kinds(&report), ["unreadable", "unreadable", "unreadable"], "{report}");
    assert_eq!(report["warnings"].as_array().map(Vec::len), Some(2), "{report}");
    let report = verify(folder.path(), &["--cluster", "c", "--date", "2026-03-01"]).expect(0).summary();
    assert_eq!(report["objects"], 1);
}

#[test]
fn what_a_newer_version_wrote_is_whole_and_asks_for_an_upgrade() {
    let (tree, folder) = archived(&[("n1", Snapshot::minutes(T0, [1.0; 60])), ("n1", Snapshot::minutes(T0 + 2 * DAY, [1.0; 60]))], &[]);
    let newer = objects(folder.path()).into_iter().find(|path| path.to_str().is_some_and(|path| path.contains(&date_of(T0)))).expect("an object");
    let mut bytes = std::fs::read(&newer).expect("read");
    let format = b"cc-archiver.format\x18\x011";
    let at = bytes.windows(format.len()).rposition(|window| window == format).expect("a format") + format.len() - 1;
    bytes[at] = b'2';
    support::write(&newer, &bytes);
    let report = verify(folder.path(), &["--read-data", "--decode"]).expect(3).summary();
    assert_eq!((kinds(&report), report["objects_read"].as_u64()), (vec!["newer"], Some(1)), "{report}");
    // whoever follows the advice loses nothing
    tree.bin("c", "n2", &Snapshot::minutes(T0, [1.0; 60]));
    let set_aside = archive(tree.path(), folder.path(), &[]).expect(3).summary()["set_aside"].clone();
    let pruned = run(archiver().arg("prune").arg(tree.path()).arg(folder.path()).args(["--older-than", "3d", "--json"])).expect(3).summary();
    for said in [&report["findings"], &set_aside, &pruned["attention"]] {
        let said = said.to_string();
        assert!(said.contains("upgrade cc-archiver") && said.contains("format 2") && !said.contains("remove"), "{said}");
    }
    assert_eq!(pruned["pruned"], 0);
}

#[test]
fn a_damaged_object_is_to_be_removed_only_on_a_condition() {
    let (tree, folder) = archived(&[("n1", Snapshot::minutes(T0, [1.0; 60]))], &[]);
    let [object] = &objects(folder.path())[..] else { panic!("one object expected") };
    let bytes = std::fs::read(object).expect("read");
    support::write(object, &bytes[..bytes.len() - 1]);
    tree.bin("c", "n2", &Snapshot::minutes(T0, [1.0; 60]));
    let said = archive(tree.path(), folder.path(), &[]).expect(3).summary()["set_aside"].to_string();
    assert!(said.contains("remove it only if every source that it may hold is still on disk, or proven in another object"), "{said}");
}

#[test]
fn a_page_that_does_not_decode_is_found() {
    let (_tree, folder) = archived(&[("n1", Snapshot::minutes(T0, noise(1, 600)))], &["--compression", "none"]);
    let [object] = &objects(folder.path())[..] else { panic!("one object expected") };
    let mut bytes = std::fs::read(object).expect("read");
    // the first page: the dictionary of host names
    bytes[4..40].fill(0xff);
    std::fs::write(object, bytes).expect("written");
    verify(folder.path(), &[]).expect(0);
    assert_eq!(kinds(&verify(folder.path(), &["--decode"]).expect(3).summary()), ["rows"]);
}

#[test]
fn local_snapshots_are_told_apart() {
    let (tree, folder) = archived(&[("n1", Snapshot::minutes(T0, [1.0; 60])), ("n2", Snapshot::minutes(T0, [1.0; 60]))], &[]);
    tree.bin("c", "n3", &Snapshot::minutes(T0, [1.0; 60]));
    let local = tree.path().to_str().expect("UTF-8").to_owned();
    let report = verify(folder.path(), &["--checkpoints", &local]).expect(0).summary();
    assert_eq!((report["checkpoints"]["archived"].as_u64(), report["checkpoints"]["not_archived"].as_array().map(Vec::len)), (Some(2), Some(1)), "{report}");
    let path = tree.path().join(format!("c/n1/{T0}.bin"));
    support::change_a_value(&path);
    let report = verify(folder.path(), &["--checkpoints", &local]).expect(3).summary();
    assert_eq!((kinds(&report), report["checkpoints"]["archived"].as_u64()), (vec!["mismatch"], Some(1)), "{report}");
}

#[test]
fn nothing_where_an_archive_should_be_is_no_success() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(kinds(&verify(folder.path(), &[]).expect(3).summary()), ["empty"]);
    verify(&folder.path().join("nowhere"), &[]).expect(2);
    let (_tree, whole) = archived(&[("n1", Snapshot::minutes(T0, [1.0; 60]))], &[]);
    assert_eq!(kinds(&verify(whole.path(), &["--cluster", "c", "--cluster", "typo"]).expect(3).summary()), ["empty"]);
}

#[test]
fn a_sample_reads_every_object_within_its_days() {
    let snapshots: Vec<(String, Snapshot)> = (0..40).map(|day| ("n1".to_owned(), Snapshot::minutes(T0 + day * DAY, [1.0; 5]))).collect();
    let snapshots: Vec<(&str, Snapshot)> = snapshots.iter().map(|(host, snapshot)| (host.as_str(), snapshot.clone())).collect();
    let (_tree, folder) = archived(&snapshots, &[]);
    let read = |flag: &str| verify(folder.path(), &[flag]).expect(0).summary()["objects_read"].as_u64().expect("a count");
    let half = read("--read-data=50");
    assert!((5..36).contains(&half), "{half} of 40");
    assert_eq!(read("--read-data"), 40);
}

#[test]
fn a_bucket_is_verified_in_ranges() {
    let (bucket, tree) = (s3(), Tree::new());
    // more than one range of 8 MiB
    let root = (0..70).fold(Level::default(), |level, m| level.metric(&format!("m{m:02}"), 1, T0, noise(m, 60_000)));
    tree.bin("c", "n1", &Snapshot { from: T0, to: T0 + 60_000, root });
    let with = |args: &[&str]| run(archiver().args(args).args(["--json", "--progress", "never"]).envs(bucket.environment()));
    let url = bucket.url("archive");
    with(&["archive", tree.path().to_str().expect("UTF-8"), &url, "--compression", "none"]).expect(0);
    let report = with(&["verify", &url, "--read-data", "--decode"]).expect(0).summary();
    assert!(report["bytes_read"].as_u64().is_some_and(|bytes| bytes > 16 << 20), "{report}");
    assert_eq!(report["rows_decoded"], 4_200_000);
    let (key, whole) = bucket.objects("").into_iter().next().expect("an object");
    let mut flipped = whole.to_vec();
    flipped[9 << 20] ^= 1;
    bucket.put(&key, &flipped.into());
    assert_eq!(kinds(&with(&["verify", &url, "--read-data"]).expect(3).summary()), ["digest"]);
}
