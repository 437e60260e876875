//! What is shown, and how: at a terminal, in a log, and by a run that is to be quiet.

use std::process::Command;

use support::terminal::at_terminal;
use support::{Place, Snapshot, T0, Tree, archiver, run, write};

mod support;

fn site() -> (Tree, Place) {
    let tree = Tree::new();
    tree.bin("c", "n1", &Snapshot::minutes(T0, [1.0; 30]));
    (tree, Place::folder())
}

fn archive(tree: &Tree, place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = archiver();
    command.arg("archive").arg(tree.path()).arg(place.name()).args(args).env("TERM", "xterm").envs(variables.iter().copied());
    command
}

#[test]
fn times_are_those_of_the_reader_at_a_terminal_and_utc_in_a_log() {
    let (tree, place) = site();
    let zone = [("TZ", "Asia/Kolkata"), ("NO_COLOR", "1")];
    let (shown, _) = at_terminal(archive(&tree, &place, &[], &zone), &[]);
    assert!(shown.contains(" +05:30  INFO archiving "), "{shown}");
    let json = at_terminal(archive(&tree, &place, &["--log-format", "json"], &zone), &[]).0;
    assert!(json.contains("Z\",\"level\":\"INFO\""), "{json}");
    let said = run(&mut archive(&tree, &place, &[], &zone)).expect(0);
    assert!(said.stderr.contains("Z  INFO archiving ") && !said.stderr.contains("+05:30"), "{}", said.stderr);
}

#[test]
fn colours_are_for_terminals_that_show_them_and_people_who_want_them() {
    let (tree, place) = site();
    for (variables, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false), (&[("TERM", "dumb")], false), (&[("CLICOLOR", "0")], false)] {
        for args in [&["--progress", "never"][..], &["--progress", "never", "--cluster", "nowhere"], &["--help"], &["--no-such-option"]] {
            let (shown, _) = at_terminal(archive(&tree, &place, args, variables), &[]);
            assert_eq!(shown.contains('\x1b'), coloured, "{variables:?} {args:?}: {shown:?}");
        }
    }
    for args in [&[][..], &["--cluster", "nowhere"], &["--help"], &["--no-such-option"]] {
        let mut command = archive(&tree, &place, args, &[]);
        let said = command.output().expect("started");
        let all = [said.stdout, said.stderr].concat();
        assert!(!all.contains(&0x1b), "{args:?}: {}", String::from_utf8_lossy(&all));
    }
}

#[test]
fn quiet_commands_say_nothing_if_all_is_well() {
    let (tree, place) = site();
    let (folder, source) = (place.name(), tree.path().to_str().expect("UTF-8").to_owned());
    let restored = tempfile::tempdir().expect("a folder");
    let commands: [&[&str]; 8] = [
        &["archive", &source, &folder],
        &["prune", &source, &folder, "--older-than", "7d"],
        &["verify", &folder, "--read-data", "--decode"],
        &["compact", &folder],
        &["table", &folder, "--init"],
        &["ls", &folder],
        &["restore", &folder, restored.path().to_str().expect("UTF-8")],
        &["expire", &folder, "--keep", "9999days"],
    ];
    for args in commands {
        let said = run(archiver().args(args).arg("-q")).expect(0);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{args:?}");
        let (shown, code) = {
            let mut command = archiver();
            command.args(args).arg("-q").env("TERM", "xterm");
            at_terminal(command, &[])
        };
        assert_eq!((shown.as_str(), code), ("", 0), "{args:?}, at a terminal");
    }
}

#[test]
fn quiet_runs_say_all_that_a_person_must_know_if_something_is_not_well() {
    let (tree, place) = site();
    write(&tree.path().join(format!("c/n1/{}.bin", T0 + 60)), b"damaged");
    let said = run(&mut archive(&tree, &place, &["-q", "--min-age", "0s"], &[])).expect(3);
    assert_eq!(said.stdout, "");
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", said.stderr);
    assert!(lines[0].contains(&format!("{}.bin", T0 + 60)), "the file, and why: {}", lines[0]);
    for part in ["WARN archived: ", "1 set aside", "command=\"archive\"", "exit_code=3", &place.name(), "next="] {
        assert!(lines[1].contains(part), "{part}: {}", lines[1]);
    }
    let said = run(archiver().args(["verify", "-q"]).arg(tree.path().join("no"))).expect(2);
    assert!(said.stderr.contains(" ERROR ") && said.stderr.contains("hint"), "{}", said.stderr);
}
