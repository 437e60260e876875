//! The program as a process that comes to harm from outside: killed at any time, without file handles, as a user who may not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Run, files_below, run, without_environment};
use victim::{Site, signal, wait, was_killed};

mod support;
#[path = "faults/random.rs"]
mod random;
#[path = "faults/victim.rs"]
mod victim;

/// How long an undisturbed run takes.
fn duration(site: &dyn Fn() -> Site) -> Duration {
    let site = site();
    let begun = Instant::now();
    let ended = wait(&mut site.command().spawn().expect("it starts"));
    assert!(ended.success(), "{ended:?}");
    begun.elapsed()
}

/// Sends a signal at random times of a run, and gives how often the run had not ended before.
fn at_random_times(name: &str, times: usize, site: &dyn Fn() -> Site, ended: &dyn Fn(&Site, std::process::ExitStatus) -> bool) -> usize {
    let whole = duration(site);
    let mut random = random::Random::new(4);
    let struck = (0..times).filter(|_| {
        let site = site();
        let mut child = site.command().spawn().expect("it starts");
        std::thread::sleep(whole * random.below(1_000) as u32 / 1_000);
        if child.try_wait().expect("its state").is_none() {
            signal(&child, name);
        }
        let struck = ended(&site, wait(&mut child));
        site.assert_completes();
        struck
    });
    struck.count()
}

#[test]
fn a_kill_at_any_time_loses_and_doubles_nothing() {
    let killed = |_: &Site, status| was_killed(status);
    let struck = at_random_times("KILL", 40, &Site::small, &killed) + at_random_times("KILL", 6, &Site::large, &killed);
    assert!(struck >= 10, "only {struck} of 46 runs were killed");
}

#[test]
fn a_run_that_is_asked_to_stop_ends_in_seconds_and_leaves_nothing_half_done() {
    let stopped = |site: &Site, status: std::process::ExitStatus| {
        // before it has come to its handler, it just ends
        if was_stopped_early(status) {
            return false;
        }
        assert!([Some(5), Some(0)].contains(&status.code()), "{status:?}");
        let target = site.target();
        let left = if target.exists() { files_below(&target) } else { Default::default() };
        assert!(left.keys().all(|key| !key.starts_with("_tmp/") || support::is_marker(key)), "{:?}", left.keys());
        status.code() == Some(5)
    };
    let struck = at_random_times("TERM", 15, &Site::small, &stopped) + at_random_times("INT", 5, &Site::large, &stopped);
    assert!(struck >= 4, "only {struck} of 20 runs were stopped");
}

fn was_stopped_early(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal().is_some_and(|signal| signal != 9)
}

#[test]
fn two_processes_at_once_archive_a_tree_once() {
    for _ in 0..6 {
        let site = Site::small();
        let mut children = [(); 3].map(|()| site.command().spawn().expect("it starts"));
        let codes = children.each_mut().map(|child| wait(child).code());
        // whoever comes when another one has ended finds nothing to do
        assert!(codes.contains(&Some(0)) && codes.iter().all(|code| [Some(0), Some(4)].contains(code)), "{codes:?}");
        site.assert_completes();
    }
}

// ---------------------------------------------------------------- without file handles

#[test]
fn a_run_without_file_handles_says_so_and_leaves_nothing_half_done() {
    let mut failed = 0;
    for handles in 3..30 {
        let site = Site::small();
        let mut command = Command::new("prlimit");
        without_environment(&mut command).arg(format!("--nofile={handles}")).arg("--").arg(env!("CARGO_BIN_EXE_cc-archiver"));
        command.arg("archive").arg(site.tree.path()).arg(site.target()).args(["--progress", "never"]).stdin(Stdio::null());
        let output = command.output().expect("prlimit runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{handles}: {said}");
        if !output.status.success() {
            failed += 1;
            // below some count not even the loader has enough
            assert!(output.status.code().is_some() && !said.is_empty(), "{handles}: {:?} {said}", output.status);
        }
        site.assert_completes();
    }
    assert!(failed >= 3, "too many handles: only {failed} runs failed");
}

// ---------------------------------------------------------------- as somebody who may not

/// Nobody's user and group.
const NOBODY: u32 = 65_534;

/// Runs a site's command as a user who is not root, whoever runs the tests.
fn as_a_user(site: &Site, flags: &[&str]) -> Run {
    let chmod = |path: &std::path::Path| fs::set_permissions(path, Permissions::from_mode(0o755)).expect("its mode is set");
    chmod(site.tree.path());
    chmod(site.folder.path());
    let root = fs::metadata(site.folder.path()).expect("its status").uid() == 0;
    // a copy that a user can reach, wherever the checkout lies
    let program = site.folder.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_cc-archiver"), &program).expect("copied");
    let mut command = if root { Command::new("setpriv") } else { Command::new("env") };
    without_environment(&mut command);
    if root {
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()]);
    }
    command
        .arg(&program)
        .arg("archive")
        .arg(site.tree.path())
        .arg(site.target())
        .args(["--progress", "never", "--object-size", "1", "--compression", "none"])
        .args(flags);
    let ended = run(command.stdin(Stdio::null()));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

