//! Objects are stored as was asked for, and what a server ignores is noticed.

use serde_json::json;
use support::{Level, Snapshot, T0, Tree, archiver, noise, run, s3};

use super::objects::Objects;
use super::server::Server;
use super::{archiving, small_tree, support, with_keys};

/// A tree whose archive is a multipart upload.
pub fn large_tree() -> Tree {
    let mut root = Level::default();
    for (m, values) in noise(1, 2_400_000).chunks(36_000).enumerate() {
        root = root.metric(&format!("m{m:03}"), 1, T0, values);
    }
    let tree = Tree::new();
    tree.bin("c", "n1", &Snapshot { from: T0, to: T0 + 36_000, root });
    tree
}

#[test]
fn objects_have_the_encryption_the_class_the_tags_and_the_checksum_that_were_asked_for() {
    for (tree, is_large) in [(small_tree(), false), (large_tree(), true)] {
        let bucket = s3();
        let flags = ["--sse", "s3", "--storage-class", "REDUCED_REDUNDANCY", "--tag", "team=hpc", "--tag", "site=a b/c", "--checksum", "sha256"];
        let mut command = archiver();
        command.arg("archive").arg(tree.path()).arg(bucket.url("archive")).args(["--compression", "none", "--progress", "never"]).args(flags);
        let run = run(command.envs(bucket.environment())).expect(0);
        assert_eq!(run.lines_of("WARN"), [""; 0], "the server keeps to all of it");
        let key = bucket.objects("archive").into_keys().next().expect("an object");
        assert_eq!(bucket.parts_of(&format!("archive/{key}")).is_some(), is_large);
        let expected = json!({"sse": "AES256", "class": "REDUCED_REDUNDANCY", "tags": {"team": "hpc", "site": "a b/c"}, "checksums": ["ChecksumSHA256"]});
        // also the archive's own object, and what conditions are tried on
        assert_eq!(bucket.shown(), [(); 3].map(|()| expected.clone()));
    }
}

#[test]
fn without_options_objects_are_as_the_bucket_has_them_with_a_checksum() {
    let (bucket, tree) = (s3(), small_tree());
    let mut command = archiver();
    run(command.arg("archive").arg(tree.path()).arg(bucket.url("archive")).envs(bucket.environment())).expect(0);
    let shown = &bucket.shown()[0];
    assert_eq!((&shown["class"], &shown["tags"], &shown["checksums"]), (&json!("STANDARD"), &json!({}), &json!(["ChecksumCRC64NVME"])));
}

#[test]
fn what_is_sent_is_what_was_asked_for_and_signed() {
    let sent = |flags: &[&str]| {
        let objects = Objects::default();
        let server = Server::start(move |seen| objects.respond(seen));
        with_keys(&mut archiving(&small_tree(), &server.address, flags)).expect(0);
        server.seen().into_iter().find(|seen| seen.method == "PUT").expect("an upload")
    };
    let put = sent(&["--sse", "kms", "--sse-kms-key", "arn:aws:kms:x:1:key/2", "--storage-class", "STANDARD_IA", "--tag", "a=b c"]);
    for (header, value) in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:x:1:key/2"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-tagging", "a=b+c"),
        ("if-none-match", "*"),
    ] {
        assert_eq!(put.header(header), value, "{header}");
        assert!(put.header("authorization").contains(header), "{header} is not signed");
    }
    assert!(put.headers.contains_key("x-amz-checksum-crc64nvme"));
    assert!(put.path().starts_with("/bucket/archive/"), "{}", put.path());
    let put = sent(&["--checksum", "none"]);
    let extras: Vec<_> = put.headers.keys().filter(|name| name.contains("checksum") || name.contains("encryption") || name.contains("tagging")).collect();
    assert_eq!(extras, [""; 0]);
    assert_ne!(put.header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
}

