//! What cc-backend's own configuration says about its checkpoints; an old cc-metric-store's is read too.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use humantime::format_duration;
use serde_json::{Value, json};

use crate::error::{Error, Escaped, Result};

/// What cc-backend does where its configuration says nothing.
const USUAL_DIRECTORY: &str = "./var/checkpoints";
const USUAL_INTERVAL: Duration = Duration::from_secs(12 * 3_600);

/// What cc-backend does with checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcBackend {
    /// The file that says so.
    pub path: PathBuf,
    /// The checkpoint tree. A relative one is relative to the folder of the file, where cc-backend is started as a rule. None only in
    /// a configuration of cc-metric-store, which has no default.
    pub directory: Option<PathBuf>,
    /// What snapshots are written as.
    pub format: Format,
    /// Time between two snapshots of a host. One that cannot be read is cc-backend's default, as it is there.
    pub checkpoint_interval: Duration,
    /// How long values stay in memory, and so how old the snapshots are that a restart loads.
    pub retention: Option<Duration>,
    /// The age at which cc-backend itself takes snapshots away, if it does.
    pub removes_after: Option<Duration>,
    /// What it does with them then.
    pub cleanup: Cleanup,
    /// The longest job, by the range of durations that its web pages offer: `clusters[].filterRanges.duration.to`. It knows no walltimes.
    pub longest_job: Option<Duration>,
}

/// What snapshots are written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// `.json`.
    Json,
    /// `.bin`, and `current.wal` for what is newer.
    Wal,
    /// Something that this program does not know.
    Other(String),
}

/// What cc-backend does with old snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// They are deleted.
    Delete,
    /// They are put into an archive of its own, and deleted.
    Archive,
    /// Nothing.
    Keep,
}

impl CcBackend {
    /// Reads a config.json. Whatever else stands in it does not matter.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::unreadable("", path))?;
        Self::parse(path, &text).map_err(|why| {
            Error::Usage(format!("{}: {why}\n  hint: it must be cc-backend's config.json; leave --cc-backend-config out to go without", Escaped(path)))
        })
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let all: Value = serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
        let is_old = all.get("metric-store").is_none();
        let section = all.get("metric-store").unwrap_or(&all);
        if is_old && section.get("checkpoints").is_none() && section.get("retention-in-memory").is_none() {
            return Err(
                "it has no section metric-store, and so no metric-store.retention-in-memory or metric-store.checkpoints.directory; nor is it cc-metric-store's"
                    .into(),
            );
        }
        let at = |pointer: &str| section.pointer(pointer).filter(|value| !value.is_null());
        let text = |pointer: &str| at(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let directory = text("/checkpoints/directory").or((!is_old).then_some(USUAL_DIRECTORY));
        let retention = at("/retention-in-memory").map(duration).transpose().map_err(|e| format!("metric-store.retention-in-memory: {e}"))?;
        // cc-metric-store said how often beside where
        let interval = at("/checkpoint-interval").or(at("/checkpoints/interval")).and_then(|value| duration(value).ok());
        let (cleanup, removes_after) = match (at("/cleanup"), at("/archive")) {
            (None, Some(old)) => {
                let delete = old.get("delete-instead").and_then(Value::as_bool).unwrap_or(false);
                (if delete { Cleanup::Delete } else { Cleanup::Archive }, old.get("interval").and_then(|value| duration(value).ok()))
            }
            (None, None) if is_old => (Cleanup::Keep, None),
            _ => (if text("/cleanup/mode") == Some("archive") { Cleanup::Archive } else { Cleanup::Delete }, retention),
        };
        let removes_after = removes_after.filter(|age| !age.is_zero());
        Ok(Self {
            path: path.to_owned(),
            directory: directory.map(|directory| path.parent().unwrap_or(Path::new("")).join(directory.strip_prefix("./").unwrap_or(directory))),
            format: match text("/checkpoints/file-format") {
                Some("json") => Format::Json,
                Some("wal") => Format::Wal,
                Some(other) => Format::Other(other.to_owned()),
                None if is_old => Format::Json,
                None => Format::Wal,
            },
            checkpoint_interval: interval.filter(|interval| !interval.is_zero()).unwrap_or(USUAL_INTERVAL),
            retention,
            removes_after,
            cleanup: if removes_after.is_none() { Cleanup::Keep } else { cleanup },
            longest_job: longest_job(&all),
        })
    }
}

