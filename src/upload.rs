//! Stage 9: the sink that an object is written into: bounded multipart uploads, the digest, and what came of it.
//!
//! The last write, which holds the footer, is kept back until the object's digest can be filled in. A small object is
//! one conditional PUT. After the first error, or a write that was cancelled, the sink is poisoned: nothing can make a
//! corrupt object visible. What is not completed must be aborted with [`Sink::abort`].
//!
//! An object takes its slot on condition that it is free. If it is not, the upload is lost, which is no error: see [`Lost`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use tokio::task::JoinSet;

use crate::buffers::Buffer;
use crate::error::{Error, Result};
use crate::etag::ETag;
use crate::fail_point;
use crate::ledger::{DIGEST_PLACEHOLDER, digest_position};
use crate::names::Digest;
use crate::object::Uploaded;
use crate::partition::{ObjectKey, UploadId};
use crate::random;
use crate::store::{Archive, Created, Way};

mod transfers;

pub use transfers::Transfers;

/// After so many parts of one size the size doubles.
const PARTS_OF_ONE_SIZE: usize = 1_500;

/// Nothing is made visible that was planned on an older listing, by a clock that runs while the machine sleeps. So a late request is at most so
/// old, and what frees a slot needs to wait no longer than that.
pub const MOST_AGE: Duration = Duration::from_secs(3_600);

/// Why an object did not become visible, though nothing failed: its partition must be planned anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Another writer has taken its slot.
    Taken,
    /// The server has dropped its parts.
    Gone,
    /// The listing that it was planned on is older than [`MOST_AGE`].
    Aged,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "another writer was faster",
            Self::Gone => "the server has dropped what was uploaded",
            Self::Aged => "it took so long that others may have written meanwhile",
        })
    }
}

/// What came of an upload.
#[derive(Debug)]
pub enum Outcome {
    /// It is visible.
    Visible(Uploaded),
    /// Nothing of it is.
    Lost(Lost),
}

/// When a partition was listed, by [`Archive::uptime`]. It can be listed again, and found unchanged, while an object is under way.
#[derive(Debug, Clone)]
pub struct Listed(Arc<AtomicU64>);

impl Listed {
    /// At this uptime.
    pub fn new(uptime: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(uptime.as_millis() as u64)))
    }

    /// Again at this uptime.
    pub fn renew(&self, uptime: Duration) {
        self.0.store(uptime.as_millis() as u64, Ordering::Relaxed);
    }

    /// How long ago that was at this uptime.
    pub fn age(&self, uptime: Duration) -> Duration {
        uptime.saturating_sub(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }
}

/// Where an object goes.
struct Destination {
    archive: Archive,
    key: ObjectKey,
    listed: Listed,
    /// Where a directory stages it.
    staged: Option<Key>,
    token: String,
}

/// Writes one object.
pub struct Sink {
    destination: Destination,
    multipart: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<Result<()>>,
    transfers: Arc<Transfers>,
    sent_parts: usize,
    /// The part that fills up.
    buffer: Option<Buffer>,
    held_back: Bytes,
    hasher: blake3::Hasher,
    size: u64,
    state: State,
}

enum State {
    Open,
    /// A write is under way; if it is found so again, that write was cancelled.
    Busy,
    Failed(Option<Error>),
    Done(Digest, Option<String>),
    Lost(Lost),
}

impl Destination {
    fn name(&self) -> String {
        self.archive.name_of(&self.key)
    }

    /// Where bytes go.
    fn target(&self) -> Key {
        self.staged.clone().unwrap_or_else(|| self.key.path())
    }

    /// Settles the key: where the store would overwrite, each upload has one of its own.
    async fn settle_key(&mut self, way: Way) -> Result<()> {
        if self.key.beside.is_none() && !self.archive.refuses(way).await? {
            self.key.beside = Some(UploadId(random::number()?));
        }
        Ok(())
    }

    /// True if it may become visible: its plan is not too old.
    fn is_fresh(&self) -> bool {
        self.listed.age(self.archive.uptime()) <= MOST_AGE
    }
}

