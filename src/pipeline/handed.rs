//! What hosts hand over to the writers of objects, and what writers give back.

use super::budget::Piece;
use crate::data::{Rows, Tally};
use crate::error::Result;
use crate::ledger::Entry;
use crate::names::Digest;
use crate::upload::{Lost, Uploaded};

/// What one host gives to one partition, or the next piece of it.
pub struct HostDay {
    /// Its rows.
    pub rows: Rows,
    /// Its sources, with the last piece; a host stays in one object until then.
    pub sources: Option<Vec<Entered>>,
    /// Given back when the rows are taken over.
    pub piece: Piece,
}

/// A source that goes into an object.
pub struct Entered {
    /// Index in the plan's work.
    pub work: usize,
    /// What the ledger says of it.
    pub entry: Entry,
    /// What became of its samples.
    pub tally: Tally,
}

/// What a writer is told. Without `Finish` at the end it aborts.
pub enum Message {
    /// The next host.
    Host(HostDay),
    /// That was the last one.
    Finish,
}

/// How a writer ended.
pub struct Ended {
    /// What became visible, whatever happened then.
    pub written: Vec<Written>,
    /// Why the rest did not, if nothing failed.
    pub end: Result<Option<Lost>>,
}

/// An object that is visible, and what it holds.
pub struct Written {
    /// The object.
    pub object: Uploaded,
    /// Its rows.
    pub rows: u64,
    /// Digest of its ledger.
    pub ledger: Digest,
    /// Its sources, as the ledger calls them, and their digests.
    pub sources: Box<[(Box<str>, Digest)]>,
    /// Its sources, by index in the plan's work.
    pub works: Vec<usize>,
    /// What became of their samples.
    pub tally: Tally,
}
