//! From options, file and environment to settings. The only place that reads the environment (clap reads the `CC_ARCHIVER_*` variables
//! for it).
//!
//! A function for each command makes its settings of its options, which [`load`] has parsed over the file and the variables.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;

use crate::cc_backend::CcBackend;
use crate::cli::{
    ArchiveArgs, DoctorArgs, FormatArgs, MetricsArgs, OutputArgs, PartArgs, Proof, PruneArgs, PruneRuleArgs, ResourceArgs, S3Args, SelectionArgs, TableArgs,
    VerifyArgs,
};
use crate::error::{Error, Escaped, Result};
use crate::files::{Filter, Shard};
use crate::schema::Layout;
use crate::settings::{
    ArchiveSettings, Depth, DoctorSettings, Location, MetricsSettings, OutputSettings, PART_SIZE, Part, PruneRules, PruneSettings, S3Settings, TableSettings,
    Upkeep, VerifySettings, Wishes,
};

mod aws;
mod compacting;
mod credentials;
mod effective;
mod expiring;
mod file;
mod importing;
mod initial;
mod inspecting;
mod known;
mod layers;
mod loading;
mod looking;
mod places;
mod restore;
mod s3;
mod slips;

pub use aws::AwsVariables;
pub use compacting::compact;
pub use effective::Effective;
pub use expiring::expire;
pub use file::EXAMPLE;
pub use importing::import;
pub use initial::{Draft, draft};
pub use inspecting::inspect;
pub use known::{Kind, SECRETS, Setting, command, settings};
pub use loading::{Loaded, S3Environment};
pub use looking::{coverage, ls};
pub use restore::restore;
pub use s3::s3;

use places::{check_archive, check_hold, check_lies_outside, check_places, resolved};

/// The least memory that a run can do with: one open object and one part in flight.
const MIN_MEMORY: u64 = 64 << 20;

/// Memory of one that reads an object: the range that is hashed, those that are fetched ahead, and a part to spare.
const READER: u64 = 32 << 20;

/// Settings of `archive`.
///
/// # Errors
/// [`Error::Usage`]: what the options say makes no sense, or not together.
pub fn archive(args: ArchiveArgs, environment: &S3Environment) -> Result<ArchiveSettings> {
    arm_fail_point();
    let (workers, memory) = checked(&args.resources)?;
    let s3 = s3_settings(&args.archive, &args.s3, environment)?;
    check_parts(s3.as_ref(), &args.resources)?;
    let objects = args.objects;
    let settings = ArchiveSettings {
        layout: layout(&objects.format, objects.with_cluster_column, ("--object-size", objects.object_size))?,
        checkpoints: args.checkpoints,
        archive: args.archive,
        filter: filter(args.selection)?,
        before: args.before.map(|time| time.0),
        dates: args.date.unwrap_or_default(),
        newest_first: args.newest_first,
        moved: args.moved,
        min_age: args.min_age.into(),
        dry_run: args.dry_run,
        workers,
        memory,
        verify: objects.verify,
        prune_after: args.prune_after.map(|age| prune_rules("--prune-after", age.into(), &args.prune)).transpose()?,
        spool: spool_folder(),
        encoder: objects.format.encoder,
        wal: args.wal,
        wal_hold: args.wal_hold,
        lock_file: args.lock_file,
        removes_after: args.prune.cc_backend_config.as_deref().and_then(removes_after),
        s3,
    };
    check_places(&settings.checkpoints, &settings.archive, settings.lock_file.as_deref())?;
    settings.wal_hold.iter().try_for_each(|hold| check_hold(hold, &settings.checkpoints, &settings.archive))?;
    Ok(settings)
}

/// Settings of `prune`.
///
/// # Errors
/// [`Error::Usage`]: what the options say makes no sense, or not together.
pub fn prune(args: PruneArgs, environment: &S3Environment) -> Result<PruneSettings> {
    let workers = readers(&args.resources)?;
    let s3 = s3_settings(&args.archive, &args.s3, environment)?;
    let settings = PruneSettings {
        checkpoints: args.checkpoints,
        archive: args.archive,
        filter: filter(args.selection)?,
        rules: prune_rules("--older-than", args.older_than.into(), &args.rules)?,
        dry_run: args.dry_run,
        workers,
        lock_file: args.lock_file,
        s3,
    };
    check_places(&settings.checkpoints, &settings.archive, settings.lock_file.as_deref())?;
    Ok(settings)
}

