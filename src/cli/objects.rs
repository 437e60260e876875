//! How objects are written and proven, where they are made of what is on disk.

use bytesize::ByteSize;
use clap::Args;

use super::format::FormatArgs;
use super::help::{RARE, RARE_FORMAT};
use super::values::{size, switch};
use crate::settings::Depth;

/// How objects are written and proven.
#[derive(Debug, Args)]
pub struct ObjectArgs {
    /// How each object is proven after its upload.
    #[arg(long, value_enum, value_name = "DEPTH", default_value = "footer", help_heading = RARE, env = "CC_ARCHIVER_VERIFY")]
    pub verify: Depth,
    /// Size at which an object ends, with the host that reaches it.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", help_heading = RARE_FORMAT, env = "CC_ARCHIVER_OBJECT_SIZE", value_parser = size)]
    pub object_size: ByteSize,
    /// How objects are written.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Also store the cluster as a column, for readers of single files.
    #[arg(long, help_heading = RARE_FORMAT, env = "CC_ARCHIVER_WITH_CLUSTER_COLUMN", value_parser = switch)]
    pub with_cluster_column: bool,
}
