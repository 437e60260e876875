//! The archive's schema, sort order, footer keys and format version: what every reader may rely on.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Rows per page: big enough to compress, small enough to prune within a row group of many rows. Just over a sixth of the largest, so that none ends
/// with a remainder, and a multiple of the 1,024 rows that AsyncArrowWriter takes at a time.
pub const PAGE_ROWS: usize = 171 << 10;

/// Footer keys.
pub mod footer {
    /// [`super::FORMAT_VERSION`].
    pub const FORMAT: &str = "cc-archiver.format";
    /// Name and version of the program that wrote the object.
    pub const WRITER: &str = "cc-archiver.writer";
    /// The cluster's name, as it stands on disk.
    pub const CLUSTER: &str = "cc-archiver.cluster";
    /// The UTC date of all rows.
    pub const DATE: &str = "cc-archiver.date";
    /// How many buckets each partition of the archive has.
    pub const BUCKETS: &str = "cc-archiver.buckets";
    /// Bucket and slot, as in the key.
    pub const PART: &str = "cc-archiver.part";
    /// Digests of what stands in the slot before, separated by commas: one as a rule, none in the first slot.
    pub const AFTER: &str = "cc-archiver.after";
    /// Slots of the sequence that were empty when this object was planned, though later ones were not, separated by commas; absent if there
    /// were none.
    pub const MISSING: &str = "cc-archiver.missing";
    /// What this object replaces, if it was compacted: `slot:digest:rows` of each, separated by commas. It counts as soon as one of them is gone.
    pub const REPLACES: &str = "cc-archiver.replaces";
    /// Count of rows.
    pub const ROWS: &str = "cc-archiver.rows";
    /// Unix time in s of the earliest row; absent in an object of no rows.
    pub const MIN_TIMESTAMP: &str = "cc-archiver.min_timestamp";
    /// Unix time in s of the latest row; absent in an object of no rows.
    pub const MAX_TIMESTAMP: &str = "cc-archiver.max_timestamp";
    /// How many hosts the ledger names.
    pub const HOSTS: &str = "cc-archiver.hosts";
    /// How many sources the ledger names.
    pub const SOURCES: &str = "cc-archiver.sources";
    /// Bytes of the ledger, which ends where the footer begins: a line of JSON for each source, compressed by zstd.
    pub const LEDGER: &str = "cc-archiver.ledger";
    /// BLAKE3 of these bytes.
    pub const LEDGER_DIGEST: &str = "cc-archiver.ledger.blake3";
    /// BLAKE3 of the whole file, with these 64 hex digits read as `0`. Always the last entry.
    pub const DIGEST: &str = "cc-archiver.digest";
}

/// Column names, in order; `cluster` comes first where it is stored at all.
pub const COLUMNS: [&str; 9] = ["cluster", "hostname", "scope", "metric", "scope_id", "selector", "timestamp", "frequency", "value"];

/// The names by which rows are sorted, in the order of columns; then comes the timestamp.
pub const SORTED_BY: [&str; 5] = ["hostname", "scope", "metric", "scope_id", "selector"];

/// How values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ValueEncoding {
    /// BYTE_STREAM_SPLIT: the smallest; Spark up to 4.2 needs its vectorized reader off.
    ByteStreamSplit,
    /// PLAIN: a quarter more bytes; every reader.
    Plain,
}

/// What decides the bytes of an object, given its rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// Codec of all pages.
    pub compression: Compression,
    /// Encoding of the column `value`.
    pub value_encoding: ValueEncoding,
    /// Whether the column `cluster` is stored.
    pub cluster_column: bool,
    /// The most rows of a row group.
    pub row_group_rows: usize,
    /// Bytes after which a new object begins.
    pub object_size: u64,
}

impl Layout {
    /// Names of the columns that are stored, in order.
    pub fn columns(&self) -> &'static [&'static str] {
        if self.cluster_column { &COLUMNS } else { &COLUMNS[1..] }
    }

    /// The Arrow schema: no column is nullable, strings are dictionaries in memory and plain strings in the file.
    pub fn arrow_schema(&self) -> SchemaRef {
        let field = |name: &&str| {
            let kind = match *name {
                "timestamp" | "frequency" => DataType::Int64,
                "value" => DataType::Float32,
                _ => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            };
            Field::new(*name, kind, false)
        };
        Arc::new(Schema::new(self.columns().iter().map(field).collect::<Vec<_>>()))
    }

    /// Encodings, statistics, page sizes and sort order.
    pub fn writer_properties(&self) -> WriterProperties {
        let name = |name: &str| ColumnPath::from(name);
        let value_encoding = match self.value_encoding {
            ValueEncoding::ByteStreamSplit => Encoding::BYTE_STREAM_SPLIT,
            ValueEncoding::Plain => Encoding::PLAIN,
        };
        let sorted = self.columns().iter().take_while(|c| **c != "frequency").count() as i32;
        let sorting = (0..sorted).map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false }).collect();
        WriterProperties::builder()
            // parquet-mr reads string statistics only from writers whose name it can parse
            .set_created_by(format!("cc-archiver version {}", env!("CARGO_PKG_VERSION")))
            .set_compression(self.compression)
            .set_dictionary_enabled(true)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(None)
            // exact: readers prune by them, and tell from equal ones that a row group holds one host
            .set_statistics_truncate_length(None)
            .set_column_index_truncate_length(None)
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_data_page_size_limit(8 * PAGE_ROWS)
            .set_sorting_columns(Some(sorting))
            .set_column_dictionary_enabled(name("timestamp"), false)
            .set_column_encoding(name("timestamp"), Encoding::DELTA_BINARY_PACKED)
            .set_column_dictionary_enabled(name("value"), false)
            .set_column_encoding(name("value"), value_encoding)
            .build()
    }
}
