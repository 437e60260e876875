//! Stage 3: what a run will do. Sources that ledgers name are done; what is left goes to partitions, in windows of dates.
//!
//! Everything here is computed from the scan and the ledgers alone: a dry run prints it, and the objects of a run follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::files::{ClusterFiles, SnapshotFile};
use crate::ledger::{Entry, Holdings};
use crate::names::{DAY, Date, Digest, Host};
use crate::partition::{Bucket, Partition, PlanId};
use crate::schema::{FORMAT_VERSION, Layout};
use crate::settings::Encoder;

/// A snapshot's first samples can lie a little before its `from`: less than one step of its series.
const EARLY: i64 = 3_600;
/// The default interval of checkpoints, where nothing says how long a snapshot is.
const INTERVAL: i64 = 12 * 3_600;

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

/// Looks a file up in the holdings of its home date. `digest` is given where it decides.
pub fn look_up(file: &SnapshotFile, host: &Host, home: &Holdings, digest: Option<Digest>) -> Known {
    let path = file.ledger_path(host);
    let versions: Vec<&Entry> = home.of_host(host.as_str()).map(|(_, entry)| entry).filter(|entry| entry.path == path).collect();
    let same = |entry: &&&Entry| match digest {
        Some(digest) => entry.blake3 == digest,
        None => entry.size == file.size && entry.mtime == file.mtime,
    };
    if let Some(entry) = versions.iter().find(same) {
        Known::Archived(entry.blake3, entry.dates.to_vec())
    } else if digest.is_none() && versions.iter().any(|entry| entry.size == file.size) {
        Known::Unsure
    } else {
        Known::New { changed: !versions.is_empty() }
    }
}

/// True if the holdings of one date name this file.
pub fn is_done(file: &SnapshotFile, host: &Host, digest: Digest, holdings: &Holdings) -> bool {
    let path = file.ledger_path(host);
    holdings.of_host(host.as_str()).any(|(_, entry)| entry.path == path && entry.blake3 == digest)
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
    /// All that it feeds; which, is known when it has been decoded. Until then: probably from the first to the last of these.
    Expected(Date, Date),
    /// Exactly these, by its ledger entries on other dates.
    Exactly(Box<[Date]>),
}

impl Left {
    /// What a source that was never decoded probably feeds, by its own name and that of the host's next snapshot.
    pub fn expected(file: &SnapshotFile, next: Option<&SnapshotFile>) -> Self {
        let end = next.map_or(0, |next| next.from.saturating_sub(1)).clamp(file.from + INTERVAL - 1, file.from + 2 * DAY);
        let first = Date::of(file.from - EARLY).unwrap_or(file.home());
        Self::Expected(first, Date::of(end).unwrap_or(file.home()))
    }

    /// The dates, as far as they are known.
    pub fn dates(&self) -> Vec<Date> {
        match self {
            Self::Expected(first, last) => first.through(*last).collect(),
            Self::Exactly(dates) => dates.to_vec(),
        }
    }

    /// True if a date that the decoded source feeds is to be archived.
    pub fn allows(&self, date: Date) -> bool {
        match self {
            Self::Expected(..) => true,
            Self::Exactly(dates) => dates.contains(&date),
        }
    }
}

/// What a run will do with the hosts of one bucket of a cluster.
#[derive(Debug)]
pub struct ClusterPlan {
    /// The bucket.
    pub bucket: Bucket,
    /// Sources, by host and `from`.
    pub work: Vec<Work>,
    /// Partitions that they may feed.
    pub partitions: BTreeMap<Date, PartitionPlan>,
}

/// What a run will do with one partition.
#[derive(Debug, Clone)]
pub struct PartitionPlan {
    /// The plan's id, for footers.
    pub id: PlanId,
    /// What the partition holds already.
    pub holdings: Arc<Holdings>,
}

impl ClusterPlan {
    /// Makes the plan from what is left, in order, and the holdings of every date in it.
    pub fn new(files: &ClusterFiles, bucket: Bucket, mut work: Vec<Work>, holdings: &BTreeMap<Date, Arc<Holdings>>, layout: &Layout, encoder: Encoder) -> Self {
        work.shrink_to_fit();
        let mut feeds: BTreeMap<Date, Vec<&Work>> = BTreeMap::new();
        for item in &work {
            for date in item.left.dates() {
                feeds.entry(date).or_default().push(item);
            }
        }
        let plan = |(date, items): (&Date, &Vec<&Work>)| {
            let holdings = holdings.get(date).cloned().unwrap_or_default();
            let sources: Vec<_> = items.iter().map(|w| (&files.hosts[w.host].host, &files.hosts[w.host].snapshots[w.snapshot])).collect();
            let partition = Partition { cluster: files.cluster.clone(), date: *date };
            (*date, PartitionPlan { id: plan_id(&partition, bucket, &sources, &holdings, layout, encoder), holdings })
        };
        let partitions = feeds.iter().map(plan).collect();
        Self { bucket, work, partitions }
    }

