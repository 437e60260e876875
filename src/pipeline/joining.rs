//! One compaction: the rows of several objects are merged into a new one, and compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytesize::ByteSize;
use object_store::ObjectStoreExt;

use super::Context;
use super::budget::{Budget, Share};
use super::handed::{Ended, Entered, HostDay, Message, Written};
use super::members::{Members, Stopped};
use super::merging::next_rows;
use super::objects::Writer;
use super::open::Target;
use crate::catalog::LastFooter;
use crate::compact::{self, Compared, Expected, Group, Loss, ROOM, Replaced, Sources, Sum, Window};
use crate::data::{Snapshot, Tally};
use crate::error::{Error, Result};
use crate::fail_point;
use crate::ledger::{Holdings, ObjectLedger};
use crate::merge::{Input, Merge, Unread};
use crate::names::Host;
use crate::object;
use crate::partition::{ObjectKey, Partition};
use crate::prove::{self, Claim, ObjectProof};
use crate::settings::Depth;
use crate::telemetry::Conflict;
use crate::upload::Lost;

/// Memory for rows of a host, of each object: as much as there is any use for.
const MOST_ROOM: u64 = 8 << 20;

/// Objects that are to become one.
pub struct Joining<'a> {
    /// With what means.
    pub context: &'a Arc<Context>,
    /// Where.
    pub partition: &'a Partition,
    /// What stands there.
    pub holdings: &'a Arc<Holdings>,
    /// Which.
    pub group: &'a Group,
}

/// What came of it.
pub enum Joined {
    /// They are one object.
    Compacted(Made),
    /// Another writer has taken the slot.
    Lost(Lost),
    /// An object keeps them from becoming one, and why.
    Refused(ObjectKey, String),
}

/// The new object.
pub struct Made {
    /// Its key.
    pub key: ObjectKey,
    /// What may go.
    pub replaced: Vec<Replaced>,
    /// Its bytes.
    pub size: u64,
    /// Its rows.
    pub rows: u64,
    /// Rows that stood twice.
    pub lost: Loss,
    /// Sources of which other values were kept.
    pub conflicts: Vec<Conflict>,
}

/// What was read of the members, and merged.
#[derive(Default)]
struct Handed {
    /// Rows that stood twice.
    lost: Loss,
    /// The rows of each host, before they were merged; None if they could have been read wrong without a sign of it.
    sums: Option<BTreeMap<Host, Sum>>,
}

/// The new object is not as it must be, so nothing is deleted.
fn stays(new: &ObjectKey, why: impl std::fmt::Display) -> Stopped {
    Stopped::Refused(new.clone(), format!("what it was compacted from stays: {why}"))
}

