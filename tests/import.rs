//! `import` takes the Parquet files of cc-backend's own archiver over: each row once, whatever else the archive holds, and nothing is changed or deleted.

use std::collections::BTreeMap;
use std::path::Path;

use cc_archiver::files::Filter;
use cc_archiver::scan::{memory_of, scan_files};
use serde_json::{Value, json};

use support::old_archive::{derived, groups_of, of_file, write_file};
use support::{DAY, Level, MIDNIGHT, Row, Run, Snapshot, T0, Tree, archive, archiver, assert_same_rows, files_below, ledger_of, noise, rows_of, run, write};

mod support;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn import(files: &[&Path], archive: &Path, flags: &[&str]) -> Run {
    run(archiver().arg("import").args(files).arg(archive).args(["--json", "--progress", "never"]).args(flags))
}

/// Levels as a tree has them: sockets with cores below, and the hardware threads of old names.
fn host(from: i64, values: &[f32]) -> Snapshot {
    let level = |metric: &str, step: f32| Level::default().metric(metric, 60, from, values.iter().map(|value| value + step).collect::<Vec<_>>());
    let root = level("cpu_load", 0.0)
        .child("socket0", ("socket", "0"), level("power", 1.0).child("core1", ("core", "1"), level("flops", 2.0)))
        .child("cpu7", ("hwthread", "7"), level("ipc", 3.0))
        .child("accelerator00000000:49:00.0", ("accelerator", "00000000:49:00.0"), level("gpu", 4.0))
        .child("weird", ("weird", ""), level("odd", 5.0));
    Snapshot { from, to: from + 60 * values.len() as i64, root }
}

/// Two snapshots of a host that overlap by some hours, and go past midnight.
fn overlapping(seed: u64) -> [Snapshot; 2] {
    let values = noise(seed, 1_300);
    [host(T0, &values[..900]), host(T0 + 60 * 700, &values[700..])]
}

fn rows_in(archive: &Path) -> Vec<Row> {
    rows_of(&files_below(archive))
}

#[track_caller]
fn assert_clean(archive: &Path) {
    let verified = run(archiver().arg("verify").arg(archive).args(["--decode", "--json"])).expect(0).summary();
    assert_eq!(verified["findings"], json!([]), "{verified}");
}

fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("{name}: {summary}"))
}

// ---- what comes into the archive ----

#[test]
fn rows_are_those_of_the_checkpoints_with_derived_selectors_and_each_once() {
    let (files, target) = (folder(), folder());
    let (one, two) = (overlapping(1), overlapping(2));
    // the second file has the newest of the first again, and older ones of a host that the first has not
    write_file(&files.path().join("fritz/1772400000.parquet"), &groups_of("fritz", &[("n1", &one), ("n2", &two[..1])]), &[]);
    write_file(&files.path().join("fritz/1772500000.parquet"), &groups_of("fritz", &[("n2", &two), ("n1", &one[1..])]), &[]);
    write_file(&files.path().join("alex/1772400000.parquet"), &groups_of("alex", &[("n1", &two)]), &["--compression", "snappy"]);
    let before = files_below(files.path());
    let summary = import(&[files.path()], target.path(), &[]).expect(0).summary();
    let expected = |cluster: &str, host: &str, snapshots: &[Snapshot]| snapshots.iter().flat_map(|s| s.rows(cluster, host)).collect::<Vec<_>>();
    let all = [expected("fritz", "n1", &one), expected("fritz", "n2", &two)].concat();
    let all = [derived(all), derived(expected("alex", "n1", &two))].concat();
    assert_same_rows("import", rows_in(target.path()), &all);
    assert_eq!((count(&summary, "files"), count(&summary, "rows_written")), (5, all.len() as u64), "{summary}");
    assert_eq!((count(&summary, "superseded_rows"), count(&summary, "conflicting_rows")), (0, 0), "{summary}");
    assert!(count(&summary, "duplicates_dropped") > 0, "{summary}");
    assert_eq!(files_below(files.path()), before, "the files stay as they are");
    assert_clean(target.path());

    // again, and from copies under other names, with other times and in other pages
    let archived = files_below(target.path());
    let copies = folder();
    write(&copies.path().join("fritz-old.parquet"), &before["fritz/1772400000.parquet"]);
    write_file(&copies.path().join("fritz-new.parquet"), &groups_of("fritz", &[("n2", &two), ("n1", &one[1..])]), &["--bare", "--times", "us"]);
    for from in [files.path(), copies.path()] {
        let again = import(&[from], target.path(), &[]).expect(0).summary();
        assert_eq!((count(&again, "files"), count(&again, "rows_written"), count(&again, "objects_written")), (0, 0, 0), "{again}");
        assert_eq!(files_below(target.path()), archived, "{}", from.display());
    }
}

