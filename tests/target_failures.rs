//! What happens when the archive cannot take what it is given: one clear error, no visible object that is not whole,
//! and sources as they were.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{
    Level, Objects, Run, Snapshot, T0, Tree, archive, archiver, assert_same_host_metrics, assert_same_rows, endpoint, files_below, noise, rows_of, run, s3,
    s3_environment, without_environment,
};

mod support;

/// One snapshot of so many values, which do not compress.
fn tree_of(values: usize) -> (Tree, Snapshot) {
    let mut snapshot = Snapshot { from: T0, to: T0 + 36_000, root: Level::default() };
    for (m, values) in noise(1, values).chunks(36_000).enumerate() {
        snapshot.root = snapshot.root.metric(&format!("m{m:03}"), 1, T0, values);
    }
    let tree = Tree::new();
    tree.bin("c", "n1", &snapshot);
    (tree, snapshot)
}

/// Checks that a run ended with one error that says all of `words`, and without a panic.
#[track_caller]
fn assert_one_error(run: &Run, words: &[&str]) {
    assert_eq!(run.lines_of("ERROR").len(), 1, "one error is enough:\n{}", run.stderr);
    assert_eq!(run.lines_of("WARN"), [""; 0], "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "no {word:?} in\n{}", run.stderr);
    }
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    assert_eq!(run.stdout, "", "a run that failed prints no summary");
}

