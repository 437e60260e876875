//! Which part of a tree.

use clap::Args;

use super::help::RARE;
use crate::files::Shard;

/// Which part of a tree.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub struct SelectionArgs {
    /// Only this cluster; can be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "CC_ARCHIVER_CLUSTER")]
    pub cluster: Vec<String>,
    /// Only hosts whose name matches, such as 'n01*'.
    #[arg(long, value_name = "GLOB", env = "CC_ARCHIVER_HOST")]
    pub host: Option<glob::Pattern>,
    /// Only part I of N of the hosts, from 0/N on.
    #[arg(long, value_name = "I/N", help_heading = RARE, env = "CC_ARCHIVER_SHARD")]
    pub shard: Option<Shard>,
    /// The same in an Indexed Job of Kubernetes, which says which part this is.
    #[arg(long, value_name = "N", help_heading = RARE, conflicts_with = "shard", env = "CC_ARCHIVER_SHARDS")]
    pub shards: Option<u32>,
}
