//! ETags: one object's tag is one value, however a server spells it.

use std::fmt;

/// What a server calls the bytes of an object.
///
/// Servers spell it in several ways, and some of them in another way in each answer: `"a1"`, `a1`, `W/"a1"`. Of S3's
/// tags `W/` and the quotes are spelling only, so two of them are equal if what stands between the quotes is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(Box<str>);

impl ETag {
    /// Reads a tag as an answer has it. None if there is nothing in it: such a tag tells no two objects apart.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let strong = text.strip_prefix("W/").or_else(|| text.strip_prefix("w/")).unwrap_or(text);
        let opaque = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(strong);
        (!opaque.is_empty()).then(|| Self(opaque.into()))
    }

    /// The same of an answer that may have none.
    pub fn of(answered: Option<&str>) -> Option<Self> {
        answered.and_then(Self::parse)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_same_however_it_is_spelled() {
        let tag = ETag::parse("\"9b2cf535f27731c974343645a3985328-2\"");
        assert!(tag.is_some());
        for spelled in ["9b2cf535f27731c974343645a3985328-2", "W/\"9b2cf535f27731c974343645a3985328-2\"", " w/9b2cf535f27731c974343645a3985328-2 "] {
            assert_eq!(ETag::parse(spelled), tag, "{spelled}");
        }
        for other in ["\"9b2cf535f27731c974343645a3985328-3\"", "\"9B2CF535F27731C974343645A3985328-2\"", "\"W/\"", "W"] {
            assert_ne!(ETag::parse(other), tag, "{other}");
        }
        assert_eq!(tag.map(|tag| tag.to_string()).as_deref(), Some("\"9b2cf535f27731c974343645a3985328-2\""));
    }

    #[test]
    fn a_tag_of_nothing_is_none() {
        for text in ["", "\"\"", "W/\"\"", " "] {
            assert_eq!(ETag::parse(text), None, "{text:?}");
        }
        assert_eq!(ETag::of(None), None);
        // half of the quotes belongs to the tag: nobody spells it so
        assert_ne!(ETag::parse("\"a"), ETag::parse("a"));
    }
}
