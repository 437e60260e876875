//! Stage 12: looks at an archive as a whole, and says what is not as it must be. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytesize::ByteSize;
use parquet::file::metadata::ParquetMetaData;
use serde::Serialize;

use crate::ledger::{Doubt, Entry, Holdings, ObjectLedger, Trouble, Unreadable};
use crate::names::{Date, Digest};
use crate::partition::ObjectKey;
use crate::telemetry::{list, thousands};

mod decode;

pub use decode::{Decoded, decode_partition};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There is nothing where an archive should be.
    Empty,
    /// The footer of an object of ours cannot be read, or it and the key disagree.
    Unreadable,
    /// An object cannot be read now: it is in a cold storage class, may not be read, is gone, or is not given.
    Unavailable,
    /// A newer version of this program wrote the object.
    Newer,
    /// What an object says of itself does not fit together.
    Inconsistent,
    /// Rows stand twice, in two objects that were written without knowledge of each other.
    Doubled,
    /// An object of a sequence was removed or replaced.
    Chain,
    /// A source that holds another one's rows is in no object.
    Dangling,
    /// A source is not archived on all the dates that it feeds.
    Incomplete,
    /// An object's bytes are not those that were written.
    Digest,
    /// Rows cannot be decoded, or are not as many as the footer says, or not in order.
    Rows,
    /// A row stands in two objects.
    DuplicateRows,
    /// A local file differs from what was archived, though size and time of change are the same.
    Mismatch,
    /// The table has not the objects that the archive has.
    Table,
}

impl Kind {
    /// All of them.
    const ALL: [Self; 14] = [
        Self::Empty,
        Self::Unreadable,
        Self::Unavailable,
        Self::Newer,
        Self::Inconsistent,
        Self::Doubled,
        Self::Chain,
        Self::Dangling,
        Self::Incomplete,
        Self::Digest,
        Self::Rows,
        Self::DuplicateRows,
        Self::Mismatch,
        Self::Table,
    ];

