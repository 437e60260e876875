//! One date of a host: its sources merged with each other and with what the archive holds, and handed over as rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Context;
use super::budget::{PIECES, Share};
use super::handed::{Entered, HostDay, HostDone};
use super::planning::undecidable;
use super::stored::{Held, Origin, Stored, no_place};
use crate::data::{Rows, Snapshot, Tally};
use crate::error::{Error, Result};
use crate::fail_point;
use crate::ledger::Entry;
use crate::merge::{Input, Merge, Unread};
use crate::names::{Date, Digest, Host};
use crate::plan::Left;
use crate::rows::{self, Behind};

/// A source that takes part.
pub struct Source {
    /// Index in the plan's work.
    pub index: usize,
    /// On which dates it is still to be archived.
    pub left: Left,
    /// The dates that it feeds, its home among them, in order.
    pub dates: Vec<Date>,
    /// The file, and what it holds.
    pub stored: Stored,
}

/// What is merged, and with what means.
pub struct Merging<'a> {
    /// Of the run.
    pub context: &'a Arc<Context>,
    /// Whose rows.
    pub host: &'a Host,
    /// The memory for it.
    pub share: &'a Share,
    /// Of which date.
    pub date: Date,
    /// Sources, the newer after the older.
    pub new: &'a [&'a Source],
    /// What the archive holds already.
    pub held: Vec<Held<'a>>,
}

impl Merging<'_> {
    /// Hands the rows over, piece by piece.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn run(self, to: &mpsc::Sender<HostDone>) -> Result<(), Stopped> {
        let Self { context, host, share, date, new, held } = self;
        let mut snapshots: Vec<Arc<Snapshot>> = new.iter().map(|source| Arc::clone(&source.stored.snapshot)).collect();
        for held in &held {
            // nothing is handed over yet: what fails here costs the sources
            snapshots.push(match held.load(context, host).await {
                Ok(loaded) => loaded.map_err(|object| Stopped::Undecidable(undecidable(&object)))?,
                Err(Error::Spool(e)) => return Err(Stopped::Undecidable(format!("kept: rows to merge it with are archived: {}", no_place(&e)))),
                Err(e) => return Err(Stopped::By(e)),
            });
        }
        let is_in_memory = snapshots.iter().all(|snapshot| snapshot.is_in_memory());
        let loaded = if is_in_memory { usize::MAX } else { share.bytes() as usize / (2 * PIECES) };
        let times = date.start()..date.end();
        let input = |(i, snapshot): (usize, &Arc<Snapshot>)| Input {
            series: snapshot.cursor(),
            held: i >= new.len(),
            of_log: i.checked_sub(new.len()).is_some_and(|i| held[i].of_log),
            derived: if i < new.len() { new[i].stored.file.row_group().is_some() } else { held[i - new.len()].derived },
            times: times.clone(),
        };
        let inputs: Vec<Input> = snapshots.iter().enumerate().map(input).collect();
        let unread = |Unread { input, error }: Unread| match (new.get(input), held.get(input.wrapping_sub(new.len())).map(|held| &held.origin)) {
            (Some(Source { stored, .. }), _) | (None, Some(Origin::File(stored))) => stored.broken(error.to_string()),
            _ => Error::Spool(error),
        };
        let mut piece = share.piece(is_in_memory).await;
        let mut merge = context.workers.run(move || Merge::new(inputs)).await?.map_err(unread)?;
        loop {
            let whose = host.clone();
            let (rest, rows) = context.workers.run(move || next_rows(&whose, merge, loaded)).await?;
            fail_point::reach("merged");
            merge = rest;
            let rows = rows.map_err(unread)?;
            let is_last = merge.is_done();
            if is_last {
                new.iter().try_for_each(|source| source.stored.check())?;
                held.iter().try_for_each(Held::check)?;
            }
            let entered =
                |(source, tally): (&&Source, &Tally)| Entered { work: source.index, entry: entry(host, source, tally, &held, new.len()), tally: tally.clone() };
            let sources = is_last.then(|| new.iter().zip(merge.tallies()).map(entered).collect());
            let day = HostDay { rows, sources, piece };
            to.send(HostDone { day: Some((date, day)), ..HostDone::default() }).await.map_err(|_| Error::Interrupted)?;
            if is_last {
                return Ok(());
            }
            piece = share.piece(false).await;
        }
    }
}

/// Why a date was not merged.
pub enum Stopped {
    /// Archived rows of the date cannot be merged: why.
    Undecidable(String),
    /// The run is over.
    By(Error),
}

impl From<Error> for Stopped {
    fn from(e: Error) -> Self {
        Self::By(e)
    }
}

/// The next rows of a merge, so that what it has `loaded` from files is no more than that.
pub fn next_rows(host: &Host, mut merge: Merge, loaded: usize) -> (Merge, Result<Rows, Unread>) {
    let behind = Behind { kept: merge.memory(), loaded };
    let rows = rows::rows_of(host, behind, || merge.next_series());
    (merge, rows)
}

/// What a ledger says of a source; holders are counted from `new` on.
fn entry(host: &Host, source: &Source, tally: &Tally, held: &[Held<'_>], new: usize) -> Entry {
    let held_by: BTreeSet<Digest> = tally.holders.iter().flat_map(|i| held[*i - new].digests.iter().copied()).collect();
    Entry {
        path: source.stored.file.ledger_path(host),
        size: source.stored.file.size,
        mtime: source.stored.file.mtime,
        blake3: source.stored.digest,
        from: source.stored.snapshot.from,
        to: source.stored.snapshot.to,
        dates: source.dates.as_slice().into(),
        rows: tally.rows,
        written: tally.written,
        dropped: tally.rows - tally.written,
        superseded: tally.superseded,
        conflicting: tally.conflicting,
        first: tally.extent.map(|(first, _)| first),
        last: tally.extent.map(|(_, last)| last),
        held_by: held_by.into_iter().collect(),
    }
}
