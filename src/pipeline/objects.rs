//! One open partition: hosts come in order, row groups are encoded off the async threads, objects are completed.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError, mpsc};

use super::Task;
use super::handed::{Ended, Entered, HostDay, Message, Written};
use super::open::{AHEAD, Encoding, OpenObject, Target};
use crate::catalog;
use crate::data::Rows;
use crate::encode::{ArrowEncoder, Format, ObjectEncoder, RunsEncoder};
use crate::error::{Error, Result};
use crate::ledger::{Block, Footer};
use crate::names::Digest;
use crate::prove::Claim;
use crate::rows::RowGroups;
use crate::settings::Encoder;
use crate::telemetry::Contradiction;
use crate::upload::{Listed, Lost, Outcome, Sink};
use crate::workers::is_inline;

/// An object that holds so many sources is full, however small it is: ledgers are read as a whole.
const MOST_SOURCES: usize = 20_000;
/// So is one of so many row groups: what its footer will say of each takes some 15 KiB of memory until the object is complete. An object of typical
/// hosts has half as many.
const MOST_GROUPS: usize = 2_000;
/// A partition that was listed so long ago is listed again before more is done on that listing: a race that is lost is found out early, and what
/// takes long stays far below [`crate::upload::MOST_AGE`].
const FRESH: Duration = Duration::from_secs(120);

/// A partition's writer, and the way to it.
pub struct Writer {
    to: mpsc::Sender<Message>,
    task: tokio::task::JoinHandle<Ended>,
}

impl Writer {
    /// Starts a writer for the objects of one plan of one partition.
    pub fn start(target: Target) -> Result<Self> {
        let Target { context, partition, .. } = &target;
        let name = context.archive.name_of(partition);
        let format = Format::new(context.layout, partition.cluster.clone(), Arc::clone(&context.tools)).map_err(Error::parquet("cannot begin", name))?;
        let format = Arc::new(format);
        Ok(match context.encoder {
            Encoder::Runs => Self::with_encoder::<RunsEncoder<Sink>>(target, format),
            Encoder::Arrow => Self::with_encoder::<ArrowEncoder<Sink>>(target, format),
        })
    }

    #[expect(clippy::disallowed_methods, reason = "a writer that nobody waits for gives its uploads up before it ends")]
    fn with_encoder<E: ObjectEncoder<Sink>>(target: Target, format: Arc<Format>) -> Self {
        let (to, inbox) = mpsc::channel(1);
        let groups = RowGroups::new(target.context.layout.row_group_rows);
        let holdings = &target.holdings;
        let (slot, after, listed) = (holdings.next_slot(target.bucket), holdings.last(target.bucket), Listed::new(holdings.listed));
        let state = PartitionState::<E> { target, format, slot, after, listed, groups, open: None, written: Vec::new(), lost: None };
        Self { to, task: tokio::spawn(state.run(inbox)) }
    }

    /// Hands a message over, when the writer is ready for it. False if the writer has failed: see [`Self::join`].
    pub async fn send(&self, message: Message) -> bool {
        self.to.send(message).await.is_ok()
    }

    /// Waits for the end. If `Finish` was not sent, nothing more becomes visible.
    pub async fn join(self) -> Ended {
        drop(self.to);
        self.task.await.unwrap_or_else(|e| Ended { written: Vec::new(), end: Err(e.into()) })
    }
}

struct PartitionState<E: ObjectEncoder<Sink>> {
    target: Target,
    format: Arc<Format>,
    /// Of the next object.
    slot: u32,
    /// Digests of what stands before it.
    after: Vec<Digest>,
    /// When the partition was listed that this goes by.
    listed: Listed,
    groups: RowGroups,
    open: Option<OpenObject<E>>,
    written: Vec<Written>,
    /// Another writer was faster: what else comes is passed over.
    lost: Option<Lost>,
}

