//! `--memory` holds, whatever the tree is like: the peak stays below it and 64 MiB more.

use support::{Level, MIDNIGHT, Snapshot, Tree, archive, noise};

mod support;

/// Archives a tree with the least memory that can be asked for.
fn assert_little_memory(what: &str, tree: &Tree, rows: usize) {
    let target = tempfile::tempdir().expect("a folder");
    let summary = archive(tree.path(), target.path(), &["--memory", "64MiB"]).expect(0).summary();
    assert_eq!(summary["rows_written"], rows, "{what}: {summary}");
    let peak = summary["peak_memory"].as_u64().expect("bytes");
    assert!(peak < 128 << 20, "{what}: {} MiB", peak >> 20);
}

/// A snapshot of a day whose metrics are named and valued by `metric`.
fn day_of<V: Into<Vec<f32>>>(count: usize, from: i64, frequency: i64, metric: impl Fn(usize) -> (String, V)) -> Snapshot {
    let root = (0..count).map(metric).fold(Level::default(), |root, (name, values)| root.metric(&name, frequency, from, values));
    Snapshot { from, to: from + 80_000, root }
}

#[test]
fn a_host_that_is_larger_than_the_memory_does_not_take_more_than_that() {
    let values = noise(5, 80_000);
    let large = day_of(500, MIDNIGHT, 1, |m| (format!("m{m:03}"), values.clone()));
    // of a file of 20 MB the structure takes half a gigabyte
    let tiny = day_of(500_000, MIDNIGHT, 60, |m| (format!("m{m:06}"), [1.0]));
    let gaps: Vec<f32> = (0..80_000).map(|i| if i % 2 == 0 { f32::NAN } else { 1.0 }).collect();
    let gaps = day_of(100, MIDNIGHT, 1, |m| (format!("m{m:03}"), gaps.clone()));
    let name = "x".repeat(60_000);
    let names = day_of(1_500, MIDNIGHT, 60, |m| (format!("{m:04}{name}"), [1.0]));
    for (what, snapshot, rows) in [("values", large, 500 * 80_000), ("series", tiny, 500_000), ("gaps", gaps, 100 * 40_000), ("names", names, 1_500)] {
        let tree = Tree::new();
        tree.bin("c", "n1", &snapshot);
        assert_little_memory(what, &tree, rows);
    }
    // two files of which one has the even seconds and one the odd ones: no two values stand beside each other
    let tree = Tree::new();
    for from in [MIDNIGHT, MIDNIGHT + 1] {
        tree.bin("c", "n1", &day_of(120, from, 2, |m| (format!("m{m:03}"), &values[..40_000])));
    }
    assert_little_memory("phases", &tree, 2 * 120 * 40_000);
}

#[test]
fn hosts_that_went_down_do_not_keep_the_memory_of_their_files() {
    // of a megabyte each a few values are left, and wait for those of other hosts
    let tree = Tree::new();
    let mut values = vec![f32::NAN; 80_000];
    values[..40].fill(1.0);
    let snapshot = day_of(3, MIDNIGHT, 1, |m| (format!("m{m}"), values.clone()));
    (0..200).for_each(|host| tree.bin("c", &format!("n{host:03}"), &snapshot));
    assert_little_memory("hosts", &tree, 200 * 3 * 40);
}
