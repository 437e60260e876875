//! Files that somebody else may replace or write to at any time: opened without following links, and looked at before and after they are read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::mtime;
use crate::names::{Cluster, Digest, Host};

/// Bytes that are hashed before it is asked again whether to go on.
const PIECE: usize = 256 << 10;

/// Why a file was not read, or not deleted.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is gone: cc-backend cleaned up.
    Vanished,
    /// It is not, or no longer, the one that was seen before.
    Changed,
    /// The system does not allow it.
    Failed(String),
}

impl From<io::Error> for Unread {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            ErrorKind::NotFound => Self::Vanished,
            // a link took its place
            _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Self::Changed,
            _ => Self::Failed(e.to_string()),
        }
    }
}

/// Opens a file, not a link to one. A FIFO that took its place does not block.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32).open(path)
}

/// A file that is read from a place on, whoever else reads it.
#[derive(Debug)]
pub struct ReadFrom<'a> {
    /// The file.
    pub file: &'a File,
    /// Byte offset of what is read next.
    pub at: u64,
}

impl Read for ReadFrom<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// An open file, and what it was when it was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// To be read.
    pub file: Arc<File>,
    identity: Identity,
}

impl Opened {
    /// Takes an open file, if it is the one that `is_meant`.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn new(file: io::Result<File>, is_meant: impl FnOnce(&Identity) -> bool) -> Result<Self, Unread> {
        let file = file?;
        let identity = Identity::of(&file.metadata()?).filter(is_meant).ok_or(Unread::Changed)?;
        Ok(Self { file: file.into(), identity })
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.identity.size
    }

    /// Looks at it again.
    ///
    /// # Errors
    /// [`Unread`]: it has changed, and what was read of it is worth nothing. Another time of the last change of status alone is no change: a
    /// backup that makes hard links leaves it.
    pub fn check(&self) -> Result<(), Unread> {
        let now = Identity::of(&self.file.metadata()?);
        if now.is_some_and(|now| now.has_bytes_of(&self.identity)) { Ok(()) } else { Err(Unread::Changed) }
    }
}

/// Which file is open, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// What tells a file from any other one, and from itself after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    file: FileId,
    size: u64,
    mtime: i64,
    status_changed: (i64, i64),
}

impl Identity {
    /// Of an open file; None if it is no regular file.
    pub fn of(status: &Metadata) -> Option<Self> {
        let (file, status_changed) = (FileId { device: status.dev(), inode: status.ino() }, (status.ctime(), status.ctime_nsec()));
        status.is_file().then(|| Self { file, size: status.len(), mtime: mtime(status), status_changed })
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Time of its last change, in ns since 1970.
    pub fn mtime(&self) -> i64 {
        self.mtime
    }

    /// True if it is this file, and nobody has written to it.
    fn has_bytes_of(&self, other: &Self) -> bool {
        (self.file, self.size, self.mtime) == (other.file, other.size, other.mtime)
    }
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
    pub fn ledger_path(&self) -> Box<str> {
        format!("{}/{}", self.host.as_str(), self.name).into()
    }

    /// Opens the host's directory.
    pub fn open_directory(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tree = rustix::fs::open(&self.tree, flags, Mode::empty())?;
        let cluster = rustix::fs::openat(tree, self.cluster.as_str(), flags | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(rustix::fs::openat(cluster, self.host.as_str(), flags | OFlags::NOFOLLOW, Mode::empty())?)
    }

    /// Opens the file in its host's directory, as [`open`] does.
    pub fn open_in(&self, directory: &OwnedFd) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(directory, &*self.name, flags, Mode::empty())?))
    }
}

/// A snapshot whose bytes were hashed. There is no other way to get one.
#[derive(Debug, Clone)]
pub struct Hashed {
    place: Place,
    identity: Identity,
    digest: Digest,
}

impl Hashed {
    /// Hashes the file at `place`, of which the scan saw `size` bytes. Blocks. `go_on` is asked now and then.
    ///
    /// # Errors
    /// [`Unread`]; [`Unread::Changed`] if it was not to go on.
    pub fn new(place: Place, size: u64, go_on: impl Fn() -> bool) -> Result<Self, Unread> {
        let file = place.open_directory().and_then(|directory| place.open_in(&directory));
        let opened = Opened::new(file, |found| found.size == size)?;
        let digest = digest_of(&opened.file, size, go_on);
        opened.check()?;
        Ok(Self { place, identity: opened.identity, digest: digest?.ok_or(Unread::Changed)? })
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What it was when it was hashed.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.identity.size
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// The digest of a file of so many bytes; None if it has more or fewer.
fn digest_of(mut file: &File, size: u64, go_on: impl Fn() -> bool) -> io::Result<Option<Digest>> {
    let (mut hasher, mut piece, mut read) = (blake3::Hasher::new(), vec![0; PIECE], 0);
    // a file that grows as fast as it is read must not keep this going
    while read <= size && go_on() {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&piece[..count]);
                read += count as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok((read == size).then(|| hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_link_that_is_made_while_a_file_is_hashed_is_no_change() {
        let tree = tempfile::tempdir().expect("a folder");
        let place = Place { tree: tree.path().into(), cluster: Cluster::new("c").expect("valid"), host: Host::new("n1"), name: "0.bin".into() };
        std::fs::create_dir_all(tree.path().join("c/n1")).expect("made");
        std::fs::write(place.path(), b"bytes").expect("written");
        let asked = Cell::new(0);
        let hash = |change: &dyn Fn(u32)| {
            asked.set(0);
            Hashed::new(place.clone(), 5, || {
                asked.set(asked.get() + 1);
                change(asked.get());
                true
            })
        };
        let link_once = |n| {
            if n == 1 {
                std::fs::hard_link(place.path(), tree.path().join("copy")).expect("linked")
            }
        };
        assert_eq!(hash(&link_once).expect("hashed").digest(), Digest::of(b"bytes"));
        let write_always = |n: u32| std::fs::write(place.path(), [n as u8; 5]).expect("written");
        assert!(matches!(hash(&write_always), Err(Unread::Changed)), "it ends");
    }
}
