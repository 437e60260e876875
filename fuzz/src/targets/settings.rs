//! cc-backend's config.json.

use std::os::fd::AsRawFd;
use std::path::PathBuf;

use cc_archiver::cc_backend::CcBackend;

use super::file_of;

/// Reads it from a file.
pub fn run(bytes: &[u8]) {
    let file = file_of(bytes);
    drop(CcBackend::read(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))));
}

/// As cc-backend has it, and as cc-metric-store had it.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"metric-store":{"checkpoints":{"file-format":"wal","directory":"./var/checkpoints"},"retention-in-memory":"48h","checkpoint-interval":"12h","cleanup":{"mode":"archive"}},"clusters":[{"name":"a","filterRanges":{"duration":{"from":0,"to":86400}}}]}"#,
        r#"{"checkpoints":{"interval":21600,"directory":"cp"},"archive":{"interval":86400,"delete-instead":true},"retention-in-memory":86400}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
