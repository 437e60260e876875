//! The table of an archive, read from its log as the protocol of Delta Lake says, without the program.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::Array;
use arrow_array::cast::AsArray;
use bytes::Bytes;
use object_store::path::Path as Key;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The files of a table; None if there is no log.
///
/// A reader that begins with the last checkpoint must find what one finds that reads all commits.
pub fn files(log: &BTreeMap<Key, Bytes>) -> Result<Option<BTreeSet<Key>>, String> {
    let versions = |ending: &str| -> BTreeMap<u64, &Bytes> {
        let version = |key: &Key| key.filename()?.strip_suffix(ending)?.parse().ok();
        log.iter().filter_map(|(key, bytes)| Some((version(key)?, bytes))).collect()
    };
    let (commits, checkpoints) = (versions(".json"), versions(".checkpoint.parquet"));
    let Some(last) = commits.keys().next_back().copied() else {
        return if log.is_empty() { Ok(None) } else { Err(format!("a log without commits: {:?}", log.keys())) };
    };
    if commits.len() as u64 != last + 1 {
        return Err(format!("the log has {} commits, and the last is {last}", commits.len()));
    }
    let mut files = BTreeSet::new();
    for commit in commits.values() {
        apply(&mut files, commit)?;
    }
    if let Some((version, checkpoint)) = checkpoints.last_key_value() {
        let mut from_checkpoint = added(checkpoint)?;
        for commit in commits.range(version + 1..).map(|(_, commit)| commit) {
            apply(&mut from_checkpoint, commit)?;
        }
        if from_checkpoint != files {
            return Err(format!("from the checkpoint of version {version} on the table has {from_checkpoint:?}, by all commits {files:?}"));
        }
    }
    let hint = log.get(&Key::from("_delta_log/_last_checkpoint")).map(|hint| serde_json::from_slice::<serde_json::Value>(hint));
    if let Some(hint) = hint.transpose().map_err(|e| format!("_last_checkpoint: {e}"))?
        && !hint["version"].as_u64().is_some_and(|version| checkpoints.contains_key(&version))
    {
        return Err(format!("_last_checkpoint leads to nothing: {hint}"));
    }
    Ok(Some(files))
}

/// Adds and removes what a commit says.
fn apply(files: &mut BTreeSet<Key>, commit: &Bytes) -> Result<(), String> {
    for line in commit.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: serde_json::Value = serde_json::from_slice(line).map_err(|e| format!("a commit is no JSON: {e}"))?;
        let key = |action: &str| line[action]["path"].as_str().map(Key::from);
        files.extend(key("add"));
        if let Some(key) = key("remove") {
            files.remove(&key);
        }
    }
    Ok(())
}

/// Files of a checkpoint.
fn added(checkpoint: &Bytes) -> Result<BTreeSet<Key>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(checkpoint.clone()).and_then(|reader| reader.build()).map_err(|e| format!("a checkpoint: {e}"))?;
    let mut files = BTreeSet::new();
    for batch in reader {
        let batch = batch.map_err(|e| format!("a checkpoint: {e}"))?;
        let add = batch.column_by_name("add").ok_or("a checkpoint without adds")?.as_struct();
        let path = add.column_by_name("path").ok_or("adds without paths")?.as_string::<i32>();
        files.extend((0..batch.num_rows()).filter(|row| add.is_valid(*row)).map(|row| Key::from(path.value(row))));
    }
    Ok(files)
}
