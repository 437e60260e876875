//! Options of `compact`.

use bytesize::ByteSize;
use clap::Args;

use super::format::FormatArgs;
use super::help::RARE_FORMAT;
use super::metrics::MetricsArgs;
use super::part::PartArgs;
use super::resources::ResourceArgs;
use super::s3::S3Args;
use super::values::{size, span, switch};
use crate::settings::Location;

/// Join the objects of each date, and make rows that stand twice one: what was joined is deleted.
///
/// Of the objects of a cluster and date that are old enough one is made, which is read back and compared with them row by row. Only then
/// are they deleted. Of different values of one instant the one stays that was archived first; the report names the others.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver compact ./archive --dry-run\n  \
    cc-archiver compact s3://monitoring/archive --date ..2026-03-31\n  \
    cc-archiver compact s3://monitoring/archive --min-objects 4")]
pub struct CompactArgs {
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Which part of it.
    #[command(flatten)]
    pub part: PartArgs,
    /// Join so many objects of a date at least; rows that stand twice are always made one.
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Selection", env = "CC_ARCHIVER_MIN_OBJECTS")]
    pub min_objects: usize,
    /// Leave dates alone that were written to within this time; 1d is the least.
    #[arg(long, value_name = "AGE", default_value = "1d", help_heading = "Selection", env = "CC_ARCHIVER_MIN_OBJECT_AGE", value_parser = span, allow_hyphen_values = true)]
    pub min_object_age: humantime::Duration,
    /// Join no more than so many bytes into one object.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", help_heading = RARE_FORMAT, env = "CC_ARCHIVER_MAX_SIZE", value_parser = size)]
    pub max_size: ByteSize,
    /// Say what would be done; touch nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,
    /// How objects are written.
    #[command(flatten)]
    pub format: FormatArgs,
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
