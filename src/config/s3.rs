//! Settings of an archive in S3: options, and the `AWS_*` variables behind them.
//!
//! Variables are taken one by one. Whatever else object_store would take from the environment is left out, and said.

use std::path::Path;
use std::time::Duration;

use object_store::Certificate;

use super::aws::AwsVariables;
use super::credentials::{self, ACCESS_KEY, SECRET_KEY};
use crate::cli::{S3Args, Sse};
use crate::error::{Error, Escaped, Result};
use crate::settings::{Credentials, Encryption, Endpoint, S3Settings, Style, Tag};

/// A signature is good for 15 minutes, and a request that is repeated is not signed again.
const LONGEST_RETRIES: Duration = Duration::from_secs(14 * 60);

/// Classes whose objects cannot be read at once; every run reads footers.
const OFFLINE_CLASSES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// The most tags that S3 takes.
const MOST_TAGS: usize = 10;

/// Variables that stand behind options: the first that is set counts.
pub(super) const ENDPOINT: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
pub(super) const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
pub(super) const CA_FILE: [&str; 1] = ["AWS_CA_BUNDLE"];

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

/// Checks what the options and the variables say.
///
/// # Errors
/// [`Error::Usage`]: one of them is wrong, or two of them contradict each other.
pub fn s3(args: &S3Args, variables: &AwsVariables) -> Result<S3Settings> {
    let variable = |name: &str| variables.value(name);
    let given = |flag: &'static str, value: &Option<String>, names: &[&'static str]| match value {
        Some(value) => Some((flag, value.clone())),
        None => variables.first(names).map(|(name, value)| (name, value.to_owned())),
    };
    let called = |name: &str| variables.called(name);
    let endpoint = given("--endpoint", &args.endpoint, &ENDPOINT);
    let region = given("--region", &args.region, &REGION);
    let ca_file = args.ca_file.as_deref().or_else(|| variables.first(&CA_FILE).map(|(_, path)| Path::new(path)));
    let settings = S3Settings {
        endpoint: endpoint.map(|(from, url)| Endpoint::parse(from, &url)).transpose()?,
        region: region.map(|(from, name)| word(from, name)).transpose()?,
        style: args.s3_style,
        authorities: ca_file.map(authorities).transpose()?.unwrap_or_default(),
        credentials: if args.anonymous { Credentials::Anonymous } else { credentials::find(variable, called)? },
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
    checked(settings)
}

fn checked(settings: S3Settings) -> Result<S3Settings> {
    if settings.request_timeout < Duration::from_secs(1) {
        return Err(Error::Usage("--request-timeout of less than a second: no server answers that fast for sure".into()));
    }
    if settings.retry_for > LONGEST_RETRIES {
        return Err(Error::Usage(
            "--retry-for of more than 14m: the signature of a request ends after 15 minutes\n  hint: let the next run go on; what was written stays".into(),
        ));
    }
    if settings.style == Style::VirtualHost && settings.endpoint.as_ref().is_some_and(Endpoint::is_address) {
        return Err(Error::Usage(
            "--s3-style virtual-host puts the bucket before the host's name, and the endpoint is an address\n  hint: name the host, or use --s3-style path"
                .into(),
        ));
    }
    Ok(settings)
}

/// An option that changes what is stored, or how fast, wherever it was set: a directory does not know it.
pub(super) fn asks_for_more(args: &S3Args) -> Option<&'static str> {
    let given = [
        ("--sse", args.sse != Sse::None),
        ("--sse-kms-key", args.sse_kms_key.is_some()),
        ("--storage-class", args.storage_class.is_some()),
        ("--tag", !args.tag.is_empty()),
        ("--limit-rate", args.limit_rate.is_some()),
    ];
    given.into_iter().find_map(|(option, is_given)| is_given.then_some(option))
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
    let pem = std::fs::read(path).map_err(Error::unreadable("--ca-file ", path))?;
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
