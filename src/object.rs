//! One object of the archive as it lies there: its footer, its ledger, and the digest of its bytes, read anew.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use tokio::sync::SemaphorePermit;

use crate::error::{Error, Result};
use crate::etag::ETag;
use crate::ledger::{self, NotOurs, ObjectLedger, Trouble};
use crate::names::Digest;
use crate::partition::ObjectKey;
use crate::schema::{COLUMNS, footer};
use crate::store::Archive;
use crate::workers::Workers;

pub mod trouble;

/// Bytes fetched from an object's end at first: footer and ledger of most objects. Of large objects it is a part of their bytes, as footers grow with
/// rows, but no more than is fetched at once in any case.
const FOOTER_GUESS: u64 = 128 << 10;
const FOOTER_SHARE: u64 = 128;
const MOST_GUESSED: u64 = 2 << 20;
/// Bytes of one request where an object is read in full, and how many are fetched ahead of the one that is hashed.
const RANGE: u64 = 8 << 20;
const RANGES_AHEAD: usize = 2;
/// Local files are hashed in pieces that stay in the processor's cache, and so many bytes before the run is asked again whether it is to stop.
const PIECE: usize = 256 << 10;
const BYTES_AT_A_TIME: u64 = 64 << 20;

/// An object that was looked at; [`NotOurs`] where it cannot be used. An error is none of this object: it ends the run.
pub type Found<T> = Result<Result<T, NotOurs>>;

/// Reads the ledger of an object that was listed.
pub async fn ledger(archive: &Archive, listed: &ObjectMeta) -> Found<ObjectLedger> {
    Ok(opened(archive, listed).await?.map(|(ledger, _)| ledger))
}

/// The same, with all that the footer says of rows.
pub async fn opened(archive: &Archive, listed: &ObjectMeta) -> Found<(ObjectLedger, ParquetMetaData)> {
    let ObjectMeta { location, size, e_tag, .. } = listed;
    let ours = ObjectKey::parse(location);
    // held until the ledger is read
    let mut turn = None;
    let read = async {
        let tail = Tail::fetch(archive, location, *size, &mut turn).await?;
        let metadata = ParquetMetaDataReader::decode_metadata(tail.footer())?;
        Ok((tail, metadata))
    };
    let (tail, metadata) = match read.await {
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
    let ledger = match tail.before_footer(archive, location, described.ledger_size, &mut turn).await {
        Ok(ledger) => ledger,
        Err(e) => return Ok(Err(trouble::of_reader(archive, location, "cannot read", e).await?)),
    };
    Ok(described.with_ledger(&ledger).map(|ledger| (ObjectLedger { e_tag: ETag::of(e_tag.as_deref()), ..ledger }, metadata)))
}

/// Reads an object's footer.
pub async fn footer(archive: &Archive, location: &Key, size: u64) -> Result<ParquetMetaData, ParquetError> {
    ParquetMetaDataReader::decode_metadata(Tail::fetch(archive, location, size, &mut None).await?.footer())
}

/// The same, with its page index.
pub async fn footer_and_pages(archive: &Archive, location: &Key, size: u64) -> Result<ParquetMetaData, ParquetError> {
    let metadata = footer(archive, location, size).await?;
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata).with_page_index_policy(PageIndexPolicy::Required);
    reader.load_page_index(Fetch { archive, location, turn: &mut None }).await?;
    reader.finish()
}

/// The end of an object, from some byte before its footer on.
struct Tail {
    bytes: Bytes,
    /// Where in it the footer is.
    footer: Range<usize>,
    /// Where it begins in the object.
    at: u64,
}

impl Tail {
    /// Fetches so much that the footer is in it, and the ledger as a rule: at once, if both take as little as they mostly do.
    async fn fetch<'a>(archive: &'a Archive, location: &Key, size: u64, turn: &mut Option<SemaphorePermit<'a>>) -> Result<Self, ParquetError> {
        let short = |bytes: u64| ParquetError::General(format!("it has {bytes} bytes"));
        if size < FOOTER_SIZE as u64 {
            return Err(short(size));
        }
        let mut fetch = Fetch { archive, location, turn };
        let mut at = size - size.min(FOOTER_GUESS.max(size / FOOTER_SHARE).min(MOST_GUESSED));
        let mut bytes = fetch.fetch(at..size).await?;
        let trailer = bytes.last_chunk::<FOOTER_SIZE>().filter(|_| bytes.len() as u64 == size - at);
        // what was replaced by something shorter meanwhile
        let trailer = trailer.ok_or_else(|| short(at + bytes.len() as u64))?;
        let length = FooterTail::try_from(*trailer)?.metadata_length() + FOOTER_SIZE;
        if length as u64 > size {
            return Err(ParquetError::General(format!("its footer is said to have {length} bytes, and all of it {size}")));
        }
        if length > bytes.len() {
            let from = (size - length as u64).saturating_sub(FOOTER_GUESS);
            let before = fetch.fetch(from..at).await?;
            (at, bytes) = (from, [before, bytes].concat().into());
        }
        let begin = bytes.len().checked_sub(length).ok_or_else(|| short(at + bytes.len() as u64))?;
        Ok(Self { footer: begin..bytes.len() - FOOTER_SIZE, bytes, at })
    }

    fn footer(&self) -> &[u8] {
        &self.bytes[self.footer.clone()]
    }

    /// So many bytes that end where the footer begins.
    async fn before_footer<'a>(&self, archive: &'a Archive, location: &Key, count: u64, turn: &mut Option<SemaphorePermit<'a>>) -> Result<Bytes, ParquetError> {
        let end = self.at + self.footer.start as u64;
        let from = end.checked_sub(count).ok_or_else(|| ParquetError::General(format!("its ledger is said to have {count} bytes")))?;
        if from >= self.at {
            return Ok(self.bytes.slice((from - self.at) as usize..self.footer.start));
        }
        Fetch { archive, location, turn }.fetch(from..end).await
    }
}

/// Ranges of one object.
struct Fetch<'a, 'b> {
    archive: &'a Archive,
    location: &'b Key,
    /// Taken where the footer is large.
    turn: &'b mut Option<SemaphorePermit<'a>>,
}

impl MetadataFetch for Fetch<'_, '_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let store = self.archive.for_reading();
            let size = range.end - range.start;
            if size <= FOOTER_GUESS {
                return store.get_range(self.location, range).await.map_err(external);
            }
            if self.turn.is_none() {
                *self.turn = self.archive.turn_of_large_footer().await;
            }
            if !self.archive.is_local() {
                return store.get_range(self.location, range).await.map_err(external);
            }
            // piece by piece: glibc's allocator keeps what each of the threads that read files held at once
            let mut footer = Vec::with_capacity(size as usize);
            for from in range.clone().step_by(FOOTER_GUESS as usize) {
                let piece = from..range.end.min(from + FOOTER_GUESS);
                footer.extend_from_slice(&store.get_range(self.location, piece).await.map_err(external)?);
            }
            Ok(footer.into())
        }
        .boxed()
    }
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
        let digits = match self.digits_of(location, size, expected).await {
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

    /// Where the digits of the digest stand, by the footer as it is now.
    async fn digits_of(&self, location: &Key, size: u64, expected: Digest) -> Result<Option<u64>, ParquetError> {
        let tail = Tail::fetch(&self.archive, location, size, &mut None).await?;
        let mut digits = ledger::DIGEST_PLACEHOLDER;
        digits.copy_from_slice(expected.to_string().as_bytes());
        Ok(ledger::digest_position(tail.footer(), &digits).map(|at| tail.at + (tail.footer.start + at) as u64))
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
