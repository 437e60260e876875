//! Schedules: what happens to the trees of one to three machines and their archive, one after the other, all of it from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::error::Error;
use cc_archiver::files::Shard;
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::settings::{ArchiveSettings, CompactSettings, Dates, ExpireSettings, PruneSettings, TableSettings};
use cc_archiver::store::Archive;
use cc_archiver::table::Tabled;
use cc_archiver::telemetry::{Compaction, Expiry, Progress, PruneSummary, Summary};
use cc_archiver::verify::Kind;
use clap::Parser;
use object_store::path::Path as Key;

use super::check::{Archived, Stands, doubled};
use super::disk::{CLUSTER, Change, Disk, File, Instant, Value};
use super::random::Random;
use super::store::{Client, Conditions, Deletes, Fault, Meanwhile, Request, Server, Strike};
use super::table;

/// One run of `archive`, `prune`, `compact`, `table` or `expire`.
#[derive(Debug, Clone)]
struct Run {
    command: &'static str,
    /// On which machine's tree, if it takes one.
    tree: usize,
    /// Which hosts of it.
    shard: Option<Shard>,
    flags: Vec<String>,
    part_size: usize,
    strikes: Vec<Strike>,
    meanwhile: Vec<(Request, usize, Change, u64)>,
    /// When what killed runs had sent lands; never in this run, if there is no such request.
    late_before: Option<(Request, usize)>,
}

/// What somebody removes from the archive by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removed {
    Last,
    LastTwo,
    Middle,
    /// The archive's own object.
    Own,
}

impl Removed {
    const ALL: [Self; 4] = [Self::Last, Self::LastTwo, Self::Middle, Self::Own];
}

/// A step of a schedule.
#[derive(Debug, Clone)]
enum Step {
    /// A run, maybe with faults.
    Run(Run),
    /// Two or three runs at once; `locked`: those of one tree are on one machine, so that one of them holds the lock.
    Together { runs: Vec<Run>, locked: bool },
    /// Others change the tree.
    Change(Change, u64),
    /// cc-backend removes some of the files that are archived on all dates.
    CleanUp(u64),
    /// The server damages an object, or loses it.
    Damage(u64, Option<Fault>),
    /// Somebody removes objects.
    Remove(u64, Removed),
    /// Somebody puts back what was removed, where the key is free.
    PutBack,
    /// Somebody puts back what was damaged.
    Restore,
    /// What killed runs had sent lands while no run is under way.
    Land,
    /// Days go by without a run.
    Days,
}

/// All that happens.
pub struct Schedule {
    trees: usize,
    conditions: Conditions,
    steps: Vec<Step>,
    /// Whether all that is archived at the end is compacted.
    compacts_at_the_end: bool,
}

/// How often what happened.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    pub counts: BTreeMap<String, u64>,
    pub instants: u64,
    /// All that happened, of one schedule.
    pub trace: String,
}

impl Totals {
    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
        self.instants += other.instants;
    }
}

const REQUESTS: [Request; 9] =
    [Request::List, Request::Get, Request::Head, Request::Put, Request::Begin, Request::Part, Request::Complete, Request::Abort, Request::Delete];

fn some_strikes(random: &mut Random) -> Vec<Strike> {
    let strike = |random: &mut Random, fault: Fault| {
        let on = random.one_of(fault.happens_to());
        let most = if matches!(on, Request::List | Request::Part) { 6 } else { 3 };
        Strike { on, nth: 1 + random.below(most), times: random.one_of(&[1, 1, 1, 2, 9]), fault }
    };
    let first = |on, fault| Strike { on, nth: 1, times: 1, fault };
    match random.below(18) {
        // what a run does when it asks what became of an upload, or gives it up
        0 => vec![first(Request::Put, Fault::LostAnswer), first(Request::Head, random.one_of(&[Fault::Forbidden, Fault::Reset, Fault::Stall]))],
        1 => vec![first(Request::Complete, Fault::LostAnswer), Strike { nth: 2, ..first(Request::Head, Fault::Forbidden) }],
        2 => {
            let aborts = random.one_of(&[Fault::Reset, Fault::LostAnswer, Fault::Busy, Fault::KilledBefore]);
            vec![
                Strike { nth: 1 + random.below(4), ..first(Request::Part, random.one_of(&[Fault::Reset, Fault::Missing, Fault::LostAnswer])) },
                first(Request::Abort, aborts),
            ]
        }
        3 => vec![first(Request::Put, Fault::Occupied), first(Request::Put, Fault::LostAnswer)],
        4 if random.once_in(2) => vec![Strike { nth: 1 + random.below(3), ..first(Request::Part, Fault::Occupied) }],
        // the machine sleeps between two attempts of one request
        4 => {
            let again = random.one_of(&[Fault::Conflict, Fault::Reset]);
            vec![Strike { nth: 3, ..first(Request::Put, again) }, Strike { nth: 1 + random.below(2), ..first(Request::Head, Fault::Suspended) }]
        }
        // and what a killed process leaves
        5..=8 => {
            let on = random.one_of(&[Request::Put, Request::Complete]);
            vec![Strike { nth: 1 + random.below(3), ..first(on, random.one_of(&[Fault::KilledAndLate, Fault::KilledAndLate, Fault::KilledAfter])) }]
        }
        _ => {
            let fault = random.one_of(&Fault::ALL);
            let mut strikes = vec![strike(random, fault)];
            if random.once_in(3) {
                let fault = random.one_of(&Fault::ALL);
                strikes.push(strike(random, fault));
            }
            strikes
        }
    }
}

fn some_rules(random: &mut Random) -> Vec<String> {
    let rules = ["--include-newest", "--prune-conflicting"].into_iter().filter(|_| random.once_in(2));
    rules.map(str::to_owned).collect()
}

fn some_changes(random: &mut Random) -> Vec<(Request, usize, Change, u64)> {
    if !random.once_in(3) {
        return Vec::new();
    }
    let on = random.one_of(&[Request::List, Request::List, Request::Put, Request::Part, Request::Get, Request::Head]);
    vec![(on, 1 + random.below(4), random.one_of(&Change::ALL), random.next())]
}

fn some_late(random: &mut Random, requests: &[Request]) -> Option<(Request, usize)> {
    (!random.once_in(3)).then(|| (random.one_of(requests), 1 + random.below(3)))
}

