//! The index of a snapshot: which series it has, in the archive's order, and where the values of each lie.

use std::sync::Arc;

use super::{SeriesKey, Span, rank};
use crate::names::Selector;

/// One metric of one level in one snapshot: value `i` belongs to `start + i·frequency`; NaN is no sample.
#[derive(Debug, Clone)]
pub struct Series {
    /// Index into [`Index::levels`].
    pub level: u32,
    /// The metric's name.
    pub metric: Arc<str>,
    /// The span of its values.
    pub span: Span,
}

/// Series in the archive's order, those of one key in the order of the file: all, or as many of the smallest keys as there was room for.
#[derive(Debug, Default)]
pub struct Index {
    /// The levels that series refer to.
    pub levels: Vec<Arc<Selector>>,
    /// The series.
    pub series: Vec<Series>,
    /// The first key that there was no room for; None if the index goes on to the end.
    pub end: Option<SeriesKey>,
}

impl Index {
    /// Which series one of [`Index::series`] is.
    pub fn key(&self, series: &Series) -> SeriesKey {
        SeriesKey { metric: Arc::clone(&series.metric), selector: Arc::clone(self.level(series)) }
    }

    /// The level that a series is of.
    pub fn level(&self, series: &Series) -> &Arc<Selector> {
        &self.levels[series.level as usize]
    }
}

/// Bytes of memory that an entry takes; a vector that grows has room for more.
fn series_cost(metric: &str) -> usize {
    2 * size_of::<Series>() + metric.len()
}

/// The same for a level.
fn level_cost(selector: &Selector) -> usize {
    128 + selector.bytes()
}

/// Takes series in any order, and keeps those with the smallest keys that there is room for.
#[derive(Debug)]
pub struct IndexBuilder {
    from: Option<SeriesKey>,
    room: usize,
    /// What may be taken until room is made again: more than there is, where one key takes more.
    limit: usize,
    taken: usize,
    index: Index,
}

impl IndexBuilder {
    /// Of series from a key on (None: of all), in about `room` bytes of memory. One key is kept whatever it takes.
    pub fn new(from: Option<SeriesKey>, room: usize) -> Self {
        Self { from, room, limit: room, taken: 0, index: Index::default() }
    }

    /// True if the series is wanted, as far as is known by now.
    pub fn wants(&self, metric: &str, selector: &Selector) -> bool {
        let key = rank(metric, selector);
        self.from.as_ref().is_none_or(|from| key >= from.rank()) && self.index.end.as_ref().is_none_or(|end| key < end.rank())
    }

    /// Adds a series, if it is wanted.
    pub fn add(&mut self, selector: &Arc<Selector>, metric: &Arc<str>, span: Span) {
        if !self.wants(metric, selector) {
            return;
        }
        self.keep(selector, Arc::clone(metric), span);
        if self.taken > self.limit {
            self.make_room();
            // where little was given up, as one key takes most of the room, it is not tried again at once
            self.limit = if self.taken > self.room / 4 * 3 { self.taken / 2 * 3 } else { self.room };
        }
    }

    fn keep(&mut self, selector: &Arc<Selector>, metric: Arc<str>, span: Span) {
        let Index { levels, series, .. } = &mut self.index;
        if levels.last().is_none_or(|last| !Arc::ptr_eq(last, selector)) {
            levels.push(Arc::clone(selector));
            self.taken += level_cost(selector);
        }
        self.taken += series_cost(&metric);
        series.push(Series { level: levels.len() as u32 - 1, metric, span });
    }

    /// Gives up the largest keys, until what is left takes half of the room.
    fn make_room(&mut self) {
        self.sort();
        let index = &self.index;
        let key = |i: usize| rank(&index.series[i].metric, index.level(&index.series[i]));
        let mut kept = 0;
        let end = (1..index.series.len()).find(|i| {
            let last = &index.series[i - 1];
            kept += series_cost(&last.metric) + level_cost(index.level(last));
            kept > self.room / 2 && key(i - 1) != key(*i)
        });
        let Some(end) = end else { return };
        let end_key = index.key(&index.series[end]);
        let Index { levels, mut series, .. } = std::mem::replace(&mut self.index, Index { end: Some(end_key), ..Index::default() });
        series.truncate(end);
        self.taken = 0;
        for Series { level, metric, span } in series {
            self.keep(&levels[level as usize], metric, span);
        }
    }

    fn sort(&mut self) {
        let Index { levels, series, .. } = &mut self.index;
        let level = |series: &Series| &levels[series.level as usize];
        // values of one snapshot lie in the order of its series
        let place = |series: &Series| (series.span.at, series.span.start);
        series.sort_unstable_by(|a, b| rank(&a.metric, level(a)).cmp(&rank(&b.metric, level(b))).then_with(|| place(a).cmp(&place(b))));
    }

    /// The index.
    pub fn finish(mut self) -> Index {
        self.sort();
        self.index
    }
}
