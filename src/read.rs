//! Stage 4: the bytes of one snapshot, read once, without following links, and only if nobody wrote to it meanwhile.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::MemfdFlags;

use crate::fail_point;
use crate::files::{Packed, RowGroup, SnapshotFile, Zipped, packed, trusted};
use crate::names::Digest;
use crate::spool::Tools;
use crate::workers::blocking;

pub use crate::files::trusted::{Opened, Unread};

mod row_group;

/// No snapshot is larger. A file that claims to be is not read: a sparse one can claim anything.
const MAX_SIZE: u64 = 4 << 30;
/// What is larger is not unpacked to look at its header.
const MOST_IN_MEMORY: u64 = 64 << 20;

/// Reads the snapshot at `path`, which the scan saw as `file`.
pub async fn read(tools: &Tools, path: &Path, file: &SnapshotFile) -> Result<Bytes, Unread> {
    let (path, tools, file) = (path.to_owned(), tools.clone(), file.clone());
    // one blocking task for the whole file: chunk by chunk every byte would be copied once more
    match blocking(move || read_blocking(&tools, &path, &file)).await {
        Ok(read) => read,
        Err(e) => Err(Unread::Failed(e.to_string())),
    }
}

fn read_blocking(tools: &Tools, path: &Path, file: &SnapshotFile) -> Result<Bytes, Unread> {
    let take = |size: u64| tools.buffers.try_take(size as usize + 1).map_err(|e| Unread::Failed(e.to_string()));
    if let Some(packed) = &file.packed {
        let mut bytes = take(match &**packed {
            Packed::Zip(_) => file.size,
            Packed::Rows(group) => 4 * group.rows(),
        })?;
        unpack(path, file, packed, (tools, usize::MAX), &mut *bytes)?;
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

/// Takes a snapshot out of the file that it is in. Values of rows may take so many bytes of memory meanwhile.
fn unpack(path: &Path, file: &SnapshotFile, packed: &Packed, (tools, room): (&Tools, usize), to: &mut impl Write) -> Result<(), Unread> {
    match packed {
        Packed::Zip(zipped) => unzip(path, file, zipped, to),
        Packed::Rows(group) => convert(group, (tools, room), to),
    }
}

/// Unpacks a snapshot whose path is one below that of its zip archive.
fn unzip(path: &Path, file: &SnapshotFile, Zipped { size, index, .. }: &Zipped, to: &mut impl Write) -> Result<(), Unread> {
    let zip = path.parent().unwrap_or(path);
    let unpacked = plain(zip, *size, file.mtime, |zip| packed::unpack(zip, *index, file.size, to))?;
    unpacked.map_err(|e| Unread::Failed(format!("it cannot be unpacked: {e}")))
}

/// Makes a snapshot of rows.
fn convert(group: &RowGroup, (tools, room): (&Tools, usize), to: &mut impl Write) -> Result<(), Unread> {
    let opened = Opened::new(trusted::open(&group.file.path), |found| found.size() == group.file.size && found.mtime() == group.file.mtime)?;
    let converted = row_group::convert(&opened.file, group, tools, room, to);
    opened.check()?;
    converted.map_err(|e| Unread::Failed(format!("its rows cannot be taken: {e}")))
}

/// Opens the snapshot at `path`, which the scan saw as `file`. One in a larger file goes into a file without a name in the folder of `tools`, and its values
/// take no more than `room` bytes of memory meanwhile. Blocks.
///
/// # Errors
/// [`Unread`].
pub fn open(path: &Path, file: &SnapshotFile, tools: &Tools, room: usize) -> Result<Opened, Unread> {
    let Some(packed) = &file.packed else { return open_plain(path, file.size, file.mtime) };
    let failed = |e: io::Error| Unread::Failed(format!("no room for it in {}: {e}", tools.folder.display()));
    let mut unpacked = BufWriter::new(tempfile::tempfile_in(&tools.folder).map_err(failed)?);
    unpack(path, file, packed, (tools, room), &mut unpacked)?;
    Opened::new(unpacked.into_inner().map_err(|e| e.into_error()), |_| true)
}

/// The digest of a snapshot's bytes. Blocks.
///
/// # Errors
/// [`Unread`].
pub fn digest(path: &Path, file: &SnapshotFile, tools: &Tools, room: usize) -> Result<Digest, Unread> {
    let Some(packed) = &file.packed else { return Ok(through(path, file, |file| Digest::of_reader(file))??) };
    let mut hasher = blake3::Hasher::new();
    unpack(path, file, packed, (tools, room), &mut hasher)?;
    Ok(hasher.finalize().into())
}

/// Opens it, and gives it to `go`. One in a larger file is unpacked in memory, if it is not too large for that. Blocks.
///
/// # Errors
/// [`Unread`]; also if it has changed afterwards: what `go` found is worth nothing then.
pub fn through<T>(path: &Path, file: &SnapshotFile, go: impl FnOnce(&File) -> T) -> Result<T, Unread> {
    let Some(packed) = &file.packed else { return plain(path, file.size, file.mtime, go) };
    if file.size > MOST_IN_MEMORY {
        return Err(Unread::Failed("it is too large to be looked at before it is archived".into()));
    }
    let mut unpacked = File::from(rustix::fs::memfd_create("unpacked", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    match &**packed {
        Packed::Zip(zipped) => unzip(path, file, zipped, &mut unpacked)?,
        Packed::Rows(_) => return Err(Unread::Failed("rows are gone through as a whole only".into())),
    }
    unpacked.rewind()?;
    Ok(go(&unpacked))
}
