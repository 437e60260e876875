//! Snapshots and write-ahead logs, series by series and record by record.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Output, Seen};
use crate::buffers::Buffers;
use crate::checkpoint::{self, Form, Log, Piece, Record, Room, SeriesNumbers};
use crate::data::{SeriesKey, Span, Steps, floats};
use crate::error::{Error, Result};
use crate::files::Format;
use crate::files::trusted::ReadFrom;
use crate::inspect::{Builder, Damages, Holds, LogFacts, Number, Of, Sample, Shown, SnapshotFacts};
use crate::names::Selector;
use crate::spool;
use crate::telemetry::Progress;
use crate::workers::Workers;

/// Values of a series that are in memory at a time.
const PIECE: usize = 256 << 10;

/// Bytes of a log that are read at a time.
const CHUNK: usize = 128 << 10;

/// A file, and what decoding it may take. All of this blocks.
pub struct Decoding {
    /// It was opened.
    pub file: Arc<File>,
    /// Its bytes.
    pub size: u64,
    /// The time in its name.
    pub from: i64,
    /// Whose it is.
    pub of: Of,
    /// Bytes of memory that may be taken.
    pub memory: u64,
    /// Where values are put that there is no room for.
    pub spool: PathBuf,
    /// Stopped: nothing more is decoded.
    pub workers: Workers,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// Where it is.
    pub path: PathBuf,
}

impl Decoding {
    /// A snapshot as far as it can be decoded.
    pub fn snapshot(self, format: Format, mut output: Output) -> Result<Seen> {
        self.progress.bytes_expected.store(self.size, Ordering::Relaxed);
        let form = Form { format, from: self.from, size: self.size, of_rows: false };
        let quarter = (self.memory / 4) as usize;
        let tools = spool::Tools { buffers: Buffers::new(quarter), folder: self.spool.clone() };
        let partial = checkpoint::decode_as_far(Arc::clone(&self.file), form, Room { values: quarter, index: quarter }, &tools);
        let checkpoint::Partial { extent, digest, snapshot, flaw } = partial.map_err(Error::io("cannot decode", &self.path))?;
        self.progress.bytes_read.store(self.size, Ordering::Relaxed);
        let dates = snapshot.days.dates().collect();
        let snapshot = Arc::new(snapshot);
        let (mut cursor, mut series) = (snapshot.cursor(), Shown::default());
        let failed = |e| Error::io("cannot read values of", &self.path)(e);
        let is_wanted = output.filter.admits_host(self.host());
        while let Some(key) = cursor.key().map_err(failed)?.filter(|_| is_wanted && !output.is_closed) {
            while let Some(span) = cursor.next_of(&key) {
                self.go_on()?;
                let (from, to) = output.filter.times();
                let part = span.within(from, to);
                let has_any = part.len > 0 || span.len == 0;
                if has_any && output.filter.admits_series(&key.metric, &key.selector.path) {
                    let values = |part: &Span| snapshot.place.values(part).map_err(failed);
                    self.series(&key, part, values, &mut series, &mut output)?;
                }
            }
        }
        let mut damage = Damages::default();
        flaw.into_iter().for_each(|flaw| damage.add(flaw.offset, None, flaw.reason));
        let (from, to) = extent.unzip();
        let facts = SnapshotFacts { format, of: self.of, from, to, dates, blake3: digest, series };
        Ok(Seen { holds: Holds::Snapshot(facts), notes: Vec::new(), damage, output })
    }

    /// One series of a snapshot, piece by piece.
    fn series(&self, key: &SeriesKey, span: Span, values: impl Fn(&Span) -> Result<bytes::Bytes>, series: &mut Shown, output: &mut Output) -> Result<()> {
        let SeriesKey { metric, selector } = key;
        let mut facts = Builder::new(metric, selector, Some(span.frequency));
        for first in (0..span.len).step_by(PIECE) {
            let part = span.part(first, PIECE.min(span.len - first));
            for (i, value) in floats(&values(&part)?).enumerate() {
                facts.on_grid(part.time(i), value);
                if output.writer.is_some() && !output.is_closed && !value.is_nan() {
                    output.put(&self.sample(metric, selector, part.time(i), Some(span.frequency), value))?;
                }
            }
        }
        series.add(facts.finish());
        Ok(())
    }

