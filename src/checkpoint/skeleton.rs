//! Arrays of numbers are most of a `.json` snapshot. They are taken out of the text, in one pass, before it is parsed as JSON.
//!
//! What is left is the [`Skeleton`]: the same JSON with each such array replaced by `[offset,count]` of its values. An array that is
//! not taken, for whatever reason, stays as it is, for the parser to refuse or to pass over; it never looks like one that was
//! taken, as one of two whole numbers would have been.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Read};

use super::found::Values;
use super::numbers::numbers;

/// Text that is at hand, of a stream as much as is needed.
pub struct Window<'a> {
    from: Text<'a>,
    /// The first byte that was not consumed.
    begin: usize,
}

enum Text<'a> {
    Whole(&'a [u8]),
    Stream { from: Box<dyn Read + 'a>, text: Vec<u8>, is_at_end: bool },
}

impl<'a> Window<'a> {
    /// Bytes of a stream that are at hand, unless an array is longer.
    const STREAM: usize = 256 << 10;

    /// All of a text that is in memory.
    pub fn whole(text: &'a [u8]) -> Self {
        Self { from: Text::Whole(text), begin: 0 }
    }

    /// A text that is read piece by piece.
    pub fn stream(from: impl Read + 'a) -> Self {
        Self { from: Text::Stream { from: Box::new(from), text: Vec::new(), is_at_end: false }, begin: 0 }
    }

    fn text(&self) -> &[u8] {
        match &self.from {
            Text::Whole(text) => &text[self.begin..],
            Text::Stream { text, .. } => &text[self.begin..],
        }
    }

    fn is_at_end(&self) -> bool {
        !matches!(self.from, Text::Stream { is_at_end: false, .. })
    }

    /// Gets more text: as much again as is at hand.
    fn more(&mut self) -> io::Result<()> {
        let Text::Stream { from, text, is_at_end } = &mut self.from else { return Ok(()) };
        text.drain(..std::mem::take(&mut self.begin));
        let wanted = text.len().max(Self::STREAM);
        *is_at_end = from.by_ref().take(wanted as u64).read_to_end(text)? < wanted;
        Ok(())
    }
}

/// How close to the end of the text at hand an array must fail to be looked at again when there is more: no number is longer.
const NEAR: usize = 4 << 10;

/// No array of a day's values is longer, and so much text may be at hand.
const LONGEST: usize = 16 << 20;

/// Bytes of the skeleton whose places in the text are known still: more than a parser is behind.
const KNOWN: usize = 4 * Skeleton::BUFFER;

/// A text without its arrays of numbers, as a parser reads it; their values go where values are collected.
pub struct Skeleton<'a> {
    window: Window<'a>,
    values: &'a RefCell<Values>,
    /// Bytes that come next, and are handed on as they are.
    plain: usize,
    /// Bytes of an array that come then, and are passed over.
    array: usize,
    /// What stands for it.
    stand_in: VecDeque<u8>,
    in_string: bool,
    /// True once values could not be put anywhere.
    has_no_place: Cell<bool>,
    /// Bytes of the text that were consumed, and of the skeleton that were handed on.
    consumed: usize,
    handed: usize,
    /// Where pieces begin, in the skeleton and in the text.
    pieces: VecDeque<(usize, usize)>,
    /// Where the last lines begin in the skeleton.
    lines: VecDeque<usize>,
    /// The number of the very last one.
    line: usize,
}

impl<'a> Skeleton<'a> {
    /// Bytes that a parser may read ahead.
    pub const BUFFER: usize = 4 << 10;

    /// Of a text.
    pub fn new(window: Window<'a>, values: &'a RefCell<Values>) -> Self {
        Self {
            window,
            values,
            plain: 0,
            array: 0,
            stand_in: VecDeque::new(),
            in_string: false,
            has_no_place: Cell::new(false),
            consumed: 0,
            handed: 0,
            pieces: VecDeque::from([(0, 0)]),
            lines: VecDeque::from([0]),
            line: 1,
        }
    }

    /// Where in the text a place comes from that a parser names, which is hardly behind.
    pub fn origin(&self, line: usize, column: usize) -> usize {
        let begin = self.lines.iter().rev().nth(self.line.saturating_sub(line)).or(self.lines.front());
        let at = begin.copied().unwrap_or_default() + column;
        let (piece, origin) = self.pieces.iter().rev().find(|(piece, _)| *piece <= at).copied().unwrap_or_default();
        (origin + at - piece).min(self.consumed)
    }

