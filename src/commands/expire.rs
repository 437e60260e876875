//! `expire`: old dates go.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::ExpireArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: ExpireArgs, session: &Session) -> Exit {
    let checkpoints = args.checkpoints.clone();
    let subject = Subject { name: "expire", done: "expired", checkpoints, archive: args.archive.to_string(), dry_run: args.dry_run };
    session.work(subject, args.metrics.clone(), |run| expire(args, session, run))
}

fn expire(args: ExpireArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::expire(args, &session.s3)?;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), settings.dry_run);
    let report = session.wait(&run.progress, |shutdown| pipeline::expire_in(&settings, open, Arc::clone(&run.progress), shutdown))?;
    session.report(run, &report);
    Ok(exit_of(report.is_complete(), report.interrupted))
}
