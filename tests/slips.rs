//! What people mistype and mix up: it is refused with the right form, or done right; and what they look at agrees with what happens.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Nobody, Run, Snapshot, T0, archiver, run, set_mode, write};

mod support;

/// A folder with a tree of three hourly snapshots of one host; the program runs in it.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder") };
        for hour in 0..3 {
            let snapshot = Snapshot::minutes(T0 + hour * 3_600, [hour as f32; 60]);
            site.write(&format!("tree/c/n1/{}.bin", snapshot.from), &snapshot.bin());
        }
        site
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        write(&self.path(path), bytes);
    }

    fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        run(archiver().current_dir(self.folder.path()).args(args).args(["--progress", "never"]).envs(variables.iter().copied()))
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    /// It is refused before anything is done, and each of these is said.
    #[track_caller]
    fn refused(&self, args: &[&str], variables: &[(&str, &str)], says: &[&str]) {
        let before = support::files_below(self.folder.path());
        let run = self.run_with(args, variables).expect(2);
        for words in says {
            assert!(run.stderr.contains(words), "{args:?} {variables:?}: no {words:?} in\n{}", run.stderr);
        }
        assert_eq!(run.stdout, "");
        assert!(support::files_below(self.folder.path()) == before, "{args:?} changed something");
    }
}

// ---- places ----

#[test]
fn a_place_that_is_mistyped_is_refused_with_the_right_form_or_taken_as_it_is_meant() {
    let site = Site::new();
    for (place, says) in [
        ("s3:/bucket/x", "s3://bucket/x"),
        ("s3:bucket/x", "s3://bucket/x"),
        ("file:x", "file:///path"),
        ("https://minio:9000/bucket", "--endpoint"),
        ("~/archive", "\"$HOME/archive\""),
    ] {
        site.refused(&["archive", "tree", place], &[], &[place, says]);
    }
    let url = format!("file:{}", site.path("here").display());
    site.run(&["archive", "tree", &url]).expect(0);
    assert!(site.path("here/cluster=c").is_dir());
    let away = site.run(&["verify", "S3://bucket/x", "--endpoint", "http://127.0.0.1:9", "--anonymous", "--retry-for", "0s"]).expect(1);
    assert!(away.stderr.contains("s3://bucket/x"), "{}", away.stderr);
}

