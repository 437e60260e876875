//! Parquet files to be imported: their footers are read, and each host's rows in each row group become a source, as a snapshot is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{not_a_file, some_of};
use crate::error::{Error, Escaped, Result, SetAside};
use crate::files::{ClusterFiles, Filter, Format, HostFiles, Packed, ParquetFile, RowGroup, SnapshotFile, Tree, mtime, trusted};
use crate::names::{Cluster, Date, Digest, Host};

/// How the names of such files end.
const END: &str = "parquet";

/// Files lie so many folders deep at most: `<cleanup>/<cluster>/<unix time>.parquet`.
const DEEPEST: usize = 4;

type Hosts = BTreeMap<Cluster, BTreeMap<Host, Vec<SnapshotFile>>>;

/// Bytes of memory that a row group takes until it is imported: where its columns lie, and whose rows they are.
const OF_ROW_GROUP: u64 = 768;

/// Looks at files, and at all in folders; what is known of their row groups may take so many bytes of `memory`. Nothing to import is an error that says
/// so, never an empty result. Blocks.
pub fn scan_files(paths: &[PathBuf], filter: &Filter, memory: u64) -> Result<Tree> {
    let mut found = Vec::new();
    for path in paths {
        let status = std::fs::metadata(path).map_err(|e| Error::Usage(format!("cannot read {}: {e}", Escaped(path))))?;
        let before = found.len();
        if status.is_dir() {
            in_folder(path, DEEPEST, &mut found).map_err(Error::io("cannot list", path))?;
            if found.len() == before {
                let hint = "hint: name the files themselves, or the folder that cc-backend's cleanup.directory is";
                return Err(Error::Usage(format!("there is no file *.{END} in {}\n  {hint}", Escaped(path))));
            }
        } else {
            found.push(path.clone());
        }
    }
    // named twice, it is the same file
    let mut real: Vec<(PathBuf, PathBuf)> = found.into_iter().map(|path| (path.canonicalize().unwrap_or_else(|_| path.clone()), path)).collect();
    real.sort();
    real.dedup_by(|a, b| a.0 == b.0);
    let (mut tree, mut hosts, mut seen) = (Tree::default(), Hosts::new(), BTreeSet::new());
    let count = real.len();
    for (index, (_, path)) in real.into_iter().enumerate() {
        if let Err(reason) = in_file(&path, filter, (&mut hosts, &mut seen), &mut tree.set_aside) {
            tree.set_aside.push(SetAside::new(path, reason));
        }
        check_memory(&hosts, memory, (index + 1, count))?;
    }
    for (cluster, hosts) in hosts {
        let mut hosts: Vec<HostFiles> = hosts.into_iter().map(|(host, snapshots)| HostFiles { host, snapshots, has_log: false }).collect();
        hosts.iter_mut().for_each(|host| settle(&mut host.snapshots, &mut tree.set_aside));
        tree.clusters.push(ClusterFiles { cluster, path: PathBuf::new(), hosts });
    }
    check(paths, filter, &tree, seen)?;
    SetAside::sort(&mut tree.set_aside);
    Ok(tree)
}

fn in_folder(folder: &Path, deep: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && deep > 1 {
            in_folder(&path, deep - 1, found)?;
        } else if !kind.is_dir() && path.extension().is_some_and(|end| end == END) {
            found.push(path);
        }
    }
    Ok(())
}

