//! Stage 6b: which samples of a host's logs become rows: those that no snapshot has, and that none will have.
//!
//! A log has the time at which a sample was taken, a snapshot the time of the cell that it lies in. The two differ by less than a step, by
//! another offset in each snapshot. So a sample is looked for by its value in the cells around it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::data::{SeriesKey, Span, Steps};
use crate::names::MOST_STEP;

mod cells;

pub use cells::Cells;

/// A sample as a log has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When it was taken, unix s.
    pub time: i64,
    /// Its value, which is not NaN.
    pub value: f32,
    /// Index of the log.
    pub log: u16,
}

/// All samples of one series, in the order in which the logs have them.
#[derive(Debug)]
pub struct LoggedSeries {
    /// Which series.
    pub key: SeriesKey,
    /// Its samples.
    pub samples: Vec<Sample>,
}

impl LoggedSeries {
    /// The step that is the most common between its samples, in s; no more than any series has.
    pub fn step(&self) -> Option<i64> {
        let mut steps = Steps::default();
        self.samples.iter().for_each(|sample| steps.add(sample.time));
        steps.most_common().map(|step| step.min(MOST_STEP))
    }
}

/// What is known of a series besides its log.
#[derive(Debug, Default)]
pub struct Known {
    /// Cells of snapshots that are archived.
    pub archived: Cells,
    /// Cells of snapshots that are on disk only. What stands there is not decided: they may yet vanish.
    pub on_disk: Cells,
    /// Rows that an earlier run took from a log, by their times.
    pub taken: BTreeSet<i64>,
    /// Rows that were imported, of the series' scope and id but without its path. Series of several paths can share them, so their values alone count.
    pub imported: Arc<Cells>,
}

/// What becomes of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It becomes a row.
    Row,
    /// An earlier run has made a row of it.
    Taken,
    /// A snapshot has it.
    Covered,
    /// A newer sample stands in its cell, or one of the same time behind it in the log.
    Shadowed,
    /// The archive does not keep rows of its date any more.
    Expired,
    /// A snapshot may yet come that has it.
    Waiting,
}

/// Of which samples it can be decided what becomes of them.
#[derive(Debug, Clone, Copy)]
pub enum Decided {
    /// Those that lie a step or more before this time, in unix s: the newest snapshot of the store begins there, and no later one reaches back.
    Before(i64),
    /// All of them: the store is gone.
    All,
}

impl Decided {
    fn holds(self, time: i64, step: i64) -> bool {
        match self {
            Self::Before(from) => time.saturating_add(step) < from,
            Self::All => true,
        }
    }
}

/// Says of each sample of a series what becomes of it. `step` is the series' frequency in s: no sample lies further than that from its cell in a
/// snapshot that is yet to come. What is known of snapshots has steps of its own.
pub fn judge(samples: &[Sample], known: &Known, step: i64, decided: Decided, times: &Range<i64>) -> Vec<Fate> {
    let (archived, on_disk) = (known.archived.pairs(samples), known.on_disk.pairs(samples));
    let fate = |sample: &Sample| {
        if known.taken.contains(&sample.time) {
            return Fate::Taken;
        }
        if !times.contains(&sample.time) || !decided.holds(sample.time, step) {
            return Fate::Waiting;
        }
        if known.archived.cover(sample) || known.imported.cover(sample) {
            return Fate::Covered;
        }
        if known.on_disk.cover(sample) || known.on_disk.shadow(sample, &on_disk) {
            return Fate::Waiting;
        }
        if known.archived.shadow(sample, &archived) { Fate::Shadowed } else { Fate::Row }
    };
    let mut fates: Vec<Fate> = samples.iter().map(fate).collect();
    // of several of one time the last one counts
    let mut last = BTreeMap::new();
    for index in 0..fates.len() {
        if fates[index] == Fate::Row
            && let Some(before) = last.insert(samples[index].time, index)
        {
            fates[before] = Fate::Shadowed;
        }
    }
    fates
}

