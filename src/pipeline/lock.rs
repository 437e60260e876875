//! Who may work on a tree: advisory locks on its directories themselves, so that nothing of ours is put inside it.
//!
//! A run locks the tree. Shards take that lock shared, and each of their hosts' directories exclusively: those of one number of shards never
//! meet, and a run with another number that would take a host of theirs does not begin. With a lock file there is one lock for each
//! shard, beside it, and shards of another number are looked for.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::{Error, Escaped, Result};
use crate::fail_point;
use crate::files::{Filter, Shard, Tree};
use crate::scan;
use crate::workers::blocking;

/// Locks a tree, then scans it: what another run has just done is seen. Without a lock where nothing is to be changed.
pub async fn locked_tree(root: &Path, filter: &Filter, instead: Option<&Path>, unlocked: bool) -> Result<(Option<Lock>, Tree)> {
    let scan = || {
        let (root, filter) = (root.to_owned(), filter.clone());
        async move { blocking(move || scan::scan(&root, &filter)).await? }
    };
    // what is no directory is for the scan to refuse
    if unlocked {
        return Ok((None, scan().await?));
    }
    if !root.is_dir() {
        scan().await?;
        return Err(Error::Usage(format!("{} appeared just now, and is not locked\n  hint: run again", Escaped(root))));
    }
    let mut lock = Lock::take(root, instead, filter.shard)?;
    fail_point::reach("locked");
    let mut tree = scan().await?;
    if filter.shard.is_some() && instead.is_none() {
        lock.take_hosts(&tree)?;
        // once more: until now another run may have worked on them. A host that has come meanwhile is the next run's.
        let locked = tree;
        tree = scan().await?;
        for files in &mut tree.clusters {
            let before = locked.clusters.iter().find(|before| before.cluster == files.cluster);
            files.hosts.retain(|host| before.is_some_and(|before| before.hosts.iter().any(|known| known.host == host.host)));
        }
    }
    Ok((Some(lock), tree))
}

/// Held as long as it lives; the system releases it when the process ends, however that happens.
#[derive(Debug)]
pub struct Lock {
    files: Vec<File>,
}

impl Lock {
    /// Locks the tree, or `instead` of it a file that is made if need be.
    pub fn take(tree: &Path, instead: Option<&Path>, shard: Option<Shard>) -> Result<Self> {
        let mut files = match (instead, shard) {
            (None, None) => vec![exclusive(tree, File::open(tree))?],
            (None, Some(_)) => vec![shared(tree, File::open(tree))?],
            (Some(path), None) => vec![exclusive(path, lock_file(path))?],
            (Some(path), Some(shard)) => {
                let all = shared(path, lock_file(path))?;
                let own = of_shard(path, shard);
                let own = exclusive(&own, lock_file(&own))?;
                check_no_others(path, shard.count())?;
                vec![all, own]
            }
        };
        if instead.is_some() {
            files.extend(tree_besides(tree, shard)?);
        }
        Ok(Self { files })
    }

    /// Locks all hosts' directories of a tree.
    fn take_hosts(&mut self, tree: &Tree) -> Result<()> {
        let hosts = tree.clusters.iter().flat_map(|files| files.hosts.iter().map(|host| files.path.join(host.host.as_str())));
        for path in hosts {
            self.files.push(exclusive(&path, File::open(&path))?);
        }
        Ok(())
    }
}

/// The tree's own lock beside a lock file, where it can be locked: for runs that do not know of the file.
fn tree_besides(tree: &Path, shard: Option<Shard>) -> Result<Option<File>> {
    let Ok(file) = File::open(tree) else { return Ok(None) };
    match if shard.is_some() { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(tree.to_owned(), holder_of(&file))),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    // NONBLOCK: a FIFO in its place must not hang the run
    File::options().create(true).append(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

fn exclusive(path: &Path, file: std::io::Result<File>) -> Result<File> {
    locked(path, file, File::try_lock)
}

fn shared(path: &Path, file: std::io::Result<File>) -> Result<File> {
    locked(path, file, File::try_lock_shared)
}

fn locked(path: &Path, file: std::io::Result<File>, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<File> {
    let file = file.map_err(Error::io("cannot open, to lock it,", path))?;
    match lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(path.to_owned(), holder_of(&file))),
        Err(TryLockError::Error(e)) => {
            Err(Error::Usage(format!("cannot lock {}: {e}\n  hint: name a file on a file system that has locks with --lock-file", Escaped(path))))
        }
    }
}

/// The lock file of one shard: beside that of all.
fn of_shard(path: &Path, shard: Shard) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-of-{}", shard.index(), shard.count()));
    name.into()
}

/// Refuses to go on where a shard of another number of shards runs. Of two that begin at once each sees the other's lock.
fn check_no_others(path: &Path, count: u32) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    for entry in std::fs::read_dir(folder).map_err(Error::io("cannot list", folder))? {
        let entry = entry.map_err(Error::io("cannot list", folder))?;
        let name = entry.file_name();
        let other = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.split_once("-of-")?.1.parse::<u32>().ok());
        if other.is_some_and(|other| other != count) {
            exclusive(&entry.path(), lock_file(&entry.path())).map(drop)?;
        }
    }
    Ok(())
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
