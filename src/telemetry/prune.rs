//! What pruning came to.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use bytesize::ByteSize;
use serde::Serialize;

use super::{FileNote, thousands};
use crate::error::Escaped;

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
    pub attention: Vec<FileNote>,
    /// What is odd about the time by which ages count, if anything is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clock: Vec<String>,
    /// Wall time.
    pub seconds: f64,
    /// True if a signal ended the run.
    pub interrupted: bool,
}

/// Counts of snapshots that stay.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Kept {
    /// Their successor is not old enough.
    pub recent: u64,
    /// They are their host's newest.
    pub newest: u64,
    /// They are not in the archive, or not on all dates.
    pub not_archived: u64,
    /// They contradict archived values.
    pub conflicting: u64,
    /// Something in the archive is not as it must be.
    pub not_proven: u64,
    /// They cannot be read or deleted.
    pub undeletable: u64,
    /// They are no snapshots: damaged, or with a time in their name that has not come yet.
    pub damaged: u64,
    /// They changed while this run looked at them.
    pub changed: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl PruneSummary {
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
        self.attention.sort_by(|a, b| a.path.cmp(&b.path));
        for note in &self.attention {
            tracing::warn!(path = note.path, offset = note.offset, "{}", note.reason);
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
        let kept = &self.kept;
        for (count, why) in [
            (kept.recent, "the next snapshot of the host is not old enough"),
            (kept.newest, "the newest of their hosts"),
            (kept.not_archived, "not archived"),
            (kept.conflicting, "their values differ from the archived ones"),
            (kept.not_proven, "their objects are not proven"),
            (kept.undeletable, "they cannot be read or deleted"),
            (kept.damaged, "damaged, or named after a time in the future"),
            (kept.changed, "they changed during this run"),
        ] {
            if count > 0 {
                line("kept", format!("{}: {why}", thousands(count)))?;
            }
        }
        self.clock.iter().try_for_each(|said| line("clock", said.clone()))?;
        if !self.attention.is_empty() {
            line("to look at", thousands(self.attention.len() as u64))?;
            self.attention.iter().try_for_each(|note| writeln!(f, "  {note}"))?;
        }
        if self.dry_run {
            writeln!(f, "dry run: nothing was deleted")?;
        }
        Ok(())
    }
}
