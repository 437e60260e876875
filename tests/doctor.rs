//! `doctor` on sites that are well, and on each of those that are not: the check that must find it does, and says what to do.

use std::fs;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use cc_archiver::doctor::{Check, Level, check_store};
use cc_archiver::store::Archive;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector};
use serde_json::Value;

use support::{Bucket, Run, Snapshot, T0, Tree, archiver, block_on, files_below, run, s3, s3_settings};

mod support;

/// The program's checks, by what they looked at: (level, what was found).
struct Found(Vec<(String, String, String)>);

impl Found {
    fn of(run: &Run) -> Self {
        let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
        let checks = json["checks"].as_array().expect("checks").iter();
        Self(checks.map(|check| (text(check, "check"), text(check, "level"), format!("{} {}", text(check, "found"), text(check, "advice")))).collect())
    }

    fn assert(&self, check: &str, level: &str, says: &str) {
        let found = self.0.iter().find(|(name, ..)| name == check).unwrap_or_else(|| panic!("{check} was not looked at: {:?}", self.0));
        assert!(found.1 == level && found.2.contains(says), "{found:?}");
    }
}

fn doctor(tree: &Path, archive: &str, flags: &[&str], bucket: Option<&Bucket>) -> (i32, Found) {
    let mut command = archiver();
    command.arg("doctor").arg(tree).arg(archive).arg("--json").args(flags);
    command.envs(bucket.map(Bucket::environment).unwrap_or_default());
    let run = run(&mut command);
    (run.code, Found::of(&run))
}

