//! A bucket's rules for uploads that nobody finishes. object_store has no call for them, so the request is made from a signed address.

use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{HttpConnector, HttpRequestBody};
use object_store::path::Path as Key;
use object_store::signer::{Method, SignedUrlOptions, Signer};

use crate::error::xml_field;

/// How long the address is good for.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// What a bucket's lifecycle configuration does about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// A rule that is in force aborts them.
    Aborts,
    /// The server refuses such rules, and clears uploads away itself.
    Needless,
    /// There is none.
    Lacks,
    /// The server does not say; why.
    Hidden(String),
}

/// Asks for a bucket's rules.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html>
pub async fn of_bucket(signer: &dyn Signer, through: &dyn HttpConnector, options: &ClientOptions) -> object_store::Result<Lifecycle> {
    let query = SignedUrlOptions::new().with_query([("lifecycle", "")]);
    let url = signer.signed_url_opts(Method::GET, &Key::default(), GOOD_FOR, &query).await?;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "S3", source };
    let client = through.connect(options)?;
    let mut request = object_store::client::HttpRequest::new(HttpRequestBody::empty());
    *request.uri_mut() = url.as_str().parse().map_err(|_| failed("the address of the bucket's rules is none".into()))?;
    // of an error only its kind: the address is signed
    let answer = client.execute(request).await.map_err(|e| failed(format!("{:?}", e.kind()).into()))?;
    let status = answer.status();
    let server = answer.headers().get("server").and_then(|name| name.to_str().ok()).unwrap_or_default().to_owned();
    let body = answer.into_body().bytes().await.map_err(|e| failed(format!("{:?}", e.kind()).into()))?;
    Ok(read(status.as_u16(), &server, &String::from_utf8_lossy(&body)))
}

/// Servers that have a time of their own after which they clear uploads away, and take no rule for it.
const CLEAR_AWAY: [&str; 1] = ["MinIO"];

fn read(status: u16, server: &str, body: &str) -> Lifecycle {
    let rules = || body.split("<Rule>").skip(1).map(|rule| rule.split("</Rule>").next().unwrap_or(rule));
    let aborts = |rule: &str| rule.contains("<AbortIncompleteMultipartUpload>") && xml_field(rule, "Status") == Some("Enabled");
    match (status, xml_field(body, "Code")) {
        (200, _) if rules().any(aborts) => Lifecycle::Aborts,
        _ if CLEAR_AWAY.iter().any(|name| server.starts_with(name)) => Lifecycle::Needless,
        (200, _) | (_, Some("NoSuchLifecycleConfiguration")) => Lifecycle::Lacks,
        (_, Some(code)) => Lifecycle::Hidden(code.to_owned()),
        (status, None) => Lifecycle::Hidden(format!("status {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rule_in_force_counts() {
        let rules = |status: &str| {
            format!(
                "<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule><Rule><Status>{status}</Status>\
                 <AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"
            )
        };
        assert_eq!(read(200, "AmazonS3", &rules("Enabled")), Lifecycle::Aborts);
        assert_eq!(read(200, "AmazonS3", &rules("Disabled")), Lifecycle::Lacks);
        assert_eq!(read(404, "AmazonS3", "<Error><Code>NoSuchLifecycleConfiguration</Code></Error>"), Lifecycle::Lacks);
        assert_eq!(read(403, "", "<Error><Code>AccessDenied</Code></Error>"), Lifecycle::Hidden("AccessDenied".into()));
        assert_eq!(read(501, "", ""), Lifecycle::Hidden("status 501".into()));
        assert_eq!(read(404, "MinIO", "<Error><Code>NoSuchLifecycleConfiguration</Code></Error>"), Lifecycle::Needless);
        assert_eq!(read(403, "MinIO/RELEASE", "<Error><Code>AccessDenied</Code></Error>"), Lifecycle::Needless);
    }
}