/// What cc-backend itself wrote, with any names, values and levels.
#[test]
fn the_golden_checkpoints_come_through_cc_backends_archive() {
    let (tree, archived, files, target) = (Tree::golden(), folder(), folder(), folder());
    archive(tree.path(), archived.path(), &[]).expect(0);
    let mut groups: BTreeMap<(String, String), Vec<Row>> = BTreeMap::new();
    rows_in(archived.path()).into_iter().for_each(|row| groups.entry((row.cluster.clone(), row.hostname.clone())).or_default().push(row));
    let in_file: Vec<Vec<Value>> = groups.values().map(|rows| rows.iter().map(of_file).collect()).collect();
    write_file(&files.path().join("1772400000.parquet"), &in_file, &[]);
    import(&[files.path()], target.path(), &[]).expect(0);
    let expected: Vec<Row> = groups.into_values().flat_map(derived).collect();
    assert_same_rows("golden", rows_in(target.path()), expected);
    assert_clean(target.path());
}

#[test]
fn ledgers_name_the_row_group_of_each_source() {
    let (files, target) = (folder(), folder());
    write_file(&files.path().join("1772400000.parquet"), &groups_of("c", &[("n1", &overlapping(1)), ("n2", &overlapping(2))]), &[]);
    import(&[files.path()], target.path(), &[]).expect(0);
    let of = |bytes| ledger_of(bytes).expect("a ledger").into_iter().map(|entry| entry["path"].as_str().expect("a path").to_owned()).collect::<Vec<_>>();
    for bytes in files_below(target.path()).values() {
        assert_eq!(of(bytes), ["n1/1772400000.parquet#0", "n2/1772400000.parquet#1"]);
    }
}

#[test]
fn a_row_group_may_have_several_hosts_and_rows_in_any_order() {
    let snapshots: Vec<Snapshot> = (0..3).map(|seed| host(T0, &noise(seed, 400))).collect();
    let rows: Vec<Row> = snapshots.iter().enumerate().flat_map(|(i, s)| s.rows(if i == 2 { "d" } else { "c" }, &format!("n{i}"))).collect();
    let mut mixed = rows.clone();
    mixed.sort_by_key(|row| (row.timestamp, row.metric.clone(), row.hostname.clone()));
    let mut backwards = rows.clone();
    backwards.sort_by_key(|row| std::cmp::Reverse((row.metric.clone(), row.timestamp)));
    for (name, rows_of_file, flags) in [
        ("by time", &mixed, &[][..]),
        ("backwards", &backwards, &["--compression", "snappy"]),
        ("bare", &mixed, &["--bare", "--compression", "none", "--times", "ms", "--double"]),
    ] {
        let (files, target) = (folder(), folder());
        let groups: Vec<Vec<Value>> = rows_of_file.chunks(rows.len() / 2 + 1).map(|rows| rows.iter().map(of_file).collect()).collect();
        write_file(&files.path().join("all.parquet"), &groups, flags);
        import(&[files.path()], target.path(), &[]).expect(0);
        let expected = [derived(rows.iter().filter(|row| row.cluster == "c").cloned()), derived(rows.iter().filter(|row| row.cluster == "d").cloned())];
        assert_same_rows(name, rows_in(target.path()), expected.concat());
        assert_clean(target.path());
        let only = folder();
        import(&[files.path()], only.path(), &["--cluster", "c", "--host", "n1"]).expect(0);
        assert_same_rows(name, rows_in(only.path()), derived(rows.iter().filter(|row| row.hostname == "n1").cloned()));
    }
}

