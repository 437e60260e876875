//! Facts of a series: its grid or its steps, its samples, and where they are missing.

use serde::Serialize;

use crate::names::Selector;

/// What one series holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesFacts {
    /// The path of its level; "" is the host.
    pub selector: Box<str>,
    /// The level's scope.
    pub scope: Box<str>,
    /// The level's id.
    pub scope_id: Box<str>,
    /// The metric's name.
    pub metric: Box<str>,
    /// Seconds between values; of a log the most common step, if there are two samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<i64>,
    /// Time of the first value, unix s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Time of the last value, unix s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// Values that are not NaN.
    pub samples: u64,
    /// Values that are NaN: no samples.
    pub nan: u64,
    /// Of a log: samples that stand behind a newer one.
    #[serde(skip_serializing_if = "is_zero")]
    pub late: u64,
    /// Where samples are missing.
    pub gaps: Gaps,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Stretches without samples.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// How many there are.
    pub count: u64,
    /// The longest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest: Option<Gap>,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<Gap>,
}

/// A stretch without samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Time of the first sample that is missing, unix s.
    pub from: i64,
    /// Time at which there is one again, or the series has ended, unix s.
    pub to: i64,
    /// How many are missing.
    pub missing: u64,
}

impl Gaps {
    /// So many are told one by one.
    const FIRST: usize = 10;

    fn add(&mut self, gap: Gap) {
        self.count += 1;
        if self.longest.is_none_or(|longest| gap.missing > longest.missing) {
            self.longest = Some(gap);
        }
        if self.first.len() < Self::FIRST {
            self.first.push(gap);
        }
    }
}

/// Takes the values of one series in the order of the file.
#[derive(Debug)]
pub struct Builder {
    facts: SeriesFacts,
    /// Of the run of NaN that goes on.
    missing: Option<Gap>,
}

impl Builder {
    /// Of no values yet, which are `frequency` s apart, if that is known.
    pub fn new(metric: &str, selector: &Selector, frequency: Option<i64>) -> Self {
        let Selector { scope, scope_id, path } = selector.clone();
        let (start, end, gaps) = (None, None, Gaps::default());
        Self {
            facts: SeriesFacts { selector: path, scope, scope_id, metric: metric.into(), frequency, start, end, samples: 0, nan: 0, late: 0, gaps },
            missing: None,
        }
    }

    /// The next value of a grid.
    pub fn on_grid(&mut self, time: i64, value: f32) {
        let facts = &mut self.facts;
        facts.start.get_or_insert(time);
        facts.end = Some(time);
        if value.is_nan() {
            facts.nan += 1;
            self.missing.get_or_insert(Gap { from: time, to: time, missing: 0 }).missing += 1;
        } else {
            facts.samples += 1;
            self.missing.take().into_iter().for_each(|gap| facts.gaps.add(Gap { to: time, ..gap }));
        }
    }

    /// The next sample of a log: one that comes more than a step and a half after the newest before it leaves a gap.
    pub fn in_log(&mut self, time: i64, value: f32) {
        let facts = &mut self.facts;
        if value.is_nan() {
            facts.nan += 1;
            return;
        }
        facts.samples += 1;
        let Some(newest) = facts.end else {
            (facts.start, facts.end) = (Some(time), Some(time));
            return;
        };
        if time < newest {
            facts.late += 1;
            facts.start = facts.start.map(|start| start.min(time));
            return;
        }
        facts.end = Some(time);
        if let Some(step) = facts.frequency.filter(|step| *step > 0) {
            // times are what somebody wrote
            let (ahead, step) = (time.abs_diff(newest), step.unsigned_abs());
            let missing = (ahead.saturating_add(step / 2) / step).saturating_sub(1);
            if missing > 0 {
                facts.gaps.add(Gap { from: newest.saturating_add_unsigned(step), to: time, missing });
            }
        }
    }

    /// Its last value was taken.
    pub fn finish(mut self) -> SeriesFacts {
        let facts = &mut self.facts;
        let behind = facts.end.map(|end| end.saturating_add(facts.frequency.unwrap_or_default()));
        self.missing.zip(behind).into_iter().for_each(|(gap, to)| facts.gaps.add(Gap { to, ..gap }));
        self.facts
    }
}

/// Series of a file: sums of all, and facts of as many as there is room for.
#[derive(Debug, Default, Serialize)]
pub struct Shown {
    /// How many series there are.
    pub count: u64,
    /// Samples of all of them.
    pub samples: u64,
    /// Values that are NaN, of all of them.
    pub nan: u64,
    /// Time of the first value, unix s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Time of the last value, unix s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// One by one.
    pub list: Vec<SeriesFacts>,
    /// How many of them are not in the list.
    pub not_listed: u64,
}

impl Shown {
    /// No node has so many series.
    pub const MOST: usize = 100_000;

    /// Adds one.
    pub fn add(&mut self, facts: SeriesFacts) {
        self.count += 1;
        self.samples += facts.samples;
        self.nan += facts.nan;
        self.start = self.start.into_iter().chain(facts.start).min();
        self.end = self.end.into_iter().chain(facts.end).max();
        if self.list.len() < Self::MOST {
            self.list.push(facts);
        } else {
            self.not_listed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Steps;

    fn builder(frequency: Option<i64>) -> Builder {
        Builder::new("m", &Selector::node(), frequency)
    }

    #[test]
    fn runs_of_nan_are_gaps_at_the_ends_too() {
        let mut series = builder(Some(60));
        let values = [f32::NAN, 1.0, f32::NAN, f32::NAN, 2.0, f32::NAN];
        values.into_iter().enumerate().for_each(|(i, value)| series.on_grid(i as i64 * 60, value));
        let facts = series.finish();
        assert_eq!((facts.start, facts.end, facts.samples, facts.nan), (Some(0), Some(300), 2, 4));
        let gap = |from, to, missing| Gap { from, to, missing };
        assert_eq!(facts.gaps, Gaps { count: 3, longest: Some(gap(120, 240, 2)), first: vec![gap(0, 60, 1), gap(120, 240, 2), gap(300, 360, 1)] });
    }

    #[test]
    fn time_that_is_missing_in_a_log_is_a_gap_and_jitter_is_none() {
        let times = [0, 61, 119, 180, 420, 300, 480];
        let mut steps = Steps::default();
        times.into_iter().for_each(|time| steps.add(time));
        assert_eq!(steps.most_common(), Some(61));
        let mut series = builder(Some(60));
        times.into_iter().for_each(|time| series.in_log(time, 1.0));
        series.in_log(540, f32::NAN);
        let facts = series.finish();
        assert_eq!((facts.start, facts.end, facts.samples, facts.nan, facts.late), (Some(0), Some(480), 7, 1, 1));
        assert_eq!(facts.gaps.first, [Gap { from: 240, to: 420, missing: 3 }]);
    }

    #[test]
    fn times_at_the_ends_of_what_can_be_written_do_no_harm() {
        let mut series = builder(Some(1));
        let mut steps = Steps::default();
        for time in [i64::MIN, i64::MAX, 0] {
            steps.add(time);
            series.in_log(time, 1.0);
        }
        assert_eq!(steps.most_common(), None);
        assert_eq!(series.finish().gaps.count, 1);
    }
}
