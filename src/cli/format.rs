//! How objects are written.

use clap::Args;

use super::help::RARE_FORMAT;
use super::values::Codec;
use crate::schema::ValueEncoding;
use crate::settings::Encoder;

/// How objects are written.
#[derive(Debug, Args)]
#[command(next_help_heading = RARE_FORMAT)]
pub struct FormatArgs {
    /// Compression: zstd(1..22), snappy or none.
    #[arg(long, value_name = "CODEC", default_value = "zstd(3)", env = "CC_ARCHIVER_COMPRESSION")]
    pub compression: Codec,
    /// The most rows of a row group; most end sooner.
    #[arg(long, value_name = "N", default_value_t = 1 << 20, env = "CC_ARCHIVER_ROW_GROUP_ROWS")]
    pub row_group_rows: usize,
    /// How values are encoded; plain is for Spark up to 4.2.
    #[arg(long, value_enum, value_name = "ENCODING", default_value = "byte-stream-split", env = "CC_ARCHIVER_VALUE_ENCODING")]
    pub value_encoding: ValueEncoding,
    /// Both write the same rows; arrow takes six to nine times the CPU time.
    #[arg(long, value_enum, default_value = "runs", env = "CC_ARCHIVER_ENCODER")]
    pub encoder: Encoder,
}
