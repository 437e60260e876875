//! The life of a metric store, simulated: its buffers, grids, checkpoints, logs and replay as cc-backend has them, with crashes and failures
//! at any time, and runs of ours between any two steps. What is asserted: no sample stands twice because of a log, and lost is only what no
//! run could see, or what a newer sample overwrote.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cc_archiver::files::Filter;
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::schema::{Layout, ValueEncoding};
use cc_archiver::settings::{ArchiveSettings, Dates, Depth, Encoder, Location, Moved};
use cc_archiver::store::Archive;
use cc_archiver::telemetry::{LogSummary, Progress};
use log::{log_of, record};
use parquet::basic::{Compression, ZstdLevel};
use support::{Level, MIDNIGHT, Snapshot, Tree, block_on, files_below, rows_of};

#[path = "support/log.rs"]
mod log;
mod support;

const STEP: i64 = 60;
const HOUR: i64 = 3_600;
/// Values of a buffer.
const BUFFER: usize = 512;
const HOSTS: [&str; 3] = ["n1", "n2", "n3"];
const METRICS: [&str; 2] = ["flops", "mem_bw"];
/// Between midnights, as what is passed over is not seen across one.
const BEGIN: i64 = MIDNIGHT + 100;

// ---- the store ----

struct Buffer {
    start: i64,
    room: usize,
    data: Vec<f32>,
    is_archived: bool,
}

impl Buffer {
    fn new(time: i64) -> Self {
        Self { start: time - STEP / 2, room: BUFFER, data: Vec::new(), is_archived: false }
    }

    fn first(&self) -> i64 {
        self.start + STEP / 2
    }
}

/// Buffers of one series, the oldest first.
#[derive(Default)]
struct Chain(Vec<Buffer>);

impl Chain {
    /// Gives the value that was overwritten.
    fn write(&mut self, time: i64, value: f32) -> Option<f32> {
        if self.0.is_empty() {
            self.0.push(Buffer::new(time));
        }
        let mut last = self.0.last_mut().expect("one");
        if time < last.start {
            return None;
        }
        let mut index = ((time - last.start) / STEP) as usize;
        if index >= last.room {
            self.0.push(Buffer::new(time));
            (last, index) = (self.0.last_mut().expect("one"), 0);
        }
        if let Some(cell) = last.data.get_mut(index) {
            return Some(std::mem::replace(cell, value)).filter(|old| !old.is_nan() && *old != value);
        }
        last.data.resize(index, f32::NAN);
        last.data.push(value);
        None
    }

    fn read(&self, mut from: i64, to: i64) -> (i64, Vec<f32>) {
        let mut at = self.0.len() - 1;
        while from < self.0[at].first() {
            if at == 0 {
                from = self.0[0].first();
                break;
            }
            at -= 1;
        }
        let (mut time, mut values) = (from, Vec::new());
        while time < to {
            let index = |at: usize| (time - self.0[at].start) / STEP;
            if index(at) >= self.0[at].room as i64 {
                if at + 1 == self.0.len() {
                    break;
                }
                at += 1;
            }
            let buffer = &self.0[at];
            if index(at) >= buffer.data.len() as i64 {
                if self.0.get(at + 1).is_none_or(|next| to <= next.start) {
                    break;
                }
                values.push(f32::NAN);
            } else if time < buffer.start {
                values.push(f32::NAN);
            } else {
                values.push(buffer.data[index(at) as usize]);
            }
            time += STEP;
        }
        (from, values)
    }

