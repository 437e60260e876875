//! Rows of one host and a span of time, read back from an object: only the row groups that can hold them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array, DictionaryArray, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use tokio::sync::Mutex;

use crate::data::{Days, IndexBuilder, SeriesKey, Snapshot, Span};
use crate::error::{Error, Result};
use crate::ledger::{NotOurs, ObjectLedger, Trouble};
use crate::names::{Digest, Host, Selector};
use crate::object::{self, Found as Looked, Reader, trouble};
use crate::partition::ObjectKey;
use crate::schema::SORTED_BY;
use crate::spool::Spool;
use crate::store::Archive;
use crate::workers::Workers;

/// The footer that was read last: hosts come in order, so many of them in turn ask the same object. One that is large is not kept.
#[derive(Debug, Default)]
pub struct LastFooter(Mutex<Option<(ObjectKey, Digest, Arc<ParquetMetaData>)>>);

/// Bytes of memory that a footer may take to be kept.
const MOST_KEPT: usize = 8 << 20;

impl LastFooter {
    async fn of(&self, archive: &Archive, object: &ObjectLedger) -> ParquetResult<Arc<ParquetMetaData>> {
        // held while it is read, so that hosts that work at once read it once
        let mut last = self.0.lock().await;
        if let Some((.., footer)) = last.as_ref().filter(|(key, digest, _)| *key == object.key && *digest == object.digest) {
            return Ok(Arc::clone(footer));
        }
        let footer = Arc::new(object::footer(archive, &object.key.path(), object.size).await?);
        *last = (footer.memory_size() <= MOST_KEPT).then(|| (object.key.clone(), object.digest, Arc::clone(&footer)));
        Ok(footer)
    }
}

/// Where rows are read back from: an object, and who reads it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Where the object is.
    pub archive: &'a Archive,
    /// Who decodes.
    pub workers: &'a Workers,
    /// The footer that is known, perhaps.
    pub footers: &'a LastFooter,
    /// The object.
    pub object: &'a ObjectLedger,
}

/// The rows of `host` with times in `[first, last]`, as spans of one value or more, with their values in `spool`.
pub async fn rows_between(source: Source<'_>, host: &Host, times: (i64, i64), spool: Spool) -> Looked<Snapshot> {
    looked(source, collect(source, host, times, spool).await).await
}

/// Why rows were not read back.
enum Failed {
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

async fn looked<T>(Source { archive, object, .. }: Source<'_>, done: Result<T, Failed>) -> Looked<T> {
    match done {
        Ok(found) => Ok(Ok(found)),
        Err(Failed::Run(e)) => Err(e),
        Err(Failed::Reader(e)) => Ok(Err(match trouble::of_reader(archive, &object.key.path(), "cannot read rows back from", e).await? {
            NotOurs::Unusable(Trouble::Damaged, reason) => NotOurs::damaged(format!("its rows cannot be read back: {reason}")),
            why => why,
        })),
    }
}

async fn collect(source: Source<'_>, host: &Host, (first, last): (i64, i64), spool: Spool) -> Result<Snapshot, Failed> {
    let mut groups = RowGroups::open(source, host).await?;
    let index = IndexBuilder::of_rows();
    let mut found = Found { host: host.clone(), times: first..=last, spool, index, series: None, runs: Vec::new() };
    while let Some(batches) = groups.next().await? {
        let add = move || found.add_all(batches).map(|()| found);
        found = source.workers.run(add).await??;
    }
    let finish = move || {
        found.end_series()?;
        Ok::<_, Error>((found.index.finish().map_err(Error::Internal)?, found.spool.finish().map_err(Error::Spool)?))
    };
    let (index, place) = source.workers.run(finish).await??;
    Ok(Snapshot { from: first, to: last, days: Days::default(), index: index.into(), place, reindex: None })
}

/// The row groups of an object that can hold rows of a host.
struct RowGroups(ParquetRecordBatchStream<Reader>);

impl RowGroups {
    async fn open(Source { archive, footers, object, .. }: Source<'_>, host: &Host) -> ParquetResult<Self> {
        let location = object.key.path();
        let metadata = footers.of(archive, object).await?;
        let groups = select(&metadata, host)?;
        // names as indices into a dictionary, as they lie in the pages: they are compared once a run, not once a row
        let plain = ArrowReaderMetadata::try_new(Arc::clone(&metadata), ArrowReaderOptions::new())?;
        let names = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let fields = plain.schema().fields().iter().map(|field| {
            let is_name = SORTED_BY.contains(&field.name().as_str());
            if is_name { Arc::new(field.as_ref().clone().with_data_type(names.clone())) } else { Arc::clone(field) }
        });
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        let known = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options)?;
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(Reader::new(archive, location, metadata), known);
        let projection = ProjectionMask::columns(builder.parquet_schema(), SORTED_BY.into_iter().chain(["timestamp", "frequency", "value"]));
        builder.with_row_groups(groups).with_projection(projection).build().map(Self)
    }

