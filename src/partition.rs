//! Keys of objects: `cluster=<cluster>/date=<YYYY-MM-DD>/<from>-<plan>-<part>.parquet`, formatted and parsed here only.

use std::fmt;

use object_store::path::Path;

use crate::names::{Cluster, Date};

/// One (cluster, UTC date): a folder of the archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Which cluster.
    pub cluster: Cluster,
    /// Which date.
    pub date: Date,
}

/// What a plan makes of one partition, as 16 hex digits of a digest: same input and settings, same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId(pub u64);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The key of one of our objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its folder.
    pub partition: Partition,
    /// The smallest `from` of the plan's sources: names sort by time.
    pub from: i64,
    /// The plan that it is part of.
    pub plan: PlanId,
    /// Objects of one plan are counted from 0.
    pub part: u32,
}

impl Partition {
    /// The folder, relative to the archive.
    pub fn path(&self) -> Path {
        parsed(format!("{}/date={}", cluster_folder(&self.cluster), self.date))
    }

    /// The partition that `path` lies in, if it is `cluster=…/date=…/<name>`; and the name.
    pub fn parse(path: &Path) -> Option<(Self, &str)> {
        let mut parts = path.as_ref().split('/');
        let cluster = Cluster::new(&unescape(parts.next()?.strip_prefix("cluster=")?)?)?;
        let date = Date::parse(parts.next()?.strip_prefix("date=")?)?;
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

    /// Reads what [`Self::path`] wrote; None for any other key.
    pub fn parse(path: &Path) -> Option<Self> {
        let (partition, name) = Partition::parse(path)?;
        let mut fields = name.strip_suffix(".parquet")?.split('-');
        let key = Self {
            partition,
            from: fields.next()?.parse().ok()?,
            plan: PlanId(u64::from_str_radix(fields.next()?, 16).ok()?),
            part: fields.next()?.parse().ok()?,
        };
        (key.to_string() == path.as_ref()).then_some(key)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-{}-{}.parquet", self.partition, self.from, self.plan, self.part)
    }
}

/// The folder of a cluster, relative to the archive.
pub fn cluster_path(cluster: &Cluster) -> Path {
    parsed(cluster_folder(cluster))
}

/// Only `[A-Za-z0-9._-]` stands for itself; every other byte is `%XX`, as Hive writers do and readers undo.
fn cluster_folder(cluster: &Cluster) -> String {
    let mut folder = String::from("cluster=");
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
fn parsed(path: String) -> Path {
    Path::parse(&path).unwrap_or_else(|e| unreachable!("{path:?} is a valid key: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(cluster: &str) -> Option<ObjectKey> {
        let partition = Partition { cluster: Cluster::new(cluster)?, date: Date::parse("2026-03-01")? };
        Some(ObjectKey { partition, from: 1_772_323_200, plan: PlanId(0xabc), part: 3 })
    }

    #[test]
    fn a_key_is_readable() {
        let path = key("a b=%ü\n").map(|k| k.to_string());
        assert_eq!(path.as_deref(), Some("cluster=a%20b%3D%25%C3%BC%0A/date=2026-03-01/1772323200-0000000000000abc-3.parquet"));
    }

    #[test]
    fn foreign_keys_are_not_ours() {
        for path in [
            "cluster=a/date=2026-03-01/x.parquet",
            "cluster=a/date=2026-3-1/1-0000000000000abc-3.parquet",
            "cluster=a/date=2026-03-01/01-0000000000000abc-3.parquet",
            "cluster=a/date=2026-03-01/1-0000000000000ABC-3.parquet",
            "cluster=a/date=2026-03-01/deep/1-0000000000000abc-3.parquet",
            "date=2026-03-01/1-0000000000000abc-3.parquet",
        ] {
            assert_eq!(ObjectKey::parse(&parsed(path.into())), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_key_is_parsed_as_it_was_formatted(cluster in "[^/\0]{1,20}") {
            if let Some(key) = key(&cluster) {
                prop_assert_eq!(ObjectKey::parse(&key.path()), Some(key));
            }
        }
    }
}
