//! Which host has data for which hour, against its neighbours, and against what is on disk. Hours are those of UTC, which knows no summer time.
//!
//! [`Hours`] is filled date by date, from ledgers or from rows that were counted; [`Cluster`] is what comes of it: a cell for each host and hour.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::coverage_page;
use crate::ledger::{Entry, Holdings};
use crate::listing::Unknown;
use crate::names::Date;

mod disk;
mod map;
mod natural;
mod shares;
mod show;
mod spread;
mod summary;

pub use disk::{Disk, Lookup, Source, State, Waiting};
pub use summary::{Gaps, Since, Span, Summary};

/// Hours of a date.
pub const HOURS: usize = 24;
/// Seconds of an hour.
pub const HOUR: i64 = 3_600;

/// Cells that are no percentage.
pub mod cell {
    /// There is no data.
    pub const NOTHING: u8 = 0;
    /// As many samples as the neighbours have.
    pub const ALL: u8 = 100;
    /// Below this percentage a host has fewer samples than its neighbours.
    pub const THIN: u8 = 90;
    /// On disk, and not archived yet.
    pub const WAITING: u8 = 250;
    /// On disk, and archived in part.
    pub const PARTLY: u8 = 251;
    /// An object that may hold it could not be read.
    pub const UNKNOWN: u8 = 255;

    /// True if the archive has rows there.
    pub fn has_data(cell: u8) -> bool {
        (1..=ALL).contains(&cell)
    }
}

/// What is known of a cluster, hour by hour.
#[derive(Debug)]
pub struct Hours {
    name: String,
    dates: Vec<Date>,
    rows: Vec<u64>,
    bytes: Vec<u64>,
    objects: Vec<u64>,
    hosts: BTreeMap<Box<str>, HostHours>,
    /// Names of metrics, in the order in which they were met, if rows are counted.
    metrics: Vec<Box<str>>,
    set_aside: Vec<Note>,
}

#[derive(Debug, Default)]
struct HostHours {
    /// Rows of each hour; empty if there are none.
    rows: Vec<f32>,
    /// Rows of each metric.
    metrics: Vec<u64>,
    /// Times of the first and the last row, as far as ledgers tell.
    times: Option<(i64, i64)>,
    /// Indices of dates of which an object could not be read.
    unknown: Vec<usize>,
    /// Hours from snapshots on disk, from and to.
    waiting: Vec<(usize, usize, State)>,
    /// Whether a ledger names it.
    is_archived: bool,
}

