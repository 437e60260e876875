//! Nothing is deleted without proof, and what is proven goes: `prune`, and `archive --prune-after`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::store::Archive;
use cc_archiver::telemetry::{KeepReason, Progress, PruneSummary};
use clap::Parser;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector};
use serde_json::Value;

use support::{DAY, MIDNIGHT, Run, Snapshot, T0, Tree, archive, archiver, assert_same_rows, block_on, date_of, files_below, rows_of, run, s3, s3_settings};

mod support;

/// A tree, and an archive of it in a directory.
struct Site {
    tree: Tree,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { tree: Tree::new(), folder: tempfile::tempdir().expect("a folder") }
    }

    fn archive(&self, flags: &[&str]) -> Run {
        archive(self.tree.path(), self.folder.path(), flags)
    }

    fn prune(&self, flags: &[&str]) -> Run {
        prune(self.tree.path(), self.folder.path().as_os_str(), flags)
    }

    /// The host's file is there.
    fn has(&self, path: &str) -> bool {
        self.tree.path().join(path).exists()
    }

    /// The only object of a date.
    fn object_of(&self, date: &str) -> PathBuf {
        let keys: Vec<String> = files_below(self.folder.path()).into_keys().filter(|key| key.contains(date)).collect();
        assert_eq!(keys.len(), 1, "{keys:?}");
        self.folder.path().join(&keys[0])
    }
}

fn prune(tree: &Path, archive: &std::ffi::OsStr, flags: &[&str]) -> Run {
    run(archiver().arg("prune").arg(tree).arg(archive).args(["--older-than", "3d", "--json", "--progress", "never"]).args(flags))
}

fn attention(summary: &Value) -> Vec<(String, String)> {
    let text = |note: &Value, name: &str| note[name].as_str().expect("text").to_owned();
    summary["attention"].as_array().expect("a list").iter().map(|note| (text(note, "path"), text(note, "reason"))).collect()
}

/// Three snapshots of an hour each, on one day.
fn three_hours(site: &Site, host: &str) {
    for hour in 0..3 {
        site.tree.bin("c", host, &Snapshot::minutes(T0 + hour * 3_600, support::noise(hour as u64 + 1, 60)));
    }
}

fn name(hour: i64) -> String {
    format!("c/n1/{}.bin", T0 + hour * 3_600)
}

#[test]
fn what_is_archived_goes_and_the_newest_stays() {
    let site = Site::new();
    three_hours(&site, "n1");
    site.tree.write("c/n1/current.wal", b"log");
    site.tree.write(&format!("c/n1/{T0}.bin.tmp"), b"half");
    site.tree.write("c/n1/notes.txt", b"mine");
    std::fs::create_dir(site.tree.path().join("c/n1/folder")).expect("made");
    site.archive(&[]).expect(0);
    let rows = rows_of(&files_below(site.folder.path()));
    let dry = site.prune(&["--dry-run"]).expect(0).summary();
    assert_eq!((dry["pruned"].as_u64(), dry["would_prune"].as_array().map(Vec::len)), (Some(2), Some(2)), "{dry}");
    assert!((0..3).all(|hour| site.has(&name(hour))), "a dry run deletes nothing");
    let summary = site.prune(&[]).expect(0).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["newest"].as_u64()), (Some(2), Some(1)), "{summary}");
    assert_eq!((0..3).map(|hour| site.has(&name(hour))).collect::<Vec<_>>(), [false, false, true]);
    for path in ["c/n1/current.wal", &format!("c/n1/{T0}.bin.tmp"), "c/n1/notes.txt", "c/n1/folder"] {
        assert!(site.has(path), "{path} is never touched");
    }
    assert_same_rows("the archive", rows_of(&files_below(site.folder.path())), rows);
    assert_eq!(site.archive(&[]).expect(0).summary()["objects_written"], 0, "nothing is archived again");
    let summary = site.prune(&["--include-newest"]).expect(0).summary();
    assert_eq!((summary["pruned"].as_u64(), site.has(&name(2))), (Some(1), false), "{summary}");
}

