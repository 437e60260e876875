//! The queries of `docs/queries.md`, run on the golden checkpoints' archive as they stand there, in a directory and on LocalStack: each gives
//! what the document says. PySpark's are run by `spark.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use support::document::{Block, Document, blocks, run_blocks, with_outputs};
use support::{Bucket, Tree, archive, archiver, endpoint, files_below, run, s3, write};

mod support;

/// The readers, and their headings.
const READERS: [(&str, &str); 3] = [("duckdb", "DuckDB"), ("polars", "Polars"), ("pandas", "pandas and pyarrow")];

/// The Python of a set of readers.
fn python(set: &str) -> String {
    let setup = run(Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/setup")).arg(set)).expect(0);
    setup.stdout.trim().to_owned()
}

/// A folder with the golden archive in `archive`, as the document has it.
fn in_a_directory() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    archive(Tree::golden().path(), folder.path().join("archive"), &[]).expect(0);
    folder
}

fn in_a_bucket() -> Bucket {
    let bucket = s3();
    let tree = Tree::golden();
    run(archiver().arg("archive").arg(tree.path()).arg(bucket.url("some/prefix")).envs(bucket.environment())).expect(0);
    bucket
}

#[track_caller]
fn give_what_the_document_says_in_a_directory(reader: &str) {
    let (document, folder) = (Document::of_queries(), in_a_directory());
    let heading = READERS.iter().find(|(name, _)| *name == reader).expect("a known one").1;
    let outputs = run_blocks(&python("readers"), reader, folder.path(), &document.below(heading), &[]);
    document.hold("in a directory", outputs);
}

/// The set-up for S3 takes the place of the first block, and the server of the tests that of the document.
#[track_caller]
fn give_what_the_document_says_on_s3(reader: &str) {
    let (document, bucket, folder) = (Document::of_queries(), in_a_bucket(), tempfile::tempdir().expect("a folder"));
    let heading = READERS.iter().find(|(name, _)| *name == reader).expect("a known one").1;
    let mut all = document.below(&format!("From S3 with {heading}"));
    all.extend(document.below(heading).into_iter().skip(1));
    let (_, server) = endpoint().split_once("://").expect("an address");
    let (place, url) = (format!("{}/some/prefix", bucket.name), bucket.url("some/prefix/"));
    let replaced = [
        ("minio.example.org:9000", server),
        ("monitoring/archive", &place),
        ("'archive/", &format!("'{url}")),
        ("ACCESS_KEY", "test"),
        ("SECRET_KEY", "test-secret"),
    ];
    let set = if reader == "duckdb" { "httpfs" } else { "readers" };
    document.hold("on S3", run_blocks(&python(set), reader, folder.path(), &all, &replaced));
}

/// The set-up for a table takes the place of the first block.
#[track_caller]
fn give_what_the_document_says_by_the_table(reader: &str) {
    let (document, folder) = (Document::of_queries(), in_a_directory());
    run(archiver().args(["table", "--init", "archive"]).current_dir(folder.path())).expect(0);
    let heading = READERS.iter().find(|(name, _)| *name == reader).expect("a known one").1;
    let mut all = document.below(&format!("By the table with {heading}"));
    all.extend(document.below(heading).into_iter().skip(1));
    document.hold("by the table", run_blocks(&python("table"), reader, folder.path(), &all, &[]));
}

#[test]
fn queries_of_duckdb_give_what_the_document_says_by_the_table() {
    give_what_the_document_says_by_the_table("duckdb");
}

#[test]
fn queries_of_polars_give_what_the_document_says_by_the_table() {
    give_what_the_document_says_by_the_table("polars");
}

#[test]
fn queries_of_duckdb_give_what_the_document_says_in_a_directory() {
    give_what_the_document_says_in_a_directory("duckdb");
}

#[test]
fn queries_of_polars_give_what_the_document_says_in_a_directory() {
    give_what_the_document_says_in_a_directory("polars");
}

#[test]
fn queries_of_pandas_and_pyarrow_give_what_the_document_says_in_a_directory() {
    give_what_the_document_says_in_a_directory("pandas");
}

#[test]
fn queries_of_duckdb_give_what_the_document_says_on_s3() {
    give_what_the_document_says_on_s3("duckdb");
}

#[test]
fn queries_of_polars_give_what_the_document_says_on_s3() {
    give_what_the_document_says_on_s3("polars");
}

#[test]
fn queries_of_pandas_and_pyarrow_give_what_the_document_says_on_s3() {
    give_what_the_document_says_on_s3("pandas");
}

#[test]
fn the_query_of_the_readme_gives_what_it_says() {
    let (readme, folder) = (Document::at("README.md"), in_a_directory());
    let outputs = run_blocks(&python("readers"), "duckdb", folder.path(), &readme.below("Querying"), &[]);
    readme.hold("in a directory", outputs);
}

