//! The program: parse, run, exit code. What it does is in the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cc_archiver::cli::Cli::parse();
    ExitCode::from(cc_archiver::run(cli) as u8)
}