/// A folder with a configuration of cc-backend's in it.
fn cc_backend(retention: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    let text = format!(r#"{{"metric-store": {{"checkpoint-interval": "12h", "retention-in-memory": "{retention}", "cleanup": {{"mode": "delete"}}}}}}"#);
    fs::write(&path, text).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

#[test]
fn a_site_that_is_well_has_no_error_and_nothing_of_the_checks_stays() {
    let (tree, bucket) = (Tree::golden(), s3());
    let before = tree.state();
    let (_folder, config) = cc_backend("24h");
    let (code, found) = doctor(tree.path(), &bucket.url("archive"), &["--cc-backend-config", &config, "--prune-after", "2d"], Some(&bucket));
    assert_eq!(code, 0, "{:?}", found.0);
    let expected = [
        ("tree", "13 hosts"),
        ("snapshots", "10 hosts"),
        ("whole", "of 10 hosts decode"),
        ("fresh data", "written"),
        ("cc-backend", "12 h after they are written"),
        ("pruning", "can be deleted"),
        ("lock", "can be locked"),
        ("listing", "answers"),
        ("clock", "the same"),
        ("writing", "can be written"),
        ("reading", "comes back"),
        ("no overwriting", "refused"),
        ("ETags", "all answers have the same"),
        ("multipart uploads", "completed and given up"),
        ("integrity", "refused"),
        ("cleaning up", "are gone"),
    ];
    expected.iter().for_each(|(check, says)| found.assert(check, "ok", says));
    assert!(bucket.objects("").is_empty() && bucket.open_uploads().is_empty());
    assert_eq!(tree.state(), before);
}

#[test]
fn a_rule_for_unfinished_uploads_is_seen() {
    let (tree, bucket) = (Tree::golden(), s3());
    let looked = || doctor(tree.path(), &bucket.url("archive"), &[], Some(&bucket)).1;
    looked().assert("lifecycle rule", "warning", "deploy/iam");
    bucket.abort_unfinished_uploads();
    looked().assert("lifecycle rule", "ok", "a rule removes");
}

#[test]
fn a_server_that_clears_uploads_away_itself_needs_no_rule() {
    let bucket = s3();
    let checks = checks_of(Wrong::IsMinio, &bucket);
    let rule = checks.iter().find(|check| check.check == "lifecycle rule").expect("it was looked at");
    assert!(rule.level == Level::Ok && rule.found.contains("itself"), "{rule:?}");
}

#[test]
fn a_bucket_that_is_not_there_is_an_error() {
    let (tree, bucket) = (Tree::golden(), s3());
    let (code, found) = doctor(tree.path(), "s3://there-is-no-such-bucket/a", &[], Some(&bucket));
    found.assert("listing", "error", "NoSuchBucket");
    assert_eq!(code, 3);
}

#[test]
fn directories_are_tried_and_left_as_they_were() {
    let (tree, folder) = (Tree::golden(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let looked = |name: &str| doctor(tree.path(), &path(name), &[], None);
    looked("not/yet").1.assert("archive", "ok", "the first run makes it");
    assert!(!folder.path().join("not").exists());
    fs::create_dir(folder.path().join("there")).expect("made");
    looked("there").1.assert("archive", "ok", "not overwritten");
    assert!(files_below(folder.path()).is_empty());
    // nothing can be staged where a file has the staging folder's name
    fs::write(folder.path().join("there/_tmp"), "a file").expect("written");
    let (code, found) = looked("there");
    found.assert("archive", "error", "_tmp");
    assert_eq!(code, 3);
}

#[test]
fn runs_that_come_too_late_are_an_error() {
    let (tree, folder) = (Tree::golden(), tempfile::tempdir().expect("a folder"));
    let archive = folder.path().to_str().expect("UTF-8");
    let (_folder, config) = cc_backend("24h");
    for (every, level) in [("6h", "ok"), ("9h", "warning"), ("1d", "error")] {
        let (code, found) = doctor(tree.path(), archive, &["--every", every, "--cc-backend-config", &config], None);
        found.assert("cc-backend", level, "removes snapshots 1 d after their start");
        assert_eq!(code == 3, level == "error");
    }
    let (_, found) = doctor(tree.path(), archive, &["--prune-after", "23h", "--cc-backend-config", &config], None);
    assert!(found.0.iter().any(|(check, level, says)| check == "pruning" && level == "error" && says.contains("less than the 1 d")), "{:?}", found.0);
    doctor(tree.path(), archive, &[], None).1.assert("cc-backend", "warning", "--cc-backend-config");
}

#[test]
fn an_age_for_pruning_must_leave_room_for_the_longest_job() {
    let (tree, folder) = (Tree::golden(), tempfile::tempdir().expect("a folder"));
    let looked = |age: &str, config: &str| {
        let (code, found) = doctor(tree.path(), folder.path().to_str().expect("UTF-8"), &["--prune-after", age, "--cc-backend-config", config], None);
        assert_eq!(code, 0, "{:?}", found.0);
        let pruning = found.0.into_iter().filter(|(check, level, _)| check == "pruning" && level == "warning");
        pruning.map(|(_, _, says)| says).collect::<Vec<_>>()
    };
    let (_folder, unknown) = cc_backend("48h");
    assert_eq!(looked("72h", &unknown), [""; 0]);
    let found = looked("71h", &unknown);
    assert!(
        found.len() == 1 && found[0].contains("retention of 2 d plus the longest job of 1 d (as a guess") && found[0].contains("prune after 3 d"),
        "{found:?}"
    );
    let known = folder.path().join("config.json");
    fs::write(&known, r#"{"clusters": [{"filterRanges": {"duration": {"from": 0, "to": 604800}}}], "metric-store": {"retention-in-memory": "48h"}}"#)
        .expect("written");
    let known = known.to_str().expect("UTF-8");
    assert_eq!(looked("9d", known), [""; 0]);
    assert!(looked("8d", known)[0].contains("longest job of 7 d (by clusters[].filterRanges.duration)"));
}

#[test]
fn a_newest_snapshot_that_is_damaged_is_found() {
    let (tree, folder) = (Tree::new(), tempfile::tempdir().expect("a folder"));
    let snapshot = Snapshot::minutes(T0, [1.0; 60]);
    for host in ["n1", "n2", "n3"] {
        tree.bin("c", host, &snapshot);
    }
    let whole = Snapshot::minutes(T0 + 3_600, [1.0; 60]).bin();
    tree.write(&format!("c/n1/{}.bin", T0 + 3_600), b"");
    tree.write(&format!("c/n2/{}.bin", T0 + 3_600), &whole[..whole.len() - 1]);
    let looked = || doctor(tree.path(), folder.path().to_str().expect("UTF-8"), &[], None).1;
    looked().assert("whole", "ok", "of 1 hosts decode");
    let future = format!("c/n3/{}.bin", 9_999_999_999_i64);
    tree.write(&future, &whole);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    for path in files_below(tree.path()).keys() {
        fs::File::options().append(true).open(tree.path().join(path)).and_then(|file| file.set_modified(old)).expect("it is made older");
    }
    let found = looked();
    for says in [
        "3 of the newest snapshots are damaged",
        &format!("c/n1/{}.bin: ", T0 + 3_600),
        &format!("c/n2/{}.bin: ", T0 + 3_600),
        &format!("{future}: the time in"),
    ] {
        found.assert("whole", "warning", says);
    }
}

#[test]
fn trees_that_are_none_or_old_or_odd_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().to_str().expect("UTF-8");
    let (code, found) = doctor(&folder.path().join("nowhere"), archive, &[], None);
    found.assert("tree", "error", "metric-store.checkpoints.directory");
    assert_eq!(code, 3);

    let tree = Tree::golden();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 3_600);
    for path in files_below(tree.path()).keys() {
        fs::File::options().append(true).open(tree.path().join(path)).and_then(|file| file.set_modified(old)).expect("it is made older");
    }
    std::os::unix::fs::symlink("/", tree.path().join("alpha/link")).expect("linked");
    let (code, found) = doctor(tree.path(), archive, &[], None);
    found.assert("fresh data", "warning", "1 d 6 h ago");
    found.assert("oddities", "warning", "alpha/link");
    assert_eq!(code, 0, "warnings are no errors");
}

// ---------------------------------------------------------------- servers that are not as they should be

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    IgnoresConditions,
    /// It looks first, and writes later.
    LetsTwoWin,
    LosesMetadata,
    ChangesBytes,
    IsLate,
    RefusesWrites,
    RefusesAborts,
    KeepsAll,
    /// Nothing: it clears unfinished uploads away itself, and has no rule for it.
    IsMinio,
    Nothing,
}

#[derive(Debug)]
struct Server(Wrong);

impl HttpConnector for Server {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client(ReqwestConnector::default().connect(options)?, self.0)))
    }
}

