//! A run as it is seen from outside: its name on every line, its metrics, its end when it is told to end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use cc_archiver::telemetry::metrics::METRICS;
use serde_json::Value;
use support::{MIDNIGHT, Run, Snapshot, T0, Tree, archiver, run};

mod support;

// ---------------------------------------------------------------- a place to run in

/// A tree of two hosts, an archive and a metrics file.
struct Site {
    tree: Tree,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let tree = Tree::new();
        for (host, from) in [("n1", T0), ("n2", T0), ("n2", T0 + 7_200)] {
            tree.bin("c", host, &Snapshot::minutes(from, [1.0, 2.0, f32::NAN]));
        }
        Self { tree, folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, target: &str, flags: &[&str]) -> Command {
        let mut command = archiver();
        let target = if target.contains("://") { target.into() } else { self.path(target) };
        command.arg("archive").arg(self.tree.path()).arg(target).args(["--progress", "never"]).args(flags);
        command
    }

    /// Archives, and leaves metrics.
    fn archive(&self, target: &str, flags: &[&str]) -> (Run, Metrics) {
        let mut command = self.command(target, flags);
        let ended = run(command.arg("--metrics-file").arg(self.path("a.prom")));
        (ended, self.metrics())
    }

    fn metrics(&self) -> Metrics {
        Metrics::of(&fs::read_to_string(self.path("a.prom")).expect("metrics"))
    }

    /// A file that cannot be decoded, and is not young.
    fn damage(&self, host: &str, from: i64) {
        let name = format!("c/{host}/{from}.json");
        self.tree.write(&name, b"{");
        let file = fs::File::options().write(true).open(self.tree.path().join(name)).expect("opened");
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(from as u64)).expect("set");
    }
}

/// Values by series, such as `files{state="archived"}`: without the prefix, and without the command's name.
#[derive(Debug, Default, PartialEq)]
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    #[track_caller]
    fn of(text: &str) -> Self {
        let series = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let series = series.strip_prefix("cc_archiver_").expect("one of ours");
            let (name, labels) = series.trim_end_matches('}').split_once('{').expect("labels");
            let labels: Vec<&str> = labels.split(',').filter(|label| !label.starts_with("command=")).collect();
            let name = if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) };
            (name, value.parse().expect("a number"))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).map(series).collect())
    }

    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no {series} in {self:#?}"))
    }

    fn has(&self, series: &str) -> bool {
        self.0.contains_key(series)
    }
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs_f64()
}

// ---------------------------------------------------------------- the run's name

#[test]
fn every_line_of_a_log_says_the_run_whichever_thread_wrote_it() {
    let site = Site::new();
    site.damage("n1", T0 + 60);
    site.tree.write("c/notes.txt", b"");
    for (format, target) in [("text", "a"), ("json", "b")] {
        let (ended, metrics) = site.archive(target, &["--run-id", "night-1", "-v", "--json", "--log-format", format]);
        let said = ended.expect(3);
        assert_eq!(said.summary()["run_id"], "night-1");
        assert_eq!(metrics.get("run_info{run_id=\"night-1\"}"), 1.0);
        // a writer's task, a blocking thread, and the main thread
        for what in ["object written", "left alone", "set aside", "archiving", "archived: 3 snapshots"] {
            assert!(said.stderr.contains(what), "{what}: {}", said.stderr);
        }
        for line in said.stderr.lines() {
            match format {
                "text" => assert!(line.ends_with(" run_id=night-1"), "{line}"),
                _ => assert_eq!(serde_json::from_str::<Value>(line).expect("an object")["run_id"], "night-1", "{line}"),
            }
        }
    }
}

#[test]
fn lines_of_one_message_and_of_other_crates_say_the_run_too() {
    let site = Site::new();
    let mut command = site.command("s3://b", &["--run-id", "x", "-vv"]);
    let said = run(command.envs([("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")])).expect(1);
    assert!(said.stderr.contains("\n  hint: ") && said.stderr.contains(" DEBUG "), "{}", said.stderr);
    assert!(said.stderr.lines().all(|line| line.ends_with(" run_id=x")), "{}", said.stderr);
}

#[test]
fn each_run_has_a_name_of_its_own() {
    let site = Site::new();
    let name = || site.archive("a", &["--json"]).0.expect(0).summary()["run_id"].as_str().expect("a name").to_owned();
    let names = BTreeSet::from([name(), name(), name()]);
    assert_eq!(names.len(), 3, "{names:?}");
    let mut command = site.command("a", &[]);
    assert!(run(command.args(["--run-id", "a b"])).expect(2).stderr.contains("--run-id"));
}

