//! `current.wal`: records one after the other, each with a checksum. One that is torn or damaged costs itself: the next good one is looked for,
//! and the bytes that were passed over are said.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::{CHUNK, CUT, EMPTY, child};
use crate::names::Selector;

const MAGIC: [u8; 4] = 0xCC1D_A701_u32.to_le_bytes();
const RECORD: [u8; 4] = 0xCC1D_A7A1_u32.to_le_bytes();

/// Bytes of a record before its payload, and of the checksum behind it.
const HEAD: usize = 4 + 4;
const SUM: usize = 4;

/// No payload has more bytes.
const MOST: usize = 1 << 20;

/// What comes next in a log.
#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// A record whose checksum is right.
    Record(Record<'a>),
    /// Bytes without one.
    Lost(Lost),
}

/// One sample, as it was taken.
#[derive(Debug, PartialEq)]
pub struct Record<'a> {
    /// Byte offset of the record.
    pub at: u64,
    /// Unix time in s.
    pub time: i64,
    /// The metric's name.
    pub metric: &'a str,
    /// The value; NaN is no sample.
    pub value: f32,
    /// Byte offset of what follows it.
    pub end: u64,
    /// Names of levels, each with its length before it.
    levels: &'a [u8],
}

impl<'a> Record<'a> {
    /// Names of the levels from the host down, as they stand in the record.
    pub fn levels(&self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.levels;
        std::iter::from_fn(move || {
            let (name, behind) = split_name(rest)?;
            rest = behind;
            std::str::from_utf8(name).ok()
        })
    }

    /// The level that it was measured at.
    ///
    /// # Errors
    /// No host has levels like these.
    pub fn selector(&self) -> Result<Arc<Selector>, String> {
        let level = |parent: Arc<Selector>, (depth, name)| child(&parent, name, depth);
        self.levels().enumerate().map(|(above, name)| (above + 1, name)).try_fold(Arc::new(Selector::node()), level)
    }
}

/// Numbers the series of logs in the order in which they come first.
#[derive(Debug, Default)]
pub struct SeriesNumbers {
    numbers: HashMap<Box<[u8]>, usize>,
    /// What was looked for last.
    key: Vec<u8>,
}

impl SeriesNumbers {
    /// The number of a record's series, if it has one.
    pub fn find(&mut self, record: &Record<'_>) -> Option<usize> {
        self.key.clear();
        for name in std::iter::once(record.metric).chain(record.levels()) {
            self.key.extend((name.len() as u32).to_le_bytes());
            self.key.extend(name.as_bytes());
        }
        self.numbers.get(&*self.key).copied()
    }

    /// Gives the series that was looked for last the next number.
    pub fn add(&mut self) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(self.key.as_slice().into()).or_insert(next)
    }
}

/// Bytes of a log that hold no good record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Byte offset of the first.
    pub from: u64,
    /// Byte offset behind the last: of the next good record, or of the end.
    pub to: u64,
    /// True if the record that they begin with is torn: the log ends in the middle of it, or was gone on with there.
    pub is_torn: bool,
    /// What is wrong with the first record of them.
    pub reason: String,
}

/// Goes through a log from its first byte to its last. No more than a record and a little is in memory.
pub struct Log<R> {
    from: R,
    /// Bytes at hand.
    bytes: Vec<u8>,
    /// The first of them that was not taken.
    begin: usize,
    /// Its offset in the log.
    at: u64,
    is_at_end: bool,
    has_begun: bool,
}

/// Why there is no record at a place.
enum Wrong {
    Begins([u8; 4]),
    Long(usize),
    Cut,
    Payload(&'static str),
    Sum { found: u32, said: u32 },
}

/// What is at a place.
enum Frame {
    End,
    /// A record with a payload of so many bytes.
    Good(usize),
    Bad(Wrong),
}

impl<R: Read> Log<R> {
    /// Of a log's bytes.
    pub fn new(from: R) -> Self {
        Self { from, bytes: Vec::new(), begin: 0, at: 0, is_at_end: false, has_begun: false }
    }

