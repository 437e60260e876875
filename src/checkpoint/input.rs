//! Where the decoder of `.bin` reads: bytes that are gone through from the first to the last.

use std::io::{self, BufRead, BufReader, Read, Seek};

use super::{CUT, Flaw, broken};

/// Bytes in memory, or a stream.
pub struct Input<R> {
    from: R,
    at: usize,
    /// The most that can be there.
    most: usize,
    /// Passes over bytes without reading them, where that can be.
    seek: Option<fn(&mut R, i64) -> io::Result<()>>,
}

impl<R: Read + Seek> Input<BufReader<R>> {
    /// A file of `size` bytes, of which only what is wanted is read.
    pub fn seeking(from: R, size: usize) -> Self {
        // small: what is read beyond a header is passed over most of the time
        const BUFFER: usize = 8 << 10;
        Self { from: BufReader::with_capacity(BUFFER, from), at: 0, most: size, seek: Some(BufReader::seek_relative) }
    }
}

impl<R: BufRead> Input<R> {
    /// At most so many bytes.
    pub fn new(from: R, most: usize) -> Self {
        Self { from, at: 0, most, seek: None }
    }

    /// Offset of the next byte.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many can be left.
    pub fn left(&self) -> usize {
        self.most - self.at
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> Flaw + use<R> {
        let at = self.at;
        move |e| broken(at, &e)
    }

    /// Takes as many bytes as `out` has.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), Flaw> {
        self.from.read_exact(out).map_err(self.failed())?;
        self.at += out.len();
        Ok(())
    }

    /// Passes over so many.
    pub fn skip(&mut self, len: usize) -> Result<(), Flaw> {
        let failed = self.failed();
        match self.seek {
            Some(seek) => seek(&mut self.from, len as i64).map_err(failed)?,
            None => pass_over(&mut self.from, len).map_err(failed)?,
        }
        self.at += len;
        Ok(())
    }

    /// Appends so many.
    pub fn append(&mut self, len: usize, to: &mut Vec<u8>) -> Result<(), Flaw> {
        let read = self.from.by_ref().take(len as u64).read_to_end(to).map_err(self.failed())?;
        if read < len {
            return Err(Flaw::at(self.at, CUT));
        }
        self.at += len;
        Ok(())
    }

    /// Counts the bytes that are left.
    pub fn rest(&mut self) -> Result<u64, Flaw> {
        io::copy(&mut self.from, &mut io::sink()).map_err(self.failed())
    }
}

fn pass_over(from: &mut impl BufRead, mut len: usize) -> io::Result<()> {
    while len > 0 {
        let there = from.fill_buf()?.len().min(len);
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        from.consume(there);
        len -= there;
    }
    Ok(())
}
