//! `inspect`: what a file holds.

use std::io::BufWriter;
use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::InspectArgs;
use crate::config;
use crate::error::{Exit, Result};
use crate::inspect::{Holds, Writer};
use crate::pipeline;
use crate::settings::Show;
use crate::telemetry::{Run, Subject};

/// Runs it.
pub fn run(args: InspectArgs, session: &Session) -> Exit {
    let subject = Subject { name: "inspect", done: "inspected", checkpoints: None, archive: args.file.to_string(), dry_run: false };
    session.work(subject, args.metrics.clone(), |run| inspect(args, session, run))
}

fn inspect(args: InspectArgs, session: &Session, run: &Run) -> Result<Exit> {
    let settings = config::inspect(args, session.is_json(), &session.s3)?;
    let progress = Arc::clone(&run.progress);
    let writer = |form| Writer::new(Box::new(BufWriter::new(std::io::stdout())), form, run.id.as_str(), &settings.file.to_string());
    let found = match settings.show {
        Show::Facts { .. } => session.wait(&run.progress, |shutdown| pipeline::inspect_in(&settings, None, progress, shutdown))?,
        Show::Samples(form) => session.wait_without_bar(&run.progress, |shutdown| pipeline::inspect_in(&settings, Some(writer(form)), progress, shutdown))?,
    };
    match found.holds {
        // they are written; what is wrong with the file stands beside them
        Holds::Samples { .. } => {
            found.damage.damage.iter().for_each(|damage| tracing::error!(path = found.path, "damaged: {damage}"));
            found.notes.iter().for_each(|note| tracing::warn!(path = found.path, "{note}"));
        }
        _ => session.show_of(run, &*found),
    }
    Ok(exit_of(found.damage.is_empty(), false))
}
