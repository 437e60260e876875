//! The command line as its users meet it: help, plans, summaries, messages, exit codes, environment, signals.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::Value;

/// 2026-03-01T00:00:00Z, where the golden snapshots begin.
const T: i64 = 1_772_323_200;

// ---- a place to run in ----

/// A folder with the golden tree as `tree`; the program runs in it, so that paths in its messages are relative.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn golden() -> Self {
        let site = Self::empty();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden/checkpoints"), &site.path("tree"));
        site
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A file in the tree that nobody has written to for years.
    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.path("tree").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(&path, bytes).expect("written");
        make_old(&path);
    }

    /// The program, without any environment.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cc-archiver"));
        command.env_clear().current_dir(self.folder.path()).stdin(Stdio::null()).args(args);
        // where coverage is measured, the program must know where to leave it
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Run {
        let output = self.command(args).envs(environment.iter().copied()).output().expect("it runs");
        Run::new(&output)
    }

    /// What is below a path: kinds, sizes, times of change.
    fn state(&self, path: &str) -> BTreeMap<PathBuf, (bool, u64, SystemTime)> {
        let mut state = BTreeMap::new();
        let mut open = vec![self.path(path)];
        while let Some(path) = open.pop() {
            let status = fs::symlink_metadata(&path).expect("a status");
            if status.is_dir() {
                open.extend(fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").path()));
            }
            state.insert(path, (status.is_dir(), status.len(), status.modified().expect("a time")));
        }
        state
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.folder.path()).expect("listed");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
    }

    /// Without what differs from place to place and from time to time.
    fn neutral(&self, text: &str) -> String {
        let real = self.folder.path().canonicalize().expect("it exists");
        text.replace(real.to_str().expect("UTF-8"), "[folder]").replace(self.folder.path().to_str().expect("UTF-8"), "[folder]")
    }
}

#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// stdout as the one line of JSON that it must be.
    fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

fn make_old(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    File::options().write(true).open(path).expect("opened").set_modified(time).expect("set");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
            make_old(&target);
        }
    }
}

fn files_below(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The files that readers of a folder take: no folder on the way to them begins with `_`.
fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let hidden = |path: &Path| path.strip_prefix(folder).is_ok_and(|inside| inside.iter().any(|name| name.as_encoded_bytes().starts_with(b"_")));
    let all = files_below(folder).into_iter();
    all.filter(|path| path.extension() == Some(OsStr::new("parquet")) && !hidden(path)).collect()
}

fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    for (pattern, shown) in [
        (r"\d{4}-\d\d-\d\dT[\d:]+\.\d+Z", "[time]"),
        (r"\(process \d+: [^)]+\)", "(process [pid]: [command])"),
        (r"cc-archiver \d+\.\d+\.\d+\S*", "cc-archiver [version]"),
        (r"[\d.]+ \w+ out, [\d.]+ bytes a row", "[size] out, [n] bytes a row"),
        (r"\d+\.\d s, peak memory [\d.]+ \w+", "[seconds] s, peak memory [size]"),
        (r#""(bytes_out|peak_memory|seconds)": [\d.]+"#, r#""$1": "[varies]""#),
        (r"\d{8}T\d{6}Z-[0-9a-f]{4}", "[run]"),
        (r"seconds=[\d.]+", "seconds=[seconds]"),
        (r#"version="[\d.]+""#, r#"version="[version]""#),
    ] {
        settings.add_filter(pattern, shown);
    }
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

// ---- help ----

/// The commands that help lists.
const COMMANDS: [&str; 15] =
    ["init", "archive", "import", "prune", "verify", "compact", "inspect", "table", "ls", "coverage", "restore", "expire", "doctor", "config", "completions"];

#[test]
fn help_says_what_there_is() {
    let site = Site::empty();
    for (name, args) in [
        ("help", &["--help"][..]),
        ("archive-help", &["archive", "--help"]),
        ("archive-help-short", &["archive", "-h"]),
        ("prune-help", &["prune", "--help"]),
        ("verify-help", &["verify", "--help"]),
        ("inspect-help", &["inspect", "--help"]),
        ("table-help", &["table", "--help"]),
        ("ls-help", &["ls", "--help"]),
        ("coverage-help", &["coverage", "--help"]),
        ("restore-help", &["restore", "--help"]),
        ("version", &["--version"]),
    ] {
        let run = site.run(args);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(run.stdout.lines().all(|line| line.chars().count() <= 110), "{args:?} fits a terminal");
        check(name, &run.stdout);
    }
}

/// What is shown on a terminal of 110 columns.
fn help_of(command: &str, flag: &str) -> String {
    let args: Vec<&str> = command.split_whitespace().chain([flag]).collect();
    let run = Site::empty().run_with(&args, &[("COLUMNS", "110")]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
    run.stdout
}

/// The options and arguments that stand at the beginning of lines.
fn options(text: &str) -> BTreeSet<String> {
    let first = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--") || word.starts_with('<')));
    first.filter(|word| !word.ends_with(">:")).map(|word| word.trim_end_matches("...").split(['[', '=']).next().unwrap_or(word).to_owned()).collect()
}

#[test]
fn help_fits_a_screen_and_help_of_all_options_fits_two() {
    for command in COMMANDS {
        let (short, full) = (help_of(command, "-h"), help_of(command, "--help"));
        assert!(short.lines().count() <= 50, "{command} -h has {} lines", short.lines().count());
        // archive has the most options
        let most = if command == "archive" { 107 } else { 100 };
        assert!(full.lines().count() <= most, "{command} --help has {} lines", full.lines().count());
        assert!(!short.contains("[env") && !short.contains("Rarely needed"), "{command}: {short}");
        assert!(options(&short).is_subset(&options(&full)), "{command}");
        assert_eq!(help_of("help", command).lines().next(), full.lines().next(), "{command}");
    }
}

#[test]
fn help_of_all_options_and_the_manual_have_every_setting() {
    let site = Site::empty();
    let made = site.run(&["man", "."]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    let expected = COMMANDS.iter().map(|command| format!("cc-archiver-{command}.1")).chain(["cc-archiver.1".into()]);
    assert_eq!(site.names(), expected.collect());
    for setting in cc_archiver::config::settings() {
        let option = format!("--{}", setting.key);
        for command in setting.commands.iter().map(String::as_str).chain(setting.commands.is_empty().then_some("ls")) {
            let (full, page) = (help_of(command, "--help"), fs::read_to_string(site.path(&format!("cc-archiver-{command}.1"))).expect("a page"));
            let argument = format!("<{}>", setting.key.to_uppercase());
            let shown = options(&full);
            assert!(shown.contains(&option) || setting.positional && shown.contains(&argument), "{command} {option}: {shown:?}");
            assert!(page.contains(&format!("\\fB{}\\fR", setting.variable)) || page.contains(&setting.variable), "{command}: {}", setting.variable);
        }
    }
    let wrong = site.run(&["man", "nowhere"]);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("cannot write nowhere/cc-archiver.1"), "{}", wrong.stderr);
}

#[test]
fn completions_are_printed_for_each_shell_whatever_the_configuration_says() {
    let site = Site::empty();
    fs::write(site.path("broken.json"), "{").expect("written");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = site.run_with(&["completions", shell], &[("CC_ARCHIVER_CONFIG", "broken.json")]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{shell}");
        for word in ["archive", "prune-after", "endpoint", "completions"] {
            assert!(run.stdout.contains(word), "{shell} does not complete {word}");
        }
        if shell == "bash" {
            fs::write(site.path("completions.bash"), &run.stdout).expect("written");
        }
    }
    let tried = r#"source completions.bash; COMP_WORDS=(cc-archiver archive --prune-a); COMP_CWORD=2; _cc__archiver cc-archiver --prune-a archive; echo "${COMPREPLY[@]}""#;
    let output = Command::new("bash").current_dir(site.folder.path()).args(["--norc", "-c", tried]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "--prune-after", "{output:?}");
    assert_eq!(site.run(&["completions", "csh"]).code, Some(2));
}

#[test]
fn without_a_command_it_shows_help_and_exits_2() {
    let run = Site::empty().run(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("Usage: cc-archiver [OPTIONS] <COMMAND>"), "{}", run.stderr);
}

// ---- plan and summary ----

#[test]
fn a_dry_run_prints_the_plan_and_touches_nothing() {
    let site = Site::golden();
    site.put("alpha/n01/notes.json", b"not a time");
    let before = site.state(".");
    let text = site.run(&["archive", "tree", "archive", "--dry-run"]);
    let json = site.run(&["archive", "tree", "archive", "--dry-run", "--json"]);
    assert_eq!((text.code, json.code), (Some(3), Some(3)), "a file is set aside");
    assert_eq!((text.stderr.as_str(), json.stderr.as_str()), ("", ""));
    assert!(site.state(".") == before, "something was touched");
    assert_eq!(site.names(), BTreeSet::from(["tree".to_owned()]), "not even the archive's folder is made");
    check("plan", &text.stdout);
    check("plan-json", &pretty(&json.json()));
}

#[test]
fn a_dry_run_on_an_archive_that_exists_touches_nothing_either() {
    let site = Site::golden();
    assert_eq!(site.run(&["archive", "tree", "archive", "--cluster", "alpha"]).code, Some(0));
    let before = site.state(".");
    let plan = site.run(&["archive", "tree", "archive", "--dry-run", "--json"]);
    assert_eq!(plan.code, Some(0));
    let clusters = &plan.json()["clusters"];
    let counts = |i: usize| (clusters[i]["files"].clone(), clusters[i]["already_archived"].clone());
    assert_eq!((counts(0), counts(1)), ((0.into(), 7.into()), (7.into(), 0.into())));
    assert!(site.state(".") == before, "something was touched");
}

#[test]
fn the_plan_names_the_objects_that_the_run_then_writes() {
    let site = Site::golden();
    let plan = site.run(&["archive", "tree", "archive", "--dry-run", "--json"]).json();
    let partitions = plan["clusters"].as_array().expect("clusters").iter().flat_map(|c| c["partitions"].as_array().expect("partitions"));
    let planned: BTreeSet<String> = partitions.map(|p| p["first_object"].as_str().expect("a key").to_owned()).collect();
    let summary = site.run(&["archive", "tree", "archive", "--json"]).json();
    let written: BTreeSet<String> = summary["objects"].as_array().expect("objects").iter().map(|o| o.as_str().expect("a key").to_owned()).collect();
    assert_eq!(planned, written);
    let on_disk: BTreeSet<String> = parquet_files(&site.path("archive"))
        .iter()
        .map(|path| path.strip_prefix(site.path("archive")).expect("inside").to_str().expect("UTF-8").to_owned())
        .collect();
    assert_eq!(written, on_disk);
}

#[test]
fn a_run_ends_with_its_summary_and_a_second_one_finds_nothing_to_do() {
    let site = Site::golden();
    site.put("alpha/n01/1772409600.json", b"{");
    site.put("beta/n01/notes.bin", b"");
    let first = site.run(&["archive", "tree", "archive"]);
    let second = site.run(&["archive", "tree", "archive", "--json"]);
    assert_eq!((first.code, second.code), (Some(3), Some(3)));
    check("summary", &first.stdout);
    check("summary-log", &first.stderr);
    check("summary-second-json", &pretty(&second.json()));
    let other = site.run(&["archive", "tree", "other", "--json"]);
    check("summary-json", &pretty(&other.json()));
}

// ---- wrong use ----

#[test]
fn wrong_use_is_refused_with_a_message_and_exit_code_2() {
    let site = Site::golden();
    fs::create_dir(site.path("empty")).expect("created");
    copy(&site.path("tree"), &site.path("deep/er/tree"));
    std::os::unix::fs::symlink("tree", site.path("link")).expect("linked");
    fs::write(site.path("file"), "x").expect("written");
    let before = site.state("tree");
    let mut all = String::new();
    for args in [
        &["tree", "tree"][..],
        &["tree", "tree/archive"],
        &["tree", "link/archive"],
        &["tree", "file://[folder]/tree/archive"],
        &["link", "tree/alpha"],
        &["nowhere", "archive"],
        &["file", "archive"],
        &["empty", "archive"],
        &["tree/alpha", "archive"],
        &["tree/beta/n01", "archive"],
        &["deep/er", "archive"],
        &["tree", "archive", "--cluster", "gamma"],
        &["tree", "archive", "--cluster", "alpha", "--cluster", "gamma"],
        &["tree", "archive", "--host", "gpu*"],
        &["tree", "archive", "--host", "n[0"],
        &["tree", "archive", "--before", "yesterday"],
        &["tree", "archive", "--before", "2026-02-30"],
        &["tree", "archive", "--compression", "gzip"],
        &["tree", "archive", "--compression", "zstd(23)"],
        &["tree", "archive", "--memory", "1MiB"],
        &["tree", "archive", "--memory", "plenty"],
        &["tree", "archive", "--object-size", "0"],
        &["tree", "archive", "--row-group-rows", "0"],
        &["tree", "archive", "--min-age", "old"],
        &["tree", "archive", "--value-encoding", "gorilla"],
        &["tree", "archive", "--log-format", "xml"],
        &["tree", "gs://bucket/archive"],
        &["tree", "file://archive"],
        &["tree", "s3://"],
        &["tree", ""],
        &["tree"],
        &["tree", "archive", "more"],
        &["tree", "archive", "--delete"],
    ] {
        let given: Vec<String> = args.iter().map(|arg| arg.replace("[folder]", site.folder.path().to_str().expect("UTF-8"))).collect();
        let full: Vec<&str> = ["archive"].into_iter().chain(given.iter().map(String::as_str)).collect();
        let run = site.run(&full);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{args:?}: {}", run.stderr);
        writeln!(all, "$ cc-archiver archive {}\n{}", args.join(" "), site.neutral(&run.stderr)).expect("written");
    }
    assert!(site.state("tree") == before, "the tree was touched");
    assert_eq!(parquet_files(site.folder.path()), Vec::<PathBuf>::new());
    check("wrong-use", &all);
}

#[test]
fn a_password_in_a_refused_address_is_not_shown() {
    let site = Site::golden();
    let push = "https://somebody:hunter2@gateway:9091/x@y";
    for (archive, flags, variables) in [
        ("s3://somebody:hunter2@bucket/x", &[][..], &[][..]),
        ("gs://somebody:hunter2@bucket/x", &[], &[]),
        ("archive", &["--metrics-push", push], &[]),
        ("archive", &[], &[("CC_ARCHIVER_METRICS_PUSH", push)]),
        ("s3://bucket", &["--endpoint", "http://somebody:hunter2@minio:9000"], &[]),
        ("s3://bucket", &[], &[("AWS_ENDPOINT_URL", "http://somebody:hunter2@minio:9000")]),
    ] {
        let args = [&["archive", "tree", archive], flags].concat();
        let output = site.command(&args).envs(variables.iter().copied()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("somebody"), "{said}");
        assert!(said.contains("password") || said.contains("credentials") || said.contains("://***@"), "{said}");
    }
}

#[test]
fn a_run_that_is_refused_leaves_no_folder_behind() {
    let site = Site::golden();
    for args in [&["archive", "nowhere", "archive"][..], &["archive", "tree/alpha", "archive"], &["archive", "tree", "archive", "--cluster", "gamma"]] {
        assert_eq!(site.run(args).code, Some(2));
        assert_eq!(site.names(), BTreeSet::from(["tree".to_owned()]), "{args:?}");
    }
}

#[test]
fn no_spelling_of_a_path_puts_the_archive_inside_the_tree() {
    let site = Site::golden();
    let before = site.state("tree");
    for archive in ["new/../tree/archive", "./new/../new/../tree", "tree/alpha/../../tree/x"] {
        let run = site.run(&["archive", "tree", archive]);
        assert!(site.state("tree") == before, "{archive} was put inside the tree");
        assert_eq!(run.code, Some(2), "{archive}: {}", run.stderr);
    }
}

#[test]
fn a_lock_file_inside_the_tree_is_refused() {
    let site = Site::golden();
    let before = site.state("tree");
    let run = site.run(&["archive", "tree", "archive", "--lock-file", "tree/lock"]);
    assert!(site.state("tree") == before, "cc-backend would refuse to start on it");
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}

// ---- what is selected ----

/// The snapshots that a dry run would archive, by cluster, and those that are too recent.
fn selected(site: &Site, args: &[&str]) -> (Vec<(String, u64)>, u64) {
    let full: Vec<&str> = ["archive", "tree", "archive", "--dry-run", "--json"].iter().chain(args).copied().collect();
    let run = site.run(&full);
    assert_eq!(run.code, Some(0), "{args:?}: {}", run.stderr);
    let plan = run.json();
    let clusters = plan["clusters"].as_array().expect("clusters");
    let number = |c: &Value, key: &str| c[key].as_u64().expect("a number");
    let files = clusters.iter().map(|c| (c["cluster"].as_str().expect("a name").to_owned(), number(c, "files"))).collect();
    (files, clusters.iter().map(|c| number(c, "too_recent")).sum())
}

fn files(alpha: u64, beta: u64) -> Vec<(String, u64)> {
    vec![("alpha".into(), alpha), ("beta".into(), beta)]
}

#[test]
fn clusters_and_hosts_are_selected_by_name_and_by_pattern() {
    let site = Site::golden();
    assert_eq!(selected(&site, &[]).0, files(7, 7));
    assert_eq!(selected(&site, &["--cluster", "beta"]).0, files(7, 7)[1..]);
    assert_eq!(selected(&site, &["--cluster", "beta", "--cluster", "alpha"]).0, files(7, 7));
    assert_eq!(selected(&site, &["--cluster", "beta,alpha"]).0, files(7, 7));
    assert_eq!(selected(&site, &["--host", "n01"]).0, files(2, 2));
    assert_eq!(selected(&site, &["--host", "n0[1-3]"]).0, files(5, 5));
    assert_eq!(selected(&site, &["--host", "*3", "--cluster", "alpha"]).0, files(2, 7)[..1]);
}

#[test]
fn only_what_ends_before_the_given_time_is_archived_however_that_is_spelt() {
    let site = Site::golden();
    let without = site.run(&["archive", "tree", "all", "--json"]).json();
    let total = without["files"].as_u64().expect("a number");
    let mut counts = BTreeSet::new();
    // 2026-03-02T00:00:00Z: snapshots that begin on March 1st at noon or later end after it
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() as i64 - (T + 86_400);
    let age = format!("{age}s");
    for (i, before) in ["2026-03-02T00:00:00Z", "2026-03-02T01:00:00+01:00", "2026-03-02", "1772409600", &age].iter().enumerate() {
        let run = site.run(&["archive", "tree", &format!("archive{i}"), "--json", "--before", before]);
        assert_eq!(run.code, Some(0), "{before}: {}", run.stderr);
        let summary = run.json();
        let (files, too_recent) = (summary["files"].as_u64().expect("a number"), summary["too_recent"].as_u64().expect("a number"));
        assert_eq!(files + too_recent, total, "{before}");
        counts.insert((files, too_recent));
    }
    assert_eq!(counts.len(), 1, "all spellings mean the same: {counts:?}");
    assert!(counts.iter().all(|(files, too_recent)| *files > 0 && *too_recent > 0), "{counts:?}");
    // what begins after it is known to be too recent without being read
    assert_eq!(selected(&site, &["--before", "2026-03-01T00:00:00Z"]), (files(0, 0), 14));
    assert_eq!(selected(&site, &["--before", "0s"]), (files(7, 7), 0));
}

// ---- the environment ----

#[test]
fn every_option_can_be_set_by_a_variable_and_the_flag_wins() {
    let site = Site::golden();
    // a value of the variable that is refused, and the flag with one that is not
    for (variable, wrong, flag, right) in [
        ("CC_ARCHIVER_CLUSTER", "gamma", "--cluster", "alpha"),
        ("CC_ARCHIVER_HOST", "gpu*", "--host", "n*"),
        ("CC_ARCHIVER_BEFORE", "yesterday", "--before", "2026-03-02"),
        ("CC_ARCHIVER_MIN_AGE", "old", "--min-age", "1m"),
        ("CC_ARCHIVER_WORKERS", "many", "--workers", "1"),
        ("CC_ARCHIVER_MEMORY", "1MiB", "--memory", "64MiB"),
        ("CC_ARCHIVER_COMPRESSION", "gzip", "--compression", "snappy"),
        ("CC_ARCHIVER_OBJECT_SIZE", "0", "--object-size", "1MiB"),
        ("CC_ARCHIVER_ROW_GROUP_ROWS", "0", "--row-group-rows", "100"),
        ("CC_ARCHIVER_VALUE_ENCODING", "gorilla", "--value-encoding", "plain"),
    ] {
        let wrong = [(variable, wrong)];
        let refused = site.run_with(&["archive", "tree", "archive", "--dry-run"], &wrong);
        assert_eq!(refused.code, Some(2), "{variable}: {refused:?}");
        let flag_wins = site.run_with(&["archive", "tree", "archive", "--dry-run", flag, right], &wrong);
        assert_eq!(flag_wins.code, Some(0), "{variable}: {flag_wins:?}");
        let accepted = site.run_with(&["archive", "tree", "archive", "--dry-run"], &[(variable, right)]);
        assert_eq!(accepted.code, Some(0), "{variable}: {accepted:?}");
    }
}

#[test]
fn variables_do_what_their_options_do() {
    let site = Site::golden();
    let dry = ("CC_ARCHIVER_DRY_RUN", "true");
    let places = [("CC_ARCHIVER_CHECKPOINTS", "tree"), ("CC_ARCHIVER_ARCHIVE", "archive")];

    let run = site.run_with(&["archive"], &[places[0], places[1], dry]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.ends_with("dry run: nothing was written\n"), "{run:?}");
    let run = site.run_with(&["archive", "tree", "archive"], &[("CC_ARCHIVER_CHECKPOINTS", "nowhere"), ("CC_ARCHIVER_ARCHIVE", "gs://b"), dry]);
    assert_eq!(run.code, Some(0), "arguments win: {run:?}");

    let run = site
        .run_with(&["archive", "tree", "archive"], &[dry, ("CC_ARCHIVER_JSON", "true"), ("CC_ARCHIVER_CLUSTER", "beta,alpha"), ("CC_ARCHIVER_HOST", "n01")]);
    let files: Vec<u64> = run.json()["clusters"].as_array().expect("clusters").iter().map(|c| c["files"].as_u64().expect("a number")).collect();
    assert_eq!(files, [2, 2]);

    let run = site.run_with(&["archive", "tree", "archive"], &[("CC_ARCHIVER_LOG_FORMAT", "json"), ("CC_ARCHIVER_VERBOSE", "1")]);
    assert!(run.stderr.lines().all(|line| line.starts_with('{')) && run.stderr.contains("DEBUG"), "{run:?}");
    let run = site.run_with(&["archive", "tree", "archive", "--log-format", "text"], &[("CC_ARCHIVER_LOG_FORMAT", "json")]);
    assert!(!run.stderr.contains('{'), "the flag wins: {run:?}");
    let run = site.run_with(&["archive", "tree", "archive"], &[("CC_ARCHIVER_PROGRESS", "always")]);
    assert!(run.stderr.contains("looking at what is there"), "{run:?}");
    let run = site.run_with(&["archive", "tree", "archive", "--progress", "never"], &[("CC_ARCHIVER_PROGRESS", "always")]);
    assert!(!run.stderr.contains("looking at what is there"), "the flag wins: {run:?}");
    let run = site.run_with(&["archive", "tree", "archive"], &[("CC_ARCHIVER_QUIET", "true")]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), "", ""));
    let run = site.run_with(&["archive", "tree", "archive"], &[("CC_ARCHIVER_WITH_CLUSTER_COLUMN", "true")]);
    assert_eq!(run.code, Some(2), "the archive has no such column: {run:?}");
    assert!(run.stderr.contains("leave --with-cluster-column out"), "{run:?}");
    let run = site.run_with(&["archive", "tree", "archive"], &[("CC_ARCHIVER_LOCK_FILE", "no/such/folder/lock")]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let run = site.run_with(&["archive", "tree", "archive", "--lock-file", "lock"], &[("CC_ARCHIVER_LOCK_FILE", "no/such/folder/lock")]);
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn a_flag_wins_over_the_variable_of_its_opposite() {
    let site = Site::golden();
    let run = site.run_with(&["archive", "tree", "archive", "--dry-run", "-q"], &[("CC_ARCHIVER_VERBOSE", "1")]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let run = site.run_with(&["archive", "tree", "archive", "--dry-run", "-v"], &[("CC_ARCHIVER_QUIET", "true")]);
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn a_switch_understands_the_usual_words_of_an_environment() {
    let site = Site::golden();
    for (word, on) in [("1", true), ("yes", true), ("true", true), ("0", false), ("no", false), ("false", false), ("", false)] {
        let run = site.run_with(&["archive", "tree", "archive", "--dry-run"], &[("CC_ARCHIVER_JSON", word)]);
        assert_eq!((run.code, run.stdout.starts_with('{')), (Some(0), on), "{word:?}: {run:?}");
    }
}

// ---- what is shown where ----

#[test]
fn quiet_says_nothing_but_errors_and_the_json_that_was_asked_for() {
    let site = Site::golden();
    let run = site.run(&["archive", "tree", "archive", "-q"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), "", ""));
    let run = site.run(&["archive", "tree", "archive", "-q", "--json"]);
    assert_eq!((run.json()["already_archived"].clone(), run.stderr.as_str()), (14.into(), ""));
    let run = site.run(&["archive", "tree", "archive", "-q", "--cluster", "gamma"]);
    assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 2), "an error and its hint: {run:?}");
}

#[test]
fn each_line_of_a_json_log_is_an_object_with_time_level_and_message() {
    let site = Site::golden();
    site.put("alpha/n01/17\n72.json", b"");
    for (args, code, level) in [
        (&["archive", "tree", "archive", "-vv"][..], 3, "INFO"),
        (&["archive", "tree", "archive", "--cluster", "gamma"], 2, "ERROR"),
        (&["archive", "tree/alpha", "archive"], 2, "ERROR"),
    ] {
        let full: Vec<&str> = args.iter().copied().chain(["--log-format", "json"]).collect();
        let run = site.run(&full);
        assert_eq!(run.code, Some(code));
        let lines: Vec<Value> = run.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
        assert!(lines.iter().any(|line| line["level"] == level), "{lines:#?}");
        assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["message"].is_string()), "{lines:#?}");
    }
}

