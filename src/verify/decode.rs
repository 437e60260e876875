//! All rows of a partition, decoded and merged over its objects: their number, their order, and that none stands twice.
//!
//! Of each object a batch of rows is in memory, and the compressed pages that it comes from; never a whole partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use futures::StreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};

use super::{Finding, Kind};
use crate::error::{Error, Result};
use crate::ledger::{NotOurs, Unreadable};
use crate::names::Date;
use crate::object::{self, Reader, trouble};
use crate::partition::ObjectKey;
use crate::schema::{PAGE_ROWS, SORTED_BY};
use crate::store::Archive;

/// So many objects may have a whole row group in memory; of more, each has a page.
const WITH_WHOLE_ROW_GROUPS: usize = 4;

/// What decoding a partition came to.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Rows decoded.
    pub rows: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Decodes the rows of all objects (key, size, rows by the footer) of a partition of `date`. `go_on` is asked now and then.
pub async fn decode_partition(archive: &Archive, date: Date, objects: &[(ObjectKey, u64, u64)], go_on: impl Fn() -> bool) -> Result<Decoded> {
    let mut decoded = Decoded::default();
    let mut cursors = Vec::new();
    let whole_groups = objects.len() <= WITH_WHOLE_ROW_GROUPS;
    for (key, size, rows) in objects {
        match object::without_panic(Cursor::open(archive, key, *size, *rows, date, whole_groups)).await {
            Ok(cursor) => cursors.push(cursor),
            Err(e) => decoded.findings.push(unreadable(archive, key, e).await?),
        }
    }
    let mut live = Vec::new();
    for cursor in cursors {
        step(archive, cursor, &mut live, &mut decoded).await?;
    }
    let mut twice: BTreeMap<(String, String), (u64, String)> = BTreeMap::new();
    while !live.is_empty() {
        if !go_on() {
            return Err(Error::Interrupted);
        }
        let mut order: Vec<usize> = (0..live.len()).collect();
        order.sort_by(|a, b| live[*a].key().cmp(&live[*b].key()));
        let second = order.get(1).map(|second| (live[*second].name.clone(), live[*second].key().to_owned()));
        let mut first = live.swap_remove(order[0]);
        if let Some((other, bound)) = &second
            && first.key() == bound.as_key()
        {
            let mut pair = [first.name.clone(), other.clone()];
            pair.sort();
            let [a, b] = pair;
            twice.entry((a, b)).or_insert_with(|| (0, first.key().to_string())).0 += 1;
            step(archive, first, &mut live, &mut decoded).await?;
            continue;
        }
        // up to the next object's row; without a next one, to the end of the batch
        let done = loop {
            match first.advance() {
                Ok(true) if second.as_ref().is_none_or(|(_, bound)| first.key() < bound.as_key()) => {}
                done => break done,
            }
        };
        match done {
            Ok(true) => live.push(first),
            Ok(false) => step(archive, first, &mut live, &mut decoded).await?,
            Err(reason) => decoded.findings.push(Finding::new(Kind::Rows, &first.name, reason)),
        }
    }
    for ((a, b), (count, row)) in twice {
        decoded.findings.push(Finding::new(Kind::DuplicateRows, &a, format!("{count} of its rows stand in {b} too; the first is {row}")));
    }
    Ok(decoded)
}

/// What is wrong with an object is a finding.
async fn unreadable(archive: &Archive, key: &ObjectKey, e: ParquetError) -> Result<Finding> {
    let why = match e {
        e @ ParquetError::External(_) => trouble::of_reader(archive, &key.path(), "cannot read", e).await?,
        e => NotOurs::damaged(format!("its rows cannot be decoded: {e}")),
    };
    Ok(Finding::unreadable(Kind::Rows, Unreadable::new(archive.name_of(key), why)))
}

/// Moves a cursor on by one row, over the end of its batch too, and puts it back if it has one.
async fn step(archive: &Archive, mut cursor: Cursor, live: &mut Vec<Cursor>, decoded: &mut Decoded) -> Result<()> {
    let moved = match cursor.advance() {
        Ok(true) => Ok(true),
        Ok(false) => match object::without_panic(cursor.next_batch()).await {
            Ok(true) => cursor.check(),
            Ok(false) => Ok(false),
            Err(e) => {
                decoded.findings.push(unreadable(archive, &cursor.object, e).await?);
                return Ok(());
            }
        },
        Err(reason) => Err(reason),
    };
    match moved {
        Ok(true) => live.push(cursor),
        Ok(false) => {
            decoded.rows += cursor.count;
            if cursor.count != cursor.expected {
                let reason = format!("{} rows were decoded, and its footer says {}", cursor.count, cursor.expected);
                decoded.findings.push(Finding::new(Kind::Rows, cursor.name, reason));
            }
        }
        Err(reason) => decoded.findings.push(Finding::new(Kind::Rows, cursor.name, reason)),
    }
    Ok(())
}

/// Where a row stands in the sort order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a>([&'a str; 5], i64);

#[derive(Debug, Clone)]
struct OwnedKey([String; 5], i64);

