//! Stage 11: deletes local snapshots, and nothing else: those that are old enough and [`Proven`].

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::fs::AtFlags;

use crate::files::{Compression, Identity, SnapshotFile, Unread};
use crate::prove::Proven;

/// How often a file is tried to delete that changes meanwhile.
const TRIES: usize = 3;

/// Deletes a file, if its bytes are still those that were proven. Blocks.
///
/// Between the last look and the deletion lies no more than two system calls; cc-backend renames or writes files at the
/// end of a checkpoint only, under names of that time. Other times of change alone, as a backup that makes links leaves
/// them, are no other bytes: the file is hashed again.
///
/// # Errors
/// [`Unread`]; it stays if it is not the one that was proven any more.
pub fn delete(mut source: Proven) -> Result<(), Unread> {
    for _ in 0..TRIES {
        match delete_unchanged(&source) {
            Err(Unread::Changed) => source = source.again().ok_or(Unread::Changed)?,
            done => return done,
        }
    }
    Err(Unread::Changed)
}

fn delete_unchanged(source: &Proven) -> Result<(), Unread> {
    let place = source.place();
    let directory = place.open_directory()?;
    if Identity::of(&place.open_in(&directory)?.metadata()?) != Some(source.identity()) {
        return Err(Unread::Changed);
    }
    Ok(rustix::fs::unlinkat(&directory, &*place.name, AtFlags::empty()).map_err(std::io::Error::from)?)
}

/// How old a snapshot is, as far as pruning goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Its successor begins before the limit: cc-backend's store, when it starts, needs neither.
    Old,
    /// Its successor does not.
    Recent,
    /// It has no successor.
    Newest,
}

/// What is known of some of a host's snapshots, by index: true for those that can be read.
pub type Readable = BTreeMap<usize, bool>;

/// To a plain file only another plain one is a successor: the store reads no compressed ones.
fn follows(next: &SnapshotFile, file: &SnapshotFile) -> bool {
    next.from > file.from && (is_plain(next) || !is_plain(file))
}

fn is_plain(file: &SnapshotFile) -> bool {
    file.packed.is_none() && file.format.compression == Compression::None
}

/// Ages of one host's snapshots, in their order; `limit` is a unix time in s.
///
/// At its start the store loads the last snapshot before its window. One that cannot be read is no successor.
pub fn ages(snapshots: &[SnapshotFile], limit: i64, readable: &Readable) -> Vec<Age> {
    let age = |(index, file): (usize, &SnapshotFile)| {
        let successor = snapshots.iter().enumerate().skip(index + 1).find(|(i, next)| follows(next, file) && readable.get(i) != Some(&false));
        match successor {
            Some((_, next)) if next.from < limit => Age::Old,
            Some(_) => Age::Recent,
            None => Age::Newest,
        }
    };
    snapshots.iter().enumerate().map(age).collect()
}

/// The snapshot of a host that must be looked at next: whether it can be read decides what becomes of it, or of those before it.
/// None if all is known that matters.
pub fn next_to_read(snapshots: &[SnapshotFile], limit: i64, readable: &Readable) -> Option<usize> {
    let old = || snapshots.iter().enumerate().filter(|(_, file)| file.from < limit).rev();
    let newest = |is_meant: fn(&SnapshotFile) -> bool| {
        let known = old().any(|(i, file)| is_meant(file) && readable.get(&i) == Some(&true));
        if known { None } else { old().find(|(i, file)| is_meant(file) && !readable.contains_key(i)) }
    };
    let (index, file) = newest(|_| true).or_else(|| newest(is_plain))?;
    // it stays as it is, and nothing is older
    let is_followed = snapshots.iter().enumerate().any(|(i, next)| follows(next, file) && readable.get(&i) != Some(&false));
    (!is_followed || snapshots.iter().any(|before| before.from < file.from)).then_some(index)
}

/// A file may change so much later than the clock says, in s: clocks differ a little.
const MARGIN: i64 = 3_600;
/// Clocks that differ by more are worth a word, in s.
const SKEW: i64 = 5 * 60;
/// A tree that has been silent for longer is worth a word, in s: twice the usual interval of checkpoints.
const SILENCE: i64 = 86_400;

/// The time by which ages count.
#[derive(Debug, PartialEq, Eq)]
pub struct Now {
    /// Unix time in s.
    pub now: i64,
    /// The latest of all clocks.
    latest: i64,
    /// How this machine's clock differs from the store's, if it does.
    pub skew: Option<String>,
    /// How long nothing was written, if it is long.
    pub silence: Option<String>,
}

impl Now {
    /// The earliest of three times, in unix s: what this machine's clock says, what the store's clock says, which that one is `ahead` of, and
    /// the last change of a snapshot and an hour. A clock that jumps ahead makes nothing old.
    pub fn new(local: i64, ahead: Option<i64>, last_change: Option<i64>) -> Self {
        let ahead = ahead.unwrap_or(0);
        let clocks = local.min(local.saturating_sub(ahead));
        let written = last_change.map_or(clocks, |change| change.saturating_add(MARGIN));
        let said = |seconds: i64| humantime::format_duration(Duration::from_secs(seconds.unsigned_abs()));
        let skew =
            || format!("this machine's clock is {} {} the store's; ages count by the earlier one", said(ahead), if ahead > 0 { "ahead of" } else { "behind" });
        let silence = || format!("no snapshot was written in the last {}; ages count from the last one plus an hour", said(clocks - written + MARGIN));
        Self {
            now: clocks.min(written),
            latest: local.max(local.saturating_sub(ahead)).max(last_change.unwrap_or(local)),
            skew: (ahead.saturating_abs() > SKEW).then(skew),
            silence: (clocks.saturating_sub(written) > SILENCE).then(silence),
        }
    }