#[test]
fn more_is_said_on_request() {
    let site = Site::golden();
    let lines = |args: &[&str]| {
        let folder = format!("archive{}", args.len());
        let full: Vec<&str> = ["archive", "tree", &folder].iter().chain(args).copied().collect();
        site.run(&full).stderr.lines().count()
    };
    let (plain, debug) = (lines(&[]), lines(&["-v"]));
    assert_eq!(plain, 4, "the start, what each of two clusters has, and the end");
    assert!(debug > plain, "{debug}");
}

#[test]
fn progress_in_a_pipe_is_plain_lines_and_leaves_stdout_alone() {
    let site = Site::golden();
    let run = site.run(&["archive", "tree", "archive", "--progress", "always", "--json"]);
    assert_eq!(run.json()["rows_written"], 5_179);
    assert!(run.stderr.contains("looking at what is there"), "{run:?}");
    assert!(!run.stderr.contains(['\u{1b}', '\r', '\u{8}']), "{run:?}");
    assert!(run.stderr.lines().any(|line| line.contains("INFO archiving")), "the log is not torn: {run:?}");
    for when in ["auto", "never"] {
        let run = site.run(&["archive", "tree", "archive", "--progress", when]);
        assert!(!run.stderr.contains("looking at what is there"), "{when}: {run:?}");
    }
}