impl Run {
    fn random(random: &mut Random, trees: usize) -> Self {
        let shard = random.once_in(6).then(|| {
            // more shards than there are hosts, and more than an archive has buckets
            let count = random.one_of(&[2, 3, 20]);
            Shard::new(random.below(count as usize) as u32, count).expect("there is one")
        });
        let mut flags = Vec::new();
        let mut set = |name: &str, value: String| flags.extend([name.to_owned(), value]);
        set("--workers", (1 + random.below(3)).to_string());
        set("--memory", random.one_of(&["64MiB", "64MiB", "512MiB"]).to_owned());
        set("--row-group-rows", random.one_of(&[3, 20, 1 << 20]).to_string());
        set("--object-size", random.one_of(&["1", "2kB", "1GiB", "1GiB"]).to_owned());
        if random.once_in(3) {
            set("--compression", random.one_of(&["none", "snappy"]).to_owned());
        }
        if random.once_in(6) {
            set("--encoder", "arrow".into());
        }
        let mut strikes = if random.once_in(5) { Vec::new() } else { some_strikes(random) };
        if random.once_in(3) {
            set("--prune-after", "1s".into());
            // a server that stores other bytes than it was sent, and says that all is well, is found out by reading only
            set("--verify", "full".into());
            flags.extend(some_rules(random));
        } else if random.once_in(6) {
            // no fault in what deletes
            strikes.clear();
            return Self { meanwhile: some_changes(random), ..Self::prune(random, trees) };
        }
        let meanwhile = some_changes(random);
        let late_before = some_late(random, &REQUESTS[..7]);
        Self { command: "archive", tree: random.below(trees), shard, flags, part_size: random.one_of(&[300, 1_500, 8 << 20]), strikes, meanwhile, late_before }
    }

    fn prune(random: &mut Random, trees: usize) -> Self {
        let strings = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
        let mut flags = strings(&["--older-than", "1s", "--workers"]);
        flags.push((1 + random.below(3)).to_string());
        flags.extend(some_rules(random));
        let mut strikes = some_strikes(random);
        strikes.retain(|strike| matches!(strike.on, Request::List | Request::Get | Request::Head));
        if strikes.is_empty() && random.once_in(2) {
            let fault = random.one_of(&[Fault::Reset, Fault::Busy, Fault::Expired, Fault::Stall, Fault::KilledBefore, Fault::KilledAfter, Fault::Terminated]);
            let on = random.one_of(&[Request::List, Request::Get, Request::Head]);
            strikes.push(Strike { on, nth: 1 + random.below(6), times: 1, fault });
        }
        let late_before = some_late(random, &[Request::List, Request::Get, Request::Head]);
        Self { command: "prune", tree: random.below(trees), shard: None, flags, part_size: 8 << 20, strikes, meanwhile: some_changes(random), late_before }
    }

    /// One of `compact`, with faults.
    fn compact(random: &mut Random) -> Self {
        let mut flags = Vec::new();
        let mut set = |name: &str, value: &str| flags.extend([name.to_owned(), value.to_owned()]);
        set("--workers", &(1 + random.below(3)).to_string());
        set("--memory", random.one_of(&["64MiB", "512MiB"]));
        set("--max-size", random.one_of(&["8kB", "512MiB", "512MiB", "512MiB"]));
        set("--row-group-rows", random.one_of(&["3", "20", "1048576"]));
        set("--min-objects", random.one_of(&["2", "2", "2", "4"]));
        if random.once_in(6) {
            set("--encoder", "arrow");
        }
        let strikes = match random.below(5) {
            0 => Vec::new(),
            // it comes to harm while objects go
            1 | 2 => {
                let faults =
                    [Fault::KilledBefore, Fault::KilledAfter, Fault::KilledAndLate, Fault::LostAnswer, Fault::Reset, Fault::Terminated, Fault::Suspended];
                // the first is tried on nothing
                vec![Strike { on: Request::Delete, nth: 2 + random.below(4), times: 1, fault: random.one_of(&faults) }]
            }
            _ => some_strikes(random),
        };
        let late_before = some_late(random, &REQUESTS);
        Self { command: "compact", tree: 0, shard: None, flags, part_size: random.one_of(&[300, 1_500, 8 << 20]), strikes, meanwhile: Vec::new(), late_before }
    }

    /// One of `table`, with faults.
    fn table(random: &mut Random) -> Self {
        let flags = match random.below(6) {
            0..=2 => vec!["--init".to_owned()],
            3 => vec!["--rebuild".to_owned()],
            _ => Vec::new(),
        };
        let strikes = if random.once_in(2) { Vec::new() } else { some_strikes(random) };
        let late_before = some_late(random, &REQUESTS[..4]);
        Self { command: "table", tree: 0, shard: None, flags, part_size: 8 << 20, strikes, meanwhile: Vec::new(), late_before }
    }

    /// One of `expire`, with faults. Its first flag is the first date that is kept.
    fn expire(random: &mut Random) -> Self {
        let floor = random.one_of(&["2026-03-01", "2026-03-02", "2026-03-02", "2026-03-03"]);
        let strikes = match random.below(4) {
            0 => Vec::new(),
            1 => {
                let faults = [Fault::KilledBefore, Fault::KilledAfter, Fault::KilledAndLate, Fault::LostAnswer, Fault::Reset, Fault::Terminated];
                vec![Strike { on: Request::Delete, nth: 2 + random.below(3), times: 1, fault: random.one_of(&faults) }]
            }
            _ => some_strikes(random),
        };
        let late_before = some_late(random, &REQUESTS[..4]);
        Self { strikes, late_before, ..Self::plain("expire", &[floor]) }
    }

    /// One of many at once.
    fn any(random: &mut Random, trees: usize) -> Self {
        match random.below(10) {
            0 => Self::table(random),
            1 | 2 => Self::compact(random),
            3 => Self::expire(random),
            _ => Self::random(random, trees),
        }
    }

    /// Some runs take some dates only, and some the newest first.
    fn take_part_of_a_backlog(&mut self, random: &mut Random) {
        // those that are to do all that is left have no flags
        if self.command != "archive" || self.flags.is_empty() {
            return;
        }
        if random.once_in(4) {
            // the trees have files of three dates
            let dates = random.one_of(&["2026-03-01", "2026-03-02", "..2026-03-01", "2026-03-02..", "2026-03-01..2026-03-02"]);
            self.flags.extend(["--date".to_owned(), dates.to_owned()]);
        }
        self.flags.extend(random.once_in(3).then(|| "--newest-first".to_owned()));
    }

    /// Dates of the names of files that it takes.
    fn dates(&self) -> Dates {
        let given = self.flags.iter().skip_while(|flag| *flag != "--date").nth(1);
        given.map(|dates| dates.parse().expect("dates")).unwrap_or_default()
    }

    /// True if it is of a tree.
    fn takes_tree(&self) -> bool {
        matches!(self.command, "archive" | "prune")
    }

