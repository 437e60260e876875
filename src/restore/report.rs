//! What a run will write, and what it has written.

use std::fmt;
use std::path::PathBuf;

use bytesize::ByteSize;
use chrono::DateTime;
use serde::Serialize;

use super::collect::Lost;
use crate::error::Escaped;
use crate::files::Kind;
use crate::telemetry::{list, thousands};

/// What there is to restore, by footers and ledgers.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Plan {
    /// Clusters.
    pub clusters: Vec<String>,
    /// Dates of clusters that have rows in the span.
    pub partitions: u64,
    /// Hosts.
    pub hosts: u64,
    /// About how many rows lie in the span.
    pub rows: u64,
    /// About how many files they make, if no host is silent for an interval.
    pub files: u64,
    /// About how many bytes they take.
    pub bytes: u64,
    /// Bytes that are free where they go.
    pub free_bytes: u64,
}

/// About how many bytes a row takes in a file.
pub fn bytes_of_row(kind: Kind) -> u64 {
    match kind {
        // four of the value, and some of the series
        Kind::Binary => 5,
        // such as "123.456,"
        Kind::Json => 10,
    }
}

/// An object whose rows are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Where it is.
    pub object: String,
    /// The hosts that lack rows; none if all may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// What is wrong.
    pub reason: String,
}

/// What a run has done.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Where it wrote.
    #[serde(serialize_with = "shown")]
    pub directory: PathBuf,
    /// What was expected.
    pub plan: Plan,
    /// True if nothing was to be written.
    pub dry_run: bool,
    /// Files written.
    pub files: u64,
    /// Files that were there already, with the same bytes.
    pub files_there: u64,
    /// Hosts that have a file.
    pub hosts: u64,
    /// Samples in all these files.
    pub samples: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Time of the first sample, unix s.
    pub first: Option<i64>,
    /// Time of the last sample, unix s.
    pub last: Option<i64>,
    /// Samples that stand in two objects with different values; the object that was written first was taken.
    pub conflicting: u64,
    /// Files with the name of a checkpoint, and other bytes: they were left as they are.
    pub in_the_way: Vec<String>,
    /// Objects whose rows are missing.
    pub damaged: Vec<Damaged>,
    /// Series that no checkpoint can hold, with their host.
    pub lost: Vec<String>,
    /// True if a signal ended the run.
    pub interrupted: bool,
    /// Wall time in s.
    pub seconds: f64,
    /// Largest resident size so far, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
}

fn shown<S: serde::Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(path))
}

impl Report {
    /// True if every row of the span is in a file.
    pub fn is_complete(&self) -> bool {
        self.in_the_way.is_empty() && self.damaged.is_empty() && self.lost.is_empty() && self.conflicting == 0
    }

    /// Takes in what one object lacks for one host.
    pub fn damage(&mut self, object: String, host: Option<&str>, reason: String) {
        let known = self.damaged.iter_mut().find(|known| known.object == object);
        match known {
            Some(known) => known.hosts.extend(host.map(str::to_owned)),
            None => self.damaged.push(Damaged { object, hosts: host.map(str::to_owned).into_iter().collect(), reason }),
        }
    }

    /// Takes in what could not be written of a host.
    pub fn lose(&mut self, host: &str, lost: &[Lost]) {
        self.lost.extend(lost.iter().map(|Lost { series, rows, reason }| format!("{host} {series}: {rows} rows: {reason}").escape_debug().to_string()));
    }

    /// Takes in the times of some rows.
    pub fn reach(&mut self, extent: Option<(i64, i64)>) {
        if let Some((first, last)) = extent {
            self.first = Some(self.first.map_or(first, |known| known.min(first)));
            self.last = Some(self.last.map_or(last, |known| known.max(last)));
        }
    }
}

fn time(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map_or(seconds.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)?;
        match self.hosts.len() {
            0 => Ok(()),
            1 => write!(f, " (of {})", self.hosts[0].escape_debug()),
            count => write!(f, " (of {} and {} other hosts)", self.hosts[0].escape_debug(), thousands(count as u64 - 1)),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<17} {value}");
        if self.dry_run {
            let Plan { clusters, partitions, hosts, rows, files, bytes, free_bytes } = &self.plan;
            line("clusters", clusters.iter().map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", "))?;
            line("hosts", thousands(*hosts))?;
            line("dates", format!("{}, one cluster after the other", thousands(*partitions)))?;
            line("samples", format!("about {}", thousands(*rows)))?;
            line("files", format!("about {}", thousands(*files)))?;
            line("bytes", format!("about {}; {} are free", ByteSize(*bytes), ByteSize(*free_bytes)))?;
            return list(f, "damaged", &self.damaged);
        }
        line("files", format!("{} written, {} were there", thousands(self.files), thousands(self.files_there)))?;
        line("hosts", thousands(self.hosts))?;
        line("samples", thousands(self.samples))?;
        line("bytes", ByteSize(self.bytes).to_string())?;
        if let (Some(first), Some(last)) = (self.first, self.last) {
            line("from, to", format!("{}, {}", time(first), time(last)))?;
        }
        let memory = self.peak_memory.map_or(String::new(), |bytes| format!(", peak memory {}", ByteSize(bytes)));
        line("time", format!("{:.1} s{memory}", self.seconds))?;
        if self.conflicting > 0 {
            line("conflicting", format!("{} samples stand in two objects with different values; verify says where", thousands(self.conflicting)))?;
        }
        list(f, "in the way", &self.in_the_way)?;
        list(f, "damaged", &self.damaged)?;
        list(f, "not restored", &self.lost)?;
        if self.interrupted {
            return writeln!(f, "Next: run again; files that are there are passed over.");
        }
        writeln!(
            f,
            "Next: stop cc-backend, copy what is in {} to its metric-store.checkpoints.directory, and start it: it reads checkpoints only then.",
            Escaped(&self.directory)
        )?;
        writeln!(f, "Archiving these files to the same archive adds no row: it holds all of them.")
    }
}
