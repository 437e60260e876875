//! `.gz` and `.zst`, of several members or frames too; what comes out is capped, in bytes and in ratio.

use std::io::{self, BufRead, Read};

use async_compression::futures::bufread::{GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use futures::executor::block_on;
use futures::io::{AllowStdIo, AsyncRead, AsyncReadExt};

use super::{CHUNK, Flaw, Form, broken};
use crate::buffers::Buffers;
use crate::files::Compression;

/// Whatever the ratio, this much may come out: a snapshot of nothing but NaN compresses ten thousand times.
const FREE: u64 = 64 << 20;
/// Beyond that, this many bytes may come out of one.
const MAX_RATIO: u64 = 512;
/// More never comes out.
const MAX_SIZE: u64 = 4 << 30;

/// The most that `compressed` bytes may become.
pub fn cap(compressed: u64) -> u64 {
    compressed.saturating_mul(MAX_RATIO).clamp(FREE, MAX_SIZE)
}

/// The bytes of a snapshot as its kind says, or itself where nothing is compressed.
pub fn decompress(bytes: Bytes, form: Form, buffers: &Buffers) -> Result<Bytes, Flaw> {
    if form.format.compression == Compression::None {
        return Ok(bytes);
    }
    let failed = |e: io::Error| broken("cannot decompress", &e);
    let mut out = buffers.try_take(form.size as usize + 1).map_err(|e| failed(e.into()))?;
    reader(&*bytes, form.format.compression, form.size).read_to_end(&mut out).map_err(failed)?;
    Ok(out.freeze())
}

/// How many bytes are left of a stream.
pub fn rest(mut from: impl Read) -> io::Result<u64> {
    let (mut chunk, mut size) = (vec![0; CHUNK], 0);
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(size),
            read => size += read as u64,
        }
    }
}

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
        let read = block_on(self.from.read(out))?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("it decompresses to more than {} bytes, which no snapshot has", self.most))),
        }
        Ok(read)
    }
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
