//! The columns of a row group, read some rows at a time.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parquet::basic::{Compression, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::{Column, Group, ParquetFile, ticks};
use crate::files::trusted::ReadFrom;
use crate::unpacker::Unpacker;

/// Rows that are read at a time.
const ROWS: usize = 8_192;

/// An open file of so many bytes, read at places, whoever else reads it.
pub struct Bytes {
    pub file: Arc<File>,
    pub size: u64,
}

/// The same from a place on. Its end is an error: who passes over what is not there would go on with that, as often as damaged bytes say.
pub struct From {
    file: Arc<File>,
    at: u64,
    size: u64,
}

impl std::io::Read for From {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.size {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let read = ReadFrom { file: &self.file, at: self.at }.read(out)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Length for Bytes {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Bytes {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        // headers of pages
        const HEADER: usize = 256;
        Ok(BufReader::with_capacity(HEADER, From { file: Arc::clone(&self.file), at: start, size: self.size }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(ParquetError::EOF("a page reaches past the end of the file".into()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// No page of a file is larger. Writers end one after a MiB or some.
const MOST_OF_PAGE: usize = 128 << 20;

/// The pages of a column, decompressed within that bound.
struct Pages {
    /// Hands them over as they are stored.
    stored: SerializedPageReader<Bytes>,
    compression: Compression,
    unpacker: Unpacker,
}

impl Pages {
    /// A page of which the first bytes are not compressed.
    fn unpacked(&mut self, stored: &bytes::Bytes, plain: usize) -> Result<bytes::Bytes> {
        let (plain, packed) = stored.split_at_checked(plain).ok_or_else(|| ParquetError::EOF("a page ends early".into()))?;
        // without values there is nothing to decompress
        let page = if packed.is_empty() { packed } else { self.unpacker.unpack(self.compression, packed, MOST_OF_PAGE)? };
        Ok([plain, page].concat().into())
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let mut page = self.stored.get_next_page()?;
        let plain = match &page {
            Some(Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. }) => *def_levels_byte_len as usize + *rep_levels_byte_len as usize,
            _ => 0,
        };
        match &mut page {
            Some(Page::DataPageV2 { is_compressed: false, .. }) | None => {}
            Some(_) if self.compression == Compression::UNCOMPRESSED => {}
            Some(Page::DataPage { buf, .. } | Page::DataPageV2 { buf, .. } | Page::DictionaryPage { buf, .. }) => *buf = self.unpacked(buf, plain)?,
        }
        match &page {
            // room is made for as many as it says
            Some(Page::DictionaryPage { buf, num_values, .. }) if *num_values as usize > buf.len() => {
                Err(ParquetError::General("a dictionary has fewer bytes than values".into()))
            }
            _ => Ok(page),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.stored.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.stored.skip_next_page()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Values of a column of text; None where there is none.
pub type Texts = Vec<Option<ByteArray>>;

/// Values of a column of numbers; None where there is none.
pub type Numbers<T> = Vec<Option<T>>;

/// Some rows. Of columns that were not asked for nothing is there.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many.
    pub rows: usize,
    /// Index of the first of them in the row group.
    before: u64,
    /// Columns of text, in the order of [`Column::ALL`].
    texts: [Texts; 5],
    timestamp: Numbers<i64>,
    frequency: Numbers<i64>,
    value: Numbers<f32>,
}

impl Batch {
    /// A text of a row. An id that is missing is empty.
    ///
    /// # Errors
    /// It is missing, or no text.
    pub fn text(&self, column: Column, row: usize) -> std::result::Result<&str, String> {
        match self.bytes(column, row) {
            Some(text) => std::str::from_utf8(text).map_err(|_| self.wrong(column, row, "is not UTF-8")),
            None if column == Column::ScopeId => Ok(""),
            None => Err(self.wrong(column, row, "is missing")),
        }
    }

    /// The bytes of a text of a row; None if it is missing.
    pub fn bytes(&self, column: Column, row: usize) -> Option<&[u8]> {
        self.texts[column as usize].get(row)?.as_ref().map(ByteArray::data)
    }

    /// The time of a row, in Unix s.
    ///
    /// # Errors
    /// It is missing, or no whole second.
    pub fn time(&self, row: usize) -> std::result::Result<i64, String> {
        self.timestamp[row].ok_or_else(|| self.wrong(Column::Timestamp, row, "is missing, or no whole second"))
    }

    /// The seconds between the values of a row's series.
    ///
    /// # Errors
    /// They are missing, or not positive.
    pub fn frequency(&self, row: usize) -> std::result::Result<i64, String> {
        self.frequency[row].filter(|frequency| *frequency > 0).ok_or_else(|| self.wrong(Column::Frequency, row, "is missing, or not positive"))
    }

    /// The value of a row, if it has one.
    pub fn value(&self, row: usize) -> Option<f32> {
        self.value[row].filter(|value| !value.is_nan())
    }

    /// What is wrong with a row.
    pub fn wrong(&self, column: Column, row: usize, what: &str) -> String {
        format!("row {}: its {} {what}", self.before + row as u64, column.name())
    }

    fn read(&mut self, column: Column, ticks: i64, reader: &mut ColumnReader) -> Result<()> {
        let rows = self.rows;
        match (column, reader) {
            (Column::Timestamp | Column::Frequency, reader) => {
                let whole = |time: i64| (time % ticks == 0).then_some(time / ticks);
                let numbers = match reader {
                    ColumnReader::Int64ColumnReader(reader) => values(reader, rows, whole)?,
                    ColumnReader::Int32ColumnReader(reader) => values(reader, rows, |time| whole(time.into()))?,
                    _ => return Err(other_type()),
                };
                *(if column == Column::Timestamp { &mut self.timestamp } else { &mut self.frequency }) = numbers;
            }
            (Column::Value, ColumnReader::FloatColumnReader(reader)) => self.value = values(reader, rows, Some)?,
            (Column::Value, ColumnReader::DoubleColumnReader(reader)) => self.value = values(reader, rows, |value| Some(value as f32))?,
            (text, ColumnReader::ByteArrayColumnReader(reader)) if text != Column::Value => self.texts[text as usize] = values(reader, rows, Some)?,
            _ => return Err(other_type()),
        }
        Ok(())
    }
}

/// Goes through the rows of a row group.
pub struct Batches {
    columns: Vec<(Column, i64, ColumnReader)>,
    rows: u64,
    read: u64,
}

impl Batches {
    pub(super) fn new(file: &Arc<File>, parquet: &ParquetFile, group: &Group, wanted: &[Column]) -> std::result::Result<Self, String> {
        let bytes = Arc::new(Bytes { file: Arc::clone(file), size: parquet.size });
        let reader = |column: Column| {
            let (chunk, described) = (group.chunks[column as usize], parquet.schema.column(parquet.places[column as usize]));
            let metadata = ColumnChunkMetaData::builder(Arc::clone(&described))
                .set_compression(Compression::UNCOMPRESSED)
                .set_num_values(group.rows as i64)
                .set_data_page_offset(chunk.start as i64)
                .set_total_compressed_size(chunk.len as i64)
                .build()?;
            let stored = SerializedPageReader::new(Arc::clone(&bytes), &metadata, group.rows as usize, None)?;
            let pages = Pages { stored, compression: chunk.compression, unpacker: Unpacker::default() };
            let ticks = if column == Column::Timestamp { ticks(&described) } else { 1 };
            Ok((column, ticks, get_column_reader(described, Box::new(pages))))
        };
        let open = |column: &Column| reader(*column).map_err(|e: ParquetError| of_column(*column, &e));
        Ok(Self { columns: wanted.iter().map(open).collect::<std::result::Result<_, _>>()?, rows: group.rows, read: 0 })
    }

    /// The next rows; None at the end.
    ///
    /// # Errors
    /// A column cannot be read: which, and why.
    pub fn next(&mut self) -> std::result::Result<Option<Batch>, String> {
        let rows = (ROWS as u64).min(self.rows - self.read) as usize;
        if rows == 0 {
            return Ok(None);
        }
        let mut batch = Batch { rows, before: self.read, ..Batch::default() };
        for (column, ticks, reader) in &mut self.columns {
            batch.read(*column, *ticks, reader).map_err(|e| of_column(*column, &e))?;
        }
        self.read += rows as u64;
        Ok(Some(batch))
    }
}

fn of_column(column: Column, e: &ParquetError) -> String {
    format!("column {}: {e}", column.name())
}

/// The physical types that a column may have.
pub fn takes(column: Column, found: Type) -> bool {
    match column {
        Column::Timestamp | Column::Frequency => matches!(found, Type::INT64 | Type::INT32),
        Column::Value => matches!(found, Type::FLOAT | Type::DOUBLE),
        _ => found == Type::BYTE_ARRAY,
    }
}

fn other_type() -> ParquetError {
    ParquetError::General("it has another type".into())
}

/// Exactly so many values, each as `as_value` has it.
fn values<T: DataType, V>(reader: &mut ColumnReaderImpl<T>, rows: usize, as_value: impl Fn(T::T) -> Option<V>) -> Result<Vec<Option<V>>> {
    let (mut levels, mut found) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut read = 0;
    while read < rows {
        let (records, _, _) = reader.read_records(rows - read, Some(&mut levels), None, &mut found)?;
        if records == 0 {
            return Err(ParquetError::EOF(format!("it ends {} rows early", rows - read)));
        }
        read += records;
    }
    if found.len() == rows {
        return Ok(found.into_iter().map(as_value).collect());
    }
    let mut found = found.into_iter();
    Ok(levels.into_iter().map(|level| if level > 0 { found.next().and_then(&as_value) } else { None }).collect())
}