impl CcBackend {
    /// For programs; times in seconds.
    pub(super) fn as_json(&self) -> Value {
        json!({
            "path": Escaped(&self.path).to_string(),
            "checkpoints": self.directory.as_ref().map(|directory| Escaped(directory).to_string()),
            "file-format": self.format.name(),
            "checkpoint-interval": self.checkpoint_interval.as_secs_f64(),
            "retention-in-memory": self.retention.map(|age| age.as_secs_f64()),
            "longest-job": self.longest_job.map(|age| age.as_secs_f64()),
            "removes-after": self.removes_after.map(|age| age.as_secs_f64()),
            "cleanup": match self.cleanup {
                Cleanup::Delete => "delete",
                Cleanup::Archive => "archive",
                Cleanup::Keep => "none",
            },
        })
    }
}

impl Format {
    fn name(&self) -> String {
        match self {
            Self::Json => "json".into(),
            Self::Wal => "wal".into(),
            Self::Other(other) => other.escape_debug().to_string(),
        }
    }
}

impl fmt::Display for CcBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cc-backend by {}", Escaped(&self.path))?;
        if let Some(directory) = &self.directory {
            writeln!(f, "  checkpoints  {}", Escaped(directory))?;
        }
        writeln!(f, "  file format  {}", self.format.name())?;
        writeln!(f, "  interval     {}", format_duration(self.checkpoint_interval))?;
        if let Some(retention) = self.retention {
            writeln!(f, "  retention    {}", format_duration(retention))?;
        }
        if let Some(longest) = self.longest_job {
            writeln!(f, "  longest job  {}", format_duration(longest))?;
        }
        match (self.cleanup, self.removes_after) {
            (Cleanup::Delete, Some(age)) => writeln!(f, "  cleanup      deletes snapshots after {}", format_duration(age)),
            (Cleanup::Archive, Some(age)) => writeln!(f, "  cleanup      moves snapshots to its own archive after {}", format_duration(age)),
            _ => writeln!(f, "  cleanup      none"),
        }
    }
}

/// Of all clusters. What is no number of seconds is passed over.
fn longest_job(all: &Value) -> Option<Duration> {
    let clusters = all.get("clusters").and_then(Value::as_array)?;
    clusters.iter().filter_map(|cluster| cluster.pointer("/filterRanges/duration/to")?.as_u64()).max().map(Duration::from_secs)
}

/// A duration as a Go program reads it, or, in files of long ago, a number of seconds.
fn duration(value: &Value) -> Result<Duration, String> {
    match value {
        Value::String(text) => go_duration(text).ok_or_else(|| format!("{text:?} is no duration such as 48h or 1h30m")),
        Value::Number(seconds) => seconds.as_u64().map(Duration::from_secs).ok_or_else(|| format!("{seconds} is no number of seconds")),
        _ => Err("a duration such as 48h is needed".into()),
    }
}

/// Numbers with units, `1h30m` or `1.5h`; less than nothing is no duration here.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    match rest {
        "" => return None,
        "0" => return Some(Duration::ZERO),
        _ => {}
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, behind) = rest.split_at(number);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanoseconds = nanoseconds.checked_add(scaled(digits, unit)?)?;
        rest = behind;
    }
    // as far as an i64 of nanoseconds goes: 292 years
    i64::try_from(nanoseconds).ok().map(|n| Duration::from_nanos(n.unsigned_abs()))
}

