//! Verifying: one pass over all footers, partition by partition; then bytes, rows and local snapshots, as far as asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use parquet::file::metadata::ParquetMetaData;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::comparing;
use super::listing::left_over;
use super::reader::Reader;
use super::stopped_by;
use crate::catalog::{self, Listing, Surveyed};
use crate::clock;
use crate::error::{Error, Escaped, Result};
use crate::files::{ClusterFiles, Filter};
use crate::floor::Floors;
use crate::ledger::{ObjectLedger, Unreadable};
use crate::names::{Cluster, DAY, Date, Digest};
use crate::object::Hashers;
use crate::partition::{ObjectKey, Partition};
use crate::prove::{self, Ledgers};
use crate::scan;
use crate::settings::VerifySettings;
use crate::store::Archive;
use crate::table::Table;
use crate::telemetry::{Progress, Stage, Verified};
use crate::verify::{self, Checkpoints, Crossings, Finding, Kind, Missing, Report};
use crate::workers::{Workers, blocking};

/// Checks an archive, which `open` opens; `shutdown` ends the run early.
pub async fn verify_in(
    settings: &VerifySettings,
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
    let verifying = Verifying { settings, hashers: Hashers::new(archive.clone(), workers.clone()), archive, workers: workers.clone(), progress };
    let checkpoints = settings.checkpoints.as_deref().map(|path| Escaped(path).to_string());
    tracing::info!(archive = %settings.archive, checkpoints, read_data = settings.read_data, decode = settings.decode, version = env!("CARGO_PKG_VERSION"), "verifying");
    let mut report = Report { read_data: settings.read_data, ..Report::default() };
    let done = stopped_by(|| workers.stop(), shutdown, watch.hurried(), verifying.run(&mut report)).await;
    report.interrupted = matches!(done, Err(Error::Interrupted));
    report.bytes_read = verifying.hashers.bytes();
    report.seconds = begun.elapsed().as_secs_f64();
    report.findings.iter().for_each(|found| {
        tracing::error!(kind = found.kind.name(), object = found.object, source = found.source, next = found.advice, "found: {}", found.reason)
    });
    report.nothing_read().iter().for_each(|why| tracing::info!("read in full: {why}"));
    report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    watch.figures().verify = Some(Verified { objects: report.objects, bytes: report.bytes_read, findings: report.findings_by_kind() });
    if !report.interrupted {
        watch.at(Stage::Verify, done)?;
    }
    Ok(Box::new(report))
}

struct Verifying<'a> {
    settings: &'a VerifySettings,
    archive: Archive,
    hashers: Hashers,
    workers: Workers,
    progress: Arc<Progress>,
}

/// What the later passes need of an object.
struct Slim {
    key: ObjectKey,
    size: u64,
    rows: u64,
    digest: Digest,
}

