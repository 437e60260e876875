//! `ls` says what an archive holds, by its listing and footers alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use support::{Row, Run, Snapshot, T0, Tree, archive, archiver, files_below, rows_of, run, s3};

mod support;

fn ls(archive: &Path, flags: &[&str]) -> Run {
    run(archiver().arg("ls").arg(archive).args(["--progress", "never"]).args(flags))
}

/// The golden tree, archived twice, so that some dates have several objects.
fn golden() -> tempfile::TempDir {
    let (tree, folder) = (Tree::golden(), tempfile::tempdir().expect("a folder"));
    archive(tree.path(), folder.path(), &["--host", "n01"]).expect(0);
    archive(tree.path(), folder.path(), &[]).expect(0);
    folder
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name}: {value}"))
}

fn check(name: &str, text: &str, folder: &Path) {
    let mut settings = insta::Settings::clone_current();
    // bytes differ with the version of the encoder; hosts and rows do not
    settings.add_filter(r" +\d+(\.\d)? (B|KiB)( +\d+\.\d\d)?", "  [size]");
    settings.add_filter(r"[\d.]+ bytes a row", "[n] bytes a row");
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text.replace(folder.to_str().expect("UTF-8"), "[archive]")));
}

#[test]
fn it_prints_a_table_for_each_of_its_views() {
    let folder = golden();
    for (name, flags) in [("dates", &[][..]), ("hosts", &["--hosts"]), ("metrics", &["--metrics"]), ("objects", &["--objects"])] {
        let text = ls(folder.path(), &[&["--quiet"][..], flags].concat()).expect(0).stdout;
        assert_eq!(text, "", "--quiet leaves the table out");
        let text = ls(folder.path(), flags).expect(0).stdout;
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{name} fits a terminal: {text}");
        check(&format!("view-{name}"), &text, folder.path());
    }
}

#[test]
fn its_numbers_are_those_of_the_rows() {
    let folder = golden();
    let objects = files_below(folder.path());
    let rows = rows_of(&objects);
    let report = ls(folder.path(), &["--hosts", "--json"]).expect(0).summary();
    assert_eq!(report["total"]["rows"], rows.len());
    assert_eq!(report["total"]["objects"], objects.len());
    assert_eq!(report["total"]["bytes"], objects.values().map(|bytes| bytes.len()).sum::<usize>());
    for cluster in list(&report, "clusters") {
        let of_cluster: Vec<&Row> = rows.iter().filter(|row| row.cluster == cluster["cluster"]).collect();
        assert_eq!((cluster["first"].as_i64(), cluster["last"].as_i64()), times(&of_cluster), "{cluster}");
        for date in list(cluster, "dates") {
            let of_date: Vec<&Row> = of_cluster.iter().copied().filter(|row| row.date == date["date"]).collect();
            let hosts: BTreeSet<&str> = of_date.iter().map(|row| row.hostname.as_str()).collect();
            assert_eq!((date["rows"].as_u64(), date["hosts"].as_u64()), (Some(of_date.len() as u64), Some(hosts.len() as u64)), "{date}");
            assert_eq!((date["first"].as_i64(), date["last"].as_i64()), times(&of_date), "{date}");
        }
        for host in list(cluster, "by_host") {
            let of_host: Vec<&Row> = of_cluster.iter().copied().filter(|row| row.hostname == host["host"]).collect();
            let dates: BTreeSet<&str> = of_host.iter().map(|row| row.date.as_str()).collect();
            assert_eq!((host["rows"].as_u64(), host["dates"].as_u64()), (Some(of_host.len() as u64), Some(dates.len() as u64)), "{host}");
            assert_eq!((host["first"].as_i64(), host["last"].as_i64()), times(&of_host), "{host}");
        }
    }
}

fn times(rows: &[&Row]) -> (Option<i64>, Option<i64>) {
    let of = |rows: &[&Row]| rows.iter().map(|row| row.timestamp).collect::<Vec<_>>();
    (of(rows).into_iter().min(), of(rows).into_iter().max())
}

