//! How a run is seen from outside.

use std::path::PathBuf;

use clap::Args;

use super::help::RARE;
use super::values::path;
use crate::settings::PushUrl;
use crate::telemetry::RunId;

/// How a run is seen from outside.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct MetricsArgs {
    /// Write metrics of the run to this file, for Prometheus; one file for each command.
    #[arg(long, value_name = "PATH", env = "CC_ARCHIVER_METRICS_FILE", value_parser = path())]
    pub metrics_file: Option<PathBuf>,
    /// Send the metrics to a Pushgateway (docs/metrics.md).
    #[arg(long, value_name = "URL", help_heading = RARE, env = "CC_ARCHIVER_METRICS_PUSH")]
    pub metrics_push: Option<PushUrl>,
    /// Name of the run [default: time and four random digits]
    #[arg(long, value_name = "ID", help_heading = RARE, env = "CC_ARCHIVER_RUN_ID")]
    pub run_id: Option<RunId>,
}
