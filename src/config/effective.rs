//! All settings as they are in effect, and where each came from.

use std::collections::BTreeMap;
use std::fmt;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::aws::AwsVariables;
use super::known::{self, Kind, SECRETS, Setting};
use super::layers::Layers;
use crate::cc_backend::CcBackend;
use crate::error::Escaped;

/// The settings of all commands.
#[derive(Debug)]
pub struct Effective {
    settings: Vec<(Setting, Vec<String>, Source)>,
    keys: Vec<(String, Source)>,
    cc_backend: Option<CcBackend>,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Default,
    CcBackend(String),
    File(String),
    Variable(String),
    Flag,
}

impl Effective {
    /// What was parsed on top of `layers`, and which `AWS_*` variables are set: they win over the keys of the file.
    pub(super) fn new(matches: &ArgMatches, layers: &Layers, aws: &AwsVariables) -> Self {
        let one = |setting: Setting| {
            let (values, source) = (values(matches, &setting), source_of(matches, &setting, layers));
            (setting, values.iter().map(|value| without_credentials(value)).collect(), source)
        };
        let in_file = layers.file.iter().flat_map(|file| file.keys.keys().map(|name| (name.clone(), Source::File(Escaped(&file.path).to_string()))));
        let set = aws.keys().map(|name| (name.clone(), Source::Variable(name.clone())));
        let keys: BTreeMap<String, Source> = in_file.chain(set).collect();
        Self { settings: known::settings().into_iter().map(one).collect(), keys: keys.into_iter().collect(), cc_backend: layers.cc_backend.clone() }
    }
}

fn values(matches: &ArgMatches, setting: &Setting) -> Vec<String> {
    match setting.kind {
        Kind::Switch => vec![matches.get_flag(&setting.id).to_string()],
        Kind::Count => vec![matches.get_count(&setting.id).to_string()],
        _ => matches.get_raw(&setting.id).into_iter().flatten().map(|value| Escaped(value.as_ref()).to_string()).collect(),
    }
}

/// The options for S3 that a flag or a variable sets, as they would stand in a file.
pub(super) fn given_for_s3(matches: &ArgMatches) -> Vec<(String, Value)> {
    let is_set = |setting: &Setting| matches!(matches.value_source(&setting.id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
    let options = known::options_for_s3();
    options.iter().map(Setting::new).filter(is_set).map(|setting| (setting.key.clone(), typed(setting.kind, &values(matches, &setting)))).collect()
}

fn source_of(matches: &ArgMatches, setting: &Setting, layers: &Layers) -> Source {
    match matches.value_source(&setting.id) {
        Some(ValueSource::CommandLine) => Source::Flag,
        Some(ValueSource::EnvVariable) => Source::Variable(setting.variable.clone()),
        _ => match (&layers.file, &layers.cc_backend) {
            (Some(file), _) if file.values.contains_key(&setting.key) => Source::File(Escaped(&file.path).to_string()),
            (_, Some(cc_backend)) if layers.names_tree && setting.id == "checkpoints" => Source::CcBackend(Escaped(&cc_backend.path).to_string()),
            _ => Source::Default,
        },
    }
}

/// A URL without the name and password that it may have.
fn without_credentials(value: &str) -> String {
    let hidden = || {
        let (scheme, rest) = value.split_once("://")?;
        let host = rest.split(['/', '?', '#']).next()?;
        let (credentials, _) = host.rsplit_once('@')?;
        Some(format!("{scheme}://[hidden]{}", &rest[credentials.len()..]))
    };
    hidden().unwrap_or_else(|| value.to_owned())
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::CcBackend(_) => "cc-backend",
            Self::File(_) => "file",
            Self::Variable(_) => "variable",
            Self::Flag => "flag",
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::CcBackend(what) | Self::File(what) | Self::Variable(what) => Some(what),
            Self::Default | Self::Flag => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.detail().map_or(Ok(()), |detail| write!(f, " {detail}"))
    }
}

/// As it would stand in a file.
fn typed(kind: Kind, values: &[String]) -> Value {
    let number = |text: &String| text.parse::<i64>().map_or_else(|_| json!(text), |n| json!(n));
    match (kind, values) {
        (Kind::List, values) => json!(values),
        (_, []) => Value::Null,
        (Kind::Switch, [value, ..]) => json!(value == "true"),
        (Kind::Count | Kind::Number, [value, ..]) => number(value),
        (Kind::Text, [value, ..]) => json!(value),
    }
}

impl Serialize for Effective {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut settings = Map::new();
        for (setting, values, source) in &self.settings {
            settings.insert(setting.key.clone(), json!({"value": typed(setting.kind, values), "source": source.name(), "from": source.detail()}));
        }
        let mut keys = Map::new();
        for (name, source) in &self.keys {
            keys.insert(name.clone(), json!({"set": true, "source": source.name(), "from": source.detail()}));
        }
        let cc_backend = self.cc_backend.as_ref().map(CcBackend::as_json);
        json!({"settings": settings, "credentials": keys, "cc-backend": cc_backend}).serialize(serializer)
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(setting, values, _): &(Setting, Vec<String>, Source)| match (values.is_empty(), &setting.otherwise) {
            (true, Some(otherwise)) => format!("({otherwise})"),
            (true, None) => "-".into(),
            _ => values.join(", "),
        };
        let rows = self.settings.iter().map(|row| (row.0.key.as_str(), shown(row), &row.2));
        let keys = self.keys.iter().map(|(name, source)| (name.as_str(), "set (hidden)".to_owned(), source));
        let rows: Vec<_> = rows.chain(keys).collect();
        let width = |of: fn(&(&str, String, &Source)) -> usize| rows.iter().map(of).max().unwrap_or(0);
        let (first, second) = (width(|row| row.0.len()), width(|row| row.1.chars().count()).min(60));
        writeln!(f, "{:first$}  {:second$}  from", "setting", "value")?;
        rows.iter().try_for_each(|(key, value, source)| writeln!(f, "{key:first$}  {value:second$}  {source}"))?;
        for (secret, variable, _) in SECRETS.iter().filter(|(_, variable, _)| !self.keys.iter().any(|(name, _)| name == variable)) {
            writeln!(f, "{secret:first$}  {:second$}  neither in a file nor as {variable}", "-")?;
        }
        self.cc_backend.as_ref().map_or(Ok(()), |cc_backend| write!(f, "\n{cc_backend}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_name_and_password() {
        assert_eq!(without_credentials("http://u:p@h:9/x@y"), "http://[hidden]@h:9/x@y");
        assert_eq!(without_credentials("http://u:p@q@h"), "http://[hidden]@h");
        for harmless in ["http://h/x@y", "a@b", "s3://bucket/x", "/a/b"] {
            assert_eq!(without_credentials(harmless), harmless);
        }
    }
}
