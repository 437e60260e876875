//! Which credentials the variables set up. The first kind is taken: keys, web identity, container, pod identity, and else the metadata of
//! the machine.

use std::path::{Path, PathBuf};

use crate::error::{Error, Escaped, Result};
use crate::settings::{Credentials, Endpoint, Secret};

/// Hosts that may be asked for credentials without TLS: they are this machine's own.
const LINK_LOCAL: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// The variables that hold keys.
pub(super) const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
pub(super) const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";

/// The first kind that the variables set up; `called` says where a key is from.
pub(super) fn find<'a>(variable: impl Fn(&str) -> Option<&'a str>, called: impl Fn(&str) -> String) -> Result<Credentials> {
    let owned = |name: &str| variable(name).map(str::to_owned);
    match (variable(ACCESS_KEY), variable(SECRET_KEY)) {
        (Some(id), Some(secret)) => {
            let token = variable("AWS_SESSION_TOKEN").map(|token| visible("AWS_SESSION_TOKEN", token)).transpose()?;
            let (id, secret) = (visible(&called(ACCESS_KEY), id)?, visible(&called(SECRET_KEY), secret)?);
            return Ok(Credentials::Keys { id, secret: Secret::new(secret), token: token.map(Secret::new) });
        }
        (Some(_), None) => return Err(half(&called(ACCESS_KEY), SECRET_KEY)),
        (None, Some(_)) => return Err(half(&called(SECRET_KEY), ACCESS_KEY)),
        (None, None) => {}
    }
    match (owned("AWS_WEB_IDENTITY_TOKEN_FILE"), owned("AWS_ROLE_ARN")) {
        (Some(file), Some(role)) => {
            let sts = owned("AWS_ENDPOINT_URL_STS").map(|url| secure("AWS_ENDPOINT_URL_STS", &url)).transpose()?;
            let session = owned("AWS_ROLE_SESSION_NAME");
            return Ok(Credentials::WebIdentity { token_file: token_file("AWS_WEB_IDENTITY_TOKEN_FILE", file)?, role, session, sts });
        }
        (Some(_), None) => return Err(half("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")),
        // a role alone is what other programs assume; it says nothing of where to begin
        (None, _) => {}
    }
    if let Some(uri) = owned("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        // behind the host's name: what does not begin with a slash would be part of it
        if !uri.starts_with('/') || !uri.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Error::Usage("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with /".into()));
        }
        return Ok(Credentials::Container(uri));
    }
    if let Some(uri) = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        let Some(file) = owned("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") else {
            return Err(half("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
        };
        let uri = own_or_secure("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)?;
        return Ok(Credentials::PodIdentity { uri, token_file: token_file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)? });
    }
    if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Error::Usage(format!("no credentials for S3 are set up\n  hint: {}", Credentials::HOW_TO_SET_UP)));
    }
    let metadata = ["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_METADATA_ENDPOINT"].into_iter().find_map(|name| Some((name, variable(name)?)));
    let metadata = metadata.map(|(name, url)| Endpoint::parse(name, url).map(|url| url.to_string())).transpose()?;
    Ok(Credentials::Instance(metadata))
}

fn half(is_set: &str, is_not: &str) -> Error {
    Error::Usage(format!("{is_set} is set, and {is_not} is not\n  hint: set both, or neither"))
}

/// A value that becomes part of a header, or is compared with one. A file that was read into a variable often ends in a line break.
fn visible(name: &str, value: &str) -> Result<String> {
    if value.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(value.to_owned());
    }
    let what = if value.ends_with(['\n', '\r']) { "ends in a line break" } else { "holds characters that no key has" };
    Err(Error::Usage(format!("{name} {what}\n  hint: look at the file or the secret that it comes from")))
}

/// A token that cannot be read, or not be sent, is found out before anything is done.
fn token_file(name: &str, path: String) -> Result<PathBuf> {
    let path = PathBuf::from(path);
    let shown = Escaped(Path::new(&path)).to_string();
    let token = std::fs::read_to_string(&path).map_err(Error::unreadable(format!("{name} "), &path))?;
    visible(&format!("{name} {shown}"), &token)?;
    Ok(path)
}

fn secure(name: &str, url: &str) -> Result<String> {
    let endpoint = Endpoint::parse(name, url)?;
    if endpoint.is_plain() {
        return Err(Error::Usage(format!("{name} is plain http, and a token that is sent there stands for a role\n  hint: use https://")));
    }
    Ok(endpoint.to_string())
}

fn own_or_secure(name: &str, url: &str) -> Result<String> {
    let endpoint = Endpoint::parse(name, url)?;
    let host = endpoint.host();
    let is_own = host == "localhost" || LINK_LOCAL.contains(&host) || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_own { Ok(endpoint.to_string()) } else { secure(name, url) }
}
