//! Stage 13: objects of a sequence become one. Which of them, what the ledger of the new one says, and whether its rows are theirs.
//!
//! An object is deleted only if it is [`Replaced`]: another one holds all of its rows, by a comparison of the rows as both are read back. That type
//! has no constructor but the functions here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use object_store::ObjectStoreExt;

use crate::error::{Error, Result};
use crate::ledger::{Aside, Holdings, Member, ObjectLedger, Unreadable};
use crate::partition::{Bucket, ObjectKey};
use crate::prove::ObjectProof;
use crate::store::Archive;

mod contained;
mod joined;

pub use contained::{Compared, compare};
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
}

/// Objects of one sequence that become one.
#[derive(Debug, Clone)]
pub struct Group {
    /// The sequence.
    pub bucket: Bucket,
    /// Those whose rows count, by key.
    pub members: Vec<ObjectLedger>,
    /// What compactions that were not finished have left; their rows are those of members.
    pub pending: Vec<ObjectLedger>,
    /// The one of them that replaces all the others: it was made, and only they are left to be deleted.
    pub made: Option<ObjectLedger>,
}

impl Group {
    fn of(bucket: Bucket, members: Vec<ObjectLedger>, mut pending: Vec<ObjectLedger>) -> Self {
        let others = |made: &ObjectLedger| members.iter().chain(&pending).filter(|object| object.key != made.key).map(Member::of).collect::<Vec<_>>();
        let replaces_all = |made: &&ObjectLedger| others(made).len() == made.replaces.len() && others(made).iter().all(|member| made.replaces.contains(member));
        let made = pending.iter().find(replaces_all).cloned();
        pending.retain(|object| made.as_ref().is_none_or(|made| made.key != object.key));
        Self { bucket, members, pending, made }
    }

    /// What the new object replaces.
    pub fn replaces(&self) -> Vec<Member> {
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
}

/// What is to be done in a partition.
#[derive(Debug, Default)]
pub struct Plan {
    /// Objects that are to go: the first of each is the one that holds their rows.
    pub unfinished: Vec<(ObjectLedger, Vec<ObjectLedger>)>,
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
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Young(key) => write!(f, "{key} is younger than --min-age"),
            Self::Unreadable(object) => object.fmt(f),
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
        let of_sequence = |why: Aside| holdings.aside().iter().filter(move |(object, aside)| object.key.bucket == bucket && *aside == why);
        let pending: Vec<&ObjectLedger> = of_sequence(Aside::Pending).map(|(object, _)| object).collect();
        let replaced: Vec<&ObjectLedger> = of_sequence(Aside::Replaced).map(|(object, _)| object).collect();
        if !replaced.is_empty() {
            plan.unfinished.extend(unfinished(&members, &replaced));
            continue;
        }
        let is_doubled = holdings.doubts().iter().any(|doubt| doubt.bucket == bucket && doubt.is_double());
        let groups = if is_doubled || !pending.is_empty() {
            let all = |objects: &[&ObjectLedger]| objects.iter().copied().cloned().collect();
            vec![Group::of(bucket, all(&members), all(&pending))]
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
        let is_settled = |object: &&&ObjectLedger| is_old(object) || (!object.replaces.is_empty() && !is_doubled && pending.is_empty());
        match members.iter().chain(&pending).find(|object| !is_settled(object)) {
            Some(young) => plan.left.push(Left::Young(young.key.clone())),
            None => plan.groups.extend(groups),
        }
    }
    plan
}

/// Objects that were replaced and are still there, by what replaced them.
fn unfinished(members: &[&ObjectLedger], replaced: &[&ObjectLedger]) -> Vec<(ObjectLedger, Vec<ObjectLedger>)> {
    let of = |compacted: &&ObjectLedger| {
        let is_of = |object: &&&ObjectLedger| compacted.replaces.contains(&Member::of(object));
        let left: Vec<ObjectLedger> = replaced.iter().filter(is_of).copied().cloned().collect();
        (!left.is_empty()).then(|| ((*compacted).clone(), left))
    };
    members.iter().filter_map(of).collect()
}

/// Small objects that follow each other, as far as there is room for all of them in one.
fn by_size<'a>(bucket: Bucket, members: impl Iterator<Item = &'a ObjectLedger>, rules: Rules) -> Vec<Group> {
    let (mut groups, mut bytes, mut sources) = (Vec::<Group>::new(), 0, 0);
    for member in members.filter(|member| member.size <= rules.max_size / 2) {
        (bytes, sources) = (bytes + member.size, sources + member.entries.len());
        match groups.last_mut().filter(|_| bytes <= rules.max_size && sources <= MOST_SOURCES) {
            Some(group) => group.members.push(member.clone()),
            None => {
                (bytes, sources) = (member.size, member.entries.len());
                groups.push(Group::of(bucket, vec![member.clone()], Vec::new()));
            }
        }
    }
    groups.retain(|group| group.members.len() >= rules.min_objects.max(2));
    groups
}

/// An object of which no row is lost if it is deleted.
#[derive(Debug)]
pub struct Replaced(ObjectKey);

impl Replaced {
    /// Those that `compacted` says it replaces, if it is proven, and if `compared` says so of the rows.
    ///
    /// # Errors
    /// What is wrong.
    pub fn by(compacted: &ObjectProof, replaces: &[Member], expected: u64, compared: &Compared) -> Result<Vec<Self>, String> {
        if compared.missing > 0 {
            return Err(format!("{} rows of what it replaces are not in it", compared.missing));
        }
        if compared.rows != expected {
            return Err(format!("it has {} rows, and {expected} are expected", compared.rows));
        }
        Ok(replaces.iter().map(|member| Self(member.key(compacted.key()))).collect())
    }

    /// Those of `left` that went by the ledgers when `compacted` was committed: it was compared with them before.
    pub fn committed(compacted: &ObjectProof, holdings: &Holdings, left: &[ObjectLedger]) -> Vec<Self> {
        let replaces = holdings.objects().iter().find(|object| object.key == *compacted.key()).map(|object| &object.replaces);
        let was_replaced = |object: &&ObjectLedger| {
            let is_aside = holdings.aside().iter().any(|(aside, why)| aside.key == object.key && *why == Aside::Replaced);
            is_aside && replaces.is_some_and(|members| members.contains(&Member::of(object)))
        };
        left.iter().filter(was_replaced).map(|object| Self(object.key.clone())).collect()
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
        match archive.store().delete(&self.0.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(Error::store("cannot delete", archive.name_of(&self.0))(e)),
        }
    }
}

/// When objects were written, by key.
pub type Written = BTreeMap<ObjectKey, i64>;
