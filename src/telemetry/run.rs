//! A run as it is seen from outside: its name, what it works on, how it ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use tokio::time::Instant;

use super::figures::{self, Ended};
use super::metrics::Sheet;
use super::publish::{self, Gateway};
use super::{Figures, Progress, RunId, TableFigures, thousands};
use crate::clock;
use crate::error::{Escaped, Exit};
use crate::settings::{MetricsSettings, PushUrl};

/// A gateway is given so long to answer, each time.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The same when a signal has ended the run: whoever sent it waits.
const SHORT_PUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// What a run works on.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The command's name.
    pub name: &'static str,
    /// What it has done when it has ended.
    pub done: &'static str,
    /// The checkpoint tree, if it needs one.
    pub checkpoints: Option<PathBuf>,
    /// The archive.
    pub archive: String,
    /// Nothing is touched, metrics neither.
    pub dry_run: bool,
}

/// One run of a command.
#[derive(Debug)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// What it works on.
    pub subject: Subject,
    /// Counters that go up while it is under way.
    pub progress: Arc<Progress>,
    /// Where its metrics go; nowhere until that is checked.
    pub metrics: Option<MetricsSettings>,
    /// The age at which cc-backend takes snapshots away, if that is known.
    pub removes_after: Option<Duration>,
    began: (Instant, i64),
}

impl Run {
    /// It begins now.
    pub fn new(id: RunId, subject: Subject) -> Self {
        Self { id, subject, progress: Arc::default(), metrics: None, removes_after: None, began: (Instant::now(), clock::now().timestamp_millis()) }
    }

