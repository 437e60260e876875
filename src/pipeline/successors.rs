//! Which of a host's snapshots can be read: pruning keeps the newest that can, and cc-backend loads no others.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use super::reader::{self, Reader};
use super::useless::{Useless, decodes};
use crate::error::{Error, Result};
use crate::files::{ClusterFiles, SnapshotFile};
use crate::ledger::Holdings;
use crate::names::Date;
use crate::prove::{self, Ledgers, Named};
use crate::prune::{self, Now, Readable};

/// Snapshots that are of no use, by index, for each of a cluster's hosts.
pub type UselessOnes = Vec<BTreeMap<usize, Useless>>;

/// Looks for the newest old snapshot that can be read, of each host, and gives those that cannot.
pub async fn useless_ones(reader: &Reader, files: &ClusterFiles, limit: i64, now: &Now) -> Result<UselessOnes> {
    let early = |file: &SnapshotFile| now.is_before(file.from);
    let mut useless: UselessOnes = files.hosts.iter().map(|_| BTreeMap::new()).collect();
    let mut readable: Vec<Readable> = files.hosts.iter().map(|_| Readable::new()).collect();
    let mut open: BTreeMap<Date, Vec<(usize, usize)>> = BTreeMap::new();
    for (h, host) in files.hosts.iter().enumerate() {
        for (s, _) in host.snapshots.iter().enumerate().filter(|(_, file)| early(file)) {
            readable[h].insert(s, false);
            useless[h].insert(s, Useless::Early);
        }
        if let Some(s) = prune::next_to_read(&host.snapshots, limit, &readable[h]) {
            open.entry(host.snapshots[s].home()).or_default().push((h, s));
        }
    }
    let mut ledgers = Ledgers::default();
    // from the newest date on: what must be looked at next is older
    while let Some((home, places)) = open.pop_last() {
        reader.check_stop()?;
        ledgers.loaded.retain(|date, _| *date == home);
        reader.load(&files.cluster, [home].into(), &mut ledgers).await?;
        let look = |(h, s)| look_at(reader, files, (h, s), ledgers.get(&home).map(|holdings| &**holdings));
        let mut looks = futures::stream::iter(places.into_iter().map(look)).buffered(reader.workers.count());
        while let Some(((h, s), found)) = looks.try_next().await? {
            reader.check_stop()?;
            readable[h].insert(s, found.is_ok());
            found.err().into_iter().for_each(|why| drop(useless[h].insert(s, why)));
            let snapshots = &files.hosts[h].snapshots;
            if let Some(next) = prune::next_to_read(snapshots, limit, &readable[h]) {
                open.entry(snapshots[next].home()).or_default().push((h, next));
            }
        }
    }
    Ok(useless)
}

/// What is archived as it is now was decoded then; all else is decoded now.
#[allow(clippy::type_complexity, reason = "where it is, and what was found")]
async fn look_at(
    reader: &Reader,
    files: &ClusterFiles,
    (h, s): (usize, usize),
    home: Option<&Holdings>,
) -> Result<((usize, usize), std::result::Result<(), Useless>)> {
    let (host, file) = (&files.hosts[h].host, &files.hosts[h].snapshots[s]);
    let place = reader.place_of(files, host, file);
    if let Some(holdings) = home.filter(|holdings| reader::is_named(holdings, &place, file.size)) {
        let found = match reader.hash(place.clone(), file.size).await? {
            Ok(hashed) if prove::dates_of(&Named::from(&hashed), holdings).is_some() => Some(Ok(())),
            Ok(_) => None,
            Err(unread) => Some(Err(Useless::Unread(unread))),
        };
        if let Some(found) = found {
            return Ok(((h, s), found));
        }
    }
    let (path, file) = (place.path(), file.clone());
    let found = reader.workers.run(move || decodes(&path, &file)).await?;
    Ok::<_, Error>(((h, s), found))
}
