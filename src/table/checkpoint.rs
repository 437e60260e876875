//! A checkpoint of a log: the lines that are left of all commits up to a version, as one Parquet file. A column for each kind of line, and a
//! row for each line, which is null in all columns but its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{ArrowError, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;

use super::actions::{Add, Format, Line, Metadata, Protocol, Remove};

/// Lines encoded at a time.
const LINES: usize = 8 << 10;

/// The file.
pub fn encode(lines: &[Line]) -> Result<Bytes> {
    let properties = WriterProperties::builder()
        .set_created_by(format!("cc-archiver version {}", env!("CARGO_PKG_VERSION")))
        // snappy: the codec that the oldest readers have
        .set_compression(Compression::SNAPPY)
        // lists and maps with the names that Parquet has for their parts
        .set_coerce_types(true)
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch(&[])?.schema(), Some(properties))?;
    for some in lines.chunks(LINES) {
        writer.write(&batch(some)?)?;
    }
    writer.close()?;
    Ok(file.into())
}

/// A struct of these children; null where `there` says so.
fn column(there: Vec<bool>, children: Vec<(&str, ArrayRef)>) -> Result<ArrayRef, ArrowError> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) =
        children.into_iter().map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array)).unzip();
    Ok(Arc::new(StructArray::try_new(fields.into(), arrays, Some(there.into()))?))
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn numbers(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn switches(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.collect::<BooleanArray>())
}

fn lists<'a>(values: impl Iterator<Item = Option<&'a Vec<String>>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    values.for_each(|list| lists.append_option(list.map(|list| list.iter().map(Some))));
    Arc::new(lists.finish())
}

/// The pairs of a map, with values that may be null.
type Pairs<'a> = Vec<(&'a str, Option<&'a str>)>;

fn pairs(map: &BTreeMap<String, String>) -> Pairs<'_> {
    map.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect()
}

fn pairs_or_null(map: &BTreeMap<String, Option<String>>) -> Pairs<'_> {
    map.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect()
}

fn maps<'a>(values: impl Iterator<Item = Option<Pairs<'a>>>) -> Result<ArrayRef, ArrowError> {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for map in values {
        for (key, value) in map.iter().flatten() {
            maps.keys().append_value(key);
            maps.values().append_option(*value);
        }
        maps.append(map.is_some())?;
    }
    Ok(Arc::new(maps.finish()))
}

fn batch(lines: &[Line]) -> Result<RecordBatch, ArrowError> {
    let columns =
        [("protocol", protocol_column(lines)?), ("metaData", metadata_column(lines)?), ("add", add_column(lines)?), ("remove", remove_column(lines)?)];
    let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())
}

fn protocol_column(lines: &[Line]) -> Result<ArrayRef, ArrowError> {
    let all = || lines.iter().map(|line| line.protocol.as_ref());
    let version = |of: fn(&Protocol) -> u32| -> ArrayRef { Arc::new(all().map(|protocol| protocol.map(|p| of(p) as i32)).collect::<Int32Array>()) };
    column(
        all().map(|protocol| protocol.is_some()).collect(),
        vec![
            ("minReaderVersion", version(|protocol| protocol.min_reader_version)),
            ("minWriterVersion", version(|protocol| protocol.min_writer_version)),
            ("writerFeatures", lists(all().map(|protocol| protocol?.writer_features.as_ref()))),
        ],
    )
}

fn metadata_column(lines: &[Line]) -> Result<ArrayRef, ArrowError> {
    let all = || lines.iter().map(|line| line.meta_data.as_ref());
    let there: Vec<bool> = all().map(|metadata| metadata.is_some()).collect();
    let format = vec![
        ("provider", texts(all().map(|metadata| Some(metadata?.format.provider.as_str())))),
        ("options", maps(all().map(|metadata| Some(pairs(&metadata?.format.options))))?),
    ];
    let format = column(there.clone(), format)?;
    column(
        there,
        vec![
            ("id", texts(all().map(|metadata| Some(metadata?.id.as_str())))),
            ("format", format),
            ("schemaString", texts(all().map(|metadata| Some(metadata?.schema_string.as_str())))),
            ("partitionColumns", lists(all().map(|metadata| Some(&metadata?.partition_columns)))),
            ("configuration", maps(all().map(|metadata| Some(pairs(&metadata?.configuration))))?),
            ("createdTime", numbers(all().map(|metadata| Some(metadata?.created_time)))),
        ],
    )
}

