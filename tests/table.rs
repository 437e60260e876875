//! The table of an archive: made, kept up by runs of archive, read by others, and mended; in a directory and in S3.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use cc_archiver::partition::ObjectKey;
use cc_archiver::pipeline;
use cc_archiver::store::Archive;
use object_store::path::Path as Key;
use serde_json::Value;

use support::{DAY, MIDNIGHT, Objects, Place, Row, Run, Snapshot, T0, Tree, archiver, assert_same_rows, block_on, fixture, rows_of, run, without_environment};

mod support;

const READERS: [&str; 3] = ["deltalake", "polars", "duckdb"];

// ---------------------------------------------------------------- archives and their logs

impl Place {
    /// Makes the objects of a folder look as if they had been written days ago.
    fn age(&self) {
        for key in self.objects().keys() {
            let file = std::fs::File::options().write(true).open(Path::new(&self.name()).join(key)).expect("opened");
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400)).expect("set");
        }
    }

    fn command(&self, command: &str, before: &[&Path], flags: &[&str]) -> Command {
        let mut made = archiver();
        made.arg(command).args(before).arg(self.name()).args(["--json", "--progress", "never"]).args(flags).envs(self.environment());
        made.stdout(Stdio::piped()).stderr(Stdio::piped());
        made
    }

    fn archive(&self, tree: &Tree, flags: &[&str]) -> Run {
        run(&mut self.command("archive", &[tree.path()], flags))
    }

    fn table(&self, flags: &[&str]) -> Run {
        run(&mut self.command("table", &[], flags))
    }

    fn verify(&self) -> Run {
        run(&mut self.command("verify", &[], &[]))
    }

    /// Lines of all commits in order, by version.
    fn commits(&self) -> BTreeMap<u64, Vec<Value>> {
        let all = self.all();
        let commits = all.iter().filter_map(|(key, bytes)| Some((key.strip_prefix("_delta_log/")?.strip_suffix(".json")?.parse().ok()?, bytes)));
        commits.map(|(version, bytes)| (version, lines(bytes))).collect()
    }

    /// Keys of the objects that the table has, by its commits alone.
    fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        for line in self.commits().into_values().flatten() {
            let key = |action: &str| line[action]["path"].as_str().map(|path| path.replace("%25", "%"));
            files.extend(key("add"));
            if let Some(key) = key("remove") {
                files.remove(&key);
            }
        }
        files
    }

    #[track_caller]
    fn assert_up_to_date(&self) {
        assert_eq!(self.files(), self.objects().into_keys().collect());
        let again = self.table(&[]).expect(0).summary();
        assert_eq!((&again["committed"], &again["added"]), (&false.into(), &Value::Array(Vec::new())), "{again}");
    }

    /// Rows as a reader finds them by the table, one line each.
    #[track_caller]
    fn read(&self, reader: &str, flags: &[&str]) -> Vec<String> {
        let read = self.try_read(reader, flags);
        assert_eq!(read.code, 0, "{reader}: {}", read.stderr);
        read.stdout.lines().map(str::to_owned).collect()
    }

    fn try_read(&self, reader: &str, flags: &[&str]) -> Run {
        run(python("table.py").arg(reader).arg(self.name()).args(flags).envs(self.environment()))
    }
}

