//! Stage 6: all snapshots of one host and date become sorted series in which every instant stands once.
//!
//! Of two new snapshots that hold a value for the same instant the later one in the list wins. What the archive holds
//! already always wins, and is not written again. NaN is no value: it never wins, and never loses.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::data::{Cursor, Piece, SeriesKey, SeriesRows, Span, Tally};

mod derived;

/// A snapshot that takes part.
#[derive(Debug)]
pub struct Input {
    /// Its series, in order.
    pub series: Cursor,
    /// True if the archive holds these rows already.
    pub held: bool,
    /// True if they were taken from a log, with the times of their samples: a cell less than a step away that has the value of one is that sample.
    pub of_log: bool,
    /// True if there are rows among them that were imported, so that their selectors may be derived ones.
    pub derived: bool,
    /// Only samples with these times take part, in Unix s.
    pub times: Range<i64>,
}

/// Why the values of a snapshot were not read when their turn came.
#[derive(Debug)]
pub struct Unread {
    /// Index of the snapshot.
    pub input: usize,
    /// The reason.
    pub error: io::Error,
}

/// One host's rows, mostly of a date, merged series by series, in the archive's order. What is in memory of a snapshot whose values are in a file is one series.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<Input>,
    /// The next series of each snapshot that has one.
    heads: BinaryHeap<Reverse<(SeriesKey, usize)>>,
    tallies: Vec<Tally>,
    /// Series that were merged together with one that was asked for.
    ready: VecDeque<SeriesRows>,
}

/// One series of one input, cut to the date.
#[derive(Clone)]
struct Part {
    input: usize,
    held: bool,
    of_log: bool,
    derived: bool,
    /// Its place among those of its input, in the order of the file.
    order: usize,
    span: Span,
    /// The values that the span is of, once they are needed.
    values: Bytes,
}

impl Merge {
    /// Of all `inputs`, the later one in the list being the newer.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn new(inputs: Vec<Input>) -> Result<Self, Unread> {
        let mut merge = Self { tallies: vec![Tally::default(); inputs.len()], inputs, heads: BinaryHeap::new(), ready: VecDeque::new() };
        (0..merge.inputs.len()).try_for_each(|input| merge.queue(input))?;
        Ok(merge)
    }

    /// The next series that has a row.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn next_series(&mut self) -> Result<Option<SeriesRows>, Unread> {
        loop {
            if let Some(series) = self.ready.pop_front() {
                return Ok(Some(series));
            }
            let Some(key) = self.heads.peek().map(|Reverse((key, _))| key.clone()) else { return Ok(None) };
            if self.inputs.iter().any(|input| input.derived) {
                self.merge_alike(&key)?;
            } else {
                let parts = self.take_all(&key)?;
                self.merge(key, parts, &mut [])?;
            }
        }
    }

    /// Takes all that the inputs have of a series, which is the next.
    fn take_all(&mut self, key: &SeriesKey) -> Result<Vec<Part>, Unread> {
        let mut parts = Vec::new();
        while let Some(Reverse((_, input))) = self.heads.peek().filter(|Reverse((next, _))| next == key) {
            let input = *input;
            self.heads.pop();
            self.take(key, input, &mut parts)?;
        }
        Ok(parts)
    }

    /// Merges a series. Values of new parts that are among `exact` are passed over, each with its time.
    fn merge(&mut self, key: SeriesKey, mut parts: Vec<Part>, exact: &mut [Taken]) -> Result<(), Unread> {
        // inputs came in order, and each in the order of its file
        parts.sort_by_key(|part| (part.span.start, part.input));
        let is_plain = disjoint(&parts);
        let loaded = self.load(&mut parts, is_plain)?;
        let of_logs = &mut taken(parts.iter().filter(|part| part.of_log));
        let mut absorbed = absorb(&mut parts, of_logs, |span| span.frequency, &mut self.tallies);
        // less than a second away is the same instant
        absorbed.extend(absorb(&mut parts, exact, |_| 1, &mut self.tallies));
        let pieces = if is_plain { plain(&parts, &mut self.tallies) } else { instant_by_instant(&parts, &mut self.tallies) };
        // they are NaN by now, and no sample is missing there
        absorbed.into_iter().for_each(|input| self.tallies[input].nan -= 1);
        if !pieces.is_empty() {
            self.ready.push_back(SeriesRows { key, values: parts.into_iter().map(|part| part.values).collect(), pieces, loaded });
        }
        Ok(())
    }

    /// True if there is no more series.
    pub fn is_done(&self) -> bool {
        self.heads.is_empty() && self.ready.is_empty()
    }

    /// Bytes of memory that slices of values keep.
    pub fn memory(&self) -> usize {
        self.inputs.iter().map(|input| input.series.snapshot().place.memory()).sum()
    }

    /// What became of each input's samples, of all series so far; empty for held ones.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    fn queue(&mut self, input: usize) -> Result<(), Unread> {
        let key = self.inputs[input].series.key().map_err(|error| Unread { input, error })?;
        self.heads.extend(key.map(|key| Reverse((key, input))));
        Ok(())
    }

    /// Takes all that an input has of a series.
    fn take(&mut self, key: &SeriesKey, input: usize, parts: &mut Vec<Part>) -> Result<(), Unread> {
        let Input { series, held, of_log, derived, times } = &mut self.inputs[input];
        while let Some(span) = series.next_of(key) {
            let span = span.within(times.start, times.end);
            if span.len > 0 {
                parts.push(Part { input, held: *held, of_log: *of_log, derived: *derived, order: parts.len(), span, values: Bytes::new() });
            }
        }
        self.queue(input)
    }

    /// Gets the values that are needed. Gives how many bytes of them were copied from files.
    fn load(&self, parts: &mut [Part], only_new: bool) -> Result<usize, Unread> {
        let mut loaded = 0;
        for part in parts.iter_mut().filter(|part| !(only_new && part.held && !part.of_log)) {
            let snapshot = self.inputs[part.input].series.snapshot();
            part.values = snapshot.place.values(&part.span).map_err(|error| Unread { input: part.input, error })?;
            part.span.at = 0;
            loaded += if snapshot.is_in_memory() { 0 } else { part.values.len() };
        }
        Ok(loaded)
    }
}

