//! `ls`: what an archive holds.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::LsArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: LsArgs, session: &Session) -> Exit {
    let subject = Subject { name: "ls", done: "listed", checkpoints: None, archive: args.archive.to_string(), dry_run: false };
    session.work(subject, args.seen.clone(), |run| ls(args, session, run))
}

fn ls(args: LsArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::ls(args, &session.s3)?;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), true);
    let report = session.wait(&run.progress, |shutdown| pipeline::list_in(&settings, open, Arc::clone(&run.progress), shutdown))?;
    session.report(run, &report);
    Ok(exit_of(report.is_complete(), report.interrupted))
}
