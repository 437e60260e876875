//! What all commands share: logs are set up, results are printed, and the exit code says how it ended.

use std::fmt::Display;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

use super::waiting;
use crate::cli::{Command, MetricsArgs};
use crate::config::{self, Effective, Loaded, S3Environment};
use crate::error::{Error, Exit, Result};
use crate::settings::{OutputSettings, When};
use crate::telemetry::{self, Progress, Run, RunId, Subject};

/// One call of the program.
pub struct Session {
    output: OutputSettings,
    json: bool,
    /// What says how S3 is reached, beside the options.
    pub s3: S3Environment,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// For `init`: the options for S3 that are set.
    pub given: Vec<(String, Value)>,
    warnings: Vec<String>,
    overruled: Vec<String>,
}

impl Session {
    /// The session, the command, and all settings if they are asked for.
    pub fn new(loaded: Loaded) -> (Self, Command, Option<Effective>) {
        let Loaded { cli, warnings, overruled, s3, given, effective } = loaded;
        (Self { output: config::output(&cli.output), json: cli.output.json, s3, config: cli.config, given, warnings, overruled }, cli.command, effective)
    }

    /// A command that only tells something.
    pub fn tell(&self, tell: impl FnOnce() -> Result<Exit>) -> Exit {
        self.begin(&RunId::default());
        exit_with(tell())
    }

    /// A command that works on a tree or an archive: it leaves metrics, and a last line in the log.
    pub fn work(&self, subject: Subject, metrics: MetricsArgs, work: impl FnOnce(&mut Run) -> Result<Exit>) -> Exit {
        let mut run = Run::new(metrics.run_id.clone().unwrap_or_default(), subject);
        self.begin(&run.id);
        let exit = exit_with(config::metrics(&metrics, run.subject.checkpoints.as_deref()).and_then(|metrics| {
            run.metrics = Some(metrics);
            work(&mut run)
        }));
        run.end(exit, waiting::unless_stopped);
        exit
    }

    fn begin(&self, id: &RunId) {
        telemetry::init(&self.output, id);
        self.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.overruled.iter().for_each(|overruled| tracing::info!("{overruled}"));
    }

    /// Runs to the end, or to a signal, and shows how far it is.
    pub fn wait<T, F: Future<Output = Result<T>>>(&self, progress: &Arc<Progress>, run: impl FnOnce(BoxFuture<'static, ()>) -> F) -> Result<T> {
        waiting::wait(&self.output, progress, run)
    }

    /// The same without a bar: results are printed meanwhile.
    pub fn wait_without_bar<T, F: Future<Output = Result<T>>>(&self, progress: &Arc<Progress>, run: impl FnOnce(BoxFuture<'static, ()>) -> F) -> Result<T> {
        waiting::wait(&OutputSettings { progress: When::Never, ..self.output }, progress, run)
    }

    /// True if results are to be JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints what was asked for.
    pub fn show(&self, result: &(impl Serialize + Display)) {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let printed =
            if self.json { serde_json::to_writer(&mut out, result).map_err(Into::into).and_then(|()| out.write_all(b"\n")) } else { write!(out, "{result}") };
        // a reader that closed the pipe has seen enough
        let _ = printed.and_then(|()| out.flush());
    }

    /// The same, with the name of the run that it is of.
    pub fn show_of(&self, run: &Run, result: &(impl Serialize + Display)) {
        self.show(&Named { run_id: run.id.as_str(), result });
    }

    /// Prints a text as it is.
    pub fn show_text(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // a reader that closed the pipe has seen enough
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Prints what was done: `--quiet` leaves the table out.
    pub fn report(&self, run: &Run, result: &(impl Serialize + Display)) {
        if self.json || !self.output.quiet {
            self.show_of(run, result);
        }
    }
}

/// A result, and the run that it is of.
#[derive(Serialize)]
struct Named<'a, T> {
    run_id: &'a str,
    #[serde(flatten)]
    result: &'a T,
}

impl<T: Display> Display for Named<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.result.fmt(f)
    }
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

/// How a command ended that came to a result.
pub fn exit_of(complete: bool, interrupted: bool) -> Exit {
    match (interrupted, complete) {
        (true, _) => Exit::Interrupted,
        (_, true) => Exit::Complete,
        _ => Exit::SetAside,
    }
}
