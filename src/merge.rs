//! Stage 6: all snapshots of one host and date become sorted series in which every instant stands once.
//!
//! Of two new snapshots that hold a value for the same instant the later one in the list wins. What the archive holds
//! already always wins, and is not written again. NaN is no value: it never wins, and never loses.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::Bytes;

use crate::data::{Piece, SeriesKey, SeriesRows, Snapshot, Span, Tally};
use crate::portion::Range;

/// A snapshot that takes part.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its series.
    pub snapshot: Arc<Snapshot>,
    /// True if the archive holds these rows already.
    pub held: bool,
}

/// One host's date, or a range of its keys, that is merged series by series, in the archive's order.
///
/// Pieces refer to inputs by index. Series without a row are left out.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<Input>,
    parts: Vec<Part>,
    done: usize,
    tallies: Vec<Tally>,
}

/// One series of one input, cut to the date.
#[derive(Debug)]
struct Part {
    key: SeriesKey,
    input: usize,
    span: Span,
}

impl Merge {
    /// Of the samples of all `inputs` that lie in `range`, the later one in the list being the newer.
    pub fn new(range: &Range, inputs: Vec<Input>) -> Self {
        let mut parts = parts_of(range, &inputs);
        parts.sort_by(|a, b| (&a.key, a.span.start, a.input).cmp(&(&b.key, b.span.start, b.input)));
        Self { tallies: vec![Tally::default(); inputs.len()], inputs, parts, done: 0 }
    }

    /// True if there is no more series.
    pub fn is_done(&self) -> bool {
        self.done == self.parts.len()
    }

    /// The values that pieces refer to, input by input.
    pub fn values(&self) -> Vec<Bytes> {
        self.inputs.iter().map(|input| input.snapshot.values.clone()).collect()
    }

    /// What became of each input's samples, of all series so far; empty for held ones.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }
}

impl Iterator for Merge {
    type Item = SeriesRows;

    fn next(&mut self) -> Option<SeriesRows> {
        while !self.is_done() {
            let rest = &self.parts[self.done..];
            let key = &rest[0].key;
            let group = &rest[..rest.iter().take_while(|part| part.key == *key).count()];
            self.done += group.len();
            let merge = if disjoint(group) { plain } else { instant_by_instant };
            let pieces = merge(group, &self.inputs, &mut self.tallies);
            if !pieces.is_empty() {
                return Some(SeriesRows { key: key.clone(), pieces });
            }
        }
        None
    }
}

fn parts_of(range: &Range, inputs: &[Input]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (input, Input { snapshot, .. }) in inputs.iter().enumerate() {
        for series in &snapshot.series {
            let span = series.span.within(range.date.start(), range.date.end());
            let selector = &snapshot.levels[series.level as usize];
            if span.len > 0 && range.holds(&series.metric, selector) {
                parts.push(Part { key: SeriesKey { metric: series.metric.clone(), selector: selector.clone() }, input, span });
            }
        }
    }
    parts
}

/// True if the parts, sorted by start, follow each other in time.
fn disjoint(parts: &[Part]) -> bool {
    parts.windows(2).all(|pair| pair[0].span.last() < pair[1].span.start)
}

/// No instant stands in two parts: what is new is written as it is.
fn plain(parts: &[Part], inputs: &[Input], tallies: &mut [Tally]) -> Vec<Piece> {
    parts.iter().filter_map(|Part { input, span, .. }| alone(*input, span, inputs, tallies)).collect()
}

