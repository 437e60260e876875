//! The logs of one host, read into series of samples.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::checkpoint::{Log, Piece, Record, SeriesNumbers};
use crate::data::SeriesKey;
use crate::error::SetAside;
use crate::files::{mtime, trusted};
use crate::names::{Date, MOST_STEP};
use crate::rescue::{LoggedSeries, Sample};

/// Bytes of a log that are read at a time.
const CHUNK: usize = 128 << 10;

/// Bytes of a log before its first record. What has as many, and begins otherwise, is no log that is known.
const MAGIC_SIZE: u64 = 4;

/// So many places of one log are told one by one.
const MOST_NOTES: usize = 10;

/// What the logs of one host hold.
#[derive(Debug, Default)]
pub struct Logged {
    /// In the order of the archive.
    pub series: Vec<LoggedSeries>,
    /// What each log is, in the order in which they were given.
    pub logs: Vec<LogRead>,
    /// Times of the first and the last sample of each date that has one.
    pub dates: BTreeMap<Date, (i64, i64)>,
    /// No sample of a later time, unix s, is believed.
    latest: i64,
    /// Which of the logs cannot be read, and why.
    pub unreadable: Vec<SetAside>,
}

/// One log, as far as it was read.
#[derive(Debug, Default)]
pub struct LogRead {
    /// Bytes that it had.
    pub size: u64,
    /// Time of its last change, in ns since 1970.
    pub mtime: i64,
    /// Good records.
    pub records: u64,
    /// Bytes in which there is no good record, but for one that is torn at the end.
    pub passed_over: u64,
    /// Where they are.
    pub damage: Vec<SetAside>,
    /// True if something is damaged, and not only torn: what stood there may be readable for someone else.
    pub is_damaged: bool,
    /// What it begins with, if that is not the beginning of a log that is known.
    pub unknown: Option<String>,
    /// True if it could not be read to its end.
    pub is_unread: bool,
}

/// Samples of one log whose time cannot be.
#[derive(Default)]
struct Odd {
    count: u64,
    /// Byte offset of the first, and its time.
    first: Option<(u64, i64)>,
}

/// Reads logs; `now` is unix time in s. `go_on` is asked now and then.
pub fn read(paths: &[PathBuf], now: i64, go_on: impl Fn() -> bool) -> Logged {
    let mut numbers = SeriesNumbers::default();
    let mut logged = Logged { latest: now.saturating_add(MOST_STEP), ..Logged::default() };
    for (index, path) in paths.iter().enumerate() {
        let mut log = LogRead::default();
        if let Err(e) = logged.take(path, index as u16, &mut log, &mut numbers, &go_on) {
            log.is_unread = true;
            // the store may have removed it: what was held of it is another log
            if e.kind() != io::ErrorKind::NotFound {
                logged.unreadable.push(SetAside::new(path, format!("cannot read the log: {e}")));
            }
        }
        logged.logs.push(log);
    }
    logged.series.sort_by(|a, b| a.key.cmp(&b.key));
    logged
}

impl Logged {
    fn take(&mut self, path: &Path, index: u16, log: &mut LogRead, numbers: &mut SeriesNumbers, go_on: impl Fn() -> bool) -> io::Result<()> {
        let file = trusted::open(path)?;
        let status = file.metadata()?;
        if !status.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        (log.size, log.mtime) = (status.len(), mtime(&status));
        let mut note = |from: u64, to: u64, is_torn: bool, reason: String| {
            log.is_damaged |= !is_torn;
            log.passed_over += to - from;
            if log.damage.len() < MOST_NOTES {
                let reason = format!("{} bytes of the log were passed over: {reason}", to - from);
                log.damage.push(SetAside { path: path.to_owned(), offset: Some(from), reason });
            }
        };
        // it can grow meanwhile: the next run takes that
        let mut pieces = Log::new(BufReader::with_capacity(CHUNK, file).take(log.size));
        let (mut torn, mut odd) = (None, Odd::default());
        while let Some(piece) = pieces.next()? {
            if !go_on() {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            torn.take().into_iter().for_each(|(from, to, reason)| note(from, to, true, reason));
            match piece {
                Piece::Record(record) => match self.add(&record, index, numbers) {
                    Ok(true) => log.records += 1,
                    Ok(false) => odd.add(record.at, record.time),
                    Err(reason) => note(record.at, record.end, false, reason),
                },
                Piece::Lost(lost) if lost.from == 0 && lost.to >= MAGIC_SIZE => {
                    (log.unknown, log.passed_over) = (Some(lost.reason), 0);
                    return Ok(());
                }
                Piece::Lost(lost) if lost.is_torn || log.size < MAGIC_SIZE => torn = Some((lost.from, lost.to, lost.reason)),
                Piece::Lost(lost) => note(lost.from, lost.to, false, lost.reason),
            }
        }
        log.damage.extend(odd.note(path));
        Ok(())
    }

    /// Adds a sample. False if its time cannot be.
    fn add(&mut self, record: &Record<'_>, log: u16, numbers: &mut SeriesNumbers) -> Result<bool, String> {
        let Record { time, value, .. } = *record;
        let Some(date) = Date::of(time).filter(|_| time <= self.latest) else { return Ok(false) };
        let number = match numbers.find(record) {
            Some(number) => number,
            None => {
                let selector = record.selector()?;
                self.series.push(LoggedSeries { key: SeriesKey { metric: record.metric.into(), selector }, samples: Vec::new() });
                numbers.add()
            }
        };
        if !value.is_nan() {
            self.series[number].samples.push(Sample { time, value, log });
            let (first, last) = self.dates.entry(date).or_insert((time, time));
            (*first, *last) = (time.min(*first), time.max(*last));
        }
        Ok(true)
    }
}

impl Odd {
    fn add(&mut self, at: u64, time: i64) {
        self.count += 1;
        self.first = self.first.or(Some((at, time)));
    }

    fn note(self, path: &Path) -> Option<SetAside> {
        let (at, time) = self.first?;
        let reason =
            format!("{} samples of the log were passed over, as their times are in the future or before 1970; the first is of unix time {time}", self.count);
        Some(SetAside { path: path.to_owned(), offset: Some(at), reason })
    }
}
