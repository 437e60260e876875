//! The archive as an object store: a directory or an S3 bucket, from settings.
//!
//! A directory's objects are staged below `_tmp/`, which readers pass over, and renamed when they are whole and synced.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::error::{Error, Escaped, Result};
use crate::telemetry::Requests;

mod conditional;
mod counted;

use conditional::Conditional;
use counted::Counted;

/// Where unfinished objects of a directory lie.
const STAGING: &str = "_tmp";

/// Metadata by which an upload is told from another one of the same key.
pub const UPLOAD_TOKEN: &str = "cc-archiver-upload";

/// Bytes of an upload's first parts to a server, and to a local disk, where there is no request to be made worth its while.
const PART_SIZE: usize = 8 << 20;
const LOCAL_PART_SIZE: usize = 1 << 20;

/// So many that the time limit of retries ends them: a server may be away for minutes while a run is under way.
const RETRIES: usize = 100;
/// Of a run's first request.
const FIRST_RETRIES: usize = 5;

/// Where the archive is, as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A local directory, which need not exist yet.
    Directory(PathBuf),
    /// A bucket, and the prefix of all keys in it ("" for none).
    S3 {
        /// The bucket.
        bucket: String,
        /// Key prefix without slashes at its ends.
        prefix: String,
    },
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err("it is empty".into()) } else { Ok(Self::Directory(text.into())) };
        };
        match scheme {
            "file" if rest.starts_with('/') => Ok(Self::Directory(rest.into())),
            "file" => Err("a file URL has three slashes: file:///path".into()),
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err("it names no bucket: s3://bucket/prefix".into());
                }
                let prefix = prefix.trim_matches('/');
                Key::parse(prefix).map_err(|e| e.to_string())?;
                Ok(Self::S3 { bucket: bucket.into(), prefix: prefix.into() })
            }
            _ => Err(format!("unknown scheme {scheme:?}; use a directory, file:///path or s3://bucket/prefix")),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => Escaped(path).fmt(f),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// An open archive. All keys are relative to it.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    /// The same store with little patience, for the first request of a run.
    impatient: Arc<dyn ObjectStore>,
    location: String,
    staging: Option<Arc<Staging>>,
    part_size: usize,
    requests: Option<Arc<Requests>>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

impl Archive {
    /// Opens the archive. `environment` holds the `AWS_*` variables. Where nothing may be touched, a directory that does not
    /// exist is an empty archive, and is not made.
    pub fn open(location: &Location, environment: &BTreeMap<String, String>, read_only: bool) -> Result<Self> {
        match location {
            Location::Directory(path) if read_only && !path.exists() => Ok(Self::in_store(Arc::new(InMemory::new()), location.to_string())),
            Location::Directory(path) => {
                // a run that has nothing to write stages nothing; what a killed one left must go all the same
                if !read_only {
                    clear_abandoned(&path.join(STAGING));
                }
                Self::directory(path)
            }
            Location::S3 { bucket, prefix } => {
                let requests = Arc::<Requests>::default();
                let open = |retries| {
                    let counted = Counted::new(ReqwestConnector::default(), Arc::clone(&requests));
                    let builder = s3_builder(bucket, environment).with_http_connector(Conditional(counted));
                    s3_store(bucket, prefix, builder, patience(retries))
                };
                Ok(Self { impatient: open(FIRST_RETRIES)?, requests: Some(Arc::clone(&requests)), ..Self::in_store(open(RETRIES)?, location.to_string()) })
            }
        }
    }

    /// An archive in a bucket whose requests go through `connector`: a test's, which loses answers and changes bytes. Retries go on
    /// for `retry_for`, with shorter pauses; all else is as in [`Self::open`].
    pub fn in_bucket_through(connector: impl HttpConnector + Clone, bucket: &str, environment: &BTreeMap<String, String>, retry_for: Duration) -> Result<Self> {
        let pauses = BackoffConfig { init_backoff: Duration::from_millis(1), max_backoff: Duration::from_millis(20), base: 2.0 };
        let requests = Arc::<Requests>::default();
        let open = |retries| {
            let counted = Counted::new(connector.clone(), Arc::clone(&requests));
            let builder = s3_builder(bucket, environment).with_http_connector(Conditional(counted));
            s3_store(bucket, "", builder, RetryConfig { backoff: pauses.clone(), retry_timeout: retry_for, ..patience(retries) })
        };
        Ok(Self { impatient: open(FIRST_RETRIES)?, requests: Some(Arc::clone(&requests)), ..Self::in_store(open(RETRIES)?, format!("s3://{bucket}")) })
    }

