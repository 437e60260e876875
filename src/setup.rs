//! Setting up: what can be found out on a machine, the configuration file, and with whose rights it is tried.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::config::{EXAMPLE, SECRETS, this_program};
use crate::doctor::identity_of_service;
use crate::error::{Error, Escaped, Result};
use crate::settings::InitSettings;

/// Where sites keep cc-backend's configuration, below the root of the file system.
const USUAL_CONFIGURATIONS: [&str; 4] =
    ["etc/cc-backend/config.json", "opt/monitoring/cc-backend/config.json", "opt/cc-backend/config.json", "var/lib/cc-backend/config.json"];

/// The process whose configuration it is.
const CC_BACKEND: &str = "cc-backend";

/// Files that may be cc-backend's configuration: first those of processes that run, then those in the usual folders. `root` is where the system's files
/// begin.
pub fn configurations(root: &Path) -> Vec<PathBuf> {
    let processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let of_processes = processes.filter_map(|entry| configuration_of(&entry.path()));
    of_processes.chain(USUAL_CONFIGURATIONS.iter().map(|path| root.join(path))).filter(|path| path.is_file()).collect()
}

/// By what it was started with: `-config PATH`, else `./config.json`.
fn configuration_of(process: &Path) -> Option<PathBuf> {
    if fs::read_to_string(process.join("comm")).ok()?.trim_end() != CC_BACKEND {
        return None;
    }
    let folder = fs::read_link(process.join("cwd")).ok()?;
    let line = fs::read(process.join("cmdline")).ok()?;
    let args: Vec<PathBuf> = line.split(|byte| *byte == 0).map(|arg| OsString::from_vec(arg.to_vec()).into()).collect();
    let is_option = |arg: &PathBuf| ["-config", "--config"].iter().any(|option| arg.as_path() == Path::new(option));
    let behind = args.iter().position(is_option).and_then(|at| args.get(at + 1).cloned());
    let joined = || args.iter().find_map(|arg| arg.to_str()?.trim_start_matches('-').strip_prefix("config=").map(PathBuf::from));
    Some(folder.join(behind.or_else(joined).unwrap_or_else(|| "config.json".into())))
}

