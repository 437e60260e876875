//! What stands in one partition of the archive, sequence by sequence, and whether it fits together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use super::{Entry, ObjectLedger, Unreadable};
use crate::names::Digest;
use crate::partition::{Bucket, ObjectKey};

/// What stands in one partition of the archive.
#[derive(Debug, Default)]
pub struct Holdings {
    /// When it was listed, by [`crate::store::Archive::uptime`].
    pub listed: Duration,
    objects: Vec<ObjectLedger>,
    /// Objects of ours that cannot be read, so that what they hold is unknown.
    pub unreadable: Vec<Unreadable>,
    /// All keys of our form, readable or not.
    keys: BTreeSet<ObjectKey>,
    /// (object, entry) indices by host.
    by_host: HashMap<Box<str>, Vec<(usize, usize)>>,
    /// Found out when it is first asked for.
    doubts: OnceLock<Vec<Doubt>>,
}

/// Something in a sequence that no run of ours does: nothing is pruned that rests on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The sequence.
    pub bucket: Bucket,
    /// Where it shows.
    pub key: ObjectKey,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// So many slots before `key` are empty.
    Gap(u32),
    /// What stands before `key` is not what stood there.
    Replaced,
    /// `key` and this object were written by runs that did not know of each other, and hold the same source or rows of one host and time.
    Doubled(ObjectKey, String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Gap(1) => write!(f, "the object in the slot before it is gone: somebody removed it"),
            Kind::Gap(slots) => write!(f, "the objects in the {slots} slots before it are gone: somebody removed them"),
            Kind::Replaced => write!(f, "another object stands in the slot before it than when it was written: somebody replaced it"),
            Kind::Doubled(other, what) => write!(f, "rows stand twice, here and in {other}: {what}"),
        }
    }
}

impl Doubt {
    /// True if rows stand twice.
    pub fn is_double(&self) -> bool {
        matches!(self.kind, Kind::Doubled(..))
    }
}

impl Holdings {
    /// Takes the objects of one partition, those that cannot be read, and all keys of our form in it.
    pub fn new(listed: Duration, objects: Vec<ObjectLedger>, unreadable: Vec<Unreadable>, keys: BTreeSet<ObjectKey>) -> Self {
        let mut by_host: HashMap<Box<str>, Vec<(usize, usize)>> = HashMap::new();
        for (o, object) in objects.iter().enumerate() {
            for (e, entry) in object.entries.iter().enumerate() {
                by_host.entry(entry.host().into()).or_default().push((o, e));
            }
        }
        Self { listed, objects, unreadable, keys, by_host, doubts: OnceLock::new() }
    }

    /// Our readable objects, by key.
    pub fn objects(&self) -> &[ObjectLedger] {
        &self.objects
    }

    /// All keys of our form.
    pub fn keys(&self) -> &BTreeSet<ObjectKey> {
        &self.keys
    }

    /// A host's entries, and the objects that they stand in.
    pub fn of_host<'a>(&'a self, host: &str) -> impl Iterator<Item = (&'a ObjectLedger, &'a Entry)> {
        let found = self.by_host.get(host).map_or(&[][..], Vec::as_slice);
        found.iter().map(|(o, e)| (&self.objects[*o], &self.objects[*o].entries[*e]))
    }

    /// The slot behind the highest of a sequence.
    pub fn next_slot(&self, bucket: Bucket) -> u32 {
        next_slot(&self.keys, bucket)
    }

    /// Digests of what stands in the highest slot of a sequence.
    pub fn last(&self, bucket: Bucket) -> Vec<Digest> {
        let last = self.next_slot(bucket).checked_sub(1);
        self.objects.iter().filter(|object| object.key.bucket == bucket && Some(object.key.slot) == last).map(|object| object.digest).collect()
    }

    /// What does not fit together, sequence by sequence.
    pub fn doubts(&self) -> &[Doubt] {
        self.doubts.get_or_init(|| self.find_doubts())
    }

    fn find_doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let mut sequences: BTreeMap<Bucket, Vec<&ObjectLedger>> = BTreeMap::new();
        self.objects.iter().for_each(|object| sequences.entry(object.key.bucket).or_default().push(object));
        for (bucket, mut objects) in sequences {
            objects.sort_by(|a, b| a.key.cmp(&b.key));
            doubts.extend(objects.iter().filter_map(|object| self.chain(object)).map(|(key, kind)| Doubt { bucket, key, kind }));
            doubts.extend(doubled(&objects).into_iter().map(|(key, kind)| Doubt { bucket, key, kind }));
        }
        doubts
    }

    /// What stands before an object must be what stood there.
    fn chain(&self, object: &ObjectLedger) -> Option<(ObjectKey, Kind)> {
        let ObjectKey { bucket, slot, .. } = object.key;
        let in_slot = |slot: u32| self.keys.iter().filter(move |key| key.bucket == bucket && key.slot == slot);
        let found = |kind: Kind| Some((object.key.clone(), kind));
        let before = slot.checked_sub(1)?;
        let empty = (0..slot).rev().take_while(|slot| in_slot(*slot).next().is_none()).count() as u32;
        if empty > 0 {
            return found(Kind::Gap(empty));
        }
        let readable: Vec<Digest> = self.objects.iter().filter(|o| o.key.bucket == bucket && o.key.slot == before).map(|o| o.digest).collect();
        // of what cannot be read the digest is not known
        let all_known = in_slot(before).count() == readable.len();
        let fits = object.after.iter().all(|digest| readable.contains(digest)) && !object.after.is_empty();
        if all_known && !fits { found(Kind::Replaced) } else { None }
    }
}

