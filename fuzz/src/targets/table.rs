//! The log of the table, of which commits and the hint may be anything.

use cc_archiver::store::Archive;
use cc_archiver::table::{Found, read};
use cc_archiver::workers;
use object_store::ObjectStoreExt;
use object_store::path::Path;

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
        read(&archive).await.expect("in memory")
    };
    if let Found::Table(table) = futures::executor::block_on(done) {
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
