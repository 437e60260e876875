//! What is counted while a run is under way, so that it is known however the run ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::Summary;
use super::compact::Compaction;
use super::expire::Expiry;
use super::prune::PruneSummary;
use crate::error::{Error, Exit, Result, SetAside};
use crate::files::{ClusterFiles, SnapshotFile, Tree};

/// Times of change are behind the clock by so many ms at most.
const CLOCK: i64 = 10;

/// A snapshot of a cluster, by (index of the host, index of the snapshot).
type Source = (usize, usize);
/// The same in less memory, as there can be very many.
type Narrow = (u32, u32);

fn narrow((host, snapshot): Source) -> Narrow {
    (host as u32, snapshot as u32)
}

/// Where something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The tree was looked at.
    Scan,
    /// The archive was listed, or its footers were read.
    Catalog,
    /// A snapshot was read.
    Read,
    /// A snapshot was decoded.
    Decode,
    /// Archived rows were read back, to merge others with them.
    Merge,
    /// Row groups were encoded.
    Encode,
    /// An object was written.
    Upload,
    /// An object was proven.
    Prove,
    /// Snapshots were pruned.
    Prune,
    /// An archive was verified.
    Verify,
    /// The table of an archive was read or brought up to date.
    Table,
    /// Checkpoints were written of archived rows.
    Restore,
    /// Old dates were deleted.
    Expire,
}

impl Stage {
    /// All of them, in the order of the data.
    pub const ALL: [Self; 13] = [
        Self::Scan,
        Self::Catalog,
        Self::Read,
        Self::Decode,
        Self::Merge,
        Self::Encode,
        Self::Upload,
        Self::Prove,
        Self::Prune,
        Self::Verify,
        Self::Table,
        Self::Restore,
        Self::Expire,
    ];

    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Catalog => "catalog",
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Merge => "merge",
            Self::Encode => "encode",
            Self::Upload => "upload",
            Self::Prove => "prove",
            Self::Prune => "prune",
            Self::Verify => "verify",
            Self::Table => "table",
            Self::Restore => "restore",
            Self::Expire => "expire",
        }
    }
}

/// What a run came to, as far as it got.
#[derive(Debug, Default)]
pub struct Figures {
    /// Of `archive`.
    pub archive: Option<Summary>,
    /// Of `prune`.
    pub prune: Option<PruneSummary>,
    /// Of `verify`.
    pub verify: Option<Verified>,
    /// Of `compact`.
    pub compact: Option<Compaction>,
    /// Of the table, if the archive has one and the run brought it up to date.
    pub table: Option<TableFigures>,
    /// Of `expire`.
    pub expire: Option<Expiry>,
    /// Of `restore`.
    pub restore: Option<Restored>,
}

/// How a run left the table.
#[derive(Debug, Default, Clone, Copy)]
pub struct TableFigures {
    /// Its version.
    pub version: u64,
    /// Its files.
    pub files: u64,
}