#[test]
fn rows_that_follow_no_grid_and_rows_without_a_value() {
    let row = |time: i64, bits: Value| json!(["c", "n1", "m", "node", "", time, 60, bits]);
    // thousands of times of their own; where one stands twice the later in the file stays
    let mut rows: Vec<Value> = (0..3_000).map(|i| row(MIDNIGHT + 7 * i * i % 80_000, json!(i))).collect();
    rows.push(row(MIDNIGHT + 80_001, Value::Null));
    rows.push(row(MIDNIGHT + 80_002, json!(f32::NAN.to_bits())));
    let mut expected: BTreeMap<i64, u32> = BTreeMap::new();
    expected.extend((0..3_000).map(|i| (MIDNIGHT + 7 * i * i % 80_000, i as u32)));
    let (files, target) = (folder(), folder());
    write_file(&files.path().join("odd.parquet"), &[rows], &[]);
    let summary = import(&[files.path()], target.path(), &[]).expect(0).summary();
    let found: Vec<(i64, u32)> = rows_in(target.path()).into_iter().map(|row| (row.timestamp, row.bits)).collect();
    assert_eq!(found, expected.iter().map(|(time, bits)| (*time, *bits)).collect::<Vec<_>>());
    assert_eq!(count(&summary, "superseded_rows"), 3_000 - expected.len() as u64, "what contradicts is counted: {summary}");
    assert_clean(target.path());
}

#[test]
fn memory_that_is_too_little_for_a_row_group_changes_nothing() {
    let (files, roomy, tight) = (folder(), folder(), folder());
    // more than may go on at a time
    let root = Level::default().metric("a", 1, T0, noise(1, 600_000)).metric("b", 1, T0, noise(2, 600_000));
    let long = Snapshot { from: T0, to: T0 + 600_000, root };
    write_file(&files.path().join("long.parquet"), &groups_of("c", &[("n1", &[long])]), &[]);
    import(&[files.path()], roomy.path(), &[]).expect(0);
    import(&[files.path()], tight.path(), &["--memory", "64MiB"]).expect(0);
    assert_eq!(rows_in(tight.path()), rows_in(roomy.path()));
    // and the digest of the rows does not depend on it
    let copy = folder();
    write(&copy.path().join("copy.parquet"), &files_below(files.path())["long.parquet"]);
    let again = import(&[copy.path()], tight.path(), &[]).expect(0).summary();
    assert_eq!((count(&again, "files"), count(&again, "already_archived")), (0, 1), "{again}");
}

// ---- beside checkpoints ----

/// A tree of snapshots of the host n1, and a file of others.
fn tree_and_file(in_tree: &[Snapshot], in_file: &[Snapshot]) -> (Tree, tempfile::TempDir) {
    let (tree, files) = (Tree::new(), folder());
    in_tree.iter().for_each(|snapshot| tree.bin("c", "n1", snapshot));
    write_file(&files.path().join("1772400000.parquet"), &groups_of("c", &[("n1", in_file)]), &[]);
    (tree, files)
}

