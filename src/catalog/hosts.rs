//! An object gone through host after host, as its rows are sorted: each host's rows become a snapshot, or are passed over.

use std::ops::RangeInclusive;
use std::sync::Arc;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use tokio::sync::Mutex;

use super::readback::{BATCH, Batch, Collected, Failed, with_indices};
use crate::data::Snapshot;
use crate::error::{Error, Result};
use crate::ledger::{NotOurs, ObjectLedger, Trouble};
use crate::names::{Digest, Host};
use crate::object::{self, Found as Looked, Reader, trouble};
use crate::partition::ObjectKey;
use crate::schema::SORTED_BY;
use crate::spool::Spool;
use crate::store::Archive;
use crate::workers::Workers;

/// The footer that was read last: hosts come in order, so many of them in turn ask the same object. One that is large is not kept.
#[derive(Debug, Default)]
pub struct LastFooter(Mutex<Option<(ObjectKey, Digest, Arc<ParquetMetaData>)>>);

/// Bytes of memory that a footer may take to be kept.
const MOST_KEPT: usize = 8 << 20;

impl LastFooter {
    async fn of(&self, archive: &Archive, object: &ObjectLedger) -> ParquetResult<Arc<ParquetMetaData>> {
        // held while it is read, so that hosts that work at once read it once
        let mut last = self.0.lock().await;
        if let Some((.., footer)) = last.as_ref().filter(|(key, digest, _)| *key == object.key && *digest == object.digest) {
            return Ok(Arc::clone(footer));
        }
        let footer = Arc::new(object::footer(archive, &object.key.path(), object.size).await?);
        *last = (footer.memory_size() <= MOST_KEPT).then(|| (object.key.clone(), object.digest, Arc::clone(&footer)));
        Ok(footer)
    }
}

/// Where rows are read back from: an object, and who reads it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Where the object is.
    pub archive: &'a Archive,
    /// Who decodes.
    pub workers: &'a Workers,
    /// The footer that is known, perhaps.
    pub footers: &'a LastFooter,
    /// The object.
    pub object: &'a ObjectLedger,
}

/// The rows of `host` with times in `[first, last]`, as spans of one value or more, with their values in `spool`.
pub async fn rows_between(source: Source<'_>, host: &Host, (first, last): (i64, i64), spool: Spool) -> Looked<Snapshot> {
    let mut hosts = match Hosts::open(source, |low, high| low <= host.as_str() && host.as_str() <= high).await? {
        Ok(hosts) => hosts,
        Err(why) => return Ok(Err(why)),
    };
    loop {
        let passed = match hosts.host().await? {
            Err(why) => return Ok(Err(why)),
            Ok(Some(next)) if next < *host => hosts.skip().await?,
            Ok(Some(next)) if next == *host => return hosts.take(first..=last, spool).await,
            Ok(_) => return looked(source, Collected::new(first..=last, spool).finish()).await,
        };
        if let Err(why) = passed {
            return Ok(Err(why));
        }
    }
}

/// An object that is gone through host after host.
pub struct Hosts<'a> {
    source: Source<'a>,
    groups: ParquetRecordBatchStream<Reader>,
    /// None at the end.
    rows: Option<Rows>,
    /// The host whose rows come next, once it is known.
    host: Option<Host>,
}

impl<'a> Hosts<'a> {
    /// Opens an object. Only row groups are read of which `wanted` takes the first and the last host.
    pub async fn open(source: Source<'a>, wanted: impl Fn(&str, &str) -> bool) -> Looked<Self> {
        looked(source, row_groups(source, wanted).await.map_err(Failed::from)).await.map(|opened| {
            let rows = Some(Rows::default());
            opened.map(|groups| Self { source, groups, rows, host: None })
        })
    }

    /// Whose rows come next; None at the end of the object.
    pub async fn host(&mut self) -> Looked<Option<Host>> {
        let first = self.host.is_none() && self.rows.is_some();
        let done = if first { self.pass(None).await.map(drop) } else { Ok(()) };
        looked(self.source, done.map(|()| self.host.clone())).await
    }

    /// Passes over the rows of this host.
    pub async fn skip(&mut self) -> Looked<()> {
        let done = self.pass(None).await.map(drop);
        looked(self.source, done).await
    }

    /// The rows of this host with such times, as spans of one value or more, with their values in `spool`.
    pub async fn take(&mut self, times: RangeInclusive<i64>, spool: Spool) -> Looked<Snapshot> {
        let taken = self.collect(times, spool).await;
        looked(self.source, taken).await
    }