#[test]
fn queries_open_no_object_of_another_cluster_or_date() {
    let folder = in_a_directory();
    for partition in ["cluster=alpha/date=2026-03-09", "cluster=beta/date=2026-03-09", "cluster=zeta/date=2026-03-01", "cluster=zeta/date=2026-03-02"] {
        write(&folder.path().join("archive").join(partition).join("part-00-00000.parquet"), b"no Parquet: whoever opens it fails");
    }
    for (reader, heading) in READERS {
        let all = Document::of_queries().below(heading);
        for set in if reader == "duckdb" { &["readers", "httpfs"][..] } else { &["readers"] } {
            for (block, printed) in run_blocks(&python(set), reader, folder.path(), &all, &[]) {
                assert_eq!(Some(printed), block.output, "{}", block.place());
            }
        }
    }
}

#[test]
fn every_block_that_runs_has_its_output_and_no_other_has_one() {
    let document = blocks(&Document::of_queries().text());
    for block in &document {
        let runs = match block.language.as_str() {
            "sql" => !["Trino", "Athena"].contains(&block.section.as_str()),
            "python" => true,
            "properties" => false,
            other => panic!("{}: who runs {other}?", block.place()),
        };
        assert_eq!(block.output.as_ref().is_some_and(|output| !output.is_empty()), runs, "{}", block.place());
        let known = ["DuckDB", "Polars", "pandas and pyarrow", "PySpark"];
        let with = ["From S3 with ", "By the table with "].iter().find_map(|with| block.heading.strip_prefix(with));
        let section = with.unwrap_or(&block.section);
        assert!(!runs || known.contains(&section), "{}: no test runs it", block.place());
    }
    assert!(document.len() > 20, "the queries are somewhere else");
}

// ---------------------------------------------------------------- tables of Trino and Athena

/// The columns that the parts of a DDL between these words and the next `)` name, with their types.
fn columns(ddl: &str, openings: &[&str]) -> Vec<(String, String)> {
    let list = |opening: &&str| {
        let inside = ddl.split_once(*opening).unwrap_or_else(|| panic!("no {opening:?} in\n{ddl}")).1;
        inside.split_once(')').expect("an end").0.to_owned()
    };
    let column = |text: &str| {
        let (name, kind) = text.trim().split_once(' ').unwrap_or_else(|| panic!("no column: {text:?}"));
        (name.trim_matches(['"', '`']).to_owned(), kind.trim().to_owned())
    };
    openings.iter().map(list).flat_map(|list| list.split(',').map(column).collect::<Vec<_>>()).collect()
}

/// The columns that a file has, and the partition columns behind them, with the types that a system has for them.
fn columns_of_the_files(folder: &Path, kinds: &BTreeMap<&str, &str>) -> Vec<(String, String)> {
    let (_, bytes) = files_below(folder).pop_first().expect("an object");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet");
    let schema = reader.schema().clone();
    let stored = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string()));
    let partitions = ["cluster", "date"].map(|name| (name.to_owned(), "Utf8".to_owned()));
    stored.chain(partitions).map(|(name, kind)| (name, kinds[kind.as_str()].to_owned())).collect()
}

#[test]
fn the_tables_of_trino_and_athena_have_the_columns_of_the_files() {
    let (document, folder) = (Document::of_queries(), in_a_directory());
    let trino = BTreeMap::from([("Utf8", "varchar"), ("Int64", "bigint"), ("Float32", "real")]);
    let athena = BTreeMap::from([("Utf8", "string"), ("Int64", "bigint"), ("Float32", "float")]);
    let tables: [(&str, _, &[&str]); 2] = [("Trino", trino, &["samples ("]), ("Athena", athena, &["samples (", "PARTITIONED BY ("])];
    for (system, kinds, openings) in tables {
        let ddl = &document.below(system)[0].code;
        assert_eq!(columns(ddl, openings), columns_of_the_files(&folder.path().join("archive"), &kinds), "{system}");
    }
}

// ---------------------------------------------------------------- and that the document is read as it stands

#[test]
fn a_block_belongs_to_its_headings_and_has_the_output_right_below_it() {
    let text = "# T\n\n## A\n\n### one\n\n```sql\nSELECT 1;\n```\n\n```text\n1\n```\n\nWords.\n\n```python\nprint()\n```\n\n## B\n\n```sql\nx\n```\n";
    let found = blocks(text);
    let seen: Vec<_> = found.iter().map(|b| (&*b.section, &*b.heading, &*b.language, &*b.code, b.output.as_deref())).collect();
    let expected = [("A", "one", "sql", "SELECT 1;", Some("1")), ("A", "one", "python", "print()", None), ("B", "B", "sql", "x", None)];
    assert_eq!(seen, expected);
    let outputs: Vec<(Block, String)> = found.iter().take(2).map(|block| (block.clone(), "2\n3".to_owned())).collect();
    let written = blocks(&with_outputs(text, &outputs));
    assert_eq!(written.iter().map(|block| block.output.as_deref()).collect::<Vec<_>>(), [Some("2\n3"), Some("2\n3"), None]);
    assert_eq!(with_outputs(&with_outputs(text, &outputs), &outputs), with_outputs(text, &outputs));
}
