//! Options of `archive`.

use std::path::PathBuf;

use clap::Args;

use super::help::RARE;
use super::metrics::MetricsArgs;
use super::objects::ObjectArgs;
use super::prune::PruneRuleArgs;
use super::resources::ResourceArgs;
use super::s3::S3Args;
use super::selection::SelectionArgs;
use super::values::{Instant, path, span, switch};
use crate::settings::{Dates, Location, Moved, WalRecords};

/// Archive the snapshots that are not in the archive yet. Nothing is deleted without --prune-after.
///
/// Reads the snapshots that cc-backend's metric store left in CHECKPOINTS and writes their samples as Parquet below
/// ARCHIVE, partitioned by cluster and UTC date. What the archive holds already is not written again, so this can be
/// repeated at any time.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver archive /var/lib/cc-backend/checkpoints ./archive --dry-run\n  \
    cc-archiver archive /var/lib/cc-backend/checkpoints ./archive\n  \
    AWS_ENDPOINT_URL=http://127.0.0.1:9000 cc-archiver archive checkpoints s3://monitoring/archive\n\n\
    Credentials for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or the role of pod, task or machine.")]
pub struct ArchiveArgs {
    /// The checkpoint tree: cc-backend's metric-store.checkpoints.directory.
    #[arg(env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: PathBuf,
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,

    /// Print what would be done; touch nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,
    /// Which part of the tree.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Only snapshots that end before this time: RFC 3339, a date, unix seconds, or an age such as 48h.
    #[arg(long, value_name = "TIME", help_heading = "Selection", env = "CC_ARCHIVER_BEFORE", allow_hyphen_values = true)]
    pub before: Option<Instant>,
    /// Only these dates, first and last included; either may be left out.
    ///
    /// A snapshot is of the date of its name. It is archived on all dates that it feeds.
    #[arg(long, value_name = "FROM..TO", help_heading = "Selection", env = "CC_ARCHIVER_DATE")]
    pub date: Option<Dates>,
    /// Write the newest dates first, and go back in time.
    #[arg(long, help_heading = "Selection", env = "CC_ARCHIVER_NEWEST_FIRST", value_parser = switch)]
    pub newest_first: bool,
    /// New snapshots whose bytes are archived as another host's, as after a host was renamed.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "archive", help_heading = RARE, env = "CC_ARCHIVER_MOVED")]
    pub moved: Moved,
    /// Damaged files that are younger may still be being written, and wait.
    #[arg(long, value_name = "AGE", default_value = "5m", help_heading = RARE, env = "CC_ARCHIVER_MIN_AGE", value_parser = span, allow_hyphen_values = true)]
    pub min_age: humantime::Duration,

    /// Hold each current.wal in this directory, outside of the tree, and take its samples that no snapshot has.
    #[arg(long, value_name = "DIR", help_heading = "Logs and pruning", env = "CC_ARCHIVER_WAL_HOLD", value_parser = path())]
    pub wal_hold: Option<PathBuf>,
    /// Also take the samples of all current.wal: only if the store is gone for good.
    #[arg(long, value_enum, value_name = "RECORDS", help_heading = RARE, env = "CC_ARCHIVER_WAL")]
    pub wal: Option<WalRecords>,

    /// How objects are written and proven.
    #[command(flatten)]
    pub objects: ObjectArgs,
    /// When all is archived, delete proven snapshots, if the next snapshot of the host is older than this: see prune.
    #[arg(long, value_name = "AGE", help_heading = "Logs and pruning", env = "CC_ARCHIVER_PRUNE_AFTER", value_parser = span, allow_hyphen_values = true)]
    pub prune_after: Option<humantime::Duration>,
    /// What is pruned.
    #[command(flatten)]
    pub prune: PruneRuleArgs,

    /// What a run may take.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// How it is seen from outside.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Lock this file, where directories cannot be locked.
    #[arg(long, value_name = "PATH", help_heading = RARE, env = "CC_ARCHIVER_LOCK_FILE", value_parser = path())]
    pub lock_file: Option<PathBuf>,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
}
