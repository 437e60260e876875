//! The rows of a row group, column beside column, in stretches: rows of one series, evenly spaced.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::pages::{MOST_OF_PAGE, MOST_ROWS, Plain, join_streams, keys, lengthen, not_ours, steps};
use crate::data::Span;
use crate::schema::SORTED_BY;
use crate::unpacker::Unpacker;

/// Consecutive rows of one series that are evenly spaced.
pub struct Stretch<'a> {
    /// Scope, metric, id and path.
    pub series: [&'a str; 4],
    /// Their times.
    pub rows: Span,
    /// Their values.
    pub values: &'a [u8],
}

/// What is left of the rows of a row group. Of each column a page is in memory.
pub struct RowGroup {
    unpacker: Unpacker,
    /// Those of [`SORTED_BY`].
    names: [Runs<Box<str>>; SORTED_BY.len()],
    times: Times,
    frequencies: Runs<i64>,
    values: Values,
    /// Rows that were taken, and not passed yet.
    taken: usize,
    /// Rows that are not passed yet.
    left: usize,
}

impl RowGroup {
    /// The bytes of an object that hold the columns of a row group.
    ///
    /// # Errors
    /// Its columns are not ours.
    pub fn range(metadata: &ParquetMetaData, index: usize) -> Result<Range<u64>> {
        let group = metadata.row_group(index);
        let ranges = SORTED_BY.iter().copied().chain(["timestamp", "frequency", "value"]).map(|name| {
            let column = group.column(column(group, name)?);
            let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            let bounds = u64::try_from(first).ok().zip(u64::try_from(column.compressed_size()).ok());
            let range = bounds.and_then(|(first, len)| Some(first..first.checked_add(len)?));
            range.ok_or_else(|| not_ours("columns at impossible places"))
        });
        let ranges = ranges.collect::<Result<Vec<_>>>()?;
        Ok(ranges.iter().map(|range| range.start).min().unwrap_or(0)..ranges.iter().map(|range| range.end).max().unwrap_or(0))
    }

    /// The rows of a row group that is `stored` there; memory that was used for the one `before` goes on being used.
    ///
    /// # Errors
    /// Its columns are not ours.
    pub fn new(metadata: &ParquetMetaData, index: usize, stored: Stored, before: Option<Self>) -> Result<Self> {
        let group = metadata.row_group(index);
        let stored = Arc::new(stored);
        let pages = |name: &str, kind: Type| Pages::new(group, column(group, name)?, kind, &stored);
        let (unpacker, mut values) = before.map(|before| (before.unpacker, before.values.bytes)).unwrap_or_default();
        values.clear();
        let names = SORTED_BY.iter().map(|name| Ok(Runs::new(pages(name, Type::BYTE_ARRAY)?))).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            unpacker,
            names: names.try_into().map_err(|_| not_ours("other columns"))?,
            times: Times { pages: pages("timestamp", Type::INT64)?, time: 0, steps: Vec::new(), at: 0, left: 0 },
            frequencies: Runs::new(pages("frequency", Type::INT64)?),
            values: Values { pages: pages("value", Type::FLOAT)?, bytes: values, at: 0 },
            taken: 0,
            left: usize::try_from(group.num_rows()).map_err(|_| not_ours("less than no rows"))?,
        })
    }

    /// Whose the next rows are; None at the end.
    ///
    /// # Errors
    /// Its pages are not what they should be.
    pub fn host(&mut self) -> Result<Option<&str>> {
        self.pass();
        if self.left == 0 {
            return Ok(None);
        }
        let Self { unpacker, names, times, frequencies, values, .. } = self;
        let mut is_there = times.fill(unpacker)? && frequencies.fill(unpacker)? && values.fill(unpacker)?;
        for names in names {
            is_there = is_there && names.fill(unpacker)?;
        }
        if is_there { Ok(self.names[0].value().map(|name| &**name)) } else { Err(not_ours("less rows than it says")) }
    }

    /// The next rows. [`Self::host`] must have said whose they are.
    ///
    /// # Errors
    /// Their times are none.
    pub fn take(&mut self) -> Result<Option<Stretch<'_>>> {
        self.pass();
        let Self { names: [host, scope, metric, scope_id, path], times, frequencies, values, .. } = self;
        let Some(frequency) = frequencies.value().copied() else { return Ok(None) };
        let of_series = [&*host, scope, metric, scope_id, path].map(Runs::left).into_iter().min().unwrap_or(0);
        let rows = of_series.min(frequencies.left()).min(times.even(frequency)).min(values.left()).min(self.left);
        let series = || Some([scope.value()?, metric.value()?, scope_id.value()?, path.value()?].map(|name| &**name));
        let Some(series) = series().filter(|_| rows > 0) else { return Ok(None) };
        self.taken = rows;
        let span = Span::checked(times.time, frequency, 0, rows).map_err(ParquetError::General)?;
        Ok(Some(Stretch { series, rows: span, values: &values.bytes[values.at..values.at + 4 * rows] }))
    }

    fn pass(&mut self) {
        let rows = std::mem::take(&mut self.taken);
        if rows > 0 {
            self.left -= rows;
            self.names.iter_mut().for_each(|names| names.pass(rows));
            self.frequencies.pass(rows);
            self.times.pass(rows);
            self.values.at += 4 * rows;
        }
    }
}

