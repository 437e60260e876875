//! Logs of hosts, when all snapshots are archived: what they have that no snapshot has becomes rows, in objects of their own.
//!
//! Nothing is remembered but what the archive says. Each run judges all samples anew, with the same result: what was taken is there, by
//! series and time. So a run that was killed is followed by one that does the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Context;
use crate::catalog;
use crate::checkpoint::{Log, Piece};
use crate::clock;
use crate::error::{Error, Escaped, Result, SetAside};
use crate::fail_point;
use crate::files::trusted::ReadFrom;
use crate::files::{ClusterFiles, Filter, LOG_NAME, SnapshotFile, Tree};
use crate::hold::{self, Hold};
use crate::info::ArchiveInfo;
use crate::names::{Cluster, Host};
use crate::rescue::Decided;
use crate::settings::{ArchiveSettings, WalRecords};
use crate::telemetry::{LogSummary, Stage, Summary};
use crate::workers::blocking;

pub use examining::examine;

use run::{LogRun, Logs, Settled};

mod examining;
mod judging;
mod known;
mod reading;
mod run;

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
    /// The one of them that the store may still append to.
    live: Option<PathBuf>,
}

/// What logs there are, in the tree and in the hold.
#[derive(Debug, Default)]
pub struct Found {
    hold: Option<Hold>,
    clusters: Vec<(ClusterFiles, Vec<LogHost>)>,
    /// How many of them are held as links, and as copies.
    held: (u64, u64),
    /// Logs that cannot be held, and why. They are read where they are.
    failed: Vec<SetAside>,
}

/// Looks for logs, and holds them. None if they are not asked for.
///
/// # Errors
/// The hold cannot be listed, or belongs to another tree.
pub async fn find(settings: &ArchiveSettings, tree: &Tree) -> Result<Option<Found>> {
    if !settings.looks_at_logs() {
        return Ok(None);
    }
    let mut found = Found::default();
    if let Some(folder) = &settings.wal_hold {
        match bound(Hold::new(folder), &settings.checkpoints, settings.dry_run).await? {
            Ok(hold) => found.hold = Some(hold),
            Err(e) => found.failed.push(SetAside::new(folder, format!("no logs can be held in it: {e}"))),
        }
    }
    if settings.dry_run {
        return Ok(None);
    }
    let mut hosts: BTreeMap<Cluster, BTreeMap<Host, LogHost>> = BTreeMap::new();
    let root = settings.checkpoints.clone();
    for files in &tree.clusters {
        let of_cluster = hosts.entry(files.cluster.clone()).or_default();
        for host in files.hosts.iter().filter(|host| host.has_log || found.hold.is_some()) {
            let path = files.path.join(host.host.as_str());
            let live = host.has_log.then(|| path.join(LOG_NAME));
            let of_host = LogHost { host: host.host.clone(), path, snapshots: host.snapshots.clone(), logs: Vec::new(), live };
            of_cluster.insert(host.host.clone(), of_host);
        }
    }
    let filter = settings.filter.clone();
    let unlisted: BTreeSet<PathBuf> = tree.set_aside.iter().map(|note| note.path.clone()).collect();
    let found = blocking(move || {
        found.look(&filter, (&root, &unlisted), hosts)?;
        found.pass_over_renamed();
        Ok::<_, io::Error>(found)
    });
    let hold = settings.wal_hold.as_deref().unwrap_or(&settings.checkpoints);
    let found = found.await?.map_err(Error::io("cannot list the held logs in", hold))?;
    fail_point::reach("held");
    Ok(Some(found))
}

/// The hold, if it is this tree's, as it is from now on, but for a dry run; in the result why nothing can be held in it.
async fn bound(hold: Hold, tree: &Path, dry_run: bool) -> Result<io::Result<Hold>> {
    let (of_tree, tree) = (hold.clone(), tree.to_owned());
    match blocking(move || if dry_run { of_tree.other_than(&tree) } else { of_tree.bind(&tree) }).await? {
        Ok(Some(other)) => Err(Error::Usage(format!(
            "the hold of logs {} belongs to the tree {other}\n  hint: give each tree a hold of its own; if this one has moved, remove that file",
            Escaped(&hold.marker())
        ))),
        bound => Ok(bound.map(|_| hold)),
    }
}

impl Found {
    /// Holds the logs of `hosts`, and adds those that are only held. Where a directory could not be listed it is not known what snapshots have: its
    /// held logs stay as they are. Blocks.
    fn look(
        &mut self,
        filter: &Filter,
        (root, unlisted): (&Path, &BTreeSet<PathBuf>),
        mut hosts: BTreeMap<Cluster, BTreeMap<Host, LogHost>>,
    ) -> io::Result<()> {
        let held = self.hold.as_ref().map(Hold::hosts).transpose()?.unwrap_or_default();
        for (cluster, host) in held {
            let path = root.join(cluster.as_str()).join(host.as_str());
            let is_listed = !path.ancestors().take(2).any(|folder| unlisted.contains(folder));
            if is_listed && filter.admits_cluster(cluster.as_str()) && filter.admits_host(cluster.as_str(), host.as_str()) {
                let only_held = LogHost { host: host.clone(), path, snapshots: Vec::new(), logs: Vec::new(), live: None };
                hosts.entry(cluster).or_default().entry(host).or_insert(only_held);
            }
        }
        for (cluster, of_cluster) in hosts {
            let mut with_logs = Vec::new();
            for mut host in of_cluster.into_values() {
                self.keep(&cluster, &mut host)?;
                if !host.logs.is_empty() {
                    with_logs.push(host);
                }
            }
            let files = ClusterFiles { path: root.join(cluster.as_str()), cluster, hosts: Vec::new() };
            self.clusters.push((files, with_logs));
        }
        Ok(())
    }