/// The slot behind the highest of a sequence.
pub fn next_slot(keys: &BTreeSet<ObjectKey>, bucket: Bucket) -> u32 {
    keys.iter().filter(|key| key.bucket == bucket).map(|key| key.slot + 1).max().unwrap_or(0)
}

/// Pairs of objects of one sequence that hold the same source, or rows of one host and time without the one knowing of the other. One for each pair.
fn doubled(objects: &[&ObjectLedger]) -> Vec<(ObjectKey, Kind)> {
    let mut pairs: BTreeMap<(&ObjectKey, &ObjectKey), String> = BTreeMap::new();
    let mut holder: HashMap<(&str, Digest), &ObjectKey> = HashMap::new();
    for (object, entry) in objects.iter().flat_map(|object| object.entries.iter().map(move |entry| (object, entry))) {
        if let Some(other) = holder.insert((&entry.path, entry.blake3), &object.key) {
            pairs.entry((&object.key, other)).or_insert_with(|| format!("both hold the source {}", entry.path.escape_debug()));
        }
    }
    let is_line = objects.windows(2).all(|pair| pair[0].key.slot + 1 == pair[1].key.slot && pair[1].after == [pair[0].digest]);
    let by_digest: HashMap<Digest, usize> = objects.iter().enumerate().map(|(index, object)| (object.digest, index)).collect();
    for (b, object) in objects.iter().enumerate().filter(|_| !is_line) {
        for a in strangers(objects, &by_digest, b) {
            if let Some(host) = common_host(objects[a], object) {
                pairs
                    .entry((&object.key, &objects[a].key))
                    .or_insert_with(|| format!("both hold rows of the host {}, and neither knew of the other", host.escape_debug()));
            }
        }
    }
    pairs.into_iter().map(|((key, other), what)| (key.clone(), Kind::Doubled(other.clone(), what))).collect()
}

/// Objects before the one at `index`, which is by key, that it was planned without knowledge of.
fn strangers(objects: &[&ObjectLedger], by_digest: &HashMap<Digest, usize>, index: usize) -> Vec<usize> {
    let mut known = vec![false; index];
    let mut open = vec![index];
    while let Some(at) = open.pop() {
        let (slot, after) = (objects[at].key.slot, &objects[at].after);
        let mut is_missing = false;
        for digest in after {
            match by_digest.get(digest).copied().filter(|i| objects[*i].key.slot < slot) {
                Some(i) if !known[i] => {
                    known[i] = true;
                    open.push(i);
                }
                Some(_) => {}
                None => is_missing = true,
            }
        }
        // what is gone, or cannot be read, knew what stood before it
        if is_missing {
            (0..index).filter(|i| objects[*i].key.slot + 1 < slot).for_each(|i| known[i] = true);
        }
    }
    (0..index).filter(|i| !known[*i]).collect()
}

/// A host of which both have rows in the same span of time.
fn common_host<'a>(one: &'a ObjectLedger, other: &ObjectLedger) -> Option<&'a str> {
    let mut spans: HashMap<&str, (i64, i64)> = HashMap::new();
    let extent = |entry: &Entry| entry.first.zip(entry.last).filter(|_| entry.written > 0);
    for entry in other.entries.iter() {
        if let Some((first, last)) = extent(entry) {
            let span = spans.entry(entry.host()).or_insert((first, last));
            *span = (span.0.min(first), span.1.max(last));
        }
    }
    let overlaps = |entry: &&Entry| {
        let span = extent(entry).zip(spans.get(entry.host()));
        span.is_some_and(|((first, last), (from, to))| first <= *to && *from <= last)
    };
    one.entries.iter().find(overlaps).map(Entry::host)
}
