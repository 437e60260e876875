//! One run at a time: an advisory lock on the tree's directory itself, so that nothing of ours is put inside it.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::task::spawn_blocking;

use crate::error::{Error, Escaped, Result};
use crate::fail_point;
use crate::files::{Filter, Tree};
use crate::scan;

/// Locks a tree, then scans it: what another run has just done is seen. Without a lock where nothing is to be changed.
pub async fn locked_tree(root: &Path, filter: &Filter, instead: Option<&Path>, unlocked: bool) -> Result<(Option<Lock>, Tree)> {
    let scan = || {
        let (root, filter) = (root.to_owned(), filter.clone());
        async move { spawn_blocking(move || scan::scan(&root, &filter)).await? }
    };
    // what is no directory is for the scan to refuse
    let lock = if unlocked || !root.is_dir() { None } else { Some(Lock::take(root, instead)?) };
    fail_point::reach("locked");
    Ok((lock, scan().await?))
}

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
            Err(TryLockError::WouldBlock) => Err(Error::Locked(path.to_owned(), holder_of(&file))),
            Err(TryLockError::Error(e)) => {
                Err(Error::Usage(format!("cannot lock {}: {e}\n  hint: name a file on a local disk with --lock-file", Escaped(path))))
            }
        }
    }
}

/// Who holds the lock on a file: process and command, where the system shows them (Linux).
fn holder_of(file: &File) -> Option<String> {
    let status = file.metadata().ok()?;
    let place = format!("{:02x}:{:02x}:{}", rustix::fs::major(status.dev()), rustix::fs::minor(status.dev()), status.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // "1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF"; pid 0 or -1 is a process that is not shown to us
    let fields = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let pid = fields.filter(|f| f.get(1) == Some(&"FLOCK") && f.get(5) == Some(&place.as_str())).find_map(|f| f.get(4)?.parse::<u32>().ok())?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ").escape_debug().to_string();
    (pid > 0).then(|| if command.is_empty() { format!("process {pid}") } else { format!("process {pid}: {command}") })
}
