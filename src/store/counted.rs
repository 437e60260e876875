//! Requests as they go over the wire, counted: what the store tries again counts each time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};

use crate::telemetry::Requests;

/// Counts requests, and leaves them as they are.
#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn HttpConnector>,
    requests: Arc<Requests>,
}

impl Counted {
    /// Counts what goes through `inner`.
    pub fn new(inner: Arc<dyn HttpConnector>, requests: Arc<Requests>) -> Self {
        Self { inner, requests }
    }
}

impl HttpConnector for Counted {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client { inner: self.inner.connect(options)?, requests: Arc::clone(&self.requests) }))
    }
}

#[derive(Debug)]
struct Client {
    inner: HttpClient,
    requests: Arc<Requests>,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (kind, identity) = (kind_of(&request), identity_of(&request));
        self.requests.begin(kind, identity);
        let answer = self.inner.execute(request).await;
        let status = answer.as_ref().map(|answer| answer.status().as_u16()).ok();
        // a conflict can be over nothing, and an answer "200" to a completion can hold an error: both are tried again then
        let may_be_retried = status.is_none_or(|status| is_temporary(status) || status == 409) || kind == "complete_upload";
        self.requests.end(kind, outcome_of(status), identity, may_be_retried);
        answer
    }
}

/// Answers with such a status are not final: the request is tried again.
pub fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}

/// What a request is for.
pub fn kind_of(request: &HttpRequest) -> &'static str {
    let uri = request.uri();
    let (host, query) = (uri.host().unwrap_or_default(), uri.query().unwrap_or_default());
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    // roles: the machine's or the container's own service, or the token service
    if host.starts_with("169.254.") || host.starts_with("sts.") || host.starts_with("[fd00:ec2:") || query.contains("Action=Assume") {
        return "credentials";
    }
    match (request.method().as_str(), has("uploadId"), has("uploads")) {
        ("PUT", true, _) => "put_part",
        ("POST", true, _) => "complete_upload",
        ("DELETE", true, _) => "abort_upload",
        ("POST", _, true) => "create_upload",
        ("GET", ..) if has("list-type") => "list",
        ("GET", ..) => "get",
        ("HEAD", ..) => "head",
        ("PUT", ..) => "put",
        ("DELETE", ..) => "delete",
        _ => "other",
    }
}

/// What became of it, by the answer's status.
fn outcome_of(status: Option<u16>) -> &'static str {
    match status {
        None => "no_answer",
        Some(404) => "not_found",
        Some(409 | 412) => "conflict",
        Some(429 | 503) => "throttled",
        Some(400..=499) => "refused",
        Some(500..) => "server_error",
        Some(_) => "ok",
    }
}

/// A retry is the same request with the same signature, of the same second.
pub fn identity_of(request: &HttpRequest) -> u64 {
    let mut hasher = DefaultHasher::new();
    (request.method().as_str(), request.uri().to_string()).hash(&mut hasher);
    for name in ["authorization", "range"] {
        request.headers().get(name).map(|value| value.as_bytes()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    fn request(method: &str, uri: &str) -> HttpRequest {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method.parse().expect("a method");
        *request.uri_mut() = uri.parse().expect("a URI");
        request
    }

    #[test]
    fn requests_are_told_apart() {
        for (method, uri, kind) in [
            ("GET", "http://s3/b?list-type=2&prefix=uploadId", "list"),
            ("GET", "http://s3/b/list-type", "get"),
            ("HEAD", "http://s3/b/o", "head"),
            ("PUT", "http://s3/b/o", "put"),
            ("POST", "http://s3/b/o?uploads=", "create_upload"),
            ("POST", "http://s3/b/o?uploads", "create_upload"),
            ("PUT", "http://s3/b/o?partNumber=1&uploadId=x", "put_part"),
            ("POST", "http://s3/b/o?uploadId=x", "complete_upload"),
            ("DELETE", "http://s3/b/o?uploadId=x", "abort_upload"),
            ("DELETE", "http://s3/b/o", "delete"),
            ("PUT", "http://169.254.169.254/latest/api/token", "credentials"),
            ("POST", "https://sts.eu-central-1.amazonaws.com/?Action=AssumeRoleWithWebIdentity", "credentials"),
        ] {
            assert_eq!(kind_of(&request(method, uri)), kind, "{method} {uri}");
        }
    }

    #[test]
    fn a_request_of_another_range_or_signature_is_another_request() {
        let plain = request("GET", "http://s3/b/o");
        for (name, value) in [("range", "bytes=0-1"), ("authorization", "AWS4-HMAC-SHA256 …1")] {
            let mut other = request("GET", "http://s3/b/o");
            other.headers_mut().insert(name, value.parse().expect("a value"));
            assert_ne!(identity_of(&plain), identity_of(&other), "{name}");
        }
        assert_eq!(identity_of(&plain), identity_of(&request("GET", "http://s3/b/o")));
    }

    #[test]
    fn a_retry_is_what_follows_a_failure_of_the_same_request() {
        let requests = Requests::default();
        for (identity, outcome, failed) in [(1, "server_error", true), (2, "ok", false), (1, "ok", false), (1, "ok", false)] {
            requests.begin("get", identity);
            requests.end("get", outcome, identity, failed);
        }
        assert_eq!([408, 429, 500, 503, 404, 409, 412, 200].map(is_temporary), [true, true, true, true, false, false, false, false]);
        assert_eq!(requests.retries().get("get"), Some(&1));
        assert_eq!(requests.counts().get(&("get", "ok")), Some(&3));
    }
}
