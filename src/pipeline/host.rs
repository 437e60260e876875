//! One host in one window of dates: its snapshots read, decoded, merged with what the archive holds, and as rows.
//!
//! Each snapshot is gone through once. Its values are in memory if the host's share has room for all that the host needs; else
//! they stay on disk, and are read when their turn comes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::DateTime;
use tokio::sync::mpsc;

use super::Context;
use super::budget::{self, Share};
use super::handed::{Fed, HostDone};
use super::merging::{Merging, Source, Stopped};
use super::planning::undecidable;
use super::stored::{Failure, Held, Origin, Room, Stored, no_place};
use crate::checkpoint::Flaw;
use crate::clock;
use crate::error::{Error, Result, SetAside};
use crate::fail_point;
use crate::files::{HostFiles, SnapshotFile};
use crate::floor::Floor;
use crate::ledger::{Entry, Holdings, ObjectLedger};
use crate::names::{Date, Digest, Host};
use crate::plan::{self, Left};
use crate::read::Unread;
use crate::telemetry::Stage;

/// What to do with one host in one window.
#[derive(Debug, Clone)]
pub struct HostJob {
    /// The host.
    pub host: Host,
    /// Its directory.
    pub path: PathBuf,
    /// Sources that may have something for the window.
    pub sources: Vec<Planned>,
    /// Snapshots on disk that the archive has on a date of the window, by their names.
    pub on_disk: Vec<SnapshotFile>,
    /// From which date on it is archived.
    pub floor: Floor,
    /// Dates of the window, and what the archive holds of them.
    pub window: Arc<BTreeMap<Date, Arc<Holdings>>>,
}

/// A source as the plan has it.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Index in the plan's work.
    pub index: usize,
    /// The file.
    pub file: SnapshotFile,
    /// On which dates it is still to be archived.
    pub left: Left,
}

/// Bytes of memory that a host takes if the values of all its snapshots are in memory at once.
#[derive(Debug)]
pub struct Needs {
    /// For rows that are read back from each object, at most.
    read_back: u64,
    total: u64,
}

impl Needs {
    /// For everything.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// A file's part of a share.
    fn of(&self, file: &SnapshotFile, share: &Share) -> Room {
        Room { bytes: self.scaled(budget::memory_of(file), share), is_enough: self.fits(share) }
    }

    fn fits(&self, share: &Share) -> bool {
        self.total <= share.bytes()
    }

    fn scaled(&self, bytes: u64, share: &Share) -> u64 {
        if self.fits(share) { bytes } else { (u128::from(bytes) * u128::from(share.bytes()) / u128::from(self.total)) as u64 }
    }
}

/// What a host works with.
struct Means<'a> {
    context: &'a Arc<Context>,
    needs: &'a Needs,
    share: &'a Share,
}

/// What is read back of an object.
struct ReadBack<'a> {
    object: &'a ObjectLedger,
    times: (i64, i64),
    /// At most.
    rows: u64,
    digests: Vec<Digest>,
}

impl HostJob {
    /// A job for `sources` of the host whose directory lies in `cluster`.
    pub fn new(cluster: &Path, host: &HostFiles, sources: Vec<Planned>, floor: Floor, window: Arc<BTreeMap<Date, Arc<Holdings>>>) -> Self {
        let archived: BTreeSet<&str> =
            window.values().flat_map(|holdings| holdings.of_host(host.host.as_str())).filter_map(|(_, entry)| entry.path.rsplit('/').next()).collect();
        // of a host with many dates few files concern a window
        let on_disk = archived.into_iter().filter_map(|name| host.of_name(name)).cloned().collect();
        Self { host: host.host.clone(), path: cluster.join(host.host.as_str()), sources, on_disk, floor, window }
    }

    /// Bytes of memory that the host will take, its archived neighbours included, by the sizes of its files.
    pub fn needs(&self) -> Needs {
        let files = self.sources.iter().map(|source| &source.file).chain(self.neighbours()).map(budget::memory_of);
        // a source that is archived already under its name has other bytes now
        let on_disk: BTreeSet<(Box<str>, u64)> = self.neighbours().map(|file| (file.ledger_path(&self.host), file.size)).collect();
        let gone = self.near().filter(|entry| !on_disk.contains(&(entry.path.clone(), entry.size)) || !entry.stands_as_decoded());
        let read_back = gone.map(|entry| budget::memory_of_rows(entry.written)).sum();
        Needs { read_back, total: files.sum::<u64>() + read_back }
    }

    /// Archived snapshots that may overlap a source.
    fn near(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.window.values().flat_map(|holdings| holdings.of_host(self.host.as_str()).map(|(_, entry)| entry));
        entries.filter(|entry| self.sources.iter().any(|source| entry.to > source.file.from))
    }

    /// Archived snapshots on disk that may overlap a source: those next to one in time.
    fn neighbours(&self) -> impl Iterator<Item = &SnapshotFile> {
        let ours: BTreeSet<&str> = self.sources.iter().map(|source| &*source.file.name).collect();
        let archived: BTreeSet<&str> = self.near().filter_map(|entry| entry.path.rsplit('/').next()).collect();
        self.on_disk.iter().filter(move |file| archived.contains(&*file.name) && !ours.contains(&*file.name))
    }