#[test]
fn a_snapshot_whose_successor_is_young_stays() {
    let site = Site::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64 / 60 * 60;
    // the successor of the second begins a day ago: the store may still need the second
    for age in [9 * DAY, 5 * DAY, DAY] {
        site.tree.bin("c", "n1", &Snapshot::minutes(now - age, [1.0; 60]));
    }
    site.archive(&[]).expect(0);
    let summary = site.prune(&["--include-newest"]).expect(0).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["recent"].as_u64(), summary["kept"]["newest"].as_u64()), (Some(1), Some(1), Some(1)), "{summary}");
    assert!(!site.has(&format!("c/n1/{}.bin", now - 9 * DAY)) && site.has(&format!("c/n1/{}.bin", now - 5 * DAY)));
}

#[test]
fn a_newest_snapshot_is_as_young_as_its_last_sample_whatever_its_header_says() {
    let site = Site::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64 / 60 * 60;
    // it begins long ago, and says that it ended then
    let from = now - 5 * DAY;
    site.tree.bin("c", "n1", &Snapshot { to: from, ..Snapshot::minutes(from, [1.0; 4 * 1_440]) });
    site.archive(&[]).expect(0);
    let summary = site.prune(&["--include-newest"]).expect(0).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["newest"].as_u64()), (Some(0), Some(1)), "{summary}");
}

/// Sets the time of change of all files of a folder.
fn set_times(folder: &Path, time: i64) {
    let time = UNIX_EPOCH + std::time::Duration::from_secs(time as u64);
    for path in files_below(folder).keys() {
        std::fs::File::options().append(true).open(folder.join(path)).and_then(|file| file.set_modified(time)).expect("set");
    }
}

#[test]
fn garbage_that_is_newest_stands_for_no_older_snapshot_and_is_named() {
    let whole = Snapshot::minutes(T0 + 9 * 3_600, [1.0; 60]).bin();
    for (file, bytes, why) in [
        (9, &b""[..], "damaged"),
        (9, &whole[..whole.len() - 1], "damaged"),
        (9, b"no snapshot at all", "damaged"),
        // some hours before the year 2287
        ((9_999_999_999 - T0) / 3_600, &whole[..], "in the future"),
    ] {
        let site = Site::new();
        three_hours(&site, "n1");
        site.tree.write(&name(file), bytes);
        site.archive(&[]);
        let summary = site.prune(&[]).expect(3).summary();
        let kept = |why: &str| summary["kept"][why].as_u64();
        assert_eq!((summary["pruned"].as_u64(), kept("newest"), kept("damaged")), (Some(2), Some(1), Some(1)), "{summary}");
        assert!(site.has(&name(2)), "the newest that can be read");
        let named = attention(&summary);
        assert!(named.len() == 1 && named[0].0.ends_with(&name(file)) && named[0].1.contains(why), "{summary}");
        assert!(site.has(&name(file)));
    }
}

#[test]
fn what_cc_backend_would_load_stays_where_its_successor_is_damaged() {
    let site = Site::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64 / 60 * 60;
    for age in [9 * DAY, 7 * DAY, DAY] {
        site.tree.bin("c", "n1", &Snapshot::minutes(now - age, [1.0; 60]));
    }
    site.tree.write(&format!("c/n1/{}.bin", now - 5 * DAY), b"");
    site.archive(&[]).expect(0);
    // with the one of 5 days ago damaged, that of 7 days ago is the last before the window
    let summary = site.prune(&[]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["recent"].as_u64(), summary["kept"]["damaged"].as_u64()), (Some(1), Some(1), Some(1)), "{summary}");
    assert!(!site.has(&format!("c/n1/{}.bin", now - 9 * DAY)) && site.has(&format!("c/n1/{}.bin", now - 7 * DAY)));
}

#[test]
fn a_damaged_file_is_called_damaged() {
    let site = Site::new();
    three_hours(&site, "n1");
    let half = &Snapshot::minutes(T0 + 3_600, [1.0; 60]).json()[..100];
    std::fs::remove_file(site.tree.path().join(name(1))).expect("removed");
    site.tree.write(&name(1).replace(".bin", ".json"), half);
    site.archive(&["--min-age", "0s"]).expect(3);
    // another one was archived, and is damaged now
    let path = site.tree.path().join(name(0));
    let bytes = vec![b'?'; std::fs::metadata(&path).expect("a status").len() as usize];
    std::fs::write(&path, bytes).expect("written");
    let summary = site.prune(&[]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["damaged"].as_u64(), summary["kept"]["not_archived"].as_u64()), (Some(0), Some(2), Some(0)));
    assert!(attention(&summary).iter().all(|(_, why)| why.starts_with("kept: it is damaged: ") && !why.contains("run archive")), "{summary}");
}

