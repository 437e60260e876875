//! What decoders make of the series that they come by: an index, the dates of their samples, and values in a place where they are found again.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{Flaw, Refusal};
use crate::data::{Days, IndexBuilder, Place, Span};
use crate::names::Selector;
use crate::spool::Spool;

/// What becomes of values.
pub enum Values {
    /// They stay where they are: the file is a plain `.bin`.
    InPlace(Place),
    /// They are collected, one series after the other.
    Collected(Spool),
    /// They were collected before, or nobody asks for them: so many bytes, and the last ones.
    Passed(usize, Vec<u8>),
}

impl Values {
    /// Offset of the next collected value.
    pub fn len(&self) -> usize {
        match self {
            Self::InPlace(_) => 0,
            Self::Collected(spool) => spool.len(),
            Self::Passed(before, last) => before + last.len(),
        }
    }

    /// True if they are not appended anywhere.
    pub fn stay_in_place(&self) -> bool {
        matches!(self, Self::InPlace(_))
    }

    /// Where they are appended; None if they stay where they are. [`Self::settle`] must follow.
    pub fn end(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::InPlace(_) => None,
            Self::Collected(spool) => Some(spool.end()),
            Self::Passed(_, last) => Some(last),
        }
    }

    /// Makes room for more.
    pub fn settle(&mut self) -> io::Result<()> {
        match self {
            Self::InPlace(_) => {}
            Self::Collected(spool) => spool.settle()?,
            Self::Passed(before, last) => {
                *before += last.len();
                last.clear();
            }
        }
        Ok(())
    }

    fn values(&self, span: &Span) -> io::Result<Bytes> {
        match self {
            Self::InPlace(place) => place.values(span),
            Self::Collected(spool) => spool.values(span),
            Self::Passed(..) => Ok(Bytes::new()),
        }
    }
}

/// What is known of a snapshot while it is gone through.
pub struct Found {
    /// Its values; a reader of text collects them while the parser lists series.
    pub values: RefCell<Values>,
    /// Its series.
    pub list: List,
}

/// The series that were found.
pub struct List {
    /// Where each is.
    pub index: IndexBuilder,
    /// The dates of their samples, if these are asked for.
    pub days: Option<Days>,
}

impl List {
    /// True if a series need not be added.
    pub fn passes_over(&self, metric: &str, selector: &Selector) -> bool {
        self.days.is_none() && !self.index.wants(metric, selector)
    }

    /// Adds a series, whose values are in their place.
    pub fn add(&mut self, values: &Values, selector: &Arc<Selector>, metric: &Arc<str>, span: Span) -> Result<(), Refusal> {
        if let Some(days) = &mut self.days {
            days.add_series(&span, |part| values.values(part).map_err(Refusal::Values))?;
        }
        Ok(self.index.add(selector, metric, span)?)
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Flaw(Flaw::whole(reason))
    }
}
