//! cc-archiver takes an HPC site's monitoring checkpoints off local disk and into Parquet that people can query.
//!
//! The way of the data is the order of the modules:
//!
//! ```text
//! scan → catalog → plan → read → checkpoint (decode) → merge → rows → encode (row groups) → upload (object)
//! → prove (objects, sources) ⇢ prune ⇢ verify
//! ```
//!
//! A stage never imports another stage; [`pipeline`] wires them. What they hand to each other is in [`data`], [`files`]
//! and [`ledger`]; the words of the domain, as types, in [`names`] and [`partition`].

// words and formats
pub mod buffers;
pub mod data;
pub mod error;
pub mod files;
pub mod ledger;
pub mod names;
pub mod partition;
pub mod schema;

// the surroundings
pub mod cli;
pub mod config;
pub mod fail_point;
pub mod store;
pub mod object;
pub mod telemetry;

// the stages, in the order of the data
pub mod scan;
pub mod catalog;
pub mod plan;
pub mod read;
pub mod checkpoint;
pub mod merge;
pub mod rows;
pub mod encode;
pub mod upload;
pub mod prove;
pub mod prune;
pub mod verify;

// the wiring
pub mod pipeline;

use std::io::Write;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};

use cli::{Cli, Command};
use error::{Error, Exit, Result};
use pipeline::Outcome;

/// Runs the command line, and says how it ended.
pub fn run(cli: Cli) -> Exit {
    telemetry::init(&cli.output);
    match execute(cli) {
        Ok(exit) => exit,
        Err(e) => {
            tracing::error!("{e}");
            e.exit()
        }
    }
}

fn execute(cli: Cli) -> Result<Exit> {
    let output = cli.output;
    let progress = Arc::new(telemetry::Progress::default());
    let (text, exit) = match cli.command {
        Command::Archive(args) => {
            let settings = config::Settings::new(*args)?;
            let open = || store::Archive::open(&settings.archive, settings.s3.as_ref(), settings.dry_run);
            let run = |shutdown| pipeline::archive_into(&settings, open, Arc::clone(&progress), shutdown);
            match wait(settings.workers, &output, &progress, run)? {
                Outcome::Planned(plan) => (shown(&output, &plan), exit_of(plan.set_aside.is_empty(), false)),
                Outcome::Done(summary) => (told(&output, &summary), exit_of(summary.is_complete(), summary.interrupted)),
            }
        }
        Command::Prune(args) => {
            let settings = config::PruneSettings::new(*args)?;
            let open = || store::Archive::open(&settings.archive, settings.s3.as_ref(), true);
            let run = |shutdown| pipeline::prune_in(&settings, open, Arc::clone(&progress), shutdown);
            let summary = wait(settings.workers, &output, &progress, run)?;
            let text = if settings.dry_run { shown(&output, &summary) } else { told(&output, &summary) };
            (text, exit_of(summary.is_complete(), summary.interrupted))
        }
        Command::Verify(args) => {
            let settings = config::VerifySettings::new(*args)?;
            let open = || store::Archive::open(&settings.archive, settings.s3.as_ref(), true);
            let run = |shutdown| pipeline::verify_in(&settings, open, Arc::clone(&progress), shutdown);
            let report = wait(settings.workers, &output, &progress, run)?;
            (told(&output, &report), exit_of(report.findings.is_empty(), report.interrupted))
        }
    };
    // a reader that closed the pipe has seen enough
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(exit)
}

/// Runs to the end, or to a signal, and shows how far it is.
fn wait<T, F: Future<Output = Result<T>>>(
    workers: usize,
    output: &cli::OutputArgs,
    progress: &Arc<telemetry::Progress>,
    run: impl FnOnce(BoxFuture<'static, ()>) -> F,
) -> Result<T> {
    let runtime = runtime(workers)?;
    let done = runtime.block_on(async {
        let shown = Arc::clone(progress).show(output);
        tokio::select! {
            done = run(signal()) => done,
            () = shown => Err(Error::Internal("progress ended".into())),
        }
    });
    // a task that still waits for a server must not hold up the exit
    runtime.shutdown_background();
    done
}

/// What was asked for: it is printed in any case.
fn shown(output: &cli::OutputArgs, result: &(impl serde::Serialize + std::fmt::Display)) -> String {
    if output.json { json(result) } else { result.to_string() }
}

/// What was done: `--quiet` leaves the table out.
fn told(output: &cli::OutputArgs, result: &(impl serde::Serialize + std::fmt::Display)) -> String {
    if output.quiet && !output.json { String::new() } else { shown(output, result) }
}

/// Few threads: glibc's allocator keeps, for each, what it once held. One more than workers, as encoders wait for local writes, which
/// are blocking work too.
fn runtime(workers: usize) -> Result<tokio::runtime::Runtime> {
    check_handles()?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(workers + 1).enable_all();
    builder.build().map_err(|e| Error::Internal(e.to_string()))
}

/// Without handles the runtime panics, and a run fails anywhere; this says so at once.
fn check_handles() -> Result<()> {
    const LEAST: usize = 24;
    let device = std::path::Path::new("/dev/null");
    let opened: std::io::Result<Vec<_>> = (0..LEAST).map(|_| std::fs::File::open(device)).collect();
    opened.map(drop).map_err(Error::io("too few files can be open at a time (ulimit -n): cannot open", device))
}

fn exit_of(complete: bool, interrupted: bool) -> Exit {
    match (interrupted, complete) {
        (true, _) => Exit::Interrupted,
        (_, true) => Exit::Complete,
        _ => Exit::SetAside,
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|e| unreachable!("plain data: {e}")) + "\n"
}

/// Ready when the process is asked to stop; from now on, signals do not just kill it.
fn signal() -> BoxFuture<'static, ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let received = async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    received.boxed()
}
