//! Stage 4: the bytes of one snapshot, read once, without following links, and only if nobody wrote to it meanwhile.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use crate::buffers::Buffers;
use crate::fail_point;
use crate::files::trusted;
use crate::workers::blocking;

pub use crate::files::trusted::{Opened, Unread};

/// No snapshot is larger. A file that claims to be is not read: a sparse one can claim anything.
const MAX_SIZE: u64 = 4 << 30;

/// Reads the file at `path`, which the scan saw with `size` and `mtime` (ns).
pub async fn read(buffers: &Buffers, path: &Path, size: u64, mtime: i64) -> Result<Bytes, Unread> {
    let (path, buffers) = (path.to_owned(), buffers.clone());
    // one blocking task for the whole file: chunk by chunk every byte would be copied once more
    match blocking(move || read_blocking(&buffers, &path, size, mtime)).await {
        Ok(read) => read,
        Err(e) => Err(Unread::Failed(e.to_string())),
    }
}

fn read_blocking(buffers: &Buffers, path: &Path, size: u64, mtime: i64) -> Result<Bytes, Unread> {
    through(path, size, mtime, |file| {
        fail_point::reach("reading");
        let mut bytes = buffers.try_take(size as usize + 1).map_err(|e| Unread::Failed(e.to_string()))?;
        // at most one byte more than it should have, so that a file that grows is seen to
        file.take(size + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == size { Ok(bytes.freeze()) } else { Err(Unread::Changed) }
    })?
}

/// Opens the file at `path`, which the scan saw with `size` and `mtime` (ns). Blocks.
///
/// # Errors
/// [`Unread`].
pub fn open(path: &Path, size: u64, mtime: i64) -> Result<Opened, Unread> {
    if size > MAX_SIZE {
        return Err(Unread::Failed(format!("it has {size} bytes, and no snapshot has more than {MAX_SIZE}")));
    }
    Opened::new(trusted::open(path), |found| found.size() == size && found.mtime() == mtime)
}

/// Opens it, and gives it to `go`. Blocks.
///
/// # Errors
/// [`Unread`]; also if it has changed afterwards: what `go` found is worth nothing then.
pub fn through<T>(path: &Path, size: u64, mtime: i64, go: impl FnOnce(&File) -> T) -> Result<T, Unread> {
    let opened = open(path, size, mtime)?;
    let found = go(&opened.file);
    opened.check().map(|()| found)
}
