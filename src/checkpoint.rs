//! Stage 5: the bytes of a snapshot as a [`Snapshot`]: decompressed, decoded, its claims checked.
//!
//! A claim (a length, a count, a frequency) is checked against the bytes that are left before anything is allocated.
//! [`decode`] takes a snapshot from memory, whole. One that there is no room for is gone through instead: [`survey`]
//! once, for what must be known of it, then [`portion`] for its series, some at a time.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Seek};
use std::sync::Arc;

use bytes::Bytes;

use crate::buffers::Buffers;
use crate::data::{Days, SERIES_COST, Snapshot};
use crate::files::{Compression, Format, Kind, SnapshotFile};
use crate::names::{Digest, Selector};
use crate::portion::{Collector, Portion, Range};

mod arrays;
mod binary;
mod compressed;
mod input;
mod json;
mod sinks;

use input::{Input, Memory, Stream};
use sinks::{Gathering, Sink, Surveying, Whole};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is none.
    Flaw(Flaw),
    /// It takes more memory than it may.
    NoRoom,
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// What is known of a snapshot before it is decoded.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// What its name says of its format.
    pub format: Format,
    /// The time in its name, for a header that has none.
    pub from: i64,
    /// Its bytes when they are decompressed.
    pub size: u64,
}

impl Form {
    /// The form of a file, `size` being its bytes when it is decompressed.
    pub fn of(file: &SnapshotFile, size: u64) -> Self {
        Self { format: file.format, from: file.from, size }
    }
}

/// From when to when a snapshot says that it goes, in Unix s.
type Extent = (i64, i64);

/// Decodes a snapshot in about `room` bytes of memory, the largest pieces of it from `buffers`.
///
/// # Errors
/// [`Refusal`].
pub fn decode(bytes: Bytes, form: Form, room: u64, buffers: &Buffers) -> Result<Snapshot, Refusal> {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if bytes.is_empty() {
        return Err(Flaw::whole(EMPTY).into());
    }
    if form.size > room as u64 {
        return Err(Refusal::NoRoom);
    }
    let bytes = compressed::decompress(bytes, form, buffers)?;
    match form.format.kind {
        Kind::Binary => {
            let mut sink = Whole::new(room.saturating_sub(bytes.len()));
            let extent = binary::decode(Memory::new(&bytes), &mut sink)?;
            Ok(sink.finish(extent, bytes))
        }
        Kind::Json => json::decode(&bytes, form.from, room.saturating_sub(bytes.len()), buffers),
    }
}

/// What a snapshot that was not decoded is known by.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Of the file as it lies on disk.
    pub digest: Digest,
    /// Unix time in s of the first instant covered, from the header.
    pub from: i64,
    /// Unix time in s past the last instant covered, from the header.
    pub to: i64,
    /// The days on which it has samples.
    pub days: Days,
}

/// Goes through all of a snapshot as it lies on disk.
///
/// # Errors
/// [`Flaw`], just where [`decode`] finds one.
pub fn survey(raw: impl Read, form: Form) -> Result<Survey, Flaw> {
    let (mut digest, mut sink) = (blake3::Hasher::new(), Surveying::default());
    let mut raw = BufReader::with_capacity(CHUNK, compressed::Hashed { raw, digest: &mut digest });
    if raw.fill_buf().is_ok_and(<[u8]>::is_empty) {
        return Err(Flaw::whole(EMPTY));
    }
    let (from, to) = stream(&mut raw, form, &mut sink)?;
    // a decoder has its last byte before the file has
    std::io::copy(&mut raw, &mut std::io::sink()).map_err(|e| Flaw::whole(format!("cannot read: {e}")))?;
    drop(raw);
    Ok(Survey { digest: digest.finalize().into(), from, to, days: sink.days })
}

