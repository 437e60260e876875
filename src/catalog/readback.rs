//! Rows of one host and a span of time, read back from an object: only the pages that can hold them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
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

use crate::data::{SeriesKey, Span};
use crate::error::Result;
use crate::ledger::ObjectLedger;
use crate::names::{Host, Selector};
use crate::object::{self, Reader};
use crate::portion::{Collector, Portion};
use crate::store::Archive;

/// The rows of `host` with times in `[first, last]` that go into `collector`, as spans of one value or more.
pub async fn rows_between(archive: &Archive, ledger: &ObjectLedger, host: &Host, (first, last): (i64, i64), collector: Collector) -> Result<Portion> {
    let name = archive.name_of(&ledger.key);
    read(archive, ledger, host, (first, last), collector).await.map_err(|e| object::split(e, "cannot read rows back from", name))
}

async fn read(archive: &Archive, ledger: &ObjectLedger, host: &Host, (first, last): (i64, i64), collector: Collector) -> ParquetResult<Portion> {
    let location = ledger.key.path();
    let metadata = object::metadata(archive, &location, ledger.size, PageIndexPolicy::Required).await?;
    let reader = Reader::new(archive, location, Arc::new(metadata));
    let selected = select(reader.metadata(), host, collector.from())?;
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
    let mut stream =
        builder.with_row_groups(groups).with_row_selection(rows).with_row_filter(RowFilter::new(vec![Box::new(filter)])).with_projection(projection).build()?;
    let mut found = Found { collector, run: None };
    while let Some(batch) = stream.try_next().await? {
        if found.add(&batch)?.is_break() {
            break;
        }
    }
    found.end_run();
    Ok(found.collector.finish(first, last))
}

/// The columns by which a host's rows are sorted before time.
const SORTED_BY: [&str; 5] = ["hostname", "metric", "scope", "scope_id", "selector"];

/// Row groups, and rows of them, whose pages can hold rows of the host, of series from a key on.
fn select(metadata: &ParquetMetaData, host: &Host, from: Option<&SeriesKey>) -> ParquetResult<Vec<(usize, RowSelection)>> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let position = |name: &str| {
        let found = columns.iter().position(|c| c.name() == name);
        found.ok_or_else(|| ParquetError::General(format!("it has no column {name}")))
    };
    let columns = SORTED_BY.iter().map(|name| position(name)).collect::<ParquetResult<Vec<_>>>()?;
    let from = from.map(|SeriesKey { metric, selector: at }| [&**metric, &*at.scope, &*at.scope_id, &*at.path].map(str::as_bytes));
    let host = host.as_str().as_bytes();
    let from: Vec<&[u8]> = [host].into_iter().chain(from.into_iter().flatten()).collect();
    let mut selected = Vec::new();
    for (group, row_group) in metadata.row_groups().iter().enumerate() {
        let rows = row_group.num_rows() as usize;
        let index = metadata.page_index_for_row_group(group);
        let pages = columns.iter().map(|column| match (index.page_locations(*column), index.column_index(*column)) {
            (Some(pages), Some(ColumnIndexMetaData::BYTE_ARRAY(bounds))) => Ok((pages.iter().map(|p| p.first_row_index as usize).collect(), bounds)),
            _ => Err(ParquetError::General("it has no page index".into())),
        });
        let pages = pages.collect::<ParquetResult<Vec<(Vec<usize>, _)>>>()?;
        if pages.iter().any(|(starts, _)| starts.first() != Some(&0)) {
            return Err(ParquetError::General("its page index does not begin with the first row".into()));
        }
        // between two of these, all rows are in one page of each column
        let starts: BTreeSet<usize> = pages.iter().flat_map(|(starts, _)| starts.iter().copied()).chain([rows]).collect();
        let ranges = starts.iter().zip(starts.iter().skip(1)).map(|(from, end)| *from..*end);
        let can_hold = |rows: &std::ops::Range<usize>| {
            let page = |starts: &[usize]| starts.partition_point(|start| *start <= rows.start) - 1;
            // bounds of long names are cut: a lower one is too low, an upper one too high, so no page is missed
            let (hosts, lowest) = &pages[0];
            let mut highest = pages.iter().zip(&from).map(|((starts, bounds), from)| (bounds.max_value(page(starts)), from));
            let reaches = highest.find(|(high, from)| *high != Some(from)).is_none_or(|(high, from)| high.is_none_or(|high| high > *from));
            reaches && lowest.min_value(page(hosts)).is_none_or(|low| low <= host)
        };
        let ranges: Vec<_> = ranges.filter(can_hold).collect();
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

/// Rows read so far, and the run of evenly spaced ones that may go on.
struct Found {
    collector: Collector,
    run: Option<Run>,
}

struct Run {
    metric: Arc<str>,
    selector: Arc<Selector>,
    span: Span,
    values: Vec<u8>,
}

impl Found {
    /// Takes rows; breaks at the first for which the collector has no room.
    fn add(&mut self, batch: &RecordBatch) -> ParquetResult<ControlFlow<()>> {
        let [metric, scope, scope_id, path] = ["metric", "scope", "scope_id", "selector"].map(|name| strings(batch, name));
        let (metric, scope, scope_id, path) = (metric?, scope?, scope_id?, path?);
        let integers = |name: &str| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let values = batch.column_by_name("value").and_then(|c| c.as_primitive_opt::<Float32Type>());
        let (Some(times), Some(frequencies), Some(values)) = (integers("timestamp"), integers("frequency"), values) else {
            return Err(ParquetError::General("its columns do not have our types".into()));
        };
        for row in 0..batch.num_rows() {
            let (time, frequency) = (times.value(row), frequencies.value(row));
            let is_level = |level: &Selector| *level.path == *path.value(row) && *level.scope == *scope.value(row) && *level.scope_id == *scope_id.value(row);
            let goes_on = |run: &Run| {
                *run.metric == *metric.value(row) && is_level(&run.selector) && run.span.frequency == frequency && run.span.time(run.span.len) == time
            };
            if !self.run.as_ref().is_some_and(goes_on) {
                let last = self.end_run();
                let known = last.as_ref().filter(|(_, selector)| is_level(selector));
                let new = || Selector { scope: scope.value(row).into(), scope_id: scope_id.value(row).into(), path: path.value(row).into() };
                let selector = known.map_or_else(|| Arc::new(new()), |(_, selector)| Arc::clone(selector));
                let same = last.as_ref().map(|(name, _)| name).filter(|name| ***name == *metric.value(row));
                let metric = same.map_or_else(|| metric.value(row).into(), Arc::clone);
                if last.as_ref().is_some_and(|(last, at)| (&**last, &**at) > (&*metric, &*selector)) {
                    return Err(ParquetError::General("its rows are not in the order of their keys".into()));
                }
                if self.collector.is_past(&metric, &selector) {
                    return Ok(ControlFlow::Break(()));
                }
                let span = Span::checked(time, frequency, 0, 0).map_err(ParquetError::General)?;
                self.run = Some(Run { metric, selector, span, values: Vec::new() });
            }
            if let Some(run) = &mut self.run {
                run.span.len += 1;
                run.values.extend_from_slice(&values.value(row).to_le_bytes());
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
