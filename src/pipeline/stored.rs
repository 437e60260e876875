//! What a host's merge draws on: snapshots on disk, decoded if there was room, and rows in the archive.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Context, budget};
use crate::catalog;
use crate::checkpoint::{self, Flaw, Form, Refusal};
use crate::data::Snapshot;
use crate::error::{Error, Result};
use crate::fail_point;
use crate::files::SnapshotFile;
use crate::ledger::ObjectLedger;
use crate::names::{Digest, Host};
use crate::portion::{Collector, Portion, Range};
use crate::read::{self, Unread};

pub use crate::checkpoint::Survey;

/// A portion may take one part in so many of the memory that its snapshot has.
const PORTIONS: u64 = budget::PIECES as u64;

/// A snapshot on disk.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where.
    pub path: PathBuf,
    /// As the scan saw it.
    pub file: SnapshotFile,
    form: Form,
    /// Bytes of memory that it may take.
    room: u64,
    decoded: Option<Arc<Snapshot>>,
}

/// Why a snapshot was not loaded.
pub enum Failure {
    /// Its bytes could not be taken.
    Unread(Unread),
    /// They are no snapshot.
    Flaw(Flaw),
}

impl Stored {
    /// A snapshot that has `size` bytes when it is decompressed, for which there are `room` bytes of memory.
    pub fn new(path: PathBuf, file: SnapshotFile, size: u64, room: u64) -> Self {
        Self { path, form: Form::of(&file, size), file, room, decoded: None }
    }

    /// True if it is in memory.
    pub fn is_decoded(&self) -> bool {
        self.decoded.is_some()
    }

    /// Reads all of it: into memory if there is room, else to know what it is.
    pub async fn load(&mut self, context: &Context) -> Result<Result<Survey, Failure>> {
        if self.file.size.max(self.form.size) <= self.room {
            let bytes = match read::read(&context.buffers, &self.path, self.file.size, self.file.mtime).await {
                Ok(bytes) => bytes,
                Err(unread) => return Ok(Err(Failure::Unread(unread))),
            };
            fail_point::reach("read");
            let (form, room, buffers) = (self.form, self.room, context.buffers.clone());
            let decode = move || {
                let digest = Digest::of(&bytes);
                let snapshot = checkpoint::decode(bytes, form, room, &buffers)?;
                let days = snapshot.days().map_err(|reason| Flaw { offset: None, reason })?;
                Ok((Survey { digest, from: snapshot.from, to: snapshot.to, days }, snapshot))
            };
            match context.workers.run(decode).await? {
                Ok((survey, snapshot)) => {
                    self.decoded = Some(Arc::new(snapshot));
                    return Ok(Ok(survey));
                }
                Err(Refusal::Flaw(flaw)) => return Ok(Err(Failure::Flaw(flaw))),
                Err(Refusal::NoRoom) => {}
            }
        }
        tracing::debug!(path = %crate::error::Escaped(&self.path), room = self.room, "no room for all of it: it goes portion by portion");
        let (path, size, mtime, form) = (self.path.clone(), self.file.size, self.file.mtime, self.form);
        let survey = move || read::through(&path, size, mtime, |raw| checkpoint::survey(raw, form));
        Ok(match context.workers.run(survey).await? {
            Ok(surveyed) => surveyed.map_err(Failure::Flaw),
            Err(unread) => Err(Failure::Unread(unread)),
        })
    }

    /// What it has in `range`, or the first of that.
    ///
    /// # Errors
    /// If it is no longer what was loaded: rows of it may have been handed over, so that is the end of the run.
    pub async fn portion(&self, context: &Context, range: &Range) -> Result<Portion> {
        if let Some(snapshot) = &self.decoded {
            return Ok(Portion { snapshot: Arc::clone(snapshot), end: None });
        }
        let Self { path, file, form, room, .. } = self.clone();
        let (range, buffers) = (range.clone(), context.buffers.clone());
        let take = move || read::through(&path, file.size, file.mtime, |raw| checkpoint::portion(raw, form, range, room / PORTIONS, &buffers));
        let why = match context.workers.run(take).await? {
            Ok(Ok(portion)) => return Ok(portion),
            Ok(Err(flaw)) => flaw.to_string(),
            Err(Unread::Vanished) => "it was removed".into(),
            Err(Unread::Changed) => "it has changed".into(),
            Err(Unread::Failed(reason)) => reason,
        };
        Err(Error::io("while its rows were written, which the next run does again:", &self.path)(std::io::Error::other(why)))
    }
}

/// Rows that the archive holds and that take part in a merge, and the digests of the sources that hold them.
pub struct Held<'a> {
    /// Where they are.
    pub origin: Origin<'a>,
    /// Whose they are.
    pub digests: Vec<Digest>,
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
        /// Bytes of memory that they may take.
        room: u64,
        /// All that are left, once there was room for them: ranges come in order.
        known: Option<Arc<Snapshot>>,
    },
}

impl Held<'_> {
    /// True if all of it is in memory, or as far as is known will be.
    pub fn is_decoded(&self) -> bool {
        matches!(&self.origin, Origin::File(stored) if stored.is_decoded())
    }

    /// What it has in `range`, or the first of that.
    ///
    /// # Errors
    /// [`Error::Parquet`] if the object is damaged; those of the store; and those of [`Stored::portion`].
    pub async fn portion(&mut self, context: &Context, host: &Host, range: &Range) -> Result<Portion> {
        match &mut self.origin {
            Origin::File(stored) => stored.portion(context, range).await,
            Origin::Object { known: Some(snapshot), .. } => Ok(Portion { snapshot: Arc::clone(snapshot), end: None }),
            Origin::Object { object, times: (first, last), room, known } => {
                tracing::debug!(object = %object.key, %host, first, last, "reading archived rows back");
                let collector = Collector::new(range.clone(), (*room / PORTIONS) as usize, &context.buffers);
                let portion = catalog::rows_between(&context.archive, object, host, (*first, *last), collector).await?;
                if portion.end.is_none() {
                    *known = Some(Arc::clone(&portion.snapshot));
                }
                Ok(portion)
            }
        }
    }
}
