//! What LocalStack does not do: a server that checks who signed, and how. With the feature `minio`, all buckets of the tests are there.

use serde_json::json;
use support::{Bucket, Run, Snapshot, T0, Tree, archiver, run, s3};

mod support;

/// What must never be seen.
const CANARY: &str = "canary/wJalrXUtnFEMI";

/// Archives a small tree into the bucket.
fn archive(bucket: &Bucket, flags: &[&str], variables: &[(&str, &str)]) -> Run {
    let tree = Tree::new();
    tree.bin("c", "n1", &Snapshot::minutes(T0, [1.0; 100]));
    let mut command = archiver();
    command.arg("archive").arg(tree.path()).arg(bucket.url("archive")).args(["-vv", "--progress", "never"]).args(flags);
    run(command.envs(bucket.environment()).envs(variables.iter().copied()))
}

#[track_caller]
fn assert_refused(flags: &[&str], variables: &[(&str, &str)], words: &[&str]) {
    let bucket = s3();
    let run = archive(&bucket, flags, variables).expect(1);
    assert!(!run.stderr.contains("canary"), "a secret was shown: {}", run.stderr);
    let error = run.stderr.split_once("ERROR").expect("an error").1;
    for word in words {
        assert!(error.contains(word), "no {word:?} in {error}");
    }
    assert!(bucket.objects("").is_empty());
}

#[test]
fn a_wrong_secret_a_wrong_key_and_no_key_are_told_apart() {
    assert_refused(&[], &[("AWS_SECRET_ACCESS_KEY", CANARY)], &["SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY"]);
    assert_refused(&[], &[("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", CANARY)], &["InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID"]);
    assert_refused(&[], &[("AWS_SESSION_TOKEN", CANARY)], &["hint: the session of the credentials"]);
    assert_refused(&["--anonymous"], &[], &["AccessDenied", "s3:GetObject"]);
}

#[test]
fn a_wrong_region_names_the_right_one() {
    assert_refused(&["--region", "eu-north-1"], &[], &["use --region us-east-1"]);
}

#[test]
fn a_class_that_the_server_does_not_have_is_named() {
    assert_refused(&["--storage-class", "STANDARD_IA"], &[], &["the server refused --storage-class STANDARD_IA"]);
}

#[test]
fn a_key_that_the_server_does_not_have_is_named() {
    assert_refused(&["--sse", "kms", "--sse-kms-key", "no-such-key"], &[], &["the server refused --sse kms"]);
}

#[test]
fn objects_are_encrypted_as_asked_for() {
    for (flags, expected) in
        [(&["--sse", "s3"][..], "AES256"), (&["--sse", "kms"], "aws:kms"), (&["--sse", "kms", "--sse-kms-key", "cc-archiver-tests"], "aws:kms")]
    {
        let bucket = s3();
        let run = archive(&bucket, flags, &[]).expect(0);
        assert_eq!(run.lines_of("WARN"), [""; 0]);
        assert_eq!(bucket.shown()[0]["sse"], json!(expected));
    }
}

#[test]
fn of_many_writers_for_one_key_one_wins() {
    let (bucket, tree) = (s3(), Tree::golden());
    let mut doctor = archiver();
    doctor.arg("doctor").arg(tree.path()).arg(bucket.url("archive")).arg("--json").envs(bucket.environment());
    let found: serde_json::Value = serde_json::from_str(&run(&mut doctor).stdout).expect("JSON");
    let races = found["checks"].as_array().expect("checks").iter().find(|check| check["check"] == "races").expect("it was tried");
    assert_eq!(races["level"], "ok", "{races}");
}
