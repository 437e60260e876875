//! Stub.
pub mod names; pub mod data; pub mod files; pub mod error; pub mod partition; pub mod schema; pub mod ledger; pub mod scan; pub mod read; pub mod checkpoint; pub mod merge; pub mod rows;
pub mod store; pub mod encode; pub mod upload;
pub mod catalog;
