//! Options of `init`.

use std::path::PathBuf;

use clap::Args;

use super::s3::S3Args;
use super::values::{path, switch};
use crate::settings::Location;

/// Set up: write the configuration file, and check that runs will work.
///
/// Finds cc-backend's configuration and its checkpoint tree, asks for what it cannot find, and writes the file that --config names,
/// /etc/cc-archiver/config.json by default. It never overwrites one. Keys are taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or asked for.
/// Then it runs doctor and `archive --dry-run` with the rights of the service, and says what is left to do. Nothing is archived.
///
/// Exit code 3 if doctor has found an error: the file is written, and its path is said.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    sudo cc-archiver init\n  \
    cc-archiver init ./archive --checkpoints /var/lib/cc-backend/checkpoints --config ./cc-archiver.json\n  \
    sudo -E cc-archiver init --non-interactive s3://monitoring/archive --endpoint https://minio.example.org:9000")]
pub struct InitArgs {
    /// A directory, file:///path or s3://bucket/prefix [default: it is asked for]
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Option<Location>,
    /// The checkpoint tree [default: as cc-backend's configuration has it]
    #[arg(long, value_name = "DIR", env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: Option<PathBuf>,
    /// cc-backend's config.json [default: that of a cc-backend that runs, else in the usual folders]
    #[arg(long, value_name = "PATH", env = "CC_ARCHIVER_CC_BACKEND_CONFIG", value_parser = path())]
    pub cc_backend_config: Option<PathBuf>,
    /// Ask nothing: what is missing and cannot be found is an error.
    #[arg(long, env = "CC_ARCHIVER_NON_INTERACTIVE", value_parser = switch)]
    pub non_interactive: bool,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
}
