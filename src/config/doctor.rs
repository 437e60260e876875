//! Settings of `doctor`.

use std::path::PathBuf;
use std::time::Duration;

use super::{CcBackend, S3Settings, check_places, s3_settings};
use crate::cli::DoctorArgs;
use crate::error::Result;
use crate::store::Location;

/// What `doctor` looks at, checked.
#[derive(Debug, Clone)]
pub struct DoctorSettings {
    /// The checkpoint tree.
    pub checkpoints: PathBuf,
    /// The archive.
    pub archive: Location,
    /// How the site means to run.
    pub wishes: Wishes,
    /// Locked instead of the tree.
    pub lock_file: Option<PathBuf>,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

impl DoctorSettings {
    /// Checks what the command line says; `config` is the file that was read for it.
    pub fn new(args: DoctorArgs, config: Option<PathBuf>) -> Result<Self> {
        let backend = args.cc_backend_config.as_deref().map(CcBackend::read).transpose()?;
        check_places(&args.checkpoints, &args.archive, args.lock_file.as_deref())?;
        Ok(Self {
            s3: s3_settings(&args.archive, &args.s3)?,
            checkpoints: args.checkpoints,
            archive: args.archive,
            wishes: Wishes { every: args.every.into(), prune: args.prune_after.map(Into::into), backend },
            lock_file: args.lock_file,
            config,
        })
    }
}

/// How a site means to run.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Time between two runs of archive.
    pub every: Duration,
    /// The age at which snapshots are to be pruned, if they are.
    pub prune: Option<Duration>,
    /// What cc-backend does, if that is known.
    pub backend: Option<CcBackend>,
}
