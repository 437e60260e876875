//! One host in one window of dates: its snapshots read, decoded, merged with what the archive holds, and as rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::Context;
use super::budget::{self, Share};
use super::objects::HostDay;
use super::planning::undecidable;
use crate::catalog;
use crate::checkpoint::{self, Flaw};
use crate::data::{Snapshot, Tally};
use crate::error::{Error, Result, SetAside};
use crate::fail_point;
use crate::files::{Compression, HostFiles, SnapshotFile};
use crate::ledger::{Entry, Holdings, ObjectLedger};
use crate::merge::{self, Input};
use crate::names::{Date, Digest, Host};
use crate::plan::{self, Left};
use crate::read::{self, Unread};
use crate::rows;
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
    /// All snapshots of the host that are on disk.
    pub on_disk: Vec<SnapshotFile>,
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

/// What came of it.
#[derive(Default)]
pub struct HostDone {
    /// For each date, in order.
    pub days: Vec<(Date, HostDay)>,
    /// Sources that were archived on some date of the window, by index in the plan's work, and the dates outside of the window that they feed too.
    pub archived: Vec<(usize, Vec<Date>)>,
    /// What became of all samples.
    pub tallies: Vec<Tally>,
    /// Sources that end after `--before`, by index in the plan's work.
    pub too_recent: Vec<usize>,
    /// Sources that wait for the next run, by index in the plan's work.
    pub waiting: Vec<(usize, SetAside)>,
    /// Sources that cannot be archived, by index in the plan's work, and what failed.
    pub set_aside: Vec<(usize, Stage, SetAside)>,
    /// Bytes read from disk.
    pub bytes_in: u64,
}

/// A snapshot in memory, and how a ledger speaks of it.
struct Source {
    index: usize,
    file: SnapshotFile,
    left: Left,
    digest: Digest,
    dates: Vec<Date>,
    snapshot: Snapshot,
}

/// What of the archive takes part in a merge: rows, and the digests of the sources that hold them.
struct Held {
    snapshot: Arc<Snapshot>,
    digests: Vec<Digest>,
}

impl HostJob {
    /// A job for `sources` of the host whose directory lies in `cluster`.
    pub fn new(cluster: &Path, host: &HostFiles, sources: Vec<Planned>, window: Arc<BTreeMap<Date, Arc<Holdings>>>) -> Self {
        Self { host: host.host.clone(), path: cluster.join(host.host.as_str()), sources, on_disk: host.snapshots.clone(), window }
    }

    /// Bytes of memory that the host will take at most, its archived neighbours included.
    pub async fn memory(&self, context: &Context) -> Result<u64> {
        let mut total = 0;
        let files = self.sources.iter().map(|source| &source.file).chain(self.neighbours());
        for file in files {
            let decompressed = if file.format.compression == Compression::None { file.size } else { self.decompressed_size(context, file).await? };
            total += budget::memory_of(file.format.kind, file.format.compression, file.size, decompressed);
        }
        Ok(total)
    }

    /// Compressed files are run through once, to learn their size; one that fails here is reported when it is decoded.
    async fn decompressed_size(&self, context: &Context, file: &SnapshotFile) -> Result<u64> {
        let Ok(bytes) = read::read(&context.buffers, &self.path.join(&*file.name), file.size, file.mtime).await else { return Ok(0) };
        let compression = file.format.compression;
        context.workers.run(move || checkpoint::decompressed_size(&bytes, compression).unwrap_or(0)).await
    }

    /// Archived snapshots on disk that may overlap a source: those next to one in time.
    fn neighbours(&self) -> impl Iterator<Item = &SnapshotFile> {
        let ours: BTreeSet<&str> = self.sources.iter().map(|source| &*source.file.name).collect();
        let archived: BTreeSet<&str> = self
            .window
            .values()
            .flat_map(|holdings| holdings.of_host(self.host.as_str()))
            .filter(|(_, entry)| self.sources.iter().any(|source| entry.to > source.file.from))
            .filter_map(|(_, entry)| entry.path.rsplit('/').next())
            .collect();
        self.on_disk.iter().filter(move |file| archived.contains(&*file.name) && !ours.contains(&*file.name))
    }

