//! What is proven after an upload, by a store that does not keep what it was given: damage is found in the same run, named,
//! and nothing is deleted for it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::store::Archive;
use cc_archiver::telemetry::{KeepReason, Progress, PruneSummary, Summary};
use clap::Parser;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use support::{DAY, Snapshot, T0, Tree, block_on};

mod support;

/// What a store does to an object.
#[derive(Debug, Clone)]
enum Fault {
    None,
    /// A bit of a page is another one.
    Flipped,
    /// The same, and the answer to the upload has no ETag.
    FlippedUnseen,
    /// Another process has written the same bytes.
    OtherToken,
    /// The end is missing.
    Cut,
    /// It is gone.
    Lost,
    /// This object appears beside it.
    Twin(Key, Bytes),
    /// Another object is there already, which no listing had shown.
    Occupied,
    /// While an object is looked up, somebody puts this in the place of a local file: in the file itself, or as a new one.
    LocalFile(PathBuf, Vec<u8>, bool),
    /// The same time: somebody makes links of a local file, in this folder.
    LocalLinks(PathBuf, PathBuf),
    /// It is replaced when its partition is listed again.
    FlippedLater,
}

#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fault: Mutex<Fault>,
    written: Mutex<Vec<Key>>,
    gets: AtomicUsize,
    lists: AtomicUsize,
    deletes: AtomicUsize,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl Faulty {
    fn new(fault: Fault) -> Arc<Self> {
        let zero = AtomicUsize::default;
        Arc::new(Self { inner: InMemory::new(), fault: Mutex::new(fault), written: Mutex::default(), gets: zero(), lists: zero(), deletes: zero() })
    }

    fn archive(self: &Arc<Self>) -> Archive {
        Archive::in_store(Arc::clone(self) as Arc<dyn ObjectStore>, "faulty:")
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().expect("a lock") = fault;
    }

    /// Writes an object anew, with its attributes.
    async fn replace(&self, key: &Key, change: impl FnOnce(&mut Vec<u8>, &mut Attributes)) {
        let found = self.inner.get(key).await.expect("there");
        let mut attributes = found.attributes.clone();
        let mut bytes = found.bytes().await.expect("read").to_vec();
        change(&mut bytes, &mut attributes);
        self.inner.put_opts(key, bytes.into(), PutOptions { attributes, ..Default::default() }).await.expect("put");
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if support::is_own(key.as_ref()) {
            return self.inner.put_opts(key, payload, options).await;
        }
        if matches!(*self.fault.lock().expect("a lock"), Fault::Occupied) && self.inner.head(key).await.is_err() {
            self.inner.put(key, "theirs".into()).await?;
        }
        let mut answer = self.inner.put_opts(key, payload, options).await?;
        self.written.lock().expect("a lock").push(key.clone());
        let fault = self.fault.lock().expect("a lock").clone();
        match fault {
            Fault::None | Fault::FlippedLater | Fault::Occupied | Fault::LocalFile(..) | Fault::LocalLinks(..) => {}
            Fault::Flipped => self.replace(key, |bytes, _| bytes[40] ^= 1).await,
            Fault::FlippedUnseen => {
                answer.e_tag = None;
                self.replace(key, |bytes, _| bytes[40] ^= 1).await;
            }
            Fault::OtherToken => {
                answer.e_tag = None;
                let other = Attributes::from_iter([(Attribute::Metadata("cc-archiver-upload".into()), "somebody")]);
                self.replace(key, |_, attributes| *attributes = other).await;
            }
            Fault::Cut => {
                answer.e_tag = None;
                self.replace(key, |bytes, _| bytes.truncate(bytes.len() - 1)).await;
            }
            Fault::Lost => self.inner.delete(key).await?,
            Fault::Twin(twin, bytes) => drop(self.inner.put(&twin, bytes.into()).await?),
        }
        Ok(answer)
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        let number = self.gets.fetch_add(1, Ordering::Relaxed);
        if let (true, Fault::LocalLinks(path, folder)) = (options.head, &*self.fault.lock().expect("a lock")) {
            std::fs::hard_link(path, folder.join(number.to_string())).expect("linked");
        }
        if let (true, Fault::LocalFile(path, bytes, renamed)) = (options.head, &*self.fault.lock().expect("a lock")) {
            let written = if *renamed { path.with_extension("new") } else { path.clone() };
            std::fs::write(&written, bytes).expect("written");
            std::fs::rename(&written, path).expect("renamed");
        }
        self.inner.get_opts(key, options).await
    }

    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.gets.fetch_add(ranges.len(), Ordering::Relaxed);
        self.inner.get_ranges(key, ranges).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.deletes.fetch_add(1, Ordering::Relaxed);
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let written = self.written.lock().expect("a lock").clone();
        if matches!(*self.fault.lock().expect("a lock"), Fault::FlippedLater) {
            for key in written {
                futures::executor::block_on(self.replace(&key, |bytes, _| bytes[40] ^= 1));
            }
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Arguments of the program, the archive being somewhere else.
fn parsed(command: &str, tree: &Tree, flags: &[&str]) -> Command {
    let nowhere = PathBuf::from("/nonexistent");
    let arguments = ["cc-archiver".into(), command.into(), tree.path().as_os_str().to_owned(), nowhere.into_os_string()];
    Cli::parse_from(arguments.into_iter().chain(flags.iter().map(Into::into))).command
}

fn archive(store: &Arc<Faulty>, tree: &Tree, flags: &[&str]) -> Box<Summary> {
    let Command::Archive(arguments) = parsed("archive", tree, flags) else { panic!("archive") };
    let settings = config::archive(*arguments, &S3Environment::default()).expect("valid");
    let run = pipeline::archive(&settings, store.archive(), Arc::new(Progress::default()), std::future::pending());
    match block_on(run).expect("a summary") {
        Outcome::Done(summary) => summary,
        Outcome::Planned(_) => panic!("a dry run"),
    }
}

fn prune(store: &Arc<Faulty>, tree: &Tree, flags: &[&str]) -> Box<PruneSummary> {
    let always = ["--older-than", "3d"];
    let Command::Prune(arguments) = parsed("prune", tree, &always.iter().chain(flags).copied().collect::<Vec<_>>()) else { panic!("prune") };
    let settings = config::prune(*arguments, &S3Environment::default()).expect("valid");
    block_on(pipeline::prune_in(&settings, || Ok(store.archive()), Arc::new(Progress::default()), std::future::pending())).expect("a summary")
}

/// Two snapshots of one day, and one of the next day.
fn tree() -> Tree {
    let tree = Tree::new();
    for from in [T0, T0 + 3_600, T0 + DAY] {
        tree.bin("c", "n1", &Snapshot::minutes(from, support::noise(from as u64, 60)));
    }
    tree
}

fn files(tree: &Tree) -> usize {
    support::files_below(tree.path()).len()
}

/// Archives and prunes in one run, with a fault: what is said of it must contain `why`, and nothing is deleted.
#[track_caller]
fn found(fault: Fault, flags: &[&str], why: &str) {
    let (store, tree) = (Faulty::new(fault), tree());
    let all: Vec<&str> = ["--prune-after", "3d"].iter().chain(flags).copied().collect();
    let summary = archive(&store, &tree, &all);
    assert_eq!(summary.set_aside.len(), 2, "one for each object: {summary}");
    assert!(summary.set_aside.iter().all(|note| note.path.starts_with("faulty:/cluster=c/") && note.reason.contains(why)), "{summary}");
    assert!(!summary.is_complete());
    assert_eq!((files(&tree), summary.prune.as_ref().map(|p| p.pruned)), (3, Some(0)), "{summary}");
}

#[test]
fn an_object_that_was_not_kept_as_it_was_sent_is_found_in_the_same_run() {
    found(Fault::Flipped, &[], "ETag");
    found(Fault::FlippedUnseen, &["--verify", "full"], "digest");
    found(Fault::OtherToken, &[], "token");
    found(Fault::Cut, &[], "bytes");
    found(Fault::Lost, &[], "cannot look up");
}

#[test]
fn with_nothing_wrong_everything_is_proven_and_goes() {
    for flags in [&[][..], &["--verify", "full"]] {
        let (store, tree) = (Faulty::new(Fault::None), tree());
        let all: Vec<&str> = ["--prune-after", "3d"].iter().chain(flags).copied().collect();
        let summary = archive(&store, &tree, &all);
        assert_eq!((summary.is_complete(), summary.prune.as_ref().map(|p| p.pruned), files(&tree)), (true, Some(2), 1), "{summary}");
    }
}

#[test]
fn a_proof_takes_three_requests_an_object_and_a_listing_a_partition() {
    let (store, tree) = (Faulty::new(Fault::None), tree());
    // objects of one host each
    tree.bin("c", "n2", &Snapshot::minutes(T0, support::noise(9, 60)));
    let summary = archive(&store, &tree, &["--object-size", "1"]);
    assert_eq!(summary.objects_written, 3);
    // the archive's own object, and a look at what its conditions are tried on
    assert!(store.gets.load(Ordering::Relaxed) <= 9 + 2, "{:?}", store.gets);
    // the marks of the floor, three dates that sources may feed, and two that they do feed
    assert!(store.lists.load(Ordering::Relaxed) <= 1 + 3 + 2, "{:?}", store.lists);
    assert_eq!(store.deletes.load(Ordering::Relaxed), 0);
}

/// An object of another writer with the same sources, beside the one of ours.
fn twin_of(tree: &Tree, date: &str) -> (Key, Bytes) {
    let other = Faulty::new(Fault::None);
    archive(&other, tree, &["--compression", "none"]);
    let key = other.written.lock().expect("a lock").iter().find(|key| key.as_ref().contains(date)).expect("an object").clone();
    let bytes = block_on(async { other.inner.get(&key).await.expect("there").bytes().await.expect("read") });
    (Key::from(support::beside(key.as_ref())), bytes)
}

#[test]
fn a_second_object_with_the_same_sources_is_named_and_nothing_of_it_goes() {
    let tree = tree();
    let (key, bytes) = twin_of(&tree, "2026-03-01");
    let store = Faulty::new(Fault::Twin(key.clone(), bytes));
    let summary = archive(&store, &tree, &["--prune-after", "3d"]);
    assert_eq!(summary.set_aside.len(), 2, "two sources of that day: {summary}");
    assert!(summary.set_aside.iter().all(|note| note.shown().contains("c/n1/") && note.reason.contains(key.as_ref())), "{summary}");
    assert_eq!((files(&tree), summary.prune.as_ref().map(|p| p.kept.of(KeepReason::NotProven))), (3, Some(2)), "{summary}");
}

#[test]
fn an_object_that_is_replaced_after_its_proof_keeps_its_sources() {
    let (store, tree) = (Faulty::new(Fault::FlippedLater), tree());
    let summary = archive(&store, &tree, &["--prune-after", "3d"]);
    assert_eq!((files(&tree), summary.prune.as_ref().map(|p| p.kept.of(KeepReason::NotProven))), (3, Some(2)), "{summary}");
}

#[test]
fn a_later_run_proves_by_reading_what_another_one_wrote() {
    let (store, tree) = (Faulty::new(Fault::FlippedUnseen), tree());
    // footers are as they were
    assert!(archive(&store, &tree, &[]).is_complete());
    store.set(Fault::None);
    let summary = prune(&store, &tree, &[]);
    assert_eq!((summary.pruned, summary.kept.of(KeepReason::NotProven), files(&tree)), (0, 2, 3), "{summary}");
    let summary = prune(&store, &tree, &["--proof", "footer"]);
    assert_eq!((summary.pruned, files(&tree)), (2, 1), "whoever asks for less gets less: {summary}");
}

#[test]
fn no_object_that_exists_is_ever_overwritten() {
    // somebody else takes the key between the last listing and the upload
    let (store, tree) = (Faulty::new(Fault::Occupied), tree());
    let summary = archive(&store, &tree, &["--prune-after", "3d"]);
    assert_eq!((summary.objects_written, summary.planned_anew, summary.set_aside.len()), (0, 2, 3), "{summary}");
    assert!(summary.set_aside.iter().all(|note| note.reason.contains("may hold it")), "{summary}");
    let listed = block_on(async { store.inner.list_with_delimiter(Some(&Key::from("cluster=c/date=2026-03-01"))).await.expect("listed") });
    let theirs = block_on(async { store.inner.get(&listed.objects[0].location).await.expect("there").bytes().await.expect("read") });
    assert_eq!((listed.objects.len(), theirs.as_ref(), files(&tree)), (1, b"theirs".as_slice(), 3));
}

#[test]
fn a_file_that_is_replaced_after_it_was_hashed_survives() {
    for renamed in [false, true] {
        let (store, tree) = (Faulty::new(Fault::None), tree());
        archive(&store, &tree, &[]);
        let path = tree.path().join(format!("c/n1/{T0}.bin"));
        let old = std::fs::metadata(&path).expect("a status");
        let mut bytes = std::fs::read(&path).expect("read");
        let last = bytes.len() - 10;
        bytes[last] ^= 1;
        store.set(Fault::LocalFile(path.clone(), bytes.clone(), renamed));
        let summary = prune(&store, &tree, &[]);
        assert_eq!((summary.pruned, summary.kept.of(KeepReason::Changed), files(&tree)), (1, 1, 2), "{summary}");
        assert!(summary.attention[0].reason.contains("replaced") && !summary.is_complete(), "{summary}");
        assert_eq!((std::fs::read(&path).expect("it is there"), old.len()), (bytes, std::fs::metadata(&path).expect("a status").len()));
    }
}

#[test]
fn a_file_with_the_same_bytes_and_other_times_of_change_goes() {
    let links = tempfile::tempdir().expect("a folder");
    type Makes = fn(PathBuf, Vec<u8>, PathBuf) -> Fault;
    let faults: [Makes; 3] = [
        |path, bytes, _| Fault::LocalFile(path, bytes, false),
        |path, bytes, _| Fault::LocalFile(path, bytes, true),
        |path, _, links| Fault::LocalLinks(path, links),
    ];
    for fault in faults {
        let (store, tree) = (Faulty::new(Fault::None), tree());
        archive(&store, &tree, &[]);
        let path = tree.path().join(format!("c/n1/{T0}.bin"));
        let bytes = std::fs::read(&path).expect("read");
        store.set(fault(path.clone(), bytes, links.path().to_owned()));
        let summary = prune(&store, &tree, &[]);
        assert_eq!((summary.pruned, path.exists(), summary.is_complete()), (2, false, true), "{summary}");
    }
}
