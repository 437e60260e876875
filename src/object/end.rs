//! The end of an object: its footer, and what stands before it. One request brings as much as most readers want.

use std::ops::Range;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::{ParquetError, Result};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use tokio::sync::SemaphorePermit;

use super::external;
use crate::ledger;
use crate::names::Digest;
use crate::store::Archive;

/// Bytes fetched from an object's end at first: footer and ledger of most objects. Of large objects it is a part of their bytes, as footers grow with
/// rows, but no more than is fetched at once in any case.
const FIRST: u64 = 128 << 10;
const SHARE: u64 = 128;
const MOST: u64 = 2 << 20;

/// The end of one object, as far as it was fetched.
pub struct End<'a> {
    archive: &'a Archive,
    location: &'a Key,
    /// From `at` on.
    bytes: Bytes,
    at: u64,
    /// Where the footer begins.
    footer: u64,
    /// Taken where much is fetched: few may have that in memory at a time.
    turn: Option<SemaphorePermit<'a>>,
}

/// Reads an object's footer.
pub async fn footer(archive: &Archive, location: &Key, size: u64) -> Result<ParquetMetaData> {
    End::fetch(archive, location, size).await?.metadata().await
}

/// The same, with its page index.
pub async fn footer_and_pages(archive: &Archive, location: &Key, size: u64) -> Result<ParquetMetaData> {
    let mut end = End::fetch(archive, location, size).await?;
    let mut reader = ParquetMetaDataReader::new_with_metadata(end.metadata().await?).with_page_index_policy(PageIndexPolicy::Required);
    reader.load_page_index(end).await?;
    reader.finish()
}

/// Where the digits of an object's digest stand in it; None if its footer does not hold them. They are near the end of a footer of any length.
pub async fn digits_of(archive: &Archive, location: &Key, size: u64, digest: Digest) -> Result<Option<u64>> {
    End::fetch_last(archive, location, size, FIRST).await?.digits_of(digest).await
}

impl<'a> End<'a> {
    /// Fetches so much that the footer and the ledger are in it, if both take as little as they mostly do.
    pub async fn fetch(archive: &'a Archive, location: &'a Key, size: u64) -> Result<Self> {
        Self::fetch_last(archive, location, size, FIRST.max(size / SHARE).min(MOST)).await
    }

    async fn fetch_last(archive: &'a Archive, location: &'a Key, size: u64, count: u64) -> Result<Self> {
        let mut end = Self { archive, location, bytes: Bytes::new(), at: size, footer: size, turn: None };
        if size >= FOOTER_SIZE as u64 {
            end.reach(size.saturating_sub(count)).await?;
        }
        let trailer = end.bytes.last_chunk::<FOOTER_SIZE>().ok_or_else(|| too_short(size))?;
        let length = FooterTail::try_from(*trailer)?.metadata_length() + FOOTER_SIZE;
        let begin = size.checked_sub(length as u64);
        end.footer = begin.ok_or_else(|| ParquetError::General(format!("its footer is said to have {length} bytes, and all of it {size}")))?;
        Ok(end)
    }

    /// Byte offset of the footer.
    pub fn footer_at(&self) -> u64 {
        self.footer
    }

    /// What the footer says.
    pub async fn metadata(&mut self) -> Result<ParquetMetaData> {
        if self.footer < self.at {
            // with most ledgers
            self.reach(self.footer.saturating_sub(FIRST)).await?;
        }
        let footer = &self.bytes[(self.footer - self.at) as usize..self.bytes.len() - FOOTER_SIZE];
        super::without_panic(async { ParquetMetaDataReader::decode_metadata(footer) }).await
    }

    /// The ledger: so many bytes that end where the footer begins.
    pub async fn ledger(&mut self, count: u64) -> Result<Bytes> {
        let from = self.footer.checked_sub(count).ok_or_else(|| ParquetError::General(format!("its ledger is said to have {count} bytes")))?;
        if from < self.at {
            return self.fetch(from..self.footer).await;
        }
        Ok(self.bytes.slice((from - self.at) as usize..(self.footer - self.at) as usize))
    }

