//! Stage 7: merged series become [`Rows`], and the rows of one host after the other become row groups.

use bytes::Bytes;

use crate::data::{Rows, SeriesRows, SeriesRun, Span, TimeRun};
use crate::names::Host;

/// Expands a host's series; `values` are those of the inputs that pieces refer to. NaN becomes no row.
pub fn rows_of(host: &Host, series: &[SeriesRows], values: &[Bytes]) -> Rows {
    let mut rows = Rows::default();
    rows.values.reserve_exact(series.iter().flat_map(|s| &s.pieces).map(|(_, span)| span.len).sum());
    for SeriesRows { key, pieces } in series {
        let before = rows.len();
        let first_time = rows.times.len();
        for (input, span) in pieces {
            push_samples(&mut rows, first_time, span, &values[*input]);
        }
        let count = rows.len() - before;
        if count > 0 {
            rows.series.push(SeriesRun { host: host.clone(), key: key.clone(), rows: count });
        }
    }
    rows
}

/// Values that are looked at together: most blocks hold no NaN, and are copied as they are.
const BLOCK: usize = 64;

/// Appends a span's samples. Times before index `first_time` belong to another series.
fn push_samples(rows: &mut Rows, first_time: usize, span: &Span, values: &[u8]) {
    // the first of the samples that have come without a gap
    let mut run_start = None;
    let end_run = |times: &mut Vec<TimeRun>, run_start: &mut Option<usize>, end: usize| {
        if let Some(first) = run_start.take() {
            push_time(times, first_time, TimeRun { start: span.time(first), frequency: span.frequency, rows: end - first });
        }
    };
    let bytes = &values[span.at..span.at + 4 * span.len];
    for (index, block) in bytes.chunks(4 * BLOCK).enumerate() {
        let block = block.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        let first = index * BLOCK;
        let nans = block.clone().filter(|value| value.is_nan()).count();
        if nans == 0 {
            run_start.get_or_insert(first);
            rows.values.extend(block);
            continue;
        }
        for (i, value) in block.enumerate() {
            if value.is_nan() {
                end_run(&mut rows.times, &mut run_start, first + i);
            } else {
                run_start.get_or_insert(first + i);
                rows.values.push(value);
            }
        }
    }
    end_run(&mut rows.times, &mut run_start, span.len);
}

/// Appends a run, or lengthens the last one where it goes on evenly.
fn push_time(times: &mut Vec<TimeRun>, first_time: usize, run: TimeRun) {
    if times.len() > first_time
        && let Some(last) = times.last_mut()
        && last.frequency == run.frequency
        && last.start + last.rows as i64 * last.frequency == run.start
    {
        last.rows += run.rows;
    } else {
        times.push(run);
    }
}

/// Gathers rows into row groups of one size, whatever the sizes of hosts.
#[derive(Debug)]
pub struct RowGroups {
    limit: usize,
    pending: Rows,
}

impl RowGroups {
    /// Row groups of `limit` rows, the last one excepted.
    pub fn new(limit: usize) -> Self {
        Self { limit, pending: Rows::default() }
    }

    /// Adds a host's rows and calls `full` for every row group that they complete.
    pub fn push(&mut self, rows: &Rows, mut full: impl FnMut(Rows)) {
        let mut rest = Cursor { rows, value: 0, series: (0, 0), time: (0, 0) };
        while rest.value < rows.len() {
            let room = self.limit - self.pending.len();
            rest.move_to(&mut self.pending, room);
            if self.pending.len() == self.limit {
                let next = Rows { values: Vec::with_capacity(self.limit), ..Rows::default() };
                full(std::mem::replace(&mut self.pending, next));
            }
        }
    }

    /// What is left, if anything.
    pub fn finish(&mut self) -> Option<Rows> {
        Some(std::mem::take(&mut self.pending)).filter(|rows| !rows.is_empty())
    }
}

/// How much of some rows has been moved on: (index of a run, rows of it that are done).
struct Cursor<'a> {
    rows: &'a Rows,
    value: usize,
    series: (usize, usize),
    time: (usize, usize),
}

impl Cursor<'_> {
    fn move_to(&mut self, target: &mut Rows, at_most: usize) {
        let count = at_most.min(self.rows.len() - self.value);
        target.values.extend_from_slice(&self.rows.values[self.value..self.value + count]);
        self.value += count;
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
    use crate::data::SeriesKey;
    use crate::names::Selector;
    use std::sync::Arc;

    fn host_rows(host: &str, values: &[f32]) -> Rows {
        let bytes: Bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into();
        let key = SeriesKey { metric: "m".into(), selector: Arc::new(Selector::node()) };
        let span = Span { start: 0, frequency: 60, at: 0, len: values.len() };
        rows_of(&Host::new(host), &[SeriesRows { key, pieces: vec![(0, span)] }], &[bytes])
    }

    fn flat(rows: &Rows) -> Vec<(String, i64, f32)> {
        let hosts = rows.series.iter().flat_map(|run| std::iter::repeat_n(run.host.as_str().to_owned(), run.rows));
        hosts.zip(rows.expanded_times()).zip(&rows.values).map(|((h, (t, _)), v)| (h, t, *v)).collect()
    }

    #[test]
    fn nan_leaves_a_gap_in_time() {
        let rows = host_rows("a", &[f32::NAN, 1.0, 2.0, f32::NAN, 3.0]);
        assert_eq!(rows.times, [TimeRun { start: 60, frequency: 60, rows: 2 }, TimeRun { start: 240, frequency: 60, rows: 1 }]);
        assert_eq!(rows.values, [1.0, 2.0, 3.0]);
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
}
