//! From when to when a snapshot says that it goes, read without the rest of it where that can be.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;

use super::found::{Found, List, Values};
use super::{CHUNK, EMPTY, Extent, Flaw, Form, Reading, Refusal, binary, compressed, stream};
use crate::data::IndexBuilder;
use crate::files::{Compression, Kind};

/// Bytes of a `.json` at whose beginning or end its header is looked for.
const EDGE: usize = 256;

/// From when to when a snapshot says that it goes. Of a `.bin` the first bytes are read for that, of a `.json` both ends, or all of it if neither has both times.
///
/// # Errors
/// It is no snapshot, as far as it was read.
pub fn claim(file: &File, form: Form) -> Result<Extent, Flaw> {
    let raw = || BufReader::with_capacity(CHUNK, Reading { file, at: 0 });
    let compression = form.format.compression;
    if form.format.kind == Kind::Binary {
        return binary::header(BufReader::new(compressed::reader(raw(), compression, crate::files::most_decompressed(form.size))));
    }
    let at_end = || if compression == Compression::None { ending(file, form.size) } else { None };
    if let Some(extent) = at_end().or_else(|| beginning(compressed::reader(raw(), compression, crate::files::most_decompressed(form.size)))) {
        return Ok(extent);
    }
    check(file, form)
}

/// Goes through all of a snapshot, keeps nothing, and says from when to when it goes.
///
/// # Errors
/// [`Flaw`].
pub fn check(file: &File, form: Form) -> Result<Extent, Flaw> {
    if form.size == 0 {
        return Err(Flaw::whole(EMPTY));
    }
    let mut found = Found { values: Values::Passed(0, Vec::new()).into(), list: List { index: IndexBuilder::new(None, 0), days: None } };
    let raw = BufReader::with_capacity(CHUNK, Reading { file, at: 0 });
    stream(raw, form, &mut found).map_err(|refusal| match refusal {
        Refusal::Flaw(flaw) => flaw,
        Refusal::Values(e) => Flaw::whole(e.to_string()),
    })
}

/// The header of a `.json` as cc-backend writes it: the last two keys of the host's level.
fn ending(file: &File, size: u64) -> Option<Extent> {
    let len = EDGE.min(size as usize);
    let mut edge = [0; EDGE];
    file.read_exact_at(&mut edge[..len], size - len as u64).ok()?;
    let mut keys = edge[..len].trim_ascii_end().strip_suffix(b"}")?.rsplitn(3, |byte| *byte == b',');
    both([keys.next()?, keys.next()?])
}

/// The header as cc-metric-store wrote it: the first two keys.
fn beginning(text: impl Read) -> Option<Extent> {
    let mut edge = Vec::with_capacity(EDGE);
    text.take(EDGE as u64).read_to_end(&mut edge).ok()?;
    let mut keys = edge.trim_ascii_start().strip_prefix(b"{")?.splitn(3, |byte| *byte == b',');
    both([keys.next()?, keys.next()?])
}

/// The times of `"from":…` and `"to":…`, in either order.
fn both(keys: [&[u8]; 2]) -> Option<Extent> {
    let time = |name: &str| {
        let mut found = keys.iter().filter_map(|key| {
            let (key, time) = std::str::from_utf8(key).ok()?.split_once(':')?;
            (key.trim() == name).then(|| time.trim().parse::<i64>().ok())?
        });
        found.next()
    };
    Some((time("\"from\"")?, time("\"to\"")?))
}
