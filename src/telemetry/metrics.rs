//! The metrics of a run, in Prometheus' text format.
//!
//! A run is short, and nobody asks it for its metrics; it leaves them, in a file or at a Pushgateway. Counters go on from what the
//! previous run left, so that `increase()` over days is right. What a run that broke off cannot tell stays as it was.
//! The crate `prometheus-client` writes OpenMetrics, which node_exporter does not read, and reads nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The unit stands at the end of a metric's name.
const UNITS: [(&str, &str); 4] = [("_timestamp_seconds", "s since 1970"), ("_seconds", "s"), ("_bytes", "bytes"), ("_bytes_total", "bytes")];

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only goes up, over all runs.
    Counter,
    /// Of the last run.
    Gauge,
    /// Of the last run that came to its end (exit code 0 or 3).
    GaugeOfComplete,
    /// Of the last run that had it.
    GaugeOfLast,
    /// Of the last run that knew what is not archived.
    GaugeIfKnown,
}

/// One metric, with a name that begins with `cc_archiver_`. Each also has the label `command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Labels besides `command`.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Metric = Metric { name: concat!("cc_archiver_", $name), kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// All metrics there are.
        pub const METRICS: &[Metric] = &[$($id),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "build_info" ["version"] "1; the program that ran";
    RUN_INFO = Gauge "run_info" ["run_id"] "1; the last run, by the name that its log lines have";
    RUNS = Counter "runs_total" ["exit_code"] "Runs that ended, by exit code";
    EXIT_CODE = Gauge "exit_code" [] "Exit code of the last run";
    LAST_RUN = Gauge "last_run_timestamp_seconds" [] "When the last run ended, however it did";
    LAST_SUCCESS = GaugeOfLast "last_success_timestamp_seconds" [] "When the last run ended that had exit code 0";
    LAST_COMPLETE = GaugeOfLast "last_complete_run_start_timestamp_seconds" [] "When the last run began that came to its end (exit code 0 or 3): what was in the tree then is archived, or named by that run";
    DURATION = Gauge "run_duration_seconds" [] "Wall time of the last run";
    CPU = Gauge "run_cpu_seconds" [] "CPU time of the last run";
    MEMORY = Gauge "run_peak_memory_bytes" [] "The most memory that the last run had at any time";
    FAILURES = Counter "failures_total" ["stage"] "Files, objects and runs that failed, by the stage at which they did";
    REQUESTS = Counter "store_requests_total" ["kind", "outcome"] "Requests to the S3 server, each attempt by itself; none if the archive is a directory";
    RETRIES = Counter "store_retries_total" ["kind"] "Those of them that were attempts after a failure";
    FILES = GaugeOfComplete "files" ["state"] "Snapshots by what became of them: archived, already_archived, too_recent (for --before), other_dates (than those of --date), expired (all of their dates are), waiting (for the next run), set_aside (a person must look at them; directories and objects too)";
    SNAPSHOTS_ARCHIVED = Counter "snapshots_archived_total" [] "Snapshots archived";
    ROWS_READ = Counter "rows_read_total" [] "Samples decoded, without NaN";
    ROWS_WRITTEN = Counter "rows_written_total" [] "Rows written";
    ROWS_DUPLICATE = Counter "rows_duplicate_total" [] "Rows dropped because a newer snapshot, or the archive, has a row of the same series and time";
    ROWS_CONFLICTING = Counter "rows_conflicting_total" [] "Those of them for which the archive has another value";
    ROWS_NAN = Counter "rows_nan_total" [] "Values that are NaN: no sample";
    BYTES_READ = Counter "read_bytes_total" [] "Bytes of snapshots read";
    BYTES_WRITTEN = Counter "written_bytes_total" [] "Bytes of objects written";
    OBJECTS_WRITTEN = Counter "objects_written_total" [] "Objects written";
    PLANNED_ANEW = Counter "partitions_planned_anew_total" [] "Partitions that were planned again because another writer was faster. If there are many, too many machines archive at once";
    OVERWRITES = Gauge "store_overwrites" [] "1 if a trial showed that the store ignores conditional writes: rows can stand twice if two machines write";
    LOG_ROWS = Counter "log_rows_total" [] "Samples of logs that became rows, as no snapshot has them";
    LOG_SAMPLES = GaugeOfComplete "log_samples" ["state"] "Samples in logs by what became of them: waiting (a snapshot may yet have them), covered (a snapshot has them), shadowed (newer samples overwrote them), taken (they are rows). None if archive does not look at logs";
    LOG_OLDEST_AGE = GaugeOfComplete "oldest_waiting_log_sample_age_seconds" [] "Time from the oldest sample that waits to the end of the run; 0 if there is none";
    LOGS_HELD = GaugeOfComplete "logs" ["held"] "Logs that the run read: link and copy are held (--wal-hold), none are not";
    LOGS_RELEASED = Counter "logs_released_total" [] "Held logs that were given up, as all of their samples are decided and archived";
    UNARCHIVED = GaugeIfKnown "unarchived_snapshots" [] "Snapshots that were not archived when the last run ended, and should be: set aside, waiting, or not reached. A run that did not get to the tree leaves this gauge and those of the oldest one as they were";
    OLDEST = GaugeIfKnown "oldest_unarchived_snapshot_timestamp_seconds" [] "Where the oldest of them begins; absent if there is none";
    OLDEST_AGE = GaugeIfKnown "oldest_unarchived_snapshot_age_seconds" [] "Time from there to the end of the run; 0 if there is none";
    DELETION = GaugeIfKnown "oldest_unarchived_snapshot_deletion_timestamp_seconds" [] "When cc-backend may delete it; absent if there is none, or cc-backend's retention is not known (--cc-backend-config)";
    DELETION_IN = GaugeIfKnown "oldest_unarchived_snapshot_deletion_in_seconds" [] "Time from the end of the run until then; below 0 if it has passed; absent in the same cases";
    PRUNED_FILES = Counter "pruned_files_total" [] "Snapshots deleted";
    PRUNED_BYTES = Counter "pruned_bytes_total" [] "Bytes of them";
    KEPT = GaugeOfComplete "kept_files" ["reason"] "Snapshots that were not deleted: recent, newest, other_dates and expired are meant to stay, the other reasons are for a person to look at";
    REPLACED = Counter "objects_replaced_total" [] "Objects that compact made one of, and deleted";
    ROWS_DOUBLED = Counter "rows_doubled_total" [] "Rows that stood twice, of which compact has left one";
    EXPIRED = Counter "objects_expired_total" [] "Objects that expire deleted";
    EXPIRED_BYTES = Counter "expired_bytes_total" [] "Bytes of them";
    EXPIRED_ROWS = Counter "rows_expired_total" [] "Rows of them, as far as their footers could be read";
    FINDINGS = GaugeOfComplete "findings" ["kind"] "What verify found";
    VERIFIED_OBJECTS = GaugeOfComplete "verified_objects" [] "Objects that verify looked at";
    TABLE_VERSION = GaugeOfLast "table_version" [] "Version of the archive's table, where the run brought it up to date";
    TABLE_FILES = GaugeOfLast "table_files" [] "Objects that the table has then";
    VERIFIED_READ = GaugeOfComplete "verified_read_bytes" [] "Bytes of objects that verify checked against their digests";
}

