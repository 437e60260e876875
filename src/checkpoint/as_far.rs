//! A snapshot as far as it can be decoded: for people who look into a damaged one. Nothing of it is archived.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use super::{CHUNK, EMPTY, Extent, Flaw, Form, Raw, Reading, Refusal, Room, begin, claim, compressed, finish, go_through, list_again};
use crate::data::{Index, SeriesKey, Snapshot};
use crate::files::Compression;
use crate::names::Digest;
use crate::spool::Tools;

/// What of a snapshot could be decoded.
#[derive(Debug)]
pub struct Partial {
    /// From when to when it says that it goes; None if that could not be read.
    pub extent: Option<Extent>,
    /// Of its bytes; None if they were not all read.
    pub digest: Option<Digest>,
    /// The series before the flaw, or all.
    pub snapshot: Snapshot,
    /// Where and why it ends.
    pub flaw: Option<Flaw>,
}

/// Decodes a snapshot as [`super::decode`] does. If it is damaged, the series before the damage stand.
///
/// # Errors
/// There is no place for values.
pub fn decode_as_far(file: Arc<File>, form: Form, room: Room, tools: &Tools) -> io::Result<Partial> {
    let raw = Raw::File(Arc::clone(&file));
    let mut found = begin(&raw, form, room, tools);
    let done = if form.size == 0 { Err(Flaw::at(0, EMPTY).into()) } else { go_through(&raw, form, &mut found) };
    let (extent, digest, mut flaw) = match done {
        Ok((extent, digest)) => (Some(extent), Some(digest), None),
        Err(refusal) => (claim(&file, form).ok(), None, Some(flaw_of(refusal)?)),
    };
    let reindex = move |from: SeriesKey| {
        let (list, done) = list_again(&raw, form, room.index, from);
        done.map(drop).or_else(|refusal| flaw_of(refusal).map(drop))?;
        list.index.finish().map_err(io::Error::other)
    };
    let snapshot = match finish(found, extent.unwrap_or_default(), reindex) {
        Ok(snapshot) => snapshot,
        Err(refusal) => {
            flaw = Some(flaw_of(refusal)?);
            let nothing = begin(&Raw::Memory(Default::default()), form, room, tools);
            finish(nothing, extent.unwrap_or_default(), |_| Ok(Index::default())).map_err(|refusal| io::Error::other(refusal.to_string()))?
        }
    };
    if let Some(flaw) = flaw.as_mut().filter(|flaw| flaw.offset.is_none() && form.format.compression != Compression::None) {
        flaw.offset = Some(comes_out(&file, form));
    }
    Ok(Partial { extent, digest, snapshot, flaw })
}

fn flaw_of(refusal: Refusal) -> io::Result<Flaw> {
    match refusal {
        Refusal::Flaw(flaw) => Ok(flaw),
        Refusal::Values(e) => Err(e),
    }
}

/// How many bytes can be decompressed.
fn comes_out(file: &File, form: Form) -> u64 {
    let raw = BufReader::with_capacity(CHUNK, Reading { file, at: 0 });
    let mut from = compressed::reader(raw, form.format.compression, crate::files::most_decompressed(form.size));
    let (mut piece, mut count) = (vec![0; CHUNK], 0);
    while let Ok(read @ 1..) = from.read(&mut piece) {
        count += read as u64;
    }
    count
}
