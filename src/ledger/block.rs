//! A ledger's bytes: one JSON object a line for each source, compressed by zstd.
//!
//! They stand directly before the footer, where no reader of rows looks. The footer says how many they are, and their digest.

use std::io::{BufRead, BufReader, Read, Write};

use bytes::Bytes;

use super::Entry;
use crate::names::Digest;

/// zstd's own default: a line takes about 70 bytes, of which 32 are a digest.
const LEVEL: i32 = 3;
/// No line of ours is longer, by far: a bound for what is read of a block that somebody else made.
const LONGEST_LINE: u64 = 64 << 20;

/// A ledger as it stands in an object.
#[derive(Debug, Clone)]
pub struct Block {
    /// What is written.
    pub bytes: Bytes,
    /// Of these bytes.
    pub digest: Digest,
}

impl Block {
    /// Of an object's sources.
    pub fn of(entries: &[Entry]) -> Self {
        let bytes = compressed(entries).unwrap_or_else(|e| unreachable!("a ledger is plain data, and goes to memory: {e}"));
        Self { digest: Digest::of(&bytes), bytes: bytes.into() }
    }
}

fn compressed(entries: &[Entry]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    for entry in entries {
        serde_json::to_writer(&mut encoder, entry)?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()
}

/// Reads a block of `count` sources. Only one line of it is in memory as text.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8], count: usize) -> Result<Vec<Entry>, String> {
    let mut lines = BufReader::new(zstd::Decoder::with_buffer(bytes).map_err(|e| e.to_string())?);
    let (mut entries, mut line) = (Vec::new(), Vec::new());
    while lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(|e| e.to_string())? > 0 {
        entries.push(serde_json::from_slice(&line).map_err(|e| format!("source {}: {e}", entries.len() + 1))?);
        line.clear();
    }
    entries.shrink_to_fit();
    if entries.len() == count { Ok(entries) } else { Err(format!("it has {} sources, and the footer says {count}", entries.len())) }
}