/// Something that is set aside.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Note {
    /// A file, or an object.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl Hours {
    /// Of a cluster and all dates from the first to the last.
    pub fn new(name: &str, first: Date, last: Date) -> Self {
        let dates: Vec<Date> = first.through(last).collect();
        let zeros = vec![0; dates.len()];
        Self {
            name: name.into(),
            rows: zeros.clone(),
            bytes: zeros.clone(),
            objects: zeros,
            dates,
            hosts: BTreeMap::new(),
            metrics: Vec::new(),
            set_aside: Vec::new(),
        }
    }

    fn index_of(&self, date: Date) -> Option<usize> {
        self.dates.binary_search(&date).ok()
    }

    fn host(&mut self, host: &str) -> &mut HostHours {
        if !self.hosts.contains_key(host) {
            self.hosts.insert(host.into(), HostHours::default());
        }
        match self.hosts.get_mut(host) {
            Some(known) => known,
            None => unreachable!("it was put there"),
        }
    }

    /// Takes what ledgers of a date tell of the hosts that `admits`. With `spread` an entry's rows are spread over its time; else they are counted elsewhere.
    pub fn take(&mut self, date: Date, holdings: &Holdings, spread: bool, admits: impl Fn(&str) -> bool) {
        let Some(index) = self.index_of(date) else { return };
        let mut entries: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for object in holdings.objects() {
            self.rows[index] += object.rows;
            self.bytes[index] += object.size;
            self.objects[index] += 1;
            object.entries.iter().filter(|entry| admits(entry.host())).for_each(|entry| entries.entry(entry.host()).or_default().push(entry));
        }
        let hours = self.dates.len() * HOURS;
        for (name, entries) in entries {
            let host = self.host(name);
            host.is_archived = true;
            let ends = entries.iter().filter(|entry| entry.rows > 0).filter_map(|entry| entry.first.zip(entry.last));
            host.times = ends.chain(host.times).reduce(|(a, b), (first, last)| (a.min(first), b.max(last)));
            if spread && entries.iter().any(|entry| entry.rows > 0) {
                host.rows.resize(hours, 0.0);
                host.rows[index * HOURS..][..HOURS].copy_from_slice(&spread::hours(&entries, date));
            }
        }
        for object in &holdings.unreadable {
            self.set_aside.push(Note { path: object.name.clone(), reason: object.reason.clone() });
        }
    }

    /// After all dates were taken: hosts of which an object of this date could not be read.
    pub fn take_unknown(&mut self, date: Date, is_unknown: impl Fn(&str) -> bool) {
        let Some(index) = self.index_of(date) else { return };
        self.hosts.iter_mut().filter(|(name, _)| is_unknown(name)).for_each(|(_, host)| host.unknown.push(index));
    }

    /// Adds rows of a host that were counted, by hour of a date, and by metric.
    pub fn count<'a>(&mut self, date: Date, host: &str, hours: &[u64; HOURS], metrics: impl Iterator<Item = (&'a str, u64)>) {
        let Some(index) = self.index_of(date) else { return };
        let all = self.dates.len() * HOURS;
        let known = self.host(host);
        known.rows.resize(all, 0.0);
        known.rows[index * HOURS..][..HOURS].iter_mut().zip(hours).for_each(|(known, counted)| *known += *counted as f32);
        for (metric, rows) in metrics {
            let metric = self.metric(metric);
            let known = &mut self.host(host).metrics;
            known.resize(known.len().max(metric + 1), 0);
            known[metric] += rows;
        }
    }

    fn metric(&mut self, name: &str) -> usize {
        self.metrics.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.metrics.push(name.into());
            self.metrics.len() - 1
        })
    }

    /// A host that has a snapshot on disk: it has a line, whether the archive knows it or not.
    pub fn on_disk(&mut self, host: &str) {
        self.host(host);
    }

    /// A snapshot on disk that covers `[from, to)`, unix s, and that the archive does not hold, or not all of it.
    pub fn waiting(&mut self, host: &str, (from, to): (i64, i64), state: State) {
        let Some(start) = self.dates.first().map(|date| date.start()) else { return };
        let hours = (self.dates.len() * HOURS) as i64;
        let (first, last) = ((from - start).div_euclid(HOUR).clamp(0, hours), (to - start + HOUR - 1).div_euclid(HOUR).clamp(0, hours));
        if first < last {
            self.host(host).waiting.push((first as usize, last as usize, state));
        }
    }

    /// Something that is set aside.
    pub fn set_aside(&mut self, note: Note) {
        self.set_aside.push(note);
    }

    /// What comes of it. `disk`: what is on disk, if that was asked for.
    pub fn finish(self, disk: Option<Disk>) -> Cluster {
        let hours = self.dates.len() * HOURS;
        let mut hosts: Vec<(Box<str>, HostHours)> = self.hosts.into_iter().collect();
        hosts.sort_by(|(a, _), (b, _)| natural::compare(a, b));
        let rates: Vec<&[f32]> = hosts.iter().map(|(_, host)| host.rows.as_slice()).collect();
        let mut cells = shares::cells(&rates, hours);
        for ((_, host), cells) in hosts.iter().zip(cells.chunks_mut(hours.max(1))) {
            host.mark(cells);
        }
        let counts: Vec<&[u64]> = hosts.iter().map(|(_, host)| host.metrics.as_slice()).collect();
        let metrics = shares::of_metrics(&self.metrics, &counts, &rates);
        let about: Vec<summary::Host<'_>> = hosts.iter().map(|(name, host)| summary::Host { name, times: host.times, is_archived: host.is_archived }).collect();
        let summary = Summary::of(&about, &cells, self.dates.first().map_or(0, |date| date.start()), disk);
        Cluster {
            name: self.name,
            dates: self.dates,
            rows: self.rows,
            bytes: self.bytes,
            objects: self.objects,
            hosts: hosts.into_iter().map(|(name, _)| name.into()).collect(),
            cells: Cells(cells),
            metrics,
            set_aside: self.set_aside,
            summary,
        }
    }
}