/// A row of the archive that is a sample of another series, or of another time: one that was taken from a log, or imported.
struct Taken {
    time: i64,
    bits: u32,
    input: usize,
    /// The instant of the cell that is this sample, once one is.
    cell: Option<i64>,
    /// True if that is a cell of a series before this one.
    is_spent: bool,
}

/// The rows of parts whose values are loaded, by time.
fn taken<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<Taken> {
    let row = |part: &Part, i: usize| Taken {
        time: part.span.time(i),
        bits: part.span.value(&part.values, i).to_bits(),
        input: part.input,
        cell: None,
        is_spent: false,
    };
    let mut rows: Vec<Taken> = parts.flat_map(|part| (0..part.span.len).map(|i| row(part, i))).collect();
    rows.retain(|row| !f32::from_bits(row.bits).is_nan());
    rows.sort_unstable_by_key(|row| (row.time, row.bits, row.input));
    rows
}

/// Passes over cells of new parts that are such rows: each row is one cell, less than what `within` says away, in all parts that have this cell. Gives the
/// input of each.
fn absorb(parts: &mut [Part], rows: &mut [Taken], within: impl Fn(&Span) -> i64, tallies: &mut [Tally]) -> Vec<usize> {
    let mut absorbed = Vec::new();
    for part in parts.iter_mut().filter(|part| !part.held) {
        let mut changed: Option<Vec<u8>> = None;
        for i in 0..if rows.is_empty() { 0 } else { part.span.len } {
            let (time, bits, step) = (part.span.time(i), part.span.value(&part.values, i).to_bits(), within(&part.span));
            let from = rows.partition_point(|row| row.time <= time - step);
            let near = rows[from..].iter_mut().take_while(|row| row.time < time + step);
            // the row of this cell in another part comes before one that is free
            let fitting = near.filter(|row| row.bits == bits && !row.is_spent && row.cell.is_none_or(|cell| cell == time));
            let Some(row) = fitting.min_by_key(|row| (row.cell.is_none(), row.time.abs_diff(time))) else { continue };
            row.cell = Some(time);
            let values = changed.get_or_insert_with(|| part.values[part.span.bytes()].to_vec());
            values[4 * i..4 * i + 4].copy_from_slice(&f32::NAN.to_le_bytes());
            let tally = &mut tallies[part.input];
            (tally.rows, tally.held) = (tally.rows + 1, tally.held + 1);
            tally.holders.insert(row.input);
            tally.reach(time);
            absorbed.push(part.input);
        }
        if let Some(values) = changed {
            (part.values, part.span.at) = (values.into(), 0);
        }
    }
    absorbed
}

