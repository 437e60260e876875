//! Parquet files to be imported, of any bytes: each row that another reader finds becomes a sample, whether there is much memory or little.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use cc_archiver::files::{Compression, Filter, Kind, SnapshotFile};
use cc_archiver::names::Selector;
use cc_archiver::read;
use cc_archiver::scan::scan_files;
use parquet::basic::Compression as Codec;
use parquet::basic::ZstdLevel;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::parser::parse_message_type;

use super::parquet_rows::{self, Fields};
use super::{AMPLE, in_memory, tools};

/// Metric, path, time and the bits of the value. Whose it is, is not compared: of that the footer is believed, as all readers do.
type Row = (String, String, i64, u32);

/// A file, alone in a folder: what is found in it are the rows that another reader finds there.
pub fn run(data: &[u8]) {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let path = folder.path().join("1.parquet");
    std::fs::write(&path, data).expect("written");
    let Ok(tree) = scan_files(&[path], &Filter::default(), 1 << 30) else { return };
    let (mut rows, mut is_whole) = (Vec::new(), tree.set_aside.is_empty());
    for cluster in &tree.clusters {
        for host in &cluster.hosts {
            for file in &host.snapshots {
                match taken(file) {
                    Some(found) => rows.extend(found),
                    None => is_whole = false,
                }
            }
        }
    }
    // the other reader would make room for any dictionary, and end for it
    if let Some(expected) = is_whole.then(|| parquet_rows::read(data, of_fields)).flatten() {
        let mut expected: Vec<Row> = expected.into_iter().flatten().collect();
        rows.sort();
        expected.sort();
        assert_eq!(rows, expected, "the rows that another reader finds");
    }
}

/// The samples of a source: metric, path, time, bits of the value.
fn taken(file: &SnapshotFile) -> Option<Vec<Row>> {
    let digest = |room| read::digest(&PathBuf::new(), file, &tools(), room);
    let opened = read::open(&PathBuf::new(), file, &tools(), 64);
    let (Ok(ample), Ok(scarce), Ok(opened)) = (digest(1 << 20), digest(64), &opened) else {
        assert!(digest(1 << 20).is_err() && digest(64).is_err() && opened.is_err(), "it cannot be read, whatever the memory");
        return None;
    };
    assert_eq!(ample, scarce, "the same with little memory");
    let bytes = bytes_of(&opened.file);
    let decoded = in_memory(&bytes, Kind::Binary, Compression::None, AMPLE).expect("what rows become is a snapshot");
    let samples = |([_, metric, _, path], start, step, bits): super::Series| {
        let value = |(i, bits): (usize, u32)| (!f32::from_bits(bits).is_nan()).then(|| (metric.clone(), path.clone(), start + i as i64 * step, bits));
        bits.into_iter().enumerate().filter_map(value).collect::<Vec<_>>()
    };
    Some(decoded.series.into_iter().flat_map(samples).collect())
}

fn bytes_of(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; file.metadata().expect("a file").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("read");
    bytes
}

/// A row; none if it has no value.
fn of_fields(fields: &Fields) -> Option<Option<Row>> {
    let text = |name: &str| match fields.get(name)? {
        Field::Null if name == "scope_id" => Some(String::new()),
        _ => fields.text(name),
    };
    let value = match fields.get("value")? {
        Field::Null => return Some(None),
        Field::Float(value) => *value,
        Field::Double(value) => *value as f32,
        _ => return None,
    };
    let time = match fields.get("timestamp")? {
        Field::Int(time) => i64::from(*time),
        Field::Long(time) => *time,
        Field::TimestampMillis(time) => time / 1_000,
        Field::TimestampMicros(time) => time / 1_000_000,
        _ => return None,
    };
    let level = Selector::derived(&text("scope")?, &text("scope_id")?)?;
    let row = (text("metric")?, level.path.to_string(), time, value.to_bits());
    Some((!value.is_nan()).then_some(row))
}