    /// As reports and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Unreadable => "unreadable",
            Self::Unavailable => "unavailable",
            Self::Newer => "newer",
            Self::Inconsistent => "inconsistent",
            Self::Doubled => "doubled",
            Self::Chain => "chain",
            Self::Dangling => "dangling",
            Self::Incomplete => "incomplete",
            Self::Digest => "digest",
            Self::Rows => "rows",
            Self::DuplicateRows => "duplicate_rows",
            Self::Mismatch => "mismatch",
            Self::Table => "table",
        }
    }

    /// What to do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Empty => "check the path, the bucket and its prefix",
            Self::Unreadable | Self::Inconsistent | Self::Digest | Self::Rows => {
                "restore it from a copy; or, while all its sources are still on disk, remove it and run archive"
            }
            Self::Unavailable => "make it readable, and verify again",
            Self::Newer => "verify with the newest cc-archiver that writes to this archive",
            Self::Doubled => "run compact: it joins the two. Until then their snapshots are not pruned",
            Self::Chain => "run archive: what is still on disk is archived again; do not put the object back after that. Snapshots whose rows it held are kept",
            Self::Dangling => "restore the object that held it; or, while both sources are still on disk, remove this object and run archive",
            Self::Incomplete => "run archive while the source is still on disk; if a run is under way, verify again when it has ended",
            Self::DuplicateRows => "run compact: it joins them",
            Self::Table => "run cc-archiver table, and if that finds nothing to do, with --rebuild; if a run is under way, verify again when it has ended",
            Self::Mismatch => "the file was changed and kept its time, or the disk is failing: compare it with the archive before it is pruned",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What sort of thing.
    pub kind: Kind,
    /// The object that it concerns, or the partition.
    pub object: String,
    /// The source that it concerns, as ledgers call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is.
    pub reason: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    /// On an object.
    pub fn new(kind: Kind, object: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { kind, object: object.to_string(), source: None, reason: reason.into(), advice: kind.advice().into() }
    }

    /// On an object that cannot be used: of this kind if it is damaged, else by what keeps it from being read.
    pub fn unreadable(if_damaged: Kind, object: Unreadable) -> Self {
        let kind = match object.trouble {
            Trouble::Damaged => return Self::new(if_damaged, object.name, object.reason),
            Trouble::Newer => Kind::Newer,
            Trouble::Cold | Trouble::Denied | Trouble::Gone | Trouble::Withheld => Kind::Unavailable,
        };
        Self { advice: object.advice(), ..Self::new(kind, object.name, object.reason) }
    }

    /// Nothing is there of what was asked for, and something else is.
    pub fn nothing_there(object: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { advice: "ask for dates that are there: --date".into(), ..Self::new(Kind::Empty, object, reason) }
    }

    /// On a source in an object.
    pub fn on_source(kind: Kind, object: impl fmt::Display, source: &str, reason: impl Into<String>) -> Self {
        Self { source: Some(source.to_owned()), ..Self::new(kind, object, reason) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if let Some(source) = &self.source {
            write!(f, ", source {}", source.escape_debug())?;
        }
        write!(f, ": {}\n    {}", self.reason, self.advice)
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Partitions looked at.
    pub partitions: u64,
    /// Objects of ours.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows, by their footers.
    pub rows: u64,
    /// Ledger entries.
    pub sources: u64,
    /// Percent of the objects that were to be read in full; none if that was not asked for.
    pub read_data: u8,
    /// Objects whose bytes were checked against their digest.
    pub objects_read: u64,
    /// Bytes read for that.
    pub bytes_read: u64,
    /// Rows decoded.
    pub rows_decoded: u64,
    /// Local snapshots, if a tree was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Checkpoints>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is odd: objects that are not ours.
    pub warnings: Vec<String>,
    /// Wall time.
    pub seconds: f64,
    /// True if a signal ended the run.
    pub interrupted: bool,
}

/// Local snapshots, as the archive knows them.
#[derive(Debug, Default, Serialize)]
pub struct Checkpoints {
    /// Archived, on all dates.
    pub archived: u64,
    /// Not archived, and not to be: all of their dates are expired.
    pub below_the_floor: u64,
    /// Not archived, or not as they are now.
    pub not_archived: Vec<String>,
}

impl Report {
    /// Why nothing was read in full, where something was to be.
    pub fn nothing_read(&self) -> Option<String> {
        let days = 100_u64.checked_div(u64::from(self.read_data))?;
        (self.objects > 0 && self.objects_read == 0 && !self.interrupted).then(|| {
            let (objects, percent) = (thousands(self.objects), self.read_data);
            format!("none of {objects} objects: they are few, and today's sample of {percent} % has none of them; each is read once in {days} days, and --read-data reads all")
        })
    }

    /// How many findings there are of each kind.
    pub fn findings_by_kind(&self) -> Vec<(&'static str, u64)> {
        let count = |kind: Kind| self.findings.iter().filter(|found| found.kind == kind).count() as u64;
        Kind::ALL.into_iter().map(|kind| (kind.name(), count(kind))).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<17} {value}");
        if self.interrupted {
            line("interrupted", "by a signal; what follows was looked at".into())?;
        }
        line("partitions", thousands(self.partitions))?;
        line("objects", format!("{}, {}", thousands(self.objects), ByteSize(self.bytes)))?;
        line("rows", thousands(self.rows))?;
        line("sources", thousands(self.sources))?;
        if self.objects_read > 0 {
            line("read in full", format!("{} objects, {}", thousands(self.objects_read), ByteSize(self.bytes_read)))?;
        } else if let Some(why) = self.nothing_read() {
            line("read in full", why)?;
        }
        if self.rows_decoded > 0 {
            line("decoded", format!("{} rows", thousands(self.rows_decoded)))?;
        }
        line("time", format!("{:.1} s", self.seconds))?;
        if let Some(local) = &self.checkpoints {
            line("local snapshots", format!("{} archived, {} not", thousands(local.archived), thousands(local.not_archived.len() as u64)))?;
            if local.below_the_floor > 0 {
                writeln!(f, "  not archived any more, as all of their dates are expired: {}", thousands(local.below_the_floor))?;
            }
            local.not_archived.iter().try_for_each(|path| writeln!(f, "  not archived: {path}"))?;
        }
        list(f, "warnings", &self.warnings)?;
        writeln!(f, "{:<17} {}", "findings", thousands(self.findings.len() as u64))?;
        self.findings.iter().try_for_each(|finding| writeln!(f, "  {finding}"))
    }
}

/// What is wrong within one object, by its footer alone.
pub fn object(ledger: &ObjectLedger, metadata: &ParquetMetaData) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut equal = |what: &str, found: u64| {
        if found != ledger.rows {
            wrong.push(format!("its footer says {} rows, {what} {found}", ledger.rows));
        }
    };
    let rows = |count: i64| u64::try_from(count).unwrap_or(u64::MAX);
    equal("Parquet's own count is", rows(metadata.file_metadata().num_rows()));
    equal("its row groups have", metadata.row_groups().iter().map(|group| rows(group.num_rows())).sum());
    equal("its ledger", ledger.entries.iter().map(|entry| entry.written).sum());
    for (index, group) in metadata.row_groups().iter().enumerate() {
        if let Some(column) = group.columns().iter().find(|column| column.num_values() != group.num_rows()) {
            wrong.push(format!("column {} of row group {index} has {} values for {} rows", column.column_path(), column.num_values(), group.num_rows()));
        }
    }
    wrong.extend(ledger.entries.iter().filter_map(|e| entry(ledger.key.partition.date, e).map(|why| format!("source {}: {why}", e.path.escape_debug()))));
    wrong
}

