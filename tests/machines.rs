//! Several machines that archive into one archive at the same time, each with a tree of its own: they meet at the same slots, and yet every row
//! stands there once, and each of them comes to its end.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use support::{Bucket, MIDNIGHT, Objects, Row, Run, Snapshot, Tree, archiver, assert_same_rows, files_below, noise, rows_of, run, s3};

mod support;

/// Minutes of a day.
const DAY: usize = 1_440;
/// So often all machines are started at once, each time with a day that is new.
const ROUNDS: usize = 4;
const HOSTS: usize = 6;

/// Where the archive is.
enum Place {
    Folder(tempfile::TempDir),
    Bucket(Bucket),
}

impl Place {
    fn both() -> [Self; 2] {
        [Self::Folder(tempfile::tempdir().expect("a folder")), Self::Bucket(s3())]
    }

    fn name(&self) -> String {
        match self {
            Self::Folder(folder) => folder.path().join("archive").to_str().expect("UTF-8").to_owned(),
            Self::Bucket(bucket) => bucket.url("archive"),
        }
    }

    fn objects(&self) -> Objects {
        match self {
            Self::Folder(folder) => files_below(&folder.path().join("archive")),
            Self::Bucket(bucket) => bucket.objects("archive"),
        }
    }

    fn command(&self, before: &[&std::ffi::OsStr], flags: &[&str]) -> Command {
        let mut command = archiver();
        command.args(before).arg(self.name()).args(["--json", "--progress", "never"]).args(flags);
        if let Self::Bucket(bucket) = self {
            command.envs(bucket.environment());
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// One machine: its tree, and the flags of the processes that it starts.
struct Machine {
    tree: Tree,
    processes: Vec<Vec<&'static str>>,
    hosts: std::ops::Range<usize>,
    /// Where its snapshots begin, in minutes of the day.
    begins: &'static [usize],
    /// How long each is, in minutes.
    length: usize,
}

impl Machine {
    /// With snapshots of twelve hours, and one process.
    fn new(hosts: std::ops::Range<usize>) -> Self {
        Self { tree: Tree::new(), processes: vec![vec![]], hosts, begins: &[0, 720], length: 720 }
    }

    /// Adds the snapshots that begin on a day. What a host measured at a time is the same in all snapshots and on all machines.
    fn add(&self, day: usize, rows: &mut BTreeSet<Row>) {
        for host in self.hosts.clone() {
            let values = noise(host as u64, (ROUNDS + 1) * DAY);
            for begin in self.begins.iter().map(|begin| day * DAY + begin) {
                let snapshot = Snapshot::minutes(MIDNIGHT + 60 * begin as i64, &values[begin..begin + self.length]);
                let name = format!("n{host}");
                rows.extend(snapshot.rows("c", &name));
                self.tree.bin("c", &name, &snapshot);
            }
        }
    }

    fn commands(&self, place: &Place) -> Vec<Command> {
        self.processes.iter().map(|flags| place.command(&["archive".as_ref(), self.tree.path().as_ref()], flags)).collect()
    }
}

fn number(run: &Run, name: &str) -> u64 {
    run.summary()[name].as_u64().unwrap_or_else(|| panic!("no {name}: {}", run.stdout))
}

/// Starts all machines at once, round by round, and looks at what they have made of the archive.
#[track_caller]
fn assert_each_row_once(place: &Place, machines: &[Machine]) {
    let (mut rows, mut races, mut written) = (BTreeSet::new(), 0, 0);
    for day in 0..ROUNDS {
        machines.iter().for_each(|machine| machine.add(day, &mut rows));
        let children: Vec<Child> = machines.iter().flat_map(|machine| machine.commands(place)).map(|mut command| command.spawn().expect("it starts")).collect();
        for child in children {
            let run = Run::from(child.wait_with_output().expect("its output")).expect(0);
            races += number(&run, "planned_anew");
            written += number(&run, "rows_written");
        }
    }
    assert!(races > 0, "nobody lost a race in {ROUNDS} rounds: the machines did not work at once");
    assert_eq!(written, rows.len() as u64, "the machines have written as many rows as there are");
    assert_same_rows(&place.name(), rows_of(&place.objects()), rows);
    run(&mut place.command(&["verify".as_ref()], &["--decode"])).expect(0);
    for mut command in machines.iter().flat_map(|machine| machine.commands(place)) {
        let run = run(&mut command).expect(0);
        assert_eq!(["files", "objects_written", "planned_anew"].map(|name| number(&run, name)), [0; 3], "{}", run.stdout);
    }
}

#[test]
fn two_machines_with_the_same_tree_archive_it_once() {
    for place in Place::both() {
        assert_each_row_once(&place, &[Machine::new(0..HOSTS), Machine::new(0..HOSTS)]);
    }
}

#[test]
fn machines_whose_snapshots_of_the_same_hosts_begin_at_other_times_archive_each_row_once() {
    for place in Place::both() {
        // six hours later, and across midnight; and longer ones, which overlap each other too
        let later = Machine { begins: &[360, 1_080], ..Machine::new(0..HOSTS) };
        let longer = Machine { begins: &[0, 480, 960], length: 500, ..Machine::new(0..HOSTS) };
        assert_each_row_once(&place, &[Machine::new(0..HOSTS), later, longer]);
    }
}

#[test]
fn three_machines_with_hosts_of_their_own_lose_nothing_to_each_other() {
    for place in Place::both() {
        assert_each_row_once(&place, &[Machine::new(0..3), Machine::new(3..6), Machine::new(6..8)]);
    }
}

#[test]
fn shards_on_one_machine_and_whole_runs_on_another_archive_each_row_once() {
    for place in Place::both() {
        let shards = ["0/3", "1/3", "2/3"].map(|shard| vec!["--shard", shard]).to_vec();
        let sharded = Machine { processes: shards, ..Machine::new(0..HOSTS) };
        assert_each_row_once(&place, &[sharded, Machine::new(0..HOSTS)]);
    }
}
