//! The floor of an archive: dates before it are not kept any more.
//!
//! It is raised by marks, objects without rows whose names say all: `_cc-archiver/floor/<date>` for all clusters, and
//! `_cc-archiver/floor/cluster=<cluster>/<date>` for one. The highest counts. So it is raised by a creation, as objects are made, and never by a
//! replacement: of two runs that raise it at once neither can take the other's back, also where a store ignores conditions. Readers pass over the folder.

use std::collections::BTreeMap;
use std::fmt;

use object_store::path::Path;

use crate::names::{Cluster, Date};
use crate::partition::{self, Partition};

/// The folder of the marks.
pub const FOLDER: &str = "_cc-archiver/floor";

/// From which date on a cluster is kept. By default from the first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Floor(Option<Date>);

impl Floor {
    /// True if a date is kept.
    pub fn keeps(self, date: Date) -> bool {
        Some(date) >= self.0
    }

    /// The higher one of this floor and a date.
    pub fn at_least(self, date: Date) -> Self {
        self.max(Self(Some(date)))
    }

    /// The first date that is kept, of those from this one on.
    pub fn first_from(self, date: Date) -> Date {
        self.0.map_or(date, |floor| floor.max(date))
    }

    /// The first date that is kept; none if all are.
    pub fn date(self) -> Option<Date> {
        self.0
    }
}

/// One raise of the floor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Of this cluster; none: of all that there are and will be.
    pub cluster: Option<Cluster>,
    /// The first date that is kept.
    pub date: Date,
}

impl Mark {
    /// Its key.
    pub fn path(&self) -> Path {
        partition::parsed(self.to_string())
    }

    /// Reads what [`Self::path`] wrote; None for any other key.
    pub fn parse(path: &Path) -> Option<Self> {
        let name = path.as_ref().strip_prefix(FOLDER)?.strip_prefix('/')?;
        let (folder, date) = name.rsplit_once('/').map_or((None, name), |(folder, date)| (Some(folder), date));
        let cluster = match folder {
            Some(folder) => Some(partition::cluster_of(folder)?),
            None => None,
        };
        Some(Self { cluster, date: Date::parse(date)? })
    }

    /// What stands in the object, for people who look.
    pub fn text(&self) -> String {
        format!("{{\"kept_from\": \"{}\"}}\n", self.date)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FOLDER}/")?;
        self.cluster.as_ref().map_or(Ok(()), |cluster| write!(f, "{}/", partition::cluster_path(cluster)))?;
        write!(f, "{}", self.date)
    }
}

/// The floors of an archive's clusters, as a listing shows their marks.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Floors {
    all: Floor,
    clusters: BTreeMap<Cluster, Floor>,
    marks: Vec<Mark>,
}

impl Floors {
    /// Of the keys in the folder of the marks. Others than marks are passed over.
    pub fn listed(keys: impl IntoIterator<Item = Path>) -> Self {
        let mut floors = Self::default();
        for mark in keys.into_iter().filter_map(|key| Mark::parse(&key)) {
            let floor = match &mark.cluster {
                Some(cluster) => floors.clusters.entry(cluster.clone()).or_default(),
                None => &mut floors.all,
            };
            *floor = (*floor).max(Floor(Some(mark.date)));
            floors.marks.push(mark);
        }
        floors
    }

    /// The floor of a cluster.
    pub fn of(&self, cluster: &Cluster) -> Floor {
        self.clusters.get(cluster).copied().unwrap_or_default().max(self.all)
    }

    /// True if a partition is kept.
    pub fn keeps(&self, partition: &Partition) -> bool {
        self.of(&partition.cluster).keeps(partition.date)
    }

    /// True if a mark would raise nothing.
    pub fn has(&self, mark: &Mark) -> bool {
        mark.cluster.as_ref().map_or(self.all, |cluster| self.of(cluster)) >= Floor(Some(mark.date))
    }

    /// What is kept, for people: one line of all clusters, and one of each that has a floor of its own.
    pub fn lines(&self) -> Vec<String> {
        let all = self.all.date().map(|date| format!("kept from {date} on: what is older was expired"));
        let own = self.clusters.iter().filter(|(_, floor)| **floor > self.all);
        let own =
            own.filter_map(|(cluster, floor)| Some(format!("{}: kept from {} on: what is older was expired", cluster.as_str().escape_debug(), floor.date()?)));
        all.into_iter().chain(own).collect()
    }

    /// Marks that say no more than others.
    pub fn superseded(&self) -> impl Iterator<Item = &Mark> {
        let is_over = |Mark { cluster, date }: &&Mark| {
            let floor = Floor(Some(*date));
            self.all > floor || cluster.as_ref().is_some_and(|cluster| self.all == floor || self.of(cluster) > floor)
        };
        self.marks.iter().filter(is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> Cluster {
        Cluster::new(name).expect("a name")
    }

    fn date(text: &str) -> Date {
        Date::parse(text).expect("a date")
    }

    fn mark(name: Option<&str>, text: &str) -> Mark {
        Mark { cluster: name.map(cluster), date: date(text) }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nothing_else_is_one() {
        for mark in [mark(None, "2026-03-01"), mark(Some("fritz"), "2026-03-01"), mark(Some("a b=%ü"), "1970-01-01")] {
            assert_eq!(Mark::parse(&mark.path()), Some(mark));
        }
        assert_eq!(mark(Some("a b"), "2026-03-01").to_string(), "_cc-archiver/floor/cluster=a%20b/2026-03-01");
        for other in [
            "_cc-archiver/floor",
            "_cc-archiver/floor/x",
            "_cc-archiver/floor/fritz/2026-03-01",
            "floor/2026-03-01",
            "_cc-archiver/floor/2026-3-1",
            "_cc-archiver/floor/cluster=a%68b/2026-03-01",
        ] {
            assert_eq!(Mark::parse(&Path::parse(other).expect("a key")), None, "{other}");
        }
    }

    #[test]
    fn the_highest_mark_of_a_cluster_or_of_all_counts() {
        let marks = [mark(None, "2026-03-01"), mark(Some("a"), "2026-04-01"), mark(Some("a"), "2026-02-01"), mark(Some("b"), "2026-01-01")];
        let floors = Floors::listed(marks.iter().map(Mark::path));
        let floor = |name| floors.of(&cluster(name)).date().map(|date| date.to_string());
        assert_eq!(["a", "b", "c"].map(floor), ["2026-04-01", "2026-03-01", "2026-03-01"].map(|date| Some(date.to_owned())));
        assert_eq!(floors.superseded().cloned().collect::<Vec<_>>(), marks[2..]);
        assert!(floors.has(&mark(Some("b"), "2026-03-01")) && !floors.has(&mark(None, "2026-04-01")) && floors.has(&mark(Some("a"), "2026-03-15")));
    }

    #[test]
    fn a_floor_keeps_its_date_and_those_after_it() {
        let floor = Floors::listed([mark(None, "2026-03-01").path()]).of(&cluster("a"));
        assert_eq!(["2026-02-28", "2026-03-01", "2026-03-02"].map(|day| floor.keeps(date(day))), [false, true, true]);
        assert_eq!(["2026-02-28", "2026-03-02"].map(|day| floor.first_from(date(day))), ["2026-03-01", "2026-03-02"].map(date));
        assert!(Floor::default().keeps(date("1970-01-01")));
    }
}
