//! The words of the domain as types: clusters, hosts, dates, digests, selectors.
//!
//! What has one of these types was checked when it was made, so no stage checks it again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Seconds in a UTC day; unix time has no leap seconds.
pub const DAY: i64 = 86_400;

/// No sample lies this far, in s, from the time that a snapshot has for it: that is less than one step of its series.
pub const MOST_STEP: i64 = 3_600;

/// The first timestamp past year 9999, where `YYYY-MM-DD` ends.
pub const END_OF_TIME: i64 = 253_402_300_800;

/// A cluster's name: one directory name below the checkpoint tree, any UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cluster(Arc<str>);

impl Cluster {
    /// Takes a directory's name. None if it cannot be one (empty, `.`, `..`, or with a `/` or NUL).
    pub fn new(name: &str) -> Option<Self> {
        let valid = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
        valid.then(|| Self(name.into()))
    }

    /// The name as it stands on disk.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_debug(), f)
    }
}

/// A host's name: one directory name below its cluster, any UTF-8. Ordered bytewise, as the archive's rows are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

impl Host {
    /// Takes a directory's name, already known to be UTF-8.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as it stands on disk.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_debug(), f)
    }
}

/// A number for a host by the BLAKE3 digest of its names, the same on every machine and in every version.
pub fn host_number(cluster: &str, host: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    // a name holds no slash
    hasher.update(cluster.as_bytes()).update(b"/").update(host.as_bytes());
    hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A UTC date from 1970-01-01 to 9999-12-31, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(i32);

impl Date {
    /// The date of a unix time in seconds. None outside 1970 to 9999.
    pub fn of(timestamp: i64) -> Option<Self> {
        (0..END_OF_TIME).contains(&timestamp).then_some(Self((timestamp / DAY) as i32))
    }

    /// The first second of the date.
    pub fn start(self) -> i64 {
        i64::from(self.0) * DAY
    }

    /// The first second after the date.
    pub fn end(self) -> i64 {
        self.start() + DAY
    }

    /// All dates from this one to `last`, both included.
    pub fn through(self, last: Date) -> impl Iterator<Item = Date> {
        (self.0..=last.0).map(Date)
    }

    /// Reads `YYYY-MM-DD`, in exactly the form that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        let date = Self::of(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp())?;
        (date.to_string() == text).then_some(date)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp(self.start(), 0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d")),
            None => Err(fmt::Error),
        }
    }
}

impl From<Date> for String {
    fn from(date: Date) -> String {
        date.to_string()
    }
}

impl TryFrom<String> for Date {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a date YYYY-MM-DD"))
    }
}

/// A BLAKE3 digest. Written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    /// The digest of all that can be read.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn of_reader(reader: impl std::io::Read) -> std::io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(reader)?;
        Ok(hasher.finalize().into())
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let hash = blake3::Hash::from_hex(&text).map_err(|e| format!("not a BLAKE3 digest: {e}"))?;
        Ok(hash.into())
    }
}

/// Where in a host a series was measured: the path of child names and what it says of scope and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// `node`, `socket`, `core`, …, or the whole name of a child that follows no rule.
    pub scope: Box<str>,
    /// The rest of the name, "" where there is none.
    pub scope_id: Box<str>,
    /// All names from the host down, joined by `/`; "" is the host itself.
    pub path: Box<str>,
}

/// A child's name starts with one of these, then a digit: that is its scope. Longest first.
const SCOPES: [(&str, &str); 6] =
    [("memoryDomain", "memoryDomain"), ("accelerator", "accelerator"), ("hwthread", "hwthread"), ("socket", "socket"), ("core", "core"), ("cpu", "hwthread")];

impl Selector {
    /// The host itself.
    pub fn node() -> Self {
        Self { scope: "node".into(), scope_id: "".into(), path: "".into() }
    }

    /// Bytes of all that it consists of.
    pub fn bytes(&self) -> usize {
        self.scope.len() + self.scope_id.len() + self.path.len()
    }

    /// The level of rows that have a scope and an id, and no path: the host, or a child of it of the name that these two come of. None if no name does.
    pub fn derived(scope: &str, scope_id: &str) -> Option<Self> {
        if (scope, scope_id) == ("node", "") {
            return Some(Self::node());
        }
        Self::node().child(&[scope, scope_id].concat()).filter(|level| (&*level.scope, &*level.scope_id) == (scope, scope_id))
    }

