//! The archive's own object, `_cc-archiver.json`: what was settled when the archive was made, and holds for all of its objects.
//!
//! Readers pass over its name. Footers repeat what they depend on, so an archive stays readable without it.

use serde::{Deserialize, Serialize};

use crate::partition::Buckets;
use crate::schema::FORMAT_VERSION;

/// Its key.
pub const KEY: &str = "_cc-archiver.json";

/// What was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveInfo {
    /// Sequences of objects in each partition.
    pub buckets: Buckets,
    /// Whether the column `cluster` is stored.
    pub cluster_column: bool,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    buckets: u32,
    cluster_column: bool,
}

impl ArchiveInfo {
    /// As JSON, with a line end.
    pub fn to_json(self) -> String {
        let written = Written { format: FORMAT_VERSION, buckets: self.buckets.count(), cluster_column: self.cluster_column };
        serde_json::to_string_pretty(&written).unwrap_or_else(|e| unreachable!("plain data: {e}")) + "\n"
    }

    /// Reads what [`Self::to_json`] wrote. What this version does not know is passed over.
    ///
    /// # Errors
    /// It is of a newer format, or no such JSON; the text says what to do.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let wrong = |e: serde_json::Error| format!("it is damaged ({e}); remove it, and the next run of archive makes it again by what footers say");
        let Format { format } = serde_json::from_slice(bytes).map_err(wrong)?;
        if format > FORMAT_VERSION {
            return Err(format!("the archive has format {format}, and this version knows formats up to {FORMAT_VERSION}; upgrade cc-archiver"));
        }
        let Written { buckets, cluster_column, .. } = serde_json::from_slice(bytes).map_err(wrong)?;
        let buckets = Buckets::new(buckets).ok_or_else(|| format!("it says {buckets} buckets, which no archive has"))?;
        Ok(Self { buckets, cluster_column })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        for info in [ArchiveInfo { buckets: Buckets::ONE, cluster_column: false }, ArchiveInfo { buckets: Buckets::FOR_SHARDS, cluster_column: true }] {
            assert_eq!(ArchiveInfo::from_json(info.to_json().as_bytes()), Ok(info));
        }
    }

    #[test]
    fn a_newer_format_says_upgrade_and_nonsense_says_what_to_do() {
        let newer = ArchiveInfo::from_json(br#"{"format": 99, "sequences": []}"#).expect_err("newer");
        assert!(newer.contains("upgrade cc-archiver") && !newer.contains("remove"), "{newer}");
        for wrong in ["", "{", "[]", r#"{"format":1}"#, r#"{"format":1,"buckets":0,"cluster_column":false}"#] {
            assert!(ArchiveInfo::from_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