#[test]
fn a_clock_that_jumps_ahead_deletes_nothing() {
    let site = Site::new();
    three_hours(&site, "n1");
    site.archive(&[]).expect(0);
    // the last snapshot came at its time: months ago, by the clock
    set_times(site.tree.path(), T0 + 3 * 3_600);
    for flags in [&[][..], &["--include-newest"]] {
        let summary = site.prune(flags).expect(0).summary();
        assert_eq!((summary["pruned"].as_u64(), summary["clock"].as_array().map(Vec::len)), (Some(0), Some(1)), "{summary}");
        assert!(summary["clock"][0].as_str().is_some_and(|said| said.starts_with("no snapshot was written in the last ")), "{summary}");
    }
    assert_eq!(site.archive(&["--prune-after", "3d"]).expect(0).summary()["prune"]["pruned"], 0);
    // another host lives on: the clock is right, also for a run that does not look at that host
    site.tree.bin("c", "n2", &Snapshot::minutes(T0, [1.0; 60]));
    assert_eq!(site.prune(&["--host", "n1"]).expect(0).summary()["pruned"], 2);
}

/// A server whose clock stands at the first midnight of the tests' time.
#[derive(Debug)]
struct Late;

#[derive(Debug)]
struct LateClient(HttpClient);

impl HttpConnector for Late {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(LateClient(ReqwestConnector::default().connect(options)?)))
    }
}

#[async_trait]
impl HttpService for LateClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut answer = self.0.execute(request).await?;
        answer.headers_mut().insert("date", "Sun, 01 Mar 2026 00:00:00 GMT".parse().expect("a date"));
        Ok(answer)
    }
}

#[test]
fn ages_count_by_the_clock_of_the_store_if_that_is_behind() {
    let (site, bucket) = (Site::new(), s3());
    three_hours(&site, "n1");
    let settings = s3_settings(&bucket.environment(), &[]);
    let open = || Archive::in_bucket_through(Late, &bucket.name, &settings).expect("opened");
    let parsed = |command: &str, flags: &[&str]| {
        let arguments = ["cc-archiver".into(), command.into(), site.tree.path().as_os_str().to_owned(), "/nonexistent".into()];
        Cli::parse_from(arguments.into_iter().chain(flags.iter().map(Into::into))).command
    };
    let is_kept = |pruned: &PruneSummary| {
        assert_eq!((pruned.pruned, pruned.kept.of(KeepReason::Recent), pruned.clock.len()), (0, 2, 1), "{pruned}");
        assert!(pruned.clock[0].contains("ahead of the store's"), "{pruned}");
    };
    let Command::Archive(arguments) = parsed("archive", &["--prune-after", "3d"]) else { panic!("archive") };
    let settings = config::archive(*arguments, &S3Environment::default()).expect("valid");
    let done = block_on(pipeline::archive(&settings, open(), Arc::new(Progress::default()), std::future::pending()));
    let Ok(Outcome::Done(summary)) = done else { panic!("a summary") };
    is_kept(summary.prune.as_ref().expect("it was asked for"));
    // without a lock: a child of another test can hold the one of the run before until it has begun
    let Command::Prune(arguments) = parsed("prune", &["--older-than", "3d", "--dry-run"]) else { panic!("prune") };
    let settings = config::prune(*arguments, &S3Environment::default()).expect("valid");
    is_kept(&block_on(pipeline::prune_in(&settings, || Ok(open()), Arc::new(Progress::default()), std::future::pending())).expect("a summary"));
}

#[test]
fn another_time_of_change_is_no_other_content() {
    let site = Site::new();
    three_hours(&site, "n1");
    site.archive(&[]).expect(0);
    set_times(site.tree.path(), SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64 - 60);
    let again = site.archive(&[]).expect(0).summary();
    assert_eq!((again["files"].as_u64(), again["already_archived"].as_u64(), again["objects_written"].as_u64()), (Some(0), Some(3), Some(0)), "{again}");
    let mut verify = archiver();
    let verified = run(verify.arg("verify").arg(site.folder.path()).arg("--checkpoints").arg(site.tree.path()).arg("--json")).expect(0).summary();
    assert_eq!(verified["checkpoints"]["archived"], 3, "{verified}");
    assert_eq!(site.prune(&[]).expect(0).summary()["pruned"], 2);
}

