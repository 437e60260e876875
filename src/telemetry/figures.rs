//! What a run came to, as metrics.

use super::metrics::{self, Metric, Sheet};
use super::watch::{TableFigures, Verified, Watch};
use super::{Compaction, Expiry, LogSummary, PruneSummary, Summary};
use crate::clock;
use crate::error::Exit;

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its exit code.
    pub exit: Exit,
    /// When it began, unix ms.
    pub began: i64,
    /// When it ended, unix s.
    pub ended: i64,
    /// Wall time.
    pub seconds: f64,
}

impl Ended {
    /// It went through all that it was to do, even if some of it is for a person to look at.
    pub fn is_complete(&self) -> bool {
        matches!(self.exit, Exit::Complete | Exit::SetAside)
    }
}

/// Writes one command's metrics.
struct Writer<'a> {
    command: &'a str,
    sheet: Sheet,
}

impl Writer<'_> {
    fn put(&mut self, metric: &Metric, values: &[&str], value: impl Into<Value>) {
        self.sheet.put(metric, self.command, values, value.into().0);
    }
}

struct Value(f64);

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self(count as f64)
    }
}

impl From<i64> for Value {
    fn from(seconds: i64) -> Self {
        Self(seconds as f64)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self(number)
    }
}

/// All metrics of a run, and what stays of the `previous` one. `retention`: how long cc-backend keeps snapshots.
pub fn sheet(command: &str, run_id: &str, watch: &Watch, ended: Ended, retention: Option<i64>, previous: Option<&Sheet>) -> Sheet {
    let mut out = Writer { command, sheet: Sheet::default() };
    run(&mut out, run_id, watch, ended);
    let figures = watch.figures();
    match command {
        "archive" => {
            archive(&mut out, figures.archive.as_ref().unwrap_or(&Summary::default()));
            figures.archive.as_ref().and_then(|summary| summary.logs.as_ref()).into_iter().for_each(|found| logs(&mut out, found, ended));
            unarchived(&mut out, watch, ended, retention, previous);
            if let Some(pruned) = figures.archive.as_ref().and_then(|summary| summary.prune.as_ref()) {
                prune(&mut out, pruned);
            }
        }
        "compact" => compact(&mut out, figures.compact.as_ref().unwrap_or(&Compaction::default())),
        "expire" => expire(&mut out, figures.expire.as_ref().unwrap_or(&Expiry::default())),
        "prune" => prune(&mut out, figures.prune.as_ref().unwrap_or(&PruneSummary::default())),
        _ => figures.verify.iter().for_each(|found| verify(&mut out, found)),
    }
    if let Some(TableFigures { version, files }) = figures.table {
        out.put(&metrics::TABLE_VERSION, &[], version);
        out.put(&metrics::TABLE_FILES, &[], files);
    }
    previous.into_iter().for_each(|previous| out.sheet.follow(previous, command, ended.is_complete()));
    out.sheet
}

fn run(out: &mut Writer<'_>, run_id: &str, watch: &Watch, ended: Ended) {
    out.put(&metrics::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1_u64);
    out.put(&metrics::RUN_INFO, &[run_id], 1_u64);
    for exit in Exit::ALL {
        out.put(&metrics::RUNS, &[&(exit as u8).to_string()], u64::from(exit == ended.exit));
    }
    out.put(&metrics::EXIT_CODE, &[], ended.exit as u64);
    out.put(&metrics::LAST_RUN, &[], ended.ended);
    if ended.exit == Exit::Complete {
        out.put(&metrics::LAST_SUCCESS, &[], ended.ended);
    }
    if ended.is_complete() {
        out.put(&metrics::LAST_COMPLETE, &[], ended.began as f64 / 1_000.0);
    }
    out.put(&metrics::DURATION, &[], ended.seconds);
    out.put(&metrics::CPU, &[], clock::cpu_time().as_secs_f64());
    super::peak_memory().into_iter().for_each(|bytes| out.put(&metrics::MEMORY, &[], bytes));
    watch.failures().for_each(|(stage, count)| out.put(&metrics::FAILURES, &[stage.name()], count));
    if let Some(requests) = watch.requests() {
        requests.counts().into_iter().for_each(|((kind, outcome), count)| out.put(&metrics::REQUESTS, &[kind, outcome], count));
        // a kind that was never tried again is there too, as 0
        requests.counts().into_keys().for_each(|(kind, _)| out.put(&metrics::RETRIES, &[kind], 0_u64));
        requests.retries().into_iter().for_each(|(kind, count)| out.put(&metrics::RETRIES, &[kind], count));
    }
}

