//! `coverage`: ledgers of each cluster date by date, rows of its objects if that is asked for, and the snapshots of a tree beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use tokio::time::Instant;

use super::listing::nothing_there;
use super::{planning, stopped_by};
use crate::catalog::{self, Listing, Surveyed};
use crate::clock;
use crate::coverage::{Cluster, Disk, Hours, Look, Lookup, Note, Report, Source, State, Waiting};
use crate::error::{Error, Escaped, Result};
use crate::files::{ClusterFiles, Filter, Tree, Unread};
use crate::floor::Floors;
use crate::ledger::{Holdings, Unreadable};
use crate::listing::Unknown;
use crate::names::{DAY, Date};
use crate::partition::{ObjectKey, Partition};
use crate::scan;
use crate::settings::{CoverageSettings, NEWEST_DATES};
use crate::store::Archive;
use crate::telemetry::{Progress, Stage};
use crate::workers::{Workers, blocking};

/// A snapshot whose header cannot be read, and that no other follows, covers so many seconds; no snapshot is believed to cover more than a week.
const USUAL: i64 = DAY / 2;
const MOST: i64 = 7 * DAY;

/// Says which host has data for which hour; `open` opens the archive, `shutdown` ends the run early.
pub async fn cover_in(
    settings: &CoverageSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Box<Report>> {
    let begun = Instant::now();
    let watched = Arc::clone(&progress);
    let watch = &watched.watch;
    let archive = watch.at(Stage::Catalog, open())?;
    watch.watch_requests(archive.requests());
    let workers = Workers::new(settings.workers)?;
    let covering = Covering { settings, archive, workers: workers.clone(), progress };
    let mut report = Report {
        archive: settings.archive.to_string(),
        made: clock::now().timestamp(),
        exact: settings.exact,
        host: settings.host.as_ref().map(|pattern| pattern.as_str().to_owned()),
        clusters: Vec::new(),
        unreadable: Vec::new(),
        notes: Vec::new(),
        seconds: 0.0,
        interrupted: false,
        look: Look { width: settings.width, colours: settings.colours, all: settings.all },
    };
    let done = stopped_by(|| workers.stop(), shutdown, watch.hurried(), covering.run(&mut report)).await;
    report.interrupted = matches!(done, Err(Error::Interrupted));
    report.seconds = begun.elapsed().as_secs_f64();
    report.unreadable.iter().for_each(|found| tracing::warn!(object = found.object, next = found.advice, "cannot be read: {}", found.reason));
    if !report.interrupted {
        watch.at(Stage::Catalog, done)?;
    }
    Ok(Box::new(report))
}

struct Covering<'a> {
    settings: &'a CoverageSettings,
    archive: Archive,
    workers: Workers,
    progress: Arc<Progress>,
}

/// One cluster's part of the archive and of the tree, and its dates.
struct Place<'a> {
    name: String,
    partitions: BTreeMap<Partition, Vec<ObjectMeta>>,
    files: Option<&'a ClusterFiles>,
    dates: (Date, Date),
}

