//! How a run is seen from outside.

use std::path::PathBuf;

use clap::Args;

use super::values::path;
use crate::settings::PushUrl;
use crate::telemetry::RunId;

/// How a run is seen from outside.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Write the run's metrics to this file, in Prometheus' text format (docs/metrics.md); one file for each command.
    #[arg(long, value_name = "PATH", env = "CC_ARCHIVER_METRICS_FILE", value_parser = path())]
    pub metrics_file: Option<PathBuf>,
    /// Send the run's metrics to a Pushgateway; a URL without a path gets /metrics/job/cc-archiver/instance/HOST/command/COMMAND.
    #[arg(long, value_name = "URL", env = "CC_ARCHIVER_METRICS_PUSH")]
    pub metrics_push: Option<PushUrl>,
    /// Name of the run in logs, result and metrics [default: time and four random digits]
    #[arg(long, value_name = "ID", env = "CC_ARCHIVER_RUN_ID")]
    pub run_id: Option<RunId>,
}
