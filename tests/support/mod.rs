//! What the integration tests share: the program, checkpoint trees, archives read back as rows, LocalStack and Python.

#![allow(dead_code, reason = "every test binary compiles all of it and uses some")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use bytes::Bytes;
use cc_archiver::cli::{self, Cli};
use cc_archiver::config;
use cc_archiver::settings::S3Settings;
use clap::Parser;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaDataReader;
use serde_json::Value;

pub mod document;
pub mod old_archive;
pub mod terminal;

/// 2026-03-01T00:00:00Z, where the tests' time begins.
pub const MIDNIGHT: i64 = 1_772_323_200;
/// 04:00 on that day: a snapshot from here is expected to feed this day only.
pub const T0: i64 = MIDNIGHT + 4 * 3_600;
/// Seconds in a day.
pub const DAY: i64 = 86_400;

/// The keys of an archive, and the bytes under them.
pub type Objects = BTreeMap<String, Bytes>;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file or folder below `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(name)
}

/// Changes one of the last values of a `.bin` snapshot; size and time stay as they were.
pub fn change_a_value(path: &Path) {
    let changed = std::fs::metadata(path).and_then(|m| m.modified()).expect("a time");
    let mut bytes = std::fs::read(path).expect("read");
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    std::fs::write(path, bytes).expect("written");
    std::fs::File::options().write(true).open(path).expect("opened").set_modified(changed).expect("set");
}

// ---------------------------------------------------------------- the program

/// How a run of the program ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: i32,
    /// What it said on stdout.
    pub stdout: String,
    /// What it said on stderr.
    pub stderr: String,
}

impl Run {
    /// Checks the exit code, and shows all that was said if it is another one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The summary that `--json` prints.
    #[track_caller]
    pub fn summary(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("stdout is no JSON object ({e}): {:?}", self.stdout))
    }

    /// The lines that were logged at this level.
    pub fn lines_of(&self, level: &str) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.split_whitespace().nth(1) == Some(level)).collect()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        let code = output.status.code().unwrap_or_else(|| panic!("it did not end by itself: {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", output.status));
        Self { code, stdout, stderr }
    }
}

/// Takes all variables from a command but what it needs to start: settings, credentials and proxies of whoever runs the
/// tests must not decide how they end.
pub fn without_environment(command: &mut Command) -> &mut Command {
    command.env_clear();
    for name in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// The program, in an environment of its own.
pub fn archiver() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-archiver"));
    without_environment(&mut command).stdin(Stdio::null());
    command
}

/// Sets the rights of a file or folder.
pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// A user without rights, and the program where he can reach it. Where the tests do not run as root, who may do everything, it is their user.
#[derive(Debug)]
pub struct Nobody {
    place: tempfile::TempDir,
}

impl Nobody {
    /// With a copy of the program.
    pub fn new() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        set_mode(place.path(), 0o755);
        // not by this process: whatever another thread starts meanwhile would hold the copy open, and what is written to cannot be run
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_cc-archiver")).arg(place.path().join("cc-archiver")).status();
        assert!(copied.is_ok_and(|status| status.success()), "the program was not copied");
        Self { place }
    }

    /// True if it is another user than that of the tests.
    pub fn is_another(&self) -> bool {
        std::fs::metadata("/proc/self").expect("a status").uid() == 0
    }

    /// The program, run by him.
    pub fn archiver(&self) -> Command {
        if !self.is_another() {
            return archiver();
        }
        let mut command = Command::new("setpriv");
        without_environment(&mut command).args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(self.place.path().join("cc-archiver"));
        command.stdin(Stdio::null());
        command
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Run {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}")).into()
}

/// Runs `archive TREE ARCHIVE FLAGS`, with the summary as JSON on stdout.
pub fn archive(tree: &Path, archive: impl AsRef<OsStr>, flags: &[&str]) -> Run {
    run(archiver().arg("archive").arg(tree).arg(archive).args(["--json", "--progress", "never"]).args(flags))
}

// ---------------------------------------------------------------- checkpoints

/// A snapshot to be written.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Start of what it covers, unix s.
    pub from: i64,
    /// End of what it covers, unix s.
    pub to: i64,
    /// The host's level.
    pub root: Level,
}

/// Metrics, and levels below.
#[derive(Debug, Clone, Default)]
pub struct Level {
    metrics: Vec<Metric>,
    children: Vec<Child>,
}

#[derive(Debug, Clone)]
struct Metric {
    name: String,
    frequency: i64,
    start: i64,
    values: Vec<f32>,
}

#[derive(Debug, Clone)]
struct Child {
    name: String,
    scope: String,
    id: String,
    level: Level,
}

impl Level {
    /// Adds a metric.
    pub fn metric(mut self, name: &str, frequency: i64, start: i64, values: impl Into<Vec<f32>>) -> Self {
        self.metrics.push(Metric { name: name.into(), frequency, start, values: values.into() });
        self
    }

    /// Adds a level. That `name` means `scope` and `id` is what the test says, not what it computes.
    pub fn child(mut self, name: &str, (scope, id): (&str, &str), level: Level) -> Self {
        self.children.push(Child { name: name.into(), scope: scope.into(), id: id.into(), level });
        self
    }

    fn write_bin(&self, out: &mut Vec<u8>) {
        let name = |out: &mut Vec<u8>, name: &str| {
            out.extend((name.len() as u16).to_le_bytes());
            out.extend(name.as_bytes());
        };
        out.extend((self.metrics.len() as u32).to_le_bytes());
        for metric in &self.metrics {
            name(out, &metric.name);
            out.extend(metric.frequency.to_le_bytes());
            out.extend(metric.start.to_le_bytes());
            out.extend((metric.values.len() as u32).to_le_bytes());
            out.extend(metric.values.iter().flat_map(|v| v.to_le_bytes()));
        }
        out.extend((self.children.len() as u32).to_le_bytes());
        for child in &self.children {
            name(out, &child.name);
            child.level.write_bin(out);
        }
    }

    fn json(&self) -> Value {
        // serde_json turns NaN into null by itself, and infinities too: those belong into .bin
        assert!(self.metrics.iter().flat_map(|m| &m.values).all(|v| !v.is_infinite()), "JSON has no infinities");
        let metric = |m: &Metric| (m.name.clone(), serde_json::json!({"frequency": m.frequency, "start": m.start, "data": m.values}));
        let metrics: serde_json::Map<_, _> = self.metrics.iter().map(metric).collect();
        let children: serde_json::Map<_, _> = self.children.iter().map(|c| (c.name.clone(), c.level.json())).collect();
        serde_json::json!({"metrics": metrics, "children": children})
    }

    fn rows(&self, place: &Row, rows: &mut Vec<Row>) {
        for metric in &self.metrics {
            for (i, value) in metric.values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                let timestamp = metric.start + i as i64 * metric.frequency;
                let (metric, frequency) = (metric.name.clone(), metric.frequency);
                rows.push(Row { date: date_of(timestamp), metric, timestamp, frequency, bits: value.to_bits(), ..place.clone() });
            }
        }
        for child in &self.children {
            let above = if place.selector.is_empty() { String::new() } else { format!("{}/", place.selector) };
            let place = Row { scope: child.scope.clone(), scope_id: child.id.clone(), selector: above + &child.name, ..place.clone() };
            child.level.rows(&place, rows);
        }
    }
}

impl Snapshot {
    /// A snapshot of one metric of the host, a value a minute.
    pub fn minutes(from: i64, values: impl Into<Vec<f32>>) -> Self {
        let values = values.into();
        Self { from, to: from + 60 * values.len() as i64, root: Level::default().metric("cpu_load", 60, from, values) }
    }

    /// As a `.bin` file.
    pub fn bin(&self) -> Vec<u8> {
        let mut out = 0xCC5B_0001_u32.to_le_bytes().to_vec();
        out.extend(self.from.to_le_bytes());
        out.extend(self.to.to_le_bytes());
        self.root.write_bin(&mut out);
        out
    }

    /// As a `.json` file.
    pub fn json(&self) -> Vec<u8> {
        let mut root = self.root.json();
        root["from"] = self.from.into();
        root["to"] = self.to.into();
        root.to_string().into_bytes()
    }

    /// The rows that an archive of this snapshot alone holds, sorted.
    pub fn rows(&self, cluster: &str, host: &str) -> Vec<Row> {
        let place = Row { cluster: cluster.into(), hostname: host.into(), scope: "node".into(), ..Row::default() };
        let mut rows = Vec::new();
        self.root.rows(&place, &mut rows);
        rows.sort();
        rows
    }
}

/// A checkpoint tree in a temporary folder.
#[derive(Debug)]
pub struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A copy of the golden checkpoints: runs lock the tree, and tests run at the same time.
    pub fn golden() -> Self {
        let tree = Self::new();
        let root = fixture("golden/checkpoints");
        for (path, bytes) in files_below(&root) {
            tree.write(&path, &bytes);
        }
        tree
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the tree.
    pub fn write(&self, path: &str, bytes: &[u8]) {
        write(&self.path().join(path), bytes);
    }

    /// Writes a snapshot as `<cluster>/<host>/<from>.bin`.
    pub fn bin(&self, cluster: &str, host: &str, snapshot: &Snapshot) {
        self.write(&format!("{cluster}/{host}/{}.bin", snapshot.from), &snapshot.bin());
    }

    /// Writes a snapshot as `<cluster>/<host>/<from>.json`.
    pub fn json(&self, cluster: &str, host: &str, snapshot: &Snapshot) {
        self.write(&format!("{cluster}/{host}/{}.json", snapshot.from), &snapshot.json());
    }

    /// Bytes and times of change of all its files, to see that nothing was touched.
    pub fn state(&self) -> BTreeMap<String, (Bytes, SystemTime)> {
        let changed = |path: &str| std::fs::metadata(self.path().join(path)).and_then(|m| m.modified()).expect("its status");
        files_below(self.path()).into_iter().map(|(path, bytes)| (path.clone(), (bytes, changed(&path)))).collect()
    }
}

/// Writes a file, and the folders above it.
pub fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
    std::fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// True for the marker of a staging folder. A run that does not come to its end can leave it; the next one clears it.
pub fn is_marker(key: &str) -> bool {
    key.starts_with("_tmp/") && key.ends_with("/cc-archiver")
}

/// True for the archive's own object, and what stores are tried with: readers pass over them, and hold no rows.
pub fn is_own(key: &str) -> bool {
    key.split('/').any(|part| part.starts_with("_cc-archiver"))
}

/// The name of an object that another writer put beside the one of this key, as where a store overwrites.
pub fn beside(key: &str) -> String {
    key.replace(".parquet", "-00000000000000aa.parquet")
}

/// All files below a folder but the archive's own object, hidden and unfinished ones too, by their path relative to it.
pub fn files_below(root: &Path) -> Objects {
    let mut found = Objects::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").to_owned();
                if !is_own(&name) {
                    found.insert(name, std::fs::read(&path).expect("readable").into());
                }
            }
        }
    }
    found
}

/// Values that no codec makes smaller, the same ones in every run.
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 65_536.0
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

// ---------------------------------------------------------------- rows

/// A row of an archive, its partition and the bits of its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub cluster: String,
    pub date: String,
    pub hostname: String,
    pub scope: String,
    pub metric: String,
    pub scope_id: String,
    pub selector: String,
    pub timestamp: i64,
    pub frequency: i64,
    pub bits: u32,
}

impl Row {
    /// What an archive is sorted by: no two rows have the same.
    pub fn sort_key(&self) -> ([&str; 5], i64) {
        ([&self.hostname, &self.scope, &self.metric, &self.scope_id, &self.selector], self.timestamp)
    }
}

/// As in expected.csv, and as `tests/readers/read.py` prints it: a name's `\`, `,` and line break are escaped.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for text in [&self.cluster, &self.date, &self.hostname, &self.metric, &self.scope, &self.scope_id, &self.selector] {
            write!(f, "{},", text.replace('\\', "\\\\").replace(',', "\\,").replace('\n', "\\n"))?;
        }
        write!(f, "{},{},{:08x}", self.timestamp, self.frequency, self.bits)
    }
}

/// The UTC date of a unix time.
pub fn date_of(timestamp: i64) -> String {
    chrono::DateTime::from_timestamp(timestamp, 0).expect("a time").format("%Y-%m-%d").to_string()
}

/// Undoes the escaping of a partition's folder.
fn unescaped(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).expect("two hex digits"));
        bytes.extend(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The cluster and the date that a key says.
pub fn partition_of(key: &str) -> (String, String) {
    let mut parts = key.split('/');
    let mut next = |prefix: &str| parts.next().and_then(|part| part.strip_prefix(prefix)).unwrap_or_else(|| panic!("{key}: no {prefix}")).to_owned();
    (unescaped(&next("cluster=")), next("date="))
}

/// The rows of one object, in its own order.
pub fn rows_in(key: &str, bytes: &Bytes) -> Vec<Row> {
    let (cluster, date) = partition_of(key);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap_or_else(|e| panic!("{key}: {e}")).build().expect("a reader");
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap_or_else(|e| panic!("{key}: {e}"));
        let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("{key} has no column {name}"));
        let text = |name: &str, i: usize| column(name).as_string::<i32>().value(i).to_owned();
        let int = |name: &str, i: usize| column(name).as_primitive::<Int64Type>().value(i);
        for i in 0..batch.num_rows() {
            rows.push(Row {
                cluster: cluster.clone(),
                date: date.clone(),
                hostname: text("hostname", i),
                metric: text("metric", i),
                scope: text("scope", i),
                scope_id: text("scope_id", i),
                selector: text("selector", i),
                timestamp: int("timestamp", i),
                frequency: int("frequency", i),
                bits: column("value").as_primitive::<Float32Type>().value(i).to_bits(),
            });
        }
    }
    rows
}

/// Bytes of an object's footer, without its length and magic number behind it.
pub fn footer_size(bytes: &Bytes) -> usize {
    u32::from_le_bytes(*bytes[..bytes.len() - 4].last_chunk().expect("a length")) as usize
}

/// The values of an object's footer, by key.
pub fn footer_of(bytes: &Bytes) -> Result<BTreeMap<String, String>, String> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(|e| e.to_string())?;
    let pairs = metadata.file_metadata().key_value_metadata().cloned().unwrap_or_default();
    Ok(pairs.into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default())).collect())
}

/// The sources in an object's ledger, read as the documents say.
pub fn ledger_of(bytes: &Bytes) -> Result<Vec<serde_json::Value>, String> {
    let footer = footer_of(bytes)?;
    let said = |key: &str| footer.get(key).map(String::as_str).ok_or_else(|| format!("no {key}"));
    let size: usize = said("cc-archiver.ledger")?.parse().map_err(|e| format!("{e}"))?;
    let end = bytes.len() - 8 - footer_size(bytes);
    let block = bytes.get(end.checked_sub(size).ok_or("too long a ledger")?..end).ok_or("too long a footer")?;
    let digest = blake3::hash(block).to_hex();
    if digest.as_str() != said("cc-archiver.ledger.blake3")? {
        return Err(format!("the ledger's digest is {digest}"));
    }
    let lines = String::from_utf8(zstd::decode_all(block).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let sources: Vec<serde_json::Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let counted = sources.len().to_string() == said("cc-archiver.sources")?;
    if counted { Ok(sources) } else { Err(format!("{} sources", sources.len())) }
}

/// All rows of an archive, sorted.
pub fn rows_of(objects: &Objects) -> Vec<Row> {
    let mut rows: Vec<Row> = objects.iter().flat_map(|(key, bytes)| rows_in(key, bytes)).collect();
    rows.sort();
    rows
}

/// Compares two lists of rows, one line each, in any order; if they differ, says in which lines.
#[track_caller]
pub fn assert_same_rows(who: &str, found: impl IntoIterator<Item = impl fmt::Display>, expected: impl IntoIterator<Item = impl fmt::Display>) {
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let found = sorted(found.into_iter().map(|row| row.to_string()).collect());
    let expected = sorted(expected.into_iter().map(|row| row.to_string()).collect());
    if found == expected {
        return;
    }
    let (has, wants): (BTreeSet<_>, BTreeSet<_>) = (found.iter().collect(), expected.iter().collect());
    let some = |title: &str, lines: Vec<&&String>| {
        let shown: String = lines.iter().take(10).map(|line| format!("\n  {line}")).collect();
        format!("\n{} {title}{shown}{}", lines.len(), if lines.len() > 10 { "\n  …" } else { "" })
    };
    panic!(
        "{who}: {} rows, expected {} rows{}{}{}",
        found.len(),
        expected.len(),
        some("missing:", wants.difference(&has).collect()),
        some("unexpected:", has.difference(&wants).collect()),
        if has.len() < found.len() { format!("\n{} rows stand there twice or more", found.len() - has.len()) } else { String::new() }
    );
}

/// Compares millions of rows of one object with a snapshot whose only level is the host's, without making a [`Row`] of
/// each; its metrics are in the order of their names.
#[track_caller]
pub fn assert_same_host_metrics(key: &str, bytes: &Bytes, snapshot: &Snapshot) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap_or_else(|e| panic!("{key}: {e}")).build().expect("a reader");
    let values = |m: &'_ Metric| m.values.iter().enumerate().map(|(i, v)| (m.start + i as i64 * m.frequency, v.to_bits())).collect::<Vec<_>>();
    let mut expected = snapshot.root.metrics.iter().flat_map(|m| values(m).into_iter().map(|value| (m.name.as_str(), value)));
    for batch in reader {
        let batch = batch.unwrap_or_else(|e| panic!("{key}: {e}"));
        let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("{key} has no column {name}"));
        let (metrics, times) = (column("metric").as_string::<i32>(), column("timestamp").as_primitive::<Int64Type>());
        let values = column("value").as_primitive::<Float32Type>();
        for i in 0..batch.num_rows() {
            let found = (metrics.value(i), (times.value(i), values.value(i).to_bits()));
            assert_eq!(Some(found), expected.next(), "{key}");
        }
    }
    assert_eq!(expected.next(), None, "{key} ends early");
}

// ---------------------------------------------------------------- Python

/// Runs one of `tests/readers/*.py` and gives what it printed. Its failure is the test's, with what it said.
#[track_caller]
pub fn python(script: &str, args: &[&str], environment: &[(&str, String)]) -> String {
    let run = run(&mut python_command(script, args, environment));
    assert!(run.code == 0, "{script} {args:?}\n{}", run.stderr);
    run.stdout
}

/// A command that runs one of `tests/readers/*.py`.
pub fn python_command(script: &str, args: &[&str], environment: &[(&str, String)]) -> Command {
    static PYTHON: OnceLock<String> = OnceLock::new();
    let python = PYTHON.get_or_init(|| output_of(Command::new(repository().join("tests/readers/setup"))));
    let mut command = Command::new(python);
    without_environment(&mut command).args(["-I", "-B"]).arg(repository().join("tests/readers").join(script)).args(args);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// The only line that a script prints, or the test's failure.
fn output_of(mut script: Command) -> String {
    let run = run(script.stdin(Stdio::null()));
    assert!(run.code == 0, "{script:?} failed with {}:\n{}", run.code, run.stderr);
    run.stdout.trim().to_owned()
}

// ---------------------------------------------------------------- S3

/// The S3 server for tests: LocalStack, or the one that `CC_ARCHIVER_TEST_S3_ENDPOINT` names; with the feature `minio` a MinIO. It is
/// started if need be; without it a test fails.
pub fn endpoint() -> &'static str {
    static ENDPOINT: OnceLock<String> = OnceLock::new();
    ENDPOINT.get_or_init(|| output_of(Command::new(repository().join(if cfg!(feature = "minio") { "tests/minio/up" } else { "localstack/up" }))))
}

/// Variables for a server of tests, which knows these keys or accepts any.
pub fn s3_environment(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test-secret".to_owned()),
    ]
}

/// Settings of S3 as the program takes them from variables and flags.
pub fn s3_settings(environment: &[(&'static str, String)], flags: &[&str]) -> S3Settings {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let cli = Cli::parse_from(["cc-archiver", "verify", "s3://bucket"].iter().chain(flags));
    let cli::Command::Verify(args) = cli.command else { unreachable!("it says verify") };
    config::s3(&args.s3, &environment).expect("good settings")
}

/// All objects of a store below a prefix but the archive's own one, by what follows it.
pub fn objects_in(store: &dyn ObjectStore, prefix: &str) -> Objects {
    block_on(async {
        let listed: Vec<_> = store.list(Some(&Key::from(prefix))).try_collect().await.expect("listed");
        let mut objects = Objects::new();
        for object in listed {
            let bytes = store.get(&object.location).await.expect("there").bytes().await.expect("read");
            let key = object.location.as_ref().strip_prefix(prefix).expect("below the prefix").trim_start_matches('/').to_owned();
            if !is_own(&key) {
                objects.insert(key, bytes);
            }
        }
        objects
    })
}

/// Where an archive of a test is: in a folder or in a bucket, below `archive`.
#[derive(Debug)]
pub enum Place {
    /// A folder.
    Folder(tempfile::TempDir),
    /// A bucket.
    Bucket(Bucket),
}

impl Place {
    /// In a new folder.
    pub fn folder() -> Self {
        Self::Folder(tempfile::tempdir().expect("a folder"))
    }

    /// One in a new folder, and one in a new bucket.
    pub fn both() -> [Self; 2] {
        [Self::folder(), Self::Bucket(s3())]
    }

    /// As the program takes it.
    pub fn name(&self) -> String {
        match self {
            Self::Folder(folder) => folder.path().join("archive").to_str().expect("UTF-8").to_owned(),
            Self::Bucket(bucket) => bucket.url("archive"),
        }
    }

    /// Variables with which the program reaches it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Folder(_) => Vec::new(),
            Self::Bucket(bucket) => bucket.environment(),
        }
    }

    /// All that is there, but the archive's own object.
    pub fn all(&self) -> Objects {
        match self {
            Self::Folder(_) => files_below(self.name().as_ref()),
            Self::Bucket(bucket) => bucket.objects("archive"),
        }
    }

    /// What holds rows.
    pub fn objects(&self) -> Objects {
        self.all().into_iter().filter(|(key, _)| key.starts_with("cluster=")).collect()
    }

    /// Puts a file or an object there.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        match self {
            Self::Folder(_) => write(&Path::new(&self.name()).join(key), bytes),
            Self::Bucket(bucket) => bucket.put(&format!("archive/{key}"), &Bytes::copy_from_slice(bytes)),
        }
    }

    /// Deletes one.
    pub fn delete(&self, key: &str) {
        match self {
            Self::Folder(_) => std::fs::remove_file(Path::new(&self.name()).join(key)).expect("deleted"),
            Self::Bucket(bucket) => {
                block_on(async { bucket.store().delete(&Key::parse(format!("archive/{key}")).expect("a key")).await }).expect("deleted");
            }
        }
    }
}

/// A new bucket of the test's own. It is removed with all that is in it.
#[derive(Debug)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    store: Arc<AmazonS3>,
}

/// A new bucket on the test server.
pub fn s3() -> Bucket {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let name = format!("cc-archiver-{now:x}-{:x}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut builder = AmazonS3Builder::new().with_bucket_name(&name).with_client_options(ClientOptions::new().with_allow_http(true));
    for (variable, value) in s3_environment(endpoint()) {
        builder = builder.with_config(variable.to_ascii_lowercase().parse().expect("a known setting"), value);
    }
    let bucket = Bucket { store: Arc::new(builder.build().expect("a client")), name };
    bucket.python("make");
    bucket
}

impl Bucket {
    /// As the program takes it.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.name)
    }

    /// A client of its own.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    /// Variables with which the program and the readers reach it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        s3_environment(endpoint())
    }

    /// All objects below a prefix, by what follows it.
    pub fn objects(&self, prefix: &str) -> Objects {
        objects_in(self.store.as_ref(), prefix)
    }

    /// Puts an object there.
    pub fn put(&self, key: &str, bytes: &Bytes) {
        block_on(async { self.store.put(&Key::parse(key).expect("a key"), bytes.clone().into()).await.expect("put") });
    }

    /// Of how many parts the object was made; none if it was not a multipart upload. The ETag tells.
    pub fn parts_of(&self, key: &str) -> Option<usize> {
        let head = block_on(async { self.store.head(&Key::parse(key).expect("a key")).await.expect("there") });
        let tag = head.e_tag.expect("an ETag");
        tag.trim_matches('"').split_once('-').map(|(_, parts)| parts.parse().expect("a count"))
    }

    /// Keys of multipart uploads that were neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<String> {
        self.python("uploads").lines().map(str::to_owned).collect()
    }

    /// Gives the bucket a rule that aborts uploads which nobody finishes.
    pub fn abort_unfinished_uploads(&self) {
        self.python("expire");
    }

    /// Begins a multipart upload and leaves it open.
    pub fn leave_upload_open(&self) {
        self.python("begin");
    }

    /// How each object is stored, in the order of their keys.
    pub fn shown(&self) -> Vec<Value> {
        self.python("show").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn python(&self, what: &str) -> String {
        python("s3.py", &[what, &self.name], &self.environment())
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let removed = python_command("s3.py", &["remove", &self.name], &self.environment()).output();
        // a second panic would hide the first one
        if !std::thread::panicking() {
            let run: Run = removed.expect("Python runs").into();
            assert!(run.code == 0, "{} was not removed:\n{}", self.name, run.stderr);
        }
    }
}

/// Waits for a future.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