#[derive(Debug)]
struct Client(HttpClient, Wrong);

fn denied() -> HttpResponse {
    let mut answer = HttpResponse::new(HttpResponseBody::from(Bytes::from_static(b"<Error><Code>AccessDenied</Code></Error>")));
    *answer.status_mut() = 403.try_into().expect("a status");
    answer
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (method, query) = (request.method().as_str().to_owned(), request.uri().query().unwrap_or_default().to_owned());
        let is_upload = query.contains("uploadId=");
        match self.1 {
            Wrong::IgnoresConditions => drop(request.headers_mut().remove("if-none-match")),
            Wrong::LetsTwoWin if request.uri().path().ends_with("/_doctor/race") => drop(request.headers_mut().remove("if-none-match")),
            Wrong::RefusesWrites if method == "PUT" => return Ok(denied()),
            Wrong::RefusesAborts if method == "DELETE" && is_upload => return Ok(denied()),
            Wrong::KeepsAll if (method == "DELETE" || query.starts_with("delete")) && !is_upload => return Ok(denied()),
            _ => {}
        }
        let mut answer = self.0.execute(request).await?;
        match self.1 {
            Wrong::LosesMetadata => drop(answer.headers_mut().remove("x-amz-meta-cc-archiver-upload")),
            Wrong::IsMinio => drop(answer.headers_mut().insert("server", "MinIO".parse().expect("a name"))),
            Wrong::IsLate => drop(answer.headers_mut().insert("date", "Sun, 01 Mar 2026 00:00:00 GMT".parse().expect("a date"))),
            Wrong::ChangesBytes if method == "GET" && query.is_empty() => {
                let (head, body) = answer.into_parts();
                let length = body.bytes().await?.len();
                return Ok(HttpResponse::from_parts(head, HttpResponseBody::from(Bytes::from(vec![b'?'; length]))));
            }
            _ => {}
        }
        Ok(answer)
    }
}

