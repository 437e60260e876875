//! The program: parse, run, exit code. What it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match cc_archiver::config::load() {
        Ok(loaded) => ExitCode::from(cc_archiver::commands::run(loaded) as u8),
        Err(e) => {
            // a reader that closed the pipe has seen enough
            let _ = e.print();
            ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2))
        }
    }
}
