//! What is told of a snapshot, and of a write-ahead log.

use std::fmt;

use serde::Serialize;

use super::series::Shown;
use super::text::{count, name, range, span};
use super::tree::Tree;
use crate::files::{Compression, Format, Kind};
use crate::names::{Date, Digest};
use crate::telemetry::thousands;

/// What a snapshot holds.
#[derive(Debug, Serialize)]
pub struct SnapshotFacts {
    /// What it is written as.
    #[serde(serialize_with = "as_name")]
    pub format: Format,
    /// Whose it is.
    #[serde(flatten)]
    pub of: Of,
    /// From when it goes, by its header, unix s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// To when it goes, by its header, unix s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// Dates on which it has samples.
    pub dates: Vec<Date>,
    /// Of its bytes on disk, as a ledger has it; none if it is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
    /// Its series.
    pub series: Shown,
}

/// What a write-ahead log holds.
#[derive(Debug, Serialize)]
pub struct LogFacts {
    /// Whose it is.
    #[serde(flatten)]
    pub of: Of,
    /// Good records.
    pub records: u64,
    /// Their series.
    pub series: Shown,
}

/// Whose file it is, by the directories that it lies in.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Of {
    /// The cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

fn as_name<S: serde::Serializer>(format: &Format, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(ending(*format))
}

/// How a file of a format is called.
fn ending(format: Format) -> &'static str {
    match (format.kind, format.compression) {
        (Kind::Json, Compression::None) => "json",
        (Kind::Json, Compression::Gzip) => "json.gz",
        (Kind::Json, Compression::Zstd) => "json.zst",
        (Kind::Binary, Compression::None) => "bin",
        (Kind::Binary, Compression::Gzip) => "bin.gz",
        (Kind::Binary, Compression::Zstd) => "bin.zst",
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, &self.cluster) {
            (Some(host), Some(cluster)) => writeln!(f, "host      {} of cluster {}, by its directories", name(host), name(cluster)),
            (Some(host), None) => writeln!(f, "host      {}, by its directory", name(host)),
            (None, _) => Ok(()),
        }
    }
}

impl Shown {
    fn sums(&self) -> String {
        let Self { count: series, samples, nan, .. } = self;
        let values = samples + nan;
        let share = if *nan > 0 { format!(" ({:.1} %)", 100.0 * *nan as f64 / values as f64) } else { String::new() };
        let (series, values) = (count(*series, "series", "series"), count(values, "value", "values"));
        format!("{series}, {values}: {}, {} NaN{share}", count(*samples, "sample", "samples"), thousands(*nan))
    }

    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.not_listed == 0 {
            return Ok(());
        }
        writeln!(f, "… and {} more; --selector and --metric choose", count(self.not_listed, "series", "series"))
    }
}

impl SnapshotFacts {
    /// What it is, in words.
    pub fn what(&self) -> String {
        let kind = if self.format.kind == Kind::Json { "a JSON snapshot" } else { "a binary snapshot" };
        format!("{kind} (.{})", ending(self.format))
    }
}

impl fmt::Display for SnapshotFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt(f)?;
        if let (Some(from), Some(to)) = (self.from, self.to) {
            let length = if to > from { format!(" ({})", span(to.abs_diff(from))) } else { String::new() };
            writeln!(f, "covers    {}{length}", range(from, to))?;
        }
        writeln!(f, "holds     {}", self.series.sums())?;
        if let (Some(first), Some(last)) = (self.dates.first(), self.dates.last()) {
            let last = if last > first { format!(" to {last}") } else { String::new() };
            writeln!(f, "dates     {first}{last}")?;
        }
        if let Some(digest) = self.blake3 {
            writeln!(f, "blake3    {digest}")?;
        }
        write!(f, "{}", Tree(&self.series.list))?;
        self.series.rest(f)
    }
}

impl fmt::Display for LogFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt(f)?;
        writeln!(f, "holds     {} of {}", count(self.records, "record", "records"), self.series.sums())?;
        if let (Some(start), Some(end)) = (self.series.start, self.series.end) {
            writeln!(f, "times     {}", range(start, end))?;
        }
        write!(f, "{}", Tree(&self.series.list))?;
        self.series.rest(f)
    }
}
