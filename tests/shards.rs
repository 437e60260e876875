//! Shards: several processes at once on one tree, as in an Indexed Job. Together they are one run; no two of them ever work on a host.

use std::fs::File;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use support::{Bucket, DAY, MIDNIGHT, Row, Run, Snapshot, Tree, archiver, assert_same_rows, files_below, noise, rows_of, run, s3};

mod support;

const HOSTS: usize = 24;

fn snapshot(host: usize, day: i64) -> Snapshot {
    // twelve hours that cross a midnight
    Snapshot::minutes(MIDNIGHT + day * DAY + 14 * 3_600, noise(host as u64 + 100 * day as u64, 720))
}

/// A tree of two clusters whose hosts have snapshots of these days, and all rows of it.
fn tree(days: std::ops::Range<i64>) -> (Tree, Vec<Row>) {
    let tree = Tree::new();
    let mut rows = Vec::new();
    add(&tree, days, &mut rows);
    (tree, rows)
}

fn add(tree: &Tree, days: std::ops::Range<i64>, rows: &mut Vec<Row>) {
    for host in 0..HOSTS {
        let (cluster, name) = (["a", "b"][host % 2], format!("n{host:02}"));
        for day in days.clone() {
            rows.extend(snapshot(host, day).rows(cluster, &name));
            tree.bin(cluster, &name, &snapshot(host, day));
        }
    }
    rows.sort();
}

fn shard(tree: &Tree, bucket: &Bucket, index: u32, count: u32) -> Command {
    let mut command = archiver();
    command.arg("archive").arg(tree.path()).arg(bucket.url("archive")).args(["--json", "--progress", "never"]);
    command.args(["--shards", &count.to_string()]).env("JOB_COMPLETION_INDEX", index.to_string()).envs(bucket.environment());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn all_at_once(commands: impl Iterator<Item = Command>) -> Vec<Output> {
    let children: Vec<Child> = commands.map(|mut command| command.spawn().expect("it starts")).collect();
    children.into_iter().map(|child| child.wait_with_output().expect("its output")).collect()
}

fn assert_rows(bucket: &Bucket, rows: &[Row]) {
    assert_same_rows("the archive", rows_of(&bucket.objects("archive")), rows);
}

#[test]
fn four_shards_at_once_archive_what_one_run_does() {
    let (tree, rows) = tree(0..2);
    let bucket = s3();
    let outputs = all_at_once((0..4).map(|index| shard(&tree, &bucket, index, 4)));
    let summaries: Vec<_> = outputs.into_iter().map(|output| Run::from(output).expect(0).summary()).collect();
    let hosts: Vec<u64> = summaries.iter().map(|summary| summary["hosts"].as_u64().expect("a count")).collect();
    assert_eq!(hosts.iter().sum::<u64>(), HOSTS as u64);
    assert!(hosts.iter().filter(|count| **count > 0).count() > 1, "{hosts:?}");
    assert_rows(&bucket, &rows);
}

#[test]
fn a_shard_that_is_killed_is_healed_by_its_next_run() {
    let (tree, rows) = tree(0..3);
    let mut killed = 0;
    for pause in [5, 20, 40, 60, 90, 130] {
        let bucket = s3();
        let mut victim = shard(&tree, &bucket, 1, 4).spawn().expect("it starts");
        let others = (0..4).filter(|index| *index != 1).map(|index| shard(&tree, &bucket, index, 4).spawn().expect("it starts"));
        let others: Vec<Child> = others.collect();
        std::thread::sleep(Duration::from_millis(pause));
        killed += u32::from(victim.try_wait().expect("its state").is_none());
        victim.kill().expect("killed");
        victim.wait().expect("gone");
        for other in others {
            Run::from(other.wait_with_output().expect("its output")).expect(0);
        }
        run(&mut shard(&tree, &bucket, 1, 4)).expect(0);
        assert_rows(&bucket, &rows);
    }
    assert!(killed > 0, "no run took long enough to be killed");
}

#[test]
fn another_number_of_shards_loses_and_doubles_nothing() {
    let (tree, mut rows) = tree(0..2);
    let bucket = s3();
    // one of four is missing when the number changes
    for output in all_at_once((0..3).map(|index| shard(&tree, &bucket, index, 4))) {
        Run::from(output).expect(0);
    }
    add(&tree, 2..3, &mut rows);
    for output in all_at_once((0..3).map(|index| shard(&tree, &bucket, index, 3))) {
        Run::from(output).expect(0);
    }
    assert_rows(&bucket, &rows);
    let mut whole = archiver();
    whole.arg("archive").arg(tree.path()).arg(bucket.url("archive")).arg("--json").envs(bucket.environment());
    let summary = run(&mut whole).expect(0).summary();
    assert_eq!((summary["rows_written"].as_u64(), summary["already_archived"].as_u64()), (Some(0), Some(3 * HOSTS as u64)));
}

fn local(command: &str, tree: &Tree, archive: &tempfile::TempDir, flags: &[&str]) -> Command {
    let mut made = archiver();
    made.arg(command).arg(tree.path()).arg(archive.path()).args(flags);
    made
}

#[test]
fn shards_prune_their_own_hosts_and_no_others() {
    let (tree, _) = tree(0..2);
    let archive = tempfile::tempdir().expect("a folder");
    run(&mut local("archive", &tree, &archive, &[])).expect(0);
    let mut left = 2 * HOSTS;
    for index in 0..3 {
        let shard = format!("{index}/3");
        let pruned = run(&mut local("prune", &tree, &archive, &["--older-than", "1s", "--shard", &shard, "--json"])).expect(0).summary();
        left -= pruned["pruned"].as_u64().expect("a count") as usize;
        assert_eq!(files_below(tree.path()).len(), left);
    }
    assert_eq!(left, HOSTS, "the newest of each host stays");
}

#[test]
fn a_host_that_another_run_holds_keeps_only_its_own_shard_out() {
    let (tree, _) = tree(0..1);
    let archive = tempfile::tempdir().expect("a folder");
    let held = File::open(tree.path().join("a/n00")).expect("opened");
    held.try_lock().expect("locked");
    let codes: Vec<i32> = (0..4)
        .map(|index| {
            let output = local("archive", &tree, &archive, &["--shard", &format!("{index}/4")]).output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code() == Some(4), said.contains("a/n00"), "{said}");
            output.status.code().expect("a code")
        })
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == 4).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 3, "{codes:?}");
}

