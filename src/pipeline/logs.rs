//! Logs of hosts, when all snapshots are archived: what they have that no snapshot has becomes rows, in objects of their own.
//!
//! Nothing is remembered but what the archive says. Each run judges all samples anew, with the same result: what was taken is there, by
//! series and time. So a run that was killed is followed by one that does the rest.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::budget::{Share, memory_of};
use super::handed::{Ended, Message, Written};
use super::objects::Writer;
use super::open::Target;
use super::{Context, planning, proof};
use crate::error::{Error, Result, SetAside};
use crate::fail_point;
use crate::files::{ClusterFiles, HostFiles, LOG_NAME, SnapshotFile, Tree};
use crate::info::ArchiveInfo;
use crate::ledger::Holdings;
use crate::names::{Date, Host};
use crate::partition::{Bucket, Partition};
use crate::prove::Claim;
use crate::random;
use crate::rescue::{Decided, Fate};
use crate::telemetry::{LogSummary, Stage, Summary};

use judging::Judged;
use known::Wanted;

mod judging;
mod known;
mod reading;

/// So often the rows of a partition are written again in one run, when other writers are faster each time.
const MOST_RACES: u64 = 5;

/// Before that: up to so many ms, times the races lost.
const PAUSE: u64 = 500;

/// A host that has logs.
#[derive(Debug)]
pub struct LogHost {
    /// Its name.
    host: Host,
    /// Its directory in the tree.
    path: PathBuf,
    /// Its snapshots on disk.
    snapshots: Vec<SnapshotFile>,
    /// Its logs, the oldest first.
    logs: Vec<PathBuf>,
}

/// What of a host's logs is to be written.
struct ToWrite {
    host: usize,
    judged: Judged,
    share: Share,
}

/// A partition that rows of logs go to.
struct Open {
    writer: Writer,
    holdings: Arc<Holdings>,
    hosts: BTreeSet<usize>,
}

/// The logs of one cluster, and by what they are judged.
struct Logs<'a> {
    context: &'a Arc<Context>,
    info: ArchiveInfo,
    files: &'a ClusterFiles,
    hosts: Vec<LogHost>,
    decided: Decided,
    /// Only samples of these times are taken, unix s.
    times: Range<i64>,
    ledgers: Mutex<BTreeMap<Date, Arc<Holdings>>>,
}

/// Judges them, and writes what becomes a row.
struct LogRun<'a> {
    logs: &'a Logs<'a>,
    summary: &'a mut Summary,
    /// Hosts of which rows were not written, as another writer was faster.
    again: BTreeSet<usize>,
    /// What became of the logs of each host.
    judged: BTreeMap<usize, LogSummary>,
    /// Why nothing was taken of hosts.
    kept: BTreeMap<usize, SetAside>,
}

/// Takes every record of the logs of a tree whose store is gone.
pub async fn archive_logs(context: &Arc<Context>, info: ArchiveInfo, tree: &Tree, summary: &mut Summary) -> Result<()> {
    for files in &tree.clusters {
        let path = |host: &HostFiles| files.path.join(host.host.as_str());
        let with_log = files.hosts.iter().filter(|host| host.has_log);
        let hosts = with_log.map(|host| LogHost {
            host: host.host.clone(),
            path: path(host),
            snapshots: host.snapshots.clone(),
            logs: vec![path(host).join(LOG_NAME)],
        });
        let logs = Logs {
            context,
            info,
            files,
            hosts: hosts.collect(),
            decided: Decided::All,
            times: i64::MIN..context.before.unwrap_or(i64::MAX),
            ledgers: Mutex::default(),
        };
        LogRun { logs: &logs, summary, again: BTreeSet::new(), judged: BTreeMap::new(), kept: BTreeMap::new() }.run().await?;
    }
    Ok(())
}

