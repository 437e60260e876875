//! `.json`: what is left of the text without its arrays of numbers goes through serde_json; no tree of JSON values is made.

use std::cell::RefCell;
use std::fmt;
use std::io::BufReader;
use std::sync::Arc;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::found::{Found, List, Values};
use super::skeleton::{Skeleton, Window};
use super::{CUT, Extent, Flaw, Names, Refusal, broken, child};
use crate::data::Span;
use crate::names::Selector;

/// Hands all series of a text to `found`, and says from when to when it goes, by its header or else by its name.
pub fn decode(text: Window<'_>, name_from: i64, Found { values, list }: &mut Found) -> Result<Extent, Refusal> {
    let mut skeleton = Skeleton::new(text, values);
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(Skeleton::BUFFER, &mut skeleton));
    let mut decoded = Decoded { values, list, metrics: Names::default(), refused: None };
    let level = Level { decoded: &mut decoded, selector: Arc::new(Selector::node()), depth: 0 };
    let header = level.deserialize(&mut json).and_then(|header| json.end().map(|()| header));
    drop(json);
    let header = decoded.refused.map_or(header.map_err(|e| refusal(&skeleton, e)), Err)?;
    Ok(header.extent(name_from))
}

/// serde_json counts lines and columns, of the skeleton.
fn refusal(skeleton: &Skeleton<'_>, e: serde_json::Error) -> Refusal {
    if skeleton.has_no_place() {
        return Refusal::Values(e.into());
    }
    let at = skeleton.origin(e.line(), e.column());
    if e.is_io() { broken(at, &e.into()).into() } else { Flaw::at(at, reason(&e)).into() }
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

/// What stands for an array of values: where they begin, in bytes, and how many they are. Of a `null` there are none.
struct Data;

impl<'de> DeserializeSeed<'de> for Data {
    type Value = (usize, usize);
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Data {
    type Value = (usize, usize);

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of numbers")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok((0, 0))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom("data is not an array"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut taken = [0; 2];
        let mut count = 0;
        while let Some(Element(number)) = array.next_element()? {
            *taken.get_mut(count).ok_or_else(|| A::Error::invalid_length(count + 1, &self))? = number;
            count += 1;
        }
        if count == 2 { Ok((taken[0], taken[1])) } else { Err(A::Error::invalid_length(count, &self)) }
    }
}

/// An element of an array: a whole number, as others were taken out; what is none is refused by its name.
struct Element(usize);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Number;
        fn none<T, E: serde::de::Error>(what: impl fmt::Display) -> Result<T, E> {
            Err(E::custom(format!("data holds {what}, which is no number")))
        }
        impl<'de> Visitor<'de> for Number {
            type Value = usize;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E>(self, number: u64) -> Result<usize, E> {
                Ok(number as usize)
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<usize, E> {
                none(value)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<usize, E> {
                none(format!("{:?}", text.chars().take(40).collect::<String>()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<usize, A::Error> {
                none("an array")
            }

            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<usize, A::Error> {
                none("an object")
            }
        }
        json.deserialize_any(Number).map(Self)
    }
}

/// What was decoded so far.
struct Decoded<'a> {
    values: &'a RefCell<Values>,
    list: &'a mut List,
    metrics: Names,
    /// Why a series was refused.
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
struct Level<'a, 's> {
    decoded: &'a mut Decoded<'s>,
    selector: Arc<Selector>,
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
            let Decoded { values, list, metrics, refused } = &mut *self.decoded;
            if list.passes_over(&name, self.selector) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let (start, frequency, (at, len)) = map.next_value_seed(Metric)?;
            let span = Span::checked(start, frequency, at, len).map_err(|why| A::Error::custom(format!("metric {name:?}: {why}")))?;
            if let Err(refusal) = list.add(&values.borrow(), self.selector, &metrics.get(&name), span) {
                *refused = Some(refusal);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// One metric; gives start, frequency, and where its values are and how many.
struct Metric;

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum MetricKey {
    Frequency,
    Start,
    Data,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Metric {
    type Value = (i64, i64, (usize, usize));
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metric {
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
                MetricKey::Data => data = map.next_value_seed(Data)?,
                MetricKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let required = |value: Option<i64>, key| value.ok_or_else(|| A::Error::missing_field(key));
        Ok((required(start, "start")?, required(frequency, "frequency")?, data))
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
