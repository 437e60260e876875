//! `import`: what cc-backend's own archiver wrote is taken over.

use std::sync::Arc;

use super::archive::told;
use super::session::Session;
use crate::cli::ImportArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::pipeline;
use crate::store::Archive;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: ImportArgs, session: &Session) -> Exit {
    let archive = args.archive.as_ref().map(ToString::to_string).or_else(|| Some(args.files.last()?.display().to_string()));
    let subject = Subject { name: "import", done: "imported", checkpoints: None, archive: archive.unwrap_or_default(), dry_run: args.dry_run };
    session.work(subject, args.metrics.clone(), |run| import(args, session, run))
}

fn import(args: ImportArgs, session: &Session, run: &mut Run) -> Result<Exit> {
    let settings = config::import(args, &session.s3)?;
    let open = || Archive::open(&settings.run.archive, settings.run.s3.as_ref(), settings.run.dry_run);
    let outcome = session.wait(&run.progress, |shutdown| pipeline::import_into(&settings, open, Arc::clone(&run.progress), shutdown))?;
    Ok(told(outcome, session, run))
}