/// Settings of `verify`.
///
/// # Errors
/// [`Error::Usage`]: there is no such archive, or what the options say makes no sense.
pub fn verify(args: VerifyArgs, environment: &S3Environment) -> Result<VerifySettings> {
    let workers = readers(&args.resources)?;
    check_is_there(&args.archive, "verify takes the archive, and the tree as --checkpoints")?;
    Ok(VerifySettings {
        s3: s3_settings(&args.archive, &args.s3, environment)?,
        archive: args.archive,
        part: part(args.part),
        read_data: args.read_data.unwrap_or(0),
        decode: args.decode,
        checkpoints: args.checkpoints,
        workers,
    })
}

fn arm_fail_point() {
    #[cfg(feature = "fail-points")]
    if let Ok(point) = std::env::var("CC_ARCHIVER_FAIL_POINT") {
        crate::fail_point::arm(&point);
    }
}

/// How objects are written; `size` is an option and its value.
fn layout(format: &FormatArgs, cluster_column: bool, size: (&str, ByteSize)) -> Result<Layout> {
    let (option, object_size) = (size.0, size.1.as_u64());
    if object_size == 0 || format.row_group_rows == 0 {
        return Err(Error::Usage(format!("{option} and --row-group-rows must be positive")));
    }
    let FormatArgs { compression, row_group_rows, value_encoding, .. } = *format;
    Ok(Layout { compression: compression.0, value_encoding, cluster_column, row_group_rows, object_size })
}

/// Parts that are under way must leave memory for what else is.
fn check_parts(s3: Option<&S3Settings>, resources: &ResourceArgs) -> Result<()> {
    match s3 {
        Some(s3) if (s3.parts * PART_SIZE) as u64 > resources.memory.as_u64() / 2 => {
            Err(Error::Usage(format!("--parts {} of 8 MiB take more than half of --memory {}", s3.parts, resources.memory)))
        }
        _ => Ok(()),
    }
}

/// Settings of `table`.
///
/// # Errors
/// [`Error::Usage`]: there is no such archive, or what the options say makes no sense.
pub fn table(args: TableArgs, environment: &S3Environment) -> Result<TableSettings> {
    check_is_there(&args.archive, "table takes the archive alone")?;
    let upkeep = match (args.init, args.rebuild) {
        (_, true) => Upkeep::Rebuild,
        (true, false) => Upkeep::Init,
        (false, false) => Upkeep::Update,
    };
    Ok(TableSettings { s3: s3_settings(&args.archive, &args.s3, environment)?, archive: args.archive, upkeep, dry_run: args.dry_run })
}

/// Which part of an archive.
fn part(args: PartArgs) -> Part {
    Part { clusters: args.cluster, dates: args.date.unwrap_or_default() }
}

/// A directory that is to be read must be there, and be no checkpoint tree: then `hint` is given.
fn check_is_there(archive: &Location, hint: &str) -> Result<()> {
    if let Location::Directory(path) = archive
        && !path.is_dir()
    {
        return Err(Error::Usage(format!("there is no archive at {}\n  hint: name the directory that archive writes to", Escaped(path))));
    }
    check_archive(archive, hint)
}

/// Colours are for terminals, unless NO_COLOR is set.
fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Where values go that there is no room for in memory: `TMPDIR`, else a folder that mostly is on a disk.
fn spool_folder() -> PathBuf {
    const ON_DISK: &str = "/var/tmp";
    let named = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    named.unwrap_or_else(|| if Path::new(ON_DISK).is_dir() { ON_DISK.into() } else { "/tmp".into() })
}

/// Settings of `doctor`; `config` is the file that was read for it.
///
/// # Errors
/// [`Error::Usage`]: what the options say makes no sense, or cc-backend's configuration cannot be read.
pub fn doctor(args: DoctorArgs, environment: &S3Environment, config: Option<&Path>) -> Result<DoctorSettings> {
    let backend = args.cc_backend_config.as_deref().map(CcBackend::read).transpose()?;
    check_places(&args.checkpoints, &args.archive, args.lock_file.as_deref())?;
    args.wal_hold.iter().try_for_each(|hold| check_hold(hold, &args.checkpoints, &args.archive))?;
    Ok(DoctorSettings {
        s3: s3_settings(&args.archive, &args.s3, environment)?,
        checkpoints: args.checkpoints,
        archive: args.archive,
        wishes: Wishes { every: args.every.into(), prune: args.prune_after.map(Into::into), hold: args.wal_hold, backend },
        lock_file: args.lock_file,
        config: config.map(Path::to_owned),
    })
}

