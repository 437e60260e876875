//! What objects are to be by the settings, and what of it a server ignores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::DateTime;
use object_store::HeaderMap;

use super::limit::RateLimit;
use crate::clock;
use crate::settings::{Checksum, Encryption, S3Settings};

/// What objects are to be, by the settings, and who is asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// Host and port that S3 requests go to; all others are for credentials.
    pub host: String,
    /// What kind of credentials, and what to look at if there are none.
    pub credentials: (&'static str, String),
    /// Where access key and secret stand.
    pub key_names: [String; 2],
    pub region: String,
    pub encryption: Option<Encryption>,
    pub storage_class: Option<String>,
    pub tags: usize,
    /// The header of a body's checksum.
    pub checksum: Option<&'static str>,
    pub limit: Option<Arc<RateLimit>>,
    /// What was said already.
    said: Said,
    /// How far this machine's clock is ahead of the server's, in seconds.
    ahead: Mutex<Option<i64>>,
}

#[derive(Debug, Default)]
struct Said {
    encryption: AtomicBool,
    storage_class: AtomicBool,
    tags: AtomicBool,
    checksum: AtomicBool,
}

/// True once.
fn first(said: &AtomicBool) -> bool {
    !said.swap(true, Ordering::Relaxed)
}

/// How far this machine's clock is ahead of the server's, in seconds, if the answer tells its time.
pub fn clock_ahead(headers: &HeaderMap) -> Option<i64> {
    let date = headers.get("date")?.to_str().ok()?;
    let served = DateTime::parse_from_rfc2822(date).ok()?;
    Some((clock::now() - served.to_utc()).num_seconds())
}

/// What an answer shows of how an object is stored.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    encryption: Option<String>,
    storage_class: Option<String>,
    tags: Option<usize>,
}

impl Shown {
    /// By an answer to a HEAD or GET.
    pub fn of(headers: &HeaderMap) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            encryption: header("x-amz-server-side-encryption"),
            storage_class: header("x-amz-storage-class"),
            tags: header("x-amz-tagging-count").and_then(|count| count.parse().ok()),
        }
    }
}

impl Asked {
    /// By the settings; S3 requests go to `host`.
    pub fn new(host: &str, settings: &S3Settings) -> Self {
        Self {
            host: host.to_owned(),
            credentials: (settings.credentials.kind(), settings.credentials.advice(&settings.key_names)),
            key_names: settings.key_names.clone(),
            region: settings.region().to_owned(),
            encryption: settings.encryption.clone(),
            storage_class: settings.storage_class.clone(),
            tags: settings.tags.len(),
            checksum: match settings.checksum {
                Checksum::Crc64nvme => Some("x-amz-checksum-crc64nvme"),
                Checksum::Sha256 => Some("x-amz-checksum-sha256"),
                Checksum::None => None,
            },
            limit: settings.limit_rate.map(|rate| Arc::new(RateLimit::new(rate))),
            said: Said::default(),
            ahead: Mutex::default(),
        }
    }

    /// Takes the server's time from an answer, if it tells.
    pub fn note_clock(&self, answer: &HeaderMap) {
        if let Some(ahead) = clock_ahead(answer) {
            *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
    }

    /// Says, once a run, that an answer is without the checksum `sent`, which is a header's name.
    pub fn compare_checksum(&self, sent: &str, answer: &HeaderMap) {
        if !answer.contains_key(sent) && first(&self.said.checksum) {
            tracing::info!(
                "the server does not answer with the checksum that was sent ({sent}): it may not have checked it. The signature covers the bytes all the same"
            );
        }
    }

    /// How far this machine's clock is ahead of the server's, in seconds, by the last answer that told: it can jump.
    pub fn clock_ahead(&self) -> Option<i64> {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says, once a run, which settings the server has ignored, by the answer to a HEAD of an object of this run. True if a GET has to tell
    /// of the tags: a HEAD need not count them.
    pub fn compare(&self, object: &str, shown: &Shown) -> bool {
        let was = |shown: &Option<String>| shown.clone().unwrap_or_else(|| "nothing".into());
        if let Some(encryption) = &self.encryption
            && shown.encryption.as_deref() != Some(encryption.header())
            && first(&self.said.encryption)
        {
            tracing::warn!(object, "the server ignored {encryption}: it says {}; what it stores may not be encrypted", was(&shown.encryption));
        }
        if let Some(class) = &self.storage_class
            && shown.storage_class.as_deref().unwrap_or("STANDARD") != class
            && first(&self.said.storage_class)
        {
            tracing::warn!(object, "the server ignored --storage-class {class}: it says {}", was(&shown.storage_class));
        }
        let is_news = self.tags > 0 && shown.tags != Some(self.tags) && first(&self.said.tags);
        if is_news && shown.tags.is_some() {
            self.compare_tags(object, Some(shown));
        }
        is_news && shown.tags.is_none()
    }

    /// Says which tags the server has ignored, by the answer to a GET.
    pub fn compare_tags(&self, object: &str, shown: Option<&Shown>) {
        match shown.and_then(|shown| shown.tags) {
            Some(tags) if tags == self.tags => {}
            Some(tags) => tracing::warn!(object, "the server ignored --tag: it counts {tags} tags of {}", self.tags),
            None => tracing::warn!(object, "the server shows no tags: it ignored --tag, or the credentials may not see them (s3:GetObjectTagging)"),
        }
    }
}