impl HostHours {
    /// Puts what is no share of samples into the host's cells.
    fn mark(&self, cells: &mut [u8]) {
        for date in &self.unknown {
            cells[date * HOURS..][..HOURS].iter_mut().filter(|cell| **cell == cell::NOTHING).for_each(|cell| *cell = cell::UNKNOWN);
        }
        for (first, last, state) in &self.waiting {
            for cell in &mut cells[*first..*last] {
                *cell = match (*cell, state) {
                    // what is on disk is a copy of what is archived, or another form of it
                    (cell::THIN..=cell::ALL | cell::UNKNOWN, _) => continue,
                    (cell::NOTHING | cell::WAITING, State::NotArchived) => cell::WAITING,
                    _ => cell::PARTLY,
                };
            }
        }
    }
}

/// A byte for each hour of each host, host after host; see [`cell`]. As JSON: raw DEFLATE, as base64.
#[derive(Debug)]
pub struct Cells(pub Vec<u8>);

impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&coverage_page::cells(&self.0))
    }
}

/// How complete a metric is.
#[derive(Debug, Serialize, PartialEq)]
pub struct MetricShare {
    /// Its name.
    pub name: String,
    /// Its samples against those that hosts alike have, from 0 to 1.
    pub share: f64,
}

/// The coverage of one cluster.
#[derive(Debug, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// All dates from the first to the last.
    pub dates: Vec<Date>,
    /// Rows of each date.
    pub rows: Vec<u64>,
    /// Bytes of each date's objects.
    pub bytes: Vec<u64>,
    /// Objects of each date.
    pub objects: Vec<u64>,
    /// Its hosts, n2 before n10.
    pub hosts: Vec<String>,
    /// What is there.
    pub cells: Cells,
    /// Its metrics, if rows were counted.
    pub metrics: Vec<MetricShare>,
    /// Files that cannot be archived, and objects that cannot be read.
    pub set_aside: Vec<Note>,
    /// What it comes to.
    pub summary: Summary,
}

/// How a report is shown.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Characters of a line.
    pub width: usize,
    /// Whether colours are used.
    pub colours: bool,
    /// Whether all hosts have a line.
    pub all: bool,
}

/// The coverage of an archive.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The archive.
    pub archive: String,
    /// When this was made, unix s.
    pub made: i64,
    /// True if rows were read, false if they were spread evenly over the time of each snapshot.
    pub exact: bool,
    /// Only hosts whose names are like this; rows, bytes and objects of dates are those of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its clusters.
    pub clusters: Vec<Cluster>,
    /// Objects that could not be read.
    pub unreadable: Vec<Unknown>,
    /// What else is not as it was asked for.
    pub notes: Vec<String>,
    /// Wall time.
    pub seconds: f64,
    /// True if a signal ended the run.
    pub interrupted: bool,
    /// How it is shown.
    #[serde(skip)]
    pub look: Look,
}

impl Report {
    /// True if all that is there could be looked at, and something is.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty() && self.notes.is_empty()
    }

    /// True if no host has a gap, is late or silent or has no sample, and all snapshots on disk are archived.
    pub fn is_covered(&self) -> bool {
        self.clusters.iter().all(|cluster| cluster.summary.is_covered())
    }
}

#[cfg(test)]
mod tests;
