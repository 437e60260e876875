//! The lines of a commit: actions of Delta Lake's protocol, as JSON. What others may have written beside is passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schema;
use crate::error::Result;
use crate::names::Digest;
use crate::partition::ObjectKey;
use crate::random;

/// The version of the protocol that a reader must know: the first, which has no features.
pub const READER_VERSION: u32 = 1;

/// The version of the protocol that a writer must know: the one that lists what it must keep to.
const WRITER_VERSION: u32 = 7;

/// What a writer must keep to: a rule of ours that no other program knows. So others read the table, and refuse to write to it or to tidy it up.
const FEATURE: &str = "ccArchiver";

/// The tag of a file with its digest, as in its footer.
const DIGEST: &str = "CC_ARCHIVER_DIGEST";

/// One line of a commit. One of its fields is set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Line {
    /// Who did what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_info: Option<CommitInfo>,
    /// What readers and writers must know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// What the table is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<Metadata>,
    /// A file of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<Add>,
    /// A file that is of the table no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Remove>,
}

/// Who made a commit, and what for. Nothing rests on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommitInfo {
    /// Unix ms.
    pub timestamp: i64,
    /// What was done, in one of the words that Delta Lake has for it.
    pub operation: String,
    /// How many files were added and removed.
    pub operation_parameters: BTreeMap<String, String>,
    /// The program.
    pub engine_info: String,
    /// The token of the upload.
    pub txn_id: String,
}

/// What readers and writers of a table must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Protocol {
    /// For readers.
    pub min_reader_version: u32,
    /// For writers.
    pub min_writer_version: u32,
    /// What writers must keep to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer_features: Option<Vec<String>>,
}

impl Protocol {
    /// That of our tables.
    pub fn ours() -> Self {
        Self { min_reader_version: READER_VERSION, min_writer_version: WRITER_VERSION, writer_features: Some(vec![FEATURE.to_owned()]) }
    }
}

/// What a table is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// A UUID, which stays.
    pub id: String,
    /// Of its files.
    pub format: Format,
    /// Columns and their types, as JSON.
    pub schema_string: String,
    /// Columns that stand in paths.
    pub partition_columns: Vec<String>,
    /// Properties.
    pub configuration: BTreeMap<String, String>,
    /// Unix ms.
    pub created_time: i64,
}

/// The format of a table's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Its name.
    pub provider: String,
    /// None are known.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Default for Format {
    fn default() -> Self {
        Self { provider: "parquet".into(), options: BTreeMap::new() }
    }
}

impl Metadata {
    /// That of a new table.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(now: i64) -> Result<Self> {
        Ok(Self { id: uuid(random::number()?, random::number()?), created_time: now, ..Self::default() }.into_current())
    }

    /// The same table, with columns and properties as this version has them.
    pub fn into_current(self) -> Self {
        Self {
            format: Format::default(),
            schema_string: schema::columns(),
            partition_columns: schema::PARTITION_COLUMNS.map(str::to_owned).into(),
            configuration: schema::properties(),
            ..self
        }
    }
}

/// A UUID of random bits (version 4).
fn uuid(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48, low & 0xffff_ffff_ffff)
}

/// A file of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Add {
    /// Relative to the table, as a URL has it.
    pub path: String,
    /// By partition column.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Bytes.
    pub size: i64,
    /// Unix ms.
    pub modification_time: i64,
    /// Whether rows come with it, or were there before.
    pub data_change: bool,
    /// Count of rows and bounds of columns, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// What we note of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

impl Add {
    /// An object of the archive.
    pub fn new(key: &ObjectKey, size: u64, modified: i64, digest: Digest, stats: String) -> Self {
        Self {
            path: url_of(&key.to_string()),
            partition_values: partition_values(key),
            size: size as i64,
            modification_time: modified,
            data_change: true,
            stats: Some(stats),
            tags: Some(BTreeMap::from([(DIGEST.to_owned(), digest.to_string())])),
        }
    }

    /// True if it is this object, by what it and the log say.
    pub fn is(&self, size: u64, digest: Digest) -> bool {
        self.size == size as i64 && self.tags.as_ref().and_then(|tags| tags.get(DIGEST)).is_some_and(|found| *found == digest.to_string())
    }

