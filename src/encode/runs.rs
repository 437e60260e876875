//! Key columns are written as the runs they are, timestamps from (start, frequency, count).
//!
//! Only values are touched row by row. What AsyncArrowWriter writes, readers read here: the same rows, encodings and
//! statistics. A row group is encoded on any thread; row groups are appended in order.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{BoundaryOrder, Encoding};
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Chunk, ChunkWriter, Codec, PageStatistics};
use super::delta::{self, varint};
use super::{Format, ObjectEncoder, Tools, values as value_column};
use crate::buffers::{Buffer, Buffers};
use crate::data::{Rows, SeriesRun, TimeRun, Values};
use crate::schema::{PAGE_ROWS, ValueEncoding};

/// Bytes that page indexes and footer take: for each row group, and beside.
const ROOM_FOR_GROUP: usize = 2 << 10;
const ROOM_FOR_FOOTER: usize = 4 << 10;

/// See the module.
pub struct RunsEncoder<W> {
    file: SerializedFileWriter<Buffer>,
    sink: W,
    tools: Arc<Tools>,
    /// Bytes of the block before the footer.
    block: u64,
}

impl<W: AsyncFileWriter> RunsEncoder<W> {
    async fn flush(&mut self) -> Result<()> {
        let written = std::mem::replace(self.file.inner_mut(), self.tools.buffers.take(0));
        self.sink.write(written.freeze()).await
    }

    /// Makes room for `bytes` more at once: a buffer that grows takes twice as much, and is copied on the way.
    fn reserve(&mut self, bytes: usize) {
        let mut buffer = self.tools.buffers.take(self.file.inner_mut().len() + bytes);
        buffer.extend_from_slice(self.file.inner_mut());
        *self.file.inner_mut() = buffer;
    }
}

impl<W: AsyncFileWriter + 'static> ObjectEncoder<W> for RunsEncoder<W> {
    type Encoded = Vec<Chunk>;

    const APPEND_COMPUTES: bool = false;

    fn begin(sink: W, format: &Format) -> Result<Self> {
        let buffer = format.tools.buffers.take(0);
        let file = SerializedFileWriter::new(buffer, format.schema.root_schema_ptr(), Arc::clone(&format.properties))?;
        Ok(Self { file, sink, tools: Arc::clone(&format.tools), block: 0 })
    }

    fn encode(format: &Format, rows: Rows) -> Result<Vec<Chunk>> {
        format.tools.with_codec(|codec| format.schema.columns().iter().map(|column| column_chunk(format, codec, column, &rows)).collect())
    }

    fn append(&mut self, chunks: Vec<Chunk>) -> BoxFuture<'_, Result<()>> {
        async move {
            self.reserve(chunks.iter().map(|(bytes, _)| bytes.len()).sum());
            let mut group = self.file.next_row_group()?;
            for (bytes, close) in chunks {
                group.append_column(&bytes.freeze(), close)?;
            }
            group.close()?;
            self.flush().await
        }
        .boxed()
    }

    fn bytes_written(&self) -> u64 {
        self.file.bytes_written() as u64 + self.block
    }

    fn finish(&mut self, block: Bytes, metadata: Vec<KeyValue>) -> BoxFuture<'_, Result<()>> {
        async move {
            self.reserve(self.file.flushed_row_groups().len() * ROOM_FOR_GROUP + ROOM_FOR_FOOTER);
            for pair in metadata {
                self.file.append_key_value_metadata(pair);
            }
            self.file.finish()?;
            let end = std::mem::replace(self.file.inner_mut(), self.tools.buffers.take(0));
            self.block = block.len() as u64;
            super::write_end(&mut self.sink, end.freeze(), block).await?;
            self.sink.complete().await
        }
        .boxed()
    }

    fn into_sink(self) -> W {
        self.sink
    }
}

fn column_chunk(format: &Format, codec: &mut Codec, column: &ColumnDescPtr, rows: &Rows) -> Result<Chunk> {
    let strings = |codec: &mut Codec, text: fn(&SeriesRun) -> &str| {
        let runs = rows.series.iter().map(|run| (text(run), run.rows));
        string_runs(format, codec, column, runs)
    };
    match column.name() {
        "cluster" => string_runs(format, codec, column, [(format.cluster.as_str(), rows.len())].into_iter()),
        "hostname" => strings(codec, |run| run.host.as_str()),
        "metric" => strings(codec, |run| &run.key.metric),
        "scope" => strings(codec, |run| &run.key.selector.scope),
        "scope_id" => strings(codec, |run| &run.key.selector.scope_id),
        "selector" => strings(codec, |run| &run.key.selector.path),
        "timestamp" => timestamps(format, codec, column, &rows.times),
        "frequency" => frequencies(format, codec, column, &rows.times),
        "value" => values(format, codec, column, &rows.values),
        other => Err(ParquetError::General(format!("no column {other}"))),
    }
}

/// Distinct values in order of their first run, and runs of indices into them.
struct Dictionary<T> {
    values: Vec<T>,
    runs: Vec<(u32, usize)>,
}

