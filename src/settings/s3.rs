//! How an archive in S3 is reached, and how objects are stored there.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use object_store::Certificate;

mod credentials;
mod endpoint;

pub use credentials::{Credentials, Secret};
pub use endpoint::Endpoint;

/// Bytes of an upload's first parts.
pub const PART_SIZE: usize = 8 << 20;

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

/// Where a bucket's name stands in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// In the path if there is an endpoint, else in the host's name.
    Auto,
    /// In the path: host/bucket/key
    Path,
    /// In the name of the host: bucket.host/key
    VirtualHost,
}

/// Checksums that a server can check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Checksum {
    /// CRC-64/NVME, the fastest.
    Crc64nvme,
    /// SHA-256, for servers that do not know the other.
    Sha256,
    /// None.
    None,
}

/// A tag of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
        let allowed = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(format!("S3 has no {c:?} in tags; letters, digits, spaces and + - = . _ : / @ are left"));
        }
        match (key.chars().count(), value.chars().count()) {
            (0, _) => Err("its key is empty".into()),
            (129.., _) => Err("a key has 128 characters at most".into()),
            (_, 257..) => Err("a value has 256 characters at most".into()),
            _ => Ok(Self { key: key.into(), value: value.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_what_s3_takes() {
        let tag = |text: &str| text.parse::<Tag>().map(|tag| (tag.key, tag.value));
        assert_eq!(tag("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(tag("team="), Ok(("team".into(), String::new())));
        assert_eq!(tag("Größe=1 m/s"), Ok(("Größe".into(), "1 m/s".into())));
        for wrong in ["", "a", "=b", "a=b&c", "a=b\nc", &format!("{}=b", "a".repeat(129)), &format!("a={}", "b".repeat(257))] {
            assert!(tag(wrong).is_err(), "{wrong}");
        }
    }
}
