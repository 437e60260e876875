//! Addresses of servers.

use std::fmt;
use std::net::IpAddr;

use crate::error::{Error, Result};

/// A server's address: scheme, host, port, and perhaps a path, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    /// Host and port, and the path.
    rest: String,
}

impl Endpoint {
    /// Checks an address; `from` says where it was given. It is not shown if it could hold a password.
    pub fn parse(from: &str, url: &str) -> Result<Self> {
        let wrong = |why: &str| Error::Usage(format!("{from}: {why}\n  hint: an address is such as https://s3.example.org or http://127.0.0.1:9000"));
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(|| wrong("it begins with neither https:// nor http://"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => "https",
            "http" => "http",
            _ => return Err(wrong("it begins with neither https:// nor http://")),
        };
        if rest.contains('@') {
            return Err(wrong("it holds a user's name or a password; credentials are not part of an address"));
        }
        let rest = rest.trim_end_matches('/');
        let endpoint = Self { scheme, rest: rest.to_owned() };
        if rest.contains(['?', '#']) || !rest.chars().all(|c| c.is_ascii_graphic()) || endpoint.host().is_empty() {
            return Err(wrong("it is not an address"));
        }
        Ok(endpoint)
    }

    /// True for plain http.
    pub fn is_plain(&self) -> bool {
        self.scheme == "http"
    }

    /// The host, without its port.
    pub fn host(&self) -> &str {
        let authority = self.rest.split('/').next().unwrap_or_default();
        match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
            Some((host, _)) => host,
            None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
        }
    }

    /// True if the host is an address and not a name.
    pub fn is_address(&self) -> bool {
        self.host().parse::<IpAddr>().is_ok()
    }

    /// Refuses an address that names the bucket as well: it would be part of each key then. Gateways may have a path of their own.
    pub fn check_without(&self, bucket: &str) -> Result<()> {
        let (authority, path) = self.rest.split_once('/').unwrap_or((&self.rest, ""));
        if path.split('/').all(|part| part != bucket) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "the endpoint {self} names the bucket {bucket} in its path\n  hint: the bucket stands in the archive's name only: s3://{bucket}/prefix and --endpoint {}://{authority}",
            self.scheme
        )))
    }

    /// The address at which a bucket has a host of its own.
    pub fn of_bucket(&self, bucket: &str) -> String {
        format!("{}://{bucket}.{}", self.scheme, self.rest)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_taken_apart() {
        let of = |url: &str| Endpoint::parse("--endpoint", url).expect(url);
        let parts = |url: &str| (of(url).to_string(), of(url).host().to_owned(), of(url).is_plain(), of(url).is_address());
        assert_eq!(parts("http://127.0.0.1:9000/"), ("http://127.0.0.1:9000".into(), "127.0.0.1".into(), true, true));
        assert_eq!(parts("HTTPS://s3.example.org"), ("https://s3.example.org".into(), "s3.example.org".into(), false, false));
        assert_eq!(parts("https://[::1]:9000/s3/"), ("https://[::1]:9000/s3".into(), "::1".into(), false, true));
        assert_eq!(of("https://s3.example.org:8443/x").of_bucket("b"), "https://b.s3.example.org:8443/x");
        for wrong in ["", "s3.example.org", "ftp://x", "https://", "https:///x", "https://:9000", "https://x?y", "https://x#y", "https://a b", "https://x\n"] {
            assert!(Endpoint::parse("--endpoint", wrong).is_err() || wrong.ends_with('\n'), "{wrong:?}");
        }
    }

    #[test]
    fn a_bucket_does_not_stand_in_the_path() {
        let checked = |url: &str| Endpoint::parse("--endpoint", url).and_then(|endpoint| endpoint.check_without("b"));
        for right in ["http://h:9000", "https://h/s3", "https://h/storage/v1/s3", "http://b:9000", "http://h/bb"] {
            assert!(checked(right).is_ok(), "{right}");
        }
        for wrong in ["http://h:9000/b", "http://h:9000/b/archive", "http://h:9000/s3/b/"] {
            assert!(checked(wrong).is_err_and(|e| e.to_string().ends_with("--endpoint http://h:9000")), "{wrong}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_shown() {
        let refused = Endpoint::parse("AWS_ENDPOINT_URL", "https://user:canary@s3.example.org").expect_err("it holds a password").to_string();
        assert!(refused.contains("AWS_ENDPOINT_URL") && !refused.contains("canary"), "{refused}");
    }
}