    /// How many rows it has, if its statistics say so.
    pub fn rows(&self) -> Option<u64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Rows {
            num_records: u64,
        }
        serde_json::from_str::<Rows>(self.stats.as_deref()?).ok().map(|rows| rows.num_records)
    }
}

/// A file that is of a table no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remove {
    /// As it was added.
    pub path: String,
    /// Unix ms.
    pub deletion_timestamp: i64,
    /// Whether rows go with it, or stand in another file now.
    pub data_change: bool,
    /// Whether size and partition are told.
    pub extended_file_metadata: bool,
    /// By partition column.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Bytes.
    pub size: i64,
}

impl Remove {
    /// Of a file, at a time in unix ms.
    pub fn of(add: &Add, now: i64) -> Self {
        Self {
            path: add.path.clone(),
            deletion_timestamp: now,
            data_change: true,
            extended_file_metadata: true,
            partition_values: add.partition_values.clone(),
            size: add.size,
        }
    }
}

/// What a key's folders say, as values.
fn partition_values(key: &ObjectKey) -> BTreeMap<String, Option<String>> {
    let values = [key.partition.cluster.as_str().to_owned(), key.partition.date.to_string()];
    schema::PARTITION_COLUMNS.map(str::to_owned).into_iter().zip(values.map(Some)).collect()
}

/// A key as a log has it. Of what our keys consist of, `%` alone stands for something else in a URL.
fn url_of(key: &str) -> String {
    key.replace('%', "%25")
}

/// The key that a log's path means; None if it is no URL of UTF-8.
pub fn key_of(url: &str) -> Option<String> {
    let mut pieces = url.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Cluster, Date};
    use crate::partition::{Buckets, Partition};

    fn key(cluster: &str) -> ObjectKey {
        let partition = Partition { cluster: Cluster::new(cluster).expect("a name"), date: Date::of(0).expect("a date") };
        ObjectKey { bucket: Buckets::ONE.of(&partition.cluster, "n1"), partition, slot: 3, beside: None }
    }

    #[test]
    fn a_path_is_the_key_as_a_url_and_leads_back_to_it() {
        let key = key("a b%é");
        let add = Add::new(&key, 10, 20, Digest::of(b"x"), "{}".into());
        assert_eq!(add.path, "cluster=a%2520b%2525%25C3%25A9/date=1970-01-01/part-00-00003.parquet");
        assert_eq!(key_of(&add.path), Some(key.to_string()));
        assert_eq!(add.partition_values["cluster"].as_deref(), Some("a b%é"));
        assert_eq!(key_of("cluster%3Da/x"), Some("cluster=a/x".into()), "others encode more");
        for wrong in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(key_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_has_one_field_and_names_as_the_protocol_has_them() {
        let add = Add::new(&key("c"), 10, 20, Digest::of(b"x"), r#"{"numRecords":7}"#.into());
        let line = serde_json::to_value(Line { add: Some(add.clone()), ..Line::default() }).expect("plain data");
        assert_eq!(line.as_object().map(|fields| fields.keys().map(String::as_str).collect()), Some(vec!["add"]));
        assert_eq!((&line["add"]["modificationTime"], &line["add"]["dataChange"]), (&20.into(), &true.into()));
        let read: Line = serde_json::from_value(line).expect("as it was written");
        assert_eq!(read.add, Some(add.clone()));
        assert_eq!(add.rows(), Some(7));
        assert!(add.is(10, Digest::of(b"x")) && !add.is(11, Digest::of(b"x")) && !add.is(10, Digest::of(b"y")));
        let protocol = serde_json::to_value(Protocol::ours()).expect("plain data");
        assert_eq!(protocol.to_string(), r#"{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["ccArchiver"]}"#);
    }

    #[test]
    fn lines_of_others_are_passed_over() {
        let line: Line = serde_json::from_str(r#"{"domainMetadata":{"domain":"x"}}"#).expect("a line");
        assert!(line.add.is_none() && line.protocol.is_none());
    }

    #[test]
    fn an_id_is_a_random_uuid() {
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
    }
}
