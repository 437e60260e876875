//! What stands in one partition of the archive, sequence by sequence, and whether it fits together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use super::compacted::{self, Aside};
use super::{Entry, ObjectLedger, Unreadable};
use crate::names::Digest;
use crate::partition::{Bucket, ObjectKey};

/// So many empty slots of a sequence are told.
const MOST_MISSING: usize = 20_000;

/// What stands in one partition of the archive.
#[derive(Debug, Default)]
pub struct Holdings {
    /// When it was listed, by [`crate::store::Archive::uptime`].
    pub listed: Duration,
    objects: Vec<ObjectLedger>,
    /// Objects that do not count, as a compaction is not finished.
    aside: Vec<(ObjectLedger, Aside)>,
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
        let asides = compacted::aside(&objects, &keys);
        let (mut counting, mut aside) = (Vec::with_capacity(objects.len()), Vec::new());
        for object in objects {
            match asides.get(&object.key) {
                Some(why) => aside.push((object, *why)),
                None => counting.push(object),
            }
        }
        let objects = counting;
        let mut by_host: HashMap<Box<str>, Vec<(usize, usize)>> = HashMap::new();
        for (o, object) in objects.iter().enumerate() {
            for (e, entry) in object.entries.iter().enumerate() {
                by_host.entry(entry.host().into()).or_default().push((o, e));
            }
        }
        Self { listed, objects, aside, unreadable, keys, by_host, doubts: OnceLock::new() }
    }

    /// Our readable objects that count, by key.
    pub fn objects(&self) -> &[ObjectLedger] {
        &self.objects
    }

    /// Our readable objects that do not count, as a compaction is not finished, and why.
    pub fn aside(&self) -> &[(ObjectLedger, Aside)] {
        &self.aside
    }

    /// All of our readable objects.
    fn readable(&self) -> impl Iterator<Item = &ObjectLedger> {
        self.objects.iter().chain(self.aside.iter().map(|(object, _)| object))
    }

    /// How many sources the readable objects have.
    pub fn sources(&self) -> usize {
        self.objects.iter().map(|object| object.entries.len()).sum()
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

    /// Slots of a sequence that are empty, though later ones are not.
    pub fn missing(&self, bucket: Bucket) -> Vec<u32> {
        missing(&self.keys, bucket)
    }

    /// Digests of what stands in the highest slot of a sequence.
    pub fn last(&self, bucket: Bucket) -> Vec<Digest> {
        let last = self.next_slot(bucket).checked_sub(1);
        self.readable().filter(|object| object.key.bucket == bucket && Some(object.key.slot) == last).map(|object| object.digest).collect()
    }

    /// An object that cannot be read, and that may hold rows of the host. Its bucket tells, as far as it is known.
    pub fn unreadable_of(&self, host: &str) -> Option<&Unreadable> {
        let bucket = self.readable().next().map(|object| object.info.buckets.of(&object.key.partition.cluster, host));
        self.unreadable.iter().find(|object| object.bucket.is_none() || bucket.is_none() || object.bucket == bucket)
    }

    /// Of which objects it is not known whether they count: in these sequences of those in slots before these. An object there cannot be read, and
    /// slots before it are empty, so that it may be what the others were compacted into.
    pub fn uncertain(&self) -> BTreeMap<Bucket, u32> {
        let readable: BTreeSet<&ObjectKey> = self.readable().map(|object| &object.key).collect();
        let mut uncertain = BTreeMap::new();
        for key in self.keys.iter().filter(|key| !readable.contains(key)) {
            let sequence: Vec<&ObjectLedger> = self.readable().filter(|object| object.key.bucket == key.bucket).collect();
            if self.missing(key.bucket).into_iter().any(|slot| slot < key.slot && !is_compacted(&sequence, slot)) {
                // they are in order
                uncertain.insert(key.bucket, key.slot);
            }
        }
        uncertain
    }

    /// What does not fit together, sequence by sequence.
    pub fn doubts(&self) -> &[Doubt] {
        self.doubts.get_or_init(|| self.find_doubts())
    }

    fn find_doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let mut sequences: BTreeMap<Bucket, Vec<&ObjectLedger>> = BTreeMap::new();
        self.readable().for_each(|object| sequences.entry(object.key.bucket).or_default().push(object));
        let counting: BTreeSet<&ObjectKey> = self.objects.iter().map(|object| &object.key).collect();
        for (bucket, mut objects) in sequences {
            objects.sort_by(|a, b| a.key.cmp(&b.key));
            let counts = |object: &ObjectLedger| counting.contains(&object.key);
            let mut slots: BTreeMap<u32, usize> = BTreeMap::new();
            self.keys.iter().filter(|key| key.bucket == bucket).for_each(|key| *slots.entry(key.slot).or_default() += 1);
            doubts.extend(objects.iter().filter(|object| counts(object)).filter_map(|object| chain(object, &objects, &slots)).map(|(key, kind)| Doubt {
                bucket,
                key,
                kind,
            }));
            doubts.extend(doubled(&objects, counts).into_iter().map(|(key, kind)| Doubt { bucket, key, kind }));
        }
        doubts
    }
}

