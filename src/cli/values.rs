//! Values of options that have a form of their own.

use std::path::PathBuf;
use std::str::FromStr;

use bytesize::ByteSize;
use clap::builder::{PathBufValueParser, TypedValueParser};
use parquet::basic::{Compression, ZstdLevel};

use crate::clock;
use crate::names::Date;
use crate::settings::check_expanded;

/// A time span, such as 7d.
///
/// # Errors
/// It is none; shows how one is written.
pub fn span(text: &str) -> Result<humantime::Duration, String> {
    text.parse().map_err(|_| match text.trim_start_matches('-') {
        digits if digits == text && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => {
            format!("it has no unit: write {text}d for days, {text}h for hours or {text}m for minutes")
        }
        positive if positive != text && span(positive).is_ok() => format!("it cannot be below zero: write {positive}"),
        _ => "it is no time span: write 7d, 12h or 30m".into(),
    })
}

/// A number of bytes, such as 256MiB.
///
/// # Errors
/// It is none; shows how one is written.
pub fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "it is no size: write 256MiB or 1GiB".into())
}

/// What turns a switch on or off: in a variable, as a flag has no value.
///
/// # Errors
/// It does neither; shows the words that do.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        // one that is set to nothing is as one that is not set
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("a switch is true or false, yes or no, on or off, 1 or 0".into()),
    }
}

/// A path that no shell was to expand any more.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| check_expanded(&path.to_string_lossy()).map(|()| path))
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
            Ok(age) => Ok(Self(clock::now().timestamp().saturating_sub_unsigned(age.as_secs()))),
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
    fn spans_and_sizes_that_are_none_are_refused_with_the_right_form() {
        assert_eq!(span("7d").map(|span| span.as_secs()), Ok(7 * 86_400));
        for (wrong, right) in
            [("7", "write 7d for days"), ("-7d", "write 7d"), ("-7", "write 7d, 12h or 30m"), ("", "write 7d"), ("week", "write 7d"), ("--dry-run", "write 7d")]
        {
            assert!(span(wrong).is_err_and(|why| why.contains(right)), "{wrong}");
        }
        assert_eq!(size("256MiB"), Ok(ByteSize::mib(256)));
        assert!(size("plenty").is_err_and(|why| why.contains("256MiB")));
    }

    #[test]
    fn switches_are_turned_by_the_usual_words_and_by_nothing_else() {
        for (words, on) in [(["true", "YES", "On", "1"], true), (["False", "no", "OFF", "0"], false)] {
            assert!(words.iter().all(|word| switch(word) == Ok(on)), "{words:?}");
        }
        assert_eq!(switch(""), Ok(false));
        for wrong in ["maybe", "flase", "none", "2", " "] {
            assert!(switch(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn codecs_are_checked() {
        assert!("zstd(22)".parse::<Codec>().is_ok());
        for wrong in ["zstd(0)", "zstd(23)", "gzip", "zstd(3"] {
            assert!(wrong.parse::<Codec>().is_err(), "{wrong}");
        }
    }
}