#[test]
fn rows_of_metrics_lie_within_their_bounds_and_are_exact_where_row_groups_hold_one() {
    let (tree, mixed, single) = (Tree::golden(), tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    archive(tree.path(), mixed.path(), &[]).expect(0);
    // a row group of one row has one metric
    archive(tree.path(), single.path(), &["--row-group-rows", "1", "--cluster", "alpha"]).expect(0);
    for (folder, exact) in [(mixed.path(), false), (single.path(), true)] {
        let rows = rows_of(&files_below(folder));
        let report = ls(folder, &["--metrics", "--json"]).expect(0).summary();
        for cluster in list(&report, "clusters") {
            let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
            rows.iter().filter(|row| row.cluster == cluster["cluster"]).for_each(|row| *counts.entry(&row.metric).or_default() += 1);
            let metrics = &cluster["metrics"];
            assert_eq!(metrics["exact"], exact, "{metrics}");
            for line in list(metrics, "named") {
                let rows = counts[line["metric"].as_str().expect("a name")];
                let (least, most) = (line["rows_at_least"].as_u64().expect("a count"), line["rows_at_most"].as_u64().expect("a count"));
                assert!(least <= rows && rows <= most, "{line}: {rows}");
                assert!(!exact || least == most, "{line}");
            }
            assert!(!exact || list(metrics, "named").len() == counts.len(), "all are named: {metrics}");
        }
    }
}

#[test]
fn each_object_has_a_line_with_its_key() {
    let folder = golden();
    let objects = files_below(folder.path());
    let report = ls(folder.path(), &["--objects", "--json"]).expect(0).summary();
    let lines: BTreeMap<&str, &Value> =
        list(&report, "clusters").iter().flat_map(|cluster| list(cluster, "by_object")).map(|line| (line["key"].as_str().expect("a key"), line)).collect();
    assert_eq!(lines.keys().copied().collect::<Vec<_>>(), objects.keys().map(String::as_str).collect::<Vec<_>>());
    for (key, line) in lines {
        let sources = support::ledger_of(&objects[key]).expect("a ledger").len() as u64;
        let rows = support::rows_in(key, &objects[key]).len() as u64;
        assert_eq!((line["rows"].as_u64(), line["sources"].as_u64(), line["counts"].as_bool()), (Some(rows), Some(sources), Some(true)), "{line}");
        assert_eq!(line["bytes"], objects[key].len());
    }
}

#[test]
fn what_cannot_be_read_and_what_is_not_ours_is_named_with_exit_code_3() {
    let folder = golden();
    let objects = files_below(folder.path());
    let (damaged, bytes) = objects.iter().next_back().expect("an object");
    support::write(&folder.path().join(damaged), &bytes[..bytes.len() - 4]);
    let whole = objects.values().next().expect("an object");
    support::write(&folder.path().join("astray.parquet"), whole);
    support::write(&folder.path().join("cluster=alpha/date=2026-03-01/theirs.parquet"), b"PAR1");
    let report = ls(folder.path(), &["--json"]).expect(3).summary();
    assert!(list(&report, "unreadable")[0]["object"].as_str().is_some_and(|name| name.ends_with(damaged)), "{report}");
    let foreign: Vec<&str> = list(&report, "foreign").iter().map(|name| name.as_str().expect("a name")).collect();
    assert!(foreign.len() == 2 && foreign[0].ends_with("/astray.parquet") && foreign[1].ends_with("/theirs.parquet"), "{foreign:?}");
    assert_eq!(report["total"]["objects"], objects.len() - 1, "all others are told");
    let text = ls(folder.path(), &[]).expect(3).stdout;
    assert!(text.contains("cannot be read    1\n") && text.contains("not ours          2\n"), "{text}");
}

#[test]
fn nothing_where_something_was_asked_for_is_said() {
    let folder = golden();
    let said = |flags: &[&str]| ls(folder.path(), flags).expect(3).stdout;
    assert!(said(&["--cluster", "gamma"]).contains("cluster=gamma: no object is there"));
    assert!(said(&["--date", "2025-01-01..2025-12-31"]).contains("the first is 2026-03-01 and the last 2026-03-02"));
    let empty = tempfile::tempdir().expect("a folder");
    assert!(ls(empty.path(), &[]).expect(3).stdout.contains("no object of ours is there"));
    let one = ls(folder.path(), &["--cluster", "beta", "--date", "2026-03-02", "--json"]).expect(0).summary();
    let [cluster] = &list(&one, "clusters")[..] else { panic!("one cluster: {one}") };
    assert_eq!((cluster["cluster"].as_str(), list(cluster, "dates").len()), (Some("beta"), 1));
}

#[test]
fn wrong_use_is_refused() {
    let folder = golden();
    let refused = ls(folder.path(), &["--hosts", "--objects"]).expect(2);
    assert!(refused.stderr.contains("only one can be asked for"), "{}", refused.stderr);
    let tree = Tree::golden();
    assert!(ls(tree.path(), &[]).expect(2).stderr.contains("is a checkpoint tree, not an archive"));
    assert!(ls(&tree.path().join("nowhere"), &[]).expect(2).stderr.contains("there is no archive at"));
}

#[test]
fn an_archive_in_s3_is_told_as_one_in_a_directory_with_a_request_for_each_object() {
    let (tree, folder, bucket) = (Tree::new(), tempfile::tempdir().expect("a folder"), s3());
    for day in 0..30 {
        tree.bin("c", "n1", &Snapshot::minutes(T0 + day * support::DAY, [1.0; 10]));
    }
    archive(tree.path(), folder.path(), &[]).expect(0);
    run(archiver().arg("archive").arg(tree.path()).arg(bucket.url("a")).args(["--quiet"]).envs(bucket.environment())).expect(0);
    let metrics = tempfile::tempdir().expect("a folder");
    let metrics = metrics.path().join("ls.prom");
    let mut command = archiver();
    command.arg("ls").arg(bucket.url("a")).args(["--json", "--objects", "--metrics-file"]).arg(&metrics).envs(bucket.environment());
    let (away, here) = (run(&mut command).expect(0).summary(), ls(folder.path(), &["--json", "--objects"]).expect(0).summary());
    assert_eq!(away["clusters"], here["clusters"]);
    let text = std::fs::read_to_string(metrics).expect("metrics");
    let requests = |kind: &str| {
        let of_kind = |line: &&str| line.starts_with("cc_archiver_store_requests_total{") && line.contains(&format!("\"{kind}\"")) && line.contains("\"ok\"");
        text.lines().filter(of_kind).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    assert_eq!((requests("get"), requests("list")), (31.0, 2.0), "the archive's own object, and 30 footers; the archive, and the marks of its floor\n{text}");
}