    /// Does it all, and hands over what is done, piece by piece. Only an error of the archive, or of this program, is an error, or a file
    /// that changes in the midst of its rows; what else is wrong with files is in what is handed over.
    pub async fn run(self, context: Arc<Context>, needs: Needs, share: Share, to: mpsc::Sender<HostDone>) -> Result<()> {
        let means = Means { context: &context, needs: &needs, share: &share };
        let mut done = HostDone::default();
        let mut sources = Vec::new();
        for planned in self.sources.clone() {
            if let Some(source) = self.load(&means, planned, &mut done).await? {
                sources.push(source);
            }
        }
        // the newer wins: larger from, then later to, then .bin over .json, then the larger path
        sources.sort_by(|Source { stored: a, .. }, Source { stored: b, .. }| {
            let rank = |s: &Stored| (s.snapshot.from, s.snapshot.to, s.file.format.kind);
            rank(a).cmp(&rank(b)).then_with(|| a.file.name.cmp(&b.file.name))
        });
        done.again = self.to_be_planned_again(&sources);
        if !done.again.is_empty() {
            sources.retain(|source| done.again.iter().all(|(index, _)| *index != source.index));
        }
        let mut cache = BTreeMap::new();
        for (date, holdings) in self.window.iter() {
            let of_date = |s: &&Source| s.dates.contains(date) && s.left.holds(*date) && !self.is_done(s, holdings);
            let new: Vec<&Source> = sources.iter().filter(of_date).collect();
            if new.is_empty() {
                continue;
            }
            let held = self.held(&means, *date, holdings, &new, &mut cache).await?;
            match (Merging { context: &context, host: &self.host, share: &share, date: *date, new: &new, held }).run(&to).await {
                Ok(()) => {}
                // what the object holds is unknown, and so is what may be written
                Err(Stopped::Undecidable(reason)) => {
                    let out: BTreeSet<usize> = new.iter().map(|source| source.index).collect();
                    for source in sources.extract_if(.., |source| out.contains(&source.index)) {
                        done.set_aside.push((source.index, Stage::Merge, SetAside::new(source.stored.path, &*reason)));
                    }
                }
                Err(Stopped::By(e)) => return Err(e),
            }
        }
        done.fed = sources.iter().map(|source| self.fed(source)).collect();
        to.send(done).await.map_err(|_| Error::Interrupted)
    }

    /// If the header of a source is wrong, it must be planned again, and with it what feeds the same dates: or the older one of two could win.
    fn to_be_planned_again(&self, sources: &[Source]) -> Vec<(usize, Option<Box<[Date]>>)> {
        let is_refuted = |source: &Source| source.left.is_refuted_by(&source.dates);
        if !sources.iter().any(is_refuted) {
            return Vec::new();
        }
        let feeds = |source: &&Source| is_refuted(source) || source.dates.iter().any(|date| source.left.holds(*date) && self.window.contains_key(date));
        let again = |source: &Source| (source.index, is_refuted(source).then(|| source.dates.as_slice().into()));
        sources.iter().filter(feeds).map(again).collect()
    }

    /// True if the archive has it on the date of `holdings`: a run that was killed may have left that object, but not the one of its home date.
    fn is_done(&self, source: &Source, holdings: &Holdings) -> bool {
        plan::is_done(&source.stored.file, &self.host, source.stored.digest, holdings)
    }

    fn fed(&self, source: &Source) -> Fed {
        let dates: Vec<Date> = source.dates.iter().copied().filter(|date| source.left.holds(*date)).collect();
        let is_done = |date: &Date| self.window.get(date).is_some_and(|holdings| self.is_done(source, holdings));
        let done = dates.iter().copied().filter(is_done).collect();
        Fed { index: source.index, dates, done }
    }

    /// Reads one source; what stands in the way goes to `done`.
    async fn load(&self, means: &Means<'_>, planned: Planned, done: &mut HostDone) -> Result<Option<Source>> {
        let Planned { index, file, left } = planned;
        let path = file.path_in(&self.path);
        let loaded = Stored::load(means.context, path.clone(), file.clone(), means.needs.of(&file, means.share)).await?;
        if !matches!(loaded, Err(Failure::Unread(_))) {
            done.bytes_in += file.size;
            means.context.progress.bytes_read.fetch_add(file.size, Ordering::Relaxed);
        }
        let stored = match loaded {
            Ok(stored) => stored,
            Err(failure) => {
                let (stage, offset, reason) = why_not(failure, is_young(&file, means.context.min_age));
                let note = SetAside { path, offset, reason };
                match stage {
                    Some(stage) => done.set_aside.push((index, stage, note)),
                    None => done.waiting.push((index, note)),
                }
                return Ok(None);
            }
        };
        if means.context.choice.before.is_some_and(|before| stored.snapshot.to > before) {
            done.too_recent.push(index);
            return Ok(None);
        }
        // one without a row on a date that is kept is named on the first of them
        let kept = stored.snapshot.days.dates().filter(|date| self.floor.keeps(*date));
        let dates: BTreeSet<Date> = kept.chain([self.floor.first_from(file.home())]).collect();
        let dates: Vec<Date> = dates.into_iter().collect();
        let unreadable = dates.iter().filter(|date| left.holds(**date)).find_map(|date| self.window.get(date)?.unreadable_of(self.host.as_str()));
        if let Some(object) = unreadable {
            done.set_aside.push((index, Stage::Catalog, SetAside::new(path, undecidable(object))));
            return Ok(None);
        }
        fail_point::reach("decoded");
        Ok(Some(Source { index, left, dates, stored }))
    }

