//! Series as a tree of levels: host → socket0 → core1. Neighbours that are alike but for their name stand on one line.

use std::cmp::Ordering;
use std::fmt;

use super::series::{Gaps, SeriesFacts};
use super::text::{name, span, table, time};
use crate::telemetry::thousands;

/// Series in any order.
pub struct Tree<'a>(pub &'a [SeriesFacts]);

/// Levels with equal series.
struct Level<'a> {
    first: &'a str,
    last: &'a str,
    count: usize,
    series: Vec<&'a SeriesFacts>,
}

/// Columns of text.
const HEAD: [&str; 7] = ["level, metric", "every", "from", "to", "samples", "NaN", "gaps"];

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut lines = vec![HEAD.map(str::to_owned), label("host".into())];
        let mut above: Vec<&str> = Vec::new();
        for level in levels(self.0) {
            let path: Vec<&str> = names(level.first).collect();
            let known = above.iter().zip(&path).take_while(|(a, b)| a == b).count();
            for (depth, part) in path.iter().enumerate().skip(known) {
                let is_own = depth + 1 == path.len() && level.count > 1;
                let alike = if is_own { format!(" … {} ({} alike)", name(names(level.last).last().unwrap_or_default()), level.count) } else { String::new() };
                lines.push(label(format!("{}{}{alike}", indent(depth + 1), name(part))));
            }
            let depth = indent(path.len() + 1);
            lines.extend(level.series.iter().map(|facts| line(&depth, facts)));
            above = path;
        }
        table(f, lines, &[1, 4, 5])
    }
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

fn label(text: String) -> [String; 7] {
    [text, String::new(), String::new(), String::new(), String::new(), String::new(), String::new()]
}

fn line(indent: &str, facts: &SeriesFacts) -> [String; 7] {
    let SeriesFacts { metric, frequency, start, end, samples, nan, late, gaps, .. } = facts;
    let shown = |at: &Option<i64>| at.map(time).unwrap_or_default();
    let every = frequency.map(|seconds| format!("{seconds} s")).unwrap_or_default();
    let late = if *late > 0 { format!("{} late", thousands(*late)) } else { String::new() };
    let parts: Vec<String> = [gaps_of(gaps, *frequency), late].into_iter().filter(|part| !part.is_empty()).collect();
    [format!("{indent}{}", name(metric)), every, shown(start), shown(end), thousands(*samples), thousands(*nan), parts.join(", ")]
}

fn gaps_of(gaps: &Gaps, frequency: Option<i64>) -> String {
    let Some(longest) = gaps.longest else { return String::new() };
    let seconds = longest.missing.saturating_mul(frequency.unwrap_or_default().unsigned_abs());
    let which = if gaps.count == 1 { " of" } else { ", the longest" };
    format!("{}{which} {} from {}", thousands(gaps.count), span(seconds), time(longest.from))
}

/// Names of a path: none of the host's.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(move |_| !path.is_empty())
}

/// Levels in the order of the tree.
fn levels(series: &[SeriesFacts]) -> Vec<Level<'_>> {
    let mut sorted: Vec<&SeriesFacts> = series.iter().collect();
    sorted.sort_by(|a, b| by_names(&a.selector, &b.selector).then_with(|| a.metric.cmp(&b.metric)));
    let same: Vec<&[&SeriesFacts]> = sorted.chunk_by(|a, b| a.selector == b.selector).collect();
    let path = |at: usize| same.get(at).map_or("", |series| &*series[0].selector);
    // one with levels below it stands alone
    let is_leaf = |at: usize| !path(at).is_empty() && !path(at + 1).strip_prefix(path(at)).is_some_and(|rest| rest.starts_with('/'));
    let mut levels: Vec<Level<'_>> = Vec::new();
    for (at, series) in same.iter().enumerate() {
        let joins = at > 0 && is_leaf(at - 1) && is_leaf(at) && parent(path(at - 1)) == parent(path(at)) && are_alike(same[at - 1], series);
        match levels.last_mut().filter(|_| joins) {
            Some(last) => (last.last, last.count) = (path(at), last.count + 1),
            None => levels.push(Level { first: path(at), last: path(at), count: 1, series: series.to_vec() }),
        }
    }
    levels
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// True if they differ by their level only.
fn are_alike(one: &[&SeriesFacts], other: &[&SeriesFacts]) -> bool {
    let facts = |of: &SeriesFacts| (of.frequency, of.start, of.end, of.samples, of.nan, of.late);
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.metric == b.metric && facts(a) == facts(b) && a.gaps == b.gaps)
}

/// Paths name by name; core2 comes before core10.
fn by_names(one: &str, other: &str) -> Ordering {
    let (mut ones, mut others) = (names(one), names(other));
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match numbered(a).cmp(&numbered(b)).then_with(|| a.cmp(b)) {
                Ordering::Equal => {}
                order => return order,
            },
        }
    }
}

/// A name without the number at its end, and the number.
fn numbered(name: &str) -> (&str, u64) {
    let text = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (text, name[text.len()..].parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Builder;
    use crate::names::Selector;

    fn series(path: &str, values: &[f32]) -> SeriesFacts {
        let selector = names(path).try_fold(Selector::node(), |parent, name| parent.child(name)).expect("a level");
        let mut builder = Builder::new("flops", &selector, Some(60));
        values.iter().enumerate().for_each(|(i, value)| builder.on_grid(60 * i as i64, *value));
        builder.finish()
    }

    #[test]
    fn levels_stand_in_their_order_and_those_alike_on_one_line() {
        let all = ["socket0/core10", "socket0/core2", "socket1", "", "socket0/core1", "socket0"];
        let list: Vec<SeriesFacts> =
            all.iter().map(|path| series(path, &[1.0, f32::NAN])).chain([series("socket1/a", &[]), series("socket1/b", &[1.0])]).collect();
        let text = Tree(&list).to_string();
        let first_column = |line: &str| {
            let name = line.trim_start();
            format!("{}{}", &line[..line.len() - name.len()], name.split("  ").next().unwrap_or_default())
        };
        let labels: Vec<String> = text.lines().skip(2).map(first_column).collect();
        let shown = [
            "host",
            "  flops",
            "  socket0",
            "    flops",
            "    core1 … core10 (3 alike)",
            "      flops",
            "  socket1",
            "    flops",
            "    a",
            "      flops",
            "    b",
            "      flops",
        ];
        assert_eq!(labels, shown, "{text}");
    }
}
