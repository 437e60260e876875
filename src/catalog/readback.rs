//! Rows of one host and a span of time, read back from an object: only the pages that can hold them.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{BooleanArray, RecordBatch};
use futures::TryStreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter, RowSelection, RowSelector};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use crate::data::{Series, Snapshot, Span};
use crate::error::Result;
use crate::ledger::ObjectLedger;
use crate::names::{Host, Selector};
use crate::object::{self, Reader};
use crate::store::Archive;

/// The rows of `host` with times in `[first, last]`, as a snapshot of one-value-wide or longer spans.
pub async fn rows_between(archive: &Archive, ledger: &ObjectLedger, host: &Host, first: i64, last: i64) -> Result<Snapshot> {
    let name = archive.name_of(&ledger.key);
    read(archive, ledger, host, first, last).await.map_err(|e| object::split(e, "cannot read rows back from", name))
}

async fn read(archive: &Archive, ledger: &ObjectLedger, host: &Host, first: i64, last: i64) -> ParquetResult<Snapshot> {
    let location = ledger.key.path();
    let metadata = object::metadata(archive, &location, ledger.size, PageIndexPolicy::Required).await?;
    let reader = Reader::new(archive, location, Arc::new(metadata));
    let selected = select(reader.metadata(), host)?;
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let schema = builder.parquet_schema();
    let wanted = |names: &[&str]| ProjectionMask::columns(schema, names.iter().copied());
    let by_host = host.clone();
    let filter = ArrowPredicateFn::new(wanted(&["hostname", "timestamp"]), move |batch: RecordBatch| {
        let (hosts, times) = (strings(&batch, "hostname")?, batch.column(1).as_primitive::<Int64Type>().clone());
        let matches = (0..batch.num_rows()).map(|i| hosts.value(i) == by_host.as_str() && (first..=last).contains(&times.value(i)));
        Ok(BooleanArray::from(matches.collect::<Vec<_>>()))
    });
    let projection = wanted(&["metric", "scope", "scope_id", "selector", "timestamp", "frequency", "value"]);
    let (groups, rows): (Vec<usize>, Vec<RowSelection>) = selected.into_iter().unzip();
    let rows = RowSelection::from(rows.into_iter().flat_map(Vec::<RowSelector>::from).collect::<Vec<_>>());
    let stream =
        builder.with_row_groups(groups).with_row_selection(rows).with_row_filter(RowFilter::new(vec![Box::new(filter)])).with_projection(projection).build()?;
    let mut found = Found::default();
    stream.try_for_each(|batch| std::future::ready(found.add(&batch))).await?;
    Ok(Snapshot { from: first, to: last, levels: found.levels, series: found.series, values: found.values.into() })
}

/// Row groups, and rows of them, whose pages can hold the host. Hosts are sorted, so that is one range a row group.
fn select(metadata: &ParquetMetaData, host: &Host) -> ParquetResult<Vec<(usize, RowSelection)>> {
    let column = metadata.file_metadata().schema_descr().columns().iter().position(|c| c.name() == "hostname");
    let column = column.ok_or_else(|| ParquetError::General("it has no column hostname".into()))?;
    let host = host.as_str().as_bytes();
    let mut selected = Vec::new();
    for (group, row_group) in metadata.row_groups().iter().enumerate() {
        let rows = row_group.num_rows() as usize;
        let index = metadata.page_index_for_row_group(group);
        let (Some(pages), Some(ColumnIndexMetaData::BYTE_ARRAY(bounds))) = (index.page_locations(column), index.column_index(column)) else {
            return Err(ParquetError::General("it has no page index".into()));
        };
        let starts = pages.iter().map(|p| p.first_row_index as usize).chain([rows]).collect::<Vec<_>>();
        // bounds of long names are cut: a lower one is too low, an upper one too high, so no page is missed
        let can_hold = |page: &usize| bounds.min_value(*page).is_none_or(|min| min <= host) && bounds.max_value(*page).is_none_or(|max| host <= max);
        let ranges: Vec<Range<usize>> = (0..pages.len()).filter(can_hold).map(|page| starts[page]..starts[page + 1]).collect();
        if !ranges.is_empty() {
            selected.push((group, RowSelection::from_consecutive_ranges(ranges.into_iter(), rows)));
        }
    }
    Ok(selected)
}

fn strings<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow_array::StringArray, arrow_schema::ArrowError> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| arrow_schema::ArrowError::SchemaError(format!("column {name} does not hold strings")))
}

/// Rows read so far; a run of evenly spaced ones is one series.
#[derive(Default)]
struct Found {
    levels: Vec<Arc<Selector>>,
    series: Vec<Series>,
    values: Vec<u8>,
}

impl Found {
    fn add(&mut self, batch: &RecordBatch) -> ParquetResult<()> {
        let [metric, scope, scope_id, path] = ["metric", "scope", "scope_id", "selector"].map(|name| strings(batch, name));
        let (metric, scope, scope_id, path) = (metric?, scope?, scope_id?, path?);
        let integers = |name: &str| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let values = batch.column_by_name("value").and_then(|c| c.as_primitive_opt::<Float32Type>());
        let (Some(times), Some(frequencies), Some(values)) = (integers("timestamp"), integers("frequency"), values) else {
            return Err(ParquetError::General("its columns do not have our types".into()));
        };
        for row in 0..batch.num_rows() {
            let (time, frequency) = (times.value(row), frequencies.value(row));
            let goes_on = self.series.last().is_some_and(|series| {
                let level = &self.levels[series.level as usize];
                *series.metric == *metric.value(row)
                    && *level.path == *path.value(row)
                    && *level.scope == *scope.value(row)
                    && *level.scope_id == *scope_id.value(row)
                    && series.span.frequency == frequency
                    && series.span.time(series.span.len) == time
            });
            if !goes_on {
                let selector = Selector { scope: scope.value(row).into(), scope_id: scope_id.value(row).into(), path: path.value(row).into() };
                self.levels.push(Arc::new(selector));
                let span = Span::checked(time, frequency, self.values.len(), 0).map_err(ParquetError::General)?;
                self.series.push(Series { level: self.levels.len() as u32 - 1, metric: metric.value(row).into(), span });
            }
            if let Some(series) = self.series.last_mut() {
                series.span.len += 1;
            }
            self.values.extend_from_slice(&values.value(row).to_le_bytes());
        }
        Ok(())
    }
}