fn column(group: &RowGroupMetaData, name: &str) -> Result<usize> {
    group.columns().iter().position(|column| column.column_descr().name() == name).ok_or_else(|| not_ours(&format!("no column {name}")))
}

/// Bytes of an object, as they are stored.
#[derive(Clone)]
pub struct Stored {
    /// Where they begin.
    pub start: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl Stored {
    /// True if it has all of these.
    pub fn holds(&self, range: &Range<u64>) -> bool {
        self.start <= range.start && range.end <= self.len()
    }

    fn from(&self, at: u64) -> Result<Bytes> {
        let first = at.checked_sub(self.start).and_then(|first| usize::try_from(first).ok()).filter(|first| *first <= self.bytes.len());
        Ok(self.bytes.slice(first.ok_or_else(|| not_ours("pages at impossible places"))?..))
    }
}

impl Length for Stored {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Stored {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = self.from(start)?;
        if bytes.len() < length { Err(not_ours("pages that end behind their column")) } else { Ok(bytes.split_to(length)) }
    }
}

/// The pages of a column.
struct Pages {
    reader: SerializedPageReader<Stored>,
    compression: Compression,
    /// Bytes of a page, at most.
    most: usize,
    /// Values of a page, at most.
    rows: usize,
}

impl Pages {
    fn new(group: &RowGroupMetaData, column: usize, kind: Type, stored: &Arc<Stored>) -> Result<Self> {
        let chunk = group.column(column);
        let descr = chunk.column_descr();
        if descr.physical_type() != kind || descr.max_def_level() > 0 || descr.max_rep_level() > 0 {
            return Err(not_ours(&format!("another type in the column {}", descr.name())));
        }
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        // pages are handed over as they are stored: a reader that decompresses has a context of its own for each column
        let as_stored = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let most = usize::try_from(chunk.uncompressed_size()).unwrap_or(0).min(MOST_OF_PAGE);
        let reader = SerializedPageReader::new(Arc::clone(stored), &as_stored, rows, None)?;
        Ok(Self { reader, compression: chunk.compression(), most, rows })
    }

    /// The next page: its bytes as they are stored, its encoding, its values, and whether it is the dictionary.
    fn next(&mut self) -> Result<Option<(Bytes, Encoding, usize, bool)>> {
        let page = match self.reader.get_next_page()? {
            None => None,
            Some(Page::DictionaryPage { buf, num_values, encoding, .. }) => Some((buf, encoding, num_values as usize, true)),
            Some(Page::DataPage { buf, num_values, encoding, .. }) => Some((buf, encoding, num_values as usize, false)),
            Some(Page::DataPageV2 { .. }) => return Err(not_ours("pages of version 2")),
        };
        match page {
            Some((.., values, _)) if values > self.rows => Err(not_ours("pages of more rows than there are")),
            // the values of a dictionary are all there, rows need not be
            Some((.., values, false)) if values > MOST_ROWS => Err(not_ours("pages of more rows than any of ours has")),
            page => Ok(page),
        }
    }
}

fn unknown(encoding: Encoding) -> ParquetError {
    not_ours(&format!("pages encoded as {encoding}"))
}

/// A column of few values in long runs.
struct Runs<T> {
    pages: Pages,
    /// Values that runs refer to: those of the dictionary, then those of a page without.
    values: Vec<T>,
    in_dictionary: usize,
    /// Of the current page.
    runs: Vec<(u32, usize)>,
    at: usize,
}

impl<T: Plain + PartialEq> Runs<T> {
    fn new(pages: Pages) -> Self {
        Self { pages, values: Vec::new(), in_dictionary: 0, runs: Vec::new(), at: 0 }
    }

    /// Makes sure that there is a run; false at the end.
    fn fill(&mut self, unpacker: &mut Unpacker) -> Result<bool> {
        while self.at == self.runs.len() {
            self.runs.clear();
            self.at = 0;
            let Some((packed, encoding, rows, is_dictionary)) = self.pages.next()? else { return Ok(false) };
            let mut page = unpacker.unpack(self.pages.compression, &packed, self.pages.most)?;
            self.values.truncate(self.in_dictionary);
            match encoding {
                Encoding::PLAIN | Encoding::PLAIN_DICTIONARY if is_dictionary => {
                    for _ in 0..rows {
                        self.values.push(T::take(&mut page)?);
                    }
                    self.in_dictionary = rows;
                }
                Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY if rows > 0 => keys(page, rows, self.values.len(), &mut self.runs)?,
                Encoding::PLAIN => {
                    for _ in 0..rows {
                        let value = T::take(&mut page)?;
                        if self.values.len() == self.in_dictionary || self.values.last() != Some(&value) {
                            self.values.push(value);
                        }
                        lengthen(&mut self.runs, self.values.len() as u32 - 1, 1);
                    }
                }
                other => return Err(unknown(other)),
            }
        }
        Ok(true)
    }

