//! The levels of a checkpoint, of series that are sorted by the names of their levels.

use super::Entry;

/// A level: its series, and the levels below.
#[derive(Clone, Copy)]
pub struct Level<'a> {
    entries: &'a [Entry],
    depth: usize,
}

impl<'a> Level<'a> {
    /// The host, of all its series.
    pub fn host(entries: &'a [Entry]) -> Self {
        Self { entries, depth: 0 }
    }

    fn split(self) -> (&'a [Entry], &'a [Entry]) {
        self.entries.split_at(self.entries.partition_point(|entry| entry.level.len() == self.depth))
    }

    /// The series of the level itself.
    pub fn metrics(self) -> &'a [Entry] {
        self.split().0
    }

    /// The levels below, each with its name.
    pub fn children(self) -> impl Iterator<Item = (&'a str, Level<'a>)> + Clone {
        let depth = self.depth;
        let of_one_child = self.split().1.chunk_by(move |a, b| a.level[depth] == b.level[depth]);
        of_one_child.map(move |entries| (&*entries[0].level[depth], Level { entries, depth: depth + 1 }))
    }
}
