//! The threads that compute, and the queue before them.
//!
//! Work that takes CPU time runs here and nowhere else, so `--workers` is how many cores a run keeps busy. Who hands work in
//! waits for what comes of it, and holds no thread meanwhile; a thread that is done finds its next piece of work in the queue.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

thread_local! {
    static INLINE: Cell<bool> = const { Cell::new(false) };
}

/// From now on, whatever this thread asks for runs on it at once, and nothing runs beside it: so a simulation is the same each time.
pub fn run_inline() {
    INLINE.set(true);
}

/// True if work runs where it is asked for.
pub fn is_inline() -> bool {
    INLINE.get()
}

/// Runs `work` that waits for local files, on a thread that may be held up.
///
/// # Errors
/// [`Error::Internal`] if it panicked.
#[expect(clippy::disallowed_methods, reason = "the one way to a thread that may be held up")]
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if is_inline() {
        // others get their turn, as they do while a thread works
        tokio::task::yield_now().await;
        return Ok(work());
    }
    Ok(tokio::task::spawn_blocking(work).await?)
}

/// A fixed number of threads. Clones share them; they end with the last clone.
#[derive(Clone)]
pub struct Workers(Arc<Pool>);

struct Pool {
    /// Runs blocking work only. None when it is shut down.
    runtime: Option<Runtime>,
    count: usize,
    stopped: AtomicBool,
}

impl Workers {
    /// As many threads as `count`, each started when it is first needed.
    ///
    /// # Errors
    /// The system has no more threads or handles.
    pub fn new(count: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread().max_blocking_threads(count).thread_name("worker").build();
        let runtime = runtime.map_err(|e| Error::Internal(format!("cannot start workers: {e}")))?;
        Ok(Self(Arc::new(Pool { runtime: Some(runtime), count, stopped: AtomicBool::new(false) })))
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// Runs `work` when a thread is free, first come, first served.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the workers were stopped before; [`Error::Internal`] if the work panicked.
    #[expect(clippy::disallowed_methods, reason = "the one way to a worker")]
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        match &self.0.runtime {
            Some(_) if is_inline() && !self.is_stopped() => blocking(work).await,
            Some(runtime) if !self.is_stopped() => Ok(runtime.handle().spawn_blocking(work).await?),
            _ => Err(Error::Interrupted),
        }
    }

    /// No further work is taken; what was taken is done.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
    }

    /// True once they were stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // without waiting: an async thread may be the one that drops it
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({})", self.0.count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_work_runs_at_a_time_than_there_are_workers() {
        let workers = Workers::new(2).expect("started");
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            workers.run(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                now.fetch_sub(1, Ordering::SeqCst);
            })
        };
        futures::executor::block_on(futures::future::try_join_all((0..20).map(work))).expect("done");
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn stopped_workers_take_nothing() {
        let workers = Workers::new(1).expect("started");
        workers.clone().stop();
        let ran = futures::executor::block_on(workers.run(|| ()));
        assert!(matches!(ran, Err(Error::Interrupted)), "{ran:?}");
    }

    #[test]
    fn work_that_panics_is_an_error_and_the_thread_goes_on() {
        let workers = Workers::new(1).expect("started");
        let panicked = futures::executor::block_on(workers.run(|| panic!("as it should")));
        assert!(matches!(panicked, Err(Error::Internal(_))), "{panicked:?}");
        assert_eq!(futures::executor::block_on(workers.run(|| 7)).expect("done"), 7);
    }
}
