//! `prune`: snapshots that are old enough, and proven to be archived, are deleted.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::PruneArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: PruneArgs, session: &Session) -> Exit {
    let subject =
        Subject { name: "prune", done: "pruned", checkpoints: Some(args.checkpoints.clone()), archive: args.archive.to_string(), dry_run: args.dry_run };
    session.work(subject, args.metrics.clone(), |run| prune(args, session, run))
}

fn prune(args: PruneArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::prune(args, &session.s3)?;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), true);
    let summary = session.wait(&run.progress, |shutdown| pipeline::prune_in(&settings, open, Arc::clone(&run.progress), shutdown))?;
    if settings.dry_run {
        session.show_of(run, &*summary);
    } else {
        session.report(run, &*summary);
    }
    Ok(exit_of(summary.is_complete(), summary.interrupted))
}
