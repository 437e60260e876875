//! Archives in directories whose file systems lack what gives a file a name that nobody has.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::store::{Archive, FileNames};
use cc_archiver::telemetry::Summary;
use clap::Parser;

use support::{MIDNIGHT, Snapshot, Tree, assert_same_rows, block_on, files_below, rows_of};

mod support;

/// No renames that replace nothing, and hard links or not.
#[derive(Debug)]
struct Lacking {
    links: bool,
}

impl FileNames for Lacking {
    fn rename_no_replace(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error()))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.links { std::fs::hard_link(from, to) } else { Err(io::Error::from_raw_os_error(rustix::io::Errno::OPNOTSUPP.raw_os_error())) }
    }
}

fn archive(tree: &Tree, target: &Path, links: bool) -> Box<Summary> {
    let opened = Archive::directory_with(target, Arc::new(Lacking { links })).expect("opened");
    let args = ["cc-archiver".as_ref(), "archive".as_ref(), tree.path().as_os_str(), "/nonexistent".as_ref()];
    let Command::Archive(args) = Cli::parse_from(args).command else { unreachable!("it says archive") };
    let settings = config::archive(*args, &S3Environment::default()).expect("valid");
    match block_on(pipeline::archive(&settings, opened, Arc::default(), std::future::pending())).expect("it archives") {
        Outcome::Done(summary) => summary,
        Outcome::Planned(_) => unreachable!("no dry run"),
    }
}

fn tree() -> (Tree, Vec<support::Row>) {
    let (tree, snapshot) = (Tree::new(), Snapshot::minutes(MIDNIGHT + 3_600, [1.0; 60]));
    tree.bin("c", "n1", &snapshot);
    (tree, snapshot.rows("c", "n1"))
}

#[test]
fn hard_links_do_as_well_as_renames_that_replace_nothing() {
    let ((tree, rows), target) = (tree(), tempfile::tempdir().expect("a folder"));
    let summary = archive(&tree, target.path(), true);
    assert!(!summary.store_overwrites && summary.objects[0].ends_with("/part-00-00000.parquet"), "{summary}");
    assert_same_rows("the archive", rows_of(&files_below(target.path())), rows);
}

#[test]
fn where_neither_is_known_each_upload_has_a_key_of_its_own_and_the_run_says_so() {
    let ((tree, rows), target) = (tree(), tempfile::tempdir().expect("a folder"));
    let summary = archive(&tree, target.path(), false);
    let (folder, name) = summary.objects[0].rsplit_once('/').expect("a folder");
    let hash = name.strip_prefix("part-00-00000-").and_then(|rest| rest.strip_suffix(".parquet")).expect("a hash");
    assert!(hash.len() == 16 && summary.store_overwrites && summary.to_string().contains("ignores conditional writes"), "{summary}");
    assert_same_rows("the archive", rows_of(&files_below(target.path())), rows);
    assert_eq!((archive(&tree, target.path(), false).objects_written, files_below(target.path()).len()), (0, 1), "nothing new");

    // what another writer put beside it is named, and stays
    let folder = target.path().join(folder);
    std::fs::copy(folder.join(name), folder.join("part-00-00000-00000000000000aa.parquet")).expect("copied");
    let summary = archive(&tree, target.path(), false);
    assert!(summary.set_aside.len() == 1 && summary.set_aside[0].reason.contains("rows stand twice"), "{summary}");
    assert_eq!(files_below(target.path()).len(), 2);
}
