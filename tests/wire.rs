//! What only a real client and a real server show: answers that get lost on the way, storms, bytes that change on the wire.
//! Requests go through a connector that spoils them, to the S3 server of the tests; all other settings are the program's own.
//!
//! Not in one binary with the schedules of faults: buckets are made by child processes, and between fork and exec a child holds
//! the locks that schedules have on their trees.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use cc_archiver::cli::{Cli, Command};
use cc_archiver::config::{self, S3Environment};
use cc_archiver::error::Error;
use cc_archiver::pipeline::{self, Outcome};
use cc_archiver::store::Archive;
use cc_archiver::telemetry::{Progress, Summary};
use clap::Parser;
use futures::TryStreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};
use tokio::sync::Notify;

use support::{Bucket, Level, Row, Snapshot, T0, Tree, archiver, assert_same_host_metrics, assert_same_rows, block_on, noise, rows_of, run, s3, s3_settings};

mod support;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Request {
    List,
    Head,
    Get,
    Put,
    Begin,
    Part,
    Complete,
    Abort,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
enum Spoiled {
    /// The server does it, and the connection closes before the answer comes.
    AnswerLost,
    /// The server does it, and the connection is reset in the middle of the answer.
    AnswerReset,
    /// The connection is reset before the request is sent.
    Reset,
    /// No answer within the time that the client waits.
    Stalled,
    /// The server answers so, and does nothing.
    Answered(u16, &'static str),
    /// Before the server does it, another machine puts an object under the same key.
    Overtaken,
    /// A bit of the body changes on the wire: the one at this place, in millionths of the body.
    BitFlipped(usize),
    /// It is on its way for long: nobody hears of it any more, until the test delivers it.
    Held,
    /// The same, and the client gives up waiting for the answer.
    HeldTooLong,
    /// Before the server does it, what was held comes in.
    AfterHeld,
}

/// For the requests of a kind, from the `nth` on, so many.
#[derive(Debug, Clone, Copy)]
struct Rule {
    on: Request,
    nth: usize,
    times: usize,
    spoiled: Spoiled,
}

/// What the other machine puts.
const RIVAL: &str = "somebody else's";

const FOR_EVER: usize = usize::MAX / 2;

fn once(on: Request, spoiled: Spoiled) -> Rule {
    Rule { on, nth: 1, times: 1, spoiled }
}

#[derive(Debug, Clone, Default)]
struct Spoiler {
    rules: Vec<Rule>,
    counts: Arc<Mutex<BTreeMap<Request, usize>>>,
    /// How many requests were spoiled.
    spoiled: Arc<Mutex<usize>>,
    /// Another way to the bucket.
    rival: Option<Arc<dyn ObjectStore>>,
    /// Requests that are still on their way, signed as they were.
    held: Arc<Mutex<Vec<HttpRequest>>>,
    /// Told when a request is held.
    is_held: Arc<Notify>,
}

impl Spoiler {
    fn hold(&self, request: HttpRequest) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        self.is_held.notify_one();
    }

    /// Waits until a request is held that nobody hears of any more.
    async fn is_killed(&self) {
        if !self.rules.iter().any(|rule| matches!(rule.spoiled, Spoiled::Held)) {
            return std::future::pending().await;
        }
        self.is_held.notified().await;
    }

    /// What was held comes in now. Gives the statuses that the server answers.
    async fn deliver(&self, client: &HttpClient) -> Vec<u16> {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(!held.is_empty(), "nothing was held");
        let mut statuses = Vec::new();
        for request in held {
            statuses.push(client.execute(request).await.expect("an answer").status().as_u16());
        }
        statuses
    }
}

impl HttpConnector for Spoiler {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let through = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Wire { through, spoiler: self.clone() }))
    }
}

#[derive(Debug)]
struct Wire {
    through: HttpClient,
    spoiler: Spoiler,
}

fn request_of(request: &HttpRequest) -> Request {
    let query = request.uri().query().unwrap_or_default();
    match request.method().as_str() {
        "PUT" if query.contains("partNumber=") => Request::Part,
        "PUT" => Request::Put,
        "POST" if query.contains("uploadId=") => Request::Complete,
        "POST" => Request::Begin,
        "DELETE" => Request::Abort,
        "HEAD" => Request::Head,
        _ if query.contains("list-type") => Request::List,
        _ => Request::Get,
    }
}

