//! Who reads snapshots of one tree, and the ledgers of one archive that name them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::planning;
use crate::buffers::Buffers;
use crate::error::{Error, Result};
use crate::files::{ClusterFiles, Hashed, Place, SnapshotFile, Unread};
use crate::floor::Floor;
use crate::ledger::Holdings;
use crate::names::{Cluster, Date, Host};
use crate::prove::{Ledgers, Named};
use crate::read;
use crate::spool::Tools;
use crate::store::Archive;
use crate::workers::Workers;

/// See the module.
pub struct Reader {
    /// The checkpoint tree.
    pub tree: PathBuf,
    /// Where the ledgers are.
    pub archive: Archive,
    /// Who reads files. Stopped: nothing more is read or deleted.
    pub workers: Workers,
}

impl Reader {
    /// An error if the run is to end.
    pub fn check_stop(&self) -> Result<()> {
        if self.workers.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Where a snapshot is.
    pub fn place_of(&self, files: &ClusterFiles, host: &Host, file: &SnapshotFile) -> Place {
        Place { tree: self.tree.clone(), cluster: files.cluster.clone(), host: host.clone(), name: (*file.name).into() }
    }

    /// True if the floor keeps nothing of the snapshot at `path`.
    pub async fn is_expired(&self, path: PathBuf, file: &SnapshotFile, floor: Floor) -> Result<bool> {
        let file = file.clone();
        self.workers.run(move || planning::is_expired(&path, &file, floor)).await
    }

    /// Adds those of `dates` that are kept and whose ledgers are not there yet.
    pub async fn load(&self, cluster: &Cluster, dates: BTreeSet<Date>, ledgers: &mut Ledgers) -> Result<()> {
        let dates = dates.into_iter().filter(|date| ledgers.floor.keeps(*date)).collect();
        planning::load_ledgers(&self.archive, cluster, dates, &mut ledgers.loaded).await.map(drop)
    }

    /// Hashes a file of `size` bytes when a worker is free; gives up if the run is to end.
    pub async fn hash(&self, place: Place, size: u64) -> Result<Result<Hashed, Unread>> {
        let asked = self.workers.clone();
        self.workers.run(move || Hashed::new(place, size, || !asked.is_stopped())).await
    }

    /// The same for a snapshot that may lie in a zip archive: what ledgers name it by.
    pub async fn name(&self, files: &ClusterFiles, host: &Host, file: &SnapshotFile) -> Result<Result<Named, Unread>> {
        if file.packed.is_none() {
            return Ok(self.hash(self.place_of(files, host, file), file.size).await?.map(|hashed| Named::from(&hashed)));
        }
        let (path, of, host) = (file.path_in(&files.path.join(host.as_str())), file.clone(), host.clone());
        // a member goes to the hasher as it is unpacked, and nowhere else
        let tools = Tools { buffers: Buffers::new(0), folder: PathBuf::new() };
        let hash = move || read::digest(&path, &of, &tools, usize::MAX).map(|digest| Named { path: of.ledger_path(&host), host, digest });
        self.workers.run(hash).await
    }
}

/// True if a ledger names a file of this path and size.
pub fn is_named(holdings: &Holdings, place: &Place, size: u64) -> bool {
    let path = place.ledger_path();
    holdings.of_host(place.host.as_str()).any(|(_, entry)| entry.path == path && entry.size == size)
}
