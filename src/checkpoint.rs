//! Stage 5: the bytes of a snapshot as a [`Snapshot`]: decompressed, decoded, its claims checked.
//!
//! A claim (a length, a count, a frequency) is checked against the bytes that are left before anything is allocated.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::buffers::Buffers;
use crate::data::Snapshot;
use crate::files::{Format, Kind};
use crate::names::Selector;

mod arrays;
mod binary;
mod compressed;
mod json;

pub use compressed::decompressed_size;

/// The deepest nesting of levels that is followed; cc-backend writes two or three.
const MAX_DEPTH: usize = 60;

/// Why a level is refused.
const LONG_PATH: &str = "the names above a level are longer than those of any host";

/// The levels that have metrics. Others are not kept: a file can hold millions.
#[derive(Default)]
struct Levels {
    kept: Vec<Arc<Selector>>,
}

impl Levels {
    /// The index of a level, which is its first metric's to begin with.
    fn index(&mut self, selector: &Arc<Selector>) -> u32 {
        if self.kept.last().is_none_or(|last| !Arc::ptr_eq(last, selector)) {
            self.kept.push(Arc::clone(selector));
        }
        self.kept.len() as u32 - 1
    }
}

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

/// Decodes a snapshot. `from` is the time in its name, for a header that has none; what is decoded into memory takes it from `buffers`.
pub fn decode(bytes: Bytes, format: Format, from: i64, buffers: &Buffers) -> Result<Snapshot, Flaw> {
    let bytes = compressed::decompress(bytes, format.compression, buffers)?;
    match format.kind {
        Kind::Binary => binary::decode(bytes),
        Kind::Json => json::decode(&bytes, from, buffers),
    }
}
