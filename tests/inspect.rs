//! `inspect` shows any file of the input or the output, and of a damaged one as much as can be read, with where and why it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use serde_json::Value;

use support::{DAY, Level, MIDNIGHT, Run, Snapshot, T0, Tree, archive, archiver, files_below, fixture, noise, rows_in, run, s3};

mod support;

fn inspect(file: &Path, flags: &[&str]) -> Run {
    run(archiver().arg("inspect").arg(file).args(["--quiet", "--progress", "never"]).args(flags))
}

fn facts(file: &Path, code: i32) -> Value {
    inspect(file, &["--json"]).expect(code).summary()
}

fn golden(path: &str) -> PathBuf {
    fixture("golden/checkpoints").join(path)
}

/// A golden file somewhere else, with other bytes.
fn written(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("beta/n01").join(name);
    support::write(&path, bytes);
    path
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// An archive of the golden tree.
fn archived(flags: &[&str]) -> (Tree, tempfile::TempDir, BTreeMap<String, Bytes>) {
    let (tree, folder) = (Tree::golden(), folder());
    archive(tree.path(), folder.path(), flags).expect(0);
    let objects = files_below(folder.path());
    (tree, folder, objects)
}

/// The lines of CSV behind its header, by column.
fn csv(run: &Run) -> Vec<BTreeMap<String, String>> {
    let mut lines = run.stdout.lines().map(|line| line.split(',').map(str::to_owned));
    let head: Vec<String> = lines.next().expect("a header").collect();
    lines.map(|line| head.iter().cloned().zip(line).collect()).collect()
}

/// (host, metric, selector, time, bits) of each sample.
fn samples(run: &Run) -> Vec<(String, String, String, i64, u32)> {
    let bits = |line: &BTreeMap<String, String>| line["value"].parse::<f32>().expect("a number").to_bits();
    let one = |line: BTreeMap<String, String>| {
        let time = line["timestamp"].parse().expect("a time");
        (line["hostname"].clone(), line["metric"].clone(), line["selector"].clone(), time, bits(&line))
    };
    csv(run).into_iter().map(one).collect()
}

fn check(name: &str, text: &str, folder: &Path) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{8}T\d{6}Z-[0-9a-f]{4}", "[run]");
    settings.add_filter(r"cc-archiver \d+\.\d+\.\d+\S*,", "cc-archiver [version],");
    settings.add_filter(r"[0-9a-f]{64}", "[digest]");
    // compressed bytes may change with a library; their columns with them
    settings.add_filter(r"(?m)^(hostname|scope|metric|scope_id|selector|timestamp|frequency|value)( +\S+ +\S+) +[\d,]+", "$1$2 [size]");
    settings.add_filter(r"object of an archive, [\d,]+ bytes", "object of an archive, [size] bytes");
    settings.add_filter(r"[\d.]+ bytes a row", "[n] bytes a row");
    settings.add_filter(r"ledger    \d+ bytes", "ledger    [size] bytes");
    settings.add_filter(r"(?m)^( +\d+  [\d,]+) +[\d,]+  n01", "$1  [size]  n01");
    settings.set_omit_expression(true);
    let neutral = text.replace(folder.to_str().expect("UTF-8"), "[folder]");
    settings.bind(|| insta::assert_snapshot!(name, neutral));
}

// ---- what is whole ----

#[test]
fn each_kind_of_file_is_shown() {
    let root = fixture("golden");
    for (name, file, code) in [
        ("bin", "beta/n02/1772326800.bin", 0),
        ("json", "alpha/n03/1772325000.json", 0),
        ("wal", "beta/n06/current.wal", 0),
        ("wal-damaged", "beta/n08/current.wal", 3),
    ] {
        let shown = inspect(&golden(file), &[]).expect(code);
        // quiet: only what is not well
        assert_eq!(shown.stderr.contains("exit_code=3"), code == 3, "{file}: {}", shown.stderr);
        assert_eq!(shown.stderr.lines().count(), usize::from(code == 3), "{file}: {}", shown.stderr);
        check(name, &shown.stdout, &root);
    }
    let (_tree, folder, _) = archived(&["--cluster", "beta"]);
    let object = folder.path().join("cluster=beta/date=2026-03-01/part-00-00000.parquet");
    check("object", &inspect(&object, &[]).expect(0).stdout, folder.path());
    check("values", &inspect(&object, &["--values", "--metric", "cpu_load", "--to", "2026-03-01T07:00:00Z"]).expect(0).stdout, folder.path());
    check("archive", &inspect(&folder.path().join("_cc-archiver.json"), &[]).expect(0).stdout, folder.path());
}

