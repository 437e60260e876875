//! What a table says of its columns, and of each file's rows.

use std::collections::BTreeMap;

use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

/// Columns that stand in paths, not in files.
pub const PARTITION_COLUMNS: [&str; 2] = ["cluster", "date"];

/// Columns of files, with the types that Delta Lake has for them. The time is a number there, too: unix seconds.
const COLUMNS: [(&str, &str); 8] = [
    ("hostname", "string"),
    ("scope", "string"),
    ("metric", "string"),
    ("scope_id", "string"),
    ("selector", "string"),
    ("timestamp", "long"),
    ("frequency", "long"),
    ("value", "float"),
];

/// Columns whose bounds are told of each file: those that people ask by.
const BOUNDED: [&str; 4] = ["hostname", "metric", "scope", "timestamp"];

/// Names longer than this have no bounds: a log is read by everybody who asks anything.
const LONGEST_BOUND: usize = 1_024;

/// All columns as JSON: those of files, then those of paths, which readers put behind them.
pub fn columns() -> String {
    let field = |(name, kind): (&str, &str)| json!({"name": name, "type": kind, "nullable": true, "metadata": {}});
    let partitions = PARTITION_COLUMNS.into_iter().zip(["string", "date"]);
    let fields: Vec<Value> = COLUMNS.into_iter().chain(partitions).map(field).collect();
    json!({"type": "struct", "fields": fields}).to_string()
}

/// Properties of a table. What is removed from it may be deleted after as long as nobody waits: whoever tidies up by this rule finds nothing.
pub fn properties() -> BTreeMap<String, String> {
    let pairs = [
        ("delta.checkpointInterval", "10"),
        ("delta.dataSkippingStatsColumns", "hostname,metric,scope,timestamp"),
        ("delta.deletedFileRetentionDuration", "interval 36500 days"),
        ("delta.enableExpiredLogCleanup", "false"),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// What is said of an object's rows, as JSON: their number, and the bounds of columns, by the statistics of its row groups.
pub fn statistics(rows: u64, footer: &ParquetMetaData) -> String {
    let (mut least, mut most, mut nulls) = (Map::new(), Map::new(), Map::new());
    for name in BOUNDED {
        if let Some((first, last)) = bounds(name, footer) {
            least.insert(name.into(), first);
            most.insert(name.into(), last);
        }
        // no column of ours has an empty value
        nulls.insert(name.into(), 0.into());
    }
    json!({"numRecords": rows, "minValues": least, "maxValues": most, "nullCount": nulls}).to_string()
}

/// The smallest and the largest value of a column; None if a row group does not tell, or there is none.
fn bounds(name: &str, footer: &ParquetMetaData) -> Option<(Value, Value)> {
    let index = footer.file_metadata().schema_descr().columns().iter().position(|column| column.name() == name)?;
    let mut found: Option<(Bound, Bound)> = None;
    for group in footer.row_groups() {
        let (first, last) = Bound::pair(group.column(index).statistics()?)?;
        found = Some(match found {
            Some((least, most)) => (least.min(first), most.max(last)),
            None => (first, last),
        });
    }
    found.map(|(least, most)| (least.into(), most.into()))
}

/// Of one column all are of one kind. Strings are compared bytewise, as files are sorted.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Number(i64),
    Text(String),
}

impl Bound {
    fn pair(statistics: &Statistics) -> Option<(Self, Self)> {
        match statistics {
            Statistics::Int64(values) => Some((Self::Number(*values.min_opt()?), Self::Number(*values.max_opt()?))),
            Statistics::ByteArray(values) if values.min_is_exact() && values.max_is_exact() => {
                let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST_BOUND).map(|text| Self::Text(text.to_owned()));
                Some((text(values.min_opt()?.data())?, text(values.max_opt()?.data())?))
            }
            _ => None,
        }
    }
}

impl From<Bound> for Value {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Number(number) => number.into(),
            Bound::Text(text) => text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn the_table_has_the_columns_of_the_files_in_their_order() {
        assert_eq!(COLUMNS.map(|(name, _)| name)[..], schema::COLUMNS[1..]);
        let text: Value = serde_json::from_str(&columns()).expect("JSON");
        let names: Vec<&str> = text["fields"].as_array().expect("fields").iter().filter_map(|field| field["name"].as_str()).collect();
        assert_eq!(names[COLUMNS.len()..], PARTITION_COLUMNS);
    }

    #[test]
    fn bounds_are_those_of_all_row_groups_and_of_bytes() {
        assert!(Bound::Text("Z".into()) < Bound::Text("a".into()) && Bound::Text("z".into()) < Bound::Text("é".into()));
        assert!(Bound::Number(-1) < Bound::Number(0));
    }
}
