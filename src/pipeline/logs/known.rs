//! What is known of the series of a host besides its logs: its snapshots, from disk where they are still there, else from the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::Context;
use super::super::budget::{memory_of, memory_of_rows};
use super::super::planning::{extent, undecidable};
use super::super::stored::{Room, Stored};
use crate::catalog;
use crate::data::{Cursor, SeriesKey, Span};
use crate::error::Result;
use crate::files::SnapshotFile;
use crate::floor::Floor;
use crate::ledger::{Holdings, ObjectLedger};
use crate::names::{Date, Digest, END_OF_TIME, Host, MOST_STEP, Selector};
use crate::plan;
use crate::rescue::{Cells, Known};
use crate::spool::Spool;

/// Whose snapshots, and of which times.
pub struct Wanted<'a> {
    /// The run.
    pub context: &'a Context,
    /// The host.
    pub host: &'a Host,
    /// Its directory.
    pub path: PathBuf,
    /// Its snapshots on disk.
    pub snapshots: &'a [SnapshotFile],
    /// Times around the samples of its logs: see [`around`].
    pub times: Vec<(i64, i64)>,
    /// From which date on the archive keeps rows.
    pub floor: Floor,
}

/// How cells of a snapshot stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The archive holds them.
    Archived,
    /// They are on disk, and not archived.
    OnDisk,
    /// They are rows that an earlier run took from a log.
    Taken,
}

/// Snapshots of a host around its logs, gone through series by series.
pub struct Around {
    times: Vec<(i64, i64)>,
    cursors: Vec<(Cursor, Standing)>,
    imported: Imported,
}

/// Objects with imported rows of a host, gone through for those that have no path.
#[derive(Default)]
struct Imported {
    cursors: Vec<Cursor>,
    /// The series that was asked for last, and its cells.
    last: Option<(SeriesKey, Arc<Cells>)>,
}

/// What snapshots say of a series' frequency, in s.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// That of the latest of them.
    pub latest: i64,
    /// The largest, but no more than any cell is off.
    pub most: i64,
}

/// Times in which there can be cells of samples, by the times of the first and the last sample of each date: first and last of each stretch, in order.
pub fn around(dates: &BTreeMap<Date, (i64, i64)>) -> Vec<(i64, i64)> {
    let mut stretches = Vec::<(i64, i64)>::new();
    for (first, last) in dates.values() {
        let (first, last) = ((first - MOST_STEP).max(0), (last + MOST_STEP).min(END_OF_TIME - 1));
        match stretches.last_mut() {
            Some(before) if first <= before.1 => before.1 = last,
            _ => stretches.push((first, last)),
        }
    }
    stretches
}

