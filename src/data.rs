//! What the stages hand to each other: a decoded [`Snapshot`], merged [`SeriesRows`], and [`Rows`] as runs.
//!
//! Nothing here holds a value per key column and row. Key columns are runs, and timestamps are (start, frequency,
//! count): only values take memory, four bytes each.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::names::{Date, END_OF_TIME, Selector};

mod index;
mod rows;
mod snapshot;
mod steps;

pub use index::{Index, IndexBuilder, Series};
pub use rows::{Rows, SeriesRun, TimeRun, Values, first_not, floats};
pub use snapshot::{Cursor, Place, Reindex, Snapshot};
pub use steps::Steps;

/// The most dates that one snapshot may feed. A snapshot covers hours; a header that claims more is not believed.
pub const MAX_DATES: usize = 1_000;

/// So many missing values are put into a span as NaN.
const MOST_MISSING: i64 = 8;

/// Values on a regular grid of time, as a slice of a snapshot's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Unix time in s of the first value.
    pub start: i64,
    /// Seconds between values; positive.
    pub frequency: i64,
    /// Byte offset of the first value.
    pub at: usize,
    /// Count of values.
    pub len: usize,
}

impl Span {
    /// Checks what a file claims: a positive frequency, and times from 1970 to 9999.
    pub fn checked(start: i64, frequency: i64, at: usize, len: usize) -> Result<Self, String> {
        let span = Self { start, frequency, at, len };
        if len == 0 {
            return Ok(span);
        }
        if frequency <= 0 {
            return Err(format!("frequency {frequency} is not positive"));
        }
        // also where there is only one value, so that times can be reckoned with
        if frequency >= END_OF_TIME {
            return Err(format!("values {frequency} s apart leave the years 1970 to 9999"));
        }
        let last = i64::try_from(len - 1).ok().and_then(|steps| steps.checked_mul(frequency)).and_then(|t| t.checked_add(start));
        match last {
            Some(last) if start >= 0 && last < END_OF_TIME => Ok(span),
            _ => Err(format!("{len} values from {start} on, {frequency} s apart, leave the years 1970 to 9999")),
        }
    }

    /// The time of value `i`.
    pub fn time(&self, i: usize) -> i64 {
        self.start + i as i64 * self.frequency
    }

    /// The time of the last value. The span must not be empty.
    pub fn last(&self) -> i64 {
        self.time(self.len - 1)
    }

    /// How many values are missing between the span and one at this time, if they would be of one grid, and are few: NaN in their places takes less memory
    /// than another span.
    pub fn missing_before(&self, time: i64, frequency: i64) -> Option<usize> {
        let ahead = time.checked_sub(self.time(self.len))?;
        let belongs = self.frequency == frequency && ahead >= 0 && ahead % frequency == 0 && ahead / frequency <= MOST_MISSING;
        belongs.then_some((ahead / frequency) as usize)
    }

    /// The part of the span with times in `[from, to)`, which may be empty.
    pub fn within(&self, from: i64, to: i64) -> Span {
        if self.len == 0 {
            return *self;
        }
        // the index of the first value at or after a time
        let index = |time: i64| if time <= self.start { 0 } else { self.len.min(((time - self.start - 1) / self.frequency) as usize + 1) };
        let (first, end) = (index(from), index(to));
        self.part(first, end.saturating_sub(first))
    }

    /// The parts of the span, date by date.
    pub fn days(&self) -> impl Iterator<Item = (Date, Span)> {
        let mut rest = *self;
        std::iter::from_fn(move || {
            let date = Date::of(rest.start).filter(|_| rest.len > 0)?;
            let day = rest.within(date.start(), date.end());
            rest = rest.part(day.len, rest.len - day.len);
            Some((date, day))
        })
    }

    /// `len` values from index `first` on.
    pub fn part(&self, first: usize, len: usize) -> Span {
        Span { start: self.time(first), at: self.at + 4 * first, len, ..*self }
    }

    /// The span's values in `values`, NaN included.
    pub fn values<'a>(&self, values: &'a [u8]) -> impl ExactSizeIterator<Item = f32> + DoubleEndedIterator + Clone + 'a {
        floats(&values[self.bytes()])
    }

    /// Where its values stand.
    pub fn bytes(&self) -> Range<usize> {
        self.at..self.at + 4 * self.len
    }

    /// Value `i` of the span in `values`.
    pub fn value(&self, values: &[u8], i: usize) -> f32 {
        let at = self.at + 4 * i;
        f32::from_le_bytes([values[at], values[at + 1], values[at + 2], values[at + 3]])
    }
}

/// The dates on which a snapshot has a sample, and from when to when its series reach on each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Days(BTreeMap<Date, (i64, i64)>);

impl Days {
    /// True if the date is known to have a sample.
    pub fn has(&self, date: Date) -> bool {
        self.0.contains_key(&date)
    }