/// True if the parts, sorted by start, follow each other in time.
fn disjoint(parts: &[Part]) -> bool {
    parts.windows(2).all(|pair| pair[0].span.last() < pair[1].span.start)
}

/// No instant stands in two parts: what is new is written as it is.
fn plain(parts: &[Part], tallies: &mut [Tally]) -> Vec<Piece> {
    parts.iter().enumerate().filter_map(|(of, part)| alone(of, part, &part.span, tallies)).collect()
}

/// What is written of values whose instants nobody else has: all of new ones, from the first that is not NaN to the last.
fn alone(of: usize, part: &Part, span: &Span, tallies: &mut [Tally]) -> Option<Piece> {
    if part.held {
        return None;
    }
    let values = span.values(&part.values);
    let rows = values.clone().filter(|v| !v.is_nan()).count();
    let tally = &mut tallies[part.input];
    tally.nan += (span.len - rows) as u64;
    let mut present = values.map(|v| !v.is_nan());
    let (first, last) = (present.clone().position(|p| p)?, present.rposition(|p| p)?);
    tally.rows += rows as u64;
    tally.written += rows as u64;
    tally.reach(span.time(first));
    tally.reach(span.time(last));
    let span = span.part(first, last - first + 1);
    Some(Piece { of, span, dense: rows == span.len })
}

/// A row is dropped, as another part has the instant.
fn note_dropped(tally: &mut Tally, by: &Part, differs: bool) {
    if by.held {
        tally.held += 1;
        tally.conflicting += u64::from(differs);
        tally.holders.insert(by.input);
    } else {
        tally.superseded += u64::from(differs);
    }
}

/// The next value of a part: the largest is the earliest, and of those at one instant the strongest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    time: Reverse<i64>,
    /// Held above new, newer above older, later in the file above earlier.
    strength: usize,
    part: usize,
    index: usize,
}

