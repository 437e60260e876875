//! A decoded snapshot: an index of its series, and its values, in memory or in a file.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Days, Index, SeriesKey, Span};

/// Where the values of a snapshot are: little-endian f32, at the offsets that spans name.
#[derive(Debug, Clone)]
pub enum Place {
    /// In memory; of a `.bin` the file itself.
    Memory(Bytes),
    /// In a file: the snapshot itself, or one that values were copied to.
    File(Arc<File>),
}

impl Place {
    /// The values of a span: a slice of what is in memory, or a copy of its own.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub fn values(&self, span: &Span) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.slice(span.bytes())),
            Self::File(file) => {
                let mut bytes = vec![0; 4 * span.len];
                file.read_exact_at(&mut bytes, span.at as u64)?;
                Ok(bytes.into())
            }
        }
    }

    /// Bytes of memory that all values take together.
    pub fn memory(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(_) => 0,
        }
    }
}

/// Makes the index of a snapshot from a key on.
pub type Reindex = dyn Fn(SeriesKey) -> io::Result<Index> + Send + Sync;

/// One snapshot: its series in the archive's order, each with its values when they are asked for. Rows of the archive are read back as one, too.
pub struct Snapshot {
    /// Unix time in s of the first instant covered, from the header.
    pub from: i64,
    /// Unix time in s past the last instant covered, from the header.
    pub to: i64,
    /// The days on which it has samples.
    pub days: Days,
    /// Its series, or the first of them.
    pub index: Arc<Index>,
    /// Its values.
    pub place: Place,
    /// Indexes what comes behind the end of an index, if there is anything.
    pub reindex: Option<Box<Reindex>>,
}

impl Snapshot {
    /// All series, from the first on.
    pub fn cursor(self: &Arc<Self>) -> Cursor {
        Cursor { index: Arc::clone(&self.index), snapshot: Arc::clone(self), next: 0 }
    }

    /// True if its values are in memory.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, days, index, place, .. } = self;
        f.debug_struct("Snapshot").field("from", from).field("to", to).field("days", days).field("index", index).field("place", place).finish_non_exhaustive()
    }
}

/// Goes through the series of a snapshot in order. What its index had no room for is indexed when it is reached.
#[derive(Debug)]
pub struct Cursor {
    snapshot: Arc<Snapshot>,
    index: Arc<Index>,
    next: usize,
}

impl Cursor {
    /// Which series is the next; None at the end.
    ///
    /// # Errors
    /// The snapshot cannot be gone through again.
    pub fn key(&mut self) -> io::Result<Option<SeriesKey>> {
        loop {
            if let Some(series) = self.index.series.get(self.next) {
                return Ok(Some(self.index.key(series)));
            }
            let (Some(end), Some(reindex)) = (self.index.end.clone(), &self.snapshot.reindex) else { return Ok(None) };
            (self.index, self.next) = (Arc::new(reindex(end)?), 0);
        }
    }

    /// The span of the next series, if that is `key`, and goes on.
    pub fn next_of(&mut self, key: &SeriesKey) -> Option<Span> {
        let series = self.index.series.get(self.next)?;
        let level = self.index.level(series);
        let is_metric = Arc::ptr_eq(&series.metric, &key.metric) || series.metric == key.metric;
        let is_it = is_metric && (Arc::ptr_eq(level, &key.selector) || *level == key.selector);
        self.next += usize::from(is_it);
        is_it.then_some(series.span)
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}
