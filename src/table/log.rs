//! The files of a log: `_delta_log/<version>.json`, of which each version has one; now and then a checkpoint of all before; and
//! `_last_checkpoint`, which says where to begin to read.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use super::actions::Line;
use super::checkpoint;
use crate::error::{Error, Result};
use crate::object;
use crate::random;
use crate::store::{Archive, Created};

/// The folder. Readers of the archive's own folders pass over its name.
pub const FOLDER: &str = "_delta_log";

const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// Commits that are read at a time.
const CONCURRENT: usize = 8;

/// What `_last_checkpoint` says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastCheckpoint {
    version: u64,
    /// Lines.
    #[serde(default)]
    size: u64,
    #[serde(default)]
    size_in_bytes: u64,
    #[serde(default)]
    num_of_add_files: u64,
}

/// What a log's folder holds.
#[derive(Debug)]
pub enum Contents {
    /// There is no log.
    Nothing,
    /// It cannot be read.
    Broken {
        /// The version behind the highest that there is.
        next: u64,
        /// What is wrong.
        why: String,
    },
    /// All of it, from the last checkpoint on.
    Lines(Lines),
}

/// The lines of a log, in order.
#[derive(Debug)]
pub struct Lines {
    /// The version that they lead to.
    pub version: u64,
    /// The version of the checkpoint that they begin with.
    pub checkpoint: Option<u64>,
    /// Whether `_last_checkpoint` leads to it.
    pub is_hinted: bool,
    /// From the checkpoint, then from each commit.
    pub lines: Vec<Line>,
}

/// Versions that there are.
#[derive(Debug, Default)]
struct Versions {
    commits: BTreeSet<u64>,
    checkpoints: BTreeSet<u64>,
}

fn commit_key(version: u64) -> Key {
    Key::from(format!("{FOLDER}/{version:020}.json"))
}

fn checkpoint_key(version: u64) -> Key {
    Key::from(format!("{FOLDER}/{version:020}.checkpoint.parquet"))
}

/// Reads a log. If there is none, that takes two small requests: one for `_last_checkpoint`, which may be missing, and a listing.
///
/// # Errors
/// [`Error::Store`]: it cannot be listed or read. What stands in it is no error.
pub async fn read(archive: &Archive) -> Result<Contents> {
    let hint = match hint(archive).await? {
        Hint::Version(version) => Some(version),
        Hint::Absent | Hint::Unreadable => None,
    };
    let mut versions = listed(archive, hint).await?;
    let is_hinted = hint.is_some_and(|hint| versions.checkpoints.contains(&hint));
    if hint.is_some() && !is_hinted {
        versions = listed(archive, None).await?;
    }
    let Some(version) = versions.commits.last().copied().max(versions.checkpoints.last().copied()) else { return Ok(Contents::Nothing) };
    let broken = |why: String| Ok(Contents::Broken { next: version + 1, why });
    let checkpoint = versions.checkpoints.last().copied();
    let first = checkpoint.map_or(0, |checkpoint| checkpoint + 1);
    if let Some(missing) = (first..=version).find(|version| !versions.commits.contains(version)) {
        return broken(format!("its version {missing} is missing"));
    }
    let mut lines = Vec::new();
    if let Some(version) = checkpoint {
        let key = checkpoint_key(version);
        let bytes = get(archive, &key).await?;
        match object::without_panic(async { checkpoint::decode(bytes) }).await {
            Ok(found) => lines = found,
            Err(e) => return broken(format!("{key}: {e}")),
        }
    }
    let fetch = |version: u64| async move { Ok::<_, Error>((version, get(archive, &commit_key(version)).await?)) };
    let mut commits = futures::stream::iter(first..=version).map(fetch).buffered(CONCURRENT);
    while let Some((version, bytes)) = commits.try_next().await? {
        match parse(&bytes) {
            Ok(found) => lines.extend(found),
            Err(e) => return broken(format!("{}: {e}", commit_key(version))),
        }
    }
    Ok(Contents::Lines(Lines { version, checkpoint, is_hinted, lines }))
}

