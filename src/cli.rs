//! The command line.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::{Depth, Encoder};
use crate::files::Shard;
use crate::schema::ValueEncoding;
use crate::store::Location;
use crate::telemetry::Subject;

mod doctor;
mod metrics;
mod s3;
mod values;

pub use doctor::DoctorArgs;
pub use metrics::MetricsArgs;
pub use s3::{Checksum, Rate, S3Args, Sse, Style, Tag};
pub use values::{Codec, Dates, Instant};
use values::{path, size, span, switch};

/// Archives ClusterCockpit's monitoring checkpoints as Parquet, in a directory or in S3, and never loses a sample.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
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
    /// JSON file with settings: its keys are the long names of options; variables and flags win over it.
    #[arg(long, global = true, value_name = "PATH", help_heading = "Configuration", env = "CC_ARCHIVER_CONFIG", value_parser = path())]
    pub config: Option<PathBuf>,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Archive the snapshots that are not in the archive yet. Nothing is deleted without --prune-after.
    ///
    /// Reads the snapshots that cc-backend's metric store left in CHECKPOINTS and writes their samples as Parquet below
    /// ARCHIVE, partitioned by cluster and UTC date. What the archive holds already is not written again, so this can be
    /// repeated at any time.
    #[command(after_long_help = "Examples:\n  \
        cc-archiver archive /var/lib/cc-backend/checkpoints ./archive --dry-run\n  \
        cc-archiver archive /var/lib/cc-backend/checkpoints ./archive\n  \
        AWS_ENDPOINT_URL=http://127.0.0.1:9000 cc-archiver archive checkpoints s3://monitoring/archive\n\n\
        Credentials for S3 come from the usual variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN),\n\
        or from the role of the pod, task or machine.")]
    Archive(Box<ArchiveArgs>),
    /// Delete local snapshots that are old enough and proven to be archived.
    ///
    /// A snapshot is deleted only if a later snapshot of its host can be read and is older than AGE, if its bytes on disk are those
    /// that were archived, and if every object with rows of it has been proven. Nothing else in the tree is touched.
    ///
    /// Choose AGE above the longest walltime of a job plus cc-backend's retention-in-memory: since July 2026 cc-backend keeps
    /// checkpoints beyond its retention for jobs that still run, and loads them when it starts. The age counts from the earliest of
    /// this machine's clock, the store's clock, and the last change of a snapshot plus an hour: a clock that jumps ahead deletes nothing.
    #[command(after_long_help = "Examples:\n  \
        cc-archiver prune /var/lib/cc-backend/checkpoints ./archive --older-than 7d --dry-run\n  \
        cc-archiver prune /var/lib/cc-backend/checkpoints s3://monitoring/archive --older-than 7d")]
    Prune(Box<PruneArgs>),
    /// Check an archive: its objects and ledgers, and on request every byte and every row.
    #[command(after_long_help = "Examples:\n  \
        cc-archiver verify ./archive\n  \
        cc-archiver verify s3://monitoring/archive --date 2026-03-01..2026-03-31 --read-data\n  \
        cc-archiver verify ./archive --read-data=5 --decode")]
    Verify(Box<VerifyArgs>),
    /// Check a tree and an archive before runs use them, and say what to correct.
    ///
    /// Reads the tree, writes four small objects to the archive, and removes them again if it may. Exit code 3 if there is an error, 0 if
    /// there are warnings only.
    #[command(after_long_help = "Examples:\n  \
        cc-archiver doctor /var/lib/cc-backend/checkpoints ./archive\n  \
        cc-archiver doctor --cc-backend-config /etc/cc-backend/config.json s3://monitoring/archive --prune-after 7d --every 6h")]
    Doctor(Box<DoctorArgs>),
    /// Show the value of each setting, and where it came from.
    ///
    /// Takes the options of all other commands, and does nothing else. A value comes from a flag, a variable, the file, cc-backend's
    /// configuration or the default. Secrets are not shown.
    #[command(after_long_help = "Examples:\n  \
        cc-archiver config --config /etc/cc-archiver.json\n  \
        cc-archiver config --cc-backend-config /etc/cc-backend/config.json --json")]
    Config,
}

impl Command {
    /// How its archive is reached, if it is in S3; None for a command that has no archive.
    pub fn s3_mut(&mut self) -> Option<&mut S3Args> {
        match self {
            Self::Archive(args) => Some(&mut args.s3),
            Self::Prune(args) => Some(&mut args.s3),
            Self::Verify(args) => Some(&mut args.s3),
            Self::Doctor(args) => Some(&mut args.s3),
            Self::Config => None,
        }
    }

