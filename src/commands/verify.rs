//! `verify`: an archive is checked.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::VerifyArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: VerifyArgs, session: &Session) -> Exit {
    let subject = Subject { name: "verify", done: "verified", checkpoints: args.checkpoints.clone(), archive: args.archive.to_string(), dry_run: false };
    session.work(subject, args.metrics.clone(), |run| verify(args, session, run))
}

fn verify(args: VerifyArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::verify(args, &session.s3)?;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), true);
    let report = session.wait(&run.progress, |shutdown| pipeline::verify_in(&settings, open, Arc::clone(&run.progress), shutdown))?;
    session.report(run, &report);
    Ok(exit_of(report.findings.is_empty(), report.interrupted))
}
