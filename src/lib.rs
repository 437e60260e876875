//! cc-archiver takes an HPC site's monitoring checkpoints off local disk and into Parquet that people can query.
//!
//! The way of the data is the order of the modules:
//!
//! ```text
//! scan → catalog → plan → read → checkpoint (decode) → merge → rows → encode (row groups) → upload (object)
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
pub mod store;
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

// the wiring
pub mod pipeline;

use std::io::Write;
use std::sync::Arc;

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
    let Command::Archive(args) = cli.command;
    let settings = config::Settings::new(*args)?;
    let runtime = runtime(&settings)?;
    let progress = Arc::new(telemetry::Progress::default());
    let outcome = runtime.block_on(async {
        let shown = Arc::clone(&progress).show(&cli.output);
        let open = || store::Archive::open(&settings.archive, &settings.environment, settings.dry_run);
        let run = pipeline::archive_into(&settings, open, Arc::clone(&progress), signal());
        tokio::select! {
            outcome = run => outcome,
            () = shown => Err(Error::Internal("progress ended".into())),
        }
    });
    // a task that still waits for a server must not hold up the exit
    runtime.shutdown_background();
    let (text, exit) = match outcome? {
        Outcome::Planned(plan) if cli.output.json => (json(&plan), exit_of(plan.set_aside.is_empty())),
        Outcome::Planned(plan) => (plan.to_string(), exit_of(plan.set_aside.is_empty())),
        Outcome::Done(summary) => {
            let exit = if summary.interrupted { Exit::Interrupted } else { exit_of(summary.set_aside.is_empty()) };
            let text = match (cli.output.json, cli.output.quiet) {
                (true, _) => json(&summary),
                (_, true) => String::new(),
                _ => summary.to_string(),
            };
            (text, exit)
        }
    };
    // a reader that closed the pipe has seen enough
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(exit)
}

/// Few threads: glibc's allocator keeps, for each, what it once held. One more than workers, as encoders wait for local writes, which
/// are blocking work too.
fn runtime(settings: &config::Settings) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(settings.workers + 1).enable_all();
    builder.build().map_err(|e| Error::Internal(e.to_string()))
}

fn exit_of(all_archived: bool) -> Exit {
    if all_archived { Exit::Complete } else { Exit::SetAside }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|e| unreachable!("plain data: {e}")) + "\n"
}

/// Ready when the process is asked to stop; from now on, signals do not just kill it.
fn signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