impl<T: Copy + Eq + std::hash::Hash> Dictionary<T> {
    fn of(runs: impl Iterator<Item = (T, usize)>) -> Self {
        let (mut keys, mut values) = (HashMap::new(), Vec::new());
        let mut indexed: Vec<(u32, usize)> = Vec::with_capacity(runs.size_hint().0);
        for (value, rows) in runs {
            let last = indexed.last_mut();
            if let Some((key, count)) = last
                && values[*key as usize] == value
            {
                *count += rows;
                continue;
            }
            let key = *keys.entry(value).or_insert_with(|| {
                values.push(value);
                values.len() as u32 - 1
            });
            indexed.push((key, rows));
        }
        Self { values, runs: indexed }
    }
}

impl<T: Ord> Dictionary<T> {
    /// For each key its place in sorted order, and the keys of the smallest and the largest value.
    fn ranks(&self) -> (Vec<u32>, u32, u32) {
        let mut order: Vec<u32> = (0..self.values.len() as u32).collect();
        order.sort_by(|a, b| self.values[*a as usize].cmp(&self.values[*b as usize]));
        let mut ranks = vec![0; order.len()];
        for (rank, key) in order.iter().enumerate() {
            ranks[*key as usize] = rank as u32;
        }
        (ranks, order.first().copied().unwrap_or_default(), order.last().copied().unwrap_or_default())
    }
}

/// A dictionary column: `plain` appends a value in plain encoding, `bound` is its form in the column index, `text` its bytes if it is a string.
fn dictionary_chunk<T: Ord>(
    buffers: &Buffers,
    codec: &mut Codec,
    column: &ColumnDescPtr,
    dictionary: &Dictionary<T>,
    plain: impl Fn(&mut Vec<u8>, &T),
    bound: impl Fn(&T) -> Vec<u8>,
    text: impl Fn(&T) -> Option<usize>,
) -> Result<(ChunkWriter, BoundaryOrder, u32, u32)> {
    let mut chunk = ChunkWriter::new(Arc::clone(column), buffers.take(0));
    // names can be long: a vector that grows would take twice as much
    let size_of = |value: &T| text(value).map_or(size_of::<i64>(), |bytes| size_of::<u32>() + bytes);
    let mut bytes = Vec::with_capacity(dictionary.values.iter().map(size_of).sum());
    dictionary.values.iter().for_each(|value| plain(&mut bytes, value));
    chunk.dictionary(codec, &bytes, dictionary.values.len())?;
    let (ranks, min, max) = dictionary.ranks();
    let mut order = Order::default();
    for_each_page(
        &dictionary.runs,
        |run| run.1,
        |page, rows| {
            let keys = || page.iter().map(|(run, _)| run.0);
            let low = keys().min_by_key(|key| ranks[*key as usize]).unwrap_or_default();
            let high = keys().max_by_key(|key| ranks[*key as usize]).unwrap_or_default();
            order.page(ranks[low as usize], ranks[high as usize]);
            let data = rle_page(page.iter().map(|(run, rows)| (run.0, rows.len())), dictionary.values.len());
            let value = |key: u32| &dictionary.values[key as usize];
            let text = page.iter().map(|(run, rows)| Some(text(value(run.0))? * rows.len())).sum();
            let statistics = PageStatistics { min: bound(value(low)), max: bound(value(high)), text };
            chunk.data(codec, &data, rows, Encoding::RLE_DICTIONARY, statistics)
        },
    )?;
    Ok((chunk, order.found(), min, max))
}

/// Cuts runs into pages, and calls `page` with (run, which rows of it are in the page) and the page's rows.
fn for_each_page<'a, R>(runs: &'a [R], rows_of: impl Fn(&R) -> usize, mut page: impl FnMut(&[(&'a R, Range<usize>)], usize) -> Result<()>) -> Result<()> {
    let (mut pending, mut count) = (Vec::new(), 0);
    for run in runs {
        let (mut done, all) = (0, rows_of(run));
        while done < all {
            let rows = (all - done).min(PAGE_ROWS - count);
            pending.push((run, done..done + rows));
            done += rows;
            count += rows;
            if count == PAGE_ROWS {
                page(&pending, count)?;
                pending.clear();
                count = 0;
            }
        }
    }
    if count > 0 { page(&pending, count) } else { Ok(()) }
}

/// RLE_DICTIONARY: the width of an index in bits, then for each run its length times two, and the index in whole bytes.
fn rle_page(runs: impl Iterator<Item = (u32, usize)>, values: usize) -> Vec<u8> {
    let width = (u32::BITS - (values.max(2) as u32 - 1).leading_zeros()) as u8;
    let mut page = vec![width];
    for (key, rows) in runs {
        varint(&mut page, (rows as u64) << 1);
        page.extend_from_slice(&key.to_le_bytes()[..usize::from(width).div_ceil(8)]);
    }
    page
}

/// How the bounds of a chunk's pages run.
#[derive(Default)]
struct Order {
    last: Option<(u32, u32)>,
    broken: bool,
}

impl Order {
    fn page(&mut self, low: u32, high: u32) {
        self.broken |= self.last.is_some_and(|last| low < last.0 || high < last.1);
        self.last = Some((low, high));
    }

    fn found(&self) -> BoundaryOrder {
        if self.broken { BoundaryOrder::UNORDERED } else { BoundaryOrder::ASCENDING }
    }
}

fn string_runs<'a>(format: &Format, codec: &mut Codec, column: &ColumnDescPtr, runs: impl Iterator<Item = (&'a str, usize)>) -> Result<Chunk> {
    let dictionary = Dictionary::of(runs);
    let plain = |bytes: &mut Vec<u8>, value: &&str| {
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value.as_bytes());
    };
    let (chunk, order, min, max) =
        dictionary_chunk(&format.tools.buffers, codec, column, &dictionary, plain, |value| value.as_bytes().to_vec(), |value| Some(value.len()))?;
    let bound = |key: u32| dictionary.values.get(key as usize).map(|value| ByteArray::from(*value));
    let statistics = Statistics::ByteArray(ValueStatistics::new(bound(min), bound(max), Some(dictionary.values.len() as u64), Some(0), false));
    chunk.finish(format.layout.compression, order, statistics)
}