    /// True for a time that has not come yet, by any clock.
    pub fn is_before(&self, time: i64) -> bool {
        time > self.latest.saturating_add(MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Format, Kind};

    fn file(from: i64, compression: Compression) -> SnapshotFile {
        SnapshotFile { name: from.to_string().into(), from, format: Format { kind: Kind::Binary, compression }, size: 0, mtime: 0, packed: None }
    }

    fn plain<const N: usize>(times: [i64; N]) -> [SnapshotFile; N] {
        times.map(|from| file(from, Compression::None))
    }

    fn ages_of(snapshots: &[SnapshotFile], limit: i64) -> Vec<Age> {
        ages(snapshots, limit, &Readable::new())
    }

    #[test]
    fn a_snapshot_is_as_old_as_its_successor() {
        assert_eq!(ages_of(&plain([0, 10, 20]), 15), [Age::Old, Age::Recent, Age::Newest]);
        assert_eq!(ages_of(&plain([0, 10]), 10), [Age::Recent, Age::Newest], "older, not as old");
        assert_eq!(ages_of(&plain([0, 0, 5]), 10), [Age::Old, Age::Old, Age::Newest], "two of one time");
    }

    #[test]
    fn the_store_cannot_load_a_compressed_successor() {
        let files = [file(0, Compression::Zstd), file(1, Compression::None), file(2, Compression::Zstd), file(3, Compression::Gzip)];
        assert_eq!(ages_of(&files, 10), [Age::Old, Age::Newest, Age::Old, Age::Newest]);
    }

    #[test]
    fn what_cannot_be_read_is_no_successor() {
        let readable = Readable::from([(2, false)]);
        assert_eq!(ages(&plain([0, 10, 20]), 30, &readable), [Age::Old, Age::Newest, Age::Newest]);
        assert_eq!(ages(&plain([0, 10, 20, 40]), 30, &readable), [Age::Old, Age::Recent, Age::Recent, Age::Newest]);
    }

    /// The indices that are looked at, one after the other, where only `good` ones can be read.
    fn looked_at(snapshots: &[SnapshotFile], limit: i64, good: &[usize]) -> Vec<usize> {
        let (mut readable, mut order) = (Readable::new(), Vec::new());
        while let Some(next) = next_to_read(snapshots, limit, &readable) {
            assert_eq!(readable.insert(next, good.contains(&next)), None, "once");
            order.push(next);
        }
        order
    }

    #[test]
    fn snapshots_are_looked_at_from_the_newest_old_one_to_the_first_that_can_be_read() {
        let files = plain([0, 10, 20, 30, 40]);
        assert_eq!(looked_at(&files, 100, &[2]), [4, 3, 2]);
        assert_eq!(looked_at(&files, 25, &[0, 1, 2, 3, 4]), [2]);
        assert_eq!(looked_at(&files, 15, &[]), [1], "the oldest stays in any case");
        assert_eq!(looked_at(&files, 5, &[]), [0; 0]);
        assert_eq!(looked_at(&files[..1], 100, &[0]), [0], "it is the newest");
        let gone = [file(0, Compression::None), file(1, Compression::None), file(2, Compression::Gzip), file(3, Compression::Gzip)];
        assert_eq!(looked_at(&gone, 100, &[0, 1, 2, 3]), [3, 1], "for plain ones a plain one");
    }

    #[test]
    fn the_earliest_clock_counts_and_differences_are_said() {
        let day = 86_400;
        let quiet = |now, latest| Now { now, latest, skew: None, silence: None };
        assert_eq!(Now::new(1_000, None, None), quiet(1_000, 1_000));
        assert_eq!(Now::new(1_000, Some(200), Some(900)), quiet(800, 1_000));
        assert_eq!(Now::new(1_000, Some(-200), Some(1_300)), quiet(1_000, 1_300));
        assert_eq!(Now::new(100 * day, None, Some(100 * day - MARGIN - day)), quiet(99 * day, 100 * day));
        assert!(quiet(0, 1_000).is_before(1_001 + MARGIN) && !quiet(0, 1_000).is_before(1_000 + MARGIN));
        let jumped = Now::new(100 * day, Some(30 * day), Some(69 * day + 7));
        assert_eq!(jumped.now, 69 * day + MARGIN + 7);
        assert!(jumped.skew.is_some_and(|said| said.contains("30days ahead of")));
        assert!(Now::new(0, Some(-3_600), None).skew.is_some_and(|said| said.contains("1h behind")));
        let silent = Now::new(100 * day, None, Some(90 * day));
        assert!(silent.now == 90 * day + MARGIN && silent.silence.is_some_and(|said| said.contains("10days")));
    }
}
