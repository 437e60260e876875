//! Rows of snapshots, spread over hours: ledgers say how many rows a snapshot has of a date, and when the first and the last of them are.

use super::{HOUR, HOURS};
use crate::ledger::Entry;
use crate::names::Date;

/// A snapshot that ends so many seconds after its last sample has one for each step until its end.
const STEP: i64 = 600;
/// A step where no snapshot tells.
const USUAL: i64 = 60;

/// When the samples of a snapshot are.
struct Spread {
    first: i64,
    end: i64,
    /// Samples a second, with those that other snapshots hold, too.
    all: f64,
    /// Those that it alone holds.
    own: f64,
}

/// How long the last sample of a snapshot stands, if that is until its end.
fn last_step(entry: &Entry, date: Date) -> Option<i64> {
    Some(entry.to.min(date.end()) - entry.last?).filter(|step| (1..=STEP).contains(step))
}

impl Spread {
    /// `step`: how long the last sample stands in a snapshot whose samples end before it does.
    fn of(entry: &Entry, date: Date, step: i64) -> Option<Self> {
        let (first, last) = entry.first.zip(entry.last).filter(|(first, last)| entry.rows > 0 && first <= last)?;
        let end = last + last_step(entry, date).unwrap_or(step);
        let seconds = (end - first) as f64;
        Some(Self { first, end, all: entry.rows as f64 / seconds, own: entry.written as f64 / seconds })
    }
}

/// Rows of each hour of a date, by the entries of one host. Where snapshots overlap, what stands in both counts once.
pub fn hours(entries: &[&Entry], date: Date) -> [f32; HOURS] {
    let step = entries.iter().filter_map(|entry| last_step(entry, date)).max().unwrap_or(USUAL);
    let spreads: Vec<Spread> = entries.iter().filter_map(|entry| Spread::of(entry, date, step)).collect();
    let mut bounds: Vec<i64> = (0..=HOURS as i64).map(|hour| date.start() + hour * HOUR).collect();
    bounds.extend(spreads.iter().flat_map(|spread| [spread.first, spread.end]).filter(|time| (date.start()..date.end()).contains(time)));
    bounds.sort_unstable();
    bounds.dedup();
    let mut rows = [0.0; HOURS];
    for pair in bounds.windows(2) {
        let here = spreads.iter().filter(|spread| spread.first <= pair[0] && pair[1] <= spread.end);
        let (most, sum) = here.fold((0.0_f64, 0.0), |(most, sum), spread| (most.max(spread.all), sum + spread.own));
        rows[((pair[0] - date.start()) / HOUR) as usize] += (most.max(sum) * (pair[1] - pair[0]) as f64) as f32;
    }
    rows
}
