//! Stage 13: archived rows become checkpoints again, as cc-backend's metric store loads them.
//!
//! The rows of one host and date are collected as [`Sheet`]s, one for each file, with their values in one place. A sheet holds each series once,
//! as values on one grid of time: that is all that the format can say. Rows of a series on several grids go to several files of that window.

use std::io::{self, Write};

use crate::data::Place;
use crate::files::Kind;
use crate::sheet::{self, Sheet};

mod collect;
mod json;
mod report;
mod target;

pub use collect::{Collected, Collector, Lost};
pub use report::{Damaged, Plan, Report, bytes_of_row};
pub use target::{Present, Put, Staged, Target, free_space};

/// Writes one checkpoint.
///
/// # Errors
/// Its values cannot be read, or `out` takes no more.
pub fn write(kind: Kind, sheet: &Sheet, place: &Place, out: &mut dyn Write) -> io::Result<()> {
    match kind {
        Kind::Binary => sheet::write_binary(sheet, place, out),
        Kind::Json => json::write(sheet, place, out),
    }
}

/// How files of a kind end.
pub fn extension(kind: Kind) -> &'static str {
    match kind {
        Kind::Binary => "bin",
        Kind::Json => "json",
    }
}