    /// True if it has something in these times that is in no snapshot.
    fn is_new(&self, from: i64, to: i64) -> bool {
        let overlaps = |b: &Buffer| from <= b.first() + b.data.len() as i64 * STEP && b.start <= to;
        self.0.iter().any(|buffer| !buffer.is_archived && overlaps(buffer))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    /// Memory is gone; the log ends in the middle of a record.
    Crash { torn: bool },
    /// It loads snapshots, and the logs.
    Start,
    /// It writes a checkpoint before it ends.
    Stop,
    /// A checkpoint in which these hosts fail.
    Checkpoint { failing: &'static [usize] },
    /// A checkpoint in which the samples of that minute are not logged.
    Dropping,
    /// A host sends nothing from now on, or sends again.
    Silent(usize, bool),
    /// A host sends a sample that is so many seconds old.
    Late(usize, i64),
    /// The log has become too large: it is begun anew.
    Cut(usize),
    /// Snapshots are written as JSON from now on, and no log.
    Json,
    /// Every checkpoint of this host fails from now on, or none does.
    Broken(usize, bool),
    /// Checkpoints come at another interval.
    Interval(i64),
    /// The store's clock jumps: samples and checkpoints are so many seconds further.
    Jump(i64),
    /// A snapshot of a time that has not come.
    Future,
    /// Snapshots that are archived are removed, but for each host's newest.
    Pruned,
    /// A run of ours.
    Run,
}

/// A log that the store has begun.
struct LogFile {
    samples: Vec<usize>,
    /// A run has made a link to it.
    is_linked: bool,
    /// So many of its samples lay there when a run came.
    seen: usize,
}

struct Taken {
    host: usize,
    metric: usize,
    time: i64,
    value: f32,
}

struct Life {
    tree: Tree,
    archive: tempfile::TempDir,
    hold: tempfile::TempDir,
    links: bool,
    jitter: i64,
    interval: i64,
    is_up: bool,
    is_json: bool,
    ahead: i64,
    silent: HashSet<usize>,
    broken: HashSet<usize>,
    /// All samples have the same value.
    is_constant: bool,
    memory: HashMap<(usize, usize), Chain>,
    last: i64,
    next: i64,
    opened: HashSet<usize>,
    logs: Vec<LogFile>,
    current: HashMap<usize, usize>,
    samples: Vec<Taken>,
    of_value: HashMap<u32, usize>,
    overwritten: HashSet<usize>,
    in_snapshots: HashSet<(usize, usize, i64, u32)>,
    newest: i64,
    summaries: Vec<LogSummary>,
}

impl Life {
    fn new(links: bool, jitter: i64) -> Self {
        let folder = || tempfile::tempdir().expect("a folder");
        let hold = if links { folder() } else { tempfile::tempdir_in("/dev/shm").expect("a folder") };
        Self {
            tree: Tree::new(),
            archive: folder(),
            hold,
            links,
            jitter,
            interval: 6 * HOUR,
            is_up: false,
            is_json: false,
            ahead: 0,
            silent: HashSet::new(),
            broken: HashSet::new(),
            is_constant: false,
            memory: HashMap::new(),
            last: 0,
            next: 0,
            opened: HashSet::new(),
            logs: Vec::new(),
            current: HashMap::new(),
            samples: Vec::new(),
            of_value: HashMap::new(),
            overwritten: HashSet::new(),
            in_snapshots: HashSet::new(),
            newest: 0,
            summaries: Vec::new(),
        }
    }

    fn folder(&self, host: usize) -> PathBuf {
        self.tree.path().join("c").join(HOSTS[host])
    }

    fn log_path(&self, host: usize) -> PathBuf {
        self.folder(host).join("current.wal")
    }

    /// Goes through `minutes`, with `events` at their minutes, and runs of ours every so many.
    fn live(&mut self, minutes: i64, events: &[(i64, Event)], every: i64) {
        self.event(BEGIN, Event::Start);
        for minute in 0..minutes {
            let now = BEGIN + minute * STEP;
            for (_, event) in events.iter().filter(|(at, _)| *at == minute) {
                self.event(now, *event);
            }
            if self.is_up && now + self.ahead >= self.next {
                self.checkpoint(now, &[]);
            }
            if self.is_up {
                self.minute(now, true);
            }
            if every > 0 && minute % every == every - 1 {
                self.run();
            }
        }
        // all else is decided by two more snapshots
        let end = BEGIN + minutes * STEP;
        if !self.is_up {
            self.event(end, Event::Start);
        }
        for round in 1..4 {
            self.minute(end + round * HOUR - STEP, true);
            self.run();
            self.checkpoint(end + round * HOUR, &[]);
            self.run();
        }
    }

    fn minute(&mut self, now: i64, logged: bool) {
        for host in (0..HOSTS.len()).filter(|host| !self.silent.contains(host)).collect::<Vec<_>>() {
            // the same each time the test runs
            let jitter = if self.jitter == 0 { 0 } else { (now / STEP * 7 + host as i64 * 13) * 11 % (self.jitter + 1) };
            self.sample(host, now + self.ahead + 5 * host as i64 % STEP + jitter, logged);
        }
    }

    fn sample(&mut self, host: usize, time: i64, logged: bool) {
        for metric in 0..METRICS.len() {
            let index = self.samples.len();
            let value = if self.is_constant { 1.0 } else { index as f32 + 1.0 };
            self.samples.push(Taken { host, metric, time, value });
            self.of_value.insert(value.to_bits(), index);
            if logged && !self.is_json {
                self.log(host, index);
            }
            self.put(index);
        }
    }

    fn put(&mut self, index: usize) {
        let Taken { host, metric, time, value } = self.samples[index];
        if let Some(old) = self.memory.entry((host, metric)).or_default().write(time, value) {
            self.overwritten.insert(self.of_value[&old.to_bits()]);
        }
    }

    fn log(&mut self, host: usize, index: usize) {
        let path = self.log_path(host);
        std::fs::create_dir_all(self.folder(host)).expect("made");
        let (logs, is_new) = (&mut self.logs, !path.exists());
        let current = *self.current.entry(host).or_insert_with(|| {
            logs.push(LogFile { samples: Vec::new(), is_linked: false, seen: 0 });
            logs.len() - 1
        });
        self.opened.insert(host);
        self.logs[current].samples.push(index);
        let Taken { metric, time, value, .. } = self.samples[index];
        let bytes = [if is_new { log_of(&[]) } else { Vec::new() }, record(time, METRICS[metric], &[], value)].concat();
        append(&path, &bytes);
    }

    fn remove_log(&mut self, host: usize) {
        if self.opened.remove(&host) {
            let _ = std::fs::remove_file(self.log_path(host));
            self.current.remove(&host);
        }
    }

    fn checkpoint(&mut self, now: i64, failing: &[usize]) {
        let (from, to, mut written) = (self.last, now + self.ahead, Vec::new());
        for host in (0..HOSTS.len()).filter(|host| !failing.contains(host) && !self.broken.contains(host)) {
            let mut root = Level::default();
            let mut is_new = false;
            for (metric, name) in METRICS.iter().enumerate() {
                let Some(chain) = self.memory.get(&(host, metric)).filter(|chain| chain.is_new(from, to)) else { continue };
                let (start, values) = chain.read(from, to);
                is_new = true;
                let cells = values.iter().enumerate().filter(|(_, value)| !value.is_nan());
                self.in_snapshots.extend(cells.map(|(i, value)| (host, metric, start + i as i64 * STEP, value.to_bits())));
                root = root.metric(name, STEP, start, values);
            }
            if is_new {
                let snapshot = Snapshot { from, to, root };
                if self.is_json {
                    self.tree.json("c", HOSTS[host], &snapshot)
                } else {
                    self.tree.bin("c", HOSTS[host], &snapshot)
                }
                written.push(host);
            }
        }
        if !written.is_empty() {
            self.newest = self.newest.max(from);
            self.last = to;
            written.into_iter().for_each(|host| self.remove_log(host));
        }
        self.next = to + self.interval;
    }

    fn start(&mut self, now: i64) {
        self.is_up = true;
        self.last = now + self.ahead;
        self.next = self.last + self.interval;
        for host in 0..HOSTS.len() {
            // what of the snapshots is in memory does not come into later ones; the log is written to memory
            let Some(current) = self.current.get(&host) else { continue };
            for index in self.logs[*current].samples.clone() {
                self.put(index);
            }
        }
    }

    fn event(&mut self, now: i64, event: Event) {
        match event {
            Event::Crash { torn } => {
                (self.is_up, self.memory) = (false, HashMap::new());
                self.opened.clear();
                if torn {
                    (0..HOSTS.len())
                        .filter(|host| self.log_path(*host).exists())
                        .for_each(|host| append(&self.log_path(host), &record(now, "flops", &[], 0.5)[..20]));
                }
            }
            Event::Start => self.start(now),
            Event::Stop => {
                self.checkpoint(now, &[]);
                (self.is_up, self.memory) = (false, HashMap::new());
                self.opened.clear();
            }
            Event::Checkpoint { failing } => self.checkpoint(now, failing),
            Event::Dropping => {
                self.minute(now - STEP / 2, false);
                self.checkpoint(now, &[]);
            }
            Event::Silent(host, is_silent) => {
                if is_silent {
                    self.silent.insert(host);
                } else {
                    self.silent.remove(&host);
                }
            }
            Event::Broken(host, is_broken) => {
                if is_broken {
                    self.broken.insert(host);
                } else {
                    self.broken.remove(&host);
                }
            }
            Event::Late(host, ago) => self.sample(host, now + self.ahead - ago, true),
            Event::Cut(host) => {
                self.opened.insert(host);
                self.remove_log(host);
            }
            Event::Json => self.is_json = true,
            Event::Interval(seconds) => self.interval = seconds,
            Event::Jump(seconds) => self.ahead += seconds,
            Event::Future => {
                let from = 4_102_444_800;
                self.tree.bin("c", "n9", &Snapshot { from, to: from + 60, root: Level::default().metric("m", STEP, from, [1.0]) });
            }
            Event::Pruned => self.prune(),
            Event::Run => self.run(),
        }
    }

    fn prune(&self) {
        for host in 0..HOSTS.len() {
            let Ok(listed) = std::fs::read_dir(self.folder(host)) else { continue };
            let mut names: Vec<PathBuf> = listed.map(|entry| entry.expect("listed").path()).filter(|path| !path.ends_with("current.wal")).collect();
            names.sort();
            names.pop();
            names.iter().for_each(|path| std::fs::remove_file(path).expect("removed"));
        }
    }

    fn run(&mut self) {
        for (host, current) in &self.current {
            if self.log_path(*host).exists() {
                let log = &mut self.logs[*current];
                (log.is_linked, log.seen) = (self.links, log.samples.len());
            }
        }
        if (0..HOSTS.len()).all(|host| !self.folder(host).exists()) {
            return;
        }
        self.summaries.push(archive(self.tree.path(), self.archive.path(), &self.hold.path().join("hold")));
    }

    /// Checks what came of it all.
    fn settle(&self) -> Came {
        let mut came = Came::default();
        let mut stands: HashMap<usize, (usize, usize)> = HashMap::new();
        for row in rows_of(&files_below(&self.archive.path().join("archive"))).into_iter().filter(|row| row.hostname != "n9") {
            let index = *self.of_value.get(&row.bits).unwrap_or_else(|| panic!("a value that nobody took: {row}"));
            let taken = &self.samples[index];
            assert_eq!((HOSTS[taken.host], METRICS[taken.metric]), (row.hostname.as_str(), row.metric.as_str()));
            assert!((row.timestamp - taken.time).abs() < STEP, "{row} was taken at {}", taken.time);
            let of_log = !self.in_snapshots.contains(&(taken.host, taken.metric, row.timestamp, row.bits));
            let found = stands.entry(index).or_default();
            (found.0, found.1) = (found.0 + usize::from(!of_log), found.1 + usize::from(of_log));
        }
        let seen: HashSet<usize> = self.logs.iter().flat_map(|log| &log.samples[..if log.is_linked { log.samples.len() } else { log.seen }]).copied().collect();
        for (index, taken) in self.samples.iter().enumerate() {
            let (of_snapshots, of_logs) = stands.get(&index).copied().unwrap_or_default();
            came.samples += 1;
            came.rescued += of_logs;
            came.twice += usize::from(of_logs > 1 || (of_logs == 1 && of_snapshots > 0));
            if of_snapshots + of_logs > 0 || taken.time + STEP >= self.newest {
                continue;
            }
            came.lost += 1;
            if self.overwritten.contains(&index) {
                came.overwritten += 1;
            } else if !seen.contains(&index) {
                came.unseen += 1;
            } else if self.has_neighbour(index) {
                came.neighbours += 1;
            } else {
                came.missed += 1;
            }
        }
        came
    }

    /// True if another sample of the series was taken less than a step from it.
    fn has_neighbour(&self, index: usize) -> bool {
        let Taken { host, metric, time, .. } = self.samples[index];
        let is_near = |(other, taken): (usize, &Taken)| other != index && (taken.host, taken.metric) == (host, metric) && (taken.time - time).abs() < STEP;
        self.samples.iter().enumerate().any(is_near)
    }
}

/// What became of all samples.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Came {
    samples: usize,
    /// Rows that came from logs.
    rescued: usize,
    /// Samples that stand twice because of a log.
    twice: usize,
    /// Samples that stand nowhere: those that were overwritten, those that no run could see, those that have a neighbour less than a step
    /// away, and others.
    lost: usize,
    overwritten: usize,
    unseen: usize,
    neighbours: usize,
    missed: usize,
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("opened");
    std::io::Write::write_all(&mut file, bytes).expect("written");
}

fn archive(tree: &Path, place: &Path, hold: &Path) -> LogSummary {
    let layout = Layout {
        compression: Compression::ZSTD(ZstdLevel::try_new(1).expect("a level")),
        value_encoding: ValueEncoding::ByteStreamSplit,
        cluster_column: false,
        row_group_rows: 1 << 20,
        object_size: 128 << 20,
    };
    let settings = ArchiveSettings {
        checkpoints: tree.to_owned(),
        archive: Location::Directory(place.join("archive")),
        filter: Filter::default(),
        before: None,
        dates: Dates::default(),
        newest_first: false,
        moved: Moved::Archive,
        min_age: Duration::ZERO,
        dry_run: false,
        workers: 1,
        memory: 256 << 20,
        spool: std::env::temp_dir(),
        layout,
        encoder: Encoder::Runs,
        verify: Depth::Footer,
        prune_after: None,
        wal: None,
        wal_hold: Some(hold.to_owned()),
        lock_file: None,
        removes_after: None,
        s3: None,
    };
    let open = || Archive::open(&settings.archive, None, false);
    match block_on(pipeline::archive_into(&settings, open, Arc::new(Progress::default()), std::future::pending())).expect("archived") {
        Outcome::Done(summary) => {
            assert!(summary.set_aside.is_empty(), "{:?}", summary.set_aside);
            summary.logs.expect("logs were looked at")
        }
        Outcome::Planned(_) => panic!("it was no dry run"),
    }
}

/// Minutes, jitter in s, and what happens at which minute.
type Course = (i64, i64, Vec<(i64, Event)>);

/// Lives by name: minutes, jitter in s, and what happens. Checkpoints come every six hours.
fn lives() -> BTreeMap<&'static str, Course> {
    use Event::*;
    let crash = |at: i64, down: i64| vec![(at, Crash { torn: false }), (at + down, Start)];
    let torn = |at: i64, down: i64| vec![(at, Crash { torn: true }), (at + down, Start)];
    let of = |parts: Vec<Vec<(i64, Event)>>| parts.concat();
    BTreeMap::from([
        ("regular rounds", (1_500, 0, vec![])),
        ("jitter of 20 s", (1_500, 20, vec![])),
        ("jitter of 59 s", (1_500, 59, vec![])),
        ("a crash in mid-interval, restarted after 10 min", (1_500, 0, crash(550, 10))),
        ("a crash with jitter of 20 s", (1_500, 20, crash(550, 10))),
        ("a crash with jitter of 59 s", (1_500, 59, crash(550, 10))),
        ("a crash, restarted at once", (1_500, 0, crash(550, 0))),
        ("a crash, down for long", (1_800, 0, crash(550, 600))),
        ("a second crash before a checkpoint", (1_500, 0, of(vec![torn(500, 3), torn(600, 5)]))),
        ("a crash with a silent host", (1_500, 0, of(vec![vec![(400, Silent(1, true))], crash(550, 10), vec![(900, Silent(1, false))]]))),
        ("clean stops", (1_500, 0, vec![(300, Stop), (310, Start), (800, Stop), (801, Start)])),
        ("one host fails two rounds", (1_500, 0, vec![(300, Checkpoint { failing: &[1] }), (500, Checkpoint { failing: &[1] })])),
        ("all hosts fail a round", (1_500, 0, vec![(300, Checkpoint { failing: &[0, 1, 2] })])),
        ("a host without snapshots", (1_500, 0, of(vec![vec![(0, Broken(1, true))], crash(550, 10)]))),
        ("a host whose checkpoints fail for a while", (1_500, 0, vec![(300, Broken(1, true)), (1_000, Broken(1, false))])),
        ("a host that is down for long", (1_800, 0, vec![(200, Silent(2, true)), (1_200, Silent(2, false))])),
        ("late samples", (1_500, 0, vec![(380, Late(0, 1_810)), (381, Late(1, 3_625)), (400, Late(2, 2_433))])),
        ("a log that is cut, then a crash", (1_500, 0, of(vec![vec![(450, Cut(0)), (500, Run), (520, Cut(0))], crash(550, 10)]))),
        ("drops in a round", (1_500, 0, vec![(361, Dropping)])),
        ("a crash just after a checkpoint", (1_500, 0, of(vec![vec![(360, Checkpoint { failing: &[2] })], crash(361, 2)]))),
        ("another interval", (1_500, 0, of(vec![vec![(400, Interval(2 * HOUR))], crash(700, 10)]))),
        ("JSON instead of logs after a restart", (1_500, 0, vec![(550, Stop), (560, Json), (560, Start)])),
        ("the store's clock goes ahead", (1_500, 0, of(vec![vec![(400, Jump(600))], crash(600, 5)]))),
        (
            "snapshots that are pruned before a decision",
            (1_500, 0, of(vec![vec![(540, Run), (541, Pruned)], crash(550, 10), vec![(800, Run), (801, Pruned), (1_200, Pruned)]])),
        ),
        ("a snapshot from the future", (1_500, 0, of(vec![vec![(300, Future)], crash(550, 10)]))),
        ("runs around a crash", (1_500, 0, of(vec![vec![(549, Run), (550, Run)], crash(550, 10), vec![(560, Run), (561, Run), (919, Run), (921, Run)]]))),
    ])
}

