//! The wiring: the only part that knows every stage.
//!
//! scan → plan → read → decode → merge → rows → row group → object. One bounded stream of hosts per window of dates, in
//! sorted order; CPU work runs on blocking threads, as many at a time as there are workers; whatever fails, objects
//! that are under way are aborted before the error is returned.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::field;

use crate::buffers::Buffers;
use crate::catalog::{self, LastFooter};
use crate::encode::Tools;
use crate::error::{Error, Escaped, Result};
use crate::fail_point;
use crate::files::Tree;
use crate::info::{self, ArchiveInfo};
use crate::ledger::ObjectLedger;
use crate::object::Hashers;
use crate::partition::{Buckets, ObjectKey};
use crate::prove::{ObjectProof, Proofs};
use crate::scan;
use crate::schema::Layout;
use crate::settings::{ArchiveSettings, Dates, Depth, Encoder, ImportSettings, Moved};
use crate::signals::GRACE;
use crate::spool;
use crate::store::Archive;
use crate::telemetry::{Progress, PruneSummary, Sources, Stage, Summary};
use crate::upload::Transfers;
use crate::workers::{Workers, blocking};

use budget::Budget;
use pruning::Pruning;

mod budget;
mod cluster;
mod compacting;
mod comparing;
mod covering;
mod dry_run;
mod estimate;
mod examining;
mod expiring;
mod handed;
mod host;
mod joining;
mod inspecting;
mod keeping;
mod listing;
mod lock;
mod logs;
mod members;
mod merging;
mod moved;
mod objects;
mod open;
mod planning;
mod proof;
mod pruning;
mod range;
mod reader;
mod restoring;
mod rounds;
mod stored;
mod successors;
mod tabling;
mod useless;
mod verifying;

pub use compacting::compact_in;
pub use covering::cover_in;
pub use dry_run::DryRun;
pub use examining::examine_in;
pub use expiring::expire_in;
pub use inspecting::inspect_in;
pub use listing::list_in;
pub use pruning::prune_in;
pub use restoring::restore_in;
pub use tabling::{replace, table_in};
pub use verifying::verify_in;

/// This part of the budget may be in buffers that wait to be used again.
const BUFFERS_KEPT: u64 = 4;

/// What all parts of a run share.
#[derive(Debug)]
pub struct Context {
    archive: Archive,
    layout: Layout,
    /// Which snapshots are taken, and in which order of dates.
    choice: Choice,
    min_age: Duration,
    workers: Workers,
    /// Row groups that are encoded, or wait to be appended, of all objects.
    row_groups: Arc<Semaphore>,
    encoder: Encoder,
    tools: Arc<Tools>,
    /// Where values may be.
    spool: spool::Tools,
    transfers: Arc<Transfers>,
    budget: Budget,
    /// Of the object that rows were read back from last.
    footers: LastFooter,
    /// Who reads objects in full.
    hashers: Hashers,
    verify: Depth,
    /// What objects of this run proved to be.
    proofs: Mutex<Proofs>,
    progress: Arc<Progress>,
}

/// With what a run writes objects.
struct Means {
    layout: Layout,
    encoder: Encoder,
    workers: usize,
    memory: u64,
    spool: PathBuf,
    verify: Depth,
}

impl Means {
    fn of(settings: &ArchiveSettings) -> Self {
        let ArchiveSettings { layout, encoder, workers, memory, spool, verify, .. } = settings;
        Self { layout: *layout, encoder: *encoder, workers: *workers, memory: *memory, spool: spool.clone(), verify: *verify }
    }
}

/// Which snapshots of the tree a run takes, and in which order of dates.
#[derive(Debug, Clone, Copy, Default)]
struct Choice {
    before: Option<i64>,
    dates: Dates,
    newest_first: bool,
    leaves_moved: bool,
}

impl Choice {
    fn of(settings: &ArchiveSettings) -> Self {
        let ArchiveSettings { before, dates, newest_first, moved, .. } = *settings;
        Self { before, dates, newest_first, leaves_moved: moved == Moved::Leave }
    }
}

impl Context {
    fn new(means: Means, archive: Archive, progress: Arc<Progress>) -> Result<Self> {
        let Means { layout, encoder, workers: count, memory, spool, verify } = means;
        let buffers = Buffers::new((memory / BUFFERS_KEPT) as usize);
        let workers = Workers::new(count)?;
        Ok(Self {
            hashers: Hashers::new(archive.clone(), workers.clone()),
            footers: LastFooter::default(),
            verify,
            proofs: Mutex::default(),
            transfers: Arc::new(Transfers::new(&archive, buffers.clone(), Arc::clone(&progress))),
            archive,
            layout,
            choice: Choice::default(),
            min_age: Duration::ZERO,
            workers,
            row_groups: Arc::new(Semaphore::new(count + 1)),
            encoder,
            tools: Arc::new(Tools::new(&layout, buffers.clone())),
            spool: spool::Tools { buffers, folder: spool },
            budget: Budget::new(memory),
            progress,
        })
    }

