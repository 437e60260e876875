//! Logs: any bytes, and logs of which some bytes were damaged.

use std::io::{self, Read};

use arbitrary::Unstructured;
use cc_archiver::checkpoint::{Log, Piece, SeriesNumbers};

use super::golden;

/// What a log begins with.
pub const MAGIC: [u8; 4] = 0xCC1D_A701_u32.to_le_bytes();
const RECORD: [u8; 4] = 0xCC1D_A7A1_u32.to_le_bytes();

/// The first byte says what the others are: a log, or what a log is made of.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, log)) => drop(gone_through(log)),
        Some((_, how)) => {
            let _ = damaged(&mut Unstructured::new(how));
        }
        None => {}
    }
}

/// Golden logs, and bytes to make some of.
pub fn seeds() -> Vec<Vec<u8>> {
    let made = (0..4_u8).map(|seed| (0..200_u8).map(|i| i.wrapping_mul(seed.wrapping_mul(37) | 1)).collect());
    golden("wal").into_iter().map(|log| [&[0], &log[..]].concat()).chain(made).collect()
}

/// Gives few bytes at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(3);
        self.0.read(&mut out[..len])
    }
}

/// A record: where it lies, its time, its names and the bits of its value.
type Found = (u64, u64, i64, Vec<String>, u32);

/// All records. Each byte is in a record or is named as passed over, whatever the log is read from.
fn gone_through(bytes: &[u8]) -> Vec<Found> {
    let found = records(bytes, bytes.len());
    assert_eq!(found, records(Drops(bytes), bytes.len()), "a few bytes at a time");
    for (at, end, ..) in &found {
        let record = &bytes[*at as usize..*end as usize];
        let sum = crc32fast::hash(&record[8..record.len() - 4]);
        assert!(record.starts_with(&RECORD) && record.ends_with(&sum.to_le_bytes()), "a record with its checksum");
    }
    found
}

fn records(from: impl Read, len: usize) -> Vec<Found> {
    let (mut log, mut found, mut numbers) = (Log::new(from), Vec::new(), SeriesNumbers::default());
    // behind the magic, or at it if it is none
    let mut at: Option<u64> = None;
    while let Some(piece) = log.next().expect("in memory") {
        let (begin, end) = match piece {
            Piece::Record(record) => {
                let names: Vec<String> = std::iter::once(record.metric).chain(record.levels()).map(str::to_owned).collect();
                let number = numbers.find(&record).unwrap_or_else(|| numbers.add());
                assert_eq!(numbers.find(&record), Some(number), "a series keeps its number");
                drop(record.selector());
                found.push((record.at, record.end, record.time, names, record.value.to_bits()));
                (record.at, record.end)
            }
            Piece::Lost(lost) => (lost.from, lost.to),
        };
        assert!(at.map_or(begin <= 4, |at| begin == at) && begin <= end, "one piece after the other");
        at = Some(end);
    }
    assert!(at.is_none_or(|at| at == len as u64), "up to the end");
    found
}

/// Writes a log, damages some of its records, and holds what is found against those that were not.
fn damaged(choices: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut log = MAGIC.to_vec();
    let mut expected = Vec::new();
    for _ in 0..choices.int_in_range(1..=8)? {
        let (record, time) = record(choices)?;
        let hit = if choices.ratio(1, 3)? { Some((choices.int_in_range(0..=record.len() - 1)?, choices.int_in_range(1..=255_u8)?)) } else { None };
        let at = log.len();
        log.extend(&record);
        match hit {
            Some((place, other)) => log[at + place] ^= other,
            None => expected.push((at as u64, time)),
        }
        if choices.ratio(1, 6)? {
            log.extend(choices.bytes(choices.len().min(5))?);
        }
    }
    let found: Vec<_> = gone_through(&log).into_iter().map(|(at, _, time, ..)| (at, time)).collect();
    for record in &expected {
        assert!(found.contains(record), "{record:?} is whole, and was not found among {found:?}");
    }
    Ok(())
}

fn record(choices: &mut Unstructured<'_>) -> arbitrary::Result<(Vec<u8>, i64)> {
    let (time, metric) = (choices.arbitrary()?, choices.arbitrary()?);
    let mut levels = Vec::new();
    for _ in 0..choices.int_in_range(0..=3_u8)? {
        let name: &str = choices.arbitrary()?;
        levels.push(if name.len() > 255 { "" } else { name });
    }
    Ok((encoded(time, metric, &levels, choices.arbitrary()?), time))
}

/// A record as the store writes it, of the bits of a value.
pub fn encoded(time: i64, metric: &str, levels: &[&str], bits: u32) -> Vec<u8> {
    let mut payload = time.to_le_bytes().to_vec();
    payload.extend((metric.len() as u16).to_le_bytes());
    payload.extend(metric.as_bytes());
    payload.push(levels.len() as u8);
    for name in levels {
        payload.push(name.len() as u8);
        payload.extend(name.as_bytes());
    }
    payload.extend(bits.to_le_bytes());
    let sum = crc32fast::hash(&payload).to_le_bytes();
    [&RECORD[..], &(payload.len() as u32).to_le_bytes(), &payload, &sum].concat()
}
