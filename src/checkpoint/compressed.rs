//! `.gz` and `.zst`, of several members or frames too; what comes out is capped, in bytes and in ratio.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use futures::executor::block_on;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Flaw;
use crate::buffers::Buffers;
use crate::files::Compression;

/// Whatever the ratio, this much may come out: a snapshot of nothing but NaN compresses ten thousand times.
const FREE: u64 = 64 << 20;
/// Beyond that, this many bytes may come out of one.
const MAX_RATIO: u64 = 512;
/// More never comes out.
const MAX_SIZE: u64 = 4 << 30;

/// The most that `compressed` bytes may become.
fn cap(compressed: usize) -> u64 {
    (compressed as u64).saturating_mul(MAX_RATIO).clamp(FREE, MAX_SIZE)
}

/// The bytes of a snapshot as its `kind` says, or itself where nothing is compressed.
pub(super) fn decompress(bytes: Bytes, compression: Compression, buffers: &Buffers) -> Result<Bytes, Flaw> {
    if compression == Compression::None {
        return Ok(bytes);
    }
    // once through in the memory of a chunk: what is refused costs time only
    let size = decompressed_size(&bytes, compression)?;
    let mut out = buffers.try_take(size as usize).map_err(|e| Flaw::whole(format!("cannot decompress: {e}")))?;
    each_chunk(&bytes, compression, |chunk| out.extend_from_slice(chunk))?;
    Ok(out.freeze())
}

/// How many bytes come out of `bytes`, in the memory of one chunk.
pub fn decompressed_size(bytes: &[u8], compression: Compression) -> Result<u64, Flaw> {
    let mut size = 0;
    each_chunk(bytes, compression, |chunk| size += chunk.len() as u64)?;
    Ok(size)
}

fn each_chunk(bytes: &[u8], compression: Compression, take: impl FnMut(&[u8])) -> Result<(), Flaw> {
    // a reader over memory is always ready, so this never waits
    let done = match compression {
        Compression::None => block_on(pump(bytes, cap(bytes.len()), take)),
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(bytes);
            decoder.multiple_members(true);
            block_on(pump(decoder, cap(bytes.len()), take))
        }
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(bytes);
            decoder.multiple_members(true);
            block_on(pump(decoder, cap(bytes.len()), take))
        }
    };
    done.map_err(|e| Flaw::whole(format!("cannot decompress: {e}")))
}

async fn pump(mut from: impl AsyncRead + Unpin, cap: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        total += read as u64;
        if total > cap {
            return Err(io::Error::other(format!("more than {cap} bytes come out, as from no snapshot")));
        }
        take(&chunk[..read]);
    }
}
