//! What a run is told, checked: plain data. Whoever has a command line makes it, and the stages take it; it knows neither.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::cc_backend::CcBackend;
use crate::files::{Filter, SnapshotFile};
use crate::names::Date;
use crate::schema::Layout;

mod init;
mod inspect;
mod location;
mod looking;
mod metrics;
mod restore;
mod s3;
mod table;

pub use init::InitSettings;
pub use inspect::{Form, InspectSettings, SampleFilter, Show};
pub use location::{Location, check_expanded};
pub use looking::{CoverageSettings, LsSettings, LsView, NEWEST_DATES};
pub use metrics::{MetricsSettings, PushUrl};
pub use restore::{RestoreSettings, Windows};
pub use s3::{Checksum, Credentials, Encryption, Endpoint, PART_SIZE, S3Settings, Secret, Style, Tag};
pub use table::{TableSettings, Upkeep};

/// What a run of `archive` does.
#[derive(Debug, Clone)]
pub struct ArchiveSettings {
    /// The checkpoint tree.
    pub checkpoints: PathBuf,
    /// The archive.
    pub archive: Location,
    /// Which part of the tree.
    pub filter: Filter,
    /// Only snapshots that end at or before this unix time in s.
    pub before: Option<i64>,
    /// Only snapshots whose names are of these dates.
    pub dates: Dates,
    /// The newest dates are written first.
    pub newest_first: bool,
    /// What becomes of snapshots that are archived as those of another host.
    pub moved: Moved,
    /// A younger file that does not decode may still be being written.
    pub min_age: Duration,
    /// Print the plan and touch nothing.
    pub dry_run: bool,
    /// CPU workers.
    pub workers: usize,
    /// Bytes for what is in flight.
    pub memory: u64,
    /// Where values are put that there is no room for in memory.
    pub spool: PathBuf,
    /// How objects are written.
    pub layout: Layout,
    /// What encodes the objects.
    pub encoder: Encoder,
    /// How objects are proven after their upload.
    pub verify: Depth,
    /// What is pruned when all is archived.
    pub prune_after: Option<PruneRules>,
    /// Which records of hosts' logs are taken, if it is not decided which of them snapshots will have.
    pub wal: Option<WalRecords>,
    /// Where logs are held until that is decided.
    pub wal_hold: Option<PathBuf>,
    /// Locked instead of the tree.
    pub lock_file: Option<PathBuf>,
    /// The age at which cc-backend takes snapshots away, if its configuration is known and says so.
    pub removes_after: Option<Duration>,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

impl ArchiveSettings {
    /// True if the run takes a snapshot, as far as its name tells.
    pub fn takes(&self, file: &SnapshotFile) -> bool {
        self.dates.has(file.home()) && self.before.is_none_or(|before| file.from < before)
    }

