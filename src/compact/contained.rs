//! Whether an object holds all rows of others, of one host: by both as they are read back.
//!
//! Hosts of which the [`Sum`]s of rows are equal hold the same rows. The others, as where rows stood twice, are compared row by row.

use std::hash::{DefaultHasher, Hash, Hasher};
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

/// A host's rows in short. It does not depend on the order in which they are gone through, nor on what object they are in.
///
/// It is the sum, modulo 2^64, of a hash of each row: of its series, frequency, time and the bits of its value. It is made to find faults, not forgeries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    rows: u64,
    hashes: u64,
}

impl Sum {
    /// Of all rows of a host in some objects together.
    ///
    /// # Errors
    /// Values cannot be read from the file that they were put into.
    pub fn of(objects: &[Arc<Snapshot>]) -> io::Result<Self> {
        let mut sum = Self::default();
        for object in objects {
            let mut cursor = object.cursor();
            while let Some(key) = cursor.key()? {
                while let Some(span) = cursor.next_of(&key) {
                    sum.add(&key, &span, &object.place.values(&span)?);
                }
            }
        }
        Ok(sum)
    }

    /// How many rows there are.
    pub fn rows(self) -> u64 {
        self.rows
    }

    fn add(&mut self, key: &SeriesKey, span: &Span, values: &[u8]) {
        let (of_times, of_values) = seeds(key, span.frequency);
        let mut time = span.start;
        for value in floats(values) {
            let product = u128::from(of_times ^ time as u64) * u128::from(of_values ^ u64::from(value.to_bits()));
            let is_row = u64::from(!value.is_nan());
            self.rows += is_row;
            self.hashes = self.hashes.wrapping_add(is_row * mixed(product as u64 ^ (product >> 64) as u64));
            time += span.frequency;
        }
    }
}

/// Spreads each bit of a number over all: sums of numbers that differ in few bits would often be equal. These are the shifts and factors of the finalizer of
/// MurmurHash3.
fn mixed(mut number: u64) -> u64 {
    number ^= number >> 33;
    number = number.wrapping_mul(0xff51_afd7_ed55_8ccd);
    number ^= number >> 33;
    number = number.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ number >> 33
}

/// Two numbers that depend on the series and its frequency.
fn seeds(key: &SeriesKey, frequency: i64) -> (u64, u64) {
    let mut hasher = DefaultHasher::new();
    (key.rank(), frequency).hash(&mut hasher);
    let first = hasher.finish();
    first.hash(&mut hasher);
    (first, hasher.finish())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Days, IndexBuilder, Place};
    use crate::names::Selector;

    /// Rows of the metric `m` of a host: spans, each with its start, step and values.
    fn object(spans: &[(i64, i64, &[f32])]) -> Arc<Snapshot> {
        of_metric("m", spans)
    }

    fn of_metric(metric: &str, spans: &[(i64, i64, &[f32])]) -> Arc<Snapshot> {
        let (mut index, mut bytes) = (IndexBuilder::of_rows(usize::MAX), Vec::new());
        let selector = Arc::new(Selector::node());
        for (start, frequency, values) in spans {
            let span = Span { start: *start, frequency: *frequency, at: bytes.len(), len: values.len() };
            index.add(&selector, &metric.into(), span).expect("few");
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        let index = index.finish().expect("few").into();
        Arc::new(Snapshot { from: 0, to: 86_400, days: Days::default(), index, place: Place::Memory(bytes.into()), reindex: None })
    }

    fn sum(objects: &[Arc<Snapshot>]) -> Sum {
        Sum::of(objects).expect("in memory")
    }

    #[test]
    fn the_same_rows_have_one_sum_however_they_are_spread_over_objects_and_spans() {
        let whole = [object(&[(0, 60, &[1.0, 2.0, 3.0, 4.0, 5.0])])];
        assert_eq!(sum(&whole).rows(), 5);
        let spread = [object(&[(180, 60, &[4.0]), (240, 60, &[5.0])]), object(&[(0, 60, &[1.0, f32::NAN, 3.0])]), object(&[(60, 60, &[2.0])])];
        assert_eq!(sum(&whole), sum(&spread));
    }

    #[test]
    fn rows_that_are_lost_doubled_swapped_or_changed_have_another_sum() {
        let rows = [object(&[(0, 60, &[1.0, 2.0, 0.0, 4.0])])];
        let others: &[&[Arc<Snapshot>]] = &[
            &[],
            &[object(&[(0, 60, &[1.0, 2.0, 0.0])])],
            &[object(&[(0, 60, &[1.0, 2.0, 0.0, 4.0, 5.0])])],
            &[object(&[(0, 60, &[2.0, 1.0, 0.0, 4.0])])],
            &[object(&[(0, 60, &[1.0, 2.0, -0.0, 4.0])])],
            &[object(&[(0, 60, &[1.0, 2.0, 0.0, 4.000_000_5])])],
            &[object(&[(1, 60, &[1.0, 2.0, 0.0, 4.0])])],
            &[object(&[(0, 60, &[1.0, 2.0, 0.0]), (180, 30, &[4.0])])],
            &[of_metric("n", &[(0, 60, &[1.0, 2.0, 0.0, 4.0])])],
            &[object(&[(0, 60, &[1.0, 2.0, 0.0, 4.0])]), object(&[(0, 60, &[1.0])])],
        ];
        others.iter().for_each(|other| assert_ne!(sum(&rows), sum(other), "{other:?}"));
        // two pairs whose values are exchanged, so that times and values taken by themselves are the same
        let crossed = |a: f32, b: f32| [object(&[(0, 60, &[a, b, 0.0, 0.0, b, a])])];
        assert_ne!(sum(&crossed(1.0, 2.0)), sum(&crossed(2.0, 1.0)));
    }
}
