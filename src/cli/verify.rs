//! Options of `verify`.

use std::path::PathBuf;

use clap::Args;

use super::metrics::MetricsArgs;
use super::part::PartArgs;
use super::resources::ResourceArgs;
use super::s3::S3Args;
use super::values::{path, switch};
use crate::settings::Location;

/// Check an archive: its objects and ledgers, and on request every byte and every row.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver verify ./archive\n  \
    cc-archiver verify s3://monitoring/archive --date 2026-03-01..2026-03-31 --read-data\n  \
    cc-archiver verify ./archive --read-data=5 --decode")]
pub struct VerifyArgs {
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Which part of it.
    #[command(flatten)]
    pub part: PartArgs,
    /// Read all bytes of all objects and check their digests; with PERCENT only of so many of them, others on each day.
    #[arg(
        long,
        value_name = "PERCENT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "100",
        value_parser = clap::value_parser!(u8).range(1..=100),
        env = "CC_ARCHIVER_READ_DATA"
    )]
    pub read_data: Option<u8>,
    /// Decode all rows; check their number, their order, and that none stands twice in a partition.
    #[arg(long, env = "CC_ARCHIVER_DECODE", value_parser = switch)]
    pub decode: bool,
    /// Also say which snapshots of this checkpoint tree are archived.
    #[arg(long, value_name = "DIR", env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: Option<PathBuf>,
    /// What a run may take.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// How it is seen from outside.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
}
