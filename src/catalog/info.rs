//! The archive's own object: read at the beginning of each run, made by the first one.

use object_store::ObjectStoreExt;
use object_store::path::Path as Key;

use crate::error::{Error, Result, xml_field};
use crate::info::{ArchiveInfo, KEY};
use crate::ledger::NotOurs;
use crate::object;
use crate::partition::{CLUSTER_FOLDER, DATE_FOLDER, ObjectKey};
use crate::random;
use crate::store::{Archive, Created};

/// How many objects, and dates of a cluster, are looked at where the archive's own object is not there.
const LOOKED_AT: usize = 20;

/// Reads what was settled when the archive was made; the first request of a run. If it is not there, and `wished` is given, it is made: by what
/// objects say, or as wished. Of two runs that begin at once one makes it, and both go by it.
pub async fn info(archive: &Archive, wished: Option<ArchiveInfo>) -> Result<Option<ArchiveInfo>> {
    if let Some(info) = read(archive).await? {
        return Ok(Some(info));
    }
    // no object is also the answer where there is no bucket: the listing tells
    let found = match (by_any_object(archive).await, wished) {
        // who only reads goes by what each object says
        (Err(Error::Archive(_)), None) => return Ok(None),
        (found, _) => found?,
    };
    let Some(wished) = wished else { return Ok(found) };
    let (key, made) = (Key::from(KEY), found.unwrap_or(wished));
    let created = archive.create(&key, made.to_json().into(), &random::token()?, || true).await?;
    // also where it is ours: a store may have let another run make it, too
    match read(archive).await?.or(found) {
        None if created == Created::Taken => Err(Error::Archive(format!(
            "{} was made by another run, and cannot be read\n  hint: run again; if this comes again, let this user read it",
            archive.name_of(&key)
        ))),
        known => Ok(Some(known.unwrap_or(made))),
    }
}

async fn read(archive: &Archive) -> Result<Option<ArchiveInfo>> {
    let key = Key::from(KEY);
    let failed = |e| Error::store("cannot read", archive.name_of(&key))(e);
    let found = match archive.first_contact().get(&key).await {
        Ok(found) => found,
        Err(e) => {
            let text = e.to_string();
            return match (e, xml_field(&text, "Code")) {
                (e, Some("NoSuchBucket")) => Err(failed(e)),
                (object_store::Error::NotFound { .. }, _) => Ok(None),
                (_, Some("InvalidObjectState")) => {
                    let name = archive.name_of(&key);
                    tracing::warn!("{name} is in a storage class that must be restored first; footers are read instead. Let lifecycle rules leave it out");
                    Ok(None)
                }
                (e, _) => Err(failed(e)),
            };
        }
    };
    let bytes = found.bytes().await.map_err(failed)?;
    ArchiveInfo::from_json(&bytes).map(Some).map_err(|why| Error::Usage(format!("{}: {why}", archive.name_of(&key))))
}

/// What the newest object of ours says that can be read: the archive's own one may have been removed. Little is listed, whatever else is there.
async fn by_any_object(archive: &Archive) -> Result<Option<ArchiveInfo>> {
    let (mut left, mut unreadable) = (LOOKED_AT, None);
    for cluster in folders(archive, None, CLUSTER_FOLDER).await? {
        for date in folders(archive, Some(&cluster), DATE_FOLDER).await?.iter().rev().take(LOOKED_AT) {
            let listed = archive.store().list_with_delimiter(Some(date)).await.map_err(Error::store("cannot list", archive.name_of(date)))?;
            for object in listed.objects.iter().filter(|object| ObjectKey::parse(&object.location).is_some()) {
                match object::ledger(archive, object).await? {
                    Ok(found) => return Ok(Some(found.info)),
                    Err(NotOurs::Foreign) => {}
                    Err(why) => unreadable = Some(format!("{}: {why}", archive.name_of(&object.location))),
                }
                left -= 1;
                if left == 0 {
                    return unknown(archive, unreadable);
                }
            }
        }
    }
    unknown(archive, unreadable)
}

/// Nothing tells what was settled. If there are objects of ours, it must not be settled anew.
fn unknown(archive: &Archive, unreadable: Option<String>) -> Result<Option<ArchiveInfo>> {
    let told = |why| {
        format!(
            "{} is missing, and no object could be read that says the same; {why}\n  hint: put it back, or make the objects readable",
            archive.name_of(&KEY)
        )
    };
    unreadable.map_or(Ok(None), |why| Err(Error::Archive(told(why))))
}

/// Folders of a folder whose names begin so, in order.
async fn folders(archive: &Archive, within: Option<&Key>, prefix: &str) -> Result<Vec<Key>> {
    match archive.first_contact().list_with_delimiter(within).await {
        Ok(listed) => {
            let mut folders = listed.common_prefixes;
            folders.retain(|folder| folder.filename().is_some_and(|name| name.starts_with(prefix)));
            folders.sort();
            Ok(folders)
        }
        Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
        Err(e) => Err(Error::store("cannot list", format!("{archive:?}"))(e)),
    }
}
