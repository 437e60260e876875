//! Bad input costs its own file and nothing else: it is named, with the place and the reason, its neighbours are
//! archived, and no byte of the tree is touched. What is odd but valid is archived as it stands.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cc_archiver::buffers::Buffers;
use cc_archiver::checkpoint::{self, Flaw, Form, Raw, Refusal, Room};
use cc_archiver::data::{Place, Rows, Snapshot, Tally};
use cc_archiver::files::{self, Compression, Format, Kind, SnapshotFile};
use cc_archiver::merge::{Input, Merge};
use cc_archiver::names::{Date, Digest, Host};
use cc_archiver::read::{self, Unread};
use cc_archiver::rows::{self, Behind};
use cc_archiver::spool::Tools;
use parquet::file::reader::SerializedFileReader;
use parquet::record::RowAccessor;
use proptest::prelude::*;
use serde_json::Value;

/// 2026-03-01T00:00:00Z: where the good snapshots begin.
const T: i64 = 1_772_323_200;
/// Where the bad ones begin, by their names.
const BAD: i64 = T + 43_200;
const MIB: u64 = 1 << 20;

// ---- building files ----

fn name(text: &[u8]) -> Vec<u8> {
    let mut out = (text.len() as u16).to_le_bytes().to_vec();
    out.extend(text);
    out
}

fn metric(text: &[u8], frequency: i64, start: i64, values: &[u32]) -> Vec<u8> {
    let mut out = name(text);
    out.extend(frequency.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend((values.len() as u32).to_le_bytes());
    out.extend(values.iter().flat_map(|bits| bits.to_le_bytes()));
    out
}

fn level(metrics: &[Vec<u8>], children: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let mut out = (metrics.len() as u32).to_le_bytes().to_vec();
    out.extend(metrics.concat());
    out.extend((children.len() as u32).to_le_bytes());
    for (child, below) in children {
        out.extend(name(child));
        out.extend(below);
    }
    out
}

fn bin(root: &[u8]) -> Vec<u8> {
    let mut out = 0xCC5B_0001_u32.to_le_bytes().to_vec();
    out.extend(T.to_le_bytes());
    out.extend((T + 43_200).to_le_bytes());
    out.extend(root);
    out
}

fn floats(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The host's metric `m` with the values 1, 2, 3. Offsets: 20 count of metrics, 24 length of the name, 26 the name,
/// 27 frequency, 35 start, 43 count of values, 47 values, 59 count of children, 63 the end.
fn small_bin() -> Vec<u8> {
    bin(&level(&[metric(b"m", 60, T, &floats(&[1.0, 2.0, 3.0]))], &[]))
}

/// Two levels, two metrics, a NaN.
fn nested_bin() -> Vec<u8> {
    let below = level(&[metric("größe".as_bytes(), 10, T, &floats(&[0.5, f32::NAN]))], &[]);
    bin(&level(&[metric(b"m", 60, T, &floats(&[1.0, 2.0, 3.0]))], &[(b"socket0", below.clone()), (b"gpu/1", below)]))
}

fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = small_bin();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// A JSON snapshot of one metric.
fn json_of(metric: &str) -> Vec<u8> {
    format!(r#"{{"metrics":{{"m":{metric}}}}}"#).into_bytes()
}

fn json_data(data: &str) -> Vec<u8> {
    json_of(&format!(r#"{{"frequency":60,"start":{T},"data":{data}}}"#))
}

const NESTED_JSON: &str = r#"{"from":1772323200,"to":1772366400,"unit":[{"a":null}],
    "metrics":{"m":{"unit":{"base":"W"},"frequency":60,"start":1772323200,"data":[1,-0.0,null,1.5e-3]}},
    "children":{"socket0":{"metrics":{"gr\u00f6\u00dfe":{"data":[2],"start":1772323200,"frequency":10}},"children":null}}}"#;

fn compressed(bytes: &[u8], compression: Compression) -> Vec<u8> {
    use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
    use tokio::io::AsyncReadExt;
    let mut out = Vec::new();
    let done = match compression {
        Compression::None => return bytes.to_vec(),
        Compression::Gzip => futures::executor::block_on(GzipEncoder::new(bytes).read_to_end(&mut out)),
        Compression::Zstd => futures::executor::block_on(ZstdEncoder::new(bytes).read_to_end(&mut out)),
    };
    done.expect("compressed in memory");
    out
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    compressed(bytes, Compression::Gzip)
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    compressed(bytes, Compression::Zstd)
}

// ---- trees and runs ----

struct Site {
    folder: tempfile::TempDir,
}

/// A path's kind, length, time of change, and bytes where it is a file.
type State = BTreeMap<PathBuf, (String, u64, SystemTime, Option<Vec<u8>>)>;

#[derive(Debug)]
struct Run {
    code: Option<i32>,
    summary: Value,
    stderr: String,
}

fn years_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000)
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir_all(site.tree().join("c")).expect("created");
        site
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn host(&self, host: &str) -> PathBuf {
        let path = self.tree().join("c").join(host);
        fs::create_dir_all(&path).expect("created");
        path
    }

    /// A file that nobody has written to for years.
    fn put(&self, host: &str, file: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.host(host).join(file);
        fs::write(&path, bytes).expect("written");
        set_modified(&path, years_ago());
        path
    }

    /// The good snapshot of a host: three rows.
    fn put_good(&self, host: &str) {
        self.put(host, format!("{T}.bin"), &small_bin());
    }

    fn run(&self, args: &[&str]) -> Run {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_cc-archiver"));
        command.env_clear().arg("archive").arg(self.tree()).arg(self.archive()).args(["--json", "--progress", "never"]).args(args);
        // what hangs is killed, and then has no exit code
        let output = command.timeout(Duration::from_secs(60)).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let summary = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("no summary ({e}), {:?}: {stderr}", output.status));
        Run { code: output.status.code(), summary, stderr }
    }

    /// All rows of the archive: host, selector, metric, time, bits of the value.
    fn rows(&self) -> Vec<Row> {
        let mut all = Vec::new();
        for path in files_below(&self.archive()).into_iter().filter(|path| path.extension() == Some(OsStr::new("parquet"))) {
            let reader = SerializedFileReader::new(File::open(&path).expect("opened")).expect("parquet");
            for row in reader {
                let row = row.expect("a row");
                let column = |name: &str| row.get_column_iter().position(|(column, _)| column == name).expect("a column");
                let text = |name| row.get_string(column(name)).expect("a string").clone();
                let time = row.get_long(column("timestamp")).expect("a time");
                let bits = row.get_float(column("value")).expect("a value").to_bits();
                all.push((text("hostname"), text("selector"), text("metric"), time, bits));
            }
        }
        all.sort();
        all
    }

    fn state(&self) -> State {
        let mut state = State::new();
        let mut open = vec![self.tree()];
        while let Some(path) = open.pop() {
            let status = fs::symlink_metadata(&path).expect("a status");
            let kind = status.file_type();
            if kind.is_dir() {
                open.extend(fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").path()));
            }
            let small = kind.is_file() && status.len() < 64 * MIB;
            let bytes = small.then(|| fs::read(&path).expect("read"));
            state.insert(path, (format!("{kind:?}"), status.len(), status.modified().expect("a time"), bytes));
        }
        state
    }
}

type Row = (String, String, String, i64, u32);

fn set_modified(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).expect("opened").set_modified(time).expect("set");
}

fn files_below(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| !path.ends_with("_cc-archiver.json"));
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn good_rows(host: &str) -> Vec<Row> {
    let row = |i: i64| (host.to_owned(), String::new(), "m".to_owned(), T + (i - 1) * 60, (i as f32).to_bits());
    (1..=3).map(row).collect()
}

fn notes<'a>(run: &'a Run, list: &str) -> &'a [Value] {
    run.summary[list].as_array().unwrap_or_else(|| panic!("no list {list}: {run:?}"))
}