impl Sink {
    /// Prepares an upload; nothing is sent before the first part is full. `transfers` bounds the parts of all sinks.
    pub fn new(archive: Archive, key: ObjectKey, listed: Listed, transfers: Arc<Transfers>) -> Result<Self> {
        let staged = archive.staged(&key.path())?;
        let destination = Destination { archive, key, listed, staged, token: random::token()? };
        Ok(Self {
            destination,
            multipart: None,
            parts: JoinSet::new(),
            transfers,
            sent_parts: 0,
            buffer: None,
            held_back: Bytes::new(),
            hasher: blake3::Hasher::new(),
            size: 0,
            state: State::Open,
        })
    }

    /// What came of it, once `complete` has succeeded.
    pub fn into_outcome(self) -> Result<Outcome> {
        match self.state {
            State::Done(digest, e_tag) => {
                let Destination { key, token, staged, .. } = self.destination;
                Ok(Outcome::Visible(Uploaded { key, size: self.size, digest, e_tag: ETag::of(e_tag.as_deref()), token: staged.is_none().then_some(token) }))
            }
            State::Lost(lost) => Ok(Outcome::Lost(lost)),
            State::Failed(Some(e)) => Err(e),
            _ => Err(Error::Internal(format!("{} was not completed", self.destination.name()))),
        }
    }

    /// Gives the upload up: nothing of it stays, visible or not. Gives the error that the sink met first, if any.
    pub async fn abort(mut self) -> Option<Error> {
        self.parts.shutdown().await;
        self.abort_parts(true).await;
        match self.state {
            State::Failed(e) => e,
            _ => None,
        }
    }

