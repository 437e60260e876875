//! Values of options that have a form of their own.

use std::str::FromStr;

use parquet::basic::{Compression, ZstdLevel};

use crate::names::Date;

/// Dates from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// The first; none: from the beginning.
    pub first: Option<Date>,
    /// The last; none: to the end.
    pub last: Option<Date>,
}

impl FromStr for Dates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let date = |text: &str| match text {
            "" => Ok(None),
            _ => Date::parse(text).map(Some).ok_or_else(|| format!("{text:?} is not a date such as 2026-03-01")),
        };
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (date(first)?, date(last)?);
        match (first, last) {
            (None, None) => Err("neither a date nor FROM..TO".into()),
            (Some(first), Some(last)) if first > last => Err(format!("{first} comes after {last}")),
            _ => Ok(Self { first, last }),
        }
    }
}

/// A point in time, as unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub i64);

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self(seconds));
        }
        if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
            return Ok(Self(time.timestamp()));
        }
        if let Some(date) = Date::parse(text) {
            return Ok(Self(date.start()));
        }
        match humantime::parse_duration(text) {
            Ok(age) => Ok(Self(chrono::Utc::now().timestamp().saturating_sub_unsigned(age.as_secs()))),
            Err(_) => Err("neither RFC 3339 (2026-03-01T12:00:00Z), a date (2026-03-01), unix seconds nor an age (48h)".into()),
        }
    }
}

/// A compression codec and its level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Codec(pub Compression);

impl FromStr for Codec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let zstd = |level: i32| match ZstdLevel::try_new(level) {
            Ok(valid) if level > 0 => Ok(Self(Compression::ZSTD(valid))),
            _ => Err("zstd has levels 1 to 22".to_owned()),
        };
        match text {
            "none" => Ok(Self(Compression::UNCOMPRESSED)),
            "snappy" => Ok(Self(Compression::SNAPPY)),
            "zstd" => zstd(3),
            _ => match text.strip_prefix("zstd(").and_then(|rest| rest.strip_suffix(')')).and_then(|level| level.parse().ok()) {
                Some(level) => zstd(level),
                None => Err("use zstd(1..22), snappy or none".into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_four_ways() {
        for text in ["2026-03-01", "2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00", "1772323200"] {
            assert_eq!(text.parse(), Ok(Instant(1_772_323_200)), "{text}");
        }
        assert!("48h".parse::<Instant>().is_ok_and(|t| t.0 > 1_772_323_200));
        assert!("yesterday".parse::<Instant>().is_err());
    }

    #[test]
    fn codecs_are_checked() {
        assert!("zstd(22)".parse::<Codec>().is_ok());
        for wrong in ["zstd(0)", "zstd(23)", "gzip", "zstd(3"] {
            assert!(wrong.parse::<Codec>().is_err(), "{wrong}");
        }
    }
}