/// Where metrics go; `checkpoints` is the tree that is left alone.
///
/// # Errors
/// [`Error::Usage`]: their file lies in the tree, or is none.
pub fn metrics(args: &MetricsArgs, checkpoints: Option<&Path>) -> Result<MetricsSettings> {
    if let (Some(file), Some(tree)) = (&args.metrics_file, checkpoints) {
        check_lies_outside(&resolved(tree), tree, "metrics file", file)?;
    }
    if let Some(file) = args.metrics_file.as_ref().filter(|file| file.exists() && !file.is_file()) {
        return Err(Error::Usage(format!("--metrics-file {} is no regular file\n  hint: it is read and replaced at the end of each run", Escaped(file))));
    }
    Ok(MetricsSettings { file: args.metrics_file.clone(), push: args.metrics_push.clone() })
}

/// How logs and progress are shown.
pub fn output(args: &OutputArgs) -> OutputSettings {
    OutputSettings { log_format: args.log_format, verbose: args.verbose, quiet: args.quiet, progress: args.progress }
}

/// Only for what is said of a run: without it the run does the same.
fn removes_after(config: &Path) -> Option<Duration> {
    CcBackend::read(config).inspect_err(|e| tracing::warn!("when cc-backend removes snapshots is not known: {e}")).ok()?.removes_after
}

/// What cc-backend keeps in memory where its configuration is not known: an age below it is worth a warning.
const USUAL_RETENTION: Duration = Duration::from_secs(48 * 3_600);

fn prune_rules(option: &str, older_than: Duration, args: &PruneRuleArgs) -> Result<PruneRules> {
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
    Ok(PruneRules { older_than, include_newest: args.include_newest, conflicting: args.prune_conflicting, depth })
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
        let bytes = args.memory.as_u64();
        // nobody has so few bytes: the unit is missing
        let hint = if bytes < 1 << 20 { format!("\n  hint: it is a number of bytes; write {bytes}MiB for more") } else { String::new() };
        return Err(Error::Usage(format!("--memory {} is too little; the least is 64MiB{hint}", args.memory)));
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

/// What is on this machine where somebody looks for S3. An archive need not exist yet.
fn kind_of(path: &Path) -> &'static str {
    if path.is_file() { "a local file" } else { "a directory" }
}

/// How an archive is reached that is in S3.
fn s3_settings(archive: &Location, args: &S3Args, environment: &S3Environment) -> Result<Option<S3Settings>> {
    match (archive, &environment.typed) {
        (Location::S3 { bucket, .. }, _) => {
            let settings = s3(args, &environment.variables)?;
            settings.endpoint.iter().try_for_each(|endpoint| endpoint.check_without(bucket))?;
            Ok(Some(settings))
        }
        (Location::Directory(path), Some(option)) => {
            let is = kind_of(path);
            Err(Error::Usage(format!("{option} is for an archive in S3, and {archive} is {is}\n  hint: a bucket is named as s3://bucket/prefix")))
        }
        (Location::Directory(path), None) => {
            if let Some(option) = s3::asks_for_more(args) {
                tracing::warn!("{option} is for an archive in S3, and does nothing for {archive}, which is {}", kind_of(path));
            }
            Ok(None)
        }
    }
}

/// The command line of this process, on top of the variables and of the configuration file that it names.
pub fn load() -> Result<Loaded, clap::Error> {
    let pairs = || std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let own = pairs().filter(|(name, _)| name.starts_with(slips::PREFIX)).collect();
    let aws = pairs().filter(|(name, _)| name.starts_with(aws::PREFIX)).filter_map(|(name, value)| Some((name, value.into_string().ok()?))).collect();
    loading::load(std::env::args_os().collect(), &own, aws)
}

/// Where this program is.
///
/// # Errors
/// [`Error::Internal`]: the system does not tell.
pub fn this_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::Internal(format!("cannot find this program: {e}")))
}
