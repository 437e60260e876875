//! Pages of a column chunk, taken apart: keys and steps in time become runs, so that rows need not be looked at one by one.
//!
//! What is known are the encodings in which objects are written. Nothing here is trusted: a count is held against the bytes that are there.

use parquet::errors::{ParquetError, Result};

use crate::schema::PAGE_ROWS;

/// The most bytes of a page: names of a row group have 16 MiB together.
pub const MOST_OF_PAGE: usize = 32 << 20;

/// No page has more rows: ours have fewer than twice [`PAGE_ROWS`]. A page of few bytes can claim any number of runs.
pub const MOST_ROWS: usize = 4 * PAGE_ROWS;

/// It has something that no object has.
pub fn not_ours(what: &str) -> ParquetError {
    ParquetError::General(format!("it has {what}"))
}

fn too_short() -> ParquetError {
    ParquetError::EOF("a page ends early".into())
}

/// Takes `count` bytes.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(too_short)?;
    *bytes = rest;
    Ok(taken)
}

/// ULEB128.
fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(not_ours("numbers of more than 64 bits"))
}

fn count(bytes: &mut &[u8]) -> Result<usize> {
    usize::try_from(varint(bytes)?).map_err(|_| too_short())
}

fn zigzag(bytes: &mut &[u8]) -> Result<i64> {
    let value = varint(bytes)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// Calls `each` with the first `count` numbers of `width` bits, 64 at most.
fn unpack_bits(bytes: &[u8], width: usize, count: usize, mut each: impl FnMut(u64)) -> Result<()> {
    if width > 64 || bytes.len() < (count * width).div_ceil(8) {
        return Err(too_short());
    }
    let mask = u128::from(u64::MAX.checked_shr(64 - width as u32).unwrap_or(0));
    let (mut bits, mut there, mut words) = (0_u128, 0, bytes.chunks(8));
    for _ in 0..count {
        if there < width {
            let word = words.next().unwrap_or_default();
            let next =
                word.first_chunk().map_or_else(|| word.iter().rev().fold(0, |next, byte| next << 8 | u64::from(*byte)), |word| u64::from_le_bytes(*word));
            bits |= u128::from(next) << there;
            there += 64;
        }
        each((bits & mask) as u64);
        bits >>= width;
        there -= width;
    }
    Ok(())
}

/// A value that runs are of, and its plain encoding.
pub trait Plain: Sized {
    /// Takes one.
    fn take(bytes: &mut &[u8]) -> Result<Self>;
}

impl Plain for i64 {
    fn take(bytes: &mut &[u8]) -> Result<Self> {
        let (first, rest) = bytes.split_first_chunk().ok_or_else(too_short)?;
        *bytes = rest;
        Ok(i64::from_le_bytes(*first))
    }
}

impl Plain for Box<str> {
    fn take(bytes: &mut &[u8]) -> Result<Self> {
        let (len, rest) = bytes.split_first_chunk().ok_or_else(too_short)?;
        *bytes = rest;
        let text = take(bytes, u32::from_le_bytes(*len) as usize)?;
        Ok(std::str::from_utf8(text).map_err(|e| ParquetError::External(Box::new(e)))?.into())
    }
}

/// Adds `rows` more of `value` to runs.
pub fn lengthen<T: PartialEq>(runs: &mut Vec<(T, usize)>, value: T, rows: usize) {
    match runs.last_mut() {
        Some((last, count)) if *last == value => *count += rows,
        _ => runs.push((value, rows)),
    }
}

/// RLE_DICTIONARY: the keys of `rows` rows as runs, each below `values`.
pub fn keys(mut page: &[u8], rows: usize, values: usize, runs: &mut Vec<(u32, usize)>) -> Result<()> {
    let width = usize::from(take(&mut page, 1)?[0]);
    let mut left = rows;
    while left > 0 {
        let header = count(&mut page)?;
        if header & 1 == 0 {
            let key = take(&mut page, width.div_ceil(8))?.iter().rev().fold(0, |key, byte| key << 8 | u64::from(*byte));
            let rows = left.min(header >> 1);
            lengthen(runs, u32::try_from(key).unwrap_or(u32::MAX), rows);
            left -= rows;
            if rows == 0 {
                return Err(not_ours("runs of no row"));
            }
        } else {
            let packed = take(&mut page, (header >> 1).checked_mul(width).ok_or_else(too_short)?)?;
            let rows = left.min((header >> 1).saturating_mul(8));
            unpack_bits(packed, width, rows, |key| lengthen(runs, u32::try_from(key).unwrap_or(u32::MAX), 1))?;
            left -= rows;
        }
    }
    match runs.iter().all(|(key, _)| (*key as usize) < values) {
        true => Ok(()),
        false => Err(not_ours("rows whose values are not in their dictionary")),
    }
}

/// DELTA_BINARY_PACKED: the first of `rows` numbers, and the steps to those that follow it.
pub fn steps(mut page: &[u8], rows: usize, runs: &mut Vec<(i64, usize)>) -> Result<i64> {
    let page = &mut page;
    let (block, miniblocks, total) = (count(page)?, count(page)?, count(page)?);
    let first = zigzag(page)?;
    let in_miniblock = block.checked_div(miniblocks).filter(|count| count % 8 == 0 && *count > 0 && *count <= 1 << 20);
    let in_miniblock = in_miniblock.filter(|_| total == rows).ok_or_else(|| not_ours("times that are encoded in another way"))?;
    let (mut left, mut run) = (rows.saturating_sub(1), (0, 0));
    let mut add = |step: i64, rows: usize| {
        if step == run.0 {
            run.1 += rows;
        } else {
            runs.extend(Some(std::mem::replace(&mut run, (step, rows))).filter(|run| run.1 > 0));
        }
    };
    while left > 0 {
        let least = zigzag(page)?;
        for width in take(page, miniblocks)?.iter().map(|width| usize::from(*width)) {
            let count = left.min(in_miniblock);
            if width == 0 && count > 0 {
                add(least, count);
            } else if count > 0 {
                let packed = take(page, in_miniblock / 8 * width)?;
                unpack_bits(packed, width, count, |step| add(least.wrapping_add(step as i64), 1))?;
            }
            left -= count;
        }
    }
    runs.extend(Some(run).filter(|run| run.1 > 0));
    Ok(first)
}

/// BYTE_STREAM_SPLIT: values of four bytes each, one after the other.
pub fn join_streams(page: &[u8], values: &mut Vec<u8>) {
    let rows = page.len() / 4;
    let (first, rest) = page.split_at(rows);
    let (second, rest) = rest.split_at(rows);
    let (third, fourth) = rest.split_at(rows);
    // all of it is overwritten
    values.resize(4 * rows, 0);
    let streams = first.iter().zip(second).zip(third.iter().zip(fourth));
    for (value, ((a, b), (c, d))) in values.as_chunks_mut().0.iter_mut().zip(streams) {
        *value = [*a, *b, *c, *d];
    }
}