    /// Adds the part of a series that lies on a date that has a sample.
    ///
    /// # Errors
    /// If there are more dates than any snapshot has.
    pub fn add(&mut self, date: Date, part: &Span) -> Result<(), String> {
        let (first, last) = self.0.entry(date).or_insert((part.start, part.last()));
        (*first, *last) = (part.start.min(*first), part.last().max(*last));
        if self.0.len() > MAX_DATES { Err(format!("samples on more than {MAX_DATES} dates")) } else { Ok(()) }
    }

    /// Adds the dates of a series; `values` gives those of a part of it.
    ///
    /// # Errors
    /// Those of `values`, and if there are more dates than any snapshot has.
    pub fn add_series<E: From<String>>(&mut self, span: &Span, mut values: impl FnMut(&Span) -> Result<Bytes, E>) -> Result<(), E> {
        for (date, part) in span.days() {
            if self.has(date) || floats(&values(&part)?).any(|value| !value.is_nan()) {
                self.add(date, &part)?;
            }
        }
        Ok(())
    }

    /// The dates, in order.
    pub fn dates(&self) -> impl Iterator<Item = Date> {
        self.0.keys().copied()
    }

    /// Times of the first and of the last value of a date, which may be NaN.
    pub fn extent(&self, date: Date) -> Option<(i64, i64)> {
        self.0.get(&date).copied()
    }
}

/// What identifies a series in a host, in the sort order of the archive: see [`rank`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesKey {
    /// The metric's name.
    pub metric: Arc<str>,
    /// Scope, id and path.
    pub selector: Arc<Selector>,
}

impl SeriesKey {
    /// Where it stands among the series of its host.
    pub fn rank(&self) -> [&str; 4] {
        rank(&self.metric, &self.selector)
    }
}

impl Ord for SeriesKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for SeriesKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By what the series of a host are sorted: scope, metric, id, path. So a question for a scope, or for a metric of it, reads one stretch of each host.
pub fn rank<'a>(metric: &'a str, selector: &'a Selector) -> [&'a str; 4] {
    [&selector.scope, metric, &selector.scope_id, &selector.path]
}

/// One series of a host on one date after the merge.
#[derive(Debug)]
pub struct SeriesRows {
    /// Which series.
    pub key: SeriesKey,
    /// Values that pieces refer to.
    pub values: Vec<Bytes>,
    /// What is written of them: spans in time order that do not overlap.
    pub pieces: Vec<Piece>,
    /// Bytes of values that were read from files for it.
    pub loaded: usize,
}

/// Values of one span of one snapshot that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index into [`SeriesRows::values`].
    pub of: usize,
    /// Which of these.
    pub span: Span,
    /// True if none of them is NaN.
    pub dense: bool,
}

/// What became of one snapshot's samples of one date.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Samples decoded: values that are not NaN.
    pub rows: u64,
    /// Values that are NaN.
    pub nan: u64,
    /// Rows written; all others were dropped, because another snapshot holds the instant.
    pub written: u64,
    /// Rows dropped although a newer snapshot of the same run holds another value there.
    pub superseded: u64,
    /// Rows dropped because the archive holds the instant already.
    pub held: u64,
    /// Those of `held` where the archive's value is another one.
    pub conflicting: u64,
    /// Time of the first and last sample.
    pub extent: Option<(i64, i64)>,
    /// Which of the host's snapshots hold rows of `held`, by index.
    pub holders: BTreeSet<usize>,
}

impl Tally {
    /// Widens the extent to `time`.
    pub fn reach(&mut self, time: i64) {
        let (first, last) = self.extent.unwrap_or((time, time));
        self.extent = Some((first.min(time), last.max(time)));
    }

    /// Adds what became of other samples of the same snapshot and date.
    pub fn add(&mut self, other: &Tally) {
        self.rows += other.rows;
        self.nan += other.nan;
        self.written += other.written;
        self.superseded += other.superseded;
        self.held += other.held;
        self.conflicting += other.conflicting;
        other.extent.into_iter().for_each(|(first, last)| [first, last].into_iter().for_each(|time| self.reach(time)));
        self.holders.extend(&other.holders);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_cut_at_times_not_at_indices() {
        let span = Span { start: 100, frequency: 60, at: 8, len: 10 };
        assert_eq!(span.within(0, 1_000), span);
        assert_eq!(span.within(101, 221), Span { start: 160, frequency: 60, at: 12, len: 2 });
        assert_eq!(span.within(160, 220), Span { start: 160, frequency: 60, at: 12, len: 1 });
        assert_eq!(span.within(641, 9_999).len, 0);
        assert_eq!(span.within(0, 100).len, 0);
    }

    #[test]
    fn claims_that_leave_time_are_refused() {
        assert!(Span::checked(0, 60, 0, 10).is_ok());
        assert!(Span::checked(0, 0, 0, 0).is_ok());
        for (start, frequency, len) in
            [(0, 0, 1), (0, -60, 2), (-1, 60, 1), (0, i64::MAX, 3), (0, i64::MAX, 1), (0, END_OF_TIME, 1), (END_OF_TIME, 1, 1), (i64::MAX, 1, 2)]
        {
            assert!(Span::checked(start, frequency, 0, len).is_err(), "{start} {frequency} {len}");
        }
    }
}
