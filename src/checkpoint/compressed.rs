//! `.gz` and `.zst`, of several members or frames too; what comes out is capped, in bytes and in ratio.

use std::io::{self, BufRead, Read};

use async_compression::futures::bufread::{GzipDecoder, ZstdDecoder};
use futures::executor::block_on;
use futures::io::{AllowStdIo, AsyncRead, AsyncReadExt};

use super::CUT;
use crate::files::Compression;

/// What comes out of `raw`: at most `most` bytes, or it fails.
pub fn reader<'a>(raw: impl BufRead + 'a, compression: Compression, most: u64) -> Box<dyn Read + 'a> {
    let raw = AllowStdIo::new(raw);
    match compression {
        Compression::None => Box::new(raw.into_inner()),
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(raw);
            decoder.multiple_members(true);
            Box::new(Capped { from: decoder, left: most, most })
        }
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(raw);
            decoder.multiple_members(true);
            Box::new(Capped { from: decoder, left: most, most })
        }
    }
}

/// Fails when too much comes out.
struct Capped<R> {
    from: R,
    left: u64,
    most: u64,
}

impl<R: AsyncRead + Unpin> Read for Capped<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // what it reads from blocks, so this never waits
        let read = block_on(self.from.read(out)).map_err(|e| failed(&e))?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(failed(&io::Error::other(format!("it decompresses to more than {} bytes, which no snapshot has", self.most)))),
        }
        Ok(read)
    }
}

/// An error of a kind by which it is known from the end of what comes out.
fn failed(e: &io::Error) -> io::Error {
    let cut = if e.kind() == io::ErrorKind::UnexpectedEof { format!("{CUT}: ") } else { String::new() };
    io::Error::new(io::ErrorKind::InvalidData, format!("{cut}cannot decompress: {e}"))
}

/// Hashes what is read.
pub struct Hashed<'a, R> {
    /// From where.
    pub raw: R,
    /// Into what.
    pub digest: &'a mut blake3::Hasher,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.raw.read(out)?;
        self.digest.update(&out[..read]);
        Ok(read)
    }
}
