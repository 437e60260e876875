//! Stage 8: row groups become Parquet.
//!
//! [`ObjectEncoder`] is what the pipeline sees. [`RunsEncoder`] writes key columns as the runs they are; [`ArrowEncoder`]
//! expands them to Arrow arrays and goes through AsyncArrowWriter. Both write the same rows, and tests hold them to it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, KeyValue};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::schema::types::SchemaDescPtr;

use crate::buffers::Buffers;
use crate::data::Rows;
use crate::names::Cluster;
use crate::schema::Layout;

mod arrow;
mod chunk;
mod delta;
mod runs;
mod values;

use chunk::Codec;

pub use arrow::ArrowEncoder;
pub use runs::RunsEncoder;

/// What all objects of a partition have in common.
#[derive(Debug, Clone)]
pub struct Format {
    layout: Layout,
    cluster: Cluster,
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    tools: Arc<Tools>,
}

/// What encoders use again, of all partitions.
pub struct Tools {
    buffers: Buffers,
    compression: Compression,
    codecs: Mutex<Vec<Codec>>,
}

impl Tools {
    /// For objects of this layout.
    pub fn new(layout: &Layout, buffers: Buffers) -> Self {
        Self { buffers, compression: layout.compression, codecs: Mutex::default() }
    }

    /// Runs `work` with a codec that nobody else uses meanwhile.
    fn with_codec<T>(&self, work: impl FnOnce(&mut Codec) -> Result<T>) -> Result<T> {
        let codecs = || self.codecs.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = codecs().pop();
        let mut codec = waiting.map_or_else(|| Codec::new(self.compression), Ok)?;
        let done = work(&mut codec)?;
        codecs().push(codec);
        Ok(done)
    }
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl Format {
    /// For the objects of `cluster`; `tools` are those for the same layout.
    pub fn new(layout: Layout, cluster: Cluster, tools: Arc<Tools>) -> Result<Self> {
        let schema = Arc::new(ArrowSchemaConverter::new().convert(&layout.arrow_schema())?);
        Ok(Self { layout, cluster, schema, properties: Arc::new(layout.writer_properties()), tools })
    }
}

/// Encodes one object into a sink: row groups are encoded on any thread, in any order, and appended in theirs.
///
/// After an error only [`Self::into_sink`] makes sense.
pub trait ObjectEncoder<W>: Send + Sized + 'static {
    /// A row group, as far as it can be encoded without knowing what comes before it.
    type Encoded: Send + 'static;

    /// True if [`Self::append`] computes, so that it must not be polled on an async thread.
    const APPEND_COMPUTES: bool;

    /// Begins an object.
    fn begin(sink: W, format: &Format) -> Result<Self>;

    /// Encodes `rows` as one row group; computes.
    fn encode(format: &Format, rows: Rows) -> Result<Self::Encoded>;

    /// Appends a row group and hands its bytes to the sink.
    fn append(&mut self, group: Self::Encoded) -> BoxFuture<'_, Result<()>>;

    /// Bytes that the sink has been given so far.
    fn bytes_written(&self) -> u64;

    /// Writes `block` directly before the footer, with a write of its own each, and completes the sink. No offset in the footer leads to it:
    /// readers of rows pass it over.
    fn finish(&mut self, block: Bytes, metadata: Vec<KeyValue>) -> BoxFuture<'_, Result<()>>;

    /// The sink, completed or not.
    fn into_sink(self) -> W;
}

/// Writes the end of an object, which holds its footer: the page indexes, the block, the footer, with a write each.
async fn write_end(sink: &mut impl AsyncFileWriter, mut end: Bytes, block: Bytes) -> Result<()> {
    let trailer = end.last_chunk().ok_or_else(|| ParquetError::General("an object's end has no footer".into()))?;
    let length = FooterTail::try_from(*trailer)?.metadata_length() + FOOTER_SIZE;
    let begin = end.len().checked_sub(length).ok_or_else(|| ParquetError::General("the footer was not written at once".into()))?;
    let footer = end.split_off(begin);
    for part in [end, block, footer] {
        sink.write(part).await?;
    }
    Ok(())
}