#[test]
fn what_checkpoints_have_archived_stays_and_only_the_rest_is_imported() {
    let [one, two] = overlapping(1);
    for gone in [false, true] {
        let (tree, files) = tree_and_file(std::slice::from_ref(&two), &[one.clone(), two.clone()]);
        let target = folder();
        archive(tree.path(), target.path(), &[]).expect(0);
        if gone {
            std::fs::remove_file(tree.path().join(format!("c/n1/{}.bin", two.from))).expect("removed");
        }
        let summary = import(&[files.path()], target.path(), &[]).expect(0).summary();
        let real = two.rows("c", "n1");
        let is_new = |row: &Row| row.timestamp < two.from;
        let expected = [real.clone(), derived(one.rows("c", "n1")).into_iter().filter(is_new).collect()].concat();
        assert_same_rows("both", rows_in(target.path()), expected);
        // those of the file that stand there twice are counted twice
        let held = [&one, &two].into_iter().flat_map(|snapshot| snapshot.rows("c", "n1")).filter(|row| !is_new(row)).count() as u64;
        assert_eq!((count(&summary, "already_archived_rows"), count(&summary, "conflicting_rows")), (held, 0), "{summary}");
        assert_clean(target.path());
    }
}

#[test]
fn what_was_imported_stays_when_its_checkpoints_come_later() {
    let [one, two] = overlapping(1);
    let (tree, files) = tree_and_file(&[one.clone(), two.clone()], std::slice::from_ref(&one));
    let target = folder();
    import(&[files.path()], target.path(), &[]).expect(0);
    let summary = archive(tree.path(), target.path(), &[]).expect(0).summary();
    let is_new = |row: &Row| row.timestamp >= one.to;
    let expected = [derived(one.rows("c", "n1")), two.rows("c", "n1").into_iter().filter(is_new).collect()].concat();
    assert_same_rows("both", rows_in(target.path()), expected.clone());
    assert_eq!(count(&summary, "conflicting_rows"), 0, "{summary}");
    assert_clean(target.path());

    // neither of them has anything new any more, also when the objects of a date have become one
    for compacted in [false, true] {
        if compacted {
            let made = archived_long_ago(target.path());
            run(archiver().arg("compact").arg(target.path()).args(["--json"])).expect(0);
            assert!(files_below(target.path()).len() < made, "objects became one");
        }
        let again = [archive(tree.path(), target.path(), &[]), import(&[files.path()], target.path(), &[])].map(|run| run.expect(0).summary());
        assert!(again.iter().all(|summary| count(summary, "objects_written") == 0), "{again:?}");
        assert_same_rows("again", rows_in(target.path()), expected.clone());
        assert_clean(target.path());
    }
    // and a copy of the rows in another file, of which compaction has left no trace as a source
    write_file(&files.path().join("other.parquet"), &groups_of("c", &[("n1", &[two.clone(), one.clone()])]), &[]);
    let other = import(&[files.path()], target.path(), &[]).expect(0).summary();
    assert_eq!(count(&other, "rows_written"), 0, "{other}");
    assert_same_rows("a copy", rows_in(target.path()), expected);
}

/// Makes objects older than compaction waits; says how many there are.
fn archived_long_ago(archive: &Path) -> usize {
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * DAY as u64);
    let objects = files_below(archive);
    objects.keys().for_each(|key| std::fs::File::options().write(true).open(archive.join(key)).and_then(|f| f.set_modified(long_ago)).expect("set"));
    objects.len()
}

#[test]
fn a_snapshot_whose_rows_were_imported_is_pruned_with_proof_and_the_file_stays() {
    let [one, two] = overlapping(1);
    let (tree, files) = tree_and_file(&[one.clone(), two.clone()], &[one.clone(), two.clone()]);
    let (target, before) = (folder(), files_below(files.path()));
    import(&[files.path()], target.path(), &[]).expect(0);
    archive(tree.path(), target.path(), &[]).expect(0);
    let prune = || run(archiver().arg("prune").args([tree.path(), target.path()]).args(["--older-than", "1h", "--json"]));
    let pruned = prune().expect(0).summary();
    assert_eq!(count(&pruned, "pruned"), 1, "{pruned}");
    assert_eq!(files_below(tree.path()).into_keys().collect::<Vec<_>>(), [format!("c/n1/{}.bin", two.from)]);
    assert_eq!(files_below(files.path()), before);

    // a damaged object holds what the other snapshot dropped: it stays
    let (tree, target) = (Tree::new(), folder());
    [one, two].iter().for_each(|snapshot| tree.bin("c", "n1", snapshot));
    import(&[files.path()], target.path(), &[]).expect(0);
    archive(tree.path(), target.path(), &[]).expect(0);
    let first = target.path().join("cluster=c/date=2026-03-01/part-00-00000.parquet");
    let mut bytes = std::fs::read(&first).expect("read");
    bytes[40] ^= 1;
    std::fs::write(&first, bytes).expect("written");
    let kept = run(archiver().arg("prune").args([tree.path(), target.path()]).args(["--older-than", "1h", "--json"])).expect(3).summary();
    assert_eq!(count(&kept, "pruned"), 0, "{kept}");
}

