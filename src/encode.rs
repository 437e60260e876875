//! Stage 8: row groups become Parquet.
//!
//! [`ObjectEncoder`] is what the pipeline sees. The reference encoder goes through AsyncArrowWriter.

use futures::future::BoxFuture;
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;

use crate::data::Rows;

mod reference;

pub use reference::ReferenceEncoder;

/// Encodes one object into a sink, row group by row group.
///
/// The futures compute: poll them where that does no harm. After an error only [`Self::into_sink`] makes sense.
pub trait ObjectEncoder<W>: Send + Sized {
    /// Encodes `rows` as one row group and hands its bytes to the sink.
    fn row_group<'a>(&'a mut self, rows: &'a Rows) -> BoxFuture<'a, Result<()>>;

    /// Bytes that the sink has been given so far.
    fn bytes_written(&self) -> u64;

    /// Writes the footer and completes the sink.
    fn finish(&mut self, metadata: Vec<KeyValue>) -> BoxFuture<'_, Result<()>>;

    /// The sink, completed or not.
    fn into_sink(self) -> W;
}
