//! What became of the logs of hosts.

use std::fmt;

use serde::Serialize;

use super::thousands;
use crate::error::SetAside;

/// What became of the logs of hosts.
#[derive(Debug, Default, Clone, Serialize)]
pub struct LogSummary {
    /// Logs read.
    pub logs: u64,
    /// Those of them that are held as a link.
    pub linked: u64,
    /// Those of them that are held as a copy.
    pub copied: u64,
    /// Held logs that were given up, as all of their samples are decided and archived.
    pub released: u64,
    /// Records in them.
    pub records: u64,
    /// Samples that became rows, as no snapshot has them.
    pub rows: u64,
    /// Samples of which an earlier run made rows.
    pub taken: u64,
    /// Samples that snapshots have.
    pub covered: u64,
    /// Samples that newer ones have overwritten.
    pub shadowed: u64,
    /// Samples of dates that the archive does not keep any more.
    pub expired: u64,
    /// Samples that a snapshot may yet have.
    pub waiting: u64,
    /// When the oldest of them was taken, unix s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting: Option<i64>,
    /// Bytes in which there was no good record, but for one that is torn at the end of a log.
    pub passed_over: u64,
    /// Where these are.
    pub damage: Vec<SetAside>,
}

impl LogSummary {
    /// Adds what became of other logs.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.logs, other.logs),
            (&mut self.linked, other.linked),
            (&mut self.copied, other.copied),
            (&mut self.released, other.released),
            (&mut self.records, other.records),
            (&mut self.rows, other.rows),
            (&mut self.taken, other.taken),
            (&mut self.covered, other.covered),
            (&mut self.shadowed, other.shadowed),
            (&mut self.expired, other.expired),
            (&mut self.waiting, other.waiting),
            (&mut self.passed_over, other.passed_over),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        self.oldest_waiting = self.oldest_waiting.into_iter().chain(other.oldest_waiting).min();
        self.damage.extend_from_slice(&other.damage);
    }
}

impl fmt::Display for LogSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = thousands;
        writeln!(f, "logs              {} with {} records", number(self.logs), number(self.records))?;
        if self.linked + self.copied + self.released > 0 {
            let (linked, copied, released) = (number(self.linked), number(self.copied), number(self.released));
            writeln!(f, "  held            {linked} as links, {copied} as copies; {released} given up")?;
        }
        writeln!(f, "  rows            {} that no snapshot has; {} of earlier runs", number(self.rows), number(self.taken))?;
        writeln!(f, "  no rows         {} that snapshots have, {} that newer samples overwrote", number(self.covered), number(self.shadowed))?;
        if self.expired > 0 {
            writeln!(f, "  expired         {} of dates that the archive does not keep any more", number(self.expired))?;
        }
        if self.waiting > 0 {
            writeln!(f, "  waiting         {} that a snapshot may yet have", number(self.waiting))?;
        }
        super::list(f, "  damaged", &self.damage)
    }
}