#[test]
fn json_says_the_same_as_the_text() {
    let shown = facts(&golden("beta/n01/1772344800.bin"), 0);
    assert_eq!((&shown["kind"], &shown["format"], &shown["host"], &shown["cluster"]), (&"snapshot".into(), &"bin".into(), &"n01".into(), &"beta".into()));
    assert_eq!((&shown["from"], &shown["to"], &shown["size"]), (&1_772_344_800.into(), &1_772_388_000.into(), &4_634.into()));
    let series = shown["series"]["list"].as_array().expect("a list");
    let sum = |key: &str| series.iter().map(|one| one[key].as_u64().expect("a count")).sum::<u64>();
    assert_eq!((sum("samples"), sum("nan")), (shown["series"]["samples"].as_u64().expect("a sum"), shown["series"]["nan"].as_u64().expect("a sum")));
    assert_eq!((shown["series"]["samples"].as_u64(), shown["damage"].as_array().map(Vec::len)), (Some(899), Some(0)));
    let missing: u64 = series.iter().flat_map(|one| one["gaps"]["first"].as_array().expect("gaps")).map(|gap| gap["missing"].as_u64().expect("a count")).sum();
    assert!(missing > 0 && missing <= sum("nan"), "{missing}");
    let log = facts(&golden("beta/n06/current.wal"), 0);
    assert_eq!((&log["kind"], &log["records"], &log["series"]["count"]), (&"log".into(), &120.into(), &3.into()));
    let (_tree, folder, objects) = archived(&["--row-group-rows", "300"]);
    for (key, bytes) in &objects {
        let shown = facts(&folder.path().join(key), 0);
        let rows = rows_in(key, bytes);
        assert_eq!((&shown["kind"], shown["rows"].as_u64(), shown["size"].as_u64()), (&"object".into(), Some(rows.len() as u64), Some(bytes.len() as u64)));
        let groups = shown["row_groups"].as_array().expect("row groups");
        assert_eq!(groups.iter().map(|group| group["rows"].as_u64().expect("a count")).sum::<u64>(), rows.len() as u64);
        assert_eq!(groups[0]["bounds"]["hostname"][0], rows[0].hostname.as_str());
        let sources: Vec<&Value> = shown["sources"].as_array().expect("a ledger").iter().collect();
        let ledger = support::ledger_of(bytes).expect("a ledger");
        assert_eq!(sources, ledger.iter().collect::<Vec<_>>(), "{key}");
        assert_eq!(shown["blake3"], support::footer_of(bytes).expect("a footer")["cc-archiver.digest"].as_str());
    }
    assert!(objects.len() > 3);
}

#[test]
fn the_records_of_a_log_are_its_samples() {
    let expected = std::fs::read_to_string(fixture("golden/expected-wal.csv")).expect("read");
    let expected: Vec<Vec<&str>> = expected.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for (host, code) in [("n06", 0), ("n07", 3), ("n08", 3)] {
        let shown = inspect(&golden(&format!("beta/{host}/current.wal")), &["--csv"]).expect(code);
        let found: BTreeSet<_> =
            samples(&shown).into_iter().map(|(host, metric, selector, time, bits)| (host, metric, selector, time, format!("{bits:08x}"))).collect();
        let of_host = expected.iter().filter(|line| line[2] == host);
        let wanted: BTreeSet<_> =
            of_host.map(|line| (line[2].to_owned(), line[3].to_owned(), line[6].to_owned(), line[7].parse().expect("a time"), line[9].to_owned())).collect();
        assert!(found == wanted && wanted.len() > 100, "{host}: {} of {}", found.len(), wanted.len());
    }
}