fn entry(date: Date, entry: &Entry) -> Option<String> {
    let inside = |time: Option<i64>| time.is_none_or(|time| (date.start()..date.end()).contains(&time));
    if entry.rows != entry.written.saturating_add(entry.dropped) {
        Some(format!("{} rows, but {} written and {} dropped", entry.rows, entry.written, entry.dropped))
    } else if !entry.dates.contains(&date) {
        Some("its dates are without the object's own".into())
    } else if !inside(entry.first) || !inside(entry.last) {
        Some("its rows are of another date".into())
    } else {
        None
    }
}

/// What is wrong between the objects of one partition; `name_of` names them.
pub fn partition(holdings: &Holdings, name_of: impl Fn(&ObjectLedger) -> String) -> Vec<Finding> {
    let name_of_key = |key: &ObjectKey| holdings.objects().iter().find(|object| object.key == *key).map_or_else(|| key.to_string(), &name_of);
    let finding = |doubt: &Doubt| {
        let kind = if doubt.is_double() { Kind::Doubled } else { Kind::Chain };
        Finding::new(kind, name_of_key(&doubt.key), doubt.to_string())
    };
    let mut findings: Vec<Finding> = holdings.doubts().iter().map(finding).collect();
    let all = || holdings.objects().iter().flat_map(|object| object.entries.iter().map(move |entry| (object, entry)));
    // an object that cannot be read may be the one that is missed
    if holdings.unreadable.is_empty() {
        for (object, entry) in all() {
            let is_there = |digest: &&Digest| holdings.of_host(entry.host()).any(|(_, holder)| holder.blake3 == **digest);
            for digest in entry.held_by.iter().filter(|digest| !is_there(digest)) {
                let reason = format!("rows of it are held by a source with the digest {digest}, which is in no object of the partition");
                findings.push(Finding::on_source(Kind::Dangling, name_of(object), &entry.path, reason));
            }
        }
    }
    findings
}

type SourceId = (Box<str>, Digest);

/// Sources that feed several dates must be archived on all of them. Takes a cluster's partitions in the order of dates, and
/// remembers no more than the sources that cross into another date.
#[derive(Debug)]
pub struct Crossings<F> {
    /// Whether a date is looked at.
    in_range: F,
    /// For each later date, sources that must be there, and the dates that said so.
    expected: BTreeMap<Date, BTreeMap<SourceId, BTreeSet<Date>>>,
    /// Dates with objects that cannot be read.
    damaged: BTreeSet<Date>,
}

/// A source that is missing on `date`, though the ledgers of `by` name that date.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// The source.
    pub path: Box<str>,
    /// Where it should be.
    pub date: Date,
    /// Where it is.
    pub by: Date,
}

impl<F: Fn(Date) -> bool> Crossings<F> {
    /// Dates outside of `in_range` are not looked at, and nothing is missed there.
    pub fn new(in_range: F) -> Self {
        Self { in_range, expected: BTreeMap::new(), damaged: BTreeSet::new() }
    }

    /// Takes the next partition.
    pub fn take(&mut self, date: Date, holdings: &Holdings) -> Vec<Missing> {
        let later = self.expected.split_off(&date);
        let mut missing = missing_of(std::mem::replace(&mut self.expected, later));
        let mut expected = self.expected.remove(&date).unwrap_or_default();
        if !holdings.unreadable.is_empty() {
            self.damaged.insert(date);
        }
        for entry in holdings.objects().iter().flat_map(|object| object.entries.iter()) {
            let id = (entry.path.clone(), entry.blake3);
            let announced = expected.remove(&id).unwrap_or_default();
            for other in entry.dates.iter().copied().filter(|other| (self.in_range)(*other)) {
                if other < date && !announced.contains(&other) && !self.damaged.contains(&other) {
                    missing.push(Missing { path: entry.path.clone(), date: other, by: date });
                } else if other > date {
                    self.expected.entry(other).or_default().entry(id.clone()).or_default().insert(date);
                }
            }
        }
        if holdings.unreadable.is_empty() {
            missing.extend(missing_of(BTreeMap::from([(date, expected)])));
        }
        missing
    }

    /// After the last partition.
    pub fn finish(self) -> Vec<Missing> {
        missing_of(self.expected)
    }
}

fn missing_of(expected: BTreeMap<Date, BTreeMap<SourceId, BTreeSet<Date>>>) -> Vec<Missing> {
    let of_date = |(date, sources): (Date, BTreeMap<SourceId, BTreeSet<Date>>)| {
        sources.into_iter().filter_map(move |((path, _), by)| Some(Missing { path, date, by: by.into_iter().next()? }))
    };
    expected.into_iter().flat_map(of_date).collect()
}
