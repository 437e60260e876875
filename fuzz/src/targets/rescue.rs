//! A run of `archive` on a host with a log: whatever the log says, the run does what it does once, and no sample stands twice.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;

use arbitrary::Unstructured;
use cc_archiver::cli::Command;
use cc_archiver::config::{self, S3Environment};
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::store::Archive;
use cc_archiver::telemetry::{Progress, Summary};

use super::object::{apart, command, wait};
use super::{golden, wal};

/// Times of samples that are made: around those of a golden snapshot.
const BEGIN: i64 = 1_772_323_200;

/// The first byte says what the others are: a log, or what a log is made of.
pub fn run(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else { return };
    let log = if what % 2 == 0 { bytes.to_vec() } else { made(&mut Unstructured::new(bytes)).unwrap_or_default() };
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let host = folder.path().join("tree/alpha/n1");
    std::fs::create_dir_all(&host).expect("a folder");
    std::fs::create_dir(folder.path().join("hold")).expect("a folder");
    std::fs::write(host.join(format!("{BEGIN}.bin")), snapshot()).expect("written");
    std::fs::write(host.join("current.wal"), log).expect("written");
    let archive = Archive::in_memory();
    apart(|| {
        let first = wait(archived(folder.path(), &archive));
        let again = wait(archived(folder.path(), &archive));
        assert_eq!(again.rows_written, 0, "the second run has nothing to write; the first wrote {}", first.rows_written);
        wait(verified(&archive, first.rows_written));
    });
}

/// A snapshot of two series and a child, an hour of a value a minute.
fn snapshot() -> Vec<u8> {
    super::tree::hour(BEGIN)
}

async fn archived(folder: &Path, archive: &Archive) -> Box<Summary> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let Command::Archive(args) =
        command(&["archive", &path("tree"), "unused", "--min-age", "0s", "--workers", "1", "--wal-hold", &path("hold"), "--wal", "all"])
    else {
        unreachable!("it says so")
    };
    let settings = config::archive(*args, &S3Environment::default()).expect("valid settings");
    match pipeline::archive(&settings, archive.clone(), Arc::new(Progress::default()), pending()).await.expect("archived") {
        Outcome::Done(summary) => summary,
        Outcome::Planned(_) => unreachable!("that was not asked for"),
    }
}

/// No row stands twice, and all that was written is there.
async fn verified(archive: &Archive, rows: u64) {
    let Command::Verify(args) = command(&["verify", "s3://memory", "--read-data", "--decode", "--workers", "1"]) else { unreachable!("it says so") };
    let settings = config::verify(*args, &S3Environment::default()).expect("valid settings");
    let report = pipeline::verify_in(&settings, || Ok(archive.clone()), Arc::default(), pending()).await.expect("an archive in memory can be listed");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.rows_decoded, rows, "as many rows as were written");
}

/// A log of records of few series, at times near those of the snapshot, some of them far away.
fn made(choices: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let mut log = wal::MAGIC.to_vec();
    while !choices.is_empty() {
        let near = BEGIN - 600 + i64::from(choices.int_in_range(0..=6_000_u16)?);
        let time = if choices.ratio(1, 20)? { BEGIN + i64::from(choices.arbitrary::<i32>()?) } else { near };
        let (metric, level) = *choices.choose(&[("load", None), ("flops", None), ("flops", Some("socket0")), ("new", Some("x/y")), ("", Some(""))])?;
        log.extend(wal::encoded(time, metric, level.as_slice(), choices.arbitrary()?));
    }
    Ok(log)
}

/// A golden log, and bytes to make some of.
pub fn seeds() -> Vec<Vec<u8>> {
    let made = (0..3_u8).map(|seed| [&[1], &(0..200_u8).map(|i| i.wrapping_mul(seed.wrapping_mul(37) | 1)).collect::<Vec<_>>()[..]].concat());
    golden("wal").into_iter().map(|log| [&[0], &log[..]].concat()).chain(made).collect()
}
