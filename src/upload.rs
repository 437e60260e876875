//! Stage 9: the sink that an object is written into: bounded multipart uploads, the digest, and what came of it.
//!
//! The last write, which holds the footer, is kept back until the object's digest can be filled in. A small object is
//! one conditional PUT. After the first error, or a write that was cancelled, the sink is poisoned: nothing can make a
//! corrupt object visible. What is not completed must be aborted with [`Sink::abort`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use object_store::path::Path as Key;
use object_store::{Attribute, GetOptions, MultipartUpload, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::buffers::{Buffer, Buffers};
use crate::error::{Error, Result};
use crate::etag::ETag;
use crate::fail_point;
use crate::ledger::{DIGEST_PLACEHOLDER, digest_position};
use crate::names::Digest;
use crate::partition::ObjectKey;
use crate::store::{Archive, RateLimit, UPLOAD_TOKEN, random_token};
use crate::telemetry::Progress;

/// After so many parts of one size the size doubles.
const PARTS_OF_ONE_SIZE: usize = 1_500;

/// An object that is visible in the archive.
#[derive(Debug, Clone)]
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

/// How often, and how far apart, a PUT that met a conflict over nothing is tried.
const CONFLICT_TRIES: usize = 4;
const CONFLICT_PAUSE: Duration = Duration::from_secs(1);

/// What all uploads of a run share.
#[derive(Debug)]
pub struct Transfers {
    /// One slot for every part that is being sent. Closed: no further part is sent, and uploads fail.
    slots: Arc<Semaphore>,
    /// Never anything in it; closed with the slots, so that nobody waits for a turn.
    stopped: Semaphore,
    limit: Option<Arc<RateLimit>>,
    buffers: Buffers,
    /// Where bytes sent are counted.
    progress: Arc<Progress>,
}

impl Transfers {
    /// As many parts at a time, and as fast, as the archive's settings allow, from `buffers`.
    pub fn new(archive: &Archive, buffers: Buffers, progress: Arc<Progress>) -> Self {
        Self { slots: Arc::new(Semaphore::new(archive.parts())), stopped: Semaphore::new(0), limit: archive.limit().cloned(), buffers, progress }
    }

    /// Uploads fail with [`Error::Interrupted`] at their next step.
    pub fn stop(&self) {
        self.slots.close();
        self.stopped.close();
    }

    /// Waits until so many bytes may be sent.
    async fn turn(&self, bytes: u64) -> Result<()> {
        let Some(limit) = &self.limit else { return Ok(()) };
        tokio::select! {
            () = limit.turn(bytes) => Ok(()),
            _ = self.stopped.acquire() => Err(Error::Interrupted),
        }
    }

    fn count(&self, bytes: u64) {
        self.progress.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Where an object goes.
struct Destination {
    archive: Archive,
    key: ObjectKey,
    /// Where bytes go: the key itself, or the place where a directory stages it.
    target: Key,
    staged: bool,
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
}

impl Destination {
    fn name(&self) -> String {
        self.archive.name_of(&self.key)
    }

    /// One conditional PUT. A server that was writing the same key answers "conflict", which the store calls "exists" too.
    async fn put(&self, payload: PutPayload, size: u64) -> Result<Option<String>> {
        let mut tries = CONFLICT_TRIES;
        loop {
            let options =
                PutOptions { mode: PutMode::Create, attributes: self.archive.attributes(&self.token), tags: self.archive.tags(), ..Default::default() };
            let put = self.archive.store().put_opts(&self.target, payload.clone(), options).await;
            tries -= 1;
            if tries > 0 && matches!(put, Err(object_store::Error::AlreadyExists { .. })) && self.is_absent().await {
                tokio::time::sleep(CONFLICT_PAUSE).await;
                continue;
            }
            return self.resolve(size, put).await;
        }
    }

    async fn is_absent(&self) -> bool {
        matches!(self.archive.store().head(&self.target).await, Err(object_store::Error::NotFound { .. }))
    }

    /// Completion is conditional, but not every server knows that: so the key is looked at last.
    async fn check_unused(&self) -> Result<()> {
        if self.staged {
            return Ok(());
        }
        match self.archive.store().head(&self.target).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(Error::store("cannot look up", self.name())(e)),
            Ok(_) => Err(self.occupied()),
        }
    }

    /// An error of the request that makes the object visible may hide that it did. The token tells. Gives the ETag, where there was an answer.
    async fn resolve(&self, size: u64, done: object_store::Result<PutResult>) -> Result<Option<String>> {
        let e = match done {
            Ok(answer) => return Ok(answer.e_tag),
            Err(e) => e,
        };
        let head = self.archive.store().get_opts(&self.target, GetOptions { head: true, ..Default::default() }).await;
        let is_ours = |found: &object_store::GetResult| {
            let token = found.attributes.get(&Attribute::Metadata(UPLOAD_TOKEN.into()));
            found.meta.size == size && token.is_some_and(|t| **t == *self.token)
        };
        match head {
            Ok(found) if is_ours(&found) => {
                tracing::warn!(key = self.name(), "the answer to the upload was lost; the object is there and whole");
                Ok(None)
            }
            Ok(_) => Err(self.occupied()),
            Err(_) => Err(Error::store("cannot upload", self.name())(e)),
        }
    }

    fn refused(&self, e: object_store::Error) -> Error {
        match e {
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => self.occupied(),
            e => Error::store("cannot upload", self.name())(e),
        }
    }

    fn occupied(&self) -> Error {
        Error::Archive(format!("{} appeared in the archive during this run; does another machine archive the same tree? Nothing was overwritten", self.name()))
    }

    /// Makes a staged object visible, unless its key is taken.
    async fn unstage(&self) -> Result<()> {
        if !self.staged {
            return Ok(());
        }
        let renamed = self.archive.store().rename_if_not_exists(&self.target, &self.key.path()).await;
        if renamed.is_err() {
            let _ = self.archive.store().delete(&self.target).await;
        }
        renamed.map_err(|e| self.refused(e))
    }
}

impl Sink {
    /// Prepares an upload; nothing is sent before the first part is full. `transfers` bounds the parts of all sinks.
    pub fn new(archive: Archive, key: ObjectKey, transfers: Arc<Transfers>) -> Result<Self> {
        let path = key.path();
        let staged = archive.staged(&path)?;
        let destination = Destination { archive, key, staged: staged.is_some(), target: staged.unwrap_or(path), token: random_token()? };
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

    /// What became visible, once `complete` has succeeded.
    pub fn into_uploaded(self) -> Result<Uploaded> {
        match self.state {
            State::Done(digest, e_tag) => {
                let Destination { key, token, staged, .. } = self.destination;
                Ok(Uploaded { key, size: self.size, digest, e_tag: ETag::of(e_tag.as_deref()), token: (!staged).then_some(token) })
            }
            State::Failed(Some(e)) => Err(e),
            _ => Err(Error::Internal(format!("{} was not completed", self.destination.name()))),
        }
    }

    /// Gives the upload up: nothing of it stays, visible or not. Gives the error that the sink met first, if any.
    pub async fn abort(mut self) -> Option<Error> {
        self.parts.shutdown().await;
        if let Some(mut multipart) = self.multipart.take()
            && let Err(e) = multipart.abort().await
        {
            let key = self.destination.name();
            tracing::warn!(key, "an upload was left open, and the bucket's lifecycle rule must clear it: {e}");
        }
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
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => {
                let Destination { archive, token, .. } = &self.destination;
                let options = PutMultipartOptions { attributes: archive.attributes(token), tags: archive.tags(), ..Default::default() };
                let started = archive.store().put_multipart_opts(&self.destination.target, options).await;
                none.insert(started.map_err(Error::store("cannot start the upload of", self.destination.name()))?)
            }
        };
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

    async fn publish(&mut self) -> Result<(Digest, Option<String>)> {
        fail_point::reach("finishing");
        let footer = std::mem::take(&mut self.held_back);
        let (digest, footer) = sealed(std::mem::take(&mut self.hasher), footer)?;
        self.send(&footer).await?;
        let mut e_tag = None;
        if self.multipart.is_some() {
            self.send_part().await?;
            while let Some(done) = self.parts.join_next().await {
                done??;
            }
            fail_point::reach("sent");
            self.destination.check_unused().await?;
            if let Some(multipart) = &mut self.multipart {
                let completed = multipart.complete().await;
                e_tag = self.destination.resolve(self.size, completed).await?;
            }
        } else {
            let payload = PutPayload::from(self.buffer.take().map_or_else(Bytes::new, Buffer::freeze));
            self.transfers.turn(self.size).await?;
            e_tag = self.destination.put(payload, self.size).await?;
            self.transfers.count(self.size);
        }
        fail_point::reach("completed");
        self.multipart = None;
        self.destination.unstage().await?;
        fail_point::reach("visible");
        Ok((digest, e_tag))
    }
}

/// Puts the digest of the whole file in the place that the footer keeps for it.
fn sealed(mut hasher: blake3::Hasher, footer: Bytes) -> Result<(Digest, Vec<u8>)> {
    hasher.update(&footer);
    let digest = Digest::from(hasher.finalize());
    let mut footer = Vec::from(footer);
    let at = digest_position(&footer, &DIGEST_PLACEHOLDER).ok_or_else(|| Error::Internal("the footer keeps no place for the digest".into()))?;
    footer[at..at + DIGEST_PLACEHOLDER.len()].copy_from_slice(digest.to_string().as_bytes());
    Ok((digest, footer))
}

impl AsyncFileWriter for Sink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        self.step(async move |sink| sink.take(bytes).await).boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            let (digest, e_tag) = self.step(Self::publish).await?;
            self.state = State::Done(digest, e_tag);
            Ok(())
        }
        .boxed()
    }
}
