//! The wiring: the only part that knows every stage.
//!
//! scan → plan → read → decode → merge → rows → row group → object. One bounded stream of hosts per window of dates, in
//! sorted order; CPU work runs on blocking threads, as many at a time as there are workers; whatever fails, objects
//! that are under way are aborted before the error is returned.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::catalog;
use crate::config::{Encoder, Settings};
use crate::error::{Error, Result};
use crate::files::{ClusterFiles, Tree};
use crate::ledger::ObjectLedger;
use crate::names::Date;
use crate::partition::Partition;
use crate::plan::ClusterPlan;
use crate::scan;
use crate::schema::Layout;
use crate::store::Archive;
use crate::telemetry::{Progress, Summary};
use crate::upload::Transfers;

use budget::Budget;
use host::{HostDone, HostJob, Planned};
use objects::{HostDay, Message, Writer, Written};

mod budget;
mod dry_run;
mod host;
mod lock;
mod objects;
mod planning;

pub use dry_run::DryRun;

/// Parts of all objects that are sent at a time.
const PARTS_IN_FLIGHT: usize = 4;

/// What all parts of a run share.
#[derive(Debug)]
pub struct Context {
    archive: Archive,
    layout: Layout,
    before: Option<i64>,
    min_age: Duration,
    workers: usize,
    cpu: Arc<Semaphore>,
    /// Row groups that are encoded, or wait to be appended, of all objects.
    row_groups: Arc<Semaphore>,
    encoder: Encoder,
    transfers: Arc<Transfers>,
    budget: Budget,
    progress: Arc<Progress>,
}

impl Context {
    fn new(settings: &Settings, archive: Archive, progress: Arc<Progress>) -> Self {
        Self {
            archive,
            layout: settings.layout,
            before: settings.before,
            min_age: settings.min_age,
            workers: settings.workers,
            cpu: Arc::new(Semaphore::new(settings.workers)),
            row_groups: Arc::new(Semaphore::new(settings.workers + 1)),
            encoder: settings.encoder,
            transfers: Arc::new(Transfers::new(PARTS_IN_FLIGHT)),
            budget: Budget::new(settings.memory),
            progress,
        }
    }

    /// Makes everything that is under way fail with [`Error::Interrupted`] at its next step.
    fn stop(&self) {
        self.transfers.slots.close();
        self.row_groups.close();
        self.cpu.close();
    }

    /// Runs CPU work off the async threads, when a worker is free.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let worker = Arc::clone(&self.cpu).acquire_owned().await.map_err(|_| Error::Interrupted)?;
        let done = spawn_blocking(move || {
            let _worker = worker;
            work()
        });
        Ok(done.await?)
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
pub async fn archive(settings: &Settings, archive: Archive, progress: Arc<Progress>, shutdown: impl Future<Output = ()>) -> Result<Outcome> {
    let begun = Instant::now();
    let (root, filter) = (settings.checkpoints.clone(), settings.filter.clone());
    let tree = spawn_blocking(move || scan::scan(&root, &filter)).await??;
    let _lock = if settings.dry_run { None } else { Some(lock::Lock::take(&settings.checkpoints, settings.lock_file.as_deref())?) };
    let context = Arc::new(Context::new(settings, archive, progress));
    if let Some(object) = catalog::any_object(&context.archive).await? {
        check_schema(&context, &object)?;
    }
    if settings.dry_run {
        return Ok(Outcome::Planned(Box::new(dry_run::plan(&context, &tree).await?)));
    }
    tracing::info!(checkpoints = %crate::error::Escaped(&settings.checkpoints), archive = %settings.archive, clusters = tree.clusters.len(), "archiving");
    let mut summary = Summary::default();
    summary.set_aside.extend(tree.set_aside.iter().cloned().map(Into::into));
    let done = stopped_by(&context, shutdown, archive_tree(&context, &tree, &mut summary)).await;
    match done {
        Ok(()) => {}
        Err(Error::Interrupted) => summary.interrupted = true,
        Err(e) => return Err(e),
    }
    summary.finish(begun);
    Ok(Outcome::Done(Box::new(summary)))
}

/// Runs to the end, or, once `shutdown` is ready, to the next point at which everything under way can be given up.
async fn stopped_by<T>(context: &Context, shutdown: impl Future<Output = ()>, run: impl Future<Output = T>) -> T {
    let (run, shutdown) = (pin!(run), pin!(shutdown));
    match futures::future::select(run, shutdown).await {
        futures::future::Either::Left((done, _)) => done,
        futures::future::Either::Right(((), run)) => {
            tracing::warn!("stopping: uploads that are under way are given up");
            context.stop();
            run.await
        }
    }
}

/// Settings that change the schema of an archive that exists are refused.
fn check_schema(context: &Context, object: &ObjectLedger) -> Result<()> {
    if object.cluster_column == context.layout.cluster_column {
        return Ok(());
    }
    let (has, hint) = if object.cluster_column {
        ("has a column cluster", "add --with-cluster-column")
    } else {
        ("has no column cluster", "leave --with-cluster-column out")
    };
    let name = context.archive.name_of(&object.key);
    Err(Error::Usage(format!("{name} {has}, and this run would write the other schema\n  hint: {hint}, or choose another archive")))
}

/// Archives one cluster after the other.
async fn archive_tree(context: &Arc<Context>, tree: &Tree, summary: &mut Summary) -> Result<()> {
    for files in &tree.clusters {
        let mut only = None;
        loop {
            let planned = planning::plan_cluster(context, files, only.as_ref()).await?;
            summary.set_aside.extend(planned.set_aside.into_iter().map(Into::into));
            if only.is_none() {
                summary.already_archived += planned.archived;
                summary.too_recent += planned.too_recent;
            }
            // sources that feed dates which nobody expected; their ledgers say so now, and the next plan goes by that
            let strays = ClusterRun::new(context, files, &planned.plan).run(summary, only.is_none()).await?;
            if strays.is_empty() || only.as_ref() == Some(&strays) {
                break;
            }
            only = Some(strays);
        }
    }
    Ok(())
}

/// Sources by (index of the host, index of the snapshot).
type Sources = BTreeSet<(usize, usize)>;

/// One plan of one cluster, carried out window by window, in the order of dates.
struct ClusterRun<'a> {
    context: &'a Arc<Context>,
    files: &'a ClusterFiles,
    plan: &'a ClusterPlan,
    windows: Vec<Vec<Date>>,
    /// Dates of later windows that sources were found to feed, by index of work.
    carried: BTreeMap<usize, BTreeSet<Date>>,
    /// Sources that are out: damaged, too recent, or waiting.
    out: BTreeSet<usize>,
    archived: BTreeSet<usize>,
    strays: Sources,
}

