//! Errors of a server in words, each with what to do.

use std::error::Error as _;

use object_store::HeaderMap;
use object_store::client::{HttpError, HttpErrorKind};

use super::asked::{Asked, clock_ahead};
use super::request::{Kind, Request};
use crate::error::{Unreached, xml_field};

/// The longest message of a server that is shown.
const LONGEST_MESSAGE: usize = 300;

/// A clock that is this far off is worth a word, in seconds.
const SKEW: i64 = 60;

/// An answer that is an error.
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    code: String,
    message: String,
    /// The region that the bucket is in, if the server says so.
    region: Option<String>,
    /// How far this machine's clock is ahead of the server's, in seconds.
    ahead: Option<i64>,
}

impl Refusal {
    /// Reads an answer.
    pub fn new(status: u16, headers: &HeaderMap, body: &str) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let field = |name: &str| xml_field(body, name).map(str::to_owned);
        let plain = |text: &str| {
            [("&#39;", "'"), ("&apos;", "'"), ("&#34;", "\""), ("&quot;", "\""), ("&amp;", "&")]
                .iter()
                .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
        };
        let shortened = |text: &str| plain(text).split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_MESSAGE).collect::<String>();
        Self {
            status,
            region: header("x-amz-bucket-region").map(str::to_owned).or_else(|| field("Region")),
            ahead: clock_ahead(headers),
            message: shortened(xml_field(body, "Message").unwrap_or(if body.contains("<Code>") { "" } else { body })),
            code: field("Code").unwrap_or_default(),
        }
    }

    /// The answer's body for whoever shows it.
    pub fn to_xml(&self, hint: Option<&str>) -> String {
        let code = match (self.code.as_str(), self.is_redirect()) {
            ("", true) => "PermanentRedirect".to_owned(),
            ("", false) if self.message.is_empty() && hint.is_none() => return String::new(),
            ("", false) => format!("status {}", self.status),
            (code, _) => code.to_owned(),
        };
        // tags of a page that is no XML must not end ours
        let message = self.message.replace(['<', '>'], " ");
        let message = if message.is_empty() { String::new() } else { format!("<Message>{message}</Message>") };
        let hint = hint.map(|hint| format!("<Hint>{hint}</Hint>")).unwrap_or_default();
        format!("<Error><Code>{code}</Code>{message}{hint}</Error>")
    }

    fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 307 | 308)
    }

    fn says(&self, words: &[&str]) -> bool {
        let text = format!("{} {}", self.code, self.message).to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    }
}

/// What to do about an answer, where that can be told.
pub fn hint(kind: Kind, refusal: &Refusal, asked: &Asked) -> Option<String> {
    if kind == Kind::Credentials {
        return Some(without_credentials(asked));
    }
    let clock =
        |ahead: i64| format!("this machine's clock is {} s {} the server's; set it right (NTP)", ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
    Some(match refusal.code.as_str() {
        "NoSuchBucket" => "the bucket does not exist; create it, or check its name and --endpoint (AWS_ENDPOINT_URL)".into(),
        "InvalidBucketName" => "no bucket can have this name".into(),
        "InvalidAccessKeyId" => {
            let [id, _] = &asked.key_names;
            format!("the server does not know the access key; check {id}, and that --endpoint (AWS_ENDPOINT_URL) is the server that it is for")
        }
        "SignatureDoesNotMatch" => {
            let [_, secret] = &asked.key_names;
            format!("the secret is not that of the access key; check {secret} (or a proxy changes requests on their way)")
        }
        "ExpiredToken" | "InvalidToken" | "InvalidTokenId" | "TokenRefreshRequired" => {
            format!("the session of the credentials ({}) has ended or is not known; get a new AWS_SESSION_TOKEN, or use a role", asked.credentials.0)
        }
        "RequestTimeTooSkewed" | "RequestExpired" => {
            refusal.ahead.map_or_else(|| "this machine's clock and the server's differ; set it right (NTP)".into(), clock)
        }
        "AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" | "InvalidRegion" => {
            elsewhere(refusal, asked)
        }
        "AccessDenied" | "AllAccessDisabled" | "UnauthorizedAccess" => denied(kind, refusal, asked, clock),
        "InvalidObjectState" => "the object lies in a storage class that must be restored before it can be read".into(),
        "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" => "the target is full; free some space and run again".into(),
        "SlowDown" | "TooManyRequests" => "the server asks for less; use fewer --parts, or --limit-rate".into(),
        "BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => {
            "the bytes changed on their way, or the server reckons checksums in another way (--checksum sha256 or none)".into()
        }
        _ if refusal.is_redirect() => elsewhere(refusal, asked),
        _ if refusal.says(&["http request to an https server"]) => "the server speaks TLS; begin --endpoint (AWS_ENDPOINT_URL) with https://".into(),
        _ => {
            return refused_option(kind, refusal, asked).or_else(|| match refusal.status {
                403 => Some(denied(kind, refusal, asked, clock)),
                401 => Some(format!("the server does not accept the credentials ({}); {}", asked.credentials.0, asked.credentials.1)),
                // a HEAD has no body to say it in
                400 if refusal.region.as_ref().is_some_and(|region| *region != asked.region) => Some(elsewhere(refusal, asked)),
                _ => None,
            });
        }
    })
}

fn without_credentials(asked: &Asked) -> String {
    let (by, advice) = &asked.credentials;
    format!("no credentials by {by}: {advice}")
}

