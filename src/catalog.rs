//! Stage 2: what the archive holds already, by the footers of its objects; and rows of it, read back.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;

use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use parquet::errors::ParquetError;

use crate::error::{Error, Result};
use crate::ledger::{Holdings, NotOurs};
use crate::object;
use crate::partition::{Bucket, ObjectKey, Partition};
use crate::store::Archive;

mod info;
mod readback;

pub use info::info;
pub use readback::{check_rows, rows_between};

/// Footers read at a time.
const CONCURRENT_FOOTERS: usize = 16;

/// Lists a partition and reads the footers in it. Somebody else's objects are passed over, with a warning.
pub async fn holdings(archive: &Archive, partition: &Partition) -> Result<Holdings> {
    holdings_but(archive, partition, |_| false).await
}

/// The same, without the objects that are `known`: their footers are not read.
pub async fn holdings_but(archive: &Archive, partition: &Partition, known: impl Fn(&ObjectMeta) -> bool) -> Result<Holdings> {
    let uptime = archive.uptime();
    let mut parquet = listed(archive, partition).await?;
    let keys = parquet.iter().filter_map(|object| ObjectKey::parse(&object.location)).collect();
    parquet.retain(|object| !known(object));
    let mut read =
        futures::stream::iter(parquet).map(|object| async move { (object::ledger(archive, &object).await, object.location) }).buffered(CONCURRENT_FOOTERS);
    let (mut objects, mut unreadable) = (Vec::new(), Vec::new());
    while let Some((found, location)) = read.next().await {
        let name = archive.name_of(&location);
        match found? {
            Ok(object) => objects.push(object),
            Err(NotOurs::Foreign) => tracing::warn!(object = name, "passed over: it is not one of ours, and readers of the folder see its rows too"),
            Err(NotOurs::Damaged(reason)) => unreadable.push((name, reason)),
        }
    }
    Ok(Holdings::new(uptime, objects, unreadable, keys))
}

/// Reads rows of an object. Bytes that are damaged can make the Parquet reader panic: that is an error about the object, too.
pub async fn unless_damaged<T>(key: &ObjectKey, reading: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| Error::parquet("cannot read back", key)(ParquetError::General("its reader gave up: it is damaged".into()));
    AssertUnwindSafe(reading).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic)))
}

/// The slot behind the highest of a sequence, as it is now.
pub async fn next_slot(archive: &Archive, partition: &Partition, bucket: Bucket) -> Result<u32> {
    let keys: BTreeSet<ObjectKey> = listed(archive, partition).await?.iter().filter_map(|object| ObjectKey::parse(&object.location)).collect();
    Ok(crate::ledger::next_slot(&keys, bucket))
}

/// Parquet objects of a partition, in order.
async fn listed(archive: &Archive, partition: &Partition) -> Result<Vec<ObjectMeta>> {
    let folder = partition.path();
    let listed: Vec<ObjectMeta> = archive.store().list(Some(&folder)).try_collect().await.map_err(Error::store("cannot list", archive.name_of(&folder)))?;
    let mut parquet: Vec<_> = listed.into_iter().filter(|object| object.location.as_ref().ends_with(".parquet")).collect();
    parquet.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(parquet)
}
