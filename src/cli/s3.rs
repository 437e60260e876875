//! Options of an archive in S3.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use super::help::RARE_S3;
use super::values::{path, span, switch};
use crate::settings::{Checksum, Style, Tag};

/// How an archive in S3 is reached, and how objects are stored there.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "S3")]
pub struct S3Args {
    /// The server's address; http:// means no TLS [default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_ENDPOINT, else AWS]
    #[arg(long, value_name = "URL", env = "CC_ARCHIVER_ENDPOINT")]
    pub endpoint: Option<String>,
    /// The bucket's region [default: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1]
    #[arg(long, value_name = "NAME", env = "CC_ARCHIVER_REGION")]
    pub region: Option<String>,
    /// Where the bucket's name stands; auto: in the path if there is an endpoint, else in the host.
    #[arg(long, value_enum, value_name = "STYLE", default_value = "auto", help_heading = RARE_S3, env = "CC_ARCHIVER_S3_STYLE")]
    pub s3_style: Style,
    /// PEM file with more authorities to trust [default: AWS_CA_BUNDLE]
    #[arg(long, value_name = "PATH", env = "CC_ARCHIVER_CA_FILE", value_parser = path())]
    pub ca_file: Option<PathBuf>,
    /// Send requests without credentials.
    #[arg(long, help_heading = RARE_S3, env = "CC_ARCHIVER_ANONYMOUS", value_parser = switch)]
    pub anonymous: bool,
    /// Encryption by the server; none: as the bucket is set up.
    #[arg(long, value_enum, default_value = "none", help_heading = RARE_S3, env = "CC_ARCHIVER_SSE")]
    pub sse: Sse,
    /// The key of --sse kms [default: the account's own]
    #[arg(long, value_name = "ID", help_heading = RARE_S3, env = "CC_ARCHIVER_SSE_KMS_KEY")]
    pub sse_kms_key: Option<String>,
    /// Storage class, such as STANDARD_IA [default: the server's]
    #[arg(long, value_name = "NAME", help_heading = RARE_S3, env = "CC_ARCHIVER_STORAGE_CLASS")]
    pub storage_class: Option<String>,
    /// Tag of new objects; can be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', help_heading = RARE_S3, env = "CC_ARCHIVER_TAG")]
    pub tag: Vec<Tag>,
    /// Checksum of each body, for the server to check.
    #[arg(long, value_enum, value_name = "NAME", default_value = "crc64nvme", help_heading = RARE_S3, env = "CC_ARCHIVER_CHECKSUM")]
    pub checksum: Checksum,
    /// How long one request may take.
    #[arg(long, value_name = "DURATION", default_value = "100s", help_heading = RARE_S3, env = "CC_ARCHIVER_REQUEST_TIMEOUT", value_parser = span, allow_hyphen_values = true)]
    pub request_timeout: humantime::Duration,
    /// How long it is tried again; at most 14m.
    #[arg(long, value_name = "DURATION", default_value = "4m", help_heading = RARE_S3, env = "CC_ARCHIVER_RETRY_FOR", value_parser = span, allow_hyphen_values = true)]
    pub retry_for: humantime::Duration,
    /// Send at most this much per second, such as 50MiB/s.
    #[arg(long, value_name = "SIZE/s", help_heading = RARE_S3, env = "CC_ARCHIVER_LIMIT_RATE")]
    pub limit_rate: Option<Rate>,
    /// Parts of 8 MiB that are sent at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64), help_heading = RARE_S3, env = "CC_ARCHIVER_PARTS")]
    pub parts: u8,
}

/// Encryption by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sse {
    /// As the bucket is set up.
    None,
    /// Keys of S3 (AES256).
    S3,
    /// A key of a key management service.
    Kms,
}

/// Nobody means fewer bytes a second, unless it is written as such.
const SLOW: u64 = 64 << 10;

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub NonZeroU64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a rate such as 50MiB/s");
        let size: ByteSize = text.strip_suffix("/s").unwrap_or(text).trim().parse().map_err(|_| wrong())?;
        let rate = NonZeroU64::new(size.as_u64()).ok_or("a rate of nothing would never end")?;
        if rate.get() < SLOW && !text.ends_with("B/s") {
            let number: String = text.chars().take_while(char::is_ascii_digit).collect();
            return Err(format!("that is {rate} bytes a second: write {number}MiB/s, or {rate}B/s if it is meant so"));
        }
        Ok(Self(rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_sizes_a_second() {
        let rate = |text: &str| text.parse::<Rate>().map(|rate| rate.0.get());
        assert_eq!([rate("50MiB/s"), rate("50MiB"), rate("1 kB/s")], [Ok(50 << 20), Ok(50 << 20), Ok(1000)]);
        assert_eq!([rate("50B/s"), rate("65536"), rate("64KiB")], [Ok(50), Ok(65_536), Ok(65_536)]);
        for slow in ["50", "50/s", "50B", "65535"] {
            assert!(rate(slow).is_err_and(|why| why.contains("MiB/s") && why.contains("B/s if it is meant so")), "{slow}");
        }
        for wrong in ["", "fast", "0", "0MiB/s", "/s", "5MiB/h", "-1MiB/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
