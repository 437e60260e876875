//! The command line, parsed on top of what lies below it.

use std::ffi::OsString;

use clap::FromArgMatches;
use clap::error::ErrorKind;
use serde_json::Value;

use super::aws::AwsVariables;
use super::effective::{self, Effective};
use super::known;
use super::layers::Layers;
use super::slips::{self, Variables};
use crate::cli::{self, Cli};
use crate::error::Result;

/// A command line, and what does not stand on it.
#[derive(Debug)]
pub struct Loaded {
    /// What is to be done, and how.
    pub cli: Cli,
    /// What a person should know, to be logged when logs are set up.
    pub warnings: Vec<String>,
    /// Settings of the file that a variable wins over, to be logged as well.
    pub overruled: Vec<String>,
    /// What says how S3 is reached, beside the options.
    pub s3: S3Environment,
    /// For `init`: the options for S3 that are set, as they stand in a file.
    pub given: Vec<(String, Value)>,
    /// All settings, if they are asked for.
    pub effective: Option<Effective>,
}

/// Reads the file that is named, if one is, and parses the command line on top of it. `variables` are those of this program, `aws` those
/// of S3.
pub(super) fn load(args: Vec<OsString>, variables: &Variables, mut aws: AwsVariables) -> Result<Loaded, clap::Error> {
    let command = known::command();
    let layers =
        Layers::new(&command, &args, |name| variables.get(name).cloned()).map_err(|e| clap::Error::raw(ErrorKind::ValueValidation, format!("{e}\n")))?;
    let mut command = cli::shaped(layers.under(command), &args);
    let parsed = command.try_get_matches_from_mut(args.clone());
    let mut matches = parsed.map_err(|e| slips::said(e, &command, &layers.command, &args, variables))?;
    let below = matches.subcommand().map(|(_, matches)| matches);
    let effective = below.filter(|_| layers.command == known::CONFIG).map(|matches| Effective::new(matches, &layers, &aws));
    let given = below.filter(|_| layers.command == known::INIT).map(effective::given_for_s3).unwrap_or_default();
    let overruled = below.map(|matches| layers.overruled(&command, matches)).unwrap_or_default();
    let typed = below.and_then(slips::typed_for_s3);
    let cli = Cli::from_arg_matches_mut(&mut matches).map_err(|e| e.format(&mut command))?;
    let file = layers.file.unwrap_or_default();
    aws.fill_in(&file.keys);
    let warnings = file.warnings.into_iter().chain(slips::unknown(variables)).collect();
    Ok(Loaded { cli, warnings, overruled, s3: S3Environment { variables: aws, typed }, given, effective })
}

/// What says how S3 is reached, beside the options.
#[derive(Debug, Clone, Default)]
pub struct S3Environment {
    /// The `AWS_*` variables, and behind them the keys of the file.
    pub variables: AwsVariables,
    /// An option for S3 that stands on the command line: with an archive in a directory it is refused.
    pub typed: Option<String>,
}
