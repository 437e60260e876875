//! What a run of `compact` came to.

use std::fmt;

use bytesize::ByteSize;
use serde::Serialize;

use super::{list, thousands};
use crate::error::SetAside;

/// What a run did.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Compaction {
    /// Partitions looked at.
    pub partitions: u64,
    /// Objects of ours in them that count.
    pub objects: u64,
    /// Objects that were, or would be, replaced.
    pub replaced: u64,
    /// Bytes of them.
    pub bytes_replaced: u64,
    /// Rows of them.
    pub rows_read: u64,
    /// Objects that were, or would be, made of them.
    pub made: u64,
    /// Bytes of these.
    pub bytes_made: u64,
    /// Rows of these.
    pub rows_written: u64,
    /// Rows that stood twice, and are there once now.
    pub doubled_rows: u64,
    /// Those of them that had different values.
    pub differing_rows: u64,
    /// Objects that an earlier run has left, and that were deleted.
    pub finished: u64,
    /// Sequences of objects that are too young.
    pub young: u64,
    /// Sources of which other values were kept.
    pub conflicts: Vec<Conflict>,
    /// What could not be compacted, and stays as it is.
    pub set_aside: Vec<SetAside>,
    /// In a dry run, keys: of each group of objects that would become one, the first.
    pub made_keys: Vec<String>,
    /// Nothing was touched.
    pub dry_run: bool,
    /// Wall time.
    pub seconds: f64,
    /// True if a signal ended the run.
    pub interrupted: bool,
}

/// A source of which other values were kept, where rows stood twice.
#[derive(Debug, Clone, Serialize)]
pub struct Conflict {
    /// The object in whose ledger it stands now.
    pub object: String,
    /// As the ledger calls it.
    pub source: String,
    /// How many of its values.
    pub rows: u64,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, source, rows } = self;
        write!(f, "{} of {object}: {} values differ from those that were archived first, which stay", source.escape_debug(), thousands(*rows))
    }
}

impl Compaction {
    /// True if nothing is left that a person should look at.
    pub fn is_complete(&self) -> bool {
        self.set_aside.is_empty() && self.conflicts.is_empty()
    }

    /// Adds what another partition came to.
    pub fn add(&mut self, other: Self) {
        let sums = [
            (&mut self.partitions, other.partitions),
            (&mut self.objects, other.objects),
            (&mut self.replaced, other.replaced),
            (&mut self.bytes_replaced, other.bytes_replaced),
            (&mut self.rows_read, other.rows_read),
            (&mut self.made, other.made),
            (&mut self.bytes_made, other.bytes_made),
            (&mut self.rows_written, other.rows_written),
            (&mut self.doubled_rows, other.doubled_rows),
            (&mut self.differing_rows, other.differing_rows),
            (&mut self.finished, other.finished),
            (&mut self.young, other.young),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        self.conflicts.extend(other.conflicts);
        self.set_aside.extend(other.set_aside);
        self.made_keys.extend(other.made_keys);
    }
}

impl fmt::Display for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<17} {value}");
        if self.interrupted {
            line("interrupted", "by a signal; what follows was done, and the next run goes on from there".into())?;
        }
        line("partitions", thousands(self.partitions))?;
        line("objects", thousands(self.objects))?;
        if self.replaced > 0 {
            let count = thousands(self.made);
            let made = if self.dry_run { format!("would become {count}") } else { format!("{count} of {}", ByteSize(self.bytes_made)) };
            line("compacted", format!("{} of {}, {} rows: {made}", thousands(self.replaced), ByteSize(self.bytes_replaced), thousands(self.rows_read)))?;
        } else {
            line("compacted", "none: nothing to do".into())?;
        }
        if self.doubled_rows > 0 {
            line(
                "doubles",
                format!(
                    "{} rows stood twice and are there once now, {} of them with another value",
                    thousands(self.doubled_rows),
                    thousands(self.differing_rows)
                ),
            )?;
        }
        if self.finished > 0 {
            line("finished", format!("{} objects that an earlier run left were deleted", thousands(self.finished)))?;
        }
        if self.young > 0 {
            line("too young", format!("{} sequences of objects wait, as one was written within --min-object-age", thousands(self.young)))?;
        }
        line("time", format!("{:.1} s", self.seconds))?;
        self.made_keys.iter().try_for_each(|key| writeln!(f, "  {key}"))?;
        list(f, "conflicts", &self.conflicts)?;
        list(f, "set aside", &self.set_aside)
    }
}