    /// The next piece; None at the end.
    ///
    /// # Errors
    /// The log cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator lends nothing")]
    pub fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        if !self.has_begun {
            self.has_begun = true;
            if let Some(reason) = self.begin()? {
                return self.look_for_record(0, false, reason).map(|lost| Some(Piece::Lost(lost)));
            }
        }
        match self.frame(false)? {
            Frame::End => Ok(None),
            Frame::Bad(wrong) => {
                let end = self.announced()?;
                let lost = self.look_for_record(1, matches!(wrong, Wrong::Cut), wrong.to_string())?;
                let is_torn = lost.is_torn || end.is_some_and(|end| lost.to < end);
                Ok(Some(Piece::Lost(Lost { is_torn, ..lost })))
            }
            Frame::Good(len) => {
                let (at, begin) = (self.at, self.begin);
                self.take(HEAD + len + SUM);
                let payload = &self.bytes[begin + HEAD..begin + HEAD + len];
                Ok(payload_of(payload).map(|record| Piece::Record(Record { at, end: self.at, ..record })).ok())
            }
        }
    }

    /// Takes the magic; gives what is wrong with it.
    fn begin(&mut self) -> io::Result<Option<String>> {
        let magic = u32::from_le_bytes(MAGIC);
        let head = self.at_hand(MAGIC.len())?;
        Ok(match head.first_chunk::<4>() {
            Some(found) if *found == MAGIC => {
                self.take(MAGIC.len());
                None
            }
            Some(found) => Some(format!("it begins with {:#010x}, not with the magic {magic:#010x}", u32::from_le_bytes(*found))),
            None if head.is_empty() => Some(EMPTY.into()),
            None => Some(format!("{CUT} of the magic {magic:#010x}")),
        })
    }

    /// What is here. Where a record is looked for in damaged bytes there can be very many beginnings: what is laid out like no record is not hashed then.
    fn frame(&mut self, is_looking: bool) -> io::Result<Frame> {
        let head = self.at_hand(HEAD)?;
        let Some((magic, len)) = head.split_first_chunk::<4>().and_then(|(magic, rest)| Some((magic, rest.first_chunk()?))) else {
            return Ok(if head.is_empty() { Frame::End } else { Frame::Bad(Wrong::Cut) });
        };
        if *magic != RECORD {
            return Ok(Frame::Bad(Wrong::Begins(*magic)));
        }
        let len = u32::from_le_bytes(*len) as usize;
        if len > MOST {
            return Ok(Frame::Bad(Wrong::Long(len)));
        }
        let Some((payload, sum)) = self.at_hand(HEAD + len + SUM)?.get(HEAD..HEAD + len + SUM).and_then(<[u8]>::split_last_chunk::<SUM>) else {
            return Ok(Frame::Bad(Wrong::Cut));
        };
        let layout = payload_of(payload).map(|_| Frame::Good(len)).unwrap_or_else(|why| Frame::Bad(Wrong::Payload(why)));
        if is_looking && matches!(layout, Frame::Bad(_)) {
            return Ok(layout);
        }
        let (found, said) = (crc32fast::hash(payload), u32::from_le_bytes(*sum));
        Ok(if found == said { layout } else { Frame::Bad(Wrong::Sum { found, said }) })
    }

    /// Where the record ends that begins here, if one does.
    fn announced(&mut self) -> io::Result<Option<u64>> {
        let at = self.at;
        let head = self.at_hand(HEAD)?.strip_prefix(&RECORD).and_then(|rest| rest.first_chunk());
        let len = head.map(|len| u32::from_le_bytes(*len) as usize).filter(|len| *len <= MOST);
        Ok(len.map(|len| at + (HEAD + len + SUM) as u64))
    }

    /// Passes over bytes up to the next good record, `skip` of them in any case.
    fn look_for_record(&mut self, skip: usize, is_torn: bool, reason: String) -> io::Result<Lost> {
        let from = self.at;
        self.take(skip);
        loop {
            let there = self.at_hand(RECORD.len())?;
            match there.windows(RECORD.len()).position(|four| four == RECORD) {
                Some(found) => self.take(found),
                None => {
                    // the last three can be the beginning of a magic, unless nothing follows
                    let kept = if self.is_at_end { 0 } else { RECORD.len() - 1 };
                    self.take((self.bytes.len() - self.begin).saturating_sub(kept));
                    if self.is_at_end {
                        return Ok(Lost { from, to: self.at, is_torn, reason });
                    }
                    continue;
                }
            }
            match self.frame(true)? {
                Frame::Bad(_) => self.take(1),
                Frame::Good(_) | Frame::End => return Ok(Lost { from, to: self.at, is_torn: false, reason }),
            }
        }
    }