#[test]
fn other_values_of_checkpoints_are_counted_and_the_archived_ones_stay() {
    let (one, other) = (host(T0, &noise(1, 100)), host(T0, &noise(2, 100)));
    let (tree, files) = tree_and_file(&[other], std::slice::from_ref(&one));
    let target = folder();
    import(&[files.path()], target.path(), &[]).expect(0);
    let summary = archive(tree.path(), target.path(), &[]).expect(0).summary();
    assert_eq!(count(&summary, "conflicting_rows"), one.rows("c", "n1").len() as u64, "{summary}");
    assert_same_rows("the first", rows_in(target.path()), derived(one.rows("c", "n1")));
}

/// Two sockets, each with a core of the same name.
fn ambiguous(from: i64, values: [&[f32]; 2]) -> Snapshot {
    let core = |values: &[f32]| Level::default().child("core0", ("core", "0"), Level::default().metric("flops", 60, from, values));
    let root = Level::default().child("socket0", ("socket", "0"), core(values[0])).child("socket1", ("socket", "1"), core(values[1]));
    Snapshot { from, to: from + 60 * values[0].len() as i64, root }
}

/// In a file the two cores cannot be told apart: of an instant one value is imported. Checkpoints that come later add the other, and this one not again.
#[test]
fn of_levels_of_one_name_nothing_is_lost_that_checkpoints_have() {
    let (a, b) = (noise(1, 100), noise(2, 100));
    let both = ambiguous(T0, [&a, &b]);
    let (tree, files) = tree_and_file(std::slice::from_ref(&both), std::slice::from_ref(&both));
    let target = folder();
    let imported = import(&[files.path()], target.path(), &[]).expect(0).summary();
    assert_eq!((count(&imported, "rows_written"), count(&imported, "superseded_rows")), (100, 100), "{imported}");
    let summary = archive(tree.path(), target.path(), &[]).expect(0).summary();
    assert_eq!((count(&summary, "rows_written"), count(&summary, "already_archived_rows")), (100, 100), "{summary}");
    let values = |rows: Vec<Row>| {
        let mut values: Vec<(i64, u32)> = rows.into_iter().map(|row| (row.timestamp, row.bits)).collect();
        values.sort_unstable();
        values
    };
    assert_eq!(values(rows_in(target.path())), values(both.rows("c", "n1")));
    assert_clean(target.path());

    // the other way round the archive has all of them
    let other = folder();
    archive(tree.path(), other.path(), &[]).expect(0);
    import(&[files.path()], other.path(), &[]).expect(0);
    assert_same_rows("the checkpoints", rows_in(other.path()), both.rows("c", "n1"));
}