/// The lines of a commit.
fn lines(commit: &Bytes) -> Vec<Value> {
    commit.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

/// A script of `tests/readers`, with the readers of tables.
fn python(script: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers");
    let setup = run(Command::new(folder.join("setup")).arg("table")).expect(0);
    let mut command = Command::new(setup.stdout.trim());
    without_environment(&mut command).args(["-I", "-B"]).arg(folder.join(script)).current_dir(std::env::temp_dir());
    command
}

/// A tree with an hour of each of these hosts, from `T0` plus so many hours on; and its rows.
fn tree(cluster: &str, hosts: &[&str], hour: i64) -> (Tree, Vec<Row>) {
    let (tree, mut rows) = (Tree::new(), Vec::new());
    for host in hosts {
        let snapshot = Snapshot::minutes(T0 + 3_600 * hour, [1.5; 60]);
        tree.bin(cluster, host, &snapshot);
        rows.extend(snapshot.rows(cluster, host));
    }
    (tree, rows)
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect()
}

// ---------------------------------------------------------------- made and kept up

#[test]
fn a_table_is_made_once_and_every_run_that_writes_makes_a_version() {
    for place in Place::both() {
        let (first, second) = (tree("c", &["n1"], 0).0, tree("c", &["n2"], 0).0);
        assert!(place.archive(&first, &[]).expect(0).summary().get("table_version").is_none(), "nobody asked for one");
        let refused = place.table(&[]).expect(2);
        assert!(refused.stderr.contains("has no table") && refused.stderr.contains("--init"), "{}", refused.stderr);
        let planned = place.table(&["--init", "--dry-run"]).expect(0).summary();
        assert_eq!(strings(&planned["added"]), ["cluster=c/date=2026-03-01/part-00-00000.parquet"]);
        assert!(!place.all().keys().any(|key| key.starts_with("_delta_log")), "nothing was written");
        let made = place.table(&["--init"]).expect(0).summary();
        assert_eq!((&made["version"], &made["files"], &made["rows"], &made["committed"]), (&0.into(), &1.into(), &60.into(), &true.into()));
        place.assert_up_to_date();
        assert_eq!(place.archive(&second, &[]).expect(0).summary()["table_version"], 1);
        place.assert_up_to_date();
        // what has nothing to do makes no version, and makes no second table
        assert_eq!(place.archive(&second, &[]).expect(0).summary()["table_version"], 1);
        assert_eq!(place.table(&["--init"]).expect(0).summary()["version"], 1);
        assert_eq!(place.commits().len(), 2);
        place.verify().expect(0);
    }
}

#[test]
fn a_commit_says_what_others_must_know_of_the_table_and_of_each_object() {
    let place = Place::folder();
    place.archive(&Tree::golden(), &[]).expect(0);
    place.table(&["--init"]).expect(0);
    let lines = place.commits().remove(&0).expect("a commit");
    assert_eq!(lines[1]["protocol"], serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["ccArchiver"]}));
    assert_eq!(lines[2]["metaData"]["partitionColumns"], serde_json::json!(["cluster", "date"]));
    for add in lines.iter().filter_map(|line| line.get("add")) {
        let key = add["path"].as_str().expect("a path");
        let rows = rows_of(&Objects::from([(key.to_owned(), place.objects()[key].clone())]));
        let stats: Value = serde_json::from_str(add["stats"].as_str().expect("statistics")).expect("JSON");
        let (least, most) = (&stats["minValues"], &stats["maxValues"]);
        assert_eq!(stats["numRecords"], rows.len());
        let bounds = |of: fn(&Row) -> &String| (rows.iter().map(of).min().expect("a row").as_str(), rows.iter().map(of).max().expect("a row").as_str());
        for (name, of) in [("hostname", (|row| &row.hostname) as fn(&Row) -> &String), ("metric", |row| &row.metric), ("scope", |row| &row.scope)] {
            assert_eq!((least[name].as_str(), most[name].as_str()), (Some(bounds(of).0), Some(bounds(of).1)), "{key} {name}");
        }
        let times = rows.iter().map(|row| row.timestamp);
        assert_eq!((least["timestamp"].as_i64(), most["timestamp"].as_i64()), (times.clone().min(), times.max()), "{key}");
        assert_eq!(add["partitionValues"], serde_json::json!({"cluster": rows[0].cluster, "date": rows[0].date}));
    }
}