#[test]
fn a_path_that_no_shell_has_expanded_is_refused_wherever_it_stands() {
    let site = Site::new();
    let says = ["a shell expands ~", "$HOME/x"];
    site.refused(&["archive", "~/x", "a"], &[], &says);
    site.refused(&["archive", "tree", "a"], &[("CC_ARCHIVER_LOCK_FILE", "~/x")], &["CC_ARCHIVER_LOCK_FILE", says[0]]);
    for option in ["--lock-file", "--metrics-file", "--ca-file", "--config", "--cc-backend-config"] {
        site.refused(&["archive", "tree", "a", &format!("{option}=~/x")], &[], &says);
    }
    site.write("c.json", br#"{"lock-file": "~/x"}"#);
    site.refused(&["archive", "tree", "a", "--config", "c.json"], &[], &["c.json: \"lock-file\"", says[0]]);
}

#[test]
fn options_of_s3_are_refused_for_a_directory_where_they_are_typed_and_break_nothing_elsewhere() {
    let site = Site::new();
    for option in [&["--endpoint", "http://h:9000"][..], &["--region", "x"], &["--anonymous"], &["--sse", "s3"], &["--parts", "2"]] {
        site.refused(&[&["archive", "tree", "a"], option].concat(), &[], &[&format!("{} is for an archive in S3, and a is a directory", option[0])]);
    }
    site.write("c.json", br#"{"endpoint": "http://h:9000", "storage-class": "STANDARD_IA"}"#);
    let run = site.run_with(&["archive", "tree", "a", "--config", "c.json"], &[("CC_ARCHIVER_REGION", "x"), ("AWS_ENDPOINT_URL", "http://h:9000")]).expect(0);
    assert!(matches!(&run.lines_of("WARN")[..], [line] if line.contains("--storage-class is for an archive in S3")), "{}", run.stderr);
}

#[test]
fn swapped_arguments_are_refused_with_the_right_order() {
    let site = Site::new();
    site.run(&["archive", "tree", "a"]).expect(0);
    site.write("new/_cc-archiver.json", b"{}");
    let order = "the checkpoint tree comes first, then the archive:";
    site.refused(&["archive", "a", "tree"], &[], &["a is an archive, not a checkpoint tree", &format!("{order} tree a")]);
    site.refused(&["archive", "new", "b"], &[], &["new is an archive, not a checkpoint tree", &format!("{order} CHECKPOINTS new")]);
    site.refused(&["prune", "nowhere", "tree", "--older-than", "7d"], &[], &["tree is a checkpoint tree, not an archive", &format!("{order} tree nowhere")]);
    site.refused(&["archive", "s3://bucket/x", "tree"], &[], &["s3://bucket/x is a URL", &format!("{order} tree s3://bucket/x")]);
    site.refused(&["verify", "tree"], &[], &["tree is a checkpoint tree, not an archive", "--checkpoints"]);
    site.refused(&["doctor", "a", "tree"], &[], &[&format!("{order} tree a")]);
}

#[test]
fn a_tree_without_any_snapshot_is_said_and_no_success() {
    let site = Site::new();
    fs::create_dir_all(site.path("hosts/c/n1")).expect("made");
    fs::create_dir_all(site.path("hosts/c/n2")).expect("made");
    fs::create_dir_all(site.path("clusters/c")).expect("made");
    for args in [&["archive", "hosts", "a"][..], &["archive", "hosts", "a", "--dry-run"], &["prune", "hosts", "a", "--older-than", "7d"]] {
        let run = site.run(args).expect(3);
        assert!(run.stdout.contains("hosts: there is no snapshot in it, in none of the directories of 2 hosts"), "{args:?}: {}", run.stdout);
    }
    site.refused(&["archive", "clusters", "a"], &[], &["clusters holds no <cluster>/<host> directories"]);
}

#[test]
fn a_bucket_in_the_path_of_the_endpoint_is_refused() {
    let site = Site::new();
    let says = ["names the bucket monitoring in its path", "s3://monitoring/prefix and --endpoint http://127.0.0.1:9"];
    let place = ["archive", "tree", "s3://monitoring/x", "--anonymous", "--retry-for", "0s"];
    site.refused(&[&place[..], &["--endpoint", "http://127.0.0.1:9/monitoring"]].concat(), &[], &says);
    site.refused(&place, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9/monitoring/x")], &says);
    site.run(&[&place[..], &["--endpoint", "http://127.0.0.1:9/storage/s3"]].concat()).expect(1);
}

#[test]
fn an_archive_that_cannot_be_written_says_whose_it_is_and_which_rights_are_missing() {
    let (site, nobody) = (Site::new(), Nobody::new());
    set_mode(site.folder.path(), 0o755);
    fs::create_dir(site.path("closed")).expect("made");
    set_mode(&site.path("closed"), 0o555);
    let tree = site.path("tree");
    for place in ["closed", "closed/deep/er"] {
        let run = run(nobody.archiver().arg("archive").arg(&tree).arg(site.path(place)).args(["--progress", "never"])).expect(1);
        let hint = run.stderr.split_once("\n  hint: ").unwrap_or_else(|| panic!("no hint: {}", run.stderr)).1;
        assert!(hint.contains(&format!("{} belongs to user ", site.path("closed").display())), "{hint}");
        assert!(hint.contains("with r-xr-xr-x; this is user ") && hint.contains("who may not write to it (w)"), "{hint}");
    }
    // what a first run as another user leaves behind
    set_mode(&site.path("closed"), 0o777);
    fs::create_dir(site.path("closed/cluster=c")).expect("made");
    set_mode(&site.path("closed/cluster=c"), 0o555);
    let run = run(nobody.archiver().arg("archive").arg(&tree).arg(site.path("closed")).args(["--progress", "never"])).expect(1);
    assert!(run.stderr.contains("closed/cluster=c belongs to user ") && run.stderr.contains("write to it (w)"), "{}", run.stderr);
    set_mode(&site.path("closed/cluster=c"), 0o755);
}

// ---- values ----

#[test]
fn a_value_without_its_unit_is_refused_with_the_right_form() {
    let site = Site::new();
    for (args, says) in [
        (&["prune", "tree", "a", "--older-than", "7"][..], "write 7d for days"),
        (&["prune", "tree", "a", "--older-than", "-7d"], "write 7d"),
        (&["archive", "tree", "a", "--prune-after", "7"], "write 7d for days"),
        (&["archive", "tree", "a", "--before", "-48h"], "an age (48h)"),
        (&["archive", "tree", "a", "--memory", "plenty"], "256MiB"),
        (&["archive", "tree", "s3://b", "--limit-rate", "50"], "write 50MiB/s, or 50B/s"),
    ] {
        site.refused(args, &[], &[says]);
    }
    for (text, says) in [
        (r#"{"prune-after": 7}"#, "c.json: \"prune-after\": a text is needed: with its unit, such as \"7d\""),
        (r#"{"memory": 512}"#, "c.json: \"memory\": a text is needed: with its unit, such as \"256MiB\""),
        (r#"{"older-than": "7"}"#, "c.json: \"older-than\": it has no unit: write 7d"),
    ] {
        site.write("c.json", text.as_bytes());
        site.refused(&["archive", "tree", "a", "--config", "c.json"], &[], &[says]);
    }
}

#[test]
fn a_switch_that_says_neither_yes_nor_no_is_refused_by_the_name_of_its_variable() {
    let site = Site::new();
    for word in ["maybe", "flase", "none", "2"] {
        site.refused(&["archive", "tree", "a"], &[("CC_ARCHIVER_DRY_RUN", word)], &["CC_ARCHIVER_DRY_RUN", word, "true or false"]);
    }
    for (word, on) in [("On", true), ("YES", true), ("off", false), ("No", false)] {
        let run = site.run_with(&["archive", "tree", "a", "--dry-run"], &[("CC_ARCHIVER_JSON", word)]).expect(0);
        assert_eq!(run.stdout.starts_with('{'), on, "{word}");
    }
    site.refused(&["archive", "tree", "a"], &[("CC_ARCHIVER_WORKERS", "many")], &["'many' for 'CC_ARCHIVER_WORKERS'"]);
    site.refused(&["archive", "tree", "a", "--workers", "many"], &[("CC_ARCHIVER_WORKERS", "many")], &["'many' for '--workers <N>'"]);
}

#[test]
fn a_variable_that_nobody_reads_is_named_with_the_nearest_one() {
    let site = Site::new();
    let variables = [("CC_ARCHIVER_MEMROY", "1GiB"), ("CC_ARCHIVER_PRUNEAFTER", "7d"), ("CC_ARCHIVER_TEST_S3_ENDPOINT", "x"), ("CC_ARCHIVER_EVERY", "6h")];
    let run = site.run_with(&["archive", "tree", "a", "--dry-run"], &variables).expect(0);
    let warned = run.lines_of("WARN");
    assert_eq!(warned.len(), 2, "{}", run.stderr);
    assert!(warned[0].contains("CC_ARCHIVER_MEMROY") && warned[0].contains("the nearest is CC_ARCHIVER_MEMORY "), "{}", run.stderr);
    assert!(warned[1].contains("CC_ARCHIVER_PRUNEAFTER") && warned[1].contains("the nearest is CC_ARCHIVER_PRUNE_AFTER "), "{}", run.stderr);
}

#[test]
fn a_variable_that_wins_over_the_file_is_said() {
    let site = Site::new();
    site.write("c.json", br#"{"memory": "64MiB", "min-age": "5m", "workers": 1}"#);
    let variables = [("CC_ARCHIVER_MEMORY", "65MiB"), ("CC_ARCHIVER_MIN_AGE", "5m"), ("CC_ARCHIVER_WORKERS", "2")];
    let run = site.run_with(&["archive", "tree", "a", "--config", "c.json", "--workers", "1"], &variables).expect(0);
    assert!(run.stderr.contains("INFO CC_ARCHIVER_MEMORY wins over \"memory\" in c.json"), "{}", run.stderr);
    assert_eq!(run.stderr.matches("wins over").count(), 1, "neither what is the same nor what a flag says: {}", run.stderr);
}

/// A drop-in that sets a variable would win over config.json. Only a metrics file does: two services read one config.json.
#[test]
fn drop_ins_leave_settings_to_the_configuration_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/examples");
    let files = support::files_below(&folder);
    let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let set: Vec<String> = files.values().flat_map(|bytes| text(bytes).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let set: Vec<&String> = set.iter().filter(|line| line.starts_with("Environment")).collect();
    assert!(files.len() >= 5 && matches!(&set[..], [one] if one.contains("CC_ARCHIVER_METRICS_FILE")), "{set:?}");
}

#[test]
fn an_option_of_another_command_is_answered_with_the_one_that_is_meant() {
    let site = Site::new();
    for (args, meant, other) in [
        (&["prune", "tree", "a", "--prune-after", "7d"][..], "--older-than", "--prune-conflicting"),
        (&["archive", "tree", "a", "--older-than", "7d"], "--prune-after", "--endpoint"),
    ] {
        site.refused(args, &[], &[&format!("a similar argument exists: '{meant}'")]);
        let run = site.run(args);
        assert!(!run.stderr.contains(other), "{}", run.stderr);
    }
}

#[test]
fn half_of_a_pair_of_keys_is_named_by_where_it_stands() {
    let site = Site::new();
    let place = ["verify", "s3://b/x", "--endpoint", "http://127.0.0.1:9", "--retry-for", "0s", "--config", "c.json"];
    site.write("c.json", br#"{"access-key": "someone"}"#);
    site.refused(&place, &[], &["\"access-key\" in c.json is set, and AWS_SECRET_ACCESS_KEY is not"]);
    site.write("c.json", br#"{"access-key": "someone", "secret-key": "a\n"}"#);
    site.refused(&place, &[], &["\"secret-key\" in c.json ends in a line break"]);
    site.refused(&place, &[("AWS_SECRET_ACCESS_KEY", "b\n")], &["AWS_SECRET_ACCESS_KEY ends in a line break"]);
}

// ---- what is looked at ----

#[test]
fn an_empty_and_a_half_written_snapshot_are_said_as_such() {
    let site = Site::new();
    let whole = Snapshot::minutes(T0, [1.0; 60]);
    let (bin, json) = (whole.bin(), whole.json());
    for (host, name, bytes, says) in [
        ("e1", "1.bin", &[][..], "it is empty"),
        ("e2", "1.json", &[], "it is empty"),
        ("e3", "1.bin.gz", &[], "it is empty"),
        ("h1", "1.bin", &bin[..bin.len() - 9], "it ends in the middle: "),
        ("h2", "1.json", &json[..json.len() - 9], "it ends in the middle of "),
    ] {
        let path = site.path(&format!("tree/c/{host}/{name}"));
        write(&path, bytes);
        let run = site.run(&["archive", "tree", "a", "--min-age", "0s"]).expect(3);
        assert!(run.stdout.contains(says), "{host}/{name}: {}", run.stdout);
        fs::remove_file(path).expect("removed");
    }
}

#[test]
fn a_dry_run_says_what_would_be_pruned_and_what_would_prove_it() {
    let site = Site::new();
    let dry = ["archive", "tree", "a", "--prune-after", "3d", "--dry-run"];
    let name = |hour: i64| format!("  tree/c/n1/{}.bin\n", T0 + hour * 3_600);
    let first = site.run(&dry).expect(0).stdout;
    let section = first.split_once("would prune       0 snapshots").unwrap_or_else(|| panic!("{first}")).1;
    assert!(section.contains("\nafter archiving   2 snapshots, "), "{first}");
    assert!(section.contains(&(name(0) + &name(1))) && !section.contains(&name(2)), "{first}");
    assert!(!site.path("a").exists());

    site.run(&["archive", "tree", "a"]).expect(0);
    let before = support::files_below(site.folder.path());
    let second = site.run(&[&dry[..], &["--json"]].concat()).expect(0).summary();
    let prune = &second["prune"];
    assert_eq!((&prune["pruned"], &prune["objects_looked_at"], &prune["kept"]["newest"]), (&2.into(), &1.into(), &1.into()), "{second}");
    assert!(prune["bytes_looked_at"].as_u64().is_some_and(|bytes| bytes > 100), "{second}");
    assert!(prune.get("would_archive_first").is_none());
    assert_eq!(prune["would_prune"].as_array().map(Vec::len), Some(2));
    assert!(support::files_below(site.folder.path()) == before, "a dry run changed something");

    let done = site.run(&["archive", "tree", "a", "--prune-after", "3d", "--json"]).expect(0).summary();
    assert_eq!(done["prune"]["pruned"], 2, "the run does what was said");
    assert!(site.run(&["archive", "tree", "a", "--dry-run"]).expect(0).stdout.ends_with("dry run: nothing was written\n"));
}

#[test]
fn a_dry_run_of_pruning_lists_what_would_go_below_its_own_heading() {
    let site = Site::new();
    site.run(&["archive", "tree", "a"]).expect(0);
    let text = site.run(&["prune", "tree", "a", "--older-than", "3d", "--dry-run"]).expect(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("would prune       2 snapshots"), "{text}");
    assert!(lines[1..3].iter().all(|line| line.starts_with("  tree/c/n1/")), "{text}");
    assert!(lines[3..].iter().any(|line| line.starts_with("kept ")) && lines[3..].iter().all(|line| !line.contains("tree/c")), "{text}");
}

#[test]
fn a_dry_run_leaves_out_what_the_run_leaves_out_for_before() {
    let site = Site::new();
    let late = Snapshot::minutes(T0 + 3 * 3_600, [9.0; 60]);
    site.write(&format!("tree/c/n2/{}.json", late.from), &late.json());
    // in the midst of the second snapshot, at the end of it, and in the midst of that of the other host
    for (before, files) in [(T0 + 2 * 3_600 - 60, 1), (T0 + 2 * 3_600, 2), (T0 + 4 * 3_600 - 1, 3), (T0 + 4 * 3_600, 4)] {
        let folder = format!("a{before}");
        let args = ["archive", "tree", &folder, "--json", "--before", &before.to_string()];
        let dry = site.run(&[&args[..], &["--dry-run"]].concat()).expect(0).summary();
        let (planned, recent) = (&dry["clusters"][0]["files"], &dry["clusters"][0]["too_recent"]);
        let done = site.run(&args).expect(0).summary();
        assert_eq!((planned, recent), (&done["files"], &done["too_recent"]), "{before}");
        assert_eq!(planned, files);
    }
}

#[test]
fn counts_of_hosts_agree_in_log_and_table_and_a_second_run_shows_them() {
    let site = Site::new();
    fs::create_dir(site.path("tree/c/n2")).expect("made");
    for new in [1, 0] {
        let run = site.run(&["archive", "tree", "a"]).expect(0);
        assert!(run.stderr.contains(" hosts=2 "), "{}", run.stderr);
        assert!(run.stderr.contains(&format!("snapshots of {new} of 2 hosts,")), "{}", run.stderr);
        assert!(run.stdout.contains(&format!("hosts             2, {new} with something new")), "{}", run.stdout);
    }
    let summary = site.run(&["archive", "tree", "a", "--json"]).expect(0).summary();
    assert_eq!((&summary["hosts"], &summary["hosts_archived"]), (&2.into(), &0.into()));
}

#[test]
fn a_sample_that_has_no_object_is_said() {
    let site = Site::new();
    // which object is in the sample of a day is as good as random: one in a hundred
    let said = (1..5).filter(|rows| {
        let archive = format!("a{rows}");
        site.run(&["archive", "tree", &archive, "--row-group-rows", &rows.to_string()]).expect(0);
        assert!(!site.run(&["verify", &archive]).expect(0).stdout.contains("read in full"), "it was not asked for");
        let run = site.run(&["verify", &archive, "--read-data=1"]).expect(0);
        let says = "none of 1 objects: they are few, and today's sample of 1 % has none of them; each is read once in 100 days";
        assert_eq!(run.stdout.contains(says), run.stderr.contains("INFO read in full: none of 1 objects"), "{run:?}");
        run.stdout.contains(says)
    });
    assert!(said.count() > 0);
}

#[test]
fn dates_that_are_not_there_are_said_as_such() {
    let site = Site::new();
    site.run(&["archive", "tree", "a"]).expect(0);
    for flags in [&["--date", "2025-01-01..2025-12-31"][..], &["--date", "2026-03-02", "--cluster", "c"]] {
        let run = site.run(&[&["verify", "a"], flags].concat()).expect(3);
        assert!(run.stdout.contains("no date of --date is there; of those that are, the first is 2026-03-01 and the last 2026-03-01"), "{}", run.stdout);
        assert!(run.stdout.contains("ask for dates that are there") && !run.stdout.contains("check the path"), "{}", run.stdout);
    }
}

// ---- doctor ----

fn checks(run: &Run) -> Vec<(String, String, String)> {
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    json["checks"].as_array().expect("checks").iter().map(|c| (text(c, "check"), text(c, "level"), text(c, "found") + " " + &text(c, "advice"))).collect()
}

#[test]
fn doctor_names_directories_that_cannot_be_read_and_the_missing_right() {
    let (site, nobody) = (Site::new(), Nobody::new());
    for (host, mode) in [("n2", 0o744), ("n3", 0o711)] {
        let snapshot = Snapshot::minutes(T0, [1.0; 5]);
        site.write(&format!("tree/c/{host}/{T0}.bin"), &snapshot.bin());
        set_mode(&site.path(&format!("tree/c/{host}")), if nobody.is_another() { mode } else { mode & 0o077 | (mode & 0o007) << 6 });
    }
    fs::create_dir(site.path("a")).expect("made");
    for (path, mode) in [("", 0o755), ("tree", 0o755), ("tree/c", 0o755), ("tree/c/n1", 0o755), ("a", 0o777)] {
        set_mode(&site.path(path), mode);
    }
    let run = run(nobody.archiver().arg("doctor").arg(site.path("tree")).arg(site.path("a")).args(["--json", "--progress", "never"]));
    for host in ["n2", "n3"] {
        set_mode(&site.path(&format!("tree/c/{host}")), 0o755);
    }
    let checks = checks(&run.expect(3));
    let rights = checks.iter().find(|(check, ..)| check == "rights").unwrap_or_else(|| panic!("{checks:?}"));
    assert!(rights.1 == "error" && rights.2.contains("2 directories cannot be read") && rights.2.contains("tree/c/n2 belongs to user "), "{rights:?}");
    assert!(rights.2.contains("go through it (x)") && rights.2.contains("by their group"), "{rights:?}");
    assert!(checks.iter().all(|(check, ..)| check != "oddities"), "nobody is told to take them out of the tree: {checks:?}");
}

#[test]
fn doctor_claims_no_rights_as_root_and_says_how_to_look_as_the_user_who_counts() {
    let site = Site::new();
    fs::create_dir(site.path("a")).expect("made");
    let run = site.run(&["doctor", "tree", "a", "--json", "--prune-after", "7d"]);
    let checks = checks(&run);
    let as_root = Nobody::new().is_another();
    for name in ["snapshots", "archive", "pruning"] {
        let (_, level, text) = checks.iter().find(|(check, ..)| check == name).unwrap_or_else(|| panic!("{name}: {checks:?}"));
        assert!(level == "ok" && text.contains("by root") == as_root, "{name}: {text}");
    }
    let user = checks.iter().find(|(check, ..)| check == "user");
    assert_eq!(user.is_some(), as_root, "{checks:?}");
    assert!(user.is_none_or(|(_, level, text)| level == "warning" && text.contains("rights were not tried") && text.contains("as th")), "{user:?}");
}

#[test]
fn a_tree_without_snapshots_is_no_oddity_to_take_out() {
    let site = Site::new();
    fs::create_dir_all(site.path("hosts/c/n1")).expect("made");
    let checks = checks(&site.run(&["doctor", "hosts", "a", "--json"]).expect(0));
    assert!(checks.iter().any(|(check, level, _)| check == "tree" && level == "warning") && checks.iter().all(|(check, ..)| check != "oddities"), "{checks:?}");
}

// ---- options ----

#[test]
fn an_option_that_is_called_otherwise_is_named() {
    let site = Site::new();
    for (args, says) in [
        (&["restore", "archive", "dir", "--date", "2026-03-01"][..], &["--from"][..]),
        (&["archive", "tree", "s3://b", "--access-key", "x"], &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]),
        (&["archive", "tree", "archive", "--memory", "512"], &["write 512MiB"]),
        (&["archive", "tree", "archive", "--date", "2026-03-01:2026-03-02"], &["2026-03-01..2026-03-31"]),
        (&["archive", "tree", "archive", "--cluster", "d"], &["has no cluster \"d\"", "it has c"]),
        (&["inspect", "tree/c/n1/nothing.bin"], &["there is no such file"]),
    ] {
        site.refused(args, &[], says);
    }
    let refused = site.run(&["archive", "tree", "s3://b", "--access-key", "x"]);
    assert!(!refused.stderr.contains("kms"), "{}", refused.stderr);
}
