//! One column chunk, page by page: compressed, with statistics, column index and offset index.

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use crate::buffers::Buffer;

/// Compresses pages; one for all columns of a row group, and then of another one, as zstd's state takes long to make.
pub struct Codec {
    method: Method,
    /// Memory for a page before it is compressed; whoever uses it puts it back.
    pub plain: Vec<u8>,
    /// The same, after.
    packed: Vec<u8>,
}

enum Method {
    /// Not at all.
    None,
    /// Snappy's raw format.
    Snappy(Box<snap::raw::Encoder>),
    /// zstd, one frame a page.
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Codec {
    /// For one of the codecs that the settings allow.
    pub fn new(compression: Compression) -> Result<Self> {
        let method = match compression {
            Compression::UNCOMPRESSED => Method::None,
            Compression::SNAPPY => Method::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::ZSTD(level) => {
                let mut encoder = zstd::bulk::Compressor::new(level.compression_level())?;
                // so that any reader finds out if a page was damaged
                encoder.include_checksum(true)?;
                Method::Zstd(encoder)
            }
            other => return Err(ParquetError::NYI(format!("compression {other}"))),
        };
        Ok(Self { method, plain: Vec::new(), packed: Vec::new() })
    }

    /// Compresses a page into the memory that is there for it, which must come back with [`Self::put_back`].
    fn compress(&mut self, page: &[u8]) -> Result<Bytes> {
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        match &mut self.method {
            Method::None => packed.extend_from_slice(page),
            Method::Snappy(encoder) => {
                packed.resize(snap::raw::max_compress_len(page.len()), 0);
                let len = encoder.compress(page, &mut packed).map_err(|e| ParquetError::External(Box::new(e)))?;
                packed.truncate(len);
            }
            Method::Zstd(encoder) => {
                packed.reserve(zstd::zstd_safe::compress_bound(page.len()));
                encoder.compress_to_buffer(page, &mut packed)?;
            }
        }
        Ok(packed.into())
    }

    fn put_back(&mut self, packed: Bytes) {
        // no copy: nobody else has these bytes any more
        self.packed = packed.into();
    }
}

/// A finished chunk, to be spliced into a row group.
pub type Chunk = (Buffer, ColumnCloseResult);

/// What page indexes say of a page.
pub struct PageStatistics {
    /// Plain encoding of the smallest.
    pub min: Vec<u8>,
    /// Plain encoding of the largest.
    pub max: Vec<u8>,
    /// Of strings, the bytes of all of them, lengths not counted.
    pub text: Option<usize>,
}

/// Writes the pages of one chunk.
pub struct ChunkWriter {
    descr: ColumnDescPtr,
    sink: TrackedWrite<Buffer>,
    columns: ColumnIndexBuilder,
    offsets: OffsetIndexBuilder,
    /// How many pages of which kind have which encoding.
    pages: Vec<PageEncodingStats>,
    has_dictionary: bool,
    data_offset: Option<u64>,
    uncompressed: usize,
    /// Bytes of strings.
    text: Option<i64>,
    rows: usize,
}

impl ChunkWriter {
    /// Begins a chunk of this column in a buffer.
    pub fn new(descr: ColumnDescPtr, buffer: Buffer) -> Self {
        Self {
            columns: ColumnIndexBuilder::new(descr.physical_type()),
            descr,
            sink: TrackedWrite::new(buffer),
            offsets: OffsetIndexBuilder::new(),
            pages: Vec::new(),
            has_dictionary: false,
            data_offset: None,
            uncompressed: 0,
            text: None,
            rows: 0,
        }
    }

    /// Writes the dictionary: `plain` holds `count` values in plain encoding. Must come first.
    pub fn dictionary(&mut self, codec: &mut Codec, plain: &[u8], count: usize) -> Result<()> {
        self.has_dictionary = true;
        self.count(PageType::DICTIONARY_PAGE, Encoding::PLAIN);
        let page = |buf| Page::DictionaryPage { buf, num_values: count as u32, encoding: Encoding::PLAIN, is_sorted: false };
        self.page(codec, plain, page).map(drop)
    }

    /// Writes a data page of `rows` values; levels are not stored, as the column is required.
    pub fn data(&mut self, codec: &mut Codec, data: &[u8], rows: usize, encoding: Encoding, statistics: PageStatistics) -> Result<()> {
        self.count(PageType::DATA_PAGE, encoding);
        let page = |buf| Page::DataPage {
            buf,
            num_values: rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let (offset, size) = self.page(codec, data, page)?;
        self.data_offset.get_or_insert(offset);
        self.offsets.append_row_count(rows as i64);
        self.offsets.append_offset_and_size(offset as i64, size as i32);
        let text = statistics.text.map(|bytes| bytes as i64);
        self.offsets.append_unencoded_byte_array_data_bytes(text);
        self.text = text.map(|bytes| bytes + self.text.unwrap_or_default()).or(self.text);
        self.columns.append(false, statistics.min, statistics.max, 0, None);
        self.rows += rows;
        Ok(())
    }

    fn count(&mut self, page_type: PageType, encoding: Encoding) {
        match self.pages.iter_mut().find(|pages| pages.page_type == page_type && pages.encoding == encoding) {
            Some(pages) => pages.count += 1,
            None => self.pages.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
    }

    fn page(&mut self, codec: &mut Codec, plain: &[u8], page: impl FnOnce(Bytes) -> Page) -> Result<(u64, usize)> {
        let packed = codec.compress(plain)?;
        let page = CompressedPage::new(page(packed.clone()), plain.len());
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        codec.put_back(packed);
        self.uncompressed += written.uncompressed_size;
        Ok((written.offset, written.compressed_size))
    }

    /// Ends the chunk. `order` is how the bounds of its pages run.
    pub fn finish(mut self, compression: Compression, order: BoundaryOrder, statistics: Statistics) -> Result<Chunk> {
        self.columns.set_boundary_order(order);
        let bytes = self.sink.into_inner()?;
        // levels would be in RLE; writers name it for columns without any, too
        let encodings = self.pages.iter().map(|pages| pages.encoding).chain([Encoding::RLE]).collect();
        let metadata = ColumnChunkMetaData::builder(self.descr)
            .set_encodings(encodings)
            .set_page_encoding_stats(self.pages)
            .set_compression(compression)
            .set_num_values(self.rows as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_dictionary_page_offset(self.has_dictionary.then_some(0))
            .set_data_page_offset(self.data_offset.unwrap_or_default() as i64)
            .set_statistics(statistics)
            .set_unencoded_byte_array_data_bytes(self.text)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: Some(self.columns.build()?),
            offset_index: Some(self.offsets.build()),
        };
        Ok((bytes, close))
    }
}
