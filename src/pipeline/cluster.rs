//! One cluster's plan, carried out window by window: hosts are streamed to the open objects, and every source's dates find their place.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::handed::{Booked, Ended, Fed, HostDay, HostDone, Message, Round, Written};
use super::host::{HostJob, Planned};
use super::objects::Writer;
use super::open::Target;
use super::{Context, Task, proof};
use crate::error::{Error, Escaped, Result};
use crate::fail_point;
use crate::files::ClusterFiles;
use crate::names::Date;
use crate::partition::{Buckets, Partition};
use crate::plan::ClusterPlan;
use crate::prove::Claim;
use crate::telemetry::{Contradiction, Stage, Summary};
use crate::upload::Lost;

/// Pieces of a host that wait to be handed over: the dates of a window, and no more.
const HANDED_OVER: usize = 6;

/// One plan of one cluster, carried out window by window, in the order of dates.
pub struct ClusterRun<'a> {
    context: &'a Arc<Context>,
    buckets: Buckets,
    files: &'a ClusterFiles,
    plan: &'a ClusterPlan,
    windows: Vec<Vec<Date>>,
    /// For each window the sources that are read for it, by index of work.
    readers: Vec<BTreeSet<usize>>,
    /// The window that comes next.
    next: usize,
    /// Sources that are out: damaged, too recent, waiting, or to be planned again.
    out: BTreeSet<usize>,
    /// Dates on which sources that were read are to be archived, and are not yet, by index of work.
    open: BTreeMap<usize, Vec<Date>>,
    /// Whether a source is archived on all of these, by index of work.
    done: Vec<bool>,
}

impl<'a> ClusterRun<'a> {
    /// Prepares to carry out `plan` of the cluster's `files`, in an archive of so many buckets.
    pub fn new(context: &'a Arc<Context>, buckets: Buckets, files: &'a ClusterFiles, plan: &'a ClusterPlan) -> Self {
        let windows = plan.windows(files, context.budget.open_objects(), context.budget.bytes_of_host(), context.choice.newest_first);
        let readers = plan.readers(&windows);
        let run =
            Self { context, buckets, files, plan, windows, readers, next: 0, out: BTreeSet::new(), open: BTreeMap::new(), done: vec![false; plan.work.len()] };
        let (progress, all) = (&context.progress, || run.readers.iter().map(|works| works.iter().copied().collect::<Vec<_>>()));
        progress.bytes_expected.fetch_add(all().map(|works| run.bytes(&works)).sum(), Ordering::Relaxed);
        progress.hosts_expected.fetch_add(all().map(|works| run.by_host(&works).count() as u64).sum(), Ordering::Relaxed);
        run
    }

    /// Bytes on disk that are read for so many works.
    fn bytes(&self, works: &[usize]) -> u64 {
        works.iter().map(|work| self.plan.size(self.files, *work)).sum()
    }

    /// Bytes that are read for all windows.
    pub fn bytes_to_read(&self) -> u64 {
        self.readers.iter().flatten().map(|work| self.plan.size(self.files, *work)).sum()
    }

    /// The dates of all windows that are left.
    pub fn dates(&self) -> impl Iterator<Item = Date> {
        self.windows[self.next..].iter().flatten().copied()
    }

    /// The newest date of the next window; none if nothing is left.
    pub fn newest_of_next(&self) -> Option<Date> {
        self.windows.get(self.next)?.iter().max().copied()
    }

    /// Goes through the next window, tells `round` what is to be planned again, and gives the dates that are written.
    pub async fn run_next(&mut self, booked: &mut Booked, round: &mut Round, summary: &mut Summary) -> Result<&[Date]> {
        let window = self.next;
        self.next += 1;
        let (out, works): (Vec<usize>, Vec<usize>) = self.readers[window].iter().copied().partition(|work| self.out.contains(work));
        // what an earlier window found to be damaged, or the like, is not read again
        self.context.progress.bytes_expected.fetch_sub(self.bytes(&out), Ordering::Relaxed);
        self.run_window(window, &works, booked, round, summary).await?;
        fail_point::reach("window-done");
        Ok(&self.windows[window])
    }

