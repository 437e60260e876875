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
    /// How often a key may stand there.
    most: usize,
    /// True if one stands there more often.
    is_repeated: bool,
    index: Index,
}

/// How often a file may name a series. Each time takes memory, and the merge looks at all of them at once.
const MOST_OF_KEY: usize = 1_000;

impl IndexBuilder {
    /// Of series from a key on (None: of all), in about `room` bytes of memory. One key is kept whatever it takes.
    pub fn new(from: Option<SeriesKey>, room: usize) -> Self {
        // rows before the key may be written already: what follows must not be refused any more
        let most = if from.is_none() { MOST_OF_KEY } else { usize::MAX };
        Self { from, room, limit: room, taken: 0, most, is_repeated: false, index: Index::default() }
    }

    /// Of rows, of which a series can have very many spans, in about `room` bytes of memory.
    pub fn of_rows(room: usize) -> Self {
        Self { most: usize::MAX, ..Self::new(None, room) }
    }

    /// True if the series is wanted, as far as is known by now.
    pub fn wants(&self, metric: &str, selector: &Selector) -> bool {
        let key = rank(metric, selector);
        self.from.as_ref().is_none_or(|from| key >= from.rank()) && self.index.end.as_ref().is_none_or(|end| key < end.rank())
    }

    /// Adds a series, if it is wanted.
    ///
    /// # Errors
    /// A series stands there very often: no snapshot is like that.
    pub fn add(&mut self, selector: &Arc<Selector>, metric: &Arc<str>, span: Span) -> Result<(), String> {
        if !self.wants(metric, selector) {
            return Ok(());
        }
        self.keep(selector, Arc::clone(metric), span);
        if self.taken > self.limit {
            self.make_room();
            // where little was given up, as one key takes most of the room, it is not tried again at once
            self.limit = if self.taken > self.room / 4 * 3 { self.taken / 2 * 3 } else { self.room };
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        if self.is_repeated { Err(format!("it names a series more than {MOST_OF_KEY} times")) } else { Ok(()) }
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
            kept += series_cost(&index.series[i - 1].metric);
            kept > self.room / 2 && key(i - 1) != key(*i)
        });
        let Some(end) = end else { return };
        self.index.end = Some(index.key(&index.series[end]));
        self.index.series.truncate(end);
        self.forget_levels();
        self.taken = self.index.series.iter().map(|series| series_cost(&series.metric)).chain(self.index.levels.iter().map(|level| level_cost(level))).sum();
    }

    /// Gives up levels without a series.
    fn forget_levels(&mut self) {
        let Index { levels, series, .. } = &mut self.index;
        let all = std::mem::take(levels);
        let mut places = vec![None; all.len()];
        for series in series {
            let place = places[series.level as usize].get_or_insert_with(|| {
                levels.push(Arc::clone(&all[series.level as usize]));
                levels.len() as u32 - 1
            });
            series.level = *place;
        }
    }

    fn sort(&mut self) {
        let Index { levels, series, .. } = &mut self.index;
        let level = |series: &Series| &levels[series.level as usize];
        // values of one snapshot lie in the order of its series
        let place = |series: &Series| (series.span.at, series.span.start);
        series.sort_unstable_by(|a, b| rank(&a.metric, level(a)).cmp(&rank(&b.metric, level(b))).then_with(|| place(a).cmp(&place(b))));
        let is_same = |a: &Series, b: &Series| a.metric == b.metric && *level(a) == *level(b);
        self.is_repeated |= self.most < series.len() && series.chunk_by(is_same).any(|same| same.len() > self.most);
    }

    /// The index.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn finish(mut self) -> Result<Index, String> {
        self.sort();
        self.check().map(|()| self.index)
    }
}