fn elsewhere(refusal: &Refusal, asked: &Asked) -> String {
    match &refusal.region {
        Some(region) if !region.is_empty() => format!("the bucket is in the region {region}, and {} was asked; use --region {region}", asked.region),
        _ => format!(
            "the bucket is in another region than {}, or at another server; check --region (AWS_REGION) and --endpoint (AWS_ENDPOINT_URL)",
            asked.region
        ),
    }
}

fn denied(kind: Kind, refusal: &Refusal, asked: &Asked, clock: impl Fn(i64) -> String) -> String {
    let mut needed = kind.right().to_owned();
    if kind.begins_object() {
        if asked.tags > 0 {
            needed += " and s3:PutObjectTagging (--tag)";
        }
        if matches!(asked.encryption, Some(crate::settings::Encryption::Kms(_))) {
            needed += " and kms:GenerateDataKey and kms:Decrypt on the key (--sse kms)";
        }
    }
    let mut text = format!("the credentials ({}) may not do this; their policy, or the bucket's, must allow {needed}", asked.credentials.0);
    if let Some(ahead) = refusal.ahead.filter(|ahead| ahead.abs() > SKEW) {
        text += "; and ";
        text += &clock(ahead);
    }
    text
}

/// Which option of an upload the server does not take: by its words, or else all that it could be.
fn refused_option(kind: Kind, refusal: &Refusal, asked: &Asked) -> Option<String> {
    let begins = kind.begins_object();
    if !begins && !matches!(kind, Kind::PutPart | Kind::CompleteUpload) {
        return None;
    }
    let encryption = asked.encryption.as_ref().filter(|_| begins).map(|encryption| {
        let words: &[&str] = &["encrypt", "kms", "sse"];
        (encryption.to_string(), words, "use what the server has, or leave it out and encrypt the bucket")
    });
    let class = asked.storage_class.as_ref().filter(|_| begins).map(|class| {
        let words: &[&str] = &["storageclass", "storage class", "storage-class"];
        (format!("--storage-class {class}"), words, "use a class that the server has, or leave it out")
    });
    let tags = (asked.tags > 0 && begins).then(|| {
        let words: &[&str] = &["tag"];
        ("--tag".to_owned(), words, "leave it out, or use tags that the server takes")
    });
    let checksum = asked.checksum.map(|name| {
        let words: &[&str] = &["checksum", "crc64", "crc-64", "digest"];
        let (is, other) = if name.ends_with("sha256") { ("sha256", "crc64nvme") } else { ("crc64nvme", "sha256") };
        (format!("--checksum {is}"), words, if other == "sha256" { "use --checksum sha256 or none" } else { "use --checksum crc64nvme or none" })
    });
    let condition = (kind != Kind::PutPart).then(|| {
        let words: &[&str] = &["if-none-match", "conditional", "precondition"];
        (
            "a conditional write (If-None-Match)".to_owned(),
            words,
            "nothing is written without it, as something could be overwritten: another server, or a newer version of it, is needed",
        )
    });
    let all: Vec<_> = [encryption, class, tags, checksum, condition].into_iter().flatten().collect();
    if let Some((option, _, what_to_do)) = all.iter().find(|(_, words, _)| refusal.says(words)) {
        return Some(format!("the server refused {option}; {what_to_do}"));
    }
    let is_about_headers = matches!(refusal.code.as_str(), "NotImplemented" | "InvalidArgument" | "InvalidRequest" | "NotSupported") || refusal.status == 501;
    let options: Vec<&str> = all.iter().map(|(option, ..)| option.as_str()).collect();
    is_about_headers
        .then(|| format!("the server does not take a part of this request, which has {}; leave out what can be left out, one by one", options.join(", ")))
}

/// A request without an answer, in words. What waiting cannot mend is not tried again.
pub fn unreached(e: HttpError, request: &Request, asked: &Asked) -> HttpError {
    let mut why = Vec::new();
    let mut cause = e.source();
    while let Some(e) = cause {
        let text = e.to_string();
        if !why.contains(&text) {
            why.push(text);
        }
        cause = e.source();
    }
    let all = why.join(": ");
    let has = |words: &[&str]| words.iter().any(|word| all.contains(word));
    let option = if request.kind == Kind::Credentials { "the address" } else { "--endpoint (AWS_ENDPOINT_URL)" };
    let (kind, hint) = if has(&["UnknownIssuer", "CaUsedAsEndEntity", "self-signed", "self signed"]) {
        (
            HttpErrorKind::Unknown,
            "the certificate is of an authority that this machine does not trust; name the file with the authority's certificate: --ca-file".to_owned(),
        )
    } else if has(&["invalid peer certificate"]) {
        (HttpErrorKind::Unknown, format!("the server's certificate is not good; check the name in {option}, and both clocks"))
    } else if has(&["InvalidContentType", "corrupt message", "WrongVersion"]) {
        (HttpErrorKind::Unknown, format!("no TLS is spoken there; begin {option} with http:// if it is meant to be so"))
    } else if request.kind == Kind::Credentials {
        (e.kind(), without_credentials(asked))
    } else if e.kind() == HttpErrorKind::Timeout && !has(&["connect"]) {
        (e.kind(), "the server did not answer in time; use a longer --request-timeout, fewer --parts, or look at the server".to_owned())
    } else {
        (e.kind(), format!("the server cannot be reached; check {option}, the region, the network and the proxy"))
    };
    // the first cause is the client's, which says no more than that it failed
    let last = why.last().cloned().unwrap_or_else(|| e.to_string());
    HttpError::new(kind, Unreached { what: format!("no answer from {}: {last}", request.server), hint })
}
