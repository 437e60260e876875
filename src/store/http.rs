//! The way of every request to a server: what is done with one, and with its answer, stands in order in one place.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService};
use tokio::time::Instant;

use super::asked::{Asked, Shown};
use super::hints::{self, Refusal};
use super::patience::Patience;
use super::request::{Kind, Request, is_temporary};
use crate::telemetry::Requests;

/// How requests get to a server.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Who sends them.
    pub through: Arc<dyn HttpConnector>,
    /// What objects are to be.
    pub asked: Arc<Asked>,
    /// Where each attempt is counted.
    pub requests: Arc<Requests>,
    /// Who speaks of those that fail.
    pub patience: Arc<Patience>,
    /// Bytes change on their way, to see whether the server notices.
    pub spoils: bool,
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client { line: self.through.connect(options)?, wire: self.clone() }))
    }
}

#[derive(Debug)]
struct Client {
    line: HttpClient,
    wire: Wire,
}

#[async_trait]
impl HttpService for Client {
    /// One attempt of a request. The store that made it tries it again, with the same signature.
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Wire { asked, requests, patience, spoils, .. } = &self.wire;
        let (asks, began) = (Request::of(&request, &asked.host), Instant::now());
        let checksum = asked.checksum.filter(|name| request.headers().contains_key(*name));

        if asks.kind == Kind::CompleteUpload {
            overwrite_nothing(&mut request);
        }
        if *spoils && asks.kind.sends_bytes() {
            *request.body_mut() = HttpRequestBody::from(vec![b'?'; request.body().content_length()]);
        }
        requests.begin(asks.kind.name(), asks.identity);
        let answer = self.line.execute(request).await;
        let status = answer.as_ref().map(|answer| answer.status().as_u16()).ok();
        requests.end(asks.kind.name(), outcome_of(status), asks.identity, may_be_sent_again(asks.kind, status));

        answer.iter().for_each(|answer| asked.note_clock(answer.headers()));
        // what was sent for nothing is sent once more
        let charge = || asked.limit.iter().filter(|_| asks.kind.sends_bytes()).for_each(|limit| limit.charge(asks.size));
        let answer = match answer {
            Ok(mut answer) if answer.status().is_success() => {
                if matches!(asks.kind, Kind::Get | Kind::Head) {
                    let shown = Shown::of(answer.headers());
                    answer.extensions_mut().insert(shown);
                }
                checksum.iter().for_each(|sent| asked.compare_checksum(sent, answer.headers()));
                Ok(answer)
            }
            Ok(answer) => {
                charge();
                Ok(explained(asks.kind, answer, asked).await)
            }
            Err(e) => {
                // without a connection nothing was sent
                if e.kind() != HttpErrorKind::Connect {
                    charge();
                }
                Err(hints::unreached(e, &asks, asked))
            }
        };
        patience.speak_of(&asks, began, &answer);
        answer
    }
}

/// `CompleteMultipartUpload` takes `If-None-Match: *`, as a PUT does, but object_store has no option for it. Without it an upload that a killed run
/// had all but completed could end late, under a key that the next run has written meanwhile.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
fn overwrite_nothing(completion: &mut HttpRequest) {
    // it is signed already; a header of this kind need not be
    if let Ok(anything) = "*".parse() {
        completion.headers_mut().insert("if-none-match", anything);
    }
}

/// What became of a request, by the answer's status, as metrics call it.
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

/// A conflict can be over nothing, and an answer "200" to a completion can hold an error: both are tried again then.
fn may_be_sent_again(kind: Kind, status: Option<u16>) -> bool {
    kind == Kind::CompleteUpload || status.is_none_or(|status| is_temporary(status) || status == 409)
}

/// An answer that is an error: of its body only the code and the message are left, and what to do is added.
async fn explained(kind: Kind, answer: HttpResponse, asked: &Asked) -> HttpResponse {
    let (mut head, body) = answer.into_parts();
    // the status says enough, also where the rest breaks off
    let body = body.bytes().await.unwrap_or_default();
    let refusal = Refusal::new(head.status.as_u16(), &head.headers, &String::from_utf8_lossy(&body));
    let hint = hints::hint(kind, &refusal, asked);
    // A redirect without a place is the answer of a wrong region; object_store would not show its body. What a server does not
    // know, it will not know in four minutes either.
    if matches!(head.status.as_u16(), 301 | 302 | 307 | 308 | 501) {
        head.status = 400.try_into().unwrap_or(head.status);
    }
    let text = refusal.to_xml(hint.as_deref());
    HttpResponse::from_parts(head, HttpResponseBody::from(Bytes::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
