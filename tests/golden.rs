//! The golden checkpoints, archived: every reader that people use gets exactly the expected rows, and the files are
//! built as the format promises.

use std::collections::BTreeMap;

use parquet::basic::{Compression, Encoding, Repetition, Type};
use parquet::column::page::Page;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use support::{Bucket, Objects, Row, Snapshot, T0, Tree, archive, archiver, assert_same_rows, files_below, fixture, python, rows_in, rows_of, run, s3};

mod support;

const COLUMNS: [&str; 8] = ["hostname", "scope", "metric", "scope_id", "selector", "timestamp", "frequency", "value"];
const PARTITIONS: [(&str, &str); 4] = [("alpha", "2026-03-01"), ("alpha", "2026-03-02"), ("beta", "2026-03-01"), ("beta", "2026-03-02")];

fn expected() -> Vec<String> {
    let text = std::fs::read_to_string(fixture("golden/expected.csv")).expect("the expected rows");
    let rows: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    assert_eq!(rows.len(), 5_179);
    rows
}

/// What each encoder writes must be the same to all readers.
const ENCODERS: [&str; 2] = ["runs", "arrow"];

/// A tree, its archive in a directory, and that archive's objects.
struct InDirectory {
    folder: tempfile::TempDir,
    tree: Tree,
}

impl InDirectory {
    fn by(encoder: &str, tree: Tree) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        archive(tree.path(), folder.path(), &["--encoder", encoder]).expect(0);
        Self { folder, tree }
    }

    fn golden() -> Self {
        Self::by("runs", Tree::golden())
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().expect("UTF-8")
    }

    fn objects(&self) -> Objects {
        files_below(self.folder.path())
    }
}

/// A tree's archive in a bucket, below a prefix.
fn in_bucket(encoder: &str, tree: &Tree) -> Bucket {
    let bucket = s3();
    let mut command = archiver();
    command.arg("archive").arg(tree.path()).arg(bucket.url("some/prefix")).args(["--encoder", encoder]).envs(bucket.environment());
    run(&mut command).expect(0);
    bucket
}

/// The rows that a reader sees, as lines.
fn read(reader: &str, place: &str, options: &[&str], environment: &[(&str, String)]) -> Vec<String> {
    let args = [&[reader, place], options].concat();
    python("read.py", &args, environment).lines().map(str::to_owned).collect()
}

/// All rows at once; and partition by partition, by filters on cluster and date.
fn golden_rows_come_back(reader: &str, place: &str, environment: &[(&str, String)]) {
    assert_same_rows(reader, read(reader, place, &[], environment), expected());
    let filters = PARTITIONS.map(|(cluster, date)| ["--partition", cluster, date]).concat();
    assert_same_rows(&format!("{reader}, filtered"), read(reader, place, &filters, environment), expected());
}

fn golden_rows_come_back_from_a_directory(reader: &str) {
    for encoder in ENCODERS {
        golden_rows_come_back(reader, InDirectory::by(encoder, Tree::golden()).path(), &[]);
    }
}

#[test]
fn pandas_reads_the_golden_rows_from_a_directory() {
    golden_rows_come_back_from_a_directory("pandas");
}

#[test]
fn pyarrow_reads_the_golden_rows_from_a_directory() {
    golden_rows_come_back_from_a_directory("pyarrow");
}

#[test]
fn duckdb_reads_the_golden_rows_from_a_directory() {
    golden_rows_come_back_from_a_directory("duckdb");
}

#[test]
fn polars_reads_the_golden_rows_from_a_directory() {
    golden_rows_come_back_from_a_directory("polars");
}

#[test]
fn the_rust_reader_reads_the_golden_rows_from_a_directory() {
    for encoder in ENCODERS {
        assert_same_rows(encoder, rows_of(&InDirectory::by(encoder, Tree::golden()).objects()), expected());
    }
}

#[test]
fn every_reader_reads_the_golden_rows_from_s3() {
    for encoder in ENCODERS {
        let bucket = in_bucket(encoder, &Tree::golden());
        for reader in ["pandas", "pyarrow", "duckdb", "polars"] {
            golden_rows_come_back(reader, &bucket.url("some/prefix"), &bucket.environment());
        }
        assert_same_rows("parquet", rows_of(&bucket.objects("some/prefix")), expected());
        assert_eq!(bucket.open_uploads(), [""; 0]);
    }
}

