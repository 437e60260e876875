//! What one checkpoint holds, before it is written as a file.

use std::sync::Arc;

use crate::data::Span;

mod binary;
mod levels;

pub use binary::write as write_binary;
pub use levels::Level;

/// The longest name of a metric that a `.bin` holds, in bytes.
pub const LONGEST_NAME: usize = u16::MAX as usize;

/// Names of levels, from the host down.
pub type Names = Arc<[String]>;

/// A series in a file.
#[derive(Debug)]
pub struct Entry {
    /// Where it was measured.
    pub level: Names,
    /// The metric's name.
    pub metric: Arc<str>,
    /// Its values, NaN where there is no row.
    pub span: Span,
}

/// What one checkpoint holds.
#[derive(Debug)]
pub struct Sheet {
    /// Unix time in s of the first instant covered; its name.
    pub from: i64,
    /// Unix time in s past the last instant covered.
    pub to: i64,
    /// Its series, by level and metric.
    pub series: Vec<Entry>,
}
