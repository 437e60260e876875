//! Row groups of Parquet files with rows of metrics, as cc-backend's own archiver writes them: where the columns of each lie, and whose rows they are.
//!
//! Only what is needed to read a row group is kept of a footer: a file can have thousands of them, and there can be many files.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, TimeUnit};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::{ColumnDescriptor, SchemaDescPtr};

use crate::schema::footer;

mod columns;

pub use columns::Batches;
use columns::{Bytes, takes};

/// The columns that such a file must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Text.
    Cluster,
    /// Text.
    Hostname,
    /// Text.
    Metric,
    /// Text.
    Scope,
    /// Text, empty for the host itself.
    ScopeId,
    /// Unix time in s, or a Parquet timestamp.
    Timestamp,
    /// Seconds between values.
    Frequency,
    /// A number.
    Value,
}

impl Column {
    /// All of them, in the order in which they are kept.
    pub const ALL: [Self; 8] = [Self::Cluster, Self::Hostname, Self::Metric, Self::Scope, Self::ScopeId, Self::Timestamp, Self::Frequency, Self::Value];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Hostname => "hostname",
            Self::Metric => "metric",
            Self::Scope => "scope",
            Self::ScopeId => "scope_id",
            Self::Timestamp => "timestamp",
            Self::Frequency => "frequency",
            Self::Value => "value",
        }
    }
}

/// A Parquet file whose footer was read.
#[derive(Debug)]
pub struct ParquetFile {
    /// Where.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// Time of its last change, in ns since 1970.
    pub mtime: i64,
    /// Its columns.
    schema: SchemaDescPtr,
    /// Which of them is which, in the order of [`Column::ALL`].
    places: [usize; 8],
}

/// Where a column of a row group lies.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Chunk {
    start: u64,
    len: u64,
    compression: Compression,
}

/// A row group, as far as the footer tells.
#[derive(Debug)]
pub struct Group {
    index: usize,
    rows: u64,
    chunks: [Chunk; 8],
    /// Cluster and host, if all rows are of one.
    whose: Option<(String, String)>,
    /// Times of the first and of the last row, in Unix s.
    times: Option<(i64, i64)>,
}

/// Times of the first and of the last row of each cluster and host.
type Whose = BTreeMap<(String, String), (i64, i64)>;

/// The rows of one host in a row group.
#[derive(Debug, Clone)]
pub struct RowGroup {
    /// The file.
    pub file: Arc<ParquetFile>,
    group: Arc<Group>,
    /// Whose rows: cluster and host.
    pub whose: (Arc<str>, Arc<str>),
    /// Times of the first and of the last row, in Unix s.
    pub times: (i64, i64),
}

impl PartialEq for RowGroup {
    fn eq(&self, other: &Self) -> bool {
        (&self.file.path, self.group.index, &self.whose) == (&other.file.path, other.group.index, &other.whose)
    }
}

impl Eq for RowGroup {}

impl RowGroup {
    /// For people: the file and the index.
    pub fn path(&self) -> PathBuf {
        let mut path = self.file.path.clone().into_os_string();
        path.push(format!("#{}", self.group.index));
        path.into()
    }

    /// The file's name and the index: how a ledger calls it, behind the host.
    pub fn name(&self) -> String {
        format!("{}#{}", self.file.path.file_name().unwrap_or_default().to_string_lossy(), self.group.index)
    }

    /// Bytes of its columns, of all hosts.
    pub fn size(&self) -> u64 {
        self.group.chunks.iter().map(|chunk| chunk.len).sum()
    }

    /// How many rows it has, of all hosts.
    pub fn rows(&self) -> u64 {
        self.group.rows
    }

    /// True if all rows are of this host.
    pub fn is_whole(&self) -> bool {
        self.group.whose.is_some()
    }

    /// Its rows, with these columns.
    ///
    /// # Errors
    /// A column cannot be read: which, and why.
    pub fn read(&self, file: &Arc<File>, wanted: &[Column]) -> Result<Batches, String> {
        Batches::new(file, &self.file, &self.group, wanted)
    }
}

impl ParquetFile {
    /// Reads the footer of an open file.
    ///
    /// # Errors
    /// It is none with such rows: why.
    pub fn new(file: &Arc<File>, path: PathBuf, size: u64, mtime: i64) -> Result<(Arc<Self>, Vec<Arc<Group>>), String> {
        let read = || ParquetMetaDataReader::new().parse_and_finish(&Bytes { file: Arc::clone(file), size });
        let metadata = without_panic(|| read().map_err(|e| format!("it is no Parquet file that can be read: {e}")))?;
        if metadata.file_metadata().key_value_metadata().is_some_and(|pairs| pairs.iter().any(|pair| pair.key == footer::FORMAT)) {
            return Err("it is an object of an archive of cc-archiver: its rows are in that archive".into());
        }
        let schema = metadata.file_metadata().schema_descr_ptr();
        let file = Arc::new(Self { places: places(&schema)?, path, size, mtime, schema });
        let groups = without_panic(|| file.groups(&metadata))?;
        Ok((file, groups))
    }

    fn groups(&self, metadata: &ParquetMetaData) -> Result<Vec<Arc<Group>>, String> {
        metadata.row_groups().iter().enumerate().map(|(index, group)| Ok(Arc::new(self.group(index, group)?))).collect()
    }

