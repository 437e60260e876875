//! Objects that others were compacted into, and which of them count.
//!
//! A compaction writes an object that says what it replaces, and then deletes that. While all of it stands, the new object is pending, and
//! does not count. As soon as one is gone, it counts, and what is left of the others does not. So the first deletion is the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::ObjectLedger;
use crate::names::Digest;
use crate::partition::{ObjectKey, UploadId};

/// An object that a compacted one replaces. Both are of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its slot.
    pub slot: u32,
    /// The number of its upload, if its key has one.
    pub beside: Option<UploadId>,
    /// Of the whole object.
    pub digest: Digest,
    /// Its rows.
    pub rows: u64,
}

impl Member {
    /// The object as a member.
    pub fn of(object: &ObjectLedger) -> Self {
        Self { slot: object.key.slot, beside: object.key.beside, digest: object.digest, rows: object.rows }
    }

    /// Its key, in the sequence of `of`.
    pub fn key(&self, of: &ObjectKey) -> ObjectKey {
        ObjectKey { slot: self.slot, beside: self.beside, ..of.clone() }
    }

    /// Reads what [`fmt::Display`] wrote.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no object that was replaced");
        let [name, digest, rows] = text.split(':').collect::<Vec<_>>().try_into().map_err(|_| wrong())?;
        let (slot, beside) = name.split_once('-').map_or((name, None), |(slot, id)| (slot, Some(id)));
        let beside = beside.map(|id| u64::from_str_radix(id, 16).map(UploadId)).transpose().map_err(|_| wrong())?;
        Ok(Self {
            slot: slot.parse().map_err(|_| wrong())?,
            beside,
            digest: Digest::try_from(digest.to_owned()).map_err(|_| wrong())?,
            rows: rows.parse().map_err(|_| wrong())?,
        })
    }
}

/// `slot:digest:rows`, or `slot-number:digest:rows`.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05}", self.slot)?;
        self.beside.map_or(Ok(()), |id| write!(f, "-{id}"))?;
        write!(f, ":{}:{}", self.digest, self.rows)
    }
}

/// Why an object does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// It was compacted from others that all still stand.
    Pending,
    /// It was compacted into another one, which counts.
    Replaced,
}

/// Of the objects of one partition those that do not count, and why. `keys`: all that stands there, readable or not.
pub fn aside(objects: &[ObjectLedger], keys: &BTreeSet<ObjectKey>) -> BTreeMap<ObjectKey, Aside> {
    let digests: BTreeMap<&ObjectKey, Digest> = objects.iter().map(|object| (&object.key, object.digest)).collect();
    let mut compacted: Vec<&ObjectLedger> = objects.iter().filter(|object| !object.replaces.is_empty()).collect();
    // what replaces others may itself be replaced, by what stands behind it
    compacted.sort_by(|a, b| b.key.cmp(&a.key));
    let mut aside = BTreeMap::new();
    for object in compacted {
        let stands = |member: &Member| {
            let key = member.key(&object.key);
            // of what cannot be read it is not known whether it is another one: then nothing is decided
            keys.contains(&key) && digests.get(&key).is_none_or(|digest| *digest == member.digest)
        };
        if aside.contains_key(&object.key) {
            continue;
        }
        if object.replaces.iter().all(stands) {
            aside.insert(object.key.clone(), Aside::Pending);
        } else {
            let members = object.replaces.iter().map(|member| (member.key(&object.key), member.digest));
            aside.extend(members.filter(|(key, digest)| digests.get(key) == Some(digest)).map(|(key, _)| (key, Aside::Replaced)));
        }
    }
    aside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_as_it_was_written() {
        for beside in [None, Some(UploadId(0xfe))] {
            let member = Member { slot: 12, beside, digest: Digest::of(b"x"), rows: 34 };
            assert_eq!(Member::parse(&member.to_string()), Ok(member));
        }
        for wrong in ["", "1", "1:2:3", "x:0:1"] {
            assert!(Member::parse(wrong).is_err(), "{wrong}");
        }
    }
}