    fn value(&self) -> Option<&T> {
        self.values.get(self.runs.get(self.at)?.0 as usize)
    }

    /// Rows of the current run.
    fn left(&self) -> usize {
        self.runs.get(self.at).map_or(0, |run| run.1)
    }

    /// Passes some of them.
    fn pass(&mut self, rows: usize) {
        if let Some((_, left)) = self.runs.get_mut(self.at) {
            *left -= rows;
            self.at += usize::from(*left == 0);
        }
    }
}

/// The column of times.
struct Times {
    pages: Pages,
    /// Of the next row.
    time: i64,
    /// Steps from it to the rows that follow in the page.
    steps: Vec<(i64, usize)>,
    at: usize,
    /// Rows of the page.
    left: usize,
}

impl Times {
    fn fill(&mut self, unpacker: &mut Unpacker) -> Result<bool> {
        while self.left == 0 {
            self.steps.clear();
            self.at = 0;
            let Some((packed, encoding, rows, _)) = self.pages.next()? else { return Ok(false) };
            if encoding != Encoding::DELTA_BINARY_PACKED {
                return Err(unknown(encoding));
            }
            self.time = steps(unpacker.unpack(self.pages.compression, &packed, self.pages.most)?, rows, &mut self.steps)?;
            self.left = rows;
        }
        Ok(true)
    }

    /// How many rows, of the next ones, are so far apart.
    fn even(&self, step: i64) -> usize {
        self.left.min(1 + self.steps.get(self.at).filter(|run| run.0 == step).map_or(0, |run| run.1))
    }

    fn pass(&mut self, rows: usize) {
        self.left -= rows;
        let mut rows = rows;
        while let Some((step, left)) = self.steps.get_mut(self.at).filter(|_| rows > 0) {
            let count = rows.min(*left);
            self.time = self.time.wrapping_add(step.wrapping_mul(count as i64));
            *left -= count;
            self.at += usize::from(*left == 0);
            rows -= count;
        }
    }
}

/// The column of values.
struct Values {
    pages: Pages,
    /// Those of the page.
    bytes: Vec<u8>,
    /// Where the next one stands.
    at: usize,
}

impl Values {
    fn fill(&mut self, unpacker: &mut Unpacker) -> Result<bool> {
        while self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
            let Some((packed, encoding, rows, _)) = self.pages.next()? else { return Ok(false) };
            let page = unpacker.unpack(self.pages.compression, &packed, self.pages.most)?;
            if Some(page.len()) != rows.checked_mul(4) {
                return Err(not_ours("pages of another size"));
            }
            match encoding {
                Encoding::BYTE_STREAM_SPLIT => join_streams(page, &mut self.bytes),
                Encoding::PLAIN => self.bytes.extend_from_slice(page),
                other => return Err(unknown(other)),
            }
        }
        Ok(true)
    }