fn broken(kind: HttpErrorKind) -> HttpError {
    HttpError::new(kind, std::io::Error::other("spoiled by the test"))
}

async fn flipped(request: HttpRequest, place: usize) -> HttpRequest {
    let (head, body) = request.into_parts();
    // the body of an answer can be read, that of a request cannot
    let chunks: Vec<Bytes> = HttpResponseBody::new(body).bytes_stream().try_collect().await.expect("in memory");
    let mut bytes = chunks.concat();
    let at = (bytes.len() * place / 1_000_000).min(bytes.len() - 1);
    bytes[at] ^= 1 << (place % 8);
    HttpRequest::from_parts(head, HttpRequestBody::from(bytes))
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let on = request_of(&request);
        // the archive's own object and what conditions are tried on are not what rules are about
        if support::is_own(request.uri().path()) {
            return self.through.execute(request).await;
        }
        let nth = {
            let mut counts = self.spoiler.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(on).or_default();
            *count += 1;
            *count
        };
        let Some(rule) = self.spoiler.rules.iter().find(|r| r.on == on && (r.nth..r.nth + r.times).contains(&nth)) else {
            return self.through.execute(request).await;
        };
        *self.spoiler.spoiled.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        match rule.spoiled {
            Spoiled::AnswerLost => {
                self.through.execute(request).await?;
                Err(broken(HttpErrorKind::Request))
            }
            Spoiled::AnswerReset => {
                self.through.execute(request).await?;
                Err(broken(HttpErrorKind::Interrupted))
            }
            Spoiled::Reset => Err(broken(HttpErrorKind::Connect)),
            Spoiled::Stalled => Err(broken(HttpErrorKind::Timeout)),
            Spoiled::Answered(status, code) => {
                let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>spoiled by the test</Message></Error>");
                let mut response = HttpResponse::new(HttpResponseBody::from(Bytes::from(text)));
                *response.status_mut() = status.try_into().expect("a status");
                Ok(response)
            }
            Spoiled::Overtaken => {
                let (_, key) = request.uri().path().trim_start_matches('/').split_once('/').expect("/bucket/key");
                let key = Key::from_url_path(key).expect("a key");
                self.spoiler.rival.as_ref().expect("another way").put(&key, RIVAL.into()).await.expect("put");
                self.through.execute(request).await
            }
            Spoiled::BitFlipped(place) => self.through.execute(flipped(request, place).await).await,
            Spoiled::Held => {
                self.spoiler.hold(request);
                std::future::pending().await
            }
            Spoiled::HeldTooLong => {
                self.spoiler.hold(request);
                Err(broken(HttpErrorKind::Timeout))
            }
            Spoiled::AfterHeld => {
                assert_eq!(self.spoiler.deliver(&self.through).await, [200]);
                self.through.execute(request).await
            }
        }
    }
}

/// A tree of one snapshot, and a bucket for it.
struct Site {
    tree: Tree,
    snapshot: Snapshot,
    bucket: Bucket,
    /// Of S3.
    flags: &'static [&'static str],
}

impl Site {
    /// `values`: 2,400,000 of them make an object of two parts, a few one that is put at once.
    fn of(values: usize) -> Self {
        let mut snapshot = Snapshot { from: T0, to: T0 + 36_000, root: Level::default() };
        for (m, values) in noise(1, values).chunks(36_000).enumerate() {
            snapshot.root = snapshot.root.metric(&format!("m{m:03}"), 1, T0, values);
        }
        let tree = Tree::new();
        tree.bin("c", "n1", &snapshot);
        Self { tree, snapshot, bucket: s3(), flags: &["--retry-for", "3s"] }
    }

    fn small() -> Self {
        Self::of(100)
    }

    fn large() -> Self {
        Self::of(2_400_000)
    }

    fn spoiler(&self, rules: &[Rule]) -> Spoiler {
        Spoiler { rules: rules.to_vec(), rival: Some(self.bucket.store()), ..Spoiler::default() }
    }

    /// One run, whose requests are spoiled. Every rule must have had something to spoil.
    fn run(&self, rules: &[Rule]) -> Result<Summary, Error> {
        self.run_through(&self.spoiler(rules), &self.tree, &[])
    }

