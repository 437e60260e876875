//! Stage 1b: logs are held, so that nothing of them is lost before it is decided what snapshots have of it.
//!
//! A hard link keeps what the store appends until it removes the log, and after that. Where there can be no link, what is new is copied
//! in each run. Held logs lie in `<hold>/<cluster>/<host>/`, never in the tree. What is decided of them is said by the snapshots of their tree, so
//! a hold belongs to one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::Escaped;
use crate::files::{mtime, trusted};
use crate::names::{Cluster, Digest, Host};

/// How names of held logs begin: links by their inode, copies by the digest of their first bytes.
const LINK: &str = "link-";
const COPY: &str = "copy-";
/// How they end.
const END: &str = ".wal";

/// The file that names the tree whose logs are held.
const TREE: &str = "tree-of-these-logs";

/// Bytes that are compared, or copied, at a time.
const PIECE: usize = 256 << 10;

/// A folder of held logs.
#[derive(Debug, Clone)]
pub struct Hold {
    folder: PathBuf,
}

impl Hold {
    /// Of this folder, which need not exist yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn of_host(&self, cluster: &Cluster, host: &Host) -> PathBuf {
        self.folder.join(cluster.as_str()).join(host.as_str())
    }

    /// The file that names the tree whose logs are held.
    pub fn marker(&self) -> PathBuf {
        self.folder.join(TREE)
    }

    /// Binds the folder to a tree, if it is not bound yet: by its canonical path, as numbers of devices change with a reboot. Gives the path of the
    /// tree that it belongs to, if that is another one. Blocks.
    ///
    /// # Errors
    /// The folder cannot be written, or there is no such tree.
    pub fn bind(&self, tree: &Path) -> io::Result<Option<String>> {
        let own = Escaped(&fs::canonicalize(tree)?).to_string();
        fs::create_dir_all(&self.folder)?;
        let mut marker = OpenOptions::new().read(true).append(true).create(true).open(self.marker())?;
        if self.bound()?.is_none() {
            marker.write_all(format!("{own}\n").as_bytes())?;
            marker.sync_all()?;
        }
        // of two runs that write at the same time the first one counts
        self.other_than(tree)
    }

    /// The path of the tree that the folder belongs to, if it is not this one. Blocks.
    ///
    /// # Errors
    /// The folder cannot be read, or there is no such tree.
    pub fn other_than(&self, tree: &Path) -> io::Result<Option<String>> {
        let own = Escaped(&fs::canonicalize(tree)?).to_string();
        Ok(self.bound()?.filter(|tree| *tree != own))
    }

    fn bound(&self) -> io::Result<Option<String>> {
        match File::open(self.marker()) {
            Ok(marker) => BufReader::new(marker).lines().next().transpose(),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Holds the log at `live`, or what is new of it. Gives where. None if there is no log, or nothing in it: `first` gives how many bytes it has up to the
    /// end of its first record. Blocks.
    ///
    /// # Errors
    /// It cannot be held.
    pub fn keep(&self, cluster: &Cluster, host: &Host, live: &Path, first: impl Fn(&File) -> io::Result<Option<u64>>) -> io::Result<Option<PathBuf>> {
        let status = match fs::symlink_metadata(live) {
            Ok(status) if status.is_file() => status,
            Ok(_) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let folder = self.of_host(cluster, host);
        fs::create_dir_all(&folder)?;
        let link = folder.join(format!("{LINK}{:x}{END}", status.ino()));
        match fs::hard_link(live, &link) {
            Ok(()) => Ok(Some(named_by_inode(link, &folder)?)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && is_same(&link, &status) => Ok(Some(link)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists || allows_no_link(&e) => copied(&folder, live, first),
            Err(e) => Err(e),
        }
    }

    /// The held logs of a host, the oldest first.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn logs(&self, cluster: &Cluster, host: &Host) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for (name, entry) in entries(&self.of_host(cluster, host))? {
            let is_ours = (name.starts_with(LINK) || name.starts_with(COPY)) && name.ends_with(END);
            let status = entry.metadata()?;
            if is_ours && status.is_file() {
                found.push((mtime(&status), entry.path()));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// All hosts of which there is a folder.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn hosts(&self) -> io::Result<Vec<(Cluster, Host)>> {
        let mut found = Vec::new();
        for (cluster, entry) in entries(&self.folder)? {
            let Some(cluster) = Cluster::new(&cluster).filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) else { continue };
            let hosts = entries(&entry.path())?.into_iter().filter(|(_, entry)| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            found.extend(hosts.map(|(host, _)| (cluster.clone(), Host::new(&host))));
        }
        found.sort();
        Ok(found)
    }

    /// Gives a held log up that is held under another name as well. False if the other one is not held.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn release_twin(&self, held: &Path, other: &Path) -> io::Result<bool> {
        let is_twin = held != other && other.starts_with(&self.folder) && identity(held).is_some_and(|of_held| identity(other) == Some(of_held));
        if is_twin { self.release(held, fs::symlink_metadata(held)?.len()) } else { Ok(false) }
    }

    /// Gives a held log up, if it still has so many bytes, and the folders in which there is nothing more. True if it is gone.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn release(&self, held: &Path, size: u64) -> io::Result<bool> {
        if !held.starts_with(&self.folder) || fs::symlink_metadata(held)?.len() != size {
            return Ok(false);
        }
        fs::remove_file(held)?;
        // folders that are not empty stay
        let _ = held.ancestors().skip(1).take(2).try_for_each(fs::remove_dir);
        Ok(true)
    }
}

/// True if a held log is a link.
pub fn is_link(held: &Path) -> bool {
    begins(held, LINK)
}

/// True if a held log is a copy.
pub fn is_copy(held: &Path) -> bool {
    begins(held, COPY)
}

fn begins(path: &Path, with: &str) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(with.as_bytes()))
}

