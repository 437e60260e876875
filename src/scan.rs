//! Stage 1: the checkpoint tree as it lies on disk: clusters, hosts, snapshots. Nothing is opened but directories, and zip archives for their lists.
//!
//! `<tree>/<cluster>/<host>/<from>.{json,bin}[.gz|.zst]` are snapshots, and `<from>.json` in a `<from>.zip`; `current.wal` is the host's log. `*.tmp` and whatever has
//! another name are left alone. What has a snapshot's name but is none (a symlink, a FIFO, no number) is set aside.

use std::ffi::OsStr;
use std::fs::{DirEntry, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::error::{Error, Escaped, Result, SetAside, rights};
use crate::files::{ClusterFiles, Filter, Format, HostFiles, LOG_NAME, Packed, SnapshotFile, Tree, Zipped, mtime, packed, shape, trusted};
use crate::names::{Cluster, Date, Host};

mod importing;

pub use importing::{memory_of, scan_files};

/// Reads the tree at `root`. A tree that cannot be one is an error that says so, never an empty result.
pub fn scan(root: &Path, filter: &Filter) -> Result<Tree> {
    let mut tree = Tree::default();
    let (mut seen_clusters, mut seen_hosts) = (Vec::new(), 0);
    for (entry, name) in directories(root, root, &mut tree.set_aside).map_err(|e| unusable(root, &e))? {
        let Some(cluster) = Cluster::new(&name) else { continue };
        seen_clusters.push(cluster.clone());
        if !filter.admits_cluster(&name) {
            continue;
        }
        let path = entry.path();
        let mut hosts = Vec::new();
        let folders = match directories(&path, root, &mut tree.set_aside) {
            Ok(folders) => folders,
            Err(e) => {
                tree.set_aside.push(SetAside::new(path, format!("cannot list: {e}")));
                continue;
            }
        };
        for (entry, name) in folders {
            seen_hosts += 1;
            if !filter.admits_host(cluster.as_str(), &name) {
                continue;
            }
            match snapshots(&entry.path(), &mut tree.set_aside) {
                Ok((snapshots, has_log)) => hosts.push(HostFiles { host: Host::new(&name), snapshots, has_log }),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => tree.set_aside.push(SetAside::new(entry.path(), format!("cannot list: {e}"))),
            }
        }
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        tree.clusters.push(ClusterFiles { cluster, path, hosts });
    }
    tree.clusters.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    tree.set_aside.sort_by(|a, b| a.path.cmp(&b.path));
    check_shape(root, filter, &mut tree, (seen_clusters, seen_hosts))?;
    Ok(tree)
}

fn unusable(root: &Path, e: &io::Error) -> Error {
    let rights = if e.kind() == io::ErrorKind::PermissionDenied { format!("; {}", rights::missing(root)) } else { String::new() };
    Error::Usage(format!("cannot read the checkpoint tree {}: {e}\n  hint: it is cc-backend's metric-store.checkpoints.directory{rights}", Escaped(root)))
}

/// The directories in `path`, with their names. Links to directories are set aside: what is behind them is not archived.
fn directories(path: &Path, root: &Path, set_aside: &mut Vec<SetAside>) -> io::Result<Vec<(DirEntry, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_symlink() && entry.path().is_dir() {
            set_aside.push(SetAside::new(entry.path(), "a symbolic link is never followed"));
        } else if kind.is_dir() {
            match entry.file_name().into_string() {
                Ok(name) => found.push((entry, name)),
                Err(_) => set_aside.push(SetAside::new(entry.path(), "the directory's name is not UTF-8")),
            }
        } else if path != root || !kind.is_file() {
            tracing::debug!(path = %Escaped(&entry.path()), "left alone");
        }
    }
    Ok(found)
}

/// The snapshots in a host's directory, and whether it has a log.
fn snapshots(path: &Path, set_aside: &mut Vec<SetAside>) -> io::Result<(Vec<SnapshotFile>, bool)> {
    let (mut found, mut has_log) = (Vec::new(), false);
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let os_name = entry.file_name();
        has_log |= os_name == LOG_NAME && entry.file_type().is_ok_and(|kind| kind.is_file());
        if let Some(stem) = packed::stem(os_name.as_bytes()) {
            in_zip(&entry, stem, &mut found, set_aside);
            continue;
        }
        let Some((stem, format)) = Format::of_name(os_name.as_bytes()) else { continue };
        let status = match entry.metadata() {
            Ok(status) => status,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => {
                set_aside.push(SetAside::new(entry.path(), e.to_string()));
                continue;
            }
        };
        match checked(&os_name, stem, &status) {
            Ok((name, from)) => found.push(SnapshotFile { name: name.into(), from, format, size: status.len(), mtime: mtime(&status), packed: None }),
            Err(reason) => set_aside.push(SetAside::new(entry.path(), reason)),
        }
    }
    // of those of one name a file is the first, then the one in the latest zip archive
    let zip = |file: &SnapshotFile| match file.packed.as_deref() {
        Some(Packed::Zip(zipped)) => Some(zipped.zip.clone()),
        _ => None,
    };
    found.sort_by(|a, b| (a.from, &a.name).cmp(&(b.from, &b.name)).then_with(|| zip(a).is_some().cmp(&zip(b).is_some())).then_with(|| zip(b).cmp(&zip(a))));
    found.dedup_by(|other, first| is_twin(path, other, first, set_aside));
    // one of the right size from the start: trees have many hosts, and one that shrinks leaves a gap
    let mut all = Vec::with_capacity(found.len());
    all.append(&mut found);
    Ok((all, has_log))
}

