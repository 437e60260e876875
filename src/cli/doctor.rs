//! Options of `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::help::RARE;
use super::s3::S3Args;
use super::values::{path, span};
use crate::settings::Location;

/// Check a tree and an archive before runs use them, and say what to correct.
///
/// Reads the tree, writes four small objects to the archive, and removes them again if it may. Exit code 3 if there is an error, 0 if
/// there are warnings only.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver doctor /var/lib/cc-backend/checkpoints ./archive\n  \
    cc-archiver doctor --cc-backend-config /etc/cc-backend/config.json s3://monitoring/archive --prune-after 7d --every 6h")]
pub struct DoctorArgs {
    /// The checkpoint tree: cc-backend's metric-store.checkpoints.directory.
    #[arg(env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: PathBuf,
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// How often archive runs.
    #[arg(long, value_name = "DURATION", default_value = "6h", env = "CC_ARCHIVER_EVERY", value_parser = span, allow_hyphen_values = true)]
    pub every: humantime::Duration,
    /// Also check that snapshots may be deleted, and that cc-backend does not need them at this age.
    #[arg(long, value_name = "AGE", env = "CC_ARCHIVER_PRUNE_AFTER", value_parser = span, allow_hyphen_values = true)]
    pub prune_after: Option<humantime::Duration>,
    /// Where archive holds logs: say how it holds them, and what is held.
    #[arg(long, value_name = "DIR", env = "CC_ARCHIVER_WAL_HOLD", value_parser = path())]
    pub wal_hold: Option<PathBuf>,
    /// cc-backend's config.json: sets CHECKPOINTS, and says when cc-backend removes snapshots.
    #[arg(long, value_name = "PATH", env = "CC_ARCHIVER_CC_BACKEND_CONFIG", value_parser = path())]
    pub cc_backend_config: Option<PathBuf>,
    /// Lock this file, where directories cannot be locked.
    #[arg(long, value_name = "PATH", help_heading = RARE, env = "CC_ARCHIVER_LOCK_FILE", value_parser = path())]
    pub lock_file: Option<PathBuf>,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
}
