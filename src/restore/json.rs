//! `.json`: levels as objects. Every value comes back with the same bits.

use std::io::{self, Write};

use crate::data::Place;
use crate::sheet::{Entry, Level, Sheet};

/// Infinity, which JSON has no number for: whoever reads it as f64 and then as f32 gets it.
const INFINITY: &str = "1e39";

/// Writes a checkpoint.
pub fn write(sheet: &Sheet, place: &Place, out: &mut dyn Write) -> io::Result<()> {
    level(Level::host(&sheet.series), sheet, place, out)
}

fn level(of: Level<'_>, sheet: &Sheet, place: &Place, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{{\"from\":{},\"to\":{},\"metrics\":{{", sheet.from, sheet.to)?;
    for (i, Entry { metric, span, .. }) in of.metrics().iter().enumerate() {
        key(i, metric, out)?;
        write!(out, "{{\"frequency\":{},\"start\":{},\"data\":[", span.frequency, span.start)?;
        let all = place.values(span)?;
        for (i, value) in crate::data::floats(&all).enumerate() {
            out.write_all(if i > 0 { b"," } else { b"" })?;
            number(value, out)?;
        }
        out.write_all(b"]}")?;
    }
    out.write_all(b"},\"children\":{")?;
    for (i, (child, below)) in of.children().enumerate() {
        key(i, child, out)?;
        level(below, sheet, place, out)?;
    }
    out.write_all(b"}}")
}

fn key(index: usize, name: &str, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(if index > 0 { b"," } else { b"" })?;
    serde_json::to_writer(&mut *out, name)?;
    out.write_all(b":")
}

/// The shortest decimal that is read as this value: as the nearest f64, and then the nearest f32.
fn number(value: f32, out: &mut dyn Write) -> io::Result<()> {
    if value.is_nan() {
        return out.write_all(b"null");
    }
    if value.is_infinite() {
        return write!(out, "{}{INFINITY}", if value < 0.0 { "-" } else { "" });
    }
    let short = value.to_string();
    let is_read_back = short.parse::<f64>().is_ok_and(|read| (read as f32).to_bits() == value.to_bits());
    if is_read_back { out.write_all(short.as_bytes()) } else { write!(out, "{}", f64::from(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f32) -> String {
        let mut out = Vec::new();
        number(value, &mut out).expect("in memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([1.0, -0.0, 0.1, 1.5e9, f32::NAN, f32::NEG_INFINITY].map(written), ["1", "-0", "0.1", "1500000000", "null", "-1e39"]);
    }

    proptest! {
        #[test]
        fn every_value_is_read_with_the_same_bits(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            let read = serde_json::from_str::<Option<f64>>(&written(value)).expect("JSON").map_or(f32::NAN, |read| read as f32);
            prop_assert!(read.to_bits() == bits || (read.is_nan() && value.is_nan()));
        }
    }
}
