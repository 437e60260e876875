//! The report as tables that fit a terminal.

use std::fmt;

use bytesize::ByteSize;

use super::table::{self, Column, table};
use super::{ClusterReport, MetricsOf, Report, Sums};
use crate::settings::LsView;
use crate::telemetry::{count, list, thousands};

/// The time of the day, if it is known.
fn of_day(time: Option<i64>) -> String {
    let shown = time.and_then(|time| chrono::DateTime::from_timestamp(time, 0)).map(|time| time.format("%H:%M:%S").to_string());
    shown.unwrap_or_else(|| "-".into())
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

fn per_row(bytes: Option<f64>) -> String {
    bytes.map_or("-".into(), |bytes| format!("{bytes:.2}"))
}

fn minute(time: Option<i64>) -> String {
    time.map_or("-".into(), table::minute)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interrupted {
            writeln!(f, "interrupted by a signal; what follows was looked at\n")?;
        }
        for cluster in &self.clusters {
            self.cluster(f, cluster)?;
            writeln!(f)?;
        }
        if self.clusters.len() > 1 {
            let Sums { objects, bytes, rows, .. } = self.total;
            let clusters = self.clusters.len() as u64;
            writeln!(f, "{}: {}, {}, {}", count(clusters, "cluster"), count(rows, "row"), count(objects, "object"), size(bytes))?;
        }
        let unreadable: Vec<String> = self.unreadable.iter().map(|found| format!("{}: {}\n    {}", found.object, found.reason, found.advice)).collect();
        list(f, "cannot be read", &unreadable)?;
        list(f, "not ours", &self.foreign)?;
        self.expired.iter().chain(&self.notes).try_for_each(|note| writeln!(f, "{note}"))
    }
}

impl Report {
    fn cluster(&self, f: &mut fmt::Formatter<'_>, cluster: &ClusterReport) -> fmt::Result {
        let sums = &cluster.sums;
        let head = [
            count(cluster.hosts, "host"),
            metrics_of(&cluster.metrics),
            count(cluster.dates.len() as u64, "date"),
            count(sums.rows, "row"),
            count(sums.objects, "object"),
            size(sums.bytes),
            format!("{} bytes a row", per_row(cluster.bytes_a_row)),
        ];
        writeln!(f, "{}: {}", cluster.cluster.escape_debug(), head.join(", "))?;
        writeln!(f, "  from {} to {} UTC", minute(sums.first), minute(sums.last))?;
        match self.view {
            LsView::Dates => dates(f, cluster),
            LsView::Hosts => hosts(f, cluster),
            LsView::Metrics => metrics(f, &cluster.metrics),
            LsView::Objects => objects(f, cluster),
        }?;
        if cluster.objects_aside > 0 {
            let aside = count(cluster.objects_aside, "object");
            writeln!(f, "  {aside} of an unfinished compaction: not counted, as the rows stand in others, too")?;
        }
        Ok(())
    }
}

fn metrics_of(metrics: &MetricsOf) -> String {
    let named = metrics.named.len() as u64;
    if metrics.exact { count(named, "metric") } else { format!("{} or more", count(named, "metric")) }
}

fn dates(f: &mut fmt::Formatter<'_>, cluster: &ClusterReport) -> fmt::Result {
    const COLUMNS: [Column; 8] =
        [("date", false), ("hosts", true), ("rows", true), ("objects", true), ("size", true), ("bytes/row", true), ("first", false), ("last", false)];
    let line = |date: &super::DateLine| {
        let Sums { objects, bytes, rows, first, last, .. } = date.sums;
        let numbers = [thousands(date.hosts), thousands(rows), thousands(objects), size(bytes), per_row(date.bytes_a_row)];
        [date.date.to_string()].into_iter().chain(numbers).chain([of_day(first), of_day(last)]).collect()
    };
    table(f, &COLUMNS, &cluster.dates.iter().map(line).collect::<Vec<_>>())
}

fn hosts(f: &mut fmt::Formatter<'_>, cluster: &ClusterReport) -> fmt::Result {
    const COLUMNS: [Column; 6] = [("host", false), ("dates", true), ("snapshots", true), ("rows", true), ("first", false), ("last", false)];
    let line = |host: &super::HostLine| {
        let numbers = [host.dates, host.sources, host.rows].map(thousands);
        [host.host.escape_debug().to_string()].into_iter().chain(numbers).chain([minute(host.first), minute(host.last)]).collect()
    };
    table(f, &COLUMNS, &cluster.by_host.iter().flatten().map(line).collect::<Vec<_>>())
}

fn metrics(f: &mut fmt::Formatter<'_>, metrics: &MetricsOf) -> fmt::Result {
    const EXACT: [Column; 2] = [("metric", false), ("rows", true)];
    const BOUNDS: [Column; 3] = [("metric", false), ("rows at least", true), ("rows at most", true)];
    let line = |line: &super::MetricLine| vec![line.metric.escape_debug().to_string(), thousands(line.rows_at_least), thousands(line.rows_at_most)];
    let lines: Vec<Vec<String>> = metrics.named.iter().map(line).collect();
    if metrics.exact {
        return table(f, &EXACT, &lines);
    }
    table(f, &BOUNDS, &lines)?;
    let shared = thousands(metrics.rows_shared);
    writeln!(f, "  {shared} rows lie in row groups of several metrics, whose footers name only the first and the last:")?;
    writeln!(f, "  other metrics may be there. coverage --exact reads the rows, and names all")
}

fn objects(f: &mut fmt::Formatter<'_>, cluster: &ClusterReport) -> fmt::Result {
    const COLUMNS: [Column; 9] = [
        ("object", false),
        ("rows", true),
        ("size", true),
        ("groups", true),
        ("hosts", true),
        ("snapshots", true),
        ("first", false),
        ("last", false),
        ("counts", false),
    ];
    let line = |object: &super::ObjectLine| {
        // what the cluster's line says, and what all have in common
        let key = object.key.split_once("/date=").map_or(object.key.as_str(), |(_, key)| key);
        let numbers = [thousands(object.rows), size(object.bytes), thousands(object.row_groups), thousands(object.hosts), thousands(object.sources)];
        let counts = match (object.aside, object.replaces.len()) {
            (Some(why), _) => format!("no: {why}"),
            (None, 0) => "yes".into(),
            (None, replaced) => format!("yes, replaces {replaced}"),
        };
        [key.to_owned()].into_iter().chain(numbers).chain([of_day(object.first), of_day(object.last), counts]).collect()
    };
    table(f, &COLUMNS, &cluster.by_object.iter().flatten().map(line).collect::<Vec<_>>())
}