#[test]
fn the_samples_of_a_snapshot_and_of_an_object_are_those_that_are_archived() {
    let level = |seed| Level::default().metric("flops", 60, T0 + 1, noise(seed, 100)).metric("odd", 1, T0, [f32::INFINITY, f32::NAN, -0.0, 1e-45, f32::MIN]);
    let root = level(1).child("socket0", ("socket", "0"), level(2).child("core/1", ("core/1", ""), level(3)));
    let tree = Tree::new();
    tree.bin("c", "n1", &Snapshot { from: T0, to: T0 + 6_000, root });
    let archived = folder();
    archive(tree.path(), archived.path(), &["--row-group-rows", "64"]).expect(0);
    let (key, bytes) = files_below(archived.path()).into_iter().next().expect("an object");
    let expected: Vec<_> = rows_in(&key, &bytes).into_iter().map(|row| (row.hostname, row.metric, row.selector, row.timestamp, row.bits)).collect();
    assert_eq!(expected.len(), 312);
    assert_eq!(samples(&inspect(&archived.path().join(&key), &["--csv"]).expect(0)), expected);
    assert_eq!(samples(&inspect(&tree.path().join(format!("c/n1/{T0}.bin")), &["--csv"]).expect(0)), expected);
}

#[test]
fn compressed_snapshots_and_those_under_other_names_are_shown_as_the_plain_ones() {
    let (folder, shown) = (folder(), |path: &Path| facts(path, 0)["series"].clone());
    for name in ["beta/n01/1772344800.bin", "alpha/n01/1772344800.json"] {
        let bytes = std::fs::read(golden(name)).expect("read");
        let plain = shown(&golden(name));
        let (stem, ending) = name.rsplit_once('/').and_then(|(_, file)| file.split_once('.')).expect("a name");
        let zst = zstd::encode_all(&bytes[..], 3).expect("compressed");
        let packed = written(&folder, &format!("{stem}.{ending}.zst"), &zst);
        assert_eq!(shown(&packed), plain);
        assert_eq!(facts(&packed, 0)["format"], format!("{ending}.zst"));
        assert_eq!(inspect(&packed, &["--csv"]).expect(0).stdout.lines().count(), 1 + plain["samples"].as_u64().expect("a count") as usize);
        // less memory than its values take
        assert_eq!(inspect(&packed, &["--memory", "64MiB", "--json"]).expect(0).summary()["series"], plain);
        assert_eq!(shown(&written(&folder, "copy", &bytes)), plain);
        let unfinished = facts(&written(&folder, &format!("{stem}.{ending}.tmp"), &bytes), 0);
        assert!(unfinished["notes"][0].as_str().is_some_and(|note| note.contains("never archived")), "{unfinished}");
    }
    let log = std::fs::read(golden("beta/n06/current.wal")).expect("read");
    assert_eq!(shown(&written(&folder, "old-log", &log)), shown(&golden("beta/n06/current.wal")));
}

#[test]
fn neighbours_that_are_alike_stand_on_one_line() {
    let tree = Tree::new();
    let core = || Level::default().metric("clock", 60, T0, [1.0; 10]);
    let socket =
        (0..72).fold(Level::default().metric("mem_bw", 60, T0, [1.0; 10]), |level, n| level.child(&format!("core{n}"), ("core", &n.to_string()), core()));
    tree.bin("c", "n1", &Snapshot { from: T0, to: T0 + 600, root: Level::default().child("socket0", ("socket", "0"), socket) });
    let shown = inspect(&tree.path().join(format!("c/n1/{T0}.bin")), &[]).expect(0).stdout;
    assert!(shown.contains("    core0 … core71 (72 alike)\n      clock "), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.contains("clock")).count(), 1);
}

// ---- filters ----

