//! What stays although it is old enough: it is counted, and named with the reason.

use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};

use super::pruning::{Candidate, Pruning, file_of};
use super::successors::{self, Useless, UselessOnes};
use crate::error::{Error, Result, SetAside};
use crate::files::ClusterFiles;
use crate::prove::{Hashed, Unproven};
use crate::telemetry::{PruneSummary, Stage};

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
            Useless::Vanished => {}
            Useless::Changed => changed(path, "changed", summary),
            Useless::Damaged(reason) => {
                summary.kept.damaged += 1;
                let advice = "neither cc-archiver nor cc-backend can read it: put a copy in its place, or remove it";
                summary.attention.push(SetAside::new(path, format!("kept: it is damaged: {reason}; {advice}")).into());
            }
            Useless::Early => {
                summary.kept.damaged += 1;
                let reason = "kept: the time in its name is in the future, so no older snapshot goes because of it: remove it, or set the clock right";
                summary.attention.push(SetAside::new(path, reason).into());
            }
            Useless::Unread(reason) => {
                self.progress.watch.failed(Stage::Read);
                summary.kept.undeletable += 1;
                summary.attention.push(SetAside::new(path, format!("kept: it cannot be read: {reason}")).into());
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
                Ok(()) => {
                    summary.kept.not_archived += 1;
                    summary.attention.push(SetAside::new(path, format!("kept: {reason}; run archive")).into());
                }
                Err(why) => self.keep_useless_one(path, why, summary),
            }
        }
        Ok(())
    }
}

/// It changed while this run looked at it.
pub fn changed(path: PathBuf, how: &str, summary: &mut PruneSummary) {
    summary.kept.changed += 1;
    summary.attention.push(SetAside::new(path, format!("kept: it {how} during this run; the next run looks again")).into());
}

/// It cannot be deleted.
pub fn undeletable(path: &Path, reason: &str, summary: &mut PruneSummary) {
    summary.kept.undeletable += 1;
    summary.attention.push(SetAside::new(path, format!("kept: it cannot be deleted: {reason}; does the directory belong to this user?")).into());
}

/// It is not proven.
pub fn unproven(file: &Hashed, unproven: Unproven, summary: &mut PruneSummary) {
    let (count, reason) = match unproven {
        Unproven::NotArchived(reason) => (&mut summary.kept.not_archived, format!("kept: {reason}; run archive")),
        Unproven::Conflict => {
            (&mut summary.kept.conflicting, "kept: some of its values differ from the archived ones; --prune-conflicting deletes it anyway".into())
        }
        Unproven::Unreadable(object) => (&mut summary.kept.not_proven, super::planning::undecidable(&object)),
        Unproven::Doubt(reason) => (&mut summary.kept.not_proven, format!("kept: {reason}; look at the archive with verify --read-data")),
    };
    *count += 1;
    summary.attention.push(SetAside::new(file.place().path(), reason).into());
}
