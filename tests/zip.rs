//! Zip archives of old cc-metric-store: `<cluster>/<host>/<from>.zip` with `<from>.json` in it, alone and beside snapshots.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::{DAY, Level, Row, Snapshot, T0, Tree, archive, archiver, assert_same_rows, files_below, ledger_of, noise, rows_of, run};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

mod support;

const HOUR: i64 = 3_600;

/// A zip archive of members, as cc-metric-store wrote them: deflated.
fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
    with_method(members, CompressionMethod::Deflated)
}

fn with_method(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("begun");
        zip.write_all(bytes).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}

/// Four snapshots of an hour each of a host.
fn snapshots(seed: u64) -> Vec<Snapshot> {
    (0..4).map(|n| Snapshot::minutes(T0 + n * HOUR, noise(seed + n as u64, 60))).collect()
}

/// Packs these snapshots into one zip archive of the host.
fn pack(tree: &Tree, host: &str, snapshots: &[Snapshot]) {
    let members: Vec<(String, Vec<u8>)> = snapshots.iter().map(|snapshot| (format!("{}.json", snapshot.from), snapshot.json())).collect();
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    tree.write(&format!("c/{host}/{}.zip", snapshots[0].from), &packed(&members));
}

fn rows(host: &str, snapshots: &[Snapshot]) -> Vec<Row> {
    snapshots.iter().flat_map(|snapshot| snapshot.rows("c", host)).collect()
}

#[test]
fn a_tree_of_zip_archives_is_archived_as_the_same_tree_unpacked() {
    let (zipped, plain) = (Tree::new(), Tree::new());
    let mut expected = Vec::new();
    for (n, host) in ["n1", "n2"].into_iter().enumerate() {
        let snapshots = snapshots(10 * n as u64);
        pack(&zipped, host, &snapshots);
        snapshots.iter().for_each(|snapshot| plain.json("c", host, snapshot));
        expected.extend(rows(host, &snapshots));
    }
    let (a, b) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let done = archive(zipped.path(), a.path(), &[]).expect(0).summary();
    assert_eq!([&done["files"], &done["hosts"]], [8, 2]);
    archive(plain.path(), b.path(), &[]).expect(0);
    expected.sort();
    assert_same_rows("zipped", rows_of(&files_below(a.path())), &expected);
    assert_same_rows("plain", rows_of(&files_below(b.path())), &expected);
    // in ledgers they are the same sources, whatever they lie in
    let sources = |folder: &Path| {
        let objects = files_below(folder);
        let ledgers = objects.values().flat_map(|bytes| ledger_of(bytes).expect("a ledger"));
        ledgers.map(|entry| [&entry["path"], &entry["size"], &entry["blake3"]].map(ToString::to_string)).collect::<Vec<_>>()
    };
    assert_eq!(sources(a.path()), sources(b.path()));
    // so neither is archived again beside the other, and a second run has nothing to do
    for (tree, archived) in [(&zipped, &a), (&plain, &a), (&zipped, &b)] {
        let again = archive(tree.path(), archived.path(), &[]).expect(0).summary();
        assert_eq!([&again["files"], &again["already_archived"], &again["objects_written"]], [0, 8, 0]);
    }
    let covered = run(archiver().arg("coverage").arg(a.path()).arg("--checkpoints").arg(zipped.path()).arg("--json")).expect(0).summary();
    assert_eq!(covered["clusters"][0]["summary"]["checkpoints"]["archived"], 8);
    // verify knows them by their bytes
    let verified = || run(archiver().arg("verify").arg(a.path()).arg("--checkpoints").arg(zipped.path()).arg("--json"));
    let report = verified().expect(0).summary();
    assert_eq!(report["checkpoints"]["archived"], 8, "{report}");
    // which are others now
    let others = (0..4).map(|n| Snapshot::minutes(T0 + n * HOUR, noise(77 + n as u64, 60))).collect::<Vec<_>>();
    pack(&zipped, "n1", &others);
    let report = verified().summary();
    assert_eq!([&report["checkpoints"]["archived"], &report["checkpoints"]["not_archived"].as_array().map_or(0, Vec::len).into()], [4, 4], "{report}");
}