impl Metric {
    /// As `# TYPE` says it.
    pub fn type_name(&self) -> &'static str {
        if self.kind == Kind::Counter { "counter" } else { "gauge" }
    }

    /// What it is measured in.
    pub fn unit(&self) -> &'static str {
        UNITS.iter().find(|(end, _)| self.name.ends_with(end)).map_or("", |(_, unit)| unit)
    }

    fn named(name: &str) -> Option<(usize, &'static Self)> {
        METRICS.iter().enumerate().find(|(_, metric)| metric.name == name)
    }
}

/// Labels and their values, `command` among them, by name.
type Labels = BTreeMap<String, String>;

/// Values of metrics, in the order of the table.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Sheet(BTreeMap<(usize, Labels), f64>);

impl Sheet {
    /// Sets a value; `values` are those of the metric's labels, in their order.
    pub fn put(&mut self, metric: &Metric, command: &str, values: &[&str], value: f64) {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        let Some((index, _)) = Metric::named(metric.name) else { unreachable!("the table has all metrics") };
        let pairs = metric.labels.iter().zip(values).chain([(&"command", &command)]);
        self.0.insert((index, pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()), value);
    }

    /// A value that was set.
    pub fn get(&self, metric: &Metric, command: &str) -> Option<f64> {
        let (index, _) = Metric::named(metric.name)?;
        self.0.get(&(index, Labels::from([("command".to_owned(), command.to_owned())]))).copied()
    }

    /// Goes on from what the previous run of `command` left. `complete`: this run came to its end.
    pub fn follow(&mut self, previous: &Self, command: &str, complete: bool) {
        let knows = self.get(&UNARCHIVED, command).is_some();
        for ((index, labels), value) in &previous.0 {
            if labels.get("command").is_none_or(|of| of != command) {
                continue;
            }
            let entry = self.0.entry((*index, labels.clone()));
            match METRICS[*index].kind {
                Kind::Counter => *entry.or_default() += value,
                Kind::GaugeOfComplete if !complete => *entry.or_default() = *value,
                Kind::GaugeOfLast => drop(entry.or_insert(*value)),
                Kind::GaugeIfKnown if !knows => drop(entry.or_insert(*value)),
                _ => {}
            }
        }
    }

