//! Logs as `doctor` sees them: by their first records, and by how they are or would be held.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Log, Piece};
use crate::doctor::{self, Check, HoldFacts, LogFacts};
use crate::error::Escaped;
use crate::files::trusted::{self, ReadFrom};
use crate::files::{LOG_NAME, Tree};
use crate::hold::Hold;
use crate::random;

/// How the name of a link begins that is tried, and removed at once.
const TRIAL: &str = ".cc-archiver-trial-";

/// What is to be said of the logs of the tree at `root`, and of those that are held. Blocks.
pub fn examine(root: &Path, tree: &Tree, hold: Option<&Path>, now: i64) -> Option<Check> {
    if let Some((folder, other)) = hold.and_then(|folder| Some((folder, Hold::new(folder).other_than(root).ok()??))) {
        let found = format!("{} holds logs of another tree: {other}", Escaped(folder));
        return Some(Check::error("logs", found, "give each tree a hold of its own: a run on this one is refused"));
    }
    let with_log = tree.clusters.iter().flat_map(|files| files.hosts.iter().filter(|host| host.has_log).map(|host| files.path.join(host.host.as_str())));
    let live: Vec<PathBuf> = with_log.map(|path| path.join(LOG_NAME)).collect();
    let held = |folder: &Path| {
        let hold = Hold::new(folder);
        let logs = hold.hosts().unwrap_or_default().into_iter().flat_map(|(cluster, host)| hold.logs(&cluster, &host).unwrap_or_default());
        HoldFacts { folder: folder.to_owned(), held: facts(logs), copies: copies(doctor::existing(folder), live.first()) }
    };
    doctor::check_logs(&facts(live.iter().cloned()), hold.map(held).as_ref(), now)
}

fn facts(logs: impl Iterator<Item = PathBuf>) -> LogFacts {
    logs.fold(LogFacts::default(), |sum, path| {
        let Some((time, samples)) = first(&path) else { return sum };
        LogFacts { logs: sum.logs + 1, samples: sum.samples + samples, oldest: Some(sum.oldest.map_or(time, |oldest| oldest.min(time))) }
    })
}

/// The time of a log's first sample, and about how many samples it has.
fn first(path: &Path) -> Option<(i64, u64)> {
    let file = trusted::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let mut log = Log::new(BufReader::new(ReadFrom { file: &file, at: 0 }));
    loop {
        if let Piece::Record(record) = log.next().ok()?? {
            return Some((record.time, size.saturating_sub(record.at).div_ceil(record.end - record.at)));
        }
    }
}

/// Why logs are copied and not linked, if they are: a link is tried, and nothing of it stays.
fn copies(hold: &Path, log: Option<&PathBuf>) -> Option<String> {
    // another one may try at the same time, or have been killed before it removed its own
    let trial = hold.join(format!("{TRIAL}{}", random::token().ok()?));
    match std::fs::hard_link(log?, &trial) {
        Ok(()) => std::fs::remove_file(&trial).err().map(|e| format!("{}: {e}", Escaped(&trial))),
        Err(e) => Some(format!("no link can be made in {}: {e}", Escaped(hold))),
    }
}
