//! Requests whose bytes change on their way, to see whether a server notices.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpService};

/// Sends other bytes than those that were signed, as many.
#[derive(Debug)]
pub struct Spoiled(pub Arc<dyn HttpConnector>);

impl HttpConnector for Spoiled {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Client(HttpClient);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let spoiled = if head.method.as_str() == "PUT" { HttpRequestBody::from(vec![b'?'; body.content_length()]) } else { body };
        self.0.execute(HttpRequest::from_parts(head, spoiled)).await
    }
}
