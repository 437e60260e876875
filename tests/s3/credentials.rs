//! Each kind of credentials is fetched where it is to be, and requests are signed with what came.

use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Run, run};

use super::objects::Objects;
use super::server::{Answer, Seen, Server, Tls};
use super::{CANARY, archiving, assert_no_canary, assert_said, small_tree, support};

/// As the endpoints of containers, pods and machines answer.
fn keys_in_json() -> Answer {
    let body = format!(
        r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ROLEKEY","SecretAccessKey":"{CANARY}","Token":"canary-session","Expiration":"2999-01-01T00:00:00Z"}}"#
    );
    Answer::new(200, body)
}

/// As STS answers.
fn keys_in_xml() -> Answer {
    Answer::new(
        200,
        format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ROLEKEY</AccessKeyId>\
             <SecretAccessKey>{CANARY}</SecretAccessKey><SessionToken>canary-session</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ),
    )
}

/// Archives with these variables; every request must be signed with the role's keys, and nothing secret be said, however much is.
#[track_caller]
fn assert_signed_by_the_role(variables: &[(&str, &str)], flags: &[&str], kind: &str) {
    let (tree, objects) = (small_tree(), Objects::default());
    let kept = objects.clone();
    let store = Server::start(move |seen| kept.respond(seen));
    let done = run(archiving(&tree, &store.address, flags).arg("-vv").envs(variables.iter().copied())).expect(0);
    assert_eq!(objects.count(), 1);
    assert_no_canary(&done);
    assert!(done.stderr.contains(&format!("credentials=\"{kind}\"")), "{}", done.stderr);
    let seen = store.seen();
    assert!(seen.len() > 2);
    for request in seen {
        assert!(request.header("authorization").contains("Credential=ROLEKEY/"), "{request:?}");
        assert_eq!(request.header("x-amz-security-token"), "canary-session");
    }
}

fn token_file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

#[test]
fn a_web_identity_is_exchanged_for_keys() {
    let tls = Tls::new();
    let (_folder, token) = token_file("canary-identity");
    let (_other, authority) = token_file(&tls.authority);
    let sts = Server::with_tls(&tls, |_| keys_in_xml());
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/archiver"),
        ("AWS_ENDPOINT_URL_STS", sts.address.as_str()),
        // of lower rank
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/never"),
    ];
    assert_signed_by_the_role(&variables, &["--ca-file", &authority], "web identity");
    let asked = sts.seen();
    assert!(!asked.is_empty());
    for word in ["Action=AssumeRoleWithWebIdentity", "WebIdentityToken=canary-identity", "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Farchiver"] {
        assert!(asked[0].target.contains(word), "no {word} in {}", asked[0].target);
    }
}

#[test]
fn the_role_of_a_pod_is_asked_for_with_its_token() {
    let (_folder, token) = token_file("canary-pod");
    let agent = Server::start(|_| keys_in_json());
    let uri = format!("{}/v1/credentials", agent.address);
    let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)];
    assert_signed_by_the_role(&variables, &[], "pod identity");
    let asked = agent.seen();
    assert_eq!((asked[0].target.as_str(), asked[0].header("authorization")), ("/v1/credentials", "canary-pod"));
}

#[test]
fn the_role_of_a_container_is_asked_for_at_its_address() {
    // the address is fixed; a proxy sees it
    let proxy = Server::start(|_| keys_in_json());
    let variables = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/task"), ("HTTP_PROXY", proxy.address.as_str())];
    assert_signed_by_the_role(&variables, &[], "container role");
    assert_eq!(proxy.seen()[0].target, "http://169.254.170.2/v2/credentials/task");
}

#[test]
fn the_role_of_a_machine_is_asked_for_with_a_session() {
    let metadata = Server::start(|seen: &Seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("PUT", "/latest/api/token") => Answer::new(200, "canary-imds"),
        _ if seen.header("x-aws-ec2-metadata-token") != "canary-imds" => Answer::new(401, ""),
        (_, "/latest/meta-data/iam/security-credentials/") => Answer::new(200, "archiver"),
        (_, "/latest/meta-data/iam/security-credentials/archiver") => keys_in_json(),
        _ => Answer::new(404, ""),
    });
    assert_signed_by_the_role(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.address)], &[], "instance metadata");
}

