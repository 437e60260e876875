//! What `ls` and `coverage` are told.

use std::path::PathBuf;

use super::{Location, Part, S3Settings};

/// What `ls` prints a line for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LsView {
    /// Each cluster and date.
    Dates,
    /// Each host of a cluster.
    Hosts,
    /// Each metric of a cluster.
    Metrics,
    /// Each object.
    Objects,
}

/// What a run of `ls` does.
#[derive(Debug, Clone)]
pub struct LsSettings {
    /// The archive.
    pub archive: Location,
    /// Which part of it.
    pub part: Part,
    /// What lines are printed for.
    pub view: LsView,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// What a run of `coverage` does.
#[derive(Debug, Clone)]
pub struct CoverageSettings {
    /// The archive.
    pub archive: Location,
    /// Which part of it. Without dates: the newest [`NEWEST_DATES`] of each cluster.
    pub part: Part,
    /// Only hosts that match.
    pub host: Option<glob::Pattern>,
    /// A tree whose snapshots are compared with the archive.
    pub checkpoints: Option<PathBuf>,
    /// Whether rows are read, and not only ledgers.
    pub exact: bool,
    /// Whether the map has a line for each host.
    pub all: bool,
    /// Whether gaps and snapshots that are not archived decide the exit code.
    pub check: bool,
    /// Characters of a line.
    pub width: usize,
    /// Whether colours are used.
    pub colours: bool,
    /// Where the page goes; `-` is stdout.
    pub html: Option<PathBuf>,
    /// Objects and files that are read at a time.
    pub workers: usize,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// Dates that coverage shows if none are asked for.
pub const NEWEST_DATES: i64 = 14;
