//! Signals that ask the process to stop: from the first one on, they do not just kill it.
//!
//! The first one gives up what is under way, within [`GRACE`]; the second one waits for nothing.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a run that is to stop may take to abort its uploads.
pub const GRACE: Duration = Duration::from_secs(5);

/// SIGTERM and SIGINT.
pub struct Signals(Option<(Signal, Signal)>);

impl Signals {
    /// From now on they are caught; needs a runtime.
    pub fn new() -> Self {
        Self(signal(SignalKind::terminate()).and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?))).ok())
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some((terminate, interrupt)) => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            None => std::future::pending().await,
        }
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}
