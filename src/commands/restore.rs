//! `restore`: checkpoints are written of archived rows.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::RestoreArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: RestoreArgs, session: &Session) -> Exit {
    let subject = Subject { name: "restore", done: "restored", checkpoints: Some(args.dir.clone()), archive: args.archive.to_string(), dry_run: args.dry_run };
    session.work(subject, args.metrics.clone(), |run| restore(args, session, run))
}

fn restore(args: RestoreArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::restore(args, &session.s3)?;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), true);
    let report = session.wait(&run.progress, |shutdown| pipeline::restore_in(&settings, open, Arc::clone(&run.progress), shutdown))?;
    if settings.dry_run {
        session.show_of(run, &*report);
    } else {
        session.report(run, &*report);
    }
    Ok(exit_of(report.is_complete(), report.interrupted))
}
