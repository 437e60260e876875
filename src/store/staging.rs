//! Objects of a directory are staged below `_tmp/`, which readers pass over, and renamed when they are whole and synced.

use std::ffi::CString;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use object_store::path::Path as Key;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Escaped, Result};
use crate::random;

/// Where unfinished objects of a directory lie.
pub const STAGING: &str = "_tmp";

/// The file that says of a staging folder that it is ours. It is the first to come into the folder, and the last to go.
const MARKER: &str = "cc-archiver";

/// How the name of a folder begins in which a name is tried.
pub const TRIAL: &str = "names-";
/// The file in it.
pub const TRIED: &str = "name";

/// So long another machine's folder is left alone.
const A_DAY: Duration = Duration::from_secs(86_400);

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

    /// Makes the folder at the first use.
    pub fn key_for(&self, key: &Key) -> Result<Key> {
        let mut folder = self.folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = match &*folder {
            Some((name, _)) => name.clone(),
            None => folder.insert(own_folder(&self.root)?).0.clone(),
        };
        Ok(Key::from_iter([STAGING, &name, &key.as_ref().replace(['/', '%', '='], "-")]))
    }
}

/// Makes a folder, locks it and marks it. A kill in between leaves an empty folder. Runs that begin at the same time clear away what nobody has locked yet, and take `_tmp` itself away when
/// they end: so a folder counts when it is locked and still there.
fn own_folder(root: &Path) -> Result<(String, File)> {
    let mut left = TRIES;
    loop {
        let name = format!("{}-{}", std::process::id(), random::token()?);
        let path = root.join(&name);
        left -= 1;
        let lock = match std::fs::create_dir_all(&path).and_then(|()| File::open(&path)) {
            Ok(lock) => lock,
            Err(e) if [ErrorKind::NotFound, ErrorKind::AlreadyExists].contains(&e.kind()) && left > 0 => continue,
            Err(e) => return Err(Error::io("cannot create", &path)(e)),
        };
        match lock.try_lock() {
            Ok(()) if is_at(&lock, &path) => return mark(&path).map(|()| (name, lock)),
            Ok(()) | Err(TryLockError::WouldBlock) if left > 0 => {}
            Ok(()) | Err(TryLockError::WouldBlock) => {
                return Err(Error::Archive(format!(
                    "{} is cleared away by other runs again and again\n  hint: let fewer runs begin at the same time",
                    Escaped(&path)
                )));
            }
            // without locks other runs cannot tell this folder from an abandoned one, and leave both alone
            Err(TryLockError::Error(e)) => {
                tracing::debug!(path = %Escaped(&path), "cannot lock: {e}");
                return mark(&path).map(|()| (name, lock));
            }
        }
    }
}

/// The marker names this start of this machine: where locks are not shared, another machine's folder looks abandoned.
fn mark(folder: &Path) -> Result<()> {
    let path = folder.join(MARKER);
    File::create_new(&path).and_then(|mut marker| marker.write_all(boot().as_bytes())).map_err(Error::io("cannot create", &path))
}

/// What tells this start of this machine from others; empty where the system does not say.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// True if another machine, or this one before it was started anew, has marked the folder within the last day.
fn is_elsewhere(folder: &Path) -> bool {
    let marker = folder.join(MARKER);
    let by = std::fs::read_to_string(&marker).unwrap_or_default();
    let age = std::fs::symlink_metadata(&marker).and_then(|status| status.modified()).ok().and_then(|changed| changed.elapsed().ok());
    !by.is_empty() && by != boot() && age.is_none_or(|age| age < A_DAY)
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
            // nobody is left who could publish what is in it
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let removed = rustix::fs::open(&self.root, flags, Mode::empty()).and_then(|staging| remove_marked(staging, &name, &lock));
            if let Err(e) = removed {
                tracing::debug!(name, "cannot clear the staging folder: {e}");
            }
            // fails, rightly, where something is left in it
            let _ = std::fs::remove_dir(&self.root);
        }
    }
}

/// Removes staging folders whose process is gone: nobody holds their lock. Only what is ours goes: a folder with a name of our form that
/// holds our marker, or nothing. No link is followed; what else lies there is left alone.
pub fn clear_abandoned(root: &Path) {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(staging) = rustix::fs::open(root, flags, Mode::empty()) else { return };
    for name in names_in(&staging).unwrap_or_default().into_iter().filter_map(|name| name.into_string().ok().filter(|name| is_own_name(name))) {
        let Ok(folder) = rustix::fs::openat(&staging, &*name, flags, Mode::empty()).map(File::from) else { continue };
        // held until all is gone: whoever made it just now sees that it is not his any more
        if folder.try_lock().is_err() {
            continue;
        }
        let path = root.join(&name);
        if is_elsewhere(&path) {
            continue;
        }
        match remove_marked(&staging, &name, &folder) {
            Ok(true) => tracing::info!(path = %Escaped(&path), "cleared what an interrupted run left"),
            // another run was faster, or it is not ours
            Ok(false) | Err(Errno::NOENT) => {}
            Err(e) => tracing::warn!(path = %Escaped(&path), "cannot clear what an interrupted run left: {e}"),
        }
    }
}

