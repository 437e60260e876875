//! What a reader must read of an object that passes over row groups by their bounds, as most readers do; and what it need not read.

use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use support::{Level, MIDNIGHT, Snapshot, Tree, archive, files_below, noise};

mod support;

fn metadata(bytes: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new().parse_and_finish(bytes).expect("a footer")
}

/// The smallest and the largest name of a column in a row group.
fn bounds(group: &RowGroupMetaData, column: &str) -> (String, String) {
    let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column).expect("a column");
    let statistics = chunk.statistics().expect("statistics");
    assert!(statistics.min_is_exact() && statistics.max_is_exact(), "{column}");
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("a bound").to_vec()).expect("UTF-8");
    (text(statistics.min_bytes_opt()), text(statistics.max_bytes_opt()))
}

/// Which part of an object's bytes is read for rows with these names.
fn part_read(metadata: &ParquetMetaData, wanted: &[(&str, &str)]) -> f64 {
    let can_hold = |group: &&RowGroupMetaData| {
        wanted.iter().all(|(column, name)| {
            let (min, max) = bounds(group, column);
            (min.as_str()..=max.as_str()).contains(name)
        })
    };
    let bytes = |group: &RowGroupMetaData| group.compressed_size() as f64;
    metadata.row_groups().iter().filter(can_hold).map(bytes).sum::<f64>() / metadata.row_groups().iter().map(bytes).sum::<f64>()
}

/// A day of a node with 96 hardware threads and two sockets, a value a minute.
fn day(seed: u64) -> Snapshot {
    let values = |i: u64| noise(seed * 1_000 + i, 1_440);
    let level = |names: &[&str], i: u64| names.iter().zip(0..).fold(Level::default(), |level, (name, n)| level.metric(name, 60, MIDNIGHT, values(10 * i + n)));
    let mut root = (0..20).fold(Level::default(), |level, n| level.metric(&format!("node_{n:02}"), 60, MIDNIGHT, values(n)));
    for i in 0..96 {
        root = root.child(&format!("hwthread{i}"), ("hwthread", &i.to_string()), level(&["clock", "flops", "ipc", "irq"], 10 + i));
    }
    for i in 0..2 {
        root = root.child(&format!("socket{i}"), ("socket", &i.to_string()), level(&["mem_bw", "power", "temp"], 200 + i));
    }
    Snapshot { from: MIDNIGHT, to: MIDNIGHT + 86_400, root }
}

fn only_object(tree: &Tree) -> Bytes {
    let target = tempfile::tempdir().expect("a folder");
    archive(tree.path(), target.path(), &[]).expect(0);
    let objects = files_below(target.path());
    assert_eq!(objects.len(), 1, "{:?}", objects.keys());
    objects.into_values().next().expect("an object")
}

#[test]
fn a_question_reads_little_more_than_its_answer() {
    let tree = Tree::new();
    (0..3).for_each(|n| tree.bin("c", &format!("n{n}"), &day(n)));
    let metadata = metadata(&only_object(&tree));
    for group in metadata.row_groups() {
        let (first, last) = bounds(group, "hostname");
        assert_eq!(first, last, "a large host shares no row group");
    }
    // all of a host, but for the part of it that the bounds rule out
    let questions: [(&[(&str, &str)], f64); 4] = [
        // two series have 2,880 of 1,771,200 rows
        (&[("hostname", "n1"), ("scope", "socket"), ("metric", "power")], 0.008),
        // the end of the node shares a row group with the sockets
        (&[("scope", "node"), ("metric", "node_07")], 0.05),
        (&[("scope", "hwthread"), ("metric", "flops")], 0.24),
        (&[("scope", "socket"), ("metric", "mem_bw")], 0.03),
    ];
    for (wanted, most) in questions {
        let part = part_read(&metadata, wanted);
        assert!(part > 0.0 && part <= most, "{wanted:?}: {part:.4} of the object, {most} at most");
    }
}

#[test]
fn small_hosts_share_row_groups() {
    let tree = Tree::new();
    let values = || noise(7, 1_440);
    for host in 0..20 {
        let root = (0..24).fold(Level::default(), |level, n| level.metric(&format!("m{n}"), 60, MIDNIGHT, values()));
        tree.bin("c", &format!("n{host:02}"), &Snapshot { from: MIDNIGHT, to: MIDNIGHT + 86_400, root });
    }
    let metadata = metadata(&only_object(&tree));
    // 34,560 rows a host, and no host in two of them
    let hosts: Vec<_> = metadata.row_groups().iter().map(|group| bounds(group, "hostname")).collect();
    let expected = [("n00", "n03"), ("n04", "n07"), ("n08", "n11"), ("n12", "n15"), ("n16", "n19")];
    assert_eq!(hosts, expected.map(|(first, last)| (first.to_owned(), last.to_owned())));
}

#[test]
fn what_readers_fetch_of_a_footer_does_not_grow_with_sources() {
    let footer = |snapshots: i64| {
        let tree = Tree::new();
        let minutes = 1_400 / snapshots;
        for n in 0..snapshots {
            tree.bin("c", "n1", &Snapshot::minutes(MIDNIGHT + n * minutes * 60, noise(n as u64, minutes as usize)));
        }
        let bytes = only_object(&tree);
        assert_eq!(support::ledger_of(&bytes).expect("a ledger").len(), snapshots as usize);
        support::footer_size(&bytes)
    };
    let (few, many) = (footer(1), footer(280));
    assert!(many < few + 40, "{few} bytes with one source, {many} with 280");
}

#[test]
fn an_object_ends_when_it_has_very_many_row_groups() {
    let tree = Tree::new();
    // a row group each, of next to no bytes
    let values = vec![1.0; 12 << 10];
    for host in 0..12 {
        let root = (0..200).fold(Level::default(), |level, n| level.metric(&format!("m{n:03}"), 1, MIDNIGHT, values.clone()));
        tree.bin("c", &format!("n{host:02}"), &Snapshot { from: MIDNIGHT, to: MIDNIGHT + (12 << 10), root });
    }
    let target = tempfile::tempdir().expect("a folder");
    archive(tree.path(), target.path(), &[]).expect(0);
    let groups: Vec<_> = files_below(target.path()).values().map(|bytes| metadata(bytes).num_row_groups()).collect();
    // at the end of the tenth its last row group still waits for what comes next
    assert_eq!(groups, [2_200, 200]);
}