#[test]
fn a_commit_that_was_lost_is_made_up_for_by_the_next_run_whatever_it_writes() {
    for place in Place::both() {
        place.archive(&tree("c", &["n1"], 0).0, &[]).expect(0);
        place.table(&["--init"]).expect(0);
        let second = tree("d", &["n2"], 24).0;
        place.archive(&second, &[]).expect(0);
        // as a run that was killed before its commit
        place.delete("_delta_log/00000000000000000001.json");
        assert_eq!(place.files().len(), 1);
        let found = place.verify().expect(3).summary();
        assert_eq!((&found["findings"][0]["kind"], found["findings"].as_array().map(Vec::len)), (&"table".into(), Some(1)), "{found}");
        assert!(found["findings"][0]["object"].as_str().is_some_and(|object| object.ends_with("cluster=d/date=2026-03-02")), "{found}");
        assert_eq!(place.archive(&second, &[]).expect(0).summary()["table_version"], 1);
        place.assert_up_to_date();
        place.verify().expect(0);
    }
}

#[test]
fn what_is_gone_goes_and_what_was_put_back_comes_back() {
    for place in Place::both() {
        place.archive(&tree("c", &["n1"], 0).0, &[]).expect(0);
        place.archive(&tree("c", &["n2"], 24).0, &[]).expect(0);
        place.table(&["--init"]).expect(0);
        let (key, bytes) = place.objects().pop_last().expect("an object");
        place.delete(&key);
        let found = place.verify().expect(3).summary();
        assert!(found["findings"].to_string().contains("gone or replaced: 1, the first is"), "{found}");
        assert_eq!(strings(&place.table(&[]).expect(0).summary()["removed"]), [&key]);
        place.assert_up_to_date();
        place.put(&key, &bytes);
        assert_eq!(strings(&place.table(&[]).expect(0).summary()["added"]), [&key]);
        place.assert_up_to_date();
    }
}

#[test]
fn an_object_that_cannot_be_read_does_not_come_into_the_table_and_one_that_it_has_stays() {
    let place = Place::folder();
    for (host, hour) in [("n1", 0), ("n2", 24)] {
        place.archive(&tree("c", &[host], hour).0, &[]).expect(0);
    }
    let (key, bytes) = place.objects().pop_last().expect("an object");
    place.put(&key, &vec![0; bytes.len()]);
    let made = place.table(&["--init"]).expect(3).summary();
    assert_eq!((&made["files"], made["unreadable"].as_array().map(Vec::len)), (&1.into(), Some(1)), "{made}");
    place.put(&key, &bytes);
    assert_eq!(place.table(&[]).expect(0).summary()["files"], 2);
    // of another size, so that the listing tells
    place.put(&key, b"PAR1");
    let kept = place.table(&[]).expect(3).summary();
    assert_eq!((&kept["files"], strings(&kept["removed"]).len()), (&2.into(), 0), "{kept}");
}

#[test]
fn while_a_compaction_cannot_be_read_what_is_left_of_its_members_does_not_come_into_the_table() {
    for is_in_the_table in [true, false] {
        let place = Place::folder();
        for (host, hour) in [("n1", 0), ("n2", 1)] {
            place.archive(&tree("c", &[host], hour).0, &[]).expect(0);
        }
        let members = place.objects();
        place.age();
        if is_in_the_table {
            place.table(&["--init"]).expect(0);
        }
        run(&mut place.command("compact", &[], &[])).expect(0);
        let (key, bytes) = place.objects().pop_last().expect("the new one");
        place.put(&key, &vec![0; bytes.len() + 1]);
        // as if the run had been killed before it deleted the second one
        let (left, of_left) = members.last_key_value().expect("a member");
        place.put(left, of_left);
        let before = if is_in_the_table { place.files() } else { BTreeSet::new() };
        let made = place.table(&["--init"]).expect(3).summary();
        assert_eq!(place.files(), before, "{made}");
        assert!(made["unreadable"].to_string().contains("they stay as the table has them"), "{made}");
        // a run of archive leaves it alone, too, and adds what came after
        place.archive(&tree("c", &["n3"], 26).0, &[]).expect(0);
        assert_eq!(place.files().len(), before.len() + 1);
        assert!(!place.files().contains(left));
        assert!(place.verify().expect(3).summary()["findings"].as_array().is_some_and(|found| found.iter().all(|finding| finding["kind"] != "table")));
        place.put(&key, &bytes);
        place.table(&[]).expect(0);
        assert!(place.files().contains(&key) && !place.files().contains(left));
    }
}