    /// True if an error of reading is one of the place for values.
    pub fn has_no_place(&self) -> bool {
        self.has_no_place.get()
    }

    fn consume(&mut self, len: usize) {
        self.window.begin += len;
        self.consumed += len;
    }

    /// Forgets places that no parser asks for any more.
    fn forget(&mut self) {
        let known = self.handed.saturating_sub(KNOWN);
        while self.pieces.get(1).is_some_and(|(piece, _)| *piece < known) {
            self.pieces.pop_front();
        }
        while self.lines.get(1).is_some_and(|line| *line < known) {
            self.lines.pop_front();
        }
    }

    /// Finds out what comes next. False at the end.
    fn look(&mut self) -> io::Result<bool> {
        loop {
            let text = self.window.text();
            let mut at = 0;
            while let Some(byte) = text.get(at) {
                match byte {
                    b'\\' if self.in_string => {
                        if at + 1 == text.len() && !self.window.is_at_end() {
                            break;
                        }
                        at += 1;
                    }
                    b'"' => self.in_string = !self.in_string,
                    b'[' if !self.in_string => match self.taken(&text[at + 1..])? {
                        Taken::Array { len, stand_in } => {
                            (self.array, self.stand_in) = (len, stand_in);
                            return Ok(self.begin_piece(at + 1));
                        }
                        Taken::Unclear => break,
                        Taken::Nothing => {}
                    },
                    _ => {}
                }
                at += 1;
            }
            if at > 0 {
                let len = at.min(text.len());
                return Ok(self.begin_piece(len));
            }
            if text.is_empty() && self.window.is_at_end() {
                return Ok(false);
            }
            if text.len() > LONGEST {
                return Err(too_long());
            }
            self.window.more()?;
        }
    }

    fn begin_piece(&mut self, plain: usize) -> bool {
        self.forget();
        self.pieces.push_back((self.handed, self.consumed));
        self.plain = plain;
        true
    }