/// A file as cc-backend writes it, a row group a host; and one of other types, with two hosts in a row group.
pub fn seeds() -> Vec<Vec<u8>> {
    let names = "required binary cluster (UTF8); required binary hostname (UTF8); required binary metric (UTF8);
        required binary scope (UTF8); required binary scope_id (UTF8);";
    let numbers = "required int64 timestamp; required int64 frequency; required float value;";
    let other_names = "optional binary hostname (UTF8); optional binary cluster; optional binary metric (UTF8);
        optional binary scope_id (UTF8); optional binary scope (UTF8);";
    let other_numbers = "optional double value; optional int64 timestamp (TIMESTAMP_MILLIS); optional int32 frequency;";
    let plain = WriterProperties::builder().set_dictionary_enabled(false).set_compression(Codec::ZSTD(ZstdLevel::default())).build();
    let packed = WriterProperties::builder().set_compression(Codec::SNAPPY).build();
    vec![
        file(&format!("message m {{ {names} {numbers} }}"), plain, &[&["n1"], &["n2"]]),
        file(&format!("message m {{ {other_names} {other_numbers} }}"), packed, &[&["n1", "n2"]]),
    ]
}

/// A row that is made: its host; metric, scope and id; and which one of its series it is.
type Made<'a> = (&'a str, (&'a str, &'a str, &'a str), i64);

/// A file with these columns, and with rows of these hosts in its row groups.
fn file(schema: &str, properties: WriterProperties, groups: &[&[&str]]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::clone(&schema), Arc::new(properties)).expect("a writer");
    for hosts in groups {
        let series = [("load", "node", ""), ("flops", "socket", "0"), ("flops", "core", "1")];
        let rows: Vec<_> = hosts.iter().flat_map(|host| series.iter().flat_map(move |of| (0..5_i64).map(move |i| (*host, *of, i)))).collect();
        let levels: Vec<i16> = vec![1; rows.len()];
        let mut group = writer.next_row_group().expect("a row group");
        for field in schema.get_fields() {
            let texts = |of: fn(&Made<'_>) -> String| -> Vec<ByteArray> { rows.iter().map(|row| ByteArray::from(of(row).into_bytes())).collect() };
            let times: Vec<i64> = rows.iter().map(|row| (1_772_323_200 + 60 * row.2) * if field.is_optional() { 1_000 } else { 1 }).collect();
            let levels = field.is_optional().then_some(&levels[..]);
            let mut column = group.next_column().expect("written").expect("a column");
            let written = match (field.name(), column.untyped()) {
                ("cluster", ColumnWriter::ByteArrayColumnWriter(to)) => to.write_batch(&texts(|_| "old".into()), levels, None),
                ("hostname", ColumnWriter::ByteArrayColumnWriter(to)) => to.write_batch(&texts(|row| row.0.into()), levels, None),
                ("metric", ColumnWriter::ByteArrayColumnWriter(to)) => to.write_batch(&texts(|row| row.1.0.into()), levels, None),
                ("scope", ColumnWriter::ByteArrayColumnWriter(to)) => to.write_batch(&texts(|row| row.1.1.into()), levels, None),
                ("scope_id", ColumnWriter::ByteArrayColumnWriter(to)) => to.write_batch(&texts(|row| row.1.2.into()), levels, None),
                ("timestamp", ColumnWriter::Int64ColumnWriter(to)) => to.write_batch(&times, levels, None),
                ("frequency", ColumnWriter::Int64ColumnWriter(to)) => to.write_batch(&vec![60; rows.len()], levels, None),
                ("frequency", ColumnWriter::Int32ColumnWriter(to)) => to.write_batch(&vec![60; rows.len()], levels, None),
                ("value", ColumnWriter::FloatColumnWriter(to)) => to.write_batch(&rows.iter().map(|row| row.2 as f32).collect::<Vec<_>>(), levels, None),
                ("value", ColumnWriter::DoubleColumnWriter(to)) => to.write_batch(&rows.iter().map(|row| row.2 as f64).collect::<Vec<_>>(), levels, None),
                (name, _) => unreachable!("no column {name}"),
            };
            written.expect("in memory");
            column.close().expect("in memory");
        }
        group.close().expect("in memory");
    }
    writer.into_inner().expect("in memory")
}
