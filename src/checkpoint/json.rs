//! `.json`: numbers go straight from the text into one buffer of f32; no tree of JSON values is made.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Flaw, LONG_PATH, Levels, MAX_DEPTH};
use crate::data::{Series, Snapshot, Span};
use crate::names::Selector;

pub(super) fn decode(bytes: &[u8], name_from: i64) -> Result<Snapshot, Flaw> {
    let mut decoded = Decoded::default();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let level = Level { decoded: &mut decoded, selector: Selector::node(), depth: 0 };
    let header = level.deserialize(&mut json).and_then(|header| json.end().map(|()| header));
    let header = header.map_err(|e| flaw(bytes, &e))?;
    let from = header.from.unwrap_or(name_from);
    let to = header.to.unwrap_or(from);
    Ok(Snapshot { from, to, levels: decoded.levels.kept, series: decoded.series, values: Bytes::from(decoded.values) })
}

/// serde_json counts lines and columns; files of one line have the offset as their column.
fn flaw(bytes: &[u8], e: &serde_json::Error) -> Flaw {
    let line = e.line();
    if line == 0 {
        return Flaw::whole(e.to_string());
    }
    let start: usize = bytes.split_inclusive(|b| *b == b'\n').take(line - 1).map(<[u8]>::len).sum();
    let text = e.to_string();
    let reason = text.strip_suffix(&format!(" at line {line} column {}", e.column())).unwrap_or(&text).to_owned();
    Flaw::at((start + e.column()).min(bytes.len()), reason)
}

#[derive(Default)]
struct Decoded {
    levels: Levels,
    series: Vec<Series>,
    values: Vec<u8>,
    metrics: HashMap<Box<str>, Arc<str>>,
}

#[derive(Default)]
struct Header {
    from: Option<i64>,
    to: Option<i64>,
}

/// A level, into `decoded`.
struct Level<'a> {
    decoded: &'a mut Decoded,
    selector: Selector,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Header;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Header, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a level: an object with metrics and children")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        if self.depth > MAX_DEPTH {
            return Err(A::Error::custom(format!("levels nest deeper than {MAX_DEPTH}")));
        }
        let selector = Arc::new(self.selector);
        let mut header = Header::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Metrics => map.next_value_seed(Optional(Metrics { decoded: self.decoded, selector: &selector }))?,
                Key::Children => map.next_value_seed(Optional(Children { decoded: self.decoded, parent: &selector, depth: self.depth + 1 }))?,
                Key::From => header.from = map.next_value()?,
                Key::To => header.to = map.next_value()?,
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(header)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Metrics,
    Children,
    From,
    To,
    #[serde(other)]
    Other,
}

/// `null`, as Go writes an empty map or list, or what the visitor takes.
struct Optional<V>(V);

impl<'de, V: Visitor<'de, Value = ()>> DeserializeSeed<'de> for Optional<V> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self.0)
    }
}

struct Metrics<'a> {
    decoded: &'a mut Decoded,
    selector: &'a Arc<Selector>,
}

impl<'de> Visitor<'de> for Metrics<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of metrics")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let decoded = &mut *self.decoded;
            let metric = Arc::clone(decoded.metrics.entry(name).or_insert_with_key(|name| Arc::from(&**name)));
            let at = decoded.values.len();
            let (start, frequency) = map.next_value_seed(Metric(&mut decoded.values))?;
            let len = (decoded.values.len() - at) / 4;
            let span = Span::checked(start, frequency, at, len).map_err(|why| A::Error::custom(format!("metric {metric:?}: {why}")))?;
            let level = decoded.levels.index(self.selector);
            decoded.series.push(Series { level, metric, span });
        }
        Ok(())
    }
}

