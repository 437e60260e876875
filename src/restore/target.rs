//! The directory that checkpoints go to. What is there already is never overwritten.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Escaped, Result};
use crate::files::{Compression, Filter, Format, Kind};
use crate::names::Cluster;
use crate::settings::Windows;

/// How the name of a file begins that is not whole yet, and how it ends: cc-backend reads no such files.
const UNFINISHED: (&str, &str) = (".cc-archiver-", ".tmp");

/// Bytes that are written or compared at a time.
const CHUNK: usize = 128 << 10;

/// Rights of a new file, of which the umask takes some.
const MODE: u32 = 0o666;

/// A window seldom has more files than this: one for each second of a minute at which samples can come, and some.
const USUAL_FILES: i64 = 64;

/// Of other files so many are named.
const NAMED: usize = 3;

/// What is in a directory before anything is restored.
#[derive(Debug, Default)]
pub struct Present {
    /// Checkpoints that may be of an earlier run.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that an earlier run did not finish.
    unfinished: Vec<PathBuf>,
    /// How much else is there, and some of it.
    others: (u64, Vec<PathBuf>),
}

impl Present {
    /// Looks through a directory, which need not be there. What a run with this filter writes is told from all else.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn look(dir: &Path, filter: &Filter, windows: Windows, kind: Kind) -> Result<Self> {
        let mut found = Self::default();
        for cluster in listed(dir)? {
            let name = cluster.file_name().into_string().ok().filter(|name| is_folder(&cluster) && filter.admits_cluster(name));
            let Some(cluster_name) = name else {
                found.other(cluster.path());
                continue;
            };
            for host in listed(&cluster.path())? {
                let is_ours = is_folder(&host) && host.file_name().to_str().is_some_and(|name| filter.admits_host(&cluster_name, name));
                if !is_ours {
                    found.other(host.path());
                    continue;
                }
                for file in listed(&host.path())? {
                    found.file(&file, windows, kind);
                }
            }
        }
        Ok(found)
    }

    fn file(&mut self, file: &std::fs::DirEntry, windows: Windows, kind: Kind) {
        let (path, name) = (file.path(), file.file_name());
        let status = file.metadata().ok().filter(|status| status.is_file());
        let is_unfinished = name.to_str().is_some_and(|name| name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1));
        let from = Format::of_name(name.as_encoded_bytes()).filter(|(_, format)| *format == Format { kind, compression: Compression::None });
        let from = from.and_then(|(stem, _)| std::str::from_utf8(stem).ok()?.parse::<i64>().ok());
        match (status, from) {
            (Some(_), _) if is_unfinished => self.unfinished.push(path),
            (Some(status), Some(from)) if is_name(from, windows) => {
                self.files += 1;
                self.bytes += status.len();
            }
            _ => self.other(path),
        }
    }

    fn other(&mut self, path: PathBuf) {
        self.others.0 += 1;
        if self.others.1.len() < NAMED {
            self.others.1.push(path);
        }
    }

    /// Removes what an earlier run did not finish. Nobody else may write to the directory.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn clear(&self) -> Result<()> {
        self.unfinished.iter().try_for_each(|path| std::fs::remove_file(path).map_err(Error::io("cannot remove", path)))
    }

    /// Refuses a directory that holds anything else.
    ///
    /// # Errors
    /// [`Error::Usage`] names some of it.
    pub fn check_alone(&self, dir: &Path) -> Result<()> {
        let (count, some) = &self.others;
        if *count == 0 {
            return Ok(());
        }
        let named: Vec<String> = some.iter().map(|path| Escaped(path.strip_prefix(dir).unwrap_or(path)).to_string()).collect();
        let more = if *count > some.len() as u64 { ", …" } else { "" };
        Err(Error::Usage(format!(
            "{} holds what this run would not write: {}{more}\n  hint: choose an empty directory; --force writes beside what is there, and overwrites nothing",
            Escaped(dir),
            named.join(", ")
        )))
    }
}

/// True if a file could have this name: windows have regular beginnings, where cc-backend's own files begin at any second.
fn is_name(from: i64, windows: Windows) -> bool {
    (windows.from..windows.to).contains(&from) && from - windows.of(from).0 < USUAL_FILES
}

fn is_folder(entry: &std::fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// What is in a folder, in order; nothing if it is not there.
fn listed(folder: &Path) -> Result<Vec<std::fs::DirEntry>> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match entries {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let mut entries = entries.map_err(Error::io("cannot list", folder))?;
            entries.sort_by_key(std::fs::DirEntry::file_name);
            Ok(entries)
        }
    }
}