#[test]
fn a_table_whose_first_checkpoint_is_missing_is_kept_up_all_the_same() {
    for place in Place::both() {
        place.archive(&tree("c", &["n1"], 0).0, &[]).expect(0);
        place.table(&["--init"]).expect(0);
        // as a run that was killed after its commit
        place.delete("_delta_log/_last_checkpoint");
        place.delete("_delta_log/00000000000000000000.checkpoint.parquet");
        assert_eq!(place.archive(&tree("c", &["n2"], 1).0, &[]).expect(0).summary()["table_version"], 1);
        place.assert_up_to_date();
        assert!(place.all().contains_key("_delta_log/00000000000000000001.checkpoint.parquet"), "and it has one now");
    }
}

#[test]
fn many_writers_at_once_lose_no_object() {
    for place in Place::both() {
        place.archive(&tree("c", &["n0"], 0).0, &[]).expect(0);
        place.table(&["--init"]).expect(0);
        let trees: Vec<Tree> = (0..6).map(|n| tree(&format!("c{n}"), &["n1", "n2"], n).0).collect();
        let mut commands: Vec<Command> = trees.iter().map(|tree| place.command("archive", &[tree.path()], &[])).collect();
        commands.push(place.command("table", &[], &[]));
        commands.push(place.command("table", &[], &["--rebuild"]));
        let children: Vec<_> = commands.iter_mut().map(|command| command.spawn().expect("it starts")).collect();
        for child in children {
            Run::from(child.wait_with_output().expect("its output")).expect(0);
        }
        assert_eq!(place.files(), place.objects().into_keys().collect());
        place.assert_up_to_date();
        let commits = place.commits();
        assert!(commits.keys().copied().eq(0..commits.len() as u64), "each version once: {:?}", commits.keys());
        place.verify().expect(0);
    }
}

#[test]
fn a_compaction_is_one_version_that_brings_no_new_rows() {
    let place = Place::folder();
    for (host, hour) in [("n1", 0), ("n2", 1), ("n3", 2)] {
        place.archive(&tree("c", &[host], hour).0, &[]).expect(0);
    }
    let archive = Archive::open(&place.name().parse().expect("a place"), None, false).expect("opened");
    let keys: Vec<ObjectKey> = place.objects().keys().map(|key| ObjectKey::parse(&Key::parse(key).expect("a key")).expect("ours")).collect();
    let (gone, by) = (keys[..2].iter().cloned().collect(), &keys[2]);
    let replace = || block_on(pipeline::replace(&archive, &gone, std::slice::from_ref(by))).expect("replaced");
    assert_eq!(replace(), None, "there is no table");
    place.table(&["--init"]).expect(0);
    assert_eq!(replace(), Some(1));
    let lines = place.commits().remove(&1).expect("a commit");
    let changes: Vec<_> =
        lines[1..].iter().map(|line| (line.get("remove").is_some(), line["remove"]["dataChange"].as_bool(), line["add"]["dataChange"].as_bool())).collect();
    assert_eq!(changes, [(true, Some(false), None), (true, Some(false), None), (false, None, Some(false))]);
    assert_eq!(place.files(), BTreeSet::from([by.to_string()]));
    // what goes with nothing in its place takes its rows with it
    assert_eq!(block_on(pipeline::replace(&archive, &BTreeSet::from([by.clone()]), &[])).expect("removed"), Some(2));
    assert_eq!(place.commits()[&2][1]["remove"]["dataChange"], true);
    assert!(place.files().is_empty());
}

// ---------------------------------------------------------------- checkpoints, and what is to be mended

