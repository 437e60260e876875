//! Stage 5: a snapshot as a [`Snapshot`]: decompressed, decoded, its claims checked.
//!
//! A claim (a length, a count, a frequency) is checked against the bytes that can be left before anything is allocated.
//! A snapshot is gone through once. What comes of it is an index of its series; their values stay in a plain `.bin` where
//! they are, in memory or on disk, and are collected otherwise.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::data::{Days, Index, IndexBuilder, Place, SeriesKey, Snapshot};
use crate::files::{Compression, Format, Kind, SnapshotFile};
use crate::names::{Digest, Selector};
use crate::spool::{Spool, Tools};

mod as_far;
mod binary;
mod claim;
mod compressed;
mod found;
mod input;
mod json;
mod numbers;
mod skeleton;
mod wal;

pub use as_far::{Partial, decode_as_far};
pub use claim::{check, claim};
pub use wal::{Log, Lost, Piece, Record, SeriesNumbers};

use found::{Found, List, Values};
use input::Input;
use skeleton::Window;

/// The deepest nesting of levels that is followed; cc-backend writes two or three.
const MAX_DEPTH: usize = 60;

/// Why a file of no bytes is refused: cc-backend, or the disk, ended before it was written.
const EMPTY: &str = "it is empty";

/// How the reason begins where bytes are missing at the end.
const CUT: &str = "it ends in the middle";

/// Why a level is refused.
const LONG_PATH: &str = "the names above a level are longer than those of any host";

/// Bytes of a stream that are in memory at a time.
const CHUNK: usize = 128 << 10;

/// Why bytes are no snapshot, and where that showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Byte offset, in the decompressed file where it is compressed.
    pub offset: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(offset) = self.offset {
            write!(f, "byte {offset}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl Flaw {
    fn at(offset: usize, reason: impl Into<String>) -> Self {
        Self { offset: Some(offset as u64), reason: reason.into() }
    }

    fn whole(reason: impl Into<String>) -> Self {
        Self { offset: None, reason: reason.into() }
    }
}

/// Why a snapshot was not decoded.
#[derive(Debug)]
pub enum Refusal {
    /// It is none.
    Flaw(Flaw),
    /// There is no place for its values, or they cannot be read again.
    Values(io::Error),
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flaw(flaw) => flaw.fmt(f),
            Self::Values(e) => e.fmt(f),
        }
    }
}

/// What is known of a snapshot before it is decoded.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// What its name says of its format.
    pub format: Format,
    /// The time in its name, for a header that has none.
    pub from: i64,
    /// Its bytes on disk.
    pub size: u64,
    /// True if it was made of rows: it may name a series as often as it wants.
    pub of_rows: bool,
}

impl From<&SnapshotFile> for Form {
    fn from(file: &SnapshotFile) -> Self {
        Self { format: file.format, from: file.from, size: file.size, of_rows: file.row_group().is_some() }
    }
}

impl Form {
    /// True if its values lie in the file as they are.
    pub fn has_values_in_place(&self) -> bool {
        self.format == Format::PLAIN_BINARY
    }

    /// The most bytes that it can have when it is decompressed.
    fn most(&self) -> usize {
        if self.format.compression == Compression::None { self.size as usize } else { crate::files::most_decompressed(self.size) as usize }
    }
}

/// From when to when a snapshot says that it goes, in Unix s.
pub type Extent = (i64, i64);

/// A snapshot as it lies on disk.
#[derive(Debug, Clone)]
pub enum Raw {
    /// All of its bytes.
    Memory(Bytes),
    /// It was opened.
    File(Arc<File>),
}

impl Raw {
    /// Where values are that lie in the file as they are.
    fn place(&self) -> Place {
        match self {
            Self::Memory(bytes) => Place::Memory(bytes.clone()),
            Self::File(file) => Place::File(Arc::clone(file)),
        }
    }
}

/// Bytes of memory that a snapshot may take.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// For values that are collected.
    pub values: usize,
    /// For its index.
    pub index: usize,
}

/// Decodes a snapshot, and says its digest.
///
/// # Errors
/// [`Refusal`].
pub fn decode(raw: &Raw, form: Form, room: Room, tools: &Tools) -> Result<(Digest, Snapshot), Refusal> {
    if form.size == 0 {
        return Err(Flaw::whole(EMPTY).into());
    }
    let mut found = begin(raw, form, room, tools);
    let (extent, digest) = go_through(raw, form, &mut found)?;
    let again = raw.clone();
    let reindex = move |from| reindex(&again, form, room.index, from).map_err(|refusal| io::Error::other(refusal.to_string()));
    Ok((digest, finish(found, extent, reindex)?))
}

/// Nothing is found yet.
fn begin(raw: &Raw, form: Form, room: Room, tools: &Tools) -> Found {
    let values =
        if form.has_values_in_place() { Values::InPlace(raw.place()) } else { Values::Collected(Spool::new(tools, expected_values(form), room.values)) };
    let index = if form.of_rows { IndexBuilder::of_rows(room.index) } else { IndexBuilder::new(None, room.index) };
    let list = List { index, days: Some(Days::default()) };
    Found { values: values.into(), list }
}

