//! Options of `restore`.

use std::path::PathBuf;

use clap::Args;

use super::metrics::MetricsArgs;
use super::resources::ResourceArgs;
use super::s3::S3Args;
use super::values::{Instant, path, span, switch};
use crate::files::Kind;
use crate::settings::Location;

/// Write checkpoints from archived rows, which cc-backend's metric store loads.
///
/// Below DIR come `<cluster>/<host>/<from>.bin` or `.json`, as in a checkpoint tree. A file that is there already is never overwritten: one with the
/// same bytes is passed over, so that a run which ended early can be repeated. --cluster may be left out if the archive has only one.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver restore ./archive ./restored --cluster fritz --from 2026-03-01 --to 2026-03-08 --dry-run\n  \
    cc-archiver restore ./archive ./restored --cluster fritz --from 2026-03-01 --to 2026-03-08\n  \
    cc-archiver restore s3://monitoring/archive ./restored --cluster fritz --host 'f01*' --from 2026-03-07 --format json")]
pub struct RestoreArgs {
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Where the checkpoints go: a directory that is empty, or that an earlier run of restore began.
    #[arg(env = "CC_ARCHIVER_DIR", value_parser = path())]
    pub dir: PathBuf,

    /// Only this cluster; can be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Selection", env = "CC_ARCHIVER_CLUSTER")]
    pub cluster: Vec<String>,
    /// Only hosts whose name matches, such as 'n01*'.
    #[arg(long, value_name = "GLOB", help_heading = "Selection", env = "CC_ARCHIVER_HOST")]
    pub host: Option<glob::Pattern>,
    /// Only samples from this time on: RFC 3339, a date, unix seconds, or an age such as 48h.
    #[arg(long, value_name = "TIME", help_heading = "Selection", env = "CC_ARCHIVER_FROM", allow_hyphen_values = true)]
    pub from: Option<Instant>,
    /// Only samples before this time.
    #[arg(long, value_name = "TIME", help_heading = "Selection", env = "CC_ARCHIVER_TO", allow_hyphen_values = true)]
    pub to: Option<Instant>,

    /// Format of the checkpoints: cc-backend's file-format "wal" has .bin, "json" has .json.
    #[arg(long, value_enum, default_value = "bin", env = "CC_ARCHIVER_FORMAT")]
    pub format: Kind,
    /// What one file covers: cc-backend's checkpoint-interval, or another part of a day.
    #[arg(long, visible_alias = "every", value_name = "DURATION", default_value = "12h", env = "CC_ARCHIVER_INTERVAL", value_parser = span, allow_hyphen_values = true)]
    pub interval: humantime::Duration,
    /// Also write to a directory that holds other files; they stay as they are.
    #[arg(long, env = "CC_ARCHIVER_FORCE", value_parser = switch)]
    pub force: bool,
    /// Print what would be done; touch nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,

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
