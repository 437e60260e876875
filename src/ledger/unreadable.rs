//! Objects without a ledger to go by: why, and what to do about it.

use std::fmt;

use object_store::path::Path;

use crate::partition::{Bucket, ObjectKey};

/// Why an object's ledger cannot be gone by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOurs {
    /// It has no ledger: somebody else's object.
    Foreign,
    /// It is ours, and what it holds is unknown: what sort of trouble it is, and the reason in words.
    Unusable(Trouble, String),
}

/// What keeps an object of ours from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its bytes are not those that were written.
    Damaged,
    /// A newer version of this program wrote it.
    Newer,
    /// It was moved to a storage class that must be restored before it can be read.
    Cold,
    /// The credentials, or this user, may not read it.
    Denied,
    /// It was listed, and then it was not there.
    Gone,
    /// All else can be asked for, and this object is not given.
    Withheld,
}

impl NotOurs {
    /// An object of ours with other bytes than it should have.
    pub fn damaged(reason: impl Into<String>) -> Self {
        Self::Unusable(Trouble::Damaged, reason.into())
    }
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("it has no ledger"),
            Self::Unusable(_, reason) => f.write_str(reason),
        }
    }
}

/// An object of ours that cannot be used now. Shown as the reason and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// As a person would name it.
    pub name: String,
    /// Whose hosts it holds, if its name is one of ours.
    pub bucket: Option<Bucket>,
    /// What sort of trouble it is.
    pub trouble: Trouble,
    /// Why.
    pub reason: String,
}

/// The bucket that a name ends with, wherever the archive is.
fn bucket_of(name: &str) -> Option<Bucket> {
    let parts: Vec<&str> = name.rsplitn(4, '/').take(3).collect();
    let key = Path::parse(parts.into_iter().rev().collect::<Vec<_>>().join("/")).ok()?;
    ObjectKey::parse(&key).map(|key| key.bucket)
}

impl Unreadable {
    /// What is said of the object called `name`; a foreign one that should be ours is a damaged one.
    pub fn new(name: impl Into<String>, why: NotOurs) -> Self {
        let reason = why.to_string();
        let trouble = if let NotOurs::Unusable(trouble, _) = why { trouble } else { Trouble::Damaged };
        let name = name.into();
        Self { bucket: bucket_of(&name), name, trouble, reason }
    }

    /// What to do. To remove an object is never advised without a condition: it may hold the only copy of its rows.
    pub fn advice(&self) -> String {
        match self.trouble {
            Trouble::Damaged => "look at it with verify --read-data, and restore it from a copy; remove it only if every source that it may hold \
                                 is still on disk, or proven in another object"
                .into(),
            Trouble::Newer => "upgrade cc-archiver on this machine; the object is whole".into(),
            Trouble::Cold => format!("bring it back ({}), and run again when it is there", self.restoring()),
            Trouble::Denied if self.name.starts_with("s3://") => "let the credentials read it (s3:GetObject), and run again".into(),
            Trouble::Denied => "let this user read it, and run again".into(),
            Trouble::Gone => "run again: if it is gone for good, what is still on disk is archived anew".into(),
            Trouble::Withheld => "look at the server or the disk, and run again; if it is never given, restore it from a copy".into(),
        }
    }

    fn restoring(&self) -> String {
        match self.name.strip_prefix("s3://").and_then(|place| place.split_once('/')) {
            Some((bucket, key)) => format!("aws s3api restore-object --bucket {bucket} --key '{key}' --restore-request Days=7"),
            None => "restore it from its storage class".into(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(trouble: Trouble) -> String {
        Unreadable::new("s3://b/archive/cluster=c/o.parquet", NotOurs::Unusable(trouble, "why".into())).advice()
    }

    #[test]
    fn only_of_a_damaged_object_is_removal_spoken_of_and_then_with_its_condition() {
        let damaged = advice(Trouble::Damaged);
        assert!(damaged.contains("remove it only if every source that it may hold is still on disk, or proven in another object"), "{damaged}");
        for trouble in [Trouble::Newer, Trouble::Cold, Trouble::Denied, Trouble::Gone, Trouble::Withheld] {
            assert!(!advice(trouble).contains("remove"), "{trouble:?}");
        }
    }

    #[test]
    fn what_brings_an_object_back_is_said_by_what_keeps_it_away() {
        assert!(advice(Trouble::Newer).contains("upgrade cc-archiver"));
        assert!(advice(Trouble::Cold).contains("restore-object --bucket b --key 'archive/cluster=c/o.parquet' --restore-request Days=7"));
        assert!(advice(Trouble::Denied).contains("s3:GetObject"));
        assert!(advice(Trouble::Gone).contains("run again"));
        assert!(advice(Trouble::Withheld).contains("the server"));
    }
}
