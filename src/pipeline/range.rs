//! A range of hosts of one partition, restored: its objects are gone through side by side, host after host.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::budget::{self, Budget};
use crate::catalog::{self, Hosts, LastFooter, Source, Surveyed};
use crate::data::Snapshot;
use crate::error::{Error, Escaped, Result};
use crate::ledger::{NotOurs, ObjectLedger, Unreadable};
use crate::merge::{Input, Merge};
use crate::names::{Cluster, Host};
use crate::object::Found as Looked;
use crate::restore::{self, Collected, Collector, Lost, Put, Report, Target};
use crate::settings::RestoreSettings;
use crate::spool::{self, Spool};
use crate::store::Archive;
use crate::telemetry::Progress;
use crate::workers::{Workers, blocking};

/// What a run restores with.
pub struct Means<'a> {
    /// What it is told.
    pub settings: &'a RestoreSettings,
    /// Where rows are.
    pub archive: Archive,
    /// Who decodes and encodes.
    pub workers: Workers,
    /// Of the object that was opened last.
    pub footers: LastFooter,
    /// Where values may be.
    pub spool: spool::Tools,
    /// The memory for hosts.
    pub budget: Budget,
    /// Counters.
    pub progress: &'a Progress,
}

/// Hosts that come one after the other.
pub struct Range {
    /// Their partition.
    pub surveyed: Arc<Surveyed<()>>,
    /// The first instant that is wanted, and the first behind it.
    pub times: (i64, i64),
    /// In order.
    pub hosts: Vec<Wanted>,
}

/// A host, and the objects that have rows of it.
pub struct Wanted {
    /// Which host.
    pub host: Host,
    /// The objects by index, in the order of keys.
    pub parts: BTreeMap<usize, Part>,
}

/// How many rows an object has of a host, by its ledger.
#[derive(Default)]
pub struct Part {
    /// How many, or about so many.
    pub rows: u64,
    /// True if some of its rows may lie at other times.
    pub is_estimate: bool,
}

/// What became of one host's date.
pub struct HostDone {
    /// Whose it is.
    pub cluster: Cluster,
    /// Whose it is.
    pub host: Host,
    puts: Vec<(PathBuf, Put, u64)>,
    samples: u64,
    extent: Option<(i64, i64)>,
    conflicting: u64,
    damaged: Vec<Unreadable>,
    lost: Vec<Lost>,
}

impl HostDone {
    /// Adds it to the report. True if the host has a file.
    pub fn add_to(self, report: &mut Report) -> bool {
        let Self { host, puts, samples, extent, conflicting, damaged, lost, .. } = self;
        damaged.into_iter().for_each(|object| report.damage(object.name.clone(), Some(host.as_str()), object.to_string()));
        report.lose(host.as_str(), &lost);
        report.samples += samples;
        report.conflicting += conflicting;
        report.reach(extent);
        let has_file = !puts.is_empty();
        for (path, put, bytes) in puts {
            report.bytes += bytes;
            match put {
                Put::Written => report.files += 1,
                Put::Same => report.files_there += 1,
                Put::InTheWay => report.in_the_way.push(Escaped(&path).to_string()),
            }
        }
        has_file
    }
}

/// One object, on the way through it.
struct Reading<'a> {
    source: Source<'a>,
    /// None once it could not be gone on with: then each host is asked for by itself, as rows behind the damage may be whole.
    hosts: Option<Hosts<'a>>,
}

impl<'a> Reading<'a> {
    async fn open(source: Source<'a>, (first, last): (&str, &str)) -> Result<Self> {
        let hosts = Hosts::open(source, |low, high| low <= last && first <= high).await?.ok();
        Ok(Self { source, hosts })
    }

    /// The rows of a host; hosts must be asked for in order.
    async fn rows_of(&mut self, host: &Host, times: (i64, i64), spool: impl Fn() -> Spool) -> Looked<Option<Snapshot>> {
        if let Some(hosts) = &mut self.hosts {
            match next_of(hosts, host, times, &spool).await? {
                Ok(found) => return Ok(Ok(found)),
                Err(_) => self.hosts = None,
            }
        }
        let (from, to) = times;
        let found = catalog::rows_between(self.source, host, (from, to - 1), spool()).await?;
        Ok(found.map(Some))
    }
}

/// Goes on to a host. None if it has no rows there.
async fn next_of(hosts: &mut Hosts<'_>, host: &Host, (from, to): (i64, i64), spool: impl Fn() -> Spool) -> Looked<Option<Snapshot>> {
    loop {
        let passed = match hosts.host().await? {
            Err(why) => return Ok(Err(why)),
            Ok(Some(next)) if next < *host => hosts.skip().await?,
            Ok(Some(next)) if next == *host => return Ok(hosts.take(from..=to - 1, spool()).await?.map(Some)),
            Ok(_) => return Ok(Ok(None)),
        };
        if let Err(why) = passed {
            return Ok(Err(why));
        }
    }
}

impl Range {
    /// About how many rows it has.
    pub fn rows(&self) -> u64 {
        self.hosts.iter().map(Wanted::rows).sum()
    }

    /// Writes the checkpoints of all its hosts.
    ///
    /// # Errors
    /// The archive as a whole cannot be read, or the directory not be written.
    pub async fn restore(self, means: &Means<'_>, target: &Target) -> Result<Vec<HostDone>> {
        let objects = self.surveyed.holdings.objects();
        let mut readings: Vec<Option<Reading<'_>>> = objects.iter().map(|_| None).collect();
        let mut all = Vec::new();
        for wanted in &self.hosts {
            all.push(self.restore_host(wanted, objects, &mut readings, means, target).await?);
        }
        Ok(all)
    }

