use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::info::ArchiveInfo;
use crate::ledger::ObjectLedger;
use crate::names::{Cluster as ClusterName, Digest};
use crate::partition::{Buckets, ObjectKey, Partition};

/// The Sunday on which clocks in Europe go forward.
const SUMMER: &str = "2026-03-29";

fn date(text: &str) -> Date {
    Date::parse(text).expect("a date")
}

/// An entry of `host`, with rows each minute in hours of a date.
fn entry(host: &str, date: Date, (from, to): (i64, i64), rows: u64, dropped: u64) -> Entry {
    let (first, end) = (date.start() + from * HOUR, date.start() + to * HOUR);
    Entry {
        path: format!("{host}/{first}.bin").into(),
        size: 1,
        mtime: 0,
        blake3: Digest::of(format!("{host} {first}").as_bytes()),
        from: first,
        to: end,
        dates: [date].into(),
        rows,
        written: rows - dropped,
        dropped,
        superseded: 0,
        conflicting: 0,
        first: (rows > 0).then_some(first),
        last: (rows > 0).then_some(end - 60),
        held_by: Box::default(),
    }
}

fn holdings(date: Date, entries: Vec<Entry>) -> Holdings {
    let partition = Partition { cluster: ClusterName::new("c").expect("a name"), date };
    let key = ObjectKey { bucket: Buckets::ONE.of(&partition.cluster, "n1"), partition, slot: 0, beside: None };
    let object = ObjectLedger {
        key: key.clone(),
        size: 100,
        e_tag: None,
        digest: Digest::of(b"object"),
        info: ArchiveInfo { buckets: Buckets::ONE, cluster_column: false },
        after: Vec::new(),
        missing: Vec::new(),
        replaces: Vec::new(),
        rows: entries.iter().map(|entry| entry.written).sum(),
        ledger: Digest::of(b""),
        entries: entries.into(),
    };
    Holdings::new(Duration::ZERO, vec![object], Vec::new(), BTreeSet::from([key]))
}

/// Of a date on which each of these hosts has so many rows in hours from and to.
fn cluster(of: Date, hosts: &[(&str, (i64, i64), u64)]) -> Cluster {
    let mut hours = Hours::new("c", of, of);
    hours.take(of, &holdings(of, hosts.iter().map(|(host, span, rows)| entry(host, of, *span, *rows, 0)).collect()), true, |_| true);
    hours.finish(None)
}

fn cells_of<'a>(cluster: &'a Cluster, host: &str) -> &'a [u8] {
    let index = cluster.hosts.iter().position(|name| name == host).expect("the host");
    let hours = cluster.dates.len() * HOURS;
    &cluster.cells.0[index * hours..][..hours]
}

fn names(found: &[Since]) -> Vec<&str> {
    found.iter().map(|found| found.host.as_str()).collect()
}

#[test]
fn each_date_has_24_hours_also_where_clocks_are_changed() {
    let found = cluster(date(SUMMER), &[("n1", (0, 24), 1_440), ("n2", (0, 24), 1_440)]);
    assert_eq!(found.cells.0, vec![100; 48]);
    assert_eq!((found.summary.complete, found.summary.newest), (2, Some(date("2026-03-30").start())));
}

#[test]
fn snapshots_that_overlap_count_once() {
    let day = date("2026-03-01");
    // 12 hours, and 12 more from the eleventh on, of which one hour stands in the first
    let entries = [entry("n1", day, (0, 12), 720, 0), entry("n1", day, (11, 23), 720, 60)];
    let hours = spread::hours(&entries.each_ref(), day);
    assert!(hours[..10].iter().chain(&hours[12..23]).all(|rows| (rows - 60.0).abs() < 0.01), "{hours:?}");
    assert!(hours[23] == 0.0 && hours[11] < 116.0, "{hours:?}");
    // two halves of the same hours, as of two snapshots with different metrics: both count
    let entries = [entry("n1", day, (0, 12), 720, 0), entry("n1", day, (0, 12), 720, 0)];
    assert!((spread::hours(&entries.each_ref(), day)[3] - 120.0).abs() < 0.01);
}

