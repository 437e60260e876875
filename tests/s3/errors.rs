//! What is wrong is said in one message, with what to do, and without a secret.

use super::objects::Objects;
use super::server::{Answer, Server, Tls};
use super::{CANARY, archiving, assert_no_canary, assert_said, small_tree, support, with_keys};
use support::{Snapshot, T0, Tree, run, s3_settings};

/// A run against a server that answers everything so.
#[track_caller]
fn assert_answer_said(answer: Answer, flags: &[&str], words: &[&str]) {
    let server = Server::start(move |_| answer.clone());
    let run = with_keys(&mut archiving(&small_tree(), &server.address, &[flags, &["-vv", "--retry-for", "1s"]].concat())).expect(1);
    assert_said(&run, words);
}

#[test]
fn what_a_server_answers_is_said_with_what_to_do() {
    let error = Answer::error;
    assert_answer_said(error(404, "NoSuchBucket", "none"), &[], &["s3://bucket/archive", "the bucket does not exist", "--endpoint"]);
    assert_answer_said(error(403, "InvalidAccessKeyId", "unknown"), &[], &["AWS_ACCESS_KEY_ID"]);
    assert_answer_said(error(403, "AccessDenied", "no"), &[], &["must allow s3:GetObject"]);
    assert_answer_said(error(400, "ExpiredToken", "old"), &[], &["AWS_SESSION_TOKEN"]);
    assert_answer_said(error(503, "SlowDown", "slow"), &[], &["SlowDown", "--limit-rate"]);
    assert_answer_said(Answer::new(403, ""), &[], &["must allow s3:GetObject"]);
    assert_answer_said(Answer::new(400, "Client sent an HTTP request to an HTTPS server.\n"), &[], &["begin --endpoint", "https://"]);
    // of a page that is no answer of S3 only the beginning is shown
    let page = format!("<html><body>{}</body></html>", "nothing here ".repeat(1_000));
    let server = Server::start(move |_| Answer::new(404, page.clone()));
    let run = with_keys(&mut archiving(&small_tree(), &server.address, &[])).expect(1);
    assert!(run.stderr.contains("nothing here") && run.stderr.len() < 2_000, "{}", run.stderr);
}

#[test]
fn a_signature_that_is_refused_shows_nothing_of_what_was_signed() {
    let body = format!(
        "<Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match</Message><AWSAccessKeyId>somebody</AWSAccessKeyId>\
         <StringToSign>AWS4-HMAC-SHA256 {CANARY}</StringToSign><CanonicalRequest>GET {CANARY}</CanonicalRequest></Error>"
    );
    assert_answer_said(Answer::new(403, body), &[], &["SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"]);
}

#[test]
fn a_wrong_region_names_the_right_one() {
    let region = ["--region", "us-west-2"];
    let right = "use --region eu-central-1";
    assert_answer_said(Answer::new(301, "").with("x-amz-bucket-region", "eu-central-1"), &region, &[right, "us-west-2 was asked"]);
    assert_answer_said(Answer::error(301, "PermanentRedirect", "there").with("x-amz-bucket-region", "eu-central-1"), &region, &[right]);
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting 'eu-central-1'</Message><Region>eu-central-1</Region></Error>";
    assert_answer_said(Answer::new(400, malformed), &region, &[right, "expecting 'eu-central-1'"]);
    assert_answer_said(Answer::new(301, ""), &region, &["another region than us-west-2"]);
}

