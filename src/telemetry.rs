//! What a run says: logs and progress on stderr, the summary on stdout.

use std::fmt;

use bytesize::ByteSize;
use serde::Serialize;
use tokio::time::Instant;

use crate::error::SetAside;

mod compact;
mod expire;
mod figures;
mod late;
mod lines;
mod logs;
pub mod metrics;
mod progress;
mod prune;
mod publish;
mod run;
mod watch;

pub use compact::{Compaction, Conflict};
pub use expire::{ExpiredDate, Expiry, OnDisk};
pub use late::{Contradiction, MovedHost};
pub use lines::{RunId, init};
pub use logs::LogSummary;
pub use progress::Progress;
pub use prune::{KeepReason, Kept, PruneSummary};
pub use run::{Run, Subject};
pub use watch::{Figures, Left, Requests, Restored, Stage, TableFigures, Unarchived, Verified, Watch};

/// What a run takes, as people call it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Files of a checkpoint tree.
    #[default]
    Snapshots,
    /// Rows of a host in one of a Parquet file.
    RowGroups,
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Snapshots => "snapshots",
            Self::RowGroups => "row groups",
        })
    }
}

/// What a run did.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Summary {
    /// What the counts of snapshots are of.
    #[serde(skip)]
    pub sources: Sources,
    /// Hosts looked at.
    pub hosts: u64,
    /// Those that had something to archive.
    pub hosts_archived: u64,
    /// Snapshots read and archived.
    pub files: u64,
    /// Samples decoded, without NaN.
    pub rows_read: u64,
    /// Rows dropped because a newer snapshot of the run, or the archive, holds their instant.
    pub duplicates_dropped: u64,
    /// Those of them that have another value than the one that was written, which is of a newer snapshot.
    pub superseded_rows: u64,
    /// Those of them that the archive held already.
    pub already_archived_rows: u64,
    /// Those of them where the archive holds another value; see the ledgers.
    pub conflicting_rows: u64,
    /// Whose values these are: one for each host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Contradiction>,
    /// Hosts with new snapshots that are archived as those of another host, where they are not on disk any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedHost>,
    /// Values that are NaN: no sample.
    pub nan_skipped: u64,
    /// Rows written.
    pub rows_written: u64,
    /// Objects written.
    pub objects_written: u64,
    /// Bytes of snapshots read.
    pub bytes_in: u64,
    /// Bytes of objects written.
    pub bytes_out: u64,
    /// Snapshots that the archive holds already.
    pub already_archived: u64,
    /// Snapshots that are new versions of archived files.
    pub new_versions: u64,
    /// Snapshots that end after --before.
    pub too_recent: u64,
    /// Snapshots whose names are of other dates than those of --date.
    pub other_dates: u64,
    /// Snapshots all of whose dates are expired: they are not archived any more.
    pub below_the_floor: u64,
    /// Partitions that were planned anew, as another writer was faster.
    pub planned_anew: u64,
    /// True if the store would overwrite, so that rows can stand twice after races.
    pub store_overwrites: bool,
    /// Snapshots that are left for the next run: still being written, or gone.
    pub waiting: Vec<SetAside>,
    /// What could not be archived, and stays where it is.
    pub set_aside: Vec<SetAside>,
    /// Keys of the objects written.
    pub objects: Vec<String>,
    /// Wall time.
    pub seconds: f64,
    /// The most memory that the process had at any time; absent where the system does not tell.
    pub peak_memory: Option<u64>,
    /// Version of the table that the archive has now, if it has one and it is up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_version: Option<u64>,
    /// What became of the logs of hosts, if they were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogSummary>,
    /// True if a signal ended the run.
    pub interrupted: bool,
    /// What was pruned afterwards, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneSummary>,
}

impl Summary {
    /// Adds time and memory, which are known at the end.
    pub fn finish(&mut self, since: Instant) {
        self.seconds = since.elapsed().as_secs_f64();
        self.peak_memory = peak_memory();
        SetAside::sort(&mut self.set_aside);
        SetAside::sort(&mut self.waiting);
        self.objects.sort();
    }