fn archive(out: &mut Writer<'_>, summary: &Summary) {
    for (state, files) in [
        ("archived", summary.files),
        ("already_archived", summary.already_archived),
        ("too_recent", summary.too_recent),
        ("other_dates", summary.other_dates),
        ("expired", summary.below_the_floor),
        ("waiting", summary.waiting.len() as u64),
        ("set_aside", summary.set_aside.len() as u64),
    ] {
        out.put(&metrics::FILES, &[state], files);
    }
    for (metric, value) in [
        (metrics::SNAPSHOTS_ARCHIVED, summary.files),
        (metrics::ROWS_READ, summary.rows_read),
        (metrics::ROWS_WRITTEN, summary.rows_written),
        (metrics::ROWS_DUPLICATE, summary.duplicates_dropped),
        (metrics::ROWS_CONFLICTING, summary.conflicting_rows),
        (metrics::ROWS_NAN, summary.nan_skipped),
        (metrics::BYTES_READ, summary.bytes_in),
        (metrics::BYTES_WRITTEN, summary.bytes_out),
        (metrics::OBJECTS_WRITTEN, summary.objects_written),
        (metrics::PLANNED_ANEW, summary.planned_anew),
        (metrics::OVERWRITES, u64::from(summary.store_overwrites)),
    ] {
        out.put(&metric, &[], value);
    }
}

fn logs(out: &mut Writer<'_>, found: &LogSummary, ended: Ended) {
    out.put(&metrics::LOG_ROWS, &[], found.rows);
    out.put(&metrics::LOGS_RELEASED, &[], found.released);
    out.put(&metrics::LOG_OLDEST_AGE, &[], found.oldest_waiting.map_or(0, |oldest| ended.ended - oldest));
    for (state, samples) in [("waiting", found.waiting), ("covered", found.covered), ("shadowed", found.shadowed), ("taken", found.taken + found.rows)] {
        out.put(&metrics::LOG_SAMPLES, &[state], samples);
    }
    let held = [("link", found.linked), ("copy", found.copied), ("none", found.logs.saturating_sub(found.linked + found.copied))];
    held.into_iter().for_each(|(how, count)| out.put(&metrics::LOGS_HELD, &[how], count));
}

/// What is left in the tree. A run that does not know, as it did not get to the tree, leaves it to what the previous one said.
fn unarchived(out: &mut Writer<'_>, watch: &Watch, ended: Ended, retention: Option<i64>, previous: Option<&Sheet>) {
    let before = |metric| previous.and_then(|previous| previous.get(metric, out.command));
    let certain = watch.left().is_certain();
    let Some(mut found) =
        watch.left().unarchived(before(&metrics::LAST_COMPLETE).map(|time| (time * 1_000.0) as i64)).filter(|_| certain || previous.is_some())
    else {
        return;
    };
    // what a complete run could not archive may be older than all that came after it
    if !certain && let Some(before) = before(&metrics::OLDEST).map(|time| time as i64) {
        found.count = found.count.max(1);
        found.oldest = Some(found.oldest.map_or(before, |oldest| oldest.min(before)));
    }
    out.put(&metrics::UNARCHIVED, &[], found.count);
    out.put(&metrics::OLDEST_AGE, &[], found.oldest.map_or(0, |oldest| ended.ended - oldest));
    let deletion = found.oldest.zip(retention).map(|(oldest, retention)| oldest + retention);
    let mut put_or_end = |metric: &Metric, value: Option<i64>| value.into_iter().for_each(|value| out.put(metric, &[], value));
    put_or_end(&metrics::OLDEST, found.oldest);
    put_or_end(&metrics::DELETION, deletion);
    put_or_end(&metrics::DELETION_IN, deletion.map(|deletion| deletion - ended.ended));
}

fn prune(out: &mut Writer<'_>, pruned: &PruneSummary) {
    out.put(&metrics::PRUNED_FILES, &[], pruned.pruned);
    out.put(&metrics::PRUNED_BYTES, &[], pruned.bytes);
    pruned.kept.iter().for_each(|(reason, _, files)| out.put(&metrics::KEPT, &[reason], files));
}

fn compact(out: &mut Writer<'_>, did: &Compaction) {
    for (metric, value) in [
        (metrics::ROWS_READ, did.rows_read),
        (metrics::ROWS_WRITTEN, did.rows_written),
        (metrics::ROWS_DOUBLED, did.doubled_rows),
        (metrics::ROWS_CONFLICTING, did.differing_rows),
        (metrics::BYTES_READ, did.bytes_replaced),
        (metrics::BYTES_WRITTEN, did.bytes_made),
        (metrics::OBJECTS_WRITTEN, did.made),
        (metrics::REPLACED, did.replaced + did.finished),
    ] {
        out.put(&metric, &[], value);
    }
}

fn expire(out: &mut Writer<'_>, did: &Expiry) {
    let done = !did.dry_run;
    for (metric, value) in [(metrics::EXPIRED, did.deleted), (metrics::EXPIRED_BYTES, did.bytes), (metrics::EXPIRED_ROWS, did.rows)] {
        out.put(&metric, &[], if done { value } else { 0 });
    }
}

fn verify(out: &mut Writer<'_>, found: &Verified) {
    found.findings.iter().for_each(|(kind, count)| out.put(&metrics::FINDINGS, &[kind], *count));
    out.put(&metrics::VERIFIED_OBJECTS, &[], found.objects);
    out.put(&metrics::VERIFIED_READ, &[], found.bytes);
}
