//! Pruning: by the archive and the tree alone, date by date, so that ledgers of few dates are in memory and each host's oldest go first.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::keeping::{self, NotArchived};
use super::reader::{self, Reader};
use super::useless::Useless;
use super::{Context, lock, planning, stopped_by, successors};
use crate::catalog;
use crate::clock;
use crate::error::{Error, Escaped, Result};
use crate::fail_point;
use crate::files::{ClusterFiles, Filter, Hashed, Place, SnapshotFile, Tree, Unread};
use crate::floor::Floor;
use crate::ledger::ObjectLedger;
use crate::names::{DAY, Date, Host};
use crate::object::Hashers;
use crate::partition::{ObjectKey, Partition};
use crate::prove::{self, Ledgers, Named, Proofs, Unproven};
use crate::prune::{self, Age, Now, Readable};
use crate::scan;
use crate::settings::{ArchiveSettings, Dates, PruneRules, PruneSettings};
use crate::store::Archive;
use crate::telemetry::{KeepReason, Progress, PruneSummary, Stage};
use crate::workers::{Workers, blocking};

/// Snapshots of one date that are hashed, and then deleted, at a time.
const CANDIDATES_AT_A_TIME: usize = 4_096;
/// Sources of the date before that stay in memory, at most.
const KEPT_BEHIND: usize = 50_000;

