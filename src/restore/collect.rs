//! Rows of one host and date, collected as the checkpoints that they go to.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use crate::data::{Piece, Place, SeriesKey, SeriesRows, Span};
use crate::files::Kind;
use crate::names::Selector;
use crate::settings::Windows;
use crate::sheet::{Entry, LONGEST_NAME, Names, Sheet};
use crate::spool::Spool;

/// A series that no checkpoint can hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    /// Path and metric.
    pub series: String,
    /// Rows of it.
    pub rows: u64,
    /// Why.
    pub reason: String,
}

/// All of a host's date.
#[derive(Debug)]
pub struct Collected {
    /// By their names.
    pub sheets: Vec<Sheet>,
    /// Where their values are.
    pub place: Place,
    /// Rows in them.
    pub rows: u64,
    /// Times of the first and the last row.
    pub extent: Option<(i64, i64)>,
    /// Rows that are in none of them.
    pub lost: Vec<Lost>,
}

/// Takes series after series.
#[derive(Debug)]
pub struct Collector {
    windows: Windows,
    kind: Kind,
    spool: Spool,
    levels: HashMap<Box<str>, Names>,
    sheets: BTreeMap<i64, Sheet>,
    rows: u64,
    extent: Option<(i64, i64)>,
    lost: Vec<Lost>,
}

/// Some values of a series, and those that its span is of.
type Part<'a> = (Span, &'a [u8]);

/// A series that has several grids in a window is cut where a grid has no row for so long, in s, so that what came one after the other stays so.
const SILENCE: i64 = 3_600;

impl Collector {
    /// For files of a kind, one or more for each window. Values go to the spool.
    pub fn new(windows: Windows, kind: Kind, spool: Spool) -> Self {
        Self { windows, kind, spool, levels: HashMap::new(), sheets: BTreeMap::new(), rows: 0, extent: None, lost: Vec::new() }
    }

    /// Takes all rows of a series of the date.
    ///
    /// # Errors
    /// There is no place for its values.
    pub fn add(&mut self, series: &SeriesRows) -> io::Result<()> {
        let level = match self.level(&series.key) {
            Ok(level) => level,
            Err(reason) => {
                let rows = parts(series).map(|part| rows_of(&part)).sum();
                let SeriesKey { metric, selector } = &series.key;
                self.lost.push(Lost { series: format!("{} {metric}", selector.path), rows, reason: reason.to_owned() });
                return Ok(());
            }
        };
        let mut open: Option<((i64, i64), Vec<Part<'_>>)> = None;
        for (span, values) in parts(series) {
            let mut rest = span.within(self.windows.from, self.windows.to);
            while rest.len > 0 {
                let window = self.windows.of(rest.start);
                let part = rest.within(window.0, window.1);
                rest = rest.part(part.len, rest.len - part.len);
                let Some(part) = trimmed(part, values) else { continue };
                match &mut open {
                    Some((of, parts)) if *of == window => parts.push((part, values)),
                    _ => {
                        let full = open.replace((window, vec![(part, values)]));
                        full.map_or(Ok(()), |(window, parts)| self.add_window(&level, &series.key.metric, window, parts))?;
                    }
                }
            }
        }
        open.map_or(Ok(()), |(window, parts)| self.add_window(&level, &series.key.metric, window, parts))
    }

    /// The names of a series' levels, if the format can hold the series.
    fn level(&mut self, SeriesKey { metric, selector }: &SeriesKey) -> Result<Names, &'static str> {
        if self.kind == Kind::Binary && metric.len() > LONGEST_NAME {
            return Err("its name is longer than a .bin can hold; --format json can");
        }
        let known = self.levels.get(&selector.path).filter(|known| has(known, selector));
        if let Some(known) = known {
            return Ok(Arc::clone(known));
        }
        let names: Names = selector.names().ok_or("no level of a checkpoint has its scope, id and selector")?.into();
        self.levels.insert(selector.path.clone(), Arc::clone(&names));
        Ok(names)
    }

