//! Where a run reads and writes: nothing of ours goes into the checkpoint tree, and the two are not mistaken for each other.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Escaped, Result};
use crate::files::shape;
use crate::settings::Location;

/// Checks the tree and the archive of a command that has both.
pub(super) fn check_places(checkpoints: &Path, archive: &Location, lock_file: Option<&Path>) -> Result<()> {
    let tree = resolved(checkpoints);
    let directory = match archive {
        Location::Directory(path) => Some(("archive", path.as_path())),
        Location::S3 { .. } => None,
    };
    for (what, path) in directory.into_iter().chain(lock_file.map(|path| ("lock file", path))) {
        check_lies_outside(&tree, checkpoints, what, path)?;
    }
    check_order(checkpoints, archive)
}

pub(super) fn check_lies_outside(tree: &Path, checkpoints: &Path, what: &str, path: &Path) -> Result<()> {
    if resolved(path).starts_with(tree) {
        return Err(Error::Usage(format!(
            "the {what} {} lies inside the checkpoint tree {}\n  hint: cc-backend refuses to start on files that it does not know; put it beside the tree",
            Escaped(path),
            Escaped(checkpoints)
        )));
    }
    Ok(())
}

/// Held logs lie beside the tree and the archive, and neither of them in the hold.
pub(super) fn check_hold(hold: &Path, checkpoints: &Path, archive: &Location) -> Result<()> {
    check_lies_outside(&resolved(checkpoints), checkpoints, "hold of logs", hold)?;
    let (real, shown) = (resolved(hold), Escaped(hold));
    let others = [Some(checkpoints), if let Location::Directory(path) = archive { Some(path.as_path()) } else { None }];
    for other in others.into_iter().flatten() {
        if resolved(other).starts_with(&real) || real.starts_with(resolved(other)) {
            let hint = "hint: give --wal-hold a directory of its own, on the file system of the tree";
            return Err(Error::Usage(format!("the hold of logs {shown} and {} lie in each other\n  {hint}", Escaped(other))));
        }
    }
    Ok(())
}

/// The tree comes first, the archive second.
fn check_order(checkpoints: &Path, archive: &Location) -> Result<()> {
    let shown = Escaped(checkpoints).to_string();
    let is_url = ["s3://", "file://"].iter().any(|scheme| shown.to_ascii_lowercase().starts_with(scheme));
    let wrong = if is_url {
        format!("CHECKPOINTS is a directory, and {shown} is a URL")
    } else if shape::is_archive(checkpoints) && !shape::is_tree(checkpoints) {
        format!("{shown} is an archive, not a checkpoint tree")
    } else {
        return check_archive(archive, &format!("the checkpoint tree comes first, then the archive: {archive} {shown}"));
    };
    let tree = match archive {
        Location::Directory(path) if shape::is_tree(path) => archive.to_string(),
        _ => "CHECKPOINTS".to_owned(),
    };
    Err(Error::Usage(format!("{wrong}\n  hint: the checkpoint tree comes first, then the archive: {tree} {shown}")))
}

/// An archive is not put over a checkpoint tree.
pub(super) fn check_archive(archive: &Location, hint: &str) -> Result<()> {
    match archive {
        // an archive is told by its top folder, and not gone through
        Location::Directory(path) if !shape::is_archive(path) && shape::is_tree(path) => {
            Err(Error::Usage(format!("{archive} is a checkpoint tree, not an archive\n  hint: {hint}")))
        }
        _ => Ok(()),
    }
}

/// One file is named, or one key.
pub(super) fn check_file(file: &Location) -> Result<()> {
    let (what, hint) = match file {
        Location::Directory(path) if shape::is_archive(path) => ("an archive", "name one of its objects; ls shows what the whole of it holds"),
        Location::Directory(path) if path.is_dir() => ("a directory", "name one file in it; for an archive as a whole use ls"),
        Location::S3 { prefix, .. } if prefix.is_empty() => {
            ("a bucket", "name one object: s3://bucket/prefix/cluster=NAME/date=YYYY-MM-DD/part-00-00000.parquet")
        }
        _ => return Ok(()),
    };
    Err(Error::Usage(format!("{file} is {what}, and inspect shows one file\n  hint: {hint}")))
}

/// The path without links and detours, also where its end does not exist yet.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut real = PathBuf::new();
    for part in absolute.components() {
        match part {
            // what exists is without links by now; what does not exist has none
            Component::ParentDir => drop(real.pop()),
            part => {
                real.push(part);
                real = real.canonicalize().unwrap_or(real);
            }
        }
    }
    real
}
