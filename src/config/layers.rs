//! Default, cc-backend's configuration, file, environment, flags: the later wins.
//!
//! What a file says becomes the default of the option with its name, and then the command line is parsed as ever: so a value from a
//! file goes through the parser of its flag, variables and flags win over it, and a new option is a new key with no more code.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::file::File;
use super::known;
use crate::cc_backend::CcBackend;
use crate::error::{Error, Escaped, Result};

/// Ids of the arguments that this module knows.
const CHECKPOINTS: &str = "checkpoints";
const ARCHIVE: &str = "archive";
const CC_BACKEND: &str = "cc_backend_config";

/// What lies below environment and flags, for one command.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) command: String,
    pub(super) file: Option<File>,
    /// Read if it is needed, or if settings are to be shown.
    pub(super) cc_backend: Option<CcBackend>,
    /// It says where the checkpoints are, as nothing else does.
    pub(super) names_tree: bool,
    /// Values for the arguments without a name are needed.
    positionals: bool,
    /// The only argument on the command line, or the only one that is missing, is ARCHIVE.
    archive_first: bool,
}

impl Layers {
    /// What the file says, and cc-backend's configuration where it is needed.
    pub(super) fn new(cli: &Command, args: &[OsString], variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let known = glance(cli, args).filter(|(command, _)| !known::OF_THE_COMMAND_LINE.contains(&command.as_str()));
        let Some((command, matches)) = known else { return Ok(Self::default()) };
        let named = path(&matches, known::CONFIG).filter(|_| command != known::INIT);
        let file = named.map(|path| File::read(&path, cli)).transpose()?;
        let own: Vec<&Arg> = cli.find_subcommand(&command).into_iter().flat_map(Command::get_arguments).collect();
        let arg = |id: &str| own.iter().find(|arg| arg.get_id() == id);
        let in_file = |id: &str| file.as_ref().is_some_and(|file| arg(id).is_some_and(|arg| file.values.contains_key(&known::key_of(arg))));
        let in_environment = |id: &str| arg(id).and_then(|arg| arg.get_env()).is_some_and(|name| variable(&name.to_string_lossy()).is_some());

        let given = own.iter().filter(|arg| arg.is_positional() && source(&matches, arg.get_id().as_str()) == Some(ValueSource::CommandLine)).count();
        let both = [CHECKPOINTS, ARCHIVE].iter().all(|id| arg(id).is_some_and(|arg| arg.is_positional()));
        let path_in_file = || file.as_ref()?.values.get("cc-backend-config")?.first().map(PathBuf::from);
        let cc_backend = if arg(CC_BACKEND).is_some() { path(&matches, CC_BACKEND).or_else(path_in_file) } else { None };
        let elsewhere = in_environment(CHECKPOINTS) || in_file(CHECKPOINTS);
        let archive_first = both && given < 2 && (elsewhere || cc_backend.is_some()) && !in_environment(ARCHIVE) && !in_file(ARCHIVE);
        let names_tree = both && cc_backend.is_some() && !elsewhere && (given == 0 || archive_first);
        let cc_backend = cc_backend.filter(|_| names_tree || command == known::CONFIG).map(|path| CcBackend::read(&path)).transpose()?;
        if let (true, Some(CcBackend { directory: None, path, .. })) = (names_tree, &cc_backend) {
            return Err(Error::Usage(format!("{} names no checkpoint directory; name it yourself, as CHECKPOINTS", Escaped(path))));
        }
        Ok(Self { command, file, cc_backend, names_tree, positionals: !(both && given == 2), archive_first })
    }

    /// What the file says, and a variable says otherwise.
    pub(super) fn overruled(&self, cli: &Command, matches: &ArgMatches) -> Vec<String> {
        let Some(file) = &self.file else { return Vec::new() };
        let own = cli.find_subcommand(&self.command).into_iter().chain([cli]).flat_map(Command::get_arguments);
        let is_known = |arg: &&Arg| matches.try_contains_id(arg.get_id().as_str()).is_ok();
        let by_variable = own.filter(is_known).filter(|arg| source(matches, arg.get_id().as_str()) == Some(ValueSource::EnvVariable));
        let one = |arg: &Arg| {
            let key = known::key_of(arg);
            let in_file = file.values.get(&key)?;
            let variable = arg.get_env()?.to_string_lossy();
            let differs = !matches.get_raw(arg.get_id().as_str())?.eq(in_file.iter().map(OsString::from));
            differs.then(|| format!("{variable} wins over {key:?} in {}", Escaped(&file.path)))
        };
        by_variable.filter_map(one).collect()
    }

    /// The command line with these layers as its defaults.
    pub(super) fn under(&self, cli: Command) -> Command {
        if self.command.is_empty() {
            return cli;
        }
        let cli = cli.mut_args(|arg| self.with_default(arg));
        cli.mut_subcommand(&self.command, |command| command.mut_args(|arg| self.with_default(arg)))
    }

    fn with_default(&self, arg: Arg) -> Arg {
        if arg.is_positional() && !self.positionals {
            return arg;
        }
        let is_checkpoints = arg.get_id() == CHECKPOINTS && arg.is_positional();
        let arg = match (self.archive_first && arg.is_positional(), arg.get_id().as_str()) {
            (true, ARCHIVE) => arg.index(1),
            (true, CHECKPOINTS) => arg.index(2),
            _ => arg,
        };
        if let Some(values) = self.file.as_ref().and_then(|file| file.values.get(&known::key_of(&arg))) {
            return arg.required(false).default_values(values.clone());
        }
        match self.cc_backend.as_ref().and_then(|cc_backend| cc_backend.directory.clone()) {
            Some(directory) if is_checkpoints && self.names_tree => arg.required(false).default_value(directory.into_os_string()),
            _ => arg,
        }
    }
}

/// The command line as far as it can be understood, without a word on what is wrong or missing: that is said when all is known.
fn glance(cli: &Command, args: &[OsString]) -> Option<(String, ArgMatches)> {
    let lenient = cli.clone().ignore_errors(true).mut_subcommands(|command| command.mut_args(|arg| arg.required(false)));
    let mut matches = lenient.try_get_matches_from(args).ok()?;
    matches.remove_subcommand()
}

fn path(matches: &ArgMatches, id: &str) -> Option<PathBuf> {
    matches.try_get_raw(id).ok()??.next().map(PathBuf::from)
}

fn source(matches: &ArgMatches, id: &str) -> Option<ValueSource> {
    matches.value_source(id)
}
