//! `coverage` says which host has data for which hour, what is not archived, and writes it as a page.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use support::{DAY, Level, MIDNIGHT, Run, Snapshot, Tree, archive, archiver, date_of, files_below, run, s3};

mod support;

const HOUR: i64 = 3_600;

fn coverage(archive: &Path, flags: &[&str]) -> Run {
    run(archiver().arg("coverage").arg(archive).args(["--progress", "never"]).args(flags))
}

fn report(archive: &Path, flags: &[&str]) -> Value {
    coverage(archive, &[&["--json"][..], flags].concat()).expect(0).summary()
}

/// A snapshot of twelve hours with a sample each ten minutes, but for the hours in `without`.
fn half_day(from: i64, without: std::ops::Range<i64>) -> Snapshot {
    let value = |i: i64| if without.contains(&(i / 6)) { f32::NAN } else { i as f32 };
    let values: Vec<f32> = (0..72).map(value).collect();
    Snapshot { from, to: from + 12 * HOUR, root: Level::default().metric("cpu_load", 600, from, values.clone()).metric("mem_used", 600, from, values) }
}

fn half(number: i64) -> Snapshot {
    half_day(MIDNIGHT + number * 12 * HOUR, 0..0)
}

/// Three dates: n1 has all; n2 lost the second half day; n3 is silent after the first date; n4 ends six hours early; n10 has a gap inside of a snapshot.
fn tree() -> Tree {
    let tree = Tree::new();
    for number in 0..6 {
        tree.bin("c", "n1", &half(number));
        if number != 1 {
            tree.bin("c", "n2", &half(number));
        }
        if number < 2 {
            tree.bin("c", "n3", &half(number));
        }
        let last = MIDNIGHT + number * 12 * HOUR;
        tree.bin("c", "n4", &half_day(last, if number == 5 { 6..12 } else { 0..0 }));
        tree.bin("c", "n10", &half_day(last, if number == 2 { 3..5 } else { 0..0 }));
    }
    tree
}

fn archived(tree: &Tree, flags: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    archive(tree.path(), folder.path(), flags).expect(0);
    folder
}

/// The cells of a host of the only cluster, date by date.
fn cells(report: &Value, host: &str) -> Vec<Vec<u8>> {
    let cluster = &report["clusters"][0];
    let packed = BASE64_STANDARD.decode(cluster["cells"].as_str().expect("text")).expect("base64");
    let cells = miniz_oxide::inflate::decompress_to_vec(&packed).expect("raw DEFLATE");
    let (hosts, dates) = (cluster["hosts"].as_array().expect("hosts"), cluster["dates"].as_array().expect("dates"));
    assert_eq!(cells.len(), hosts.len() * dates.len() * 24);
    let index = hosts.iter().position(|name| name == host).unwrap_or_else(|| panic!("no {host}: {hosts:?}"));
    cells[index * dates.len() * 24..][..dates.len() * 24].chunks(24).map(<[u8]>::to_vec).collect()
}

fn named<'a>(report: &'a Value, list: &str) -> Vec<&'a str> {
    let found = report["clusters"][0]["summary"][list].as_array().unwrap_or_else(|| panic!("no {list}: {report}"));
    found.iter().map(|found| found["host"].as_str().or(found.as_str()).expect("a host")).collect()
}

fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[\d.]+ (B|KiB)", "[size]");
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn ledgers_show_gaps_late_and_silent_hosts() {
    let folder = archived(&tree(), &[]);
    let found = report(folder.path(), &[]);
    assert_eq!(found["clusters"][0]["hosts"], serde_json::json!(["n1", "n2", "n3", "n4", "n10"]), "n2 comes before n10");
    assert_eq!(cells(&found, "n1"), vec![vec![100; 24]; 3]);
    assert_eq!(cells(&found, "n2")[0], [[100_u8; 12], [0; 12]].concat());
    assert_eq!(cells(&found, "n3"), [vec![100; 24], vec![0; 24], vec![0; 24]]);
    assert_eq!(cells(&found, "n4")[2][17..], [100, 0, 0, 0, 0, 0, 0]);
    assert_eq!((named(&found, "gaps"), named(&found, "late"), named(&found, "silent")), (vec!["n2"], vec!["n4"], vec!["n3"]));
    let gap = &found["clusters"][0]["summary"]["gaps"][0]["spans"];
    assert_eq!(*gap, serde_json::json!([{"from": MIDNIGHT + 12 * HOUR, "to": MIDNIGHT + DAY}]));
    assert_eq!(found["clusters"][0]["summary"]["silent"][0]["since"], MIDNIGHT + DAY - 600);
    // two of twelve hours are missing, and a ledger does not say which
    let spread = &cells(&found, "n10")[1];
    assert!(spread[..12].iter().all(|cell| *cell == 83) && spread[12..] == [100; 12], "{spread:?}");
    assert_eq!(named(&found, "fewer"), ["n10"]);
}

#[test]
fn rows_show_gaps_inside_of_snapshots_and_how_complete_metrics_are() {
    let tree = tree();
    // one more host, of which a metric has no samples for a day
    for number in 0..6 {
        let whole = half(number);
        let values = vec![1.0; if number < 2 { 0 } else { 72 }];
        let root = Level::default().metric("cpu_load", 600, whole.from, vec![1.0; 72]).metric("mem_used", 600, whole.from, values);
        tree.bin("c", "n5", &Snapshot { root, ..whole });
    }
    // row groups of few rows: a host and a metric are cut somewhere
    let folder = archived(&tree, &["--row-group-rows", "50"]);
    let found = report(folder.path(), &["--exact"]);
    assert_eq!(found["exact"], true);
    assert_eq!(cells(&found, "n10")[1], [&[100_u8; 3][..], &[0; 2], &[100; 19]].concat());
    assert_eq!(cells(&found, "n5")[0], [50; 24]);
    assert_eq!(named(&found, "gaps"), ["n2", "n10"]);
    let metrics = found["clusters"][0]["metrics"].as_array().expect("metrics");
    let share = |name: &str| metrics.iter().find(|metric| metric["name"] == name).and_then(|metric| metric["share"].as_f64()).expect("a share");
    assert_eq!(metrics.len(), 2);
    assert!(share("mem_used") < share("cpu_load") && share("cpu_load") < 1.0, "{metrics:?}");
    let none = report(folder.path(), &[]);
    assert_eq!(none["clusters"][0]["metrics"], serde_json::json!([]), "ledgers do not tell");
}

#[test]
fn the_map_and_the_words_below_it_are_what_an_operator_reads() {
    let tree = tree();
    tree.bin("c", "n9", &half(5));
    let folder = archived(&tree, &["--host", "n[1-4]*"]);
    let local = tree.path().to_str().expect("UTF-8");
    let text = coverage(folder.path(), &["--checkpoints", local]).expect(0).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 140) && !text.contains('\u{1b}'), "no colours where there is no terminal: {text}");
    check("map", &text);
    check("map-exact", &coverage(folder.path(), &["--exact", "--host", "n[23]", "--date", &date_of(MIDNIGHT)]).expect(0).stdout);
    assert_eq!(coverage(folder.path(), &["--quiet"]).expect(0).stdout, "");
}

