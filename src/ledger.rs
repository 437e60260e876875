//! The ledger of an object: which sources it holds, and what became of their rows. The footer says where it is.
//!
//! This is the archive's only memory. What stands in a visible object's ledger is archived; nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::path::Path;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use crate::etag::ETag;
use crate::files::LOG_NAME;
use crate::info::ArchiveInfo;
use crate::names::{Cluster, Date, Digest, MOST_STEP};
use crate::partition::{Buckets, ObjectKey, Partition};
use crate::schema::{FORMAT_VERSION, footer};

mod block;
mod compacted;
mod holdings;
mod unreadable;

pub use block::Block;
pub use compacted::{Aside, Member};
pub use holdings::{Doubt, Holdings, missing, next_slot};
pub use unreadable::{NotOurs, Trouble, Unreadable};

/// One source in an object's ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// `<host>/<file name>`; of rows that were imported `<host>/<file name>#<row group>`.
    pub path: Box<str>,
    /// Bytes on disk.
    pub size: u64,
    /// Time of the last change, in ns since 1970.
    pub mtime: i64,
    /// Digest of the bytes on disk.
    pub blake3: Digest,
    /// From its header, unix s.
    pub from: i64,
    /// From its header, unix s.
    pub to: i64,
    /// All dates that the source feeds, and the date of its name.
    pub dates: Box<[Date]>,
    /// Samples of this date.
    pub rows: u64,
    /// Those of `rows` that this object holds.
    pub written: u64,
    /// Those of `rows` that were dropped, as another snapshot holds their instant.
    pub dropped: u64,
    /// Those of `dropped` where a newer snapshot of the same run had another value.
    pub superseded: u64,
    /// Those of `dropped` where the archive already had another value.
    pub conflicting: u64,
    /// Time of the first sample of this date, unix s.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<i64>,
    /// Time of the last sample of this date, unix s.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<i64>,
    /// Which earlier sources hold dropped rows.
    #[serde(skip_serializing_if = "<[Digest]>::is_empty", default)]
    pub held_by: Box<[Digest]>,
}

impl Entry {
    /// The host's name.
    pub fn host(&self) -> &str {
        host_of(&self.path)
    }

    /// True if its samples of this date lie, or may lie, in `[first, last]`.
    pub fn overlaps(&self, first: i64, last: i64) -> bool {
        matches!((self.first, self.last), (Some(a), Some(b)) if a <= last && first <= b)
    }

    /// True if samples of this date that lie in `[first, last]`, or are taken for such, may be among its rows. A row of a log has the time of
    /// its sample, which can be a step away from the time that a snapshot has for it.
    pub fn may_hold(&self, first: i64, last: i64) -> bool {
        let step = if self.is_log() { MOST_STEP } else { 0 };
        self.overlaps(first.saturating_sub(step), last.saturating_add(step))
    }

    /// True if it is of samples that were taken from the host's log.
    pub fn is_log(&self) -> bool {
        self.path.rsplit('/').next() == Some(LOG_NAME)
    }

    /// True if it is of rows that were imported: those of its host in a row group of a Parquet file.
    pub fn is_import(&self) -> bool {
        let (_, name) = self.path.rsplit_once('/').unwrap_or_default();
        name.rsplit_once('#').is_some_and(|(_, index)| !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit()))
    }

    /// True if the archive holds this very value for each of its samples of this date.
    pub fn stands_as_decoded(&self) -> bool {
        self.superseded == 0 && self.conflicting == 0
    }
}

/// The host's name in a source's path.
pub fn host_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(host, _)| host)
}

/// What a footer says of its object, and where the ledger is.
#[derive(Debug, Clone)]
pub struct Described {
    /// All but the sources.
    object: ObjectLedger,
    /// Bytes of the ledger, which end where the footer begins.
    pub ledger_size: u64,
    /// How many sources it names.
    sources: usize,
}

