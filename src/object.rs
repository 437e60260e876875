//! One object of the archive as it lies there: its footer, its ledger, and the digest of its bytes, read anew.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use crate::error::{Error, Result};
use crate::etag::ETag;
use crate::ledger::{self, NotOurs, ObjectLedger, Trouble};
use crate::names::Digest;
use crate::partition::ObjectKey;
use crate::schema::{COLUMNS, footer};
use crate::store::Archive;
use crate::workers::Workers;

mod end;
mod looked;
pub mod trouble;

pub use end::{footer, footer_and_pages};
pub use looked::{LookedInto, look_into};

use end::{End, digits_of};

/// Bytes of one request where an object is read in full, and how many are fetched ahead of the one that is hashed.
const RANGE: u64 = 8 << 20;
const RANGES_AHEAD: usize = 2;
/// Local files are hashed in pieces that stay in the processor's cache, and so many bytes before the run is asked again whether it is to stop.
const PIECE: usize = 256 << 10;
const BYTES_AT_A_TIME: u64 = 64 << 20;

/// An object that this run uploaded.
#[derive(Debug)]
pub struct Uploaded {
    /// Its key.
    pub key: ObjectKey,
    /// Its bytes.
    pub size: u64,
    /// As in its footer.
    pub digest: Digest,
    /// As the store's answer had it.
    pub e_tag: Option<ETag>,
    /// As it stands in the object's metadata; local files have none.
    pub token: Option<String>,
}

/// An object that was looked at; [`NotOurs`] where it cannot be used. An error is none of this object: it ends the run.
pub type Found<T> = Result<Result<T, NotOurs>>;

/// What is said of bytes at which the reader of Parquet panics.
pub const GIVES_UP: &str = "the reader of Parquet gives up on it";

/// Reads Parquet. Bytes that are damaged can make the reader panic: that is an error of the reader, too.
pub async fn without_panic<T, E: From<ParquetError>>(reading: impl Future<Output = std::result::Result<T, E>>) -> std::result::Result<T, E> {
    AssertUnwindSafe(reading).catch_unwind().await.unwrap_or_else(|_| Err(ParquetError::General(GIVES_UP.into()).into()))
}

/// Reads the ledger of an object that was listed.
pub async fn ledger(archive: &Archive, listed: &ObjectMeta) -> Found<ObjectLedger> {
    Ok(opened(archive, listed).await?.map(|(ledger, _)| ledger))
}

/// The same, with all that the footer says of rows.
pub async fn opened(archive: &Archive, listed: &ObjectMeta) -> Found<(ObjectLedger, ParquetMetaData)> {
    let ObjectMeta { location, size, e_tag, .. } = listed;
    let ours = ObjectKey::parse(location);
    let read = async {
        let mut end = End::fetch(archive, location, *size).await?;
        end.metadata().await.map(|metadata| (end, metadata))
    };
    let (mut end, metadata) = match read.await {
        Ok(read) => read,
        Err(e) => {
            return Ok(Err(match trouble::of_reader(archive, location, "cannot read", e).await? {
                _ if ours.is_none() => NotOurs::Foreign,
                NotOurs::Unusable(Trouble::Damaged, reason) => NotOurs::damaged(format!("its footer cannot be read: {reason}")),
                unusable => unusable,
            }));
        }
    };
    let file = metadata.file_metadata();
    // its keys and columns may have other names
    if let Some(newer) = ledger::newer(file.key_value_metadata()) {
        return Ok(Err(newer));
    }
    let has_ledger = file.key_value_metadata().is_some_and(|kv| kv.iter().any(|kv| kv.key == footer::LEDGER));
    let Some(key) = ours else {
        return Ok(Err(if has_ledger { NotOurs::damaged("it has a ledger, but another name than it was given: it was renamed") } else { NotOurs::Foreign }));
    };
    let has_column = |name: &str| file.schema_descr().columns().iter().any(|column| column.name() == name);
    if !has_ledger && COLUMNS[1..].iter().all(|name| has_column(name)) {
        return Ok(Err(NotOurs::damaged("it has the name and the columns of an object, but no ledger: another program has rewritten it")));
    }
    let described = match ledger::read(&key, *size, has_column("cluster"), file.key_value_metadata()) {
        Ok(described) => described,
        Err(why) => return Ok(Err(why)),
    };
    let ledger = match end.ledger(described.ledger_size).await {
        Ok(ledger) => ledger,
        Err(e) => return Ok(Err(trouble::of_reader(archive, location, "cannot read", e).await?)),
    };
    Ok(described.with_ledger(&ledger).map(|ledger| (ObjectLedger { e_tag: ETag::of(e_tag.as_deref()), ..ledger }, metadata)))
}

/// Reads the pages of an object whose footer is known.
#[derive(Clone)]
pub struct Reader {
    store: Arc<dyn ObjectStore>,
    location: Key,
    metadata: Arc<ParquetMetaData>,
}

impl Reader {
    /// Takes an object and its footer.
    pub fn new(archive: &Archive, location: Key, metadata: Arc<ParquetMetaData>) -> Self {
        Self { store: Arc::clone(archive.for_reading()), location, metadata }
    }
}

