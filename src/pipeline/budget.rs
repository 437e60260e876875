//! The memory budget: what a host takes before its files are read, and gives back when its rows are in row groups.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::files::{Compression, Kind};

/// Permits are KiB.
const UNIT: u64 = 1 << 10;
/// What an open object takes: rows that wait for a row group, the one that is encoded, pages, and a part that fills up.
const OPEN_OBJECT: u64 = 40 << 20;
/// What the process takes before it reads anything, and parts that are being sent.
const FIXED: u64 = 40 << 20;
/// The most objects that are open at a time.
const MOST_OPEN: u64 = 6;

/// How a run's memory is shared out.
#[derive(Debug, Clone)]
pub struct Budget {
    permits: Arc<Semaphore>,
    total: u64,
    open_objects: usize,
}

/// A host's share, given back when the last of its rows is in a row group.
#[derive(Debug, Clone)]
pub struct Share(#[allow(dead_code, reason = "held for its drop")] Arc<OwnedSemaphorePermit>);

impl Budget {
    /// Shares `memory` bytes out: at least a third of it is for hosts.
    pub fn new(memory: u64) -> Self {
        let rest = memory.saturating_sub(FIXED);
        let open_objects = (rest * 2 / 3 / OPEN_OBJECT).clamp(1, MOST_OPEN);
        let total = rest.saturating_sub(open_objects * OPEN_OBJECT).max(8 << 20);
        Self { permits: Arc::new(Semaphore::new((total / UNIT) as usize)), total, open_objects: open_objects as usize }
    }

    /// How many objects may be open at a time: the dates of a window.
    pub fn open_objects(&self) -> usize {
        self.open_objects
    }

    /// Bytes of snapshots that one host may read at a time without running alone.
    pub fn bytes_of_host(&self) -> u64 {
        self.total * 2 / 5
    }

    /// Waits until `bytes` are free. More than there is at all counts as all: such a host runs alone.
    ///
    /// Must be called in the order in which hosts are written, or those that wait to be written hold what the first one needs.
    pub async fn take(&self, bytes: u64) -> Share {
        let units = (bytes.min(self.total) / UNIT).max(1) as u32;
        match Arc::clone(&self.permits).acquire_many_owned(units).await {
            Ok(permit) => Share(Arc::new(permit)),
            Err(_) => unreachable!("the semaphore is never closed"),
        }
    }
}

/// Bytes of memory that a snapshot takes from its first byte to its rows: its text, its values, and its rows.
pub fn memory_of(kind: Kind, compression: Compression, on_disk: u64, decompressed: u64) -> u64 {
    let packed = if compression == Compression::None { 0 } else { on_disk };
    // rows are slices of these, unless many values are NaN
    let decoded = match kind {
        Kind::Binary => decompressed * 3 / 2,
        Kind::Json => decompressed * 2,
    };
    packed + decoded
}