#[test]
fn every_ten_commits_there_is_a_checkpoint_and_readers_need_nothing_before_it() {
    for place in Place::both() {
        let mut expected = Vec::new();
        for hour in 0..13 {
            let (tree, rows) = tree("c", &["n1"], hour);
            place.archive(&tree, &[]).expect(0);
            expected.extend(rows);
            if hour == 0 {
                place.table(&["--init"]).expect(0);
            }
        }
        let checkpoints: Vec<String> = place.all().into_keys().filter(|key| key.ends_with(".checkpoint.parquet")).collect();
        assert_eq!(checkpoints, [0, 10].map(|version| format!("_delta_log/{version:020}.checkpoint.parquet")));
        let last: Value = serde_json::from_slice(&place.all()["_delta_log/_last_checkpoint"]).expect("JSON");
        assert_eq!((&last["version"], &last["numOfAddFiles"]), (&10.into(), &11.into()), "{last}");
        (0..=10).for_each(|version| place.delete(&format!("_delta_log/{version:020}.json")));
        let table = place.table(&[]).expect(0).summary();
        assert_eq!((&table["version"], &table["files"], &table["committed"]), (&12.into(), &13.into(), &false.into()));
        for reader in READERS {
            assert_same_rows(reader, place.read(reader, &[]), &expected);
        }
        // which is only where to begin to read
        place.put("_delta_log/_last_checkpoint", b"{");
        assert_eq!(place.table(&["--dry-run"]).expect(0).summary()["version"], 12);
        assert_eq!(place.archive(&tree("c", &["n1"], 13).0, &[]).expect(0).summary()["table_version"], 13);
    }
}

#[test]
fn a_log_that_cannot_be_read_fails_no_run_of_archive_and_is_written_anew() {
    for place in Place::both() {
        let (first, mut expected) = tree("c", &["n1"], 0);
        place.archive(&first, &[]).expect(0);
        place.table(&["--init"]).expect(0);
        // a version that is no JSON; and after the next one, which is whole, one behind a gap
        for (hour, version, damage) in [(1, 1, &b"{\"add\":"[..]), (2, 4, b"")] {
            let (next, rows) = tree("c", &["n1"], hour);
            expected.extend(rows);
            place.put(&format!("_delta_log/{version:020}.json"), damage);
            let archived = place.archive(&next, &[]).expect(0);
            assert!(archived.stderr.contains("the table is not up to date") && archived.stderr.contains("--rebuild"), "{}", archived.stderr);
            assert_eq!(archived.summary()["objects_written"], 1);
            let refused = place.table(&[]).expect(1);
            assert!(refused.stderr.contains("cannot be read") && refused.stderr.contains("--rebuild"), "{}", refused.stderr);
            let found = place.verify().expect(3).summary();
            assert_eq!((&found["findings"][0]["kind"], found["findings"].as_array().map(Vec::len)), (&"table".into(), Some(1)), "{found}");
            let files = place.objects().len();
            assert_eq!(place.table(&["--rebuild"]).expect(0).summary()["files"], files);
            place.verify().expect(0);
            for reader in READERS {
                assert_same_rows(reader, place.read(reader, &[]), &expected);
            }
        }
    }
}

#[test]
fn what_another_program_put_into_the_table_is_found_and_goes_when_it_is_written_anew() {
    let place = Place::folder();
    place.archive(&tree("c", &["n1"], 0).0, &[]).expect(0);
    place.table(&["--init"]).expect(0);
    let add = serde_json::json!({"add": {"path": "elsewhere.parquet", "partitionValues": {"cluster": "c", "date": "2026-03-01"}, "size": 1, "modificationTime": 1, "dataChange": true}});
    place.put("_delta_log/00000000000000000001.json", add.to_string().as_bytes());
    assert_eq!(place.table(&[]).expect(0).summary()["files"], 2, "it may be meant");
    assert!(place.verify().expect(3).stdout.contains("another program has put a file into the table: elsewhere.parquet"));
    assert_eq!(strings(&place.table(&["--rebuild"]).expect(0).summary()["removed"]), ["elsewhere.parquet"]);
    place.assert_up_to_date();
    // a reader of the first version would not see what such a log says
    place.put(
        "_delta_log/00000000000000000003.json",
        br#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#,
    );
    assert!(place.table(&[]).expect(1).stderr.contains("readers need version 3"));
}