impl Wanted<'_> {
    /// Dates of which it must be known what the archive holds: those of the samples, and the homes of snapshots that overlap them.
    pub async fn dates(&self) -> Result<(BTreeSet<Date>, Vec<SnapshotFile>)> {
        let last = self.times.last().map_or(0, |(_, last)| *last);
        let files: Vec<SnapshotFile> = self.snapshots.iter().filter(|file| file.from <= last).cloned().collect();
        let (path, times) = (self.path.clone(), self.times.clone());
        let overlaps = move |file: &SnapshotFile| {
            // what does not say how far it goes is looked at in full
            extent(&file.path_in(&path), file).is_none_or(|(from, to)| times.iter().any(|(first, last)| from <= *last && *first <= to))
        };
        let near = self.context.workers.run(move || files.into_iter().filter(overlaps).collect::<Vec<_>>()).await?;
        let of_samples = self.times.iter().filter_map(|(first, last)| Some(Date::of(*first)?.through(Date::of(*last)?))).flatten();
        let homes = near.iter().map(|file| self.floor.first_from(file.home()));
        Ok((of_samples.filter(|date| self.floor.keeps(*date)).chain(homes).collect(), near))
    }

    /// Loads them. `near` are files that may overlap the samples.
    ///
    /// # Errors
    /// In the result: why it cannot be decided what the archive holds.
    pub async fn load(&self, near: Vec<SnapshotFile>, ledgers: &BTreeMap<Date, Arc<Holdings>>) -> Result<std::result::Result<Around, String>> {
        let Self { context, host, .. } = self;
        if let Some(object) = ledgers.values().find_map(|holdings| holdings.unreadable_of(host.as_str())) {
            return Ok(Err(undecidable(object)));
        }
        let (mut cursors, mut imported, mut on_disk) = (Vec::new(), Imported::default(), BTreeSet::<Digest>::new());
        for file in near {
            let room = Room { bytes: memory_of(&file), is_enough: true };
            // one that is damaged, or has gone, has nothing to tell
            let Ok(stored) = Stored::load(context, file.path_in(&self.path), file, room).await? else { continue };
            let standing = if self.is_archived(&stored, ledgers) { Standing::Archived } else { Standing::OnDisk };
            if standing == Standing::Archived {
                on_disk.insert(stored.digest);
            }
            cursors.push((stored.snapshot.cursor(), standing));
        }
        for (object, standing, times) in self.objects(ledgers, &on_disk) {
            let rows = object.entries.iter().filter(|entry| entry.host() == host.as_str()).map(|entry| entry.written).sum::<u64>();
            let spool = Spool::new(&context.spool, 4 * rows as usize, memory_of_rows(rows) as usize);
            let source = catalog::Source { archive: &context.archive, workers: &context.workers, footers: &context.footers, object };
            match catalog::rows_between(source, host, times, spool).await? {
                Ok(found) => {
                    let found = Arc::new(found);
                    cursors.push((found.cursor(), standing));
                    imported.cursors.extend(object.has_imports(host.as_str()).then(|| found.cursor()));
                }
                Err(why) => return Ok(Err(format!("kept: {} may hold rows of it: {why}", context.archive.name_of(&object.key)))),
            }
        }
        Ok(Ok(Around { times: self.times.clone(), cursors, imported }))
    }

    /// True if the archive has the snapshot on all dates that matter.
    fn is_archived(&self, stored: &Stored, ledgers: &BTreeMap<Date, Arc<Holdings>>) -> bool {
        let home = ledgers.get(&self.floor.first_from(stored.file.home())).map(|home| plan::look_up(&stored.file, self.host, home, Some(stored.digest)));
        let Some(plan::Known::Archived(digest, dates)) = home else { return false };
        dates.iter().filter_map(|date| ledgers.get(date)).all(|holdings| plan::is_done(&stored.file, self.host, digest, holdings))
    }

    /// Objects that hold rows of other sources than those on disk, and the times of those that matter.
    fn objects<'a>(&self, ledgers: &'a BTreeMap<Date, Arc<Holdings>>, on_disk: &BTreeSet<Digest>) -> Vec<(&'a ObjectLedger, Standing, (i64, i64))> {
        let mut found: Vec<(&ObjectLedger, Standing, (i64, i64))> = Vec::new();
        let of_host = ledgers.values().flat_map(|holdings| holdings.of_host(self.host.as_str()));
        for (object, entry) in of_host.filter(|(_, entry)| !on_disk.contains(&entry.blake3)) {
            for (first, last) in self.times.iter().filter(|(first, last)| entry.overlaps(*first, *last)) {
                match found.iter_mut().find(|(other, ..)| other.key == object.key) {
                    Some((.., times)) => *times = (times.0.min(*first), times.1.max(*last)),
                    None => {
                        let standing = if object.is_of_logs(self.host.as_str()) { Standing::Taken } else { Standing::Archived };
                        found.push((object, standing, (*first, *last)));
                    }
                }
            }
        }
        found
    }
}

impl Around {
    /// What is known of a series, and its frequency, if a snapshot says that. Keys must come in order.
    ///
    /// # Errors
    /// Values cannot be read.
    pub fn of(&mut self, key: &SeriesKey) -> io::Result<(Known, Option<Told>)> {
        let (mut known, mut told) = (Known::default(), None);
        for (cursor, standing) in &mut self.cursors {
            series(cursor, key, &self.times, |span, values| add(&mut known, &mut told, *standing, span, values))?;
        }
        known.archived.settle();
        known.on_disk.settle();
        known.imported = self.imported.of(key, &self.times)?;
        Ok((known, told.map(|(_, told)| told)))
    }
}

