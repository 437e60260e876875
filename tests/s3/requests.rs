//! How many requests a run makes: that depends on the dates on disk, and neither on the size of the archive nor on what else lies in it.

use std::collections::BTreeMap;
use std::process::Command;

use super::objects::Objects;
use super::server::{Seen, Server};
use super::{archiving, support, with_keys};
use support::{DAY, MIDNIGHT, Snapshot, T0, Tree, archiver};

/// By method, a listing being a method of its own.
type Counts = BTreeMap<String, usize>;

fn counts(seen: &[Seen]) -> Counts {
    let mut counts = Counts::new();
    for seen in seen {
        let kind = if seen.asks("list-type").is_some() { "LIST" } else { &seen.method };
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
    counts
}

/// A tree of two dates, and an archive of the first, in which `more` lies besides. Gives what each command asks for.
fn asked(more: impl Fn(&Objects)) -> [Counts; 4] {
    let (tree, objects) = (Tree::new(), Objects::default());
    for host in ["n1", "n2", "n3"] {
        tree.bin("c", host, &Snapshot::minutes(T0, [1.0; 60]));
    }
    let kept = objects.clone();
    let server = Server::start(move |seen| kept.respond(seen));
    let mut before = 0;
    let mut run = |command: &mut Command| {
        with_keys(command).expect(0);
        let seen = server.seen().split_off(before);
        before += seen.len();
        counts(&seen)
    };
    run(&mut archiving(&tree, &server.address, &[]));
    more(&objects);
    for host in ["n1", "n2", "n3"] {
        tree.bin("c", host, &Snapshot::minutes(T0 + 3 * DAY, [1.0; 60]));
    }
    let with_new = run(&mut archiving(&tree, &server.address, &[]));
    let with_nothing_new = run(&mut archiving(&tree, &server.address, &[]));
    let mut prune = archiver();
    prune.arg("prune").arg(tree.path()).args(["s3://bucket/archive", "--endpoint", &server.address, "--older-than", "3d"]).env("NO_PROXY", "127.0.0.1");
    let pruned = run(&mut prune);
    let emptier = run(&mut archiving(&tree, &server.address, &[]));
    [with_new, with_nothing_new, pruned, emptier]
}

#[test]
fn requests_depend_on_the_dates_on_disk_alone() {
    let alone = asked(|_| {});
    let among_others = asked(|objects| {
        let ours = objects.keys().pop().expect("an object");
        let (bytes, name) = (objects.bytes(&ours), ours.rsplit('/').next().expect("a name"));
        // more than a page of dates that are not on disk, of this cluster and of another one, and what is not ours
        for n in 0..1_100 {
            let date = support::date_of(T0 + (365 + n) * DAY);
            objects.put(&format!("archive/cluster=c/date={date}/{name}"), &bytes);
            objects.put(&format!("archive/cluster=d/date={date}/{name}"), &bytes);
            objects.put(&format!("archive/a/{n}.parquet"), b"not Parquet");
            objects.put(&format!("archive/notes/{n}.parquet"), b"not Parquet");
        }
    });
    assert_eq!(among_others, alone);
    assert!(alone.iter().all(|counts| counts.values().sum::<usize>() < 40), "{alone:?}");
}

#[test]
fn what_others_put_into_a_partition_costs_no_more_than_a_few_requests() {
    let among_theirs = |count| {
        asked(move |objects| {
            let folder = objects.keys().pop().and_then(|key| key.rsplit_once('/').map(|(folder, _)| folder.to_owned())).expect("a folder");
            (0..count).for_each(|n| objects.put(&format!("{folder}/theirs-{n}.parquet"), b"not Parquet"));
        })
    };
    assert_eq!(among_theirs(20), among_theirs(200));
}

/// A ledger is read as a whole, and an object of many sources has a long one: it must not be cut into many objects for that.
#[test]
fn a_date_of_very_many_snapshots_costs_few_requests() {
    let (tree, objects) = (Tree::new(), Objects::default());
    let hourly: Vec<Snapshot> = (0..24).map(|hour| Snapshot::minutes(MIDNIGHT + hour * DAY / 24, [1.0])).collect();
    for host in 0..3_000 {
        hourly.iter().for_each(|snapshot| tree.bin("c", &format!("n{host:04}"), snapshot));
    }
    let kept = objects.clone();
    let server = Server::start(move |seen| kept.respond(seen));
    with_keys(&mut archiving(&tree, &server.address, &["--memory", "64MiB"])).expect(0);
    let before = server.seen().len();
    let summary = with_keys(&mut archiving(&tree, &server.address, &[])).expect(0).summary();
    assert_eq!(summary["already_archived"], 72_000, "{summary}");
    let seen = server.seen().split_off(before);
    let of_date = seen.iter().filter(|seen| !seen.path().ends_with("cc-archiver.json")).count();
    // two of them look for a table, one for the floor
    assert!(of_date < 12, "{of_date} requests: {:?}", counts(&seen));
}