impl<'a> ClusterRun<'a> {
    fn new(context: &'a Arc<Context>, files: &'a ClusterFiles, plan: &'a ClusterPlan) -> Self {
        let windows = plan.windows(files, context.budget.open_objects(), context.budget.bytes_of_host());
        Self { context, files, plan, windows, carried: BTreeMap::new(), out: BTreeSet::new(), archived: BTreeSet::new(), strays: Sources::new() }
    }

    async fn run(mut self, summary: &mut Summary, first_round: bool) -> Result<Sources> {
        for window in 0..self.windows.len() {
            let jobs = self.jobs(window);
            let progress = &self.context.progress;
            let bytes: u64 = jobs.iter().flat_map(|job| &job.sources).map(|source| source.file.size).sum();
            progress.bytes_expected.fetch_add(bytes, Ordering::Relaxed);
            progress.hosts_expected.fetch_add(jobs.len() as u64, Ordering::Relaxed);
            self.run_window(window, jobs, summary).await?;
        }
        if first_round {
            let hosts: BTreeSet<usize> = self.archived.iter().map(|w| self.plan.work[*w].host).collect();
            summary.hosts += hosts.len() as u64;
            summary.files += self.archived.len() as u64;
            summary.new_versions += self.archived.iter().filter(|w| self.plan.work[**w].changed).count() as u64;
        }
        Ok(self.strays)
    }

    /// True if the source is read for the window: it is expected to feed it, or was found to.
    fn takes_part(&self, work: usize, window: usize) -> bool {
        let dates = &self.windows[window];
        let found = self.carried.get(&work).is_some_and(|found| found.iter().any(|date| dates.contains(date)));
        found || self.plan.work[work].left.dates().iter().any(|date| dates.contains(date))
    }

    fn jobs(&self, window: usize) -> Vec<HostJob> {
        let dates = self.windows[window].iter().filter_map(|date| Some((*date, Arc::clone(&self.plan.partitions.get(date)?.holdings))));
        let dates = Arc::new(dates.collect::<BTreeMap<_, _>>());
        let mut sources: BTreeMap<usize, Vec<Planned>> = BTreeMap::new();
        for (index, item) in self.plan.work.iter().enumerate() {
            if !self.out.contains(&index) && self.takes_part(index, window) {
                let file = self.files.hosts[item.host].snapshots[item.snapshot].clone();
                sources.entry(item.host).or_default().push(Planned { index, file, left: item.left.clone() });
            }
        }
        let job = |(host, sources)| HostJob::new(&self.files.path, &self.files.hosts[host], sources, Arc::clone(&dates));
        sources.into_iter().map(job).collect()
    }

