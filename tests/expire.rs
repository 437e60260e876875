//! `expire`: dates below the floor go, all others stay as they are, and nothing of the old ones comes back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::{DAY, MIDNIGHT, Objects, Place, Row, Run, Snapshot, T0, Tree, archiver, assert_same_rows, files_below, noise, rows_of, run, s3};

mod support;

const HOUR: i64 = 3_600;

/// Four dates of two clusters, and a snapshot that crosses midnight between the second and the third.
struct Site {
    tree: Tree,
    place: Place,
    rows: Vec<Row>,
}

impl Site {
    fn new(place: Place) -> Self {
        let mut site = Self { tree: Tree::new(), place, rows: Vec::new() };
        for cluster in ["alex", "fritz"] {
            for day in 0..4 {
                site.add(cluster, &Snapshot::minutes(T0 + day * DAY, noise(day as u64, 240)));
            }
            site.add(cluster, &Snapshot::minutes(MIDNIGHT + 2 * DAY - HOUR, noise(7, 120)));
        }
        site.run("archive", &[]).expect(0);
        site
    }

    fn add(&mut self, cluster: &str, snapshot: &Snapshot) {
        self.tree.bin(cluster, "n1", snapshot);
        self.rows.extend(snapshot.rows(cluster, "n1"));
    }

    fn run(&self, command: &str, flags: &[&str]) -> Run {
        let mut archiver = archiver();
        archiver.arg(command).envs(self.place.environment());
        if ["archive", "prune"].contains(&command) {
            archiver.arg(self.tree.path());
        }
        run(archiver.arg(self.place.name()).args(["--json", "--progress", "never"]).args(flags))
    }

    /// Expires what lies before the nth date.
    fn expire(&self, nth: i64, flags: &[&str]) -> Run {
        self.run("expire", &[&["--keep", &keep(nth)], flags].concat())
    }

    fn objects(&self) -> Objects {
        self.place.objects()
    }

    /// All rows of these clusters, of each from the nth date on.
    #[track_caller]
    fn assert_kept(&self, from: &[(&str, i64)]) {
        let is_kept = |row: &&Row| from.iter().any(|(cluster, nth)| row.cluster == *cluster && row.timestamp >= MIDNIGHT + nth * DAY);
        let mut expected: Vec<Row> = self.rows.iter().filter(is_kept).cloned().collect();
        expected.sort();
        expected.dedup();
        assert_same_rows("kept", rows_of(&self.objects()), &expected);
    }
}

/// The age at which the nth date is the first that is kept.
fn keep(nth: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as i64;
    format!("{}s", now - MIDNIGHT - nth * DAY - HOUR)
}

/// The marks of the floor, by what follows their folder.
fn marks(site: &Site) -> Vec<String> {
    match &site.place {
        Place::Folder(folder) if folder.path().join("archive/_cc-archiver/floor").exists() => {
            files_below(&folder.path().join("archive/_cc-archiver/floor")).into_keys().collect()
        }
        Place::Folder(_) => Vec::new(),
        Place::Bucket(bucket) => bucket.objects("archive/_cc-archiver/floor").into_keys().collect(),
    }
}

#[track_caller]
fn holds(report: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&report[name], value, "{name} of {report}");
    }
}

fn old_dates_go_and_nothing_of_them_comes_back(place: Place) {
    let site = Site::new(place);
    site.run("table", &["--init"]).expect(0);
    let before = (site.place.all(), marks(&site));
    let tree = site.tree.path().to_str().expect("UTF-8").to_owned();
    let planned = site.expire(2, &["--dry-run", "--checkpoints", &tree]).expect(0).summary();
    assert_eq!((site.place.all(), marks(&site)), before, "a dry run touches nothing");
    holds(&planned, &json!({"kept_from": "2026-03-03", "objects": 4, "rows": 1_080, "deleted": 0, "clock": []}));
    assert_eq!(planned["dates"][1]["partition"], "cluster=alex/date=2026-03-02");
    assert_eq!([&planned["dates"][1]["rows"], &planned["on_disk"]["snapshots"]], [300, 4]);

    let done = site.expire(2, &[]).expect(0).summary();
    holds(&done, &json!({"kept_from": "2026-03-03", "objects": 4, "bytes": planned["bytes"].clone(), "rows": 1_080, "deleted": 4}));
    site.assert_kept(&[("alex", 2), ("fritz", 2)]);
    assert_eq!(marks(&site), ["2026-03-03"]);
    if let Place::Folder(folder) = &site.place {
        assert!(!folder.path().join("archive/cluster=alex/date=2026-03-02").exists(), "no empty folder stays");
    }
    // the table goes with them, and all fits together
    let commits: Vec<String> = site.place.all().into_keys().filter(|key| key.starts_with("_delta_log/") && key.ends_with(".json")).collect();
    assert_eq!(commits.len(), 2, "{commits:?}");
    site.run("verify", &["--read-data", "--decode"]).expect(0);
    assert_eq!(site.run("table", &[]).expect(0).summary()["committed"], false);
    let listed = site.run("ls", &[]).expect(0).summary();
    assert_eq!(listed["expired"], json!(["kept from 2026-03-03 on: what is older was expired"]));

    // nothing is archived again, and what crosses the floor is known
    let again = site.run("archive", &[]).expect(0).summary();
    holds(&again, &json!({"files": 0, "objects_written": 0, "already_archived": 6, "below_the_floor": 4, "set_aside": []}));
    let local = site.run("verify", &["--checkpoints", &tree]).expect(0).summary();
    assert_eq!(local["checkpoints"], json!({"archived": 6, "below_the_floor": 4, "not_archived": []}));
    let covered = site.run("coverage", &["--checkpoints", &tree]).expect(0).summary();
    assert_eq!(covered["clusters"][0]["summary"]["checkpoints"]["not_archived"], 0, "{covered}");
    // it is proven by what is kept of it; what nothing proves stays
    let pruned = site.run("prune", &["--older-than", "1s", "--include-newest"]).expect(0).summary();
    assert_eq!([&pruned["pruned"], &pruned["kept"]["expired"]], [6, 4], "{pruned}");

    // a second one has nothing to do
    holds(&site.expire(2, &[]).expect(0).summary(), &json!({"objects": 0, "deleted": 0}));
    assert_eq!(site.expire(3, &[]).expect(0).summary()["deleted"], 2);
    assert_eq!(marks(&site), ["2026-03-04"], "one mark is enough");
}

