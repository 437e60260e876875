//! Stage 3: what a run will do. Sources that ledgers name are done; what is left goes to partitions, in windows of dates.
//!
//! Everything here is computed from the scan and the ledgers alone: a dry run prints it, and the objects of a run follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::files::{ClusterFiles, SnapshotFile};
use crate::floor::Floor;
use crate::ledger::{Entry, Holdings};
use crate::names::{DAY, Date, Digest, Host, MOST_STEP};
use crate::partition::Bucket;

/// So many dates a header may claim to be believed: a source is read for each window of them.
const MOST_CLAIMED: i64 = 7;

/// What the archive knows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// No ledger names it. `changed`: one names another file of this path.
    New {
        /// True for a new version of an archived path.
        changed: bool,
    },
    /// A ledger names it, by path, size and time of change: its digest, and all dates that it feeds.
    Archived(Digest, Vec<Date>),
    /// A ledger names a file of this path and size, changed at another time: the digest decides.
    Unsure,
}

/// True if an entry is of the file, or of another version of it. Rows that are imported are told by their digest alone: their file may have another name.
fn is_of(entry: &Entry, file: &SnapshotFile, path: &str) -> bool {
    if file.row_group().is_some() { entry.is_import() } else { &*entry.path == path }
}

/// Looks a file up in the holdings of its home date. `digest` is given where it decides.
pub fn look_up(file: &SnapshotFile, host: &Host, home: &Holdings, digest: Option<Digest>) -> Known {
    let path = file.ledger_path(host);
    let versions: Vec<&Entry> = home.of_host(host.as_str()).map(|(_, entry)| entry).filter(|entry| is_of(entry, file, &path)).collect();
    let same = |entry: &&&Entry| match digest {
        Some(digest) => entry.blake3 == digest,
        None => entry.path == path && entry.size == file.size && entry.mtime == file.mtime,
    };
    if let Some(entry) = versions.iter().find(same) {
        Known::Archived(entry.blake3, entry.dates.to_vec())
    } else if digest.is_none() && versions.iter().any(|entry| entry.size == file.size || entry.is_import()) {
        Known::Unsure
    } else {
        Known::New { changed: versions.iter().any(|entry| entry.path == path) }
    }
}

/// True if the floor keeps none of the dates that a file can feed, by its name, or by the times of its rows.
pub fn lies_below(file: &SnapshotFile, floor: Floor) -> bool {
    let latest = Date::of(file.row_group().map_or(file.home().start() + MOST_CLAIMED * DAY, |group| group.times.1));
    latest.is_some_and(|latest| !floor.keeps(latest))
}

/// True if the holdings of one date name this file.
pub fn is_done(file: &SnapshotFile, host: &Host, digest: Digest, holdings: &Holdings) -> bool {
    let path = file.ledger_path(host);
    holdings.of_host(host.as_str()).any(|(_, entry)| entry.blake3 == digest && is_of(entry, file, &path))
}

/// One source that is not archived, or not on all of its dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Index of the host in the cluster.
    pub host: usize,
    /// Index of the snapshot in the host.
    pub snapshot: usize,
    /// On which dates.
    pub left: Left,
    /// True if another version of the file is archived.
    pub changed: bool,
}

/// Dates on which a source is still to be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// All that it feeds. By its header and its name these are from the first to the last of these dates.
    Claimed(Date, Date),
    /// Exactly these: its ledger entries on other dates say so, or its samples do, as its header was found to be wrong.
    Exactly(Box<[Date]>),
}

impl Left {
    /// What a source says of itself: by its header, which goes from one time to another, or by its name alone if the header cannot be read.
    ///
    /// One that cannot be believed is looked at: it may feed the first date that the `floor` keeps.
    pub fn claimed(file: &SnapshotFile, extent: Option<(i64, i64)>, floor: Floor) -> Self {
        let home = file.home();
        let looked_at = Self::Claimed(floor.first_from(home), floor.first_from(home));
        if extent.is_none() {
            return looked_at;
        }
        let (first, last) = extent.map_or((None, None), |(from, to)| (Date::of(from.saturating_sub(MOST_STEP)), Date::of(to.saturating_sub(1))));
        let (first, last) = (first.unwrap_or(home).min(home), last.unwrap_or(home).max(home));
        // more than any snapshot has: what it really feeds is seen when it is decoded
        if last.start() - first.start() < MOST_CLAIMED * DAY { Self::Claimed(first, last) } else { looked_at }
    }

