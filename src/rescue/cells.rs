//! Cells of a series in snapshots, and how far they are off from the samples in them.

use std::collections::BTreeMap;

use super::Sample;

/// So many pairs on either side of a sample say how far its cell is off.
const NEARBY: usize = 4;

/// Times and values of a series' cells that hold one.
#[derive(Debug, Default)]
pub struct Cells(Vec<(i64, f32)>);

/// Samples that stand in exactly one cell: for each grid of times, by the time of the sample, how far behind it its cell is, in s.
pub type Pairs = BTreeMap<i64, Vec<(i64, i64)>>;

impl Cells {
    /// Adds a cell; NaN is none. [`Self::settle`] must follow.
    pub fn add(&mut self, time: i64, value: f32) {
        if !value.is_nan() {
            self.0.push((time, value));
        }
    }

    /// All cells are there.
    pub fn settle(&mut self) {
        self.0.sort_by_key(|(time, _)| *time);
    }

    /// Those less than a step from `time`.
    fn around(&self, time: i64, step: i64) -> &[(i64, f32)] {
        let from = self.0.partition_point(|(cell, _)| *cell <= time.saturating_sub(step));
        let to = self.0.partition_point(|(cell, _)| *cell < time.saturating_add(step));
        &self.0[from..to.max(from)]
    }

    fn of<'a>(&'a self, sample: &'a Sample, step: i64) -> impl Iterator<Item = i64> + 'a {
        let is_same = |(_, value): &&(i64, f32)| value.to_bits() == sample.value.to_bits();
        self.around(sample.time, step).iter().filter(is_same).map(|(time, _)| *time)
    }

    /// True if one of the cells around a sample has its value.
    pub fn cover(&self, sample: &Sample, step: i64) -> bool {
        self.of(sample, step).next().is_some()
    }

    /// What samples and cells tell of how far cells are off.
    pub fn pairs(&self, samples: &[Sample], step: i64) -> Pairs {
        let mut pairs = Pairs::new();
        for sample in samples {
            let mut found = self.of(sample, step);
            if let (Some(cell), None) = (found.next(), found.next()) {
                pairs.entry(cell.rem_euclid(step)).or_default().push((sample.time, cell - sample.time));
            }
        }
        pairs.values_mut().for_each(|of_grid| of_grid.sort_unstable());
        pairs
    }

    /// True if the cell of a sample that is not covered holds the value of another one.
    pub fn shadow(&self, sample: &Sample, step: i64, pairs: &Pairs) -> bool {
        self.around(sample.time, step).iter().any(|(cell, _)| {
            let off = cell - sample.time;
            match pairs.get(&cell.rem_euclid(step)).and_then(|of_grid| offsets(of_grid, sample.time)) {
                _ if off == 0 => true,
                Some((least, most)) => {
                    let distance = |off: i64| (least - off).max(off - most).max(0);
                    distance(off) < distance(off - step).min(distance(off + step))
                }
                // no pair tells which of the two around it is its cell
                None if off < 0 => self.holds(cell + step),
                None => self.holds(cell - step),
            }
        })
    }

    fn holds(&self, time: i64) -> bool {
        self.0.binary_search_by_key(&time, |(cell, _)| *cell).is_ok()
    }
}

/// The least and the most that cells of a grid are off, by the pairs that are next to `time`.
fn offsets(of_grid: &[(i64, i64)], time: i64) -> Option<(i64, i64)> {
    let at = of_grid.partition_point(|(sample, _)| *sample < time);
    let near = &of_grid[at.saturating_sub(NEARBY)..(at + NEARBY).min(of_grid.len())];
    let offs = near.iter().map(|(_, off)| *off);
    Some((offs.clone().min()?, offs.max()?))
}