impl Described {
    /// With the sources, from the bytes before the footer.
    pub fn with_ledger(self, bytes: &[u8]) -> Result<ObjectLedger, NotOurs> {
        let found = Digest::of(bytes);
        if found != self.object.ledger {
            return Err(NotOurs::damaged(format!(
                "its ledger is not the one that was written: its digest is {found}, and its footer says {}",
                self.object.ledger
            )));
        }
        let entries = block::read(bytes, self.sources).map_err(|why| NotOurs::damaged(format!("its ledger: {why}")))?;
        Ok(ObjectLedger { entries: Arc::new(entries), ..self.object })
    }
}

/// What an object says of itself in its footer and its ledger.
#[derive(Debug, Clone)]
pub struct ObjectLedger {
    /// Its key.
    pub key: ObjectKey,
    /// Its bytes.
    pub size: u64,
    /// As it was listed, where the store has such tags.
    pub e_tag: Option<ETag>,
    /// Of the whole object, as the footer has it.
    pub digest: Digest,
    /// What the archive was made with, as this object has it.
    pub info: ArchiveInfo,
    /// Digests of what stood in the slot before when it was written.
    pub after: Vec<Digest>,
    /// Slots before it that were empty when it was planned.
    pub missing: Vec<u32>,
    /// What it was compacted from.
    pub replaces: Vec<Member>,
    /// Count of rows.
    pub rows: u64,
    /// Of the ledger.
    pub ledger: Digest,
    /// Its sources, in order.
    pub entries: Arc<Vec<Entry>>,
}

impl ObjectLedger {
    /// True if all that it holds of a host was taken from its logs.
    pub fn is_of_logs(&self, host: &str) -> bool {
        self.entries.iter().filter(|entry| entry.host() == host).all(Entry::is_log)
    }

    /// True if rows that it holds of a host were imported.
    pub fn has_imports(&self, host: &str) -> bool {
        self.entries.iter().any(|entry| entry.host() == host && entry.is_import())
    }
}

/// Everything that goes into a footer, but for the object's digest.
#[derive(Debug)]
pub struct Footer<'a> {
    /// The object's key.
    pub key: &'a ObjectKey,
    /// Sequences of the archive.
    pub buckets: Buckets,
    /// Digests of what stands in the slot before.
    pub after: &'a [Digest],
    /// Slots before it that are empty.
    pub missing: &'a [u32],
    /// What it was compacted from.
    pub replaces: &'a [Member],
    /// Count of rows.
    pub rows: u64,
    /// Times of the earliest and the latest row.
    pub extent: Option<(i64, i64)>,
    /// Its sources.
    pub entries: &'a [Entry],
    /// The same as they stand before the footer.
    pub ledger: &'a Block,
}

/// What stands for the digest until it is known.
pub const DIGEST_PLACEHOLDER: [u8; 64] = [b'0'; 64];

impl Footer<'_> {
    /// As Parquet key-value metadata, the digest's placeholder last.
    pub fn key_values(&self) -> Vec<KeyValue> {
        let partition = &self.key.partition;
        let hosts: BTreeSet<&str> = self.entries.iter().map(Entry::host).collect();
        let mut pairs = vec![
            (footer::FORMAT, FORMAT_VERSION.to_string()),
            (footer::WRITER, format!("cc-archiver {}", env!("CARGO_PKG_VERSION"))),
            (footer::CLUSTER, partition.cluster.as_str().to_owned()),
            (footer::DATE, partition.date.to_string()),
            (footer::BUCKETS, self.buckets.count().to_string()),
            (footer::PART, self.key.place()),
            (footer::AFTER, list(self.after)),
            (footer::ROWS, self.rows.to_string()),
            (footer::HOSTS, hosts.len().to_string()),
            (footer::SOURCES, self.entries.len().to_string()),
            (footer::LEDGER, self.ledger.bytes.len().to_string()),
            (footer::LEDGER_DIGEST, self.ledger.digest.to_string()),
        ];
        if !self.missing.is_empty() {
            pairs.push((footer::MISSING, list(self.missing)));
        }
        if !self.replaces.is_empty() {
            pairs.push((footer::REPLACES, list(self.replaces)));
        }
        if let Some((first, last)) = self.extent {
            pairs.push((footer::MIN_TIMESTAMP, first.to_string()));
            pairs.push((footer::MAX_TIMESTAMP, last.to_string()));
        }
        pairs.push((footer::DIGEST, String::from_utf8_lossy(&DIGEST_PLACEHOLDER).into_owned()));
        pairs.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
    }
}

