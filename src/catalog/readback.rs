//! Rows of one host and a span of time, read back from an object: only the row groups that can hold them.

use std::convert::Infallible;
use std::ops::{ControlFlow, RangeInclusive};
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

use crate::data::{SeriesKey, Span, rank};
use crate::error::{Error, Result};
use crate::ledger::{NotOurs, ObjectLedger, Trouble};
use crate::names::{Digest, Host, Selector};
use crate::object::{self, Found as Looked, Reader, trouble};
use crate::partition::ObjectKey;
use crate::portion::{Collector, Portion};
use crate::schema::SORTED_BY;
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

/// The rows of `host` with times in `[first, last]` that go into `collector`, as spans of one value or more.
pub async fn rows_between(source: Source<'_>, host: &Host, times: (i64, i64), collector: Collector) -> Looked<Portion> {
    looked(source, collect(source, host, times, collector).await).await
}

/// Finds out if all rows of `host` can be read.
pub async fn check_rows(source: Source<'_>, host: &Host) -> Looked<()> {
    looked(source, decode_all(source, host).await).await
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

async fn collect(source: Source<'_>, host: &Host, (first, last): (i64, i64), collector: Collector) -> Result<Portion, Failed> {
    let mut groups = RowGroups::open(source, host, collector.from()).await?;
    let mut found = Found { host: host.clone(), times: first..=last, collector, run: None };
    while let Some(batches) = groups.next().await? {
        let add = move || found.add_all(batches).map(|is_past| (found, is_past));
        let (returned, is_past) = source.workers.run(add).await??;
        found = returned;
        if is_past {
            break;
        }
    }
    found.end_run();
    Ok(found.collector.finish(first, last))
}

async fn decode_all(source: Source<'_>, host: &Host) -> Result<(), Failed> {
    let mut groups = RowGroups::open(source, host, None).await?;
    while let Some(mut batches) = groups.next().await? {
        source.workers.run(move || batches.try_for_each(|batch| batch.map(drop))).await?.map_err(ParquetError::from)?;
    }
    Ok(())
}

/// The row groups of an object that can hold rows of a host.
struct RowGroups(ParquetRecordBatchStream<Reader>);

impl RowGroups {
    /// From the rows of a key on.
    async fn open(Source { archive, footers, object, .. }: Source<'_>, host: &Host, from: Option<&SeriesKey>) -> ParquetResult<Self> {
        let location = object.key.path();
        let metadata = footers.of(archive, object).await?;
        let groups = select(&metadata, host, from)?;
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

/// Row groups that can hold rows of the host, of series from a key on, by their smallest and largest names.
fn select(metadata: &ParquetMetaData, host: &Host, from: Option<&SeriesKey>) -> ParquetResult<Vec<usize>> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let position = |name: &str| {
        let found = columns.iter().position(|c| c.name() == name);
        found.ok_or_else(|| ParquetError::General(format!("it has no column {name}")))
    };
    let columns = SORTED_BY.iter().map(|name| position(name)).collect::<ParquetResult<Vec<_>>>()?;
    let host = host.as_str().as_bytes();
    let from: Vec<&[u8]> = [host].into_iter().chain(from.into_iter().flat_map(|key| key.rank().map(str::as_bytes))).collect();
    let can_hold = |group: &RowGroupMetaData| {
        let statistics = |column: &usize| group.column(*column).statistics();
        let lowest = statistics(&columns[0]).and_then(Statistics::min_bytes_opt);
        // of the first name that differs; where all are equal, or one is not known, there may be such a row
        let mut highest = columns.iter().map(|column| statistics(column).and_then(Statistics::max_bytes_opt)).zip(&from);
        let reaches = highest.find(|(high, from)| *high != Some(from)).is_none_or(|(high, from)| high.is_none_or(|high| high > *from));
        reaches && lowest.is_none_or(|low| low <= host)
    };
    Ok(metadata.row_groups().iter().enumerate().filter(|(_, group)| can_hold(group)).map(|(i, _)| i).collect())
}

/// Rows read so far, and the run of evenly spaced ones that may go on.
struct Found {
    host: Host,
    times: RangeInclusive<i64>,
    collector: Collector,
    run: Option<Run>,
}

struct Run {
    metric: Arc<str>,
    selector: Arc<Selector>,
    span: Span,
    values: Vec<u8>,
}

impl Run {
    fn push(&mut self, value: f32) {
        self.span.len += 1;
        self.values.extend_from_slice(&value.to_le_bytes());
    }
}

impl Found {
    /// Takes rows until one is past what is wanted: true, if there was one.
    fn add_all(&mut self, batches: ParquetRecordBatchReader) -> ParquetResult<bool> {
        for batch in batches {
            if self.add(&Batch::new(&batch?)?)?.is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn add(&mut self, batch: &Batch) -> ParquetResult<ControlFlow<()>> {
        // names of the last row that was taken, as indices
        let mut last = None;
        for row in 0..batch.times.len() {
            let (time, frequency, value, keys) = (batch.times.value(row), batch.frequencies.value(row), batch.values.value(row), batch.keys(row));
            let same_series = last == Some(keys);
            if !self.times.contains(&time) || !(same_series || batch.name(0, row) == self.host.as_str()) {
                continue;
            }
            last = Some(keys);
            let continues = |run: &Run| run.span.frequency == frequency && run.span.time(run.span.len) == time;
            if same_series && let Some(run) = self.run.as_mut().filter(|run| continues(run)) {
                run.push(value);
                continue;
            }
            let [scope, metric, scope_id, path] = [1, 2, 3, 4].map(|column| batch.name(column, row));
            let is_level = |level: &Selector| *level.path == *path && *level.scope == *scope && *level.scope_id == *scope_id;
            let goes_on = |run: &Run| *run.metric == *metric && is_level(&run.selector) && continues(run);
            if !self.run.as_ref().is_some_and(goes_on) {
                let last = self.end_run();
                let known = last.as_ref().filter(|(_, selector)| is_level(selector));
                let new = || Selector { scope: scope.into(), scope_id: scope_id.into(), path: path.into() };
                let selector = known.map_or_else(|| Arc::new(new()), |(_, selector)| Arc::clone(selector));
                let same = last.as_ref().map(|(name, _)| name).filter(|name| ***name == *metric);
                let metric = same.map_or_else(|| metric.into(), Arc::clone);
                if last.as_ref().is_some_and(|(last, at)| rank(last, at) > rank(&metric, &selector)) {
                    return Err(ParquetError::General("its rows are not in the order of their keys".into()));
                }
                if self.collector.is_past(&metric, &selector) {
                    return Ok(ControlFlow::Break(()));
                }
                let span = Span::checked(time, frequency, 0, 0).map_err(ParquetError::General)?;
                self.run = Some(Run { metric, selector, span, values: Vec::new() });
            }
            if let Some(run) = &mut self.run {
                run.push(value);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands the last run over, and says of which series it was.
    fn end_run(&mut self) -> Option<(Arc<str>, Arc<Selector>)> {
        let Run { metric, selector, span, values } = self.run.take()?;
        if self.collector.wants(&metric, &selector) {
            let cut = self.collector.cut(&span);
            let Ok(()) = self.collector.add(&selector, &metric, cut, |to| {
                to.extend_from_slice(&values[cut.bytes()]);
                Ok::<_, Infallible>(())
            });
        }
        Some((metric, selector))
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
