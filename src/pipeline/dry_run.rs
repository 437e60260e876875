//! The plan, printed: what `--dry-run` shows and the next run would do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytesize::ByteSize;
use serde::Serialize;

use super::Context;
use super::estimate::{self, Span};
use super::planning::{self, Planned};
use super::pruning::Pruning;
use crate::error::{Result, SetAside};
use crate::files::{ClusterFiles, Format, RowGroup, SnapshotFile, Tree};
use crate::info::ArchiveInfo;
use crate::ledger::Holdings;
use crate::names::Date;
use crate::partition::{ObjectKey, Partition};
use crate::plan::{ClusterPlan, Left, Work};
use crate::settings::ArchiveSettings;
use crate::telemetry::{MovedHost, PruneSummary, Sources, list, thousands};

/// A plan for people and programs.
#[derive(Debug, Serialize)]
pub struct DryRun {
    /// What the counts of snapshots are of.
    #[serde(skip)]
    sources: Sources,
    /// One for every cluster.
    pub clusters: Vec<ClusterDryRun>,
    /// Logs in the tree, if they are asked for. What becomes of them is known when they are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<u64>,
    /// What cannot be archived, as far as names and ledgers show.
    pub set_aside: Vec<SetAside>,
    /// What would be pruned then, if that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneSummary>,
}

impl DryRun {
    /// True if nothing is left that a person should look at.
    pub fn is_complete(&self) -> bool {
        let is_left = |cluster: &ClusterDryRun| cluster.moved.iter().any(|host| host.left);
        self.set_aside.is_empty() && !self.clusters.iter().any(is_left) && self.prune.as_ref().is_none_or(PruneSummary::is_complete)
    }
}

/// What would be done with one cluster.
#[derive(Debug, Serialize)]
pub struct ClusterDryRun {
    /// Its name.
    pub cluster: String,
    /// Hosts with something to archive.
    pub hosts: u64,
    /// Snapshots to archive.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes that are read: a snapshot of dates that are written one after the other is read for each.
    pub bytes_to_read: u64,
    /// Bytes that will be written, at least and at most, as far as that can be told before anything is decoded.
    pub bytes_to_write: Span,
    /// Rows that uncompressed `.bin` files and row groups hold at most; absent if there are others.
    pub rows_at_most: Option<u64>,
    /// Snapshots that the archive holds already.
    pub already_archived: u64,
    /// New versions of archived files.
    pub new_versions: u64,
    /// Snapshots that end after --before.
    pub too_recent: u64,
    /// Snapshots whose names are of other dates than those of --date.
    pub other_dates: u64,
    /// Hosts with new snapshots that are archived as those of another host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedHost>,
    /// Snapshots all of whose dates are expired.
    pub below_the_floor: u64,
    /// Partitions that get something.
    pub partitions: Vec<PartitionDryRun>,
}

/// What would be done with one partition.
#[derive(Debug, Serialize)]
pub struct PartitionDryRun {
    /// Its folder.
    pub partition: String,
    /// Snapshots that probably feed it; only decoding tells.
    pub files: u64,
    /// Objects that its sequence has.
    pub objects: u64,
    /// Key of the first object that it gets.
    pub first_object: String,
}

/// Plans all clusters, and what would be pruned when they are archived.
pub async fn plan(settings: &ArchiveSettings, context: &Context, info: ArchiveInfo, (tree, sources): (&Tree, Sources)) -> Result<DryRun> {
    let mut set_aside: Vec<SetAside> = tree.set_aside.clone();
    let mut clusters = Vec::new();
    let mut to_archive = BTreeSet::new();
    for files in &tree.clusters {
        let mut planned = planning::plan_cluster(context, info, files, None, &BTreeMap::new()).await?;
        set_aside.append(&mut planned.set_aside);
        for plan in &mut planned.plans {
            planned.too_recent += leave_out_recent(context, files, plan).await?;
            if settings.prune_after.is_some() {
                to_archive.extend(plan.work.iter().map(|w| files.path_of(w.host, w.snapshot)));
            }
        }
        clusters.push(cluster(context, files, planned));
    }
    let mut prune = None;
    if let Some(rules) = settings.prune_after {
        let pruned = prune.insert(PruneSummary { dry_run: true, ..Default::default() });
        Pruning { archived_first: to_archive, ..Pruning::after(settings, context, rules, tree).await? }.prune_after(tree, pruned).await?;
    }
    let hosts = || tree.clusters.iter().flat_map(|files| &files.hosts);
    let logs = settings.looks_at_logs().then(|| hosts().filter(|host| host.has_log).count() as u64);
    Ok(DryRun { sources, clusters, logs, set_aside, prune })
}

/// Takes out what ends after `--before`, as a run does when it has read it. Gives how many that are.
async fn leave_out_recent(context: &Context, files: &ClusterFiles, plan: &mut ClusterPlan) -> Result<u64> {
    let Some(before) = context.choice.before else { return Ok(0) };
    let mut kept = Vec::new();
    let mut recent = 0;
    for work in std::mem::take(&mut plan.work) {
        let (path, file) = (files.path_of(work.host, work.snapshot), files.hosts[work.host].snapshots[work.snapshot].clone());
        // what cannot be read, or does not decode, is the run's to report
        match context.workers.run(move || planning::extent(&path, &file)).await? {
            Some((_, to)) if to > before => recent += 1,
            _ => kept.push(work),
        }
    }
    plan.work = kept;
    Ok(recent)
}

