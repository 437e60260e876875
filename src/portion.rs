//! A portion of a snapshot: its series of one date from a key on, as many as there is room for.
//!
//! What does not fit into a host's share of the memory is worked on portion by portion, in the order of keys.

use std::sync::Arc;

use crate::buffers::{Buffer, Buffers};
use crate::data::{Series, SeriesKey, Snapshot, Span, level_cost, rank, series_cost};
use crate::names::{Date, Selector};

/// Which samples are asked for: those of a date, of series between two keys.
#[derive(Debug, Clone)]
pub struct Range {
    /// The date.
    pub date: Date,
    /// The first key; None for all.
    pub from: Option<SeriesKey>,
    /// The first key that is too large; None for all.
    pub end: Option<SeriesKey>,
}

impl From<Date> for Range {
    /// All samples of a date.
    fn from(date: Date) -> Self {
        Self { date, from: None, end: None }
    }
}

impl Range {
    /// True if a series lies between the keys.
    pub fn holds(&self, metric: &str, selector: &Selector) -> bool {
        self.from.as_ref().is_none_or(|from| rank(metric, selector) >= from.rank()) && !self.is_past(metric, selector)
    }

    fn is_past(&self, metric: &str, selector: &Selector) -> bool {
        self.end.as_ref().is_some_and(|end| rank(metric, selector) >= end.rank())
    }
}

/// Some series of a snapshot.
#[derive(Debug, Clone)]
pub struct Portion {
    /// They, as a snapshot: what it has between the keys.
    pub snapshot: Arc<Snapshot>,
    /// The first key that there was no room for; None if the portion goes on to the end.
    pub end: Option<SeriesKey>,
}

/// Takes series in any order, and keeps those with the smallest keys that there is room for.
#[derive(Debug)]
pub struct Collector {
    /// What is wanted still: its end comes closer when room gets short.
    range: Range,
    room: usize,
    /// What may be taken until room is made again: more than there is, where one key takes more.
    limit: usize,
    /// True as long as keys come in order.
    is_sorted: bool,
    levels: Vec<Arc<Selector>>,
    series: Vec<Series>,
    values: Buffer,
    /// What series and levels take.
    structure: usize,
}

impl Collector {
    /// For samples in `range`, in about `room` bytes of memory, the largest piece of it from `buffers`. One key is kept whatever it takes.
    pub fn new(range: Range, room: usize, buffers: &Buffers) -> Self {
        Self { range, room, limit: room, is_sorted: true, levels: Vec::new(), series: Vec::new(), values: buffers.take(room), structure: 0 }
    }

    /// True if the series is wanted, as far as is known by now.
    pub fn wants(&self, metric: &str, selector: &Selector) -> bool {
        self.range.holds(metric, selector)
    }

    /// The first key that is wanted; None for all.
    pub fn from(&self) -> Option<&SeriesKey> {
        self.range.from.as_ref()
    }

    /// True if neither this series nor one with a larger key is wanted.
    pub fn is_past(&self, metric: &str, selector: &Selector) -> bool {
        self.range.is_past(metric, selector)
    }

    /// The part of a series' values that is wanted.
    pub fn cut(&self, span: &Span) -> Span {
        span.within(self.range.date.start(), self.range.date.end())
    }

    /// Adds a series that is wanted, cut to what is; `append` appends its values.
    ///
    /// # Errors
    /// Those of `append`.
    pub fn add<E>(&mut self, selector: &Arc<Selector>, metric: &Arc<str>, cut: Span, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let at = self.values.len();
        append(&mut self.values)?;
        debug_assert_eq!(self.values.len(), at + 4 * cut.len);
        self.keep(selector, Arc::clone(metric), Span { at, ..cut });
        if self.taken() > self.limit {
            self.make_room();
            // where little was given up, as one key takes most of the room, it is not tried again at once
            let was_little = !self.is_sorted && self.taken() > self.room / 4 * 3;
            self.limit = if was_little { self.taken() / 2 * 3 } else { self.room };
        }
        Ok(())
    }

    fn taken(&self) -> usize {
        self.structure + self.values.len()
    }

    fn keep(&mut self, selector: &Arc<Selector>, metric: Arc<str>, span: Span) {
        if self.levels.last().is_none_or(|last| !Arc::ptr_eq(last, selector)) {
            self.levels.push(Arc::clone(selector));
            self.structure += level_cost(selector);
        }
        let before = self.series.last().map(|last| (&*last.metric, &*self.levels[last.level as usize]));
        self.is_sorted &= before.is_none_or(|(last, level)| rank(last, level) <= rank(&metric, selector));
        self.structure += series_cost(&metric);
        self.series.push(Series { level: self.levels.len() as u32 - 1, metric, span });
    }

    /// Gives up the largest keys: the last one, if they came in order, so that no other is wanted any more; else until what is left takes half of the room.
    fn make_room(&mut self) {
        let level = |i: usize| &*self.levels[self.series[i].level as usize];
        let key = |i: usize| rank(&self.series[i].metric, level(i));
        let last = self.series.len() - 1;
        let first_out = if self.is_sorted {
            (key(0) != key(last)).then_some(last)
        } else {
            let mut order: Vec<usize> = (0..=last).collect();
            order.sort_by_key(|i| key(*i));
            let mut kept = 0;
            let first_out = order.windows(2).find(|pair| {
                kept += series_cost(&self.series[pair[0]].metric) + level_cost(level(pair[0])) + 4 * self.series[pair[0]].span.len;
                kept > self.room / 2 && key(pair[0]) != key(pair[1])
            });
            first_out.map(|pair| pair[1])
        };
        let Some(first_out) = first_out.map(|i| &self.series[i]) else { return };
        self.range.end = Some(SeriesKey { metric: Arc::clone(&first_out.metric), selector: Arc::clone(&self.levels[first_out.level as usize]) });
        let (all, levels) = (std::mem::take(&mut self.series), std::mem::take(&mut self.levels));
        (self.structure, self.series) = (0, Vec::with_capacity(all.len()));
        let mut end = 0;
        for series in all {
            let selector = &levels[series.level as usize];
            if !self.range.holds(&series.metric, selector) {
                continue;
            }
            let (bytes, at) = (series.span.bytes(), end);
            self.values.copy_within(bytes, at);
            end += 4 * series.span.len;
            self.keep(selector, series.metric, Span { at, ..series.span });
        }
        self.values.truncate(end);
    }

