//! Options of `completions` and `man`, which are no settings.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Print what completes commands and options in a shell.
///
/// Put what is printed where the shell looks for it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    cc-archiver completions bash > ~/.local/share/bash-completion/completions/cc-archiver\n  \
    cc-archiver completions zsh > ~/.zfunc/_cc-archiver     (with fpath+=~/.zfunc before compinit in ~/.zshrc)\n  \
    cc-archiver completions fish > ~/.config/fish/completions/cc-archiver.fish")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Write the manual pages: cc-archiver.1, and one for each command.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// A directory that exists.
    pub folder: PathBuf,
}
