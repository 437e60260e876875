//! `.bin`: a header, then levels within levels, all little-endian.

use std::io::{self, Write};

use super::{Entry, Level, Sheet};
use crate::data::Place;
use crate::files::BINARY_MAGIC;

/// Writes a checkpoint. Names must be no longer than the format holds.
pub fn write(sheet: &Sheet, place: &Place, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&BINARY_MAGIC.to_le_bytes())?;
    out.write_all(&sheet.from.to_le_bytes())?;
    out.write_all(&sheet.to.to_le_bytes())?;
    level(Level::host(&sheet.series), place, out)
}

fn level(of: Level<'_>, place: &Place, out: &mut dyn Write) -> io::Result<()> {
    count(of.metrics().len(), out)?;
    for Entry { metric, span, .. } in of.metrics() {
        name(metric, out)?;
        out.write_all(&span.frequency.to_le_bytes())?;
        out.write_all(&span.start.to_le_bytes())?;
        count(span.len, out)?;
        out.write_all(&place.values(span)?)?;
    }
    count(of.children().count(), out)?;
    for (child, below) in of.children() {
        name(child, out)?;
        level(below, place, out)?;
    }
    Ok(())
}

fn count(count: usize, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&u32::try_from(count).map_err(io::Error::other)?.to_le_bytes())
}

fn name(name: &str, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&u16::try_from(name.len()).map_err(io::Error::other)?.to_le_bytes())?;
    out.write_all(name.as_bytes())
}
