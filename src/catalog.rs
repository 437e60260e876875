//! Stage 2: what the archive holds already, by the footers of its objects; and rows of it, read back.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::error::{Error, Result};
use crate::ledger::{self, Holdings, NotOurs, Unreadable};
use crate::object;
use crate::partition::{Bucket, ObjectKey, Partition};
use crate::store::Archive;

mod columns;
mod counting;
mod floors;
mod hosts;
mod info;
mod pages;
mod readback;
mod survey;

pub use counting::{Counts, counts};
pub use floors::{floors, raise};
pub use hosts::{Hosts, LastFooter, Source, rows_between};
pub use info::info;
pub use survey::{Listing, Surveyed, list, look_into, survey};

/// So many keys that a listing lacks are asked for, of each sequence: the last ones, as a compaction empties the first.
const ASKED_FOR: usize = 8;

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
    let uptime = archive.uptime();
    let mut parquet = list_partition(archive, partition).await?;
    let keys = parquet.iter().filter_map(|object| ObjectKey::parse(&object.location)).collect();
    parquet.retain(|object| !known(object));
    let mut others = 0;
    parquet.retain(|object| {
        others += usize::from(ObjectKey::parse(&object.location).is_none());
        others <= LOOKED_AT || ObjectKey::parse(&object.location).is_some()
    });
    if let Some(more) = others.checked_sub(LOOKED_AT).filter(|more| *more > 0) {
        tracing::warn!(
            partition = archive.name_of(partition),
            more,
            "ignored: cc-archiver gives no objects such names; readers of the folder see their rows, too"
        );
    }
    let mut read =
        futures::stream::iter(parquet).map(|object| async move { (object::ledger(archive, &object).await, object.location) }).buffered(CONCURRENT_FOOTERS);
    let (mut objects, mut unreadable) = (Vec::new(), Vec::new());
    while let Some((found, location)) = read.next().await {
        let name = archive.name_of(&location);
        match found? {
            Ok(object) => objects.push(object),
            Err(NotOurs::Foreign) => tracing::warn!(object = name, "ignored: cc-archiver has not written it; readers of the folder see its rows, too"),
            Err(why) => unreadable.push(Unreadable::new(name, why)),
        }
    }
    Ok(Holdings::new(uptime, objects, unreadable, keys))
}

/// The slot behind the highest of a sequence, as it is now.
pub async fn next_slot(archive: &Archive, partition: &Partition, bucket: Bucket) -> Result<u32> {
    let keys: BTreeSet<ObjectKey> = list_partition(archive, partition).await?.iter().filter_map(|object| ObjectKey::parse(&object.location)).collect();
    Ok(ledger::next_slot(&keys, bucket))
}

/// Parquet objects of a partition, in order. A listing can lack what is there: a key between others is asked for by its name.
pub async fn list_partition(archive: &Archive, partition: &Partition) -> Result<Vec<ObjectMeta>> {
    let folder = partition.path();
    let failed = |e| Error::store("cannot list", archive.name_of(&folder))(e);
    let listed: Vec<ObjectMeta> = archive.store().list(Some(&folder)).try_collect().await.map_err(failed)?;
    let mut parquet: Vec<_> = listed.into_iter().filter(|object| object.location.as_ref().ends_with(".parquet")).collect();
    let keys: BTreeSet<ObjectKey> = parquet.iter().filter_map(|object| ObjectKey::parse(&object.location)).collect();
    let buckets: BTreeSet<Bucket> = keys.iter().map(|key| key.bucket).collect();
    let missing = buckets.into_iter().flat_map(|bucket| ledger::missing(&keys, bucket).into_iter().rev().take(ASKED_FOR).map(move |slot| (bucket, slot)));
    for (bucket, slot) in missing {
        let key = ObjectKey { partition: partition.clone(), bucket, slot, beside: None };
        match archive.store().head(&key.path()).await {
            Ok(object) => parquet.push(object),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    parquet.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(parquet)
}
