//! What is known of the series of a host besides its logs: its snapshots, from disk where they are still there, else from the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::Context;
use super::super::budget::{memory_of, memory_of_rows};
use super::super::planning::undecidable;
use super::super::stored::{Room, Stored};
use crate::catalog;
use crate::checkpoint::{self, Form};
use crate::data::{Cursor, SeriesKey, Span};
use crate::error::Result;
use crate::files::SnapshotFile;
use crate::floor::Floor;
use crate::ledger::{Holdings, ObjectLedger};
use crate::names::{Date, Digest, Host, MOST_STEP};
use crate::plan;
use crate::read;
use crate::rescue::Known;
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
    /// Times of the first and the last sample of its logs.
    pub extent: (i64, i64),
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
    times: (i64, i64),
    cursors: Vec<(Cursor, Standing)>,
}

impl Wanted<'_> {
    /// Times around the samples, in which there can be cells of theirs.
    fn times(&self) -> (i64, i64) {
        (self.extent.0.saturating_sub(MOST_STEP).max(0), self.extent.1.saturating_add(MOST_STEP))
    }

    /// Dates of which it must be known what the archive holds: those of the samples, and the homes of snapshots that overlap them.
    pub async fn dates(&self) -> Result<(BTreeSet<Date>, Vec<SnapshotFile>)> {
        let (first, last) = self.times();
        let files: Vec<SnapshotFile> = self.snapshots.iter().filter(|file| file.from <= last).cloned().collect();
        let path = self.path.clone();
        let overlaps = move |file: &SnapshotFile| {
            let claim = read::through(&file.path_in(&path), file, |raw| checkpoint::claim(raw, Form::from(file)));
            // what does not say how far it goes is looked at in full
            claim.ok().and_then(Result::<_, _>::ok).is_none_or(|(from, to)| from <= last && first <= to)
        };
        let near = self.context.workers.run(move || files.into_iter().filter(overlaps).collect::<Vec<_>>()).await?;
        let of_samples = Date::of(first).into_iter().zip(Date::of(last)).flat_map(|(first, last)| first.through(last));
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
        let (mut cursors, mut on_disk) = (Vec::new(), BTreeSet::<Digest>::new());
        for file in near {
            let room = Room { bytes: memory_of(file.format, file.size), is_enough: true };
            // one that is damaged, or has gone, has nothing to tell
            let Ok(stored) = Stored::load(context, file.path_in(&self.path), file, room).await? else { continue };
            let standing = if self.is_archived(&stored, ledgers) { Standing::Archived } else { Standing::OnDisk };
            if standing == Standing::Archived {
                on_disk.insert(stored.digest);
            }
            cursors.push((stored.snapshot.cursor(), standing));
        }
        for (object, standing) in self.objects(ledgers, &on_disk) {
            let rows = object.entries.iter().filter(|entry| entry.host() == host.as_str()).map(|entry| entry.written).sum::<u64>();
            let spool = Spool::new(&context.spool, 4 * rows as usize, memory_of_rows(rows) as usize);
            let source = catalog::Source { archive: &context.archive, workers: &context.workers, footers: &context.footers, object };
            match catalog::unless_damaged(catalog::rows_between(source, host, self.times(), spool)).await? {
                Ok(found) => cursors.push((Arc::new(found).cursor(), standing)),
                Err(why) => return Ok(Err(format!("kept: {} may hold rows of it: {why}", context.archive.name_of(&object.key)))),
            }
        }
        Ok(Ok(Around { times: self.times(), cursors }))
    }

    /// True if the archive has the snapshot on all dates that matter.
    fn is_archived(&self, stored: &Stored, ledgers: &BTreeMap<Date, Arc<Holdings>>) -> bool {
        let home = ledgers.get(&self.floor.first_from(stored.file.home())).map(|home| plan::look_up(&stored.file, self.host, home, Some(stored.digest)));
        let Some(plan::Known::Archived(digest, dates)) = home else { return false };
        dates.iter().filter_map(|date| ledgers.get(date)).all(|holdings| plan::is_done(&stored.file, self.host, digest, holdings))
    }

    /// Objects that hold rows of other sources than those on disk.
    fn objects<'a>(&self, ledgers: &'a BTreeMap<Date, Arc<Holdings>>, on_disk: &BTreeSet<Digest>) -> Vec<(&'a ObjectLedger, Standing)> {
        let (first, last) = self.times();
        let mut found: Vec<(&ObjectLedger, Standing)> = Vec::new();
        let of_host = ledgers.values().flat_map(|holdings| holdings.of_host(self.host.as_str()));
        for (object, _) in of_host.filter(|(_, entry)| entry.overlaps(first, last) && !on_disk.contains(&entry.blake3)) {
            if !found.iter().any(|(other, _)| other.key == object.key) {
                let standing = if object.is_of_logs(self.host.as_str()) { Standing::Taken } else { Standing::Archived };
                found.push((object, standing));
            }
        }
        found
    }
}

impl Around {
    /// What is known of a series, and its frequency in s, if a snapshot says that. Keys must come in order.
    ///
    /// # Errors
    /// Values cannot be read.
    pub fn of(&mut self, key: &SeriesKey) -> io::Result<(Known, Option<i64>)> {
        let (mut known, mut frequency) = (Known::default(), None);
        for (cursor, standing) in &mut self.cursors {
            while let Some(next) = cursor.key()?.filter(|next| next <= key) {
                while let Some(span) = cursor.next_of(&next) {
                    let span = span.within(self.times.0, self.times.1.saturating_add(1));
                    if next != *key || span.len == 0 {
                        continue;
                    }
                    frequency = frequency.max(Some(span.frequency));
                    let values = cursor.snapshot().place.values(&span)?;
                    let place = Span { at: 0, ..span };
                    let samples = place.values(&values).enumerate().map(|(i, value)| (span.time(i), value));
                    match standing {
                        Standing::Archived => samples.for_each(|(time, value)| known.archived.add(time, value)),
                        Standing::OnDisk => samples.for_each(|(time, value)| known.on_disk.add(time, value)),
                        Standing::Taken => known.taken.extend(samples.filter(|(_, value)| !value.is_nan()).map(|(time, _)| time)),
                    }
                }
            }
        }
        known.archived.settle();
        known.on_disk.settle();
        Ok((known, frequency))
    }
}