#[test]
fn what_is_not_archived_stays() {
    let site = Site::new();
    three_hours(&site, "n1");
    let summary = site.prune(&[]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["not_archived"].as_u64()), (Some(0), Some(2)), "{summary}");
    assert_eq!(attention(&summary).len(), 2);
    assert!((0..3).all(|hour| site.has(&name(hour))));
    assert!(files_below(site.folder.path()).is_empty());
}

#[test]
fn bytes_that_are_not_the_archived_ones_stay() {
    let site = Site::new();
    three_hours(&site, "n1");
    site.archive(&[]).expect(0);
    // one value changed, size and time as they were
    let path = site.tree.path().join(name(0));
    support::change_a_value(&path);
    let summary = site.prune(&[]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), site.has(&name(0)), site.has(&name(1))), (Some(1), true, false), "{summary}");
    assert!(attention(&summary)[0].1.contains("bytes as they are now are not archived"), "{summary}");
}

#[test]
fn every_date_of_a_source_must_be_proven() {
    for lost in [0, 1] {
        let site = Site::new();
        // from 18:00 to 06:00, and a successor
        site.tree.bin("c", "n1", &Snapshot::minutes(MIDNIGHT + 64_800, [1.0; 720]));
        site.tree.bin("c", "n1", &Snapshot::minutes(MIDNIGHT + 200_000, [1.0; 5]));
        site.archive(&[]).expect(0);
        std::fs::remove_file(site.object_of(&date_of(MIDNIGHT + lost * DAY))).expect("removed");
        let summary = site.prune(&[]).expect(3).summary();
        assert_eq!((summary["pruned"].as_u64(), summary["kept"]["not_archived"].as_u64()), (Some(0), Some(1)), "{summary}");
    }
}

#[test]
fn a_damaged_object_keeps_its_sources_and_reading_it_finds_that_out() {
    let site = Site::new();
    three_hours(&site, "n1");
    site.tree.bin("c", "n1", &Snapshot::minutes(T0 + 2 * DAY, [1.0; 5]));
    site.tree.bin("c", "n1", &Snapshot::minutes(T0 + 2 * DAY + 300, [1.0; 5]));
    site.archive(&[]).expect(0);
    let object = site.object_of("2026-03-01");
    let mut bytes = std::fs::read(&object).expect("read");
    bytes[40] ^= 4;
    std::fs::write(&object, bytes).expect("written");
    let before = files_below(site.tree.path());
    let summary = site.prune(&["--dry-run", "--proof", "footer"]).expect(0).summary();
    assert_eq!(summary["pruned"], 4, "the footer is as it was: {summary}");
    let summary = site.prune(&[]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["not_proven"].as_u64()), (Some(1), Some(3)), "other dates are not held up: {summary}");
    assert!(attention(&summary).iter().all(|(_, why)| why.contains("digest")), "{summary}");
    assert_eq!(files_below(site.tree.path()).len(), before.len() - 1);
    // one that cannot be opened at all
    std::fs::write(&object, b"PAR1").expect("written");
    let summary = site.prune(&["--proof", "footer"]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["not_proven"].as_u64()), (Some(0), Some(3)), "{summary}");
}