impl<E: ObjectEncoder<Sink>> PartitionState<E> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) -> Ended {
        let done = self.take_all(&mut inbox).await;
        // an object that is still open was not finished: nothing of it may stay
        let first = self.give_up().await;
        let end = match (first, done) {
            (Some(first), Err(_)) => Err(first),
            (_, done) => done.map(|()| self.lost),
        };
        Ended { written: self.written, end }
    }

    /// Gives up the object that is open. Gives the error that its sink met first, if any.
    async fn give_up(&mut self) -> Option<Error> {
        let encoder = self.open.take().and_then(|open| open.encoder)?;
        encoder.into_sink().abort().await
    }

    /// Lists the partition again if that was long ago. What has come since is not what was planned on: then the race is lost.
    async fn renew(&mut self) -> Result<()> {
        let archive = &self.target.context.archive;
        let now = archive.uptime();
        if self.lost.is_none() && self.listed.age(now) > FRESH {
            let slot = catalog::next_slot(archive, &self.target.partition, self.target.bucket).await?;
            self.lost = (slot != self.slot).then_some(Lost::Taken);
            self.listed.renew(now);
        }
        Ok(())
    }

    async fn take_all(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<()> {
        loop {
            // a writer that waits for hosts must not hold slots that other writers wait for
            let message = match self.open.as_mut().filter(|open| !open.encoding.is_empty()) {
                Some(open) => tokio::select! {
                    biased;
                    done = open.next_encoded() => {
                        let done = done?;
                        self.append(done).await?;
                        continue;
                    }
                    message = inbox.recv() => message,
                },
                None => inbox.recv().await,
            };
            match message {
                Some(Message::Host(day)) => self.take(day).await?,
                Some(Message::Finish) => return self.finish_object().await,
                None => return Err(Error::Interrupted),
            }
            if self.lost.is_some() {
                self.give_up().await;
            }
        }
    }

    async fn take(&mut self, HostDay { rows, sources, piece }: HostDay) -> Result<()> {
        if self.open.is_none() {
            self.renew().await?;
        }
        if self.lost.is_some() {
            return Ok(());
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(OpenObject::begin(&self.target, &self.format, self.slot, self.listed.clone())?),
        };
        let is_last = sources.is_some();
        for Entered { work, entry, tally } in sources.into_iter().flatten() {
            open.entries.push(entry);
            open.works.push(work);
            open.tally.add(&tally);
        }
        open.rows += rows.len() as u64;
        open.extent = match (open.extent, rows.extent()) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (a, b) => a.or(b),
        };
        let mut full = Vec::new();
        self.groups.push(&rows, |group| full.push(group));
        drop(rows);
        for group in full {
            self.encode(group).await?;
        }
        // until now its row groups kept the host's memory; those that are still being encoded are bounded by their slots
        drop(piece);
        let is_full = |open: &OpenObject<E>| self.target.replaces.is_empty() && self.holds_enough(open);
        let enough = is_last && self.open.as_ref().is_some_and(is_full);
        if enough { self.finish_object().await } else { Ok(()) }
    }

    fn holds_enough(&self, open: &OpenObject<E>) -> bool {
        open.entries.len() >= MOST_SOURCES || open.groups() >= MOST_GROUPS || open.expected_size() >= self.target.context.layout.object_size
    }

    /// Begins to encode a row group, when there is a slot for it.
    async fn encode(&mut self, group: Rows) -> Result<()> {
        while self.open.as_ref().is_some_and(|open| open.encoding.len() >= AHEAD) {
            self.append_next().await?;
        }
        let slots = Arc::clone(&self.target.context.row_groups);
        let slot = loop {
            let waiting = self.open.as_ref().is_some_and(|open| !open.encoding.is_empty());
            match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => break slot,
                Err(TryAcquireError::NoPermits) if waiting => self.append_next().await?,
                Err(_) => break slots.acquire_owned().await.map_err(|_| Error::Interrupted)?,
            }
        };
        let (context, format) = (Arc::clone(&self.target.context), Arc::clone(&self.format));
        let rows = group.len() as u64;
        let task = Task::spawn(async move { context.workers.run(move || E::encode(&format, group)).await });
        if let Some(open) = &mut self.open {
            open.encoding.push_back(Encoding { rows, task, slot });
        }
        Ok(())
    }

    async fn append_next(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let done = open.next_encoded().await?;
        self.append(done).await
    }

    async fn append(&mut self, (rows, encoded, slot): (u64, E::Encoded, OwnedSemaphorePermit)) -> Result<()> {
        crate::fail_point::reach("encoded");
        self.with_encoder(move |encoder| encoder.append(encoded)).await?;
        drop(slot);
        if let Some(open) = &mut self.open {
            let before = open.sizes.last().map_or(0, |(rows, _)| *rows);
            let bytes = open.encoder.as_ref().map_or(0, ObjectEncoder::bytes_written);
            open.sizes.push((before + rows, bytes));
        }
        Ok(())
    }

    /// Runs a step of the open object's encoder, off the async threads if it computes. If it fails, the object stays open, to be aborted.
    async fn with_encoder<F>(&mut self, step: F) -> Result<()>
    where
        F: FnOnce(&mut E) -> BoxFuture<'_, parquet::errors::Result<()>> + Send + 'static,
    {
        let Some(open) = &mut self.open else { return Ok(()) };
        let name = self.target.context.archive.name_of(&open.key);
        // asked before the encoder is taken: if no more work is, the encoder stays, to be aborted
        if self.target.context.is_stopped() {
            return Err(Error::Interrupted);
        }
        let Some(mut encoder) = open.encoder.take() else { return Err(Error::Internal(format!("{name} has lost its encoder"))) };
        let done = if E::APPEND_COMPUTES && !is_inline() {
            let runtime = Handle::current();
            let stepped = move || {
                let done = runtime.block_on(step(&mut encoder));
                (encoder, done)
            };
            let (returned, done) = self.target.context.workers.run(stepped).await?;
            open.encoder = Some(returned);
            done
        } else {
            let encoder = open.encoder.insert(encoder);
            step(encoder).await
        };
        done.map_err(Error::parquet("cannot write", name))
    }

    async fn finish_object(&mut self) -> Result<()> {
        if let Some(group) = self.groups.finish() {
            self.encode(group).await?;
        }
        while self.open.as_ref().is_some_and(|open| !open.encoding.is_empty()) {
            self.append_next().await?;
        }
        self.renew().await?;
        let Some(open) = self.open.as_ref().filter(|_| self.lost.is_none()) else { return Ok(()) };
        let buckets = self.target.buckets;
        let missing = self.target.holdings.missing(self.target.bucket);
        let ledger = Block::of(&open.entries);
        let OpenObject { key, rows, extent, entries, .. } = open;
        let footer = Footer {
            key,
            buckets,
            after: &self.after,
            missing: &missing,
            replaces: &self.target.replaces,
            rows: *rows,
            extent: *extent,
            entries,
            ledger: &ledger,
        };
        let metadata = footer.key_values();
        let Block { bytes, digest: ledger } = ledger;
        self.with_encoder(move |encoder| encoder.finish(bytes, metadata)).await?;
        let Some(OpenObject { rows, entries, works, tally, encoder: Some(encoder), .. }) = self.open.take() else { return Ok(()) };
        match encoder.into_sink().into_outcome()? {
            Outcome::Visible(object) => {
                tracing::debug!(key = %object.key, rows, bytes = object.size, digest = %object.digest, "object written");
                (self.slot, self.after) = (self.slot + 1, vec![object.digest]);
                let conflicts = Contradiction::of(&entries);
                let sources = entries.into_iter().map(|entry| (entry.path, entry.blake3)).collect();
                self.written.push(Written { claim: Claim { object, rows, ledger, sources }, works, tally, conflicts });
            }
            Outcome::Lost(lost) => self.lost = Some(lost),
        }
        Ok(())
    }
}
