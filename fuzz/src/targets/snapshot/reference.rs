//! A snapshot as text, read in the plainest way: a tree of JSON values is made, and walked. It is slow, and short enough to be believed.

use std::fmt;

use cc_archiver::names::Selector;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::super::Series;

/// A value of JSON; an object with its keys as they stand there, each as often.
enum Json {
    Null,
    Integer(i64),
    Number(f64),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
    Other,
}

/// All series, in the order of the archive. None if it is no snapshot.
pub fn read(text: &[u8]) -> Option<Vec<Series>> {
    let json: Json = serde_json::from_slice(text).ok()?;
    let mut series: Vec<Series> = Vec::new();
    level(&json, &Selector::node(), &mut series)?;
    series.retain(|series| !series.3.is_empty());
    series.sort_by(|a, b| a.0.cmp(&b.0));
    Some(series)
}

fn level(json: &Json, selector: &Selector, series: &mut Vec<Series>) -> Option<()> {
    let Json::Object(keys) = json else { return None };
    for (key, value) in keys {
        match (key.as_str(), value) {
            ("metrics" | "children", Json::Null) => {}
            ("metrics", Json::Object(metrics)) => metrics.iter().try_for_each(|(name, of)| metric(of, name, selector, series))?,
            ("children", Json::Object(children)) => children.iter().try_for_each(|(name, of)| level(of, &selector.child(name)?, series))?,
            ("metrics" | "children", _) => return None,
            ("from" | "to", value) => drop(matches!(value, Json::Integer(_) | Json::Null).then_some(())?),
            _ => {}
        }
    }
    Some(())
}

fn metric(json: &Json, name: &str, selector: &Selector, series: &mut Vec<Series>) -> Option<()> {
    let Json::Object(keys) = json else { return None };
    let (mut frequency, mut start, mut data) = (None, None, Vec::new());
    for (key, value) in keys {
        match (key.as_str(), value) {
            ("frequency", Json::Integer(value)) => frequency = Some(*value),
            ("start", Json::Integer(value)) => start = Some(*value),
            ("frequency" | "start", _) => return None,
            ("data", Json::Null) => data = Vec::new(),
            ("data", Json::Array(values)) => data = values.iter().map(value_of).collect::<Option<_>>()?,
            ("data", _) => return None,
            _ => {}
        }
    }
    let key = [&*selector.scope, name, &selector.scope_id, &selector.path].map(str::to_owned);
    series.push((key, start?, frequency?, data));
    Some(())
}

/// The bits of the nearest f32 of the nearest f64.
fn value_of(json: &Json) -> Option<u32> {
    Some(match json {
        Json::Null => f32::NAN.to_bits(),
        Json::Integer(value) => (*value as f64 as f32).to_bits(),
        Json::Number(value) => (*value as f32).to_bits(),
        _ => return None,
    })
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = array.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut keys = Vec::new();
        while let Some(entry) = map.next_entry()? {
            keys.push(entry);
        }
        Ok(Json::Object(keys))
    }
}