fn every_life(links: bool) {
    for (name, (minutes, jitter, events)) in lives() {
        let mut life = Life::new(links, jitter);
        life.live(minutes, &events, 180);
        let came = life.settle();
        println!("{name}: {came:?}");
        assert_eq!((came.twice, came.missed), (0, 0), "{name}: {came:?}");
        // a log that is begun and cut between two runs
        let is_cut = events.iter().any(|(_, event)| matches!(event, Event::Cut(_)));
        assert!(came.unseen == 0 || !links || is_cut, "{name}: {came:?}");
        let last = life.summaries.last().expect("runs");
        assert!(last.logs <= 3 * HOSTS.len() as u64, "{name}: what is decided is given up: {last:?}");
    }
}

#[test]
fn no_life_of_a_store_doubles_or_loses_a_sample_that_a_link_holds() {
    every_life(true);
}

#[test]
fn no_life_of_a_store_doubles_or_loses_a_sample_that_a_copy_holds() {
    every_life(false);
}

#[test]
fn of_constant_series_a_restart_costs_or_doubles_a_row_at_most() {
    let mut life = Life::new(true, 0);
    life.is_constant = true;
    let restarts = [(550, Event::Crash { torn: false }), (560, Event::Start), (1_000, Event::Crash { torn: true }), (1_003, Event::Start)];
    life.live(1_500, &restarts, 180);
    for (host, metric) in [(0, 0), (2, 1)] {
        let taken = life.samples.iter().filter(|taken| (taken.host, taken.metric) == (host, metric) && taken.time + STEP < life.newest).count();
        let is_it = |row: &support::Row| row.hostname == HOSTS[host] && row.metric == METRICS[metric] && row.timestamp + STEP < life.newest;
        let rows = rows_of(&files_below(&life.archive.path().join("archive"))).iter().filter(|row| is_it(row)).count();
        assert!(rows.abs_diff(taken) <= 2, "{rows} rows of {taken} samples");
    }
}

