//! A snapshot in a zip archive, named as messages name it: the archive's path, and below it the member's name.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::{name_of, open};
use crate::error::{Error, Escaped, Result};
use crate::files::packed::{self, Member};
use crate::read::Opened;

/// So many members are named where one has to be chosen.
const MOST_NAMED: usize = 5;

/// An unpacked member.
pub struct Unpacked {
    /// Its bytes, in a file without a name.
    pub opened: Opened,
    /// What it is.
    pub member: Member,
    /// Where: below the archive.
    pub path: PathBuf,
}

/// Unpacks the member that `path` names into a file in `folder`; None if it is not about a zip archive. Blocks.
///
/// # Errors
/// The archive cannot be read, or it is not clear which member is meant.
pub fn unpacked(path: &Path, folder: &Path) -> Result<Option<Unpacked>> {
    let is_zip = |path: &Path| path.extension().is_some_and(|end| end == "zip") && path.is_file();
    let (zip, wanted) = match path.parent().filter(|parent| is_zip(parent)) {
        Some(parent) => (parent, Some(name_of(path))),
        None if is_zip(path) => (path, None),
        None => return Ok(None),
    };
    let (opened, _) = open(zip)?;
    let failed = |e| Error::io("cannot read the zip archive", zip)(e);
    let (mut members, wrong) = packed::members(&opened.file).map_err(failed)?;
    if let Some((name, reason)) = wrong.iter().find(|(name, _)| wanted == Some(name.as_bytes())) {
        return Err(Error::Usage(format!("cannot inspect {}: {reason}", Escaped(&zip.join(name)))));
    }
    let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
    members.retain(|member| wanted.is_none_or(|wanted| member.name.as_bytes() == wanted));
    let (Some(member), None) = (members.pop(), members.pop()) else { return Err(unclear(zip, path, &names)) };
    let path = zip.join(&member.name);
    let no_room = |e| Error::io("cannot write a temporary file in", folder)(e);
    let mut to = BufWriter::new(tempfile::tempfile_in(folder).map_err(no_room)?);
    packed::unpack(&opened.file, member.index, member.size, &mut to).map_err(Error::io("cannot unpack", &path))?;
    let file = to.into_inner().map_err(|e| no_room(e.into_error()))?;
    let opened = Opened::new(Ok(file), |_| true).map_err(|why| Error::Internal(format!("{why:?}")))?;
    Ok(Some(Unpacked { opened, member, path }))
}

fn unclear(zip: &Path, path: &Path, names: &[String]) -> Error {
    if names.is_empty() {
        return Error::Usage(format!("there is no snapshot in {}", Escaped(zip)));
    }
    let what = if zip == path { format!("{} has {} snapshots", Escaped(zip), names.len()) } else { format!("{} is not in the archive", Escaped(path)) };
    let named: Vec<String> = names.iter().take(MOST_NAMED).map(|name| Escaped(&zip.join(name)).to_string()).collect();
    let more = names.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    Error::Usage(format!("{what}\n  hint: name one of them: {}{more}", named.join(", ")))
}
