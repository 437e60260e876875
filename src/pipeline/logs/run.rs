//! The logs of one cluster: judged host by host, and their rows written to objects.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use super::super::budget::{Share, memory_of};
use super::super::handed::{Ended, Message, Written};
use super::super::objects::Writer;
use super::super::open::Target;
use super::super::{Context, planning, proof};
use super::judging::{self, Judged, Rules};
use super::known::{self, Wanted};
use super::{LogHost, reading};
use crate::clock;
use crate::error::{Error, Result, SetAside};
use crate::fail_point;
use crate::files::{ClusterFiles, LOG_NAME};
use crate::floor::Floor;
use crate::info::ArchiveInfo;
use crate::ledger::Holdings;
use crate::names::Date;
use crate::partition::{Bucket, Partition};
use crate::prove::Claim;
use crate::random;
use crate::rescue::{Decided, Fate};
use crate::telemetry::{LogSummary, Stage, Summary};

/// So often the rows of a partition are written again in one run, when other writers are faster each time.
const MOST_RACES: u64 = 5;

/// Before that: up to so many ms, times the races lost.
const PAUSE: u64 = 500;

/// Why a held log is not given up that the store has deleted.
const DAMAGED: &str = "kept: bytes of it are damaged, and it is held only here; its good records are taken as ever; remove it when nobody needs the rest";

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

/// What the archive holds, by date.
pub type Ledgers = BTreeMap<Date, Arc<Holdings>>;

/// The logs of one cluster, and by what they are judged.
pub struct Logs<'a> {
    /// The run.
    pub context: &'a Arc<Context>,
    /// How the archive was made.
    pub info: ArchiveInfo,
    /// The cluster's files.
    pub files: &'a ClusterFiles,
    /// Hosts that have logs, in order.
    pub hosts: Vec<LogHost>,
    /// From which date on the archive keeps rows.
    pub floor: Floor,
    /// What is decided.
    pub decided: Decided,
    /// Only samples of these times are taken, unix s.
    pub times: Range<i64>,
    /// What the archive holds, by date.
    pub ledgers: Mutex<Ledgers>,
}

/// Judges them, and writes what becomes a row.
pub struct LogRun<'a> {
    logs: &'a Logs<'a>,
    summary: &'a mut Summary,
    /// Hosts of which rows were not written, as another writer was faster, or too many objects were open.
    again: BTreeSet<usize>,
    /// What became of the logs of each host.
    judged: BTreeMap<usize, Settled>,
    /// Why nothing was taken of hosts.
    kept: BTreeMap<usize, SetAside>,
    /// Hosts whose rows are not all proven.
    unproven: BTreeSet<usize>,
}

/// What became of the logs of a host.
pub struct Settled {
    /// In numbers.
    pub summary: LogSummary,
    /// Of each log, in the order of the host's: its bytes, if all of its samples are decided, and nobody has to look at it.
    pub sizes: Vec<Option<u64>>,
    /// Logs that somebody has to look at.
    notes: Vec<SetAside>,
}