#[test]
fn a_bucket_can_have_a_host_of_its_own() {
    let objects = Objects::default();
    // who resolves no names, asks the proxy for the host
    let proxy = Server::start(move |seen| objects.respond(seen));
    let tree = small_tree();
    let mut command = archiving(&tree, "http://s3.example.invalid:9000", &["--s3-style", "virtual-host"]);
    let run = with_keys(command.env("HTTP_PROXY", &proxy.address)).expect(0);
    assert!(run.stderr.contains("style=\"virtual host\""), "{}", run.stderr);
    let seen = proxy.seen();
    assert!(seen.iter().all(|seen| seen.target.starts_with("http://bucket.s3.example.invalid:9000/")), "{:?}", seen[0].target);
}

#[test]
fn a_server_that_ignores_what_was_asked_for_is_found_out_once() {
    let objects = Objects::default();
    let server = Server::start(move |seen| objects.respond(seen));
    let tree = small_tree();
    tree.bin("c", "n1", &Snapshot::minutes(T0 + 5 * 86_400, [1.0; 100]));
    let flags = ["--sse", "kms", "--storage-class", "STANDARD_IA", "--tag", "a=b"];
    let run = with_keys(&mut archiving(&tree, &server.address, &flags)).expect(0);
    assert_eq!(run.summary()["objects_written"], 2);
    let warnings = run.lines_of("WARN");
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for word in ["ignored --sse kms", "ignored --storage-class STANDARD_IA", "shows no tags"] {
        assert!(warnings.iter().any(|line| line.contains(word)), "no {word:?} in {warnings:?}");
    }
    assert_eq!(run.stderr.matches("does not answer with the checksum").count(), 1);
    // and a server of which nothing is asked ignores nothing
    let run = with_keys(&mut archiving(&small_tree(), &server.address, &["--checksum", "none"])).expect(0);
    assert_eq!(run.lines_of("WARN"), [""; 0]);
}

#[test]
fn the_first_line_on_s3_says_where_and_by_which_credentials() {
    let objects = Objects::default();
    let server = Server::start(move |seen| objects.respond(seen));
    let run = with_keys(&mut archiving(&small_tree(), &server.address, &["--region", "eu-north-1"])).expect(0);
    let line = run.lines_of("INFO")[0];
    for word in ["S3", &server.address, "region=\"eu-north-1\"", "style=\"path\"", "credentials=\"static keys\""] {
        assert!(line.contains(word), "no {word} in {line}");
    }
    // a flag wins over the variables, and those of S3 over the general ones
    let environment = [("AWS_ENDPOINT_URL_S3", server.address.as_str()), ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_REGION", "eu-west-1")];
    let mut command = archiver();
    command.arg("verify").args(["s3://bucket/archive", "--region", "eu-south-1", "--json"]).envs(environment);
    let line = with_keys(&mut command).expect(0).stderr;
    assert!(line.contains(&server.address) && line.contains("eu-south-1"), "{line}");
}

#[test]
fn every_option_stands_in_the_documentation_and_nothing_else_does() {
    use clap::CommandFactory;
    let text = include_str!("../../docs/s3.md");
    let mut cli = cc_archiver::cli::Cli::command();
    cli.build();
    for command in ["archive", "prune", "verify"] {
        let command = cli.find_subcommand(command).expect("a command");
        let options: Vec<String> = command
            .get_arguments()
            .filter(|arg| arg.get_help_heading().is_some_and(|heading| heading.ends_with("S3")))
            .map(|arg| format!("| `--{} ", arg.get_long().expect("a name")))
            .collect();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `--") && line.contains("`CC_ARCHIVER_")).collect();
        assert_eq!(rows.len(), options.len());
        for (option, row) in options.iter().zip(rows) {
            let variable = format!("`CC_ARCHIVER_{}`", option.trim_start_matches("| `--").trim().to_uppercase().replace('-', "_"));
            assert!(row.replace("`--anonymous`", "`--anonymous `").starts_with(option) && row.contains(&variable), "{option}: {row}");
        }
    }
}
