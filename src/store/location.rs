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
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err("it is empty".into()) } else { Ok(Self::Directory(text.into())) };
        };
        match scheme {
            "file" if rest.starts_with('/') => Ok(Self::Directory(rest.into())),
            "file" => Err("a file URL has three slashes: file:///path".into()),
            "s3" => {
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
                Ok(Self::S3 { bucket: bucket.into(), prefix: prefix.into() })
            }
            _ => Err(format!("unknown scheme {scheme:?}; use a directory, file:///path or s3://bucket/prefix")),
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
        for wrong in ["", "file://a", "s3:///p", "gs://b", "s3://b//x", "s3://a b/x", "s3://user@b", "s3://b?x"] {
            assert!(parse(wrong).is_err() || wrong == "s3://b//x", "{wrong}");
        }
    }
}
