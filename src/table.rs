//! Stage 14: a table of the archive, as a log of Delta Lake. It says which objects hold the archive's rows, and the bounds of each. It follows from
//! listing and footers, which stay what is true, and can be made anew from them at any time.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::ledger::{Aside, Holdings, ObjectLedger};
use crate::names::Digest;
use crate::partition::{ObjectKey, Partition};
use crate::store::Archive;

mod actions;
mod checkpoint;
mod log;
mod report;
mod schema;

pub use log::FOLDER;
pub use report::Tabled;
pub use schema::statistics;

use actions::{Add, CommitInfo, Line, Metadata, Protocol, READER_VERSION, Remove, key_of};
use log::{Contents, Lines};

/// Commits from one checkpoint to the next. Readers read no more than these and one checkpoint.
const CHECKPOINT_EVERY: u64 = 10;

/// Removed files are named in checkpoints for so long, in ms: readers that began before may still ask for them.
const REMEMBERED: i64 = 7 * 86_400_000;

/// A table as its log has it.
#[derive(Debug, Clone)]
pub struct Table {
    version: u64,
    /// Of the last checkpoint that can be found.
    checkpoint: Option<u64>,
    metadata: Metadata,
    /// By key.
    files: BTreeMap<String, Add>,
    removed: BTreeMap<String, Remove>,
}

/// What is there of a table.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A log that cannot be read, up to the version before this one, and why.
    Broken(u64, String),
    /// A table.
    Table(Box<Table>),
}

/// An object that is to be in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Bytes.
    pub size: u64,
    /// Of its bytes, as in its footer.
    pub digest: Digest,
    /// Time of its last change, unix ms.
    pub modified: i64,
    /// Count of rows, and bounds, as [`statistics`] has them.
    pub statistics: String,
}

/// Files that come into a table, and files that go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// With what is said of them.
    pub add: BTreeMap<ObjectKey, File>,
    /// By key. They need not be in the table.
    pub remove: BTreeSet<String>,
    /// The rows of the ones are those of the others.
    pub is_rearrangement: bool,
}

impl Change {
    /// True if nothing comes and nothing goes.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// How a table differs from a partition of its archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Objects that it does not have, or not as they are.
    pub add: BTreeSet<ObjectKey>,
    /// Objects that it has, and that are gone or replaced.
    pub remove: BTreeSet<ObjectKey>,
}

impl Difference {
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// Reads the table of an archive.
///
/// # Errors
/// [`Error::Store`]: the store does not give it.
pub async fn read(archive: &Archive) -> Result<Found> {
    Ok(match log::read(archive).await? {
        Contents::Nothing => Found::Nothing,
        Contents::Broken { next, why } => Found::Broken(next, why),
        Contents::Lines(lines) => {
            let next = lines.version + 1;
            Table::of(lines).map_or_else(|why| Found::Broken(next, why), |table| Found::Table(Box::new(table)))
        }
    })
}

impl Table {
    /// A table without files, of version 0.
    ///
    /// # Errors
    /// The system has no random numbers.
    fn new(now: i64) -> Result<Self> {
        Ok(Self { version: 0, checkpoint: None, metadata: Metadata::new(now)?, files: BTreeMap::new(), removed: BTreeMap::new() })
    }

    fn of(log: Lines) -> Result<Self, String> {
        let Lines { version, checkpoint, is_hinted, lines } = log;
        let protocol = lines.iter().rev().find_map(|line| line.protocol.as_ref()).ok_or("it says no protocol")?;
        if protocol.min_reader_version > READER_VERSION {
            return Err(format!("another program has raised its protocol: readers need version {}", protocol.min_reader_version));
        }
        let metadata = lines.iter().rev().find_map(|line| line.meta_data.clone()).ok_or("it does not say what the table is")?;
        let mut table = Self { version, checkpoint: checkpoint.filter(|_| is_hinted), metadata, files: BTreeMap::new(), removed: BTreeMap::new() };
        lines.into_iter().try_for_each(|line| table.take(line))?;
        Ok(table)
    }