/// Bytes that a user without special rights may still write where a directory is, or will be.
///
/// # Errors
/// The file system does not say.
pub fn free_space(dir: &Path) -> Result<u64> {
    let absolute = std::path::absolute(dir).map_err(Error::io("cannot find", dir))?;
    let there = absolute.ancestors().find(|path| path.exists()).unwrap_or(&absolute);
    let space = rustix::fs::statvfs(there).map_err(|e| Error::io("cannot ask for free space of", there)(e.into()))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// The directory, while checkpoints are written to it.
#[derive(Debug, Clone)]
pub struct Target {
    dir: PathBuf,
    kind: Kind,
}

/// What became of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was written.
    Written,
    /// It was there already, with the same bytes.
    Same,
    /// Something else has its name, and stays.
    InTheWay,
}

/// A checkpoint that is written, but not visible yet; or what stands in its place.
#[derive(Debug)]
pub enum Staged {
    /// It is whole, and waits for its name.
    New(NamedTempFile, u64),
    /// There is something of this name.
    There(Put),
}

impl Target {
    /// Makes the directory if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(dir: &Path, kind: Kind) -> Result<Self> {
        created(dir).map_err(Error::io("cannot create", dir))?;
        Ok(Self { dir: dir.to_owned(), kind })
    }

    /// Makes the folder of a host; or says why there can be none, though others may have theirs.
    ///
    /// # Errors
    /// There is no room, or nothing can be written at all.
    pub fn folder(&self, cluster: &Cluster, host: &str) -> Result<std::result::Result<PathBuf, String>> {
        // a host's name follows the rules of a cluster's: it must lead nowhere else
        let Some(name) = Cluster::new(host) else { return Ok(Err("no folder can have the host's name".into())) };
        let folder = self.dir.join(cluster.as_str()).join(name.as_str());
        match created(&folder) {
            Ok(()) => Ok(Ok(folder)),
            Err(e) if is_of_the_disk(&e) => Err(Error::io("cannot create", &folder)(e)),
            Err(e) => Ok(Err(format!("its folder {} cannot be made: {e}", Escaped(&folder)))),
        }
    }

    /// The path of a checkpoint.
    pub fn path(&self, folder: &Path, from: i64) -> PathBuf {
        folder.join(format!("{from}.{}", super::extension(self.kind)))
    }

    /// Writes a checkpoint beside its place, or compares it with what stands there.
    ///
    /// # Errors
    /// It cannot be written, or what stands there cannot be read.
    pub fn stage(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Staged> {
        let failed = Error::io("cannot write", path);
        match std::fs::symlink_metadata(path) {
            Ok(status) if !status.is_file() => Ok(Staged::There(Put::InTheWay)),
            Ok(_) => compared(path, write).map(Staged::There).map_err(Error::io("cannot compare", path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => new(path, write).map(|(file, bytes)| Staged::New(file, bytes)).map_err(failed),
            Err(e) => Err(failed(e)),
        }
    }

    /// Makes a checkpoint durable, then visible; gives the bytes that were written.
    ///
    /// # Errors
    /// The disk takes it not.
    pub fn publish(path: &Path, staged: Staged) -> Result<(Put, u64)> {
        let (file, bytes) = match staged {
            Staged::There(put) => return Ok((put, 0)),
            Staged::New(file, bytes) => (file, bytes),
        };
        let failed = |e| Error::io("cannot write", path)(e);
        file.as_file().sync_all().map_err(failed)?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok((Put::Written, bytes)),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok((Put::InTheWay, 0)),
            Err(e) => Err(failed(e.error)),
        }
    }

    /// Makes the names of a folder durable.
    ///
    /// # Errors
    /// The disk does not say that they are.
    pub fn settle(folder: &Path) -> Result<()> {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("cannot sync", folder))
    }
}

fn created(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(folder)
}

/// True if no other folder could be made either.
fn is_of_the_disk(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem)
}

fn new(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<(NamedTempFile, u64)> {
    let folder = path.parent().unwrap_or(path);
    let named = |name| tempfile::Builder::new().prefix(UNFINISHED.0).suffix(name).permissions(Permissions::from_mode(MODE)).tempfile_in(folder);
    let mut out = BufWriter::with_capacity(CHUNK, named(UNFINISHED.1)?);
    write(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    let bytes = file.as_file().metadata()?.len();
    Ok((file, bytes))
}

/// Whether a file has the bytes that are written.
fn compared(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Put> {
    let file = BufReader::with_capacity(CHUNK, File::open(path)?);
    let mut out = BufWriter::with_capacity(CHUNK, Compare { file, is_same: true });
    write(&mut out)?;
    let Compare { mut file, is_same } = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(if is_same && file.read(&mut [0])? == 0 { Put::Same } else { Put::InTheWay })
}

/// Takes bytes, and looks whether a file has the same.
struct Compare {
    file: BufReader<File>,
    is_same: bool,
}

impl Write for Compare {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_same {
            let mut there = vec![0; bytes.len()];
            self.is_same = match self.file.read_exact(&mut there) {
                Ok(()) => there == bytes,
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => false,
                Err(e) => return Err(e),
            };
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