/// Waits for a run; a failure that is not reported within `limit` is none that a person waits for.
fn run_within(limit: Duration, command: &mut Command) -> Run {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    while child.try_wait().expect("its state").is_none() {
        if begun.elapsed() > limit {
            child.kill().expect("it can be ended");
            panic!("the run did not end within {limit:?}: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("its output").into()
}

#[test]
fn a_bucket_that_does_not_exist_is_one_clear_error() {
    let (tree, _) = tree_of(100);
    let before = tree.state();
    let missing = s3().name.replace("cc-archiver", "never-made");
    let mut command = archiver();
    command.arg("archive").arg(tree.path()).arg(format!("s3://{missing}/archive")).envs(s3_environment(endpoint()));
    let run = run(&mut command).expect(1);
    assert_one_error(&run, &[&format!("s3://{missing}/archive"), "the bucket does not exist", "AWS_ENDPOINT_URL"]);
    assert_eq!(tree.state(), before);
}

#[test]
fn a_server_that_cannot_be_reached_is_one_clear_error_within_a_minute() {
    let (tree, _) = tree_of(100);
    let before = tree.state();
    // a port that was free a moment ago: nobody listens there
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let server = format!("http://127.0.0.1:{port}");
    let mut command = archiver();
    command.arg("archive").arg(tree.path()).arg("s3://bucket/archive").envs(s3_environment(&server));
    let run = run_within(Duration::from_secs(60), &mut command).expect(1);
    assert_one_error(&run, &["s3://bucket/archive", &server, "the server cannot be reached"]);
    assert_eq!(tree.state(), before);
}

/// A run into a directory in whose way a file lies: `obstacle`, below a temporary folder, for an archive at `place`.
fn a_file_in_the_way(obstacle: &str, place: &str) {
    let (tree, snapshot) = tree_of(100);
    let before = tree.state();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let obstacle = folder.path().join(obstacle);
    support::write(&obstacle, b"not a folder");
    let place = folder.path().join(place);
    let failed = archive(tree.path(), &place, &[]).expect(1);
    assert_one_error(&failed, &[&place.display().to_string()]);
    assert_eq!(tree.state(), before);
    let found: Vec<_> = files_below(folder.path()).into_values().collect();
    assert_eq!(found, ["not a folder"], "nothing was written, and the file in the way is as it was");
    // and that was all that stood in the way
    fs::remove_file(&obstacle).expect("removed");
    archive(tree.path(), &place, &[]).expect(0);
    assert_same_rows("the archive", rows_of(&files_below(&place)), snapshot.rows("c", "n1"));
}

#[test]
fn an_archive_that_is_a_file_is_one_clear_error() {
    a_file_in_the_way("archive", "archive");
}

#[test]
fn an_archive_below_a_file_is_one_clear_error() {
    a_file_in_the_way("file", "file/archive");
}

#[test]
fn a_file_where_a_partition_should_be_is_one_clear_error() {
    a_file_in_the_way("archive/cluster=c", "archive");
}

#[test]
fn a_file_where_unfinished_objects_should_lie_is_one_clear_error() {
    a_file_in_the_way("archive/_tmp", "archive");
}

// ---------------------------------------------------------------- a full disk

/// Mounts a small disk, archives to it, keeps what is there then; makes it larger, and does it all again.
/// Arguments: folder, size in KiB, program, tree.
const ON_A_SMALL_DISK: &str = r#"
    mkdir "$1/disk"
    mount -t tmpfs -o "size=$2k" tmpfs "$1/disk"
    for run in full larger; do
        code=0
        "$3" archive "$4" "$1/disk/archive" --compression none --json >"$1/$run.stdout" 2>"$1/$run.stderr" || code=$?
        echo "$code" >"$1/$run.code"
        cp -R "$1/disk/archive" "$1/$run"
        mount -o remount,size=1g "$1/disk"
    done
"#;

/// Runs a script with mounts of its own. That takes root, or a system on which users may have namespaces.
fn in_mount_namespace(script: &str, args: &[&str]) {
    let allowed = |flags: &str| {
        let mut command = Command::new("unshare");
        command.args([flags, "true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let flags = ["-m", "-rm"].into_iter().find(|flags| allowed(flags));
    let flags = flags.expect("a full disk takes a mount namespace: run this test as root, or where `unshare -rm true` succeeds");
    let mut command = Command::new("unshare");
    without_environment(&mut command).args([flags, "sh", "-euc", script, "sh"]).args(args);
    let output = command.output().expect("unshare runs");
    assert!(output.status.success(), "unshare {flags}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What `ON_A_SMALL_DISK` kept of a run: how it ended, and the archive after it.
fn kept(folder: &Path, run: &str) -> (Run, Objects) {
    let text = |what: &str| fs::read_to_string(folder.join(format!("{run}.{what}"))).unwrap_or_else(|e| panic!("{run}.{what}: {e}"));
    let code = text("code").trim().parse().expect("an exit code");
    (Run { code, stdout: text("stdout"), stderr: text("stderr") }, files_below(&folder.join(run)))
}

/// Archives to a disk of `kib` KiB, on which there is no room for the tree's only object, and then to one where there is.
fn a_full_disk((tree, snapshot): (Tree, Snapshot), kib: usize) {
    let before = tree.state();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    in_mount_namespace(ON_A_SMALL_DISK, &[&text(folder.path()), &kib.to_string(), env!("CARGO_BIN_EXE_cc-archiver"), &text(tree.path())]);
    let (full, objects) = kept(folder.path(), "full");
    assert_one_error(&full.expect(1), &["cluster=c/date=2026-03-01/", "No space left on device", "the target is full"]);
    assert_eq!(objects, Objects::new(), "nothing stays, visible or not");
    assert_eq!(tree.state(), before);
    let (larger, objects) = kept(folder.path(), "larger");
    larger.expect(0);
    let [(key, bytes)] = objects.iter().collect::<Vec<_>>()[..] else { panic!("one object expected: {:?}", objects.keys()) };
    assert!(bytes.len() > kib << 10, "the first disk was large enough");
    assert_same_host_metrics(key, bytes, &snapshot);
    assert_eq!(tree.state(), before);
}

#[test]
fn a_disk_too_full_for_a_small_object_is_one_clear_error() {
    a_full_disk(tree_of(50_000), 64);
}

#[test]
fn a_disk_that_fills_up_between_the_parts_of_a_large_object_is_one_clear_error() {
    // two parts: the first one, of 8 MiB, has room
    a_full_disk(tree_of(2_400_000), 8_704);
}
