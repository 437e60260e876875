//! The log of the table, of which commits, the hint, and the checkpoint may be anything.

use cc_archiver::names::{Cluster, Date, Digest};
use cc_archiver::partition::{Buckets, ObjectKey, Partition};
use cc_archiver::store::Archive;
use cc_archiver::table::{Change, File, Found, make, read};
use cc_archiver::workers;
use futures::executor::block_on;
use object_store::ObjectStoreExt;
use object_store::path::Path;

const CHECKPOINT: &str = "_delta_log/00000000000000000000.checkpoint.parquet";

/// Files of the log, which a zero byte parts from each other: the hint, then commits.
pub fn run(data: &[u8]) {
    workers::run_inline();
    let archive = Archive::in_memory();
    let done = async {
        for (index, file) in data.split(|byte| *byte == 0).take(6).enumerate() {
            let name = if index == 0 { "_delta_log/_last_checkpoint".to_owned() } else { format!("_delta_log/{:020}.json", index - 1) };
            if index > 0 || !file.is_empty() {
                archive.store().put(&Path::from(name), file.to_vec().into()).await.expect("in memory");
            }
        }
        looked_at(&archive).await;
    };
    block_on(done);
}

/// A checkpoint, and nothing else of the log.
pub fn checkpoint(data: &[u8]) {
    workers::run_inline();
    let archive = Archive::in_memory();
    let done = async {
        archive.store().put(&Path::from(CHECKPOINT), data.to_vec().into()).await.expect("in memory");
        looked_at(&archive).await;
    };
    block_on(done);
}

async fn looked_at(archive: &Archive) {
    if let Found::Table(table) = read(archive).await.expect("in memory") {
        let known = table.partitions().iter().map(|partition| table.files_of(partition).len() as u64).sum::<u64>();
        assert!(known <= table.files(), "files of partitions are files");
        let _ = (table.rows(), table.bytes(), table.strangers().count(), table.is_outdated());
    }
}

/// A log of two commits.
pub fn seeds() -> Vec<Vec<u8>> {
    let first = concat!(
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["ccArchiver"]}}"#,
        "\n",
        r#"{"metaData":{"id":"x","format":{"provider":"parquet"},"schemaString":"{}","partitionColumns":["cluster","date"],"configuration":{},"createdTime":0}}"#
    );
    let add = r#"{"add":{"path":"cluster=a%2520b/date=1970-01-01/part-00-00003.parquet","partitionValues":{},"size":10,"modificationTime":2,"dataChange":true,"stats":"{\"numRecords\":7}"}}"#;
    let remove = r#"{"remove":{"path":"cluster=a%2520b/date=1970-01-01/part-00-00003.parquet","deletionTimestamp":1,"dataChange":true,"size":10}}"#;
    vec![format!("\0{first}\n{add}\0{remove}").into_bytes(), format!("{{\"version\":0}}\0{first}\0{add}").into_bytes()]
}

/// The checkpoint of a table of two objects.
pub fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let archive = Archive::in_memory();
    let partition = Partition { cluster: Cluster::new("a").expect("a name"), date: Date::of(0).expect("a date") };
    let key = |slot| ObjectKey { bucket: Buckets::ONE.of(&partition.cluster, "n1"), partition: partition.clone(), slot, beside: None };
    let file = File { size: 10, digest: Digest::of(b"x"), modified: 2, statistics: r#"{"numRecords":7}"#.into() };
    let change = Change { add: [(key(0), file.clone()), (key(1), file)].into(), ..Change::default() };
    let made = async {
        make(&archive, &Found::Nothing, &change, 0).await.expect("in memory").expect("the first");
        archive.store().get(&Path::from(CHECKPOINT)).await.expect("there").bytes().await.expect("in memory")
    };
    vec![block_on(made).to_vec()]
}
