//! What a file of the input or of the output holds, for people and programs: facts of series, of objects and their ledgers, and samples one by one.
//!
//! What is shown here was read by somebody else. Nothing is judged that a decoder has not judged.

use std::fmt;

use serde::Serialize;

mod object;
mod samples;
mod series;
mod snapshot;
mod text;
mod tree;

pub use object::{ObjectFacts, ParquetFacts, can_match};
pub use samples::{Number, Sample, Writer};
pub use series::{Builder, SeriesFacts, Shown};
pub use snapshot::{LogFacts, Of, SnapshotFacts};

use text::bytes;

/// One file, and what it holds.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// As it was named.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// What it holds.
    #[serde(flatten)]
    pub holds: Holds,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Where it cannot be read.
    #[serde(flatten)]
    pub damage: Damages,
}

/// What a file holds.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Holds {
    /// Series on grids of time.
    Snapshot(SnapshotFacts),
    /// Samples since the last snapshot.
    Log(LogFacts),
    /// An object of an archive.
    Object(Box<ObjectFacts>),
    /// Parquet of another program.
    Parquet(ParquetFacts),
    /// What an archive was made with.
    Archive {
        /// Sequences of objects in each partition.
        buckets: u32,
        /// Whether objects have a column `cluster`.
        cluster_column: bool,
    },
    /// Nothing of it could be read.
    Unknown,
    /// Its samples were written, so many.
    Samples {
        /// How many.
        count: u64,
    },
}

/// A place at which a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Byte offset of the first byte that is not shown; in what was decompressed, where the file is compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Byte offset from which on it can be read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// What is wrong there.
    pub reason: String,
}

/// All of them, or the first ones.
#[derive(Debug, Default, Serialize)]
pub struct Damages {
    /// In the order of the file.
    pub damage: Vec<Damage>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_none")]
    pub more_damage: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Damages {
    /// So many are told one by one.
    const MOST: usize = 1_000;

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.damage.is_empty()
    }

    /// Adds one.
    pub fn add(&mut self, offset: Option<u64>, until: Option<u64>, reason: impl Into<String>) {
        if self.damage.len() < Self::MOST {
            self.damage.push(Damage { offset, until, reason: reason.into() });
        } else {
            self.more_damage += 1;
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.offset, self.until) {
            (Some(from), Some(to)) => write!(f, "bytes {from} to {to} ({}): ", bytes(to - from))?,
            (Some(at), None) => write!(f, "byte {at}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.reason)
    }
}

impl fmt::Display for Damages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.damage.iter().try_for_each(|damage| writeln!(f, "damaged   {damage}"))?;
        if self.more_damage > 0 { writeln!(f, "damaged   at {} more places", self.more_damage) } else { Ok(()) }
    }
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, size, holds, notes, damage } = self;
        let what = match holds {
            Holds::Snapshot(facts) => facts.what(),
            Holds::Log(_) => "a write-ahead log".into(),
            Holds::Object(_) => "an object of an archive".into(),
            Holds::Parquet(_) => "Parquet of another program".into(),
            Holds::Archive { .. } => "what an archive was made with".into(),
            Holds::Unknown => "cannot be read".into(),
            Holds::Samples { .. } => "samples".into(),
        };
        writeln!(f, "{path}: {what}, {}", bytes(*size))?;
        match holds {
            Holds::Snapshot(facts) => facts.fmt(f)?,
            Holds::Log(facts) => facts.fmt(f)?,
            Holds::Object(facts) => facts.fmt(f)?,
            Holds::Parquet(facts) => facts.fmt(f)?,
            Holds::Archive { buckets, cluster_column } => {
                writeln!(f, "buckets   {buckets}")?;
                writeln!(f, "column    cluster is {}", if *cluster_column { "in the objects, too" } else { "in their names only" })?;
            }
            Holds::Unknown | Holds::Samples { .. } => {}
        }
        notes.iter().try_for_each(|note| writeln!(f, "note      {note}"))?;
        damage.fmt(f)
    }
}
