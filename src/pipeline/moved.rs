//! New snapshots that have moved: their bytes are archived as those of another host of the cluster, and no such file is on disk any more. So it is
//! after a host's directory was renamed. But two hosts can have the same bytes, and pruning takes the files of one of them: nobody knows which it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

use super::Context;
use super::handed::Refuted;
use crate::error::{Escaped, Result};
use crate::files::{ClusterFiles, SnapshotFile};
use crate::ledger::{Entry, Holdings, host_of};
use crate::names::Digest;
use crate::plan::{Left, Work};
use crate::read;
use crate::telemetry::MovedHost;

/// What was found of one cluster.
pub struct Found<'a> {
    context: &'a Context,
    files: &'a ClusterFiles,
    /// What was looked at by an earlier plan of the run.
    refuted: &'a Refuted,
    /// Snapshots by (index of the host, the other host's name).
    counts: BTreeMap<(usize, Box<str>), u64>,
}

impl<'a> Found<'a> {
    /// Nothing yet.
    pub fn new(context: &'a Context, files: &'a ClusterFiles, refuted: &'a Refuted) -> Self {
        Self { context, files, refuted, counts: BTreeMap::new() }
    }

    /// Looks for those among new snapshots, and gives what is to be archived. A file is read for that only if the archive has one of its name and size
    /// of another host.
    pub async fn look_at(&mut self, work: Vec<Work>, home_of: impl Fn(&SnapshotFile) -> Arc<Holdings>) -> Result<Vec<Work>> {
        let file = |item: &Work| &self.files.hosts[item.host].snapshots[item.snapshot];
        let is_new = |item: &Work| {
            file(item).row_group().is_none()
                && matches!(item.left, Left::Claimed(..))
                && !item.changed
                && !self.refuted.contains_key(&(item.host, item.snapshot))
        };
        let mut sizes: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for item in work.iter().filter(|item| is_new(item)) {
            sizes.entry(&file(item).name).or_default().insert(file(item).size);
        }
        let homes: BTreeMap<_, _> = work.iter().filter(|item| is_new(item)).map(|item| (file(item).home(), home_of(file(item)))).collect();
        let mut alike: BTreeMap<(&str, u64), Vec<&Entry>> = BTreeMap::new();
        for entry in homes.values().flat_map(|holdings| holdings.objects()).flat_map(|object| &*object.entries) {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            if sizes.get(name).is_some_and(|sizes| sizes.contains(&entry.size)) {
                alike.entry((name, entry.size)).or_default().push(entry);
            }
        }
        let mut kept = Vec::with_capacity(work.len());
        for item in &work {
            let candidates = alike.get(&(&*file(item).name, file(item).size)).filter(|_| is_new(item));
            let moved = match candidates {
                Some(candidates) => self.moved_from(item, candidates).await?,
                None => None,
            };
            if let Some(from) = &moved {
                *self.counts.entry((item.host, from.clone())).or_default() += 1;
            }
            kept.push(moved.is_none() || !self.context.choice.leaves_moved);
        }
        let mut kept = kept.into_iter();
        Ok(work.into_iter().filter(|_| kept.next().unwrap_or(true)).collect())
    }

    /// The host as whose snapshot its bytes are archived, if that is not on disk any more.
    async fn moved_from(&self, item: &Work, candidates: &[&Entry]) -> Result<Option<Box<str>>> {
        let host = &self.files.hosts[item.host];
        let name = &host.snapshots[item.snapshot].name;
        let others = || candidates.iter().filter(|entry| entry.host() != host.host.as_str());
        // at a cluster whose hosts write files of one size, nearly all are still there, and no file is read
        let gone: Vec<&&Entry> = others().filter(|entry| !self.is_on_disk(host_of(&entry.path), name)).collect();
        if gone.is_empty() {
            return Ok(None);
        }
        let digest: Option<Digest> = digest_of(self.context, self.files, (item.host, item.snapshot)).await?;
        Ok(gone.into_iter().find(|entry| Some(entry.blake3) == digest).map(|entry| entry.host().into()))
    }

    /// True if the host has a snapshot of this name, also where the run looks at some hosts only.
    fn is_on_disk(&self, host: &str, name: &str) -> bool {
        let listed = self.files.hosts.binary_search_by(|other| other.host.as_str().cmp(host)).ok().map(|index| &self.files.hosts[index]);
        let is_listed = listed.is_some_and(|host| host.of_name(name).is_some());
        // what cannot be looked at may be there
        is_listed || self.files.path.join(host).join(name).symlink_metadata().map_or_else(|e| e.kind() != ErrorKind::NotFound, |_| true)
    }

    /// Host by host.
    pub fn hosts(self) -> Vec<MovedHost> {
        let named = |((host, from), snapshots): ((usize, Box<str>), u64)| {
            let host = Escaped(&self.files.path.join(self.files.hosts[host].host.as_str())).to_string();
            MovedHost { host, archived_as: from.into(), snapshots, left: self.context.choice.leaves_moved }
        };
        self.counts.into_iter().map(named).collect()
    }
}

/// The digest of a file's bytes; None if it cannot be read now, which reading it again will report.
pub async fn digest_of(context: &Context, files: &ClusterFiles, (h, s): (usize, usize)) -> Result<Option<Digest>> {
    let path = files.path_of(h, s);
    let file = files.hosts[h].snapshots[s].clone();
    let (tools, room) = (context.spool.clone(), context.budget.room_of_worker());
    context.workers.run(move || read::digest(&path, &file, &tools, room).ok()).await
}
