//! `--memory` holds, whatever the tree is like: the peak stays below it and 64 MiB more.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::{DAY, Level, MIDNIGHT, Snapshot, Tree, archive, archiver, noise, run};

mod support;

/// What a run holds at a time depends a little on how its threads take turns: nothing else runs beside it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    let _alone = alone();
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
    // of text and of what is compressed values go to a file
    let text = day_of(200, MIDNIGHT, 1, |m| (format!("m{m:03}"), values.clone()));
    let tree = Tree::new();
    tree.json("c", "n1", &text);
    assert_little_memory("text", &tree, 200 * 80_000);
    // two files of which one has the even seconds and one the odd ones: no two values stand beside each other
    let tree = Tree::new();
    for from in [MIDNIGHT, MIDNIGHT + 1] {
        tree.bin("c", "n1", &day_of(120, from, 2, |m| (format!("m{m:03}"), &values[..40_000])));
    }
    assert_little_memory("phases", &tree, 2 * 120 * 40_000);
}

#[test]
fn hosts_that_went_down_do_not_keep_the_memory_of_their_files() {
    let _alone = alone();
    // of a megabyte each a few values are left, and wait for those of other hosts
    let tree = Tree::new();
    let mut values = vec![f32::NAN; 80_000];
    values[..40].fill(1.0);
    let snapshot = day_of(3, MIDNIGHT, 1, |m| (format!("m{m}"), values.clone()));
    (0..200).for_each(|host| tree.bin("c", &format!("n{host:03}"), &snapshot));
    assert_little_memory("hosts", &tree, 200 * 3 * 40);
}

/// What the metrics say that the run took at most.
fn peak_by(metrics: &Path) -> u64 {
    let text = std::fs::read_to_string(metrics).expect("metrics");
    let line = text.lines().find(|line| line.starts_with("cc_archiver_run_peak_memory_bytes")).expect("the peak");
    line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number") as u64
}

/// Three days of a large site that writes checkpoints every hour. A release build holds 3,000 hosts so; of a test build, 15 MiB are its code.
#[test]
fn a_tree_of_very_many_snapshots_takes_no_more_than_that() {
    let _alone = alone();
    const HOSTS: usize = 2_500;
    const SNAPSHOTS: usize = HOSTS * 72;
    let (tree, target) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let hourly: Vec<Snapshot> = (0..72).map(|hour| Snapshot::minutes(MIDNIGHT + hour * DAY / 24, [1.0, 2.0, 3.0])).collect();
    for host in 0..HOSTS {
        hourly.iter().for_each(|snapshot| tree.bin("c", &format!("n{host:04}"), snapshot));
    }
    let metrics = target.path().join("prometheus.prom");
    let store = target.path().join("archive");
    let little = ["--memory", "64MiB", "--metrics-file", metrics.to_str().expect("UTF-8")];
    let mut peaks = Vec::new();
    for (what, files) in [("all new", SNAPSHOTS), ("nothing new", 0)] {
        let summary = archive(tree.path(), &store, &little).expect(0).summary();
        assert_eq!(summary["files"], files, "{what}: {summary}");
        peaks.push((what, peak_by(&metrics)));
    }
    for (what, flags) in [("a dry run of prune", &["--dry-run"][..]), ("prune", &[])] {
        let mut prune = archiver();
        prune.arg("prune").arg(tree.path()).arg(&store).args(["--older-than", "1h", "--json", "--progress", "never"]).args(&little[2..]).args(flags);
        let summary = run(&mut prune).expect(0).summary();
        assert_eq!(summary["pruned"], SNAPSHOTS - HOSTS, "{what}: {summary}");
        peaks.push((what, peak_by(&metrics)));
    }
    let shown: Vec<String> = peaks.iter().map(|(what, peak)| format!("{what} {} MiB", peak >> 20)).collect();
    assert!(peaks.iter().all(|(_, peak)| *peak < 128 << 20), "{shown:?}");
}
