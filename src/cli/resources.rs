//! What a run may take.

use bytesize::ByteSize;
use clap::Args;

use super::values::size;

/// What a run may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Resources")]
pub struct ResourceArgs {
    /// Threads that compute [default: all cores]
    #[arg(long, value_name = "N", env = "CC_ARCHIVER_WORKERS")]
    pub workers: Option<usize>,
    /// Memory to use; larger hosts take longer.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", env = "CC_ARCHIVER_MEMORY", value_parser = size)]
    pub memory: ByteSize,
}