fn frequencies(format: &Format, codec: &mut Codec, column: &ColumnDescPtr, times: &[TimeRun]) -> Result<Chunk> {
    let dictionary = Dictionary::of(times.iter().map(|run| (run.frequency, run.rows)));
    let plain = |bytes: &mut Vec<u8>, value: &i64| bytes.extend(value.to_le_bytes());
    let (chunk, order, min, max) = dictionary_chunk(&format.tools.buffers, codec, column, &dictionary, plain, |value| value.to_le_bytes().to_vec(), |_| None)?;
    let bound = |key: u32| dictionary.values.get(key as usize).copied();
    let statistics = Statistics::Int64(ValueStatistics::new(bound(min), bound(max), Some(dictionary.values.len() as u64), Some(0), false));
    chunk.finish(format.layout.compression, order, statistics)
}

fn timestamps(format: &Format, codec: &mut Codec, column: &ColumnDescPtr, times: &[TimeRun]) -> Result<Chunk> {
    let mut chunk = ChunkWriter::new(Arc::clone(column), format.tools.buffers.take(0));
    let mut total: Option<(i64, i64)> = None;
    for_each_page(
        times,
        |run| run.rows,
        |page, rows| {
            let cut = |(run, part): &(&TimeRun, Range<usize>)| TimeRun { start: run.start + part.start as i64 * run.frequency, rows: part.len(), ..**run };
            let page: Vec<TimeRun> = page.iter().map(cut).collect();
            let last = |run: &TimeRun| run.start + (run.rows as i64 - 1) * run.frequency;
            let (min, max) = page.iter().fold((i64::MAX, i64::MIN), |(min, max), run| (min.min(run.start), max.max(last(run))));
            total = Some(total.map_or((min, max), |(a, b)| (a.min(min), b.max(max))));
            let statistics = PageStatistics { min: min.to_le_bytes().into(), max: max.to_le_bytes().into(), text: None };
            chunk.data(codec, &delta::encode(&page, rows), rows, Encoding::DELTA_BINARY_PACKED, statistics)
        },
    )?;
    let statistics = ValueStatistics::new(total.map(|t| t.0), total.map(|t| t.1), None, Some(0), false);
    chunk.finish(format.layout.compression, BoundaryOrder::UNORDERED, Statistics::Int64(statistics))
}

fn values(format: &Format, codec: &mut Codec, column: &ColumnDescPtr, values: &Values) -> Result<Chunk> {
    // half of the bytes, as values often compress; more is made if need be
    let mut chunk = ChunkWriter::new(Arc::clone(column), format.tools.buffers.take(2 * values.len()));
    let mut total = value_column::Bounds::new();
    for_each_page(
        values.slices(),
        |slice| slice.len() / 4,
        |page, rows| {
            let slices = || page.iter().map(|(slice, values)| value_column::bytes_of(slice, values.clone()));
            let mut found = value_column::Bounds::new();
            slices().for_each(|slice| found.add(slice));
            let (min, max) = found.found();
            total.add(&[min.to_le_bytes(), max.to_le_bytes()].concat());
            let mut data = std::mem::take(&mut codec.plain);
            let encoding = match format.layout.value_encoding {
                ValueEncoding::ByteStreamSplit => {
                    value_column::byte_stream_split(slices(), rows, &mut data);
                    Encoding::BYTE_STREAM_SPLIT
                }
                ValueEncoding::Plain => {
                    data.clear();
                    slices().for_each(|slice| data.extend_from_slice(slice));
                    Encoding::PLAIN
                }
            };
            let statistics = PageStatistics { min: min.to_le_bytes().into(), max: max.to_le_bytes().into(), text: None };
            chunk.data(codec, &data, rows, encoding, statistics)?;
            codec.plain = data;
            Ok(())
        },
    )?;
    let (min, max) = total.found();
    let statistics = ValueStatistics::new(Some(min), Some(max), None, Some(0), false);
    chunk.finish(format.layout.compression, BoundaryOrder::UNORDERED, Statistics::Float(statistics))
}
