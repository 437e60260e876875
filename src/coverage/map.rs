//! The map in the terminal: a line for each host, a character for each hour or for several. It can be read without colours.

use std::fmt;

use super::{Cluster, HOURS, Look, cell};
use crate::names::Date;

/// Lines of hosts, if not all are asked for.
const LINES: usize = 30;
/// Hours that a character can stand for.
const STEPS: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 24, 48, 168];
/// What the characters mean.
pub const LEGEND: &str = "█ all  ▓ 60 %  ▒ 30 %  ░ less  x nothing  · nobody has  o on disk  p partly archived  ? not known";

/// What a character stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    All,
    Most,
    Some,
    Few,
    Nothing,
    Nobody,
    Waiting,
    Partly,
    Unknown,
}

impl Mark {
    fn character(self) -> char {
        match self {
            Self::All => '█',
            Self::Most => '▓',
            Self::Some => '▒',
            Self::Few => '░',
            Self::Nothing => 'x',
            Self::Nobody => '·',
            Self::Waiting => 'o',
            Self::Partly => 'p',
            Self::Unknown => '?',
        }
    }

    /// Number of an ANSI colour, of those that are told apart without red and green, too.
    fn colour(self) -> u8 {
        match self {
            Self::All | Self::Most | Self::Some | Self::Few => 34,
            Self::Nothing => 31,
            Self::Nobody => 90,
            Self::Waiting | Self::Partly => 33,
            Self::Unknown => 35,
        }
    }

    /// Of the cells of some hours of a host, and whether others have data in them. One hour that is missing shows, however many there are.
    fn of(cells: &[u8], busy: &[bool]) -> Self {
        let has = |what: u8| cells.contains(&what);
        let data = cells.iter().any(|cell| cell::has_data(*cell));
        if has(cell::UNKNOWN) {
            return Self::Unknown;
        }
        if has(cell::PARTLY) || (has(cell::WAITING) && data) {
            return Self::Partly;
        }
        if has(cell::WAITING) {
            return Self::Waiting;
        }
        let expected = || cells.iter().zip(busy).filter(|(cell, busy)| **busy || **cell > 0).map(|(cell, _)| *cell);
        let count = expected().count();
        if count == 0 {
            return Self::Nobody;
        }
        if !data {
            return Self::Nothing;
        }
        let mean = expected().map(usize::from).sum::<usize>() / count;
        match mean {
            90.. if expected().all(|cell| cell >= cell::THIN) => Self::All,
            60.. => Self::Most,
            30.. => Self::Some,
            _ => Self::Few,
        }
    }
}

/// A cluster's map.
pub struct Map<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// How it is shown.
    pub look: Look,
}

impl Map<'_> {
    fn hours(&self) -> usize {
        self.cluster.dates.len() * HOURS
    }

    fn cells(&self, host: usize) -> &[u8] {
        &self.cluster.cells.0[host * self.hours()..][..self.hours()]
    }

    /// How much of a host is missing, in hours.
    fn missing(&self, host: usize) -> f32 {
        let of_cell = |(cell, busy): (&u8, &bool)| match *cell {
            cell::NOTHING => f32::from(u8::from(*busy)),
            cell::THIN..=cell::ALL => 0.0,
            share if cell::has_data(share) => 1.0 - f32::from(share) / 100.0,
            _ => 1.0,
        };
        self.cells(host).iter().zip(&self.cluster.summary.busy).map(of_cell).sum()
    }

    /// Indices of the hosts that have lines, and how many others miss something.
    fn lines(&self) -> (Vec<usize>, usize) {
        let hosts = 0..self.cluster.hosts.len();
        if self.look.all || hosts.len() <= LINES {
            return (hosts.collect(), 0);
        }
        let mut worst: Vec<(usize, f32)> = hosts.map(|host| (host, self.missing(host))).filter(|(_, missing)| *missing > 0.0).collect();
        // a stable sort: hosts that miss as much stay in the order of their names
        worst.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let left = worst.len().saturating_sub(LINES);
        (worst.into_iter().take(LINES).map(|(host, _)| host).collect(), left)
    }

    fn line(&self, f: &mut fmt::Formatter<'_>, name: &str, width: usize, marks: &[Mark]) -> fmt::Result {
        write!(f, "  {name:<width$} ")?;
        for run in marks.chunk_by(|a, b| a.colour() == b.colour()) {
            let text: String = run.iter().map(|mark| mark.character()).collect();
            if self.look.colours { write!(f, "\x1b[{}m{text}\x1b[0m", run[0].colour())? } else { f.write_str(&text)? }
        }
        writeln!(f)
    }

    fn marks(&self, cells: &[u8], step: usize) -> Vec<Mark> {
        cells.chunks(step).zip(self.cluster.summary.busy.chunks(step)).map(|(cells, busy)| Mark::of(cells, busy)).collect()
    }

    /// All hosts in one line: the mean of their percentages.
    fn mean(&self) -> Vec<u8> {
        let hosts: Vec<&[u8]> =
            (0..self.cluster.hosts.len()).map(|host| self.cells(host)).filter(|cells| cells.iter().any(|cell| cell::has_data(*cell))).collect();
        let share = |hour: usize| {
            let sum: usize = hosts.iter().map(|cells| cells[hour]).filter(|cell| cell::has_data(*cell)).map(usize::from).sum();
            sum.div_ceil(hosts.len().max(1)).min(usize::from(cell::ALL)) as u8
        };
        (0..self.hours()).map(share).collect()
    }
}