    /// True if nothing is left that a person should look at.
    pub fn is_complete(&self) -> bool {
        self.set_aside.is_empty() && !self.moved.iter().any(|host| host.left) && self.prune.as_ref().is_none_or(PruneSummary::is_complete)
    }
}

/// The summary as a short table.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<17} {value}");
        if self.interrupted {
            line("interrupted", "by a signal; what follows was done, and the next run goes on from there".into())?;
        }
        line("hosts", format!("{}, {} with something new", thousands(self.hosts), thousands(self.hosts_archived)))?;
        line(&self.sources.to_string(), thousands(self.files))?;
        line("already archived", thousands(self.already_archived))?;
        line("rows read", thousands(self.rows_read))?;
        let superseded = if self.superseded_rows > 0 { format!(", {} of them with an older value", thousands(self.superseded_rows)) } else { String::new() };
        line("duplicates", format!("{} dropped{superseded}", thousands(self.duplicates_dropped)))?;
        if self.conflicting_rows > 0 {
            line("conflicts", format!("{} dropped where the archive has another value", thousands(self.conflicting_rows)))?;
        }
        line("NaN", format!("{} skipped", thousands(self.nan_skipped)))?;
        line("rows written", thousands(self.rows_written))?;
        line("objects written", thousands(self.objects_written))?;
        let per_row = if self.rows_written > 0 { format!(", {:.2} bytes a row", self.bytes_out as f64 / self.rows_written as f64) } else { String::new() };
        line("bytes", format!("{} in, {} out{per_row}", ByteSize(self.bytes_in), ByteSize(self.bytes_out)))?;
        let memory = self.peak_memory.map_or(String::new(), |bytes| format!(", peak memory {}", ByteSize(bytes)));
        line("time", format!("{:.1} s{memory}", self.seconds))?;
        if self.new_versions > 0 {
            line("new versions", format!("{} of archived files", thousands(self.new_versions)))?;
        }
        if self.too_recent > 0 {
            line("too recent", format!("{} end after --before", thousands(self.too_recent)))?;
        }
        if self.other_dates > 0 {
            line("other dates", format!("{} snapshots that --date leaves out", thousands(self.other_dates)))?;
        }
        if self.below_the_floor > 0 {
            line("expired", format!("{} snapshots lie below the floor that expire has set", thousands(self.below_the_floor)))?;
        }
        if self.planned_anew > 0 {
            line("planned anew", format!("{} partitions, as other writers were faster", thousands(self.planned_anew)))?;
        }
        if self.store_overwrites {
            line("conditions", "the store ignores conditional writes: let one machine alone write to this archive".into())?;
        }
        if let Some(version) = self.table_version {
            line("table", format!("version {version}"))?;
        }
        self.logs.as_ref().map_or(Ok(()), |logs| logs.fmt(f))?;
        list(f, "contradictions", &self.conflicts)?;
        list(f, "moved", &self.moved)?;
        list(f, "waiting", &self.waiting)?;
        list(f, "set aside", &self.set_aside)?;
        self.prune.as_ref().map_or(Ok(()), |pruned| pruned.fmt(f))
    }
}

/// Writes how many there are, and each on a line of its own; nothing if there are none.
pub fn list(f: &mut fmt::Formatter<'_>, name: &str, notes: &[impl fmt::Display]) -> fmt::Result {
    if notes.is_empty() {
        return Ok(());
    }
    writeln!(f, "{name:<17} {}", thousands(notes.len() as u64))?;
    notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
}

/// A number with its digits in groups of three.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// So many of something.
pub fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// The process' largest resident size so far, in bytes, where the system tells (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(["0", "999", "1,000", "12,345,678"], [0, 999, 1_000, 12_345_678].map(thousands).each_ref().map(String::as_str));
    }
}
