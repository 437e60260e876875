//! One cluster: planned, carried out, and planned again as long as something is left that another plan can do: sources that feed dates which
//! nobody expected, and partitions whose slots other writers took.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::cluster::ClusterRun;
use super::{Context, planning};
use crate::error::{Result, SetAside};
use crate::fail_point;
use crate::files::ClusterFiles;
use crate::info::ArchiveInfo;
use crate::names::Date;
use crate::partition::Bucket;
use crate::plan::Work;
use crate::random;
use crate::telemetry::{Stage, Summary};
use crate::upload::Lost;

/// So often a partition is planned anew in one run, when other writers are faster each time.
const MOST_RACES: u32 = 5;

/// Before a plan that follows a lost race: up to this, times the races lost.
const PAUSE: Duration = Duration::from_millis(500);

/// Sources by (index of the host, index of the snapshot).
pub type Sources = BTreeSet<(usize, usize)>;

/// What one plan leaves to the next one.
#[derive(Debug, Default)]
pub struct Round {
    /// Sources that feed dates which nobody expected; their ledgers say so now, and the next plan goes by that.
    pub strays: Sources,
    /// Partitions that other writers wrote to meanwhile, and the sources that are not archived there.
    pub lost: BTreeMap<(Bucket, Date), (Lost, Sources)>,
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
    let mut named = BTreeSet::new();
    loop {
        let planned = watch.at(Stage::Catalog, planning::plan_cluster(context, info, files, only.as_ref()).await)?;
        fail_point::reach("planned");
        let new = planned.set_aside.into_iter().filter(|note| named.insert(note.to_string()));
        new.for_each(|note| watch.set_aside(Stage::Catalog, note, summary));
        summary.already_archived += planned.archived;
        if only.is_none() {
            summary.too_recent += planned.too_recent;
        }
        let mut round = Round::default();
        for plan in &planned.plans {
            ClusterRun::new(context, info.buckets, files, plan).run(&mut booked, &mut round, summary).await?;
        }
        let (mut next, mut is_lost, mut most) = (round.strays, false, 0);
        for (partition, (lost, sources)) in round.lost {
            let races = races.entry(partition).or_default();
            *races += 1;
            if *races > MOST_RACES {
                let reason = format!("kept: planned {} times for {} in vain: the last time {lost}; the next run tries again", MOST_RACES + 1, partition.1);
                set_aside(context, files, &reason, &sources, summary);
            } else {
                (is_lost, most) = (true, most.max(*races));
                next.extend(sources);
            }
        }
        if is_lost {
            // writers that meet again and again must not do so in step
            let longest = PAUSE.as_millis() as u64 * u64::from(most);
            tokio::time::sleep(Duration::from_millis(random::number()? % longest)).await;
        }
        // sources that go astray again, though nothing came in between, would do so for ever
        if next.is_empty() || !is_lost && !was_lost && only.as_ref() == Some(&next) {
            let reason = "kept: some of its dates are not archived, because listings do not show yet what was written of the others; run again";
            set_aside(context, files, reason, &next, summary);
            return Ok(());
        }
        (only, was_lost) = (Some(next), is_lost);
    }
}

fn set_aside(context: &Context, files: &ClusterFiles, reason: &str, sources: &Sources, summary: &mut Summary) {
    for (h, s) in sources {
        let host = &files.hosts[*h];
        let path = files.path.join(host.host.as_str()).join(&*host.snapshots[*s].name);
        context.progress.watch.set_aside(Stage::Upload, SetAside::new(path, reason), summary);
    }
}
