//! Stage 13: objects of a sequence become one. Which of them, what the ledger of the new one says, and whether its rows are theirs.
//!
//! An object is deleted only if it is [`Replaced`]: another one holds all of its rows, by a comparison of the rows as both are read back. That type
//! has no constructor but the functions here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::ledger::{Aside, Holdings, Member, ObjectLedger, Unreadable};
use crate::partition::{Bucket, ObjectKey};
use crate::prove::ObjectProof;
use crate::store::Archive;

mod contained;
mod joined;

pub use contained::{Compared, Sum, compare};
pub use joined::{Loss, Sources, Window};

/// The most sources of an object that is made: ledgers are read as a whole.
const MOST_SOURCES: usize = 20_000;

/// Which objects become one.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// So many at least.
    pub min_objects: usize,
    /// Bytes of them together, at most, unless rows stand twice. One of more than half of it stays as it is.
    pub max_size: u64,
    /// They were written at this Unix time in s, or before.
    pub before: i64,
    /// Bytes of memory that joining them may take, unless they are two, or rows stand twice.
    pub memory: u64,
}

/// Memory of an object that is being read: rows as they are stored, some of them decoded, its footer (an eighth of its bytes), and the least that there
/// must be for rows of a host.
fn memory_of(size: u64) -> u64 {
    const DECODED: u64 = 2 << 20;
    const MOST_STORED: u64 = 4 << 20;
    DECODED + size.min(MOST_STORED) + size / 8 + ROOM
}

/// The least memory for rows of a host, of each object that is read.
pub const ROOM: u64 = 512 << 10;

/// Objects of one sequence that become one.
#[derive(Debug, Clone)]
pub struct Group {
    /// The sequence.
    pub bucket: Bucket,
    /// Those whose rows it is to hold, by key.
    pub members: Vec<ObjectLedger>,
    /// What compactions that came to nothing have left. It goes with the members, whose rows it has.
    pub pending: Vec<ObjectLedger>,
    /// The object that they became, if an earlier run has made it and was not finished: it has to be compared with them, and they have to go.
    pub made: Option<ObjectLedger>,
}

impl Group {
    fn new(bucket: Bucket, members: Vec<ObjectLedger>) -> Self {
        Self { bucket, members, pending: Vec::new(), made: None }
    }

    /// What is to go.
    pub fn replaced(&self) -> Vec<Member> {
        let mut all: Vec<&ObjectLedger> = self.members.iter().chain(&self.pending).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all.into_iter().map(Member::of).collect()
    }

    /// Rows of the members together.
    pub fn rows(&self) -> u64 {
        self.members.iter().map(|member| member.rows).sum()
    }

    /// Bytes of the members together.
    pub fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.size).sum()
    }

    /// Bytes of memory that reading all of them takes, side by side and beside the new object. There is [`ROOM`] for each in it.
    pub fn memory(&self) -> u64 {
        self.members.iter().map(|member| memory_of(member.size)).sum::<u64>() + memory_of(self.bytes())
    }
}

/// What is to be done in a partition.
#[derive(Debug, Default)]
pub struct Plan {
    /// Objects that are to become one.
    pub groups: Vec<Group>,
    /// Sequences that are left as they are.
    pub left: Vec<Left>,
}

/// Why a sequence is left as it is, though there would be something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// An object was written not long ago.
    Young(ObjectKey),
    /// An object cannot be read.
    Unreadable(Unreadable),
    /// A compaction is not finished, and not all that it replaces can be read, or is what it was.
    Unfinished(ObjectKey),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Young(key) => write!(f, "{key} is younger than --min-object-age"),
            Self::Unreadable(object) => object.fmt(f),
            Self::Unfinished(key) => {
                write!(
                    f,
                    "{key} was compacted from objects of which one cannot be read now, or is another one. While all of them stand it does not count, and can be removed"
                )
            }
        }
    }
}

/// Plans a partition. `written` says when an object was written, in Unix s; one of which that is not known counts as new.
pub fn plan(holdings: &Holdings, rules: Rules, written: impl Fn(&ObjectKey) -> Option<i64>) -> Plan {
    let is_old = |object: &ObjectLedger| written(&object.key).is_some_and(|time| time <= rules.before);
    let mut plan = Plan::default();
    let buckets: BTreeSet<Bucket> = holdings.keys().iter().map(|key| key.bucket).collect();
    for bucket in buckets {
        let mut members: Vec<&ObjectLedger> = holdings.objects().iter().filter(|object| object.key.bucket == bucket).collect();
        members.sort_by(|a, b| a.key.cmp(&b.key));
        match unfinished(bucket, &members, holdings) {
            None => {}
            Some(Ok(group)) => {
                plan.groups.push(group);
                continue;
            }
            Some(Err(left)) => {
                plan.left.push(left);
                continue;
            }
        }
        let is_doubled = holdings.doubts().iter().any(|doubt| doubt.bucket == bucket && doubt.is_double());
        let groups = if is_doubled {
            vec![Group::new(bucket, members.iter().copied().cloned().collect())]
        } else {
            by_size(bucket, members.iter().copied().filter(|member| is_old(member)), rules)
        };
        let unreadable: Vec<&Unreadable> = holdings.unreadable.iter().filter(|object| object.bucket.is_none_or(|of| of == bucket)).collect();
        if groups.is_empty() && members.len() + unreadable.len() < rules.min_objects {
            continue;
        }
        if let Some(first) = unreadable.first() {
            plan.left.push(Left::Unreadable((*first).clone()));
            continue;
        }
        // whoever writes to the sequence still may have planned on what would go
        let is_settled = |object: &&&ObjectLedger| is_old(object) || (!object.replaces.is_empty() && !is_doubled);
        match members.iter().find(|object| !is_settled(object)) {
            Some(young) => plan.left.push(Left::Young(young.key.clone())),
            None => plan.groups.extend(groups),
        }
    }
    plan
}