#[test]
fn readers_do_not_see_what_lies_unfinished_in_the_archive() {
    let archived = InDirectory::golden();
    let (key, whole) = archived.objects().pop_first().expect("an object");
    let unfinished = archived.folder.path().join("_tmp/1-0123456789abcdef");
    support::write(&unfinished.join(key.replace(['/', '='], "-")), &whole);
    support::write(&unfinished.join("another.parquet#1"), &whole[..whole.len() / 2]);
    for reader in ["pandas", "pyarrow", "duckdb", "polars"] {
        assert_same_rows(reader, read(reader, archived.path(), &[], &[]), expected());
    }
}

/// A tree with a snapshot for each of these clusters and a few odd hosts, and its rows.
fn odd_names(clusters: &[&str]) -> (Tree, Vec<String>) {
    let tree = Tree::new();
    let mut rows = Vec::new();
    for cluster in clusters {
        for host in ["h 1", "h=1", "h%411", "h#1", "hü", "h\n1", "h,1", "h\\1", "008"] {
            let snapshot = Snapshot::minutes(T0, [1.5, -0.0, f32::INFINITY, f32::from_bits(1)]);
            tree.bin(cluster, host, &snapshot);
            rows.extend(snapshot.rows(cluster, host).iter().map(ToString::to_string));
        }
    }
    (tree, rows)
}

/// What a reader takes for numbers, dates and so on depends on the other clusters: so all at once, and one alone.
const ODD_CLUSTERS: [&[&str]; 3] =
    [&["007", "a b", "x=y", "p%41q", "h#h", "zü", "n\nl", "back\\slash", "com,ma", "q?&+:*'\"~", "true"], &["007"], &["2026-03-01"]];

#[test]
fn odd_names_come_back_from_a_directory_as_they_were() {
    for clusters in ODD_CLUSTERS {
        let (tree, rows) = odd_names(clusters);
        let archived = InDirectory::by("runs", tree);
        for reader in ["pandas", "pyarrow", "duckdb", "polars"] {
            assert_same_rows(&format!("{reader}, {clusters:?}"), read(reader, archived.path(), &["--typed"], &[]), &rows);
            let filters: Vec<&str> = clusters.iter().flat_map(|cluster| ["--partition", cluster, "2026-03-01"]).collect();
            let filtered = read(reader, archived.path(), &[&["--typed"], &filters[..]].concat(), &[]);
            assert_same_rows(&format!("{reader}, {clusters:?}, filtered"), filtered, &rows);
        }
        assert_same_rows("parquet", rows_of(&archived.objects()), &rows);
    }
}

#[test]
fn odd_names_come_back_from_s3_as_they_were() {
    let (tree, rows) = odd_names(ODD_CLUSTERS[0]);
    let bucket = in_bucket("runs", &tree);
    for reader in ["pandas", "pyarrow", "duckdb", "polars"] {
        assert_same_rows(reader, read(reader, &bucket.url("some/prefix"), &["--typed"], &bucket.environment()), &rows);
    }
    assert_same_rows("parquet", rows_of(&bucket.objects("some/prefix")), &rows);
}

// ---------------------------------------------------------------- the files themselves

/// Checks each object of the golden archive, with small row groups so that there are several, of both encoders.
fn in_every_object(check: impl Fn(&str, &bytes::Bytes, &ParquetMetaData)) {
    ENCODERS.iter().for_each(|encoder| in_every_object_by(encoder, &check));
}

fn in_every_object_by(encoder: &str, check: impl Fn(&str, &bytes::Bytes, &ParquetMetaData)) {
    let (tree, folder) = (Tree::golden(), tempfile::tempdir().expect("a temporary folder"));
    archive(tree.path(), folder.path(), &["--row-group-rows", "1000", "--encoder", encoder]).expect(0);
    let objects = files_below(folder.path());
    assert_eq!(objects.len(), PARTITIONS.len());
    let mut row_groups = 0;
    for (key, bytes) in &objects {
        let metadata = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required).parse_and_finish(bytes).expect("a footer");
        row_groups += metadata.num_row_groups();
        check(key, bytes, &metadata);
    }
    assert!(row_groups > objects.len(), "row groups are not small");
}

fn footer(metadata: &ParquetMetaData) -> BTreeMap<&str, &str> {
    let pairs = metadata.file_metadata().key_value_metadata().expect("key-value metadata");
    pairs.iter().map(|pair| (pair.key.as_str(), pair.value.as_deref().expect("a value"))).collect()
}