    /// Works of each host.
    fn by_host<'b>(&self, works: &'b [usize]) -> impl Iterator<Item = &'b [usize]> + use<'a, 'b> {
        let plan = self.plan;
        works.chunk_by(|a, b| plan.work[*a].host == plan.work[*b].host)
    }

    /// Makes the job of a host when its turn comes: all at once would take much memory.
    fn jobs<'b>(&self, window: usize, works: &'b [usize]) -> impl Iterator<Item = HostJob> + use<'a, 'b> {
        let dates = self.windows[window].iter().filter_map(|date| Some((*date, Arc::clone(self.plan.partitions.get(date)?))));
        let dates = Arc::new(dates.collect::<BTreeMap<_, _>>());
        let (files, plan) = (self.files, self.plan);
        let source = |index: &usize| {
            let item = &plan.work[*index];
            Planned { index: *index, file: files.hosts[item.host].snapshots[item.snapshot].clone(), left: item.left.clone() }
        };
        let job = move |works: &[usize]| {
            let host = &files.hosts[plan.work[works[0]].host];
            HostJob::new(&files.path, host, works.iter().map(source).collect(), plan.floor, Arc::clone(&dates))
        };
        self.by_host(works).map(job)
    }

    /// Streams the hosts of a window through to its objects, which are all complete, or all given up, at the end.
    async fn run_window(&mut self, window: usize, works: &[usize], booked: &mut Booked, round: &mut Round, summary: &mut Summary) -> Result<()> {
        let mut writers = BTreeMap::new();
        let streamed = self.stream_hosts(window, works, &mut writers, round, summary).await;
        // what a stream of hosts needs of the archive is rows to merge with
        let mut first_error = streamed.err().map(|e| (Stage::Merge, e));
        for writer in writers.values() {
            if first_error.is_none() {
                writer.send(Message::Finish).await;
            }
        }
        let mut visible = Vec::new();
        for (date, writer) in writers {
            let Ended { written, end } = writer.join().await;
            written.iter().for_each(|written| self.book(date, written, booked, summary));
            visible.push((date, written));
            match end {
                Ok(None) => {}
                Ok(Some(lost)) => self.lose(date, lost, round, summary),
                // a writer that was not told to finish says that it was interrupted; that is no cause
                Err(Error::Interrupted) if first_error.is_some() => {}
                Err(e) => first_error = first_error.filter(|(_, first)| !matches!(first, Error::Interrupted)).or(Some((stage_of(&e), e))),
            }
        }
        let watch = &self.context.progress.watch;
        first_error.map_or(Ok(()), |(stage, e)| watch.at(stage, Err(e)))?;
        // also those that the archive had on all dates that were left
        let open: Vec<usize> = self.open.keys().copied().collect();
        open.into_iter().for_each(|work| self.book_if_done(work, booked, summary));
        for (date, written) in visible {
            let Some(holdings) = self.plan.partitions.get(&date) else { continue };
            let wrong = watch.at(Stage::Prove, proof::prove_partition(self.context, self.files, holdings, written).await)?;
            fail_point::reach("proven");
            wrong.into_iter().for_each(|note| watch.set_aside(Stage::Prove, note, summary));
        }
        Ok(())
    }

    /// Books an object that is visible.
    fn book(&mut self, date: Date, written: &Written, booked: &mut Booked, summary: &mut Summary) {
        let Written { claim: Claim { object, rows, .. }, works, tally, conflicts } = written;
        summary.objects_written += 1;
        summary.rows_written += rows;
        summary.bytes_out += object.size;
        summary.objects.push(object.key.to_string());
        summary.rows_read += tally.rows;
        summary.duplicates_dropped += tally.rows - tally.written;
        summary.superseded_rows += tally.superseded;
        summary.already_archived_rows += tally.held;
        summary.conflicting_rows += tally.conflicting;
        Contradiction::note(&mut summary.conflicts, self.files.cluster.as_str(), date, conflicts.iter().cloned());
        summary.nan_skipped += tally.nan;
        for work in works {
            self.close(*work, date, booked, summary);
        }
    }

    /// A source is archived on a date.
    fn close(&mut self, work: usize, date: Date, booked: &mut Booked, summary: &mut Summary) {
        if let Some(open) = self.open.get_mut(&work) {
            open.retain(|left| *left != date);
            self.book_if_done(work, booked, summary);
        }
    }

    /// A source is archived when it is on all of its dates.
    fn book_if_done(&mut self, work: usize, booked: &mut Booked, summary: &mut Summary) {
        if self.open.get(&work).is_some_and(Vec::is_empty) && !self.out.contains(&work) {
            self.open.remove(&work);
            self.done[work] = true;
            self.settle(work);
            booked.archived(&self.plan.work[work], summary);
        }
    }

    /// The rest of a partition did not become visible: its sources are planned again.
    fn lose(&mut self, date: Date, lost: Lost, round: &mut Round, summary: &mut Summary) {
        let partition = Partition { cluster: self.files.cluster.clone(), date };
        tracing::warn!(%partition, "planned anew: {lost}");
        summary.planned_anew += 1;
        let left = self.open.iter().filter(|(work, open)| open.contains(&date) && !self.out.contains(work));
        let sources = left.map(|(work, _)| self.source(*work)).collect();
        round.lost.insert((self.plan.bucket, date), (lost, sources));
    }

    fn source(&self, work: usize) -> (usize, usize) {
        let item = &self.plan.work[work];
        (item.host, item.snapshot)
    }

    async fn stream_hosts(
        &mut self,
        window: usize,
        works: &[usize],
        writers: &mut BTreeMap<Date, Writer>,
        round: &mut Round,
        summary: &mut Summary,
    ) -> Result<()> {
        let context = self.context;
        let ahead = context.workers.count() + 2;
        // shares are taken one after the other, in the order of hosts
        let shared = futures::stream::iter(self.jobs(window, works)).then(|job| async move {
            let needs = job.needs();
            Ok::<_, Error>((context.budget.take(needs.total()).await, needs, job))
        });
        let started = shared.map_ok(|(share, needs, job)| {
            let (to, mut from) = mpsc::channel(HANDED_OVER);
            let task = Task::spawn(job.run(Arc::clone(context), needs, share, to));
            async move { Ok((from.recv().await, from, task)) }
        });
        let mut begun = pin!(started.try_buffered(ahead));
        while let Some((mut next, mut from, task)) = begun.try_next().await? {
            while let Some(done) = next {
                if let Some((date, day)) = self.account(done, round, summary) {
                    self.hand_over(date, day, writers).await?;
                }
                next = from.recv().await;
            }
            task.await??;
            context.progress.hosts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn hand_over(&self, date: Date, day: HostDay, writers: &mut BTreeMap<Date, Writer>) -> Result<()> {
        let rows = day.rows.len() as u64;
        let writer = match writers.entry(date) {
            Entry::Occupied(writer) => writer.into_mut(),
            Entry::Vacant(none) => none.insert(self.writer(date)?),
        };
        if !writer.send(Message::Host(day)).await {
            return Err(Error::Interrupted);
        }
        fail_point::reach("handed-over");
        self.context.progress.rows.fetch_add(rows, Ordering::Relaxed);
        Ok(())
    }

    fn settle(&self, work: usize) {
        self.context.progress.watch.left().settle(self.files, self.source(work));
    }

    fn writer(&self, date: Date) -> Result<Writer> {
        let partition = Partition { cluster: self.files.cluster.clone(), date };
        let Some(holdings) = self.plan.partitions.get(&date).cloned() else {
            unreachable!("a host only has rows for dates of its window, and those are in the plan")
        };
        Writer::start(Target { context: Arc::clone(self.context), partition, bucket: self.plan.bucket, buckets: self.buckets, holdings, replaces: Vec::new() })
    }

    /// Notes what became of a host, and gives its rows on.
    fn account(&mut self, host: HostDone, round: &mut Round, summary: &mut Summary) -> Option<(Date, HostDay)> {
        summary.bytes_in += host.bytes_in;
        summary.too_recent += host.too_recent.len() as u64;
        for work in host.too_recent {
            self.out.insert(work);
            self.settle(work);
        }
        for (work, note) in host.waiting {
            tracing::debug!(path = %Escaped(&note.path), "waiting: {}", note.reason);
            self.out.insert(work);
            summary.waiting.push(note);
        }
        for (work, stage, note) in host.set_aside {
            self.out.insert(work);
            self.context.progress.watch.set_aside(stage, note, summary);
        }
        for (work, dates) in host.again {
            self.out.insert(work);
            round.again.insert(self.source(work));
            round.refuted.extend(dates.map(|dates| (self.source(work), dates)));
        }
        for Fed { index, dates, done } in host.fed {
            // what an earlier window has closed stays closed: only what was not read yet is new
            if !self.done[index] {
                self.open.entry(index).or_insert(dates).retain(|date| !done.contains(date));
            }
        }
        host.day
    }
}

/// Where a writer failed.
fn stage_of(e: &Error) -> Stage {
    if matches!(e, Error::Parquet { .. } | Error::Internal(_)) { Stage::Encode } else { Stage::Upload }
}