    /// What the command works on, and how it is seen from outside; None if it only says something.
    pub fn subject(&self) -> Option<(Subject, &MetricsArgs)> {
        let (name, done, tree, archive, metrics, dry_run) = match self {
            Self::Archive(args) => ("archive", "archived", Some(&args.checkpoints), &args.archive, &args.metrics, args.dry_run),
            Self::Prune(args) => ("prune", "pruned", Some(&args.checkpoints), &args.archive, &args.metrics, args.dry_run),
            Self::Verify(args) => ("verify", "verified", args.checkpoints.as_ref(), &args.archive, &args.metrics, false),
            Self::Doctor(_) | Self::Config => return None,
        };
        Some((Subject { name, done, checkpoints: tree.cloned(), archive: archive.to_string(), dry_run }, metrics))
    }
}

/// How logs, progress and results are shown; for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print the result as one JSON object on stdout.
    #[arg(long, global = true, env = "CC_ARCHIVER_JSON", value_parser = switch)]
    pub json: bool,
    /// Format of log lines on stderr.
    #[arg(long, global = true, value_enum, default_value = "text", env = "CC_ARCHIVER_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Log more; twice for even more.
    #[arg(short, long, global = true, action = ArgAction::Count, env = "CC_ARCHIVER_VERBOSE")]
    pub verbose: u8,
    /// Log only errors, and print no table at the end; wins over --verbose.
    #[arg(short, long, global = true, env = "CC_ARCHIVER_QUIET", value_parser = switch)]
    pub quiet: bool,
    /// Show a progress bar; auto: if stderr is a terminal.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN", env = "CC_ARCHIVER_PROGRESS")]
    pub progress: When,
}

/// Forms of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// If stderr is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Arguments of `archive`.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// The checkpoint tree: cc-backend's metric-store.checkpoints.directory.
    #[arg(env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: PathBuf,
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,

    /// Which part of the tree.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Only snapshots that end before this time: RFC 3339, a date, unix seconds, or an age such as 48h.
    #[arg(long, value_name = "TIME", help_heading = "Selection", env = "CC_ARCHIVER_BEFORE", allow_hyphen_values = true)]
    pub before: Option<Instant>,
    /// A damaged file that is younger than this may still be being written, and waits for the next run.
    #[arg(long, value_name = "AGE", default_value = "5m", help_heading = "Selection", env = "CC_ARCHIVER_MIN_AGE", value_parser = span, allow_hyphen_values = true)]
    pub min_age: humantime::Duration,
    /// Print what would be done; touch nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,

    /// How each object is proven after its upload.
    #[arg(long, value_enum, value_name = "DEPTH", default_value = "footer", help_heading = "Proof and pruning", env = "CC_ARCHIVER_VERIFY")]
    pub verify: Depth,
    /// When all is archived, delete proven snapshots, if the next snapshot of the host is older than this: see prune.
    #[arg(long, value_name = "AGE", help_heading = "Proof and pruning", env = "CC_ARCHIVER_PRUNE_AFTER", value_parser = span, allow_hyphen_values = true)]
    pub prune_after: Option<humantime::Duration>,
    /// What is pruned.
    #[command(flatten)]
    pub prune: PruneRuleArgs,

    /// What a run may take.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// How it is seen from outside.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Lock this file instead of the tree, if the file system cannot lock directories.
    #[arg(long, value_name = "PATH", help_heading = "Resources", env = "CC_ARCHIVER_LOCK_FILE", value_parser = path())]
    pub lock_file: Option<PathBuf>,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,

    /// Compression: zstd(1..22), snappy or none.
    #[arg(long, value_name = "CODEC", default_value = "zstd(3)", help_heading = "Format", env = "CC_ARCHIVER_COMPRESSION")]
    pub compression: Codec,
    /// Size at which an object ends, with the host that reaches it.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", help_heading = "Format", env = "CC_ARCHIVER_OBJECT_SIZE", value_parser = size)]
    pub object_size: ByteSize,
    /// The most rows of a row group; most end sooner, with a host, a scope or a metric.
    #[arg(long, value_name = "N", default_value_t = 1 << 20, help_heading = "Format", env = "CC_ARCHIVER_ROW_GROUP_ROWS")]
    pub row_group_rows: usize,
    /// How values are encoded; plain is for Spark up to 4.2.
    #[arg(long, value_enum, value_name = "ENCODING", default_value = "byte-stream-split", help_heading = "Format", env = "CC_ARCHIVER_VALUE_ENCODING")]
    pub value_encoding: ValueEncoding,
    /// Who writes the objects; reference is slow, and there to compare with.
    #[arg(long, value_enum, default_value = "runs", help_heading = "Format", env = "CC_ARCHIVER_ENCODER")]
    pub encoder: Encoder,
    /// Also store the cluster as a column, for programs that read single files.
    #[arg(long, help_heading = "Format", env = "CC_ARCHIVER_WITH_CLUSTER_COLUMN", value_parser = switch)]
    pub with_cluster_column: bool,
}

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
    /// Only part I of N of the hosts, from 0/N on: shards can run at the same time, as no host is in two of them.
    #[arg(long, value_name = "I/N", env = "CC_ARCHIVER_SHARD")]
    pub shard: Option<Shard>,
    /// The same in an Indexed Job of Kubernetes, which says which part this is.
    #[arg(long, value_name = "N", conflicts_with = "shard", env = "CC_ARCHIVER_SHARDS")]
    pub shards: Option<u32>,
}

