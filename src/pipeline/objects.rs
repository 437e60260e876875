//! One open partition: hosts come in order, row groups are encoded off the async threads, objects are completed.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Context;
use super::budget::Share;
use crate::data::Rows;
use crate::encode::{ObjectEncoder, ReferenceEncoder};
use crate::error::{Error, Result};
use crate::ledger::{Entry, Footer};
use crate::partition::{ObjectKey, Partition, PlanId};
use crate::rows::RowGroups;
use crate::upload::{Sink, Uploaded};

/// All that one host gives to one partition.
pub struct HostDay {
    /// Its rows.
    pub rows: Rows,
    /// Its sources.
    pub entries: Vec<Entry>,
    /// Given back when the rows are taken over.
    pub share: Share,
}

/// What a writer is told. Without `Finish` at the end it aborts.
pub enum Message {
    /// The next host.
    Host(HostDay),
    /// That was the last one.
    Finish,
}

/// A partition's writer, and the way to it.
pub struct Writer {
    to: mpsc::Sender<Message>,
    task: tokio::task::JoinHandle<Result<Vec<Written>>>,
}

/// An object that is visible, and what it holds.
pub struct Written {
    /// The object.
    pub object: Uploaded,
    /// Its rows.
    pub rows: u64,
}

impl Writer {
    /// Starts a writer for the objects of one plan of one partition.
    pub fn start(context: Arc<Context>, partition: Partition, plan: PlanId, from: i64) -> Self {
        let (to, inbox) = mpsc::channel(1);
        let groups = RowGroups::new(context.layout.row_group_rows);
        let state = PartitionState { context, partition, plan, from, part: 0, groups, open: None, written: Vec::new() };
        Self { to, task: tokio::spawn(state.run(inbox)) }
    }

    /// Hands a message over, when the writer is ready for it. False if the writer has failed: see [`Self::join`].
    pub async fn send(&self, message: Message) -> bool {
        self.to.send(message).await.is_ok()
    }

    /// Waits for the end. If `Finish` was not sent, nothing becomes visible.
    pub async fn join(self) -> Result<Vec<Written>> {
        drop(self.to);
        self.task.await?
    }
}

struct PartitionState {
    context: Arc<Context>,
    partition: Partition,
    plan: PlanId,
    from: i64,
    part: u32,
    groups: RowGroups,
    open: Option<OpenObject>,
    written: Vec<Written>,
}

struct OpenObject {
    key: ObjectKey,
    encoder: ReferenceEncoder<Sink>,
    entries: Vec<Entry>,
    rows: u64,
    extent: Option<(i64, i64)>,
}

impl PartitionState {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) -> Result<Vec<Written>> {
        let done = self.take_all(&mut inbox).await;
        // an object that is still open was not finished: nothing of it may stay
        if let Some(open) = self.open.take() {
            let first = open.encoder.into_sink().abort().await;
            return match (first, done) {
                (Some(first), Err(_)) => Err(first),
                (_, done) => done.map(|()| self.written),
            };
        }
        done.map(|()| self.written)
    }

    async fn take_all(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<()> {
        while let Some(message) = inbox.recv().await {
            match message {
                Message::Host(day) => self.take(day).await?,
                Message::Finish => return self.finish_object().await,
            }
        }
        Err(Error::Interrupted)
    }

    async fn take(&mut self, HostDay { rows, entries, share }: HostDay) -> Result<()> {
        if self.open.is_none() {
            self.open = Some(self.open_object()?);
        }
        if let Some(open) = &mut self.open {
            open.entries.extend(entries);
            open.rows += rows.len() as u64;
            open.extent = match (open.extent, rows.extent()) {
                (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
                (a, b) => a.or(b),
            };
        }
        let mut full = Vec::new();
        self.groups.push(&rows, |group| full.push(group));
        drop((rows, share));
        for group in full {
            self.encode(group).await?;
        }
        // a host stays in one object
        let size = self.open.as_ref().map_or(0, |open| open.encoder.bytes_written());
        if size >= self.context.layout.object_size { self.finish_object().await } else { Ok(()) }
    }

    fn open_object(&self) -> Result<OpenObject> {
        let key = ObjectKey { partition: self.partition.clone(), from: self.from, plan: self.plan, part: self.part };
        let sink = Sink::new(self.context.archive.clone(), key.clone(), Arc::clone(&self.context.transfers))?;
        let encoder = ReferenceEncoder::new(sink, &self.context.layout, &self.partition.cluster)
            .map_err(Error::parquet("cannot begin", self.context.archive.name_of(&key)))?;
        Ok(OpenObject { key, encoder, entries: Vec::new(), rows: 0, extent: None })
    }

    /// Runs a step of the open object's encoder off the async threads. If it fails, the object stays open, to be aborted.
    async fn with_encoder<F>(&mut self, step: F) -> Result<()>
    where
        F: FnOnce(&mut OpenObject, &Handle) -> parquet::errors::Result<()> + Send + 'static,
    {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let runtime = Handle::current();
        let (open, done) = self
            .context
            .compute(move || {
                let done = step(&mut open, &runtime);
                (open, done)
            })
            .await?;
        let name = self.context.archive.name_of(&open.key);
        self.open = Some(open);
        done.map_err(Error::parquet("cannot write", name))
    }

    async fn encode(&mut self, group: Rows) -> Result<()> {
        self.with_encoder(move |open, runtime| runtime.block_on(open.encoder.row_group(&group))).await
    }

    async fn finish_object(&mut self) -> Result<()> {
        if let Some(group) = self.groups.finish() {
            self.encode(group).await?;
        }
        self.with_encoder(|open, runtime| {
            let footer = Footer { key: &open.key, rows: open.rows, extent: open.extent, entries: &open.entries };
            let metadata = footer.key_values();
            runtime.block_on(open.encoder.finish(metadata))
        })
        .await?;
        if let Some(open) = self.open.take() {
            let rows = open.rows;
            let object = open.encoder.into_sink().into_uploaded()?;
            tracing::debug!(key = %object.key, rows, bytes = object.size, digest = %object.digest, "object written");
            self.written.push(Written { object, rows });
            self.part += 1;
        }
        Ok(())
    }
}
