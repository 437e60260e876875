//! Validated settings. The only place that reads the environment (clap reads the `CC_ARCHIVER_*` variables for it).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::cli::ArchiveArgs;
use crate::error::{Error, Escaped, Result};
use crate::files::Filter;
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
        if args.workers == Some(0) {
            return Err(Error::Usage("--workers 0 would do nothing".into()));
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
            workers: args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            memory: args.memory.as_u64(),
            layout,
            encoder: args.encoder,
            lock_file: args.lock_file,
            environment: aws_variables(),
        };
        settings.check_tree_is_left_alone()?;
        Ok(settings)
    }

    /// Nothing of ours goes into the checkpoint tree.
    fn check_tree_is_left_alone(&self) -> Result<()> {
        let tree = resolved(&self.checkpoints);
        let archive = match &self.archive {
            Location::Directory(path) => Some(("archive", path)),
            Location::S3 { .. } => None,
        };
        let ours = archive.into_iter().chain(self.lock_file.as_ref().map(|path| ("lock file", path)));
        for (what, path) in ours {
            if resolved(path).starts_with(&tree) {
                return Err(Error::Usage(format!(
                    "the {what} {} lies inside the checkpoint tree {}\n  hint: cc-backend refuses to start on files that it does not know; put it beside the tree",
                    Escaped(path),
                    Escaped(&self.checkpoints)
                )));
            }
        }
        Ok(())
    }
}

/// The variables that set S3 up, as far as they are UTF-8.
fn aws_variables() -> BTreeMap<String, String> {
    let pairs = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    pairs.filter(|(name, _)| name.starts_with("AWS_")).collect()
}

/// The path without links and detours, also where its end does not exist yet.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut real = PathBuf::new();
    for part in absolute.components() {
        match part {
            // what exists is without links by now; what does not exist has none
            Component::ParentDir => drop(real.pop()),
            part => {
                real.push(part);
                real = real.canonicalize().unwrap_or(real);
            }
        }
    }
    real
}
