//! What stays although it is old enough: it is counted, and named with the reason.

use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};

use super::pruning::{Candidate, Pruning, file_of};
use super::successors::{self, Useless, UselessOnes};
use crate::error::{Error, Result};
use crate::files::{ClusterFiles, Hashed, Unread};
use crate::prove::Unproven;
use crate::telemetry::{KeepReason, PruneSummary, Stage};

impl Pruning {
    /// Keeps all that is of no use.
    pub fn keep_useless(&self, files: &ClusterFiles, useless: UselessOnes, summary: &mut PruneSummary) {
        for (host, ones) in files.hosts.iter().zip(useless) {
            for (snapshot, why) in ones {
                self.keep_useless_one(self.place_of(files, &host.host, &host.snapshots[snapshot]).path(), why, summary);
            }
        }
    }

    /// Keeps what is of no use.
    pub fn keep_useless_one(&self, path: PathBuf, why: Useless, summary: &mut PruneSummary) {
        match why {
            Useless::Unread(Unread::Vanished) => {}
            Useless::Unread(Unread::Changed) => changed(path, "changed", summary),
            Useless::Damaged(reason) => {
                let advice = "no archive and no cc-backend can take it: put a copy in its place, or remove it";
                summary.keep(KeepReason::Damaged, path, format!("kept: it is damaged: {reason}; {advice}"));
            }
            Useless::Early => {
                let reason = "kept: the time in its name has not come yet, so it stands for no older one: remove it, or set the clock right";
                summary.keep(KeepReason::Damaged, path, reason);
            }
            Useless::Unread(Unread::Failed(reason)) => {
                self.progress.watch.failed(Stage::Read);
                summary.keep(KeepReason::Undeletable, path, format!("kept: it cannot be read: {reason}"));
            }
        }
    }

    /// Keeps what is not archived. A damaged file never will be: so each is decoded, to say which it is.
    pub async fn keep_not_archived(&self, files: &ClusterFiles, not_archived: Vec<(Candidate, String)>, summary: &mut PruneSummary) -> Result<()> {
        let look = |(candidate, reason)| async move {
            let (host, file) = file_of(files, candidate);
            let (path, file) = (self.place_of(files, host, file).path(), file.clone());
            let (decoded, path) = self.workers.run(move || (successors::decodes(&path, &file), path)).await?;
            Ok::<_, Error>((path, reason, decoded))
        };
        let mut looks = futures::stream::iter(not_archived).map(look).buffered(self.workers.count());
        while let Some((path, reason, decoded)) = looks.try_next().await? {
            self.check_stop()?;
            match decoded {
                Ok(()) => summary.keep(KeepReason::NotArchived, path, format!("kept: {reason}; run archive")),
                Err(why) => self.keep_useless_one(path, why, summary),
            }
        }
        Ok(())
    }
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
        Unproven::Conflict => {
            (KeepReason::Conflicting, "kept: some of its values contradict archived ones; --prune-conflicting deletes it all the same".into())
        }
        Unproven::Unreadable(object) => (KeepReason::NotProven, super::planning::undecidable(&object)),
        Unproven::Doubt(reason) => (KeepReason::NotProven, format!("kept: {reason}; look at the archive with verify --read-data")),
    };
    summary.keep(reason, file.place().path(), why);
}
