//! What stays although it is old enough: it is counted, and named with the reason.

use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};

use super::planning;
use super::reader::Reader;
use super::useless::{Useless, decodes};
use crate::error::{Error, Result};
use crate::files::{Hashed, Place, SnapshotFile, Unread};
use crate::prove::Unproven;
use crate::telemetry::{KeepReason, PruneSummary, Stage, Watch};

/// It is of no use as a snapshot.
pub fn useless(path: PathBuf, why: Useless, watch: &Watch, summary: &mut PruneSummary) {
    match why {
        Useless::Unread(Unread::Vanished) => {}
        Useless::Unread(Unread::Changed) => changed(path, "changed", summary),
        Useless::Damaged(reason) => {
            let advice = "neither cc-archiver nor cc-backend can read it: put a copy in its place, or remove it";
            summary.keep(KeepReason::Damaged, path, format!("kept: it is damaged: {reason}; {advice}"));
        }
        Useless::Early => {
            let reason = "kept: the time in its name is in the future, so no older snapshot goes because of it: remove it, or set the clock right";
            summary.keep(KeepReason::Damaged, path, reason);
        }
        Useless::Unread(Unread::Failed(reason)) => {
            watch.failed(Stage::Read);
            summary.keep(KeepReason::Undeletable, path, format!("kept: it cannot be read: {reason}"));
        }
    }
}

/// A snapshot that is not archived, and why not.
pub struct NotArchived {
    /// Where it is.
    pub place: Place,
    /// Its name and status.
    pub file: SnapshotFile,
    /// Why not.
    pub reason: String,
}

/// They are not archived. A damaged file never will be: so each is decoded, to say which it is.
pub async fn not_archived(reader: &Reader, ones: Vec<NotArchived>, watch: &Watch, summary: &mut PruneSummary) -> Result<()> {
    let look = |NotArchived { place, file, reason }| async move {
        let (decoded, path) = reader.workers.run(move || (decodes(&place.path(), &file), place.path())).await?;
        Ok::<_, Error>((path, reason, decoded))
    };
    let mut looks = futures::stream::iter(ones).map(look).buffered(reader.workers.count());
    while let Some((path, reason, decoded)) = looks.try_next().await? {
        reader.check_stop()?;
        match decoded {
            Ok(()) => summary.keep(KeepReason::NotArchived, path, format!("kept: {reason}; run archive")),
            Err(why) => useless(path, why, watch, summary),
        }
    }
    Ok(())
}

/// It changed while this run looked at it.
pub fn changed(path: PathBuf, how: &str, summary: &mut PruneSummary) {
    summary.keep(KeepReason::Changed, path, format!("kept: it {how} during this run; the next run looks again"));
}

/// It cannot be deleted.
pub fn undeletable(path: &Path, reason: &str, summary: &mut PruneSummary) {
    summary.keep(KeepReason::Undeletable, path, format!("kept: it cannot be deleted: {reason}; does the directory belong to this user?"));
}

/// It is not proven.
pub fn unproven(file: &Hashed, unproven: Unproven, summary: &mut PruneSummary) {
    let (reason, why) = match unproven {
        Unproven::NotArchived(reason) => (KeepReason::NotArchived, format!("kept: {reason}; run archive")),
        Unproven::Conflict => (KeepReason::Conflicting, "kept: some of its values differ from the archived ones; --prune-conflicting deletes it anyway".into()),
        Unproven::Unreadable(object) => (KeepReason::NotProven, planning::undecidable(&object)),
        Unproven::Doubt(reason) => (KeepReason::NotProven, format!("kept: {reason}; look at the archive with verify --read-data")),
    };
    summary.keep(reason, file.place().path(), why);
}