/// What a run may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Resources")]
pub struct ResourceArgs {
    /// Threads that compute [default: all cores]
    #[arg(long, value_name = "N", env = "CC_ARCHIVER_WORKERS")]
    pub workers: Option<usize>,
    /// Memory that a run may use; a host that needs more takes longer.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", env = "CC_ARCHIVER_MEMORY", value_parser = size)]
    pub memory: ByteSize,
}

/// What is pruned, of that which is old enough.
#[derive(Debug, Args)]
#[command(next_help_heading = "Proof and pruning")]
pub struct PruneRuleArgs {
    /// Also delete a host's newest snapshot, if it ends before AGE: for hosts that are gone for good.
    #[arg(long, env = "CC_ARCHIVER_INCLUDE_NEWEST", value_parser = switch)]
    pub include_newest: bool,
    /// Also delete snapshots with values that differ from the archived ones.
    #[arg(long, env = "CC_ARCHIVER_PRUNE_CONFLICTING", value_parser = switch)]
    pub prune_conflicting: bool,
    /// How objects that this run did not upload are proven before anything is deleted.
    #[arg(long, value_enum, value_name = "HOW", default_value = "read", env = "CC_ARCHIVER_PROOF")]
    pub proof: Proof,
    /// cc-backend's config.json: sets CHECKPOINTS, unless something else does; an AGE below its retention-in-memory is refused.
    #[arg(long, value_name = "PATH", env = "CC_ARCHIVER_CC_BACKEND_CONFIG", value_parser = path())]
    pub cc_backend_config: Option<PathBuf>,
}

/// How objects are proven before anything is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Proof {
    /// Read in full, against their digest.
    Read,
    /// Only by size and footer: for stores where reading costs too much.
    Footer,
}

/// Arguments of `prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The checkpoint tree: cc-backend's metric-store.checkpoints.directory.
    #[arg(env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: PathBuf,
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Delete a snapshot only if the next one of its host is older than this, such as 7d.
    #[arg(long, value_name = "AGE", env = "CC_ARCHIVER_OLDER_THAN", value_parser = span, allow_hyphen_values = true)]
    pub older_than: humantime::Duration,
    /// Prove everything, list what would go, delete nothing.
    #[arg(long, env = "CC_ARCHIVER_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,
    /// Which part of the tree.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// What is pruned.
    #[command(flatten)]
    pub rules: PruneRuleArgs,
    /// What a run may take.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// How it is seen from outside.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Lock this file instead of the tree, if the file system cannot lock directories.
    #[arg(long, value_name = "PATH", help_heading = "Resources", env = "CC_ARCHIVER_LOCK_FILE", value_parser = path())]
    pub lock_file: Option<PathBuf>,
    /// An archive in S3.
    #[command(flatten)]
    pub s3: S3Args,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A directory, file:///path or s3://bucket/prefix.
    #[arg(env = "CC_ARCHIVER_ARCHIVE")]
    pub archive: Location,
    /// Only this cluster; can be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Selection", env = "CC_ARCHIVER_CLUSTER")]
    pub cluster: Vec<String>,
    /// Only these dates, first and last included; either may be left out.
    #[arg(long, value_name = "FROM..TO", help_heading = "Selection", env = "CC_ARCHIVER_DATE")]
    pub date: Option<Dates>,
    /// Read all bytes of all objects and check their digests; with PERCENT only of so many of them, others on each day.
    #[arg(
        long,
        value_name = "PERCENT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "100",
        value_parser = clap::value_parser!(u8).range(1..=100),
        env = "CC_ARCHIVER_READ_DATA"
    )]
    pub read_data: Option<u8>,
    /// Decode all rows; check their number, their order, and that none stands twice in a partition.
    #[arg(long, env = "CC_ARCHIVER_DECODE", value_parser = switch)]
    pub decode: bool,
    /// Also say which snapshots of this checkpoint tree are archived.
    #[arg(long, value_name = "DIR", env = "CC_ARCHIVER_CHECKPOINTS", value_parser = path())]
    pub checkpoints: Option<PathBuf>,
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
        for command in cli.get_subcommands().filter(|c| c.get_name() != "help") {
            for arg in command.get_arguments().filter(|a| !["help", "version"].contains(&a.get_id().as_str())) {
                let expected = format!("CC_ARCHIVER_{}", arg.get_id().as_str().to_uppercase());
                assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(expected.as_str()));
            }
        }
    }
}