    async fn digits_of(&mut self, digest: Digest) -> Result<Option<u64>> {
        let mut digits = ledger::DIGEST_PLACEHOLDER;
        digits.copy_from_slice(digest.to_string().as_bytes());
        loop {
            let from = self.footer.max(self.at);
            if let Some(place) = ledger::digest_position(&self.bytes[(from - self.at) as usize..], &digits) {
                return Ok(Some(from + place as u64));
            }
            if from == self.footer {
                return Ok(None);
            }
            self.reach(self.footer).await?;
        }
    }

    /// Fetches what is missing from a place on.
    async fn reach(&mut self, from: u64) -> Result<()> {
        let before = self.fetch(from..self.at).await?;
        // it was replaced by something shorter meanwhile
        if before.len() as u64 != self.at - from {
            return Err(too_short(from + before.len() as u64));
        }
        self.bytes = if self.bytes.is_empty() { before } else { [before, self.bytes.clone()].concat().into() };
        self.at = from;
        Ok(())
    }
}

fn too_short(size: u64) -> ParquetError {
    ParquetError::General(format!("it has {size} bytes"))
}

impl MetadataFetch for End<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let store = self.archive.for_reading();
            let size = range.end - range.start;
            if size <= FIRST {
                return store.get_range(self.location, range).await.map_err(external);
            }
            if self.turn.is_none() {
                self.turn = self.archive.turn_of_large_footer().await;
            }
            if !self.archive.is_local() {
                return store.get_range(self.location, range).await.map_err(external);
            }
            // piece by piece: glibc's allocator keeps what each of the threads that read files held at once
            let mut bytes = Vec::with_capacity(size as usize);
            for from in range.clone().step_by(FIRST as usize) {
                let piece = from..range.end.min(from + FIRST);
                bytes.extend_from_slice(&store.get_range(self.location, piece).await.map_err(external)?);
            }
            Ok(bytes.into())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::footer::DIGEST;

    /// How many bytes are fetched to find the digits in a footer that has so many bytes before and behind them.
    async fn fetched(before: usize, behind: usize) -> usize {
        let digest = Digest::of(b"an object");
        let pair = [DIGEST.as_bytes(), &[0x18, 64], digest.to_string().as_bytes()].concat();
        let length = before + pair.len() + behind;
        let trailer = [&(length as u32).to_le_bytes(), &b"PAR1"[..]].concat();
        let pages = 20 << 20;
        let bytes = [&vec![1; pages + before], &pair[..], &vec![2; behind], &trailer].concat();
        let (archive, key, size) = (Archive::in_memory(), Key::from("o.parquet"), bytes.len() as u64);
        archive.store().put(&key, bytes.into()).await.expect("written");
        let mut end = End::fetch_last(&archive, &key, size, FIRST).await.expect("fetched");
        let place = end.digits_of(digest).await.expect("looked for");
        assert_eq!(place, Some((pages + before + pair.len() - 64) as u64));
        let fetched = end.bytes.len();
        assert_eq!(end.digits_of(Digest::of(b"another one")).await.expect("looked for"), None);
        assert_eq!(end.bytes.len(), fetched.max(length + FOOTER_SIZE), "it is none after all of the footer was looked at");
        fetched
    }

    #[tokio::test]
    async fn where_the_digest_stands_is_found_without_the_ledger() {
        assert_eq!(fetched(1_000, 100).await, FIRST as usize);
        assert_eq!(fetched(1 << 20, 100).await, FIRST as usize, "row groups stand before it");
        let pair = DIGEST.len() + 2 + 64;
        assert_eq!(fetched(1_000, 1 << 20).await, 1_000 + pair + (1 << 20) + FOOTER_SIZE, "the footer, and no more");
    }
}
