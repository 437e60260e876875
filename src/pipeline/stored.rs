//! What a host's merge draws on: snapshots on disk, decoded if there was room, and rows in the archive.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Context, budget};
use crate::catalog;
use crate::checkpoint::{self, Flaw, Form, Refusal};
use crate::data::Snapshot;
use crate::error::{Error, Result};
use crate::fail_point;
use crate::files::SnapshotFile;
use crate::ledger::{ObjectLedger, Unreadable};
use crate::names::{Digest, Host};
use crate::portion::{Collector, Portion, Range};
use crate::read::{self, FileId, Unread};

pub use crate::checkpoint::Survey;

/// A portion may take one part in so many of the memory that its snapshot has.
const PORTIONS: u64 = budget::PIECES as u64;

/// A snapshot on disk that was read once.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where.
    pub path: PathBuf,
    /// As the scan saw it.
    pub file: SnapshotFile,
    kept: Kept,
}

/// How far a snapshot is in memory.
#[derive(Debug, Clone)]
enum Kept {
    /// All of it is.
    Decoded(Arc<Snapshot>),
    /// There was no room: it is gone through for what is asked for.
    Nothing {
        form: Form,
        room: u64,
        /// Which file it was.
        id: FileId,
    },
}

/// The memory for a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Its bytes when it is decompressed, if they are known.
    pub size: Option<u64>,
    /// Bytes of memory that it may take.
    pub bytes: u64,
}

/// Why a snapshot was not loaded.
pub enum Failure {
    /// Its bytes could not be taken.
    Unread(Unread),
    /// They are no snapshot.
    Flaw(Flaw),
}

impl Stored {
    /// Reads all of the snapshot at `path`: into memory if there is room, else to know what it is.
    pub async fn load(context: &Context, path: PathBuf, file: SnapshotFile, room: Room) -> Result<Result<(Self, Survey), Failure>> {
        let size = match room.size {
            Some(size) => size,
            None => match Self::size(context, &path, &file).await? {
                Ok(size) => size,
                Err(failure) => return Ok(Err(failure)),
            },
        };
        let (form, bytes) = (Form::of(&file, size), room.bytes);
        if file.size.max(size) <= bytes {
            let raw = match read::read(&context.buffers, &path, file.size, file.mtime).await {
                Ok(raw) => raw,
                Err(unread) => return Ok(Err(Failure::Unread(unread))),
            };
            fail_point::reach("read");
            let buffers = context.buffers.clone();
            let decode = move || {
                let digest = Digest::of(&raw);
                let snapshot = checkpoint::decode(raw, form, bytes, &buffers)?;
                let days = snapshot.days().map_err(|reason| Flaw { offset: None, reason })?;
                Ok((Survey { digest, from: snapshot.from, to: snapshot.to, days }, snapshot))
            };
            match context.workers.run(decode).await? {
                Ok((survey, snapshot)) => return Ok(Ok((Self { path, file, kept: Kept::Decoded(Arc::new(snapshot)) }, survey))),
                Err(Refusal::Flaw(flaw)) => return Ok(Err(Failure::Flaw(flaw))),
                Err(Refusal::NoRoom) => {}
            }
        }
        tracing::debug!(path = %crate::error::Escaped(&path), room = bytes, "no room for all of it: it goes portion by portion");
        let survey = Self::go_through(context, &path, &file, move |raw, id| (id, checkpoint::survey(raw, form))).await?;
        Ok(match survey {
            Ok((id, Ok(survey))) => Ok((Self { path, file, kept: Kept::Nothing { form, room: bytes, id } }, survey)),
            Ok((_, Err(flaw))) => Err(Failure::Flaw(flaw)),
            Err(unread) => Err(Failure::Unread(unread)),
        })
    }

    /// Its bytes when decompressed.
    async fn size(context: &Context, path: &Path, file: &SnapshotFile) -> Result<Result<u64, Failure>> {
        let (format, on_disk) = (file.format, file.size);
        Ok(match Self::go_through(context, path, file, move |raw, _| checkpoint::measure(raw, format, on_disk)).await? {
            Ok(Ok(measure)) => Ok(measure.size),
            Ok(Err(e)) => Err(Failure::Flaw(checkpoint::unmeasured(&e, on_disk))),
            Err(unread) => Err(Failure::Unread(unread)),
        })
    }

    async fn go_through<T: Send + 'static>(
        context: &Context,
        path: &Path,
        file: &SnapshotFile,
        go: impl FnOnce(&File, FileId) -> T + Send + 'static,
    ) -> Result<std::result::Result<T, Unread>> {
        let (path, size, mtime) = (path.to_owned(), file.size, file.mtime);
        context.workers.run(move || read::through(&path, size, mtime, go)).await
    }

    /// True if it is in memory.
    pub fn is_decoded(&self) -> bool {
        matches!(self.kept, Kept::Decoded(_))
    }

    /// What it has in `range`, or the first of that.
    ///
    /// # Errors
    /// If it is no longer what was loaded: rows of it may have been handed over, so that is the end of the run.
    pub async fn portion(&self, context: &Context, range: &Range) -> Result<Portion> {
        let (form, room, known) = match &self.kept {
            Kept::Decoded(snapshot) => return Ok(Portion { snapshot: Arc::clone(snapshot), end: None }),
            Kept::Nothing { form, room, id } => (*form, *room, *id),
        };
        let (range, buffers) = (range.clone(), context.buffers.clone());
        let take = move |raw: &File, id| (id == known).then(|| checkpoint::portion(raw, form, range, room / PORTIONS, &buffers));
        let why = match Self::go_through(context, &self.path, &self.file, take).await? {
            Ok(Some(Ok(portion))) => return Ok(portion),
            Ok(Some(Err(flaw))) => flaw.to_string(),
            Ok(None) | Err(Unread::Changed) => "it has changed".into(),
            Err(Unread::Vanished) => "it was removed".into(),
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
    /// Those of the archive as a whole, and those of [`Stored::portion`].
    pub async fn portion(&mut self, context: &Context, host: &Host, range: &Range) -> Result<Result<Portion, Unreadable>> {
        match &mut self.origin {
            Origin::File(stored) => stored.portion(context, range).await.map(Ok),
            Origin::Object { known: Some(snapshot), .. } => Ok(Ok(Portion { snapshot: Arc::clone(snapshot), end: None })),
            Origin::Object { object, times: (first, last), room, known } => {
                tracing::debug!(object = %object.key, %host, first, last, "reading archived rows back");
                let collector = Collector::new(range.clone(), (*room / PORTIONS) as usize, &context.buffers);
                let source = catalog::Source { archive: &context.archive, workers: &context.workers, footers: &context.footers, object };
                let unreadable = |why| Unreadable::new(context.archive.name_of(&object.key), why);
                let reading = catalog::rows_between(source, host, (*first, *last), collector);
                let portion = match catalog::unless_damaged(reading).await? {
                    Ok(portion) => portion,
                    Err(why) => return Ok(Err(unreadable(why))),
                };
                if range.from.is_none() && portion.end.is_some() {
                    // whether all of it can be read must be known before anything is handed over
                    if let Err(why) = catalog::unless_damaged(catalog::check_rows(source, host)).await? {
                        return Ok(Err(unreadable(why)));
                    }
                }
                if portion.end.is_none() {
                    *known = Some(Arc::clone(&portion.snapshot));
                }
                Ok(Ok(portion))
            }
        }
    }
}
