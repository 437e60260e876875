//! What uploads share: slots for the parts that are sent at a time, the pace, and buffers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Semaphore;

use crate::buffers::Buffers;
use crate::error::{Error, Result};
use crate::store::{Archive, RateLimit};
use crate::telemetry::Progress;

/// What all uploads of a run share.
#[derive(Debug)]
pub struct Transfers {
    /// One slot for every part that is being sent. Closed: no further part is sent, and uploads fail.
    pub(super) slots: Arc<Semaphore>,
    /// Never anything in it; closed with the slots, so that nobody waits for a turn.
    stopped: Semaphore,
    limit: Option<Arc<RateLimit>>,
    pub(super) buffers: Buffers,
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
    pub(super) async fn turn(&self, bytes: u64) -> Result<()> {
        let Some(limit) = &self.limit else { return Ok(()) };
        tokio::select! {
            biased;
            () = limit.turn(bytes) => Ok(()),
            _ = self.stopped.acquire() => Err(Error::Interrupted),
        }
    }

    pub(super) fn count(&self, bytes: u64) {
        self.progress.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }
}