#[test]
fn doctor_says_in_a_line_how_the_table_is() {
    for place in Place::both() {
        let (tree, _) = tree("c", &["n1"], 0);
        place.archive(&tree, &[]).expect(0);
        let doctor = || {
            let checks = run(&mut place.command("doctor", &[tree.path()], &[])).summary()["checks"].take();
            let check = checks.as_array().and_then(|checks| checks.iter().find(|check| check["check"] == "table")).cloned().expect("it was looked at");
            (check["level"].as_str().expect("a level").to_owned(), check["found"].as_str().expect("text").to_owned())
        };
        assert_eq!(doctor(), ("ok".into(), "there is none: readers take the folder".into()));
        place.table(&["--init"]).expect(0);
        assert_eq!(doctor(), ("ok".into(), "version 0, files: 1; just what is listed".into()));
        let (key, bytes) = place.objects().pop_first().expect("an object");
        place.put(&key.replace("00000.parquet", "00001.parquet"), &bytes);
        place.delete(&key);
        assert_eq!(doctor(), ("warning".into(), "version 0, files: 1; objects that it lacks: 1; files of it that are gone: 1".into()));
        place.put("_delta_log/00000000000000000001.json", b"{");
        assert_eq!(doctor().0, "error");
    }
}

// ---------------------------------------------------------------- readers

#[track_caller]
fn assert_golden(place: &Place) {
    let expected = std::fs::read_to_string(fixture("golden/expected.csv")).expect("the expected rows");
    for reader in READERS {
        assert_same_rows(&format!("{reader} of {}", place.name()), place.read(reader, &[]), expected.lines().skip(1));
    }
}

#[test]
fn readers_find_the_golden_rows_by_the_table() {
    for place in Place::both() {
        place.archive(&Tree::golden(), &[]).expect(0);
        place.table(&["--init"]).expect(0);
        assert_golden(&place);
    }
}

#[test]
fn readers_take_the_cluster_from_the_table_where_files_have_it_too() {
    let place = Place::folder();
    place.archive(&Tree::golden(), &["--with-cluster-column"]).expect(0);
    place.table(&["--init"]).expect(0);
    assert_golden(&place);
}

#[test]
fn readers_find_clusters_of_any_name_and_names_that_look_like_numbers_stay_names() {
    const NAMES: [&str; 12] = ["a b", "100%", "é", "x=y", "007", "p+q#r?s&t", "quote\"'\\b", "2026-03-01", "a%20b", "new\nline", "...", "NULL"];
    for place in Place::both() {
        let (tree, mut expected) = (Tree::new(), Vec::new());
        for (n, name) in NAMES.into_iter().enumerate() {
            let snapshot = Snapshot::minutes(T0, vec![n as f32; 3]);
            tree.bin(name, "n1", &snapshot);
            expected.extend(snapshot.rows(name, "n1"));
        }
        place.archive(&tree, &[]).expect(0);
        place.table(&["--init"]).expect(0);
        place.assert_up_to_date();
        for reader in READERS {
            assert_same_rows(reader, place.read(reader, &[]), &expected);
            let of_007 = expected.iter().filter(|row| row.cluster == "007");
            assert_same_rows(reader, place.read(reader, &["--cluster", "007"]), of_007);
        }
    }
}

