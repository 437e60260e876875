//! Files of a checkpoint tree by name and status: what [`crate::scan`] finds, and all later stages refer to.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::SetAside;
use crate::names::{Cluster, Date, Host, host_number};
use crate::partition::Buckets;

mod name;
pub mod packed;
mod row_group;
pub mod shape;
pub mod trusted;

pub use name::FileName;
pub use packed::Zipped;
pub use row_group::{Column, ParquetFile, RowGroup, without_panic};
pub use trusted::{Hashed, Identity, Place, Unread};

/// A checkpoint tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// Clusters in bytewise order.
    pub clusters: Vec<ClusterFiles>,
    /// What has a snapshot's place or name, but cannot be one.
    pub set_aside: Vec<SetAside>,
}

impl Tree {
    /// How many hosts and snapshots there are.
    pub fn size(&self) -> (usize, usize) {
        let hosts = || self.clusters.iter().flat_map(|cluster| &cluster.hosts);
        (hosts().count(), hosts().map(|host| host.snapshots.len()).sum())
    }
}

/// Which part of the tree a run looks at.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these clusters; all if empty.
    pub clusters: Vec<String>,
    /// Only hosts that match.
    pub host: Option<glob::Pattern>,
    /// Only hosts of this shard.
    pub shard: Option<Shard>,
}

impl Filter {
    /// True if a cluster is to be looked at.
    pub fn admits_cluster(&self, cluster: &str) -> bool {
        self.clusters.is_empty() || self.clusters.iter().any(|wanted| wanted == cluster)
    }

    /// True if a host of such a cluster is to be looked at.
    pub fn admits_host(&self, cluster: &str, host: &str) -> bool {
        self.host.as_ref().is_none_or(|pattern| pattern.matches(host)) && self.shard.is_none_or(|shard| shard.holds(cluster, host))
    }
}

/// One of N parts into which the hosts are split, so that several runs can work at once: host by host, whatever else is in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Part `index` of `count`; the first is 0.
    ///
    /// # Errors
    /// There is no such part.
    pub fn new(index: u32, count: u32) -> Result<Self, String> {
        if index < count { Ok(Self { index, count }) } else { Err(format!("there is no shard {index} of {count}: the first is 0")) }
    }

    /// True if the host is in this part. Up to 16 shards take whole [`Buckets`] of an archive that has 16 of them, so that they never
    /// write to the same sequence of objects.
    pub fn holds(&self, cluster: &str, host: &str) -> bool {
        let number = host_number(cluster, host);
        let buckets = u64::from(Buckets::FOR_SHARDS.count());
        let number = if u64::from(self.count) <= buckets { number % buckets } else { number };
        number % u64::from(self.count) == u64::from(self.index)
    }

    /// Which one it is.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// How many shards there are.
    pub fn count(&self) -> u32 {
        self.count
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let (index, count) = numbers.ok_or("it is not of the form I/N, such as 0/4")?;
        Self::new(index, count)
    }
}

/// One cluster's directory.
#[derive(Debug)]
pub struct ClusterFiles {
    /// Its name.
    pub cluster: Cluster,
    /// Where it is.
    pub path: PathBuf,
    /// Its hosts in bytewise order.
    pub hosts: Vec<HostFiles>,
}

impl ClusterFiles {
    /// Where a snapshot is, by the index of its host and its own.
    pub fn path_of(&self, host: usize, snapshot: usize) -> PathBuf {
        let host = &self.hosts[host];
        host.snapshots[snapshot].path_in(&self.path.join(host.host.as_str()))
    }
}

/// One host's directory.
#[derive(Debug)]
pub struct HostFiles {
    /// Its name.
    pub host: Host,
    /// Its snapshots by `from`, then by name.
    pub snapshots: Vec<SnapshotFile>,
    /// True if it has a log.
    pub has_log: bool,
}

impl HostFiles {
    /// The snapshot of this name.
    pub fn of_name(&self, name: &str) -> Option<&SnapshotFile> {
        let digits = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
        let from: i64 = name[..digits].parse().ok()?;
        let first = self.snapshots.partition_point(|file| file.from < from);
        self.snapshots[first..].iter().take_while(|file| file.from == from).find(|file| &*file.name == name)
    }
}

/// A host's log of what came since its last snapshot, which the store appends to.
pub const LOG_NAME: &str = "current.wal";

/// A snapshot by its name and status; its bytes have not been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The file's name.
    pub name: FileName,
    /// Unix time in s, from the name.
    pub from: i64,
    /// What the name says of its format.
    pub format: Format,
    /// Bytes on disk; of one in a zip archive those that come out of it, of a row group those of its columns.
    pub size: u64,
    /// Time of the last change, in ns since 1970; of one in a larger file that of this file.
    pub mtime: i64,
    /// Where it lies, if it is in a larger file.
    pub packed: Option<Box<Packed>>,
}

/// A place in a larger file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packed {
    /// A member of a zip archive.
    Zip(Zipped),
    /// Rows of its host in a row group of a Parquet file.
    Rows(RowGroup),
}

