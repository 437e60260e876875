//! The column of values: the only one with work for every row. Plain loops over fixed blocks, which compilers turn into vector code.

use std::ops::Range;

use bytes::Bytes;

use crate::data::floats;

/// The smallest and the largest value so far; none is NaN.
///
/// In lanes, as compilers keep the order of float comparisons.
pub struct Bounds {
    low: [f32; LANES],
    high: [f32; LANES],
}

const LANES: usize = 8;

impl Bounds {
    /// Of no value.
    pub fn new() -> Self {
        Self { low: [f32::INFINITY; LANES], high: [f32::NEG_INFINITY; LANES] }
    }

    /// Takes in the values of a slice.
    pub fn add(&mut self, values: &[u8]) {
        let (chunks, rest) = values.as_chunks::<{ 4 * LANES }>();
        for chunk in chunks {
            for ((low, high), value) in self.low.iter_mut().zip(&mut self.high).zip(floats(chunk)) {
                *low = low.min(value);
                *high = high.max(value);
            }
        }
        for value in floats(rest) {
            self.low[0] = self.low[0].min(value);
            self.high[0] = self.high[0].max(value);
        }
    }

    /// The smallest and the largest. A smallest zero is -0, and a largest one +0, as the format asks: readers need not tell them apart.
    pub fn found(&self) -> (f32, f32) {
        let min = self.low.iter().copied().fold(f32::INFINITY, f32::min);
        let max = self.high.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max })
    }
}

/// The bytes of some values of a slice.
pub fn bytes_of(slice: &Bytes, values: Range<usize>) -> &[u8] {
    &slice[4 * values.start..4 * values.end]
}

/// BYTE_STREAM_SPLIT: all first bytes of `rows` values, then all second ones, and so on.
pub fn byte_stream_split<'a>(slices: impl Iterator<Item = &'a [u8]>, rows: usize, page: &mut Vec<u8>) {
    const BLOCK: usize = 32;
    // all of it is overwritten
    page.resize(4 * rows, 0);
    let (first, rest) = page.split_at_mut(rows);
    let (second, rest) = rest.split_at_mut(rows);
    let (third, fourth) = rest.split_at_mut(rows);
    let mut streams = [first, second, third, fourth];
    let mut at = 0;
    for slice in slices {
        for block in slice.chunks(4 * BLOCK) {
            let count = block.len() / 4;
            if let Ok(block) = <&[u8; 4 * BLOCK]>::try_from(block) {
                let mut words = [0_u32; BLOCK];
                for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
                for (stream, shift) in streams.iter_mut().zip([0, 8, 16, 24]) {
                    for (byte, word) in stream[at..at + BLOCK].iter_mut().zip(&words) {
                        *byte = (word >> shift) as u8;
                    }
                }
            } else {
                for (i, value) in block.as_chunks::<4>().0.iter().enumerate() {
                    for (stream, byte) in streams.iter_mut().zip(value) {
                        stream[at + i] = *byte;
                    }
                }
            }
            at += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_and_bounds_are_those_of_the_values(parts in proptest::collection::vec(proptest::collection::vec(-1e9..1e9_f32, 0..150), 0..5)) {
            let values = parts.concat();
            let slices: Vec<Vec<u8>> = parts.iter().map(|part| part.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
            let mut page = vec![7; 11];
            byte_stream_split(slices.iter().map(Vec::as_slice), values.len(), &mut page);
            let expected: Vec<u8> = (0..4).flat_map(|i| values.iter().map(move |v| v.to_le_bytes()[i])).collect();
            prop_assert_eq!(page, expected);
            let mut bounds = Bounds::new();
            slices.iter().for_each(|slice| bounds.add(slice));
            let (low, high) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
            prop_assert_eq!(bounds.found(), (low, high));
        }
    }

    #[test]
    fn zeros_are_signed_as_bounds() {
        let mut bounds = Bounds::new();
        bounds.add(&0.0_f32.to_le_bytes());
        let (low, high) = bounds.found();
        assert!(low.is_sign_negative() && high.is_sign_positive());
    }
}
