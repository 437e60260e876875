//! Late and moved snapshots: what contradicts the archive, and what is archived under another name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::thousands;
use crate::ledger::{Entry, host_of};
use crate::names::Date;

/// Values of a host where the archive has others. The archived ones stay.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Contradiction {
    /// `<cluster>/<host>`.
    pub host: String,
    /// Snapshots that have such values.
    pub snapshots: BTreeSet<String>,
    /// How many values of each date.
    pub dates: BTreeMap<Date, u64>,
}

impl Contradiction {
    /// Notes what the ledger says of sources of one date.
    pub fn note(all: &mut Vec<Self>, cluster: &str, date: Date, entries: impl IntoIterator<Item = (Box<str>, u64)>) {
        for (path, values) in entries {
            let host = format!("{cluster}/{}", host_of(&path));
            let at = all.binary_search_by(|one| one.host.cmp(&host)).unwrap_or_else(|at| {
                all.insert(at, Self { host, ..Self::default() });
                at
            });
            all[at].snapshots.insert(path.rsplit('/').next().unwrap_or_default().to_owned());
            *all[at].dates.entry(date).or_default() += values;
        }
    }

    /// Sources of an object that contradict the archive: path, and how many values.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Box<[(Box<str>, u64)]> {
        entries.into_iter().filter(|entry| entry.conflicting > 0).map(|entry| (entry.path.clone(), entry.conflicting)).collect()
    }
}

/// The first of several, and how many more there are.
fn first_of<T: fmt::Display>(all: impl ExactSizeIterator<Item = T>) -> String {
    let more = all.len().saturating_sub(1);
    let first = all.into_iter().next().map_or_else(String::new, |first| first.to_string());
    if more == 0 { first } else { format!("{first} and {} more", thousands(more as u64)) }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = thousands(self.dates.values().sum());
        let (snapshots, dates) = (first_of(self.snapshots.iter().map(|name| name.escape_debug())), first_of(self.dates.keys()));
        write!(f, "{}: {values} values differ, of {snapshots}, on {dates}", self.host.escape_debug())
    }
}

/// New snapshots of a host that are archived as those of another host of the cluster, where they are not on disk any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MovedHost {
    /// The host's directory.
    pub host: String,
    /// The other host.
    pub archived_as: String,
    /// How many snapshots.
    pub snapshots: u64,
    /// True if they are left as they are, and false if they are archived.
    pub left: bool,
}

impl fmt::Display for MovedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, archived_as, snapshots, left } = self;
        let what = if *left {
            "left on disk. If they are of another host with the same bytes, archive them with --moved archive; if it was renamed, move them out of the tree"
        } else {
            "archived under this name too. If the host was renamed, --moved leave would not do so"
        };
        write!(f, "{host}: {} new snapshots are archived as those of {}: {what}", thousands(*snapshots), archived_as.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_one_line_a_host() {
        let mut all = Vec::new();
        let (one, two) = (Date::of(0).expect("a date"), Date::of(86_400).expect("a date"));
        Contradiction::note(&mut all, "c", one, [("n2/0.bin".into(), 3), ("n1/0.bin".into(), 1_000), ("n1/5.bin".into(), 1)]);
        Contradiction::note(&mut all, "c", two, [("n1/5.bin".into(), 1)]);
        let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["c/n1: 1,002 values differ, of 0.bin and 1 more, on 1970-01-01 and 1 more", "c/n2: 3 values differ, of 0.bin, on 1970-01-01"]);
    }
}