    /// Makes everything that is under way fail with [`Error::Interrupted`] at its next step.
    fn stop(&self) {
        self.transfers.stop();
        self.row_groups.close();
        self.workers.stop();
    }

    fn is_stopped(&self) -> bool {
        self.workers.is_stopped()
    }

    fn keep_proof(&self, key: ObjectKey, proof: Result<ObjectProof, String>) {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).insert(key, proof);
    }
}

/// What a run comes to.
#[derive(Debug)]
pub enum Outcome {
    /// It was done, as far as the summary says.
    Done(Box<Summary>),
    /// It was to be printed only.
    Planned(Box<DryRun>),
}

/// Archives what is not archived yet. `shutdown` ends the run early, cleanly.
pub async fn archive(settings: &ArchiveSettings, archive: Archive, progress: Arc<Progress>, shutdown: impl Future<Output = ()>) -> Result<Outcome> {
    archive_into(settings, || Ok(archive), progress, shutdown).await
}

/// The same, but the archive is opened, and so perhaps made, only when the tree has proved to be one.
pub async fn archive_into(
    settings: &ArchiveSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Outcome> {
    let begun = Instant::now();
    let locked = lock::locked_tree(&settings.checkpoints, &settings.filter, settings.lock_file.as_deref(), settings.dry_run).await;
    let (_lock, tree) = progress.watch.at(Stage::Scan, locked)?;
    fail_point::reach("scanned");
    let logs = progress.watch.at(Stage::Read, logs::find(settings, &tree).await)?;
    let checkpoints = Some(Escaped(&settings.checkpoints).to_string());
    Archiving { settings, progress, begun, checkpoints, files: None, tree, logs }.run(open, shutdown).await
}

/// Archives the rows of Parquet files.
pub async fn import_into(
    settings: &ImportSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Outcome> {
    let begun = Instant::now();
    let ImportSettings { files, run: settings } = settings;
    let (paths, filter, memory) = (files.clone(), settings.filter.clone(), settings.memory / 2);
    let tree = progress.watch.at(Stage::Scan, blocking(move || scan::scan_files(&paths, &filter, memory)).await?)?;
    fail_point::reach("scanned");
    let settings = &ArchiveSettings { memory: settings.memory - scan::memory_of(&tree), ..settings.clone() };
    let files = Some(files.iter().map(|path| Escaped(path).to_string()).collect::<Vec<_>>().join(" "));
    Archiving { settings, progress, begun, checkpoints: None, files, tree, logs: None }.run(open, shutdown).await
}

/// What was found, and what is to be done with it.
struct Archiving<'a> {
    settings: &'a ArchiveSettings,
    progress: Arc<Progress>,
    begun: Instant,
    /// Where it was found, for people: a tree, or files.
    checkpoints: Option<String>,
    files: Option<String>,
    tree: Tree,
    logs: Option<logs::Found>,
}

impl Archiving<'_> {
    async fn run(self, open: impl FnOnce() -> Result<Archive>, shutdown: impl Future<Output = ()>) -> Result<Outcome> {
        let Self { settings, progress, begun, checkpoints, files, tree, logs } = self;
        let sources = if files.is_some() { Sources::RowGroups } else { Sources::Snapshots };
        let watch = &progress.watch;
        // files that are imported are no snapshots that somebody waits for
        let count_left = || {
            if sources == Sources::Snapshots {
                watch.left().finish(&tree, |file| settings.takes(file))
            }
        };
        let archive = watch.at(Stage::Catalog, open()).inspect_err(|_| count_left())?;
        watch.watch_requests(archive.requests());
        let context = Context::new(Means::of(settings), archive, Arc::clone(&progress))?;
        let context = Arc::new(Context { choice: Choice::of(settings), min_age: settings.min_age, ..context });
        fail_point::reach("opened");
        if settings.dry_run {
            let plan = async {
                let info = check_archive(&context, settings).await?;
                dry_run::plan(settings, &context, info, (&tree, sources)).await
            };
            return Ok(Outcome::Planned(Box::new(stopped_by(|| context.stop(), shutdown, watch.hurried(), plan).await?)));
        }
        let (hosts, snapshots) = tree.size();
        let clusters = tree.clusters.len();
        let [checkpoints, files] = [checkpoints, files].map(|from| from.map(field::display));
        tracing::info!(checkpoints, files, archive = %settings.archive, clusters, hosts, snapshots, version = env!("CARGO_PKG_VERSION"), "archiving");
        let mut summary = Summary { sources, hosts: hosts as u64, ..Summary::default() };
        tree.set_aside.iter().for_each(|note| watch.set_aside(Stage::Scan, note.clone(), &mut summary));
        let done = stopped_by(|| context.stop(), shutdown, watch.hurried(), archive_tree(settings, &context, &tree, logs, &mut summary)).await;
        summary.interrupted = matches!(done, Err(Error::Interrupted));
        summary.store_overwrites = context.archive.overwrites();
        summary.finish(begun);
        count_left();
        watch.figures().archive = Some(summary.clone());
        if !summary.interrupted {
            done?;
        }
        fail_point::reach("done");
        Ok(Outcome::Done(Box::new(summary)))
    }
}

