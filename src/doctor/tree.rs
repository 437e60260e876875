//! The checkpoint tree, and cc-backend, which fills it and may clear it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use rustix::fs::Access;

use super::{Check, by_whom, said};
use crate::cc_backend::Cleanup;
use crate::error::{Escaped, SetAside, rights};
use crate::files::{HostFiles, Tree, trusted};
use crate::settings::Wishes;
use crate::telemetry::count;

/// What cc-backend does if nobody says otherwise.
const USUAL_INTERVAL: Duration = Duration::from_secs(12 * 3_600);

/// A file system that is full sooner than this is worth a word.
const SOON: u64 = 3 * 86_400;

/// The longest job where cc-backend's configuration does not tell.
const USUAL_JOB: Duration = Duration::from_secs(86_400);

/// How many are named one by one.
const NAMED: usize = 3;

/// Time between two snapshots of a host, in s.
fn interval(wishes: &Wishes) -> u64 {
    wishes.backend.as_ref().map_or(USUAL_INTERVAL, |backend| backend.checkpoint_interval).as_secs().max(1)
}

/// Looks at a tree that was scanned; `now` is unix time in s. Blocks.
pub fn check_tree(root: &Path, tree: &Tree, wishes: &Wishes, now: i64) -> Vec<Check> {
    let mut checks = vec![contents(tree)];
    checks.extend([closed(tree), oddities(root, tree)].into_iter().flatten());
    checks.extend([reading(tree), freshness(tree, wishes, now), deadline(wishes), space(root, tree, wishes, now)].into_iter().flatten());
    checks.extend(pruning(tree, wishes));
    checks
}

fn hosts(tree: &Tree) -> impl Iterator<Item = (PathBuf, &HostFiles)> {
    tree.clusters.iter().flat_map(|cluster| cluster.hosts.iter().map(|host| (cluster.path.join(host.host.as_str()), host)))
}

fn contents(tree: &Tree) -> Check {
    let bytes = hosts(tree).flat_map(|(_, host)| &host.snapshots).map(|file| file.size).sum();
    let (hosts, snapshots) = tree.size();
    let counted = [(tree.clusters.len(), "cluster"), (hosts, "host"), (snapshots, "snapshot")].map(|(number, what)| count(number as u64, what));
    let found = format!("{}, {}", counted.join(", "), ByteSize(bytes));
    match snapshots {
        0 => Check::warning("tree", found, "wait for cc-backend's first snapshots: one a checkpoint interval, and when it stops"),
        _ => Check::ok("tree", found),
    }
}

/// The directory that a note is about, or in.
fn folder_of(note: &SetAside) -> &Path {
    if note.path.is_dir() { &note.path } else { note.path.parent().unwrap_or(&note.path) }
}

/// Directories that this user may not look into.
fn closed(tree: &Tree) -> Option<Check> {
    let closed: BTreeSet<&Path> = tree.set_aside.iter().map(folder_of).filter(|folder| !rights::may_read(folder)).collect();
    let first = closed.first()?;
    Some(Check::error(
        "rights",
        format!("{} directories cannot be read: {}", closed.len(), rights::missing(first)),
        "let this user read cc-backend's directories: by their group (SupplementaryGroups= in the unit), or as cc-backend's user",
    ))
}

/// What every run will set aside.
fn oddities(root: &Path, tree: &Tree) -> Option<Check> {
    // a tree without snapshots, and directories that are closed, are told as such
    let is_odd = |note: &&SetAside| note.path != root && rights::may_read(folder_of(note));
    let odd: Vec<&SetAside> = tree.set_aside.iter().filter(is_odd).collect();
    let named: Vec<String> = odd.iter().copied().take(NAMED).map(SetAside::to_string).collect();
    let more = if odd.len() > NAMED { format!("; and {} more", odd.len() - NAMED) } else { String::new() };
    (!odd.is_empty())
        .then(|| Check::warning("oddities", format!("{}{more}", named.join("; ")), "take them out of the tree: each run names them, and ends with exit code 3"))
}

