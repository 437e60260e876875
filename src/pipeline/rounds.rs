//! One cluster: planned, carried out, and planned again as long as something is left that another plan can do: sources whose headers are
//! wrong, and partitions whose slots other writers took.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytesize::ByteSize;
use tokio::time::Instant;

use super::cluster::ClusterRun;
use super::handed::{Booked, Round, Sources};
use super::{Context, planning};
use crate::error::{Result, SetAside};
use crate::fail_point;
use crate::files::ClusterFiles;
use crate::info::ArchiveInfo;
use crate::names::Date;
use crate::plan::ClusterPlan;
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
            summary.other_dates += planned.other_dates;
            planned.moved.iter().for_each(|host| tracing::warn!("{host}"));
            summary.moved.extend(planned.moved);
            summary.below_the_floor += planned.below_the_floor;
        }
        let mut round = Round::default();
        carry_out(context, info, files, &planned.plans, (&mut booked, &mut round, summary)).await?;
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

/// Carries out the plans of all buckets: one after the other, or the newest dates of all of them first.
async fn carry_out(
    context: &Arc<Context>,
    info: ArchiveInfo,
    files: &ClusterFiles,
    plans: &[ClusterPlan],
    (booked, round, summary): (&mut Booked, &mut Round, &mut Summary),
) -> Result<()> {
    let mut runs: Vec<ClusterRun<'_>> = plans.iter().map(|plan| ClusterRun::new(context, info.buckets, files, plan)).collect();
    let mut dates: BTreeMap<Date, usize> = BTreeMap::new();
    runs.iter().flat_map(ClusterRun::dates).for_each(|date| *dates.entry(date).or_default() += 1);
    let progress = &context.progress;
    if let (Some((first, _)), Some((last, _))) = (dates.first_key_value(), dates.last_key_value()) {
        let works = || plans.iter().flat_map(|plan| plan.work.iter().map(move |work| (plan, work)));
        let hosts = works().map(|(_, work)| work.host).collect::<BTreeSet<_>>().len();
        let bytes: u64 = works().map(|(_, work)| files.hosts[work.host].snapshots[work.snapshot].size).sum();
        let (bytes, to_read) = (ByteSize(bytes), ByteSize(runs.iter().map(ClusterRun::bytes_to_read).sum()));
        tracing::info!(cluster = files.cluster.as_str(), hosts, snapshots = works().count(), %bytes, %to_read, dates = dates.len(), %first, %last, "to archive");
        progress.dates.1.fetch_add(dates.len() as u64, Ordering::Relaxed);
        progress.since.get_or_init(Instant::now);
    }
    loop {
        let mut left = runs.iter_mut().filter_map(|run| Some((run.newest_of_next()?, run)));
        let next = if context.choice.newest_first { left.rev().max_by_key(|(newest, _)| *newest) } else { left.next() };
        let Some((_, run)) = next else { return Ok(()) };
        for date in run.run_next(booked, round, summary).await? {
            let buckets = dates.entry(*date).or_default();
            *buckets = buckets.saturating_sub(1);
            progress.dates.0.fetch_add(u64::from(*buckets == 0), Ordering::Relaxed);
        }
    }
}

fn set_aside(context: &Context, files: &ClusterFiles, reason: &str, sources: &Sources, summary: &mut Summary) {
    for (h, s) in sources {
        context.progress.watch.set_aside(Stage::Upload, SetAside::new(files.path_of(*h, *s), reason), summary);
    }
}
