//! Rows of an object, counted by host, hour and metric. Three columns are read, row group by row group; of the rows nothing is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, DictionaryArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;

use super::readback::Failed;
use crate::error::Result;
use crate::ledger::NotOurs;
use crate::object::{self, Found, Reader, trouble};
use crate::partition::ObjectKey;
use crate::schema::SORTED_BY;
use crate::store::Archive;
use crate::telemetry::Progress;
use crate::workers::Workers;

/// The columns that are read.
const READ: [&str; 3] = ["hostname", "metric", "timestamp"];
const HOUR: i64 = 3_600;

/// Rows that are decoded at a time.
const BATCH: usize = 16 << 10;

/// How rows are to be decoded: names as indices into a dictionary, as they lie in the pages, so that they are compared once a run, not once a row.
fn with_indices(metadata: &Arc<ParquetMetaData>) -> ParquetResult<ArrowReaderMetadata> {
    let plain = ArrowReaderMetadata::try_new(Arc::clone(metadata), ArrowReaderOptions::new())?;
    let names = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = plain.schema().fields().iter().map(|field| {
        let is_name = SORTED_BY.contains(&field.name().as_str());
        if is_name { Arc::new(field.as_ref().clone().with_data_type(names.clone())) } else { Arc::clone(field) }
    });
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
    ArrowReaderMetadata::try_new(Arc::clone(metadata), options)
}

/// Rows of an object.
#[derive(Debug, Default)]
pub struct Counts {
    /// Of each host: rows of each hour of the date, and of each metric.
    pub hosts: BTreeMap<Box<str>, HostCounts>,
}

/// Rows of a host in an object.
#[derive(Debug, Default)]
pub struct HostCounts {
    /// By hour of the date.
    pub hours: [u64; 24],
    /// By metric.
    pub metrics: BTreeMap<Box<str>, u64>,
}

/// Counts the rows of an object of `size` bytes.
pub async fn counts(archive: &Archive, workers: &Workers, progress: &Progress, key: &ObjectKey, size: u64) -> Found<Counts> {
    match object::without_panic(count(archive, workers, progress, key, size)).await {
        Ok(counts) => Ok(Ok(counts)),
        Err(Failed::Run(e)) => Err(e),
        Err(Failed::Reader(e @ ParquetError::External(_))) => Ok(Err(trouble::of_reader(archive, &key.path(), "cannot read", e).await?)),
        Err(Failed::Reader(e)) => Ok(Err(NotOurs::damaged(format!("its rows cannot be decoded: {e}")))),
    }
}

async fn count(archive: &Archive, workers: &Workers, progress: &Progress, key: &ObjectKey, size: u64) -> Result<Counts, Failed> {
    let (location, start) = (key.path(), key.partition.date.start());
    let metadata = Arc::new(object::footer(archive, &location, size).await?);
    let known = with_indices(&metadata)?;
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(Reader::new(archive, location, Arc::clone(&metadata)), known);
    let projection = ProjectionMask::columns(builder.parquet_schema(), READ);
    let is_read = |column: usize| projection.leaf_included(column);
    let bytes =
        metadata.row_groups().iter().map(|group| (0..group.num_columns()).filter(|c| is_read(*c)).map(|c| group.column(c).compressed_size()).sum::<i64>());
    let bytes: Vec<u64> = bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0)).collect();
    progress.bytes_expected.fetch_add(bytes.iter().sum(), Ordering::Relaxed);
    let mut groups = builder.with_projection(projection).with_batch_size(BATCH).build()?;
    let (mut counts, mut read) = (Counts::default(), bytes.into_iter());
    while let Some(batches) = groups.next_row_group().await? {
        let add = move || counts.add_all(batches, start).map(|()| counts);
        counts = workers.run(add).await??;
        progress.bytes_read.fetch_add(read.next().unwrap_or(0), Ordering::Relaxed);
    }
    Ok(counts)
}

impl Counts {
    fn add_all(&mut self, batches: ParquetRecordBatchReader, start: i64) -> ParquetResult<()> {
        batches.into_iter().try_for_each(|batch| self.add(&batch.map_err(ParquetError::from)?, start))
    }

    /// Adds rows. They are sorted, so that a host and a metric have many one after the other.
    fn add(&mut self, batch: &RecordBatch, start: i64) -> ParquetResult<()> {
        let not_ours = || ParquetError::General("its columns do not have our types".into());
        let column = |name: &str| batch.column_by_name(name).filter(|column| column.null_count() == 0).ok_or_else(not_ours);
        let names = |name: &str| column(name)?.as_dictionary_opt::<Int32Type>().cloned().ok_or_else(not_ours);
        let (hosts, metrics) = (names("hostname")?, names("metric")?);
        let times = column("timestamp")?.as_primitive_opt::<Int64Type>().ok_or_else(not_ours)?.values();
        let (host_keys, metric_keys) = (hosts.keys().values(), metrics.keys().values());
        let mut from = 0;
        while from < times.len() {
            let keys = (host_keys[from], metric_keys[from]);
            let same = host_keys[from..].iter().zip(&metric_keys[from..]).take_while(|(host, metric)| (**host, **metric) == keys).count();
            let host = name(&hosts, from).ok_or_else(not_ours)?;
            if !self.hosts.contains_key(host) {
                self.hosts.insert(host.into(), HostCounts::default());
            }
            let Some(counted) = self.hosts.get_mut(host) else { continue };
            let metric = name(&metrics, from).ok_or_else(not_ours)?;
            match counted.metrics.get_mut(metric) {
                Some(rows) => *rows += same as u64,
                None => drop(counted.metrics.insert(metric.into(), same as u64)),
            }
            for time in &times[from..from + same] {
                let hour = usize::try_from((time - start).div_euclid(HOUR)).unwrap_or(usize::MAX);
                *counted.hours.get_mut(hour).ok_or_else(|| ParquetError::General(format!("a row has the time {time}, which is of another date")))? += 1;
            }
            from += same;
        }
        Ok(())
    }
}

fn name(names: &DictionaryArray<Int32Type>, row: usize) -> Option<&str> {
    Some(names.values().as_string_opt::<i32>()?.value(names.key(row)?))
}