impl Imported {
    /// Cells of rows that may be those of a series, but have the selector that its scope and id give.
    fn of(&mut self, SeriesKey { metric, selector }: &SeriesKey, times: &[(i64, i64)]) -> io::Result<Arc<Cells>> {
        let derived = Selector::derived(&selector.scope, &selector.scope_id).filter(|derived| *derived != **selector);
        let Some(derived) = derived.filter(|_| !self.cursors.is_empty()) else { return Ok(Arc::default()) };
        let key = SeriesKey { metric: Arc::clone(metric), selector: derived.into() };
        if let Some((_, cells)) = self.last.as_ref().filter(|(last, _)| *last == key) {
            return Ok(Arc::clone(cells));
        }
        let mut cells = Cells::default();
        for cursor in &mut self.cursors {
            series(cursor, &key, times, |span, values| cells_of(&mut cells, span, values))?;
        }
        cells.settle();
        let cells = Arc::new(cells);
        self.last = Some((key, Arc::clone(&cells)));
        Ok(cells)
    }
}

/// Hands over what a cursor has of a series at such times. It passes over what comes before.
fn series(cursor: &mut Cursor, key: &SeriesKey, times: &[(i64, i64)], mut take: impl FnMut(&Span, &[u8])) -> io::Result<()> {
    while let Some(next) = cursor.key()?.filter(|next| next <= key) {
        while let Some(span) = cursor.next_of(&next) {
            for (first, last) in times.iter().filter(|_| next == *key) {
                let span = span.within(*first, last + 1);
                if span.len > 0 {
                    let values = cursor.snapshot().place.values(&span)?;
                    take(&Span { at: 0, ..span }, &values);
                }
            }
        }
    }
    Ok(())
}

fn cells_of(cells: &mut Cells, span: &Span, values: &[u8]) {
    let step = span.frequency.min(MOST_STEP);
    span.values(values).enumerate().for_each(|(i, value)| cells.add(span.time(i), value, step));
}

/// Adds what a source has of a series. Rows of logs have no frequency but one that was guessed.
fn add(known: &mut Known, told: &mut Option<(i64, Told)>, standing: Standing, span: &Span, values: &[u8]) {
    let cells = match standing {
        Standing::Archived => &mut known.archived,
        Standing::OnDisk => &mut known.on_disk,
        Standing::Taken => {
            let there = span.values(values).enumerate().filter(|(_, value)| !value.is_nan());
            return known.taken.extend(there.map(|(i, _)| span.time(i)));
        }
    };
    cells_of(cells, span, values);
    let step = span.frequency.min(MOST_STEP);
    let (newest, before) = told.unwrap_or((i64::MIN, Told { latest: span.frequency, most: step }));
    let latest = if span.last() > newest { span.frequency } else { before.latest };
    *told = Some((newest.max(span.last()), Told { latest, most: before.most.max(step) }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_near_samples_matter_up_to_the_end_of_time() {
        let of = |times: &[(i64, i64)]| around(&times.iter().map(|(first, last)| (Date::of(*first).expect("a date"), (*first, *last))).collect());
        let day = 1_772_323_200;
        assert_eq!(of(&[(100, 200), (day + 7_000, day + 8_000)]), [(0, 3_800), (day + 3_400, day + 11_600)]);
        assert_eq!(of(&[(day + 86_000, day + 86_399), (day + 86_400, day + 90_000)]), [(day + 82_400, day + 93_600)], "one after the other");
        assert_eq!(of(&[(END_OF_TIME - 1, END_OF_TIME - 1)]), [(END_OF_TIME - 3_601, END_OF_TIME - 1)]);
        assert_eq!(of(&[]), []);
    }
}
