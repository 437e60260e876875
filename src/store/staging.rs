//! Objects of a directory are staged below `_tmp/`, which readers pass over, and renamed when they are whole and synced.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object_store::path::Path as Key;

use super::random_token;
use crate::error::{Error, Escaped, Result};

/// Where unfinished objects of a directory lie.
pub const STAGING: &str = "_tmp";

/// How often a folder is made, if others clear it away.
const TRIES: usize = 20;

/// A folder below `_tmp/` of this process' own, locked as long as it lives.
pub struct Staging {
    root: PathBuf,
    folder: std::sync::Mutex<Option<(String, File)>>,
}

impl Staging {
    /// Nothing is made yet.
    pub fn new(archive: &Path) -> Self {
        Self { root: archive.join(STAGING), folder: std::sync::Mutex::new(None) }
    }

    /// The archive's directory.
    pub fn archive(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// Makes the folder at the first use, and clears those that killed runs left.
    pub fn key_for(&self, key: &Key) -> Result<Key> {
        let mut folder = self.folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = match &*folder {
            Some((name, _)) => name.clone(),
            None => {
                clear_abandoned(&self.root);
                folder.insert(own_folder(&self.root)?).0.clone()
            }
        };
        Ok(Key::from_iter([STAGING, &name, &key.as_ref().replace(['/', '%', '='], "-")]))
    }
}

/// Makes a folder and locks it. Runs that begin at the same time clear away what nobody has locked yet, and take `_tmp` itself away when
/// they end: so a folder counts when it is locked and still there.
fn own_folder(root: &Path) -> Result<(String, File)> {
    let mut left = TRIES;
    loop {
        let name = format!("{}-{}", std::process::id(), random_token()?);
        let path = root.join(&name);
        left -= 1;
        let lock = match std::fs::create_dir_all(&path).and_then(|()| File::open(&path)) {
            Ok(lock) => lock,
            Err(e) if [ErrorKind::NotFound, ErrorKind::AlreadyExists].contains(&e.kind()) && left > 0 => continue,
            Err(e) => return Err(Error::io("cannot create", &path)(e)),
        };
        match lock.try_lock() {
            Ok(()) if is_at(&lock, &path) => return Ok((name, lock)),
            Ok(()) | Err(TryLockError::WouldBlock) if left > 0 => {}
            Ok(()) | Err(TryLockError::WouldBlock) => return Err(Error::Archive(format!("{} is cleared away by other runs again and again", Escaped(&path)))),
            // without locks other runs cannot tell this folder from an abandoned one, and leave both alone
            Err(TryLockError::Error(e)) => {
                tracing::debug!(path = %Escaped(&path), "cannot lock: {e}");
                return Ok((name, lock));
            }
        }
    }
}

/// True if what is open still has this path.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |status: std::io::Result<std::fs::Metadata>| status.map(|status| (status.dev(), status.ino())).ok();
    place(file.metadata()).is_some_and(|open| place(std::fs::metadata(path)) == Some(open))
}

impl Drop for Staging {
    fn drop(&mut self) {
        let folder = self.folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some((name, lock)) = folder {
            // fails, rightly, where something is left in them
            let _ = std::fs::remove_dir(self.root.join(name));
            let _ = std::fs::remove_dir(&self.root);
            drop(lock);
        }
    }
}

/// Removes staging folders whose process is gone: nobody holds their lock.
pub fn clear_abandoned(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        // held until all is gone: whoever made it just now sees that it is not his any more
        let lock = File::open(&path).ok().filter(|lock| lock.try_lock().is_ok());
        if lock.is_some() && entry.file_type().is_ok_and(|t| t.is_dir()) {
            match std::fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!(path = %Escaped(&path), "cleared what an interrupted run left"),
                Err(e) => tracing::warn!(path = %Escaped(&path), "cannot clear what an interrupted run left: {e}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs_that_begin_at_once_keep_their_folders() {
        let archive = tempfile::tempdir().expect("a folder");
        let run = || {
            for _ in 0..200 {
                let staging = super::Staging::new(archive.path());
                let key = staging.key_for(&super::Key::from("a")).expect("a folder of its own");
                let path = archive.path().join(key.as_ref());
                std::fs::write(&path, "x").expect("the folder is there");
                std::fs::remove_file(&path).expect("and the file in it");
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(run))));
    }

    use crate::store::{Archive, Location};
    use object_store::path::Path as Key;
    use std::path::Path;

    #[test]
    fn what_a_killed_run_staged_is_cleared_and_what_a_live_one_stages_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = Key::from("cluster=a/date=2026-03-01/x.parquet");
        let abandoned = folder.path().join("_tmp/1-dead");
        std::fs::create_dir_all(&abandoned).expect("created");
        let live = Archive::directory(folder.path()).expect("opened");
        let staged = live.staged(&key).expect("staged").expect("a directory stages");
        assert!(!abandoned.exists());
        let second = Archive::directory(folder.path()).expect("opened");
        second.staged(&key).expect("staged");
        assert!(folder.path().join(staged.as_ref()).parent().is_some_and(Path::exists));
        drop((live, second));
        assert!(!folder.path().join("_tmp").exists());
    }

    #[test]
    fn what_a_killed_run_staged_is_cleared_by_a_run_that_stages_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let abandoned = folder.path().join("_tmp/1-dead");
        let location = Location::Directory(folder.path().into());
        std::fs::create_dir_all(&abandoned).expect("created");
        drop(Archive::open(&location, None, true).expect("opened"));
        assert!(abandoned.exists(), "only to be read");
        drop(Archive::open(&location, None, false).expect("opened"));
        assert!(!abandoned.exists());
    }
}
