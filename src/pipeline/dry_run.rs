//! The plan, printed: what `--dry-run` shows and the next run would do.

use std::collections::BTreeSet;
use std::fmt;

use bytesize::ByteSize;
use serde::Serialize;

use super::{Context, planning};
use crate::error::Result;
use crate::files::{ClusterFiles, Compression, Kind, Tree};
use crate::info::ArchiveInfo;
use crate::names::Date;
use crate::partition::{ObjectKey, Partition};
use crate::plan::{ClusterPlan, Left, PartitionPlan, Work};
use crate::telemetry::{FileNote, thousands};

/// A plan for people and programs.
#[derive(Debug, Serialize)]
pub struct DryRun {
    /// One for every cluster.
    pub clusters: Vec<ClusterDryRun>,
    /// What cannot be archived, as far as names and ledgers show.
    pub set_aside: Vec<FileNote>,
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
    /// Rows that uncompressed `.bin` files hold at most; absent if there are others.
    pub rows_at_most: Option<u64>,
    /// Snapshots that the archive holds already.
    pub already_archived: u64,
    /// New versions of archived files.
    pub new_versions: u64,
    /// Snapshots that begin after --before.
    pub too_recent: u64,
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

/// Plans all clusters.
pub async fn plan(context: &Context, info: ArchiveInfo, tree: &Tree) -> Result<DryRun> {
    let mut set_aside: Vec<FileNote> = tree.set_aside.iter().cloned().map(Into::into).collect();
    let mut clusters = Vec::new();
    for files in &tree.clusters {
        let planned = planning::plan_cluster(context, info, files, None).await?;
        set_aside.extend(planned.set_aside.into_iter().map(Into::into));
        let file = |w: &Work| &files.hosts[w.host].snapshots[w.snapshot];
        let plain = |w: &Work| file(w).format.kind == Kind::Binary && file(w).format.compression == Compression::None;
        let work = || planned.plans.iter().flat_map(|plan| &plan.work);
        let bytes = work().map(|w| file(w).size).sum();
        clusters.push(ClusterDryRun {
            cluster: files.cluster.as_str().to_owned(),
            hosts: work().map(|w| w.host).collect::<BTreeSet<_>>().len() as u64,
            files: work().count() as u64,
            bytes,
            rows_at_most: work().all(plain).then_some(bytes / 4),
            already_archived: planned.archived,
            new_versions: work().filter(|w| w.changed).count() as u64,
            too_recent: planned.too_recent,
            partitions: planned.plans.iter().flat_map(|plan| partitions(files, plan)).collect(),
        });
    }
    Ok(DryRun { clusters, set_aside })
}

/// The partitions that get something, in one bucket.
fn partitions(files: &ClusterFiles, plan: &ClusterPlan) -> Vec<PartitionDryRun> {
    let home = |w: &Work| files.hosts[w.host].snapshots[w.snapshot].home();
    // before a source was decoded, an hour before its name's date is only looked at, not expected to get rows
    let feeds = |w: &Work, date| match &w.left {
        Left::Expected(_, last) => (home(w)..=*last).contains(&date),
        Left::Exactly(dates) => dates.contains(&date),
    };
    let partition = |(date, partition): (&Date, &PartitionPlan)| {
        let folder = Partition { cluster: files.cluster.clone(), date: *date };
        let slot = partition.holdings.next_slot(plan.bucket);
        PartitionDryRun {
            partition: folder.to_string(),
            files: plan.work.iter().filter(|w| feeds(w, *date)).count() as u64,
            objects: partition.holdings.objects().iter().filter(|object| object.key.bucket == plan.bucket).count() as u64,
            first_object: ObjectKey { partition: folder, bucket: plan.bucket, slot, beside: None }.to_string(),
        }
    };
    plan.partitions.iter().map(partition).filter(|partition| partition.files > 0).collect()
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for cluster in &self.clusters {
            let rows = cluster.rows_at_most.map_or(String::new(), |rows| format!(", at most {} rows", thousands(rows)));
            writeln!(f, "cluster {}", cluster.cluster.escape_debug())?;
            writeln!(f, "  to archive       {} hosts, {} snapshots, {}{rows}", thousands(cluster.hosts), thousands(cluster.files), ByteSize(cluster.bytes))?;
            writeln!(f, "  already archived {}", thousands(cluster.already_archived))?;
            if cluster.new_versions > 0 {
                writeln!(f, "  new versions     {}", thousands(cluster.new_versions))?;
            }
            if cluster.too_recent > 0 {
                writeln!(f, "  too recent       {}", thousands(cluster.too_recent))?;
            }
            for partition in &cluster.partitions {
                writeln!(f, "  {}  {} snapshots -> {}", partition.partition, thousands(partition.files), partition.first_object)?;
            }
        }
        if !self.set_aside.is_empty() {
            writeln!(f, "set aside {}", self.set_aside.len())?;
            self.set_aside.iter().try_for_each(|note| writeln!(f, "  {note}"))?;
        }
        writeln!(f, "dry run: nothing was written")
    }
}
