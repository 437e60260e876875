//! `archive`: what is not in the archive yet is archived.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::ArchiveArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline::{self, Outcome};
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: ArchiveArgs, session: &Session) -> Exit {
    let subject =
        Subject { name: "archive", done: "archived", checkpoints: Some(args.checkpoints.clone()), archive: args.archive.to_string(), dry_run: args.dry_run };
    session.work(subject, args.metrics.clone(), |run| archive(args, session, run))
}

fn archive(args: ArchiveArgs, session: &Session, run: &mut Run) -> Result<Exit> {
    let settings = config::archive(args, &session.s3)?;
    run.removes_after = settings.removes_after;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), settings.dry_run);
    let outcome = session.wait(&run.progress, |shutdown| pipeline::archive_into(&settings, open, Arc::clone(&run.progress), shutdown))?;
    Ok(told(outcome, session, run))
}

/// Prints what a run came to.
pub fn told(outcome: Outcome, session: &Session, run: &Run) -> Exit {
    match outcome {
        Outcome::Planned(plan) => {
            session.show_of(run, &*plan);
            exit_of(plan.is_complete(), false)
        }
        Outcome::Done(summary) => {
            session.report(run, &*summary);
            exit_of(summary.is_complete(), summary.interrupted)
        }
    }
}
