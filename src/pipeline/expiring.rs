//! `expire`: the floor is raised, then the table goes without what lies below it, then that is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::DateTime;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path as Key;
use tokio::time::Instant;

use super::compacting::try_deleting;
use super::{planning, stopped_by, tabling};
use crate::catalog::{self, Listing, Surveyed};
use crate::clock;
use crate::error::{Error, Escaped, Result, SetAside};
use crate::expire::{self, Expired};
use crate::fail_point;
use crate::files::Filter;
use crate::floor::{Floors, Mark};
use crate::names::{Cluster, Date};
use crate::partition::{ObjectKey, Partition};
use crate::prune::Now;
use crate::scan;
use crate::settings::{ExpireSettings, Part};
use crate::store::Archive;
use crate::telemetry::{ExpiredDate, Expiry, OnDisk, Progress, Stage};
use crate::workers::blocking;

/// Objects that are deleted before it is asked whether the run is to end: as many as a request to S3 may name.
const AT_A_TIME: usize = 1_000;

/// Deletes the old dates of an archive, which `open` opens; `shutdown` ends the run early.
pub async fn expire_in(
    settings: &ExpireSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Box<Expiry>> {
    let begun = Instant::now();
    let watch = &progress.watch;
    let archive = watch.at(Stage::Catalog, open())?;
    watch.watch_requests(archive.requests());
    tracing::info!(archive = %settings.archive, dry_run = settings.dry_run, version = env!("CARGO_PKG_VERSION"), "expiring");
    let stopped = AtomicBool::new(false);
    let mut report = Expiry { dry_run: settings.dry_run, clusters: settings.clusters.clone(), ..Expiry::default() };
    let expiring = Expiring { settings, archive, stopped: &stopped };
    let done = stopped_by(|| stopped.store(true, Ordering::Relaxed), shutdown, watch.hurried(), expiring.run(&mut report)).await;
    report.interrupted = matches!(done, Err(Error::Interrupted));
    report.seconds = begun.elapsed().as_secs_f64();
    report.clock.iter().for_each(|said| tracing::warn!("{said}"));
    report.set_aside.iter().for_each(|note| tracing::warn!(path = note.shown(), "set aside: {}", note.reason));
    // metrics tell no names, and there can be many
    watch.figures().expire = Some(Expiry { dates: Vec::new(), on_disk: None, ..report.clone() });
    if !report.interrupted {
        watch.at(Stage::Expire, done)?;
    }
    Ok(Box::new(report))
}

struct Expiring<'a> {
    settings: &'a ExpireSettings,
    archive: Archive,
    stopped: &'a AtomicBool,
}

/// Objects of partitions.
type Objects = BTreeMap<Partition, Vec<ObjectMeta>>;