    /// Cuts the dates into windows of at most `most` dates, in which no host has more than `bytes` to read (one date excepted).
    pub fn windows(&self, files: &ClusterFiles, most: usize, bytes: u64) -> Vec<Vec<Date>> {
        let mut windows: Vec<Vec<Date>> = Vec::new();
        // per host, the indices of work that the current window reads
        let mut reads: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let size = |w: &usize| files.hosts[self.work[*w].host].snapshots[self.work[*w].snapshot].size;
        let mut of_date: BTreeMap<Date, Vec<usize>> = BTreeMap::new();
        for (index, item) in self.work.iter().enumerate() {
            for date in item.left.dates() {
                of_date.entry(date).or_default().push(index);
            }
        }
        for date in self.partitions.keys() {
            let items = of_date.get(date).map_or(&[][..], Vec::as_slice);
            let mut with_date = reads.clone();
            for item in items {
                with_date.entry(self.work[*item].host).or_default().insert(*item);
            }
            let fits = with_date.values().all(|set| set.iter().map(size).sum::<u64>() <= bytes);
            match windows.last_mut() {
                Some(window) if window.len() < most && fits => {
                    window.push(*date);
                    reads = with_date;
                }
                _ => {
                    windows.push(vec![*date]);
                    reads.clear();
                    for item in items {
                        reads.entry(self.work[*item].host).or_default().insert(*item);
                    }
                }
            }
        }
        windows
    }

    /// For each window the sources that are expected to feed it, by index of work.
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

/// Same format, settings, sources and holdings: same id. Anything else: another one.
fn plan_id(partition: &Partition, bucket: Bucket, sources: &[(&Host, &SnapshotFile)], holdings: &Holdings, layout: &Layout, encoder: Encoder) -> PlanId {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(format!("{FORMAT_VERSION} {} {layout:?} {encoder:?} {partition}", env!("CARGO_PKG_VERSION")).as_bytes());
    for (host, file) in sources {
        field(file.ledger_path(host).as_bytes());
        field(format!("{} {}", file.size, file.mtime).as_bytes());
    }
    field(b"held");
    for object in holdings.objects().iter().filter(|object| object.key.bucket == bucket) {
        field(object.key.to_string().as_bytes());
        field(&object.size.to_le_bytes());
    }
    let bytes = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&bytes.as_bytes()[..8]);
    PlanId(u64::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Compression, Format, HostFiles, Kind};
    use crate::names::Cluster;
    use crate::partition::Buckets;
    use crate::schema::ValueEncoding;

    const T0: i64 = 1_772_323_200;

    fn file(from: i64, size: u64) -> SnapshotFile {
        let format = Format { kind: Kind::Binary, compression: Compression::None };
        SnapshotFile { name: format!("{from}.bin").into(), from, format, size, mtime: 7 }
    }

    fn cluster(snapshots: Vec<SnapshotFile>) -> ClusterFiles {
        let host = HostFiles { host: Host::new("n1"), snapshots };
        ClusterFiles { cluster: Cluster::new("c").expect("valid"), path: "c".into(), hosts: vec![host] }
    }

    fn layout() -> Layout {
        Layout {
            compression: parquet::basic::Compression::SNAPPY,
            value_encoding: ValueEncoding::Plain,
            cluster_column: false,
            row_group_rows: 10,
            object_size: 10,
        }
    }

    fn plan(files: &ClusterFiles) -> ClusterPlan {
        let snapshots = &files.hosts[0].snapshots;
        let left = |i: usize| Left::expected(&snapshots[i], snapshots.get(i + 1));
        let work = (0..snapshots.len()).map(|i| Work { host: 0, snapshot: i, left: left(i), changed: false }).collect();
        let bucket = Buckets::ONE.of(&files.cluster, "n1");
        ClusterPlan::new(files, bucket, work, &BTreeMap::new(), &layout(), Encoder::Runs)
    }

    #[test]
    fn a_snapshot_is_expected_to_last_until_the_next_one() {
        let dates = |from, next: Option<i64>| Left::expected(&file(from, 1), next.map(|next| file(next, 1)).as_ref()).dates().len();
        assert_eq!(dates(T0 + 4_000, None), 1);
        assert_eq!(dates(T0, Some(T0 + DAY / 2)), 2, "its first samples may lie before midnight");
        assert_eq!(dates(T0 + 4_000, Some(T0 + DAY + 4_000)), 2);
        assert_eq!(dates(T0 + 4_000, Some(T0 + 40 * DAY)), 3, "a host that was down does not make a long snapshot");
    }

    #[test]
    fn ids_depend_on_sources_and_only_on_them() {
        let ids = |sizes: [u64; 2]| {
            let files = cluster(vec![file(T0 + 4_000, sizes[0]), file(T0 + DAY + 4_000, sizes[1])]);
            plan(&files).partitions.values().map(|p| p.id).collect::<Vec<_>>()
        };
        assert_eq!(ids([1, 2]), ids([1, 2]));
        assert_ne!(ids([1, 2])[0], ids([3, 2])[0]);
        let changed = (ids([1, 2]), ids([1, 3]));
        assert_eq!(changed.0[0], changed.1[0], "another date's sources do not matter");
    }

    #[test]
    fn windows_are_bounded_in_dates_and_in_bytes_of_a_host() {
        let files = cluster((0..10).map(|d| file(T0 + 4_000 + d * DAY, 100)).collect());
        let plan = plan(&files);
        let lengths = |most, bytes| plan.windows(&files, most, bytes).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(4, u64::MAX), [4, 4, 2]);
        assert!(lengths(4, 250).iter().all(|l| *l <= 2));
        assert_eq!(lengths(4, 1).len(), plan.partitions.len());
    }
}
