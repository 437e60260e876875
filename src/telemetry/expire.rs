//! What a run of `expire` came to.

use std::fmt;

use bytesize::ByteSize;
use serde::Serialize;

use super::{list, thousands};
use crate::error::SetAside;
use crate::names::Date;

/// What a run did.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Expiry {
    /// The first date that is kept.
    pub kept_from: Option<Date>,
    /// Clusters that this is for; empty: all, and those that will be.
    pub clusters: Vec<String>,
    /// Dates that were, or would be, deleted.
    pub dates: Vec<ExpiredDate>,
    /// Objects of them.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Rows of these, as far as their footers can be read.
    pub rows: u64,
    /// Objects whose footers cannot be read.
    pub objects_without_footer: u64,
    /// Objects that are gone. None in a dry run.
    pub deleted: u64,
    /// Snapshots that are not archived any more, if a tree was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_disk: Option<OnDisk>,
    /// What is odd about the time by which ages count, if anything is.
    pub clock: Vec<String>,
    /// What could not be deleted, or is not ours to delete.
    pub set_aside: Vec<SetAside>,
    /// Nothing was touched.
    pub dry_run: bool,
    /// Wall time.
    pub seconds: f64,
    /// True if a signal ended the run.
    pub interrupted: bool,
}

/// A date that goes.
#[derive(Debug, Default, Clone, Serialize)]
pub struct ExpiredDate {
    /// Its folder.
    pub partition: String,
    /// Its objects.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows of them, as far as their footers can be read.
    pub rows: u64,
}

/// Snapshots on disk all of whose dates are not kept.
#[derive(Debug, Default, Clone, Serialize)]
pub struct OnDisk {
    /// How many.
    pub snapshots: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Where they are.
    pub paths: Vec<Box<str>>,
}

impl Expiry {
    /// True if nothing is left that a person should look at.
    pub fn is_complete(&self) -> bool {
        self.set_aside.is_empty()
    }

    /// Adds a date that goes; `without_footer`: how many of its objects cannot be read.
    pub fn add(&mut self, date: ExpiredDate, without_footer: u64) {
        self.objects += date.objects;
        self.bytes += date.bytes;
        self.rows += date.rows;
        self.objects_without_footer += without_footer;
        self.dates.push(date);
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<17} {value}");
        if self.interrupted {
            line("interrupted", "by a signal; the next run goes on from there".into())?;
        }
        if let Some(date) = self.kept_from {
            let of = if self.clusters.is_empty() { "all clusters".into() } else { self.clusters.join(", ") };
            line("kept", format!("from {date} on, of {of}"))?;
        }
        let name = if self.dry_run { "would be deleted" } else { "expired" };
        let counts = [self.dates.len() as u64, self.objects, self.rows].map(thousands);
        line(name, format!("{} dates: {} objects, {}, {} rows", counts[0], counts[1], ByteSize(self.bytes), counts[2]))?;
        if self.objects_without_footer > 0 {
            line("rows", format!("of {} objects are not known: their footers cannot be read", thousands(self.objects_without_footer)))?;
        }
        if !self.dry_run {
            line("deleted", format!("{} objects", thousands(self.deleted)))?;
        }
        if let Some(OnDisk { snapshots, bytes, .. }) = &self.on_disk {
            let said = if *snapshots == 0 { String::new() } else { format!(", {}; archive passes over them, and prune leaves them", ByteSize(*bytes)) };
            line("on disk", format!("{} snapshots have only dates that are not kept{said}", thousands(*snapshots)))?;
        }
        self.clock.iter().try_for_each(|said| line("clock", said.clone()))?;
        line("time", format!("{:.1} s", self.seconds))?;
        for ExpiredDate { partition, objects, bytes, rows } in &self.dates {
            writeln!(f, "  {partition}: {} objects, {}, {} rows", thousands(*objects), ByteSize(*bytes), thousands(*rows))?;
        }
        self.on_disk.iter().flat_map(|found| &found.paths).try_for_each(|path| writeln!(f, "  {path}"))?;
        list(f, "set aside", &self.set_aside)?;
        if self.dry_run {
            writeln!(f, "dry run: nothing was deleted")?;
        }
        Ok(())
    }
}