fn cluster(context: &Context, files: &ClusterFiles, planned: Planned) -> ClusterDryRun {
    let file = |w: &Work| &files.hosts[w.host].snapshots[w.snapshot];
    let work = || planned.plans.iter().flat_map(|plan| &plan.work);
    let bytes = work().map(|w| file(w).size).sum();
    ClusterDryRun {
        cluster: files.cluster.as_str().to_owned(),
        hosts: work().map(|w| w.host).collect::<BTreeSet<_>>().len() as u64,
        files: work().count() as u64,
        bytes,
        bytes_to_read: planned.plans.iter().map(|plan| bytes_to_read(context, files, plan)).sum(),
        bytes_to_write: estimate::written(work().map(file)),
        rows_at_most: work().map(|w| rows_at_most(file(w))).sum(),
        already_archived: planned.archived,
        new_versions: work().filter(|w| w.changed).count() as u64,
        too_recent: planned.too_recent,
        other_dates: planned.other_dates,
        below_the_floor: planned.below_the_floor,
        partitions: planned.plans.iter().flat_map(|plan| partitions(files, plan)).collect(),
        moved: planned.moved,
    }
}

/// The most rows that can come of a source; none if that cannot be told.
fn rows_at_most(file: &SnapshotFile) -> Option<u64> {
    file.row_group().map(RowGroup::rows).or_else(|| (file.format == Format::PLAIN_BINARY).then_some(file.size / 4))
}

/// Bytes that a run reads, window by window.
fn bytes_to_read(context: &Context, files: &ClusterFiles, plan: &ClusterPlan) -> u64 {
    let windows = plan.windows(files, context.budget.open_objects(), context.budget.bytes_of_host(), context.choice.newest_first);
    plan.readers(&windows).iter().flatten().map(|work| plan.size(files, *work)).sum()
}

/// The partitions that get something, in one bucket.
fn partitions(files: &ClusterFiles, plan: &ClusterPlan) -> Vec<PartitionDryRun> {
    let home = |w: &Work| files.hosts[w.host].snapshots[w.snapshot].home();
    // that first samples lie before midnight is possible, and seldom
    let feeds = |w: &Work, date| date >= home(w) || matches!(w.left, Left::Exactly(_));
    let mut counts: BTreeMap<Date, u64> = BTreeMap::new();
    for (w, date) in plan.work.iter().flat_map(|w| w.left.dates().into_iter().map(move |date| (w, date))) {
        *counts.entry(date).or_default() += u64::from(feeds(w, date));
    }
    let partition = |(date, holdings): (&Date, &Arc<Holdings>)| {
        let folder = Partition { cluster: files.cluster.clone(), date: *date };
        let slot = holdings.next_slot(plan.bucket);
        PartitionDryRun {
            partition: folder.to_string(),
            files: counts.get(date).copied().unwrap_or_default(),
            objects: holdings.objects().iter().filter(|object| object.key.bucket == plan.bucket).count() as u64,
            first_object: ObjectKey { partition: folder, bucket: plan.bucket, slot, beside: None }.to_string(),
        }
    };
    plan.partitions.iter().map(partition).filter(|partition| partition.files > 0).collect()
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.sources;
        for cluster in &self.clusters {
            let rows = cluster.rows_at_most.map_or(String::new(), |rows| format!(", at most {} rows", thousands(rows)));
            writeln!(f, "cluster {}", cluster.cluster.escape_debug())?;
            writeln!(f, "  to archive       {} hosts, {} {sources}, {}{rows}", thousands(cluster.hosts), thousands(cluster.files), ByteSize(cluster.bytes))?;
            if cluster.files > 0 {
                let Span { least, most } = cluster.bytes_to_write;
                let dates = thousands(cluster.partitions.len() as u64);
                writeln!(
                    f,
                    "  estimate         {} to read for {dates} partitions, {} to {} to write",
                    ByteSize(cluster.bytes_to_read),
                    ByteSize(least),
                    ByteSize(most)
                )?;
            }
            writeln!(f, "  already archived {}", thousands(cluster.already_archived))?;
            if cluster.new_versions > 0 {
                writeln!(f, "  new versions     {}", thousands(cluster.new_versions))?;
            }
            if cluster.too_recent > 0 {
                writeln!(f, "  too recent       {}", thousands(cluster.too_recent))?;
            }
            if cluster.other_dates > 0 {
                writeln!(f, "  other dates      {}", thousands(cluster.other_dates))?;
            }
            cluster.moved.iter().try_for_each(|host| writeln!(f, "  moved            {host}"))?;
            if cluster.below_the_floor > 0 {
                writeln!(f, "  expired          {}", thousands(cluster.below_the_floor))?;
            }
            for partition in &cluster.partitions {
                writeln!(f, "  {}  {} {sources} -> {}", partition.partition, thousands(partition.files), partition.first_object)?;
            }
        }
        if let Some(logs) = self.logs {
            writeln!(f, "logs               {}, which only a run reads", thousands(logs))?;
        }
        list(f, "set aside", &self.set_aside)?;
        self.prune.as_ref().map_or(Ok(()), |prune| prune.fmt(f))?;
        writeln!(f, "dry run: nothing was written")
    }
}