/// As footers have several values.
fn list(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What is said of an object that a newer version of this program wrote: of all else that it holds nothing is known.
pub fn newer(metadata: Option<&Vec<KeyValue>>) -> Option<NotOurs> {
    let format = metadata?.iter().find(|kv| kv.key == footer::FORMAT)?.value.as_deref()?.parse::<u32>().ok()?;
    let reason = || format!("it has format {format}, and this version reads up to {FORMAT_VERSION}");
    (format > FORMAT_VERSION).then(|| NotOurs::Unusable(Trouble::Newer, reason()))
}

/// The key that the key-value metadata say an object was written at; None if they do not.
pub fn written_at(metadata: Option<&Vec<KeyValue>>) -> Option<ObjectKey> {
    let get = |name: &str| metadata?.iter().find(|kv| kv.key == name)?.value.as_deref();
    let partition = Partition { cluster: Cluster::new(get(footer::CLUSTER)?)?, date: Date::parse(get(footer::DATE)?)? };
    let path = Path::parse(format!("{partition}/part-{}.parquet", get(footer::PART)?)).ok()?;
    ObjectKey::parse(&path)
}

/// Reads what the key-value metadata say of the object at `key`, which is `size` bytes long.
pub fn read(key: &ObjectKey, size: u64, cluster_column: bool, metadata: Option<&Vec<KeyValue>>) -> Result<Described, NotOurs> {
    let values: BTreeMap<&str, &str> = metadata.into_iter().flatten().filter_map(|kv| Some((kv.key.as_str(), kv.value.as_deref()?))).collect();
    let Some(format) = values.get(footer::FORMAT) else { return Err(NotOurs::Foreign) };
    let damaged = |reason: String| NotOurs::damaged(reason);
    if let Some(newer) = newer(metadata) {
        return Err(newer);
    }
    if *format != FORMAT_VERSION.to_string() {
        return Err(damaged(format!("it has format {format:?}, which no version wrote")));
    }
    let get = |name: &str| values.get(name).copied().ok_or_else(|| damaged(format!("its footer has no {name}")));
    let partition = &key.partition;
    let expected = [(footer::CLUSTER, partition.cluster.as_str().to_owned()), (footer::DATE, partition.date.to_string()), (footer::PART, key.place())];
    for (name, expected) in expected {
        let found = get(name)?;
        if found != expected {
            return Err(damaged(format!("its footer says {name} {found:?}, its key {expected:?}")));
        }
    }
    let buckets = get(footer::BUCKETS)?;
    let buckets = buckets.parse().ok().and_then(Buckets::new).ok_or_else(|| damaged(format!("it says {buckets:?} buckets")))?;
    let digests = get(footer::AFTER)?.split(',').filter(|digits| !digits.is_empty());
    let after = digests
        .map(|digits| Digest::try_from(digits.to_owned()))
        .collect::<Result<_, _>>()
        .map_err(|e| damaged(format!("the digest of what stands before it: {e}")))?;
    let slots = values.get(footer::MISSING).into_iter().flat_map(|slots| slots.split(','));
    let missing = slots.map(str::parse).collect::<Result<_, _>>().map_err(|e| damaged(format!("its list of empty slots: {e}")))?;
    let replaces = values.get(footer::REPLACES).into_iter().flat_map(|members| members.split(','));
    let replaces = replaces.map(Member::parse).collect::<Result<_, _>>().map_err(damaged)?;
    let rows = get(footer::ROWS)?.parse().map_err(|e| damaged(format!("its row count: {e}")))?;
    let sources = get(footer::SOURCES)?.parse().map_err(|e| damaged(format!("its count of sources: {e}")))?;
    let ledger_size = get(footer::LEDGER)?.parse().map_err(|e| damaged(format!("the size of its ledger: {e}")))?;
    let ledger = Digest::try_from(get(footer::LEDGER_DIGEST)?.to_owned()).map_err(|e| damaged(format!("the digest of its ledger: {e}")))?;
    let digits = get(footer::DIGEST)?;
    let digest = Digest::try_from(digits.to_owned()).map_err(|e| damaged(format!("its digest: {e}")))?;
    // one spelling only: the digits themselves are not part of what is hashed
    if digest.to_string() != digits {
        return Err(damaged(format!("its digest is written {digits:?}")));
    }
    let info = ArchiveInfo { buckets, cluster_column };
    let object = ObjectLedger { key: key.clone(), size, e_tag: None, digest, info, after, missing, replaces, rows, ledger, entries: Arc::default() };
    Ok(Described { object, ledger_size, sources })
}

/// Where the digest's `digits` stand in a footer: in the last of the key-value pairs, written as Thrift compact strings.
pub fn digest_position(footer: &[u8], digits: &[u8; 64]) -> Option<usize> {
    const STRING_FIELD: u8 = 0x18;
    let mut pair = footer::DIGEST.as_bytes().to_vec();
    pair.extend([STRING_FIELD, digits.len() as u8]);
    pair.extend(digits);
    let at = footer.windows(pair.len()).rposition(|window| window == pair)?;
    Some(at + pair.len() - digits.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ObjectKey {
        let partition = Partition { cluster: Cluster::new("fritz").expect("valid"), date: Date::of(0).expect("valid") };
        let bucket = Buckets::ONE.of(&partition.cluster, "n1");
        ObjectKey { partition, bucket, slot: 7, beside: None }
    }

    fn footer<'a>(key: &'a ObjectKey, entries: &'a [Entry], ledger: &'a Block) -> Footer<'a> {
        Footer { key, buckets: Buckets::ONE, after: &[], missing: &[], replaces: &[], rows: 1, extent: Some((0, 0)), entries, ledger }
    }

    fn entry() -> Entry {
        Entry {
            path: "n\n1/0.bin".into(),
            size: 1,
            mtime: -2,
            blake3: Digest::of(b"x"),
            from: 0,
            to: 60,
            dates: Date::of(0).into_iter().collect(),
            rows: 3,
            written: 1,
            dropped: 2,
            superseded: 0,
            conflicting: 1,
            first: Some(0),
            last: Some(120),
            held_by: [Digest::of(b"y")].into(),
        }
    }

    #[test]
    fn a_ledger_is_read_as_it_was_written() {
        let (key, entries) = (key(), [entry()]);
        let after = [Digest::of(b"a"), Digest::of(b"b")];
        let ledger = Block::of(&entries);
        let replaces = [Member { slot: 3, beside: None, digest: after[0], rows: 4 }, Member { slot: 4, beside: None, digest: after[1], rows: 0 }];
        let kv = Footer { after: &after, missing: &[2, 5], replaces: &replaces, ..footer(&key, &entries, &ledger) }.key_values();
        assert_eq!(kv.last().map(|kv| kv.key.as_str()), Some(footer::DIGEST));
        let described = read(&key, 10, false, Some(&kv)).expect("readable");
        assert_eq!(described.ledger_size, ledger.bytes.len() as u64);
        let damaged = described.clone().with_ledger(&ledger.bytes[1..]).expect_err("damaged");
        assert!(damaged.to_string().contains("not the one that was written"), "{damaged}");
        let read = described.with_ledger(&ledger.bytes).expect("readable");
        assert_eq!(*read.entries, entries);
        assert_eq!((&read.after[..], &read.missing[..], &read.replaces[..]), (&after[..], &[2, 5][..], &replaces[..]));
        assert_eq!(read.entries[0].host(), "n\n1");
    }

    #[test]
    fn what_is_not_a_ledger_says_why() {
        let key = key();
        assert!(matches!(read(&key, 0, false, None), Err(NotOurs::Foreign)));
        let mut kv = footer(&key, &[], &Block::of(&[])).key_values();
        kv[0].value = Some("2".into());
        assert!(matches!(read(&key, 0, false, Some(&kv)), Err(NotOurs::Unusable(Trouble::Newer, why)) if why.contains("format 2")));
        kv[0].value = Some("1".into());
        kv[3].value = Some("1970-01-02".into());
        assert!(matches!(read(&key, 0, false, Some(&kv)), Err(NotOurs::Unusable(Trouble::Damaged, why)) if why.contains("1970-01-02")));
    }
}
