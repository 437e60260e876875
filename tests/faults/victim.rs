//! A tree, a directory to archive it to, and the program as a process that comes to harm.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::support::{
    DAY, Level, MIDNIGHT, Objects, Row, Run, Snapshot, T0, Tree, archiver, assert_same_host_metrics, assert_same_rows, files_below, noise, rows_of,
};

/// Longer than any run of these tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A site whose runs are disturbed.
pub struct Site {
    pub tree: Tree,
    pub folder: tempfile::TempDir,
    expected: Expected,
}

enum Expected {
    Rows(Vec<Row>),
    /// Millions of rows, in one object.
    Host(Snapshot),
}

impl Site {
    /// Three hosts, three dates, an object of its own for each host and date.
    pub fn small() -> Self {
        let tree = Tree::new();
        let mut expected = Vec::new();
        for (h, host) in ["a", "b", "c"].into_iter().enumerate() {
            for day in 0..2 {
                // each crosses a midnight
                let from = MIDNIGHT + day * DAY + 14 * 3_600;
                let series = |metric: u64| noise(h as u64 + day as u64 + 9 * metric, 700);
                let root = Level::default().metric("flops", 60, from, series(0)).metric("mem_bw", 60, from, series(1));
                let snapshot = Snapshot { from, to: from + 12 * 3_600, root };
                expected.extend(snapshot.rows("c", host));
                tree.bin("c", host, &snapshot);
            }
        }
        expected.sort();
        Self { tree, folder: tempfile::tempdir().expect("a temporary folder"), expected: Expected::Rows(expected) }
    }

    /// One object of two parts.
    pub fn large() -> Self {
        let mut snapshot = Snapshot { from: T0, to: T0 + 36_000, root: Level::default() };
        for (m, values) in noise(1, 2_400_000).chunks(36_000).enumerate() {
            snapshot.root = snapshot.root.metric(&format!("m{m:03}"), 1, T0, values);
        }
        let tree = Tree::new();
        tree.bin("c", "n1", &snapshot);
        Self { tree, folder: tempfile::tempdir().expect("a temporary folder"), expected: Expected::Host(snapshot) }
    }

    pub fn target(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    /// The program, ready to archive the tree.
    pub fn command(&self) -> Command {
        let mut command = archiver();
        command.arg("archive").arg(self.tree.path()).arg(self.target());
        command.args(["--json", "--progress", "never", "--object-size", "1", "--compression", "none"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What can be seen of the archive is whole, and each row in it is one of the tree's, and stands there once.
    pub fn assert_whole(&self) {
        if !self.target().exists() {
            return;
        }
        let visible = self.visible();
        match &self.expected {
            Expected::Rows(expected) => {
                let mut found = rows_of(&visible);
                let rows = found.len();
                found.dedup();
                assert_eq!(found.len(), rows, "rows stand there twice");
                let invented: Vec<_> = found.iter().filter(|row| expected.binary_search(row).is_err()).take(3).collect();
                assert!(invented.is_empty(), "nobody wrote {invented:?}");
            }
            Expected::Host(snapshot) => {
                assert!(visible.len() <= 1, "{:?}", visible.keys());
                visible.iter().for_each(|(key, bytes)| assert_same_host_metrics(key, bytes, snapshot));
            }
        }
    }

    /// Objects that readers see.
    fn visible(&self) -> Objects {
        let mut objects = files_below(&self.target());
        objects.retain(|key, _| !key.starts_with("_tmp/"));
        objects
    }

    /// An undisturbed run archives all that is left; then every row stands there once, and nothing lies about.
    pub fn assert_completes(&self) {
        self.assert_whole();
        Run::from(self.command().output().expect("it starts")).expect(0);
        let objects = files_below(&self.target());
        assert!(objects.keys().all(|key| key.ends_with(".parquet") && !key.starts_with("_tmp/")), "{:?}", objects.keys());
        match &self.expected {
            Expected::Rows(rows) => assert_same_rows("the archive", rows_of(&objects), rows),
            Expected::Host(_) => {
                assert_eq!(objects.len(), 1);
                self.assert_whole();
            }
        }
    }
}

/// Waits for a process, and kills one that does not end.
pub fn wait(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("its state") {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("it can be ended");
            panic!("it did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal by its name.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success(), "kill -{name}");
}

/// True if it was killed, not ended by itself.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}