    /// One run of a tree.
    fn run_through(&self, spoiler: &Spoiler, tree: &Tree, flags: &[&str]) -> Result<Summary, Error> {
        let settings = s3_settings(&self.bucket.environment(), self.flags);
        let archive = Archive::in_bucket_through(spoiler.clone(), &self.bucket.name, &settings)?;
        let tree = tree.path().to_str().expect("UTF-8");
        let command = ["cc-archiver", "archive", tree, "/nonexistent", "--compression", "none"];
        let Command::Archive(args) = Cli::parse_from(command.iter().chain(flags)).command else { unreachable!("it says archive") };
        let settings = config::archive(*args, &S3Environment::default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let run = pipeline::archive(&settings, archive, Arc::new(Progress::default()), std::future::pending());
        // a request that is held is the last that a run sends: then it is killed
        let outcome = runtime.block_on(async {
            tokio::select! {
                outcome = run => outcome,
                () = spoiler.is_killed() => Err(Error::Interrupted),
            }
        });
        let rules = &spoiler.rules;
        assert_eq!(*spoiler.spoiled.lock().expect("not poisoned") > 0, !rules.is_empty(), "{rules:?} found nothing to spoil");
        match outcome? {
            Outcome::Done(summary) => Ok(*summary),
            Outcome::Planned(_) => unreachable!("no dry run"),
        }
    }

    /// The archive is the snapshot, once, and nothing is under way.
    #[track_caller]
    fn assert_archived(&self) {
        let objects = self.bucket.objects("");
        let [(key, bytes)] = objects.iter().collect::<Vec<_>>()[..] else { panic!("one object expected: {:?}", objects.keys()) };
        assert_same_host_metrics(key, bytes, &self.snapshot);
    }

    #[track_caller]
    fn assert_empty(&self) {
        assert_eq!(self.bucket.objects("").keys().collect::<Vec<_>>(), [""; 0], "something is visible");
    }

    #[track_caller]
    fn assert_nothing_open(&self) {
        assert_eq!(self.bucket.open_uploads(), [""; 0]);
    }

    /// The run gets over it by itself.
    #[track_caller]
    fn assert_survives(&self, rules: &[Rule]) {
        let summary = self.run(rules).unwrap_or_else(|e| panic!("{rules:?}: {e}"));
        assert_eq!(summary.objects_written, 1, "{rules:?}");
        self.assert_archived();
        assert_eq!(self.run(&[]).expect("a clean run").objects_written, 0);
    }

    /// The run says that it failed, nothing is visible, and the next one archives all.
    #[track_caller]
    fn assert_fails(&self, rules: &[Rule], word: &str) {
        let error = self.run(rules).expect_err("the run cannot get over that").to_string();
        assert!(error.contains(word), "no {word:?} in {error}");
        self.assert_empty();
        assert_eq!(self.run(&[]).expect("a clean run").objects_written, 1);
        self.assert_archived();
    }
}

#[test]
fn the_answer_to_a_completion_is_lost() {
    for spoiled in [Spoiled::AnswerLost, Spoiled::AnswerReset] {
        let site = Site::large();
        site.assert_survives(&[once(Request::Complete, spoiled)]);
        site.assert_nothing_open();
    }
}

#[test]
fn a_completion_or_a_put_that_comes_too_late_overwrites_nothing() {
    for (site, on) in [(Site::large as fn() -> Site, Request::Complete), (Site::small, Request::Put)] {
        let site = site();
        let summary = site.run(&[once(on, Spoiled::Overtaken)]).expect("it is planned anew");
        assert_eq!((summary.objects_written, summary.planned_anew, summary.set_aside.len()), (0, 1, 1), "{summary}");
        assert!(summary.set_aside[0].reason.contains("may hold it"), "what the other machine wrote cannot be read: {summary}");
        assert!(site.bucket.objects("").into_values().eq([Bytes::from(RIVAL)]), "the other machine's object is gone");
        site.assert_nothing_open();
    }
}

#[test]
fn the_answer_to_a_put_is_lost() {
    for spoiled in [Spoiled::AnswerLost, Spoiled::AnswerReset] {
        Site::small().assert_survives(&[once(Request::Put, spoiled)]);
    }
}

#[test]
fn an_answer_is_lost_and_nobody_may_ask_what_became_of_it() {
    let site = Site::small();
    let forbidden = Rule { times: FOR_EVER, ..once(Request::Head, Spoiled::Answered(403, "AccessDenied")) };
    let error = site.run(&[once(Request::Put, Spoiled::AnswerLost), forbidden]).expect_err("nobody can know").to_string();
    assert!(error.contains("cannot upload"), "{error}");
    // it is there, and the next run finds that out
    site.assert_archived();
    assert_eq!(site.run(&[]).expect("a clean run").already_archived, 1);
}

#[test]
fn every_kind_of_answer_is_lost_once() {
    let site = Site::large();
    let rules = [Request::List, Request::Begin, Request::Part, Request::Head].map(|on| once(on, Spoiled::AnswerLost));
    site.assert_survives(&rules);
    // nobody heard of the first upload
    assert_eq!(site.bucket.open_uploads().len(), 1);
}

#[test]
fn every_kind_of_connection_breaks_and_stalls() {
    use Request::{Begin, Complete, Head, List, Part};
    let site = Site::large();
    site.assert_survives(&[List, Begin, Part, Head, Complete].map(|on| once(on, Spoiled::Reset)));
    site.assert_nothing_open();
    let site = Site::large();
    site.assert_survives(&[List, Part, Head].map(|on| once(on, Spoiled::Stalled)));
    site.assert_nothing_open();
}

#[test]
fn a_storm_that_ends_is_waited_for() {
    use Request::{Begin, Complete, Head, List, Part, Put};
    for (status, code) in [(503, "SlowDown"), (429, "TooManyRequests")] {
        let storm = |on| Rule { times: 5, ..once(on, Spoiled::Answered(status, code)) };
        let site = Site::large();
        site.assert_survives(&[List, Begin, Part, Head, Complete].map(storm));
        site.assert_nothing_open();
        Site::small().assert_survives(&[List, Put].map(storm));
    }
}

#[test]
fn a_storm_that_does_not_end_fails_the_run_and_leaves_nothing() {
    let storm = |on| Rule { times: FOR_EVER, ..once(on, Spoiled::Answered(503, "SlowDown")) };
    for on in [Request::Begin, Request::Part, Request::Complete] {
        let site = Site::large();
        site.assert_fails(&[storm(on)], "cannot");
        site.assert_nothing_open();
    }
    Site::small().assert_fails(&[storm(Request::Put)], "cannot upload");
}

#[test]
fn an_error_in_the_body_of_a_good_answer_is_an_error() {
    // the server says 200 before it knows: this one means "try again"
    let site = Site::large();
    site.assert_survives(&[once(Request::Complete, Spoiled::Answered(200, "InternalError"))]);
    site.assert_nothing_open();
    // and this one does not
    let site = Site::large();
    site.assert_fails(&[once(Request::Complete, Spoiled::Answered(200, "InvalidPart"))], "cannot upload");
    site.assert_nothing_open();
}

#[test]
fn a_conflict_over_nothing_is_tried_again() {
    for (status, code) in [(409, "ConditionalRequestConflict"), (412, "PreconditionFailed")] {
        Site::small().assert_survives(&[once(Request::Put, Spoiled::Answered(status, code))]);
    }
}

#[test]
fn an_upload_with_every_option_that_fails_is_aborted_too() {
    let flags = &["--retry-for", "3s", "--sse", "s3", "--storage-class", "REDUCED_REDUNDANCY", "--tag", "a=b", "--checksum", "sha256", "--parts", "2"];
    let site = Site { flags, ..Site::large() };
    site.assert_fails(&[Rule { nth: 2, ..once(Request::Part, Spoiled::Answered(400, "InvalidDigest")) }], "InvalidDigest");
    site.assert_nothing_open();
}

#[test]
fn a_lifecycle_rule_removes_an_upload_under_way() {
    let site = Site::large();
    let gone = Rule { nth: 2, ..once(Request::Part, Spoiled::Answered(404, "NoSuchUpload")) };
    site.assert_fails(&[gone], "NoSuchUpload");
    site.assert_nothing_open();
}

#[test]
fn credentials_expire_in_the_middle_of_an_upload() {
    let expired = |on, nth| Rule { on, nth, times: FOR_EVER, spoiled: Spoiled::Answered(400, "ExpiredToken") };
    let site = Site::large();
    let rules = [expired(Request::Part, 2), expired(Request::Complete, 1), expired(Request::Abort, 1), expired(Request::Head, 1)];
    site.assert_fails(&rules, "ExpiredToken");
    // nobody may abort it any more: it is left to the bucket's lifecycle rule
    assert_eq!(site.bucket.open_uploads().len(), 1);
}

#[test]
fn an_abort_that_fails_does_not_hide_why() {
    let site = Site::large();
    let no_abort = Rule { times: FOR_EVER, ..once(Request::Abort, Spoiled::Answered(403, "AccessDenied")) };
    site.assert_fails(&[once(Request::Part, Spoiled::Answered(400, "InvalidDigest")), no_abort], "InvalidDigest");
    assert_eq!(site.bucket.open_uploads().len(), 1);
}

#[test]
fn a_bit_that_flips_in_a_part_is_refused() {
    let site = Site::large();
    for (part, place) in [(1, 0), (1, 333_333), (1, 999_999), (2, 0), (2, 500_001), (2, 999_999)] {
        let flipped = Rule { nth: part, times: 1, on: Request::Part, spoiled: Spoiled::BitFlipped(place) };
        let error = site.run(&[flipped]).expect_err("a part of other bytes is taken").to_string();
        assert!(error.contains("cannot upload a part"), "{error}");
        site.assert_empty();
    }
    site.assert_nothing_open();
}

#[test]
fn a_bit_that_flips_in_a_small_object_is_refused() {
    let site = Site::small();
    for place in (0..1_000_000).step_by(90_909) {
        let error = site.run(&[once(Request::Put, Spoiled::BitFlipped(place))]).expect_err("other bytes are taken").to_string();
        assert!(error.contains("cannot upload"), "{error}");
        site.assert_empty();
    }
}

// ---------------------------------------------------------------- requests that come late

/// A bucket into which a signed request is still on its way, though the run that sent it is over.
struct Late {
    site: Site,
    spoiler: Spoiler,
    /// What came into the tree since, or into another one: hosts and their snapshots.
    added: BTreeMap<(&'static str, i64), Snapshot>,
}

/// A small object, which is put, and a large one, which is completed.
const BOTH: [(fn() -> Site, Request); 2] = [(Site::small, Request::Put), (Site::large, Request::Complete)];

impl Late {
    /// The run is killed while it waits for the answer.
    fn killed((site, on): (fn() -> Site, Request)) -> Self {
        let late = Self::new(site(), Rule { times: FOR_EVER, ..once(on, Spoiled::Held) });
        late.site.assert_empty();
        late
    }

