//! Options of `ls`.

use clap::Args;

use super::metrics::MetricsArgs;
use super::part::PartArgs;
use super::s3::S3Args;
use super::values::switch;
use crate::settings::Location;

/// Say what an archive holds: clusters, dates, hosts, metrics, objects, rows and bytes.
///
/// Only the listing and the footers of objects are read. A line is printed for each cluster and date, or for what one of the options asks for.
/// Exit code 3: an object cannot be read, a Parquet file is not ours, or nothing is there of what was asked for.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver ls ./archive\n  \
    cc-archiver ls s3://monitoring/archive --cluster fritz --date 2026-03-01..2026-03-31 --hosts\n  \
    cc-archiver ls ./archive --objects --json | jq '.clusters[].by_object[] | select(.rows > 1e6) | .key'")]
pub struct LsArgs {
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// A line for each host: its dates, snapshots and rows, and the times of the first and the last.
    #[arg(long, env = "CC_ARCHIVER_HOSTS", value_parser = switch)]
    pub hosts: bool,
    /// A line for each metric that footers name. Where a row group holds several, its rows are bounds only.
    #[arg(long, env = "CC_ARCHIVER_METRICS", value_parser = switch)]
    pub metrics: bool,
    /// A line for each object: its rows, bytes, row groups, hosts and snapshots, and whether it counts.
    #[arg(long, env = "CC_ARCHIVER_OBJECTS", value_parser = switch)]
    pub objects: bool,
    /// Which part of it.
    #[command(flatten)]
    pub part: PartArgs,
    /// How it is seen from outside.
    #[command(flatten)]
    pub seen: MetricsArgs,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
}
