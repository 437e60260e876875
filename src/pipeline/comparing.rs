//! The table against its archive, for those who only look: doctor by the listing, verify by the footers.

use std::collections::BTreeSet;

use super::tabling::broken;
use crate::catalog;
use crate::doctor::{self, Check};
use crate::error::{Error, Result};
use crate::ledger::Holdings;
use crate::partition::{ObjectKey, Partition};
use crate::settings::Part;
use crate::store::Archive;
use crate::table::{self, Difference, Found, Table};
use crate::telemetry::thousands;
use crate::verify::{Finding, Kind};

const REBUILD: &str = "write it anew, from the footers: cc-archiver table --rebuild";

/// Whether the table has what is listed.
pub(super) async fn check_table(archive: &Archive) -> Check {
    const NAME: &str = "table";
    let compare = async {
        let table = match table::read(archive).await? {
            Found::Nothing => return Ok(Check::ok(NAME, "there is none: readers take the folder")),
            Found::Broken(_, why) => return Ok(Check::error(NAME, format!("its log cannot be read: {why}"), REBUILD)),
            Found::Table(table) => table,
        };
        let listing = catalog::list(archive, &Part::default(), || Ok(())).await?;
        let keys = listing.partitions.values().flatten().filter_map(|object| Some((ObjectKey::parse(&object.location)?, object.size)));
        let (has, lacks): (Vec<_>, Vec<_>) = keys.partition(|(key, size)| table.has_size(key, *size));
        let gone = table.files().saturating_sub(has.len() as u64);
        let found = format!("version {}, files: {}", table.version(), thousands(table.files()));
        Ok::<_, Error>(match (lacks.len() as u64, gone) {
            (0, 0) => Check::ok(NAME, format!("{found}; just what is listed")),
            (lacks, gone) => Check::warning(
                NAME,
                format!("{found}; objects that it lacks: {}; files of it that are gone: {}", thousands(lacks), thousands(gone)),
                "run cc-archiver table, if no run is under way; verify names the partitions",
            ),
        })
    };
    compare.await.unwrap_or_else(|e| Check::error(NAME, doctor::on_one_line(&e), "let this user list and read the archive, _delta_log too"))
}

/// The table that a verification compares with; None if there is none, or a finding says that it cannot be read.
pub(super) async fn table_of(archive: &Archive, findings: &mut Vec<Finding>) -> Result<Option<Table>> {
    let finding = |reason: String| Finding { advice: REBUILD.into(), ..Finding::new(Kind::Table, archive.name_of(&table::FOLDER), reason) };
    match table::read(archive).await? {
        Found::Nothing => Ok(None),
        Found::Broken(_, why) => {
            let said = broken(archive, &why).to_string();
            findings.push(finding(said.lines().next().unwrap_or_default().to_owned()));
            Ok(None)
        }
        Found::Table(table) => {
            findings.extend(table.strangers().map(|key| finding(format!("another program has put a file into the table: {}", key.escape_debug()))));
            Ok(Some(*table))
        }
    }
}

/// How the table differs from a partition.
pub(super) fn partition(archive: &Archive, table: &Table, partition: &Partition, holdings: &Holdings) -> Option<Finding> {
    finding(archive, partition, &table::difference(Some(table), holdings, partition, false))
}

/// Partitions that the table has files in, and that are not there.
pub(super) fn emptied(archive: &Archive, table: &Table, part: &Part, there: &BTreeSet<Partition>) -> Vec<Finding> {
    let is_asked =
        |partition: &Partition| part.has(partition.date) && (part.clusters.is_empty() || part.clusters.iter().any(|name| name == partition.cluster.as_str()));
    let gone = table.partitions().into_iter().filter(|partition| is_asked(partition) && !there.contains(partition));
    gone.filter_map(|partition| finding(archive, &partition, &Difference { remove: table.files_of(&partition), ..Difference::default() })).collect()
}

fn finding(archive: &Archive, partition: &Partition, difference: &Difference) -> Option<Finding> {
    let say = |what: &str, keys: &BTreeSet<ObjectKey>| Some(format!("the table {what}: {}, the first is {}", thousands(keys.len() as u64), keys.first()?));
    let lacks = say("lacks objects, or has them not as they are", &difference.add);
    let gone = say("has objects that are gone or replaced", &difference.remove);
    let reasons: Vec<String> = lacks.into_iter().chain(gone).collect();
    (!reasons.is_empty()).then(|| Finding::new(Kind::Table, archive.name_of(partition), reasons.join("; ")))
}