#[test]
fn filters_choose_levels_metrics_hosts_and_times() {
    let file = golden("beta/n01/1772344800.bin");
    let series = |flags: &[&str]| -> BTreeSet<(String, String)> {
        let shown = inspect(&file, &[&["--json"], flags].concat()).expect(0).summary();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        shown["series"]["list"].as_array().expect("a list").iter().map(|one| (text(&one["selector"]), text(&one["metric"]))).collect()
    };
    let all = series(&[]);
    assert_eq!(all.len(), 13);
    assert_eq!(series(&["--selector", ""]), all.iter().filter(|(path, _)| path.is_empty()).cloned().collect());
    assert_eq!(
        series(&["--selector", "hwthread*", "--metric", "cl?ck"]),
        all.iter().filter(|(path, metric)| path.starts_with("hwthread") && metric == "clock").cloned().collect()
    );
    assert_eq!((series(&["--host", "n0*"]).len(), series(&["--host", "n2"]).len()), (13, 0));
    let between = ["--csv", "--from", "2026-03-01T07:00:00Z", "--to", "1772349000"];
    let times: BTreeSet<i64> = samples(&inspect(&file, &between).expect(0)).into_iter().map(|sample| sample.3).collect();
    assert_eq!((times.first(), times.last()), (Some(&1_772_348_400), Some(&1_772_348_700)), "the first is shown, the end is not");
    let log = samples(&inspect(&golden("beta/n06/current.wal"), &["--csv", "--selector", "hw*", "--from", "1772323260", "--to", "1772323380"]).expect(0));
    assert_eq!(log.iter().map(|sample| (&*sample.2, sample.3)).collect::<Vec<_>>(), [("hwthread0", 1_772_323_260), ("hwthread0", 1_772_323_320)]);
}

#[test]
fn of_an_object_only_row_groups_that_can_match_are_read() {
    let tree = Tree::new();
    for host in ["n1", "n2", "n3"] {
        tree.bin("c", host, &Snapshot::minutes(T0, noise(1, 300)));
    }
    let folder = folder();
    archive(tree.path(), folder.path(), &["--row-group-rows", "300", "--compression", "none"]).expect(0);
    let (key, whole) = files_below(folder.path()).into_iter().next().expect("an object");
    let object = folder.path().join(key);
    let groups = facts(&object, 0)["row_groups"].as_array().expect("row groups").clone();
    assert_eq!(groups.len(), 3);
    // the pages of the second one are spoiled
    let begin = groups[1]["offset"].as_u64().expect("an offset") as usize;
    let mut spoiled = whole.to_vec();
    spoiled[begin..begin + 30].fill(0xff);
    std::fs::write(&object, spoiled).expect("written");
    for (host, code) in [("n1", 0), ("n2", 3), ("n3", 0)] {
        let shown = inspect(&object, &["--csv", "--host", host]).expect(code);
        assert_eq!(samples(&shown).len(), if code == 0 { 300 } else { 0 }, "{host}");
    }
    let all = inspect(&object, &["--values", "--json"]).expect(3).summary();
    assert_eq!((all["count"].as_u64(), all["values"].as_array().map(Vec::len)), (Some(600), Some(600)));
    let damage = &all["damage"][0];
    assert!(damage["offset"] == begin && damage["reason"].as_str().is_some_and(|why| why.contains("row group 1")), "{damage}");
    assert_eq!(facts(&object, 0)["row_groups"].as_array().map(Vec::len), Some(3), "the footer is whole");
}

// ---- what is damaged ----

/// Where a log could end: behind its magic, and behind each record.
fn ends_of_records(log: &[u8]) -> BTreeSet<usize> {
    let behind = |at: &usize| Some(at + 12 + u32::from_le_bytes(*log.get(at + 4..)?.first_chunk()?) as usize);
    std::iter::successors(Some(4), behind).collect()
}

