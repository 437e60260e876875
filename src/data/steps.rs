//! How far apart samples are that come without a frequency.

use std::collections::BTreeMap;

/// Steps between the samples of a series that comes without a frequency.
#[derive(Debug, Default)]
pub struct Steps {
    newest: Option<i64>,
    counts: BTreeMap<i64, u64>,
}

impl Steps {
    /// So many different steps are counted; of jitter there are not more.
    const MOST: usize = 64;

    /// The next sample.
    pub fn add(&mut self, time: i64) {
        let step = self.newest.and_then(|newest| time.checked_sub(newest)).filter(|step| *step > 0);
        self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
        if let Some(step) = step.filter(|step| self.counts.contains_key(step) || self.counts.len() < Self::MOST) {
            *self.counts.entry(step).or_default() += 1;
        }
    }

    /// The most common one, of equals the shortest.
    pub fn most_common(&self) -> Option<i64> {
        self.counts.iter().rev().max_by_key(|(_, count)| **count).map(|(step, _)| *step)
    }
}
