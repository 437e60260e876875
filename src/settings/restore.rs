//! What a run of `restore` does.

use std::path::PathBuf;

use super::{Location, Part, S3Settings};
use crate::files::Kind;

/// What a run of `restore` does.
#[derive(Debug, Clone)]
pub struct RestoreSettings {
    /// The archive.
    pub archive: Location,
    /// Where the checkpoints go.
    pub dir: PathBuf,
    /// Which part of the archive: clusters, and the dates of `windows`.
    pub part: Part,
    /// Only hosts that match.
    pub host: Option<glob::Pattern>,
    /// How time is cut into files.
    pub windows: Windows,
    /// What is written.
    pub format: Kind,
    /// Also if other files are in the directory.
    pub force: bool,
    /// Print the plan and touch nothing.
    pub dry_run: bool,
    /// CPU workers.
    pub workers: usize,
    /// Bytes for what is in flight.
    pub memory: u64,
    /// Where values are put that there is no room for in memory.
    pub spool: PathBuf,
    /// How the archive is reached, if it is in S3.
    pub s3: Option<S3Settings>,
}

/// A span of time, cut into windows of one length that begin at midnight UTC and at multiples of the length. The first and the last window
/// end where the span does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Unix time in s of the beginning.
    pub from: i64,
    /// Unix time in s of the first instant behind it.
    pub to: i64,
    /// Length in s; a day is a multiple of it.
    pub every: i64,
}

impl Windows {
    /// The window that a time of the span lies in: its beginning, and the first instant behind it.
    pub fn of(&self, time: i64) -> (i64, i64) {
        let start = time.div_euclid(self.every) * self.every;
        (start.max(self.from), (start + self.every).min(self.to))
    }

    /// How many windows the part of the span has that lies between two times.
    pub fn count(&self, from: i64, to: i64) -> u64 {
        let (from, to) = (from.max(self.from), to.min(self.to));
        if from < to { ((to - 1).div_euclid(self.every) - from.div_euclid(self.every) + 1) as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_multiples_and_end_with_the_span() {
        let windows = Windows { from: 90_000, to: 200_000, every: 43_200 };
        assert_eq!(windows.of(90_000), (90_000, 129_600));
        assert_eq!(windows.of(129_600), (129_600, 172_800));
        assert_eq!(windows.of(199_999), (172_800, 200_000));
        assert_eq!((windows.count(86_400, 172_800), windows.count(172_800, 259_200), windows.count(0, 90_000)), (2, 1, 0));
    }
}