/// True for names that [`own_folder`] gives: `<pid>-<32 hex digits>`.
fn is_own_name(name: &str) -> bool {
    let is_pid = |pid: &str| pid.bytes().all(|b| b.is_ascii_digit()) && pid.parse::<u32>().is_ok();
    let is_token = |token: &str| token.len() == 32 && token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.split_once('-').is_some_and(|(pid, token)| is_pid(pid) && is_token(token))
}

/// Removes a folder and the files in it, the marker last; false if the folder is not ours. Folders in it are none of ours, but for those in
/// which a name was tried.
fn remove_marked(staging: impl AsFd, name: &str, folder: &File) -> rustix::io::Result<bool> {
    let held = names_in(folder)?;
    if !held.is_empty() {
        let marker = rustix::fs::statat(folder, MARKER, AtFlags::SYMLINK_NOFOLLOW);
        if !marker.is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile) {
            return Ok(false);
        }
        for file in held.iter().filter(|file| file.as_bytes() != MARKER.as_bytes()) {
            match rustix::fs::unlinkat(folder, file, AtFlags::empty()) {
                // an upload that was given up takes its file away in its own time
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) if file.as_bytes().starts_with(TRIAL.as_bytes()) => remove_trial(folder, file)?,
                Err(e) => return Err(e),
            }
        }
        rustix::fs::unlinkat(folder, MARKER, AtFlags::empty())?;
    }
    let removed = rustix::fs::unlinkat(staging, name, AtFlags::REMOVEDIR);
    if removed == Err(Errno::NOTEMPTY) && !held.is_empty() {
        // something has just come in: the next run must know it for ours
        rustix::fs::openat(folder, MARKER, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    }
    removed.map(|()| true)
}

/// Removes a folder in which a name was tried, and the file that may be in it.
fn remove_trial(folder: &File, name: &CString) -> rustix::io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let trial = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    match rustix::fs::unlinkat(&trial, TRIED, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR),
        Err(e) => Err(e),
    }
}

