//! Random forests of checkpoints, archived by random runs, against a model in memory that knows nothing of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::settings::ArchiveSettings;
use cc_archiver::store::Archive;
use cc_archiver::telemetry::{Progress, Summary};
use clap::Parser;
use proptest::prelude::*;

use support::{Level, MIDNIGHT, Objects, Row, Snapshot, Tree, objects_in, rows_in, rows_of};

mod support;

/// A snapshot, and whose it is.
#[derive(Debug, Clone)]
struct File {
    host: String,
    snapshot: Snapshot,
    json: bool,
}

impl File {
    fn path(&self) -> String {
        format!("c/{}/{}.{}", self.host, self.snapshot.from, if self.json { "json" } else { "bin" })
    }

    fn rows(&self) -> Vec<Row> {
        self.snapshot.rows("c", &self.host)
    }

    /// With a header that covers all of its samples, as cc-backend writes it.
    fn with_true_header(mut self) -> Self {
        let last = self.rows().iter().map(|row| row.timestamp).max();
        self.snapshot.to = last.map_or(self.snapshot.to, |last| self.snapshot.to.max(last + 1));
        self
    }

    fn write(&self, tree: &Tree) {
        if self.json { tree.json("c", &self.host, &self.snapshot) } else { tree.bin("c", &self.host, &self.snapshot) }
    }
}

/// Values that JSON and `.bin` can both hold, few enough that contradictions and repetitions occur; a third is NaN.
fn values(most: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(prop_oneof![Just(f32::NAN), (0..5_i8).prop_map(f32::from), Just(-0.0), Just(0.1)], 0..most)
}

/// Series begin at most `early` s before their snapshot and `late` s after its start.
fn level(from: i64, early: i64, late: i64) -> impl Strategy<Value = Level> {
    // most begin at whole ten minutes, so that many have instants in common
    let shift = prop_oneof![4 => (-early / 600..=late / 600).prop_map(|shift| 600 * shift), 1 => -early..=late];
    let metric = (0..3_usize, prop::sample::select(vec![1_i64, 60, 600, 7_200, 40_000]), shift, values(12));
    let place = prop::sample::select(vec!["", "socket0", "socket0/core1", "core1", "gpu"]);
    prop::collection::vec((place, metric), 0..8).prop_map(move |series| {
        let mut taken = BTreeSet::new();
        let mut levels: BTreeMap<&str, Level> = BTreeMap::new();
        for (place, (name, frequency, shift, values)) in series {
            // a level has each metric once
            if taken.insert((place, name)) {
                let name = ["flops", "mem_bw", "x"][name];
                let level = levels.remove(place).unwrap_or_default();
                levels.insert(place, level.metric(name, frequency, from + shift, values));
            }
        }
        let mut socket = levels.remove("socket0").unwrap_or_default();
        if let Some(core) = levels.remove("socket0/core1") {
            socket = socket.child("core1", ("core", "1"), core);
        }
        let mut root = levels.remove("").unwrap_or_default().child("socket0", ("socket", "0"), socket);
        for (name, scope) in [("core1", ("core", "1")), ("gpu", ("gpu", ""))] {
            if let Some(level) = levels.remove(name) {
                root = root.child(name, scope, level);
            }
        }
        root
    })
}

fn encoder() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["runs", "arrow"])
}

/// A forest whose files lie within `days`; each file's time in its name is its own.
fn forest(days: i64, early: i64, late: i64) -> impl Strategy<Value = Vec<File>> {
    let host = prop::sample::select(vec!["a", "b-1", "ü"]);
    let file = (host, 0..days * 8, any::<bool>()).prop_flat_map(move |(host, slot, json)| {
        // three hours apart, so that many end where the next one begins, or in the midst of it, or at midnight
        let from = MIDNIGHT + slot * 10_800;
        (level(from, early, late), 0..5_i64).prop_map(move |(root, hours)| File {
            host: host.to_owned(),
            snapshot: Snapshot { from, to: from + hours * 7_200, root },
            json,
        })
    });
    prop::collection::vec(file, 1..10).prop_map(|files| {
        let by_path: BTreeMap<String, File> = files.into_iter().map(|file| (file.path(), file)).collect();
        by_path.into_values().collect()
    })
}

/// A run as `flags` say.
fn archive(tree: &Tree, archive: &Archive, flags: &[&str]) -> Summary {
    run(tree, archive, flags, |_| {})
}

/// The same with next to no memory: no value is in memory before its turn comes, and hardly an index has two series.
fn archive_cramped(tree: &Tree, archive: &Archive, flags: &[&str]) -> Summary {
    run(tree, archive, flags, |settings| settings.memory = 0)
}

