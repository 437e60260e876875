//! `.bin`: a header, then levels within levels; values lie there as they are.

use std::io::BufRead;
use std::sync::Arc;

use super::found::Found;
use super::input::Input;
use super::{CHUNK, CUT, Extent, Flaw, MAX_DEPTH, Names, Refusal, child};
use crate::data::Span;
use crate::files::BINARY_MAGIC as MAGIC;
use crate::names::Selector;

/// The fewest bytes that a metric (no name, no values) and a child (no name, nothing in it) take.
const MIN_METRIC: usize = 2 + 8 + 8 + 4;
const MIN_CHILD: usize = 2 + 4 + 4;

/// Bytes of the header: the magic, from and to.
pub const HEADER: usize = 4 + 8 + 8;

/// Reads the header alone.
pub fn header(from: impl BufRead) -> Result<Extent, Flaw> {
    Reader { input: Input::new(from, HEADER), name: String::new() }.header()
}

/// Hands all series to `found`. Of values that stay in place a span begins where they do in the input.
pub fn decode(input: Input<impl BufRead>, found: &mut Found) -> Result<Extent, Refusal> {
    let mut decoder = Decoder { reader: Reader { input, name: String::new() }, found, metrics: Names::default() };
    let extent = decoder.reader.header()?;
    decoder.level(Arc::new(Selector::node()), 0)?;
    let input = &mut decoder.reader.input;
    let at = input.at();
    match input.rest()? {
        0 => Ok(extent),
        left => Err(Flaw::at(at, format!("{left} bytes follow the last level")).into()),
    }
}

/// Reads numbers and names, and checks what they claim.
struct Reader<R> {
    input: Input<R>,
    /// The name that was read last.
    name: String,
}

impl<R: BufRead> Reader<R> {
    fn header(&mut self) -> Result<Extent, Flaw> {
        let magic = self.u32()?;
        if magic != MAGIC {
            return Err(Flaw::at(0, format!("it begins with {magic:#010x}, not with the magic {MAGIC:#010x}")));
        }
        Ok((self.i64()?, self.i64()?))
    }

    fn check_left(&self, len: usize, what: &str) -> Result<(), Flaw> {
        let left = self.input.left();
        if len > left { Err(Flaw::at(self.input.at(), format!("{CUT}: {what} takes {len} bytes, and {left} are left"))) } else { Ok(()) }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Flaw> {
        self.check_left(N, what)?;
        let mut array = [0; N];
        self.input.fill(&mut array)?;
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.array("a 32-bit number").map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, Flaw> {
        self.array("a 64-bit number").map(i64::from_le_bytes)
    }

    fn read_name(&mut self) -> Result<(), Flaw> {
        let len = usize::from(u16::from_le_bytes(self.array("a name's length")?));
        self.check_left(len, "a name")?;
        let at = self.input.at();
        let mut name = std::mem::take(&mut self.name).into_bytes();
        name.resize(len, 0);
        self.input.fill(&mut name)?;
        self.name = String::from_utf8(name).map_err(|e| Flaw::at(at + e.utf8_error().valid_up_to(), "a name is not UTF-8"))?;
        Ok(())
    }

    /// A count of things that take at least `min` bytes each.
    fn count(&mut self, min: usize, what: &str) -> Result<u32, Flaw> {
        let at = self.input.at();
        let count = self.u32()?;
        let left = self.input.left();
        if count as usize > left / min {
            return Err(Flaw::at(at, format!("{CUT}: {count} {what} are announced, more than {left} bytes can hold")));
        }
        Ok(count)
    }
}

struct Decoder<'a, R> {
    reader: Reader<R>,
    found: &'a mut Found,
    metrics: Names,
}

impl<R: BufRead> Decoder<'_, R> {
    fn level(&mut self, selector: Arc<Selector>, depth: usize) -> Result<(), Refusal> {
        for _ in 0..self.reader.count(MIN_METRIC, "metrics")? {
            self.metric(&selector)?;
        }
        for _ in 0..self.reader.count(MIN_CHILD, "children")? {
            let at = self.reader.input.at();
            self.reader.read_name()?;
            let deeper = self.reader.input.at();
            let child = child(&selector, &self.reader.name, depth + 1);
            let child = child.map_err(|why| Flaw::at(if depth == MAX_DEPTH { deeper } else { at }, why))?;
            self.level(child, depth + 1)?;
        }
        Ok(())
    }

    fn metric(&mut self, selector: &Arc<Selector>) -> Result<(), Refusal> {
        let Self { reader, found: Found { values, list }, metrics } = self;
        reader.read_name()?;
        let header = reader.input.at();
        let (frequency, start) = (reader.i64()?, reader.i64()?);
        let len = reader.count(4, "values")? as usize;
        let values = values.get_mut();
        let at = if values.stay_in_place() { reader.input.at() } else { values.len() };
        let span = Span::checked(start, frequency, at, len);
        let span = span.map_err(|why| Flaw::at(header, format!("metric {:?}: {why}", reader.name)))?;
        let mut left = 4 * len;
        while let Some(end) = values.end().filter(|_| left > 0) {
            let some = left.min(CHUNK);
            reader.input.append(some, end)?;
            values.settle().map_err(Refusal::Values)?;
            left -= some;
        }
        reader.input.skip(left)?;
        if list.passes_over(&reader.name, selector) {
            return Ok(());
        }
        list.add(values, selector, &metrics.get(&reader.name), span)
    }
}
