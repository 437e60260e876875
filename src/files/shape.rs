//! What a directory looks like from outside: a checkpoint tree, or an archive. Nothing is opened but directories.

use std::fs::DirEntry;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Format, packed};

/// The level of snapshots in a tree: `<cluster>/<host>/<from>.bin`.
pub const SNAPSHOTS: usize = 3;

/// What an archive has at its top: folders of clusters, or its own object.
const CLUSTER: &[u8] = b"cluster=";
const OWN_OBJECT: &[u8] = b"_cc-archiver.json";

/// True if there are folders or objects as only an archive has them.
pub fn is_archive(path: &Path) -> bool {
    entries(path).any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => entry.file_name().as_bytes().starts_with(CLUSTER),
        Ok(kind) => kind.is_file() && entry.file_name().as_bytes() == OWN_OBJECT,
        Err(_) => false,
    })
}

/// True if there are snapshots as only a checkpoint tree has them.
pub fn is_tree(path: &Path) -> bool {
    has_snapshots_at(path, SNAPSHOTS)
}

fn has_snapshots_at(path: &Path, level: usize) -> bool {
    let is_wanted = |entry: DirEntry| match level {
        1 => is_snapshot(&entry),
        _ => is_folder(&entry) && has_snapshots_at(&entry.path(), level - 1),
    };
    entries(path).any(is_wanted)
}

/// The first level below `path`, up to `depth`, that holds a file named like a snapshot.
pub fn level_of_snapshots(path: &Path, depth: usize) -> Option<usize> {
    let entries: Vec<DirEntry> = entries(path).collect();
    if entries.iter().any(is_snapshot) {
        return Some(1);
    }
    let folders = entries.iter().filter(|entry| depth > 1 && is_folder(entry));
    folders.filter_map(|entry| level_of_snapshots(&entry.path(), depth - 1)).min().map(|level| level + 1)
}

fn entries(path: &Path) -> impl Iterator<Item = DirEntry> {
    std::fs::read_dir(path).into_iter().flatten().flatten()
}

fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

fn is_snapshot(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let has_name = packed::stem(name.as_bytes()).is_some()
        || Format::of_name(name.as_bytes()).is_some_and(|(stem, _)| !stem.is_empty() && stem.iter().all(u8::is_ascii_digit));
    has_name && entry.file_type().is_ok_and(|kind| kind.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_and_archives_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, "").expect("written");
        };
        let shape = |path: &str| (is_tree(&folder.path().join(path)), is_archive(&folder.path().join(path)));
        write("tree/alpha/n1/1772323200.bin");
        write("archive/cluster=alpha/date=2026-03-01/x.parquet");
        write("new/_cc-archiver.json");
        write("other/a/b/notes.json");
        assert_eq!((shape("tree"), shape("archive"), shape("new")), ((true, false), (false, true), (false, true)));
        assert_eq!((shape("other"), shape("tree/alpha"), shape("nowhere"), shape(".")), ((false, false), (false, false), (false, false), (false, false)));
        assert_eq!(level_of_snapshots(folder.path(), 4), Some(4));
    }
}
