//! What checks of a store have in common.

use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStore, PutMultipartOptions};

use crate::error::Error;
use crate::store::Archive;

/// What a store answered that refused, on one line.
pub fn told(e: object_store::Error) -> String {
    let text = Error::store("refused", "the request")(e).to_string();
    text.trim_start_matches("refused the request: ").replace("\n  hint: ", "; ")
}

/// Begins an upload in parts, as a run does.
pub async fn begin(archive: &Archive, key: &Key) -> object_store::Result<Box<dyn MultipartUpload>> {
    let options = PutMultipartOptions { attributes: archive.attributes("doctor"), tags: archive.tags(), ..Default::default() };
    archive.store().put_multipart_opts(key, options).await
}
