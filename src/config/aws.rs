//! The `AWS_*` variables, and keys from the file that stand for them: their values are shown nowhere.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

/// `AWS_*` variables by name. Only the names are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AwsVariables(BTreeMap<String, String>);

impl AwsVariables {
    /// Takes what is not set yet from `others`.
    pub fn fill_in(&mut self, others: &Self) {
        for (name, value) in &others.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

impl FromIterator<(String, String)> for AwsVariables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Deref for AwsVariables {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for AwsVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
