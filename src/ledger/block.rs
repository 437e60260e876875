//! A ledger's bytes: one JSON object a line for each source, compressed by zstd.
//!
//! They stand directly before the footer, where no reader of rows looks. The footer says how many they are, and their digest.

use std::io::{BufRead, BufReader, Read, Write};

use bytes::Bytes;

use super::Entry;
use crate::names::Digest;

/// zstd's own default: a line takes about 70 bytes, of which 32 are a digest.
const LEVEL: i32 = 3;
/// No ledger of ours comes to a tenth of this as text, by its bytes, and none needs a larger window: bounds for what somebody else made.
const MOST_RATIO: u64 = 256;
const WINDOW_LOG: u32 = 23;

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
    let mut text = zstd::Decoder::with_buffer(bytes).map_err(|e| e.to_string())?;
    text.window_log_max(WINDOW_LOG).map_err(|e| e.to_string())?;
    let mut lines = BufReader::new(text.take(MOST_RATIO * bytes.len() as u64));
    let (mut entries, mut line) = (Vec::new(), Vec::new());
    // one more than there should be, so that a longer one is seen to
    while entries.len() <= count && lines.read_until(b'\n', &mut line).map_err(|e| e.to_string())? > 0 {
        entries.push(serde_json::from_slice(&line).map_err(|e| format!("source {}: {e}", entries.len() + 1))?);
        line.clear();
    }
    entries.shrink_to_fit();
    if entries.len() == count { Ok(entries) } else { Err(format!("it has {} sources, and the footer says {count}", entries.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_somebody_else_made_is_read_only_so_far() {
        let line = r#"{"path":"h/0.bin","size":1,"mtime":2,"blake3":"DIGEST","from":0,"to":1,"dates":[],"rows":0,"written":0,"dropped":0,"superseded":0,"conflicting":0}"#;
        let line = line.replace("DIGEST", &Digest::of(b"").to_string()) + "\n";
        let packed = |text: &str| zstd::encode_all(text.as_bytes(), LEVEL).expect("compressed");
        assert_eq!(read(&packed(&line.repeat(3)), 3).map(|entries| entries.len()), Ok(3));
        assert!(read(&packed(&line.repeat(3)), 4).is_err_and(|why| why.contains("3 sources")));
        // a million lines, of which the third is one too many; and a line that does not end
        assert!(read(&packed(&line.repeat(1_000_000)), 2).is_err_and(|why| why.contains("has 3 sources")));
        let endless = read(&packed(&" ".repeat(100 << 20)), 1);
        assert!(endless.as_ref().is_err_and(|why| why.starts_with("source 1: ")), "{endless:?}");
    }
}
