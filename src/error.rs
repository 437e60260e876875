//! Errors. Three things can happen: the store repeats a request, and nobody sees the error; a [`SetAside`] costs one
//! file, and the run goes on; an [`Error`] ends the run.
//!
//! The rules for an [`Error`]:
//! - Its kind says who has to act, and decides the exit code. Nothing else does.
//! - Its first line says what failed, on which path, key or option, and why: `cannot upload s3://b/k: SlowDown: ...`.
//! - Its second line says what to do: `  hint: ...`. It is left out if the first line says it, or if nobody can know it.
//! - A path is shown as [`Escaped`], on one line. A secret is never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

pub mod rights;

/// How a run ended, as the process' exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every eligible source is archived.
    Complete = 0,
    /// The run could not go on.
    Fatal = 1,
    /// Wrong arguments or settings; nothing was done.
    Usage = 2,
    /// Done, but some sources were set aside.
    SetAside = 3,
    /// Another run holds the tree.
    Locked = 4,
    /// Stopped by a signal.
    Interrupted = 5,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Complete, Self::Fatal, Self::Usage, Self::SetAside, Self::Locked, Self::Interrupted];
}

/// What ends a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wrong arguments or settings.
    #[error("{0}")]
    Usage(String),
    /// Local files could not be read or written.
    #[error("{what} {}: {source}{}", Escaped(path), second_line(rights::hint(path, source.kind())))]
    Io {
        /// What was tried: "cannot list".
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The archive could not be read or written.
    #[error("{what} {key}: {}{}", brief(source), second_line(hint(source, key)))]
    Store {
        /// What was tried: "cannot upload".
        what: &'static str,
        /// The object or place, with its scheme.
        key: String,
        /// Why it failed.
        source: object_store::Error,
    },
    /// Rows could not be encoded.
    #[error("{what} {key}: {source}\n  hint: the object did not become visible; run again, and report this if it comes again")]
    Parquet {
        /// What was tried.
        what: &'static str,
        /// The object.
        key: String,
        /// Why it failed.
        source: parquet::errors::ParquetError,
    },
    /// The archive is not as a run may find it.
    #[error("{0}")]
    Archive(String),
    /// Another run holds the tree: where, and who, if the system tells.
    #[error("another run holds {}{}; nothing was done\n  hint: wait until it has ended; if this happens often, let runs start less often", Escaped(.0), .1.as_ref().map_or(String::new(), |holder| format!(" ({holder})")))]
    Locked(PathBuf, Option<String>),
    /// Values that there was no room for in memory could not be put elsewhere.
    #[error("cannot merge with archived rows: {0}\n  hint: give it more --memory, or set TMPDIR to a directory with room")]
    Spool(std::io::Error),
    /// A signal asked to stop.
    #[error("interrupted by a signal; the next run goes on from here")]
    Interrupted,
    /// A thread of ours panicked: a defect in this program.
    #[error("internal error: {0}; sources are untouched, please report this")]
    Internal(String),
}

/// The result of whatever can end a run.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The process' exit code for this error.
    pub fn exit(&self) -> Exit {
        match self {
            Error::Usage(_) => Exit::Usage,
            Error::Locked(..) => Exit::Locked,
            Error::Interrupted => Exit::Interrupted,
            _ => Exit::Fatal,
        }
    }

    /// For `map_err` on reading a file that the settings name.
    pub fn unreadable<'a>(what: impl fmt::Display + 'a, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |e| Self::Usage(format!("cannot read {what}{}: {e}{}", Escaped(path), second_line(rights::hint(path, e.kind()))))
    }

    /// For `map_err` on local I/O.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// For `map_err` on the store.
    pub fn store(what: &'static str, key: impl fmt::Display) -> impl FnOnce(object_store::Error) -> Self {
        let key = key.to_string();
        move |source| Self::Store { what, key, source }
    }

    /// For `map_err` on parquet.
    pub fn parquet(what: &'static str, key: impl fmt::Display) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let key = key.to_string();
        move |source| Self::Parquet { what, key, source }
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(e: tokio::task::JoinError) -> Self {
        Self::Internal(e.to_string())
    }
}

fn second_line(hint: Option<String>) -> String {
    hint.map_or(String::new(), |hint| format!("\n  hint: {hint}"))
}

/// A request without an answer. It travels inside of the store's error.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Unreached {
    /// What was asked, and why nothing came back.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Unreached {
    /// The one inside of an error of the store, if that is what it is.
    pub fn within(source: &object_store::Error) -> Option<&Self> {
        cause_of(source)
    }
}

/// The first cause of that type.
fn cause_of<T: std::error::Error + 'static>(source: &object_store::Error) -> Option<&T> {
    let first: &(dyn std::error::Error + 'static) = source;
    std::iter::successors(Some(first), |e| e.source()).find_map(|e| e.downcast_ref())
}