#[test]
fn imported_rows_are_restored_and_shown_as_others() {
    let (files, target, restored) = (folder(), folder(), folder());
    let one = host(T0, &noise(1, 300));
    write_file(&files.path().join("f.parquet"), &groups_of("c", &[("n1", std::slice::from_ref(&one))]), &[]);
    import(&[files.path()], target.path(), &[]).expect(0);
    run(archiver().arg("restore").arg(target.path()).arg(restored.path())).expect(0);
    let again = folder();
    archive(restored.path(), again.path(), &[]).expect(0);
    assert_same_rows("restored", rows_in(again.path()), derived(one.rows("c", "n1")));
    let object = files_below(target.path()).into_keys().next().expect("an object");
    for command in [&["ls"][..], &["coverage"]] {
        run(archiver().args(command).arg(target.path())).expect(0);
    }
    let shown = run(archiver().arg("inspect").arg(target.path().join(object))).expect(0).stdout;
    assert!(shown.contains("f.parquet#0"), "{shown}");
}

// ---- what is wrong ----

#[test]
fn a_file_that_is_none_costs_only_itself_and_is_named_with_the_reason() {
    let (files, target) = (folder(), folder());
    let one = host(T0, &noise(1, 300));
    let good = groups_of("c", &[("n1", std::slice::from_ref(&one))]);
    let at = |name: &str| files.path().join(name);
    write_file(&at("good.parquet"), &good, &[]);
    let bytes = files_below(files.path())["good.parquet"].clone();
    write(&at("cut.parquet"), &bytes[..bytes.len() / 2]);
    write(&at("empty.parquet"), b"");
    write(&at("text.parquet"), &[b'x'; 5_000]);
    write_file(&at("lacks.parquet"), &good, &["--without", "scope_id"]);
    write_file(&at("lz4.parquet"), &good, &["--compression", "lz4"]);
    let odd = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut row = vec![json!("c"), json!("n9"), json!("m"), json!("socket"), json!("0"), json!(T0), json!(60), json!(1)];
        change(&mut row);
        vec![vec![Value::from(row)]]
    };
    write_file(&at("no-frequency.parquet"), &odd(&|row| row[6] = json!(0)), &[]);
    write_file(&at("no-level.parquet"), &odd(&|row| row[4] = json!("x")), &[]);
    write_file(&at("no-host.parquet"), &odd(&|row| row[1] = json!("a/b")), &[]);
    write_file(&at("no-metric.parquet"), &odd(&|row| row[2] = Value::Null), &[]);
    write_file(&at("late.parquet"), &odd(&|row| row[5] = json!(300_000_000_000_i64)), &[]);
    // a damaged page of a row group: the other one is imported
    let two = groups_of("c", &[("n2", std::slice::from_ref(&one)), ("n3", std::slice::from_ref(&one))]);
    write_file(&at("damaged.parquet"), &two, &[]);
    let mut damaged = std::fs::read(at("damaged.parquet")).expect("read");
    damaged[100..200].fill(0xff);
    write(&at("damaged.parquet"), &damaged);
    let own = folder();
    import(&[&at("good.parquet")], own.path(), &[]).expect(0);
    let object = files_below(own.path()).into_values().next().expect("an object");
    write(&at("own.parquet"), &object);

    let summary = import(&[files.path()], target.path(), &[]).expect(3).summary();
    let reasons: BTreeMap<String, String> = summary["set_aside"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|note| (note["path"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned(), note["reason"].to_string()))
        .collect();
    for (name, reason) in [
        ("cut.parquet", "no Parquet file"),
        ("empty.parquet", "no Parquet file"),
        ("text.parquet", "no Parquet file"),
        ("lacks.parquet", "no column scope_id"),
        ("lz4.parquet", "column cluster is compressed by LZ4"),
        ("no-frequency.parquet#0", "row 0: its frequency is missing, or not positive"),
        ("no-level.parquet#0", "no level of the scope"),
        ("no-host.parquet", "is the name of no host"),
        ("no-metric.parquet#0", "row 0: its metric is missing"),
        ("late.parquet", "leave the years 1970 to 9999"),
        ("damaged.parquet#0", "column"),
        ("own.parquet", "an object of an archive of cc-archiver"),
    ] {
        assert!(reasons.get(name).is_some_and(|found| found.contains(reason)), "{name}: {reasons:#?}");
    }
    assert_eq!(reasons.len(), 12, "{reasons:#?}");
    assert_same_rows("the rest", rows_in(target.path()), derived([one.rows("c", "n1"), one.rows("c", "n3")].concat()));
}

