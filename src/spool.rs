//! Values that are collected on the way: in memory as long as there is room, then in a file without a name.
//!
//! A snapshot that is compressed, or text, has no values that could be read when their turn comes. To decompress it again for each
//! series would take as many passes as there are series; a file takes one, and the disk space of its values.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::buffers::{Buffer, Buffers};
use crate::data::{Place, Span};

/// Bytes that are written at a time.
const CHUNK: usize = 1 << 20;

/// Where values may go.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Memory.
    pub buffers: Buffers,
    /// The folder for files without a name.
    pub folder: PathBuf,
}

/// Values that were collected so far.
#[derive(Debug)]
pub struct Spool {
    tools: Tools,
    /// Those that are in no file.
    memory: Buffer,
    /// How many bytes of them there may be.
    room: usize,
    file: Option<File>,
    /// Bytes in the file.
    written: usize,
}

impl Spool {
    /// Of about `expected` bytes, in memory as long as they are `room` at most.
    pub fn new(tools: &Tools, expected: usize, room: usize) -> Self {
        Self { memory: tools.buffers.take(expected.min(room)), tools: tools.clone(), room, file: None, written: 0 }
    }

    /// Bytes collected: the offset of the next value.
    pub fn len(&self) -> usize {
        self.written + self.memory.len()
    }

    /// True if nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where values are to be appended, whole ones. [`Self::settle`] must follow.
    pub fn end(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Moves values to the file, if they are more than there is room for.
    ///
    /// # Errors
    /// The folder takes no file, or no more bytes.
    pub fn settle(&mut self) -> io::Result<()> {
        let limit = if self.file.is_some() { CHUNK.min(self.room) } else { self.room };
        if self.memory.len() <= limit {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let folder = &self.tools.folder;
        let named = |e: io::Error| io::Error::new(e.kind(), format!("no room for its values in memory, nor in {}: {e}", folder.display()));
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(folder).map_err(named)?),
        };
        file.write_all(&self.memory).map_err(named)?;
        self.written += self.memory.len();
        self.memory.clear();
        if self.memory.capacity() > 2 * CHUNK {
            self.memory = self.tools.buffers.take(CHUNK.min(self.room));
        }
        Ok(())
    }

    /// The values of a span that was collected.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn values(&self, span: &Span) -> io::Result<Bytes> {
        let bytes = span.bytes();
        if let Some(at) = bytes.start.checked_sub(self.written) {
            return Ok(Bytes::copy_from_slice(&self.memory[at..at + bytes.len()]));
        }
        let mut values = vec![0; bytes.len()];
        let in_file = bytes.len().min(self.written - bytes.start);
        if let Some(file) = &self.file {
            file.read_exact_at(&mut values[..in_file], bytes.start as u64)?;
        }
        values[in_file..].copy_from_slice(&self.memory[..bytes.len() - in_file]);
        Ok(values.into())
    }

    /// All of them.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub fn finish(mut self) -> io::Result<Place> {
        if self.file.is_some() && !self.memory.is_empty() {
            self.flush()?;
        }
        Ok(match self.file {
            Some(file) => Place::File(Arc::new(file)),
            None => Place::Memory(self.memory.freeze()),
        })
    }
}