    /// Streams the hosts of a window through to its objects, which are all complete, or all given up, at the end.
    async fn run_window(&mut self, window: usize, jobs: Vec<HostJob>, summary: &mut Summary) -> Result<()> {
        let mut writers = BTreeMap::new();
        let streamed = self.stream_hosts(window, jobs, &mut writers, summary).await;
        let mut first_error = streamed.err();
        for writer in writers.values() {
            if first_error.is_none() {
                writer.send(Message::Finish).await;
            }
        }
        for writer in writers.into_values() {
            match writer.join().await {
                Ok(written) => {
                    for Written { object, rows } in written {
                        summary.objects_written += 1;
                        summary.rows_written += rows;
                        summary.bytes_out += object.size;
                        summary.objects.push(object.key.to_string());
                    }
                }
                // a writer that was not told to finish says that it was interrupted; that is no cause
                Err(Error::Interrupted) if first_error.is_some() => {}
                Err(e) => first_error = first_error.filter(|first| !matches!(first, Error::Interrupted)).or(Some(e)),
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn stream_hosts(&mut self, window: usize, jobs: Vec<HostJob>, writers: &mut BTreeMap<Date, Writer>, summary: &mut Summary) -> Result<()> {
        let context = self.context;
        let ahead = context.workers + 2;
        let sized = futures::stream::iter(jobs).map(|job| async move { Ok::<_, Error>((job.memory(context).await?, job)) }).buffered(ahead);
        // shares are taken one after the other, in the order of hosts
        let shared = sized.and_then(|(bytes, job)| async move { Ok((context.budget.take(bytes).await, job)) });
        let started = shared.map_ok(|(share, job)| Task::spawn(job.run(Arc::clone(context), share)));
        let mut done = pin!(started.try_buffered(ahead));
        while let Some(host) = done.try_next().await? {
            context.progress.hosts.fetch_add(1, Ordering::Relaxed);
            let days = self.account(window, host?, summary);
            for (date, day) in days {
                let rows = day.rows.len() as u64;
                let writer = match writers.entry(date) {
                    Entry::Occupied(writer) => writer.into_mut(),
                    Entry::Vacant(none) => none.insert(self.writer(date)?),
                };
                if !writer.send(Message::Host(day)).await {
                    return Err(Error::Interrupted);
                }
                context.progress.rows.fetch_add(rows, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn writer(&self, date: Date) -> Result<Writer> {
        let partition = Partition { cluster: self.files.cluster.clone(), date };
        match self.plan.partitions.get(&date) {
            Some(plan) => Writer::start(Arc::clone(self.context), partition, plan.id, plan.from),
            None => unreachable!("a host only has rows for dates of its window, and those are in the plan"),
        }
    }

    /// Books what became of a host, and gives its rows on.
    fn account(&mut self, window: usize, host: HostDone, summary: &mut Summary) -> Vec<(Date, HostDay)> {
        summary.bytes_in += host.bytes_in;
        for tally in &host.tallies {
            summary.rows_read += tally.rows;
            summary.duplicates_dropped += tally.rows - tally.written;
            summary.already_archived_rows += tally.held;
            summary.conflicting_rows += tally.conflicting;
            summary.nan_skipped += tally.nan;
        }
        summary.too_recent += host.too_recent.len() as u64;
        self.out.extend(host.too_recent);
        self.out.extend(host.waiting.iter().chain(&host.set_aside).map(|(work, _)| *work));
        summary.waiting.extend(host.waiting.into_iter().map(|(_, note)| note.into()));
        summary.set_aside.extend(host.set_aside.into_iter().map(|(_, note)| note.into()));
        for (work, elsewhere) in host.archived {
            self.archived.insert(work);
            for date in elsewhere {
                self.find_place(window, work, date);
            }
        }
        host.days
    }

    /// A source feeds a date outside of the window: another window has it, will have it, or it goes astray.
    fn find_place(&mut self, window: usize, work: usize, date: Date) {
        match self.windows.iter().position(|dates| dates.contains(&date)) {
            Some(later) if later > window => {
                self.carried.entry(work).or_default().insert(date);
            }
            Some(earlier) if self.takes_part(work, earlier) => {}
            _ => {
                let item = &self.plan.work[work];
                self.strays.insert((item.host, item.snapshot));
            }
        }
    }
}

/// A task that ends with whoever waits for it.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
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