fn external(e: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(e))
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(&self.location, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.store.get_ranges(&self.location, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(&'a mut self, _: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        std::future::ready(Ok(Arc::clone(&self.metadata))).boxed()
    }
}

/// Who reads objects in full: as many at a time as there are workers, hashed off the async threads.
#[derive(Debug, Clone)]
pub struct Hashers {
    archive: Archive,
    /// Stopped: nothing more is read.
    workers: Workers,
    /// Where bytes read are counted.
    bytes: Arc<AtomicU64>,
}

impl Hashers {
    /// Reads from `archive`, and hashes what it reads when one of `workers` is free.
    pub fn new(archive: Archive, workers: Workers) -> Self {
        Self { archive, workers, bytes: Arc::default() }
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Reads all of an object, and says what is wrong if it is not the one with this digest, or cannot be read.
    pub async fn check(&self, location: &Key, size: u64, expected: Digest) -> Found<()> {
        let digits = match digits_of(&self.archive, location, size, expected).await {
            Ok(Some(digits)) => digits,
            Ok(None) => return Ok(Err(NotOurs::damaged(format!("its footer does not hold the digest {expected}")))),
            Err(e) => return Ok(Err(trouble::of_reader(&self.archive, location, "cannot read", e).await?)),
        };
        match self.compare(location, size, expected, digits).await {
            Ok(compared) => Ok(compared.map_err(NotOurs::damaged)),
            Err(Error::Store { what, source, .. }) => Ok(Err(trouble::of_store(&self.archive, location, what, source).await?)),
            Err(Error::Io { source, .. }) => Ok(Err(NotOurs::Unusable(Trouble::Withheld, format!("it cannot be read now: {source}")))),
            Err(e) => Err(e),
        }
    }

    async fn compare(&self, location: &Key, size: u64, expected: Digest, digits: u64) -> Result<Result<(), String>> {
        let name = self.archive.name_of(location);
        let hashing = Hashing { digits, at: 0, hasher: blake3::Hasher::new() };
        let done = match self.local_file(location).await.map_err(Error::store("cannot read", &name))? {
            Some(file) => self.hash_file(file, hashing, size, name).await?,
            None => self.hash_ranges(location, hashing, size, name).await?,
        };
        let found = Digest::from(done.hasher.finalize());
        Ok(match (done.at == size, found == expected) {
            (false, _) => Err(format!("it has {} bytes, where {size} are expected", done.at)),
            (_, false) => Err(format!("its bytes are not those that were written: their digest is {found}, and its footer says {expected}")),
            _ => Ok(()),
        })
    }

    /// A directory's object as the file that it is, so that its bytes need not be copied twice.
    async fn local_file(&self, location: &Key) -> object_store::Result<Option<File>> {
        if !self.archive.is_local() {
            return Ok(None);
        }
        match self.archive.store().get_opts(location, GetOptions::default()).await?.payload {
            GetResultPayload::File(file, _) => Ok(Some(file)),
            _ => Ok(None),
        }
    }

    async fn hash_file(&self, mut file: File, mut hashing: Hashing, size: u64, name: String) -> Result<Hashing> {
        // one byte more than there should be, so that a longer file is seen to
        while hashing.at <= size {
            let before = hashing.at;
            let step = move || {
                let end = hashing.read_on(&mut file, BYTES_AT_A_TIME)?;
                Ok::<_, std::io::Error>((file, hashing, end))
            };
            let (returned, stepped, end) = self.workers.run(step).await?.map_err(Error::io("cannot read", name.as_ref()))?;
            (file, hashing) = (returned, stepped);
            self.bytes.fetch_add(hashing.at - before, Ordering::Relaxed);
            if end {
                break;
            }
        }
        Ok(hashing)
    }

    async fn hash_ranges(&self, location: &Key, mut hashing: Hashing, size: u64, name: String) -> Result<Hashing> {
        let starts = (0..size.div_ceil(RANGE)).map(|n| n * RANGE);
        let fetch = |from: u64| self.archive.for_reading().get_range(location, from..size.min(from + RANGE));
        let mut ranges = futures::stream::iter(starts).map(fetch).buffered(RANGES_AHEAD);
        while let Some(bytes) = ranges.try_next().await.map_err(Error::store("cannot read", &name))? {
            self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            let step = move || {
                hashing.take(&bytes);
                hashing
            };
            hashing = self.workers.run(step).await?;
        }
        Ok(hashing)
    }
}

/// The digest of an object, its own digits read as zeros.
struct Hashing {
    digits: u64,
    at: u64,
    hasher: blake3::Hasher,
}

impl Hashing {
    fn take(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len() as u64;
        let clamp = |at: u64| (at.clamp(self.at, end) - self.at) as usize;
        let (first, last) = (clamp(self.digits), clamp(self.digits + ledger::DIGEST_PLACEHOLDER.len() as u64));
        self.hasher.update(&bytes[..first]);
        self.hasher.update(&ledger::DIGEST_PLACEHOLDER[..last - first]);
        self.hasher.update(&bytes[last..]);
        self.at = end;
    }

    /// Takes up to `most` bytes of a file; true at its end.
    fn read_on(&mut self, file: &mut File, most: u64) -> std::io::Result<bool> {
        let until = self.at + most;
        let mut piece = vec![0; PIECE];
        while self.at < until {
            match file.read(&mut piece) {
                Ok(0) => return Ok(true),
                Ok(count) => self.take(&piece[..count]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }
}