#[test]
fn a_reader_of_stdout_that_goes_away_does_not_fail_the_run() {
    let site = Site::golden();
    let mut child = site.command(&["archive", "tree", "archive"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(parquet_files(&site.path("archive")).len(), 4);
}

// ---- one run at a time ----

#[test]
fn a_second_run_on_the_same_tree_exits_4_and_does_nothing() {
    let site = Site::golden();
    let lock = File::open(site.path("tree")).expect("opened");
    lock.try_lock().expect("free");
    let run = site.run(&["archive", "tree", "archive"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(4), ""), "{run:?}");
    check("locked", &run.stderr);
    assert_eq!(parquet_files(&site.path("archive")), Vec::<PathBuf>::new());
    assert_eq!(site.run(&["archive", "tree", "archive", "--dry-run"]).code, Some(0), "a plan needs no lock");
    assert_eq!(site.run(&["archive", "tree", "archive", "--lock-file", "lock"]).code, Some(4), "the tree's lock counts beside a lock file");
    drop(lock);
    assert_eq!(site.run(&["archive", "tree", "archive"]).code, Some(0), "nothing is left of a lock");
}

#[test]
fn a_lock_file_stands_for_the_tree() {
    let site = Site::golden();
    let lock = File::create(site.path("lock")).expect("created");
    lock.try_lock().expect("free");
    let run = site.run(&["archive", "tree", "archive", "--lock-file", "lock"]);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(run.stderr.contains("another run holds lock (process "), "{run:?}");
    drop(lock);
    assert_eq!(site.run(&["archive", "tree", "archive", "--lock-file", "lock"]).code, Some(0));
}

#[test]
fn a_lock_file_that_is_a_pipe_is_an_error_and_hangs_no_run() {
    let site = Site::golden();
    rustix::fs::mknodat(rustix::fs::CWD, site.path("lock"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    let run = site.run(&["archive", "tree", "archive", "--lock-file", "lock"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("cannot open, to lock it, lock"), "{run:?}");
}

// ---- signals ----

/// A run whose stderr is read line by line.
struct Started {
    child: Child,
    stdout: ChildStdout,
    stderr: mpsc::Receiver<String>,
}

impl Started {
    fn new(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let stdout = child.stdout.take().expect("piped");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (to, stderr) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| to.send(line)));
        Self { child, stdout, stderr }
    }

    /// Waits for a line of the log; false if the run ends without it.
    fn says(&self, text: &str) -> bool {
        let limit = Instant::now() + Duration::from_secs(20);
        while let Ok(line) = self.stderr.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            if line.contains(text) {
                return true;
            }
        }
        false
    }

    fn signal(&self, name: &str) {
        // one that has ended already is no matter
        let script = format!("kill -{name} {} 2>/dev/null || true", self.child.id());
        assert!(Command::new("sh").arg("-c").arg(script).status().expect("sh runs").success());
    }

    /// Exit code and stdout. What does not end within `limit` is killed, and has no code.
    fn end(mut self, limit: Duration) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("a status") {
                Some(status) => break status,
                None if begun.elapsed() > limit => {
                    self.child.kill().expect("killed");
                    break self.child.wait().expect("a status");
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("UTF-8");
        (status.code(), stdout)
    }
}

type Row = (String, String, i64, u32);

const HOSTS: i64 = 8;
const METRICS: i64 = 2;
const STEPS: i64 = 20_000;

/// A value that does not compress away.
fn noise(host: i64, metric: i64, step: i64) -> f32 {
    let mixed = ((host * METRICS + metric) * STEPS + step).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
    (mixed as u64 >> 40) as f32
}

/// Hosts with some thousand samples each, on both sides of midnight.
fn busy_site() -> (Site, Vec<Row>) {
    let site = Site::empty();
    let from = T + 86_400 - STEPS / 2;
    let mut rows = Vec::new();
    for host in 0..HOSTS {
        let mut bytes = 0xCC5B_0001_u32.to_le_bytes().to_vec();
        bytes.extend(from.to_le_bytes());
        bytes.extend((from + STEPS).to_le_bytes());
        bytes.extend((METRICS as u32).to_le_bytes());
        for metric in 0..METRICS {
            bytes.extend(2_u16.to_le_bytes());
            bytes.extend(format!("m{metric}").into_bytes());
            bytes.extend(1_i64.to_le_bytes());
            bytes.extend(from.to_le_bytes());
            bytes.extend((STEPS as u32).to_le_bytes());
            for step in 0..STEPS {
                let value = noise(host, metric, step);
                bytes.extend(value.to_le_bytes());
                rows.push((format!("n{host}"), format!("m{metric}"), from + step, value.to_bits()));
            }
        }
        bytes.extend(0_u32.to_le_bytes());
        // two clusters, so that a run can stop between them
        site.put(&format!("c{}/n{host}/{from}.bin", host % 2), &bytes);
    }
    rows.sort();
    (site, rows)
}

/// All rows of an archive, each of whose objects must be whole.
fn rows_of(archive: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for path in parquet_files(archive) {
        let reader = SerializedFileReader::new(File::open(&path).expect("opened")).unwrap_or_else(|e| panic!("{} is not whole: {e}", path.display()));
        let columns: Vec<String> = reader.metadata().file_metadata().schema_descr().columns().iter().map(|c| c.name().to_owned()).collect();
        let at = |name: &str| columns.iter().position(|c| c == name).expect("a column");
        let (host, metric, time, value) = (at("hostname"), at("metric"), at("timestamp"), at("value"));
        for row in reader {
            let row = row.expect("a row");
            let text = |i| row.get_string(i).expect("a string").clone();
            rows.push((text(host), text(metric), row.get_long(time).expect("a time"), row.get_float(value).expect("a value").to_bits()));
        }
    }
    rows.sort();
    rows
}

#[test]
fn a_run_that_a_signal_ends_at_any_time_shows_nothing_half_done_and_the_next_one_completes() {
    let (site, expected) = busy_site();
    // slow to compress, so that there is something to interrupt
    fn args(archive: &str) -> [&str; 8] {
        ["archive", "tree", archive, "--json", "--compression", "zstd(19)", "--row-group-rows", "10000"]
    }
    let begun = Instant::now();
    assert_eq!(site.run(&args("whole")).code, Some(0));
    let duration = begun.elapsed();
    assert!(rows_of(&site.path("whole")) == expected, "the uninterrupted run");

    let rounds = 7;
    let mut interrupted = 0;
    for round in 0..rounds {
        let archive = format!("archive{round}");
        let run = Started::new(site.command(&args(&archive)));
        assert!(run.says("archiving"));
        std::thread::sleep(Duration::from_millis(20) + duration * round / rounds);
        run.signal(if round % 2 == 0 { "TERM" } else { "INT" });
        let (code, stdout) = run.end(Duration::from_secs(20));
        let summary: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("round {round}, {code:?}, no summary: {e}"));
        assert!(matches!(code, Some(0 | 5)), "round {round}: {code:?}");
        assert_eq!(summary["interrupted"], code == Some(5));
        interrupted += u32::from(code == Some(5));

        // what readers see is whole, and is what the summary says
        let visible = rows_of(&site.path(&archive));
        assert_eq!(summary["rows_written"], visible.len(), "round {round}");
        assert_eq!(summary["objects_written"], parquet_files(&site.path(&archive)).len(), "round {round}");

        let completed = site.run(&args(&archive));
        assert_eq!((completed.code, completed.json()["interrupted"].clone()), (Some(0), false.into()), "round {round}: {completed:?}");
        assert!(rows_of(&site.path(&archive)) == expected, "round {round}: a row is missing or stands twice");
        let staged: Vec<PathBuf> = files_below(&site.path(&archive).join("_tmp"));
        assert!(staged.is_empty(), "round {round}: nobody will ever need {staged:?}");
        fs::remove_dir_all(site.path(&archive)).expect("removed");
    }
    assert!(interrupted > 0, "no signal came in time");
}

/// Just enough of S3: lists are empty, nothing is found, and requests that `held` picks out are answered when told so.
struct Server {
    address: String,
    /// Request lines of those that are held.
    seen: mpsc::Receiver<String>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Server {
    fn start(held: fn(&str) -> bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let (to, seen) = mpsc::channel();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let opened = Arc::clone(&gate);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (to, gate) = (to.clone(), Arc::clone(&opened));
                // a connection that breaks is the client's business
                std::thread::spawn(move || drop(serve(&stream, held, &to, &gate)));
            }
        });
        Self { address, seen, gate }
    }

    fn open(&self) {
        *self.gate.0.lock().expect("a lock") = true;
        self.gate.1.notify_all();
    }

    fn environment(&self) -> [(&'static str, &str); 3] {
        [("AWS_ENDPOINT_URL", &self.address), ("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "nothing")]
    }
}

fn serve(stream: &TcpStream, held: fn(&str) -> bool, to: &mpsc::Sender<String>, gate: &(Mutex<bool>, Condvar)) -> std::io::Result<()> {
    let mut from = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if from.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            from.read_line(&mut header)?;
            match header.trim().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().unwrap_or(0),
                Some(_) => {}
                None => break,
            }
        }
        std::io::copy(&mut (&mut from).take(length), &mut std::io::sink())?;
        if held(&request) {
            let _ = to.send(request.clone());
            let mut open = gate.0.lock().expect("a lock");
            while !*open {
                open = gate.1.wait(open).expect("a lock");
            }
        }
        let list = "<?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
        let (status, body) = match &request {
            // what the run tries: whether something is overwritten
            r if r.contains("/_cc-archiver/probe") => (if r.starts_with("PUT ") { "412 Precondition Failed" } else { "200 OK" }, ""),
            r if r.starts_with("PUT ") => ("200 OK", ""),
            r if r.starts_with("GET ") && r.contains("list-type=2") => ("200 OK", list),
            _ => ("404 Not Found", ""),
        };
        write!(&mut &*stream, "HTTP/1.1 {status}\r\nETag: \"e\"\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

/// The upload of an object with rows.
fn is_put(request: &str) -> bool {
    request.starts_with("PUT ") && !request.contains("_cc-archiver")
}

#[test]
fn a_signal_during_an_upload_ends_the_run_before_anything_else_is_sent() {
    let site = Site::golden();
    let server = Server::start(is_put);
    let mut command = site.command(&["archive", "tree", "s3://b/p", "--json"]);
    command.envs(server.environment());
    let run = Started::new(command);
    let first = server.seen.recv_timeout(Duration::from_secs(20)).expect("an upload");
    run.signal("TERM");
    assert!(run.says("stopping"), "it says that it stops");
    server.open();
    let (code, stdout) = run.end(Duration::from_secs(20));
    let summary: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{code:?}, no summary: {e}"));
    assert_eq!((code, &summary["interrupted"]), (Some(5), &true.into()));
    let sent: Vec<String> = std::iter::once(first).chain(server.seen.try_iter()).collect();
    assert!(sent.iter().all(|request| request.contains("cluster%3Dalpha")), "beta comes after alpha: {sent:?}");
    // what the summary claims was sent
    for object in summary["objects"].as_array().expect("objects") {
        let name = object.as_str().expect("a key").rsplit('/').next().expect("a name");
        assert!(sent.iter().any(|request| request.contains(name)), "{object} of {sent:?}");
    }
}

#[test]
fn a_signal_ends_the_run_soon_even_if_the_server_hangs() {
    let site = Site::golden();
    let server = Server::start(is_put);
    let mut command = site.command(&["archive", "tree", "s3://b/p", "--json"]);
    command.envs(server.environment());
    let run = Started::new(command);
    server.seen.recv_timeout(Duration::from_secs(20)).expect("an upload");
    run.signal("TERM");
    let (code, stdout) = run.end(Duration::from_secs(10));
    assert_eq!(code, Some(5), "{stdout}");
}

#[test]
fn a_signal_while_the_archive_is_listed_is_an_orderly_end_too() {
    for dry_run in [&[][..], &["--dry-run"]] {
        let site = Site::golden();
        let server = Server::start(|request| request.contains("list-type=2"));
        let args: Vec<&str> = ["archive", "tree", "s3://b/p", "--json"].iter().chain(dry_run).copied().collect();
        let mut command = site.command(&args);
        command.envs(server.environment());
        let run = Started::new(command);
        server.seen.recv_timeout(Duration::from_secs(20)).expect("a listing");
        run.signal("TERM");
        let (code, stdout) = run.end(Duration::from_secs(10));
        assert_eq!(code, Some(5), "{dry_run:?}: {stdout}");
    }
}

#[test]
fn a_signal_ends_other_commands_soon_and_in_order() {
    let others = ["verify", "ls", "coverage"].map(|command| vec![command, "s3://b/p", "--json"]);
    for args in others.iter().map(Vec::as_slice).chain([&["prune", "tree", "s3://b/p", "--older-than", "3d", "--json"][..]]) {
        let site = Site::golden();
        let before = site.state("tree");
        let server = Server::start(|request| request.contains("list-type=2"));
        let mut command = site.command(args);
        command.envs(server.environment());
        let run = Started::new(command);
        server.seen.recv_timeout(Duration::from_secs(20)).expect("a listing");
        run.signal("TERM");
        let (code, stdout) = run.end(Duration::from_secs(10));
        let summary: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{args:?}, {code:?}, no summary: {e}"));
        assert_eq!((code, &summary["interrupted"]), (Some(5), &true.into()), "{args:?}");
        assert!(site.state("tree") == before, "{args:?}: the tree was touched");
    }
}

#[test]
fn pruning_that_a_signal_ends_at_any_time_deletes_nothing_more_and_the_next_run_goes_on() {
    let site = Site::empty();
    for host in 0..40 {
        for hour in 0..50 {
            let from = T + hour * 3_600;
            let mut bytes = 0xCC5B_0001_u32.to_le_bytes().to_vec();
            bytes.extend([from.to_le_bytes(), (from + 60).to_le_bytes()].concat());
            bytes.extend([1_u32.to_le_bytes().as_slice(), &1_u16.to_le_bytes(), b"m", &60_i64.to_le_bytes(), &from.to_le_bytes()].concat());
            bytes.extend([1_u32.to_le_bytes(), 1.5_f32.to_le_bytes(), 0_u32.to_le_bytes()].concat());
            site.put(&format!("c/n{host:02}/{from}.bin"), &bytes);
        }
    }
    // cc-backend has written of late: else nothing is old
    let newest = File::options().write(true).open(site.path("tree/c/n00").join(format!("{}.bin", T + 49 * 3_600))).expect("opened");
    newest.set_modified(SystemTime::now()).expect("set");
    assert_eq!(site.run(&["archive", "tree", "archive"]).code, Some(0));
    let left = || files_below(&site.path("tree")).len();
    let (mut interrupted, mut pruned, all) = (0, 0, left());
    for delay in [0, 1, 3, 7, 15, 30, 60] {
        let run = Started::new(site.command(&["prune", "tree", "archive", "--older-than", "3d", "--json", "--workers", "1"]));
        assert!(run.says("pruning"));
        std::thread::sleep(Duration::from_millis(delay));
        run.signal("INT");
        let (code, stdout) = run.end(Duration::from_secs(20));
        let summary: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{code:?}, no summary: {e}"));
        assert_eq!(summary["interrupted"], code == Some(5), "{code:?}");
        interrupted += u32::from(code == Some(5));
        pruned += summary["pruned"].as_u64().expect("a count") as usize;
        assert_eq!(left(), all - pruned, "the summary says what was deleted");
    }
    assert!(interrupted > 0, "no signal came in time");
    assert_eq!(site.run(&["prune", "tree", "archive", "--older-than", "3d"]).code, Some(0));
    assert_eq!(left(), 40, "each host's newest");
    assert_eq!(rows_of(&site.path("archive")).len(), 40 * 50);
}

#[test]
fn the_table_of_an_interrupted_run_says_so() {
    let site = Site::golden();
    let server = Server::start(is_put);
    let mut command = site.command(&["archive", "tree", "s3://b/p"]);
    command.envs(server.environment());
    let run = Started::new(command);
    server.seen.recv_timeout(Duration::from_secs(20)).expect("an upload");
    run.signal("TERM");
    assert!(run.says("stopping"));
    server.open();
    let (code, stdout) = run.end(Duration::from_secs(20));
    assert_eq!(code, Some(5));
    assert!(stdout.contains("interrupted"), "{stdout}");
}
