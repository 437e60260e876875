//! S3 as an operator sets it up: how objects are stored, where credentials come from, what is said when something is wrong, and
//! that no secret is shown. Against the S3 server of the tests, and against small servers of their own.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod credentials;
mod errors;
mod limit;
mod objects;
mod overwriting;
mod requests;
mod server;
mod storing;

use std::process::Command;

use support::{Run, Snapshot, T0, Tree, archiver, run};

/// What must never be seen.
const CANARY: &str = "canary/wJalrXUtnFEMI";

/// A tree of one small snapshot.
fn small_tree() -> Tree {
    let tree = Tree::new();
    tree.bin("c", "n1", &Snapshot::minutes(T0, [1.0; 100]));
    tree
}

/// `archive TREE s3://bucket/archive`, without any variables.
fn archiving(tree: &Tree, endpoint: &str, flags: &[&str]) -> Command {
    let mut command = archiver();
    command.arg("archive").arg(tree.path()).args(["s3://bucket/archive", "--endpoint", endpoint, "--progress", "never", "--json"]).args(flags);
    // a proxy is not for servers on this machine
    command.env("NO_PROXY", "127.0.0.1");
    command
}

/// The same, with static keys.
fn with_keys(command: &mut Command) -> Run {
    run(command.envs([("AWS_ACCESS_KEY_ID", "somebody"), ("AWS_SECRET_ACCESS_KEY", CANARY)]))
}

/// Nothing secret was said.
#[track_caller]
fn assert_no_canary(run: &Run) {
    let all = format!("{}\n{}", run.stdout, run.stderr);
    assert!(!all.contains("canary"), "a secret was shown:\n{all}");
}

/// The last line of the log is this error, its hint says this, and no secret is shown.
#[track_caller]
fn assert_said(run: &Run, words: &[&str]) {
    assert_no_canary(run);
    assert_eq!(run.lines_of("ERROR").len(), 1, "one error: {}", run.stderr);
    let error = run.stderr.split_once("ERROR").expect("an error").1;
    assert!(error.contains("\n  hint: "), "no hint: {error}");
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
}
