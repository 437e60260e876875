//! Any Parquet file, looked into: ours or not, and whatever its name is.

use object_store::path::Path as Key;
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::ParquetMetaData;

use super::end::End;
use crate::ledger::{self, NotOurs, ObjectLedger};
use crate::store::Archive;

/// What stands at the end of a Parquet file.
#[derive(Debug)]
pub struct LookedInto {
    /// The footer.
    pub metadata: ParquetMetaData,
    /// Byte offset of the footer.
    pub footer_at: u64,
    /// The ledger before it, or why there is none.
    pub ledger: Result<ObjectLedger, NotOurs>,
}

/// Reads the footer of an object of `size` bytes, and the ledger, by the key that the footer says. An object that was copied or renamed has one, too.
///
/// # Errors
/// The footer cannot be read: from which byte on, and why.
pub async fn look_into(archive: &Archive, location: &Key, size: u64) -> Result<LookedInto, (u64, ParquetError)> {
    let trailer = size.saturating_sub(FOOTER_SIZE as u64);
    let mut end = End::fetch(archive, location, size).await.map_err(|e| (trailer, e))?;
    let footer_at = end.footer_at();
    let metadata = end.metadata().await.map_err(|e| (footer_at, e))?;
    let pairs = metadata.file_metadata().key_value_metadata();
    let has_clusters = metadata.file_metadata().schema_descr().columns().iter().any(|column| column.name() == "cluster");
    let described = match (ledger::newer(pairs), ledger::written_at(pairs)) {
        (Some(newer), _) => Err(newer),
        (None, Some(key)) => ledger::read(&key, size, has_clusters, pairs),
        (None, None) => Err(NotOurs::Foreign),
    };
    let ledger = match described {
        Ok(described) => end.ledger(described.ledger_size).await.map_err(|e| NotOurs::damaged(e.to_string())).and_then(|bytes| described.with_ledger(&bytes)),
        Err(why) => Err(why),
    };
    Ok(LookedInto { metadata, footer_at, ledger })
}