/// The file's text.
fn text(settings: &InitSettings) -> String {
    let keys = settings.keys.iter().flat_map(|(id, secret)| [(SECRETS[0].0, json!(id)), (SECRETS[1].0, json!(secret.reveal()))]);
    let entries = settings.entries.iter().map(|(key, value)| (key.as_str(), value.clone())).chain(keys);
    let lines: Vec<String> = entries.map(|(key, value)| format!("  {}: {value}", json!(key))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// Checks that nobody's configuration is in the way. The example of a package, as it came, is nobody's.
///
/// # Errors
/// [`Error::Usage`]: there is a file.
pub fn check_is_free(file: &Path) -> Result<()> {
    if fs::symlink_metadata(file).is_err() || is_example(file) {
        return Ok(());
    }
    let shown = Escaped(file);
    Err(Error::Usage(format!(
        "{shown} is there already, and init overwrites no configuration\n  hint: edit it, move it away, or name another file with --config"
    )))
}

fn is_example(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text == EXAMPLE)
}

/// Writes the file, with its folder if that is missing. Only its user can read it: it may hold a secret.
///
/// # Errors
/// It is there already, or cannot be written.
pub fn write(settings: &InitSettings) -> Result<()> {
    let file = &settings.file;
    check_is_free(file)?;
    let failed = Error::io("cannot write", file);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || -> io::Result<()> {
        if !folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        // whole or not at all, and over nothing that came meanwhile
        let mut new =
            tempfile::Builder::new().prefix(".cc-archiver.").make_in(folder, |path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))?;
        new.write_all(text(settings).as_bytes())?;
        new.as_file().sync_all()?;
        let persist = if is_example(file) { NamedTempFile::persist } else { NamedTempFile::persist_noclobber };
        persist(new, file).map_err(|e| e.error)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(failed)
}

/// With whose rights this program is tried, and how it gets its settings.
#[derive(Debug)]
pub struct Trial {
    program: PathBuf,
    /// User, group and further groups of the service; None: those of this process.
    identity: Option<Vec<(String, String)>>,
    variables: Vec<(String, String)>,
}

impl Trial {
    /// As the service will run, if this is root and the unit is installed; else as this user. `root` is where the system's files begin.
    pub fn new(root: &Path, settings: &InitSettings) -> Result<Self> {
        let program = this_program()?;
        let identity = identity_of_service(root);
        let is_service = rustix::process::geteuid().is_root() && identity.iter().any(|(key, user)| key == "User" && is_known(user));
        let variable = |(key, value): &(String, Value)| (format!("CC_ARCHIVER_{}", key.to_uppercase().replace('-', "_")), as_variable(value));
        let keys = settings.keys.iter().flat_map(|(id, secret)| [(SECRETS[0].1.to_owned(), id.clone()), (SECRETS[1].1.to_owned(), secret.reveal().to_owned())]);
        Ok(Self { program, identity: is_service.then_some(identity), variables: settings.entries.iter().map(variable).chain(keys).collect() })
    }

    /// Who it runs as.
    pub fn user(&self) -> Option<&str> {
        self.of("User")
    }

    fn of(&self, key: &str) -> Option<&str> {
        self.identity.iter().flatten().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Runs it to its end: what it prints, if it is to be kept, and its exit code.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&self, args: &[&str], keep: bool) -> Result<(Vec<u8>, Option<i32>)> {
        let mut command = match self.user() {
            // runs a program with the rights of a user; only root may
            Some(user) => {
                let mut command = Command::new("runuser");
                let more = self.identity.iter().flatten().filter(|(key, _)| key == "SupplementaryGroups");
                let more = more.flat_map(|(_, groups)| groups.split_whitespace()).flat_map(|group| ["-G", group]);
                command.args(["-u", user]).args(self.of("Group").into_iter().flat_map(|group| ["-g", group])).args(more);
                command.arg("--").arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(args).envs(self.variables.iter().map(|(key, value)| (key, value))).env_remove("CC_ARCHIVER_CONFIG").stdin(Stdio::null());
        command.stderr(Stdio::inherit()).stdout(if keep { Stdio::piped() } else { Stdio::inherit() });
        let output = command.spawn().and_then(|child| child.wait_with_output()).map_err(Error::io("cannot start", Path::new(command.get_program())))?;
        Ok((output.stdout, output.status.code()))
    }

    /// What is left to do, as command lines for somebody who is not root.
    pub fn next(&self, file: &Path) -> [String; 3] {
        let file = Escaped(file);
        match self.user() {
            Some(_) => [
                "sudo systemctl start cc-archiver.service".into(),
                "sudo journalctl -u cc-archiver.service".into(),
                "sudo systemctl enable --now cc-archiver.timer cc-archiver-verify.timer".into(),
            ],
            None => [
                format!("cc-archiver archive --config {file}"),
                format!("cc-archiver verify --config {file}"),
                format!("(crontab -l; echo '17 */6 * * * {} archive --quiet --config {file}') | crontab -", Escaped(&self.program)),
            ],
        }
    }
}

/// As a variable holds it.
fn as_variable(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(as_variable).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

/// True if the system has such a user.
fn is_known(user: &str) -> bool {
    Command::new("id").args(["-u", user]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::settings::Secret;

    #[test]
    fn the_configuration_is_that_of_a_process_or_in_the_usual_folders() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |path: &str| root.path().join(path);
        let put = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().expect("a folder")).expect("made");
            fs::write(at(path), text).expect("written");
        };
        assert!(configurations(root.path()).is_empty());
        put("opt/cc-backend/config.json", "{}");
        put("srv/cc/config.json", "{}");
        put("srv/cc/other.json", "{}");
        let process = |number: u32, name: &str, line: &str| {
            put(&format!("proc/{number}/comm"), &format!("{name}\n"));
            put(&format!("proc/{number}/cmdline"), line);
            symlink(at("srv/cc"), at(&format!("proc/{number}/cwd"))).expect("linked");
        };
        process(1, "init", "init\0-config\0other.json\0");
        assert_eq!(configurations(root.path()), [at("opt/cc-backend/config.json")]);
        for (number, (line, expected)) in (2..).zip([
            ("./cc-backend\0-server\0", "srv/cc/config.json"),
            ("./cc-backend\0-config\0other.json\0-server\0", "srv/cc/other.json"),
            ("./cc-backend\0--config=./other.json\0", "srv/cc/./other.json"),
        ]) {
            process(number, CC_BACKEND, line);
            assert_eq!(configurations(root.path()), [at(expected), at("opt/cc-backend/config.json")], "{line}");
            fs::remove_dir_all(at(&format!("proc/{number}"))).expect("removed");
        }
        process(9, CC_BACKEND, "cc-backend\0-config\0missing.json\0");
        assert_eq!(configurations(root.path()), [at("opt/cc-backend/config.json")]);
    }

    #[test]
    fn the_file_is_written_whole_and_over_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("a folder");
        let settings = InitSettings {
            file: root.path().join("etc/c.json"),
            entries: vec![("checkpoints".into(), json!("/a \"b\"")), ("tag".into(), json!(["x=y"]))],
            keys: Some(("id".into(), Secret::new("geheim"))),
        };
        write(&settings).expect("written");
        let text = fs::read_to_string(&settings.file).expect("read");
        assert_eq!(text, "{\n  \"checkpoints\": \"/a \\\"b\\\"\",\n  \"tag\": [\"x=y\"],\n  \"access-key\": \"id\",\n  \"secret-key\": \"geheim\"\n}\n");
        assert_eq!(fs::metadata(&settings.file).expect("there").permissions().mode() & 0o777, 0o600);
        let again = write(&settings).expect_err("it is there").to_string();
        assert!(again.contains("overwrites no configuration"), "{again}");
        fs::remove_file(&settings.file).expect("removed");
        std::os::unix::fs::symlink("/nowhere", &settings.file).expect("linked");
        assert!(matches!(write(&settings), Err(Error::Usage(_))), "not through a link that leads nowhere");
        assert_eq!(fs::read_dir(root.path().join("etc")).expect("listed").count(), 1, "nothing is left beside it");
    }
}
