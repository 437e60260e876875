//! `completions` and `man`: the command line, written for shells and for `man`.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use super::session::Session;
use crate::cli::{CompletionsArgs, ManArgs};
use crate::config;
use crate::error::{Error, Exit, Result};

/// The name of the program.
const NAME: &str = "cc-archiver";

/// Prints completions.
pub fn completions(args: &CompletionsArgs, session: &Session) -> Exit {
    session.tell(|| {
        let mut text = Vec::new();
        clap_complete::generate(args.shell, &mut config::command(), NAME, &mut text);
        // where clap_complete takes the dash in our name for the end of a command, in the script for bash
        session.show_text(&String::from_utf8_lossy(&text).replace("cc__subcmd__archiver", "cc__archiver"));
        Ok(Exit::Complete)
    })
}

/// Writes the manual pages.
pub fn man(args: &ManArgs, session: &Session) -> Exit {
    session.tell(|| {
        let mut all = config::command().disable_help_subcommand(true);
        all.build();
        page(&all, NAME, &args.folder)?;
        for command in all.get_subcommands().filter(|command| !command.is_hide_set()) {
            page(command, &format!("{NAME}-{}", command.get_name()), &args.folder)?;
        }
        Ok(Exit::Complete)
    })
}

fn page(command: &Command, name: &str, folder: &Path) -> Result<()> {
    let path = folder.join(format!("{name}.1"));
    let source = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    let mut text = Vec::new();
    let man = Man::new(command.clone().version(env!("CARGO_PKG_VERSION"))).title(name).source(source).manual("ClusterCockpit");
    man.render(&mut text).and_then(|()| fs::write(&path, text)).map_err(Error::io("cannot write", &path))
}
