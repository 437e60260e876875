//! The archive as an object store: a directory or an S3 bucket, from settings.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{Attribute, Attributes, Extensions, GetOptions, ObjectStore, ObjectStoreExt, TagSet};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock;
use crate::error::{Error, Escaped, Result};
use crate::settings::{Location, PART_SIZE, S3Settings};
use crate::telemetry::Requests;

mod asked;
mod creating;
mod hints;
mod http;
mod lifecycle;
mod limit;
mod patience;
mod publish;
mod request;
mod s3;
mod staging;

pub use creating::Way;
pub use lifecycle::Lifecycle;
pub use limit::RateLimit;
pub use publish::{Created, FileNames, Naming};

use asked::{Asked, Shown};
use creating::Trials;
use publish::SystemNames;
use staging::{STAGING, Staging, clear_abandoned};

/// Metadata by which an upload is told from another one of the same key.
pub const UPLOAD_TOKEN: &str = "cc-archiver-upload";

/// Bytes of an upload's first parts to a local disk, where there is no request to be made worth its while.
const LOCAL_PART_SIZE: usize = 1 << 20;

/// Parts that are sent at a time, to a server whose settings do not say, and to a local disk: there is no latency to hide there.
const PARTS: usize = 4;
const LOCAL_PARTS: usize = 1;
/// How many footers of more than 128 KiB may be in memory at a time: parsed, each takes several times its bytes.
const LARGE_FOOTERS: usize = 4;

/// How long a creation that breaks off is sent again, where no settings say so.
const RETRY_FOR: Duration = Duration::from_secs(180);

/// Time that passes while the machine sleeps, too, from some time on.
type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// An open archive. All keys are relative to it.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    /// The same store with little patience, for the first request of a run.
    impatient: Arc<dyn ObjectStore>,
    /// An object was not given for as long as requests are tried again.
    has_waited: Arc<AtomicBool>,
    location: String,
    staging: Option<Arc<Staging>>,
    part_size: usize,
    parts: usize,
    tags: TagSet,
    /// What objects are to be, and whether the server keeps to it.
    asked: Arc<Asked>,
    requests: Option<Arc<Requests>>,
    bucket: Option<Arc<s3::Bucket>>,
    retry_for: Duration,
    /// A permit for each large footer that may be in memory.
    large_footers: Arc<Semaphore>,
    /// Whether the store refuses to overwrite.
    trials: Arc<Trials>,
    names: Arc<dyn FileNames>,
    clock: Clock,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

impl Archive {
    /// Opens the archive; one in S3 with `settings`. Where nothing may be touched, a directory that does not exist is an empty
    /// archive, and is not made.
    pub fn open(location: &Location, settings: Option<&S3Settings>, read_only: bool) -> Result<Self> {
        match (location, settings) {
            (Location::Directory(path), _) if read_only && !path.exists() => Ok(Self::in_store(Arc::new(InMemory::new()), location.to_string())),
            (Location::Directory(path), _) => {
                // a run that has nothing to write stages nothing; what a killed one left must go all the same
                if !read_only {
                    clear_abandoned(&path.join(STAGING));
                }
                Self::directory(path)
            }
            (Location::S3 { bucket, prefix }, Some(settings)) => {
                s3::say(bucket, settings);
                Self::in_s3(bucket, prefix, settings, s3::Line { through: Arc::new(ReqwestConnector::default()), pauses: s3::PAUSES, spoils: false })
            }
            (Location::S3 { .. }, None) => Err(Error::Internal("an archive in S3 without settings".into())),
        }
    }

    /// Opens an archive that is there, to try what may be done in it: what killed runs left stays.
    pub fn open_to_try(location: &Location, settings: Option<&S3Settings>) -> Result<Self> {
        match location {
            Location::Directory(path) => Self::directory(path),
            Location::S3 { .. } => Self::open(location, settings, false),
        }
    }

    /// An archive in a bucket whose requests go through `connector`: a test's, which loses answers and changes bytes. Pauses are
    /// shorter; all else is as in [`Self::open`].
    pub fn in_bucket_through(connector: impl HttpConnector, bucket: &str, settings: &S3Settings) -> Result<Self> {
        Self::in_s3(bucket, "", settings, s3::Line { through: Arc::new(connector), pauses: s3::SHORT_PAUSES, spoils: false })
    }

