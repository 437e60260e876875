//! What decoders do with the series that they find: keep all, look at their dates, or gather some of them.

use std::sync::Arc;

use bytes::Bytes;

use super::input::Input;
use super::{Extent, Flaw, Refusal};
use crate::data::{Days, Series, Snapshot, Span, floats, level_cost, series_cost};
use crate::names::Selector;
use crate::portion::Collector;

/// Takes series in the order of the file.
pub trait Sink {
    /// False if a series need not be decoded.
    fn wants(&self, metric: &str, selector: &Selector) -> bool {
        let _ = (metric, selector);
        true
    }

    /// Takes a series, and from `values` all of its values, which come next there.
    fn series(&mut self, selector: &Arc<Selector>, metric: &Arc<str>, span: Span, values: &mut impl Input) -> Result<(), Refusal>;
}

/// Keeps all series; their values stay where they are.
pub struct Whole {
    room: usize,
    /// What series and levels take.
    structure: usize,
    /// Those that have metrics. Others are not kept: a file can hold millions.
    levels: Vec<Arc<Selector>>,
    series: Vec<Series>,
}

impl Whole {
    /// In about `room` bytes of memory.
    pub fn new(room: usize) -> Self {
        Self { room, structure: 0, levels: Vec::new(), series: Vec::new() }
    }

    /// Bytes of memory that series and levels take.
    pub fn structure(&self) -> usize {
        self.structure
    }

    /// Offset past the values of the last series, which may lie beyond what was read.
    pub fn end(&self) -> usize {
        self.series.last().map_or(0, |series| series.span.at + 4 * series.span.len)
    }

    /// The snapshot whose values are in `values`.
    pub fn finish(self, (from, to): Extent, values: Bytes) -> Snapshot {
        Snapshot { from, to, levels: self.levels, series: self.series, values }
    }
}

impl Sink for Whole {
    fn series(&mut self, selector: &Arc<Selector>, metric: &Arc<str>, span: Span, values: &mut impl Input) -> Result<(), Refusal> {
        self.structure += series_cost(metric);
        if self.levels.last().is_none_or(|last| !Arc::ptr_eq(last, selector)) {
            self.levels.push(Arc::clone(selector));
            self.structure += level_cost(selector);
        }
        if self.structure > self.room {
            return Err(Refusal::NoRoom);
        }
        self.series.push(Series { level: self.levels.len() as u32 - 1, metric: Arc::clone(metric), span });
        Ok(values.skip(4 * span.len)?)
    }
}

/// Looks at the dates of all samples.
#[derive(Default)]
pub struct Surveying {
    /// What it has seen.
    pub days: Days,
    part: Vec<u8>,
}

impl Sink for Surveying {
    fn series(&mut self, _: &Arc<Selector>, _: &Arc<str>, span: Span, values: &mut impl Input) -> Result<(), Refusal> {
        for (date, part) in span.days() {
            let has_sample = if self.days.has(date) {
                values.skip(4 * part.len)?;
                true
            } else {
                self.part.clear();
                values.append(4 * part.len, &mut self.part)?;
                floats(&self.part).any(|value| !value.is_nan())
            };
            if has_sample {
                self.days.add(date, &part).map_err(Flaw::whole)?;
            }
        }
        Ok(())
    }
}

/// Gathers what a portion is to have.
pub struct Gathering(pub Collector);

impl Sink for Gathering {
    fn wants(&self, metric: &str, selector: &Selector) -> bool {
        self.0.wants(metric, selector)
    }

    fn series(&mut self, selector: &Arc<Selector>, metric: &Arc<str>, span: Span, values: &mut impl Input) -> Result<(), Refusal> {
        let cut = self.0.cut(&span);
        if cut.len == 0 || !self.0.wants(metric, selector) {
            return Ok(values.skip(4 * span.len)?);
        }
        let before = cut.at - span.at;
        values.skip(before)?;
        self.0.add(selector, metric, cut, |to| values.append(4 * cut.len, to))?;
        Ok(values.skip(4 * (span.len - cut.len) - before)?)
    }
}
