//! `.bin`: values stay in the file's bytes, and series point into them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Flaw, LONG_PATH, Levels, MAX_DEPTH};
use crate::data::{Series, Snapshot, Span};
use crate::names::Selector;

const MAGIC: u32 = 0xCC5B_0001;

/// The fewest bytes that a metric (no name, no values) and a child (no name, nothing in it) take.
const MIN_METRIC: usize = 2 + 8 + 8 + 4;
const MIN_CHILD: usize = 2 + 4 + 4;

pub(super) fn decode(bytes: Bytes) -> Result<Snapshot, Flaw> {
    let mut decoder = Decoder { bytes: &bytes, at: 0, levels: Levels::default(), series: Vec::new(), metrics: HashMap::new() };
    let magic = decoder.u32()?;
    if magic != MAGIC {
        return Err(Flaw::at(0, format!("it begins with {magic:#010x}, not with the magic {MAGIC:#010x}")));
    }
    let (from, to) = (decoder.i64()?, decoder.i64()?);
    decoder.level(Selector::node(), 0)?;
    if decoder.at < bytes.len() {
        return Err(Flaw::at(decoder.at, format!("{} bytes follow the last level", bytes.len() - decoder.at)));
    }
    let Decoder { levels, series, .. } = decoder;
    Ok(Snapshot { from, to, levels: levels.kept, series, values: bytes })
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    levels: Levels,
    series: Vec<Series>,
    metrics: HashMap<&'a str, Arc<str>>,
}

impl<'a> Decoder<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], Flaw> {
        let left = self.bytes.len() - self.at;
        if len > left {
            return Err(Flaw::at(self.at, format!("{what} takes {len} bytes, and {left} are left")));
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Flaw> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.array("a 32-bit number").map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, Flaw> {
        self.array("a 64-bit number").map(i64::from_le_bytes)
    }

    fn name(&mut self) -> Result<&'a str, Flaw> {
        let len = usize::from(u16::from_le_bytes(self.array("a name's length")?));
        let at = self.at;
        std::str::from_utf8(self.take(len, "a name")?).map_err(|e| Flaw::at(at + e.valid_up_to(), "a name is not UTF-8"))
    }

    /// A count of things that take at least `min` bytes each.
    fn count(&mut self, min: usize, what: &str) -> Result<u32, Flaw> {
        let at = self.at;
        let count = self.u32()?;
        let left = self.bytes.len() - self.at;
        if count as usize > left / min {
            return Err(Flaw::at(at, format!("{count} {what} are announced, and {left} bytes are left")));
        }
        Ok(count)
    }

    fn level(&mut self, selector: Selector, depth: usize) -> Result<(), Flaw> {
        if depth > MAX_DEPTH {
            return Err(Flaw::at(self.at, format!("levels nest deeper than {MAX_DEPTH}")));
        }
        let selector = Arc::new(selector);
        for _ in 0..self.count(MIN_METRIC, "metrics")? {
            let level = self.levels.index(&selector);
            let metric = self.metric(level)?;
            self.series.push(metric);
        }
        for _ in 0..self.count(MIN_CHILD, "children")? {
            let at = self.at;
            let name = self.name()?;
            let child = selector.child(name).ok_or_else(|| Flaw::at(at, LONG_PATH))?;
            self.level(child, depth + 1)?;
        }
        Ok(())
    }

    fn metric(&mut self, level: u32) -> Result<Series, Flaw> {
        let name = self.name()?;
        let metric = Arc::clone(self.metrics.entry(name).or_insert_with(|| name.into()));
        let header = self.at;
        let (frequency, start) = (self.i64()?, self.i64()?);
        let len = self.count(4, "values")? as usize;
        let span = Span::checked(start, frequency, self.at, len).map_err(|why| Flaw::at(header, format!("metric {name:?}: {why}")))?;
        self.at += 4 * len;
        Ok(Series { level, metric, span })
    }
}
