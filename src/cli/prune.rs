//! Options of `prune`, and of what `archive` prunes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::help::RARE;
use super::metrics::MetricsArgs;
use super::resources::ResourceArgs;
use super::s3::S3Args;
use super::selection::SelectionArgs;
use super::values::{path, span, switch};
use crate::settings::Location;

/// Delete local snapshots that are old enough and proven to be archived.
///
/// A snapshot is deleted only if a later snapshot of its host can be read and is older than AGE, if its bytes on disk are those
/// that were archived, and if every object with rows of it has been proven. Nothing else in the tree is touched.
///
/// Choose AGE above the longest walltime of a job plus cc-backend's retention-in-memory: since July 2026 cc-backend keeps
/// checkpoints beyond its retention for jobs that still run, and loads them when it starts. The age counts from the earliest of
/// this machine's clock, the store's clock, and the last change of a snapshot plus an hour: a clock that jumps ahead deletes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver prune /var/lib/cc-backend/checkpoints ./archive --older-than 7d --dry-run\n  \
    cc-archiver prune /var/lib/cc-backend/checkpoints s3://monitoring/archive --older-than 7d")]
pub struct PruneArgs {
    /// The checkpoint tree: cc-backend's metric-store.checkpoints.directory.
    #[arg(env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: PathBuf,
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Delete a snapshot only if the next one of its host is older than this, such as 7d.
    #[arg(long, value_name = "AGE", env = "CC_ARCHIVER_OLDER_THAN", value_parser = span, allow_hyphen_values = true)]
    pub older_than: humantime::Duration,
    /// Prove everything, list what would go, delete nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,
    /// Which part of the tree.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// What is pruned.
    #[command(flatten)]
    pub rules: PruneRuleArgs,
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

/// What is pruned, of that which is old enough.
#[derive(Debug, Args)]
#[command(next_help_heading = RARE)]
pub struct PruneRuleArgs {
    /// Also delete the newest snapshot of hosts that are gone: if it ends before AGE.
    #[arg(long, env = "CC_ARCHIVER_INCLUDE_NEWEST", value_parser = switch)]
    pub include_newest: bool,
    /// Also delete snapshots with values that differ from the archived ones.
    #[arg(long, env = "CC_ARCHIVER_PRUNE_CONFLICTING", value_parser = switch)]
    pub prune_conflicting: bool,
    /// How objects of earlier runs are proven before deleting.
    #[arg(long, value_enum, value_name = "HOW", default_value = "read", env = "CC_ARCHIVER_PROOF")]
    pub proof: Proof,
    /// cc-backend's config.json: sets CHECKPOINTS, unless something else does; an AGE below its retention-in-memory is refused.
    #[arg(long, value_name = "PATH", help_heading = "Configuration", env = "CC_ARCHIVER_CC_BACKEND_CONFIG", value_parser = path())]
    pub cc_backend_config: Option<PathBuf>,
}

/// How objects are proven before anything is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Proof {
    /// Read in full, against their digest.
    Read,
    /// Only by size and footer: for stores where reading costs too much.
    Footer,
}