    /// An archive in any store that is not a local directory.
    pub fn in_store(store: Arc<dyn ObjectStore>, location: impl Into<String>) -> Self {
        Self { impatient: Arc::clone(&store), store, location: location.into(), staging: None, part_size: PART_SIZE, requests: None }
    }

    /// Uploads begin with parts of so many bytes, for tests: real servers take no parts this small.
    pub fn with_part_size(self, bytes: usize) -> Self {
        Self { part_size: bytes, ..self }
    }

    /// Bytes of an upload's first parts; later ones grow, so that 10,000 of them hold any object.
    pub fn part_size(&self) -> usize {
        self.part_size
    }

    /// An archive in memory, for tests.
    pub fn in_memory() -> Self {
        Self::in_store(Arc::new(InMemory::new()), "memory:")
    }

    fn directory(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(Error::io("cannot create the archive's directory", path))?;
        let local = LocalFileSystem::new_with_prefix(path).map_err(Error::store("cannot open", Escaped(path)))?.with_fsync(true);
        let staging = Some(Arc::new(Staging::new(path)));
        Ok(Self { staging, part_size: LOCAL_PART_SIZE, ..Self::in_store(Arc::new(local), Escaped(path).to_string()) })
    }

    /// The store, for reading and for uploads.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The store, for the first request of a run: a server that is not there is found out in seconds, not in minutes.
    pub fn first_contact(&self) -> &Arc<dyn ObjectStore> {
        &self.impatient
    }

    /// Counts of the requests to a server; none if there is none.
    pub fn requests(&self) -> Option<&Arc<Requests>> {
        self.requests.as_ref()
    }

    /// True if it is a directory.
    pub fn is_local(&self) -> bool {
        self.staging.is_some()
    }

    /// A key as a person would name it.
    pub fn name_of(&self, key: &impl fmt::Display) -> String {
        format!("{}/{key}", self.location)
    }

    /// Where to stage `key` until it is whole; None where an upload becomes visible all at once.
    pub fn staged(&self, key: &Key) -> Result<Option<Key>> {
        self.staging.as_ref().map(|staging| staging.key_for(key)).transpose()
    }
}

/// A folder below `_tmp/` of this process' own, locked as long as it lives.
struct Staging {
    root: PathBuf,
    folder: std::sync::Mutex<Option<(String, File)>>,
}

impl Staging {
    fn new(archive: &Path) -> Self {
        Self { root: archive.join(STAGING), folder: std::sync::Mutex::new(None) }
    }

    /// Makes the folder at the first use, and clears those that killed runs left.
    fn key_for(&self, key: &Key) -> Result<Key> {
        let mut folder = self.folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = match &*folder {
            Some((name, _)) => name.clone(),
            None => {
                clear_abandoned(&self.root);
                let name = format!("{}-{}", std::process::id(), random_token()?);
                let path = self.root.join(&name);
                std::fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
                let lock = File::open(&path).map_err(Error::io("cannot open", &path))?;
                // without locks other runs cannot tell this folder from an abandoned one, and leave both alone
                if let Err(e) = lock.try_lock() {
                    tracing::debug!(path = %Escaped(&path), "cannot lock: {e}");
                }
                folder.insert((name, lock)).0.clone()
            }
        };
        Ok(Key::from_iter([STAGING, &name, &key.as_ref().replace(['/', '%', '='], "-")]))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let folder = self.folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some((name, lock)) = folder {
            // fails, rightly, where something is left in them
            let _ = std::fs::remove_dir(self.root.join(name));
            let _ = std::fs::remove_dir(&self.root);
            drop(lock);
        }
    }
}