/// A field of an answer in XML.
pub fn xml_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim())
}

/// An error of the store on one line: servers answer in XML, of which code and message say enough.
pub fn brief(source: &object_store::Error) -> String {
    if let Some(unreached) = Unreached::within(source) {
        return unreached.to_string();
    }
    let text = source.to_string();
    match (xml_field(&text, "Code"), xml_field(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text.replace('\n', " "),
    }
}

/// What to do about an error of the store, where that can be told. In a directory the key is a path.
fn hint(source: &object_store::Error, key: &str) -> Option<String> {
    let text = source.to_string();
    match (Unreached::within(source), xml_field(&text, "Hint"), cause_of::<std::io::Error>(source).map(std::io::Error::kind)) {
        (Some(unreached), ..) => Some(unreached.hint.clone()),
        (None, Some(hint), _) => Some(hint.to_owned()),
        // an object that is there already is no matter of rights
        (None, None, Some(kind)) => rights::hint(Path::new(key), kind).filter(|_| kind != std::io::ErrorKind::AlreadyExists),
        (None, None, None) => None,
    }
}

/// A file, a directory or an object that a run leaves as it is, and why. It costs itself; the run goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// Where it is; shown as [`Escaped`].
    #[serde(serialize_with = "as_shown")]
    pub path: PathBuf,
    /// The byte at which decoding failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Why.
    pub reason: String,
}

fn as_shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(path))
}

impl SetAside {
    /// Without an offset.
    pub fn new(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), offset: None, reason: reason.into() }
    }

    /// Its path as it is shown.
    pub fn shown(&self) -> String {
        Escaped(&self.path).to_string()
    }

    /// Puts notes in the order in which they are shown: bytewise by path.
    pub fn sort(notes: &mut [Self]) {
        notes.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
    }
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", Escaped(&self.path))?;
        if let Some(offset) = self.offset {
            write!(f, "byte {offset}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Shows a path on one line whatever is in it: control characters and bytes that are not UTF-8 are escaped.
pub struct Escaped<'a>(pub &'a Path);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::os::unix::ffi::OsStrExt;
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn any_path_is_shown_on_one_line() {
        let path = Path::new(std::ffi::OsStr::from_bytes(b"a\nb\xff\xc3\xa9"));
        assert_eq!(Escaped(path).to_string(), "a\\nb\\xffé");
    }

    #[test]
    fn an_answer_in_xml_is_shown_on_one_line() {
        let answer = "404: <?xml version='1.0'?>\n<Error><Code>NoSuchBucket</Code><Message>It is not there</Message><Hint>look</Hint></Error>";
        let e = Error::store("cannot list", "s3://b")(object_store::Error::Generic { store: "S3", source: answer.into() });
        let shown = e.to_string();
        assert!(shown.starts_with("cannot list s3://b: NoSuchBucket: It is not there\n  hint: look"), "{shown}");
    }

    #[test]
    fn an_error_of_each_kind_says_what_failed_on_what_and_what_to_do_and_has_its_exit_code() {
        let io = |kind| std::io::Error::new(kind, "the reason");
        let unreached = Unreached { what: "no answer from b.example".into(), hint: "look at --endpoint".into() };
        let errors = [
            Error::Usage("--workers 0 would do nothing".into()),
            Error::io("cannot write", Path::new("/a\n"))(io(std::io::ErrorKind::StorageFull)),
            Error::io("cannot list", Path::new("/a"))(io(std::io::ErrorKind::Other)),
            Error::store("cannot upload", "s3://b/k")(object_store::Error::Generic { store: "S3", source: Box::new(unreached) }),
            Error::parquet("cannot encode", "s3://b/k")(parquet::errors::ParquetError::General("the reason".into())),
            Error::Archive("the archive is not whole\n  hint: put it back".into()),
            Error::Locked("/tree".into(), Some("pid 7".into())),
            Error::Spool(io(std::io::ErrorKind::StorageFull)),
            Error::Interrupted,
            Error::Internal("a row group is gone".into()),
        ];
        let shown: Vec<String> = errors.iter().map(|e| format!("{} {e}", e.exit() as i32)).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        2 --workers 0 would do nothing
        1 cannot write /a\n: the reason
          hint: the target is full; free some space and run again
        1 cannot list /a: the reason
        1 cannot upload s3://b/k: no answer from b.example
          hint: look at --endpoint
        1 cannot encode s3://b/k: Parquet error: the reason
          hint: the object did not become visible; run again, and report this if it comes again
        1 the archive is not whole
          hint: put it back
        4 another run holds /tree (pid 7); nothing was done
          hint: wait until it has ended; if this happens often, let runs start less often
        1 cannot merge with archived rows: the reason
          hint: give it more --memory, or set TMPDIR to a directory with room
        5 interrupted by a signal; the next run goes on from here
        1 internal error: a row group is gone; sources are untouched, please report this
        ");
    }
}
