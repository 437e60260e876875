//! An object gone through host after host, as its rows are sorted: each host's rows become a snapshot, or are passed over.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use tokio::sync::Mutex;

use super::columns::{RowGroup, Stored};
use super::readback::{Collected, Failed};
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
            Ok(_) => return looked(source, async { Collected::new(first..=last, spool).finish() }).await,
        };
        if let Err(why) = passed {
            return Ok(Err(why));
        }
    }
}

/// Bytes of several row groups that are read at once.
const AHEAD: u64 = 1 << 20;

/// An object that is gone through host after host.
pub struct Hosts<'a> {
    source: Source<'a>,
    reader: Reader,
    metadata: Arc<ParquetMetaData>,
    /// Row groups that are still to be read.
    groups: VecDeque<usize>,
    /// The one that is being read; None before the first.
    group: Option<Box<RowGroup>>,
    /// What was read last.
    ahead: Option<Stored>,
    /// The host whose rows come next, once it is known.
    host: Option<Host>,
}

impl<'a> Hosts<'a> {
    /// Opens an object. Only row groups are read of which `wanted` takes the first and the last host.
    pub async fn open(source: Source<'a>, wanted: impl Fn(&str, &str) -> bool) -> Looked<Self> {
        let opened = async {
            let metadata = source.footers.of(source.archive, source.object).await?;
            let groups = select(&metadata, wanted)?.into();
            let reader = Reader::new(source.archive, source.object.key.path(), Arc::clone(&metadata));
            Ok(Self { source, reader, metadata, groups, group: None, ahead: None, host: None })
        };
        looked(source, opened).await
    }

    /// True if all pages have checksums, which are looked at when they are decompressed: what is read of them is what was written.
    pub fn has_checksums(&self) -> bool {
        let columns = || self.metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
        columns().all(|column| matches!(column.compression(), Compression::ZSTD(_)))
    }

    /// Whose rows come next; None at the end of the object.
    pub async fn host(&mut self) -> Looked<Option<Host>> {
        let source = self.source;
        let next = async {
            if self.host.is_none() {
                self.pass(None).await?;
            }
            Ok(self.host.clone())
        };
        looked(source, next).await
    }

    /// Passes over the rows of this host.
    pub async fn skip(&mut self) -> Looked<()> {
        let source = self.source;
        looked(source, async { self.pass(None).await.map(drop) }).await
    }

    /// The rows of this host with such times, as spans of one value or more, with their values in `spool`.
    pub async fn take(&mut self, times: RangeInclusive<i64>, spool: Spool) -> Looked<Snapshot> {
        let source = self.source;
        looked(source, self.collect(times, spool)).await
    }

    async fn collect(&mut self, times: RangeInclusive<i64>, spool: Spool) -> Result<Snapshot, Failed> {
        match self.pass(Some(Box::new(Collected::new(times, spool)))).await? {
            Some(snapshot) => Ok(snapshot),
            None => Err(Error::Internal("rows that were collected are gone".into()).into()),
        }
    }

    /// Goes to the next host. What is `collected` takes the rows before it.
    async fn pass(&mut self, mut collected: Option<Box<Collected>>) -> Result<Option<Snapshot>, Failed> {
        let current = self.host.take();
        loop {
            if let Some(mut group) = self.group.take() {
                let whose = current.clone();
                let step = move || {
                    let next = pass_rows(&mut group, whose.as_ref(), collected.as_deref_mut());
                    let done = if matches!(next, Ok(Some(_))) { collected.take().map(|collected| collected.finish()).transpose() } else { Ok(None) };
                    (group, collected, next, done)
                };
                let (group, next, done);
                (group, collected, next, done) = self.source.workers.run(step).await?;
                self.group = Some(group);
                if let Some(next) = next? {
                    if current.as_ref().is_some_and(|current| next <= *current) {
                        return Err(ParquetError::General(format!("its hosts are not in order: {next} comes late")).into());
                    }
                    self.host = Some(next);
                    return done;
                }
            }
            let Some(index) = self.groups.pop_front() else {
                let Some(collected) = collected else { return Ok(None) };
                return self.source.workers.run(move || collected.finish()).await?.map(Some);
            };
            let stored = self.stored(index).await?;
            let before = self.group.take().map(|before| *before);
            self.group = Some(Box::new(RowGroup::new(&self.metadata, index, stored, before)?));
        }
    }

    /// The bytes of a row group, with those of the next ones if they are few: a request costs as much as they do.
    async fn stored(&mut self, index: usize) -> ParquetResult<Stored> {
        let mut range = RowGroup::range(&self.metadata, index)?;
        if let Some(stored) = self.ahead.as_ref().filter(|stored| stored.holds(&range)) {
            return Ok(stored.clone());
        }
        for next in &self.groups {
            let next = RowGroup::range(&self.metadata, *next)?;
            if next.start < range.end || next.end - range.start > AHEAD {
                break;
            }
            range.end = next.end;
        }
        let stored = Stored { start: range.start, bytes: self.reader.get_bytes(range).await? };
        self.ahead = Some(stored.clone());
        Ok(stored)
    }
}

async fn looked<T>(source: Source<'_>, looking: impl Future<Output = Result<T, Failed>>) -> Looked<T> {
    match object::without_panic(looking).await {
        Ok(found) => Ok(Ok(found)),
        Err(Failed::Run(e)) => Err(e),
        Err(Failed::Reader(e)) => Ok(Err(match trouble::of_reader(source.archive, &source.object.key.path(), "cannot read rows back from", e).await? {
            NotOurs::Unusable(Trouble::Damaged, reason) => NotOurs::damaged(format!("its rows cannot be read back: {reason}")),
            why => why,
        })),
    }
}

/// Passes the rows of `host`, which `collected` takes. Gives whose rows come then; None if the next row group says that.
fn pass_rows(group: &mut RowGroup, host: Option<&Host>, mut collected: Option<&mut Collected>) -> Result<Option<Host>, Failed> {
    loop {
        let Some(next) = group.host()? else { return Ok(None) };
        if host.is_none_or(|host| host.as_str() != next) {
            return Ok(Some(Host::new(next)));
        }
        let rows = group.take()?;
        if let Some((rows, collected)) = rows.zip(collected.as_deref_mut()) {
            collected.add(rows)?;
        }
    }
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
