//! Whether an object holds all rows of others, of one host: by both as they are read back.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::data::{Cursor, SeriesKey, Snapshot, Span, floats};

/// What a comparison came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows of the new object.
    pub rows: u64,
    /// Rows of a member at whose instant the new object has no value.
    pub missing: u64,
    /// Rows of a member at whose instant the new object has another value.
    pub differing: u64,
}

impl Compared {
    /// Adds what another host came to.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.missing += other.missing;
        self.differing += other.differing;
    }
}

/// Compares one host's rows of `members` with those of the `new` object.
///
/// # Errors
/// Values cannot be read from the file that they were put into.
pub fn compare(new: Option<&Arc<Snapshot>>, members: &[Arc<Snapshot>]) -> io::Result<Compared> {
    let mut compared = Compared { rows: new.map_or(Ok(0), rows_of)?, ..Compared::default() };
    for member in members {
        let (mut theirs, mut ours) = (member.cursor(), new.map(Snapshot::cursor));
        while let Some(key) = theirs.key()? {
            let held = ours.as_mut().map_or(Ok(Vec::new()), |ours| spans_of(ours, &key))?;
            while let Some(span) = theirs.next_of(&key) {
                let values = member.place.values(&span)?;
                compare_span(&span, &values, &held, &mut compared);
            }
        }
    }
    Ok(compared)
}

fn rows_of(snapshot: &Arc<Snapshot>) -> io::Result<u64> {
    let (mut cursor, mut rows) = (snapshot.cursor(), 0);
    while let Some(key) = cursor.key()? {
        while let Some(span) = cursor.next_of(&key) {
            rows += floats(&snapshot.place.values(&span)?).filter(|value| !value.is_nan()).count() as u64;
        }
    }
    Ok(rows)
}

/// Spans of a series, with their values. Series before it are passed over.
fn spans_of(cursor: &mut Cursor, wanted: &SeriesKey) -> io::Result<Vec<(Span, Bytes)>> {
    let mut spans = Vec::new();
    while let Some(key) = cursor.key()?.filter(|key| key <= wanted) {
        while let Some(span) = cursor.next_of(&key) {
            if key == *wanted {
                let values = cursor.snapshot().place.values(&span)?;
                spans.push((span, values));
            }
        }
    }
    Ok(spans)
}

fn compare_span(span: &Span, values: &[u8], held: &[(Span, Bytes)], compared: &mut Compared) {
    if held.iter().any(|(other, theirs)| is_within(span, values, other, theirs)) {
        return;
    }
    for (i, value) in floats(values).enumerate().filter(|(_, value)| !value.is_nan()) {
        match held.iter().find_map(|(other, values)| value_at(other, values, span.time(i))) {
            None => compared.missing += 1,
            Some(held) => compared.differing += u64::from(held.to_bits() != value.to_bits()),
        }
    }
}

/// True if all values stand in one span, at the same times.
fn is_within(span: &Span, values: &[u8], other: &Span, theirs: &[u8]) -> bool {
    let ahead = span.start - other.start;
    if other.frequency != span.frequency || ahead < 0 || ahead % span.frequency != 0 {
        return false;
    }
    let first = (ahead / span.frequency) as usize;
    let is_equal = |(one, other): (f32, f32)| one.is_nan() || one.to_bits() == other.to_bits();
    first + span.len <= other.len && floats(values).zip(floats(&theirs[4 * first..])).all(is_equal)
}

/// The value of a span at a time, if it has one there.
fn value_at(span: &Span, values: &[u8], time: i64) -> Option<f32> {
    let ahead = time - span.start;
    let index = usize::try_from(ahead / span.frequency).ok().filter(|index| ahead >= 0 && ahead % span.frequency == 0 && *index < span.len)?;
    floats(&values[4 * index..4 * index + 4]).next().filter(|value| !value.is_nan())
}