/// Cluster by cluster, then what only logs have; at the end snapshots are pruned, if that is asked for.
async fn archive_tree(settings: &ArchiveSettings, context: &Arc<Context>, tree: &Tree, logs: Option<logs::Found>, summary: &mut Summary) -> Result<()> {
    let (progress, watch) = (&context.progress, &context.progress.watch);
    let info = watch.at(Stage::Catalog, check_archive(context, settings).await)?;
    progress.clusters.1.store(tree.clusters.len() as u64, Ordering::Relaxed);
    for files in &tree.clusters {
        progress.clusters.0.fetch_add(1, Ordering::Relaxed);
        rounds::archive_cluster(context, info, files, summary).await?;
    }
    if let Some(logs) = logs {
        logs.archive(context, info, settings, tree, summary).await?;
    }
    summary.table_version = tabling::keep_up(&context.archive, watch).await;
    watch.at(Stage::Prune, prune_tree(settings, context, tree, summary).await)
}

/// Runs to the end, or, once `shutdown` is ready, to the next point at which everything under way can be given up.
/// Or at once, when `hurried` is ready.
async fn stopped_by<T>(
    stop: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
    hurried: impl Future<Output = ()>,
    run: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (run, shutdown) = (pin!(run), pin!(shutdown));
    // asked first: no step is begun after it is ready
    match futures::future::select(shutdown, run).await {
        futures::future::Either::Right((done, _)) => done,
        futures::future::Either::Left(((), run)) => {
            tracing::warn!("stopping: uploads that are under way are given up, nothing more is deleted");
            stop();
            // a server that does not answer is not waited for; what it has of an upload, its lifecycle rule clears
            tokio::select! {
                biased;
                done = run => done,
                () = tokio::time::sleep(GRACE) => Err(Error::Interrupted),
                () = hurried => Err(Error::Interrupted),
            }
        }
    }
}

/// The archive must be there, and be written as it will be. The first run makes the archive's own object; one that is to touch nothing does not.
async fn check_archive(context: &Context, settings: &ArchiveSettings) -> Result<ArchiveInfo> {
    let is_shard = settings.filter.shard.is_some();
    let wished = ArchiveInfo { buckets: if is_shard { Buckets::FOR_SHARDS } else { Buckets::ONE }, cluster_column: context.layout.cluster_column };
    let info = catalog::info(&context.archive, (!settings.dry_run).then_some(wished)).await?.unwrap_or(wished);
    check_column(info, context.layout.cluster_column, || format!("{:?}", context.archive))?;
    if is_shard && info.buckets == Buckets::ONE {
        tracing::warn!("the archive was not made for shards: they write to it one after the other, and plan again when they meet");
    }
    Ok(info)
}

/// Settings that change the schema of an archive that exists are refused.
fn check_column(info: ArchiveInfo, wished: bool, name: impl FnOnce() -> String) -> Result<()> {
    if info.cluster_column == wished {
        return Ok(());
    }
    let (has, hint) =
        if info.cluster_column { ("has a column cluster", "add --with-cluster-column") } else { ("has no column cluster", "leave --with-cluster-column out") };
    Err(Error::Usage(format!("{} {has}, and this run would write the other schema\n  hint: {hint}, or choose another archive", name())))
}

/// An object must be written as the archive was made.
fn check_schema(context: &Context, info: ArchiveInfo, object: &ObjectLedger) -> Result<()> {
    check_column(object.info, context.layout.cluster_column, || context.archive.name_of(&object.key))?;
    if object.info.buckets == info.buckets {
        return Ok(());
    }
    let (name, own) = (context.archive.name_of(&object.key), context.archive.name_of(&info::KEY));
    let (has, says) = (object.info.buckets.count(), info.buckets.count());
    Err(Error::Usage(format!("{name} was written for {has} buckets, and {own} says {says}\n  hint: one of them is of another archive; put the right one back")))
}

/// Prunes what is old enough, if that is asked for, when all else is done. What was scanned at first is what may go.
async fn prune_tree(settings: &ArchiveSettings, context: &Context, tree: &Tree, summary: &mut Summary) -> Result<()> {
    let Some(rules) = settings.prune_after else { return Ok(()) };
    let pruning = Pruning::after(settings, context, rules, tree).await?;
    pruning.prune_after(tree, summary.prune.insert(PruneSummary::default())).await
}

/// A task that ends with whoever waits for it.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    #[expect(clippy::disallowed_methods, reason = "it ends with whoever waits for it")]
    fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T>;
    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context).map_err(Error::from)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
