//! Options of `expire`.

use std::path::PathBuf;

use clap::Args;

use super::metrics::MetricsArgs;
use super::s3::S3Args;
use super::values::{path, span, switch};
use crate::settings::Location;

/// Delete the dates of an archive that are old, and archive nothing of them any more.
///
/// Whole dates (UTC) go, with all of their rows. The archive remembers from which date on it is kept: snapshots of older dates that are still
/// on disk, or come back from a backup, are not archived again. Without --cluster that holds for clusters to come, too.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver expire ./archive --keep 730days --dry-run\n  \
    cc-archiver expire s3://monitoring/archive --keep 5years\n  \
    cc-archiver expire s3://monitoring/archive --keep 90days --cluster testcluster --checkpoints /var/lib/cc-backend/checkpoints")]
pub struct ExpireArgs {
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Delete dates that ended longer ago than this: 730days, 5years; 1day is the least.
    #[arg(long, value_name = "AGE", help_heading = "Selection", env = "CC_ARCHIVER_KEEP", value_parser = span, allow_hyphen_values = true)]
    pub keep: humantime::Duration,
    /// Only of this cluster; can be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Selection", env = "CC_ARCHIVER_CLUSTER")]
    pub cluster: Vec<String>,
    /// Say which snapshots of this checkpoint tree are not archived any more.
    #[arg(long, value_name = "DIR", help_heading = "Selection", env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: Option<PathBuf>,
    /// Say what would be deleted; touch nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,
    /// How it is seen from outside.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
}
