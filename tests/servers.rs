//! The servers that tests start: whoever takes one down takes down his own, also where two checkouts have the same `.venv`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A checkout with the scripts of a server, and a `.venv` that it shares with others.
fn checkout(root: &Path, name: &str, scripts: &str) -> PathBuf {
    let checkout = root.join(name);
    let folder = checkout.join(scripts);
    fs::create_dir_all(&folder).expect("a folder");
    for script in ["common.sh", "up", "down"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(scripts).join(script), folder.join(script)).expect("copied");
    }
    fs::create_dir_all(root.join("venv")).expect("a folder");
    std::os::unix::fs::symlink(root.join("venv"), checkout.join(".venv")).expect("linked");
    folder
}

fn said(command: &mut Command) -> String {
    let done = command.output().expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// Where `up` puts the data of its server.
fn data_of(scripts: &Path) -> PathBuf {
    let text = format!(". {}/common.sh; printf %s \"$data\"", scripts.display());
    said(Command::new("bash").args(["-euc", &text])).into()
}

#[test]
fn down_leaves_the_data_of_another_checkout_alone() {
    for scripts in ["localstack", "tests/minio"] {
        let root = tempfile::tempdir().expect("a folder");
        let [one, other] = ["one", "other"].map(|name| checkout(root.path(), name, scripts));
        for of in [&one, &other] {
            fs::create_dir_all(data_of(of)).expect("a folder");
            fs::write(data_of(of).join("object"), "x").expect("written");
        }
        said(&mut Command::new(one.join("down")));
        assert!(!data_of(&one).exists(), "{scripts}");
        assert!(data_of(&other).join("object").exists(), "{scripts}");
    }
}
