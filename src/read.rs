//! Stage 4: the bytes of one snapshot, read once, without following links, and only if nobody wrote to it meanwhile.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::OFlags;

use crate::buffers::Buffers;
use crate::workers::blocking;
use crate::{fail_point, files};

/// No snapshot is larger. A file that claims to be is not read: a sparse one can claim anything.
const MAX_SIZE: u64 = 4 << 30;

/// Why a file's bytes were not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is gone: cc-backend cleaned up.
    Vanished,
    /// It is not, or no longer, what the scan saw.
    Changed,
    /// It cannot be read.
    Failed(String),
}

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
        (&**file).take(size + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 == size { Ok(bytes.freeze()) } else { Err(Unread::Changed) }
    })?
}

/// A file that was opened, and that nobody must write to.
#[derive(Debug, Clone)]
pub struct Opened {
    /// To be read.
    pub file: Arc<File>,
    before: Arc<Metadata>,
}

impl Opened {
    /// Opens the file at `path`, which the scan saw with `size` and `mtime` (ns). Blocks.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn new(path: &Path, size: u64, mtime: i64) -> Result<Self, Unread> {
        if size > MAX_SIZE {
            return Err(Unread::Failed(format!("it has {size} bytes, and no snapshot has more than {MAX_SIZE}")));
        }
        // NONBLOCK: a FIFO that took the file's place must not hang the run
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        if !before.is_file() || before.len() != size || files::mtime(&before) != mtime {
            return Err(Unread::Changed);
        }
        Ok(Self { file: Arc::new(file), before: Arc::new(before) })
    }

    /// Looks at it again.
    ///
    /// # Errors
    /// Somebody wrote to it: what was read of it is worth nothing.
    pub fn check(&self) -> Result<(), Unread> {
        let after = self.file.metadata().map_err(failed)?;
        let state = |m: &Metadata| (m.len(), m.mtime(), m.mtime_nsec());
        if state(&self.before) == state(&after) { Ok(()) } else { Err(Unread::Changed) }
    }
}

/// Opens the file at `path`, which the scan saw with `size` and `mtime` (ns), and gives it to `go`. Blocks.
///
/// # Errors
/// [`Unread`]; also if somebody wrote to it meanwhile: what `go` found is worth nothing then.
pub fn through<T>(path: &Path, size: u64, mtime: i64, go: impl FnOnce(&Arc<File>) -> T) -> Result<T, Unread> {
    let opened = Opened::new(path, size, mtime)?;
    let found = go(&opened.file);
    opened.check().map(|()| found)
}

fn failed(e: io::Error) -> Unread {
    match e.kind() {
        ErrorKind::NotFound => Unread::Vanished,
        _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Unread::Changed,
        _ => Unread::Failed(e.to_string()),
    }
}
