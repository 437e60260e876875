//! `init`: it finds, asks, writes one file, and tries it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::terminal::at_terminal;
use support::{Run, Snapshot, T0, archiver, run, write};

mod support;

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder") };
        let snapshot = Snapshot::minutes(T0, [1.0; 60]);
        write(&site.path(&format!("cc/var/checkpoints/c/n1/{}.bin", snapshot.from)), &snapshot.bin());
        write(&site.path("cc/config.json"), br#"{"metric-store": {"retention-in-memory": "48h"}}"#);
        site
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("there").join(path)
    }

    fn init(&self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = archiver();
        run(command.current_dir(self.folder.path()).args(["init", "--config", "new/c.json"]).args(args).envs(variables.iter().copied()))
    }

    fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("new/c.json")).expect("written")).expect("JSON")
    }

    /// Runs it at a terminal where these lines are typed, each when it is asked for; gives all that the terminal shows.
    fn at_terminal(&self, args: &[&str], dialogue: &[(&str, &str)]) -> (String, i32) {
        let mut command = archiver();
        command.current_dir(self.folder.path()).env("TERM", "xterm").args(["init", "--config", "new/c.json"]).args(args);
        at_terminal(command, dialogue)
    }
}

#[test]
fn what_is_named_is_written_and_tried_and_nothing_is_archived() {
    let site = Site::new();
    let run = site.init(&["archive", "--cc-backend-config", "cc/config.json", "--non-interactive"], &[]).expect(0);
    let (tree, backend, archive) = (site.path("cc/var/checkpoints"), site.path("cc/config.json"), site.path("archive"));
    assert_eq!(site.config(), json!({"checkpoints": tree, "cc-backend-config": backend, "archive": archive}));
    for said in ["can be made", "dry run: nothing was written", "What is left"] {
        assert!(run.stdout.contains(said), "{said}: {}", run.stdout);
    }
    assert!(!archive.exists());
    // the commands that it leaves work as they are
    for command in ["archive", "verify"] {
        support::run(archiver().args([command, "--config"]).arg(site.path("new/c.json"))).expect(0);
    }
}

#[test]
fn it_overwrites_nothing() {
    let site = Site::new();
    write(&site.path("new/c.json"), b"{}");
    let run = site.init(&["archive", "--cc-backend-config", "cc/config.json"], &[]).expect(2);
    assert!(run.stderr.contains("overwrites no configuration"), "{}", run.stderr);
    assert_eq!(site.config(), json!({}));
}

/// Packages put an example there, with which nothing runs.
#[test]
fn the_example_of_a_package_is_no_configuration_and_gives_way() {
    let site = Site::new();
    let example = include_str!("../src/config/example.json");
    write(&site.path("new/c.json"), example.as_bytes());
    let run = support::run(archiver().args(["archive", "--dry-run", "--config"]).arg(site.path("new/c.json"))).expect(2);
    assert!(run.stderr.contains("\"archive\": this is still what the example has") && run.stderr.contains("cc-archiver init"), "{}", run.stderr);
    // one edit, and it is somebody's
    write(&site.path("new/c.json"), example.replace("256MiB", "64MiB").as_bytes());
    site.init(&["archive", "--cc-backend-config", "cc/config.json"], &[]).expect(2);
    write(&site.path("new/c.json"), example.as_bytes());
    site.init(&["archive", "--cc-backend-config", "cc/config.json"], &[]).expect(0);
    assert_eq!(site.config()["cc-backend-config"], json!(site.path("cc/config.json")));
    assert_eq!(fs::metadata(site.path("new/c.json")).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_missing_or_wrong_is_said_and_nothing_is_written() {
    let site = Site::new();
    for (args, variables, why) in [
        (&["--checkpoints", "cc/var/checkpoints"][..], &[][..], "the archive is not known"),
        (&["archive", "--checkpoints", "none"], &[], "there is no checkpoint tree"),
        (&["cc/var/checkpoints/a", "--checkpoints", "cc/var/checkpoints"], &[], "lies inside the checkpoint tree"),
        (&["archive", "--checkpoints", "cc/var/checkpoints", "--tag", "a=b"], &[], "is for an archive in S3"),
        (&["s3://b/p", "--checkpoints", "cc/var/checkpoints"], &[("AWS_ACCESS_KEY_ID", "id")], "AWS_SECRET_ACCESS_KEY is not"),
        (
            &["s3://b/p", "--checkpoints", "cc/var/checkpoints"],
            &[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")],
            "keys end within hours",
        ),
    ] {
        let run = site.init(args, variables).expect(2);
        assert!(run.stderr.contains(why), "{why}: {}", run.stderr);
        assert!(!site.path("new").exists(), "{why}");
    }
}

#[test]
fn an_error_of_doctor_is_the_end_and_the_file_is_there() {
    let site = Site::new();
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "geheim"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_REGION", "eu")];
    let authority = rcgen::generate_simple_self_signed(["minio.example.org".to_owned()]).expect("a certificate");
    write(&site.path("ca.pem"), authority.cert.pem().as_bytes());
    let args = ["s3://b/p", "--checkpoints", "cc/var/checkpoints", "--retry-for", "1s", "--ca-file", "ca.pem", "--json"];
    let run = site.init(&args, &keys).expect(3);
    let said = run.summary();
    assert_eq!((&said["dry_run"], &said["next"]), (&Value::Null, &json!([])));
    assert!(said["doctor"]["checks"].as_array().is_some_and(|checks| checks.iter().any(|check| check["level"] == "error")), "{said}");
    let config = site.config();
    assert_eq!((&config["endpoint"], &config["region"], &config["retry-for"]), (&json!("http://127.0.0.1:1"), &json!("eu"), &json!("1s")));
    assert_eq!(config["ca-file"], json!(site.path("ca.pem")), "the service begins elsewhere");
    assert_eq!((&config["access-key"], &config["secret-key"]), (&json!("id"), &json!("geheim")));
    assert_eq!(fs::metadata(site.path("new/c.json")).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("geheim"));
}

#[test]
fn at_a_terminal_it_asks_and_a_secret_is_not_shown() {
    let site = Site::new();
    let dialogue = [
        ("config.json", "cc/config.json"),
        ("s3://bucket/prefix", "s3://b/p"),
        ("empty: AWS", "http://127.0.0.1:1"),
        ("has a role", "id"),
        ("not shown", "geheim"),
    ];
    let (shown, code) = site.at_terminal(&["--retry-for", "1s", "--checkpoints", ""], &dialogue[..0]);
    assert_eq!(code, 2, "{shown}");
    let (shown, code) = site.at_terminal(&["--retry-for", "1s"], &dialogue);
    assert_eq!(code, 3, "{shown}");
    assert!(!shown.contains("geheim"), "{shown}");
    let config = site.config();
    let found: Vec<&Value> = ["checkpoints", "archive", "endpoint", "access-key", "secret-key"].iter().map(|key| &config[*key]).collect();
    assert_eq!(json!(found), json!([site.path("cc/var/checkpoints"), "s3://b/p", "http://127.0.0.1:1", "id", "geheim"]));
}
