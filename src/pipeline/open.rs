//! An object under way: its row groups, and how large it will be.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{Context, Task};
use crate::data::Tally;
use crate::encode::{Format, ObjectEncoder};
use crate::error::{Error, Result};
use crate::ledger::{Entry, Holdings, Member};
use crate::partition::{Bucket, Buckets, ObjectKey, Partition};
use crate::upload::{Listed, Sink};

/// Row groups of one object that are encoded ahead of the one that is appended, at most; the same for any number of workers.
pub const AHEAD: usize = 8;
/// Bytes that a row takes, as long as nothing of an object is known.
const BYTES_PER_ROW: f64 = 2.0;

/// What a writer works for.
pub struct Target {
    /// The run.
    pub context: Arc<Context>,
    /// Where its objects go.
    pub partition: Partition,
    /// In which sequence.
    pub bucket: Bucket,
    /// Sequences of the archive.
    pub buckets: Buckets,
    /// What the archive holds of it, which its objects are planned on.
    pub holdings: Arc<Holdings>,
    /// What one object is to replace, however large it gets; none: there can be several, of the size that was asked for.
    pub replaces: Vec<Member>,
}

/// An object that takes hosts.
pub struct OpenObject<E: ObjectEncoder<Sink>> {
    /// Its key, until the store settles it.
    pub key: ObjectKey,
    /// None while it appends elsewhere.
    pub encoder: Option<E>,
    /// Row groups that are being encoded, in order.
    pub encoding: VecDeque<Encoding<E::Encoded>>,
    /// (rows, bytes) of the object after each row group that was appended.
    pub sizes: Vec<(u64, u64)>,
    /// Its ledger.
    pub entries: Vec<Entry>,
    /// Its sources, by index in the plan's work.
    pub works: Vec<usize>,
    /// What became of their samples.
    pub tally: Tally,
    /// Its rows.
    pub rows: u64,
    /// Times of its first and last row.
    pub extent: Option<(i64, i64)>,
}

/// A row group under way, and its slot among all that are.
pub struct Encoding<T> {
    /// Its rows.
    pub rows: u64,
    /// Encodes it.
    pub task: Task<Result<parquet::errors::Result<T>>>,
    /// Given back when it is appended.
    pub slot: OwnedSemaphorePermit,
}

impl<E: ObjectEncoder<Sink>> OpenObject<E> {
    /// Begins the object of a slot, in a partition that was listed then.
    pub fn begin(target: &Target, format: &Format, slot: u32, listed: Listed) -> Result<Self> {
        let Target { context, partition, bucket, .. } = target;
        let key = ObjectKey { partition: partition.clone(), bucket: *bucket, slot, beside: None };
        let sink = Sink::new(context.archive.clone(), key.clone(), listed, Arc::clone(&context.transfers))?;
        let encoder = E::begin(sink, format).map_err(Error::parquet("cannot begin", context.archive.name_of(&key)))?;
        Ok(Self {
            key,
            encoder: Some(encoder),
            encoding: VecDeque::new(),
            sizes: Vec::new(),
            entries: Vec::new(),
            works: Vec::new(),
            tally: Tally::default(),
            rows: 0,
            extent: None,
        })
    }

    /// Waits for the row group that is to be appended next; cancelled, it can be asked for again.
    pub async fn next_encoded(&mut self) -> Result<(u64, E::Encoded, OwnedSemaphorePermit)> {
        let Some(first) = self.encoding.front_mut() else { return std::future::pending().await };
        let encoded = (&mut first.task).await??;
        let encoded = encoded.map_err(Error::parquet("cannot encode", &self.key))?;
        match self.encoding.pop_front() {
            Some(Encoding { rows, slot, .. }) => Ok((rows, encoded, slot)),
            None => Err(Error::Internal("a row group is gone".into())),
        }
    }

    /// Row groups so far, those that are being encoded among them.
    pub fn groups(&self) -> usize {
        self.sizes.len() + self.encoding.len()
    }

    /// What the object's size will be with all rows so far. It goes by row groups that are appended in any case, however
    /// many workers there are, so that the same input gives the same objects.
    pub fn expected_size(&self) -> u64 {
        let (rows, bytes) = self.groups().checked_sub(AHEAD + 1).and_then(|known| self.sizes.get(known)).copied().unwrap_or((0, 0));
        let per_row = if rows > 0 { bytes as f64 / rows as f64 } else { BYTES_PER_ROW };
        bytes + ((self.rows - rows) as f64 * per_row) as u64
    }
}