#[test]
fn readers_open_no_object_that_partition_or_bounds_rule_out() {
    let place = Place::folder();
    let (tree, mut wanted) = (Tree::new(), Vec::new());
    let add = |cluster: &str, host: &str, from: i64| {
        let snapshot = Snapshot::minutes(from, [2.5; 60]);
        tree.bin(cluster, host, &snapshot);
        place.archive(&tree, &[]).expect(0);
        snapshot.rows(cluster, host)
    };
    wanted.extend(add("c", "n1", T0));
    add("c", "n2", T0);
    add("c", "n1", T0 + 2 * 3_600);
    add("c", "n1", T0 + DAY);
    add("d", "n1", T0);
    place.table(&["--init"]).expect(0);
    let objects = place.objects();
    assert_eq!(objects.len(), 5);
    let kept = objects.iter().find(|(key, bytes)| rows_of(&Objects::from([((*key).clone(), (*bytes).clone())]))[0] == wanted[0]).expect("its object").0;
    objects.iter().filter(|(key, _)| *key != kept).for_each(|(key, bytes)| place.put(key, &vec![0; bytes.len()]));
    let time = (T0 + 60).to_string();
    let asked = ["--cluster", "c", "--date", "2026-03-01", "--hostname", "n1", "--timestamp", &time];
    for reader in READERS {
        assert_same_rows(reader, place.read(reader, &asked), wanted.iter().filter(|row| row.timestamp == T0 + 60));
        // nothing is left out but what those bounds say
        for without in [0, 4, 6] {
            let less: Vec<&str> = asked.iter().enumerate().filter(|(n, _)| *n / 2 != without / 2).map(|(_, flag)| *flag).collect();
            assert_ne!(place.try_read(reader, &less).code, 0, "{reader} without {}", asked[without]);
        }
        assert!(place.read(reader, &["--date", "2026-03-09"]).is_empty());
    }
}

#[test]
fn nobody_else_tidies_the_table_up_even_if_it_is_behind() {
    let place = Place::folder();
    place.archive(&Tree::golden(), &["--host", "n01"]).expect(0);
    place.table(&["--init"]).expect(0);
    place.archive(&Tree::golden(), &["--host", "n02"]).expect(0);
    let (key, bytes) = place.objects().pop_last().expect("an object");
    place.delete(&key);
    place.table(&[]).expect(0);
    // removed from the table, and there: it may count again
    place.put(&key, &bytes);
    // and what the table does not have yet
    std::fs::rename(Path::new(&place.name()).join("_delta_log"), Path::new(&place.name()).join("_aside")).expect("moved");
    place.archive(&Tree::golden(), &[]).expect(0);
    std::fs::rename(Path::new(&place.name()).join("_aside"), Path::new(&place.name()).join("_delta_log")).expect("moved back");
    let (objects, behind) = (place.objects(), place.objects().len() - place.files().len());
    assert!(behind > 1, "{behind}");
    let said: Value = serde_json::from_str(&run(python("vacuum.py").arg(place.name())).expect(0).stdout).expect("JSON");
    assert_eq!((&said["would"], &said["usual"]), (&Value::Array(Vec::new()), &Value::Array(Vec::new())), "by its own property nothing is old enough: {said}");
    let would = strings(&said["would_at_once"]);
    assert!(would.iter().all(|key| key.starts_with("cluster=")) && would.len() == behind, "{would:?}");
    for what in ["removed", "full", "delete"] {
        assert!(said[what].as_str().is_some_and(|said| said.contains("ccArchiver")), "{what} was not refused: {said}");
    }
    assert_eq!(place.objects(), objects, "nothing is gone");
    assert_eq!(said["checkpoint"], Value::Null, "who wrote a checkpoint wrote what the log says: {said}");
    place.table(&[]).expect(0);
    place.assert_up_to_date();
    assert_golden(&place);
}

#[test]
fn midnight_is_where_the_dates_of_the_table_begin() {
    let place = Place::folder();
    let tree = Tree::new();
    let snapshot = Snapshot::minutes(MIDNIGHT - 120, [1.0, 2.0, 3.0, 4.0]);
    tree.bin("c", "n1", &snapshot);
    place.archive(&tree, &[]).expect(0);
    place.table(&["--init"]).expect(0);
    let rows = snapshot.rows("c", "n1");
    for reader in READERS {
        for date in ["2026-02-28", "2026-03-01"] {
            let of_date: Vec<&Row> = rows.iter().filter(|row| row.date == date).collect();
            assert_eq!(of_date.len(), 2);
            assert_same_rows(reader, place.read(reader, &["--date", date]), of_date);
        }
    }
}