/// What a bad file is expected to be said of.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Exactly this byte.
    Byte(u64),
    /// Some byte of the file.
    Somewhere,
    /// No byte: it is the file as a whole.
    Whole,
}
use At::{Byte, Somewhere, Whole};

struct Bad {
    file: OsString,
    bytes: Vec<u8>,
    at: At,
    says: &'static str,
}

fn bad(ending: &str, bytes: impl Into<Vec<u8>>, at: At, says: &'static str) -> Bad {
    Bad { file: format!("{BAD}.{ending}").into(), bytes: bytes.into(), at, says }
}

/// Each of `cases` lies beside a good snapshot in a host of its own. One run over all of them archives every good one
/// and names every bad one; the tree stays as it was; and a second run has the same to say, and nothing to write.
fn cost_only_themselves(cases: &[Bad], args: &[&str]) {
    let site = Site::new();
    let host = |i: usize| format!("h{i:03}");
    for (i, case) in cases.iter().enumerate() {
        site.put_good(&host(i));
        site.put(&host(i), &case.file, &case.bytes);
    }
    let before = site.state();
    let first = site.run(args);
    check_set_aside(&site, cases, &first);
    assert_eq!(first.summary["files"], cases.len(), "one good file in every host");
    let expected: Vec<Row> = (0..cases.len()).flat_map(|i| good_rows(&host(i))).collect();
    assert_eq!(site.rows(), expected);
    assert!(site.state() == before, "the tree was touched");

    let objects = files_below(&site.archive());
    let second = site.run(args);
    assert_eq!((second.code, &second.summary["set_aside"]), (Some(3), &first.summary["set_aside"]), "a re-run says the same");
    assert_eq!((&second.summary["already_archived"], &second.summary["rows_written"]), (&cases.len().into(), &0.into()));
    assert_eq!(files_below(&site.archive()), objects, "a re-run writes nothing");
    assert!(site.state() == before, "the tree was touched by the re-run");
}

fn check_set_aside(site: &Site, cases: &[Bad], run: &Run) {
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(run.summary["waiting"], Value::Array(Vec::new()));
    let listed = notes(run, "set_aside");
    for (i, case) in cases.iter().enumerate() {
        let path = site.tree().join(format!("c/h{i:03}")).join(&case.file);
        let what = format!("{}, which should say {:?}", path.display(), case.says);
        let shown = path.to_str().expect("plain names in these cases");
        let note = listed.iter().find(|note| note["path"] == shown).unwrap_or_else(|| panic!("{what} is not set aside"));
        let reason = note["reason"].as_str().expect("a reason");
        assert!(reason.contains(case.says), "{what}, says {reason:?}");
        let offset = note.get("offset").and_then(Value::as_u64);
        let as_expected = match case.at {
            Byte(at) => offset == Some(at),
            Somewhere => offset.is_some_and(|offset| offset <= case.bytes.len() as u64),
            Whole => offset.is_none(),
        };
        assert!(as_expected, "{what}, expected {:?}, says byte {offset:?}: {reason}", case.at);
    }
    assert_eq!(listed.len(), cases.len(), "nothing else is set aside: {listed:#?}");
}

// ---- .bin ----

#[test]
fn a_damaged_binary_snapshot_costs_only_itself() {
    let max = u32::MAX.to_le_bytes();
    let with = |m: Vec<u8>| bin(&level(&[m], &[]));
    let values = floats(&[1.0, 2.0, 3.0]);
    let mut wide_name = small_bin();
    wide_name[24..26].copy_from_slice(&u16::MAX.to_le_bytes());
    let bad_child = bin(&level(&[], &[(b"socket\xff", level(&[], &[]))]));
    let years = with(metric(b"m", 86_400, T, &floats(&[1.0; 1_001])));
    cost_only_themselves(
        &[
            bad("bin", *b"PAR1 and more bytes than a header has", Byte(0), "magic"),
            bad("bin", *b"", Whole, "it is empty"),
            bad("bin", with(metric(b"m", i64::MAX, T, &floats(&[1.0]))), Somewhere, "leave the years"),
            bad("bin", &small_bin()[..3], Byte(0), "it ends in the middle: a 32-bit number takes 4 bytes, and 3 are left"),
            bad("bin", &small_bin()[..10], Byte(4), "6 are left"),
            bad("bin", &small_bin()[..50], Byte(43), "3 values are announced, more than 3 bytes can hold"),
            bad("bin", &small_bin()[..62], Byte(59), "3 are left"),
            bad("bin", patched(20, &max), Byte(20), "4294967295 metrics are announced"),
            bad("bin", patched(43, &max), Byte(43), "4294967295 values are announced"),
            bad("bin", patched(59, &max), Byte(59), "4294967295 children are announced"),
            bad("bin", wide_name, Byte(26), "a name takes 65535 bytes"),
            bad("bin", [small_bin(), vec![0]].concat(), Byte(63), "1 bytes follow the last level"),
            bad("bin", [small_bin(), small_bin()].concat(), Byte(63), "63 bytes follow the last level"),
            bad("bin", with(metric(b"\xff\xfe", 60, T, &values)), Byte(26), "not UTF-8"),
            bad("bin", with(metric(b"ok\xc3", 60, T, &values)), Byte(28), "not UTF-8"),
            bad("bin", bad_child, Byte(36), "not UTF-8"),
            bad("bin", with(metric(b"m", 0, T, &values)), Byte(27), "metric \"m\": frequency 0 is not positive"),
            bad("bin", with(metric(b"m", -60, T, &values)), Byte(27), "metric \"m\": frequency -60 is not positive"),
            bad("bin", with(metric(b"m", 60, i64::MAX, &values)), Byte(27), "leave the years 1970 to 9999"),
            bad("bin", with(metric(b"m", i64::MAX, T, &values)), Byte(27), "leave the years 1970 to 9999"),
            bad("bin", with(metric(b"m", i64::MAX, 0, &values[..2])), Byte(27), "leave the years 1970 to 9999"),
            bad("bin", with(metric(b"m", 60, -1, &values)), Byte(27), "leave the years 1970 to 9999"),
            bad("bin", with(metric(b"m", 60, i64::MIN, &values)), Byte(27), "leave the years 1970 to 9999"),
            bad("bin", years, Whole, "samples on more than 1000 dates"),
        ],
        &[],
    );
}

