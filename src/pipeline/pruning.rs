//! Pruning: by the archive and the tree alone, date by date, so that ledgers of few dates are in memory and each host's oldest go first.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt};

use super::{lock, planning, stopped_by};
use crate::catalog;
use crate::config::{PruneRules, PruneSettings};
use crate::error::{Error, Escaped, Result, SetAside};
use crate::fail_point;
use crate::files::{ClusterFiles, Place, SnapshotFile, Tree};
use crate::ledger::ObjectLedger;
use crate::names::{Cluster, DAY, Date};
use crate::object::Hashers;
use crate::partition::ObjectKey;
use crate::prove::{self, Hashed, Ledgers, Proofs, Unhashed, Unproven};
use crate::prune::{self, Age, Deletion};
use crate::store::Archive;
use crate::telemetry::{Progress, PruneSummary, Stage};
use crate::workers::Workers;

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
        archive,
        tree: settings.checkpoints.clone(),
        rules: settings.rules,
        dry_run: settings.dry_run,
        workers,
        hashers,
        proofs: Proofs::new(),
        progress: Arc::clone(&progress),
    };
    let (hosts, snapshots) = tree.size();
    let (clusters, dry_run, version) = (tree.clusters.len(), settings.dry_run, env!("CARGO_PKG_VERSION"));
    tracing::info!(checkpoints = %Escaped(&settings.checkpoints), archive = %settings.archive, clusters, hosts, snapshots, dry_run, version, "pruning");
    let mut summary = PruneSummary { dry_run: settings.dry_run, ..Default::default() };
    summary.attention.extend(tree.set_aside.iter().cloned().map(Into::into));
    let workers = pruning.workers.clone();
    let run = async {
        progress.watch.at(Stage::Catalog, catalog::any_object(&pruning.archive).await)?;
        progress.watch.at(Stage::Prune, pruning.prune_tree(&tree, &mut summary).await)
    };
    let done = stopped_by(|| workers.stop(), shutdown, progress.watch.hurried(), run).await;
    summary.interrupted = matches!(done, Err(Error::Interrupted));
    summary.finish(begun);
    progress.watch.figures().prune = Some(summary.clone());
    if !summary.interrupted {
        done?;
    }
    Ok(Box::new(summary))
}

/// A run of pruning.
pub struct Pruning {
    /// Where the proofs are.
    pub archive: Archive,
    /// The checkpoint tree.
    pub tree: PathBuf,
    /// What goes.
    pub rules: PruneRules,
    /// Nothing goes.
    pub dry_run: bool,
    /// Who reads files. Stopped: nothing more is read or deleted.
    pub workers: Workers,
    /// Who reads objects.
    pub hashers: Hashers,
    /// What is known of objects; those that this run uploaded, to begin with.
    pub proofs: Proofs,
    /// Where bytes hashed are counted.
    pub progress: Arc<Progress>,
}

/// A snapshot that is old enough, by (index of the host, index of the snapshot).
#[derive(Clone, Copy)]
struct Candidate {
    host: usize,
    snapshot: usize,
    age: Age,
}