/// What `restore` came to.
#[derive(Debug, Clone, Copy)]
pub struct Restored {
    /// Files written.
    pub files: u64,
    /// Files that were there already.
    pub files_there: u64,
    /// Hosts that have a file.
    pub hosts: u64,
    /// Samples in all these files.
    pub samples: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// What `verify` came to.
#[derive(Debug, Default)]
pub struct Verified {
    /// Objects looked at.
    pub objects: u64,
    /// Bytes checked.
    pub bytes: u64,
    /// Findings of each kind that there is.
    pub findings: Vec<(&'static str, u64)>,
}

/// What is known of a run at any time.
#[derive(Debug, Default)]
pub struct Watch {
    failures: [AtomicU64; Stage::ALL.len()],
    requests: OnceLock<Arc<Requests>>,
    left: Mutex<Left>,
    figures: Mutex<Figures>,
    hurried: Notify,
}

impl Watch {
    /// Counts a failure.
    pub fn failed(&self, stage: Stage) {
        self.failures[stage as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an error that ends the run, unless the run was not to begin, or to end.
    pub fn at<T>(&self, stage: Stage, done: Result<T>) -> Result<T> {
        if done.as_ref().is_err_and(|e: &Error| e.exit() == Exit::Fatal) {
            self.failed(stage);
        }
        done
    }

    /// Failures of each stage.
    pub fn failures(&self) -> impl Iterator<Item = (Stage, u64)> {
        Stage::ALL.into_iter().map(|stage| (stage, self.failures[stage as usize].load(Ordering::Relaxed)))
    }

    /// A file that could not be archived: it is counted, logged and noted.
    pub fn set_aside(&self, stage: Stage, note: SetAside, summary: &mut Summary) {
        self.failed(stage);
        // a proof that fails has been told as an error, where it failed
        if stage != Stage::Prove {
            tracing::warn!(path = note.shown(), offset = note.offset, stage = stage.name(), "set aside: {}", note.reason);
        }
        summary.set_aside.push(note);
    }

    /// The store's requests are counted there.
    pub fn watch_requests(&self, requests: Option<&Arc<Requests>>) {
        if let Some(requests) = requests {
            self.requests.get_or_init(|| Arc::clone(requests));
        }
    }

    /// Counts of the store's requests; none if it is a directory.
    pub fn requests(&self) -> Option<&Requests> {
        self.requests.get().map(Arc::as_ref)
    }

    /// The run is to end at once, whatever is under way.
    pub fn hurry(&self) {
        self.hurried.notify_one();
    }

    /// Waits for that.
    pub async fn hurried(&self) {
        self.hurried.notified().await;
    }

    /// What is not archived yet.
    pub fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the run came to.
    pub fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Snapshots that are to be archived, and are not.
#[derive(Debug, Default)]
pub struct Left {
    /// Of clusters that were planned: the `from` of each.
    planned: BTreeMap<String, BTreeMap<Narrow, i64>>,
    /// Of others, when the run has ended: (`from`, time of the last change in ms). Some of them may be archived.
    unknown: Vec<(i64, i64)>,
    complete: bool,
}

/// How many snapshots are left, and the `from` of the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unarchived {
    /// Snapshots.
    pub count: u64,
    /// The oldest one's `from`; none if there is none.
    pub oldest: Option<i64>,
}

impl Left {
    /// A cluster's plan is known: these are to be archived.
    pub fn plan(&mut self, files: &ClusterFiles, sources: impl IntoIterator<Item = Source>) {
        let from = |(h, s): Source| (narrow((h, s)), files.hosts[h].snapshots[s].from);
        // joined in one go they take less memory than one by one
        let mut sources = sources.into_iter().map(from).collect();
        self.planned.entry(files.cluster.as_str().to_owned()).or_default().append(&mut sources);
    }

    /// A snapshot is archived, or need not be.
    pub fn settle(&mut self, files: &ClusterFiles, source: Source) {
        if let Some(sources) = self.planned.get_mut(files.cluster.as_str()) {
            sources.remove(&narrow(source));
        }
    }

    /// The run has ended. What of the tree was not planned is left too, if the run takes it.
    pub fn finish(&mut self, tree: &Tree, takes: impl Fn(&SnapshotFile) -> bool) {
        let unplanned = tree.clusters.iter().filter(|files| !self.planned.contains_key(files.cluster.as_str()));
        let snapshots = unplanned.flat_map(|files| &files.hosts).flat_map(|host| &host.snapshots);
        let eligible = snapshots.filter(|file| takes(file));
        self.unknown = eligible.map(|file| (file.from, file.mtime.div_euclid(1_000_000))).collect();
        self.complete = true;
    }

    /// What is left, if that can be told. Of what was not planned it is what changed since `since` (ms), as a complete run that began
    /// then has archived the rest.
    pub fn unarchived(&self, since: Option<i64>) -> Option<Unarchived> {
        let unknown = self.unknown.iter().filter(|(_, changed)| since.is_none_or(|since| *changed >= since - CLOCK)).map(|(from, _)| *from);
        let all: Vec<i64> = self.planned.values().flat_map(BTreeMap::values).copied().chain(unknown).collect();
        self.complete.then(|| Unarchived { count: all.len() as u64, oldest: all.iter().min().copied() })
    }

    /// True if every cluster was planned.
    pub fn is_certain(&self) -> bool {
        self.complete && self.unknown.is_empty()
    }
}

/// Counts of requests to the store, each attempt by itself.
#[derive(Debug, Default)]
pub struct Requests {
    counts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    retries: Mutex<BTreeMap<&'static str, u64>>,
    failed: Mutex<BTreeSet<u64>>,
}

/// Requests that failed and may be tried again, at most.
const MOST_FAILED: usize = 10_000;

fn locked<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Requests {
    /// A request begins. If the same one failed before, this is a retry.
    pub fn begin(&self, kind: &'static str, identity: u64) {
        if locked(&self.failed).remove(&identity) {
            *locked(&self.retries).entry(kind).or_default() += 1;
        }
    }

    /// A request was answered, or was not.
    pub fn end(&self, kind: &'static str, outcome: &'static str, identity: u64, may_be_retried: bool) {
        *locked(&self.counts).entry((kind, outcome)).or_default() += 1;
        let mut failed = locked(&self.failed);
        if may_be_retried && failed.len() < MOST_FAILED {
            failed.insert(identity);
        }
    }

    /// Requests by kind and outcome.
    pub fn counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        locked(&self.counts).clone()
    }

    /// Retries by kind.
    pub fn retries(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.retries).clone()
    }
}