#[test]
fn a_million_nested_levels_in_a_binary_snapshot_cost_only_that_file() {
    // no metrics, one child, whose name is empty
    let one = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    let deep = bin(&[one.repeat(1_000_000), level(&[], &[])].concat());
    cost_only_themselves(&[bad("bin", deep, Somewhere, "levels nest deeper than")], &[]);
}

#[test]
fn a_series_that_stands_there_thousands_of_times_costs_only_that_file() {
    let named = |times: usize| bin(&level(&vec![metric(b"m", 60, T, &floats(&[1.0])); times], &[]));
    cost_only_themselves(&[bad("bin", named(1_001), Whole, "it names a series more than 1000 times")], &[]);
    assert!(decode("bin", named(1_000)).is_ok());
}

#[test]
fn a_binary_snapshot_cut_anywhere_is_refused_where_it_ends() {
    assert_refused_where_cut("bin", &nested_bin(), 3);
}

/// A whole snapshot of so many series is decoded; cut anywhere it is not, and the flaw lies before the end.
fn assert_refused_where_cut(ending: &str, whole: &[u8], series: usize) {
    assert_eq!(decode(ending, whole.to_vec()).expect("valid").index.series.len(), series);
    assert_eq!(decode(ending, Vec::new()).expect_err("it is empty").to_string(), "it is empty");
    for cut in 1..whole.len() {
        let flaw = decode(ending, whole[..cut].to_vec()).expect_err("it is cut");
        assert!(flaw.offset.is_some_and(|offset| offset <= cut as u64), "cut at {cut}: {flaw}");
    }
}

// ---- .json ----