    fn new(site: Site, rule: Rule) -> Self {
        let spoiler = site.spoiler(&[rule]);
        site.run_through(&spoiler, &site.tree, &[]).expect_err("it never hears of its object");
        Self { site, spoiler, added: BTreeMap::new() }
    }

    /// Puts a snapshot of the first object's date into a tree; one of the same host and time before is replaced.
    fn add(&mut self, tree: &Tree, host: &'static str, from: i64, values: usize) {
        let snapshot = Snapshot::minutes(from, noise(from as u64, values));
        tree.bin("c", host, &snapshot);
        self.added.insert((host, from), snapshot);
    }

    fn add_here(&mut self, host: &'static str, from: i64, values: usize) {
        let tree = std::mem::replace(&mut self.site.tree, Tree::new());
        self.add(&tree, host, from, values);
        self.site.tree = tree;
    }

    fn run(&self, flags: &[&str]) -> Summary {
        self.site.run_through(&Spoiler::default(), &self.site.tree, flags).expect("nothing is spoiled")
    }

    fn deliver(&self) -> Vec<u16> {
        block_on(async {
            let client = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).expect("a client");
            self.spoiler.deliver(&client).await
        })
    }

    /// What was held comes in now, and is refused.
    #[track_caller]
    fn assert_refused(&self) {
        let before = self.site.bucket.objects("");
        let statuses = self.deliver();
        assert!(statuses.iter().all(|status| [409, 412].contains(status)), "{statuses:?}");
        assert_eq!(self.site.bucket.objects(""), before);
    }

