//! The archive's own object: read at the beginning of each run, made by the first one.

use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;

use crate::error::{Error, Result};
use crate::info::{ArchiveInfo, KEY};
use crate::object;
use crate::partition::{CLUSTER_FOLDER, ObjectKey};
use crate::store::{Archive, Created, random_token};

/// Reads what was settled when the archive was made; the first request of a run. If it is not there, and `wished` is given, it is made: by what
/// objects say, or as wished. Of two runs that begin at once one makes it, and both go by it.
pub async fn info(archive: &Archive, wished: Option<ArchiveInfo>) -> Result<Option<ArchiveInfo>> {
    if let Some(info) = read(archive).await? {
        return Ok(Some(info));
    }
    // no object is also the answer where there is no bucket: the listing tells
    let found = by_any_object(archive).await?;
    let Some(wished) = wished else { return Ok(found) };
    let (key, made) = (Key::from(KEY), found.unwrap_or(wished));
    let created = archive.create(&key, made.to_json().into(), &random_token()?).await?;
    // also where it is ours: a store may have let another run make it, too
    match read(archive).await? {
        None if created == Created::Taken => Err(Error::Archive(format!("{} was made by another run, and is gone", archive.name_of(&key)))),
        found => Ok(Some(found.unwrap_or(made))),
    }
}

async fn read(archive: &Archive) -> Result<Option<ArchiveInfo>> {
    let key = Key::from(KEY);
    let failed = |e| Error::store("cannot read", archive.name_of(&key))(e);
    let found = match archive.first_contact().get(&key).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let bytes = found.bytes().await.map_err(failed)?;
    ArchiveInfo::from_json(&bytes).map(Some).map_err(|why| Error::Usage(format!("{}: {why}", archive.name_of(&key))))
}

/// What any object of ours says: the archive's own one may have been removed. Nothing else of the bucket is listed.
async fn by_any_object(archive: &Archive) -> Result<Option<ArchiveInfo>> {
    let failed = |e| Error::store("cannot list", format!("{archive:?}"))(e);
    let folders = match archive.first_contact().list_with_delimiter(None).await {
        Ok(root) => root.common_prefixes,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    for folder in folders.iter().filter(|folder| folder.as_ref().starts_with(CLUSTER_FOLDER)) {
        let mut listed = archive.store().list(Some(folder));
        while let Some(object) = listed.next().await.transpose().map_err(failed)? {
            if ObjectKey::parse(&object.location).is_some()
                && let Ok(Ok(found)) = object::ledger(archive, &object).await
            {
                return Ok(Some(found.info));
            }
        }
    }
    Ok(None)
}
