//! `.json`: numbers go straight from the text into one buffer of f32; no tree of JSON values is made.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Flaw, MAX_DEPTH};
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
    Ok(Snapshot { from, to, levels: decoded.levels, series: decoded.series, values: Bytes::from(decoded.values) })
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
    levels: Vec<Arc<Selector>>,
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
        let level = self.decoded.levels.len() as u32;
        let selector = Arc::new(self.selector);
        self.decoded.levels.push(Arc::clone(&selector));
        let mut header = Header::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Metrics => map.next_value_seed(Optional(Metrics { decoded: self.decoded, level }))?,
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
    level: u32,
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
            decoded.series.push(Series { level: self.level, metric, span });
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
                    map.next_value_seed(Optional(Data(self.0)))?;
                }
                MetricKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let required = |value: Option<i64>, key| value.ok_or_else(|| A::Error::missing_field(key));
        Ok((required(start, "start")?, required(frequency, "frequency")?))
    }
}

struct Data<'a>(&'a mut Vec<u8>);

impl<'de> Visitor<'de> for Data<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of numbers and nulls")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        // the nearest f64, then the nearest f32, as cc-backend reads it
        while let Some(value) = seq.next_element::<Option<f64>>()? {
            let value = value.map_or(f32::NAN, |v| v as f32);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }
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
            map.next_value_seed(Level { decoded: self.decoded, selector: self.parent.child(&name), depth: self.depth })?;
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