    /// A run has nothing to do, every row stands there once, and nothing is found to be wrong.
    #[track_caller]
    fn assert_once(&self) {
        let summary = self.run(&[]);
        assert_eq!((summary.rows_written, summary.planned_anew, summary.set_aside.len()), (0, 0, 0), "{summary}");
        let mut objects = self.site.bucket.objects("");
        let rows = |((host, _), snapshot): (&(&str, i64), &Snapshot)| snapshot.rows("c", host);
        let mut expected: Vec<Row> = self.added.iter().flat_map(rows).collect();
        // the object of millions of rows holds nothing else
        match objects.iter().find(|(_, bytes)| bytes.len() > 1 << 20).map(|(key, _)| key.clone()) {
            Some(key) => assert_same_host_metrics(&key, &objects.remove(&key).expect("it was found"), &self.site.snapshot),
            None => expected.extend(self.site.snapshot.rows("c", "n1")),
        }
        assert_same_rows("the archive", rows_of(&objects), expected);
        let mut verify = archiver();
        verify.arg("verify").arg(self.site.bucket.url("")).args(["--decode", "--progress", "never"]).envs(self.site.bucket.environment());
        run(&mut verify).expect(0);
    }
}

#[test]
fn a_request_of_a_killed_run_that_comes_after_the_next_run_is_refused() {
    for kind in BOTH {
        let late = Late::killed(kind);
        assert_eq!(late.run(&[]).objects_written, 1);
        late.assert_refused();
        late.assert_once();
    }
}

#[test]
fn a_request_of_a_killed_run_that_comes_after_three_runs_is_refused() {
    for kind in BOTH {
        let mut late = Late::killed(kind);
        late.add_here("n2", T0, 60);
        let shards = ["0/2", "1/2"].map(|shard| late.run(&["--shard", shard]));
        assert_eq!(shards.iter().map(|summary| summary.files).sum::<u64>(), 2);
        // a file that grew, and another one of the host whose request is late
        late.add_here("n2", T0, 90);
        late.add_here("n1", T0 + 36_000, 60);
        assert_eq!(late.run(&[]).rows_written, 30 + 60);
        late.add_here("n3", T0, 60);
        assert_eq!(late.run(&[]).rows_written, 60);
        late.assert_refused();
        late.assert_once();
    }
}

#[test]
fn a_request_whose_slot_holds_what_another_machine_wrote_is_refused() {
    for kind in BOTH {
        let mut late = Late::killed(kind);
        let other = Tree::new();
        late.add(&other, "n2", T0, 60);
        assert_eq!(late.site.run_through(&Spoiler::default(), &other, &[]).expect("a clean run").objects_written, 1);
        late.assert_refused();
        assert_eq!(late.run(&[]).objects_written, 1);
        late.assert_once();
    }
}

#[test]
fn a_late_request_that_comes_before_the_next_run_is_taken_into_account() {
    for kind in BOTH {
        let mut late = Late::killed(kind);
        assert_eq!(late.deliver(), [200]);
        for (host, from) in [("n1", T0 + 36_000), ("n2", T0), ("n3", T0)] {
            late.add_here(host, from, 60);
            let summary = late.run(&[]);
            assert_eq!((summary.rows_written, summary.planned_anew), (60, 0), "{summary}");
        }
        late.assert_once();
    }
}

#[test]
fn a_late_request_that_comes_between_listing_and_writing_makes_the_run_plan_anew() {
    for kind in BOTH {
        let mut late = Late::killed(kind);
        late.add_here("n2", T0, 60);
        let (_, on) = kind;
        // the next run's request is of the same kind, and for the same slot
        let spoiler = Spoiler { rules: vec![once(on, Spoiled::AfterHeld)], held: Arc::clone(&late.spoiler.held), ..Spoiler::default() };
        let summary = late.site.run_through(&spoiler, &late.site.tree, &[]).expect("it is planned anew");
        assert_eq!((summary.planned_anew, summary.objects_written, summary.rows_written), (1, 1, 60), "{summary}");
        assert_eq!((summary.files, summary.already_archived), (1, 1), "{summary}");
        late.assert_once();
    }
}

#[test]
fn each_attempt_of_a_run_that_failed_can_come_late() {
    let attempts = |rule| Late::new(Site::small(), Rule { times: FOR_EVER, ..once(Request::Put, rule) });
    let late = attempts(Spoiled::HeldTooLong);
    assert_eq!(late.run(&[]).objects_written, 1);
    late.assert_refused();
    late.assert_once();
    // the first of them takes the slot, and the others are refused
    let late = attempts(Spoiled::HeldTooLong);
    let statuses = late.deliver();
    assert!(statuses.len() > 1 && statuses[0] == 200 && statuses[1..].iter().all(|status| [409, 412].contains(status)), "{statuses:?}");
    late.assert_once();
}