/// Removes staging folders whose process is gone: nobody holds their lock.
fn clear_abandoned(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let abandoned = File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok());
        if abandoned && entry.file_type().is_ok_and(|t| t.is_dir()) {
            match std::fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!(path = %Escaped(&path), "cleared what an interrupted run left"),
                Err(e) => tracing::warn!(path = %Escaped(&path), "cannot clear what an interrupted run left: {e}"),
            }
        }
    }
}

/// 16 random bytes in hex.
pub fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::Internal(format!("no random bytes: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// What the environment says, and that a body is checked on its way.
fn s3_builder(bucket: &str, environment: &BTreeMap<String, String>) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
    for (name, value) in environment {
        if let Ok(key) = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()) {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region).or_else(|| builder.get_config_value(&AmazonS3ConfigKey::DefaultRegion));
    let plain_http = endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
    let keys = if builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_some() { "static keys" } else { "the environment's role" };
    tracing::debug!(
        bucket,
        endpoint = endpoint.as_deref().unwrap_or("AWS"),
        region = region.as_deref().unwrap_or("us-east-1 (default)"),
        credentials = keys,
        "S3"
    );
    let client = ClientOptions::new().with_timeout(Duration::from_secs(100)).with_connect_timeout(Duration::from_secs(10)).with_allow_http(plain_http);
    builder.with_client_options(client).with_checksum_algorithm(Checksum::CRC64NVME)
}

fn patience(max_retries: usize) -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(20), base: 2.0 };
    RetryConfig { backoff, max_retries, retry_timeout: Duration::from_secs(240) }
}

fn s3_store(bucket: &str, prefix: &str, builder: AmazonS3Builder, retry: RetryConfig) -> Result<Arc<dyn ObjectStore>> {
    let s3 = builder.with_retry(retry).build().map_err(|e| Error::Usage(format!("cannot use s3://{bucket}: {e}")))?;
    if prefix.is_empty() {
        return Ok(Arc::new(s3));
    }
    let prefix = Key::parse(prefix).map_err(|e| Error::Usage(format!("s3://{bucket}/{prefix}: {e}")))?;
    Ok(Arc::new(PrefixStore::new(s3, prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_directories_or_buckets() {
        let parse = |s: &str| s.parse::<Location>();
        assert_eq!(parse("a/b"), Ok(Location::Directory("a/b".into())));
        assert_eq!(parse("file:///a"), Ok(Location::Directory("/a".into())));
        assert_eq!(parse("s3://b/p/q/"), Ok(Location::S3 { bucket: "b".into(), prefix: "p/q".into() }));
        assert_eq!(parse("s3://b"), Ok(Location::S3 { bucket: "b".into(), prefix: String::new() }));
        for wrong in ["", "file://a", "s3:///p", "gs://b", "s3://b//x"] {
            assert!(parse(wrong).is_err() || wrong == "s3://b//x", "{wrong}");
        }
    }

    #[test]
    fn what_a_killed_run_staged_is_cleared_and_what_a_live_one_stages_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = Key::from("cluster=a/date=2026-03-01/x.parquet");
        let abandoned = folder.path().join("_tmp/1-dead");
        std::fs::create_dir_all(&abandoned).expect("created");
        let live = Archive::directory(folder.path()).expect("opened");
        let staged = live.staged(&key).expect("staged").expect("a directory stages");
        assert!(!abandoned.exists());
        let second = Archive::directory(folder.path()).expect("opened");
        second.staged(&key).expect("staged");
        assert!(folder.path().join(staged.as_ref()).parent().is_some_and(Path::exists));
        drop((live, second));
        assert!(!folder.path().join("_tmp").exists());
    }

    #[test]
    fn what_a_killed_run_staged_is_cleared_by_a_run_that_stages_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let abandoned = folder.path().join("_tmp/1-dead");
        let location = Location::Directory(folder.path().into());
        std::fs::create_dir_all(&abandoned).expect("created");
        drop(Archive::open(&location, &BTreeMap::new(), true).expect("opened"));
        assert!(abandoned.exists(), "only to be read");
        drop(Archive::open(&location, &BTreeMap::new(), false).expect("opened"));
        assert!(!abandoned.exists());
    }
}
