//! What runs a command. Each has a file of its own: it makes settings of its options, hands them to the pipeline, and prints what comes of
//! it.

use crate::cli::Command;
use crate::config::Loaded;
use crate::error::Exit;

mod archive;
mod compact;
mod config;
mod coverage;
mod doctor;
mod expire;
mod import;
mod init;
mod inspect;
mod ls;
mod manual;
mod prune;
mod restore;
mod session;
mod table;
mod verify;
mod waiting;

use session::Session;

/// Runs the command line, and says how it ended.
pub fn run(loaded: Loaded) -> Exit {
    let (session, command, effective) = Session::new(loaded);
    match command {
        Command::Init(args) => init::run(*args, &session),
        Command::Archive(args) => archive::run(*args, &session),
        Command::Import(args) => import::run(*args, &session),
        Command::Prune(args) => prune::run(*args, &session),
        Command::Verify(args) => verify::run(*args, &session),
        Command::Compact(args) => compact::run(*args, &session),
        Command::Inspect(args) => inspect::run(*args, &session),
        Command::Table(args) => table::run(*args, &session),
        Command::Ls(args) => ls::run(*args, &session),
        Command::Coverage(args) => coverage::run(*args, &session),
        Command::Restore(args) => restore::run(*args, &session),
        Command::Expire(args) => expire::run(*args, &session),
        Command::Doctor(args) => doctor::run(*args, &session),
        Command::Completions(args) => manual::completions(&args, &session),
        Command::Man(args) => manual::man(&args, &session),
        Command::Config => config::run(effective, &session),
    }
}
