//! Restoring: footers say what there is and how much it will take; then host by host, date by date, rows are read back, merged, and written
//! as checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytesize::ByteSize;
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::budget::Budget;
use super::lock::Lock;
use super::range::{Means, Part, Range, Wanted, share_of};
use super::{BUFFERS_KEPT, stopped_by};
use crate::buffers::Buffers;
use crate::catalog::{self, LastFooter, Listing, Surveyed};
use crate::error::{Error, Escaped, Result};
use crate::files::Filter;
use crate::ledger::Entry;
use crate::names::{Cluster, Date, Host};
use crate::partition::Partition;
use crate::restore::{self, Plan, Present, Report, Target};
use crate::settings::RestoreSettings;
use crate::spool;
use crate::store::Archive;
use crate::telemetry::{self, Progress, Restored, Stage};
use crate::workers::{Workers, blocking};

/// A range of hosts has about so many rows: its row groups are read once, and those at its ends twice.
const ROWS_OF_RANGE: u64 = 4 << 20;

/// Partitions whose footers are read ahead of the one that is restored.
const AHEAD: usize = 2;

/// Writes checkpoints of an archive's rows, which `open` opens; `shutdown` ends the run early.
pub async fn restore_in(
    settings: &RestoreSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Box<Report>> {
    let begun = Instant::now();
    let watch = &progress.watch;
    let archive = watch.at(Stage::Catalog, open())?;
    watch.watch_requests(archive.requests());
    let workers = Workers::new(settings.workers)?;
    let means = Means {
        settings,
        archive,
        workers: workers.clone(),
        footers: LastFooter::default(),
        spool: spool::Tools { buffers: Buffers::new((settings.memory / BUFFERS_KEPT) as usize), folder: settings.spool.clone() },
        budget: Budget::new(settings.memory),
        progress: &progress,
    };
    let filter = Filter { clusters: settings.part.clusters.clone(), host: settings.host.clone(), shard: None };
    let restoring = Restoring { filter, means };
    tracing::info!(archive = %settings.archive, directory = %Escaped(&settings.dir), version = env!("CARGO_PKG_VERSION"), "restoring");
    let mut report = Report { directory: settings.dir.clone(), dry_run: settings.dry_run, ..Report::default() };
    let done = stopped_by(|| workers.stop(), shutdown, watch.hurried(), restoring.run(&mut report)).await;
    report.interrupted = matches!(done, Err(Error::Interrupted));
    report.seconds = begun.elapsed().as_secs_f64();
    report.peak_memory = telemetry::peak_memory();
    report.damaged.iter().for_each(|damaged| tracing::error!("rows are missing: {damaged}"));
    report.lost.iter().for_each(|lost| tracing::error!("not restored: {lost}"));
    report.in_the_way.iter().for_each(|path| tracing::error!(path, "left as it is: it has the name of a checkpoint, and other bytes"));
    let (files, files_there, hosts, samples, bytes) = (report.files, report.files_there, report.hosts, report.samples, report.bytes);
    if done.is_ok() || files > 0 {
        watch.figures().restore = Some(Restored { files, files_there, hosts, samples, bytes });
    }
    if !report.interrupted {
        watch.at(Stage::Restore, done)?;
    }
    Ok(Box::new(report))
}

struct Restoring<'a> {
    filter: Filter,
    means: Means<'a>,
}

