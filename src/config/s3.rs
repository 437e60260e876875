//! Settings of an archive in S3: options, and the `AWS_*` variables behind them.
//!
//! Variables are taken one by one. Whatever else object_store would take from the environment is left out, and said.

use std::fmt;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use object_store::Certificate;

use super::AwsVariables;
use crate::cli::{Checksum, S3Args, Sse, Style, Tag};
use crate::error::{Error, Escaped, Result};

mod credentials;
mod endpoint;

use credentials::{ACCESS_KEY, SECRET_KEY};
pub use credentials::{Credentials, Secret};
pub use endpoint::Endpoint;

/// A signature is good for 15 minutes, and a request that is repeated is not signed again.
const LONGEST_RETRIES: Duration = Duration::from_secs(14 * 60);

/// Classes whose objects cannot be read at once; every run reads footers.
const OFFLINE_CLASSES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// The most tags that S3 takes.
const MOST_TAGS: usize = 10;

/// Variables that object_store takes, and this program does not: what to do instead.
const NOT_TAKEN: [(&str, &str); 18] = [
    ("AWS_ALLOW_HTTP", "plain http is for an endpoint that is given as http://"),
    ("AWS_ALLOW_INVALID_CERTIFICATES", "name the authority of the server's certificate with --ca-file"),
    ("AWS_SKIP_SIGNATURE", "requests without credentials are what --anonymous is for"),
    ("AWS_UNSIGNED_PAYLOAD", "what is sent is always signed"),
    ("AWS_CONDITIONAL_PUT", "nothing is overwritten in any case"),
    ("AWS_IMDSV1_FALLBACK", "instance metadata are asked by version 2 only"),
    ("AWS_CHECKSUM_ALGORITHM", "use --checksum"),
    ("AWS_DISABLE_TAGGING", "tags are what --tag says"),
    ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "use --s3-style"),
    ("AWS_SERVER_SIDE_ENCRYPTION", "use --sse"),
    ("AWS_SSE_KMS_KEY_ID", "use --sse-kms-key"),
    ("AWS_SSE_BUCKET_KEY_ENABLED", "it is a setting of the bucket"),
    ("AWS_SSE_CUSTOMER_KEY_BASE64", "keys of the customer are not supported; use --sse kms"),
    ("AWS_S3_EXPRESS", "directory buckets are not supported"),
    ("AWS_REQUEST_PAYER", "buckets whose readers pay are not supported"),
    ("AWS_TIMEOUT", "use --request-timeout"),
    ("AWS_PROXY_URL", "use HTTPS_PROXY and NO_PROXY"),
    ("AWS_DISABLE_SYSTEM_CERTIFICATES", "the system's authorities are always trusted"),
];

/// How an archive in S3 is reached, and how objects are stored there. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct S3Settings {
    /// The server; none: AWS.
    pub endpoint: Option<Endpoint>,
    /// The bucket's region, if it is named.
    pub region: Option<String>,
    /// Where the bucket's name stands.
    pub style: Style,
    /// Authorities to trust beside the system's.
    pub authorities: Vec<Certificate>,
    /// What requests are signed with.
    pub credentials: Credentials,
    /// Where access key and secret stand, if there are some: variables, or keys of the file.
    pub key_names: [String; 2],
    /// Encryption that is asked for.
    pub encryption: Option<Encryption>,
    /// Storage class that is asked for.
    pub storage_class: Option<String>,
    /// Tags of what is written.
    pub tags: Vec<Tag>,
    /// What the server is to check.
    pub checksum: Checksum,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long a request is repeated.
    pub retry_for: Duration,
    /// Bytes a second that are sent at most.
    pub limit_rate: Option<NonZeroU64>,
    /// Parts that are sent at a time.
    pub parts: usize,
    /// What of the environment was not taken, and what to do instead.
    pub not_taken: Vec<String>,
}

/// Encryption by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of S3.
    S3,
    /// With a key of a key management service, or the account's own.
    Kms(Option<String>),
}

impl Encryption {
    /// As it stands in headers.
    pub fn header(&self) -> &'static str {
        match self {
            Self::S3 => "AES256",
            Self::Kms(_) => "aws:kms",
        }
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3 => "--sse s3",
            Self::Kms(_) => "--sse kms",
        })
    }
}

