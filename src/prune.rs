//! Stage 11: deletes local snapshots, and nothing else: those that are old enough and [`Proven`].

use std::io::ErrorKind;

use rustix::fs::AtFlags;

use crate::files::{Compression, Identity, SnapshotFile};
use crate::prove::Proven;

/// What became of a file that was to be deleted.
#[derive(Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Done,
    /// It was gone already.
    Vanished,
    /// It is not the one that was proven any more, and stays.
    Replaced,
    /// It cannot be deleted.
    Failed(String),
}

/// Deletes a file, if it is still the one that was proven. Blocks.
///
/// Between the last look and the deletion lies no more than two system calls; cc-backend renames or writes files at the
/// end of a checkpoint only, under names of that time.
pub fn delete(source: Proven) -> Deletion {
    let failed = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => Deletion::Vanished,
        _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Deletion::Replaced,
        _ => Deletion::Failed(e.to_string()),
    };
    let place = source.place();
    let directory = match place.open_directory() {
        Ok(directory) => directory,
        Err(e) => return failed(e),
    };
    let now = match place.open_in(&directory).and_then(|file| file.metadata()) {
        Ok(status) => Identity::of(&status),
        Err(e) => return failed(e),
    };
    if now != Some(source.identity()) {
        return Deletion::Replaced;
    }
    match rustix::fs::unlinkat(&directory, &*place.name, AtFlags::empty()) {
        Ok(()) => Deletion::Done,
        Err(e) => failed(e.into()),
    }
}

/// How old a snapshot is, as far as pruning goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Its successor begins before the limit: cc-backend's store, when it starts, needs neither.
    Old,
    /// Its successor does not.
    Recent,
    /// It has no successor.
    Newest,
}

/// Ages of one host's snapshots, in their order; `limit` is a unix time in s.
///
/// At its start the store loads the last snapshot before its window. It reads no compressed ones: to a plain file only
/// another plain one is a successor.
pub fn ages(snapshots: &[SnapshotFile], limit: i64) -> Vec<Age> {
    let is_plain = |file: &SnapshotFile| file.format.compression == Compression::None;
    let age = |file: &SnapshotFile| {
        let successor = snapshots.iter().find(|next| next.from > file.from && (is_plain(next) || !is_plain(file)));
        match successor {
            Some(next) if next.from < limit => Age::Old,
            Some(_) => Age::Recent,
            None => Age::Newest,
        }
    };
    snapshots.iter().map(age).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Format, Kind};

    fn file(from: i64, compression: Compression) -> SnapshotFile {
        SnapshotFile { name: from.to_string().into(), from, format: Format { kind: Kind::Binary, compression }, size: 0, mtime: 0 }
    }

    #[test]
    fn a_snapshot_is_as_old_as_its_successor() {
        let plain = |from| file(from, Compression::None);
        assert_eq!(ages(&[plain(0), plain(10), plain(20)], 15), [Age::Old, Age::Recent, Age::Newest]);
        assert_eq!(ages(&[plain(0), plain(10)], 10), [Age::Recent, Age::Newest], "older, not as old");
        assert_eq!(ages(&[plain(0), plain(0), plain(5)], 10), [Age::Old, Age::Old, Age::Newest], "two of one time");
    }

    #[test]
    fn the_store_cannot_load_a_compressed_successor() {
        let files = [file(0, Compression::Zstd), file(1, Compression::None), file(2, Compression::Zstd), file(3, Compression::Gzip)];
        assert_eq!(ages(&files, 10), [Age::Old, Age::Newest, Age::Old, Age::Newest]);
    }
}
