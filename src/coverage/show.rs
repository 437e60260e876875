//! The report in words, below its maps.

use std::fmt;

use bytesize::ByteSize;

use super::map::Map;
use super::{Cluster, Gaps, HOUR, Report, Since, Span, Summary};
use crate::listing::table::minute;
use crate::telemetry::{count, list, thousands};

/// Hosts that are named in a line.
const NAMED: usize = 5;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interrupted {
            writeln!(f, "interrupted by a signal; what follows was looked at\n")?;
        }
        for cluster in &self.clusters {
            head(f, cluster, self.host.as_deref())?;
            if !cluster.hosts.is_empty() {
                write!(f, "{}", Map { cluster, look: self.look })?;
            }
            words(f, &cluster.summary, cluster.hosts.len())?;
            metrics(f, cluster)?;
            let notes: Vec<String> = cluster.set_aside.iter().map(|note| format!("{}: {}", note.path, note.reason)).collect();
            list(f, "  set aside", &notes)?;
            writeln!(f)?;
        }
        if !self.exact && !self.clusters.is_empty() {
            writeln!(f, "by ledgers: rows are spread evenly over each snapshot; --exact reads them, and finds gaps inside")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

fn head(f: &mut fmt::Formatter<'_>, cluster: &Cluster, filter: Option<&str>) -> fmt::Result {
    let sum = |of: &[u64]| of.iter().sum::<u64>();
    let dates = cluster.dates.first().zip(cluster.dates.last()).map_or(String::new(), |(first, last)| format!(", {first} to {last}"));
    let (hosts, rows, objects) = (count(cluster.hosts.len() as u64, "host"), count(sum(&cluster.rows), "row"), count(sum(&cluster.objects), "object"));
    let (name, size) = (cluster.name.escape_debug(), ByteSize(sum(&cluster.bytes)));
    let like = filter.map_or(String::new(), |filter| format!(" like {filter}"));
    let all = if filter.is_some() { " (of all hosts)" } else { "" };
    writeln!(f, "{name}: {hosts}{like}{dates}, {rows} in {objects}, {size}{all}")
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {name:<17} {value}")
}

/// So many hosts, and some of them by name.
fn hosts<T>(f: &mut fmt::Formatter<'_>, name: &str, hosts: &[T], of: impl Fn(&T) -> String) -> fmt::Result {
    if hosts.is_empty() {
        return Ok(());
    }
    let more = if hosts.len() > NAMED { ", …" } else { "" };
    let named: Vec<String> = hosts.iter().take(NAMED).map(of).collect();
    line(f, name, format_args!("{}: {}{more}", thousands(hosts.len() as u64), named.join(", ")))
}

fn gaps(found: &Gaps) -> String {
    let at = found.spans.first().map_or(String::new(), |span| format!(" from {}", minute(span.from)));
    let several = if found.spans.len() > 1 { format!(" in {} pieces", found.spans.len()) } else { String::new() };
    format!("{} ({} h{several}{at})", found.host.escape_debug(), found.hours)
}

fn since(found: &Since) -> String {
    format!("{} since {}", found.host.escape_debug(), minute(found.since))
}

fn words(f: &mut fmt::Formatter<'_>, summary: &Summary, all: usize) -> fmt::Result {
    line(f, "complete", format_args!("{} of {} hosts", thousands(summary.complete), thousands(all as u64)))?;
    hosts(f, "gaps", &summary.gaps, gaps)?;
    hosts(f, "fewer samples", &summary.fewer, gaps)?;
    hosts(f, "not archived", &summary.waiting, gaps)?;
    hosts(f, "late", &summary.late, since)?;
    hosts(f, "silent", &summary.silent, since)?;
    hosts(f, "only", &summary.began, since)?;
    hosts(f, "no sample", &summary.empty, |host| host.escape_debug().to_string())?;
    hosts(f, "never archived", &summary.never_archived, |host| host.escape_debug().to_string())?;
    let outage = |span: &Span| format!("{} to {} ({} h)", minute(span.from), minute(span.to), (span.to - span.from) / HOUR);
    hosts(f, "few or no hosts", &summary.outages, outage)?;
    let Some(disk) = &summary.checkpoints else { return Ok(()) };
    let mut parts = vec![format!("{} snapshots archived", thousands(disk.archived))];
    let counts = [("not archived", disk.not_archived), ("archived in part", disk.partly_archived), ("not known, as an object cannot be read", disk.not_known)];
    parts.extend(counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{} {what}", thousands(*count))));
    line(f, "on disk", parts.join(", "))?;
    if disk.archived_by_size > 0 {
        let count = thousands(disk.archived_by_size);
        line(f, "", format_args!("{count} of them by path and size alone: their time of change is another one; verify --checkpoints reads them"))?;
    }
    Ok(())
}

fn metrics(f: &mut fmt::Formatter<'_>, cluster: &Cluster) -> fmt::Result {
    if cluster.metrics.is_empty() {
        return Ok(());
    }
    let mut incomplete: Vec<_> = cluster.metrics.iter().filter(|metric| metric.share < 0.999).collect();
    incomplete.sort_by(|a, b| a.share.total_cmp(&b.share));
    line(f, "metrics", format_args!("{}, {} of them complete", cluster.metrics.len(), cluster.metrics.len() - incomplete.len()))?;
    hosts(f, "incomplete", &incomplete, |metric| format!("{} {:.1} %", metric.name.escape_debug(), 100.0 * metric.share))
}