/// Three days in which most things happen, with a checkpoint every twelve hours.
fn eventful() -> Vec<(i64, Event)> {
    use Event::*;
    vec![
        (0, Interval(12 * HOUR)),
        (400, Crash { torn: false }),
        (410, Start),
        (900, Broken(1, true)),
        (1_300, Cut(0)),
        (1_380, Late(2, 44_000)),
        (1_700, Crash { torn: true }),
        (1_760, Start),
        (2_300, Broken(1, false)),
        (2_500, Checkpoint { failing: &[2] }),
        (3_000, Crash { torn: false }),
        (3_001, Start),
        (3_300, Cut(1)),
        (3_400, Cut(1)),
        (3_900, Stop),
        (3_910, Start),
    ]
}

/// docs/wal.md has this table.
#[test]
fn what_is_rescued_is_as_the_documentation_says() {
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/wal.md")).expect("read");
    let mut missing = Vec::new();
    for hours in [1, 3, 6, 12] {
        for (links, how) in [(true, "link"), (false, "copy")] {
            let mut life = Life::new(links, 0);
            life.live(4_320, &eventful(), hours * 60);
            let came = life.settle();
            assert_eq!((came.twice, came.missed), (0, 0), "{hours} h, {how}: {came:?}");
            let Came { rescued, unseen, .. } = came;
            let line = format!("| {hours} h | {how} | {} | {rescued} | {unseen} | 0 |", rescued + unseen);
            println!("{line}   {came:?}");
            missing.extend((!docs.contains(&line)).then_some(line));
        }
    }
    assert_eq!(missing, [""; 0], "docs/wal.md has other figures");
}
