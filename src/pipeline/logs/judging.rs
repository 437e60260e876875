//! The logs of one host: read, compared with its snapshots, and made into rows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::super::budget::Share;
use super::super::handed::{Entered, HostDay};
use super::LogHost;
use super::known::Around;
use super::reading::{LogRead, Logged};
use crate::data::{Piece, SeriesKey, SeriesRows, Tally};
use crate::files::LOG_NAME;
use crate::floor::Floor;
use crate::ledger::{Entry, Holdings};
use crate::names::{Date, Digest, MOST_STEP};
use crate::rescue::{self, Decided, Fate, LoggedSeries, Sample};
use crate::rows::{self, Behind};

/// The step of a series of which neither a snapshot nor a second sample tells it, in s: cc-backend's usual one.
const USUAL_STEP: i64 = 60;

/// What became of the samples of a host's logs.
#[derive(Debug, Default)]
pub struct Judged {
    /// Rows, by date.
    pub days: BTreeMap<Date, Vec<OfSeries>>,
    /// What the archive holds, by which they were judged.
    pub ledgers: BTreeMap<Date, Arc<Holdings>>,
    /// The logs.
    pub logs: Vec<LogRead>,
    /// How many samples of each log wait for a decision, in the order of the logs.
    pub waiting: Vec<u64>,
    /// How many samples became what.
    pub fates: BTreeMap<Fate, u64>,
    /// Time of the oldest sample that waits, unix s.
    pub oldest: Option<i64>,
}

/// Rows of one series and date, in the order of their times.
#[derive(Debug)]
pub struct OfSeries {
    key: SeriesKey,
    step: i64,
    rows: Vec<Sample>,
}

/// By what samples are judged.
#[derive(Debug)]
pub struct Rules {
    /// What is decided.
    pub decided: Decided,
    /// Only samples of these times are decided, unix s.
    pub times: Range<i64>,
    /// From which date on the archive keeps rows.
    pub floor: Floor,
}

/// Says what becomes of each sample. Blocks.
///
/// # Errors
/// Values of a snapshot cannot be read.
pub fn judge(logged: Logged, mut around: Around, Rules { decided, times, floor }: &Rules) -> std::io::Result<Judged> {
    let Logged { series, logs, .. } = logged;
    let steps = series.iter().filter_map(LoggedSeries::step).fold(BTreeMap::<i64, usize>::new(), |mut counts, step| {
        *counts.entry(step).or_default() += 1;
        counts
    });
    let usual = steps.iter().max_by_key(|(_, count)| **count).map_or(USUAL_STEP, |(step, _)| *step);
    let mut judged = Judged { waiting: vec![0; logs.len()], logs, ..Judged::default() };
    for series in series {
        let (known, told) = around.of(&series.key)?;
        let step = told.map(|told| told.latest).or_else(|| series.step()).unwrap_or(usual);
        // without a frequency a sample may be as far from its cell as any
        let most = told.map_or(MOST_STEP, |told| told.most);
        let mut fates = rescue::judge(&series.samples, &known, most, *decided, times);
        let is_kept = |sample: &Sample| Date::of(sample.time).is_some_and(|date| floor.keeps(date));
        fates.iter_mut().zip(&series.samples).filter(|(_, sample)| !is_kept(sample)).for_each(|(fate, _)| *fate = Fate::Expired);
        judged.take(series, step, &fates);
    }
    Ok(judged)
}

impl Judged {
    fn take(&mut self, LoggedSeries { key, samples }: LoggedSeries, step: i64, fates: &[Fate]) {
        let mut days = BTreeMap::<Date, Vec<Sample>>::new();
        for (sample, fate) in samples.into_iter().zip(fates) {
            *self.fates.entry(*fate).or_default() += 1;
            match (fate, Date::of(sample.time)) {
                (Fate::Row, Some(date)) => days.entry(date).or_default().push(sample),
                (Fate::Waiting, _) => {
                    self.waiting[usize::from(sample.log)] += 1;
                    self.oldest = Some(self.oldest.map_or(sample.time, |oldest| oldest.min(sample.time)));
                }
                _ => {}
            }
        }
        for (date, mut rows) in days {
            rows.sort_by_key(|row| row.time);
            self.days.entry(date).or_default().push(OfSeries { key: key.clone(), step, rows });
        }
    }
}

/// The rows of one host and date, in pieces, the last of them with what the ledger says of all; `work` is the host's index.
/// Its `share` is given back with the last of them.
pub fn pieces(host: &LogHost, work: usize, logs: &[LogRead], (date, series): (Date, Vec<OfSeries>), share: &Share) -> Vec<HostDay> {
    let entry = entry(host, logs, date, &series);
    let tally = Tally { rows: entry.rows, written: entry.written, extent: entry.first.zip(entry.last), ..Tally::default() };
    let entered = Entered { work, entry, tally };
    let (mut series, mut pieces) = (series.into_iter().peekable(), Vec::new());
    let behind = Behind { kept: 0, loaded: usize::MAX };
    while series.peek().is_some() {
        let Ok(rows) = rows::rows_of(&host.host, behind, || Ok::<_, Infallible>(series.next().map(OfSeries::into_rows)));
        pieces.push(HostDay { rows, sources: None, piece: share.of_whole() });
    }
    if let Some(last) = pieces.last_mut() {
        last.sources = Some(vec![entered]);
    }
    pieces
}

impl OfSeries {
    fn into_rows(self) -> SeriesRows {
        let (spans, values) = rescue::spans(&self.rows, self.step);
        let pieces = spans.into_iter().map(|span| Piece { of: 0, span, dense: true }).collect();
        SeriesRows { key: self.key, values: vec![Bytes::from(values)], pieces, loaded: 0 }
    }
}

/// What the ledger says of the rows of a date that come from a host's logs: a source of its own.
fn entry(host: &LogHost, logs: &[LogRead], date: Date, series: &[OfSeries]) -> Entry {
    let mut hasher = blake3::Hasher::new();
    let (mut rows, mut extent) = (0_u64, None::<(i64, i64)>);
    for OfSeries { key, rows: of_series, .. } in series {
        // no name holds a NUL
        hasher.update(key.metric.as_bytes()).update(&[0]).update(key.selector.path.as_bytes()).update(&[0]);
        hasher.update(&(of_series.len() as u64).to_le_bytes());
        for row in of_series {
            hasher.update(&row.time.to_le_bytes()).update(&row.value.to_le_bytes());
            extent = Some(extent.map_or((row.time, row.time), |(first, last)| (first.min(row.time), last.max(row.time))));
        }
        rows += of_series.len() as u64;
    }
    let (first, last) = extent.unwrap_or((date.start(), date.start()));
    Entry {
        path: format!("{}/{LOG_NAME}", host.host.as_str()).into(),
        size: logs.iter().map(|log| log.size).sum(),
        mtime: logs.iter().map(|log| log.mtime).max().unwrap_or_default(),
        blake3: Digest::from(hasher.finalize()),
        from: first,
        to: last + 1,
        dates: [date].into(),
        rows,
        written: rows,
        dropped: 0,
        superseded: 0,
        conflicting: 0,
        first: Some(first),
        last: Some(last),
        held_by: Box::default(),
    }
}