    /// Runs one step, and poisons the sink if it fails or never ends.
    async fn step<T>(&mut self, step: impl AsyncFnOnce(&mut Self) -> Result<T>) -> Result<T, ParquetError> {
        if !matches!(self.state, State::Open) {
            return Err(ParquetError::General("the upload has failed already".into()));
        }
        self.state = State::Busy;
        let done = step(self).await;
        match done {
            Ok(value) => {
                self.state = State::Open;
                Ok(value)
            }
            Err(e) => {
                let shown = e.to_string();
                self.state = State::Failed(Some(e));
                Err(ParquetError::General(shown))
            }
        }
    }

    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        let ready = std::mem::replace(&mut self.held_back, bytes);
        self.hasher.update(&ready);
        self.send(&ready).await
    }

    async fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let part_size = self.destination.archive.part_size() << (self.sent_parts / PARTS_OF_ONE_SIZE);
            let buffer = self.buffer.get_or_insert_with(|| self.transfers.buffers.take(part_size));
            let room = part_size.saturating_sub(buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            buffer.extend_from_slice(now);
            bytes = later;
            if buffer.len() >= part_size {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<()> {
        let Some(buffer) = self.buffer.take() else { return Ok(()) };
        let size = buffer.len() as u64;
        let payload = PutPayload::from(buffer.freeze());
        let slot = Arc::clone(&self.transfers.slots).acquire_owned().await.map_err(|_| Error::Interrupted)?;
        while let Some(done) = self.parts.try_join_next() {
            done??;
        }
        if self.multipart.is_none() {
            if self.destination.staged.is_none() {
                self.destination.settle_key(Way::Completion).await?;
            }
            let Destination { archive, token, .. } = &self.destination;
            let started = archive.store().put_multipart_opts(&self.destination.target(), archive.multipart_options(token)).await;
            self.multipart = Some(started.map_err(Error::store("cannot start the upload of", self.destination.name()))?);
        }
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        let part = multipart.put_part(payload);
        self.sent_parts += 1;
        let transfers = Arc::clone(&self.transfers);
        let name = self.destination.name();
        self.parts.spawn(async move {
            let _slot = slot;
            // before the request is made, and signed
            transfers.turn(size).await?;
            part.await.map_err(Error::store("cannot upload a part of", name))?;
            transfers.count(size);
            Ok(())
        });
        Ok(())
    }

    async fn publish(&mut self) -> Result<State> {
        fail_point::reach("finishing");
        let footer = std::mem::take(&mut self.held_back);
        let (digest, at) = sealed(std::mem::take(&mut self.hasher), &footer)?;
        // not copied: it can be long
        self.send(&footer[..at]).await?;
        self.send(digest.to_string().as_bytes()).await?;
        self.send(&footer[at + DIGEST_PLACEHOLDER.len()..]).await?;
        drop(footer);
        let created = if self.multipart.is_some() { self.finish_parts().await? } else { self.put().await? };
        Ok(match created {
            Ok(Created::Done(e_tag)) => {
                fail_point::reach("visible");
                State::Done(digest, e_tag)
            }
            Ok(Created::Taken) => State::Lost(Lost::Taken),
            Ok(Created::Gone) => State::Lost(Lost::Gone),
            Err(lost) => State::Lost(lost),
        })
    }

    /// The last part, and what makes all of them visible.
    async fn finish_parts(&mut self) -> Result<Result<Created, Lost>> {
        self.send_part().await?;
        while let Some(done) = self.parts.join_next().await {
            done??;
        }
        fail_point::reach("sent");
        if self.destination.staged.is_some() {
            self.destination.settle_key(Way::Put).await?;
        }
        let Some(mut multipart) = self.multipart.take() else { return Err(Error::Internal("no upload is open".into())) };
        let Destination { archive, key, staged, token, .. } = &self.destination;
        let done = match (self.destination.is_fresh(), staged) {
            (false, _) => Ok(Err(Lost::Aged)),
            (true, None) => archive.complete(&mut *multipart, &key.path(), token).await.map(Ok),
            (true, Some(_)) => multipart.complete().await.map(|_| Ok(Created::Done(None))).map_err(Error::store("cannot write", archive.name_of(key))),
        };
        if !matches!(done, Ok(Ok(Created::Done(_)))) {
            // an error is for the caller, who aborts
            self.multipart = Some(multipart);
            if let Ok(lost) = &done {
                self.abort_parts(!matches!(lost, Ok(Created::Gone))).await;
            }
            return done;
        }
        fail_point::reach("completed");
        match staged {
            Some(staged) => archive.publish(staged, &key.path()).await.map(Ok),
            None => done,
        }
    }

    /// An object that is smaller than a part.
    async fn put(&mut self) -> Result<Result<Created, Lost>> {
        let payload = PutPayload::from(self.buffer.take().map_or_else(Bytes::new, Buffer::freeze));
        self.transfers.turn(self.size).await?;
        self.destination.settle_key(Way::Put).await?;
        if !self.destination.is_fresh() {
            return Ok(Err(Lost::Aged));
        }
        let Destination { archive, key, staged, token, .. } = &self.destination;
        let created = match staged {
            Some(staged) => {
                archive.store().put(staged, payload).await.map_err(Error::store("cannot write", archive.name_of(key)))?;
                fail_point::reach("completed");
                archive.publish(staged, &key.path()).await?
            }
            None => archive.create(&key.path(), payload, token, || self.destination.is_fresh()).await?,
        };
        self.transfers.count(self.size);
        Ok(if created == Created::Gone { Err(Lost::Aged) } else { Ok(created) })
    }

    async fn abort_parts(&mut self, is_there: bool) {
        if let Some(mut multipart) = self.multipart.take()
            && let Err(e) = multipart.abort().await
            && is_there
        {
            let key = self.destination.name();
            tracing::warn!(key, "an upload could not be aborted; the bucket's lifecycle rule must remove it: {e}");
        }
    }
}

/// The digest of the whole file, and the place that the footer keeps for it.
fn sealed(mut hasher: blake3::Hasher, footer: &[u8]) -> Result<(Digest, usize)> {
    hasher.update(footer);
    let digest = Digest::from(hasher.finalize());
    let at = digest_position(footer, &DIGEST_PLACEHOLDER).ok_or_else(|| Error::Internal("the footer keeps no place for the digest".into()))?;
    Ok((digest, at))
}

impl AsyncFileWriter for Sink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        self.step(async move |sink| sink.take(bytes).await).boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            self.state = self.step(Self::publish).await?;
            Ok(())
        }
        .boxed()
    }
}
