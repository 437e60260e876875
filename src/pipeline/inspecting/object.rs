//! Parquet files: the footer and the ledger of one of ours, and rows, of the row groups that can hold what is wanted.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch, StringArray};
use object_store::path::Path as Key;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::{Inspecting, Output, Seen};
use crate::error::{Error, Result};
use crate::inspect::{self, Damages, Holds, Number, ObjectFacts, ParquetFacts, Sample};
use crate::ledger::{NotOurs, ObjectLedger, Trouble, Unreadable};
use crate::object::{self, GIVES_UP, LookedInto, Reader, trouble};
use crate::schema::COLUMNS;
use crate::settings::Show;
use crate::store::Archive;

/// Rows that are decoded at a time.
const BATCH: usize = 8_192;

impl Inspecting<'_> {
    /// The object or file at `key`, of `size` bytes.
    pub(super) async fn parquet(&self, archive: &Archive, key: &Key, size: u64, output: Output) -> Result<Seen> {
        let mut seen = Seen { holds: Holds::Unknown, notes: Vec::new(), damage: Damages::default(), output };
        let LookedInto { metadata, footer_at, ledger } = match object::look_into(archive, key, size).await {
            Ok(found) => found,
            Err((at, e)) => {
                let reason = self.damaged(archive, key, e).await?;
                seen.damage.add(Some(at), None, format!("its footer cannot be read: {reason}"));
                return Ok(seen);
            }
        };
        if seen.output.writer.is_some() {
            return self.rows(archive, key, Arc::new(metadata), seen).await;
        }
        let facts = ParquetFacts::new(&metadata, size, &self.settings.filter);
        let whole_ledger = self.settings.show == Show::Facts { whole_ledger: true };
        seen.holds = match ledger {
            Ok(ledger) => {
                seen.notes.extend(moved(&ledger, key));
                Holds::Object(Box::new(ObjectFacts::new(&ledger, facts, &self.settings.filter, whole_ledger)))
            }
            Err(NotOurs::Foreign) => Holds::Parquet(facts),
            Err(NotOurs::Unusable(Trouble::Newer, why)) => {
                seen.notes.push(format!("cc-archiver wrote it: {why}; upgrade cc-archiver"));
                Holds::Parquet(facts)
            }
            Err(why) => {
                seen.damage.add(Some(footer_at), None, format!("what stands before the footer, or what the footer says of it: {why}"));
                Holds::Parquet(facts)
            }
        };
        Ok(seen)
    }

    /// Why bytes of an object are none of Parquet.
    async fn damaged(&self, archive: &Archive, key: &Key, e: ParquetError) -> Result<String> {
        match trouble::of_reader(archive, key, "cannot read", e).await? {
            NotOurs::Unusable(Trouble::Damaged, reason) => Ok(reason),
            why => Err(Error::Archive(format!("cannot read {}: {}", archive.name_of(key), Unreadable::new(archive.name_of(key), why)))),
        }
    }

    async fn rows(&self, archive: &Archive, key: &Key, metadata: Arc<ParquetMetaData>, mut seen: Seen) -> Result<Seen> {
        check_columns(&metadata).map_err(|why| Error::Archive(format!("{}: {why}", archive.name_of(key))))?;
        let wanted: Vec<usize> = (0..metadata.num_row_groups()).filter(|group| inspect::can_match(metadata.row_group(*group), &self.settings.filter)).collect();
        let bytes_of = |group: usize| u64::try_from(metadata.row_group(group).compressed_size()).unwrap_or(0);
        self.progress.bytes_expected.store(wanted.iter().map(|group| bytes_of(*group)).sum(), Ordering::Relaxed);
        for group in wanted {
            if seen.output.is_closed {
                break;
            }
            let (output, done) = self.row_group(archive, key, &metadata, group, seen.output).await?;
            seen.output = output;
            self.progress.bytes_read.fetch_add(bytes_of(group), Ordering::Relaxed);
            if let Err(e) = done {
                let start = |chunk: &ColumnChunkMetaData| chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
                let at = metadata.row_group(group).columns().iter().filter_map(|chunk| u64::try_from(start(chunk)).ok()).min();
                let reason = self.damaged(archive, key, e).await?;
                seen.damage.add(at, None, format!("row group {group} cannot be decoded: {reason}"));
            }
        }
        Ok(seen)
    }

    /// The samples of a row group; what is wrong with it is no error of the run.
    async fn row_group(
        &self,
        archive: &Archive,
        key: &Key,
        metadata: &Arc<ParquetMetaData>,
        group: usize,
        output: Output,
    ) -> Result<(Output, ParquetResult<()>)> {
        let fetch = async {
            // types as they are in the file, whatever another program's schema says
            let known = ArrowReaderMetadata::try_new(Arc::clone(metadata), ArrowReaderOptions::new().with_skip_arrow_metadata(true))?;
            let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(Reader::new(archive, key.clone(), Arc::clone(metadata)), known);
            let projection = ProjectionMask::columns(builder.parquet_schema(), COLUMNS[1..].iter().copied());
            builder.with_row_groups(vec![group]).with_projection(projection).with_batch_size(BATCH).build()?.next_row_group().await
        };
        let batches = match object::without_panic(fetch).await {
            Ok(Some(batches)) => batches,
            Ok(None) => return Ok((output, Ok(()))),
            Err(e) => return Ok((output, Err(e))),
        };
        let workers = self.workers.clone();
        let write = move || {
            let mut output = output;
            // bytes that are damaged can make the reader panic
            let written = std::panic::catch_unwind(AssertUnwindSafe(|| write_all(batches, &mut output, || !workers.is_stopped())));
            let written = written.unwrap_or_else(|_| Ok(Err(ParquetError::General(GIVES_UP.into()))));
            written.map(|done| (output, done))
        };
        self.workers.run(write).await?
    }
}

