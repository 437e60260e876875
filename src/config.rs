//! Validated settings. The only place that reads the environment (clap reads the `CC_ARCHIVER_*` variables for it).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{ArchiveArgs, Dates, MetricsArgs, Proof, PruneArgs, PruneRuleArgs, ResourceArgs, S3Args, SelectionArgs, VerifyArgs};
use crate::error::{Error, Escaped, Result};
use crate::files::{Filter, Shard};
use crate::schema::Layout;
use crate::store::{Location, PART_SIZE};
use crate::telemetry::PushUrl;

mod aws;
mod cc_backend;
mod doctor;
mod effective;
mod file;
mod known;
mod layers;
mod places;
mod s3;
mod slips;

pub use aws::AwsVariables;
pub use cc_backend::{CcBackend, Cleanup, Format};
pub use doctor::{DoctorSettings, Wishes};
pub use effective::Effective;
pub use known::{Kind, SECRETS, Setting, command, settings};
pub use layers::Loaded;
use places::{check_archive, check_lies_outside, check_places, resolved};
pub use s3::{Credentials, Encryption, Endpoint, S3Settings, Secret};

/// The least memory that a run can do with: one open object and one part in flight.
const MIN_MEMORY: u64 = 64 << 20;

/// Memory of one that reads an object: the range that is hashed, those that are fetched ahead, and a part to spare.
const READER: u64 = 32 << 20;

/// Who writes the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoder {
    /// Key columns as runs: the fast one.
    Runs,
    /// AsyncArrowWriter: slow, to compare with.
    Reference,
}

/// How much of an object is read to prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Depth {
    /// Its size, ETag and footer.
    Footer,
    /// All of it, against its digest.
    Full,
}

/// Which snapshots are pruned, if they are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneRules {
    /// The successor must begin before this age.
    pub older_than: Duration,
    /// Also a host's newest one.
    pub include_newest: bool,
    /// Also those that contradict archived values.
    pub conflicting: bool,
    /// How objects that the run did not upload are proven.
    pub depth: Depth,
}

/// What a run of `archive` does, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The checkpoint tree.
    pub checkpoints: PathBuf,
    /// The archive.
    pub archive: Location,
    /// Which part of the tree.
    pub filter: Filter,
    /// Only snapshots that end at or before this unix time in s.
    pub before: Option<i64>,
    /// A younger file that does not decode may still be being written.
    pub min_age: Duration,
    /// Print the plan and touch nothing.
    pub dry_run: bool,
    /// CPU workers.
    pub workers: usize,
    /// Bytes for what is in flight.
    pub memory: u64,
    /// Where values are put that there is no room for in memory.
    pub spool: PathBuf,
    /// How objects are written.
    pub layout: Layout,
    /// Who writes the objects.
    pub encoder: Encoder,
    /// How objects are proven after their upload.
    pub verify: Depth,
    /// What is pruned when all is archived.
    pub prune_after: Option<PruneRules>,
    /// Locked instead of the tree.
    pub lock_file: Option<PathBuf>,
    /// The age at which cc-backend takes snapshots away, if its configuration is known and says so.
    pub removes_after: Option<Duration>,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

impl Settings {
    /// Checks what the command line says.
    pub fn new(args: ArchiveArgs) -> Result<Self> {
        #[cfg(feature = "fail-points")]
        if let Ok(point) = std::env::var("CC_ARCHIVER_FAIL_POINT") {
            crate::fail_point::arm(&point);
        }
        let (workers, memory) = checked(&args.resources)?;
        let s3 = s3_settings(&args.archive, &args.s3)?;
        if let Some(s3) = &s3
            && (s3.parts * PART_SIZE) as u64 > memory / 2
        {
            return Err(Error::Usage(format!("--parts {} of 8 MiB take more than half of --memory {}", s3.parts, args.resources.memory)));
        }
        if args.object_size.as_u64() == 0 || args.row_group_rows == 0 {
            return Err(Error::Usage("--object-size and --row-group-rows must be positive".into()));
        }
        let layout = Layout {
            compression: args.compression.0,
            value_encoding: args.value_encoding,
            cluster_column: args.with_cluster_column,
            row_group_rows: args.row_group_rows,
            object_size: args.object_size.as_u64(),
        };
        let settings = Self {
            checkpoints: args.checkpoints,
            archive: args.archive,
            filter: filter(args.selection)?,
            before: args.before.map(|time| time.0),
            min_age: args.min_age.into(),
            dry_run: args.dry_run,
            workers,
            memory,
            verify: args.verify,
            prune_after: args.prune_after.map(|age| PruneRules::new("--prune-after", age.into(), &args.prune)).transpose()?,
            spool: spool_folder(),
            layout,
            encoder: args.encoder,
            lock_file: args.lock_file,
            removes_after: args.prune.cc_backend_config.as_deref().and_then(removes_after),
            s3,
        };
        check_places(&settings.checkpoints, &settings.archive, settings.lock_file.as_deref())?;
        Ok(settings)
    }
}