/// What is in an open folder.
fn names_in(folder: impl AsFd) -> rustix::io::Result<Vec<CString>> {
    let names = rustix::fs::Dir::read_from(folder)?.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    names.filter(|name| !matches!(name.as_deref().map(|name| name.to_bytes()), Ok(b"." | b".."))).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs_that_begin_at_once_keep_their_folders() {
        let archive = tempfile::tempdir().expect("a folder");
        let run = || {
            for _ in 0..200 {
                super::clear_abandoned(&archive.path().join(super::STAGING));
                let staging = super::Staging::new(archive.path());
                let key = staging.key_for(&super::Key::from("a")).expect("a folder of its own");
                let path = archive.path().join(key.as_ref());
                std::fs::write(&path, "x").expect("the folder is there");
                std::fs::remove_file(&path).expect("and the file in it");
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(run))));
    }

    use crate::settings::Location;
    use crate::store::{Archive, Created};
    use object_store::path::Path as Key;
    use std::path::{Path, PathBuf};

    const ABANDONED: &str = "1-00112233445566778899aabbccddeeff";

    /// A staging folder that a killed run left.
    fn abandoned(archive: &Path) -> PathBuf {
        let folder = archive.join("_tmp").join(ABANDONED);
        std::fs::create_dir_all(&folder).expect("created");
        std::fs::write(folder.join(super::MARKER), "").expect("written");
        std::fs::write(folder.join("cluster-a-date-2026-03-01-x.parquet"), "half").expect("written");
        folder
    }

    fn open(archive: &Path, read_only: bool) -> Archive {
        Archive::open(&Location::Directory(archive.into()), None, read_only).expect("opened")
    }

    #[test]
    fn what_a_killed_run_staged_is_cleared_and_what_a_live_one_stages_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = Key::from("cluster=a/date=2026-03-01/x.parquet");
        let abandoned = abandoned(folder.path());
        // it was killed while it tried a name
        std::fs::create_dir(abandoned.join("names-0")).expect("created");
        std::fs::write(abandoned.join("names-0/name"), "").expect("written");
        let live = open(folder.path(), false);
        let staged = live.staged(&key).expect("staged").expect("a directory stages");
        assert!(!abandoned.exists());
        let second = open(folder.path(), false);
        second.staged(&key).expect("staged");
        assert!(folder.path().join(staged.as_ref()).parent().is_some_and(Path::exists));
        drop((live, second));
        assert!(!folder.path().join("_tmp").exists());
    }

    #[test]
    fn what_a_killed_run_staged_is_cleared_by_a_run_that_stages_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let abandoned = abandoned(folder.path());
        drop(open(folder.path(), true));
        assert!(abandoned.exists(), "only to be read");
        drop(open(folder.path(), false));
        assert!(!abandoned.exists());
    }

    #[test]
    fn what_lies_beside_our_folders_is_never_cleared() {
        let folder = tempfile::tempdir().expect("a folder");
        let staging = folder.path().join("_tmp");
        let foreign = ["1-dead", "backup", "+1-00112233445566778899aabbccddeeff", "1-00112233445566778899AABBCCDDEEFF", "1-00112233445566778899aabbccddeeff0"];
        for name in foreign {
            std::fs::create_dir_all(staging.join(name)).expect("created");
            std::fs::write(staging.join(name).join(super::MARKER), "not ours").expect("written");
        }
        // the form of our names, and no marker
        let unmarked = staging.join("2-00112233445566778899aabbccddeeff");
        std::fs::create_dir(&unmarked).expect("created");
        std::fs::write(unmarked.join("results.csv"), "1").expect("written");
        drop(open(folder.path(), false));
        assert!(foreign.iter().all(|name| staging.join(name).join(super::MARKER).exists()));
        assert!(unmarked.join("results.csv").exists());
    }

    #[test]
    fn a_folder_of_a_run_that_was_killed_before_it_marked_it_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let empty = folder.path().join("_tmp").join(ABANDONED);
        std::fs::create_dir_all(&empty).expect("created");
        drop(open(folder.path(), false));
        assert!(!empty.exists());
    }

    #[test]
    fn a_run_that_ends_leaves_nothing_staged() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = open(folder.path(), false);
        let staged = folder.path().join(run.staged(&Key::from("a")).expect("staged").expect("a directory stages").as_ref());
        std::fs::write(&staged, "half").expect("written");
        drop(run);
        assert!(!folder.path().join("_tmp").exists());
    }

    #[test]
    fn no_link_is_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let theirs = abandoned(elsewhere.path());
        // an entry
        std::fs::create_dir(folder.path().join("_tmp")).expect("created");
        std::os::unix::fs::symlink(&theirs, folder.path().join("_tmp").join(ABANDONED)).expect("linked");
        drop(open(folder.path(), false));
        assert!(std::fs::read_dir(&theirs).expect("it is there").count() == 2);
        // the staging folder itself
        let second = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(elsewhere.path().join("_tmp"), second.path().join("_tmp")).expect("linked");
        drop(open(second.path(), false));
        assert!(std::fs::read_dir(&theirs).expect("it is there").count() == 2);
        // a marker that is a link marks nothing
        std::fs::remove_file(theirs.join(super::MARKER)).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", theirs.join(super::MARKER)).expect("linked");
        drop(open(elsewhere.path(), false));
        assert!(std::fs::read_dir(&theirs).expect("it is there").count() == 2);
    }

    #[test]
    fn what_is_tried_clears_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let abandoned = abandoned(folder.path());
        let archive = Archive::open_to_try(&Location::Directory(folder.path().into()), None).expect("opened");
        archive.staged(&Key::from("probe")).expect("staged");
        drop(archive);
        assert!(abandoned.exists());
    }

    #[test]
    fn a_folder_of_another_machine_is_left_alone_for_a_day() {
        let folder = tempfile::tempdir().expect("a folder");
        let theirs = folder.path().join(format!("_tmp/7-{}", "a".repeat(32)));
        std::fs::create_dir_all(&theirs).expect("created");
        std::fs::write(theirs.join(super::MARKER), "another machine").expect("written");
        super::clear_abandoned(&folder.path().join("_tmp"));
        assert!(theirs.exists(), "its run may be at work");
        let two_days_ago = std::time::SystemTime::now() - 2 * super::A_DAY;
        std::fs::File::options().write(true).open(theirs.join(super::MARKER)).and_then(|marker| marker.set_modified(two_days_ago)).expect("set");
        super::clear_abandoned(&folder.path().join("_tmp"));
        assert!(!theirs.exists());
    }

    #[test]
    fn of_two_that_create_one_key_at_once_one_has_it_with_its_own_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = open(folder.path(), false);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for n in 0..50 {
            let key = Key::from(format!("_delta_log/{n}.json"));
            let create = |bytes: &'static str| archive.create(&key, bytes.into(), bytes, || true);
            let (one, two) = runtime.block_on(async { futures::join!(create("one"), create("two")) });
            let is_done = |created| matches!(created, Created::Done(_));
            let (one, two) = (is_done(one.expect("no error")), is_done(two.expect("no error")));
            assert!(one != two, "{n}: {one} {two}");
            let found = std::fs::read_to_string(folder.path().join(key.as_ref())).expect("there");
            assert_eq!(found, if one { "one" } else { "two" });
        }
    }
}