    /// Takes the values of an array that begins here, if they are numbers.
    fn taken(&self, text: &[u8]) -> io::Result<Taken> {
        let mut values = self.values.borrow_mut();
        let at = values.len();
        // text has no values that could stay in place
        let Some(end) = values.end() else { return Ok(Taken::Nothing) };
        let before = end.len();
        match numbers(text, end) {
            Ok(len) if len > LONGEST => Err(too_long()),
            Ok(len) => {
                let stand_in = format!("{at},{}", (end.len() - before) / 4);
                if let Err(e) = values.settle() {
                    self.has_no_place.set(true);
                    return Err(e);
                }
                Ok(Taken::Array { len, stand_in: stand_in.into_bytes().into() })
            }
            Err(failed) => {
                end.truncate(before);
                let may_go_on = !self.window.is_at_end() && text.len() - failed < NEAR;
                Ok(if may_go_on { Taken::Unclear } else { Taken::Nothing })
            }
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an array takes more than {LONGEST} bytes, as in no snapshot"))
}

enum Taken {
    /// Its values, of so many bytes of text.
    Array {
        /// Bytes up to the `]`.
        len: usize,
        /// What stands for it between the brackets.
        stand_in: VecDeque<u8>,
    },
    /// There is not enough text at hand.
    Unclear,
    /// It is no array of numbers.
    Nothing,
}

impl Read for Skeleton<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        while len < out.len() {
            if self.plain > 0 {
                let count = self.plain.min(out.len() - len);
                let piece = &mut out[len..len + count];
                piece.copy_from_slice(&self.window.text()[..count]);
                for at in piece.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at) {
                    self.lines.push_back(self.handed + at + 1);
                    self.line += 1;
                }
                self.plain -= count;
                self.consume(count);
                (self.handed, len) = (self.handed + count, len + count);
                continue;
            }
            let array = std::mem::take(&mut self.array);
            self.consume(array);
            if let Some(byte) = self.stand_in.pop_front() {
                out[len] = byte;
                (self.handed, len) = (self.handed + 1, len + 1);
            } else if !self.look()? {
                break;
            }
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::Buffers;
    use crate::spool::{Spool, Tools};
    use proptest::prelude::*;

    /// Gives a few bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(out.len());
            self.0.by_ref().take(len as u64).read(out)
        }
    }

    /// The skeleton, and what stands in it for arrays: the bits of their values.
    fn taken(text: &str) -> (String, Vec<Vec<u32>>) {
        let tools = Tools { buffers: Buffers::new(0), folder: "none".into() };
        let values = RefCell::new(Values::Collected(Spool::new(&tools, 0, usize::MAX)));
        let mut found = Vec::new();
        let mut skeleton = String::new();
        Skeleton::new(Window::whole(text.as_bytes()), &values).read_to_string(&mut skeleton).expect("UTF-8");
        let mut in_drops = String::new();
        let passed = RefCell::new(Values::Passed(0, Vec::new()));
        Skeleton::new(Window::stream(Drops(text.as_bytes(), 3)), &passed).read_to_string(&mut in_drops).expect("UTF-8");
        assert_eq!(in_drops, skeleton, "as a stream");
        let Values::Collected(spool) = values.into_inner() else { unreachable!("they were collected") };
        let crate::data::Place::Memory(all) = spool.finish().expect("in memory") else { unreachable!("there is room") };
        let mut rest = &*all;
        for array in skeleton.split('[').skip(1) {
            let Some((at, count)) = array.split(']').next().and_then(|array| array.split_once(',')) else { continue };
            let (Ok(at), Ok(count)) = (at.parse::<usize>(), count.parse::<usize>()) else { continue };
            assert_eq!(at, all.len() - rest.len(), "one after the other");
            found.push(crate::data::floats(&rest[..4 * count]).map(f32::to_bits).collect());
            rest = &rest[4 * count..];
        }
        (skeleton, found)
    }

    #[test]
    fn arrays_of_numbers_and_nulls_are_taken_and_nothing_else() {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let text = r#"{"a[1]\"[2":[ ],"b": [ 1.5 ,null,
            -0.0 ] ,"c":[[7],{"d":[1,2]}]}"#;
        let (skeleton, arrays) = taken(text);
        assert_eq!(skeleton, r#"{"a[1]\"[2":[0,0],"b": [0,3] ,"c":[[12,1],{"d":[16,2]}]}"#);
        assert_eq!(arrays, [vec![], bits(&[1.5, f32::NAN, -0.0]), bits(&[7.0]), bits(&[1.0, 2.0])]);
        for other in
            ["[true]", "[\"1\"]", "[1,]", "[,1]", "[01]", "[1.]", "[.5]", "[-]", "[1e]", "[1e999]", "[-1e400]", "[1 2]", "[nul]", "[1", "[", "[1,null", "[+1]"]
        {
            assert_eq!(taken(other), (other.to_owned(), vec![]), "{other}");
        }
    }

    #[test]
    fn a_place_in_the_skeleton_is_found_in_the_text() {
        for text in [r#"{"a":[1,2,3],"b":[4,5],x"#, r#"{"a":[1.25,2.25,3],"b":[4,5],x"#, "{\"a\":[1.25,2.25,3],\n\"b\":[4.125,5],x"] {
            let values = RefCell::new(Values::Passed(0, Vec::new()));
            let mut skeleton = Skeleton::new(Window::whole(text.as_bytes()), &values);
            let mut read = String::new();
            skeleton.read_to_string(&mut read).expect("UTF-8");
            let before = &read[..read.find('x').expect("there")];
            let line_begins = before.rfind('\n').map_or(0, |at| at + 1);
            let line = 1 + before.matches('\n').count();
            assert_eq!(Some(skeleton.origin(line, before.len() - line_begins)), text.find('x'), "{read}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_the_nearest_f64_then_the_nearest_f32(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?") {
            let expected = text.parse::<f64>().expect("a number") as f32;
            prop_assert_eq!(taken(&format!("[{text}]")).1, [[expected.to_bits()]]);
        }

        #[test]
        fn short_numbers_next_to_each_other_are_read_alike(texts in proptest::collection::vec("-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,8})?", 1..9)) {
            let expected: Vec<u32> = texts.iter().map(|text| (text.parse::<f64>().expect("a number") as f32).to_bits()).collect();
            prop_assert_eq!(taken(&format!("[{}]", texts.join(","))).1, [expected]);
        }

        #[test]
        fn whatever_is_taken_is_json(text in "[\\[\\]0-9.,eE+\\-nul \"\\\\]{0,20}") {
            let is_json = |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
            // numbers beyond an f64 are left alone; the parser's own check of ranges is not asked for here
            prop_assert_eq!(is_json(text.as_bytes()), is_json(taken(&text).0.as_bytes()));
        }
    }
}