    /// The same archive over a line that changes what is sent, to see whether its server notices; None if there is no server.
    pub fn spoiled(location: &Location, settings: Option<&S3Settings>) -> Result<Option<Self>> {
        match (location, settings) {
            (Location::S3 { bucket, prefix }, Some(settings)) => {
                let line = s3::Line { through: Arc::new(ReqwestConnector::default()), pauses: s3::SHORT_PAUSES, spoils: true };
                Self::in_s3(bucket, prefix, settings, line).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Deletes an object. One that is gone already is no error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete(&self, key: &Key) -> object_store::Result<()> {
        match self.store.delete(key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            done => done,
        }
    }

    fn in_s3(bucket: &str, prefix: &str, settings: &S3Settings, line: s3::Line) -> Result<Self> {
        let s3::Opened { store, impatient, asked, requests, bucket: opened } = s3::open(bucket, prefix, settings, line)?;
        let location = Location::S3 { bucket: bucket.into(), prefix: prefix.into() }.to_string();
        let mut tags = TagSet::default();
        settings.tags.iter().for_each(|tag| tags.push(&tag.key, &tag.value));
        Ok(Self {
            impatient,
            parts: settings.parts,
            retry_for: settings.retry_for,
            tags,
            asked,
            requests: Some(requests),
            bucket: Some(Arc::new(opened)),
            ..Self::in_store(store, location)
        })
    }

    /// An archive in any store that is not a local directory.
    pub fn in_store(store: Arc<dyn ObjectStore>, location: impl Into<String>) -> Self {
        Self {
            impatient: Arc::clone(&store),
            has_waited: Arc::default(),
            store,
            location: location.into(),
            staging: None,
            part_size: PART_SIZE,
            parts: PARTS,
            tags: TagSet::default(),
            asked: Arc::default(),
            requests: None,
            bucket: None,
            retry_for: RETRY_FOR,
            trials: Arc::default(),
            large_footers: Arc::new(Semaphore::new(LARGE_FOOTERS)),
            names: Arc::new(SystemNames),
            clock: Arc::new(clock::uptime),
        }
    }

    /// The same archive with another clock, for tests.
    pub fn with_clock(self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// A directory on a file system with other calls, for tests.
    pub fn directory_with(path: &Path, names: Arc<dyn FileNames>) -> Result<Self> {
        Ok(Self { names, ..Self::directory(path)? })
    }

    /// Time since this machine was started, also while it slept: how old a listing is.
    pub fn uptime(&self) -> Duration {
        (self.clock)()
    }

    /// Uploads begin with parts of so many bytes, for tests: real servers take no parts this small.
    pub fn with_part_size(self, bytes: usize) -> Self {
        Self { part_size: bytes, ..self }
    }

    /// Bytes of an upload's first parts; later ones grow, so that 10,000 of them hold any object.
    pub fn part_size(&self) -> usize {
        self.part_size
    }

    /// Parts that are sent at a time.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// How fast parts may be sent.
    pub fn limit(&self) -> Option<&Arc<RateLimit>> {
        self.asked.limit.as_ref()
    }

    /// An archive in memory, for tests.
    pub fn in_memory() -> Self {
        Self::in_store(Arc::new(InMemory::new()), "memory:")
    }

    fn directory(path: &Path) -> Result<Self> {
        create_durably(path).map_err(Error::io("cannot create the archive's directory", path))?;
        let local = LocalFileSystem::new_with_prefix(path).map_err(Error::store("cannot open", Escaped(path)))?.with_fsync(true);
        let staging = Some(Arc::new(Staging::new(path)));
        Ok(Self { staging, part_size: LOCAL_PART_SIZE, parts: LOCAL_PARTS, ..Self::in_store(Arc::new(local), Escaped(path).to_string()) })
    }

    /// The store, for reading and for uploads.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The store, for reading one of many objects: with little patience, once one of them was waited for in vain.
    pub fn for_reading(&self) -> &Arc<dyn ObjectStore> {
        if self.has_waited.load(Ordering::Relaxed) { &self.impatient } else { &self.store }
    }

    /// Waits for the permit to have a large footer in memory.
    pub async fn turn_of_large_footer(&self) -> Option<SemaphorePermit<'_>> {
        // never closed
        self.large_footers.acquire().await.ok()
    }

    /// From now on, objects that are not given are not waited for.
    pub fn lose_patience(&self) {
        self.has_waited.store(true, Ordering::Relaxed);
    }

    /// The store, for the first request of a run: a server that is not there is found out in seconds, not in minutes.
    pub fn first_contact(&self) -> &Arc<dyn ObjectStore> {
        &self.impatient
    }

    /// How many seconds this machine's clock is ahead of the server's, by its last answer; None if it has not told.
    pub fn clock_ahead(&self) -> Option<i64> {
        self.asked.clock_ahead()
    }

    /// What becomes of uploads that nobody finishes.
    pub async fn lifecycle(&self) -> object_store::Result<Lifecycle> {
        match &self.bucket {
            Some(bucket) => bucket.lifecycle().await,
            None => Ok(Lifecycle::Aborts),
        }
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

    /// What an upload is to have besides its bytes. Local files have no attributes; a rename that does not replace needs no token.
    pub fn attributes(&self, token: &str) -> Attributes {
        if self.is_local() {
            return Attributes::new();
        }
        let token = (Attribute::Metadata(UPLOAD_TOKEN.into()), token.to_owned());
        let class = self.asked.storage_class.iter().map(|class| (Attribute::StorageClass, class.clone()));
        Attributes::from_iter(std::iter::once(token).chain(class))
    }

    /// The tags of an upload.
    pub fn tags(&self) -> TagSet {
        self.tags.clone()
    }

    /// Says, once a run, what of the settings the server has ignored, by the answer to a HEAD of an object of this run.
    pub async fn compare(&self, key: &Key, head: &Extensions) {
        if head.get::<Shown>().is_some_and(|shown| self.asked.compare(&self.name_of(key), shown)) {
            let options = GetOptions { range: Some((0..4).into()), ..Default::default() };
            match self.store.get_opts(key, options).await {
                Ok(got) => self.asked.compare_tags(&self.name_of(key), got.extensions.get::<Shown>()),
                Err(e) => tracing::debug!("tags of {key} are not known: {e}"),
            }
        }
    }
}

/// Creates a directory and those above it, each to be there after a crash, too: what is in it was synced by object_store.
fn create_durably(path: &Path) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    std::fs::create_dir_all(&path)?;
    missing.iter().filter_map(|folder| folder.parent()).try_for_each(|parent| std::fs::File::open(parent)?.sync_all())
}
