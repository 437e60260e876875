//! A completion that overwrites nothing.
//!
//! `CompleteMultipartUpload` takes `If-None-Match: *`, as a PUT does, but object_store has no option for it. Without it an upload
//! that a killed run had all but completed could end late, under a key that the next run has written meanwhile.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};

/// Adds the condition to completions, and leaves all other requests as they are.
#[derive(Debug)]
pub struct Conditional<C>(pub C);

impl<C: HttpConnector> HttpConnector for Conditional<C> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Client(HttpClient);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let completes = request.method().as_str() == "POST" && request.uri().query().is_some_and(|query| query.contains("uploadId="));
        // the request is signed already; a header of this kind need not be
        if completes && let Ok(anything) = "*".parse() {
            request.headers_mut().insert("if-none-match", anything);
        }
        self.0.execute(request).await
    }
}
