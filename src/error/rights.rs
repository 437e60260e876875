//! Why a place cannot be read or written: whose it is, which rights it gives, and who we are.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::Escaped;

/// What to do about an error of the file system at a place; None if it is of another kind than rights and space.
pub fn hint(path: &Path, kind: ErrorKind) -> Option<String> {
    match kind {
        ErrorKind::PermissionDenied => Some(missing(path)),
        ErrorKind::ReadOnlyFilesystem => Some("the file system is read-only here; in a systemd unit, ReadWritePaths= makes a directory writable".into()),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("the target is full; free some space and run again".into()),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            let file = path.ancestors().find(|above| above.exists() && !above.is_dir())?;
            Some(format!("{} is no directory; name another place", Escaped(file)))
        }
        _ => None,
    }
}

/// Whose a place is, and which rights to it this user lacks. If it is not there, or cannot be seen, that of the place above it.
pub fn missing(path: &Path) -> String {
    let place = visible(path);
    let is_file = place.is_file();
    let rights =
        [(Access::READ_OK, if is_file { "read it (r)" } else { "list it (r)" }), (Access::WRITE_OK, "write to it (w)"), (Access::EXEC_OK, "go through it (x)")];
    let lacking = rights.iter().filter(|(right, _)| !(is_file && *right == Access::EXEC_OK) && rustix::fs::access(&place, *right).is_err());
    let lacking: Vec<&str> = lacking.map(|(_, what)| *what).collect();
    let owner = std::fs::metadata(&place).map(|status| {
        let mode = status.permissions().mode();
        let rights: String = (0..9).map(|bit| if mode & (0o400 >> bit) == 0 { '-' } else { ['r', 'w', 'x'][bit % 3] }).collect();
        format!("belongs to {} and {}, with {rights}", user(status.uid()), group(status.gid()))
    });
    let owner = owner.unwrap_or_else(|e| format!("cannot be looked at: {e}"));
    let what = if lacking.is_empty() { "was refused it all the same".to_owned() } else { format!("may not {}", lacking.join(", ")) };
    format!("{} {owner}; this is {}, who {what}", Escaped(&place), us())
}

/// True if this user may list a directory, and open what is in it.
pub fn may_read(folder: &Path) -> bool {
    rustix::fs::access(folder, Access::READ_OK | Access::EXEC_OK).is_ok()
}

/// Who runs this program.
pub fn us() -> String {
    format!("{} ({})", user(rustix::process::geteuid().as_raw()), group(rustix::process::getegid().as_raw()))
}

/// The last place on the way to `path` that is there and can be seen.
fn visible(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn user(id: u32) -> String {
    named("/etc/passwd", id).map_or_else(|| format!("user {id}"), |name| format!("user {name}"))
}

fn group(id: u32) -> String {
    named("/etc/group", id).map_or_else(|| format!("group {id}"), |name| format!("group {name}"))
}

/// The name of an id, where the system has a file of them.
fn named(file: &str, id: u32) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let of = |line: &str| line.split(':').nth(2).is_some_and(|number| number.parse() == Ok(id));
    text.lines().find(|line| of(line)).and_then(|line| Some(line.split(':').next()?.escape_debug().to_string()))
}