impl Verifying<'_> {
    async fn run(&self, report: &mut Report) -> Result<()> {
        catalog::info(&self.archive, None).await?;
        // before the listing: what the table has was there then
        let table = comparing::table_of(&self.archive, &mut report.findings).await?;
        let Listing { partitions, others, astray, empty, expired, floors } = catalog::list(&self.archive, &self.settings.part, || self.check_stop()).await?;
        report.warnings.extend(astray.iter().map(|key| format!("{}: it lies in no partition", self.archive.name_of(key))));
        report.warnings.extend(expired.iter().map(|(partition, objects)| left_over(&self.archive, partition, objects.len())));
        report.findings.extend(empty.iter().map(|folder| Finding::new(Kind::Empty, self.archive.name_of(folder), "no object is there")));
        let there = partitions.keys().cloned().collect();
        report.findings.extend(table.iter().flat_map(|table| comparing::emptied(&self.archive, table, &self.settings.part, &there)));
        let objects = self.footers(partitions, &floors, table.as_ref(), report).await?;
        if report.objects == 0 && report.findings.is_empty() {
            report.findings.push(match others {
                Some((first, last)) => Finding::nothing_there(
                    &self.settings.archive,
                    format!("no date of --date is there; of those that are, the first is {first} and the last {last}"),
                ),
                None => Finding::new(Kind::Empty, &self.settings.archive, "no object of ours is there"),
            });
        }
        self.read_data(&objects, report).await?;
        if self.settings.decode {
            self.decode(&objects, report).await?;
        }
        match &self.settings.checkpoints {
            Some(root) => self.checkpoints(root, &floors, report).await,
            None => Ok(()),
        }
    }

    fn check_stop(&self) -> Result<()> {
        if self.workers.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Reads all footers, and checks whatever they can tell. Gives what is readable.
    async fn footers(
        &self,
        listed: BTreeMap<Partition, Vec<ObjectMeta>>,
        floors: &Floors,
        table: Option<&Table>,
        report: &mut Report,
    ) -> Result<Vec<(Partition, Vec<Slim>)>> {
        let look = |ledger: &ObjectLedger, footer: &ParquetMetaData| verify::object(ledger, footer);
        let mut partitions = pin!(catalog::survey(&self.archive, listed, look));
        let mut slim: Vec<(Partition, Vec<Slim>)> = Vec::new();
        let mut crossings: Option<(Cluster, Crossings<_>)> = None;
        while let Some(Surveyed { partition, holdings, seen, foreign }) = partitions.try_next().await? {
            self.check_stop()?;
            if crossings.as_ref().is_none_or(|(cluster, _)| *cluster != partition.cluster) {
                self.finish(crossings.take(), report);
            }
            let floor = floors.of(&partition.cluster);
            let is_looked_at = move |date| self.settings.part.has(date) && floor.keeps(date);
            let (_, cluster) = crossings.get_or_insert_with(|| (partition.cluster.clone(), Crossings::new(is_looked_at)));
            report.partitions += 1;
            let foreign =
                foreign.iter().map(|key| format!("{}: cc-archiver has not written it; readers of the folder see its rows, too", self.archive.name_of(key)));
            report.warnings.extend(foreign);
            report.findings.extend(holdings.unreadable.iter().cloned().map(|object| Finding::unreadable(Kind::Unreadable, object)));
            report.findings.extend(table.and_then(|table| comparing::partition(&self.archive, table, &partition, &holdings)));
            let inconsistent = |(key, why): (ObjectKey, Vec<String>)| {
                let name = self.archive.name_of(&key);
                why.into_iter().map(move |why| Finding::new(Kind::Inconsistent, &name, why))
            };
            report.findings.extend(seen.into_iter().flat_map(inconsistent));
            report.findings.extend(verify::partition(&holdings, |object| self.archive.name_of(&object.key)));
            let missing = cluster.take(partition.date, &holdings);
            self.report_missing(&partition.cluster, missing, report);
            let mut objects = Vec::new();
            for ObjectLedger { key, size, rows, digest, entries, .. } in holdings.objects() {
                report.objects += 1;
                report.bytes += size;
                report.rows += rows;
                report.sources += entries.len() as u64;
                objects.push(Slim { key: key.clone(), size: *size, rows: *rows, digest: *digest });
            }
            slim.push((partition, objects));
        }
        self.finish(crossings, report);
        Ok(slim)
    }

    fn finish<F: Fn(Date) -> bool>(&self, crossings: Option<(Cluster, Crossings<F>)>, report: &mut Report) {
        if let Some((cluster, crossings)) = crossings {
            self.report_missing(&cluster, crossings.finish(), report);
        }
    }

    fn report_missing(&self, cluster: &Cluster, missing: Vec<Missing>, report: &mut Report) {
        report.findings.extend(missing.into_iter().map(|Missing { path, date, by }| {
            let folder = Partition { cluster: cluster.clone(), date };
            Finding::on_source(
                Kind::Incomplete,
                self.archive.name_of(&folder),
                &path,
                format!("it is not archived there, but its entry of {by} says that it has rows of {date}"),
            )
        }));
    }

    /// Whether an object is in today's sample: after 100/PERCENT days, all have been.
    fn is_sampled(&self, key: &ObjectKey, day: u64) -> bool {
        let Some(groups) = 100_u64.checked_div(u64::from(self.settings.read_data)) else { return false };
        let digest = blake3::hash(key.to_string().as_bytes());
        let number = digest.as_bytes().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number % groups == day % groups
    }

    async fn read_data(&self, objects: &[(Partition, Vec<Slim>)], report: &mut Report) -> Result<()> {
        let day = (clock::now().timestamp() / DAY) as u64;
        let sample: Vec<&Slim> = objects.iter().flat_map(|(_, objects)| objects).filter(|object| self.is_sampled(&object.key, day)).collect();
        self.progress.bytes_expected.fetch_add(sample.iter().map(|object| object.size).sum(), Ordering::Relaxed);
        let check = |object: &Slim| {
            let (key, size, digest) = (object.key.clone(), object.size, object.digest);
            async move { (self.hashers.check(&key.path(), size, digest).await, key, size) }
        };
        let before = report.findings.len();
        // in any order: a long object must not keep the workers from short ones
        let mut checked = futures::stream::iter(sample.into_iter().map(check)).buffer_unordered(self.settings.workers);
        while let Some((result, key, size)) = checked.next().await {
            self.check_stop()?;
            self.progress.bytes_read.fetch_add(size, Ordering::Relaxed);
            let name = self.archive.name_of(&key);
            report.objects_read += 1;
            if let Err(why) = result? {
                report.findings.push(Finding::unreadable(Kind::Digest, Unreadable::new(name, why)));
            }
        }
        report.findings[before..].sort_by(|a, b| a.object.cmp(&b.object));
        Ok(())
    }

    async fn decode(&self, objects: &[(Partition, Vec<Slim>)], report: &mut Report) -> Result<()> {
        let decode = |(partition, objects): &(Partition, Vec<Slim>)| {
            let (archive, workers, date) = (self.archive.clone(), self.workers.clone(), partition.date);
            let objects: Vec<_> = objects.iter().map(|object| (object.key.clone(), object.size, object.rows)).collect();
            async move {
                let (runtime, asked) = (Handle::current(), workers.clone());
                workers.run(move || runtime.block_on(verify::decode_partition(&archive, date, &objects, || !asked.is_stopped()))).await?
            }
        };
        let mut decoded = futures::stream::iter(objects.iter().map(decode)).buffered(self.settings.workers);
        while let Some(decoded) = decoded.try_next().await? {
            report.rows_decoded += decoded.rows;
            report.findings.extend(decoded.findings);
        }
        Ok(())
    }

    /// Local snapshots: archived or not. Only one that differs where nothing says so is a finding.
    async fn checkpoints(&self, root: &Path, floors: &Floors, report: &mut Report) -> Result<()> {
        let (owned, filter) = (root.to_owned(), Filter { clusters: self.settings.part.clusters.clone(), ..Filter::default() });
        let tree = blocking(move || scan::scan(&owned, &filter)).await??;
        let reader = Reader { tree: root.to_owned(), archive: self.archive.clone(), workers: self.workers.clone() };
        let mut local = Checkpoints::default();
        for files in &tree.clusters {
            let mut ledgers = Ledgers::new(floors.of(&files.cluster));
            let mut homes: BTreeMap<Date, Vec<(usize, usize)>> = BTreeMap::new();
            for (h, host) in files.hosts.iter().enumerate() {
                for (s, file) in host.snapshots.iter().enumerate().filter(|(_, file)| self.settings.part.has(file.home())) {
                    homes.entry(ledgers.floor.first_from(file.home())).or_default().push((h, s));
                }
            }
            for (home, sources) in homes {
                self.check_stop()?;
                ledgers.loaded.retain(|date, _| date.start() >= home.start() - DAY);
                self.local_date(&reader, files, home, sources, &mut ledgers, &mut local, report).await?;
            }
        }
        report.checkpoints = Some(local);
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "a step of the loop above")]
    async fn local_date(
        &self,
        reader: &Reader,
        files: &ClusterFiles,
        home: Date,
        sources: Vec<(usize, usize)>,
        ledgers: &mut Ledgers,
        local: &mut Checkpoints,
        report: &mut Report,
    ) -> Result<()> {
        reader.load(&files.cluster, BTreeSet::from([home]), ledgers).await?;
        let hash = |(h, s): (usize, usize)| {
            let (host, file) = (&files.hosts[h].host, &files.hosts[h].snapshots[s]);
            async move { Ok::<_, Error>((h, s, reader.name(files, host, file).await?)) }
        };
        let mut hashing = futures::stream::iter(sources.into_iter().map(hash)).buffered(self.settings.workers);
        while let Some((h, s, named)) = hashing.try_next().await? {
            self.check_stop()?;
            let (host, file) = (&files.hosts[h].host, &files.hosts[h].snapshots[s]);
            let path = file.path_in(&files.path.join(host.as_str()));
            let Ok(named) = named else {
                local.not_archived.push(Escaped(&path).to_string());
                continue;
            };
            let dates = ledgers.get(&home).and_then(|holdings| prove::dates_of(&named, holdings)).into_iter().flatten().collect();
            reader.load(&files.cluster, dates, ledgers).await?;
            if prove::look_up(&named, home, ledgers, true).is_ok() {
                local.archived += 1;
                continue;
            }
            if reader.is_expired(path.clone(), file, ledgers.floor).await? {
                local.below_the_floor += 1;
                continue;
            }
            local.not_archived.push(Escaped(&path).to_string());
            let twin = ledgers.get(&home).and_then(|holdings| {
                let same = |entry: &crate::ledger::Entry| entry.path == named.path && entry.size == file.size && entry.mtime == file.mtime;
                holdings.of_host(host.as_str()).find(|(_, entry)| same(entry) && entry.blake3 != named.digest).map(|(object, _)| object.key.clone())
            });
            if let Some(object) = twin {
                let reason = format!("{} has other bytes than those that were archived", Escaped(&path));
                report.findings.push(Finding::on_source(Kind::Mismatch, self.archive.name_of(&object), &named.path, reason));
            }
        }
        Ok(())
    }
}