impl Logs<'_> {
    /// The memory for a host's logs and snapshots, by their sizes.
    async fn share(&self, host: usize) -> Share {
        let LogHost { snapshots, logs, .. } = &self.hosts[host];
        let log = |path: &PathBuf| std::fs::metadata(path).map_or(0, |status| status.len());
        let newest = snapshots.iter().rev().take(logs.len() + 2).map(|file| memory_of(file.format, file.size)).sum::<u64>();
        self.context.budget.take(logs.iter().map(log).sum::<u64>() + newest).await
    }

    /// What becomes of the samples of one host, or why that cannot be said.
    async fn judge(&self, index: usize) -> Result<Result<Judged, String>> {
        let (context, host) = (self.context, &self.hosts[index]);
        let (paths, workers) = (host.logs.clone(), context.workers.clone());
        let logged = context.workers.run(move || reading::read(&paths, || !workers.is_stopped())).await?;
        if context.is_stopped() {
            return Err(Error::Interrupted);
        }
        if let Some(note) = logged.unreadable.first() {
            return Ok(Err(format!("kept: {}", note.reason)));
        }
        let Some(extent) = logged.extent else {
            return Ok(Ok(Judged { waiting: vec![0; logged.logs.len()], logs: logged.logs, ..Judged::default() }));
        };
        let wanted = Wanted { context, host: &host.host, path: host.path.clone(), snapshots: &host.snapshots, extent };
        let (dates, near) = wanted.dates().await?;
        let ledgers = {
            let mut ledgers = self.ledgers.lock().await;
            planning::load_ledgers(&context.archive, &self.files.cluster, dates.clone(), &mut ledgers).await?;
            dates.into_iter().filter_map(|date| Some((date, Arc::clone(ledgers.get(&date)?)))).collect()
        };
        let around = match wanted.load(near, &ledgers).await? {
            Ok(around) => around,
            Err(reason) => return Ok(Err(reason)),
        };
        let (decided, times) = (self.decided, self.times.clone());
        let judged = context.workers.run(move || judging::judge(logged, around, decided, &times)).await?;
        fail_point::reach("judged");
        Ok(judged.map_err(|e| format!("kept: a snapshot beside it cannot be read: {e}")))
    }

    async fn begin(&self, bucket: Bucket, date: Date) -> Result<Open> {
        let mut ledgers = self.ledgers.lock().await;
        planning::load_ledgers(&self.context.archive, &self.files.cluster, [date].into(), &mut ledgers).await?;
        let holdings = ledgers.get(&date).cloned().unwrap_or_default();
        let target = Target {
            context: Arc::clone(self.context),
            partition: Partition { cluster: self.files.cluster.clone(), date },
            bucket,
            buckets: self.info.buckets,
            holdings: Arc::clone(&holdings),
            replaces: Vec::new(),
        };
        Ok(Open { writer: Writer::start(target)?, holdings, hosts: BTreeSet::new() })
    }
}

