//! Runs are expanded to Arrow arrays, and AsyncArrowWriter does the rest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;

use super::{Format, ObjectEncoder};
use crate::data::{Rows, SeriesRun};

/// Rows that are expanded at a time: bounds the memory of arrays, not what is written.
const BATCH_ROWS: usize = 65_536;

/// See the module.
pub struct ArrowEncoder<W> {
    writer: AsyncArrowWriter<Before<W>>,
    before_footer: Arc<Mutex<Option<Bytes>>>,
    /// Bytes of that, once it is known.
    block: u64,
    schema: SchemaRef,
    columns: Vec<StringColumn>,
}

/// A sink that writes a block before the footer, as the writer has no place for it.
struct Before<W> {
    sink: W,
    /// Set when the footer comes next, in one write with what stands before it.
    block: Arc<Mutex<Option<Bytes>>>,
}

fn lock(block: &Mutex<Option<Bytes>>) -> MutexGuard<'_, Option<Bytes>> {
    block.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: AsyncFileWriter> AsyncFileWriter for Before<W> {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        let block = lock(&self.block).take();
        async move {
            match block {
                Some(block) => super::write_end(&mut self.sink, bytes, block).await,
                None => self.sink.write(bytes).await,
            }
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<()>> {
        self.sink.complete()
    }
}

/// What a string column takes from a run.
type Text = fn(&SeriesRun) -> &str;

enum StringColumn {
    Constant(String),
    OfRun(Text),
}

impl<W: AsyncFileWriter> ArrowEncoder<W> {
    fn batches<'a>(&self, rows: &'a Rows) -> impl Iterator<Item = Result<RecordBatch>> + use<'a, W> {
        let schema = Arc::clone(&self.schema);
        let mut columns: Vec<_> = self.columns.iter().map(|column| Keys::of(column, &rows.series)).collect();
        let mut times = rows.expanded_times();
        let mut values = rows.values.iter();
        let counts = (0..rows.len()).step_by(BATCH_ROWS).map(|done| BATCH_ROWS.min(rows.len() - done));
        counts.map(move |count| {
            let mut arrays: Vec<ArrayRef> = columns.iter_mut().map(|column| column.next(count)).collect::<Result<_>>()?;
            let (timestamps, frequencies): (Vec<i64>, Vec<i64>) = times.by_ref().take(count).unzip();
            arrays.push(Arc::new(Int64Array::from(timestamps)));
            arrays.push(Arc::new(Int64Array::from(frequencies)));
            arrays.push(Arc::new(Float32Array::from_iter_values(values.by_ref().take(count))));
            Ok(RecordBatch::try_new(Arc::clone(&schema), arrays)?)
        })
    }
}

/// A string column of one row group: the distinct values, and for each run its key and the rows that are left of it.
struct Keys {
    values: ArrayRef,
    runs: std::vec::IntoIter<(i32, usize)>,
    current: (i32, usize),
}

impl Keys {
    fn of(column: &StringColumn, series: &[SeriesRun]) -> Self {
        let mut keys = HashMap::new();
        let mut values = Vec::new();
        let mut runs = Vec::with_capacity(series.len());
        for run in series {
            let text = match column {
                StringColumn::Constant(text) => text,
                StringColumn::OfRun(text) => text(run),
            };
            let key = *keys.entry(text).or_insert_with(|| {
                values.push(text);
                values.len() as i32 - 1
            });
            runs.push((key, run.rows));
        }
        Self { values: Arc::new(StringArray::from(values)), runs: runs.into_iter(), current: (0, 0) }
    }

    fn next(&mut self, mut count: usize) -> Result<ArrayRef> {
        let mut keys = Vec::with_capacity(count);
        while count > 0 {
            if self.current.1 == 0 {
                let Some(run) = self.runs.next() else { break };
                self.current = run;
            }
            let rows = count.min(self.current.1);
            keys.extend(std::iter::repeat_n(self.current.0, rows));
            self.current.1 -= rows;
            count -= rows;
        }
        let array = DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), Arc::clone(&self.values))?;
        Ok(Arc::new(array))
    }
}

impl<W: AsyncFileWriter + 'static> ObjectEncoder<W> for ArrowEncoder<W> {
    type Encoded = Rows;

    const APPEND_COMPUTES: bool = true;

    fn begin(sink: W, format: &Format) -> Result<Self> {
        let schema = format.layout.arrow_schema();
        let options = ArrowWriterOptions::new().with_properties(format.properties.as_ref().clone()).with_skip_arrow_metadata(true);
        let before_footer = Arc::default();
        let sink = Before { sink, block: Arc::clone(&before_footer) };
        let writer = AsyncArrowWriter::try_new_with_options(sink, Arc::clone(&schema), options)?;
        let constant = format.layout.cluster_column.then(|| StringColumn::Constant(format.cluster.as_str().to_owned()));
        let of_runs: [Text; 5] =
            [|run| run.host.as_str(), |run| &run.key.selector.scope, |run| &run.key.metric, |run| &run.key.selector.scope_id, |run| &run.key.selector.path];
        let columns = constant.into_iter().chain(of_runs.map(StringColumn::OfRun)).collect();
        Ok(Self { writer, before_footer, block: 0, schema, columns })
    }

    fn encode(_: &Format, rows: Rows) -> Result<Rows> {
        Ok(rows)
    }

    fn append(&mut self, rows: Rows) -> BoxFuture<'_, Result<()>> {
        async move {
            for batch in self.batches(&rows) {
                self.writer.write(&batch?).await?;
            }
            self.writer.flush().await
        }
        .boxed()
    }

    fn bytes_written(&self) -> u64 {
        self.writer.bytes_written() as u64 + self.block
    }

    fn finish(&mut self, block: Bytes, metadata: Vec<KeyValue>) -> BoxFuture<'_, Result<()>> {
        async move {
            self.block = block.len() as u64;
            *lock(&self.before_footer) = Some(block);
            for pair in metadata {
                self.writer.append_key_value_metadata(pair);
            }
            self.writer.finish().await.map(drop)
        }
        .boxed()
    }

    fn into_sink(self) -> W {
        self.writer.into_inner().sink
    }
}
