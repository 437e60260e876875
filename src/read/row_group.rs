//! The rows of a host in a row group as a snapshot: a `.bin`, as cc-backend would have written it, but for its levels.
//!
//! Rows have a scope and an id, and no path: their level is taken for a child of the host, of the name that these two come of. Rows of a series that go on
//! in even steps become a run; where they do not, as where checkpoints overlapped, the series stands there once more. The digest of these bytes stands for
//! the rows: it is the same wherever they lie and however they are compressed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use crate::data::Span;
use crate::files::{Column, RowGroup, without_panic};
use crate::names::Selector;
use crate::sheet::{Entry, Names, Sheet, write_binary};
use crate::spool::{Spool, Tools};

/// Bytes of runs that may go on, whatever memory there is: where runs end must not depend on it, as their digest is to be the same.
const MOST_OPEN: usize = 4 << 20;

/// What says which series of its host a row is of.
const SERIES: [Column; 3] = [Column::Metric, Column::Scope, Column::ScopeId];

/// More runs take too much memory. Of rows in the order of their series it is thousands of hours of samples, each off the grid of the one before.
const MOST_RUNS: usize = 2 << 20;

/// Writes the rows as a snapshot. Their values are in memory if they take no more than `room`, else in a file without a name meanwhile.
///
/// # Errors
/// They cannot be read, or are none of a host; `to` takes no more.
pub fn convert(file: &Arc<File>, group: &RowGroup, tools: &Tools, room: usize, to: &mut dyn Write) -> io::Result<()> {
    let expected = 4 * group.rows() as usize;
    let collected = without_panic(|| collect(file, group, Spool::new(tools, expected, room)));
    let Collected { series, runs, spool, .. } = collected.map_err(io::Error::other)?;
    let (from, last) = group.times;
    let to_time = runs.iter().map(|(_, span)| span.last() + span.frequency).max().unwrap_or(last);
    let entry = |(of, span): (usize, Span)| Entry { level: Arc::clone(&series[of].level), metric: Arc::clone(&series[of].metric), span };
    let mut series: Vec<Entry> = runs.into_iter().map(entry).collect();
    // runs of one series stay in the order of the file: of two values of an instant the later one wins
    series.sort_by(|a, b| (&a.level, &a.metric).cmp(&(&b.level, &b.metric)));
    write_binary(&Sheet { from, to: to_time, series }, &spool.finish()?, to)
}

/// A series of which there were rows.
struct Series {
    level: Names,
    metric: Arc<str>,
    /// Its last run, which may go on.
    open: Option<(Span, Vec<u8>)>,
}

impl Series {
    fn wrong(&self, why: &str) -> String {
        format!("metric {:?}: {why}", self.metric)
    }
}

/// What was read so far.
struct Collected {
    known: HashMap<Names, usize>,
    series: Vec<Series>,
    /// Runs that are complete, each of the series at this index.
    runs: Vec<(usize, Span)>,
    /// Bytes of those that are not.
    open: usize,
    spool: Spool,
}

fn collect(file: &Arc<File>, group: &RowGroup, spool: Spool) -> Result<Collected, String> {
    let mut collected = Collected { known: HashMap::new(), series: Vec::new(), runs: Vec::new(), open: 0, spool };
    // whose rows they are need not be read where the footer tells
    let wanted = if group.is_whole() { &Column::ALL[2..] } else { &Column::ALL[..] };
    let mut batches = group.read(file, wanted)?;
    let (cluster, host) = (&*group.whose.0, &*group.whose.1);
    // most rows are of the series of the one before
    let mut last: ([Vec<u8>; 3], usize) = ([const { Vec::new() }; 3], usize::MAX);
    while let Some(batch) = batches.next()? {
        for row in 0..batch.rows {
            if !group.is_whole() && (batch.text(Column::Cluster, row)?, batch.text(Column::Hostname, row)?) != (cluster, host) {
                continue;
            }
            let names = SERIES.map(|column| batch.bytes(column, row).unwrap_or_default());
            if last.1 == usize::MAX || last.0.iter().zip(names).any(|(last, name)| last != name) {
                let [metric, scope, id] = SERIES.map(|column| batch.text(column, row));
                let of = collected.series_of([metric?, scope?, id?]).map_err(|what| batch.wrong(Column::ScopeId, row, &what))?;
                last = (names.map(<[u8]>::to_vec), of);
            }
            if let Some(value) = batch.value(row) {
                collected.add(last.1, batch.time(row)?, batch.frequency(row)?, value)?;
            }
        }
    }
    collected.end_runs()?;
    Ok(collected)
}

impl Collected {
    /// The index of a series: metric, scope, id.
    fn series_of(&mut self, names: [&str; 3]) -> Result<usize, String> {
        let key: Names = names.map(str::to_owned).into();
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let [metric, scope, id] = names;
        self.series.push(Series { level: level(scope, id)?, metric: metric.into(), open: None });
        self.known.insert(key, self.series.len() - 1);
        Ok(self.series.len() - 1)
    }

    fn add(&mut self, of: usize, time: i64, frequency: i64, value: f32) -> Result<(), String> {
        let missing = self.series[of].open.as_ref().and_then(|(span, _)| span.missing_before(time, frequency));
        if missing.is_none() {
            self.end_run(of)?;
            // so that times can be reckoned with
            let begun = Span::checked(time, frequency, 0, 1).map_err(|why| self.series[of].wrong(&why))?;
            self.series[of].open = Some((Span { len: 0, ..begun }, Vec::new()));
        }
        let Some((span, values)) = &mut self.series[of].open else { unreachable!("it was begun") };
        let missing = missing.unwrap_or_default();
        (0..missing).for_each(|_| values.extend(f32::NAN.to_le_bytes()));
        values.extend(value.to_le_bytes());
        span.len += missing + 1;
        self.open += 4 * (missing + 1);
        if self.open > MOST_OPEN { self.end_runs() } else { Ok(()) }
    }

    fn end_runs(&mut self) -> Result<(), String> {
        (0..self.series.len()).try_for_each(|of| self.end_run(of))
    }

    fn end_run(&mut self, of: usize) -> Result<(), String> {
        let Some((span, values)) = self.series[of].open.take() else { return Ok(()) };
        Span::checked(span.start, span.frequency, 0, span.len).map_err(|why| self.series[of].wrong(&why))?;
        if self.runs.len() == MOST_RUNS {
            return Err(format!(
                "its rows are more than {MOST_RUNS} runs of even steps: write it anew, sorted by hostname, metric, scope, scope_id, timestamp"
            ));
        }
        self.open -= values.len();
        self.runs.push((of, Span { at: self.spool.len(), ..span }));
        self.spool.end().extend_from_slice(&values);
        self.spool.settle().map_err(|e| e.to_string())
    }
}

/// The level of rows with such a scope and id.
fn level(scope: &str, id: &str) -> Result<Names, String> {
    let level = Selector::derived(scope, id).ok_or_else(|| format!("is {id:?}, which no level of the scope {scope:?} has"))?;
    Ok(level.names().unwrap_or_default().into())
}