#[test]
fn inspect_shows_a_member_and_names_those_that_there_are() {
    let tree = Tree::new();
    let all = snapshots(1);
    pack(&tree, "n1", &all);
    pack(&tree, "n2", &all[..1]);
    let inspect = |path: &str| run(archiver().arg("inspect").arg(tree.path().join(path)).arg("--json"));
    let (zip, name) = (format!("c/n1/{T0}.zip"), format!("{}.json", T0 + HOUR));
    let shown = inspect(&format!("{zip}/{name}")).expect(0).summary();
    let plain = Tree::new();
    plain.json("c", "n1", &all[1]);
    let expected = run(archiver().arg("inspect").arg(plain.path().join(format!("c/n1/{name}"))).arg("--json")).expect(0).summary();
    for field in ["blake3", "cluster", "host", "series", "size"] {
        assert!(shown[field] == expected[field] && !shown[field].is_null(), "{field}: {shown}");
    }
    // the only one need not be named
    assert_eq!(inspect(&format!("c/n2/{T0}.zip")).expect(0).summary()["host"], "n2");
    for (path, what) in [(zip.clone(), format!("{T0}.zip has 4 snapshots")), (format!("{zip}/1.json"), "1.json is not in the archive".to_owned())] {
        let refused = inspect(&path).expect(2);
        assert!(refused.stderr.contains(&what) && refused.stderr.contains(&name), "{}", refused.stderr);
    }
}

#[test]
fn a_mixed_tree_is_archived_and_only_files_are_pruned() {
    let tree = Tree::new();
    let all = snapshots(1);
    pack(&tree, "n1", &all[..3]);
    tree.json("c", "n1", &all[3]);
    let later = Snapshot::minutes(T0 + DAY, noise(9, 60));
    tree.bin("c", "n1", &later);
    // one of them lies beside the archive, too
    tree.json("c", "n1", &all[1]);
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(archive(tree.path(), folder.path(), &[]).expect(0).summary()["files"], 5);
    let mut expected = rows("n1", &all);
    expected.extend(later.rows("c", "n1"));
    expected.sort();
    assert_same_rows("mixed", rows_of(&files_below(folder.path())), &expected);
    let pruned = run(archiver().arg("prune").arg(tree.path()).arg(folder.path()).args(["--older-than", "1s", "--json"])).expect(0).summary();
    assert_eq!(pruned["pruned"], 2, "{pruned}");
    let left: Vec<String> = tree.state().into_keys().collect();
    assert_eq!(left, [format!("c/n1/{T0}.zip"), format!("c/n1/{}.bin", T0 + DAY)]);
    assert_eq!(archive(tree.path(), folder.path(), &[]).expect(0).summary()["already_archived"], 4);
}