    fn group(&self, index: usize, group: &RowGroupMetaData) -> Result<Group, String> {
        let rows = u64::try_from(group.num_rows()).map_err(|_| format!("row group {index} has {} rows", group.num_rows()))?;
        let chunk = |column: Column| {
            let chunk = group.column(self.places[column as usize]);
            let (start, len) = chunk.byte_range();
            let fits = start.checked_add(len).is_some_and(|end| end <= self.size);
            let compression = chunk.compression();
            if !matches!(compression, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)) {
                let codec = format!("{compression:?}");
                let codec = codec.split('(').next().unwrap_or_default();
                return Err(format!("column {} is compressed by {codec}: write the file anew with zstd, as cc-backend does, or snappy", column.name()));
            }
            let found = Chunk { start, len, compression };
            fits.then_some(found).ok_or_else(|| format!("row group {index}: column {} reaches past the end of the file: is it cut off?", column.name()))
        };
        let chunks: Vec<Chunk> = Column::ALL.into_iter().map(chunk).collect::<Result<_, _>>()?;
        let statistics = |column: Column| group.column(self.places[column as usize]).statistics();
        let whose = constant(statistics(Column::Cluster)).zip(constant(statistics(Column::Hostname)));
        let ticks = ticks(&self.schema.column(self.places[Column::Timestamp as usize]));
        let times = bounds(statistics(Column::Timestamp)).map(|(first, last)| (first.div_euclid(ticks), last.div_euclid(ticks)));
        let chunks = chunks.try_into().map_err(|_| "it lacks a column".to_owned())?;
        Ok(Group { index, rows, chunks, whose, times })
    }

    /// The rows of each host in a row group. Where the footer does not tell, they are gone through.
    ///
    /// # Errors
    /// A column cannot be read: which, and why.
    pub fn hosts(self: &Arc<Self>, file: &Arc<File>, group: &Arc<Group>) -> Result<Vec<RowGroup>, String> {
        let found = match (&group.whose, group.times) {
            (Some((cluster, host)), Some(times)) => BTreeMap::from([((cluster.clone(), host.clone()), times)]),
            _ => without_panic(|| self.survey(file, group))?,
        };
        let of = |((cluster, host), times): ((String, String), _)| RowGroup {
            file: Arc::clone(self),
            group: Arc::clone(group),
            whose: (cluster.into(), host.into()),
            times,
        };
        Ok(found.into_iter().map(of).collect())
    }

    fn survey(&self, file: &Arc<File>, group: &Group) -> Result<Whose, String> {
        let mut found = Whose::new();
        // most rows are of the host of the one before
        let mut last: Option<((String, String), (i64, i64))> = None;
        let mut settle = |last: Option<((String, String), (i64, i64))>| {
            let Some((whose, times)) = last else { return };
            let (first, last) = found.entry(whose).or_insert(times);
            (*first, *last) = (times.0.min(*first), times.1.max(*last));
        };
        let mut batches = Batches::new(file, self, group, &[Column::Cluster, Column::Hostname, Column::Timestamp])?;
        while let Some(batch) = batches.next()? {
            for row in 0..batch.rows {
                let (cluster, host, time) = (batch.text(Column::Cluster, row)?, batch.text(Column::Hostname, row)?, batch.time(row)?);
                match &mut last {
                    Some((whose, times)) if (&*whose.0, &*whose.1) == (cluster, host) => *times = (time.min(times.0), time.max(times.1)),
                    _ => settle(last.replace(((cluster.to_owned(), host.to_owned()), (time, time)))),
                }
            }
        }
        settle(last);
        Ok(found)
    }
}

impl Group {
    /// Its index in the file.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// A library may give up on what no program has written.
pub fn without_panic<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("it makes no sense to the reader of Parquet".into()))
}

/// Where the columns are.
fn places(schema: &SchemaDescPtr) -> Result<[usize; 8], String> {
    let place = |column: Column| {
        let found = schema.columns().iter().position(|found| found.path().parts() == [column.name()] && found.max_rep_level() == 0);
        let place = found.ok_or_else(|| {
            let all = Column::ALL.map(Column::name).join(", ");
            format!("it has no column {}: the archives of cc-backend have {all}", column.name())
        })?;
        let physical = schema.column(place).physical_type();
        takes(column, physical)
            .then_some(place)
            .ok_or_else(|| format!("column {} is of the type {physical}, which it is in no archive of cc-backend", column.name()))
    };
    let places: Vec<usize> = Column::ALL.into_iter().map(place).collect::<Result<_, _>>()?;
    places.try_into().map_err(|_| "it lacks a column".to_owned())
}

/// The text that all rows have, if bounds say so: it is between them.
fn constant(statistics: Option<&Statistics>) -> Option<String> {
    let Some(Statistics::ByteArray(bounds)) = statistics else { return None };
    let (min, max) = (bounds.min_opt()?, bounds.max_opt()?);
    // a row without text is within any bounds
    let is_full = bounds.null_count_opt().is_none_or(|nulls| nulls == 0);
    (min == max && is_full).then(|| std::str::from_utf8(min.data()).ok().map(str::to_owned))?
}

fn bounds(statistics: Option<&Statistics>) -> Option<(i64, i64)> {
    match statistics? {
        Statistics::Int64(bounds) => Some((*bounds.min_opt()?, *bounds.max_opt()?)),
        Statistics::Int32(bounds) => Some(((*bounds.min_opt()?).into(), (*bounds.max_opt()?).into())),
        _ => None,
    }
}

/// Into how many parts a column of times divides a second: 1 where it says nothing.
fn ticks(column: &ColumnDescriptor) -> i64 {
    let unit = match column.logical_type_ref() {
        Some(LogicalType::Timestamp(timestamp)) => Some(timestamp.unit),
        _ => None,
    };
    match (unit, column.converted_type()) {
        (Some(TimeUnit::NANOS), _) => 1_000_000_000,
        (Some(TimeUnit::MICROS), _) | (_, ConvertedType::TIMESTAMP_MICROS) => 1_000_000,
        (Some(TimeUnit::MILLIS), _) | (_, ConvertedType::TIMESTAMP_MILLIS) => 1_000,
        _ => 1,
    }
}
