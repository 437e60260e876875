//! What servers answer: ETags in all spellings, and objects that are not given. One object's trouble is that object's.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cc_archiver::ledger::{NotOurs, Trouble};
use cc_archiver::object;
use cc_archiver::store::Archive;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::client::ReqwestConnector;
use serde_json::Value;

use super::objects::{In, Objects};
use super::server::{Answer, HANGS_UP, Seen, Server};
use super::storing::large_tree;
use super::{archiving, support, with_keys};
use support::{DAY, Run, Snapshot, T0, Tree, archiver, s3_settings};

// ---------------------------------------------------------------- ETags

/// A spelling of its own in each answer.
fn mixed(answer: In, tag: &str) -> String {
    match answer {
        In::Put | In::List => tag.to_owned(),
        In::Completion => format!("W/\"{tag}\""),
        In::Head | In::Get => format!("\"{tag}\""),
    }
}

fn other(command: &str, tree: Option<&Tree>, endpoint: &str, flags: &[&str]) -> Command {
    let mut other = archiver();
    other.arg(command).args(tree.map(Tree::path)).args(["s3://bucket/archive", "--endpoint", endpoint]).args(flags).env("NO_PROXY", "127.0.0.1");
    other
}

#[test]
fn a_tag_is_the_same_however_each_answer_spells_it() {
    // a PUT, and an upload in parts
    let tree = large_tree();
    tree.bin("c", "n1", &Snapshot::minutes(T0 + 5 * DAY, [1.0; 100]));
    let objects = Objects::spelling(mixed);
    let kept = objects.clone();
    let server = Server::start(move |seen| kept.respond(seen));
    let run = with_keys(&mut archiving(&tree, &server.address, &["--compression", "none"])).expect(0);
    assert_eq!((run.summary()["objects_written"].as_u64(), objects.count()), (Some(2), 2));
    assert!(server.seen().iter().any(|seen| seen.asks("partNumber").is_some()), "one of them has parts");
    with_keys(&mut other("verify", None, &server.address, &["--read-data", "--decode"])).expect(0);
    let doctor = with_keys(&mut other("doctor", Some(&tree), &server.address, &["--json"]));
    let found: Value = serde_json::from_str(&doctor.stdout).expect("JSON");
    let tags = found["checks"].as_array().expect("checks").iter().find(|check| check["check"] == "ETags").expect("it looks at them");
    assert!(tags["level"] == "ok" && tags["found"].as_str().is_some_and(|found| found.contains("spelled")), "{tags}");
    let pruned = with_keys(&mut other("prune", Some(&tree), &server.address, &["--older-than", "3d", "--json"])).expect(0).summary();
    assert_eq!(pruned["pruned"], 1, "{pruned}");
}

// ---------------------------------------------------------------- objects that are not given

/// Two dates are archived, and each gets a snapshot of one more host.
struct Site {
    tree: Tree,
    objects: Objects,
    server: Server,
}

/// How requests are answered, where it is not as they should be.
type Instead = dyn Fn(&Seen) -> Option<Answer> + Send + Sync;

const LATER: i64 = T0 + 5 * DAY;
const SICK: &str = "date=2026-03-01";

fn is_get(seen: &Seen) -> bool {
    seen.method == "GET" && seen.asks("list-type").is_none()
}

impl Site {
    /// From when the two dates are archived, `instead` answers.
    fn new(instead: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let (tree, objects) = (Tree::new(), Objects::default());
        for from in [T0, T0 + 3_600, LATER, LATER + 3_600] {
            tree.bin("c", "n1", &Snapshot::minutes(from, [1.0; 60]));
        }
        let now: Arc<Mutex<Option<Arc<Instead>>>> = Arc::default();
        let (kept, asked) = (objects.clone(), Arc::clone(&now));
        let server = Server::start(move |seen| {
            let instead = asked.lock().expect("not poisoned").clone();
            instead.and_then(|instead| instead(seen)).unwrap_or_else(|| kept.respond(seen))
        });
        with_keys(&mut archiving(&tree, &server.address, &[])).expect(0);
        assert_eq!(objects.count(), 2);
        *now.lock().expect("not poisoned") = Some(Arc::new(instead));
        for from in [T0, LATER] {
            tree.bin("c", "n2", &Snapshot::minutes(from, [2.0; 60]));
        }
        Self { tree, objects, server }
    }

