//! Checkpoint trees on disk, one for each machine that has its own, and what the test itself knows of them: nothing here asks the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_compression::tokio::bufread::GzipEncoder;
use bytes::Bytes;
use cc_archiver::names::Date;
use tokio::io::AsyncReadExt;

use super::random::Random;
use super::support::{Level, MIDNIGHT, Row, Snapshot};

/// What there must be one value of: host, selector, metric, timestamp.
pub type Instant = (String, String, String, i64);
/// The frequency that came with a value, and its bits.
pub type Value = (i64, u32);

/// The cluster of all trees.
pub const CLUSTER: &str = "c";

const HOSTS: [&str; 3] = ["a", "b-1", "ü"];
const PLACES: [&str; 4] = ["", "socket0", "core1", "gpu"];
const METRICS: [&str; 3] = ["flops", "mem_bw", "x"];

#[derive(Debug, Clone)]
struct Series {
    place: &'static str,
    metric: &'static str,
    frequency: i64,
    start: i64,
    values: Vec<f32>,
}

/// One snapshot.
#[derive(Debug, Clone)]
pub struct File {
    /// Whose it is.
    pub tree: usize,
    pub host: &'static str,
    pub from: i64,
    ending: &'static str,
    series: Vec<Series>,
    /// Its writer has not come to the end.
    pub half: bool,
    /// Counts all files that ever were: no two have the same time of change.
    pub version: u64,
    pub bytes: Bytes,
}

fn some_value(random: &mut Random) -> f32 {
    match random.below(6) {
        0 | 1 => f32::NAN,
        2 => -0.0,
        3 => 0.1,
        _ => random.below(5) as f32,
    }
}

fn some_series(random: &mut Random, from: i64) -> Vec<Series> {
    let mut taken = BTreeSet::new();
    let mut series = Vec::new();
    for _ in 0..1 + random.below(4) {
        let (place, metric) = (random.one_of(&PLACES), random.one_of(&METRICS));
        // a level has each metric once
        if taken.insert((place, metric)) {
            let frequency = random.one_of(&[60, 600, 3_600, 7_200]);
            let start = from + random.one_of(&[-3_000, 0, 0, 0, 30, 600]);
            let values = (0..random.below(13)).map(|_| some_value(random)).collect();
            series.push(Series { place, metric, frequency, start, values });
        }
    }
    series
}

impl File {
    pub fn random(random: &mut Random, trees: usize) -> Self {
        let (tree, host) = (random.below(trees), random.one_of(&HOSTS));
        // three hours apart, so that many overlap, many cross midnight, and some meet; other machines can have other boundaries
        let boundary = if random.once_in(2) { 0 } else { 4_800 * tree as i64 };
        let from = MIDNIGHT + 10_800 * random.below(16) as i64 + boundary;
        let ending = random.one_of(&["bin", "bin", "json", "json", "bin.gz", "json.gz"]);
        let series = some_series(random, from);
        Self { tree, host, from, ending, series, half: false, version: 0, bytes: Bytes::new() }.packed()
    }

    /// Two hours around a midnight, of each of many hosts.
    pub fn around_midnight() -> impl Iterator<Item = Self> {
        let from = MIDNIGHT + 23 * 3_600;
        let series = Series { place: "", metric: METRICS[0], frequency: 60, start: from, values: (0_u8..120).map(f32::from).collect() };
        HOSTS
            .into_iter()
            .map(move |host| Self { tree: 0, host, from, ending: "bin", series: vec![series.clone()], half: false, version: 0, bytes: Bytes::new() }.packed())
    }

    /// The date of its name.
    pub fn home(&self) -> Date {
        Date::of(self.from).expect("a date")
    }

    /// Below the folder of all trees.
    pub fn path(&self) -> String {
        format!("{}/{CLUSTER}/{}", self.tree, self.ledger_path())
    }

    /// As ledgers call it.
    pub fn ledger_path(&self) -> String {
        format!("{}/{}.{}", self.host, self.from, self.ending)
    }

    fn snapshot(&self) -> Snapshot {
        let mut levels: BTreeMap<&str, Level> = BTreeMap::new();
        for Series { place, metric, frequency, start, values } in &self.series {
            let level = levels.remove(place).unwrap_or_default();
            levels.insert(place, level.metric(metric, *frequency, *start, values.clone()));
        }
        let mut root = levels.remove("").unwrap_or_default();
        for (name, scope) in [("socket0", ("socket", "0")), ("core1", ("core", "1")), ("gpu", ("gpu", ""))] {
            if let Some(level) = levels.remove(name) {
                root = root.child(name, scope, level);
            }
        }
        let to = self.series.iter().map(|s| s.start + s.frequency * s.values.len() as i64).max();
        Snapshot { from: self.from, to: to.unwrap_or(self.from).max(self.from), root }
    }

    fn packed(mut self) -> Self {
        let snapshot = self.snapshot();
        let plain = if self.ending.starts_with("json") { snapshot.json() } else { snapshot.bin() };
        let mut bytes = plain;
        if self.ending.ends_with(".gz") {
            let mut packed = Vec::new();
            futures::executor::block_on(GzipEncoder::new(&bytes[..]).read_to_end(&mut packed)).expect("compressed in memory");
            bytes = packed;
        }
        if self.half {
            bytes.truncate(bytes.len() / 2);
        }
        self.bytes = bytes.into();
        self
    }

    /// Its rows; none as long as it cannot be read.
    pub fn rows(&self) -> Vec<(Instant, Value)> {
        if self.half {
            return Vec::new();
        }
        self.snapshot().rows(CLUSTER, self.host).into_iter().map(keyed).collect()
    }

    /// The same snapshot, with other values at other times.
    fn rewritten(&self, random: &mut Random) -> Self {
        Self { series: some_series(random, self.from), half: false, ..self.clone() }.packed()
    }