#[test]
fn lines_at_the_start_and_at_the_end_say_what_a_person_needs() {
    let site = Site::new();
    let (tree, archive) = (site.tree.path().display().to_string(), site.path("a").display().to_string());
    let said = site.archive("a", &[]).0.expect(0);
    let lines: Vec<&str> = said.stderr.lines().collect();
    let [start, plan, end] = lines[..] else { panic!("{lines:?}") };
    for what in [" INFO archiving ", &tree, &archive, "clusters=1", "hosts=2", "snapshots=3"] {
        assert!(start.contains(what), "{what}: {start}");
    }
    for what in [" INFO to archive ", "hosts=2", "snapshots=3", "dates=1"] {
        assert!(plan.contains(what), "{what}: {plan}");
    }
    for what in [" INFO archived: 3 snapshots of 2 of 2 hosts, 6 rows in 1 objects", &tree, &archive, "exit_code=0", "seconds="] {
        assert!(end.contains(what), "{what}: {end}");
    }
    let last = |said: &Run| said.stderr.lines().last().unwrap_or_default().to_owned();
    site.damage("n1", T0 + 60);
    let set_aside = last(&site.archive("a", &[]).0.expect(3));
    assert!(set_aside.contains(" WARN ") && set_aside.contains("1 set aside") && set_aside.contains("exit_code=3"), "{set_aside}");
    let failed = last(&site.archive("a", &["--cluster", "nowhere"]).0.expect(2));
    assert!(failed.contains("exit_code=2") && failed.contains("next=\"correct"), "{failed}");
    let verified = last(&run(archiver().arg("verify").arg(site.path("a"))).expect(0));
    assert!(verified.contains("INFO verified: 1 objects") && verified.contains("exit_code=0"), "{verified}");
}

// ---------------------------------------------------------------- what metrics say

