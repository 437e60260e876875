//! `ls`: one listing, and the footers of what it names.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt;
use tokio::time::Instant;

use super::stopped_by;
use crate::catalog::{self, Listing, Surveyed};
use crate::error::{Error, Result};
use crate::listing::{Footer, Report};
use crate::names::Date;
use crate::partition::Partition;
use crate::settings::LsSettings;
use crate::store::Archive;
use crate::telemetry::{Progress, Stage};

/// Says what an archive holds, which `open` opens; `shutdown` ends the run early.
pub async fn list_in(
    settings: &LsSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Box<Report>> {
    let begun = Instant::now();
    let watch = &progress.watch;
    let archive = watch.at(Stage::Catalog, open())?;
    watch.watch_requests(archive.requests());
    let stopped = AtomicBool::new(false);
    let mut report = Report::new(settings.archive.to_string(), settings.view);
    let list = list(settings, &archive, &stopped, &progress, &mut report);
    let done = stopped_by(|| stopped.store(true, Ordering::Relaxed), shutdown, watch.hurried(), list).await;
    report.finish_cluster();
    report.interrupted = matches!(done, Err(Error::Interrupted));
    report.seconds = begun.elapsed().as_secs_f64();
    report.unreadable.iter().for_each(|found| tracing::warn!(object = found.object, next = found.advice, "cannot be read: {}", found.reason));
    report.foreign.iter().for_each(|object| tracing::warn!(object, "cc-archiver has not written it; readers of the folder see its rows, too"));
    if !report.interrupted {
        watch.at(Stage::Catalog, done)?;
    }
    Ok(Box::new(report))
}

async fn list(settings: &LsSettings, archive: &Archive, stopped: &AtomicBool, progress: &Progress, report: &mut Report) -> Result<()> {
    let check_stop = || if stopped.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) };
    catalog::info(archive, None).await?;
    let Listing { partitions, expired, floors, others, astray, empty } = catalog::list(archive, &settings.part, check_stop).await?;
    report.foreign.extend(astray.iter().map(|key| archive.name_of(key)));
    report.notes.extend(empty.iter().map(|folder| format!("{}: no object is there", archive.name_of(folder))));
    report.expired.extend(floors.lines());
    report.expired.extend(expired.iter().map(|(partition, objects)| left_over(archive, partition, objects.len())));
    let mut surveyed = pin!(catalog::survey(archive, partitions, Footer::of));
    while let Some(Surveyed { partition, holdings, seen, foreign }) = surveyed.try_next().await? {
        check_stop()?;
        report.foreign.extend(foreign.iter().map(|key| archive.name_of(key)));
        progress.rows.fetch_add(holdings.objects().iter().map(|object| object.rows).sum(), Ordering::Relaxed);
        report.take(&partition, &holdings, seen);
    }
    report.finish_cluster();
    if report.clusters.is_empty() && report.is_complete() {
        report.notes.push(nothing_there(archive, others));
    }
    Ok(())
}

/// What is said of objects that an expire has left.
pub fn left_over(archive: &Archive, partition: &Partition, objects: usize) -> String {
    format!("{}: {objects} objects lie below the floor, and do not count; the next expire deletes them", archive.name_of(partition))
}

/// Why there is nothing to tell; `others`: the first and the last date that there are beside those that were asked for.
pub fn nothing_there(archive: &Archive, others: Option<(Date, Date)>) -> String {
    match others {
        Some((first, last)) => format!("{archive:?}: no date of --date is there; of those that are, the first is {first} and the last {last}"),
        None => format!("{archive:?}: no object of ours is there; check the path, the bucket and its prefix"),
    }
}