/// Where values go that there is no room for in memory: `TMPDIR`, else a folder that mostly is on a disk.
fn spool_folder() -> PathBuf {
    const ON_DISK: &str = "/var/tmp";
    let named = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    named.unwrap_or_else(|| if Path::new(ON_DISK).is_dir() { ON_DISK.into() } else { "/tmp".into() })
}

/// What a run of `prune` does, checked.
#[derive(Debug, Clone)]
pub struct PruneSettings {
    /// The checkpoint tree.
    pub checkpoints: PathBuf,
    /// The archive.
    pub archive: Location,
    /// Which part of the tree.
    pub filter: Filter,
    /// What is pruned.
    pub rules: PruneRules,
    /// Delete nothing.
    pub dry_run: bool,
    /// Objects and files that are read at a time.
    pub workers: usize,
    /// Locked instead of the tree.
    pub lock_file: Option<PathBuf>,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

impl PruneSettings {
    /// Checks what the command line says.
    pub fn new(args: PruneArgs) -> Result<Self> {
        let workers = readers(&args.resources)?;
        let s3 = s3_settings(&args.archive, &args.s3)?;
        let settings = Self {
            checkpoints: args.checkpoints,
            archive: args.archive,
            filter: filter(args.selection)?,
            rules: PruneRules::new("--older-than", args.older_than.into(), &args.rules)?,
            dry_run: args.dry_run,
            workers,
            lock_file: args.lock_file,
            s3,
        };
        check_places(&settings.checkpoints, &settings.archive, settings.lock_file.as_deref())?;
        Ok(settings)
    }
}

/// What a run of `verify` does, checked.
#[derive(Debug, Clone)]
pub struct VerifySettings {
    /// The archive.
    pub archive: Location,
    /// Only these clusters; all if empty.
    pub clusters: Vec<String>,
    /// Only these dates.
    pub dates: Option<Dates>,
    /// How many percent of the objects are read in full.
    pub read_data: u8,
    /// Whether rows are decoded.
    pub decode: bool,
    /// A tree whose snapshots are looked up.
    pub checkpoints: Option<PathBuf>,
    /// Objects and files that are read at a time.
    pub workers: usize,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

impl VerifySettings {
    /// Checks what the command line says.
    pub fn new(args: VerifyArgs) -> Result<Self> {
        let workers = readers(&args.resources)?;
        if let Location::Directory(path) = &args.archive
            && !path.is_dir()
        {
            return Err(Error::Usage(format!("there is no archive at {}", Escaped(path))));
        }
        check_archive(&args.archive, "verify takes the archive, and the tree as --checkpoints")?;
        Ok(Self {
            s3: s3_settings(&args.archive, &args.s3)?,
            archive: args.archive,
            clusters: args.cluster,
            dates: args.date,
            read_data: args.read_data.unwrap_or(0),
            decode: args.decode,
            checkpoints: args.checkpoints,
            workers,
        })
    }
}

/// Where a run's metrics go, checked.
#[derive(Debug, Clone)]
pub struct MetricsSettings {
    /// A file.
    pub file: Option<PathBuf>,
    /// A Pushgateway.
    pub push: Option<PushUrl>,
}

impl MetricsSettings {
    /// Checks what the command line says; `checkpoints` is the tree that is left alone.
    pub fn new(args: &MetricsArgs, checkpoints: Option<&Path>) -> Result<Self> {
        if let (Some(file), Some(tree)) = (&args.metrics_file, checkpoints) {
            check_lies_outside(&resolved(tree), tree, "metrics file", file)?;
        }
        if let Some(file) = args.metrics_file.as_ref().filter(|file| file.exists() && !file.is_file()) {
            return Err(Error::Usage(format!("--metrics-file {} is no regular file\n  hint: it is read and replaced at the end of each run", Escaped(file))));
        }
        Ok(Self { file: args.metrics_file.clone(), push: args.metrics_push.clone() })
    }
}

/// Only for what is said of a run: without it the run does the same.
fn removes_after(config: &Path) -> Option<Duration> {
    CcBackend::read(config).inspect_err(|e| tracing::warn!("when cc-backend removes snapshots is not known: {e}")).ok()?.removes_after
}

/// What cc-backend keeps in memory where its configuration is not known: an age below it is worth a warning.
const USUAL_RETENTION: Duration = Duration::from_secs(48 * 3_600);

impl PruneRules {
    fn new(option: &str, older_than: Duration, args: &PruneRuleArgs) -> Result<Self> {
        match &args.cc_backend_config {
            Some(path) => {
                let retention = CcBackend::read(path)?.retention;
                let retention = retention.ok_or_else(|| {
                    Error::Usage(format!("{} has no metric-store.retention-in-memory\n  hint: leave --cc-backend-config out to go without", Escaped(path)))
                })?;
                if older_than < retention {
                    return Err(Error::Usage(format!(
                        "{option} {} is less than the {} that cc-backend keeps in memory by {}; after a restart it would miss what was pruned\n  hint: prune after the retention, or later",
                        humantime::format_duration(older_than),
                        humantime::format_duration(retention),
                        Escaped(path)
                    )));
                }
            }
            None if older_than < USUAL_RETENTION => tracing::warn!(
                "{option} {} may be less than cc-backend's retention-in-memory: after a restart it would miss what was pruned; --cc-backend-config makes sure",
                humantime::format_duration(older_than)
            ),
            None => {}
        }
        let depth = match args.proof {
            Proof::Read => Depth::Full,
            Proof::Footer => Depth::Footer,
        };
        Ok(Self { older_than, include_newest: args.include_newest, conflicting: args.prune_conflicting, depth })
    }
}

/// Set by Kubernetes in the containers of an Indexed Job.
const COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";

fn filter(args: SelectionArgs) -> Result<Filter> {
    let shard = match (args.shard, args.shards) {
        (None, Some(count)) => {
            let missing = || {
                Error::Usage(format!(
                    "--shards {count} needs {COMPLETION_INDEX}, which Kubernetes sets in an Indexed Job\n  hint: elsewhere, say which part this is: --shard 0/{count}"
                ))
            };
            let index = std::env::var(COMPLETION_INDEX).map_err(|_| missing())?;
            let index = index.parse().map_err(|_| Error::Usage(format!("{COMPLETION_INDEX} is {index:?}, which is not an index")))?;
            Some(Shard::new(index, count).map_err(|why| Error::Usage(format!("--shards {count}: {why}")))?)
        }
        // one of them can stand in the file, which the command line does not see
        (Some(shard), Some(count)) => {
            return Err(Error::Usage(format!(
                "--shard {shard} and --shards {count} are both set\n  hint: cc-archiver config says where; leave one of them out"
            )));
        }
        (shard, None) => shard,
    };
    Ok(Filter { clusters: args.cluster, host: args.host, shard })
}

/// Workers and memory.
fn checked(args: &ResourceArgs) -> Result<(usize, u64)> {
    if args.memory.as_u64() < MIN_MEMORY {
        return Err(Error::Usage(format!("--memory {} is too little; the least is 64MiB", args.memory)));
    }
    if args.workers == Some(0) {
        return Err(Error::Usage("--workers 0 would do nothing".into()));
    }
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok((args.workers.unwrap_or_else(all), args.memory.as_u64()))
}

/// Workers that each read one object: as many as there is memory for.
fn readers(args: &ResourceArgs) -> Result<usize> {
    let (workers, memory) = checked(args)?;
    Ok(workers.min((memory / READER) as usize))
}

/// How an archive is reached that is in S3.
fn s3_settings(archive: &Location, args: &S3Args) -> Result<Option<S3Settings>> {
    match (archive, &args.given) {
        (Location::S3 { bucket, .. }, _) => {
            let mut environment = aws_variables();
            environment.fill_in(&args.keys);
            let settings = S3Settings::new(args, &environment)?;
            settings.endpoint.iter().try_for_each(|endpoint| endpoint.check_without(bucket))?;
            Ok(Some(settings))
        }
        (Location::Directory(_), Some(option)) => {
            Err(Error::Usage(format!("{option} is for an archive in S3, and {archive} is a directory\n  hint: a bucket is named as s3://bucket/prefix")))
        }
        (Location::Directory(_), None) => {
            if let Some(option) = args.asks_for_more() {
                tracing::warn!("{option} is for an archive in S3, and does nothing for {archive}, which is a directory");
            }
            Ok(None)
        }
    }
}

/// The variables that set S3 up, as far as they are UTF-8.
pub fn aws_variables() -> AwsVariables {
    let pairs = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    pairs.filter(|(name, _)| name.starts_with("AWS_")).collect()
}

/// The command line of this process on top of the configuration file that it names.
pub fn load() -> Result<Loaded, clap::Error> {
    let own = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok().filter(|name| name.starts_with(slips::PREFIX))?, value)));
    layers::load(std::env::args_os().collect(), &own.collect())
}
