//! Where a decoder reads: bytes in memory, or a stream of known length that is never in memory as a whole.

use std::io::{self, BufRead, BufReader, Read, Seek};

use super::{CUT, Flaw, broken};

/// Bytes that are gone through from the first to the last.
pub trait Input {
    /// Offset of the next byte.
    fn at(&self) -> usize;

    /// How many are left.
    fn left(&self) -> usize;

    /// Takes as many bytes as `out` has; as many must be left.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Flaw>;

    /// Passes over so many, which must be left.
    fn skip(&mut self, len: usize) -> Result<(), Flaw>;

    /// Appends so many, which must be left.
    fn append(&mut self, len: usize, to: &mut Vec<u8>) -> Result<(), Flaw>;
}

/// Bytes in memory.
pub struct Memory<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Memory<'a> {
    /// From the first on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        taken
    }
}

impl Input for Memory<'_> {
    fn at(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), Flaw> {
        out.copy_from_slice(self.take(out.len()));
        Ok(())
    }

    fn skip(&mut self, len: usize) -> Result<(), Flaw> {
        self.at += len;
        Ok(())
    }

    fn append(&mut self, len: usize, to: &mut Vec<u8>) -> Result<(), Flaw> {
        to.extend_from_slice(self.take(len));
        Ok(())
    }
}

impl<I: Input> Input for &mut I {
    fn at(&self) -> usize {
        (**self).at()
    }

    fn left(&self) -> usize {
        (**self).left()
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), Flaw> {
        (**self).fill(out)
    }

    fn skip(&mut self, len: usize) -> Result<(), Flaw> {
        (**self).skip(len)
    }

    fn append(&mut self, len: usize, to: &mut Vec<u8>) -> Result<(), Flaw> {
        (**self).append(len, to)
    }
}

/// A stream.
pub struct Stream<R> {
    from: R,
    at: usize,
    size: usize,
    /// Passes over bytes without reading them, where that can be.
    seek: Option<fn(&mut R, i64) -> io::Result<()>>,
}

impl<R: Read + Seek> Stream<BufReader<R>> {
    /// A file of `size` bytes, of which only what is wanted is read.
    pub fn seeking(from: R, size: usize) -> Self {
        // small: what is read beyond a header is passed over most of the time
        const BUFFER: usize = 8 << 10;
        Self { from: BufReader::with_capacity(BUFFER, from), at: 0, size, seek: Some(BufReader::seek_relative) }
    }
}

impl<R: BufRead> Stream<R> {
    /// A stream of `size` bytes.
    pub fn new(from: R, size: usize) -> Self {
        Self { from, at: 0, size, seek: None }
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> Flaw + use<R> {
        let at = self.at;
        move |e| Flaw { offset: Some(at as u64), ..broken("cannot read", &e) }
    }
}

impl<R: BufRead> Input for Stream<R> {
    fn at(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        self.size - self.at
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), Flaw> {
        self.from.read_exact(out).map_err(self.failed())?;
        self.at += out.len();
        Ok(())
    }

    fn skip(&mut self, len: usize) -> Result<(), Flaw> {
        if let Some(seek) = self.seek {
            let failed = self.failed();
            seek(&mut self.from, len as i64).map_err(failed)?;
            self.at += len;
            return Ok(());
        }
        let mut rest = len;
        while rest > 0 {
            let failed = self.failed();
            let there = self.from.fill_buf().map_err(failed)?.len().min(rest);
            if there == 0 {
                return Err(Flaw::at(self.at, CUT));
            }
            self.from.consume(there);
            rest -= there;
        }
        self.at += len;
        Ok(())
    }

    fn append(&mut self, len: usize, to: &mut Vec<u8>) -> Result<(), Flaw> {
        let read = self.from.by_ref().take(len as u64).read_to_end(to).map_err(self.failed())?;
        if read < len {
            return Err(Flaw::at(self.at, CUT));
        }
        self.at += len;
        Ok(())
    }
}