#[test]
fn a_file_that_is_cut_anywhere_is_shown_up_to_there() {
    let (_tree, archived, objects) = archived(&["--cluster", "beta"]);
    let (key, object) = objects.iter().next().expect("an object");
    assert!(archived.path().join(key).is_file());
    let read = |name: &str| std::fs::read(golden(name)).expect("read");
    let json = read("alpha/n03/1772325000.json");
    let zst = zstd::encode_all(&json[..], 3).expect("compressed");
    let files = [
        ("1772326800.bin", read("beta/n02/1772326800.bin")),
        ("1772325000.json", json),
        ("1772325000.json.zst", zst),
        ("current.wal", read("beta/n06/current.wal")),
        ("part.parquet", object.to_vec()),
    ];
    let folder = folder();
    for (name, bytes) in files {
        let mut last = 0;
        for n in 0..48 {
            let cut = n * bytes.len() / 48;
            let path = written(&folder, name, &bytes[..cut]);
            let run = inspect(&path, &["--json"]);
            assert!(!run.stderr.contains("panicked"), "{name} cut at {cut}: {}", run.stderr);
            let shown = run.summary();
            // a log can end behind any record
            let is_whole = name == "current.wal" && ends_of_records(&bytes).contains(&cut);
            assert_eq!(run.code, if is_whole { 0 } else { 3 }, "{name} cut at {cut}: {shown}");
            let damage = shown["damage"].as_array().expect("a list");
            assert!(
                is_whole || damage.iter().all(|damage| damage["offset"].as_u64().is_some() && damage["reason"].as_str().is_some_and(|why| !why.is_empty())),
                "{shown}"
            );
            assert!(is_whole || !damage.is_empty());
            let samples = shown["series"]["samples"].as_u64().unwrap_or(0);
            assert!(samples >= last, "{name} cut at {cut}: {samples} samples, and {last} before");
            last = samples;
            if name.ends_with(".bin") && cut >= 20 {
                assert_eq!(shown["from"], 1_772_326_800, "its header is whole");
            }
            let values = inspect(&path, &["--csv"]).expect(run.code);
            assert_eq!(values.stdout.lines().count() as u64, 1 + samples, "{name} cut at {cut}");
        }
        assert!(last > 0 || !["1772326800.bin", "current.wal"].contains(&name), "something was shown of {name}");
    }
}

#[test]
fn a_file_with_any_byte_changed_ends_nothing() {
    let (_tree, _folder, objects) = archived(&["--cluster", "beta"]);
    let object = objects.values().next().expect("an object");
    let read = |name: &str| std::fs::read(golden(name)).expect("read");
    let folder = folder();
    for (name, bytes) in [
        ("1772323200.bin", read("beta/n03/1772323200.bin")),
        ("1772323200.json", read("alpha/n03/1772323200.json")),
        ("current.wal", read("beta/n06/current.wal")),
        ("part.parquet", object.to_vec()),
    ] {
        for n in 0..60_usize {
            let at = if name.ends_with("parquet") { bytes.len() - 1 - n * 40 } else { n * bytes.len() / 60 };
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (n % 8);
            let run = inspect(&written(&folder, name, &changed), &["--json"]);
            assert!([0, 3].contains(&run.code) && !run.stderr.contains("panicked"), "{name}, byte {at}: {run:?}");
            assert_eq!(run.code == 3, run.summary()["damage"].as_array().is_some_and(|damage| !damage.is_empty()), "{name}, byte {at}");
            if name == "current.wal" && at >= 4 {
                assert_eq!(run.summary()["records"], 119, "one record is lost, byte {at}");
            }
        }
    }
}

#[test]
fn a_damaged_ledger_leaves_the_footer() {
    let (_tree, archived, objects) = archived(&["--cluster", "beta"]);
    let (key, bytes) = objects.iter().next().expect("an object");
    let footer = bytes.len() - 8 - support::footer_size(bytes);
    let mut changed = bytes.to_vec();
    changed[footer - 5] ^= 1;
    std::fs::write(archived.path().join(key), changed).expect("written");
    let shown = facts(&archived.path().join(key), 3);
    assert_eq!((&shown["kind"], shown["rows"].as_u64()), (&"parquet".into(), Some(rows_in(key, bytes).len() as u64)));
    assert!(shown["damage"][0]["reason"].as_str().is_some_and(|why| why.contains("its ledger is not the one that was written")), "{shown}");
    assert_eq!(shown["damage"][0]["offset"], footer);
}

// ---- what is not ours ----

