//! Objects of a directory are staged below `_tmp/`, which readers pass over, and renamed when they are whole and synced.

use std::fs::File;
use std::path::{Path, PathBuf};

use object_store::path::Path as Key;

use super::random_token;
use crate::error::{Error, Escaped, Result};

/// Where unfinished objects of a directory lie.
pub const STAGING: &str = "_tmp";

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

    /// Makes the folder at the first use, and clears those that killed runs left.
    pub fn key_for(&self, key: &Key) -> Result<Key> {
        let mut folder = self.folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = match &*folder {
            Some((name, _)) => name.clone(),
            None => {
                clear_abandoned(&self.root);
                let name = format!("{}-{}", std::process::id(), random_token()?);
                let path = self.root.join(&name);
                std::fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
                let lock = File::open(&path).map_err(Error::io("cannot open", &path))?;
                // without locks other runs cannot tell this folder from an abandoned one, and leave both alone
                if let Err(e) = lock.try_lock() {
                    tracing::debug!(path = %Escaped(&path), "cannot lock: {e}");
                }
                folder.insert((name, lock)).0.clone()
            }
        };
        Ok(Key::from_iter([STAGING, &name, &key.as_ref().replace(['/', '%', '='], "-")]))
    }
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
        let abandoned = File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok());
        if abandoned && entry.file_type().is_ok_and(|t| t.is_dir()) {
            match std::fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!(path = %Escaped(&path), "cleared what an interrupted run left"),
                Err(e) => tracing::warn!(path = %Escaped(&path), "cannot clear what an interrupted run left: {e}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