/// Device and inode of a file, if it is there.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|status| (status.dev(), status.ino()))
}

/// What is in a folder, by name; nothing if there is none. Names that are not UTF-8 are nobody's.
fn entries(folder: &Path) -> io::Result<Vec<(String, fs::DirEntry)>> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let entries: Vec<fs::DirEntry> = listed.collect::<Result<_, _>>()?;
    Ok(entries.into_iter().filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry))).collect())
}

fn is_same(path: &Path, status: &fs::Metadata) -> bool {
    identity(path) == Some((status.dev(), status.ino()))
}

/// The store may have put another log in its place before it was linked: then the link gets that one's name.
fn named_by_inode(link: PathBuf, folder: &Path) -> io::Result<PathBuf> {
    let name = folder.join(format!("{LINK}{:x}{END}", fs::symlink_metadata(&link)?.ino()));
    if name != link {
        fs::rename(&link, &name)?;
    }
    Ok(name)
}

/// Another file system, one without links, or a system that lets only the owner link.
fn allows_no_link(e: &io::Error) -> bool {
    let errno = e.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS))
}

/// Copies what is new of a log. It is known by its first record.
fn copied(folder: &Path, live: &Path, first: impl Fn(&File) -> io::Result<Option<u64>>) -> io::Result<Option<PathBuf>> {
    let source = match trusted::open(live) {
        Ok(source) => source,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some(first) = first(&source)? else { return Ok(None) };
    let mut head = vec![0; first as usize];
    source.read_exact_at(&mut head, 0)?;
    let digest = Digest::of(&head).to_string();
    for number in 0.. {
        let path = folder.join(format!("{COPY}{}-{number}{END}", &digest[..16]));
        let mut copy = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        if !begins_with(&source, &copy)? {
            continue;
        }
        let size = copy.metadata()?.len();
        let mut rest = BufReader::with_capacity(PIECE, trusted::ReadFrom { file: &source, at: size });
        io::copy(&mut rest, &mut copy)?;
        copy.flush()?;
        copy.sync_all()?;
        return Ok(Some(path));
    }
    Ok(None)
}

/// True if a log begins with all that was copied.
fn begins_with(log: &File, copy: &File) -> io::Result<bool> {
    let (mut left, mut at) = (copy.metadata()?.len(), 0);
    if log.metadata()?.len() < left {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    while left > 0 {
        let count = left.min(PIECE as u64) as usize;
        log.read_exact_at(&mut a[..count], at)?;
        copy.read_exact_at(&mut b[..count], at)?;
        if a[..count] != b[..count] {
            return Ok(false);
        }
        (left, at) = (left - count as u64, at + count as u64);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Site {
        folder: tempfile::TempDir,
        hold: Hold,
    }

    impl Site {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let hold = Hold::new(&folder.path().join("hold"));
            Self { folder, hold }
        }

        fn live(&self) -> PathBuf {
            self.folder.path().join("current.wal")
        }

        fn names() -> (Cluster, Host) {
            (Cluster::new("c").expect("valid"), Host::new("n1"))
        }

        fn keep(&self) -> Option<PathBuf> {
            let (cluster, host) = Self::names();
            self.hold.keep(&cluster, &host, &self.live(), |_| Ok(Some(4))).expect("held")
        }

        fn held(&self) -> Vec<Vec<u8>> {
            let (cluster, host) = Self::names();
            self.hold.logs(&cluster, &host).expect("listed").iter().map(|path| fs::read(path).expect("read")).collect()
        }

        fn append(&self, bytes: &[u8]) {
            OpenOptions::new().append(true).create(true).open(self.live()).and_then(|mut file| file.write_all(bytes)).expect("written");
        }
    }

    #[test]
    fn a_link_keeps_what_is_appended_and_outlives_the_log() {
        let site = Site::new();
        assert_eq!(site.keep(), None, "there is none");
        site.append(b"first");
        let held = site.keep().expect("held");
        site.append(b" second");
        assert_eq!(site.keep(), Some(held.clone()), "it is held already");
        fs::remove_file(site.live()).expect("removed");
        site.append(b"other");
        site.keep().expect("held");
        let mut all = site.held();
        all.sort();
        assert_eq!(all, [b"first second".to_vec(), b"other".to_vec()]);
        assert_eq!(site.hold.hosts().expect("listed"), [Site::names()]);
        assert!(!site.hold.release(&held, 5).expect("looked at"), "it has grown");
        assert!(site.hold.release(&held, 12).expect("removed"));
        assert_eq!(site.held(), [b"other".to_vec()]);
        assert!(!site.hold.release(&site.live(), 5).expect("looked at"), "what is not held is not touched");
    }

    #[test]
    fn a_hold_belongs_to_the_first_tree_that_it_is_used_for() {
        let site = Site::new();
        let [one, other] = ["one", "other"].map(|name| site.folder.path().join(name));
        [&one, &other].into_iter().for_each(|tree| fs::create_dir(tree).expect("made"));
        assert_eq!(site.hold.other_than(&one).expect("looked at"), None, "it is nobody's yet");
        assert_eq!(site.hold.bind(&one).expect("bound"), None);
        assert_eq!(site.hold.bind(&site.folder.path().join("other/../one")).expect("bound"), None, "another way to the same tree");
        let of = site.hold.bind(&other).expect("looked at").expect("it is refused");
        assert_eq!(of, Escaped(&fs::canonicalize(&one).expect("there")).to_string());
        assert_eq!(site.hold.hosts().expect("listed"), []);
        // a run was killed before it had written the name
        fs::write(site.hold.marker(), "").expect("emptied");
        assert_eq!(site.hold.bind(&other).expect("bound"), None);
        assert!(site.hold.bind(&one).expect("looked at").is_some());
    }

    #[test]
    fn a_copy_gets_what_is_new_and_another_log_another_copy() {
        let site = Site::new();
        let folder = site.folder.path().join("hold/c/n1");
        fs::create_dir_all(&folder).expect("made");
        let copy = || copied(&folder, &site.live(), |_| Ok(Some(4))).expect("copied");
        assert_eq!(copy(), None, "there is none");
        site.append(b"first");
        let held = copy();
        site.append(b" second");
        assert_eq!(copy(), held);
        fs::remove_file(site.live()).expect("removed");
        // it begins as the other one does, and is another one
        site.append(b"firm");
        let other = copy();
        assert_ne!(other, held);
        site.append(b" grip");
        assert_eq!(copy(), other);
        let mut all = site.held();
        all.sort();
        assert_eq!(all, [b"firm grip".to_vec(), b"first second".to_vec()]);
    }
}