/// What stands before an object of a sequence must be what stood there. `slots` counts what stands in each slot, readable or not.
fn chain(object: &ObjectLedger, sequence: &[&ObjectLedger], slots: &BTreeMap<u32, usize>) -> Option<(ObjectKey, Kind)> {
    let slot = object.key.slot;
    let found = |kind: Kind| Some((object.key.clone(), kind));
    let before = slot.checked_sub(1)?;
    let nearest = slots.range(..slot).next_back().map_or(0, |(slot, _)| slot + 1);
    if nearest < slot {
        return if (nearest..slot).all(|slot| is_compacted(sequence, slot)) { None } else { found(Kind::Gap(slot - nearest)) };
    }
    let readable: Vec<Digest> = sequence.iter().filter(|other| other.key.slot == before).map(|other| other.digest).collect();
    // of what cannot be read, or is not ours, the digest is not known; and what was missing has come back
    let all_known = slots.get(&before) == Some(&readable.len()) && !object.missing.contains(&before);
    let fits = object.after.iter().all(|digest| readable.contains(digest)) && !object.after.is_empty();
    if all_known && !fits { found(Kind::Replaced) } else { None }
}

/// True if a slot is empty as what stood there was compacted, or was missing before that.
fn is_compacted(sequence: &[&ObjectLedger], slot: u32) -> bool {
    let has_settled = |object: &&&ObjectLedger| object.missing.contains(&slot) || object.replaces.iter().any(|member| member.slot == slot);
    sequence.iter().filter(|object| !object.replaces.is_empty()).any(|object| has_settled(&object))
}

/// Slots of a sequence that are empty, though later ones are not.
pub fn missing(keys: &BTreeSet<ObjectKey>, bucket: Bucket) -> Vec<u32> {
    let slots: BTreeSet<u32> = keys.iter().filter(|key| key.bucket == bucket).map(|key| key.slot).collect();
    let (mut expected, mut missing) = (0, Vec::new());
    for slot in slots {
        missing.extend((expected..slot).take(MOST_MISSING.saturating_sub(missing.len())));
        expected = slot + 1;
    }
    missing
}

/// The slot behind the highest of a sequence.
pub fn next_slot(keys: &BTreeSet<ObjectKey>, bucket: Bucket) -> u32 {
    keys.iter().filter(|key| key.bucket == bucket).map(|key| key.slot + 1).max().unwrap_or(0)
}