    /// In Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut last = None;
        for ((index, labels), value) in &self.0 {
            let metric = &METRICS[*index];
            if last.replace(index) != Some(index) {
                let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", metric.name, metric.help, metric.name, metric.type_name());
            }
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let _ = writeln!(text, "{}{{{}}} {value}", metric.name, labels.join(","));
        }
        text
    }

    /// Reads such a text, as far as it has metrics of ours. `group`: take those with these labels only, and leave them out.
    pub fn parse(text: &str, group: &[(String, String)]) -> Self {
        let series = |line: &str| {
            let (name, rest) = line.split_once('{')?;
            let (labels, value) = rest.rsplit_once("} ")?;
            let (index, metric) = Metric::named(name)?;
            // no value of ours has a quote or a comma in it
            let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('='));
            let mut labels: Labels =
                pairs.map(|pair| pair.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))).collect::<Option<_>>()?;
            if !group.iter().all(|(name, value)| labels.get(name) == Some(value)) {
                return None;
            }
            labels.retain(|name, _| name == "command" || metric.labels.contains(&name.as_str()));
            Some(((index, labels), value.trim().parse().ok()?))
        };
        Self(text.lines().filter_map(series).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(values: &[(&Metric, &[&str], f64)]) -> Sheet {
        let mut sheet = Sheet::default();
        values.iter().for_each(|(metric, labels, value)| sheet.put(metric, "archive", labels, *value));
        sheet
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let mut names: Vec<&str> = METRICS.iter().map(|m| m.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(!metric.help.contains(['\n', '\\', '|']), "{}", metric.name);
        }
        assert_eq!([LAST_RUN.unit(), DURATION.unit(), MEMORY.unit(), PRUNED_BYTES.unit(), FILES.unit()], ["s since 1970", "s", "bytes", "bytes", ""]);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let written = sheet(&[(&ROWS_READ, &[], 9_007_199_254_740_991.0), (&REQUESTS, &["get", "ok"], 2.0), (&DELETION_IN, &[], -1.5)]);
        let text = written.render();
        assert!(text.contains("# TYPE cc_archiver_rows_read_total counter\ncc_archiver_rows_read_total{command=\"archive\"} 9007199254740991\n"), "{text}");
        assert!(text.contains("{command=\"archive\",kind=\"get\",outcome=\"ok\"} 2\n"), "{text}");
        assert_eq!(Sheet::parse(&text, &[]), written);
        for odd in
            ["", "cc_archiver_rows_read_total 1", "cc_archiver_rows_read_total{command=\"a\"}", "other{a=\"b\"} 1", "\u{0}{} x", "cc_archiver_exit_code{x} 1"]
        {
            assert_eq!(Sheet::parse(odd, &[]), Sheet::default(), "{odd:?}");
        }
    }

    #[test]
    fn of_a_gateways_text_only_the_own_group_is_read() {
        let text = "cc_archiver_rows_read_total{command=\"archive\",instance=\"a\",job=\"j\"} 1\ncc_archiver_rows_read_total{command=\"archive\",instance=\"b\",job=\"j\"} 2.5e+06\n";
        let group = [("job".to_owned(), "j".to_owned()), ("instance".to_owned(), "b".to_owned())];
        assert_eq!(Sheet::parse(text, &group), sheet(&[(&ROWS_READ, &[], 2_500_000.0)]));
    }

    #[test]
    fn counters_go_on_and_gauges_that_a_run_cannot_tell_stay() {
        let before = sheet(&[
            (&ROWS_READ, &[], 5.0),
            (&REQUESTS, &["get", "ok"], 3.0),
            (&EXIT_CODE, &[], 1.0),
            (&LAST_SUCCESS, &[], 7.0),
            (&FILES, &["set_aside"], 2.0),
            (&OLDEST, &[], 8.0),
        ]);
        let run = sheet(&[(&ROWS_READ, &[], 1.0), (&EXIT_CODE, &[], 0.0), (&FILES, &["set_aside"], 0.0)]);
        for (complete, set_aside) in [(true, 0.0), (false, 2.0)] {
            let mut now = run.clone();
            now.follow(&before, "archive", complete);
            let expected = [
                (&ROWS_READ, &[][..], 6.0),
                (&REQUESTS, &["get", "ok"], 3.0),
                (&EXIT_CODE, &[], 0.0),
                (&LAST_SUCCESS, &[], 7.0),
                (&FILES, &["set_aside"], set_aside),
                (&OLDEST, &[], 8.0),
            ];
            assert_eq!(now, sheet(&expected), "{complete}");
        }
        let mut knowing = sheet(&[(&UNARCHIVED, &[], 0.0)]);
        knowing.follow(&before, "archive", true);
        assert_eq!((knowing.get(&OLDEST, "archive"), knowing.get(&LAST_SUCCESS, "archive")), (None, Some(7.0)), "it knows that none is left");
        let mut other = Sheet::default();
        other.follow(&before, "verify", true);
        assert_eq!(other, Sheet::default(), "another command's");
    }
}
