//! Validated settings. The only place that reads the environment (clap reads the `CC_ARCHIVER_*` variables for it).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::ArchiveArgs;
use crate::error::{Error, Escaped, Result};
use crate::scan::Filter;
use crate::schema::Layout;
use crate::store::Location;

/// The least memory that a run can do with: one open object and one part in flight.
const MIN_MEMORY: u64 = 64 << 20;

/// Who writes the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoder {
    /// Key columns as runs: the fast one.
    Runs,
    /// AsyncArrowWriter: slow, to compare with.
    Reference,
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
    /// How objects are written.
    pub layout: Layout,
    /// Who writes the objects.
    pub encoder: Encoder,
    /// Locked instead of the tree.
    pub lock_file: Option<PathBuf>,
    /// The `AWS_*` variables.
    pub environment: BTreeMap<String, String>,
}

impl Settings {
    /// Checks what the command line says.
    pub fn new(args: ArchiveArgs) -> Result<Self> {
        if args.memory.as_u64() < MIN_MEMORY {
            return Err(Error::Usage(format!("--memory {} is too little; the least is 64MiB", args.memory)));
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
            filter: Filter { clusters: args.cluster, host: args.host },
            before: args.before.map(|time| time.0),
            min_age: args.min_age.into(),
            dry_run: args.dry_run,
            workers: args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1),
            memory: args.memory.as_u64(),
            layout,
            encoder: args.encoder,
            lock_file: args.lock_file,
            environment: std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect(),
        };
        settings.check_archive_is_outside()?;
        Ok(settings)
    }

    fn check_archive_is_outside(&self) -> Result<()> {
        let Location::Directory(archive) = &self.archive else { return Ok(()) };
        if resolved(archive).starts_with(resolved(&self.checkpoints)) {
            return Err(Error::Usage(format!(
                "the archive {} lies inside the checkpoint tree {}\n  hint: cc-backend refuses to start on files that it does not know; put the archive beside the tree",
                Escaped(archive),
                Escaped(&self.checkpoints)
            )));
        }
        Ok(())
    }
}

/// The path without links, also where its end does not exist yet.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), absolute.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    absolute
}
