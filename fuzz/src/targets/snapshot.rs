//! Snapshots of any bytes.

use std::io::Write;
use std::sync::Arc;

use cc_archiver::checkpoint::{check, claim, decode_as_far};
use cc_archiver::files::{Compression, Kind};
use serde::de::IgnoredAny;

use super::{AMPLE, Decoded, SCARCE, decoded, file_of, form, golden, in_file, in_memory, tools};

mod reference;

/// A `.bin`.
pub fn bin(bytes: &[u8]) {
    let found = all_ways(bytes, Kind::Binary, Compression::None);
    if let Ok(found) = found {
        let claimed = claim(&file_of(bytes), form(Kind::Binary, Compression::None, bytes.len()));
        assert_eq!(claimed, Ok(found.extent), "the header alone");
    }
}

/// A `.json`; and against a reader that makes a tree of JSON values.
pub fn json(bytes: &[u8]) {
    let found = all_ways(bytes, Kind::Json, Compression::None);
    drop(claim(&file_of(bytes), form(Kind::Json, Compression::None, bytes.len())));
    if found.is_ok() {
        assert!(serde_json::from_slice::<IgnoredAny>(bytes).is_ok(), "what is taken is JSON");
    }
    if let Some(expected) = reference::read(bytes) {
        match found {
            Ok(found) => assert_eq!(found.series, expected, "as serde_json reads it"),
            // what the format allows, and no snapshot has
            Err(why) => assert!(is_a_bound(&why), "{why}"),
        }
    }
}

/// True if a reason is one of those for which a snapshot is refused that has the right form.
fn is_a_bound(why: &str) -> bool {
    ["levels nest deeper", "longer than those of any host", "is not positive", "leave the years", "it is empty", "dates", "times", "recursion limit"]
        .iter()
        .any(|bound| why.contains(bound))
}

/// A compressed one. The first byte says which kind and how.
pub fn compressed(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let kind = if how & 1 == 0 { Kind::Binary } else { Kind::Json };
    let compression = if how & 2 == 0 { Compression::Gzip } else { Compression::Zstd };
    drop(all_ways(bytes, kind, compression));
    drop(claim(&file_of(bytes), form(kind, compression, bytes.len())));
}

/// Golden files, compressed both ways.
pub fn compressed_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (kind, extension) in [(0, "bin"), (1, "json")] {
        for bytes in golden(extension).into_iter().filter(|bytes| bytes.len() < 1_000) {
            seeds.push([&[kind], &gzip(&bytes)[..]].concat());
            seeds.push([&[kind | 2], &zstd::encode_all(&bytes[..], 3).expect("compressed")[..]].concat());
        }
    }
    seeds
}

/// Stored, as gzip has it: no more is needed of it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let len = (bytes.len() as u16).to_le_bytes();
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    out.extend(len);
    out.extend(len.map(|byte| !byte));
    out.write_all(bytes).expect("in memory");
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

/// Decodes in all ways that there are, which must say the same.
fn all_ways(bytes: &[u8], kind: Kind, compression: Compression) -> Result<Decoded, String> {
    let found = in_memory(bytes, kind, compression, AMPLE);
    for (way, other) in [
        ("in memory, in parts", in_memory(bytes, kind, compression, SCARCE)),
        ("from a file", in_file(bytes, kind, compression, AMPLE)),
        ("from a file, in parts", in_file(bytes, kind, compression, SCARCE)),
    ] {
        match (&found, &other) {
            (Ok(found), Ok(other)) => assert_eq!(found, other, "{way}"),
            (Err(_), Err(_)) => {}
            _ => panic!("{way}: {other:?}, and else {found:?}"),
        }
    }
    let form = form(kind, compression, bytes.len());
    let file = Arc::new(file_of(bytes));
    let far = decode_as_far(Arc::clone(&file), form, AMPLE, &tools()).expect("room");
    match &found {
        Ok(found) => {
            assert!(far.flaw.is_none() && *found == decoded(far.snapshot), "as far as it goes: all");
            assert_eq!(check(&file, form), Ok(found.extent), "what is decoded is gone through");
        }
        Err(_) => {
            assert!(far.flaw.is_some(), "as far as it goes: not all");
            drop(decoded(far.snapshot));
        }
    }
    found
}
