//! `compact`: partition by partition, objects of a sequence become one.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use object_store::ObjectMeta;
use object_store::path::Path as Key;
use tokio::time::Instant;

use super::joining::{Joined, Joining};
use super::{Context, Means, stopped_by, tabling};
use crate::catalog::{self, Surveyed};
use crate::clock;
use crate::compact::{self, Left, Plan, Replaced, Rules, Written};
use crate::error::{Error, Result, SetAside};
use crate::fail_point;
use crate::partition::{ObjectKey, Partition};
use crate::schema::Layout;
use crate::settings::{CompactSettings, Depth};
use crate::store::Archive;
use crate::telemetry::{Compaction, Progress, Stage};
use crate::verify;

/// How often a partition is planned, where other writers are faster.
const TRIES: usize = 6;
/// Partitions that are worked on at a time: small ones wait for requests most of the time.
const PARTITIONS: usize = 4;

/// Compacts an archive, which `open` opens; `shutdown` ends the run early.
pub async fn compact_in(
    settings: &CompactSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Box<Compaction>> {
    let begun = Instant::now();
    let watched = Arc::clone(&progress);
    let watch = &watched.watch;
    let archive = watch.at(Stage::Catalog, open())?;
    watch.watch_requests(archive.requests());
    let info = watch.at(Stage::Catalog, catalog::info(&archive, None).await)?;
    let Some(info) = info else { return Err(Error::Usage(format!("{archive:?} holds no archive\n  hint: check the path, the bucket and its prefix"))) };
    let CompactSettings { layout, encoder, workers, memory, spool, .. } = settings;
    let means = Means {
        layout: Layout { cluster_column: info.cluster_column, ..*layout },
        encoder: *encoder,
        workers: *workers,
        memory: *memory,
        spool: spool.clone(),
        verify: Depth::Full,
    };
    let context = Arc::new(Context::new(means, archive, progress)?);
    tracing::info!(archive = %settings.archive, version = env!("CARGO_PKG_VERSION"), "compacting");
    let mut report = Compaction { dry_run: settings.dry_run, ..Compaction::default() };
    let done = stopped_by(|| context.stop(), shutdown, watch.hurried(), run(settings, &context, &mut report)).await;
    report.interrupted = matches!(done, Err(Error::Interrupted));
    report.seconds = begun.elapsed().as_secs_f64();
    report.set_aside.iter().for_each(|note| tracing::warn!(path = note.shown(), "set aside: {}", note.reason));
    watch.figures().compact = Some(report.clone());
    if !report.interrupted {
        watch.at(Stage::Upload, done)?;
    }
    Ok(Box::new(report))
}

async fn run(settings: &CompactSettings, context: &Arc<Context>, report: &mut Compaction) -> Result<()> {
    let archive = &context.archive;
    let go_on = || if context.is_stopped() { Err(Error::Interrupted) } else { Ok(()) };
    if !settings.dry_run {
        try_deleting(archive, "compact must be able to delete; nothing was done: cannot delete").await?;
        tabling::check(archive).await?;
    }
    let listing = catalog::list(archive, &settings.part, go_on).await?;
    report.partitions = listing.partitions.len() as u64;
    // one object is joined with nothing
    let (several, single): (Vec<_>, Vec<_>) = listing.partitions.into_iter().partition(|(_, listed)| listed.len() > 1);
    report.objects = single.iter().map(|(_, listed)| listed.len() as u64).sum();
    let one = |(partition, _): (Partition, Vec<ObjectMeta>)| {
        let compacting = Compacting { settings, context, partition, done: Compaction::default() };
        async move {
            go_on()?;
            compacting.run().await
        }
    };
    let mut partitions = futures::stream::iter(several).map(one).buffered(PARTITIONS.min(context.budget.open_objects()));
    let mut failed = None;
    while let Some(done) = partitions.next().await {
        match done {
            Ok(done) => report.add(done),
            Err(e) => {
                // the others give up what they have under way, uploads too
                context.stop();
                failed.get_or_insert(e);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Deletes what is not there: if that is refused, a run writes nothing that makes sense only with a deletion. `what` begins the error.
pub(super) async fn try_deleting(archive: &Archive, what: &'static str) -> Result<()> {
    let nothing = Key::from("_cc-archiver/nothing");
    archive.delete(&nothing).await.map_err(Error::store(what, archive.name_of(&nothing)))
}

/// One partition under way.
struct Compacting<'a> {
    settings: &'a CompactSettings,
    context: &'a Arc<Context>,
    partition: Partition,
    done: Compaction,
}

impl Compacting<'_> {
    async fn run(mut self) -> Result<Compaction> {
        let mut lost = 0;
        while lost < TRIES {
            // each time anew: it asks for what a listing lacks, and nothing is planned on an old one
            let begun = self.context.archive.uptime();
            let listed = catalog::list_partition(&self.context.archive, &self.partition).await?;
            match self.step(begun, listed).await? {
                Step::Done => return Ok(self.done),
                Step::Again => {}
                Step::Lost => lost += 1,
            }
        }
        self.set_aside(&self.partition.clone(), "other writers were faster each time; run compact when nothing is archived".into());
        Ok(self.done)
    }

    /// Does the first thing that there is to do. `begun`: when the listing was asked for.
    async fn step(&mut self, begun: Duration, listed: Vec<ObjectMeta>) -> Result<Step> {
        let archive = &self.context.archive;
        let written: Written = listed.iter().filter_map(|object| Some((ObjectKey::parse(&object.location)?, object.last_modified.timestamp()))).collect();
        let Surveyed { mut holdings, seen, .. } = catalog::look_into(archive, self.partition.clone(), listed, verify::object).await?;
        holdings.listed = begun;
        self.done.objects = holdings.objects().len() as u64;
        if let Some((key, why)) = seen.into_iter().find_map(|(key, wrong)| Some((key, wrong.into_iter().next()?))) {
            self.set_aside(&key, format!("{why}; verify says what to do"));
            return Ok(Step::Done);
        }
        // a server's clock that is behind makes objects look older than they are
        let now = clock::now().timestamp() - archive.clock_ahead().unwrap_or(0).max(0);
        let CompactSettings { min_objects, max_size, min_age, .. } = *self.settings;
        let rules = Rules { min_objects, max_size, before: now - min_age.as_secs() as i64, memory: self.context.budget.total() };
        let Plan { groups, left } = compact::plan(&holdings, rules, |key| written.get(key).copied());
        if self.settings.dry_run {
            groups.iter().for_each(|group| self.count(group));
            self.note(left);
            return Ok(Step::Done);
        }
        let Some(group) = groups.into_iter().next() else {
            self.note(left);
            return Ok(Step::Done);
        };
        let holdings = Arc::new(holdings);
        let joining = Joining { context: self.context, partition: &self.partition, holdings: &holdings, group: &group };
        match joining.run().await? {
            Joined::Lost(lost) => {
                tracing::warn!(partition = %self.partition, "planned anew: {lost}");
                Ok(Step::Lost)
            }
            Joined::Refused(key, why) => {
                self.set_aside(&key, why);
                Ok(Step::Done)
            }
            Joined::Compacted(made) => {
                self.count(&group);
                if group.made.is_none() {
                    self.done.bytes_made += made.size;
                    self.done.rows_written += made.rows;
                }
                self.done.doubled_rows += made.lost.rows;
                self.done.differing_rows += made.lost.differing;
                self.done.conflicts.extend(made.conflicts);
                // readers of the table go to the new object before the others go
                let gone: BTreeSet<ObjectKey> = made.replaced.iter().map(|object| object.key().clone()).collect();
                let version = match self.replace(&gone, &made.key, "what it was compacted from stays").await? {
                    Some(version) => version,
                    None => return Ok(Step::Done),
                };
                fail_point::reach("tabled");
                let deleted = self.delete(made.replaced).await?;
                // one that was made meanwhile has what was there before
                if version.is_none() && self.replace(&gone, &made.key, "it was compacted").await?.is_none() {
                    return Ok(Step::Done);
                }
                if deleted { Ok(Step::Again) } else { Ok(Step::Done) }
            }
        }
    }

    /// Lets readers of the table, if there is one, go to the new object. Gives the table's version; None if it could not be brought up to date.
    async fn replace(&mut self, gone: &BTreeSet<ObjectKey>, new: &ObjectKey, what: &str) -> Result<Option<Option<u64>>> {
        match tabling::replace(&self.context.archive, gone, std::slice::from_ref(new)).await {
            Ok(version) => Ok(Some(version)),
            Err(e @ (Error::Store { .. } | Error::Archive(_))) => {
                self.set_aside(new, format!("{what}, and the table could not be brought up to date: {e}"));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn count(&mut self, group: &compact::Group) {
        if group.made.is_some() {
            self.done.finished += (group.members.len() + group.pending.len()) as u64;
            return;
        }
        self.done.replaced += (group.members.len() + group.pending.len()) as u64;
        self.done.bytes_replaced += group.bytes();
        self.done.rows_read += group.rows();
        self.done.made += 1;
        self.done.made_keys.extend(group.members.first().map(|member| self.context.archive.name_of(&member.key)).filter(|_| self.settings.dry_run));
    }

    fn note(&mut self, left: Vec<Left>) {
        for left in left {
            match left {
                Left::Young(_) => self.done.young += 1,
                Left::Unreadable(object) => self.done.set_aside.push(SetAside::new(&object.name, format!("its sequence stays as it is: {object}"))),
                Left::Unfinished(ref key) => self.set_aside(key, left.to_string()),
            }
        }
    }

    fn set_aside(&mut self, what: &impl std::fmt::Display, why: String) {
        self.done.set_aside.push(SetAside::new(self.context.archive.name_of(what), why));
    }

    /// False if something is left.
    async fn delete(&mut self, replaced: Vec<Replaced>) -> Result<bool> {
        for object in replaced {
            if self.context.is_stopped() {
                return Err(Error::Interrupted);
            }
            let key = object.key().clone();
            fail_point::reach("to-be-replaced");
            match object.delete(&self.context.archive).await {
                Ok(()) => fail_point::reach("replaced"),
                Err(e @ Error::Store { .. }) => {
                    self.set_aside(&key, format!("it was compacted into another object, and could not be deleted: {e}"));
                    return Ok(false);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// What came of one step.
enum Step {
    /// Nothing is left to do, or nothing that can be done.
    Done,
    /// There may be more.
    Again,
    /// Another writer was faster.
    Lost,
}
