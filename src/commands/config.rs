//! `config`: all settings are shown, and where each came from.

use super::session::Session;
use crate::config::Effective;
use crate::error::{Error, Exit};

/// Runs it.
pub fn run(effective: Option<Effective>, session: &Session) -> Exit {
    session.tell(|| {
        let effective = effective.ok_or_else(|| Error::Internal("no settings were looked at".into()))?;
        session.show(&effective);
        Ok(Exit::Complete)
    })
}