impl fmt::Display for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hosts, left) = self.lines();
        let names: Vec<String> = hosts.iter().map(|host| self.cluster.hosts[*host].escape_debug().to_string()).collect();
        let all = format!("all {}", self.cluster.hosts.len());
        let width = names.iter().chain([&all]).map(|name| name.chars().count()).max().unwrap_or(0);
        let room = self.look.width.saturating_sub(width + 4).max(HOURS);
        let step = STEPS.into_iter().find(|step| self.hours().div_ceil(*step) <= room).unwrap_or(STEPS[STEPS.len() - 1]);
        writeln!(f, "  {:<width$} {}", "", scale(&self.cluster.dates, step))?;
        self.line(f, &all, width, &self.marks(&self.mean(), step))?;
        for (host, name) in hosts.iter().zip(&names) {
            self.line(f, name, width, &self.marks(self.cells(*host), step))?;
        }
        match left {
            0 if hosts.is_empty() => writeln!(f, "  no host misses anything; --all shows them")?,
            0 => {}
            1 => writeln!(f, "  and 1 other that misses something; --all shows it")?,
            _ => writeln!(f, "  and {left} others that miss something; --all shows them")?,
        }
        let hour = if step == 1 {
            "an hour".into()
        } else if step % HOURS == 0 {
            format!("{} d", step / HOURS)
        } else {
            format!("{step} h")
        };
        writeln!(f, "  a character is {hour}: {LEGEND}")
    }
}

/// Dates above the columns in which they begin, as many as there is room for: the first one whole, others as month and day.
fn scale(dates: &[Date], step: usize) -> String {
    let mut text = String::new();
    for (index, date) in dates.iter().enumerate() {
        let column = index * HOURS / step;
        let name = date.to_string();
        let name = if index == 0 { name.as_str() } else { &name[5..] };
        if index == 0 || column > text.chars().count() {
            text.extend(std::iter::repeat_n(' ', column - text.chars().count()));
            text.push_str(name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_that_is_missing_shows_however_many_hours_a_character_stands_for() {
        let busy = [true; 24];
        let mut cells = [100; 24];
        assert_eq!(Mark::of(&cells, &busy), Mark::All);
        cells[7] = 0;
        assert_eq!(Mark::of(&cells, &busy), Mark::Most);
        assert_eq!(Mark::of(&[0; 24], &busy), Mark::Nothing);
        assert_eq!(Mark::of(&[0; 24], &[false; 24]), Mark::Nobody);
        assert_eq!(Mark::of(&[100, 250], &busy), Mark::Partly);
        assert_eq!(Mark::of(&[0, 250], &busy), Mark::Waiting);
        assert_eq!(Mark::of(&[255, 250], &busy), Mark::Unknown);
        assert_eq!(Mark::of(&[10, 0], &busy), Mark::Few);
    }

    #[test]
    fn dates_stand_above_the_columns_in_which_they_begin() {
        let first = Date::parse("2026-02-27").expect("a date");
        let dates: Vec<Date> = first.through(Date::parse("2026-03-02").expect("a date")).collect();
        assert_eq!(scale(&dates, 2), "2026-02-27  02-28       03-01       03-02");
        assert_eq!(scale(&dates, 24), "2026-02-27");
    }
}