fn run(tree: &Tree, archive: &Archive, flags: &[&str], change: impl FnOnce(&mut ArchiveSettings)) -> Summary {
    let args = ["cc-archiver", "archive", tree.path().to_str().expect("UTF-8"), "unused"];
    let cli = Cli::try_parse_from(args.iter().chain(flags)).expect("valid arguments");
    let Command::Archive(args) = cli.command else { panic!("archive") };
    let mut settings = config::archive(*args, &S3Environment::default()).expect("valid settings");
    change(&mut settings);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let run = pipeline::archive(&settings, archive.clone(), Arc::new(Progress::default()), std::future::pending());
    match runtime.block_on(run).expect("the run succeeds") {
        Outcome::Done(summary) => *summary,
        Outcome::Planned(_) => panic!("this was no dry run"),
    }
}

fn objects(archive: &Archive) -> Objects {
    objects_in(archive.store().as_ref(), "")
}

/// What identifies a row, and its value with the frequency that came with it.
type Keyed = BTreeMap<(String, String, String, i64), (i64, u32)>;

fn keyed(rows: Vec<Row>) -> Result<Keyed, TestCaseError> {
    let mut keyed = Keyed::new();
    for row in rows {
        let key = (row.hostname, row.selector, row.metric, row.timestamp);
        let twice = keyed.insert(key.clone(), (row.frequency, row.bits)).is_some();
        prop_assert!(!twice, "{:?} stands there twice", key);
    }
    Ok(keyed)
}

/// One run: of two snapshots the one with the larger from wins, then the later to, then .bin, then the larger path.
fn model(files: &[File]) -> Result<Keyed, TestCaseError> {
    let mut files: Vec<&File> = files.iter().collect();
    files.sort_by_key(|f| (f.snapshot.from, f.snapshot.to, !f.json, f.path()));
    let mut rows = Keyed::new();
    for file in files {
        rows.extend(keyed(file.rows())?);
    }
    Ok(rows)
}