/// What is written of values whose instants nobody else has: all of new ones, from the first that is not NaN to the last.
fn alone(input: usize, span: &Span, inputs: &[Input], tallies: &mut [Tally]) -> Option<Piece> {
    let Input { snapshot, held: false } = &inputs[input] else { return None };
    let rows = span.values(&snapshot.values).filter(|v| !v.is_nan()).count();
    let tally = &mut tallies[input];
    tally.nan += (span.len - rows) as u64;
    let mut present = span.values(&snapshot.values).map(|v| !v.is_nan());
    let (first, last) = (present.clone().position(|p| p)?, present.rposition(|p| p)?);
    tally.rows += rows as u64;
    tally.written += rows as u64;
    tally.reach(span.time(first));
    tally.reach(span.time(last));
    let span = span.part(first, last - first + 1);
    Some(Piece { input, span, dense: rows == span.len })
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
fn instant_by_instant(parts: &[Part], inputs: &[Input], tallies: &mut [Tally]) -> Vec<Piece> {
    let mut by_strength: Vec<usize> = (0..parts.len()).collect();
    by_strength.sort_by_key(|part| (inputs[parts[*part].input].held, parts[*part].input));
    let next = |strength, part: usize, index| Next { time: Reverse(parts[part].span.time(index)), strength, part, index };
    let mut queue: BinaryHeap<Next> = by_strength.iter().enumerate().map(|(strength, part)| next(strength, *part, 0)).collect();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut last_written = None;
    // the value that stands at the instant, and the input that has it
    let mut winner: Option<(i64, usize, f32)> = None;
    while let Some(Next { time: Reverse(time), strength, part, index }) = queue.pop() {
        let Part { input, span, .. } = &parts[part];
        let others_from = queue.peek().map_or(i64::MAX, |other| other.time.0);
        let is_first_there = winner.is_none_or(|(at, ..)| at != time);
        if is_first_there && index + 1 < span.len && span.time(index + 1) < others_from {
            let run = span.part(index, span.len - index).within(time, others_from);
            pieces.extend(alone(*input, &run, inputs, tallies));
            last_written = None;
            if index + run.len < span.len {
                queue.push(next(strength, part, index + run.len));
            }
            continue;
        }
        if index + 1 < span.len {
            queue.push(next(strength, part, index + 1));
        }
        let value = span.value(&inputs[*input].snapshot.values, index);
        winner = winner.filter(|(at, ..)| *at == time);
        if inputs[*input].held {
            winner = winner.or((!value.is_nan()).then_some((time, *input, value)));
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
                winner = Some((time, *input, value));
                tally.written += 1;
                match pieces.last_mut() {
                    Some(piece) if last_written == Some((part, index.wrapping_sub(1))) => piece.span.len += 1,
                    _ => pieces.push(Piece { input: *input, span: span.part(index, 1), dense: true }),
                }
                last_written = Some((part, index));
            }
            Some((_, by, other)) => {
                let differs = u64::from(other.to_bits() != value.to_bits());
                if inputs[by].held {
                    tally.held += 1;
                    tally.conflicting += differs;
                    tally.holders.insert(by);
                } else {
                    tally.superseded += differs;
                }
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Date, Selector};

    const NAN: f32 = f32::NAN;

    fn snapshot(start: i64, frequency: i64, values: &[f32]) -> Snapshot {
        let span = Span { start, frequency, at: 0, len: values.len() };
        let series = vec![crate::data::Series { level: 0, metric: "m".into(), span }];
        let values = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into();
        Snapshot { from: start, to: start, levels: vec![Arc::new(Selector::node())], series, values }
    }

    /// Rows of snapshots, each with whether the archive holds it, and what became of their samples.
    fn rows<const N: usize>(inputs: [(Snapshot, bool); N]) -> (Vec<(i64, f32)>, Vec<Tally>) {
        let inputs = inputs.map(|(snapshot, held)| Input { snapshot: Arc::new(snapshot), held }).to_vec();
        let mut merge = Merge::new(&Date::of(0).expect("valid").into(), inputs);
        let values = merge.values();
        let row = |p: &Piece, i| (p.span.time(i), p.span.value(&values[p.input], i));
        let pieces: Vec<_> = merge.by_ref().flat_map(|series| series.pieces).collect();
        let rows = pieces.iter().flat_map(|p| (0..p.span.len).map(move |i| row(p, i)));
        (rows.filter(|(_, v)| !v.is_nan()).collect(), merge.tallies)
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
        let mut twice = snapshot(0, 60, &[1.0, 2.0]);
        twice.series.push(twice.series[0].clone());
        let (rows, tallies) = rows([(twice, false)]);
        assert_eq!(rows, [(0, 1.0), (60, 2.0)]);
        assert_eq!((tallies[0].rows, tallies[0].written), (4, 2));
    }
}
