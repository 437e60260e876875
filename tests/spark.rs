//! Spark reads the golden checkpoints' archive, of both encoders: the versions that read everything, and those before, with what docs/queries.md
//! tells their users; and its queries there give what they say. With the feature `spark`, as it needs Java and downloads 900 MB.

use std::process::{Command, Output};

use support::document::{Document, run_blocks};
use support::{Tree, archive, archiver, assert_same_rows, files_below, fixture, run};

mod support;

const NEW: &str = "4.3.0";
const OLD: &str = "4.2.1";

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spark");

/// The Python that has this version.
fn python(version: &str) -> String {
    let setup = Command::new(format!("{FOLDER}/setup")).arg(version).output().expect("tests/spark/setup starts");
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    String::from_utf8(setup.stdout).expect("a path").trim().to_owned()
}

fn spark(version: &str, archive: &std::path::Path, settings: &[&str]) -> Output {
    Command::new(python(version)).arg(format!("{FOLDER}/read.py")).arg(archive).args(settings).output().expect("Spark starts")
}

fn reads(what: &str, output: Output) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<String> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
    let expected = std::fs::read_to_string(fixture("golden/expected.csv")).expect("the expected rows");
    assert_same_rows(what, rows, expected.lines().skip(1));
}

fn archived(options: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    archive(Tree::golden().path(), folder.path(), options).expect(0);
    folder
}

#[test]
fn spark_reads_the_golden_rows_of_both_encoders() {
    for encoder in ["runs", "arrow"] {
        let folder = archived(&["--encoder", encoder]);
        reads(encoder, spark(NEW, folder.path(), &[]));
    }
}

#[test]
fn an_older_spark_needs_plain_values_or_its_other_reader() {
    let split = archived(&[]);
    let refused = spark(OLD, split.path(), &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("BYTE_STREAM_SPLIT"), "the document says that it cannot: {refused:?}");
    reads("the other reader", spark(OLD, split.path(), &["spark.sql.parquet.enableVectorizedReader=false"]));
    reads("plain values", spark(OLD, archived(&["--value-encoding", "plain"]).path(), &[]));
}

/// What Delta Lake for Spark needs, as docs/queries.md has it.
const DELTA: [&str; 3] = [
    "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.parquet.enableVectorizedReader=false",
];

fn with_table(options: &[&str]) -> tempfile::TempDir {
    let folder = archived(options);
    run(archiver().arg("table").arg(folder.path()).arg("--init")).expect(0);
    folder
}

#[test]
fn spark_reads_the_golden_rows_by_the_table_also_where_files_have_the_cluster_too() {
    for options in [&[][..], &["--with-cluster-column"]] {
        let folder = with_table(options);
        reads("by the table", spark(OLD, folder.path(), &[&["--table"][..], &DELTA].concat()));
    }
}

#[test]
fn spark_tidies_no_table_up() {
    let folder = with_table(&[]);
    let strange = folder.path().join("cluster=alpha/date=2026-03-01/part-00-00001.parquet");
    std::fs::write(&strange, "what the log does not name").expect("written");
    let objects = files_below(folder.path());
    let output = spark(OLD, folder.path(), &[&["--vacuum"][..], &DELTA].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let refusals = said.matches("refused: ").count();
    assert!(refusals == 3 && said.contains("ccArchiver") && !said.contains("done: "), "{said}");
    // what it wrote before it was refused may stay; of what was there nothing is gone
    let after = files_below(folder.path());
    let gone: Vec<&String> = objects.iter().filter(|(key, bytes)| after.get(*key) != Some(bytes)).map(|(key, _)| key).collect();
    assert!(gone.is_empty(), "{gone:?}");
    reads("after that", output);
}

#[test]
fn queries_of_pyspark_give_what_the_document_says_by_the_table() {
    let (document, folder) = (Document::of_queries(), tempfile::tempdir().expect("a folder"));
    archive(Tree::golden().path(), folder.path().join("archive"), &[]).expect(0);
    run(archiver().arg("table").arg(folder.path().join("archive")).arg("--init")).expect(0);
    let mut all = document.below("By the table with PySpark");
    all.extend(document.below("PySpark").into_iter().skip(1));
    // the jars are there: nothing is to be downloaded
    let replaced = [("spark.jars.packages", "spark.cc-archiver.packages")];
    document.hold("by the table", run_blocks(&python(OLD), "pyspark", folder.path(), &all, &replaced));
}

#[test]
fn queries_of_pyspark_give_what_the_document_says_in_a_directory() {
    let (document, folder) = (Document::of_queries(), tempfile::tempdir().expect("a folder"));
    archive(Tree::golden().path(), folder.path().join("archive"), &[]).expect(0);
    document.hold("in a directory", run_blocks(&python(NEW), "pyspark", folder.path(), &document.below("PySpark"), &[]));
}
