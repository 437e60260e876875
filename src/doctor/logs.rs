//! Logs of hosts: what a crash of cc-backend would cost, and how logs are held against that.

use std::path::{Path, PathBuf};

use super::{Check, said};
use crate::error::Escaped;
use crate::telemetry::thousands;

/// Logs, as far as their first records tell.
#[derive(Debug, Default, Clone, Copy)]
pub struct LogFacts {
    /// How many there are.
    pub logs: u64,
    /// About how many samples they have.
    pub samples: u64,
    /// When the oldest of them was taken, unix s.
    pub oldest: Option<i64>,
}

/// How logs are held.
#[derive(Debug)]
pub struct HoldFacts {
    /// Where.
    pub folder: PathBuf,
    /// What is there.
    pub held: LogFacts,
    /// Why they are copied and not linked, if they are.
    pub copies: Option<String>,
}

impl LogFacts {
    fn said(&self, now: i64) -> String {
        let back = self.oldest.map_or(String::new(), |oldest| format!(", back to {} ago", said(now.saturating_sub(oldest).max(0) as u64)));
        format!("{} logs with about {} samples{back}", self.logs, thousands(self.samples))
    }
}

/// Says what logs of a tree have that a crash would cost, and what is held. None if there is no log; `now` is unix time in s.
pub fn check_logs(live: &LogFacts, hold: Option<&HoldFacts>, now: i64) -> Option<Check> {
    const NAME: &str = "logs";
    let Some(HoldFacts { folder, held, copies }) = hold else {
        return (live.logs > 0).then(|| {
            let found = format!("{}: if cc-backend crashes now, these samples come into no snapshot, and are not archived", live.said(now));
            Check::warning(NAME, found, "let runs of archive hold logs: --wal-hold with a directory on the tree's file system")
        });
    };
    let found = format!("{}; {} holds {}", live.said(now), Escaped(folder), held.said(now));
    Some(match copies {
        None => Check::ok(NAME, format!("{found}, as links")),
        Some(why) => {
            let advice = "put the directory on the tree's file system, below the same mount, and run as cc-backend's user: of a log that is gone before the next run, what it got after the last one is lost";
            Check::warning(NAME, format!("{found}, as copies: {why}"), advice)
        }
    })
}

/// The folder, or the nearest one above it that is there.
pub fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|path| path.exists()).unwrap_or(folder)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn what_a_crash_would_cost_is_said_in_samples_and_hours() {
        let live = LogFacts { logs: 3, samples: 12_345, oldest: Some(1_000) };
        let now = 1_000 + 7 * 3_600;
        let off = check_logs(&live, None, now).expect("a check");
        assert_eq!(off.level, Level::Warning);
        assert!(off.found.starts_with("3 logs with about 12,345 samples, back to 7 h ago: if cc-backend crashes"), "{}", off.found);
        assert_eq!(check_logs(&LogFacts::default(), None, now), None);
        let hold =
            |copies: Option<&str>| HoldFacts { folder: "/hold".into(), held: LogFacts { logs: 1, samples: 10, oldest: None }, copies: copies.map(Into::into) };
        let level = |copies| check_logs(&live, Some(&hold(copies)), now).map(|check| check.level);
        assert_eq!((level(None), level(Some("another file system"))), (Some(Level::Ok), Some(Level::Warning)));
    }
}