/// A target that such a user may write to.
fn open_target(site: &Site) {
    fs::create_dir(site.target()).expect("made");
    fs::set_permissions(site.target(), Permissions::from_mode(0o777)).expect("its mode is set");
}

/// Some snapshot of a host.
fn snapshot_of(site: &Site, host: &str) -> std::path::PathBuf {
    let mut found = files_below(&site.tree.path().join("c").join(host)).into_keys();
    site.tree.path().join("c").join(host).join(found.next().expect("a snapshot"))
}

#[test]
fn an_unreadable_file_is_named_and_kept_and_stops_no_other() {
    let site = Site::small();
    open_target(&site);
    let file = snapshot_of(&site, "b");
    fs::set_permissions(&file, Permissions::from_mode(0o0)).expect("its mode is set");
    let told = as_a_user(&site, &[]).expect(3);
    assert!(told.stderr.contains(file.to_str().expect("UTF-8")) || told.stdout.contains(file.to_str().expect("UTF-8")), "{told:?}");
    assert!(told.stderr.contains("Permission denied") || told.stdout.contains("Permission denied"), "{told:?}");
    site.assert_whole();
    assert!(files_below(&site.target()).len() >= 4, "the others are archived");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("its mode is set");
    site.assert_completes();
}

#[test]
fn an_unreadable_host_is_named_and_kept_and_stops_no_other() {
    let site = Site::small();
    open_target(&site);
    let host = site.tree.path().join("c/b");
    fs::set_permissions(&host, Permissions::from_mode(0o0)).expect("its mode is set");
    let told = as_a_user(&site, &[]).expect(3);
    assert!(told.stderr.contains("cannot list") || told.stdout.contains("cannot list"), "{told:?}");
    site.assert_whole();
    fs::set_permissions(&host, Permissions::from_mode(0o755)).expect("its mode is set");
    site.assert_completes();
}

#[test]
fn an_object_that_this_user_may_not_read_costs_its_own_sources() {
    let site = Site::small();
    open_target(&site);
    as_a_user(&site, &[]).expect(0);
    let object = site.target().join(files_below(&site.target()).into_keys().next().expect("an object"));
    fs::set_permissions(&object, Permissions::from_mode(0o0)).expect("its mode is set");
    let told = as_a_user(&site, &["--json"]).expect(3);
    let set_aside = told.summary()["set_aside"].clone();
    assert_eq!((set_aside.as_array().map(Vec::len), told.summary()["already_archived"].as_u64()), (Some(1), Some(5)), "five of six: {told:?}");
    let reason = set_aside[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("Permission denied") && reason.contains("this user") && !reason.contains("remove"), "{reason}");
    fs::set_permissions(&object, Permissions::from_mode(0o644)).expect("its mode is set");
    site.assert_completes();
}

#[test]
fn an_unwritable_target_is_one_clear_error() {
    let site = Site::small();
    // the folder above is somebody else's, or may not be written to
    fs::create_dir(site.target()).expect("made");
    fs::set_permissions(site.target(), Permissions::from_mode(0o555)).expect("its mode is set");
    let told = as_a_user(&site, &[]).expect(1);
    assert!(told.stderr.contains("Permission denied"), "{}", told.stderr);
    assert!(files_below(&site.target()).is_empty());
    fs::set_permissions(site.target(), Permissions::from_mode(0o755)).expect("its mode is set");
    site.assert_completes();
}

#[test]
fn a_target_that_becomes_unwritable_is_one_clear_error() {
    let site = Site::small();
    open_target(&site);
    let partition = site.target().join("cluster=c");
    fs::create_dir(&partition).expect("made");
    fs::set_permissions(&partition, Permissions::from_mode(0o555)).expect("its mode is set");
    let told = as_a_user(&site, &[]).expect(1);
    assert!(told.stderr.contains("Permission denied"), "{}", told.stderr);
    assert!(files_below(&site.target()).is_empty(), "nothing stays, visible or not");
    fs::set_permissions(&partition, Permissions::from_mode(0o777)).expect("its mode is set");
    site.assert_completes();
}

#[test]
fn a_file_that_cannot_be_deleted_is_named_and_kept() {
    let site = Site::small();
    open_target(&site);
    // its folder is somebody else's, or may not be written to
    let host = site.tree.path().join("c/b");
    fs::set_permissions(&host, Permissions::from_mode(0o555)).expect("its mode is set");
    let before = files_below(&host);
    let told = as_a_user(&site, &["--prune-after", "1s"]).expect(3);
    assert!(told.stdout.contains("cannot be deleted") || told.stderr.contains("cannot be deleted"), "{told:?}");
    assert_eq!(files_below(&host), before);
    fs::set_permissions(&host, Permissions::from_mode(0o755)).expect("its mode is set");
    site.assert_completes();
}