#[test]
fn there_are_eight_required_columns_in_order() {
    in_every_object(|key, _, metadata| {
        let columns = metadata.file_metadata().schema_descr().columns();
        assert_eq!(columns.iter().map(|c| c.path().string()).collect::<Vec<_>>(), COLUMNS, "{key}");
        for (column, i) in columns.iter().zip(0..) {
            let info = column.self_type().get_basic_info();
            assert_eq!(info.repetition(), Repetition::REQUIRED, "{key} {column:?}");
            let expected = match i {
                0..=4 => Type::BYTE_ARRAY,
                5 | 6 => Type::INT64,
                _ => Type::FLOAT,
            };
            assert_eq!(column.physical_type(), expected, "{key} {column:?}");
            let is_text = format!("{:?}", column.logical_type_ref()) == "Some(String)";
            assert_eq!(is_text, i <= 4, "{key} {column:?}");
        }
    });
}

#[test]
fn rows_are_sorted_bytewise_and_the_footer_says_so() {
    in_every_object(|key, bytes, metadata| {
        let rows = rows_in(key, bytes);
        // strings in Rust are compared by their bytes
        let sort_keys: Vec<_> = rows.iter().map(Row::sort_key).collect();
        let out_of_order = sort_keys.windows(2).find(|pair| pair[0] >= pair[1]);
        assert_eq!(out_of_order, None, "{key}");
        for row_group in metadata.row_groups() {
            let sorting = row_group.sorting_columns().expect("sorting columns");
            let said: Vec<_> = sorting.iter().map(|s| (s.column_idx, s.descending, s.nulls_first)).collect();
            assert_eq!(said, (0..6).map(|i| (i, false, false)).collect::<Vec<_>>(), "{key}");
        }
    });
}

#[test]
fn names_that_differ_beyond_ascii_are_sorted_by_their_bytes() {
    // by bytes Z < a < z < ü < 😀, and 10 < 9; by words, locale or UTF-16 some of these would swap
    let hosts = ["Z", "a", "z", "ü", "\u{ffee}", "😀", "n10", "n9", "n-1", "n 1", "n"];
    let tree = Tree::new();
    for host in hosts {
        tree.bin("c", host, &Snapshot::minutes(T0, [1.0]));
    }
    let mut expected = hosts.map(str::as_bytes);
    expected.sort_unstable();
    for encoder in ENCODERS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        archive(tree.path(), folder.path(), &["--encoder", encoder]).expect(0);
        let objects = files_below(folder.path());
        let found: Vec<String> = objects.iter().flat_map(|(key, bytes)| rows_in(key, bytes)).map(|row| row.hostname).collect();
        assert_eq!(found.iter().map(String::as_bytes).collect::<Vec<_>>(), expected, "{encoder}");
    }
}

#[test]
fn each_column_has_the_encoding_that_suits_it() {
    in_every_object(|key, bytes, metadata| {
        let reader = SerializedFileReader::new(bytes.clone()).expect("a reader");
        for (g, row_group) in metadata.row_groups().iter().enumerate() {
            for (i, column) in row_group.columns().iter().enumerate() {
                let place = format!("{key}, row group {g}, {}", column.column_path());
                assert!(matches!(column.compression(), Compression::ZSTD(_)), "{place}: {:?}", column.compression());
                // what the pages say, not only the summary in the footer
                let pages = reader.get_row_group(g).expect("a row group").get_column_page_reader(i).expect("pages");
                let mut data = Vec::new();
                let mut dictionaries = 0;
                for page in pages {
                    match page.expect("a page") {
                        Page::DictionaryPage { .. } => dictionaries += 1,
                        page => data.push(page.encoding()),
                    }
                }
                let (expected, dictionary) = match COLUMNS[i] {
                    "timestamp" => (Encoding::DELTA_BINARY_PACKED, 0),
                    "value" => (Encoding::BYTE_STREAM_SPLIT, 0),
                    _ => (Encoding::RLE_DICTIONARY, 1),
                };
                assert!(!data.is_empty() && data.iter().all(|e| *e == expected), "{place}: {data:?}");
                assert_eq!(dictionaries, dictionary, "{place}: dictionary pages");
                assert_eq!(column.dictionary_page_offset().is_some(), dictionary == 1, "{place}");
                // readers decide by these whether a chunk is dictionary-encoded throughout
                let said = column.page_encoding_stats_mask().expect("encoding statistics");
                assert!(said.is_only(expected), "{place}: {said:?}");
            }
        }
    });
}

