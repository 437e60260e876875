//! One run at a time: an advisory lock on the tree's directory itself, so that nothing of ours is put inside it.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Error, Escaped, Result};

/// Held as long as it lives; the system releases it when the process ends, however that happens.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks the tree, or `instead` of it a file that is made if need be.
    pub fn take(tree: &Path, instead: Option<&Path>) -> Result<Self> {
        let (path, file) = match instead {
            Some(path) => (path, File::options().create(true).append(true).open(path).map_err(Error::io("cannot open the lock file", path))?),
            None => (tree, File::open(tree).map_err(Error::io("cannot open", tree))?),
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(path.to_owned())),
            Err(TryLockError::Error(e)) => {
                Err(Error::Usage(format!("cannot lock {}: {e}\n  hint: name a file on a local disk with --lock-file", Escaped(path))))
            }
        }
    }
}
