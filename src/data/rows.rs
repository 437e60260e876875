//! Rows as runs: what goes from the merge to the encoder.

use std::ops::Range;

use bytes::Bytes;

use super::SeriesKey;
use crate::names::Host;

/// Rows in the archive's sort order, as runs. A host's rows of one date, and a row group, are such.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Rows {
    /// Series, in order.
    pub series: Vec<SeriesRun>,
    /// Times, in order; their counts add up to those of `series`.
    pub times: Vec<TimeRun>,
    /// Values, one a row; none is NaN.
    pub values: Values,
}

/// Values of rows as slices of the memory that snapshots were decoded into: little-endian f32, four bytes each.
///
/// A slice keeps all of that memory, so what holds many small ones for long should [`Values::gather`] them.
#[derive(Default, Clone)]
pub struct Values {
    slices: Vec<Bytes>,
    len: usize,
}

impl Values {
    /// Count of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends values; the slice must hold whole ones.
    pub fn push(&mut self, slice: Bytes) {
        debug_assert!(slice.len().is_multiple_of(4));
        if !slice.is_empty() {
            self.len += slice.len() / 4;
            self.slices.push(slice);
        }
    }

    /// The slices, in order.
    pub fn slices(&self) -> &[Bytes] {
        &self.slices
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = f32> + '_ {
        self.slices.iter().flat_map(|slice| floats(slice))
    }

    /// Copies all values into memory of their own.
    pub fn gather(&mut self) {
        let mut bytes = Vec::with_capacity(4 * self.len);
        self.slices.drain(..).for_each(|slice| bytes.extend_from_slice(&slice));
        self.slices.extend((!bytes.is_empty()).then(|| bytes.into()));
    }
}

impl FromIterator<f32> for Values {
    fn from_iter<T: IntoIterator<Item = f32>>(values: T) -> Self {
        let mut all = Self::default();
        all.push(values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>().into());
        all
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Little-endian f32, whole ones.
pub fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> + DoubleEndedIterator + Clone + '_ {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
}

/// The first of `len` indices at which something does not hold, or `len`. `all` says whether it holds at each index of a range, best without a
/// branch a value: it is asked for blocks, as in most of them it holds.
pub fn first_not(len: usize, all: impl Fn(Range<usize>) -> bool) -> usize {
    const BLOCK: usize = 64;
    let at = (0..len).step_by(BLOCK).find(|at| !all(*at..len.min(at + BLOCK))).unwrap_or(len);
    (at..len).find(|i| !all(*i..i + 1)).unwrap_or(len)
}

/// Consecutive rows of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRun {
    /// Which host.
    pub host: Host,
    /// Which series of it.
    pub key: SeriesKey,
    /// How many rows.
    pub rows: usize,
}

/// Consecutive rows of one series that are evenly spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRun {
    /// Unix time in s of the first row.
    pub start: i64,
    /// Seconds between rows, and the value of the column `frequency`.
    pub frequency: i64,
    /// How many rows.
    pub rows: usize,
}

impl Rows {
    /// Count of rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The times of all rows, with each row's frequency.
    pub fn expanded_times(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.times.iter().flat_map(|run| (0..run.rows as i64).map(move |i| (run.start + i * run.frequency, run.frequency)))
    }

    /// Time of the earliest and of the latest row.
    pub fn extent(&self) -> Option<(i64, i64)> {
        let first = self.times.iter().map(|run| run.start).min()?;
        let last = self.times.iter().map(|run| run.start + (run.rows as i64 - 1) * run.frequency).max()?;
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_not_is_found_wherever_it_stands() {
        for len in [0, 1, 63, 64, 65, 200] {
            for odd in 0..=len {
                assert_eq!(first_not(len, |range| !range.contains(&odd)), odd);
            }
        }
    }
}
