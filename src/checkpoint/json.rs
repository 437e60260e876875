//! `.json`: what is left of the text without its arrays of numbers goes through serde_json; no tree of JSON values is made.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::arrays::{self, Skeleton};
use super::input::Memory;
use super::sinks::{Sink, Whole};
use super::{CUT, Extent, Flaw, Names, Refusal, broken, child};
use crate::buffers::Buffers;
use crate::data::{Snapshot, Span};
use crate::names::Selector;

/// Decodes a text in about `room` bytes more.
pub fn decode(text: &[u8], name_from: i64, room: usize, buffers: &Buffers) -> Result<Snapshot, Refusal> {
    let skeleton = Skeleton::of(text, room, buffers).ok_or(Refusal::NoRoom)?;
    let mut sink = Whole::new(room.saturating_sub(skeleton.memory()));
    let mut json = serde_json::Deserializer::from_slice(&skeleton.text);
    let mut decoded = Decoded { arrays: Taken(&skeleton), sink: &mut sink, metrics: Names::default(), refused: None };
    let level = Level { decoded: &mut decoded, selector: Arc::new(Selector::node()), depth: 0 };
    let header = level.deserialize(&mut json).and_then(|header| json.end().map(|()| header));
    let header = decoded.refused.map_or(header.map_err(|e| flaw(&skeleton, text.len(), &e).into()), Err)?;
    Ok(sink.finish(header.extent(name_from), skeleton.into_values()))
}

/// Hands all series of a text to `sink`, its values one after the other: slower, but in no memory for the text.
pub fn stream(text: impl BufRead, name_from: i64, sink: &mut impl Sink) -> Result<Extent, Refusal> {
    let mut counted = Counted { text, read: 0 };
    let mut json = serde_json::Deserializer::from_reader(&mut counted);
    let mut decoded = Decoded { arrays: Parsed(Vec::new()), sink, metrics: Names::default(), refused: None };
    let level = Level { decoded: &mut decoded, selector: Arc::new(Selector::node()), depth: 0 };
    let header = level.deserialize(&mut json).and_then(|header| json.end().map(|()| header));
    let refused = decoded.refused;
    drop(json);
    let flaw = |e: serde_json::Error| if e.is_io() { broken("cannot read", &e.into()) } else { Flaw::at(counted.read, reason(&e)) };
    let header = refused.map_or(header.map_err(|e| flaw(e).into()), Err)?;
    Ok(header.extent(name_from))
}

/// Counts the bytes that are read.
struct Counted<R> {
    text: R,
    read: usize,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(out)?;
        self.read += read;
        Ok(read)
    }
}

/// serde_json counts lines and columns, of the skeleton.
fn flaw(skeleton: &Skeleton, len: usize, e: &serde_json::Error) -> Flaw {
    let line = e.line();
    if line == 0 {
        return Flaw::whole(e.to_string());
    }
    let start: usize = skeleton.text.split_inclusive(|b| *b == b'\n').take(line - 1).map(<[u8]>::len).sum();
    Flaw::at(skeleton.origin(start + e.column()).min(len), reason(e))
}

/// What is wrong, without the place.
fn reason(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let text = text.strip_suffix(&format!(" at line {} column {}", e.line(), e.column())).unwrap_or(&text);
    match text.strip_prefix("EOF while parsing ") {
        Some(what) if e.is_eof() => format!("{CUT} of {what}"),
        _ => text.to_owned(),
    }
}

/// Where the arrays of values are.
trait Arrays {
    /// Takes the array that is the next value of `map`: where its values begin, and how many they are.
    fn take<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(usize, usize), A::Error>;

    /// The values that begin there.
    fn values(&self, at: usize) -> Memory<'_>;
}

/// They were taken out of the text before.
struct Taken<'a>(&'a Skeleton);

