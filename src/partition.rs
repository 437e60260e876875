//! Keys of objects: `cluster=<cluster>/date=<YYYY-MM-DD>/part-<bucket>-<slot>.parquet`, formatted and parsed here only.
//!
//! A partition is one sequence of slots for each bucket of hosts. A writer takes the slot behind the highest one, on condition that it is
//! free, so that of two writers one finds out about the other.

use std::fmt;

use object_store::path::Path;

use crate::names::{Cluster, Date, host_number};

/// No sequence gets so far; a name that says more is not ours.
const MOST_SLOTS: u32 = 99_999_999;

/// How the folders of clusters begin.
pub const CLUSTER_FOLDER: &str = "cluster=";

/// How the folders of dates begin.
pub const DATE_FOLDER: &str = "date=";

/// One (cluster, UTC date): a folder of the archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Which cluster.
    pub cluster: Cluster,
    /// Which date.
    pub date: Date,
}

/// How many sequences of objects each partition of an archive has. Chosen when the archive is made, and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets(u32);

/// One of these sequences: it holds the hosts whose number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u32);

impl Buckets {
    /// For runs of the whole tree.
    pub const ONE: Self = Self(1);
    /// For runs of shards: up to so many have sequences of their own.
    pub const FOR_SHARDS: Self = Self(16);
    /// More would only make small objects.
    const MOST: u32 = 256;

    /// None if an archive cannot have so many.
    pub fn new(count: u32) -> Option<Self> {
        (1..=Self::MOST).contains(&count).then_some(Self(count))
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        self.0
    }

    /// The bucket of a host.
    pub fn of(self, cluster: &Cluster, host: &str) -> Bucket {
        Bucket((host_number(cluster.as_str(), host) % u64::from(self.0)) as u32)
    }
}

/// A random number, as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub u64);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The key of one of our objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its folder.
    pub partition: Partition,
    /// The sequence.
    pub bucket: Bucket,
    /// Its place in the sequence, from 0.
    pub slot: u32,
    /// A number of the upload's own, where the store does not refuse to overwrite: two writers of a slot write beside each other then.
    pub beside: Option<UploadId>,
}

impl Partition {
    /// The folder, relative to the archive.
    pub fn path(&self) -> Path {
        parsed(format!("{}/{DATE_FOLDER}{}", cluster_folder(&self.cluster), self.date))
    }

    /// The partition that `path` lies in, if it is `cluster=…/date=…/<name>`; and the name.
    pub fn parse(path: &Path) -> Option<(Self, &str)> {
        let mut parts = path.as_ref().split('/');
        let cluster = cluster_of(parts.next()?)?;
        let date = Date::parse(parts.next()?.strip_prefix(DATE_FOLDER)?)?;
        let name = parts.next()?;
        parts.next().is_none().then_some((Self { cluster, date }, name))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path().as_ref())
    }
}

impl ObjectKey {
    /// The key, relative to the archive.
    pub fn path(&self) -> Path {
        parsed(self.to_string())
    }

    /// Bucket and slot, as footers have them: two and five digits, or more.
    pub fn place(&self) -> String {
        format!("{:02}-{:05}", self.bucket.0, self.slot)
    }

    /// Reads what [`Self::path`] wrote; None for any other key.
    pub fn parse(path: &Path) -> Option<Self> {
        let (partition, name) = Partition::parse(path)?;
        let mut fields = name.strip_prefix("part-")?.strip_suffix(".parquet")?.split('-');
        let (bucket, slot) = (Bucket(fields.next()?.parse().ok()?), fields.next()?.parse().ok().filter(|slot| *slot <= MOST_SLOTS)?);
        let beside = match fields.next() {
            Some(id) => Some(UploadId(u64::from_str_radix(id, 16).ok()?)),
            None => None,
        };
        let key = Self { partition, bucket, slot, beside };
        (key.to_string() == path.as_ref()).then_some(key)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/part-{}", self.partition, self.place())?;
        self.beside.map_or(Ok(()), |id| write!(f, "-{id}"))?;
        f.write_str(".parquet")
    }
}

/// The folder of a cluster, relative to the archive.
pub fn cluster_path(cluster: &Cluster) -> Path {
    parsed(cluster_folder(cluster))
}