impl LogRun<'_> {
    /// Judges and writes, and again where another writer was faster.
    async fn run(mut self) -> Result<()> {
        let mut left: BTreeSet<usize> = (0..self.logs.hosts.len()).collect();
        for lost in 1.. {
            self.round(&left).await?;
            left = std::mem::take(&mut self.again);
            if left.is_empty() {
                break;
            }
            if lost > MOST_RACES {
                let reason = format!("kept: planned {lost} times in vain, as other writers were faster; the next run tries again");
                left.iter().for_each(|host| self.keep(*host, reason.clone()));
                break;
            }
            tokio::time::sleep(Duration::from_millis(random::number()? % (PAUSE * lost))).await;
            self.logs.ledgers.lock().await.clear();
        }
        let logs = self.summary.logs.get_or_insert_default();
        self.judged.values().for_each(|judged| logs.add(judged));
        let watch = &self.logs.context.progress.watch;
        self.kept.into_values().for_each(|note| watch.set_aside(Stage::Merge, note, self.summary));
        Ok(())
    }

    fn keep(&mut self, host: usize, reason: String) {
        self.kept.insert(host, SetAside::new(self.logs.hosts[host].path.join(LOG_NAME), reason));
    }

    /// Goes through hosts once.
    async fn round(&mut self, left: &BTreeSet<usize>) -> Result<()> {
        let Logs { files, hosts, info, .. } = self.logs;
        let mut buckets: BTreeMap<Bucket, Vec<usize>> = BTreeMap::new();
        for host in left {
            buckets.entry(info.buckets.of(&files.cluster, hosts[*host].host.as_str())).or_default().push(*host);
        }
        for (bucket, hosts) in buckets {
            let mut open = BTreeMap::new();
            let mut done = self.stream(bucket, &hosts, &mut open).await;
            for (date, partition) in open {
                let ended = self.close(date, partition, done.is_ok()).await;
                done = done.and(ended);
            }
            done?;
        }
        Ok(())
    }

    /// Judges hosts side by side, and hands their rows over in order.
    async fn stream(&mut self, bucket: Bucket, hosts: &[usize], open: &mut BTreeMap<Date, Open>) -> Result<()> {
        let logs = self.logs;
        // shares are taken one after the other, in the order of hosts
        let shared = futures::stream::iter(hosts).then(|host| async move { Ok::<_, Error>((*host, logs.share(*host).await)) });
        let begun = shared.map_ok(|(host, share)| async move { Ok((host, logs.judge(host).await?, share)) });
        let mut judged = pin!(begun.try_buffered(logs.context.workers.count()));
        while let Some((host, judged, share)) = judged.try_next().await? {
            match judged {
                Ok(judged) => {
                    self.judged.insert(host, LogSummary::from(&judged));
                    self.write(bucket, ToWrite { host, judged, share }, open).await?;
                }
                Err(reason) => self.keep(host, reason),
            }
        }
        Ok(())
    }

    /// Hands the rows of a host to the open objects.
    async fn write(&mut self, bucket: Bucket, ToWrite { host, judged, share }: ToWrite, open: &mut BTreeMap<Date, Open>) -> Result<()> {
        let (context, Judged { days, logs, .. }) = (self.logs.context, judged);
        for (date, series) in days {
            if !open.contains_key(&date)
                && open.len() >= context.budget.open_objects()
                && let Some((first, partition)) = open.pop_first()
            {
                self.close(first, partition, true).await?;
            }
            let partition = match open.entry(date) {
                Entry::Occupied(partition) => partition.into_mut(),
                Entry::Vacant(none) => none.insert(self.logs.begin(bucket, date).await?),
            };
            partition.hosts.insert(host);
            for day in judging::pieces(&self.logs.hosts[host], host, &logs, (date, series), &share) {
                let rows = day.rows.len() as u64;
                if !partition.writer.send(Message::Host(day)).await {
                    return Err(Error::Interrupted);
                }
                context.progress.rows.fetch_add(rows, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Completes the objects of a partition, or gives them up.
    async fn close(&mut self, date: Date, open: Open, finish: bool) -> Result<()> {
        let Open { writer, holdings, mut hosts } = open;
        if finish {
            writer.send(Message::Finish).await;
        }
        let Ended { written, end } = writer.join().await;
        let Logs { context, files, ledgers, .. } = self.logs;
        // what was listed is not what is there now
        ledgers.lock().await.remove(&date);
        for Written { claim: Claim { object, rows, .. }, works, .. } in &written {
            self.summary.objects_written += 1;
            self.summary.rows_written += rows;
            self.summary.bytes_out += object.size;
            self.summary.objects.push(object.key.to_string());
            self.summary.logs.get_or_insert_default().rows += rows;
            hosts.retain(|host| !works.contains(host));
        }
        let watch = &context.progress.watch;
        if let Some(lost) = watch.at(Stage::Upload, end)? {
            tracing::warn!(cluster = %files.cluster, %date, "planned anew: {lost}");
            self.summary.planned_anew += 1;
            self.again.append(&mut hosts);
        }
        let wrong = watch.at(Stage::Prove, proof::prove_partition(context, files, &holdings, written).await)?;
        fail_point::reach("logs-proven");
        wrong.into_iter().for_each(|note| watch.set_aside(Stage::Prove, note, self.summary));
        Ok(())
    }
}

impl From<&Judged> for LogSummary {
    fn from(judged: &Judged) -> Self {
        let of = |fate: Fate| judged.fates.get(&fate).copied().unwrap_or_default();
        Self {
            logs: judged.logs.len() as u64,
            records: judged.logs.iter().map(|log| log.records).sum(),
            rows: 0,
            taken: of(Fate::Taken),
            covered: of(Fate::Covered),
            shadowed: of(Fate::Shadowed),
            waiting: of(Fate::Waiting),
            oldest_waiting: judged.oldest,
            passed_over: judged.logs.iter().map(|log| log.passed_over).sum(),
            damage: judged.logs.iter().flat_map(|log| log.damage.iter().cloned()).collect(),
        }
    }
}