impl Expiring<'_> {
    fn check_stop(&self) -> Result<()> {
        if self.stopped.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    async fn run(&self, report: &mut Expiry) -> Result<()> {
        let archive = &self.archive;
        if catalog::info(archive, None).await?.is_none() {
            return Err(Error::Usage(format!("{archive:?} holds no archive\n  hint: check the path, the bucket and its prefix")));
        }
        let listing = catalog::list(archive, &Part::default(), || self.check_stop()).await?;
        let clusters = self.clusters(&listing)?;
        let floor = self.first_kept(&listing, report)?;
        report.kept_from = Some(floor);
        let is_meant = |partition: &Partition| clusters.is_empty() || clusters.contains(&partition.cluster);
        let old = listing.partitions.into_iter().filter(|(partition, _)| partition.date < floor);
        let going: Objects = old.chain(listing.expired).filter(|(partition, _)| is_meant(partition)).collect();
        let foreign = self.look(going, report).await?;
        if let Some(tree) = &self.settings.checkpoints {
            report.on_disk = Some(self.on_disk(tree, floor, &listing.floors).await?);
        }
        if self.settings.dry_run {
            return Ok(());
        }
        try_deleting(archive, "expire must be able to delete; nothing was done: cannot delete").await?;
        tabling::check(archive).await?;
        let of_all = clusters.is_empty().then_some(None);
        for cluster in of_all.into_iter().chain(clusters.iter().cloned().map(Some)) {
            let mark = Mark { cluster, date: floor };
            if !listing.floors.has(&mark) {
                catalog::raise(archive, &mark).await?;
            }
        }
        fail_point::reach("floor-raised");
        // what came before the floor was there is seen now, and what comes after it does not count
        let Listing { expired, floors, .. } = catalog::list(archive, &Part::default(), || self.check_stop()).await?;
        let expired = expired.into_iter().filter(|(partition, _)| is_meant(partition)).collect();
        self.delete(expired, &floors, &foreign, report).await?;
        for mark in floors.superseded() {
            if let Err(e) = archive.delete(&mark.path()).await {
                tracing::warn!("a mark that says no more than a later one stays: {}", Error::store("cannot delete", archive.name_of(mark))(e));
            }
        }
        Ok(())
    }

    /// The clusters that are asked for; none: all.
    fn clusters(&self, listing: &Listing) -> Result<BTreeSet<Cluster>> {
        let there: BTreeSet<&Cluster> = listing.partitions.keys().chain(listing.expired.keys()).map(|partition| &partition.cluster).collect();
        let cluster = |name: &String| {
            let known = Cluster::new(name).filter(|cluster| there.contains(cluster) || listing.floors.of(cluster).date().is_some());
            known.ok_or_else(|| Error::Usage(format!("--cluster {name:?}: the archive has no such cluster\n  hint: cc-archiver ls shows those that it has")))
        };
        self.settings.clusters.iter().map(cluster).collect()
    }

    /// The first date that is kept. A clock that jumps ahead makes nothing old: ages count from the last time at which the archive was written to.
    fn first_kept(&self, listing: &Listing, report: &mut Expiry) -> Result<Date> {
        let written = listing.partitions.values().chain(listing.expired.values()).flatten().map(|object| object.last_modified.timestamp()).max();
        let now = Now::new(clock::now().timestamp(), self.archive.clock_ahead(), written);
        report.clock.extend(now.skew);
        if let Some(written) = written.filter(|_| now.silence.is_some()).and_then(|written| DateTime::from_timestamp(written, 0)) {
            report.clock.push(format!("nothing was archived since {}: ages count from then on, plus an hour", written.format("%Y-%m-%d %H:%M UTC")));
        }
        expire::first_kept(now.now, i64::try_from(self.settings.keep.as_secs()).unwrap_or(i64::MAX)).ok_or_else(|| {
            Error::Usage(format!(
                "--keep {} goes back to a time before 1970\n  hint: it is an age: 730days, 5years",
                humantime::format_duration(self.settings.keep)
            ))
        })
    }

    /// Says what goes. Gives what is not ours, and stays.
    async fn look(&self, going: Objects, report: &mut Expiry) -> Result<BTreeSet<Key>> {
        let sizes: BTreeMap<Partition, (u64, u64)> =
            going.iter().map(|(partition, objects)| (partition.clone(), (objects.len() as u64, objects.iter().map(|object| object.size).sum()))).collect();
        let mut others = BTreeSet::new();
        let mut surveyed = pin!(catalog::survey(&self.archive, going, |ledger, _| ledger.size));
        while let Some(Surveyed { partition, holdings, seen, foreign }) = surveyed.try_next().await? {
            self.check_stop()?;
            let (objects, bytes) = sizes.get(&partition).copied().unwrap_or_default();
            let strange = foreign.len() as u64;
            for key in foreign {
                report
                    .set_aside
                    .push(SetAside::new(self.archive.name_of(&key), "cc-archiver has not written it; it stays, and readers of the folder see its rows"));
                others.insert(key);
            }
            let rows = holdings.objects().iter().map(|object| object.rows).sum();
            let ours = objects - strange;
            // what is not ours has no bytes of ours
            let bytes = if strange == 0 { bytes } else { seen.values().sum() };
            if ours > 0 {
                report.add(ExpiredDate { partition: partition.to_string(), objects: ours, bytes, rows }, ours - seen.len() as u64);
            }
        }
        Ok(others)
    }

    /// Snapshots all of whose dates are not kept.
    async fn on_disk(&self, root: &Path, floor: Date, floors: &Floors) -> Result<OnDisk> {
        let (owned, filter) = (root.to_owned(), Filter { clusters: self.settings.clusters.clone(), ..Filter::default() });
        let floors = floors.clone();
        let look = move || -> Result<OnDisk> {
            let (tree, mut found) = (scan::scan(&owned, &filter)?, OnDisk::default());
            for files in &tree.clusters {
                let floor = floors.of(&files.cluster).at_least(floor);
                for (h, host) in files.hosts.iter().enumerate() {
                    for (s, file) in host.snapshots.iter().enumerate().filter(|(s, file)| planning::is_expired(&files.path_of(h, *s), file, floor)) {
                        found.snapshots += 1;
                        found.bytes += file.size;
                        found.paths.push(Escaped(&files.path_of(h, s)).to_string().into());
                    }
                }
            }
            Ok(found)
        };
        blocking(look).await?
    }

    /// Deletes what lies below the floor, but what is not ours.
    async fn delete(&self, expired: Objects, floors: &Floors, foreign: &BTreeSet<Key>, report: &mut Expiry) -> Result<()> {
        let folders: Vec<Partition> = expired.keys().cloned().collect();
        let keys = expired.into_values().flatten().map(|object| object.location).filter(|key| !foreign.contains(key));
        let ours: Vec<Expired> = keys.filter_map(|key| Expired::of(ObjectKey::parse(&key)?, floors)).collect();
        if !ours.is_empty() {
            tabling::replace(&self.archive, &ours.iter().map(|object| object.key().clone()).collect(), &[]).await?;
        }
        fail_point::reach("floor-tabled");
        for some in ours.chunks(AT_A_TIME) {
            self.check_stop()?;
            fail_point::reach("to-be-expired");
            let (left, why) = expire::delete(&self.archive, some.to_vec()).await.unzip();
            let left = left.unwrap_or_default();
            report.deleted += (some.len() - left.len()) as u64;
            if let (Some(first), Some(why)) = (left.first(), why) {
                let reason = format!("{} objects are still there, this one first: {why}", left.len());
                report.set_aside.push(SetAside::new(self.archive.name_of(first), reason));
            }
            fail_point::reach("expired");
        }
        for partition in folders {
            self.archive.clear_folder(&partition).await?;
        }
        Ok(())
    }
}