/// A decimal number times a unit.
fn scaled(digits: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 19 {
        return None;
    }
    // what is less than a nanosecond does not count
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    Some(number(whole)?.checked_mul(unit)? + number(fraction)? * unit / 10_u128.pow(fraction.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn parsed(text: &str) -> CcBackend {
        CcBackend::parse(Path::new("/etc/cc/config.json"), text).expect("valid")
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let seconds = |text: &str| go_duration(text).map(|d| d.as_secs_f64());
        for (text, expected) in [
            ("48h", 172_800.0),
            ("1.5h", 5_400.0),
            ("1h30m", 5_400.0),
            ("1h30m0.5s", 5_400.5),
            (".5m", 30.0),
            ("1.m", 60.0),
            ("+12h", 43_200.0),
            ("250ms", 0.25),
            ("3us4µs5μs", 0.000_012),
            ("7ns", 0.000_000_007),
            ("0", 0.0),
            ("0s", 0.0),
            ("0.3333333333333333333h", 1_200.0),
        ] {
            assert!(seconds(text).is_some_and(|s| (s - expected).abs() < 1e-9), "{text}: {:?}", seconds(text));
        }
        for wrong in ["", "+", "12", "h", ".h", "1.2.3h", "2d", "-1h", "1h-", "1 h", "1H", "9999999999h", "99999999999999999999999h", "١h"] {
            assert_eq!(go_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_said_is_as_cc_backend_has_it() {
        let read = parsed(r#"{"metric-store": {"retention-in-memory": "48h"}}"#);
        assert_eq!(read.directory, Some("/etc/cc/var/checkpoints".into()));
        assert_eq!((read.format, read.checkpoint_interval), (Format::Wal, Duration::from_secs(12 * HOUR)));
        assert_eq!((read.retention, read.removes_after), (Some(Duration::from_secs(48 * HOUR)), Some(Duration::from_secs(48 * HOUR))));
        assert_eq!(read.cleanup, Cleanup::Delete);
    }

    #[test]
    fn all_that_is_said_is_read_and_unknown_keys_are_passed_over() {
        let read = parsed(
            r#"{"main": {"addr": ":80"}, "new": [], "metric-store": {"retention-in-memory": "1h30m", "checkpoint-interval": "1.5h", "memory-cap": 100,
            "checkpoints": {"file-format": "json", "directory": "/data/cp", "more": {}}, "cleanup": {"mode": "archive", "directory": "./a"}, "x": null}}"#,
        );
        assert_eq!((read.directory, read.format), (Some("/data/cp".into()), Format::Json));
        assert_eq!((read.checkpoint_interval, read.retention), (Duration::from_secs(5_400), Some(Duration::from_secs(5_400))));
        assert_eq!((read.cleanup, read.removes_after), (Cleanup::Archive, Some(Duration::from_secs(5_400))));
        let odd = parsed(r#"{"metric-store": {"checkpoint-interval": "often", "checkpoints": {"file-format": "avro"}, "retention-in-memory": "0"}}"#);
        assert_eq!((odd.checkpoint_interval, odd.format), (Duration::from_secs(12 * HOUR), Format::Other("avro".into())));
        assert_eq!((odd.retention, odd.cleanup, odd.removes_after), (Some(Duration::ZERO), Cleanup::Keep, None));
    }

    #[test]
    fn an_old_metric_store_is_understood() {
        let read = parsed(
            r#"{"metrics": {}, "checkpoints": {"interval": "6h", "directory": "./var/cp", "restore": "48h"}, "archive": {"interval": "50h", "directory": "./a"},
            "retention-in-memory": "48h"}"#,
        );
        assert_eq!((read.directory, read.format), (Some("/etc/cc/var/cp".into()), Format::Json));
        assert_eq!((read.checkpoint_interval, read.retention), (Duration::from_secs(6 * HOUR), Some(Duration::from_secs(48 * HOUR))));
        assert_eq!((read.cleanup, read.removes_after), (Cleanup::Archive, Some(Duration::from_secs(50 * HOUR))));
        let older = parsed(
            r#"{"checkpoints": {"interval": 21600, "directory": "cp"}, "archive": {"interval": 86400, "delete-instead": true}, "retention-in-memory": 86400}"#,
        );
        assert_eq!((older.checkpoint_interval, older.retention), (Duration::from_secs(6 * HOUR), Some(Duration::from_secs(24 * HOUR))));
        assert_eq!((older.cleanup, older.removes_after), (Cleanup::Delete, Some(Duration::from_secs(24 * HOUR))));
        assert_eq!(parsed(r#"{"checkpoints": {}}"#).directory, None);
    }

    #[test]
    fn the_longest_job_is_that_of_any_cluster() {
        let longest = |clusters: &str| parsed(&format!(r#"{{"clusters": {clusters}, "metric-store": {{"retention-in-memory": "48h"}}}}"#)).longest_job;
        let range = |to: &str| format!(r#"{{"name": "a", "filterRanges": {{"duration": {{"from": 0, "to": {to}}}}}}}"#);
        assert_eq!(longest(&format!("[{}, {}, {}]", range("86400"), range("604800"), range("null"))), Some(Duration::from_secs(168 * HOUR)));
        assert_eq!([longest("[]"), longest("{}"), longest(&format!("[{}]", range("-1"))), longest(r#"[{"name": "a"}]"#)], [None; 4]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |text: &str| CcBackend::parse(Path::new("c.json"), text).expect_err(text);
        assert!(refused("{").starts_with("it is not JSON"));
        assert!(refused(r#"{"main": {}}"#).contains("no section metric-store"));
        assert!(refused(r#"{"metric-store": {"retention-in-memory": "2d"}}"#).contains(r#"retention-in-memory: "2d""#));
        assert!(refused(r#"{"metric-store": {"retention-in-memory": -5}}"#).contains("retention-in-memory: -5"));
    }
}