/// What an earlier run has made of objects that are still there. No age counts: they were old when it was made, and its slot stays taken.
fn unfinished(bucket: Bucket, members: &[&ObjectLedger], holdings: &Holdings) -> Option<Result<Group, Left>> {
    let aside = |why: Aside| holdings.aside().iter().filter(move |(object, aside)| object.key.bucket == bucket && *aside == why).map(|(object, _)| object);
    let replaces = |made: &ObjectLedger, object: &ObjectLedger| made.replaces.contains(&Member::of(object));
    if let Some(made) = members.iter().find(|made| aside(Aside::Replaced).any(|object| replaces(made, object))) {
        let left = aside(Aside::Replaced).filter(|object| replaces(made, object)).cloned().collect();
        return Some(Ok(Group { made: Some((*made).clone()), ..Group::new(bucket, left) }));
    }
    let made = aside(Aside::Pending).max_by(|a, b| a.key.cmp(&b.key))?;
    let pending: Vec<ObjectLedger> = aside(Aside::Pending).filter(|object| replaces(made, object)).cloned().collect();
    let members: Vec<ObjectLedger> = members.iter().copied().filter(|object| replaces(made, object)).cloned().collect();
    if pending.len() + members.len() < made.replaces.len() {
        return Some(Err(Left::Unfinished(made.key.clone())));
    }
    Some(Ok(Group { bucket, members, pending, made: Some(made.clone()) }))
}

/// Small objects that follow each other, as far as there is room for all of them in one, and memory to join them.
fn by_size<'a>(bucket: Bucket, members: impl Iterator<Item = &'a ObjectLedger>, rules: Rules) -> Vec<Group> {
    let (mut groups, mut group, mut sources) = (Vec::new(), Group::new(bucket, Vec::new()), 0);
    for member in members.filter(|member| member.size <= rules.max_size / 2) {
        group.members.push(member.clone());
        sources += member.entries.len();
        let needs_more = group.members.len() > 2 && group.memory() > rules.memory;
        if needs_more || group.bytes() > rules.max_size || sources > MOST_SOURCES {
            group.members.pop();
            sources = member.entries.len();
            let full = std::mem::replace(&mut group, Group::new(bucket, vec![member.clone()]));
            groups.push((full, if needs_more { 2 } else { rules.min_objects }));
        }
    }
    groups.push((group, rules.min_objects));
    groups.into_iter().filter(|(group, least)| group.members.len() >= 2.max(*least)).map(|(group, _)| group).collect()
}

/// What an object that was compacted is to be.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its rows.
    pub rows: u64,
    /// How many values of what it replaces are others in it.
    pub differing: RangeInclusive<u64>,
}

/// An object of which no row is lost if it is deleted.
#[derive(Debug)]
pub struct Replaced(ObjectKey);

impl Replaced {
    /// The objects of a group, if the `new` one, which is proven, replaces them, and if `compared` says so of the rows: `expected` is what it is to be.
    ///
    /// # Errors
    /// What is wrong.
    pub fn by(new: &ObjectProof, replaces: &[Member], group: &Group, expected: Expected, compared: &Compared) -> Result<Vec<Self>, String> {
        if compared.missing > 0 {
            return Err(format!("{} rows of what it replaces are not in it", compared.missing));
        }
        if compared.rows != expected.rows {
            return Err(format!("it has {} rows, and {} are expected", compared.rows, expected.rows));
        }
        if !expected.differing.contains(&compared.differing) {
            return Err(format!("{} of its values are others, and {} may be", compared.differing, expected.differing.end()));
        }
        let replaced = group.replaced();
        match replaced.iter().find(|member| !replaces.contains(member)) {
            Some(stranger) => Err(format!("it does not replace {}", stranger.key(new.key()))),
            None => Ok(replaced.iter().map(|member| Self(member.key(new.key()))).collect()),
        }
    }

    /// Its key.
    pub fn key(&self) -> &ObjectKey {
        &self.0
    }

    /// Deletes it. One that is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete(self, archive: &Archive) -> Result<()> {
        archive.delete(&self.0.path()).await.map_err(Error::store("cannot delete", archive.name_of(&self.0)))
    }
}

/// When objects were written, by key.
pub type Written = BTreeMap<ObjectKey, i64>;