/// Deletes snapshots that are old enough and proven. `open` opens the archive, which is only read; `shutdown` ends the run early.
pub async fn prune_in(
    settings: &PruneSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Box<PruneSummary>> {
    let begun = Instant::now();
    let locked = lock::locked_tree(&settings.checkpoints, &settings.filter, settings.lock_file.as_deref(), settings.dry_run).await;
    let (_lock, tree) = progress.watch.at(Stage::Scan, locked)?;
    let archive = progress.watch.at(Stage::Catalog, open())?;
    progress.watch.watch_requests(archive.requests());
    let workers = Workers::new(settings.workers)?;
    let hashers = Hashers::new(archive.clone(), workers.clone());
    let mut pruning = Pruning {
        last_change: last_change(&settings.checkpoints, &settings.filter, &tree).await?,
        reader: Reader { tree: settings.checkpoints.clone(), archive, workers },
        dates: Dates::default(),
        rules: settings.rules,
        dry_run: settings.dry_run,
        hashers,
        proofs: Proofs::new(),
        archived_first: BTreeSet::new(),
        progress: Arc::clone(&progress),
    };
    let (hosts, snapshots) = tree.size();
    let (clusters, dry_run, version) = (tree.clusters.len(), settings.dry_run, env!("CARGO_PKG_VERSION"));
    tracing::info!(checkpoints = %Escaped(&settings.checkpoints), archive = %settings.archive, clusters, hosts, snapshots, dry_run, version, "pruning");
    let mut summary = PruneSummary { dry_run: settings.dry_run, ..Default::default() };
    summary.attention.extend_from_slice(&tree.set_aside);
    let workers = pruning.reader.workers.clone();
    let run = async {
        progress.watch.at(Stage::Catalog, catalog::info(&pruning.reader.archive, None).await)?;
        progress.watch.at(Stage::Prune, pruning.prune_tree(&tree, &mut summary).await)
    };
    let done = stopped_by(|| workers.stop(), shutdown, progress.watch.hurried(), run).await;
    summary.interrupted = matches!(done, Err(Error::Interrupted));
    summary.finish(begun);
    // metrics tell no names, and there can be many
    let would_prune = std::mem::take(&mut summary.would_prune);
    progress.watch.figures().prune = Some(summary.clone());
    summary.would_prune = would_prune;
    if !summary.interrupted {
        done?;
    }
    Ok(Box::new(summary))
}

/// A run of pruning.
pub struct Pruning {
    /// Who reads the tree and the ledgers.
    pub reader: Reader,
    /// When a snapshot of it changed last, in unix s.
    pub last_change: Option<i64>,
    /// Snapshots whose names are of other dates stay.
    pub dates: Dates,
    /// What goes.
    pub rules: PruneRules,
    /// Nothing goes.
    pub dry_run: bool,
    /// Who reads objects.
    pub hashers: Hashers,
    /// What is known of objects; those that this run uploaded, to begin with.
    pub proofs: Proofs,
    /// Snapshots that are not archived, and would be before anything is pruned: in a dry run of archive.
    pub archived_first: BTreeSet<PathBuf>,
    /// Where bytes hashed are counted.
    pub progress: Arc<Progress>,
}

/// A snapshot that is old enough, by (index of the host, index of the snapshot).
#[derive(Clone, Copy)]
struct Candidate {
    host: u32,
    snapshot: u32,
    age: Age,
}

impl Pruning {
    /// What follows a run of archive, which has proven the objects that it wrote.
    pub async fn after(settings: &ArchiveSettings, context: &Context, rules: PruneRules, tree: &Tree) -> Result<Self> {
        Ok(Self {
            last_change: last_change(&settings.checkpoints, &settings.filter, tree).await?,
            reader: Reader { tree: settings.checkpoints.clone(), archive: context.archive.clone(), workers: context.workers.clone() },
            dates: settings.dates,
            rules,
            dry_run: settings.dry_run,
            hashers: context.hashers.clone(),
            proofs: std::mem::take(&mut *context.proofs.lock().unwrap_or_else(PoisonError::into_inner)),
            archived_first: BTreeSet::new(),
            progress: Arc::clone(&context.progress),
        })
    }

    /// The last part of a run that archives.
    pub async fn prune_after(mut self, tree: &Tree, summary: &mut PruneSummary) -> Result<()> {
        let begun = Instant::now();
        let done = self.prune_tree(tree, summary).await;
        summary.finish(begun);
        done
    }

    /// Prunes one cluster after the other.
    async fn prune_tree(&mut self, tree: &Tree, summary: &mut PruneSummary) -> Result<()> {
        let now = Now::new(clock::now().timestamp(), self.reader.archive.clock_ahead(), self.last_change);
        now.skew.iter().for_each(|said| tracing::warn!("{said}"));
        now.silence.iter().for_each(|said| tracing::info!("{said}"));
        summary.clock.extend(now.skew.iter().chain(&now.silence).cloned());
        let floors = catalog::floors(&self.reader.archive).await?;
        for files in &tree.clusters {
            self.prune_cluster(files, floors.of(&files.cluster), &now, summary).await?;
        }
        Ok(())
    }

    async fn prune_cluster(&mut self, files: &ClusterFiles, floor: Floor, now: &Now, summary: &mut PruneSummary) -> Result<()> {
        let limit = now.now.saturating_sub_unsigned(self.rules.older_than.as_secs());
        let mut ledgers = Ledgers::new(floor);
        let useless = successors::useless_ones(&self.reader, files, limit, now).await?;
        let mut homes: BTreeMap<Date, Vec<Candidate>> = BTreeMap::new();
        for (host, h) in files.hosts.iter().enumerate() {
            let readable: Readable = useless[host].keys().map(|index| (*index, false)).collect();
            for (snapshot, age) in prune::ages(&h.snapshots, limit, &readable).into_iter().enumerate() {
                match age {
                    // a zip archive goes as a whole, or not at all
                    _ if h.snapshots[snapshot].packed.is_some() => {}
                    _ if readable.contains_key(&snapshot) => {}
                    _ if !self.dates.has(h.snapshots[snapshot].home()) => summary.count_kept(KeepReason::OtherDates),
                    Age::Recent => summary.count_kept(KeepReason::Recent),
                    Age::Newest if !self.rules.include_newest => summary.count_kept(KeepReason::Newest),
                    _ => homes.entry(ledgers.floor.first_from(h.snapshots[snapshot].home())).or_default().push(Candidate {
                        host: host as u32,
                        snapshot: snapshot as u32,
                        age,
                    }),
                }
            }
        }
        for (host, ones) in files.hosts.iter().zip(useless) {
            for (snapshot, why) in ones.into_iter().filter(|(snapshot, _)| self.dates.has(host.snapshots[*snapshot].home())) {
                let path = self.reader.place_of(files, &host.host, &host.snapshots[snapshot]).path();
                keeping::useless(path, why, &self.progress.watch, summary);
            }
        }
        for (home, candidates) in homes {
            self.reader.check_stop()?;
            // what crosses midnight feeds the next date, and samples can lie a little before their snapshot: large ledgers are read again for those
            ledgers.loaded.retain(|date, holdings| *date >= home || date.start() >= home.start() - DAY && holdings.sources() <= KEPT_BEHIND);
            for some in candidates.chunks(CANDIDATES_AT_A_TIME) {
                self.prune_date(files, home, some.to_vec(), limit, &mut ledgers, summary).await?;
            }
        }
        Ok(())
    }

    async fn prune_date(
        &mut self,
        files: &ClusterFiles,
        home: Date,
        candidates: Vec<Candidate>,
        limit: i64,
        ledgers: &mut Ledgers,
        summary: &mut PruneSummary,
    ) -> Result<()> {
        self.reader.load(&files.cluster, BTreeSet::from([home]), ledgers).await?;
        let hashed = self.hash_all(files, home, candidates, ledgers, summary).await?;
        let dates = hashed.iter().filter_map(|(_, file)| prove::dates_of(&Named::from(file), ledgers.get(&home)?)).flatten().collect();
        self.reader.load(&files.cluster, dates, ledgers).await?;
        let mut objects: BTreeMap<&ObjectKey, &ObjectLedger> = BTreeMap::new();
        let (mut ready, mut not_archived) = (Vec::new(), Vec::new());
        for (candidate, file) in hashed {
            match prove::look_up(&Named::from(&file), home, ledgers, self.rules.conflicting) {
                Ok(archived) if candidate.age == Age::Newest && archived.to.max(file_of(files, candidate).1.from) >= limit => {
                    summary.count_kept(KeepReason::Newest)
                }
                Ok(archived) => {
                    objects.extend(archived.objects.into_iter().map(|object| (&object.key, object)));
                    ready.push(file);
                }
                Err(Unproven::NotArchived(_)) if self.archived_first.contains(&file.place().path()) => summary.would_archive(&file.place().path(), file.size()),
                Err(Unproven::NotArchived(reason)) => {
                    not_archived.push(NotArchived { place: file.place().clone(), file: file_of(files, candidate).1.clone(), reason });
                }
                Err(unproven) => keeping::unproven(&file, unproven, summary),
            }
        }
        keeping::not_archived(&self.reader, not_archived, &self.progress.watch, summary).await?;
        self.prove_all(objects.into_values().collect(), summary).await?;
        for file in ready {
            // deletions can follow each other without a wait: this is where a signal comes in between
            tokio::task::yield_now().await;
            self.reader.check_stop()?;
            let path = file.place().path();
            match prove::source(&file, home, ledgers, &self.proofs, self.rules.conflicting) {
                Ok(proven) => self.delete(proven, path, summary).await?,
                Err(unproven) => keeping::unproven(&file, unproven, summary),
            }
        }
        Ok(())
    }

    /// Hashes the candidates that a ledger may name, in order.
    async fn hash_all(
        &self,
        files: &ClusterFiles,
        home: Date,
        candidates: Vec<Candidate>,
        ledgers: &Ledgers,
        summary: &mut PruneSummary,
    ) -> Result<Vec<(Candidate, Hashed)>> {
        let (mut may_be_archived, mut not_archived) = (Vec::new(), Vec::new());
        for candidate in candidates {
            let (host, file) = file_of(files, candidate);
            let place = self.reader.place_of(files, host, file);
            let holdings = ledgers.get(&home);
            if holdings.is_some_and(|holdings| reader::is_named(holdings, &place, file.size)) {
                may_be_archived.push((candidate, place, file.size));
            } else if self.archived_first.contains(&place.path()) {
                summary.would_archive(&place.path(), file.size);
            } else if self.reader.is_expired(place.path(), file, ledgers.floor).await? {
                summary.count_kept(KeepReason::Expired);
            } else if let Some(object) = holdings.and_then(|holdings| holdings.unreadable_of(host.as_str())) {
                summary.keep(KeepReason::NotProven, place.path(), planning::undecidable(object));
            } else {
                not_archived.push(NotArchived { place, file: file.clone(), reason: "it is not archived".into() });
            }
        }
        keeping::not_archived(&self.reader, not_archived, &self.progress.watch, summary).await?;
        let hash_one =
            |(candidate, place, size): (Candidate, Place, u64)| async move { Ok::<_, Error>((candidate, place.path(), self.reader.hash(place, size).await?)) };
        let mut all = Vec::new();
        let mut hashing = futures::stream::iter(may_be_archived).map(hash_one).buffered(self.reader.workers.count());
        while let Some((candidate, path, hashed)) = hashing.try_next().await? {
            self.reader.check_stop()?;
            match hashed {
                Ok(file) => {
                    self.progress.bytes_read.fetch_add(file.size(), Ordering::Relaxed);
                    all.push((candidate, file));
                }
                Err(unread) => keeping::useless(path, Useless::Unread(unread), &self.progress.watch, summary),
            }
        }
        Ok(all)
    }

    /// Proves objects of which nothing is known yet, each once a run.
    async fn prove_all(&mut self, objects: Vec<&ObjectLedger>, summary: &mut PruneSummary) -> Result<()> {
        let unknown: Vec<&ObjectLedger> = objects.into_iter().filter(|object| !self.proofs.contains_key(&object.key)).collect();
        summary.objects_looked_at += unknown.len() as u64;
        summary.bytes_looked_at += unknown.iter().map(|object| object.size).sum::<u64>();
        // what a directory shows may not be there after a crash yet
        let partitions: BTreeSet<&Partition> = unknown.iter().map(|object| &object.key.partition).collect();
        for partition in partitions {
            self.reader.archive.settle(partition).await?;
        }
        let mut proven = Vec::with_capacity(unknown.len());
        {
            let (archive, hashers, depth) = (&self.reader.archive, &self.hashers, self.rules.depth);
            let prove = |object: &'_ ObjectLedger| {
                let object = object.clone();
                async move { Ok::<_, Error>((object.key.clone(), prove::present(archive, hashers, &object, depth).await?)) }
            };
            let mut proofs = futures::stream::iter(unknown.into_iter().map(prove)).buffered(self.reader.workers.count());
            while let Some((key, proof)) = proofs.try_next().await? {
                self.reader.check_stop()?;
                if let Err(reason) = &proof {
                    self.progress.watch.failed(Stage::Prove);
                    tracing::error!(object = archive.name_of(&key), "its proof failed: {reason}");
                }
                proven.push((key, proof));
            }
        }
        self.proofs.extend(proven);
        Ok(())
    }

    async fn delete(&self, proven: prove::Proven, path: PathBuf, summary: &mut PruneSummary) -> Result<()> {
        let bytes = proven.identity().size();
        if self.dry_run {
            summary.pruned += 1;
            summary.bytes += bytes;
            summary.would_prune.push(Escaped(&path).to_string().into());
            return Ok(());
        }
        let workers = self.reader.workers.clone();
        // asked again where it runs: what waits for a thread when the run is stopped is not deleted any more
        fail_point::reach("to-be-deleted");
        let deletion = self.reader.workers.run(move || (!workers.is_stopped()).then(|| prune::delete(proven))).await?;
        match deletion.ok_or(Error::Interrupted)? {
            Ok(()) => {
                fail_point::reach("deleted");
                tracing::debug!(path = %Escaped(&path), bytes, "pruned");
                summary.pruned += 1;
                summary.bytes += bytes;
            }
            Err(Unread::Vanished) => {}
            Err(Unread::Changed) => keeping::changed(path, "was replaced", summary),
            Err(Unread::Failed(reason)) => {
                self.progress.watch.failed(Stage::Prune);
                keeping::undeletable(&path, &reason, summary);
            }
        }
        Ok(())
    }
}

/// When a snapshot of the tree changed last, in unix s. A run that looks at some clusters or hosts only looks at all for this: those may be
/// silent for good. Shards are taken for alike.
async fn last_change(root: &Path, filter: &Filter, tree: &Tree) -> Result<Option<i64>> {
    let last = |tree: &Tree| tree.clusters.iter().flat_map(|files| &files.hosts).flat_map(|host| &host.snapshots).map(|file| file.mtime / 1_000_000_000).max();
    if filter.clusters.is_empty() && filter.host.is_none() {
        return Ok(last(tree));
    }
    let root = root.to_owned();
    let whole = blocking(move || scan::scan(&root, &Filter::default())).await??;
    Ok(last(&whole))
}

/// The host and the file.
fn file_of(files: &ClusterFiles, candidate: Candidate) -> (&Host, &SnapshotFile) {
    let host = &files.hosts[candidate.host as usize];
    (&host.host, &host.snapshots[candidate.snapshot as usize])
}
