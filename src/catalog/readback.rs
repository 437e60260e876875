//! Rows of one host, read back: batches of rows become spans of values again.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array, DictionaryArray, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;

use crate::data::{Days, IndexBuilder, SeriesKey, Snapshot, Span};
use crate::error::{Error, Result};
use crate::names::Selector;
use crate::schema::SORTED_BY;
use crate::spool::Spool;

/// Rows that are decoded at a time.
pub const BATCH: usize = 16 << 10;

/// How rows are to be decoded: names as indices into a dictionary, as they lie in the pages, so that they are compared once a run, not once a row.
pub fn with_indices(metadata: &Arc<ParquetMetaData>) -> ParquetResult<ArrowReaderMetadata> {
    let plain = ArrowReaderMetadata::try_new(Arc::clone(metadata), ArrowReaderOptions::new())?;
    let names = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = plain.schema().fields().iter().map(|field| {
        let is_name = SORTED_BY.contains(&field.name().as_str());
        if is_name { Arc::new(field.as_ref().clone().with_data_type(names.clone())) } else { Arc::clone(field) }
    });
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
    ArrowReaderMetadata::try_new(Arc::clone(metadata), options)
}

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
}

/// The most runs of a series that may go on.
const MOST_RUNS: usize = 4;

/// Evenly spaced rows.
struct Run {
    span: Span,
    values: Vec<u8>,
}

/// So many missing values are put into a run as NaN, which take less memory than another run.
const MOST_MISSING: i64 = 8;

impl Run {
    /// How many values are missing before one at this time, if it belongs to the run.
    fn missing_before(&self, time: i64, frequency: i64) -> Option<i64> {
        let ahead = time - self.span.time(self.span.len);
        let belongs = self.span.frequency == frequency && ahead >= 0 && ahead % frequency == 0 && ahead / frequency <= MOST_MISSING;
        belongs.then(|| ahead / frequency)
    }

    fn push(&mut self, values: &[f32]) {
        self.span.len += values.len();
        self.values.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

impl Collected {
    /// Takes rows with such times; their values go to `spool`.
    pub fn new(times: RangeInclusive<i64>, spool: Spool) -> Self {
        Self { times, spool, index: IndexBuilder::of_rows(), series: None, last: None, runs: Vec::new() }
    }

    /// Takes rows of a batch.
    pub fn add(&mut self, batch: &Batch, rows: Range<usize>) -> Result<(), Failed> {
        let mut at = rows.start;
        while at < rows.end {
            let end = batch.end_of_series(at, rows.end);
            let times = &batch.times.values()[at..end];
            if !times.is_sorted_by(|a, b| a < b) {
                return Err(not_in_order());
            }
            let wanted = times.partition_point(|time| time < self.times.start())..times.partition_point(|time| time <= self.times.end());
            if !wanted.is_empty() {
                self.begin([1, 2, 3, 4].map(|column| batch.name(column, at)))?;
                self.add_series(batch, at + wanted.start..at + wanted.end)?;
            }
            at = end;
        }
        Ok(())
    }

    /// Takes rows of one series.
    fn add_series(&mut self, batch: &Batch, rows: Range<usize>) -> Result<(), Failed> {
        let (times, frequencies, values) = (&batch.times.values()[rows.clone()], &batch.frequencies.values()[rows.clone()], &batch.values.values()[rows]);
        if self.last.is_some_and(|last| last >= times[0]) {
            return Err(not_in_order());
        }
        self.last = times.last().copied();
        let mut at = 0;
        while at < times.len() {
            let frequency = frequencies[at];
            let goes_on = |row: usize| times[row] - times[row - 1] == frequency && frequencies[row] == frequency;
            let end = (at + 1..times.len()).find(|row| !goes_on(*row)).unwrap_or(times.len());
            self.add_run(times[at], frequency, &values[at..end])?;
            at = end;
        }
        Ok(())
    }

    /// Takes evenly spaced rows, which go on with a run, or begin one.
    fn add_run(&mut self, time: i64, frequency: i64, values: &[f32]) -> Result<(), Failed> {
        let known = self.runs.iter().enumerate().find_map(|(i, run)| Some((i, run.missing_before(time, frequency)?)));
        let (run, missing) = match known {
            Some(known) => known,
            None => {
                if self.runs.len() == MOST_RUNS {
                    self.end_run(0)?;
                }
                // so that its times can be reckoned with
                self.runs.push(Run { span: Span { len: 0, ..Span::checked(time, frequency, 0, 1).map_err(ParquetError::General)? }, values: Vec::new() });
                (self.runs.len() - 1, 0)
            }
        };
        let run = &mut self.runs[run];
        (0..missing).for_each(|_| run.push(&[f32::NAN]));
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
        let Run { span, values } = self.runs.remove(run);
        let at = self.spool.len();
        self.spool.end().extend_from_slice(&values);
        self.spool.settle().map_err(Error::Spool)?;
        if let Some(SeriesKey { metric, selector }) = &self.series {
            self.index.add(selector, metric, Span { at, ..span }).map_err(Error::Internal)?;
        }
        Ok(())
    }
}

fn not_in_order() -> Failed {
    ParquetError::General("its rows are not in the order of their times".into()).into()
}

/// Columns of some rows.
pub struct Batch {
    /// Those of [`SORTED_BY`].
    names: [DictionaryArray<Int32Type>; SORTED_BY.len()],
    times: Int64Array,
    frequencies: Int64Array,
    values: Float32Array,
}

impl Batch {
    /// Takes the columns of rows.
    ///
    /// # Errors
    /// They are not ours.
    pub fn new(batch: &RecordBatch) -> ParquetResult<Self> {
        let not_ours = || ParquetError::General("its columns do not have our types".into());
        let column = |name: &str| batch.column_by_name(name).filter(|column| column.null_count() == 0);
        let integers = |name: &str| column(name)?.as_primitive_opt::<Int64Type>().cloned();
        let names = SORTED_BY.iter().map(|name| {
            let names = column(name)?.as_dictionary_opt::<Int32Type>()?;
            names.values().as_string_opt::<i32>().map(|_| names.clone())
        });
        Ok(Self {
            names: names.collect::<Option<Vec<_>>>().and_then(|names| names.try_into().ok()).ok_or_else(not_ours)?,
            times: integers("timestamp").ok_or_else(not_ours)?,
            frequencies: integers("frequency").ok_or_else(not_ours)?,
            values: column("value").and_then(|c| c.as_primitive_opt::<Float32Type>().cloned()).ok_or_else(not_ours)?,
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whose row it is.
    pub fn host(&self, row: usize) -> &str {
        self.name(0, row)
    }

    /// Where the rows of that row's host end, or may end.
    pub fn end_of_host(&self, row: usize) -> usize {
        let hosts = self.names[0].keys().values();
        hosts[row..].iter().position(|host| *host != hosts[row]).map_or(hosts.len(), |rows| row + rows)
    }

    /// Where the rows of that row's series end, or may end, before `end`.
    fn end_of_series(&self, row: usize, end: usize) -> usize {
        let run = |names: &[i32]| names.iter().position(|name| *name != names[0]).unwrap_or(names.len());
        let of_column = |end: usize, column: &DictionaryArray<Int32Type>| row + run(&column.keys().values()[row..end]);
        self.names[1..].iter().fold(end, of_column)
    }

    fn name(&self, column: usize, row: usize) -> &str {
        let names = &self.names[column];
        names.values().as_string::<i32>().value(names.keys().value(row) as usize)
    }
}