#[test]
fn the_objects_of_holders_must_be_proven_too() {
    let site = Site::new();
    // the second snapshot holds nothing that the first one does not
    let (first, second) = (Snapshot::minutes(T0, [1.0; 120]), Snapshot::minutes(T0 + 600, [1.0; 60]));
    site.tree.bin("c", "n1", &first);
    site.archive(&[]).expect(0);
    let holder = site.object_of("2026-03-01");
    site.tree.bin("c", "n1", &second);
    site.tree.bin("c", "n1", &Snapshot::minutes(T0 + 9_000, [1.0; 5]));
    site.archive(&[]).expect(0);
    // another site has deleted the first one already
    std::fs::remove_file(site.tree.path().join(name(0))).expect("removed");
    let whole = std::fs::read(&holder).expect("read");
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    std::fs::write(&holder, damaged).expect("written");
    let summary = site.prune(&[]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["not_proven"].as_u64()), (Some(0), Some(1)), "{summary}");
    std::fs::remove_file(&holder).expect("removed");
    let summary = site.prune(&["--proof", "footer"]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["not_proven"].as_u64()), (Some(0), Some(1)), "{summary}");
    assert!(attention(&summary)[0].1.contains("in no object any more"), "{summary}");
    std::fs::write(&holder, whole).expect("written");
    assert_eq!(site.prune(&[]).expect(0).summary()["pruned"], 1);
}

#[test]
fn a_source_in_two_objects_stays_and_both_are_named() {
    let site = Site::new();
    three_hours(&site, "n1");
    site.archive(&[]).expect(0);
    let first = site.object_of("2026-03-01");
    let second = tempfile::tempdir().expect("a folder");
    archive(site.tree.path(), second.path(), &["--compression", "none"]).expect(0);
    let (key, bytes) = files_below(second.path()).into_iter().next().expect("an object");
    let key = support::beside(&key);
    support::write(&site.folder.path().join(&key), &bytes);
    let summary = site.prune(&[]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["not_proven"].as_u64()), (Some(0), Some(2)), "{summary}");
    let first = first.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let second = key.rsplit('/').next().expect("a name").to_owned();
    assert!(attention(&summary).iter().all(|(_, why)| why.contains(&first) && why.contains(&second)), "{summary}");
    std::fs::remove_file(site.folder.path().join(&key)).expect("removed");
    assert_eq!(site.prune(&[]).expect(0).summary()["pruned"], 2);
}

#[test]
fn a_source_that_contradicts_the_archive_stays_unless_told_otherwise() {
    let site = Site::new();
    site.tree.bin("c", "n1", &Snapshot::minutes(T0, [1.0; 120]));
    site.archive(&[]).expect(0);
    site.tree.bin("c", "n1", &Snapshot::minutes(T0 + 3_600, [2.0; 120]));
    site.tree.bin("c", "n1", &Snapshot::minutes(T0 + 90_000, [2.0; 5]));
    site.archive(&[]).expect(0);
    let summary = site.prune(&[]).expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["conflicting"].as_u64(), site.has(&name(1))), (Some(1), Some(1), true), "{summary}");
    let summary = site.prune(&["--prune-conflicting"]).expect(0).summary();
    assert_eq!((summary["pruned"].as_u64(), site.has(&name(1))), (Some(1), false), "{summary}");
}

#[test]
fn a_file_that_cannot_be_deleted_stays_with_a_reason() {
    let site = Site::new();
    three_hours(&site, "n1");
    three_hours(&site, "n2");
    site.archive(&[]).expect(0);
    let folder = site.tree.path().join("c/n1");
    // root may delete in a folder without the right to write
    let nobody = support::Nobody::new();
    let mut command = nobody.archiver();
    let open = support::set_mode;
    for path in [site.tree.path(), site.folder.path(), &site.tree.path().join("c")] {
        open(path, 0o755);
    }
    open(&folder, 0o555);
    open(&site.tree.path().join("c/n2"), 0o777);
    command.arg("prune").arg(site.tree.path()).arg(site.folder.path()).args(["--older-than", "3d", "--json", "--progress", "never"]);
    let run = run(&mut command);
    open(&folder, 0o755);
    let summary = run.expect(3).summary();
    assert_eq!((summary["pruned"].as_u64(), summary["kept"]["undeletable"].as_u64()), (Some(2), Some(2)), "n2's go: {summary}");
    assert!(attention(&summary).iter().all(|(path, why)| path.contains("c/n1/") && why.contains("Permission denied")), "{summary}");
    assert!((0..3).all(|hour| site.has(&name(hour))));
}

