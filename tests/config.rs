//! Settings: what wins, what is refused, what is shown and what never is; and that schema, example and documentation are those of the code.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use cc_archiver::cli::{Cli, Command as Wanted};
use cc_archiver::config::{self, Kind, S3Environment, SECRETS, Setting};
use cc_archiver::settings::Credentials;
use clap::Parser;
use serde_json::{Map, Value, json};

const KEY: &str = "AKIDOFTHEFILE";
const SECRET: &str = "verysecretword";

/// A folder in which the program runs, with a tree of two clusters.
struct Site(tempfile::TempDir);

#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("a folder"));
        for cluster in ["alpha", "beta"] {
            let host = format!("tree/{cluster}/n01");
            fs::create_dir_all(site.path(&host)).expect("created");
            let from = repository(&format!("tests/fixtures/golden/checkpoints/alpha/{}", host.rsplit('/').next().expect("a name")));
            for entry in fs::read_dir(from).expect("listed") {
                let path = entry.expect("an entry").path();
                fs::copy(&path, site.path(&host).join(path.file_name().expect("a name"))).expect("copied");
            }
        }
        site
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) -> String {
        fs::create_dir_all(self.path(path).parent().expect("a folder")).expect("created");
        fs::write(self.path(path), text).expect("written");
        path.to_owned()
    }

    /// The program with nothing in its environment but this.
    fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cc-archiver"));
        command.env_clear().current_dir(self.0.path()).stdin(Stdio::null()).args(args).envs(environment.iter().copied());
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        let output = command.output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    /// What `config --json` says.
    fn effective(&self, args: &[&str], environment: &[(&str, &str)]) -> Value {
        let run = self.run_with(&[&["config", "--json"], args].concat(), environment);
        assert_eq!(run.code, Some(0), "{run:?}");
        serde_json::from_str(&run.stdout).expect("JSON")
    }

    /// (value, source) of a setting.
    fn setting(&self, key: &str, args: &[&str], environment: &[(&str, &str)]) -> (Value, String) {
        let all = self.effective(args, environment);
        let setting = &all["settings"][key];
        (setting["value"].clone(), setting["source"].as_str().unwrap_or_default().to_owned())
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The clusters of a plan.
fn clusters(run: &Run) -> Vec<String> {
    assert_eq!(run.code, Some(0), "{run:?}");
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    result["clusters"].as_array().expect("clusters").iter().map(|c| c["cluster"].as_str().expect("a name").to_owned()).collect()
}

// ---- what wins ----

#[test]
fn variables_win_over_the_file_and_flags_over_variables() {
    let site = Site::new();
    site.write("c.json", r#"{"memory": "100MiB", "decode": true, "cluster": ["a", "b"], "verbose": 0, "min-age": "1m"}"#);
    let (file, variables) = (["--config", "c.json"], [("CC_ARCHIVER_MEMORY", "101MiB"), ("CC_ARCHIVER_DECODE", "no"), ("CC_ARCHIVER_CLUSTER", "c,d")]);
    let flags = ["--config", "c.json", "--memory", "102MiB", "--decode", "--cluster", "e"];
    for (key, default, in_file, variable, flag) in [
        ("memory", json!("512MiB"), json!("100MiB"), json!("101MiB"), json!("102MiB")),
        ("decode", json!(false), json!(true), json!(false), json!(true)),
        ("cluster", json!([]), json!(["a", "b"]), json!(["c", "d"]), json!(["e"])),
    ] {
        assert_eq!(site.setting(key, &[], &[]), (default, "default".into()), "{key}");
        assert_eq!(site.setting(key, &file, &[]), (in_file, "file".into()), "{key}");
        assert_eq!(site.setting(key, &file, &variables), (variable, "variable".into()), "{key}");
        assert_eq!(site.setting(key, &flags, &variables), (flag, "flag".into()), "{key}");
    }
    let by_variable = site.setting("min-age", &[], &[("CC_ARCHIVER_CONFIG", "c.json")]);
    assert_eq!(by_variable, (json!("1m"), "file".into()), "the file can be named by a variable");
}

#[test]
fn a_run_does_what_the_file_says_unless_a_variable_or_a_flag_says_something_else() {
    let site = Site::new();
    site.write("c.json", r#"{"checkpoints": "tree", "archive": "archive", "json": true, "dry-run": true, "cluster": ["alpha"], "older-than": "7d"}"#);
    let archive = ["archive", "--config", "c.json"];
    assert_eq!(clusters(&site.run(&archive)), ["alpha"]);
    assert!(!site.path("archive").exists(), "dry-run counts");
    assert_eq!(clusters(&site.run_with(&archive, &[("CC_ARCHIVER_CLUSTER", "beta")])), ["beta"]);
    let flag = [&archive[..], &["--cluster", "alpha,beta"]].concat();
    assert_eq!(clusters(&site.run_with(&flag, &[("CC_ARCHIVER_CLUSTER", "beta")])), ["alpha", "beta"]);
    assert_eq!(clusters(&site.run(&["--config", "c.json", "archive"])), ["alpha"], "before the command too");
    let text = site.run_with(&archive, &[("CC_ARCHIVER_JSON", "false")]);
    assert!(text.stdout.ends_with("dry run: nothing was written\n"), "{text:?}");
    let done = site.run_with(&archive, &[("CC_ARCHIVER_DRY_RUN", "0")]);
    assert!(done.code == Some(0) && site.path("archive/cluster=alpha").exists(), "the variable turns dry-run off: {done:?}");
    assert!(!site.path("archive/cluster=beta").exists());
    let prune = site.run(&["prune", "--config", "c.json"]);
    assert!(prune.code == Some(0) && prune.stdout.starts_with('{'), "the same file serves prune: {prune:?}");
    let verify = site.run(&["verify", "--config", "c.json"]);
    assert_eq!(verify.code, Some(0), "and verify: {verify:?}");
}

#[test]
fn the_only_argument_is_the_one_that_nothing_else_sets() {
    let site = Site::new();
    let both = |args: &[&str], environment: &[(&str, &str)]| {
        let all = site.effective(args, environment);
        ["checkpoints", "archive"].map(|key| all["settings"][key]["value"].as_str().unwrap_or("-").to_owned())
    };
    site.write("tree.json", r#"{"checkpoints": "t"}"#);
    site.write("archive.json", r#"{"archive": "a"}"#);
    site.write("both.json", r#"{"checkpoints": "t", "archive": "a"}"#);
    assert_eq!(both(&["x"], &[]), ["x", "-"]);
    assert_eq!(both(&["x", "--config", "tree.json"], &[]), ["t", "x"]);
    assert_eq!(both(&["x", "--config", "archive.json"], &[]), ["x", "a"]);
    assert_eq!(both(&["x", "--config", "both.json"], &[]), ["x", "a"]);
    assert_eq!(both(&["x", "y", "--config", "both.json"], &[]), ["x", "y"]);
    assert_eq!(both(&["x", "y", "--config", "tree.json"], &[]), ["x", "y"]);
    assert_eq!(both(&["x"], &[("CC_ARCHIVER_CHECKPOINTS", "e")]), ["e", "x"]);
    assert_eq!(both(&["x", "--config", "tree.json"], &[("CC_ARCHIVER_ARCHIVE", "e")]), ["x", "e"]);
    for args in [&["archive", "--config", "tree.json"][..], &["prune", "--config", "tree.json", "--older-than", "7d"]] {
        let refused = site.run(args);
        assert!(refused.code == Some(2) && refused.stderr.contains("<ARCHIVE>") && !refused.stderr.contains("<CHECKPOINTS>"), "{refused:?}");
    }
    let refused = site.run(&["archive", "--config", "archive.json"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("<CHECKPOINTS>"), "{refused:?}");
    let run = site.run(&["archive", "made", "--config", "tree.json", "--dry-run"]);
    assert!(run.code == Some(2) && run.stderr.contains("t: No such file"), "the tree is the file's: {run:?}");
}

// ---- what is refused ----

#[test]
fn a_key_that_nobody_knows_is_refused_with_the_nearest_one() {
    let site = Site::new();
    for (key, nearest) in [("memroy", "memory"), ("prune_after", "prune-after"), ("Cluster", "cluster"), ("acess-key", "access-key")] {
        site.write("c.json", &json!({ key: "x" }).to_string());
        for command in [&["archive", "tree", "a"][..], &["verify", "a"], &["config"]] {
            let run = site.run(&[command, &["--config", "c.json"]].concat());
            assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
            assert!(run.stderr.starts_with(&format!("error: c.json: {key:?}: there is no such setting")), "{run:?}");
            assert!(run.stderr.contains(&format!("nearest is {nearest:?}")), "{run:?}");
        }
    }
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_file_key_and_reason() {
    let site = Site::new();
    for (text, key, reason) in [
        (r#"{"memory": "plenty"}"#, "memory", "write 256MiB"),
        (r#"{"memory": 5}"#, "memory", "a text is needed"),
        (r#"{"workers": "2"}"#, "workers", "a number is needed"),
        (r#"{"workers": -1}"#, "workers", "invalid digit"),
        (r#"{"workers": null}"#, "workers", "a number is needed"),
        (r#"{"read-data": 101}"#, "read-data", "101 is not in 1..=100"),
        (r#"{"verbose": 300}"#, "verbose", "a number from 0 to 255 is needed"),
        (r#"{"json": "yes"}"#, "json", "true or false is needed"),
        (r#"{"cluster": ["a", 1]}"#, "cluster", "a list of texts is needed"),
        (r#"{"log-format": "xml"}"#, "log-format", "one of text, json is needed"),
        (r#"{"compression": "zstd(23)"}"#, "compression", "zstd has levels 1 to 22"),
        (r#"{"archive": "gs://b"}"#, "archive", "unknown scheme"),
        (r#"{"archive": ""}"#, "archive", "it is empty"),
        (r#"{"older-than": "long"}"#, "older-than", "write 7d"),
        (r#"{"memory": "64MiB", "memory": "65MiB"}"#, "memory", "twice"),
    ] {
        site.write("c.json", text);
        // whatever the command is, and though flags would win
        for command in [&["archive", "tree", "a", "--memory", "64MiB"][..], &["verify", "a"], &["config"]] {
            let run = site.run(&[command, &["--config", "c.json"]].concat());
            assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{text}: {run:?}");
            assert!(run.stderr.starts_with(&format!("error: c.json: {key:?}: ")) && run.stderr.contains(reason), "{text}: {run:?}");
        }
    }
    for text in ["", "[1]", "{\"memory\":", "{} {}", "\"x\""] {
        site.write("c.json", text);
        let run = site.run(&["config", "--config", "c.json"]);
        assert!(run.code == Some(2) && run.stderr.starts_with("error: c.json: it is not a JSON object"), "{text}: {run:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_refused_but_help_is_given() {
    let site = Site::new();
    let named = [("CC_ARCHIVER_CONFIG", "no.json")];
    for run in [site.run(&["archive", "tree", "a", "--config", "no.json"]), site.run_with(&["archive", "tree", "a"], &named)] {
        assert!(run.code == Some(2) && run.stderr.contains("cannot read the configuration no.json: No such file"), "{run:?}");
        assert!(!site.path("a").exists());
    }
    for args in [&["--help"][..], &["archive", "--help"], &["--version"]] {
        assert_eq!(site.run_with(args, &named).code, Some(0), "{args:?}");
    }
    let flag_wins = site.run_with(&["config", "--config", &site.write("c.json", "{}")], &named);
    assert_eq!(flag_wins.code, Some(0), "{flag_wins:?}");
}

#[test]
fn what_is_wrong_on_the_command_line_is_said_as_without_a_file() {
    let site = Site::new();
    site.write("c.json", r#"{"memory": "64MiB"}"#);
    for args in [&["archive", "tree", "a", "--delete"][..], &["archive", "tree", "a", "b"], &["archive", "tree"], &["archive", "tree", "a", "--workers", "x"]] {
        let (without, with) = (site.run(args), site.run(&[args, &["--config", "c.json"]].concat()));
        // the line on usage has what was given
        assert_eq!((with.code, with.stderr.replace(" --config <PATH>", "")), (Some(2), without.stderr), "{args:?}");
    }
}

// ---- secrets ----

/// A server that refuses whatever it is asked, and keeps what it was asked.
fn refusing_server() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (url, heard) = (format!("http://{}", listener.local_addr().expect("an address")), Arc::new(Mutex::new(String::new())));
    let keep = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut buffer) = (stream.expect("a connection"), [0; 8192]);
            let read = stream.read(&mut buffer).unwrap_or(0);
            keep.lock().expect("held").push_str(&String::from_utf8_lossy(&buffer[..read]));
            let answer = "<Error><Code>AccessDenied</Code><Message>No</Message></Error>";
            let _ = write!(stream, "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len());
        }
    });
    (url, heard)
}

#[test]
fn keys_of_the_file_are_used_unless_the_environment_has_some_and_are_never_shown() {
    let site = Site::new();
    let file = json!({"checkpoints": "tree", "archive": "s3://bucket/x", "access-key": KEY, "secret-key": SECRET});
    site.write("c.json", &file.to_string());
    for (own, expected) in
        [(&[][..], KEY), (&[("AWS_ACCESS_KEY_ID", "AKIDOFTHEENVIRONMENT"), ("AWS_SECRET_ACCESS_KEY", "othersecret")], "AKIDOFTHEENVIRONMENT")]
    {
        let (url, heard) = refusing_server();
        let environment = [own, &[("AWS_ENDPOINT_URL", url.as_str()), ("AWS_REGION", "eu-central-1")]].concat();
        for command in [&["archive"][..], &["prune", "--older-than", "7d"], &["verify"]] {
            heard.lock().expect("held").clear();
            let run = site.run_with(&[command, &["-vv", "--config", "c.json"]].concat(), &environment);
            assert!(run.code == Some(1) && run.stderr.contains("AccessDenied"), "{run:?}");
            assert!(run.stderr.contains("TRACE") || run.stderr.contains("DEBUG"), "{run:?}");
            assert!(heard.lock().expect("held").contains(&format!("Credential={expected}/")), "{command:?} {}", heard.lock().expect("held"));
            for secret in [KEY, SECRET, "othersecret", "AKIDOFTHEENVIRONMENT"] {
                assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{secret}: {run:?}");
            }
        }
        for shown in [&["config", "--config", "c.json"][..], &["config", "--config", "c.json", "--json"]] {
            let run = site.run_with(shown, &environment);
            assert_eq!(run.code, Some(0), "{run:?}");
            assert!(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].iter().all(|name| run.stdout.contains(name)), "{run:?}");
            for secret in [KEY, SECRET, "othersecret", "AKIDOFTHEENVIRONMENT", "eu-central-1"] {
                assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{secret}: {run:?}");
            }
        }
        let keys = &site.effective(&["--config", "c.json"], &environment)["credentials"];
        let source = if own.is_empty() { "file" } else { "variable" };
        assert_eq!((&keys["AWS_SECRET_ACCESS_KEY"]["set"], &keys["AWS_SECRET_ACCESS_KEY"]["source"]), (&json!(true), &json!(source)));
    }
}

#[test]
fn a_file_that_is_refused_does_not_show_its_keys() {
    let site = Site::new();
    for text in [
        format!(r#"{{"access-key": "{KEY}", "secret-key": "{SECRET}", "nothing": 1}}"#),
        format!(r#"{{"access-key": "{KEY}", "secret-key": ["{SECRET}"]}}"#),
        format!(r#"{{"secret-key": "{SECRET}""#),
        format!(r#""{SECRET}""#),
        format!(r#"["{SECRET}"]"#),
        format!(r#"{{"secret-key": "{SECRET}\x"}}"#),
    ] {
        site.write("c.json", &text);
        let run = site.run(&["config", "--config", "c.json"]);
        assert!(run.code == Some(2) && !run.stderr.contains(KEY) && !run.stderr.contains(SECRET), "{run:?}");
    }
}

#[test]
fn settings_are_debugged_without_secrets() {
    let Wanted::Archive(args) = Cli::parse_from(["cc-archiver", "archive", "/a", "s3://b"]).command else { panic!("archive") };
    let variables = SECRETS.iter().zip([KEY, SECRET]).map(|((_, variable, _), value)| ((*variable).to_owned(), value.to_owned())).collect();
    let environment = S3Environment { variables, typed: None };
    let mut shown = format!("{args:?} {environment:?}");
    let settings = config::archive(*args, &environment).expect("valid");
    shown += &format!("{settings:?} {settings:#?}");
    let credentials = &settings.s3.as_ref().expect("in S3").credentials;
    assert!(matches!(credentials, Credentials::Keys { secret, .. } if secret.reveal() == SECRET) && shown.contains("AWS_SECRET_ACCESS_KEY"));
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn a_file_with_a_key_that_everybody_can_read_is_worth_a_warning() {
    let site = Site::new();
    let warned = |text: &str, mode: u32| {
        site.write("c.json", text);
        fs::set_permissions(site.path("c.json"), fs::Permissions::from_mode(mode)).expect("set");
        let run = site.run(&["config", "--config", "c.json"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stderr.contains("WARN") && run.stderr.contains("c.json holds a key")
    };
    let secret = json!({ "secret-key": SECRET }).to_string();
    assert!(warned(&secret, 0o644) && warned(&secret, 0o604));
    assert!(!warned(&secret, 0o600) && !warned(&secret, 0o640));
    assert!(!warned("{}", 0o644));
}

// ---- cc-backend ----

#[test]
fn cc_backends_configuration_names_the_tree_unless_something_else_does() {
    let site = Site::new();
    let new = r#"{"main": {}, "metric-store": {"retention-in-memory": "1.5h", "checkpoints": {"directory": "../tree", "file-format": "wal"}, "x": 1}}"#;
    let old = r#"{"metrics": {}, "checkpoints": {"directory": "../tree", "interval": 21600}, "retention-in-memory": 5400, "nats": null}"#;
    site.write("c.json", r#"{"checkpoints": "file"}"#);
    site.write("by-file.json", r#"{"cc-backend-config": "cc/config.json", "archive": "archive"}"#);
    for text in [new, old] {
        let cc_backend = site.write("cc/config.json", text);
        let with = ["--cc-backend-config", cc_backend.as_str()];
        let tree = |args: &[&str], environment: &[(&str, &str)]| site.setting("checkpoints", &[&with[..], args].concat(), environment);
        assert_eq!(tree(&[], &[]), (json!("cc/../tree"), "cc-backend".into()), "{text}");
        assert_eq!(tree(&["--config", "c.json"], &[]), (json!("file"), "file".into()));
        assert_eq!(tree(&["--config", "c.json"], &[("CC_ARCHIVER_CHECKPOINTS", "variable")]), (json!("variable"), "variable".into()));
        assert_eq!(tree(&["x", "y"], &[("CC_ARCHIVER_CHECKPOINTS", "variable")]), (json!("x"), "flag".into()));
        let run = site.run(&[&["archive", "archive", "--dry-run", "--json"][..], &with].concat());
        assert_eq!(clusters(&run), ["alpha", "beta"], "the one argument is ARCHIVE");
        let run = site.run_with(&["archive", "archive", "--dry-run", "--json"], &[("CC_ARCHIVER_CC_BACKEND_CONFIG", &cc_backend)]);
        assert_eq!(clusters(&run), ["alpha", "beta"], "named by its variable");
        assert_eq!(clusters(&site.run(&["archive", "--dry-run", "--json", "--config", "by-file.json"])), ["alpha", "beta"], "named by the file");
        let prune = |age: &str| site.run(&[&["prune", "archive", "--dry-run", "--older-than", age][..], &with].concat());
        let refused = prune("89m");
        assert!(refused.code == Some(2) && refused.stderr.contains("less than the 1h 30m"), "{refused:?}");
        assert_ne!(prune("90m").code, Some(2), "{text}");
        assert!(!prune("90m").stderr.contains("less than"));
    }
    for args in [&[][..], &["tree", "archive"]] {
        let shown = site.run(&[&["config", "--cc-backend-config", "cc/config.json"], args].concat());
        assert!(shown.stdout.contains("interval     6h") && shown.stdout.contains("retention    1h 30m"), "{shown:?}");
        let all = site.effective(&[&["--cc-backend-config", "cc/config.json"], args].concat(), &[]);
        assert_eq!((&all["cc-backend"]["retention-in-memory"], &all["cc-backend"]["file-format"]), (&json!(5400.0), &json!("json")));
    }
}

#[test]
fn a_configuration_that_names_no_tree_is_refused_where_one_is_needed() {
    let site = Site::new();
    for (text, reason) in [
        (r#"{"checkpoints": {"interval": "6h"}, "retention-in-memory": "48h"}"#, "names no checkpoint directory"),
        (r#"{"main": {}}"#, "it has no section metric-store"),
        ("{", "it is not JSON"),
    ] {
        let path = site.write("cc.json", text);
        let run = site.run(&["archive", "archive", "--cc-backend-config", &path]);
        assert!(run.code == Some(2) && run.stderr.contains("cc.json") && run.stderr.contains(reason), "{run:?}");
        let run = site.run(&["archive", "tree", "archive", "--dry-run", "--cc-backend-config", &path]);
        assert_eq!(run.code, Some(0), "not needed: {run:?}");
        let run = site.run_with(&["archive", "archive", "--dry-run", "--cc-backend-config", &path], &[("CC_ARCHIVER_CHECKPOINTS", "tree")]);
        assert_eq!(run.code, Some(0), "not needed: {run:?}");
    }
    let run = site.run(&["archive", "archive", "--cc-backend-config", "nowhere.json"]);
    assert!(run.code == Some(2) && run.stderr.contains("cannot read nowhere.json"), "{run:?}");
}

// ---- the published schema, the example, the documentation ----

/// JSON Schema's names of the types that a setting may have.
fn types(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Switch => &["boolean"],
        Kind::Count | Kind::Number => &["integer"],
        Kind::Text => &["string"],
        Kind::List => &["array", "string"],
    }
}

fn typed(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Switch => json!(text == "true"),
        Kind::Count | Kind::Number => json!(text.parse::<u64>().expect("a number")),
        Kind::Text | Kind::List => json!(text),
    }
}

fn in_file() -> Vec<Setting> {
    config::settings().into_iter().filter(Setting::is_in_file).collect()
}

fn of(setting: &Setting) -> String {
    if setting.commands.is_empty() { "all commands".into() } else { setting.commands.join(", ") }
}

fn property(setting: &Setting) -> Value {
    let mut property = Map::new();
    property.insert("description".into(), json!(format!("{} ({})", setting.help, of(setting))));
    let types = types(setting.kind);
    property.insert("type".into(), if let [one] = types { json!(one) } else { json!(types) });
    if setting.kind == Kind::List {
        property.insert("items".into(), json!({"type": "string"}));
    }
    if types == ["integer"] {
        property.insert("minimum".into(), json!(0));
    }
    if !setting.choices.is_empty() {
        property.insert("enum".into(), json!(setting.choices));
    }
    if let [default] = &setting.default[..] {
        property.insert("default".into(), typed(setting.kind, default));
    } else if setting.kind == Kind::Switch {
        property.insert("default".into(), json!(false));
    }
    Value::Object(property)
}

fn schema() -> Value {
    let mut properties: Map<String, Value> = in_file().iter().map(|setting| (setting.key.clone(), property(setting))).collect();
    for (key, _, description) in SECRETS {
        properties.insert(key.into(), json!({"type": "string", "minLength": 1, "description": description}));
    }
    properties.insert("$schema".into(), json!({"type": "string", "description": "Passed over"}));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cc-archiver",
        "description": "Settings of cc-archiver. Variables and flags win over them. Keys that begin with // are comments.",
        "type": "object",
        "properties": properties,
        "patternProperties": {"^//": true},
        "additionalProperties": false,
    })
}

/// The rows of the table of all settings.
fn table() -> String {
    let mut table = "| option | variable | key | of | default | meaning |\n|---|---|---|---|---|---|\n".to_owned();
    for setting in config::settings() {
        let key = if setting.is_in_file() { format!("`{}`", setting.key) } else { String::new() };
        let default = match (&setting.default[..], &setting.otherwise) {
            ([], Some(otherwise)) => otherwise.clone(),
            ([], None) if setting.kind == Kind::Switch => "`false`".into(),
            ([], None) => String::new(),
            (values, _) => format!("`{}`", values.join(",")),
        };
        let (option, variable, help) = (setting.on_command_line(), &setting.variable, setting.help.replace('|', "\\|"));
        table += &format!("| `{option}` | `{variable}` | {key} | {} | {default} | {help} |\n", of(&setting));
    }
    for (key, variable, help) in SECRETS {
        table += &format!("| | `{variable}` | `{key}` | all commands | | {help} |\n");
    }
    table
}

/// Compares a file with what it should be, or writes it.
fn published(path: &str, expected: &str) {
    let found = fs::read_to_string(repository(path)).unwrap_or_default();
    if found != expected && std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        return fs::write(repository(path), expected).expect("written");
    }
    assert!(found == expected, "{path} is not what the code says; INSTA_UPDATE=always cargo test --locked --test config writes it\n{expected}");
}

#[test]
fn the_published_schema_is_that_of_the_code() {
    published("deploy/config.schema.json", &(serde_json::to_string_pretty(&schema()).expect("JSON") + "\n"));
}

#[test]
fn the_documentation_has_all_settings_and_no_others() {
    let path = "docs/configuration.md";
    let text = fs::read_to_string(repository(path)).expect("read");
    let (before, rest) = text.split_once("<!-- settings").expect("where settings begin");
    let (how, rest) = rest.split_once("-->\n").expect("the end of the comment");
    let (_, after) = rest.split_once("<!-- end of settings -->").expect("where settings end");
    published(path, &format!("{before}<!-- settings{how}-->\n{}<!-- end of settings -->{after}", table()));
}

/// Whether the schema allows a value for a key.
fn allows(schema: &Value, key: &str, value: &Value) -> bool {
    let Some(property) = schema["properties"].get(key) else { return key.starts_with("//") };
    let is = |name: &Value| match name.as_str().expect("a name") {
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "string" => value.is_string(),
        "array" => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        other => panic!("{other}"),
    };
    let type_fits = property["type"].as_array().map_or_else(|| is(&property["type"]), |types| types.iter().any(is));
    type_fits && property.get("enum").is_none_or(|choices| choices.as_array().expect("choices").contains(value))
}

#[test]
fn the_file_takes_what_the_schema_allows_for_each_setting_and_nothing_else() {
    let (site, schema) = (Site::new(), serde_json::from_str(&fs::read_to_string(repository("deploy/config.schema.json")).expect("read")).expect("JSON"));
    let candidates = || {
        let texts = ["7d", "2026-03-01", "5", "x", "a=b", "0/2", "50MiB", "50MiB/s", "http://h"].into_iter().map(Value::from);
        [json!(true), json!(5), json!(["x"]), json!(["a=b"])].into_iter().chain(texts)
    };
    // of the texts that name a file of cc-backend's, one does
    site.write("x", r#"{"metric-store": {}}"#);
    for setting in in_file() {
        let of_code = setting.choices.iter().map(|word| json!(word)).chain(setting.default.iter().map(|value| typed(setting.kind, value)));
        let mut taken: BTreeMap<bool, u32> = BTreeMap::new();
        for value in candidates().chain(of_code) {
            site.write("c.json", &json!({ setting.key.clone(): value }).to_string());
            let run = site.run_with(&["config", "--config", "c.json"], &[("CC_ARCHIVER_JSON", "true")]);
            let is_taken = run.code == Some(0);
            assert!(!is_taken || allows(&schema, &setting.key, &value), "{}: {value} is taken, and the schema does not allow it", setting.key);
            let is_named =
                run.stderr.contains(&format!("c.json: {:?}", setting.key)) || setting.key == "cc-backend-config" && run.stderr.contains("cannot read");
            assert!(is_taken || is_named, "{}: {value}: {run:?}", setting.key);
            if is_taken && setting.key != "json" {
                let shown: Value = serde_json::from_str(&run.stdout).expect("JSON");
                assert_eq!(shown["settings"][&setting.key]["source"], "file", "{}: {value}", setting.key);
            }
            *taken.entry(is_taken).or_default() += 1;
        }
        assert!(taken.contains_key(&true), "{}: no value is taken", setting.key);
        assert!(taken.contains_key(&false), "{}: any value is taken", setting.key);
    }
}

#[test]
fn the_example_is_taken_and_the_schema_allows_it() {
    let (site, path) = (Site::new(), repository("deploy/config.example.json"));
    let run = site.run(&["config", "--config", path.to_str().expect("UTF-8")]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let example: Map<String, Value> = serde_json::from_str(&fs::read_to_string(path).expect("read")).expect("JSON");
    let schema = serde_json::from_str(&fs::read_to_string(repository("deploy/config.schema.json")).expect("read")).expect("JSON");
    assert!(example.contains_key("$schema") && example.keys().any(|key| key.starts_with("//")));
    for (key, value) in &example {
        assert!(allows(&schema, key, value), "{key}: {value}");
        let setting = run.stdout.lines().find(|line| line.split_whitespace().next() == Some(key));
        assert!(setting.is_none_or(|line| line.contains("file ")), "{key} is not in effect: {setting:?}");
    }
}
