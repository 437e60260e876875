//! The `AWS_*` variables, and keys from the file that stand for them: their values are shown nowhere.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

/// What they begin with.
pub(super) const PREFIX: &str = "AWS_";

/// `AWS_*` variables by name. Only the names are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AwsVariables {
    values: BTreeMap<String, String>,
    /// Where those are from that are no variables, in words.
    places: BTreeMap<String, String>,
}

impl AwsVariables {
    /// Adds a value that stands for a variable, and says where it is from.
    pub fn put(&mut self, name: &str, value: &str, place: String) {
        self.values.insert(name.to_owned(), value.to_owned());
        self.places.insert(name.to_owned(), place);
    }

    /// As a person finds it: the place that it is from, or the variable.
    pub fn called(&self, name: &str) -> String {
        self.places.get(name).map_or(name, String::as_str).to_owned()
    }

    /// A value that is more than blanks.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// The first of these that has a value, and the value.
    pub fn first(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        names.iter().find_map(|name| Some((*name, self.value(name)?)))
    }

    /// Takes what is not set yet from `others`.
    pub fn fill_in(&mut self, others: &Self) {
        for (name, value) in &others.values {
            if !self.values.contains_key(name) {
                self.values.insert(name.clone(), value.clone());
                self.places.extend(others.places.get(name).map(|place| (name.clone(), place.clone())));
            }
        }
    }
}

impl FromIterator<(String, String)> for AwsVariables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self { values: pairs.into_iter().collect(), places: BTreeMap::new() }
    }
}

impl Deref for AwsVariables {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.values
    }
}

impl fmt::Debug for AwsVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}