    async fn restore_host<'a>(
        &'a self,
        wanted: &Wanted,
        objects: &'a [ObjectLedger],
        readings: &mut [Option<Reading<'a>>],
        means: &'a Means<'_>,
        target: &Target,
    ) -> Result<HostDone> {
        let cluster = &self.surveyed.partition.cluster;
        // once as they are read back, once as they are written
        let needed = 2 * budget::memory_of_rows(wanted.rows());
        let share = means.budget.take(needed).await;
        let room = share.bytes() as usize / if share.bytes() < needed { 2 * (wanted.parts.len() + 1) } else { 1 };
        let (mut inputs, mut read, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        // of rows that stand twice the first object's are the stronger, which the merge takes of the later input
        for (index, part) in wanted.parts.iter().rev() {
            let object = &objects[*index];
            match self.read_back(object, &mut readings[*index], wanted, (part.rows, room), means).await? {
                Ok(found) => {
                    read.push((object, part, found.is_some()));
                    inputs.extend(found.map(|snapshot| Input {
                        series: Arc::new(snapshot).cursor(),
                        held: false,
                        of_log: false,
                        derived: false,
                        times: self.times.0..self.times.1,
                    }));
                }
                Err(why) => damaged.push(Unreadable::new(means.archive.name_of(&object.key), why)),
            }
            means.progress.bytes_read.fetch_add(share_of(object, part.rows), Ordering::Relaxed);
        }
        let (windows, format) = (means.settings.windows, means.settings.format);
        let mut collector = Collector::new(windows, format, Spool::new(&means.spool, 0, room));
        let collect = move || {
            let mut merge = Merge::new(inputs).map_err(|unread| unread.error)?;
            while let Some(series) = merge.next_series().map_err(|unread| unread.error)? {
                collector.add(&series)?;
            }
            Ok((merge.tallies().to_vec(), collector.finish()?))
        };
        let (tallies, mut collected) = means.workers.run(collect).await?.map_err(Error::Spool)?;
        let conflicting = tallies.iter().map(|tally| tally.superseded).sum();
        let mut counts = tallies.iter().map(|tally| tally.rows);
        for (object, part, is_there) in read {
            let rows = if is_there { counts.next().unwrap_or(0) } else { 0 };
            if rows != part.rows && !part.is_estimate {
                let why = NotOurs::damaged(format!("it has {rows} rows of the host, and its ledger says {}", part.rows));
                damaged.push(Unreadable::new(means.archive.name_of(&object.key), why));
            }
        }
        let (samples, extent, lost) = (collected.rows, collected.extent, std::mem::take(&mut collected.lost));
        let mut done = HostDone { cluster: cluster.clone(), host: wanted.host.clone(), puts: Vec::new(), samples, extent, conflicting, damaged, lost };
        write(collected, means, target, &mut done).await?;
        means.progress.rows.fetch_add(done.samples, Ordering::Relaxed);
        Ok(done)
    }

    /// The rows that an object has of a host.
    async fn read_back<'a>(
        &'a self,
        object: &'a ObjectLedger,
        reading: &mut Option<Reading<'a>>,
        wanted: &Wanted,
        (rows, room): (u64, usize),
        means: &'a Means<'_>,
    ) -> Looked<Option<Snapshot>> {
        if reading.is_none() {
            let Means { archive, workers, footers, .. } = means;
            let last = self.hosts.last().map_or("", |last| last.host.as_str());
            *reading = Some(Reading::open(Source { archive, workers, footers, object }, (wanted.host.as_str(), last)).await?);
        }
        let Some(reading) = reading else { return Err(Error::Internal("an object was not opened".into())) };
        reading.rows_of(&wanted.host, self.times, || Spool::new(&means.spool, 4 * rows as usize, room)).await
    }
}

impl Wanted {
    fn rows(&self) -> u64 {
        self.parts.values().map(|part| part.rows).sum()
    }
}

/// The bytes of an object that so many rows of it take.
pub fn share_of(object: &ObjectLedger, rows: u64) -> u64 {
    (u128::from(object.size) * u128::from(rows) / u128::from(object.rows.max(1))) as u64
}

/// Writes all files of a host's date.
async fn write(collected: Collected, means: &Means<'_>, target: &Target, done: &mut HostDone) -> Result<()> {
    if collected.sheets.is_empty() {
        return Ok(());
    }
    let folder = match target.folder(&done.cluster, done.host.as_str())? {
        Ok(folder) => folder,
        Err(reason) => {
            (done.samples, done.extent) = (0, None);
            done.lost.push(Lost { series: "all".into(), rows: collected.rows, reason });
            return Ok(());
        }
    };
    let (collected, format) = (Arc::new(collected), means.settings.format);
    for index in 0..collected.sheets.len() {
        let path = target.path(&folder, collected.sheets[index].from);
        let (collected, place) = (Arc::clone(&collected), path.clone());
        let stage = move || Target::stage(&place, |out| restore::write(format, &collected.sheets[index], &collected.place, out));
        let staged = means.workers.run(stage).await??;
        let place = path.clone();
        let (put, bytes) = blocking(move || Target::publish(&place, staged)).await??;
        done.puts.push((path, put, bytes));
    }
    blocking(move || Target::settle(&folder)).await?
}