#[test]
fn what_is_wrong_with_a_member_or_an_archive_costs_only_itself() {
    let tree = Tree::new();
    let good = Snapshot::minutes(T0, noise(1, 60));
    let json = good.json();
    let name = format!("{T0}.json");
    let at = |n: i64| T0 + n * HOUR;
    let other = |n: i64| format!("{}.json", at(n));
    // the names that lead elsewhere, or that others have
    let (up, deep, readme) = (format!("../{}", other(5)), format!("c/n9/{}", other(6)), "README.txt".to_owned());
    tree.write(
        &format!("c/n1/{T0}.zip"),
        &packed(&[(&name, &json), (&up, &json), (&deep, &json), (&readme, b"hello"), ("x.json", &json), (&format!("{T0}.old.json"), &json)]),
    );
    // a bomb, whose directory says so
    let bomb = vec![b' '; 70 << 20];
    tree.write(&format!("c/n2/{T0}.zip"), &packed(&[(&name, &json), (&other(1), &bomb)]));
    // a bomb whose directory says that it is small
    let mut lies = packed(&[(&name, &json), (&other(1), &vec![b' '; 1 << 20])]);
    let size = (1_u32 << 20).to_le_bytes();
    let places: Vec<usize> = (0..lies.len() - 4).filter(|at| lies[*at..at + 4] == size).collect();
    places.iter().for_each(|at| lies[*at..at + 4].copy_from_slice(&1_000_u32.to_le_bytes()));
    tree.write(&format!("c/n3/{T0}.zip"), &lies);
    // damaged bytes, a cut directory, and no archive at all
    let mut damaged = with_method(&[(&other(1), &json), (&name, &json)], CompressionMethod::Stored);
    damaged[100] ^= 1;
    tree.write(&format!("c/n4/{T0}.zip"), &damaged);
    let whole = packed(&[(&name, &json)]);
    tree.write(&format!("c/n5/{T0}.zip"), &whole[..whole.len() - 30]);
    tree.write(&format!("c/n6/{T0}.zip"), b"");
    tree.write("c/n7/backup.zip", &whole);
    // a sparse one, and one whose end says that there are very many
    tree.write(&format!("c/n8/{T0}.zip"), &whole);
    std::fs::File::options().write(true).open(tree.path().join(format!("c/n8/{T0}.zip"))).and_then(|file| file.set_len(47 << 30)).expect("grown");
    let mut many = whole.clone();
    let at = many.len() - 22 + 10;
    many[at..at + 2].fill(0xff);
    tree.write(&format!("c/n9/{T0}.zip"), &many);
    std::os::unix::fs::symlink(tree.path().join(format!("c/n1/{T0}.zip")), tree.path().join(format!("c/n7/{T0}.zip"))).expect("linked");

    let folder = tempfile::tempdir().expect("a folder");
    let done = archive(tree.path(), folder.path(), &[]).expect(3);
    let said: Vec<String> =
        done.summary()["set_aside"].as_array().expect("a list").iter().map(|note| format!("{}: {}", note["path"], note["reason"])).collect();
    for (place, why) in [
        (format!("n1/{T0}.zip/{up}"), "top of the zip"),
        (format!("n1/{T0}.zip/{deep}"), "top of the zip"),
        (format!("n1/{T0}.zip/x.json"), "not a unix time"),
        (format!("n1/{T0}.zip/{T0}.old.json"), "not a unix time"),
        (format!("n8/{T0}.zip"), "no archive of snapshots has more than 1073741824"),
        (format!("n9/{T0}.zip"), "no archive of snapshots has more than 2000"),
        (format!("n2/{T0}.zip/{}", other(1)), "73400320 bytes come out of"),
        (format!("n3/{T0}.zip/{}", other(1)), "larger than its declared"),
        (format!("n4/{T0}.zip/{}", other(1)), "checksum"),
        (format!("n5/{T0}.zip"), "no zip archive"),
        (format!("n6/{T0}.zip"), "no zip archive"),
        (format!("n7/{T0}.zip"), "symbolic link"),
    ] {
        assert!(said.iter().any(|said| said.contains(&place) && said.to_lowercase().contains(why)), "{place}: {why}: {said:#?}");
    }
    assert_eq!(said.len(), 12, "{said:#?}");
    let expected: Vec<Row> = ["n1", "n2", "n3", "n4"].into_iter().flat_map(|host| good.rows("c", host)).collect();
    assert_same_rows("good ones", rows_of(&files_below(folder.path())), &expected);
    assert!(!tree.path().join(format!("c/{}", other(5))).exists());
}

#[test]
fn of_two_members_of_one_name_the_later_archives_is_taken_and_the_other_told() {
    let tree = Tree::new();
    let (one, two) = (Snapshot::minutes(T0, noise(1, 60)), Snapshot::minutes(T0, noise(2, 90)));
    let name = format!("{T0}.json");
    tree.write(&format!("c/n1/{T0}.zip"), &packed(&[(&name, &one.json())]));
    tree.write(&format!("c/n1/{}.zip", T0 + 1), &packed(&[(&name, &two.json())]));
    let folder = tempfile::tempdir().expect("a folder");
    let done = archive(tree.path(), folder.path(), &[]).expect(3).summary();
    assert_eq!([&done["files"], &json!(done["set_aside"].as_array().map(Vec::len))], [1, 1]);
    // that of the later archive
    let mut expected = two.rows("c", "n1");
    expected.sort();
    assert_same_rows("the later one", rows_of(&files_below(folder.path())), &expected);
}

#[test]
fn a_member_that_does_not_fit_into_memory_is_unpacked_to_disk() {
    let tree = Tree::new();
    let (from, count) = (T0 - 30 * DAY, 200_000);
    let root = (0..10).fold(Level::default(), |level, n| level.metric(&format!("m{n}"), 1, from, noise(n, count)));
    let large = Snapshot { from, to: from + count as i64, root };
    assert!(large.json().len() > 32 << 20, "{}", large.json().len());
    pack(&tree, "n1", std::slice::from_ref(&large));
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(archiver().get_program());
    support::without_environment(&mut command);
    command.arg("archive").arg(tree.path()).arg(folder.path()).args(["--json", "--memory", "64MiB", "--workers", "1"]);
    let done = run(&mut command).expect(0).summary();
    assert_eq!(done["rows_written"], 2_000_000, "{done}");
}