fn add_column(lines: &[Line]) -> Result<ArrayRef, ArrowError> {
    let all = || lines.iter().map(|line| line.add.as_ref());
    column(
        all().map(|add| add.is_some()).collect(),
        vec![
            ("path", texts(all().map(|add| Some(add?.path.as_str())))),
            ("partitionValues", maps(all().map(|add| Some(pairs_or_null(&add?.partition_values))))?),
            ("size", numbers(all().map(|add| Some(add?.size)))),
            ("modificationTime", numbers(all().map(|add| Some(add?.modification_time)))),
            ("dataChange", switches(all().map(|add| Some(add?.data_change)))),
            ("stats", texts(all().map(|add| add?.stats.as_deref()))),
            ("tags", maps(all().map(|add| add?.tags.as_ref().map(pairs)))?),
        ],
    )
}

fn remove_column(lines: &[Line]) -> Result<ArrayRef, ArrowError> {
    let all = || lines.iter().map(|line| line.remove.as_ref());
    column(
        all().map(|remove| remove.is_some()).collect(),
        vec![
            ("path", texts(all().map(|remove| Some(remove?.path.as_str())))),
            ("deletionTimestamp", numbers(all().map(|remove| Some(remove?.deletion_timestamp)))),
            ("dataChange", switches(all().map(|remove| Some(remove?.data_change)))),
            ("extendedFileMetadata", switches(all().map(|remove| Some(remove?.extended_file_metadata)))),
            ("partitionValues", maps(all().map(|remove| Some(pairs_or_null(&remove?.partition_values))))?),
            ("size", numbers(all().map(|remove| Some(remove?.size)))),
        ],
    )
}

/// The lines of a file that [`encode`] made; what is not known of it is passed over.
pub fn decode(file: Bytes) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let batch = batch?;
        let column = |name: &str| batch.column_by_name(name).and_then(|column| column.as_struct_opt()).map(Column);
        let [protocol, metadata, add, remove] = ["protocol", "metaData", "add", "remove"].map(column);
        for row in 0..batch.num_rows() {
            lines.push(Line {
                protocol: protocol.and_then(|column| column.at(row)).map(|column| column.protocol(row)).transpose()?,
                meta_data: metadata.and_then(|column| column.at(row)).map(|column| column.metadata(row)).transpose()?,
                add: add.and_then(|column| column.at(row)).map(|column| column.add(row)).transpose()?,
                remove: remove.and_then(|column| column.at(row)).map(|column| column.remove(row)).transpose()?,
                ..Line::default()
            });
        }
    }
    Ok(lines)
}

/// A column of a checkpoint, and values of its children.
#[derive(Clone, Copy)]
struct Column<'a>(&'a StructArray);

impl<'a> Column<'a> {
    /// Itself, if the row is one of its.
    fn at(self, row: usize) -> Option<Self> {
        self.0.is_valid(row).then_some(self)
    }