/// The cluster whose folder has this name; None for any other name, also for another spelling of it.
pub fn cluster_of(folder: &str) -> Option<Cluster> {
    let cluster = Cluster::new(&unescape(folder.strip_prefix(CLUSTER_FOLDER)?)?)?;
    (cluster_folder(&cluster) == folder).then_some(cluster)
}

/// Only `[A-Za-z0-9._-]` stands for itself; every other byte is `%XX`, as Hive writers do and readers undo.
fn cluster_folder(cluster: &Cluster) -> String {
    let mut folder = String::from(CLUSTER_FOLDER);
    for byte in cluster.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => folder.push(char::from(byte)),
            _ => folder.push_str(&format!("%{byte:02X}")),
        }
    }
    folder
}

fn unescape(folder: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(folder.len());
    let mut rest = folder.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |c: &u8| char::from(*c).to_digit(16);
                bytes.push((digit(high)? * 16 + digit(low)?) as u8);
                rest = tail;
            }
            (b'%', _) => return None,
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Our own escaping leaves only characters that a path may hold, so this cannot fail; encoding again would double the `%`.
pub fn parsed(path: String) -> Path {
    Path::parse(&path).unwrap_or_else(|e| unreachable!("{path:?} is a valid key: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(cluster: &str) -> Option<ObjectKey> {
        let partition = Partition { cluster: Cluster::new(cluster)?, date: Date::parse("2026-03-01")? };
        Some(ObjectKey { partition, bucket: Bucket(3), slot: 17, beside: None })
    }

    #[test]
    fn a_key_is_readable() {
        let plain = key("a b=%ü\n").expect("a key");
        assert_eq!(plain.to_string(), "cluster=a%20b%3D%25%C3%BC%0A/date=2026-03-01/part-03-00017.parquet");
        let beside = ObjectKey { beside: Some(UploadId(0xabc)), slot: 123_456, ..plain };
        assert!(beside.to_string().ends_with("/part-03-123456-0000000000000abc.parquet"), "{beside}");
        assert_eq!(ObjectKey::parse(&beside.path()), Some(beside));
    }

    #[test]
    fn foreign_keys_are_not_ours() {
        for path in [
            "cluster=a/date=2026-03-01/x.parquet",
            "cluster=a/date=2026-3-1/part-00-00001.parquet",
            "cluster=a/date=2026-03-01/part-0-00001.parquet",
            "cluster=a/date=2026-03-01/part-00-1.parquet",
            "cluster=a/date=2026-03-01/part-00-00001-0000000000000ABC.parquet",
            "cluster=a/date=2026-03-01/part-00-00001-0000000000000abc-3.parquet",
            "cluster=a/date=2026-03-01/deep/part-00-00001.parquet",
            "cluster=a%68b/date=2026-03-01/part-00-00001.parquet",
            "date=2026-03-01/part-00-00001.parquet",
        ] {
            assert_eq!(ObjectKey::parse(&parsed(path.into())), None, "{path}");
        }
        for path in ["cluster=a%68b/date=2026-03-01/x", "cluster=a/date=2026-03-01/deep/x", "cluster=a/date=2026-3-01/x"] {
            assert_eq!(Partition::parse(&parsed(path.into())), None, "{path}");
        }
    }

    #[test]
    fn a_shard_takes_whole_buckets() {
        use crate::files::Shard;
        let cluster = Cluster::new("fritz").expect("a name");
        for count in [1, 2, 5, 16] {
            let mut shard_of = std::collections::BTreeMap::new();
            for n in 0..1_000 {
                let host = format!("n{n:04}");
                let shard = (0..count).find(|i| Shard::new(*i, count).expect("a shard").holds("fritz", &host)).expect("one");
                assert_eq!(*shard_of.entry(Buckets::FOR_SHARDS.of(&cluster, &host)).or_insert(shard), shard, "{host} of {count}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_key_is_parsed_as_it_was_formatted(cluster in "[^/\0]{1,20}", bucket in 0_u32..256, slot in 0..=MOST_SLOTS, id in any::<Option<u64>>()) {
            if let Some(key) = key(&cluster) {
                let key = ObjectKey { bucket: Bucket(bucket), slot, beside: id.map(UploadId), ..key };
                prop_assert_eq!(ObjectKey::parse(&key.path()), Some(key));
            }
        }
    }
}