    /// Does it all. Only an error of the archive, or of this program, is an error; what is wrong with files is in the result.
    pub async fn run(self, context: Arc<Context>, share: Share) -> Result<HostDone> {
        let mut done = HostDone::default();
        let mut sources = Vec::new();
        for planned in self.sources.clone() {
            if let Some(source) = self.load(&context, planned, &mut done).await? {
                sources.push(source);
            }
        }
        // the newer wins: larger from, then later to, then .bin over .json, then the larger path
        sources.sort_by(|a, b| {
            let rank = |s: &Source| (s.snapshot.from, s.snapshot.to, s.file.format.kind);
            rank(a).cmp(&rank(b)).then_with(|| a.file.name.cmp(&b.file.name))
        });
        let mut cache = BTreeMap::new();
        for (date, holdings) in self.window.iter() {
            // a run that was killed may have left the object of this date, but not that of its home date
            let is_done = |s: &Source| plan::is_done(&s.file, &self.host, s.digest, holdings);
            let of_date = |s: &&Source| s.dates.contains(date) && s.left.allows(*date) && !is_done(s);
            let new: Vec<usize> = sources.iter().enumerate().filter(|(_, s)| of_date(s)).map(|(i, _)| i).collect();
            if new.is_empty() {
                continue;
            }
            let held = match self.held(&context, *date, holdings, new.iter().map(|i| &sources[*i]), &mut cache).await {
                Ok(held) => held,
                // the object is damaged: what it holds is unknown, and so is what may be written
                Err(Error::Parquet { key, source, .. }) => {
                    let reason = undecidable(&key, &format!("it cannot be read back: {source}"));
                    for i in new.into_iter().rev() {
                        let source = sources.remove(i);
                        done.set_aside.push((source.index, Stage::Merge, SetAside::new(self.path.join(&*source.file.name), &*reason)));
                    }
                    continue;
                }
                Err(e) => return Err(e),
            };
            let host = self.host.clone();
            let date = *date;
            let (returned, (rows, entries, tallies)) = context
                .workers
                .run(move || {
                    let day = merge_day(&host, date, &sources, &new, &held);
                    (sources, day)
                })
                .await?;
            fail_point::reach("merged");
            sources = returned;
            done.tallies.extend(tallies);
            done.days.push((date, HostDay { rows, entries, share: share.clone() }));
        }
        for source in &sources {
            let elsewhere: Vec<Date> = source.dates.iter().copied().filter(|date| !self.window.contains_key(date) && source.left.allows(*date)).collect();
            if source.dates.iter().any(|date| self.window.contains_key(date) && source.left.allows(*date)) || !elsewhere.is_empty() {
                done.archived.push((source.index, elsewhere));
            }
        }
        Ok(done)
    }

    /// Reads and decodes one source; what stands in the way goes to `done`.
    async fn load(&self, context: &Context, planned: Planned, done: &mut HostDone) -> Result<Option<Source>> {
        let Planned { index, file, left } = planned;
        let path = self.path.join(&*file.name);
        let waits = |reason: &str| SetAside::new(path.clone(), reason);
        let bytes = match read::read(&context.buffers, &path, file.size, file.mtime).await {
            Ok(bytes) => bytes,
            Err(Unread::Changed) => {
                done.waiting.push((index, waits("it changed during this run; the next run takes it")));
                return Ok(None);
            }
            Err(Unread::Vanished) => {
                let reason = "it was removed before all of it was archived; does cc-backend clean up sooner than runs come by?";
                done.set_aside.push((index, Stage::Read, SetAside::new(path, reason)));
                return Ok(None);
            }
            Err(Unread::Failed(reason)) => {
                done.set_aside.push((index, Stage::Read, SetAside::new(path, reason)));
                return Ok(None);
            }
        };
        fail_point::reach("read");
        done.bytes_in += bytes.len() as u64;
        context.progress.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let (format, from, buffers) = (file.format, file.from, context.buffers.clone());
        let decoded = context
            .workers
            .run(move || {
                let digest = Digest::of(&bytes);
                let snapshot = checkpoint::decode(bytes, format, from, &buffers)?;
                let dates = snapshot.dates().map_err(|reason| Flaw { offset: None, reason })?;
                Ok::<_, Flaw>((digest, snapshot, dates))
            })
            .await?;
        let (digest, snapshot, mut dates) = match decoded {
            Ok(decoded) => decoded,
            Err(flaw) if is_young(&file, context.min_age) => {
                done.waiting.push((index, waits(&format!("it does not decode ({flaw}), and is young: it may still be being written"))));
                return Ok(None);
            }
            Err(Flaw { offset, reason }) => {
                done.set_aside.push((index, Stage::Decode, SetAside { path, offset, reason }));
                return Ok(None);
            }
        };
        if context.before.is_some_and(|before| snapshot.to > before) {
            done.too_recent.push(index);
            return Ok(None);
        }
        if !dates.contains(&file.home()) {
            dates.push(file.home());
            dates.sort();
        }
        let unreadable = dates.iter().filter(|date| left.allows(**date)).find_map(|date| self.window.get(date)?.unreadable.first());
        if let Some((object, reason)) = unreadable {
            done.set_aside.push((index, Stage::Catalog, SetAside::new(path, undecidable(object, reason))));
            return Ok(None);
        }
        fail_point::reach("decoded");
        Ok(Some(Source { index, file, left, digest, dates, snapshot }))
    }