    async fn collect(&mut self, times: RangeInclusive<i64>, spool: Spool) -> Result<Snapshot, Failed> {
        let collected = self.pass(Some(Box::new(Collected::new(times, spool)))).await?;
        match collected {
            Some(collected) => self.source.workers.run(move || collected.finish()).await?,
            None => Err(Error::Internal("rows that were collected are gone".into()).into()),
        }
    }

    /// Goes to the next host. What is `collected` takes the rows before it.
    async fn pass(&mut self, mut collected: Option<Box<Collected>>) -> Result<Option<Box<Collected>>, Failed> {
        let current = self.host.take();
        loop {
            let mut rows = self.rows.take().unwrap_or_default();
            let whose = current.clone();
            let step = move || {
                let next = rows.pass(whose.as_ref().map(Host::as_str), collected.as_deref_mut());
                (rows, collected, next)
            };
            let next;
            (rows, collected, next) = self.source.workers.run(step).await?;
            match next? {
                Some(next) => {
                    if current.as_ref().is_some_and(|current| next <= *current) {
                        return Err(ParquetError::General(format!("its hosts are not in order: {next} comes late")).into());
                    }
                    self.host = Some(next);
                    self.rows = Some(rows);
                    return Ok(collected);
                }
                None => match self.groups.next_row_group().await? {
                    Some(batches) => self.rows = Some(Rows { batches: Some(batches), ..Rows::default() }),
                    None => return Ok(collected),
                },
            }
        }
    }
}

async fn looked<T>(Source { archive, object, .. }: Source<'_>, done: Result<T, Failed>) -> Looked<T> {
    match done {
        Ok(found) => Ok(Ok(found)),
        Err(Failed::Run(e)) => Err(e),
        Err(Failed::Reader(e)) => Ok(Err(match trouble::of_reader(archive, &object.key.path(), "cannot read rows back from", e).await? {
            NotOurs::Unusable(Trouble::Damaged, reason) => NotOurs::damaged(format!("its rows cannot be read back: {reason}")),
            why => why,
        })),
    }
}

/// What is left of the rows of one row group.
#[derive(Default)]
struct Rows {
    batches: Option<ParquetRecordBatchReader>,
    batch: Option<Batch>,
    /// The next row of the batch.
    row: usize,
}

impl Rows {
    /// Passes the rows of `host`, which `collected` takes. Gives whose rows come then; None if the next row group says that.
    fn pass(&mut self, host: Option<&str>, mut collected: Option<&mut Collected>) -> Result<Option<Host>, Failed> {
        loop {
            let Some(batch) = self.batch.as_ref().filter(|batch| self.row < batch.len()) else {
                let Some(batch) = self.batches.as_mut().and_then(Iterator::next) else { return Ok(None) };
                (self.batch, self.row) = (Some(Batch::new(&batch.map_err(ParquetError::from)?)?), 0);
                continue;
            };
            let next = batch.host(self.row);
            if Some(next) != host {
                return Ok(Some(Host::new(next)));
            }
            let end = batch.end_of_host(self.row);
            if let Some(collected) = collected.as_deref_mut() {
                collected.add(batch, self.row..end)?;
            }
            self.row = end;
        }
    }
}

async fn row_groups(
    Source { archive, footers, object, .. }: Source<'_>,
    wanted: impl Fn(&str, &str) -> bool,
) -> ParquetResult<ParquetRecordBatchStream<Reader>> {
    let location = object.key.path();
    let metadata = footers.of(archive, object).await?;
    let groups = select(&metadata, wanted)?;
    let known = with_indices(&metadata)?;
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(Reader::new(archive, location, metadata), known);
    let projection = ProjectionMask::columns(builder.parquet_schema(), SORTED_BY.into_iter().chain(["timestamp", "frequency", "value"]));
    builder.with_row_groups(groups).with_projection(projection).with_batch_size(BATCH).build()
}

/// Row groups of which `wanted` takes the smallest and the largest name of a host. Those that do not say are taken.
fn select(metadata: &ParquetMetaData, wanted: impl Fn(&str, &str) -> bool) -> ParquetResult<Vec<usize>> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns.iter().position(|c| c.name() == SORTED_BY[0]).ok_or_else(|| ParquetError::General(format!("it has no column {}", SORTED_BY[0])))?;
    let is_wanted = |group: &RowGroupMetaData| {
        let bounds = group.column(column).statistics().and_then(|bounds| Some((bounds.min_bytes_opt()?, bounds.max_bytes_opt()?)));
        let names = bounds.and_then(|(low, high)| Some((std::str::from_utf8(low).ok()?, std::str::from_utf8(high).ok()?)));
        names.is_none_or(|(low, high)| wanted(low, high))
    };
    Ok(metadata.row_groups().iter().enumerate().filter(|(_, group)| is_wanted(group)).map(|(i, _)| i).collect())
}
