//! Options of `table`.

use clap::Args;

use super::metrics::MetricsArgs;
use super::s3::S3Args;
use super::values::switch;
use crate::settings::Location;

/// Bring the archive's table up to date: a Delta Lake log, by which readers know its objects without a listing.
///
/// The log is in ARCHIVE/_delta_log, and is made from listing and footers. archive keeps it up to date where it is there. It says which objects
/// hold the rows, and the bounds of hostname, metric, scope and timestamp in each. Only cc-archiver may write to it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver table ./archive --init\n  \
    cc-archiver table s3://monitoring/archive --dry-run\n  \
    cc-archiver table s3://monitoring/archive --rebuild")]
pub struct TableArgs {
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Make the table, if there is none.
    #[arg(long, env = "CC_ARCHIVER_INIT", value_parser = switch)]
    pub init: bool,
    /// Write the table anew from all footers, whatever its log says: where it is damaged, or somebody else has written to it.
    #[arg(long, env = "CC_ARCHIVER_REBUILD", value_parser = switch)]
    pub rebuild: bool,
    /// Print what would be done; write nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,
    /// How it is seen from outside.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
}
