//! What is told of a Parquet file: its footer, its row groups, and of an object of an archive its ledger.

use std::collections::BTreeMap;
use std::fmt;

use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use serde::Serialize;

use super::text::{bytes, count, name, range, table, time};
use crate::ledger::{Entry, ObjectLedger};
use crate::names::{Date, Digest};
use crate::schema::footer;
use crate::settings::SampleFilter;
use crate::telemetry::thousands;

/// Row groups and sources that are shown one by one, if not all are asked for.
const ROW_GROUPS: usize = 20;
const SOURCES: usize = 10;

/// The columns whose bounds are told.
const BOUNDED: [&str; 5] = ["hostname", "scope", "metric", "selector", "timestamp"];

/// What the footer of any Parquet file says.
#[derive(Debug, Serialize)]
pub struct ParquetFacts {
    /// Count of rows.
    pub rows: u64,
    /// The file's bytes for each of them.
    pub bytes_per_row: Option<f64>,
    /// Which program wrote it.
    pub created_by: Option<String>,
    /// Its columns.
    pub columns: Vec<ColumnFacts>,
    /// Its key-value metadata; of long values the beginning.
    pub metadata: BTreeMap<String, String>,
    /// Its row groups: those that can hold what is wanted.
    pub row_groups: Vec<RowGroupFacts>,
    /// How many there are.
    pub row_group_count: usize,
}

/// What is known of a column.
#[derive(Debug, Serialize)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The codec of its first pages.
    pub compression: Option<String>,
    /// Its encodings in the first row group.
    pub encodings: Vec<String>,
    /// Its bytes in all row groups.
    pub size: u64,
}

/// What is known of a row group.
#[derive(Debug, Serialize)]
pub struct RowGroupFacts {
    /// Its place, from 0.
    pub number: usize,
    /// Byte offset of its first page.
    pub offset: u64,
    /// Count of rows.
    pub rows: u64,
    /// Bytes of its pages.
    pub size: u64,
    /// The smallest and the largest value of some columns.
    pub bounds: BTreeMap<&'static str, (Bound, Bound)>,
}

/// A bound of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Bound {
    /// Of names.
    Text(String),
    /// Of times.
    Number(i64),
}

/// What an object of an archive says of itself.
#[derive(Debug, Serialize)]
pub struct ObjectFacts {
    /// The cluster.
    pub cluster: String,
    /// The date of all rows.
    pub date: Date,
    /// Bucket and slot.
    pub part: String,
    /// Sequences of the archive.
    pub buckets: u32,
    /// Digests of what stood in the slot before.
    pub after: Vec<Digest>,
    /// Slots before it that were empty.
    pub missing: Vec<u32>,
    /// Of all its bytes, as the footer has it.
    pub blake3: Digest,
    /// Of its ledger.
    pub ledger_blake3: Digest,
    /// How many sources the ledger names.
    pub source_count: usize,
    /// Those of the hosts that are wanted.
    pub sources: Vec<Entry>,
    /// True if all of them are shown to people, too.
    #[serde(skip)]
    pub whole_ledger: bool,
    /// What the footer says of rows.
    #[serde(flatten)]
    pub parquet: ParquetFacts,
}

impl ParquetFacts {
    /// Of a file of `size` bytes.
    pub fn new(metadata: &ParquetMetaData, size: u64, filter: &SampleFilter) -> Self {
        let (file, groups) = (metadata.file_metadata(), metadata.row_groups());
        let rows = u64::try_from(file.num_rows()).unwrap_or(0);
        let numbered = groups.iter().enumerate().filter(|(_, group)| can_match(group, filter));
        Self {
            rows,
            bytes_per_row: (rows > 0).then(|| (size as f64 / rows as f64 * 1_000.0).round() / 1_000.0),
            created_by: file.created_by().map(str::to_owned),
            columns: (0..file.schema_descr().num_columns()).map(|column| column_of(metadata, column)).collect(),
            metadata: file.key_value_metadata().into_iter().flatten().map(pair).collect(),
            row_groups: numbered.map(|(number, group)| row_group(number, group)).collect(),
            row_group_count: groups.len(),
        }
    }
}

/// A pair whose value does not go on and on.
fn pair(KeyValue { key, value }: &KeyValue) -> (String, String) {
    const LONGEST: usize = 200;
    let value = value.as_deref().unwrap_or_default();
    let shown: String = value.chars().take(LONGEST).collect();
    let rest = if shown.len() < value.len() { format!("… ({})", bytes(value.len() as u64)) } else { String::new() };
    (key.clone(), shown + &rest)
}