    /// True if it may delete.
    fn prunes(&self) -> bool {
        self.command == "prune" || self.flags.iter().any(|flag| flag == "--prune-after")
    }

    fn clean(tree: usize) -> Self {
        Self { tree, ..Self::plain("archive", &["--workers", "2"]) }
    }

    /// One without faults.
    fn plain(command: &'static str, flags: &[&str]) -> Self {
        Self {
            command,
            tree: 0,
            shard: None,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            part_size: 8 << 20,
            strikes: Vec::new(),
            meanwhile: Vec::new(),
            late_before: None,
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.command)?;
        if self.takes_tree() {
            write!(f, "{} ", self.tree)?;
        }
        write!(f, "{}, parts of {}", self.flags.join(" "), self.part_size)?;
        self.shard.map_or(Ok(()), |shard| write!(f, ", shard {shard}"))?;
        for strike in &self.strikes {
            write!(f, "; {strike}")?;
        }
        for (on, nth, change, _) in &self.meanwhile {
            write!(f, "; a file is {change:?} at {on:?} {nth}")?;
        }
        Ok(())
    }
}

fn some_step(random: &mut Random, trees: usize) -> Step {
    match random.below(26) {
        0..=2 => {
            let runs = (0..2 + random.below(2)).map(|_| Run::any(random, trees)).collect();
            Step::Together { runs, locked: !random.once_in(3) }
        }
        3 | 4 => Step::Change(random.one_of(&Change::ALL), random.next()),
        5 | 6 => Step::Change(Change::New, random.next()),
        7 | 8 => Step::CleanUp(random.next()),
        9 => Step::Damage(random.next(), random.one_of(&[None, Some(Fault::FlippedBit), Some(Fault::Truncated), Some(Fault::WrongBytes)])),
        10 => Step::Restore,
        11 => Step::Land,
        12 => Step::Remove(random.next(), random.one_of(&Removed::ALL)),
        13 => Step::PutBack,
        14 | 15 => Step::Run(Run::prune(random, trees)),
        16 => Step::Run(Run::table(random)),
        17 => Step::Days,
        _ => Step::Run(Run::random(random, trees)),
    }
}

/// Sequences of several objects, mostly a table, and then compactions that come to harm, alone or beside other runs.
fn live(random: &mut Random, trees: usize, steps: &mut Vec<Step>) {
    for round in 0..2 + random.below(2) {
        steps.extend((0..2).map(|_| Step::Change(Change::New, random.next())));
        let flags: &[&str] = if random.once_in(2) { &["--object-size", "1"] } else { &[] };
        steps.push(Step::Run(Run { tree: random.below(trees), ..Run::plain("archive", flags) }));
        if round == 0 && !random.once_in(4) {
            steps.push(Step::Run(Run { strikes: if random.once_in(4) { some_strikes(random) } else { Vec::new() }, ..Run::plain("table", &["--init"]) }));
        }
    }
    for _ in 0..1 + random.below(3) {
        if !random.once_in(4) {
            steps.push(Step::Days);
        }
        let step = match random.below(9) {
            0..=2 => Step::Run(Run::compact(random)),
            8 => Step::Run(Run::expire(random)),
            3..=5 => {
                let mut runs = vec![Run::compact(random)];
                runs.extend((0..1 + random.below(2)).map(|_| Run::any(random, trees)));
                Step::Together { runs, locked: true }
            }
            6 => Step::Run(Run::any(random, trees)),
            _ => some_step(random, trees),
        };
        steps.push(step);
    }
}

impl Schedule {
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let trees = random.one_of(&[1, 1, 2, 3]);
        let conditions = random.one_of(&[Conditions::Kept, Conditions::Kept, Conditions::Kept, Conditions::Kept, Conditions::Ignored, Conditions::TwoWinners]);
        let mut steps: Vec<Step> = (0..1 + random.below(6)).map(|_| Step::Change(Change::New, random.next())).collect();
        let is_lived_with = random.once_in(3);
        if is_lived_with {
            live(&mut random, trees, &mut steps);
        } else {
            for _ in 0..2 + random.below(5) {
                let step = some_step(&mut random, trees);
                steps.push(step);
            }
        }
        let compacts_at_the_end = is_lived_with || random.once_in(6);
        let runs = steps.iter_mut().flat_map(|step| match step {
            Step::Run(run) => std::slice::from_mut(run),
            Step::Together { runs, .. } => runs,
            _ => &mut [],
        });
        runs.for_each(|run| run.take_part_of_a_backlog(&mut random));
        Self { trees, conditions, steps, compacts_at_the_end }
    }

    /// Goes through all steps, and a clean run. An error tells the whole story.
    pub fn play(&self, folder: &Path) -> Result<Totals, String> {
        let mut world = World::new(folder, self.trees, self.conditions);
        world.compacts_at_the_end = self.compacts_at_the_end;
        world.totals.count(format!("server: conditions {:?}", self.conditions));
        world.totals.count(format!("machines: {}", self.trees));
        let played = self.steps.iter().try_for_each(|step| world.play(step)).and_then(|()| world.end());
        world.totals.instants += world.archived.instants() as u64;
        world.totals.trace = format!("{}\n  requests:\n    {}", world.with_disk(|disk| disk.story.join("\n")), world.server.log().join("\n    "));
        // the folder has another name each time
        world.totals.trace = world.totals.trace.replace(&folder.display().to_string(), "");
        played.map(|()| world.totals.clone()).map_err(|e| format!("{}\n{e}", world.totals.trace))
    }
}

const UNASKED: &str = "nobody stopped the run, and it says that it was interrupted";

