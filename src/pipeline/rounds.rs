//! One cluster: planned, carried out, and planned again as long as something is left that another plan can do: sources that feed dates which
//! nobody expected, and partitions whose slots other writers took.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cluster::ClusterRun;
use super::{Context, planning};
use crate::error::{Result, SetAside};
use crate::fail_point;
use crate::files::ClusterFiles;
use crate::info::ArchiveInfo;
use crate::names::Date;
use crate::partition::Bucket;
use crate::plan::Work;
use crate::telemetry::{Stage, Summary};

/// So often a partition is planned anew in one run, when other writers are faster each time.
const MOST_RACES: u32 = 5;

/// Sources by (index of the host, index of the snapshot).
pub type Sources = BTreeSet<(usize, usize)>;

/// What one plan leaves to the next one.
#[derive(Debug, Default)]
pub struct Round {
    /// Sources that feed dates which nobody expected; their ledgers say so now, and the next plan goes by that.
    pub strays: Sources,
    /// Partitions that other writers wrote to meanwhile, and the sources that are not archived there.
    pub lost: BTreeMap<(Bucket, Date), Sources>,
}

/// What a run has archived of a cluster.
#[derive(Debug, Default)]
pub struct Booked {
    hosts: BTreeSet<usize>,
    sources: BTreeSet<(u32, u32)>,
}

impl Booked {
    /// A source is archived on all of its dates.
    pub fn archived(&mut self, work: &Work, summary: &mut Summary) {
        // there can be very many
        if self.sources.insert((work.host as u32, work.snapshot as u32)) {
            summary.files += 1;
            summary.new_versions += u64::from(work.changed);
            summary.hosts_archived += u64::from(self.hosts.insert(work.host));
        }
    }
}

/// Archives one cluster.
pub async fn archive_cluster(context: &Arc<Context>, info: ArchiveInfo, files: &ClusterFiles, summary: &mut Summary) -> Result<()> {
    let watch = &context.progress.watch;
    let (mut booked, mut races, mut only, mut was_lost) = (Booked::default(), BTreeMap::<_, u32>::new(), None, false);
    loop {
        let planned = watch.at(Stage::Catalog, planning::plan_cluster(context, info, files, only.as_ref()).await)?;
        fail_point::reach("planned");
        planned.set_aside.into_iter().for_each(|note| watch.set_aside(Stage::Catalog, note, summary));
        summary.already_archived += planned.archived;
        if only.is_none() {
            summary.too_recent += planned.too_recent;
        }
        let mut round = Round::default();
        for plan in &planned.plans {
            ClusterRun::new(context, info.buckets, files, plan).run(&mut booked, &mut round, summary).await?;
        }
        let (mut next, mut is_lost) = (round.strays, false);
        for (partition, sources) in round.lost {
            let races = races.entry(partition).or_default();
            *races += 1;
            if *races > MOST_RACES {
                give_up(context, files, partition.1, &sources, summary);
            } else {
                is_lost = true;
                next.extend(sources);
            }
        }
        // sources that go astray again, though nothing came in between, would do so for ever
        if next.is_empty() || !is_lost && !was_lost && only.as_ref() == Some(&next) {
            return Ok(());
        }
        (only, was_lost) = (Some(next), is_lost);
    }
}

fn give_up(context: &Context, files: &ClusterFiles, date: Date, sources: &Sources, summary: &mut Summary) {
    let reason = format!("kept: other writers were faster {} times on {date}; the next run goes on. How many machines archive at once?", MOST_RACES + 1);
    for (h, s) in sources {
        let host = &files.hosts[*h];
        let path = files.path.join(host.host.as_str()).join(&*host.snapshots[*s].name);
        context.progress.watch.set_aside(Stage::Upload, SetAside::new(path, &*reason), summary);
    }
}