#[test]
fn parquet_of_other_programs_is_shown_for_what_it_is() {
    let folder = folder();
    let write = |name: &str, columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let mut file = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        let path = folder.path().join(name);
        support::write(&path, &file);
        path
    };
    let text = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let times = || Arc::new(Int64Array::from(vec![T0, T0 + 60])) as ArrayRef;
    let values = Arc::new(Float64Array::from(vec![0.1, 1e300])) as ArrayRef;
    let theirs = write("theirs.parquet", vec![("hostname", text(["n1", "n2"])), ("metric", text(["m", "m"])), ("timestamp", times()), ("value", values)]);
    let shown = facts(&theirs, 0);
    assert_eq!((&shown["kind"], &shown["rows"], &shown["columns"][0]["name"]), (&"parquet".into(), &2.into(), &"hostname".into()));
    assert!(inspect(&theirs, &[]).expect(0).stdout.contains("Parquet of another program"));
    let rows = csv(&inspect(&theirs, &["--csv"]).expect(0));
    assert_eq!((&*rows[0]["value"], &*rows[0]["hostname"], &*rows[0]["selector"], rows.len()), ("0.1", "n1", "", 2));
    let other = write("other.parquet", vec![("x", times())]);
    assert_eq!(facts(&other, 0)["rows"], 2);
    let refused = inspect(&other, &["--values"]).expect(1);
    assert!(refused.stderr.contains("it has no column metric") && refused.stderr.contains("its columns are x"), "{}", refused.stderr);
    // one of ours under another name
    let (_tree, _archived, objects) = archived(&[]);
    let copy = folder.path().join("copy of an object.parquet");
    support::write(&copy, objects.values().next().expect("an object"));
    let shown = facts(&copy, 0);
    assert_eq!(shown["kind"], "object");
    assert!(shown["notes"][0].as_str().is_some_and(|note| note.contains("it was written as cluster=alpha/date=")), "{shown}");
}

// ---- what is mistyped ----

#[test]
fn a_wrong_name_is_answered_with_the_right_form() {
    let (tree, archived, _) = archived(&[]);
    let says = |path: &Path, flags: &[&str], code: i32, what: &str| {
        let run = inspect(path, flags).expect(code);
        assert!(run.stderr.contains(what), "{}: {}", path.display(), run.stderr);
        assert_eq!(run.stdout, "");
    };
    let snapshot = tree.path().join("beta/n01/1772344800.bin");
    says(archived.path(), &[], 2, "is an archive, and inspect shows one file");
    says(tree.path(), &[], 2, "name one file in it; for an archive as a whole use ls");
    says(&tree.path().join("beta/n01/1772344801.bin"), &[], 2, "the nearest name in its directory is 1772344800.bin");
    says(&tree.path().join("beta/n99/1772344800.bin"), &[], 2, "there is no directory");
    says(&PathBuf::from("s3://bucket"), &[], 2, "part-00-00000.parquet");
    says(&snapshot, &["--csv", "--json"], 2, "two forms of the same samples");
    says(&snapshot, &["--values", "--ledger"], 2, "leave one of them out");
    says(&snapshot, &["--from", "2026-03-02", "--to", "2026-03-01"], 2, "--from does not come before --to");
    assert_eq!(inspect(&tree.path().join("beta/n01/1.bin"), &["--csv"]).expect(2).stdout, "", "not even a header");
    let notes = tree.path().join("notes.txt");
    std::fs::write(&notes, "no data").expect("written");
    says(&notes, &[], 1, "neither its name nor its first bytes");
    let fifo = tree.path().join("1.bin");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("run").success());
    says(&fifo, &[], 1, "it is no regular file");
    // a link is followed: the user names it
    let link = tree.path().join("link.bin");
    std::os::unix::fs::symlink(&snapshot, &link).expect("linked");
    assert_eq!(facts(&link, 0)["series"], facts(&snapshot, 0)["series"]);
}

