//! `coverage`: which host has data for which hour.

use std::path::Path;
use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::CoverageArgs;
use crate::config;
use crate::coverage::Report;
use crate::coverage_page;
use crate::error::{Error, Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: CoverageArgs, session: &Session) -> Exit {
    let subject = Subject { name: "coverage", done: "looked at", checkpoints: args.checkpoints.clone(), archive: args.archive.to_string(), dry_run: false };
    session.work(subject, args.metrics.clone(), |run| coverage(args, session, run))
}

fn coverage(args: CoverageArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::coverage(args, &session.s3)?;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), true);
    let report = session.wait(&run.progress, |shutdown| pipeline::cover_in(&settings, open, Arc::clone(&run.progress), shutdown))?;
    let complete = report.is_complete() && (!settings.check || report.is_covered());
    match settings.html.as_deref().filter(|_| !report.interrupted) {
        Some(file) if file == Path::new("-") => session.show_text(&page(&report)?),
        Some(file) => {
            std::fs::write(file, page(&report)?).map_err(Error::io("cannot write", file))?;
            session.report(run, &report);
        }
        None => session.report(run, &report),
    }
    Ok(exit_of(complete, report.interrupted))
}

fn page(report: &Report) -> Result<String> {
    Ok(coverage_page::page(&serde_json::to_string(report).map_err(|e| Error::Internal(format!("the page's data: {e}")))?))
}
