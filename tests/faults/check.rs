//! The invariant: each row is on disk or in a visible object of the archive, and after a clean run it stands there exactly once.
//! What is in the archive is found out with a reader of its own; what ought to be there, from what the test wrote.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use object_store::path::Path as Key;

use super::disk::{Disk, File, Instant, Value, keyed};
use super::store::{self, Server};
use super::support::{date_of, footer_of, ledger_of, rows_in};

/// An object, as it was when it was whole.
struct Object {
    bytes: Bytes,
    rows: Vec<(Instant, Value)>,
    /// The sources in its ledger, by path and digest.
    pub sources: BTreeSet<(String, String)>,
    digest: String,
    /// What it was compacted from: keys and digests.
    replaces: Vec<(Key, String)>,
}

/// Where each instant stands, and its value there.
pub type Stands = BTreeMap<Instant, Vec<(Key, Value)>>;

/// What was seen of an archive so far.
#[derive(Default)]
pub struct Archived {
    objects: BTreeMap<Key, Object>,
    /// Instants that have stood in the archive, and must stay there with one of their values.
    safe: BTreeMap<Instant, BTreeSet<Value>>,
    /// Instants whose only copy the server has lost.
    lost_by_the_server: BTreeSet<Instant>,
    /// Instants of objects that are gone.
    removed: BTreeSet<Instant>,
    /// An object is gone; it need not have had a row.
    has_lost: bool,
    /// The first date that is kept. Nothing is asked for of dates before it.
    floor: Option<String>,
}

/// What a source's ledger entry says: dates that it feeds, by path and digest; and the dates on which it has an entry.
type Sources = BTreeMap<(String, String), (BTreeSet<String>, BTreeSet<String>)>;

