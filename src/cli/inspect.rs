//! Options of `inspect`.

use clap::Args;

use super::metrics::MetricsArgs;
use super::resources::ResourceArgs;
use super::s3::S3Args;
use super::values::{Instant, switch};
use crate::settings::Location;

/// Show what a snapshot, a write-ahead log or an object of an archive holds.
///
/// Takes .json and .bin snapshots, compressed or not, those in zip archives (ARCHIVE.zip/MEMBER), current.wal, and Parquet files. A damaged file is shown as far as it can be
/// read. Nothing is written or locked. Exit code 3 if the file is damaged, 1 if it cannot be opened.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver inspect /var/lib/cc-backend/checkpoints/fritz/f0101/1772323200.bin\n  \
    cc-archiver inspect checkpoints/fritz/f0101/current.wal --metric 'cpu*' --values\n  \
    cc-archiver inspect s3://monitoring/archive/cluster=fritz/date=2026-03-01/part-00-00000.parquet --ledger\n  \
    cc-archiver inspect part-00-00000.parquet --csv --host f0101 --from 2026-03-01T12:00:00Z --to 2026-03-01T13:00:00Z")]
pub struct InspectArgs {
    /// A file, file:///path or s3://bucket/key.
    #[arg(env = "CC_ARCHIVER_FILE")]
    pub file: Location,
    /// Show all sources of an object's ledger; without it, the first ten.
    #[arg(long, env = "CC_ARCHIVER_LEDGER", value_parser = switch)]
    pub ledger: bool,
    /// Show the samples: a table, or with --json an array.
    #[arg(long, env = "CC_ARCHIVER_VALUES", value_parser = switch)]
    pub values: bool,
    /// Show the samples as CSV, with times in unix seconds.
    #[arg(long, env = "CC_ARCHIVER_CSV", value_parser = switch)]
    pub csv: bool,
    /// Only levels whose path matches, such as 'socket0*'; '' is the host itself.
    #[arg(long, value_name = "GLOB", help_heading = "Selection", env = "CC_ARCHIVER_SELECTOR")]
    pub selector: Option<glob::Pattern>,
    /// Only metrics whose name matches, such as 'cpu*'.
    #[arg(long, value_name = "GLOB", help_heading = "Selection", env = "CC_ARCHIVER_METRIC")]
    pub metric: Option<glob::Pattern>,
    /// Only hosts whose name matches, such as 'n01*'.
    #[arg(long, value_name = "GLOB", help_heading = "Selection", env = "CC_ARCHIVER_HOST")]
    pub host: Option<glob::Pattern>,
    /// Only samples from this time on: RFC 3339, a date, unix seconds, or an age such as 48h.
    #[arg(long, value_name = "TIME", help_heading = "Selection", env = "CC_ARCHIVER_FROM")]
    pub from: Option<Instant>,
    /// Only samples before this time.
    #[arg(long, value_name = "TIME", help_heading = "Selection", env = "CC_ARCHIVER_TO")]
    pub to: Option<Instant>,
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