#[test]
fn node_types_are_compared_each_with_its_own_usual_number() {
    let day = date("2026-03-01");
    let mut hosts = vec![("big", (0, 24), 14_400), ("gpu", (0, 24), 7_200)];
    hosts.extend([("n1", (0, 24), 1_440), ("n2", (0, 24), 1_440)]);
    assert_eq!(cluster(day, &hosts).cells.0, vec![100; 4 * 24]);
}

#[test]
fn where_most_hosts_are_alike_one_that_always_has_half_is_seen() {
    let day = date("2026-03-01");
    let names: Vec<String> = (0..9).map(|n| format!("n{n}")).collect();
    let mut hosts: Vec<(&str, (i64, i64), u64)> = names.iter().map(|name| (name.as_str(), (0, 24), 1_440)).collect();
    hosts.push(("n9", (0, 24), 720));
    let found = cluster(day, &hosts);
    assert_eq!((cells_of(&found, "n9"), cells_of(&found, "n3")), (&[50; 24][..], &[100; 24][..]));
    assert_eq!((found.summary.complete, found.summary.fewer[0].host.as_str(), found.summary.fewer[0].hours), (9, "n9", 24));
    assert!(found.summary.is_covered(), "it has no gap");
}

#[test]
fn an_hour_in_which_all_have_less_is_nobodys_gap() {
    let day = date("2026-03-01");
    let mut hours = Hours::new("c", day, day);
    let mut counts = [60_u64; 24];
    counts[23] = 10;
    for host in ["n1", "n2", "n3"] {
        hours.count(day, host, &counts, std::iter::empty());
    }
    assert_eq!(hours.finish(None).cells.0, vec![100; 72]);
}

#[test]
fn gaps_late_hosts_silent_hosts_and_new_ones_are_told_apart() {
    let (first, last) = (date("2026-03-01"), date("2026-03-03"));
    let mut hours = Hours::new("c", first, last);
    let all = [60_u64; 24];
    let part = |is: &dyn Fn(usize) -> bool| std::array::from_fn(|hour| if is(hour) { 60 } else { 0 });
    for day in first.through(last) {
        let is_last = day == last;
        hours.count(day, "complete", &all, std::iter::empty());
        hours.count(day, "gaps", &part(&|hour| day != first || !(5..8).contains(&hour)), std::iter::empty());
        hours.count(day, "late", &part(&|hour| !is_last || hour < 20), std::iter::empty());
        hours.count(day, "soon", &part(&|hour| !is_last || hour < 22), std::iter::empty());
        hours.count(day, "silent", &part(&|_| day == first), std::iter::empty());
        hours.count(day, "new", &part(&|_| is_last), std::iter::empty());
    }
    let found = hours.finish(None).summary;
    assert_eq!((names(&found.late), names(&found.silent), names(&found.began)), (vec!["late"], vec!["silent"], vec!["new"]));
    assert_eq!(found.silent[0].since, first.end());
    let gap = Span { from: first.start() + 5 * HOUR, to: first.start() + 8 * HOUR };
    assert_eq!(found.gaps, [Gaps { host: "gaps".into(), hours: 3, spans: vec![gap] }]);
    assert_eq!((found.complete, found.is_covered()), (2, false), "complete and soon");
}

#[test]
fn an_outage_of_all_is_no_gap_of_one() {
    let day = date("2026-03-01");
    let mut hours = Hours::new("c", day, day);
    let counts = std::array::from_fn(|hour| if (3..6).contains(&hour) { 0 } else { 60 });
    ["n1", "n2"].iter().for_each(|host| hours.count(day, host, &counts, std::iter::empty()));
    let found = hours.finish(None).summary;
    assert_eq!(found.outages, [Span { from: day.start() + 3 * HOUR, to: day.start() + 6 * HOUR }]);
    assert!(found.gaps.is_empty() && found.complete == 2 && found.is_covered());
}