impl Key<'_> {
    fn to_owned(self) -> OwnedKey {
        OwnedKey(self.0.map(str::to_owned), self.1)
    }
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [host, _, metric, _, selector] = self.0.map(str::escape_debug);
        write!(f, "host {host}, metric {metric}, selector \"{selector}\", time {}", self.1)
    }
}

impl OwnedKey {
    fn as_key(&self) -> Key<'_> {
        Key(self.0.each_ref().map(String::as_str), self.1)
    }
}

/// A place in one object's rows.
struct Cursor {
    object: ObjectKey,
    name: String,
    date: Date,
    reader: Reader,
    /// (row group, rows to pass over, rows to read) that are still to come, the next one last.
    slices: Vec<(usize, usize, usize)>,
    stream: Option<ParquetRecordBatchStream<Reader>>,
    /// None before the first row.
    batch: Option<Batch>,
    at: usize,
    last: Option<OwnedKey>,
    count: u64,
    expected: u64,
}

struct Batch {
    text: [StringArray; 5],
    times: Int64Array,
}

impl Batch {
    fn new(batch: &RecordBatch) -> ParquetResult<Self> {
        let missing = |name: &str| ParquetError::General(format!("its column {name} is not of our type"));
        let text = |name: &str| batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).cloned().ok_or_else(|| missing(name));
        let [host, scope, metric, scope_id, selector] = SORTED_BY.map(text);
        let times = batch.column_by_name("timestamp").and_then(|c| c.as_primitive_opt::<Int64Type>()).cloned();
        // the others are decoded for their own sake
        Ok(Self { text: [host?, scope?, metric?, scope_id?, selector?], times: times.ok_or_else(|| missing("timestamp"))? })
    }

    fn key(&self, row: usize) -> Key<'_> {
        Key(self.text.each_ref().map(|column| column.value(row)), self.times.value(row))
    }
}

impl Cursor {
    async fn open(archive: &Archive, key: &ObjectKey, size: u64, expected: u64, date: Date, whole_groups: bool) -> ParquetResult<Self> {
        let location = key.path();
        let metadata = Arc::new(object::footer_and_pages(archive, &location, size).await?);
        let step = if whole_groups { usize::MAX } else { PAGE_ROWS };
        let mut slices = Vec::new();
        for (group, row_group) in metadata.row_groups().iter().enumerate() {
            let rows = usize::try_from(row_group.num_rows()).unwrap_or(0);
            slices.extend((0..rows).step_by(step).map(|first| (group, first, step.min(rows - first))));
        }
        slices.reverse();
        let reader = Reader::new(archive, location, metadata);
        Ok(Self { object: key.clone(), name: archive.name_of(key), date, reader, slices, stream: None, batch: None, at: 0, last: None, count: 0, expected })
    }

    /// Where it stands; only asked of cursors that have a row.
    fn key(&self) -> Key<'_> {
        match &self.batch {
            Some(batch) => batch.key(self.at),
            None => unreachable!("a cursor without a row is not kept"),
        }
    }

    /// Moves to the next row of the batch; false at its end.
    fn advance(&mut self) -> Result<bool, String> {
        match &self.batch {
            Some(batch) if self.at + 1 < batch.times.len() => {
                self.at += 1;
                self.check()
            }
            _ => Ok(false),
        }
    }

    /// Looks at the row that the cursor has come to.
    fn check(&mut self) -> Result<bool, String> {
        let Some(batch) = &self.batch else { return Ok(false) };
        let key = batch.key(self.at);
        self.count += 1;
        let before = if self.at > 0 { Some(batch.key(self.at - 1)) } else { self.last.as_ref().map(OwnedKey::as_key) };
        if before.is_some_and(|before| before >= key) {
            return Err(format!("row {} does not come after the one before it in the sort order: {key}", self.count));
        }
        if !(self.date.start()..self.date.end()).contains(&key.1) {
            return Err(format!("row {} is of another date: {key}", self.count));
        }
        Ok(true)
    }

    /// Decodes the next rows; false at the end of the object.
    async fn next_batch(&mut self) -> ParquetResult<bool> {
        if let Some(batch) = self.batch.take() {
            self.last = Some(batch.key(batch.times.len() - 1).to_owned());
        }
        loop {
            if let Some(stream) = &mut self.stream
                && let Some(batch) = stream.next().await
            {
                let batch = batch?;
                if batch.num_rows() > 0 {
                    (self.batch, self.at) = (Some(Batch::new(&batch)?), 0);
                    return Ok(true);
                }
                continue;
            }
            let Some((group, skip, rows)) = self.slices.pop() else { return Ok(false) };
            let builder = ParquetRecordBatchStreamBuilder::new(self.reader.clone()).await?;
            let selection = RowSelection::from(vec![RowSelector::skip(skip), RowSelector::select(rows)]);
            let stream = builder.with_projection(ProjectionMask::all()).with_row_groups(vec![group]).with_row_selection(selection).build()?;
            self.stream = Some(stream);
        }
    }
}