/// What is said of an object whose name is not the one that it was written at.
fn moved(ledger: &ObjectLedger, key: &Key) -> Option<String> {
    let written = ledger.key.path();
    let is_same =
        key.as_ref() == written.as_ref() || key.as_ref().strip_prefix(written.as_ref().trim_end_matches(".parquet")).is_some_and(|id| id.starts_with('-'));
    (!is_same).then(|| format!("it was written as {written}, and has another name here"))
}

/// True or not, rows can be told as samples.
fn check_columns(metadata: &ParquetMetaData) -> Result<(), String> {
    let schema = metadata.file_metadata().schema_descr();
    let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
    match ["metric", "timestamp", "value"].iter().find(|name| !names.contains(name)) {
        None => Ok(()),
        Some(missing) => Err(format!(
            "it has no column {missing}, so its rows are no samples\n  hint: its columns are {}; leave --values out to see more of it",
            names.join(", ")
        )),
    }
}

fn write_all(batches: ParquetRecordBatchReader, output: &mut Output, go_on: impl Fn() -> bool) -> Result<ParquetResult<()>> {
    for batch in batches {
        if !go_on() {
            return Err(Error::Interrupted);
        }
        match batch.map_err(ParquetError::from).and_then(|batch| Columns::new(&batch)) {
            Ok(columns) => columns.write(output)?,
            Err(e) => return Ok(Err(e)),
        }
        if output.is_closed {
            break;
        }
    }
    Ok(Ok(()))
}

/// Some rows.
struct Columns {
    rows: usize,
    /// hostname, scope, metric, scope_id, selector: what is missing is "".
    names: [Option<StringArray>; 5],
    times: Vec<i64>,
    frequencies: Option<Vec<i64>>,
    values: Vec<Number>,
}

impl Columns {
    fn new(batch: &RecordBatch) -> ParquetResult<Self> {
        let wrong = |name: &str| ParquetError::General(format!("its column {name} does not have our type"));
        let text = |name: &&str| match batch.column_by_name(name) {
            None => Ok(None),
            Some(column) => column.as_string_opt::<i32>().cloned().map(Some).ok_or_else(|| wrong(name)),
        };
        let names: Vec<Option<StringArray>> = COLUMNS[1..6].iter().map(text).collect::<ParquetResult<_>>()?;
        let integers = |name: &str| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>()).map(|column| column.values().to_vec());
        let values = batch.column_by_name("value").ok_or_else(|| wrong("value"))?;
        let single = || values.as_primitive_opt::<Float32Type>().map(|column| column.values().iter().map(|value| Number::Single(*value)).collect());
        let double = || values.as_primitive_opt::<Float64Type>().map(|column| column.values().iter().map(|value| Number::Double(*value)).collect());
        let mut found: Vec<Number> = single().or_else(double).ok_or_else(|| wrong("value"))?;
        // what is null is no sample
        (0..found.len()).filter(|row| values.is_null(*row)).for_each(|row| found[row] = Number::Single(f32::NAN));
        Ok(Self {
            rows: batch.num_rows(),
            names: names.try_into().map_err(|_| wrong("hostname"))?,
            times: integers("timestamp").ok_or_else(|| wrong("timestamp"))?,
            frequencies: integers("frequency"),
            values: found,
        })
    }

    fn write(&self, output: &mut Output) -> Result<()> {
        let name = |column: usize, row: usize| self.names[column].as_ref().map_or("", |names| names.value(row));
        // rows of one series follow each other
        let (mut last, mut is_wanted) = (None, false);
        for row in 0..self.rows {
            let [hostname, scope, metric, scope_id, selector] = [0, 1, 2, 3, 4].map(|column| name(column, row));
            let series = Some((hostname, metric, selector));
            if last != series {
                (last, is_wanted) = (series, output.filter.admits_host(hostname) && output.filter.admits_series(metric, selector));
            }
            let (timestamp, value) = (self.times[row], self.values[row]);
            if is_wanted && output.filter.admits_time(timestamp) && !value.is_nan() {
                let frequency = self.frequencies.as_ref().map(|all| all[row]);
                output.put(&Sample { hostname, scope, metric, scope_id, selector, timestamp, frequency, value })?;
                if output.is_closed {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