#[test]
fn the_tree_tells_what_is_not_archived_in_part_and_never() {
    let tree = tree();
    // over midnight, so that it feeds two dates
    let crossing = half_day(MIDNIGHT + 3 * DAY - 2 * HOUR, 0..0);
    tree.bin("c", "n1", &crossing);
    let folder = archived(&tree, &[]);
    let last = files_below(folder.path()).into_keys().find(|key| key.contains(&date_of(MIDNIGHT + 3 * DAY))).expect("the fourth date");
    std::fs::remove_file(folder.path().join(last)).expect("removed");
    tree.bin("c", "n2", &half(6));
    tree.bin("c", "n11", &half(5));
    tree.write(&format!("c/n11/{}.bin", MIDNIGHT + 6 * 12 * HOUR), b"no snapshot");
    tree.write("c/n1/x.bin", b"no time");
    // a copy that got another time of change, and the same bytes
    let copy = tree.path().join(format!("c/n3/{MIDNIGHT}.bin"));
    std::fs::File::options().write(true).open(copy).expect("opened").set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
    let local = tree.path().to_str().expect("UTF-8");
    let found = report(folder.path(), &["--checkpoints", local]);
    assert_eq!(found["clusters"][0]["dates"].as_array().expect("dates").len(), 4, "what is on disk is newer");
    assert_eq!(cells(&found, "n2")[3], [[250_u8; 12], [0; 12]].concat());
    assert_eq!(cells(&found, "n11")[2], [[0_u8; 12], [250; 12]].concat());
    assert_eq!(cells(&found, "n1")[3], [&[251_u8; 10][..], &[0; 14]].concat());
    assert_eq!(cells(&found, "n1")[2], [100; 24], "what is archived of it");
    assert_eq!(named(&found, "never_archived"), ["n11"]);
    let disk = &found["clusters"][0]["summary"]["checkpoints"];
    assert_eq!(*disk, serde_json::json!({"archived": 25, "archived_by_size": 1, "partly_archived": 1, "not_archived": 3, "not_known": 0}));
    let aside: Vec<&str> = found["clusters"][0]["set_aside"].as_array().expect("a list").iter().filter_map(|note| note["path"].as_str()).collect();
    assert!(aside.len() == 2 && aside.iter().any(|path| path.ends_with("c/n1/x.bin")), "{aside:?}");
}

#[test]
fn a_cluster_that_was_never_archived_is_there() {
    let (tree, others) = (Tree::new(), Tree::new());
    tree.bin("c", "n1", &half(0));
    let folder = archived(&tree, &[]);
    others.bin("c", "n1", &half(0));
    others.bin("d", "m1", &half(1));
    let found = report(folder.path(), &["--checkpoints", others.path().to_str().expect("UTF-8"), "--cluster", "d"]);
    assert_eq!((found["clusters"][0]["name"].as_str(), named(&found, "never_archived")), (Some("d"), vec!["m1"]));
}

#[test]
fn the_exit_code_is_3_only_where_that_was_asked_for_or_something_cannot_be_read() {
    let whole = Tree::new();
    ["n1", "n2"].iter().for_each(|host| whole.bin("c", host, &half(0)));
    let folder = archived(&whole, &[]);
    let local = whole.path().to_str().expect("UTF-8");
    coverage(folder.path(), &["--check", "--checkpoints", local]).expect(0);
    whole.bin("c", "n1", &half(1));
    coverage(folder.path(), &["--check"]).expect(0);
    coverage(folder.path(), &["--checkpoints", local]).expect(0);
    coverage(folder.path(), &["--check", "--checkpoints", local]).expect(3);
    let gaps = archived(&tree(), &[]);
    coverage(gaps.path(), &[]).expect(0);
    coverage(gaps.path(), &["--check"]).expect(3);
    assert!(coverage(gaps.path(), &["--cluster", "x"]).expect(3).stdout.contains("cluster=x: no object is there"));
    assert!(coverage(gaps.path(), &["--date", "2020-01-01"]).expect(3).stdout.contains("no date of --date is there"));
    assert!(coverage(whole.path(), &[]).expect(2).stderr.contains("is a checkpoint tree, not an archive"));
    let inside = whole.path().join("page.html");
    let refused = coverage(gaps.path(), &["--checkpoints", local, "--html", inside.to_str().expect("UTF-8")]).expect(2);
    assert!(refused.stderr.contains("lies inside the checkpoint tree"), "{}", refused.stderr);
}

