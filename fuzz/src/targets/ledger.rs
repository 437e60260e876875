//! What an archive says of itself: footers' keys and ledgers, the archive's own object, marks of the floor, and the keys of objects.

use cc_archiver::floor::Mark;
use cc_archiver::info::ArchiveInfo;
use cc_archiver::ledger::{self, Block, Entry, Footer};
use cc_archiver::names::{Cluster, Date, Digest};
use cc_archiver::partition::{Buckets, ObjectKey, Partition};
use cc_archiver::schema::footer;
use object_store::path::Path;
use parquet::file::metadata::KeyValue;

/// The first byte says what the others are.
pub fn run(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else { return };
    match what % 5 {
        0 => footer_keys(bytes),
        1 => block(bytes.to_vec()),
        2 => block(zstd::encode_all(bytes, 1).expect("compressed")),
        3 => info(bytes),
        _ => names(bytes),
    }
}

fn key() -> ObjectKey {
    let partition = Partition { cluster: Cluster::new("fritz").expect("valid"), date: Date::of(0).expect("valid") };
    ObjectKey { bucket: Buckets::ONE.of(&partition.cluster, "n1"), partition, slot: 7, beside: None }
}

/// A footer for a ledger.
fn footer_of(entries: &[Entry], ledger: &Block) -> Vec<KeyValue> {
    let key = key();
    Footer { key: &key, buckets: Buckets::ONE, after: &[], missing: &[], replaces: &[], rows: 1, extent: None, entries, ledger }.key_values()
}

/// Lines of `key=value` in the place of those that a footer has.
fn footer_keys(text: &[u8]) {
    let mut pairs = footer_of(&[], &Block::of(&[]));
    for line in String::from_utf8_lossy(text).lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        match pairs.iter_mut().find(|pair| pair.key.strip_prefix("cc-archiver.") == Some(name)) {
            Some(pair) => pair.value = Some(value.to_owned()),
            None => pairs.push(KeyValue::new(format!("cc-archiver.{name}"), value.to_owned())),
        }
    }
    drop(ledger::newer(Some(&pairs)));
    if let Some(key) = ledger::written_at(Some(&pairs)) {
        assert_eq!(ObjectKey::parse(&key.path()), Some(key), "a key leads back to itself");
    }
    drop(ledger::read(&key(), 10, false, Some(&pairs)));
}

/// A ledger that its footer has the digest of: what is read of it is written and read again alike.
fn block(bytes: Vec<u8>) {
    let ledger = Block { digest: Digest::of(&bytes), bytes: bytes.into() };
    let read = |entries: usize, ledger: &Block| {
        let mut pairs = footer_of(&[], ledger);
        pairs.iter_mut().filter(|pair| pair.key == footer::SOURCES).for_each(|pair| pair.value = Some(entries.to_string()));
        ledger::read(&key(), 10, false, Some(&pairs)).expect("a footer of ours").with_ledger(&ledger.bytes)
    };
    for count in 0..4 {
        if let Ok(object) = read(count, &ledger) {
            assert_eq!(object.entries.len(), count, "as many as the footer says");
            let again = read(count, &Block::of(&object.entries)).expect("it was written");
            assert_eq!(again.entries, object.entries, "as it was read");
        }
    }
}

fn info(bytes: &[u8]) {
    if let Ok(info) = ArchiveInfo::from_json(bytes) {
        assert_eq!(ArchiveInfo::from_json(info.to_json().as_bytes()), Ok(info), "as it was read");
    }
}

/// Names of objects: what is understood leads back to itself.
fn names(bytes: &[u8]) {
    let Ok(path) = Path::parse(String::from_utf8_lossy(bytes)) else { return };
    if let Some(key) = ObjectKey::parse(&path) {
        assert_eq!(key.path(), path, "the key of an object");
    }
    if let Some(mark) = Mark::parse(&path) {
        // a name may be spelled in another way: its own spelling leads back
        assert_eq!(Mark::parse(&mark.path()), Some(mark), "a mark of the floor");
    }
    if let Some((partition, rest)) = Partition::parse(&path) {
        // a name may be spelled in another way: its own spelling leads back
        let own = Path::parse(format!("{}/{rest}", partition.path())).expect("a path");
        assert_eq!(Partition::parse(&own).map(|(partition, _)| partition), Some(partition), "a partition");
    }
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"x").to_string();
    let line = format!(
        r#"{{"path":"n1/0.bin","size":1,"mtime":-2,"blake3":"{digest}","from":0,"to":60,"dates":["1970-01-01"],"rows":3,"written":1,"dropped":2,"superseded":0,"conflicting":1,"first":0,"last":120,"held_by":["{digest}"]}}"#
    );
    let lines = format!("{line}\n{line}\n");
    let keys = format!("after={digest},{digest}\nmissing=2,5\nreplaces=3:{digest}:4\npart=00-00007\nbuckets=16\nsources=3\nmax_timestamp=5\n");
    let info = ArchiveInfo { buckets: Buckets::ONE, cluster_column: false }.to_json();
    let packed = zstd::encode_all(lines.as_bytes(), 3).expect("compressed");
    let mark = Mark { cluster: Cluster::new("a b%é"), date: Date::of(0).expect("valid") };
    let texts = [(0, keys), (2, lines), (3, info), (4, key().to_string()), (4, mark.to_string())];
    let texts = texts.into_iter().map(|(what, text)| [&[what], text.as_bytes()].concat());
    texts.chain([[&[1], &packed[..]].concat()]).collect()
}
