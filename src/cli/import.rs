//! Options of `import`.

use std::path::PathBuf;

use clap::Args;

use super::metrics::MetricsArgs;
use super::objects::ObjectArgs;
use super::resources::ResourceArgs;
use super::s3::S3Args;
use super::selection::SelectionArgs;
use super::values::{path, switch};
use crate::settings::Location;

/// Import the Parquet files of cc-backend's own archiver. They stay as they are.
///
/// FILES are files, or folders such as cc-backend's cleanup.directory. Their rows come into ARCHIVE, partitioned by cluster and UTC date, each once; what
/// the archive has already, of checkpoints or of other files, stays. So this can be repeated at any time, also with copies of the files. These files do
/// not say where below its host a socket or a core was: docs/import.md has what that means.
#[derive(Debug, Args)]
#[command(
    override_usage = "cc-archiver import [OPTIONS] <FILES>... <ARCHIVE>",
    after_long_help = "Examples:\n  \
    cc-archiver import /var/lib/cc-backend/cleanup ./archive --dry-run\n  \
    cc-archiver import /var/lib/cc-backend/cleanup s3://monitoring/archive\n  \
    cc-archiver import fritz/1772323200.parquet fritz/1772366400.parquet ./archive"
)]
pub struct ImportArgs {
    /// Parquet files, and folders with such files; the last one is ARCHIVE, if nothing else names it.
    #[arg(required = true, num_args = 1.., env = "CC_ARCHIVER_FILES", value_parser = path())]
    pub files: Vec<PathBuf>,
    /// The archive, instead of the last argument.
    #[arg(long, value_name = "ARCHIVE", env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Option<Location>,

    /// Print what would be done; touch nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,
    /// Which part of the files.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// What a run may take.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// How it is seen from outside.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
    /// How objects are written and proven.
    #[command(flatten)]
    pub objects: ObjectArgs,
}