/// The newest snapshot of each host can be opened.
fn reading(tree: &Tree) -> Option<Check> {
    let newest = hosts(tree).filter_map(|(path, host)| Some(path.join(&*host.snapshots.iter().rfind(|file| file.packed.is_none())?.name)));
    let (mut readable, mut refused) = (0, Vec::new());
    for path in newest {
        match trusted::open(&path) {
            Ok(_) => readable += 1,
            // cc-backend may clear it meanwhile
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => refused.push(format!("{}: {e}: {}", Escaped(&path), rights::missing(&path))),
        }
    }
    match refused.first() {
        None if readable == 0 => None,
        None => Some(Check::ok("snapshots", format!("the newest snapshots of {readable} hosts can be read{}", by_whom()))),
        Some(first) => Some(Check::error(
            "reading",
            format!("{} cannot be read: {first}", refused.len()),
            "let this user read cc-backend's files: by group, or as cc-backend's user",
        )),
    }
}

/// What came of decoding the newest snapshots of `looked_at` of `hosts` hosts: `whole` decode; `damaged` are no use, with the reason.
pub fn check_decoded(hosts: usize, looked_at: usize, whole: usize, damaged: &[(PathBuf, String)]) -> Option<Check> {
    const NAME: &str = "whole";
    let rest = if looked_at < hosts { format!("; only the {looked_at} smallest of {hosts} were decoded") } else { String::new() };
    let named: Vec<String> = damaged.iter().take(NAMED).map(|(path, why)| format!("{}: {why}", Escaped(path))).collect();
    let more = if damaged.len() > NAMED { format!("; and {} more", damaged.len() - NAMED) } else { String::new() };
    match damaged.len() {
        0 if whole == 0 => None,
        0 => Some(Check::ok(NAME, format!("the newest snapshots of {whole} hosts decode{rest}"))),
        count => Some(Check::warning(
            NAME,
            format!("{count} of the newest snapshots are damaged: {}{more}{rest}", named.join("; ")),
            "see whether cc-backend's disk was full or fails; put copies in their place, or remove them: each run names them, and ends with exit code 3",
        )),
    }
}

/// When each host's newest snapshot was written.
fn freshness(tree: &Tree, wishes: &Wishes, now: i64) -> Option<Check> {
    let age = |host: &HostFiles| host.snapshots.iter().map(|file| file.mtime / 1_000_000_000).max().map(|written| now.saturating_sub(written).max(0) as u64);
    let ages: Vec<u64> = hosts(tree).filter_map(|(_, host)| age(host)).collect();
    let youngest = *ages.iter().min()?;
    let old = 2 * interval(wishes);
    if youngest > old {
        let advice = "see whether cc-backend runs and writes here: metric-store.checkpoints.directory";
        return Some(Check::warning("fresh data", format!("the newest snapshot was written {} ago", said(youngest)), advice));
    }
    let silent = ages.iter().filter(|age| **age > old).count();
    let rest = if silent > 0 { format!("; {silent} of {} hosts have been silent for more than {}", ages.len(), said(old)) } else { String::new() };
    Some(Check::ok("fresh data", format!("the newest snapshot was written {} ago{rest}", said(youngest))))
}

/// Whether runs come by before cc-backend clears snapshots away: it goes by their start, so an interval of the time is gone when one is written.
fn deadline(wishes: &Wishes) -> Option<Check> {
    const NAME: &str = "cc-backend";
    let Some(backend) = &wishes.backend else {
        return Some(Check::warning(NAME, "when it removes snapshots is not known", "name its config.json: --cc-backend-config"));
    };
    let Some(age) = backend.removes_after.filter(|_| backend.cleanup != Cleanup::Keep) else {
        return Some(Check::ok(NAME, "it removes no snapshots"));
    };
    let every = wishes.every.as_secs();
    let left = age.as_secs().saturating_sub(backend.checkpoint_interval.as_secs());
    let found =
        format!("it removes snapshots {} after their start, {} after they are written; runs come every {}", said(age.as_secs()), said(left), said(every));
    Some(if every >= left {
        Check::error(NAME, found, format!("run more often than every {}, or let it keep them longer: else some are gone before they are archived", said(left)))
    } else if 2 * every > left {
        Check::warning(NAME, found, format!("run every {} or more often: now a single failed run loses snapshots", said(left / 2)))
    } else {
        Check::ok(NAME, found)
    })
}

