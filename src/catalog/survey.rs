//! A part of an archive, gone through partition by partition: one listing, and the footers of many objects at a time.

use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, StreamExt};
use object_store::ObjectMeta;
use object_store::path::Path as Key;
use parquet::file::metadata::ParquetMetaData;

use crate::error::{Error, Result};
use crate::floor::Floors;
use crate::ledger::{Holdings, NotOurs, ObjectLedger, Unreadable};
use crate::names::{Cluster, Date};
use crate::object;
use crate::partition::{self, ObjectKey, Partition};
use crate::settings::Part;
use crate::store::Archive;

/// Partitions whose footers are read at a time, and footers of each.
const CONCURRENT_PARTITIONS: usize = 4;
const CONCURRENT_FOOTERS: usize = 8;

/// The Parquet files of a part of an archive.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that lie in partitions of the part, and are kept.
    pub partitions: BTreeMap<Partition, Vec<ObjectMeta>>,
    /// Those that lie in partitions of the part below the floor: nobody counts them.
    pub expired: BTreeMap<Partition, Vec<ObjectMeta>>,
    /// From which dates on clusters are kept.
    pub floors: Floors,
    /// The first and the last date that there are outside of the part.
    pub others: Option<(Date, Date)>,
    /// Files that lie in no partition.
    pub astray: Vec<Key>,
    /// Folders of clusters that were asked for by name, and hold nothing.
    pub empty: Vec<Key>,
}

/// Lists a part of an archive. `go_on` is asked before each object.
///
/// # Errors
/// [`Error::Usage`]: a cluster cannot have such a name. [`Error::Store`]: it cannot be listed; or what `go_on` says.
pub async fn list(archive: &Archive, part: &Part, go_on: impl Fn() -> Result<()>) -> Result<Listing> {
    let cluster = |name: &String| {
        let unknown = || Error::Usage(format!("--cluster {name:?}: no cluster has such a name\n  hint: cc-archiver ls shows those of an archive"));
        Cluster::new(name).ok_or_else(unknown)
    };
    // one that is named twice is listed once
    let named = part.clusters.iter().map(cluster).collect::<Result<BTreeSet<Cluster>>>()?;
    let folders = if named.is_empty() { vec![None] } else { named.iter().map(partition::cluster_path).map(Some).collect() };
    let mut found = Listing { floors: super::floors(archive).await?, ..Listing::default() };
    for folder in folders {
        let (before, mut elsewhere) = (found.partitions.len(), false);
        let mut listed = archive.store().list(folder.as_ref());
        while let Some(object) = listed.next().await {
            let object = match object {
                Ok(object) => object,
                Err(object_store::Error::NotFound { .. }) => break,
                Err(e) => return Err(Error::store("cannot list", format!("{archive:?}"))(e)),
            };
            go_on()?;
            // readers pass over such names, and ours lie there while they are staged
            let hidden = object.location.parts().any(|part| part.as_ref().starts_with(['_', '.']));
            if hidden || !object.location.as_ref().ends_with(".parquet") {
                continue;
            }
            match Partition::parse(&object.location) {
                Some((partition, _)) if !found.floors.keeps(&partition) => {
                    elsewhere = true;
                    if part.has(partition.date) {
                        found.expired.entry(partition).or_default().push(object);
                    }
                }
                Some((partition, _)) if part.has(partition.date) => found.partitions.entry(partition).or_default().push(object),
                Some((Partition { date, .. }, _)) => {
                    elsewhere = true;
                    found.others = Some(found.others.map_or((date, date), |(first, last)| (first.min(date), last.max(date))));
                }
                None => found.astray.push(object.location),
            }
        }
        found.empty.extend(folder.filter(|_| found.partitions.len() == before && !elsewhere));
    }
    Ok(found)
}

/// One partition.
#[derive(Debug)]
pub struct Surveyed<T> {
    /// Which one.
    pub partition: Partition,
    /// What it holds.
    pub holdings: Holdings,
    /// What was seen of each object of ours that can be read, by key.
    pub seen: BTreeMap<ObjectKey, T>,
    /// Parquet files that are not ours.
    pub foreign: Vec<Key>,
}

/// Goes through partitions in order. `look` sees the footer of each object of ours that can be read, and keeps what it needs: a footer can be large.
pub fn survey<'a, T: 'a>(
    archive: &'a Archive,
    partitions: BTreeMap<Partition, Vec<ObjectMeta>>,
    look: impl Fn(&ObjectLedger, &ParquetMetaData) -> T + Copy + 'a,
) -> impl Stream<Item = Result<Surveyed<T>>> + 'a {
    futures::stream::iter(partitions).map(move |(partition, listed)| look_into(archive, partition, listed, look)).buffered(CONCURRENT_PARTITIONS)
}

/// Reads the footers of one partition that was listed.
///
/// # Errors
/// What is no trouble of one object.
pub async fn look_into<T>(
    archive: &Archive,
    partition: Partition,
    mut listed: Vec<ObjectMeta>,
    look: impl Fn(&ObjectLedger, &ParquetMetaData) -> T,
) -> Result<Surveyed<T>> {
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    let uptime = archive.uptime();
    let keys: BTreeSet<ObjectKey> = listed.iter().filter_map(|object| ObjectKey::parse(&object.location)).collect();
    let look = &look;
    let read = |object: ObjectMeta| async move {
        let opened = object::opened(archive, &object).await;
        let seen = opened.map(|opened| opened.map(|(ledger, footer)| (look(&ledger, &footer), ledger)));
        (seen, object.location)
    };
    let mut footers = futures::stream::iter(listed).map(read).buffered(CONCURRENT_FOOTERS);
    let (mut objects, mut unreadable, mut seen, mut foreign) = (Vec::new(), Vec::new(), BTreeMap::new(), Vec::new());
    while let Some((found, location)) = footers.next().await {
        match found? {
            Ok((saw, ledger)) => {
                seen.insert(ledger.key.clone(), saw);
                objects.push(ledger);
            }
            Err(NotOurs::Foreign) => foreign.push(location),
            Err(why) => unreadable.push(Unreadable::new(archive.name_of(&location), why)),
        }
    }
    drop(footers);
    Ok(Surveyed { partition, holdings: Holdings::new(uptime, objects, unreadable, keys), seen, foreign })
}
