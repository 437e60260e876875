//! What hosts hand over to the writers of objects, what writers give back, and what is noted of both.

use std::collections::{BTreeMap, BTreeSet};

use super::budget::Piece;
use crate::data::{Rows, Tally};
use crate::error::{Result, SetAside};
use crate::ledger::Entry;
use crate::names::Date;
use crate::partition::Bucket;
use crate::plan::Work;
use crate::prove::Claim;
use crate::telemetry::{Stage, Summary};
use crate::upload::Lost;

/// What came of a host's job, or of a piece of it.
#[derive(Default)]
pub struct HostDone {
    /// Rows of a date; dates come in order.
    pub day: Option<(Date, HostDay)>,
    /// Sources that were read.
    pub fed: Vec<Fed>,
    /// Sources to be planned again, by index in the plan's work, with the dates that each feeds if its header is wrong.
    pub again: Vec<(usize, Option<Box<[Date]>>)>,
    /// Sources that end after `--before`, by index in the plan's work.
    pub too_recent: Vec<usize>,
    /// Sources that wait for the next run, by index in the plan's work.
    pub waiting: Vec<(usize, SetAside)>,
    /// Sources that cannot be archived, by index in the plan's work, and what failed.
    pub set_aside: Vec<(usize, Stage, SetAside)>,
    /// Bytes read from disk.
    pub bytes_in: u64,
}

/// A source that was read, and the dates that it is to be archived on.
pub struct Fed {
    /// Index in the plan's work.
    pub index: usize,
    /// All of these dates.
    pub dates: Vec<Date>,
    /// Those of them in the window on which the archive has it already.
    pub done: Vec<Date>,
}

/// What one host gives to one partition, or the next piece of it.
pub struct HostDay {
    /// Its rows.
    pub rows: Rows,
    /// Its sources, with the last piece; a host stays in one object until then.
    pub sources: Option<Vec<Entered>>,
    /// Given back when the rows are taken over.
    pub piece: Piece,
}

/// A source that goes into an object.
pub struct Entered {
    /// Index in the plan's work.
    pub work: usize,
    /// What the ledger says of it.
    pub entry: Entry,
    /// What became of its samples.
    pub tally: Tally,
}

/// What a writer is told. Without `Finish` at the end it aborts.
pub enum Message {
    /// The next host.
    Host(HostDay),
    /// That was the last one.
    Finish,
}

/// How a writer ended.
pub struct Ended {
    /// What became visible, whatever happened then.
    pub written: Vec<Written>,
    /// Why the rest did not, if nothing failed.
    pub end: Result<Option<Lost>>,
}

/// An object that is visible, and what it holds.
pub struct Written {
    /// What is to be proven of it.
    pub claim: Claim,
    /// Its sources, by index in the plan's work.
    pub works: Vec<usize>,
    /// What became of their samples.
    pub tally: Tally,
    /// Sources that contradict the archive, and how many of their values do.
    pub conflicts: Box<[(Box<str>, u64)]>,
}

/// Sources by (index of the host, index of the snapshot).
pub type Sources = BTreeSet<(usize, usize)>;

/// Dates that sources with a wrong header feed, by the same indices.
pub type Refuted = BTreeMap<(usize, usize), Box<[Date]>>;

/// What one plan leaves to the next one.
#[derive(Debug, Default)]
pub struct Round {
    /// Sources with a wrong header, and those of the same host that feed the same dates.
    pub again: Sources,
    /// The dates that those with a wrong header feed.
    pub refuted: Refuted,
    /// Partitions that other writers wrote to meanwhile, and the sources that are not archived there.
    pub lost: BTreeMap<(Bucket, Date), (Lost, Sources)>,
}

/// What a run has archived of a cluster.
#[derive(Debug, Default)]
pub struct Booked {
    hosts: BTreeSet<usize>,
    sources: BTreeSet<(u32, u32)>,
}

impl Booked {
    /// A source is archived on all of its dates.
    pub fn archived(&mut self, work: &Work, summary: &mut Summary) {
        // there can be very many
        if self.sources.insert((work.host as u32, work.snapshot as u32)) {
            summary.files += 1;
            summary.new_versions += u64::from(work.changed);
            summary.hosts_archived += u64::from(self.hosts.insert(work.host));
        }
    }
}