    fn left(&self) -> usize {
        (self.bytes.len() - self.at) / 4
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::ZstdLevel;
    use parquet::file::properties::WriterProperties;
    use parquet::file::reader::FileReader;
    use parquet::file::serialized_reader::SerializedFileReader;
    use parquet::schema::types::ColumnPath;
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{Layout, ValueEncoding};

    /// Index of host, of series, time, frequency, value.
    type Row = (u8, u16, i64, i64, f32);

    fn name(kind: &str, n: u16) -> String {
        format!("{kind}{n:04}")
    }

    fn names(row: &Row) -> [String; 5] {
        ["h", "s", "m", "i", "p"].map(|kind| name(kind, if kind == "h" { u16::from(row.0) } else { row.1 }))
    }

    /// An object as another encoder writes it, with pages of few rows.
    fn object(rows: &[Row], compression: Compression, value_encoding: ValueEncoding, page: usize, dictionary: usize) -> Bytes {
        let layout = Layout { compression, value_encoding, cluster_column: false, row_group_rows: 1 << 20, object_size: 1 << 30 };
        let ours = layout.writer_properties();
        let mut properties = WriterProperties::builder()
            .set_compression(compression)
            .set_write_batch_size(page)
            .set_data_page_row_count_limit(page)
            .set_dictionary_page_size_limit(dictionary);
        for column in ["timestamp", "value"].map(ColumnPath::from) {
            let encoding = ours.encoding(&column).expect("one of its own");
            properties = properties.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column, encoding);
        }
        let strings = |i: usize| Arc::new(StringArray::from_iter_values(rows.iter().map(|row| names(row)[i].clone()))) as ArrayRef;
        let mut columns: Vec<(&str, ArrayRef)> = SORTED_BY.iter().enumerate().map(|(i, name)| (*name, strings(i))).collect();
        columns.push(("timestamp", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)))));
        columns.push(("frequency", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3)))));
        columns.push(("value", Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.4)))));
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).expect("a writer");
        writer.write(&batch).expect("written");
        writer.into_inner().expect("closed").into()
    }

    fn metadata(object: &Bytes) -> ParquetMetaData {
        SerializedFileReader::new(object.clone()).expect("a footer").metadata().clone()
    }

    /// Names, time, frequency, and bits of the value.
    type Found = ([String; 5], i64, i64, u32);

    /// All rows, and in how many stretches they come.
    fn read(metadata: &ParquetMetaData, object: &Bytes) -> Result<(Vec<Found>, usize)> {
        let range = RowGroup::range(metadata, 0)?;
        let stored = Stored { start: range.start, bytes: object.slice(range.start as usize..range.end as usize) };
        let mut group = RowGroup::new(metadata, 0, stored, None)?;
        let (mut rows, mut stretches) = (Vec::new(), 0);
        while let Some(host) = group.host()?.map(str::to_owned) {
            let Some(Stretch { series: [scope, metric, id, path], rows: span, values }) = group.take()? else { return Err(not_ours("no next rows")) };
            stretches += 1;
            let names = [&host, scope, metric, id, path].map(str::to_owned);
            rows.extend((0..span.len).map(|i| (names.clone(), span.time(i), span.frequency, span.value(values, i).to_bits())));
        }
        Ok((rows, stretches))
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let run = (0..3_u8, 0..40_u16, 0..100_000_i64, prop_oneof![Just(60_i64), Just(1), Just(7)], 1..40_i64, any::<bool>());
        proptest::collection::vec(run, 1..20).prop_map(|runs| {
            let of_run = |(host, series, start, frequency, count, even): (u8, u16, i64, i64, i64, bool)| {
                let step = if even { frequency } else { frequency + 1 };
                (0..count).map(move |i| (host, series, start + i * step, frequency, i as f32 - 7.5))
            };
            runs.into_iter().flat_map(of_run).collect()
        })
    }

    fn compression() -> impl Strategy<Value = Compression> {
        prop_oneof![Just(Compression::UNCOMPRESSED), Just(Compression::SNAPPY), Just(Compression::ZSTD(ZstdLevel::default()))]
    }

    proptest! {
        #[test]
        fn rows_are_read_as_any_writer_wrote_them(
            rows in rows(),
            compression in compression(),
            plain in any::<bool>(),
            page in 1..200_usize,
            dictionary in prop_oneof![Just(1_usize), Just(100), Just(1 << 20)],
        ) {
            let encoding = if plain { ValueEncoding::Plain } else { ValueEncoding::ByteStreamSplit };
            let object = object(&rows, compression, encoding, page, dictionary);
            let expected: Vec<_> = rows.iter().map(|row| (names(row), row.2, row.3, row.4.to_bits())).collect();
            let (found, _) = read(&metadata(&object), &object).expect("ours");
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn damaged_pages_are_an_error_or_other_rows(rows in rows(), at in 0..10_000_usize, byte in any::<u8>(), compression in compression()) {
            let whole = object(&rows, compression, ValueEncoding::ByteStreamSplit, 50, 100);
            let metadata = metadata(&whole);
            let end = RowGroup::range(&metadata, 0).expect("a range").end as usize;
            let mut damaged = whole.to_vec();
            damaged[4 + at % (end - 4)] = byte;
            if let Ok((found, _)) = read(&metadata, &damaged.into()) {
                prop_assert_eq!(found.len(), rows.len());
            }
        }
    }

    #[test]
    fn even_rows_of_a_series_are_one_stretch() {
        let rows: Vec<Row> = (0..3_000_i64).map(|i| (0, (i / 1_000) as u16, i % 1_000 * 60, 60, 1.0)).collect();
        let object = object(&rows, Compression::ZSTD(ZstdLevel::default()), ValueEncoding::ByteStreamSplit, 10_000, 1 << 20);
        assert_eq!(read(&metadata(&object), &object).expect("ours").1, 3);
    }

    #[test]
    fn columns_of_other_types_and_missing_ones_are_refused() {
        let batch = RecordBatch::try_from_iter([("hostname", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).expect("a batch");
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        let object: Bytes = writer.into_inner().expect("closed").into();
        assert!(read(&metadata(&object), &object).expect_err("not ours").to_string().contains("no column scope"));
    }
}
