//! Objects of a sequence that are gone through side by side, host after host.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Context;
use crate::catalog::{self, Hosts, LastFooter};
use crate::data::Snapshot;
use crate::error::{Error, Result};
use crate::ledger::{NotOurs, ObjectLedger, Unreadable};
use crate::names::Host;
use crate::object::Found;
use crate::partition::ObjectKey;
use crate::spool::Spool;

/// Ends a compaction before its object is visible, or before anything is deleted.
pub enum Stopped {
    /// An object is not as it should be.
    Refused(ObjectKey, String),
    /// The run is over.
    By(Error),
}

impl From<Error> for Stopped {
    fn from(e: Error) -> Self {
        Self::By(e)
    }
}

/// Objects, on the way through them. Hosts must be asked for in order.
pub struct Members<'a> {
    context: &'a Context,
    objects: &'a [ObjectLedger],
    readers: Vec<Hosts<'a>>,
    /// Bytes of memory for rows of a host, of each object. More go to a file.
    room: usize,
    /// The hosts that are read; None: all.
    only: Option<&'a BTreeSet<Host>>,
}

impl<'a> Members<'a> {
    /// Opens them, to read all hosts or `only` some.
    pub async fn open(
        context: &'a Context,
        footers: &'a LastFooter,
        objects: &'a [ObjectLedger],
        room: usize,
        only: Option<&'a BTreeSet<Host>>,
    ) -> Result<Self, Stopped> {
        let wanted = |low: &str, high: &str| only.is_none_or(|hosts| low > high || hosts.range(Host::new(low)..=Host::new(high)).next().is_some());
        let mut readers = Vec::new();
        for object in objects {
            let source = catalog::Source { archive: &context.archive, workers: &context.workers, footers, object };
            let opened = Hosts::open(source, wanted).await?;
            readers.push(opened.map_err(|why| refused(context, object, why))?);
        }
        Ok(Self { context, objects, readers, room, only })
    }

    /// True if what is read of them has checksums.
    pub fn have_checksums(&self) -> bool {
        self.readers.iter().all(Hosts::has_checksums)
    }

    /// The rows of a host, of each object that has some, with the object's index.
    pub async fn take(&mut self, host: &Host) -> Result<Vec<(usize, Arc<Snapshot>)>, Stopped> {
        let Self { context, objects, room, only, .. } = *self;
        let take = async |(index, reader): (usize, &mut Hosts<'a>)| {
            let object = &objects[index];
            loop {
                match reader.host().await?.map_err(|why| refused(context, object, why))? {
                    Some(next) if next == *host => break,
                    Some(next) if next < *host && only.is_none_or(|hosts| hosts.contains(&next)) => return Err(unnamed(object, &next)),
                    Some(next) if next < *host => reader.skip().await?.map_err(|why| refused(context, object, why))?,
                    _ => return Ok(None),
                }
            }
            let spool = Spool::new(&context.spool, room, room);
            let times = object.key.partition.date.start()..=object.key.partition.date.end() - 1;
            let snapshot = reader.take(times, spool).await?.map_err(|why| refused(context, object, why))?;
            Ok(Some((index, Arc::new(snapshot))))
        };
        let taken = futures::future::try_join_all(self.readers.iter_mut().enumerate().map(take)).await?;
        Ok(taken.into_iter().flatten().collect())
    }

    /// The same, without the indices.
    pub async fn snapshots(&mut self, host: &Host) -> Result<Vec<Arc<Snapshot>>, Stopped> {
        Ok(self.take(host).await?.into_iter().map(|(_, snapshot)| snapshot).collect())
    }

    /// If all hosts are read, there must be nothing left.
    pub async fn end(&mut self) -> Result<(), Stopped> {
        for (object, reader) in self.objects.iter().zip(&mut self.readers).filter(|_| self.only.is_none()) {
            let left: Found<Option<Host>> = reader.host().await;
            if let Some(host) = left?.map_err(|why| refused(self.context, object, why))? {
                return Err(unnamed(object, &host));
            }
        }
        Ok(())
    }
}

fn unnamed(object: &ObjectLedger, host: &Host) -> Stopped {
    Stopped::Refused(object.key.clone(), format!("it stays as it is: its ledger does not name the host {host}"))
}

fn refused(context: &Context, object: &ObjectLedger, why: NotOurs) -> Stopped {
    let why = Unreadable::new(context.archive.name_of(&object.key), why);
    Stopped::Refused(object.key.clone(), format!("it stays as it is: {why}"))
}