/// Goes through all of a snapshot as it lies on disk, and takes what lies in `range`, in about `room` bytes of memory.
///
/// # Errors
/// [`Flaw`].
pub fn portion(raw: impl Read + Seek, form: Form, range: Range, room: u64, buffers: &Buffers) -> Result<Portion, Flaw> {
    let mut sink = Gathering(Collector::new(range, usize::try_from(room).unwrap_or(usize::MAX), buffers));
    let (from, to) = match (form.format.kind, form.format.compression) {
        (Kind::Binary, Compression::None) => binary::decode(Stream::seeking(raw, form.size as usize), &mut sink).map_err(flaw)?,
        _ => stream(BufReader::with_capacity(CHUNK, raw), form, &mut sink)?,
    };
    Ok(sink.0.finish(from, to))
}

/// From when to when a snapshot says that it goes, as it lies on disk. Of a `.bin` only the beginning is read for that.
///
/// # Errors
/// [`Flaw`].
pub fn extent(raw: impl Read, file: &SnapshotFile) -> Result<(i64, i64), Flaw> {
    let raw = BufReader::with_capacity(CHUNK, raw);
    let form = Form::of(file, compressed::cap(file.size));
    match form.format.kind {
        Kind::Binary => {
            let from = BufReader::new(compressed::reader(raw, form.format.compression, form.size));
            binary::header(&mut Stream::new(from, binary::HEADER)).map_err(flaw)
        }
        Kind::Json => stream(raw, form, &mut Surveying::default()),
    }
}

/// What it means that something could not be read to its end.
fn broken(what: &str, e: &std::io::Error) -> Flaw {
    match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Flaw::whole(format!("{CUT}: {what}: {e}")),
        _ => Flaw::whole(format!("{what}: {e}")),
    }
}

/// Why a snapshot could not be measured.
pub fn unmeasured(e: &std::io::Error, on_disk: u64) -> Flaw {
    if on_disk == 0 { Flaw::whole(EMPTY) } else { broken("cannot decompress", e) }
}

fn stream(raw: impl BufRead, form: Form, sink: &mut impl Sink) -> Result<Extent, Flaw> {
    let from = BufReader::with_capacity(CHUNK, compressed::reader(raw, form.format.compression, form.size));
    let done = match form.format.kind {
        Kind::Binary => binary::decode(Stream::new(from, form.size as usize), sink),
        Kind::Json => json::stream(from, form.from, sink),
    };
    done.map_err(flaw)
}

fn flaw(refusal: Refusal) -> Flaw {
    match refusal {
        Refusal::Flaw(flaw) => flaw,
        Refusal::NoRoom => unreachable!("only what is decoded whole can run out of room"),
    }
}

/// What is known of a file that was only measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// Its bytes when it is decompressed.
    pub size: u64,
    /// About how many bytes of memory its series and levels take, by those at its beginning.
    pub structure: u64,
}

/// Measures a snapshot of `on_disk` bytes: its beginning, or all of it where it is compressed, in the memory of a chunk.
///
/// # Errors
/// It cannot be read, or decompressed.
pub fn measure(raw: impl Read, format: Format, on_disk: u64) -> std::io::Result<Measure> {
    const BEGINNING: usize = 64 << 10;
    let raw = BufReader::with_capacity(CHUNK, raw);
    let mut from = compressed::reader(raw, format.compression, compressed::cap(on_disk));
    let mut beginning = Vec::with_capacity(BEGINNING);
    from.by_ref().take(BEGINNING as u64).read_to_end(&mut beginning)?;
    let size = match format.compression {
        Compression::None => on_disk,
        _ => beginning.len() as u64 + compressed::rest(from)?,
    };
    let (bytes, structure) = match format.kind {
        Kind::Binary => {
            let mut counting = Whole::new(usize::MAX);
            let mut input = Stream::new(&*beginning, size as usize);
            // it ends in the midst of something
            let _ = binary::decode(&mut input, &mut counting);
            (input.at().max(counting.end()), counting.structure())
        }
        // as many series as there are arrays, as few other things have brackets
        Kind::Json => (beginning.len(), SERIES_COST * 5 / 4 * beginning.iter().filter(|byte| **byte == b'[').count()),
    };
    Ok(Measure { size, structure: (u128::from(size) * structure as u128 / bytes.max(1) as u128) as u64 })
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