    /// Archived rows of the date that lie where new ones do: from disk where the file is still there, else from the archive.
    async fn held(
        &self,
        context: &Context,
        date: Date,
        holdings: &Holdings,
        new: impl Iterator<Item = &Source>,
        cache: &mut BTreeMap<Digest, Option<Arc<Snapshot>>>,
    ) -> Result<Vec<Held>> {
        let spans = new.flat_map(|s| &s.snapshot.series).map(|series| series.span.within(date.start(), date.end())).filter(|span| span.len > 0);
        let Some((first, last)) = spans.map(|span| (span.start, span.last())).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else {
            return Ok(Vec::new());
        };
        let mut held = Vec::new();
        let mut read_back: Vec<(&ObjectLedger, (i64, i64), Vec<Digest>)> = Vec::new();
        for (object, entry) in holdings.of_host(self.host.as_str()).filter(|(_, entry)| entry.overlaps(first, last)) {
            let digests: Vec<Digest> = entry.held_by.iter().copied().chain([entry.blake3]).collect();
            let from_disk = if entry.stands_as_decoded() { self.archived_file(context, entry, cache).await? } else { None };
            if let Some(snapshot) = from_disk {
                held.push(Held { snapshot, digests });
                continue;
            }
            let overlap = (entry.first.map_or(first, |t| t.max(first)), entry.last.map_or(last, |t| t.min(last)));
            // dropped rows of this source stand in other objects, whose entries are in this list as well
            match read_back.iter_mut().find(|(other, _, _)| other.key == object.key) {
                Some((_, range, all)) => {
                    *range = (range.0.min(overlap.0), range.1.max(overlap.1));
                    all.extend(digests);
                }
                None => read_back.push((object, overlap, digests)),
            }
        }
        for (object, (first, last), digests) in read_back {
            tracing::debug!(object = %object.key, host = %self.host, first, last, "reading archived rows back");
            let snapshot = catalog::rows_between(&context.archive, object, &self.host, first, last).await?;
            held.push(Held { snapshot: Arc::new(snapshot), digests });
        }
        Ok(held)
    }

    /// The archived snapshot as it is still on disk; None if it is not, or no longer the same.
    async fn archived_file(&self, context: &Context, entry: &Entry, cache: &mut BTreeMap<Digest, Option<Arc<Snapshot>>>) -> Result<Option<Arc<Snapshot>>> {
        if let Some(known) = cache.get(&entry.blake3) {
            return Ok(known.clone());
        }
        let file = self.on_disk.iter().find(|file| entry.path == file.ledger_path(&self.host) && file.size == entry.size);
        let bytes = match file {
            Some(file) => read::read(&context.buffers, &self.path.join(&*file.name), file.size, file.mtime).await.ok(),
            None => None,
        };
        let snapshot = match (bytes, file) {
            (Some(bytes), Some(file)) => {
                let (expected, format, from, buffers) = (entry.blake3, file.format, file.from, context.buffers.clone());
                let decode = move || (Digest::of(&bytes) == expected).then(|| checkpoint::decode(bytes, format, from, &buffers).ok()).flatten().map(Arc::new);
                context.workers.run(decode).await?
            }
            _ => None,
        };
        cache.insert(entry.blake3, snapshot.clone());
        Ok(snapshot)
    }
}

fn is_young(file: &SnapshotFile, min_age: Duration) -> bool {
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(file.mtime.max(0) as u64));
    // clocks differ a little: a time of change just ahead is young, too
    let age = |changed| SystemTime::now().duration_since(changed).unwrap_or_else(|ahead| ahead.duration());
    changed.is_some_and(|changed| age(changed) < min_age)
}

/// Merges one date: rows, ledger entries of the new sources, and their tallies.
fn merge_day(host: &Host, date: Date, sources: &[Source], new: &[usize], held: &[Held]) -> (crate::data::Rows, Vec<Entry>, Vec<Tally>) {
    let new: Vec<&Source> = new.iter().map(|i| &sources[*i]).collect();
    let new_inputs = new.iter().map(|s| Input { snapshot: &s.snapshot, held: false });
    let inputs: Vec<Input> = new_inputs.chain(held.iter().map(|h| Input { snapshot: &h.snapshot, held: true })).collect();
    let mut merged = merge::merge(date, &inputs);
    let values: Vec<_> = inputs.iter().map(|input| input.snapshot.values.clone()).collect();
    let rows = rows::rows_of(host, &merged.series, &values);
    merged.tallies.truncate(new.len());
    let entry = |(source, tally): (&&Source, &Tally)| {
        let held_by: BTreeSet<Digest> = tally.holders.iter().flat_map(|i| held[*i - new.len()].digests.iter().copied()).collect();
        Entry {
            path: source.file.ledger_path(host),
            size: source.file.size,
            mtime: source.file.mtime,
            blake3: source.digest,
            from: source.snapshot.from,
            to: source.snapshot.to,
            dates: source.dates.clone(),
            rows: tally.rows,
            written: tally.written,
            dropped: tally.rows - tally.written,
            superseded: tally.superseded,
            conflicting: tally.conflicting,
            first: tally.extent.map(|(first, _)| first),
            last: tally.extent.map(|(_, last)| last),
            held_by: held_by.into_iter().collect(),
        }
    };
    let entries = new.iter().zip(&merged.tallies).map(entry).collect();
    (rows, entries, merged.tallies)
}
