//! The ledger of an object that others were compacted into: their sources, each once, with what became of its rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::ledger::{Entry, ObjectLedger};
use crate::names::Digest;

/// The sources of a group's members, host by host.
pub struct Sources<'a>(BTreeMap<&'a str, Vec<(usize, &'a Entry)>>);

/// Times of one member of which one source gives the rows, as far as ledgers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Index of the member.
    pub member: usize,
    /// Its times, in Unix s.
    pub times: Range<i64>,
    /// Index of the source among those of the host.
    source: usize,
}

/// Rows of a window that are not in the new object, as another member has their instants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many.
    pub rows: u64,
    /// Those where the other member has another value.
    pub differing: u64,
}

impl<'a> Sources<'a> {
    /// Of members by key.
    pub fn of(members: &'a [ObjectLedger]) -> Self {
        let mut hosts: BTreeMap<&str, Vec<(usize, &Entry)>> = BTreeMap::new();
        for (member, object) in members.iter().enumerate() {
            object.entries.iter().for_each(|entry| hosts.entry(entry.host()).or_default().push((member, entry)));
        }
        hosts.values_mut().for_each(|sources| sources.sort_by_key(|(member, entry)| (*member, entry.first)));
        Self(hosts)
    }

    /// All hosts, in order.
    pub fn hosts(&self) -> impl Iterator<Item = &'a str> {
        self.0.keys().copied()
    }

    /// How a host's rows are to be merged, so that for each row that is lost its source is known: the weakest first. Where no times of two members
    /// meet, no row can be lost, and each member is one window.
    pub fn windows(&self, host: &str) -> Vec<Window> {
        let sources = self.0.get(host).map_or(&[][..], Vec::as_slice);
        let with_rows = || sources.iter().enumerate().filter(|(_, (_, entry))| entry.written > 0);
        let meets = with_rows().any(|(i, (member, entry))| with_rows().any(|(j, (other, with))| i < j && member != other && meet(entry, with)));
        let mut windows: Vec<Window> = Vec::new();
        for (source, (member, entry)) in with_rows() {
            match windows.last_mut().filter(|last| last.member == *member) {
                None => windows.push(Window { member: *member, times: i64::MIN..i64::MAX, source }),
                Some(last) => {
                    let from = entry.first.unwrap_or(i64::MIN);
                    if meets && from > last.times.start {
                        last.times.end = from;
                        windows.push(Window { member: *member, times: from..i64::MAX, source });
                    }
                }
            }
        }
        windows.sort_by_key(|window| Reverse(window.member));
        windows
    }

    /// What the new ledger says of a host's sources, with what was lost of each window.
    ///
    /// # Errors
    /// More rows were lost than the ledgers of the members have.
    pub fn joined(&self, host: &str, windows: &[Window], losses: &[Loss]) -> Result<Vec<Entry>, String> {
        let sources = self.0.get(host).map_or(&[][..], Vec::as_slice);
        let mut entries: Vec<Entry> = sources.iter().map(|(_, entry)| (*entry).clone()).collect();
        for (window, loss) in windows.iter().zip(losses).filter(|(_, loss)| loss.rows > 0) {
            take_from(sources, &mut entries, window, *loss)?;
        }
        Ok(united(entries))
    }
}

fn meet(entry: &Entry, other: &Entry) -> bool {
    other.first.zip(other.last).is_some_and(|(first, last)| entry.overlaps(first, last))
}

/// Takes lost rows from the source of the window; where sources of a member overlap in time, from others of it, too.
fn take_from(sources: &[(usize, &Entry)], entries: &mut [Entry], window: &Window, loss: Loss) -> Result<(), String> {
    let lost_of = sources[window.source].1;
    let holds = |(member, entry): &&(usize, &Entry)| *member < window.member && entry.written > 0;
    let holders = |all: bool| sources.iter().filter(holds).filter(|(_, entry)| all || meet(entry, lost_of)).map(|(_, entry)| entry.blake3).collect();
    let near: BTreeSet<Digest> = holders(false);
    let winners: BTreeSet<Digest> = if near.is_empty() { holders(true) } else { near };
    let mut of_member: Vec<usize> = (0..sources.len()).filter(|source| sources[*source].0 == window.member).collect();
    of_member.sort_by_key(|source| (*source != window.source, !meet(sources[*source].1, lost_of)));
    let mut left = loss.rows;
    for source in of_member {
        let entry = &mut entries[source];
        let rows = left.min(entry.written);
        if rows > 0 {
            entry.written -= rows;
            entry.dropped += rows;
            add_holders(entry, &winners);
            left -= rows;
        }
    }
    // where sources overlap in time, which of them had the other value is not known: each may have had it
    for (source, (member, entry)) in sources.iter().enumerate().filter(|_| loss.differing > 0) {
        let reaches = entry.first.zip(entry.last).is_some_and(|(first, last)| first < window.times.end && window.times.start <= last);
        if *member == window.member && entry.written > 0 && reaches {
            let entry = &mut entries[source];
            entry.conflicting += loss.differing;
            add_holders(entry, &winners);
        }
    }
    if left == 0 { Ok(()) } else { Err(format!("{left} rows of {} stand in an object whose ledger does not have them", lost_of.path.escape_debug())) }
}

/// A source does not hold its own rows.
fn add_holders(entry: &mut Entry, holders: &BTreeSet<Digest>) {
    let all: BTreeSet<Digest> = entry.held_by.iter().chain(holders).copied().filter(|digest| *digest != entry.blake3).collect();
    entry.held_by = all.into_iter().collect();
}

/// A source that stands in several members is one.
fn united(entries: Vec<Entry>) -> Vec<Entry> {
    let mut all: BTreeMap<(Box<str>, Digest), Entry> = BTreeMap::new();
    for entry in entries {
        match all.get_mut(&(entry.path.clone(), entry.blake3)) {
            None => {
                all.insert((entry.path.clone(), entry.blake3), entry);
            }
            Some(known) => {
                known.rows = known.rows.max(entry.rows);
                known.written += entry.written;
                known.superseded = known.superseded.max(entry.superseded);
                known.conflicting = known.conflicting.max(entry.conflicting);
                known.first = [known.first, entry.first].into_iter().flatten().min();
                known.last = known.last.max(entry.last);
                known.held_by = known.held_by.iter().chain(&entry.held_by).copied().collect::<BTreeSet<_>>().into_iter().collect();
            }
        }
    }
    let mut entries: Vec<Entry> = all.into_values().collect();
    // where sources overlap in time, which of them has lost a row was a guess: none has more than it brought
    let mut excess = 0;
    for entry in &mut entries {
        let over = entry.written.saturating_sub(entry.rows);
        entry.written -= over;
        excess += over;
    }
    for entry in &mut entries {
        let room = entry.rows.saturating_sub(entry.written).min(excess);
        entry.written += room;
        excess -= room;
    }
    if let Some(last) = entries.last_mut() {
        last.written += excess;
        last.rows = last.rows.max(last.written);
    }
    for entry in &mut entries {
        entry.dropped = entry.rows - entry.written;
        entry.superseded = entry.superseded.min(entry.dropped);
    }
    entries.sort_by(|a, b| (a.from, &a.path, a.blake3).cmp(&(b.from, &b.path, b.blake3)));
    entries
}
