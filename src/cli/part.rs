//! Which part of an archive.

use clap::Args;

use crate::settings::Dates;

/// Which part of an archive.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub struct PartArgs {
    /// Only this cluster; can be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "CC_ARCHIVER_CLUSTER")]
    pub cluster: Vec<String>,
    /// Only these dates, first and last included; either may be left out.
    #[arg(long, value_name = "FROM..TO", env = "CC_ARCHIVER_DATE")]
    pub date: Option<Dates>,
}
