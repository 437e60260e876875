//! Why a file is of no use as a snapshot.

use std::path::Path;

use crate::checkpoint::{self, Form};
use crate::files::{SnapshotFile, Unread};
use crate::read;

/// Why a file is of no use as a snapshot.
#[derive(Debug)]
pub enum Useless {
    /// It is none.
    Damaged(String),
    /// The time in its name has not come yet.
    Early,
    /// It cannot be read.
    Unread(Unread),
}

/// Decodes a file and keeps nothing of it. Blocks.
pub fn decodes(path: &Path, file: &SnapshotFile) -> Result<(), Useless> {
    match read::through(path, file, |raw| checkpoint::check(raw, Form::from(file))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(flaw)) => Err(Useless::Damaged(flaw.to_string())),
        Err(unread) => Err(Useless::Unread(unread)),
    }
}
