//! Arrays of numbers are most of a `.json` snapshot. They are taken out of the text, in one pass, before it is parsed as JSON.
//!
//! What is left is the [`Skeleton`]: the same JSON with each such array replaced by `[index]`. An array that is not taken, for
//! whatever reason, stays as it is, for the parser to accept or to refuse; it never looks like an index, as one of a single
//! number would have been taken.

use bytes::Bytes;

use crate::buffers::{Buffer, Buffers};
use crate::data::SERIES_COST;

/// A text without its arrays of numbers.
pub struct Skeleton {
    /// JSON, if the text was.
    pub text: Vec<u8>,
    /// Where pieces of the skeleton begin, in it and in the whole text.
    origins: Vec<(usize, usize)>,
    arrays: Vec<(usize, usize)>,
    values: Buffer,
}

impl Skeleton {
    /// Takes the arrays of numbers out of `text`; their values go to memory from `buffers`. None if there are so many that
    /// they and their series take more than `room` bytes.
    pub fn of(text: &[u8], room: usize, buffers: &Buffers) -> Option<Self> {
        // a number, with its comma, is seldom shorter than five bytes
        let values = buffers.take(text.len() / 5 * 4);
        let mut skeleton = Self { text: Vec::new(), origins: Vec::new(), arrays: Vec::new(), values };
        let (mut at, mut copied) = (0, 0);
        while let Some(byte) = text.get(at) {
            match byte {
                b'"' => at = end_of_string(text, at),
                b'[' => {
                    at += 1;
                    let begin = skeleton.values.len();
                    match numbers(&text[at..], &mut skeleton.values) {
                        Ok(len) => {
                            skeleton.copy(text, copied, at);
                            let index = skeleton.arrays.len();
                            skeleton.text.extend_from_slice(index.to_string().as_bytes());
                            skeleton.arrays.push((begin, (skeleton.values.len() - begin) / 4));
                            at += len;
                            copied = at;
                            if skeleton.memory() + SERIES_COST * skeleton.arrays.len() > room {
                                return None;
                            }
                        }
                        Err(_) => skeleton.values.truncate(begin),
                    }
                }
                _ => at += 1,
            }
        }
        skeleton.copy(text, copied, text.len());
        (skeleton.memory() <= room).then_some(skeleton)
    }

    /// Bytes that it takes, without what `text` takes where it came from.
    pub fn memory(&self) -> usize {
        let places = size_of::<(usize, usize)>() * (self.origins.capacity() + self.arrays.capacity());
        self.text.capacity() + places + self.values.len()
    }

    fn copy(&mut self, text: &[u8], from: usize, to: usize) {
        self.origins.push((self.text.len(), from));
        self.text.extend_from_slice(&text[from..to]);
    }

    /// Where in the whole text a byte of the skeleton comes from.
    pub fn origin(&self, at: usize) -> usize {
        let piece = self.origins.partition_point(|(begin, _)| *begin <= at).checked_sub(1);
        piece.and_then(|piece| self.origins.get(piece)).map_or(at, |(begin, origin)| origin + at - begin)
    }

    /// What stands for an array in the skeleton: where its values begin, in bytes, and how many they are.
    pub fn array(&self, raw: &str) -> Option<(usize, usize)> {
        let index: usize = raw.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
        self.arrays.get(index).copied()
    }

    /// The values of all arrays: little-endian f32.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The same, to keep.
    pub fn into_values(self) -> Bytes {
        self.values.freeze()
    }
}

/// The first byte past the string that begins at `at`, or the end of a text that has no such byte.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Why an array that is JSON was not taken.
pub fn flaw(array: &str) -> String {
    let Some(text) = array.strip_prefix('[').map(str::as_bytes) else { return "data is not an array".into() };
    let at = numbers(text, &mut Vec::new()).unwrap_or_else(|at| at);
    let end = text[at..].iter().position(|b| matches!(b, b',' | b']')).unwrap_or(text.len() - at).min(40);
    let shown = String::from_utf8_lossy(&text[at..at + end]);
    match text.get(at) {
        Some(b'-' | b'0'..=b'9') => format!("number out of range: {shown}"),
        // of which the skeleton may hold an index only
        Some(b'[') => "data holds an array, which is no number".into(),
        _ => format!("data holds {shown}, which is no number"),
    }
}

