//! Settings of `init`: what is given, then what was found or answered, and at last the whole, checked.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::aws::AwsVariables;
use super::credentials::{ACCESS_KEY, SECRET_KEY};
use super::places::check_places;
use super::{S3Environment, s3, s3_settings};
use crate::cc_backend::CcBackend;
use crate::cli::{InitArgs, S3Args};
use crate::error::{Error, Escaped, Result};
use crate::settings::{InitSettings, Location, Secret};

/// Where the service's unit looks for its configuration.
const USUAL_FILE: &str = "/etc/cc-archiver/config.json";

/// Keys that end by themselves are no use for a service.
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// Variables that only this process has: what the service needs of them goes into the file.
const TAKEN: [(&str, &[&str]); 3] = [("endpoint", &s3::ENDPOINT), ("region", &s3::REGION), ("ca-file", &s3::CA_FILE)];

/// A configuration that is being put together.
#[derive(Debug)]
pub struct Draft {
    /// The file to write.
    pub file: PathBuf,
    /// Where the archive is.
    pub archive: Option<Location>,
    /// The checkpoint tree.
    pub checkpoints: Option<PathBuf>,
    /// cc-backend's configuration.
    pub cc_backend: Option<CcBackend>,
    /// False with --non-interactive.
    pub may_ask: bool,
    given: Vec<(String, Value)>,
    s3: S3Args,
    environment: S3Environment,
}

/// What options and variables say; `file` is that of `--config`, and `given` are the options for S3 that are set, as they stand in a file.
///
/// # Errors
/// [`Error::Usage`]: cc-backend's configuration, if it is named, cannot be read.
pub fn draft(args: InitArgs, environment: S3Environment, file: Option<&Path>, given: Vec<(String, Value)>) -> Result<Draft> {
    Ok(Draft {
        file: absolute(file.unwrap_or(Path::new(USUAL_FILE))),
        archive: args.archive,
        checkpoints: args.checkpoints,
        cc_backend: args.cc_backend_config.as_deref().map(CcBackend::read).transpose()?,
        may_ask: !args.non_interactive,
        given,
        s3: args.s3,
        environment,
    })
}

impl Draft {
    /// True if the archive is in S3, and nothing says on which server.
    pub fn lacks_endpoint(&self) -> bool {
        self.is_in_s3() && self.s3.endpoint.is_none() && self.environment.variables.first(&s3::ENDPOINT).is_none()
    }

    /// True if the archive is in S3, and there are no keys.
    pub fn lacks_keys(&self) -> bool {
        self.is_in_s3() && !self.s3.anonymous && self.environment.variables.first(&[ACCESS_KEY, SECRET_KEY]).is_none()
    }

    fn is_in_s3(&self) -> bool {
        matches!(self.archive, Some(Location::S3 { .. }))
    }

    /// An answer: the server's address.
    pub fn put_endpoint(&mut self, endpoint: String) {
        self.given.push(("endpoint".into(), json!(endpoint)));
        self.s3.endpoint = Some(endpoint);
    }

    /// An answer: the keys.
    pub fn put_keys(&mut self, id: &str, secret: &str) {
        self.environment.variables.put(ACCESS_KEY, id, "the access key".into());
        self.environment.variables.put(SECRET_KEY, secret, "the secret key".into());
    }

    /// The whole, if it makes sense.
    ///
    /// # Errors
    /// [`Error::Usage`]: something is missing, or contradicts something else.
    pub fn settle(self) -> Result<InitSettings> {
        let checkpoints = self.checkpoints.as_deref().ok_or_else(|| missing("the checkpoint tree", "--checkpoints or --cc-backend-config"))?;
        let archive = self.archive.as_ref().ok_or_else(|| missing("the archive", "a directory or s3://bucket/prefix, as ARCHIVE"))?;
        if !checkpoints.is_dir() {
            return Err(Error::Usage(format!("there is no checkpoint tree at {}\n  hint: name it with --checkpoints", Escaped(checkpoints))));
        }
        check_places(checkpoints, archive, None)?;
        s3_settings(archive, &self.s3, &self.environment)?;
        let mut entries = vec![("checkpoints".to_owned(), text(checkpoints)?)];
        if let Some(cc_backend) = &self.cc_backend {
            entries.push(("cc-backend-config".into(), text(&cc_backend.path)?));
        }
        let keys = if self.is_in_s3() { keys(&self.environment.variables)? } else { None };
        entries.push(("archive".into(), named(archive)?));
        if self.is_in_s3() {
            let of_variables = TAKEN.iter().filter(|(key, _)| !self.given.iter().any(|(given, _)| given == key));
            let of_variables = of_variables.filter_map(|(key, names)| Some(((*key).to_owned(), json!(self.environment.variables.first(names)?.1))));
            for (key, value) in of_variables.chain(self.given.iter().cloned()) {
                let is_path = key == "ca-file";
                let value = value.as_str().filter(|_| is_path).map(|path| text(Path::new(path))).transpose()?.unwrap_or(value);
                entries.push((key, value));
            }
        }
        Ok(InitSettings { file: self.file.clone(), entries, keys })
    }
}

fn missing(what: &str, how: &str) -> Error {
    Error::Usage(format!("{what} is not known\n  hint: name {how}"))
}

/// A service starts in another directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn text(path: &Path) -> Result<Value> {
    let path = absolute(path);
    let text = path.to_str().ok_or_else(|| Error::Usage(format!("{} is not UTF-8, as a file of settings must be", Escaped(&path))))?;
    Ok(json!(text))
}

fn named(archive: &Location) -> Result<Value> {
    match archive {
        Location::Directory(path) => text(path),
        Location::S3 { .. } => Ok(json!(archive.to_string())),
    }
}

fn keys(variables: &AwsVariables) -> Result<Option<(String, Secret)>> {
    if variables.value(TOKEN).is_some() {
        return Err(Error::Usage(format!(
            "{TOKEN} is set: these keys end within hours, and runs would fail\n  hint: set keys that last, or none where a role is attached to the machine"
        )));
    }
    Ok(variables.value(ACCESS_KEY).zip(variables.value(SECRET_KEY)).map(|(id, secret)| (id.to_owned(), Secret::new(secret))))
}
