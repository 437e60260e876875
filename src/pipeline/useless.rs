//! Why a file is of no use as a snapshot.

use std::io::Seek;
use std::path::Path;

use crate::checkpoint::{self, Flaw, Form};
use crate::files::{Compression, SnapshotFile};
use crate::prove::Unhashed;
use crate::read::{self, Unread};

/// Why a file is of no use as a snapshot.
#[derive(Debug)]
pub enum Useless {
    /// It is none.
    Damaged(String),
    /// The time in its name has not come yet.
    Early,
    /// It is gone.
    Vanished,
    /// Somebody writes to it.
    Changed,
    /// It cannot be read.
    Unread(String),
}

impl From<Unhashed> for Useless {
    fn from(unhashed: Unhashed) -> Self {
        match unhashed {
            Unhashed::Vanished => Self::Vanished,
            Unhashed::Changed => Self::Changed,
            Unhashed::Failed(reason) => Self::Unread(reason),
        }
    }
}

impl From<Unread> for Useless {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Vanished => Self::Vanished,
            Unread::Changed => Self::Changed,
            Unread::Failed(reason) => Self::Unread(reason),
        }
    }
}

/// Decodes a file and keeps nothing of it. Blocks.
pub fn decodes(path: &Path, file: &SnapshotFile) -> std::result::Result<(), Useless> {
    let go = |mut raw: &std::fs::File, _| {
        let cannot = |e: std::io::Error| Flaw { offset: None, reason: format!("cannot decompress: {e}") };
        let mut size = file.size;
        if file.format.compression != Compression::None {
            size = checkpoint::measure(raw, file.format, file.size).map_err(cannot)?.size;
            raw.rewind().map_err(cannot)?;
        }
        checkpoint::survey(raw, Form::of(file, size)).map(drop)
    };
    read::through(path, file.size, file.mtime, go)?.map_err(|flaw| Useless::Damaged(flaw.to_string()))
}
