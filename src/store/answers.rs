//! What a server answers: errors are said in words, with what to do, and settings that it ignores are noticed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use object_store::{ClientOptions, HeaderMap};

use super::hints::{self, Refusal};
use super::limit::RateLimit;
use crate::settings::{Checksum, Encryption, S3Settings};

/// What objects are to be, by the settings, and who is asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// Host and port that S3 requests go to; all others are for credentials.
    host: String,
    /// What kind of credentials, and what to look at if there are none.
    pub credentials: (&'static str, String),
    /// Where access key and secret stand.
    pub key_names: [String; 2],
    /// Where requests go, for people.
    pub endpoint: String,
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

/// What an answer shows of how an object is stored.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    encryption: Option<String>,
    storage_class: Option<String>,
    tags: Option<usize>,
}

impl Shown {
    fn of(headers: &HeaderMap) -> Self {
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
        let scheme = if settings.endpoint.as_ref().is_some_and(|url| url.is_plain()) { "http" } else { "https" };
        Self {
            host: host.to_owned(),
            credentials: (settings.credentials.kind(), settings.credentials.advice(&settings.key_names)),
            key_names: settings.key_names.clone(),
            endpoint: format!("{scheme}://{host}"),
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

    /// How far this machine's clock is ahead of the server's, in seconds, by the last answer that told: it can jump.
    pub fn clock_ahead(&self) -> Option<i64> {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if an object's tags must be asked for, as its HEAD did not show them; once a run.
    pub fn has_to_ask_for_tags(&self, shown: Option<&Shown>) -> bool {
        self.tags > 0 && shown.is_some_and(|shown| shown.tags.is_none()) && first(&self.said.tags)
    }

    /// Says, once a run, which settings the server has ignored, by the answer to a HEAD of an object of this run.
    pub fn compare(&self, object: &str, shown: &Shown) {
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
        if let Some(tags) = shown.tags
            && tags != self.tags
            && self.tags > 0
            && first(&self.said.tags)
        {
            tracing::warn!(object, "the server ignored --tag: it counts {tags} tags of {}", self.tags);
        }
    }

    /// Says that no answer shows an object's tags.
    pub fn compare_tags(&self, object: &str, shown: Option<&Shown>) {
        match shown.and_then(|shown| shown.tags) {
            Some(tags) if tags == self.tags => {}
            Some(tags) => tracing::warn!(object, "the server ignored --tag: it counts {tags} tags of {}", self.tags),
            None => tracing::warn!(object, "the server shows no tags: it ignored --tag, or the credentials may not see them (s3:GetObjectTagging)"),
        }
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Credentials,
    List,
    /// HEAD or GET of an object.
    Read,
    /// PUT of an object, or the begin of a multipart upload.
    Write,
    Part,
    Complete,
    Abort,
    Delete,
}

impl Purpose {
    fn of(request: &HttpRequest, host: &str) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let elsewhere = request.uri().authority().is_none_or(|authority| authority.as_str() != host);
        match request.method().as_str() {
            // STS of some servers is at the same address
            _ if elsewhere || query.contains("Action=AssumeRole") => Self::Credentials,
            "PUT" if query.contains("partNumber=") => Self::Part,
            "PUT" => Self::Write,
            "POST" if query.contains("uploadId=") => Self::Complete,
            "POST" if query.starts_with("delete") => Self::Delete,
            "POST" => Self::Write,
            "DELETE" if query.contains("uploadId=") => Self::Abort,
            "DELETE" => Self::Delete,
            _ if query.contains("list-type") => Self::List,
            _ => Self::Read,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credentials => "credentials",
            Self::List => "s3:ListBucket",
            Self::Read => "s3:GetObject",
            Self::Write | Self::Part | Self::Complete => "s3:PutObject",
            Self::Abort => "s3:AbortMultipartUpload",
            Self::Delete => "s3:DeleteObject",
        })
    }
}

/// Sends requests, and looks at what comes back.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Who sends them.
    pub through: Arc<dyn HttpConnector>,
    /// What was asked for.
    pub asked: Arc<Asked>,
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client { through: self.through.connect(options)?, asked: Arc::clone(&self.asked) }))
    }
}

#[derive(Debug)]
struct Client {
    through: HttpClient,
    asked: Arc<Asked>,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let purpose = Purpose::of(&request, &self.asked.host);
        let size = request.body().content_length() as u64;
        let place = self.place(&request, purpose);
        let with_checksum = self.asked.checksum.filter(|name| request.headers().contains_key(*name));
        let answer = self.through.execute(request).await;
        if let Some(ahead) = answer.as_ref().ok().and_then(|answer| hints::clock_ahead(answer.headers())) {
            *self.asked.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
        match answer {
            Ok(mut answer) if answer.status().is_success() => {
                if purpose == Purpose::Read {
                    let shown = Shown::of(answer.headers());
                    answer.extensions_mut().insert(shown);
                }
                if let Some(name) = with_checksum
                    && !answer.headers().contains_key(name)
                    && first(&self.asked.said.checksum)
                {
                    tracing::info!(
                        "the server does not answer with the checksum that was sent ({name}): it may not have checked it. The signature covers the bytes all the same"
                    );
                }
                Ok(answer)
            }
            Ok(answer) => {
                self.failed(purpose, size);
                self.explained(purpose, answer).await
            }
            Err(e) => {
                // without a connection nothing was sent
                if e.kind() != HttpErrorKind::Connect {
                    self.failed(purpose, size);
                }
                Err(hints::unreached(e, purpose, &place, &self.asked))
            }
        }
    }
}

impl Client {
    /// Where a request goes, without what is secret in an address.
    fn place(&self, request: &HttpRequest, purpose: Purpose) -> String {
        if purpose != Purpose::Credentials {
            return self.asked.endpoint.clone();
        }
        let uri = request.uri();
        format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.authority().map_or("", |authority| authority.as_str()))
    }

    /// The same bytes will be sent once more.
    fn failed(&self, purpose: Purpose, size: u64) {
        if let Some(limit) = &self.asked.limit
            && matches!(purpose, Purpose::Write | Purpose::Part)
        {
            limit.charge(size);
        }
    }

    /// An answer that is an error: of its body only the code and the message are left, and what to do is added.
    async fn explained(&self, purpose: Purpose, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
        let (mut head, body) = answer.into_parts();
        // the status says enough, also where the rest breaks off
        let body = body.bytes().await.unwrap_or_default();
        let refusal = Refusal::new(head.status.as_u16(), &head.headers, &String::from_utf8_lossy(&body));
        let hint = hints::hint(purpose, &refusal, &self.asked);
        // A redirect without a place is the answer of a wrong region; object_store would not show its body. What a server does not
        // know, it will not know in four minutes either.
        if matches!(head.status.as_u16(), 301 | 302 | 307 | 308 | 501) {
            head.status = 400.try_into().unwrap_or(head.status);
        }
        let text = refusal.to_xml(hint.as_deref());
        Ok(HttpResponse::from_parts(head, HttpResponseBody::from(Bytes::from(text))))
    }
}
