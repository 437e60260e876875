//! Stage 7: merged series become [`Rows`], and the rows of one host after the other become [`RowGroups`].

use std::ops::Range;

use bytes::Bytes;

use crate::data::{Piece, Rows, SeriesRows, SeriesRun, Span, TimeRun, Values, first_not};
use crate::names::Host;

mod groups;

pub use groups::RowGroups;

/// Pieces of fewer values are copied together: a slice of them would take more memory than they do.
const WORTH_A_SLICE: usize = 32;

/// Runs of times after which a host's next rows are others, so that gaps in time do not add up.
const MOST_TIMES: usize = 128 << 10;

/// What may be in memory behind the rows that are made at a time.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// Bytes that slices of values keep in any case.
    pub kept: usize,
    /// The most bytes that may be read from files: of values, and of names, which are read again.
    pub loaded: usize,
}

/// A host's next series as rows: all that `next` gives, or until there are many times or many values that were read for it. Values
/// are not copied where they can be sliced. NaN becomes no row.
///
/// # Errors
/// Those of `next`.
pub fn rows_of<E>(host: &Host, behind: Behind, mut next: impl FnMut() -> Result<Option<SeriesRows>, E>) -> Result<Rows, E> {
    let (mut rows, mut loaded, mut names) = (Expansion::default(), 0, 0);
    while rows.times.len() < MOST_TIMES
        && loaded + names < behind.loaded
        && let Some(series) = next()?
    {
        let before = rows.len;
        rows.first_time = rows.times.len();
        for piece in &series.pieces {
            rows.push(piece, &series.values[piece.of]);
        }
        loaded += series.loaded;
        names += series.key.metric.len();
        let count = rows.len - before;
        if count > 0 {
            rows.series.push(SeriesRun { host: host.clone(), key: series.key, rows: count });
        }
    }
    let mut rows = rows.finish();
    // a slice keeps all that it is a slice of: where most of that became no row, rows are copied
    if 2 * 4 * rows.len() < behind.kept + loaded {
        rows.values.gather();
    }
    Ok(rows)
}

/// Where some values are.
enum Part {
    /// In a snapshot.
    Slice(Bytes),
    /// Next among those that were copied: so many bytes.
    Copied(usize),
}

#[derive(Default)]
struct Expansion {
    series: Vec<SeriesRun>,
    times: Vec<TimeRun>,
    /// Times before this index belong to another series.
    first_time: usize,
    parts: Vec<Part>,
    copied: Vec<u8>,
    len: usize,
}

impl Expansion {
    fn push(&mut self, Piece { span, dense, .. }: &Piece, values: &Bytes) {
        if *dense {
            return self.push_run(span, 0..span.len, values);
        }
        let samples = values[span.bytes()].as_chunks::<4>().0;
        let mut at = 0;
        while at < samples.len() {
            let run = until_nan(&samples[at..]);
            if run > 0 {
                self.push_run(span, at..at + run, values);
            }
            // the NaN that ended it
            at += run + 1;
        }
    }

    /// Appends values of a span that hold no NaN.
    fn push_run(&mut self, span: &Span, run: Range<usize>, values: &Bytes) {
        self.len += run.len();
        self.push_time(span, run.start, run.end);
        let bytes = span.part(run.start, run.len()).bytes();
        if run.len() >= WORTH_A_SLICE {
            return self.parts.push(Part::Slice(values.slice(bytes)));
        }
        self.copied.extend_from_slice(&values[bytes.clone()]);
        match self.parts.last_mut() {
            Some(Part::Copied(last)) => *last += bytes.len(),
            _ => self.parts.push(Part::Copied(bytes.len())),
        }
    }

    /// Appends values `first` to `end` of a span as a run, or lengthens the last one where it goes on evenly.
    fn push_time(&mut self, span: &Span, first: usize, end: usize) {
        let run = TimeRun { start: span.time(first), frequency: span.frequency, rows: end - first };
        if self.times.len() > self.first_time
            && let Some(last) = self.times.last_mut()
            && last.frequency == run.frequency
            && last.start + last.rows as i64 * last.frequency == run.start
        {
            last.rows += run.rows;
        } else {
            self.times.push(run);
        }
    }

    fn finish(self) -> Rows {
        let mut copied = Bytes::from(self.copied);
        let mut values = Values::default();
        for part in self.parts {
            values.push(match part {
                Part::Slice(slice) => slice,
                Part::Copied(bytes) => copied.split_to(bytes),
            });
        }
        Rows { series: self.series, times: self.times, values }
    }
}

/// How many values come before the first NaN.
fn until_nan(values: &[[u8; 4]]) -> usize {
    first_not(values.len(), |range| values[range].iter().fold(true, |none, value| none & !f32::from_le_bytes(*value).is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::SeriesKey;
    use crate::names::Selector;
    use std::sync::Arc;

    fn host_rows(host: &str, values: &[f32]) -> Rows {
        let bytes: Bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into();
        let key = SeriesKey { metric: "m".into(), selector: Arc::new(Selector::node()) };
        let span = Span { start: 0, frequency: 60, at: 0, len: values.len() };
        let pieces = vec![Piece { of: 0, span, dense: false }];
        let mut series = Some(SeriesRows { key, values: vec![bytes], pieces, loaded: 0 });
        let rows = rows_of(&Host::new(host), Behind { kept: 0, loaded: usize::MAX }, || Ok::<_, std::convert::Infallible>(series.take()));
        rows.expect("nothing fails")
    }

    #[test]
    fn nan_leaves_a_gap_in_time() {
        let rows = host_rows("a", &[f32::NAN, 1.0, 2.0, f32::NAN, 3.0]);
        assert_eq!(rows.times, [TimeRun { start: 60, frequency: 60, rows: 2 }, TimeRun { start: 240, frequency: 60, rows: 1 }]);
        assert!(rows.values.iter().eq([1.0, 2.0, 3.0]));
        assert_eq!(rows.series[0].rows, 3);
    }
}