#[test]
fn what_is_on_disk_stands_where_the_archive_has_nothing() {
    let day = date("2026-03-01");
    let at = |hour: i64| day.start() + hour * HOUR;
    let mut hours = Hours::new("c", day, day);
    hours.take(day, &holdings(day, vec![entry("n1", day, (0, 24), 1_440, 0), entry("n2", day, (0, 12), 720, 0), entry("n3", day, (0, 1), 0, 0)]), true, |_| {
        true
    });
    ["n1", "n2", "n9"].iter().for_each(|host| hours.on_disk(host));
    // from the middle of an hour, as snapshots do; a copy of what is archived changes nothing
    hours.waiting("n2", (at(12) + 600, at(24)), State::NotArchived);
    hours.waiting("n1", (at(0), at(12)), State::NotArchived);
    hours.waiting("n9", (at(20), at(30)), State::Partly);
    let disk = Disk { archived: 1, not_archived: 2, partly_archived: 1, ..Disk::default() };
    let found = hours.finish(Some(disk));
    assert_eq!(found.hosts, ["n1", "n2", "n3", "n9"]);
    assert_eq!(cells_of(&found, "n1"), [100; 24]);
    assert_eq!(cells_of(&found, "n2"), [[100; 12], [cell::WAITING; 12]].concat());
    assert_eq!(cells_of(&found, "n9"), [&[0; 20][..], &[cell::PARTLY; 4]].concat());
    assert_eq!((&found.summary.never_archived, &found.summary.empty), (&vec!["n9".to_owned()], &vec!["n3".to_owned()]));
    assert_eq!(found.summary.waiting, [Gaps { host: "n2".into(), hours: 12, spans: vec![Span { from: at(12), to: at(24) }] }]);
    assert!(found.summary.silent.is_empty() && found.summary.late.is_empty(), "what waits on disk is not missed");
    assert!(!found.summary.is_covered());
}

#[test]
fn of_an_object_that_cannot_be_read_nothing_is_said() {
    let day = date("2026-03-01");
    let mut hours = Hours::new("c", day, day);
    hours.take(day, &holdings(day, vec![entry("n1", day, (0, 12), 720, 0), entry("n2", day, (0, 24), 1_440, 0)]), true, |_| true);
    hours.take_unknown(day, |host| host == "n1");
    let found = hours.finish(None);
    assert_eq!(cells_of(&found, "n1"), [[100; 12], [cell::UNKNOWN; 12]].concat());
    assert_eq!((found.summary.late.len(), found.summary.complete), (0, 1));
}

#[test]
fn a_metric_that_some_hosts_lack_is_incomplete_and_one_of_another_type_is_not() {
    let day = date("2026-03-01");
    let mut hours = Hours::new("c", day, day);
    for n in 0..4 {
        let nfs = if n == 0 { 0 } else { 100 };
        hours.count(day, &format!("n{n}"), &[60; 24], [("cpu", 1_340), ("nfs", nfs)].into_iter());
    }
    hours.count(day, "gpu1", &[90; 24], [("cpu", 1_340), ("gpu", 820)].into_iter());
    hours.count(day, "gpu2", &[90; 24], [("cpu", 1_340), ("gpu", 820)].into_iter());
    let shares: Vec<(String, f64)> = hours.finish(None).metrics.into_iter().map(|metric| (metric.name, metric.share)).collect();
    assert_eq!(shares, [("cpu".into(), 1.0), ("gpu".into(), 1.0), ("nfs".into(), 0.75)]);
}

#[test]
fn the_map_has_the_hosts_that_miss_most_first_and_colours_where_they_are_wanted() {
    let day = date("2026-03-01");
    let mut hours = Hours::new("c", day, day);
    for n in 0..50 {
        let missing = match n {
            7 => 10,
            5 | 20 => 3,
            _ => 0,
        };
        hours.count(day, &format!("n{n}"), &std::array::from_fn(|hour| if (8..8 + missing).contains(&hour) { 0 } else { 60 }), std::iter::empty());
    }
    let cluster = hours.finish(None);
    let look = Look { width: 80, colours: false, all: false };
    let text = map::Map { cluster: &cluster, look }.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let starts = [
        "2026-03-01",
        "all 50 ████████████████████████",
        "n7     ████████xxxxxxxxxx██████",
        "n5     ████████xxx█████████████",
        "n20    ████████xxx",
        "a character is an hour",
    ];
    assert!(lines.len() == starts.len() && lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{text}");
    let all = map::Map { cluster: &cluster, look: Look { all: true, colours: true, ..look } }.to_string();
    assert_eq!(all.lines().count(), 53);
    assert!(all.contains("n7     \x1b[34m████████\x1b[0m\x1b[31mxxxxxxxxxx\x1b[0m\x1b[34m██████\x1b[0m\n"), "{all}");
}