    /// Bytes that were not taken: as many as are wanted or more, or all that are left.
    fn at_hand(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.bytes.len() - self.begin < wanted && !self.is_at_end {
            self.bytes.drain(..std::mem::take(&mut self.begin));
            // ahead of what is wanted: else the bytes would move for each few that are taken of them
            let more = wanted + CHUNK - self.bytes.len();
            self.is_at_end = self.from.by_ref().take(more as u64).read_to_end(&mut self.bytes)? < more;
        }
        Ok(&self.bytes[self.begin..])
    }

    fn take(&mut self, count: usize) {
        let count = count.min(self.bytes.len() - self.begin);
        self.begin += count;
        self.at += count as u64;
    }
}

/// What a payload holds.
fn payload_of(payload: &[u8]) -> Result<Record<'_>, &'static str> {
    const WRONG: &str = "its lengths do not fit together";
    const NOT_TEXT: &str = "a name is not UTF-8";
    let (time, rest) = payload.split_first_chunk().ok_or(WRONG)?;
    let (len, rest) = rest.split_first_chunk().ok_or(WRONG)?;
    let (metric, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))).ok_or(WRONG)?;
    let (count, rest) = rest.split_first().ok_or(WRONG)?;
    let (levels, value) = rest.split_last_chunk().ok_or(WRONG)?;
    let metric = std::str::from_utf8(metric).map_err(|_| NOT_TEXT)?;
    let mut left = levels;
    for _ in 0..*count {
        let (name, behind) = split_name(left).ok_or(WRONG)?;
        std::str::from_utf8(name).map_err(|_| NOT_TEXT)?;
        left = behind;
    }
    if !left.is_empty() {
        return Err(WRONG);
    }
    Ok(Record { at: 0, end: 0, time: i64::from_le_bytes(*time), metric, value: f32::from_le_bytes(*value), levels })
}

