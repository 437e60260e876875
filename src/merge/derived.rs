//! Series of one metric, scope and id that have several selectors, as rows that were imported have no path: their selector is derived from scope and id.
//! Where another selector has the instant, it is the same sample, and what the archive holds stays.

use super::{Merge, Part, Taken, Unread, taken};
use crate::data::SeriesKey;
use crate::names::Selector;

/// A series, and what the inputs have of it.
struct Member {
    key: SeriesKey,
    parts: Vec<Part>,
    /// True if its selector is the one that its scope and id give.
    is_derivable: bool,
}

impl Member {
    /// True if a part of it has the selector only as rows have no path.
    fn is_derived(&self, part: &Part) -> bool {
        self.is_derivable && part.derived
    }

    /// True if a part of it was a level of a snapshot.
    fn is_real(&self) -> bool {
        self.parts.iter().any(|part| !self.is_derived(part))
    }

    fn held(&self, derived: bool) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.held && self.is_derived(part) == derived)
    }

    fn has_new(&self, derived: bool) -> bool {
        self.parts.iter().any(|part| !part.held && self.is_derived(part) == derived)
    }
}

impl Merge {
    /// Merges the series of the metric, the scope and the id of a key, which is the next.
    pub(super) fn merge_alike(&mut self, first: &SeriesKey) -> Result<(), Unread> {
        let alike = |key: &SeriesKey| key.rank()[..3] == first.rank()[..3];
        let mut members = Vec::new();
        while let Some(key) = self.heads.peek().map(|head| head.0.0.clone()).filter(alike) {
            let parts = self.take_all(&key)?;
            let is_derivable = Selector::derived(&key.selector.scope, &key.selector.scope_id).is_some_and(|derived| derived == *key.selector);
            members.push(Member { key, parts, is_derivable });
        }
        // a level that stands below several parents, such as core0 of each socket: what was imported of it is rows of all of them
        let is_ambiguous = members.iter().filter(|member| member.is_real()).count() > 1;
        let held = |derived: bool| members.iter().enumerate().flat_map(move |(of, member)| member.held(derived).map(move |part| (of, part.clone())));
        let (of_snapshots, imported): (Vec<_>, Vec<_>) = (held(false).collect(), held(true).collect());
        let mut exact: Vec<Taken> = Vec::new();
        if is_ambiguous {
            let mut imported: Vec<Part> = imported.iter().map(|(_, part)| part.clone()).collect();
            self.load(&mut imported, false)?;
            exact = taken(imported.iter());
        }
        for (index, mut member) in members.into_iter().enumerate() {
            let others = match (member.has_new(true), member.has_new(false)) {
                (true, _) => &of_snapshots[..],
                // where it is ambiguous each row stands for one of them: the one that has its value
                (_, true) if !is_ambiguous => &imported[..],
                _ => &[],
            };
            member.parts.extend(others.iter().filter(|(of, _)| *of != index).map(|(_, part)| part.clone()));
            let by_value = if member.is_derivable { &mut [] } else { &mut exact[..] };
            self.merge(member.key, member.parts, by_value)?;
            exact.iter_mut().filter(|row| row.cell.is_some()).for_each(|row| row.is_spent = true);
        }
        Ok(())
    }
}
