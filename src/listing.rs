//! What an archive holds, as listing and footers tell it: sums of clusters and dates, and of hosts, metrics or objects.
//!
//! Footers are looked at one by one and not kept: what is in memory grows with hosts, metrics and dates, and with objects only where each is asked for.

use std::collections::BTreeMap;

use parquet::file::metadata::ParquetMetaData;
use serde::Serialize;

use crate::ledger::{Aside, Holdings, ObjectLedger, Unreadable};
use crate::names::Date;
use crate::partition::{ObjectKey, Partition};
use crate::settings::LsView;

mod metrics;
mod show;
pub mod table;

use metrics::Metrics;
pub use metrics::{MetricLine, MetricsOf};

/// What is counted of clusters, dates and hosts. Only objects that count are in it.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Sums {
    /// Objects.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Snapshots that ledgers name. One that feeds two dates is named on both.
    pub sources: u64,
    /// Time of the earliest row, unix s.
    pub first: Option<i64>,
    /// Time of the latest row, unix s.
    pub last: Option<i64>,
}

impl Sums {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.rows += other.rows;
        self.sources += other.sources;
        self.widen(other.first.zip(other.last));
    }

    fn widen(&mut self, times: Option<(i64, i64)>) {
        if let Some((first, last)) = times {
            self.first = Some(self.first.map_or(first, |known| known.min(first)));
            self.last = Some(self.last.map_or(last, |known| known.max(last)));
        }
    }

    /// None without rows.
    pub fn bytes_a_row(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.bytes as f64 / self.rows as f64)
    }
}

/// What one footer tells of rows.
#[derive(Debug)]
pub struct Footer {
    row_groups: u64,
    times: Option<(i64, i64)>,
    metrics: Metrics,
}

impl Footer {
    /// Looks at a footer.
    pub fn of(_: &ObjectLedger, footer: &ParquetMetaData) -> Self {
        Self { row_groups: footer.num_row_groups() as u64, times: metrics::times(footer), metrics: Metrics::of(footer) }
    }
}

/// One date of a cluster.
#[derive(Debug, Serialize)]
pub struct DateLine {
    /// Which.
    pub date: Date,
    /// Hosts with rows.
    pub hosts: u64,
    /// What is there.
    #[serde(flatten)]
    pub sums: Sums,
    /// Bytes of a row.
    pub bytes_a_row: Option<f64>,
}

/// One host of a cluster.
#[derive(Debug, Serialize)]
pub struct HostLine {
    /// Its name.
    pub host: String,
    /// Dates on which it has rows.
    pub dates: u64,
    /// Snapshots that ledgers name.
    pub sources: u64,
    /// Its rows.
    pub rows: u64,
    /// Time of the earliest, unix s.
    pub first: Option<i64>,
    /// Time of the latest, unix s.
    pub last: Option<i64>,
}

/// One object.
#[derive(Debug, Serialize)]
pub struct ObjectLine {
    /// Its key in the archive.
    pub key: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of a row.
    pub bytes_a_row: Option<f64>,
    /// Its row groups.
    pub row_groups: u64,
    /// Hosts that its ledger names.
    pub hosts: u64,
    /// Snapshots that its ledger names.
    pub sources: u64,
    /// Time of the earliest row, unix s.
    pub first: Option<i64>,
    /// Time of the latest row, unix s.
    pub last: Option<i64>,
    /// Keys of the objects that it was compacted from.
    pub replaces: Vec<String>,
    /// Whether its rows count. They do not while a compaction is not finished, as they stand elsewhere, too.
    pub counts: bool,
    /// Why not: `pending` (it was compacted from objects that all still stand), or `replaced` (by one that counts).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aside: Option<&'static str>,
}

/// One cluster.
#[derive(Debug, Serialize)]
pub struct ClusterReport {
    /// Its name.
    pub cluster: String,
    /// Hosts with rows on any date.
    pub hosts: u64,
    /// What is there.
    #[serde(flatten)]
    pub sums: Sums,
    /// Bytes of a row.
    pub bytes_a_row: Option<f64>,
    /// Objects that do not count, as a compaction is not finished.
    pub objects_aside: u64,
    /// What footers tell of metrics.
    pub metrics: MetricsOf,
    /// A line a date.
    pub dates: Vec<DateLine>,
    /// A line a host, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_host: Option<Vec<HostLine>>,
    /// A line an object, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_object: Option<Vec<ObjectLine>>,
}

/// An object that could not be looked at.
#[derive(Debug, Serialize)]
pub struct Unknown {
    /// Which.
    pub object: String,
    /// Why.
    pub reason: String,
    /// What to do.
    pub advice: String,
}

impl From<&Unreadable> for Unknown {
    fn from(object: &Unreadable) -> Self {
        Self { object: object.name.clone(), reason: object.reason.clone(), advice: object.advice() }
    }
}

/// What an archive holds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The archive.
    pub archive: String,
    /// What lines are printed for.
    #[serde(skip)]
    pub view: LsView,
    /// Its clusters, by name.
    pub clusters: Vec<ClusterReport>,
    /// All of them.
    pub total: Sums,
    /// Objects of ours that could not be read: what they hold is not counted.
    pub unreadable: Vec<Unknown>,
    /// Parquet files that cc-archiver has not written. Readers of the folder see their rows, too.
    pub foreign: Vec<String>,
    /// From which dates on clusters are kept, where older ones were expired; and what of those is still there.
    pub expired: Vec<String>,
    /// What else is not as it was asked for.
    pub notes: Vec<String>,
    /// Wall time.
    pub seconds: f64,
    /// True if a signal ended the run.
    pub interrupted: bool,
    #[serde(skip)]
    open: Option<Open>,
}