/// The first of some names, each with its length before it.
fn split_name(names: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = names.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins(found) => {
                write!(f, "no record begins here: {:#010x} is not its magic {:#010x}", u32::from_le_bytes(*found), u32::from_le_bytes(RECORD))
            }
            Self::Long(len) => write!(f, "a record of {len} bytes is announced, and none has more than {MOST}"),
            Self::Cut => write!(f, "{CUT} of a record"),
            Self::Payload(why) => write!(f, "a record is damaged: {why}"),
            Self::Sum { found, said } => write!(f, "a record is damaged: its checksum is {found:#010x}, and it says {said:#010x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(time: i64, metric: &str, levels: &[&str], value: f32) -> Vec<u8> {
        let mut payload = time.to_le_bytes().to_vec();
        payload.extend((metric.len() as u16).to_le_bytes());
        payload.extend(metric.as_bytes());
        payload.push(levels.len() as u8);
        levels.iter().for_each(|name| payload.extend([&[name.len() as u8], name.as_bytes()].concat()));
        payload.extend(value.to_le_bytes());
        let sum = crc32fast::hash(&payload).to_le_bytes();
        [&RECORD[..], &(payload.len() as u32).to_le_bytes(), &payload, &sum].concat()
    }

    /// Gives one byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.by_ref().take(1).read(out)
        }
    }

    #[test]
    fn many_heads_that_announce_much_cost_no_more_than_their_bytes() {
        let head = [&RECORD[..], &(MOST as u32).to_le_bytes()].concat();
        let good = record(7, "m", &[], 1.0);
        let bytes = [&MAGIC[..], &head.repeat(1 << 19), &good].concat();
        let mut log = Log::new(&bytes[..]);
        assert!(matches!(log.next(), Ok(Some(Piece::Lost(Lost { from: 4, to, .. }))) if to == (bytes.len() - good.len()) as u64));
        assert!(matches!(log.next(), Ok(Some(Piece::Record(Record { time: 7, .. })))));
    }

    /// Times of records, and what was passed over.
    fn all_of(bytes: &[u8]) -> (Vec<i64>, Vec<Lost>) {
        let collect = |from: &mut dyn Read| {
            let (mut log, mut times, mut lost) = (Log::new(from), Vec::new(), Vec::new());
            while let Some(piece) = log.next().expect("read") {
                match piece {
                    Piece::Record(record) => times.push(record.time),
                    Piece::Lost(bytes) => lost.push(bytes),
                }
            }
            assert_eq!(log.at, bytes.len() as u64, "all of it was gone through");
            (times, lost)
        };
        let found = collect(&mut &bytes[..]);
        assert_eq!(found, collect(&mut Drops(bytes)), "byte by byte");
        found
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = [&MAGIC[..], &record(7, "flops", &["socket0", "core/1"], -0.0)].concat();
        let mut log = Log::new(&bytes[..]);
        let Some(Piece::Record(record)) = log.next().expect("read") else { panic!("a record expected") };
        assert_eq!((record.at, record.time, record.metric, record.value.to_bits()), (4, 7, "flops", (-0.0_f32).to_bits()));
        let selector = record.selector().expect("a level");
        assert_eq!((&*selector.path, &*selector.scope), ("socket0/core%2F1", "core/1"));
        assert_eq!(log.next().expect("read"), None);
    }

    #[test]
    fn a_damaged_record_costs_itself_and_says_how_many_bytes() {
        let records: Vec<Vec<u8>> = (0..5).map(|time| record(time, "m", &["socket0"], 1.0)).collect();
        let size = records[0].len();
        let whole = [&MAGIC[..], &records.concat()].concat();
        assert_eq!(all_of(&whole), ((0..5).collect(), vec![]));
        let wrong = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[4 + 2 * size + at] = to;
            all_of(&bytes)
        };
        for (at, why) in [
            (0, "no record begins here"),
            (6, "in the middle of a record"),
            (7, "none has more than"),
            (10, "its checksum is"),
            (17, "its checksum is"),
            (size - 1, "its checksum is"),
        ] {
            let (times, lost) = wrong(at, 0x0a);
            assert_eq!(times, [0, 1, 3, 4], "byte {at}");
            assert_eq!((lost.len(), lost[0].from, lost[0].to), (1, (4 + 2 * size) as u64, (4 + 3 * size) as u64), "byte {at}");
            assert!(lost[0].reason.contains(why), "byte {at}: {}", lost[0].reason);
        }
        // whole, but no record
        let mut odd = b"no record at all".to_vec();
        odd.extend(crc32fast::hash(&odd).to_le_bytes());
        let odd = [&MAGIC[..], &RECORD, &16_u32.to_le_bytes(), &odd, &records[0]].concat();
        let (times, lost) = all_of(&odd);
        assert!(times == [0] && lost.len() == 1 && lost[0].reason.contains("lengths"), "{lost:?}");
        // torn, and gone on with
        let torn = [&whole[..whole.len() - 3], &records[0]].concat();
        let (times, lost) = all_of(&torn);
        assert_eq!((times, lost[0].to - lost[0].from, lost[0].is_torn), (vec![0, 1, 2, 3, 0], size as u64 - 3, true));
        assert!(!wrong(17, 0x0a).1[0].is_torn, "a byte of it is wrong");
    }

    #[test]
    fn a_log_without_its_magic_says_so_and_its_records_are_read() {
        let one = record(3, "m", &[], 1.0);
        assert_eq!(all_of(b"").1, [Lost { from: 0, to: 0, is_torn: false, reason: EMPTY.into() }]);
        assert_eq!(all_of(&MAGIC[..2]).1[0].to, 2);
        let (times, lost) = all_of(&one);
        assert_eq!((times, lost[0].from, lost[0].to), (vec![3], 0, 0));
        let (times, lost) = all_of(&[b"not the magic", &one[..]].concat());
        assert_eq!((times, lost[0].from, lost[0].to), (vec![3], 0, 13));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_is_changed_the_other_records_are_found(at in 4_usize..400, byte: u8, cut in 0_usize..400) {
            let records: Vec<Vec<u8>> = (0..10).map(|time| record(time, "metric", &["socket0", "core1"], 1.0)).collect();
            let size = records[0].len();
            let mut bytes = [&MAGIC[..], &records.concat()].concat();
            let at = at.min(bytes.len() - 1);
            let changed = bytes[at] != byte;
            bytes[at] = byte;
            let hit = (at - 4) / size;
            let (times, lost) = all_of(&bytes);
            let expected: Vec<i64> = (0..10).filter(|time| !changed || *time != hit as i64).collect();
            prop_assert_eq!(times, expected);
            prop_assert_eq!(lost.len(), usize::from(changed));
            // and cut somewhere, it never panics
            let cut = cut.min(bytes.len());
            let (times, lost) = all_of(&bytes[..cut]);
            let whole = cut.saturating_sub(4) / size;
            prop_assert!(times.len() + usize::from(changed) >= whole);
            prop_assert!(lost.iter().all(|lost| lost.from <= lost.to && lost.to <= cut as u64));
        }
    }
}