    /// Archived rows of the date that lie where new ones do: on disk where the file is still there, else in the archive.
    async fn held<'a>(
        &self,
        means: &Means<'_>,
        date: Date,
        holdings: &'a Holdings,
        new: &[&Source],
        cache: &mut BTreeMap<Digest, Option<Stored>>,
    ) -> Result<Vec<Held<'a>>> {
        let Some((first, last)) = new.iter().filter_map(|s| s.stored.snapshot.days.extent(date)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else {
            return Ok(Vec::new());
        };
        let mut held = Vec::new();
        let mut read_back: Vec<ReadBack> = Vec::new();
        for (object, entry) in holdings.of_host(self.host.as_str()).filter(|(_, entry)| entry.may_hold(first, last)) {
            let digests: Vec<Digest> = entry.held_by.iter().copied().chain([entry.blake3]).collect();
            let on_disk = if entry.stands_as_decoded() { self.archived_file(means, entry, cache).await? } else { None };
            if let Some(stored) = on_disk {
                held.push(Held { origin: Origin::File(stored), digests, of_log: false, derived: false });
                continue;
            }
            let overlap = match entry.is_log() {
                true => (entry.first.unwrap_or(first), entry.last.unwrap_or(last)),
                false => (entry.first.map_or(first, |t| t.max(first)), entry.last.map_or(last, |t| t.min(last))),
            };
            // dropped rows of this source stand in other objects, whose entries are in this list as well
            match read_back.iter_mut().find(|other| other.object.key == object.key) {
                Some(ReadBack { times, rows, digests: all, .. }) => {
                    *times = (times.0.min(overlap.0), times.1.max(overlap.1));
                    *rows += entry.written;
                    all.extend(digests);
                }
                None => read_back.push(ReadBack { object, times: overlap, rows: entry.written, digests }),
            }
        }
        let (room, all) = (means.needs.scaled(means.needs.read_back, means.share), read_back.iter().map(|found| found.rows).sum::<u64>());
        held.extend(read_back.into_iter().map(|ReadBack { object, times, rows, digests }| {
            let room = (u128::from(room) * u128::from(rows) / u128::from(all.max(1))) as u64;
            Held {
                origin: Origin::Object { object, times, room, rows },
                digests,
                of_log: object.is_of_logs(self.host.as_str()),
                derived: object.has_imports(self.host.as_str()),
            }
        }));
        Ok(held)
    }

    /// The archived snapshot as it is still on disk; None if it is not, or no longer the same.
    async fn archived_file(&self, means: &Means<'_>, entry: &Entry, cache: &mut BTreeMap<Digest, Option<Stored>>) -> Result<Option<Stored>> {
        if let Some(known) = cache.get(&entry.blake3) {
            return Ok(known.clone());
        }
        let mut found = None;
        if let Some(file) = self.on_disk.iter().find(|file| entry.path == file.ledger_path(&self.host) && file.size == entry.size) {
            let loaded = Stored::load(means.context, file.path_in(&self.path), file.clone(), means.needs.of(file, means.share)).await?;
            found = loaded.ok().filter(|stored| stored.digest == entry.blake3);
        }
        cache.insert(entry.blake3, found.clone());
        Ok(found)
    }
}

/// Why a snapshot was not loaded, with the byte where decoding failed; and at which stage, unless it is only to wait for the next run.
fn why_not(failure: Failure, is_young: bool) -> (Option<Stage>, Option<u64>, String) {
    match failure {
        Failure::Unread(Unread::Changed) => (None, None, "it changed during this run; the next run takes it".into()),
        Failure::Unread(Unread::Vanished) => {
            let reason = "it was removed before all of it was archived; does cc-backend remove snapshots before a run comes? Then run more often";
            (Some(Stage::Read), None, reason.into())
        }
        Failure::Unread(Unread::Failed(reason)) => (Some(Stage::Read), None, reason),
        Failure::Values(e) => (Some(Stage::Decode), None, format!("kept: {}", no_place(&e))),
        Failure::Flaw(flaw) if is_young => (None, None, format!("it does not decode ({flaw}), and is young: it may still be being written")),
        Failure::Flaw(Flaw { offset, reason }) => (Some(Stage::Decode), offset, reason),
    }
}

fn is_young(file: &SnapshotFile, min_age: Duration) -> bool {
    // clocks differ a little: a time of change just ahead is young, too
    let age = (clock::now() - DateTime::from_timestamp_nanos(file.mtime)).abs();
    age.to_std().is_ok_and(|age| age < min_age)
}
