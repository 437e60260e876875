//! `doctor`: the tree and the archive are looked at.

use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::task::spawn_blocking;

use super::lock::Lock;
use crate::config::DoctorSettings;
use crate::doctor::{self, Check, Diagnosis};
use crate::error::{Error, Result};
use crate::files::Filter;
use crate::scan;
use crate::store::{Archive, Location};

/// Looks at everything; `shutdown` ends it early.
pub async fn examine_in(settings: &DoctorSettings, shutdown: impl Future<Output = ()>) -> Result<Diagnosis> {
    let examining = async {
        let mut checks = examine_tree(settings).await?;
        checks.extend(examine_archive(settings).await?);
        Ok(Diagnosis { checks })
    };
    tokio::select! {
        done = examining => done,
        () = shutdown => Err(Error::Interrupted),
    }
}

async fn examine_tree(settings: &DoctorSettings) -> Result<Vec<Check>> {
    let settings = settings.clone();
    let examine = move || {
        let root = &settings.checkpoints;
        let tree = match scan::scan(root, &Filter::default()) {
            Ok(tree) => tree,
            Err(e) => {
                return vec![Check::error(
                    "tree",
                    e.to_string().replace("\n  hint: ", "; "),
                    "name cc-backend's metric-store.checkpoints.directory, and let this user read it",
                )];
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) as i64;
        let mut checks = doctor::check_tree(root, &tree, &settings.wishes, now);
        if rustix::process::geteuid().is_root() {
            let advice = "look again as the user that runs cc-archiver: root may do what that one may not";
            checks.push(Check::warning("user", "this is root: rights were not really tried", advice));
        }
        // a lock file is not made here: it might be somebody else's then
        let lock_file = settings.lock_file.as_deref();
        if lock_file.is_some_and(|path| !path.exists()) {
            checks.push(Check::ok("lock", "the first run makes the lock file"));
            return checks;
        }
        checks.push(match Lock::take(root, lock_file, None) {
            Ok(_) => Check::ok("lock", "the tree can be locked"),
            Err(e @ Error::Locked(..)) => Check::ok("lock", e.to_string().replace("\n  hint: ", "; ")),
            Err(e) => Check::error("lock", e.to_string().replace("\n  hint: ", "; "), "name a file where files can be locked: --lock-file"),
        });
        checks
    };
    Ok(spawn_blocking(examine).await?)
}

async fn examine_archive(settings: &DoctorSettings) -> Result<Vec<Check>> {
    let open = || Archive::open_to_try(&settings.archive, settings.s3.as_ref());
    match &settings.archive {
        Location::Directory(path) if !path.is_dir() => Ok(doctor::check_directory(path, None).await),
        Location::Directory(path) => Ok(doctor::check_directory(path, Some(&open()?)).await),
        Location::S3 { .. } => {
            let spoiled = Archive::spoiled(&settings.archive, settings.s3.as_ref())?;
            Ok(doctor::check_store(&open()?, spoiled.as_ref()).await)
        }
    }
}