fn check_objects(objects: &Objects) -> Result<(), TestCaseError> {
    for (key, bytes) in objects {
        let rows = rows_in(key, bytes);
        prop_assert!(rows.windows(2).all(|pair| pair[0].sort_key() < pair[1].sort_key()), "{} is not sorted", key);
        prop_assert!(rows.iter().all(|row| support::date_of(row.timestamp) == row.date), "{} holds another date", key);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn a_run_archives_exactly_what_the_model_says(
        files in forest(3, 3_000, 9_000).prop_map(|files| files.into_iter().map(File::with_true_header).collect::<Vec<_>>()),
        rows_per_group in 1..40_usize,
        workers in 1..4_usize,
        object_size in prop::sample::select(vec!["1", "3kB", "1GiB"]),
        encoder in encoder(),
    ) {
        let tree = Tree::new();
        files.iter().for_each(|file| file.write(&tree));
        let target = Archive::in_memory();
        let (rows_per_group, workers) = (rows_per_group.to_string(), workers.to_string());
        let flags = ["--row-group-rows", &rows_per_group, "--workers", &workers, "--object-size", object_size, "--encoder", encoder];
        let summary = archive(&tree, &target, &flags);
        let found = objects(&target);
        check_objects(&found)?;
        let rows = keyed(rows_of(&found))?;
        let expected = model(&files)?;
        prop_assert_eq!(&rows, &expected);
        prop_assert_eq!(summary.rows_written, expected.len() as u64);
        prop_assert_eq!(summary.rows_read, files.iter().map(|f| f.rows().len() as u64).sum::<u64>());
        prop_assert_eq!(summary.duplicates_dropped, summary.rows_read - summary.rows_written);
        prop_assert_eq!(summary.files, files.len() as u64);
        let again = archive(&tree, &target, &flags);
        prop_assert_eq!((again.objects_written, again.files, again.already_archived), (0, 0, files.len() as u64));

        let target = Archive::in_memory();
        let cramped = archive_cramped(&tree, &target, &flags);
        prop_assert!(objects(&target) == found, "the memory that there is changes what is written");
        prop_assert_eq!((cramped.rows_read, cramped.rows_written, cramped.files), (summary.rows_read, summary.rows_written, summary.files));
    }

    // also where headers say something else than samples do
    #[test]
    fn no_row_is_lost_doubled_or_changed_whatever_came_in_which_run(
        // series that begin days before or after what the name says; or few hours, in which much is archived twice
        files in prop_oneof![forest(20, 400_000, 400_000), forest(1, 3_000, 9_000)],
        night_of in prop::collection::vec(0..4_usize, 10),
        kept in prop::collection::vec(any::<bool>(), 10),
        cramped in prop::collection::vec(any::<bool>(), 4),
        rows_per_group in 1..200_usize,
        encoders in prop::collection::vec(encoder(), 4),
    ) {
        let rows_per_group = rows_per_group.to_string();
        let tree = Tree::new();
        tree.write("c/a/current.wal", b"");
        let target = Archive::in_memory();
        let mut archived = Keyed::new();
        for (night, (is_cramped, encoder)) in cramped.into_iter().zip(encoders).enumerate() {
            for (file, _) in files.iter().zip(&night_of).filter(|(_, of)| **of == night) {
                file.write(&tree);
            }
            // the least memory, or less: windows of one date
            let archive = if is_cramped { archive_cramped } else { archive };
            archive(&tree, &target, &["--memory", "64MiB", "--row-group-rows", &rows_per_group, "--encoder", encoder]);
            let found = objects(&target);
            check_objects(&found)?;
            let rows = keyed(rows_of(&found))?;
            for (key, value) in &archived {
                prop_assert_eq!(rows.get(key), Some(value), "{:?} has changed", key);
            }
            let seen = files.iter().zip(&night_of).filter(|(_, of)| **of <= night).flat_map(|(file, _)| file.rows());
            let mut candidates: BTreeMap<_, Vec<(i64, u32)>> = BTreeMap::new();
            for row in seen {
                candidates.entry((row.hostname, row.selector, row.metric, row.timestamp)).or_default().push((row.frequency, row.bits));
            }
            prop_assert_eq!(rows.keys().collect::<Vec<_>>(), candidates.keys().collect::<Vec<_>>());
            for (key, value) in &rows {
                prop_assert!(candidates[key].contains(value), "{:?} has a value that no snapshot holds", key);
            }
            archived = rows;
            for ((file, _), _) in files.iter().zip(&night_of).zip(&kept).filter(|((_, of), kept)| **of <= night && !**kept) {
                let _ = std::fs::remove_file(tree.path().join(file.path()));
            }
        }
        let again = archive(&tree, &target, &[]);
        prop_assert_eq!(again.objects_written, 0);
    }
}

proptest! {
    // of each an index is made thousands of times
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn rows_that_are_archived_are_found_again_whatever_the_memory_and_the_row_groups(
        series in prop::collection::btree_set((0..5_usize, 0..6_usize), 1..20),
        (values, shift) in (1..60_usize, 0..60_usize),
        rows_per_group in 1..90_usize,
        is_cramped in any::<bool>(),
        encoder in encoder(),
    ) {
        let snapshot = |from: i64, value: f32| {
            let mut levels = vec![Level::default(); 6];
            for (place, name) in &series {
                levels[*place] = levels[*place].clone().metric(&format!("m{name}"), 60, from, vec![value; values]);
            }
            let root = levels.into_iter().enumerate().fold(Level::default(), |root, (core, level)| root.child(&format!("core{core}"), ("core", &core.to_string()), level));
            Snapshot { from, to: from + 3_600, root }
        };
        let (older, newer) = (snapshot(MIDNIGHT, 1.0), snapshot(MIDNIGHT + 60 * shift as i64, 2.0));
        let (tree, target) = (Tree::new(), Archive::in_memory());
        let rows_per_group = rows_per_group.to_string();
        let flags = ["--row-group-rows", &rows_per_group, "--encoder", encoder];
        let hosts = ["a", "b", "c"];
        hosts.iter().for_each(|host| tree.bin("c", host, &older));
        archive(&tree, &target, &flags);
        // of these the archive alone knows what was in them, also where the name is the same
        hosts.iter().for_each(|host| std::fs::remove_file(tree.path().join(format!("c/{host}/{MIDNIGHT}.bin"))).expect("removed"));
        hosts.iter().for_each(|host| tree.bin("c", host, &newer));
        let summary = if is_cramped { archive_cramped(&tree, &target, &flags) } else { archive(&tree, &target, &flags) };
        let rows_of_all = |snapshot: &Snapshot| keyed(hosts.iter().flat_map(|host| snapshot.rows("c", host)).collect());
        let (mut expected, held) = (rows_of_all(&newer)?, rows_of_all(&older)?);
        prop_assert_eq!(summary.conflicting_rows, expected.keys().filter(|key| held.contains_key(*key)).count() as u64);
        expected.extend(held);
        let found = objects(&target);
        check_objects(&found)?;
        prop_assert_eq!(keyed(rows_of(&found))?, expected);
    }
}