    fn child(self, name: &str) -> Result<&'a ArrayRef> {
        self.0.column_by_name(name).ok_or_else(|| ParquetError::General(format!("it has no column {name}")))
    }

    fn value<T>(self, name: &str, row: usize, get: impl FnOnce(&'a dyn Array) -> Option<T>) -> Result<Option<T>> {
        let child = self.child(name)?;
        if child.is_null(row) {
            return Ok(None);
        }
        get(child).map(Some).ok_or_else(|| ParquetError::General(format!("its column {name} has another type: {}", child.data_type())))
    }

    fn text(self, name: &str, row: usize) -> Result<String> {
        Ok(self.value(name, row, |child| Some(child.as_string_opt::<i32>()?.value(row).to_owned()))?.unwrap_or_default())
    }

    fn number(self, name: &str, row: usize) -> Result<i64> {
        Ok(self.value(name, row, |child| Some(child.as_primitive_opt::<Int64Type>()?.value(row)))?.unwrap_or_default())
    }

    fn version(self, name: &str, row: usize) -> Result<u32> {
        Ok(self.value(name, row, |child| Some(child.as_primitive_opt::<Int32Type>()?.value(row)))?.unwrap_or_default().unsigned_abs())
    }

    fn switch(self, name: &str, row: usize) -> Result<bool> {
        Ok(self.value(name, row, |child| Some(child.as_boolean_opt()?.value(row)))?.unwrap_or_default())
    }

    fn list(self, name: &str, row: usize) -> Result<Option<Vec<String>>> {
        self.value(name, row, |child| {
            let items = child.as_list_opt::<i32>()?.value(row);
            Some(items.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
        })
    }

    fn map(self, name: &str, row: usize) -> Result<Option<BTreeMap<String, Option<String>>>> {
        self.value(name, row, |child| {
            let entries = child.as_map_opt()?.value(row);
            let (keys, values) = (entries.column(0).as_string_opt::<i32>()?, entries.column(1).as_string_opt::<i32>()?);
            Some(keys.iter().zip(values.iter()).filter_map(|(key, value)| Some((key?.to_owned(), value.map(str::to_owned)))).collect())
        })
    }

    fn plain_map(self, name: &str, row: usize) -> Result<Option<BTreeMap<String, String>>> {
        Ok(self.map(name, row)?.map(|map| map.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()))
    }

    fn protocol(self, row: usize) -> Result<Protocol> {
        Ok(Protocol {
            min_reader_version: self.version("minReaderVersion", row)?,
            min_writer_version: self.version("minWriterVersion", row)?,
            writer_features: self.list("writerFeatures", row)?,
        })
    }

    fn metadata(self, row: usize) -> Result<Metadata> {
        let format = Column(self.child("format")?.as_struct_opt().ok_or_else(|| ParquetError::General("its format is none".into()))?);
        Ok(Metadata {
            id: self.text("id", row)?,
            format: Format { provider: format.text("provider", row)?, options: format.plain_map("options", row)?.unwrap_or_default() },
            schema_string: self.text("schemaString", row)?,
            partition_columns: self.list("partitionColumns", row)?.unwrap_or_default(),
            configuration: self.plain_map("configuration", row)?.unwrap_or_default(),
            created_time: self.number("createdTime", row)?,
        })
    }

    fn add(self, row: usize) -> Result<Add> {
        Ok(Add {
            path: self.text("path", row)?,
            partition_values: self.map("partitionValues", row)?.unwrap_or_default(),
            size: self.number("size", row)?,
            modification_time: self.number("modificationTime", row)?,
            data_change: self.switch("dataChange", row)?,
            stats: Some(self.text("stats", row)?).filter(|stats| !stats.is_empty()),
            tags: self.plain_map("tags", row)?,
        })
    }

    fn remove(self, row: usize) -> Result<Remove> {
        Ok(Remove {
            path: self.text("path", row)?,
            deletion_timestamp: self.number("deletionTimestamp", row)?,
            data_change: self.switch("dataChange", row)?,
            extended_file_metadata: self.switch("extendedFileMetadata", row)?,
            partition_values: self.map("partitionValues", row)?.unwrap_or_default(),
            size: self.number("size", row)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Cluster, Date, Digest};
    use crate::partition::{Buckets, ObjectKey, Partition};

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let partition = Partition { cluster: Cluster::new("a b%").expect("a name"), date: Date::of(0).expect("a date") };
        let key = ObjectKey { bucket: Buckets::ONE.of(&partition.cluster, "n1"), partition, slot: 3, beside: None };
        let add = Add::new(&key, 10, 20, Digest::of(b"x"), r#"{"numRecords":7}"#.into());
        let bare = Add { stats: None, tags: None, partition_values: BTreeMap::from([("date".to_owned(), None)]), ..add.clone() };
        let lines = [
            Line { protocol: Some(Protocol::ours()), ..Line::default() },
            Line { meta_data: Some(Metadata::new(5).expect("random numbers")), ..Line::default() },
            Line { remove: Some(Remove::of(&add, 30)), ..Line::default() },
            Line { add: Some(add), ..Line::default() },
            Line { add: Some(bare), ..Line::default() },
        ];
        let read = decode(encode(&lines).expect("encoded")).expect("decoded");
        assert_eq!(format!("{read:?}"), format!("{lines:?}"));
        assert!(decode(Bytes::from_static(b"no Parquet")).is_err());
    }

    #[test]
    fn as_many_lines_as_there_are_come_back() {
        let line = |n: usize| Line { add: Some(Add { path: n.to_string(), ..Add::default() }), ..Line::default() };
        let lines: Vec<Line> = (0..2 * LINES + 1).map(line).collect();
        let read = decode(encode(&lines).expect("encoded")).expect("decoded");
        assert_eq!(read.len(), lines.len());
        assert!(read.iter().zip(&lines).all(|(read, line)| read.add == line.add));
    }
}