impl Restoring<'_> {
    async fn run(&self, report: &mut Report) -> Result<()> {
        let settings = self.means.settings;
        catalog::info(&self.means.archive, None).await?;
        let listing = catalog::list(&self.means.archive, &settings.part, || self.check_stop()).await?;
        let filter = Filter { clusters: clusters_of(&self.means.archive, settings, &listing)?, ..self.filter.clone() };
        let present = self.present(&filter).await?;
        if !settings.force {
            present.check_alone(&settings.dir)?;
        }
        report.plan = self.plan(&listing, report).await?;
        self.check_plan(&report.plan, &present, report.damaged.is_empty())?;
        if settings.dry_run {
            return Ok(());
        }
        let dir = &settings.dir;
        let target = Target::make(dir, settings.format)?;
        let _lock = Lock::take(dir, None, None)?;
        // again: until now another run may have written there
        self.present(&filter).await?.clear()?;
        self.means.progress.hosts_expected.fetch_add(report.plan.hosts, Ordering::Relaxed);
        let clusters = self.restore(listing.partitions.into_keys().collect(), &target, report).await?;
        let folders = clusters.into_iter().map(|cluster| dir.join(cluster.as_str())).chain([dir.clone()]).collect::<Vec<_>>();
        blocking(move || folders.iter().try_for_each(|folder| Target::settle(folder))).await?
    }

    /// What is in the directory.
    async fn present(&self, filter: &Filter) -> Result<Present> {
        let RestoreSettings { dir, windows, format, .. } = self.means.settings;
        let (dir, windows, format, filter) = (dir.clone(), *windows, *format, filter.clone());
        blocking(move || Present::look(&dir, &filter, windows, format)).await?
    }

    fn check_stop(&self) -> Result<()> {
        if self.means.workers.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The part of a date that is restored: its first instant, and the first behind it.
    fn times(&self, date: Date) -> (i64, i64) {
        (date.start().max(self.means.settings.windows.from), date.end().min(self.means.settings.windows.to))
    }

    /// Reads all footers, and reckons. What cannot be read goes to the report.
    async fn plan(&self, listing: &Listing, report: &mut Report) -> Result<Plan> {
        let mut plan = Plan { free_bytes: restore::free_space(&self.means.settings.dir)?, ..Plan::default() };
        let (mut clusters, mut hosts) = (BTreeSet::new(), BTreeSet::new());
        let mut partitions = pin!(catalog::survey(&self.means.archive, listing.partitions.clone(), |_, _| ()));
        while let Some(Surveyed { partition: Partition { cluster, date }, holdings, .. }) = partitions.try_next().await? {
            self.check_stop()?;
            holdings.unreadable.iter().for_each(|object| report.damage(object.name.clone(), None, object.to_string()));
            let times = self.times(date);
            let mut of_date = BTreeSet::new();
            for object in holdings.objects() {
                let mut rows = 0;
                for entry in object.entries.iter().filter(|entry| self.filter.admits_host(cluster.as_str(), entry.host())) {
                    let within = rows_within(entry, times);
                    rows += within;
                    if within > 0 {
                        of_date.insert(Box::<str>::from(entry.host()));
                    }
                }
                plan.rows += rows;
                self.means.progress.bytes_expected.fetch_add(share_of(object, rows), Ordering::Relaxed);
            }
            plan.partitions += u64::from(!of_date.is_empty());
            plan.files += of_date.len() as u64 * self.means.settings.windows.count(times.0, times.1);
            if !of_date.is_empty() {
                clusters.insert(cluster.clone());
            }
            hosts.extend(of_date.into_iter().map(|host| (cluster.clone(), host)));
        }
        plan.clusters = clusters.into_iter().map(|cluster| cluster.as_str().to_owned()).collect();
        plan.hosts = hosts.len() as u64;
        plan.bytes = plan.rows * restore::bytes_of_row(self.means.settings.format);
        Ok(plan)
    }

    /// There must be something to restore, and room for it.
    fn check_plan(&self, plan: &Plan, present: &Present, all_readable: bool) -> Result<()> {
        if plan.rows == 0 && all_readable {
            let host = self.means.settings.host.as_ref().map_or(String::new(), |host| format!(" of a host that matches {}", host.as_str().escape_debug()));
            return Err(Error::Usage(format!(
                "{:?} has no sample{host} between --from and --to\n  hint: leave --host, --from and --to out to see what there is, with --dry-run",
                self.means.archive
            )));
        }
        check_room(plan.bytes.saturating_sub(present.bytes), plan.free_bytes, &self.means.settings.dir)?;
        tracing::info!(samples = plan.rows, hosts = plan.hosts, bytes = plan.bytes, free = plan.free_bytes, "about so much will be written");
        Ok(())
    }

    /// Goes through all hosts of all dates. Gives the clusters that have a file.
    async fn restore(&self, partitions: Vec<Partition>, target: &Target, report: &mut Report) -> Result<BTreeSet<Cluster>> {
        // listed again: what was compacted since the plan was made stands in another object now
        let look = |partition: Partition| async move {
            let listed = catalog::list_partition(&self.means.archive, &partition).await?;
            catalog::look_into(&self.means.archive, partition, listed, |_, _| ()).await
        };
        let unreadable = Mutex::new(Vec::new());
        let note = |surveyed: &Surveyed<()>| unreadable.lock().unwrap_or_else(PoisonError::into_inner).extend(surveyed.holdings.unreadable.iter().cloned());
        let surveyed = futures::stream::iter(partitions).map(look).buffered(AHEAD).inspect_ok(note);
        let ranges = surveyed.map_ok(|surveyed| futures::stream::iter(self.ranges(surveyed).into_iter().map(Ok))).try_flatten();
        let restore = |range: Range| async move { range.restore(&self.means, target).await };
        // one more than can compute, as files wait for the disk
        let mut restored = pin!(ranges.map_ok(restore).try_buffer_unordered(self.means.settings.workers + 1));
        let (mut clusters, mut hosts) = (BTreeSet::new(), BTreeSet::new());
        while let Some(restored) = restored.try_next().await? {
            for done in restored {
                let (cluster, host) = (done.cluster.clone(), done.host.clone());
                if done.add_to(report) {
                    clusters.insert(cluster.clone());
                    hosts.insert((cluster, host));
                }
            }
            report.hosts = hosts.len() as u64;
            self.means.progress.hosts.store(report.hosts, Ordering::Relaxed);
        }
        for object in unreadable.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            report.damage(object.name.clone(), None, object.to_string());
        }
        report.in_the_way.sort();
        report.lost.sort();
        Ok(clusters)
    }

    /// The hosts of a partition that are restored, in ranges.
    fn ranges(&self, surveyed: Surveyed<()>) -> Vec<Range> {
        let times = self.times(surveyed.partition.date);
        let mut hosts: BTreeMap<Box<str>, BTreeMap<usize, Part>> = BTreeMap::new();
        for (index, object) in surveyed.holdings.objects().iter().enumerate() {
            for entry in object.entries.iter().filter(|entry| self.filter.admits_host(surveyed.partition.cluster.as_str(), entry.host())) {
                let rows = rows_within(entry, times);
                if rows > 0 {
                    let part = hosts.entry(entry.host().into()).or_default().entry(index).or_default();
                    part.rows += rows;
                    part.is_estimate |= entry.first.is_none_or(|first| first < times.0) || entry.last.is_none_or(|last| last >= times.1);
                }
            }
        }
        let surveyed = Arc::new(surveyed);
        let mut ranges: Vec<Range> = Vec::new();
        for (host, parts) in hosts {
            let wanted = Wanted { host: Host::new(&host), parts };
            match ranges.last_mut().filter(|range| range.rows() < ROWS_OF_RANGE) {
                Some(range) => range.hosts.push(wanted),
                None => ranges.push(Range { surveyed: Arc::clone(&surveyed), times, hosts: vec![wanted] }),
            }
        }
        ranges
    }
}