    fn take(&mut self, line: Line) -> Result<(), String> {
        let key = |path: &str| key_of(path).ok_or_else(|| format!("{path:?} is no path"));
        if let Some(add) = line.add {
            let key = key(&add.path)?;
            self.removed.remove(&key);
            self.files.insert(key, add);
        }
        if let Some(remove) = line.remove {
            let key = key(&remove.path)?;
            self.files.remove(&key);
            self.removed.insert(key, remove);
        }
        Ok(())
    }

    /// The version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many files it has.
    pub fn files(&self) -> u64 {
        self.files.len() as u64
    }

    /// Their rows, as far as that is said.
    pub fn rows(&self) -> u64 {
        self.files.values().filter_map(Add::rows).sum()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|add| add.size.unsigned_abs()).sum()
    }

    /// Partitions that it has files in.
    pub fn partitions(&self) -> BTreeSet<Partition> {
        self.files.keys().filter_map(|key| of_ours(key)).map(|key| key.partition).collect()
    }

    /// Its files in one partition.
    pub fn files_of(&self, partition: &Partition) -> BTreeSet<ObjectKey> {
        let folder = format!("{partition}/");
        self.files.range(folder.clone()..).map_while(|(key, _)| key.starts_with(&folder).then_some(key)).filter_map(|key| of_ours(key)).collect()
    }

    /// Files that are none of our objects, by key.
    pub fn strangers(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str).filter(|key| of_ours(key).is_none())
    }

    /// True if it has this object under its key.
    pub fn has(&self, key: &ObjectKey, size: u64, digest: Digest) -> bool {
        self.files.get(&key.to_string()).is_some_and(|add| add.is(size, digest))
    }

    /// True if it has an object of this size under its key: all that a listing tells.
    pub fn has_size(&self, key: &ObjectKey, size: u64) -> bool {
        self.files.get(&key.to_string()).is_some_and(|add| add.size == size as i64)
    }

    /// True if the log is to be read from another place than it could be.
    fn wants_checkpoint(&self) -> bool {
        self.checkpoint.is_none_or(|checkpoint| self.version >= checkpoint + CHECKPOINT_EVERY)
    }

    /// Writes a checkpoint if it is time for one. Readers find the table without it: that it could not be written is only said.
    pub async fn keep_checkpoint(&mut self, archive: &Archive, now: i64) {
        if self.wants_checkpoint()
            && let Err(e) = self.write_checkpoint(archive, now).await
        {
            tracing::warn!("no checkpoint of the table's log could be written, and the next run tries again: {e}");
        }
    }

    async fn write_checkpoint(&mut self, archive: &Archive, now: i64) -> Result<()> {
        self.removed.retain(|_, removed| removed.deletion_timestamp > now - REMEMBERED);
        let adds = self.files.values().map(|add| Line { add: Some(Add { data_change: false, ..add.clone() }), ..Line::default() });
        let removes = self.removed.values().map(|remove| Line { remove: Some(Remove { data_change: false, ..remove.clone() }), ..Line::default() });
        let lines: Vec<Line> = heading(&self.metadata).into_iter().chain(adds).chain(removes).collect();
        log::write_checkpoint(archive, self.version, &lines).await?;
        self.checkpoint = Some(self.version);
        Ok(())
    }

    /// Commits a change as the next version. None if another writer has made that one.
    ///
    /// # Errors
    /// Those of the store; then it may become visible later.
    pub async fn commit(mut self, archive: &Archive, change: &Change, now: i64) -> Result<Option<Self>> {
        let today = self.metadata.clone().into_current();
        let mut lines = vec![told(if change.remove.is_empty() { "WRITE" } else { "DELETE" }, change, now)];
        if today != self.metadata {
            lines.extend(heading(&today));
        }
        lines.extend(self.lines_of(change, now));
        if !log::commit(archive, self.version + 1, lines.clone()).await? {
            return Ok(None);
        }
        lines.into_iter().try_for_each(|line| self.take(line)).map_err(Error::Internal)?;
        Ok(Some(Self { version: self.version + 1, metadata: today, ..self }))
    }

    /// True if columns or properties are not as this version has them.
    pub fn is_outdated(&self) -> bool {
        self.metadata.clone().into_current() != self.metadata
    }

    fn lines_of(&self, change: &Change, now: i64) -> Vec<Line> {
        // what it does not have is named all the same: nobody is to add it late
        let gone = |key: &String| match self.files.get(key) {
            Some(add) => Some(Remove::of(add, now)),
            None => of_ours(key).map(|key| Remove::of(&Add::new(&key, 0, 0, Digest::of(b""), String::new()), now)),
        };
        let remove = change.remove.iter().filter_map(gone).map(|remove| {
            let remove = Remove { data_change: !change.is_rearrangement, ..remove };
            Line { remove: Some(remove), ..Line::default() }
        });
        let add = change.add.iter().map(|(key, File { size, digest, modified, statistics })| {
            let is_new = !change.is_rearrangement && !self.has(key, *size, *digest);
            let add = Add { data_change: is_new, ..Add::new(key, *size, *modified, *digest, statistics.clone()) };
            Line { add: Some(add), ..Line::default() }
        });
        remove.chain(add).collect()
    }
}