#[test]
fn a_damaged_json_snapshot_costs_only_itself() {
    let with = |frequency: &str| json_of(&format!(r#"{{"frequency":{frequency},"start":{T},"data":[1]}}"#));
    let good = json_data("[1,2,3]");
    let cut = &good[..good.len() - 5];
    let one_line = |head: &[u8], rest: &[u8]| [head, rest].concat();
    cost_only_themselves(
        &[
            bad("json", *b"", Whole, "it is empty"),
            bad("json", *b" \n ", Somewhere, "it ends in the middle of "),
            bad("json", cut, Byte(cut.len() as u64), "it ends in the middle of "),
            bad("json", *b"[]", Byte(1), "expected a level"),
            bad("json", *b"null", Somewhere, "expected a level"),
            bad("json", *b"\xef\xbb\xbf{}", Byte(1), "expected value"),
            bad("json", one_line(&good, b"{}"), Byte(good.len() as u64 + 1), "trailing characters"),
            bad("json", one_line(&good, b"\0"), Byte(good.len() as u64 + 1), "trailing characters"),
            bad("json", *b"{\"metrics\":{\"a\xff\":null}}", Somewhere, "unicode"),
            bad("json", *br#"{"metrics":{"\ud800":{"frequency":60,"start":0,"data":[1]}}}"#, Somewhere, "hex escape"),
            bad("json", *br#"{"children":{"\udc00x":{}}}"#, Somewhere, "surrogate"),
            bad("json", with("0"), Somewhere, "metric \"m\": frequency 0 is not positive"),
            bad("json", with("-60"), Somewhere, "metric \"m\": frequency -60 is not positive"),
            bad("json", with("60.0"), Somewhere, "floating point `60.0`"),
            bad("json", with("\"60\""), Somewhere, "string \"60\""),
            bad("json", with("null"), Somewhere, "null"),
            bad("json", with("9223372036854775808"), Somewhere, "9223372036854775808"),
            bad("json", json_of(&format!(r#"{{"start":{T},"data":[1]}}"#)), Somewhere, "missing field `frequency`"),
            bad("json", json_of(r#"{"frequency":60,"data":[1]}"#), Somewhere, "missing field `start`"),
            bad("json", json_of(r#"{"frequency":60,"start":-1,"data":[1]}"#), Somewhere, "leave the years 1970 to 9999"),
            bad("json", json_of(r#"{"frequency":9223372036854775807,"start":1,"data":[1,2]}"#), Somewhere, "leave the years"),
            bad("json", json_data("[1,1e999]"), Somewhere, "out of range"),
            bad("json", json_data("[1,\"2\"]"), Somewhere, "data holds \"2\", which is no number"),
            bad("json", json_data("[1,true]"), Somewhere, "data holds true"),
            bad("json", json_data("[1,[2]]"), Somewhere, "data holds an array"),
            bad("json", json_data("[1,NaN]"), Somewhere, "expected"),
            bad("json", json_data("[1,+2]"), Somewhere, "expected value"),
            bad("json", json_data("[1,]"), Somewhere, "trailing comma"),
            bad("json", json_data("{}"), Somewhere, "data is not an array"),
            bad("json", json_of("null"), Somewhere, "expected a metric"),
            bad("json", json_of("[]"), Somewhere, "expected a metric"),
            bad("json", *br#"{"metrics":[]}"#, Somewhere, "an object of metrics"),
            bad("json", *br#"{"children":{"a":null}}"#, Somewhere, "expected a level"),
            bad("json", *br#"{"from":"1772323200"}"#, Somewhere, "expected i64"),
            bad("json", *br#"{"unknown":{"a":[1,}}"#, Somewhere, "expected value"),
        ],
        &[],
    );
}

#[test]
fn a_million_nested_levels_in_a_json_snapshot_cost_only_that_file() {
    let depth = 1_000_000;
    let values = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    cost_only_themselves(
        &[
            bad("json", format!("{}{}", r#"{"children":{"a":"#.repeat(depth), "}}".repeat(depth)), Somewhere, "levels nest deeper than"),
            bad("json", r#"{"children":{"a":"#.repeat(depth), Somewhere, "levels nest deeper than"),
            bad("json", json_data(&values), Somewhere, "which is no number"),
            bad("json", "[".repeat(depth), Somewhere, "expected a level"),
            bad("json", format!(r#"{{"unknown":{}"#, "[".repeat(depth)), Somewhere, "it ends in the middle of "),
            bad("json", format!(r#"{{"unknown":{}"#, r#"{"a":"#.repeat(depth)), Somewhere, "it ends in the middle of "),
        ],
        &[],
    );
}

#[test]
fn a_json_snapshot_cut_anywhere_is_refused_where_it_ends() {
    assert_refused_where_cut("json", NESTED_JSON.as_bytes(), 2);
}

// ---- compressed ----

#[test]
fn a_damaged_compressed_snapshot_costs_only_itself() {
    let (gz_good, zst_good) = (gz(&small_bin()), zst(&small_bin()));
    let mut flipped = gz(&nested_bin());
    let checksum = flipped.len() - 8;
    flipped[checksum] ^= 1;
    cost_only_themselves(
        &[
            bad("bin.gz", *b"", Whole, "it is empty"),
            bad("bin.zst", *b"", Whole, "it is empty"),
            bad("bin.gz", &gz_good[..gz_good.len() - 1], Whole, "it ends in the middle: cannot decompress: unexpected end of file"),
            bad("json.gz", &gz(NESTED_JSON.as_bytes())[..40], Whole, "it ends in the middle: cannot decompress: unexpected end of file"),
            bad("bin.zst", &zst_good[..zst_good.len() - 1], Whole, "cannot decompress: zstd stream did not finish"),
            bad("bin.gz", flipped, Whole, "cannot decompress"),
            bad("bin.gz", [&gz_good[..], b"garbage"].concat(), Whole, "cannot decompress"),
            bad("bin.gz", [&gz_good[..], &gz_good[..9]].concat(), Whole, "it ends in the middle: cannot decompress: unexpected end of file"),
            bad("bin.zst", [&zst_good[..], b"garbage"].concat(), Whole, "cannot decompress"),
            bad("bin.zst", [&zst_good[..], &zst_good[..9]].concat(), Whole, "cannot decompress"),
            bad("bin.gz", zst_good, Whole, "cannot decompress"),
            bad("bin.zst", gz_good, Whole, "cannot decompress"),
            // a day of seconds takes a megabyte
            bad("json.zst", zst(&json_data(&format!("[{}1]", "0,".repeat(9 << 20)))), Whole, "an array takes more than 16777216 bytes"),
            bad("bin.gz", small_bin(), Whole, "cannot decompress"),
            // whole as a stream, and bad inside: the offset is that of the decompressed file
            bad("bin.gz", gz(&patched(43, &u32::MAX.to_le_bytes())), Byte(43), "4294967295 values are announced"),
            bad("bin.zst", zst(&[small_bin(), small_bin()].concat()), Byte(63), "63 bytes follow"),
            bad("json.zst", zst(b"[]"), Byte(1), "expected a level"),
        ],
        &[],
    );
}

#[test]
fn a_compressed_snapshot_cut_anywhere_is_refused() {
    for (ending, whole) in
        [("bin.gz", gz(&nested_bin())), ("bin.zst", zst(&nested_bin())), ("json.gz", gz(NESTED_JSON.as_bytes())), ("json.zst", zst(NESTED_JSON.as_bytes()))]
    {
        assert!(decode(ending, whole.clone()).is_ok(), "{ending}");
        for cut in 0..whole.len() {
            assert!(decode(ending, whole[..cut].to_vec()).is_err(), "{ending} cut at {cut}");
        }
    }
}

#[test]
fn all_members_and_frames_of_a_compressed_snapshot_are_read() {
    let (bin, json) = (nested_bin(), NESTED_JSON.as_bytes());
    for (kind, whole) in [("bin", &bin[..]), ("json", json)] {
        let expected = decode(kind, whole.to_vec()).expect("valid");
        for cut in [0, 1, 20, whole.len() / 2, whole.len()] {
            let (head, tail) = whole.split_at(cut);
            for (ending, pack) in [("gz", gz as fn(&[u8]) -> Vec<u8>), ("zst", zst)] {
                let members = [pack(head), pack(b""), pack(tail)].concat();
                let found = decode(&format!("{kind}.{ending}"), members).unwrap_or_else(|e| panic!("{kind}.{ending} cut at {cut}: {e}"));
                let shown = |snapshot: &Snapshot| -> Vec<_> {
                    let snapshot = Arc::new(copy_of(snapshot));
                    snapshot.days.dates().map(|date| flat(date, &snapshot)).collect()
                };
                assert_eq!(shown(&found), shown(&expected), "{kind}.{ending} cut at {cut}");
            }
        }
    }
    // and through the program
    let site = Site::new();
    let (head, tail) = bin.split_at(30);
    site.put("gz", format!("{T}.bin.gz"), &[gz(head), gz(tail)].concat());
    site.put("zst", format!("{T}.bin.zst"), &[zst(head), zst(tail)].concat());
    let run = site.run(&[]);
    assert_eq!((run.code, &run.summary["rows_written"]), (Some(0), &10.into()), "{run:?}");
}

/// Behind a snapshot `times` copies of a frame or member of `size` bytes, which are all the same.
fn bomb(pack: fn(&[u8]) -> Vec<u8>, snapshot: &[u8], byte: u8, size: usize, times: usize) -> Vec<u8> {
    [pack(snapshot), pack(&vec![byte; size]).repeat(times)].concat()
}

fn a_bomb_is_refused_in_little_memory(ending: &str, bytes: Vec<u8>) {
    let site = Site::new();
    site.put_good("h000");
    let cases = [bad(ending, bytes, Whole, "it decompresses to more than")];
    site.put("h000", &cases[0].file, &cases[0].bytes);
    let run = site.run(&["--memory", "128MiB"]);
    check_set_aside(&site, &cases, &run);
    assert_eq!(site.rows(), good_rows("h000"));
    let peak = run.summary["peak_memory"].as_u64().expect("Linux tells");
    assert!(peak < 300 * MIB, "{} MiB for a file of {} KiB", peak / MIB, cases[0].bytes.len() / 1024);
}

#[test]
fn ten_gigabytes_in_a_small_zstd_file_are_refused_in_little_memory() {
    a_bomb_is_refused_in_little_memory("bin.zst", bomb(zst, &small_bin(), 0, 64 << 20, 160));
}

#[test]
fn hundreds_of_megabytes_in_a_small_gzip_file_are_refused_in_little_memory() {
    a_bomb_is_refused_in_little_memory("json.gz", bomb(gz, NESTED_JSON.as_bytes(), b' ', 16 << 20, 20));
}

#[test]
fn sixty_gigabytes_in_two_megabytes_of_zstd_are_refused_in_little_memory() {
    a_bomb_is_refused_in_little_memory("bin.zst", bomb(zst, &small_bin(), 0, 64 << 20, 1_000));
}

#[test]
fn a_file_larger_than_memory_costs_only_itself() {
    let site = Site::new();
    site.put_good("h000");
    let path = site.put("h000", format!("{BAD}.bin"), b"");
    // sparse: it takes no room on the disk
    File::options().write(true).open(&path).expect("opened").set_len(1 << 40).expect("set");
    set_modified(&path, years_ago());
    let run = site.run(&["--memory", "128MiB"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(notes(&run, "set_aside")[0]["path"], path.to_str().expect("UTF-8"));
    assert_eq!(site.rows(), good_rows("h000"));
}

#[test]
fn long_names_above_many_levels_take_memory_in_proportion_to_the_file() {
    let long = [b'x'; 65_535];
    let mut root = level(&[], &vec![(&b""[..], level(&[], &[])); 150]);
    for _ in 0..58 {
        root = level(&[], &[(&long, root)]);
    }
    let site = Site::new();
    site.put_good("h000");
    site.put("h000", format!("{BAD}.bin"), &bin(&root));
    let run = site.run(&["--memory", "128MiB"]);
    assert!(matches!(run.code, Some(0 | 3)), "{run:?}");
    assert_eq!(site.rows(), good_rows("h000"));
    let peak = run.summary["peak_memory"].as_u64().expect("Linux tells");
    assert!(peak < 300 * MIB, "{} MiB for a file of 4 MiB", peak / MIB);
}

// ---- names and kinds of files ----

#[test]
fn what_only_has_a_snapshots_name_is_set_aside_and_never_opened() {
    let site = Site::new();
    let host = site.host("h");
    site.put_good("h");
    for file in ["backup.bin", "-1.json", "1.5.bin", "0x10.json.gz", "99999999999999999999.bin", ".json", "253402300800.bin"] {
        site.put("h", file, &small_bin());
    }
    site.put("h", OsStr::from_bytes(b"1772366400\xff.bin"), &small_bin());
    let outside = site.folder.path().join("outside.bin");
    fs::write(&outside, small_bin()).expect("written");
    std::os::unix::fs::symlink(&outside, host.join("1772366401.bin")).expect("linked");
    std::os::unix::fs::symlink("nowhere", host.join("1772366402.json")).expect("linked");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, host.join("1772366403.bin"), fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    fs::create_dir(host.join("1772366404.json")).expect("created");
    let _socket = std::os::unix::net::UnixListener::bind(host.join("1772366405.bin")).expect("a socket");

    let other = site.folder.path().join("other/n01");
    fs::create_dir_all(&other).expect("created");
    fs::write(other.join(format!("{T}.bin")), small_bin()).expect("written");
    std::os::unix::fs::symlink(&other, site.tree().join("c/linked")).expect("linked");
    std::os::unix::fs::symlink(other.parent().expect("a parent"), site.tree().join("linked")).expect("linked");
    let unreadable = site.tree().join("c").join(OsStr::from_bytes(b"h\xc0st"));
    fs::create_dir(&unreadable).expect("created");
    fs::write(unreadable.join(format!("{T}.bin")), small_bin()).expect("written");
    fs::create_dir(site.tree().join(OsStr::from_bytes(b"cluster\xff"))).expect("created");

    let before = site.state();
    let run = site.run(&[]);
    assert_eq!(run.code, Some(3));
    let tree = site.tree();
    let prefix = format!("{}/", tree.display());
    let found: Vec<(&str, &str)> = notes(&run, "set_aside")
        .iter()
        .map(|note| {
            assert_eq!(note.get("offset"), None, "nothing was decoded");
            let path = note["path"].as_str().expect("a path");
            (path.strip_prefix(&prefix).unwrap_or(path), note["reason"].as_str().expect("a reason"))
        })
        .collect();
    let no_time = "the name is not a unix time in seconds";
    let mut expected = vec![
        ("c/h/-1.json", no_time),
        ("c/h/.json", no_time),
        ("c/h/0x10.json.gz", no_time),
        ("c/h/1.5.bin", no_time),
        ("c/h/1772366400\\xff.bin", "the name is not UTF-8"),
        ("c/h/1772366401.bin", "it is a symbolic link, which is never followed, not a file"),
        ("c/h/1772366402.json", "it is a symbolic link, which is never followed, not a file"),
        ("c/h/1772366403.bin", "it is a FIFO, not a file"),
        ("c/h/1772366404.json", "it is a directory, not a file"),
        ("c/h/1772366405.bin", "it is a socket, not a file"),
        ("c/h/253402300800.bin", "the time in its name is after the year 9999"),
        ("c/h/99999999999999999999.bin", no_time),
        ("c/h/backup.bin", no_time),
        ("c/h\\xc0st", "the directory's name is not UTF-8"),
        ("c/linked", "a symbolic link is never followed"),
        ("cluster\\xff", "the directory's name is not UTF-8"),
        ("linked", "a symbolic link is never followed"),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(site.rows(), good_rows("h"));
    assert!(site.state() == before, "the tree was touched");
}

fn tools() -> Tools {
    Tools { buffers: Buffers::new(0), folder: std::env::temp_dir() }
}

/// Reads on a thread of its own, so that one that hangs fails the test instead of stopping it.
fn read_within_seconds(path: PathBuf) -> Result<Bytes, Unread> {
    let (to, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let status = fs::symlink_metadata(&path).expect("a status");
        let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
        let format = Format { kind: Kind::Binary, compression: Compression::None };
        let file = SnapshotFile { name: "1.bin".into(), from: 1, format, size: status.len(), mtime: files::mtime(&status), packed: None };
        to.send(runtime.block_on(read::read(&tools(), &path, &file))).expect("awaited");
    });
    done.recv_timeout(Duration::from_secs(10)).expect("it does not hang")
}

#[test]
fn what_takes_a_files_place_after_the_scan_is_neither_followed_nor_waited_for() {
    let site = Site::new();
    let file = site.put("h", "1.bin", &small_bin());
    let (fifo, link, folder) = (site.host("h").join("2.bin"), site.host("h").join("3.bin"), site.host("h"));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    std::os::unix::fs::symlink(&file, &link).expect("linked");
    assert_eq!(read_within_seconds(file), Ok(small_bin().into()));
    for path in [fifo, link, folder] {
        assert_eq!(read_within_seconds(path.clone()), Err(Unread::Changed), "{}", path.display());
    }
}

#[test]
fn a_name_with_control_characters_stays_on_one_line_of_the_log_and_the_table() {
    let site = Site::new();
    site.put_good("h");
    site.put("h", "a\n2026-03-01 ERROR forged\u{1b}[31m.bin", b"");
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_cc-archiver"));
    let output = command.env_clear().arg("archive").arg(site.tree()).arg(site.archive()).arg("-vv").output().expect("it runs");
    assert_eq!(output.status.code(), Some(3));
    for text in [output.stdout, output.stderr] {
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(!text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("2026-03-01 ERROR")), "{text}");
    }
}

#[test]
fn what_is_no_snapshot_by_its_name_is_left_alone_silently() {
    let site = Site::new();
    site.put_good("h");
    for file in ["1772366400.bin.tmp", "1772366400.json.tmp", "current.wal", "README.txt", "1772366400.parquet", "1772366400.json.bz2", "json", "1772366400"] {
        site.put("h", file, b"not a snapshot");
    }
    fs::create_dir(site.host("h").join("lost+found")).expect("created");
    fs::write(site.tree().join("c/notes.txt"), "x").expect("written");
    fs::write(site.tree().join("c/1772366400.bin"), "x").expect("written");
    fs::write(site.tree().join("version.txt"), "2").expect("written");
    site.host("idle");
    let before = site.state();
    let run = site.run(&[]);
    assert_eq!((run.code, &run.summary["hosts_archived"]), (Some(0), &1.into()));
    assert_eq!((notes(&run, "set_aside"), notes(&run, "waiting")), (&[][..], &[][..]));
    assert!(!run.stderr.contains("WARN") && !run.stderr.contains("ERROR"), "{}", run.stderr);
    assert_eq!(site.rows(), good_rows("h"));
    assert!(site.state() == before, "the tree was touched");
}

// ---- age ----

#[test]
fn a_young_file_that_does_not_decode_waits_and_is_archived_once_it_is_whole() {
    let site = Site::new();
    site.put_good("h");
    let whole = json_data("[1,2,3]");
    let path = site.put("h", format!("{BAD}.json"), &whole[..20]);
    set_modified(&path, SystemTime::now());

    let run = site.run(&[]);
    assert_eq!((run.code, notes(&run, "set_aside")), (Some(0), &[][..]));
    let waiting = notes(&run, "waiting");
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["path"], path.to_str().expect("UTF-8"));
    let reason = waiting[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("byte 20: it ends in the middle") && reason.contains("young"), "{reason}");
    assert_eq!(site.rows(), good_rows("h"));

    let run = site.run(&["--min-age", "0s"]);
    assert_eq!((run.code, notes(&run, "waiting")), (Some(3), &[][..]));
    assert_eq!(notes(&run, "set_aside")[0]["offset"], 20);

    fs::write(&path, &whole).expect("written");
    let run = site.run(&[]);
    assert_eq!((run.code, &run.summary["files"], notes(&run, "waiting")), (Some(0), &1.into(), &[][..]), "young, but whole");
}

#[test]
fn a_files_age_is_its_time_of_change_and_the_limit_is_min_age() {
    let site = Site::new();
    site.put_good("h");
    let path = site.put("h", format!("{BAD}.bin"), b"");
    let waits = |age: i64, args: &[&str]| {
        let now = SystemTime::now();
        let time = if age < 0 { now + Duration::from_secs(age.unsigned_abs()) } else { now - Duration::from_secs(age.unsigned_abs()) };
        set_modified(&path, time);
        let run = site.run(args);
        let (waiting, set_aside) = (notes(&run, "waiting").len(), notes(&run, "set_aside").len());
        assert_eq!((waiting + set_aside, run.code), (1, Some(if waiting == 1 { 0 } else { 3 })), "{run:?}");
        waiting == 1
    };
    assert!(waits(200, &[]), "five minutes by default");
    assert!(!waits(400, &[]));
    assert!(waits(400, &["--min-age", "1h"]));
    assert!(!waits(4_000, &["--min-age", "1h"]));
    assert!(waits(-200, &[]), "clocks differ: a time of change just ahead is young");
    assert!(!waits(-4_000, &[]), "but no file is young for ever");
}

// ---- what is odd but valid ----

#[test]
fn values_of_a_binary_snapshot_are_kept_bit_for_bit_and_nan_is_no_row() {
    let kept = [0x8000_0000, 0, 1, 0x807f_ffff, 0x0080_0000, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000];
    let nan = [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff];
    let site = Site::new();
    site.put("h", format!("{T}.bin"), &bin(&level(&[metric(b"m", 1, T, &[&kept[..], &nan[..], &kept[..]].concat())], &[])));
    let run = site.run(&[]);
    assert_eq!((run.code, &run.summary["nan_skipped"]), (Some(0), &4.into()));
    let row = |(i, bits): (usize, &u32)| ("h".to_owned(), String::new(), "m".to_owned(), T + i as i64, *bits);
    let expected: Vec<Row> = kept.iter().enumerate().chain((12..).zip(&kept)).map(row).collect();
    assert_eq!(site.rows(), expected);
}

#[test]
fn values_of_a_json_snapshot_are_the_nearest_f32_and_null_is_no_row() {
    let site = Site::new();
    let data = "[7,-7,0,-0,-0.0,1e-45,-1e-46,null,37.4,0.1,16777217,18446744073709551615,1E2,3.4028236e38,1e300,-1e300,1e-400]";
    site.put("h", format!("{T}.json"), &json_data(data));
    let run = site.run(&[]);
    assert_eq!((run.code, &run.summary["nan_skipped"]), (Some(0), &1.into()), "{run:?}");
    let values: Vec<(i64, u32)> = site.rows().into_iter().map(|(.., time, bits)| ((time - T) / 60, bits)).collect();
    let expected: [f32; 17] = [
        7.0,
        -7.0,
        0.0,
        -0.0,
        -0.0,
        f32::from_bits(1),
        -0.0,
        f32::NAN,
        37.4,
        0.1,
        16_777_216.0,
        18_446_744_073_709_551_616.0,
        100.0,
        f32::INFINITY,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
    ];
    let expected: Vec<(i64, u32)> = (0..).zip(expected).filter(|(_, v)| !v.is_nan()).map(|(i, v)| (i, v.to_bits())).collect();
    assert_eq!(values, expected);
}

#[test]
fn json_keys_come_in_any_order_may_be_unknown_and_may_be_missing() {
    let m = format!(r#"{{"frequency":60,"start":{T},"data":[1,2,3]}}"#);
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let same = [
        format!(r#"{{"metrics":{{"m":{m}}},"children":{{}},"from":{T},"to":{BAD}}}"#),
        format!(r#"{{"to":{BAD},"from":{T},"children":null,"metrics":{{"m":{m}}}}}"#),
        format!(r#"{{"metrics":{{"m":{m}}}}}"#),
        format!(r#"{{"from":null,"to":null,"metrics":{{"m":{m}}}}}"#),
        format!(r#"{{"metrics":{{"m":{{"data":[1,2,3],"unit":{{"base":"B\ud800"}},"start":{T},"frequency":60,"Frequency":0}}}}}}"#),
        format!(r#"{{"metrics":{{"m":{m},"empty":{{"frequency":0,"start":0,"data":[]}},"none":{{"frequency":60,"start":0,"data":null}}}}}}"#),
        format!(r#"{{"metrics":{{"m":{m},"nodata":{{"frequency":60,"start":0}}}}}}"#),
        format!(r#"{{"metrics":{{"m":{m}}},"children":{{"socket0":{{}},"a0":{{"metrics":null,"children":null}}}}}}"#),
        format!("\n{{\"metrics\" :\t{{\"m\":\r\n{m} }} }}\n\n"),
        format!(r#"{{"metrics":{{"m":{m}}},"x":1e999999,"y":{{"z":[true,false,"\u0000"]}}}}"#),
        format!(r#"{{"x":{deep},"metrics":{{"m":{m}}}}}"#),
        format!(r#"{{"m\u0065trics":{{"\u006d":{m}}}}}"#),
    ];
    let site = Site::new();
    let host = |i: usize| format!("h{i:02}");
    for (i, text) in same.iter().enumerate() {
        site.put(&host(i), format!("{T}.json"), text.as_bytes());
    }
    site.put("no-series", format!("{T}.json"), br#"{"metrics":null,"children":null}"#);
    site.put("nothing", format!("{T}.json"), b"{}");
    let run = site.run(&[]);
    assert_eq!((run.code, notes(&run, "set_aside")), (Some(0), &[][..]));
    let rows = site.rows();
    for (i, text) in same.iter().enumerate() {
        let of_host: Vec<&Row> = rows.iter().filter(|row| row.0 == host(i)).collect();
        assert_eq!(of_host, good_rows(&host(i)).iter().collect::<Vec<_>>(), "{text:.200}");
    }
    assert_eq!(rows.len(), 3 * same.len());
    // files without a row are done as well
    assert_eq!(site.run(&[]).summary["already_archived"], same.len() + 2);
}

#[test]
fn the_last_of_two_equal_json_keys_counts() {
    let m = format!(r#"{{"data":[8,8,8,8],"frequency":1,"start":5,"start":{T},"frequency":60,"data":[1,2,3]}}"#);
    let site = Site::new();
    site.put("h", format!("{T}.json"), &json_of(&m));
    let run = site.run(&[]);
    assert_eq!((run.code, site.rows()), (Some(0), good_rows("h")), "{run:?}");
}

#[test]
fn a_snapshot_feeds_the_dates_of_its_samples_whatever_its_name_says() {
    let site = Site::new();
    let last_second = 253_402_300_799;
    let one = |start| bin(&level(&[metric(b"m", 60, start, &floats(&[1.0]))], &[]));
    site.put("late", format!("{last_second}.bin"), &one(last_second));
    site.put("early", "0.bin", &one(0));
    site.put("misnamed", "86400.bin", &one(T));
    let run = site.run(&[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let times: Vec<(String, i64)> = site.rows().into_iter().map(|(host, .., time, _)| (host, time)).collect();
    let expected = [("early", 0), ("late", last_second), ("misnamed", T)];
    assert_eq!(times, expected.map(|(host, time)| (host.to_owned(), time)));
    for date in ["1970-01-01", "9999-12-31", "2026-03-01"] {
        assert!(files_below(&site.archive().join(format!("cluster=c/date={date}"))).len() == 1, "{date}");
    }
    assert_eq!(site.run(&[]).summary["already_archived"], 3);
}

#[test]
fn a_series_that_stands_twice_in_a_snapshot_gives_each_instant_once() {
    let twice = level(
        &[metric(b"m", 60, T, &floats(&[1.0, 2.0])), metric(b"m", 60, T + 60, &floats(&[3.0, 4.0]))],
        &[(b"a0", level(&[metric(b"m", 60, T, &floats(&[5.0]))], &[])), (b"a0", level(&[metric(b"m", 60, T, &floats(&[6.0]))], &[]))],
    );
    let site = Site::new();
    site.put("h", format!("{T}.bin"), &bin(&twice));
    let run = site.run(&[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let instants: Vec<(String, i64)> = site.rows().into_iter().map(|(_, selector, _, time, _)| (selector, time)).collect();
    let expected = [("", T), ("", T + 60), ("", T + 120), ("a0", T)];
    assert_eq!(instants, expected.map(|(selector, time)| (selector.to_owned(), time)));
}

#[test]
fn a_snapshot_and_its_compressed_copy_give_each_row_once() {
    let site = Site::new();
    site.put_good("h");
    site.put("h", format!("{T}.bin.gz"), &gz(&small_bin()));
    site.put("h", format!("{T}.json"), &json_data("[9,9,9]"));
    let run = site.run(&[]);
    assert_eq!((run.code, &run.summary["files"], &run.summary["rows_written"]), (Some(0), &3.into(), &3.into()), "{run:?}");
    assert_eq!(site.rows(), good_rows("h"), ".bin wins over .json");
}

// ---- any bytes at all ----

fn format_of(ending: &str) -> Format {
    let name = format!("{T}.{ending}");
    Format::of_name(name.as_bytes()).expect("a snapshot's ending").1
}

fn decode(ending: &str, bytes: Vec<u8>) -> Result<Snapshot, Flaw> {
    decode_both_ways(bytes, format_of(ending)).unwrap_or_else(|e| panic!("{ending}: {e}"))
}

/// How many bytes come out of a file, as another decoder has it.
fn decompressed_size(bytes: &[u8], format: Format) -> std::io::Result<u64> {
    use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
    use tokio::io::AsyncReadExt;
    let mut out = Vec::new();
    match format.compression {
        Compression::None => return Ok(bytes.len() as u64),
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(bytes);
            decoder.multiple_members(true);
            futures::executor::block_on(decoder.read_to_end(&mut out))?;
        }
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(bytes);
            decoder.multiple_members(true);
            futures::executor::block_on(decoder.read_to_end(&mut out))?;
        }
    }
    Ok(out.len() as u64)
}

/// A file without a name that holds these bytes.
fn file_of(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    Arc::new(file)
}

/// Decodes a snapshot in memory, and checks that it comes to the same on disk, with little memory and with none.
fn decode_both_ways(bytes: Vec<u8>, format: Format) -> Result<Result<Snapshot, Flaw>, TestCaseError> {
    let form = Form { format, from: T, size: bytes.len() as u64, of_rows: false };
    let tools = tools();
    let file = file_of(&bytes);
    let all = Room { values: usize::MAX, index: usize::MAX };
    let checked = checkpoint::check(&file, form);
    let decoded = checkpoint::decode(&Raw::Memory(bytes.clone().into()), form, all, &tools);
    for room in [Room { values: 0, index: 0 }, Room { values: 16, index: 1_000 }] {
        let on_disk = checkpoint::decode(&Raw::File(Arc::clone(&file)), form, room, &tools);
        match (&decoded, on_disk) {
            (Ok((digest, snapshot)), Ok((same, on_disk))) => {
                prop_assert_eq!((same, on_disk.from, on_disk.to, &on_disk.days), (*digest, snapshot.from, snapshot.to, &snapshot.days));
                prop_assert_eq!(&checked, &Ok((snapshot.from, snapshot.to)));
                prop_assert_eq!(same, Digest::of(&bytes));
                let (snapshot, on_disk) = (Arc::new(copy_of(snapshot)), Arc::new(on_disk));
                for date in snapshot.days.dates() {
                    prop_assert_eq!(flat(date, &snapshot), flat(date, &on_disk));
                }
            }
            (Err(in_memory), Err(on_disk)) => prop_assert_eq!(in_memory.to_string(), on_disk.to_string()),
            (Ok(_), Err(flaw)) => return Err(TestCaseError::fail(format!("on disk: {flaw}"))),
            (Err(flaw), Ok(_)) => return Err(TestCaseError::fail(format!("in memory: {flaw}"))),
        }
    }
    match decoded {
        Ok((_, snapshot)) => Ok(Ok(snapshot)),
        Err(Refusal::Flaw(flaw)) => Ok(Err(flaw)),
        Err(Refusal::Values(e)) => panic!("there is any room: {e}"),
    }
}

/// The same snapshot, which must be in memory as a whole.
fn copy_of(snapshot: &Snapshot) -> Snapshot {
    let Snapshot { from, to, days, index, place, .. } = snapshot;
    assert_eq!(index.end, None);
    Snapshot { from: *from, to: *to, days: days.clone(), index: Arc::clone(index), place: place.clone(), reindex: None }
}

/// Rows as (metric, selector, time, bits of the value).
fn flat(date: Date, snapshot: &Arc<Snapshot>) -> Vec<(String, String, i64, u32)> {
    let rows = rows_of(date, snapshot).0;
    let keys = rows.series.iter().flat_map(|run| std::iter::repeat_n((run.key.metric.to_string(), run.key.selector.path.to_string()), run.rows));
    keys.zip(rows.expanded_times()).zip(rows.values.iter()).map(|(((metric, path), (time, _)), value)| (metric, path, time, value.to_bits())).collect()
}

fn rows_of(date: Date, snapshot: &Arc<Snapshot>) -> (Rows, Tally) {
    let mut merge =
        Merge::new(vec![Input { series: snapshot.cursor(), held: false, of_log: false, derived: false, times: date.start()..date.end() }]).expect("read");
    let behind = Behind { kept: 0, loaded: usize::MAX };
    let rows = rows::rows_of(&Host::new("h"), behind, || merge.next_series()).expect("read");
    assert!(merge.is_done(), "they are few");
    (rows, merge.tallies()[0].clone())
}

/// The values of a snapshot that are in memory.
fn values_of(snapshot: &Snapshot) -> &Bytes {
    match &snapshot.place {
        Place::Memory(values) => values,
        Place::File(_) => panic!("there is any room"),
    }
}

fn any_format() -> impl Strategy<Value = Format> {
    let kinds = prop_oneof![Just(Kind::Json), Just(Kind::Binary)];
    let compressions = prop_oneof![Just(Compression::None), Just(Compression::Gzip), Just(Compression::Zstd)];
    (kinds, compressions).prop_map(|(kind, compression)| Format { kind, compression })
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, u8),
    Number(usize, u32),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let at = || 0_usize..512;
    let number = prop_oneof![any::<u32>(), Just(0), Just(u32::MAX), Just(0x7fff_ffff), 0_u32..64];
    let text = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..9),
        proptest::sample::select(vec!["null", "[", "{", "}", "]", "\"", "\\ud800", "-", "1e999", ",", ":", "9223372036854775807", "\n", "\"data\":"])
            .prop_map(|s| s.as_bytes().to_vec()),
    ];
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, mask)| Mutation::Flip(at, mask)),
        (at(), number).prop_map(|(at, number)| Mutation::Number(at, number)),
        (at(), text).prop_map(|(at, text)| Mutation::Insert(at, text)),
        (at(), 1_usize..40).prop_map(|(at, len)| Mutation::Remove(at, len)),
        (at(), 1_usize..80).prop_map(|(at, len)| Mutation::Repeat(at, len)),
        at().prop_map(Mutation::Cut),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        let place = |at: usize| at % len.max(1);
        match self {
            _ if len == 0 => {}
            Self::Flip(at, mask) => bytes[place(*at)] ^= mask,
            Self::Number(at, number) => {
                let (at, number) = (place(*at), number.to_le_bytes());
                let end = (at + 4).min(len);
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            Self::Insert(at, text) => drop(bytes.splice(place(*at)..place(*at), text.iter().copied())),
            Self::Remove(at, count) => drop(bytes.drain(place(*at)..(place(*at) + count).min(len))),
            Self::Repeat(at, count) => bytes.extend_from_within(place(*at)..(place(*at) + count).min(len)),
            Self::Cut(at) => bytes.truncate(place(*at)),
        }
    }
}

fn valid(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Binary => nested_bin(),
        Kind::Json => NESTED_JSON.as_bytes().to_vec(),
    }
}

/// What every decoded snapshot must keep, so that no later stage can fail on it.
fn check_decoded(snapshot: Snapshot, decompressed: usize) -> Result<(), TestCaseError> {
    let (values, index) = (values_of(&snapshot).clone(), Arc::clone(&snapshot.index));
    // no number, metric or level takes less than two bytes of a file, and values take four of memory
    prop_assert!(values.len() <= 2 * decompressed, "{} bytes of values from {decompressed}", values.len());
    prop_assert!(index.series.len() <= decompressed && index.levels.len() <= decompressed);
    prop_assert!(index.series.windows(2).all(|pair| index.key(&pair[0]) <= index.key(&pair[1])));
    let mut samples = 0;
    for series in &index.series {
        let span = series.span;
        prop_assert!((series.level as usize) < index.levels.len());
        prop_assert!(span.len == 0 || (span.frequency > 0 && span.start >= 0 && span.last() >= span.start));
        prop_assert!(span.at + 4 * span.len <= values.len());
        samples += span.values(&values).filter(|v| !v.is_nan()).count() as u64;
    }
    let snapshot = Arc::new(snapshot);
    let (mut decoded, mut written) = (0, 0);
    for date in snapshot.days.dates() {
        let (rows, tally) = rows_of(date, &snapshot);
        prop_assert_eq!(rows.len() as u64, tally.written);
        prop_assert!(rows.values.iter().all(|v| !v.is_nan()));
        decoded += tally.rows;
        written += tally.written;
    }
    prop_assert_eq!(decoded, samples, "every sample lies on one of the dates");
    prop_assert!(written <= decoded);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_decoder_panic(format in any_format(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let size = decompressed_size(&bytes, format).unwrap_or(0);
        if let Ok(snapshot) = decode_both_ways(bytes, format)? {
            check_decoded(snapshot, size as usize)?;
        }
    }

    #[test]
    fn no_change_to_a_valid_file_makes_the_decoder_panic(
        format in any_format(),
        inside in proptest::collection::vec(any_mutation(), 0..4),
        outside in proptest::collection::vec(any_mutation(), 0..2),
    ) {
        let mut bytes = valid(format.kind);
        inside.iter().for_each(|mutation| mutation.apply(&mut bytes));
        let mut packed = compressed(&bytes, format.compression);
        outside.iter().for_each(|mutation| mutation.apply(&mut packed));
        let size = decompressed_size(&packed, format);
        match decode_both_ways(packed, format)? {
            Ok(snapshot) => check_decoded(snapshot, size.expect("it was decoded") as usize)?,
            Err(flaw) => {
                prop_assert!(!flaw.reason.is_empty());
                // of what cannot be decompressed as a whole the size is not known
                prop_assert!(size.is_err() || flaw.offset.is_none_or(|offset| offset <= size.as_ref().copied().unwrap_or(0)), "{} of {:?}", flaw, size);
            }
        }
    }

    #[test]
    fn what_was_compressed_in_two_pieces_comes_out_whole(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), cut in 0_usize..2_000) {
        let (head, tail) = bytes.split_at(cut.min(bytes.len()));
        for (pack, compression) in [(gz as fn(&[u8]) -> Vec<u8>, Compression::Gzip), (zst, Compression::Zstd)] {
            let size = decompressed_size(&[pack(head), pack(tail)].concat(), Format { kind: Kind::Binary, compression });
            prop_assert_eq!(size.ok(), Some(bytes.len() as u64));
        }
    }
}