impl S3Settings {
    /// Checks what the command line and the variables say.
    pub fn new(args: &S3Args, environment: &AwsVariables) -> Result<Self> {
        let variable = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.trim().is_empty());
        let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, variable(name)?)));
        let given = |flag: &'static str, value: &Option<String>, names: &[&'static str]| match value {
            Some(value) => Some((flag, value.clone())),
            None => first(names).map(|(name, value)| (name, value.to_owned())),
        };
        let called = |name: &str| environment.called(name);
        let endpoint = given("--endpoint", &args.endpoint, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]);
        let region = given("--region", &args.region, &["AWS_REGION", "AWS_DEFAULT_REGION"]);
        let ca_file = args.ca_file.as_deref().or_else(|| variable("AWS_CA_BUNDLE").map(Path::new));
        let settings = Self {
            endpoint: endpoint.map(|(from, url)| Endpoint::parse(from, &url)).transpose()?,
            region: region.map(|(from, name)| word(from, name)).transpose()?,
            style: args.s3_style,
            authorities: ca_file.map(authorities).transpose()?.unwrap_or_default(),
            credentials: if args.anonymous { Credentials::Anonymous } else { Credentials::find(variable, called)? },
            key_names: [ACCESS_KEY, SECRET_KEY].map(called),
            encryption: encryption(args)?,
            storage_class: args.storage_class.clone().map(storage_class).transpose()?,
            tags: tags(&args.tag)?,
            checksum: args.checksum,
            request_timeout: args.request_timeout.into(),
            retry_for: args.retry_for.into(),
            limit_rate: args.limit_rate.map(|rate| rate.0),
            parts: args.parts.into(),
            not_taken: not_taken(variable),
        };
        settings.checked()
    }

    fn checked(self) -> Result<Self> {
        if self.request_timeout < Duration::from_secs(1) {
            return Err(Error::Usage("--request-timeout of less than a second: no server answers that fast for sure".into()));
        }
        if self.retry_for > LONGEST_RETRIES {
            return Err(Error::Usage(
                "--retry-for of more than 14m: the signature of a request ends after 15 minutes\n  hint: let the next run go on; what was written stays".into(),
            ));
        }
        if self.style == Style::VirtualHost && self.endpoint.as_ref().is_some_and(Endpoint::is_address) {
            return Err(Error::Usage(
                "--s3-style virtual-host puts the bucket before the host's name, and the endpoint is an address\n  hint: name the host, or use --s3-style path"
                    .into(),
            ));
        }
        Ok(self)
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or("us-east-1")
    }
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("style", &self.style)
            .field("authorities", &self.authorities.len())
            .field("credentials", &self.credentials)
            .field("encryption", &self.encryption)
            .field("storage_class", &self.storage_class)
            .field("tags", &self.tags)
            .field("checksum", &self.checksum)
            .field("request_timeout", &self.request_timeout)
            .field("retry_for", &self.retry_for)
            .field("limit_rate", &self.limit_rate)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

impl S3Args {
    /// An option that changes what is stored, or how fast, wherever it was set: a directory does not know it.
    pub fn asks_for_more(&self) -> Option<&'static str> {
        let given = [
            ("--sse", self.sse != Sse::None),
            ("--sse-kms-key", self.sse_kms_key.is_some()),
            ("--storage-class", self.storage_class.is_some()),
            ("--tag", !self.tag.is_empty()),
            ("--limit-rate", self.limit_rate.is_some()),
        ];
        given.into_iter().find_map(|(option, is_given)| is_given.then_some(option))
    }
}

/// A value that becomes part of a header or of a host's name.
fn word(from: &str, text: String) -> Result<String> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(Error::Usage(format!("{from} {text:?}: letters, digits and - only")));
    }
    Ok(text)
}

fn encryption(args: &S3Args) -> Result<Option<Encryption>> {
    if let Some(key) = &args.sse_kms_key {
        if args.sse != Sse::Kms {
            return Err(Error::Usage("--sse-kms-key needs --sse kms".into()));
        }
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Error::Usage("--sse-kms-key must be the id, the alias or the ARN of a key".into()));
        }
    }
    Ok(match args.sse {
        Sse::None => None,
        Sse::S3 => Some(Encryption::S3),
        Sse::Kms => Some(Encryption::Kms(args.sse_kms_key.clone())),
    })
}

fn storage_class(name: String) -> Result<String> {
    if OFFLINE_CLASSES.contains(&name.as_str()) {
        return Err(Error::Usage(format!(
            "--storage-class {name}: its objects cannot be read before they are restored, and every run reads footers\n  hint: GLACIER_IR costs little and can be read at once"
        )));
    }
    word("--storage-class", name)
}

fn tags(tags: &[Tag]) -> Result<Vec<Tag>> {
    if tags.len() > MOST_TAGS {
        return Err(Error::Usage(format!("--tag: {} of them, and an object has {MOST_TAGS} at most", tags.len())));
    }
    for (at, tag) in tags.iter().enumerate() {
        if tags[..at].iter().any(|other| other.key == tag.key) {
            return Err(Error::Usage(format!("--tag {}: twice", tag.key)));
        }
    }
    Ok(tags.to_vec())
}

/// The certificates of a PEM file.
fn authorities(path: &Path) -> Result<Vec<Certificate>> {
    let pem = std::fs::read(path).map_err(|e| Error::Usage(format!("cannot read --ca-file {}: {e}", Escaped(path))))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|e| Error::Usage(format!("--ca-file {}: {e}", Escaped(path))))?;
    if found.is_empty() {
        return Err(Error::Usage(format!(
            "--ca-file {} holds no certificate\n  hint: it must be PEM, with the line -----BEGIN CERTIFICATE-----",
            Escaped(path)
        )));
    }
    Ok(found)
}

fn not_taken<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let is_set = |name: &str| variable(name).is_some_and(|value| !["false", "0", "no", "off"].contains(&value.to_ascii_lowercase().as_str()));
    NOT_TAKEN.iter().filter(|(name, _)| is_set(name)).map(|(name, instead)| format!("{name} is not taken: {instead}")).collect()
}
