//! Where row groups end: at the ends of hosts, scopes and metrics, as readers pass over whole row groups.
//!
//! A host of many rows shares no row group: each of its own ends with the metric that makes it large enough, so a metric of many rows, as those of
//! hardware threads are, mostly has one to itself. Hosts of few rows share one. Where row groups end depends on the rows alone, not on how many come at
//! a time, and not on the memory that there is.

use crate::data::{Rows, SeriesKey, SeriesRun, TimeRun};

/// A host with so many rows shares no row group, and hosts of fewer share one until it has so many.
const LARGE_HOST: usize = 128 << 10;
/// A row group of a large host ends with a metric when it has so many rows, and with a scope when it has fewer.
const LEAST_BY_METRIC: usize = 12 << 10;
const LEAST_BY_SCOPE: usize = 4 << 10;
/// After so many row groups of a host the next ones must be twice as large: each costs memory until its object is complete.
const OF_ONE_SIZE: usize = 500;

/// A row group ends when it has so many runs of times, or of series: what few values each have takes far more memory than
/// its values, in a reader, too.
const MOST_TIMES: usize = 256 << 10;
const MOST_SERIES: usize = 64 << 10;
/// It ends sooner, too, with so many bytes of names, each series' counted: only very long ones come to that.
const MOST_NAMES: usize = 16 << 20;

/// Rows that wait for a row group may keep the memory of a host of so many row groups.
const MOST_KEPT: usize = 4;

/// Gathers rows into row groups.
#[derive(Debug)]
pub struct RowGroups {
    limit: usize,
    /// Of hosts before the current one that are not large.
    before: Rows,
    /// Of the current host: until it is large by metric and scope, then all that waits. The last one is under way.
    metrics: Vec<Rows>,
    /// What all of these come to.
    waiting: Counts,
    /// Whose rows came last.
    last: Option<SeriesRun>,
    /// Rows of that host.
    of_host: usize,
    /// Row groups of that host.
    groups: usize,
    is_large: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    rows: usize,
    series: usize,
    times: usize,
    /// Bytes of names, those of every series.
    names: usize,
}

impl Counts {
    fn of(rows: &Rows) -> Self {
        Self { rows: rows.len(), series: rows.series.len(), times: rows.times.len(), names: rows.series.iter().map(names_of).sum() }
    }
}

impl RowGroups {
    /// Row groups of at most `limit` rows.
    pub fn new(limit: usize) -> Self {
        let (before, metrics, waiting) = Default::default();
        Self { limit, before, metrics, waiting, last: None, of_host: 0, groups: 0, is_large: false }
    }

    /// Adds rows of a host, which may have had some before, and calls `full` for every row group that ends.
    pub fn push(&mut self, rows: &Rows, mut full: impl FnMut(Rows)) {
        let mut rest = Cursor { rows, left: rows.len(), value: (0, 0), series: (0, 0), time: (0, 0) };
        let mut runs = rows.series.as_slice();
        while let Some(first) = runs.first() {
            let is_same = |run: &&SeriesRun| run.host == first.host && is_same_metric(run, first);
            let (metric, others) = runs.split_at(runs.iter().take_while(is_same).count());
            runs = others;
            self.begin(first, &mut full);
            self.last = metric.last().cloned();
            self.take(&mut rest, metric.iter().map(|run| run.rows).sum(), &mut full);
        }
        // what waits for the next host must not keep much more memory than it takes
        if rows.len() > MOST_KEPT * self.limit {
            self.metrics.iter_mut().for_each(|part| part.values.gather());
        }
    }

    /// What is left, if anything.
    pub fn finish(&mut self) -> Option<Rows> {
        let rows = self.all_waiting();
        *self = Self::new(self.limit);
        Some(rows).filter(|rows| !rows.is_empty())
    }

    /// Ends what ends before this series.
    fn begin(&mut self, next: &SeriesRun, full: &mut impl FnMut(Rows)) {
        let Some(last) = &self.last else { return };
        if last.host != next.host {
            self.metrics.drain(..).for_each(|metric| append(&mut self.before, metric));
            if self.is_large || self.waiting.rows >= LARGE_HOST {
                self.end_group(full);
            }
            (self.of_host, self.groups, self.is_large) = (0, 0, false);
        } else if !is_same_metric(last, next) {
            if self.is_large && self.is_enough(self.waiting.rows, last, next) {
                self.end_group(full);
            }
            if !self.is_large {
                self.metrics.push(Rows::default());
            }
        }
    }

