//! Stage 8: row groups become Parquet.
//!
//! [`ObjectEncoder`] is what the pipeline sees. [`RunsEncoder`] writes key columns as the runs they are; the reference
//! encoder expands them and goes through AsyncArrowWriter. Both write the same rows, and tests hold them to it.

use std::sync::Arc;

use futures::future::BoxFuture;
use parquet::arrow::ArrowSchemaConverter;
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::schema::types::SchemaDescPtr;

use crate::data::Rows;
use crate::names::Cluster;
use crate::schema::Layout;

mod chunk;
mod delta;
mod reference;
mod runs;

pub use reference::ReferenceEncoder;
pub use runs::RunsEncoder;

/// What all objects of a partition have in common.
#[derive(Debug, Clone)]
pub struct Format {
    layout: Layout,
    cluster: Cluster,
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
}

impl Format {
    /// For the objects of `cluster`.
    pub fn new(layout: Layout, cluster: Cluster) -> Result<Self> {
        let schema = Arc::new(ArrowSchemaConverter::new().convert(&layout.arrow_schema())?);
        Ok(Self { layout, cluster, schema, properties: Arc::new(layout.writer_properties()) })
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

    /// Writes the footer and completes the sink.
    fn finish(&mut self, metadata: Vec<KeyValue>) -> BoxFuture<'_, Result<()>>;

    /// The sink, completed or not.
    fn into_sink(self) -> W;
}