/// What `_last_checkpoint` says. It is only where to begin.
enum Hint {
    Absent,
    Unreadable,
    Version(u64),
}

async fn hint(archive: &Archive) -> Result<Hint> {
    let key = Key::from(LAST_CHECKPOINT);
    let failed = |e| Error::store("cannot read", archive.name_of(&key))(e);
    let found = match archive.store().get(&key).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(Hint::Absent),
        Err(e) => return Err(failed(e)),
    };
    Ok(serde_json::from_slice(&found).map_or(Hint::Unreadable, |LastCheckpoint { version, .. }| Hint::Version(version)))
}

/// The versions from a checkpoint on; all of them without one.
async fn listed(archive: &Archive, from: Option<u64>) -> Result<Versions> {
    let (folder, mut versions) = (Key::from(FOLDER), Versions::default());
    let mut listed = match from {
        // the names of its own files are behind this one
        Some(version) => archive.store().list_with_offset(Some(&folder), &Key::from(format!("{FOLDER}/{version:020}"))),
        None => archive.store().list(Some(&folder)),
    };
    loop {
        let object = match listed.try_next().await {
            Ok(Some(object)) => object,
            Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(versions),
            Err(e) => return Err(Error::store("cannot list", archive.name_of(&folder))(e)),
        };
        let Some((digits, rest)) = object.location.filename().and_then(|name| name.split_at_checked(20)) else { continue };
        let of_kind = match rest {
            ".json" => &mut versions.commits,
            ".checkpoint.parquet" => &mut versions.checkpoints,
            _ => continue,
        };
        of_kind.extend(digits.parse::<u64>());
    }
}

async fn get(archive: &Archive, key: &Key) -> Result<Bytes> {
    let failed = |e| Error::store("cannot read", archive.name_of(key))(e);
    archive.store().get(key).await.map_err(failed)?.bytes().await.map_err(failed)
}

fn parse(commit: &[u8]) -> serde_json::Result<Vec<Line>> {
    commit.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).map(serde_json::from_slice).collect()
}

/// Writes a version, unless there is one already. True if it is this one.
///
/// # Errors
/// Those of the store; then the version may become visible later.
pub async fn commit(archive: &Archive, version: u64, mut lines: Vec<Line>) -> Result<bool> {
    let token = random::token()?;
    lines.iter_mut().filter_map(|line| line.commit_info.as_mut()).for_each(|info| info.txn_id.clone_from(&token));
    let mut text = Vec::new();
    for line in &lines {
        serde_json::to_writer(&mut text, line).map_err(|e| Error::Internal(format!("a commit is no JSON: {e}")))?;
        text.push(b'\n');
    }
    let created = archive.create(&commit_key(version), PutPayload::from(text), &token, || true).await?;
    Ok(matches!(created, Created::Done(_)))
}

/// Writes a checkpoint of a version, and says that it is the last one. `lines` are all that are left.
///
/// # Errors
/// Those of the store. Readers do not need it.
pub async fn write_checkpoint(archive: &Archive, version: u64, lines: &[Line]) -> Result<()> {
    let key = checkpoint_key(version);
    let bytes = checkpoint::encode(lines).map_err(Error::parquet("cannot encode", archive.name_of(&key)))?;
    let last = LastCheckpoint {
        version,
        size: lines.len() as u64,
        size_in_bytes: bytes.len() as u64,
        num_of_add_files: lines.iter().filter(|line| line.add.is_some()).count() as u64,
    };
    // whoever is there first has written the same
    archive.create(&key, bytes.into(), &random::token()?, || true).await?;
    let text = serde_json::to_vec(&last).map_err(|e| Error::Internal(format!("{LAST_CHECKPOINT} is no JSON: {e}")))?;
    let hint = Key::from(LAST_CHECKPOINT);
    let options = PutOptions { attributes: archive.attributes(&random::token()?), tags: archive.tags(), ..PutOptions::default() };
    archive.store().put_opts(&hint, text.into(), options).await.map(drop).map_err(Error::store("cannot write", archive.name_of(&hint)))
}
