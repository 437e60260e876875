//! What `inspect` shows.

use std::path::PathBuf;

use super::{Location, S3Settings};

/// What `inspect` shows, of which file.
#[derive(Debug, Clone)]
pub struct InspectSettings {
    /// A file, or a key in a bucket.
    pub file: Location,
    /// What of it.
    pub show: Show,
    /// Which series, hosts and times.
    pub filter: SampleFilter,
    /// Threads that decode.
    pub workers: usize,
    /// Bytes for what is decoded.
    pub memory: u64,
    /// Where values are put that there is no room for in memory.
    pub spool: PathBuf,
    /// How the archive is reached, if the file is in S3.
    pub s3: Option<S3Settings>,
}

/// What is shown of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// What it holds.
    Facts {
        /// All sources of an object, or the first of them.
        whole_ledger: bool,
    },
    /// Its samples.
    Samples(Form),
}

/// How samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// With a header; times in unix s.
    Csv,
    /// One JSON object, with an array of them.
    Json,
}

/// Which samples are shown.
#[derive(Debug, Clone, Default)]
pub struct SampleFilter {
    /// Only levels whose path matches; "" is the host's own.
    pub selector: Option<glob::Pattern>,
    /// Only metrics that match.
    pub metric: Option<glob::Pattern>,
    /// Only hosts that match.
    pub host: Option<glob::Pattern>,
    /// Only from this unix time in s on.
    pub from: Option<i64>,
    /// Only before this unix time in s.
    pub to: Option<i64>,
}

impl SampleFilter {
    /// True if samples of a host are wanted.
    pub fn admits_host(&self, host: &str) -> bool {
        self.host.as_ref().is_none_or(|wanted| wanted.matches(host))
    }

    /// True if samples of a series are wanted, by its metric and the path of its level.
    pub fn admits_series(&self, metric: &str, path: &str) -> bool {
        self.metric.as_ref().is_none_or(|wanted| wanted.matches(metric)) && self.selector.as_ref().is_none_or(|wanted| wanted.matches(path))
    }

    /// True if samples of a time are wanted.
    pub fn admits_time(&self, time: i64) -> bool {
        let (from, to) = self.times();
        (from..to).contains(&time)
    }

    /// The wanted times: from the first up to, and without, the second.
    pub fn times(&self) -> (i64, i64) {
        (self.from.unwrap_or(i64::MIN), self.to.unwrap_or(i64::MAX))
    }

    /// True if everything is wanted.
    pub fn is_open(&self) -> bool {
        let Self { selector, metric, host, from, to } = self;
        selector.is_none() && metric.is_none() && host.is_none() && from.is_none() && to.is_none()
    }
}
