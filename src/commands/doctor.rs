//! `doctor`: a tree and an archive are looked at as runs will use them.

use std::sync::Arc;

use super::session::{Session, exit_of};
use crate::cli::DoctorArgs;
use crate::config;
use crate::doctor::Level;
use crate::error::Exit;
use crate::pipeline;

/// Runs it.
pub fn run(args: DoctorArgs, session: &Session) -> Exit {
    session.tell(|| {
        let settings = config::doctor(args, &session.s3, session.config.as_deref())?;
        let found = session.wait_without_bar(&Arc::default(), |shutdown| pipeline::examine_in(&settings, shutdown))?;
        session.show(&found);
        Ok(exit_of(found.count(Level::Error) == 0, false))
    })
}
