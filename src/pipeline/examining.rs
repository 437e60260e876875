//! `doctor`: the tree and the archive are looked at.

use std::future::Future;
use std::path::Path;

use super::comparing;
use super::lock::Lock;
use super::logs;
use super::useless::{self, Useless};
use crate::clock;
use crate::doctor::{self, Check, Diagnosis, Level};
use crate::error::{Error, Result};
use crate::files::{Filter, Tree};
use crate::scan;
use crate::settings::{DoctorSettings, Location};
use crate::store::Archive;
use crate::workers;

/// No more bytes of snapshots are decoded: some seconds.
const MOST_DECODED: u64 = 2 << 30;

/// What changed within so many seconds may still be being written: archive waits as long.
const YOUNG: i64 = 300;

/// A snapshot's name may say so many seconds more than the clock.
const EARLY: i64 = 3_600;

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
                return vec![Check::error("tree", doctor::on_one_line(&e), "name cc-backend's metric-store.checkpoints.directory, and let this user read it")];
            }
        };
        let now = clock::now().timestamp();
        let mut checks = doctor::check_tree(root, &tree, &settings.wishes, now);
        checks.extend(decode_newest(&tree, now));
        checks.extend(logs::examine(root, &tree, settings.wishes.hold.as_deref(), now));
        checks.extend(doctor::check_user(Path::new("/"), settings.config.as_deref()));
        // a lock file is not made here: it might be somebody else's then
        let lock_file = settings.lock_file.as_deref();
        if lock_file.is_some_and(|path| !path.exists()) {
            checks.push(Check::ok("lock", "the first run makes the lock file"));
            return checks;
        }
        checks.push(match Lock::take(root, lock_file, None) {
            Ok(_) => Check::ok("lock", format!("the tree can be locked{}", doctor::by_whom())),
            Err(e @ Error::Locked(..)) => Check::ok("lock", doctor::on_one_line(&e)),
            Err(e) => Check::error("lock", doctor::on_one_line(&e), "name a file where files can be locked: --lock-file"),
        });
        checks
    };
    workers::blocking(examine).await
}

/// Decodes the newest snapshot of each host, up to so many bytes: the smallest first, as what was cut off is small.
fn decode_newest(tree: &Tree, now: i64) -> Option<Check> {
    let of_hosts = tree.clusters.iter().flat_map(|files| files.hosts.iter().map(|host| (files.path.join(host.host.as_str()), host.snapshots.last())));
    let mut newest: Vec<_> = of_hosts.filter_map(|(path, file)| file.map(|file| (file.path_in(&path), file))).collect();
    let hosts = newest.len();
    newest.sort_by_key(|(_, file)| file.size);
    let (mut looked_at, mut whole, mut bytes, mut damaged) = (0, 0, 0, Vec::new());
    for (path, file) in newest {
        bytes += file.size;
        if bytes > MOST_DECODED {
            break;
        }
        looked_at += 1;
        let is_young = file.mtime / 1_000_000_000 > now - YOUNG;
        match useless::decodes(&path, file) {
            Ok(()) if file.from > now.max(file.mtime / 1_000_000_000) + EARLY => damaged.push((path, "the time in its name is in the future".into())),
            Ok(()) => whole += 1,
            Err(Useless::Damaged(why)) if !is_young => damaged.push((path, why)),
            // it may still be being written; and whether it can be read is looked at elsewhere
            Err(_) => {}
        }
    }
    doctor::check_decoded(hosts, looked_at, whole, &damaged)
}

async fn examine_archive(settings: &DoctorSettings) -> Result<Vec<Check>> {
    let open = || Archive::open_to_try(&settings.archive, settings.s3.as_ref());
    let (archive, mut checks) = match &settings.archive {
        Location::Directory(path) if !path.is_dir() => return Ok(doctor::check_directory(path, None).await),
        Location::Directory(path) => {
            let archive = open()?;
            let checks = doctor::check_directory(path, Some(&archive)).await;
            (archive, checks)
        }
        Location::S3 { .. } => {
            let (archive, spoiled) = (open()?, Archive::spoiled(&settings.archive, settings.s3.as_ref())?);
            let checks = doctor::check_store(&archive, spoiled.as_ref()).await;
            (archive, checks)
        }
    };
    // where it cannot be listed, that is said already
    if checks.first().is_some_and(|check| check.level != Level::Error) {
        checks.push(comparing::check_table(&archive).await);
    }
    Ok(checks)
}