    /// Takes rows of one metric and scope.
    fn take(&mut self, rest: &mut Cursor, mut count: usize, full: &mut impl FnMut(Rows)) {
        while count > 0 {
            let to_be_large = if self.is_large { usize::MAX } else { LARGE_HOST - self.of_host };
            let rows = self.room(rest, count.min(to_be_large));
            if self.metrics.is_empty() {
                self.metrics.push(Rows::default());
            }
            let Some(metric) = self.metrics.last_mut() else { unreachable!("there is one") };
            let before = (metric.series.len(), metric.times.len());
            rest.move_to(metric, rows);
            self.waiting.rows += rows;
            self.waiting.series += metric.series.len() - before.0;
            self.waiting.times += metric.times.len() - before.1;
            self.waiting.names += metric.series[before.0..].iter().map(names_of).sum::<usize>();
            self.of_host += rows;
            count -= rows;
            if rows == to_be_large {
                self.become_large(full);
            }
            let Counts { rows, series, times, names } = self.waiting;
            if rows >= self.limit || series >= MOST_SERIES || times >= MOST_TIMES || names >= MOST_NAMES {
                self.end_group(full);
            }
        }
    }

    /// How many of the next `count` rows there are up to where a row group has as many as it may have.
    fn room(&self, rest: &Cursor, count: usize) -> usize {
        let Counts { rows, series, times, names } = self.waiting;
        let (series, limit) = (MOST_SERIES - series, (self.limit - rows).min(count));
        let mut passed = 0;
        let is_next = |run: &&SeriesRun| {
            let is_next = passed < rest.series.1 + limit;
            passed += run.rows;
            is_next
        };
        let all_names = rest.rows.series[rest.series.0..].iter().take_while(is_next).take(series).scan(names, |names, run| {
            *names += names_of(run);
            Some(*names)
        });
        // the series that comes to that is the last one
        let series = series.min(all_names.take_while(|names| *names < MOST_NAMES).count() + 1);
        limit
            .min(rows_in(rest.time, MOST_TIMES - times, limit, |i| rest.rows.times.get(i).map(|run| run.rows)))
            .min(rows_in(rest.series, series, limit, |i| rest.rows.series.get(i).map(|run| run.rows)))
    }

    /// The current host has so many rows that it shares no row group: ends those that would have ended, had that been known.
    fn become_large(&mut self, full: &mut impl FnMut(Rows)) {
        self.is_large = true;
        let before = std::mem::take(&mut self.before);
        if !before.is_empty() {
            full(before);
        }
        let mut group = Rows::default();
        for metric in std::mem::take(&mut self.metrics) {
            if let (Some(last), Some(next)) = (group.series.last(), metric.series.first())
                && self.is_enough(group.len(), last, next)
            {
                self.groups += 1;
                full(std::mem::take(&mut group));
            }
            append(&mut group, metric);
        }
        self.waiting = Counts::of(&group);
        self.metrics.push(group);
    }

    /// Hands over all that waits.
    fn end_group(&mut self, full: &mut impl FnMut(Rows)) {
        let rows = self.all_waiting();
        if !rows.is_empty() {
            self.groups += 1;
            full(rows);
        }
    }

    /// True if a row group of a large host with so many rows ends between these series.
    fn is_enough(&self, rows: usize, last: &SeriesRun, next: &SeriesRun) -> bool {
        let least = if last.key.selector.scope == next.key.selector.scope { LEAST_BY_METRIC } else { LEAST_BY_SCOPE };
        rows >> (self.groups / OF_ONE_SIZE).min(usize::BITS as usize - 1) >= least
    }

    fn all_waiting(&mut self) -> Rows {
        let mut rows = std::mem::take(&mut self.before);
        self.metrics.drain(..).for_each(|metric| append(&mut rows, metric));
        self.waiting = Counts::default();
        rows
    }
}

fn append(rows: &mut Rows, mut more: Rows) {
    if rows.is_empty() {
        return *rows = more;
    }
    rows.series.append(&mut more.series);
    rows.times.append(&mut more.times);
    more.values.slices().iter().for_each(|slice| rows.values.push(slice.clone()));
}