    fn archive(&self) -> Run {
        with_keys(&mut archiving(&self.tree, &self.server.address, &["--retry-for", "1s"]))
    }

    fn verify(&self) -> Run {
        with_keys(&mut other("verify", None, &self.server.address, &["--read-data", "--decode", "--json", "--retry-for", "1s"]))
    }

    fn prune(&self) -> Run {
        with_keys(&mut other("prune", Some(&self.tree), &self.server.address, &["--older-than", "3d", "--json", "--retry-for", "1s"]))
    }
}

/// Of two objects one cannot be read: `archive`, `verify` and `prune` go on with the other, and say `what_to_do`.
#[track_caller]
fn assert_costs_itself(answer: Answer, what_to_do: &str) {
    let site = Site::new(move |seen| (is_get(seen) && seen.target.contains(&SICK.replace('=', "%3D"))).then(|| answer.clone()));
    let run = site.archive().expect(3);
    let summary = run.summary();
    let set_aside = summary["set_aside"].as_array().expect("a list");
    assert_eq!((summary["files"].as_u64(), set_aside.len()), (Some(1), 3), "the later date is archived, the other one's three are set aside: {summary}");
    for note in set_aside {
        let reason = note["reason"].as_str().expect("a reason");
        assert!(reason.contains(SICK) && reason.contains(what_to_do) && !reason.contains("remove"), "{reason}");
    }

    let report = site.verify().expect(3).summary();
    let findings = report["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 1, "{report}");
    assert_eq!(findings[0]["kind"], "unavailable", "{report}");
    let advice = findings[0]["advice"].as_str().expect("an advice");
    assert!(advice.contains(what_to_do) && !advice.contains("remove"), "{advice}");
    assert_eq!((report["objects_read"].as_u64(), report["rows_decoded"].as_u64()), (Some(2), Some(180)), "it went on: {report}");

    let pruned = site.prune().expect(3).summary();
    let attention = pruned["attention"].to_string();
    assert!(attention.contains(what_to_do) && !attention.contains("remove"), "{attention}");
    // the older of the later date; the newest of each host stays
    assert_eq!(pruned["pruned"], 1, "{pruned}");
}

#[test]
fn an_object_that_was_moved_to_a_cold_class_costs_its_own_sources_and_is_brought_back() {
    let cold = Answer::error(403, "InvalidObjectState", "The operation is not valid for the object's storage class");
    assert_costs_itself(cold, "aws s3api restore-object --bucket bucket --key 'archive/cluster=c/date=2026-03-01/");
}

#[test]
fn an_object_that_may_not_be_read_costs_its_own_sources() {
    assert_costs_itself(Answer::error(403, "AccessDenied", "Access Denied"), "s3:GetObject");
    assert_costs_itself(Answer::new(403, ""), "s3:GetObject");
}

#[test]
fn an_object_that_is_gone_after_it_was_listed_costs_its_own_sources() {
    assert_costs_itself(Answer::error(404, "NoSuchKey", "The specified key does not exist"), "run again");
}

#[test]
fn an_object_that_the_server_does_not_give_costs_its_own_sources() {
    assert_costs_itself(Answer::error(500, "InternalError", "We encountered an internal error"), "look at the server");
    assert_costs_itself(Answer::new(HANGS_UP, ""), "look at the server");
}

#[test]
fn the_archives_own_object_in_a_cold_class_is_made_up_for_by_what_objects_say() {
    let site = Site::new(|seen| (is_get(seen) && seen.path().ends_with("/_cc-archiver.json")).then(|| Answer::error(403, "InvalidObjectState", "no")));
    let run = site.archive().expect(0);
    assert!(run.lines_of("WARN").iter().all(|line| line.contains("_cc-archiver.json is in a storage class")), "{}", run.stderr);
    assert_eq!((run.summary()["files"].as_u64(), site.objects.count()), (Some(2), 4));
    site.verify().expect(0);
}

#[test]
fn rows_that_cannot_be_read_back_cost_the_sources_that_overlap_them() {
    for (answer, what_to_do) in [
        (Answer::error(403, "InvalidObjectState", "no"), "restore-object"),
        (Answer::error(403, "AccessDenied", "no"), "s3:GetObject"),
        (Answer::error(404, "NoSuchKey", "no"), "run again"),
        (Answer::error(500, "InternalError", "no"), "look at the server"),
    ] {
        // footers of small objects are read from the first byte on, pages from the fourth
        let is_page =
            |seen: &Seen| is_get(seen) && !["", "bytes=0-"].iter().any(|first| seen.header("range").split_inclusive('-').next().unwrap_or_default() == *first);
        let site = Site::new(move |seen| is_page(seen).then(|| answer.clone()));
        std::fs::remove_file(site.tree.path().join(format!("c/n1/{T0}.bin"))).expect("removed");
        site.tree.bin("c", "n1", &Snapshot::minutes(T0 + 1_800, [3.0; 10]));
        let summary = site.archive().expect(3).summary();
        assert_eq!((summary["files"].as_u64(), summary["set_aside"].as_array().map(Vec::len)), (Some(2), Some(1)), "two others are archived: {summary}");
        let note = &summary["set_aside"][0];
        assert!(note["path"].as_str().is_some_and(|path| path.contains(&format!("c/n1/{}.bin", T0 + 1_800))), "{note}");
        assert!(note["reason"].as_str().is_some_and(|reason| reason.contains(what_to_do) && !reason.contains("remove")), "{note}");
    }
}

// ---------------------------------------------------------------- retries

#[test]
fn trouble_that_lasts_for_seconds_is_spoken_of_and_not_at_each_attempt() {
    for (answer, says) in [(Answer::error(503, "SlowDown", "slow"), "the answer was 503"), (Answer::new(HANGS_UP, ""), "no answer from http://127.0.0.1")] {
        // from the second listing on, which is the first of a partition, for seven seconds
        let (objects, trouble) = (Objects::default(), Mutex::new(None));
        let server = Server::start(move |seen| {
            let is_later = seen.asks("prefix").is_some_and(|prefix| prefix.contains("date="));
            let begun = *trouble.lock().expect("not poisoned").get_or_insert_with(Instant::now);
            if is_later && begun.elapsed() < Duration::from_secs(7) { answer.clone() } else { objects.respond(seen) }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = folder.path().join("a.prom");
        let run = with_keys(archiving(&super::small_tree(), &server.address, &["--retry-for", "1m"]).arg("--metrics-file").arg(&metrics)).expect(0);
        let words = run.lines_of("WARN");
        assert!((1..=2).contains(&words.len()), "{}", run.stderr);
        for word in ["no success for ", says, "it is tried until ", "request=\"list\"", "bucket/archive/cluster=c/date="] {
            assert!(words[0].contains(word), "no {word:?} in {words:?}");
        }
        assert!(run.lines_of("INFO").iter().any(|line| line.contains("it is answered, after ")), "{}", run.stderr);
        // each request that was seen more often than it was needed is a retry
        let sent = server.seen().iter().filter(|seen| seen.asks("list-type").is_some()).count();
        let counted = |series: &str| {
            let text = std::fs::read_to_string(&metrics).expect("metrics");
            let lines = text.lines().filter(|line| line.starts_with("cc_archiver_store_") && line.contains("kind=\"list\"") && line.contains(series));
            lines.map(|line| line.rsplit_once(' ').expect("a value").1.parse::<usize>().expect("a number")).sum::<usize>()
        };
        let failed = counted("throttled") + counted("no_answer");
        assert_eq!((counted("store_requests_total"), counted("store_retries_total")), (sent, failed));
        assert!(failed > 3, "{failed}");
    }
}

#[test]
fn a_request_that_is_tried_for_a_moment_is_not_spoken_of() {
    let (objects, failed) = (Objects::default(), AtomicI64::new(0));
    let server = Server::start(move |seen| {
        let is_put = seen.method == "PUT";
        if is_put && failed.fetch_add(1, Ordering::Relaxed) < 2 { Answer::error(503, "SlowDown", "slow") } else { objects.respond(seen) }
    });
    let run = with_keys(&mut archiving(&super::small_tree(), &server.address, &[])).expect(0);
    assert_eq!(run.lines_of("WARN"), [""; 0]);
}

#[test]
fn whoever_is_not_let_in_any_more_is_not_asked_to_restore_objects() {
    for (status, code) in [(400, "ExpiredToken"), (403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch"), (401, "Unauthorized"), (404, "NoSuchBucket")] {
        let site = Site::new(move |seen| is_get(seen).then(|| Answer::error(status, code, "no")));
        for run in [site.archive(), site.verify(), site.prune()] {
            let run = run.expect(1);
            assert!(run.lines_of("ERROR")[0].contains(code), "{}", run.stderr);
        }
        assert_eq!(site.objects.count(), 2);
    }
}

#[test]
fn a_refusal_without_a_word_is_of_the_object_only_if_the_archive_answers() {
    // the answer to a HEAD has no body that could say why
    let refused = AtomicBool::new(false);
    let site = Site::new(move |seen| {
        refused.fetch_or(seen.method == "HEAD", Ordering::Relaxed);
        refused.load(Ordering::Relaxed).then(|| Answer::error(403, "InvalidAccessKeyId", "no"))
    });
    let run = site.prune().expect(1);
    assert!(run.lines_of("ERROR")[0].contains("cannot look up"), "{}", run.stderr);
    let site = Site::new(|seen| (seen.method == "HEAD").then(|| Answer::new(403, "")));
    let run = site.prune().expect(3);
    assert!(run.summary()["attention"].to_string().contains("s3:GetObject"), "{}", run.stdout);
}

#[test]
fn of_many_objects_that_are_not_given_only_the_first_is_waited_for() {
    let site = Site::new(|_| None);
    for key in site.objects.keys() {
        site.objects.put(key.strip_prefix("archive/").expect("below it"), &site.objects.bytes(&key));
    }
    let kept = site.objects.clone();
    let server = Server::start(move |seen| if is_get(seen) { Answer::error(500, "InternalError", "no") } else { kept.respond(seen) });
    let keys = [("AWS_ENDPOINT_URL", server.address.clone()), ("AWS_ACCESS_KEY_ID", "a".into()), ("AWS_SECRET_ACCESS_KEY", "b".into())];
    let archive = Archive::in_bucket_through(ReqwestConnector::default(), "bucket", &s3_settings(&keys, &[])).expect("opened");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let tries = runtime.block_on(async {
        let listed: Vec<_> = archive.store().list(Some(&"cluster=c".into())).try_collect().await.expect("listed");
        let mut tries = Vec::new();
        for object in listed {
            let before = server.seen().len();
            let found = object::ledger(&archive, &object).await.expect("it is the object's trouble");
            assert!(matches!(found, Err(NotOurs::Unusable(Trouble::Withheld, _))), "{found:?}");
            tries.push(server.seen()[before..].iter().filter(|seen| is_get(seen)).count());
        }
        tries
    });
    assert!(tries.len() == 2 && tries[0] > 50 && tries[1] == 6, "{tries:?}");
}

#[test]
fn a_server_that_goes_away_ends_the_run_once_and_not_once_for_each_object() {
    let tree = Tree::new();
    for day in 0..40 {
        tree.bin("c", "n1", &Snapshot::minutes(T0 + 2 * day * DAY, [1.0; 10]));
    }
    let (objects, left) = (Objects::default(), Arc::new(AtomicI64::new(i64::MAX)));
    let counted = Arc::clone(&left);
    let server = Server::start(move |seen| {
        let is_there = counted.fetch_sub(1, Ordering::Relaxed) > 0;
        if is_there { objects.respond(seen) } else { Answer::error(503, "ServiceUnavailable", "away") }
    });
    with_keys(&mut archiving(&tree, &server.address, &[])).expect(0);
    // the listing is good, and some of the footers
    left.store(10, Ordering::Relaxed);
    let begun = Instant::now();
    let run = with_keys(&mut other("verify", None, &server.address, &["--retry-for", "2s"])).expect(1);
    assert!(run.lines_of("ERROR").iter().any(|line| line.contains("ServiceUnavailable")), "{}", run.stderr);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