#[test]
fn old_dates_go_from_a_directory() {
    old_dates_go_and_nothing_of_them_comes_back(Place::folder());
}

#[test]
fn old_dates_go_from_s3() {
    old_dates_go_and_nothing_of_them_comes_back(Place::Bucket(s3()));
}

#[test]
fn a_late_snapshot_of_an_old_date_is_not_archived_and_one_that_crosses_the_floor_is_from_there_on() {
    let mut site = Site::new(Place::folder());
    site.expire(2, &[]).expect(0);
    let late = Snapshot::minutes(T0 + 6 * HOUR, noise(20, 60));
    site.tree.bin("alex", "n2", &late);
    let crossing = Snapshot::minutes(MIDNIGHT + 2 * DAY - 2 * HOUR, noise(21, 240));
    site.tree.bin("alex", "n3", &crossing);
    site.rows.extend(crossing.rows("alex", "n3"));
    let done = site.run("archive", &[]).expect(0).summary();
    holds(&done, &json!({"files": 1, "below_the_floor": 5, "set_aside": []}));
    site.assert_kept(&[("alex", 2), ("fritz", 2)]);
    let again = site.run("archive", &[]).expect(0).summary();
    holds(&again, &json!({"files": 0, "objects_written": 0, "already_archived": 7}));
    site.run("verify", &["--read-data", "--decode"]).expect(0);
}