fn is_same_metric(a: &SeriesRun, b: &SeriesRun) -> bool {
    a.key.metric == b.key.metric && a.key.selector.scope == b.key.selector.scope
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
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::data::{Piece, SeriesRows, Span, Values};
    use crate::names::{Host, Selector};
    use std::convert::Infallible;

    use crate::rows::{Behind, rows_of};

    /// Rows of one series, a minute apart.
    fn series(host: &str, level: &str, metric: &str, rows: usize) -> Rows {
        let selector = if level.is_empty() { Selector::node() } else { Selector::node().child(level).expect("short") };
        let key = SeriesKey { metric: metric.into(), selector: Arc::new(selector) };
        let values: Values = (0..rows).map(|i| i as f32).collect();
        Rows { series: vec![SeriesRun { host: Host::new(host), key, rows }], times: vec![TimeRun { start: 0, frequency: 60, rows }], values }
    }

    /// A host: (scope, levels of it, metrics, rows of each series).
    fn host(name: &str, scopes: &[(&str, usize, usize, usize)]) -> Rows {
        let mut rows = Rows::default();
        for (scope, levels, metrics, each) in scopes {
            for metric in 0..*metrics {
                let level = |i| if scope.is_empty() { String::new() } else { format!("{scope}{i:03}") };
                (0..*levels).for_each(|i| append(&mut rows, series(name, &level(i), &format!("m{metric:05}"), *each)));
            }
        }
        rows
    }

    fn groups_of(limit: usize, rows: &[Rows]) -> Vec<Rows> {
        let (mut groups, mut found) = (RowGroups::new(limit), Vec::new());
        rows.iter().for_each(|rows| groups.push(rows, |group| found.push(group)));
        found.extend(groups.finish());
        found
    }

    /// Whose rows a row group holds: host, scope and metric of its first and its last series, and how many rows.
    fn shown(group: &Rows) -> (String, String, usize) {
        let name = |run: Option<&SeriesRun>| run.map_or(String::new(), |run| format!("{} {} {}", run.host, run.key.selector.scope, run.key.metric));
        (name(group.series.first()), name(group.series.last()), group.len())
    }

    fn expected(groups: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
        groups.iter().map(|(first, last, rows)| ((*first).to_owned(), (*last).to_owned(), *rows)).collect()
    }

    #[test]
    fn a_large_host_has_row_groups_of_its_own_that_end_with_metrics_and_scopes() {
        // 72 hardware threads, a node and two sockets, a value a minute for a day
        let typical = |name: &str| host(name, &[("hwthread", 72, 2, 1_440), ("", 1, 20, 1_440), ("socket", 2, 2, 1_440)]);
        let found = groups_of(1 << 20, &[typical("a"), typical("b")]);
        let each = |host: &str| {
            [
                (format!("{host} hwthread m00000"), format!("{host} hwthread m00000"), 103_680),
                (format!("{host} hwthread m00001"), format!("{host} hwthread m00001"), 103_680),
                (format!("{host} node m00000"), format!("{host} node m00008"), 12_960),
                (format!("{host} node m00009"), format!("{host} node m00017"), 12_960),
                // too few for a row group
                (format!("{host} node m00018"), format!("{host} socket m00001"), 8_640),
            ]
        };
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), ["a", "b"].map(each).concat());
    }

    #[test]
    fn small_hosts_share_row_groups_and_a_large_one_shares_none() {
        let small = |name: &str| host(name, &[("", 1, 24, 1_440)]);
        let large = host("e", &[("accelerator", 2, 3, 1_440), ("core", 64, 2, 1_440)]);
        let found = groups_of(1 << 20, &[small("a"), small("b"), small("c"), small("d"), large, small("f")]);
        let groups = [
            ("a node m00000", "d node m00023", 4 * 34_560),
            // known to be large only after it has ended
            ("e accelerator m00000", "e accelerator m00002", 8_640),
            ("e core m00000", "e core m00000", 92_160),
            ("e core m00001", "e core m00001", 92_160),
            ("f node m00000", "f node m00023", 34_560),
        ];
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected(&groups));
    }

    #[test]
    fn no_row_group_has_more_rows_than_allowed() {
        let large = host("b", &[("hwthread", 200, 1, 1_000)]);
        let found = groups_of(70_000, &[host("a", &[("", 1, 3, 1_000)]), large]);
        let groups = [
            // at 131,072 rows of b it was too late
            ("a node m00000", "b hwthread m00000", 70_000),
            ("b hwthread m00000", "b hwthread m00000", 70_000),
            ("b hwthread m00000", "b hwthread m00000", 63_000),
        ];
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected(&groups));
    }

    #[test]
    fn row_groups_of_a_host_of_very_many_rows_get_larger() {
        let values = Bytes::from(vec![0; 4 * LEAST_BY_METRIC]);
        let mut rows = Rows::default();
        for metric in 0..2_300 {
            let mut one = series("a", "", &format!("m{metric:05}"), 0);
            (one.series[0].rows, one.times[0].rows) = (LEAST_BY_METRIC, LEAST_BY_METRIC);
            one.values.push(values.clone());
            append(&mut rows, one);
        }
        let sizes: Vec<usize> = groups_of(1 << 20, &[rows]).iter().map(|group| group.len() / LEAST_BY_METRIC).collect();
        assert_eq!((sizes.len(), &sizes[498..502], &sizes[998..1_002]), (1_200, &[1, 1, 2, 2][..], &[2, 2, 4, 4][..]));
    }

    fn flat(rows: &Rows) -> Vec<(String, i64, f32)> {
        let hosts = rows.series.iter().flat_map(|run| std::iter::repeat_n(run.host.as_str().to_owned(), run.rows));
        hosts.zip(rows.expanded_times()).zip(rows.values.iter()).map(|((h, (t, _)), v)| (h, t, v)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn row_groups_do_not_depend_on_how_many_rows_come_at_a_time(
            hosts in prop::collection::vec(prop::collection::vec((prop::sample::select(vec!["", "core", "socket"]), 1..4_usize, 1..5_usize, 1..9_000_usize), 1..4), 1..5),
            cut in 1..50_000_usize,
            limit in prop::sample::select(vec![10_000, 100_000, 1 << 20]),
        ) {
            let hosts: Vec<Rows> = hosts.iter().enumerate().map(|(i, scopes)| host(&format!("h{i}"), scopes)).collect();
            let pieces: Vec<Rows> = hosts.iter().flat_map(|rows| {
                let mut rest = Cursor { rows, left: rows.len(), value: (0, 0), series: (0, 0), time: (0, 0) };
                let piece = move || (rest.left > 0).then(|| {
                    let mut piece = Rows::default();
                    rest.move_to(&mut piece, cut);
                    piece
                });
                std::iter::from_fn(piece).collect::<Vec<_>>()
            }).collect();
            let (whole, cut) = (groups_of(limit, &hosts), groups_of(limit, &pieces));
            prop_assert!(whole.iter().all(|group| group.len() <= limit));
            prop_assert_eq!(whole.iter().map(shown).collect::<Vec<_>>(), cut.iter().map(shown).collect::<Vec<_>>());
            let rows = |groups: &[Rows]| groups.iter().flat_map(flat).collect::<Vec<_>>();
            prop_assert!(rows(&whole) == rows(&hosts) && rows(&cut) == rows(&hosts));
        }
    }

    #[test]
    fn long_names_end_a_row_group_wherever_its_rows_were_cut() {
        let key = |m| SeriesKey { metric: format!("{m:060000}").into(), selector: Arc::new(Selector::node()) };
        let span = Span { start: 0, frequency: 60, at: 0, len: 5 };
        let values = vec![Bytes::from_static(&[0; 20])];
        let series = |key| SeriesRows { key, values: values.clone(), pieces: vec![Piece { of: 0, span, dense: true }], loaded: 0 };
        let keys = (0..700).map(key).collect::<Vec<_>>();
        // all at once, and in two pieces
        let cuts = [&[700][..], &[1, 699], &[279, 421], &[280, 420]].map(|cuts| {
            let (mut groups, mut found, mut rest) = (RowGroups::new(1 << 20), Vec::new(), keys.iter());
            for cut in cuts {
                let mut taken = rest.by_ref().take(*cut).cloned().map(series);
                let rows = rows_of(&Host::new("a"), Behind { kept: 0, loaded: usize::MAX }, || Ok::<_, Infallible>(taken.next()));
                groups.push(&rows.expect("nothing fails"), |group| found.push(group));
            }
            found.extend(groups.finish());
            found.iter().map(|group| (group.series.len(), group.len())).collect::<Vec<_>>()
        });
        // 280 names are the first that come to 16 MiB
        assert!(cuts.iter().all(|cut| *cut == [(280, 1_400), (280, 1_400), (140, 700)]), "{cuts:?}");
    }
}
