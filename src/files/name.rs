//! A file's name in little memory: trees have very many files, and almost all names are short.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;

/// Bytes of a name that needs no memory of its own.
const SHORT: usize = 22;

/// A file's name.
#[derive(Clone)]
pub struct FileName(Name);

#[derive(Clone)]
enum Name {
    Short(u8, [u8; SHORT]),
    Long(Box<str>),
}

impl From<&str> for FileName {
    fn from(name: &str) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..name.len()) {
            Some(room) => {
                room.copy_from_slice(name.as_bytes());
                Self(Name::Short(name.len() as u8, bytes))
            }
            None => Self(Name::Long(name.into())),
        }
    }
}

impl From<String> for FileName {
    fn from(name: String) -> Self {
        name.as_str().into()
    }
}

impl Deref for FileName {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            // it was a string
            Name::Short(len, bytes) => std::str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default(),
            Name::Long(name) => name,
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for FileName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for FileName {}

impl PartialOrd for FileName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FileName {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_names_are_what_they_were() {
        for length in [0, 14, SHORT, SHORT + 1, 255] {
            let name = "ü".repeat(length / 2) + &"x".repeat(length % 2);
            assert_eq!(*FileName::from(name.as_str()), *name);
        }
        assert!(FileName::from("1.bin") < FileName::from("1.bin.zst"));
        assert_eq!(size_of::<FileName>(), 24);
    }
}