    /// A write-ahead log. Where facts are wanted, it is gone through twice: steps between samples are known at its end only.
    pub fn log(self, mut output: Output) -> Result<Seen> {
        self.progress.bytes_expected.store(self.size, Ordering::Relaxed);
        let (mut known, mut damage, mut records, mut others) = (Series::default(), Damages::default(), 0, 0);
        let wants_facts = output.writer.is_none();
        let is_torn = self.walk(
            |record, selector| {
                records += 1;
                if !self.wants(record, &selector, &output) {
                    return Ok(true);
                }
                if !wants_facts {
                    let is_sample = !record.value.is_nan();
                    let sample = self.sample(record.metric, &selector, record.time, None, record.value);
                    return if is_sample { output.put(&sample) } else { Ok(()) }.map(|()| !output.is_closed);
                }
                match known.of(record, &selector) {
                    Some(series) if !record.value.is_nan() => series.steps.add(record.time),
                    Some(_) => {}
                    None => others += 1,
                }
                Ok(true)
            },
            |from, to, reason| damage.add(Some(from), Some(to), reason),
        )?;
        let mut series = Shown::default();
        if wants_facts {
            let mut builders: Vec<Builder> = known.list.iter().map(OfLog::builder).collect();
            let take = |record: &Record<'_>, selector: Arc<Selector>| {
                if self.wants(record, &selector, &output)
                    && let Some(at) = known.find(record)
                {
                    builders[at].in_log(record.time, record.value);
                }
                Ok(true)
            };
            self.walk(take, |_, _, _| ())?;
            builders.into_iter().for_each(|builder| series.add(builder.finish()));
        }
        let mut notes = Vec::new();
        if is_torn {
            notes.push("a record that is torn at the end of a log is normal after a crash, or while the store writes".into());
        }
        if others > 0 {
            notes.push(format!("{others} records of more series than {} are not shown; --selector and --metric choose", Shown::MOST));
        }
        Ok(Seen { holds: Holds::Log(LogFacts { of: self.of, records, series }), notes, damage, output })
    }

    /// Hands on each record, until it is enough, and what was lost between them. True if the last one is torn.
    fn walk(&self, mut take: impl FnMut(&Record<'_>, Arc<Selector>) -> Result<bool>, mut lost: impl FnMut(u64, u64, String)) -> Result<bool> {
        let mut log = Log::new(BufReader::with_capacity(CHUNK, ReadFrom { file: &self.file, at: 0 }));
        let failed = |e| Error::io("cannot read", &self.path)(e);
        let mut is_torn = false;
        while let Some(piece) = log.next().map_err(failed)? {
            self.go_on()?;
            match piece {
                Piece::Record(record) => match record.selector() {
                    Ok(selector) => {
                        self.progress.bytes_read.store(record.at, Ordering::Relaxed);
                        is_torn = false;
                        if !take(&record, selector)? {
                            break;
                        }
                    }
                    Err(why) => lost(record.at, record.end, why),
                },
                Piece::Lost(bytes) => {
                    is_torn = bytes.is_torn;
                    lost(bytes.from, bytes.to, bytes.reason);
                }
            }
        }
        Ok(is_torn)
    }

    fn wants(&self, record: &Record<'_>, selector: &Selector, output: &Output) -> bool {
        let filter = &output.filter;
        filter.admits_time(record.time) && filter.admits_series(record.metric, &selector.path) && filter.admits_host(self.host())
    }

    fn host(&self) -> &str {
        self.of.host.as_deref().unwrap_or_default()
    }

    fn sample<'a>(&'a self, metric: &'a str, selector: &'a Selector, timestamp: i64, frequency: Option<i64>, value: f32) -> Sample<'a> {
        let Selector { scope, scope_id, path } = selector;
        Sample { hostname: self.host(), scope, metric, scope_id, selector: path, timestamp, frequency, value: Number::Single(value) }
    }

    fn go_on(&self) -> Result<()> {
        if self.workers.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Series of a log in the order in which they come first.
#[derive(Default)]
struct Series {
    numbers: SeriesNumbers,
    list: Vec<OfLog>,
}

struct OfLog {
    metric: Box<str>,
    selector: Arc<Selector>,
    steps: Steps,
}

impl OfLog {
    fn builder(&self) -> Builder {
        Builder::new(&self.metric, &self.selector, self.steps.most_common())
    }
}

impl Series {
    fn find(&mut self, record: &Record<'_>) -> Option<usize> {
        self.numbers.find(record)
    }

    /// The series of a record; None if there are too many.
    fn of(&mut self, record: &Record<'_>, selector: &Arc<Selector>) -> Option<&mut OfLog> {
        let at = match self.find(record) {
            Some(at) => at,
            None if self.list.len() == Shown::MOST => return None,
            None => {
                self.list.push(OfLog { metric: record.metric.into(), selector: Arc::clone(selector), steps: Steps::default() });
                self.numbers.add()
            }
        };
        self.list.get_mut(at)
    }
}