    /// As many bytes, and other values at the same times.
    fn changed(&self, random: &mut Random) -> Self {
        let mut file = self.clone();
        let values = file.series.iter_mut().flat_map(|series| &mut series.values).filter(|value| !value.is_nan());
        values.for_each(|value| *value = random.below(9) as f32);
        file.packed()
    }

    /// The same snapshot, with more values at its end.
    pub fn grown(&self, random: &mut Random) -> Self {
        let mut file = Self { half: false, ..self.clone() };
        for series in &mut file.series {
            series.values.extend((0..1 + random.below(4)).map(|_| some_value(random)));
        }
        file.packed()
    }
}

/// A row as instant and value.
pub fn keyed(row: Row) -> (Instant, Value) {
    ((row.hostname, row.selector, row.metric, row.timestamp), (row.frequency, row.bits))
}

/// What others than the program do to a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A new snapshot.
    New,
    /// A snapshot gets other values at other times.
    Rewritten,
    /// A snapshot gets other values, and stays as long as it is.
    Changed,
    /// A snapshot gets more values.
    Grown,
    /// A snapshot is removed, archived or not.
    Vanished,
    /// A snapshot is being written: it ends in the middle.
    Half,
}

impl Change {
    pub const ALL: [Self; 6] = [Self::New, Self::Rewritten, Self::Changed, Self::Grown, Self::Vanished, Self::Half];
}

/// The trees.
pub struct Disk {
    root: PathBuf,
    trees: usize,
    pub files: BTreeMap<String, File>,
    /// Every value that a snapshot ever held for an instant.
    pub ever: BTreeMap<Instant, BTreeSet<Value>>,
    versions: u64,
    /// What was changed, in words.
    pub story: Vec<String>,
}

impl Disk {
    pub fn new(root: PathBuf, trees: usize) -> Self {
        for tree in 0..trees {
            // the host stays when its files go: an empty tree is a mistake that the program refuses
            fs::create_dir_all(root.join(tree.to_string()).join(CLUSTER).join(HOSTS[0])).expect("folders can be made");
        }
        Self { root, trees, files: BTreeMap::new(), ever: BTreeMap::new(), versions: 0, story: Vec::new() }
    }

    /// Where a tree is.
    pub fn tree(&self, tree: usize) -> PathBuf {
        self.root.join(tree.to_string())
    }

    /// How many there are.
    pub fn trees(&self) -> usize {
        self.trees
    }

    pub fn put(&mut self, mut file: File) {
        self.versions += 1;
        file.version = self.versions;
        self.write(file);
    }

    fn write(&mut self, file: File) {
        for (instant, value) in file.rows() {
            self.ever.entry(instant).or_default().insert(value);
        }
        let path = self.root.join(file.path());
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
        fs::write(&path, &file.bytes).expect("written");
        // after all that snapshots hold, so that pruning takes them for old
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(MIDNIGHT as u64 + 10 * 86_400 + file.version) + Duration::from_nanos(file.version);
        fs::File::options().write(true).open(&path).and_then(|opened| opened.set_modified(changed)).expect("its time is set");
        self.files.insert(file.path(), file);
    }

    pub fn remove(&mut self, path: &str) {
        match fs::remove_file(self.root.join(path)) {
            Ok(()) => drop(self.files.remove(path)),
            // the run that is under way has pruned it: whether it may is looked at when the run has ended
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => panic!("{path} cannot be removed: {e}"),
        }
    }

    /// Does something to the tree, to some file of it. False if there is nothing that it can be done to.
    pub fn change(&mut self, change: Change, seed: u64) -> bool {
        let mut random = Random::new(seed);
        let paths: Vec<String> = self.files.keys().cloned().collect();
        if change == Change::New || paths.is_empty() {
            let file = File::random(&mut random, self.trees);
            self.story.push(format!("    {} is {}", file.path(), if self.files.contains_key(&file.path()) { "replaced" } else { "new" }));
            self.put(file.clone());
            if self.trees > 1 && random.once_in(2) {
                // machines that have the same tree, or a part of it
                self.story.push("    and the same in all trees".into());
                let version = self.versions;
                (0..self.trees).for_each(|tree| self.write(File { tree, version, ..file.clone() }));
            }
            return change == Change::New;
        }
        let file = self.files[&random.one_of(&paths)].clone();
        self.story.push(format!("    {}: {change:?}", file.path()));
        match change {
            Change::New => unreachable!("done"),
            Change::Rewritten => self.put(file.rewritten(&mut random)),
            Change::Changed if file.half => return false,
            Change::Changed => self.put(file.changed(&mut random)),
            Change::Grown => self.put(file.grown(&mut random)),
            Change::Vanished => self.remove(&file.path()),
            Change::Half => self.put(File { half: true, ..file }.packed()),
        }
        true
    }

    /// Whoever writes snapshots comes to their end.
    pub fn heal(&mut self) {
        for file in self.files.values().filter(|file| file.half).cloned().collect::<Vec<_>>() {
            self.put(File { half: false, ..file }.packed());
        }
    }

    /// Files that are gone though nobody else has removed them; they are forgotten.
    pub fn take_gone(&mut self) -> Vec<File> {
        let gone: Vec<String> = self.files.keys().filter(|path| !self.root.join(path).exists()).cloned().collect();
        gone.iter().filter_map(|path| self.files.remove(path)).collect()
    }

    /// The files whose bytes are not those that were written.
    pub fn touched(&self) -> Vec<String> {
        let differs = |(path, file): &(&String, &File)| fs::read(self.root.join(path)).ok().as_deref() != Some(&file.bytes[..]);
        self.files.iter().filter(differs).map(|(path, _)| path.clone()).collect()
    }
}
