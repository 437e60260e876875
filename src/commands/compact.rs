//! `compact`: objects of a date become one.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::CompactArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: CompactArgs, session: &Session) -> Exit {
    let subject = Subject { name: "compact", done: "compacted", checkpoints: None, archive: args.archive.to_string(), dry_run: args.dry_run };
    session.work(subject, args.metrics.clone(), |run| compact(args, session, run))
}

fn compact(args: CompactArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::compact(args, &session.s3)?;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), settings.dry_run);
    let report = session.wait(&run.progress, |shutdown| pipeline::compact_in(&settings, open, Arc::clone(&run.progress), shutdown))?;
    session.report(run, &report);
    Ok(exit_of(report.is_complete(), report.interrupted))
}