#[test]
fn nothing_is_written_and_no_lock_is_needed() {
    let (tree, archived, objects) = archived(&[]);
    let before = tree.state();
    let held = std::fs::File::open(tree.path()).expect("opened");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    facts(&tree.path().join("beta/n01/1772344800.bin"), 0);
    for key in objects.keys() {
        facts(&archived.path().join(key), 0);
    }
    assert!(tree.state() == before && files_below(archived.path()) == objects);
    let names: BTreeSet<_> = std::fs::read_dir(archived.path()).expect("listed").map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(names.iter().all(|name| name != "_tmp"), "{names:?}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let tree = Tree::new();
    let root = (0..20).fold(Level::default(), |level, m| level.metric(&format!("m{m}"), 1, MIDNIGHT, noise(m, DAY as usize)));
    tree.bin("c", "n1", &Snapshot { from: MIDNIGHT, to: MIDNIGHT + DAY, root });
    let mut command = archiver();
    command.arg("inspect").arg(tree.path().join(format!("c/n1/{MIDNIGHT}.bin"))).args(["--csv", "--quiet"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("read");
    let ended = Run::from(child.wait_with_output().expect("ended"));
    assert_eq!((ended.code, &*ended.stderr, line.trim()), (0, "", "hostname,scope,metric,scope_id,selector,timestamp,frequency,value"));
}

#[test]
fn memory_stays_far_below_a_snapshot_that_does_not_fit() {
    let tree = Tree::new();
    // 138 MB of values
    let root = (0..400).fold(Level::default(), |level, m| level.metric(&format!("m{m}"), 1, MIDNIGHT, vec![m as f32; DAY as usize]));
    tree.bin("c", "n1", &Snapshot { from: MIDNIGHT, to: MIDNIGHT + DAY, root });
    let file = tree.path().join(format!("c/n1/{MIDNIGHT}.bin"));
    let metrics = tree.path().join("metrics.prom");
    let shown = inspect(&file, &["--memory", "64MiB", "--json", "--metrics-file", metrics.to_str().expect("UTF-8")]).expect(0).summary();
    assert_eq!(shown["series"]["samples"], 400 * DAY);
    let text = std::fs::read_to_string(&metrics).expect("metrics");
    let peak = text.lines().find_map(|line| line.strip_prefix("cc_archiver_run_peak_memory_bytes{command=\"inspect\"} ")).expect("a peak");
    assert!(peak.parse::<f64>().expect("a number") < f64::from(64 << 20), "{peak}");
}

// ---- in a bucket ----

#[test]
fn an_object_in_a_bucket_is_shown_as_one_in_a_directory() {
    let (bucket, tree, archived) = (s3(), Tree::golden(), folder());
    archive(tree.path(), archived.path(), &[]).expect(0);
    let with = |args: &[&str]| run(archiver().args(args).args(["--quiet", "--progress", "never"]).envs(bucket.environment()));
    let without_place = |mut shown: Value| {
        let object = shown.as_object_mut().expect("an object");
        ["run_id", "path"].iter().for_each(|key| drop(object.remove(*key)));
        shown
    };
    for (key, bytes) in files_below(archived.path()) {
        bucket.put(&format!("archive/{key}"), &bytes);
        let url = bucket.url(&format!("archive/{key}"));
        let local = archived.path().join(&key);
        let metrics = archived.path().join("metrics.prom");
        let shown = with(&["inspect", &url, "--json", "--metrics-file", metrics.to_str().expect("UTF-8")]).expect(0).summary();
        assert_eq!(without_place(shown), without_place(facts(&local, 0)));
        let text = std::fs::read_to_string(&metrics).expect("metrics");
        let requests = text.lines().filter(|line| line.starts_with("cc_archiver_store_requests_total{"));
        let counts = requests.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok()).expect("a count"));
        assert_eq!(counts.sum::<f64>(), 2.0, "a HEAD, and its end: {text}");
        std::fs::remove_file(&metrics).expect("removed");
        let flags = ["--csv", "--metric", "cpu*"];
        assert_eq!(with(&[&["inspect", &url], &flags[..]].concat()).expect(0).stdout, inspect(&local, &flags).expect(0).stdout);
    }
    let snapshot = std::fs::read(tree.path().join("beta/n01/1772344800.bin")).expect("read");
    bucket.put("kept/beta/n01/1772344800.bin", &snapshot.into());
    let shown = with(&["inspect", &bucket.url("kept/beta/n01/1772344800.bin"), "--json"]).expect(0).summary();
    assert_eq!((&shown["host"], &shown["series"]["samples"]), (&"n01".into(), &899.into()));
    let missing = with(&["inspect", &bucket.url("archive/cluster=beta/date=2026-03-01/part-00-00009.parquet")]).expect(1);
    assert!(missing.stderr.contains("cannot open s3://") && missing.stderr.contains("there is no such object"), "{}", missing.stderr);
    let prefix = with(&["inspect", &bucket.url("archive")]).expect(1);
    assert!(prefix.stderr.contains("ls shows what an archive holds"), "{}", prefix.stderr);
}
