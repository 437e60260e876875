//! Cells of a series in snapshots, and how far they are off from the samples in them.

use std::collections::BTreeMap;

use super::Sample;

/// So many pairs on either side of a sample say how far its cell is off.
const NEARBY: usize = 4;

/// A series' cells that hold a value.
#[derive(Debug, Default)]
pub struct Cells {
    cells: Vec<Cell>,
    /// The largest step of one.
    most: i64,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    time: i64,
    value: f32,
    /// The frequency of its snapshot in s: no sample in it lies further away.
    step: i64,
}

/// Samples that stand in exactly one cell: for each grid of times, by the time of the sample, how far behind it its cell is, in s.
pub type Pairs = BTreeMap<(i64, i64), Vec<(i64, i64)>>;

impl Cells {
    /// Adds a cell; NaN is none. [`Self::settle`] must follow.
    pub fn add(&mut self, time: i64, value: f32, step: i64) {
        if !value.is_nan() {
            self.cells.push(Cell { time, value, step });
            self.most = self.most.max(step);
        }
    }

    /// All cells are there.
    pub fn settle(&mut self) {
        self.cells.sort_by_key(|cell| cell.time);
    }

    /// Those less than a step of theirs from `time`.
    fn around(&self, time: i64) -> impl Iterator<Item = &Cell> {
        let from = self.cells.partition_point(|cell| cell.time <= time.saturating_sub(self.most));
        let to = self.cells.partition_point(|cell| cell.time < time.saturating_add(self.most));
        self.cells[from..to.max(from)].iter().filter(move |cell| (cell.time - time).abs() < cell.step)
    }

    fn of<'a>(&'a self, sample: &'a Sample) -> impl Iterator<Item = &'a Cell> {
        self.around(sample.time).filter(|cell| cell.value.to_bits() == sample.value.to_bits())
    }

    /// True if one of the cells around a sample has its value.
    pub fn cover(&self, sample: &Sample) -> bool {
        self.of(sample).next().is_some()
    }

    /// What samples and cells tell of how far cells are off.
    pub fn pairs(&self, samples: &[Sample]) -> Pairs {
        let mut pairs = Pairs::new();
        for sample in samples {
            let mut found = self.of(sample);
            if let (Some(cell), None) = (found.next(), found.next()) {
                pairs.entry(cell.grid()).or_default().push((sample.time, cell.time - sample.time));
            }
        }
        pairs.values_mut().for_each(|of_grid| of_grid.sort_unstable());
        pairs
    }

    /// True if the cell of a sample that is not covered holds the value of another one.
    pub fn shadow(&self, sample: &Sample, pairs: &Pairs) -> bool {
        self.around(sample.time).any(|cell| {
            let (off, step) = (cell.time - sample.time, cell.step);
            match pairs.get(&cell.grid()).and_then(|of_grid| offsets(of_grid, sample.time)) {
                _ if off == 0 => true,
                Some((least, most)) => {
                    let distance = |off: i64| (least - off).max(off - most).max(0);
                    distance(off) < distance(off - step).min(distance(off + step))
                }
                // no pair tells which of the two around it is its cell
                None if off < 0 => self.holds(cell.time + step),
                None => self.holds(cell.time - step),
            }
        })
    }

    fn holds(&self, time: i64) -> bool {
        self.cells.binary_search_by_key(&time, |cell| cell.time).is_ok()
    }
}

impl Cell {
    /// The grid of times that it stands on: its step, and the rest of its time.
    fn grid(&self) -> (i64, i64) {
        (self.step, self.time.rem_euclid(self.step))
    }
}

/// The least and the most that cells of a grid are off, by the pairs that are next to `time`.
fn offsets(of_grid: &[(i64, i64)], time: i64) -> Option<(i64, i64)> {
    let at = of_grid.partition_point(|(sample, _)| *sample < time);
    let near = &of_grid[at.saturating_sub(NEARBY)..(at + NEARBY).min(of_grid.len())];
    let offs = near.iter().map(|(_, off)| *off);
    Some((offs.clone().min()?, offs.max()?))
}
