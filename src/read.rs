//! Stage 4: the bytes of one snapshot, read once, without following links, and only if nobody wrote to it meanwhile.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use rustix::fs::OFlags;
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncReadExt;

use crate::files;

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
pub async fn read(path: &Path, size: u64, mtime: i64) -> Result<Bytes, Unread> {
    let failed = |e: io::Error| match e.kind() {
        ErrorKind::NotFound => Unread::Vanished,
        _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Unread::Changed,
        _ => Unread::Failed(e.to_string()),
    };
    if size > MAX_SIZE {
        return Err(Unread::Failed(format!("it has {size} bytes, and no snapshot has more than {MAX_SIZE}")));
    }
    // NONBLOCK: a FIFO that took the file's place must not hang the run
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).await.map_err(failed)?;
    let before = file.metadata().await.map_err(failed)?;
    if !before.is_file() || before.len() != size || files::mtime(&before) != mtime {
        return Err(Unread::Changed);
    }
    let bytes = read_to_end(&mut file, size).await.map_err(failed)?;
    let after = file.metadata().await.map_err(failed)?;
    let identity = |m: &Metadata| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec());
    if bytes.len() as u64 != size || identity(&before) != identity(&after) {
        return Err(Unread::Changed);
    }
    Ok(bytes)
}

/// Reads at most one byte more than `size`, so that a file that grows is seen to.
async fn read_to_end(file: &mut File, size: u64) -> io::Result<Bytes> {
    let capacity = usize::try_from(size).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
    let mut bytes = BytesMut::with_capacity(capacity + 1);
    let mut limited = file.take(size + 1);
    while limited.read_buf(&mut bytes).await? > 0 {}
    Ok(bytes.freeze())
}