#[test]
fn metrics_say_what_the_summary_says() {
    let site = Site::new();
    let begun = now();
    let (ended, metrics) = site.archive("a", &["--json"]);
    let summary = ended.expect(0).summary();
    for (series, field) in [
        ("rows_read_total", "rows_read"),
        ("rows_written_total", "rows_written"),
        ("rows_nan_total", "nan_skipped"),
        ("rows_duplicate_total", "duplicates_dropped"),
        ("rows_conflicting_total", "conflicting_rows"),
        ("read_bytes_total", "bytes_in"),
        ("written_bytes_total", "bytes_out"),
        ("objects_written_total", "objects_written"),
        ("partitions_planned_anew_total", "planned_anew"),
        ("files{state=\"archived\"}", "files"),
        ("snapshots_archived_total", "files"),
    ] {
        assert_eq!(Some(metrics.get(series)), summary[field].as_f64(), "{series}");
    }
    assert_eq!((metrics.get("rows_written_total"), metrics.get("rows_nan_total")), (6.0, 3.0));
    assert_eq!((metrics.get("exit_code"), metrics.get("runs_total{exit_code=\"0\"}")), (0.0, 1.0));
    for series in ["last_run_timestamp_seconds", "last_success_timestamp_seconds", "last_complete_run_start_timestamp_seconds"] {
        assert!((begun.floor()..=now()).contains(&metrics.get(series)), "{series}");
    }
    assert!(metrics.get("run_duration_seconds") > 0.0 && metrics.get("run_cpu_seconds") > 0.0);
    assert!(metrics.get("run_peak_memory_bytes") > 1e6);
    assert_eq!((metrics.get("unarchived_snapshots"), metrics.get("oldest_unarchived_snapshot_age_seconds")), (0.0, 0.0));
    assert!(!metrics.has("oldest_unarchived_snapshot_timestamp_seconds"));
    assert!(!metrics.0.keys().any(|series| series.starts_with("store_requests")), "a directory is asked nothing");
    assert!(metrics.has(&format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_failed_run_keeps_the_last_success_and_counters_go_on() {
    let site = Site::new();
    // what changed when a run had begun is not its
    std::thread::sleep(Duration::from_millis(100));
    let first = site.archive("a", &[]).1;
    let success = first.get("last_success_timestamp_seconds");
    std::thread::sleep(Duration::from_millis(1_100));
    // there is no server
    let mut command = site.command("s3://b", &["--metrics-file"]);
    command.arg(site.path("a.prom")).envs([("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]);
    run(&mut command).expect(1);
    let failed = site.metrics();
    assert_eq!((failed.get("exit_code"), failed.get("last_success_timestamp_seconds")), (1.0, success));
    assert!(failed.get("last_run_timestamp_seconds") > success);
    assert_eq!((failed.get("runs_total{exit_code=\"0\"}"), failed.get("runs_total{exit_code=\"1\"}")), (1.0, 1.0));
    assert_eq!((failed.get("rows_written_total"), failed.get("failures_total{stage=\"catalog\"}")), (6.0, 1.0));
    assert_eq!(failed.get("files{state=\"archived\"}"), 3.0, "of the run that came to its end");
    assert!(failed.get("store_requests_total{kind=\"get\",outcome=\"no_answer\"}") > 1.0);
    assert!(failed.get("store_retries_total{kind=\"get\"}") >= 1.0);
    // nobody knows what the archive holds, but what lay there at the last success is there
    assert_eq!(failed.get("unarchived_snapshots"), 0.0);
    site.tree.bin("c", "n1", &Snapshot::minutes(T0 + 3_600, [1.0]));
    run(&mut command).expect(1);
    let later = site.metrics();
    assert_eq!((later.get("unarchived_snapshots"), later.get("oldest_unarchived_snapshot_timestamp_seconds")), (1.0, (T0 + 3_600) as f64));
    assert_eq!(later.get("failures_total{stage=\"catalog\"}"), 2.0);

    let (_, done) = site.archive("a", &[]);
    assert_eq!((done.get("exit_code"), done.get("rows_written_total"), done.get("unarchived_snapshots")), (0.0, 7.0, 0.0));
    assert!(!done.has("oldest_unarchived_snapshot_timestamp_seconds"));
    assert!(done.get("last_success_timestamp_seconds") > success);
    let wrong = site.archive("a", &["--cluster", "nowhere"]).1;
    assert_eq!((wrong.get("exit_code"), wrong.get("runs_total{exit_code=\"2\"}")), (2.0, 1.0));
}

#[test]
fn the_oldest_snapshot_that_is_not_archived_is_known_and_when_cc_backend_deletes_it() {
    let site = Site::new();
    // what changed when a run had begun is not its
    std::thread::sleep(Duration::from_millis(100));
    site.damage("n2", T0 + 3_600);
    site.damage("n1", T0 + 1_800);
    let config = site.path("config.json");
    fs::write(&config, r#"{"metric-store": {"retention-in-memory": "48h"}}"#).expect("written");
    let metrics = site.archive("a", &["--cc-backend-config", config.to_str().expect("UTF-8")]).1;
    let oldest = (T0 + 1_800) as f64;
    assert_eq!((metrics.get("unarchived_snapshots"), metrics.get("files{state=\"set_aside\"}")), (2.0, 2.0));
    assert_eq!((metrics.get("failures_total{stage=\"decode\"}"), metrics.get("exit_code")), (2.0, 3.0));
    assert_eq!(metrics.get("oldest_unarchived_snapshot_timestamp_seconds"), oldest);
    let ended = metrics.get("last_run_timestamp_seconds");
    assert_eq!(metrics.get("oldest_unarchived_snapshot_age_seconds"), ended - oldest);
    assert_eq!(metrics.get("oldest_unarchived_snapshot_deletion_timestamp_seconds"), oldest + 48.0 * 3_600.0);
    assert_eq!(metrics.get("oldest_unarchived_snapshot_deletion_in_seconds"), oldest + 48.0 * 3_600.0 - ended);
    assert!(!metrics.has("last_success_timestamp_seconds") && metrics.has("last_complete_run_start_timestamp_seconds"));
    // a run that does not see the archive knows of it by the run before
    let mut unseeing = site.command("s3://b", &["--metrics-file"]);
    unseeing.arg(site.path("a.prom")).envs([("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]);
    run(&mut unseeing).expect(1);
    let unseen = site.metrics();
    assert_eq!((unseen.get("oldest_unarchived_snapshot_timestamp_seconds"), unseen.get("unarchived_snapshots")), (oldest, 1.0));
    // what is too recent is not to be archived, and what crosses midnight is archived when all of it is
    site.tree.bin("c", "n3", &Snapshot::minutes(MIDNIGHT + 86_000, vec![1.0; 20]));
    let metrics = site.archive("a", &["--before", "2026-03-01T00:00:00Z"]).1;
    assert_eq!((metrics.get("unarchived_snapshots"), metrics.get("files{state=\"too_recent\"}")), (0.0, 6.0));
    assert_eq!(site.archive("a", &["--before", "2026-03-01T23:55:00Z"]).1.get("unarchived_snapshots"), 2.0, "it ends later");
    assert_eq!(site.archive("a", &[]).1.get("unarchived_snapshots"), 2.0);
}

#[test]
fn prune_and_verify_have_metrics_of_their_own() {
    let site = Site::new();
    site.archive("a", &[]).0.expect(0);
    let own = |command: &mut Command, code| {
        let path = site.path("own.prom");
        run(command.arg("--metrics-file").arg(&path)).expect(code);
        let text = fs::read_to_string(path).expect("metrics");
        (Metrics::of(&text), text)
    };
    site.tree.bin("c", "n2", &Snapshot::minutes(T0 + 60, [5.0]));
    let (pruned, text) = own(archiver().arg("prune").arg(site.tree.path()).arg(site.path("a")).args(["--older-than", "3d"]), 3);
    assert_eq!((pruned.get("pruned_files_total"), pruned.get("kept_files{reason=\"newest\"}")), (1.0, 2.0));
    assert_eq!((pruned.get("kept_files{reason=\"not_archived\"}"), pruned.get("exit_code")), (1.0, 3.0));
    assert!(pruned.get("pruned_bytes_total") > 0.0 && text.contains("{command=\"prune\"}"));
    fs::remove_file(site.path("own.prom")).expect("removed");
    let (found, text) = own(archiver().arg("verify").arg(site.path("a")).arg("--read-data"), 0);
    assert_eq!((found.get("findings{kind=\"digest\"}"), found.get("verified_objects"), found.get("exit_code")), (0.0, 1.0, 0.0));
    assert!(found.get("verified_read_bytes") > 0.0 && text.contains("{command=\"verify\"}"));
    for (object, bytes) in support::files_below(&site.path("a")) {
        let mut bytes = bytes.to_vec();
        bytes[10] ^= 1;
        fs::write(site.path("a").join(object), bytes).expect("written");
    }
    let (found, _) = own(archiver().arg("verify").arg(site.path("a")).arg("--read-data"), 3);
    assert_eq!((found.get("findings{kind=\"digest\"}"), found.get("exit_code")), (1.0, 3.0));
    let (archived, _) = own(site.command("b", &["--prune-after", "3d"]).arg("--json"), 0);
    assert_eq!(archived.get("pruned_files_total"), 1.0, "archive prunes too");
}

#[test]
fn metrics_never_come_into_the_tree_nor_of_a_dry_run_nor_in_the_way() {
    let site = Site::new();
    let before = site.tree.state();
    let inside = site.tree.path().join("m.prom");
    for command in ["archive", "prune"] {
        let mut command = archiver().args([command]).arg(site.tree.path()).arg(site.path("a")).arg("--metrics-file").arg(&inside).args_of(command);
        assert!(run(&mut command).expect(2).stderr.contains("lies inside the checkpoint tree"));
    }
    assert!(site.tree.state() == before);
    let mut dry = site.command("a", &["--dry-run", "--metrics-file"]);
    run(dry.arg(site.path("a.prom"))).expect(0);
    assert!(!site.path("a.prom").exists());
    let mut nowhere = site.command("a", &["--metrics-file"]);
    let said = run(nowhere.arg(site.path("no/such/a.prom"))).expect(0);
    assert!(said.lines_of("WARN").iter().any(|line| line.contains("metrics cannot be written")), "{}", said.stderr);
}

trait ArgsOf {
    fn args_of(&mut self, command: &str) -> Command;
}

impl ArgsOf for Command {
    /// The same with what the command needs.
    fn args_of(&mut self, command: &str) -> Command {
        if command == "prune" {
            self.args(["--older-than", "3d"]);
        }
        std::mem::replace(self, Command::new("true"))
    }
}

// ---------------------------------------------------------------- servers

const NEVER: u16 = 0;
const LATE: u16 = 1;

/// A request, and how it is answered.
type Answer = dyn Fn(&str, &str) -> (u16, String) + Send + Sync;

/// Answers requests, and keeps them: first line and body. One that is answered with [`NEVER`] is not, and one with [`LATE`] in a second.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    held: mpsc::Receiver<()>,
}

impl Server {
    fn start(answer: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (to, held) = mpsc::channel();
        let (kept, answer): (_, Arc<Answer>) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, answer, to) = (Arc::clone(&kept), Arc::clone(&answer), to.clone());
                // a connection that breaks is the client's business
                std::thread::spawn(move || drop(serve(&stream, &kept, &*answer, &to)));
            }
        });
        Self { address, requests, held }
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().expect("a lock").clone()
    }

    /// An S3 server that has nothing, and takes everything, as long as `answer` says nothing else.
    fn s3(answer: impl Fn(&str) -> Option<u16> + Send + Sync + 'static) -> Self {
        let list = "<?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
        Self::start(move |request, _| match answer(request) {
            Some(status) => (status, String::new()),
            // what the run tries: whether something is overwritten
            None if request.contains("/_cc-archiver/probe") => (if request.starts_with("PUT ") { 412 } else { 200 }, String::new()),
            None if request.starts_with("PUT ") => (200, String::new()),
            None if request.starts_with("GET ") && request.contains("list-type=2") => (200, list.into()),
            None => (404, String::new()),
        })
    }

    fn environment(&self) -> [(&'static str, &str); 3] {
        [("AWS_ENDPOINT_URL", &self.address), ("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "nothing")]
    }
}

/// The upload of an object with rows.
fn is_upload(request: &str) -> bool {
    request.starts_with("PUT ") && !request.contains("_cc-archiver")
}

fn serve(stream: &TcpStream, kept: &Mutex<Vec<(String, String)>>, answer: &Answer, held: &mpsc::Sender<()>) -> std::io::Result<()> {
    let mut from = BufReader::new(stream);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        if from.read_line(&mut request)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            from.read_line(&mut header)?;
            match header.trim().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().unwrap_or(0),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        (&mut from).take(length).read_to_end(&mut body)?;
        let (request, body) = (request.trim().to_owned(), String::from_utf8_lossy(&body).into_owned());
        let (mut status, text) = answer(&request, &body);
        kept.lock().expect("a lock").push((request, body));
        if [NEVER, LATE].contains(&status) {
            let _ = held.send(());
            std::thread::sleep(Duration::from_secs(if status == LATE { 1 } else { 60 }));
            status = 200;
        }
        write!(&mut &*stream, "HTTP/1.1 {status} Said\r\nETag: \"e\"\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
    }
}

#[test]
fn requests_and_retries_are_counted_by_what_they_are_for() {
    let site = Site::new();
    let failed = Arc::new(Mutex::new(0));
    let server = Server::s3(move |request| {
        let mut failed = failed.lock().expect("a lock");
        *failed += u32::from(is_upload(request));
        (is_upload(request) && *failed <= 2).then_some(503)
    });
    let mut command = site.command("s3://b", &["--metrics-file"]);
    run(command.arg(site.path("a.prom")).envs(server.environment())).expect(3);
    let metrics = site.metrics();
    let seen = server.requests();
    let count = |method: &str| seen.iter().filter(|(line, _)| line.starts_with(method) && !line.contains("list-type")).count() as f64;
    assert_eq!(metrics.get("store_requests_total{kind=\"put\",outcome=\"throttled\"}"), 2.0);
    // the object and the archive's own one
    assert_eq!(metrics.get("store_requests_total{kind=\"put\",outcome=\"ok\"}"), 2.0);
    assert_eq!(metrics.get("store_retries_total{kind=\"put\"}"), 2.0);
    assert_eq!(metrics.get("store_requests_total{kind=\"head\",outcome=\"not_found\"}"), count("HEAD "));
    assert_eq!(metrics.get("store_retries_total{kind=\"head\"}"), 0.0);
    let lists = seen.iter().filter(|(line, _)| line.contains("list-type=2")).count() as f64;
    assert_eq!(metrics.get("store_requests_total{kind=\"list\",outcome=\"ok\"}"), lists);
    // what this server has taken, it does not have
    assert_eq!((metrics.get("failures_total{stage=\"prove\"}"), metrics.get("failures_total{stage=\"upload\"}")), (1.0, 0.0));
}

#[test]
fn an_upload_that_fails_is_counted_as_one_and_its_snapshots_are_left() {
    let site = Site::new();
    let server = Server::s3(|request| is_upload(request).then_some(403));
    let mut command = site.command("s3://b", &["--metrics-file"]);
    run(command.arg(site.path("a.prom")).envs(server.environment())).expect(1);
    let metrics = site.metrics();
    assert_eq!((metrics.get("failures_total{stage=\"upload\"}"), metrics.get("exit_code")), (1.0, 1.0));
    assert_eq!((metrics.get("unarchived_snapshots"), metrics.get("oldest_unarchived_snapshot_timestamp_seconds")), (3.0, T0 as f64));
    assert_eq!(metrics.get("rows_read_total"), 0.0, "of what is not archived nothing is counted");
}

// ---------------------------------------------------------------- pushing

fn pushed(site: &Site, gateway: &str, flags: &[&str], code: i32) -> Run {
    let mut command = site.command("a", &["--metrics-push", gateway]);
    run(command.args(flags)).expect(code)
}

#[test]
fn a_push_replaces_the_group_and_goes_on_from_what_is_there() {
    let site = Site::new();
    let there: Arc<Mutex<String>> = Arc::default();
    let shown = Arc::clone(&there);
    let server = Server::start(move |request, body| {
        let mut there = shown.lock().expect("a lock");
        if request.starts_with("GET ") {
            return (200, there.clone());
        }
        // as a gateway shows it: with the labels of the group
        let path = request.split(' ').nth(1).expect("a path").to_owned();
        let instance = path.split('/').nth(5).unwrap_or("none").to_owned();
        *there = body.replace("command=\"", &format!("instance=\"{instance}\",job=\"cc-archiver\",command=\""));
        *there += "cc_archiver_rows_written_total{command=\"archive\",instance=\"another\",job=\"cc-archiver\"} 1000\n";
        (200, String::new())
    });
    pushed(&site, &server.address, &[], 0);
    let requests = server.requests();
    assert_eq!(requests.iter().map(|(line, _)| &line[..4]).collect::<Vec<_>>(), ["GET ", "PUT "]);
    let path = requests[1].0.split(' ').nth(1).expect("a path");
    assert!(path.starts_with("/metrics/job/cc-archiver/instance/") && path.ends_with("/command/archive"), "{path}");
    let first = Metrics::of(&requests[1].1);
    assert_eq!(first.get("rows_written_total"), 6.0);

    pushed(&site, &format!("{}/", server.address), &["--cluster", "nowhere"], 2);
    let second = Metrics::of(&server.requests().last().expect("a push").1);
    assert_eq!((second.get("rows_written_total"), second.get("exit_code")), (6.0, 2.0));
    assert_eq!(second.get("last_success_timestamp_seconds"), first.get("last_success_timestamp_seconds"));

    // a path of one's own is left as it is; what is there is not known then, and stays
    pushed(&site, &format!("{}/mine", server.address), &[], 0);
    assert!(server.requests().last().expect("a push").0.starts_with("POST /mine HTTP"), "{:?}", server.requests().last());
}

#[test]
fn a_push_that_fails_is_a_warning_and_nothing_else() {
    let site = Site::new();
    let refusing = Server::start(|_, _| (500, "out of order\nreally".into()));
    for gateway in [refusing.address.as_str(), "http://127.0.0.1:9", "http://nowhere.invalid"] {
        let said = pushed(&site, gateway, &["--json"], 0);
        let warnings = said.lines_of("WARN");
        assert!(warnings.len() == 1 && warnings[0].contains("metrics were not pushed"), "{gateway}: {}", said.stderr);
        assert!(said.stderr.lines().last().is_some_and(|line| line.contains("exit_code=0")), "{}", said.stderr);
        assert!(said.summary()["rows_written"].is_number());
    }
    let hanging = Server::start(|_, _| (NEVER, String::new()));
    let begun = Instant::now();
    pushed(&site, &hanging.address, &["--cluster", "nowhere"], 2);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    for wrong in ["gateway", "http://user:secret@gateway"] {
        let said = pushed(&site, wrong, &[], 2);
        assert!(said.stderr.contains("--metrics-push"), "{}", said.stderr);
    }
}

// ---------------------------------------------------------------- being told to end

/// A run that is under way.
struct Started {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Started {
    fn new(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let said = Arc::<Mutex<String>>::default();
        let (to, lines) = (Arc::clone(&said), BufReader::new(child.stderr.take().expect("piped")).lines());
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| *to.lock().expect("a lock") += &(line + "\n")));
        Self { child, said }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().expect("kill runs").success());
    }

    fn said(&self) -> String {
        self.said.lock().expect("a lock").clone()
    }

    /// Waits until it has said something.
    fn says(&self, text: &str) {
        let begun = Instant::now();
        while !self.said().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{text:?} is not in {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end, and gives the exit code, the time that it took, and the last line.
    fn end(&mut self) -> (Option<i32>, Duration, String) {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("its state") {
                Some(status) => break status,
                None if begun.elapsed() > Duration::from_secs(30) => {
                    self.child.kill().expect("killed");
                    panic!("it does not end: {}", self.said());
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let took = begun.elapsed();
        // what it said last may still be on its way here
        let limit = Instant::now() + Duration::from_secs(5);
        while !self.said().contains("exit_code=") && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(2));
        }
        (status.code(), took, self.said().lines().last().unwrap_or_default().to_owned())
    }
}

/// Held in the upload of its first object.
fn uploading(site: &Site, server: &Server, flags: &[&str]) -> Started {
    let mut command = site.command("s3://b", flags);
    let started = Started::new(command.arg("--metrics-file").arg(site.path("a.prom")).envs(server.environment()));
    server.held.recv_timeout(Duration::from_secs(20)).expect("an upload");
    started
}

fn never_put(request: &str) -> Option<u16> {
    is_upload(request).then_some(NEVER)
}

#[test]
fn a_run_that_is_told_to_end_leaves_metrics_and_a_last_line_in_time_even_if_no_server_answers() {
    let site = Site::new();
    let (server, gateway) = (Server::s3(never_put), Server::start(|_, _| (NEVER, String::new())));
    let mut run = uploading(&site, &server, &["--metrics-push", &gateway.address]);
    run.signal("TERM");
    let (code, took, last) = run.end();
    assert_eq!(code, Some(5), "{}", run.said());
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(last.contains(" WARN interrupted") && last.contains("exit_code=5") && last.contains("run again"), "{last}");
    let metrics = site.metrics();
    assert_eq!((metrics.get("exit_code"), metrics.get("runs_total{exit_code=\"5\"}")), (5.0, 1.0));
    assert_eq!((metrics.get("unarchived_snapshots"), metrics.get("oldest_unarchived_snapshot_timestamp_seconds")), (3.0, T0 as f64));
    assert_eq!(metrics.get("rows_read_total"), 0.0);
}

#[test]
fn an_end_that_was_asked_for_is_no_failure() {
    let site = Site::new();
    let server = Server::s3(|request| is_upload(request).then_some(LATE));
    let mut run = uploading(&site, &server, &[]);
    run.signal("TERM");
    let (code, took, _) = run.end();
    assert_eq!(code, Some(5), "{}", run.said());
    assert!(took < Duration::from_secs(4), "it ends by itself when the server answers: {took:?}");
    let metrics = site.metrics();
    let failures: f64 = metrics.0.iter().filter(|(series, _)| series.starts_with("failures_total")).map(|(_, count)| count).sum();
    assert_eq!((failures, metrics.get("exit_code")), (0.0, 5.0));
}

#[test]
fn a_second_signal_ends_the_run_at_once_with_the_same_exit_code() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("INT", "TERM")] {
        let site = Site::new();
        let server = Server::s3(never_put);
        let mut run = uploading(&site, &server, &[]);
        run.signal(first);
        run.says("stopping");
        run.signal(second);
        let (code, took, last) = run.end();
        assert_eq!(code, Some(5), "{}", run.said());
        assert!(took < Duration::from_secs(2), "{took:?}: {}", run.said());
        assert!(run.said().contains("a second signal") && last.contains("exit_code=5"), "{}", run.said());
        assert_eq!((site.metrics().get("exit_code"), site.metrics().get("rows_read_total")), (5.0, 0.0));
    }
}

#[test]
fn a_signal_while_metrics_are_pushed_ends_that_and_changes_nothing() {
    let site = Site::new();
    let gateway = Server::start(|_, _| (NEVER, String::new()));
    let mut command = site.command("a", &["--metrics-push", &gateway.address]);
    let mut run = Started::new(&mut command);
    gateway.held.recv_timeout(Duration::from_secs(20)).expect("a push");
    run.signal("TERM");
    let (code, took, last) = run.end();
    assert_eq!(code, Some(0), "all is archived: {}", run.said());
    assert!(took < Duration::from_secs(2) && last.contains("exit_code=0"), "{took:?}: {last}");
    assert!(run.said().contains("metrics are not waited for"), "{}", run.said());
}

#[test]
fn what_was_complete_when_the_run_was_told_to_end_stays_and_the_next_run_goes_on() {
    let site = Site::new();
    // objects of later dates wait
    site.tree.bin("d", "n1", &Snapshot::minutes(T0, [1.0, 2.0]));
    let server = Server::s3(|request| (request.starts_with("PUT ") && request.contains("cluster%3Dd")).then_some(NEVER));
    let mut run = uploading(&site, &server, &[]);
    run.signal("TERM");
    let (code, _, last) = run.end();
    assert_eq!(code, Some(5));
    assert!(last.contains("interrupted: 3 snapshots of 2 of 3 hosts, 6 rows in 1 objects"), "{last}");
    let metrics = site.metrics();
    assert_eq!((metrics.get("rows_written_total"), metrics.get("unarchived_snapshots")), (6.0, 1.0));
}

// ---------------------------------------------------------------- what is written about metrics

fn repository(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All words that begin as a metric of ours does.
fn named_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("cc_archiver_")).collect()
}

#[test]
fn the_table_of_metrics_is_that_of_the_code() {
    let row = |m: &cc_archiver::telemetry::metrics::Metric| {
        let labels: Vec<String> = m.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} | {} |", m.name, m.type_name(), m.unit(), labels.join(", "), m.help)
    };
    let expected: Vec<String> = METRICS.iter().map(row).collect();
    let docs = repository("docs/metrics.md");
    let found: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `cc_archiver_")).collect();
    assert!(found == expected, "docs/metrics.md must have these rows:\n{}", expected.join("\n"));
    let kinds = docs.split("Kinds of findings are ").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("kinds");
    let found: Vec<&str> = kinds.split('`').skip(1).step_by(2).collect();
    let expected: Vec<&str> = cc_archiver::verify::Report::default().findings_by_kind().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(found, expected, "docs/metrics.md");
    let page = repository("docs/verifying.md");
    let rows = page.split("| finding |").nth(1).expect("findings").lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), expected, "docs/verifying.md");
    let known: BTreeSet<&str> = METRICS.iter().map(|m| m.name).collect();
    assert!(named_in(&docs).is_subset(&known), "{:?}", named_in(&docs).difference(&known));
}

#[test]
fn alerts_and_dashboard_name_metrics_and_labels_that_exist() {
    let known: BTreeSet<&str> = METRICS.iter().map(|m| m.name).collect();
    let labels: BTreeSet<&str> = METRICS.iter().flat_map(|m| m.labels).copied().chain(["command", "instance", "job"]).collect();
    for path in ["deploy/prometheus/alerts.yaml", "deploy/grafana/cc-archiver.json", "README.md"] {
        let text = repository(path).replace("\\\"", "\"");
        let named = named_in(&text);
        assert!(!named.is_empty() || path == "README.md", "{path}");
        assert!(named.is_subset(&known), "{path}: {:?}", named.difference(&known).collect::<Vec<_>>());
        // a selector's labels
        for inside in text
            .split("cc_archiver_")
            .skip(1)
            .filter_map(|rest| rest.split_once('{').filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')))
        {
            for label in inside.1.split('}').next().unwrap_or_default().split(',').filter_map(|pair| pair.split(['=', '!']).next()) {
                assert!(label.is_empty() || labels.contains(label.trim()), "{path}: {label:?}");
            }
        }
    }
    // each metric that tells of trouble has its alert
    for metric in [
        "last_complete_run_start_timestamp_seconds",
        "exit_code",
        "files",
        "findings",
        "kept_files",
        "store_retries_total",
        "oldest_unarchived_snapshot_deletion_timestamp_seconds",
    ] {
        assert!(named_in(&repository("deploy/prometheus/alerts.yaml")).contains(format!("cc_archiver_{metric}").as_str()), "{metric}");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let board: Value = serde_json::from_str(&repository("deploy/grafana/cc-archiver.json")).expect("JSON");
    assert!(board["title"].is_string() && board["uid"].as_str().is_some_and(|uid| uid.len() <= 40) && board["schemaVersion"].as_u64() >= Some(36));
    assert!(board["id"].is_null(), "Grafana gives the id");
    assert!(board["time"]["from"].is_string() && board["time"]["to"].is_string());
    let source = board["templating"]["list"].as_array().expect("variables").iter().find(|v| v["type"] == "datasource").expect("a variable for the data source");
    let source = format!("${{{}}}", source["name"].as_str().expect("a name"));
    let panels = board["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert!(panels.len() > 8 && ids.len() == panels.len(), "each panel has an id of its own");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().filter(|title| !title.is_empty()).expect("a title");
        let of = |field: &str| panel["gridPos"][field].as_u64().unwrap_or_else(|| panic!("{title}: no place"));
        assert!(of("x") + of("w") <= 24 && of("w") > 0 && of("h") > 0, "{title}");
        for (x, y) in (of("x")..of("x") + of("w")).flat_map(|x| (of("y")..of("y") + of("h")).map(move |y| (x, y))) {
            assert!(taken.insert((x, y)), "{title} lies over another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"], serde_json::json!({"type": "prometheus", "uid": source}), "{title}");
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}: no description");
        let targets = panel["targets"].as_array().expect("queries");
        let names: BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().expect("a name")).collect();
        assert!(!targets.is_empty() && names.len() == targets.len(), "{title}");
        for target in targets {
            assert!(!named_in(target["expr"].as_str().expect("a query")).is_empty(), "{title}");
        }
    }
}
