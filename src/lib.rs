//! cc-archiver takes an HPC site's monitoring checkpoints off local disk and into Parquet that people can query.
//!
//! The way of the data is the order of the modules:
//!
//! ```text
//! scan → hold → catalog → plan → read → checkpoint (decode) → merge → rescue → rows → encode (row groups) → upload (object)
//! → prove (objects, sources) ⇢ prune ⇢ verify ⇢ compact ⇢ table ⇢ restore ⇢ expire
//! ```
//!
//! A stage never imports another stage; [`pipeline`] wires them. What they hand to each other is in [`data`], [`files`]
//! and [`ledger`]; the words of the domain, as types, in [`names`] and [`partition`]; what a run is told in [`settings`].
//!
//! A module imports only from modules that stand before it in this list.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

// words and formats
pub mod error;
pub mod etag;
pub mod clock;
pub mod random;
pub mod buffers;
pub mod names;
pub mod data;
pub mod partition;
pub mod schema;
pub mod spool;
pub mod unpacker;
pub mod info;
pub mod floor;
pub mod files;
pub mod sheet;
pub mod ledger;
pub mod cc_backend;
pub mod coverage_page;
pub mod settings;

// the surroundings
pub mod fail_point;
pub mod signals;
pub mod workers;
pub mod telemetry;
pub mod store;
pub mod object;

// the stages, in the order of the data
pub mod scan;
pub mod hold;
pub mod catalog;
pub mod plan;
pub mod read;
pub mod checkpoint;
pub mod merge;
pub mod rescue;
pub mod rows;
pub mod encode;
pub mod upload;
pub mod prove;
pub mod prune;
pub mod verify;
pub mod compact;
pub mod table;
pub mod restore;
pub mod expire;

// the wiring
pub mod inspect;
pub mod listing;
pub mod coverage;
pub mod doctor;
pub mod pipeline;

// the command line
pub mod cli;
pub mod config;
pub mod setup;
pub mod commands;