/// How a run ended.
enum Ended {
    Done(Box<Summary>),
    Pruned(Box<PruneSummary>),
    Compacted(Box<Compaction>),
    Tabled(Box<Tabled>),
    Expired(Box<Expiry>),
    Failed(Error),
    Killed,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(summary) if summary.interrupted => write!(f, "interrupted"),
            Self::Done(summary) => {
                write!(f, "done, {} rows in {} objects, {} waiting", summary.rows_written, summary.objects_written, summary.waiting.len())?;
                summary.set_aside.iter().try_for_each(|note| write!(f, "; set aside: {}: {}", note.shown(), note.reason))
            }
            Self::Pruned(summary) => {
                write!(f, "pruned {}{}", summary.pruned, if summary.interrupted { ", interrupted" } else { "" })?;
                summary.attention.iter().try_for_each(|note| write!(f, "; attention: {note}"))
            }
            Self::Compacted(report) => {
                let Compaction { replaced, made, finished, young, doubled_rows, .. } = **report;
                write!(f, "{replaced} became {made}, {finished} were left, {young} are young, {doubled_rows} rows stood twice")?;
                if report.interrupted {
                    write!(f, ", interrupted")?;
                }
                report.set_aside.iter().try_for_each(|note| write!(f, "; set aside: {}: {}", note.shown(), note.reason))
            }
            Self::Tabled(tabled) => {
                write!(f, "version {:?}, {} came, {} went", tabled.version, tabled.added.len(), tabled.removed.len())?;
                tabled.unreadable.iter().try_for_each(|note| write!(f, "; unreadable: {}", note.shown()))
            }
            Self::Expired(report) => {
                write!(f, "{} of {} objects are gone{}", report.deleted, report.objects, if report.interrupted { ", interrupted" } else { "" })?;
                report.set_aside.iter().try_for_each(|note| write!(f, "; set aside: {}: {}", note.shown(), note.reason))
            }
            // who holds it is read from /proc/locks, which may miss an entry while other tests take locks
            Self::Failed(Error::Locked(tree, _)) => write!(f, "failed: {}", Error::Locked(tree.clone(), None)),
            Self::Failed(e) => write!(f, "failed: {e}"),
            Self::Killed => write!(f, "killed"),
        }
    }
}

struct World {
    disk: Arc<Mutex<Disk>>,
    server: Arc<Server>,
    archived: Archived,
    /// What somebody removed.
    removed: Vec<(Key, Bytes)>,
    locks: std::path::PathBuf,
    totals: Totals,
    /// Others have changed the tree during the last run.
    changed: bool,
    compacts_at_the_end: bool,
    /// A compaction that knew of no table ended early, while one was made.
    table_may_be_behind: bool,
}

enum Task {
    Archive(Box<ArchiveSettings>),
    Prune(Box<PruneSettings>),
    Compact(Box<CompactSettings>),
    Table(Box<TableSettings>),
    Expire(Box<ExpireSettings>),
}

/// A run that is prepared, and its server's view of it.
struct Prepared {
    settings: Task,
    archive: Archive,
    client: Arc<Client>,
}

impl World {
    fn new(folder: &Path, trees: usize, conditions: Conditions) -> Self {
        // nothing runs beside what the schedule lets run, and nothing is random but the schedule
        cc_archiver::workers::run_inline();
        cc_archiver::random::seed(0);
        let disk = Disk::new(folder.join("trees"), trees);
        Self {
            disk: Arc::new(Mutex::new(disk)),
            server: Arc::new(Server::new(conditions)),
            archived: Archived::default(),
            removed: Vec::new(),
            locks: folder.to_owned(),
            totals: Totals::default(),
            changed: false,
            compacts_at_the_end: false,
            table_may_be_behind: false,
        }
    }

    fn with_disk<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        f(&mut self.disk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, line: impl fmt::Display) {
        self.with_disk(|disk| disk.story.push(format!("  {line}")));
    }

