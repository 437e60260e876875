//! The memory budget: what a host takes before its files are read, and gives back when its rows are in row groups.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::files::{Compression, Kind, SnapshotFile};

/// Permits are KiB.
const UNIT: u64 = 1 << 10;
/// What an open object takes: rows that wait for a row group, the one that is encoded, pages, and a part that fills up.
pub const OPEN_OBJECT: u64 = 40 << 20;
/// What the process takes before it reads anything, and parts that are being sent.
const FIXED: u64 = 40 << 20;
/// The most objects that are open at a time.
const MOST_OPEN: u64 = 6;
/// Pieces of one host that are under way, where it is not in memory as a whole: one is made while the one before is taken over.
pub const PIECES: usize = 2;
/// What any snapshot takes.
const SMALL: u64 = 256 << 10;

/// How a run's memory is shared out.
#[derive(Debug, Clone)]
pub struct Budget {
    permits: Arc<Semaphore>,
    total: u64,
    open_objects: usize,
}

/// A host's share, given back when the last of its rows is in a row group.
#[derive(Debug, Clone)]
pub struct Share {
    bytes: u64,
    #[allow(dead_code, reason = "held for its drop")]
    permits: Arc<OwnedSemaphorePermit>,
    /// How many pieces of a host may be under way.
    pieces: Arc<Semaphore>,
}

/// What a piece of a host holds until its rows are in row groups.
#[derive(Debug)]
pub struct Piece {
    #[allow(dead_code, reason = "held for its drop")]
    share: Share,
    #[allow(dead_code, reason = "held for its drop")]
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Bytes of it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits until a piece of the host may be made, of those that share the memory; one of a host that is in memory as a whole takes no more.
    pub async fn piece(&self, is_whole: bool) -> Piece {
        // never closed
        let permit = if is_whole { None } else { Arc::clone(&self.pieces).acquire_owned().await.ok() };
        Piece { permit, ..self.of_whole() }
    }

    /// A piece of a host that is in memory as a whole.
    pub fn of_whole(&self) -> Piece {
        Piece { share: self.clone(), permit: None }
    }
}

impl Budget {
    /// Shares `memory` bytes out: at least a third of it is for hosts.
    pub fn new(memory: u64) -> Self {
        let rest = memory.saturating_sub(FIXED);
        let open_objects = (rest * 2 / 3 / OPEN_OBJECT).clamp(1, MOST_OPEN);
        let total = rest.saturating_sub(open_objects * OPEN_OBJECT).max(memory / 4).max(UNIT);
        Self { permits: Arc::new(Semaphore::new((total / UNIT) as usize)), total, open_objects: open_objects as usize }
    }

    /// How many objects may be open at a time: the dates of a window.
    pub fn open_objects(&self) -> usize {
        self.open_objects
    }

    /// Bytes that can be taken at a time.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// A run's memory with which so many bytes can be taken.
    pub fn memory_for(bytes: u64) -> u64 {
        FIXED + MOST_OPEN * OPEN_OBJECT + bytes
    }

    /// Bytes of snapshots that one host may read at a time without running alone.
    pub fn bytes_of_host(&self) -> u64 {
        self.total * 2 / 5
    }

    /// Bytes of memory in which a worker may look at something before hosts have their shares.
    pub fn room_of_worker(&self) -> usize {
        (self.total / 16) as usize
    }

    /// Waits until `bytes` are free. More than there is at all counts as all: such a host runs alone, and makes do with that.
    ///
    /// Must be called in the order in which hosts are written, or those that wait to be written hold what the first one needs.
    pub async fn take(&self, bytes: u64) -> Share {
        let bytes = bytes.min(self.total);
        match Arc::clone(&self.permits).acquire_many_owned((bytes / UNIT).max(1) as u32).await {
            Ok(permit) => Share { bytes, permits: Arc::new(permit), pieces: Arc::new(Semaphore::new(PIECES)) },
            Err(_) => unreachable!("the semaphore is never closed"),
        }
    }
}

/// Bytes of memory that a snapshot takes from its first byte to its rows: its text, its values, its index, and its rows.
pub fn memory_of(file: &SnapshotFile) -> u64 {
    let size = file.size;
    if let Some(group) = file.row_group() {
        // their values twice: as they are collected, and as a snapshot
        return group.rows() * 10 + SMALL;
    }
    let taken = match (file.format.kind, file.format.compression) {
        // rows are slices of these; where values are few between NaN, they are copied
        (Kind::Binary, Compression::None) => size * 5 / 4,
        (Kind::Json, Compression::None) => size * 2,
        // its values, as a rule; where they are more, they go to a file
        (Kind::Binary, _) => size * 4,
        (Kind::Json, _) => size * 8,
    };
    taken + SMALL
}

/// Bytes of memory that archived rows take when they are read back, for a merge, if series are not short.
pub fn memory_of_rows(rows: u64) -> u64 {
    rows * 6 + SMALL
}