impl Pruning {
    /// Prunes one cluster after the other.
    pub async fn prune_tree(&mut self, tree: &Tree, summary: &mut PruneSummary) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let limit = now.saturating_sub(self.rules.older_than.as_secs()) as i64;
        for files in &tree.clusters {
            self.prune_cluster(files, limit, summary).await?;
        }
        Ok(())
    }

    fn check_stop(&self) -> Result<()> {
        if self.workers.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }

    async fn prune_cluster(&mut self, files: &ClusterFiles, limit: i64, summary: &mut PruneSummary) -> Result<()> {
        let mut homes: BTreeMap<Date, Vec<Candidate>> = BTreeMap::new();
        for (host, h) in files.hosts.iter().enumerate() {
            for (snapshot, age) in prune::ages(&h.snapshots, limit).into_iter().enumerate() {
                match age {
                    Age::Recent => summary.kept.recent += 1,
                    Age::Newest if !self.rules.include_newest => summary.kept.newest += 1,
                    _ => homes.entry(h.snapshots[snapshot].home()).or_default().push(Candidate { host, snapshot, age }),
                }
            }
        }
        let mut ledgers = Ledgers::new();
        for (home, candidates) in homes {
            self.check_stop()?;
            // what crosses midnight feeds the next date, and samples can lie a little before their snapshot
            ledgers.retain(|date, _| date.start() >= home.start() - DAY);
            self.prune_date(files, home, candidates, limit, &mut ledgers, summary).await?;
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
        self.load(&files.cluster, BTreeSet::from([home]), ledgers).await?;
        let hashed = self.hash_all(files, home, candidates, ledgers, summary).await?;
        let dates = hashed.iter().filter_map(|(_, file)| prove::dates_of(file, ledgers.get(&home)?)).flatten().collect();
        self.load(&files.cluster, dates, ledgers).await?;
        let mut objects: BTreeMap<&ObjectKey, &ObjectLedger> = BTreeMap::new();
        let mut ready = Vec::new();
        for (candidate, file) in hashed {
            match prove::look_up(&file, home, ledgers, self.rules.conflicting) {
                Ok(archived) if candidate.age == Age::Newest && archived.to.max(file_of(files, candidate).1.from) >= limit => summary.kept.newest += 1,
                Ok(archived) => {
                    objects.extend(archived.objects.into_iter().map(|object| (&object.key, object)));
                    ready.push(file);
                }
                Err(unproven) => keep(&file, unproven, summary),
            }
        }
        self.prove_all(objects.into_values().collect()).await?;
        for file in ready {
            // deletions can follow each other without a wait: this is where a signal comes in between
            tokio::task::yield_now().await;
            self.check_stop()?;
            let path = file.place().path();
            match prove::source(&file, home, ledgers, &self.proofs, self.rules.conflicting) {
                Ok(proven) => self.delete(proven, path, summary).await?,
                Err(unproven) => keep(&file, unproven, summary),
            }
        }
        Ok(())
    }

    async fn load(&self, cluster: &Cluster, dates: BTreeSet<Date>, ledgers: &mut Ledgers) -> Result<()> {
        planning::load_ledgers(&self.archive, cluster, dates, ledgers).await.map(drop)
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
        let mut may_be_archived = Vec::new();
        for candidate in candidates {
            let (host, file) = file_of(files, candidate);
            let place = Place { tree: self.tree.clone(), cluster: files.cluster.clone(), host: host.clone(), name: file.name.clone() };
            let named = |holdings: &crate::ledger::Holdings| {
                let path = place.ledger_path();
                holdings.of_host(host.as_str()).any(|(_, entry)| entry.path == path && entry.size == file.size)
            };
            let holdings = ledgers.get(&home);
            if holdings.is_some_and(|holdings| named(holdings)) {
                may_be_archived.push((candidate, place, file.size));
            } else if let Some(object) = holdings.and_then(|holdings| holdings.unreadable.first()) {
                summary.kept.not_proven += 1;
                summary.attention.push(SetAside::new(place.path(), planning::undecidable(object)).into());
            } else {
                summary.kept.not_archived += 1;
                summary.attention.push(SetAside::new(place.path(), "kept: it is not archived; run archive").into());
            }
        }
        let hash_one = |(candidate, place, size): (Candidate, Place, u64)| async move {
            Ok::<_, Error>((candidate, place.path(), hash(&self.workers, place, size).await?))
        };
        let mut all = Vec::new();
        let mut hashing = futures::stream::iter(may_be_archived).map(hash_one).buffered(self.workers.count());
        while let Some((candidate, path, hashed)) = hashing.try_next().await? {
            self.check_stop()?;
            match hashed {
                Ok(file) => {
                    self.progress.bytes_read.fetch_add(file.size(), Ordering::Relaxed);
                    all.push((candidate, file));
                }
                Err(Unhashed::Vanished) => {}
                Err(Unhashed::Changed) => summary.waiting.push(SetAside::new(path, "kept: it changed during this run").into()),
                Err(Unhashed::Failed(reason)) => {
                    self.progress.watch.failed(Stage::Read);
                    summary.kept.undeletable += 1;
                    summary.attention.push(SetAside::new(path, format!("kept: it cannot be read: {reason}")).into());
                }
            }
        }
        Ok(all)
    }

    /// Proves objects of which nothing is known yet, each once a run.
    async fn prove_all(&mut self, objects: Vec<&ObjectLedger>) -> Result<()> {
        let unknown: Vec<&ObjectLedger> = objects.into_iter().filter(|object| !self.proofs.contains_key(&object.key)).collect();
        let mut proven = Vec::with_capacity(unknown.len());
        {
            let (archive, hashers, depth) = (&self.archive, &self.hashers, self.rules.depth);
            let prove = |object: &'_ ObjectLedger| {
                let object = object.clone();
                async move { Ok::<_, Error>((object.key.clone(), prove::present(archive, hashers, &object, depth).await?)) }
            };
            let mut proofs = futures::stream::iter(unknown.into_iter().map(prove)).buffered(self.workers.count());
            while let Some((key, proof)) = proofs.try_next().await? {
                self.check_stop()?;
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
            summary.would_prune.push(Escaped(&path).to_string());
            return Ok(());
        }
        let workers = self.workers.clone();
        // asked again where it runs: what waits for a thread when the run is stopped is not deleted any more
        fail_point::reach("to-be-deleted");
        let deletion = self.workers.run(move || (!workers.is_stopped()).then(|| prune::delete(proven))).await?;
        match deletion.ok_or(Error::Interrupted)? {
            Deletion::Done => {
                fail_point::reach("deleted");
                tracing::debug!(path = %Escaped(&path), bytes, "pruned");
                summary.pruned += 1;
                summary.bytes += bytes;
            }
            Deletion::Vanished => {}
            Deletion::Replaced => summary.waiting.push(SetAside::new(path, "kept: it was replaced during this run").into()),
            Deletion::Failed(reason) => {
                self.progress.watch.failed(Stage::Prune);
                cannot_delete(&path, &reason, summary);
            }
        }
        Ok(())
    }
}