/// How long the tree's file system lasts, by what the last days brought.
fn space(root: &Path, tree: &Tree, wishes: &Wishes, now: i64) -> Option<Check> {
    const NAME: &str = "space for the tree";
    let advice = "prune what is archived (archive --prune-after), or give it more space";
    let status = match rustix::fs::statvfs(root) {
        Ok(status) => status,
        Err(e) => return Some(Check::warning(NAME, format!("not known: {e}"), "see to the file system")),
    };
    let free = status.f_bavail.saturating_mul(status.f_frsize);
    let span = (2 * interval(wishes)).max(86_400);
    let recent = hosts(tree).flat_map(|(_, host)| &host.snapshots).filter(|file| file.mtime / 1_000_000_000 >= now - span as i64);
    let written: u64 = recent.map(|file| file.size).sum();
    let lasts = u128::from(free) * u128::from(span) / u128::from(written.max(1));
    let lasts = u64::try_from(lasts).unwrap_or(u64::MAX);
    let found = format!("{} free; the last {} brought {}", ByteSize(free), said(span), ByteSize(written));
    Some(match written {
        0 if free > 0 => Check::ok(NAME, found),
        _ if lasts < wishes.every.as_secs() => Check::error(NAME, format!("{found}: full in {}, before the next run", said(lasts)), advice),
        _ if lasts < SOON => Check::warning(NAME, format!("{found}: full in {}", said(lasts)), advice),
        _ => Check::ok(NAME, format!("{found}: enough for {} days", lasts / 86_400)),
    })
}

/// Whether snapshots may be deleted, and late enough.
fn pruning(tree: &Tree, wishes: &Wishes) -> Vec<Check> {
    const NAME: &str = "pruning";
    let Some(age) = wishes.prune else { return Vec::new() };
    let allowed = |path: &Path| rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK);
    let refused = hosts(tree).find_map(|(path, _)| Some((allowed(&path).err()?, path)));
    let rights = match refused {
        None => Check::ok(NAME, format!("snapshots can be deleted{} in the directories of all hosts", by_whom())),
        Some((e, path)) => Check::error(
            NAME,
            format!("nothing can be deleted in {}: {e}: {}", Escaped(&path), rights::missing(&path)),
            "give this user the right to write there; a read-only mount has to be writable",
        ),
    };
    let young = wishes.backend.as_ref().and_then(|backend| {
        let (retention, longest) = (backend.retention?, backend.longest_job.unwrap_or(USUAL_JOB));
        let least = retention.saturating_add(longest);
        if age >= least {
            return None;
        }
        if age < retention {
            let found = format!("{} is less than the {} that cc-backend loads when it starts", said(age.as_secs()), said(retention.as_secs()));
            return Some(Check::error(NAME, found, "prune later: it would miss what was pruned"));
        }
        let source = if backend.longest_job.is_some() { "by clusters[].filterRanges.duration" } else { "as a guess: its configuration does not say" };
        let (age, retention, longest, least) = (said(age.as_secs()), said(retention.as_secs()), said(longest.as_secs()), said(least.as_secs()));
        let found = format!("{age} is less than cc-backend's retention of {retention} plus the longest job of {longest} ({source})");
        let advice = format!(
            "prune after {least}, or after the retention plus the longest walltime: since July 2026 cc-backend loads checkpoints of jobs that still run"
        );
        Some(Check::warning(NAME, found, advice))
    });
    std::iter::once(rights).chain(young).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::cc_backend::CcBackend;

    fn wishes(every: u64, removes_after: Option<u64>) -> Wishes {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        let retention = removes_after.unwrap_or(24);
        let cleanup = if removes_after.is_some() { r#", "cleanup": {"mode": "delete"}"# } else { "" };
        let text = format!(r#"{{"metric-store": {{"checkpoint-interval": "12h", "retention-in-memory": "{retention}h"{cleanup}}}}}"#);
        std::fs::write(&path, text).expect("written");
        let mut backend = CcBackend::read(&path).expect("read");
        if removes_after.is_none() {
            (backend.removes_after, backend.cleanup) = (None, Cleanup::Keep);
        }
        Wishes { every: Duration::from_secs(every * 3_600), prune: None, hold: None, backend: Some(backend) }
    }

    #[test]
    fn runs_must_come_by_before_snapshots_are_cleared_away() {
        let level = |every, removes_after| deadline(&wishes(every, removes_after)).map(|check| check.level);
        assert_eq!(level(6, Some(24)), Some(Level::Ok));
        assert_eq!(level(7, Some(24)), Some(Level::Warning), "one run that fails is too many");
        assert_eq!(level(12, Some(24)), Some(Level::Error));
        assert_eq!(level(100, None), Some(Level::Ok), "nothing is cleared away");
        let unknown = Wishes { backend: None, ..wishes(6, None) };
        assert_eq!(deadline(&unknown).map(|check| check.level), Some(Level::Warning));
    }
}
