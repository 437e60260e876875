//! `.json`: what is left of the text without its arrays of numbers goes through serde_json; no tree of JSON values is made.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::arrays::{self, Skeleton};
use super::{Flaw, LONG_PATH, Levels, MAX_DEPTH};
use crate::buffers::Buffers;
use crate::data::{Series, Snapshot, Span};
use crate::names::Selector;

pub(super) fn decode(bytes: &[u8], name_from: i64, buffers: &Buffers) -> Result<Snapshot, Flaw> {
    let skeleton = Skeleton::of(bytes, buffers);
    let mut decoded = Decoded { skeleton: &skeleton, levels: Levels::default(), series: Vec::new(), metrics: HashMap::new() };
    let mut json = serde_json::Deserializer::from_slice(&skeleton.text);
    let level = Level { decoded: &mut decoded, selector: Selector::node(), depth: 0 };
    let header = level.deserialize(&mut json).and_then(|header| json.end().map(|()| header));
    let header = header.map_err(|e| flaw(&skeleton, bytes.len(), &e))?;
    let from = header.from.unwrap_or(name_from);
    let to = header.to.unwrap_or(from);
    let Decoded { levels, series, .. } = decoded;
    Ok(Snapshot { from, to, levels: levels.kept, series, values: skeleton.into_values() })
}

/// serde_json counts lines and columns, of the skeleton.
fn flaw(skeleton: &Skeleton, len: usize, e: &serde_json::Error) -> Flaw {
    let line = e.line();
    if line == 0 {
        return Flaw::whole(e.to_string());
    }
    let start: usize = skeleton.text.split_inclusive(|b| *b == b'\n').take(line - 1).map(<[u8]>::len).sum();
    let text = e.to_string();
    let reason = text.strip_suffix(&format!(" at line {line} column {}", e.column())).unwrap_or(&text).to_owned();
    Flaw::at(skeleton.origin(start + e.column()).min(len), reason)
}

struct Decoded<'a> {
    skeleton: &'a Skeleton,
    levels: Levels,
    series: Vec<Series>,
    metrics: HashMap<Box<str>, Arc<str>>,
}

#[derive(Default)]
struct Header {
    from: Option<i64>,
    to: Option<i64>,
}

/// A level, into `decoded`.
struct Level<'a, 's> {
    decoded: &'a mut Decoded<'s>,
    selector: Selector,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = Header;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Header, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
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

struct Metrics<'a, 's> {
    decoded: &'a mut Decoded<'s>,
    selector: &'a Arc<Selector>,
}

impl<'de> Visitor<'de> for Metrics<'_, '_> {
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
            let (start, frequency, (at, len)) = map.next_value_seed(Metric(decoded.skeleton))?;
            let span = Span::checked(start, frequency, at, len).map_err(|why| A::Error::custom(format!("metric {metric:?}: {why}")))?;
            let level = decoded.levels.index(self.selector);
            decoded.series.push(Series { level, metric, span });
        }
        Ok(())
    }
}

/// One metric; gives start, frequency, and where its values are and how many.
struct Metric<'a>(&'a Skeleton);

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
    type Value = (i64, i64, (usize, usize));
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metric<'_> {
    type Value = (i64, i64, (usize, usize));

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a metric: an object with frequency, start and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut frequency, mut start, mut data) = (None, None, (0, 0));
        while let Some(key) = map.next_key()? {
            match key {
                MetricKey::Frequency => frequency = Some(map.next_value()?),
                MetricKey::Start => start = Some(map.next_value()?),
                // a key that stands twice: the last one counts, as in Go
                MetricKey::Data => data = values(self.0, map.next_value()?).map_err(A::Error::custom)?,
                MetricKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let required = |value: Option<i64>, key| value.ok_or_else(|| A::Error::missing_field(key));
        Ok((required(start, "start")?, required(frequency, "frequency")?, data))
    }
}

/// Where the values are that `raw` stands for.
fn values(skeleton: &Skeleton, raw: &RawValue) -> Result<(usize, usize), String> {
    match (skeleton.array(raw.get()), raw.get()) {
        (Some(values), _) => Ok(values),
        (None, "null") => Ok((0, 0)),
        (None, other) => Err(arrays::flaw(other)),
    }
}

struct Children<'a, 's> {
    decoded: &'a mut Decoded<'s>,
    parent: &'a Selector,
    depth: usize,
}

impl<'de> Visitor<'de> for Children<'_, '_> {
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