/// How a table, or none, differs from what a partition holds. With `anew` all objects that are to be in it come into it again.
///
/// Objects that count are to be in it. What is gone goes, and what was compacted into another object. But a compaction whose members all stand may
/// be in it already: then it has that instead of them. What cannot be read stays as it is, and so do objects that may have been compacted into it.
pub fn difference(table: Option<&Table>, holdings: &Holdings, partition: &Partition, anew: bool) -> Difference {
    let has = table.map(|table| table.files_of(partition)).unwrap_or_default();
    let aside = || holdings.aside().iter().filter(|(object, _)| has.contains(&object.key));
    let pending = aside().filter(|(_, why)| *why == Aside::Pending);
    let instead: BTreeSet<ObjectKey> = pending.flat_map(|(object, _)| object.replaces.iter().map(|member| member.key(&object.key))).collect();
    let replaced = aside().filter(|(_, why)| *why == Aside::Replaced).map(|(object, _)| object.key.clone());
    let uncertain = holdings.uncertain();
    let is_known = |key: &ObjectKey| uncertain.get(&key.bucket).is_none_or(|slot| key.slot >= *slot);
    let lacks =
        |object: &&ObjectLedger| !instead.contains(&object.key) && (anew || table.is_none_or(|table| !table.has(&object.key, object.size, object.digest)));
    Difference {
        add: holdings.objects().iter().filter(lacks).map(|object| object.key.clone()).filter(is_known).collect(),
        remove: has.iter().filter(|key| !holdings.keys().contains(*key)).cloned().chain(replaced).filter(is_known).collect(),
    }
}

/// Makes a table, or one anew, with all objects that are to be in it, and without those that are not; as a version of its own behind all that there
/// are. A checkpoint makes readers begin with it, whatever stands before. None if another writer has made that version.
///
/// # Errors
/// Those of the store.
pub async fn make(archive: &Archive, before: &Found, change: &Change, now: i64) -> Result<Option<Table>> {
    let (version, old) = match before {
        Found::Nothing => (0, None),
        Found::Broken(next, _) => (*next, None),
        Found::Table(table) => (table.version + 1, Some(table)),
    };
    let mut table = Table { version, checkpoint: None, ..old.map_or_else(|| Table::new(now), |table| Ok(Table::clone(table)))? };
    table.metadata = table.metadata.into_current();
    let mut lines = vec![told(if version > 0 { "REPLACE TABLE" } else { "CREATE TABLE" }, change, now)];
    lines.extend(heading(&table.metadata));
    lines.extend(table.lines_of(change, now));
    if !log::commit(archive, version, lines.clone()).await? {
        return Ok(None);
    }
    lines.into_iter().try_for_each(|line| table.take(line)).map_err(Error::Internal)?;
    // what stands before may be no log at all: then there is no table without it
    table.write_checkpoint(archive, now).await?;
    Ok(Some(table))
}