#[test]
fn hours_of_an_object_that_cannot_be_read_are_not_known() {
    let tree = tree();
    let folder = archived(&tree, &[]);
    let second = files_below(folder.path()).into_iter().find(|(key, _)| key.contains(&date_of(MIDNIGHT + DAY))).expect("the second date");
    let path = folder.path().join(&second.0);
    support::write(&path, &second.1[..second.1.len() - 4]);
    let found = coverage(folder.path(), &["--json"]).expect(3).summary();
    assert_eq!(cells(&found, "n1"), [vec![100; 24], vec![255; 24], vec![100; 24]]);
    assert!(found["unreadable"][0]["object"].as_str().is_some_and(|name| name.ends_with(&second.0)), "{found}");
    assert!(found["clusters"][0]["set_aside"][0]["path"].as_str().is_some_and(|name| name.ends_with(&second.0)), "{found}");
    // its footer is whole, and its pages are not
    let mut bytes = second.1.to_vec();
    bytes[4..200].fill(0xff);
    support::write(&path, &bytes);
    coverage(folder.path(), &[]).expect(0);
    let found = coverage(folder.path(), &["--json", "--exact"]).expect(3).summary();
    assert_eq!(cells(&found, "n1")[1], [255; 24]);
    assert_eq!(cells(&found, "n3")[1], [0; 24], "its ledger does not name it");
}

#[test]
fn without_dates_the_newest_14_are_shown() {
    let tree = Tree::new();
    (0..40).step_by(2).for_each(|day| tree.bin("c", "n1", &Snapshot::minutes(MIDNIGHT + day * DAY + HOUR, [1.0; 120])));
    let folder = archived(&tree, &[]);
    let dates = |flags: &[&str]| report(folder.path(), flags)["clusters"][0]["dates"].as_array().map(Vec::len);
    assert_eq!(dates(&[]), Some(14), "those without data in between, too");
    assert_eq!(dates(&["--date", &format!("{}..", date_of(MIDNIGHT))]), Some(39));
    let text = coverage(folder.path(), &["--date", &format!("{}..", date_of(MIDNIGHT))]).expect(0).stdout;
    assert!(text.contains("a character is 12 h"), "{text}");
}

#[test]
fn the_page_has_the_data_and_goes_where_it_is_asked_for() {
    let folder = archived(&tree(), &[]);
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("coverage.html");
    let text = coverage(folder.path(), &["--html", file.to_str().expect("UTF-8")]).expect(0).stdout;
    assert!(text.contains("c: 5 hosts"), "the table is printed as well: {text}");
    let page = std::fs::read_to_string(&file).expect("a page");
    let printed = coverage(folder.path(), &["--html", "-"]).expect(0).stdout;
    let expected = report(folder.path(), &[]);
    for page in [&page, &printed] {
        assert!(page.trim_start().starts_with("<!") && page.contains(expected["clusters"][0]["cells"].as_str().expect("text")), "{page}");
    }
    let nowhere = place.path().join("no/such/folder.html");
    let failed = coverage(folder.path(), &["--html", nowhere.to_str().expect("UTF-8")]).expect(1);
    assert!(failed.stderr.contains("cannot write"), "{}", failed.stderr);
}

#[test]
fn an_archive_in_s3_is_told_as_one_in_a_directory() {
    let (tree, bucket) = (tree(), s3());
    let folder = archived(&tree, &[]);
    run(archiver().arg("archive").arg(tree.path()).arg(bucket.url("a")).args(["--quiet"]).envs(bucket.environment())).expect(0);
    for flags in [&["--json"][..], &["--json", "--exact"]] {
        let away = run(archiver().arg("coverage").arg(bucket.url("a")).args(flags).envs(bucket.environment())).expect(0).summary();
        let here = coverage(folder.path(), flags).expect(0).summary();
        assert_eq!(away["clusters"], here["clusters"], "{flags:?}");
    }
}