#[test]
fn each_column_has_statistics_and_both_page_indexes() {
    in_every_object(|key, _, metadata| {
        for (g, row_group) in metadata.row_groups().iter().enumerate() {
            let index = metadata.page_index_for_row_group(g);
            for (i, column) in row_group.columns().iter().enumerate() {
                let place = format!("{key}, row group {g}, {}", column.column_path());
                assert!(column.column_index_range().is_some() && index.column_index(i).is_some(), "{place}: no column index");
                assert!(column.offset_index_range().is_some() && index.offset_index(i).is_some(), "{place}: no offset index");
                let statistics = column.statistics().unwrap_or_else(|| panic!("{place}: no statistics"));
                assert!(statistics.min_bytes_opt().is_some() && statistics.max_bytes_opt().is_some(), "{place}");
                assert_eq!(statistics.null_count_opt(), Some(0), "{place}");
            }
        }
    });
}

#[test]
fn the_footer_says_what_the_object_is() {
    in_every_object(|key, bytes, metadata| {
        let footer = footer(metadata);
        let get = |name: &str| *footer.get(format!("cc-archiver.{name}").as_str()).unwrap_or_else(|| panic!("{key}: no {name}"));
        let rows = rows_in(key, bytes);
        let (cluster, date) = support::partition_of(key);
        assert_eq!(get("format"), "1");
        assert_eq!(get("writer"), format!("cc-archiver {}", env!("CARGO_PKG_VERSION")));
        assert_eq!((get("cluster"), get("date")), (cluster.as_str(), date.as_str()));
        assert_eq!(get("rows"), rows.len().to_string());
        assert_eq!(metadata.file_metadata().num_rows(), rows.len() as i64);
        let times = || rows.iter().map(|row| row.timestamp);
        assert_eq!(Some(get("min_timestamp").to_owned()), times().min().map(|t| t.to_string()));
        assert_eq!(Some(get("max_timestamp").to_owned()), times().max().map(|t| t.to_string()));
        assert!(key.ends_with(&format!("/part-{}.parquet", get("part"))), "{key}");
        assert_eq!((get("part"), get("buckets"), get("after")), ("00-00000", "1", ""), "{key}");
    });
}

#[test]
fn the_ledgers_name_every_snapshot_with_its_digest_and_account_for_every_row() {
    ENCODERS.iter().for_each(|encoder| the_ledgers_account_for_every_row(&InDirectory::by(encoder, Tree::golden())));
}

fn the_ledgers_account_for_every_row(archived: &InDirectory) {
    let objects = archived.objects();
    let mut named = BTreeMap::new();
    for (key, bytes) in &objects {
        let (cluster, date) = support::partition_of(key);
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).expect("a footer");
        let ledger = support::ledger_of(bytes).expect("a ledger");
        let sum = |field: &str| ledger.iter().map(|entry| entry[field].as_u64().expect("a count")).sum::<u64>();
        assert_eq!(sum("written"), metadata.file_metadata().num_rows() as u64, "{key}");
        assert_eq!(sum("rows"), sum("written") + sum("dropped"), "{key}");
        for entry in ledger {
            let path = format!("{cluster}/{}", entry["path"].as_str().expect("a path"));
            let file = std::fs::read(archived.tree.path().join(&path)).expect("the snapshot");
            assert_eq!(entry["blake3"], blake3::hash(&file).to_hex().as_str(), "{path}");
            assert_eq!(entry["size"], file.len(), "{path}");
            named.entry(path).or_insert_with(Vec::new).push((date.clone(), entry["dates"].clone()));
        }
    }
    let mut snapshots: Vec<String> = files_below(archived.tree.path()).into_keys().collect();
    snapshots.retain(|path| !path.ends_with(".wal"));
    assert_eq!(named.keys().collect::<Vec<_>>(), snapshots.iter().collect::<Vec<_>>());
    for (path, entries) in named {
        let dates: Vec<Value> = entries.iter().map(|(date, _)| date.as_str().into()).collect();
        for (_, said) in &entries {
            assert_eq!(*said, Value::Array(dates.clone()), "{path} stands on the dates that it feeds");
        }
    }
}

#[test]
fn an_object_equals_its_digest_when_its_own_digits_are_read_as_zeros() {
    in_every_object(|key, bytes, metadata| {
        let digest = footer(metadata)["cc-archiver.digest"];
        assert_eq!(digest.len(), 64, "{key}");
        let found: Vec<usize> = bytes.windows(64).enumerate().filter(|(_, window)| *window == digest.as_bytes()).map(|(at, _)| at).collect();
        assert_eq!(found.len(), 1, "{key}: the digest stands in the file once");
        let mut zeroed = bytes.to_vec();
        zeroed[found[0]..found[0] + 64].fill(b'0');
        assert_eq!(blake3::hash(&zeroed).to_hex().as_str(), digest, "{key}");
    });
}