    /// Takes the rows of a series in a window. Each run on one grid goes to a file of its own, the first to the one that the window names, the next
    /// to one that begins a second later: a run begins at an instant of its own, so no sample lies before its file does, nor a file in the next window.
    fn add_window(&mut self, level: &Names, metric: &Arc<str>, (from, to): (i64, i64), parts: Vec<Part<'_>>) -> io::Result<()> {
        let mut grids: BTreeMap<(i64, i64), Vec<Part<'_>>> = BTreeMap::new();
        for part in parts {
            grids.entry((part.0.frequency, part.0.start % part.0.frequency)).or_default().push(part);
        }
        let is_one = grids.len() == 1;
        let goes_on = |a: &Part<'_>, b: &Part<'_>| is_one || b.0.start - a.0.last() - a.0.frequency <= SILENCE;
        let mut runs: Vec<&[Part<'_>]> = grids.values().flat_map(|parts| parts.chunk_by(goes_on)).collect();
        runs.sort_by_key(|run| run[0].0.start);
        for (from, run) in (from..).zip(runs) {
            let span = self.store(run)?;
            let sheet = self.sheets.entry(from).or_insert_with(|| Sheet { from, to, series: Vec::new() });
            sheet.series.push(Entry { level: Arc::clone(level), metric: Arc::clone(metric), span });
        }
        Ok(())
    }

    /// Puts the values of a run one behind the other, NaN where there is none.
    fn store(&mut self, run: &[Part<'_>]) -> io::Result<Span> {
        let mut all = Span { at: self.spool.len(), len: 0, ..run[0].0 };
        for (span, values) in run {
            let missing = (span.start - all.time(all.len)) / all.frequency;
            let end = self.spool.end();
            (0..missing).for_each(|_| end.extend_from_slice(&f32::NAN.to_le_bytes()));
            end.extend_from_slice(&values[span.bytes()]);
            all.len += missing as usize + span.len;
            self.spool.settle()?;
            self.rows += rows_of(&(*span, values));
        }
        let (first, last) = self.extent.unwrap_or((all.start, all.last()));
        self.extent = Some((first.min(all.start), last.max(all.last())));
        Ok(all)
    }

    /// All files.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn finish(self) -> io::Result<Collected> {
        let Self { mut sheets, rows, extent, lost, .. } = self;
        sheets.values_mut().for_each(|sheet| sheet.series.sort_by(|a, b| (&a.level, &a.metric).cmp(&(&b.level, &b.metric))));
        Ok(Collected { sheets: sheets.into_values().collect(), place: self.spool.finish()?, rows, extent, lost })
    }
}

/// True if the levels of these names are those of the selector: of a path they can only be one.
fn has(names: &Names, selector: &Selector) -> bool {
    match names.last() {
        None => *selector == Selector::node(),
        Some(last) => Selector::node().child(last).is_some_and(|level| level.scope == selector.scope && level.scope_id == selector.scope_id),
    }
}

/// The pieces of a series, in time order.
fn parts(series: &SeriesRows) -> impl Iterator<Item = Part<'_>> {
    series.pieces.iter().map(|Piece { of, span, .. }| (*span, &*series.values[*of]))
}

/// From the first value that is a row to the last.
fn trimmed(span: Span, values: &[u8]) -> Option<Span> {
    let mut present = span.values(values).map(|value| !value.is_nan());
    let (first, last) = (present.clone().position(|is| is)?, present.rposition(|is| is)?);
    Some(span.part(first, last - first + 1))
}

fn rows_of((span, values): &Part<'_>) -> u64 {
    span.values(values).filter(|value| !value.is_nan()).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::Buffers;
    use crate::spool::Tools;

    const WINDOWS: Windows = Windows { from: 0, to: 86_400, every: 43_200 };

    /// The files of one series that has these pieces (start, frequency, values), in time order.
    fn files(pieces: &[(i64, i64, &[f32])]) -> Vec<String> {
        let key = SeriesKey { metric: "m".into(), selector: Arc::new(Selector::node()) };
        let values = pieces.iter().map(|(.., values)| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into()).collect();
        let piece = |(of, (start, frequency, values)): (usize, &(i64, i64, &[f32]))| Piece {
            of,
            span: Span { start: *start, frequency: *frequency, at: 0, len: values.len() },
            dense: false,
        };
        let series = SeriesRows { key, values, pieces: pieces.iter().enumerate().map(piece).collect(), loaded: 0 };
        let tools = Tools { buffers: Buffers::new(0), folder: std::env::temp_dir() };
        let mut collector = Collector::new(WINDOWS, Kind::Binary, Spool::new(&tools, 0, 16));
        collector.add(&series).expect("a place");
        let Collected { sheets, place, .. } = collector.finish().expect("a place");
        let entry = |Entry { span, .. }: &Entry| {
            let values = place.values(span).expect("read");
            (span.start, span.frequency, crate::data::floats(&values).collect::<Vec<_>>())
        };
        let file = |Sheet { from, to, series }: &Sheet| format!("{from}..{to} {:?}", series.iter().map(entry).collect::<Vec<_>>());
        sheets.iter().map(file).collect()
    }

    #[test]
    fn a_series_on_one_grid_goes_to_one_file_for_each_window_with_nan_between() {
        let files = files(&[(60, 60, &[1.0, 2.0]), (240, 60, &[3.0]), (43_140, 60, &[4.0, f32::NAN, 5.0])]);
        let [first, second] = &files[..] else { panic!("two windows") };
        assert!(first.starts_with("0..43200 [(60, 60, [1.0, 2.0, NaN, 3.0, NaN, ") && first.ends_with(", NaN, 4.0])]"), "{first}");
        assert_eq!(second, "43200..86400 [(43260, 60, [5.0])]");
    }

    #[test]
    fn grids_that_shift_against_each_other_go_to_files_that_begin_a_second_later() {
        let files = files(&[(0, 60, &[1.0]), (13, 60, &[2.0]), (60, 60, &[3.0]), (73, 60, &[4.0]), (100, 30, &[5.0])]);
        assert_eq!(files, ["0..43200 [(0, 60, [1.0, 3.0])]", "1..43200 [(13, 60, [2.0, 4.0])]", "2..43200 [(100, 30, [5.0])]"]);
    }

    #[test]
    fn a_grid_that_comes_back_after_another_stays_behind_it() {
        let files = files(&[(0, 60, &[1.0]), (4_013, 60, &[2.0]), (8_040, 60, &[3.0])]);
        assert_eq!(files, ["0..43200 [(0, 60, [1.0])]", "1..43200 [(4013, 60, [2.0])]", "2..43200 [(8040, 60, [3.0])]"]);
    }
}