/// About how many rows of a source lie between two times.
fn rows_within(entry: &Entry, (from, to): (i64, i64)) -> u64 {
    let Some((first, last)) = entry.first.zip(entry.last).filter(|_| entry.written > 0) else { return 0 };
    let (all, within) = (last + 1 - first, to.min(last + 1) - from.max(first));
    if within <= 0 { 0 } else { (u128::from(entry.written) * within as u128).div_ceil(all.max(1) as u128) as u64 }
}

fn check_room(needed: u64, free: u64, dir: &Path) -> Result<()> {
    if needed <= free {
        return Ok(());
    }
    let (needed, free) = (ByteSize(needed), ByteSize(free));
    Err(Error::Usage(format!(
        "the checkpoints take about {needed}, and {free} are free at {}\n  hint: restore a shorter time or fewer hosts, or choose another disk",
        Escaped(dir)
    )))
}

/// The clusters that are restored: those that were named, which must be there; if none was, there must be one.
fn clusters_of(archive: &Archive, settings: &RestoreSettings, listing: &Listing) -> Result<Vec<String>> {
    let clusters: BTreeSet<&Cluster> = listing.partitions.keys().map(|partition| &partition.cluster).collect();
    let names = || clusters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(folder) = listing.empty.first() {
        return Err(Error::Usage(format!(
            "there is nothing at {}\n  hint: cc-archiver verify {} shows what an archive holds",
            archive.name_of(folder),
            settings.archive
        )));
    }
    if let (true, Some((first, last))) = (clusters.is_empty(), listing.others) {
        return Err(Error::Usage(format!("{archive:?} has no object between --from and --to; its dates go from {first} to {last}")));
    }
    if clusters.is_empty() {
        return Err(Error::Usage(format!("{archive:?} has no object of ours\n  hint: name the directory, or bucket and prefix, that archive writes to")));
    }
    if settings.part.clusters.is_empty() && clusters.len() > 1 {
        return Err(Error::Usage(format!("the archive has several clusters: {}\n  hint: say which, with --cluster", names())));
    }
    Ok(clusters.into_iter().map(|cluster| cluster.as_str().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_figures() {
        assert!(check_room(10, 10, Path::new("r")).is_ok());
        let refused = check_room(3 << 30, 1 << 20, Path::new("r")).expect_err("too much").to_string();
        assert!(refused.starts_with("the checkpoints take about 3.0 GiB, and 1.0 MiB are free at r\n  hint: "), "{refused}");
    }
}
