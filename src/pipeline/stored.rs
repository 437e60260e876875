//! What a host's merge draws on: snapshots on disk, and rows in the archive. Both are indices, with values in memory if there was room.

use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use crate::catalog;
use crate::checkpoint::{self, Flaw, Form, Raw, Refusal};
use crate::data::Snapshot;
use crate::error::{Error, Result};
use crate::fail_point;
use crate::files::SnapshotFile;
use crate::ledger::{ObjectLedger, Unreadable};
use crate::names::{Digest, Host};
use crate::read::{self, Opened, Unread};
use crate::spool::Spool;

/// Bytes of memory that an index may take in any case.
const SMALL_INDEX: usize = 2 << 20;

/// A snapshot on disk that was gone through once.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where.
    pub path: PathBuf,
    /// As the scan saw it.
    pub file: SnapshotFile,
    /// Of the file as it lies on disk.
    pub digest: Digest,
    /// What it holds.
    pub snapshot: Arc<Snapshot>,
    /// Held open as long as values are read from it.
    opened: Option<Opened>,
}

/// The memory for a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes of it.
    pub bytes: u64,
    /// True if it should be enough for all that the snapshot needs.
    pub is_enough: bool,
}

/// Why a snapshot was not loaded.
pub enum Failure {
    /// Its bytes could not be taken.
    Unread(Unread),
    /// They are no snapshot.
    Flaw(Flaw),
    /// There is no place for its values.
    Values(std::io::Error),
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Flaw(flaw) => Self::Flaw(flaw),
            Refusal::Values(e) => Self::Values(e),
        }
    }
}

/// Why there is no place for values, and what to do.
pub fn no_place(e: &std::io::Error) -> String {
    format!("{e}; give it more --memory, or set TMPDIR to a directory with room")
}

impl Stored {
    /// Goes through the snapshot at `path`: in memory if there is room, else as it lies on disk.
    pub async fn load(context: &Context, path: PathBuf, file: SnapshotFile, room: Room) -> Result<Result<Self, Failure>> {
        let bytes = if room.is_enough {
            match read::read(&context.spool, &path, &file).await {
                Ok(bytes) => Some(bytes),
                Err(unread) => return Ok(Err(unread.into())),
            }
        } else {
            tracing::debug!(path = %crate::error::Escaped(&path), room = room.bytes, "no room for all of it in memory: its values are read when their turn comes");
            None
        };
        fail_point::reach("read");
        let tools = context.spool.clone();
        let load = move || {
            let opened = if bytes.is_none() { Some(read::open(&path, &file, &tools, room.bytes as usize / 2)?) } else { None };
            let mut form = Form::from(&file);
            if form.of_rows {
                // what they became; their columns have another size
                form.size = match (&bytes, &opened) {
                    (Some(bytes), _) => bytes.len() as u64,
                    (None, opened) => opened.as_ref().map_or(0, Opened::size),
                };
            }
            let raw = match (bytes, &opened) {
                (Some(bytes), _) => Raw::Memory(bytes),
                (None, Some(opened)) => Raw::File(Arc::clone(&opened.file)),
                (None, None) => unreachable!("it was read, or opened"),
            };
            let room = room.bytes as usize;
            // what is larger is made in parts
            let index = if opened.is_none() { (room / 2).max(SMALL_INDEX) } else { room / 4 };
            let decoded = checkpoint::decode(&raw, form, checkpoint::Room { values: room, index }, &tools);
            // what was found in a file that changed meanwhile is worth nothing, not even a flaw
            opened.as_ref().map_or(Ok(()), Opened::check)?;
            let (digest, snapshot) = decoded?;
            // values that were collected need the file only to make more of the index
            let opened = opened.filter(|_| form.has_values_in_place() || snapshot.reindex.is_some());
            Ok(Self { path, file, digest, snapshot: Arc::new(snapshot), opened })
        };
        context.workers.run(load).await
    }

    /// Makes sure that values which were read meanwhile are those of the snapshot that was loaded.
    ///
    /// # Errors
    /// If it is no longer that: rows of it may have been handed over, so that is the end of the run.
    pub fn check(&self) -> Result<()> {
        match self.opened.as_ref().map_or(Ok(()), Opened::check) {
            Ok(()) => Ok(()),
            Err(Unread::Failed(reason)) => Err(self.broken(reason)),
            Err(Unread::Changed | Unread::Vanished) => Err(self.broken("it has changed".into())),
        }
    }

    /// The error of a snapshot whose values cannot be read any more.
    pub fn broken(&self, why: String) -> Error {
        Error::io("while its rows were written, which the next run does again:", &self.path)(std::io::Error::other(why))
    }
}

/// Rows that the archive holds and that take part in a merge, and the digests of the sources that hold them.
pub struct Held<'a> {
    /// Where they are.
    pub origin: Origin<'a>,
    /// Whose they are.
    pub digests: Vec<Digest>,
    /// True if they were taken from a log.
    pub of_log: bool,
    /// True if there are some among them that were imported.
    pub derived: bool,
}

/// Where archived rows are taken from.
pub enum Origin<'a> {
    /// The file they came from.
    File(Stored),
    /// An object.
    Object {
        /// Which.
        object: &'a ObjectLedger,
        /// The first and the last time that matters, in Unix s.
        times: (i64, i64),
        /// Bytes of memory that their values may take.
        room: u64,
        /// How many rows they are at most.
        rows: u64,
    },
}

impl Held<'_> {
    /// The rows.
    ///
    /// # Errors
    /// Those of the archive as a whole.
    pub async fn load(&self, context: &Context, host: &Host) -> Result<Result<Arc<Snapshot>, Unreadable>> {
        match &self.origin {
            Origin::File(stored) => Ok(Ok(Arc::clone(&stored.snapshot))),
            Origin::Object { object, times: (first, last), room, rows } => {
                tracing::debug!(object = %object.key, %host, first, last, "reading archived rows back");
                let spool = Spool::new(&context.spool, 4 * *rows as usize, *room as usize);
                let source = catalog::Source { archive: &context.archive, workers: &context.workers, footers: &context.footers, object };
                let found = catalog::rows_between(source, host, (*first, *last), spool).await?;
                Ok(found.map(Arc::new).map_err(|why| Unreadable::new(context.archive.name_of(&object.key), why)))
            }
        }
    }

    /// As [`Stored::check`]. An object does not change.
    pub fn check(&self) -> Result<()> {
        match &self.origin {
            Origin::File(stored) => stored.check(),
            Origin::Object { .. } => Ok(()),
        }
    }
}
