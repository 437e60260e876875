//! What help shows: `-h` the options that most people need, `--help` all of them, and manual pages their variables and the meaning of each
//! word, too.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::{Arg, Command};

/// What headings begin with whose options `-h` leaves out.
pub const RARE: &str = "Rarely needed";
/// The same of an archive in S3.
pub const RARE_S3: &str = "Rarely needed, of S3";
/// The same of how objects are written.
pub const RARE_FORMAT: &str = "Rarely needed, of the format";

/// Columns that a line of help has at most.
pub const WIDTH: usize = 110;

/// What the options of every command have in common.
const EVERY: &str = "Each option is also a variable (CC_ARCHIVER_DRY_RUN=true) and a key of the file (\"dry-run\": true).";

/// The command line with help as people read it; `args` are those that were typed.
pub fn shaped(cli: Command, args: &[OsString]) -> Command {
    let brief = cli.mut_args(briefly).mut_subcommands(|command| command.mut_args(briefly));
    let asks_for_all = args.iter().any(|arg| arg == "--help") || args.get(1).is_some_and(|arg| arg == "help");
    if !asks_for_all {
        return brief;
    }
    let mut built = brief.clone();
    built.build();
    let all = brief.override_help(in_full(&built));
    built.get_subcommands().filter(|command| command.get_name() != "help").fold(all, |all, command| {
        let text = in_full(command);
        all.mut_subcommand(command.get_name(), |command| command.override_help(text))
    })
}

fn is_rare(arg: &Arg) -> bool {
    arg.get_help_heading().is_some_and(|heading| heading.starts_with(RARE))
}

/// Without its variable, whose name follows from that of the option.
fn briefly(arg: Arg) -> Arg {
    let is_rare = is_rare(&arg);
    arg.hide_env(true).hide_short_help(is_rare)
}

/// All options, a line or two for each. The parser's own long help takes five.
fn in_full(command: &Command) -> StyledStr {
    let shown = |arg: Arg| match arg.get_long_help().cloned() {
        Some(help) if arg.get_id() == "help" => arg.help(help),
        _ => arg.hide_short_help(false),
    };
    let in_order = command.get_arguments().cloned().map(shown).enumerate().map(|(place, arg)| arg.display_order(place));
    let (rare, common): (Vec<Arg>, Vec<Arg>) = in_order.partition(is_rare);
    let mut after = command.get_after_long_help().or(command.get_after_help()).map(|text| format!("{text}\n\n")).unwrap_or_default();
    after.push_str(EVERY);
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let whole = Command::new(name.clone())
        .bin_name(name)
        .version(command.get_version().unwrap_or_default().to_owned())
        .max_term_width(WIDTH)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true);
    let whole = whole.subcommand_required(command.is_subcommand_required_set()).subcommands(command.get_subcommands().cloned());
    let about = command.get_long_about().or(command.get_about()).cloned().unwrap_or_default();
    whole.about(about).after_help(after).args(common).args(rare).render_help()
}
