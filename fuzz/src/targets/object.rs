//! Objects of an archive of any bytes: what looks at them takes them for what they are, and where nothing is wrong another reader agrees.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use cc_archiver::catalog::{Hosts, LastFooter, Source};
use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::info::{self, ArchiveInfo};
use cc_archiver::inspect::Writer;
use cc_archiver::object;
use cc_archiver::partition::Buckets;
use cc_archiver::pipeline;
use cc_archiver::settings::Form;
use cc_archiver::spool::Spool;
use cc_archiver::store::Archive;
use cc_archiver::telemetry::Progress;
use cc_archiver::workers::Workers;
use clap::Parser;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::record::Field;

use super::parquet_rows::{self, Fields};
use super::{decoded, tools};

/// What an archive without shards and without a column for the cluster says of itself.
const INFO: ArchiveInfo = ArchiveInfo { buckets: Buckets::ONE, cluster_column: false };
const OBJECT: &str = "cluster=beta/date=2026-03-02/part-00-00000.parquet";

pub fn command(args: &[&str]) -> Command {
    Cli::try_parse_from([&["cc-archiver"], args].concat()).expect("valid arguments").command
}

/// On a thread of its own: other targets have theirs do all at once, which rows that are decoded do not bear.
pub fn apart<T: Send>(go: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(go).join()).expect("no panic")
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// An archive of the golden snapshots.
fn archived() -> Archive {
    let archive = Archive::in_memory();
    let Command::Archive(args) = command(&["archive", &super::golden_tree(), "unused", "--min-age", "0s", "--workers", "1"]) else {
        unreachable!("it says so")
    };
    let settings = config::archive(*args, &S3Environment::default()).expect("valid settings");
    wait(pipeline::archive(&settings, archive.clone(), Arc::new(Progress::default()), pending())).expect("archived");
    archive
}

async fn get(archive: &Archive, key: &str) -> Bytes {
    archive.store().get(&Path::from(key)).await.expect("there").bytes().await.expect("in memory")
}

/// An object, alone in its archive: listed, verified to the last row, and asked for what it covers.
pub fn run(data: &[u8]) {
    let archive = Archive::in_memory();
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let file = folder.path().join("part-00-00000.parquet");
    std::fs::write(&file, data).expect("written");
    let place = file.to_str().expect("UTF-8");
    let look = async || {
        for (key, bytes) in [(info::KEY, INFO.to_json().into()), (OBJECT, Bytes::copy_from_slice(data))] {
            archive.store().put(&Path::parse(key).expect("a key"), PutPayload::from(bytes)).await.expect("in memory");
        }
        let open = || Ok(archive.clone());
        let Command::Ls(args) = command(&["ls", "s3://memory"]) else { unreachable!("it says so") };
        let _ = pipeline::list_in(&config::ls(*args, &S3Environment::default()).expect("valid settings"), open, Arc::default(), pending()).await;
        let Command::Coverage(args) = command(&["coverage", "s3://memory", "--exact"]) else { unreachable!("it says so") };
        let _ = pipeline::cover_in(&config::coverage(*args, &S3Environment::default()).expect("valid settings"), open, Arc::default(), pending()).await;
        for more in [&["--ledger"][..], &["--values"]] {
            let Command::Inspect(args) = command(&[&["inspect", place], more].concat()) else { unreachable!("it says so") };
            let settings = config::inspect(*args, false, &S3Environment::default()).expect("valid settings");
            let writer = (more != ["--ledger"]).then(|| Writer::new(Box::new(std::io::sink()), Form::Csv, "", place));
            let _ = pipeline::inspect_in(&settings, writer, Arc::default(), pending()).await;
        }
        let Command::Verify(args) = command(&["verify", "s3://memory", "--read-data", "--decode", "--workers", "1"]) else { unreachable!("it says so") };
        let settings = config::verify(*args, &S3Environment::default()).expect("valid settings");
        let report = pipeline::verify_in(&settings, open, Arc::default(), pending()).await.expect("an archive in memory can be listed");
        if report.findings.is_empty() && report.objects == 1 { Some((report.rows_decoded, read_back(&archive).await)) } else { None }
    };
    if let Some((rows, found)) = apart(|| wait(look())) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(data)).and_then(|reader| reader.build()).expect("others can open it");
        let others: u64 = reader.map(|batch| batch.expect("others can read it").num_rows() as u64).sum();
        assert_eq!(rows, others, "as many rows as others read");
        if let Some(mut others) = parquet_rows::read(data, of_fields) {
            others.sort();
            assert_eq!(found, others, "the rows that others read");
        }
    }
}

/// Host; scope, metric, id and path; time, frequency, and the bits of the value.
type Row = (String, [String; 4], i64, i64, u32);

/// The rows of an object in which nothing is wrong, as a run reads them that merges with them.
async fn read_back(archive: &Archive) -> Vec<Row> {
    let listed = archive.store().head(&Path::from(OBJECT)).await.expect("there");
    let object = object::ledger(archive, &listed).await.expect("in memory").expect("verified");
    let (workers, footers) = (Workers::new(1).expect("a worker"), LastFooter::default());
    let source = Source { archive, workers: &workers, footers: &footers, object: &object };
    let mut hosts = Hosts::open(source, |_, _| true).await.expect("in memory").expect("verified");
    let mut rows = Vec::new();
    while let Some(host) = hosts.host().await.expect("in memory").expect("verified") {
        let snapshot = hosts.take(i64::MIN..=i64::MAX, Spool::new(&tools(), 0, 1 << 20)).await.expect("in memory").expect("verified");
        for (key, start, frequency, values) in decoded(snapshot).series {
            let row = |(i, bits)| (host.to_string(), key.clone(), start + i as i64 * frequency, frequency, bits);
            rows.extend(values.into_iter().enumerate().map(row).filter(|row| !f32::from_bits(row.4).is_nan()));
        }
    }
    // runs of one series need not come in order
    rows.sort();
    rows
}

fn of_fields(fields: &Fields) -> Option<Row> {
    let number = |name: &str| if let Field::Long(number) = fields.get(name)? { Some(*number) } else { None };
    let Field::Float(value) = fields.get("value")? else { return None };
    let key = [fields.text("scope")?, fields.text("metric")?, fields.text("scope_id")?, fields.text("selector")?];
    Some((fields.text("hostname")?, key, number("timestamp")?, number("frequency")?, value.to_bits()))
}

/// The smallest object of the golden snapshots.
pub fn seeds() -> Vec<Vec<u8>> {
    apart(|| {
        let archive = archived();
        assert_eq!(wait(get(&archive, info::KEY)), INFO.to_json(), "what a new archive has");
        vec![wait(get(&archive, OBJECT)).to_vec()]
    })
}
