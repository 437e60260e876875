//! What a host has, against its neighbours.
//!
//! A host's usual number of samples an hour is the median of its hours with data. Where most hosts have the same, it is no less than that. So nodes of
//! several types can be in a cluster. A cell is the host's part of its usual number, against the median part of all hosts with data in that hour: what
//! all have less of, as in the hour that is not over, is not missed of one.

use super::{MetricShare, cell};

/// Numbers are the same if they differ by less than this part.
const SAME: f32 = 0.05;
/// Most hosts: this part of them.
const MOST: f32 = 0.75;

/// The value in the middle; none if there are none.
fn median<T: Copy + PartialOrd>(values: &mut [T]) -> Option<T> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, |a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    Some(*median)
}

/// The usual number of rows an hour of each host; 0 if it has none.
fn usual(hosts: &[&[f32]]) -> Vec<f32> {
    let own = |hours: &&[f32]| median(&mut hours.iter().copied().filter(|rows| *rows > 0.0).collect::<Vec<_>>()).unwrap_or(0.0);
    let mut usual: Vec<f32> = hosts.iter().map(own).collect();
    let mut known: Vec<f32> = usual.iter().copied().filter(|rows| *rows > 0.0).collect();
    if let Some(middle) = median(&mut known) {
        let same = known.iter().filter(|rows| (*rows - middle).abs() <= SAME * middle).count();
        if same as f32 >= MOST * known.len() as f32 {
            usual.iter_mut().filter(|rows| **rows > 0.0).for_each(|rows| *rows = rows.max(middle));
        }
    }
    usual
}

/// Percentages of all hosts, host after host, by their rows of each hour. One that has no rows may have no hours.
pub fn cells(hosts: &[&[f32]], hours: usize) -> Vec<u8> {
    let usual = usual(hosts);
    let mut cells = vec![cell::NOTHING; hosts.len() * hours];
    let mut parts: Vec<f32> = Vec::with_capacity(hosts.len());
    for hour in 0..hours {
        let part = |host: usize| hosts[host].get(hour).filter(|rows| **rows > 0.0).map(|rows| rows / usual[host]);
        parts.clear();
        parts.extend((0..hosts.len()).filter_map(part));
        let Some(middle) = median(&mut parts) else { continue };
        for host in 0..hosts.len() {
            if let Some(part) = part(host) {
                cells[host * hours + hour] = (100.0 * part / middle).round().clamp(1.0, f32::from(cell::ALL)) as u8;
            }
        }
    }
    cells
}

/// How complete each metric is: of each host, against the median of the hosts that have about as many samples an hour. `counts` has the rows of each host
/// by metric, `hosts` those by hour. Names are sorted.
pub fn of_metrics(names: &[Box<str>], counts: &[&[u64]], hosts: &[&[f32]]) -> Vec<MetricShare> {
    let usual = usual(hosts);
    let kinds = kinds(&usual);
    let share = |metric: usize| {
        let (mut sum, mut expected) = (0.0, 0.0);
        for kind in &kinds {
            let rows = |host: &usize| counts[*host].get(metric).copied().unwrap_or(0);
            let middle = median(&mut kind.iter().map(rows).collect::<Vec<_>>()).unwrap_or(0);
            for rows in kind.iter().map(rows).filter(|rows| middle > 0 || *rows > 0) {
                expected += 1.0;
                sum += if middle > 0 { (rows as f64 / middle as f64).min(1.0) } else { 1.0 };
            }
        }
        if expected > 0.0 { sum / expected } else { 0.0 }
    };
    let mut shares: Vec<MetricShare> = names.iter().enumerate().map(|(metric, name)| MetricShare { name: name.to_string(), share: share(metric) }).collect();
    shares.sort_by(|a, b| a.name.cmp(&b.name));
    shares
}

/// Hosts with data, put together if they usually have about the same number of samples.
fn kinds(usual: &[f32]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..usual.len()).filter(|host| usual[*host] > 0.0).collect();
    order.sort_by(|a, b| usual[*a].total_cmp(&usual[*b]));
    let mut kinds: Vec<Vec<usize>> = Vec::new();
    for host in order {
        match kinds.last_mut() {
            Some(kind) if usual[host] <= usual[kind[0]] * (1.0 + 2.0 * SAME) => kind.push(host),
            _ => kinds.push(vec![host]),
        }
    }
    kinds
}