fn column_of(metadata: &ParquetMetaData, column: usize) -> ColumnFacts {
    let described = metadata.file_metadata().schema_descr().column(column);
    let chunks = || metadata.row_groups().iter().filter_map(move |group| group.columns().get(column));
    let first = chunks().next();
    ColumnFacts {
        name: described.path().string(),
        kind: described.physical_type().to_string(),
        // its level is not stored
        compression: first.map(|chunk| chunk.compression().to_string().split('(').next().unwrap_or_default().to_owned()),
        encodings: first.map(|chunk| chunk.encodings().map(|encoding| encoding.to_string()).collect()).unwrap_or_default(),
        size: chunks().map(|chunk| u64::try_from(chunk.compressed_size()).unwrap_or(0)).sum(),
    }
}

fn row_group(number: usize, group: &RowGroupMetaData) -> RowGroupFacts {
    let begin = |chunk: &ColumnChunkMetaData| u64::try_from(chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset())).unwrap_or(0);
    RowGroupFacts {
        number,
        offset: group.columns().iter().map(begin).min().unwrap_or(0),
        rows: u64::try_from(group.num_rows()).unwrap_or(0),
        size: u64::try_from(group.compressed_size()).unwrap_or(0),
        bounds: BOUNDED.into_iter().filter_map(|column| Some((column, bounds_of(group, column)?))).collect(),
    }
}

/// The smallest and the largest value of a column in a row group, if its statistics say.
pub fn bounds_of(group: &RowGroupMetaData, column: &str) -> Option<(Bound, Bound)> {
    let statistics = group.columns().iter().find(|chunk| chunk.column_descr().name() == column)?.statistics()?;
    match statistics {
        Statistics::Int64(times) => Some((Bound::Number(*times.min_opt()?), Bound::Number(*times.max_opt()?))),
        Statistics::ByteArray(_) => {
            let text = |bytes: &[u8]| Bound::Text(String::from_utf8_lossy(bytes).into_owned());
            Some((text(statistics.min_bytes_opt()?), text(statistics.max_bytes_opt()?)))
        }
        _ => None,
    }
}

/// True if a row group can hold rows that are wanted, by its bounds.
pub fn can_match(group: &RowGroupMetaData, filter: &SampleFilter) -> bool {
    let names = [("hostname", &filter.host), ("metric", &filter.metric), ("selector", &filter.selector)];
    let names_fit = names.into_iter().all(|(column, wanted)| match (wanted, bounds_of(group, column)) {
        (Some(wanted), Some((Bound::Text(low), Bound::Text(high)))) => lies_between(wanted, &low, &high),
        _ => true,
    });
    let (from, to) = filter.times();
    let times_fit = match bounds_of(group, "timestamp") {
        Some((Bound::Number(low), Bound::Number(high))) => high >= from && low < to,
        _ => true,
    };
    names_fit && times_fit
}

/// True if a name that matches can lie between two others, by what it must begin with.
fn lies_between(wanted: &glob::Pattern, low: &str, high: &str) -> bool {
    if low == high {
        return wanted.matches(low);
    }
    let pattern = wanted.as_str();
    let begin = &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())];
    high >= begin && (low <= begin || (low.starts_with(begin) && begin.len() < pattern.len()))
}

impl ObjectFacts {
    /// Of an object whose ledger was read.
    pub fn new(ledger: &ObjectLedger, parquet: ParquetFacts, filter: &SampleFilter, whole_ledger: bool) -> Self {
        Self {
            cluster: ledger.key.partition.cluster.as_str().to_owned(),
            date: ledger.key.partition.date,
            part: ledger.key.place(),
            buckets: ledger.info.buckets.count(),
            after: ledger.after.clone(),
            missing: ledger.missing.clone(),
            blake3: ledger.digest,
            ledger_blake3: ledger.ledger,
            source_count: ledger.entries.len(),
            sources: ledger.entries.iter().filter(|entry| filter.admits_host(entry.host())).cloned().collect(),
            whole_ledger,
            parquet,
        }
    }

    fn said(&self, key: &str) -> &str {
        self.parquet.metadata.get(key).map_or("", String::as_str)
    }
}

impl fmt::Display for ObjectFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, date, part, buckets, after, missing, blake3, ledger_blake3, .. } = self;
        writeln!(f, "of        cluster {}, {date}, part {part} ({})", name(cluster), count(u64::from(*buckets), "bucket", "buckets"))?;
        writeln!(f, "written   by {}, in format {}", name(self.said(footer::WRITER)), name(self.said(footer::FORMAT)))?;
        self.parquet.rows(f)?;
        let at = |key: &str| self.said(key).parse::<i64>().ok();
        if let (Some(first), Some(last)) = (at(footer::MIN_TIMESTAMP), at(footer::MAX_TIMESTAMP)) {
            writeln!(f, "times     {}", range(first, last))?;
        }
        writeln!(f, "sources   {} of {} hosts", thousands(self.source_count as u64), name(self.said(footer::HOSTS)))?;
        match after.as_slice() {
            [] => writeln!(f, "after     no other object of its sequence")?,
            digests => digests.iter().try_for_each(|digest| writeln!(f, "after     the object {digest}"))?,
        }
        if !missing.is_empty() {
            writeln!(f, "missing   slots {}, empty when it was written", missing.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))?;
        }
        writeln!(f, "blake3    {blake3}, as the footer says; verify --read-data checks it")?;
        writeln!(f, "ledger    {} bytes, blake3 {ledger_blake3}", name(self.said(footer::LEDGER)))?;
        self.parquet.columns(f)?;
        self.parquet.row_groups(f)?;
        self.ledger(f)
    }
}

