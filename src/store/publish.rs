//! A directory's objects get their names when they are whole, and only names that no other object has.

use std::fmt;
use std::fs::{self, File};
use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::path::Path as Key;
use rustix::fs::{CWD, RenameFlags};

use super::staging::{TRIAL, TRIED};
use super::{Archive, create_durably};
use crate::error::{Error, Result};
use crate::partition::Partition;
use crate::random;
use crate::workers::blocking;

/// What became of an object that was to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is there. Its ETag, if there was an answer that told it.
    Done(Option<String>),
    /// Another object stands under the key.
    Taken,
    /// Nothing stands there, and the upload's parts are gone: it must be begun anew.
    Gone,
}

/// How a file gets a name that nobody has: the best that the file system can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// By `renameat2` with `RENAME_NOREPLACE`.
    NoReplace,
    /// By a hard link.
    Link,
    /// By a rename, which would replace another file.
    Rename,
}

impl Naming {
    /// True if a name that is taken stays what it is.
    pub fn is_exclusive(self) -> bool {
        self != Self::Rename
    }
}

/// The system's calls that give files names; tests have their own.
pub trait FileNames: fmt::Debug + Send + Sync {
    /// `renameat2` with `RENAME_NOREPLACE`.
    fn rename_no_replace(&self, from: &Path, to: &Path) -> IoResult<()>;
    /// `link`.
    fn link(&self, from: &Path, to: &Path) -> IoResult<()>;
}

/// Those of the system.
#[derive(Debug)]
pub struct SystemNames;

impl FileNames for SystemNames {
    fn rename_no_replace(&self, from: &Path, to: &Path) -> IoResult<()> {
        Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    fn link(&self, from: &Path, to: &Path) -> IoResult<()> {
        fs::hard_link(from, to)
    }
}

/// Device and inode.
fn identity(path: &Path) -> IoResult<(u64, u64)> {
    fs::symlink_metadata(path).map(|status| (status.dev(), status.ino()))
}

/// True if the file system does not know this call.
fn is_unknown(e: &IoError) -> bool {
    use rustix::io::Errno;
    let errno = e.raw_os_error().map(Errno::from_raw_os_error);
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM, Errno::XDEV].map(Some).contains(&errno)
}

/// Gives `from` the name `to`. False if another file has it. A network file system can carry a call out and lose the answer: so it is the file
/// that tells, not the error.
fn give_name(names: &dyn FileNames, naming: Naming, from: &Path, to: &Path) -> IoResult<bool> {
    let ours = identity(from)?;
    let given = match naming {
        Naming::NoReplace => names.rename_no_replace(from, to),
        Naming::Link => names.link(from, to),
        Naming::Rename if identity(to).is_ok() => return Ok(false),
        Naming::Rename => fs::rename(from, to),
    };
    match given {
        Ok(()) => {}
        Err(e) => match identity(to) {
            Ok(found) if found == ours => {}
            Ok(_) if e.kind() == ErrorKind::AlreadyExists => return Ok(false),
            _ => return Err(e),
        },
    }
    match fs::remove_file(from) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(true),
    }
}