#[test]
fn a_run_of_the_whole_tree_and_a_shard_never_work_at_once() {
    let (tree, _) = tree(0..1);
    let archive = tempfile::tempdir().expect("a folder");
    let lock = File::open(tree.path()).expect("opened");
    lock.try_lock_shared().expect("locked, as a shard does");
    run(&mut local("archive", &tree, &archive, &[])).expect(4);
    run(&mut local("archive", &tree, &archive, &["--shard", "0/2"])).expect(0);
    lock.unlock().expect("unlocked");
    lock.try_lock().expect("locked, as a whole run does");
    run(&mut local("archive", &tree, &archive, &["--shard", "0/2"])).expect(4);
}

#[test]
fn a_lock_file_keeps_out_whole_runs_and_shards_of_another_number() {
    let (tree, _) = tree(0..1);
    let archive = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lock");
    let flags = |shard: &'static str| ["--lock-file", path.to_str().expect("UTF-8"), "--shard", shard].map(str::to_owned);
    let run_shard = |shard| run(local("archive", &tree, &archive, &[]).args(flags(shard)));
    run_shard("0/2").expect(0);
    let shared = File::options().append(true).open(&path).expect("opened");
    shared.try_lock_shared().expect("locked, as any shard does");
    let own = File::options().append(true).open(folder.path().join("lock.0-of-2")).expect("the first shard's");
    own.try_lock().expect("locked, as that shard does");
    run_shard("0/2").expect(4);
    run_shard("1/2").expect(0);
    run_shard("2/3").expect(4);
    run(local("archive", &tree, &archive, &[]).args(&flags("0/2")[..2])).expect(4);
    own.unlock().expect("unlocked");
    run_shard("2/3").expect(0);
}

#[test]
fn a_run_that_does_not_know_of_the_lock_file_is_kept_out_all_the_same() {
    let (tree, _) = tree(0..1);
    let archive = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lock");
    let with_file = ["--lock-file", path.to_str().expect("UTF-8")];
    let tree_lock = File::open(tree.path()).expect("opened");
    tree_lock.try_lock().expect("locked, as a run without the file does");
    run(&mut local("archive", &tree, &archive, &with_file)).expect(4);
    tree_lock.unlock().expect("unlocked");
    run(&mut local("archive", &tree, &archive, &with_file)).expect(0);
}

#[test]
fn a_shard_and_a_number_of_shards_from_two_places_are_refused() {
    let (tree, _) = tree(0..1);
    let archive = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("c.json");
    std::fs::write(&file, r#"{"shard": "0/4"}"#).expect("written");
    let flags = ["--shards", "4", "--config", file.to_str().expect("UTF-8")];
    let output = local("archive", &tree, &archive, &flags).env("JOB_COMPLETION_INDEX", "1").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("are both set"), "{said}");
}

#[test]
fn shards_that_nobody_numbers_are_refused() {
    let (tree, _) = tree(0..1);
    let archive = tempfile::tempdir().expect("a folder");
    let said = |command: &mut Command| {
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let missing = said(&mut local("archive", &tree, &archive, &["--shards", "4"]));
    assert!(missing.contains("JOB_COMPLETION_INDEX") && missing.contains("--shard 0/4"), "{missing}");
    let beyond = said(local("archive", &tree, &archive, &["--shards", "4"]).env("JOB_COMPLETION_INDEX", "4"));
    assert!(beyond.contains("there is no shard 4 of 4"), "{beyond}");
    let both = said(&mut local("archive", &tree, &archive, &["--shards", "4", "--shard", "0/4"]));
    assert!(both.contains("cannot be used with"), "{both}");
}