impl Archived {
    /// Checks what holds after every step, and gives where each instant stands.
    pub async fn check(&mut self, server: &Server, disk: &Disk) -> Result<Stands, String> {
        if let Some(key) = server.overwritten().first() {
            return Err(format!("overwritten or removed: {key}"));
        }
        if let Some(path) = disk.touched().first() {
            return Err(format!("{path} on disk is gone, or has other bytes"));
        }
        let (visible, damaged) = (server.objects().await, server.damaged());
        for key in server.take_raced() {
            self.forget_raced(&key, disk)?;
        }
        // whether its rows are somewhere else is found below
        self.objects.retain(|key, _| !server.has_deleted(key));
        if let Some(gone) = self.objects.keys().find(|key| !visible.contains_key(key)) {
            return Err(format!("{gone} is gone"));
        }
        for (key, bytes) in visible.iter().filter(|(key, _)| !damaged.contains_key(key)) {
            let object = match self.objects.entry(key.clone()) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(none) => none.insert(Object::read(key, bytes, disk)?),
            };
            if object.bytes != bytes {
                return Err(format!("{key} has other bytes now"));
            }
        }
        self.floor = server.floor().await;
        let floor = self.floor.clone();
        self.safe.retain(|instant, _| is_kept(floor.as_deref(), instant));
        let counts = |key: &Key| !damaged.contains_key(key) && floor.as_ref().is_none_or(|floor| store::date_of(key) >= *floor);
        let whole: BTreeMap<&Key, &Object> = self.objects.iter().filter(|(key, _)| counts(key)).collect();
        let aside = aside(&whole, &visible.keys().collect());
        let mut stands: Stands = BTreeMap::new();
        for (key, object) in whole.iter().filter(|(key, _)| !aside.contains(**key)) {
            for (instant, value) in &object.rows {
                stands.entry(instant.clone()).or_default().push(((*key).clone(), *value));
            }
        }
        if let Some((instant, keys)) = doubled(&stands).next()
            && !server.doubles_may_be()
        {
            return Err(format!("{instant:?} stands there {} times: {keys:?}", keys.len()));
        }
        // what a damaged object held is no run's fault; it is missed again when it is whole again
        let in_damaged: BTreeSet<&Instant> =
            self.objects.iter().filter(|(key, _)| damaged.contains_key(key)).flat_map(|(_, o)| o.rows.iter().map(|(instant, _)| instant)).collect();
        if let Some(lost) = self.safe.keys().find(|instant| !stands.contains_key(*instant) && !in_damaged.contains(instant)) {
            return Err(format!("{lost:?} was archived, and is not any more"));
        }
        for (instant, found) in &stands {
            let values: BTreeSet<Value> = found.iter().map(|(_, value)| *value).collect();
            let before = self.safe.entry(instant.clone()).or_insert_with(|| values.clone());
            if !server.doubles_may_be() && !values.is_subset(before) {
                return Err(format!("{instant:?} had one of the values {before:?}, and has {values:?} now"));
            }
            *before = values;
        }
        Ok(stands)
    }

    /// Rows of an object that is whole; none if it never was.
    pub fn rows_of(&self, key: &Key) -> Option<&[(Instant, Value)]> {
        self.objects.get(key).map(|object| &object.rows[..])
    }

    /// How many objects of dates that are kept do not count, as a compaction was not finished.
    pub fn unfinished(&self) -> usize {
        let kept: BTreeMap<&Key, &Object> =
            self.objects.iter().filter(|(key, _)| self.floor.as_ref().is_none_or(|floor| store::date_of(key) >= *floor)).collect();
        aside(&kept, &kept.keys().copied().collect()).len()
    }

    /// Checks what must hold after a run without faults: everything that is on disk stands in the archive.
    pub fn check_complete(&self, stands: &Stands, disk: &Disk) -> Result<(), String> {
        for file in disk.files.values() {
            self.check_archived(stands, file.rows().into_iter()).map_err(|instant| format!("{} is not archived: {instant:?} is missing", file.path()))?;
        }
        Ok(())
    }

    pub fn check_archived(&self, stands: &Stands, mut rows: impl Iterator<Item = (Instant, Value)>) -> Result<(), Instant> {
        let is_missing = |instant: &Instant| !stands.contains_key(instant) && !self.lost_by_the_server.contains(instant);
        match rows.find(|(instant, _)| self.keeps(instant) && is_missing(instant)) {
            Some((instant, _)) => Err(instant),
            None => Ok(()),
        }
    }

    /// Checks that a file which a run has deleted was archived: each row stands in a whole object, with its very value unless
    /// another snapshot ever had another one.
    pub fn check_deleted(&self, stands: &Stands, file: &File, disk: &Disk) -> Result<(), String> {
        for (instant, value) in file.rows().into_iter().filter(|(instant, _)| self.keeps(instant)) {
            let found = stands.get(&instant).into_iter().flatten().any(|(_, archived)| *archived == value || disk.ever[&instant].len() > 1);
            if !found {
                return Err(format!("{} was deleted, and {instant:?} is not archived with its value", file.path()));
            }
        }
        Ok(())
    }

    /// The server let two writers win, and kept one of their objects. What it lost must still be on disk.
    fn forget_raced(&mut self, key: &Key, disk: &Disk) -> Result<(), String> {
        let Some(object) = self.objects.remove(key) else { return Ok(()) };
        let here: BTreeSet<Instant> = disk.files.values().flat_map(File::rows).map(|(instant, _)| instant).collect();
        for (instant, _) in object.rows {
            if !here.contains(&instant) && !self.lost_by_the_server.contains(&instant) {
                return Err(format!("{instant:?} was in {key}, which the server let another writer overwrite, and is not on disk any more"));
            }
            self.safe.remove(&instant);
        }
        Ok(())
    }

    /// The server loses an object. What no file on disk can make good for is gone.
    pub fn lose(&mut self, key: &Key, disk: &Disk) {
        let Some(object) = self.objects.remove(key) else { return };
        self.has_lost = true;
        let here = disk.files.values().filter(|f| object.sources.contains(&(f.ledger_path(), digest(&f.bytes))));
        let replaceable: BTreeSet<Instant> = here.flat_map(|file| file.rows()).map(|(instant, _)| instant).collect();
        for (instant, _) in object.rows {
            self.safe.remove(&instant);
            self.removed.insert(instant.clone());
            if !replaceable.contains(&instant) {
                self.lost_by_the_server.insert(instant);
            }
        }
    }

    /// Files on disk that are archived on all their dates, as the ledgers of whole objects say.
    pub fn done(&self, disk: &Disk, damaged: &BTreeMap<Key, Option<Bytes>>) -> Vec<String> {
        let mut sources = Sources::new();
        for (_, object) in self.objects.iter().filter(|(key, _)| !damaged.contains_key(key)) {
            for (date, entry) in ledger(&object.bytes).unwrap_or_default() {
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                let (feeds, on) = sources.entry((text("path"), text("blake3"))).or_default();
                feeds.extend(entry["dates"].as_array().into_iter().flatten().filter_map(|date| date.as_str().map(str::to_owned)));
                on.insert(date);
            }
        }
        let is_done = |file: &&File| {
            let known = sources.get(&(file.ledger_path(), digest(&file.bytes)));
            known.is_some_and(|(feeds, on)| feeds.is_subset(on))
        };
        disk.files.values().filter(is_done).map(File::path).collect()
    }

    /// True if an object with this instant is gone, or was for a time.
    pub fn was_removed(&self, instant: &Instant) -> bool {
        self.removed.contains(instant)
    }

    /// True if an object is gone that no run deleted, or was for a time.
    pub fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// True if rows of this instant are to be in the archive.
    pub fn keeps(&self, instant: &Instant) -> bool {
        is_kept(self.floor.as_deref(), instant)
    }

    /// True if a snapshot begins on a date that is kept.
    pub fn keeps_home(&self, file: &File) -> bool {
        self.floor.as_ref().is_none_or(|floor| date_of(file.from) >= *floor)
    }

    /// How many instants were ever seen in it.
    pub fn instants(&self) -> usize {
        self.safe.len()
    }
}

