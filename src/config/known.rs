//! All settings that there are, as the command line defines them: the file, the schema and the documentation follow it.

use std::any::TypeId;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

use bytesize::ByteSize;
use clap::{Arg, ArgAction, Args, Command, CommandFactory};

use crate::cli::{Cli, Rate, S3Args};

/// The command that shows settings: it takes all options of the others.
pub(super) const CONFIG: &str = "config";

/// The command that writes the file: what it takes is no setting of its own.
pub(super) const INIT: &str = "init";

/// Keys of the file that are no options, the variables that they stand for, and what they are.
pub const SECRETS: [(&str, &str, &str); 2] = [
    ("access-key", "AWS_ACCESS_KEY_ID", "Key of the S3 account; the variable wins"),
    ("secret-key", "AWS_SECRET_ACCESS_KEY", "Secret of the S3 account; the variable wins. A file with it should be readable by its user only"),
];

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Switch,
    /// How often it was said.
    Count,
    /// A whole number.
    Number,
    /// One text.
    Text,
    /// Some texts.
    List,
}

/// A setting: an option of the command line, or one of its arguments.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its key in the file, which is the option without its dashes.
    pub key: String,
    /// The variable.
    pub variable: String,
    /// True for CHECKPOINTS and ARCHIVE.
    pub positional: bool,
    /// What it holds.
    pub kind: Kind,
    /// The words that it may be; all if empty.
    pub choices: Vec<String>,
    /// The values that it has if nothing sets it.
    pub default: Vec<String>,
    /// What happens without a value, where that is no value.
    pub otherwise: Option<String>,
    /// What it is for.
    pub help: String,
    /// The commands that have it; none: all.
    pub commands: Vec<String>,
    /// How a value with a unit is written.
    pub(super) example: Option<&'static str>,
    pub(super) id: String,
}

impl Setting {
    pub(super) fn new(arg: &Arg) -> Self {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let (help, otherwise) = match help.split_once(" [default: ") {
            Some((help, rest)) => (help.to_owned(), Some(rest.trim_end_matches(']').to_owned())),
            None => (help, None),
        };
        Self {
            key: key_of(arg),
            variable: arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            positional: arg.is_positional(),
            kind: kind_of(arg),
            choices: if kind_of(arg) == Kind::Switch { Vec::new() } else { arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect() },
            default: arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect(),
            otherwise,
            help,
            commands: Vec::new(),
            example: example_of(arg),
            id: arg.get_id().to_string(),
        }
    }

    /// Takes in the same setting of another command, which may say something else about it.
    fn join(&mut self, command: &str, other: Self) {
        if !self.help.starts_with(&other.help) {
            self.help = format!("{}; {command}: {}", self.help, other.help);
        }
        self.positional |= other.positional;
        self.commands.push(command.to_owned());
    }

    /// False for what says where the file is.
    pub fn is_in_file(&self) -> bool {
        self.id != CONFIG
    }

    /// As it is written on the command line.
    pub fn on_command_line(&self) -> String {
        if self.positional { self.key.to_uppercase() } else { format!("--{}", self.key) }
    }
}

/// The whole command line: that of [`Cli`], and for `config` the options of all other commands.
pub fn command() -> Command {
    let cli = Cli::command();
    let mut all: Vec<Arg> = Vec::new();
    for arg in commands(&cli).flat_map(Command::get_arguments) {
        if !all.iter().any(|known| known.get_id() == arg.get_id()) {
            let place = 1 + all.iter().filter(|known| known.is_positional()).count();
            // another name of an option can be the name of an option of another command
            let arg = arg.clone().required(false).hide(!arg.is_positional()).alias(None);
            // the parser takes arguments of one kind, as many as there are, at the end only
            let arg = if arg.is_positional() && kind_of(&arg) == Kind::List { arg.long("files").hide(true) } else { arg };
            // the first two can change places
            all.push(if arg.is_positional() && place > 2 { arg.index(place) } else { arg });
        }
    }
    cli.mut_subcommand(CONFIG, |config| config.args(all))
}

/// Those that write of the command line, and have no settings.
pub(super) const OF_THE_COMMAND_LINE: [&str; 3] = ["completions", "man", "help"];

/// The options of an archive in S3.
pub(super) fn options_for_s3() -> Vec<Arg> {
    S3Args::augment_args(Command::new("s3")).get_arguments().cloned().collect()
}

/// The commands that do something.
pub(super) fn commands(cli: &Command) -> impl Iterator<Item = &Command> {
    let others = [CONFIG, INIT];
    cli.get_subcommands().filter(move |command| !others.iter().chain(&OF_THE_COMMAND_LINE).any(|other| command.get_name() == *other))
}

/// All settings, in the order of the help: those of all commands first.
pub fn settings() -> Vec<Setting> {
    let cli = Cli::command();
    let mut found: Vec<Setting> = cli.get_arguments().map(Setting::new).collect();
    for command in commands(&cli) {
        for setting in command.get_arguments().map(Setting::new) {
            match found.iter_mut().find(|known| known.id == setting.id) {
                Some(known) => known.join(command.get_name(), setting),
                None => found.push(Setting { commands: vec![command.get_name().to_owned()], ..setting }),
            }
        }
    }
    found
}

/// The key of an option in the file.
pub(super) fn key_of(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().as_str().replace('_', "-"), str::to_owned)
}

pub(super) fn kind_of(arg: &Arg) -> Kind {
    match arg.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse => Kind::Switch,
        ArgAction::Count => Kind::Count,
        ArgAction::Append => Kind::List,
        _ if is_number(arg) => Kind::Number,
        _ => Kind::Text,
    }
}

fn example_of(arg: &Arg) -> Option<&'static str> {
    let of = arg.get_value_parser().type_id();
    let units = [(TypeId::of::<humantime::Duration>(), "7d"), (TypeId::of::<ByteSize>(), "256MiB"), (TypeId::of::<Rate>(), "50MiB/s")];
    units.into_iter().find_map(|(unit, example)| (of == unit).then_some(example))
}

fn is_number(arg: &Arg) -> bool {
    let of = arg.get_value_parser().type_id();
    let plain = [TypeId::of::<u8>(), TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>(), TypeId::of::<i64>()];
    let not_zero = [TypeId::of::<NonZeroU32>(), TypeId::of::<NonZeroU64>(), TypeId::of::<NonZeroUsize>()];
    plain.into_iter().chain(not_zero).any(|number| of == number)
}
