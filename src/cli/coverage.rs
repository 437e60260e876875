//! Options of `coverage`.

use std::path::PathBuf;

use clap::Args;

use super::metrics::MetricsArgs;
use super::part::PartArgs;
use super::resources::ResourceArgs;
use super::s3::S3Args;
use super::values::{path, switch};
use crate::settings::Location;

/// Say which host has data for which hour: gaps, late and silent hosts, and with --checkpoints what is not archived.
///
/// Each hour of a host is compared with what it usually has in an hour, and with what its neighbours have in this one. Hours are UTC. Without --date
/// the newest 14 dates of each cluster are shown; hosts that have nothing in them are not known, but to --checkpoints.
///
/// The exit code is 0 whatever hosts have missed, as some are always in repair; 3 if an object cannot be read, or nothing is there of what was asked for.
/// With --check it is 3 too if a host has a gap, is late or silent or has no sample, or if a snapshot on disk is not archived.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver coverage ./archive\n  \
    cc-archiver coverage s3://monitoring/archive --cluster fritz --checkpoints /var/lib/cc-backend/checkpoints\n  \
    cc-archiver coverage ./archive --date 2026-03-01..2026-03-31 --exact --html coverage.html\n  \
    cc-archiver coverage ./archive --check --quiet || mail -s 'hosts without data' root < /dev/null")]
pub struct CoverageArgs {
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Also look at this checkpoint tree: what of it is not archived, and which hosts never were.
    #[arg(long, value_name = "DIR", env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: Option<PathBuf>,
    /// Read the rows, not only the ledgers: then gaps inside of a snapshot are seen, and how complete each metric is.
    #[arg(long, env = "CC_ARCHIVER_EXACT", value_parser = switch)]
    pub exact: bool,
    /// A line for each host, in the order of their names; else for those with most missing.
    #[arg(long, env = "CC_ARCHIVER_ALL", value_parser = switch)]
    pub all: bool,
    /// Exit with 3 if a host has a gap, is late or silent or has no sample, or if a snapshot on disk is not archived.
    #[arg(long, env = "CC_ARCHIVER_CHECK", value_parser = switch)]
    pub check: bool,
    /// Write a page with a map of all hosts and hours to this file; - is stdout.
    #[arg(long, value_name = "FILE", env = "CC_ARCHIVER_HTML", value_parser = path())]
    pub html: Option<PathBuf>,
    /// Which part of it.
    #[command(flatten)]
    pub part: PartArgs,
    /// Only hosts whose name matches, such as 'n01*'.
    #[arg(long, value_name = "GLOB", env = "CC_ARCHIVER_HOST", help_heading = "Selection")]
    pub host: Option<glob::Pattern>,
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
