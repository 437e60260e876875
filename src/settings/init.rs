//! What `init` writes.

use std::path::PathBuf;

use serde_json::Value;

use super::Secret;

/// A configuration that has been checked: its entries, in order, and where it goes.
#[derive(Debug, Clone)]
pub struct InitSettings {
    /// The file to write.
    pub file: PathBuf,
    /// Keys of the file with their values; no secrets.
    pub entries: Vec<(String, Value)>,
    /// Key and secret of the S3 account, if it has such.
    pub keys: Option<(String, Secret)>,
}