    /// The dates.
    pub fn dates(&self) -> Vec<Date> {
        match self {
            Self::Claimed(first, last) => first.through(*last).collect(),
            Self::Exactly(dates) => dates.to_vec(),
        }
    }

    /// True if the source is to be archived on a date that it feeds.
    pub fn holds(&self, date: Date) -> bool {
        match self {
            Self::Claimed(first, last) => (*first..=*last).contains(&date),
            Self::Exactly(dates) => dates.contains(&date),
        }
    }

    /// Those that the floor keeps; None if it keeps none.
    pub fn kept(self, floor: Floor) -> Option<Self> {
        match self {
            Self::Claimed(first, last) => Some(Self::Claimed(floor.first_from(first), last)).filter(|_| floor.keeps(last)),
            Self::Exactly(dates) => {
                Some(dates.iter().copied().filter(|date| floor.keeps(*date)).collect::<Box<[Date]>>()).filter(|kept| !kept.is_empty()).map(Self::Exactly)
            }
        }
    }

    /// True if a source that feeds these dates has claimed to feed others.
    pub fn is_refuted_by(&self, dates: &[Date]) -> bool {
        matches!(self, Self::Claimed(..)) && !dates.iter().all(|date| self.holds(*date))
    }
}

/// What a run will do with the hosts of one bucket of a cluster.
#[derive(Debug)]
pub struct ClusterPlan {
    /// The bucket.
    pub bucket: Bucket,
    /// Sources, by host and `from`.
    pub work: Vec<Work>,
    /// From which date on they are archived.
    pub floor: Floor,
    /// The dates that they feed, as they claim, and what the archive holds of each.
    pub partitions: BTreeMap<Date, Arc<Holdings>>,
}

impl ClusterPlan {
    /// Makes the plan from what is left, in order, and the holdings of every date in it.
    pub fn new(bucket: Bucket, floor: Floor, mut work: Vec<Work>, holdings: &BTreeMap<Date, Arc<Holdings>>) -> Self {
        work.shrink_to_fit();
        let dates: BTreeSet<Date> = work.iter().flat_map(|item| item.left.dates()).collect();
        let partitions = dates.into_iter().map(|date| (date, holdings.get(&date).cloned().unwrap_or_default())).collect();
        Self { bucket, floor, work, partitions }
    }

    /// Cuts the dates into windows of at most `most` dates, in which no host has more than `bytes` to read (one date excepted). They come in the order
    /// of dates, or the newest first.
    pub fn windows(&self, files: &ClusterFiles, most: usize, bytes: u64, newest_first: bool) -> Vec<Vec<Date>> {
        let mut of_date: BTreeMap<Date, Vec<usize>> = BTreeMap::new();
        for (index, item) in self.work.iter().enumerate() {
            for date in item.left.dates() {
                of_date.entry(date).or_default().push(index);
            }
        }
        let mut dates: Vec<Date> = self.partitions.keys().copied().collect();
        if newest_first {
            dates.reverse();
        }
        let mut windows: Vec<Vec<Date>> = Vec::new();
        // what the current window reads, by index of work; and of each host how much that is
        let (mut reads, mut sizes) = (BTreeSet::<usize>::new(), BTreeMap::<usize, u64>::new());
        for date in dates {
            let items = of_date.get(&date).map_or(&[][..], Vec::as_slice);
            let mut more: BTreeMap<usize, u64> = BTreeMap::new();
            for item in items.iter().filter(|item| !reads.contains(*item)) {
                *more.entry(self.work[*item].host).or_default() += self.size(files, *item);
            }
            let fits = more.iter().all(|(host, size)| sizes.get(host).unwrap_or(&0) + size <= bytes);
            match windows.last_mut() {
                Some(window) if window.len() < most && fits => window.push(date),
                _ => {
                    windows.push(vec![date]);
                    (reads, sizes, more) = Default::default();
                    for item in items {
                        *more.entry(self.work[*item].host).or_default() += self.size(files, *item);
                    }
                }
            }
            reads.extend(items);
            more.into_iter().for_each(|(host, size)| *sizes.entry(host).or_default() += size);
        }
        windows
    }

