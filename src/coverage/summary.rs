//! What the cells come to, in lists of hosts.

use serde::Serialize;

use super::{Disk, HOUR, cell};

/// A host without data in no more hours than these at the end is not late: its last snapshot may have ended before that of others.
const SOON: usize = 2;
/// From so many hours on it is silent.
const SILENT: usize = 24;
/// In hours in which less than this part of the hosts has data, nothing is missed of the others: it is an outage, or a sample that strayed.
const FEW: usize = 10;

/// A host as it is known beside its cells.
#[derive(Debug)]
pub struct Host<'a> {
    /// Its name.
    pub name: &'a str,
    /// Times of its first and its last row.
    pub times: Option<(i64, i64)>,
    /// Whether a ledger names it. If not, it is on disk.
    pub is_archived: bool,
}

/// Hours one after the other.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
pub struct Span {
    /// Where they begin, unix s.
    pub from: i64,
    /// Where they end, unix s.
    pub to: i64,
}

/// A host that has no data, or too few samples, in hours in which others have.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Gaps {
    /// Its name.
    pub host: String,
    /// How many hours.
    pub hours: u64,
    /// Which.
    pub spans: Vec<Span>,
}

/// A host that has data only up to a time, or only from it.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Since {
    /// Its name.
    pub host: String,
    /// Of its last, or its first row, unix s.
    pub since: i64,
}

/// What the cells of a cluster come to.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Hosts that have all that their neighbours have.
    pub complete: u64,
    /// Hosts with hours without data between others that have some.
    pub gaps: Vec<Gaps>,
    /// Hosts with hours of fewer samples than their neighbours have: below 90 %.
    pub fewer: Vec<Gaps>,
    /// Hosts with hours that are on disk, and not archived, or not all of them.
    pub waiting: Vec<Gaps>,
    /// Hosts whose newest row is more than two hours behind the cluster's, and less than a day.
    pub late: Vec<Since>,
    /// Hosts whose newest row is a day behind the cluster's, or more.
    pub silent: Vec<Since>,
    /// Hosts that have rows only from a later time on than the cluster.
    pub began: Vec<Since>,
    /// Hosts on disk of which no ledger of these dates knows.
    pub never_archived: Vec<String>,
    /// Hosts whose snapshots are archived, and hold no sample of these dates.
    pub empty: Vec<String>,
    /// Hours of which few hosts or none have data, and which others surround.
    pub outages: Vec<Span>,
    /// The end of the last hour with data, unix s.
    pub newest: Option<i64>,
    /// Snapshots on disk, if a tree was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Disk>,
    /// Hours in which most have data.
    #[serde(skip)]
    pub busy: Vec<bool>,
}

impl Summary {
    /// Of hosts and their cells, host after host; the first hour begins at `start`.
    pub fn of(hosts: &[Host<'_>], cells: &[u8], start: i64, disk: Option<Disk>) -> Self {
        let hours = cells.len().checked_div(hosts.len()).unwrap_or(0);
        let mut with_data = vec![0_usize; hours];
        let mut known = 0;
        for cells in cells.chunks(hours.max(1)) {
            let mut any = false;
            for (count, _) in with_data.iter_mut().zip(cells).filter(|(_, cell)| cell::has_data(**cell)) {
                *count += 1;
                any = true;
            }
            known += usize::from(any);
        }
        let busy: Vec<bool> = with_data.iter().map(|count| *count > 0 && count * FEW >= known).collect();
        let time = |hour: usize| start + hour as i64 * HOUR;
        let span = |hours: (usize, usize)| Span { from: time(hours.0), to: time(hours.1) };
        let extent = busy.iter().position(|busy| *busy).zip(busy.iter().rposition(|busy| *busy).map(|last| last + 1));
        let (first, end) = extent.unwrap_or((0, 0));
        let outages = spans(first..end, |hour| !busy[hour]).map(span).collect();
        let mut found = Self { outages, newest: extent.map(|(_, end)| time(end)), checkpoints: disk, ..Self::default() };
        for (host, cells) in hosts.iter().zip(cells.chunks(hours.max(1))) {
            found.add(host, cells, &busy, (first, end), span);
        }
        Self { busy, ..found }
    }

    fn add(&mut self, host: &Host<'_>, cells: &[u8], busy: &[bool], (first, end): (usize, usize), span: impl Fn((usize, usize)) -> Span + Copy) {
        let name = || host.name.to_owned();
        let Some((own_first, own_last)) = cells.iter().position(|c| cell::has_data(*c)).zip(cells.iter().rposition(|c| cell::has_data(*c))) else {
            match host.is_archived {
                true => self.empty.push(name()),
                false if cells.contains(&cell::UNKNOWN) => {}
                false => self.never_archived.push(name()),
            }
            return;
        };
        let is_missed = |hour: usize| busy[hour] && cells[hour] == cell::NOTHING;
        let gaps = |from, to, is: &dyn Fn(usize) -> bool| {
            let spans: Vec<Span> = spans(from..to, is).map(span).collect();
            Gaps { host: name(), hours: spans.iter().map(|span| ((span.to - span.from) / HOUR) as u64).sum(), spans }
        };
        let missed = |hours: std::ops::Range<usize>| hours.filter(|hour| is_missed(*hour)).count();
        let since = |known: Option<i64>, hour: usize| Since { host: name(), since: known.unwrap_or(span((hour, hour)).from) };
        let behind = missed(own_last + 1..end.max(own_last + 1));
        let is_waiting = cells[own_last + 1..].iter().any(|cell| matches!(*cell, cell::WAITING | cell::PARTLY | cell::UNKNOWN));
        let (gaps_found, fewer) = (gaps(own_first, own_last, &is_missed), gaps(own_first, own_last + 1, &|hour| (1..cell::THIN).contains(&cells[hour])));
        let is_late = behind > SOON && !is_waiting;
        let mut is_complete = gaps_found.hours == 0 && fewer.hours == 0 && !is_late;
        is_complete &= !cells.iter().any(|cell| *cell > cell::ALL);
        let waiting = gaps(0, cells.len(), &|hour| matches!(cells[hour], cell::WAITING | cell::PARTLY));
        self.waiting.extend(Some(waiting).filter(|found| found.hours > 0));
        if is_late {
            let list = if behind < SILENT { &mut self.late } else { &mut self.silent };
            list.push(since(host.times.map(|(_, last)| last), own_last + 1));
        }
        if missed(first..own_first.max(first)) > SOON {
            self.began.push(since(host.times.map(|(first, _)| first), own_first));
            is_complete = false;
        }
        self.complete += u64::from(is_complete);
        self.gaps.extend(Some(gaps_found).filter(|found| found.hours > 0));
        self.fewer.extend(Some(fewer).filter(|found| found.hours > 0));
    }

    /// True if no host has a gap, is late or silent or has no sample, and all snapshots on disk are archived.
    pub fn is_covered(&self) -> bool {
        let hosts = self.gaps.is_empty() && self.late.is_empty() && self.silent.is_empty() && self.empty.is_empty() && self.never_archived.is_empty();
        hosts && self.checkpoints.as_ref().is_none_or(|disk| disk.not_archived + disk.partly_archived + disk.not_known == 0)
    }
}

/// Hours of a range, put together where `is` holds for one after the other.
fn spans(hours: std::ops::Range<usize>, is: impl Fn(usize) -> bool) -> impl Iterator<Item = (usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for hour in hours.filter(|hour| is(*hour)) {
        match spans.last_mut() {
            Some(last) if last.1 == hour => last.1 += 1,
            _ => spans.push((hour, hour + 1)),
        }
    }
    spans.into_iter()
}