impl Covering<'_> {
    fn check_stop(&self) -> Result<()> {
        if self.workers.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn admits(&self, host: &str) -> bool {
        self.settings.host.as_ref().is_none_or(|pattern| pattern.matches(host))
    }

    async fn run(&self, report: &mut Report) -> Result<()> {
        let tree = match &self.settings.checkpoints {
            Some(root) => {
                let filter = Filter { clusters: self.settings.part.clusters.clone(), host: self.settings.host.clone(), shard: None };
                let root = root.clone();
                Some(blocking(move || scan::scan(&root, &filter)).await??)
            }
            None => None,
        };
        catalog::info(&self.archive, None).await?;
        let Listing { partitions, floors, others, empty, .. } = catalog::list(&self.archive, &self.settings.part, || self.check_stop()).await?;
        let is_on_disk =
            |folder: &str| tree.iter().flat_map(|tree| &tree.clusters).any(|files| folder == crate::partition::cluster_path(&files.cluster).as_ref());
        let missing = empty.iter().filter(|folder| !is_on_disk(folder.as_ref()));
        report.notes.extend(missing.map(|folder| format!("{}: no object is there", self.archive.name_of(folder))));
        for place in self.places(partitions, &floors, tree.as_ref()) {
            report.clusters.push(self.cluster(place, tree.as_ref(), &mut report.unreadable).await?);
        }
        if report.clusters.is_empty() && report.notes.is_empty() {
            report.notes.push(nothing_there(&self.archive, others));
        }
        Ok(())
    }

    /// The clusters of the archive and of the tree, each with its dates.
    fn places<'a>(&self, partitions: BTreeMap<Partition, Vec<ObjectMeta>>, floors: &Floors, tree: Option<&'a Tree>) -> Vec<Place<'a>> {
        let mut of_clusters: BTreeMap<String, BTreeMap<Partition, Vec<ObjectMeta>>> = BTreeMap::new();
        for (partition, listed) in partitions {
            of_clusters.entry(partition.cluster.as_str().to_owned()).or_default().insert(partition, listed);
        }
        let files: BTreeMap<&str, &ClusterFiles> = tree.iter().flat_map(|tree| &tree.clusters).map(|files| (files.cluster.as_str(), files)).collect();
        for name in files.keys() {
            of_clusters.entry((*name).to_owned()).or_default();
        }
        // a name can say any time
        let latest = Date::of(clock::now().timestamp() + DAY);
        let place = |(name, mut partitions): (String, BTreeMap<Partition, Vec<ObjectMeta>>)| {
            let files = files.get(name.as_str()).copied();
            let homes = files.iter().flat_map(|files| &files.hosts).flat_map(|host| &host.snapshots).map(|file| file.home());
            let floor = files.map(|files| floors.of(&files.cluster)).unwrap_or_default();
            let homes = homes.filter(|home| floor.keeps(*home) && self.settings.part.has(*home) && latest.is_none_or(|latest| *home <= latest));
            let dates: BTreeSet<Date> = partitions.keys().map(|partition| partition.date).chain(homes).collect();
            let (first, last) = (*dates.first()?, *dates.last()?);
            let newest = Date::of((last.start() - (NEWEST_DATES - 1) * DAY).max(0)).filter(|_| self.settings.part.dates == crate::settings::Dates::default());
            let first = newest.map_or(first, |newest| first.max(newest));
            partitions.retain(|partition, _| partition.date >= first);
            Some(Place { name, partitions, files, dates: (first, last) })
        };
        of_clusters.into_iter().filter_map(place).collect()
    }

    async fn cluster(&self, place: Place<'_>, tree: Option<&Tree>, unreadable: &mut Vec<Unknown>) -> Result<Cluster> {
        let Place { name, partitions, files, dates } = place;
        let mut hours = Hours::new(&name, dates.0, dates.1);
        let mut lookup = files.map(|files| Lookup::new(files, dates));
        // dates of which not all is known
        let mut doubtful: BTreeMap<Date, Doubtful> = BTreeMap::new();
        let mut surveyed = pin!(catalog::survey(&self.archive, partitions, |_, _| ()));
        while let Some(Surveyed { partition, holdings, .. }) = surveyed.try_next().await? {
            self.check_stop()?;
            unreadable.extend(holdings.unreadable.iter().map(Unknown::from));
            hours.take(partition.date, &holdings, !self.settings.exact, |host| self.admits(host));
            lookup.iter_mut().for_each(|lookup| lookup.take(partition.date, &holdings));
            let mut hosts = BTreeSet::new();
            if self.settings.exact {
                hosts = self.count(&partition, &holdings, &mut hours, unreadable).await?;
            }
            if !holdings.unreadable.is_empty() || !hosts.is_empty() {
                doubtful.insert(partition.date, Doubtful { holdings, hosts });
            }
        }
        let mut disk = None;
        if let (Some(files), Some(lookup)) = (files, lookup) {
            let is_known = |date: Date| (dates.0..=dates.1).contains(&date) && !doubtful.contains_key(&date);
            disk = Some(self.compare(files, dates, lookup.finish(is_known), &mut hours).await?);
        }
        doubtful.into_iter().for_each(|(date, doubtful)| hours.take_unknown(date, |host| doubtful.may_miss(host)));
        for note in tree.iter().flat_map(|tree| &tree.set_aside).filter(|note| files.is_some_and(|files| note.path.starts_with(&files.path))) {
            hours.set_aside(Note { path: note.shown(), reason: note.reason.clone() });
        }
        Ok(hours.finish(disk))
    }

    /// Counts the rows of a partition's objects. Gives the hosts of those that cannot be read.
    async fn count(&self, partition: &Partition, holdings: &Holdings, hours: &mut Hours, unreadable: &mut Vec<Unknown>) -> Result<BTreeSet<Box<str>>> {
        let objects: Vec<(ObjectKey, u64)> = holdings.objects().iter().map(|object| (object.key.clone(), object.size)).collect();
        let count = |(key, size): (ObjectKey, u64)| async move {
            Ok::<_, Error>((catalog::counts(&self.archive, &self.workers, &self.progress, &key, size).await?, key))
        };
        let mut counted = futures::stream::iter(objects.into_iter().map(count)).buffered(self.settings.workers);
        let mut hosts = BTreeSet::new();
        while let Some((counts, key)) = counted.try_next().await? {
            self.check_stop()?;
            match counts {
                Ok(counts) => {
                    for (host, counts) in counts.hosts.iter().filter(|(host, _)| self.admits(host)) {
                        hours.count(partition.date, host, &counts.hours, counts.metrics.iter().map(|(name, rows)| (&**name, *rows)));
                    }
                }
                Err(why) => {
                    let found = Unknown::from(&Unreadable::new(self.archive.name_of(&key), why));
                    hours.set_aside(Note { path: found.object.clone(), reason: found.reason.clone() });
                    unreadable.push(found);
                    let object = holdings.objects().iter().find(|object| object.key == key);
                    hosts.extend(object.iter().flat_map(|object| object.entries.iter()).map(|entry| Box::from(entry.host())));
                }
            }
        }
        Ok(hosts)
    }

    /// Puts what is not archived into the hours that it covers.
    async fn compare(&self, files: &ClusterFiles, dates: (Date, Date), found: (Disk, Waiting), hours: &mut Hours) -> Result<Disk> {
        let is_here = |home: Date| (dates.0..=dates.1).contains(&home);
        for host in files.hosts.iter().filter(|host| host.snapshots.iter().any(|file| is_here(file.home()))) {
            hours.on_disk(host.host.as_str());
        }
        let (disk, waiting) = found;
        let claim = |((h, s), state): (Source, State)| async move {
            let (path, file) = (files.path_of(h, s), files.hosts[h].snapshots[s].clone());
            let read = move || planning::header(&path, &file);
            Ok::<_, Error>((self.workers.run(read).await?, (h, s), state))
        };
        let mut claims = futures::stream::iter(waiting.into_iter().map(claim)).buffered(self.settings.workers);
        while let Some((claimed, (h, s), state)) = claims.try_next().await? {
            self.check_stop()?;
            let (host, file) = (&files.hosts[h], &files.hosts[h].snapshots[s]);
            let next = host.snapshots.iter().map(|file| file.from).find(|from| *from > file.from);
            let by_name = (file.from, next.unwrap_or(file.from + USUAL).min(file.from + USUAL));
            let extent = match claimed {
                Ok(Ok((from, to))) if from < to && to - from <= MOST => (from, to),
                Ok(Ok(_)) => by_name,
                Ok(Err(flaw)) => {
                    hours.set_aside(Note { path: Escaped(&files.path_of(h, s)).to_string(), reason: flaw.to_string() });
                    by_name
                }
                Err(Unread::Vanished) => continue,
                Err(_) => by_name,
            };
            hours.waiting(host.host.as_str(), extent, state);
        }
        self.progress.hosts.fetch_add(files.hosts.len() as u64, Ordering::Relaxed);
        Ok(disk)
    }
}

/// A date of which not all is known.
struct Doubtful {
    holdings: Holdings,
    /// Hosts whose rows could not be counted.
    hosts: BTreeSet<Box<str>>,
}

impl Doubtful {
    fn may_miss(&self, host: &str) -> bool {
        self.hosts.contains(host) || self.holdings.unreadable_of(host).is_some()
    }
}