    /// True if logs are looked at.
    pub fn looks_at_logs(&self) -> bool {
        self.wal.is_some() || self.wal_hold.is_some()
    }
}

/// What a run of `import` does.
#[derive(Debug, Clone)]
pub struct ImportSettings {
    /// Parquet files, and folders with such files.
    pub files: Vec<PathBuf>,
    /// The same as for `archive`, of which these files take the tree's place: there are no logs, nothing is locked, and nothing is pruned.
    pub run: ArchiveSettings,
}

/// What a run of `prune` does.
#[derive(Debug, Clone)]
pub struct PruneSettings {
    /// The checkpoint tree.
    pub checkpoints: PathBuf,
    /// The archive.
    pub archive: Location,
    /// Which part of the tree.
    pub filter: Filter,
    /// What is pruned.
    pub rules: PruneRules,
    /// Delete nothing.
    pub dry_run: bool,
    /// Objects and files that are read at a time.
    pub workers: usize,
    /// Locked instead of the tree.
    pub lock_file: Option<PathBuf>,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// Which snapshots are pruned, if they are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneRules {
    /// The successor must begin before this age.
    pub older_than: Duration,
    /// Also a host's newest one.
    pub include_newest: bool,
    /// Also those that contradict archived values.
    pub conflicting: bool,
    /// How objects that the run did not upload are proven.
    pub depth: Depth,
}

/// What a run of `compact` does.
#[derive(Debug, Clone)]
pub struct CompactSettings {
    /// The archive.
    pub archive: Location,
    /// Which part of it.
    pub part: Part,
    /// So many objects become one, at least.
    pub min_objects: usize,
    /// Objects that are younger stay as they are.
    pub min_age: Duration,
    /// Bytes of the objects that become one, at most.
    pub max_size: u64,
    /// Say what would be done, and touch nothing.
    pub dry_run: bool,
    /// CPU workers.
    pub workers: usize,
    /// Bytes for what is in flight.
    pub memory: u64,
    /// Where values are put that there is no room for in memory.
    pub spool: PathBuf,
    /// How objects are written. Whether they have a column `cluster` is the archive's to say.
    pub layout: Layout,
    /// What encodes the objects.
    pub encoder: Encoder,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// What a run of `expire` does.
#[derive(Debug, Clone)]
pub struct ExpireSettings {
    /// The archive.
    pub archive: Location,
    /// Only these clusters; none: all, and those that will be.
    pub clusters: Vec<String>,
    /// Dates that ended longer ago than this are deleted.
    pub keep: Duration,
    /// A tree whose snapshots are looked at.
    pub checkpoints: Option<PathBuf>,
    /// Say what would be done, and touch nothing.
    pub dry_run: bool,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// What a run of `verify` does.
#[derive(Debug, Clone)]
pub struct VerifySettings {
    /// The archive.
    pub archive: Location,
    /// Which part of it.
    pub part: Part,
    /// How many percent of the objects are read in full.
    pub read_data: u8,
    /// Whether rows are decoded.
    pub decode: bool,
    /// A tree whose snapshots are looked up.
    pub checkpoints: Option<PathBuf>,
    /// Objects and files that are read at a time.
    pub workers: usize,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// What `doctor` looks at.
#[derive(Debug, Clone)]
pub struct DoctorSettings {
    /// The checkpoint tree.
    pub checkpoints: PathBuf,
    /// The archive.
    pub archive: Location,
    /// How the site means to run.
    pub wishes: Wishes,
    /// Locked instead of the tree.
    pub lock_file: Option<PathBuf>,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// How a site means to run.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Time between two runs of archive.
    pub every: Duration,
    /// The age at which snapshots are to be pruned, if they are.
    pub prune: Option<Duration>,
    /// Where logs are to be held, if they are.
    pub hold: Option<PathBuf>,
    /// What cc-backend does, if that is known.
    pub backend: Option<CcBackend>,
}

/// How logs and progress are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputSettings {
    /// Form of log lines.
    pub log_format: LogFormat,
    /// How often more was asked for: 1 for debug lines, 2 for those of libraries too.
    pub verbose: u8,
    /// Only warnings and errors: nothing if all is well.
    pub quiet: bool,
    /// When a bar is shown.
    pub progress: When,
}

/// Forms of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// If stderr is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Encoders of objects. Both write the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoder {
    /// Writes key columns as runs.
    Runs,
    /// Writes Arrow arrays through AsyncArrowWriter.
    Arrow,
}

/// Which records of hosts' logs become rows, if no snapshot has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WalRecords {
    /// Every one: the store is gone for good, and no snapshot comes any more.
    All,
}

/// How much of an object is read to prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Depth {
    /// Its size, ETag and footer.
    Footer,
    /// All of it, against its digest.
    Full,
}

/// What becomes of new snapshots whose bytes are archived as those of another host, where no such file is any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Moved {
    /// They are archived, and named: two hosts can have the same bytes.
    Archive,
    /// They stay on disk, and are named: the host has another name now.
    Leave,
}

/// Which part of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Only these clusters; all if empty.
    pub clusters: Vec<String>,
    /// Only these dates.
    pub dates: Dates,
}

impl Part {
    /// True if the date is one of it.
    pub fn has(&self, date: Date) -> bool {
        self.dates.has(date)
    }
}

/// Dates from the first to the last, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dates {
    /// The first; none: from the beginning.
    pub first: Option<Date>,
    /// The last; none: to the end.
    pub last: Option<Date>,
}

impl Dates {
    /// True if the date is one of them.
    pub fn has(&self, date: Date) -> bool {
        self.first.is_none_or(|first| first <= date) && self.last.is_none_or(|last| date <= last)
    }

    /// True if there are others.
    pub fn is_limited(&self) -> bool {
        *self != Self::default()
    }
}

impl FromStr for Dates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let date = |text: &str| match text {
            "" => Ok(None),
            _ => Date::parse(text).map(Some).ok_or_else(|| format!("{text:?} is not a date such as 2026-03-01; a range is written as 2026-03-01..2026-03-31")),
        };
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (date(first)?, date(last)?);
        match (first, last) {
            (None, None) => Err("neither a date nor FROM..TO".into()),
            (Some(first), Some(last)) if first > last => Err(format!("{first} comes after {last}")),
            _ => Ok(Self { first, last }),
        }
    }
}
