//! `--limit-rate`, by bytes and by a clock of the test's own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cc_archiver::buffers::Buffers;
use cc_archiver::partition::ObjectKey;
use cc_archiver::store::Archive;
use cc_archiver::telemetry::Progress;
use cc_archiver::upload::{Listed, Sink, Transfers};
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use object_store::path::Path as Key;
use parquet::arrow::async_writer::AsyncFileWriter;
use tokio::time::Instant;

use super::support::{s3_environment, s3_settings};

const PART: usize = 1_000;
const RATE: f64 = 100.0;

/// Takes parts, after some time, and refuses every fifth of them.
#[derive(Debug, Clone)]
struct Taker {
    begun: Instant,
    /// When each part came, and how large it was.
    parts: Arc<Mutex<Vec<(Duration, u64)>>>,
}

impl HttpConnector for Taker {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Taker {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        // what the run tries: whether something is overwritten
        if request.uri().path().contains("_cc-archiver") && !query.contains("uploads") {
            let mut answer = HttpResponse::new(HttpResponseBody::from(String::new()));
            let is_refused = !query.contains("partNumber") && request.method() != "HEAD";
            *answer.status_mut() = if is_refused { 412 } else { 200 }.try_into().expect("a status");
            for (name, value) in [("etag", "\"e\""), ("content-length", "0"), ("last-modified", "Sun, 01 Mar 2026 00:00:00 GMT")] {
                answer.headers_mut().insert(name, value.parse().expect("a value"));
            }
            return Ok(answer);
        }
        if !query.contains("partNumber") {
            return Ok(HttpResponse::new(HttpResponseBody::from(
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>".to_owned(),
            )));
        }
        let count = {
            let mut parts = self.parts.lock().expect("not poisoned");
            parts.push((self.begun.elapsed(), request.body().content_length() as u64));
            parts.len()
        };
        // not longer than a request may take, and much longer than a part is to wait
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut answer = HttpResponse::new(HttpResponseBody::from(String::new()));
        answer.headers_mut().insert("etag", "\"e\"".parse().expect("a value"));
        if count % 5 == 0 {
            *answer.status_mut() = 503.try_into().expect("a status");
        }
        Ok(answer)
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_rate_is_sent_whatever_is_sent_again_and_no_request_times_out() {
    let taker = Taker { begun: Instant::now(), parts: Arc::default() };
    // a part takes ten times as long as a request may
    let flags = ["--limit-rate", "100B/s", "--request-timeout", "1s", "--retry-for", "10s", "--parts", "4"];
    let settings = s3_settings(&s3_environment("http://127.0.0.1:9"), &flags);
    let archive = Archive::in_bucket_through(taker.clone(), "bucket", &settings).expect("opened").with_part_size(PART);
    let transfers = Arc::new(Transfers::new(&archive, Buffers::new(1 << 20), Arc::new(Progress::default())));
    let listed = Listed::new(archive.uptime());
    let key = ObjectKey::parse(&Key::from("cluster=c/date=2026-03-01/part-00-00000.parquet")).expect("a key");
    let mut sink = Sink::new(archive, key, listed, transfers).expect("a sink");
    for _ in 0..41 {
        // the last write is kept back: it would hold the footer
        sink.write(Bytes::from(vec![7; PART])).await.expect("written");
    }
    // until the last part was sent, and once more in case it is refused
    tokio::time::sleep(Duration::from_secs(120)).await;
    let parts = taker.parts.lock().expect("not poisoned").clone();
    assert!(parts.len() > 40, "{} parts: none was sent again", parts.len());
    let mut bytes = 0;
    for (at, size) in &parts {
        bytes += size;
        // the first part does not wait, and neither does one that is sent again: the fifth part after it does
        let allowed = at.as_secs_f64() * RATE + 3.0 * PART as f64;
        assert!(bytes as f64 <= allowed + 1.0, "{bytes} bytes after {at:?}");
    }
    let took = parts.last().expect("a part").0.as_secs_f64();
    assert!(took < 1.1 * bytes as f64 / RATE, "{bytes} bytes in {took} s: slower than it may be");
    sink.abort().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_to_stop_does_not_wait_for_its_turn() {
    let taker = Taker { begun: Instant::now(), parts: Arc::default() };
    let settings = s3_settings(&s3_environment("http://127.0.0.1:9"), &["--limit-rate", "1B/s"]);
    let archive = Archive::in_bucket_through(taker, "bucket", &settings).expect("opened").with_part_size(PART);
    let transfers = Arc::new(Transfers::new(&archive, Buffers::new(1 << 20), Arc::new(Progress::default())));
    let listed = Listed::new(archive.uptime());
    let key = ObjectKey::parse(&Key::from("cluster=c/date=2026-03-01/part-00-00000.parquet")).expect("a key");
    let mut sink = Sink::new(archive, key, listed, Arc::clone(&transfers)).expect("a sink");
    for _ in 0..4 {
        sink.write(Bytes::from(vec![7; PART])).await.expect("written");
    }
    let begun = Instant::now();
    transfers.stop();
    let failed = sink.write(Bytes::from(vec![7; 2 * PART])).await.is_err() || sink.complete().await.is_err();
    assert!(failed && begun.elapsed() < Duration::from_secs(1), "it waited for {:?}", begun.elapsed());
    sink.abort().await;
}