    /// What was kept, as of a snapshot that covers `from` to `to`.
    pub fn finish(self, from: i64, to: i64) -> Portion {
        let snapshot = Snapshot { from, to, levels: self.levels, series: self.series, values: self.values.freeze() };
        Portion { snapshot: Arc::new(snapshot), end: self.range.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: usize = 20;

    fn level(i: usize) -> Arc<Selector> {
        Arc::new(Selector { scope: "core".into(), scope_id: format!("{i:03}").into(), path: format!("core{i:03}").into() })
    }

    /// What a collector keeps of series with these numbers, added in this order.
    fn collected(order: &[usize], from: Option<usize>, room: usize) -> Portion {
        let metric: Arc<str> = "m".into();
        let date = Date::of(0).expect("valid");
        let from = from.map(|i| SeriesKey { metric: Arc::clone(&metric), selector: level(i) });
        let mut collector = Collector::new(Range { date, from, end: None }, room, &Buffers::new(0));
        for i in order {
            let selector = level(*i);
            if collector.wants(&metric, &selector) {
                let span = collector.cut(&Span::checked(0, 60, 0, LEN).expect("valid"));
                let append = |values: &mut Vec<u8>| {
                    values.extend([(*i as f32).to_le_bytes(); LEN].as_flattened());
                    Ok::<_, ()>(())
                };
                collector.add(&selector, &metric, span, append).expect("appended");
            }
            assert!(collector.structure + collector.values.len() <= room, "more than {room} bytes after {i}");
        }
        collector.finish(0, 0)
    }

    proptest! {
        #[test]
        fn the_smallest_keys_are_kept_and_no_more_than_there_is_room_for(
            sorted in prop_oneof![Just(0), Just(200), 0..200_usize],
            shuffled in Just((0..200).collect::<Vec<_>>()).prop_shuffle(),
            from in prop::option::of(0..150_usize),
            series in 4..300_usize,
        ) {
            // in order, some of them, and the rest in any
            let order: Vec<usize> = (0..sorted).chain(shuffled.into_iter().filter(|i| *i >= sorted)).collect();
            let each = series_cost("m") + level_cost(&level(0)) + 4 * LEN;
            let portion = collected(&order, from, series * each);
            let end = portion.end.as_ref().map_or(200, |end| end.selector.scope_id.parse().expect("a number"));
            let mut kept = Vec::new();
            for series in &portion.snapshot.series {
                let i: usize = portion.snapshot.levels[series.level as usize].scope_id.parse().expect("a number");
                let values: Vec<f32> = crate::data::floats(&portion.snapshot.values[series.span.bytes()]).collect();
                prop_assert_eq!(values, vec![i as f32; LEN]);
                kept.push(i);
            }
            kept.sort_unstable();
            prop_assert_eq!(&kept, &(from.unwrap_or(0)..end).collect::<Vec<_>>());
            // nothing is given up that there is room for, and of what there is not at least some is kept
            prop_assert!(end == 200 || kept.len() + 1 >= series / 2, "{} of {}", kept.len(), series);
            prop_assert!(end < 200 || kept.len() <= series);
            prop_assert!(sorted < 200 || end == 200 || kept.len() == series, "in order, all that there is room for: {} of {}", kept.len(), series);
            prop_assert_eq!(portion.snapshot.values.len(), kept.len() * 4 * LEN);
        }
    }

    #[test]
    fn one_key_is_kept_whatever_it_takes() {
        let metric: Arc<str> = "m".into();
        let mut collector = Collector::new(Range::from(Date::of(0).expect("valid")), 0, &Buffers::new(0));
        for i in [3, 1, 2, 1, 0, 0] {
            if collector.wants(&metric, &level(i)) {
                collector.add(&level(i), &metric, Span::checked(0, 60, 0, 0).expect("valid"), |_| Ok::<_, ()>(())).expect("added");
            }
        }
        let Portion { snapshot, end } = collector.finish(0, 0);
        assert!(snapshot.levels.iter().all(|level| &*level.scope_id == "000"));
        assert_eq!((snapshot.series.len(), end.map(|end| end.selector.scope_id.clone())), (2, Some("001".into())));
    }

    #[test]
    fn many_spans_of_one_key_are_taken_in_linear_time() {
        let metric: Arc<str> = "m".into();
        // in order, and after a larger one
        for first in [0, 1] {
            let mut collector = Collector::new(Range::from(Date::of(0).expect("valid")), 1 << 10, &Buffers::new(0));
            for i in 0..400_000 {
                let span = Span::checked(i % 86_400, 60, 0, 0).expect("valid");
                collector.add(&level(if i == 0 { first } else { 0 }), &metric, span, |_| Ok::<_, ()>(())).expect("added");
            }
            assert_eq!(collector.finish(0, 0).snapshot.series.len(), 400_000 - first);
        }
    }
}