fn is_kept(floor: Option<&str>, instant: &Instant) -> bool {
    floor.is_none_or(|floor| *date_of(instant.3) >= *floor)
}

/// Instants that stand there more than once.
pub fn doubled(stands: &Stands) -> impl Iterator<Item = (&Instant, &Vec<(Key, Value)>)> {
    stands.iter().filter(|(_, keys)| keys.len() > 1)
}

/// Objects that do not count: what was compacted from others that all still stand, and what was compacted into an object that counts. Of an object
/// that is not whole nothing is known but its key.
fn aside(whole: &BTreeMap<&Key, &Object>, there: &BTreeSet<&Key>) -> BTreeSet<Key> {
    let mut aside = BTreeSet::new();
    for (key, object) in whole.iter().rev().filter(|(_, object)| !object.replaces.is_empty()) {
        let stands = |(member, digest): &(Key, String)| there.contains(member) && whole.get(member).is_none_or(|found| found.digest == *digest);
        if aside.contains(*key) {
            continue;
        }
        if object.replaces.iter().all(stands) {
            aside.insert((*key).clone());
        } else {
            aside.extend(
                object.replaces.iter().filter(|(member, digest)| whole.get(member).is_some_and(|found| found.digest == *digest)).map(|(m, _)| m.clone()),
            );
        }
    }
    aside
}

/// What a footer says of the objects that one was compacted from: `slot:digest:rows` or `slot-number:digest:rows`, in the sequence of its own key.
fn replaced(key: &Key, said: &str) -> Option<Vec<(Key, String)>> {
    let (sequence, _) = key.as_ref().split_at(key.as_ref().find("part-")? + "part-00-".len());
    let member = |text: &str| {
        let mut parts = text.split(':');
        Some((Key::from(format!("{sequence}{}.parquet", parts.next()?)), parts.next()?.to_owned()))
    };
    said.split(',').filter(|text| !text.is_empty()).map(member).collect()
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// A footer's date, and the entries of its ledger.
fn ledger(bytes: &Bytes) -> Result<Vec<(String, serde_json::Value)>, String> {
    let (footer, entries) = (footer_of(bytes)?, ledger_of(bytes)?);
    let date = footer.get("cc-archiver.date").ok_or("no date")?;
    Ok(entries.into_iter().map(|entry| (date.clone(), entry)).collect())
}

impl Object {
    /// Reads an object that has just become visible, and checks that it is whole and invents nothing.
    fn read(key: &Key, bytes: &Bytes, disk: &Disk) -> Result<Self, String> {
        let wrong = |what: String| format!("{key}: {what}");
        let values = footer_of(bytes).map_err(|e| wrong(format!("it does not open: {e}")))?;
        let said = values.get("cc-archiver.digest").ok_or_else(|| wrong("no digest".into()))?;
        let at = bytes.windows(64).rposition(|window| window == said.as_bytes()).ok_or_else(|| wrong("the digest has no place".into()))?;
        let mut zeroed = bytes.to_vec();
        zeroed[at..at + 64].fill(b'0');
        if digest(&zeroed) != *said {
            return Err(wrong("its digest is another one".into()));
        }
        let rows = rows_in(key.as_ref(), bytes);
        if !rows.windows(2).all(|pair| pair[0].sort_key() < pair[1].sort_key()) {
            return Err(wrong("its rows are not sorted, or stand there twice".into()));
        }
        if let Some(row) = rows.iter().find(|row| date_of(row.timestamp) != row.date) {
            return Err(wrong(format!("{row} is of another date")));
        }
        let entries = ledger(bytes).map_err(wrong)?;
        let written: u64 = entries.iter().filter_map(|(_, entry)| entry["written"].as_u64()).sum();
        if written != rows.len() as u64 || values.get("cc-archiver.rows") != Some(&rows.len().to_string()) {
            return Err(wrong(format!("it has {} rows, its ledger {written}", rows.len())));
        }
        let text = |entry: &serde_json::Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let sources = entries.iter().map(|(_, entry)| (text(entry, "path"), text(entry, "blake3"))).collect();
        let rows: Vec<(Instant, Value)> = rows.into_iter().map(keyed).collect();
        if let Some((instant, value)) = rows.iter().find(|(instant, value)| !disk.ever.get(instant).is_some_and(|values| values.contains(value))) {
            return Err(wrong(format!("{instant:?} has the value {value:?}, which no snapshot held")));
        }
        let said = values.get("cc-archiver.replaces").map_or("", String::as_str);
        let replaces = replaced(key, said).ok_or_else(|| wrong(format!("it replaces {said:?}")))?;
        let digest = values["cc-archiver.digest"].clone();
        Ok(Self { bytes: bytes.clone(), rows, sources, digest, replaces })
    }
}