impl Logs<'_> {
    /// The memory for a host's logs and snapshots, by their sizes.
    async fn share(&self, host: usize) -> Share {
        let LogHost { snapshots, logs, .. } = &self.hosts[host];
        let log = |path: &PathBuf| std::fs::metadata(path).map_or(0, |status| status.len());
        let newest = snapshots.iter().rev().take(logs.len() + 2).map(memory_of).sum::<u64>();
        self.context.budget.take(logs.iter().map(log).sum::<u64>() + newest).await
    }

    /// What becomes of the samples of one host, or why that cannot be said.
    async fn judge(&self, index: usize) -> Result<Result<Judged, String>> {
        let (context, host) = (self.context, &self.hosts[index]);
        let (paths, workers) = (host.logs.clone(), context.workers.clone());
        let now = clock::now().timestamp();
        let logged = context.workers.run(move || reading::read(&paths, now, || !workers.is_stopped())).await?;
        if context.is_stopped() {
            return Err(Error::Interrupted);
        }
        if let Some(note) = logged.unreadable.first() {
            return Ok(Err(format!("kept: {}", note.reason)));
        }
        if logged.dates.is_empty() {
            return Ok(Ok(Judged { waiting: vec![0; logged.logs.len()], logs: logged.logs, ..Judged::default() }));
        }
        let times = known::around(&logged.dates);
        let wanted = Wanted { context, host: &host.host, path: host.path.clone(), snapshots: &host.snapshots, times, floor: self.floor };
        let (dates, near) = wanted.dates().await?;
        let ledgers = self.ledgers_of(dates).await?;
        let around = match wanted.load(near, &ledgers).await? {
            Ok(around) => around,
            Err(reason) => return Ok(Err(reason)),
        };
        let rules = Rules { decided: self.decided, times: self.times.clone(), floor: self.floor };
        let judged = context.workers.run(move || judging::judge(logged, around, &rules)).await?;
        fail_point::reach("judged");
        Ok(judged.map(|judged| Judged { ledgers, ..judged }).map_err(|e| format!("kept: a snapshot beside it cannot be read: {e}")))
    }

    /// What the archive holds of some dates: what was loaded first, so that all hosts are judged by the same. The lock is not held while
    /// something is loaded, as whoever waits for it may be the one who polls the loading.
    async fn ledgers_of(&self, dates: BTreeSet<Date>) -> Result<Ledgers> {
        let known = || self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loaded: Ledgers = known().clone();
        planning::load_ledgers(&self.context.archive, &self.files.cluster, dates.clone(), &mut loaded).await?;
        let mut known = known();
        Ok(dates.into_iter().filter_map(|date| Some((date, Arc::clone(known.entry(date).or_insert(loaded.remove(&date)?))))).collect())
    }

    fn forget(&self, date: Option<Date>) {
        let mut known = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other, _| date.is_some_and(|date| *other != date));
    }

    fn begin(&self, bucket: Bucket, date: Date, holdings: Arc<Holdings>) -> Result<Open> {
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

impl<'a> LogRun<'a> {
    /// Of these logs.
    pub fn new(logs: &'a Logs<'a>, summary: &'a mut Summary) -> Self {
        Self { logs, summary, again: BTreeSet::new(), judged: BTreeMap::new(), kept: BTreeMap::new(), unproven: BTreeSet::new() }
    }

    /// Judges and writes, and again what is left: where another writer was faster, and dates for which no object was free. Gives what became of the logs of hosts of which all is archived and proven.
    pub async fn run(mut self) -> Result<BTreeMap<usize, Settled>> {
        let (mut left, mut lost): (BTreeSet<usize>, u64) = ((0..self.logs.hosts.len()).collect(), 0);
        loop {
            let written = self.summary.objects_written;
            self.round(&left).await?;
            left = std::mem::take(&mut self.again);
            left.retain(|host| !self.unproven.contains(host));
            if left.is_empty() {
                break;
            }
            lost = if self.summary.objects_written > written { 1 } else { lost + 1 };
            if lost > MOST_RACES {
                let reason = format!("kept: planned {lost} times in vain, as other writers were faster; the next run tries again");
                left.iter().for_each(|host| self.keep(*host, reason.clone()));
                break;
            }
            tokio::time::sleep(Duration::from_millis(random::number()? % (PAUSE * lost))).await;
            self.logs.forget(None);
        }
        let logs = self.summary.logs.get_or_insert_default();
        self.judged.values().for_each(|judged| logs.add(&judged.summary));
        self.judged.retain(|host, _| !self.unproven.contains(host) && !self.kept.contains_key(host));
        let watch = &self.logs.context.progress.watch;
        let notes = self.judged.values_mut().flat_map(|judged| std::mem::take(&mut judged.notes));
        notes.for_each(|note| watch.set_aside(Stage::Read, note, self.summary));
        self.kept.into_values().for_each(|note| watch.set_aside(Stage::Merge, note, self.summary));
        Ok(self.judged)
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
                    let mut settled = Settled::new(&judged, &logs.hosts[host]);
                    // rows of this run's earlier rounds are not those of earlier runs
                    settled.summary.taken = self.judged.get(&host).map_or(settled.summary.taken, |before| before.summary.taken);
                    self.judged.insert(host, settled);
                    self.write(bucket, ToWrite { host, judged, share }, open).await?;
                }
                Err(reason) => self.keep(host, reason),
            }
        }
        Ok(())
    }

    /// Hands the rows of a host to the open objects.
    async fn write(&mut self, bucket: Bucket, ToWrite { host, judged, share }: ToWrite, open: &mut BTreeMap<Date, Open>) -> Result<()> {
        let (context, Judged { days, logs, ledgers, .. }) = (self.logs.context, judged);
        for (date, series) in days {
            // the next round has room for it, and knows what was written in this one
            if !open.contains_key(&date) && open.len() >= context.budget.open_objects() {
                self.again.insert(host);
                continue;
            }
            let Some(holdings) = ledgers.get(&date) else {
                self.keep(host, format!("kept: it was not looked at what the archive holds of {date}"));
                continue;
            };
            let partition = match open.entry(date) {
                // the host was judged by another listing than the object is planned on
                Entry::Occupied(partition) if !Arc::ptr_eq(&partition.get().holdings, holdings) => {
                    self.again.insert(host);
                    continue;
                }
                Entry::Occupied(partition) => partition.into_mut(),
                Entry::Vacant(none) => none.insert(self.logs.begin(bucket, date, Arc::clone(holdings))?),
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
        let all = hosts.clone();
        if finish {
            writer.send(Message::Finish).await;
        }
        let Ended { written, end } = writer.join().await;
        let Logs { context, files, .. } = self.logs;
        // what was listed is not what is there now
        self.logs.forget(Some(date));
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
        if !wrong.is_empty() {
            self.unproven.extend(all);
        }
        wrong.into_iter().for_each(|note| watch.set_aside(Stage::Prove, note, self.summary));
        Ok(())
    }
}

impl Settled {
    fn new(judged: &Judged, host: &LogHost) -> Self {
        let of = |fate: Fate| judged.fates.get(&fate).copied().unwrap_or_default();
        let summary = LogSummary {
            logs: judged.logs.len() as u64,
            records: judged.logs.iter().map(|log| log.records).sum(),
            taken: of(Fate::Taken),
            covered: of(Fate::Covered),
            shadowed: of(Fate::Shadowed),
            expired: of(Fate::Expired),
            waiting: of(Fate::Waiting),
            oldest_waiting: judged.oldest,
            passed_over: judged.logs.iter().map(|log| log.passed_over).sum(),
            damage: judged.logs.iter().flat_map(|log| log.damage.iter().cloned()).collect(),
            ..LogSummary::default()
        };
        let (mut sizes, mut notes) = (Vec::new(), Vec::new());
        for ((log, waiting), path) in judged.logs.iter().zip(&judged.waiting).zip(&host.logs) {
            let note = log.unknown.as_ref().map(|reason| format!("kept: it is no log that is known: {reason}"));
            // what the store still has may yet come into a snapshot
            let note = note.or_else(|| (log.is_damaged && host.live.as_ref() != Some(path)).then(|| DAMAGED.to_owned()));
            sizes.push((*waiting == 0 && !log.is_unread && note.is_none()).then_some(log.size));
            notes.extend(note.map(|note| SetAside::new(path, note)));
        }
        Self { summary, sizes, notes }
    }
}
