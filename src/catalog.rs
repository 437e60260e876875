//! Stage 2: what the archive holds already, by the footers of its objects; and rows of it, read back.

use std::ops::Range;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::error::{Error, Result};
use crate::ledger::{self, Holdings, NotOurs, ObjectLedger};
use crate::partition::{ObjectKey, Partition};
use crate::schema::{COLUMNS, footer};
use crate::store::Archive;

mod readback;

pub use readback::rows_between;

/// Bytes fetched from an object's end at first: the footers of most objects.
const FOOTER_GUESS: usize = 128 << 10;
/// Footers read at a time.
const CONCURRENT_FOOTERS: usize = 16;

/// Lists a partition and reads the footers in it. Somebody else's objects are passed over, with a warning.
pub async fn holdings(archive: &Archive, partition: &Partition) -> Result<Holdings> {
    let folder = partition.path();
    let listed: Vec<ObjectMeta> = archive.store().list(Some(&folder)).try_collect().await.map_err(Error::store("cannot list", archive.name_of(&folder)))?;
    let mut parquet: Vec<_> = listed.into_iter().filter(|object| object.location.as_ref().ends_with(".parquet")).collect();
    parquet.sort_by(|a, b| a.location.cmp(&b.location));
    let mut read = futures::stream::iter(parquet).map(|object| read_one(archive, object)).buffered(CONCURRENT_FOOTERS);
    let (mut objects, mut unreadable) = (Vec::new(), Vec::new());
    while let Some((location, found)) = read.next().await {
        let name = archive.name_of(&location);
        match found? {
            Ok(object) => objects.push(object),
            Err(NotOurs::Foreign) => tracing::warn!(object = name, "passed over: it is not one of ours, and readers of the folder see its rows too"),
            Err(NotOurs::Damaged(reason)) => unreadable.push((name, reason)),
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
            && let (_, Ok(Ok(found))) = read_one(archive, object).await
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

type Found = Result<Result<ObjectLedger, NotOurs>>;

async fn read_one(archive: &Archive, object: ObjectMeta) -> (Key, Found) {
    let ObjectMeta { location, size, .. } = object;
    let found = read_ledger(archive, &location, size).await;
    (location, found)
}

async fn read_ledger(archive: &Archive, location: &Key, size: u64) -> Found {
    let ours = ObjectKey::parse(location);
    let metadata = match load_metadata(archive, location, size, PageIndexPolicy::Skip).await {
        Ok(metadata) => metadata,
        Err(e) => {
            return match split(e, "cannot read", archive.name_of(location)) {
                Error::Parquet { source, .. } if ours.is_some() => Ok(Err(NotOurs::Damaged(format!("its footer cannot be read: {source}")))),
                Error::Parquet { .. } => Ok(Err(NotOurs::Foreign)),
                e => Err(e),
            };
        }
    };
    let file = metadata.file_metadata();
    let has_ledger = file.key_value_metadata().is_some_and(|kv| kv.iter().any(|kv| kv.key == footer::LEDGER));
    let Some(key) = ours else {
        return Ok(Err(if has_ledger { NotOurs::Damaged("it has a ledger, but not a name that we gave".into()) } else { NotOurs::Foreign }));
    };
    let has_column = |name: &str| file.schema_descr().columns().iter().any(|column| column.name() == name);
    if !has_ledger && COLUMNS[1..].iter().all(|name| has_column(name)) {
        return Ok(Err(NotOurs::Damaged("it has our name and our columns, but no ledger: another program has rewritten it".into())));
    }
    let cluster_column = has_column("cluster");
    Ok(ledger::read(&key, size, cluster_column, file.key_value_metadata()))
}

/// The store's own errors end the run; what is wrong in an object does not.
fn split(e: ParquetError, what: &'static str, key: String) -> Error {
    match e {
        ParquetError::External(e) if e.is::<object_store::Error>() => match e.downcast::<object_store::Error>() {
            Ok(source) => Error::Store { what, key, source: *source },
            Err(e) => Error::Internal(e.to_string()),
        },
        source => Error::Parquet { what, key, source },
    }
}

async fn load_metadata(archive: &Archive, location: &Key, size: u64, index: PageIndexPolicy) -> Result<ParquetMetaData, ParquetError> {
    let fetch = Fetch { store: archive.store().as_ref(), location };
    ParquetMetaDataReader::new().with_page_index_policy(index).with_prefetch_hint(Some(FOOTER_GUESS)).load_and_finish(fetch, size).await
}

/// Ranges of one object.
struct Fetch<'a> {
    store: &'a dyn ObjectStore,
    location: &'a Key,
}

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(self.location, range).await.map_err(|e| ParquetError::External(Box::new(e))) }.boxed()
    }
}