impl fmt::Display for ParquetFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "written   by {}", self.created_by.as_deref().map_or_else(|| "a program that does not say so".into(), name))?;
        self.rows(f)?;
        self.metadata.iter().try_for_each(|(key, value)| writeln!(f, "metadata  {}: {}", name(key), name(value)))?;
        self.columns(f)?;
        self.row_groups(f)
    }
}

impl ParquetFacts {
    fn rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a_row = self.bytes_per_row.map(|bytes| format!(", {bytes} bytes a row")).unwrap_or_default();
        writeln!(f, "rows      {} in {}{a_row}", thousands(self.rows), count(self.row_group_count as u64, "row group", "row groups"))
    }

    fn columns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["column", "type", "codec", "bytes", "encodings"].map(str::to_owned);
        let lines = self.columns.iter().map(|column| {
            let ColumnFacts { name: called, kind, compression, encodings, size } = column;
            [name(called), kind.clone(), compression.clone().unwrap_or_default(), thousands(*size), encodings.join(", ")]
        });
        table(f, std::iter::once(head).chain(lines), &[3])
    }

    fn row_groups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["row group", "rows", "bytes", "hosts", "scopes", "metrics", "levels", "times"].map(str::to_owned);
        let lines = self.row_groups.iter().take(ROW_GROUPS).map(|group| {
            let [host, scope, metric, level, times] = BOUNDED.map(|column| group.bounds.get(column).map(shown).unwrap_or_default());
            [group.number.to_string(), thousands(group.rows), thousands(group.size), host, scope, metric, level, times]
        });
        table(f, std::iter::once(head).chain(lines), &[0, 1, 2])?;
        more(f, self.row_groups.len().saturating_sub(ROW_GROUPS), "row groups; --json has them all")
    }
}

impl ObjectFacts {
    fn ledger(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.whole_ledger { usize::MAX } else { SOURCES };
        let head = ["host", "file", "from", "to", "dates", "rows", "written", "dropped", "conflicting", "blake3"].map(str::to_owned);
        let lines = self.sources.iter().take(most).map(|entry| {
            let file = entry.path.rsplit_once('/').map_or(&*entry.path, |(_, file)| file);
            let dates: Vec<String> = entry.dates.iter().map(Date::to_string).collect();
            let digest = if self.whole_ledger { entry.blake3.to_string() } else { format!("{}…", &entry.blake3.to_string()[..12]) };
            let [rows, written, dropped, conflicting] = [entry.rows, entry.written, entry.dropped, entry.conflicting].map(thousands);
            [name(entry.host()), name(file), time(entry.from), time(entry.to), dates.join(" "), rows, written, dropped, conflicting, digest]
        });
        table(f, std::iter::once(head).chain(lines), &[5, 6, 7, 8])?;
        more(f, self.sources.len().saturating_sub(most), "sources; --ledger shows them all")
    }
}

/// Bounds as they are read.
fn shown((low, high): &(Bound, Bound)) -> String {
    let one = |bound: &Bound| match bound {
        Bound::Text(text) => name(text),
        Bound::Number(seconds) => time(*seconds),
    };
    if low == high { one(low) } else { format!("{} … {}", one(low), one(high)) }
}

fn more(f: &mut fmt::Formatter<'_>, left: usize, what: &str) -> fmt::Result {
    if left > 0 { writeln!(f, "… and {} more {what}", thousands(left as u64)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_lies_between_names_as_the_names_that_match_it_do() {
        let between = |pattern: &str, low: &str, high: &str| lies_between(&glob::Pattern::new(pattern).expect("a pattern"), low, high);
        for (pattern, low, high, expected) in [
            ("n05", "n01", "n10", true),
            ("n05", "n06", "n10", false),
            ("n05", "n01", "n04", false),
            ("n0*", "n01", "n10", true),
            ("n1*", "n01", "n10", true),
            ("n1*", "n01", "n09", false),
            ("n1*", "n15", "n20", true),
            ("n1", "n15", "n20", false),
            ("*5", "n01", "n02", true),
            ("*5", "n01", "n01", false),
            ("", "", "socket1", true),
            ("", "socket0", "socket1", false),
        ] {
            assert_eq!(between(pattern, low, high), expected, "{pattern} in {low} to {high}");
        }
    }
}
