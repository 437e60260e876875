//! Files of cc-backend's own archiver.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Row, Snapshot, python_command};

/// Writes rows to a file as cc-backend's archiver does; each list is a row group.
pub fn write_file(path: &Path, groups: &[Vec<Value>], flags: &[&str]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let mut script = python_command("cc_backend.py", &[], &[]);
    let mut child = script.arg(path).args(flags).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut rows = child.stdin.take().expect("a pipe");
    for group in groups {
        let text: String = group.iter().map(|row| format!("{row}\n")).collect();
        writeln!(rows, "{text}").expect("written");
    }
    drop(rows);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A row as the file has it.
pub fn of_file(row: &Row) -> Value {
    json!([row.cluster, row.hostname, row.metric, row.scope, row.scope_id, row.timestamp, row.frequency, row.bits])
}

/// Row groups as cc-backend makes them of snapshots: one for each host, snapshot after snapshot, with what stands in two of them twice.
pub fn groups_of(cluster: &str, hosts: &[(&str, &[Snapshot])]) -> Vec<Vec<Value>> {
    let group = |(host, snapshots): &(&str, &[Snapshot])| {
        let in_order = |snapshot: &Snapshot| {
            let mut rows = snapshot.rows(cluster, host);
            rows.sort_by_key(|row| (row.selector.clone(), row.metric.clone(), row.timestamp));
            rows
        };
        snapshots.iter().flat_map(in_order).map(|row| of_file(&row)).collect()
    };
    hosts.iter().map(group).collect()
}

/// The rows of snapshots with the selectors that their scopes and ids give; each once.
pub fn derived(rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
    let escaped = |name: String| if name.is_empty() { "%".to_owned() } else { name.replace('%', "%25").replace('/', "%2F") };
    let selector = |row: &Row| if row.scope == "node" { String::new() } else { escaped(format!("{}{}", row.scope, row.scope_id)) };
    let rows = rows.into_iter().map(|row| Row { selector: selector(&row), ..row });
    let each: BTreeMap<_, Row> = rows.map(|row| ((row.hostname.clone(), row.metric.clone(), row.selector.clone(), row.timestamp), row)).collect();
    each.into_values().collect()
}
