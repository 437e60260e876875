//! One date of a host: its sources merged with each other and with what the archive holds, and handed over as rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::try_join_all;
use tokio::sync::mpsc;

use super::Context;
use super::budget::Share;
use super::handed::{Entered, HostDay};
use super::host::HostDone;
use super::stored::{Held, Stored};
use crate::data::{Days, Rows, Tally};
use crate::error::{Error, Result};
use crate::fail_point;
use crate::ledger::{Entry, Unreadable};
use crate::merge::{Input, Merge};
use crate::names::{Date, Digest, Host};
use crate::plan::Left;
use crate::portion::{Portion, Range};
use crate::rows;

/// A source that takes part, and how a ledger speaks of it.
pub struct Source {
    /// Index in the plan's work.
    pub index: usize,
    /// On which dates it is still to be archived.
    pub left: Left,
    /// Of the file as it lies on disk.
    pub digest: Digest,
    /// Unix time in s of the first instant covered, from the header.
    pub from: i64,
    /// Unix time in s past the last instant covered, from the header.
    pub to: i64,
    /// The dates that it feeds, its home among them, in order.
    pub dates: Vec<Date>,
    /// The days on which it has samples.
    pub days: Days,
    /// Its bytes.
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
    /// Hands the rows over: in one piece as a rule, or portion by portion.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn run(self, to: &mpsc::Sender<HostDone>) -> Result<(), Stopped> {
        let Self { context, host, share, date, new, mut held } = self;
        let is_whole = new.iter().all(|source| source.stored.is_decoded()) && held.iter().all(Held::is_decoded);
        let mut range = Range::from(date);
        let mut tallies = vec![Tally::default(); new.len()];
        loop {
            let mut piece = share.piece(is_whole).await;
            let mut portions = try_join_all(new.iter().map(|source| source.stored.portion(context, &range))).await?;
            for held in &mut held {
                let portion = held.portion(context, host, &range).await?;
                portions.push(portion.map_err(|object| Stopped::of(object, range.from.is_some()))?);
            }
            range.end = portions.iter().filter_map(|portion| portion.end.clone()).min();
            let (part, count) = (range.clone(), new.len());
            let inputs = move |(i, portion): (usize, Portion)| Input { snapshot: portion.snapshot, held: i >= count };
            let inputs: Vec<Input> = portions.into_iter().enumerate().map(inputs).collect();
            let mut merge = context.workers.run(move || Merge::new(&part, inputs)).await?;
            loop {
                let whose = host.clone();
                let (rest, rows) = context.workers.run(move || next_rows(&whose, merge)).await?;
                fail_point::reach("merged");
                merge = rest;
                let has_more = !merge.is_done();
                if !has_more {
                    tallies.iter_mut().zip(merge.tallies()).for_each(|(all, tally)| all.add(tally));
                }
                let is_last = !has_more && range.end.is_none();
                let entered = |(source, tally): (&&Source, &Tally)| Entered {
                    work: source.index,
                    entry: entry(host, source, tally, &held, new.len()),
                    tally: tally.clone(),
                };
                let sources = is_last.then(|| new.iter().zip(&tallies).map(entered).collect());
                let day = HostDay { rows, sources, piece };
                to.send(HostDone { day: Some((date, day)), ..HostDone::default() }).await.map_err(|_| Error::Interrupted)?;
                if !has_more {
                    break;
                }
                piece = share.piece(false).await;
            }
            match range.end.take() {
                Some(end) => range.from = Some(end),
                None => return Ok(()),
            }
        }
    }
}

/// Why a date was not merged.
pub enum Stopped {
    /// An object of the date cannot be read back, and none of its rows was handed over.
    Undecidable(Unreadable),
    /// The run is over.
    By(Error),
}

impl Stopped {
    fn of(object: Unreadable, has_begun: bool) -> Self {
        if has_begun {
            return Self::By(Error::Archive(format!("{}, of which some rows were merged already: {object}", object.name)));
        }
        Self::Undecidable(object)
    }
}

impl From<Error> for Stopped {
    fn from(e: Error) -> Self {
        Self::By(e)
    }
}

fn next_rows(host: &Host, mut merge: Merge) -> (Merge, Rows) {
    let values = merge.values();
    let rows = rows::rows_of(host, &mut merge, &values);
    (merge, rows)
}

/// What a ledger says of a source; holders are counted from `new` on.
fn entry(host: &Host, source: &Source, tally: &Tally, held: &[Held<'_>], new: usize) -> Entry {
    let held_by: BTreeSet<Digest> = tally.holders.iter().flat_map(|i| held[*i - new].digests.iter().copied()).collect();
    Entry {
        path: source.stored.file.ledger_path(host),
        size: source.stored.file.size,
        mtime: source.stored.file.mtime,
        blake3: source.digest,
        from: source.from,
        to: source.to,
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
