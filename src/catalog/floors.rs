//! The archive's floor, as it is now, and how it is raised.

use futures::TryStreamExt;
use object_store::path::Path as Key;

use crate::error::{Error, Result};
use crate::floor::{FOLDER, Floors, Mark};
use crate::random;
use crate::store::Archive;

/// Below which dates nothing is kept: one listing.
pub async fn floors(archive: &Archive) -> Result<Floors> {
    let folder = Key::from(FOLDER);
    let listed = archive.store().list(Some(&folder)).map_ok(|object| object.location).try_collect::<Vec<_>>().await;
    match listed {
        Ok(keys) => Ok(Floors::listed(keys)),
        Err(object_store::Error::NotFound { .. }) => Ok(Floors::default()),
        Err(e) => Err(Error::store("cannot list", archive.name_of(&folder))(e)),
    }
}

/// Raises the floor. A mark that is there already is no error: it says the same.
pub async fn raise(archive: &Archive, mark: &Mark) -> Result<()> {
    archive.create(&mark.path(), mark.text().into(), &random::token()?, || true).await.map(drop)
}
