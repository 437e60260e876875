//! Stage 2: what the archive holds already, by the footers of its objects; and rows of it, read back.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;

use crate::error::{Error, Result};
use crate::ledger::{Holdings, NotOurs, ObjectLedger, Unreadable};
use crate::object;
use crate::partition::{ObjectKey, Partition};
use crate::store::Archive;

mod readback;

pub use readback::{check_rows, rows_between};

/// Footers read at a time.
const CONCURRENT_FOOTERS: usize = 16;

/// Objects with names that we do not give, of which the footers are read all the same: one of ours can have been renamed. Others
/// are passed over, or what somebody else puts there would decide how long a run takes.
const LOOKED_AT: usize = 8;

/// Lists a partition and reads the footers in it. Somebody else's objects are passed over, with a warning.
pub async fn holdings(archive: &Archive, partition: &Partition) -> Result<Holdings> {
    holdings_but(archive, partition, |_| false).await
}

/// The same, without the objects that are `known`: their footers are not read.
pub async fn holdings_but(archive: &Archive, partition: &Partition, known: impl Fn(&ObjectMeta) -> bool) -> Result<Holdings> {
    let folder = partition.path();
    let listed: Vec<ObjectMeta> = archive.store().list(Some(&folder)).try_collect().await.map_err(Error::store("cannot list", archive.name_of(&folder)))?;
    let mut parquet: Vec<_> = listed.into_iter().filter(|object| object.location.as_ref().ends_with(".parquet") && !known(object)).collect();
    parquet.sort_by(|a, b| a.location.cmp(&b.location));
    let mut others = 0;
    parquet.retain(|object| {
        others += usize::from(ObjectKey::parse(&object.location).is_none());
        others <= LOOKED_AT || ObjectKey::parse(&object.location).is_some()
    });
    if let Some(more) = others.checked_sub(LOOKED_AT).filter(|more| *more > 0) {
        tracing::warn!(
            partition = archive.name_of(&folder),
            more,
            "passed over: objects whose names are not ours, and readers of the folder see their rows too"
        );
    }
    let mut read =
        futures::stream::iter(parquet).map(|object| async move { (object::ledger(archive, &object).await, object.location) }).buffered(CONCURRENT_FOOTERS);
    let (mut objects, mut unreadable) = (Vec::new(), Vec::new());
    while let Some((found, location)) = read.next().await {
        let name = archive.name_of(&location);
        match found? {
            Ok(object) => objects.push(object),
            Err(NotOurs::Foreign) => tracing::warn!(object = name, "passed over: it is not one of ours, and readers of the folder see its rows too"),
            Err(why) => unreadable.push(Unreadable::new(name, why)),
        }
    }
    Ok(Holdings::new(objects, unreadable))
}

/// Any object of ours, to see how the archive was written; the first request of a run.
pub async fn any_object(archive: &Archive) -> Result<Option<ObjectLedger>> {
    let mut listed = archive.first_contact().list(None);
    while let Some(object) = listed.next().await {
        let object = match object {
            Ok(object) => object,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(Error::store("cannot list", format!("{archive:?}"))(e)),
        };
        if ObjectKey::parse(&object.location).is_some()
            && let Ok(Ok(found)) = object::ledger(archive, &object).await
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
