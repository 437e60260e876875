//! One cluster: planned, carried out, and planned again as long as something is left that another plan can do: sources whose headers are
//! wrong, and partitions whose slots other writers took.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::cluster::ClusterRun;
use super::handed::{Booked, Round, Sources};
use super::{Context, planning};
use crate::error::{Result, SetAside};
use crate::fail_point;
use crate::files::ClusterFiles;
use crate::info::ArchiveInfo;
use crate::random;
use crate::telemetry::{Stage, Summary};

/// So often a partition is planned anew in one run, when other writers are faster each time.
const MOST_RACES: u32 = 5;

/// Before a plan that follows a lost race: up to this, times the races lost.
const PAUSE: Duration = Duration::from_millis(500);

/// Archives one cluster.
pub async fn archive_cluster(context: &Arc<Context>, info: ArchiveInfo, files: &ClusterFiles, summary: &mut Summary) -> Result<()> {
    let watch = &context.progress.watch;
    let (mut booked, mut races, mut only) = (Booked::default(), BTreeMap::<_, u32>::new(), None);
    let (mut named, mut refuted) = (BTreeSet::new(), BTreeMap::new());
    loop {
        let planned = watch.at(Stage::Catalog, planning::plan_cluster(context, info, files, only.as_ref(), &refuted).await)?;
        fail_point::reach("planned");
        let new = planned.set_aside.into_iter().filter(|note| named.insert(note.to_string()));
        new.for_each(|note| watch.set_aside(Stage::Catalog, note, summary));
        summary.already_archived += planned.archived;
        if only.is_none() {
            summary.too_recent += planned.too_recent;
            summary.below_the_floor += planned.below_the_floor;
        }
        let mut round = Round::default();
        for plan in &planned.plans {
            ClusterRun::new(context, info.buckets, files, plan).run(&mut booked, &mut round, summary).await?;
        }
        let (mut next, mut most) = (round.again, 0);
        refuted.append(&mut round.refuted);
        for (partition, (lost, sources)) in round.lost {
            let races = races.entry(partition).or_default();
            *races += 1;
            if *races > MOST_RACES {
                let reason = format!("kept: planned {} times for {} in vain: the last time {lost}; the next run tries again", MOST_RACES + 1, partition.1);
                set_aside(context, files, &reason, &sources, summary);
            } else {
                most = most.max(*races);
                next.extend(sources);
            }
        }
        if next.is_empty() {
            return Ok(());
        }
        if most > 0 {
            // writers that meet again and again must not do so in step
            let longest = PAUSE.as_millis() as u64 * u64::from(most);
            tokio::time::sleep(Duration::from_millis(random::number()? % longest)).await;
        }
        only = Some(next);
    }
}

fn set_aside(context: &Context, files: &ClusterFiles, reason: &str, sources: &Sources, summary: &mut Summary) {
    for (h, s) in sources {
        context.progress.watch.set_aside(Stage::Upload, SetAside::new(files.path_of(*h, *s), reason), summary);
    }
}
