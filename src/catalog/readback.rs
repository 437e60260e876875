//! Rows of one host, read back: stretches of rows become spans of values again.

use std::ops::RangeInclusive;
use std::sync::Arc;

use parquet::errors::ParquetError;

use super::columns::Stretch;
use crate::data::{Days, IndexBuilder, SeriesKey, Snapshot, Span};
use crate::error::{Error, Result};
use crate::names::Selector;
use crate::spool::Spool;

/// Why rows were not read.
pub enum Failed {
    /// The object or the store.
    Reader(ParquetError),
    /// This program.
    Run(Error),
}

impl From<ParquetError> for Failed {
    fn from(e: ParquetError) -> Self {
        Self::Reader(e)
    }
}

impl From<Error> for Failed {
    fn from(e: Error) -> Self {
        Self::Run(e)
    }
}

/// Rows of a host that were read so far.
pub struct Collected {
    times: RangeInclusive<i64>,
    spool: Spool,
    index: IndexBuilder,
    /// The series of the last row.
    series: Option<SeriesKey>,
    /// Its time.
    last: Option<i64>,
    /// Its runs that may go on. There are several where snapshots whose times shift against each other were merged.
    runs: Vec<Run>,
    /// Memory for the values of the next run.
    spare: Vec<u8>,
}

/// The most runs of a series that may go on.
const MOST_RUNS: usize = 4;

/// Evenly spaced rows.
struct Run {
    span: Span,
    values: Vec<u8>,
}

impl Run {
    fn push(&mut self, values: &[u8]) {
        self.span.len += values.len() / 4;
        self.values.extend_from_slice(values);
    }
}

impl Collected {
    /// Takes rows with such times; their values go to `spool`.
    pub fn new(times: RangeInclusive<i64>, spool: Spool) -> Self {
        Self { times, spool, index: IndexBuilder::of_rows(usize::MAX), series: None, last: None, runs: Vec::new(), spare: Vec::new() }
    }

    /// Takes rows.
    pub fn add(&mut self, Stretch { series, rows, values }: Stretch<'_>) -> Result<(), Failed> {
        self.begin(series)?;
        if self.last.is_some_and(|last| last >= rows.start) {
            return Err(ParquetError::General("its rows are not in the order of their times".into()).into());
        }
        self.last = Some(rows.last());
        let wanted = rows.within(*self.times.start(), self.times.end().saturating_add(1));
        if wanted.len > 0 { self.add_run(wanted, &values[wanted.bytes()]) } else { Ok(()) }
    }

    /// Takes evenly spaced rows, which go on with a run, or begin one.
    fn add_run(&mut self, rows: Span, values: &[u8]) -> Result<(), Failed> {
        let known = self.runs.iter().enumerate().find_map(|(i, run)| Some((i, run.span.missing_before(rows.start, rows.frequency)?)));
        let (run, missing) = match known {
            Some(known) => known,
            None => {
                if self.runs.len() == MOST_RUNS {
                    self.end_run(0)?;
                }
                self.runs.push(Run { span: Span { len: 0, ..rows }, values: std::mem::take(&mut self.spare) });
                (self.runs.len() - 1, 0)
            }
        };
        let run = &mut self.runs[run];
        (0..missing).for_each(|_| run.push(&f32::NAN.to_le_bytes()));
        run.push(values);
        Ok(())
    }

    /// All of them, as a snapshot of these times.
    pub fn finish(mut self) -> Result<Snapshot, Failed> {
        self.end_series()?;
        let index = self.index.finish().map_err(Error::Internal)?;
        let place = self.spool.finish().map_err(Error::Spool)?;
        Ok(Snapshot { from: *self.times.start(), to: *self.times.end(), days: Days::default(), index: index.into(), place, reindex: None })
    }

    /// The next row is of this series.
    fn begin(&mut self, [scope, metric, scope_id, path]: [&str; 4]) -> Result<(), Failed> {
        let known = self.series.as_ref().filter(|last| last.rank() == [scope, metric, scope_id, path]);
        if known.is_some() {
            return Ok(());
        }
        self.end_series()?;
        let same = self.series.as_ref().map(|last| &last.metric).filter(|last| ***last == *metric);
        let metric = same.map_or_else(|| metric.into(), Arc::clone);
        let key = SeriesKey { metric, selector: Arc::new(Selector { scope: scope.into(), scope_id: scope_id.into(), path: path.into() }) };
        if self.series.as_ref().is_some_and(|last| *last > key) {
            return Err(ParquetError::General("its rows are not in the order of their keys".into()).into());
        }
        (self.series, self.last) = (Some(key), None);
        Ok(())
    }

    fn end_series(&mut self) -> Result<()> {
        while !self.runs.is_empty() {
            self.end_run(0)?;
        }
        Ok(())
    }

    fn end_run(&mut self, run: usize) -> Result<()> {
        let Run { span, mut values } = self.runs.remove(run);
        let at = self.spool.len();
        self.spool.end().extend_from_slice(&values);
        values.clear();
        self.spare = values;
        self.spool.settle().map_err(Error::Spool)?;
        if let Some(SeriesKey { metric, selector }) = &self.series {
            self.index.add(selector, metric, Span { at, ..span }).map_err(Error::Internal)?;
        }
        Ok(())
    }
}