#[test]
fn static_keys_come_first_and_anonymous_before_all() {
    let (tree, objects) = (small_tree(), Objects::default());
    let store = Server::start(move |seen| objects.respond(seen));
    let variables = [
        ("AWS_ACCESS_KEY_ID", "GIVEN"),
        ("AWS_SECRET_ACCESS_KEY", CANARY),
        ("AWS_SESSION_TOKEN", "canary-token"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/never"),
        ("AWS_ROLE_ARN", "never"),
    ];
    let done = run(archiving(&tree, &store.address, &["-vv"]).envs(variables)).expect(0);
    assert_no_canary(&done);
    assert!(store.seen().iter().all(|request| request.header("authorization").contains("Credential=GIVEN/")));
    assert!(store.seen().iter().all(|request| request.header("x-amz-security-token") == "canary-token"));
    let before = store.seen().len();
    run(archiving(&tree, &store.address, &["--anonymous"]).envs(variables)).expect(0);
    let unsigned = &store.seen()[before..];
    assert!(!unsigned.is_empty() && unsigned.iter().all(|request| request.header("authorization").is_empty()));
}

fn refused(variables: &[(&str, &str)]) -> Run {
    run(archiving(&small_tree(), "http://127.0.0.1:9", &[]).envs(variables.iter().copied())).expect(2)
}

#[test]
fn half_of_a_set_up_is_refused_before_anything_is_asked() {
    let (_folder, good) = token_file("token");
    let (_other, broken) = token_file("canary\n");
    for (variables, words) in [
        (&[("AWS_ACCESS_KEY_ID", "a")][..], &["AWS_SECRET_ACCESS_KEY is not"][..]),
        (&[("AWS_SECRET_ACCESS_KEY", CANARY)], &["AWS_ACCESS_KEY_ID is not"]),
        (&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "canary\n")], &["AWS_SECRET_ACCESS_KEY ends in a line break"]),
        (&[("AWS_WEB_IDENTITY_TOKEN_FILE", &good)], &["AWS_ROLE_ARN is not"]),
        (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/file"), ("AWS_ROLE_ARN", "r")], &["cannot read AWS_WEB_IDENTITY_TOKEN_FILE /no/such/file"]),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1")], &["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is not"]),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &broken)], &["ends in a line break"]),
        // a token goes to this machine, or over TLS
        (
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.org/v1"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &good)],
            &["plain http", "use https://"],
        ),
        (
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", &good), ("AWS_ROLE_ARN", "r"), ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")],
            &["AWS_ENDPOINT_URL_STS is plain http"],
        ),
        // what is no path would become a part of the host's name
        (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@127.0.0.1/canary")], &["does not begin with /"]),
        (&[("AWS_EC2_METADATA_DISABLED", "true")], &["no credentials for S3", "AWS_ACCESS_KEY_ID", "--anonymous"]),
    ] {
        let run = refused(variables);
        assert_no_canary(&run);
        for word in words {
            assert!(run.stderr.contains(word), "{variables:?}: no {word:?} in {}", run.stderr);
        }
    }
}

#[test]
fn credentials_that_cannot_be_had_say_what_to_look_at() {
    let denied =
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>";
    let tls = Tls::new();
    let (_folder, token) = token_file("canary-identity");
    let (_other, authority) = token_file(&tls.authority);
    let asked = AtomicUsize::new(0);
    let sts = Server::with_tls(&tls, move |_| {
        asked.fetch_add(1, Ordering::Relaxed);
        Answer::new(403, denied)
    });
    let variables =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/archiver"), ("AWS_ENDPOINT_URL_STS", sts.address.as_str())];
    let tree = small_tree();
    let run_with = |flags: &[&str]| run(archiving(&tree, "http://127.0.0.1:9", flags).arg("-vv").envs(variables)).expect(1);
    assert_said(&run_with(&["--ca-file", &authority]), &["AccessDenied: Not authorized", "no credentials by web identity", "AWS_ROLE_ARN"]);
    // its certificate is not trusted: the role's token is not sent
    let before = sts.seen().len();
    assert_said(&run_with(&[]), &["--ca-file"]);
    assert_eq!(sts.seen().len(), before);

    // nobody answers for the machine
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let nobody = format!("http://{closed}");
    let run = run(archiving(&tree, "http://127.0.0.1:9", &[]).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &nobody)).expect(1);
    assert_said(&run, &[&nobody, "no credentials by instance metadata", "set AWS_ACCESS_KEY_ID", "--anonymous"]);
}
