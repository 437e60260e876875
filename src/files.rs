//! Files of a checkpoint tree by name and status: what [`crate::scan`] finds, and all later stages refer to.

use std::fs::{File, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::error::SetAside;
use crate::names::{Cluster, Date, Host};

/// A checkpoint tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// Clusters in bytewise order.
    pub clusters: Vec<ClusterFiles>,
    /// What has a snapshot's place or name, but cannot be one.
    pub set_aside: Vec<SetAside>,
}

impl Tree {
    /// How many hosts and snapshots there are.
    pub fn size(&self) -> (usize, usize) {
        let hosts = || self.clusters.iter().flat_map(|cluster| &cluster.hosts);
        (hosts().count(), hosts().map(|host| host.snapshots.len()).sum())
    }
}

/// Which part of the tree a run looks at.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these clusters; all if empty.
    pub clusters: Vec<String>,
    /// Only hosts that match.
    pub host: Option<glob::Pattern>,
}

/// One cluster's directory.
#[derive(Debug)]
pub struct ClusterFiles {
    /// Its name.
    pub cluster: Cluster,
    /// Where it is.
    pub path: PathBuf,
    /// Its hosts in bytewise order.
    pub hosts: Vec<HostFiles>,
}

/// One host's directory.
#[derive(Debug)]
pub struct HostFiles {
    /// Its name.
    pub host: Host,
    /// Its snapshots by `from`, then by name.
    pub snapshots: Vec<SnapshotFile>,
}

/// A snapshot by its name and status; its bytes have not been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The file's name.
    pub name: Box<str>,
    /// Unix time in s, from the name.
    pub from: i64,
    /// What the name says of its format.
    pub format: Format,
    /// Bytes on disk.
    pub size: u64,
    /// Time of the last change, in ns since 1970.
    pub mtime: i64,
}

impl SnapshotFile {
    /// The date of its name's `from`: the ledger always has an entry for the source there.
    pub fn home(&self) -> Date {
        Date::of(self.from).unwrap_or_else(|| unreachable!("checked when the name was parsed"))
    }

    /// How a ledger calls it.
    pub fn ledger_path(&self, host: &Host) -> String {
        format!("{}/{}", host.as_str(), self.name)
    }
}

/// How a snapshot is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Format {
    /// What it is when it is not compressed.
    pub kind: Kind,
    /// What it is compressed with.
    pub compression: Compression,
}

/// The two kinds of snapshots. Where all else is equal, `.bin` wins over `.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `.json`
    Json,
    /// `.bin`
    Binary,
}

/// What a snapshot can be compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Nothing.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Format {
    /// Splits a file's name that ends like a snapshot's into stem and format.
    pub fn of_name(name: &[u8]) -> Option<(&[u8], Self)> {
        let (name, compression) = if let Some(rest) = name.strip_suffix(b".gz") {
            (rest, Compression::Gzip)
        } else if let Some(rest) = name.strip_suffix(b".zst") {
            (rest, Compression::Zstd)
        } else {
            (name, Compression::None)
        };
        let (stem, kind) = match (name.strip_suffix(b".json"), name.strip_suffix(b".bin")) {
            (Some(stem), _) => (stem, Kind::Json),
            (_, Some(stem)) => (stem, Kind::Binary),
            _ => return None,
        };
        Some((stem, Self { kind, compression }))
    }
}

/// Time of a file's last change, in ns since 1970, as ledgers hold it.
pub fn mtime(status: &Metadata) -> i64 {
    status.mtime().saturating_mul(1_000_000_000).saturating_add(status.mtime_nsec())
}

/// Where a snapshot lies: below the tree's directory no link is followed on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The checkpoint tree.
    pub tree: PathBuf,
    /// The cluster's name.
    pub cluster: Cluster,
    /// The host's name.
    pub host: Host,
    /// The file's name.
    pub name: Box<str>,
}

impl Place {
    /// The file's path.
    pub fn path(&self) -> PathBuf {
        self.tree.join(self.cluster.as_str()).join(self.host.as_str()).join(&*self.name)
    }

    /// How a ledger calls it.
    pub fn ledger_path(&self) -> String {
        format!("{}/{}", self.host.as_str(), self.name)
    }

    /// Opens the host's directory.
    pub fn open_directory(&self) -> std::io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tree = rustix::fs::open(&self.tree, flags, Mode::empty())?;
        let cluster = rustix::fs::openat(tree, self.cluster.as_str(), flags | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(rustix::fs::openat(cluster, self.host.as_str(), flags | OFlags::NOFOLLOW, Mode::empty())?)
    }

    /// Opens the file in its host's directory. A FIFO that took its place does not block.
    pub fn open_in(&self, directory: &OwnedFd) -> std::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(directory, &*self.name, flags, Mode::empty())?))
    }
}

/// What tells a file from any other one, and from itself after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    place: (u64, u64),
    size: u64,
    changed: i64,
    status_changed: (i64, i64),
}

impl Identity {
    /// Of an open file; None if it is no regular file.
    pub fn of(status: &Metadata) -> Option<Self> {
        let (place, status_changed) = ((status.dev(), status.ino()), (status.ctime(), status.ctime_nsec()));
        status.is_file().then(|| Self { place, size: status.len(), changed: mtime(status), status_changed })
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}
