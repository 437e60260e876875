use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::info::ArchiveInfo;
use crate::ledger::{Entry, Member, NotOurs};
use crate::names::{Cluster, Digest};
use crate::partition::Buckets;

fn object(date: &str, slot: u32, hosts: &[(&str, u64)]) -> ObjectLedger {
    let partition = Partition { cluster: Cluster::new("c").expect("a name"), date: Date::parse(date).expect("a date") };
    let entry = |(host, written): &(&str, u64)| Entry {
        path: format!("{host}/{date}-{slot}.bin").into(),
        size: 1,
        mtime: 0,
        blake3: Digest::of(host.as_bytes()),
        from: 0,
        to: 0,
        dates: Box::default(),
        rows: *written,
        written: *written,
        dropped: 0,
        superseded: 0,
        conflicting: 0,
        first: (*written > 0).then(|| partition.date.start()),
        last: (*written > 0).then(|| partition.date.start() + 60),
        held_by: Box::default(),
    };
    let entries: Vec<Entry> = hosts.iter().map(entry).collect();
    let key = ObjectKey { bucket: Buckets::ONE.of(&partition.cluster, "n1"), partition, slot, beside: None };
    ObjectLedger {
        digest: Digest::of(format!("{key}").as_bytes()),
        key,
        size: 100,
        e_tag: None,
        info: ArchiveInfo { buckets: Buckets::ONE, cluster_column: false },
        after: Vec::new(),
        missing: Vec::new(),
        replaces: Vec::new(),
        rows: entries.iter().map(|entry| entry.written).sum(),
        ledger: Digest::of(b""),
        entries: entries.into(),
    }
}

fn report(view: LsView, partitions: Vec<Vec<ObjectLedger>>) -> Report {
    let mut report = Report::new("a".into(), view);
    for objects in partitions {
        let partition = objects[0].key.partition.clone();
        let keys: BTreeSet<ObjectKey> = objects.iter().map(|object| object.key.clone()).collect();
        report.take(&partition, &Holdings::new(Duration::ZERO, objects, Vec::new(), keys), BTreeMap::new());
    }
    report.finish_cluster();
    report
}

#[test]
fn a_host_in_two_objects_of_a_date_counts_once() {
    let first = vec![object("2026-03-01", 0, &[("n1", 5), ("n2", 5)]), object("2026-03-01", 1, &[("n1", 5), ("n3", 0)])];
    let report = report(LsView::Hosts, vec![first, vec![object("2026-03-02", 0, &[("n1", 5)])]]);
    let [cluster] = &report.clusters[..] else { panic!("one cluster") };
    assert_eq!((cluster.hosts, cluster.dates[0].hosts, cluster.dates[1].hosts, cluster.sums.rows), (2, 2, 1, 20));
    let lines: Vec<_> = cluster.by_host.iter().flatten().map(|line| (line.host.as_str(), line.dates, line.sources, line.rows)).collect();
    assert_eq!(lines, [("n1", 2, 3, 15), ("n2", 1, 1, 5), ("n3", 0, 1, 0)]);
}

#[test]
fn what_a_compaction_has_not_replaced_yet_counts_and_the_new_object_does_not() {
    let members = [object("2026-03-01", 0, &[("n1", 5)]), object("2026-03-01", 1, &[("n1", 7)])];
    let replaces = members.iter().map(Member::of).collect();
    let new = ObjectLedger { replaces, ..object("2026-03-01", 2, &[("n1", 12)]) };
    let states = |objects: Vec<ObjectLedger>| {
        let report = report(LsView::Objects, vec![objects]);
        let cluster = &report.clusters[0];
        let lines = cluster.by_object.iter().flatten().map(|line| (line.counts, line.aside, line.replaces.len())).collect::<Vec<_>>();
        (cluster.sums.rows, cluster.sums.objects, cluster.objects_aside, lines)
    };
    let [a, b] = members;
    assert_eq!(states(vec![a.clone(), b, new.clone()]), (12, 2, 1, vec![(true, None, 0), (true, None, 0), (false, Some("pending"), 2)]));
    assert_eq!(states(vec![a, new]), (12, 1, 1, vec![(false, Some("replaced"), 0), (true, None, 2)]));
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_told() {
    let mut report = Report::new("a".into(), LsView::Dates);
    let good = object("2026-03-01", 0, &[("n1", 5)]);
    let bad = Unreadable::new("a/bad.parquet", NotOurs::damaged("it is cut off"));
    let partition = good.key.partition.clone();
    report.take(&partition, &Holdings::new(Duration::ZERO, vec![good], vec![bad], BTreeSet::new()), BTreeMap::new());
    report.finish_cluster();
    assert!(!report.is_complete() && report.total.rows == 5);
    let text = report.to_string();
    assert!(text.contains("cannot be read    1\n  a/bad.parquet: it is cut off\n    look at it with verify"), "{text}");
}