/// Goes through all of a snapshot: what it comes by is in `found`, also where it fails.
fn go_through(raw: &Raw, form: Form, found: &mut Found) -> Result<(Extent, Digest), Refusal> {
    Ok(match raw {
        Raw::Memory(bytes) => (whole(bytes, form, found)?, Digest::of(bytes)),
        Raw::File(file) => {
            let mut digest = blake3::Hasher::new();
            let mut hashed = BufReader::with_capacity(CHUNK, compressed::Hashed { raw: Reading { file, at: 0 }, digest: &mut digest });
            let extent = stream(&mut hashed, form, found)?;
            // a decoder has its last byte before the file has
            io::copy(&mut hashed, &mut io::sink()).map_err(|e| broken(0, &e))?;
            drop(hashed);
            (extent, digest.finalize().into())
        }
    })
}

/// What was found as a snapshot; `reindex` makes its index from a key on.
fn finish(found: Found, (from, to): Extent, reindex: impl Fn(SeriesKey) -> io::Result<Index> + Send + Sync + 'static) -> Result<Snapshot, Refusal> {
    let List { index, days } = found.list;
    let place = match found.values.into_inner() {
        Values::InPlace(place) => place,
        Values::Collected(spool) => spool.finish().map_err(Refusal::Values)?,
        Values::Passed(..) => unreachable!("they were to be kept"),
    };
    let index = index.finish()?;
    let reindex = index.end.is_some().then(|| Box::new(reindex) as Box<_>);
    Ok(Snapshot { from, to, days: days.unwrap_or_default(), index: index.into(), place, reindex })
}

/// About how many bytes of values a file has.
fn expected_values(form: Form) -> usize {
    let size = form.size as usize;
    match (form.format.kind, form.format.compression) {
        // a number, with its comma, is seldom shorter than five bytes
        (Kind::Json, Compression::None) => size / 5 * 4,
        (Kind::Json, _) => 6 * size,
        (Kind::Binary, _) => 3 * size,
    }
}

/// The index of a snapshot that was decoded, from a key on.
fn reindex(raw: &Raw, form: Form, room: usize, from: SeriesKey) -> Result<Index, Refusal> {
    let (list, done) = list_again(raw, form, room, from);
    done?;
    Ok(list.index.finish()?)
}

/// Goes through a snapshot that was decoded, from a key on.
fn list_again(raw: &Raw, form: Form, room: usize, from: SeriesKey) -> (List, Result<Extent, Refusal>) {
    // collected values are where they were put, in the same order
    let values = if form.has_values_in_place() { Values::InPlace(raw.place()) } else { Values::Passed(0, Vec::new()) };
    let mut found = Found { values: values.into(), list: List { index: IndexBuilder::new(Some(from), room), days: None } };
    let done = match raw {
        Raw::Memory(bytes) => whole(bytes, form, &mut found),
        Raw::File(file) if form.has_values_in_place() => binary::decode(Input::seeking(Reading { file, at: 0 }, form.most()), &mut found),
        Raw::File(file) => stream(BufReader::with_capacity(CHUNK, Reading { file, at: 0 }), form, &mut found),
    };
    (found.list, done)
}

/// Goes through bytes in memory.
fn whole(bytes: &Bytes, form: Form, found: &mut Found) -> Result<Extent, Refusal> {
    match (form.format.kind, form.format.compression) {
        (Kind::Binary, Compression::None) => binary::decode(Input::new(&**bytes, bytes.len()), found),
        (Kind::Json, Compression::None) => json::decode(Window::whole(bytes), form.from, found),
        _ => stream(&**bytes, form, found),
    }
}

/// Goes through a stream.
fn stream(raw: impl BufRead, form: Form, found: &mut Found) -> Result<Extent, Refusal> {
    let most = form.most();
    let from = compressed::reader(raw, form.format.compression, most as u64);
    match form.format.kind {
        Kind::Binary => binary::decode(Input::new(BufReader::with_capacity(CHUNK, from), most), found),
        Kind::Json => json::decode(Window::stream(from), form.from, found),
    }
}

/// A file that is read from a place of its own, whoever else reads it.
struct Reading<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Reading<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Reading<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// What it means that something could not be read from a byte on.
fn broken(at: usize, e: &io::Error) -> Flaw {
    match e.kind() {
        // it was not decompressed: the place is one in what came out
        io::ErrorKind::InvalidData => Flaw::whole(e.to_string()),
        io::ErrorKind::UnexpectedEof => Flaw::at(at, CUT),
        _ => Flaw::at(at, format!("cannot read: {e}")),
    }
}

/// Metrics' names, each once: few series have a name of their own.
#[derive(Default)]
struct Names {
    known: HashMap<Box<str>, Arc<str>>,
    bytes: usize,
}

impl Names {
    /// Unless all have: then this must not grow with them.
    const MOST_BYTES: usize = 256 << 10;

    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        if self.bytes > Self::MOST_BYTES {
            *self = Self::default();
        }
        let new: Arc<str> = name.into();
        self.bytes += name.len() + 32;
        self.known.insert(name.into(), Arc::clone(&new));
        new
    }
}

/// A child of a level, at `depth` below the host.
fn child(parent: &Selector, name: &str, depth: usize) -> Result<Arc<Selector>, String> {
    if depth > MAX_DEPTH {
        return Err(format!("levels nest deeper than {MAX_DEPTH}"));
    }
    parent.child(name).map(Arc::new).ok_or_else(|| LONG_PATH.to_owned())
}