#[test]
fn a_clock_that_is_wrong_is_told_from_keys_that_are() {
    let date = |hours| (chrono::Utc::now() + chrono::TimeDelta::hours(hours)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let skewed = Answer::error(403, "RequestTimeTooSkewed", "The difference is too large").with("date", date(2));
    assert_answer_said(skewed, &[], &["s behind the server's", "NTP"]);
    assert_answer_said(Answer::new(403, "").with("date", date(-2)), &[], &["s ahead of the server's"]);
    assert_answer_said(Answer::error(403, "RequestTimeTooSkewed", "too large"), &[], &["NTP"]);
}

/// A run against a server that refuses uploads so, and takes all else.
#[track_caller]
fn assert_upload_said(answer: Answer, flags: &[&str], words: &[&str]) {
    let objects = Objects::default();
    let server = Server::start(move |seen| if seen.method == "PUT" { answer.clone() } else { objects.respond(seen) });
    let begun = std::time::Instant::now();
    let run = with_keys(&mut archiving(&small_tree(), &server.address, flags)).expect(1);
    assert_said(&run, words);
    assert!(begun.elapsed().as_secs() < 60, "it was tried again for minutes");
}

#[test]
fn an_option_that_a_server_refuses_is_named() {
    let error = Answer::error;
    let all = ["--sse", "kms", "--storage-class", "STANDARD_IA", "--tag", "a=b"];
    assert_upload_said(error(400, "KMS.NotFoundException", "Key 'x' does not exist"), &all, &["refused --sse kms"]);
    assert_upload_said(error(501, "NotImplemented", "Server side encryption specified but KMS is not configured"), &["--sse", "s3"], &["refused --sse s3"]);
    assert_upload_said(error(400, "InvalidStorageClass", "not valid"), &all, &["refused --storage-class STANDARD_IA"]);
    assert_upload_said(error(400, "InvalidTag", "The tag is not valid"), &all, &["refused --tag"]);
    assert_upload_said(error(400, "InvalidRequest", "Value for x-amz-checksum-crc64nvme header is invalid"), &[], &["refused --checksum crc64nvme", "sha256"]);
    assert_upload_said(error(501, "NotImplemented", "If-None-Match is not known"), &[], &["refused a conditional write", "another server"]);
    // the server does not say which it is
    let words = ["--sse kms", "--storage-class STANDARD_IA", "--tag", "--checksum crc64nvme", "If-None-Match", "one by one"];
    assert_upload_said(error(501, "NotImplemented", "A header you provided implies functionality that is not implemented"), &all, &words);
    let denied = ["s3:PutObject", "s3:PutObjectTagging", "kms:GenerateDataKey", "kms:Decrypt"];
    assert_upload_said(error(403, "AccessDenied", "Access Denied"), &all, &denied);
}

#[test]
fn a_certificate_must_be_of_an_authority_that_is_trusted() {
    let (tls, objects) = (Tls::new(), Objects::default());
    let kept = objects.clone();
    let server = Server::with_tls(&tls, move |seen| kept.respond(seen));
    let folder = tempfile::tempdir().expect("a folder");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, &tls.authority).expect("written");
    let (tree, authority) = (small_tree(), authority.to_str().expect("UTF-8"));

    let begun = std::time::Instant::now();
    // a variable that would have object_store trust anybody changes nothing, and is said
    let run_with = |variable| with_keys(archiving(&tree, &server.address, &[]).envs([variable]));
    for variable in [("AWS_ALLOW_INVALID_CERTIFICATES", "true"), ("AWS_REGION", "us-east-1")] {
        let run = run_with(variable).expect(1);
        assert_said(&run, &[&server.address, "UnknownIssuer", "--ca-file"]);
        assert_eq!(run.lines_of("WARN").len(), usize::from(variable.1 == "true"), "{}", run.stderr);
    }
    assert!(begun.elapsed().as_secs() < 30, "what waiting cannot mend was tried again");
    assert!(server.seen().is_empty());

    with_keys(&mut archiving(&tree, &server.address, &["--ca-file", authority])).expect(0);
    assert_eq!(objects.count(), 1);
    assert_eq!(run_with(("AWS_CA_BUNDLE", authority)).expect(0).summary()["already_archived"], 1);

    for (file, words) in [("/no/such/file", "cannot read --ca-file"), ("/dev/null", "holds no certificate")] {
        let run = with_keys(&mut archiving(&tree, &server.address, &["--ca-file", file])).expect(2);
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

#[test]
fn tls_that_only_one_side_speaks_is_told_from_a_server_that_is_away() {
    let tls = Tls::new();
    let (plain, secure) = (Server::start(|_| Answer::new(200, "")), Server::with_tls(&tls, |_| Answer::new(200, "")));
    let run = with_keys(&mut archiving(&small_tree(), &plain.address.replace("http:", "https:"), &[])).expect(1);
    assert_said(&run, &["no TLS is spoken there", "http://"]);
    let run = with_keys(&mut archiving(&small_tree(), &secure.address.replace("https:", "http:"), &["--retry-for", "1s"])).expect(1);
    assert_said(&run, &["hint"]);
    // plain http is for an endpoint that says so, whatever the environment allows: nothing was sent
    let run = with_keys(archiving(&small_tree(), &plain.address.replace("http:", "https:"), &[]).env("AWS_ALLOW_HTTP", "true")).expect(1);
    assert_said(&run, &["no TLS is spoken there"]);
    assert!(run.stderr.contains("AWS_ALLOW_HTTP is not taken"), "{}", run.stderr);
}

#[test]
fn a_server_that_hangs_is_given_up_after_the_time_that_was_set() {
    let server = Server::start(|_| {
        std::thread::sleep(std::time::Duration::from_secs(3_600));
        Answer::new(200, "")
    });
    let begun = std::time::Instant::now();
    let run = with_keys(&mut archiving(&small_tree(), &server.address, &["--request-timeout", "1s", "--retry-for", "0s"])).expect(1);
    assert_said(&run, &["did not answer in time", "--request-timeout"]);
    assert!(begun.elapsed().as_secs() < 30);
    assert_eq!(server.seen().len(), 1, "--retry-for 0s tries once");
}

#[test]
fn settings_that_make_no_sense_are_refused_with_a_hint() {
    let tree = small_tree();
    for (flags, words) in [
        (&["--sse-kms-key", "k"][..], "--sse-kms-key needs --sse kms"),
        (&["--storage-class", "DEEP_ARCHIVE"], "cannot be read before they are restored"),
        (&["--storage-class", "a b"], "--storage-class"),
        (&["--tag", "a=1", "--tag", "a=2"], "twice"),
        (&["--tag", "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1"], "10 at most"),
        (&["--retry-for", "15m"], "15 minutes"),
        (&["--request-timeout", "10ms"], "--request-timeout"),
        (&["--s3-style", "virtual-host"], "the endpoint is an address"),
        (&["--parts", "64"], "--parts 64"),
        (&["--region", "a b"], "--region"),
        (&["--endpoint", "127.0.0.1:9000"], "neither https:// nor http://"),
        (&["--endpoint", "https://user:canary@s3.example.org"], "credentials are not part of an address"),
    ] {
        let place = if flags[0] == "--endpoint" { "" } else { "http://127.0.0.1:9" };
        let mut command = if place.is_empty() { support::archiver() } else { archiving(&tree, place, &[]) };
        if place.is_empty() {
            command.arg("archive").arg(tree.path()).arg("s3://bucket");
        }
        let run = with_keys(command.args(flags)).expect(2);
        assert!(run.stderr.contains(words), "{flags:?}: no {words:?} in {}", run.stderr);
        assert_no_canary(&run);
    }
    for option in [&["--sse", "s3"][..], &["--tag", "a=b"], &["--limit-rate", "1MiB/s"], &["--storage-class", "X"]] {
        let run = run(support::archiver().arg("archive").arg(tree.path()).arg(tree.path().with_extension("archive")).args(option)).expect(2);
        assert!(run.stderr.contains(&format!("{} is for an archive in S3", option[0])), "{}", run.stderr);
    }
}

#[test]
fn a_key_of_the_file_that_the_server_refuses_is_named_by_file_and_key() {
    let (tree, folder) = (small_tree(), tempfile::tempdir().expect("a folder"));
    let config = folder.path().join("c.json");
    std::fs::write(&config, format!(r#"{{"access-key": "somebody", "secret-key": "{CANARY}"}}"#)).expect("written");
    let config = config.to_str().expect("UTF-8");
    for (code, key, variable) in [("InvalidAccessKeyId", "access-key", "AWS_ACCESS_KEY_ID"), ("SignatureDoesNotMatch", "secret-key", "AWS_SECRET_ACCESS_KEY")] {
        let server = Server::start(move |_| Answer::error(403, code, "no"));
        let by_file = run(&mut archiving(&tree, &server.address, &["--config", config])).expect(1);
        assert_said(&by_file, &[&format!("check {key:?} in {config}")]);
        assert!(!by_file.stderr.contains(variable), "{}", by_file.stderr);
        let by_variable = with_keys(&mut archiving(&tree, &server.address, &["--config", config])).expect(1);
        assert!(by_variable.stderr.contains(&format!("check {variable}")), "{}", by_variable.stderr);
    }
}

#[test]
fn what_is_printed_for_debugging_holds_no_secret() {
    let variables = [("AWS_ACCESS_KEY_ID", "somebody".to_owned()), ("AWS_SECRET_ACCESS_KEY", CANARY.into()), ("AWS_SESSION_TOKEN", "canary".into())];
    let settings = s3_settings(&variables, &["--endpoint", "https://s3.example.org", "--sse", "kms", "--tag", "a=b"]);
    let archive = cc_archiver::store::Archive::open(&"s3://b/c".parse().expect("a place"), Some(&settings), true).expect("opened");
    for shown in [format!("{settings:?}"), format!("{archive:?}"), format!("{:#?}", archive.store()), archive.store().to_string()] {
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert!(format!("{settings:?}").contains("somebody"), "it shows what is not secret");
}

#[test]
fn a_run_that_fails_says_what_was_done_until_then() {
    let (tree, objects) = (Tree::new(), Objects::default());
    for (cluster, host) in [("a", "n1"), ("a", "n2"), ("b", "n1")] {
        tree.bin(cluster, host, &Snapshot::minutes(T0, [1.0; 60]));
    }
    let kept = objects.clone();
    let server = Server::start(move |seen| {
        let is_refused = seen.method == "PUT" && seen.path().contains("cluster%3Db");
        if is_refused { Answer::error(403, "AccessDenied", "no") } else { kept.respond(seen) }
    });
    let run = with_keys(&mut archiving(&tree, &server.address, &[])).expect(1);
    let last = run.stderr.lines().last().expect("a line");
    assert!(last.contains("failed: 2 snapshots of 2 of 3 hosts, 120 rows in 1 objects; 0 archived already"), "{last}");
    assert_eq!(objects.count(), 1);
    // what was done stays, and the next run goes on from there
    let server = Server::start(move |seen| objects.respond(seen));
    let summary = with_keys(&mut archiving(&tree, &server.address, &[])).expect(0).summary();
    assert_eq!((summary["files"].as_u64(), summary["already_archived"].as_u64()), (Some(1), Some(2)), "{summary}");
}
