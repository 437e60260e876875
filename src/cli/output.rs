//! How logs, progress and results are shown.

use clap::{ArgAction, Args};

use super::help::RARE;
use super::values::switch;
use crate::settings::{LogFormat, When};

/// How logs, progress and results are shown; for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print the result as one JSON object on stdout.
    #[arg(long, global = true, env = "CC_ARCHIVER_JSON", value_parser = switch)]
    pub json: bool,
    /// Format of log lines on stderr.
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT", help_heading = RARE, env = "CC_ARCHIVER_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Log more; twice for even more.
    #[arg(short, long, global = true, action = ArgAction::Count, env = "CC_ARCHIVER_VERBOSE")]
    pub verbose: u8,
    /// Print only warnings and errors: nothing if all is well; wins over --verbose.
    #[arg(short, long, global = true, env = "CC_ARCHIVER_QUIET", value_parser = switch)]
    pub quiet: bool,
    /// Show a progress bar.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN", help_heading = RARE, env = "CC_ARCHIVER_PROGRESS")]
    pub progress: When,
}