/// One metric, its values appended to the buffer; gives start and frequency.
struct Metric<'a>(&'a mut Vec<u8>);

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum MetricKey {
    Frequency,
    Start,
    Data,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Metric<'_> {
    type Value = (i64, i64);
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(i64, i64), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metric<'_> {
    type Value = (i64, i64);

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a metric: an object with frequency, start and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(i64, i64), A::Error> {
        let (mut frequency, mut start, begin) = (None, None, self.0.len());
        while let Some(key) = map.next_key()? {
            match key {
                MetricKey::Frequency => frequency = Some(map.next_value()?),
                MetricKey::Start => start = Some(map.next_value()?),
                MetricKey::Data => {
                    // a key that stands twice: the last one counts, as in Go
                    self.0.truncate(begin);
                    let text: &RawValue = map.next_value()?;
                    numbers(text.get(), self.0).map_err(A::Error::custom)?;
                }
                MetricKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let required = |value: Option<i64>, key| value.ok_or_else(|| A::Error::missing_field(key));
        Ok((required(start, "start")?, required(frequency, "frequency")?))
    }
}

/// Appends the values of an array of numbers and nulls; `text` is known to be valid JSON.
fn numbers(text: &str, values: &mut Vec<u8>) -> Result<(), String> {
    if text == "null" {
        return Ok(());
    }
    let Some(mut rest) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).map(str::as_bytes) else {
        return Err("data is not an array".into());
    };
    loop {
        rest = rest.trim_ascii_start();
        let value;
        (value, rest) = match rest {
            [] => return Ok(()),
            [b'n', tail @ ..] => (f32::NAN, &tail[3..]),
            [b'-' | b'0'..=b'9', ..] => number(rest)?,
            _ => return Err(format!("data holds {}, which is no number", shown(rest))),
        };
        values.extend_from_slice(&value.to_le_bytes());
        rest = rest.trim_ascii_start();
        if let [b',', tail @ ..] = rest {
            rest = tail;
        }
    }
}

/// Powers of ten that an f64 holds exactly.
const POWERS: [f64; 23] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

/// The number that `text` begins with, as the nearest f64 and then the nearest f32, which is how cc-backend reads it; and the rest.
///
/// Digits below 2^53 over a power of ten up to 10^22 are two exact numbers, so that their quotient is the nearest (Clinger 1990).
fn number(text: &[u8]) -> Result<(f32, &[u8]), String> {
    let negative = text[0] == b'-';
    let (mut at, mut digits, mut count, mut fraction) = (usize::from(negative), 0_u64, 0, 0);
    let mut in_fraction = false;
    while let Some(byte) = text.get(at) {
        match byte {
            b'0'..=b'9' => {
                digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                count += 1;
                fraction += usize::from(in_fraction);
            }
            b'.' => in_fraction = true,
            _ => break,
        }
        at += 1;
    }
    let has_exponent = matches!(text.get(at), Some(b'e' | b'E'));
    if count <= 18 && digits < 1 << 53 && fraction < POWERS.len() && !has_exponent {
        let value = digits as f64 / POWERS[fraction];
        return Ok((if negative { -value } else { value } as f32, &text[at..]));
    }
    let end = text.iter().position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E')).unwrap_or(text.len());
    let value = std::str::from_utf8(&text[..end]).ok().and_then(|text| text.parse::<f64>().ok()).filter(|value| value.is_finite());
    let value = value.ok_or_else(|| format!("number out of range: {}", shown(text)))?;
    Ok((value as f32, &text[end..]))
}

/// The beginning of what cannot be used.
fn shown(text: &[u8]) -> String {
    let end = text.iter().position(|b| *b == b',').unwrap_or(text.len()).min(40);
    String::from_utf8_lossy(&text[..end]).into_owned()
}

struct Children<'a> {
    decoded: &'a mut Decoded,
    parent: &'a Selector,
    depth: usize,
}

impl<'de> Visitor<'de> for Children<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of children")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let selector = self.parent.child(&name).ok_or_else(|| A::Error::custom(LONG_PATH))?;
            map.next_value_seed(Level { decoded: self.decoded, selector, depth: self.depth })?;
        }
        Ok(())
    }
}

/// A key as a string of its own.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Box<str>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Box<str>, D::Error> {
        serde::Deserialize::deserialize(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Vec<u32>, String> {
        let mut values = Vec::new();
        numbers(text, &mut values)?;
        Ok(values.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    #[test]
    fn arrays_hold_numbers_and_nulls_and_nothing_else() {
        assert_eq!(parsed(" [ ]".trim_start()), Ok(vec![]));
        assert_eq!(parsed("[ 1.5 ,null,\n-0.0 ]"), Ok(vec![1.5_f32.to_bits(), f32::NAN.to_bits(), (-0.0_f32).to_bits()]));
        for wrong in ["[true]", "[\"1\"]", "[[1]]", "{}", "1", "[1,{}]", "[1e999]", "[-1e400]"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_the_nearest_f64_then_the_nearest_f32(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?") {
            let expected = text.parse::<f64>().expect("a number") as f32;
            prop_assert_eq!(parsed(&format!("[{text}]")), Ok(vec![expected.to_bits()]));
        }
    }
}