/// Finds out how files get names in another folder than their own, as objects do: with a file in this folder and one in a folder within.
fn try_naming(names: &dyn FileNames, folder: &Path) -> IoResult<Naming> {
    let other = folder.join(format!("{TRIAL}{}", random::token().map_err(IoError::other)?));
    fs::create_dir(&other)?;
    let (one, two) = (folder.join(TRIED), other.join(TRIED));
    let attempt = || {
        for naming in [Naming::NoReplace, Naming::Link] {
            for file in [&one, &two] {
                fs::write(file, "")?;
            }
            match give_name(names, naming, &one, &two) {
                Ok(false) => return Ok(naming),
                // it has replaced a file that it should not have
                Ok(true) => {}
                Err(e) if is_unknown(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Naming::Rename)
    };
    let found = attempt();
    for file in [&one, &two] {
        let _ = fs::remove_file(file);
    }
    let _ = fs::remove_dir(&other);
    found
}

/// The names in a folder, its own, and those of the folders above it up to the archive's are there after a crash, whoever gave them.
fn sync_folders(folder: &Path, root: &Path) -> IoResult<()> {
    folder.ancestors().take_while(|folder| folder.starts_with(root)).try_for_each(|folder| File::open(folder)?.sync_all())
}

impl Archive {
    /// What stands in a directory's partition is there after a crash, too; a run that was killed may not have seen to that.
    pub async fn settle(&self, partition: &Partition) -> Result<()> {
        if !self.is_local() {
            return Ok(());
        }
        let (folder, root) = (self.path_of(&partition.path())?, self.path_of(&Key::default())?);
        let shown = folder.clone();
        blocking(move || sync_folders(&folder, &root)).await?.map_err(Error::io("cannot sync", &shown))
    }

    /// Takes away the folder of a partition of a directory, and that of its cluster, if nothing is in them any more.
    pub async fn clear_folder(&self, partition: &Partition) -> Result<()> {
        if !self.is_local() {
            return Ok(());
        }
        let folder = self.path_of(&partition.path())?;
        // one that is not empty, or cannot be taken away, stays
        blocking(move || drop(fs::remove_dir(&folder).and_then(|()| folder.parent().map_or(Ok(()), fs::remove_dir)))).await
    }

    fn path_of(&self, key: &Key) -> Result<PathBuf> {
        let root = self.staging.as_ref().map(|staging| staging.archive());
        root.map(|root| root.join(key.as_ref())).ok_or_else(|| Error::Internal(format!("{key} is not in a directory")))
    }

    pub(super) async fn try_naming(&self) -> Result<Naming> {
        let staged = self.staged(&Key::from("name"))?.ok_or_else(|| Error::Internal("no directory".into()))?;
        let folder = self.path_of(&staged)?.parent().map(Path::to_owned).unwrap_or_default();
        let names = Arc::clone(&self.names);
        let shown = folder.clone();
        blocking(move || try_naming(&*names, &folder)).await?.map_err(Error::io("cannot try how files get their names in", &shown))
    }

    /// Gives a staged object its key, durably, unless that is taken. It is not staged any more then.
    pub async fn publish(&self, staged: &Key, key: &Key) -> Result<Created> {
        let naming = self.naming().await?;
        let (from, to) = (self.path_of(staged)?, self.path_of(key)?);
        let (names, shown, root) = (Arc::clone(&self.names), to.clone(), self.path_of(&Key::default())?);
        let publish = move || {
            let folder = to.parent().map(Path::to_owned).unwrap_or_default();
            let given = create_durably(&folder).and_then(|()| give_name(&*names, naming, &from, &to));
            if !matches!(given, Ok(true)) {
                let _ = fs::remove_file(&from);
            }
            if given? {
                sync_folders(&folder, &root)?;
                return Ok(Created::Done(None));
            }
            Ok(Created::Taken)
        };
        blocking(publish).await?.map_err(Error::io("cannot write", &shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A file system that lacks calls, or loses the answer to them.
    #[derive(Debug, Default)]
    struct Lacking {
        no_replace: bool,
        link: bool,
        loses: AtomicBool,
    }

    impl Lacking {
        fn answer(&self, done: IoResult<()>) -> IoResult<()> {
            // a server that has carried the call out hears it again
            if self.loses.swap(false, Ordering::Relaxed) { Err(IoError::from_raw_os_error(rustix::io::Errno::EXIST.raw_os_error())) } else { done }
        }
    }

    impl FileNames for Lacking {
        fn rename_no_replace(&self, from: &Path, to: &Path) -> IoResult<()> {
            if self.no_replace {
                return Err(IoError::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error()));
            }
            self.answer(SystemNames.rename_no_replace(from, to))
        }

        fn link(&self, from: &Path, to: &Path) -> IoResult<()> {
            if self.link {
                return Err(IoError::from_raw_os_error(rustix::io::Errno::OPNOTSUPP.raw_os_error()));
            }
            self.answer(SystemNames.link(from, to))
        }
    }

    fn files() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "ours").expect("written");
        (folder, from, to)
    }

    #[test]
    fn the_best_call_that_the_file_system_knows_is_taken() {
        let found = |no_replace, link| {
            let folder = tempfile::tempdir().expect("a folder");
            let found = try_naming(&Lacking { no_replace, link, ..Lacking::default() }, folder.path()).expect("it can be tried");
            assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0, "nothing stays");
            found
        };
        assert_eq!([found(false, false), found(true, false), found(true, true)], [Naming::NoReplace, Naming::Link, Naming::Rename]);
    }

    #[test]
    fn a_name_that_is_taken_stays_what_it_is() {
        for naming in [Naming::NoReplace, Naming::Link, Naming::Rename] {
            let (folder, from, to) = files();
            fs::write(&to, "theirs").expect("written");
            assert!(!give_name(&SystemNames, naming, &from, &to).expect("it is told"), "{naming:?}");
            assert_eq!(fs::read_to_string(&to).expect("there"), "theirs");
            fs::remove_file(&to).expect("removed");
            assert!(give_name(&SystemNames, naming, &from, &to).expect("it is free"), "{naming:?}");
            assert_eq!(fs::read_to_string(&to).expect("there"), "ours");
            assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "{naming:?}: under one name only");
        }
    }

    #[test]
    fn a_lost_answer_is_not_taken_for_somebody_elses_file() {
        for naming in [Naming::NoReplace, Naming::Link] {
            let (_folder, from, to) = files();
            let names = Lacking { loses: true.into(), ..Lacking::default() };
            assert!(give_name(&names, naming, &from, &to).expect("it is ours"), "{naming:?}");
            assert!(!from.exists() && to.exists());
        }
    }
}
