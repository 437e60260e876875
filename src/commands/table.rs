//! `table`: the table of an archive is brought up to date.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::TableArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: TableArgs, session: &Session) -> Exit {
    let subject = Subject { name: "table", done: "the table is up to date", checkpoints: None, archive: args.archive.to_string(), dry_run: args.dry_run };
    session.work(subject, args.metrics.clone(), |run| table(args, session, run))
}

fn table(args: TableArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::table(args, &session.s3)?;
    let open = || Archive::open(&settings.archive, settings.s3.as_ref(), settings.dry_run);
    let tabled = session.wait(&run.progress, |shutdown| pipeline::table_in(&settings, open, Arc::clone(&run.progress), shutdown))?;
    if settings.dry_run {
        session.show_of(run, &*tabled);
    } else {
        session.report(run, &*tabled);
    }
    Ok(exit_of(tabled.is_complete(), false))
}