/// Adds the rows of a file. A row group that cannot be read costs only itself.
fn in_file(path: &Path, filter: &Filter, (hosts, seen): (&mut Hosts, &mut BTreeSet<Arc<str>>), set_aside: &mut Vec<SetAside>) -> Result<(), String> {
    let (file, status) = open(path)?;
    let (parquet, groups) = ParquetFile::new(&file, path.to_owned(), status.len(), mtime(&status))?;
    for group in groups {
        let wrong = |reason: String| SetAside::new(path, format!("row group {}: {reason}", group.index()));
        match parquet.hosts(&file, &group) {
            Ok(found) => {
                seen.extend(found.iter().map(|rows| Arc::clone(&rows.whose.0)));
                for rows in found.into_iter().filter(|rows| filter.admits_cluster(&rows.whose.0) && filter.admits_host(&rows.whose.0, &rows.whose.1)) {
                    match source(rows) {
                        Ok((cluster, host, file)) => hosts.entry(cluster).or_default().entry(host).or_default().push(file),
                        Err(reason) => set_aside.push(wrong(reason)),
                    }
                }
            }
            Err(reason) => set_aside.push(wrong(reason)),
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<(Arc<File>, Metadata), String> {
    let status = path.symlink_metadata().map_err(|e| e.to_string())?;
    if let Some(what) = not_a_file(status.file_type()) {
        return Err(format!("it is {what}, not a file"));
    }
    let file = trusted::open(path).map_err(|e| e.to_string())?;
    let status = file.metadata().map_err(|e| e.to_string())?;
    Ok((Arc::new(file), status))
}

/// The rows of a host in a row group as a source.
fn source(rows: RowGroup) -> Result<(Cluster, Host, SnapshotFile), String> {
    let (cluster, host) = (&rows.whose.0, &rows.whose.1);
    let named = |what: &str, name: &str| Cluster::new(name).ok_or_else(|| format!("{name:?} is the name of no {what}"));
    let (cluster, host) = (named("cluster", cluster)?, named("host", host)?);
    let (first, last) = rows.times;
    let is_time = Date::of(first).is_some() && Date::of(last).is_some();
    let file = SnapshotFile {
        name: rows.name().into(),
        from: first,
        // what it becomes
        format: Format::PLAIN_BINARY,
        size: rows.size(),
        mtime: rows.file.mtime,
        packed: Some(Box::new(Packed::Rows(rows))),
    };
    if is_time { Ok((cluster, Host::new(host.as_str()), file)) } else { Err(format!("its times, {first} to {last}, leave the years 1970 to 9999")) }
}

/// Brings the sources of a host into order. Two of one name are copies, or one of them has to wait for a run of its own: a ledger would not tell them apart.
fn settle(sources: &mut Vec<SnapshotFile>, set_aside: &mut Vec<SetAside>) {
    let path = |file: &SnapshotFile| file.row_group().map(RowGroup::path).unwrap_or_default();
    sources.sort_by_cached_key(|file| (file.name.clone(), path(file)));
    sources.dedup_by(|other, first| {
        let is_twin = other.name == first.name;
        if is_twin && !is_copy(other, first) {
            let reason = format!("another file of this name is taken: {}; import this one by itself afterwards", Escaped(&path(first)));
            set_aside.push(SetAside::new(path(other), reason));
        }
        is_twin
    });
    sources.sort_by(|a, b| (a.from, &a.name).cmp(&(b.from, &b.name)));
}

fn is_copy(other: &SnapshotFile, first: &SnapshotFile) -> bool {
    let (Some(other), Some(first)) = (other.row_group(), first.row_group()) else { return false };
    let digest = |rows: &RowGroup| trusted::open(&rows.file.path).and_then(Digest::of_reader).ok();
    other.file.size == first.file.size && digest(other).is_some_and(|of_other| digest(first) == Some(of_other))
}

/// Bytes of memory that the row groups of such files take.
pub fn memory_of(tree: &Tree) -> u64 {
    OF_ROW_GROUP * tree.size().1 as u64
}

/// Refuses more row groups than there is memory for, after so many of the files.
fn check_memory(hosts: &Hosts, memory: u64, (read, files): (usize, usize)) -> Result<()> {
    let groups: usize = hosts.values().flat_map(BTreeMap::values).map(Vec::len).sum();
    if groups as u64 <= memory / OF_ROW_GROUP {
        return Ok(());
    }
    let what = format!("the first {read} of {files} files have {groups} row groups, and there is memory for {}", memory / OF_ROW_GROUP);
    Err(Error::Usage(format!("{what}\n  hint: import fewer files at a time, or the hosts in parts (--shard 0/4 and so on), or give it more --memory")))
}

/// Refuses files with nothing for this run in them. What could not be read is named as it is.
fn check(paths: &[PathBuf], filter: &Filter, tree: &Tree, seen: BTreeSet<Arc<str>>) -> Result<()> {
    if !tree.clusters.is_empty() || !tree.set_aside.is_empty() {
        return Ok(());
    }
    let first = paths.first().cloned().unwrap_or_default();
    let all = if paths.len() > 1 { format!("{} and {} more", Escaped(&first), paths.len() - 1) } else { Escaped(&first).to_string() };
    let is_limited = !filter.clusters.is_empty() || filter.host.is_some() || filter.shard.is_some();
    if !is_limited {
        return Err(Error::Usage(format!("there are no rows in {all}")));
    }
    let clusters = some_of(seen.iter().filter_map(|name| Cluster::new(name)).collect());
    Err(Error::Usage(format!("there are no rows of the clusters and hosts that are asked for in {all}\n  hint: there are rows of {clusters}")))
}
