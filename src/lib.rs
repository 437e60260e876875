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
pub mod etag;
pub mod files;
pub mod info;
pub mod ledger;
pub mod names;
pub mod partition;
pub mod random;
pub mod schema;
pub mod spool;

// the surroundings
pub mod cli;
pub mod config;
pub mod fail_point;
pub mod signals;
pub mod store;
pub mod object;
pub mod telemetry;
pub mod workers;
pub mod doctor;

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
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use cli::Command;
use config::Loaded;
use error::{Error, Exit, Result};
use pipeline::Outcome;
use signals::{GRACE, Signals};
use telemetry::Run;

/// Runs the command line, and says how it ended.
pub fn run(loaded: Loaded) -> Exit {
    let output = &loaded.cli.output;
    let begin = |id: &telemetry::RunId| {
        telemetry::init(output, id);
        loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        loaded.overruled.iter().for_each(|overruled| tracing::info!("{overruled}"));
    };
    let Some((subject, metrics)) = loaded.cli.command.subject() else {
        begin(&telemetry::RunId::default());
        return exit_with(tell(loaded));
    };
    let mut run = Run::new(metrics.run_id.clone().unwrap_or_default(), subject);
    begin(&run.id);
    let exit = exit_with(config::MetricsSettings::new(metrics, run.subject.checkpoints.as_deref()).and_then(|metrics| {
        run.metrics = Some(metrics);
        execute(loaded, &mut run)
    }));
    run.end(exit, unless_stopped);
    exit
}

fn exit_with(done: Result<Exit>) -> Exit {
    done.unwrap_or_else(|e| {
        if let Error::Interrupted = e {
            tracing::warn!("{e}")
        } else {
            tracing::error!("{e}")
        }
        e.exit()
    })
}

/// The commands that only tell something.
fn tell(Loaded { cli, effective, .. }: Loaded) -> Result<Exit> {
    let output = &cli.output;
    if let Command::Doctor(args) = cli.command {
        let settings = config::DoctorSettings::new(*args, cli.config)?;
        let found = wait(output, &Arc::default(), |shutdown| pipeline::examine_in(&settings, shutdown))?;
        print(&if output.json { json(&found) } else { found.to_string() });
        return Ok(exit_of(found.count(doctor::Level::Error) == 0, false));
    }
    let effective = effective.ok_or_else(|| Error::Internal("no settings were looked at".into()))?;
    let effective = effective.with_environment(&config::aws_variables());
    print(&if output.json { json(&effective) } else { effective.to_string() });
    Ok(Exit::Complete)
}

/// The commands that work on a tree or an archive.
fn execute(Loaded { cli, .. }: Loaded, run: &mut Run) -> Result<Exit> {
    let output = cli.output;
    let progress = Arc::clone(&run.progress);
    let say = Says { output: &output, run_id: run.id.as_str() };
    let (text, exit) = match cli.command {
        Command::Archive(args) => {
            let settings = config::Settings::new(*args)?;
            run.removes_after = settings.removes_after;
            let open = || store::Archive::open(&settings.archive, settings.s3.as_ref(), settings.dry_run);
            let run = |shutdown| pipeline::archive_into(&settings, open, Arc::clone(&progress), shutdown);
            match wait(&output, &progress, run)? {
                Outcome::Planned(plan) => (say.shown(&plan), exit_of(plan.is_complete(), false)),
                Outcome::Done(summary) => (say.told(&summary), exit_of(summary.is_complete(), summary.interrupted)),
            }
        }
        Command::Prune(args) => {
            let settings = config::PruneSettings::new(*args)?;
            let open = || store::Archive::open(&settings.archive, settings.s3.as_ref(), true);
            let run = |shutdown| pipeline::prune_in(&settings, open, Arc::clone(&progress), shutdown);
            let summary = wait(&output, &progress, run)?;
            let text = if settings.dry_run { say.shown(&summary) } else { say.told(&summary) };
            (text, exit_of(summary.is_complete(), summary.interrupted))
        }
        Command::Verify(args) => {
            let settings = config::VerifySettings::new(*args)?;
            let open = || store::Archive::open(&settings.archive, settings.s3.as_ref(), true);
            let run = |shutdown| pipeline::verify_in(&settings, open, Arc::clone(&progress), shutdown);
            let report = wait(&output, &progress, run)?;
            (say.told(&report), exit_of(report.findings.is_empty(), report.interrupted))
        }
        Command::Doctor(_) | Command::Config => unreachable!("they are no runs"),
    };
    print(&text);
    Ok(exit)
}

fn print(text: &str) {
    // a reader that closed the pipe has seen enough
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Runs to the end, or to a signal, and shows how far it is.
fn wait<T, F: Future<Output = Result<T>>>(
    output: &cli::OutputArgs,
    progress: &Arc<telemetry::Progress>,
    run: impl FnOnce(BoxFuture<'static, ()>) -> F,
) -> Result<T> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let shown = Arc::clone(progress).show(output);
        let signals = Signals::new();
        let (stop, stopped) = tokio::sync::oneshot::channel();
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

/// A run that has been told to end by itself, and does not, is given so much more time.
const LAST_CHANCE: Duration = Duration::from_millis(300);

/// The first signal tells the run to end; the second one, to leave everything as it is. Ready when the run has done neither in time.
async fn given_up(mut signals: Signals, stop: tokio::sync::oneshot::Sender<()>, watch: &telemetry::Watch) {
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
fn unless_stopped(last: BoxFuture<'_, ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(async {
                tokio::select! {
                    () = last => {}
                    () = async { Signals::new().next().await } => tracing::warn!("a signal: metrics are not waited for"),
                }
            });
            // looking a name up can take long
            runtime.shutdown_background();
        }
        Err(e) => tracing::warn!("metrics were not pushed: {e}"),
    }
}

/// A result, and the run that it is of.
#[derive(serde::Serialize)]
struct Named<'a, T> {
    run_id: &'a str,
    #[serde(flatten)]
    result: &'a T,
}

/// How results are printed.
struct Says<'a> {
    output: &'a cli::OutputArgs,
    run_id: &'a str,
}

impl Says<'_> {
    /// What was asked for: it is printed in any case.
    fn shown(&self, result: &(impl serde::Serialize + std::fmt::Display)) -> String {
        if self.output.json { json(&Named { run_id: self.run_id, result }) } else { result.to_string() }
    }

    /// What was done: `--quiet` leaves the table out.
    fn told(&self, result: &(impl serde::Serialize + std::fmt::Display)) -> String {
        if self.output.quiet && !self.output.json { String::new() } else { self.shown(result) }
    }
}

/// Threads that read and write local files. Few, as glibc's allocator keeps, for each thread, what it once held.
const FILE_THREADS: usize = 4;

/// One async thread, and a few for files; what computes has [`workers`] of its own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    check_handles()?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(FILE_THREADS).enable_all();
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