#[test]
fn pruning_while_archiving_deletes_what_the_same_run_has_written() {
    let site = Site::new();
    three_hours(&site, "n1");
    three_hours(&site, "n2");
    let expected = rows_of_tree(&site);
    let summary = site.archive(&["--prune-after", "3d"]).expect(0).summary();
    assert_eq!((summary["files"].as_u64(), summary["prune"]["pruned"].as_u64(), summary["prune"]["kept"]["newest"].as_u64()), (Some(6), Some(4), Some(2)));
    assert_same_rows("the archive", rows_of(&files_below(site.folder.path())), expected);
    let summary = site.archive(&["--prune-after", "3d", "--verify", "full", "--include-newest"]).expect(0).summary();
    assert_eq!((summary["files"].as_u64(), summary["prune"]["pruned"].as_u64()), (Some(0), Some(2)));
}

fn rows_of_tree(site: &Site) -> Vec<support::Row> {
    let whole = tempfile::tempdir().expect("a folder");
    archive(site.tree.path(), whole.path(), &[]).expect(0);
    rows_of(&files_below(whole.path()))
}

#[test]
fn a_bucket_is_as_good_as_a_directory() {
    let (bucket, tree) = (s3(), Tree::new());
    for hour in 0..3 {
        tree.bin("c", "n1", &Snapshot::minutes(T0 + hour * 3_600, support::noise(hour as u64, 60)));
    }
    let with = |args: &[&str]| {
        let always = ["--json", "--progress", "never"];
        run(archiver().arg(args[0]).arg(tree.path()).arg(bucket.url("archive")).args(&args[1..]).args(always).envs(bucket.environment()))
    };
    with(&["archive", "--verify", "full"]).expect(0);
    let key = bucket.objects("").into_keys().next().expect("an object");
    let whole = bucket.objects("")[&key].clone();
    let mut damaged = whole.to_vec();
    damaged[50] ^= 1;
    bucket.put(&key, &damaged.into());
    assert_eq!(with(&["prune", "--older-than", "3d"]).expect(3).summary()["pruned"], 0);
    bucket.put(&key, &whole);
    assert_eq!(with(&["prune", "--older-than", "3d"]).expect(0).summary()["pruned"], 2);
}

#[test]
fn an_age_below_the_retention_is_a_warning_or_with_its_configuration_refused() {
    let site = Site::new();
    three_hours(&site, "n1");
    site.archive(&[]).expect(0);
    let with = |flags: &[&str]| {
        run(archiver().arg("prune").arg(site.tree.path()).arg(site.folder.path()).args(["--dry-run", "--json", "--progress", "never"]).args(flags))
    };
    let run = with(&["--older-than", "47h"]).expect(0);
    assert!(run.lines_of("WARN").len() == 1 && run.stderr.contains("retention-in-memory"), "{}", run.stderr);
    assert_eq!(with(&["--older-than", "48h"]).expect(0).lines_of("WARN"), [""; 0]);
    let config = site.folder.path().join("config.json");
    std::fs::write(&config, r#"{"main": {"x": 1}, "metric-store": {"retention-in-memory": "100h", "new-key": []}}"#).expect("written");
    let config = config.to_str().expect("UTF-8");
    let refused = with(&["--older-than", "99h", "--cc-backend-config", config]).expect(2);
    assert!(refused.stderr.contains("4days 4h"), "{}", refused.stderr);
    assert_eq!(with(&["--older-than", "100h", "--cc-backend-config", config]).expect(0).lines_of("WARN"), [""; 0]);
    std::fs::write(config, "{}").expect("written");
    assert!(with(&["--older-than", "99h", "--cc-backend-config", config]).expect(2).stderr.contains("metric-store.retention-in-memory"));
}

#[test]
fn pruning_and_archiving_never_work_on_one_tree_at_once() {
    let site = Site::new();
    three_hours(&site, "n1");
    site.archive(&[]).expect(0);
    let lock = std::fs::File::open(site.tree.path()).expect("opened");
    lock.try_lock().expect("free");
    let refused = site.prune(&[]).expect(4);
    assert!(refused.stderr.contains(&format!("process {}", std::process::id())), "it says who: {}", refused.stderr);
    assert!((0..3).all(|hour| site.has(&name(hour))));
    let elsewhere = site.folder.path().join("lock");
    site.prune(&["--dry-run"]).expect(0);
    let with_file = ["--lock-file", elsewhere.to_str().expect("UTF-8")];
    site.prune(&with_file).expect(4);
    drop(lock);
    site.prune(&with_file).expect(0);
    assert!(!site.has(&name(0)));
}
