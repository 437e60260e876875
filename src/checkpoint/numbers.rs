//! Numbers of a `.json` snapshot, read fast: they are most of its text.

/// Appends the numbers and nulls up to the `]` that ends them, and says where that is. Fails where there is anything else,
/// or anything that is no JSON.
pub fn numbers(text: &[u8], values: &mut Vec<u8>) -> Result<usize, usize> {
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
