//! What a run of `table` does.

use super::{Location, S3Settings};

/// What a run of `table` does.
#[derive(Debug, Clone)]
pub struct TableSettings {
    /// The archive.
    pub archive: Location,
    /// What becomes of the table.
    pub upkeep: Upkeep,
    /// Write nothing.
    pub dry_run: bool,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// What becomes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// It is brought up to date.
    Update,
    /// The same; it is made if there is none.
    Init,
    /// It is written anew, whatever there is of it.
    Rebuild,
}
