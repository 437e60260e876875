//! Stage 7: merged series become [`Rows`], and the rows of one host after the other become row groups.

use std::ops::Range;

use bytes::Bytes;

use crate::data::{Piece, Rows, SeriesKey, SeriesRows, SeriesRun, Span, TimeRun, Values};
use crate::names::Host;

/// Pieces of fewer values are copied together: a slice of them would take more memory than they do.
const WORTH_A_SLICE: usize = 32;

/// Runs of times after which a host's next rows are others, so that gaps in time do not add up.
const MOST_TIMES: usize = 128 << 10;

/// A host's next series as rows: all of them, or until there are many times; `values` are those of the inputs that pieces
/// refer to, and are not copied where they can be sliced. NaN becomes no row.
pub fn rows_of(host: &Host, series: &mut impl Iterator<Item = SeriesRows>, values: &[Bytes]) -> Rows {
    let mut rows = Expansion::default();
    while rows.times.len() < MOST_TIMES
        && let Some(SeriesRows { key, pieces }) = series.next()
    {
        let before = rows.len;
        rows.first_time = rows.times.len();
        for piece in &pieces {
            rows.push(piece, &values[piece.input]);
        }
        let count = rows.len - before;
        if count > 0 {
            rows.series.push(SeriesRun { host: host.clone(), key, rows: count });
        }
    }
    let mut rows = rows.finish();
    // a slice keeps all that it is a slice of: where most of that became no row, rows are copied
    if 2 * 4 * rows.len() < values.iter().map(Bytes::len).sum() {
        rows.values.gather();
    }
    rows
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

/// Rows that wait for a row group may keep the memory of a host of so many row groups.
const MOST_KEPT: usize = 4;

/// How many values come before the first NaN. In blocks, as most hold none.
fn until_nan(values: &[[u8; 4]]) -> usize {
    const BLOCK: usize = 64;
    let is_nan = |value: &[u8; 4]| f32::from_le_bytes(*value).is_nan();
    let clean = values.chunks(BLOCK).take_while(|block| !block.iter().fold(false, |any, value| any | is_nan(value)));
    let at = clean.map(<[_]>::len).sum();
    values[at..].iter().position(is_nan).map_or(values.len(), |i| at + i)
}

/// A row group ends when it has so many runs of times, or of series: what few values each have takes far more memory than
/// its values, in a reader, too.
const MOST_TIMES_OF_GROUP: usize = 256 << 10;
const MOST_SERIES_OF_GROUP: usize = 64 << 10;
/// It ends sooner, too, with so many bytes of names, each series' counted: only very long ones come to that.
const MOST_NAMES_OF_GROUP: usize = 16 << 20;

/// Gathers rows into row groups of one size, whatever the sizes of hosts.
#[derive(Debug)]
pub struct RowGroups {
    limit: usize,
    pending: Rows,
    /// Bytes of the names in `pending`.
    names: usize,
}

impl RowGroups {
    /// Row groups of `limit` rows, the last one excepted, and those whose series are very short.
    pub fn new(limit: usize) -> Self {
        Self { limit, pending: Rows::default(), names: 0 }
    }

    /// Adds a host's rows and calls `full` for every row group that they complete.
    pub fn push(&mut self, rows: &Rows, mut full: impl FnMut(Rows)) {
        let mut rest = Cursor { rows, left: rows.len(), value: (0, 0), series: (0, 0), time: (0, 0) };
        while rest.left > 0 {
            let Rows { series, times, .. } = &self.pending;
            let most_series = MOST_SERIES_OF_GROUP - series.len();
            let names = rows.series[rest.series.0..].iter().take(most_series).scan(self.names, |names, run| {
                *names += names_of(run);
                Some(*names)
            });
            // the series that comes to that is the last one
            let most_series = most_series.min(names.take_while(|names| *names < MOST_NAMES_OF_GROUP).count() + 1);
            let room = (self.limit - self.pending.len())
                .min(rows_in(rest.time, MOST_TIMES_OF_GROUP - times.len(), self.limit, |i| rows.times.get(i).map(|run| run.rows)))
                .min(rows_in(rest.series, most_series, self.limit, |i| rows.series.get(i).map(|run| run.rows)));
            let before = series.len();
            rest.move_to(&mut self.pending, room);
            let Rows { series, times, .. } = &self.pending;
            self.names += series[before..].iter().map(names_of).sum::<usize>();
            let is_long = times.len() == MOST_TIMES_OF_GROUP || series.len() == MOST_SERIES_OF_GROUP || self.names >= MOST_NAMES_OF_GROUP;
            if self.pending.len() == self.limit || is_long {
                self.names = 0;
                full(std::mem::take(&mut self.pending));
            }
        }
        // what waits for the next host must not keep much more memory than it takes
        if rows.len() > MOST_KEPT * self.limit {
            self.pending.values.gather();
        }
    }

    /// What is left, if anything.
    pub fn finish(&mut self) -> Option<Rows> {
        Some(std::mem::take(&mut self.pending)).filter(|rows| !rows.is_empty())
    }
}

fn names_of(run: &SeriesRun) -> usize {
    let SeriesKey { metric, selector } = &run.key;
    metric.len() + selector.bytes()
}

/// How much of some rows has been moved on: (index of a run or slice, rows of it that are done).
struct Cursor<'a> {
    rows: &'a Rows,
    left: usize,
    value: (usize, usize),
    series: (usize, usize),
    time: (usize, usize),
}