    /// Fetches the next one.
    async fn next(&mut self) -> ParquetResult<Option<ParquetRecordBatchReader>> {
        self.0.next_row_group().await
    }
}

/// Row groups that can hold rows of the host, by the smallest and largest name of a host in each.
fn select(metadata: &ParquetMetaData, host: &Host) -> ParquetResult<Vec<usize>> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns.iter().position(|c| c.name() == SORTED_BY[0]).ok_or_else(|| ParquetError::General(format!("it has no column {}", SORTED_BY[0])))?;
    let host = host.as_str().as_bytes();
    let can_hold = |group: &RowGroupMetaData| {
        let statistics = group.column(column).statistics();
        let reaches = statistics.and_then(Statistics::max_bytes_opt).is_none_or(|high| high >= host);
        reaches && statistics.and_then(Statistics::min_bytes_opt).is_none_or(|low| low <= host)
    };
    Ok(metadata.row_groups().iter().enumerate().filter(|(_, group)| can_hold(group)).map(|(i, _)| i).collect())
}

/// Rows read so far.
struct Found {
    host: Host,
    times: RangeInclusive<i64>,
    spool: Spool,
    index: IndexBuilder,
    /// The series of the last row.
    series: Option<SeriesKey>,
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

    fn push(&mut self, value: f32) {
        self.span.len += 1;
        self.values.extend_from_slice(&value.to_le_bytes());
    }
}

impl Found {
    fn add_all(&mut self, batches: ParquetRecordBatchReader) -> Result<(), Failed> {
        for batch in batches {
            self.add(&Batch::new(&batch.map_err(ParquetError::from)?)?)?;
        }
        Ok(())
    }

    fn add(&mut self, batch: &Batch) -> Result<(), Failed> {
        // names of the last row that was taken, as indices
        let mut last = None;
        for row in 0..batch.times.len() {
            let (time, frequency, value, names) = (batch.times.value(row), batch.frequencies.value(row), batch.values.value(row), batch.keys(row));
            let is_same = last == Some(names);
            if !self.times.contains(&time) || !(is_same || batch.name(0, row) == self.host.as_str()) {
                continue;
            }
            last = Some(names);
            if !is_same {
                self.begin([1, 2, 3, 4].map(|column| batch.name(column, row)))?;
            }
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
            (0..missing).for_each(|_| self.runs[run].push(f32::NAN));
            self.runs[run].push(value);
        }
        Ok(())
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
        self.series = Some(key);
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

/// Columns of some rows.
struct Batch {
    /// Those of [`SORTED_BY`].
    names: [DictionaryArray<Int32Type>; SORTED_BY.len()],
    times: Int64Array,
    frequencies: Int64Array,
    values: Float32Array,
}

impl Batch {
    fn new(batch: &RecordBatch) -> ParquetResult<Self> {
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

    /// The row's names, as indices.
    fn keys(&self, row: usize) -> [i32; SORTED_BY.len()] {
        std::array::from_fn(|column| self.names[column].keys().values()[row])
    }

    fn name(&self, column: usize, row: usize) -> &str {
        let names = &self.names[column];
        names.values().as_string::<i32>().value(names.keys().value(row) as usize)
    }
}