    /// Bytes on disk of a source, by index of work.
    pub fn size(&self, files: &ClusterFiles, work: usize) -> u64 {
        files.hosts[self.work[work].host].snapshots[self.work[work].snapshot].size
    }

    /// For each window the sources that are read for it, by index of work.
    pub fn readers(&self, windows: &[Vec<Date>]) -> Vec<BTreeSet<usize>> {
        let window_of: BTreeMap<Date, usize> = windows.iter().enumerate().flat_map(|(window, dates)| dates.iter().map(move |date| (*date, window))).collect();
        let mut readers = vec![Vec::new(); windows.len()];
        for (index, item) in self.work.iter().enumerate() {
            for window in item.left.dates().iter().filter_map(|date| window_of.get(date)) {
                readers[*window].push(index);
            }
        }
        readers.into_iter().map(BTreeSet::from_iter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Format, HostFiles};
    use crate::names::Cluster;
    use crate::partition::Buckets;

    const T0: i64 = 1_772_323_200;

    fn file(from: i64, size: u64) -> SnapshotFile {
        let format = Format::PLAIN_BINARY;
        SnapshotFile { name: format!("{from}.bin").into(), from, format, size, mtime: 7, packed: None }
    }

    fn cluster(snapshots: Vec<SnapshotFile>) -> ClusterFiles {
        let host = HostFiles { host: Host::new("n1"), snapshots, has_log: false };
        ClusterFiles { cluster: Cluster::new("c").expect("valid"), path: "c".into(), hosts: vec![host] }
    }

    fn plan(files: &ClusterFiles) -> ClusterPlan {
        let snapshots = &files.hosts[0].snapshots;
        let left = |i: usize| Left::claimed(&snapshots[i], Some((snapshots[i].from, snapshots[i].from + DAY / 2)), Floor::default());
        let work = (0..snapshots.len()).map(|i| Work { host: 0, snapshot: i, left: left(i), changed: false }).collect();
        let bucket = Buckets::ONE.of(&files.cluster, "n1");
        ClusterPlan::new(bucket, Floor::default(), work, &BTreeMap::new())
    }

    #[test]
    fn a_snapshot_claims_the_dates_of_its_header_and_of_its_name() {
        let dates = |from, to| Left::claimed(&file(T0 + 4_000, 1), Some((from, to)), Floor::default()).dates().len();
        assert_eq!(dates(T0 + 4_000, T0 + DAY), 1, "the end is not covered");
        assert_eq!(dates(T0, T0 + DAY / 2), 2, "its first samples may lie before midnight");
        assert_eq!(dates(T0 + 4_000, T0 + DAY + 4_000), 2);
        assert_eq!(dates(T0 + DAY + 4_000, T0 + DAY + 4_001), 2, "the date of its name is one of them");
        for (from, to) in [(0, T0 + 4_000), (T0 + 4_000, i64::MAX), (i64::MIN, i64::MAX), (T0 + 4_000, T0)] {
            assert_eq!(dates(from, to), 1, "{from} to {to} is not believed");
        }
        assert_eq!(Left::claimed(&file(T0 + 4_000, 1), None, Floor::default()).dates(), [file(T0 + 4_000, 1).home()]);
    }

    #[test]
    fn windows_are_bounded_in_dates_and_in_bytes_of_a_host() {
        let files = cluster((0..10).map(|d| file(T0 + 4_000 + d * DAY, 100)).collect());
        let plan = plan(&files);
        let lengths = |most, bytes| plan.windows(&files, most, bytes, false).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(4, u64::MAX), [4, 4, 2]);
        assert!(lengths(4, 250).iter().all(|l| *l <= 2));
        assert_eq!(lengths(4, 1).len(), plan.partitions.len());
        let backwards = plan.windows(&files, 4, u64::MAX, true);
        assert_eq!(backwards.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert!(backwards.concat().is_sorted_by(|a, b| a > b), "the newest come first");
    }
}