/// The cluster whose dates are coming.
#[derive(Debug)]
struct Open {
    report: ClusterReport,
    hosts: BTreeMap<Box<str>, HostSums>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct HostSums {
    dates: u64,
    last_date: Option<Date>,
    sources: u64,
    rows: u64,
    times: Sums,
}

impl Report {
    /// Of nothing so far.
    pub fn new(archive: String, view: LsView) -> Self {
        Self {
            archive,
            view,
            clusters: Vec::new(),
            total: Sums::default(),
            unreadable: Vec::new(),
            foreign: Vec::new(),
            expired: Vec::new(),
            notes: Vec::new(),
            seconds: 0.0,
            interrupted: false,
            open: None,
        }
    }

    /// True if all that is there could be looked at, and something is.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty() && self.foreign.is_empty() && self.notes.is_empty()
    }

    /// Takes the next partition, in the order of clusters and dates, and what was seen of its objects.
    pub fn take(&mut self, partition: &Partition, holdings: &Holdings, mut seen: BTreeMap<ObjectKey, Footer>) {
        self.unreadable.extend(holdings.unreadable.iter().map(Unknown::from));
        if holdings.objects().is_empty() && holdings.aside().is_empty() {
            return;
        }
        if self.open.as_ref().is_none_or(|open| open.report.cluster != partition.cluster.as_str()) {
            self.finish_cluster();
        }
        let view = self.view;
        let open = self.open.get_or_insert_with(|| Open::new(partition, view));
        let mut date = DateLine { date: partition.date, hosts: 0, sums: Sums::default(), bytes_a_row: None };
        for object in holdings.objects() {
            let footer = seen.remove(&object.key);
            let mut sums = Sums { objects: 1, bytes: object.size, rows: object.rows, sources: object.entries.len() as u64, ..Sums::default() };
            sums.widen(footer.as_ref().and_then(|footer| footer.times));
            date.sums.add(&sums);
            date.hosts += open.take_hosts(partition.date, object);
            open.take_object(object, footer.as_ref(), None);
            footer.into_iter().for_each(|footer| open.metrics.add(footer.metrics));
        }
        for (object, why) in holdings.aside() {
            open.report.objects_aside += 1;
            open.take_object(object, seen.get(&object.key), Some(*why));
        }
        date.bytes_a_row = date.sums.bytes_a_row();
        open.report.sums.add(&date.sums);
        open.report.dates.push(date);
    }

    /// After the last partition of a cluster.
    pub fn finish_cluster(&mut self) {
        let Some(Open { mut report, hosts, metrics }) = self.open.take() else { return };
        report.hosts = hosts.values().filter(|host| host.rows > 0).count() as u64;
        report.bytes_a_row = report.sums.bytes_a_row();
        report.metrics = metrics.told();
        if let Some(objects) = &mut report.by_object {
            objects.sort_by(|a, b| a.key.cmp(&b.key));
        }
        let line = |(host, sums): (Box<str>, HostSums)| HostLine {
            host: host.into(),
            dates: sums.dates,
            sources: sums.sources,
            rows: sums.rows,
            first: sums.times.first,
            last: sums.times.last,
        };
        report.by_host = (self.view == LsView::Hosts).then(|| hosts.into_iter().map(line).collect());
        self.total.add(&report.sums);
        self.clusters.push(report);
    }
}

impl Open {
    fn new(partition: &Partition, view: LsView) -> Self {
        let report = ClusterReport {
            cluster: partition.cluster.as_str().into(),
            hosts: 0,
            sums: Sums::default(),
            bytes_a_row: None,
            objects_aside: 0,
            metrics: MetricsOf::default(),
            dates: Vec::new(),
            by_host: None,
            by_object: (view == LsView::Objects).then(Vec::new),
        };
        Self { report, hosts: BTreeMap::new(), metrics: Metrics::default() }
    }

    /// Adds an object's hosts; gives how many of them have their first rows of this date in it.
    fn take_hosts(&mut self, date: Date, object: &ObjectLedger) -> u64 {
        let mut new = 0;
        for entry in object.entries.iter() {
            if !self.hosts.contains_key(entry.host()) {
                self.hosts.insert(entry.host().into(), HostSums::default());
            }
            let Some(host) = self.hosts.get_mut(entry.host()) else { continue };
            host.sources += 1;
            host.rows += entry.written;
            host.times.widen(entry.first.zip(entry.last));
            if entry.written > 0 && host.last_date != Some(date) {
                host.last_date = Some(date);
                host.dates += 1;
                new += 1;
            }
        }
        new
    }

    fn take_object(&mut self, object: &ObjectLedger, footer: Option<&Footer>, aside: Option<Aside>) {
        let Some(lines) = &mut self.report.by_object else { return };
        let times = footer.and_then(|footer| footer.times);
        let sums = Sums { bytes: object.size, rows: object.rows, ..Sums::default() };
        // entries stand in the order of their hosts
        let hosts = object.entries.chunk_by(|a, b| a.host() == b.host()).count() as u64;
        lines.push(ObjectLine {
            key: object.key.to_string(),
            rows: object.rows,
            bytes: object.size,
            bytes_a_row: sums.bytes_a_row(),
            row_groups: footer.map_or(0, |footer| footer.row_groups),
            hosts,
            sources: object.entries.len() as u64,
            first: times.map(|(first, _)| first),
            last: times.map(|(_, last)| last),
            replaces: object.replaces.iter().map(|member| member.key(&object.key).to_string()).collect(),
            counts: aside.is_none(),
            aside: aside.map(|why| match why {
                Aside::Pending => "pending",
                Aside::Replaced => "replaced",
            }),
        });
    }
}

#[cfg(test)]
mod tests;
