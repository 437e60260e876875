//! How much a run will write, before it has decoded anything. What values are like decides, so this is a range.

use serde::Serialize;

use crate::files::{Compression, Kind, SnapshotFile};

/// What a snapshot takes beside its values at most: its line in the ledger, and its part of the footer.
const BESIDE: u64 = 2 << 10;

/// Bytes, at least and at most.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

/// Bytes of objects that are made of these snapshots, by their sizes and formats. These are usual bounds: values that never change take less.
pub fn written<'a>(files: impl Iterator<Item = &'a SnapshotFile>) -> Span {
    let span = files.map(of).fold((0, 0), |sum, (least, most)| (sum.0 + least, sum.1 + most));
    Span { least: span.0, most: span.1 }
}

/// In percent of the file: a value is 4 bytes in `.bin`, some 5 in text, and 1 to 3 in an object.
fn of(file: &SnapshotFile) -> (u64, u64) {
    let (least, most) = match (file.format.kind, file.format.compression) {
        (Kind::Binary, Compression::None) => (10, 100),
        (Kind::Json, Compression::None) => (10, 80),
        (_, _) => (30, 300),
    };
    (file.size * least / 100, file.size * most / 100 + BESIDE)
}