/// Pairs of objects of one sequence that hold the same source, or rows of one host and time without the one knowing of the other. One for each pair.
/// Only what `counts` holds rows; all tell who knew whom.
fn doubled(objects: &[&ObjectLedger], counts: impl Fn(&ObjectLedger) -> bool) -> Vec<(ObjectKey, Kind)> {
    let mut pairs: BTreeMap<(&ObjectKey, &ObjectKey), String> = BTreeMap::new();
    let mut holder: HashMap<(&str, Digest), &ObjectKey> = HashMap::new();
    let counting = || objects.iter().filter(|object| counts(object));
    for (object, entry) in counting().flat_map(|object| object.entries.iter().map(move |entry| (object, entry))) {
        if let Some(other) = holder.insert((&entry.path, entry.blake3), &object.key) {
            pairs.entry((&object.key, other)).or_insert_with(|| format!("both hold the source {}", entry.path.escape_debug()));
        }
    }
    let follows = |pair: &[&ObjectLedger]| pair[0].key.slot + 1 == pair[1].key.slot && pair[1].after == [pair[0].digest] && pair[1].missing.is_empty();
    let is_line = objects.windows(2).all(follows);
    let by_digest: HashMap<Digest, usize> = objects.iter().enumerate().map(|(index, object)| (object.digest, index)).collect();
    for (b, object) in objects.iter().enumerate().filter(|(_, object)| !is_line && counts(object)) {
        for a in strangers(objects, &by_digest, b).into_iter().filter(|a| counts(objects[*a])) {
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
        // before the first slot there is nothing; else something stood there that was not ours
        let mut is_missing = after.is_empty() && slot > 0;
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
    // what was not there when it was planned, it did not know, whoever else did
    (0..index).filter(|i| !known[*i] || objects[index].missing.contains(&objects[*i].key.slot)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::ArchiveInfo;
    use crate::ledger::{Member, NotOurs, Trouble};
    use crate::names::{Cluster, Date};
    use crate::partition::{Buckets, Partition};

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn key(slot: u32) -> ObjectKey {
        let partition = Partition { cluster: Cluster::new("c").expect("a name"), date: Date::of(0).expect("a date") };
        ObjectKey { bucket: Buckets::ONE.of(&partition.cluster, "n1"), partition, slot, beside: None }
    }

    /// An object that holds a source of that name with rows of the host n1 in `times`.
    fn object(slot: u32, name: &str, after: &[&str], times: (i64, i64)) -> ObjectLedger {
        let entry = Entry {
            path: format!("n1/{name}").into(),
            size: 1,
            mtime: 0,
            blake3: digest(name),
            from: times.0,
            to: times.1,
            dates: Box::default(),
            rows: 2,
            written: 2,
            dropped: 0,
            superseded: 0,
            conflicting: 0,
            first: Some(times.0),
            last: Some(times.1),
            held_by: Box::default(),
        };
        let info = ArchiveInfo { buckets: Buckets::ONE, cluster_column: false };
        let after = after.iter().map(|name| digest(&format!("object {name}"))).collect();
        let digest = digest(&format!("object {name}"));
        ObjectLedger {
            key: key(slot),
            size: 1,
            e_tag: None,
            digest,
            info,
            after,
            missing: Vec::new(),
            replaces: Vec::new(),
            rows: 2,
            ledger: Digest::of(b""),
            entries: vec![entry].into(),
        }
    }

    fn found(objects: Vec<ObjectLedger>) -> Vec<String> {
        let keys = objects.iter().map(|object| object.key.clone()).collect();
        Holdings::new(Duration::ZERO, objects, Vec::new(), keys).doubts().iter().map(|doubt| format!("{}: {doubt}", doubt.key.slot)).collect()
    }

    #[test]
    fn a_sequence_that_was_written_one_after_the_other_is_in_order() {
        assert_eq!(found(vec![object(0, "a", &[], (0, 60)), object(1, "b", &["a"], (0, 60)), object(2, "c", &["b"], (0, 60))]), [""; 0]);
    }

    #[test]
    fn what_was_removed_or_replaced_shows_in_the_next_object() {
        let gap = found(vec![object(0, "a", &[], (0, 60)), object(3, "d", &["c"], (0, 60))]);
        assert_eq!(gap, ["3: the objects in the 2 slots before it are gone: somebody removed them"]);
        let replaced = found(vec![object(0, "other", &[], (0, 60)), object(1, "b", &["a"], (90, 120))]);
        assert!(replaced.len() == 1 && replaced[0].starts_with("1: another object stands in the slot before it"), "{replaced:?}");
    }

    #[test]
    fn objects_that_do_not_know_each_other_are_named_if_their_rows_may_be_the_same() {
        let beside = |object: ObjectLedger| ObjectLedger { key: ObjectKey { beside: Some(crate::partition::UploadId(7)), ..object.key }, ..object };
        let twice = found(vec![object(0, "a", &[], (0, 60)), beside(object(0, "b", &[], (60, 90)))]);
        assert!(twice.len() == 1 && twice[0].contains("rows stand twice") && twice[0].contains("host n1"), "{twice:?}");
        assert_eq!(found(vec![object(0, "a", &[], (0, 60)), beside(object(0, "b", &[], (61, 90)))]), [""; 0], "of other times");
        // whoever comes next knows both
        let both = vec![object(0, "a", &[], (0, 60)), beside(object(0, "b", &[], (61, 90))), object(1, "c", &["a", "b"], (0, 90))];
        assert_eq!(found(both), [""; 0]);
        let one = vec![object(0, "a", &[], (0, 60)), beside(object(0, "b", &[], (61, 90))), object(1, "c", &["a"], (61, 90))];
        assert!(found(one).iter().any(|doubt| doubt.contains("rows stand twice")), "it was planned without b");
    }

    #[test]
    fn what_comes_back_after_it_was_missed_is_a_stranger() {
        let late = ObjectLedger { missing: vec![0], ..object(2, "c", &["b"], (0, 60)) };
        let objects = |late| vec![object(0, "a", &[], (0, 60)), object(1, "b", &["a"], (90, 120)), late];
        let named = found(objects(late));
        assert!(named.len() == 1 && named[0].starts_with("2: rows stand twice"), "{named:?}");
        assert_eq!(found(objects(object(2, "c", &["b"], (0, 60)))), [""; 0]);
    }

    fn compacted(slot: u32, name: &str, after: &[&str], members: &[&ObjectLedger]) -> ObjectLedger {
        let mut entries = members.iter().flat_map(|member| member.entries.iter().cloned()).collect::<Vec<_>>();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup();
        ObjectLedger { entries: entries.into(), replaces: members.iter().map(|member| Member::of(member)).collect(), ..object(slot, name, after, (0, 60)) }
    }

    fn sorted(objects: &[&ObjectLedger]) -> (Vec<u32>, Vec<(u32, Aside)>, usize) {
        let objects: Vec<ObjectLedger> = objects.iter().copied().cloned().collect();
        let keys = objects.iter().map(|object| object.key.clone()).collect();
        let holdings = Holdings::new(Duration::ZERO, objects, Vec::new(), keys);
        let counting = holdings.objects().iter().map(|object| object.key.slot).collect();
        (counting, holdings.aside().iter().map(|(object, why)| (object.key.slot, *why)).collect(), holdings.doubts().len())
    }

    #[test]
    fn a_compaction_counts_as_soon_as_one_of_its_members_is_gone() {
        let (a, b) = (object(0, "a", &[], (0, 60)), object(1, "b", &["a"], (30, 90)));
        let c = compacted(2, "c", &["b"], &[&a, &b]);
        let d = object(3, "d", &["c"], (30, 90));
        let (pending, replaced) = (Aside::Pending, Aside::Replaced);
        assert_eq!(sorted(&[&a, &b, &c]), (vec![0, 1], vec![(2, pending)], 0));
        assert_eq!(sorted(&[&a, &b, &c, &d]), (vec![0, 1, 3], vec![(2, pending)], 0));
        for left in [&a, &b] {
            assert_eq!(sorted(&[left, &c]), (vec![2], vec![(left.key.slot, replaced)], 0));
            assert_eq!(sorted(&[left, &c, &d]), (vec![2, 3], vec![(left.key.slot, replaced)], 0));
        }
        assert_eq!(sorted(&[&c, &d]), (vec![2, 3], vec![], 0));
        // one that was given up is replaced with the others
        let again = compacted(4, "again", &["d"], &[&a, &b, &c, &d]);
        assert_eq!(sorted(&[&a, &b, &c, &d, &again]), (vec![0, 1, 3], vec![(2, pending), (4, pending)], 0));
        assert_eq!(sorted(&[&b, &c, &d, &again]), (vec![4], vec![(1, replaced), (2, replaced), (3, replaced)], 0));
        assert_eq!(sorted(&[&again]), (vec![4], vec![], 0));
    }

    #[test]
    fn a_gap_is_explained_by_any_compaction_of_the_sequence() {
        let (a, b, c) = (object(0, "a", &[], (0, 60)), object(1, "b", &["a"], (30, 90)), object(2, "c", &["b"], (95, 96)));
        let ab = compacted(3, "ab", &["c"], &[&a, &b]);
        assert_eq!(sorted(&[&c, &ab]), (vec![2, 3], vec![], 0));
        let all = ObjectLedger { missing: vec![0, 1], ..compacted(4, "all", &["ab"], &[&c, &ab]) };
        let next = object(6, "next", &["gone"], (95, 96));
        assert_eq!(sorted(&[&all]), (vec![4], vec![], 0));
        assert_eq!(sorted(&[&all, &next]), (vec![4, 6], vec![], 1), "what stood in slot 5 was not compacted");
    }

    #[test]
    fn another_object_in_the_place_of_a_member_is_not_taken_for_it() {
        let (a, b) = (object(0, "a", &[], (0, 60)), object(1, "b", &["a"], (30, 90)));
        let c = compacted(2, "c", &["b"], &[&a, &b]);
        let (counting, aside, doubts) = sorted(&[&object(0, "other", &[], (0, 60)), &b, &c]);
        assert_eq!((counting, aside), (vec![0, 2], vec![(1, Aside::Replaced)]));
        assert!(doubts > 0, "its rows may be the same");
        // of one that cannot be read it is not known: the others count
        let keys: BTreeSet<ObjectKey> = [&a, &b, &c].iter().map(|object| object.key.clone()).collect();
        let holdings = Holdings::new(Duration::ZERO, vec![b, c], Vec::new(), keys);
        assert_eq!(holdings.objects().iter().map(|object| object.key.slot).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_source_in_two_objects_is_named() {
        let again = ObjectLedger { entries: object(0, "a", &[], (0, 60)).entries, ..object(1, "b", &["a"], (0, 60)) };
        let named = found(vec![object(0, "a", &[], (0, 60)), again]);
        assert!(named.len() == 1 && named[0].contains("both hold the source n1/a"), "{named:?}");
    }

    #[test]
    fn slots_and_what_is_missing_come_from_all_keys() {
        let keys: BTreeSet<ObjectKey> = [1, 2, 5].map(key).into_iter().collect();
        let holdings = Holdings::new(Duration::ZERO, vec![object(5, "f", &["e"], (0, 60))], Vec::new(), keys);
        let bucket = key(0).bucket;
        assert_eq!((holdings.next_slot(bucket), holdings.missing(bucket), holdings.last(bucket)), (6, vec![0, 3, 4], vec![digest("object f")]));
    }

    #[test]
    fn an_object_that_cannot_be_read_concerns_the_hosts_of_its_bucket() {
        let info = ArchiveInfo { buckets: Buckets::FOR_SHARDS, cluster_column: false };
        let readable = ObjectLedger { info, ..object(0, "a", &[], (0, 60)) };
        let cluster = &readable.key.partition.cluster;
        let bucket = info.buckets.of(cluster, "n1");
        let name = ObjectKey { bucket, ..key(1) }.to_string();
        let unreadable = Unreadable::new(format!("s3://b/{name}"), NotOurs::Unusable(Trouble::Cold, "it is cold".into()));
        let other = (0..100).map(|n| format!("n{n}")).find(|host| info.buckets.of(cluster, host) != bucket).expect("a host");
        let holdings = Holdings::new(Duration::ZERO, vec![readable], vec![unreadable], BTreeSet::new());
        assert!(holdings.unreadable_of("n1").is_some() && holdings.unreadable_of(&other).is_none());
    }
}
