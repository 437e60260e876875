//! What a request is for: found out once, by its method, its address and its query.

use std::hash::{DefaultHasher, Hash, Hasher};

use object_store::client::HttpRequest;
use object_store::path::Path as Key;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keys of a bucket.
    List,
    /// An object's bytes.
    Get,
    /// What is known of an object without its bytes.
    Head,
    /// A whole object.
    Put,
    /// The begin of a multipart upload.
    CreateUpload,
    /// A part of one.
    PutPart,
    /// Its end, which makes the object visible.
    CompleteUpload,
    /// Its end without an object.
    AbortUpload,
    /// Objects are removed.
    Delete,
    /// It goes to a service that gives credentials.
    Credentials,
    /// None of these.
    Other,
}

impl Kind {
    /// By the request; those for objects go to the host and port `s3`.
    fn of(request: &HttpRequest, s3: &str) -> Self {
        let (authority, query) = (request.uri().authority(), request.uri().query().unwrap_or_default());
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        // some servers give credentials at the same address
        if authority.is_none_or(|authority| authority != s3) || query.contains("Action=Assume") {
            return Self::Credentials;
        }
        match (request.method().as_str(), has("uploadId")) {
            ("PUT", true) => Self::PutPart,
            ("POST", true) => Self::CompleteUpload,
            ("DELETE", true) => Self::AbortUpload,
            ("POST", _) if has("uploads") => Self::CreateUpload,
            ("POST", _) if has("delete") => Self::Delete,
            ("GET", _) if has("list-type") => Self::List,
            ("GET", _) => Self::Get,
            ("HEAD", _) => Self::Head,
            ("PUT", _) => Self::Put,
            ("DELETE", _) => Self::Delete,
            _ => Self::Other,
        }
    }

    /// As metrics and log lines call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::CreateUpload => "create_upload",
            Self::PutPart => "put_part",
            Self::CompleteUpload => "complete_upload",
            Self::AbortUpload => "abort_upload",
            Self::Delete => "delete",
            Self::Credentials => "credentials",
            Self::Other => "other",
        }
    }

    /// What a policy must allow for it.
    pub fn right(self) -> &'static str {
        match self {
            Self::List => "s3:ListBucket",
            Self::Get | Self::Head => "s3:GetObject",
            Self::Put | Self::CreateUpload | Self::PutPart | Self::CompleteUpload => "s3:PutObject",
            Self::AbortUpload => "s3:AbortMultipartUpload",
            Self::Delete => "s3:DeleteObject",
            Self::Credentials | Self::Other => "this request",
        }
    }

    /// It says what an object is to be: its encryption, its class, its tags.
    pub fn begins_object(self) -> bool {
        matches!(self, Self::Put | Self::CreateUpload)
    }

    /// It sends an object's bytes.
    pub fn sends_bytes(self) -> bool {
        matches!(self, Self::Put | Self::PutPart)
    }
}

/// A request, as far as it is counted, spoken of and explained.
#[derive(Debug)]
pub struct Request {
    /// What it is for.
    pub kind: Kind,
    /// The object, or what is listed, and at which server. Of an address for credentials no more than the server: its path can be secret.
    pub place: String,
    /// The server's address.
    pub server: String,
    /// All attempts of a request have the same, as they have the same signature.
    pub identity: u64,
    /// Bytes of its body.
    pub size: u64,
}

impl Request {
    /// Looks at a request; those for objects go to the host and port `s3`.
    pub fn of(request: &HttpRequest, s3: &str) -> Self {
        let (kind, uri) = (Kind::of(request, s3), request.uri());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let prefix = uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("prefix="));
        let path = [uri.path()].into_iter().chain(prefix).filter(|_| kind != Kind::Credentials);
        let readable = |text: &str| Key::from_url_path(text).map_or_else(|_| text.to_owned(), |key| key.to_string());
        let parts = [host.to_owned()].into_iter().chain(path.map(readable)).filter(|part| !part.is_empty());
        Self {
            kind,
            place: parts.collect::<Vec<_>>().join("/"),
            server: format!("{}://{host}", uri.scheme_str().unwrap_or("http")),
            identity: identity_of(request),
            size: request.body().content_length() as u64,
        }
    }
}

fn identity_of(request: &HttpRequest) -> u64 {
    let mut hasher = DefaultHasher::new();
    (request.method().as_str(), request.uri().to_string()).hash(&mut hasher);
    for name in ["authorization", "range"] {
        request.headers().get(name).map(|value| value.as_bytes()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Answers with such a status are not final: the request is tried again.
pub fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
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
            ("POST", "http://s3/b?delete", "delete"),
            ("PUT", "http://169.254.169.254/latest/api/token", "credentials"),
            ("POST", "https://sts.eu-central-1.amazonaws.com/?Action=AssumeRoleWithWebIdentity", "credentials"),
            ("POST", "http://s3/?Action=AssumeRoleWithWebIdentity", "credentials"),
        ] {
            assert_eq!(Kind::of(&request(method, uri), "s3").name(), kind, "{method} {uri}");
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
    fn a_place_is_an_object_or_what_is_listed() {
        let place = |uri: &str| Request::of(&request("GET", uri), "s3:9000").place;
        assert_eq!(place("http://s3:9000/b/archive/cluster%3Dc/o.parquet?partNumber=1&uploadId=x"), "s3:9000/b/archive/cluster=c/o.parquet");
        assert_eq!(place("http://s3:9000/b?list-type=2&prefix=archive%2Fcluster%3Dc%2F"), "s3:9000/b/archive/cluster=c");
        assert_eq!(place("http://169.254.170.2/v2/credentials/canary"), "169.254.170.2");
    }
}