    /// Holds a host's log, and lists all that are held.
    fn keep(&mut self, cluster: &Cluster, host: &mut LogHost) -> io::Result<()> {
        if let (Some(hold), Some(live)) = (&self.hold, &host.live) {
            match hold.keep(cluster, &host.host, live, first_record) {
                Ok(None) => host.live = None,
                Ok(Some(held)) => host.live = Some(held),
                Err(e) => self.failed.push(SetAside::new(live, format!("the log cannot be held: {e}"))),
            }
        }
        host.logs = self.hold.as_ref().map(|hold| hold.logs(cluster, &host.host)).transpose()?.unwrap_or_default();
        host.logs.extend(host.live.clone().filter(|live| !host.logs.contains(live)));
        Ok(())
    }

    /// A directory that was renamed has its log under its new name: what is held under the old one is the same file, and counts once.
    fn pass_over_renamed(&mut self) {
        let live = self.clusters.iter().flat_map(|(_, hosts)| hosts).filter_map(|host| host.live.clone());
        let live: BTreeMap<(u64, u64), PathBuf> = live.filter_map(|path| Some((hold::identity(&path)?, path))).collect();
        let Self { hold, clusters, held, .. } = self;
        let Some(hold) = hold else { return };
        for host in clusters.iter_mut().flat_map(|(_, hosts)| hosts) {
            host.logs.retain(|log| {
                let Some(other) = hold::identity(log).and_then(|of_log| live.get(&of_log)).filter(|other| *other != log) else { return true };
                if let Err(e) = hold.release_twin(log, other) {
                    tracing::warn!(path = %Escaped(log), "a held log cannot be given up: {e}");
                }
                false
            });
            let copies = host.logs.iter().filter(|log| hold::is_copy(log)).count() as u64;
            let links = host.logs.iter().filter(|log| hold::is_link(log)).count() as u64;
            *held = (held.0 + links, held.1 + copies);
        }
        clusters.iter_mut().for_each(|(_, hosts)| hosts.retain(|host| !host.logs.is_empty()));
    }

    /// Makes rows of what no snapshot has, and gives up the held logs of which everything is decided, archived and proven.
    ///
    /// # Errors
    /// Those of the archive.
    pub async fn archive(self, context: &Arc<Context>, info: ArchiveInfo, settings: &ArchiveSettings, tree: &Tree, summary: &mut Summary) -> Result<()> {
        let watch = &context.progress.watch;
        let Self { hold, clusters, held: (linked, copied), failed } = self;
        summary.logs = Some(LogSummary { linked, copied, ..LogSummary::default() });
        failed.into_iter().for_each(|note| watch.set_aside(Stage::Read, note, summary));
        if settings.dates.is_limited() {
            tracing::info!("logs are held, and not read: a run without --date decides on their samples, when all snapshots are archived");
            return Ok(());
        }
        let decided = if settings.wal == Some(WalRecords::All) { Decided::All } else { Decided::Before(newest(tree)) };
        let floors = watch.at(Stage::Catalog, catalog::floors(&context.archive).await)?;
        for (files, hosts) in clusters {
            let times = i64::MIN..context.choice.before.unwrap_or(i64::MAX);
            let floor = floors.of(&files.cluster);
            let logs = Logs { context, info, files: &files, hosts, floor, decided, times, ledgers: Mutex::default() };
            let settled = LogRun::new(&logs, summary).run().await?;
            let Some(hold) = &hold else { continue };
            for (host, Settled { sizes, .. }) in settled {
                let host = &logs.hosts[host];
                let done = host.logs.iter().zip(sizes).filter(|(path, _)| host.live.as_ref() != Some(path));
                for (path, size) in done.filter_map(|(path, size)| Some((path.clone(), size?))) {
                    release(hold, path, size, summary).await?;
                }
            }
        }
        Ok(())
    }
}

async fn release(hold: &Hold, path: PathBuf, size: u64, summary: &mut Summary) -> Result<()> {
    fail_point::reach("to-be-released");
    let (hold, held) = (hold.clone(), path.clone());
    match blocking(move || hold.release(&held, size)).await? {
        Ok(is_gone) => summary.logs.get_or_insert_default().released += u64::from(is_gone),
        Err(e) => tracing::warn!(path = %Escaped(&path), "a held log cannot be given up: {e}"),
    }
    fail_point::reach("released");
    Ok(())
}

/// How far the first record of a log reaches, in bytes.
fn first_record(file: &File) -> io::Result<Option<u64>> {
    let mut log = Log::new(BufReader::new(ReadFrom { file, at: 0 }));
    while let Some(piece) = log.next()? {
        if let Piece::Record(record) = piece {
            return Ok(Some(record.end));
        }
    }
    Ok(None)
}

/// Where the newest snapshot of a tree begins, if that is not in the future: no later one of its store reaches further back.
fn newest(tree: &Tree) -> i64 {
    let now = clock::now().timestamp();
    let files = tree.clusters.iter().flat_map(|cluster| &cluster.hosts).flat_map(|host| &host.snapshots);
    files.map(|file| file.from).filter(|from| *from <= now).max().unwrap_or(i64::MIN)
}
