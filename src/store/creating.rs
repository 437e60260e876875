//! Objects are created, never replaced: what became of a request is found out by looking at the key, and told by the upload's token.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::path::Path as Key;
use object_store::{Attribute, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::publish::{Created, Naming};
use super::{Archive, UPLOAD_TOKEN};
use crate::error::{Error, Result, Unreached};

/// What the conditions are tried on. Readers pass over it.
const PROBE: &str = "_cc-archiver/probe";
/// How often a trial is repeated whose connection breaks.
const TRIES: usize = 4;
/// Between two attempts: this, and twice as long each time, up to that.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// How an object becomes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a single request; in a directory, by a name.
    Put,
    /// By the completion of a multipart upload.
    Completion,
}

/// Whether the store refuses to overwrite, once it has been tried.
#[derive(Debug, Default)]
pub struct Trials {
    put: OnceCell<bool>,
    completion: OnceCell<bool>,
    naming: OnceCell<Naming>,
    /// Whether it was said that the store does not.
    said: AtomicBool,
}

fn is_refusal(e: &object_store::Error) -> bool {
    matches!(e, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
}

/// 409: another request was under way. That says nothing of what the store does when there is none.
fn is_conflict(e: &object_store::Error) -> bool {
    let text = e.to_string();
    ["ConditionalRequestConflict", "OperationAborted", "409 Conflict"].iter().any(|word| text.contains(word))
}

/// Writes over the probe, which the first write makes if it is not there. A write that says nothing is repeated.
async fn is_refused<F: Future<Output = object_store::Result<()>>>(mut is_there: bool, write: impl Fn() -> F) -> object_store::Result<bool> {
    let mut tries = TRIES;
    loop {
        match write().await {
            Ok(()) if is_there => return Ok(false),
            Ok(()) => is_there = true,
            Err(e) if is_refusal(&e) && !is_conflict(&e) => return Ok(true),
            Err(e) if (is_conflict(&e) || Unreached::within(&e).is_some()) && tries > 0 => tokio::time::sleep(PAUSE).await,
            Err(e) => return Err(e),
        }
        tries = tries.saturating_sub(1);
    }
}

impl Archive {
    fn put_options(&self, token: &str) -> PutOptions {
        PutOptions { mode: PutMode::Create, attributes: self.attributes(token), tags: self.tags(), ..Default::default() }
    }

    /// Options of a multipart upload.
    pub fn multipart_options(&self, token: &str) -> PutMultipartOptions {
        PutMultipartOptions { attributes: self.attributes(token), tags: self.tags(), ..Default::default() }
    }

    /// Makes bytes visible under a key, unless it is taken. A request that breaks off is sent again for as long as others are, and as long as `may_be`
    /// says that it may: else it is [`Created::Gone`].
    ///
    /// # Errors
    /// Those of the store; then the object may become visible later.
    pub async fn create(&self, key: &Key, payload: PutPayload, token: &str, may_be: impl Fn() -> bool) -> Result<Created> {
        // several tasks of a run can want one key at the same time: each stages bytes of its own
        if let Some(staged) = self.staged(&Key::from_iter([key.as_ref(), token]))? {
            self.store().put(&staged, payload).await.map_err(Error::store("cannot write", self.name_of(key)))?;
            return self.publish(&staged, key).await;
        }
        let (begun, mut pause) = (Instant::now(), PAUSE);
        loop {
            let e = match self.store().put_opts(key, payload.clone(), self.put_options(token)).await {
                Ok(put) => return Ok(Created::Done(put.e_tag)),
                Err(e) => e,
            };
            match self.is_own(key, token).await {
                Ok(Some(true)) => return Ok(self.answer_was_lost(key)),
                Ok(Some(false)) => return Ok(Created::Taken),
                // a conflict with a request that came to nothing, or no answer at all
                Ok(None) if (is_refusal(&e) || Unreached::within(&e).is_some()) && begun.elapsed() < self.retry_for => {
                    tracing::debug!("{} is sent again: {e}", self.name_of(key));
                }
                _ => return Err(Error::store("cannot upload", self.name_of(key))(e)),
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            if !may_be() {
                return Ok(Created::Gone);
            }
        }
    }

    /// Completes a multipart upload, unless its key is taken.
    ///
    /// # Errors
    /// Those of the store; then the object may become visible later.
    pub async fn complete(&self, upload: &mut dyn MultipartUpload, key: &Key, token: &str) -> Result<Created> {
        let e = match upload.complete().await {
            Ok(put) => return Ok(Created::Done(put.e_tag)),
            Err(e) => e,
        };
        match self.is_own(key, token).await {
            Ok(Some(true)) => Ok(self.answer_was_lost(key)),
            Ok(Some(false)) => Ok(Created::Taken),
            Ok(None) if is_refusal(&e) || matches!(e, object_store::Error::NotFound { .. }) => Ok(Created::Gone),
            _ => Err(Error::store("cannot upload", self.name_of(key))(e)),
        }
    }

    /// Whether the object under a key is the upload with this token; None if there is none.
    async fn is_own(&self, key: &Key, token: &str) -> object_store::Result<Option<bool>> {
        match self.store().get_opts(key, GetOptions { head: true, ..Default::default() }).await {
            Ok(found) => Ok(Some(found.attributes.get(&Attribute::Metadata(UPLOAD_TOKEN.into())).is_some_and(|found| **found == *token))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn answer_was_lost(&self, key: &Key) -> Created {
        tracing::warn!(key = self.name_of(key), "the answer to the upload was lost; the object is there");
        Created::Done(None)
    }

    /// True if the store refuses to put one object in the place of another. Tried once a run, before the first write of its kind.
    pub async fn refuses(&self, way: Way) -> Result<bool> {
        let failed = |e| Error::store("cannot try whether the store refuses to overwrite", self.name_of(&PROBE))(e);
        let put = if self.is_local() {
            *self.trials.put.get_or_try_init(|| async { Ok::<_, Error>(self.naming().await?.is_exclusive()) }).await?
        } else {
            *self.trials.put.get_or_try_init(|| self.refuses_put()).await.map_err(failed)?
        };
        let refuses = match way {
            Way::Completion if !self.is_local() => *self.trials.completion.get_or_try_init(|| self.refuses_completion()).await.map_err(failed)?,
            _ => put,
        };
        if !refuses && !self.trials.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{self:?} ignores conditional writes: it would overwrite objects. So each upload gets a key of its own, and rows can stand twice if two machines write, or if a request lands late; let one machine alone write to it"
            );
        }
        Ok(refuses)
    }

    /// True if a trial has shown that the store overwrites.
    pub fn overwrites(&self) -> bool {
        [&self.trials.put, &self.trials.completion].iter().any(|trial| trial.get() == Some(&false))
    }

    /// How files of a directory get their names.
    pub async fn naming(&self) -> Result<Naming> {
        self.trials.naming.get_or_try_init(|| self.try_naming()).await.copied()
    }

    async fn refuses_put(&self) -> object_store::Result<bool> {
        let key = Key::from(PROBE);
        let put = || async { self.store().put_opts(&key, PutPayload::from_static(b"probe"), self.put_options("probe")).await.map(drop) };
        is_refused(false, put).await
    }

    /// The probe is there: the trial of a PUT came before.
    async fn refuses_completion(&self) -> object_store::Result<bool> {
        let key = Key::from(PROBE);
        is_refused(true, || self.complete_probe(&key)).await
    }

    async fn complete_probe(&self, key: &Key) -> object_store::Result<()> {
        let mut upload = self.store().put_multipart_opts(key, self.multipart_options("probe")).await?;
        let completed = match upload.put_part(PutPayload::from_static(b"probe")).await {
            Ok(()) => upload.complete().await.map(drop),
            Err(e) => Err(e),
        };
        if completed.is_err()
            && let Err(e) = upload.abort().await
        {
            tracing::debug!("the upload of the trial is gone: {e}");
        }
        completed
    }
}