impl SnapshotFile {
    /// The date of its name's `from`: the ledger always has an entry for the source there.
    pub fn home(&self) -> Date {
        Date::of(self.from).unwrap_or_else(|| unreachable!("checked when the name was parsed"))
    }

    /// Its path in its host's folder, for people where it is in a larger file.
    pub fn path_in(&self, folder: &Path) -> PathBuf {
        match self.packed.as_deref() {
            None => folder.join(&*self.name),
            Some(Packed::Zip(zipped)) => folder.join(&*zipped.zip).join(&*self.name),
            Some(Packed::Rows(group)) => group.path(),
        }
    }

    /// The row group, if it is rows of one.
    pub fn row_group(&self) -> Option<&RowGroup> {
        match self.packed.as_deref()? {
            Packed::Rows(group) => Some(group),
            Packed::Zip(_) => None,
        }
    }

    /// How a ledger calls it: the same whether it is in a zip archive or not.
    pub fn ledger_path(&self, host: &Host) -> Box<str> {
        format!("{}/{}", host.as_str(), self.name).into()
    }
}

/// How a snapshot is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Format {
    /// What it is when it is not compressed.
    pub kind: Kind,
    /// What it is compressed with.
    pub compression: Compression,
}

/// The two kinds of snapshots. Where all else is equal, `.bin` wins over `.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// Text, `.json`.
    Json,
    /// Binary, `.bin`.
    #[value(name = "bin")]
    Binary,
}

/// What a `.bin` begins with.
pub const BINARY_MAGIC: u32 = 0xCC5B_0001;

/// What a snapshot can be compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Nothing.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Format {
    /// A plain `.bin`, whose values lie in the file as they are.
    pub const PLAIN_BINARY: Self = Self { kind: Kind::Binary, compression: Compression::None };

    /// Splits a file's name that ends like a snapshot's into stem and format.
    pub fn of_name(name: &[u8]) -> Option<(&[u8], Self)> {
        let (name, compression) = if let Some(rest) = name.strip_suffix(b".gz") {
            (rest, Compression::Gzip)
        } else if let Some(rest) = name.strip_suffix(b".zst") {
            (rest, Compression::Zstd)
        } else {
            (name, Compression::None)
        };
        let (stem, kind) = match (name.strip_suffix(b".json"), name.strip_suffix(b".bin")) {
            (Some(stem), _) => (stem, Kind::Json),
            (_, Some(stem)) => (stem, Kind::Binary),
            _ => return None,
        };
        Some((stem, Self { kind, compression }))
    }
}

/// Whatever the ratio, this much may come out of a compressed snapshot: one of nothing but NaN compresses ten thousand times.
const FREE: u64 = 64 << 20;
/// Beyond that, this many bytes may come out of one.
const MAX_RATIO: u64 = 512;
/// More never comes out.
const MAX_SIZE: u64 = 4 << 30;

/// The most that `compressed` bytes may become.
pub fn most_decompressed(compressed: u64) -> u64 {
    compressed.saturating_mul(MAX_RATIO).clamp(FREE, MAX_SIZE)
}

/// Time of a file's last change, in ns since 1970, as ledgers hold it.
pub fn mtime(status: &Metadata) -> i64 {
    status.mtime().saturating_mul(1_000_000_000).saturating_add(status.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_in_one_shard_and_shards_are_of_a_size() {
        // 16 buckets cannot be split evenly by every number
        const UNEVEN: usize = 180;
        for count in [1, 2, 3, 4, 7] {
            let shards: Vec<Shard> = (0..count).map(|index| Shard::new(index, count).expect("a shard")).collect();
            let mut sizes = vec![0_usize; shards.len()];
            for n in 0..3_000 {
                let host = format!("n{n:04}");
                let holding: Vec<usize> = (0..shards.len()).filter(|i| shards[*i].holds("fritz", &host)).collect();
                assert_eq!(holding.len(), 1, "{host} of {count}");
                sizes[holding[0]] += 1;
            }
            let even = 3_000 / sizes.len();
            assert!(sizes.iter().all(|size| size.abs_diff(even) < UNEVEN), "{sizes:?}");
        }
    }

    /// Shards of two versions may run side by side: where a host belongs must never change.
    #[test]
    fn where_a_host_belongs_stays() {
        let shard_of = |host: &str| (0..1_000).find(|i| Shard::new(*i, 1_000).expect("a shard").holds("fritz", host));
        assert_eq!([shard_of("n0001"), shard_of("n0002"), shard_of("n0003")], [Some(615), Some(507), Some(710)]);
    }

    #[test]
    fn shards_that_do_not_exist_are_refused() {
        assert_eq!("3/4".parse(), Shard::new(3, 4));
        assert_eq!("3/4".parse::<Shard>().map(|shard| shard.to_string()), Ok("3/4".into()));
        for wrong in ["4/4", "0/0", "-1/4", "1", "1/4/2", "a/b", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
