//! Whether a site is set up well: a checkpoint tree and an archive are looked at as runs will use them, and each check says what to do.

use std::fmt;

use serde::Serialize;

use crate::error::Error;
use crate::telemetry::count;

mod archive;
mod logs;
mod probe;
mod races;
mod tags;
mod tree;
mod user;

pub use archive::{check_directory, check_store};
pub use logs::{HoldFacts, LogFacts, check_logs, existing};
pub use tree::{check_decoded, check_tree};
pub use user::{check_user, identity_of_service};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Runs work, and something can be better.
    Warning,
    /// Runs fail, or data is at risk.
    Error,
}

/// What was looked at, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it ended.
    pub level: Level,
    /// What was looked at, in a word or two.
    pub check: &'static str,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, found: found.into(), advice: None }
    }

    /// Something can be better.
    pub fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, check, found: found.into(), advice: Some(advice.into()) }
    }

    /// Something must be done.
    pub fn error(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Error, check, found: found.into(), advice: Some(advice.into()) }
    }
}

/// All checks, in the order in which they were made.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Diagnosis {
    /// One after the other.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// How many checks ended so.
    pub fn count(&self, level: Level) -> usize {
        self.checks.iter().filter(|check| check.level == level).count()
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { level, check, found, advice } in &self.checks {
            let level = match level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            writeln!(f, "{level:<8} {check:<18} {found}")?;
            if let Some(advice) = advice {
                writeln!(f, "{:<27} do: {advice}", "")?;
            }
        }
        writeln!(f, "{}, {}", count(self.count(Level::Error) as u64, "error"), count(self.count(Level::Warning) as u64, "warning"))
    }
}

/// Root may do what others may not: what was tried as root says so.
pub fn by_whom() -> &'static str {
    if rustix::process::geteuid().is_root() { " by root" } else { "" }
}

/// An error with its hint.
pub fn on_one_line(e: &Error) -> String {
    e.to_string().replace("\n  hint: ", "; ")
}

/// A duration as people say it: its two largest units.
fn said(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let parts = units.iter().map(|(size, name)| (*size, *name));
    let first = parts.clone().find(|(size, _)| seconds >= *size).unwrap_or((1, "s"));
    let rest = seconds % first.0;
    match parts.skip_while(|(size, _)| *size >= first.0).find(|(size, _)| rest >= *size) {
        Some((size, name)) => format!("{} {} {} {name}", seconds / first.0, first.1, rest / size),
        None => format!("{} {}", seconds / first.0, first.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_two_units() {
        let texts = [0, 59, 60, 3_661, 90_000, 172_800].map(said);
        assert_eq!(texts.each_ref().map(String::as_str), ["0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h", "2 d"]);
    }
}