impl Arrays for Taken<'_> {
    fn take<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(usize, usize), A::Error> {
        let raw: &RawValue = map.next_value()?;
        match (self.0.array(raw.get()), raw.get()) {
            (Some(values), _) => Ok(values),
            (None, "null") => Ok((0, 0)),
            (None, other) => Err(A::Error::custom(arrays::flaw(other))),
        }
    }

    fn values(&self, at: usize) -> Memory<'_> {
        Memory::new(&self.0.values()[at..])
    }
}

/// They are in the text still; holds the values of the one that was read last.
struct Parsed(Vec<u8>);

impl Arrays for Parsed {
    fn take<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(usize, usize), A::Error> {
        self.0.clear();
        map.next_value_seed(Optional(Numbers(&mut self.0)))?;
        Ok((0, self.0.len() / 4))
    }

    fn values(&self, at: usize) -> Memory<'_> {
        Memory::new(&self.0[at..])
    }
}

/// Numbers and nulls, each as the nearest f64 and then the nearest f32.
struct Numbers<'a>(&'a mut Vec<u8>);

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of numbers")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<(), A::Error> {
        while let Some(number) = numbers.next_element::<Option<f64>>()? {
            self.0.extend_from_slice(&number.map_or(f32::NAN, |number| number as f32).to_le_bytes());
        }
        Ok(())
    }
}

struct Decoded<'a, A, S> {
    arrays: A,
    sink: &'a mut S,
    metrics: Names,
    /// Why the sink took no more.
    refused: Option<Refusal>,
}

#[derive(Default)]
struct Header {
    from: Option<i64>,
    to: Option<i64>,
}

impl Header {
    fn extent(&self, name_from: i64) -> Extent {
        let from = self.from.unwrap_or(name_from);
        (from, self.to.unwrap_or(from))
    }
}

/// A level, into `decoded`.
struct Level<'a, 's, A, S> {
    decoded: &'a mut Decoded<'s, A, S>,
    selector: Arc<Selector>,
    depth: usize,
}

impl<'de, R: Arrays, S: Sink> DeserializeSeed<'de> for Level<'_, '_, R, S> {
    type Value = Header;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Header, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, R: Arrays, S: Sink> Visitor<'de> for Level<'_, '_, R, S> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a level: an object with metrics and children")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let selector = self.selector;
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

struct Metrics<'a, 's, A, S> {
    decoded: &'a mut Decoded<'s, A, S>,
    selector: &'a Arc<Selector>,
}

impl<'de, R: Arrays, S: Sink> Visitor<'de> for Metrics<'_, '_, R, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of metrics")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let Decoded { arrays, sink, metrics, refused } = &mut *self.decoded;
            if !sink.wants(&name, self.selector) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let (start, frequency, (at, len)) = map.next_value_seed(Metric(arrays))?;
            let span = Span::checked(start, frequency, at, len).map_err(|why| A::Error::custom(format!("metric {name:?}: {why}")))?;
            if let Err(refusal) = sink.series(self.selector, &metrics.get(&name), span, &mut arrays.values(at)) {
                *refused = Some(refusal);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// One metric; gives start, frequency, and where its values are and how many.
struct Metric<'a, A>(&'a mut A);

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum MetricKey {
    Frequency,
    Start,
    Data,
    #[serde(other)]
    Other,
}

impl<'de, R: Arrays> DeserializeSeed<'de> for Metric<'_, R> {
    type Value = (i64, i64, (usize, usize));
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, R: Arrays> Visitor<'de> for Metric<'_, R> {
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
                MetricKey::Data => data = self.0.take(&mut map)?,
                MetricKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let required = |value: Option<i64>, key| value.ok_or_else(|| A::Error::missing_field(key));
        Ok((required(start, "start")?, required(frequency, "frequency")?, data))
    }
}

struct Children<'a, 's, A, S> {
    decoded: &'a mut Decoded<'s, A, S>,
    parent: &'a Selector,
    depth: usize,
}

impl<'de, R: Arrays, S: Sink> Visitor<'de> for Children<'_, '_, R, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of children")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let selector = child(self.parent, &name, self.depth).map_err(A::Error::custom)?;
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