fn checks_of(wrong: Wrong, bucket: &Bucket) -> Vec<Check> {
    let settings = s3_settings(&bucket.environment(), &["--retry-for", "5s"]);
    let open = |wrong| Archive::in_bucket_through(Server(wrong), &bucket.name, &settings).expect("opened");
    // where nothing is spoiled on the way, the server has no reason to refuse it
    let (archive, spoiled) = (open(wrong), (wrong == Wrong::Nothing).then(|| open(wrong)));
    block_on(check_store(&archive, spoiled.as_ref()))
}

#[test]
fn servers_that_are_not_as_they_should_be_are_found_out() {
    for (wrong, check, level) in [
        (Wrong::IgnoresConditions, "no overwriting", Level::Error),
        (Wrong::LosesMetadata, "reading", Level::Error),
        (Wrong::ChangesBytes, "reading", Level::Error),
        (Wrong::IsLate, "clock", Level::Error),
        (Wrong::RefusesWrites, "writing", Level::Error),
        (Wrong::RefusesAborts, "multipart uploads", Level::Error),
        (Wrong::Nothing, "integrity", Level::Error),
    ] {
        let bucket = s3();
        let checks = checks_of(wrong, &bucket);
        let found: Vec<&str> = checks.iter().filter(|found| found.level == level).map(|found| found.check).collect();
        assert_eq!(found, [check], "{wrong:?}: {checks:?}");
        assert!(checks.iter().all(|found| found.level == Level::Ok || found.advice.is_some()), "{checks:?}");
    }
}

#[test]
fn a_server_that_lets_two_writers_win_is_for_one_machine() {
    let checks = checks_of(Wrong::LetsTwoWin, &s3());
    let races = checks.iter().find(|check| check.check == "races").expect("it was tried");
    assert!(races.level == Level::Warning && races.found.contains("writers of 32 have won _doctor/race, where one may"), "{races:?}");
    assert!(races.advice.as_ref().is_some_and(|advice| advice.contains("one machine alone")), "{races:?}");
}

#[test]
fn where_nothing_may_be_deleted_the_same_objects_stay() {
    let bucket = s3();
    for _ in 0..2 {
        let checks = checks_of(Wrong::KeepsAll, &bucket);
        let cleaning = checks.iter().find(|found| found.check == "cleaning up").expect("it was tried");
        assert!(cleaning.level == Level::Ok && cleaning.found.contains("_doctor/probe stays"), "{cleaning:?}");
        assert!(checks.iter().all(|found| found.level != Level::Error), "{checks:?}");
        assert_eq!(bucket.objects("").keys().collect::<Vec<_>>(), ["_doctor/probe", "_doctor/probe-of-parts", "_doctor/race", "_doctor/race-of-parts"]);
    }
    // readers and runs pass over it
    let tree = Tree::golden();
    let mut command = archiver();
    run(command.arg("archive").arg(tree.path()).arg(bucket.url("")).envs(bucket.environment())).expect(0);
    let mut verify = archiver();
    run(verify.arg("verify").arg(bucket.url("")).arg("--read-data").envs(bucket.environment())).expect(0);
}
