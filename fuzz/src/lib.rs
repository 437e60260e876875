//! Fuzz targets: what reads bytes that others may have made, and what must hold for any bytes.
//!
//! A target is a function that panics if something does not hold. The same functions are run by libFuzzer (`fuzz_targets/`) and, on what was
//! once found, by the tests of the program (`tests/fuzz_findings.rs`).

pub mod memory;
mod start;
pub mod targets;

pub use start::one;
