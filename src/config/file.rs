//! The configuration file: one JSON object whose keys are the long names of options.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Command;
use clap::error::{ContextKind, ErrorKind};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::aws::AwsVariables;
use super::known::{self, Kind, SECRETS, Setting};
use crate::error::{Error, Escaped, Result};

/// The file that packages put where the service looks for it.
pub const EXAMPLE: &str = include_str!("example.json");

/// What stands in it where a site has something of its own.
const PLACEHOLDER: &str = "EDIT-ME";

/// What a file says: nothing of it has been used yet, and all of it has been checked.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Values by key, as they would stand on a command line.
    pub(super) values: BTreeMap<String, Vec<String>>,
    /// Its secrets, as the variables that they stand for.
    pub(super) keys: AwsVariables,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

impl File {
    /// Reads the file, and checks it against the options of `cli`.
    pub(super) fn read(path: &Path, cli: &Command) -> Result<Self> {
        let failed = |e| Error::unreadable("the configuration ", path)(e);
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let wrong = |why: String| Error::Usage(format!("{}: {why}", Escaped(path)));
        let entries: Entries = serde_json::from_str(&text).map_err(|e| wrong(format!("it is not a JSON object: {}", without_values(&e))))?;
        let known = known::settings();
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        for (key, value) in entries.0 {
            if key == "$schema" || key.starts_with("//") {
                continue;
            }
            let bad = |why: String| wrong(format!("{key:?}: {why}"));
            if file.values.contains_key(&key) {
                return Err(bad("it stands there twice".into()));
            }
            if value.as_str().is_some_and(|text| text.contains(PLACEHOLDER)) {
                return Err(bad(
                    "this is still what the example has\n  hint: put the site's own in its place; or let cc-archiver init ask for all, and write the file"
                        .into(),
                ));
            }
            if let Some((_, variable, _)) = SECRETS.iter().find(|(secret, ..)| *secret == key) {
                let secret = value.as_str().filter(|secret| !secret.is_empty()).ok_or_else(|| bad("a text is needed".into()))?;
                file.keys.put(variable, secret, format!("{key:?} in {}", Escaped(path)));
                continue;
            }
            let setting = known.iter().find(|setting| setting.key == key && setting.is_in_file()).ok_or_else(|| bad(unknown(&key, &known)))?;
            let values = as_typed(setting, &value).map_err(bad)?;
            check(setting, &values, cli).map_err(|why| wrong(format!("{key:?}: {why}")))?;
            file.values.insert(key, values);
        }
        if !file.keys.is_empty() {
            let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
            if mode & 0o004 != 0 {
                file.warnings.push(format!("{} holds a key and can be read by everybody on this machine; chmod o-r would change that", Escaped(path)));
            }
        }
        Ok(file)
    }
}

/// The entries of an object, in order; serde_json's own map would drop one of two with the same key.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Where a text is not JSON, without quoting from it: there may be a secret in it.
fn without_values(e: &serde_json::Error) -> String {
    match e.classify() {
        serde_json::error::Category::Data => "it is something else".into(),
        _ => e.to_string(),
    }
}

/// A key that nobody knows, and the nearest one.
fn unknown(key: &str, known: &[Setting]) -> String {
    let known = known.iter().filter(|setting| setting.is_in_file()).map(|setting| setting.key.as_str());
    let near = known.chain(SECRETS.iter().map(|(key, ..)| *key)).max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    format!("there is no such setting\n  hint: the nearest is {:?}; cc-archiver config shows all", near.unwrap_or_default())
}

/// A JSON value as it would stand on a command line.
fn as_typed(setting: &Setting, value: &Value) -> std::result::Result<Vec<String>, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let values = match setting.kind {
        Kind::Switch => value.as_bool().map(|on| vec![on.to_string()]),
        Kind::Count => value.as_u64().filter(|n| u8::try_from(*n).is_ok()).map(|n| vec![n.to_string()]),
        Kind::Number => value.is_number().then(|| vec![value.to_string()]),
        Kind::Text => text(value).map(|text| vec![text]),
        Kind::List => match value {
            Value::Array(values) => values.iter().map(text).collect(),
            one => text(one).map(|text| vec![text]),
        },
    };
    let needed = match setting.kind {
        Kind::Switch => "true or false",
        Kind::Count => "a number from 0 to 255",
        Kind::Number => "a number",
        Kind::Text => "a text",
        Kind::List => "a list of texts",
    };
    values.ok_or_else(|| match setting.example {
        Some(example) => format!("{needed} is needed: with its unit, such as {example:?}"),
        None => format!("{needed} is needed"),
    })
}

/// Puts the values through the parsers of all options of this name, each on a command line of its own.
fn check(setting: &Setting, values: &[String], cli: &Command) -> std::result::Result<(), String> {
    if matches!(setting.kind, Kind::Switch | Kind::Count) {
        return Ok(());
    }
    for command in std::iter::once(cli).chain(known::commands(cli)) {
        if !command.get_arguments().any(|arg| arg.get_id() == setting.id.as_str()) {
            continue;
        }
        let probe = command.clone().subcommand_required(false).arg_required_else_help(false);
        let probe = probe.mut_args(|arg| {
            let arg = arg.required(false).env(clap::builder::Resettable::Reset);
            if arg.is_positional() {
                let long = known::key_of(&arg);
                return arg.long(long);
            }
            arg
        });
        for value in values {
            let typed = format!("--{}={value}", setting.key);
            if let Err(e) = probe.clone().try_get_matches_from(["cc-archiver", &typed]) {
                reason(&e).map_or(Ok(()), Err)?;
            }
        }
    }
    Ok(())
}

/// What is wrong with a value; nothing if only the rest of the command line is missing.
fn reason(e: &clap::Error) -> Option<String> {
    match e.kind() {
        ErrorKind::ValueValidation => Some(e.source().map_or_else(|| "it is not valid".into(), ToString::to_string)),
        ErrorKind::InvalidValue => Some(match e.get(ContextKind::ValidValue) {
            Some(choices) if !choices.to_string().is_empty() => format!("one of {choices} is needed"),
            _ => "it is empty".into(),
        }),
        ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict => None,
        _ => Some("it is not valid".into()),
    }
}
