//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod archive;
mod compact;
mod completions;
mod coverage;
mod doctor;
mod expire;
mod format;
mod help;
mod import;
mod init;
mod inspect;
mod ls;
mod metrics;
mod objects;
mod output;
mod part;
mod prune;
mod resources;
mod restore;
mod s3;
mod selection;
mod table;
mod values;
mod verify;

pub use archive::ArchiveArgs;
pub use compact::CompactArgs;
pub use completions::{CompletionsArgs, ManArgs};
pub use coverage::CoverageArgs;
pub use doctor::DoctorArgs;
pub use expire::ExpireArgs;
pub use format::FormatArgs;
pub use help::shaped;
pub use import::ImportArgs;
pub use init::InitArgs;
pub use inspect::InspectArgs;
pub use ls::LsArgs;
pub use metrics::MetricsArgs;
pub use objects::ObjectArgs;
pub use output::OutputArgs;
pub use part::PartArgs;
pub use prune::{Proof, PruneArgs, PruneRuleArgs};
pub use resources::ResourceArgs;
pub use restore::RestoreArgs;
pub use s3::{Rate, S3Args, Sse};
pub use selection::SelectionArgs;
pub use table::TableArgs;
pub use values::{Codec, Instant};
pub use verify::VerifyArgs;

use values::path;

/// Archives ClusterCockpit's monitoring checkpoints as Parquet, in a directory or in S3, and never loses a sample.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = help::WIDTH,
    after_help = "Exit codes: 0 all is done; 1 the run has failed; 2 a wrong option or setting; 3 done, but a person must look: \
    snapshots were set aside or could not be pruned, or something was found; 4 another run is at work on the tree; 5 ended by a signal."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to say it.
    #[command(flatten)]
    pub output: OutputArgs,
    /// JSON file with settings; variables and flags win over it.
    #[arg(long, global = true, value_name = "PATH", help_heading = "Configuration", env = "CC_ARCHIVER_CONFIG", value_parser = path())]
    pub config: Option<PathBuf>,
}

/// Commands.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "what help says of a command stands over its options")]
pub enum Command {
    Init(Box<InitArgs>),
    Archive(Box<ArchiveArgs>),
    Import(Box<ImportArgs>),
    Prune(Box<PruneArgs>),
    Verify(Box<VerifyArgs>),
    Compact(Box<CompactArgs>),
    Inspect(Box<InspectArgs>),
    Table(Box<TableArgs>),
    Ls(Box<LsArgs>),
    Coverage(Box<CoverageArgs>),
    Restore(Box<RestoreArgs>),
    Expire(Box<ExpireArgs>),
    Doctor(Box<DoctorArgs>),
    /// Show the value of each setting, and where it came from.
    ///
    /// Takes the options of all other commands, and does nothing else. A value comes from a flag, a variable, the file, cc-backend's
    /// configuration or the default. Secrets are not shown.
    #[command(after_long_help = "Examples:\n  \
        cc-archiver config --config /etc/cc-archiver.json\n  \
        cc-archiver config --cc-backend-config /etc/cc-backend/config.json --json")]
    Config,
    Completions(CompletionsArgs),
    #[command(hide = true)]
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_an_environment_variable_of_its_name() {
        use clap::CommandFactory;
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands().filter(|c| !["help", "completions", "man"].contains(&c.get_name())) {
            for arg in command.get_arguments().filter(|a| !["help", "version"].contains(&a.get_id().as_str())) {
                let expected = format!("CC_ARCHIVER_{}", arg.get_id().as_str().to_uppercase());
                assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(expected.as_str()));
            }
        }
    }
}