    /// What it leaves when it has ended: metrics, and the last line of the log, which says all that a person needs.
    /// `block_on` waits for a push, or for a signal.
    pub fn end(&self, exit: Exit, block_on: impl FnOnce(futures::future::BoxFuture<'_, ()>)) {
        let ended = Ended { exit, began: self.began.1, ended: clock::now().timestamp(), seconds: self.began.0.elapsed().as_secs_f64() };
        if let Some(metrics) = &self.metrics
            && !self.subject.dry_run
        {
            let known = metrics.file.as_ref().map(|path| self.leave(path, ended));
            if let Some(url) = &metrics.push {
                let timeout = if exit == Exit::Interrupted { SHORT_PUSH_TIMEOUT } else { PUSH_TIMEOUT };
                block_on(Box::pin(async move {
                    if let Err(e) = self.push(url, timeout, ended, known.flatten()).await {
                        tracing::warn!(url = %url, "metrics were not pushed: {e}");
                    }
                }));
            }
        }
        self.say(ended);
    }

    fn sheet(&self, ended: Ended, previous: Option<&Sheet>) -> Sheet {
        let retention = self.removes_after.map(|age| age.as_secs() as i64);
        figures::sheet(self.subject.name, self.id.as_str(), &self.progress.watch, ended, retention, previous)
    }

    /// Into the file. Gives the metrics; none if those of the previous run cannot be read.
    fn leave(&self, path: &std::path::Path, ended: Ended) -> Option<Sheet> {
        let previous =
            publish::previous(path).inspect_err(|e| tracing::warn!(path = %Escaped(path), "the metrics of the previous run cannot be read: {e}")).ok();
        let sheet = self.sheet(ended, previous.as_ref());
        if let Err(e) = publish::write(path, &sheet.render()) {
            tracing::warn!(path = %Escaped(path), "metrics cannot be written: {e}");
        }
        previous.map(|_| sheet)
    }

    async fn push(&self, url: &PushUrl, timeout: Duration, ended: Ended, known: Option<Sheet>) -> Result<(), String> {
        let gateway = Gateway::new(url, self.subject.name, timeout)?;
        if let Some(sheet) = known {
            return gateway.push(&sheet, true).await;
        }
        let previous = gateway.previous().await?;
        let sheet = self.sheet(ended, previous.as_ref());
        gateway.push(&sheet, previous.is_some()).await
    }

    fn say(&self, ended: Ended) {
        let Subject { name, done, checkpoints, archive, .. } = &self.subject;
        let checkpoints = checkpoints.as_ref().map(|path| Escaped(path).to_string());
        let verb = match ended.exit {
            // what it prints is all that there is to say
            Exit::Complete | Exit::SetAside if self.subject.dry_run => return,
            Exit::Complete | Exit::SetAside => done,
            Exit::Interrupted => "interrupted",
            Exit::Locked => "not begun",
            Exit::Fatal | Exit::Usage => "failed",
        };
        let counts = counts_of(&self.progress.watch.figures());
        macro_rules! say {
            ($level:ident) => {
                tracing::$level!(
                    command = name,
                    checkpoints,
                    archive,
                    exit_code = ended.exit as u8,
                    seconds = (ended.seconds * 1_000.0).round() / 1_000.0,
                    next = next_after(ended.exit, name),
                    "{verb}{counts}"
                )
            };
        }
        // what ended it was told as an error before
        if matches!(ended.exit, Exit::SetAside | Exit::Interrupted) { say!(warn) } else { say!(info) }
    }
}

/// How many of what, as far as the run got.
fn counts_of(figures: &Figures) -> String {
    let mut parts = Vec::new();
    if let Some(did) = &figures.archive {
        parts.push(format!(
            "{} {} of {} of {} hosts, {} rows in {} objects",
            did.files,
            did.sources,
            did.hosts_archived,
            did.hosts,
            thousands(did.rows_written),
            did.objects_written
        ));
        parts.push(format!("{} archived already, {} waiting, {} set aside", did.already_archived, did.waiting.len(), did.set_aside.len()));
    }
    for pruned in figures.prune.iter().chain(figures.archive.as_ref().and_then(|did| did.prune.as_ref())) {
        parts.push(format!("{} pruned, {}, {} to look at", pruned.pruned, ByteSize(pruned.bytes), pruned.attention.len()));
    }
    if let Some(found) = &figures.verify {
        let findings: u64 = found.findings.iter().map(|(_, count)| count).sum();
        parts.push(format!("{} objects, {} read, {findings} findings", found.objects, ByteSize(found.bytes)));
    }
    if let Some(did) = &figures.compact {
        parts.push(format!(
            "{} objects became {}, {} rows that stood twice, {} set aside",
            did.replaced,
            did.made,
            thousands(did.doubled_rows),
            did.set_aside.len()
        ));
    }
    if let Some(did) = &figures.expire {
        parts.push(format!("{} of {} objects deleted, {}, {} rows", did.deleted, did.objects, ByteSize(did.bytes), thousands(did.rows)));
    }
    if let Some(TableFigures { version, files }) = figures.table {
        parts.push(format!("version {version} of the table, {} files", thousands(files)));
    }
    if let Some(did) = &figures.restore {
        parts.push(format!(
            "{} samples of {} hosts in {} files, {} of them new, {}",
            thousands(did.samples),
            did.hosts,
            did.files + did.files_there,
            did.files,
            ByteSize(did.bytes)
        ));
    }
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) }
}

/// What a person is to do, if there is anything.
fn next_after(exit: Exit, command: &str) -> Option<&'static str> {
    let next = match (exit, command) {
        (Exit::Complete, _) => return None,
        (Exit::SetAside, "archive") => "look at the snapshots that were set aside or kept; all others are done",
        (Exit::SetAside, "table") => "look at the objects that cannot be read; all others are done",
        (Exit::SetAside, "prune") => "look at the snapshots that were kept; all others are done",
        (Exit::SetAside, "compact") => "look at the objects that were set aside, and at the conflicts; all others are done",
        (Exit::SetAside, "expire") => "look at what is still there; all else is done",
        (Exit::SetAside, "inspect") => "what is damaged is shown with its place",
        (Exit::SetAside, "restore") => "look at what is named above; all other checkpoints are written",
        (Exit::SetAside, _) => "each finding says what to do",
        (Exit::Fatal, _) => "see the error above; run again when its cause is gone",
        (Exit::Usage, _) => "correct what the error above says; nothing was done",
        (Exit::Locked, _) => "wait until the other run has ended",
        (Exit::Interrupted, _) => "run again: it goes on from here",
    };
    Some(next)
}
