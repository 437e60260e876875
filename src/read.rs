//! Stage 4: the bytes of one snapshot, read once, without following links, and only if nobody wrote to it meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::MemfdFlags;

use crate::buffers::Buffers;
use crate::fail_point;
use crate::files::{Packed, SnapshotFile, packed, trusted};
use crate::workers::blocking;

pub use crate::files::trusted::{Opened, Unread};

/// No snapshot is larger. A file that claims to be is not read: a sparse one can claim anything.
const MAX_SIZE: u64 = 4 << 30;
/// What is larger is not unpacked to look at its header.
const MOST_IN_MEMORY: u64 = 64 << 20;

/// Reads the snapshot at `path`, which the scan saw as `file`.
pub async fn read(buffers: &Buffers, path: &Path, file: &SnapshotFile) -> Result<Bytes, Unread> {
    let (path, buffers, file) = (path.to_owned(), buffers.clone(), file.clone());
    // one blocking task for the whole file: chunk by chunk every byte would be copied once more
    match blocking(move || read_blocking(&buffers, &path, &file)).await {
        Ok(read) => read,
        Err(e) => Err(Unread::Failed(e.to_string())),
    }
}

fn read_blocking(buffers: &Buffers, path: &Path, file: &SnapshotFile) -> Result<Bytes, Unread> {
    let take = |size: u64| buffers.try_take(size as usize + 1).map_err(|e| Unread::Failed(e.to_string()));
    if let Some(packed) = &file.packed {
        let mut bytes = take(file.size)?;
        unpack(path, file, packed, &mut *bytes)?;
        return Ok(bytes.freeze());
    }
    let size = file.size;
    plain(path, size, file.mtime, |file| {
        fail_point::reach("reading");
        let mut bytes = take(size)?;
        // at most one byte more than it should have, so that a file that grows is seen to
        file.take(size + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == size { Ok(bytes.freeze()) } else { Err(Unread::Changed) }
    })?
}

/// Opens a file that the scan saw with `size` and `mtime` (ns). Blocks.
fn open_plain(path: &Path, size: u64, mtime: i64) -> Result<Opened, Unread> {
    if size > MAX_SIZE {
        return Err(Unread::Failed(format!("it has {size} bytes, and no snapshot has more than {MAX_SIZE}")));
    }
    Opened::new(trusted::open(path), |found| found.size() == size && found.mtime() == mtime)
}

fn plain<T>(path: &Path, size: u64, mtime: i64, go: impl FnOnce(&File) -> T) -> Result<T, Unread> {
    let opened = open_plain(path, size, mtime)?;
    let found = go(&opened.file);
    opened.check().map(|()| found)
}

/// Unpacks a snapshot whose path is one below that of its zip archive.
fn unpack(path: &Path, file: &SnapshotFile, packed: &Packed, to: &mut impl Write) -> Result<(), Unread> {
    let zip = path.parent().unwrap_or(path);
    let unpacked = plain(zip, packed.size, file.mtime, |zip| packed::unpack(zip, packed.index, file.size, to))?;
    unpacked.map_err(|e| Unread::Failed(format!("it cannot be unpacked: {e}")))
}

/// Opens the snapshot at `path`, which the scan saw as `file`. One in a zip archive is unpacked, into a file without a name in `folder`. Blocks.
///
/// # Errors
/// [`Unread`].
pub fn open(path: &Path, file: &SnapshotFile, folder: &Path) -> Result<Opened, Unread> {
    let Some(packed) = &file.packed else { return open_plain(path, file.size, file.mtime) };
    let failed = |e: io::Error| Unread::Failed(format!("no room for it in {}: {e}", folder.display()));
    let mut unpacked = tempfile::tempfile_in(folder).map_err(failed)?;
    unpack(path, file, packed, &mut unpacked)?;
    Opened::new(Ok(unpacked), |_| true)
}

/// Opens it, and gives it to `go`. One in a zip archive is unpacked in memory, if it is not too large for that. Blocks.
///
/// # Errors
/// [`Unread`]; also if it has changed afterwards: what `go` found is worth nothing then.
pub fn through<T>(path: &Path, file: &SnapshotFile, go: impl FnOnce(&File) -> T) -> Result<T, Unread> {
    let Some(packed) = &file.packed else { return plain(path, file.size, file.mtime, go) };
    if file.size > MOST_IN_MEMORY {
        return Err(Unread::Failed("it is too large to be looked at before it is archived".into()));
    }
    let mut unpacked = File::from(rustix::fs::memfd_create("unpacked", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    unpack(path, file, packed, &mut unpacked)?;
    unpacked.rewind()?;
    Ok(go(&unpacked))
}
