//! Where an archive is, as the user named it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use object_store::path::Path as Key;

use crate::error::Escaped;

/// Where the archive is, as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A local directory, which need not exist yet.
    Directory(PathBuf),
    /// A bucket, and the prefix of all keys in it ("" for none).
    S3 {
        /// The bucket.
        bucket: String,
        /// Key prefix without slashes at its ends.
        prefix: String,
    },
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".into());
        }
        check_expanded(text)?;
        let Some((scheme, rest)) = text.split_once(':') else { return Ok(Self::Directory(text.into())) };
        let rest_of_url = rest.strip_prefix("//");
        match (scheme.to_ascii_lowercase().as_str(), rest_of_url) {
            ("file", Some(path)) if path.starts_with('/') => Ok(Self::Directory(path.into())),
            ("file", None) if rest.starts_with('/') => Ok(Self::Directory(rest.into())),
            ("file", _) => Err("a file URL has three slashes: file:///path".into()),
            ("s3", Some(rest)) => in_bucket(rest),
            ("s3", None) => Err(format!("two slashes follow s3:, as in s3://{}; a directory of that name is ./{text}", rest.trim_start_matches('/'))),
            ("http" | "https", Some(_)) => Err("that is a server: name the bucket as s3://bucket/prefix, and the server with --endpoint".into()),
            (_, Some(_)) => Err(format!("unknown scheme {scheme:?}; use a directory, file:///path or s3://bucket/prefix")),
            (_, None) => Ok(Self::Directory(text.into())),
        }
    }
}

/// What follows `s3://`.
fn in_bucket(rest: &str) -> Result<Location, String> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err("it names no bucket: s3://bucket/prefix".into());
    }
    if bucket.contains('@') {
        return Err("it must not hold credentials: they come from variables, a file of settings, or a role".into());
    }
    if !bucket.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(format!("{bucket:?} cannot be a bucket: it has letters, digits, - and ."));
    }
    let prefix = prefix.trim_matches('/');
    Key::parse(prefix).map_err(|e| e.to_string())?;
    Ok(Location::S3 { bucket: bucket.into(), prefix: prefix.into() })
}

/// Refuses a path that a shell was meant to expand, and did not: it stood in quotes, behind a `=`, or in a file.
///
/// # Errors
/// It begins with `~`; shows what to write instead.
pub fn check_expanded(path: &str) -> Result<(), String> {
    match path.strip_prefix('~') {
        None => Ok(()),
        Some(rest) => {
            let home = if rest.is_empty() || rest.starts_with('/') { format!("\"$HOME{rest}\" or ") } else { String::new() };
            Err(format!("a shell expands ~ only at the beginning of a word, and not in quotes: write {home}the whole path (or ./{path} if that is its name)"))
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => Escaped(path).fmt(f),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_directories_or_buckets() {
        let parse = |s: &str| s.parse::<Location>();
        assert_eq!(parse("a/b"), Ok(Location::Directory("a/b".into())));
        assert_eq!(parse("file:///a"), Ok(Location::Directory("/a".into())));
        assert_eq!(parse("s3://b/p/q/"), Ok(Location::S3 { bucket: "b".into(), prefix: "p/q".into() }));
        assert_eq!(parse("s3://b"), Ok(Location::S3 { bucket: "b".into(), prefix: String::new() }));
        assert_eq!(parse("S3://b/P"), Ok(Location::S3 { bucket: "b".into(), prefix: "P".into() }));
        for path in ["file:/a/b", "FILE:///a/b", "/a/b"] {
            assert_eq!(parse(path), Ok(Location::Directory("/a/b".into())), "{path}");
        }
        for path in ["a:b", "a~", "./s3:/b", "./~"] {
            assert_eq!(parse(path), Ok(Location::Directory(path.into())), "{path}");
        }
        for wrong in ["", "file://a", "s3:///p", "gs://b", "s3://a b/x", "s3://user@b", "s3://b?x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn slips_are_refused_with_the_right_form() {
        for (wrong, right) in [
            ("s3:/b/x", "s3://b/x"),
            ("S3:b/x", "s3://b/x"),
            ("file:a", "file:///path"),
            ("~/a", "\"$HOME/a\""),
            ("~", "\"$HOME\""),
            ("~anna/a", "the whole path"),
            ("https://minio:9000/b", "--endpoint"),
        ] {
            assert!(wrong.parse::<Location>().is_err_and(|why| why.contains(right)), "{wrong}");
        }
    }
}