/// One of our objects, by its key.
fn of_ours(key: &str) -> Option<ObjectKey> {
    ObjectKey::parse(&object_store::path::Path::parse(key).ok()?)
}

/// What a log must begin with.
fn heading(metadata: &Metadata) -> [Line; 2] {
    [Line { protocol: Some(Protocol::ours()), ..Line::default() }, Line { meta_data: Some(metadata.clone()), ..Line::default() }]
}

fn told(operation: &str, change: &Change, now: i64) -> Line {
    let counts = [("added", change.add.len()), ("removed", change.remove.len())];
    let commit_info = CommitInfo {
        timestamp: now,
        operation: operation.to_owned(),
        operation_parameters: counts.map(|(name, count)| (name.to_owned(), count.to_string())).into(),
        engine_info: format!("cc-archiver/{}", env!("CARGO_PKG_VERSION")),
        txn_id: String::new(),
    };
    Line { commit_info: Some(commit_info), ..Line::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::ArchiveInfo;
    use crate::ledger::Member;
    use crate::names::{Cluster, Date};
    use crate::partition::Buckets;
    use std::time::Duration;

    fn partition() -> Partition {
        Partition { cluster: Cluster::new("c").expect("a name"), date: Date::of(0).expect("a date") }
    }

    fn key(slot: u32) -> ObjectKey {
        let partition = partition();
        ObjectKey { bucket: Buckets::ONE.of(&partition.cluster, "n1"), partition, slot, beside: None }
    }

    fn digest(slot: u32) -> Digest {
        Digest::of(&slot.to_le_bytes())
    }

    /// An object that was compacted from those of these slots.
    fn object(slot: u32, replaces: &[u32]) -> ObjectLedger {
        ObjectLedger {
            key: key(slot),
            size: 10,
            e_tag: None,
            digest: digest(slot),
            info: ArchiveInfo { buckets: Buckets::ONE, cluster_column: false },
            after: Vec::new(),
            missing: Vec::new(),
            replaces: replaces.iter().map(|slot| Member { slot: *slot, beside: None, digest: digest(*slot), rows: 1 }).collect(),
            rows: 1,
            ledger: Digest::of(b""),
            entries: Default::default(),
        }
    }

    fn table(slots: &[u32]) -> Table {
        let mut table = Table::new(0).expect("random numbers");
        for slot in slots {
            let add = Add::new(&key(*slot), 10, 0, digest(*slot), String::new());
            table.take(Line { add: Some(add), ..Line::default() }).expect("a path");
        }
        table
    }

    /// Slots that come into a table of these slots and go from it; of the objects those of `unread` cannot be read.
    fn change(has: &[u32], objects: Vec<ObjectLedger>, unread: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let keys = objects.iter().map(|object| object.key.clone()).chain(unread.iter().copied().map(key)).collect();
        let holdings = Holdings::new(Duration::ZERO, objects, Vec::new(), keys);
        let slots = |keys: &BTreeSet<ObjectKey>| keys.iter().map(|key| key.slot).collect();
        let found = difference(Some(&table(has)), &holdings, &partition(), false);
        let anew = difference(Some(&table(has)), &holdings, &partition(), true);
        assert!(anew.remove == found.remove && anew.add.is_superset(&found.add), "{anew:?}");
        (slots(&found.add), slots(&found.remove))
    }

    #[test]
    fn what_counts_comes_and_what_is_gone_goes() {
        assert_eq!(change(&[], vec![object(0, &[]), object(1, &[])], &[]), (vec![0, 1], vec![]));
        assert_eq!(change(&[0, 1], vec![object(0, &[]), object(1, &[])], &[]), (vec![], vec![]));
        assert_eq!(change(&[0, 1], vec![object(1, &[]), object(2, &[])], &[]), (vec![2], vec![0]));
        assert_eq!(change(&[0], vec![ObjectLedger { digest: digest(7), ..object(0, &[]) }], &[]), (vec![0], vec![]), "another one of its key");
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_is() {
        assert_eq!(change(&[0], vec![object(2, &[])], &[0, 1]), (vec![2], vec![]));
    }

    #[test]
    fn while_it_is_not_known_what_counts_the_table_stays_as_it_is() {
        let (b, d) = (object(1, &[]), object(3, &[]));
        // slot 0 is empty: what cannot be read in slot 2 may be what both were compacted into
        assert_eq!(change(&[], vec![b.clone(), d.clone()], &[2]), (vec![3], vec![]));
        assert_eq!(change(&[2], vec![b.clone(), d.clone()], &[2]), (vec![3], vec![]));
        assert_eq!(change(&[0, 1], vec![b.clone()], &[2]), (vec![], vec![]));
        // nothing is gone, or what is gone was compacted into an object that can be read
        assert_eq!(change(&[], vec![object(0, &[]), b.clone()], &[2]), (vec![0, 1], vec![]));
        assert_eq!(change(&[], vec![object(2, &[0, 1]), d.clone()], &[4]), (vec![2, 3], vec![]));
    }

    #[test]
    fn members_and_their_compaction_are_never_in_the_table_together() {
        let (a, b, c, d) = (object(0, &[]), object(1, &[]), object(2, &[0, 1]), object(3, &[]));
        let all = || vec![a.clone(), b.clone(), c.clone(), d.clone()];
        // before it is in the table, its members are
        assert_eq!(change(&[], all(), &[]), (vec![0, 1, 3], vec![]));
        assert_eq!(change(&[0, 1], all(), &[]), (vec![3], vec![]));
        // and then it is, though they still stand
        assert_eq!(change(&[2], all(), &[]), (vec![3], vec![]));
        assert_eq!(change(&[2, 3], all(), &[]), (vec![], vec![]));
        // one member is gone
        assert_eq!(change(&[0, 1, 3], vec![b.clone(), c.clone(), d.clone()], &[]), (vec![2], vec![0, 1]));
        assert_eq!(change(&[2, 3], vec![b.clone(), c.clone(), d.clone()], &[]), (vec![], vec![]));
        // it was taken back
        assert_eq!(change(&[2, 3], vec![a.clone(), b.clone(), d.clone()], &[]), (vec![0, 1], vec![2]));
    }

    #[test]
    fn files_of_a_partition_are_those_of_its_folder_only() {
        let mut table = table(&[0]);
        let other = |cluster: &str| ObjectKey { partition: Partition { cluster: Cluster::new(cluster).expect("a name"), ..partition() }, ..key(0) };
        for key in [other("c-"), other("c é")] {
            let add = Add::new(&key, 1, 0, digest(0), String::new());
            table.take(Line { add: Some(add), ..Line::default() }).expect("a path");
            assert_eq!(table.files_of(&key.partition), BTreeSet::from([key]));
        }
        assert_eq!(table.files_of(&partition()), BTreeSet::from([key(0)]));
        assert_eq!(table.partitions().len(), 3);
    }

    #[test]
    fn a_log_without_a_beginning_or_for_newer_readers_is_none() {
        let lines = |lines: Vec<Line>| Lines { version: 0, checkpoint: None, is_hinted: false, lines };
        assert!(Table::of(lines(Vec::new())).is_err_and(|why| why.contains("protocol")));
        let [protocol, metadata] = heading(&Metadata::new(0).expect("random numbers"));
        assert!(Table::of(lines(vec![protocol.clone()])).is_err_and(|why| why.contains("what the table is")));
        assert!(Table::of(lines(vec![protocol, metadata.clone()])).is_ok());
        let newer = Line { protocol: Some(Protocol { min_reader_version: 2, ..Protocol::ours() }), ..Line::default() };
        assert!(Table::of(lines(vec![newer, metadata])).is_err_and(|why| why.contains("version 2")));
    }
}
