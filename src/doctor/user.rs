//! Whose rights count: those of the user that the service runs as, not those of root.

use std::path::Path;

use super::Check;
use crate::error::Escaped;

/// Where systemd looks for units; the first one counts.
const UNITS: [&str; 4] = ["etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// The unit, as docs/deploy.md installs it.
const UNIT: &str = "cc-archiver.service";

/// What of a unit decides on rights.
const KEYS: [&str; 3] = ["User", "Group", "SupplementaryGroups"];

/// As root most is allowed: says how to look again as the user who counts. `root` is where the system's files begin.
pub fn check_user(root: &Path, config: Option<&Path>) -> Option<Check> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let found = "this is root, who may do everything: rights were not tried";
    let identity = identity_of_service(root);
    let Some((_, user)) = identity.iter().find(|(key, _)| key == "User") else {
        return Some(Check::warning("user", found, "look again as the user that runs cc-archiver"));
    };
    Some(Check::warning("user", format!("{found} for {user}, whom {UNIT} names"), format!("look again as that user: {}", command(&identity, config))))
}

/// A command line that runs doctor with the rights of the service, and with a copy of its configuration, which only root can read.
fn command(identity: &[(String, String)], config: Option<&Path>) -> String {
    let set: String = identity.iter().map(|(key, value)| format!(" -p {key}={value}")).collect();
    match config.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned())) {
        Some(path) => format!(
            "systemd-run --pipe --wait --quiet{set} -p LoadCredential=config.json:{} sh -c 'exec cc-archiver doctor --config \"$CREDENTIALS_DIRECTORY/config.json\"'",
            Escaped(&path)
        ),
        None => format!("systemd-run --pipe --wait --quiet --same-dir{set} cc-archiver doctor … with the same arguments"),
    }
}

/// User, group and further groups of the service, as its unit and the drop-ins say, the later over the earlier; groups add up. Empty if there is no unit.
/// `root` is where the system's files begin.
pub fn identity_of_service(root: &Path) -> Vec<(String, String)> {
    let unit = UNITS.iter().map(|folder| root.join(folder).join(UNIT)).find_map(|path| std::fs::read_to_string(path).ok());
    let Some(unit) = unit else { return Vec::new() };
    let folder = root.join(UNITS[0]).join(format!("{UNIT}.d"));
    let mut drop_ins: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    drop_ins.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    drop_ins.sort();
    let texts = std::iter::once(unit).chain(drop_ins.iter().filter_map(|path| std::fs::read_to_string(path).ok()));
    let mut identity: Vec<(String, String)> = Vec::new();
    for (key, value) in texts.flat_map(|text| text.lines().filter_map(setting).collect::<Vec<_>>()) {
        if key != "SupplementaryGroups" || value.is_empty() {
            identity.retain(|(known, _)| *known != key);
        }
        if !value.is_empty() {
            identity.push((key, value));
        }
    }
    identity
}

fn setting(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once('=')?;
    KEYS.contains(&key.trim()).then(|| (key.trim().to_owned(), value.trim().escape_debug().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_that_of_the_unit_and_its_drop_ins() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        let shown = |config: Option<&str>| command(&identity_of_service(root.path()), config.map(Path::new));
        assert!(identity_of_service(root.path()).is_empty());
        write("usr/lib/systemd/system/cc-archiver.service", "[Service]\nUser=packaged\n");
        write("etc/systemd/system/cc-archiver.service", include_str!("../../deploy/systemd/cc-archiver.service"));
        assert!(shown(Some("/etc/cc-archiver/config.json")).starts_with(
            "systemd-run --pipe --wait --quiet -p User=cc-archiver -p Group=cc-archiver -p LoadCredential=config.json:/etc/cc-archiver/config.json sh -c "
        ));
        write("etc/systemd/system/cc-archiver.service.d/group.conf", include_str!("../../deploy/systemd/examples/group.conf"));
        write("etc/systemd/system/cc-archiver.service.d/prune.conf", include_str!("../../deploy/systemd/examples/prune.conf"));
        write("etc/systemd/system/cc-archiver.service.d/README", "User=nobody");
        let text = shown(None);
        assert!(text.contains(" -p SupplementaryGroups=clustercockpit -p User=clustercockpit -p Group=clustercockpit cc-archiver doctor"), "{text}");
    }
}
