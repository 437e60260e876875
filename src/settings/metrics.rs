//! Where a run's metrics go.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use object_store::client::{HttpRequest, HttpRequestBody};

/// Where a run's metrics go.
#[derive(Debug, Clone)]
pub struct MetricsSettings {
    /// A file.
    pub file: Option<PathBuf>,
    /// A Pushgateway.
    pub push: Option<PushUrl>,
}

/// Where a Pushgateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushUrl(String);

impl FromStr for PushUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or("it must begin with http:// or https://")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return Err("it must not hold a password".into());
        }
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = text.parse().map_err(|e| format!("it is no URL: {e}"))?;
        if host.is_empty() || rest.contains(['?', '#']) { Err("use http://host:port or http://host:port/path".into()) } else { Ok(Self(text.into())) }
    }
}

impl fmt::Display for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PushUrl {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