#[test]
fn a_header_that_is_not_believed_does_not_expire_rows_that_are_kept() {
    let mut site = Site::new(Place::folder());
    site.expire(2, &[]).expect(0);
    // nine days: more than a header is believed to say
    let long = Snapshot::minutes(MIDNIGHT + DAY, noise(30, 9 * 1_440));
    site.tree.bin("alex", "n2", &long);
    site.rows.extend(long.rows("alex", "n2"));
    assert_eq!(
        site.run("verify", &["--checkpoints", site.tree.path().to_str().expect("UTF-8")]).expect(0).summary()["checkpoints"]["not_archived"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    holds(&site.run("archive", &[]).expect(0).summary(), &json!({"files": 1, "below_the_floor": 4}));
    site.assert_kept(&[("alex", 2), ("fritz", 2)]);
    holds(&site.run("archive", &[]).expect(0).summary(), &json!({"files": 0, "already_archived": 7}));
}

#[test]
fn what_crosses_the_floor_and_is_not_archived_is_not_called_expired() {
    let site = Site::new(Place::folder());
    site.expire(2, &[]).expect(0);
    site.tree.bin("alex", "n3", &Snapshot::minutes(MIDNIGHT + 2 * DAY - 2 * HOUR, noise(21, 240)));
    site.tree.bin("alex", "n3", &Snapshot::minutes(MIDNIGHT + 3 * DAY, noise(22, 60)));
    let pruned = site.run("prune", &["--older-than", "1s", "--include-newest"]).expect(3).summary();
    assert_eq!([&pruned["kept"]["expired"], &pruned["kept"]["not_archived"]], [4, 2], "{pruned}");
    let tree = site.tree.path().to_str().expect("UTF-8").to_owned();
    let local = site.run("verify", &["--checkpoints", &tree]).expect(0).summary();
    assert_eq!(local["checkpoints"]["not_archived"].as_array().map(Vec::len), Some(2), "{local}");
    assert_eq!(site.expire(2, &["--dry-run", "--checkpoints", &tree]).expect(0).summary()["on_disk"]["snapshots"], 4);
}

#[test]
fn a_cluster_can_have_a_floor_of_its_own() {
    let site = Site::new(Place::folder());
    let done = site.expire(3, &["--cluster", "alex"]).expect(0).summary();
    holds(&done, &json!({"clusters": ["alex"], "objects": 3, "deleted": 3}));
    site.assert_kept(&[("alex", 3), ("fritz", 0)]);
    assert_eq!(marks(&site), ["cluster=alex/2026-03-04"]);
    assert_eq!(site.run("archive", &[]).expect(0).summary()["below_the_floor"], 4);
    // a lower one of all raises nothing for it
    site.expire(1, &[]).expect(0);
    site.assert_kept(&[("alex", 3), ("fritz", 1)]);
    assert_eq!(marks(&site).len(), 2);
    // a higher one of all makes its own superfluous, and a cluster that is gone can be named
    site.expire(4, &[]).expect(0);
    assert_eq!((site.objects().len(), marks(&site)), (0, vec!["2026-03-05".to_owned()]));
    site.expire(4, &["--cluster", "alex"]).expect(0);
}

#[test]
fn what_lies_below_the_floor_does_not_count_and_goes_with_the_next_expiry() {
    let site = Site::new(Place::folder());
    let (key, bytes) = site.objects().into_iter().next().expect("objects");
    site.expire(2, &[]).expect(0);
    // as a request that was under way, or a copy that somebody puts back
    site.place.put(&key, &bytes);
    let verified = site.run("verify", &["--decode"]).expect(0).summary();
    assert!(verified["warnings"][0].as_str().is_some_and(|said| said.contains("lie below the floor")), "{verified}");
    assert_eq!(verified["objects"], 4);
    holds(&site.run("archive", &[]).expect(0).summary(), &json!({"files": 0, "already_archived": 6, "below_the_floor": 4}));
    let listed = site.run("ls", &[]).expect(0).summary();
    assert_eq!((&listed["total"]["objects"], listed["expired"].as_array().map(Vec::len)), (&json!(4), Some(2)));
    holds(&site.expire(2, &["--cluster", "fritz"]).expect(0).summary(), &json!({"objects": 0}));
    holds(&site.expire(2, &[]).expect(0).summary(), &json!({"objects": 1, "deleted": 1}));
    site.assert_kept(&[("alex", 2), ("fritz", 2)]);
}

#[test]
fn what_is_not_ours_stays_and_is_named() {
    let site = Site::new(Place::folder());
    let foreign = "cluster=alex/date=2026-03-01/part-00-00007.parquet";
    site.place.put(foreign, b"PAR1 of somebody else PAR1");
    site.place.put("cluster=alex/date=2026-03-01/theirs.parquet", b"PAR1 of somebody else PAR1");
    let done = site.expire(1, &[]).expect(3);
    let report = done.summary();
    // under our name it is a damaged object of ours
    assert_eq!((&report["deleted"], report["set_aside"].as_array().map(Vec::len)), (&json!(3), Some(1)), "{report}");
    assert_eq!(report["objects_without_footer"], 1);
    assert!(site.objects().contains_key("cluster=alex/date=2026-03-01/theirs.parquet") && !site.objects().contains_key(foreign));
}

#[test]
fn expire_makes_nothing_old_by_a_clock_that_jumps_ahead() {
    let site = Site::new(Place::folder());
    let Place::Folder(folder) = &site.place else { unreachable!() };
    // all was written when it happened: for this machine's clock that is long ago
    for key in site.objects().keys() {
        let file = std::fs::File::options().write(true).open(folder.path().join("archive").join(key)).expect("opened");
        file.set_modified(UNIX_EPOCH + Duration::from_secs((MIDNIGHT + 4 * DAY) as u64)).expect("set");
    }
    let done = site.run("expire", &["--keep", "30days"]).expect(0);
    holds(&done.summary(), &json!({"kept_from": "2026-02-03", "objects": 0, "deleted": 0}));
    assert!(done.stderr.contains("nothing was archived since 2026-03-05 00:00 UTC"), "{}", done.stderr);
    assert_eq!(site.objects().len(), 8);
}

#[test]
fn slips_cost_nothing() {
    let site = Site::new(Place::folder());
    for (flags, why) in [
        (&["--keep", "30m"][..], "30m are minutes"),
        (&["--keep", "99years"], "before 1970"),
        (&["--keep", "1day", "--cluster", "fitz"], "no such cluster"),
        (&["--keep", "1day", "--cluster", "alex/"], "no such cluster"),
        (&[], "--keep"),
    ] {
        assert!(site.run("expire", flags).expect(2).stderr.contains(why), "{flags:?}");
    }
    let empty = tempfile::tempdir().expect("a folder");
    run(archiver().arg("expire").arg(empty.path()).args(["--keep", "1day"])).expect(2);
    assert_eq!((site.objects().len(), marks(&site).len()), (8, 0));
}