#[test]
fn a_slip_shows_the_right_form_and_touches_nothing() {
    let (files, target, empty) = (folder(), folder(), folder());
    write_file(&files.path().join("f.parquet"), &groups_of("c", &[("n1", &[host(T0, &noise(1, 10))])]), &[]);
    let archive_path = target.path().join("archive");
    let (file, tree) = (files.path().join("f.parquet"), Tree::golden());
    let cases: [(&[&Path], &str); 6] = [
        (&[&file], "import needs files and an archive"),
        (&[&archive_path, &file], "is a file, and no archive"),
        (&[&target.path().join("nothing"), &archive_path], "cannot read"),
        (&[empty.path(), &archive_path], "there is no file *.parquet"),
        (&[tree.path(), &archive_path], "is a checkpoint tree"),
        (&[files.path(), &files.path().join("archive")], "lies in"),
    ];
    for (paths, expected) in cases {
        let run = run(archiver().arg("import").args(paths)).expect(2);
        assert!(run.stderr.contains(expected), "{paths:?}: {}", run.stderr);
    }
    let only = run(archiver().arg("import").args([&file, &archive_path]).args(["--cluster", "d"])).expect(2);
    assert!(only.stderr.contains("there are no rows of the clusters and hosts that are asked for"), "{}", only.stderr);
    assert!(only.stderr.contains("there are rows of c"), "{}", only.stderr);
    assert!(!archive_path.exists());
    let dry = run(archiver().arg("import").args([&file, &archive_path]).arg("--dry-run")).expect(0);
    assert!(dry.stdout.contains("1 hosts") && !archive_path.exists(), "{}", dry.stdout);
}

#[test]
fn more_row_groups_than_there_is_memory_for_are_refused_before_anything_is_read() {
    let files = folder();
    for name in ["a", "b", "c"] {
        let hosts = [("n1", &[host(T0, &noise(1, 10))][..]), ("n2", &[host(T0, &noise(2, 10))][..])];
        write_file(&files.path().join(format!("{name}.parquet")), &groups_of("c", &hosts), &[]);
    }
    let paths = [files.path().to_owned()];
    let tree = scan_files(&paths, &Filter::default(), 1 << 20).expect("there is room");
    let all = memory_of(&tree);
    assert_eq!((tree.size(), all % 6), ((2, 6), 0), "as much for each");
    assert!(scan_files(&paths, &Filter::default(), all).is_ok());
    let refused = scan_files(&paths, &Filter::default(), all - 1).expect_err("no room for the last").to_string();
    assert!(refused.contains("the first 3 of 3 files have 6 row groups, and there is memory for 5"), "{refused}");
    assert!(scan_files(&paths, &Filter::default(), all / 2).expect_err("no room for the second").to_string().contains("the first 2 of 3"));
}

#[test]
fn the_archive_may_be_named_by_a_setting() {
    let (files, target) = (folder(), folder());
    let file = files.path().join("f.parquet");
    write_file(&file, &groups_of("c", &[("n1", &[host(T0, &noise(1, 10))])]), &[]);
    let config = files.path().join("config.json");
    let archive_path = target.path().join("archive");
    std::fs::write(&config, json!({"archive": archive_path, "checkpoints": "/nowhere"}).to_string()).expect("written");
    run(archiver().arg("import").arg(&file).arg("--config").arg(&config)).expect(0);
    let again = run(archiver().arg("import").arg(&file).env("CC_ARCHIVER_ARCHIVE", &archive_path).arg("--json")).expect(0).summary();
    assert_eq!((count(&again, "already_archived"), count(&again, "files")), (1, 0));
    let option = run(archiver().args(["import", "--archive"]).arg(&archive_path).arg(&file).arg("--json")).expect(0).summary();
    assert_eq!(count(&option, "already_archived"), 1);
}
