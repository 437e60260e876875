//! A server that does not keep to conditions: nothing is overwritten there either, runs say what it is, and what comes to stand twice is named
//! and stays.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::objects::Objects;
use super::server::{Seen, Server};
use super::{archiving, support, with_keys};
use support::{Run, Snapshot, T0, Tree, archiver};

/// Longer than a machine needs to come to its first object.
const PATIENCE: Duration = Duration::from_secs(30);

fn is_object(seen: &Seen) -> bool {
    seen.method == "PUT" && seen.path().contains("/part-")
}

/// A tree of two snapshots of each host.
fn tree(hosts: &[&str]) -> Tree {
    let tree = Tree::new();
    for host in hosts {
        for hour in 0..2 {
            tree.bin("c", host, &Snapshot::minutes(T0 + 3_600 * hour, [1.0; 60]));
        }
    }
    tree
}

/// The server, which holds the first objects back until so many of them have come.
fn serve(objects: &Objects, together: usize) -> Server {
    let (kept, come) = (objects.clone(), AtomicUsize::new(0));
    Server::start(move |seen| {
        if is_object(seen) {
            come.fetch_add(1, Ordering::SeqCst);
            let begun = Instant::now();
            while come.load(Ordering::SeqCst) < together && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        kept.respond(seen)
    })
}

fn on_the_archive(command: &str, before: &[&std::path::Path], server: &Server, flags: &[&str]) -> Command {
    let mut made = archiver();
    made.arg(command).args(before).args(["s3://bucket/archive", "--endpoint", &server.address, "--progress", "never", "--json"]).args(flags);
    made.env("NO_PROXY", "127.0.0.1");
    made
}

fn prune(tree: &Tree, server: &Server) -> Run {
    with_keys(&mut on_the_archive("prune", &[tree.path()], server, &["--older-than", "1s"]))
}

fn verify(server: &Server) -> Run {
    with_keys(&mut on_the_archive("verify", &[], server, &["--decode"]))
}

/// A run says once what the server does.
#[track_caller]
fn assert_warned(run: &Run) {
    let lines: Vec<_> = run.lines_of("WARN").into_iter().filter(|line| line.contains("ignores conditional writes")).collect();
    assert!(lines.len() == 1 && lines[0].contains("let one machine alone write to it"), "{}", run.stderr);
    assert_eq!(run.summary()["store_overwrites"], true);
}

/// Keys of objects that hold rows, of which each has a number of its own behind its slot.
#[track_caller]
fn keys(objects: &Objects) -> Vec<String> {
    let keys: Vec<_> = objects.keys().into_iter().filter(|key| !support::is_own(key)).collect();
    for key in &keys {
        let number = key.split_once("/part-00-00000-").and_then(|(_, rest)| rest.strip_suffix(".parquet")).unwrap_or_else(|| panic!("{key}"));
        assert!(number.len() == 16 && number.bytes().all(|digit| b"0123456789abcdef".contains(&digit)), "{key}");
    }
    keys
}

#[test]
fn one_machine_on_a_server_that_overwrites_is_warned_and_nothing_else_happens() {
    let (tree, objects) = (tree(&["n1", "n2"]), Objects::without_conditions());
    let server = serve(&objects, 1);
    assert_warned(&with_keys(&mut archiving(&tree, &server.address, &[])).expect(0));
    assert_eq!(keys(&objects).len(), 1);
    verify(&server).expect(0);
    assert_eq!(prune(&tree, &server).expect(0).summary()["pruned"], 2);
}

#[test]
fn two_machines_on_a_server_that_overwrites_leave_doubles_that_are_named_and_kept() {
    let (trees, objects) = ([tree(&["n1", "n2"]), tree(&["n1"])], Objects::without_conditions());
    let server = serve(&objects, 2);
    let runs = std::thread::scope(|scope| {
        let runs = trees.each_ref().map(|tree| scope.spawn(|| with_keys(&mut archiving(tree, &server.address, &[]))));
        runs.map(|run| run.join().expect("it ran"))
    });
    runs.iter().for_each(assert_warned);
    // whoever comes last finds the other one's object when it proves its own
    let mut codes = runs.map(|run| run.code);
    codes.sort_unstable();
    assert!([[0, 3], [3, 3]].contains(&codes), "{codes:?}");
    let both = keys(&objects);
    assert_eq!(both.len(), 2, "{both:?}");
    for tree in &trees {
        // named by each run, though it has nothing to do
        let run = with_keys(&mut archiving(tree, &server.address, &[])).expect(3);
        let summary = run.summary();
        let set_aside = summary["set_aside"].to_string();
        assert_eq!((summary["objects_written"].as_u64(), summary["set_aside"].as_array().map(Vec::len)), (Some(0), Some(1)), "{summary}");
        assert!(both.iter().all(|key| set_aside.contains(key.rsplit('/').next().expect("a name"))), "{set_aside}");
        assert!(set_aside.contains("both hold the source") && set_aside.contains("run compact: it joins the two"), "{set_aside}");
        let before = tree.state();
        let pruned = prune(tree, &server).expect(3).summary();
        assert_eq!((pruned["pruned"].as_u64(), tree.state()), (Some(0), before), "{pruned}");
    }
    let report = verify(&server).expect(3).summary();
    assert_eq!(report["findings"][0]["kind"], "doubled", "{report}");
    assert_eq!(keys(&objects), both);

    // whoever may not delete changes nothing
    let refusing = objects.clone().without_deletion();
    let other = Server::start(move |seen| refusing.respond(seen));
    let refused = with_keys(&mut on_the_archive("compact", &[], &other, &[])).expect(1);
    assert!(refused.stderr.contains("compact must be able to delete") && refused.stderr.contains("AccessDenied"), "{}", refused.stderr);
    assert_eq!(keys(&objects), both);

    // rows that stand twice become one, and all snapshots may go
    let done = with_keys(&mut on_the_archive("compact", &[], &server, &[])).expect(0).summary();
    assert_eq!(["replaced", "made", "rows_read", "rows_written", "doubled_rows"].map(|name| done[name].as_u64()), [2, 1, 360, 240, 120].map(Some), "{done}");
    assert_eq!(objects.keys().into_iter().filter(|key| !support::is_own(key)).count(), 1);
    verify(&server).expect(0);
    for tree in &trees {
        let again = with_keys(&mut archiving(tree, &server.address, &[])).expect(0).summary();
        assert_eq!(again["files"], 0, "{again}");
        assert!(prune(tree, &server).expect(0).summary()["pruned"].as_u64().is_some_and(|pruned| pruned > 0));
    }
}

#[test]
fn a_server_that_overwrites_has_no_table_as_commits_could_be_lost() {
    let (tree, objects) = (tree(&["n1"]), Objects::without_conditions());
    let server = serve(&objects, 1);
    with_keys(&mut archiving(&tree, &server.address, &[])).expect(0);
    let refused = with_keys(&mut on_the_archive("table", &[], &server, &["--init"])).expect(2);
    assert!(
        refused.stderr.contains("a commit to a table could overwrite another one") && refused.stderr.contains("hint: without a table"),
        "{}",
        refused.stderr
    );
    assert!(objects.keys().iter().all(|key| !key.contains("_delta_log")), "{:?}", objects.keys());
}
