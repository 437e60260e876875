//! What became of a table.

use std::fmt;

use bytesize::ByteSize;
use serde::Serialize;

use crate::error::SetAside;
use crate::telemetry::{list, thousands};

/// So many keys are shown to a person; `--json` has all.
const SHOWN: usize = 20;

/// What a run did for a table.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Tabled {
    /// The version that it has now; none if there is no table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// True if this run made that version.
    pub committed: bool,
    /// Only what would be done is told.
    pub dry_run: bool,
    /// Files of the table.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
    /// Keys of files that came into it.
    pub added: Vec<String>,
    /// Keys of files that went.
    pub removed: Vec<String>,
    /// How often another writer was faster.
    pub conflicts: u64,
    /// Objects that cannot be read: those that the table has stay in it, others do not come into it.
    pub unreadable: Vec<SetAside>,
    /// Wall time.
    pub seconds: f64,
}

impl Tabled {
    /// True if nothing is left that a person should look at.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty()
    }
}

impl fmt::Display for Tabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<17} {value}");
        match (self.version, self.dry_run) {
            (Some(version), false) => line("version", format!("{version}{}", if self.committed { "" } else { ", as it was" }))?,
            (Some(version), true) => line("version", format!("{version}; what follows would be done"))?,
            (None, _) => line("version", "none; what follows would be done".into())?,
        }
        line("files", format!("{}, {}", thousands(self.files), ByteSize(self.bytes)))?;
        line("rows", thousands(self.rows))?;
        line("time", format!("{:.1} s", self.seconds))?;
        if self.conflicts > 0 {
            line("begun anew", format!("{} times, as other writers were faster", thousands(self.conflicts)))?;
        }
        some(f, "added", &self.added)?;
        some(f, "removed", &self.removed)?;
        list(f, "unreadable", &self.unreadable)
    }
}

/// The same as [`list`], but of many only the first ones: a new table has all objects.
fn some(f: &mut fmt::Formatter<'_>, name: &str, keys: &[String]) -> fmt::Result {
    if keys.len() <= SHOWN {
        return list(f, name, keys);
    }
    writeln!(f, "{name:<17} {}, the first are", thousands(keys.len() as u64))?;
    keys.iter().take(SHOWN).try_for_each(|key| writeln!(f, "  {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_keys_a_person_is_shown_the_first() {
        let shown = |count: usize| Tabled { added: (0..count).map(|n| format!("key-{n}")).collect(), ..Tabled::default() }.to_string();
        assert!(shown(20).contains("added             20\n  key-0\n") && shown(20).contains("key-19"));
        assert!(shown(1_000).contains("added             1,000, the first are\n  key-0\n") && !shown(1_000).contains("key-20"));
    }
}