/// Parts overlap in time: goes from instant to instant, and over many at once where only one part has values.
fn instant_by_instant(parts: &[Part], tallies: &mut [Tally]) -> Vec<Piece> {
    let mut by_strength: Vec<usize> = (0..parts.len()).collect();
    by_strength.sort_by_key(|part| (parts[*part].held, parts[*part].input, parts[*part].order));
    let next = |strength, part: usize, index| Next { time: Reverse(parts[part].span.time(index)), strength, part, index };
    let mut queue: BinaryHeap<Next> = by_strength.iter().enumerate().map(|(strength, part)| next(strength, *part, 0)).collect();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut last_written = None;
    // the value that stands at the instant, and the part that has it
    let mut winner: Option<(i64, &Part, f32)> = None;
    while let Some(Next { time: Reverse(time), strength, part, index }) = queue.pop() {
        let of @ Part { input, held, span, values, .. } = &parts[part];
        let others_from = queue.peek().map_or(i64::MAX, |other| other.time.0);
        let is_first_there = winner.is_none_or(|(at, ..)| at != time);
        if is_first_there && index + 1 < span.len && span.time(index + 1) < others_from {
            let run = span.part(index, span.len - index).within(time, others_from);
            pieces.extend(alone(part, of, &run, tallies));
            last_written = None;
            if index + run.len < span.len {
                queue.push(next(strength, part, index + run.len));
            }
            continue;
        }
        if index + 1 < span.len {
            queue.push(next(strength, part, index + 1));
        }
        let value = span.value(values, index);
        winner = winner.filter(|(at, ..)| *at == time);
        if *held {
            winner = winner.or((!value.is_nan()).then_some((time, of, value)));
            continue;
        }
        let tally = &mut tallies[*input];
        if value.is_nan() {
            tally.nan += 1;
            continue;
        }
        tally.rows += 1;
        tally.reach(time);
        match winner {
            None => {
                winner = Some((time, of, value));
                tally.written += 1;
                match pieces.last_mut() {
                    Some(piece) if last_written == Some((part, index.wrapping_sub(1))) => piece.span.len += 1,
                    _ => pieces.push(Piece { of: part, span: span.part(index, 1), dense: true }),
                }
                last_written = Some((part, index));
            }
            Some((_, by, other)) => note_dropped(tally, by, other.to_bits() != value.to_bits()),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::data::{Days, IndexBuilder, Place, Snapshot};
    use crate::names::Selector;

    const NAN: f32 = f32::NAN;

    fn snapshot(start: i64, frequency: i64, values: &[f32]) -> Snapshot {
        of_series(start, frequency, values, 1)
    }

    /// The same, with its series so many times.
    fn of_series(start: i64, frequency: i64, values: &[f32], times: usize) -> Snapshot {
        let span = Span { start, frequency, at: 0, len: values.len() };
        let mut index = IndexBuilder::new(None, usize::MAX);
        let selector = Arc::new(Selector::node());
        (0..times).for_each(|_| index.add(&selector, &"m".into(), span).expect("few"));
        let values: Bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into();
        Snapshot { from: start, to: start, days: Days::default(), index: index.finish().expect("few").into(), place: Place::Memory(values), reindex: None }
    }

    /// Rows of snapshots, each with whether the archive holds it, and what became of their samples.
    fn rows<const N: usize>(inputs: [(Snapshot, bool); N]) -> (Vec<(i64, f32)>, Vec<Tally>) {
        let inputs = inputs.map(|(snapshot, held)| Input { series: Arc::new(snapshot).cursor(), held, of_log: false, derived: false, times: 0..86_400 });
        let mut merge = Merge::new(inputs.into()).expect("in memory");
        let mut rows = Vec::new();
        while let Some(series) = merge.next_series().expect("in memory") {
            let row = |p: &Piece, i| (p.span.time(i), p.span.value(&series.values[p.of], i));
            rows.extend(series.pieces.iter().flat_map(|p| (0..p.span.len).map(move |i| row(p, i))).filter(|(_, v)| !v.is_nan()));
        }
        (rows, merge.tallies)
    }

    #[test]
    fn the_newer_value_wins_and_nan_is_none() {
        let (old, new) = (snapshot(0, 60, &[1.0, 2.0, 3.0]), snapshot(60, 60, &[NAN, 9.0, 4.0]));
        let (rows, tallies) = rows([(old, false), (new, false)]);
        assert_eq!(rows, [(0, 1.0), (60, 2.0), (120, 9.0), (180, 4.0)]);
        assert_eq!((tallies[0].rows, tallies[0].written, tallies[0].superseded), (3, 2, 1));
        assert_eq!((tallies[1].rows, tallies[1].written, tallies[1].nan), (2, 2, 1));
    }

    #[test]
    fn what_the_archive_holds_stays_and_is_not_written_again() {
        let (held, new) = (snapshot(0, 60, &[1.0, 2.0, NAN]), snapshot(0, 60, &[1.0, 5.0, 7.0]));
        let (rows, tallies) = rows([(held, true), (new, false)]);
        assert_eq!(rows, [(120, 7.0)]);
        assert_eq!((tallies[1].rows, tallies[1].written, tallies[1].held, tallies[1].conflicting), (3, 1, 2, 1));
        assert_eq!(tallies[1].holders.iter().copied().collect::<Vec<_>>(), [0]);
        assert_eq!(tallies[1].extent, Some((0, 120)));
    }

    #[test]
    fn phases_that_shift_interleave() {
        let (a, b) = (snapshot(0, 60, &[1.0, 2.0, 3.0]), snapshot(61, 60, &[4.0, 5.0]));
        let (rows, _) = rows([(a, false), (b, false)]);
        assert_eq!(rows, [(0, 1.0), (60, 2.0), (61, 4.0), (120, 3.0), (121, 5.0)]);
    }

    #[test]
    fn one_snapshot_that_names_a_series_twice_gives_each_instant_once() {
        let (rows, tallies) = rows([(of_series(0, 60, &[1.0, 2.0], 2), false)]);
        assert_eq!(rows, [(0, 1.0), (60, 2.0)]);
        assert_eq!((tallies[0].rows, tallies[0].written), (4, 2));
    }

    #[test]
    fn of_a_series_that_a_snapshot_names_twice_the_later_in_the_file_wins_whichever_begins_first() {
        let values: Bytes = [9.0_f32, 9.0, 1.0, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into();
        let mut index = IndexBuilder::new(None, usize::MAX);
        for span in [Span { start: 60, frequency: 60, at: 0, len: 2 }, Span { start: 0, frequency: 60, at: 8, len: 3 }] {
            index.add(&Arc::new(Selector::node()), &"m".into(), span).expect("few");
        }
        let index = index.finish().expect("few").into();
        let (rows, tallies) = rows([(Snapshot { from: 0, to: 180, days: Days::default(), index, place: Place::Memory(values), reindex: None }, false)]);
        assert_eq!(rows, [(0, 1.0), (60, 2.0), (120, 3.0)]);
        assert_eq!((tallies[0].rows, tallies[0].written, tallies[0].superseded), (5, 3, 2));
    }

    #[test]
    fn a_cell_that_has_the_value_of_a_row_of_a_log_beside_it_is_that_sample() {
        let input = |snapshot: Snapshot, of_log| Input { series: Arc::new(snapshot).cursor(), held: of_log, of_log, derived: false, times: 0..86_400 };
        // two samples were taken from a log; the second stands in a cell 30 s later, and then comes another one with its value
        let mut merge =
            Merge::new(vec![input(snapshot(120, 60, &[5.0, 5.0, 5.0, 6.0]), false), input(snapshot(30, 60, &[9.0, 5.0]), true)]).expect("in memory");
        let series = merge.next_series().expect("in memory").expect("a series");
        let rows: Vec<i64> =
            series.pieces.iter().flat_map(|p| (0..p.span.len).filter(|i| !p.span.value(&series.values[p.of], *i).is_nan()).map(|i| p.span.time(i))).collect();
        assert_eq!(rows, [180, 240, 300]);
        let tally = &merge.tallies()[0];
        assert_eq!((tally.rows, tally.written, tally.held, tally.nan, tally.extent), (4, 3, 1, 0, Some((120, 300))));
        assert_eq!(tally.holders.iter().copied().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_cell_that_two_new_snapshots_share_is_one_sample_of_a_log() {
        let input = |snapshot: Snapshot, of_log| Input { series: Arc::new(snapshot).cursor(), held: of_log, of_log, derived: false, times: 0..86_400 };
        let (first, second) = (snapshot(40, 60, &[1.0, 2.0, 3.0]), snapshot(100, 60, &[2.0, 3.0, 4.0]));
        let of_log = snapshot(13, 60, &[1.0, 2.0, 3.0]);
        let mut merge = Merge::new(vec![input(first, false), input(second, false), input(of_log, true)]).expect("in memory");
        let series = merge.next_series().expect("in memory").expect("a series");
        let rows: Vec<i64> =
            series.pieces.iter().flat_map(|p| (0..p.span.len).filter(|i| !p.span.value(&series.values[p.of], *i).is_nan()).map(|i| p.span.time(i))).collect();
        assert_eq!(rows, [220], "only the fourth is new");
        let counts: Vec<_> = merge.tallies()[..2].iter().map(|tally| (tally.rows, tally.written, tally.held, tally.nan)).collect();
        assert_eq!(counts, [(3, 0, 3, 0), (3, 1, 2, 0)]);
    }
}
