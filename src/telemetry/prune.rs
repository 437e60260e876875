//! What pruning came to.

use std::fmt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::{list, thousands};
use crate::error::{Escaped, SetAside};

/// What a run pruned, and what it kept.
#[derive(Debug, Default, Clone, Serialize)]
pub struct PruneSummary {
    /// True if nothing was to be deleted.
    pub dry_run: bool,
    /// Snapshots deleted, or that would be.
    pub pruned: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those that would be, by path; empty where they were deleted.
    pub would_prune: Vec<Box<str>>,
    /// Those that would be archived first, by path: they would be pruned as well, if that proves well. In a dry run of archive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_archive_first: Vec<String>,
    /// Bytes of them.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_archived_first: u64,
    /// Objects that were not written by this run, and were proven for it.
    pub objects_looked_at: u64,
    /// Bytes of them, all of which are read unless --proof says footer.
    pub bytes_looked_at: u64,
    /// Snapshots that stay, by reason.
    pub kept: Kept,
    /// Snapshots that are old enough and stay all the same, each with the reason.
    pub attention: Vec<SetAside>,
    /// What is odd about the time by which ages count, if anything is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clock: Vec<String>,
    /// Wall time.
    pub seconds: f64,
    /// True if a signal ended the run.
    pub interrupted: bool,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepReason {
    /// Its successor is not old enough.
    Recent,
    /// It is its host's newest.
    Newest,
    /// Its name is of a date that the run does not look at.
    OtherDates,
    /// It is not in the archive, or not on all dates.
    NotArchived,
    /// It contradicts archived values.
    Conflicting,
    /// Something in the archive is not as it must be.
    NotProven,
    /// It cannot be read or deleted.
    Undeletable,
    /// It is no snapshot: damaged, or with a time in its name that has not come yet.
    Damaged,
    /// It changed while this run looked at it.
    Changed,
    /// All of its dates are expired: nothing proves it, and nobody archives it any more.
    Expired,
}

impl KeepReason {
    /// All of them, in order: as JSON and metrics call them, and as tables do.
    const ALL: [(Self, &str, &str); 10] = [
        (Self::Recent, "recent", "the next snapshot of the host is not old enough"),
        (Self::Newest, "newest", "the newest of their hosts"),
        (Self::OtherDates, "other_dates", "their names are of other dates than those of --date"),
        (Self::NotArchived, "not_archived", "not archived"),
        (Self::Conflicting, "conflicting", "their values differ from the archived ones"),
        (Self::NotProven, "not_proven", "their objects are not proven"),
        (Self::Undeletable, "undeletable", "they cannot be read or deleted"),
        (Self::Damaged, "damaged", "damaged, or named after a time in the future"),
        (Self::Changed, "changed", "they changed during this run"),
        (Self::Expired, "expired", "all of their dates are expired, so that nothing proves them: delete them yourself if nobody needs them"),
    ];
}

/// Counts of snapshots that stay, by reason.
#[derive(Debug, Default, Clone)]
pub struct Kept([u64; KeepReason::ALL.len()]);

impl Kept {
    /// How many stay for a reason.
    pub fn of(&self, reason: KeepReason) -> u64 {
        self.0[reason as usize]
    }

    /// Each reason as JSON and metrics call it and as tables do, in order, and how many stay for it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        KeepReason::ALL.into_iter().map(|(reason, name, words)| (name, words, self.of(reason)))
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, _, count)| (name, count)))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl PruneSummary {
    /// Counts a snapshot that rightly stays.
    pub fn count_kept(&mut self, reason: KeepReason) {
        self.kept.0[reason as usize] += 1;
    }

    /// Counts a snapshot that stays although it is old enough, and notes it: `why` is for people.
    pub fn keep(&mut self, reason: KeepReason, path: impl Into<PathBuf>, why: impl Into<String>) {
        self.count_kept(reason);
        self.attention.push(SetAside::new(path, why));
    }

    /// Adds a snapshot that a run would archive, and then prune.
    pub fn would_archive(&mut self, path: &Path, bytes: u64) {
        self.would_archive_first.push(Escaped(path).to_string());
        self.bytes_archived_first += bytes;
    }

    /// True if nothing stays that should have gone.
    pub fn is_complete(&self) -> bool {
        self.attention.is_empty()
    }

    /// Adds what is known at the end, and logs what a person should look at.
    pub fn finish(&mut self, since: Instant) {
        self.seconds = since.elapsed().as_secs_f64();
        SetAside::sort(&mut self.attention);
        for note in &self.attention {
            tracing::warn!(path = note.shown(), offset = note.offset, "{}", note.reason);
        }
    }
}

/// The summary as a short table.
impl fmt::Display for PruneSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<17} {value}");
        if self.interrupted {
            line("interrupted", "by a signal; what follows was done, and the next run goes on from there".into())?;
        }
        let name = if self.dry_run { "would prune" } else { "pruned" };
        line(name, format!("{} snapshots, {}", thousands(self.pruned), ByteSize(self.bytes)))?;
        self.would_prune.iter().try_for_each(|path| writeln!(f, "  {path}"))?;
        let first = &self.would_archive_first;
        if !first.is_empty() {
            writeln!(
                f,
                "{:<17} {} snapshots, {}, if they prove to be archived then",
                "after archiving",
                thousands(first.len() as u64),
                ByteSize(self.bytes_archived_first)
            )?;
            first.iter().try_for_each(|path| writeln!(f, "  {path}"))?;
        }
        let mut line = |name: &str, value: String| writeln!(f, "{name:<17} {value}");
        if self.objects_looked_at > 0 {
            line("proof", format!("{} objects, {}, looked at", thousands(self.objects_looked_at), ByteSize(self.bytes_looked_at)))?;
        }
        for (_, words, count) in self.kept.iter().filter(|(.., count)| *count > 0) {
            line("kept", format!("{}: {words}", thousands(count)))?;
        }
        self.clock.iter().try_for_each(|said| line("clock", said.clone()))?;
        list(f, "to look at", &self.attention)?;
        if self.dry_run {
            writeln!(f, "dry run: nothing was deleted")?;
        }
        Ok(())
    }
}
