//! What footers tell of metrics: the first and the last of each row group. Where both are the same, all of its rows are of that one.

use std::collections::BTreeMap;

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use serde::Serialize;

/// Row groups of one metric or of several, added up.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By the first and the last metric: rows and row groups.
    groups: BTreeMap<(Box<str>, Box<str>), (u64, u64)>,
    /// Rows of row groups that do not say which metrics they have.
    unknown: u64,
}

/// One metric.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct MetricLine {
    /// Its name.
    pub metric: String,
    /// It has no fewer rows: those of row groups that hold nothing else, and one of each that begins or ends with it.
    pub rows_at_least: u64,
    /// It has no more rows: those, and all of each row group that may hold some of it.
    pub rows_at_most: u64,
}

/// The metrics of a cluster.
#[derive(Debug, Default, Serialize)]
pub struct MetricsOf {
    /// True if each row group holds one metric: then all names and rows are known.
    pub exact: bool,
    /// Those that footers name.
    pub named: Vec<MetricLine>,
    /// Rows of row groups with several metrics: others may stand there that no footer names.
    pub rows_shared: u64,
}

fn column(footer: &ParquetMetaData, name: &str) -> Option<usize> {
    footer.file_metadata().schema_descr().columns().iter().position(|column| column.name() == name)
}

fn rows_of(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// Times of the earliest and the latest row.
pub fn times(footer: &ParquetMetaData) -> Option<(i64, i64)> {
    let column = column(footer, "timestamp")?;
    let of_group = |group: &RowGroupMetaData| match group.column(column).statistics() {
        Some(Statistics::Int64(times)) => Some((*times.min_opt()?, *times.max_opt()?)),
        _ => None,
    };
    footer.row_groups().iter().filter_map(of_group).reduce(|(a, b), (first, last)| (a.min(first), b.max(last)))
}

impl Metrics {
    /// Of an object's footer.
    pub fn of(footer: &ParquetMetaData) -> Self {
        let mut found = Self::default();
        let column = column(footer, "metric");
        for group in footer.row_groups() {
            let statistics = column.and_then(|column| group.column(column).statistics());
            let name = |bytes: Option<&[u8]>| bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).map(Box::from);
            match (name(statistics.and_then(Statistics::min_bytes_opt)), name(statistics.and_then(Statistics::max_bytes_opt))) {
                // bounds the wrong way round say nothing
                (Some(first), Some(last)) if first <= last => found.put((first, last), rows_of(group), 1),
                _ => found.unknown += rows_of(group),
            }
        }
        found
    }

    fn put(&mut self, bounds: (Box<str>, Box<str>), rows: u64, groups: u64) {
        let known = self.groups.entry(bounds).or_default();
        known.0 += rows;
        known.1 += groups;
    }

    /// Adds those of another object.
    pub fn add(&mut self, other: Self) {
        other.groups.into_iter().for_each(|(bounds, (rows, groups))| self.put(bounds, rows, groups));
        self.unknown += other.unknown;
    }

    /// What can be said of each.
    pub fn told(&self) -> MetricsOf {
        let mut named: BTreeMap<&str, (u64, u64)> =
            self.groups.keys().flat_map(|(first, last)| [&**first, &**last]).map(|name| (name, (0, self.unknown))).collect();
        let mut rows_shared = self.unknown;
        for ((first, last), (rows, groups)) in &self.groups {
            let is_one = first == last;
            rows_shared += if is_one { 0 } else { *rows };
            for (name, (least, most)) in named.range_mut(&**first..=&**last) {
                let is_bound = *name == &**first || *name == &**last;
                *least += if is_one { *rows } else { u64::from(is_bound) * groups };
                // the other bound, or both, have a row at least
                *most += if is_one { *rows } else { rows.saturating_sub(groups * if is_bound { 1 } else { 2 }) };
            }
        }
        let line = |(name, (rows_at_least, rows_at_most)): (&str, (u64, u64))| MetricLine { metric: name.into(), rows_at_least, rows_at_most };
        MetricsOf { exact: rows_shared == 0, named: named.into_iter().map(line).collect(), rows_shared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(groups: &[(&str, &str, u64)]) -> Metrics {
        let mut metrics = Metrics::default();
        groups.iter().for_each(|(first, last, rows)| metrics.put(((*first).into(), (*last).into()), *rows, 1));
        metrics
    }

    fn told(groups: &[(&str, &str, u64)]) -> Vec<(String, u64, u64)> {
        metrics(groups).told().named.into_iter().map(|line| (line.metric, line.rows_at_least, line.rows_at_most)).collect()
    }

    #[test]
    fn rows_are_exact_where_a_row_group_holds_one_metric() {
        let all = metrics(&[("a", "a", 10), ("b", "b", 20), ("a", "a", 5)]).told();
        assert!(all.exact && all.rows_shared == 0);
        assert_eq!(told(&[("a", "a", 10), ("b", "b", 20), ("a", "a", 5)]), [("a".into(), 15, 15), ("b".into(), 20, 20)]);
    }

    #[test]
    fn a_row_group_of_several_metrics_bounds_them() {
        // a, c and e are named; what stands between a and e may be c, and b, which nobody names
        let groups = [("a", "e", 100), ("c", "c", 7)];
        assert_eq!(told(&groups), [("a".into(), 1, 99), ("c".into(), 7, 105), ("e".into(), 1, 99)]);
        let all = metrics(&groups).told();
        assert!(!all.exact && all.rows_shared == 100);
    }

    #[test]
    fn a_row_group_that_names_no_metric_may_hold_any() {
        let mut metrics = metrics(&[("a", "a", 10)]);
        metrics.add(Metrics { unknown: 3, ..Metrics::default() });
        assert_eq!(metrics.told().named, [MetricLine { metric: "a".into(), rows_at_least: 10, rows_at_most: 13 }]);
        assert!(!metrics.told().exact);
    }
}
