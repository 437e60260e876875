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

use crate::data::{Days, IndexBuilder, SeriesKey, Snapshot, Span, first_not};
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
        let first = self.values.len();
        self.values.resize(first + 4 * values.len(), 0);
        self.values[first..].as_chunks_mut().0.iter_mut().zip(values).for_each(|(bytes, value)| *bytes = value.to_le_bytes());
    }
}

impl Collected {
    /// Takes rows with such times; their values go to `spool`.
    pub fn new(times: RangeInclusive<i64>, spool: Spool) -> Self {
        Self { times, spool, index: IndexBuilder::of_rows(), series: None, last: None, runs: Vec::new(), spare: Vec::new() }
    }

    /// Takes rows of a batch.
    pub fn add(&mut self, batch: &Batch, rows: Range<usize>) -> Result<(), Failed> {
        let mut at = rows.start;
        while at < rows.end {
            let end = batch.end_of_series(at, rows.end);
            self.begin([1, 2, 3, 4].map(|column| batch.name(column, at)))?;
            while at < end {
                let run = batch.run(at, end)?;
                if self.last.is_some_and(|last| last >= run.start) {
                    return Err(ParquetError::General("its rows are not in the order of their times".into()).into());
                }
                self.last = Some(run.last());
                let wanted = run.within(*self.times.start(), self.times.end().saturating_add(1));
                if wanted.len > 0 {
                    let first = at + (wanted.at - run.at) / 4;
                    self.add_run(wanted, &batch.values.values()[first..first + wanted.len])?;
                }
                at += run.len;
            }
        }
        Ok(())
    }

    /// Takes evenly spaced rows, which go on with a run, or begin one.
    fn add_run(&mut self, rows: Span, values: &[f32]) -> Result<(), Failed> {
        let known = self.runs.iter().enumerate().find_map(|(i, run)| Some((i, run.missing_before(rows.start, rows.frequency)?)));
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
        row + run_of(&self.names[0].keys().values()[row..])
    }

    /// Where the rows of that row's series end, or may end, before `end`.
    fn end_of_series(&self, row: usize, end: usize) -> usize {
        let of_column = |end: usize, column: &DictionaryArray<Int32Type>| row + run_of(&column.keys().values()[row..end]);
        self.names[1..].iter().fold(end, of_column)
    }

    /// Evenly spaced rows from `row` on, before `end`; their values begin at byte `4 * row`.
    fn run(&self, row: usize, end: usize) -> ParquetResult<Span> {
        let (times, frequencies) = (&self.times.values()[row..end], &self.frequencies.values()[row..end]);
        let (start, frequency) = (times[0], frequencies[0]);
        let even = |range: Range<usize>| {
            let steps = times[range.start + 1..].iter().zip(&times[range.clone()]).zip(&frequencies[range.start + 1..=range.end]);
            steps.fold(true, |even, ((next, time), of_next)| even & (next.wrapping_sub(*time) == frequency) & (*of_next == frequency))
        };
        // so that its times can be reckoned with
        Span::checked(start, frequency, 4 * row, 1 + first_not(times.len() - 1, even)).map_err(ParquetError::General)
    }

    fn name(&self, column: usize, row: usize) -> &str {
        let names = &self.names[column];
        names.values().as_string::<i32>().value(names.keys().value(row) as usize)
    }
}

/// How many values from the first on are like it.
fn run_of(values: &[i32]) -> usize {
    first_not(values.len(), |range| values[range].iter().fold(true, |same, value| same & (*value == values[0])))
}