    /// A child called `name` of this level; None if its path would be longer than any real one, by far.
    ///
    /// In the path `%` becomes `%25` and `/` becomes `%2F`; an empty name becomes a lone `%`, which nothing else does.
    pub fn child(&self, name: &str) -> Option<Self> {
        const LONGEST: usize = 4_096;
        if self.path.len() + name.len() > LONGEST {
            return None;
        }
        let mut path = String::with_capacity(self.path.len() + 1 + name.len());
        if !self.path.is_empty() {
            path.push_str(&self.path);
            path.push('/');
        }
        for c in name.chars() {
            match c {
                '%' => path.push_str("%25"),
                '/' => path.push_str("%2F"),
                c => path.push(c),
            }
        }
        if name.is_empty() {
            path.push('%');
        }
        let (scope, scope_id) = scope_of(name);
        Some(Self { scope: scope.into(), scope_id: scope_id.into(), path: path.into() })
    }

    /// The names of the levels from the host down to this one, none for the host itself. None if [`Self::child`] makes no such selector of any names.
    pub fn names(&self) -> Option<Vec<String>> {
        let names: Vec<String> = if self.path.is_empty() { Vec::new() } else { self.path.split('/').map(unescaped).collect() };
        let made = names.iter().try_fold(Self::node(), |level, name| level.child(name))?;
        (made == *self).then_some(names)
    }
}

/// A level's name, as it was before it became a part of a path.
fn unescaped(part: &str) -> String {
    if part == "%" { String::new() } else { part.replace("%2F", "/").replace("%25", "%") }
}

/// Splits a child's name into scope and id, by the rule of cc-backend's archiver.
fn scope_of(name: &str) -> (&str, &str) {
    for (prefix, scope) in SCOPES {
        if let Some(id) = name.strip_prefix(prefix)
            && id.starts_with(|c: char| c.is_ascii_digit())
        {
            return (scope, id);
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_follows_the_rule_has_scope_and_id() {
        assert_eq!(scope_of("accelerator00000000:49:00.0"), ("accelerator", "00000000:49:00.0"));
        assert_eq!(scope_of("cpu7"), ("hwthread", "7"));
        assert_eq!(scope_of("memoryDomain0"), ("memoryDomain", "0"));
    }

    #[test]
    fn any_other_child_is_its_own_scope() {
        for name in ["a0", "gpu1", "socket", "acceleratorGPU-x", "hwthread٣", ""] {
            assert_eq!(scope_of(name), (name, ""));
        }
    }

    #[test]
    fn paths_of_different_children_differ() {
        let path = |names: &[&str]| names.iter().try_fold(Selector::node(), |level, name| level.child(name)).map(|level| level.path);
        assert_eq!(path(&["socket0", "core1"]).as_deref(), Some("socket0/core1"));
        assert_eq!(path(&["a/b"]).as_deref(), Some("a%2Fb"));
        assert_eq!(path(&["a%2Fb"]).as_deref(), Some("a%252Fb"));
        assert_ne!(path(&[""]), path(&[]));
        assert_ne!(path(&[""]), path(&["%"]));
        assert_eq!(path(&["x".repeat(3_000).as_str(); 2]), None);
    }

    #[test]
    fn names_of_levels_come_back_from_a_path() {
        for names in [&[][..], &["socket0", "core1"], &["a/b"], &["a%2Fb", "%", ""], &["", ""], &["%252F", "/", "ü"], &["a%", "25"]] {
            let level = names.iter().try_fold(Selector::node(), |level, name| level.child(name)).expect("short");
            assert_eq!(level.names().as_deref(), Some(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()[..]));
        }
        let wrong = |scope: &str, scope_id: &str, path: &str| Selector { scope: scope.into(), scope_id: scope_id.into(), path: path.into() }.names();
        for (scope, id, path) in [("core", "1", "socket0"), ("node", "0", ""), ("a%", "", "a%"), ("a", "", "/a"), ("socket", "0", "")] {
            assert_eq!(wrong(scope, id, path), None, "{scope} {id} {path}");
        }
    }

    #[test]
    fn dates_are_written_as_they_are_read() {
        for text in ["1970-01-01", "2024-02-29", "9999-12-31"] {
            assert_eq!(Date::parse(text).map(|d| d.to_string()).as_deref(), Some(text));
        }
        for text in ["1969-12-31", "2023-02-29", "2024-2-29", "+2024-02-29", "10000-01-01", ""] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        assert_eq!(Date::of(DAY - 1), Date::parse("1970-01-01"));
        assert_eq!(Date::of(END_OF_TIME), None);
    }
}
