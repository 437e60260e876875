//! Waiting for a run or for a signal, in a runtime that is made for it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::settings::OutputSettings;
use crate::signals::{GRACE, Signals};
use crate::telemetry::{Progress, Watch};

/// A run that has been told to end by itself, and does not, is given so much more time.
const LAST_CHANCE: Duration = Duration::from_millis(300);

/// Threads that read and write local files. Few, as glibc's allocator keeps, for each thread, what it once held.
const FILE_THREADS: usize = 4;

/// Runs to the end, or to a signal, and shows how far it is.
pub fn wait<T, F: Future<Output = Result<T>>>(output: &OutputSettings, progress: &Arc<Progress>, run: impl FnOnce(BoxFuture<'static, ()>) -> F) -> Result<T> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let shown = Arc::clone(progress).show(output);
        let signals = Signals::new();
        let (stop, stopped) = oneshot::channel();
        tokio::select! {
            // a signal is heard before the next step
            biased;
            () = given_up(signals, stop, &progress.watch) => Err(Error::Interrupted),
            done = run(stopped.map(drop).boxed()) => done,
            () = shown => Err(Error::Internal("progress ended".into())),
        }
    });
    // a task that still waits for a server must not hold up the exit
    runtime.shutdown_background();
    done
}

/// The first signal tells the run to end; the second one, to leave everything as it is. Ready when the run has done neither in time.
async fn given_up(mut signals: Signals, stop: oneshot::Sender<()>, watch: &Watch) {
    signals.next().await;
    let _ = stop.send(());
    tokio::select! {
        () = tokio::time::sleep(GRACE) => {}
        () = signals.next() => {
            tracing::warn!("a second signal: nothing is waited for; the next run clears what is left unfinished in a directory, a lifecycle rule what is in a bucket");
            watch.hurry();
        }
    }
    tokio::time::sleep(LAST_CHANCE).await;
}

/// Waits for the last thing that a run does, unless a signal comes.
pub fn unless_stopped(last: BoxFuture<'_, ()>) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return tracing::warn!("metrics were not pushed: {e}"),
    };
    runtime.block_on(async {
        tokio::select! {
            () = last => {}
            () = async { Signals::new().next().await } => tracing::warn!("a signal: metrics are not waited for"),
        }
    });
    // looking a name up can take long
    runtime.shutdown_background();
}

/// One async thread, and a few for files; what computes has [`crate::workers`] of its own.
fn runtime() -> Result<Runtime> {
    allow_open_files();
    check_handles()?;
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(FILE_THREADS).enable_all();
    builder.build().map_err(|e| Error::Internal(e.to_string()))
}

/// The usual limit is low: a shard holds each host's directory open, and snapshots that there is no room for in memory stay open. Where no
/// more are allowed, opening them fails with a reason.
fn allow_open_files() {
    const MOST: u64 = 1 << 16;
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.map_or(MOST, |maximum| maximum.min(MOST));
    if limit.current.is_some_and(|current| current < raised)
        && let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit })
    {
        tracing::debug!("cannot raise the limit of open files: {e}");
    }
}

/// Without handles the runtime panics, and a run fails anywhere; this says so at once.
fn check_handles() -> Result<()> {
    const LEAST: usize = 24;
    let device = Path::new("/dev/null");
    let opened: std::io::Result<Vec<_>> = (0..LEAST).map(|_| File::open(device)).collect();
    opened.map(drop).map_err(Error::io("too few files can be open at a time (ulimit -n): cannot open", device))
}