/// Rows of one series as spans of evenly spaced ones, with their values at the offsets that spans name. `rows` are in the order of their times.
pub fn spans(rows: &[Sample], step: i64) -> (Vec<Span>, Vec<u8>) {
    let (mut spans, mut values) = (Vec::<Span>::new(), Vec::with_capacity(4 * rows.len()));
    for row in rows {
        match spans.last_mut() {
            Some(span) if span.time(span.len) == row.time => span.len += 1,
            _ => spans.push(Span { start: row.time, frequency: step, at: values.len(), len: 1 }),
        }
        values.extend(row.value.to_le_bytes());
    }
    (spans, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Fate::*;

    const ALWAYS: Range<i64> = 0..i64::MAX;

    fn samples(of: &[(i64, f32)]) -> Vec<Sample> {
        of.iter().map(|(time, value)| Sample { time: *time, value: *value, log: 0 }).collect()
    }

    fn cells(start: i64, values: &[f32]) -> Cells {
        let mut cells = Cells::default();
        values.iter().enumerate().for_each(|(i, value)| cells.add(start + 60 * i as i64, *value, 60));
        cells.settle();
        cells
    }

    fn fates(of: &[(i64, f32)], archived: Cells, decided: Decided) -> Vec<Fate> {
        judge(&samples(of), &Known { archived, ..Known::default() }, 60, decided, &ALWAYS)
    }

    #[test]
    fn what_a_snapshot_has_is_found_by_its_value_on_either_side() {
        let log = [(1_000, 1.0), (1_060, 2.0), (1_120, 3.0)];
        for offset in [-59, -43, 0, 36, 59] {
            assert_eq!(fates(&log, cells(1_000 + offset, &[1.0, 2.0]), Decided::All), [Covered, Covered, Row], "{offset}");
        }
        assert_eq!(fates(&log[..1], cells(1_060, &[1.0]), Decided::All), [Row], "a step away is another cell");
    }

    #[test]
    fn a_sample_is_decided_when_a_snapshot_begins_more_than_a_step_later() {
        let log = [(1_000, 1.0), (1_060, 2.0), (1_120, 3.0)];
        assert_eq!(fates(&log, Cells::default(), Decided::Before(1_120)), [Row, Waiting, Waiting]);
        assert_eq!(fates(&log, Cells::default(), Decided::Before(1_121)), [Row, Row, Waiting]);
    }

    #[test]
    fn what_a_newer_sample_overwrote_is_no_row() {
        // cells are 20 s behind their samples; the one of 1,120 was overwritten at 1,130
        let log = [(1_000, 1.0), (1_060, 2.0), (1_120, 3.0), (1_130, 4.0), (1_180, 5.0)];
        assert_eq!(fates(&log, cells(1_020, &[1.0, 2.0, 4.0, 5.0]), Decided::All), [Covered, Covered, Shadowed, Covered, Covered]);
        // nothing stands in its cell
        assert_eq!(fates(&log[..3], cells(1_020, &[1.0, 2.0, f32::NAN, 5.0]), Decided::All), [Covered, Covered, Row]);
        // no pair says how far cells are off: both cells around it hold something
        assert_eq!(fates(&[(1_120, 3.0)], cells(1_080, &[7.0, 8.0]), Decided::All), [Shadowed]);
        assert_eq!(fates(&[(1_120, 3.0)], cells(1_080, &[7.0]), Decided::All), [Row]);
        assert_eq!(fates(&[(1_080, 3.0)], cells(1_080, &[7.0]), Decided::All), [Shadowed], "the instant is another one's");
    }

    #[test]
    fn of_one_time_the_last_counts_and_what_was_taken_stays() {
        assert_eq!(fates(&[(1_000, 1.0), (1_000, 2.0)], Cells::default(), Decided::All), [Shadowed, Row]);
        let known = Known { taken: [1_000].into(), ..Known::default() };
        assert_eq!(judge(&samples(&[(1_000, 1.0), (1_060, 1.0)]), &known, 60, Decided::All, &ALWAYS), [Taken, Row]);
    }

    #[test]
    fn what_only_the_disk_has_is_not_decided() {
        let known = Known { on_disk: cells(1_010, &[1.0]), ..Known::default() };
        assert_eq!(judge(&samples(&[(1_000, 1.0), (1_120, 1.0)]), &known, 60, Decided::All, &ALWAYS), [Waiting, Row]);
    }

    #[test]
    fn each_cell_has_its_own_step() {
        let mut archived = Cells::default();
        // an hour of a series that had a value every ten minutes, then one every ten seconds, of a few values that come again and again
        (0..6).for_each(|i| archived.add(600 * i, (i % 2) as f32, 600));
        (0..60).for_each(|i| archived.add(3_600 + 10 * i, (i % 2) as f32, 10));
        archived.settle();
        let known = Known { archived, ..Known::default() };
        let of_log = samples(&[(590, 1.0), (1_190, 5.0), (3_603, 0.0), (4_200, 0.0), (4_210, 1.0), (4_220, 0.0)]);
        assert_eq!(judge(&of_log, &known, 600, Decided::All, &ALWAYS), [Covered, Shadowed, Covered, Row, Row, Row]);
    }

    #[test]
    fn a_guessed_step_is_no_longer_than_any() {
        let key = SeriesKey { metric: "m".into(), selector: std::sync::Arc::new(crate::names::Selector::node()) };
        let step = |times: &[i64]| {
            let samples = times.iter().map(|time| Sample { time: *time, value: 1.0, log: 0 }).collect();
            LoggedSeries { key: key.clone(), samples }.step()
        };
        assert_eq!((step(&[0]), step(&[0, 30, 60]), step(&[0, 21_600])), (None, Some(30), Some(MOST_STEP)));
    }

    #[test]
    fn evenly_spaced_rows_are_one_span() {
        let (spans, values) = spans(&samples(&[(0, 1.0), (60, 2.0), (125, 3.0)]), 60);
        assert_eq!(spans, [Span { start: 0, frequency: 60, at: 0, len: 2 }, Span { start: 125, frequency: 60, at: 8, len: 1 }]);
        assert_eq!(values.len(), 12);
    }
}