    fn play(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Run(run) => self.run(run)?,
            Step::Together { runs, locked } => self.together(runs, *locked)?,
            Step::Change(change, seed) => {
                if self.with_disk(|disk| disk.change(*change, *seed)) {
                    self.totals.count(format!("source: {change:?} between runs"));
                }
            }
            Step::CleanUp(seed) => self.clean_up(*seed),
            Step::Damage(seed, fault) => self.damage(*seed, *fault),
            Step::Remove(seed, removed) => self.remove(*seed, *removed),
            Step::PutBack => self.put_back(),
            Step::Restore => self.restore(),
            Step::Land => self.land(),
            Step::Days => {
                self.tell("days go by");
                self.server.let_days_go_by();
            }
        }
        let stands = self.check()?;
        self.check_table(&stands, false)
    }

    /// No row stands twice in the table, nor does it name what is not there. When it `is_to_be_right`, it has the rows of the archive.
    ///
    /// That is not asked for where two writers may write the same version; or where a listing lacked something, or a compaction ended early beside the
    /// run that made the table, and no run has made up for it since.
    fn check_table(&mut self, stands: &Stands, is_to_be_right: bool) -> Result<(), String> {
        let may_be_wrong = self.server.doubles_may_be() || (self.server.has_lied() || self.table_may_be_behind) && !is_to_be_right;
        if may_be_wrong {
            return Ok(());
        }
        let Some(files) = table::files(&futures::executor::block_on(self.server.log_of_table()))? else { return Ok(()) };
        let damaged = self.server.damaged();
        let mut rows: BTreeMap<Instant, Value> = BTreeMap::new();
        for key in files.iter().filter(|key| !damaged.contains_key(*key)) {
            let Some(found) = self.archived.rows_of(key) else {
                if !is_to_be_right && self.removed.iter().any(|(removed, _)| removed == key) {
                    continue;
                }
                return Err(format!("the table has {key}, which is not there"));
            };
            for (instant, value) in found {
                if rows.insert(instant.clone(), *value).is_some() {
                    return Err(format!("{instant:?} stands in the table twice: {files:?}"));
                }
            }
        }
        if is_to_be_right {
            if let Some((instant, keys)) = stands.iter().find(|(instant, keys)| rows.get(*instant) != keys.first().map(|(_, value)| value)) {
                return Err(format!("the table says {:?} of {instant:?}, and the archive {keys:?}", rows.get(instant)));
            }
            if let Some(stranger) = rows.keys().find(|instant| !stands.contains_key(*instant)) {
                return Err(format!("the table has {stranger:?}, and the archive does not"));
            }
            self.totals.count("table: right at the end");
        }
        Ok(())
    }

    fn check(&mut self) -> Result<Stands, String> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        futures::executor::block_on(self.archived.check(&self.server, &disk))
    }

    fn prepare(&self, run: &Run, lock_file: Option<&str>) -> Prepared {
        let tree = self.with_disk(|disk| disk.tree(run.tree));
        let mut args: Vec<String> = vec!["cc-archiver".into(), run.command.into()];
        args.extend(run.takes_tree().then(|| tree.display().to_string()));
        args.push("s3://memory".into());
        if run.command == "expire" {
            args.extend(["--keep".into(), self.age_of(&run.flags[0])]);
        } else {
            args.extend(run.flags.iter().cloned());
        }
        if let Some(shard) = run.shard {
            args.extend(["--shard".into(), shard.to_string()]);
        }
        if let Some(name) = lock_file.filter(|_| run.takes_tree()) {
            args.extend(["--lock-file".into(), self.locks.join(name).display().to_string()]);
        }
        let settings = match Cli::try_parse_from(args).expect("valid arguments").command {
            Command::Archive(args) => Task::Archive(config::archive(*args, &S3Environment::default()).expect("valid settings").into()),
            Command::Prune(args) => Task::Prune(config::prune(*args, &S3Environment::default()).expect("valid settings").into()),
            Command::Compact(args) => Task::Compact(config::compact(*args, &S3Environment::default()).expect("valid settings").into()),
            Command::Table(args) => Task::Table(config::table(*args, &S3Environment::default()).expect("valid settings").into()),
            Command::Expire(args) => Task::Expire(config::expire(*args, &S3Environment::default()).expect("valid settings").into()),
            _ => unreachable!("it says one of these"),
        };
        let meanwhile = run.meanwhile.iter().map(|(on, nth, change, seed)| {
            let (disk, change, seed) = (Arc::clone(&self.disk), *change, *seed);
            let what = move || {
                disk.lock().unwrap_or_else(PoisonError::into_inner).change(change, seed);
            };
            Meanwhile { on: *on, nth: *nth, what: Some(Box::new(what) as Box<_>) }
        });
        let late_before = run.late_before.filter(|_| self.server.has_late());
        let connection = match run.command {
            "compact" => self.server.client_that_deletes(Deletes::Compacted, run.strikes.clone(), late_before),
            "expire" => self.server.client_that_deletes(Deletes::Expired, run.strikes.clone(), late_before),
            _ => self.server.client(run.strikes.clone(), meanwhile.collect(), late_before),
        };
        let (client, slept) = (Arc::clone(&connection.client), Arc::clone(&connection.client));
        let archive = Archive::in_store(Arc::new(connection), "memory:").with_part_size(run.part_size).with_clock(move || slept.uptime());
        Prepared { settings, archive, client }
    }

    /// How old a date is by the clock of `expire`, which stops when nothing is archived.
    fn age_of(&self, date: &str) -> String {
        let written = chrono::Utc::now().date_naive() - chrono::Days::new(self.server.days_since_written().unsigned_abs());
        let date: chrono::NaiveDate = date.parse().expect("a date");
        format!("{}days", (written - date).num_days())
    }

    /// Files that are on disk, by version.
    fn versions(&self) -> BTreeMap<String, u64> {
        self.with_disk(|disk| disk.files.iter().map(|(path, file)| (path.clone(), file.version)).collect())
    }

    fn run(&mut self, run: &Run) -> Result<(), String> {
        let before = self.versions();
        let late = self.server.has_late();
        let prepared = self.prepare(run, None);
        let client = Arc::clone(&prepared.client);
        self.tell(run);
        let ended = run_one(prepared)?;
        self.tell(format!("  → {ended}"));
        let before_pruning = before.clone();
        self.see_what_was_deleted(&[run], &before_pruning)?;
        let undisturbed = client.fired().is_empty() && !late && !self.changed && self.server.damaged().is_empty();
        self.account(run, &client, &ended, undisturbed)?;
        if late && !self.server.has_late() {
            self.totals.count("process: late completion lands during a later run");
        }
        match &ended {
            Ended::Done(summary) if !summary.interrupted => self.check_done(run, summary, &before),
            _ => Ok(()),
        }
    }

    /// Files that a run deleted were archived, and were its to delete.
    fn see_what_was_deleted(&mut self, runs: &[&Run], before: &BTreeMap<String, u64>) -> Result<(), String> {
        let gone = self.with_disk(Disk::take_gone);
        // others change files, too: only while nothing is missing is this what the run found
        self.changed = self.versions().iter().any(|(path, version)| before.get(path) != Some(version)) || before.len() != self.versions().len() + gone.len();
        if gone.is_empty() {
            return Ok(());
        }
        let stands = self.check()?;
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        for file in &gone {
            if !runs.iter().any(|run| run.prunes() && run.tree == file.tree) {
                return Err(format!("{} was deleted by a run that is not to delete anything", file.path()));
            }
            self.archived.check_deleted(&stands, file, &disk)?;
            let later = |other: &File| (other.tree, other.host) == (file.tree, file.host) && other.from > file.from && !other.half;
            let newest = !self.changed && !disk.files.values().chain(&gone).any(later);
            if newest && !runs.iter().any(|run| run.flags.iter().any(|flag| flag == "--include-newest")) {
                return Err(format!("{} was deleted, and is the newest of its host", file.path()));
            }
            self.totals.count("source: pruned");
        }
        Ok(())
    }

    /// What a run says that it did, it did: what was on disk before and after, and was not set aside, is archived.
    fn check_done(&mut self, run: &Run, summary: &Summary, before: &BTreeMap<String, u64>) -> Result<(), String> {
        let stands = self.check()?;
        if !self.server.damaged().is_empty() {
            return Ok(());
        }
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = |path: &str| summary.set_aside.iter().chain(&summary.waiting).any(|note| note.path.ends_with(path));
        let dates = run.dates();
        let looked_at = |file: &File| file.tree == run.tree && dates.has(file.home()) && run.shard.is_none_or(|shard| shard.holds(CLUSTER, file.host));
        for (path, file) in disk.files.iter().filter(|(path, file)| looked_at(file) && before.get(*path) == Some(&file.version) && !kept(path)) {
            // rows that an archived object held, which somebody has removed, are missed by the run that names the gap
            let rows = file.rows().into_iter().filter(|(instant, _)| summary.set_aside.is_empty() || !self.archived.was_removed(instant));
            self.archived
                .check_archived(&stands, rows)
                .map_err(|instant| format!("the run is done, and says nothing of {path}, but {instant:?} is not archived"))?;
        }
        Ok(())
    }

    /// Counts what struck, and checks that a run only fails of something, and leaves nothing open.
    fn account(&mut self, run: &Run, client: &Client, ended: &Ended, undisturbed: bool) -> Result<(), String> {
        let fired = client.fired();
        for (fault, on) in &fired {
            self.totals.count(format!("fault: {fault:?}"));
            self.totals.count(format!("fault at: {on:?}"));
        }
        for (on, nth, change, _) in &run.meanwhile {
            if client.count(*on) >= *nth {
                self.totals.count(format!("source: {change:?} during a run"));
            }
        }
        for flag in ["--date", "--newest-first"].iter().filter(|flag| run.flags.iter().any(|other| other == *flag)) {
            self.totals.count(format!("run: {flag}"));
        }
        self.count_living(run, ended);
        self.totals.count(match ended {
            Ended::Compacted(_) | Ended::Tabled(_) | Ended::Expired(_) => "run: done",
            Ended::Done(summary) if summary.interrupted => "run: interrupted",
            Ended::Done(_) => "run: done",
            Ended::Pruned(summary) if summary.interrupted => "prune: interrupted",
            Ended::Pruned(summary) if summary.pruned == 0 => "prune: nothing",
            Ended::Pruned(_) => "prune: done",
            Ended::Failed(Error::Locked(..)) => "run: locked out",
            Ended::Failed(_) => "run: failed",
            Ended::Killed => "run: killed",
        });
        if let Ended::Done(summary) = ended
            && summary.planned_anew > 0
        {
            self.totals.count("partition: planned anew");
        }
        let was_stopped = fired.iter().any(|(fault, _)| *fault == Fault::Terminated);
        match ended {
            // there may be nothing that it could be done to
            Ended::Failed(Error::Usage(_)) if !run.takes_tree() => {}
            Ended::Failed(e @ (Error::Internal(_) | Error::Usage(_))) => return Err(format!("a run failed of itself: {e}")),
            Ended::Failed(e) if undisturbed => return Err(format!("nothing was wrong, and a run failed: {e}")),
            Ended::Done(summary) if summary.interrupted && !was_stopped => return Err(UNASKED.into()),
            Ended::Compacted(report) if report.interrupted && !was_stopped => return Err(UNASKED.into()),
            Ended::Expired(report) if report.interrupted && !was_stopped => return Err(UNASKED.into()),
            Ended::Done(summary)
                if !summary.interrupted && summary.set_aside.is_empty() && summary.planned_anew == 0 && fired.contains(&(Fault::Occupied, Request::Put)) =>
            {
                return Err("somebody else's object was taken for the run's own".into());
            }
            Ended::Killed => return Ok(()),
            _ => {}
        }
        // nobody can give up an upload that he did not hear of, or whose server does not listen
        let unheard = |(fault, on): &(Fault, Request)| {
            matches!((fault, on), (Fault::LostAnswer, Request::Begin) | (_, Request::Abort) | (Fault::Expired, _)) || *fault == Fault::Stall
        };
        let open = self.server.open_uploads(client);
        match open.first() {
            Some(key) if !fired.iter().any(unheard) => Err(format!("the upload of {key} was left open")),
            Some(_) => {
                self.totals.count("upload left to the lifecycle rule");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Counts what became of runs of `compact`, `table` and `expire`.
    fn count_living(&mut self, run: &Run, ended: &Ended) {
        if run.takes_tree() {
            return;
        }
        let mut count = |what: &str| self.totals.count(format!("{}: {what}", run.command));
        match ended {
            Ended::Compacted(report) => {
                let happened = [
                    (report.interrupted, "interrupted"),
                    (report.made > 0, "joined"),
                    (report.made + report.finished == 0, "nothing"),
                    (report.finished > 0, "finished by another run"),
                    (report.doubled_rows > 0, "rows that stood twice are one"),
                    (report.young > 0, "young objects"),
                ];
                happened.into_iter().filter(|(is, _)| *is).for_each(|(_, what)| count(what));
            }
            Ended::Tabled(tabled) => count(match (tabled.committed, tabled.version) {
                (true, Some(0)) => "made",
                (true, _) if run.flags.iter().any(|flag| flag == "--rebuild") => "made anew",
                (true, _) => "brought up to date",
                (false, _) => "as it was",
            }),
            Ended::Expired(report) if report.interrupted => count("interrupted"),
            Ended::Expired(report) if report.deleted == 0 => count("nothing"),
            Ended::Expired(_) => count("done"),
            Ended::Failed(_) => count("failed"),
            Ended::Killed => count("killed"),
            Ended::Done(_) | Ended::Pruned(_) => {}
        }
        if run.command == "compact" && self.archived.unfinished() > 0 {
            self.totals.count("compact: left unfinished");
        }
    }

    fn together(&mut self, runs: &[Run], locked: bool) -> Result<(), String> {
        let files = self.versions();
        let has_table = || !futures::executor::block_on(self.server.log_of_table()).is_empty();
        let had_table = has_table();
        let lock = |n: usize| (!locked).then(|| format!("{n}.lock"));
        let prepared: Vec<Prepared> = runs.iter().enumerate().map(|(n, run)| self.prepare(run, lock(n).as_deref())).collect();
        let clients: Vec<Arc<Client>> = prepared.iter().map(|prepared| Arc::clone(&prepared.client)).collect();
        self.tell(format!("at once{}:", if locked { "" } else { ", without a common lock" }));
        runs.iter().for_each(|run| self.tell(format!("  {run}")));
        let ended = run_all(prepared)?;
        let ended_early = |(run, ended): (&Run, &Ended)| run.command == "compact" && !matches!(ended, Ended::Compacted(report) if report.set_aside.is_empty());
        self.table_may_be_behind |= !had_table && has_table() && runs.iter().zip(&ended).any(ended_early);
        let trees: BTreeSet<usize> = runs.iter().filter(|run| run.takes_tree()).map(|run| run.tree).collect();
        self.totals.count(format!("process: {} runs at once of {} trees{}", runs.len(), trees.len(), if locked { "" } else { ", without a common lock" }));
        for ((run, client), ended) in runs.iter().zip(&clients).zip(&ended) {
            self.tell(format!("  → {ended}"));
            self.account(run, client, ended, false)?;
        }
        let runs: Vec<&Run> = runs.iter().collect();
        self.see_what_was_deleted(&runs, &files)?;
        let excluded = |a: &Run, b: &Run| locked && a.takes_tree() && b.takes_tree() && a.tree == b.tree && (a.shard.is_none() || b.shard.is_none());
        for (a, b) in (0..runs.len()).flat_map(|b| (0..b).map(move |a| (a, b))).filter(|(a, b)| excluded(runs[*a], runs[*b])) {
            if self.server.interleaved(&clients[a], &clients[b]) {
                return Err("two runs of one tree were at work at once".into());
            }
        }
        Ok(())
    }

    /// Somebody removes objects of a partition, or the archive's own one.
    fn remove(&mut self, seed: u64, removed: Removed) {
        if removed == Removed::Own {
            self.tell("somebody removes the archive's own object");
            self.totals.count("object: Own removed by hand");
            self.server.forget_late();
            return futures::executor::block_on(self.server.remove_own());
        }
        let (visible, damaged) = (futures::executor::block_on(self.server.objects()), self.server.damaged());
        let mut partitions: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        for key in visible.into_keys().filter(|key| !damaged.contains_key(key)) {
            partitions.entry(key.parts().take(2).map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")).or_default().push(key);
        }
        let least = if removed == Removed::Last { 1 } else { 2 };
        let candidates: Vec<Vec<Key>> = partitions.into_values().filter(|keys| keys.len() >= least).collect();
        if candidates.is_empty() {
            return;
        }
        let keys = Random::new(seed).one_of(&candidates);
        let gone = match removed {
            Removed::Last => &keys[keys.len() - 1..],
            Removed::LastTwo => &keys[keys.len() - 2..],
            _ => &keys[keys.len() / 2 - 1..keys.len() / 2],
        };
        self.totals.count(format!("object: {removed:?} removed by hand"));
        for key in gone {
            self.lose(key);
        }
    }

    fn lose(&mut self, key: &Key) {
        self.tell(format!("removed: {key}"));
        // whoever frees a key waits until nothing is on its way to it any more
        self.server.forget_late();
        self.removed.extend(futures::executor::block_on(self.server.objects()).remove_entry(key));
        futures::executor::block_on(self.server.damage(key, None));
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        self.archived.lose(key, &disk);
    }

    fn put_back(&mut self) {
        for (key, bytes) in std::mem::take(&mut self.removed) {
            if futures::executor::block_on(self.server.put_back(&key, bytes)) {
                self.tell(format!("put back: {key}"));
                self.totals.count("object: put back");
            }
        }
    }

    fn clean_up(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let done = self.with_disk(|disk| self.archived.done(disk, &self.server.damaged()));
        for path in done {
            if random.once_in(2) {
                self.tell(format!("cc-backend removes {path}, which is archived"));
                self.with_disk(|disk| disk.remove(&path));
                self.totals.count("source: removed by cc-backend when it was archived");
            }
        }
    }

    fn damage(&mut self, seed: u64, fault: Option<Fault>) {
        let (visible, damaged) = (futures::executor::block_on(self.server.objects()), self.server.damaged());
        let whole: Vec<&Key> = visible.keys().filter(|key| !damaged.contains_key(*key)).collect();
        if whole.is_empty() {
            return;
        }
        let key = whole[Random::new(seed).below(whole.len())];
        let what = fault.map_or("Lost".to_owned(), |fault| format!("{fault:?}"));
        self.tell(format!("the server: {what}: {key}"));
        self.totals.count(format!("object: {what} later on"));
        match fault {
            Some(_) => futures::executor::block_on(self.server.damage(key, fault)),
            None => self.lose(key),
        }
    }

    fn restore(&mut self) {
        for key in self.server.damaged().into_keys() {
            self.tell(format!("put right: {key}"));
            futures::executor::block_on(self.server.restore(&key));
        }
    }

    fn land(&mut self) {
        if self.server.has_late() {
            self.tell("what killed runs had sent lands");
            self.totals.count("process: late completion lands between runs");
            futures::executor::block_on(self.server.land());
        }
    }

    /// Puts right what is not this program's to put right, and runs without faults: then all is archived, once.
    fn end(&mut self) -> Result<(), String> {
        self.land();
        self.restore();
        self.with_disk(|disk| {
            disk.heal();
            if disk.files.is_empty() {
                disk.change(Change::New, 0);
            }
        });
        let trees = self.with_disk(|disk| disk.trees());
        for tree in 0..trees {
            self.run(&Run::clean(tree))?;
        }
        let stands = self.check()?;
        self.with_disk(|disk| disk.story.push("  all is archived".into()));
        {
            let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
            self.archived.check_complete(&stands, &disk)?;
        }
        // each run of archive brings the table up to date
        self.check_table(&stands, true)?;
        let stands = if self.compacts_at_the_end { self.end_compacted()? } else { stands };
        let in_doubt = self.doubles_are_found(&stands)?;
        for tree in 0..trees {
            let mut prune = Run { tree, ..Run::prune(&mut Random::new(0), trees) }.without_faults();
            let all = ["--include-newest", "--prune-conflicting"].map(str::to_owned);
            prune.flags.extend(all.into_iter().filter(|flag| !prune.flags.contains(flag)).collect::<Vec<_>>());
            self.run(&prune)?;
            self.check()?;
            let is_left = |file: &File| file.tree == tree && self.archived.keeps_home(file);
            if !in_doubt && self.with_disk(|disk| disk.files.values().any(is_left)) {
                return Err(format!("all of tree {tree} is archived, and some of it is not pruned"));
            }
        }
        Ok(())
    }

    /// A compaction without faults: of each sequence one object is left, the table has what the archive has, and all is there that was there.
    fn end_compacted(&mut self) -> Result<Stands, String> {
        self.play(&Step::Days)?;
        self.run(&Run::plain("table", if self.server.keeps_conditions() { &["--init"] } else { &[] }))?;
        let stands = self.check()?;
        self.check_table(&stands, true)?;
        let before: BTreeSet<Instant> = stands.into_keys().collect();
        self.run(&Run::plain("compact", &["--workers", "2"]))?;
        let stands = self.check()?;
        if let Some(lost) = before.iter().find(|instant| !stands.contains_key(*instant)) {
            return Err(format!("{lost:?} was there before all was compacted"));
        }
        if self.archived.unfinished() > 0 {
            return Err("a compaction was left unfinished by a run without faults".into());
        }
        let keys: BTreeSet<&Key> = stands.values().flatten().map(|(key, _)| key).collect();
        let sequences: BTreeSet<&str> = keys.iter().map(|key| &key.as_ref()[..key.as_ref().len() - "00000.parquet".len()]).collect();
        if self.server.keeps_conditions() && keys.len() > sequences.len() {
            return Err(format!("not all was compacted: {keys:?}"));
        }
        if let Some((instant, keys)) = doubled(&stands).next() {
            return Err(format!("all is compacted, and {instant:?} stands there {} times: {keys:?}", keys.len()));
        }
        self.check_table(&stands, true)?;
        self.totals.count("compact: all at the end");
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        self.archived.check_complete(&stands, &disk)?;
        drop(disk);
        Ok(stands)
    }

    /// Rows that stand twice are named by `verify`, and by `archive` if one of their sources' dates is on disk. True if there is anything in the
    /// archive that keeps files from being pruned.
    fn doubles_are_found(&mut self, stands: &Stands) -> Result<bool, String> {
        let connection = self.server.client(Vec::new(), Vec::new(), None);
        let archive = Archive::in_store(Arc::new(connection), "memory:");
        let args = ["cc-archiver", "verify", "s3://memory"];
        let Command::Verify(args) = Cli::try_parse_from(args).expect("valid arguments").command else { unreachable!("it says verify") };
        let settings = config::verify(*args, &S3Environment::default()).expect("valid settings");
        let verified = on_this_thread(pipeline::verify_in(&settings, || Ok(archive), Arc::default(), std::future::pending()));
        let report = verified.map_err(|e| format!("the archive cannot be verified: {e}"))?;
        for (instant, keys) in doubled(stands) {
            let folder = keys[0].0.parts().take(2).map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            if !report.findings.iter().any(|finding| finding.kind == Kind::Doubled && finding.object.contains(&folder)) {
                return Err(format!("{instant:?} stands there {} times, and verify does not say so: {keys:?}", keys.len()));
            }
            self.totals.count("row: twice, and named");
        }
        // a snapshot that vanished before all of its dates were archived is named, and so is one that held rows of another; and an archive without a row
        let may_be = [Kind::Incomplete, Kind::Dangling].into_iter().chain(stands.is_empty().then_some(Kind::Empty)).collect::<Vec<_>>();
        let is_unharmed = !self.server.doubles_may_be() && !self.archived.has_lost();
        if let Some(finding) = report.findings.iter().find(|finding| is_unharmed && !may_be.contains(&finding.kind)) {
            return Err(format!("nobody harmed the archive, and verify finds {finding:?}"));
        }
        Ok(report.findings.iter().any(|finding| [Kind::Doubled, Kind::Chain, Kind::Dangling, Kind::Incomplete].contains(&finding.kind)))
    }
}

impl Run {
    fn without_faults(self) -> Self {
        Self { strikes: Vec::new(), meanwhile: Vec::new(), ..self }
    }
}

/// Carries a future out on this thread, alone. Time passes only when it waits for it.
fn on_this_thread<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(future)
}

fn run_one(prepared: Prepared) -> Result<Ended, String> {
    run_all(vec![prepared])?.pop().ok_or_else(|| "a run has an end".into())
}

/// Carries runs out, all at once, in one thread. Time passes only when all of them wait for it.
fn run_all(prepared: Vec<Prepared>) -> Result<Vec<Ended>, String> {
    let runs = futures::future::join_all(prepared.into_iter().map(|Prepared { settings, archive, client }| async move {
        let (progress, stop) = (Arc::new(Progress::default()), client.terminated.notified());
        let run = async {
            match settings {
                Task::Archive(settings) => pipeline::archive(&settings, archive, progress, stop).await.map(|outcome| match outcome {
                    Outcome::Done(summary) => Ended::Done(summary),
                    Outcome::Planned(_) => unreachable!("no dry run"),
                }),
                Task::Prune(settings) => pipeline::prune_in(&settings, || Ok(archive), progress, stop).await.map(Ended::Pruned),
                Task::Compact(settings) => pipeline::compact_in(&settings, || Ok(archive), progress, stop).await.map(Ended::Compacted),
                Task::Expire(settings) => pipeline::expire_in(&settings, || Ok(archive), progress, stop).await.map(Ended::Expired),
                Task::Table(settings) => pipeline::table_in(&settings, || Ok(archive), progress, stop).await.map(Ended::Tabled),
            }
        };
        tokio::select! {
            biased;
            () = client.killed.notified() => Ended::Killed,
            ended = run => ended.unwrap_or_else(Ended::Failed),
        }
    }));
    Ok(on_this_thread(runs))
}

/// All files on disk grow.
fn grow_all(world: &mut World, seed: u64) {
    let grown = world.with_disk(|disk| disk.files.values().map(|file| file.grown(&mut Random::new(seed))).collect::<Vec<_>>());
    grown.into_iter().for_each(|file| world.with_disk(|disk| disk.put(file)));
}

/// The machine falls asleep while a listing's gaps are asked for: what it plans on is two hours old then, and nothing is written on it.
#[test]
fn nothing_is_compacted_on_a_listing_from_before_the_machine_slept() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::new(folder.path(), 1, Conditions::Kept);
    super::disk::File::around_midnight().for_each(|file| world.with_disk(|disk| disk.put(file)));
    world.run(&Run::clean(0)).expect("a clean run");
    grow_all(&mut world, 3);
    world.run(&Run::clean(0)).expect("a clean run");
    world.play(&Step::Days).expect("days");
    world.run(&Run::plain("compact", &[])).expect("slots are empty now");
    grow_all(&mut world, 4);
    world.run(&Run::clean(0)).expect("a clean run");
    world.play(&Step::Days).expect("days");
    let asleep = vec![Strike { on: Request::Head, nth: 1, times: 1, fault: Fault::Suspended }];
    world.run(&Run { strikes: asleep, ..Run::plain("compact", &[]) }).expect("it ends");
    world.check().expect("nothing was written on an old listing");
    world.end().expect("a clean run archives all");
}

/// A part is refused while objects of several dates are made: what is under way of the others is given up, and no upload is left open.
#[test]
fn a_compaction_that_fails_leaves_no_upload_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::new(folder.path(), 1, Conditions::Kept);
    super::disk::File::around_midnight().for_each(|file| world.with_disk(|disk| disk.put(file)));
    world.run(&Run::clean(0)).expect("a clean run");
    grow_all(&mut world, 3);
    world.run(&Run::clean(0)).expect("a clean run");
    world.play(&Step::Days).expect("days");
    for nth in 1..9 {
        let strikes = vec![Strike { on: Request::Part, nth, times: 1, fault: Fault::Busy }];
        // it looks for open uploads, too
        world.run(&Run { strikes, part_size: 300, ..Run::plain("compact", &[]) }).unwrap_or_else(|e| panic!("part {nth}: {e}"));
    }
    assert!(world.totals.counts["compact: failed"] > 1, "{:?}", world.totals.counts);
    world.end().expect("a clean run archives all");
}

/// Credentials expire when archived rows are read back for one of many hosts: what was written of the hosts before it is not published,
/// or an object would hold some hosts of the run and not the others.
#[test]
fn a_run_that_fails_publishes_nothing_that_it_had_not_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::new(folder.path(), 1, Conditions::Kept);
    super::disk::File::around_midnight().for_each(|file| world.with_disk(|disk| disk.put(file)));
    world.run(&Run::clean(0)).expect("a clean run");
    // all of them have grown, so that the archived rows of each take part
    grow_all(&mut world, 3);
    let before = futures::executor::block_on(world.server.objects()).len();
    for nth in [6, 9, 11] {
        let strikes = vec![Strike { on: Request::Get, nth, times: 1, fault: Fault::Expired }];
        let run = Run { strikes, ..Run::clean(0) };
        let prepared = world.prepare(&run, None);
        let ended = run_one(prepared).expect("it ends");
        assert!(matches!(ended, Ended::Failed(Error::Store { .. })), "{ended}");
        assert_eq!(futures::executor::block_on(world.server.objects()).len(), before, "something was published at {nth}");
    }
    world.end().expect("a clean run archives all");
}
