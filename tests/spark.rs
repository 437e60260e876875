//! Spark reads the golden checkpoints' archive, of both encoders: the versions that read everything, and those before, with what README
//! tells their users. With the feature `spark`, as it needs Java and downloads 900 MB.

use std::process::{Command, Output};

use support::{Tree, archive, assert_same_rows, fixture};

mod support;

const NEW: &str = "4.3.0";
const OLD: &str = "4.2.1";

fn spark(version: &str, archive: &std::path::Path, settings: &[&str]) -> Output {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spark");
    let setup = Command::new(format!("{folder}/setup")).arg(version).output().expect("tests/spark/setup starts");
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let python = String::from_utf8(setup.stdout).expect("a path");
    Command::new(python.trim()).arg(format!("{folder}/read.py")).arg(archive).args(settings).output().expect("Spark starts")
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
    for encoder in ["runs", "reference"] {
        let folder = archived(&["--encoder", encoder]);
        reads(encoder, spark(NEW, folder.path(), &[]));
    }
}

#[test]
fn an_older_spark_needs_plain_values_or_its_other_reader() {
    let split = archived(&[]);
    let refused = spark(OLD, split.path(), &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("BYTE_STREAM_SPLIT"), "README says that it cannot: {refused:?}");
    reads("the other reader", spark(OLD, split.path(), &["spark.sql.parquet.enableVectorizedReader=false"]));
    reads("plain values", spark(OLD, archived(&["--value-encoding", "plain"]).path(), &[]));
}
