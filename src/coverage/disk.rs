//! Snapshots on disk, and what ledgers say of them: archived, in part, or not at all.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::files::{ClusterFiles, SnapshotFile};
use crate::ledger::Holdings;
use crate::names::{Date, Digest};

/// A snapshot of a cluster, by (index of the host, index of the snapshot).
pub type Source = (usize, usize);

/// What the archive has of a snapshot on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    NotArchived,
    /// Only some of the dates that it feeds.
    Partly,
}

/// Snapshots that are not archived on all of the dates that they feed.
pub type Waiting = Vec<(Source, State)>;

/// How many snapshots of a cluster are on disk, by what the archive has of them.
#[derive(Debug, Default, Clone, Serialize, PartialEq, Eq)]
pub struct Disk {
    /// Archived on all of their dates.
    pub archived: u64,
    /// Those of them that have another time of change than the ledger says, and the same size: their bytes were not compared.
    pub archived_by_size: u64,
    /// Archived on some of their dates.
    pub partly_archived: u64,
    /// Not archived.
    pub not_archived: u64,
    /// Not named by any ledger of a date of which an object cannot be read.
    pub not_known: u64,
}

/// What ledgers say of the snapshots of one cluster on disk. Only of those that are there anything is kept.
#[derive(Debug)]
pub struct Lookup<'a> {
    files: &'a ClusterFiles,
    by_path: HashMap<Box<str>, Source>,
    /// Dates on which ledgers name a snapshot of its path and size: the version, whether its time of change is the same, and the dates that it feeds.
    named: BTreeMap<Source, Vec<Named>>,
}

#[derive(Debug)]
struct Named {
    date: Date,
    version: Digest,
    same_time: bool,
    feeds: Box<[Date]>,
}

impl<'a> Lookup<'a> {
    /// Of the snapshots whose home is in these dates.
    pub fn new(files: &'a ClusterFiles, dates: (Date, Date)) -> Self {
        let mut by_path = HashMap::new();
        for (h, host) in files.hosts.iter().enumerate() {
            let here = host.snapshots.iter().enumerate().filter(|(_, file)| (dates.0..=dates.1).contains(&file.home()));
            by_path.extend(here.map(|(s, file)| (file.ledger_path(&host.host), (h, s))));
        }
        Self { files, by_path, named: BTreeMap::new() }
    }

    /// Takes the ledgers of a date.
    pub fn take(&mut self, date: Date, holdings: &Holdings) {
        for entry in holdings.objects().iter().flat_map(|object| object.entries.iter()) {
            let Some(source) = self.by_path.get(&entry.path) else { continue };
            let file = &self.files.hosts[source.0].snapshots[source.1];
            if file.size == entry.size {
                let named = Named { date, version: entry.blake3, same_time: entry.mtime == file.mtime, feeds: entry.dates.clone() };
                self.named.entry(*source).or_default().push(named);
            }
        }
    }

    /// Counts all, and gives those that are not archived on all of the dates that they feed. Only of dates that `is_known` it can be said.
    pub fn finish(self, is_known: impl Fn(Date) -> bool) -> (Disk, Waiting) {
        let (mut disk, mut waiting) = (Disk::default(), Vec::new());
        let mut sources: Vec<Source> = self.by_path.into_values().collect();
        sources.sort_unstable();
        for source in sources {
            let file = &self.files.hosts[source.0].snapshots[source.1];
            match state(file, self.named.get(&source).map_or(&[][..], Vec::as_slice), &is_known) {
                Ok(same_time) => {
                    disk.archived += 1;
                    disk.archived_by_size += u64::from(!same_time);
                }
                Err(_) if !is_known(file.home()) => disk.not_known += 1,
                Err(state) => {
                    *if state == State::Partly { &mut disk.partly_archived } else { &mut disk.not_archived } += 1;
                    waiting.push((source, state));
                }
            }
        }
        (disk, waiting)
    }
}

/// Whether a snapshot is archived, and whether its time of change says so, too.
fn state(file: &SnapshotFile, named: &[Named], is_known: impl Fn(Date) -> bool) -> Result<bool, State> {
    let at_home = || named.iter().filter(|named| named.date == file.home());
    let Some(home) = at_home().find(|named| named.same_time).or_else(|| at_home().next()) else {
        return Err(if named.is_empty() { State::NotArchived } else { State::Partly });
    };
    let is_there = |date: &Date| named.iter().any(|named| named.date == *date && named.version == home.version);
    if home.feeds.iter().filter(|date| is_known(**date)).all(is_there) { Ok(home.same_time) } else { Err(State::Partly) }
}