/// Adds the snapshots in a zip archive. One that is damaged costs only itself.
fn in_zip(entry: &DirEntry, stem: &[u8], found: &mut Vec<SnapshotFile>, set_aside: &mut Vec<SetAside>) {
    let (path, os_name) = (entry.path(), entry.file_name());
    let open = || -> Result<_, String> {
        let status = entry.metadata().map_err(|e| e.to_string())?;
        let (name, _) = checked(&os_name, stem, &status)?;
        let file = trusted::open(&path).map_err(|e| e.to_string())?;
        Ok((name, status, packed::members(&file).map_err(|e| format!("it is no zip archive that can be read: {e}"))?))
    };
    let (name, status, (members, wrong)) = match open() {
        Ok(opened) => opened,
        Err(reason) => return set_aside.push(SetAside::new(path, reason)),
    };
    set_aside.extend(wrong.into_iter().map(|(member, reason)| SetAside::new(path.join(member), reason)));
    for packed::Member { name: member, stem, format, index, size } in members {
        match checked(OsStr::new(&member), &stem, &status) {
            Ok((_, from)) => {
                let packed = Packed::Zip(Zipped { zip: name.into(), size: status.len(), index });
                found.push(SnapshotFile { name: member.as_str().into(), from, format, size, mtime: mtime(&status), packed: Some(Box::new(packed)) });
            }
            Err(reason) => set_aside.push(SetAside::new(path.join(member), reason)),
        }
    }
}

/// True if a snapshot in a zip archive has the name of another one, which is taken. If it has another size it is set aside.
fn is_twin(folder: &Path, other: &SnapshotFile, first: &SnapshotFile, set_aside: &mut Vec<SetAside>) -> bool {
    let is_twin = other.name == first.name;
    if is_twin && other.size != first.size {
        let reason = format!("another snapshot of this name is taken: {}", Escaped(&first.path_in(folder)));
        set_aside.push(SetAside::new(other.path_in(folder), reason));
    }
    is_twin
}

fn checked<'a>(name: &'a OsStr, stem: &[u8], status: &Metadata) -> Result<(&'a str, i64), String> {
    let name = name.to_str().ok_or("the name is not UTF-8")?;
    let digits = std::str::from_utf8(stem).ok().filter(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()));
    let from: i64 = digits.and_then(|s| s.parse().ok()).ok_or("the name is not a unix time in seconds")?;
    Date::of(from).ok_or("the time in its name is after the year 9999")?;
    match not_a_file(status.file_type()) {
        Some(what) => Err(format!("it is {what}, not a file")),
        None => Ok((name, from)),
    }
}

fn not_a_file(kind: FileType) -> Option<&'static str> {
    match kind {
        _ if kind.is_file() => None,
        _ if kind.is_dir() => Some("a directory"),
        _ if kind.is_symlink() => Some("a symbolic link, which is never followed"),
        _ if kind.is_fifo() => Some("a FIFO"),
        _ if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

/// Names for people, as many as one looks at.
fn some_of(mut clusters: Vec<Cluster>) -> String {
    const MOST: usize = 10;
    clusters.sort();
    let named: Vec<String> = clusters.iter().take(MOST).map(Cluster::to_string).collect();
    let more = clusters.len().saturating_sub(MOST);
    match (named.is_empty(), more) {
        (true, _) => "none".into(),
        (_, 0) => named.join(", "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}

/// Refuses a tree in which nothing can be where snapshots are expected. One that could be a tree, and has none, is set aside as a whole.
fn check_shape(root: &Path, filter: &Filter, tree: &mut Tree, (seen_clusters, seen_hosts): (Vec<Cluster>, usize)) -> Result<()> {
    let missing = filter.clusters.iter().find(|name| !tree.clusters.iter().any(|c| c.cluster.as_str() == *name));
    let hosts = || tree.clusters.iter().flat_map(|c| &c.hosts);
    if missing.is_none() && hosts().any(|h| !h.snapshots.is_empty() || h.has_log) {
        return Ok(());
    }
    let wrong = |what: String| Err(Error::Usage(format!("{} {what}", Escaped(root))));
    let up = |levels: usize| root.canonicalize().ok().and_then(|p| p.ancestors().nth(levels).map(Path::to_owned)).unwrap_or_default();
    let not_a_tree = |looks_like: &str, hint: String| wrong(format!("looks like {looks_like}, not a checkpoint tree\n  hint: {hint}"));
    let level = shape::level_of_snapshots(root, shape::SNAPSHOTS + 1);
    match (level, missing) {
        (Some(1), _) => not_a_tree("one host's directory", format!("did you mean {}?", Escaped(&up(2)))),
        (Some(2), _) => not_a_tree("one cluster's directory", format!("did you mean {}?", Escaped(&up(1)))),
        (Some(4), _) => not_a_tree("a directory above one", "pass the directory whose folders are the clusters".into()),
        (_, Some(name)) => wrong(format!("has no cluster {name:?}\n  hint: it has {}", some_of(seen_clusters))),
        _ if filter.host.is_some() && seen_hosts > 0 && hosts().next().is_none() => wrong(format!("has {seen_hosts} hosts, and --host matches none of them")),
        // what could not be listed is named as it is
        _ if seen_hosts == 0 && tree.set_aside.is_empty() => wrong("holds no <cluster>/<host> directories\n  hint: is the volume mounted?".into()),
        (None, _) if tree.set_aside.is_empty() => {
            let reason = format!(
                "there is no snapshot in it, in none of the directories of {seen_hosts} hosts; is it metric-store.checkpoints.directory, and does cc-backend run?"
            );
            tree.set_aside.push(SetAside::new(root, reason));
            Ok(())
        }
        _ => Ok(()),
    }
}
