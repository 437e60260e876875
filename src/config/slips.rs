//! What people mistype, and what they meant: said before anything is done.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::known;

/// The `CC_ARCHIVER_*` variables by name.
pub(super) type Variables = BTreeMap<String, OsString>;

/// What all variables of this program begin with.
pub(super) const PREFIX: &str = "CC_ARCHIVER_";

/// Those of its tests, which are no settings.
const OF_TESTS: [&str; 6] = ["TEST_", "FAULT_", "FAIL_POINT", "LOCALSTACK_", "MINIO", "CHECKED"];

/// Options that are called otherwise in another command: (command, what is typed, what is meant).
const OTHERWISE: [(&str, &str, &str); 4] = [
    ("prune", "--prune-after", "--older-than"),
    ("archive", "--older-than", "--prune-after"),
    ("doctor", "--older-than", "--prune-after"),
    ("restore", "--date", "--from"),
];

/// What is typed for the keys of S3, which are no options: all processes could read them.
const KEYS: [&str; 4] = ["--access-key", "--secret-key", "--access-key-id", "--secret-access-key"];

/// Variables that nobody reads, each with the nearest one that is read.
pub(super) fn unknown(variables: &Variables) -> Vec<String> {
    let known: Vec<String> = known::settings().into_iter().map(|setting| setting.variable).collect();
    let of_tests = |name: &str| name.strip_prefix(PREFIX).is_some_and(|rest| OF_TESTS.iter().any(|of_tests| rest.starts_with(of_tests)));
    let lost = variables.keys().filter(|name| !known.contains(name) && !of_tests(name));
    let nearest = |name: &str| known.iter().max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    lost.map(|name| format!("{name} is no variable of this program, and does nothing; the nearest is {}", nearest(name).map_or("", String::as_str))).collect()
}

/// An option for S3 that stands on the command line.
pub(super) fn typed_for_s3(matches: &ArgMatches) -> Option<String> {
    let is_given =
        |arg: &&Arg| matches.try_contains_id(arg.get_id().as_str()).is_ok() && matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    known::options_for_s3().iter().find(is_given).map(|arg| format!("--{}", known::key_of(arg)))
}

/// An error of the parser as it is shown: no password, the variable that a value comes from, and the option that was meant.
pub(super) fn said(e: clap::Error, cli: &Command, command: &str, args: &[OsString], variables: &Variables) -> clap::Error {
    let mut e = without_password(named(e, cli, command, args, variables));
    let Some(typed) = unknown_argument(&e) else { return e };
    let meant = OTHERWISE.iter().find(|(of, option, _)| *of == command && *option == typed);
    if let Some((.., meant)) = meant {
        e.insert(ContextKind::SuggestedArg, ContextValue::String((*meant).into()));
    } else if KEYS.contains(&&*typed) {
        e.remove(ContextKind::SuggestedArg);
        let hint = "keys of S3 are the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or access-key and secret-key in the file of --config";
        e.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    } else {
        return e;
    }
    // the parser's own guess stands in its usage too
    if let Some(usage) = cli.find_subcommand(command).map(|command| command.clone().render_usage()) {
        e.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    e
}

fn unknown_argument(e: &clap::Error) -> Option<String> {
    match (e.kind(), e.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(typed))) => Some(typed.clone()),
        _ => None,
    }
}

/// The parser calls the option, also where the value is a variable's.
fn named(mut e: clap::Error, cli: &Command, command: &str, args: &[OsString], variables: &Variables) -> clap::Error {
    let (Some(ContextValue::String(option)), Some(ContextValue::String(value))) = (e.get(ContextKind::InvalidArg), e.get(ContextKind::InvalidValue)) else {
        return e;
    };
    let all = cli.find_subcommand(command).into_iter().chain([cli]).flat_map(Command::get_arguments);
    let variable = all.filter(|arg| arg.to_string() == *option).find_map(|arg| arg.get_env()?.to_str());
    let holds = |text: &str| text == value || text.split(',').any(|one| one == value);
    let typed = args.iter().any(|arg| arg.to_str().is_some_and(|arg| holds(arg) || arg.split_once('=').is_some_and(|(_, set)| holds(set))));
    let is_set = |name: &&str| variables.get(*name).is_some_and(|set| holds(&set.to_string_lossy()));
    if let Some(name) = variable.filter(is_set).filter(|_| !typed) {
        e.insert(ContextKind::InvalidArg, ContextValue::String(name.to_owned()));
    }
    e
}

/// An error shows the value that it is about; of an address not who is to log in there.
fn without_password(mut e: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = e.get(ContextKind::InvalidValue)
        && let Some((scheme, rest)) = value.split_once("://")
        && let Some((login, _)) = rest.split(['/', '?', '#']).next().and_then(|host| host.rsplit_once('@'))
    {
        let shown = format!("{scheme}://***{}", &rest[login.len()..]);
        e.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    e
}
