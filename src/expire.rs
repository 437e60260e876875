//! Stage 16: old dates go from the archive.
//!
//! An object is deleted only if it is [`Expired`]: it lies below a floor that the archive shows. Nobody counts it from then on, and nobody writes
//! beside it, so that nothing depends on when it goes.

use std::collections::BTreeMap;

use futures::StreamExt;
use object_store::path::Path as Key;

use crate::error::Error;
use crate::floor::Floors;
use crate::names::Date;
use crate::partition::ObjectKey;
use crate::store::Archive;

/// An object of ours that lies below the floor.
#[derive(Debug, Clone)]
pub struct Expired(ObjectKey);

impl Expired {
    /// None if the floor keeps it.
    pub fn of(key: ObjectKey, floors: &Floors) -> Option<Self> {
        (!floors.keeps(&key.partition)).then_some(Self(key))
    }

    /// Its key.
    pub fn key(&self) -> &ObjectKey {
        &self.0
    }
}

/// Deletes objects, many with a request where the store can do that. What is gone already is no error. Gives those that are still there, and why.
pub async fn delete(archive: &Archive, objects: Vec<Expired>) -> Option<(Vec<ObjectKey>, Error)> {
    let mut left: BTreeMap<Key, ObjectKey> = objects.into_iter().map(|Expired(key)| (key.path(), key)).collect();
    let keys: Vec<Key> = left.keys().cloned().collect();
    let mut deleted = archive.store().delete_stream(futures::stream::iter(keys.into_iter().map(Ok)).boxed());
    let (mut why, mut vanished) = (None, 0);
    while let Some(answer) = deleted.next().await {
        match answer {
            Ok(key) => drop(left.remove(&key)),
            Err(object_store::Error::NotFound { .. }) => vanished += 1,
            Err(e) => why = why.or(Some(e)),
        }
    }
    match (why, left.into_values().collect::<Vec<_>>()) {
        (None, left) if left.len() <= vanished => None,
        (why, left) => {
            let source = why.unwrap_or_else(|| object_store::Error::Generic { store: "S3", source: "it was not answered".into() });
            let first = left.first().map(ToString::to_string).unwrap_or_default();
            Some((left, Error::store("cannot delete", archive.name_of(&first))(source)))
        }
    }
}

/// The first date that is kept, if dates that ended longer than `keep` seconds before `now` (unix s) are not. None before 1970.
pub fn first_kept(now: i64, keep: i64) -> Option<Date> {
    Date::of(now.checked_sub(keep)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::DAY;

    #[test]
    fn a_date_is_kept_until_its_end_is_so_old() {
        let first = |now| first_kept(now, 30 * DAY).map(|date| date.start());
        assert_eq!(first(100 * DAY), Some(70 * DAY));
        assert_eq!(first(100 * DAY - 1), Some(69 * DAY), "that of 69 has ended 29 days and a second ago");
        assert_eq!(first(30 * DAY - 1), None);
        assert_eq!(first_kept(0, i64::MAX), None);
    }
}