/// Appends the numbers and nulls up to the `]` that ends them, and says where that is. Fails where there is anything else,
/// or anything that is no JSON.
fn numbers(text: &[u8], values: &mut Vec<u8>) -> Result<usize, usize> {
    let mut at = blank(text, 0);
    if text.get(at) == Some(&b']') {
        return Ok(at);
    }
    loop {
        at = match short_numbers(text, at, values) {
            Ok(end) => return Ok(end),
            Err(at) => blank(text, at),
        };
        let null = || text[at..].starts_with(b"null").then_some((f32::NAN, at + 4));
        let value;
        (value, at) = number(text, at).or_else(null).ok_or(at)?;
        values.extend_from_slice(&value.to_le_bytes());
        at = blank(text, at);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b']') => return Ok(at),
            _ => return Err(at),
        }
    }
}

/// The same for numbers that are short and have no white space between them, as most are; fails where there is something else.
fn short_numbers(text: &[u8], mut at: usize, values: &mut Vec<u8>) -> Result<usize, usize> {
    while let Some((value, end)) = short_number(text, at) {
        values.extend_from_slice(&value.to_le_bytes());
        if text[end] == b']' {
            return Ok(end);
        }
        at = end + 1;
    }
    Err(at)
}

/// The first byte from `at` on that is no white space.
fn blank(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// Powers of ten that an f64 holds exactly.
const POWERS: [f64; 23] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

/// The number that begins at `at`, as the nearest f64 and then the nearest f32, which is how cc-backend reads it; and where it ends.
///
/// Digits below 2^53 over a power of ten up to 10^22 are two exact numbers, so that their quotient is the nearest (Clinger 1990).
fn number(text: &[u8], begin: usize) -> Option<(f32, usize)> {
    let negative = text.get(begin) == Some(&b'-');
    let first = begin + usize::from(negative);
    let (mut digits, mut at) = all_digits(text, first, 0);
    if at == first || (text[first] == b'0' && at > first + 1) {
        return None;
    }
    let (mut count, mut fraction) = (at - first, 0);
    if text.get(at) == Some(&b'.') {
        let point = at;
        (digits, at) = all_digits(text, point + 1, digits);
        fraction = at - point - 1;
        count += fraction;
        if fraction == 0 {
            return None;
        }
    }
    let has_exponent = matches!(text.get(at), Some(b'e' | b'E'));
    if count <= 18 && digits < 1 << 53 && !has_exponent {
        let value = digits as f64 / POWERS[fraction];
        return Some((if negative { -value } else { value } as f32, at));
    }
    if has_exponent {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = at;
        at = all_digits(text, at, 0).1;
        if at == exponent {
            return None;
        }
    }
    let value = std::str::from_utf8(&text[begin..at]).ok()?.parse::<f64>().ok().filter(|value| value.is_finite())?;
    Some((value as f32, at))
}

/// The same for a number of up to seven digits that a comma or `]` follows, all of them at once; None for any other. It is
/// inlined, as what it returns would go through memory otherwise, and that takes longer than the number.
#[inline(always)]
fn short_number(text: &[u8], begin: usize) -> Option<(f32, usize)> {
    if text.get(begin) == Some(&b'-') { short_digits(text, begin + 1).map(|(value, end)| (-value, end)) } else { short_digits(text, begin) }
}

/// What eight bytes hold is found out by arithmetic on all of them, without a branch for each: the first that is no digit, and, if
/// that is a point, the next one. The digits, aligned to the upper end, become a number in three steps (Lemire, "Quickly parsing
/// eight digits", 2018).
#[inline(always)]
fn short_digits(text: &[u8], begin: usize) -> Option<(f32, usize)> {
    const PAIR: u64 = 0x0000_00ff_0000_00ff;
    let eight = u64::from_le_bytes(*text.get(begin..)?.first_chunk()?);
    let digits = eight ^ u64::from_le_bytes([b'0'; 8]);
    // 0x80 in bytes that are not 0 to 9: right up to the first one, and if that is a point up to the next
    let others = (digits | digits.wrapping_add(u64::from_le_bytes([0x76; 8]))) & u64::from_le_bytes([0x80; 8]);
    let byte = |at: u32| eight.checked_shr(8 * at).map(|shifted| shifted as u8);
    let whole = others.trailing_zeros() / 8;
    let (digits, end) = if byte(whole)? == b'.' {
        let before = (1 << (8 * whole)) - 1;
        ((digits & before) | ((digits >> 8) & !before), (others & (others - 1)).trailing_zeros() / 8)
    } else {
        (digits, whole)
    };
    let fraction = (end - whole).saturating_sub(1);
    let is_number = whole > 0 && (whole == 1 || digits as u8 != 0) && end != whole + 1;
    if !is_number || !matches!(byte(end)?, b',' | b']') {
        return None;
    }
    let digits = digits << (64 - 8 * (whole + fraction));
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let value = (pairs & PAIR).wrapping_mul(100 + (1_000_000 << 32)).wrapping_add(((pairs >> 16) & PAIR).wrapping_mul(1 + (10_000 << 32))) >> 32;
    // seven digits: both are exact, as in `number`
    Some(((value as i64 as f64 / POWERS[fraction as usize]) as f32, begin + end as usize))
}

/// Appends the digits from `at` on to a number, which may overflow; and where they end.
fn all_digits(text: &[u8], mut at: usize, mut digits: u64) -> (u64, usize) {
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (digits, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(text: &str) -> (String, Vec<Vec<u32>>) {
        let skeleton = Skeleton::of(text.as_bytes(), usize::MAX, &Buffers::new(0)).expect("there is room");
        let text = String::from_utf8(skeleton.text.clone()).expect("UTF-8");
        let arrays = skeleton.arrays.clone();
        let values = skeleton.into_values();
        let bits = |(begin, len): (usize, usize)| crate::data::floats(&values[begin..begin + 4 * len]).map(f32::to_bits).collect();
        (text, arrays.into_iter().map(bits).collect())
    }

    #[test]
    fn arrays_of_numbers_and_nulls_are_taken_and_nothing_else() {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let text = r#"{"a[1]\"[2":[ ],"b": [ 1.5 ,null,
            -0.0 ] ,"c":[[7],{"d":[1,2]}]}"#;
        let (skeleton, arrays) = taken(text);
        assert_eq!(skeleton, r#"{"a[1]\"[2":[0],"b": [1] ,"c":[[2],{"d":[3]}]}"#);
        assert_eq!(arrays, [vec![], bits(&[1.5, f32::NAN, -0.0]), bits(&[7.0]), bits(&[1.0, 2.0])]);
        for other in
            ["[true]", "[\"1\"]", "[1,]", "[,1]", "[01]", "[1.]", "[.5]", "[-]", "[1e]", "[1e999]", "[-1e400]", "[1 2]", "[nul]", "[1", "[", "[1,null", "[+1]"]
        {
            assert_eq!(taken(other), (other.to_owned(), vec![]), "{other}");
        }
    }

    #[test]
    fn a_byte_of_the_skeleton_is_found_in_the_text() {
        let text = br#"{"a":[1,2,3],"b":[4,5],x"#;
        let skeleton = Skeleton::of(text, usize::MAX, &Buffers::new(0)).expect("there is room");
        let at = skeleton.text.iter().position(|byte| *byte == b'x').expect("there");
        assert_eq!(skeleton.origin(at), text.len() - 1);
        assert_eq!(skeleton.origin(2), 2);
    }

    proptest! {
        #[test]
        fn a_number_is_the_nearest_f64_then_the_nearest_f32(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?") {
            let expected = text.parse::<f64>().expect("a number") as f32;
            prop_assert_eq!(taken(&format!("[{text}]")).1, [[expected.to_bits()]]);
        }

        #[test]
        fn short_numbers_next_to_each_other_are_read_alike(texts in proptest::collection::vec("-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,8})?", 1..9)) {
            let expected: Vec<u32> = texts.iter().map(|text| (text.parse::<f64>().expect("a number") as f32).to_bits()).collect();
            prop_assert_eq!(taken(&format!("[{}]", texts.join(","))).1, [expected]);
        }

        #[test]
        fn whatever_is_taken_is_json(text in "[\\[\\]0-9.,eE+\\-nul \"\\\\]{0,20}") {
            let is_json = |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
            // numbers beyond an f64 are left alone; the parser's own check of ranges is not asked for here
            prop_assert_eq!(is_json(text.as_bytes()), is_json(taken(&text).0.as_bytes()));
        }
    }
}
