//! Timestamps as DELTA_BINARY_PACKED, straight from runs.
//!
//! Within a run all deltas are the same, so a block in it takes a delta and four zero widths: nothing is computed a row.
//! Format: <https://parquet.apache.org/docs/file-format/data-pages/encodings/#DELTAENC>.

use crate::data::TimeRun;

/// Deltas in a block, and in each of its four miniblocks.
const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

/// Encodes the times of `runs`, which are `rows` altogether.
pub fn encode(runs: &[TimeRun], rows: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + rows / 16);
    varint(&mut out, BLOCK as u64);
    varint(&mut out, (BLOCK / MINIBLOCK) as u64);
    varint(&mut out, rows as u64);
    let mut deltas = Deltas::new(runs);
    zigzag(&mut out, deltas.previous);
    let mut left = rows.saturating_sub(1);
    let mut block = [0; BLOCK];
    while left > 0 {
        let count = left.min(BLOCK);
        match deltas.constant(count) {
            Some(delta) => {
                zigzag(&mut out, delta);
                out.extend([0; BLOCK / MINIBLOCK]);
            }
            None => {
                deltas.fill(&mut block[..count]);
                pack(&mut out, &mut block, count);
            }
        }
        left -= count;
    }
    out
}

/// The differences between each time and the one before.
struct Deltas<'a> {
    runs: &'a [TimeRun],
    /// The time that comes before the next delta.
    previous: i64,
    /// Rows of the first run that are still to come.
    left: usize,
}

impl<'a> Deltas<'a> {
    fn new(runs: &'a [TimeRun]) -> Self {
        let (previous, left) = runs.first().map_or((0, 0), |run| (run.start, run.rows - 1));
        Self { runs, previous, left }
    }

    /// Takes `count` deltas if they are all the same.
    fn constant(&mut self, count: usize) -> Option<i64> {
        if self.left < count {
            return None;
        }
        let delta = self.runs[0].frequency;
        self.left -= count;
        self.previous += delta * count as i64;
        Some(delta)
    }

    fn fill(&mut self, block: &mut [i64]) {
        for delta in block {
            if self.left == 0 {
                self.runs = &self.runs[1..];
                self.left = self.runs[0].rows;
                *delta = self.runs[0].start.wrapping_sub(self.previous);
            } else {
                *delta = self.runs[0].frequency;
            }
            self.left -= 1;
            self.previous = self.previous.wrapping_add(*delta);
        }
    }
}

/// One block: the smallest delta, a width for each miniblock, and what each delta is above the smallest, in that many bits.
fn pack(out: &mut Vec<u8>, block: &mut [i64; BLOCK], count: usize) {
    let smallest = block[..count].iter().copied().min().unwrap_or_default();
    zigzag(out, smallest);
    block[count..].fill(smallest);
    let widths = out.len();
    out.extend([0; BLOCK / MINIBLOCK]);
    for (index, miniblock) in block.chunks(MINIBLOCK).enumerate() {
        if index * MINIBLOCK >= count {
            break;
        }
        let above = miniblock.iter().map(|delta| delta.wrapping_sub(smallest) as u64);
        let width = above.clone().map(|v| 64 - v.leading_zeros()).max().unwrap_or_default();
        out[widths + index] = width as u8;
        if width <= 32 {
            pack_narrow(out, above, width);
        } else {
            pack_wide(out, above, width);
        }
    }
}

/// The values of a miniblock in `width` bits each, the lowest bit first; four bytes at a time.
fn pack_narrow(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let (mut bits, mut filled) = (0_u64, 0);
    for value in values {
        bits |= value << filled;
        filled += width;
        if filled >= 32 {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= 32;
            filled -= 32;
        }
    }
    // 32 values of any width are whole words: nothing is left
}

/// The same for any width.
fn pack_wide(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let (mut bits, mut filled) = (0_u128, 0);
    for value in values {
        bits |= u128::from(value) << filled;
        filled += width;
        while filled >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            filled -= 8;
        }
    }
}

fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// ULEB128, as runs in RLE pages need it too.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