impl Joining<'_> {
    /// Makes one object of them, and compares it with them. Nothing is deleted.
    ///
    /// # Errors
    /// Those that end the run.
    pub async fn run(self) -> Result<Joined> {
        match self.join().await {
            Ok(joined) => Ok(joined),
            Err(Stopped::Refused(key, why)) => Ok(Joined::Refused(key, why)),
            Err(Stopped::By(e)) => Err(e),
        }
    }

    async fn join(self) -> Result<Joined, Stopped> {
        let Self { context, group, .. } = self;
        let share = self.share().await?;
        for member in &group.members {
            let proof = prove::present(&context.archive, &context.hashers, member, Depth::Full).await?;
            proof.map_err(|why| Stopped::Refused(member.key.clone(), format!("it stays as it is: {why}")))?;
        }
        let (proof, new, handed) = match &group.made {
            Some(made) => (self.made(made).await?, made.clone(), None),
            None => {
                let (claim, handed) = match self.write(&share).await? {
                    Ok(written) => written,
                    Err(lost) => return Ok(Joined::Lost(lost)),
                };
                fail_point::reach("compacted");
                let key = &claim.object.key;
                let proof = prove::uploaded(&context.archive, &context.hashers, &claim, Depth::Full).await?;
                (proof.map_err(|why| stays(key, why))?, self.new_object(key, claim.object.size).await?, Some(handed))
            }
        };
        let compared = self.compare(&share, &new, handed.as_ref().and_then(|handed| handed.sums.as_ref())).await?;
        fail_point::reach("compared");
        let lost = handed.map(|handed| handed.lost);
        let expected = match lost {
            Some(lost) => Expected { rows: group.rows() - lost.rows, differing: lost.differing..=lost.differing },
            // no more of them than rows that stood twice, as far as all is there
            None if group.replaced().len() == new.replaces.len() => Expected { rows: new.rows, differing: 0..=group.rows().saturating_sub(new.rows) },
            None => Expected { rows: new.rows, differing: 0..=group.rows() },
        };
        let replaced = Replaced::by(&proof, &new.replaces, group, expected, &compared).map_err(|why| stays(&new.key, why))?;
        let conflicts = if lost.is_some() { self.conflicts(&new) } else { Vec::new() };
        Ok(Joined::Compacted(Made { key: new.key.clone(), replaced, size: new.size, rows: new.rows, lost: lost.unwrap_or_default(), conflicts }))
    }

    /// The memory for reading all members at once.
    async fn share(&self) -> Result<Share, Stopped> {
        let Self { context, group, .. } = *self;
        let budget = &context.budget;
        let (count, needs) = (group.members.len() as u64, group.memory());
        if let Some(first) = group.members.first().filter(|_| count > 2 && needs > budget.total()) {
            let memory = [needs, Budget::memory_for(needs)].map(|bytes| ByteSize(bytes.next_multiple_of(1 << 20)));
            let why = format!(
                "its sequence stays as it is: {count} objects have to be read side by side, which takes {}; run compact with --memory {}",
                memory[0], memory[1]
            );
            return Err(Stopped::Refused(first.key.clone(), why));
        }
        Ok(budget.take(needs + (count + 1) * (2 * MOST_ROOM - ROOM)).await)
    }

    /// Bytes of memory for rows of a host, of each object. They are taken twice: where a buffer grows it is copied.
    fn room(&self, share: &Share) -> usize {
        let each = share.bytes().saturating_sub(self.group.memory()) / (self.group.members.len() as u64 + 1);
        ((each + ROOM) / 2).min(MOST_ROOM) as usize
    }

    /// Proves an object that an earlier run has made, and that what it replaces is gone, or known: a listing can lack an object.
    async fn made(&self, made: &ObjectLedger) -> Result<ObjectProof, Stopped> {
        let Self { context, partition, group, .. } = *self;
        context.archive.settle(partition).await?;
        let known = group.replaced();
        for key in made.replaces.iter().filter(|member| !known.contains(member)).map(|member| member.key(&made.key)) {
            match context.archive.store().head(&key.path()).await {
                Err(object_store::Error::NotFound { .. }) => {}
                Ok(_) => return Err(stays(&made.key, format!("{key} is there, and was not listed; run again"))),
                Err(e) => return Err(Error::store("cannot look up", context.archive.name_of(&key))(e).into()),
            }
        }
        let proof = prove::present(&context.archive, &context.hashers, made, Depth::Full).await?;
        proof.map_err(|why| stays(&made.key, why))
    }

    /// Writes the new object.
    async fn write(&self, share: &Share) -> Result<Result<(Claim, Handed), Lost>, Stopped> {
        let Self { context, partition, holdings, group } = *self;
        let Some(first) = group.members.first() else { return Err(Error::Internal("a compaction of nothing".into()).into()) };
        let (bucket, buckets) = (group.bucket, first.info.buckets);
        let target =
            Target { context: Arc::clone(context), partition: partition.clone(), bucket, buckets, holdings: Arc::clone(holdings), replaces: group.replaced() };
        let writer = Writer::start(target)?;
        let handed = self.hand_over(share, &writer).await;
        if handed.is_ok() {
            writer.send(Message::Finish).await;
        }
        let Ended { written, end } = writer.join().await;
        let handed = match (handed, end) {
            // a writer that was not told to finish says that it was interrupted; that is no cause
            (Err(stopped), Ok(_) | Err(Error::Interrupted)) => return Err(stopped),
            (_, Err(e)) => return Err(e.into()),
            (Ok(_), Ok(Some(lost))) => return Ok(Err(lost)),
            (Ok(handed), Ok(None)) => handed,
        };
        match <[Written; 1]>::try_from(written) {
            Ok([Written { claim, .. }]) => Ok(Ok((claim, handed))),
            Err(written) => Err(Error::Internal(format!("{} objects were made of some that were to become one", written.len())).into()),
        }
    }

    /// Merges host after host.
    async fn hand_over(&self, share: &Share, writer: &Writer) -> Result<Handed, Stopped> {
        let sources = Sources::of(&self.group.members);
        let footers = LastFooter::default();
        let mut members = Members::open(self.context, &footers, &self.group.members, self.room(share), None).await?;
        let mut handed = Handed { sums: members.have_checksums().then(BTreeMap::new), ..Handed::default() };
        for name in sources.hosts() {
            let host = Host::new(name);
            let windows = sources.windows(name);
            let snapshots = members.take(&host).await?;
            let (sum, losses) = self.merge(share, &host, &sources, (&windows, &snapshots), writer).await?;
            losses.iter().for_each(|loss| {
                handed.lost.rows += loss.rows;
                handed.lost.differing += loss.differing;
            });
            handed.sums.iter_mut().for_each(|sums| {
                sums.insert(host.clone(), sum);
            });
            self.context.progress.hosts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        members.end().await?;
        Ok(handed)
    }

    /// Merges one host, and hands its rows over. Gives the sum of what was read, and what was lost of each window.
    async fn merge(
        &self,
        share: &Share,
        host: &Host,
        sources: &Sources<'_>,
        (windows, snapshots): (&[Window], &[(usize, Arc<Snapshot>)]),
        writer: &Writer,
    ) -> Result<(Sum, Vec<Loss>), Stopped> {
        let of = |member: usize| snapshots.iter().find(|(of, _)| *of == member).map(|(_, snapshot)| snapshot);
        if let Some((stranger, _)) = snapshots.iter().find(|(member, _)| windows.iter().all(|window| window.member != *member)) {
            let key = self.group.members[*stranger].key.clone();
            return Err(Stopped::Refused(key, format!("it stays as it is: it has rows of the host {host}, and its ledger has none")));
        }
        let mut merged = Vec::new();
        for (window, snapshot) in windows.iter().enumerate().filter_map(|(i, window)| Some((i, of(window.member)?))) {
            merged.push((window, Input { series: snapshot.cursor(), held: false, of_log: false, derived: false, times: windows[window].times.clone() }));
        }
        let (of_window, inputs): (Vec<usize>, Vec<Input>) = merged.into_iter().unzip();
        let is_in_memory = snapshots.iter().all(|(_, snapshot)| snapshot.is_in_memory());
        let loaded = if is_in_memory { usize::MAX } else { self.room(share) };
        let unread = |Unread { error, .. }: Unread| Stopped::By(Error::Spool(error));
        let workers = &self.context.workers;
        let read: Vec<Arc<Snapshot>> = snapshots.iter().map(|(_, snapshot)| Arc::clone(snapshot)).collect();
        let (sum, merge) = workers.run(move || (Sum::of(&read), Merge::new(inputs))).await?;
        let (sum, mut merge) = (sum.map_err(Error::Spool)?, merge.map_err(unread)?);
        let mut written = 0;
        loop {
            let piece = share.piece(is_in_memory).await;
            let whose = host.clone();
            let (rest, rows) = workers.run(move || next_rows(&whose, merge, loaded)).await?;
            merge = rest;
            let rows = rows.map_err(unread)?;
            written += rows.len() as u64;
            let losses = merge.is_done().then(|| losses(windows.len(), &of_window, merge.tallies()));
            let entries = losses.as_ref().map(|losses| sources.joined(host.as_str(), windows, losses)).transpose();
            let entries = entries.map_err(|why| Stopped::Refused(self.group.members[0].key.clone(), format!("its sequence stays as it is: {why}")))?;
            if let Some(entries) = &entries
                && entries.iter().map(|entry| entry.written).sum::<u64>() != written
            {
                let why = format!("its sequence stays as it is: ledgers and rows of the host {host} do not fit together");
                return Err(Stopped::Refused(self.group.members[0].key.clone(), why));
            }
            let entered = |entry| Entered { work: 0, entry, tally: Tally::default() };
            let day = HostDay { rows, sources: entries.map(|entries| entries.into_iter().map(entered).collect()), piece };
            if !writer.send(Message::Host(day)).await {
                return Err(Error::Interrupted.into());
            }
            fail_point::reach("joined");
            if let Some(losses) = losses {
                self.context.progress.rows.fetch_add(written, std::sync::atomic::Ordering::Relaxed);
                return Ok((sum, losses));
            }
        }
    }

    /// What was made, as it is in the archive now.
    async fn new_object(&self, key: &ObjectKey, size: u64) -> Result<ObjectLedger, Stopped> {
        let listed = object_store::ObjectMeta { location: key.path(), size, e_tag: None, version: None, last_modified: crate::clock::now() };
        let found = object::ledger(&self.context.archive, &listed).await?;
        found.map_err(|why| stays(key, why))
    }

    /// Compares the new object with what it was made of: hosts by their sums of rows, as far as those are known, and row by row where they differ.
    async fn compare(&self, share: &Share, new: &ObjectLedger, sums: Option<&BTreeMap<Host, Sum>>) -> Result<Compared, Stopped> {
        let (footers, room) = (LastFooter::default(), self.room(share));
        let new = std::slice::from_ref(new);
        let entries = new.iter().chain(&self.group.members).flat_map(|object| object.entries.iter());
        let hosts: BTreeSet<Host> = entries.map(|entry| Host::new(entry.host())).collect();
        let (mut all, unlike) = match sums {
            Some(sums) => self.unlike(Members::open(self.context, &footers, new, room, None).await?, &hosts, sums).await?,
            None => (Compared::default(), hosts),
        };
        if unlike.is_empty() {
            return Ok(all);
        }
        let only = sums.map(|_| &unlike);
        let mut ours = Members::open(self.context, &footers, new, room, only).await?;
        let mut theirs = Members::open(self.context, &footers, &self.group.members, room, only).await?;
        for host in &unlike {
            let (new, members) = (ours.snapshots(host).await?, theirs.snapshots(host).await?);
            let compared = self.context.workers.run(move || compact::compare(new.first(), &members)).await?;
            all.add(compared.map_err(Error::Spool)?);
        }
        ours.end().await?;
        theirs.end().await?;
        Ok(all)
    }

    /// Hosts of which `new` has another sum of rows, and what the comparison of the others came to.
    async fn unlike(&self, mut new: Members<'_>, hosts: &BTreeSet<Host>, sums: &BTreeMap<Host, Sum>) -> Result<(Compared, BTreeSet<Host>), Stopped> {
        let (mut alike, mut unlike) = (Compared::default(), BTreeSet::new());
        for host in hosts {
            let snapshots = new.snapshots(host).await?;
            let sum = self.context.workers.run(move || Sum::of(&snapshots)).await?.map_err(Error::Spool)?;
            if sums.get(host) == Some(&sum) {
                alike.add(Compared { rows: sum.rows(), ..Compared::default() });
            } else {
                unlike.insert(host.clone());
            }
        }
        new.end().await?;
        Ok((alike, unlike))
    }

    fn conflicts(&self, new: &ObjectLedger) -> Vec<Conflict> {
        let before = |path: &str| {
            self.group.members.iter().flat_map(|member| member.entries.iter()).filter(|entry| &*entry.path == path).map(|entry| entry.conflicting).max()
        };
        let conflict = |entry: &crate::ledger::Entry| {
            let rows = entry.conflicting.saturating_sub(before(&entry.path).unwrap_or(0));
            (rows > 0).then(|| Conflict { object: self.context.archive.name_of(&new.key), source: entry.path.to_string(), rows })
        };
        // of few sources a value is another, and looking one up goes through all members
        new.entries.iter().filter(|entry| entry.conflicting > 0).filter_map(conflict).collect()
    }
}

/// Losses by window, from what became of the inputs.
fn losses(windows: usize, of_window: &[usize], tallies: &[Tally]) -> Vec<Loss> {
    let mut losses = vec![Loss::default(); windows];
    for (window, tally) in of_window.iter().zip(tallies) {
        losses[*window] = Loss { rows: tally.rows - tally.written, differing: tally.superseded };
    }
    losses
}