/// Hashes a file when one of `workers` is free; gives up if they are stopped.
pub async fn hash(workers: &Workers, place: Place, size: u64) -> Result<Result<Hashed, Unhashed>> {
    let asked = workers.clone();
    workers.run(move || Hashed::new(place, size, || !asked.is_stopped())).await
}

fn file_of(files: &ClusterFiles, candidate: Candidate) -> (&crate::names::Host, &SnapshotFile) {
    let host = &files.hosts[candidate.host];
    (&host.host, &host.snapshots[candidate.snapshot])
}

fn cannot_delete(path: &Path, reason: &str, summary: &mut PruneSummary) {
    summary.kept.undeletable += 1;
    summary.attention.push(SetAside::new(path, format!("kept: it cannot be deleted: {reason}; does the directory belong to this user?")).into());
}

fn keep(file: &Hashed, unproven: Unproven, summary: &mut PruneSummary) {
    let (count, reason) = match unproven {
        Unproven::NotArchived(reason) => (&mut summary.kept.not_archived, format!("kept: {reason}; run archive")),
        Unproven::Conflict => {
            (&mut summary.kept.conflicting, "kept: some of its values contradict archived ones; --prune-conflicting deletes it all the same".into())
        }
        Unproven::Unreadable(object) => (&mut summary.kept.not_proven, planning::undecidable(&object)),
        Unproven::Doubt(reason) => (&mut summary.kept.not_proven, format!("kept: {reason}; look at the archive with verify --read-data")),
    };
    *count += 1;
    summary.attention.push(SetAside::new(file.place().path(), reason).into());
}