impl Cursor<'_> {
    fn move_to(&mut self, target: &mut Rows, at_most: usize) {
        let count = at_most.min(self.left);
        self.left -= count;
        let slices = self.rows.values.slices();
        advance(
            &mut self.value,
            count,
            |i| slices[i].len() / 4,
            |i, done, rows| {
                target.values.push(slices[i].slice(4 * done..4 * (done + rows)));
            },
        );
        advance(
            &mut self.series,
            count,
            |i| self.rows.series[i].rows,
            |i, _, rows| {
                target.series.push(SeriesRun { rows, ..self.rows.series[i].clone() });
            },
        );
        advance(
            &mut self.time,
            count,
            |i| self.rows.times[i].rows,
            |i, done, rows| {
                let run = self.rows.times[i];
                target.times.push(TimeRun { start: run.start + done as i64 * run.frequency, rows, ..run });
            },
        );
    }
}

/// How many rows the next `runs` runs have from `at` on; more than `enough` are not counted.
fn rows_in((index, done): (usize, usize), runs: usize, enough: usize, rows: impl Fn(usize) -> Option<usize>) -> usize {
    let mut all = 0;
    for rows in (index..index + runs).map_while(rows) {
        all += rows;
        if all >= done + enough {
            break;
        }
    }
    all - done
}

/// Takes `count` rows from the runs at `at`, as (index, rows of it done before, rows of it taken).
fn advance(at: &mut (usize, usize), mut count: usize, len: impl Fn(usize) -> usize, mut take: impl FnMut(usize, usize, usize)) {
    while count > 0 {
        let (index, done) = *at;
        let rows = count.min(len(index) - done);
        take(index, done, rows);
        count -= rows;
        *at = if done + rows == len(index) { (index + 1, 0) } else { (index, done + rows) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Selector;
    use std::sync::Arc;

    fn host_rows(host: &str, values: &[f32]) -> Rows {
        let bytes: Bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into();
        let key = SeriesKey { metric: "m".into(), selector: Arc::new(Selector::node()) };
        let span = Span { start: 0, frequency: 60, at: 0, len: values.len() };
        let series = SeriesRows { key, pieces: vec![Piece { input: 0, span, dense: false }] };
        rows_of(&Host::new(host), &mut std::iter::once(series), &[bytes])
    }

    fn flat(rows: &Rows) -> Vec<(String, i64, f32)> {
        let hosts = rows.series.iter().flat_map(|run| std::iter::repeat_n(run.host.as_str().to_owned(), run.rows));
        hosts.zip(rows.expanded_times()).zip(rows.values.iter()).map(|((h, (t, _)), v)| (h, t, v)).collect()
    }

    #[test]
    fn nan_leaves_a_gap_in_time() {
        let rows = host_rows("a", &[f32::NAN, 1.0, 2.0, f32::NAN, 3.0]);
        assert_eq!(rows.times, [TimeRun { start: 60, frequency: 60, rows: 2 }, TimeRun { start: 240, frequency: 60, rows: 1 }]);
        assert!(rows.values.iter().eq([1.0, 2.0, 3.0]));
        assert_eq!(rows.series[0].rows, 3);
    }

    #[test]
    fn row_groups_hold_the_same_rows_in_the_same_order() {
        let hosts = [host_rows("a", &[1.0, 2.0, f32::NAN, 3.0]), host_rows("b", &[4.0]), host_rows("c", &[5.0, f32::NAN, 6.0, 7.0])];
        let expected: Vec<_> = hosts.iter().flat_map(flat).collect();
        for limit in 1..9 {
            let (mut groups, mut cut) = (RowGroups::new(limit), Vec::new());
            for rows in &hosts {
                groups.push(rows, |group| cut.push(group));
            }
            assert!(cut.iter().all(|group| group.len() == limit));
            cut.extend(groups.finish());
            assert_eq!(cut.iter().flat_map(flat).collect::<Vec<_>>(), expected, "limit {limit}");
        }
    }

    #[test]
    fn long_names_end_a_row_group_wherever_its_rows_were_cut() {
        let key = |m| SeriesKey { metric: format!("{m:060000}").into(), selector: Arc::new(Selector::node()) };
        let span = Span { start: 0, frequency: 60, at: 0, len: 5 };
        let series = (0..700).map(|m| SeriesRows { key: key(m), pieces: vec![Piece { input: 0, span, dense: true }] }).collect::<Vec<_>>();
        let bytes = Bytes::from_static(&[0; 20]);
        // all at once, and in two pieces
        let cuts = [&[700][..], &[1, 699], &[279, 421], &[280, 420]].map(|cuts| {
            let (mut groups, mut found, mut rest) = (RowGroups::new(1 << 20), Vec::new(), series.iter());
            for cut in cuts {
                let mut taken = rest.by_ref().take(*cut).map(|SeriesRows { key, pieces }| SeriesRows { key: key.clone(), pieces: pieces.clone() });
                let rows = rows_of(&Host::new("a"), &mut taken, std::slice::from_ref(&bytes));
                groups.push(&rows, |group| found.push(group));
            }
            found.extend(groups.finish());
            found.iter().map(|group| (group.series.len(), group.len())).collect::<Vec<_>>()
        });
        // 280 names are the first that come to 16 MiB
        assert!(cuts.iter().all(|cut| *cut == [(280, 1_400), (280, 1_400), (140, 700)]), "{cuts:?}");
    }
}
